"""Shifts between expressing and non-expressing, well by well, then serum by serum.

Source of the read-outs: Mayo's index is the ratio of replicate means, not the mean of ratios. Limits of a
difference or ratio of two medians follow MOVER (Zou & Donner, Stat Med 2008;27:1693): each side's own distance. Error
between replicate wells comes from `replicates`, what is taken off both medians first from `background`.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from aqp4flow.assay.background import NO_BACKGROUND, Background, Backgrounds, less
from aqp4flow.assay.replicates import (
    Law,
    ReplicateError,
    delta_terms,
    ratio_terms,
    replicate_error,
    replicate_sets,
    rpc_counting_variance,
)
from aqp4flow.model import NAN, UNKNOWN, Estimate, Reactivity, Reading, Role, Status, Well, Z

__all__ = [
    "Frame",
    "ReplicateError",
    "combine",
    "delta",
    "estimate_of",
    "partner_of",
    "quotient",
    "ratio",
    "replicate_error",
    "value_of",
    "with_shift",
]


def delta(expressing: Estimate, nonexpressing: Estimate) -> Estimate:
    """Difference of the two medians with limits; NaN where either is unknown."""
    value = expressing.value - nonexpressing.value
    down = math.hypot(expressing.value - expressing.low, nonexpressing.high - nonexpressing.value)
    up = math.hypot(expressing.high - expressing.value, nonexpressing.value - nonexpressing.low)
    return Estimate(value, value - down, value + up)


def ratio(expressing: Estimate, nonexpressing: Estimate) -> Estimate:
    """Ratio of the two medians with limits on the log scale.

    Unknown when the non-expressing median is not clearly above 0: its limits then hold 0 and the ratio has no meaning.
    """
    if not (nonexpressing.value > 0 and not nonexpressing.low <= 0) or math.isnan(expressing.value):
        return UNKNOWN
    value = expressing.value / nonexpressing.value
    if not expressing.low > 0:
        return Estimate(value)
    log_t = [math.log(x) for x in (expressing.low, expressing.value, expressing.high)]
    log_n = [math.log(x) for x in (nonexpressing.low, nonexpressing.value, nonexpressing.high)]
    down = math.hypot(log_t[1] - log_t[0], log_n[2] - log_n[1])
    up = math.hypot(log_t[2] - log_t[1], log_n[1] - log_n[0])
    return Estimate(value, value * math.exp(-down), value * math.exp(up))


def quotient(top: Estimate, bottom: Estimate) -> Estimate:
    """One difference over another, with limits: those values at which top - value x bottom has its own limit at 0.

    MOVER for ratios (Donner & Zou, Stat Methods Med Res 2012;21:347); Fieller's limits where both are symmetric.
    Unknown unless the lower part is clearly above 0.
    """
    if not bottom.low > 0 or not top.known:
        return UNKNOWN
    down, up = bottom.value - bottom.low, bottom.high - bottom.value
    low = _root(top, top.value - top.low, bottom, up if top.low > 0 else down, -1)
    high = _root(top, top.high - top.value, bottom, down if top.high > 0 else up, 1)
    return Estimate(top.value / bottom.value, low, high)


def _root(top: Estimate, half: float, bottom: Estimate, below: float, side: int) -> float:
    """The lower (-1) or upper (1) solution r of (top - r bottom)^2 = half^2 + r^2 below^2; NaN where there is none."""
    a, b, c = bottom.value**2 - below**2, top.value * bottom.value, top.value**2 - half**2
    inside = b * b - a * c
    if not inside >= 0:
        return NAN
    if b * side < 0:  # the same solution, written so that nothing cancels
        return c / (b - side * math.sqrt(inside))
    return (b + side * math.sqrt(inside)) / a if a > 0 else NAN


def with_shift(reading: Reading) -> Reading:
    """The reading with delta and ratio from its two medians; a ratio without meaning is flagged."""
    shift = ratio(reading.expressing, reading.nonexpressing)
    flags = reading.flags
    if not shift.known and reading.expressing.known and reading.nonexpressing.known:
        flags = (*flags, "ratio-undefined")
    return replace(reading, delta=delta(reading.expressing, reading.nonexpressing), ratio=shift, flags=flags)


# --- paired wells: control cells beside antigen cells ---------------------------------------------


def partner_of(antigen: Reading, controls: Sequence[Reading]) -> Reading | None:
    """The control well of an antigen well: same role, serum and dilution, and replicate where that tells."""
    well = antigen.well
    same = [
        reading
        for reading in controls
        if (reading.well.role, reading.well.serum, reading.well.dilution) == (well.role, well.serum, well.dilution)
        and not reading.well.excluded
    ]
    exact = [reading for reading in same if reading.well.replicate == well.replicate]
    if len(exact) == 1:
        return exact[0]
    return same[0] if len(same) == 1 else None


# --- replicates together --------------------------------------------------------------------------


@dataclass(frozen=True)
class Frame:
    """What a plate's read-outs are put into: background, screening dilution, and which read-out decides.

    `screening` None: the lowest dilution at which negative sera stand; `min_negatives` of them give a spread.
    """

    background: Backgrounds = NO_BACKGROUND
    screening: float | None = None
    decide: str = "delta"
    min_negatives: int = 3


def combine(readings: Sequence[Reading], error: ReplicateError, frame: Frame = Frame()) -> list[Reactivity]:
    """One row a serum and dilution: means over replicates, limits from counting and replicate error.

    A set without a usable well keeps its row, empty and flagged. A read-out without meaning is empty and named: in
    `flags` if it is the ratio or what decides, else in `notes`.
    """
    wells = {reading.well.serum: reading.well for reading in readings}
    rows = [
        _row(wells[serum], dilution, group, error, frame)
        for (serum, dilution), group in replicate_sets(readings).items()
    ]
    rows = _against_negatives(_against_reference(rows), frame)
    return [_named(row, frame.decide) for row in rows]


def _row(well: Well, dilution: float, group: Sequence[Reading], error: ReplicateError, frame: Frame) -> Reactivity:
    flags = tuple(dict.fromkeys(flag for reading in group for flag in reading.flags if _is_of_shift(flag)))
    row = Reactivity(
        well.plate, well.serum, well.role, dilution, len(group), NAN, NAN, UNKNOWN, UNKNOWN, NAN, NAN, NAN, NAN,
        Status.NOT_INTERPRETABLE, flags,
    )  # fmt: skip
    if not group:
        return replace(row, flags=(*flags, "no-usable-well"))
    bright = _mean([reading.expressing for reading in group])
    dark = _mean([reading.nonexpressing for reading in group])
    row = replace(_of_cells(row, group, error), mfi_expressing=bright.value, mfi_nonexpressing=dark.value)
    off = frame.background.of(dilution)
    if off is None and frame.background.wanted:
        return replace(row, flags=(*row.flags, "background-missing"))
    shift = _mean([reading.delta for reading in group])
    widened = _widened((shift.value - shift.low, shift.high - shift.value), len(group), error.of_delta,
                       delta_terms(bright.value, dark.value))  # fmt: skip
    shift = Estimate(shift.value, shift.value - widened[0], shift.value + widened[1])
    row = replace(row, delta=less(shift, off.delta if off else UNKNOWN))
    row = _of_beads(row, group, off)
    row = _of_folds(row, group, (bright, dark), error.of_ratio, off)
    if off is not None:
        row = replace(row, background_expressing=off.expressing.value, background_nonexpressing=off.nonexpressing.value)
    return row


def _is_of_shift(flag: str) -> bool:
    """Flags on a well's units say nothing of its shift in MFI; whether the ratio has a meaning is judged anew."""
    return flag != "ratio-undefined" and not flag.startswith("beads-")


