"""Linearity and parallelism of dilution series over a set of plates, in the manner of CLSI EP06-A."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from aqp4flow.assay.definition import ValidationSettings
from aqp4flow.assay.quality.precision import Observation, by_level
from aqp4flow.model import NAN, UNKNOWN, Estimate, Role, Values


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


def _polynomials(points: Sequence[Observation]) -> tuple[_Line | None, tuple[int, _Line | None]]:
    """The line, and the best polynomial up to order 3 with its order (EP06-A, 5.3).

    Orders 2 and 3 count when their highest coefficient differs from 0 at 5 %; of those the one that leaves the
    smallest SD is the best. None where there are too few values for a line.
    """
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
