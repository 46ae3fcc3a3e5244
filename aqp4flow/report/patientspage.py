"""The report's sections on patients: Figures 1 to 4, their trajectories, and the statistics."""

from __future__ import annotations

import math
from dataclasses import dataclass

from aqp4flow.model import Bound, Change, Estimate, Statistic, Summary, Titer, TrajectoryPoint
from aqp4flow.pipeline import StudyResult
from aqp4flow.report.grids import Grid, bounded, limits, short, with_limits

_TITLES = {
    "figure1": "Figure 1: annualised relapse rate",
    "figure2": "Figure 2: course of each patient",
    "figure3": "Figure 3: pain and fatigue",
    "figure4": "Figure 4: patients over time",
}
#: So many sheets of Figure 2 stand in the page; the others are files beside it.
MOST_SHEETS = 3


@dataclass(frozen=True)
class Section:
    """A figure of the page: its heading, the pictures' names, and a sentence where some are only files."""

    title: str
    names: tuple[str, ...]
    more: str


def sections(captions: dict[str, str]) -> list[Section]:
    """Figures 1 to 4 as far as they were drawn, in order."""
    found = []
    for figure, title in _TITLES.items():
        names = [name for name in captions if name == figure or name.startswith(f"{figure}-")]
        if names:
            left = names[MOST_SHEETS:]
            more = f"Further sheets stand in figures/ as {left[0]} to {left[-1]}." if left else ""
            found.append(Section(title, tuple(names[:MOST_SHEETS]), more))
    return found


def trajectories(result: StudyResult) -> Grid:
    """A row a visit: what was followed with its limits, the fold against baseline, and what it is called."""
    quantity = result.assay.trajectory.quantity
    headings = (
        "patient", "visit", "collected", "month", "serum", "status", "delta", "ratio", "titer (95 % limits)",
        f"followed: {quantity} (95 % limits)", "fold against baseline (95 % limits)", "change", "beyond", "flags",
        "notes",
    )  # fmt: skip
    return Grid(headings, [_visit(point) for point in result.trajectories])


def _visit(point: TrajectoryPoint) -> list[str]:
    visit, row = point.visit, point.reactivity
    beyond = f"{short(point.limit.fold)}-fold ({point.limit.why})" if point.limit else ""
    called = "" if visit.baseline or point.change is Change.UNKNOWN else point.change.value
    return [
        visit.patient, point.timepoint or visit.visit, visit.collected, short(visit.month), visit.serum,
        row.status.value if row else "", short(row.delta.value) if row else "", short(row.ratio.value) if row else "",
        with_limits(point.titer), with_limits(point.value), with_limits(point.fold), called, beyond if called else "",
        "; ".join(point.flags), "; ".join(point.notes),
    ]  # fmt: skip


def statistics(result: StudyResult) -> Grid:
    """Every test, the primary contrast first: p with how it was computed and the smallest p attainable."""
    headings = (
        "figure", "outcome", "contrast", "test", "p is", "n", "statistic", "p", "adjusted p", "smallest attainable p",
        "effect (95 % limits)", "unit", "note",
    )  # fmt: skip
    rows = sorted(result.statistics, key=lambda row: not row.primary)
    return Grid(headings, [_test(row) for row in rows])


def _test(row: Statistic) -> list[str]:
    return [
        row.figure, row.outcome, f"{row.contrast} (primary)" if row.primary else row.contrast, row.test, row.exact,
        str(row.n), short(row.statistic), _p(row.p), "not corrected" if row.primary else _p(row.p_adjusted),
        _p(row.attainable), _effect(row.effect), row.unit, row.note,
    ]  # fmt: skip


def _p(p: float) -> str:
    return "" if math.isnan(p) else f"{p:.2g}"


def _effect(effect: Estimate) -> str:
    """An effect of which one side may be open even where there is no single value."""
    ends = limits(effect.low, effect.high)
    return f"{short(effect.value)} ({ends})" if ends else short(effect.value)


def summaries(result: StudyResult) -> Grid:
    """Mean with SD and SEM side by side, median with quartiles, at each time point."""
    headings = (
        "figure", "outcome", "time point", "n", "mean", "SD (n - 1)", "SEM", "median", "quartiles", "known as bounds",
        "scale",
    )  # fmt: skip
    return Grid(headings, [_summary(row) for row in result.summaries])


def _summary(row: Summary) -> list[str]:
    scale = "log2: geometric mean; SD and SEM in log2" if row.log2 else "as measured"
    median = bounded(Titer(row.median, row.bound if row.bounded else Bound.EXACT))
    return [
        row.figure, row.outcome, row.timepoint, str(row.n), short(row.mean), short(row.sd), short(row.sem), median,
        limits(row.q1, row.q3), str(row.bounded) if row.bounded else "", scale,
    ]  # fmt: skip


def information(result: StudyResult) -> str:
    """What rises and losses of the antibody do not tell, where the table notes any; else empty."""
    notes = {note for point in result.trajectories for note in (*point.notes, *point.flags)}
    told = sorted(note for note in notes if "two-fold" in note or "serorever" in note)
    if not told:
        return ""
    return (
        f"The notes {' and '.join(told)} are information about the serum, not a prediction: titers rise before some "
        "relapses and many relapses come without a rise, and a serum below the cut-off is no proof that the disease "
        "is over."
    )