def _mean(parts: Sequence[Estimate]) -> Estimate:
    """Mean of numbers with independent limits: half-widths add in squares."""
    n = len(parts)
    value = sum(part.value for part in parts) / n
    down = math.sqrt(sum((part.value - part.low) ** 2 for part in parts)) / n
    up = math.sqrt(sum((part.high - part.value) ** 2 for part in parts)) / n
    return Estimate(value, value - down, value + up)


def _widened(halves: tuple[float, float], n: int, law: Law, terms: Sequence[float]) -> tuple[float, float]:
    """Half-widths of a mean of `n` wells, from those of counting and the error between wells, in squares."""
    between = Z * math.sqrt(law.variance(terms) / n)
    factor = law.multiplier(terms, n * (sum(halves) / (2 * Z)) ** 2) / Z
    return factor * math.hypot(halves[0], between), factor * math.hypot(halves[1], between)


def _of_cells(row: Reactivity, group: Sequence[Reading], error: ReplicateError) -> Reactivity:
    """Shares of cells and the slope, which no background touches; and whether replicates tell the error at all."""
    return replace(
        row,
        percent_positive=statistics.fmean(r.percent_positive for r in group),
        rpc=_rpc(group, error.of_rpc),
        slope=statistics.fmean(r.slope for r in group),
        notes=() if error.of_delta.df else ("counting-error-only",),
    )


