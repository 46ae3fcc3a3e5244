"""Quantiles of values of which some are known only as bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aqp4flow.model import Bound, Titer


def bounded_quantile(values: Sequence[Titer], q: float) -> Titer | None:
    """The quantile of positive values (at least one), interpolated between order statistics on the log2 scale.

    It is exact only where it is the same wherever the bounded values lie; else a `<` or `>`, whose other side is `low`
    or `high` where it is known. None where it may be anything.
    """
    lower = _quantile([-math.inf if v.bound is Bound.BELOW else math.log2(v.value) for v in values], q)
    upper = _quantile([math.inf if v.bound is Bound.ABOVE else math.log2(v.value) for v in values], q)
    if math.isinf(lower) and math.isinf(upper):
        return None
    if math.isinf(upper):
        return Titer(2.0**lower, Bound.ABOVE)
    if lower == upper:
        return Titer(2.0**upper)
    return Titer(2.0**upper, Bound.BELOW, low=math.nan if math.isinf(lower) else 2.0**lower)


def _quantile(values: Sequence[float], q: float) -> float:
    """By linear interpolation at (n - 1) q, as NumPy's default; an infinite neighbour makes it infinite."""
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    left, right = ordered[math.floor(place)], ordered[math.ceil(place)]
    part = place - math.floor(place)
    if part == 0 or left == right:
        return left
    return left * (1 - part) + right * part
