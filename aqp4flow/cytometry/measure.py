"""Populations -> MFI with limits that assume no distribution."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from aqp4flow.cytometry.gates import Columns, Rows
from aqp4flow.model import NAN, UNKNOWN, Dimension, Estimate, Values, Z

Statistic = Literal["median", "geometric-mean", "mean"]


def median_ranks(n: int) -> tuple[int, int] | None:
    """Ranks (from 0) of the order statistics that hold the median with at least 95 %; None below n = 6.

    Exact from the binomial law with p = 1/2 up to n = 200, by its normal approximation beyond, rounded outwards
    (Conover, Practical Nonparametric Statistics, 3.2).
    """
    if n < 6:
        return None
    if n <= 200:
        low, tail = 0, 0
        while (tail + math.comb(n, low)) * 40 <= 2**n:  # P(B <= low) <= 0.025
            tail += math.comb(n, low)
            low += 1
        low -= 1
    else:
        low = math.floor((n - 1) / 2 - Z * math.sqrt(n) / 2) - 1
    return low, n - 1 - low


def median_with_limits(values: Values) -> Estimate:
    """The median and its distribution-free 95 % limits; limits are NaN below six values."""
    n = len(values)
    if n == 0:
        return UNKNOWN
    low, high = median_ranks(n) or ((n - 1) // 2, n // 2)
    between = np.sort(np.partition(values, (low, high))[low : high + 1])
    median = float(between[(n - 1) // 2 - low] + between[n // 2 - low]) / 2
    return Estimate(median, float(between[0]), float(between[-1])) if n >= 6 else Estimate(median)


def upper_percentile(values: Values, percent: float) -> float:
    """A percentile as the order statistic at or above it (no interpolation); NaN of no values."""
    if not len(values):
        return NAN
    rank = max(0, math.ceil(len(values) * percent / 100) - 1)
    return float(np.partition(values, rank)[rank])


def centre(values: Values, statistic: Statistic) -> Estimate:
    """The statistic of `values` with 95 % limits (normal law for means, on the log scale for geometric ones).

    A geometric mean of values that are not all above 0 does not exist: NaN.
    """
    if statistic == "median":
        return median_with_limits(values)
    if len(values) < 2 or (statistic == "geometric-mean" and not np.all(values > 0)):
        return UNKNOWN
    scale = np.log(values) if statistic == "geometric-mean" else values
    mean, half = float(np.mean(scale)), Z * float(np.std(scale, ddof=1)) / math.sqrt(len(scale))
    limits = (mean, mean - half, mean + half)
    return Estimate(*(math.exp(x) for x in limits)) if statistic == "geometric-mean" else Estimate(*limits)


@dataclass(frozen=True)
class Populations:
    """The names of the populations that are compared; `nonexpressing` is None where another well is the mate.

    `reporter` is the channel ($PnN) along which the signal is followed inside the expressing population, if there is
    one.
    """

    expressing: str
    nonexpressing: str | None
    reporter: str | None = None


@dataclass(frozen=True)
class Against:
    """What a well's events are held against that other wells said.

    `background_top` and `dark_spread` are the mate's, where the non-expressing cells are in another well;
    `plate_top` is the limit that the whole plate's positive cells are counted from, NaN where there is none.
    """

    background_top: float = NAN
    dark_spread: float = NAN
    plate_top: float = NAN


@dataclass(frozen=True)
class Measured:
    """What the cytometry of one well says. `background_top`: 99th percentile of the non-expressing signal.

    `above_expressing`, `above_nonexpressing`: percent of each population above one limit, the plate's or else
    `background_top`. `dark_spread`: half of the middle 68 % of the non-expressing signal, `n_dark` of them. `slope`:
    see `signal_slope`. `at_top`: share of the expressing events whose raw signal stands at the end of the range.
    `not_finite`: events of the compared populations whose signal is NaN or infinite; they are in the counts and in no
    statistic.
    """

    n_events: int
    counts: dict[str, int]
    expressing: Estimate
    nonexpressing: Estimate
    percent_positive: float
    background_top: float
    at_top: float
    not_finite: int = 0
    above_expressing: float = NAN
    above_nonexpressing: float = NAN
    dark_spread: float = NAN
    slope: float = NAN
    n_dark: int = 0


def measure(
    columns: Columns,
    found: Mapping[str, Rows],
    compared: Populations,
    signal: str,
    statistic: Statistic,
    against: Against = Against(),
) -> Measured:
    """Summarise the signal of a well's populations (row numbers in `found`), compensated, on the linear scale."""
    axis = Dimension(signal, compensated=True)
    inside = found.get(compared.expressing, np.empty(0, np.intp))  # a control may have no gates
    bright, lost = _finite(columns.take(axis, inside))
    dark = bright
    if compared.nonexpressing:
        dark, more = _finite(columns.take(axis, found.get(compared.nonexpressing, inside[:0])))
        lost += more
    top = upper_percentile(dark, 99)
    limit = top if compared.nonexpressing else against.background_top
    shared = next((x for x in (against.plate_top, limit, top) if not math.isnan(x)), NAN)
    spread = spread_of(_thinned(dark))
    scale = spread if compared.nonexpressing or math.isnan(against.dark_spread) else against.dark_spread
    return Measured(
        n_events=columns.events.count,
        counts={name: len(rows) for name, rows in found.items()},
        expressing=centre(bright, statistic),
        nonexpressing=centre(dark, statistic) if compared.nonexpressing else UNKNOWN,
        percent_positive=percent_above(bright, limit),
        background_top=top,
        at_top=share_at_top(columns, signal, inside),
        not_finite=lost,
        above_expressing=percent_above(bright, shared),
        above_nonexpressing=percent_above(dark, shared) if compared.nonexpressing else NAN,
        dark_spread=spread,
        n_dark=len(dark),
        slope=signal_slope(columns, compared.reporter, axis, inside, scale) if compared.reporter else NAN,
    )


