"""The clinical table: doses, relapses, scores, and from when to when a patient was observed."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aqp4flow.cohort.visits import months_between
from aqp4flow.errors import SheetError
from aqp4flow.model import NAN, ClinicalEvent, ClinicalKind, Visit
from aqp4flow.sheet import Row, by_row, nearest, plain, read_date, read_table

HEADINGS = ("patient", "date", "kind", "value")
_JAPANESE = {
    "投与": ClinicalKind.DOSE,
    "再発": ClinicalKind.RELAPSE,
    "疼痛": ClinicalKind.PAIN,
    "痛み": ClinicalKind.PAIN,
    "疲労": ClinicalKind.FATIGUE,
    "倦怠感": ClinicalKind.FATIGUE,
    "観察開始": ClinicalKind.OBSERVATION_START,
    "観察終了": ClinicalKind.OBSERVATION_END,
}
_OBSERVATION = (ClinicalKind.OBSERVATION_START, ClinicalKind.OBSERVATION_END)
_WITHOUT_VALUE = (ClinicalKind.RELAPSE, *_OBSERVATION)
_DOSE = re.compile(r"(\d+(?:\.\d+)?)\s*([^\W\d_]+(?:/[^\W_]+)*)?")


@dataclass(frozen=True)
class _Entry:
    row: Row
    patient: str
    day: datetime.date
    kind: ClinicalKind
    value: float


def read_clinical(path: Path, visits: Sequence[Visit] | None) -> tuple[list[ClinicalEvent], list[SheetError]]:
    """Clinical events by patient, date and kind; problems as a list, everything wrong with a row at once.

    Months count from the patient's baseline visit; without visits from the first dose, else from the start of
    observation, else the patient is refused. `visits` None means that their table could not be read: months are then
    NaN, and no patient is refused for them.
    """
    problems: list[SheetError] = []
    entries: list[_Entry] = []
    for row in read_table(path, HEADINGS, HEADINGS[:3]):
        entry, wrong = _entry(row)
        problems += wrong
        if entry is not None:
            entries.append(entry)
    if not entries and not problems:
        problems.append(SheetError(f"{path.parent.name}/{path.name}", "no row in it", "a row an event, or no table"))
    problems += _rows_twice(entries) + _units_differ(entries) + _observation(entries)
    starts: dict[str, datetime.date] = {}
    if visits is not None:
        starts, missing = _starts(entries, visits)
        problems += missing
    events = [
        ClinicalEvent(
            patient=entry.patient,
            date=entry.day.isoformat(),
            kind=entry.kind,
            value=entry.value,
            month=months_between(starts.get(entry.patient), entry.day),
            row=entry.row.number,
        )
        for entry in entries
    ]
    return sorted(events, key=lambda event: (event.patient, event.date, event.kind)), by_row(problems)


# --- one row ---------------------------------------------------------------------------------------


def _entry(row: Row) -> tuple[_Entry | None, list[SheetError]]:
    """The entry of a row, and everything that is wrong with it."""
    problems = [] if row["patient"] else [row.error("patient is empty", "every row names its patient")]
    day, kind, value = None, None, NAN
    try:
        day = read_date(row, "date")
    except SheetError as problem:
        problems.append(problem)
    try:
        kind = _kind(row)
        value = _value(row, kind)
    except SheetError as problem:
        problems.append(problem)
    if problems or day is None or kind is None:
        return None, problems
    return _Entry(row, row["patient"], day, kind, value), []


def _kind(row: Row) -> ClinicalKind:
    text = plain(row["kind"]).lower()
    if text in _JAPANESE:
        return _JAPANESE[text]
    try:
        return ClinicalKind(text)
    except ValueError:
        what = f"kind {row['kind']!r} is unknown" if text else "kind is empty"
        raise row.error(what, nearest(text, [kind.value for kind in ClinicalKind])) from None


def _value(row: Row, kind: ClinicalKind) -> float:
    text = plain(row["value"])
    if kind in _WITHOUT_VALUE:
        if text:
            raise row.error(f"value {row['value']!r}, but {kind} takes none", "leave the value empty")
        return NAN
    if kind is ClinicalKind.DOSE:
        return _dose(row, text)
    return _score(row, kind, text)


def _dose(row: Row, text: str) -> float:
    if not text:
        return NAN
    match = _DOSE.fullmatch(text)
    if match is None:
        raise row.error(f"dose {row['value']!r} is not a number with its unit", "write 8 mg/kg or 8, or leave it empty")
    return float(match[1])


def _score(row: Row, kind: ClinicalKind, text: str) -> float:
    name = "EDSS" if kind is ClinicalKind.EDSS else kind.value
    allowed = "0, 1, 1.5, 2 ... up to 10" if kind is ClinicalKind.EDSS else "a whole number from 0 to 10"
    if not text:
        raise row.error(f"{name} has no value", f"write {allowed}, or take the row out")
    if not re.fullmatch(r"\d+(\.\d+)?", text):
        raise row.error(f"{name} {row['value']!r} is not a number", f"write {allowed}")
    value = float(text)
    if not 0 <= value <= 10:
        raise row.error(f"{name} {row['value']!r} lies outside 0 to 10", f"write {allowed}")
    if kind is ClinicalKind.EDSS and (value == 0.5 or not (2 * value).is_integer()):
        raise row.error(f"there is no EDSS of {text}", f"write {allowed}")
    if kind is not ClinicalKind.EDSS and not value.is_integer():
        raise row.error(f"{name} {row['value']!r} is not a whole number", f"write {allowed}")
    return value


# --- rows against each other -----------------------------------------------------------------------


def _rows_twice(entries: Sequence[_Entry]) -> list[SheetError]:
    first: dict[tuple[str, datetime.date, ClinicalKind], _Entry] = {}
    problems = []
    for entry in entries:
        if entry.kind in _OBSERVATION:
            continue  # one a patient at most, on whichever day: see `_observation`
        earlier = first.setdefault((entry.patient, entry.day, entry.kind), entry)
        if earlier is not entry:
            what = f"{entry.kind} of patient {entry.patient!r} on {entry.day} stands in row {earlier.row.number} too"
            problems.append(entry.row.error(what, "keep the row that is right"))
    return problems


def _units_differ(entries: Sequence[_Entry]) -> list[SheetError]:
    """Doses with another unit than the first that has one: their numbers would be taken for one kind of thing."""
    first: tuple[str, int] | None = None
    problems = []
    for entry in entries:
        match = _DOSE.fullmatch(plain(entry.row["value"])) if entry.kind is ClinicalKind.DOSE else None
        unit = match[2] if match else None
        if unit is None:
            continue
        first = first or (unit, entry.row.number)
        if unit.lower() != first[0].lower():
            what = f"the dose is in {unit} here and in {first[0]} in row {first[1]}"
            problems.append(entry.row.error(what, "write all doses in one unit, or leave their values empty"))
    return problems


def _observation(entries: Sequence[_Entry]) -> list[SheetError]:
    """Start and end of a patient's observation: one each, in order, and nothing before the start."""
    starts: dict[str, _Entry] = {}
    ends: dict[str, _Entry] = {}
    problems = []
    for entry in entries:
        if entry.kind not in _OBSERVATION:
            continue
        seen = starts if entry.kind is ClinicalKind.OBSERVATION_START else ends
        earlier = seen.setdefault(entry.patient, entry)
        if earlier is not entry:
            what = f"patient {entry.patient!r} has a second {entry.kind}: the first is row {earlier.row.number}"
            problems.append(entry.row.error(what, "keep one a patient"))
    for patient, end in ends.items():
        start = starts.get(patient)
        if start is not None and end.day <= start.day:
            what = f"the observation of patient {patient!r} ends on {end.day}, not after its start in row "
            problems.append(end.row.error(f"{what}{start.row.number} ({start.day})", "correct one of the two dates"))
    for entry in entries:
        start = starts.get(entry.patient)
        if start is not None and entry.kind not in _OBSERVATION and entry.day < start.day:
            problems.append(entry.row.error(*too_early(entry.kind, entry.day.isoformat(), start.day, start.row.number)))
    return problems


