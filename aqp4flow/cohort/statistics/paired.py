"""Student's t of paired differences (Student. Biometrika 1908;6:1): what many papers print beside their means."""

from __future__ import annotations

import math

import numpy as np

from aqp4flow.cohort.statistics.found import LEVEL, Found, impossible
from aqp4flow.cohort.statistics.midranks import tolerance
from aqp4flow.errors import AnalysisError
from aqp4flow.model import Estimate, Values

PAIRED_T = "paired-t"


def paired_t(differences: Values) -> Found:
    """The t test of differences (n,), after minus before, with the mean and its limits.

    p holds where differences follow a normal law, and has no floor. Without a spread there is no t: the note says so.
    """
    known = np.asarray(differences, float)
    if not np.all(np.isfinite(known)):
        raise AnalysisError(PAIRED_T, "a difference is missing", "hand on the patients seen at both time points")
    n = len(known)
    if n < 2:
        return impossible(PAIRED_T, n, "a standard deviation needs two patients")
    if np.ptp(known) <= tolerance(known):
        return impossible(PAIRED_T, n, f"all differences are {known[0]:.6g}: no spread to compare them with")
    return paired_t_of(float(known.mean()), float(known.std(ddof=1)), n)


def paired_t_of(mean: float, sd: float, n: int) -> Found:
    """The same from the mean and SD (n - 1) of n differences, as a paper may print them."""
    from scipy.special import stdtr, stdtrit

    error = sd / math.sqrt(n)
    t = mean / error
    half = float(stdtrit(n - 1, 1 - LEVEL / 2)) * error
    p = 2 * float(stdtr(n - 1, -abs(t)))
    note = f"SD of the differences {sd:.4g}; holds where differences follow a normal law"
    return Found(PAIRED_T, "asymptotic", n, t, p, 0.0, Estimate(mean, mean - half, mean + half), note)
