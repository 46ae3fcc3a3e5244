"""Mixed model on log2 for titers of which some are only bounds: maximum likelihood, nothing put in their place.

Tests and limits are those of the profile likelihood, with a guard for few patients: with m = exact values less patients
and df = m less contrasts, the ratio is turned into Student's t by t^2 = df (exp(ratio / m) - 1). Where nothing is
bounded and all visits are there, this is the exact t of the analysis of variance, as the linear mixed model gives it;
bounded values lend no degrees of freedom.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from aqp4flow.cohort.statistics.censoredlikelihood import Block, blocks, log_likelihood
from aqp4flow.cohort.statistics.contrasts import Contrast, empty_contrasts, remarked
from aqp4flow.cohort.statistics.longitudinal import Longitudinal
from aqp4flow.cohort.statistics.mixed import residual_df, too_little
from aqp4flow.cohort.statistics.plateplan import layout
from aqp4flow.model import NAN, Bound, Estimate, Values

TEST = "censored mixed model"
_NO_SD = 1e-3  # an SD between patients below this share of the residual's is none
_MOST_STEPS = 200
_FARTHEST = 60.0  # log2 from the estimate: a limit beyond is none


@dataclass(frozen=True, eq=False)
class Top:
    """A maximum of the likelihood: its height, where, and whether it was reached."""

    height: float
    theta: Values
    reached: bool


@dataclass(frozen=True, eq=False)
class Problem:
    """Likelihood of some time points (`columns` of the table), and the law its ratios follow: `m` and `df`."""

    parts: tuple[Block, ...]
    columns: tuple[int, ...]
    start: Values
    m: int
    df: int

    def t(self, ratio: float) -> float:
        """Student's t that a likelihood ratio (twice the difference of logs) stands for."""
        return math.sqrt(self.df * math.expm1(max(ratio, 0.0) / self.m))

    def ratio(self, t: float) -> float:
        """The likelihood ratio that a t stands for."""
        return self.m * math.log1p(t * t / self.df)


def censored_contrasts(data: Longitudinal) -> list[Contrast]:
    """Each time point against the first, with bounded values taken as bounds.

    Where every value of a time point is a bound on the same side, the likelihood has no top: the contrast is then a
    bound itself, its one limit a 95 % limit of two sides, its value NaN.
    """
    empty = empty_contrasts(data, TEST, "model")
    row = layout(data)
    why = too_little(data, row)
    if why:
        return [remarked(contrast, why) for contrast in empty]
    sides = _sides(data)
    finite = tuple(at for at in range(len(data.timepoints)) if data.measured[:, at].any() and not sides[at])
    main = _problem(data, finite)
    top = _maximum(main, main.start, None)
    why = _not_usable(top, main)
    if why:
        return [remarked(replace(contrast, converged=top.reached), why) for contrast in empty]
    return [
        remarked(_contrast(data, contrast, at, (main, top, sides)), *_remarks(data, top))
        for at, contrast in enumerate(empty, start=1)
    ]


def _sides(data: Longitudinal) -> tuple[int, ...]:
    """For each time point -1 (1) where all its values are bounds to lie below (above), else 0."""
    found = []
    for at in range(len(data.timepoints)):
        known = data.bounds[data.measured[:, at], at]
        found.append(int(known[0]) if len(known) and known[0] and np.all(known == known[0]) else 0)
    return tuple(found)


def _problem(data: Longitudinal, columns: tuple[int, ...]) -> Problem:
    """Only these time points; a start from values as if bounds were exact."""
    y, bounds = data.values[:, columns], data.bounds[:, columns]
    m, df = residual_df(data)
    means = np.array([np.mean(column[~np.isnan(column)]) for column in y.T])
    centred = y - means
    patients = np.array([np.mean(line[~np.isnan(line)]) for line in centred if not np.all(np.isnan(line))])
    rest = [line[~np.isnan(line)] - np.mean(line[~np.isnan(line)]) for line in centred if not np.all(np.isnan(line))]
    residual = math.sqrt(float(np.mean(np.concatenate(rest) ** 2)))
    start = np.array([*means, math.log(max(residual, 1e-3)), max(float(np.std(patients)), residual / 2, 1e-3)])
    return Problem(blocks(y, bounds), columns, start, m, df)


