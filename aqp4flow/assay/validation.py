"""What a set of plates shows of the assay itself: linearity, parallelism, limits of blank, detection and quantitation,
carry-over. Pure sums over what results folders hold.

In the manner of CLSI EP06-A (linearity by polynomials), EP17-A2 (LOB, LOD, LLOQ), EP10-A3 (carry-over) and H62 (flow
cytometry); from plates as they were run, so that each part says what it rests on and what it lacks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from aqp4flow.assay.definition import ValidationSettings
from aqp4flow.assay.precision import CONTROLS, Observation, by_level, components, one_way
from aqp4flow.model import NAN, UNKNOWN, WITH_SERUM, Estimate, Reading, Role, Values

#: What EP05-A3 and H62 would have, as far as plates allow: levels, replicates a plate, plates.
WANTED_LEVELS, WANTED_REPLICATES, WANTED_PLATES = 3, 3, 5


# --- linearity -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LinearityLevel:
    """One dilution of a serum: geometric mean, deviation of the best polynomial from the line, dilution recovery.

    Deviations are in percent, over all dilutions in range and within the linear interval; `recovery` is percent of
    what dilution alone would leave, 100 at the middle of the interval.
    """

    dilution: float
    n: int
    plates: int
    mean: float
    deviation: float = NAN
    interval_deviation: float = NAN
    recovery: float = NAN


@dataclass(frozen=True)
class Linearity:
    """Log delta on log dilution of one serum: order of the best polynomial, linear interval, its slope with limits.

    A slope of -1 is proportional to dilution. `slope_ratio` is the serum's over the reference's at like shifts.
    """

    serum: str
    role: str
    levels: tuple[LinearityLevel, ...]
    order: int = 0
    interval: tuple[float, float] | None = None
    slope: Estimate = UNKNOWN
    slope_ratio: Estimate = UNKNOWN
    parallel: str = ""
    notes: tuple[str, ...] = ()

    @property
    def fold(self) -> float:
        """How far the linear interval reaches, as a factor of dilution; NaN where there is none."""
        return self.interval[1] / self.interval[0] if self.interval else NAN

    def inside(self) -> list[LinearityLevel]:
        """The dilutions of the linear interval."""
        low, high = self.interval or (math.inf, -math.inf)
        return [level for level in self.levels if low <= level.dilution <= high]


@dataclass(frozen=True)
class _Line:
    """A polynomial of log value on log dilution with an intercept a plate."""

    coefficients: Values  # of x, x^2, x^3 in centred ln dilution
    errors: Values
    df: int
    sd: float
    centre: float

    def at(self, log_dilution: float) -> float:
        """The polynomial without its intercepts."""
        x = log_dilution - self.centre
        return float(sum(b * x ** (i + 1) for i, b in enumerate(self.coefficients)))


def _fit(points: Sequence[Observation], order: int) -> _Line | None:
    """Least squares with plates as blocks; None without a degree of freedom left."""
    plates = list(dict.fromkeys(point.plate for point in points))
    x = np.log([point.dilution for point in points])
    y = np.log([point.value for point in points])
    centre = float(np.mean(x))
    blocks = np.array([[float(point.plate == plate) for plate in plates] for point in points])
    design = np.column_stack([blocks, *((x - centre) ** power for power in range(1, order + 1))])
    df = len(points) - design.shape[1]
    if df < 1 or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    solution, *_ = np.linalg.lstsq(design, y)
    variance = float(((y - design @ solution) ** 2).sum()) / df
    errors = np.sqrt(np.maximum(0.0, variance * np.diag(np.linalg.inv(design.T @ design))))
    n = len(plates)
    return _Line(solution[n:], errors[n:], df, math.sqrt(variance), centre)


def best_polynomial(points: Sequence[Observation]) -> tuple[_Line | None, int]:
    """The line, and the order of the best polynomial up to 3 (EP06-A, 5.3).

    Orders 2 and 3 count when their highest coefficient differs from 0 at 5 %; of those the one that leaves the
    smallest SD is the best. None where there are too few values for a line.
    """
    line, (order, _) = _polynomials(points)
    return line, order


def _polynomials(points: Sequence[Observation]) -> tuple[_Line | None, tuple[int, _Line | None]]:
    from scipy.special import stdtrit

    line = _fit(points, 1)
    best: tuple[int, _Line | None] = (1 if line else 0, line)
    levels = len({point.dilution for point in points})
    for order in range(2, min(3, levels - 1) + 1):
        bent = _fit(points, order)
        if bent is None or best[1] is None:
            continue
        counts = abs(float(bent.coefficients[-1])) > float(stdtrit(bent.df, 0.975)) * float(bent.errors[-1])
        if counts and bent.sd < best[1].sd:
            best = (order, bent)
    return line, best


def deviations(points: Sequence[Observation]) -> tuple[int, dict[float, float]]:
    """Order of the best polynomial, and its distance from the line at each dilution in percent (EP06-A)."""
    line, (order, best) = _polynomials(points)
    dilutions = sorted({point.dilution for point in points})
    if line is None or best is None:
        return 0, {}
    # intercepts are compared where both have their mean over the points
    logs = [math.log(point.dilution) for point in points]
    offset = float(np.mean([best.at(x) - line.at(x) for x in logs]))
    return order, {d: 100 * math.expm1(best.at(math.log(d)) - line.at(math.log(d)) - offset) for d in dilutions}


def linear_interval(points: Sequence[Observation], limit: float) -> tuple[float, float] | None:
    """The widest run of at least three neighbouring dilutions with no deviation beyond `limit` percent.

    Of runs that reach equally far the one at the higher dilutions, where binding does not saturate.
    """
    dilutions = sorted({point.dilution for point in points})
    found: tuple[float, float] | None = None
    for first in range(len(dilutions)):
        for last in range(len(dilutions) - 1, first + 1, -1):
            low, high = dilutions[first], dilutions[last]
            if found and high / low < (found[1] / found[0]) * (1 - 1e-9):
                break
            order, off = deviations([point for point in points if low <= point.dilution <= high])
            if order and max(map(abs, off.values())) <= limit:
                found = (low, high)
                break
    return found


def linearity_of(serum: str, found: Sequence[Observation], settings: ValidationSettings) -> Linearity:
    """One serum over the dilutions at which all of its wells are clear of their counting error."""
    levels = {level[0].dilution: level for level in by_level(found).values()}
    usable = {dilution: level for dilution, level in sorted(levels.items()) if all(one.clear for one in level)}
    points = [one for level in usable.values() for one in level]
    rows = [_level(level) for level in usable.values()]
    notes = [] if len(usable) == len(levels) else [f"{len(levels) - len(usable)}-dilutions-near-blank"]
    empty = Linearity(serum, found[0].role.value, tuple(rows), notes=tuple(notes))
    if len(usable) < 3:
        return replace(empty, notes=(*notes, "fewer-than-3-dilutions"))
    order, off = deviations(points)
    if not order:
        return replace(empty, notes=(*notes, "too-few-values"))
    if len(usable) < 5:
        notes.append("fewer-than-5-dilutions")
    interval = linear_interval(points, settings.linear_percent)
    rows = [replace(row, deviation=off[row.dilution]) for row in rows]
    if interval is None:
        return replace(empty, levels=tuple(rows), order=order, notes=(*notes, "no-linear-interval"))
    inside = [point for point in points if interval[0] <= point.dilution <= interval[1]]
    _, off = deviations(inside)
    middle = float(np.mean([math.log(row.mean * row.dilution) for row in rows if row.dilution in off]))
    rows = [
        replace(
            row,
            interval_deviation=off.get(row.dilution, NAN),
            recovery=100 * math.exp(math.log(row.mean * row.dilution) - middle),
        )
        for row in rows
    ]
    return replace(
        empty, levels=tuple(rows), order=order, interval=interval, slope=slope_of(inside), notes=tuple(notes)
    )


def _level(level: Sequence[Observation]) -> LinearityLevel:
    mean = math.exp(float(np.mean(np.log([one.value for one in level]))))
    return LinearityLevel(level[0].dilution, len(level), len({one.plate for one in level}), mean)


def slope_of(points: Sequence[Observation]) -> Estimate:
    """Slope of log value on log dilution within plates, with 95 % limits by Student's t."""
    from scipy.special import stdtrit

    line = _fit(points, 1)
    if line is None:
        return UNKNOWN
    slope, half = float(line.coefficients[0]), float(stdtrit(line.df, 0.975) * line.errors[0])
    return Estimate(slope, slope - half, slope + half)


