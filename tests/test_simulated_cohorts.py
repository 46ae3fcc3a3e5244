"""Simulated cohorts: what is planted is true, what is counted is counted rightly, and limits that lie would be seen."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from aqp4flow.accuracy import cohorttally
from aqp4flow.accuracy.cohortlevel import (
    FOLD_ONE,
    BiasVerdict,
    CallVerdict,
    CohortVerdicts,
    complete_cases,
    half_limit,
    study_verdicts,
)
from aqp4flow.accuracy.cohorttests import Spoken, default_tests
from aqp4flow.cohort.bridging import additive_fit
from aqp4flow.cohort.statistics.outcomes import Outcome
from aqp4flow.cohort.trajectory import by_serum, trajectories
from aqp4flow.cytometry.measure import median_ranks
from aqp4flow.model import Bound, Change, Followed, Role, Titer, Titration, Visit
from aqp4flow.simulate.cohort import PATIENTS
from aqp4flow.simulate.cohortplates import (
    LAW_OF_FALLS,
    SCHEDULE,
    Arm,
    Course,
    Layout,
    Plan,
    cohort_plates,
    planted_cohort,
)
from aqp4flow.simulate.scenario import PLAIN

DECLINES = Arm("declines", Course.PLANTED)
NOTHING = Arm("no change", Course.NULL, noise=0.3)
SEED = 7


# --- what is planted ----------------------------------------------------------------------------------------


def test_declines_are_those_of_the_demo() -> None:
    """Folds to the digit: one patient who does not respond, one who falls to 0.4 %."""
    folds = planted_cohort(DECLINES, 1, SEED).folds
    for patient in PATIENTS:
        found = [folds[f"declines-{patient.name}-{point.name}"] for point in SCHEDULE]
        assert found == pytest.approx(patient.folds)
    assert min(folds.values()) == pytest.approx(0.004)


def test_without_change_concentrations_vary_by_the_noise_alone() -> None:
    """200 cohorts: differences of two visits have an SD of 0.3 sqrt 2 = 0.424 on log2, and a mean of 0."""
    changes = np.array([planted_cohort(NOTHING, number, SEED).changes[:, -1] for number in range(200)])
    assert changes.std() == pytest.approx(0.3 * math.sqrt(2), rel=0.06)
    assert abs(changes.mean()) < 3 * 0.424 / math.sqrt(1400)


def test_falls_by_a_law_are_on_average_the_law() -> None:
    law = Arm("law", Course.LAW)
    changes = np.array([planted_cohort(law, number, SEED).changes for number in range(200)])
    assert changes.mean(axis=(0, 1)) == pytest.approx(LAW_OF_FALLS, abs=0.15)


def test_relapses_have_one_rate_before_and_after_and_only_where_nothing_changes() -> None:
    """200 cohorts of seven patient-years each side at 2.9 a year: 4,060 expected, SD 64."""
    found = [one for number in range(200) for one in planted_cohort(NOTHING, number, SEED).followed]
    for count in (sum(one.relapses_before for one in found), sum(one.relapses_after for one in found)):
        assert abs(count - 200 * 7 * 2.9) < 4 * 64
    assert planted_cohort(DECLINES, 1, SEED).followed == ()


# --- plates ---------------------------------------------------------------------------------------------------


def plates_of(layout: Layout, day: float = 0.2):
    cohorts = (planted_cohort(NOTHING, 3, SEED),)
    return cohort_plates(Plan(layout, (NOTHING,), day), cohorts, (3, SEED), PLAIN, median_ranks)


@pytest.mark.parametrize(("layout", "count"), [(Layout.ONE, 7), (Layout.CROSSED, 2), (Layout.TIME, 2)])
def test_every_serum_lies_on_one_plate_and_controls_on_all(layout: Layout, count: int) -> None:
    plates = plates_of(layout)
    assert len(plates) == count
    sera = [{one.well.serum for one in plate.readings if one.well.role is Role.SAMPLE} for plate in plates]
    assert sum(map(len, sera)) == len(set().union(*sera)) == 35
    for plate in plates:
        assert {"REF", "POS"} <= {one.well.serum for one in plate.readings}
        assert sum(one.well.role is Role.NEGATIVE for one in plate.readings) == PLAIN.negatives


def test_layouts_put_visits_where_they_say() -> None:
    """By time: all baselines on A. Crossed: baselines of every second patient on B. Either way late visits opposite."""
    for layout, on_second in ((Layout.TIME, 0), (Layout.CROSSED, 3)):
        first, second = ({one.well.serum for one in plate.readings} for plate in plates_of(layout))
        baselines = [f"no change-{patient.name}-M00" for patient in PATIENTS]
        assert sum(serum in second for serum in baselines) == on_second
        for serum in baselines:
            assert (serum in first) == (serum.replace("M00", "M12") in second)


def test_a_day_acts_on_all_light_of_a_plate() -> None:
    """Days of log SD 2: the same control differs between both plates by one factor, bright and dark cells alike."""
    first, second = plates_of(Layout.TIME, day=2.0)
    bright, dark = (
        [
            math.log(getattr(a, population).value / getattr(b, population).value)
            for a, b in zip(
                [one for one in first.readings if one.well.serum == "REF"],
                [one for one in second.readings if one.well.serum == "REF"],
                strict=True,
            )
        ]
        for population in ("expressing", "nonexpressing")
    )
    assert abs(np.median(bright)) > 0.3
    assert np.median(bright) == pytest.approx(np.median(dark), abs=0.1)
    assert np.std(bright) < 0.2
    same = plates_of(Layout.TIME, day=0.0)
    flat = [np.median([one.nonexpressing.value for one in plate.readings if one.well.serum == "REF"]) for plate in same]
    assert flat[0] == pytest.approx(flat[1], rel=0.08)


def test_patients_are_the_same_on_other_plates() -> None:
    plan = Plan(Layout.ONE, (NOTHING,))
    one, other = (study_verdicts(replace(plan, layout=layout), 3, SEED)[0] for layout in (Layout.ONE, Layout.TIME))
    assert [call.true for call in one.calls] == [call.true for call in other.calls]


# --- counting -------------------------------------------------------------------------------------------------


def outcome(values: list[list[float]], signs: list[list[int]]) -> Outcome:
    names = tuple(f"P{k}" for k in range(len(values)))
    return Outcome("reactivity", "figure4", "log2 titer", names, ("M00", "M12"), np.array(values),
                   np.array(signs, np.int64), log2=True)  # fmt: skip


def test_what_stands_for_a_bound_by_hand() -> None:
    """Falls of 1, 3 and at least 4: half of the limit makes (1 + 3 + 5) / 3, complete cases (1 + 3) / 2."""
    found = outcome([[10, 9], [10, 7], [8, 4]], [[0, 0], [0, 0], [0, -1]])
    assert half_limit(found) == pytest.approx(-3)
    assert complete_cases(found) == pytest.approx(-2)
    assert math.isnan(complete_cases(outcome([[8, 4]], [[0, -1]])))


def cohort(**parts: object) -> CohortVerdicts:
    return replace(CohortVerdicts("c", True, (), (), (), (), 0), **parts)


def test_calls_are_right_in_the_direction_of_the_truth() -> None:
    calls = (
        CallVerdict("c", Change.FELL, -2.5),
        CallVerdict("c", Change.ROSE, -2.0),
        CallVerdict("c", Change.NONE, 2.2),
        CallVerdict("c", Change.ROSE, 1.2),
        CallVerdict("c", Change.UNKNOWN, 0.1),
    )
    columns, rows = cohorttally.change_table({"c": [cohort(calls=calls)]})
    assert columns == cohorttally.CHANGES
    assert rows == [
        ["c", "less than 2", 1, 0, 0, 0, 1],
        ["c", "2 to 4", 1, 1, 0, 0, 0],
        ["c", "4 or more", 3, 1, 1, 1, 0],
    ]


def test_a_test_that_was_not_possible_is_no_test_that_was_silent() -> None:
    """Ten cohorts, two of them without p, one at the level: 1 of 8, with Wilson's limits 2.2 to 47.1 %."""
    verdicts = [Spoken("c", "t", "M12", possible, rejects) for possible, rejects in
                [(False, False)] * 2 + [(True, True)] + [(True, False)] * 7]  # fmt: skip
    _, rows = cohorttally.tests_table({"c": [cohort(tests=(one,)) for one in verdicts]})
    assert rows[0][:7] == ["c", "t", "M12", "no", 8, 2, 1]
    assert rows[0][7:] == pytest.approx([12.5, 2.24, 47.09], abs=0.01)


