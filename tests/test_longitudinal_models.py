"""Models of patients over time: against hand, statsmodels, brute-force integration and complete enumeration."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import simpson
from scipy.stats import norm
from scipy.stats import t as student
from statsmodels.regression.mixed_linear_model import MixedLM

from aqp4flow.cohort.statistics import bootstrap, censored
from aqp4flow.cohort.statistics.bootstrap import bootstrap_contrasts, expanded_level
from aqp4flow.cohort.statistics.censored import censored_contrasts
from aqp4flow.cohort.statistics.censoredlikelihood import blocks, log_likelihood
from aqp4flow.cohort.statistics.contrasts import Contrast
from aqp4flow.cohort.statistics.longitudinal import Longitudinal
from aqp4flow.cohort.statistics.mixed import mixed_contrasts
from aqp4flow.errors import AnalysisError
from aqp4flow.model import Bound

MODELS = [mixed_contrasts, censored_contrasts, lambda data: bootstrap_contrasts(data, 1)]


def cohort(values: np.ndarray, bounds: np.ndarray | None = None, plates: np.ndarray | None = None) -> Longitudinal:
    n, k = values.shape
    return Longitudinal(
        tuple(f"P{at}" for at in range(n)),
        tuple(f"M{at:02d}" for at in range(k)),
        values.astype(float),
        np.zeros((n, k), np.int8) if bounds is None else bounds.astype(np.int8),
        () if plates is None else tuple(map(tuple, plates)),
    )


def drawn(seed: int = 1, n: int = 7, k: int = 5, between: float = 1.2) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(0, between, (n, 1)) + np.linspace(8, 5, k) + rng.normal(0, 0.5, (n, k))


def numbers(contrast: Contrast) -> list[float]:
    return [contrast.effect.value, contrast.effect.low, contrast.effect.high, contrast.statistic, contrast.p]


def cut(values: np.ndarray, limit: float) -> Longitudinal:
    return cohort(np.maximum(values, limit), np.where(values < limit, -1, 0))


# --- the mixed model --------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [mixed_contrasts, censored_contrasts])
def test_complete_visits_give_the_t_of_the_two_way_analysis_of_variance(model) -> None:
    """Mean of paired differences, SE from the residual mean square, (n - 1)(k - 1) degrees of freedom: by hand."""
    y = drawn()
    rest = y - y.mean(axis=0) - y.mean(axis=1, keepdims=True) + y.mean()
    error = math.sqrt(2 * (rest**2).sum() / 24 / 7)
    for at, found in enumerate(model(cohort(y)), start=1):
        effect = (y[:, at] - y[:, 0]).mean()
        half = student.ppf(0.975, 24) * error
        by_hand = [effect, effect - half, effect + half, effect / error, 2 * student.sf(abs(effect) / error, 24)]
        assert numbers(found) == pytest.approx(by_hand, rel=1e-4, abs=1e-15)
        assert found.df == pytest.approx(24, abs=1e-4)
        assert "24 degrees of freedom" in found.note


def test_two_time_points_give_the_paired_t() -> None:
    y = drawn(k=2)
    difference = y[:, 1] - y[:, 0]
    (found,) = mixed_contrasts(cohort(y))
    assert found.statistic == pytest.approx(difference.mean() / (difference.std(ddof=1) / math.sqrt(7)), rel=1e-6)
    assert found.df == pytest.approx(6, abs=1e-4)


def test_missing_visits_give_the_estimates_of_statsmodels() -> None:
    """Estimates and Wald errors from statsmodels itself; ours are wider, for the variances are estimates too."""
    y = drawn()
    y[[0, 2, 5, 6], [3, 4, 1, 4]] = np.nan
    rows, columns = np.nonzero(~np.isnan(y))
    fit = MixedLM(y[rows, columns], np.eye(5)[columns], groups=rows).fit(reml=True)
    for at, found in enumerate(mixed_contrasts(cohort(y)), start=1):
        wald = fit.t_test((np.eye(5)[at] - np.eye(5)[0])[None, :])
        assert found.effect.value == pytest.approx(float(np.squeeze(wald.effect)), abs=1e-5)
        assert found.effect.value / found.statistic == pytest.approx(float(np.squeeze(wald.sd)), rel=0.02)
        assert found.effect.value / found.statistic >= float(np.squeeze(wald.sd)) * (1 - 1e-4)
        assert 18 < found.df < 24
        assert found.n == int(np.sum(~np.isnan(y[:, 0] + y[:, at])))


def test_plates_that_cross_patients_and_time_are_taken_out() -> None:
    """A plate that reads 4-fold more changes nothing, for it is a fixed effect."""
    y = drawn()
    plates = np.where(np.add.outer(np.arange(7), np.arange(5)) % 2, "B", "A")
    plain = mixed_contrasts(cohort(y, plates=plates))
    shifted = mixed_contrasts(cohort(y + 2.0 * (plates == "B"), plates=plates))
    for one, other in zip(plain, shifted, strict=True):
        assert numbers(one) == pytest.approx(numbers(other), rel=1e-5, abs=1e-12)
        assert "2 plates as fixed effects" in one.note


def test_a_patients_own_plate_is_part_of_the_patient() -> None:
    plates = np.array([[f"P{at}"] * 5 for at in range(7)])
    for one, other in zip(
        mixed_contrasts(cohort(drawn(), plates=plates)), mixed_contrasts(cohort(drawn())), strict=True
    ):
        assert numbers(one) == pytest.approx(numbers(other))
        assert "part of the patient's" in one.note


def test_two_plates_of_each_patient_are_a_variance() -> None:
    """Fourteen plates, of which none crosses patients: their variance widens only what crosses plates."""
    rng = np.random.default_rng(5)
    plates = np.array([[f"P{i}{'a' if j < 3 else 'b'}" for j in range(5)] for i in range(7)])
    y = drawn() + np.repeat(rng.normal(0, 0.8, (7, 2)), [3, 2], axis=1)
    found = mixed_contrasts(cohort(y, plates=plates))
    assert all("variance between 14 plates modelled" in contrast.note for contrast in found)
    widths = [contrast.effect.high - contrast.effect.low for contrast in found]
    assert min(widths[2:]) > 1.3 * max(widths[:2])


def test_time_points_on_a_plate_of_their_own_have_no_estimate() -> None:
    plates = np.array([["A", "A", "B", "B", "B"]] * 7)
    found = mixed_contrasts(cohort(drawn(), plates=plates))
    assert not math.isnan(found[0].p)
    for contrast in found[1:]:
        assert np.isnan(numbers(contrast)).all()
        assert "cannot be told from the plates" in contrast.note


# --- refusals ---------------------------------------------------------------------------------------


def spoilt(what: str) -> Longitudinal:
    y = drawn()
    if what == "patients":
        return cohort(y[:2])
    if what == "residual":
        return cohort(np.arange(7.0)[:, None] + np.arange(5.0))
    if what == "degrees":
        y[2:, 1:] = np.nan
        return cohort(y[:, :3])
    if what == "baseline":
        y[:, 0] = np.nan
        return cohort(y)
    odd = np.where(np.arange(5) % 2, -1.0, 1.0) * np.array([-2.0, -1, 1, 2, -1, 1, 0])[:, None]
    return cohort(odd + drawn(between=0.0) / 10)


@pytest.mark.parametrize("model", [mixed_contrasts, censored_contrasts])
@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("patients", "2 of 3 patients"),
        ("residual", "no residual"),
        ("degrees", "degrees of freedom needed"),
        ("baseline", "no value at the baseline"),
        ("singular", "variance between patients is 0"),
    ],
)
def test_what_allows_no_model_is_named_and_has_no_p(model, what: str, why: str) -> None:
    for found in model(spoilt(what)):
        assert why in found.note
        assert math.isnan(found.p)
        assert math.isnan(found.effect.low)
        assert math.isnan(found.effect.high)


def test_bounds_are_left_to_the_censored_model() -> None:
    found = mixed_contrasts(cut(drawn(), 5.0))
    assert all(np.isnan(numbers(contrast)).all() and "see the censored model" in contrast.note for contrast in found)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"values": np.zeros((2, 3))}, "shape"),
        ({"patients": ("A", "A")}, "twice"),
        ({"values": np.full((2, 2), np.inf)}, "infinite"),
        ({"bounds": np.full((2, 2), 2, np.int8)}, "neither"),
    ],
)
def test_tables_that_contradict_themselves_are_refused(change: dict, what: str) -> None:
    good = {"patients": ("A", "B"), "timepoints": ("M00", "M06"), "values": np.zeros((2, 2))}
    with pytest.raises(AnalysisError, match=what):
        Longitudinal(**({**good, "bounds": np.zeros((2, 2), np.int8)} | change))


# --- the censored model -----------------------------------------------------------------------------


def test_the_likelihood_is_that_of_brute_force_integration() -> None:
    """Every patient's integral by Simpson's rule on 400,001 nodes, among them one all of whose values are bounds."""
    y = drawn()
    bounds = np.where(y < 5, -1, 0) + np.where(y > 8.5, 1, 0)
    y, bounds[6] = np.clip(y, 5, 8.5), -1
    y[1, 2] = np.nan
    b, s = np.linspace(8, 5, 5), 0.4
    u = np.linspace(-9, 9, 400_001)
    for tau in (0.3, 1.5, 4.0):
        brute = 0.0
        for row in range(7):
            total = norm.pdf(u)
            for at in np.flatnonzero(~np.isnan(y[row])):
                z = (y[row, at] - b[at] - tau * u) / s
                total *= norm.cdf(-bounds[row, at] * z) if bounds[row, at] else norm.pdf(z) / s
            brute += math.log(simpson(total, x=u))
        theta = np.array([*b, math.log(s), tau])
        assert log_likelihood(blocks(y, bounds), theta)[0] == pytest.approx(brute, abs=1e-6)


def test_slope_and_curvature_are_those_of_small_steps() -> None:
    y = drawn()
    bounds = np.where(y < 5, -1, 0) + np.where(y > 8.5, 1, 0)
    parts = blocks(np.clip(y, 5, 8.5), bounds)
    theta = np.array([8.1, 7.0, 6.4, 6.0, 5.1, -0.5, 1.1])
    _, slope, curvature = log_likelihood(parts, theta)
    for at, step in enumerate(np.eye(7) * 1e-5):
        up, down = log_likelihood(parts, theta + step), log_likelihood(parts, theta - step)
        assert slope[at] == pytest.approx((up[0] - down[0]) / 2e-5, abs=1e-6)
        assert curvature[at] == pytest.approx((up[1] - down[1]) / 2e-5, abs=1e-5)


def test_without_bounds_it_is_the_maximum_likelihood_of_statsmodels() -> None:
    y = drawn(3)
    y[[0, 2, 5], [3, 4, 1]] = np.nan
    rows, columns = np.nonzero(~np.isnan(y))
    fit = MixedLM(y[rows, columns], np.eye(5)[columns], groups=rows).fit(reml=False)
    theta = np.array([*fit.fe_params, math.log(fit.scale) / 2, math.sqrt(fit.cov_re[0, 0])])
    value, slope, _ = log_likelihood(blocks(y, np.zeros((7, 5), np.int8)), theta)
    assert value == pytest.approx(fit.llf, abs=1e-6)
    assert np.abs(slope).max() < 1e-2
    for at, found in enumerate(censored_contrasts(cohort(y)), start=1):
        assert found.effect.value == pytest.approx(fit.fe_params[at] - fit.fe_params[0], abs=1e-4)


def test_limits_are_where_the_profile_says() -> None:
    """At each limit p of that value is 0.05: shift the time point by it and test for no change."""
    data = cut(drawn(2), 5.2)
    found = censored_contrasts(data)[1]
    for limit in (found.effect.low, found.effect.high):
        moved = data.values.copy()
        moved[:, 2] -= limit
        assert censored_contrasts(cohort(moved, data.bounds))[1].p == pytest.approx(0.05, abs=1e-4)


@pytest.mark.parametrize(("side", "bound"), [(-1, Bound.BELOW), (1, Bound.ABOVE)])
@pytest.mark.parametrize("at_baseline", [False, True])
def test_a_time_point_of_bounds_only_gives_a_bound(side: int, bound: Bound, at_baseline: bool) -> None:
    y = drawn()
    bounds = np.zeros((7, 5), int)
    bounds[:, 0 if at_baseline else 4] = side if not at_baseline else -side
    found = censored_contrasts(cohort(y, bounds))[3]
    assert found.bound is bound
    assert math.isnan(found.effect.value)
    limit, without = (found.effect.high, found.effect.low) if side < 0 else (found.effect.low, found.effect.high)
    assert math.isfinite(limit)
    assert math.isnan(without)
    assert ("upper" if side < 0 else "lower") in found.note
    assert 0 <= found.p <= 1


def test_bounds_alike_at_both_time_points_say_nothing() -> None:
    bounds = np.zeros((7, 5), int)
    bounds[:, [0, 4]] = -1
    found = censored_contrasts(cohort(drawn(), bounds))[3]
    assert np.isnan(numbers(found)).all()
    assert "same side" in found.note


def test_it_is_not_biased_where_values_put_in_place_of_bounds_are() -> None:
    """Planted falls of 1.5 and 3 log2, range ending at 6: a third of the values are `<`. Sixty cohorts."""
    rng = np.random.default_rng(11)
    errors: dict[str, list[float]] = {"censored": [], "half": [], "limit": []}
    for _ in range(60):
        y = rng.normal(8, 1.2, (7, 1)) + np.array([0, -1.5, -3]) + rng.normal(0, 0.5, (7, 3))
        data = cut(y, 6.0)
        if np.all(data.bounds[:, 2] < 0):
            continue
        problem = censored._problem(data, (0, 1, 2))
        means = censored._maximum(problem, problem.start, None).theta
        errors["censored"].append(float(means[2] - means[0]) + 3)
        for name, less in (("half", 1.0), ("limit", 0.0)):
            put = np.where(data.bounds < 0, data.values - less, data.values)
            errors[name].append(float(np.mean(put[:, 2] - put[:, 0])) + 3)
    mean = {name: float(np.mean(found)) for name, found in errors.items()}
    assert len(errors["censored"]) > 40
    assert abs(mean["censored"]) < 0.15
    assert mean["half"] > 0.15
    assert mean["limit"] > 0.6


def test_the_top_does_not_depend_on_a_start_without_variance_between_patients() -> None:
    """Where the patients' SD is 0 the likelihood is level in it, be it the top or not."""
    problem = censored._problem(cohort(drawn()), tuple(range(5)))
    level = problem.start.copy()
    level[-1] = 0.0
    one, other = (censored._maximum(problem, start, None) for start in (problem.start, level))
    assert one.height == pytest.approx(other.height, abs=1e-8)
    assert one.theta == pytest.approx(other.theta, abs=1e-5)