def ratio_of_slopes(points: Sequence[Observation], reference: Sequence[Observation]) -> Estimate:
    """Slope over slope with 90 % limits by Fieller (J R Stat Soc B 1954;16:175); unbounded limits are NaN.

    Two-sided 90 % limits inside an interval show equivalence at 5 % (two one-sided tests).
    """
    from scipy.special import stdtrit

    one, other = _fit(points, 1), _fit(reference, 1)
    if one is None or other is None:
        return UNKNOWN
    b1, b2 = float(one.coefficients[0]), float(other.coefficients[0])
    v1, v2 = float(one.errors[0]) ** 2, float(other.errors[0]) ** 2
    if b2 == 0:
        return UNKNOWN
    df = (v1 + v2) ** 2 / (v1**2 / one.df + v2**2 / other.df) if v1 + v2 > 0 else one.df + other.df
    t2 = float(stdtrit(df, 0.95)) ** 2
    a, b, c = b2**2 - t2 * v2, b1 * b2, b1**2 - t2 * v1
    root = b**2 - a * c
    if a <= 0 or root < 0:
        return Estimate(b1 / b2)
    return Estimate(b1 / b2, (b - math.sqrt(root)) / a, (b + math.sqrt(root)) / a)


def linearity(found: Sequence[Observation], settings: ValidationSettings) -> list[Linearity]:
    """Every serum measured at three dilutions or more, by delta, and how parallel it is to the reference serum."""
    sera: dict[str, list[Observation]] = {}
    for one in found:
        if one.quantity == "delta":
            sera.setdefault(one.material, []).append(one)
    sera = {serum: points for serum, points in sera.items() if len({one.dilution for one in points}) > 2}
    rows = [linearity_of(serum, points, settings) for serum, points in sera.items()]
    reference = next((row for row in rows if row.role == Role.REFERENCE and row.interval), None)
    if reference is None:
        return rows
    return [
        row if row is reference else _compared(row, sera[row.serum], reference, sera[reference.serum], settings)
        for row in rows
    ]


