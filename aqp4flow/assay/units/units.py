"""Units of each serum, read off the curve of the plate's reference; never beyond its range.

Every reading within the range stands for a dilution of the reference that reads the same; reference units / that
dilution x the serum's own dilution are the serum's units. The readings' logarithms are averaged with weights from
their own errors, carried through the curve where the serum is expected to read: weights taken at the readings
themselves would favour those that chance put on the steeper part.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aqp4flow.assay.units.standard import Chance, Reference, ReferenceCurve, before_the_maximum
from aqp4flow.model import NAN, Bound, Reactivity, Titer, Values, log2_quantile

_CHANCE = 0.05
_ROUNDS = 3  # of expected readings from units, and units from weights: it settles in two


@dataclass(frozen=True, eq=False)
class InRange:
    """A serum's readings within the range, by rising dilution; arrays of shape (n,) and draws (n_draws, n).

    `log_units` are natural logarithms of dilution-corrected units, `error` the standard errors of the readings carried
    through the curve, `own` draws of them, and `shared` draws of the curve's error, the same for all sera of the plate.
    """

    rows: tuple[Reactivity, ...]
    log_units: Values
    error: Values
    own: Values
    shared: Values

    @property
    def deviations(self) -> Values:
        """Draws of all errors, as known."""
        return np.asarray(self.own + self.shared, np.float64)

    @property
    def weights(self) -> Values:
        """Inverse variances, sum 1."""
        inverse = 1 / self.error**2
        return np.asarray(inverse / inverse.sum(), np.float64)

    @property
    def centre(self) -> float:
        """The serum's log units: the weighted mean."""
        return float(self.weights @ self.log_units)

    @property
    def draws(self) -> Values:
        """Draws of the serum's log units, (n_draws,).

        Where the readings scatter about their mean more than chance and their errors explain (chi-squared, one in
        twenty), they are wider by that ratio (Birge): of a serum that is not parallel less is known.
        """
        from scipy.special import chdtrc

        df = len(self.rows) - 1
        squares = float(np.sum(((self.log_units - self.centre) / self.error) ** 2))
        wider = math.sqrt(squares / df) if df and chdtrc(df, squares) < _CHANCE else 1.0
        return np.asarray(self.centre + (self.own * wider + self.shared) @ self.weights, np.float64)


@dataclass(frozen=True, eq=False)
class SerumUnits:
    """Units of one serum with draws of their logarithm (base 2); `inside` is None where no reading is in range."""

    serum: str
    units: Titer | None
    draws: Values | None
    inside: InRange | None
    flags: tuple[str, ...] = ()


def units_of(rows: Sequence[Reactivity], reference: Reference, chance: Chance) -> SerumUnits:
    """Units of one serum (its rows on one plate) from an accepted reference; None where no well could be used.

    `<` when every reading lies below the range, `>` when one lies above it and none within, or when what would be
    within is saturated: the value is then the end of the range times the dilution.
    """
    curve = reference.curve
    if curve is None or not reference.accepted:
        raise ValueError("units are read from an accepted reference only")
    rows = sorted(rows, key=lambda row: row.dilution)
    serum = rows[0].serum
    hooked = before_the_maximum(rows)
    read = [row for row in rows[hooked:] if row.delta.known]
    flags = ("hook",) if hooked else ()
    if not read:
        return SerumUnits(serum, None, None, None, flags)
    noise = chance.generator(rows[0].plate, serum, "units").standard_normal((chance.draws, len(read)))
    top, bottom = curve.delta(np.array(reference.ends))
    inside = [
        i for i, row in enumerate(read) if bottom <= row.delta.value <= top and "saturated" not in row.flags
    ]  # fmt: skip
    if not inside:
        units, draws, more = _beyond(read, reference, curve, noise)
        return SerumUnits(serum, units, draws, None, flags + more)
    found = _inside([read[i] for i in inside], reference, curve, noise[:, inside])
    draws = found.draws / math.log(2)
    low, high = (log2_quantile(draws, q) for q in (0.025, 0.975))
    return SerumUnits(serum, Titer(math.exp(found.centre), Bound.EXACT, low, high), draws, found, flags)


def _inside(rows: Sequence[Reactivity], reference: Reference, curve: ReferenceCurve, noise: Values) -> InRange:
    """Readings turned to units, with errors as they are where the serum is expected to read."""
    dilution = np.array([row.dilution for row in rows])
    delta = np.array([row.delta.value for row in rows])
    relative = np.array([curve.error(row) for row in rows]) / delta
    relative = np.maximum(relative, 1e-9)  # a reading without limits weighs much, not infinitely
    equal = curve.dilution(delta)
    log_units = np.log(reference.settings.units * dilution / equal)
    error = relative * delta / curve.slope(equal)
    expected = equal
    low, high = reference.ends
    for _ in range(_ROUNDS):
        centre = float(np.average(log_units, weights=1 / error**2))
        expected = np.clip(reference.settings.units * dilution / math.exp(centre), low, high)
        error = relative * curve.delta(expected) / curve.slope(expected)
    shifts = curve.shifts(expected) / curve.slope(expected)
    return InRange(tuple(rows), log_units, error, noise * error, -shifts)


def _beyond(
    rows: Sequence[Reactivity], reference: Reference, curve: ReferenceCurve, noise: Values
) -> tuple[Titer, Values, tuple[str, ...]]:
    """A bound where nothing is within the range, with draws: infinite where the error does not reach into it."""
    low, high = reference.ends
    top = float(curve.delta(np.array([low]))[0])
    flags: tuple[str, ...] = ()
    at, end, bound = 0, high, Bound.BELOW
    above = [i for i, row in enumerate(rows) if row.delta.value > top or "saturated" in row.flags]
    if above:
        # a saturated reading is a lower bound of itself, where it stands in the range
        equal = np.clip(curve.dilution(np.array([rows[i].delta.value for i in above])), low, high)
        at, end = max(zip(above, equal.tolist(), strict=True), key=lambda pair: rows[pair[0]].dilution / pair[1])
        bound = Bound.ABOVE
        flags = ("saturated",) if "saturated" in rows[at].flags else ()
        flags += ("units-between",) if above[-1] + 1 < len(rows) else ()
    value = reference.settings.units * rows[at].dilution / end
    place = np.array([end])
    error = noise[:, at] * curve.error(rows[at]) - curve.shifts(place)[:, 0]
    reach = (rows[at].delta.value - float(curve.delta(place)[0]) + error) / float(curve.slope(place)[0])
    if bound is Bound.BELOW:
        draws = np.where(reach > 0, math.log2(value) + reach / math.log(2), -np.inf)
        return Titer(value, bound, NAN, max(value, log2_quantile(draws, 0.975))), draws, flags
    draws = np.where(reach < 0, math.log2(value) + reach / math.log(2), np.inf)
    return Titer(value, bound, min(value, log2_quantile(draws, 0.025)), NAN), draws, flags
