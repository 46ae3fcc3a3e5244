"""Dilution curves of a plate: which model, where the midpoint lies, what stands off the curve, what others may draw."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from aqp4flow.assay.curves.bindingmodel import MODELS, Array, Scale, Weights, predict, to_natural
from aqp4flow.assay.curves.curvefit import Fit, Series, fit_all
from aqp4flow.assay.curves.offcurve import LEAST_FACTOR, Stray, find_strays
from aqp4flow.model import NAN, Check, Curve, CurveLaw, Estimate, OffCurve, Titration, Verdict

__all__ = ["MODELS", "Scale", "Series", "fit_curve", "fit_curves", "off_curve_checks", "parameter_draws", "predict"]

Outliers = Literal["leave-out", "keep"]
Found = tuple[Curve | None, list[str]]
FLAT = 1.5  # a series whose highest reading is less than this times its lowest has no curve to fit
MISFIT = 0.30  # residual SD, relative
DECISIVE = 2.0  # AICc by which a larger model must be lower
_WIDEST = math.log(100)


def fit_curve(series: Series, model: str, weights: Weights = "1/y2", outliers: Outliers = "leave-out") -> Found:
    """`fit_curves` of one series."""
    return fit_curves([series], model, weights, outliers)[0]


def fit_curves(
    batch: Sequence[Series], model: str, weights: Weights = "1/y2", outliers: Outliers = "leave-out"
) -> list[Found]:
    """The curve of each series and its flags; None with the reason where no curve can be fitted.

    `model`: one-site, 4pl, 5pl, or auto. `weights` and `outliers` as in assay.toml. All series are fitted at once, and
    none depends on which others stand in the batch.
    """
    found: list[Found] = [(None, _hindrance(series, model)) for series in batch]
    open_ = [i for i, (_, flags) in enumerate(found) if not flags]
    whole = _chosen([batch[i] for i in open_], model, weights)
    strays = find_strays([batch[i] for i in open_], model)
    cleaned = [batch[i] if s is None else batch[i].without(s.dilution) for i, s in zip(open_, strays, strict=True)]
    dropped = [j for j, stray in enumerate(strays) if stray is not None]
    others = dict(zip(dropped, _chosen([cleaned[j] for j in dropped], model, weights), strict=True))
    for j, i in enumerate(open_):
        curve, stray = _curve(batch[i], whole[j], weights), strays[j]
        if stray is not None:
            curve = _with_stray(curve, _curve(cleaned[j], others[j], weights), stray, outliers)
        found[i] = (curve, list(curve.flags))
    return found


def _hindrance(series: Series, model: str) -> list[str]:
    smallest = "one-site" if model == "auto" else model
    if len(series.tested) <= len(MODELS[smallest]):
        return ["curve-too-few"]
    height = Scale("1/y2", np.array(series.floor)).of(series.mfi)
    return ["curve-flat"] if height.max() - height.min() < math.log(FLAT) else []


def _chosen(batch: Sequence[Series], model: str, weights: Weights) -> list[Fit]:
    """Each series' fit; under `auto` a larger model only if its AICc is lower by 2 or more than every smaller one's."""
    if model != "auto":
        return fit_all(batch, model, weights)
    offered: list[list[Fit]] = [[] for _ in batch]
    for name, parameters in MODELS.items():
        able = [i for i, series in enumerate(batch) if len(series.tested) > len(parameters)]
        for i, fit in zip(able, fit_all([batch[i] for i in able], name, weights), strict=True):
            if not offered[i] or fit.aicc <= min(smaller.aicc for smaller in offered[i]) - DECISIVE:
                offered[i].append(fit)
    return [fits[-1] for fits in offered]


def _curve(series: Series, fit: Fit, weights: Weights) -> Curve:
    names = MODELS[fit.model]
    natural = to_natural(fit.parameters)
    variance = fit.rss / fit.df if fit.df > 0 else math.nan
    law = CurveLaw(fit.parameters, fit.unscaled * variance, fit.limits, fit.df)
    midpoint, flags = _midpoint(fit, law)
    tested = series.tested
    if fit.at_limit[2] or not tested[0] <= midpoint.value <= tested[-1]:
        flags.insert(0, "midpoint-outside")
    relative = _relative_sd(series, natural, fit.df)
    if relative > MISFIT:
        flags.append("curve-misfit")
    if np.delete(fit.at_limit, 2).any():
        flags.append("curve-at-limit")
    if not fit.settled:
        flags.append("curve-unsettled")
    parameters = dict(zip(names, natural.tolist(), strict=False))
    sd = math.sqrt(variance) if fit.df > 0 else math.nan
    return Curve(fit.model, midpoint, parameters, sd, tuple(flags), law=law, relative_sd=relative, weights=weights)


def _midpoint(fit: Fit, law: CurveLaw) -> tuple[Estimate, list[str]]:
    """The midpoint with Wald limits on the log scale: Student's t with the points beyond the parameters."""
    gradient = np.zeros(len(fit.parameters))
    gradient[2] = 1.0
    center = float(fit.parameters[2])
    if fit.model == "5pl":  # ln m - ln g / h
        h, log_g = math.exp(fit.parameters[3]), float(fit.parameters[4])
        center -= log_g / h
        gradient[3], gradient[4] = log_g / h, -1 / h
    half = math.inf
    if law.df > 0:
        from scipy.special import stdtrit

        spread = math.sqrt(max(0.0, float(gradient @ law.covariance @ gradient)))
        half = float(stdtrit(law.df, 0.975)) * spread
    value = math.exp(center)
    if not half <= _WIDEST:
        return Estimate(value), ["midpoint-uncertain"]
    return Estimate(value, value * math.exp(-half), value * math.exp(half)), []


