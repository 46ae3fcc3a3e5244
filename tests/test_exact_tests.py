"""Tests of a few patients: against complete enumeration, sums by hand, SciPy, and their own level."""

from __future__ import annotations

import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from aqp4flow.cohort.statistics.friedman import dunn, friedman, row_ranks
from aqp4flow.cohort.statistics.inversion import inverted
from aqp4flow.cohort.statistics.multiplicity import holm
from aqp4flow.cohort.statistics.paired import paired_t, paired_t_of
from aqp4flow.cohort.statistics.ranks import rank_sum, signed_rank
from aqp4flow.cohort.statistics.rates import rate_ratio
from aqp4flow.errors import AnalysisError

BEFORE, AFTER = np.array([2, 2, 2, 3, 3, 3, 5.0]), np.array([0, 0, 0, 0, 0, 1, 2.0])
few = st.integers(-4, 4)
DOCS = Path(__file__).parents[1] / "docs" / "statistics.md"


def arrays(low: int, high: int) -> st.SearchStrategy[np.ndarray]:
    return st.lists(few, min_size=low, max_size=high).map(lambda values: np.array(values, float) / 2)


# --- by complete enumeration, written a second time -------------------------------------------------


def pratt(d: np.ndarray) -> tuple[np.ndarray, float]:
    """Midranks of |d| with zeros counted among them, and the sum of those of positive d."""
    ranks = stats.rankdata(np.abs(d))
    return ranks[d != 0], float(ranks[d > 0].sum())


def tails(sums: np.ndarray, at: float) -> float:
    return min(1.0, 2 * min(np.mean(sums <= at + 1e-9), np.mean(sums >= at - 1e-9)))


def signed_rank_by_enumeration(d: np.ndarray) -> float:
    ranks, rises = pratt(d)
    return tails(np.array([np.dot(signs, ranks) for signs in itertools.product((0, 1), repeat=len(ranks))]), rises)


def rank_sum_by_enumeration(a: np.ndarray, b: np.ndarray) -> float:
    ranks = stats.rankdata(np.concatenate([a, b]))
    sums = np.array([sum(ranks[list(c)]) for c in itertools.combinations(range(len(ranks)), len(b))])
    return tails(sums, float(ranks[len(a) :].sum()))


def friedman_by_enumeration(table: np.ndarray) -> tuple[float, float]:
    ranks = np.array([stats.rankdata(row) for row in table])
    squares = [
        float((np.sum(rows, axis=0) ** 2).sum())
        for rows in itertools.product(*(list(itertools.permutations(row)) for row in ranks))
    ]
    observed = float((ranks.sum(axis=0) ** 2).sum())
    return float(np.mean(np.array(squares) >= observed - 1e-9)), float(
        np.mean(np.array(squares) >= max(squares) - 1e-9)
    )


def dunn_by_enumeration(table: np.ndarray, column: int) -> float:
    ranks = np.array([stats.rankdata(row) for row in table])
    apart = [
        abs(sum(row[column] - row[0] for row in rows))
        for rows in itertools.product(*(list(itertools.permutations(row)) for row in ranks))
    ]
    observed = abs(float((ranks[:, column] - ranks[:, 0]).sum()))
    return float(np.mean(np.array(apart) >= observed - 1e-9))


@settings(deadline=None, max_examples=60)
@given(arrays(1, 8))
def test_signed_rank_is_complete_enumeration_with_zeros_and_ties(d: np.ndarray) -> None:
    """All 2^m signs of the m differences that are not 0; the floor is that of the most extreme signs."""
    found = signed_rank(d)
    assert found.exact == "exact"
    assert found.p == pytest.approx(signed_rank_by_enumeration(d))
    assert found.attainable == pytest.approx(signed_rank_by_enumeration(np.abs(d)))
    assert found.statistic == pytest.approx(pratt(d)[1])


