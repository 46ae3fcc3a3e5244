"""Replicate error: how much wells of one serum and dilution differ beyond counting, and what follows for limits.

What goes wrong between wells has two faces. The *level* of each median goes astray by itself, in proportion to that
median: with delta near 0 this is nearly all there is. And the *shift* does: the dilution, or the strength of the stain,
in proportion to delta; what moves both medians of a well alike moves delta in proportion and leaves a ratio as it is.
So the variance between replicate wells, beyond counting, is modelled as

    of delta             shift^2 delta^2 + level^2 (T^2 + N^2)
    of log ratio         shift^2 (delta / T)^2 + 2 level^2
    of log rpc           level^2

with numbers of its own for each read-out (a common factor is a shift of delta and nothing to a ratio), all of them at
least 0. They are fitted once a plate over all replicate sets by restricted maximum likelihood: with s the mean square
between the wells of a set, on f degrees of freedom, and V the counting variance and the model together, the sum of
f (log V + s / V) is least.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from aqp4flow.model import NAN, WITH_SERUM, Estimate, Reading, Values, Z

_ROUNDS = 300
_APART = 4  # degrees of freedom from which on level and shift are told apart


@dataclass(frozen=True)
class Law:
    """Variance between replicate wells: coefficients of its terms, Fisher's information about them, and df."""

    coefficients: tuple[float, ...] = ()
    information: tuple[tuple[float, ...], ...] = ()
    df: int = 0

    def variance(self, terms: Sequence[float]) -> float:
        """Variance of one well beyond counting, where the model's terms have these values; 0 where unknown."""
        return float(np.dot(self.coefficients, self._folded(terms))) if self.df else 0.0

    def multiplier(self, terms: Sequence[float], counting: float) -> float:
        """Student's two-sided 95 % point for a well with this counting variance; the normal law's without replicates.

        Degrees of freedom by Satterthwaite: 2 V^2 / var(V), V the sum of both variances. The formula asks for few
        where the replicate error comes out near 0; a quarter of the plate's degrees of freedom are its floor.
        """
        if not self.df:
            return Z
        from scipy.special import stdtrit

        folded = self._folded(terms)
        total = counting + self.variance(terms)
        doubt = self._doubt(folded)
        df = 2 * total**2 / doubt if doubt > 0 and math.isfinite(total) else math.inf
        df = max(1.0, self.df / 4, min(df, self.df))
        return float(stdtrit(df, 0.975))

    def _doubt(self, terms: Values) -> float:
        """Variance of the model's value: terms' C terms, C the inverse of the information, infinite without any."""
        if self._scaled is None:
            return math.inf
        unit, inverse = self._scaled
        scaled = terms / unit
        return float(scaled @ inverse @ scaled)

    @cached_property
    def _scaled(self) -> tuple[Values, Values] | None:
        """The information's units and its inverse in them; None where a coefficient has no information."""
        information = np.array(self.information)
        unit = np.sqrt(np.diag(information))
        if not np.all(unit > 0):
            return None
        return unit, np.linalg.pinv(information / np.outer(unit, unit))

    def _folded(self, terms: Sequence[float]) -> Values:
        """The terms, or their sum where one coefficient serves for all."""
        values = np.asarray(terms, np.float64)
        return values if len(self.coefficients) == len(values) else values.sum(keepdims=True)


@dataclass(frozen=True)
class ReplicateError:
    """What a plate's replicate wells say of error beyond counting.

    `sd` is the spread of log delta where delta is clear, `df` its degrees of freedom (0: unknown), `total_cv` the CV
    of delta in percent, counting and all. The laws serve the limits of each read-out at any level. `saturated` wells
    of replicate sets took no part: the top of the range repeats whatever the wells do.
    """

    sd: float
    df: int
    total_cv: float
    of_delta: Law = Law()
    of_ratio: Law = Law()
    of_rpc: Law = Law()
    saturated: int = 0


@dataclass(frozen=True)
class _Set:
    """One replicate set: mean square between wells, its degrees of freedom, mean counting variance, model terms."""

    square: float
    df: int
    counting: float
    terms: tuple[float, ...]


