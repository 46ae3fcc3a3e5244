"""`aqp4flow simulate`: a grid of plates with planted truth, made, measured and counted into a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from aqp4flow.accuracy import cohorttally, tally
from aqp4flow.accuracy.cohortlevel import CohortVerdicts, study_verdicts
from aqp4flow.accuracy.eventlevel import event_verdicts
from aqp4flow.accuracy.readinglevel import reading_verdicts
from aqp4flow.accuracy.verdicts import Verdicts
from aqp4flow.errors import InputError, StorageError
from aqp4flow.simulate.cohortplates import PLANS, Plan
from aqp4flow.simulate.scenario import GRIDS, Grid, Scenario
from aqp4flow.tables import to_csv

READINGS, EVENTS, CALLS = "readings", "events", "calls"
PAGE = "accuracy.md"
SEED = 20140315
_AT_ONCE = 10  # studies a task


@dataclass(frozen=True)
class _Task:
    """Plates of one scenario at one level, made in one go: the same whoever makes them, and when."""

    level: str
    scenario: Scenario
    number: int
    seed: int
    keep: Path | None = None

    @property
    def words(self) -> str:
        """What is being made, as progress tells it."""
        return f"{self.level}: {self.scenario.name}"

    def run(self) -> list[Verdicts]:
        """Make the plates, measure and judge them."""
        if self.level == READINGS:
            return reading_verdicts(self.scenario, self.number, self.seed)
        return [event_verdicts(self.scenario, self.number, self.seed, self.level == CALLS, self.keep)]


@dataclass(frozen=True)
class _Studies:
    """Studies of one layout, by number."""

    plan: Plan
    numbers: range
    seed: int

    @property
    def words(self) -> str:
        """What is being made, as progress tells it."""
        return f"cohorts: {self.plan.layout} ({self.numbers[0]} to {self.numbers[-1]})"

    def run(self) -> list[CohortVerdicts]:
        """Make the studies, measure and judge them."""
        return [one for number in self.numbers for one in study_verdicts(self.plan, number, self.seed)]


def grid_called(name: str) -> Grid:
    """The grid of that name; raises InputError with those there are."""
    if name not in GRIDS:
        raise InputError("--grid", f"there is no grid {name!r}", f"grids are {', '.join(GRIDS)}")
    return GRIDS[name]


def simulate(
    grid: Grid,
    out: Path,
    processes: int | None = None,
    keep: bool = False,
    progress: Callable[[str], None] = lambda _: None,
) -> None:
    """Make and measure a grid; write its CSV tables and accuracy.md into a folder.

    `keep` leaves the plates there too, each a study folder with its truth.csv. The same grid gives the same bytes,
    whatever the number of processes. Raises StorageError when something else is in the folder.
    """
    if out.is_dir() and any(out.iterdir()) and not (out / PAGE).is_file():
        raise StorageError(str(out), "the folder is not empty and not of an earlier simulation", "name a new folder")
    out.mkdir(parents=True, exist_ok=True)
    tasks = list(_tasks(grid, out / "plates" if keep else None))
    studies = list(_studies(grid))
    all_tasks: list[_Task | _Studies] = [*tasks, *studies]
    done: list[list[Any]] = []
    for task, verdicts in zip(all_tasks, _done(all_tasks, processes or os.cpu_count() or 1), strict=True):
        progress(f"{task.words} ({len(done) + 1} of {len(all_tasks)})")
        done.append(verdicts)
    texts: dict[str, str] = {}
    pages = [f"# Grid {grid.name}\n"]
    if tasks:
        texts, told = report(list(zip(tasks, done, strict=False)))
        pages += told
    if studies:
        found, told = cohort_report([one for many in done[len(tasks) :] for one in many])
        texts, pages = {**texts, **found}, pages + told
    for name, text in {**texts, PAGE: "\n".join(pages)}.items():
        (out / name).write_text(text, encoding="utf-8", newline="\n")


def _tasks(grid: Grid, keep: Path | None) -> Iterator[_Task]:
    for number, scenario in enumerate(grid.scenarios):
        if grid.reading_plates:
            yield _Task(READINGS, scenario, grid.reading_plates, SEED)
        if scenario.events_too:
            for plate in range(1, grid.event_plates + 1):
                place = keep / f"{number + 1:02d}" if keep else None
                yield _Task(EVENTS, scenario, plate, SEED, place)
    for plate in range(1, grid.calls + 1):
        yield _Task(CALLS, grid.scenarios[0], plate, SEED, keep / CALLS if keep else None)


def _studies(grid: Grid) -> Iterator[_Studies]:
    for plan in PLANS:
        for first in range(1, grid.cohorts + 1, _AT_ONCE):
            yield _Studies(plan, range(first, min(first + _AT_ONCE, grid.cohorts + 1)), SEED)


def _run(task: _Task | _Studies) -> list[Any]:
    return task.run()


def _done(tasks: Sequence[_Task | _Studies], processes: int) -> Iterable[list[Any]]:
    if processes == 1:
        yield from map(_run, tasks)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_run, tasks)


# --- tables -------------------------------------------------------------------------------------------------


Told = tuple[dict[str, str], list[str]]


def cohort_report(found: Sequence[CohortVerdicts]) -> Told:
    """CSV files by name, and the page's sections, of everything that is told about cohorts."""
    cells = cohorttally.by_cell(found)
    folds = cohorttally.fold_coverages(cells)
    changes, tests, bias = (
        make(cells) for make in (cohorttally.change_table, cohorttally.tests_table, cohorttally.bias_table)
    )
    texts = {
        "cohort_folds.csv": to_csv(tally.coverage_table(folds)),
        "cohort_changes.csv": to_csv(changes),
        "cohort_tests.csv": to_csv(tests),
        "cohort_bias.csv": to_csv(bias),
    }
    pages = [
        "## Folds of cohorts\n", cohorttally.fold_markdown(folds),
        "## Changes called\n", cohorttally.change_markdown(changes),
        "## Tests where nothing changes\n", cohorttally.tests_markdown(tests, true=False),
        "## Tests where titers fall\n", cohorttally.tests_markdown(tests, true=True),
        "## The group's mean change\n", cohorttally.bias_markdown(bias),
    ]  # fmt: skip
    return texts, pages


