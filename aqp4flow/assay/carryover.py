"""Cells that a well inherits from the one acquired before it."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from aqp4flow.assay.cutoffs.cutoffrules import prediction_limit
from aqp4flow.model import WITH_SERUM, Check, Reading, Role, Verdict

FAR_BRIGHTER = 10.0  # times a well's own delta: what comes before it is then able to be seen in it
_OF_REPLICATES = 2.0  # times the mean of its replicates that follow no bright well
_LEAST_USUAL = 3
_CONFIDENCE = 0.999  # one-sided, of the limit for one more well like the others


@dataclass(frozen=True)
class Exposed:
    """A well acquired right after a far brighter one."""

    reading: Reading
    before: Reading


def carry_over(in_order: Sequence[Reading]) -> list[Check]:
    """A check for each well that is brighter than its like after a far brighter well; readings as acquired.

    A negative or secondary-only well is held against the others of its role (three at least), by Frey's limit at
    99.9 %; a serum's well against its replicates, by a factor of two beyond the limits of both. A well without its
    like is not judged.
    """
    exposed = _exposed(in_order)
    names = {one.reading.well.name for one in exposed}
    calm = [r for r in in_order if r.usable and r.well.cells != "control" and r.well.name not in names]
    found = []
    for one in exposed:
        limit, what = _limit(one.reading, calm)
        if one.reading.delta.value > limit:
            found.append(_check(one, limit, what))
    return found


def _exposed(in_order: Sequence[Reading]) -> list[Exposed]:
    pairs = itertools.pairwise(in_order)
    judged = (*WITH_SERUM, Role.SECONDARY_ONLY)
    return [
        Exposed(now, before)
        for before, now in pairs
        if now.usable
        and before.delta.known  # an excluded well has been acquired all the same
        and now.well.role in judged
        and now.well.cells != "control"
        and before.delta.value > FAR_BRIGHTER * abs(now.delta.value)
    ]


def _limit(reading: Reading, calm: Sequence[Reading]) -> tuple[float, str]:
    """What the delta of a well may be at most, by its like, and who they are; infinite where it has none."""
    well = reading.well
    if well.role in (Role.NEGATIVE, Role.SECONDARY_ONLY):
        usual = [r.delta.value for r in calm if (r.well.role, r.well.dilution) == (well.role, well.dilution)]
        return _upper(usual), f"the {len(usual)} other {well.role} wells"
    replicates = [r for r in calm if (r.well.serum, r.well.dilution) == (well.serum, well.dilution)]
    if not replicates:
        return math.inf, ""
    mean = statistics.fmean(r.delta.value for r in replicates)
    apart = reading.delta.low > max(r.delta.high for r in replicates)
    return (_OF_REPLICATES * max(mean, 0.0) if apart else math.inf), "its replicates"


def _upper(values: Sequence[float]) -> float:
    """Upper limit for one further value; infinite below three values."""
    return prediction_limit(values, _CONFIDENCE) if len(values) >= _LEAST_USUAL else math.inf


def _check(one: Exposed, limit: float, what: str) -> Check:
    well, before = one.reading.well, one.before.well
    source = f"{before.serum} 1:{before.dilution:g}" if before.serum and before.dilution else str(before.role)
    message = (
        f"Acquired right after {before.name} ({source}, delta {one.before.delta.value:.4g}), and brighter than {what}"
        f" allow: cells carried over. Acquire it again after a wash."
    )
    subject = f"{well.plate}/{well.name}"
    return Check("well", subject, "carry-over", one.reading.delta.value, f"<= {limit:.4g}", Verdict.WARN, message)
