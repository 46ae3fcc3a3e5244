"""Carry-over over a set of plates: low wells after high ones against low wells after low ones (CLSI EP10-A3)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from aqp4flow.model import NAN, UNKNOWN, WITH_SERUM, Estimate, Reading, Role


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
    return {plate: sorted(wells, key=lambda reading: reading.well.row_by_row) for plate, wells in plates.items()}


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
