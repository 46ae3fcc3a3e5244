"""A cut between sera labelled negative and positive, and how well it tells them apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aqp4flow.model import UNKNOWN, Estimate, Z

Array = NDArray[np.float64]


def youden(negatives: Sequence[float] | Array, positives: Sequence[float] | Array) -> float:
    """The cut, halfway between two neighbouring values, of the largest sensitivity + specificity - 1.

    What exceeds it is positive. Of several that are equally good the most specific. Source: Youden, Cancer 1950;3:32.
    All values equal: that value, which tells nothing apart.
    """
    low, high = np.sort(np.asarray(negatives, float)), np.sort(np.asarray(positives, float))
    values = np.unique(np.concatenate([low, high]))
    if len(values) == 1:
        return float(values[0])
    cuts = (values[1:] + values[:-1]) / 2
    specificity = np.searchsorted(low, cuts, "right") / len(low)
    sensitivity = 1 - np.searchsorted(high, cuts, "right") / len(high)
    gain = specificity + sensitivity
    return float(cuts[np.flatnonzero(gain >= gain.max() - 1e-12)[-1]])


def area(negatives: Sequence[float], positives: Sequence[float]) -> float:
    """Area under the curve: how often a positive serum exceeds a negative one, ties counting half."""
    low = np.sort(np.asarray(negatives, float))
    below = np.searchsorted(low, positives, "left") + np.searchsorted(low, positives, "right")
    return float(below.mean() / 2 / len(low))


def share_above(values: Sequence[float], cut: float) -> tuple[int, Estimate]:
    """How many values exceed a cut, and their share with Wilson's limits."""
    above = sum(value > cut for value in values)
    return above, wilson(above, len(values))


def wilson(k: int, n: int) -> Estimate:
    """k of n as a share, with 95 % limits. Source: Wilson, J Am Stat Assoc 1927;22:209."""
    if n == 0:
        return UNKNOWN
    share, z2 = k / n, Z * Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return Estimate(share, max(0.0, middle - half) if k else 0.0, min(1.0, middle + half) if k < n else 1.0)


def clopper_pearson(k: int, n: int) -> Estimate:
    """k of n as a share, with exact 95 % limits. Source: Clopper & Pearson, Biometrika 1934;26:404."""
    from scipy.special import betaincinv

    if n == 0:
        return UNKNOWN
    low = float(betaincinv(k, n - k + 1, 0.025)) if k else 0.0
    high = float(betaincinv(k + 1, n - k, 0.975)) if k < n else 1.0
    return Estimate(k / n, low, high)
