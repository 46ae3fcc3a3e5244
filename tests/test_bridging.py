"""Patients over time: plates compared through controls, folds between them, and what is called a change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aqp4flow.cohort.bridging import Bridge, Measurement, additive_fit, bridge, bridging_check, groups
from aqp4flow.cohort.change import called
from aqp4flow.cohort.trajectory import Following, Measurements, by_serum, follow, trajectories
from aqp4flow.model import (
    NAN,
    POOLED,
    Bound,
    Change,
    Estimate,
    Imprecision,
    Precision,
    Reactivity,
    ReferenceChange,
    Role,
    Status,
    Titer,
    Titration,
    TrajectoryPoint,
    Verdict,
    Visit,
)
from aqp4flow.tables import BRIDGING, TRAJECTORIES, bridging_table, trajectories_table

COUNT = 2000
TWO_FOLD = ReferenceChange(2.0, False, "an assumption")


def noise(name: str, sd: float) -> np.ndarray:
    return sd * np.random.default_rng(list(name.encode())).standard_normal(COUNT)


def titration(
    plate: str, serum: str, titer: float, role: Role = Role.SAMPLE, *, bound: str = "=", sd: float = 0.0,
    shared: float = 0.0,
) -> Titration:  # fmt: skip
    """A titer whose draws hold its own error and what all sera of its plate share."""
    draws = math.log2(titer) + noise(plate + serum, sd) + noise(plate, shared)
    if bound != "=":
        draws = np.full(COUNT, -np.inf if bound == "<" else np.inf)
    low, high = 2.0 ** np.quantile(draws, (0.025, 0.975)) if bound == "=" else (NAN, NAN)
    value = Titer(titer, Bound(bound), float(low), float(high))
    return Titration(plate, serum, role, "delta", 100, None, value, None, draws=draws)


def control(plate: str, titer: float, serum: str = "POS", **more: object) -> Titration:
    return titration(plate, serum, titer, Role.POSITIVE, **more)


def row(plate: str, serum: str, delta: float, dilution: float = 20.0, role: Role = Role.SAMPLE, **more) -> Reactivity:
    shift = Estimate(delta, delta * 0.99, delta * 1.01)
    fields = {"status": Status.POSITIVE, **more}
    return Reactivity(
        plate, serum, role, dilution, 2, delta + 100, 100, shift, shift, delta / 100, NAN, 100, 1.5, **fields
    )


def visit(serum: str, month: float) -> Visit:
    return Visit("PT", serum, "2026-01-01", f"M{month:g}", month == 0, month)


VISITS = [visit("A", 0), visit("B", 3)]


def course(*titrations: Titration, visits: Sequence[Visit] = VISITS, **how: object) -> list[TrajectoryPoint]:
    return trajectories(visits, by_serum(titrations, []), "titer", 1, **how)


def measured(plate: str, serum: str, log2: float, sd: float = 0.0, role: Role = Role.POSITIVE) -> Measurement:
    return Measurement(plate, serum, role, Titer(2.0**log2), log2 + noise(plate + serum, sd))


# --- the fit of plates ------------------------------------------------------------------------------


def test_effects_by_hand() -> None:
    """Controls 3, 5 on P and 4, 6.4 on Q: Q reads (1 + 1.4) / 2 = 1.2 more, residuals +-0.1, one degree of freedom."""
    values = {("a", "P"): 3.0, ("b", "P"): 5.0, ("a", "Q"): 4.0, ("b", "Q"): 6.4}
    found = bridge([measured(plate, serum, x) for (serum, plate), x in values.items()], "titer", "auto")
    assert found.effects == pytest.approx([-0.6, 0.6])
    assert found.shift("Q", "P")[0] == pytest.approx(1.2)
    assert (found.left.variance, found.left.df) == (pytest.approx(4 * 0.1**2), 1)
    assert [math.log2(r.residual) for r in found.rows] == pytest.approx([0.1, -0.1, -0.1, 0.1])
    assert [math.log2(r.effect.value) for r in found.rows] == pytest.approx([-0.6, -0.6, 0.6, 0.6])


def test_all_that_plates_add_by_hand() -> None:
    """The same controls about their own means: 2 (0.5^2 + 0.7^2) = 1.48 on 2 contrasts, known from 1 (two plates)."""
    values = {("a", "P"): 3.0, ("b", "P"): 5.0, ("a", "Q"): 4.0, ("b", "Q"): 6.4}
    found = bridge([measured(plate, serum, x) for (serum, plate), x in values.items()], "titer", "auto")
    assert (found.raw.variance, found.raw.df) == (pytest.approx(0.74), 1)


def test_unbalanced_effects_agree_with_ordinary_least_squares_elsewhere() -> None:
    """statsmodels, with one plate as the base, gives the same differences and the same residual mean square."""
    import statsmodels.api as sm

    cells = [("a", "P"), ("a", "Q"), ("a", "R"), ("b", "P"), ("b", "R"), ("c", "Q"), ("c", "R"), ("c", "S")]
    y = np.random.default_rng(3).normal(6, 1, len(cells))
    plates, materials = ["P", "Q", "R", "S"], ["a", "b", "c"]
    columns = [[float(m == one) for m, _ in cells] for one in materials]
    columns += [[float(p == one) for _, p in cells] for one in plates[1:]]
    fit = sm.OLS(y, np.array(columns).T).fit()
    found = bridge([measured(p, m, v) for (m, p), v in zip(cells, y, strict=True)], "titer", "auto")
    assert [found.shift(plate, "P")[0] for plate in plates[1:]] == pytest.approx(list(fit.params[3:]))
    assert (found.left.variance, found.left.df) == (pytest.approx(fit.mse_resid), fit.df_resid)


def test_own_error_of_controls_is_taken_off_the_noise() -> None:
    """Residuals of +-0.1 from titers that err by 0.2 each are no noise between plates."""
    values = {("a", "P"): 3.0, ("b", "P"): 5.0, ("a", "Q"): 4.0, ("b", "Q"): 6.4}
    found = bridge([measured(plate, serum, x, 0.2) for (serum, plate), x in values.items()], "titer", "auto")
    assert (found.left.variance, found.left.df) == (0.0, 1)


def test_plates_are_compared_in_several_steps_and_never_without_a_path() -> None:
    """P and Q share a, Q and R share b; S has a control of its own."""
    cells = [("a", "P"), ("a", "Q"), ("b", "Q"), ("b", "R"), ("c", "S")]
    assert groups(cells, ["P", "Q", "R", "S"]) == (0, 0, 0, 3)
    found = bridge([measured(p, m, i) for i, (m, p) in enumerate(cells)], "titer", "auto")
    assert found.shift("R", "P")[0] == pytest.approx(1 + 1)
    assert found.rests_on_one("R", "P")
    assert not found.connects("S", "P")
    assert found.shift("S", "P")[0] == 0
    assert math.isnan(next(r for r in found.rows if r.serum == "c").effect.value)


def test_how_often_the_noise_is_in_a_fold_by_hand() -> None:
    """Two sera on two plates: 2, and the controls' own: 2 of one, 1 of two. On one plate: none. Half shared: less."""
    one = bridge([measured(p, "a", 3) for p in "PQ"], "titer", "auto")
    two = bridge([measured(p, m, 3) for p in "PQ" for m in "ab"], "titer", "auto")
    assert one.noises(["Q"], ["P"]) == pytest.approx(4)
    assert two.noises(["Q"], ["P"]) == pytest.approx(3)
    assert two.noises(["P"], ["P"]) == 0
    assert two.noises(["P", "Q"], ["P"]) == pytest.approx(2 * 0.25 + 4 * 0.25**2)


