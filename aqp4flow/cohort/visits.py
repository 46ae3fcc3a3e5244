"""Which serum is which patient's, and when it was drawn."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from aqp4flow.errors import SheetError
from aqp4flow.model import NAN, Visit
from aqp4flow.sheet import Row, by_row, read_date, read_table, read_yes

HEADINGS = ("serum", "patient", "collected", "visit", "baseline")
DAYS_A_MONTH = 365.25 / 12


@dataclass(frozen=True)
class _Bleed:
    row: Row
    serum: str
    patient: str
    collected: datetime.date
    baseline: bool


def read_visits(path: Path) -> tuple[list[Visit], list[SheetError]]:
    """Visits by patient and date, months counted from each patient's own baseline; problems as a list.

    With problems the visits are those that could be read, a month NaN where the baseline is not known: enough to look
    for further problems, never for a result.
    """
    problems: list[SheetError] = []
    bleeds: list[_Bleed] = []
    unread: set[str] = set()
    for row in read_table(path, HEADINGS, ("serum", "patient", "collected", "baseline")):
        bleed, wrong = _bleed(row)
        problems += wrong
        if bleed is not None:
            bleeds.append(bleed)
        else:
            unread.add(row["patient"])
    if not bleeds and not problems:
        problems.append(SheetError(f"{path.parent.name}/{path.name}", "no visit in it", "a row a serum, or no table"))
    problems += _sera_twice(bleeds)
    baselines, missing = _baselines(bleeds, unread)
    problems += missing
    return _visits(bleeds, baselines), by_row(problems)


def _bleed(row: Row) -> tuple[_Bleed | None, list[SheetError]]:
    """The bleed of a row, and everything that is wrong with it."""
    problems = [
        row.error(f"{heading} is empty", "every visit names its serum and its patient")
        for heading in ("serum", "patient")
        if not row[heading]
    ]
    collected, baseline = None, False
    try:
        collected = read_date(row, "collected")
    except SheetError as problem:
        problems.append(problem)
    try:
        baseline = read_yes(row, "baseline")
    except SheetError as problem:
        problems.append(problem)
    if problems or collected is None:
        return None, problems
    return _Bleed(row, row["serum"], row["patient"], collected, baseline), []


def _sera_twice(bleeds: list[_Bleed]) -> list[SheetError]:
    first: dict[str, _Bleed] = {}
    problems = []
    for bleed in bleeds:
        earlier = first.setdefault(bleed.serum, bleed)
        if earlier is bleed:
            continue
        what = f"serum {bleed.serum!r} stands in row {earlier.row.number} too"
        hint = "one serum is one bleed of one patient: one row"
        if earlier.patient != bleed.patient:
            what = f"serum {bleed.serum!r} is patient {bleed.patient!r} here and {earlier.patient!r} in row "
            what += str(earlier.row.number)
            hint = "find out whose it is; two bleeds need names of their own, on the plate maps too"
        problems.append(bleed.row.error(what, hint))
    return problems


def _baselines(bleeds: list[_Bleed], unread: set[str]) -> tuple[dict[str, datetime.date], list[SheetError]]:
    """The date of each patient's baseline; a patient with an unread row may have it there, and is not asked for it."""
    baselines: dict[str, datetime.date] = {}
    rows: dict[str, int] = {}
    problems = []
    for bleed in bleeds:
        if not bleed.baseline:
            continue
        if bleed.patient in baselines:
            what = f"patient {bleed.patient!r} has a second baseline: the first is row {rows[bleed.patient]}"
            problems.append(bleed.row.error(what, "mark one visit: the one before treatment"))
        baselines.setdefault(bleed.patient, bleed.collected)
        rows.setdefault(bleed.patient, bleed.row.number)
    for patient, row in {bleed.patient: bleed.row for bleed in reversed(bleeds)}.items():
        if patient not in baselines and patient not in unread:
            what = f"patient {patient!r} has no baseline"
            problems.append(row.error(what, "write yes under baseline at the visit before treatment"))
    return baselines, problems


def _visits(bleeds: list[_Bleed], baselines: dict[str, datetime.date]) -> list[Visit]:
    ordered = sorted(bleeds, key=lambda bleed: (bleed.patient, bleed.collected, bleed.serum))
    return [
        Visit(
            patient=bleed.patient,
            serum=bleed.serum,
            collected=bleed.collected.isoformat(),
            visit=bleed.row["visit"],
            baseline=bleed.baseline,
            month=months_between(baselines.get(bleed.patient), bleed.collected),
            row=bleed.row.number,
        )
        for bleed in ordered
    ]


def months_between(start: datetime.date | None, day: datetime.date) -> float:
    """Months of 365.25 / 12 days from `start`; NaN without one."""
    return NAN if start is None else (day - start).days / DAYS_A_MONTH