def _compared(
    row: Linearity,
    points: Sequence[Observation],
    reference: Linearity,
    reference_points: Sequence[Observation],
    settings: ValidationSettings,
) -> Linearity:
    """The row with its slope over the reference's, both where the shift lies in the reference's linear interval."""
    inside = reference.inside()
    low, high = min(level.mean for level in inside), max(level.mean for level in inside)
    like = {level.dilution for level in row.levels if low <= level.mean <= high}
    theirs = {level.dilution for level in inside}
    if len(like) < 2:
        return replace(row, notes=(*row.notes, "no-like-shifts"))
    ratio = ratio_of_slopes(
        [one for one in points if one.dilution in like], [one for one in reference_points if one.dilution in theirs]
    )
    if not ratio.known:
        return replace(row, notes=(*row.notes, "too-few-values"))
    notes = (*row.notes, "two-dilutions-compared") if len(like) == 2 else row.notes
    return replace(row, slope_ratio=ratio, parallel=_parallel(ratio, settings), notes=notes)


def _parallel(ratio: Estimate, settings: ValidationSettings) -> str:
    """`yes`: the limits lie inside; `no`: they lie outside; `not-shown`: they reach across."""
    low, high = settings.slope_ratio_low, settings.slope_ratio_high
    if math.isnan(ratio.low):
        return "not-shown"
    if low <= ratio.low and ratio.high <= high:
        return "yes"
    return "no" if ratio.high < low or ratio.low > high else "not-shown"


# --- limit of blank, of detection, of quantitation -------------------------------------------------


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
    return 1.6448536269514722 / (1 - 1 / (4 * df))


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
        level = lob.value + 1.6448536269514722 * profile.sd(level)
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