def test_bias_is_told_with_its_error() -> None:
    """Errors 1, 2, 3: mean 2, SD 1, SE 0.577; limits held in one of the two that have any."""
    parts = [cohort(biases=(BiasVerdict("c", "e", error, held),)) for error, held in ((1, True), (2, False), (3, None))]
    _, rows = cohorttally.bias_table({"c": parts})
    assert rows[0][:3] == ["c", "e", 3]
    assert rows[0][3:] == pytest.approx([2, 1 / math.sqrt(3), 1, 50])


def test_tests_speak_of_a_fall_and_are_silent_without_one() -> None:
    """All seven fall at each visit: every test speaks but that of rates, and signed-rank after Holm, which cannot (four
    times the least p of seven patients is 0.0625). The same table shuffled within patients: none.
    """
    rng = np.random.default_rng(3)
    steps = np.linspace(0.5, 1.0, 7)[:, None]
    falls = 10 - steps * np.arange(5) + 0.1 * rng.standard_normal((7, 5))
    names = tuple(point.name for point in SCHEDULE)
    whole = Outcome(
        "reactivity", "figure4", "log2 titer", tuple("abcdefg"), names, falls, np.zeros((7, 5), np.int64), log2=True
    )
    even = [Followed("a", "2014-01-01", 3, 1.0, 3, 1.0)]
    found = {(one.test, one.contrast): one for one in default_tests("c", whole, even, 1)}
    assert all(one.possible for one in found.values())
    assert [key for key, one in found.items() if not one.rejects] == [
        ("signed-rank, Holm", "any visit"),
        ("poisson", "after / before"),
    ]
    mixed = replace(whole, values=rng.permuted(falls, axis=1))
    assert not any(one.rejects for one in default_tests("c", mixed, (), 1))
    assert not any(one.test == "poisson" for one in default_tests("c", mixed, (), 1))