@settings(deadline=None, max_examples=50)
@given(st.sets(st.tuples(st.sampled_from("abcd"), st.sampled_from("PQRST")), min_size=1))
def test_effects_of_any_layout_sum_to_0_in_each_group_and_leave_what_plates_alone_make(layout: set) -> None:
    """Values that are material + plate leave no residual; degrees of freedom are the rank that is left."""
    cells, plates = sorted(layout), list("PQRST")
    fit = additive_fit(cells, plates)
    y = np.array([10 * "abcd".index(m) + "PQRST".index(p) ** 2 for m, p in cells], float)
    assert fit.left @ y == pytest.approx(np.zeros(len(cells)), abs=1e-9)
    assert fit.df == round(float(np.trace(fit.left)))
    effects = fit.weights @ y
    for number in set(fit.group):
        of_group = [i for i, one in enumerate(fit.group) if one == number]
        assert sum(effects[of_group]) == pytest.approx(0, abs=1e-9)
        planted = np.array([float(i**2) for i in of_group])
        assert effects[of_group] == pytest.approx(planted - planted.mean(), abs=1e-9)


# --- folds between plates -----------------------------------------------------------------------------


def test_a_planted_plate_factor_is_taken_out() -> None:
    """Q reads 1.5 times too much: 160 on P, then 60 on Q is 40 on P and a fold of 0.25."""
    points = course(titration("P", "A", 160), titration("Q", "B", 60), control("P", 200), control("Q", 300))
    assert points[1].value is not None
    assert points[1].value.value == pytest.approx(40)
    assert points[1].titer == Titer(60, Bound.EXACT, pytest.approx(60), pytest.approx(60))
    assert points[1].fold is not None
    assert points[1].fold.value == pytest.approx(0.25)
    assert points[1].flags == ("bridged-by-one",)
    assert points[1].notes == ("other-plate-than-baseline", "bridged", "plate-noise-unknown")
    assert points[0].notes == ()