# --- carry-over ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LowWell:
    """A well where little is expected, with the delta of the well acquired before it."""

    plate: str
    well: str
    kind: str
    stratum: tuple[str, str]
    value: float
    before: float
    after_high: bool


@dataclass(frozen=True)
class CarryOver:
    """Low wells after a high one against those after a low one: means, and the excess in percent of the high well."""

    kind: str
    n_after_high: int
    n_after_low: int
    mean_after_high: float
    mean_after_low: float
    mean_high: float
    percent: Estimate
    notes: tuple[str, ...] = ()


#: A well is high when its delta is at least this share of the largest on its plate; a serum's highest dilution is low
#: when one of its wells lies below the other share.
HIGH_SHARE, LOW_SHARE = 0.25, 0.05


def acquisition_order(readings: Iterable[Reading]) -> dict[str, list[Reading]]:
    """Wells of each plate row by row (A01, A02, ... B01, ...), the order in which plates are read unless told."""
    plates: dict[str, list[Reading]] = {}
    for reading in readings:
        plates.setdefault(reading.well.plate, []).append(reading)
    return {
        plate: sorted(wells, key=lambda reading: (reading.well.name[:1], int(reading.well.name[1:] or 0)))
        for plate, wells in plates.items()
    }


def low_wells(readings: Sequence[Reading]) -> list[LowWell]:
    """Negative sera, wells without serum, and the highest dilution of each serum, with the well before each.

    A stratum holds wells in which the same is expected: of one plate and kind, for highest dilutions of one serum.
    """
    found = []
    for plate, wells in acquisition_order(readings).items():
        top = max((reading.delta.value for reading in wells if reading.delta.known), default=NAN)
        lows = _low_dilutions(wells, LOW_SHARE * top)
        for before, reading in pairwise(wells):
            kind = _kind(reading, lows)
            if kind and reading.usable and before.delta.known:
                stratum = (plate, reading.well.serum if kind == "highest dilution" else kind)
                high = before.delta.value >= HIGH_SHARE * top
                found.append(
                    LowWell(plate, reading.well.name, kind, stratum, reading.delta.value, before.delta.value, high)
                )
    return found


def _low_dilutions(wells: Sequence[Reading], limit: float) -> dict[str, float]:
    """Each serum's highest dilution, where the smallest delta there lies below `limit`.

    The smallest, so that a well with carry-over does not take its own serum out of the comparison.
    """
    with_serum = [reading for reading in wells if reading.well.role in WITH_SERUM and reading.usable]
    highest: dict[str, float] = {}
    for reading in with_serum:
        highest[reading.well.serum] = max(highest.get(reading.well.serum, 0.0), reading.well.dilution or 0.0)
    smallest: dict[str, float] = {}
    for reading in with_serum:
        serum = reading.well.serum
        if reading.well.dilution == highest[serum]:
            smallest[serum] = min(smallest.get(serum, math.inf), reading.delta.value)
    return {serum: highest[serum] for serum, value in smallest.items() if value < limit}


def _kind(reading: Reading, lows: Mapping[str, float]) -> str:
    well = reading.well
    if well.cells == "control":
        return ""
    if well.role is Role.SECONDARY_ONLY:
        return "secondary only"
    if well.role is Role.NEGATIVE:
        return "negative sera"
    return "highest dilution" if well.serum and well.dilution == lows.get(well.serum) else ""


def carry_over(wells: Sequence[LowWell]) -> list[CarryOver]:
    """Excess of low wells after a high one, by kind and of all kinds together.

    As EP10-A3 compares a low sample after a high with a low after a low: the difference of their means within each
    stratum, over the mean distance of the wells before them. Kinds are put together with the inverse of their squared
    errors as weights. Limits by Student's t with each kind's degrees of freedom, of all together with their sum.
    """
    rows: list[CarryOver] = []
    parts: list[tuple[float, float, int]] = []
    for kind in dict.fromkeys(well.kind for well in wells):
        row, part = _carry_over_of(kind, [well for well in wells if well.kind == kind])
        rows.append(row)
        parts += [part] if part else []
    if len(parts) > 1:
        weights = [1 / error**2 for _, error, _ in parts]
        value = sum(w * part[0] for w, part in zip(weights, parts, strict=True)) / sum(weights)
        high = [well for well in wells if well.after_high]
        low = [well for well in wells if not well.after_high]
        percent = _with_t(value, 1 / math.sqrt(sum(weights)), sum(part[2] for part in parts))
        rows.append(CarryOver("all", len(high), len(low), NAN, NAN, _mean([w.before for w in high]), percent))
    return rows


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else NAN


