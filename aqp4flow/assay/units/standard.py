"""The reference serum of a plate: its curve, its standards read back, and the range within which units may be read.

Undiluted, the reference holds `[reference] units`; at dilution d it holds units / d. Its delta (background taken off)
is fitted over dilution; a standard's recovery is what the curve reads it as, over what it holds. Rules of acceptance
are those of ligand-binding assays (ICH M10): recovery within 20 %, 25 % at the ends of the range, in at least three
quarters of at least six standards. Units are read between the lowest and the highest standard that pass in one run
(LLOQ, ULOQ), never beyond.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from aqp4flow.assay.curves import curve as curves
from aqp4flow.assay.definition import ReferenceSettings
from aqp4flow.model import NAN, UNKNOWN, Curve, Estimate, Reactivity, Values, Z

_PARAMETERS = ("b", "t", "m", "h", "g")
_HOLDS_ZERO = "limits of delta hold 0"
_BELOW = "not above the cut-off"
_FEWEST_IN_RANGE = 3
_EXACT = 1e-3  # a curve that misses its points by a thousandth is not bettered
_FARTHEST = 10.0  # e-folds that a drawn parameter may lie off; such a curve holds no range


@dataclass(frozen=True)
class Chance:
    """How many random draws describe an error, and the number they start from."""

    draws: int
    seed: int

    def generator(self, *names: str) -> np.random.Generator:
        """The random numbers of something named: the same whatever else was drawn before."""
        return np.random.default_rng([self.seed, zlib.crc32("/".join(names).encode())])


@dataclass(frozen=True)
class PlateFacts:
    """What a reference must know of its plate: the cut-off for delta (NaN: none), whether replicates gave its error."""

    cutoff: float
    replicates: bool


@dataclass(frozen=True, eq=False)
class ReferenceCurve:
    """The reference's delta over dilution: natural parameters b, t, m, h, g, shape (5,), and draws of them, (n, 5).

    `scatter` is a relative standard error of every reading of the plate beyond its own limits: what the standards
    scatter about the curve where no replicates tell, else 0.
    """

    model: str
    natural: Values
    draws: Values = field(repr=False)
    scatter: float = 0.0

    def error(self, row: Reactivity) -> float:
        """Standard error of a reading's delta."""
        return math.hypot(row.delta.standard_error, self.scatter * row.delta.value)

    def delta(self, dilution: Values) -> Values:
        """Delta of the reference at dilutions of any shape."""
        return curves.predict(self.natural, dilution)

    def dilution(self, delta: Values) -> Values:
        """The dilution at which the reference has a delta: 0 at or above its top, infinite at or below its bottom."""
        b, t, m, h, g = self.natural
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            over = np.where(delta > b, t / (delta - b), np.inf)
            return np.where(over <= 1, 0.0, m * np.maximum(over ** (1 / g) - 1, 0) ** (1 / h))

    def slope(self, dilution: Values) -> Values:
        """How much delta falls per e-fold of dilution: 0 or above."""
        _, t, m, h, g = self.natural
        with np.errstate(over="ignore", invalid="ignore"):
            z = (dilution / m) ** h
            return np.nan_to_num(np.asarray(t * g * h * z * (1 + z) ** (-g - 1), np.float64))

    def shifts(self, dilution: Values) -> Values:
        """How far the draws' curves read from the curve at dilutions (n,), in delta: (n_draws, n)."""
        return np.asarray(curves.predict(self.draws[:, None, :], dilution[None, :]) - self.delta(dilution), np.float64)


@dataclass(frozen=True)
class Standard:
    """One dilution of the reference. `units` is what it holds, `fitted` what the curve reads.

    `cv`: percent, of another serum's reading there. `used`: took part in the fit. `note`: why not, or what is wrong.
    """

    row: Reactivity
    units: float
    used: bool = False
    fitted: Estimate = UNKNOWN
    cv: float = NAN
    in_range: bool = False
    note: str = ""

    @property
    def dilution(self) -> float:
        """The reciprocal."""
        return self.row.dilution

    @property
    def recovery(self) -> float:
        """Fitted over nominal units, percent."""
        return 100 * self.fitted.value / self.units

    def passes(self, recovery_percent: float, cv_percent: float) -> bool:
        """Whether it is read back within these limits."""
        return abs(self.recovery - 100) <= recovery_percent and self.cv <= cv_percent