def test_a_bridged_fold_pays_for_the_controls_error() -> None:
    """Four titers that err by 0.1 on log2: 1.96 x 0.2 either way."""
    plain = [titration("P", "A", 160, sd=0.1), titration("Q", "B", 40, sd=0.1)]
    controls = [control("P", 200, sd=0.1), control("Q", 200, sd=0.1)]
    found = course(*plain, *controls)[1].fold
    assert found is not None
    assert math.log2(found.high / found.low) / 2 == pytest.approx(1.96 * 0.2, rel=0.07)


def test_a_fold_between_plates_that_nothing_connects_has_no_limits_and_no_call() -> None:
    """What the plates differ by is in no limit: a narrow one would be a wrong number."""
    point = course(titration("P", "A", 160, sd=0.1), titration("Q", "B", 4, sd=0.1))[1]
    assert point.fold is not None
    assert point.fold.value == pytest.approx(4 / 160)
    assert math.isnan(point.fold.low)
    assert math.isnan(point.fold.high)
    assert point.change is Change.UNKNOWN
    assert "not-bridged" in point.flags


def test_what_a_plate_shares_cancels_between_patient_and_control() -> None:
    """Cut-offs known within a factor of two cost a bridged fold nothing."""
    titrations = [titration("P", "A", 160, shared=0.5), titration("Q", "B", 40, shared=0.5)]
    controls = [control("P", 200, shared=0.5), control("Q", 200, shared=0.5)]
    bridged = course(*titrations, *controls)[1].fold
    assert bridged is not None
    assert (bridged.low, bridged.high) == (pytest.approx(0.25), pytest.approx(0.25))


def test_what_controls_differ_by_beyond_their_error_widens_the_limits() -> None:
    """Two controls that disagree by 0.4 on log2 between two plates: variance 0.08 / 2, three times in the fold."""
    controls = [control("P", 200), control("Q", 200), control("P", 80, "REF"), control("Q", 80 * 2**0.4, "REF")]
    titrations = [titration("P", "A", 160), titration("Q", "B", 40 * 2**0.2)]
    point = course(*titrations, *controls)[1]
    assert point.fold is not None
    assert point.fold.value == pytest.approx(0.25)
    assert math.log2(point.fold.high / point.fold.low) / 2 == pytest.approx(1.96 * math.sqrt(3 * 0.04), rel=0.07)
    assert point.flags == ()
    assert point.notes == ("other-plate-than-baseline", "bridged", "plate-noise-from-few")


