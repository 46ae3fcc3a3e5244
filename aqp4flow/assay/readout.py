"""Shifts between expressing and non-expressing, well by well, then serum by serum.

Source of the read-outs: Mayo's index is the ratio of replicate means, not the mean of ratios. Limits of a
difference or ratio of two medians follow MOVER (Zou & Donner, Stat Med 2008;27:1693): each side's own distance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aqp4flow.model import (
    NAN,
    UNKNOWN,
    WITH_SERUM,
    Estimate,
    Reactivity,
    Reading,
    Role,
    Status,
    Z,
)


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
class ReplicateError:
    """Relative spread of delta between replicate wells beyond counting error, pooled over a plate.

    `sd` is a standard deviation on the log scale; `df` its degrees of freedom (0: no replicates, sd unknown).
    """

    sd: float
    df: int
    total_cv: float

    @property
    def multiplier(self) -> float:
        """Student's two-sided 95 % point for `df`."""
        from scipy.special import stdtrit

        return float(stdtrit(self.df, 0.975)) if self.df else NAN


def replicate_error(readings: Sequence[Reading]) -> ReplicateError:
    """Pooled over all replicate sets whose delta is well above its counting error (limits within 40 %).

    Variance components: the spread of log delta within sets less the mean counting variance, not below 0.
    """
    squares, counting, df = 0.0, [], 0
    for group in _sets(readings).values():
        strong = [r.delta for r in group if r.delta.value > 0 and r.delta.high - r.delta.low < 0.8 * r.delta.value]
        if len(strong) < 2:
            continue
        logs = np.log([shift.value for shift in strong])
        squares += float(np.sum((logs - logs.mean()) ** 2))
        df += len(strong) - 1
        counting += [((shift.high - shift.low) / (2 * Z * shift.value)) ** 2 for shift in strong]
    if df == 0:
        return ReplicateError(0.0, 0, NAN)
    pooled = squares / df
    beyond = max(0.0, pooled - float(np.mean(counting)))
    return ReplicateError(math.sqrt(beyond), df, 100 * math.sqrt(math.expm1(pooled)))


def _sets(readings: Sequence[Reading]) -> dict[tuple[str, float], list[Reading]]:
    """Usable readings by serum and dilution, in plate-map order."""
    sets: dict[tuple[str, float], list[Reading]] = {}
    for reading in readings:
        well = reading.well
        if well.role in WITH_SERUM and well.dilution is not None and well.cells != "control":
            group = sets.setdefault((well.serum, well.dilution), [])
            if reading.usable:
                group.append(reading)
    return sets


def combine(readings: Sequence[Reading], error: ReplicateError) -> list[Reactivity]:
    """One row a serum and dilution: means over replicates, limits from counting and replicate error.

    A set without a usable well keeps its row, empty and flagged.
    """
    roles = {reading.well.serum: reading.well.role for reading in readings}
    plates = {reading.well.serum: reading.well.plate for reading in readings}
    rows = [
        _row(plates[serum], serum, roles[serum], dilution, group, error)
        for (serum, dilution), group in _sets(readings).items()
    ]
    return _relative_to_reference(rows)


def _row(
    plate: str, serum: str, role: Role, dilution: float, group: Sequence[Reading], error: ReplicateError
) -> Reactivity:
    flags = tuple(dict.fromkeys(flag for reading in group for flag in reading.flags if _is_of_shift(flag)))
    empty = Reactivity(
        plate, serum, role, dilution, len(group), NAN, NAN, UNKNOWN, UNKNOWN, NAN, NAN, NAN, NAN,
        Status.NOT_INTERPRETABLE, (*flags, "no-usable-well"),
    )  # fmt: skip
    if not group:
        return empty
    bright = float(np.mean([reading.expressing.value for reading in group]))
    dark = float(np.mean([reading.nonexpressing.value for reading in group]))
    ratios = [reading.ratio for reading in group]
    shift = _mean_with_limits([reading.delta for reading in group], error)
    fold = _mean_with_limits(ratios, error) if all(r.known for r in ratios) else UNKNOWN
    if not fold.known:
        flags = (*flags, "ratio-undefined")
    index = bright / dark if dark > 0 and fold.known else NAN
    return replace(
        empty,
        mfi_expressing=bright,
        mfi_nonexpressing=dark,
        delta=shift,
        ratio=fold,
        index=index,
        flags=flags,
    )


def _is_of_shift(flag: str) -> bool:
    """Flags on a well's units say nothing of its shift in MFI; whether the ratio has a meaning is judged anew."""
    return flag != "ratio-undefined" and not flag.startswith("beads-")


def _mean_with_limits(parts: Sequence[Estimate], error: ReplicateError) -> Estimate:
    """Mean of replicates; counting half-widths and relative replicate error add in squares."""
    n = len(parts)
    mean = sum(part.value for part in parts) / n
    between = error.multiplier * error.sd * abs(mean) / math.sqrt(n) if error.df else 0.0
    down = math.sqrt(sum((part.value - part.low) ** 2 for part in parts)) / n
    up = math.sqrt(sum((part.high - part.value) ** 2 for part in parts)) / n
    return Estimate(mean, mean - math.hypot(down, between), mean + math.hypot(up, between))


def _relative_to_reference(rows: Sequence[Reactivity]) -> list[Reactivity]:
    """`relative`: percent of the reference serum's delta at the same dilution."""
    reference: Mapping[float, float] = {row.dilution: row.delta.value for row in rows if row.role is Role.REFERENCE}
    scaled = []
    for row in rows:
        base = reference.get(row.dilution, NAN)
        scaled.append(replace(row, relative=100 * row.delta.value / base if base > 0 else NAN))
    return scaled


def value_of(row: Reactivity, readout: str) -> float:
    """The read-out called `delta`, `ratio` or `index`."""
    return {"delta": row.delta.value, "ratio": row.ratio.value, "index": row.index}[readout]
