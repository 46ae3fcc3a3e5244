"""What is odd about a serum's dilution series: the shift should fall with every dilution, and does not."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aqp4flow.model import Estimate, Reactivity, Z

_SURE = 2.576  # standard errors between two dilutions: one in 200 by chance, one-sided


def rises(series: Sequence[Reactivity]) -> list[str]:
    """Flags of a series by rising dilution, judged on delta beyond its limits.

    `hook`: it rises from the first dilution on, as with too much antibody; `non-monotone`: it rises again further
    on; `carry-over` stands in its place where a well of the higher value was acquired after a far brighter one.
    """
    read = [row for row in series if row.delta.known]
    if len(read) < 3:
        return []
    top = max(range(len(read)), key=lambda place: read[place].delta.value)
    flags = ["hook"] if _above(read[top].delta, read[0].delta) else []
    start = top if flags else 0
    for place in range(start + 1, len(read)):
        lowest = min(read[start:place], key=lambda row: row.delta.value)
        if _above(read[place].delta, lowest.delta):
            flags.append("carry-over" if "carry-over" in read[place].flags else "non-monotone")
    return list(dict.fromkeys(flags))


def _above(one: Estimate, other: Estimate) -> bool:
    """Whether one shift exceeds another by more than both errors explain; never without limits."""
    error = math.hypot(one.value - one.low, other.high - other.value) / Z
    return one.value - other.value > _SURE * error