@settings(deadline=None, max_examples=60)
@given(arrays(1, 5), arrays(1, 5))
def test_rank_sum_is_complete_enumeration_with_ties(a: np.ndarray, b: np.ndarray) -> None:
    """All ways to choose who is in the second group."""
    found = rank_sum(a, b)
    assert found.p == pytest.approx(rank_sum_by_enumeration(a, b))
    assert rank_sum(b, a).p == pytest.approx(found.p)
    pooled = np.sort(np.concatenate([a, b]))
    ends = (rank_sum_by_enumeration(pooled[: len(a)], pooled[len(a) :]),
            rank_sum_by_enumeration(pooled[len(b) :], pooled[: len(b)]))  # fmt: skip
    assert found.attainable == pytest.approx(min(ends))


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(few, few, few), min_size=1, max_size=4))
def test_friedman_and_dunn_are_complete_enumeration_with_ties(rows: list[tuple[int, int, int]]) -> None:
    """All orders within all patients."""
    table = np.array(rows, float)
    found = friedman(table)
    p, floor = friedman_by_enumeration(table)
    assert (found.p, found.attainable) == (pytest.approx(p), pytest.approx(floor))
    for column, contrast in enumerate(dunn(table), start=1):
        assert contrast.p == pytest.approx(dunn_by_enumeration(table, column))
        assert contrast.attainable <= contrast.p + 1e-12


def test_friedman_of_four_time_points_is_complete_enumeration() -> None:
    """24 orders of each of three patients, with a tie in one."""
    table = np.array([[4, 3, 1, 2], [5, 5, 1, 0], [9, 2, 4, 1.0]])
    assert friedman(table).p == pytest.approx(friedman_by_enumeration(table)[0])


# --- sums by hand -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "floor"), [(5, 0.0625), (6, 0.03125), (7, 0.015625), (8, 0.0078125), (10, 2 / 1024)])
def test_the_floor_of_signed_rank(n: int, floor: float) -> None:
    """All patients fell: two of 2^n signs are as extreme."""
    found = signed_rank(-np.arange(1.0, n + 1))
    assert found.p == found.attainable == floor
    assert found.statistic == 0


def test_limits_of_seven_by_hand() -> None:
    """-1 to -7: the third smallest and largest of 28 Walsh averages, at 1 - 6/128."""
    found = signed_rank(-np.arange(1.0, 8))
    assert (found.effect.value, found.effect.low, found.effect.high) == (-4, -6, -2)
    assert found.note == "limits of 95.3 %"


def test_five_patients_have_no_95_percent_limits() -> None:
    """The range of five differences holds the shift in 15 of 16 samples, no more."""
    found = signed_rank(-np.arange(1.0, 6))
    assert found.effect.value == -3
    assert math.isnan(found.effect.low) and math.isnan(found.effect.high)  # noqa: PT018
    assert found.note == "no 95 % limits at n = 5: the range of the differences has 93.75 %"


def test_friedman_and_dunn_at_their_extreme() -> None:
    """Seven patients, all in one order: chi-square 14, 1/6^6; SE of a mean rank difference 0.5345, z 3.74."""
    table = np.tile([3.0, 2.0, 1.0], (7, 1))
    found = friedman(table)
    assert found.statistic == pytest.approx(14)
    assert found.p == found.attainable == pytest.approx(6**-6)
    assert "p 0.000912; Kendall's W 1" in found.note
    near, far = dunn(table)
    assert near.effect.value / near.statistic == pytest.approx(math.sqrt(2 / 7), abs=1e-9)
    assert near.effect.value / near.statistic == pytest.approx(0.5345, abs=5e-5)
    assert far.statistic == pytest.approx(-3.7417, abs=5e-5)
    assert far.p == far.attainable == pytest.approx(2 / 6**7)
    assert far.note == "mean ranks 3 and 1; normal law: p 0.000183"


def test_the_rank_sum_of_relapses_as_rounding_allows_them() -> None:
    """8 of 3432 ways: (2,2,2,3,3,3,5) v (0,0,0,0,0,1,2); both tails."""
    found = rank_sum(BEFORE, AFTER)
    assert found.p == pytest.approx(8 / 3432)
    assert round(found.p, 4) == 0.0023
    assert found.statistic == 1.5
    assert found.effect.value == -2


def test_paired_t_of_printed_means_without_correlation() -> None:
    """2.9 +- 1.1 to 0.4 +- 0.8, n = 7, r = 0: t 4.86, p 0.0028."""
    found = paired_t_of(0.4 - 2.9, math.hypot(1.1, 0.8), 7)
    assert found.statistic == pytest.approx(-4.86, abs=0.005)
    assert found.p == pytest.approx(0.0028, abs=5e-5)
    assert found.attainable == 0