def replicate_sets(readings: Sequence[Reading]) -> dict[tuple[str, float], list[Reading]]:
    """Usable readings by serum and dilution, in plate-map order; sets without a usable well are there, empty."""
    sets: dict[tuple[str, float], list[Reading]] = {}
    for reading in readings:
        well = reading.well
        if well.role in WITH_SERUM and well.dilution is not None and well.cells != "control":
            group = sets.setdefault((well.serum, well.dilution), [])
            if reading.usable:
                group.append(reading)
    return sets


def replicate_error(readings: Sequence[Reading]) -> ReplicateError:
    """Pooled over a plate. `sd` and `total_cv` come from sets whose mean delta is clear (limits within 40 %).

    Variance components: the spread of log delta within sets less the mean counting variance, not below 0. The set is
    judged, not the well: one well of a bright pair that reads next to nothing is what there is to find.
    """
    sets = [group for group in replicate_sets(readings).values() if len(group) > 1]
    groups = [[reading for reading in group if "saturated" not in reading.flags] for group in sets]
    saturated = sum(map(len, sets)) - sum(map(len, groups))
    groups = [group for group in groups if len(group) > 1]
    laws = (fit(map(_of_delta, groups)), fit(map(_of_ratio, groups)), fit(map(_of_rpc, groups)))
    squares, counting, df = 0.0, [], 0
    for group in groups:
        shifts = [reading.delta for reading in group if reading.delta.known]
        if len(shifts) < 2 or not _is_clear(shifts):
            continue
        squares += _log_squares(shifts)
        df += len(shifts) - 1
        mean = float(np.mean([shift.value for shift in shifts]))
        bases = [shift.value if _is_clear([shift]) else mean for shift in shifts]
        counting += [
            ((shift.high - shift.low) / (2 * Z * base)) ** 2 for shift, base in zip(shifts, bases, strict=True)
        ]
    if df == 0:
        return ReplicateError(0.0, 0, NAN, *laws, saturated)
    pooled = squares / df
    beyond = max(0.0, pooled - float(np.mean(counting)))
    return ReplicateError(math.sqrt(beyond), df, 100 * math.sqrt(math.expm1(pooled)), *laws, saturated)


def _is_clear(shifts: Sequence[Estimate]) -> bool:
    """Whether the mean delta is above 0 and the wells' limits, on average, within 40 % of it; never without limits."""
    mean = float(np.mean([shift.value for shift in shifts]))
    return mean > 0 and float(np.mean([shift.high - shift.low for shift in shifts])) < 0.8 * mean


def _log_squares(shifts: Sequence[Estimate]) -> float:
    """Sum of squares of the logarithms about their mean; where one well is not clear, that of a log-normal of equal CV.

    The logarithm of a shift near 0 is its noise, or there is none.
    """
    values = [shift.value for shift in shifts]
    if all(_is_clear([shift]) for shift in shifts):
        logs = np.log(values)
        return float(np.sum((logs - logs.mean()) ** 2))
    squared_cv = float(np.var(values, ddof=1)) / float(np.mean(values)) ** 2
    return (len(values) - 1) * math.log1p(squared_cv)


# --- the terms of the models ------------------------------------------------------------------------


def delta_terms(bright: float, dark: float) -> tuple[float, float]:
    """Terms of the variance of delta: its own square, and the squares of both medians."""
    return (bright - dark) ** 2, bright**2 + dark**2


def ratio_terms(bright: float, dark: float, taken_off: tuple[float, float] = (0.0, 0.0)) -> tuple[float, float]:
    """Terms of the variance of log ratio. `taken_off` both medians before they were divided: errors stay as they were.

    Without it the terms are (delta / T)^2 and 2.
    """
    above, below = bright - taken_off[0], dark - taken_off[1]
    return ((bright - dark) / above) ** 2, (bright / above) ** 2 + (dark / below) ** 2


def counting_variance(estimate: Estimate) -> float:
    """Square of the standard error that the limits of a number stand for."""
    return ((estimate.high - estimate.low) / (2 * Z)) ** 2