@dataclass(frozen=True)
class Reference:
    """The reference of a plate. Units are read only where `accepted`; `flags` say why there is no curve."""

    plate: str
    serum: str
    settings: ReferenceSettings
    standards: tuple[Standard, ...]
    curve: ReferenceCurve | None = None
    accepted: bool = False
    flags: tuple[str, ...] = ()

    @property
    def ends(self) -> tuple[float, float]:
        """Lowest and highest dilution of the range; NaN without one."""
        within = [standard.dilution for standard in self.standards if standard.in_range]
        return (min(within), max(within)) if within else (NAN, NAN)

    @property
    def lloq(self) -> float:
        """Units that the lowest standard in range holds."""
        return self.settings.units / self.ends[1]

    @property
    def uloq(self) -> float:
        """Units that the highest standard in range holds."""
        return self.settings.units / self.ends[0]


# --- the one place that fits ------------------------------------------------------------------------


def fit_reference(
    rows: Sequence[Reactivity], replicates: bool, chance: Chance
) -> tuple[ReferenceCurve | None, list[str]]:
    """The reference's curve over rows of rising dilution and delta above 0, and what stands in the way.

    Declared rule: 4pl; 5pl only if its AICc is lower by 2 or more; one-site where there are too few dilutions for 4pl.
    Residuals are those of the logarithm, which weighs points by 1 / delta^2. Wells without serum take no part, for
    their background is not a serum's. Without `replicates` on the plate the standards' scatter about the curve stands
    for the error of single wells.
    """
    best: Curve | None = None
    flags: list[str] = []
    for model in ("4pl", "5pl") if len(rows) > len(curves.MODELS["4pl"]) else ("one-site",):
        found, why = _fitted(rows, model)
        if found is None:
            flags = flags or why
        elif best is None or _aicc(best, len(rows)) - _aicc(found, len(rows)) >= curves.DECISIVE:
            best = found
    if best is None:
        return None, flags
    scatter = 0.0 if replicates else _scatter(best, rows)
    rng = chance.generator(rows[0].plate, rows[0].serum, "reference")
    draws = _parameter_draws(best, rows, scatter, chance.draws, rng)
    return ReferenceCurve(best.model, _natural(best), draws, scatter), []


def _fitted(rows: Sequence[Reactivity], model: str) -> tuple[Curve | None, list[str]]:
    """One model through all rows, whatever lies off it: recoveries tell."""
    return curves.fit_curve(_series(rows), model, outliers="keep")


def _series(rows: Sequence[Reactivity]) -> curves.Series:
    dilution, delta = np.array([(row.dilution, row.delta.value) for row in rows]).T
    return curves.Series(dilution, delta, min(row.delta.standard_error for row in rows) or NAN)


def _scale(delta: Values, floor: float) -> Values:
    """Derivative, by delta, of the scale on which the fit compares readings: 1/y2 above the noise."""
    return curves.Scale("1/y2", np.array(floor)).slope(delta)


def _natural(fitted: Curve) -> Values:
    return np.array([fitted.parameters.get(name, 1.0) for name in _PARAMETERS])


