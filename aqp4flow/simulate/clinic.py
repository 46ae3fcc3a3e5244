"""The clinical course planted for the seven patients: doses, relapses, EDSS, pain, fatigue, and the days watched.

Only summary figures are published of the study that the demo stands for (docs/published.md). The values here are ours:
their means and standard deviations are the published ones to the printed digit, and they go with the antibody planted
in `cohort`. The patient who does not respond has two of the three relapses under treatment, the one whose antibody
comes back has the third.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from aqp4flow.model import NAN, ClinicalEvent, ClinicalKind
from aqp4flow.simulate.cohort import MONTHS, PATIENTS, Patient, visits_of
from aqp4flow.simulate.streams import Subject, stream

SCORED = (0, 6, 12)  # months at which EDSS, pain and fatigue are taken
DOSES = 13
DAYS_BETWEEN_DOSES = 28
DOSE = 8.0  # mg/kg
_DAYS_PER_MONTH = 30.4375
_APART = 30  # days from one relapse to the next, and to scores or the first dose: nearer, it is not over

Scores = tuple[float, float, float]


@dataclass(frozen=True)
class Course:
    """What is planted of one patient: relapses in the year before and the year from the first dose, scores at SCORED.

    `relapsing_from`: the month of treatment from which relapses fall.
    """

    relapses_before: int
    relapses_after: int
    edss: Scores
    pain: Scores
    fatigue: Scores
    relapsing_from: int = 1


COURSES = {
    1: Course(4, 0, (6.5, 5.5, 5.0), (4, 2, 1), (8, 6, 4)),
    2: Course(3, 0, (4.5, 4.0, 3.5), (3, 1, 0), (6, 4, 3)),
    3: Course(4, 2, (6.5, 6.5, 6.5), (5, 4, 3), (9, 7, 5)),  # does not respond: relapses on, EDSS stays
    4: Course(3, 0, (6.5, 5.0, 4.5), (3, 1, 0), (7, 4, 2)),  # antibody falls below detection: gains most
    5: Course(1, 0, (6.0, 5.5, 5.0), (1, 0, 0), (4, 2, 1)),
    6: Course(3, 1, (2.5, 2.0, 2.0), (4, 2, 2), (5, 4, 4), relapsing_from=7),  # relapses as the antibody comes back
    7: Course(2, 0, (3.5, 3.5, 2.5), (1, 1, 0), (4, 3, 2)),  # antibody rises before it falls: gains late
}


def events_of(patient: Patient, seed: int) -> tuple[ClinicalEvent, ...]:
    """All that the clinical table says of the patient, in order of time; months count from the first dose.

    The patient is watched for the year from the first dose, by the calendar, and for as many days before it.
    """
    course, year = COURSES[patient.number], patient.watched
    events = [_event(patient, -year, ClinicalKind.OBSERVATION_START)]
    scores = (
        (ClinicalKind.EDSS, course.edss),
        (ClinicalKind.PAIN, course.pain),
        (ClinicalKind.FATIGUE, course.fatigue),
    )
    for place, day in enumerate(_scored_days(patient, seed)):
        events += [_event(patient, day, kind, values[place]) for kind, values in scores]
    events += [_event(patient, DAYS_BETWEEN_DOSES * k, ClinicalKind.DOSE, DOSE) for k in range(DOSES)]
    events += [_event(patient, day, ClinicalKind.RELAPSE) for day in _relapse_days(patient, seed)]
    events.append(_event(patient, year, ClinicalKind.OBSERVATION_END))
    return tuple(sorted(events, key=lambda event: event.date))  # stable: scores of the first day before its dose


def clinical_rows(seed: int) -> list[tuple[str, str, str, str]]:
    """Rows of clinical.csv: patient, date, kind, value as they are written (`8 mg/kg`, 4.5, or nothing)."""
    events = [event for patient in PATIENTS for event in events_of(patient, seed)]
    return [(event.patient, event.date, event.kind.value, _written(event)) for event in events]


def truth_headings() -> tuple[str, ...]:
    """Headings of truth/clinical.csv."""
    scores = (f"{kind}_M{month:02d}" for kind in ("edss", "pain", "fatigue") for month in SCORED)
    return ("patient", "relapses_before", "relapses_after", "days_before", "days_after", *scores)


def truth_rows() -> list[tuple[str | float, ...]]:
    """Rows of truth/clinical.csv: a patient each, as planted."""
    return [
        (
            *(patient.name, course.relapses_before, course.relapses_after, patient.watched, patient.watched),
            *(*course.edss, *course.pain, *course.fatigue),
        )
        for patient, course in ((patient, COURSES[patient.number]) for patient in PATIENTS)
    ]


def _event(patient: Patient, day: int, kind: ClinicalKind, value: float = NAN) -> ClinicalEvent:
    when = (patient.start + timedelta(days=day)).isoformat()
    return ClinicalEvent(patient.name, when, kind, float(value), day / _DAYS_PER_MONTH)


def _written(event: ClinicalEvent) -> str:
    if np.isnan(event.value):
        return ""
    return f"{event.value:g} mg/kg" if event.kind is ClinicalKind.DOSE else f"{event.value:g}"


def _scored_days(patient: Patient, seed: int) -> list[int]:
    """Days of the visits at SCORED."""
    visits = visits_of(patient, seed)
    dates = [date.fromisoformat(visits[MONTHS.index(month)].collected) for month in SCORED]
    return [(when - patient.start).days for when in dates]


def _relapse_days(patient: Patient, seed: int) -> list[int]:
    """Days of relapses before and after the first dose, drawn again while one is not over when scores are taken."""
    course, year = COURSES[patient.number], patient.watched
    rng, scored = stream(seed, Subject.RELAPSES, patient.number), _scored_days(patient, seed)
    first = round(course.relapsing_from * _DAYS_PER_MONTH)
    while True:
        days = _spaced(rng, course.relapses_before, _APART - year, -_APART)
        days += _spaced(rng, course.relapses_after, first, year - _APART)
        if not any(0 <= score - day < _APART for score in scored for day in days):
            return days


def _spaced(rng: np.random.Generator, count: int, first: int, last: int) -> list[int]:
    """So many days from `first` to `last`, in order, no two nearer than _APART."""
    if not count:
        return []
    free = np.sort(rng.integers(first, last - _APART * (count - 1) + 1, count))
    return [int(day) + _APART * k for k, day in enumerate(free)]
