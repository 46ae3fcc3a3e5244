"""The order of the stages. Reads FCS files it is pointed to; writes nothing, prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from aqp4flow.assay import acceptance, readout
from aqp4flow.assay.cutoff import CutOffs, cut_offs
from aqp4flow.assay.definition import Assay, resolve_channel
from aqp4flow.cytometry.compensation import condition
from aqp4flow.cytometry.gates import Columns, GateChannels, channels_needed
from aqp4flow.cytometry.measure import Measured, Populations, measure
from aqp4flow.errors import AnalysisError, ConfigError, FcsError, InputError
from aqp4flow.fcs import FcsFile
from aqp4flow.fcs.spillover import HARDWARE_SPILLOVER
from aqp4flow.fcs.values import value_repairs
from aqp4flow.model import (
    FULLY_STAINED,
    NAN,
    Channel,
    Check,
    Gate,
    Reactivity,
    Reading,
    Repair,
    Role,
    Spillover,
    Titration,
    TrajectoryPoint,
    Verdict,
    Visit,
    Well,
)

if TYPE_CHECKING:
    from aqp4flow.cytometry.autogate import Learned
    from aqp4flow.cytometry.pictures import GatePicture
    from aqp4flow.fcs.second_opinion import Opinion

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Plate:
    """A plate as handed in: its wells, its files by name (or why one cannot be read), files no well names."""

    name: str
    wells: tuple[Well, ...]
    files: Mapping[str, FcsFile | FcsError]
    unlisted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """What the definition means on one plate: channels by $PnN, the matrix from outside, frozen gates."""

    assay: Assay
    channels: GateChannels
    signal: str
    matrix: Spillover | None
    gates: tuple[Gate, ...] | None


@dataclass(frozen=True)
class PlateWells:
    """A plate up to wells.csv."""

    plate: Plate
    setting: Setting
    gates: tuple[Gate, ...]
    readings: tuple[Reading, ...]
    spillovers: tuple[Spillover, ...]
    repairs: tuple[Repair, ...]
    checks: tuple[Check, ...]


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


# --- before any number is made --------------------------------------------------------------------


def settle(plate: Plate, assay: Assay, matrix: Spillover | None, gates: Sequence[Gate] | None) -> Setting:
    """Find the assay's channels in the plate's first readable file; raises ConfigError carrying every problem."""
    there = first_channels(plate)
    wanted = assay.channels
    problems: list[InputError] = []

    def find(key: str, name: str | None) -> str | None:
        if name is None:
            return None
        try:
            return resolve_channel(name, key, there)
        except ConfigError as problem:
            problems.append(problem)
            return None

    height = wanted.forward_height or _height_of(wanted.forward, there)
    channels = GateChannels(
        forward=find("forward", wanted.forward) or "",
        side=find("side", wanted.side) or "",
        forward_height=find("forward_height", height),
        viability=find("viability", wanted.viability),
        reporter=find("reporter", wanted.reporter),
    )
    signal = find("signal", wanted.signal) or ""
    frozen = tuple(gates) if gates is not None else None
    problems += _gate_problems(frozen, assay, there) if frozen is not None else []
    names = [channel.name for channel in there]
    if matrix is not None and not set(matrix.channels) <= set(names):
        missing = ", ".join(name for name in matrix.channels if name not in names)
        hint = f"the files have {', '.join(names)}"
        problems.append(ConfigError("assay.toml: [compensation] source", f"{matrix.source} names {missing}", hint))
    if problems:
        problems[0].others = tuple(problems[1:])
        raise problems[0]
    return Setting(assay, channels, signal, matrix, frozen)


def first_channels(plate: Plate) -> tuple[Channel, ...]:
    """Channels of the first file that can be read; raises the first refusal when none can."""
    files = [plate.files[well.file] for well in plate.wells]
    for file in files:
        if isinstance(file, FcsFile):
            return file.channels
    refusals = [file for file in files if isinstance(file, FcsError)]
    raise refusals[0] if refusals else InputError(f"{plate.name}/", "no wells", "fill in the plate map")


def _height_of(forward: str, there: Sequence[Channel]) -> str | None:
    """`FSC-A` has its height in `FSC-H`, when the cytometer stored it."""
    height = forward.removesuffix("-A") + "-H"
    return height if forward.endswith("-A") and any(channel.name == height for channel in there) else None


def _gate_problems(gates: Sequence[Gate], assay: Assay, there: Sequence[Channel]) -> list[InputError]:
    names = {channel.name for channel in there}
    where = f"assay.toml: [gating] {assay.gating.source}"
    problems: list[InputError] = []
    unknown = [channel for channel in channels_needed(gates) if channel not in names]
    if unknown:
        what = f"gates look at {', '.join(unknown)}, which the files do not have"
        problems.append(ConfigError(where, what, f"the files have {', '.join(sorted(names))}"))
    there_are = [gate.name for gate in gates]
    missing = [name for name in _compared_names(assay) if name not in there_are]
    hint = f"gates: {', '.join(there_are)}"
    return problems + [ConfigError(where, f"no gate is called {name!r}", hint) for name in missing]


def _compared_names(assay: Assay) -> list[str]:
    names = [assay.gating.expressing] if assay.channels.reporter else []
    return names + ([assay.gating.nonexpressing] if assay.assay.comparator == "same-well" else [])


# --- events to wells ------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Opened:
    """A well's file, or why it could not be read."""

    well: Well
    file: FcsFile | None
    spillover: Spillover | None
    refusal: str = ""

    def columns(self) -> Columns:
        """The well's events, in memory for as long as the columns live."""
        if self.file is None:
            raise ValueError("a refused file has no columns")
        return Columns(self.file.open_events(), self.spillover)


