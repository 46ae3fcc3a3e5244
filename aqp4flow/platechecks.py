"""What the files of a plate say before any number is made: wells, voltages, other readers, matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aqp4flow.cytometry.compensation import condition
from aqp4flow.fcs.spillover import HARDWARE_SPILLOVER
from aqp4flow.model import FULLY_STAINED, Check, Role, Verdict
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