def log_counting_variance(estimate: Estimate) -> float:
    """The same of its logarithm; NaN where a limit is not above 0."""
    if not estimate.low > 0:
        return NAN
    return (math.log(estimate.high / estimate.low) / (2 * Z)) ** 2


def rpc_counting_variance(reading: Reading) -> float:
    """Counting variance of the log of a ratio of two shares: (1 - p) / (n p) of each, p n being events above.

    Half an event is added to both sides, so that all or none above leave a doubt.
    """
    total = 0.0
    for percent, population in (
        (reading.above_expressing, "expressing"),
        (reading.above_nonexpressing, "nonexpressing"),
    ):
        n = reading.counts.get(population)
        if not n or math.isnan(percent):
            return NAN
        share = (n * percent / 100 + 0.5) / (n + 1)
        total += (1 - share) / (n * share)
    return total


def _of_delta(group: Sequence[Reading]) -> _Set | None:
    known = [r for r in group if not math.isnan(counting_variance(r.delta))]
    if len(known) < 2:
        return None
    bright = float(np.mean([r.expressing.value for r in known]))
    dark = float(np.mean([r.nonexpressing.value for r in known]))
    values = [r.delta.value for r in known]
    return _set(values, [counting_variance(r.delta) for r in known], delta_terms(bright, dark))


def _of_ratio(group: Sequence[Reading]) -> _Set | None:
    known = [r for r in group if r.ratio.value > 0 and not math.isnan(log_counting_variance(r.ratio))]
    if len(known) < 2:
        return None
    bright = float(np.mean([r.expressing.value for r in known]))
    dark = float(np.mean([r.nonexpressing.value for r in known]))
    counting = [log_counting_variance(r.ratio) for r in known]
    return _set([math.log(r.ratio.value) for r in known], counting, ratio_terms(bright, dark))


def _of_rpc(group: Sequence[Reading]) -> _Set | None:
    known = [r for r in group if r.rpc > 0 and not math.isnan(rpc_counting_variance(r))]
    if len(known) < 2:
        return None
    return _set([math.log(r.rpc) for r in known], [rpc_counting_variance(r) for r in known], (1.0,))


def _set(values: Sequence[float], counting: Sequence[float], terms: tuple[float, ...]) -> _Set:
    return _Set(float(np.var(values, ddof=1)), len(values) - 1, float(np.mean(counting)), terms)


# --- the fit ----------------------------------------------------------------------------------------


def fit(sets: Iterable[_Set | None]) -> Law:
    """The coefficients that explain the sets best, none below 0; an empty law without sets.

    Below four degrees of freedom in all one coefficient serves for all terms. Steps multiply (as those for the
    Itakura-Saito divergence do, Fevotte & Idier, Neural Computation 2011;23:2421): they never raise what is to be
    least, and never leave the positive side.
    """
    found = [one for one in sets if one is not None]
    df = sum(one.df for one in found)
    if not df:
        return Law()
    terms = np.array([one.terms for one in found])
    if df < _APART:
        terms = terms.sum(axis=1, keepdims=True)
    square = np.array([one.square for one in found])
    counting = np.array([one.counting for one in found])
    weight = np.array([float(one.df) for one in found])
    start = np.average(np.maximum(square - counting, 0.05 * counting) / terms.sum(axis=1), weights=weight)
    if not start > 0:
        return Law((0.0,) * terms.shape[1], ((0.0,) * terms.shape[1],) * terms.shape[1], df)
    coefficients = np.full(terms.shape[1], start)
    for _ in range(_ROUNDS):
        variance = counting + terms @ coefficients
        step = np.sqrt(((weight * square / variance**2) @ terms) / ((weight / variance) @ terms))
        coefficients = np.maximum(coefficients * step, 1e-9 * start)  # above 0, for counting may have no variance
    variance = counting + terms @ coefficients
    information = (terms * (weight / (2 * variance**2))[:, None]).T @ terms
    return Law(tuple(coefficients.tolist()), tuple(tuple(row) for row in information.tolist()), df)
