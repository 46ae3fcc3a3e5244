"""Limits of blank, of detection and of quantitation from a set of plates, in the manner of CLSI EP17-A2."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aqp4flow.assay.definition import ValidationSettings
from aqp4flow.assay.quality.linearity import Linearity
from aqp4flow.assay.quality.precision import Observation, by_level, components, one_way
from aqp4flow.model import NAN, Reading, Role, Values

_Z95 = 1.6448536269514722  # one-sided 95 % of the normal law


@dataclass(frozen=True)
class Limit:
    """LOB, LOD or LLOQ in delta: what it rests on, by which rule."""

    name: str
    basis: str
    rule: str
    value: float
    n: int
    materials: int
    plates: int
    mean: float = NAN
    sd: float = NAN
    chosen: bool = False
    notes: tuple[str, ...] = ()


def _factor(df: int) -> float:
    """EP17-A2's c_p: 1.645 / (1 - 1 / (4 df)), which allows for an SD from few values."""
    return _Z95 / (1 - 1 / (4 * df))


def limit_of_blank(values: Values, materials: int) -> tuple[float, str, float]:
    """LOB, the rule, and the p value of normality, from at least three blanks (EP17-A2, 5.3).

    Normal blanks (Shapiro-Wilk p >= 0.05): mean + c_p SD with B - K degrees of freedom (B values of K materials).
    Else the value at rank 0.5 + 0.95 B, between neighbours by a straight line; where B is too small for that rank
    (fewer than 10) the parametric rule is kept.
    """
    from scipy.stats import shapiro

    n = len(values)
    p = float(shapiro(values).pvalue) if np.ptp(values) > 0 else 1.0
    if p >= 0.05 or n < 10:
        df = max(1, n - materials)
        return float(np.mean(values) + _factor(df) * np.std(values, ddof=1)), "mean + c SD", p
    rank = 0.5 + 0.95 * n
    return float(np.interp(rank, np.arange(1, n + 1), np.sort(values))), "95th percentile", p


def _lob(basis: str, wells: Sequence[Reading]) -> Limit | None:
    values = np.array([reading.delta.value for reading in wells])
    plates = len({reading.well.plate for reading in wells})
    materials = len({reading.well.serum for reading in wells})
    if len(values) < 3:
        return None
    value, rule, p = limit_of_blank(values, materials)
    notes = [f"Shapiro-Wilk p {p:.2g}"]
    if len(values) < 60:
        notes.append(f"{len(values)} of the 60 values that EP17 wants")
    return Limit(
        "LOB", basis, rule, value, len(values), materials, plates, float(values.mean()),
        float(values.std(ddof=1)), notes=tuple(notes),
    )  # fmt: skip


def blanks(readings: Sequence[Reading]) -> dict[str, list[Reading]]:
    """Usable wells of negative sera at their lowest common dilution, and of the secondary antibody alone."""
    usable = [reading for reading in readings if reading.usable and reading.well.cells != "control"]
    negative = [reading for reading in usable if reading.well.role is Role.NEGATIVE]
    lowest = min((reading.well.dilution for reading in negative if reading.well.dilution), default=None)
    return {
        "negative sera": [reading for reading in negative if reading.well.dilution == lowest],
        "secondary only": [reading for reading in usable if reading.well.role is Role.SECONDARY_ONLY],
    }


@dataclass(frozen=True)
class Profile:
    """A precision profile of delta: variance = floor + (cv * level)^2, fitted to what `levels` levels show."""

    floor: float
    relative: float
    levels: int

    def sd(self, level: float) -> float:
        """SD at a level of delta."""
        return math.sqrt(self.floor + self.relative * level * level)

    def cv(self, level: float) -> float:
        """CV at a level of delta, percent."""
        return 100 * self.sd(level) / level


@dataclass(frozen=True)
class Spread:
    """How far the values of one material and dilution lie apart, on the linear scale."""

    material: str
    role: Role
    dilution: float
    mean: float
    variance: float
    df: float
    plates: int
    n: int


def spreads(found: Sequence[Observation]) -> tuple[list[Spread], list[Spread]]:
    """Spread of delta within plates (replicate wells), and in all (materials on several plates)."""
    within, total = [], []
    for level in by_level(one for one in found if one.quantity == "delta").values():
        groups: dict[str, list[float]] = {}
        for one in level:
            groups.setdefault(one.plate, []).append(one.value)
        anova = one_way([np.array(values) for values in groups.values()])
        found_here = components(anova)
        first = level[0]
        where = (first.material, first.role, first.dilution, anova.grand)
        if anova.within.df:
            within.append(Spread(*where, anova.within.value, anova.within.df, len(groups), anova.n))
        all_of_it = found_here.total()
        if all_of_it.known:
            total.append(Spread(*where, all_of_it.value, found_here.total_df, len(groups), anova.n))
    return within, total


