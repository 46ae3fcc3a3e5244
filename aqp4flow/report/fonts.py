"""A font of this machine for Japanese labels."""

from __future__ import annotations

from aqp4flow.model import Check, Verdict
from aqp4flow.report.labels import Labels

#: Families with Japanese letters that Linux, macOS and Windows bring along or that are often added, best first.
FAMILIES = (
    "Noto Sans CJK JP",
    "Noto Sans JP",
    "Source Han Sans JP",
    "IPAexGothic",
    "IPAPGothic",
    "IPAGothic",
    "TakaoPGothic",
    "TakaoGothic",
    "VL PGothic",
    "VL Gothic",
    "Hiragino Sans",
    "Hiragino Kaku Gothic ProN",
    "Hiragino Maru Gothic Pro",
    "Yu Gothic",
    "Meiryo",
    "MS Gothic",
    "MS PGothic",
    "BIZ UDGothic",
    "Arial Unicode MS",
)


def japanese_font() -> str | None:
    """The first of the usual Japanese families that is installed; None without one."""
    from matplotlib import font_manager

    installed = {entry.name for entry in font_manager.fontManager.ttflist}
    return next((family for family in FAMILIES if family in installed), None)


def labels_for(language: str) -> tuple[Labels, str | None, list[Check]]:
    """Labels in this language (`en` or `ja`), the font that they need, and a doubt where it is not found.

    Without a font for Japanese the labels are English.
    """
    if language != "ja":
        return Labels("en"), None, []
    font = japanese_font()
    if font is not None:
        return Labels("ja"), font, []
    message = (
        "Japanese labels were asked for ([figures] language) and no font with Japanese letters was found on this "
        "machine: the labels are English. Install one, for example Noto Sans CJK JP or IPAexGothic."
    )
    return Labels("en"), None, [Check("run", language, "font-missing", "", FAMILIES[0], Verdict.WARN, message)]