def _parameter_draws(
    fitted: Curve, rows: Sequence[Reactivity], scatter: float, count: int, rng: np.random.Generator
) -> Values:
    """Draws of (b, t, m, h, g), shape (count, 5), of the curve's error: that of the points, as the fit passes it on.

    The sandwich of a fit that takes points for equal whose errors, known, are not; where the residuals are larger than
    those errors explain (Birge's ratio), it is widened. b is drawn as it is, the others by their logarithm.
    """
    natural = _natural(fitted)
    dilution = np.array([row.dilution for row in rows])
    at = curves.predict(natural, dilution)
    floor = _series(rows).floor
    free = [i for i, name in enumerate(_PARAMETERS) if name in fitted.parameters]
    jacobian = np.empty((len(rows), len(free)))
    for column, i in enumerate(free):
        step = 1e-5 * (natural[1] * 1e-3 if i == 0 else natural[i])
        ends = [curves.predict(natural + sign * step * np.eye(5)[i], dilution) for sign in (1, -1)]
        jacobian[:, column] = (ends[0] - ends[1]) / (2 * step) * (1.0 if i == 0 else natural[i]) * _scale(at, floor)
    delta, relative = _relative_errors(rows)
    error = np.hypot(relative, scatter) * delta
    df = len(rows) - len(free)
    birge = float(np.sum(((delta - at) / error) ** 2)) / df if df > 0 and error.all() else 1.0
    inverse = np.linalg.pinv(jacobian)
    covariance = (inverse * (error * _scale(at, floor)) ** 2) @ inverse.T * max(1.0, birge)
    deviations = rng.multivariate_normal(np.zeros(len(free)), covariance, count, method="svd")
    draws = np.tile(natural, (count, 1))
    for column, i in enumerate(free):
        off = deviations[:, column]
        draws[:, i] = natural[i] + off if i == 0 else natural[i] * np.exp(np.clip(off, -_FARTHEST, _FARTHEST))
    return draws


def _relative_errors(rows: Sequence[Reactivity]) -> tuple[Values, Values]:
    """Deltas and their relative standard errors."""
    delta = np.array([row.delta.value for row in rows])
    return delta, np.array([row.delta.standard_error for row in rows]) / delta


def _scatter(fitted: Curve, rows: Sequence[Reactivity]) -> float:
    """Relative error that makes residuals as large as errors say (Paule & Mandel 1982), for Student's few degrees.

    0 where the points' own limits explain the residuals, and where there are no degrees of freedom.
    """
    from scipy.special import stdtrit

    delta, relative = _relative_errors(rows)
    residual = np.log(delta / curves.predict(_natural(fitted), np.array([row.dilution for row in rows])))
    df = len(rows) - len(fitted.parameters)
    if df < 1 or float(np.sum((residual / np.maximum(relative, 1e-9)) ** 2)) <= df:
        return 0.0
    low, high = 0.0, 10.0
    for _ in range(60):
        middle = (low + high) / 2
        more = float(np.sum(residual**2 / (relative**2 + middle**2))) > df
        low, high = (middle, high) if more else (low, middle)
    return low * float(stdtrit(df, 0.975)) / Z


def _aicc(fitted: Curve, n: int) -> float:
    """Akaike's criterion corrected for few points, least-squares form; infinite where the points are too few for it."""
    k = len(fitted.parameters) + 1
    if n <= k + 1:
        return math.inf
    rss = fitted.residual_sd**2 * (n - k + 1)
    return n * math.log(max(rss / n, _EXACT**2)) + 2 * k + 2 * k * (k + 1) / (n - k - 1)


# --- standards -----------------------------------------------------------------------------------------


def before_the_maximum(rows: Sequence[Reactivity]) -> int:
    """How many of the first rows (by rising dilution) stand before a maximum that they are clearly below.

    A hook: too much antibody binds less. Clearly: the limits of the two do not meet.
    """
    known = [i for i, row in enumerate(rows) if row.delta.known]
    if not known:
        return 0
    top = max(known, key=lambda i: rows[i].delta.value)
    clearly_lower = any(rows[i].delta.high < rows[top].delta.low for i in known if i < top)
    return top if clearly_lower else 0


def read_back(rows: Sequence[Reactivity], settings: ReferenceSettings, facts: PlateFacts, chance: Chance) -> Reference:
    """The reference from its rows on one plate: one or more, of one serum.

    What negative sera reach is no reading of antibody: the range ends above the plate's cut-off for delta.
    """
    rows = sorted(rows, key=lambda row: row.dilution)
    hooked = before_the_maximum(rows)
    notes = [_left_out(row, place < hooked) for place, row in enumerate(rows)]
    standards = [
        Standard(row, settings.units / row.dilution, used=not note, note=note)
        for row, note in zip(rows, notes, strict=True)
    ]
    reference = Reference(rows[0].plate, rows[0].serum, settings, tuple(standards))
    used = [standard.row for standard in standards if standard.used]
    curve, flags = fit_reference(used, facts.replicates, chance) if used else (None, ["curve-too-few"])
    if curve is None:
        return replace(reference, flags=tuple(flags))
    standards = [back_calculated(standard, curve, settings) if standard.used else standard for standard in standards]
    standards = with_range([_above(standard, facts.cutoff) for standard in standards], settings)
    reference = replace(reference, standards=tuple(standards), curve=curve)
    return replace(reference, accepted=holds(reference))


