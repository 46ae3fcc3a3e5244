"""Gates learned once a plate from pooled wells, then frozen.

The signal channel is never looked at. Nothing is random: events are thinned by even steps, mixtures start from fixed
shares, and a gate's numbers are rounded to six digits before anyone applies them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqp4flow.cytometry.dark import LEAST_SHARE, Dark, dark_population, mode
from aqp4flow.cytometry.gates import DEBRIS, Columns, GateChannels, inside, larger_than_debris
from aqp4flow.cytometry.mixture import Mixture, fit_mixture
from aqp4flow.cytometry.scale import Scale, Span, border_at, fitted, rounded, spans_of
from aqp4flow.errors import AnalysisError
from aqp4flow.model import Dimension, Gate, Polygon, Range, ScaleName, Values

EVENTS_TO_LEARN_FROM = 40_000
_MOST_FROM_A_WELL = 4_000
_MOST_COMPONENTS = 6
_CELLS_INSIDE = 0.985  # share of the cells' own ellipse kept
_VERTICES = 48
_STEPS_OUT = 40
_LEAST_ALONE = 500  # events of a well that show how far dark cells reach
_PILED_AREA = 0.01  # share of events on the largest area from which they are off scale
_FEW_LIVE = 0.5  # of the single cells of a plate
_FEW_LOST = 0.01  # share of the dark cells above the non-expressing gate that moves their median by hardly anything
_MIXED = 0.05  # share of the expressing events from which dark ones among them are told
_SMALLER, _LARGER = 0.66, 1.7  # forward scatter against the main cells': debris lies below, doublets above
_NO_DIP = 0.95  # of the lower peak's density, likewise the next two
_HARDLY_A_VALLEY = 0.9
_NO_VALLEY = 0.3
_DOUBLET_STEP = 0.35  # on log height/area: two cells side by side halve the ratio (0.69), one cell never falls so far


#: Remarks that make a plate's gates unusable.
FAILING = ("no-expressing", "reporter-no-valley", "few-live")


@dataclass(frozen=True)
class Learned:
    """Gates, what was noticed while learning them (code -> sentence), and how many wells of dark cells helped."""

    gates: tuple[Gate, ...]
    remarks: tuple[tuple[str, str], ...]
    dark_wells: int = 0


@dataclass(frozen=True)
class _Pool:
    """Pooled events of a plate by axis; shrinks as gates are set."""

    values: dict[Dimension, Values]
    spans: dict[str, Span]

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def within_all(self, gates: Sequence[Gate]) -> _Pool:
        pool = self
        for gate in gates:
            pool = pool.within(gate)
        return pool

    def within(self, gate: Gate) -> _Pool:
        axes = (gate.x,) if isinstance(gate, Range) else (gate.x, gate.y)
        mask = inside(gate, *(self.values[axis] for axis in axes))
        return _Pool({axis: column[mask] for axis, column in self.values.items()}, self.spans)


def learn_gates(wells: Iterable[Columns], channels: GateChannels, dark: Iterable[Columns] = ()) -> Learned:
    """Gates `cells`, `singlets`, `live`, `expressing`, `nonexpressing`, as far as channels exist.

    Every well gives the same number of events, so that controls weigh as much as patients. `dark` are wells that may
    hold cells without the reporter; those that do show how far dark cells reach. Raises AnalysisError when there are
    too few events to learn from, and for the linear scale: on it the bright cells lie hundreds of dark widths apart,
    too thin to tell a population from chance.
    """
    if channels.scale == "linear" and (channels.viability or channels.reporter):
        raise AnalysisError("gates", "not learned on a linear scale", '[gating] scale = "asinh" or "logicle"')
    pool = _pooled(wells, channels)
    if len(pool) < 200:
        raise AnalysisError(
            "gates",
            f"only {len(pool)} events to learn from",
            "use the gates of another plate: [gating] source",
        )
    remarks: list[tuple[str, str]] = []
    gates: list[Gate] = [_cells(pool, channels)]
    pool = pool.within(gates[-1])
    if channels.forward_height:
        gates.append(_wedge(pool, channels.forward, channels.forward_height))
        pool = pool.within(gates[-1])
    elif channels.forward_width:
        gates.append(_narrow(pool, channels.forward_width))
        pool = pool.within(gates[-1])
    else:
        remarks.append(("no-singlets", "no height or width channel: doublets are not taken out"))
    if channels.viability:
        light = _light(pool, Dimension(channels.viability, True), channels.scale)
        remarks += light.remarks
        gates.append(_live(light, Dimension(channels.viability, True), gates[-1].name))
        single, pool = len(pool), pool.within(gates[-1])
        if len(pool) < _FEW_LIVE * single:
            share = f"{100 * len(pool) / max(single, 1):.2g} %"
            remarks.append(("few-live", f"only {share} of the plate's single cells are called alive: look at the gate"))
    else:
        remarks.append(("no-live", "no viability channel: dead cells are not taken out"))
    if not channels.reporter:
        return Learned(tuple(gates), tuple(remarks))
    alone = [_pooled([well], channels).within_all(gates) for well in dark]
    light = _light(pool, Dimension(channels.reporter, True), channels.scale)
    remarks += light.remarks
    split = _reporter(light, alone, Dimension(channels.reporter, True), gates[-1].name)
    return Learned((*gates, *split.gates), (*remarks, *split.remarks), split.dark_wells)


def without_debris(well: Columns, channels: GateChannels) -> NDArray[np.intp]:
    """Rows of one well's events that are no debris: dead cells stay in, as a viability control needs them."""
    scatter = GateChannels(channels.forward, channels.side)
    gate = _cells(_pooled([well], scatter), scatter)
    forward = well.raw(channels.forward)
    return larger_than_debris(forward, inside(gate, forward, well.raw(channels.side)))


