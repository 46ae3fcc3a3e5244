"""Studies of seven patients through plates, trajectories and tests, held against what was planted."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aqp4flow.accuracy.cohorttests import Spoken, default_tests
from aqp4flow.accuracy.readinglevel import definition, measured
from aqp4flow.accuracy.verdicts import Verdict, bounded_verdict
from aqp4flow.assay.definition import Assay
from aqp4flow.assay.quality.precision import observations, precision
from aqp4flow.cohort.statistics.outcomes import EXACT, REACTIVITY, Outcome, reactivity
from aqp4flow.cohort.trajectory import by_serum, trajectories
from aqp4flow.cytometry.measure import median_ranks
from aqp4flow.model import Bound, Change, TrajectoryPoint, Values
from aqp4flow.pipeline import PlateTiters, titrate_plate
from aqp4flow.simulate.cohortplates import (
    SCHEDULE,
    Cohort,
    Course,
    Layout,
    Plan,
    cohort_plates,
    drawn_titers,
    planted_cohort,
)
from aqp4flow.simulate.scenario import PLAIN

LAST = len(SCHEDULE) - 1
FOLD_ONE, FOLD_TWO, FOLD_APART, BOUNDED = "fold-one-plate", "fold-two-plates", "fold-not-bridged", "-bounded"


@dataclass(frozen=True)
class CallVerdict:
    """One later visit: what its fold was called, and the true log2 change."""

    cell: str
    called: Change
    true: float


@dataclass(frozen=True)
class BiasVerdict:
    """The group's mean change at the last visit by one estimator: log2 error; whether its limits, if any, held."""

    cell: str
    estimator: str
    error: float
    held: bool | None = None


@dataclass(frozen=True)
class CohortVerdicts:
    """All that one cohort tells. `null`: no patient changes."""

    cell: str
    null: bool
    folds: tuple[Verdict, ...]
    calls: tuple[CallVerdict, ...]
    tests: tuple[Spoken, ...]
    biases: tuple[BiasVerdict, ...]
    bounded_last: int


def study_verdicts(plan: Plan, number: int, seed: int) -> list[CohortVerdicts]:
    """Study `number` of a plan, measured like any other; one item an arm."""
    assay = definition(PLAIN)
    cohorts = tuple(planted_cohort(arm, number, seed) for arm in plan.arms)
    if plan.layout is Layout.VALUES:
        return [_tested(plan, cohort, _drawn(cohort, number, seed), seed) for cohort in cohorts]
    plates = cohort_plates(plan, cohorts, (number, seed), PLAIN, median_ranks)
    wells = [measured(plate.name, plate.readings, assay) for plate in plates]
    titers = [titrate_plate(plate, curves=False) for plate in wells]
    points = [replace(one, timepoint=one.visit.visit) for one in _points(assay, titers, cohorts)]
    return [_judge(plan, cohort, points, seed) for cohort in cohorts]


def _points(assay: Assay, titers: Sequence[PlateTiters], cohorts: Sequence[Cohort]) -> list[TrajectoryPoint]:
    """All arms followed together, with the precision of the study's own plates: as `pipeline.finish` does."""
    titrations = [titration for plate in titers for titration in plate.titrations]
    known = precision(observations([r for plate in titers for r in plate.wells.readings], titrations), assay.precision)
    visits = [visit for cohort in cohorts for visit in cohort.visits]
    found = by_serum(titrations, [row for plate in titers for row in plate.rows])
    how = assay.trajectory
    return trajectories(visits, found, how.quantity, assay.seed.value, known, how.bridging)


def _judge(plan: Plan, cohort: Cohort, points: Sequence[TrajectoryPoint], seed: int) -> CohortVerdicts:
    truth = cohort.folds
    points = [point for point in points if point.visit.serum in truth]
    later = [point for point in points if not point.visit.baseline]
    told = _tested(plan, cohort, reactivity(points, SCHEDULE), seed)
    calls = tuple(CallVerdict(told.cell, point.change, math.log2(truth[point.visit.serum])) for point in later)
    return replace(told, folds=tuple(_folds(told.cell, points, truth)), calls=calls)


def _tested(plan: Plan, cohort: Cohort, outcome: Outcome, seed: int) -> CohortVerdicts:
    """What tests and estimators say of a cohort."""
    cell = f"{cohort.arm.name}, {plan.layout}"
    found = default_tests(cell, outcome, cohort.followed, seed)
    biases = tuple(_biases(cell, cohort, outcome, found))
    bounded = int(np.count_nonzero(outcome.signs[:, LAST]))
    return CohortVerdicts(cell, cohort.arm.course is Course.NULL, (), (), found, biases, bounded)


def _drawn(cohort: Cohort, number: int, seed: int) -> Outcome:
    values, signs = drawn_titers(cohort, number, seed)
    patients = tuple(dict.fromkeys(visit.patient for visit in cohort.visits))
    names = tuple(point.name for point in SCHEDULE)
    return Outcome(REACTIVITY, "figure4", "log2 titer", patients, names, values, signs, log2=True)


def _folds(cell: str, points: Sequence[TrajectoryPoint], truth: Mapping[str, float]) -> Iterator[Verdict]:
    """Apart from each other: folds between visits on one plate and on two, and those known only as bounds."""
    baselines = {point.visit.patient: point.plates for point in points if point.visit.baseline}
    for point in points:
        if point.fold is None or point.visit.baseline:
            continue
        if "not-bridged" in point.flags:
            yield bounded_verdict(cell, FOLD_APART, point.fold, truth[point.visit.serum])
            continue
        same = point.plates == baselines[point.visit.patient]
        quantity = (FOLD_ONE if same else FOLD_TWO) + ("" if point.fold.bound is Bound.EXACT else BOUNDED)
        yield bounded_verdict(cell, quantity, point.fold, truth[point.visit.serum])


# --- the group's mean change ------------------------------------------------------------------------------


def _biases(cell: str, cohort: Cohort, outcome: Outcome, found: Sequence[Spoken]) -> list[BiasVerdict]:
    """Estimates of the mean change at the last visit less the planted mean of the same seven patients.

    Limits are held against the mean of all patients like these.
    """
    true = float(cohort.changes[:, LAST].mean())
    biases = [
        BiasVerdict(cell, "half of the limit", half_limit(outcome) - true),
        BiasVerdict(cell, "complete cases", complete_cases(outcome) - true),
    ]
    for one in found:
        if one.effect is not None and one.effect.known:
            held = not (
                cohort.expected < one.effect.low or cohort.expected > one.effect.high
            )  # an open side has no end
            biases.append(BiasVerdict(cell, one.test, one.effect.value - true, held))
    return biases


def half_limit(outcome: Outcome) -> float:
    """What many do: half of the limit stands for a `<`, and the mean of the differences is taken (log2)."""
    values = outcome.values - np.where(outcome.signs < EXACT, 1.0, 0.0)
    return float(np.nanmean(values[:, -1] - values[:, 0]))


def complete_cases(outcome: Outcome) -> float:
    """What others do: patients with a bound at either visit are left out; NaN where none is left."""
    whole: Values = np.where(outcome.signs == EXACT, outcome.values, np.nan)
    changes = whole[:, -1] - whole[:, 0]
    return float(np.nanmean(changes)) if not np.isnan(changes).all() else math.nan
