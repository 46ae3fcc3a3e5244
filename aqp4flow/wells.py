"""Events to wells.csv: a plate's wells compensated, gated and measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from aqp4flow.acquisitionchecks import acquisition_checks, clock_checks
from aqp4flow.assay import acceptance, readout
from aqp4flow.assay.carryover import carry_over
from aqp4flow.cytometry.acquisition_qc import (
    Acquired,
    AcquisitionLimits,
    Clock,
    Kept,
    judge_gated,
    judge_ungated,
    kept_rows,
    number_of,
    read_clock,
    timed,
    with_cut,
)
from aqp4flow.cytometry.gates import Columns, Rows
from aqp4flow.cytometry.measure import Against, Measured, Populations, measure
from aqp4flow.cytometry.placement import Placement, place
from aqp4flow.errors import AnalysisError
from aqp4flow.fcs.events import FcsEvents
from aqp4flow.fcs.values import value_repairs
from aqp4flow.gating import Gating, OwnGates, learned_gates
from aqp4flow.model import FULLY_STAINED, NAN, Check, Reading, Repair, Role, Spillover, Verdict, Well
from aqp4flow.placementchecks import Placed, follow, placement_checks
from aqp4flow.plate import Opened, Plate, Setting, distinct, in_order_of_acquisition, open_well
from aqp4flow.platechecks import file_checks, gate_checks, opinion_checks, spillover_checks
from aqp4flow.spill import Spill, residual_of, stains_of

if TYPE_CHECKING:
    from aqp4flow.controls import Found
    from aqp4flow.cytometry.autogate import Learned
    from aqp4flow.cytometry.beads import Calibration
    from aqp4flow.cytometry.pictures import GatePicture

Progress = Callable[[str], None]


@dataclass(frozen=True)
class PlateWells:
    """A plate up to wells.csv."""

    plate: Plate
    setting: Setting
    gating: Gating
    readings: tuple[Reading, ...]
    spillovers: tuple[Spillover, ...]
    repairs: tuple[Repair, ...]
    checks: tuple[Check, ...]
    spill: Spill
    calibration: Calibration | None = None
    acquired: tuple[Acquired | None, ...] = ()  # a well each, in the order of `readings`; None: not judged


def measure_plate(plate: Plate, setting: Setting, progress: Progress = lambda _: None) -> PlateWells:
    """Read, compensate, gate and measure every well of a plate.

    A well that cannot be read or measured is flagged and keeps an empty row; raises AnalysisError only when the
    plate as a whole gives nothing to learn gates from.
    """
    _keep_freed_memory()
    stains = None  # unless the matrix is to come from them, they are looked at last, through the gates
    if setting.assay.compensation.source in ("auto", "controls"):
        stains = stains_of(plate, setting, progress)
    setting, control_checks = _with_controls(plate, setting, stains)
    opened = [open_well(plate, well, setting) for well in plate.wells]
    checks = file_checks(plate, opened) + control_checks + spillover_checks(plate, setting, opened)
    gating, about_gates = _gating_of(plate, opened, setting, progress)
    checks += about_gates
    checks += opinion_checks(opened, setting.assay.fcs.second_opinion)
    progress(f"{plate.name}: measuring {len(plate.wells)} wells")
    followed: Mapping[str, Gating] = {}
    moves: list[Check] = []
    if setting.assay.gating.follow and isinstance(gating, OwnGates):
        moved = follow(opened, gating, setting)
        followed, moves = moved.gates, list(moved.checks)
        checks += moves
    gatings = [followed.get(one.well.name, gating) for one in opened]
    readings, told = _measure_all(opened, gatings, setting, checks)
    readings, elsewhere = _placed(readings, told, setting, followed, moves)
    checks += elsewhere
    readings, carried = _after_bright_wells(plate, readings)
    checks += carried
    readings, calibration, bead_checks = _with_beads(plate, opened, setting, readings)
    checks += bead_checks
    checks += clock_checks(plate.name, [(one.well, each.acquired) for one, each in zip(opened, told, strict=True)])
    repairs = [
        repair
        for one, each in zip(opened, told, strict=True)
        if one.file
        for repair in (*one.file.repairs, *each.repairs)
    ]
    repairs += [Repair(one.well.file, "refused", one.refusal) for one in opened if one.refusal]
    return PlateWells(
        plate=plate,
        setting=setting,
        gating=gating,
        readings=tuple(readings),
        spillovers=distinct([one.spillover for one in opened if one.spillover]),
        repairs=tuple(repairs),
        checks=tuple(checks),
        spill=Spill(
            residual_of(opened, [each.acquired for each in told], gatings, setting),
            stains or stains_of(plate, setting, progress, gating),
        ),
        calibration=calibration,
        acquired=tuple(each.acquired for each in told),
    )


def _gating_of(
    plate: Plate, opened: Sequence[Opened], setting: Setting, progress: Progress
) -> tuple[Gating, list[Check]]:
    """The gates that were named, or those learned from the plate; and what there is to say of them."""
    if setting.gating is not None:
        return setting.gating, gate_checks(plate, setting.gating, opened)
    progress(f"{plate.name}: learning gates")
    learned = _learn(plate, opened, setting)
    checks = []
    if learned.dark_wells:
        message = f"How far dark cells reach on the reporter was seen in {learned.dark_wells} wells without it."
        checks.append(Check("plate", plate.name, "dark-wells", learned.dark_wells, "", Verdict.PASS, message))
    return learned_gates(learned.gates), checks + [_remark(plate, *remark) for remark in learned.remarks]


def _remark(plate: Plate, code: str, sentence: str) -> Check:
    from aqp4flow.cytometry.autogate import FAILING

    verdict = Verdict.FAIL if code in FAILING else Verdict.WARN
    return Check("plate", plate.name, code, "", "", verdict, f"{sentence[:1].upper()}{sentence[1:]}.")


def _placed(
    readings: Sequence[Reading],
    told: Sequence[_Told],
    setting: Setting,
    followed: Collection[str],
    moves: Sequence[Check],
) -> tuple[list[Reading], list[Check]]:
    """The readings with flags where populations lie elsewhere than in the plate's other wells; and the checks."""
    wells = [
        Placed(reading.well, each.placement)
        for reading, each in zip(readings, told, strict=True)
        if each.placement is not None
    ]
    checks = placement_checks(wells, setting.assay.acceptance, followed)
    return _with_flags(readings, [*moves, *checks]), checks


