"""Precision of a study: variance components of repeated measurements, and the change that exceeds them.

All of it on natural logs, where error is proportional: one-way random effects, plates as groups, unbalanced.

Sources: analysis of variance as in CLSI EP05-A3 (components below 0 are set to 0); limits of a mean square by
chi-squared; of a sum of mean squares by Graybill & Wang, J Am Stat Assoc 1980;75:869, of a difference by Ting, Burdick,
Graybill, Jeyaratnam & Lu, J Stat Comput Simul 1990;35:135 (modified large sample); degrees of freedom of a total by
Satterthwaite, Biometrics Bull 1946;2:110; reference change value by Fraser & Harris, Crit Rev Clin Lab Sci
1989;27:409, on logs by Fokkema et al., Clin Chem Lab Med 2006;44:611 (without the patients' own biological variation,
which replicates do not show).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aqp4flow.assay.definition import PrecisionSettings
from aqp4flow.assay.replicatetiters import replicate_series
from aqp4flow.assay.titer import NOTHING_BOUND, crossing
from aqp4flow.model import (
    NAN,
    POOLED,
    UNKNOWN,
    WITH_SERUM,
    Bound,
    Check,
    Estimate,
    Imprecision,
    Precision,
    Reading,
    Role,
    Titer,
    Titration,
    Values,
    Verdict,
    Z,
)

CONTROLS = (Role.POSITIVE, Role.REFERENCE, Role.NEGATIVE)
_LARGEST_SD = 26.0  # of natural logs: its CV is the largest that a number holds
QUANTITIES = ("delta", "ratio", "index", "titer", "units")


# --- coefficient of variation and the change that exceeds it ---------------------------------------


def cv_of_sd(sd: float) -> float:
    """CV in percent of a log-normal quantity whose natural log has this SD: 100 sqrt(exp(sd^2) - 1).

    Infinite beyond all numbers, as an upper limit from one degree of freedom can be.
    """
    return 100 * math.sqrt(math.expm1(sd * sd)) if sd < _LARGEST_SD else math.inf


def sd_of_cv(cv: float) -> float:
    """SD of the natural log of a log-normal quantity with this CV in percent: sqrt(ln(1 + CV^2))."""
    return math.sqrt(math.log1p((cv / 100) ** 2))


def reference_change(sd: float) -> float:
    """The factor that two values of one serum exceed by error alone in 5 % of pairs: exp(z sqrt(2) sd).

    `sd` is that of the natural log of a reported value. A CV of 25 % gives 1.98. Source: Fraser & Harris, Crit Rev Clin
    Lab Sci 1989;27:409.
    """
    return math.exp(Z * math.sqrt(2) * sd) if sd < _LARGEST_SD else math.inf


# --- mean squares and their limits -----------------------------------------------------------------


@dataclass(frozen=True)
class MeanSquare:
    """A mean square with its degrees of freedom; unknown where there are none."""

    value: float
    df: int


NONE = MeanSquare(NAN, 0)


@dataclass(frozen=True)
class OneWay:
    """One-way analysis of variance: mean squares within and between groups, and the size n0 of a group.

    E[between] = within + n0 * component between. `grand` is the mean of all values, `groups` how many groups there are.
    """

    within: MeanSquare
    between: MeanSquare
    n0: float
    n: int
    groups: int
    grand: float


def one_way(groups: Sequence[Values]) -> OneWay:
    """Mean squares of unbalanced groups (shape (n_i,) each, none empty); n0 = (N - sum n_i^2 / N) / (a - 1)."""
    sizes = np.array([len(group) for group in groups], float)
    means = np.array([float(np.mean(group)) for group in groups])
    n, a = int(sizes.sum()), len(groups)
    grand = float((sizes * means).sum() / n)
    df = n - a
    squares = sum(float(((group - mean) ** 2).sum()) for group, mean in zip(groups, means, strict=True))
    within = MeanSquare(squares / df, df) if df else NONE
    if a < 2:
        return OneWay(within, NONE, float(n), n, a, grand)
    between = MeanSquare(float((sizes * (means - grand) ** 2).sum()) / (a - 1), a - 1)
    return OneWay(within, between, float((n - (sizes**2).sum() / n) / (a - 1)), n, a, grand)


def _points(df: int) -> tuple[float, float]:
    """df / chi-squared at 97.5 % and at 2.5 %: what a mean square is multiplied with for its limits."""
    from scipy.special import chdtri

    return df / float(chdtri(df, 0.025)), df / float(chdtri(df, 0.975))


def limits_of_one(square: MeanSquare) -> Estimate:
    """A variance from one mean square with its 95 % limits by chi-squared; unknown without degrees of freedom."""
    if not square.df:
        return UNKNOWN
    low, high = _points(square.df)
    return Estimate(square.value, low * square.value, high * square.value)


def limits_of_two(first: MeanSquare, second: MeanSquare, factor: float) -> Estimate:
    """The variance `first + factor * second` with 95 % limits by the modified large sample method.

    Graybill & Wang where `factor` is not negative, Ting et al. where it is. Neither value nor lower limit is cut at 0.
    """
    value = first.value + factor * second.value
    low1, high1 = _points(first.df)
    g1, h1 = 1 - low1, high1 - 1
    low2, high2 = _points(second.df)
    g2, h2 = 1 - low2, high2 - 1
    one, two = first.value, abs(factor) * second.value
    if factor >= 0:
        return Estimate(value, value - math.hypot(g1 * one, g2 * two), value + math.hypot(h1 * one, h2 * two))
    from scipy.special import fdtri

    f_high, f_low = float(fdtri(first.df, second.df, 0.975)), float(fdtri(first.df, second.df, 0.025))
    g12 = ((f_high - 1) ** 2 - (g1 * f_high) ** 2 - h2**2) / f_high
    h12 = ((1 - f_low) ** 2 - (h1 * f_low) ** 2 - g2**2) / f_low
    down = (g1 * one) ** 2 + (h2 * two) ** 2 + g12 * one * two
    up = (h1 * one) ** 2 + (g2 * two) ** 2 + h12 * one * two
    return Estimate(value, value - math.sqrt(max(0.0, down)), value + math.sqrt(max(0.0, up)))


def satterthwaite(first: MeanSquare, second: MeanSquare, factor: float) -> float:
    """Degrees of freedom of `first + factor * second`; NaN where the sum is not above 0 (Satterthwaite 1946)."""
    total = first.value + factor * second.value
    if not total > 0:
        return NAN
    return total**2 / (first.value**2 / first.df + (factor * second.value) ** 2 / second.df)


# --- components of variance ------------------------------------------------------------------------


@dataclass(frozen=True)
class Components:
    """Variances on natural logs: `within` of single values on one plate, `plates` of what plates add.

    `plates` is a mean square with E = component + `share` * within: of one material n0 values a plate, `share` = 1/n0.
    """

    within: MeanSquare
    plates: MeanSquare
    share: float

    @property
    def between(self) -> Estimate:
        """The component of plates with limits; 0 where the estimate is negative, and limits not below 0."""
        if not self.within.df or not self.plates.df:
            return UNKNOWN
        raw = limits_of_two(self.plates, self.within, -self.share)
        return Estimate(max(0.0, raw.value), max(0.0, raw.low), max(0.0, raw.high))

    @property
    def set_to_zero(self) -> bool:
        """Whether the component of plates came out negative, which no variance is."""
        return bool(self.within.df and self.plates.df and self.plates.value < self.share * self.within.value)

    def total(self, replicates: int = 1) -> Estimate:
        """Variance of the mean of `replicates` values on one plate, between plates: what two plates differ by.

        Without replicates anywhere only that of single values is known, from their spread between plates.
        """
        if not self.plates.df:
            return UNKNOWN
        if not self.within.df:
            return limits_of_one(self.plates) if math.isclose(self.share, 1) else UNKNOWN
        found = limits_of_two(self.plates, self.within, 1 / replicates - self.share)
        if not self.set_to_zero:
            return replace(found, low=max(0.0, found.low))
        alone = self.one_plate(replicates)  # the sum of components, one of them 0; limits that hold both views
        return Estimate(alone.value, max(0.0, min(found.low, alone.low)), max(found.high, alone.high))

    def one_plate(self, replicates: int = 1) -> Estimate:
        """Variance of the mean of `replicates` values on one plate."""
        found = limits_of_one(self.within)
        return Estimate(found.value / replicates, found.low / replicates, found.high / replicates)

    @property
    def total_df(self) -> float:
        """Satterthwaite's degrees of freedom of the total of single values."""
        if not self.plates.df:
            return NAN
        if not self.within.df:
            return float(self.plates.df) if math.isclose(self.share, 1) else NAN
        if self.set_to_zero:
            return float(self.within.df)
        return satterthwaite(self.plates, self.within, 1 - self.share)


