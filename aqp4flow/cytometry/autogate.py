"""Gates learned once a plate from pooled wells, then frozen.

The signal channel is never looked at. Everything is deterministic: events are thinned by even steps, mixtures
start from a seed, and a gate's numbers are rounded to six digits before anyone applies them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqp4flow.cytometry.gates import Columns, GateChannels, inside
from aqp4flow.errors import AnalysisError
from aqp4flow.model import Dimension, Gate, Polygon, Range, Values

EVENTS_TO_LEARN_FROM = 40_000
_MOST_FROM_A_WELL = 4_000
_MIXTURE_EVENTS = 12_000
_CELLS_INSIDE = 0.97  # share of the cells' own ellipse kept
_VERTICES = 32
_DOUBLET_STEP = 0.35  # on log height/area: two cells side by side halve the ratio (0.69), one cell never falls so far


@dataclass(frozen=True)
class Learned:
    """Gates and what was noticed while learning them (code -> sentence)."""

    gates: tuple[Gate, ...]
    remarks: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Pool:
    """Pooled events of a plate by axis; shrinks as gates are set."""

    values: dict[Dimension, Values]

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def within(self, gate: Gate) -> _Pool:
        axes = (gate.x,) if isinstance(gate, Range) else (gate.x, gate.y)
        mask = inside(gate, *(self.values[axis] for axis in axes))
        return _Pool({axis: column[mask] for axis, column in self.values.items()})


def learn_gates(wells: Iterable[Columns], channels: GateChannels, seed: int) -> Learned:
    """Gates `cells`, `singlets`, `live`, `expressing`, `nonexpressing`, as far as channels exist.

    Every well gives the same number of events, so that controls weigh as much as patients.
    Raises AnalysisError when there are too few events to learn from.
    """
    pool = _pooled(wells, channels)
    if len(pool) < 200:
        raise AnalysisError(
            "gates",
            f"only {len(pool)} events to learn from",
            "use the gates of another plate: [gating] source",
        )
    remarks: list[tuple[str, str]] = []
    gates: list[Gate] = [_cells(pool, channels, seed)]
    pool = pool.within(gates[-1])
    if channels.forward_height:
        gates.append(_singlets(pool, channels.forward, channels.forward_height, gates[-1].name))
        pool = pool.within(gates[-1])
    else:
        remarks.append(("no-singlets", "no height channel: doublets are not taken out"))
    if channels.viability:
        gates.append(_live(pool, Dimension(channels.viability, True), gates[-1].name, seed))
        pool = pool.within(gates[-1])
    else:
        remarks.append(("no-live", "no viability channel: dead cells are not taken out"))
    if channels.reporter:
        split, found = _reporter(pool, Dimension(channels.reporter, True), gates[-1].name, seed)
        gates.extend(split)
        remarks.extend(found)
    return Learned(tuple(gates), tuple(remarks))


_DEBRIS = 0.4  # of the cells' forward scatter: dead cells scatter more than that, debris less


def without_debris(well: Columns, channels: GateChannels, seed: int) -> NDArray[np.intp]:
    """Rows of one well's events that are no debris: dead cells stay in, as a viability control needs them."""
    scatter = GateChannels(channels.forward, channels.side)
    gate = _cells(_pooled([well], scatter), scatter, seed)
    forward = well.raw(channels.forward)
    cells = inside(gate, forward, well.raw(channels.side))
    return np.flatnonzero(forward >= _DEBRIS * np.median(forward[cells]))


