"""Folds against baseline with limits from drawing patients anew: no law of the values is assumed.

Up to nine patients every distinct resample is taken with its multinomial weight, so that nothing is drawn. Plain
percentile and BCa limits are far too narrow with so few patients; the percentiles are therefore moved out to where
Student's t would have them (Hesterberg, The American Statistician 2015;69:371): level Phi(-sqrt(n / (n - 1)) t) with t
of n - 1 degrees of freedom.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations_with_replacement

import numpy as np

from aqp4flow.cohort.statistics.contrasts import Contrast, empty_contrasts, remarked
from aqp4flow.cohort.statistics.longitudinal import Longitudinal, Whole
from aqp4flow.model import NAN, Bound, Estimate, Values

MEAN, MEDIAN = "bootstrap of the geometric mean fold", "bootstrap of the median fold"
LEAST_PATIENTS = 5  # of fewer, even the smallest and the largest fold are no 95 % limits
MOST_ENUMERATED = 9
DRAWS = 20_000


@dataclass(frozen=True, eq=False)
class Resamples:
    """Which patients each resample holds, (resamples, n), and how probable each is."""

    members: Whole
    weights: Values
    how: str


def bootstrap_contrasts(data: Longitudinal, seed: int) -> list[Contrast]:
    """Each time point against the first, over the patients who have both; the mean of log2 folds, or their median.

    The median is taken where a fold is known only as a bound. `seed` matters above nine patients only.
    """
    contrasts = []
    for at, empty in enumerate(empty_contrasts(data, MEAN, "bootstrap"), start=1):
        low, high = _folds(data, at)
        exact = bool(np.array_equal(low, high))
        contrasts.append(
            _contrast(replace(empty, test=MEAN if exact else MEDIAN, n_values=2 * empty.n), low, high, seed)
        )
    return contrasts


def _folds(data: Longitudinal, at: int) -> tuple[Values, Values]:
    """The least and the largest that each patient's log2 fold can be, equal where it is known; sorted."""
    both = data.measured[:, 0] & data.measured[:, at]
    fold = data.values[both, at] - data.values[both, 0]
    then, now = data.bounds[both, 0], data.bounds[both, at]
    low = np.where((now == -1) | (then == 1), -np.inf, fold)
    high = np.where((now == 1) | (then == -1), np.inf, fold)
    order = np.lexsort((high, low))
    return low[order], high[order]


def _contrast(empty: Contrast, low: Values, high: Values, seed: int) -> Contrast:
    n = len(low)
    if n == 0:
        return remarked(empty, "no patient has a value here and at the baseline")
    value, bound, remark = _middle(low, high, empty.test)
    told = remarked(replace(empty, effect=Estimate(value), bound=bound), remark)
    if n < LEAST_PATIENTS:
        return remarked(told, f"no limits: {n} of {LEAST_PATIENTS} patients needed")
    resamples = _every(n) if n <= MOST_ENUMERATED else _drawn(n, seed)
    level = expanded_level(n)
    least = _quantile(_statistics(low, resamples, empty.test), resamples.weights, level)
    most = _quantile(_statistics(high, resamples, empty.test), resamples.weights, 1 - level)
    effect = Estimate(value, least if math.isfinite(least) else NAN, most if math.isfinite(most) else NAN)
    return remarked(replace(told, effect=effect), resamples.how, f"percentiles moved out to {100 * level:.2g} %")


def _middle(low: Values, high: Values, test: str) -> tuple[float, Bound, str]:
    """The estimate, its bound, and what the bounded folds leave open."""
    if test == MEAN:
        return float(np.mean(low)), Bound.EXACT, ""
    least, most = float(np.median(low)), float(np.median(high))
    bounded = f"{int(np.sum(low != high))} of {len(low)} folds known only as bounds"
    if least == most:
        return least, Bound.EXACT, bounded
    if math.isfinite(least) and math.isfinite(most):
        return NAN, Bound.EXACT, f"{bounded}: the median lies between {least:.6g} and {most:.6g} on log2"
    if math.isfinite(most):
        return NAN, Bound.BELOW, f"{bounded}: the median is at most {most:.6g} on log2"
    if math.isfinite(least):
        return NAN, Bound.ABOVE, f"{bounded}: the median is at least {least:.6g} on log2"
    return NAN, Bound.EXACT, f"{bounded}: they leave the median open on both sides"


def expanded_level(n: int) -> float:
    """The percentile (as a share) to take for 95 % limits of `n` patients."""
    from scipy.special import ndtr
    from scipy.stats import t as student

    return float(ndtr(-math.sqrt(n / (n - 1)) * student.ppf(0.975, n - 1)))


@lru_cache(maxsize=MOST_ENUMERATED)
def _every(n: int) -> Resamples:
    members = np.array(list(combinations_with_replacement(range(n), n)), np.int64)
    counts = np.sum(members[:, :, None] == np.arange(n), axis=1)
    factorials = np.array([math.factorial(at) for at in range(n + 1)], np.float64)
    weights = factorials[n] / np.prod(factorials[counts], axis=1) / float(n) ** n
    return Resamples(members, weights, f"all {len(members)} distinct resamples of {n} patients")


def _drawn(n: int, seed: int) -> Resamples:
    members = np.random.default_rng(seed).integers(0, n, (DRAWS, n))
    return Resamples(members, np.full(DRAWS, 1 / DRAWS), f"{DRAWS} resamples of {n} patients drawn")


def _statistics(folds: Values, resamples: Resamples, test: str) -> Values:
    drawn = folds[resamples.members]
    return np.asarray(np.mean(drawn, axis=1) if test == MEAN else np.median(drawn, axis=1))


def _quantile(values: Values, weights: Values, level: float) -> float:
    """The smallest value that at least a share `level` does not exceed."""
    order = np.argsort(values, kind="stable")
    reached = np.searchsorted(np.cumsum(weights[order]), level - 1e-12)
    return float(values[order][min(int(reached), len(values) - 1)])
