"""Gates applied: which events lie inside, and the populations that follow from a tree of gates.

Membership follows GatingML 2.0 (ISAC, 2013): ranges include their low end, ellipses their edge; points exactly on a
polygon's edge fall as they do in FlowKit, whose test is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from flowutils.gating import points_in_polygon
from numpy.typing import NDArray

from aqp4flow.cytometry.compensation import unmixing
from aqp4flow.errors import InputError
from aqp4flow.model import Dimension, Ellipse, Events, Gate, Polygon, Range, Rectangle, ScaleName, Spillover, Values

Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]


def inside(gate: Gate, x: Values, y: Values | None = None) -> Mask:
    """Mask of the values inside `gate`, shape (n,); `y` belongs to gates on two axes."""
    match gate:
        case Range():
            return _between(x, gate.low, gate.high)
        case Rectangle():
            return _between(x, gate.low[0], gate.high[0]) & _between(_second(y), gate.low[1], gate.high[1])
        case Polygon():
            return _in_polygon(gate.vertices, x, _second(y))
        case Ellipse():
            return _in_ellipse(gate, x, _second(y))


def _second(y: Values | None) -> Values:
    if y is None:
        raise TypeError("a gate on two axes needs two columns")
    return y


def _between(x: Values, low: float | None, high: float | None) -> Mask:
    mask = np.ones(len(x), np.bool_) if low is None else np.greater_equal(x, low)
    if high is not None:
        mask &= x < high
    return np.asarray(mask, np.bool_)


_RASTER = 128
_OUTSIDE, _INSIDE, _EDGE = 0, 1, 2


def _in_polygon(vertices: tuple[tuple[float, float], ...], x: Values, y: Values) -> Mask:
    """Even-odd rule. A raster settles every event but those in cells that an edge runs through."""
    raster = _rasterised(vertices)
    left, bottom, per_x, per_y = raster.frame
    cell = _cell_number(x, left, per_x)
    cell *= _RASTER + 2
    cell += _cell_number(y, bottom, per_y)
    kind = raster.cells.take(cell, mode="clip")
    mask = kind == _INSIDE
    near = np.flatnonzero(kind == _EDGE)
    mask[near] = points_in_polygon(np.array(vertices), np.column_stack([x[near], y[near]]))
    return np.asarray(mask, np.bool_)


def _cell_number(values: Values, start: float, per_unit: float) -> Rows:
    """Column or row of the raster; what lies beyond it, NaN included, is drawn to the rim, which is outside."""
    cell = values - start
    cell *= per_unit
    np.clip(cell, 0, _RASTER + 1, out=cell)
    with np.errstate(invalid="ignore"):
        return cell.astype(np.intp)


@dataclass(frozen=True)
class _Raster:
    """Cells over a polygon's bounding box with a rim of outside cells; `frame`: left, bottom, cells per unit."""

    frame: tuple[float, float, float, float]
    cells: NDArray[np.int8]


