"""Events to wells.csv: a plate's wells compensated, gated and measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from aqp4flow.assay import acceptance, readout
from aqp4flow.cytometry.gates import Columns
from aqp4flow.cytometry.measure import Measured, Populations, measure
from aqp4flow.errors import AnalysisError
from aqp4flow.fcs.values import value_repairs
from aqp4flow.gating import Gating, learned_gates
from aqp4flow.model import FULLY_STAINED, NAN, Check, Reading, Repair, Role, Spillover, Verdict
from aqp4flow.plate import Opened, Plate, Setting, distinct, files_of, open_well
from aqp4flow.platechecks import file_checks, gate_checks, opinion_checks, spillover_checks

if TYPE_CHECKING:
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
    calibration: Calibration | None = None


def measure_plate(plate: Plate, setting: Setting, progress: Progress = lambda _: None) -> PlateWells:
    """Read, compensate, gate and measure every well of a plate.

    A well that cannot be read or measured is flagged and keeps an empty row; raises AnalysisError only when the
    plate as a whole gives nothing to learn gates from.
    """
    _keep_freed_memory()
    setting, control_checks = _with_controls(plate, setting, progress)
    opened = [open_well(plate, well, setting) for well in plate.wells]
    checks = file_checks(plate, opened) + control_checks + spillover_checks(plate, setting, opened)
    gating = setting.gating
    if gating is not None:
        checks += gate_checks(plate, gating, opened)
    else:
        progress(f"{plate.name}: learning gates")
        learned = _learn(plate, opened, setting)
        gating = learned_gates(learned.gates)
        if learned.dark_wells:
            message = f"How far dark cells reach on the reporter was seen in {learned.dark_wells} wells without it."
            checks.append(Check("plate", plate.name, "dark-wells", learned.dark_wells, "", Verdict.PASS, message))
        checks += [
            Check("plate", plate.name, code, "", "", Verdict.WARN, f"{sentence[:1].upper()}{sentence[1:]}.")
            for code, sentence in learned.remarks
        ]
    checks += opinion_checks(opened, setting.assay.fcs.second_opinion)
    progress(f"{plate.name}: measuring {len(plate.wells)} wells")
    readings, remarks = _measure_all(opened, gating, setting, checks)
    readings, calibration, bead_checks = _with_beads(plate, opened, setting, readings)
    checks += bead_checks
    repairs = [
        repair for one, more in zip(opened, remarks, strict=True) if one.file for repair in (*one.file.repairs, *more)
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
        calibration=calibration,
    )


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


def _with_controls(plate: Plate, setting: Setting, progress: Progress) -> tuple[Setting, list[Check]]:
    """The setting with the matrix of the plate's single stains, where they are asked for and usable; and why not."""
    source = setting.assay.compensation.source
    stained = files_of(plate, Role.SINGLE_STAIN)
    if source not in ("auto", "controls") or (source == "auto" and not stained):
        return setting, []
    where = f"{plate.name}: single stains"
    if not stained:
        raise AnalysisError(where, "there are none on the plate", "role single-stain and dye, or another source")
    from aqp4flow import controls

    progress(f"{plate.name}: {len(stained)} single stains")
    limit = setting.assay.acceptance.condition_limit
    dark = [file for _, file in files_of(plate, Role.UNSTAINED)]
    try:
        found = controls.of_plate([(well.dye, file) for well, file in stained], dark, setting.channels, limit)
    except AnalysisError as error:
        if source == "controls":
            raise AnalysisError(where, error.what, error.hint) from None
        return setting, [_unused(plate, error.what)]
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


def _to_learn_from(opened: Sequence[Opened]) -> Iterator[Columns]:
    """Fully stained wells that no one excluded, opened one after another."""
    for one in opened:
        if one.file and one.file.n_events and one.well.role in FULLY_STAINED and not one.well.excluded:
            yield one.columns()


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

    try:
        return learn_gates(_to_learn_from(opened), setting.channels, _perhaps_dark(opened, setting.channels.reporter))
    except AnalysisError as error:
        raise AnalysisError(f"{plate.name}: {error.where}", error.what, error.hint) from None