def _with_flags(readings: Sequence[Reading], checks: Sequence[Check]) -> list[Reading]:
    """The readings with the codes of the checks of single wells that did not pass."""
    flags: dict[str, list[str]] = {}
    for check in checks:
        if check.verdict is not Verdict.PASS:
            flags.setdefault(check.subject, []).append(check.check)
    return [
        replace(reading, flags=(*reading.flags, *flags.get(f"{reading.well.plate}/{reading.well.name}", ())))
        for reading in readings
    ]


def _after_bright_wells(plate: Plate, readings: Sequence[Reading]) -> tuple[list[Reading], list[Check]]:
    """The readings with flags where cells were carried over from the well before; and the checks."""
    wells, timed = in_order_of_acquisition(plate)
    by_well = {reading.well: reading for reading in readings}
    checks = carry_over([by_well[well] for well in wells])
    if checks and not timed:
        message = "The files do not tell in which order wells were acquired: row by row was assumed."
        checks.append(Check("plate", plate.name, "order", "", "", Verdict.WARN, message))
    return _with_flags(readings, checks), checks


def _with_beads(
    plate: Plate, opened: Sequence[Opened], setting: Setting, readings: list[Reading]
) -> tuple[list[Reading], Calibration | None, list[Check]]:
    """The readings in the units of the plate's beads too, where it has beads that give a line; and the checks."""
    if setting.beads is None and not any(well.role is Role.BEADS for well in plate.wells):
        return readings, None, []
    from aqp4flow.calibration import beads_of_plate, calibrated

    beads = beads_of_plate(plate, opened, setting)
    checks = list(beads.checks)
    if beads.calibration is not None:
        readings, more = calibrated(readings, opened, beads.calibration, setting.signal)
        checks += more
    return readings, beads.calibration, checks


def _with_controls(plate: Plate, setting: Setting, found: Found | AnalysisError | None) -> tuple[Setting, list[Check]]:
    """The setting with the matrix of the plate's single stains, where they are asked for and usable; and why not."""
    source = setting.assay.compensation.source
    if source not in ("auto", "controls") or (source == "auto" and found is None):
        return setting, []
    where = f"{plate.name}: single stains"
    if found is None:
        raise AnalysisError(where, "there are none on the plate", "role single-stain and dye, or another source")
    if isinstance(found, AnalysisError):
        if source == "controls":
            raise AnalysisError(where, found.what, found.hint)
        return setting, [_unused(plate, found.what)]
    missing = [
        name for name in (setting.channels.reporter, setting.signal) if name not in (None, *found.matrix.channels)
    ]
    reasons = [doubt.message for doubt in found.doubts] + [f"there is none for {name}" for name in missing]
    checks = [
        Check("plate", plate.name, doubt.code, doubt.value, "", Verdict.WARN, f"{doubt.message}.")
        for doubt in found.doubts
        if doubt.code != "spillover-condition"
    ]
    if source == "auto" and reasons:
        return setting, [*checks, _unused(plate, reasons[0])]
    if missing:
        raise AnalysisError(where, f"there is none for {missing[0]}", "add the control, or choose another source")
    return replace(setting, matrix=found.matrix), checks


