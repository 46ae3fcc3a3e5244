"""From files of single-stained controls to a spillover matrix: what `stains` and a plate's own controls share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aqp4flow.cytometry import single_stains
from aqp4flow.cytometry.compensation import condition
from aqp4flow.cytometry.gates import Columns, GateChannels, larger_than_debris
from aqp4flow.cytometry.single_stains import Control, Doubt
from aqp4flow.cytometry.spreading import spreading
from aqp4flow.errors import AnalysisError
from aqp4flow.fcs import FcsFile
from aqp4flow.model import NAN, Channel, Spillover, Values

Method = Literal["populations", "median", "regression"]
Rows = NDArray[np.intp]
Gated = Callable[[FcsFile], Rows | None]
_SINGLE = 3.0  # spreads of height over area within which an event is one cell
_NO_LIGHT = ("fsc", "ssc", "fs", "ss", "time", "width", "event", "hdr-t")


@dataclass(frozen=True)
class Found:
    """The matrix of some controls, what speaks against it, and how dyes spread (see `cytometry.spreading`)."""

    method: Method
    matrix: Spillover
    doubts: tuple[Doubt, ...]
    spreading: Values | None = None


def light_channels(channels: Sequence[Channel]) -> list[str]:
    """$PnN of the channels that may hold a dye's light: not scatter, not time."""
    return [channel.name for channel in channels if not channel.name.lower().startswith(_NO_LIGHT)]


def values_of(file: FcsFile, names: Sequence[str], rows: Rows | None = None) -> Values:
    """Linear values of some channels, of all events or of `rows`, shape (n, n_channels)."""
    matrix = np.column_stack(file.open_events().columns(names)) if file.n_events else np.empty((0, len(names)))
    return matrix if rows is None else matrix[rows]


def light_of(file: FcsFile, names: Sequence[str], rows: Rows | None = None) -> Values:
    """Like `values_of`, without events in which one of the values is NaN or infinite."""
    values = values_of(file, names, rows)
    return values[np.isfinite(values).all(axis=1)]


def control_of(file: FcsFile, dye: str, detectors: Sequence[str], rows: Rows | None = None) -> Control:
    """A file as a control for the dye of one detector; events at the top of a detector's range are marked.

    Events in which a value is NaN or infinite are left out and counted.
    """
    events = file.open_events()
    at_top = np.zeros(file.n_events, np.bool_)
    for name in detectors:
        i = events.index(name)
        at_top |= events.stored(i) >= file.channels[i].range - 1
    chosen, values = at_top if rows is None else at_top[rows], values_of(file, detectors, rows)
    finite = np.isfinite(values).all(axis=1)
    return Control(file.path.name, dye, values[finite], chosen[finite], int(np.count_nonzero(~finite)))


def estimate(
    detectors: Sequence[str],
    controls: Sequence[Control],
    unstained: Values | None,
    method: Method,
    condition_limit: float = 20.0,
) -> Found:
    """The matrix by the method asked for; the other estimators are asked too, for where they part.

    Raises AnalysisError where the method asked for cannot be used on these controls.
    """
    dark = None if unstained is None else single_stains.dark_of(unstained)
    estimators: dict[Method, Callable[[], Spillover]] = {
        "populations": lambda: single_stains.populations(detectors, controls, dark, "populations"),
        "regression": lambda: single_stains.regression(detectors, controls, "regression"),
        "median": lambda: single_stains.medians(detectors, controls, _needed(unstained), "median"),
    }
    matrix = estimators[method]()
    doubts = single_stains.doubts(detectors, controls, dark)
    found: dict[Method, Spillover] = {method: matrix}
    others: tuple[Method, ...] = ("populations", "regression")
    for other in others:
        if other != method:
            try:
                found[other] = estimators[other]()
            except AnalysisError as error:
                doubts.append(Doubt("control-estimators", "", NAN, f"{other}: {error.what}"))
    if "populations" in found and "regression" in found:
        doubts += single_stains.apart(found["populations"], found["regression"])
    worst = condition(matrix)
    if worst >= condition_limit:
        message = f"compensation would multiply noise by up to {worst:.3g}: two dyes look alike"
        doubts.append(Doubt("spillover-condition", "", worst, message))
    return Found(method, matrix, tuple(doubts), spreading(controls, matrix, dark))


def _needed(unstained: Values | None) -> Values:
    if unstained is None:
        raise AnalysisError("spillover", "no unstained control", "the method median needs one: role unstained")
    return unstained


# --- the controls of a plate ----------------------------------------------------------------------


def of_plate(
    stained: Sequence[tuple[str, FcsFile]],
    unstained: Sequence[FcsFile],
    channels: GateChannels,
    condition_limit: float,
    gated: Gated | None = None,
) -> Found:
    """The matrix of a plate's single stains (dye and file of each), from events that are no debris.

    `gated` gives the cells of a file where the plate has gates already; they are looked for otherwise.

    Spreads are of single cells: two at once are bright more often than one, and have twice the light of their own.

    Raises AnalysisError where they do not give one.
    """
    dyes = [dye for dye, _ in stained]
    names = [channel.name for channel in stained[0][1].channels]
    unknown = [dye for dye in dyes if dye not in names]
    if unknown:
        what = f"the dye {unknown[0]!r} is no channel of {stained[0][1].path.name}"
        raise AnalysisError("single stains", what, f"the file has {', '.join(names)}")
    detectors = [name for name in names if name in dyes]
    cells = {file.path: _cells(file, channels, gated) for file in (*(file for _, file in stained), *unstained)}
    controls = [control_of(file, dye, detectors, cells[file.path]) for dye, file in stained]
    dark = [light_of(file, detectors, cells[file.path]) for file in unstained]
    found = estimate(detectors, controls, np.concatenate(dark) if dark else None, "regression", condition_limit)
    single = [control_of(file, dye, detectors, _single(file, channels, cells[file.path])) for dye, file in stained]
    dark = [light_of(file, detectors, _single(file, channels, cells[file.path])) for file in unstained]
    spreads = spreading(single, found.matrix, single_stains.dark_of(np.concatenate(dark)) if dark else None)
    return replace(found, matrix=replace(found.matrix, source="the plate's single stains"), spreading=spreads)


def _cells(file: FcsFile, channels: GateChannels, gated: Gated | None) -> Rows:
    """All events but debris; dead cells, which a gate of cells leaves out, stay in: a viability control needs them."""
    inside = gated(file) if gated else None
    if inside is not None and len(inside):
        forward = file.open_events().column(channels.forward)
        return larger_than_debris(forward, inside)
    from aqp4flow.cytometry.autogate import without_debris

    return without_debris(Columns(file.open_events(), None), channels)


def _single(file: FcsFile, channels: GateChannels, rows: Rows) -> Rows:
    """Of `rows` those whose height or width, to the area, lies within three spreads of the middle one."""
    shape = channels.forward_height or channels.forward_width
    if shape is None or not len(rows):
        return rows
    area, other = values_of(file, (channels.forward, shape), rows).T
    ratio = other / np.where(area > 0, area, np.nan) if channels.forward_height else other
    away = np.abs(ratio - np.nanmedian(ratio))
    single: Rows = rows[away <= _SINGLE * 1.4826 * np.nanmedian(away)]
    return single
