"""Titers joined to visits: each patient's course, with the fold against the patient's own baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aqp4flow.model import (
    NAN,
    Bound,
    Estimate,
    Reactivity,
    Titer,
    Titration,
    TrajectoryPoint,
    Values,
    Visit,
    Z,
    mean_titer,
)
from aqp4flow.model import log2_quantile as _quantile


@dataclass(frozen=True)
class Quantity:
    """What is followed over time: a value with its bound, and log2 draws of its error."""

    value: Titer
    draws: Values


@dataclass(frozen=True)
class Measurements:
    """Everything measured in a study, by serum."""

    titrations: Mapping[str, Sequence[Titration]]
    reactivity: Mapping[str, Sequence[Reactivity]]


def by_serum(titrations: Sequence[Titration], rows: Sequence[Reactivity]) -> Measurements:
    """Group what was measured by serum, in plate order."""
    sera: dict[str, list[Titration]] = {}
    reactivity: dict[str, list[Reactivity]] = {}
    for titration in titrations:
        sera.setdefault(titration.serum, []).append(titration)
    for row in rows:
        reactivity.setdefault(row.serum, []).append(row)
    return Measurements(sera, reactivity)


def trajectories(visits: Sequence[Visit], measured: Measurements, quantity: str, seed: int) -> list[TrajectoryPoint]:
    """One point a visit. `quantity` is titer, units, delta, ratio or index (the shifts at the lowest dilution)."""
    points, quantities = [], {}
    for visit in visits:
        point, found = _point(visit, measured, quantity, seed)
        points.append(point)
        quantities[visit.serum] = found
    baselines = {visit.patient: visit.serum for visit in visits if visit.baseline}
    plates = {point.visit.serum: point.plates for point in points}
    finished = []
    for point in points:
        base = baselines[point.visit.patient]
        ended = _with_fold(point, quantities[point.visit.serum], quantities[base])
        if ended.fold is not None and plates[base] != point.plates:
            ended = replace(ended, flags=(*ended.flags, "other-plate-than-baseline"))
        finished.append(ended)
    return finished


def _point(visit: Visit, measured: Measurements, quantity: str, seed: int) -> tuple[TrajectoryPoint, Quantity | None]:
    titrations = measured.titrations.get(visit.serum, ())
    rows = measured.reactivity.get(visit.serum, ())
    lowest = min((row.dilution for row in rows), default=NAN)
    at_lowest = [row for row in rows if row.dilution == lowest]
    titer, flags = _combined([(t.titer, t.draws) for t in titrations])
    units, contradicting = _combined([(t.units, t.unit_draws) for t in titrations])
    if quantity == "units":
        flags = contradicting
    series = {"titer": titer, "units": units}
    found = series[quantity] if quantity in series else _shift(at_lowest, quantity, seed)
    if not titrations:
        flags = [*flags, "not-measured"]
    flags += [flag for titration in titrations for flag in titration.flags if not flag.startswith(("curve", "midp"))]
    notes = ("combined-plates",) if len(titrations) > 1 else ()
    point = TrajectoryPoint(
        visit=visit,
        plates=tuple(titration.plate for titration in titrations),
        quantity=quantity,
        titer=titer.value if titer else None,
        reactivity=at_lowest[0] if at_lowest else None,
        fold=None,
        flags=tuple(dict.fromkeys(flags)),
        notes=notes,
        units=units.value if units else None,
        value=found.value if found else None,
    )
    return point, found


def _combined(measured: Sequence[tuple[Titer | None, Values | None]]) -> tuple[Quantity | None, list[str]]:
    """Titers (or units) of one serum on several plates with their draws, averaged on the log scale."""
    parts = [(titer, draws) for titer, draws in measured if titer is not None and draws is not None]
    if not parts:
        return None, []
    together = mean_titer(parts)
    return (Quantity(*together), []) if together else (None, ["plates-contradict"])


def _shift(rows: Sequence[Reactivity], quantity: str, seed: int) -> Quantity | None:
    """Delta, ratio or index of a serum at its lowest dilution, as a quantity with log-normal error."""
    usable = [row for row in rows if _estimate(row, quantity).value > 0]
    if len(usable) != 1:
        return None
    estimate = _estimate(usable[0], quantity)
    sd = (estimate.high - estimate.low) / (2 * Z * estimate.value) / math.log(2)
    serum = [ord(letter) for letter in usable[0].serum]
    noise = np.random.default_rng([seed, *serum]).standard_normal(2000)
    draws = math.log2(estimate.value) + (sd if sd > 0 else 0.0) * noise
    return Quantity(Titer(estimate.value, Bound.EXACT, estimate.low, estimate.high), draws)


def _estimate(row: Reactivity, quantity: str) -> Estimate:
    if quantity == "index":
        return Estimate(row.index, row.index_low, row.index_high)
    return row.delta if quantity == "delta" else row.ratio


def _with_fold(point: TrajectoryPoint, now: Quantity | None, baseline: Quantity | None) -> TrajectoryPoint:
    if now is None or baseline is None:
        return replace(point, flags=(*point.flags, "fold-unknown"))
    if point.visit.baseline:
        return replace(point, fold=Titer(1.0, Bound.EXACT, 1.0, 1.0) if now.value.bound is Bound.EXACT else None)
    change = fold(now, baseline)
    if change is None:
        return replace(point, flags=(*point.flags, "fold-unknown"))
    return replace(point, fold=change)


def fold(now: Quantity, baseline: Quantity) -> Titer | None:
    """`now` over `baseline`, limits from both errors; None when both are bounded the same way.

    A serum below the ladder against an exact baseline is `<`; the open side has no limit.
    """
    bound = fold_bound(now.value.bound, baseline.value.bound)
    if bound is None:
        return None
    value = now.value.value / baseline.value.value
    with np.errstate(invalid="ignore"):
        ratios = now.draws - baseline.draws
    known = ratios[~np.isnan(ratios)]
    if not len(known):
        return Titer(value, bound)
    low, high = _quantile(known, 0.025), _quantile(known, 0.975)
    if bound is Bound.BELOW:
        return Titer(value, bound, NAN, max(value, high) if math.isfinite(high) else NAN)
    if bound is Bound.ABOVE:
        return Titer(value, bound, min(value, low) if low > 0 else NAN, NAN)
    return Titer(value, bound, low if low > 0 else NAN, high if math.isfinite(high) else NAN)


def fold_bound(now: Bound, baseline: Bound) -> Bound | None:
    """The bound of a quotient: `<` over exact is `<`, exact over `<` is `>`, `<` over `<` is not known."""
    if baseline is Bound.EXACT:
        return now
    turned = Bound.ABOVE if baseline is Bound.BELOW else Bound.BELOW
    return turned if now in (Bound.EXACT, turned) else None
