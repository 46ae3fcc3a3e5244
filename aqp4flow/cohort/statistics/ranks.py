"""Rank tests of one contrast: Wilcoxon's signed-rank and rank-sum, exact with zeros and ties, and the shift they imply.

Wilcoxon F. Biometrics Bull 1945;1:80. Pratt JW. J Am Stat Assoc 1959;54:655 (zeros are ranked, then left out of the
sums). Hodges JL, Lehmann EL. Ann Math Stat 1963;34:598.
"""

from __future__ import annotations

import math

import numpy as np

from aqp4flow.cohort.statistics.boundeddifferences import Spread, open_remark, spread, worst
from aqp4flow.cohort.statistics.found import LEVEL, Exactness, Found, impossible, remarked, times
from aqp4flow.cohort.statistics.inversion import Limits, inverted
from aqp4flow.cohort.statistics.midranks import (
    Whole,
    distinct,
    doubled_midranks,
    drawn_law,
    floor,
    key,
    normal_two_sided,
    settled,
    signed_law,
    tolerance,
    two_sided,
)
from aqp4flow.errors import AnalysisError
from aqp4flow.model import NAN, Estimate, Values

SIGNED_RANK, RANK_SUM = "signed-rank", "rank-sum"
EXACT_DIFFERENCES = 200  # differences; beyond, the normal law with the variance of these very ranks
EXACT_TOGETHER = 100  # values of both groups


# --- signed-rank --------------------------------------------------------------------------------


def signed_rank(differences: Values, bounds: Whole | None = None) -> Found:
    """Wilcoxon's signed-rank test of differences (n,), after minus before, and the Hodges-Lehmann shift.

    `bounds` (n,): 0 exact; -1 known only to be at most the difference, 1 at least; 2 not known at all (the difference
    is NaN). None of them is dropped: p is the largest over all that they may be, and `statistic`, the sum of the ranks
    of the rises, is the one that goes with it.
    """
    known = np.asarray(differences, float)
    codes = np.zeros(len(known), np.int64) if bounds is None else np.asarray(bounds, np.int64)
    if np.any(~np.isfinite(known) & (codes != 2)):
        raise AnalysisError(SIGNED_RANK, "a difference is missing", "hand on the patients seen at both time points")
    if len(known) == 0:
        return impossible(SIGNED_RANK, 0, "no patient was seen at both time points")
    if np.any(codes):
        return _with_bounds(known, codes)
    within = tolerance(known)
    ranks, rises = _ranked(known, within)
    centre, limits = _shift(known, within)
    found = Found(
        SIGNED_RANK, _how(len(known)), len(known), rises / 2,
        _signed_p(ranks, rises), _signed_floor(ranks), Estimate(centre, limits.low, limits.high),
    )  # fmt: skip
    return remarked(found, _level_remark(limits, len(known), len(known) <= EXACT_DIFFERENCES))


def _with_bounds(known: Values, codes: Whole) -> Found:
    n = len(known)
    within = tolerance(known[codes != 2])
    p, rises, complete = worst(known, codes, within, _signed_p)
    best, _, _ = worst(*_all_risen(known, codes), within, _signed_p)
    effect, remark = _bounded_shift(spread(known, codes), within)
    bounded = times(int(np.count_nonzero(codes)), "difference")
    meaning = "p is at most this" if complete else "p is the largest at either end of the bounds"
    found = Found(SIGNED_RANK, _how(n), n, rises / 2, p, best, effect, f"{bounded} known only as bounds: {meaning}")
    return remarked(found, remark, _no_limits(n) if 2.0 ** (1 - n) > LEVEL else "")


def _all_risen(known: Values, codes: Whole) -> tuple[Values, Whole]:
    """The differences turned so that each speaks for a rise as far as it can."""
    fallen = (codes == -1) | ((codes == 0) & (known < 0))
    return np.where(fallen, -known, known), np.where(codes == -1, 1, codes)


def _ranked(differences: Values, within: float) -> tuple[tuple[int, ...], int]:
    """Doubled midranks of the differences that are not 0 (zeros ranked with them), and the sum of those of rises."""
    ranks = doubled_midranks(np.abs(differences), within)
    moved = np.abs(differences) > within
    return key(ranks[moved]), int(ranks[moved & (differences > 0)].sum())


def _how(n: int) -> Exactness:
    return "exact" if n <= EXACT_DIFFERENCES else "asymptotic"


def _signed_p(doubled: tuple[int, ...], rises: int) -> float:
    if len(doubled) <= EXACT_DIFFERENCES:
        return two_sided(signed_law(doubled), rises)
    return normal_two_sided(rises - sum(doubled) / 2, sum(rank**2 for rank in doubled) / 4)


def _signed_floor(doubled: tuple[int, ...]) -> float:
    return min(1.0, 2.0 ** (1 - len(doubled)))


