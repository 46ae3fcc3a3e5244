"""What is odd about patients' courses in time: visits out of order, missing or at no time point, open observation."""

from __future__ import annotations

import datetime
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence

from aqp4flow.cohort.courses import treatment_starts
from aqp4flow.cohort.names import ALIKE, alike
from aqp4flow.cohort.schedule import (
    SCORES,
    Allotment,
    Unplaced,
    allot_scores,
    allot_visits,
    baseline_label,
    by_label,
    nearest_point,
    schedule,
)
from aqp4flow.errors import listed
from aqp4flow.model import Check, ClinicalEvent, ClinicalKind, PatientRecords, TimePoint, Verdict, Visit

_FEWEST_DAYS = 2  # between two visits of one patient
_EXPECTED = 0.5  # the share of patients at a time point from which others are missed there


def course_checks(
    records: PatientRecords, months: Sequence[float] = (), measured: Collection[str] | None = None
) -> list[Check]:
    """Everything odd about visits and events in time, patient by patient within each check.

    `measured` are the sera that lie on a plate, as for `allot_visits`.
    """
    points = schedule(records, months)
    visits = allot_visits(records.visits, points, measured)
    checks = _labels(records.visits) + _baselines(records) + _close(records.visits)
    checks += (
        _off_schedule(records.visits, points) + _unplaced_visits(visits) + _missing(records.visits, visits, points)
    )
    checks += _unplaced_scores(records, points) + _after_observation(records)
    return checks + _unobserved(records)


# --- visits -----------------------------------------------------------------------------------------


def _labels(visits: Sequence[Visit]) -> list[Check]:
    """Labels that are missing for some, are nearly the same, or differ at the baseline."""
    table = "visits"
    without = [visit for visit in visits if not visit.visit]
    checks = []
    if without and len(without) < len(visits):
        message = (
            f"{_rows(without)} have no label under visit, so no label is used: time points follow from the dates. "
        )
        message += "Fill in the labels, or take the column out."
        checks.append(Check("run", table, "visit-labels", len(without), "0", Verdict.WARN, message))
    if by_label(visits):
        rows = {label: [visit for visit in visits if visit.visit == label] for label in {v.visit for v in visits}}
        for group in alike(sorted(rows)):
            shown = " and ".join(f"{label!r} ({_rows(rows[label])})" for label in group)
            message = f"The labels {shown} differ only {ALIKE}. They are two time points: if not, write one label."
            checks.append(Check("run", table, "visit-labels", group[0], "", Verdict.WARN, message))
        first = baseline_label(visits)
        for visit in visits:
            if visit.baseline and visit.visit != first:
                message = f"The baseline of patient {visit.patient} (visits row {visit.row}) is labelled "
                message += f"{visit.visit!r}, most others {first!r}: it is taken as {first!r}."
                checks.append(_of_patient(visit.patient, "visit-labels", visit.visit, message))
    return checks


def _baselines(records: PatientRecords) -> list[Check]:
    """Baselines that are no baselines: after the first dose, or with visits before them."""
    doses: dict[str, ClinicalEvent] = {}
    for event in sorted(records.clinical, key=lambda event: event.date):
        if event.kind is ClinicalKind.DOSE:
            doses.setdefault(event.patient, event)
    checks = []
    for base in (visit for visit in records.visits if visit.baseline):
        dose = doses.get(base.patient)
        if dose is not None and base.collected > dose.date:
            message = (
                f"The baseline of {base.collected} (visits row {base.row}) lies after the first dose of {dose.date} "
            )
            message += f"(clinical row {dose.row}): folds are against a treated serum."
            checks.append(_of_patient(base.patient, "baseline-after-dose", base.serum, message))
        earlier = [v for v in records.visits if v.patient == base.patient and v.collected < base.collected]
        if earlier:
            message = f"The baseline (visits row {base.row}) is not the earliest visit: {_rows(earlier)} lie before it."
            checks.append(_of_patient(base.patient, "baseline-not-first", base.serum, message))
    return checks


def _close(visits: Sequence[Visit]) -> list[Check]:
    checks = []
    for own in _by_patient(visits).values():
        ordered = sorted(own, key=lambda visit: (visit.collected, visit.row))
        for one, other in itertools.pairwise(ordered):
            days = (_day(other.collected) - _day(one.collected)).days
            if days < _FEWEST_DAYS:
                apart = "on one day" if days == 0 else "a day apart"
                message = (
                    f"{one.serum!r} (visits row {one.row}) and {other.serum!r} (row {other.row}) were drawn {apart}: "
                )
                message += "two visits, or one serum under two names, or a slip in a date?"
                checks.append(_of_patient(one.patient, "visits-close", days, message))
    return checks


def _off_schedule(visits: Sequence[Visit], points: Sequence[TimePoint]) -> list[Check]:
    """Labelled visits whose date fits another label better, or none."""
    if not by_label(visits):
        return []
    named = {point.name: point for point in points}
    checks = []
    for visit in visits:
        point = named.get(visit.visit)
        if visit.baseline or point is None or nearest_point(visit.month, points) is point:
            continue
        message = f"{visit.serum!r} (visits row {visit.row}) is labelled {visit.visit} and was drawn at month "
        message += f"{visit.month:.1f}; {visit.visit} is at month {point.month:.1f}. It counts as {visit.visit}: "
        message += "correct the date or the label if one is wrong."
        checks.append(_of_patient(visit.patient, "visit-off-schedule", visit.serum, message))
    return checks


