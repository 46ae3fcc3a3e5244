"""A plate's figure: its gates over pooled events, and delta against dilution of everything titrated."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from aqp4flow.cytometry.pictures import Axis, GatePicture, outline
from aqp4flow.cytometry.scale import Linear, ticks
from aqp4flow.model import Range, Role, Titration, Values
from aqp4flow.pipeline import PlateTiters
from aqp4flow.report.look import COLOURS, MOST_NAMED, Made, Point, look, new_figure
from aqp4flow.wells import gate_pictures

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(plate: PlateTiters) -> Made:
    """The figure, the numbers it shows and its caption."""
    scale = plate.wells.setting.assay.gating.scale
    pictures = gate_pictures(replace(plate.wells, gating=plate.wells.gating.drawn_on(scale)))
    columns = max(3, len(pictures))
    figure = new_figure(3.0 * columns, 6.0)
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
            axes.stairs(counts, picture.x.edges, fill=True, color=COLOURS[1 + number % 6], alpha=0.6)
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
            shown += _titration_line(axes, plate, titration, look(number), titration.serum)
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
    if 0 < len(axes.get_legend_handles_labels()[0]) <= MOST_NAMED:
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
