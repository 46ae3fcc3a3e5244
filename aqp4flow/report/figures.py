"""Figures as SVG, PDF and PNG, each with the CSV of what it shows; the same result gives the same bytes."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from aqp4flow import tables
from aqp4flow.cytometry.beads import Calibration
from aqp4flow.cytometry.pictures import Axis, GatePicture, outline
from aqp4flow.cytometry.scale import Linear, ticks
from aqp4flow.model import Bound, Range, Role, Titer, Titration, TrajectoryPoint, Values
from aqp4flow.pipeline import PlateTiters, StudyResult
from aqp4flow.report import beadfigure, standardfigure
from aqp4flow.report.acquisition_figure import Point, acquisition_size, draw_acquisition
from aqp4flow.wells import gate_pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe & Ito's colours: told apart by colour-blind readers; markers tell them apart in grey.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F6000")
_MARKERS = "osD^vP*"
_LINES = ("-", "--", ":", "-.")
_MOST_NAMED = 14
_STYLE: Any = {
    "svg.hashsalt": "aqp4flow",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "legend.frameon": False,
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "path.simplify": False,
}
_METADATA: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": "aqp4flow"},
    "pdf": {"CreationDate": None, "ModDate": None, "Creator": "aqp4flow", "Producer": None},
    "png": {"Software": "aqp4flow"},
}
_BEAD_SIZE = (11.4, 4.6)
_REFERENCE_SIZE = (7.2, 4.6)


@dataclass(frozen=True)
class Drawn:
    """Files by name below figures/, and what each figure says in words, for those who do not see it."""

    files: dict[str, bytes]
    captions: dict[str, str]


def draw_all(result: StudyResult) -> Drawn:
    """Figure 4 when there are patients, and two figures a plate: gates and titrations, and the acquisition."""
    import matplotlib as mpl

    files: dict[str, bytes] = {}
    captions: dict[str, str] = {}
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a name in a script the font lacks
        measured = [point for point in result.trajectories if point.titer is not None]
        if measured:
            figure, points, caption = _figure4(measured, result)
            files |= _saved("figure4", figure, points)
            captions["figure4"] = caption
        for plate in result.titers:
            figure, points, caption = _plate_figure(plate)
            name = f"plate-{plate.wells.plate.name}"
            files |= _saved(name, figure, points)
            captions[name] = caption
            if plate.units.reference is not None and plate.units.reference.curve is not None:
                name, figure = f"reference-{plate.wells.plate.name}", _new_figure(*_REFERENCE_SIZE)
                points = standardfigure.draw(figure.subplots(), plate.units.reference, plate.units.sera)
                files |= _saved(name, figure, points)
                captions[name] = standardfigure.caption(plate.units.reference, plate.units.sera)
            if any(acquired and acquired.traces for acquired in plate.wells.acquired):
                name = f"acquisition-{plate.wells.plate.name}"
                figure = _new_figure(*acquisition_size(plate.wells))
                points, captions[name] = draw_acquisition(figure.subplots(), plate.wells)
                files |= _saved(name, figure, points)
                files[f"{name}.png"] = _with_few_colours(files[f"{name}.png"])
        for wells in result.plates:
            if wells.calibration is not None:
                name, figure = f"beads-{wells.plate.name}", _new_figure(*_BEAD_SIZE)
                points = beadfigure.draw(figure, wells.calibration, f"Plate {wells.plate.name}: calibration by beads")
                files |= _saved(name, figure, points)
                captions[name] = f"Plate {wells.plate.name}. {beadfigure.caption(wells.calibration)}"
    return Drawn(files, captions)


def bead_png(calibration: Calibration, title: str) -> bytes:
    """The figure of a calibration alone, as PNG."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = _new_figure(*_BEAD_SIZE)
        points = beadfigure.draw(figure, calibration, title)
        return _saved("beads", figure, points)["beads.png"]


