"""The rules that make a cut-off from sera, each with the share of further negatives that will exceed it.

All work on the scale of `Sera`. A rule that cannot be followed answers with a refusal, never with another rule.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import fmean, stdev
from typing import Literal

import numpy as np

from aqp4flow.assay.cutoffs.negatives import Refusal, Sera
from aqp4flow.assay.cutoffs.roc import area, share_above, youden
from aqp4flow.assay.definition import Cutoff
from aqp4flow.model import NAN, UNKNOWN, Estimate

#: Makes the median absolute deviation of a normal law its SD.
MAD_TO_SD = 1.482602218505602


@dataclass(frozen=True)
class Made:
    """A cut-off on the scale of its rule: its factor on the SD (NaN where there is none), words, false positives."""

    value: float
    rule: str
    form: Literal["moments", "robust", "order", "youden"]
    factor: float = NAN
    rank: int = 0
    false_positives: Estimate = UNKNOWN
    counted: int = 0
    sensitivity: Estimate = UNKNOWN
    remarks: tuple[str, ...] = ()


def make(sera: Sera, settings: Cutoff) -> Made | Refusal:
    """The cut-off of `sera` by the rule of the settings (any but `fixed`)."""
    match settings.rule:
        case "mean-sd":
            return _moments(sera, settings.k, f"mean + {settings.k:g} SD")
        case "robust":
            return _robust(sera, settings.k)
        case "percentile":
            if settings.law == "any":
                return _order(sera, settings)
            return _moments(sera, percentile_factor(sera, settings), _percentile_words(settings))
        case "roc":
            return _roc(sera, settings.roc_point)
        case _:
            return _frey(sera, settings.confidence)


# --- mean and SD ----------------------------------------------------------------------------------


def frey_factor(confidence: float, df: int, m: int, scatter: float = 0.0) -> float:
    """Factor of the upper prediction limit for one further negative: t(confidence, df) sqrt(1 + 1/m).

    The mean is of m values, the SD has df degrees of freedom (m - 1 where it is of the same values). Source: Frey, Di
    Canzio & Zurakowski, J Immunol Methods 1998;221:35. Where the SD was scaled by that mean, `scatter` is their
    quotient, and an error of the mean moves the cut-off by 1 + factor x scatter: the factor k that solves
    k = t sqrt(1 + (1 + k scatter)^2 / m); NaN where none does.
    """
    from scipy.special import stdtrit

    square = float(stdtrit(df, confidence)) ** 2
    slope = square * scatter / m
    rest = 1 - slope * scatter
    if not rest > 0:
        return math.nan
    return (slope + math.sqrt(slope**2 + rest * square * (1 + 1 / m))) / rest


def prediction_limit(values: Sequence[float], confidence: float) -> float:
    """Frey's upper limit for one further value of a normal law, from two values or more."""
    return fmean(values) + frey_factor(confidence, len(values) - 1, len(values)) * stdev(values)


def _frey(sera: Sera, confidence: float) -> Made | Refusal:
    factor = frey_factor(confidence, sera.df, sera.m, sera.scatter)
    if math.isnan(factor):
        message = (
            f"{sera.m} negative sera, with an SD of {100 * sera.scatter:.3g} % of their mean, are too few to scale a"
            " history by: no factor keeps the promise. Run more negatives, or float by addition."
        )
        return Refusal("cutoff-floating", sera.m, "more negatives on the plate", message)
    return _moments(sera, factor, f"frey {100 * confidence:.15g} %")


def exceeding(factor: float, df: int, m: int, scatter: float = 0.0) -> float:
    """Share of further negatives of a normal law above mean + factor SD: 1 - T(factor / sqrt(1 + (1 + k s)^2 / m)).

    k is the factor, s the `scatter` of an SD that was scaled by the mean, else 0.

    Of all plates together: on one plate it is more or less, as its cut-off happens to lie.
    """
    from scipy.special import stdtr

    return float(stdtr(df, -factor / math.sqrt(1 + (1 + factor * scatter) ** 2 / m)))


def tolerance_factor(share: float, confidence: float, df: int, m: int) -> float:
    """Factor k for which mean + k SD lies above that share of a normal law with that confidence.

    t(confidence, df, share's normal point x sqrt(m)) / sqrt(m) of the noncentral t. With `confidence` below one half it
    is the lower limit of the share's point at 1 - confidence. Source: Krishnamoorthy & Mathew, Statistical Tolerance
    Regions, 2009, section 2.2.
    """
    from scipy.special import nctdtrit, ndtri

    return float(nctdtrit(df, float(ndtri(share)) * math.sqrt(m), confidence)) / math.sqrt(m)


def percentile_factor(sera: Sera, settings: Cutoff) -> float:
    """Factor on the SD of the percentile of a normal law, or of its one-sided lower or upper limit."""
    from scipy.special import ndtri

    share, confidence = settings.percentile / 100, settings.limit_confidence
    if settings.limit == "estimate":
        return float(ndtri(share))
    return tolerance_factor(share, confidence if settings.limit == "upper" else 1 - confidence, sera.df, sera.m)


def _percentile_words(settings: Cutoff) -> str:
    percentile = f"percentile {settings.percentile:.15g}"
    if settings.limit == "estimate":
        return percentile
    return f"{settings.limit} {100 * settings.limit_confidence:.15g} % limit of {percentile}"