def _unplaced_visits(visits: Allotment[Visit]) -> list[Check]:
    checks = []
    for left in visits.unplaced:
        visit = left.item
        message = f"{visit.serum!r} of {visit.collected} (visits row {visit.row}) stands at no time point: {left.why}. "
        message += "It is drawn, and takes no part in medians and tests."
        checks.append(_of_patient(visit.patient, "visit-without-timepoint", visit.serum, message))
    return checks


def _missing(visits: Sequence[Visit], allotted: Allotment[Visit], points: Sequence[TimePoint]) -> list[Check]:
    """Time points that half of the patients have and one has not: gaps, and what comes after the last visit."""
    patients = _by_patient(visits)
    held = {
        point.name: [patient for patient in patients if (patient, point.name) in allotted.placed] for point in points
    }
    expected = [point for point in points if len(held[point.name]) >= _EXPECTED * len(patients)]
    checks = []
    for patient in patients:
        absent = [point for point in expected if patient not in held[point.name]]
        if not absent:
            continue
        last = max((point.month for point in points if patient in held[point.name]), default=0.0)
        gaps = [point.name for point in absent if point.month < last]
        after = [point.name for point in absent if point.month > last]
        parts = [f"{', '.join(gaps)} (missed)"] if gaps else []
        parts += [f"{', '.join(after)} (after its last)"] if after else []
        message = f"Patient {patient} has no visit at {' and '.join(parts)}, where others have. Tests that need every "
        message += "time point leave the patient out."
        checks.append(_of_patient(patient, "visits-missing", ";".join(point.name for point in absent), message))
    return checks


# --- scores and observation ------------------------------------------------------------------------


def _unplaced_scores(records: PatientRecords, points: Sequence[TimePoint]) -> list[Check]:
    """Scores that stand nowhere; information only where others stand in their places."""
    checks = []
    for kind in SCORES:
        found: dict[str, list[Unplaced[ClinicalEvent]]] = {}
        for left in allot_scores(records, points, kind).unplaced:
            found.setdefault(left.item.patient, []).append(left)
        name = "EDSS" if kind is ClinicalKind.EDSS else kind.value
        for patient, unplaced in sorted(found.items()):
            reasons = [f"{left.item.date} (clinical row {left.item.row}): {left.why}" for left in unplaced]
            message = f"{name} at no time point, that takes no part in means and tests: {'; '.join(reasons)}."
            verdict = Verdict.PASS if all(left.second for left in unplaced) else Verdict.WARN
            value = f"{kind}: {len(reasons)}"
            checks.append(_of_patient(patient, "score-without-timepoint", value, message, verdict))
    return checks


def _after_observation(records: PatientRecords) -> list[Check]:
    """Relapses, doses and visits after the patient's observation ended."""
    ends = {event.patient: event for event in records.clinical if event.kind is ClinicalKind.OBSERVATION_END}
    late: dict[str, list[str]] = {}
    for event in records.clinical:
        end = ends.get(event.patient)
        if end is not None and event.date > end.date and event.kind in (ClinicalKind.RELAPSE, ClinicalKind.DOSE):
            late.setdefault(event.patient, []).append(f"{event.kind} of {event.date} (clinical row {event.row})")
    for visit in records.visits:
        end = ends.get(visit.patient)
        if end is not None and visit.collected > end.date:
            late.setdefault(visit.patient, []).append(f"visit of {visit.collected} (visits row {visit.row})")
    checks = []
    for patient, found in sorted(late.items()):
        message = (
            f"After observation-end {ends[patient].date} (clinical row {ends[patient].row}) lie: {listed(found)}. "
        )
        message += "Such relapses are not counted: move observation-end if the patient was still followed."
        checks.append(_of_patient(patient, "after-observation", len(found), message))
    return checks


def _unobserved(records: PatientRecords) -> list[Check]:
    """Patients whose relapse rate has no years, or no start of treatment, to count by."""
    starts = treatment_starts(records)
    kinds: dict[str, set[ClinicalKind]] = {}
    for event in records.clinical:
        kinds.setdefault(event.patient, set()).add(event.kind)
    checks = []
    for patient, own in sorted(kinds.items()):
        wanted = (ClinicalKind.OBSERVATION_START, ClinicalKind.OBSERVATION_END)
        lacking = [kind.value for kind in wanted if kind not in own]
        if ClinicalKind.RELAPSE in own and lacking:
            message = f"Patient {patient} has relapses and no {' or '.join(lacking)}: "
            message += "without it there is no relapse rate on that side of treatment."
            checks.append(_of_patient(patient, "observation-open", ";".join(lacking), message))
        if patient not in starts:
            message = (
                f"Patient {patient} has neither a dose nor a baseline visit: nothing is before or after treatment."
            )
            checks.append(_of_patient(patient, "no-treatment-start", "", message))
    return checks


# --- words -------------------------------------------------------------------------------------------


def _of_patient(patient: str, code: str, value: float | str, message: str, verdict: Verdict = Verdict.WARN) -> Check:
    return Check("patient", patient, code, value, "", verdict, message)


def _rows(visits: Sequence[Visit]) -> str:
    numbers = sorted(visit.row for visit in visits)
    return f"visits row{'s' if len(numbers) > 1 else ''} {listed([str(number) for number in numbers])}"


def _by_patient(visits: Iterable[Visit]) -> Mapping[str, list[Visit]]:
    found: dict[str, list[Visit]] = {}
    for visit in visits:
        found.setdefault(visit.patient, []).append(visit)
    return found


def _day(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text)
