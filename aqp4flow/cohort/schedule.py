"""The points in time that patients share, and which visit or score stands for a patient at each."""

from __future__ import annotations

import datetime
import statistics
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from aqp4flow.cohort.courses import treatment_starts
from aqp4flow.cohort.visits import DAYS_A_MONTH
from aqp4flow.model import ClinicalEvent, ClinicalKind, PatientRecords, TimePoint, Visit

SCORES = (ClinicalKind.EDSS, ClinicalKind.PAIN, ClinicalKind.FATIGUE)
#: A visit or score further than this from a time point does not stand for it.
MOST_DAYS = 45.0
#: How long before treatment a score may have been taken that counts as the baseline's.
BASELINE_DAYS = 90.0

Dated = TypeVar("Dated", Visit, ClinicalEvent)


@dataclass(frozen=True)
class Unplaced(Generic[Dated]):
    """What stands at no time point, and why: words that follow its date. `second`: another stands in its place."""

    item: Dated
    why: str
    second: bool = False


@dataclass(frozen=True)
class Allotment(Generic[Dated]):
    """What stands for a patient at a time point, by (patient, name of the time point); and what stands nowhere."""

    placed: Mapping[tuple[str, str], Dated]
    unplaced: tuple[Unplaced[Dated], ...] = ()


def by_label(visits: Sequence[Visit]) -> bool:
    """Whether labels make the schedule: every visit has one."""
    return bool(visits) and all(visit.visit for visit in visits)


def schedule(records: PatientRecords, months: Sequence[float] = ()) -> tuple[TimePoint, ...]:
    """The study's time points, the baseline first, then by month.

    Where every visit carries a label the labels are the time points, each at the median month of its visits; baseline
    visits count under the label that most of them carry. Else they are `months` and the baseline, or, without
    `months`, the nearest whole month up to 3 and the nearest multiple of 3 beyond, as far as visits lie there. Without
    visits, the months of the clinical scores take their place.
    """
    if by_label(records.visits):
        return _labelled(records.visits)
    if months:
        grid = {0.0, *months}
    else:
        found = [visit.month for visit in records.visits if not visit.baseline]
        if not records.visits:
            found = [event.month for event in records.clinical if event.kind in SCORES]
        if not (records.visits or found):
            return ()
        grid = {0.0, *(_rounded(month) for month in found if month > 0)}
    return tuple(TimePoint(f"M{month:02g}", month) for month in sorted(grid))


def _rounded(month: float) -> float:
    """The nearest of 0, 1, 2, 3, 6, 9, 12, ... (the earlier one half-way)."""
    step = 3 * round(month / 3)
    return min((0.0, 1.0, 2.0, 3.0, float(step)), key=lambda point: (abs(point - month), point))


def _labelled(visits: Sequence[Visit]) -> tuple[TimePoint, ...]:
    first = baseline_label(visits)
    months: dict[str, list[float]] = {}
    for visit in visits:
        if not visit.baseline and visit.visit != first:
            months.setdefault(visit.visit, []).append(visit.month)
    later = [TimePoint(label, statistics.median(found)) for label, found in months.items()]
    return (TimePoint(first, 0.0), *sorted(later, key=lambda point: (point.month, point.name)))


def baseline_label(visits: Sequence[Visit]) -> str:
    """The label that most baseline visits carry, of equals the first by name; empty without baselines."""
    counts = Counter(visit.visit for visit in visits if visit.baseline)
    return min(counts, key=lambda label: (-counts[label], label)) if counts else ""


# --- who stands where -------------------------------------------------------------------------------


def allot_visits(
    visits: Sequence[Visit], points: Sequence[TimePoint], measured: Collection[str] | None = None
) -> Allotment[Visit]:
    """Visits at time points: the baseline at the first; others by label where all have one, else the nearest in reach.

    Of two visits of one patient at a time point the nearer counts, of equals the earlier; but a serum that was
    `measured` goes before one that was not (None: all were).
    """
    if not points:
        return Allotment({})
    labels = {point.name: point for point in points} if by_label(visits) else {}
    wanted: list[tuple[Visit, TimePoint]] = []
    nowhere: list[Unplaced[Visit]] = []
    for visit in visits:
        point = points[0] if visit.baseline else labels.get(visit.visit) or nearest_point(visit.month, points)
        if point is None:
            nowhere.append(Unplaced(visit, _no_point(visit.month, points)))
        else:
            wanted.append((visit, point))
    placed, second = _first_of_each(sorted(wanted, key=lambda pair: _precedence(pair[0], pair[1], measured)))
    return Allotment(placed, (*nowhere, *second))


