"""Outcomes as tables, a row a patient and a column a time point, and what they are on average.

A titer known only to lie below or above a value stays so: it takes part in medians by its order and in no mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aqp4flow.model import NAN, Bound, Summary, TimePoint, Titer, TrajectoryPoint, Values

REACTIVITY = "reactivity"
BELOW, EXACT, ABOVE, UNSETTLED = -1, 0, 1, 2
_SIGN = {Bound.BELOW: BELOW, Bound.EXACT: EXACT, Bound.ABOVE: ABOVE}
_BOUND = {BELOW: Bound.BELOW, EXACT: Bound.EXACT, ABOVE: Bound.ABOVE}

Signs = NDArray[np.int8]


@dataclass(frozen=True, eq=False)
class Outcome:
    """`values` (patients, time points), NaN where missing; on log2 where `log2`. `signs` of the same shape: -1 known
    only to lie at or below the value, 1 at or above it, 0 the value itself. `plates` names where each was measured.
    """

    name: str
    figure: str
    unit: str
    patients: tuple[str, ...]
    timepoints: tuple[str, ...]
    values: Values = field(repr=False)
    signs: Signs = field(repr=False)
    plates: tuple[tuple[str, ...], ...] = ()
    log2: bool = False

    @property
    def bounded(self) -> int:
        """How many values are known only as bounds."""
        return int(np.count_nonzero(self.signs))


@dataclass(frozen=True, eq=False)
class Differences:
    """Later minus first of the patients who have both. Signs as in Outcome, and 2 where both are bounds on one side:
    such a difference may be anything, and its value is NaN.
    """

    patients: tuple[str, ...]
    values: Values
    signs: Signs


def reactivity(points: Sequence[TrajectoryPoint], schedule: Sequence[TimePoint]) -> Outcome:
    """The quantity followed, on log2, of the visits that lie on the schedule."""
    patients = tuple(dict.fromkeys(point.visit.patient for point in points))
    names = tuple(timepoint.name for timepoint in schedule)
    values = np.full((len(patients), len(names)), np.nan)
    signs = np.zeros(values.shape, np.int8)
    plates = [[""] * len(names) for _ in patients]
    for point in points:
        if point.value is None or point.timepoint not in names:
            continue
        cell = patients.index(point.visit.patient), names.index(point.timepoint)
        values[cell], signs[cell] = math.log2(point.value.value), _SIGN[point.value.bound]
        plates[cell[0]][cell[1]] = "+".join(point.plates)
    quantity = points[0].quantity if points else ""
    return Outcome(
        REACTIVITY,
        "figure4",
        f"log2 {quantity}",
        patients,
        names,
        values,
        signs,
        tuple(tuple(row) for row in plates),
        log2=True,
    )


def differences(outcome: Outcome, column: int) -> Differences:
    """Column `column` minus the first, of the patients who have both."""
    now, base = outcome.values[:, column], outcome.values[:, 0]
    have = ~np.isnan(now) & ~np.isnan(base)
    signs = outcome.signs[have, column].astype(int) - outcome.signs[have, 0].astype(int)
    both = (outcome.signs[have, column] != 0) & (outcome.signs[have, 0] == outcome.signs[have, column])
    signs = np.clip(signs, BELOW, ABOVE)  # `<` after `>` is a fall of at least so much
    signs[both] = UNSETTLED
    change = np.where(both, np.nan, now[have] - base[have])
    patients = tuple(name for name, here in zip(outcome.patients, have, strict=True) if here)
    return Differences(patients, change, signs.astype(np.int8))


def complete(outcome: Outcome) -> tuple[Outcome, tuple[str, ...]]:
    """The outcome with the patients who have every time point, and the names of those who have not."""
    whole: NDArray[np.bool_] = np.all(~np.isnan(outcome.values), axis=1)
    rows = np.flatnonzero(whole)
    kept = Outcome(
        outcome.name, outcome.figure, outcome.unit,
        tuple(outcome.patients[row] for row in rows), outcome.timepoints,
        outcome.values[rows], outcome.signs[rows],
        tuple(outcome.plates[row] for row in rows) if outcome.plates else (), outcome.log2,
    )  # fmt: skip
    return kept, tuple(name for name, here in zip(outcome.patients, whole, strict=True) if not here)


def summaries(outcome: Outcome) -> list[Summary]:
    """Each time point over the patients who have it: mean, SD (n - 1), SEM, median and quartiles."""
    return [
        _summary(outcome, name, outcome.values[:, column], outcome.signs[:, column])
        for column, name in enumerate(outcome.timepoints)
        if not np.isnan(outcome.values[:, column]).all()
    ]


def _summary(outcome: Outcome, name: str, values: Values, signs: Signs) -> Summary:
    known = ~np.isnan(values)
    values, signs = values[known], signs[known]
    bounded = int(np.count_nonzero(signs))
    back: Callable[[float], float] = (lambda x: 2.0**x) if outcome.log2 else float
    mean, sd = (NAN, NAN) if bounded else (float(values.mean()), _sd(values))
    median, q1, q3 = (quantile(values, signs, q) for q in (0.5, 0.25, 0.75))
    return Summary(
        figure=outcome.figure,
        outcome=outcome.name,
        timepoint=name,
        n=len(values),
        mean=back(mean),
        sd=sd,
        sem=sd / math.sqrt(len(values)),
        median=back(median.value),
        bound=median.bound,
        q1=back(q1.value) if q1.bound is Bound.EXACT else NAN,
        q3=back(q3.value) if q3.bound is Bound.EXACT else NAN,
        bounded=bounded,
        log2=outcome.log2,
    )


def _sd(values: Values) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else NAN


def quantile(values: Values, signs: Signs, q: float) -> Titer:
    """A quantile of values some of which are bounds, between order statistics (Hyndman & Fan 1996, type 7).

    It is a bound itself where a bound takes part in it, or could pass it: a `<` above it might belong below, a `>`
    below it above. NaN where bounds on both sides leave it unknown.
    """
    order = np.lexsort((signs, values))
    values, signs = values[order], signs[order]
    place = q * (len(values) - 1)
    low, high = math.floor(place), math.ceil(place)
    value = float(values[low] + (place - low) * (values[high] - values[low]))
    told = {int(sign) for sign in signs[[low, high]] if sign}
    told |= {BELOW} if (signs[high + 1 :] == BELOW).any() else set()
    told |= {ABOVE} if (signs[:low] == ABOVE).any() else set()
    if len(told) > 1:
        return Titer(NAN)
    return Titer(value, _BOUND[told.pop()] if told else Bound.EXACT)