def components(found: OneWay) -> Components:
    """The components of one material."""
    plates = replace(found.between, value=found.between.value / found.n0) if found.between.df else NONE
    return Components(found.within, plates, 1 / found.n0)


def pooled_components(sets: Sequence[Values], levels: Sequence[OneWay]) -> Components:
    """The components over all materials: `sets` are replicates on one plate, `levels` materials on several plates.

    Materials on the same plates share what the plates did, so that their degrees of freedom do not add: those of the
    material on most plates are taken, which leaves the limits rather wide.
    """
    df = sum(len(group) - 1 for group in sets)
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in sets)
    within = MeanSquare(squares / df, df) if df else NONE
    weights = np.array([level.between.df for level in levels], float)
    if not weights.sum():
        return Components(within, NONE, 1.0)
    weights /= weights.sum()
    value = float(sum(w * level.between.value / level.n0 for w, level in zip(weights, levels, strict=True)))
    share = float(sum(w / level.n0 for w, level in zip(weights, levels, strict=True)))
    return Components(within, MeanSquare(value, max(level.between.df for level in levels)), share)


# --- what was measured more than once --------------------------------------------------------------


@dataclass(frozen=True)
class Observation:
    """One value of a quantity; `clear`: well above its counting error. NaN: bounded or without meaning."""

    quantity: str
    plate: str
    material: str
    role: Role
    dilution: float
    value: float
    clear: bool = True