_CROWDED = 50.0  # percent: with more of the non-expressing cells above the limit, rpc could never reach 2


def _rpc(group: Sequence[Reading], law: Law) -> Estimate:
    """Mean percent of expressing over mean percent of non-expressing cells, both above one limit.

    Unknown where none of the non-expressing cells lies above the limit, or more than half of them do.
    """
    above = statistics.fmean(r.above_expressing for r in group)
    below = statistics.fmean(r.above_nonexpressing for r in group)
    if not 0 < below <= _CROWDED:
        return UNKNOWN
    value, n = above / below, len(group)
    half = Z * math.sqrt(sum(rpc_counting_variance(r) for r in group)) / n
    down, up = _widened((half, half), n, law, (1.0,))
    return Estimate(value, value * math.exp(-down), value * math.exp(up))


def _of_beads(row: Reactivity, group: Sequence[Reading], off: Background | None) -> Reactivity:
    """The mean delta in the beads' units, less the background's; empty unless every well has one."""
    units = [r.calibrated.delta for r in group if r.calibrated]
    if not units:
        return row
    value = sum(units) / len(units) if len(units) == len(group) else NAN
    value -= off.mef_delta if off else 0.0
    return replace(row, mef_delta=value, notes=(*row.notes, *(("mef-delta-undefined",) if math.isnan(value) else ())))


def _of_folds(
    row: Reactivity, group: Sequence[Reading], medians: tuple[Estimate, Estimate], law: Law, off: Background | None
) -> Reactivity:
    """Index, ratio and log2 ratio of what is left of both medians once the background is off."""
    bright, dark = medians
    by = (off.expressing.value, off.nonexpressing.value) if off else (0.0, 0.0)
    whole = ratio(less(bright, off.expressing), less(dark, off.nonexpressing)) if off else ratio(bright, dark)
    if not whole.known:
        return row
    rest = bright.value - by[0], dark.value - by[1]
    terms = ratio_terms(bright.value, dark.value, by) if rest[0] else (NAN, NAN)
    common = math.hypot(_half(off.expressing) / rest[0], _half(off.nonexpressing) / rest[1]) if off and rest[0] else 0.0

    def limited(value: float, halves: tuple[float, float]) -> tuple[float, float, float]:
        """A natural logarithm with its limits."""
        down, up = _widened(halves, len(group), law, terms)
        return value, value - math.hypot(down, common), value + math.hypot(up, common)

    index = ratio(_less(bright, by[0]), _less(dark, by[1]))
    down, up = _log_halves([index], [1.0])
    low, high = (math.exp(x) for x in limited(0.0, (down, up))[1:])
    row = replace(row, index=index.value, index_low=index.value * low, index_high=index.value * high)
    folds = [ratio(_less(r.expressing, by[0]), _less(r.nonexpressing, by[1])) for r in group]
    if not all(fold.known for fold in folds):
        return row
    mean = sum(fold.value for fold in folds) / len(folds)
    low, high = (math.exp(x) for x in limited(0.0, _log_halves(folds, [fold.value for fold in folds]))[1:])
    row = replace(row, ratio=Estimate(mean, mean * low, mean * high))
    if not all(fold.value > 0 for fold in folds):
        return row
    log = sum(math.log(fold.value) for fold in folds) / len(folds)
    found = limited(log, _log_halves(folds, [1.0] * len(folds)))
    return replace(row, log2_ratio=Estimate(*(x / math.log(2) for x in found)))


def _less(median: Estimate, by: float) -> Estimate:
    return Estimate(median.value - by, median.low - by, median.high - by)


def _half(estimate: Estimate) -> float:
    return (estimate.high - estimate.low) / 2