def _not_usable(top: Top, problem: Problem) -> str:
    """Why the fit is not told: no top, no residual, no variance between patients."""
    k = len(problem.columns)
    scale = max(1.0, float(np.max(np.abs(top.theta[:k]))))
    if math.exp(top.theta[k]) < 1e-6 * scale:
        return "no estimate: the values leave no residual"
    if not top.reached:
        return "no estimate: the fit did not converge"
    if abs(float(top.theta[k + 1])) < _NO_SD * math.exp(top.theta[k]):
        return "no estimate: singular fit, the variance between patients is 0"
    return ""


def _remarks(data: Longitudinal, top: Top) -> tuple[str, ...]:
    below, above = (int(np.sum(data.measured & (data.bounds == side))) for side in (-1, 1))
    total = int(data.measured.sum())
    k = len(top.theta) - 2
    bounded = f"of {total} values {below} below and {above} above the range" if below + above else "no value is bounded"
    spread = f"SD on log2: patients {abs(top.theta[k + 1]):.2f}, residual {math.exp(top.theta[k]):.2f}"
    plates = "plate effects not modelled" if len(data.plate_names) > 1 else ""
    return bounded, spread, plates


# --- one contrast -------------------------------------------------------------------------------


def _contrast(data: Longitudinal, empty: Contrast, at: int, found: tuple[Problem, Top, tuple[int, ...]]) -> Contrast:
    main, top, sides = found
    if not empty.n:
        return remarked(empty, "no patient has a value here and at the baseline")
    here, there = sides[at], sides[0]
    if here and here == there:
        return remarked(empty, "no estimate: every value here and at the baseline is a bound on the same side")
    if not here and not there:
        return _two_sided(empty, main, top, at)
    open_side = here or -there
    columns = tuple(sorted({*main.columns, 0, at}))
    problem = _problem(data, columns)
    full = np.zeros(len(columns) + 2)
    full[[columns.index(column) for column in main.columns]] = top.theta[:-2]
    for column in {0, at} - set(main.columns):
        full[columns.index(column)] = problem.start[columns.index(column)]
    full[-2:] = top.theta[-2:]
    return _one_sided(empty, problem, replace(top, theta=full), (at, open_side))


def _two_sided(empty: Contrast, problem: Problem, top: Top, at: int) -> Contrast:
    pair = (0, problem.columns.index(at))
    effect = float(top.theta[pair[1]] - top.theta[0])
    profile = _Profile(problem, top, pair)
    error = profile.error()
    limits = [profile.limit(effect, side, error) for side in (-1, 1)]
    return _told(replace(empty, effect=Estimate(effect, *limits)), profile, math.copysign(1.0, effect))


def _one_sided(empty: Contrast, problem: Problem, top: Top, place: tuple[int, int]) -> Contrast:
    """The likelihood rises without end to one side: its height there is that of the fit without the time point."""
    at, side = place
    pair = (problem.columns.index(0), problem.columns.index(at))
    profile = _Profile(problem, top, pair)
    limit = profile.limit(float(top.theta[pair[1]] - top.theta[pair[0]]), -side, 1.0)
    below = side < 0
    effect = Estimate(NAN, NAN, limit) if below else Estimate(NAN, limit, NAN)
    bound = Bound.BELOW if below else Bound.ABOVE
    told = _told(replace(empty, effect=effect, bound=bound), profile, float(side))
    where = "here" if _all_bounded(problem, pair[1]) else "at the baseline"
    which = "an upper" if below else "a lower"
    return remarked(told, f"every value {where} is a bound: the effect has only {which} limit")


def _all_bounded(problem: Problem, column: int) -> bool:
    return not any(bool(np.any(part.measured[:, column] & (part.bounds[:, column] == 0))) for part in problem.parts)


def _told(contrast: Contrast, profile: _Profile, sign: float) -> Contrast:
    from scipy.stats import t as student

    at_zero = profile.at(0.0)
    if not at_zero.reached or not profile.reached:
        return remarked(
            replace(contrast, converged=False, effect=Estimate(contrast.effect.value)),
            "no p and no limits: the profile likelihood did not converge",
        )
    t = profile.problem.t(2 * (profile.top.height - at_zero.height))
    df = profile.problem.df
    return remarked(
        replace(contrast, statistic=math.copysign(t, sign), df=float(df), p=2 * float(student.sf(t, df))),
        f"profile likelihood ratio as t with {df} degrees of freedom",
    )