Key = tuple[str, float]


def observations(readings: Sequence[Reading], titrations: Sequence[Titration]) -> list[Observation]:
    """Every well's delta, ratio and index, and the titer of every series of wells, for all sera of all plates.

    The index of one well is its ratio. Where a serum has replicate series each gives a titer, read at the plate's
    cut-off like the reported one. Units are one value a serum and plate. Saturated wells take no part: the top of the
    range repeats whatever the wells do.
    """
    found: list[Observation] = []
    wells: dict[tuple[str, str], list[Reading]] = {}
    for reading in readings:
        well = reading.well
        if well.role not in WITH_SERUM or well.dilution is None or well.cells == "control" or not reading.usable:
            continue
        if "saturated" in reading.flags:
            continue
        wells.setdefault((well.plate, well.serum), []).append(reading)
        clear = is_clear(reading.delta)
        values = (("delta", reading.delta), ("ratio", reading.ratio), ("index", reading.ratio))
        found += [
            Observation(quantity, well.plate, well.serum, well.role, well.dilution, shift.value, clear)
            for quantity, shift in values
        ]
    for titration in titrations:
        where = (titration.plate, titration.serum, titration.role, NAN)
        found += [
            Observation("titer", *where, value)
            for value in _titers(titration, wells.get((titration.plate, titration.serum), []))
        ]
        units = getattr(titration, "units", None)
        if isinstance(units, Titer):
            found.append(Observation("units", *where, units.value if units.bound is Bound.EXACT else NAN))
    return found


def is_clear(shift: Estimate) -> bool:
    """Whether a delta is well above its counting error: limits within 40 % (as for a plate's replicate error)."""
    return shift.value > 0 and shift.high - shift.low < 0.8 * shift.value