def test_without_a_control_on_both_plates_the_fold_is_raw_and_flagged() -> None:
    """The other plate's control reads nothing but a bound: no bridge. `none` asks for none."""
    titrations = [titration("P", "A", 160), titration("Q", "B", 60), control("P", 200)]
    for more, how in (((control("Q", 20, bound="<"),), {}), ((control("Q", 300),), {"bridging": "none"})):
        point = course(*titrations, *more, **how)[1]
        assert point.fold is not None
        assert point.fold.value == pytest.approx(60 / 160)
        assert point.value is not None
        assert point.titer is not None
        assert point.value.value == point.titer.value
        assert point.flags == ("other-plate-than-baseline", "not-bridged")


def test_a_control_may_be_chosen_by_name() -> None:
    """POS says 1.5, REF says 3: each alone is the bridge when asked for, else both."""
    titrations = [titration("P", "A", 160), titration("Q", "B", 60)]
    titrations += [control("P", 200), control("Q", 300), control("P", 80, "REF"), control("Q", 240, "REF")]
    factors = {"POS": 1.5, "REF": 3.0, "auto": math.sqrt(4.5)}
    for name, factor in factors.items():
        found = course(*titrations, bridging=name)[1].fold
        assert found is not None
        assert found.value == pytest.approx(60 / factor / 160)


def test_repeated_measurements_are_moved_before_they_are_averaged() -> None:
    """B reads 40 on P and 60 on Q, which reads 1.5 times too much: 40, not 49. Both stay in titers.csv."""
    titrations = [titration("P", "A", 160), titration("P", "B", 40), titration("Q", "B", 60)]
    point = course(*titrations, control("P", 200), control("Q", 300))[1]
    assert point.value is not None
    assert point.value.value == pytest.approx(40)
    assert point.titer is not None
    assert point.titer.value == pytest.approx(math.sqrt(40 * 60))
    assert point.plates == ("P", "Q")
    assert {"combined-plates", "bridged"} <= set(point.notes)


def test_a_serum_below_one_plate_and_above_another_has_no_value() -> None:
    titrations = [titration("P", "A", 160), titration("P", "B", 20, bound="<"), titration("Q", "B", 1280, bound=">")]
    point = course(*titrations)[1]
    assert (point.value, point.fold, point.change) == (None, None, Change.UNKNOWN)
    assert {"plates-contradict", "fold-unknown"} <= set(point.flags)


def test_after_a_baseline_below_the_range_what_is_read_is_above() -> None:
    """`<20`, then 160: `>8`. Then `<20` again: not known; never 0, never half."""
    visits = [visit("A", 0), visit("B", 3), visit("C", 6)]
    points = course(
        titration("P", "A", 20, bound="<"), titration("P", "B", 160), titration("P", "C", 20, bound="<"), visits=visits
    )
    assert points[0].fold is None
    assert points[1].fold is not None
    assert (points[1].fold.value, points[1].fold.bound) == (8, Bound.ABOVE)
    assert points[2].fold is None
    assert [p.value.value for p in points if p.value] == [20, 160, 20]


def test_a_bound_moves_with_its_plate() -> None:
    """`<20` on a plate that reads 1.5 times too much is `<13.3` on the baseline's."""
    titrations = [titration("P", "A", 160), titration("Q", "B", 20, bound="<")]
    point = course(*titrations, control("P", 200), control("Q", 300))[1]
    assert point.value is not None
    assert (point.value.value, point.value.bound) == (pytest.approx(20 / 1.5), Bound.BELOW)
    assert point.fold is not None
    assert (point.fold.value, point.fold.bound) == (pytest.approx(20 / 1.5 / 160), Bound.BELOW)


@settings(deadline=None, max_examples=40)
@given(st.floats(0.2, 5.0), st.floats(0.2, 5.0), st.floats(30, 3000), st.floats(30, 3000))
def test_a_factor_common_to_a_plate_changes_no_bridged_fold(p: float, q: float, a: float, b: float) -> None:
    """Whatever multiplies all sera of a plate, controls among them, leaves fold and limits as they were."""
    found = [
        course(
            titration("P", "A", a * x, sd=0.1), titration("Q", "B", b * y, sd=0.1),
            control("P", 200 * x, sd=0.1), control("Q", 210 * y, sd=0.1),
            control("P", 90 * x, "REF", sd=0.1), control("Q", 80 * y, "REF", sd=0.1),
        )[1].fold
        for x, y in ((1.0, 1.0), (p, q))
    ]  # fmt: skip
    assert found[0] is not None
    assert found[1] is not None
    assert [found[1].value, found[1].low, found[1].high] == pytest.approx(
        [found[0].value, found[0].low, found[0].high], rel=1e-6
    )