def too_early(what: str, day: str, start: datetime.date | str, row: int) -> tuple[str, str]:
    """What is said of an event or visit before the patient's observation began, and what to do."""
    return (
        f"{what} on {day}, before the patient's observation-start {start} (clinical row {row})",
        "correct the date, or move observation-start to the day from which relapses were recorded",
    )


def _starts(entries: Sequence[_Entry], visits: Sequence[Visit]) -> tuple[dict[str, datetime.date], list[SheetError]]:
    """Day 0 of each patient's months; patients who have none."""
    found: dict[str, datetime.date] = {
        visit.patient: datetime.date.fromisoformat(visit.collected) for visit in visits if visit.baseline
    }
    for kind in (ClinicalKind.DOSE, ClinicalKind.OBSERVATION_START):
        days: dict[str, datetime.date] = {}
        for entry in entries:
            if entry.kind is kind:
                days[entry.patient] = min(entry.day, days.get(entry.patient, entry.day))
        found = days | found
    first_rows: Mapping[str, Row] = {entry.patient: entry.row for entry in reversed(entries)}
    hint = "add visits of this patient with a baseline, a dose, or observation-start"
    problems = [
        row.error(f"patient {patient!r} has no day to count months from", hint)
        for patient, row in first_rows.items()
        if patient not in found
    ]
    return found, problems
