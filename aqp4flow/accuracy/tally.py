"""Verdicts counted: a row a cell and quantity, as CSV for machines and Markdown for docs/accuracy.md."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aqp4flow.accuracy.verdicts import QUANTITIES, Call, EndpointVerdict, Verdict, Verdicts
from aqp4flow.model import NAN, Status, Z
from aqp4flow.tables import Cell, Table, number

ALL = "all cells"
WANTED = (92.0, 98.0)  # percent of the truths that 95 % limits are to hold


@dataclass(frozen=True)
class Coverage:
    """How often limits of one quantity held the truth in one cell.

    `se` is the standard error of `percent`, from the spread between plates (numbers of one plate share its cut-off);
    `error` the median of found over true less 1 and `width` the median of limits over value, a factor.
    """

    level: str
    cell: str
    quantity: str
    plates: int
    n: int
    below: int
    above: int
    bounded: int
    se: float
    error: float
    width: float

    @property
    def percent(self) -> float:
        """Share of truths within the limits."""
        return 100 * (self.n - self.below - self.above) / self.n if self.n else NAN


def coverages(level: str, cell: str, plates: Sequence[Verdicts]) -> list[Coverage]:
    """One row a quantity."""
    return [
        coverage(level, cell, quantity, [[v for v in one.numbers if v.quantity == quantity] for one in plates])
        for quantity in QUANTITIES
    ]


def coverage(level: str, cell: str, quantity: str, plates: Sequence[Sequence[Verdict]]) -> Coverage:
    """One row; `plates` are groups of numbers that may err together."""
    plates = [one for one in plates if one]
    every = [verdict for one in plates for verdict in one]
    sizes = np.array([len(one) for one in plates], float)
    hits = np.array([sum(verdict.side == 0 for verdict in one) for one in plates], float)
    se = NAN
    if len(plates) > 1:
        off = hits - sizes * hits.sum() / sizes.sum()
        se = 100 * math.sqrt(float(np.sum(off**2)) * len(plates) / (len(plates) - 1)) / float(sizes.sum())
    return Coverage(
        level, cell, quantity, len(plates), len(every),
        sum(verdict.side < 0 for verdict in every), sum(verdict.side > 0 for verdict in every),
        sum(verdict.bounded for verdict in every), se,
        100 * math.expm1(_median([verdict.log_error for verdict in every])),
        math.exp(_median([verdict.log_width for verdict in every]) / 2),
    )  # fmt: skip


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return float(np.median(known)) if known else NAN


COVERAGE = (
    "level", "cell", "quantity", "plates", "n", "percent", "se", "truth_below", "truth_above", "bounded",
    "median_error_percent", "median_width_factor",
)  # fmt: skip


def coverage_table(found: Sequence[Coverage]) -> Table:
    """One row a level, cell and quantity."""
    return COVERAGE, [
        [c.level, c.cell, c.quantity, c.plates, c.n, c.percent, c.se, c.below, c.above, c.bounded, c.error, c.width]
        for c in found
    ]


ENDPOINTS = ("level", "cell", "n", "exact", "one_step", "further")


@dataclass(frozen=True)
class Endpoints:
    """Endpoint titers of a cell by their distance from the true one."""

    level: str
    cell: str
    exact: int
    one_step: int
    further: int

    @property
    def n(self) -> int:
        """All of them."""
        return self.exact + self.one_step + self.further


def endpoints(level: str, cell: str, found: Sequence[EndpointVerdict]) -> Endpoints:
    """Count endpoints by steps of the ladder."""
    steps = [abs(verdict.steps) for verdict in found]
    return Endpoints(level, cell, steps.count(0), steps.count(1), sum(step > 1 for step in steps))


def endpoint_table(found: Sequence[Endpoints]) -> Table:
    """One row a level and cell."""
    return ENDPOINTS, [[e.level, e.cell, e.n, e.exact, e.one_step, e.further] for e in found]


CALLS = ("level", "cell", "strength", "n", "positive", "equivocal", "negative", "by_cutoff", "by_mean_3_sd")


def call_table(found: Sequence[tuple[str, Call]]) -> Table:
    """One row a level, cell and planted strength (half dilution; 0: a negative serum)."""
    groups: dict[tuple[str, str, float], list[Call]] = {}
    for level, call in found:
        groups.setdefault((level, call.cell, call.strength), []).append(call)
    rows: list[list[Cell]] = []
    for (level, cell, strength), calls in sorted(groups.items(), key=lambda item: item[0][0]):
        statuses = [sum(call.status is status for call in calls) for status in _CALLED]
        one_rule = [sum(call.by_delta for call in calls), sum(call.by_three_sd for call in calls)]
        rows.append([level, cell, strength, len(calls), *statuses, *one_rule])
    return CALLS, rows


_CALLED = (Status.POSITIVE, Status.EQUIVOCAL, Status.NEGATIVE)


def share_limits(k: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % limits of a share, in percent."""
    if not n:
        return NAN, NAN
    centre = (k + Z**2 / 2) / (n + Z**2)
    half = Z / (n + Z**2) * math.sqrt(k * (n - k) / n + Z**2 / 4)
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)


# --- Markdown -------------------------------------------------------------------------------------------


def coverage_markdown(found: Sequence[Coverage], ends: Sequence[Endpoints]) -> str:
    """A row a cell: share of truths within the limits of delta, titer and fold, and the endpoints. Bold: outside."""
    lines = [
        "| cell | delta | n | titer | n | `<` `>` | factor | fold | n | `<` `>` | factor "
        "| endpoint exact | one step off | further |",
        "|---|" + "---:|" * 13,
    ]
    by_cell: dict[str, dict[str, Coverage]] = {}
    for one in found:
        by_cell.setdefault(one.cell, {})[one.quantity] = one
    of_cell = {end.cell: end for end in ends}
    for cell, c in by_cell.items():
        end = of_cell[cell]
        words = [cell, coverage_percent(c["delta"]), str(c["delta"].n)]
        for quantity in ("titer", "fold"):
            one = c[quantity]
            words += [coverage_percent(one), str(one.n), str(one.bounded), f"{one.width:.2f}"]
        words += [str(end.exact), str(end.one_step), f"**{end.further}**" if end.further else "0"]
        lines.append("| " + " | ".join(words) + " |")
    return "\n".join(lines) + "\n"


def coverage_percent(c: Coverage) -> str:
    """Percent and its standard error, bold outside what is wanted."""
    if not c.n:
        return ""
    text = f"{c.percent:.1f}" + ("" if math.isnan(c.se) else f" ± {c.se:.1f}")
    return text if WANTED[0] <= c.percent <= WANTED[1] else f"**{text}**"


def call_markdown(table: Table, cells: bool = False) -> str:
    """A row a planted strength (or a cell): shares called, in percent, with Wilson's limits."""
    lines = [
        f"| {'cell' if cells else 'half dilution'} | n | positive | equivocal | negative | delta above Frey's cut-off "
        "| above mean + 3 SD |",
        "|---|" + "---:|" * 6,
    ]
    for _, cell, strength, n, *counts in table[1]:
        named = str(cell) if cells else number(float(strength or 0)) if strength else "negative serum"
        words = [named, str(n)]
        for count in counts:
            low, high = share_limits(int(count or 0), int(n or 0))
            words.append(f"{100 * int(count or 0) / int(n or 1):.1f} ({low:.1f}-{high:.1f})")
        lines.append("| " + " | ".join(words) + " |")
    return "\n".join(lines) + "\n"
