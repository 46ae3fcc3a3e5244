"""The order of the stages: wells to titers, titers to patients. Pure: writes nothing, prints nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from aqp4flow.assay import acceptance, readout
from aqp4flow.assay.background import background_checks, backgrounds, corrected
from aqp4flow.assay.cutoffs.cutoff import CutOffs, cut_offs
from aqp4flow.assay.cutoffs.negatives import Past
from aqp4flow.assay.declared import declared_checks, error_or_declared
from aqp4flow.assay.definition import Assay
from aqp4flow.assay.presets import plate_checks, preset_checks
from aqp4flow.assay.readout import Frame
from aqp4flow.assay.status import decide
from aqp4flow.assay.units.reference import PlateUnits, plate_units
from aqp4flow.assay.units.standard import Chance, PlateFacts
from aqp4flow.cohort.bridging import BridgeRow
from aqp4flow.model import (
    NAN,
    Check,
    ClinicalEvent,
    Followed,
    PatientRecords,
    Precision,
    Reactivity,
    Reading,
    Statistic,
    Summary,
    TimePoint,
    Titration,
    TrajectoryPoint,
    Verdict,
    Visit,
)
from aqp4flow.plate import Plate
from aqp4flow.spill import spill_checks
from aqp4flow.wells import PlateWells

if TYPE_CHECKING:
    from aqp4flow.assay.titration import Rules
    from aqp4flow.cohort.analysis import Analysis


@dataclass(frozen=True)
class PlateTiters:
    """A plate from reactivity to titers."""

    wells: PlateWells
    cutoffs: CutOffs
    rows: tuple[Reactivity, ...]
    titrations: tuple[Titration, ...]
    checks: tuple[Check, ...]
    units: PlateUnits


@dataclass(frozen=True)
class StudyResult:
    """Everything a results folder shows."""

    assay: Assay
    plates: tuple[PlateWells, ...]
    titers: tuple[PlateTiters, ...] = ()
    trajectories: tuple[TrajectoryPoint, ...] = ()
    bridging: tuple[BridgeRow, ...] = ()
    clinical: tuple[ClinicalEvent, ...] = ()
    schedule: tuple[TimePoint, ...] = ()
    followed: tuple[Followed, ...] = ()
    statistics: tuple[Statistic, ...] = ()
    summaries: tuple[Summary, ...] = ()
    checks: tuple[Check, ...] = field(default=())
    precision: Precision = field(default=Precision())

    @property
    def fit(self) -> bool:
        """Whether every rule of the run and its plates held (wells may fail by themselves)."""
        return not self.failed

    @property
    def failed(self) -> tuple[Check, ...]:
        """The rules of the run and its plates that did not hold: each makes the run unfit."""
        return tuple(c for c in self.checks if c.verdict is Verdict.FAIL and c.scope in ("run", "plate"))

    @property
    def failed_alone(self) -> str:
        """Checks of single wells, sera and patients that failed, counted in words; empty without any."""
        found = [c.scope for c in self.checks if c.verdict is Verdict.FAIL and c.scope not in ("run", "plate")]
        counts = [(scope, found.count(scope)) for scope in ("well", "serum", "patient")]
        return " and ".join(f"{n} check{'s' if n > 1 else ''} of a {scope}" for scope, n in counts if n)


# --- wells to titers ------------------------------------------------------------------------------


def titrate_plate(wells: PlateWells, curves: bool = True) -> PlateTiters:
    """Replicates together, cut-off, status, titers and the plate's acceptance; `curves` False fits none."""
    from aqp4flow.assay.curves.curve import off_curve_checks
    from aqp4flow.assay.titration import Rules, confirmed, saturated_curve_checks, titrate

    assay = wells.setting.assay
    error = readout.replicate_error(wells.readings)
    off = backgrounds(wells.plate.name, wells.readings, assay.readout.background)
    frame = Frame(off, assay.cutoff.screening_dilution, assay.readout.decide, assay.acceptance.min_negatives)
    known = error_or_declared(error, assay.titer.well_cv)
    rows = readout.combine(wells.readings, known, frame)
    history = wells.setting.history
    cutoffs = cut_offs(rows, assay.cutoff, assay.readout.decide, assay.acceptance.min_negatives, history)
    rows = decide(rows, cutoffs.deciding, cutoffs.second, assay.cutoff.grades)
    rules = Rules(assay.readout.decide, assay.curve if curves else None, assay.titer.draws, assay.seed.value)
    background = [reading for reading in wells.readings if reading.well.without_serum and reading.usable]
    titrations = titrate(rows, cutoffs, background, rules)
    if assay.titer.replicates == "separate":
        titrations = _by_replicate(wells.readings, titrations, cutoffs, (known, frame), rules)
    titrations = [confirmed(titration, rows, assay.titer.least) for titration in titrations]
    titrations = [titration if known.of_delta.df else _counting_only(titration) for titration in titrations]
    facts = PlateFacts(cutoffs.delta.value if cutoffs.delta else NAN, known.of_delta.df > 0)
    units = plate_units(rows, assay.reference, facts, Chance(assay.titer.draws, assay.seed.value))
    titrations = [units.titration(titration) for titration in titrations]
    readings = corrected(wells.readings, off)
    judged = acceptance.PlateResult(wells.plate.name, readings, rows, cutoffs, error, wells.checks)
    checks = background_checks(wells.plate.name, off, [row.dilution for row in rows])
    checks += acceptance.accept(judged, assay.acceptance) + off_curve_checks(titrations)
    checks += saturated_curve_checks(titrations, rows)
    checks += declared_checks(wells.plate.name, error, assay.titer.well_cv)
    if assay.titer.replicates == "separate":
        from aqp4flow.assay.replicatetiters import shared_labels

        checks += shared_labels(wells.plate.name, wells.plate.wells)
    return PlateTiters(wells, cutoffs, tuple(rows), tuple(titrations), (*checks, *units.checks), units)


