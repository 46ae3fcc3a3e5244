"""Whether a serum dilutes as the reference does: without that, its units depend on the dilution they are read at.

Two questions over the dilutions in range, asked of at least three: do the dilution-corrected units agree (their CV),
and do they follow the dilution (their trend)? Where a serum reads as the reference does at dilution^r, log(units) grows
by 1 - r per unit of log(dilution): r is the ratio of slopes, 1 when parallel. Its 90 % limits are the two one-sided
tests of equivalence at 5 % (Schuirmann 1987; USP <1032> asks for equivalence, not for a p-value).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from aqp4flow.assay.definition import ReferenceSettings
from aqp4flow.assay.units.units import InRange, SerumUnits
from aqp4flow.model import NAN, UNKNOWN, Estimate

_FEWEST = 3


@dataclass(frozen=True)
class Parallelism:
    """One serum beside the reference. `cv` is percent, `slope` the ratio of slopes with 90 % limits.

    `parallel` is yes, no, or empty with fewer than three dilutions in range; `note` says what it rests on.
    """

    plate: str
    serum: str
    n_dilutions: int
    cv: float = NAN
    slope: Estimate = UNKNOWN
    parallel: str = ""
    note: str = ""


def parallelism(plate: str, found: SerumUnits, settings: ReferenceSettings) -> Parallelism:
    """The verdict on one serum."""
    inside = found.inside
    n = len(inside.rows) if inside is not None else 0
    if inside is None or n < _FEWEST:
        return Parallelism(plate, found.serum, n, note=f"{n} dilutions in range: {_FEWEST} are needed")
    units = np.exp(inside.log_units)
    cv = 100 * float(np.std(units, ddof=1) / np.mean(units))
    slope = slope_ratio(inside)
    low, high = 1 / settings.slope_factor, settings.slope_factor
    if cv > settings.parallel_cv_percent:
        return Parallelism(plate, found.serum, n, cv, slope, "no", "CV beyond its limit")
    if slope.low > high or slope.high < low:
        return Parallelism(plate, found.serum, n, cv, slope, "no", "slope beyond its limits for certain")
    certain = low <= slope.low and slope.high <= high
    note = "slope within its limits for certain" if certain else "limits of the slope reach beyond those allowed"
    return Parallelism(plate, found.serum, n, cv, slope, "yes", note)


def slope_ratio(inside: InRange) -> Estimate:
    """1 - slope of log units on log dilution, weighted as the units are; 90 % limits from the draws of all errors.

    Where the readings scatter about the line more than their errors explain, the limits are widened by that ratio.
    """
    x = np.log([row.dilution for row in inside.rows])
    weights = inside.weights
    x = x - weights @ x
    lever = weights * x / float(weights @ x**2)
    value = 1 - float(lever @ inside.log_units)
    residual = inside.log_units - weights @ inside.log_units + (value - 1) * x
    excess = float(np.sum((residual / inside.error) ** 2)) / (len(x) - 2)
    low, high = np.quantile(-(inside.deviations @ lever), (0.05, 0.95)) * math.sqrt(max(1.0, excess))
    return Estimate(value, value + float(low), value + float(high))
