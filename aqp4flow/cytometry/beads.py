"""Calibration beads: peaks matched to the lot's assigned values, and the line from MFI to assigned units.

The line is `log10(assigned + A) = intercept + slope * log10(MFI)`. A is what the bead shines without the fluorophore,
in assigned units. It can be known only where the lot has a blank (assigned 0), and is 0 otherwise: the plain log-log
line of MESF kits. The term is that of FlowCal (Castillo-Hair et al. 2016, ACS Synth Biol 5:774). It belongs to the
beads: cells are read off `10 ** intercept * MFI ** slope`, for their own background is in the non-expressing MFI.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np

from aqp4flow.cytometry.beadpeaks import (
    LEAST_EVENTS,
    LEAST_PEAKS,
    TOP,
    Groups,
    Sample,
    find_groups,
    position,
    spread,
)
from aqp4flow.cytometry.gates import Rows
from aqp4flow.errors import AnalysisError
from aqp4flow.model import NAN, Channel, Values

MOST_PEAKS = 12
SLOPE_LIMITS = (0.9, 1.1)
LEAST_R2 = 0.97  # the Q and B practice: below it something is wrong with beads or cytometer
MOST_RESIDUAL = 20.0  # percent, as for standards of ligand-binding assays at the ends of their range
MOST_BETWEEN_WELLS = 3.0  # percent
_MERGED = 1.6  # times the usual number
_UNEVEN = 0.5
_MUCH_DEBRIS = 10.0  # percent of the singlets


@dataclass(frozen=True)
class Assigned:
    """The values a lot's maker assigned to its populations in one channel, dim to bright; None: no value given."""

    channel: str
    unit: str
    values: tuple[float | None, ...]
    lot: str = ""


@dataclass(frozen=True)
class Doubt:
    """Something that speaks against a calibration: a stable code, the number it rests on, a sentence."""

    code: str
    value: float
    message: str


@dataclass(frozen=True)
class Peak:
    """One population. `number` counts the lot's values from the dimmest (`1-2`: merged).

    `mfi` is the median on the linear scale, `cv` the robust CV in percent. `fitted` is what the line gives for the
    bead, in assigned units. `note` says why a peak is not used.
    """

    number: str
    n: int
    mfi: float
    cv: float
    assigned: float = NAN
    fitted: float = NAN
    residual_percent: float = NAN
    used: bool = False
    note: str = ""


@dataclass(frozen=True)
class Line:
    """`log10(assigned + autofluorescence) = intercept + slope * log10(MFI)`; `low`, `high`: MFI of the peaks used."""

    slope: float
    intercept: float
    autofluorescence: float
    r2: float
    low: float
    high: float

    def units(self, mfi: float) -> float:
        """An MFI in assigned units; NaN at or below 0, which has no logarithm."""
        return 10.0 ** (self.intercept + self.slope * math.log10(mfi)) if mfi > 0 else NAN

    def outside(self, mfi: float) -> bool:
        """Whether an MFI lies below the dimmest or above the brightest peak used."""
        return not self.low <= mfi <= self.high


@dataclass(frozen=True)
class Calibration:
    """Peaks and line of one channel, with the bead wells they came from and what speaks against them.

    `events`: the signal of each peak's events, in the order of `peaks`.
    """

    assigned: Assigned
    peaks: tuple[Peak, ...]
    line: Line
    doubts: tuple[Doubt, ...]
    samples: tuple[Sample, ...] = field(repr=False)
    events: tuple[Values, ...] = field(repr=False)

    @property
    def n_singlets(self) -> int:
        """Events in the singlet clouds of all bead wells."""
        return sum(len(sample.signal) for sample in self.samples)


def calibrate(samples: Sequence[Sample], channel: Channel, assigned: Assigned) -> Calibration:
    """Peaks of the pooled bead wells along `channel`, matched to the assigned values, and the line through them.

    Raises AnalysisError where the peaks cannot be told apart or matched without guessing.
    """
    found = find_groups(samples, len(assigned.values))
    peaks, origin, doubts = _matched(found, channel, assigned)
    line = fit_line(peaks)
    peaks = [_judged(peak, line) for peak in peaks]
    doubts += _line_doubts(peaks, line) + _well_doubts(found, origin, peaks, samples)
    none: Values = np.empty(0)
    events = [none if i < 0 else found.signal[found.rows[i]] for i in origin]
    return Calibration(assigned, tuple(peaks), line, tuple(doubts), tuple(samples), tuple(events))