def _unused(plate: Plate, why: str) -> Check:
    message = f"The single stains on the plate were not used: {why}."
    return Check("plate", plate.name, "single-stains", "not used", "", Verdict.WARN, message)


def _keep_freed_memory() -> None:
    """Freeing one large untouched block tells glibc to keep what is freed later, instead of handing every well's
    arrays back to the system and faulting them in anew (a fifth of the time otherwise). Harmless elsewhere.
    """
    np.empty(3 << 20)


def _to_learn_from(opened: Sequence[Opened], setting: Setting) -> Iterator[Columns]:
    """Fully stained wells that no one excluded, opened one after another.

    Where bad stretches are cut out, those that show without gates are cut out here too.
    """
    for one in opened:
        if one.file and one.file.n_events and one.well.role in FULLY_STAINED and not one.well.excluded:
            columns = one.columns()
            if setting.assay.acquisition.cut_out:
                limits = _limits(setting)
                acquired = with_cut(judge_ungated(columns, setting.channels, _clock(columns), limits), limits)
                if acquired.cut:
                    columns = Columns(Kept(columns.events, acquired.cut), one.spillover)
            yield columns


def _perhaps_dark(opened: Sequence[Opened], reporter: str | None) -> Iterator[Columns]:
    """Wells that may hold cells without the reporter: unstained, single stains of other dyes, control cells."""
    for one in opened:
        other_stain = one.well.role is Role.SINGLE_STAIN and one.well.dye != reporter
        wanted = one.well.role is Role.UNSTAINED or other_stain or one.well.cells == "control"
        if wanted and one.file and one.file.n_events and not one.well.excluded:
            yield one.columns()


def _learn(plate: Plate, opened: Sequence[Opened], setting: Setting) -> Learned:
    """Gates of the plate; wells that may hold cells without the reporter are offered as what is dark."""
    from aqp4flow.cytometry.autogate import learn_gates

    if not any(one.file and one.well.role in FULLY_STAINED and not one.well.excluded for one in opened):
        hint = "gates are learned from wells with the whole stain: name roles, or the gates of another plate"
        raise AnalysisError(f"{plate.name}: gates", "no well with the whole stain can be read", hint)
    try:
        dark = _perhaps_dark(opened, setting.channels.reporter)
        return learn_gates(_to_learn_from(opened, setting), setting.channels, dark)
    except AnalysisError as error:
        raise AnalysisError(f"{plate.name}: {error.where}", error.what, error.hint) from None


@dataclass(frozen=True)
class _Told:
    """What the events of one well tell: its measures, how it was acquired, remarks on its values."""

    measured: Measured | None = None
    acquired: Acquired | None = None
    placement: Placement | None = None
    repairs: tuple[Repair, ...] = ()


