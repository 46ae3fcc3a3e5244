"""A control material against its own past: Levey-Jennings limits and Westgard's rules.

Source: Westgard, Barry, Hunt & Groth, Clin Chem 1981;27:493. Values are judged on the logarithm, on which the
assay's error is alike from weak to strong.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from aqp4flow.model import Z

FULL, LEAST = 20, 5  # runs for limits that reject, and for interim ones that warn


@dataclass(frozen=True)
class Chart:
    """Mean and SD of ln(value) over the past runs of one material at one dilution."""

    n: int
    mean: float
    sd: float

    @property
    def full(self) -> bool:
        """Whether there are runs enough to reject by."""
        return self.n >= FULL

    def score(self, value: float) -> float:
        """How many SD a run lies above the mean; NaN where the value has no logarithm or the past no spread."""
        return (math.log(value) - self.mean) / self.sd if value > 0 and self.sd > 0 else math.nan

    @property
    def change_limit(self) -> float:
        """The fold between two runs that their own error exceeds once in 20: exp(1.96 sqrt 2 SD) (Fraser & Harris
        1989, Crit Rev Clin Lab Sci 27:409).
        """
        return math.exp(Z * math.sqrt(2) * self.sd)


def chart(past: Sequence[float]) -> Chart | None:
    """The chart of past values, all above 0; None below five."""
    if len(past) < LEAST or any(not value > 0 for value in past):
        return None
    logs = [math.log(value) for value in past]
    return Chart(len(logs), statistics.fmean(logs), statistics.stdev(logs))


def westgard(scores: Sequence[float]) -> tuple[str, ...]:
    """The rules that the last of a material's runs breaks, by scores in SD in the order of the runs.

    1-2s warns; 1-3s, 2-2s (twice beyond 2 SD on one side), 4-1s (four times beyond 1 SD on one side) and 10x (ten
    times on one side of the mean) reject.
    """
    last = scores[-1]
    broken = []
    if abs(last) > 2:
        broken.append("1-2s")
    if abs(last) > 3:
        broken.append("1-3s")
    broken += [rule for rule, count, beyond in (("2-2s", 2, 2), ("4-1s", 4, 1), ("10x", 10, 0))
               if _one_side(scores, count, beyond)]  # fmt: skip
    return tuple(broken)


def _one_side(scores: Sequence[float], count: int, beyond: float) -> bool:
    recent = scores[-count:]
    return len(recent) == count and (all(s > beyond for s in recent) or all(s < -beyond for s in recent))


def range_rule(within_run: Sequence[float]) -> bool:
    """R-4s: two materials of one run lie beyond 2 SD on opposite sides."""
    return len(within_run) > 1 and max(within_run) > 2 and min(within_run) < -2