# --- shifts and units ---------------------------------------------------------------------------------


def shifts(*rows: Reactivity) -> Measurements:
    return by_serum([], rows)


def test_shifts_are_bridged_at_their_own_dilution() -> None:
    """A plate twice as bright: 1200 on P, 600 on Q is 300 on P. A control at another dilution says nothing of it."""
    patient = [row("P", "A", 1200), row("Q", "B", 600)]
    there = [row("P", "POS", 900, role=Role.POSITIVE), row("Q", "POS", 1800, role=Role.POSITIVE)]
    elsewhere = [replace(one, dilution=80.0) for one in there]
    bridged = trajectories(VISITS, shifts(*patient, *there), "delta", 1)[1]
    raw = trajectories(VISITS, shifts(*patient, *elsewhere), "delta", 1)[1]
    assert bridged.fold is not None
    assert bridged.fold.value == pytest.approx(0.25)
    assert raw.fold is not None
    assert raw.fold.value == pytest.approx(0.5)
    assert "not-bridged" in raw.flags


def test_shifts_at_different_dilutions_have_no_fold() -> None:
    point = trajectories(VISITS, shifts(row("P", "A", 1200), row("P", "B", 600, 80.0)), "delta", 1)[1]
    assert point.fold is None
    assert {"other-dilution-than-baseline", "fold-unknown"} <= set(point.flags)


def test_a_saturated_shift_is_a_lower_bound() -> None:
    saturated = row("P", "B", 2400, flags=("saturated",))
    point = trajectories(VISITS, shifts(row("P", "A", 600), saturated), "delta", 1)[1]
    assert point.fold is not None
    assert (point.fold.value, point.fold.bound) == (4, Bound.ABOVE)
    assert "saturated" in point.flags


def test_a_shift_without_limits_gives_a_fold_without_limits() -> None:
    bare = replace(row("P", "B", 300), ratio=Estimate(3.0))
    found = trajectories(VISITS, shifts(row("P", "A", 600), bare), "ratio", 1)[1]
    assert found.fold is not None
    assert math.isnan(found.fold.low)
    assert math.isnan(found.fold.high)
    assert found.change is Change.UNKNOWN


def of_units(plate: str, serum: str, value: float, reference: str, role: Role = Role.SAMPLE) -> Titration:
    draws = np.full(COUNT, math.log2(value))
    return replace(
        titration(plate, serum, value, role), units=Titer(value), unit_draws=draws, unit="AU", reference=reference
    )


def test_units_are_compared_as_they_are_where_the_reference_is_the_same() -> None:
    """Titers of controls do not move units; another reference serum is another unit."""
    for reference, flags in (("REF", ()), ("STD", ("other-plate-than-baseline", "not-bridged"))):
        measured_ = by_serum(
            [
                of_units("P", "A", 80, "REF"), of_units("Q", "B", 20, reference),
                control("P", 200), control("Q", 900),
            ],
            [],
        )  # fmt: skip
        point = trajectories(VISITS, measured_, "units", 1)[1]
        assert point.fold is not None
        assert point.fold.value == pytest.approx(0.25)
        assert point.flags == flags


