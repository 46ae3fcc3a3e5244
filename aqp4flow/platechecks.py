"""What the files of a plate say before any number is made: wells, voltages, other readers, matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aqp4flow.cytometry.compensation import SAME, condition, difference
from aqp4flow.cytometry.interchange import FROM_FILE
from aqp4flow.errors import listed
from aqp4flow.fcs.spillover import HARDWARE_SPILLOVER
from aqp4flow.gating import ForeignGates, Gating, OwnGates
from aqp4flow.model import FULLY_STAINED, Check, Role, Spillover, Verdict
from aqp4flow.plate import Opened, Plate, Setting, distinct

if TYPE_CHECKING:
    from aqp4flow.fcs.second_opinion import Opinion


def file_checks(plate: Plate, opened: Sequence[Opened]) -> list[Check]:
    """Files no one named, wells that a file itself contradicts, voltages that differ."""
    checks = []
    if plate.unlisted:
        names = ", ".join(plate.unlisted[:5]) + (", ..." if len(plate.unlisted) > 5 else "")
        message = f"Files that the plate map does not name take no part: {names}."
        checks.append(Check("plate", plate.name, "unlisted-files", len(plate.unlisted), "0", Verdict.WARN, message))
    checks += [_well_conflict(one) for one in opened if one.file and len(set(one.file.wells_said.values())) > 1]
    return checks + _voltage_checks(plate, opened)


def _well_conflict(one: Opened) -> Check:
    """The plate map named file and well, so it decides; that the file itself contradicts it must be seen."""
    said = one.file.wells_said if one.file else {}
    words = ", ".join(f"{source} says {well}" for source, well in said.items())
    subject = f"{one.well.plate}/{one.well.name}"
    message = f"{one.well.file}: {words}; the plate map's well is taken."
    return Check("well", subject, "well-conflict", len(set(said.values())), "1 well", Verdict.WARN, message)


def _voltage_checks(plate: Plate, opened: Sequence[Opened]) -> list[Check]:
    """Detector voltages are the scale: wells taken at other voltages cannot be compared."""
    voltages: dict[tuple[float | None, ...], list[str]] = {}
    for one in opened:
        if one.file and not one.well.excluded and one.well.role is not Role.BEADS:  # beads: see `beads-voltage`
            voltages.setdefault(tuple(c.voltage for c in one.file.channels), []).append(one.well.name)
    if len(voltages) < 2:
        return []
    odd = min(voltages.values(), key=len)
    message = f"Detector voltages differ between wells; fewest wells with theirs: {', '.join(odd[:8])}."
    return [Check("plate", plate.name, "voltages", len(voltages), "1 set of $PnV", Verdict.FAIL, message)]


def opinion_checks(opened: Sequence[Opened], which: str) -> list[Check]:
    """Other readers asked about one well of the plate, or all: values that differ fail, a refusal is told."""
    from aqp4flow.fcs.second_opinion import second_opinions

    asked = [one for one in opened if one.file and one.file.n_events and not one.well.excluded]
    first = [one for one in asked if one.well.role in FULLY_STAINED] or asked
    chosen = {"all": asked, "one": first[:1], "off": []}[which]
    return [_opinion_check(one, opinion) for one in chosen if one.file for opinion in second_opinions(one.file)]


def _opinion_check(one: Opened, opinion: Opinion) -> Check:
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


def spillover_checks(plate: Plate, setting: Setting, opened: Sequence[Opened]) -> list[Check]:
    """Which matrix was used, from where, and whether it can be trusted."""
    readable = [one for one in opened if one.file and one.well.role is not Role.BEADS]
    matrices = distinct([one.spillover for one in readable if one.spillover])
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


def gate_checks(plate: Plate, gating: Gating, opened: Sequence[Opened]) -> list[Check]:
    """Who evaluates another program's gates, whose they are, and whether they look through the signal's matrix."""
    if isinstance(gating, OwnGates):
        if gating.original is None:
            return []
        message = "The gates stand on the linear scale, uncompensated: evaluated here, each event as by FlowKit."
        return [Check("plate", plate.name, "gates", "aqp4flow", "", Verdict.PASS, message)]
    if not isinstance(gating, ForeignGates):
        return []
    readable = [one for one in opened if one.file]
    message = f"The gates of {gating.source.name} are evaluated by FlowKit."
    if gating.by_group:
        names = listed([one.well.name for one in readable if one.well.file in gating.by_group])
        message += f" Those of the group are applied to files that the workspace does not know: wells {names}."
    without = [one.well.name for one in readable if one.well.file not in gating.files]
    if without:
        message += f" It holds none of the populations for {listed(without)}: controls, of which nothing is measured."
    checks = [Check("plate", plate.name, "gates", "FlowKit", "", Verdict.PASS, message)]
    readable = [one for one in readable if one.well.file in gating.files]
    return checks + _unlike_gates(plate, gating, readable) + _gate_matrix(plate, gating, readable)


def _unlike_gates(plate: Plate, gating: ForeignGates, readable: Sequence[Opened]) -> list[Check]:
    alike: dict[str, list[str]] = {}
    for one in readable:
        alike.setdefault(gating.files[one.well.file].strategy.content, []).append(one.well.name)
    if len(alike) < 2:
        return []
    odd = min(alike.values(), key=len)
    message = f"Gates, scales or matrix differ between wells; fewest wells with theirs: {listed(odd, 8)}."
    return [Check("plate", plate.name, "gates-differ", len(alike), "1 set of gates", Verdict.WARN, message)]


def _gate_matrix(plate: Plate, gating: ForeignGates, readable: Sequence[Opened]) -> list[Check]:
    """Gates look through the matrix they name; that MFI is compensated with another must be seen."""
    apart: list[tuple[float, Opened, Spillover | None]] = []
    for one in readable:
        for name, seen in gating.matrices(one.file).items() if one.file else ():
            if seen is None and name != FROM_FILE:
                message = f"The gates look through {name}, a spectral matrix; MFI is not compensated with it."
                return [Check("plate", plate.name, "gates-matrix", "spectral", "", Verdict.WARN, message)]
            apart.append((difference(seen, one.spillover), one, seen))
    if not apart:
        return []
    worst, one, seen = max(apart, key=lambda found: found[0])
    gates, signal = (matrix.source if matrix else "no matrix" for matrix in (seen, one.spillover))
    message = f"The gates look through {gates}, MFI is compensated with {signal}: they differ by up to {worst:.3g}"
    message += f" (well {one.well.name})" if worst > SAME else ""
    verdict = Verdict.WARN if worst > SAME else Verdict.PASS
    return [Check("plate", plate.name, "gates-matrix", worst, f"<= {SAME:g}", verdict, f"{message}.")]
