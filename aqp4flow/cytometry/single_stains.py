"""A spillover matrix from single-stained controls: three estimators, limits, and what speaks against a control.

- `medians`: (median stained - median unstained) / the row's maximum, of all events: flowCore's plain definition.
- `populations`: (median positive - median negative) in each detector / the same in the dye's own (Bagwell & Adams,
  Ann N Y Acad Sci 1993;677:167). Limits follow from those of the medians.
- `regression`: the slope of each detector on the dye's own over all events, robust, on events compensated with the
  matrix so far, until nothing is left to compensate (in the manner of AutoSpill, Nat Commun 2021;12:2890).

Two estimators that part show a control that is too dim or two populations that are not alike but for the dye.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqp4flow.cytometry.measure import median_with_limits
from aqp4flow.cytometry.scale import asinh_of, border_at
from aqp4flow.errors import AnalysisError
from aqp4flow.model import NAN, Estimate, Spillover, Values, Z

LEAST_EVENTS = 100  # in a population
_DARK_TOP = 99.5  # percentile of the dark above which an event is stained
_TWO_APART = 2.0  # spreads from which two halves are two populations
_LEAST_SHARE = 0.01  # of the events, a population
_ROUNDS = 30
_SETTLED = 1e-7  # largest slope left at which the regression ends
_HUBER = 1.345  # 95 % efficient at the normal law
_MOST_EVENTS = 20_000  # of a control the regression looks at, by even steps
_DIM = 5.0  # spreads of the negatives by which the positives must stand out
_APART, _APART_LEAST = 0.2, 0.01  # share and size of a difference between two estimators that is told
_OTHER_NEGATIVES = 5.0  # percent of the dye's shift by which a control's negatives may differ from the unstained
_SATURATED = 1.0  # percent


@dataclass(frozen=True)
class Control:
    """One single-stained tube on the linear scale; `dye` is the detector it is for.

    `values` has shape (n_events, n_detectors), `at_top` says of each event whether some detector was at the end of
    its range: such events have no true value and are left out, except by the plain definition.
    """

    name: str
    dye: str
    values: Values = field(repr=False)
    at_top: NDArray[np.bool_] = field(repr=False)
    not_finite: int = 0  # events left out because a value is NaN or infinite

    @property
    def measured(self) -> Values:
        """The events below the top of every detector."""
        return self.values[~self.at_top]


@dataclass(frozen=True)
class Doubt:
    """What speaks against a control or a coefficient: a stable code, the dye, what was found, and a sentence."""

    code: str
    dye: str
    value: float
    message: str


# --- dark and bright ------------------------------------------------------------------------------


def brightest(detectors: Sequence[str], stained: Values, dark: Values) -> str:
    """The detector in which a control's bright events stand farthest above the dark ones, or above 0 without."""
    below = np.quantile(dark, 0.95, axis=0) if len(dark) else 0.0
    return detectors[int(np.argmax(np.quantile(stained, 0.95, axis=0) - below))]


def dark_of(unstained: Values) -> Values:
    """The unstained events that are dark in every detector: transfected cells carry their reporter unstained too."""
    dark = np.ones(len(unstained), np.bool_)
    for light in unstained.T:
        border = _border(light)
        if border is not None:
            dark &= light <= border
    return unstained[dark]


def _border(light: Values) -> float | None:
    """What parts two populations, where their means lie equally far (Ridler & Calvard 1978); None where there is one.

    On an arcsinh scale as wide as the dark ones. Two are told from one by their distance in spreads: the halves of one
    normal population lie little more than one apart.
    """
    scale = asinh_of(light)
    scaled = scale.forward(light)
    border = float(scaled.min() + scaled.max()) / 2
    for _ in range(100):
        above = scaled > border
        if above.all() or not above.any():
            return None
        middle = float(scaled[above].mean() + scaled[~above].mean()) / 2
        if abs(middle - border) < 1e-9:
            break
        border = middle
    high, low = scaled[above], scaled[~above]
    apart = float(np.median(high) - np.median(low)) / (_spread(high) + _spread(low))
    if apart < _TWO_APART or min(len(high), len(low)) < _LEAST_SHARE * len(light):
        return None
    return border_at(scale, border)


def _spread(values: Values) -> float:
    return max(1.4826 * float(np.median(np.abs(values - np.median(values)))), 1e-9)


# --- the plain definition -------------------------------------------------------------------------


def medians(detectors: Sequence[str], controls: Sequence[Control], unstained: Values, source: str) -> Spillover:
    """flowCore's plain definition; raises AnalysisError where a control is no brighter than the unstained."""
    dark = np.median(unstained, axis=0)
    rows = []
    for control in _ordered(detectors, controls):
        shift = np.median(control.values, axis=0) - dark
        if not shift.max() > 0:
            what = f"{control.name} is nowhere brighter than the unstained control"
            raise AnalysisError("spillover", what, f"stain the control for {control.dye} again, or correct plate.csv")
        rows.append(shift / shift.max())
    return _matrix(detectors, np.array(rows), source)