def _titers(titration: Titration, readings: Sequence[Reading]) -> list[float]:
    """One titer a series of wells: the reported one where there is one series; NaN where it is bounded."""
    series = _series(readings)
    if len(series) < 2:
        if titration.titer is None:
            return []
        return [titration.titer.value if titration.titer.bound is Bound.EXACT else NAN]
    if math.isnan(titration.cutoff):
        return []
    titers = []
    for one in series:
        log_dilution = np.log2([reading.well.dilution or NAN for reading in one])
        shifts = [reading.delta.value if titration.readout == "delta" else reading.ratio.value for reading in one]
        if any(math.isnan(shift) for shift in shifts):
            titers.append(NAN)
            continue
        zero = NOTHING_BOUND.get(titration.readout, 0.0)
        reached = float(crossing(log_dilution, np.array([shifts]) - zero, np.array([titration.cutoff - zero]))[0])
        titers.append(2.0**reached if math.isfinite(reached) else NAN)
    return titers


def _series(readings: Sequence[Reading]) -> list[list[Reading]]:
    """Complete series of one serum by rising dilution."""
    dilutions = {reading.well.dilution for reading in readings}
    complete = [one for one in replicate_series(readings) if len(one) == len(dilutions) > 1]
    return [sorted(one, key=lambda reading: reading.well.dilution or NAN) for one in complete]


def reported_replicates(found: Iterable[Observation], quantity: str) -> int:
    """How many values a reported one of a patient's serum averages: the commonest number, the smaller of two."""
    sets = Counter(
        (one.plate, one.material, one.dilution) for one in found if one.quantity == quantity and one.role is Role.SAMPLE
    )
    times = Counter(sets.values())
    return min(times, key=lambda n: (-times[n], n)) if times else 1


# --- rows ------------------------------------------------------------------------------------------


def precision(found: Sequence[Observation], settings: PrecisionSettings) -> Precision:
    """A row a quantity and material (with its dilution) that was measured more than once, then one of all together.

    Patients' sera take part in the pooled row; rows of their own have those on several plates.
    """
    rows: list[Imprecision] = []
    for quantity in QUANTITIES:
        of_quantity = [one for one in found if one.quantity == quantity]
        replicates = reported_replicates(of_quantity, quantity)
        levels = by_level(of_quantity)
        rows += [
            row_of(quantity, level, replicates)
            for level in levels.values()
            if len(level) > 1 and (level[0].role in CONTROLS or len(_by_plate(level)) > 1)
        ]
        pooled = _pooled(quantity, levels, replicates)
        if pooled is not None:
            rows.append(pooled)
    return Precision(tuple(rows), settings.rcv, settings.min_df)


def by_level(found: Iterable[Observation]) -> dict[Key, list[Observation]]:
    """Values of one quantity by material and dilution, in the order they came."""
    levels: dict[Key, list[Observation]] = {}
    for one in found:
        key = (one.material, 0.0 if math.isnan(one.dilution) else one.dilution)
        levels.setdefault(key, []).append(one)
    return levels


def _by_plate(level: Iterable[Observation]) -> Mapping[str, Values]:
    groups: dict[str, list[float]] = {}
    for one in level:
        groups.setdefault(one.plate, []).append(one.value)
    return {plate: np.array(values) for plate, values in groups.items()}


def row_of(quantity: str, level: Sequence[Observation], replicates: int) -> Imprecision:
    """One material at one dilution. A value without a logarithm leaves the CVs empty; bounded ones are left out."""
    known = [one for one in level if not math.isnan(one.value)]
    first = level[0]
    notes = [f"{len(level) - len(known)}-bounded-or-unknown"] if len(known) < len(level) else []
    if not all(one.clear for one in known):
        notes.append("near-blank")
    groups = _by_plate(known)
    row = Imprecision(
        quantity, first.material, first.role.value, first.dilution, len(known), len(groups), NAN, replicates=replicates
    )
    if any(one.value <= 0 for one in known):
        return replace(row, notes=(*notes, "nonpositive"))
    if len(known) < 2:
        return replace(row, notes=tuple(notes))
    anova = one_way([np.log(values) for values in groups.values()])
    return with_components(replace(row, mean=math.exp(anova.grand), notes=tuple(notes)), components(anova))