@contextmanager
def styled() -> Iterator[None]:
    """Every figure's look: fonts, lines and colours that do not depend on the machine's settings."""
    import matplotlib as mpl

    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in inches, laid out to fit."""
    return _new_figure(width, height)


def saved(name: str, figure: Figure, points: Sequence[Point], kinds: Sequence[str]) -> dict[str, bytes]:
    """A figure in these formats (svg, pdf, png) with the CSV of what it shows, by file name."""
    return _saved(name, figure, points, kinds)


def _saved(
    name: str, figure: Figure, points: Sequence[Point], kinds: Sequence[str] = ("svg", "pdf", "png")
) -> dict[str, bytes]:
    files = {f"{name}.csv": tables.to_csv(tables.points_table(points)).encode()}
    figure.draw_without_rendering()  # lay out once, not once a format
    figure.set_layout_engine("none")
    for kind in kinds:
        out = io.BytesIO()
        figure.savefig(out, format=kind, metadata=_METADATA[kind])
        files[f"{name}.{kind}"] = out.getvalue()
    return files


def _with_few_colours(png: bytes) -> bytes:
    """A drawing of thin lines in a palette: a quarter of the bytes, which the report carries once a plate."""
    from PIL import Image  # matplotlib brings it along

    out = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        palette = picture.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    palette.save(out, "png", optimize=True)
    return out.getvalue()


def _new_figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


# --- Figure 4 -------------------------------------------------------------------------------------


def _figure4(points: Sequence[TrajectoryPoint], result: StudyResult) -> tuple[Figure, list[Point], str]:
    """Anti-AQP4 titer of every patient over months from baseline, log2 scale, median, cut-off band."""
    figure = _new_figure(6.6, 4.4)
    axes = figure.subplots()
    patients = list(dict.fromkeys(point.visit.patient for point in points))
    lowest = min(row.dilution for plate in result.titers for row in plate.rows if row.role is Role.SAMPLE)
    shown: list[Point] = []
    ends: list[tuple[str, float, float, str]] = []
    for number, patient in enumerate(patients):
        course = [point for point in points if point.visit.patient == patient]
        colour = _COLOURS[number % len(_COLOURS)] if len(patients) <= _MOST_NAMED else "#8A8A8A"
        _course(axes, course, colour, _look(number)[1])
        last = course[-1]
        ends.append((patient, last.visit.month, _titer(last).value, colour))
        shown += [_shown("patient", patient, point) for point in course]
    median = _median_course(points)
    axes.plot([x for x, _, _ in median], [y for _, y, _ in median], color="black", lw=2.6, zorder=5)
    _arrows(axes, [(x, y, bound) for x, y, bound in median if bound is not Bound.EXACT], "black", 6)
    shown += [("median", "all", x, y, math.nan, math.nan, bound.value) for x, y, bound in median]
    _dress_figure4(axes, points, lowest, len(patients))
    shown.append(("cut-off", "lowest dilution tested", math.nan, lowest, math.nan, math.nan, ""))
    ends = ends if len(patients) <= _MOST_NAMED else []
    _label_ends(axes, [*ends, ("median", median[-1][0], median[-1][1], "black")])
    axes.set_title(f"Anti-{result.assay.assay.antigen} reactivity, {result.assay.assay.name}", loc="left", fontsize=10)
    return figure, shown, _figure4_caption(patients, median, lowest)


def _look(number: int) -> tuple[str, str, str]:
    """Colour, marker and line of the serum or patient of this number: no two of 49 share colour and marker."""
    turn = number // len(_COLOURS)
    return _COLOURS[number % len(_COLOURS)], _MARKERS[(number + turn) % len(_MARKERS)], _LINES[turn % len(_LINES)]


def _titer(point: TrajectoryPoint) -> Titer:
    if point.titer is None:
        raise ValueError("a point without a titer is not drawn")
    return point.titer


def _shown(panel: str, patient: str, point: TrajectoryPoint) -> Point:
    titer = _titer(point)
    return (panel, patient, point.visit.month, titer.value, titer.low, titer.high, titer.bound.value)


def _course(axes: Axes, course: Sequence[TrajectoryPoint], colour: str, marker: str) -> None:
    """One patient: a line through the titers, limits as thin bars, an arrow where only a bound is known."""
    x = [point.visit.month for point in course]
    titers = [_titer(point) for point in course]
    axes.plot(x, [titer.value for titer in titers], color=colour, lw=1.0, alpha=0.85, zorder=3)
    exact = [(month, titer) for month, titer in zip(x, titers, strict=True) if titer.bound is Bound.EXACT]
    axes.plot([m for m, _ in exact], [t.value for _, t in exact], marker, color=colour, ms=4.5, zorder=4)
    for month, titer in zip(x, titers, strict=True):
        ends = [titer.value if math.isnan(end) else end for end in (titer.low, titer.high)]  # an open side has no bar
        axes.plot([month, month], ends, color=colour, lw=0.8, alpha=0.6, zorder=3)
    bounded = [(m, t.value, t.bound) for m, t in zip(x, titers, strict=True) if t.bound is not Bound.EXACT]
    _arrows(axes, bounded, colour, 4)


_ARROW = 0.62  # where the arrow of a bounded value ends, as a factor of it


def _arrows(axes: Axes, bounded: Sequence[tuple[float, float, Bound]], colour: str, zorder: int) -> None:
    for month, value, bound in bounded:
        factor = _ARROW if bound is Bound.BELOW else 1 / _ARROW
        arrow = {
            "arrowstyle": "-|>",
            "color": colour,
            "lw": 1.3,
            "shrinkA": 0,
            "shrinkB": 0,
            "mutation_scale": 9,
        }
        axes.annotate("", (month, value * factor), (month, value), arrowprops=arrow, zorder=zorder)


def _median_course(points: Sequence[TrajectoryPoint]) -> list[tuple[float, float, Bound]]:
    """Median titer at each visit. A median that falls on a bounded titer, or below one, is bounded itself."""
    import pandas as pd

    frame = pd.DataFrame(
        {
            "visit": [point.visit.visit or f"{round(point.visit.month)}" for point in points],
            "month": [point.visit.month for point in points],
            "titer": [_titer(point).value for point in points],
            "bound": [_titer(point).bound.value for point in points],
        }
    )
    medians = []
    for _, group in frame.groupby("visit", sort=False):
        # on the log scale, as everywhere; of bounded titers the extreme stands for them in the order
        order = group.assign(rank=group["bound"].map({"<": 0, "=": 1, ">": 2})).sort_values(["titer", "rank"])
        middle = order.iloc[[(len(order) - 1) // 2, len(order) // 2]]
        bounds = set(middle["bound"]) - {"="}
        bound = Bound(bounds.pop()) if len(bounds) == 1 else Bound.EXACT
        value = 2.0 ** float(np.mean(np.log2(middle["titer"].to_numpy(float))))
        medians.append((float(group["month"].median()), value, bound))
    return sorted(medians, key=lambda item: item[0])


def _dress_figure4(axes: Axes, points: Sequence[TrajectoryPoint], lowest: float, n_patients: int) -> None:
    from matplotlib.ticker import FuncFormatter, MultipleLocator, NullLocator

    values = [v for p in points for v in (_titer(p).value, _titer(p).high, _titer(p).low) if v > 0]
    axes.set_yscale("log", base=2)
    bottom, top = min(lowest, *values) / 2.4, max(values) * 1.1 / _ARROW  # an arrow that ends beyond is not drawn
    axes.set_ylim(bottom, top)
    axes.axhspan(bottom, lowest, color="#D9D9D9", alpha=0.6, lw=0, zorder=0)
    axes.text(
        0.01, lowest * 0.93, f"below the cut-off at 1:{lowest:g}", transform=axes.get_yaxis_transform(),
        ha="left", va="top", fontsize=7.5, color="#444444",
    )  # fmt: skip
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"1:{value:,.0f}"))
    axes.yaxis.set_minor_locator(NullLocator())
    ticks = [lowest * 2.0**k for k in range(-1, 40) if bottom <= lowest * 2.0**k <= top]
    axes.set_yticks(ticks[:: max(1, len(ticks) // 8)])
    longest = max(point.visit.month for point in points)
    axes.xaxis.set_major_locator(MultipleLocator(3 if longest <= 18 else 12))
    axes.set_xlabel(f"months from baseline ({n_patients} patients, bars: 95 % limits)")
    axes.set_ylabel("titer (interpolated at the cut-off)")


def _label_ends(axes: Axes, ends: Sequence[tuple[str, float, float, str]]) -> None:
    """Patients' names at the right ends, pushed apart so that none covers another."""
    gap = 0.055 * math.log2(axes.get_ylim()[1] / axes.get_ylim()[0])
    placed = -math.inf
    right = max(month for _, month, _, _ in ends)
    for name, month, value, colour in sorted(ends, key=lambda end: end[2]):
        placed = max(math.log2(value), placed + gap)
        axes.annotate(
            name, (month, value), (right * 1.03 + 0.1, 2.0**placed), color=colour, fontsize=8, va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.4, "shrinkA": 0, "shrinkB": 2},
        )  # fmt: skip


