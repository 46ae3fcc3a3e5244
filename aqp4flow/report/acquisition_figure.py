"""A plate's acquisition at a glance: every well in its place, what was measured over the order of its events.

One pair of axes for the whole plate; a well is a unit square, lines of all wells are drawn together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from aqp4flow.cytometry.acquisition_qc import Acquired, Trace
from aqp4flow.model import NAN, Reading, Values
from aqp4flow.report.look import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from aqp4flow.wells import PlateWells


_COLOURS = {"forward": "#8A8A8A", "reporter": "#009E73", "signal": "#0072B2", "flow": "#E69F00"}
_BAD = "#D55E00"
_LEFT, _RIGHT = 0.05, 0.95  # of a well's square, from its left
_MIDDLE, _REACH = 0.55, 0.30  # where 0 % lies, and how far the largest shown percentage reaches
_FLOW, _FLOW_UNIT = 0.03, 0.09  # where no flow lies, and the height of the usual rate
_SHOWN = 3.0  # limits up and down: what lies beyond is drawn at the edge


def acquisition_size(wells: PlateWells) -> tuple[float, float]:
    """Width and height of the figure in inches: as many rows and columns as the judged wells span."""
    (left, right), (top, bottom) = _frame([r for r, a in zip(wells.readings, wells.acquired, strict=True) if a])
    scale = 1.1 if right - left <= 12 else 0.7
    return scale * (right - left), 0.8 + 0.9 * scale * (bottom - top)


def _frame(readings: Sequence[Reading]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Columns and rows from and up to which there are wells, counted from 0; at least so many that a legend fits."""
    columns, rows = zip(*(_place(reading.well.name) for reading in readings), strict=True)
    return (min(columns), max(max(columns) + 1, min(columns) + 7)), (min(rows), max(rows) + 1)


def draw_acquisition(axes: Axes, wells: PlateWells) -> tuple[list[Point], str]:
    """Draw the wells that were judged; returns what is shown and a caption."""
    from matplotlib.collections import LineCollection, PolyCollection

    judged = [(r, a) for r, a in zip(wells.readings, wells.acquired, strict=True) if a and a.traces]
    limit = wells.setting.assay.acquisition.stretch_percent
    lines: dict[str, list[Values]] = {what: [] for what in _COLOURS}
    limits, chances, shades, pauses = [], [], [], []
    points: list[Point] = []
    for reading, acquired in judged:
        column, row = _place(reading.well.name)
        limits += [_line(column, row, [0, 1], [y, y], limit) for y in (-limit, limit)]
        for trace in acquired.traces:
            x = trace.ends / acquired.n_events
            x = (x + np.concatenate([[0.0], x[:-1]])) / 2  # the middle of the bin
            lines[trace.what].append(_line(column, row, x, trace.percent, limit, flow=trace.what == "flow"))
            if trace.what == "signal":
                low, high = trace.chance
                chances.append(_line(column, row, [0, 1, 1, 0], [low, low, high, high], limit))
            points += _points(reading, acquired, trace)
        for first, last in acquired.bad:
            shades.append(_box(column, row, first / acquired.n_events, last / acquired.n_events, 1.0))
        for stretch in acquired.flow:
            x0, x1 = stretch.first / acquired.n_events, stretch.last / acquired.n_events
            shades.append(_box(column, row, x0, x1, _FLOW + 2 * _FLOW_UNIT))
        pauses += [_box(column, row, pause.after / acquired.n_events, NAN, 1.0)[:2] for pause in acquired.breaks]
    axes.add_collection(PolyCollection(chances, facecolors=_COLOURS["signal"], alpha=0.12, linewidths=0, zorder=1))
    axes.add_collection(PolyCollection(shades, facecolors=_BAD, alpha=0.35, linewidths=0, zorder=2))
    axes.add_collection(LineCollection(limits, colors="#444444", linewidths=0.4, linestyles="dashed", zorder=3))
    for what, drawn in lines.items():
        axes.add_collection(LineCollection(drawn, colors=_COLOURS[what], linewidths=0.7, zorder=4))
    axes.add_collection(LineCollection(pauses, colors=_BAD, linewidths=1.0, zorder=5))
    _dress(axes, [reading for reading, _ in judged], limit)
    return points, _caption(wells, judged)


