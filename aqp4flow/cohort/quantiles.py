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
    lower = _quantile([0.0 if v.bound is Bound.BELOW else v.value for v in values], q)
    upper = _quantile([math.inf if v.bound is Bound.ABOVE else v.value for v in values], q)
    if lower == 0 and math.isinf(upper):
        return None
    if math.isinf(upper):
        return Titer(lower, Bound.ABOVE)
    if lower == upper:
        return Titer(upper)
    return Titer(upper, Bound.BELOW, low=lower or math.nan)


def _quantile(values: Sequence[float], q: float) -> float:
    """By interpolation at (n - 1) q, as NumPy's default, on the log scale; 0 and infinity stay what they are."""
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    left, right = ordered[math.floor(place)], ordered[math.ceil(place)]
    part = place - math.floor(place)
    if part == 0 or left == right:
        return left
    return 0.0 if left == 0 else left ** (1 - part) * right**part
