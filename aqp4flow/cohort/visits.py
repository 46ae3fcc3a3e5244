"""Which serum is which patient's, and when it was drawn."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from pathlib import Path

from aqp4flow.errors import SheetError
from aqp4flow.model import Visit
from aqp4flow.sheet import Row, read_date, read_table, read_yes

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
    """Visits by patient and date, months counted from each patient's own baseline; problems as a list."""
    problems: list[SheetError] = []
    bleeds: list[_Bleed] = []
    for row in read_table(path, HEADINGS, ("serum", "patient", "collected")):
        try:
            for heading in ("serum", "patient"):
                if not row[heading]:
                    raise row.error(f"{heading} is empty", "every visit names its serum and its patient")
            bleeds.append(
                _Bleed(row, row["serum"], row["patient"], read_date(row, "collected"), read_yes(row, "baseline"))
            )
        except SheetError as problem:
            problems.append(problem)
    problems += _sera_twice(bleeds)
    baselines, missing = _baselines(bleeds)
    problems += missing
    return ([] if problems else _visits(bleeds, baselines)), problems


def _sera_twice(bleeds: list[_Bleed]) -> list[SheetError]:
    first: dict[str, _Bleed] = {}
    problems = []
    for bleed in bleeds:
        earlier = first.setdefault(bleed.serum, bleed)
        if earlier is not bleed:
            what = f"serum {bleed.serum!r} stands in row {earlier.row.number} too"
            problems.append(bleed.row.error(what, "one serum is one bleed of one patient: one row"))
    return problems


def _baselines(bleeds: list[_Bleed]) -> tuple[dict[str, datetime.date], list[SheetError]]:
    baselines: dict[str, datetime.date] = {}
    problems = []
    for bleed in bleeds:
        if not bleed.baseline:
            continue
        if bleed.patient in baselines:
            what = f"patient {bleed.patient!r} has a second baseline"
            problems.append(bleed.row.error(what, "mark one visit: the one before treatment"))
        baselines.setdefault(bleed.patient, bleed.collected)
    for patient, row in {bleed.patient: bleed.row for bleed in reversed(bleeds)}.items():
        if patient not in baselines:
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
            month=(bleed.collected - baselines[bleed.patient]).days / DAYS_A_MONTH,
        )
        for bleed in ordered
    ]