def _moments(sera: Sera, factor: float, words: str) -> Made:
    rate = Estimate(exceeding(factor, sera.df, sera.m, sera.scatter)) if sera.sd > 0 else UNKNOWN
    return Made(sera.mean + factor * sera.sd, words, "moments", factor, false_positives=rate)


# --- median and order statistics ------------------------------------------------------------------


def _robust(sera: Sera, k: float) -> Made:
    median, mad = median_and_mad(sera)
    rate = Estimate(robust_rate(len(sera.negatives), k)) if mad > 0 else UNKNOWN
    return Made(median + k * MAD_TO_SD * mad, f"median + {k:g} x 1.4826 MAD", "robust", k, false_positives=rate)


def median_and_mad(sera: Sera) -> tuple[float, float]:
    """Median of the negatives, and the median of their distances from it."""
    values = np.asarray(sera.negatives)
    median = float(np.median(values))
    return median, float(np.median(np.abs(values - median)))


@lru_cache
def robust_rate(n: int, k: float) -> float:
    """Share of further negatives of a normal law above median + k x 1.4826 MAD of n.

    Mean of the exact share over 20,000 simulated sets (fewer of large ones) from a start of its own: within 2 % of
    itself for 3 MAD of 10.
    """
    from scipy.special import ndtr

    rng = np.random.default_rng([n, 20140315])
    shares = []
    for _ in range(20):
        drawn = rng.standard_normal((max(20, min(1000, 100_000 // n)), n))
        median = np.median(drawn, axis=1)
        mad = np.median(np.abs(drawn - median[:, None]), axis=1)
        shares.append(float(np.mean(ndtr(-(median + k * MAD_TO_SD * mad)))))
    return float(np.mean(shares))


def _order(sera: Sera, settings: Cutoff) -> Made | Refusal:
    """A percentile, or its limit, as one of the values itself: no law is assumed."""
    n, share = len(sera.negatives), settings.percentile / 100
    rank = order_rank(n, share, settings.limit, settings.limit_confidence)
    words = f"{_percentile_words(settings)}, distribution-free"
    if rank is None:
        least = next(m for m in range(n + 1, 10**6) if order_rank(m, share, settings.limit, settings.limit_confidence))
        message = f"The {words} needs {least} negatives, and there are {n}: take law = 'normal', or a history."
        return Refusal("cutoff-order", n, f">= {least} negatives", message)
    rate = Estimate((n + 1 - rank) / (n + 1))
    return Made(sorted(sera.negatives)[rank - 1], f"{words} (rank {rank})", "order", rank=rank, false_positives=rate)


def order_rank(n: int, share: float, limit: str, confidence: float) -> int | None:
    """Rank from the smallest of n values that is the percentile or its one-sided limit; None: n is too small.

    The estimate is the smallest value that a further one exceeds with a chance of at most 1 - share (rank / (n + 1) is
    exact for any continuous law); limits are binomial. Source: David & Nagaraja, Order Statistics, 2003, section 7.1.
    """
    from scipy.special import bdtr

    if limit == "estimate":
        rank = math.ceil(share * (n + 1) - 1e-9)
        return rank if rank <= n else None
    ranks = np.arange(1, n + 1)
    below = np.asarray(bdtr(ranks - 1.0, n, share))  # chance that the value of this rank lies above the percentile
    fit = ranks[below >= confidence] if limit == "upper" else ranks[1 - below >= confidence]
    if not len(fit):
        return None
    return int(fit[0] if limit == "upper" else fit[-1])


# --- labelled sera --------------------------------------------------------------------------------


def _roc(sera: Sera, point: Literal["youden", "specific"]) -> Made | Refusal:
    negatives, positives = sera.negatives, sera.positives
    if len(positives) < 3:
        message = f"Rule 'roc' needs sera labelled positive at the screening dilution: there are {len(positives)}."
        return Refusal("cutoff-roc", len(negatives), ">= 3 positive sera", message)
    best, clean = youden(negatives, positives), max(negatives)
    if share_above(positives, best)[1].value <= share_above(negatives, best)[1].value:
        message = f"No cut-off tells the positive sera from the negative ones (area {area(negatives, positives):.3g})."
        return Refusal("cutoff-roc", len(negatives), "positive sera above negative ones", message)
    value = best if point == "youden" else clean
    remark = f"Area under the curve {area(negatives, positives):.3g} of {len(positives)} positive sera. "
    remark += f"{_operating(sera, best, 'Youden')}; {_operating(sera, clean, '100 % specificity')}."
    words = "roc, Youden" if point == "youden" else "roc, 100 % specificity"
    return Made(
        value,
        words,
        "youden" if point == "youden" else "order",
        rank=len(negatives),
        false_positives=share_above(negatives, value)[1],
        counted=len(negatives),
        sensitivity=share_above(positives, value)[1],
        remarks=(remark,),
    )


def _operating(sera: Sera, cut: float, words: str) -> str:
    true, false = share_above(sera.positives, cut)[1], share_above(sera.negatives, cut)[1]
    specificity = Estimate(1 - false.value, 1 - false.high, 1 - false.low)
    return f"{words}: {sera.shown(cut):.4g} with sensitivity {percent(true)}, specificity {percent(specificity)}"


def percent(share: Estimate) -> str:
    """A share in percent, with its limits where it has any."""
    if math.isnan(share.low):
        return f"{100 * share.value:.2g} %"
    return f"{100 * share.value:.3g} % ({100 * share.low:.3g} to {100 * share.high:.3g})"
