"""The default tests on one simulated cohort: their p, and whether they speak at the level of 5 %."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aqp4flow.cohort.statistics.outcomes import Outcome
from aqp4flow.model import Estimate, Followed

LEVEL = 0.05


@dataclass(frozen=True)
class TestVerdict:
    """One test of one contrast (`any`: some visit differs): whether it speaks at the level, and its effect."""

    cell: str
    test: str
    contrast: str
    possible: bool
    rejects: bool
    effect: Estimate | None = None


def tests(cell: str, outcome: Outcome, followed: Sequence[Followed]) -> tuple[TestVerdict, ...]:
    """Every default test: of the last visit against the first where it is one of two visits."""
    return ()