def _log_halves(folds: Sequence[Estimate], weights: Sequence[float]) -> tuple[float, float]:
    """Half-widths of the logarithm of a weighted mean of folds; NaN where a fold has no limits."""
    total = sum(weights)
    down = [
        w * math.log(fold.value / fold.low) if fold.low > 0 else NAN for fold, w in zip(folds, weights, strict=True)
    ]
    up = [w * math.log(fold.high / fold.value) if fold.low > 0 else NAN for fold, w in zip(folds, weights, strict=True)]
    return math.hypot(*down) / total, math.hypot(*up) / total


# --- against other sera of the plate ----------------------------------------------------------------


def _against_reference(rows: Sequence[Reactivity]) -> list[Reactivity]:
    """`relative`: percent of the reference serum's delta at the same dilution."""
    references: dict[float, list[Reactivity]] = {}
    for row in rows:
        if row.role is Role.REFERENCE:
            references.setdefault(row.dilution, []).append(row)
    return [_relative(row, references.get(row.dilution, [])) for row in rows]


def _relative(row: Reactivity, references: Sequence[Reactivity]) -> Reactivity:
    if not row.delta.known:
        return row
    if len(references) != 1:
        reason = "relative-ambiguous" if references else "relative-no-reference"
        return replace(row, notes=(*row.notes, reason))
    base = references[0]
    found = quotient(row.delta, base.delta)
    if row is base and found.known:  # against itself there is nothing to doubt
        found = Estimate(1.0, 1.0, 1.0)
    if not found.known:
        return replace(row, notes=(*row.notes, "relative-undefined"))
    return replace(row, relative=100 * found.value, relative_low=100 * found.low, relative_high=100 * found.high)


def _against_negatives(rows: Sequence[Reactivity], frame: Frame) -> list[Reactivity]:
    """`z_negative`: delta in standard deviations of the negative sera's, at the screening dilution, from their mean."""
    negatives = [row for row in rows if row.role is Role.NEGATIVE and row.delta.known]
    screening = frame.screening or min((row.dilution for row in negatives), default=NAN)
    shifts = [row.delta.value for row in negatives if row.dilution == screening]
    if len(shifts) < frame.min_negatives or not (sd := statistics.stdev(shifts)) > 0:
        return list(rows)
    mean = statistics.fmean(shifts)
    return [replace(row, z_negative=(row.delta.value - mean) / sd) for row in rows]


def _named(row: Reactivity, decide: str) -> Reactivity:
    """The row with a name for each read-out that has no meaning in it."""
    if not row.delta.known:
        return row
    missing = {
        "ratio": "ratio-undefined" if not row.ratio.known else "",
        "index": "index-undefined" if math.isnan(row.index) else "",
        "log2_ratio": "log2-ratio-undefined" if not row.log2_ratio.known else "",
        "rpc": "rpc-undefined" if not row.rpc.known else "",
        "z_negative": "z-negative-undefined" if math.isnan(row.z_negative) else "",
        "slope": "slope-undefined" if math.isnan(row.slope) else "",
    }
    loud = ("ratio", decide)
    flagged = [reason for name, reason in missing.items() if reason and name in loud]
    noted = [reason for name, reason in missing.items() if reason and name not in loud]
    if decide == "relative" and math.isnan(row.relative):
        flagged += [note for note in row.notes if note.startswith("relative-")]
    notes = [note for note in row.notes if note not in flagged]
    return replace(row, flags=(*row.flags, *flagged), notes=(*notes, *noted))


# --- by name ------------------------------------------------------------------------------------------

_ESTIMATES: dict[str, Callable[[Reactivity], Estimate]] = {
    "delta": lambda row: row.delta,
    "ratio": lambda row: row.ratio,
    "index": lambda row: Estimate(row.index, row.index_low, row.index_high),
    "log2_ratio": lambda row: row.log2_ratio,
    "relative": lambda row: Estimate(row.relative, row.relative_low, row.relative_high),
    "rpc": lambda row: row.rpc,
    "percent_positive": lambda row: Estimate(row.percent_positive),
    "z_negative": lambda row: Estimate(row.z_negative),
    "mef_delta": lambda row: Estimate(row.mef_delta),
    "slope": lambda row: Estimate(row.slope),
}


def estimate_of(row: Reactivity, readout: str) -> Estimate:
    """The read-out of that name with its limits, NaN where it has none. Raises KeyError for a name there is not."""
    return _ESTIMATES[readout](row)


def value_of(row: Reactivity, readout: str) -> float:
    """The read-out of that name, NaN where it has no meaning. Raises KeyError for a name there is not."""
    return estimate_of(row, readout).value
