"""What was found against what was planted: one verdict a number, counted by cell of the grid."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from aqp4flow.cohort.trajectory import by_serum, trajectories
from aqp4flow.model import Bound, Reactivity, Status, Titer, Visit
from aqp4flow.pipeline import PlateTiters
from aqp4flow.simulate.scenario import VISITS, PlantedPlate, PlantedSerum

#: `fold` is judged by concentrations, `titer-fold` by the true titers of both visits.
QUANTITIES = ("delta", "titer", "fold", "titer-fold")


@dataclass(frozen=True)
class Verdict:
    """One number with limits against its truth.

    `side` is -1 where the truth lies below the limits, 1 above, 0 within. `log_error` is ln(found / true), `log_width`
    ln(high / low); both NaN where there is none. `bounded`: known only to lie below or above something.
    """

    cell: str
    quantity: str
    side: int
    log_error: float = math.nan
    log_width: float = math.nan
    bounded: bool = False


@dataclass(frozen=True)
class EndpointVerdict:
    """How many steps of the ladder an endpoint titer lies above (+) or below (-) the true one."""

    cell: str
    steps: int


@dataclass(frozen=True)
class Call:
    """One serum at one dilution called: its true delta over the true cut-off, its status, and a one-rule call."""

    cell: str
    strength: float
    status: Status
    by_delta: bool
    by_three_sd: bool


@dataclass(frozen=True)
class Verdicts:
    """All that one plate tells."""

    numbers: tuple[Verdict, ...]
    endpoints: tuple[EndpointVerdict, ...]
    calls: tuple[Call, ...]


def judge(cell: str, planted: PlantedPlate, found: PlateTiters, seed: int) -> Verdicts:
    """Every delta, titer, endpoint, fold and call of one plate against its truth."""
    truth = {serum.name: serum for serum in planted.sera}
    rows = [row for row in found.rows if row.serum in truth]
    numbers = [_delta(cell, truth[row.serum], row) for row in rows if row.delta.known]
    endpoints = []
    for titration in found.titrations:
        true = truth.get(titration.serum)
        if true is None or len(true.dilutions) < 2:
            continue
        if titration.titer is not None:
            numbers.append(bounded_verdict(cell, "titer", titration.titer, true.titer))
        if titration.endpoint is not None:
            steps = _endpoint_steps(true, titration.endpoint, [row for row in rows if row.serum == true.name])
            endpoints.append(EndpointVerdict(cell, steps))
    numbers += _folds(cell, planted, found, seed)
    return Verdicts(tuple(numbers), tuple(endpoints), tuple(_calls(cell, truth, found)))


def _delta(cell: str, true: PlantedSerum, row: Reactivity) -> Verdict:
    delta = true.deltas[true.dilutions.index(row.dilution)]
    side = -1 if delta < row.delta.low else 1 if delta > row.delta.high else 0
    if not (delta > 0 and row.delta.low > 0):
        return Verdict(cell, "delta", side)
    return Verdict(cell, "delta", side, math.log(row.delta.value / delta), math.log(row.delta.high / row.delta.low))


def bounded_verdict(cell: str, quantity: str, found: Titer, true: float) -> Verdict:
    """A titer or fold against its truth: with a bound, what lies beyond it is as was said; an open side has no end."""
    low = 0.0 if math.isnan(found.low) else found.low
    high = math.inf if math.isnan(found.high) else found.high
    if found.bound is Bound.BELOW:
        low, high = 0.0, max(found.value, high)
    if found.bound is Bound.ABOVE:
        low, high = min(found.value, low), math.inf
    side = -1 if true < low else 1 if true > high else 0
    inside = found.bound is Bound.EXACT and 0 < true < math.inf
    return Verdict(
        cell, quantity, side,
        math.log(found.value / true) if inside else math.nan,
        math.log(high / low) if inside and low > 0 and math.isfinite(high) else math.nan,
        found.bound is not Bound.EXACT,
    )  # fmt: skip


def _endpoint_steps(true: PlantedSerum, found: Titer, rows: Sequence[Reactivity]) -> int:
    """Steps between the endpoint found and the one that true read-outs have at the plate's own printed cut-offs."""
    printed = {row.dilution: row for row in rows}
    run = 0
    for dilution, delta, ratio in zip(true.dilutions, true.deltas, true.ratios, strict=True):
        row = printed.get(dilution)
        if row is None or not (delta > row.cutoff_delta and ratio > row.cutoff_ratio):
            break
        run += 1
    # endpoints that are averaged over replicates may lie between two dilutions
    reached = 0 if found.bound is Bound.BELOW else sum(d <= found.value * (1 + 1e-9) for d in true.dilutions)
    return reached - run


def _folds(cell: str, planted: PlantedPlate, found: PlateTiters, seed: int) -> list[Verdict]:
    visits = [
        Visit(serum.patient, serum.name, "2014-03-03", visit, visit == VISITS[0], 6.0 * VISITS.index(visit))
        for serum in planted.sera
        if serum.patient
        for visit in VISITS
        if serum.name.endswith(visit)
    ]
    truth = {serum.name: serum for serum in planted.sera}
    points = trajectories(visits, by_serum(found.titrations, found.rows), "titer", seed)
    verdicts: list[Verdict] = []
    for point in points:
        now, before = truth[point.visit.serum], truth[f"{point.visit.patient}-{VISITS[0]}"]
        if point.visit.baseline or point.fold is None:
            continue
        verdicts.append(bounded_verdict(cell, "fold", point.fold, now.concentration / before.concentration))
        if 0 < now.titer < math.inf and 0 < before.titer < math.inf:
            verdicts.append(bounded_verdict(cell, "titer-fold", point.fold, now.titer / before.titer))
    return verdicts


def _calls(cell: str, truth: dict[str, PlantedSerum], found: PlateTiters) -> Iterable[Call]:
    """Sera that were read at one dilution only: further negatives and weak sera."""
    cutoff = found.cutoffs.delta
    if cutoff is None or not cutoff.n:
        return
    for row in found.rows:
        true = truth.get(row.serum)
        if true is not None and len(true.dilutions) == 1 and row.delta.known:
            yield Call(
                cell, true.concentration, row.status, row.delta.value > cutoff.value,
                row.delta.value > cutoff.mean + 3 * cutoff.sd,
            )  # fmt: skip