# --- populations ----------------------------------------------------------------------------------


def populations(detectors: Sequence[str], controls: Sequence[Control], dark: Values | None, source: str) -> Spillover:
    """Medians of positive and negative events of each control; `dark` are an unstained control's (see `dark_of`).

    Raises AnalysisError where a control has too few of either.
    """
    n = len(detectors)
    values, low, high = np.eye(n), np.full((n, n), NAN), np.full((n, n), NAN)
    for row, control in enumerate(_ordered(detectors, controls)):
        positive, negative = split(control, detectors.index(control.dye), dark)
        own = _difference(positive[:, row], negative[:, row])
        for column in range(n):
            if column != row:
                found = _quotient(_difference(positive[:, column], negative[:, column]), own)
                values[row, column], low[row, column], high[row, column] = found.value, found.low, found.high
    return _matrix(detectors, values, source, low, high)


def split(control: Control, own: int, dark: Values | None) -> tuple[Values, Values]:
    """Positive and negative events of a control, each of shape (n, n_detectors).

    Its own two populations where it has two; else all its events against the dark ones of an unstained control.
    """
    events = control.measured
    border = _border(events[:, own]) if len(events) else None
    if border is None and dark is not None and len(dark):
        border = float(np.percentile(dark[:, own], _DARK_TOP))
    light = events[:, own]
    positive = events[light > border] if border is not None else events[:0]
    negative = events[light <= border] if border is not None else events
    if dark is not None and len(negative) < max(LEAST_EVENTS, len(events) // 20):
        negative = dark
    for what, found in (("positive", positive), ("negative", negative)):
        if len(found) < LEAST_EVENTS:
            raise AnalysisError(
                "spillover",
                f"{control.name} has {len(found)} {what} events in {control.dye}",
                "acquire more, and an unstained control beside it",
            )
    return positive, negative


def _difference(a: Values, b: Values) -> Estimate:
    """Difference of two medians, limits by MOVER (Zou & Donner, Stat Med 2008;27:1693)."""
    one, other = median_with_limits(a), median_with_limits(b)
    value = one.value - other.value
    down = math.hypot(one.value - one.low, other.high - other.value)
    up = math.hypot(one.high - one.value, other.value - other.low)
    return Estimate(value, value - down, value + up)


def _quotient(top: Estimate, bottom: Estimate) -> Estimate:
    """Quotient of two estimates, limits by MOVER-R (Donner & Zou, Stat Methods Med Res 2012;21:347).

    NaN limits where those of the divisor hold 0.
    """
    value = top.value / bottom.value if bottom.value else NAN
    if not bottom.low > 0:
        return Estimate(value)
    product = top.value * bottom.value
    below = product**2 - top.low * bottom.high * (2 * top.value - top.low) * (2 * bottom.value - bottom.high)
    above = product**2 - top.high * bottom.low * (2 * top.value - top.high) * (2 * bottom.value - bottom.low)
    low = (product - math.sqrt(max(below, 0.0))) / (bottom.high * (2 * bottom.value - bottom.high))
    high = (product + math.sqrt(max(above, 0.0))) / (bottom.low * (2 * bottom.value - bottom.low))
    return Estimate(value, low, high)


# --- regression -----------------------------------------------------------------------------------


def regression(detectors: Sequence[str], controls: Sequence[Control], source: str) -> Spillover:
    """Robust slopes on compensated events, added to the matrix until none is left.

    Raises AnalysisError where that does not end: then a control does not show its dye.
    """
    ordered = [_thinned(control.measured) for control in _ordered(detectors, controls)]
    n = len(detectors)
    matrix, errors = np.eye(n), np.full((n, n), NAN)
    for _ in range(_ROUNDS):
        left = np.zeros((n, n))
        for row, events in enumerate(ordered):
            true = np.linalg.solve(matrix.T, events.T).T
            left[row], errors[row] = _slopes(true, row)
        matrix = (np.eye(n) + left) @ matrix
        matrix /= np.diag(matrix)[:, None]
        if np.abs(left).max() < _SETTLED:
            half = Z * errors
            return _matrix(detectors, matrix, source, matrix - half, matrix + half)
    worst = detectors[int(np.argmax(np.abs(left).max(axis=1)))]
    what = f"the regression of the control for {worst} does not settle"
    raise AnalysisError("spillover", what, "look at that control: its dye may be another, or missing")


def _thinned(values: Values) -> Values:
    return values[:: max(1, len(values) // _MOST_EVENTS)]


def _slopes(true: NDArray[np.floating[Any]], own: int) -> tuple[Values, Values]:
    """Slope and standard error of every detector on the dye's own, by Huber's weights; 0 and NaN for its own."""
    x = true[:, own]
    slopes, errors = np.zeros(true.shape[1]), np.full(true.shape[1], NAN)
    for column in range(true.shape[1]):
        if column != own:
            slopes[column], errors[column] = huber_slope(x, true[:, column])
    return slopes, errors


def huber_slope(
    x: NDArray[np.floating[Any]], y: NDArray[np.floating[Any]], spread: Values | None = None
) -> tuple[float, float]:
    """Slope of y on x and its standard error (Huber's sandwich), by iteratively reweighted least squares.

    `spread` is the SD of y at each event where it is not the same everywhere; without it one is taken for all.
    """
    precision = 1.0 if spread is None else 1 / spread**2
    weights = np.ones(len(x)) * precision
    slope = intercept = NAN
    for _ in range(50):
        total = weights.sum()
        mean_x, mean_y = weights @ x / total, weights @ y / total
        across = weights @ (x - mean_x) ** 2
        before, slope = slope, float(weights @ ((x - mean_x) * (y - mean_y)) / across)
        intercept = mean_y - slope * mean_x
        rest = y - intercept - slope * x
        scale = (1.4826 * float(np.median(np.abs(rest))) or 1e-12) if spread is None else spread
        weights = np.minimum(1.0, _HUBER * scale / np.maximum(np.abs(rest), 1e-300)) * precision
        if abs(slope - before) <= 1e-10 * (abs(slope) + 1e-6):
            break
    # an event that Huber's weight holds back no longer moves with the slope: it counts above, not below the line
    free = np.where(np.abs(rest) <= _HUBER * scale, 1.0, 0.0) * precision
    error = math.sqrt(float(np.sum((weights * rest * (x - mean_x)) ** 2))) / float(free @ (x - mean_x) ** 2)
    return slope, error


# --- what speaks against it -----------------------------------------------------------------------


def doubts(detectors: Sequence[str], controls: Sequence[Control], dark: Values | None) -> list[Doubt]:
    """What the controls themselves give reason to look at before a matrix from them is used."""
    said: list[Doubt] = []
    for row, control in enumerate(_ordered(detectors, controls)):
        if control.not_finite:
            message = f"{control.name}: {control.not_finite} events with values that are NaN or infinite are left out"
            said.append(Doubt("control-not-finite", control.dye, control.not_finite, message))
        other = brightest(detectors, control.values, control.values[:0] if dark is None else dark)
        if other != control.dye:
            message = f"{control.name}, the control for {control.dye}, is brighter in {other}: swapped tubes?"
            said.append(Doubt("control-swapped", control.dye, NAN, message))
            continue
        try:
            said += _of_control(detectors, control, row, dark)
        except AnalysisError as error:
            said.append(Doubt("control-dim", control.dye, NAN, error.what))
    return said


def _of_control(detectors: Sequence[str], control: Control, own: int, dark: Values | None) -> list[Doubt]:
    said = []
    positive, negative = split(control, own, dark)
    shift = float(np.median(positive[:, own]) - np.median(negative[:, own]))
    spread = _spread(negative[:, own])
    if shift < _DIM * spread:
        message = f"{control.name}: {control.dye} stands only {shift / spread:.3g} spreads above the negatives"
        said.append(Doubt("control-dim", control.dye, shift / spread, message))
    saturated = 100 * float(np.mean(control.at_top)) if len(control.at_top) else 0.0
    if saturated > _SATURATED:
        message = f"{control.name}: {saturated:.3g} % of the events are at the top of the range"
        said.append(Doubt("control-saturated", control.dye, saturated, message))
    if dark is not None and len(dark) and negative is not dark:
        away = np.abs(np.median(negative, axis=0) - np.median(dark, axis=0))
        worst = int(np.argmax(away))
        percent = 100 * float(away[worst]) / shift
        if percent > _OTHER_NEGATIVES:
            message = f"{control.name}: its negatives differ from the unstained in {detectors[worst]}"
            said.append(Doubt("control-negatives", control.dye, percent, message))
    return said


def apart(one: Spillover, other: Spillover) -> list[Doubt]:
    """Coefficients that two estimators see differently: by more than a fifth, and by more than 0.01."""
    names = one.channels
    said = []
    for row, dye in enumerate(names):
        for column, detector in enumerate(names):
            a, b = (float(found.matrix[row, column]) for found in (one, other))
            if row != column and abs(a - b) > max(_APART * max(abs(a), abs(b)), _APART_LEAST):
                message = f"{dye} in {detector}: {one.source} gives {a:.3g}, {other.source} {b:.3g}"
                said.append(Doubt("control-estimators", dye, abs(a - b), message))
    return said


# --- common ---------------------------------------------------------------------------------------


def _ordered(detectors: Sequence[str], controls: Sequence[Control]) -> list[Control]:
    """Controls in the order of detectors, just one for each; raises AnalysisError otherwise."""
    found = []
    for detector in detectors:
        own = [control for control in controls if control.dye == detector]
        if len(own) != 1:
            what = f"{len(own)} controls for {detector}" + "".join(f", {control.name}" for control in own)
            raise AnalysisError("spillover", what, "one single-stained control for each dye")
        found.append(own[0])
    return found


def _matrix(
    detectors: Sequence[str], values: Values, source: str, low: Values | None = None, high: Values | None = None
) -> Spillover:
    values.flags.writeable = False
    return Spillover(tuple(detectors), values, source, low, high)
