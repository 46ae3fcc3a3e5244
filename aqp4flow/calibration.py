"""Bead wells of a plate to a calibration, and a calibration to the plate's readings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from aqp4flow.controls import light_channels
from aqp4flow.cytometry.beadpeaks import sample_of
from aqp4flow.cytometry.beads import Assigned, Calibration, calibrate
from aqp4flow.cytometry.gates import Columns
from aqp4flow.errors import AnalysisError, listed
from aqp4flow.fcs import FcsFile
from aqp4flow.model import FULLY_STAINED, NAN, Calibrated, Channel, Check, Reading, Role, Verdict
from aqp4flow.plate import Opened, Plate, Setting

_OUTSIDE = {"expressing": "beads-outside-expressing", "nonexpressing": "beads-outside-nonexpressing"}
_UNDEFINED = {"expressing": "beads-undefined-expressing", "nonexpressing": "beads-undefined-nonexpressing"}


@dataclass(frozen=True)
class BeadWells:
    """What the beads of a plate gave: the calibration, or none, and the checks that say which and why."""

    calibration: Calibration | None
    checks: tuple[Check, ...] = ()


def calibrate_files(
    files: Sequence[tuple[str, FcsFile]], scatter: tuple[str, str], signal: str, assigned: Assigned
) -> Calibration:
    """The calibration of one channel from bead files, pooled; raises AnalysisError where they do not give one."""
    samples = []
    for name, file in files:
        if not file.n_events:
            raise AnalysisError(name, "no events in it", "acquire the beads again, or exclude the well")
        others = [other for other in light_channels(file.channels) if other != signal]
        others = [other for other in others if all(_has(more, other) for _, more in files)]
        samples.append(sample_of(name, Columns(file.open_events(), None), scatter, signal, others))
    return calibrate(samples, detector(files[0][1], signal), assigned)


def _has(file: FcsFile, name: str) -> bool:
    return any(channel.name == name for channel in file.channels)


def detector(file: FcsFile, name: str) -> Channel:
    """A file's channel by $PnN."""
    return next(channel for channel in file.channels if channel.name == name)


def same_setting(one: Channel, other: Channel) -> bool:
    """Whether nothing says that two channels are on different scales: voltage, gain, amplification."""
    pairs = ((one.voltage, other.voltage), (one.gain, other.gain))
    told = [pair for pair in pairs if not any(value is None or math.isnan(value) for value in pair)]
    return one.amplification == other.amplification and all(a == b for a, b in told)


def beads_of_plate(plate: Plate, opened: Sequence[Opened], setting: Setting) -> BeadWells:
    """The plate's calibration from its usable bead wells, where values are given and the settings are the samples'."""
    role = [one for one in opened if one.well.role is Role.BEADS]
    assigned = setting.beads
    if not role and assigned is None:
        return BeadWells(None)
    usable = [(one.well.name, one.file) for one in role if one.file and not one.well.excluded]
    if assigned is None or not usable:
        why = "[beads] values names no table of assigned values" if assigned is None else _no_wells(role)
        message = f"MFI was not calibrated: {why}."
        return BeadWells(None, (Check("plate", plate.name, "beads-not-used", "", "", Verdict.WARN, message),))
    stained = [one for one in opened if one.file and one.well.role in FULLY_STAINED and not one.well.excluded]
    samples = [(one.well.name, one.file) for one in stained if one.file]
    odd, unknown = _setting_checks(plate.name, usable, samples, setting.signal)
    if odd:
        return BeadWells(None, tuple(odd))
    scatter = (setting.channels.forward, setting.channels.side)
    try:
        calibration = calibrate_files(usable, scatter, setting.signal, assigned)
    except AnalysisError as error:
        message = f"MFI was not calibrated: {error.what}. {error.hint[:1].upper()}{error.hint[1:]}."
        names = ", ".join(name for name, _ in usable)
        return BeadWells(
            None,
            (*unknown, Check("well", f"{plate.name}/{names}", "beads-no-line", "", "", Verdict.FAIL, message)),
        )
    return BeadWells(calibration, (*unknown, *_line_checks(plate.name, calibration)))


def _no_wells(role: Sequence[Opened]) -> str:
    return "every bead well is excluded or cannot be read" if role else "the plate has no well with the role beads"


