"""Linear mixed model on log2: time points as factor, an effect of each patient, one of plates where it can be told.

Fitted by statsmodels (restricted maximum likelihood), whose Wald z is too sure of itself with few patients; tests and
limits are therefore those of Kenward & Roger (Biometrics 1997;53:983), computed here: the covariance of the estimates
made larger for the variances being estimated, and Student's t with Satterthwaite's degrees of freedom. With complete
visits on one plate this is the t of the two-way analysis of variance with (n - 1)(k - 1) degrees of freedom.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aqp4flow.cohort.statistics.contrasts import Contrast, empty_contrasts, remarked
from aqp4flow.cohort.statistics.longitudinal import Longitudinal, one_hot
from aqp4flow.cohort.statistics.plateplan import Layout, PlatePlan, layout, plan_plates
from aqp4flow.model import Estimate, Values

TEST = "linear mixed model"
LEAST_PATIENTS = 3
LEAST_DF = 3  # of the residual: fewer say nothing of its variance
_NO_VARIANCE = 1e-6  # a variance below this share of the residual's is none
_MOST_STEPS = 50


@dataclass(frozen=True, eq=False)
class Model:
    """y = X b + effects: the covariance of y is the sum of each variance times its matrix; the last is the residual."""

    y: Values
    x: Values
    matrices: tuple[Values, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Fit:
    """Estimates `b`, `variances` in the model's order, their covariance, and that of `b` as is and adjusted."""

    b: Values
    variances: Values
    of_variances: Values
    plain: Values
    adjusted: Values
    slopes: Values  # of the plain covariance on each variance, (variances, b, b)


def mixed_contrasts(data: Longitudinal) -> list[Contrast]:
    """Each time point against the first. Bounded values are refused: the censored model takes them.

    The same answer whatever the patients' order, to rounding; nothing is drawn.
    """
    empty = empty_contrasts(data, TEST, "model")
    row = layout(data)
    why = _refused(data, row)
    if why:
        return [remarked(contrast, why) for contrast in empty]
    plan = plan_plates(row)
    model, fit = _fitted(row, plan)
    if fit is not None and "plates" in model.names and fit.variances[1] <= _NO_VARIANCE * fit.variances[-1]:
        plan = PlatePlan("none", f"no variance found between {len(row.plates)} plates")
        model, fit = _fitted(row, plan)
    return [_contrast(data, contrast, at, (row, plan, model, fit)) for at, contrast in enumerate(empty, start=1)]


def _refused(data: Longitudinal, row: Layout) -> str:
    bounded = int(data.bounded.sum())
    if bounded:
        return f"not fitted: {bounded} of {len(row.y)} values known only as bounds; see the censored model"
    return too_little(data, row)


def too_little(data: Longitudinal, row: Layout) -> str:
    """Why no model can be fitted to so few values; empty where one can."""
    if row.n_patients < LEAST_PATIENTS:
        return f"not fitted: {row.n_patients} of {LEAST_PATIENTS} patients needed"
    if not data.measured[:, 0].any():
        return "not fitted: no value at the baseline"
    df = residual_df(data)[1]
    if df < LEAST_DF:
        exact = " of exact values" if data.bounded.any() else ""
        return f"not fitted: {max(df, 0)} of {LEAST_DF} degrees of freedom{exact} needed are left for the residual"
    return ""


def residual_df(data: Longitudinal) -> tuple[int, int]:
    """Degrees of freedom within patients before and after the time points are estimated, from exact values alone."""
    rows, columns = np.nonzero(data.exact)
    patients, times = one_hot(rows, len(data.patients)), one_hot(columns, len(data.timepoints))
    if not len(rows):
        return 0, 0
    both = np.linalg.matrix_rank(np.hstack([patients, times]))
    return len(rows) - int(np.linalg.matrix_rank(patients)), len(rows) - int(both)


# --- fitting ------------------------------------------------------------------------------------


def _fitted(row: Layout, plan: PlatePlan) -> tuple[Model, Fit | None]:
    patients, plates = row.patients, row.on_plates
    x = np.hstack([row.times, plan.columns]) if plan.kind == "fixed" else row.times
    random = [("patients", patients)] + ([("plates", plates)] if plan.kind == "random" else [])
    matrices = (*(columns @ columns.T for _, columns in random), np.eye(len(row.y)))
    model = Model(row.y, x, matrices, (*(name for name, _ in random), "residual"))
    if _exactly_fitted(model, row):
        return model, None
    start = _by_statsmodels(row, x, [columns for _, columns in random])
    return model, None if start is None else _polished(model, start)


def _by_statsmodels(row: Layout, x: Values, random: list[Values]) -> Values | None:
    """REML variances, the residual's last; None where statsmodels cannot."""
    from statsmodels.regression.mixed_linear_model import MixedLM, VCSpec

    with warnings.catch_warnings():  # whether it converged is asked of the likelihood's slope, not of a warning
        warnings.simplefilter("ignore")
        try:
            if len(random) == 1:
                found = MixedLM(row.y, x, groups=row.patient).fit(reml=True)
                variances = [float(found.cov_re[0, 0])]
            else:
                names = [[str(at) for at in range(columns.shape[1])] for columns in random]
                spec = VCSpec(["patients", "plates"], [[part] for part in names], [[columns] for columns in random])
                found = MixedLM(row.y, x, groups=np.zeros(len(row.y)), exog_vc=spec).fit(reml=True)
                variances = [float(value) for value in found.vcomp]
        except (np.linalg.LinAlgError, ValueError):
            return None
        variances.append(float(found.scale))
    return np.array(variances) if np.all(np.isfinite(variances)) and variances[-1] > 0 else None


