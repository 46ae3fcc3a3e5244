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
    """The names of the populations that are compared; `nonexpressing` is None where another well is the mate."""

    expressing: str
    nonexpressing: str | None


@dataclass(frozen=True)
class Measured:
    """What the cytometry of one well says. `background_top`: 99th percentile of the non-expressing signal.

    `at_top`: share of the expressing events whose raw signal stands at the end of the range. `not_finite`: events of
    the compared populations whose signal is NaN or infinite; they are in the counts and in no statistic.
    """

    n_events: int
    counts: dict[str, int]
    expressing: Estimate
    nonexpressing: Estimate
    percent_positive: float
    background_top: float
    at_top: float
    not_finite: int = 0


def measure(
    columns: Columns,
    found: Mapping[str, Rows],
    compared: Populations,
    signal: str,
    statistic: Statistic,
    background_top: float = NAN,
) -> Measured:
    """Summarise the signal of a well's populations (row numbers in `found`), compensated, on the linear scale.

    `background_top` is the mate's 99th percentile where the non-expressing cells are in another well.
    """
    axis = Dimension(signal, compensated=True)
    inside = found.get(compared.expressing, np.empty(0, np.intp))  # a control may have no gates
    bright, lost = _finite(columns.take(axis, inside))
    dark = bright
    if compared.nonexpressing:
        dark, more = _finite(columns.take(axis, found.get(compared.nonexpressing, inside[:0])))
        lost += more
    top = upper_percentile(dark, 99)
    limit = top if compared.nonexpressing else background_top
    return Measured(
        n_events=columns.events.count,
        counts={name: len(rows) for name, rows in found.items()},
        expressing=centre(bright, statistic),
        nonexpressing=centre(dark, statistic) if compared.nonexpressing else UNKNOWN,
        percent_positive=percent_above(bright, limit),
        background_top=top,
        at_top=share_at_top(columns, signal, inside),
        not_finite=lost,
    )


def _finite(values: Values) -> tuple[Values, int]:
    """The values that are numbers, and how many are not."""
    good = np.isfinite(values)
    return (values, 0) if good.all() else (values[good], int(np.count_nonzero(~good)))


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