# --- against SciPy ----------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 7, 12, 25])
def test_signed_rank_is_scipys_where_nothing_ties(n: int) -> None:
    d = np.random.default_rng(n).normal(0.4, 1, n)
    assert signed_rank(d).p == pytest.approx(stats.wilcoxon(d, method="exact").pvalue)


@pytest.mark.parametrize("size", [(4, 9), (7, 7), (12, 5)])
def test_rank_sum_is_scipys_where_nothing_ties(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(size)
    a, b = rng.normal(0, 1, size[0]), rng.normal(0.8, 1, size[1])
    expected = stats.mannwhitneyu(b, a, method="exact")
    found = rank_sum(a, b)
    assert (found.statistic, found.p) == (expected.statistic, pytest.approx(expected.pvalue))


def test_rank_sum_is_scipys_permutation_test_with_ties() -> None:
    result = stats.permutation_test(
        (BEFORE, AFTER), lambda a, b: stats.rankdata(np.concatenate([a, b]))[len(a) :].sum(), n_resamples=np.inf,
        vectorized=False,
    )  # fmt: skip
    assert rank_sum(BEFORE, AFTER).p == pytest.approx(result.pvalue)


def test_friedmans_statistic_is_scipys_with_ties() -> None:
    table = np.array([[3, 2, 2, 1], [4, 4, 1, 0], [3, 2, 1, 0], [0, 2, 2, 2], [5, 1, 3, 3.0]])
    expected = stats.friedmanchisquare(*table.T)
    found = friedman(table)
    assert found.statistic == pytest.approx(expected.statistic)
    assert f"p {expected.pvalue:.3g};" in found.note


def test_many_patients_follow_the_normal_law() -> None:
    """Beyond 200 differences or 100 values the variance of the tied ranks; just below, the exact p is close to it."""
    rng = np.random.default_rng(5)
    d = rng.integers(-5, 6, 400).astype(float)
    found = signed_rank(d)
    assert found.exact == "asymptotic"
    assert found.p == pytest.approx(stats.wilcoxon(d, zero_method="zsplit", method="asymptotic").pvalue, rel=0.15)
    a, b = rng.integers(0, 9, 90).astype(float), rng.integers(0, 9, 80).astype(float)
    expected = stats.mannwhitneyu(b, a, method="asymptotic", use_continuity=False)
    assert rank_sum(a, b).p == pytest.approx(expected.pvalue)
    d = rng.normal(0.1, 1, 200)
    expected = stats.wilcoxon(d, method="asymptotic").pvalue
    assert signed_rank(d).exact == "exact"
    assert signed_rank(d).p == pytest.approx(expected, rel=0.02)


def test_paired_t_is_scipys() -> None:
    d = np.array([-1, -2.5, 0, -3, -1.5, 1, -2])
    expected = stats.ttest_1samp(d, 0)
    limits = expected.confidence_interval()
    found = paired_t(d)
    assert (found.statistic, found.p) == (pytest.approx(expected.statistic), pytest.approx(expected.pvalue))
    assert (found.effect.low, found.effect.high) == (pytest.approx(limits.low), pytest.approx(limits.high))


# --- limits -----------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(arrays(2, 8))
def test_limits_hold_each_shift_that_the_test_accepts(d: np.ndarray) -> None:
    """A fine grid, on and off the breaks: accepted lies within, and what lies outside is rejected."""
    effect = signed_rank(d).effect
    low, high = (
        (-math.inf if math.isnan(effect.low) else effect.low),
        (math.inf if math.isnan(effect.high) else effect.high),
    )
    for shift in np.arange(-3, 3.01, 0.125):
        accepted = signed_rank_by_enumeration(d - shift) > 0.05
        assert not accepted or low <= shift <= high
    for edge in (low, high):  # and no wider: just within, or at it, the test accepts
        if math.isfinite(edge):
            inward = edge + (1e-4 if edge == low else -1e-4)
            assert max(signed_rank_by_enumeration(d - edge), signed_rank_by_enumeration(d - inward)) > 0.05


@settings(deadline=None, max_examples=25)
@given(arrays(3, 5), arrays(3, 5))
def test_limits_of_two_groups_hold_each_shift_that_the_test_accepts(a: np.ndarray, b: np.ndarray) -> None:
    effect = rank_sum(a, b).effect
    low, high = (
        (-math.inf if math.isnan(effect.low) else effect.low),
        (math.inf if math.isnan(effect.high) else effect.high),
    )
    for shift in np.arange(-5, 5.01, 0.25):
        assert rank_sum_by_enumeration(a, b - shift) <= 0.05 or low <= shift <= high


@pytest.mark.parametrize("step", [0.0, 0.5, 1.0])
def test_limits_hold_the_truth_at_their_level(step: float) -> None:
    """2,000 samples of seven around a shift of -1; rounded to steps (ties, zeros) the limits may only hold it more."""
    rng = np.random.default_rng(14)
    held = 0
    for _ in range(2000):
        d = rng.normal(0, 1.3, 7)
        d = -1 + (np.round(d / step) * step if step else d)
        effect = signed_rank(d).effect
        held += effect.low - 1e-9 <= -1 <= effect.high + 1e-9
    level = 1 - 6 / 128
    error = 3 * math.sqrt(level * (1 - level) / 2000)
    assert held / 2000 >= level - error
    assert step or held / 2000 <= level + error


def test_a_long_search_finds_what_the_whole_walk_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    """With many breaks the edge is found by halving."""
    d = np.random.default_rng(3).normal(0.3, 1, 30)
    whole = signed_rank(d).effect
    monkeypatch.setattr("aqp4flow.cohort.statistics.inversion.FULL_WALK", 10)
    assert signed_rank(d).effect == whole


def test_a_place_between_two_rejected_gaps_is_held() -> None:
    """What the test accepts only where values tie counts as well."""
    limits = inverted(lambda shift: 1.0 if shift in (1.0, 2.0) else 0.01, np.array([0.0, 1.0, 2.0, 3.0]), 1.0)
    assert (limits.low, limits.high) == (1, 2)


# --- bounds -----------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(-3, 3), st.sampled_from([0, 0, 0, -1, 1, 2])), min_size=2, max_size=5),
    st.lists(st.floats(0, 6), min_size=5, max_size=5),
)
def test_bounded_differences_have_the_largest_p_of_all_they_may_be(
    drawn: list[tuple[int, int]], extra: list[float]
) -> None:
    """Whatever the bounded ones are: half steps in all combinations, and any real numbers, give no larger p."""
    d, codes = np.array([v for v, _ in drawn], float), np.array([c for _, c in drawn])
    found = signed_rank(np.where(codes == 2, np.nan, d), codes)
    free = list(np.flatnonzero(codes))
    grid = np.arange(-4.5, 4.6, 0.5)
    ways = [[v for v in grid if codes[i] == 2 or codes[i] * (v - d[i]) >= 0] for i in free]
    largest = 0.0
    for picked in itertools.islice(itertools.product(*ways), 400):
        full = d.copy()
        full[free] = picked
        largest = max(largest, signed_rank_by_enumeration(full))
    full = d.copy()
    for i in free:
        full[i] = d[i] + codes[i] * extra[i] if codes[i] != 2 else extra[i] - 3
    assert found.p >= max(largest, signed_rank_by_enumeration(full)) - 1e-12
    if len(free) == 1:
        assert found.p == pytest.approx(largest)
    assert (found.note == "limits of 95.3 %") is False
    assert not free or "known only as bounds: p is at most this" in found.note