def _place(well: str) -> tuple[int, int]:
    """Column and row of a well, from 0."""
    return int(well[1:]) - 1, ord(well[0]) - ord("A")


def _line(
    column: int, row: int, x: Values | Sequence[float], percent: Values | Sequence[float], limit: float,
    *, flow: bool = False,
) -> Values:  # fmt: skip
    """Points (n, 2) of a line or polygon within the well's square; rows run downwards."""
    across = column + _LEFT + (_RIGHT - _LEFT) * np.asarray(x, float)
    level = np.asarray(percent, float)
    if flow:
        up = _FLOW + _FLOW_UNIT * np.clip(1 + level / 100, 0, 2)
    else:
        up = _MIDDLE + _REACH * np.clip(level / (_SHOWN * limit), -1, 1)
    return np.column_stack([across, -row - 1 + up])


def _box(column: int, row: int, begin: float, end: float, top: float) -> Values:
    """Corners (4, 2) of a box from the foot of the well's square up to `top`; never too thin to be seen."""
    end = max(end, begin + 0.01) if not math.isnan(end) else begin
    x = column + _LEFT + (_RIGHT - _LEFT) * np.array([begin, begin, end, end])
    return np.column_stack([x, -row - 1 + np.array([_FLOW, top * 0.9, top * 0.9, _FLOW])])


def _points(reading: Reading, acquired: Acquired, trace: Trace) -> list[Point]:
    """What a trace shows: x is the number of the bin's last event; marked where it lies in a bad stretch."""
    spans = [(s.first, s.last) for s in (acquired.flow if trace.what == "flow" else acquired.stretches)
             if s.what == trace.what]  # fmt: skip
    low, high = trace.chance
    return [
        (reading.well.name, trace.what, float(end), float(percent), low, high,
         "bad" if any(first < end <= last for first, last in spans) else "")
        for end, percent in zip(trace.ends.tolist(), trace.percent.tolist(), strict=True)
    ]  # fmt: skip


def _dress(axes: Axes, readings: Sequence[Reading], limit: float) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    (left, right), (top, bottom) = _frame(readings)
    for reading in readings:
        column, row = _place(reading.well.name)
        told = any(flag in _FLAGS for flag in reading.flags)
        axes.text(
            column + _LEFT, -row - 0.02, reading.well.name, fontsize=6 if right - left <= 12 else 4, va="top",
            color=_BAD if told else "#444444", weight="bold" if told else "normal",
        )  # fmt: skip
    axes.set_xlim(left, right)
    axes.set_ylim(-bottom, -top)
    axes.set_xticks([])
    axes.set_yticks([])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    names = {"signal": "signal", "reporter": "reporter", "forward": "forward scatter",
             "flow": "flow rate (strip below, up to twice the usual)"}  # fmt: skip
    handles: list[Line2D | Patch] = [Line2D([], [], color=_COLOURS[what], label=text) for what, text in names.items()]
    handles += [
        Line2D([], [], color="#444444", lw=0.6, ls="--", label=f"limit: {limit:g} % off the well's median"),
        Patch(color=_COLOURS["signal"], alpha=0.12, lw=0, label="one bin of the signal, by chance"),
        Patch(color=_BAD, alpha=0.35, lw=0, label="bad stretch"),
    ]
    axes.legend(handles=handles, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=4, fontsize=7)


_FLAGS = ("bad-stretch", "drift", "flow-rate", "flow-break", "few-events")


def _caption(wells: PlateWells, judged: Sequence[tuple[Reading, Acquired]]) -> str:
    settings = wells.setting.assay.acquisition
    bad = [reading.well.name for reading, acquired in judged if acquired.stretches]
    found = f"Bad stretches in {', '.join(bad)}" if bad else "No bad stretch"
    if any(acquired.cut for _, acquired in judged):
        found += f"; {sum(r.n_cut_out or 0 for r, _ in judged)} events were cut out"
    return (
        f"Plate {wells.plate.name}: medians of bins of equal numbers of events in the order of acquisition, percent "
        f"off the well's own (shown up to {_SHOWN * settings.stretch_percent:g} %). A stretch is bad where it lies "
        f"{settings.stretch_percent:g} % off (dashed) and {settings.stretch_errors:g} standard errors. {found}."
    )
