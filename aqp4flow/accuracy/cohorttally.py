"""Verdicts on cohorts counted: folds, calls, tests and the group's mean, as CSV and as Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from aqp4flow.accuracy.cohortlevel import BOUNDED, FOLD_APART, FOLD_ONE, FOLD_TWO, CohortVerdicts
from aqp4flow.accuracy.tally import Coverage, coverage, coverage_percent, share_limits
from aqp4flow.model import Change
from aqp4flow.tables import Cell, Table

COHORTS = "cohorts"
FOLDS = {
    FOLD_ONE: "one plate",
    FOLD_ONE + BOUNDED: "one plate, `<` `>`",
    FOLD_TWO: "two plates",
    FOLD_TWO + BOUNDED: "two plates, `<` `>`",
    FOLD_APART: "plates not bridged",
}
_SIZES = ((0.0, "less than 2"), (1.0, "2 to 4"), (2.0, "4 or more"))  # log2 of the true change, and its name

CHANGES = ("cell", "true_fold", "n", "right", "wrong", "no_change", "unknown")
TESTS = ("cell", "test", "contrast", "change_planted", "n", "not_possible", "rejected", "percent", "low", "high")
BIAS = ("cell", "estimator", "n", "mean_error", "se", "sd", "held_percent")

LEVEL_PERCENT = 5.0
ByCell = dict[str, list[CohortVerdicts]]


def by_cell(found: Sequence[CohortVerdicts]) -> ByCell:
    """Cohorts by cell, in order."""
    cells: ByCell = {}
    for one in found:
        cells.setdefault(one.cell, []).append(one)
    return cells


def fold_coverages(cells: ByCell) -> list[Coverage]:
    """A row a cell and kind of fold; the spread is taken between cohorts."""
    return [
        coverage(COHORTS, cell, quantity, [[v for v in one.folds if v.quantity == quantity] for one in cohorts])
        for cell, cohorts in cells.items()
        for quantity in FOLDS
        if any(v.quantity == quantity for one in cohorts for v in one.folds)
    ]


def change_table(cells: ByCell) -> Table:
    """A row a cell and size of the true change: called in its direction, in the other, not called, unknown."""
    rows: list[list[Cell]] = []
    for cell, cohorts in cells.items():
        calls = [call for one in cohorts for call in one.calls]
        for (least, name), top in zip(_SIZES, [size for size, _ in _SIZES[1:]] + [math.inf], strict=True):
            here = [call for call in calls if least <= abs(call.true) < top]
            if here:
                called = [_called(call.called, call.true) for call in here]
                rows.append([cell, name, len(here), *(called.count(word) for word in CHANGES[3:])])
    return CHANGES, rows


def _called(change: Change, true: float) -> str:
    if change is Change.UNKNOWN:
        return "unknown"
    if change is Change.NONE:
        return "no_change"
    return "right" if (change is Change.ROSE) == (true > 0) else "wrong"


def tests_table(cells: ByCell) -> Table:
    """A row a cell, test and contrast: how often p was at most 5 %, with Wilson's limits."""
    rows: list[list[Cell]] = []
    for cell, cohorts in cells.items():
        made: dict[tuple[str, str], list[tuple[bool, bool]]] = {}
        for one in cohorts:
            for test in one.tests:
                made.setdefault((test.test, test.contrast), []).append((test.possible, test.rejects))
        for (name, contrast), results in made.items():
            n = sum(possible for possible, _ in results)
            k = sum(rejects for _, rejects in results)
            share = 100 * k / n if n else math.nan
            planted = "no" if cohorts[0].null else "yes"
            rows.append([cell, name, contrast, planted, n, len(results) - n, k, share, *share_limits(k, n)])
    return TESTS, rows


def bias_table(cells: ByCell) -> Table:
    """A row a cell and estimator of the group's mean change: mean log2 error, its standard error, limits that held."""
    rows: list[list[Cell]] = []
    for cell, cohorts in cells.items():
        made: dict[str, list[tuple[float, bool | None]]] = {}
        for one in cohorts:
            for bias in one.biases:
                made.setdefault(bias.estimator, []).append((bias.error, bias.held))
        for name, results in made.items():
            errors = np.array([error for error, _ in results if not math.isnan(error)])
            held = [holds for _, holds in results if holds is not None]
            sd = float(errors.std(ddof=1)) if len(errors) > 1 else math.nan
            share = 100 * sum(held) / len(held) if held else math.nan
            mean = float(errors.mean()) if len(errors) else math.nan
            rows.append([cell, name, len(errors), mean, sd / math.sqrt(max(1, len(errors))), sd, share])
    return BIAS, rows


# --- Markdown -------------------------------------------------------------------------------------------


def fold_markdown(found: Sequence[Coverage]) -> str:
    """A row a cell and kind of fold."""
    lines = ["| cell | visits on | percent held | n | truth below | above | factor |", "|---|---|" + "---:|" * 5]
    for c in found:
        numbers = f"{coverage_percent(c)} | {c.n} | {c.below} | {c.above} | {_factor(c)}"
        lines.append(f"| {c.cell} | {FOLDS[c.quantity]} | {numbers} |")
    return "\n".join(lines) + "\n"


def _factor(c: Coverage) -> str:
    return "" if math.isnan(c.width) else f"{c.width:.2f}"


def change_markdown(table: Table) -> str:
    """A row a cell and size of change, in percent; a call in the wrong direction is bold."""
    lines = ["| cell | true fold | n | right | wrong | no change | unknown |", "|---|---|" + "---:|" * 5]
    for cell, name, n, *counts in table[1]:
        shares = [f"{100 * int(count or 0) / int(n or 1):.1f}" for count in counts]
        shares[1] = f"**{shares[1]}**" if counts[1] else shares[1]
        lines.append(f"| {cell} | {name} | {n} | " + " | ".join(shares) + " |")
    return "\n".join(lines) + "\n"


def tests_markdown(table: Table, true: bool) -> str:
    """A row a cell, test and contrast, where changes are planted or where none are; bold where 5 % is exceeded."""
    lines = ["| cell | test | contrast | n | not possible | p at most 5 %, percent |", "|---|---|---|" + "---:|" * 3]
    for cell, name, contrast, planted, n, no, _, share, low, high in table[1]:
        if (planted == "yes") is true:
            words = f"{float(share or 0):.1f} ({float(low or 0):.1f}-{float(high or 0):.1f})" if n else ""
            words = f"**{words}**" if n and not true and float(low or 0) > LEVEL_PERCENT else words
            lines.append(f"| {cell} | {name} | {contrast} | {n} | {no} | {words} |")
    return "\n".join(lines) + "\n"


def bias_markdown(table: Table) -> str:
    """A row a cell and estimator; bold where the mean error is more than two standard errors and 0.1 off."""
    lines = ["| cell | estimator | n | mean error, log2 | SD | limits held, percent |", "|---|---|" + "---:|" * 4]
    for cell, name, n, mean, se, sd, held in table[1]:
        off = abs(float(mean or 0)) > max(0.1, 2 * float(se or 0))
        words = f"{float(mean or 0):+.2f} ± {float(se or 0):.2f}"
        holds = "" if held is None or math.isnan(float(held)) else f"{float(held):.1f}"
        lines.append(f"| {cell} | {name} | {n} | {f'**{words}**' if off else words} | {float(sd or 0):.2f} | {holds} |")
    return "\n".join(lines) + "\n"