# --- peaks and values -------------------------------------------------------------------------------


def _matched(found: Groups, channel: Channel, assigned: Assigned) -> tuple[list[Peak], list[int], list[Doubt]]:
    """Peaks with their values, dim to bright, then values without a peak; the found group of each (-1: none)."""
    values = assigned.values
    measured = [_measured(found, rows, channel) for rows in found.rows]
    n, k = len(measured), len(values)
    if n > k:
        where = ", ".join(f"{peak.mfi:.4g}" for peak in measured)
        hint = "are these the values of this lot? Doublets and debris look like more peaks"
        if found.well.max():
            hint = "several bead wells that differ look like more peaks: exclude the one that is wrong"
        raise AnalysisError("beads", f"{n} peaks found (MFI {where}), {k} values assigned", hint)
    doubts = [doubt for peak in measured if (doubt := _end_doubt(peak))]
    chosen = tuple(range(k)) if n == k else _most_likely(measured, values)
    peaks = [
        _with_value(peak, _number(peak, j, chosen, k), values[i])
        for j, (peak, i) in enumerate(zip(measured, chosen, strict=True))
    ]
    missing = [i for i in range(k) if i not in chosen]
    if missing:
        names = ", ".join(f"{i + 1} ({_said(values[i])})" for i in missing)
        what = f"{n} peaks found, {k} values assigned; without a peak of its own: {names}"
        doubts.append(Doubt("beads-fewer", n, what))
    doubts += [
        Doubt("beads-left-out", peak.mfi, f"peak {peak.number} at MFI {peak.mfi:.4g} was left out: {peak.note}")
        for peak in peaks
        if peak.note and not _end_doubt(peak)
    ]
    share = 100 * found.debris / len(found.signal)
    if share > _MUCH_DEBRIS:
        doubts.append(Doubt("beads-debris", share, f"{share:.3g} % of the bead singlets are in no peak"))
    doubts += [
        Doubt("beads-uneven", p.n, f"peak {p.number} has {p.n} events, peaks usually {found.usual:.0f}: debris?")
        for p in peaks
        if p.n < _UNEVEN * found.usual
    ]
    listed = [*zip(chosen, peaks, range(n), strict=True), *((i, _absent(i, values[i]), -1) for i in missing)]
    listed.sort(key=lambda item: item[0])
    return [peak for _, peak, _ in listed], [group for *_, group in listed], doubts


def _number(peak: Peak, j: int, chosen: Sequence[int], k: int) -> str:
    """Which of the lot's values a peak stands for; a merged peak for those on either side that have none, too."""
    if not peak.note.endswith(_MERGED_NOTE):
        return str(chosen[j] + 1)
    first = chosen[j - 1] + 1 if j else 0
    last = chosen[j + 1] - 1 if j + 1 < len(chosen) else k - 1
    return f"{first + 1}-{last + 1}" if last > first else str(first + 1)


def _absent(i: int, value: float | None) -> Peak:
    return Peak(str(i + 1), 0, NAN, NAN, NAN if value is None else value, note="no peak of its own")


def _said(value: float | None) -> str:
    return "no value" if value is None else f"{value:g}"


_AT_TOP = "saturated: it reaches the end of the range"
_AT_FLOOR = "at the bottom of the range: its median is an upper limit"
_MERGED_NOTE = ": more than one bead"
_NO_VALUE = "no value is assigned to it"
_NO_LOG = "its MFI is not above 0 and has no logarithm"


def _measured(found: Groups, rows: Rows, channel: Channel) -> Peak:
    """Median, CV and size of a group, and whether an end of the range or a second bead spoils it."""
    values = found.signal[rows]
    median, sd = float(np.median(values)), spread(values)
    note = ""
    if len(rows) >= _MERGED * found.usual:
        note = f"{len(rows) / found.usual:.2g} times the usual number of events{_MERGED_NOTE}"
    if _at_top(channel, values):
        note = _AT_TOP
    elif _at_floor(channel, values):
        note = _AT_FLOOR
    elif not median > 0:
        note = note or _NO_LOG
    return Peak("", len(rows), median, 100 * sd / median if median > 0 else NAN, note=note)