def test_a_fall_below_detection_costs_no_power() -> None:
    """The largest fall is known only as at least so much: p as if it were exact; the lower limit is open."""
    found = signed_rank(-np.arange(1.0, 8), np.array([0, 0, 0, 0, 0, 0, -1]))
    assert (found.p, found.attainable) == (0.015625, 0.015625)
    assert found.effect.value == -4
    assert math.isnan(found.effect.low)
    assert found.effect.high == -2


def test_a_bound_that_leaves_the_shift_open_says_between_what() -> None:
    found = signed_rank(-np.arange(1.0, 8), np.array([-1, 0, 0, 0, 0, 0, 0]))
    assert math.isnan(found.effect.value)
    assert found.note == "1 difference known only as bounds: p is at most this; the shift lies between -5 and -4"


def test_an_unknown_difference_is_the_largest_rise_if_the_others_fell() -> None:
    """Six falls and one unknown: it may hold rank 7, so p is 2 x 19/128."""
    d = np.append(-np.arange(1.0, 7), np.nan)
    found = signed_rank(d, np.array([0] * 6 + [2]))
    assert found.p == found.attainable == pytest.approx(38 / 128)
    assert found.statistic == 7


def test_many_bounds_are_tried_at_their_ends() -> None:
    """60 of 80 patients fell out of range: the rest is clear, and 1 where the centre lies between."""
    d = -np.linspace(1, 4, 80)
    codes = np.array([0] * 20 + [-1] * 60)
    assert signed_rank(d, codes).p < 1e-12
    assert "p is the largest at either end of the bounds" in signed_rank(d, codes).note
    assert signed_rank(np.where(codes, 1.0, d), codes).p == 1