class _Profile:
    """Heights of the likelihood with one contrast held; each search starts where the last one ended."""

    def __init__(self, problem: Problem, top: Top, pair: tuple[int, int]) -> None:
        self.problem, self.top, self.pair = problem, top, pair
        self.reached = True
        self._last = top.theta

    def at(self, effect: float) -> Top:
        """The top where the contrast is `effect`."""
        found = _maximum(self.problem, self._last, (*self.pair, effect))
        self._last = found.theta
        return found

    def error(self) -> float:
        """Wald's standard error of the contrast: how far to look for a limit first."""
        _, _, curvature = log_likelihood(self.problem.parts, self.top.theta)
        weights = np.zeros(len(curvature))
        weights[list(self.pair)] = -1.0, 1.0
        square = float(weights @ np.linalg.pinv(-curvature) @ weights)
        return math.sqrt(square) if square > 0 else 1.0

    def limit(self, centre: float, side: int, step: float) -> float:
        """Where the ratio reaches that of 95 % limits, on one side; NaN where it does not within _FARTHEST."""
        from scipy.optimize import brentq
        from scipy.stats import t as student

        critical = float(student.ppf(0.975, self.problem.df))
        self._last = self.top.theta

        def beyond(effect: float) -> float:
            found = self.at(effect)
            self.reached &= found.reached
            return self.problem.t(2 * (self.top.height - found.height)) - critical

        near, far = _bracket(beyond, centre, side, step * critical)
        if math.isnan(far):
            return NAN
        try:
            return float(brentq(beyond, near, far, xtol=1e-5))
        except ValueError:  # heights that depend on where the search began: no top was found at one of the two
            self.reached = False
            return NAN


def _bracket(beyond: Callable[[float], float], centre: float, side: int, step: float) -> tuple[float, float]:
    """Two places, the inner one within the limit and the outer one beyond it; NaN where there is none."""
    inner, back = centre, step
    while beyond(inner) > 0:  # an open contrast may start beyond its limit
        inner, back = inner - side * back, 2 * back
        if abs(inner - centre) > _FARTHEST:
            return NAN, NAN
    outer = inner + side * step
    while beyond(outer) <= 0:
        inner, step = outer, 2 * step
        outer = inner + side * step
        if abs(outer - centre) > _FARTHEST:
            return NAN, NAN
    return inner, outer


# --- the search ---------------------------------------------------------------------------------


def _maximum(problem: Problem, start: Values, held: tuple[int, int, float] | None) -> Top:
    """The top by Newton's steps, damped where the surface is not concave or a step would not rise.

    With `held` (first, second, effect) the second mean is the first plus the effect.
    """
    start = start.copy()
    start[-1] = max(abs(float(start[-1])), 0.2 * math.exp(start[-2]))  # at 0 the slope is 0, top or not
    full = np.eye(len(start))
    offset = np.zeros(len(start))
    if held is not None:
        first, second, effect = held
        full[second, first], offset[second] = 1.0, effect
        full = np.delete(full, second, axis=1)
        start = np.delete(start, second)
    x, damping = start, 0.0
    height, slope, curvature = _seen(problem, full, offset, x)
    for _ in range(_MOST_STEPS):
        step = _uphill(curvature, slope, damping)
        if float(np.abs(slope @ step)) < 1e-12:
            return Top(height, full @ x + offset, True)
        step *= min(1.0, 1.5 / max(abs(float(step[-2])), 1e-12))  # log s moves little at once
        new = _seen(problem, full, offset, x + step)
        if new[0] >= height - 1e-11 * (1 + abs(height)):
            x, damping = x + step, damping / 10 if damping > 1e-6 else 0.0
            height, slope, curvature = new
        else:
            damping = max(10 * damping, 1e-3)
        if damping > 1e12 or x[-2] < -30:
            break
    return Top(height, full @ x + offset, False)


def _seen(problem: Problem, full: Values, offset: Values, x: Values) -> tuple[float, Values, Values]:
    height, slope, curvature = log_likelihood(problem.parts, full @ x + offset)
    if not math.isfinite(height):
        return -math.inf, np.zeros(len(x)), -np.eye(len(x))
    return height, full.T @ slope, full.T @ curvature @ full


def _uphill(curvature: Values, slope: Values, damping: float) -> Values:
    """Newton's step with every curvature taken as downward: it rises even beside a saddle."""
    values, vectors = np.linalg.eigh(curvature)
    bend = np.maximum(np.abs(values), 1e-10) + damping * max(1.0, float(np.max(np.abs(values))))
    return np.asarray(vectors @ ((vectors.T @ slope) / bend))