def _measure_all(
    opened: Sequence[Opened], gatings: Sequence[Gating], setting: Setting, checks: list[Check]
) -> tuple[list[Reading], list[_Told]]:
    """Readings and what was told in plate-map order.

    Wells without serum are measured first, for positive cells may be counted from what they show, then wells of
    control cells, for their mates need them.
    """
    common = setting.assay.readout.positive_above == "without-serum"
    same_well = setting.assay.assay.comparator == "same-well"
    compared = Populations("expressing", "nonexpressing" if same_well else None, setting.channels.reporter)
    order = sorted(range(len(opened)), key=lambda i: _turn(opened[i].well))
    controls: list[Reading] = []
    mates: dict[str, Measured] = {}
    without: list[Measured] = []
    plate_top = NAN
    readings: dict[int, Reading] = {}
    told: dict[int, _Told] = {}
    for i in order:
        one = opened[i]
        if one.well.role is Role.BEADS and one.file:  # no gate of cells is for beads
            readings[i] = Reading(one.well, one.file.n_events, {})
            told[i] = _Told(repairs=tuple(value_repairs(one.file.open_events())))
            continue
        if common and one.well.role is not Role.SECONDARY_ONLY and math.isnan(plate_top):
            plate_top = common_top(one.well.plate, without)
        partner = None
        if compared.nonexpressing is None and one.well.cells != "control":
            partner = readout.partner_of(Reading(one.well, None, {}), controls)
        mate = mates.get(partner.well.name) if partner else None
        against = Against(*((mate.background_top, mate.dark_spread) if mate else (NAN, NAN)), plate_top)
        told[i] = _measure_one(one, gatings[i], compared, setting, against)
        measured = told[i].measured
        reading = _reading(one, told[i], compared, partner)
        if common and one.well.role is Role.SECONDARY_ONLY:  # these give the limit: above it they would say nothing
            reading = replace(reading, above_expressing=NAN, above_nonexpressing=NAN)
        readings[i] = _flagged(reading, told[i], setting, compared, checks)
        if measured is None:
            continue
        if one.well.role is Role.SECONDARY_ONLY and not one.well.excluded and (same_well or _control(one.well)):
            without.append(measured)
        if _control(one.well):
            controls.append(readings[i])
            mates[one.well.name] = measured
    if common:
        checks.append(_about_top(opened[0].well.plate, plate_top, len(_telling(without))))
    every = range(len(opened))
    return [readings[i] for i in every], [told[i] for i in every]


def _control(well: Well) -> bool:
    return well.cells == "control"


def _turn(well: Well) -> tuple[bool, bool]:
    return well.role is not Role.SECONDARY_ONLY, not _control(well)


_MIN_DARK = 200


def _telling(without: Sequence[Measured]) -> list[float]:
    return [one.background_top for one in without if one.n_dark >= _MIN_DARK and not math.isnan(one.background_top)]


def common_top(plate: str, without: Sequence[Measured]) -> float:
    """One limit of positive cells for a whole plate: what 1 % of the non-expressing cells exceed without any serum.

    The median over wells of 200 such cells or more. Raises AnalysisError without one.
    """
    tops = _telling(without)
    if not tops:
        what = f"no usable well without serum with {_MIN_DARK} non-expressing cells"
        hint = "[readout] positive_above 'without-serum' needs one; 'own-well' does not"
        raise AnalysisError(f"{plate}: limit of positive cells", what, hint)
    return float(np.median(tops))


def _about_top(plate: str, top: float, n: int) -> Check:
    message = (
        f"Positive cells of rpc are counted above {top:.4g}, which 1 % of the non-expressing cells exceed without "
        f"serum (median of {n} well{'s' if n > 1 else ''})."
    )
    return Check("plate", plate, "rpc-limit", top, "", Verdict.PASS, message)


def _measure_one(one: Opened, gating: Gating, compared: Populations, setting: Setting, against: Against) -> _Told:
    """What a well measures, how it was acquired, and what its values call for being told; its file is opened once."""
    if one.file is None:
        return _Told()
    events = one.file.open_events()
    columns = Columns(events, one.spillover)
    found = gating.populations(one.file, columns)
    acquired = _judged(one, columns, found, compared, setting)
    if acquired and acquired.cut:
        found = {name: kept_rows(rows, acquired.cut) for name, rows in found.items()}
    measured = measure(columns, found, compared, setting.signal, setting.assay.readout.statistic, against)
    return _Told(measured, acquired, place(columns, found, setting.channels), tuple(value_repairs(events)))


def _limits(setting: Setting) -> AcquisitionLimits:
    return AcquisitionLimits(**setting.assay.acquisition.model_dump(exclude={"cut_out", "min_events"}))


def _judged(
    one: Opened, columns: Columns, found: Mapping[str, Rows], compared: Populations, setting: Setting
) -> Acquired | None:
    """How a well was acquired; None for wells that are not judged: excluded, without events, without cells."""
    if one.well.excluded or one.well.role is Role.BLANK or not columns.events.count:
        return None
    limits = _limits(setting)
    clock = _clock(columns)
    acquired = judge_ungated(columns, setting.channels, clock, limits)
    if one.well.role in FULLY_STAINED:
        names = (setting.channels.reporter, setting.signal)
        acquired = judge_gated(acquired, columns, found, compared, names, limits)
    acquired = timed(acquired, clock)
    return with_cut(acquired, limits) if setting.assay.acquisition.cut_out else acquired


def _clock(columns: Columns) -> Clock:
    events = columns.events
    assert isinstance(events, FcsEvents)  # wells are opened from files
    return read_clock(events.time(), "s" if events.layout.timestep else "ticks")


