"""The default tests on one simulated cohort: whether they speak at the level of 5 %, and what they estimate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aqp4flow.assay.definition import StatisticsSettings
from aqp4flow.cohort.statistics.outcomes import REACTIVITY, Outcome, relapses
from aqp4flow.cohort.statistics.plan import Plan, statistics
from aqp4flow.model import Estimate, Followed, Statistic

LEVEL = 0.05
ANY = "any visit"
_MEAN = ("mixed-model", "censored-model", "bootstrap")


@dataclass(frozen=True)
class Spoken:
    """One test of one contrast: whether it speaks at the level, and its effect where that is the group's mean change.

    A bootstrap speaks where its 95 % limits leave out 0. Of `any visit` the smallest corrected p is taken.
    """

    cell: str
    test: str
    contrast: str
    possible: bool
    rejects: bool
    effect: Estimate | None = None


def default_tests(cell: str, outcome: Outcome, followed: Sequence[Followed], seed: int) -> tuple[Spoken, ...]:
    """Every default test: of the last visit against the first, of all visits, of relapses."""
    plan = Plan(StatisticsSettings().tests, seed=seed)
    rows = statistics([outcome, *([relapses(followed)] if followed else [])], followed, plan)
    last = f"{outcome.timepoints[-1]} - {outcome.timepoints[0]}"
    spoken = []
    for test in dict.fromkeys(row.test for row in rows):
        of_it = [row for row in rows if row.test == test and (row.outcome == REACTIVITY or test == "poisson")]
        contrasts = [row for row in of_it if row.contrast == last or len(of_it) == 1]
        spoken += [_spoken(cell, row) for row in contrasts]
        if len(of_it) > 1 and any(not math.isnan(row.p) for row in of_it):
            least = min(row.p_adjusted for row in of_it if not math.isnan(row.p_adjusted))
            spoken.append(Spoken(cell, f"{test}, Holm", ANY, True, least <= LEVEL))
    return tuple(spoken)


def _spoken(cell: str, row: Statistic) -> Spoken:
    effect = row.effect if row.test in _MEAN else None
    if row.exact == "bootstrap":
        low, high = row.effect.low, row.effect.high
        known = not (math.isnan(low) and math.isnan(high))
        return Spoken(cell, row.test, row.contrast, known, low > 0 or high < 0, effect)
    return Spoken(cell, row.test, row.contrast, not math.isnan(row.p), row.p <= LEVEL, effect)
