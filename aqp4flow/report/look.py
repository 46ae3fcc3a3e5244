"""What all figures share: style, colours told apart in grey, and files with the same bytes for the same result."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aqp4flow import tables
from aqp4flow.model import Bound, Check

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.path import Path

#: Panel, series, x, y, low, high, mark: a row of the CSV beside a figure.
Point = tuple[str, str, float, float, float, float, str]
#: A figure, the numbers it shows, and its caption.
Made = tuple["Figure", list[Point], str]

# Okabe & Ito's colours: told apart by colour-blind readers; markers and lines tell them apart in grey.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F6000")
MARKERS = "osD^vP*"
LINES = ("-", "--", ":", "-.")
DOSE, RELAPSE, MANY = "#0072B2", "#D00000", "#8A8A8A"
#: Above so many patients or sera, lines carry no names.
MOST_NAMED = 14
_STYLE: Any = {
    "svg.hashsalt": "aqp4flow",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "figure.dpi": 150,  # letters are rounded to pixels: laid out at another resolution, they would not fit
    "savefig.dpi": 150,
    "path.simplify": False,
}
_METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": "aqp4flow"},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": "aqp4flow", "Producer": None},
    "png": {"Software": "aqp4flow"},
}


@dataclass(frozen=True)
class Drawn:
    """Files by name below figures/, what each figure says in words, and what could not be drawn as wanted."""

    files: dict[str, bytes]
    captions: dict[str, str]
    doubts: tuple[Check, ...] = ()


@contextmanager
def styled(font: str | None = None) -> Iterator[None]:
    """Every figure's look: fonts, lines and colours that do not depend on the machine's settings.

    `font` is a family for the letters that DejaVu Sans lacks.
    """
    import matplotlib as mpl

    family = [*_STYLE["font.family"], *([font] if font else [])]
    with mpl.rc_context({**_STYLE, "font.family": family}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name in a script the font lacks
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, laid out to fit."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def saved(
    name: str, figure: Figure, points: Sequence[Point], kinds: Sequence[str] = ("svg", "pdf", "png")
) -> dict[str, bytes]:
    """A figure in these formats (svg, pdf, png) with the CSV of what it shows, by file name."""
    files = {f"{name}.csv": tables.to_csv(tables.points_table(points)).encode()}
    figure.draw_without_rendering()  # lay out once, not once a format
    figure.set_layout_engine("none")
    for kind in kinds:
        out = io.BytesIO()
        figure.savefig(out, format=kind, metadata=_METADATA[kind])
        files[f"{name}.{kind}"] = out.getvalue()
    return files


def look(number: int) -> tuple[str, str, str]:
    """Colour, marker and line of the serum or patient of this number: no two of 49 share colour and marker."""
    turn = number // len(COLOURS)
    return COLOURS[number % len(COLOURS)], MARKERS[(number + turn) % len(MARKERS)], LINES[turn % len(LINES)]


_ARROW = ((-0.07, 0.0), (-0.07, 0.5), (-0.28, 0.5), (0.0, 1.0), (0.28, 0.5), (0.07, 0.5), (0.07, 0.0))


def bound_arrow(bound: Bound) -> Path:
    """A marker that starts at a value known only as a bound, and points to where the true one lies.

    Its length is half of the marker's size.
    """
    side = -1 if bound is Bound.BELOW else 1
    return _closed([(x, side * y) for x, y in _ARROW])


def bound_key() -> Path:
    """The same arrow, down and centred, for a legend."""
    return _closed([(2 * x, 1 - 2 * y) for x, y in _ARROW])


def dose_arrow() -> Path:
    """A marker: an arrow down."""
    return _closed([(-0.22, 1), (0.22, 1), (0.22, -0.1), (0.75, -0.1), (0, -1), (-0.75, -0.1), (-0.22, -0.1)])


def _closed(corners: Sequence[tuple[float, float]]) -> Path:
    from matplotlib.path import Path

    return Path([*corners, corners[0]], closed=True)
