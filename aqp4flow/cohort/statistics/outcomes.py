"""Outcomes as tables, a row a patient and a column a time point, and what they are on average.

A titer known only to lie below or above a value stays so: it takes part in medians by its order and in no mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aqp4flow.cohort.quantiles import bounded_quantile
from aqp4flow.cohort.schedule import allot_scores
from aqp4flow.model import (
    NAN,
    Bound,
    ClinicalKind,
    Followed,
    PatientRecords,
    Summary,
    TimePoint,
    Titer,
    TrajectoryPoint,
    Values,
)

REACTIVITY, RELAPSES = "reactivity", "relapses"
BELOW, EXACT, ABOVE, UNSETTLED = -1, 0, 1, 2
FIGURES = {ClinicalKind.EDSS: "figure2", ClinicalKind.PAIN: "figure3", ClinicalKind.FATIGUE: "figure3"}
_SIGN = {Bound.BELOW: BELOW, Bound.EXACT: EXACT, Bound.ABOVE: ABOVE}
_BOUND = {BELOW: Bound.BELOW, EXACT: Bound.EXACT, ABOVE: Bound.ABOVE}

Signs = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Outcome:
    """`values` (patients, time points), NaN where missing; on log2 where `log2`. `signs` of the same shape: -1 known
    only to lie at or below the value, 1 at or above it, 0 the value itself. `plates` names where each was measured.
    """

    name: str
    figure: str
    unit: str
    patients: tuple[str, ...]
    timepoints: tuple[str, ...]
    values: Values = field(repr=False)
    signs: Signs = field(repr=False)
    plates: tuple[tuple[str, ...], ...] = ()
    log2: bool = False

    @property
    def bounded(self) -> int:
        """How many values are known only as bounds."""
        return int(np.count_nonzero(self.signs))


@dataclass(frozen=True, eq=False)
class Differences:
    """Later minus first of the patients who have both. Signs as in Outcome, and 2 where both are bounds on one side:
    such a difference may be anything, and its value is NaN.
    """

    patients: tuple[str, ...]
    values: Values
    signs: Signs


def reactivity(points: Sequence[TrajectoryPoint], schedule: Sequence[TimePoint]) -> Outcome:
    """The quantity followed, on log2, of the visits that lie on the schedule."""
    patients = tuple(dict.fromkeys(point.visit.patient for point in points))
    names = tuple(timepoint.name for timepoint in schedule)
    values = np.full((len(patients), len(names)), np.nan)
    signs = np.zeros(values.shape, np.int64)
    plates = [[""] * len(names) for _ in patients]
    for point in points:
        if point.value is None or point.timepoint not in names:
            continue
        cell = patients.index(point.visit.patient), names.index(point.timepoint)
        values[cell], signs[cell] = math.log2(point.value.value), _SIGN[point.value.bound]
        plates[cell[0]][cell[1]] = "+".join(point.plates)
    quantity = points[0].quantity if points else ""
    return Outcome(
        REACTIVITY,
        "figure4",
        f"log2 {quantity}",
        patients,
        names,
        values,
        signs,
        tuple(tuple(row) for row in plates),
        log2=True,
    )


def scores(kind: ClinicalKind, records: PatientRecords, schedule: Sequence[TimePoint]) -> Outcome:
    """EDSS, pain or fatigue at the time points at which any patient was scored, and at the baseline."""
    placed = allot_scores(records, schedule, kind).placed
    scored = {name for _, name in placed}
    names = tuple(point.name for point in schedule if point is schedule[0] or point.name in scored)
    patients = tuple(sorted({patient for patient, _ in placed}))
    values = np.full((len(patients), len(names)), np.nan)
    for (patient, name), event in placed.items():
        values[patients.index(patient), names.index(name)] = event.value
    return Outcome(kind.value, FIGURES[kind], "points", patients, names, values, np.zeros(values.shape, np.int64))


def relapses(followed: Sequence[Followed]) -> Outcome:
    """Relapses a year before and after treatment; NaN on a side that was not observed."""
    rates = [
        (_rate(one.relapses_before, one.years_before), _rate(one.relapses_after, one.years_after)) for one in followed
    ]
    values = np.array(rates).reshape(-1, 2)
    patients = tuple(one.patient for one in followed)
    unit = "relapses a year"
    return Outcome(RELAPSES, "figure1", unit, patients, ("before", "after"), values, np.zeros(values.shape, np.int64))


def _rate(events: int, years: float) -> float:
    return events / years if years > 0 else NAN


def differences(outcome: Outcome, column: int) -> Differences:
    """Column `column` minus the first, of the patients who have both."""
    now, base = outcome.values[:, column], outcome.values[:, 0]
    have = ~np.isnan(now) & ~np.isnan(base)
    signs = outcome.signs[have, column].astype(int) - outcome.signs[have, 0].astype(int)
    both = (outcome.signs[have, column] != 0) & (outcome.signs[have, 0] == outcome.signs[have, column])
    signs = np.clip(signs, BELOW, ABOVE)  # `<` after `>` is a fall of at least so much
    signs[both] = UNSETTLED
    change = np.where(both, np.nan, now[have] - base[have])
    patients = tuple(name for name, here in zip(outcome.patients, have, strict=True) if here)
    return Differences(patients, change, signs.astype(np.int64))


def complete(outcome: Outcome) -> tuple[Outcome, tuple[str, ...]]:
    """The outcome with the patients who have every time point, and the names of those who have not."""
    whole: NDArray[np.bool_] = np.all(~np.isnan(outcome.values), axis=1)
    rows = np.flatnonzero(whole)
    kept = Outcome(
        outcome.name, outcome.figure, outcome.unit,
        tuple(outcome.patients[row] for row in rows), outcome.timepoints,
        outcome.values[rows], outcome.signs[rows],
        tuple(outcome.plates[row] for row in rows) if outcome.plates else (), outcome.log2,
    )  # fmt: skip
    return kept, tuple(name for name, here in zip(outcome.patients, whole, strict=True) if not here)


def summaries(outcome: Outcome) -> list[Summary]:
    """Each time point over the patients who have it: mean, SD (n - 1), SEM, median and quartiles."""
    return [
        _summary(outcome, name, outcome.values[:, column], outcome.signs[:, column])
        for column, name in enumerate(outcome.timepoints)
        if not np.isnan(outcome.values[:, column]).all()
    ]


def _summary(outcome: Outcome, name: str, values: Values, signs: Signs) -> Summary:
    known = ~np.isnan(values)
    values, signs = values[known], signs[known]
    bounded = int(np.count_nonzero(signs))
    mean, sd = (NAN, NAN) if bounded else (float(values.mean()), _sd(values))
    median, q1, q3 = (_quantile(outcome, values, signs, q) for q in (0.5, 0.25, 0.75))
    return Summary(
        figure=outcome.figure,
        outcome=outcome.name,
        timepoint=name,
        n=len(values),
        mean=2.0**mean if outcome.log2 else mean,
        sd=sd,
        sem=sd / math.sqrt(len(values)),
        median=median.value,
        bound=median.bound,
        q1=q1.value if q1.bound is Bound.EXACT else NAN,
        q3=q3.value if q3.bound is Bound.EXACT else NAN,
        bounded=bounded,
        log2=outcome.log2,
    )


def _sd(values: Values) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else NAN


def _quantile(outcome: Outcome, values: Values, signs: Signs, q: float) -> Titer:
    """On the linear scale; between order statistics on the outcome's own scale. NaN where bounds leave it unknown."""
    if not outcome.log2:
        return Titer(float(np.quantile(values, q)))
    titers = [Titer(2.0**value, _BOUND[int(sign)]) for value, sign in zip(values, signs, strict=True)]
    return bounded_quantile(titers, q) or Titer(NAN)