def _precedence(visit: Visit, point: TimePoint, measured: Collection[str] | None) -> tuple[bool, bool, float, str]:
    without = measured is not None and visit.serum not in measured
    return not visit.baseline, without, abs(visit.month - point.month), visit.collected


def allot_scores(records: PatientRecords, points: Sequence[TimePoint], kind: ClinicalKind) -> Allotment[ClinicalEvent]:
    """Scores of one kind at time points, as unlabelled visits are.

    The baseline takes the last score on or before the start of treatment, at most 90 days before; no later one.
    """
    starts = treatment_starts(records)
    wanted: list[tuple[ClinicalEvent, TimePoint]] = []
    nowhere: list[Unplaced[ClinicalEvent]] = []
    before: dict[str, ClinicalEvent] = {}
    for event in sorted(records.clinical, key=lambda event: event.date):
        if event.kind is not kind or not points:
            continue
        if event.date <= starts.get(event.patient, ""):
            if event.patient in before:
                why = "a later score before treatment counts"
                nowhere.append(Unplaced(before[event.patient], why, second=True))
            before[event.patient] = event
            continue
        point = nearest_point(event.month, points)
        if point is None:
            nowhere.append(Unplaced(event, _no_point(event.month, points)))
        elif point is points[0]:
            nowhere.append(Unplaced(event, f"nearest to {point.name}, but after treatment began"))
        else:
            wanted.append((event, point))
    placed, second = _first_of_each(sorted(wanted, key=lambda pair: abs(pair[0].month - pair[1].month)))
    for patient, event in before.items():
        early = (_day(starts[patient]) - _day(event.date)).days
        if early > BASELINE_DAYS:
            nowhere.append(Unplaced(event, f"{early} days before treatment began, more than {BASELINE_DAYS:g}"))
        else:
            placed[patient, points[0].name] = event
    return Allotment(placed, (*nowhere, *second))


def nearest_point(month: float, points: Sequence[TimePoint]) -> TimePoint | None:
    """The nearest time point, no further than half its gap to the next on that side, and at most 45 days."""
    inside = [point for point in points if abs(month - point.month) <= reach(point, month, points)]
    return min(inside, key=lambda point: (abs(month - point.month), point.month), default=None)


def reach(point: TimePoint, month: float, points: Sequence[TimePoint]) -> float:
    """How many months from `point` a month may lie on its side; beyond the last, as on the other side."""
    gaps = [other.month - point.month for other in points if other.month != point.month]
    beside = [abs(gap) for gap in gaps if (gap > 0) == (month > point.month)] or [abs(gap) for gap in gaps]
    return min([gap / 2 for gap in beside] + [MOST_DAYS / DAYS_A_MONTH])


def _no_point(month: float, points: Sequence[TimePoint]) -> str:
    """Why nothing is in reach: the nearest point, and how far it is."""
    nearest = min(points, key=lambda point: (abs(month - point.month), point.month))
    return f"{abs(month - nearest.month) * DAYS_A_MONTH:.0f} days from {nearest.name}, the nearest time point"


def _day(text: str) -> datetime.date:
    return datetime.date.fromisoformat(text)


def _first_of_each(
    wanted: Sequence[tuple[Dated, TimePoint]],
) -> tuple[dict[tuple[str, str], Dated], list[Unplaced[Dated]]]:
    """Of several at one time point of one patient the first."""
    placed: dict[tuple[str, str], Dated] = {}
    second: list[Unplaced[Dated]] = []
    for item, point in wanted:
        held = placed.setdefault((item.patient, point.name), item)
        if held is not item:
            date = held.collected if isinstance(held, Visit) else held.date
            second.append(Unplaced(item, f"at {point.name} that of {date} counts", second=True))
    return placed, second