def _figure4_caption(patients: Sequence[str], median: Sequence[tuple[float, float, Bound]], lowest: float) -> str:
    course = "; ".join(f"month {x:.1f}: {Titer(float(f'{y:.3g}'), bound)}" for x, y, bound in median)
    return (
        f"Titer of {len(patients)} patients by months from baseline, log2 scale, one line a patient with 95 % limits. "
        f"Median (thick line): {course}. Grey: below the cut-off at the lowest dilution tested, 1:{lowest:g}. "
        "Arrows: titers known only to lie below or above the tested range. A bar ends at the titer where that side is "
        "open."
    )


# --- a plate: its gates and its titrations -----------------------------------------------------------


def _plate_figure(plate: PlateTiters) -> tuple[Figure, list[Point], str]:
    scale = plate.wells.setting.assay.gating.scale
    pictures = gate_pictures(replace(plate.wells, gating=plate.wells.gating.drawn_on(scale)))
    columns = max(3, len(pictures))
    figure = _new_figure(3.0 * columns, 6.0)
    grid = figure.add_gridspec(2, columns)
    shown: list[Point] = []
    for number, picture in enumerate(pictures):
        shown += _gate_panel(figure.add_subplot(grid[0, number]), picture)
    half = (columns + 1) // 2
    panels = [part for part in ("sera", "controls and reference") if _of_panel(plate, part)]
    for number, part in enumerate(panels):
        place = slice(half * number, half * (number + 1) if number + 1 < len(panels) else None)
        shown += _titration_panel(figure.add_subplot(grid[1, place]), plate, part)
    name = plate.wells.plate.name
    figure.suptitle(f"Plate {name}: gates over pooled events, and delta against dilution", fontsize=10)
    drawn = [gate for picture in pictures for gate in picture.names]
    absent = [gate for gate in plate.wells.gating.names if gate not in drawn]
    caption = f"Plate {name}. Top: the gates {', '.join(drawn)} over pooled events."
    if any(picture.members for picture in pictures):
        caption += " Coloured: the events inside, by FlowKit, on axes of our own."
    if absent:
        caption += f" Not drawn, for want of events or of one or two channels of its own: {', '.join(absent)}."
    return figure, shown, f"{caption}{_scales(pictures)} Bottom: delta by dilution."