def _measure_all(
    opened: Sequence[Opened], gating: Gating, setting: Setting, checks: list[Check]
) -> tuple[list[Reading], list[list[Repair]]]:
    """Readings and remarks on values in plate-map order; control-cell wells come first, for their mates need them."""
    same_well = setting.assay.assay.comparator == "same-well"
    compared = Populations("expressing", "nonexpressing" if same_well else None)
    order = sorted(range(len(opened)), key=lambda i: opened[i].well.cells != "control")
    controls: list[Reading] = []
    tops: dict[str, float] = {}
    readings: dict[int, Reading] = {}
    remarks: dict[int, list[Repair]] = {}
    for i in order:
        one = opened[i]
        if one.well.role is Role.BEADS and one.file:  # no gate of cells is for beads
            readings[i] = Reading(one.well, one.file.n_events, {})
            remarks[i] = value_repairs(one.file.open_events())
            continue
        partner = None
        if compared.nonexpressing is None and one.well.cells != "control":
            partner = readout.partner_of(Reading(one.well, None, {}), controls)
        top = tops.get(partner.well.name, NAN) if partner else NAN
        measured, remarks[i] = _measure_one(one, gating, compared, setting, top)
        reading = _reading(one, measured, compared, partner)
        readings[i] = _flagged(reading, measured, setting, compared, checks)
        if one.well.cells == "control" and measured is not None:
            controls.append(readings[i])
            tops[one.well.name] = measured.background_top
    every = range(len(opened))
    return [readings[i] for i in every], [remarks[i] for i in every]


def _measure_one(
    one: Opened, gating: Gating, compared: Populations, setting: Setting, top: float
) -> tuple[Measured | None, list[Repair]]:
    """What a well measures, and what its values call for being told; its file is opened once for both."""
    if one.file is None:
        return None, []
    events = one.file.open_events()
    columns = Columns(events, one.spillover)
    found = gating.populations(one.file, columns)
    measured = measure(columns, found, compared, setting.signal, setting.assay.readout.statistic, top)
    return measured, value_repairs(events)


def _reading(one: Opened, measured: Measured | None, compared: Populations, partner: Reading | None) -> Reading:
    """Medians of the well, its mate's where cells are paired, and the shift between them."""
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
    )
    if compared.nonexpressing:
        return readout.with_shift(reading)
    if one.well.cells == "control":
        return reading
    if partner is None:
        return replace(reading, flags=("no-partner",))
    counts["nonexpressing"] = partner.counts["expressing"]
    return readout.with_shift(replace(reading, counts=counts, nonexpressing=partner.expressing))


def _flagged(
    reading: Reading, measured: Measured | None, setting: Setting, compared: Populations, checks: list[Check]
) -> Reading:
    """The reading with the flags of its own checks, which are noted in `checks`."""
    well, limits = reading.well, setting.assay.acceptance
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
        if "no-partner" in flags:
            message = "No single control-cell well with the same serum, dilution and replicate: no shift."
            checks.append(Check("well", subject, "no-partner", "", "1 control well", Verdict.FAIL, message))
    by_counts = acceptance.well_flags(reading, limits)
    if compared.nonexpressing is None:  # one population a well: there is no share of expressing cells to judge
        by_counts = tuple(flag for flag in by_counts if flag != "low-expression")
    if well.role not in FULLY_STAINED:
        flags = [flag for flag in flags if flag not in ("ratio-undefined", "no-partner")]
    flags += [flag for flag in by_counts if flag not in flags]
    return replace(reading, flags=tuple(flags))


PICTURED_WELLS = 12


def gate_pictures(wells: PlateWells) -> list[GatePicture]:
    """Every gate of a plate over pooled events, thinned to a dozen fully stained wells."""
    shown = [r.well for r in wells.readings if r.n_events and r.well.role in FULLY_STAINED and not r.well.excluded]
    step = -(-len(shown) // PICTURED_WELLS) or 1
    opened = [open_well(wells.plate, well, wells.setting) for well in shown[::step]]
    return wells.gating.pictures((one.file, one.columns()) for one in opened if one.file)