def _at_top(channel: Channel, values: Values) -> bool:
    """Whether 1 % of a peak's events, or its median and 2.5 spreads, lie beyond 98.5 % of the range as stored."""
    if not math.isfinite(channel.range):
        return False
    places = position(channel, values)
    reach = float(np.median(places)) + 2.5 * spread(places)
    return reach > TOP or float(np.mean(places > 1 - 1.5 / channel.range)) > 0.01


def _at_floor(channel: Channel, values: Values) -> bool:
    """Whether a tenth of a peak's events share one lowest value, at the bottom of what the channel can store."""
    lowest = float(values.min())
    floor = channel.amplification[1] or 1.0 if channel.amplification[0] > 0 else 0.0
    return lowest <= floor * (1 + 1e-9) and lowest >= 0 and float(np.mean(values == lowest)) > 0.1


def _end_doubt(peak: Peak) -> Doubt | None:
    if peak.note == _AT_TOP:
        return Doubt("beads-saturated", peak.mfi, f"the peak at MFI {peak.mfi:.4g} was left out: {peak.note}")
    if peak.note == _AT_FLOOR:
        return Doubt("beads-floor", peak.mfi, f"the peak at MFI {peak.mfi:.4g} was left out: {peak.note}")
    return None


def _with_value(peak: Peak, number: str, value: float | None) -> Peak:
    note = peak.note or (_NO_VALUE if value is None else "")
    known = NAN if value is None or peak.note.endswith(_MERGED_NOTE) else value
    return replace(peak, number=number, assigned=known, used=not note, note=note)


def _most_likely(measured: Sequence[Peak], values: Sequence[float | None]) -> tuple[int, ...]:
    """Which of the lot's values fewer peaks are: the choice whose line fits, when no other comes near.

    Raises AnalysisError when the next best choice leaves less than three times the residual of the best: then
    spacing alone does not tell which bead is missing.
    """
    scored: dict[tuple[int | None, ...], tuple[float, tuple[int, ...]]] = {}
    for chosen in combinations(range(len(values)), len(measured)):
        peaks = [_with_value(peak, str(i + 1), values[i]) for peak, i in zip(measured, chosen, strict=True)]
        used = tuple(i if peak.used else None for peak, i in zip(peaks, chosen, strict=True))
        try:
            line = fit_line(peaks)
        except AnalysisError:
            continue
        points = [p for p in peaks if p.used and p.assigned + line.autofluorescence > 0]
        off = [math.log10((p.assigned + line.autofluorescence) / line.units(p.mfi)) for p in points]
        free = len(points) - (3 if line.autofluorescence else 2)
        score = math.sqrt(sum(x * x for x in off) / free) if free > 0 else math.inf
        if used not in scored or score < scored[used][0]:
            scored[used] = (score, chosen)
    ranked = sorted(scored.values())
    if not ranked or not ranked[0][0] < 0.05 or (len(ranked) > 1 and ranked[1][0] < 3 * ranked[0][0]):
        where = ", ".join(f"{peak.mfi:.4g}" for peak in measured)
        what = f"{len(measured)} peaks found (MFI {where}), {len(values)} values assigned: which is which is ambiguous"
        hint = "acquire more beads, or lower the voltage if the brightest are off scale"
        raise AnalysisError("beads", what, hint)
    return ranked[0][1]


# --- the line ---------------------------------------------------------------------------------------


def fit_line(peaks: Sequence[Peak]) -> Line:
    """Least squares of log10(assigned + A) on log10(MFI) over the peaks used; A by the blank, or 0 without one.

    For each A the line is a closed form; A is found by golden section on its logarithm, between a ten-thousandth of the
    dimmest value and the brightest. Raises AnalysisError below three peaks with a value.
    """
    used = [peak for peak in peaks if peak.used]
    valued = [peak for peak in used if peak.assigned > 0]
    if len(valued) < LEAST_PEAKS:
        what = f"{len(valued)} peaks with a value above 0 can be used, {LEAST_PEAKS} are needed"
        raise AnalysisError("beads", what, "lower the voltage if peaks are off scale")
    blank = len(used) > len(valued)
    points = used if blank else valued
    x = np.log10([peak.mfi for peak in points])
    y = np.array([peak.assigned for peak in points])
    a = _autofluorescence(x, y) if blank else 0.0
    slope, intercept, rest = _straight(x, np.log10(y + a))
    total = float(np.sum((np.log10(y + a) - np.mean(np.log10(y + a))) ** 2))
    mfis = [peak.mfi for peak in points]
    return Line(slope, intercept, a, 1 - rest / total if total > 0 else NAN, min(mfis), max(mfis))