def _finite(values: Values) -> tuple[Values, int]:
    """The values that are numbers, and how many are not."""
    good = np.isfinite(values)
    return (values, 0) if good.all() else (values[good], int(np.count_nonzero(~good)))


def _thinned(values: Values, most: int = 1024) -> Values:
    """Every second, third, ... value, so that no more than `most` are left. Order of events, no chance."""
    return values[:: -(-len(values) // most) or 1]


def spread_of(values: Values) -> float:
    """Half of the middle 68 % of the values, as order statistics; NaN below 20 of them."""
    n = len(values)
    if n < 20:
        return NAN
    low, high = round(0.16 * (n - 1)), round(0.84 * (n - 1))
    parted = np.partition(values, (low, high))
    return float(parted[high] - parted[low]) / 2


_BINS = 8
_FIRST, _SECOND = np.triu_indices(_BINS, 1)


def signal_slope(columns: Columns, reporter: str, signal: Dimension, rows: Rows, scale: float) -> float:
    """How the signal rises with the reporter among the events `rows`: Theil-Sen through medians of eight bins.

    Bins along the compensated reporter hold equal numbers of up to 1,024 events, taken at equal steps. The slope is
    that of asinh(signal / scale) on the logarithm of the reporter: no change of units moves it. Where the signal is far
    above `scale` (the spread of the non-expressing cells), 1 means in proportion to the reporter, and 0 that it does
    not follow. NaN below 20 events a bin, without a scale, and where the reporter is not above 0.
    Source of the estimator: Sen, J Am Stat Assoc 1968;63:1379. Experimental.
    """
    rows = rows[:: -(-len(rows) // 1024) or 1]
    x, y = columns.take(Dimension(reporter, compensated=True), rows), columns.take(signal, rows)
    size = len(rows) // _BINS
    if size < 20 or not scale > 0 or not (np.isfinite(x).all() and np.isfinite(y).all()):
        return NAN
    order = np.argsort(x, kind="stable")[: size * _BINS].reshape(_BINS, size)
    middle = size // 2
    along = x[order[:, middle]]
    if not along[0] > 0:
        return NAN
    height = np.arcsinh(np.partition(y[order], middle, axis=1)[:, middle] / scale)
    along = np.log(along)
    run = along[_SECOND] - along[_FIRST]
    rise = (height[_SECOND] - height[_FIRST])[run > 0] / run[run > 0]
    return float(np.median(rise)) if len(rise) else NAN


def percent_above(values: Values, limit: float) -> float:
    """Percent of `values` above `limit`; NaN when there are none or the limit is unknown."""
    if not len(values) or math.isnan(limit):
        return NAN
    return 100.0 * float(np.count_nonzero(values > limit)) / len(values)


def share_at_top(columns: Columns, name: str, rows: Rows | None) -> float:
    """Share of events (of all, or of `rows`) whose raw value reaches the last step of $PnR: it is at least that.

    0 without events, and where the range has no end.
    """
    top = next(channel.top for channel in columns.events.channels if channel.name == name)
    raw = columns.raw(name)
    if not len(raw) or raw.max() < top:
        return 0.0
    raw = raw if rows is None else raw[rows]
    return float(np.count_nonzero(raw >= top)) / len(raw) if len(raw) else 0.0