def _polished(model: Model, start: Values) -> Fit | None:
    """The optimum by Fisher scoring from nearby; variances may fall below 0, which tells that there is none.

    None where the slope of the restricted likelihood does not vanish.
    """
    variances = start
    try:
        for _ in range(_MOST_STEPS):
            slope, information, fit = _at(model, variances)
            step = np.asarray(np.linalg.solve(information, slope), np.float64)
            if float(slope @ step) < 1e-16:
                return fit
            variances = _stepped(model, variances, step)
    except np.linalg.LinAlgError:
        return None
    return None


def _stepped(model: Model, variances: Values, step: Values) -> Values:
    """The step, halved until the covariance is one; LinAlgError where no step is."""
    for half in range(30):
        tried: Values = variances + step * math.ldexp(1.0, -half)
        if tried[-1] > 0 and np.linalg.eigvalsh(_covariance(model, tried))[0] > 1e-9 * tried[-1]:
            return tried
    raise np.linalg.LinAlgError("no step")


def _covariance(model: Model, variances: Values) -> Values:
    total: Values = np.tensordot(variances, np.stack(model.matrices), axes=1)
    return total


def _at(model: Model, variances: Values) -> tuple[Values, Values, Fit]:
    """Slope and expected information of the restricted likelihood, and what follows if this is its top."""
    x, matrices = model.x, model.matrices
    inverse = _inverse(_covariance(model, variances))
    weighted = inverse @ x
    plain = _inverse(x.T @ weighted)
    projector = inverse - weighted @ plain @ weighted.T
    turned = [projector @ matrix for matrix in matrices]
    rest = projector @ model.y
    slope = np.array(
        [(rest @ matrix @ rest - np.trace(turn)) / 2 for matrix, turn in zip(matrices, turned, strict=True)]
    )
    information = np.array([[np.sum(a * b.T) / 2 for b in turned] for a in turned])
    of_variances = _inverse(information)
    first = [weighted.T @ matrix @ weighted for matrix in matrices]
    extra = np.zeros_like(plain)
    for i, one in enumerate(matrices):
        for j, other in enumerate(matrices):
            second = weighted.T @ one @ inverse @ other @ weighted
            extra += of_variances[i, j] * (second - first[i] @ plain @ first[j])
    slopes = np.array([plain @ part @ plain for part in first])
    fit = Fit(plain @ weighted.T @ model.y, variances, of_variances, plain, plain + 2 * plain @ extra @ plain, slopes)
    return slope, information, fit


def _inverse(matrix: Values) -> Values:
    return np.asarray(np.linalg.inv(matrix), np.float64)


# --- what is told -------------------------------------------------------------------------------


def _contrast(
    data: Longitudinal, empty: Contrast, at: int, found: tuple[Layout, PlatePlan, Model, Fit | None]
) -> Contrast:
    row, plan, model, fit = found
    if at not in row.timepoints or not empty.n:
        return remarked(empty, "no patient has a value here and at the baseline")
    column = row.timepoints.index(at)
    if column in plan.lost:
        return remarked(empty, "no estimate: this time point cannot be told from the plates")
    if fit is None:
        why = "the values leave no residual" if _exactly_fitted(model, row) else "the fit did not converge"
        return replace(remarked(empty, f"no estimate: {why}"), converged=False)
    effect = float(fit.b[column] - fit.b[0])
    if fit.variances[0] <= _NO_VARIANCE * fit.variances[-1]:
        why = "no p and no limits: singular fit, the variance between patients is 0"
        return remarked(replace(empty, effect=Estimate(effect)), why, plan.note)
    return _tested(data, replace(empty, effect=Estimate(effect)), column, (plan, model, fit))


def _exactly_fitted(model: Model, row: Layout) -> bool:
    full = np.hstack([model.x, row.patients])
    rest = row.y - full @ np.linalg.pinv(full) @ row.y
    return float(np.max(np.abs(rest))) <= 1e-9 * max(float(np.max(np.abs(row.y))), 1.0)


def _tested(data: Longitudinal, contrast: Contrast, column: int, found: tuple[PlatePlan, Model, Fit]) -> Contrast:
    from scipy.stats import t as student

    plan, model, fit = found
    weights = np.zeros(model.x.shape[1])
    weights[[0, column]] = -1.0, 1.0
    slopes = np.array([weights @ slope @ weights for slope in fit.slopes])
    df = 2 * float(weights @ fit.plain @ weights) ** 2 / float(slopes @ fit.of_variances @ slopes)
    error = math.sqrt(float(weights @ fit.adjusted @ weights))
    effect, half = contrast.effect.value, float(student.ppf(0.975, df)) * error
    return remarked(
        replace(
            contrast,
            statistic=effect / error,
            df=df,
            p=2 * float(student.sf(abs(effect / error), df)),
            effect=Estimate(effect, effect - half, effect + half),
        ),
        f"Kenward-Roger t with {df:.3g} degrees of freedom",
        _spread(model, fit.variances),
        plan.note,
        _assay(data),
    )


def _spread(model: Model, variances: Values) -> str:
    parts = (f"{name} {math.sqrt(v):.2f}" for name, v in zip(model.names, variances, strict=True))
    return f"SD on log2: {', '.join(parts)}"


def _assay(data: Longitudinal) -> str:
    known: NDArray[np.float64] = np.array([]) if data.sds is None else data.sds[data.measured & ~np.isnan(data.sds)]
    return f"of the residual the assay's own {math.sqrt(float(np.mean(known**2))):.2f}" if len(known) else ""