def _setting_checks(
    plate: str, beads: Sequence[tuple[str, FcsFile]], samples: Sequence[tuple[str, FcsFile]], signal: str
) -> tuple[list[Check], list[Check]]:
    """Checks that forbid a calibration (a bead well on another scale than samples), and that only warn."""
    forbid = []
    for name, file in beads:
        own = detector(file, signal)
        others = [(well, detector(other, signal)) for well, other in samples]
        odd = [(well, channel) for well, channel in others if not same_setting(own, channel)]
        if odd:
            message = (
                f"Detector {signal} stood at {setting_words(own)} for the beads in {name}, and at "
                f"{setting_words(odd[0][1])} for the samples ({listed([well for well, _ in odd])}): "
                "MFI was not calibrated. Acquire the beads at the samples' setting."
            )
            value, limit = setting_words(own), setting_words(odd[0][1])
            forbid.append(Check("well", f"{plate}/{name}", "beads-voltage", value, limit, Verdict.FAIL, message))
    silent = [name for name, file in (*beads, *samples) if detector(file, signal).voltage is None]
    if not silent:
        return forbid, []
    message = (
        f"{len(silent)} of {len(beads) + len(samples)} files do not say the voltage of {signal} ($PnV): that beads and "
        "samples were taken at one voltage could not be checked."
    )
    return forbid, [Check("plate", plate, "beads-voltage-unknown", len(silent), "0", Verdict.WARN, message)]


def setting_words(channel: Channel) -> str:
    """Voltage, gain and amplification of a detector, as far as they say something."""
    words = [f"{channel.voltage:g} V" if channel.voltage is not None else "an unknown voltage"]
    if channel.gain != 1 and not math.isnan(channel.gain):
        words.append(f"gain {channel.gain:g}")
    if channel.amplification[0] > 0:
        words.append(f"{channel.amplification[0]:g} log decades")
    return ", ".join(words)


def line_words(calibration: Calibration) -> str:
    """The calibration in a sentence."""
    line, assigned = calibration.line, calibration.assigned
    used = sum(peak.used for peak in calibration.peaks)
    lot = f" of lot {assigned.lot}" if assigned.lot else ""
    dark = f" + {line.autofluorescence:.4g}" if line.autofluorescence else ""
    wells = ", ".join(sample.name for sample in calibration.samples)
    return (
        f"{assigned.channel} in {assigned.unit} by {used} of {len(assigned.values)} beads{lot} ({wells}): "
        f"log10({assigned.unit}{dark}) = {line.intercept:.4g} + {line.slope:.4g} log10(MFI), R2 {line.r2:.5f}"
    )


def _line_checks(plate: str, calibration: Calibration) -> list[Check]:
    r2 = calibration.line.r2
    checks = [Check("plate", plate, "beads", r2, "", Verdict.PASS, f"{line_words(calibration)}.")]
    for doubt in calibration.doubts:
        message = f"Beads: {doubt.message}."
        checks.append(Check("plate", plate, doubt.code, doubt.value, "", Verdict.WARN, message))
    return checks


# --- onto readings ----------------------------------------------------------------------------------


def calibrated(
    readings: Sequence[Reading], opened: Sequence[Opened], calibration: Calibration, signal: str
) -> tuple[list[Reading], list[Check]]:
    """Fully stained wells with their medians in assigned units, flagged where a median is beyond the beads."""
    own = detector_of_beads(opened, signal)
    found = [
        _in_units(reading, calibration)
        if one.file and one.well.role in FULLY_STAINED and same_setting(own, detector(one.file, signal))
        else reading
        for reading, one in zip(readings, opened, strict=True)
    ]
    beyond = [r.well.name for r in found if set(_OUTSIDE.values()) & set(r.flags)]
    line, unit = calibration.line, calibration.assigned.unit
    if not beyond:
        return found, []
    message = (
        f"An MFI below {line.low:.4g} or above {line.high:.4g}, the dimmest and brightest bead used: {unit} is "
        f"extrapolated there (flags of wells.csv). Wells: {listed(beyond)}."
    )
    plate = readings[0].well.plate
    return found, [Check("plate", plate, "beads-outside", len(beyond), "0 wells", Verdict.WARN, message)]


def detector_of_beads(opened: Sequence[Opened], signal: str) -> Channel:
    """The signal's channel in the first bead well that was used."""
    usable = (one.file for one in opened if one.well.role is Role.BEADS and one.file and not one.well.excluded)
    return detector(next(file for file in usable if file is not None), signal)


def _in_units(reading: Reading, calibration: Calibration) -> Reading:
    line = calibration.line
    flags = list(reading.flags)
    units = {}
    for population, mfi in (("expressing", reading.expressing), ("nonexpressing", reading.nonexpressing)):
        if not mfi.known:
            units[population] = NAN
            continue
        units[population] = line.units(mfi.value)
        if not mfi.value > 0:
            flags.append(_UNDEFINED[population])
        elif line.outside(mfi.value):
            flags.append(_OUTSIDE[population])
    delta = units["expressing"] - units["nonexpressing"]
    values = Calibrated(calibration.assigned.unit, units["expressing"], units["nonexpressing"], delta)
    return replace(reading, calibrated=values, flags=tuple(flags))
