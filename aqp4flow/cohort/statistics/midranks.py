"""Ranks with ties, and the exact laws of their sums.

Ranks are doubled, so that midranks are whole numbers and sums can be counted without rounding. Values within 1e-9 of
the largest are equal: log2 320 - log2 40 and log2 80 - log2 10 need not be the same number in binary.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from aqp4flow.model import Values

Whole = NDArray[np.int64]


def tolerance(*arrays: Values) -> float:
    """How near two values are to be equal: 1e-9 of the largest finite one."""
    together = np.abs(np.concatenate([np.ravel(array) for array in arrays]))
    finite = together[np.isfinite(together)]
    return 1e-9 * float(finite.max()) if len(finite) else 0.0


def settled(values: Values, within: float) -> Values:
    """The values with those that lie within `within` of their neighbor made equal to it, order kept."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    first = np.concatenate([[True], np.diff(ordered) > within]) if len(values) else np.zeros(0, bool)
    out = np.empty(len(values))
    out[order] = ordered[first][np.cumsum(first) - 1]
    return out


def distinct(values: Values, within: float) -> Values:
    """Sorted values, one of each that are equal."""
    return np.unique(settled(np.ravel(values), within))


def doubled_midranks(values: Values, within: float) -> Whole:
    """Twice the rank of each value, ties sharing the mean of theirs. Shape (n,)."""
    level = settled(values, within)
    ordered = np.sort(level)
    doubled: Whole = np.searchsorted(ordered, level, "left") + np.searchsorted(ordered, level, "right") + 1
    return doubled


def key(ranks: Whole) -> tuple[int, ...]:
    """Ranks as what a law is known by."""
    return tuple(int(rank) for rank in np.sort(ranks))


@lru_cache(maxsize=64)
def signed_law(doubled: tuple[int, ...]) -> Values:
    """Chance of each doubled sum of ranks, 0 first, when every rank is counted or not by the toss of a coin."""
    law = np.ones(1)
    for rank in doubled:
        wider = np.zeros(len(law) + rank)
        wider[: len(law)] += law
        wider[rank:] += law
        law = wider / 2
    law.setflags(write=False)
    return law


@lru_cache(maxsize=64)
def drawn_law(doubled: tuple[int, ...], drawn: int) -> Values:
    """Chance of each doubled sum of `drawn` ranks taken out of all without order, 0 first."""
    total = sum(doubled)
    ways = np.zeros((drawn + 1, total + 1))
    ways[0, 0] = 1
    for rank in doubled:
        ways[1:, rank:] += ways[:-1, : total + 1 - rank].copy()
    law: Values = ways[drawn] / math.comb(len(doubled), drawn)
    law.setflags(write=False)
    return law


def two_sided(law: Values, at: int) -> float:
    """Twice the smaller tail at `at`, at most 1: the rule by which limits have half of the error on each side."""
    return min(1.0, 2 * min(float(law[: at + 1].sum()), float(law[at:].sum())))


def floor(law: Values) -> float:
    """The smallest two-sided p under a law."""
    possible = np.flatnonzero(law)
    return min(1.0, 2 * float(min(law[possible[0]], law[possible[-1]])))


def normal_two_sided(deviation: float, variance: float) -> float:
    """Two-sided p of a deviation under the normal law; 1 where nothing can vary."""
    return math.erfc(abs(deviation) / math.sqrt(2 * variance)) if variance > 0 else 1.0