def _relative_sd(series: Series, natural: Array, df: int) -> float:
    """Residual SD on the 1/y2 scale, whatever the weights: relative errors of readings above the noise."""
    scale = Scale("1/y2", np.array(series.floor))
    residuals = scale.of(predict(natural, series.dilution)) - scale.of(series.mfi)
    return math.sqrt(float(residuals @ residuals) / df) if df > 0 else math.nan


def _with_stray(whole: Curve, without: Curve, stray: Stray, outliers: Outliers) -> Curve:
    off = OffCurve(
        dilution=stray.dilution,
        reading=stray.reading,
        expected=stray.expected,
        factor=stray.factor,
        midpoint_with=whole.midpoint,
        midpoint_without=without.midpoint,
        left_out=outliers == "leave-out",
    )
    kept = without if off.left_out else whole
    return replace(kept, flags=("off-curve", *kept.flags), off=off)


def parameter_draws(curve: Curve, count: int, rng: np.random.Generator) -> Array:
    """Draws of natural b, t, m, h, g, (count, 5), over the fit's error; h and g are 1 where the model has none.

    Student's t about the optimum (so that quantiles of ln m are the midpoint's limits), each draw brought within the
    limits of the parameters. Without points beyond the parameters there is no error to draw from: all NaN.
    """
    law = curve.law
    if law is None or law.df <= 0:
        return np.full((count, 5), NAN)
    k = len(law.parameters)
    values, vectors = np.linalg.eigh((law.covariance + law.covariance.T) / 2)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    normal = rng.standard_normal((count, k)) @ root.T
    heavy = np.sqrt(law.df / rng.chisquare(law.df, count))
    return to_natural(np.clip(law.parameters + normal * heavy[:, None], law.limits[:, 0], law.limits[:, 1]))


def off_curve_checks(titrations: Sequence[Titration]) -> list[Check]:
    """A warning for each dilution that lies off its serum's curve, with the midpoint with and without it."""
    checks = []
    for titration in titrations:
        off = titration.curve.off if titration.curve else None
        if off is not None:
            where, limit = f"{titration.plate}/{titration.serum}", f"below {LEAST_FACTOR:g}-fold"
            checks.append(Check("serum", where, "off-curve", off.factor, limit, Verdict.WARN, _told(off)))
    return checks


def _told(off: OffCurve) -> str:
    way = "below" if off.reading < off.expected else "above"
    done = "left out of the curve only" if off.left_out else "kept in the curve"
    return (
        f"At 1:{off.dilution:g} the reading is {off.reading:.4g} where the other dilutions expect {off.expected:.4g}: "
        f"{off.factor:.3g}-fold {way} their curve; {done}. Midpoint without it {_reach(off.midpoint_without)}, with it "
        f"{_reach(off.midpoint_with)}. Look at the well; exclude it if it failed."
    )


def _reach(midpoint: Estimate) -> str:
    if math.isnan(midpoint.low):
        return f"{midpoint.value:.4g} (no limits)"
    return f"{midpoint.value:.4g} ({midpoint.low:.4g} to {midpoint.high:.4g})"