def test_the_censored_model_is_right_on_average_where_half_of_the_limit_is_not() -> None:
    """Forty cohorts by the model's own law, four of seven below detection at the end: the naive error is
    beyond 4 of its standard errors, the model's within 3.2 of its own.
    """
    law = Plan(Layout.VALUES, (Arm("falls", Course.LAW, strength=0.03),))
    found = [bias for number in range(40) for one in study_verdicts(law, number, SEED) for bias in one.biases]
    errors = {name: np.array([b.error for b in found if b.estimator == name]) for name in ("censored-model",
              "half of the limit")}  # fmt: skip
    t = {name: error.mean() / (error.std(ddof=1) / math.sqrt(40)) for name, error in errors.items()}
    assert t["half of the limit"] > 4
    assert abs(t["censored-model"]) < 3.2
    assert np.mean([b.held for b in found if b.estimator == "censored-model"]) > 0.85


def test_controls_leave_between_plates_what_their_error_is() -> None:
    """Residuals of the fit of plates are none of what the fit explains: the design, taken through them, is gone."""
    cells = [(control, plate) for control in ("REF", "POS") for plate in ("A", "B", "C")]
    fit = additive_fit(cells, ("A", "B", "C"))
    plates = np.array([[float(plate == name) for name in "ABC"] for _, plate in cells])
    assert fit.df == 2
    assert np.abs(fit.left @ plates).max() < 1e-12
    assert np.abs(fit.left @ np.ones(6)).max() < 1e-12
    assert np.trace(fit.left) == pytest.approx(2)


