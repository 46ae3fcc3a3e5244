"""Dilutions that lie off the curve on which all the others agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aqp4flow.assay.curves.bindingmodel import MODELS, Array, Scale, response
from aqp4flow.assay.curves.curvefit import RELATIVE_ERROR, Fit, Series, fit_all

LEAST_FACTOR = 2.0
CHANCE = 1e-4
_FAR = 3 * RELATIVE_ERROR  # residual SD of a curve that is too far from its points to tell which are strays
_PRIOR = 4  # points that scatter by RELATIVE_ERROR, counted beside the series' own
_SHARED = 3 * RELATIVE_ERROR  # a reading that far below the curve of the rest shares a hook
_PART = 0.2  # and the nearer of the two lies off by at least this part of the farther one's distance


@dataclass(frozen=True)
class Stray:
    """A dilution off the curve of the others: what it reads, what they expect, the factor between, and Student's t."""

    dilution: float
    reading: float
    expected: float
    factor: float
    t: float


def searched_with(series: Series, model: str) -> str | None:
    """The model on which the others must agree; None when too few points would be left to settle it or the curve.

    4pl, whatever the curve's own model: a curve that is steeper or flatter than one site's is no stray, and a series
    with a stray says nothing about which model it follows. Infinite dilution counts as one. Where even so too few are
    left for 4pl, one-site, if that is what was asked for.
    """
    left = len(series.tested) - 1
    if left <= len(MODELS["one-site" if model == "auto" else model]):
        return None
    if left + bool(np.isinf(series.dilution).any()) > len(MODELS["4pl"]):
        return "4pl"
    return "one-site" if model == "one-site" else None


def find_strays(batch: Sequence[Series], model: str) -> list[Stray | None]:
    """The one dilution of each series, if any, that the curve through all other points does not explain.

    Each tested dilution in turn is left out, and the curve of the rest is compared with it on the 1/y2 scale, whatever
    the weights of the curve. It is off when it differs by LEAST_FACTOR or more, *and* chance explains the difference
    less than once in 10,000 by Student's t, in which the residual variance of the others counts together with that of
    four points that scatter by 10 % (few points may agree by luck), and the curve's own uncertainty at that dilution
    is added. Of several, the one with the largest t. The first dilutions are not called off where two or more of them
    lie below the curve of the rest together: that is a hook. Nor is the first above the curve of the rest, or the last
    below it in a series that ends without wells without serum: there the curve may just begin or end.
    """
    found: list[Stray | None] = [None] * len(batch)
    for name in ("4pl", "one-site"):
        owners = [i for i, series in enumerate(batch) if searched_with(series, model) == name]
        whole = fit_all([batch[i] for i in owners], name, "1/y2")
        tries = [(i, d) for i, fit in zip(owners, whole, strict=True) for d in _suspects(batch[i], fit)]
        fits = fit_all([batch[i].without(d) for i, d in tries], name, "1/y2")
        for (i, dilution), fit in zip(tries, fits, strict=True):
            stray = _judged(batch[i], dilution, fit)
            best = found[i]
            if stray is not None and (best is None or stray.t > best.t):
                found[i] = stray
    hooks = _hooks(batch, found)
    return [None if i in hooks else stray for i, stray in enumerate(found)]


def _suspects(series: Series, fit: Fit) -> list[float]:
    """The dilutions that are worth a fit without them; all, where the curve of all points is far from them.

    Else those without which the sum of squares would fall by half or more of what Student's t asks for. To first order
    it falls by e²/(1 - h) without a point of residual e and leverage h.
    """
    tested: list[float] = series.tested.tolist()
    if len(series.mfi) > len(np.unique(series.dilution)) and np.isfinite(series.dilution).sum() > len(tested):
        return tested  # replicates: the first order of one point is not that of several
    if fit.df < 1 or fit.rss > fit.df * _FAR**2:
        return tested
    jacobian = fit.jacobian
    leverage = np.clip(((jacobian @ fit.unscaled) * jacobian).sum(axis=1), 0.0, 0.999)
    fall = fit.residuals**2 / (1 - leverage)
    square = _critical(fit.df - 1) ** 2
    asked = square * (_PRIOR * RELATIVE_ERROR**2 + fit.rss) / (_PRIOR + fit.df - 1 + square)
    return [d for d, gain in zip(series.dilution.tolist(), fall, strict=True) if gain > asked / 2 and math.isfinite(d)]


def _critical(df: int) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(_PRIOR + df, 1 - CHANCE / 2))


def _judged(series: Series, dilution: float, fit: Fit) -> Stray | None:
    scale = Scale("1/y2", np.array(series.floor))
    reading, derivatives = response(fit.parameters[None], np.array([[math.log(dilution)]]))
    expected = float(reading[0, 0])
    gradient = derivatives[0, 0] * scale.slope(reading[0, 0])
    here = series.mfi[series.dilution == dilution]
    off = float(scale.of(here).mean() - scale.of(reading[0, 0]))
    variance = (_PRIOR * RELATIVE_ERROR**2 + fit.rss) / (_PRIOR + fit.df)
    error = math.sqrt(variance * (1 / len(here) + float(gradient @ fit.unscaled @ gradient)))
    factor, t = math.exp(min(abs(off), 700.0)), abs(off) / error
    if factor < LEAST_FACTOR or t < _critical(fit.df) or _may_begin(series, dilution, off):
        return None
    return Stray(dilution, float(here.mean()), expected, factor, t)


def _may_begin(series: Series, dilution: float, off: float) -> bool:
    """Whether the others cannot know what is read there: beyond them, where a curve has yet to rise or to fall."""
    if dilution == series.tested[0]:
        return off > 0
    return dilution == series.tested[-1] and off < 0 and not np.isinf(series.dilution).any()


def _hooks(batch: Sequence[Series], strays: Sequence[Stray | None]) -> set[int]:
    """Those whose first two dilutions both lie below the curve of the rest: too much antibody, not a failed well."""
    low = [i for i, s in enumerate(strays) if s and s.reading < s.expected and s.dilution in batch[i].tested[:2]]
    low = [i for i in low if len(batch[i].tested) - 2 > len(MODELS["one-site"])]
    found = set()
    for name in ("4pl", "one-site"):
        owners = [i for i in low if searched_with(batch[i].without(batch[i].tested[0]), "one-site") == name]
        rest = [batch[i].without(batch[i].tested[0]).without(batch[i].tested[1]) for i in owners]
        for i, fit in zip(owners, fit_all(rest, name, "1/y2"), strict=True):
            first_two = np.log(batch[i].tested[None, :2])
            expected = _height(batch[i], response(fit.parameters[None], first_two)[0][0])
            below = expected - _means(batch[i], batch[i].tested[:2])
            if below.min() > max(_SHARED, _PART * below.max()):
                found.add(i)
    return found


def _height(series: Series, reading: Array) -> Array:
    return Scale("1/y2", np.array(series.floor)).of(reading)


def _means(series: Series, dilutions: Array) -> Array:
    """Mean height of each dilution's readings."""
    return np.array([_height(series, series.mfi[series.dilution == dilution]).mean() for dilution in dilutions])
