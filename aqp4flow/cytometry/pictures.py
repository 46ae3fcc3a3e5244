"""Densities that a gate is drawn over: histograms of pooled events, not clouds of dots."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aqp4flow.cytometry.gates import Columns, dimensions, populations
from aqp4flow.cytometry.scale import Linear, Log, Scale, Span, drawn, spans_of
from aqp4flow.model import Dimension, Ellipse, Gate, Polygon, Range, ScaleName, Values

BINS = 80
_EVENTS_A_WELL = 4000
_TAIL = 30  # from the low to the high end of an axis, or from its middle: more is too much for even steps


@dataclass(frozen=True)
class Drawing:
    """What axes are drawn by: the scale of fluorescence, and each channel's range."""

    scale: ScaleName = "asinh"
    spans: Mapping[str, Span] = field(default_factory=dict)


@dataclass(frozen=True)
class Axis:
    """One axis of a picture: its channel, scale and bin edges (on the drawn scale).

    `note` says what the scale's parameters had to assume, where they did not follow from data and $PnR.
    """

    channel: str
    scale: Scale
    edges: Values
    note: str = ""

    @property
    def fluorescent(self) -> bool:
        """Whether it is drawn on the scale chosen for fluorescence, whose parameters the caption names."""
        return not isinstance(self.scale, Linear | Log)


@dataclass(frozen=True)
class GatePicture:
    """Events of `parent` on one or two axes, with the gates set on them. `counts`: (BINS,) or (BINS, BINS).

    Where a gate has no outline on these axes (another program's), `members` counts the events inside it likewise.
    """

    parent: str
    x: Axis
    y: Axis | None
    counts: Values
    gates: tuple[Gate, ...] = ()
    members: tuple[tuple[str, Values], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The gates shown."""
        return (*(gate.name for gate in self.gates), *(name for name, _ in self.members))


def picture_gates(wells: Iterable[Columns], gates: Sequence[Gate], scale: ScaleName = "asinh") -> list[GatePicture]:
    """One picture for each parent and set of axes that gates look at; fluorescence on `scale`."""
    panels: dict[tuple[str | None, tuple[Dimension, ...]], list[Gate]] = {}
    for gate in gates:
        panels.setdefault((gate.parent, dimensions(gate)), []).append(gate)
    pooled: dict[tuple[str | None, tuple[Dimension, ...]], list[list[Values]]] = {key: [] for key in panels}
    spans: dict[str, Span] = {}
    for columns in wells:
        spans = spans_of(columns.events.channels, spans)
        found = populations(columns, gates)
        for (parent, axes), parts in pooled.items():
            rows = found[parent] if parent else np.arange(columns.events.count)
            rows = rows[:: max(1, len(rows) // _EVENTS_A_WELL)]
            parts.append(_finite([columns.take(axis, rows) for axis in axes]))
    return [
        _picture(
            parent,
            axes,
            [np.concatenate(part) for part in zip(*pooled[parent, axes], strict=True)],
            found_gates,
            Drawing(scale, spans),
        )
        for (parent, axes), found_gates in panels.items()
        if pooled[parent, axes] and sum(len(part[0]) for part in pooled[parent, axes])
    ]


def _finite(columns: list[Values]) -> list[Values]:
    """Events that have a place in a picture."""
    shown = np.logical_and.reduce([np.isfinite(column) for column in columns])
    return [column[shown] for column in columns]


def picture_members(
    parent: str,
    axes: Sequence[Dimension],
    values: Sequence[Values],
    members: Mapping[str, NDArray[np.bool_]],
    drawing: Drawing,
) -> GatePicture | None:
    """Pooled events of `parent` on one or two axes and, by gate, which of them lie inside; None without events."""
    finite = np.logical_and.reduce([np.isfinite(column) for column in values])
    if not finite.any():
        return None
    shown = [column[finite] for column in values]
    drawn_axes = [_axis(axis, column, [], drawing) for axis, column in zip(axes, shown, strict=True)]
    inside = tuple((name, _counted(drawn_axes, [v[mask[finite]] for v in shown])) for name, mask in members.items())
    return GatePicture(
        parent, drawn_axes[0], drawn_axes[1] if len(drawn_axes) > 1 else None, _counted(drawn_axes, shown), (), inside
    )


def _counted(drawn: Sequence[Axis], values: Sequence[Values]) -> Values:
    """Events a bin, on one axis or two."""
    placed = [axis.scale.forward(column) for axis, column in zip(drawn, values, strict=True)]
    if len(drawn) == 1:
        return np.histogram(placed[0], drawn[0].edges)[0].astype(np.float64)
    counts: Values = np.histogram2d(placed[0], placed[1], (drawn[0].edges, drawn[1].edges))[0]
    return counts


def _picture(
    parent: str | None, axes: tuple[Dimension, ...], values: list[Values], gates: list[Gate], drawing: Drawing
) -> GatePicture:
    drawn_axes = [_axis(axis, column, gates, drawing) for axis, column in zip(axes, values, strict=True)]
    y = drawn_axes[1] if len(drawn_axes) > 1 else None
    return GatePicture(parent or "all events", drawn_axes[0], y, _counted(drawn_axes, values), tuple(gates))


def _axis(axis: Dimension, values: Values, gates: Sequence[Gate], drawing: Drawing) -> Axis:
    """Fluorescence on the scale chosen; scatter log where it spans more than a decade and a half, else linear.

    Compensated channels are fluorescence; others only where a gate or most events lie far down a long tail.
    """
    low, high = (float(q) for q in np.quantile(values, (0.002, 0.998)))
    middle = float(np.median(values))
    borders = [x for gate in gates if isinstance(gate, Range) for x in (gate.low, gate.high) if x is not None]
    long = high > _TAIL * max(low, 0.0)
    note = ""
    scale: Scale = Linear()
    if axis.compensated or (long and (borders or (low <= 0 and high > _TAIL * middle))):
        found = drawn(drawing.scale, values, drawing.spans.get(axis.channel, Span()))
        scale, note = found.scale, found.note
    elif low > 0 and long and not any(_touches_origin(gate) for gate in gates):
        scale = Log()
    else:
        low = min(low, 0.0)
    shown = [x for x in borders if values.min() <= x <= values.max()]  # a border among the events is always seen
    ends = scale.forward(np.array([min(low, *shown, high), max(high, *shown, low)]))
    room = 0.03 * (ends[1] - ends[0]) or 1.0
    return Axis(axis.channel, scale, np.linspace(ends[0] - room, ends[1] + room, BINS + 1), note)


def _touches_origin(gate: Gate) -> bool:
    return isinstance(gate, Polygon) and any(x <= 0 or y <= 0 for x, y in gate.vertices)


def outline(gate: Gate) -> Values:
    """The edge of a gate on two axes, shape (n, 2), closed, on the linear scale; far ends stand for open sides."""
    if isinstance(gate, Polygon):
        corners = np.array(gate.vertices)
    elif isinstance(gate, Ellipse):
        angles = np.linspace(0, 2 * np.pi, 60)
        circle = np.column_stack([np.cos(angles), np.sin(angles)]) * np.sqrt(gate.distance_square)
        corners = np.array(gate.mean) + circle @ np.linalg.cholesky(np.array(gate.covariance)).T
    elif isinstance(gate, Range):
        raise TypeError("a range has no outline")
    else:
        left, bottom = (-1e9 if x is None else x for x in gate.low)
        right, top = (1e9 if x is None else x for x in gate.high)
        corners = np.array([(left, bottom), (right, bottom), (right, top), (left, top)])
    return np.vstack([corners, corners[:1]])