# --- the bootstrap ----------------------------------------------------------------------------------


def test_the_exact_bootstrap_is_the_complete_enumeration() -> None:
    """All 27 ordered resamples of three folds, by hand: 10 distinct ones with their weights."""
    resamples = bootstrap._every(3)
    counted = Counter(tuple(sorted(one)) for one in itertools.product(range(3), repeat=3))
    found = {tuple(map(int, one)): weight for one, weight in zip(resamples.members, resamples.weights, strict=True)}
    assert found == pytest.approx({one: times / 27 for one, times in counted.items()})
    folds = np.array([-2.0, -1.0, 3.0])
    means = bootstrap._statistics(folds, resamples, bootstrap.MEAN)
    every = np.sort([np.mean(folds[list(one)]) for one in itertools.product(range(3), repeat=3)])
    for level in (0.1, 0.5, 0.9):
        assert bootstrap._quantile(means, resamples.weights, level) == pytest.approx(every[math.ceil(27 * level) - 1])


def test_seven_patients_have_1716_resamples_and_no_seed() -> None:
    data = cohort(drawn())
    one, other = bootstrap_contrasts(data, 1), bootstrap_contrasts(data, 2)
    assert one == other
    assert "all 1716 distinct resamples of 7 patients" in one[0].note
    assert one[0].effect.value == pytest.approx(np.mean(data.values[:, 1] - data.values[:, 0]))
    assert expanded_level(7) == pytest.approx(norm.cdf(-math.sqrt(7 / 6) * 2.4469119), rel=1e-6)


