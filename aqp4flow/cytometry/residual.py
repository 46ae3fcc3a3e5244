"""What compensation left: how much the signal still follows the reporter where no antibody can bind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aqp4flow.cytometry.single_stains import huber_slope
from aqp4flow.model import NAN, UNKNOWN, Estimate, Values, Z

_BIN = 100  # expressing events whose spread is taken together


@dataclass(frozen=True)
class WellSlope:
    """Slope of the compensated signal on the compensated reporter in one well, its standard error, the events behind
    it, and how far the medians of the two populations lie apart on the reporter.
    """

    well: str
    slope: float
    error: float
    n: int
    reporter: float


@dataclass(frozen=True)
class Pair:
    """Reporter and signal of one population of a well, compensated, each of shape (n,)."""

    reporter: Values
    signal: Values


def well_slope(well: str, expressing: Pair, nonexpressing: Pair) -> WellSlope:
    """The robust slope over both populations (Huber), each event weighted by the spread of the signal near it.

    The reporter of non-expressing cells is their autofluorescence, which goes with the signal as large cells have more
    of both: that is no spillover, so they stand together at their median. Events of the brightest reporter spread
    widest; the spread is that of each hundred events of like reporter about a first line of equal weights, and the
    standard error (sandwich) holds whatever it is.
    """
    dark = float(np.median(nonexpressing.reporter))
    order = np.argsort(expressing.reporter, kind="stable")
    bright = expressing.reporter[order]
    x = np.concatenate([np.full(len(nonexpressing.signal), dark), bright])
    y = np.concatenate([nonexpressing.signal, expressing.signal[order]])
    rest = y - huber_slope(x, y)[0] * x
    n = len(nonexpressing.signal)
    groups = [rest[:n], *np.array_split(rest[n:], max(1, len(order) // _BIN))]
    spread = np.concatenate([np.full(len(group), _spread(group)) for group in groups])
    slope, error = huber_slope(x, y, spread)
    return WellSlope(well, slope, error, len(x), float(np.median(bright)) - dark)


def _spread(values: Values) -> float:
    """1.4826 times the median distance from the median: the SD of a normal law."""
    return max(1.4826 * float(np.median(np.abs(values - np.median(values)))), 1e-9)


def pooled(wells: Sequence[WellSlope]) -> Estimate:
    """The mean slope of wells with 95 % limits that hold what counting and what the wells themselves differ by.

    Weights and variance between wells: DerSimonian & Laird, Control Clin Trials 1986;7:177. Limits by Student's t on
    the wells' own scatter (Hartung & Knapp, Stat Med 2001;20:3875), never narrower than counting alone makes them:
    two wells that agree by chance are not certainty. A single well has the limits of counting only.
    """
    if not wells:
        return UNKNOWN
    slopes = np.array([well.slope for well in wells])
    variances = np.array([well.error**2 for well in wells])
    k, fixed = len(wells), 1 / variances
    mean = float(fixed @ slopes / fixed.sum())
    if k == 1:
        return Estimate(mean, mean - Z * wells[0].error, mean + Z * wells[0].error)
    from scipy.special import stdtrit

    scatter = float(fixed @ (slopes - mean) ** 2)
    between = max(0.0, (scatter - (k - 1)) / float(fixed.sum() - (fixed @ fixed) / fixed.sum()))
    weights = 1 / (variances + between)
    mean = float(weights @ slopes / weights.sum())
    own = math.sqrt(float(weights @ (slopes - mean) ** 2) / ((k - 1) * float(weights.sum())))
    half = max(float(stdtrit(k - 1, 0.975)) * own, Z / math.sqrt(float(weights.sum())))
    return Estimate(mean, mean - half, mean + half)


@dataclass(frozen=True)
class Residual:
    """What is left on a plate: the slope (a fraction) with its limits, the kind of wells it was seen in, the wells.

    `reporter` is the median over the wells of how far expressing cells lie above the others on the reporter.
    """

    slope: Estimate
    kind: str
    wells: tuple[WellSlope, ...]

    @property
    def reporter(self) -> float:
        """Reporter of expressing cells above that of the others."""
        return float(np.median([well.reporter for well in self.wells])) if self.wells else NAN

    @property
    def shift(self) -> Estimate:
        """The delta that the slope makes out of nothing."""
        return Estimate(*(value * self.reporter for value in (self.slope.value, self.slope.low, self.slope.high)))