@lru_cache(maxsize=64)
def _rasterised(vertices: tuple[tuple[float, float], ...]) -> _Raster:
    """Classify each cell: outside, inside, or touched by an edge (with a margin far above rounding)."""
    corners = np.array(vertices, np.float64)
    low, span = corners.min(axis=0), np.ptp(corners, axis=0)
    per = _RASTER / np.where(span > 0, span, 1.0)
    origin = low - 1 / per  # one cell of rim on each side
    centres = np.stack(np.meshgrid(*(np.arange(_RASTER + 2) + 0.5,) * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    scaled = (corners - origin) * per
    touched = np.zeros(len(centres), bool)
    for start, end in zip(scaled, np.roll(scaled, -1, axis=0), strict=True):
        touched |= _touches(start, end, centres, 0.5 + 1e-6)
    inner = points_in_polygon(scaled, centres)
    cells = np.where(touched, _EDGE, np.where(inner, _INSIDE, _OUTSIDE)).astype(np.int8)
    return _Raster((float(origin[0]), float(origin[1]), float(per[0]), float(per[1])), cells)


def _touches(start: Values, end: Values, centres: Values, half: float) -> Mask:
    """Whether the segment meets the square of half-width `half` around each centre (separating axes)."""
    middle, reach = (start + end) / 2, np.abs(end - start) / 2
    offset = centres - middle
    step = end - start
    across = np.abs(step[0] * offset[:, 1] - step[1] * offset[:, 0])
    near = np.all(np.abs(offset) <= reach + half, axis=1)
    return np.asarray(near & (across <= half * np.abs(step).sum() + 1e-9), np.bool_)


def _in_ellipse(gate: Ellipse, x: Values, y: Values) -> Mask:
    """Mahalanobis distance by the 2 x 2 system's closed solution."""
    (a, b), (_, d) = gate.covariance
    determinant = a * d - b * b
    u, v = x - gate.mean[0], y - gate.mean[1]
    with np.errstate(invalid="ignore", over="ignore"):
        distance = (d * u * u - 2 * b * u * v + a * v * v) / determinant
    return np.asarray(distance <= gate.distance_square, np.bool_)


def dimensions(gate: Gate) -> tuple[Dimension, ...]:
    """The axes a gate looks at."""
    return (gate.x,) if isinstance(gate, Range) else (gate.x, gate.y)


@dataclass(frozen=True)
class GateChannels:
    """The channels gates may look at; None where the cytometer or the assay has none.

    `scale` is the one on which fluorescence is learned.
    """

    forward: str
    side: str
    forward_height: str | None = None
    viability: str | None = None
    reporter: str | None = None
    forward_width: str | None = None
    scale: ScaleName = "asinh"


@dataclass(frozen=True)
class Columns:
    """Columns of one well, raw or compensated, each decoded or computed once when asked for."""

    events: Events
    spillover: Spillover | None
    _kept: dict[Dimension, Values] = field(default_factory=dict, repr=False)

    def raw(self, channel: str) -> Values:
        """Linear values of a channel as measured, all events."""
        return self.column(Dimension(channel))

    def column(self, axis: Dimension) -> Values:
        """Values on `axis`, all events; compensated where the axis asks for it and the matrix knows the channel."""
        if axis not in self._kept:
            spilled = axis.compensated and self.spillover is not None and axis.channel in self.spillover.channels
            self._kept[axis] = self._compensated(axis.channel) if spilled else self._decoded(axis)
        return self._kept[axis]

    def _decoded(self, axis: Dimension) -> Values:
        if axis.compensated:
            return self.raw(axis.channel)
        return self.events.column(axis.channel)

    def _compensated(self, channel: str) -> Values:
        assert self.spillover is not None  # `column` asked
        total: Values = np.zeros(self.events.count)
        share = np.empty(self.events.count)
        with np.errstate(invalid="ignore", over="ignore"):  # NaN and infinity stay what they are: in no gate
            for name, weight in unmixing(self.spillover, channel).items():
                np.multiply(self.raw(name), weight, out=share)
                total += share
        return total

    def take(self, axis: Dimension, rows: Rows | None) -> Values:
        """Values on `axis` of the events `rows` (None = all)."""
        values = self.column(axis)
        return values if rows is None else values[rows]


def populations(columns: Columns, gates: Sequence[Gate]) -> dict[str, Rows]:
    """Row numbers of the events in each gate and all its parents, in file order.

    `gates` must hold every parent before its children (see `in_order`).
    """
    found: dict[str, Rows] = {}
    taken: dict[tuple[str | None, Dimension], Values] = {}  # gates side by side look at the same values
    for gate in gates:
        parent = found[gate.parent] if gate.parent else None
        for axis in dimensions(gate):
            if (gate.parent, axis) not in taken:
                taken[gate.parent, axis] = columns.take(axis, parent)
        mask = inside(gate, *(taken[gate.parent, axis] for axis in dimensions(gate)))
        rows = np.flatnonzero(mask)
        found[gate.name] = rows if parent is None else parent[rows]
    return found


def moved(gate: Gate, factors: Mapping[Dimension, float]) -> Gate:
    """A polygon with the coordinates on some axes multiplied; gates of other shapes, or on other axes, as they are."""
    if not isinstance(gate, Polygon) or not {gate.x, gate.y} <= set(factors):
        return gate
    corners = tuple((x * factors[gate.x], y * factors[gate.y]) for x, y in gate.vertices)
    return replace(gate, vertices=corners)


DEBRIS = 0.4  # of the cells' forward scatter: dead cells scatter more than that, debris less


def larger_than_debris(forward: Values, cells: Mask | Rows) -> Rows:
    """Rows of the events that scatter as much light as cells do, dead ones among them; `cells` are known to."""
    return np.flatnonzero(forward >= DEBRIS * np.median(forward[cells]))


def in_order(gates: Sequence[Gate], where: str) -> tuple[Gate, ...]:
    """The gates, parents first; raises InputError for a missing parent, a circle or a name given twice."""
    by_name: dict[str, Gate] = {}
    for gate in gates:
        if gate.name in by_name:
            raise InputError(where, f"two gates are called {gate.name!r}")
        by_name[gate.name] = gate
    ordered: dict[str, Gate] = {}
    waiting = dict(by_name)
    while waiting:
        ready = [gate for gate in waiting.values() if gate.parent is None or gate.parent in ordered]
        if not ready:
            name, gate = next(iter(waiting.items()))
            raise InputError(where, f"gate {name!r} stands below {gate.parent!r}, which is not there or below it")
        for gate in ready:
            ordered[gate.name] = waiting.pop(gate.name)
    return tuple(ordered.values())


def channels_needed(gates: Sequence[Gate]) -> tuple[str, ...]:
    """Every channel the gates look at, without repeats, in order of first use."""
    names: dict[str, Any] = {axis.channel: None for gate in gates for axis in dimensions(gate)}
    return tuple(names)


def counts(found: Mapping[str, Rows]) -> dict[str, int]:
    """Events in each population."""
    return {name: len(rows) for name, rows in found.items()}
