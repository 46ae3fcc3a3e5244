"""What a test found."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from aqp4flow.model import NAN, UNKNOWN, Estimate

#: How a p was computed.
Exactness = Literal["exact", "permutation", "asymptotic"]

LEVEL = 0.05  # what 95 % limits leave outside


@dataclass(frozen=True)
class Found:
    """One test: `p` is two-sided, `attainable` the smallest p that these data could have given at this n.

    The layout is kept for it: as many zeros, the same ties and bounds, the most extreme signs or order; 0 where the
    test has no floor. `effect` is after minus before (or after over before), NaN where a side is open. Several remarks
    in `note` are separated by `; `.
    """

    test: str
    exact: Exactness
    n: int
    statistic: float
    p: float
    attainable: float
    effect: Estimate = UNKNOWN
    note: str = ""


def impossible(test: str, n: int, why: str) -> Found:
    """A test that could not be made, and why."""
    return Found(test, "exact", n, NAN, NAN, NAN, UNKNOWN, why)


def remarked(found: Found, *remarks: str) -> Found:
    """The same with further remarks; empty ones are passed over."""
    return replace(found, note="; ".join(remark for remark in (found.note, *remarks) if remark))


def times(n: int, noun: str) -> str:
    """`1 difference`, `2 differences`."""
    return f"{n} {noun}{'' if n == 1 else 's'}"