def _scales(pictures: Sequence[GatePicture]) -> str:
    """Scales of fluorescence by channel, with what their parameters assume; one channel's may differ by parent."""
    axes = [axis for picture in pictures for axis in (picture.x, picture.y) if axis and axis.fluorescent]
    words = dict.fromkeys(f"{a.channel} {a.scale.words}{f' ({a.note})' if a.note else ''}" for a in axes)
    return f" Fluorescence is drawn on the scales {'; '.join(words)}." if words else ""


def _gate_panel(axes: Axes, picture: GatePicture) -> list[Point]:
    axes.set_title(f"{', '.join(picture.names)}\n(of {picture.parent})", fontsize=8)
    _scaled_ticks(axes, picture.x, "x")
    axes.set_xlabel(_label(picture.x), fontsize=8)
    panel = "gate " + ", ".join(picture.names)
    if picture.y is None:
        axes.stairs(picture.counts, picture.x.edges, fill=True, color="#9DB4C8")
        axes.set_yticks([])
        axes.set_xlim(picture.x.edges[0], picture.x.edges[-1])
        for gate, colour in zip(picture.gates, ("#0072B2", "#D55E00"), strict=False):
            _range_panel(axes, gate, picture.x, colour)
        for number, (_, counts) in enumerate(picture.members):
            axes.stairs(counts, picture.x.edges, fill=True, color=_COLOURS[1 + number % 6], alpha=0.6)
        return [
            (panel, series, _centre(picture.x, i), float(n), math.nan, math.nan, "")
            for series, counts in (("events", picture.counts), *picture.members)
            for i, n in enumerate(counts)
        ]
    shown = np.ma.masked_equal(picture.counts.T, 0)
    axes.pcolormesh(picture.x.edges, picture.y.edges, np.log1p(shown), cmap="Blues", vmin=-1.0, rasterized=True)
    for number, (_, counts) in enumerate(picture.members):
        inside, hue = np.ma.masked_equal(counts.T, 0), ("Oranges", "Greens", "Purples")[number % 3]
        axes.pcolormesh(picture.x.edges, picture.y.edges, np.log1p(inside), cmap=hue, vmin=-1.0, rasterized=True)
    _scaled_ticks(axes, picture.y, "y")
    axes.set_ylabel(_label(picture.y), fontsize=8)
    for gate in picture.gates:
        edge = _dense(outline(gate))
        axes.plot(picture.x.scale.forward(edge[:, 0]), picture.y.scale.forward(edge[:, 1]), color="#D55E00", lw=1.3)
    axes.set_xlim(picture.x.edges[0], picture.x.edges[-1])
    axes.set_ylim(picture.y.edges[0], picture.y.edges[-1])
    return [
        (panel, series, _centre(picture.x, i), _centre(picture.y, j), math.nan, math.nan, f"{counts[i, j]:.0f}")
        for series, counts in (("events", picture.counts), *picture.members)
        for i, j in np.argwhere(counts > 0)
    ]