def _left_out(row: Reactivity, hooked: bool) -> str:
    """Why a standard tells nothing of the curve; empty when it does."""
    if not row.delta.known:
        return "no usable well"
    if "saturated" in row.flags:
        return "saturated: a lower bound"
    if hooked:
        return "before the maximum: hook"
    if not (row.delta.value > 0 and not row.delta.low <= 0):
        return _HOLDS_ZERO
    return ""


def back_calculated(standard: Standard, curve: ReferenceCurve, settings: ReferenceSettings) -> Standard:
    """Fitted units with limits, as of another serum with the same reading: its own error and the curve's."""
    at = curve.dilution(np.array([standard.row.delta.value]))
    slope = float(curve.slope(at)[0])
    if not 0 < at[0] < math.inf or not slope > 0:
        return replace(standard, note="beyond the ends of the curve")
    sd = math.hypot(curve.error(standard.row), _middle_sd(curve.shifts(at)[:, 0])) / slope
    units, width = settings.units / float(at[0]), min(sd, 20.0)
    fitted = Estimate(units, units * math.exp(-Z * width), units * math.exp(Z * width))
    return replace(standard, fitted=fitted, cv=100 * math.sqrt(math.expm1(min(sd, 5.0) ** 2)))


def _middle_sd(draws: Values) -> float:
    """Standard deviation from the middle 68 % of draws: a few wild ones do not count."""
    low, high = np.quantile(draws, (0.158655, 0.841345))
    return float(high - low) / 2


def _above(standard: Standard, cutoff: float) -> Standard:
    """The standard, with a note where its delta is not above the plate's cut-off."""
    if standard.note or not standard.row.delta.value <= cutoff:
        return standard
    return replace(standard, note=_BELOW)


def with_range(standards: Sequence[Standard], settings: ReferenceSettings) -> list[Standard]:
    """Mark the longest run of at least three standards that pass, wider limits at its two ends; of equals the highest.

    A standard without a usable well, saturated or before a maximum does not break a run; one that fails does.
    """
    asked = [s for s in standards if s.used or s.note == _HOLDS_ZERO]
    inner = [s.note != _BELOW and s.passes(settings.recovery_percent, settings.cv_percent) for s in asked]
    outer = [s.note != _BELOW and s.passes(settings.recovery_end_percent, settings.cv_end_percent) for s in asked]
    best: list[float] = []
    for first in range(len(asked)):
        for last in range(first + _FEWEST_IN_RANGE - 1, len(asked)):
            whole = outer[first] and outer[last] and all(inner[first + 1 : last])
            if whole and last - first + 1 > len(best):
                best = [standard.dilution for standard in asked[first : last + 1]]
    return [replace(s, in_range=s.used and s.dilution in best) for s in standards]


def judgeable(standard: Standard, settings: ReferenceSettings) -> bool:
    """Whether recovery says anything of a standard. Anchors hold the curve, and units are never read there.

    Anchors are standards not above the cut-off, and those on so flat a part that no reading as precise as theirs could
    place them within the limit.
    """
    return standard.used and standard.note != _BELOW and not standard.cv > settings.cv_end_percent


def judged(reference: Reference) -> tuple[int, int]:
    """How many standards are read back within limits, and of how many that are no anchors."""
    settings = reference.settings
    asked = [standard for standard in reference.standards if judgeable(standard, settings)]
    good = 0
    for standard in asked:
        at_end = standard.dilution in reference.ends
        good += standard.passes(settings.recovery_end_percent if at_end else settings.recovery_percent, math.inf)
    return good, len(asked)


def holds(reference: Reference) -> bool:
    """Whether enough standards are read back, and three in a row make a range: units are read from no other."""
    good, asked = judged(reference)
    share = reference.settings.pass_percent if asked >= reference.settings.min_standards else 100.0
    return 100 * good >= share * asked and not math.isnan(reference.lloq)
