"""Limits of a shift: all the shifts that a test would not reject."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aqp4flow.cohort.statistics.found import LEVEL
from aqp4flow.model import NAN, Values

FULL_WALK = 2000  # up to so many places every one is tried; beyond, p is taken to rise towards the middle
BACK = 8  # places tried before the one found


@dataclass(frozen=True)
class Limits:
    """Limits of a shift, NaN where open; `outside` is the p of the nearest shifts that were rejected, 1 where open."""

    low: float
    high: float
    outside: tuple[float, float]

    @property
    def level(self) -> float:
        """Percent of samples whose limits hold the truth, at least, were there no ties."""
        return 100 * (1 - sum(self.outside) / 2)


def inverted(p_at: Callable[[float], float], breaks: Values, centre: float) -> Limits:
    """The smallest interval that holds every shift with p above 5 %.

    `breaks` are the sorted shifts at which p can change, `centre` the estimate, where p is near 1. The breaks are tried
    themselves, for there values tie or vanish, and so is every gap between them; so the interval holds whatever the
    very same test accepts.
    """
    low, below = _edge(p_at, breaks, centre)
    high, above = _edge(lambda shift: p_at(-shift), -breaks[::-1], -centre)
    return Limits(low, -high, (below, above))


def _edge(p_at: Callable[[float], float], breaks: Values, centre: float) -> tuple[float, float]:
    span = float(breaks[-1] - breaks[0]) + abs(float(breaks[0])) + 1.0
    ends = np.concatenate([[breaks[0] - span], breaks, [breaks[-1] + span]])

    def p(place: int) -> float:  # even: the gap before break place / 2; odd: a break
        return p_at(float(ends[(place + 1) // 2] + ends[place // 2 + 1]) / 2)

    nearest = 2 * int(np.argmin(np.abs(breaks - centre))) + 1
    first = _first_accepted(p, 2 * len(breaks) + 1, nearest)
    if first == 0:
        return NAN, 1.0
    rejected = first - 1 if first % 2 else first - 2
    return float(breaks[(first - 1) // 2]), p(rejected)


def _first_accepted(p: Callable[[int], float], places: int, nearest: int) -> int:
    start = 0
    if places > FULL_WALK and p(0) <= LEVEL:
        low, high = 0, nearest
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if p(middle) > LEVEL else (middle, high)
        start = max(high - BACK, 0)
    return next(place for place in range(start, places) if p(place) > LEVEL)