def _straight(x: Values, y: Values) -> tuple[float, float, float]:
    """Slope, intercept and sum of squared residuals of y on x."""
    dx = x - np.mean(x)
    square = float(np.sum(dx**2))
    if square == 0:
        raise AnalysisError("beads", "all peaks have the same MFI", "is this the signal's channel?")
    slope = float(np.sum(dx * y)) / square
    intercept = float(np.mean(y)) - slope * float(np.mean(x))
    return slope, intercept, float(np.sum((y - intercept - slope * x) ** 2))


def _autofluorescence(x: Values, y: Values) -> float:
    """The A at which the blank (y = 0) and the other beads lie on one line best: where R2 is greatest.

    The sum of squares would not do: it falls to 0 as A grows and all beads become alike.
    """

    def unexplained(log_a: float) -> float:
        logs = np.log10(y + 10.0**log_a)
        return _straight(x, logs)[2] / float(np.sum((logs - np.mean(logs)) ** 2))

    least = float(np.min(y[y > 0]))
    grid = np.linspace(math.log10(least) - 4, math.log10(float(y.max())), 240)
    at = int(np.argmin([unexplained(float(log_a)) for log_a in grid]))
    low, high = float(grid[max(0, at - 1)]), float(grid[min(len(grid) - 1, at + 1)])
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, right) if unexplained(left) <= unexplained(right) else (left, high)
    return float(10.0 ** ((low + high) / 2))


def _judged(peak: Peak, line: Line) -> Peak:
    """The peak with what the line gives for it; the blank's own value of 0 has no percent."""
    if not peak.mfi > 0:
        return peak
    fitted = line.units(peak.mfi) - line.autofluorescence
    percent = 100 * (fitted / peak.assigned - 1) if peak.assigned > 0 else NAN
    return replace(peak, fitted=fitted, residual_percent=percent)


def _line_doubts(peaks: Sequence[Peak], line: Line) -> list[Doubt]:
    said = []
    if not SLOPE_LIMITS[0] <= line.slope <= SLOPE_LIMITS[1]:
        what = f"the slope of the log-log line is {line.slope:.4g}; a linear cytometer gives 1"
        said.append(Doubt("beads-slope", line.slope, what))
    if not line.r2 >= LEAST_R2:
        said.append(Doubt("beads-r2", line.r2, f"R2 of the log-log line is {line.r2:.4g}"))
    off = [peak for peak in peaks if peak.used and abs(peak.residual_percent) > MOST_RESIDUAL]
    if off:
        worst = max(off, key=lambda peak: abs(peak.residual_percent))
        names = ", ".join(f"{peak.number} ({peak.residual_percent:+.3g} %)" for peak in off)
        said.append(Doubt("beads-residual", worst.residual_percent, f"peaks off the line: {names}"))
    return said


def _well_doubts(found: Groups, origin: Sequence[int], peaks: Sequence[Peak], samples: Sequence[Sample]) -> list[Doubt]:
    """Bead wells are pooled: one whose own median of a used peak is elsewhere must be seen."""
    said = []
    for w, sample in enumerate(samples if len(samples) > 1 else ()):
        for i, peak in zip(origin, peaks, strict=True):
            if not peak.used:
                continue
            own = found.signal[found.rows[i][found.well[found.rows[i]] == w]]
            percent = 100 * (float(np.median(own)) / peak.mfi - 1) if len(own) >= LEAST_EVENTS else NAN
            if not abs(percent) <= MOST_BETWEEN_WELLS:
                how = "has too few events" if math.isnan(percent) else f"lies {percent:+.3g} % off the pooled one"
                what = f"peak {peak.number} of {sample.name} {how}"
                said.append(Doubt("beads-wells-differ", percent, what))
                break
    return said
