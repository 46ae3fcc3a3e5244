"""One patient's course around the start of treatment: relapses, and the years in which they were looked for."""

from __future__ import annotations

import datetime
from collections.abc import Mapping

from aqp4flow.model import NAN, ClinicalEvent, ClinicalKind, Followed, PatientRecords

DAYS_A_YEAR = 365.25


def treatment_starts(records: PatientRecords) -> Mapping[str, str]:
    """Patient -> the ISO date of the first dose, without doses that of the baseline visit; others are not in it."""
    starts = {visit.patient: visit.collected for visit in records.visits if visit.baseline}
    doses: dict[str, str] = {}
    for event in records.clinical:
        if event.kind is ClinicalKind.DOSE:
            doses[event.patient] = min(event.date, doses.get(event.patient, event.date))
    return starts | doses


def followed(records: PatientRecords) -> list[Followed]:
    """Relapses and years before and after the start of treatment, of each patient in the clinical table.

    Before is from observation-start to the start of treatment, after from there to observation-end; years are days /
    365.25. A relapse on the day treatment began counts before: treatment cannot have prevented it. A side without its
    end of observation, or without a day in it, has NaN years: its relapses are counted but give no rate. Patients
    without a start of treatment are left out (`linking` names them).
    """
    starts = treatment_starts(records)
    patients = sorted({event.patient for event in records.clinical})
    return [_followed(patient, starts[patient], records.clinical) for patient in patients if patient in starts]


def _followed(patient: str, start: str, clinical: tuple[ClinicalEvent, ...]) -> Followed:
    own = [event for event in clinical if event.patient == patient]
    first = next((event.date for event in own if event.kind is ClinicalKind.OBSERVATION_START), "")
    last = next((event.date for event in own if event.kind is ClinicalKind.OBSERVATION_END), "")
    relapses = [event.date for event in own if event.kind is ClinicalKind.RELAPSE]
    seen = [day for day in relapses if day >= first and (not last or day <= last)]  # ISO dates sort as days do
    return Followed(
        patient=patient,
        start=start,
        relapses_before=sum(day <= start for day in seen),
        years_before=_years(first, min(start, last or start)),
        relapses_after=sum(day > start for day in seen),
        years_after=_years(max(start, first), last),
    )


def _years(first: str, last: str) -> float:
    """Years from one day to another; NaN where one is not known or none lie between."""
    if not first or not last:
        return NAN
    days = (datetime.date.fromisoformat(last) - datetime.date.fromisoformat(first)).days
    return days / DAYS_A_YEAR if days > 0 else NAN