def measure_plate(plate: Plate, setting: Setting, progress: Progress = lambda _: None) -> PlateWells:
    """Read, compensate, gate and measure every well of a plate.

    A well that cannot be read or measured is flagged and keeps an empty row; raises AnalysisError only when the
    plate as a whole gives nothing to learn gates from.
    """
    _keep_freed_memory()
    setting, control_checks = _with_controls(plate, setting, progress)
    opened = [_open(plate, well, setting) for well in plate.wells]
    checks = _file_checks(plate, opened) + control_checks + _spillover_checks(plate, setting, opened)
    gates = setting.gates
    if gates is None:
        progress(f"{plate.name}: learning gates")
        learned = _learn(plate, opened, setting)
        gates = learned.gates
        checks += [
            Check("plate", plate.name, code, "", "", Verdict.WARN, f"{sentence[:1].upper()}{sentence[1:]}.")
            for code, sentence in learned.remarks
        ]
    checks += _second_opinions(opened, setting.assay.fcs.second_opinion)
    progress(f"{plate.name}: measuring {len(plate.wells)} wells")
    readings, remarks = _measure_all(opened, gates, setting, checks)
    repairs = [
        repair for one, more in zip(opened, remarks, strict=True) if one.file for repair in (*one.file.repairs, *more)
    ]
    repairs += [Repair(one.well.file, "refused", one.refusal) for one in opened if one.refusal]
    return PlateWells(
        plate=plate,
        setting=setting,
        gates=gates,
        readings=tuple(readings),
        spillovers=_distinct([one.spillover for one in opened if one.spillover]),
        repairs=tuple(repairs),
        checks=tuple(checks),
    )


def _with_controls(plate: Plate, setting: Setting, progress: Progress) -> tuple[Setting, list[Check]]:
    """The setting with the matrix of the plate's single stains, where they are asked for and usable; and why not."""
    source = setting.assay.compensation.source
    stained = _files_of(plate, Role.SINGLE_STAIN)
    if source not in ("auto", "controls") or (source == "auto" and not stained):
        return setting, []
    where = f"{plate.name}: single stains"
    if not stained:
        raise AnalysisError(where, "there are none on the plate", "role single-stain and dye, or another source")
    from aqp4flow import controls

    progress(f"{plate.name}: {len(stained)} single stains")
    limit = setting.assay.acceptance.condition_limit
    dark = [file for _, file in _files_of(plate, Role.UNSTAINED)]
    try:
        found = controls.of_plate(
            [(well.dye, file) for well, file in stained], dark, setting.channels, setting.assay.seed.value, limit
        )
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