def with_components(row: Imprecision, found: Components) -> Imprecision:
    """The row with CVs and reference change values of its components."""
    notes = row.notes
    if found.set_to_zero:
        notes = (*notes, "between-set-to-0")
    if not found.within.df:
        notes = (*notes, "no-replicates")
    averaged = row.replicates if found.within.df else 1  # what averaging gains is not known without replicates
    return replace(
        row,
        replicates=averaged,
        within=_cv(found.one_plate()),
        within_df=found.within.df,
        between=_cv(found.between),
        between_df=found.plates.df,
        total=_cv(found.total()),
        total_df=found.total_df,
        rcv_one_plate=_change(found.one_plate(averaged)),
        rcv_two_plates=_change(found.total(averaged)),
        notes=notes,
    )


def _cv(variance: Estimate) -> Estimate:
    return _by(cv_of_sd, variance)


def _change(variance: Estimate) -> Estimate:
    return _by(reference_change, variance)


def _by(rule: Callable[[float], float], variance: Estimate) -> Estimate:
    """A rule that rises with the SD, for a variance and its limits."""
    sides = (variance.value, variance.low, variance.high)
    return Estimate(*(NAN if math.isnan(side) else rule(math.sqrt(side)) for side in sides))


def _pooled(quantity: str, levels: Mapping[Key, Sequence[Observation]], replicates: int) -> Imprecision | None:
    """All materials whose shift is clear; None where nothing was measured twice."""
    sets: list[Values] = []
    repeated: list[OneWay] = []
    plates: set[str] = set()
    n, left_out = 0, 0
    for level in levels.values():
        usable = [one for one in level if one.clear and one.value > 0]
        left_out += len(level) - len(usable) if len(level) > 1 else 0
        groups = {plate: np.log(values) for plate, values in _by_plate(usable).items()}
        if len(usable) < 2:
            continue
        n += len(usable)
        plates |= set(groups)
        sets += [group for group in groups.values() if len(group) > 1]
        if len(groups) > 1:
            repeated.append(one_way(list(groups.values())))
    if not sets and not repeated:
        return None
    notes = (f"{left_out}-near-blank-or-bounded",) if left_out else ()
    row = Imprecision(quantity, POOLED, "", NAN, n, len(plates), NAN, replicates=replicates, notes=notes)
    return with_components(row, pooled_components(sets, repeated))


# --- the check -------------------------------------------------------------------------------------


def precision_check(found: Precision, quantity: str, plates: int) -> Check:
    """What a change of the followed quantity must exceed, and whether that was measured here or is assumed.

    Passes where it is measured: on one plate for a run of one, on two plates as well for a run of several.
    """
    one, two = (found.change(quantity, same_plate) for same_plate in (True, False))
    row = next((row for row in found.rows if row.quantity == quantity and row.material == POOLED), None)
    words = [f"To exceed the assay's own error, {quantity} must change {one.fold:.3g}-fold on one plate ({one.why})"]
    if plates > 1:
        words.append(f"{two.fold:.3g}-fold from plate to plate ({two.why})")
    message = " and ".join(words) + "."
    if row is None:
        message = (
            f"No {quantity} was measured twice (no replicates, no control on two plates): precision.csv has no row for "
            f"it. A {found.assumed:g}-fold change is assumed to exceed the assay's error; run duplicates."
        )
    elif "between-set-to-0" in row.notes:
        message += " Plates differed by less than replicates do: their component came out negative and was set to 0."
    known = one.measured and (two.measured or plates == 1)
    fold = one.fold if plates == 1 else two.fold
    limit = f"measured with >= {found.min_df} degrees of freedom"
    where = f"{plates} plate{'s' if plates > 1 else ''}"
    return Check("run", where, "precision", fold, limit, Verdict.PASS if known else Verdict.WARN, message)