def _pooled(wells: Iterable[Columns], channels: GateChannels) -> _Pool:
    """Events of all wells by axis. Wells are looked at one by one, so that memory does not grow with the plate."""
    names = [channels.forward, channels.side, channels.forward_height]
    axes = [Dimension(name) for name in names if name]
    axes += [Dimension(name, True) for name in (channels.viability, channels.reporter) if name]
    taken = []
    for well in wells:
        rows = _even_steps(well.events.count, _MOST_FROM_A_WELL)
        taken.append([well.take(axis, rows) for axis in axes])
    share = max(1, EVENTS_TO_LEARN_FROM // max(1, len(taken)))
    thinned = [[column[_even_steps(len(column), share)] for column in columns] for columns in taken]
    pooled = [np.concatenate(parts) for parts in zip(*thinned, strict=True)] or [np.empty(0)] * len(axes)
    finite = np.logical_and.reduce([np.isfinite(column) for column in pooled])
    return _Pool({axis: column[finite] for axis, column in zip(axes, pooled, strict=True)})


def _even_steps(count: int, wanted: int) -> NDArray[np.intp]:
    return np.unique(np.linspace(0, count - 1, min(count, wanted)).astype(np.intp)) if count else np.empty(0, np.intp)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


# --- cells: where most of the forward scatter comes from -----------------------------------------


def _cells(pool: _Pool, channels: GateChannels, seed: int) -> Polygon:
    """An ellipse on logarithmic forward and side scatter around the population that scatters most light.

    Debris may be the most numerous by far, but it is small; weight times mean forward scatter finds the cells.
    """
    x, y = Dimension(channels.forward), Dimension(channels.side)
    positive = (pool.values[x] > 0) & (pool.values[y] > 0)
    if np.count_nonzero(positive) < 200:
        raise AnalysisError("gates", "too few events with scatter above 0", "check [channels] forward and side")
    points = np.log10(np.column_stack([pool.values[x][positive], pool.values[y][positive]]))
    mean, covariance = _main_cloud(points, seed)
    radius = math.sqrt(-2 * math.log(1 - _CELLS_INSIDE))
    angles = np.linspace(0, 2 * math.pi, _VERTICES, endpoint=False)
    circle = np.column_stack([np.cos(angles), np.sin(angles)]) * radius
    edge = 10 ** (mean + circle @ np.linalg.cholesky(covariance).T)
    return Polygon("cells", None, x, y, tuple((_rounded(a), _rounded(b)) for a, b in edge))


def _main_cloud(points: Values, seed: int) -> tuple[Values, Values]:
    mixture = _best_mixture(points, range(1, 6), seed)
    weights, means, covariances = mixture.weights_, mixture.means_, mixture.covariances_
    main = int(np.argmax(weights * 10 ** means[:, 0]))
    # A skewed cloud is described by several components: those that lie in each other's reach are one cloud.
    joined = [
        k
        for k in range(len(weights))
        if _distance(means[k], means[main], covariances[main]) < 2.0
        and _distance(means[k], means[main], covariances[k]) < 2.5
    ]
    share = weights[joined] / weights[joined].sum()
    mean = share @ means[joined]
    spread = means[joined] - mean
    covariance = np.einsum("k,kij->ij", share, covariances[joined]) + (spread.T * share) @ spread
    return mean, covariance


def _distance(point: Values, mean: Values, covariance: Values) -> float:
    step = point - mean
    return math.sqrt(float(step @ np.linalg.solve(covariance, step)))


# --- singlets: height in proportion to area ------------------------------------------------------


def _singlets(pool: _Pool, area: str, height: str, parent: str) -> Polygon:
    """A wedge around the usual ratio of height to area; its width from where doublets do not reach."""
    x, y = Dimension(area), Dimension(height)
    positive = (pool.values[x] > 0) & (pool.values[y] > 0)
    ratio = np.log(pool.values[y][positive] / pool.values[x][positive])
    peak = _mode(ratio)
    above = ratio[ratio >= peak] - peak
    below = peak - ratio[(ratio < peak) & (ratio > peak - _DOUBLET_STEP)]
    spread = max(1.4826 * float(np.median(part)) if len(part) else 0.0 for part in (above, below))
    spread = max(spread, 1e-3)
    low, high = math.exp(peak - 3 * spread), math.exp(peak + 5 * spread)
    far = 4 * float(pool.values[x].max())
    corners = ((0.0, 0.0), (far, far * low), (far, far * high))
    return Polygon("singlets", parent, x, y, tuple((_rounded(a), _rounded(b)) for a, b in corners))


def _mode(values: Values) -> float:
    """Half-sample mode (Robertson & Cryer 1974): the middle of the densest half, again and again."""
    ordered = np.sort(values)
    while len(ordered) > 64:  # below this the halves are mere chance
        half = (len(ordered) + 1) // 2
        widths = ordered[half - 1 :] - ordered[: len(ordered) - half + 1]
        start = int(np.argmin(widths))
        ordered = ordered[start : start + half]
    return float(np.median(ordered))


# --- live, expressing: populations along one fluorescence ----------------------------------------


@dataclass(frozen=True)
class DarkScale:
    """arcsinh scale whose linear part is as wide as the dark population, so that noise and decades both fit."""

    cofactor: float

    def forward(self, values: Values) -> Values:
        """From the linear scale to the arcsinh one."""
        return np.arcsinh(values / self.cofactor)

    def back(self, value: float) -> float:
        """From the arcsinh scale to the linear one, rounded to six digits."""
        return _rounded(self.cofactor * math.sinh(value))


def dark_scale(values: Values) -> DarkScale:
    """Cofactor = spread of the dark side of the darkest dense population."""
    lower = np.sort(values)[: max(50, len(values) // 2)]
    peak = _mode(lower)
    below = peak - values[values <= peak]
    spread = 1.4826 * float(np.median(below)) if len(below) else 0.0
    return DarkScale(max(spread, 1e-3 * float(np.ptp(values)), 1e-6))


@dataclass(frozen=True)
class _Dark:
    """The dark population along one fluorescence, from its peak outwards.

    `share` is the part of all density at each point of `grid` that belongs to it; `others` the part of all events
    that stands clearly beyond it.
    """

    peak: float
    sd: float
    others: float
    grid: Values
    share: Values

    def last_above(self, share: float) -> float:
        """The farthest point up to which the dark population holds at least `share`."""
        below = np.flatnonzero(self.share < share)
        return float(self.grid[below[0]]) if len(below) else math.inf


_LEAST_SHARE = 0.02  # a population holds at least this share of the events


def _dark_population(scaled: Values, seed: int) -> _Dark:
    """Smooth by a mixture, find the first true peak from the dark side, mirror its dark side to the bright one.

    On the arcsinh scale noise and autofluorescence are symmetric; the mirror says how far up dark cells reach
    without asking which component of a mixture belongs to whom.
    """
    mixture = _best_mixture(scaled[:, None], range(1, 7), seed)
    weights, means = mixture.weights_, mixture.means_[:, 0]
    sds = np.sqrt(mixture.covariances_[:, 0, 0])
    grid = np.linspace(float(scaled.min()), float(scaled.max()), 3000)
    density = (weights / sds * np.exp(-0.5 * ((grid[:, None] - means) / sds) ** 2)).sum(axis=1)
    at, valley = _first_peak(density)
    peak = float(grid[at])
    mirrored = np.interp(2 * peak - grid[at:], grid, density, left=0.0)
    share = np.minimum.accumulate(np.minimum(1.0, mirrored / np.maximum(density[at:], np.finfo(float).tiny)))
    own = np.abs(scaled[(scaled >= 2 * peak - grid[valley]) & (scaled <= grid[valley])] - peak)
    sd = max(1.4826 * float(np.median(own)), 1e-6)
    far = grid[at:] > peak + 3 * sd  # nearer in, a peak found a little off would count half of its own cells
    others = float(((1 - share) * density[at:])[far].sum() / density.sum())
    return _Dark(peak, sd, others, grid[at:], share)


def _first_peak(density: Values) -> tuple[int, int]:
    """Positions of the first true peak and of the valley behind it (the end when there is none)."""
    mass = np.cumsum(density) / density.sum()
    start = 0
    while True:
        peak, valley, following = _peak_from(density, start)
        small = mass[valley] - (mass[start] if start else 0.0) < _LEAST_SHARE
        if not small or following is None:
            return peak, valley
        start = valley


def _peak_from(density: Values, start: int) -> tuple[int, int, int | None]:
    """From `start`: the highest point before the density has fallen by a fifth and risen by a quarter again."""
    peak = valley = start
    for i in range(start, len(density)):
        if density[i] > density[peak] and density[valley] > 0.8 * density[peak]:
            peak = valley = i
        elif density[i] < density[valley]:
            valley = i
        elif density[valley] <= 0.8 * density[peak] and density[i] > 1.25 * density[valley] + 1e-6 * density[peak]:
            return peak, valley, i
    return peak, len(density) - 1, None


def _live(pool: _Pool, axis: Dimension, parent: str, seed: int) -> Range:
    """Up to where a cell is as likely dead as alive, three to six spreads above the live peak."""
    scale = dark_scale(pool.values[axis])
    dark = _dark_population(scale.forward(pool.values[axis]), seed)
    limit = min(max(dark.last_above(0.5), dark.peak + 3 * dark.sd), dark.peak + 6 * dark.sd)
    return Range("live", parent, axis, None, scale.back(limit))


def _reporter(
    pool: _Pool, axis: Dimension, parent: str, seed: int
) -> tuple[tuple[Range, Range], list[tuple[str, str]]]:
    """Non-expressing where that is 90 % likely, expressing where that is 99 % likely, a gap between."""
    scale = dark_scale(pool.values[axis])
    dark = _dark_population(scale.forward(pool.values[axis]), seed)
    upper = min(dark.last_above(0.9), dark.peak + 3 * dark.sd)
    lower = max(min(dark.last_above(0.01), dark.peak + 8 * dark.sd), upper + 0.5 * dark.sd)
    remarks = []
    if dark.others < _LEAST_SHARE:
        share = f"{100 * max(0.0, dark.others):.2g} %"
        remarks.append(("no-expressing", f"no expressing population: {share} of the cells stand apart on the reporter"))
    nonexpressing = Range("nonexpressing", parent, axis, None, scale.back(upper))
    expressing = Range("expressing", parent, axis, scale.back(lower), None)
    return (expressing, nonexpressing), remarks


def _best_mixture(points: Values, components: range, seed: int) -> Any:
    """The Gaussian mixture with the lowest BIC; one thread, so that sums are added in one order."""
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    thinned = points[_even_steps(len(points), _MIXTURE_EVENTS)]
    with threadpool_limits(1):
        fits = [
            GaussianMixture(k, reg_covar=1e-5, random_state=seed, init_params="k-means++", max_iter=200).fit(thinned)
            for k in components
        ]
        return min(fits, key=lambda fit: float(fit.bic(thinned)))