def test_many_patients_are_drawn_and_repeat() -> None:
    data = cohort(drawn(n=12))
    assert bootstrap_contrasts(data, 1) == bootstrap_contrasts(data, 1)
    assert bootstrap_contrasts(data, 1) != bootstrap_contrasts(data, 2)


def folds_of(folds: list[float], bounds: list[int]) -> Contrast:
    values = np.column_stack([np.full(len(folds), 8.0), 8 + np.array(folds)])
    return bootstrap_contrasts(cohort(values, np.column_stack([np.zeros(len(folds)), bounds])), 1)[0]


def test_a_median_that_bounds_cannot_move_is_a_number() -> None:
    """The two greatest falls are bounds: below the median they stay. The lower limit is open."""
    found = folds_of([-5, -4, -3, -2.5, -2, -1, 0], [-1, -1, 0, 0, 0, 0, 0])
    assert (found.effect.value, found.bound) == (-2.5, Bound.EXACT)
    assert math.isnan(found.effect.low)
    assert found.effect.high == 0
    assert found.test == bootstrap.MEDIAN
    assert "2 of 7 folds" in found.note


def test_a_median_that_bounds_can_move_is_none() -> None:
    below = folds_of([-5, -4, -3, -2.5, -2, -1, 0], [-1, -1, -1, -1, 0, 0, 0])
    assert below.bound is Bound.BELOW
    assert math.isnan(below.effect.value)
    assert "at most -2.5" in below.note
    between = folds_of([-5, -4, -3, -2.5, -2, -1, 0], [0, 0, 0, 0, -1, 0, 0])
    assert math.isnan(between.effect.value)
    assert "between -3 and -2.5" in between.note
    unknown = folds_of([-5, -4, -3, -2.5, -2, -1, 0], [-1, -1, -1, -1, 1, 1, 1])
    assert math.isnan(unknown.effect.value)


