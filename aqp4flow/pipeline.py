"""The order of the stages: wells to titers, titers to patients. Pure: writes nothing, prints nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aqp4flow.assay import acceptance, readout
from aqp4flow.assay.cutoff import CutOffs, cut_offs
from aqp4flow.assay.definition import Assay
from aqp4flow.assay.status import decide
from aqp4flow.model import (
    Check,
    Precision,
    Reactivity,
    Role,
    Titration,
    TrajectoryPoint,
    Verdict,
    Visit,
)
from aqp4flow.spill import spill_checks
from aqp4flow.wells import PlateWells


@dataclass(frozen=True)
class PlateTiters:
    """A plate from reactivity to titers."""

    wells: PlateWells
    cutoffs: CutOffs
    rows: tuple[Reactivity, ...]
    titrations: tuple[Titration, ...]
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class StudyResult:
    """Everything a results folder shows."""

    assay: Assay
    plates: tuple[PlateWells, ...]
    titers: tuple[PlateTiters, ...] = ()
    trajectories: tuple[TrajectoryPoint, ...] = ()
    checks: tuple[Check, ...] = field(default=())
    precision: Precision = field(default=Precision())

    @property
    def fit(self) -> bool:
        """Whether every rule of the run and its plates held (wells may fail by themselves)."""
        return not any(check.verdict is Verdict.FAIL and check.scope in ("run", "plate") for check in self.checks)


# --- wells to titers ------------------------------------------------------------------------------


def titrate_plate(wells: PlateWells) -> PlateTiters:
    """Replicates together, cut-off, status, titers and the plate's acceptance."""
    from aqp4flow.assay.titration import Rules, titrate

    assay = wells.setting.assay
    error = readout.replicate_error(wells.readings)
    rows = readout.combine(wells.readings, error)
    cutoffs = cut_offs(rows, assay.cutoff, assay.readout.decide, assay.acceptance.min_negatives)
    rows = decide(rows, cutoffs.delta, cutoffs.ratio)
    rules = Rules(assay.readout.decide, assay.curve.model, assay.titer.draws, assay.seed.value)
    background = [
        reading.expressing.value
        for reading in wells.readings
        if reading.well.role is Role.SECONDARY_ONLY and reading.usable and reading.well.cells != "control"
    ]
    titrations = titrate(rows, cutoffs, background, rules)
    judged = acceptance.PlateResult(wells.plate.name, wells.readings, rows, cutoffs, error)
    checks = acceptance.accept(judged, assay.acceptance)
    return PlateTiters(wells, cutoffs, tuple(rows), tuple(titrations), tuple(checks))


# --- titers to patients ---------------------------------------------------------------------------


def finish(
    assay: Assay, plates: Sequence[PlateWells], titers: Sequence[PlateTiters], visits: Sequence[Visit] | None
) -> StudyResult:
    """Join titers to visits and gather every check."""
    from aqp4flow.cohort.trajectory import by_serum, trajectories

    checks = [check for plate in plates for check in plate.checks]
    cutoffs = {plate.wells.plate.name: plate.cutoffs.delta for plate in titers}
    for plate in plates:
        checks += spill_checks(plate.plate.name, plate.spill, plate.setting, cutoffs.get(plate.plate.name))
    checks += [check for titer in titers for check in titer.checks]
    points: list[TrajectoryPoint] = []
    if visits is not None and titers:
        titrations = [titration for plate in titers for titration in plate.titrations]
        rows = [row for plate in titers for row in plate.rows]
        measured = by_serum(titrations, rows)
        points = trajectories(visits, measured, assay.trajectory.quantity, assay.seed.value)
        checks += _visit_checks(points, titrations)
    precision = Precision(assumed=assay.precision.rcv, min_df=assay.precision.min_df)
    if titers:
        precision, check = _precision(assay, titers)
        checks.append(check)
    return StudyResult(assay, tuple(plates), tuple(titers), tuple(points), tuple(checks), precision)


def _precision(assay: Assay, titers: Sequence[PlateTiters]) -> tuple[Precision, Check]:
    """The study's own precision from whatever was measured more than once."""
    from aqp4flow.assay.precision import observations, precision, precision_check

    readings = [reading for plate in titers for reading in plate.wells.readings]
    found = observations(readings, [titration for plate in titers for titration in plate.titrations])
    measured = precision(found, assay.precision)
    return measured, precision_check(measured, assay.trajectory.quantity, len(titers))


def _visit_checks(points: Sequence[TrajectoryPoint], titrations: Sequence[Titration]) -> list[Check]:
    checks = []
    for point in points:
        if not point.plates:
            visit = point.visit
            message = f"Serum {visit.serum} of {visit.collected} was not measured on any plate."
            checks.append(Check("patient", visit.patient, "visit-not-measured", visit.serum, "", Verdict.WARN, message))
    known = {point.visit.serum for point in points}
    strangers = {t.serum: t.plate for t in titrations if t.role is Role.SAMPLE and t.serum not in known}
    for serum, plate in strangers.items():
        message = f"Serum {serum} is in no row of the visits: it has a titer but no patient."
        checks.append(Check("serum", f"{plate}/{serum}", "serum-without-visit", "", "", Verdict.WARN, message))
    return checks