def profile_of(found: Sequence[Spread]) -> Profile | None:
    """Variance on level by weighted least squares, weights df / variance^2 of the fit itself; None below 3 levels.

    A form of Sadler's variance functions (Sadler, Clin Biochem Rev 2016;37:S1). Neither part is let below 0.
    """
    known = [one for one in found if one.df > 0]
    if len(known) < 3:
        return None
    level2 = np.array([one.mean**2 for one in known])
    variance = np.array([one.variance for one in known])
    df = np.array([one.df for one in known])
    floor, relative = float(np.min(variance)) + 1e-12, float(np.median(variance / np.maximum(level2, 1e-12)))
    for _ in range(50):
        fitted = np.maximum(floor + relative * level2, 1e-12)
        weight = df / fitted**2
        sums = [float((weight * level2**power).sum()) for power in range(3)]
        right = [float((weight * variance * level2**power).sum()) for power in range(2)]
        determinant = sums[0] * sums[2] - sums[1] ** 2
        if determinant <= 0:
            break
        floor = (right[0] * sums[2] - right[1] * sums[1]) / determinant
        relative = (right[1] * sums[0] - right[0] * sums[1]) / determinant
        if floor < 0:
            floor, relative = 0.0, right[1] / sums[2]
        elif relative < 0:
            floor, relative = right[0] / sums[0], 0.0
    return Profile(floor, relative, len(known))


def _lods(lob: Limit, within: Sequence[Spread], total: Sequence[Spread]) -> list[Limit]:
    """LOD = LOB + c SD of low sera (mean between LOB and four times it), with the blanks' SD, and by the profile.

    Sera on three plates or more are preferred, for their SD holds what plates add. Low sera are mostly strong ones
    diluted far, whose background is diluted with them: a weak serum at the screening dilution scatters like a negative
    one. The first of the list, which counts, is therefore the larger of the two with a measured SD.
    """
    between = [one for one in total if one.plates > 2 and one.role is not Role.NEGATIVE]
    basis, pool = ("low sera over plates", between) if between else ("low sera, replicate wells", _sera(within))
    low = [one for one in pool if lob.value < one.mean <= 4 * lob.value]
    found = [
        replace(
            lob,
            name="LOD",
            rule="LOB + c SD of blanks",
            value=lob.value + _factor(max(1, lob.n - lob.materials)) * lob.sd,
            notes=(),
        )
    ]
    if low:
        df = sum(one.df for one in low)
        sd = math.sqrt(sum(one.df * one.variance for one in low) / df)
        value = lob.value + _factor(max(1, round(df))) * sd
        names = ", ".join(f"{one.material} 1:{one.dilution:g}" for one in low[:4]) + (" ..." if len(low) > 4 else "")
        materials = len({one.material for one in low})
        mean, most = float(np.mean([one.mean for one in low])), max(one.plates for one in low)
        notes = (names, f"{df:.3g} degrees of freedom")
        found.append(
            Limit("LOD", basis, "LOB + c SD", value, sum(one.n for one in low), materials, most, mean, sd, notes=notes)
        )
    found.sort(key=lambda limit: -limit.value)
    by_profile = _lod_by_profile(lob, pool)
    return [*found, *([by_profile] if by_profile else [])]


def _sera(found: Iterable[Spread]) -> list[Spread]:
    """Sera that hold antibody: the scatter of negative ones is that of serum, and no part of a profile over levels."""
    return [one for one in found if one.role is not Role.NEGATIVE]


def _lod_by_profile(lob: Limit, pool: Sequence[Spread]) -> Limit | None:
    """The level that lies above the LOB in 95 % of its own measurements: m = LOB + 1.645 SD(m) (EP17-A2, appendix)."""
    profile = profile_of(pool)
    if profile is None or not lob.value > 0:
        return None
    level = lob.value
    for _ in range(200):
        level = lob.value + _Z95 * profile.sd(level)
        if not level < 100 * lob.value:
            return None
    n, materials = sum(one.n for one in pool), len({one.material for one in pool})
    plates = max(one.plates for one in pool)
    return Limit("LOD", "precision profile", "LOB + 1.645 SD(LOD)", level, n, materials, plates, sd=profile.sd(level))


@dataclass(frozen=True)
class LloqLevel:
    """One level looked at for the LLOQ: its CV and its bias against what dilution leads to expect, percent."""

    spread: Spread
    cv: float
    bias: float
    met: bool