def test_bounds_in_friedman() -> None:
    """`<` lies below what is at or above it, `>` above what is at or below it; the same bound twice ties."""
    table = np.array([[40, 10, 10.0], [10, 10, 20], [80, 5, 80]])
    bounds = np.array([[0, -1, -1], [0, -1, 0], [0, 0, 1]])
    ranks, unsure = row_ranks(table, bounds)
    assert unsure == []
    np.testing.assert_array_equal(ranks / 2, [[3, 1.5, 1.5], [2, 1, 3], [2, 1, 3]])
    assert "4 values known only as bounds, equal ones tied" in friedman(table, bounds).note
    assert row_ranks(np.array([[20.0, 15.0, 40.0]]), np.array([[-1, 0, 0]]))[1] == [0]
    assert row_ranks(np.array([[20.0, 10.0, 40.0]]), np.array([[-1, -1, 0]]))[1] == [0]


def test_an_open_order_has_no_p() -> None:
    table, bounds = np.array([[20.0, 15, 40], [3, 2, 1]]), np.array([[-1, 0, 0], [0, 0, 0]])
    for found in (friedman(table, bounds), *dunn(table, bounds)):
        assert math.isnan(found.p)
        assert found.note == "bounds leave the order of 1 patient open"


# --- level ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [[1, 2, 3, 4, 5, 6, 7], [0, 1, 1, 2, 2, 2, 4], [0, 0, 1, 1, 3, 3, 3, 5]])
def test_no_level_is_exceeded_by_signed_rank(d: list[float]) -> None:
    """Over all signs, p <= a comes in at most a of the cases, whatever a."""
    ps = np.array([signed_rank(np.array(d) * signs).p for signs in itertools.product((-1.0, 1.0), repeat=len(d))])
    assert all(np.mean(ps <= p + 1e-12) <= p + 1e-12 for p in ps)


def test_no_level_is_exceeded_by_rank_sum() -> None:
    pooled = np.array([0, 0, 1, 1, 1, 2, 4, 7.0])
    ps = np.array([
        rank_sum(np.delete(pooled, list(c)), pooled[list(c)]).p for c in itertools.combinations(range(8), 3)
    ])  # fmt: skip
    assert all(np.mean(ps <= p + 1e-12) <= p + 1e-12 for p in ps)


def test_no_level_is_exceeded_by_friedman_and_dunn() -> None:
    rows = [(3.0, 2.0, 1.0), (2.0, 2.0, 1.0), (5.0, 1.0, 0.0), (1.0, 1.0, 3.0)]
    tables = [np.array(t) for t in itertools.product(*(list(itertools.permutations(row)) for row in rows))]
    for ps in (np.array([friedman(t).p for t in tables]), np.array([dunn(t)[1].p for t in tables])):
        assert all(np.mean(ps <= p + 1e-12) <= p + 1e-12 for p in np.unique(ps))