def _shift(differences: Values, within: float) -> tuple[float, Limits]:
    walsh = _walsh(differences)
    centre = float(np.median(walsh))
    limits = inverted(lambda shift: _signed_p(*_ranked(differences - shift, within)), distinct(walsh, within), centre)
    return centre, limits


def _walsh(differences: Values) -> Values:
    first, second = np.triu_indices(len(differences))
    averages: Values = (differences[first] + differences[second]) / 2
    return averages


def _bounded_shift(ends: Spread, within: float) -> tuple[Estimate, str]:
    """The shift where bounds leave no doubt of it, and limits that hold wherever in their bounds differences lie."""
    low, lower = _shift(ends.least, within)
    high, upper = _shift(ends.most, within)
    low, high, bottom, top = (ends.finite(value) for value in (low, high, lower.low, upper.high))
    value = low if abs(high - low) <= within else NAN
    remark = "" if math.isfinite(value) else open_remark(low, high)
    return Estimate(value, bottom, top), remark


def _level_remark(limits: Limits, n: int, exact: bool) -> str:
    if math.isnan(limits.low) and math.isnan(limits.high):
        return _no_limits(n)
    return f"limits of {limits.level:.1f} %" if exact else "limits by the normal law"


def _no_limits(n: int) -> str:
    if n == 1:
        return "no limits from one difference"
    return f"no 95 % limits at n = {n}: the range of the differences has {100 * (1 - 2.0 ** (1 - n)):.4g} %"


# --- rank-sum -----------------------------------------------------------------------------------


def rank_sum(before: Values, after: Values) -> Found:
    """Wilcoxon's rank-sum (Mann-Whitney) test of two groups of different patients, (n,) and (m,), and their shift.

    `statistic` is Mann and Whitney's U of the second: pairs in which it is the larger, ties half. p is twice the
    smaller tail of the law of the midranks as they are tied.
    """
    first, second = np.asarray(before, float), np.asarray(after, float)
    if not (np.all(np.isfinite(first)) and np.all(np.isfinite(second))):
        raise AnalysisError(RANK_SUM, "a value is missing", "hand on the values that were measured")
    n = len(first) + len(second)
    if not (len(first) and len(second)):
        return impossible(RANK_SUM, n, "one of the groups is empty")
    within = tolerance(first, second)
    ranks, total = _drawn(first, second, within)
    centre, limits = _shift_between(first, second, within)
    found = Found(
        RANK_SUM, "exact" if n <= EXACT_TOGETHER else "asymptotic", n, total / 2 - len(second) * (len(second) + 1) / 2,
        _sum_p(ranks, len(second), total), _sum_floor(ranks, len(second)), Estimate(centre, limits.low, limits.high),
    )  # fmt: skip
    return remarked(found, f"n = {len(first)} and {len(second)}", _between_remark(limits, len(first), len(second)))


def _drawn(first: Values, second: Values, within: float) -> tuple[tuple[int, ...], int]:
    ranks = doubled_midranks(np.concatenate([first, second]), within)
    return key(ranks), int(ranks[len(first) :].sum())


def _sum_p(doubled: tuple[int, ...], drawn: int, total: int) -> float:
    n = len(doubled)
    if n > EXACT_TOGETHER:
        return normal_two_sided(total - drawn * (n + 1), _sum_variance(doubled, drawn))
    if 2 * drawn > n:  # the others' sum says the same in fewer steps
        return two_sided(drawn_law(doubled, n - drawn), sum(doubled) - total)
    return two_sided(drawn_law(doubled, drawn), total)


def _sum_floor(doubled: tuple[int, ...], drawn: int) -> float:
    n = len(doubled)
    if n <= EXACT_TOGETHER:
        return floor(drawn_law(doubled, min(drawn, n - drawn)))
    variance = _sum_variance(doubled, drawn)
    ends = (sum(doubled[:drawn]), sum(doubled[-drawn:]))
    return min(normal_two_sided(end - drawn * (n + 1), variance) for end in ends)


def _sum_variance(doubled: tuple[int, ...], drawn: int) -> float:
    n = len(doubled)
    return drawn * (n - drawn) / (n * (n - 1)) * sum((rank - (n + 1)) ** 2 for rank in doubled)


def _shift_between(first: Values, second: Values, within: float) -> tuple[float, Limits]:
    pairs = np.ravel(second[:, None] - first[None, :])
    centre = float(np.median(pairs))

    def p_at(shift: float) -> float:
        ranks, total = _drawn(first, second - shift, within)
        return _sum_p(ranks, len(second), total)

    return centre, inverted(p_at, distinct(settled(pairs, within), within), centre)


def _between_remark(limits: Limits, first: int, second: int) -> str:
    if math.isnan(limits.low) and math.isnan(limits.high):
        largest = 100 * (1 - 2 / math.comb(first + second, first))
        return f"no 95 % limits from {first} and {second}: the range of the shifts has {max(largest, 0):.4g} %"
    return f"limits of {limits.level:.1f} %" if first + second <= EXACT_TOGETHER else "limits by the normal law"
