"""The beads of a bead well: the singlet cloud on scatter, and populations of singlets told apart by valleys.

Of all fluorescence channels the one with the deepest valley parts the events, and again in each part, until no valley
is left. Beads dyed in several colours are thus separated wherever they are separable; beads of one dye by the signal
alone. No random number is drawn.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aqp4flow.cytometry.dark import mode
from aqp4flow.cytometry.gates import Columns, Rows
from aqp4flow.cytometry.scale import Asinh
from aqp4flow.errors import AnalysisError
from aqp4flow.model import Channel, Values

LEAST_PEAKS = 3
LEAST_EVENTS = 40  # of a peak
TOP = 0.985  # of the range, as stored: what reaches beyond it is bent or cut
_CLOUD = 6.0  # squared distance: 95 % of a normal cloud on two axes
_DEBRIS = 1 / 3  # of the usual number of events of a peak; lots are mixed in about equal parts


@dataclass(frozen=True)
class Cloud:
    """The singlets on scatter: an ellipse on log10 forward and side scatter, `distance` squared from its mean."""

    mean: tuple[float, float]
    covariance: tuple[tuple[float, float], tuple[float, float]]
    distance: float = _CLOUD


@dataclass(frozen=True)
class Sample:
    """Events of one bead well. `signal` and each row of `others` hold the singlets; scatter holds all events."""

    name: str
    signal: Values = field(repr=False)
    others: tuple[Values, ...] = field(repr=False)
    cloud: Cloud
    scatter: tuple[Values, Values] = field(repr=False)


# --- singlets on scatter ----------------------------------------------------------------------------


def sample_of(name: str, columns: Columns, scatter: tuple[str, str], signal: str, others: Sequence[str]) -> Sample:
    """The singlets of a bead well, uncompensated: a bead carries its dye alone, in every detector as it shows.

    Raises AnalysisError where there is no cloud on scatter.
    """
    x, y = (columns.raw(axis) for axis in scatter)
    tops = [position(_channel(columns, axis), columns.raw(axis)) for axis in scatter]
    usable = np.isfinite(x) & np.isfinite(y) & (x > 0) & (y > 0)
    for top in tops:
        if float(np.mean(top < TOP)) > 0.5:  # else $PnR says nothing of the values
            usable &= top < TOP
    for axis in (signal, *others):
        usable &= np.isfinite(columns.raw(axis))
    rows = np.flatnonzero(usable)
    if len(rows) < LEAST_PEAKS * LEAST_EVENTS:
        hint = "acquire at least some thousand beads, on scatter voltages at which they are on scale"
        raise AnalysisError(name, f"{len(rows)} events on scale: too few for beads", hint)
    points = np.log10(np.column_stack([x[rows], y[rows]]))
    cloud = find_cloud(points)
    rows = rows[_distances(points, cloud) <= cloud.distance]
    return Sample(
        name,
        columns.raw(signal)[rows],
        tuple(columns.raw(axis)[rows] for axis in others),
        cloud,
        (x[usable], y[usable]),
    )


def find_cloud(points: Values) -> Cloud:
    """The densest cloud of `points` (log10 scatter, shape (n, 2)): a normal law fitted to its core again and again.

    The start is the highest point of a smoothed histogram; each turn takes the events within a squared distance of 6
    and corrects their covariance for what was cut off.
    """
    ends = np.quantile(points, (0.002, 0.998), axis=0)
    width = np.maximum(ends[1] - ends[0], 1e-3) / 100
    edges = [np.arange(ends[0, i] - 2 * width[i], ends[1, i] + 2 * width[i], width[i]) for i in (0, 1)]
    heights = np.histogram2d(points[:, 0], points[:, 1], edges)[0]
    kernel = _kernel(1.5)
    for axis in (0, 1):
        heights = np.apply_along_axis(np.convolve, axis, heights, kernel, mode="same")
    top = np.unravel_index(int(np.argmax(heights)), heights.shape)
    mean = np.array([edges[i][top[i]] + width[i] / 2 for i in (0, 1)])
    covariance = np.diag((1.5 * width) ** 2)
    kept = 1 - (_CLOUD / 2) * math.exp(-_CLOUD / 2) / (1 - math.exp(-_CLOUD / 2))
    for _ in range(60):
        core = points[_mahalanobis(points, mean, covariance) <= _CLOUD]
        if len(core) < 20:
            break
        moved = np.mean(core, axis=0)
        spread = np.cov(core.T) / kept + np.diag((0.05 * width) ** 2)
        settled = np.allclose(spread, covariance, rtol=1e-4, atol=0) and np.allclose(moved, mean, rtol=0, atol=1e-6)
        mean, covariance = moved, spread
        if settled:
            break
    (a, b), (_, d) = covariance.tolist()
    return Cloud((float(mean[0]), float(mean[1])), ((a, b), (b, d)))


def _mahalanobis(points: Values, mean: Values, covariance: Values) -> Values:
    offset = points - mean
    return np.asarray(np.einsum("ij,ij->i", offset, np.linalg.solve(covariance, offset.T).T))


def _distances(points: Values, cloud: Cloud) -> Values:
    return _mahalanobis(points, np.array(cloud.mean), np.array(cloud.covariance))


def _channel(columns: Columns, name: str) -> Channel:
    return next(channel for channel in columns.events.channels if channel.name == name)


def position(channel: Channel, values: Values) -> Values:
    """Linear values as a share of the range as stored: 1 is the end of $PnR, also for log-amplified channels."""
    decades, offset = channel.amplification
    if not 0 < channel.range < math.inf:
        return np.zeros(len(values))
    if decades > 0:
        floor = np.finfo(float).tiny
        return np.log10(np.maximum(values, floor) / (offset or 1.0)) / decades
    return values * (1.0 if math.isnan(channel.gain) else channel.gain) / channel.range


# --- populations by valleys -------------------------------------------------------------------------


@dataclass(frozen=True)
class Groups:
    """Populations of beads as rows of the pooled events, dim to bright; `debris`: events that are in none.

    `usual` is the median number of events of the largest groups, as many as the lot has values.
    """

    signal: Values
    well: NDArray[np.intp]
    rows: tuple[Rows, ...]
    usual: float
    debris: int


def _dimmest_scale(values: Values) -> Asinh:
    """arcsinh scale whose linear part is as wide as the dimmest dense population: a bead of an eighth of the events."""
    lower = np.sort(values)[: max(50, len(values) // 2)]
    peak = mode(lower)
    below = peak - values[values <= peak]
    spread = 1.4826 * float(np.median(below)) if len(below) else 0.0
    return Asinh(max(spread, 1e-3 * float(np.ptp(values)), 1e-6))


def find_groups(samples: Sequence[Sample], wanted: int) -> Groups:
    """Groups of pooled singlets that no valley parts, of about the usual size; raises AnalysisError below three."""
    signal = np.concatenate([sample.signal for sample in samples])
    well = np.repeat(np.arange(len(samples)), [len(sample.signal) for sample in samples])
    others = [np.concatenate(parts) for parts in zip(*(sample.others for sample in samples), strict=True)]
    scaled = [_dimmest_scale(values).forward(values) for values in (signal, *others)]
    groups = _merged_alike(list(_parted(scaled, np.arange(len(signal)))), scaled[0])
    sizes = sorted((len(rows) for rows in groups), reverse=True)
    usual = float(np.median(sizes[:wanted]))
    least = max(LEAST_EVENTS, _DEBRIS * usual)
    kept = [rows for rows in groups if len(rows) >= least]
    if len(kept) < LEAST_PEAKS:
        hint = "look at the bead file: is the mixture of all beads in it, and are they the beads of these values?"
        raise AnalysisError(_names(samples), f"{len(kept)} peaks found, {wanted} values assigned", hint)
    kept = [_core(rows, scaled[0]) for rows in kept]
    outside = len(signal) - sum(len(rows) for rows in kept)
    kept.sort(key=lambda rows: float(np.median(signal[rows])))
    return Groups(signal, well, tuple(kept), usual, outside)


def _names(samples: Sequence[Sample]) -> str:
    return ", ".join(sample.name for sample in samples)


def _parted(scaled: Sequence[Values], rows: Rows) -> Iterator[Rows]:
    """The group, or its parts on both sides of its deepest valley, and so on; each part in file order."""
    cut = None
    if len(rows) >= 2 * LEAST_EVENTS:
        valleys = [(valley, i) for i, values in enumerate(scaled) if (valley := _valley(values[rows])) is not None]
        # a valley in another channel has to be clearly deeper than one in the signal
        cut = min(valleys, key=lambda item: item[0].depth + (0.02 if item[1] else 0.0), default=None)
    if cut is None:
        yield rows
        return
    valley, axis = cut
    below = scaled[axis][rows] < valley.at
    yield from _parted(scaled, rows[below])
    yield from _parted(scaled, rows[~below])


@dataclass(frozen=True)
class _Valley:
    """Where a valley lies, and its density as a share of the lower of the two peaks beside it."""

    at: float
    depth: float


def _valley(values: Values) -> _Valley | None:
    """The deepest valley that is no accident of counting, or None.

    The density is smoothed with Silverman's width (0.9 min(SD, IQR/1.34) n^-1/5), but no finer than the steps in
    which values were stored. A valley counts when it is below 85 % of both peaks, when square roots of the counts
    behind it and the peak differ by three (six standard errors), and when 2 % of the events are on either side.
    """
    n = len(values)
    low, q1, q3, high = np.quantile(values, (0.001, 0.25, 0.75, 0.999))
    spread = min(float(np.std(values)), float(q3 - q1) / 1.34) or float(np.std(values))
    width = max(0.9 * spread * n**-0.2, _step(values), 1e-9)
    if high - low < 4 * width:
        return None
    bins = int(min(20_000, math.ceil((high - low) / width * 4) + 24))
    edges = np.linspace(low - 3 * width, high + 3 * width, bins + 1)
    counts = np.histogram(values, edges)[0].astype(np.float64)
    size = float(edges[1] - edges[0])
    density = np.convolve(counts, _kernel(width / size), mode="same")
    within = density * (2 * math.sqrt(math.pi) * width / size)  # events that the kernel in effect averages over
    share = np.cumsum(counts) / n
    best: _Valley | None = None
    for left, right in pairwise(_hills(within)):
        bottom = left + int(np.argmin(density[left : right + 1]))
        # between two hills the bottom may be flat: its middle
        flat = left + np.flatnonzero(density[left : right + 1] <= density[bottom] + 1e-9 * density.max())
        bottom = int(flat[len(flat) // 2])
        depth = float(density[bottom] / min(density[left], density[right]))
        if depth <= 0.85 and 0.02 <= share[bottom] <= 0.98 and (best is None or depth < best.depth):
            best = _Valley(float((edges[bottom] + edges[bottom + 1]) / 2), depth)
    return best


def _hills(within: Values) -> list[int]:
    """Positions of hills that stand out of the valleys beside them by six standard errors of a count."""
    root = np.sqrt(within)
    hills: list[int] = []
    peak = valley = 0
    rising = True
    for i in range(len(root)):
        if rising:
            if root[i] > root[peak]:
                peak = i
            elif root[peak] - root[i] >= 3:
                hills.append(peak)
                rising, valley = False, i
        elif root[i] < root[valley]:
            valley = i
        elif root[i] - root[valley] >= 3:
            rising, peak = True, i
    return hills


def _kernel(sd: float) -> Values:
    """A normal kernel of unit sum, out to four spreads (`sd` in bins)."""
    reach = max(1, math.ceil(4 * sd))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sd, 1e-9)) ** 2)
    return np.asarray(kernel / kernel.sum())


def _step(values: Values) -> float:
    """The usual step between values that occur, where they repeat; 0 where hardly any does."""
    steps = np.unique(values)
    if len(steps) > len(values) / 2 or len(steps) < 3:
        return 0.0
    weights = np.searchsorted(np.sort(values), steps, side="right") / len(values)
    middle = steps[(weights > 0.05) & (weights < 0.97)]
    return float(np.quantile(np.diff(middle), 0.9)) if len(middle) > 2 else 0.0


def _merged_alike(groups: list[Rows], signal: Values) -> list[Rows]:
    """Groups whose medians in the signal differ by less than half a spread are one peak there."""
    ordered = sorted(groups, key=lambda rows: float(np.median(signal[rows])))
    merged: list[Rows] = []
    for rows in ordered:
        if merged:
            gap = float(np.median(signal[rows]) - np.median(signal[merged[-1]]))
            if gap <= 0.5 * min(spread(signal[rows]), spread(signal[merged[-1]])):
                merged[-1] = np.sort(np.concatenate([merged[-1], rows]))
                continue
        merged.append(rows)
    return merged


def spread(values: Values) -> float:
    """1.4826 times the median distance from the median."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def _core(rows: Rows, signal: Values) -> Rows:
    """Events within four spreads of the median: debris between two peaks belongs to neither."""
    values = signal[rows]
    return rows[np.abs(values - np.median(values)) <= 4 * max(spread(values), 1e-9)]