def test_permutations_are_seeded_and_near_the_exact_p(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where not all orders can be counted: (b + 1) / (m + 1), the same for the same seed."""
    table = np.array([[3, 2, 1], [3, 1, 2], [2, 3, 1], [3, 2, 2], [1, 2, 3.0], [3, 2, 1]])
    exact = friedman(table)
    monkeypatch.setattr("aqp4flow.cohort.statistics.friedman.MOST_STEPS", 10)
    found = friedman(table, draws=19_999, seed=1)
    assert found.exact == "permutation"
    assert found.attainable == 1 / 20_000
    assert found.p == pytest.approx(exact.p, abs=4 * math.sqrt(exact.p / 20_000))
    assert found.p != exact.p
    assert friedman(table, draws=19_999, seed=1) == found
    assert friedman(table, draws=19_999, seed=2).p != found.p
    assert friedman(np.tile([3.0, 2.0, 1.0], (7, 1)), draws=999).p == 1 / 1000


# --- laws and odd inputs ----------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(arrays(1, 9), st.floats(0.01, 1000))
def test_the_unit_does_not_matter_and_the_sign_only_turns(d: np.ndarray, unit: float) -> None:
    """Also in numbers that are not exact in binary: ties are found within 1e-9."""
    found, scaled, turned = signed_rank(d), signed_rank(d * unit), signed_rank(-d)
    assert scaled.p == turned.p == found.p
    assert turned.effect.value == pytest.approx(-found.effect.value)
    assert scaled.effect.low == pytest.approx(found.effect.low * unit, nan_ok=True)
    assert turned.effect.low == pytest.approx(-found.effect.high, nan_ok=True)


def test_steps_of_log2_titers_tie_although_their_binary_numbers_differ() -> None:
    d = np.array([math.log2(a) - math.log2(b) for a, b in [(320, 40), (240, 30), (80, 10), (10, 30), (30, 10)]])
    assert len(set(np.abs(d))) > 2
    assert signed_rank(d).p == signed_rank(np.round(d, 6)).p
    assert signed_rank(d).statistic == 13.5


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm(np.array([0.04, np.nan, 0.01, 0.03, 0.5])), [0.09, np.nan, 0.04, 0.09, 0.5])
    np.testing.assert_allclose(holm(np.array([0.6, 0.7])), [1, 1])
    assert holm(np.array([])).shape == (0,)


def test_the_smallest_p_are_those_of_the_documentation() -> None:
    """The table of docs/statistics.md, row by row."""
    rows = re.findall(r"^\| (\d+) \| (.+) \|$", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(n) for n, _ in rows] == [5, 6, 7, 8, 9, 10]
    for name, rest in rows:
        n = int(name)
        ordered = np.tile([3.0, 2.0, 1.0], (n, 1))
        found = (
            signed_rank(np.arange(1.0, n + 1)),
            rank_sum(np.arange(n) + 50.0, np.arange(1.0, n + 1)),
            friedman(ordered),
            dunn(ordered)[1],
            rate_ratio(n, 1, 0, 1),
        )
        assert rest.split(" | ") == [f"{one.attainable:.3g}" for one in found]


def test_what_cannot_be_tested_says_why() -> None:
    assert signed_rank(np.array([])).note == "no patient was seen at both time points"
    assert rank_sum(np.array([]), np.array([1.0])).note == "one of the groups is empty"
    assert paired_t(np.array([-1.0, -1.0, -1.0])).note == "all differences are -1: no spread to compare them with"
    assert math.isnan(paired_t(np.array([0.1 * 3, 0.3])).p)
    assert paired_t(np.array([1.0])).note == "a standard deviation needs two patients"
    assert signed_rank(np.array([2.0])).note == "no limits from one difference"
    nothing = signed_rank(np.zeros(7))
    assert (nothing.p, nothing.attainable, nothing.effect.value) == (1, 1, 0)
    for found in (friedman(np.ones((3, 3))), *dunn(np.ones((3, 3)))):
        assert (found.p, found.attainable) == (1, 1)
        assert found.note == "no patient has two different values"


def test_a_missing_value_is_refused() -> None:
    hole = np.array([1.0, np.nan])
    for refused in (
        lambda: signed_rank(hole), lambda: rank_sum(hole, BEFORE), lambda: paired_t(hole),
        lambda: friedman(np.stack([hole, hole])), lambda: friedman(np.ones((3, 1))),
    ):  # fmt: skip
        with pytest.raises(AnalysisError, match="hand on"):
            refused()