def _files_of(plate: Plate, role: Role) -> list[tuple[Well, FcsFile]]:
    """Wells of a role whose file could be read and holds events, and that no one excluded."""
    found = [(well, plate.files[well.file]) for well in plate.wells if well.role is role and not well.excluded]
    return [(well, file) for well, file in found if isinstance(file, FcsFile) and file.n_events]


def _keep_freed_memory() -> None:
    """Freeing one large untouched block tells glibc to keep what is freed later, instead of handing every well's
    arrays back to the system and faulting them in anew (a fifth of the time otherwise). Harmless elsewhere.
    """
    np.empty(3 << 20)


def _open(plate: Plate, well: Well, setting: Setting) -> _Opened:
    file = plate.files[well.file]
    if isinstance(file, FcsError):
        return _Opened(well, None, None, file.what)
    missing = [name for name in _wanted_channels(setting) if not any(c.name == name for c in file.channels)]
    if missing:
        return _Opened(well, None, None, f"the file has no channel {', '.join(missing)}")
    changed = [repair.message for repair in file.repairs if repair.code == "data-seven-bit"]
    if changed:
        return _Opened(well, None, None, changed[0])
    spillover, refusal = _spillover_for(file, setting)
    return _Opened(well, None if refusal else file, spillover, refusal)


def _wanted_channels(setting: Setting) -> list[str]:
    channels = setting.channels
    names = [channels.forward, channels.side, channels.forward_height, channels.viability, channels.reporter]
    return [name for name in (*names, setting.signal) if name]


def _spillover_for(file: FcsFile, setting: Setting) -> tuple[Spillover | None, str]:
    """The matrix this file is compensated with, or why it cannot be."""
    source = setting.assay.compensation.source
    if source == "none":
        return None, ""
    if setting.matrix is not None:
        return setting.matrix, ""
    if file.spillover is not None and file.spillover.source == HARDWARE_SPILLOVER:
        refusal = f"{HARDWARE_SPILLOVER} was subtracted by the cytometer already; set [compensation] source to none"
        return None, "" if source == "auto" else refusal
    if file.spillover is not None:
        return (None if file.spillover.is_identity and source == "auto" else file.spillover), ""
    unusable = [repair.message for repair in file.repairs if repair.code == "spillover-unusable"]
    if unusable or source == "file":
        return None, unusable[0] if unusable else "the file carries no spillover matrix"
    return None, ""


def _distinct(matrices: Sequence[Spillover]) -> tuple[Spillover, ...]:
    found: list[Spillover] = []
    for matrix in matrices:
        if not any(matrix.same_as(other) for other in found):
            found.append(matrix)
    return tuple(found)


def _to_learn_from(opened: Sequence[_Opened]) -> Iterator[Columns]:
    """Fully stained wells that no one excluded, opened one after another."""
    for one in opened:
        if one.file and one.file.n_events and one.well.role in FULLY_STAINED and not one.well.excluded:
            yield one.columns()


def _learn(plate: Plate, opened: Sequence[_Opened], setting: Setting) -> Learned:
    from aqp4flow.cytometry.autogate import learn_gates

    try:
        return learn_gates(_to_learn_from(opened), setting.channels, setting.assay.seed.value)
    except AnalysisError as error:
        raise AnalysisError(f"{plate.name}: {error.where}", error.what, error.hint) from None


def _compared(setting: Setting, gates: Sequence[Gate]) -> Populations:
    """Which populations are compared; without a gate of that name the innermost one stands for expressing."""
    gating = setting.assay.gating
    named = any(gate.name == gating.expressing for gate in gates)
    expressing = gating.expressing if named else gates[-1].name
    same_well = setting.assay.assay.comparator == "same-well"
    return Populations(expressing, gating.nonexpressing if same_well else None)


