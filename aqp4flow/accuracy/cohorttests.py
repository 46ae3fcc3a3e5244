"""The default tests on one simulated cohort: whether they speak at the level of 5 %, and what they estimate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aqp4flow.cohort.statistics.friedman import dunn, friedman
from aqp4flow.cohort.statistics.multiplicity import holm
from aqp4flow.cohort.statistics.outcomes import Outcome, complete, differences
from aqp4flow.cohort.statistics.ranks import signed_rank
from aqp4flow.cohort.statistics.rates import rate_ratio
from aqp4flow.model import NAN, Estimate, Followed

LEVEL = 0.05
ANY = "any visit"


@dataclass(frozen=True)
class Spoken:
    """One test of one contrast: whether it speaks at the level, and its effect."""

    cell: str
    test: str
    contrast: str
    possible: bool
    rejects: bool
    effect: Estimate | None = None


def default_tests(cell: str, outcome: Outcome, followed: Sequence[Followed]) -> tuple[Spoken, ...]:
    """Every default test: of the last visit against the first, of all visits, of relapses."""
    return (*_ranks(cell, outcome), *([_rates(cell, followed)] if followed else []))


def _verdict(cell: str, test: str, contrast: str, p: float, effect: Estimate | None = None) -> Spoken:
    return Spoken(cell, test, contrast, not math.isnan(p), p <= LEVEL, effect)


def _ranks(cell: str, outcome: Outcome) -> list[Spoken]:
    """Signed-rank, Friedman, and Dunn's contrasts: the last by itself, and the smallest of them after Holm."""
    last = outcome.timepoints[-1]
    change = differences(outcome, len(outcome.timepoints) - 1)
    signed = signed_rank(change.values, change.signs.astype(np.int64))
    whole, _ = complete(outcome)
    signs = whole.signs.astype(np.int64)
    contrasts = np.array([found.p for found in dunn(whole.values, signs)])
    smallest = NAN if np.isnan(contrasts).any() else float(holm(contrasts).min())
    return [
        _verdict(cell, "signed-rank", last, signed.p),
        _verdict(cell, "friedman", ANY, friedman(whole.values, signs).p),
        _verdict(cell, "dunn", last, float(contrasts[-1])),
        _verdict(cell, "dunn, Holm", ANY, smallest),
    ]


def _rates(cell: str, followed: Sequence[Followed]) -> Spoken:
    """Relapses of all patients after over before."""
    before, after = sum(f.relapses_before for f in followed), sum(f.relapses_after for f in followed)
    years = sum(f.years_before for f in followed), sum(f.years_after for f in followed)
    return _verdict(cell, "poisson", "relapses", rate_ratio(before, years[0], after, years[1]).p)