def lloq_levels(
    total: Sequence[Spread], within: Sequence[Spread], lines: Sequence[Linearity], settings: ValidationSettings
) -> list[LloqLevel]:
    """Levels by rising delta, down from the top of each serum's linear interval.

    The CV is the total one for sera on three plates or more, else (where no serum is) that of replicate wells. The
    expected value is the serum's own line over its linear interval, drawn on to further dilutions.
    """
    pool = _sera(one for one in total if one.plates > 2) or _sera(within)
    by_serum = {line.serum: line for line in lines if line.interval}
    levels = []
    for one in sorted(pool, key=lambda spread: (spread.mean, spread.material)):
        line = by_serum.get(one.material)
        if line is None or line.interval is None or one.mean <= 0 or one.dilution < line.interval[0]:
            continue
        cv = 100 * math.sqrt(one.variance) / one.mean
        bias = 100 * (one.mean / _expected(line, one.dilution) - 1)
        met = cv <= settings.lloq_cv and abs(bias) <= settings.lloq_bias
        levels.append(LloqLevel(one, cv, bias, met))
    return levels


def _expected(line: Linearity, dilution: float) -> float:
    inside = line.inside()
    middle = float(np.mean([math.log(level.dilution) for level in inside]))
    height = float(np.mean([math.log(level.mean) for level in inside]))
    return math.exp(height + line.slope.value * (math.log(dilution) - middle))


def _lloq(levels: Sequence[LloqLevel]) -> Limit | None:
    """The lowest level that meets both goals with all levels above it meeting them too."""
    met: list[LloqLevel] = []
    for level in reversed(levels):
        if not level.met:
            break
        met.append(level)
    if not met:
        return None
    lowest = met[-1].spread
    notes = [f"{lowest.material} 1:{lowest.dilution:g}, CV {met[-1].cv:.3g} %, bias {met[-1].bias:.3g} %"]
    if len(met) == len(levels):
        notes.append("every level met it: the LLOQ may lie lower")
    return Limit(
        "LLOQ", "levels", "lowest level with CV and bias within the goal", lowest.mean, lowest.n, 1, lowest.plates,
        lowest.mean, math.sqrt(lowest.variance), notes=tuple(notes),
    )  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """LOB, LOD and LLOQ of delta; every way they were had, those that count marked `chosen`; and what they rest on."""

    found: tuple[Limit, ...]
    levels: tuple[LloqLevel, ...]
    profile: Profile | None

    def of(self, name: str) -> Limit | None:
        """The one that counts."""
        return next((limit for limit in self.found if limit.name == name and limit.chosen), None)


def detection_limits(
    readings: Sequence[Reading],
    found: Sequence[Observation],
    lines: Sequence[Linearity],
    settings: ValidationSettings,
) -> Limits:
    """All limits. Negative sera are the blanks that count, for they hold serum; without them the wells without serum.

    The LLOQ is not below the LOD, nor below the level of which the blanks' SD is `lloq_cv` percent: where the lowest
    good level lies below them, the higher of them is the LLOQ, and it is said.
    """
    lobs = [lob for basis, wells in blanks(readings).items() if (lob := _lob(basis, wells))]
    within, total = spreads(found)
    profile = profile_of(_sera(one for one in total if one.plates > 2)) or profile_of(_sera(within))
    levels = lloq_levels(total, within, lines, settings)
    rows = [replace(lob, chosen=number == 0) for number, lob in enumerate(lobs)]
    lods = _lods(lobs[0], within, total) if lobs else []
    rows += [replace(lod, chosen=number == 0) for number, lod in enumerate(lods)]
    lloq = _lloq(levels)
    if lloq is not None:
        rows += _raised(lloq, lobs[:1], lods[:1], settings.lloq_cv)
    return Limits(tuple(rows), tuple(levels), profile)


def _raised(lloq: Limit, lob: Sequence[Limit], lod: Sequence[Limit], cv: float) -> list[Limit]:
    """The LLOQ that counts last, raised where sera as they are screened could not be measured as well."""
    floors = [(one.value, replace(one, name="LLOQ", rule="not below the LOD")) for one in lod]
    for one in lob:
        value = 100 * one.sd / cv
        floors.append((value, replace(one, name="LLOQ", rule=f"SD of blanks is {cv:g} %", value=value)))
    highest = max(floors, key=lambda floor: floor[0], default=None)
    if highest is None or highest[0] <= lloq.value:
        return [replace(lloq, chosen=True)]
    note = f"the lowest good level of diluted sera is {lloq.value:.4g}"
    return [lloq, replace(highest[1], chosen=True, notes=(note,))]
