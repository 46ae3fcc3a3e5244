"""Patients over time: what is tested and summarised of their trajectories and clinical courses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from aqp4flow.cohort.courses import followed
from aqp4flow.cohort.schedule import SCORES, allot_visits, schedule
from aqp4flow.cohort.statistics.outcomes import Outcome, reactivity, relapses, scores, summaries
from aqp4flow.cohort.statistics.plan import Plan, statistics
from aqp4flow.model import (
    Check,
    Followed,
    PatientRecords,
    Statistic,
    Summary,
    TimePoint,
    TrajectoryPoint,
    Verdict,
)


@dataclass(frozen=True)
class Analysis:
    """Trajectories at the schedule's time points, tests and estimates, summaries, and what there is to say of them."""

    points: tuple[TrajectoryPoint, ...] = ()
    schedule: tuple[TimePoint, ...] = ()
    followed: tuple[Followed, ...] = ()
    statistics: tuple[Statistic, ...] = ()
    summaries: tuple[Summary, ...] = ()
    checks: tuple[Check, ...] = ()


def analyse(
    points: Sequence[TrajectoryPoint], records: PatientRecords, months: Sequence[float], plan: Plan
) -> Analysis:
    """Every outcome that has patients: tests as the plan settles them, and summaries. `months` as in [trajectory]."""
    timepoints = schedule(records, months)
    courses = followed(records)
    placed = _placed(points, timepoints)
    every = [relapses(courses), *(scores(kind, records, timepoints) for kind in SCORES)]
    outcomes = [outcome for outcome in (reactivity(placed, timepoints), *every) if _has_values(outcome)]
    rows = statistics(outcomes, courses, plan)
    return Analysis(
        points=placed,
        schedule=timepoints,
        followed=tuple(courses),
        statistics=tuple(rows),
        summaries=tuple(row for outcome in outcomes for row in summaries(outcome)),
        checks=tuple(_primary(rows, timepoints, plan)),
    )


def _placed(points: Sequence[TrajectoryPoint], timepoints: Sequence[TimePoint]) -> tuple[TrajectoryPoint, ...]:
    """The points with the time point that each stands for, empty where another visit of the patient does."""
    measured = {point.visit.serum for point in points if point.plates}
    placed = allot_visits([point.visit for point in points], timepoints, measured).placed
    names = {visit.serum: name for (_, name), visit in placed.items()}
    return tuple(replace(point, timepoint=names.get(point.visit.serum, "")) for point in points)


def _has_values(outcome: Outcome) -> bool:
    return bool((outcome.values == outcome.values).any())  # NaN is not itself


def _primary(rows: Sequence[Statistic], schedule: Sequence[TimePoint], plan: Plan) -> list[Check]:
    """Whether the contrast that was declared beforehand could be tested."""
    if not plan.primary_outcome:
        return []
    wanted = f"{plan.primary_outcome} {plan.primary_timepoint}".strip()
    tested = [row for row in rows if row.primary]
    if tested:
        message = (
            f"The primary contrast, {wanted} against baseline, is tested by {tested[0].test}: p = {tested[0].p:.3g}."
        )
        return [Check("run", "statistics", "primary-contrast", wanted, "", Verdict.PASS, message)]
    names = ", ".join(point.name for point in schedule) or "none"
    message = (
        f"The primary contrast, {wanted} against baseline, could not be tested. Time points are {names}; the notes of "
        "statistics.csv say why a test was not possible."
    )
    return [Check("run", "statistics", "primary-contrast", wanted, "", Verdict.WARN, message)]