def _measure_all(
    opened: Sequence[_Opened], gates: Sequence[Gate], setting: Setting, checks: list[Check]
) -> tuple[list[Reading], list[list[Repair]]]:
    """Readings and remarks on values in plate-map order; control-cell wells come first, for their mates need them."""
    compared = _compared(setting, gates)
    order = sorted(range(len(opened)), key=lambda i: opened[i].well.cells != "control")
    controls: list[Reading] = []
    tops: dict[str, float] = {}
    readings: dict[int, Reading] = {}
    remarks: dict[int, list[Repair]] = {}
    for i in order:
        one = opened[i]
        partner = None
        if compared.nonexpressing is None and one.well.cells != "control":
            partner = readout.partner_of(Reading(one.well, None, {}), controls)
        top = tops.get(partner.well.name, NAN) if partner else NAN
        measured, remarks[i] = _measure_one(one, gates, compared, setting, top)
        reading = _reading(one, measured, compared, partner)
        readings[i] = _flagged(reading, measured, setting, compared, checks)
        if one.well.cells == "control" and measured is not None:
            controls.append(readings[i])
            tops[one.well.name] = measured.background_top
    every = range(len(opened))
    return [readings[i] for i in every], [remarks[i] for i in every]


def _measure_one(
    one: _Opened, gates: Sequence[Gate], compared: Populations, setting: Setting, top: float
) -> tuple[Measured | None, list[Repair]]:
    """What a well measures, and what its values call for being told; its file is opened once for both."""
    if one.file is None:
        return None, []
    events = one.file.open_events()
    columns = Columns(events, one.spillover)
    measured = measure(columns, gates, compared, setting.signal, setting.assay.readout.statistic, top)
    return measured, value_repairs(events)


def _reading(one: _Opened, measured: Measured | None, compared: Populations, partner: Reading | None) -> Reading:
    """Medians of the well, its mate's where cells are paired, and the shift between them."""
    if measured is None:
        return Reading(one.well, None, {}, flags=("unreadable",))
    counts = dict(measured.counts)
    counts["expressing"] = counts[compared.expressing]
    if compared.nonexpressing:
        counts["nonexpressing"] = counts[compared.nonexpressing]
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


def _file_checks(plate: Plate, opened: Sequence[_Opened]) -> list[Check]:
    checks = []
    if plate.unlisted:
        names = ", ".join(plate.unlisted[:5]) + (", ..." if len(plate.unlisted) > 5 else "")
        message = f"Files that the plate map does not name take no part: {names}."
        checks.append(Check("plate", plate.name, "unlisted-files", len(plate.unlisted), "0", Verdict.WARN, message))
    checks += [_well_conflict(one) for one in opened if one.file and len(set(one.file.wells_said.values())) > 1]
    return checks + _voltage_checks(plate, opened)


def _well_conflict(one: _Opened) -> Check:
    """The plate map named file and well, so it decides; that the file itself contradicts it must be seen."""
    said = one.file.wells_said if one.file else {}
    words = ", ".join(f"{source} says {well}" for source, well in said.items())
    subject = f"{one.well.plate}/{one.well.name}"
    message = f"{one.well.file}: {words}; the plate map's well is taken."
    return Check("well", subject, "well-conflict", len(set(said.values())), "1 well", Verdict.WARN, message)


def _voltage_checks(plate: Plate, opened: Sequence[_Opened]) -> list[Check]:
    """Detector voltages are the scale: wells taken at other voltages cannot be compared."""
    voltages: dict[tuple[float | None, ...], list[str]] = {}
    for one in opened:
        if one.file and not one.well.excluded:
            voltages.setdefault(tuple(c.voltage for c in one.file.channels), []).append(one.well.name)
    if len(voltages) < 2:
        return []
    odd = min(voltages.values(), key=len)
    message = f"Detector voltages differ between wells; fewest wells with theirs: {', '.join(odd[:8])}."
    return [Check("plate", plate.name, "voltages", len(voltages), "1 set of $PnV", Verdict.FAIL, message)]


def _second_opinions(opened: Sequence[_Opened], which: str) -> list[Check]:
    """Other readers asked about one well of the plate, or all: values that differ fail, a refusal is told."""
    from aqp4flow.fcs.second_opinion import second_opinions

    asked = [one for one in opened if one.file and one.file.n_events and not one.well.excluded]
    first = [one for one in asked if one.well.role in FULLY_STAINED] or asked
    chosen = {"all": asked, "one": first[:1], "off": []}[which]
    return [_opinion_check(one, opinion) for one in chosen if one.file for opinion in second_opinions(one.file)]