def _reading(one: Opened, told: _Told, compared: Populations, partner: Reading | None) -> Reading:
    """Medians of the well, its mate's where cells are paired, and the shift between them."""
    measured = told.measured
    if measured is None:
        return Reading(one.well, None, {}, flags=("unreadable",))
    counts = dict(measured.counts)
    reading = Reading(
        well=one.well,
        n_events=measured.n_events,
        counts=counts,
        expressing=measured.expressing,
        nonexpressing=measured.nonexpressing,
        percent_positive=measured.percent_positive,
        n_cut_out=number_of(told.acquired.cut) if told.acquired else 0,
        above_expressing=measured.above_expressing,
        above_nonexpressing=measured.above_nonexpressing,
        slope=measured.slope,
    )
    if compared.nonexpressing:
        return readout.with_shift(reading)
    if one.well.cells == "control":
        return reading
    if partner is None:
        return replace(reading, above_expressing=NAN, flags=("no-partner",))
    counts["nonexpressing"] = partner.counts["expressing"]
    above = partner.above_expressing
    return readout.with_shift(
        replace(reading, counts=counts, nonexpressing=partner.expressing, above_nonexpressing=above)
    )


def _flagged(reading: Reading, told: _Told, setting: Setting, compared: Populations, checks: list[Check]) -> Reading:
    """The reading with the flags of its own checks, which are noted in `checks`."""
    well, limits, measured = reading.well, setting.assay.acceptance, told.measured
    subject = f"{well.plate}/{well.name}"
    flags = list(reading.flags)
    if measured is None:
        message = "The file could not be read: see repairs.csv. The well takes no part."
        checks.append(Check("well", subject, "unreadable", "", "", Verdict.FAIL, message))
    elif well.role in FULLY_STAINED and not well.excluded:
        saturated = acceptance.saturation(reading, measured.at_top, limits)
        if saturated:
            checks.append(saturated)
            flags.append("saturated")
        if measured.not_finite:
            flags.append("values-not-finite")
            message = (
                f"{measured.not_finite} gated events have no finite signal (NaN or infinite); MFI is of the others."
            )
            checks.append(Check("well", subject, "values-not-finite", measured.not_finite, "0", Verdict.WARN, message))
        without = _without_statistic(measured, setting, compared)
        if without:
            flags.append("statistic-undefined")
            message = (
                f"No {setting.assay.readout.statistic} of the {' and the '.join(without)} cells: some have a signal at"
                " or below 0, which has no logarithm, so that the well has no shift. Take the median."
            )
            checks.append(
                Check("well", subject, "statistic-undefined", len(without), "signals above 0", Verdict.WARN, message)
            )
        if "no-partner" in flags:
            message = (
                "No single control-cell well with the same serum, dilution and replicate: no shift. Where there are"
                " several, number the replicates in the plate map, an antigen well and its control well alike."
            )
            checks.append(Check("well", subject, "no-partner", "", "1 control well", Verdict.FAIL, message))
    by_counts = acceptance.well_flags(reading, limits)
    if compared.nonexpressing is None:  # one population a well: there is no share of expressing cells to judge
        by_counts = tuple(flag for flag in by_counts if flag != "low-expression")
    if well.role not in FULLY_STAINED:
        flags = [flag for flag in flags if flag not in ("ratio-undefined", "no-partner")]
    flags += [flag for flag in by_counts if flag not in flags]
    if told.acquired:
        of_acquisition = acquisition_checks(well, told.acquired, setting.assay)
        checks += of_acquisition
        flags += dict.fromkeys(check.check for check in of_acquisition)
    return replace(reading, flags=tuple(flags))


def _without_statistic(measured: Measured, setting: Setting, compared: Populations) -> list[str]:
    """The populations of a well that hold events enough, and have no geometric mean for all that."""
    if setting.assay.readout.statistic != "geometric-mean":
        return []
    found = ((compared.expressing, measured.expressing), (compared.nonexpressing, measured.nonexpressing))
    return [name for name, mfi in found if name and measured.counts.get(name, 0) > 1 and not mfi.known]


PICTURED_WELLS = 12


def gate_pictures(wells: PlateWells) -> list[GatePicture]:
    """Every gate of a plate over pooled events, thinned to a dozen fully stained wells."""
    shown = [r.well for r in wells.readings if r.n_events and r.well.role in FULLY_STAINED and not r.well.excluded]
    step = -(-len(shown) // PICTURED_WELLS) or 1
    opened = [open_well(wells.plate, well, wells.setting) for well in shown[::step]]
    return wells.gating.pictures((one.file, one.columns()) for one in opened if one.file)