# --- what a change is called --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "bound", "low", "high", "call", "notes"),
    [
        (0.40, "=", 0.30, 0.55, Change.FELL, ()),
        (0.51, "=", 0.40, 0.65, Change.NONE, ()),
        (0.40, "=", 0.15, 1.10, Change.UNKNOWN, ("change-within-limits",)),
        (0.40, "=", 0.15, NAN, Change.UNKNOWN, ("change-within-limits",)),
        (2.50, "=", 1.80, 3.40, Change.ROSE, ()),
        (2.50, "=", 0.90, 7.00, Change.UNKNOWN, ("change-within-limits",)),
        (1.99, "=", 1.50, 2.60, Change.NONE, ()),
        (0.40, "<", NAN, 0.45, Change.FELL, ()),
        (0.60, "<", NAN, 0.60, Change.UNKNOWN, ()),  # at most 0.6 may be no change and may be a fall
        (4.00, "<", NAN, 4.00, Change.UNKNOWN, ()),  # at most 4 says nothing
        (4.00, ">", 3.50, NAN, Change.ROSE, ()),
        (0.10, ">", 0.10, NAN, Change.UNKNOWN, ()),
        (1.50, ">", 1.50, NAN, Change.UNKNOWN, ()),
    ],
)
def test_calls(value: float, bound: str, low: float, high: float, call: Change, notes: tuple[str, ...]) -> None:
    """Against a two-fold reference change."""
    assert called(Titer(value, Bound(bound), low, high), TWO_FOLD) == (call, notes)


def test_without_a_fold_nothing_is_called() -> None:
    assert called(None, TWO_FOLD) == (Change.UNKNOWN, ())


@given(st.floats(0.01, 100), st.floats(1.01, 3), st.floats(1.01, 10))
def test_a_call_turned_round_is_its_opposite(value: float, width: float, limit: float) -> None:
    there = called(Titer(value, Bound.EXACT, value / width, value * width), ReferenceChange(limit, True, ""))
    back = called(Titer(1 / value, Bound.EXACT, 1 / value / width, 1 / value * width), ReferenceChange(limit, True, ""))
    opposite = {Change.FELL: Change.ROSE, Change.ROSE: Change.FELL}
    assert back == (opposite.get(there[0], there[0]), there[1])


def test_the_reference_change_of_two_plates_is_larger_and_asked_for() -> None:
    """Two plates must differ 2.4-fold, one plate 1.3-fold: 0.5 is a fall on one plate and none between two."""
    rows = tuple(
        Imprecision(quantity, POOLED, "", NAN, 20, 6, NAN, within_df=9, between_df=5,
                    rcv_one_plate=Estimate(1.3), rcv_two_plates=Estimate(2.4))
        for quantity in ("titer", "delta", "ratio", "index", "units")
    )  # fmt: skip
    precision = Precision(rows)
    one = course(titration("P", "A", 160), titration("P", "B", 80), precision=precision)
    two = course(
        titration("P", "A", 160), titration("Q", "B", 80), control("P", 200), control("Q", 200), precision=precision
    )
    assert [one[1].change, two[1].change] == [Change.FELL, Change.NONE]
    assert [one[1].limit.fold, two[1].limit.fold] == [1.3, 2.4]
    assert one[0].change is Change.UNKNOWN
    assert one[0].limit is None
    rows_ = shifts(row("P", "A", 1200), row("P", "B", 600))
    for quantity in ("delta", "ratio", "index"):
        assert trajectories(VISITS, rows_, quantity, 1, precision)[1].limit.fold == 1.3


# --- information ----------------------------------------------------------------------------------------


def notes_of(statuses: str, values: Sequence[float]) -> list[tuple[str, ...]]:
    words = {"+": Status.POSITIVE, "-": Status.NEGATIVE, "?": Status.EQUIVOCAL}
    visits = [visit(f"S{i}", float(i)) for i in range(len(statuses))]
    rows = [row("P", f"S{i}", 600, status=words[s]) for i, s in enumerate(statuses)]
    titrations = [titration("P", f"S{i}", value, sd=0.05) for i, value in enumerate(values)]
    return [point.notes for point in trajectories(visits, by_serum(titrations, rows), "titer", 1)]


def test_seroreversion_and_seroconversion_are_noted() -> None:
    """Positive, equivocal, negative, positive: lost at the third visit, gained again at the fourth."""
    assert notes_of("+?-+", [100] * 4) == [(), (), ("seroreverted",), ("seroconverted",)]


