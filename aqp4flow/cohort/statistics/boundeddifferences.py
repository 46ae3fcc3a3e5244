"""Differences known only to lie below or above a value: all that they may be, as far as ranks can tell."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aqp4flow.cohort.statistics.midranks import Whole, distinct, tolerance
from aqp4flow.model import NAN, Values

MOST_COMPARED = 20_000_000  # comparisons of two differences, over all orders tried
FAR = 1e4  # an open end lies beyond all others by this factor

#: Two-sided p of a doubled sum of ranks, given the doubled ranks of all differences that are not 0.
Law = Callable[[tuple[int, ...], int], float]


@dataclass(frozen=True)
class Spread:
    """The smallest and the largest that all differences can be; what lies beyond `edge` stands for an open end."""

    least: Values
    most: Values
    edge: float

    def finite(self, value: float) -> float:
        """The value, NaN where it comes from an open end."""
        return value if abs(value) <= self.edge else NAN


def spread(known: Values, codes: Whole) -> Spread:
    """Both ends of all differences. Open ends are far, and none ties with another."""
    largest = _largest(known, codes)
    far = largest * FAR * (1 + np.arange(len(known)))
    least = np.where((codes == -1) | (codes == 2), -far, known)
    most = np.where((codes == 1) | (codes == 2), far, known)
    return Spread(least, most, 10 * largest)


def worst(known: Values, codes: Whole, within: float, p: Law) -> tuple[float, int, bool]:
    """The largest p over what the bounded may be, its doubled sum of ranks, and whether every order was tried.

    With few of them every order among all differences is tried, ties included. With many, p is 1 where the sum of
    ranks can lie on either side of its middle; else the largest of both ends of the bounds, and just within them.
    """
    choices = [_places(known, codes, int(one)) for one in np.flatnonzero(codes)]
    if math.prod(len(places) for places in choices) * len(known) ** 2 > MOST_COMPARED:
        return *_worst_of_ends(known, codes, within, p), False
    axes = np.meshgrid(*choices, indexing="ij")
    filled = np.tile(known, (axes[0].size, 1))
    filled[:, codes != 0] = np.stack([np.ravel(axis) for axis in axes], axis=1)
    return *max(_tried(filled, within, p)), True


def _tried(filled: Values, within: float, p: Law) -> list[tuple[float, int]]:
    """p and doubled sum of ranks of each arrangement, shape (arrangements, n), once where ranks are alike."""
    sizes = np.abs(filled)
    smaller = (sizes[:, None, :] < sizes[:, :, None] - within).sum(axis=2)
    larger = (sizes[:, None, :] > sizes[:, :, None] + within).sum(axis=2)
    ranks = np.where(sizes > within, smaller + (filled.shape[1] - larger) + 1, 0)
    rises = np.where(filled > 0, ranks, 0).sum(axis=1)
    rows = np.unique(np.column_stack([np.sort(ranks, axis=1), rises]), axis=0)
    return [(p(tuple(int(rank) for rank in row[:-1] if rank), int(row[-1])), int(row[-1])) for row in rows]


def _places(known: Values, codes: Whole, one: int) -> Values:
    """Values that put a bounded difference into every order with the others that it may have."""
    largest, bounded = _largest(known, codes), int(np.count_nonzero(codes))
    marks = distinct(np.abs(np.append(known[codes != 2], 0.0)), tolerance(known[codes != 2]))
    ends = np.append(marks[1:], marks[-1] + largest)
    steps = np.arange(1, bounded + 1) / (bounded + 1)
    sizes = np.concatenate([marks, np.ravel(marks[:, None] + (ends - marks)[:, None] * steps)])
    places: Values = np.unique(np.concatenate([-sizes, sizes]))
    if codes[one] == 2:
        return places
    allowed: Values = places[codes[one] * (places - known[one]) >= -tolerance(known[codes != 2])]
    return allowed


def _worst_of_ends(known: Values, codes: Whole, within: float, p: Law) -> tuple[float, int]:
    ends = spread(known, codes)
    nudge = np.where(codes != 0, 1e-6 * _largest(known, codes) * (1 + np.arange(len(known))) / len(known), 0.0)
    filled = (ends.least, ends.least - nudge, ends.most, ends.most + nudge)
    tried = [_tried(differences[None, :], within, p)[0] for differences in filled]
    sides = [_side(differences, rises, within) for differences, (_, rises) in zip(filled, tried, strict=True)]
    largest, rises = max(tried)
    return (1.0 if min(sides) <= 0 <= max(sides) else largest), rises


def _side(differences: Values, rises: int, within: float) -> float:
    """Sum of signed ranks, doubled: 0 in the middle. Zeros count on neither side."""
    n, zeros = len(differences), int(np.count_nonzero(np.abs(differences) <= within))
    return rises - (n * (n + 1) - zeros * (zeros + 1)) / 2


def _largest(known: Values, codes: Whole) -> float:
    finite = np.abs(known[codes != 2])
    return float(finite.max()) if len(finite) and finite.max() > 0 else 1.0


def open_remark(low: float, high: float) -> str:
    """Where a shift lies that bounds leave open; NaN is an open side."""
    if math.isnan(low) and math.isnan(high):
        return "the bounds leave the shift open"
    if math.isnan(low):
        return f"the shift is at most {high:.6g}"
    if math.isnan(high):
        return f"the shift is at least {low:.6g}"
    return f"the shift lies between {low:.6g} and {high:.6g}"