def _counting_only(titration: Titration) -> Titration:
    """Without replicates, and without a CV that the lab declares, limits are too narrow by the error between wells."""
    return (
        titration if titration.titer is None else replace(titration, flags=(*titration.flags, "limits-counting-only"))
    )


def _by_replicate(
    readings: Sequence[Reading],
    pooled: Sequence[Titration],
    cutoffs: CutOffs,
    how: tuple[readout.ReplicateError, Frame],
    rules: Rules,
) -> list[Titration]:
    """The titrations with titers read from each replicate's own series; curves stay those of the pooled series.

    `how` are the error between wells and the plate's frame, as for the pooled rows.
    """
    from aqp4flow.assay.replicatetiters import averaged, replicate_series
    from aqp4flow.assay.titration import titrate

    parts: dict[str, list[Titration]] = {}
    tested: dict[str, list[Reactivity]] = {}
    for number, series in enumerate(replicate_series(readings), 1):
        rows = decide(readout.combine(series, *how), cutoffs.deciding, cutoffs.second)
        # Draws start from a serum's name: those of its replicates must not be the same.
        named = [replace(row, serum=f"{row.serum} {number}") for row in rows]
        for row, found in zip(rows, named, strict=True):
            tested.setdefault(row.serum, []).append(found)
        by_name = {titration.serum: titration for titration in titrate(named, cutoffs, [], rules)}
        for serum in dict.fromkeys(row.serum for row in rows):
            parts.setdefault(serum, []).append(by_name[f"{serum} {number}"])
    return [averaged(one, parts[one.serum], tested[one.serum]) for one in pooled]


def about_preset(assay: Assay, plates: Sequence[Plate]) -> list[Check]:
    """What there is to say of the preset that the definition names: nothing where it names none."""
    resolved = assay.model_dump()
    checks = preset_checks(resolved)
    for plate in plates:
        checks += plate_checks(plate.name, plate.wells, resolved)
    return checks


# --- titers to patients ---------------------------------------------------------------------------