@pytest.mark.parametrize(
    ("then", "now", "low", "high"),
    [
        (0, -1, -math.inf, -3),
        (0, 1, -3, math.inf),
        (1, 0, -math.inf, -3),
        (-1, 0, -3, math.inf),
        (1, -1, -math.inf, -3),
        (-1, 1, -3, math.inf),
        (-1, -1, -math.inf, math.inf),
        (1, 1, -math.inf, math.inf),
    ],
)
def test_what_two_bounds_say_of_a_fold(then: int, now: int, low: float, high: float) -> None:
    least, most = bootstrap._folds(cohort(np.array([[8.0, 5.0]]), np.array([[then, now]])), 1)
    assert (least[0], most[0]) == (low, high)


def test_four_patients_get_no_limits() -> None:
    found = bootstrap_contrasts(cohort(drawn(n=4)), 1)[0]
    assert math.isnan(found.effect.low)
    assert "4 of 5 patients" in found.note


# --- laws -------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=8)
@given(st.integers(0, 10_000), st.floats(-20, 20), st.permutations(range(6)), st.sampled_from([0.0, 5.4]))
def test_contrasts_know_neither_the_unit_nor_the_order_of_patients(
    seed: int, shift: float, order: list[int], limit: float
) -> None:
    """A constant added to all values, and patients in another order, change no number."""
    data = cut(drawn(seed, n=6, k=3), limit)
    moved = cohort(data.values[order] + shift, data.bounds[order])
    for model in MODELS:
        for one, other in zip(model(data), model(moved), strict=True):
            assert numbers(one) == pytest.approx(numbers(other), rel=1e-4, abs=1e-4, nan_ok=True)
            assert one.bound is other.bound


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.lists(st.sampled_from([math.nan, 3.0, 4.0, 5.0, 5.5, 9.0]), min_size=3, max_size=3), min_size=1, max_size=6
    ),
    st.lists(st.lists(st.sampled_from([-1, 0, 0, 0, 1]), min_size=3, max_size=3), min_size=6, max_size=6),
)
def test_whatever_the_table_no_number_is_infinite_and_every_silence_is_explained(
    values: list[list[float]], bounds: list[list[int]]
) -> None:
    data = cohort(np.array(values), np.array(bounds[: len(values)]))
    for model in MODELS:
        for found in model(data):
            assert not np.isinf(numbers(found)).any()
            assert found.note
            assert found.bound is Bound.EXACT or math.isnan(found.effect.value)
            low, value, high = found.effect.low, found.effect.value, found.effect.high
            assert not any([low > value, high < value, low > high])