def _label(axis: Axis) -> str:
    return f"{axis.channel}\n{axis.scale.words}" if axis.fluorescent else axis.channel


def _centre(axis: Axis, bin_number: int) -> float:
    """Middle of a bin on the drawn scale, as a linear value."""
    return float(axis.scale.back((axis.edges[bin_number : bin_number + 1] + axis.edges[bin_number + 1]) / 2)[0])


def _dense(edge: Values) -> Values:
    """More points along straight edges, which bend on a log scale."""
    steps = np.linspace(0, 1, 12, endpoint=False)[:, None]
    return np.vstack([a + steps * (b - a) for a, b in pairwise(edge)] + [edge[-1:]])


def _range_panel(axes: Axes, gate: Any, axis: Axis, colour: str) -> None:
    if not isinstance(gate, Range):
        return
    low = axis.edges[0] if gate.low is None else float(axis.scale.forward(np.array([gate.low]))[0])
    high = axis.edges[-1] if gate.high is None else float(axis.scale.forward(np.array([gate.high]))[0])
    left, right = float(axis.edges[0]), float(axis.edges[-1])
    low, high = max(low, left), min(high, right)
    if low >= high:  # none of the events drawn are inside
        return
    axes.axvspan(low, high, color=colour, alpha=0.15, lw=0)
    narrow = high - low < 0.3 * (right - left)
    side = "left" if narrow and low == left else "right" if narrow and high == right else "center"
    room = 0.01 * (right - left)
    place = {"left": left + room, "right": right - room, "center": (low + high) / 2}[side]
    axes.text(place, 0.98, gate.name, transform=axes.get_xaxis_transform(), ha=side, va="top", fontsize=6.5,
              color=colour)  # fmt: skip


