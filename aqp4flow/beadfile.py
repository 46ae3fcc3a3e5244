"""A door: one bead file and a table of assigned values become a calibration."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aqp4flow.assay.definition import resolve_channel
from aqp4flow.calibration import calibrate_files, detector, line_words, setting_words
from aqp4flow.controls import light_channels
from aqp4flow.cytometry.beadlot import read_lot
from aqp4flow.cytometry.beads import Assigned, Calibration
from aqp4flow.errors import AnalysisError, ConfigError, FcsError
from aqp4flow.fcs import AUTO, FcsFile, read_fcs
from aqp4flow.model import Channel


def calibrate_file(path: Path, values: Path, channel: str | None = None) -> tuple[Calibration, str]:
    """The calibration of a bead file, and its detector's setting in words.

    `channel` ($PnN, $PnS) chooses a row of the table where it has several. Raises InputError where file, table and
    channel do not fit, AnalysisError where the beads do not give a line.
    """
    lot = read_lot(values)
    file = read_fcs(path, AUTO)
    assigned, signal = _chosen(file, lot, channel, values.name)
    scatter = _scatter(file)
    try:
        calibration = calibrate_files([(path.name, file)], scatter, signal, assigned)
    except AnalysisError as error:
        raise AnalysisError(path.name, error.what, error.hint) from None
    return calibration, setting_words(detector(file, signal))


def _chosen(file: FcsFile, lot: Sequence[Assigned], channel: str | None, where: str) -> tuple[Assigned, str]:
    """The row of the table, and the $PnN it stands for."""
    rows = list(lot)
    if channel is not None:
        try:
            signal = resolve_channel(channel, "signal", file.channels)
        except ConfigError as error:
            raise ConfigError("--channel", error.what, error.hint) from None
        rows = [row for row in lot if signal in _names(file.channels, row.channel)]
        if not rows:
            what = f"no row for {channel}; rows: {', '.join(row.channel for row in lot)}"
            raise ConfigError(where, what, "add a row, or name another channel with --channel")
        return rows[0], signal
    rows = [row for row in lot if _names(file.channels, row.channel)]
    if len(rows) != 1:
        called = ", ".join(row.channel for row in (rows or lot))
        there = ", ".join(light_channels(file.channels))
        what = f"several rows fit the file: {called}" if rows else f"no row is a channel of the file; rows: {called}"
        hint = "choose one with --channel" if rows else f"the file has {there}"
        raise ConfigError(where, what, hint)
    return rows[0], _names(file.channels, rows[0].channel)[0]


def _names(channels: Sequence[Channel], wanted: str) -> list[str]:
    """$PnN of the channels that a row of the table means: by $PnN, else by $PnS."""
    return [c.name for c in channels if c.name == wanted] or [c.name for c in channels if c.stain == wanted]


def _scatter(file: FcsFile) -> tuple[str, str]:
    """Forward and side scatter by their usual names; area before height."""
    found = []
    for wanted in (("FSC-A", "FSC", "FS-A", "FS", "FSC-H"), ("SSC-A", "SSC", "SS-A", "SS", "SSC-H")):
        names = [name for name in wanted if any(channel.name == name for channel in file.channels)]
        names += [c.name for c in file.channels if c.name.upper().startswith(wanted[1][:2]) and c.name not in names]
        if not names:
            there = ", ".join(channel.name for channel in file.channels)
            raise FcsError(file.path.name, f"no channel is called {wanted[0]} or {wanted[1]}", f"the file has {there}")
        found.append(names[0])
    return found[0], found[1]


def facts(calibration: Calibration, setting: str) -> dict[str, Any]:
    """Peaks, line and doubts for machines; null where there is no number."""
    assigned = calibration.assigned
    line = asdict(calibration.line)
    return {
        "channel": assigned.channel,
        "unit": assigned.unit,
        "lot": assigned.lot,
        "detector": setting,
        "singlets": calibration.n_singlets,
        "slope": line["slope"],
        "intercept": line["intercept"],
        "autofluorescence": line["autofluorescence"],
        "r2": _nullable(line["r2"]),
        "mfi_low": line["low"],
        "mfi_high": line["high"],
        "peaks": [{name: _nullable(cell) for name, cell in asdict(peak).items()} for peak in calibration.peaks],
        "doubts": [asdict(doubt) | {"value": _nullable(doubt.value)} for doubt in calibration.doubts],
    }


def _nullable(cell: Any) -> Any:
    return None if isinstance(cell, float) and math.isnan(cell) else cell


def lines(calibration: Calibration) -> Iterator[str]:
    """The line and a row a peak, for people."""
    yield line_words(calibration)
    yield f"{'peak':>5} {'n':>7} {'MFI':>10} {'CV %':>6} {'assigned':>10} {'fitted':>10} {'off %':>7}"
    for peak in calibration.peaks:
        numbers = (peak.mfi, peak.cv, peak.assigned, peak.fitted, peak.residual_percent)
        cells = [
            f"{'' if math.isnan(x) else format(x, '.4g'):>{w}}"
            for x, w in zip(numbers, (10, 6, 10, 10, 7), strict=True)
        ]
        yield f"{peak.number:>5} {peak.n:>7} {' '.join(cells)}  {peak.note}".rstrip()


def png(calibration: Calibration, name: str) -> bytes:
    """The figure of peaks and line."""
    from aqp4flow.report import figures

    return figures.bead_png(calibration, f"{name}: calibration by beads")