def finish(
    assay: Assay,
    plates: Sequence[PlateWells],
    titers: Sequence[PlateTiters],
    records: PatientRecords | None,
    told: Sequence[Check] = (),
) -> StudyResult:
    """Join titers to the patients' records and gather every check, those `told` of the definition first."""
    from aqp4flow.cohort.linking import link_checks

    checks = [*told, *about_preset(assay, [plate.plate for plate in plates])]
    checks += [check for plate in plates for check in plate.checks]
    cutoffs = {plate.wells.plate.name: plate.cutoffs.delta for plate in titers}
    for plate in plates:
        checks += spill_checks(plate.plate.name, plate.spill, plate.setting, cutoffs.get(plate.plate.name))
    checks += [check for titer in titers for check in titer.checks]
    checks += _control_charts(titers)
    wells = [well for plate in plates for well in plate.plate.wells]
    checks += link_checks(records, wells, assay.trajectory.months)
    known = records or PatientRecords()
    precision = Precision(assumed=assay.precision.rcv, min_df=assay.precision.min_df)
    precise = []
    if titers:
        precision, check = _precision(assay, titers)
        precise.append(check)
    points: tuple[TrajectoryPoint, ...] = ()
    bridged: tuple[BridgeRow, ...] = ()
    if known.visits and titers:
        points, bridged, told_of_visits = _courses(assay, titers, known.visits, precision)
        checks += told_of_visits
    checks += precise
    found = _analysis(assay, points, known)
    return StudyResult(
        assay=assay,
        plates=tuple(plates),
        titers=tuple(titers),
        trajectories=found.points,
        bridging=bridged,
        clinical=known.clinical,
        schedule=found.schedule,
        followed=found.followed,
        statistics=found.statistics,
        summaries=found.summaries,
        checks=(*checks, *found.checks),
        precision=precision,
    )


def _analysis(assay: Assay, points: Sequence[TrajectoryPoint], records: PatientRecords) -> Analysis:
    """Tests and summaries of the patients, as [statistics] settles them."""
    from aqp4flow.cohort.analysis import analyse
    from aqp4flow.cohort.statistics.plan import Plan

    settled = assay.statistics
    plan = Plan(settled.tests, settled.primary_outcome, settled.primary_timepoint, settled.draws, assay.seed.value)
    return analyse(points, records, assay.trajectory.months, plan)


def _courses(
    assay: Assay, titers: Sequence[PlateTiters], visits: Sequence[Visit], precision: Precision
) -> tuple[tuple[TrajectoryPoint, ...], tuple[BridgeRow, ...], list[Check]]:
    """Patients over time, what their plates were compared by (of several plates), and the checks of both."""
    from aqp4flow.cohort.bridging import bridging_check
    from aqp4flow.cohort.trajectory import Following, by_serum, follow

    titrations = [titration for plate in titers for titration in plate.titrations]
    measured = by_serum(titrations, [row for plate in titers for row in plate.rows])
    how = Following(assay.trajectory.quantity, assay.trajectory.bridging, precision, assay.seed.value)
    course = follow(visits, measured, how)
    if len(titers) == 1:
        return course.points, (), []
    check = bridging_check(course.bridges, how.bridging, course.crossed)
    rows = tuple(row for one in course.bridges for row in one.rows)
    return course.points, rows, [check] if check else []


def _precision(assay: Assay, titers: Sequence[PlateTiters]) -> tuple[Precision, Check]:
    """The study's own precision from whatever was measured more than once."""
    from aqp4flow.assay.quality.precision import observations, precision, precision_check

    readings = [reading for plate in titers for reading in plate.wells.readings]
    found = observations(readings, [titration for plate in titers for titration in plate.titrations])
    measured = precision(found, assay.precision)
    return measured, precision_check(measured, assay.trajectory.quantity, len(titers))


def _control_charts(titers: Sequence[PlateTiters]) -> list[Check]:
    """Control materials of each plate against earlier runs, those of this study's plates before it among them."""
    from aqp4flow.assay.quality.controlchart import control_checks

    checks: list[Check] = []
    past = list(titers[0].wells.setting.controls or ()) if titers else []
    for plate in titers:
        if plate.wells.setting.controls is not None:
            checks += control_checks(plate.wells.plate.name, plate.rows, past)
            past += [
                Past(row.plate, row.serum, row.role, row.dilution, {"delta": row.delta.value}) for row in plate.rows
            ]
    return checks