def _with_t(value: float, error: float, df: int) -> Estimate:
    from scipy.special import stdtrit

    half = float(stdtrit(df, 0.975)) * error
    return Estimate(value, value - half, value + half)


def _carry_over_of(kind: str, wells: Sequence[LowWell]) -> tuple[CarryOver, tuple[float, float, int] | None]:
    """The row of one kind; and its percent, standard error and degrees of freedom where it shows anything."""
    strata: dict[tuple[str, str], list[LowWell]] = {}
    for well in wells:
        strata.setdefault(well.stratum, []).append(well)
    both = {
        stratum: group for stratum, group in strata.items() if 0 < sum(well.after_high for well in group) < len(group)
    }
    high = [well for well in wells if well.after_high]
    low = [well for well in wells if not well.after_high]
    empty = CarryOver(
        kind, len(high), len(low), _mean([w.value for w in high]), _mean([w.value for w in low]),
        _mean([w.before for w in high]), UNKNOWN,
    )  # fmt: skip
    df = sum(len(group) for group in both.values()) - 2 * len(both)
    df += sum(len(group) - 1 for stratum, group in strata.items() if stratum not in both)
    if not both or df < 1:
        why = "no-low-after-high" if not high else "no-low-after-low" if not low else "none-beside-another"
        return replace(empty, notes=(why if not both else "too-few-wells",)), None
    squares, difference, distance, weight_sum = 0.0, 0.0, 0.0, 0.0
    for stratum, group in strata.items():
        sides = [[w for w in group if w.after_high], [w for w in group if not w.after_high]]
        squares += sum(
            float(((np.array([w.value for w in side]) - _mean([w.value for w in side])) ** 2).sum())
            for side in sides
            if side
        )
        if stratum in both:
            weight = 1 / (1 / len(sides[0]) + 1 / len(sides[1]))
            difference += weight * (_mean([w.value for w in sides[0]]) - _mean([w.value for w in sides[1]]))
            distance += weight * (_mean([w.before for w in sides[0]]) - _mean([w.before for w in sides[1]]))
            weight_sum += weight
    error = math.sqrt(squares / df / weight_sum) * weight_sum
    percent, relative = 100 * difference / distance, 100 * error / distance
    if not relative > 0:
        return replace(empty, percent=Estimate(percent)), None
    return replace(empty, percent=_with_t(percent, relative, df)), (percent, relative, df)


# --- the whole -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Goal:
    """A goal that was set: what was found, whether it is met. A value that is not known does not meet it."""

    name: str
    value: float
    limit: float
    met: bool
    message: str


@dataclass(frozen=True)
class Validation:
    """Everything a set of plates shows of the assay beside its precision."""

    lines: tuple[Linearity, ...]
    limits: Limits
    lows: tuple[LowWell, ...]
    carried: tuple[CarryOver, ...]
    within: tuple[Spread, ...]
    total: tuple[Spread, ...]
    blanks: Mapping[str, tuple[float, ...]]


def validation(readings: Sequence[Reading], found: Sequence[Observation], settings: ValidationSettings) -> Validation:
    """Linearity, limits and carry-over from all wells of all plates."""
    lines = linearity(found, settings)
    lows = low_wells(readings)
    within, total = spreads(found)
    limits = detection_limits(readings, found, lines, settings)
    empty = {name: tuple(well.delta.value for well in wells) for name, wells in blanks(readings).items()}
    return Validation(tuple(lines), limits, tuple(lows), tuple(carry_over(lows)), tuple(within), tuple(total), empty)


def control_lines(lines: Sequence[Linearity]) -> list[Linearity]:
    """The sera whose linearity a goal is held to: controls with a series, else all."""
    controls = [line for line in lines if line.role in CONTROLS]
    return controls or list(lines)
