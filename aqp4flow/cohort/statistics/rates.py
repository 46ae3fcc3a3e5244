"""Relapses per patient-year: exact Poisson limits, and the ratio of two rates.

Garwood F. Biometrika 1936;28:437. Ratio: Przyborowski J, Wilenski H. Biometrika 1940;31:313 (given the total, the
events after are binomial), with limits of Clopper CJ, Pearson ES. Biometrika 1934;26:404.
"""

from __future__ import annotations

import math

import numpy as np

from aqp4flow.cohort.statistics.found import LEVEL, Found, remarked
from aqp4flow.cohort.statistics.midranks import Whole
from aqp4flow.errors import AnalysisError
from aqp4flow.model import NAN, UNKNOWN, Estimate, Values

POISSON = "poisson"


def garwood(events: int, years: float) -> Estimate:
    """Events a year with exact limits; without events the lower limit is 0."""
    from scipy.special import chdtri

    _check(events, years)
    low = float(chdtri(2 * events, 1 - LEVEL / 2)) / 2 if events else 0.0
    high = float(chdtri(2 * events + 2, LEVEL / 2)) / 2
    return Estimate(events / years, low / years, high / years)


def rate_ratio(events_before: int, years_before: float, events_after: int, years_after: float) -> Found:
    """The rate after over the rate before, events of all patients together; `n` is the number of events.

    Given their total, the events after (`statistic`) are binomial: p is twice the smaller tail, and the limits are
    those of Clopper and Pearson, so that they agree with it.
    """
    _check(events_before, years_before)
    _check(events_after, years_after)
    total = events_before + events_after
    if total == 0:
        return Found(POISSON, "exact", 0, 0.0, 1.0, 1.0, UNKNOWN, "no events: no ratio")
    law = _binomial(total, years_after / (years_before + years_after))
    years = years_before / years_after
    low, high = (NAN if math.isnan(odds) else odds * years for odds in _odds(events_after, total))
    ratio = events_after / events_before * years if events_before else NAN
    found = Found(
        POISSON, "exact", total, float(events_after), _doubled(law, events_after), _doubled_floor(law),
        Estimate(ratio, low, high), "holds where relapses are independent of one another and patients share one rate",
    )  # fmt: skip
    return remarked(found, _open(events_before, events_after))


def dispersion(events: Whole, years: Values) -> float:
    """How far patients' events scatter beyond one common rate: Pearson's chi-square a degree of freedom, near 1 if not.

    NaN for less than two patients, or without events.
    """
    counts, spans = np.asarray(events, float), np.asarray(years, float)
    if len(counts) < 2 or counts.sum() == 0:
        return NAN
    expected = counts.sum() * spans / spans.sum()
    return float(((counts - expected) ** 2 / expected).sum() / (len(counts) - 1))


def _check(events: int, years: float) -> None:
    if not (events >= 0 and float(events).is_integer() and 0 < years < math.inf):
        raise AnalysisError(
            POISSON, f"{events:g} events in {years:g} years", "events are counted from 0, years are more than 0"
        )


def _open(before: int, after: int) -> str:
    if not before:
        return "no events before: the ratio has no upper limit"
    return "" if after else "no events after: the ratio may be as low as 0"


def _odds(after: int, total: int) -> tuple[float, float]:
    """Clopper and Pearson's limits of the share after, as odds; the upper is NaN where it has no end."""
    from scipy.special import betaincinv

    low = float(betaincinv(after, total - after + 1, LEVEL / 2)) if after else 0.0
    if after == total:
        return low / (1 - low), NAN
    high = float(betaincinv(after + 1, total - after, 1 - LEVEL / 2))
    return low / (1 - low), high / (1 - high)


def _binomial(total: int, share: float) -> Values:
    from scipy.stats import binom

    law: Values = binom.pmf(np.arange(total + 1), total, share)
    return law


def _doubled(law: Values, at: int) -> float:
    return min(1.0, 2 * min(float(law[: at + 1].sum()), float(law[at:].sum())))


def _doubled_floor(law: Values) -> float:
    return min(1.0, 2 * float(min(law[0], law[-1])))
