"""How a well was acquired: what was measured over the order of the events, the flow, and the ends of the range.

Each quantity is followed in bins of equal numbers of events. Whether a bin, or a run of bins, differs from the well is
asked by the sign test: how many of its events lie above the median of all. Its error is binomial whatever the values
are distributed like, which a mixture of cells, dead cells and debris needs. How far it differs is told in percent, by
the bins' medians. Cutting events by robust distances of binned medians is PeacoQC's idea (Emmaneel et al.,
Cytometry A 2022;101:325); here a stretch must differ both beyond chance and by a percentage that a person sets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aqp4flow.cytometry.gates import Columns, GateChannels, Rows
from aqp4flow.cytometry.measure import Populations, share_at_top
from aqp4flow.model import NAN, Channel, Dimension, Events, Values

MOST_BINS = 50
MOST_EVENTS = 10_000  # of larger wells every second, third, ... event is followed: enough for what a limit can mean
EVENTS_IN_BIN = 50
LEAST_BINS = 10  # fewer values are not followed
LONGEST = 0.25  # share of the bins that one stretch may span: what lasts longer is the well, or a drift
_DECILES = 10
_DRIFT_BY_CHANCE = 33.72  # chi-squared with 9 degrees of freedom exceeds it once in 10,000
_LEAST_TICKS = 5  # steps of the clock that a bin must hold for its rate to mean something
_GAP_BY_CHANCE = 1e-9  # a pause that randomly arriving events make less often than this, in a well
_BAND_VALUES = 1000
Counts = NDArray[np.intp]


@dataclass(frozen=True)
class AcquisitionLimits:
    """What counts as bad, in percent; `stretch_errors` is in standard errors, `flow_factor` a factor either way."""

    stretch_percent: float = 15.0
    stretch_errors: float = 5.0
    drift_percent: float = 10.0
    flow_factor: float = 2.0
    break_percent: float = 2.0
    most_cut_percent: float = 30.0


@dataclass(frozen=True)
class Clock:
    """When events passed: from the first event on, never falling; `unit` is s or ticks.

    `passed` holds every event, of large wells one of `every` so many. `doubt` says why the flow rate cannot be judged
    by it, `mended` what was done to it.
    """

    passed: Values | None
    unit: str
    doubt: str = ""
    mended: str = ""
    every: int = 1


@dataclass(frozen=True)
class Trace:
    """One quantity over the order of events, a number a bin.

    `what` is forward, reporter, signal or flow; `ends` where each bin ends, the number of its last event from 1;
    `percent` how far each bin lies from the well; `chance` from where to where the median of one bin may lie by chance
    alone, in percent; `drift` the spread of the deciles' medians in percent, NaN where chance explains it.
    """

    what: str
    channel: str
    ends: Counts
    percent: Values
    chance: tuple[float, float] = (NAN, NAN)
    drift: float = NAN


@dataclass(frozen=True)
class Stretch:
    """Events `first` to `last` (from 1) that differ: by how many percent and standard errors; when, if known."""

    what: str
    channel: str
    first: int
    last: int
    percent: float
    errors: float
    begin: float = NAN
    end: float = NAN


@dataclass(frozen=True)
class Break:
    """A pause of `length` (in the clock's unit, and in percent of the acquisition) after event `after`."""

    after: int
    length: float
    percent: float


@dataclass(frozen=True)
class AtEnd:
    """Events at an end of a channel's range: `share` of `population`; `what` is forward, side, reporter or signal."""

    what: str
    channel: str
    end: str  # top, floor
    population: str
    share: float


@dataclass(frozen=True)
class Acquired:
    """How one well was acquired. `cut` are the events that were taken out, as (first, last) from 1.

    `unit`, `doubt` and `mended` are those of its clock.
    """

    n_events: int
    unit: str = "s"
    doubt: str = ""
    mended: str = ""
    traces: tuple[Trace, ...] = ()
    stretches: tuple[Stretch, ...] = ()
    flow: tuple[Stretch, ...] = ()
    breaks: tuple[Break, ...] = ()
    at_ends: tuple[AtEnd, ...] = ()
    cut: tuple[tuple[int, int], ...] = ()

    @property
    def bad(self) -> tuple[tuple[int, int], ...]:
        """The stretches put together where they overlap or touch, as (first, last) from 1."""
        joined: list[tuple[int, int]] = []
        for first, last in sorted((stretch.first, stretch.last) for stretch in self.stretches):
            if joined and first <= joined[-1][1] + 1:
                joined[-1] = (joined[-1][0], max(joined[-1][1], last))
            else:
                joined.append((first, last))
        return tuple(joined)

    @property
    def percent_bad(self) -> float:
        """Events in bad stretches, percent of all."""
        return 100.0 * number_of(self.bad) / self.n_events if self.n_events else 0.0


def number_of(spans: Sequence[tuple[int, int]]) -> int:
    """Events in spans (first, last) that do not overlap."""
    return sum(last - first + 1 for first, last in spans)


# --- the clock ------------------------------------------------------------------------------------


def read_clock(time: Values | None, unit: str) -> Clock:
    """The clock of a well from its time channel, shape (n_events,), if it has one.

    A clock that falls by more than half of what it spans has reached its end and begun anew, and runs on from there;
    that step itself counts as no time. One that falls otherwise belongs to events that are not in order of time.
    """
    if time is None:
        return Clock(None, unit, "no time channel")
    every = _thinned(len(time))
    time = time[::every]
    if len(time) < 2:
        return Clock(time - time[:1], unit, "fewer than two events")
    steps = np.diff(time)
    if steps.min() >= 0 and math.isfinite(time[-1] - time[0]):
        return Clock(time - time[0], unit, every=every)
    if not np.isfinite(time).all():
        return Clock(None, unit, "times that are no numbers")
    fallen = steps < 0
    n = int(np.count_nonzero(fallen))
    span = float(np.ptp(time))
    if n > max(1, len(time) // 1000) or not np.all(steps[fallen] < -span / 2):
        return Clock(None, unit, "events not in order of time")
    steps[fallen] = 0.0
    return Clock(np.concatenate([[0.0], np.cumsum(steps)]), unit, mended="the clock began anew", every=every)


# --- one quantity over the order of events ----------------------------------------------------------


@dataclass(frozen=True)
class _Bins:
    """Values in bins of equal number, the last with the remainder: size, how many, and events in each."""

    size: int
    counts: Values

    @property
    def starts(self) -> Counts:
        return np.arange(len(self.counts), dtype=np.intp) * self.size

    @property
    def ends(self) -> Counts:
        return np.asarray(self.starts + self.counts.astype(np.intp), np.intp)


def _bins_of(n: int) -> _Bins | None:
    """Bins for n values, a multiple of ten of them so that they make up deciles; None where there are too few."""
    wanted = min(MOST_BINS, n // EVENTS_IN_BIN) // _DECILES * _DECILES
    if wanted < LEAST_BINS:
        return None
    size = n // wanted
    counts = np.full(wanted, float(size))
    counts[-1] = n - size * (wanted - 1)
    return _Bins(size, counts)


def _medians(values: Values, bins: _Bins) -> Values:
    """The median of each bin (of an even number the upper of the two in the middle)."""
    whole = len(bins.counts) * bins.size
    rows = values[:whole].reshape(-1, bins.size)
    found = np.partition(rows, bins.size // 2, axis=1)[:, bins.size // 2].copy()
    last = values[whole - bins.size :]
    found[-1] = np.partition(last, len(last) // 2)[len(last) // 2]
    return found


def relative(values: Values) -> Values:
    """Distance from the median, in units of the median, or of the spread where that is larger (half of the middle
    68 % of the values): a median near 0 has no percent. Zeros where neither is above 0.
    """
    n = len(values)
    middle, low = n // 2, int(0.1587 * n)
    parted = np.partition(values, middle)  # one rank at a time: far faster than several at once
    centre = float(parted[middle])
    upper = np.partition(parted[middle:], n - 1 - low - middle)[n - 1 - low - middle]
    lower = np.partition(parted[:middle], low)[low] if low < middle else centre
    unit = max(abs(centre), float(upper - lower) / 2)
    return (values - centre) / unit if unit > 0 else np.zeros(n)


def follow(
    what: str, channel: str, values: Values, rows: Rows | None, limits: AcquisitionLimits
) -> tuple[Trace, tuple[Stretch, ...]] | None:
    """The trace of `values` (as `relative` gives them, in order of events) and its bad stretches.

    `rows` are the numbers of their events from 0 (None: all events). None where there are too few values to follow.
    """
    bins = _bins_of(len(values))
    if bins is None:
        return None
    high = _above(values, bins)
    percent = 100 * _medians(values, bins)
    ends = bins.ends if rows is None else np.asarray(np.append(rows[bins.starts[1:]], rows[-1] + 1), np.intp)
    starts = np.append(0, ends[:-1])
    runs = _runs(high, bins.counts, percent, limits)
    found = [Stretch(what, channel, int(starts[i]) + 1, int(ends[j - 1]), size, errors) for i, j, size, errors in runs]
    if 0 < sum(j - i for i, j, *_ in runs) <= LONGEST * len(high):  # a drift is what there is beside bad stretches
        kept = np.ones(len(values), np.bool_)
        for i, j, *_ in runs:
            kept[bins.starts[i] : bins.ends[j - 1]] = False
        drift = _drift(values[kept])
    else:
        drift = _drift(values, bins, high)
    chance = _by_chance(values, bins.size, limits.stretch_errors)
    return Trace(what, channel, ends, percent, chance, drift), tuple(found)


def _above(values: Values, bins: _Bins) -> Values:
    """How many values of each bin lie above 0."""
    above = (values > 0).view(np.int8)
    whole = len(bins.counts) * bins.size
    high: Values = above[:whole].reshape(-1, bins.size).sum(axis=1, dtype=np.float64)
    high[-1] += np.count_nonzero(above[whole:])
    return high


def _runs(
    high: Values, counts: Values, percent: Values, limits: AcquisitionLimits
) -> list[tuple[int, int, float, float]]:
    """Runs of bins i <= k < j that differ: (i, j, percent, standard errors), in order.

    `high` of the `counts` events of each bin lie above the median. Of all runs of up to a quarter of the bins the one
    that chance explains least is taken; then the rest is asked by itself, as a well that never had it. On the average
    of its bins a run must differ by the limit, at its ends by half of it.
    """
    if np.abs(percent).max() < limits.stretch_percent:
        return []
    begin, end = _all_runs(len(high))
    errors = _errors(high, counts, begin, end)
    if np.abs(errors).max() < limits.stretch_errors:
        return []
    sums = np.concatenate([[0.0], np.cumsum(percent)])
    average = (sums[end] - sums[begin]) / (end - begin)
    side = np.sign(average)
    enough = np.abs(average) >= limits.stretch_percent
    enough &= np.minimum(side * percent[begin], side * percent[end - 1]) >= limits.stretch_percent / 2
    left = np.ones(len(high))
    found: list[tuple[int, int, float, float]] = []
    while True:
        counted = np.where(enough & (side == np.sign(errors)), np.abs(errors), 0.0)
        best = int(np.argmax(counted))
        if counted[best] < limits.stretch_errors:
            return _joined(sorted(found))
        i, j = int(begin[best]), int(end[best])
        found.append((i, j, float(average[best]), float(errors[best])))
        enough &= (end <= i) | (begin >= j)
        left[i:j] = 0.0
        errors = _errors(high * left, counts * left, begin, end)


@lru_cache(maxsize=8)
def _all_runs(n: int) -> tuple[Counts, Counts]:
    """Every run of up to a quarter of n bins: first bins, and the bins after the last, each of shape (n_runs,)."""
    begin, end = np.triu_indices(n + 1, 1)
    short = end - begin <= max(1, int(LONGEST * n))
    return begin[short], end[short]


def _joined(runs: Sequence[tuple[int, int, float, float]]) -> list[tuple[int, int, float, float]]:
    """Runs that touch and differ the same way as one, with the errors of the worse."""
    joined: list[tuple[int, int, float, float]] = []
    for i, j, percent, errors in runs:
        if joined and joined[-1][1] == i and (joined[-1][2] > 0) == (percent > 0):
            begin, end, other, worse = joined[-1]
            average = ((end - begin) * other + (j - i) * percent) / (j - begin)
            joined[-1] = (begin, j, average, max(worse, errors, key=abs))
        else:
            joined.append((i, j, percent, errors))
    return joined


def _errors(high: Values, counts: Values, begin: Counts, end: Counts) -> Values:
    """Standard errors by which the runs of bins from `begin` up to before `end` differ; 0 where nothing is left.

    The sign test against the well of which a run is a part: hypergeometric, hence the last factor of its variance.
    """
    above, events = np.concatenate([[0.0], np.cumsum(high)]), np.concatenate([[0.0], np.cumsum(counts)])
    n = max(float(events[-1]), 1.0)
    share = float(above[-1]) / n
    size = events[end] - events[begin]
    surplus = above[end] - above[begin] - share * size
    variance = share * (1 - share) * size * (1 - size / n)
    return np.asarray(surplus / np.sqrt(np.where(variance > 0, variance, np.inf)), np.float64)


def _drift(values: Values, bins: _Bins | None = None, high: Values | None = None) -> float:
    """Largest less smallest median of the deciles, percent; NaN where chance explains that the deciles differ.

    `bins` and how many of each lie above the median (`high`) where they are known already.
    """
    if bins is None or high is None:
        bins = _bins_of(len(values))
        if bins is None:
            return NAN
        high = _above(values, bins)
    share = float(high.sum()) / len(values)
    decile = len(high) // _DECILES
    events = bins.counts.reshape(_DECILES, decile).sum(axis=1)
    surplus = high.reshape(_DECILES, decile).sum(axis=1) - share * events
    variance = share * (1 - share) * events
    if not variance[0] > 0 or float((surplus * surplus / variance).sum()) <= _DRIFT_BY_CHANCE:
        return NAN
    return 100 * float(np.ptp(_medians(values, _Bins(bins.size * decile, events))))


def _by_chance(values: Values, size: int, errors: float) -> tuple[float, float]:
    """From where to where the median of `size` values may lie, percent: the sign test turned round."""
    ordered = np.sort(values[:: max(1, len(values) // _BAND_VALUES)])
    reach = min(0.5, errors / (2 * math.sqrt(size)))
    low, high = (round((0.5 + side * reach) * (len(ordered) - 1)) for side in (-1, 1))
    return 100 * float(ordered[low]), 100 * float(ordered[high])


# --- the flow -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Flow:
    """The flow of a well: rate over the order of events in percent of its median, where it changed, where it stood."""

    trace: Trace | None = None
    changes: tuple[Stretch, ...] = ()
    breaks: tuple[Break, ...] = ()
    doubt: str = ""


def follow_flow(clock: Clock, limits: AcquisitionLimits) -> Flow:
    """Breaks, and stretches where the rate fell or rose by more than `flow_factor` beyond what chance allows.

    A break is a pause that randomly arriving events do not make, and that lasts more than `break_percent` of the whole
    time. Breaks do not count as time in the rate of the bin that they fall into. Of large wells every second, third,
    ... event is looked at: there a break may begin some events later than it says.
    """
    if clock.passed is None:
        return Flow(doubt=clock.doubt)
    passed, every = clock.passed, clock.every
    bins = _bins_of(len(passed))
    if bins is None:
        return Flow(doubt=clock.doubt)
    gaps = np.diff(passed, prepend=passed[0])
    edges = bins.starts
    lasting = np.diff(passed[edges], append=passed[-1])
    usual = float(np.partition(lasting, len(lasting) // 2)[len(lasting) // 2])
    steps, whole = int(np.count_nonzero(gaps)), float(passed[-1])
    if steps < _LEAST_TICKS * len(edges) or not usual > 0:
        return Flow(doubt="a clock too coarse for the flow rate")
    longest = usual / bins.size * math.log(len(gaps) / _GAP_BY_CHANCE) + 2 * whole / steps
    longest = max(longest, limits.break_percent / 100 * whole)
    at = np.flatnonzero(gaps > longest)
    breaks = [Break(int(i - 1) * every + 1, float(gaps[i]), 100 * float(gaps[i]) / whole) for i in at]
    if len(at):
        np.subtract.at(lasting, np.searchsorted(edges, at, side="left") - 1, gaps[at])
    rate = bins.counts / np.maximum(lasting, usual / 100)
    level = float(np.median(rate))
    trace = Trace("flow", "", bins.ends * every, 100 * (rate / level - 1))
    errors = _rate_errors(lasting, level, bins.counts, whole / steps)
    return Flow(trace, _changes(trace, errors, limits), tuple(breaks))


def _rate_errors(lasting: Values, level: float, counts: Values, tick: float) -> Values:
    """Standard errors by which the rates of bins differ from `level`: the signed root of the deviance of a gamma law.

    What one step of the clock may have added or taken away is not held against a bin.
    """
    usual = counts / level
    step = np.sign(usual - lasting) * np.minimum(np.abs(usual - lasting), tick)
    ratio = np.maximum((lasting + step) / usual, 1e-6)
    return np.asarray(np.sign(1 - ratio) * np.sqrt(2 * counts * (ratio - 1 - np.log(ratio))), np.float64)


def _changes(trace: Trace, errors: Values, limits: AcquisitionLimits) -> tuple[Stretch, ...]:
    """Runs of bins whose rate lies beyond the factor, and further than chance explains."""
    ratio = 1 + trace.percent / 100
    beyond = (np.abs(errors) >= limits.stretch_errors) * (
        (ratio > limits.flow_factor).astype(np.int8) - (ratio < 1 / limits.flow_factor)
    )
    edges = [0, *(np.flatnonzero(np.diff(beyond)) + 1).tolist(), len(beyond)]
    begins = [0, *trace.ends[:-1].tolist()]
    found = []
    for i, j in pairwise(edges):
        if beyond[i]:
            worst = i + int(np.argmax(np.abs(errors[i:j])))
            middle = float(np.median(trace.percent[i:j]))
            found.append(Stretch("flow", "", begins[i] + 1, int(trace.ends[j - 1]), middle, float(errors[worst])))
    return tuple(found)


# --- a well ---------------------------------------------------------------------------------------


def judge_ungated(columns: Columns, channels: GateChannels, clock: Clock, limits: AcquisitionLimits) -> Acquired:
    """What can be told of any well, whatever its stain: forward scatter, the flow, the ends of scatter's range."""
    n = columns.events.count
    flow = follow_flow(clock, limits)
    every = _thinned(n)
    rows = np.arange(0, n, every) if every > 1 else None
    followed = _followed("forward", channels.forward, columns.raw(channels.forward)[::every], rows, limits)
    traces = [trace for trace, _ in followed]
    if flow.trace:
        traces.append(replace(flow.trace, ends=np.minimum(flow.trace.ends, n)))
    at_ends = [
        AtEnd(what, name, "top", "all", share_at_top(columns, name, None))
        for what, name in (("forward", channels.forward), ("side", channels.side))
    ]
    return Acquired(
        n_events=n,
        unit=clock.unit,
        doubt=flow.doubt,
        mended=clock.mended,
        traces=tuple(traces),
        stretches=tuple(stretch for _, stretches in followed for stretch in stretches),
        flow=tuple(replace(change, last=min(change.last, n)) for change in flow.changes),
        breaks=flow.breaks,
        at_ends=tuple(end for end in at_ends if end.share > 0),
    )


def judge_gated(
    before: Acquired,
    columns: Columns,
    found: Mapping[str, Rows],
    compared: Populations,
    names: tuple[str | None, str],
    limits: AcquisitionLimits,
) -> Acquired:
    """`before` with what the gated cells tell; `names` are the channels of reporter and signal.

    The reporter is followed in expressing cells. The signal is followed in all compared cells, each population about
    its own median, so that its share may change without a signal of a change.
    """
    reporter, signal = names
    bright = found[compared.expressing]
    dark = found[compared.nonexpressing] if compared.nonexpressing else bright[:0]
    every = _thinned(before.n_events)
    thin = (bright[::every], dark[::every])
    followed = []
    at_ends = list(before.at_ends)
    if reporter is not None:
        axis = Dimension(reporter, compensated=True)
        followed += _followed("reporter", reporter, columns.take(axis, thin[0]), thin[0], limits)
        at_ends.append(AtEnd("reporter", reporter, "top", "expressing", share_at_top(columns, reporter, bright)))
    values, rows = _together(columns.column(Dimension(signal, compensated=True)), thin)
    followed += _followed("signal", signal, values, rows, limits, of_populations=True)
    for what, channel in (("reporter", reporter), ("signal", signal)):
        if channel is not None:
            at_ends.append(AtEnd(what, channel, "floor", "gated", _at_floor(columns.raw(channel), (bright, dark))))
    stretches = tuple(stretch for _, bad in followed for stretch in bad)
    return replace(
        before,
        traces=(*(trace for trace, _ in followed), *before.traces),
        stretches=before.stretches + stretches,
        at_ends=tuple(end for end in at_ends if end.share > 0),
    )


def _thinned(n: int) -> int:
    """Of every how many events one is followed."""
    return max(1, -(-n // MOST_EVENTS))


def _followed(
    what: str,
    channel: str,
    values: Values,
    rows: Rows | None,
    limits: AcquisitionLimits,
    of_populations: bool = False,
) -> list[tuple[Trace, tuple[Stretch, ...]]]:
    """The trace, in a list that is empty where there are too few values; values that are no numbers are left out."""
    good = np.isfinite(values)
    if not good.all():
        rows = np.flatnonzero(good) if rows is None else rows[good]
        values = values[good]
    if _bins_of(len(values)) is None:
        return []
    found = follow(what, channel, values if of_populations else relative(values), rows, limits)
    return [found] if found else []


def _together(values: Values, parts: Sequence[Rows]) -> tuple[Values, Rows]:
    """Each population's `relative` values, put together in the order of events, and the rows of those events."""
    taken = []
    for rows in parts:
        own = values[rows]
        taken.append(relative(own) if len(rows) else own)
    every = np.concatenate(parts)
    order = np.argsort(every, kind="stable")  # quick where two rising runs are merged
    return np.concatenate(taken)[order], every[order]


def timed(acquired: Acquired, clock: Clock) -> Acquired:
    """`acquired` with the times of the first and last event of each stretch; it does not hold on to the clock."""
    passed = clock.passed
    if passed is None or not (acquired.stretches or acquired.flow):
        return acquired

    def when(stretch: Stretch) -> Stretch:
        at = (min((event - 1) // clock.every, len(passed) - 1) for event in (stretch.first, stretch.last))
        begin, end = (float(passed[k]) for k in at)
        return replace(stretch, begin=begin, end=end)

    return replace(acquired, stretches=tuple(map(when, acquired.stretches)), flow=tuple(map(when, acquired.flow)))


def _at_floor(raw: Values, parts: Sequence[Rows]) -> float:
    """Share of the gated events that stand at the lowest value of the well: 0 where a single event does."""
    n = sum(len(rows) for rows in parts)
    piled = raw <= raw.min()
    if n == 0 or np.count_nonzero(piled) < 2:
        return 0.0
    return sum(int(np.count_nonzero(piled[rows])) for rows in parts) / n


# --- cut out --------------------------------------------------------------------------------------


def with_cut(acquired: Acquired, limits: AcquisitionLimits) -> Acquired:
    """`acquired` with its bad stretches marked as cut out; nothing where they hold more than `most_cut_percent`.

    Beyond that there is no telling which part of the well is the right one.
    """
    if not acquired.stretches or acquired.percent_bad > limits.most_cut_percent:
        return acquired
    return replace(acquired, cut=acquired.bad)


def kept_rows(rows: Rows, cut: Sequence[tuple[int, int]]) -> Rows:
    """The rows (from 0, rising) that lie in no span of `cut` (first, last, from 1)."""
    for first, last in cut:
        begin, end = np.searchsorted(rows, (first - 1, last))
        rows = np.concatenate([rows[:begin], rows[end:]])
    return rows


@dataclass(frozen=True)
class Kept:
    """Events without those of some spans (first, last, from 1), to whoever asks as if they had never been there."""

    events: Events
    cut: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        """Number of events that are left."""
        return self.events.count - number_of(self.cut)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """All channels, in file order."""
        return self.events.channels

    def column(self, name: str) -> Values:
        """Linear values of one channel, shape (count,)."""
        return self.events.column(name)[kept_rows(np.arange(self.events.count), self.cut)]