def _scaled_ticks(axes: Axes, axis: Axis, which: str) -> None:
    """Ticks at round linear values, placed on the drawn scale."""
    found = ticks(axis.scale, axis.edges[0], axis.edges[-1])
    set_ticks = axes.set_xticks if which == "x" else axes.set_yticks
    set_ticks(
        axis.scale.forward(np.array(found.labelled)),
        [_short(x, powers=not isinstance(axis.scale, Linear)) for x in found.labelled],
        fontsize=6.5,
    )
    set_ticks(axis.scale.forward(np.array(found.plain)), minor=True)


def _short(value: float, powers: bool) -> str:
    if value == 0:
        return "0"
    power = round(math.log10(abs(value)))
    if powers and math.isclose(abs(value), 10.0**power) and power >= 2:
        return f"{'-' if value < 0 else ''}$10^{power}$"
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1000:g}k" if abs(value) >= 1000 else f"{value:g}"


def _of_panel(plate: PlateTiters, panel: str) -> list[Titration]:
    """Patients' sera, or everything else that holds a serum."""
    return [t for t in plate.titrations if (t.role is Role.SAMPLE) == (panel == "sera")]


def _titration_panel(axes: Axes, plate: PlateTiters, title: str) -> list[Point]:
    """Delta against dilution with limits."""
    shown: list[Point] = []
    chosen = _of_panel(plate, title)
    for number, titration in enumerate(chosen):
        if titration.role is Role.NEGATIVE:  # one colour and one entry in the legend for all of them
            first = not any(earlier.role is Role.NEGATIVE for earlier in chosen[:number])
            shown += _titration_line(axes, plate, titration, ("#8A8A8A", "_", "-"), "negative sera" if first else None)
        else:
            shown += _titration_line(axes, plate, titration, _look(number), titration.serum)
    cutoff = plate.cutoffs.delta
    if cutoff is not None:
        axes.axhline(cutoff.value, color="black", ls="--", lw=0.9)
        axes.text(0.005, cutoff.value, " cut-off", transform=axes.get_yaxis_transform(), va="bottom", fontsize=7)
        shown.append((title, "cut-off", math.nan, cutoff.value, math.nan, math.nan, cutoff.rule))
    if shown:
        axes.set_xscale("log")
        _scale_of_delta(axes, [y for _, _, _, y, *_ in shown], cutoff.value if cutoff is not None else math.nan)
    axes.set_xlabel("dilution (1:x)")
    axes.set_ylabel("delta (MFI)")
    axes.set_title(title, fontsize=9, loc="left")
    if 0 < len(axes.get_legend_handles_labels()[0]) <= _MOST_NAMED:
        axes.legend(fontsize=6.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))  # beside the curves, not over them
    return shown


def _scale_of_delta(axes: Axes, values: Sequence[float], cutoff: float) -> None:
    """Log where all values are above 0; else linear about 0 and log beyond, or linear where nothing lies beyond."""
    if min(values) > 0:
        axes.set_yscale("log")
        return
    linear = 10.0 ** math.ceil(math.log10(cutoff if cutoff > 1 else 10.0))
    if max(map(abs, (*axes.get_ylim(), *values))) > linear:
        axes.set_yscale("symlog", linthresh=linear)


def _titration_line(
    axes: Axes, plate: PlateTiters, titration: Titration, look: tuple[str, str, str], label: str | None
) -> list[Point]:
    """One serum; `look` is its colour, marker and line, `label` its entry in the legend."""
    colour, marker, line = look
    rows = sorted((r for r in plate.rows if r.serum == titration.serum and r.delta.known), key=lambda r: r.dilution)
    if not rows:
        return []
    x = [row.dilution for row in rows]
    y = [row.delta.value for row in rows]
    down = [max(0.0, row.delta.value - row.delta.low) for row in rows]
    up = [max(0.0, row.delta.high - row.delta.value) for row in rows]
    axes.errorbar(x, y, yerr=(np.nan_to_num(down), np.nan_to_num(up)), color=colour, marker=marker, ms=4, lw=1, ls=line,
                  elinewidth=0.7, label=label)  # fmt: skip
    panel = "sera" if titration.role is Role.SAMPLE else "controls and reference"
    return [
        (panel, row.serum, row.dilution, row.delta.value, row.delta.low, row.delta.high, row.status.value)
        for row in rows
    ]