def _opinion_check(one: _Opened, opinion: Opinion) -> Check:
    if opinion.differing:
        verdict, what = Verdict.FAIL, f"reads other values in {', '.join(opinion.differing)}"
    elif opinion.verdict == "differs":
        verdict, what = Verdict.WARN, f"finds {' x '.join(map(str, opinion.shape))} events and channels"
    elif opinion.channels:
        verdict, what = Verdict.PASS, f"reads the same values in all {len(opinion.channels)} channels"
    else:
        verdict, what = Verdict.PASS, f"cannot read the values ({opinion.text or opinion.data})"
    code = f"second-opinion-{opinion.reader.lower()}"
    message = f"{opinion.reader} {what} of {one.well.file}."
    return Check("plate", one.well.plate, code, opinion.verdict, "same values", verdict, message)


def _spillover_checks(plate: Plate, setting: Setting, opened: Sequence[_Opened]) -> list[Check]:
    """Which matrix was used, from where, and whether it can be trusted."""
    readable = [one for one in opened if one.file]
    matrices = _distinct([one.spillover for one in readable if one.spillover])
    without = [one.well.name for one in readable if one.spillover is None]
    checks = []
    hardware = [
        one
        for one in readable
        if one.file and one.file.spillover and not one.spillover and one.file.spillover.source == HARDWARE_SPILLOVER
    ]
    if hardware:
        message = (
            f"The cytometer subtracted spillover itself ({HARDWARE_SPILLOVER} in {len(hardware)} files); not again."
        )
        checks.append(Check("plate", plate.name, "hardware-compensation", len(hardware), "", Verdict.PASS, message))
    if not matrices:
        message = f"Not compensated: source is {setting.assay.compensation.source!r}, and no file has a matrix to use."
        if setting.assay.compensation.source == "none":
            message = "Not compensated, as the definition asks."
        return [*checks, Check("plate", plate.name, "compensation", "none", "", Verdict.PASS, message)]
    source = ", ".join(dict.fromkeys(matrix.source for matrix in matrices))
    message = f"Compensated with {source} ({', '.join(matrices[0].channels)})."
    checks.append(Check("plate", plate.name, "compensation", source, "", Verdict.PASS, message))
    if len(matrices) > 1 or without:
        message = f"{len(matrices)} matrices on one plate"
        message += f"; none in {', '.join(without[:8])}" if without else "; each well was compensated with its own"
        checks.append(
            Check(
                "plate",
                plate.name,
                "spillover-differs",
                len(matrices),
                "1 matrix",
                Verdict.WARN,
                f"{message}.",
            )
        )
    worst = max(condition(matrix) for matrix in matrices)
    limit = setting.assay.acceptance.condition_limit
    verdict = Verdict.PASS if worst < limit else Verdict.WARN
    message = f"Compensation multiplies noise by at most {worst:.3g} (condition of the matrix)."
    checks.append(Check("plate", plate.name, "spillover-condition", worst, f"< {limit:g}", verdict, message))
    return checks


PICTURED_WELLS = 12


def gate_pictures(wells: PlateWells) -> list[GatePicture]:
    """Every gate of a plate over pooled events, thinned to a dozen fully stained wells."""
    from aqp4flow.cytometry.pictures import picture_gates

    shown = [r.well for r in wells.readings if r.n_events and r.well.role in FULLY_STAINED and not r.well.excluded]
    step = -(-len(shown) // PICTURED_WELLS) or 1
    opened = [_open(wells.plate, well, wells.setting) for well in shown[::step]]
    return picture_gates((one.columns() for one in opened if one.file), wells.gates)


# --- wells to titers ------------------------------------------------------------------------------


def titrate_plate(wells: PlateWells) -> PlateTiters:
    """Replicates together, cut-off, status, titers and the plate's acceptance."""
    from aqp4flow.assay.titration import Rules, titrate

    assay = wells.setting.assay
    error = readout.replicate_error(wells.readings)
    rows = readout.combine(wells.readings, error)
    cutoffs = cut_offs(rows, assay.cutoff, assay.readout.decide, assay.acceptance.min_negatives)
    rows = readout.decide(rows, cutoffs.delta, cutoffs.ratio)
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
    checks += [check for plate in titers for check in plate.checks]
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
