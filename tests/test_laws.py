"""Laws that hold whatever the numbers are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aqp4flow.assay.readout import delta, ratio
from aqp4flow.assay.titer import bounded, crossing
from aqp4flow.cohort.trajectory import Quantity, fold, fold_bound
from aqp4flow.cytometry.measure import median_with_limits
from aqp4flow.model import Bound, Estimate, Titer
from aqp4flow.tables import number

readouts = st.floats(0.01, 1e6)
ladders = st.lists(st.floats(0.1, 4.0), min_size=1, max_size=7).map(lambda steps: np.cumsum([math.log2(10), *steps]))


@st.composite
def titrations(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """log2 dilutions, read-outs that may lie below 0, and a cut-off above 0, for one or more draws."""
    ladder = draw(ladders)
    n = draw(st.integers(1, 4))
    value = readouts | st.floats(-100, 0.01)
    values = np.array(draw(st.lists(value, min_size=n * len(ladder), max_size=n * len(ladder)))).reshape(n, -1)
    return ladder, values, np.array(draw(st.lists(st.floats(0.01, 1e5), min_size=n, max_size=n)))


# --- titers -----------------------------------------------------------------------------------------


@settings(deadline=None)
@given(titrations(), st.floats(-8, 8))
def test_titers_scale_with_the_dilutions(drawn: tuple[np.ndarray, np.ndarray, np.ndarray], shift: float) -> None:
    ladder, values, cutoff = drawn
    np.testing.assert_allclose(
        crossing(ladder + shift, values, cutoff), crossing(ladder, values, cutoff) + shift, atol=1e-9
    )


@settings(deadline=None)
@given(titrations(), st.integers(-10, 10))
def test_titers_do_not_depend_on_the_unit_of_the_signal(
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray], doublings: int
) -> None:
    ladder, values, cutoff = drawn
    unit = 2.0**doublings
    np.testing.assert_allclose(
        crossing(ladder, values * unit, cutoff * unit), crossing(ladder, values, cutoff), atol=1e-6
    )


@settings(deadline=None)
@given(titrations())
def test_a_crossing_lies_between_the_last_value_above_and_the_first_not_above(
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    ladder, values, cutoff = drawn
    for at, row, level in zip(crossing(ladder, values, cutoff), values, cutoff, strict=True):
        below = [i for i, value in enumerate(row) if value <= level]
        if not below:
            assert at == math.inf
        elif below[0] == 0:
            assert at == -math.inf
        else:
            assert ladder[below[0] - 1] <= at <= ladder[below[0]]


@settings(deadline=None)
@given(titrations(), st.floats(1.0, 10.0))
def test_a_higher_cutoff_never_gives_a_higher_titer(
    drawn: tuple[np.ndarray, np.ndarray, np.ndarray], times: float
) -> None:
    ladder, values, cutoff = drawn
    assert np.all(crossing(ladder, values, cutoff * times) <= crossing(ladder, values, cutoff) + 1e-9)


@given(st.floats(1, 1e5), st.floats(0.001, 0.999), st.integers(1, 12))
def test_halving_with_each_dilution_gives_the_exact_titer(top: float, part: float, steps: int) -> None:
    ladder = np.arange(steps + 1.0)
    values, wanted = (top / 2.0**ladder)[None], part * steps
    assert crossing(ladder, values, np.array([top / 2.0**wanted]))[0] == pytest.approx(wanted, abs=1e-9)


@given(st.floats(0.05, 1.0), st.lists(st.floats(0.1, 4.0), min_size=2, max_size=6), st.floats(0.001, 0.999))
def test_any_straight_line_in_log_and_log_is_read_exactly(slope: float, steps: list[float], part: float) -> None:
    ladder = np.cumsum([3.0, *steps])
    wanted = ladder[0] + part * (ladder[-1] - ladder[0])
    values = 2.0 ** (-slope * ladder)
    assert crossing(ladder, values[None], np.array([2.0 ** (-slope * wanted)]))[0] == pytest.approx(wanted, abs=1e-6)


@given(st.lists(st.floats(-2, 14), min_size=40, max_size=200), st.floats(4, 10))
def test_a_titer_beyond_the_ladder_is_bounded_by_the_tested_extreme(draws: list[float], point: float) -> None:
    noise = np.array(draws)
    assert bounded(-math.inf, noise, 10.0, 1280.0).bound is Bound.BELOW
    assert bounded(math.inf, noise, 10.0, 1280.0).bound is Bound.ABOVE
    assert bounded(-math.inf, noise, 10.0, 1280.0).value == 10.0
    assert bounded(math.inf, noise, 10.0, 1280.0).value == 1280.0
    assert bounded(point, noise, 10.0, 1280.0).value == pytest.approx(2.0**point)
    assert bounded(point, noise, 10.0, 1280.0).bound is Bound.EXACT


# --- folds ------------------------------------------------------------------------------------------

titers = st.floats(1.0, 1e6)


def quantity(value: float, seed: int, bound: Bound = Bound.EXACT) -> Quantity:
    return Quantity(Titer(value, bound), np.log2(value) + 0.3 * np.random.default_rng(seed).standard_normal(2000))


@settings(deadline=None)
@given(titers, titers, st.integers(0, 50))
def test_a_fold_turned_round_is_its_inverse_with_its_limits(now: float, before: float, seed: int) -> None:
    a, b = quantity(now, seed), quantity(before, seed + 1)
    there, back = fold(a, b), fold(b, a)
    assert there is not None
    assert back is not None
    assert there.value == pytest.approx(now / before)
    assert there.value * back.value == pytest.approx(1.0)
    assert there.low * back.high == pytest.approx(1.0)
    assert there.high * back.low == pytest.approx(1.0)
    assert there.low < there.value < there.high
    assert there.bound is back.bound is Bound.EXACT


@settings(deadline=None)
@given(titers, st.integers(0, 50))
def test_a_titer_over_itself_is_one_without_doubt(value: float, seed: int) -> None:
    """Draws shared by both sides cancel."""
    same = fold(quantity(value, seed), quantity(value, seed))
    assert same is not None
    assert (same.value, same.low, same.high) == (1.0, 1.0, 1.0)


@given(st.sampled_from(Bound), st.sampled_from(Bound), st.floats(0.01, 1), st.floats(0.01, 1))
def test_the_bound_of_a_fold_is_what_every_pair_of_true_titers_obeys(
    now: Bound, before: Bound, u: float, v: float
) -> None:
    def true(bound: Bound, part: float) -> float:
        return {Bound.EXACT: 1.0, Bound.BELOW: part, Bound.ABOVE: 1 / part}[bound]

    value, bound = true(now, u) / true(before, v), fold_bound(now, before)
    if bound is Bound.EXACT:
        assert value == 1.0
    elif bound is Bound.BELOW:
        assert value <= 1.0
    elif bound is Bound.ABOVE:
        assert value >= 1.0
    else:
        assert now is before is not Bound.EXACT


# --- limits -----------------------------------------------------------------------------------------


@st.composite
def estimates(draw: st.DrawFn, low: float = -1e5, high: float = 1e6) -> Estimate:
    down, value, up = sorted(draw(st.tuples(*[st.floats(low, high)] * 3)))
    return Estimate(value, down, up)


@given(estimates(), estimates())
def test_the_limits_of_a_difference_hold_it(a: Estimate, b: Estimate) -> None:
    found = delta(a, b)
    assert found.value == a.value - b.value
    assert found.low <= found.value <= found.high
    assert found.high - found.low <= (a.high - a.low) + (b.high - b.low) + 1e-6


@given(estimates(), estimates())
def test_a_difference_turned_round_turns_its_limits(a: Estimate, b: Estimate) -> None:
    there, back = delta(a, b), delta(b, a)
    assert (back.value, back.low, back.high) == (-there.value, -there.high, -there.low)


@given(estimates(0.01), estimates(0.01))
def test_the_limits_of_a_ratio_hold_it(a: Estimate, b: Estimate) -> None:
    found = ratio(a, b)
    assert found.value == a.value / b.value
    assert found.low <= found.value <= found.high
    assert found.low > 0


@given(estimates(), estimates(-1e5, 0.0))
def test_a_ratio_to_what_may_be_0_is_unknown(a: Estimate, b: Estimate) -> None:
    assert not ratio(a, b).known
    assert not ratio(a, Estimate(5.0, -1.0, 9.0)).known


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300))
def test_the_limits_of_a_median_hold_it_and_are_values_seen(drawn: list[float]) -> None:
    found = median_with_limits(np.array(drawn))
    assert found.value == np.median(drawn)
    if len(drawn) >= 6:
        assert found.low <= found.value <= found.high
        assert {found.low, found.high} <= set(drawn)


@given(st.lists(st.floats(-1e6, 1e6), min_size=6, max_size=60), st.randoms(use_true_random=False))
def test_a_median_does_not_depend_on_the_order_of_events(drawn: list[float], chance) -> None:
    turned = list(drawn)
    chance.shuffle(turned)
    assert median_with_limits(np.array(turned)) == median_with_limits(np.array(drawn))


# --- numbers in tables ------------------------------------------------------------------------------


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_in_a_table_is_the_number_to_six_digits(value: float) -> None:
    assert float(number(value)) == float(f"{value:.6g}")
    assert math.isclose(float(number(value)), value, rel_tol=5e-6, abs_tol=1e-322)


@given(st.floats(1e-4, 9e15) | st.floats(-9e15, -1e-4) | st.just(0.0) | st.just(-0.0))
def test_numbers_of_usual_size_are_written_out(value: float) -> None:
    text = number(value)
    assert set(text) <= set("-.0123456789")
    assert not text.endswith((".0", "."))
    assert text != "-0"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1280.0, "1280"),
        (0.1, "0.1"),
        (-2.5, "-2.5"),
        (1234567.0, "1234570"),
        (0.000123456789, "0.000123457"),
        (999999.5, "1000000"),
        (0.0, "0"),
        (-0.0, "0"),
        (math.nan, ""),
        (math.inf, ""),
        (-math.inf, ""),
    ],
)
def test_numbers_in_tables_by_hand(value: float, text: str) -> None:
    assert number(value) == text
