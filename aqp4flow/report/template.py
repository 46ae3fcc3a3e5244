"""A page's template with its style, filled in."""

from __future__ import annotations

import importlib.resources


def rendered(template: str, page: object) -> str:
    """The page as HTML; depends on `page` alone, so the same content gives the same bytes. All text is escaped.

    Raises jinja2.UndefinedError for what the template asks for and the page has not.
    """
    import jinja2

    folder = importlib.resources.files("aqp4flow.report")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    style = (folder / "page.css").read_text(encoding="utf-8")
    return (
        environment.from_string((folder / template).read_text(encoding="utf-8")).render(page=page, style=style) + "\n"
    )
