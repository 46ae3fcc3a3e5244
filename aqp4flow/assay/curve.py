"""Dilution curves: one objective, one table of limits, three models.

The expressing cells' MFI `y` at dilution `d` (the reciprocal) is modelled, its residuals taken on the log scale:

    one-site    y = b + t / (1 + d/m)                 m: dilution at half occupancy
    4pl         y = b + t / (1 + (d/c)^h)             inflection at c
    5pl         y = b + t / (1 + (d/c)^h)^g           inflection (on log d) at c g^(-1/h)

`b` is the background at infinite dilution, `t` the span above it. All parameters are above 0 and bounded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqp4flow.model import Curve, Estimate

Array = NDArray[np.float64]
MODELS = {"one-site": ("b", "t", "m"), "4pl": ("b", "t", "m", "h"), "5pl": ("b", "t", "m", "h", "g")}
_SHAPE_LIMITS = {"h": (0.3, 4.0), "g": (0.2, 5.0)}
_STARTS = 5
_FLAT = 1.5  # a series whose highest MFI is less than this times its lowest has no curve to fit


@dataclass(frozen=True)
class Series:
    """Points of one curve: dilutions (inf for wells without serum) and MFI."""

    dilution: Array
    mfi: Array


def predict(parameters: Array, dilution: Array) -> Array:
    """MFI from natural-log parameters (b, t, m[, h[, g]])."""
    b, t, m, h, g = (float(x) for x in (*np.exp(parameters), 1.0, 1.0)[:5])
    with np.errstate(over="ignore"):
        return np.asarray(b + t / (1 + (dilution / m) ** h) ** g, np.float64)


def fit_curve(dilution: Sequence[float], mfi: Sequence[float], model: str) -> tuple[Curve | None, list[str]]:
    """Fit a model (`auto` takes the one with the lowest AICc) and say what stands in the way when none fits.

    Dilutions may hold inf for wells without serum. MFI at or below 0 has no logarithm: such points are left out
    and flagged.
    """
    points = Series(np.asarray(dilution, float), np.asarray(mfi, float))
    flags = []
    usable = points.mfi > 0
    if not usable.all():
        flags.append("curve-nonpositive")
        points = Series(points.dilution[usable], points.mfi[usable])
    tested = np.unique(points.dilution[np.isfinite(points.dilution)])
    names = [model] if model != "auto" else [name for name in MODELS if len(tested) > len(MODELS[name])]
    if not names or len(tested) <= len(MODELS[names[0]]):
        return None, [*flags, "curve-too-few"]
    if points.mfi.max() < _FLAT * points.mfi.min():
        return None, [*flags, "curve-flat"]
    fits = [_fit(points, name) for name in names]
    best = min(fits, key=lambda fit: fit.aicc)
    curve, remarks = _summary(best, tested)
    return curve, [*flags, *remarks]


@dataclass(frozen=True)
class _Fit:
    model: str
    parameters: Array
    covariance: Array
    rss: float
    n: int
    at_limit: bool

    @property
    def aicc(self) -> float:
        """Akaike's criterion corrected for few points, least-squares form (the variance counts as a parameter)."""
        k = len(self.parameters) + 1
        penalty = 2 * k * (k + 1) / (self.n - k - 1) if self.n > k + 1 else math.inf
        return self.n * math.log(max(self.rss, 1e-300) / self.n) + 2 * k + penalty


def _limits(points: Series, model: str) -> Array:
    """Lowest and highest natural-log value of each parameter, shape (n_parameters, 2)."""
    lowest, highest = float(points.mfi.min()), float(points.mfi.max())
    tested = points.dilution[np.isfinite(points.dilution)]
    table = {
        "b": (1e-4 * lowest, 1.5 * lowest),
        "t": (0.05 * highest, 100 * highest),
        "m": (1e-3 * float(tested.min()), 1e3 * float(tested.max())),
        **_SHAPE_LIMITS,
    }
    return np.log([table[name] for name in MODELS[model]])


def _fit(points: Series, model: str) -> _Fit:
    from scipy.optimize import least_squares

    limits = _limits(points, model)
    observed = np.log(points.mfi)

    def residuals(parameters: Array) -> Array:
        return np.log(predict(parameters, points.dilution)) - observed

    best = None
    for start in _starts(points, limits):
        found = least_squares(residuals, start, bounds=(limits[:, 0], limits[:, 1]), x_scale="jac", max_nfev=200)
        if best is None or found.cost < best.cost - 1e-9:
            best = found
    assert best is not None  # there is always a start
    n, k = len(observed), len(best.x)
    rss = 2 * float(best.cost)
    jacobian = np.asarray(best.jac, np.float64)
    covariance: Array = np.linalg.pinv(jacobian.T @ jacobian).astype(np.float64) * (rss / max(1, n - k))
    margin = 1e-3 * (limits[:, 1] - limits[:, 0])
    inside = (best.x > limits[:, 0] + margin) & (best.x < limits[:, 1] - margin)
    return _Fit(model, best.x, covariance, rss, n, not bool(inside[2]))


def _starts(points: Series, limits: Array) -> list[Array]:
    """Midpoints spread over the tested dilutions, the rest from the extremes of the data."""
    tested = np.log(points.dilution[np.isfinite(points.dilution)])
    guess = [math.log(0.9 * points.mfi.min()), math.log(points.mfi.max()), 0.0, 0.0, 0.0][: len(limits)]
    starts = []
    for midpoint in np.linspace(tested.min(), tested.max(), _STARTS):
        start = np.array(guess)
        start[2] = midpoint
        starts.append(np.clip(start, limits[:, 0] + 1e-6, limits[:, 1] - 1e-6))
    return starts


def _summary(fit: _Fit, tested: Array) -> tuple[Curve, list[str]]:
    from scipy.special import stdtrit

    natural = dict(zip(MODELS[fit.model], np.exp(fit.parameters).tolist(), strict=True))
    gradient = np.zeros(len(fit.parameters))
    gradient[2] = 1.0
    log_mid = float(fit.parameters[2])
    if fit.model == "5pl":  # log m - log g / h
        h, log_g = natural["h"], float(fit.parameters[4])
        log_mid -= log_g / h
        gradient[3], gradient[4] = log_g / h, -1 / h
    df = fit.n - len(fit.parameters)
    spread = math.sqrt(max(0.0, float(gradient @ fit.covariance @ gradient)))
    half = float(stdtrit(df, 0.975)) * spread if df > 0 else math.nan
    midpoint = math.exp(log_mid)
    flags = []
    if fit.at_limit or not tested.min() <= midpoint <= tested.max():
        flags.append("midpoint-outside")
    if math.isnan(half) or half > math.log(100):
        flags.append("midpoint-uncertain")
        half = math.nan
    estimate = Estimate(midpoint, midpoint * math.exp(-half), midpoint * math.exp(half))
    return Curve(fit.model, estimate, natural, math.sqrt(fit.rss / max(1, df)), tuple(flags)), flags