def _pooled(wells: Iterable[Columns], channels: GateChannels) -> _Pool:
    """Events of all wells by axis. Wells are looked at one by one, so that memory does not grow with the plate."""
    names = [channels.forward, channels.side, channels.forward_height, channels.forward_width]
    axes = [Dimension(name) for name in names if name]
    for name in (channels.viability, channels.reporter):
        axes += [Dimension(name, True), Dimension(name)] if name else []
    taken = []
    spans: dict[str, Span] = {}
    for well in wells:
        spans = spans_of(well.events.channels, spans)
        rows = _even_steps(well.events.count, _MOST_FROM_A_WELL)
        taken.append([well.take(axis, rows) for axis in axes])
    share = max(1, EVENTS_TO_LEARN_FROM // max(1, len(taken)))
    thinned = [[column[_even_steps(len(column), share)] for column in columns] for columns in taken]
    pooled = [np.concatenate(parts) for parts in zip(*thinned, strict=True)] or [np.empty(0)] * len(axes)
    finite = np.logical_and.reduce([np.isfinite(column) for column in pooled])
    return _Pool({axis: column[finite] for axis, column in zip(axes, pooled, strict=True)}, spans)


def _even_steps(count: int, wanted: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(np.intp)) if count else np.empty(0, np.intp)


# --- cells: where most of the forward scatter comes from -----------------------------------------


def _cells(pool: _Pool, channels: GateChannels) -> Polygon:
    """Around the population that scatters most light, on logarithmic forward and side scatter.

    Debris may be the most numerous by far, but it is small; weight times mean forward scatter finds the cells. The
    edge is the ellipse that holds 98.5 % of a normal cloud, drawn in where another population is the denser one.
    """
    x, y = Dimension(channels.forward), Dimension(channels.side)
    positive = (pool.values[x] > 0) & (pool.values[y] > 0)
    if np.count_nonzero(positive) < 200:
        raise AnalysisError("gates", "too few events with scatter above 0", "check [channels] forward and side")
    points = np.log10(np.column_stack([pool.values[x][positive], pool.values[y][positive]]))
    main = float(_main_cloud(fit_mixture(points, _MOST_COMPONENTS)).heart[0])
    # Again without the debris, which takes the components that the cells' own sizes and doublets need.
    mixture = fit_mixture(points[points[:, 0] > main + math.log10(DEBRIS)], _MOST_COMPONENTS)
    cloud = _main_cloud(mixture)
    edge = 10 ** _edge(mixture, cloud)
    return Polygon("cells", None, x, y, tuple((rounded(a), rounded(b)) for a, b in edge))


@dataclass(frozen=True)
class _Cloud:
    """Components of a mixture that are one population: the mean of the heaviest, their joint mean and covariance."""

    members: list[int]
    heart: Values
    mean: Values
    covariance: Values


def _main_cloud(mixture: Mixture) -> _Cloud:
    """The population that scatters most light: several components describe a skewed one, and are taken together.

    Doublets may be the brightest component, but they are one, where the single cells are several.
    """
    weights, means, covariances = mixture.weights, mixture.means, mixture.covariances
    every = range(len(weights))
    light = weights * 10 ** means[:, 0]
    clouds = [[k for k in every if _near(mixture, k, m) or _runs_on(mixture, k, m)] for m in every]
    brightest = max(clouds, key=lambda cloud: float(light[cloud].sum()))
    heart = max(brightest, key=lambda k: float(weights[k]))
    joined = clouds[heart]
    share = weights[joined] / weights[joined].sum()
    mean = share @ means[joined]
    spread = means[joined] - mean
    covariance = np.einsum("k,kij->ij", share, covariances[joined]) + (spread.T * share) @ spread
    return _Cloud(joined, means[heart], mean, covariance)


def _near(mixture: Mixture, k: int, main: int) -> bool:
    """Whether each of two components lies in the other's reach."""
    first, second = mixture.means[k], mixture.means[main]
    within = _distance(first, second, mixture.covariances[main]) < 2.0
    return within and _distance(first, second, mixture.covariances[k]) < 2.5


def _runs_on(mixture: Mixture, k: int, main: int) -> bool:
    """Whether the main cells' cloud runs on to `k` without a valley between.

    Cells of another size, larger or smaller in both scatters, may stand a little apart; doublets, twice as large, are
    not theirs. Much smaller ones are debris, unless there is not the least dip before them.
    """
    step = mixture.means[k] - mixture.means[main]
    way = mixture.means[main] + np.linspace(0, 1, 24)[:, None] * step
    density = mixture.densities(way).sum(axis=1)
    ratio, level = 10 ** float(step[0]), float(density.min() / min(density[0], density[-1]))
    if ratio > _LARGER:
        return False
    if ratio < _SMALLER:
        return level > _NO_DIP and bool(density[-1] > 0.5 * density[0])
    return level > (_NO_VALLEY if float(step[0] * step[1]) > 0 else _HARDLY_A_VALLEY)


def _edge(mixture: Mixture, cloud: _Cloud) -> Values:
    """Vertices (n, 2) around the cloud: on each ray as far as its ellipse reaches and it is the densest population."""
    angles = np.linspace(0, 2 * math.pi, _VERTICES, endpoint=False)
    circle = np.column_stack([np.cos(angles), np.sin(angles)]) @ np.linalg.cholesky(cloud.covariance).T
    steps = np.linspace(0, math.sqrt(-2 * math.log(1 - _CELLS_INSIDE)), _STEPS_OUT)
    rays = cloud.mean + steps[:, None, None] * circle  # (steps, vertices, 2)
    densities = mixture.densities(rays.reshape(-1, 2)).reshape(_STEPS_OUT, _VERTICES, -1)
    own = densities[:, :, cloud.members].sum(axis=2)
    other = densities.sum(axis=2) - own
    lost = (other > own) & (steps >= 1.0)[:, None]  # the middle is the cloud's own
    reach = np.where(lost.any(axis=0), lost.argmax(axis=0), _STEPS_OUT) - 1
    return _hull(rays[reach, np.arange(_VERTICES)])


def _hull(points: Values) -> Values:
    """The corners of the convex hull of points (n, 2), counter-clockwise (Andrew's monotone chain, 1979)."""

    def chain(ordered: list[Any]) -> list[Any]:
        kept: list[Any] = []
        for x, y in ordered:
            while len(kept) > 1 and (kept[-1][0] - kept[-2][0]) * (y - kept[-2][1]) <= (kept[-1][1] - kept[-2][1]) * (
                x - kept[-2][0]
            ):
                kept.pop()
            kept.append((x, y))
        return kept[:-1]

    ordered = sorted(points.tolist())
    return np.array(chain(ordered) + chain(ordered[::-1]))


def _distance(point: Values, mean: Values, covariance: Values) -> float:
    step = point - mean
    return math.sqrt(float(step @ np.linalg.solve(covariance, step)))


# --- singlets: height in proportion to area, or width ------------------------------------------------------


def _wedge(pool: _Pool, area: str, height: str) -> Polygon:
    """A wedge around the usual ratio of height to area; its width from where doublets do not reach."""
    x, y = Dimension(area), Dimension(height)
    usable = (pool.values[x] > 0) & (pool.values[y] > 0)
    at_top = pool.values[x] == pool.values[x].max()
    if np.mean(at_top) > _PILED_AREA:  # area off scale, while height is not, tells nothing of width
        usable &= ~at_top
    peak, spread = _single_cells(np.log(pool.values[x][usable] / pool.values[y][usable]))
    low, high = math.exp(-peak - 3 * spread), math.exp(-peak + 5 * spread)
    far = 4 * float(pool.values[x].max())
    corners = ((0.0, 0.0), (far, far * low), (far, far * high))
    return Polygon("singlets", "cells", x, y, tuple((rounded(a), rounded(b)) for a, b in corners))


def _narrow(pool: _Pool, width: str) -> Range:
    """Widths around the usual one: a doublet takes longer to pass."""
    axis = Dimension(width)
    peak, spread = _single_cells(np.log(pool.values[axis][pool.values[axis] > 0]))
    low, high = math.exp(peak - 5 * spread), math.exp(peak + 3 * spread)
    return Range("singlets", "cells", axis, rounded(low), rounded(high))


def _single_cells(widths: Values) -> tuple[float, float]:
    """Peak and spread of single cells along log width (or area over height), which doublets only make larger."""
    peak = mode(widths)
    below = peak - widths[widths <= peak]
    above = widths[(widths > peak) & (widths < peak + _DOUBLET_STEP)] - peak
    spread = max(1.4826 * float(np.median(part)) if len(part) else 0.0 for part in (above, below))
    return peak, max(spread, 1e-3)


# --- live, expressing: populations along one fluorescence ----------------------------------------


_GOLDEN = (math.sqrt(5) - 1) / 2  # its multiples fill a step evenly, whatever their number
_FLOORED = 0.002  # share of events on the channel's lowest value from which it is the low end of its range


@dataclass(frozen=True)
class _Light:
    """Events along one fluorescence on its scale, without those at the low end of the range, whose share is told."""

    scale: Scale
    scaled: Values
    at_floor: float
    remarks: tuple[tuple[str, str], ...] = ()

    def back(self, place: float) -> float:
        """A place on the scale as a gate's linear value."""
        return border_at(self.scale, place)


def _light(pool: _Pool, axis: Dimension, name: ScaleName) -> _Light:
    raw = pool.values[Dimension(axis.channel)]
    low = raw == raw.min()
    values = pool.values[axis] + _within_steps(raw)
    share = 0.0
    if np.mean(low) > _FLOORED:  # compensation blurs the end: what lies below where most of them lie is at the end too
        low |= values <= float(np.median(pool.values[axis][low]))
        if not low.all():
            share, values = float(np.mean(low)), values[~low]
    found = fitted(name, values, pool.spans.get(axis.channel, Span()), share)
    remarks = (("scale-top", f"{name} scale of {axis.channel}: {found.note}"),) if found.note else ()
    return _Light(found.scale, found.scale.forward(values), share, remarks)


def _within_steps(raw: Values) -> Values:
    """What spreads events of one stored value evenly over the step to its neighbours, shape (n,); 0 where hardly two
    share a value. Between the steps of coarse integers a density would have valleys.
    """
    levels, at, counts = np.unique(raw, return_inverse=True, return_counts=True)
    if not 2 < len(levels) < 0.5 * len(raw):
        return np.zeros(len(raw))
    gaps = np.diff(levels)
    step = np.minimum(np.append(gaps, gaps[-1]), np.insert(gaps, 0, gaps[0]))
    order = np.argsort(at, kind="stable")
    rank = np.empty(len(raw))
    rank[order] = np.arange(len(raw)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.asarray((rank * _GOLDEN % 1.0 - 0.5) * step[at], np.float64)


def _live(light: _Light, axis: Dimension, parent: str) -> Range:
    """Up to where as many living cells are lost as dead ones are kept, three to eight spreads above the live peak."""
    living = dark_population(light.scaled, light.at_floor)
    limit = min(max(living.balance(), living.peak + 3 * living.above), living.peak + 8 * living.above)
    return Range("live", parent, axis, None, light.back(limit))


@dataclass(frozen=True)
class _Split:
    gates: tuple[Range, Range]
    remarks: tuple[tuple[str, str], ...]
    dark_wells: int


def _reporter(light: _Light, alone: Sequence[_Pool], axis: Dimension, parent: str) -> _Split:
    """Expressing from where as many dark cells are taken as dim ones are lost; non-expressing below a gap."""
    zero = float(light.scale.forward(np.zeros(1))[0])
    dark = dark_population(light.scaled, light.at_floor, zero=zero)
    known = [scaled for well in alone if len(scaled := light.scale.forward(well.values[axis])) >= _LEAST_ALONE]
    known = [scaled for scaled in known if _is_dark(scaled, dark, light.scaled)]
    if known:
        dark = dark_population(light.scaled, light.at_floor, np.concatenate(known), zero)
    lower = max(dark.balance(), dark.peak + 1.5 * dark.above)
    upper = min(max(dark.last_above(0.8), dark.holding(0.95)), lower - 0.1 * dark.above)
    nonexpressing = Range("nonexpressing", parent, axis, _trimmed(light, dark, upper), light.back(upper))
    expressing = Range("expressing", parent, axis, light.back(lower), None)
    return _Split((expressing, nonexpressing), tuple(_reporter_remarks(dark, lower)), len(known))


def _trimmed(light: _Light, dark: Dark, upper: float) -> float | None:
    """Where the non-expressing gate begins: as many dark cells lie below as it loses above, if these are many.

    What lies highest on the reporter are the largest cells, brighter in every channel: without them the median of the
    signal is too low, and delta too high. Taking as many from the other end undoes it to first order.
    """
    lost = dark.beyond_at(upper) / max(1e-9, 1 - dark.others)
    if lost < _FEW_LOST:
        return None
    darkest = np.sort(light.scaled[light.scaled <= upper])
    return light.back(float(darkest[min(len(darkest) - 1, int(lost / (1 - lost) * len(darkest)))]))


def _is_dark(scaled: Values, plate: Dark, everyone: Values) -> bool:
    """Whether a well holds dark cells alone, where the plate's lie, or where it has some that its peaks do not show."""
    found = dark_population(scaled)
    if found.others >= LEAST_SHARE:
        return False
    hidden = found.peak < plate.peak and 2 * float(np.mean(everyone < found.peak)) >= LEAST_SHARE
    return hidden or abs(found.peak - plate.peak) < plate.above + plate.below


def _reporter_remarks(dark: Dark, lower: float) -> list[tuple[str, str]]:
    if dark.others < LEAST_SHARE:
        share = f"{100 * max(0.0, dark.others):.2g} %"
        return [("no-expressing", f"no expressing population: {share} of the cells stand apart on the reporter")]
    if dark.border == "none":
        what = "the border rests on the flank of one peak; set the gates by hand, or add wells of untransfected cells"
        return [("reporter-no-valley", f"no valley parts dark from expressing cells on the reporter: {what}")]
    if dark.border == "step":
        what = "the border is where the step of dark cells below the expressing ones ends"
        return [("reporter-step", f"no valley parts dark from expressing cells on the reporter: {what}")]
    mixed = dark.beyond_at(lower) / dark.others
    if mixed <= _MIXED:
        return []
    what = f"about {100 * mixed:.2g} % of the events called expressing are dark, and as many expressing ones are missed"
    return [("reporter-overlap", f"dark and expressing cells overlap on the reporter: {what}")]
