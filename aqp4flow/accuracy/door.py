"""`aqp4flow simulate`: a grid of plates with planted truth, made, measured and counted into a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from aqp4flow.accuracy import tally
from aqp4flow.accuracy.eventlevel import event_verdicts
from aqp4flow.accuracy.readinglevel import reading_verdicts
from aqp4flow.accuracy.verdicts import Verdicts
from aqp4flow.errors import InputError, StorageError
from aqp4flow.simulate.scenario import GRIDS, Grid, Scenario
from aqp4flow.tables import to_csv

READINGS, EVENTS, CALLS = "readings", "events", "calls"
PAGE = "accuracy.md"
SEED = 20140315


@dataclass(frozen=True)
class _Task:
    """Plates of one scenario at one level, made in one go: the same whoever makes them, and when."""

    level: str
    scenario: Scenario
    number: int
    seed: int
    keep: Path | None = None


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
    """Make and measure a grid; write coverage.csv, endpoints.csv, calls.csv and accuracy.md into a folder.

    `keep` leaves the plates there too, each a study folder with its truth.csv. The same grid gives the same bytes,
    whatever the number of processes. Raises StorageError when something else is in the folder.
    """
    if out.is_dir() and any(out.iterdir()) and not (out / PAGE).is_file():
        raise StorageError(str(out), "the folder is not empty and not of an earlier simulation", "name a new folder")
    out.mkdir(parents=True, exist_ok=True)
    tasks = list(_tasks(grid, out / "plates" if keep else None))
    found: list[list[Verdicts]] = []
    for task, verdicts in zip(tasks, _done(tasks, processes or os.cpu_count() or 1), strict=True):
        progress(f"{task.level}: {task.scenario.name} ({len(found) + 1} of {len(tasks)})")
        found.append(verdicts)
    for name, text in report(grid, list(zip(tasks, found, strict=True))).items():
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


def _run(task: _Task) -> list[Verdicts]:
    if task.level == READINGS:
        return reading_verdicts(task.scenario, task.number, task.seed)
    return [event_verdicts(task.scenario, task.number, task.seed, task.level == CALLS, task.keep)]


def _done(tasks: Sequence[_Task], processes: int) -> Iterable[list[Verdicts]]:
    if processes == 1:
        yield from map(_run, tasks)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(_run, tasks)


# --- tables -------------------------------------------------------------------------------------------------


def report(grid: Grid, done: Sequence[tuple[_Task, list[Verdicts]]]) -> dict[str, str]:
    """File name -> text of everything that is told about a grid."""
    coverage, ends = [], []
    pages = [f"# Grid {grid.name}\n"]
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
    return {
        "coverage.csv": to_csv(tally.coverage_table(coverage)),
        "endpoints.csv": to_csv(tally.endpoint_table(ends)),
        "calls.csv": to_csv(calls),
        PAGE: "\n".join(pages),
    }
