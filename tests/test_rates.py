"""Relapse rates: exact limits, their ratio, and what rounding lets the published means be."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from aqp4flow.cohort.statistics.rates import dispersion, garwood, rate_ratio
from aqp4flow.errors import AnalysisError


def rounding_to(mean: str, sd: str, n: int, most: int) -> list[tuple[int, ...]]:
    """All multisets of `n` counts up to `most` whose mean and SD (n - 1) print as given."""
    return [
        counts
        for counts in itertools.combinations_with_replacement(range(most + 1), n)
        if f"{np.mean(counts):.1f}" == mean and f"{np.std(counts, ddof=1):.1f}" == sd
    ]


def test_what_the_published_relapse_rates_can_be() -> None:
    """After: five of seven without relapse leaves one multiset. Before: three, all of 20 relapses."""
    after = [counts for counts in rounding_to("0.4", "0.8", 7, 6) if counts.count(0) == 5]
    assert after == [(0, 0, 0, 0, 0, 1, 2)]
    before = rounding_to("2.9", "1.1", 7, 8)
    assert before == [(1, 2, 3, 3, 3, 4, 4), (2, 2, 2, 2, 4, 4, 4), (2, 2, 2, 3, 3, 3, 5)]
    assert {sum(counts) for counts in before} == {20}


@pytest.mark.parametrize(("events", "low", "high"), [(3, 0.0884, 1.2525), (20, 1.7452, 4.4126)])
def test_garwoods_limits_by_hand(events: int, low: float, high: float) -> None:
    found = garwood(events, 7)
    assert found.value == events / 7
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 60), st.floats(0.1, 50))
def test_garwoods_limits_leave_a_fortieth_on_each_side(events: int, years: float) -> None:
    found = garwood(events, years)
    assert stats.poisson.cdf(events, found.high * years) == pytest.approx(0.025)
    if events:
        assert stats.poisson.sf(events - 1, found.low * years) == pytest.approx(0.025)
    else:
        assert found.low == 0
        assert found.high * years == pytest.approx(-math.log(0.025))


def test_the_ratio_by_hand() -> None:
    """3 in 7 years v 20 in 7: ratio 0.15, 0.0285 to 0.5058; p = 2 x 2048 / 2^23."""
    found = rate_ratio(20, 7, 3, 7)
    assert found.effect.value == pytest.approx(0.15)
    assert found.effect.low == pytest.approx(0.0285, abs=5e-5)
    assert found.effect.high == pytest.approx(0.5058, abs=5e-5)
    assert found.p == pytest.approx(2**-11)
    assert round(found.p, 5) == 0.00049
    assert found.attainable == pytest.approx(2**-22)
    assert (found.n, found.statistic) == (23, 3)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 20), st.floats(0.5, 20), st.integers(0, 20), st.floats(0.5, 20))
def test_the_limits_of_the_ratio_agree_with_its_p(before: int, yb: float, after: int, ya: float) -> None:
    """1 lies outside exactly when p < 0.05; SciPy's binomial has the same limits and tails; months say the same."""
    found = rate_ratio(before, yb, after, ya)
    if before + after == 0:
        assert found.p == 1
        assert not found.effect.known
        return
    share = ya / (ya + yb)
    tails = [stats.binomtest(after, before + after, share, alternative=side).pvalue for side in ("less", "greater")]
    assert found.p == pytest.approx(min(1, 2 * min(tails)))
    limits = stats.binomtest(after, before + after).proportion_ci(0.95, "exact")
    assert found.effect.low == pytest.approx(limits.low / (1 - limits.low) * yb / ya, rel=1e-6)
    if before:
        assert found.effect.high == pytest.approx(limits.high / (1 - limits.high) * yb / ya, rel=1e-6)
        if abs(found.p - 0.05) > 1e-6:
            assert (found.p < 0.05) == (not found.effect.low <= 1 <= found.effect.high)
    assert found.attainable <= found.p * (1 + 1e-9)
    months = rate_ratio(before, yb * 12, after, ya * 12)
    assert months.p == pytest.approx(found.p)


def test_sides_without_events_are_named() -> None:
    after = rate_ratio(3, 7, 0, 7)
    assert (after.effect.value, after.effect.low) == (0, 0)
    assert after.effect.high == pytest.approx(2.42, abs=0.005)
    assert after.note.endswith("; no events after: the ratio may be as low as 0")
    before = rate_ratio(0, 7, 3, 7)
    assert math.isnan(before.effect.value)
    assert math.isnan(before.effect.high)
    assert before.effect.low == pytest.approx(1 / after.effect.high)
    assert before.note.endswith("; no events before: the ratio has no upper limit")
    assert after.p == pytest.approx(0.25)
    assert after.attainable == pytest.approx(0.25)
    assert rate_ratio(0, 7, 0, 7).note == "no events: no ratio"


def test_no_level_is_exceeded_given_the_total() -> None:
    for total, years in itertools.product((1, 5, 12), (0.5, 1.0, 3.0)):
        law = stats.binom.pmf(np.arange(total + 1), total, years / (1 + years))
        ps = np.array([rate_ratio(total - x, 1, x, years).p for x in range(total + 1)])
        assert all(law[ps <= p * (1 + 1e-9)].sum() <= p * (1 + 1e-6) for p in ps)


def test_dispersion_by_hand() -> None:
    """(0,0,0,0,0,1,2): mean 3/7, sum of squares about it 26/7; over the mean and 6 degrees: 13/9."""
    assert dispersion(np.array([0, 0, 0, 0, 0, 1, 2]), np.ones(7)) == pytest.approx(13 / 9)
    assert dispersion(np.array([2, 4]), np.array([1.0, 2.0])) == pytest.approx(0)
    assert math.isnan(dispersion(np.array([0, 0]), np.ones(2)))
    assert math.isnan(dispersion(np.array([3]), np.ones(1)))


@pytest.mark.parametrize(("events", "years"), [(-1, 1), (3, 0), (3, math.nan), (3, math.inf), (1.5, 1)])
def test_rates_that_cannot_be_are_refused(events: float, years: float) -> None:
    with pytest.raises(AnalysisError, match="years are more than 0"):
        garwood(events, years)