def test_a_two_fold_rise_since_the_visit_before_is_noted() -> None:
    """100, 50, 99, 200: the third is 1.98-fold of the second, the fourth 2.02-fold of the third."""
    assert notes_of("++++", [100, 50, 99, 200]) == [(), (), (), ("rise-since-last",)]


def test_plates_that_call_a_serum_differently_are_flagged() -> None:
    rows = [row("P", "A", 600), row("P", "B", 600), row("Q", "B", 90, status=Status.NEGATIVE)]
    point = trajectories(VISITS, by_serum([titration("P", "A", 80), titration("P", "B", 80)], rows), "titer", 1)[1]
    assert "statuses-differ" in point.flags
    assert "seroreverted" not in point.notes


# --- tables and checks ------------------------------------------------------------------------------------


def test_the_tables_hold_value_fold_call_and_bridge() -> None:
    titrations = [titration("P", "A", 160), titration("Q", "B", 60), control("P", 200), control("Q", 300)]
    found = follow(VISITS, by_serum(titrations, []), Following(seed=1))
    headings, rows = trajectories_table(found.points)
    last = dict(zip(headings, rows[1], strict=True))
    assert headings == TRAJECTORIES
    assert (last["value"], last["log2_fold"], last["value_bound"]) == (pytest.approx(40), pytest.approx(-2), "=")
    assert (last["change"], last["change_limit"]) == ("fell", 2.0)
    assert last["change_basis"] == "an assumption: nothing was measured twice"
    assert dict(zip(headings, rows[0], strict=True))["change"] == ""
    headings, rows = bridging_table([r for one in found.bridges for r in one.rows])
    assert headings == BRIDGING
    shown = [dict(zip(headings, cells, strict=True)) for cells in rows]
    assert [(r["plate"], r["serum"], r["used"]) for r in shown] == [("P", "POS", "yes"), ("Q", "POS", "yes")]
    assert shown[1]["plate_effect"] / shown[0]["plate_effect"] == pytest.approx(1.5)


def test_the_check_says_how_plates_were_compared() -> None:
    """Two controls pass, one warns, none warns, a name that is no control fails; one plate needs no check."""
    patient = [titration("P", "A", 160), titration("Q", "B", 60)]
    one = [control("P", 200), control("Q", 300)]
    two = [*one, control("P", 80, "REF"), control("Q", 120, "REF")]
    cases = [(two, "auto", Verdict.PASS), (one, "auto", Verdict.WARN), (one, "none", Verdict.WARN),
             (one, "POSITIVE", Verdict.FAIL)]  # fmt: skip
    for controls, name, verdict in cases:
        found = follow(VISITS, by_serum([*patient, *controls], []), Following(bridging=name))
        check = bridging_check(found.bridges, name, found.crossed)
        assert check is not None
        assert check.verdict is verdict, name
    found = follow(VISITS, by_serum([patient[0], titration("P", "B", 60)], []), Following())
    assert bridging_check(found.bridges, "auto", found.crossed) is None


def test_every_run_of_several_plates_shows_what_they_were_compared_by(results: Path, table) -> None:
    """Both plates of the simulated study, whose patients each lie on one: controls and effects, and no bridged fold."""
    rows = table(results / "bridging.csv")
    assert {row["plate"] for row in rows} == {"P001", "P004"}
    assert {row["role"] for row in rows} <= {"positive", "reference"}
    visits = table(results / "trajectories.csv")
    assert not any("bridged" in row["notes"] for row in visits)
    assert {row["change"] for row in visits if not row["baseline"]} <= {"fell", "rose", "no-change", "unknown"}
    assert sum(row["change"] == "fell" for row in visits) >= 2
    assert all(row["change_limit"] for row in visits if row["fold_vs_baseline"] and not row["baseline"])


def test_nothing_measured_gives_an_empty_bridge() -> None:
    empty = bridge([], "titer", "auto")
    assert isinstance(empty, Bridge)
    assert empty.rows == ()
    assert follow([], by_serum([], []), Following()).points == ()
    (first, _) = course()
    assert (first.value, first.limit, first.flags) == (None, None, ("not-measured", "fold-unknown"))