def test_where_no_control_connects_plates_nothing_is_called() -> None:
    """Titers tenfold apart on two plates without a control between them: no call, and no limits to be believed."""
    titers = {"S-M00": ("A", 100.0), "S-M12": ("B", 1000.0)}
    titrations = [
        Titration(plate, serum, Role.SAMPLE, "delta", 100.0, None, Titer(value, Bound.EXACT, 0.9 * value, 1.1 * value),
                  None, draws=math.log2(value) + 0.05 * np.random.default_rng(1).standard_normal(500))
        for serum, (plate, value) in titers.items()
    ]  # fmt: skip
    visits = [
        Visit("S", serum, "2014-01-01", serum[2:], serum == "S-M00", 12.0 * (serum != "S-M00")) for serum in titers
    ]
    point = trajectories(visits, by_serum(titrations, []), "titer", 1)[1]
    assert "not-bridged" in point.flags
    assert point.change is Change.UNKNOWN
    assert point.fold is not None
    assert math.isnan(point.fold.low)
    assert math.isnan(point.fold.high)


# --- small runs -----------------------------------------------------------------------------------------------

PLAN = Plan(Layout.ONE, (DECLINES, NOTHING))


@pytest.fixture(scope="module")
def small() -> list[CohortVerdicts]:
    """Three studies of two arms: 168 later visits."""
    return [one for number in (1, 2, 3) for one in study_verdicts(PLAN, number, SEED)]


def held(found: list[CohortVerdicts]) -> float:
    sides = [verdict.side for one in found for verdict in one.folds if verdict.quantity == FOLD_ONE]
    assert len(sides) > 120
    return float(np.mean([side == 0 for side in sides]))


def test_folds_hold_and_one_patient_falls_below_detection(small: list[CohortVerdicts]) -> None:
    """Seeded; the bounds are what 160 folds can tell. Every `<` is true."""
    assert held(small) > 0.88
    bounded = [verdict for one in small for verdict in one.folds if verdict.quantity.endswith("-bounded")]
    assert bounded
    assert all(verdict.side == 0 for verdict in bounded)
    assert all(one.bounded_last == 1 for one in small if not one.null)


def test_limits_half_as_wide_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    from aqp4flow import pipeline

    whole = pipeline.titrate_plate

    def halved(*words: object, **more: object):
        plate = whole(*words, **more)
        centred = [
            replace(t, draws=(t.draws + math.log2(t.titer.value)) / 2) if t.draws is not None and t.titer else t
            for t in plate.titrations
        ]
        return replace(plate, titrations=tuple(centred))

    monkeypatch.setattr("aqp4flow.accuracy.cohortlevel.titrate_plate", halved)
    assert held([one for number in (1, 2, 3) for one in study_verdicts(PLAN, number, SEED)]) < 0.8


def test_half_of_the_limit_and_complete_cases_are_off_where_one_falls_far_below(small: list[CohortVerdicts]) -> None:
    """The one that falls to 0.4 % is recorded as less of a fall, or left out: both see too small a fall."""
    found = [{bias.estimator: bias.error for bias in one.biases} for one in small if not one.null]
    assert np.mean([errors["half of the limit"] for errors in found]) > 0.1
    assert min(errors["complete cases"] for errors in found) > 0.5


def test_the_same_study_again_is_the_same(small: list[CohortVerdicts]) -> None:
    assert study_verdicts(PLAN, 2, SEED) == small[2:4]
