"""The cut-off: what a read-out must exceed to count as positive."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqp4flow.assay.definition import Cutoff
from aqp4flow.assay.readout import value_of
from aqp4flow.model import CutOff, Reactivity, Role


@dataclass(frozen=True)
class CutOffs:
    """The cut-offs of one plate: for delta, and for ratio or index. None when the plate has too few negatives."""

    delta: CutOff | None
    ratio: CutOff | None
    deciding: CutOff | None
    screening: float | None


def frey(readout: str, negatives: Sequence[float], confidence: float) -> CutOff:
    """Upper prediction limit for one further negative: mean + SD t(confidence, n-1) sqrt(1 + 1/n).

    Source: Frey, Di Canzio & Zurakowski, J Immunol Methods 1998;221:35. Needs n >= 2.
    """
    from scipy.special import stdtrit

    n = len(negatives)
    mean, sd = float(np.mean(negatives)), float(np.std(negatives, ddof=1))
    value = mean + sd * float(stdtrit(n - 1, confidence)) * math.sqrt(1 + 1 / n)
    return CutOff(readout, value, f"frey {100 * confidence:g} %", n, mean, sd)


def cut_offs(rows: Sequence[Reactivity], settings: Cutoff, decide: str, min_negatives: int) -> CutOffs:
    """The plate's cut-offs from its negative sera at the screening dilution (the lowest they were run at)."""
    second = decide if decide in ("ratio", "index") else "ratio"
    if settings.rule == "fixed" and settings.delta is not None:
        by_delta = CutOff("delta", settings.delta, "fixed")
        by_ratio = CutOff(second, settings.ratio, "fixed")
        return CutOffs(by_delta, by_ratio, by_delta if decide == "delta" else by_ratio, settings.screening_dilution)
    negatives = [row for row in rows if row.role is Role.NEGATIVE and row.delta.known]
    screening = settings.screening_dilution or min((row.dilution for row in negatives), default=None)
    negatives = [row for row in negatives if row.dilution == screening]
    if len(negatives) < min_negatives:
        return CutOffs(None, None, None, screening)
    by_delta = frey("delta", [row.delta.value for row in negatives], settings.confidence)
    if decide == "delta":
        by_ratio = CutOff("ratio", settings.ratio, "second criterion")
        return CutOffs(by_delta, by_ratio, by_delta, screening)
    ratios = [value for value in (value_of(row, decide) for row in negatives) if not math.isnan(value)]
    if len(ratios) < min_negatives:
        return CutOffs(None, None, None, screening)
    by_ratio = frey(decide, ratios, settings.confidence)
    return CutOffs(by_delta, by_ratio, by_ratio, screening)


def cutoff_draws(cutoff: CutOff, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """`count` cut-offs whose 2.5 and 97.5 % points are 95 % limits of the true one; constant when fixed.

    Fiducial: sigma* = SD sqrt((n-1) / chi-squared), mu* = mean + sigma* z / sqrt n.
    """
    if not cutoff.n:
        return np.full(count, cutoff.value)
    factor = (cutoff.value - cutoff.mean) / cutoff.sd if cutoff.sd > 0 else 0.0
    sigma = cutoff.sd * np.sqrt((cutoff.n - 1) / rng.chisquare(cutoff.n - 1, count))
    return np.asarray(cutoff.mean + sigma * (rng.standard_normal(count) / math.sqrt(cutoff.n) + factor), np.float64)