def report(done: Sequence[tuple[_Task, list[Verdicts]]]) -> Told:
    """CSV files by name, and the page's sections, of everything that is told about plates."""
    coverage, ends = [], []
    pages: list[str] = []
    for level in (READINGS, EVENTS):
        here, reached = [], []
        plates_of: dict[str, list[Verdicts]] = {}
        for task, verdicts in done:
            if task.level == level:
                plates_of.setdefault(task.scenario.name, []).extend(verdicts)
        if not plates_of:
            continue
        plates_of[tally.ALL] = [verdicts for plates in plates_of.values() for verdicts in plates]
        for cell, plates in plates_of.items():
            here += tally.coverages(level, cell, plates)
            reached.append(tally.endpoints(level, cell, [end for one in plates for end in one.endpoints]))
        pages += [f"## Level of {level}\n", tally.coverage_markdown(here, reached)]
        coverage += here
        ends += reached
    calls = tally.call_table([(task.level, call) for task, plates in done for one in plates for call in one.calls])
    for level, title in ((CALLS, "Calls by planted strength"), (READINGS, "Further negative sera")):
        rows = [row for row in calls[1] if row[0] == level]
        if rows:
            pages += [f"## {title}\n", tally.call_markdown((calls[0], rows), cells=level == READINGS)]
    texts = {
        "coverage.csv": to_csv(tally.coverage_table(coverage)),
        "endpoints.csv": to_csv(tally.endpoint_table(ends)),
        "calls.csv": to_csv(calls),
    }
    return texts, pages
