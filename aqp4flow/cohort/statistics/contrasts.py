"""A time point against the first one, as a model sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from aqp4flow.cohort.statistics.longitudinal import Longitudinal
from aqp4flow.model import NAN, UNKNOWN, Bound, Estimate

#: How p or limits were made.
Way = Literal["model", "bootstrap"]


@dataclass(frozen=True)
class Contrast:
    """`timepoint` minus `baseline` on log2 (`effect`), with the two-sided `p` of no change; NaN where there is none.

    `n` patients have both, `n_values` values took part, bounded ones included. With `bound` other than `=` the effect
    has no value, only a limit on its one side (and a remark). `converged` is False where a fit did not reach its
    optimum. Remarks are separated by `; `.
    """

    timepoint: str
    baseline: str
    test: str
    way: Way
    n: int
    n_values: int
    statistic: float = NAN
    df: float = NAN
    p: float = NAN
    effect: Estimate = UNKNOWN
    bound: Bound = Bound.EXACT
    converged: bool = True
    note: str = ""

    @property
    def attainable(self) -> float:
        """The smallest p at this n: a model's has no floor (0)."""
        return NAN if math.isnan(self.p) else 0.0


def empty_contrasts(data: Longitudinal, test: str, way: Way, why: str = "") -> list[Contrast]:
    """One contrast a time point after the first, with no numbers yet, and why."""
    n_values = int(data.measured.sum())
    return [
        Contrast(name, data.timepoints[0], test, way, data.paired(at), n_values, note=why)
        for at, name in enumerate(data.timepoints)
        if at
    ]


def remarked(contrast: Contrast, *remarks: str) -> Contrast:
    """The same with further remarks; empty ones are passed over."""
    return replace(contrast, note="; ".join(remark for remark in (contrast.note, *remarks) if remark))
