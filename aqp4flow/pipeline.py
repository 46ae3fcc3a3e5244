"""The order of the stages: wells to titers, titers to patients. Pure: writes nothing, prints nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from aqp4flow.assay import acceptance, readout
from aqp4flow.assay.background import background_checks, backgrounds, corrected
from aqp4flow.assay.cutoff import CutOffs, cut_offs
from aqp4flow.assay.definition import Assay
from aqp4flow.assay.presets import plate_checks, preset_checks
from aqp4flow.assay.readout import Frame
from aqp4flow.assay.status import decide
from aqp4flow.model import (
    Check,
    Reactivity,
    Role,
    Titration,
    TrajectoryPoint,
    Verdict,
    Visit,
)
from aqp4flow.plate import Plate
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
    off = backgrounds(wells.plate.name, wells.readings, assay.readout.background)
    frame = Frame(off, assay.cutoff.screening_dilution, assay.readout.decide, assay.acceptance.min_negatives)
    rows = readout.combine(wells.readings, error, frame)
    cutoffs = cut_offs(rows, assay.cutoff, assay.readout.decide, assay.acceptance.min_negatives)
    rows = decide(rows, cutoffs.delta, cutoffs.ratio)
    rules = Rules(assay.readout.decide, assay.curve.model, assay.titer.draws, assay.seed.value, assay.titer.least)
    background = [
        reading.expressing.value
        for reading in wells.readings
        if reading.well.role is Role.SECONDARY_ONLY and reading.usable and reading.well.cells != "control"
    ]
    titrations = titrate(rows, cutoffs, background, rules)
    judged = acceptance.PlateResult(wells.plate.name, corrected(wells.readings, off), rows, cutoffs, error)
    checks = background_checks(wells.plate.name, off, [row.dilution for row in rows])
    checks += acceptance.accept(judged, assay.acceptance)
    return PlateTiters(wells, cutoffs, tuple(rows), tuple(titrations), tuple(checks))


def about_preset(assay: Assay, plates: Sequence[Plate]) -> list[Check]:
    """What there is to say of the preset that the definition names: nothing where it names none."""
    resolved = assay.model_dump()
    checks = preset_checks(resolved)
    for plate in plates:
        checks += plate_checks(plate.name, plate.wells, resolved)
    return checks


# --- titers to patients ---------------------------------------------------------------------------


def finish(
    assay: Assay, plates: Sequence[PlateWells], titers: Sequence[PlateTiters], visits: Sequence[Visit] | None
) -> StudyResult:
    """Join titers to visits and gather every check."""
    from aqp4flow.cohort.trajectory import by_serum, trajectories

    checks = about_preset(assay, [plate.plate for plate in plates])
    checks += [check for plate in plates for check in plate.checks]
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
    return StudyResult(assay, tuple(plates), tuple(titers), tuple(points), tuple(checks))


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
