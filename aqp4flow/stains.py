"""A door: a folder of single-stained controls becomes a spillover matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from aqp4flow.assay.platemap import HEADINGS, read_role
from aqp4flow.cytometry import single_stains
from aqp4flow.cytometry.compensation import condition
from aqp4flow.cytometry.single_stains import Control, Doubt, StainMatrix
from aqp4flow.errors import AnalysisError, SheetError
from aqp4flow.fcs import FcsFile, read_fcs
from aqp4flow.model import Role, Values
from aqp4flow.sheet import Row, find_table, nearest, read_table

_NO_LIGHT = ("fsc", "ssc", "fs", "ss", "time", "width", "event", "hdr-t")
_WORST_CONDITION = 20.0


Method = Literal["populations", "median", "regression"]


@dataclass(frozen=True)
class Found:
    """The matrix, and what speaks against it."""

    method: Method
    matrix: StainMatrix
    doubts: tuple[Doubt, ...]


def matrix_from_folder(folder: Path, method: Method) -> Found:
    """Estimate the matrix of the controls that a folder's plate.csv names (file, role, dye).

    `dye` is the $PnN of the dye's detector; empty, it is the detector in which the control is brightest. Raises
    SheetError, FcsError or AnalysisError where there is nothing to estimate from.
    """
    rows = _rows(folder)
    files = {row["file"]: read_fcs(folder / row["file"]) for row in rows if row["file"]}
    stained = [row for row in rows if read_role(row) is Role.SINGLE_STAIN]
    dark = [files[row["file"]] for row in rows if read_role(row) is Role.UNSTAINED]
    if not stained:
        raise SheetError(f"{folder.name}/", "no row with the role single-stain", "name each control's file and dye")
    names = _light(files[stained[0]["file"]])
    _refuse_other_channels(names, files)
    unstained = np.concatenate([_values(file, names) for file in dark]) if dark else None
    dyes = [_dye(row, files[row["file"]], names, unstained) for row in stained]
    detectors = [name for name in names if name in dyes]
    columns = [names.index(name) for name in detectors]
    controls = [_control(row, dye, files[row["file"]], detectors) for row, dye in zip(stained, dyes, strict=True)]
    return _estimated(detectors, controls, None if unstained is None else unstained[:, columns], method)


def to_csv(found: Found) -> str:
    """The matrix as `channel,FL1-H,...` and a row a dye: what `[compensation] source` takes."""
    names = found.matrix.spillover.channels
    lines = [",".join(["channel", *names])]
    for name, row in zip(names, found.matrix.spillover.matrix, strict=True):
        lines.append(",".join([name, *(f"{value:.10g}" for value in row)]))
    return "".join(f"{line}\n" for line in lines)


def facts(found: Found) -> dict[str, Any]:
    """The matrix, its limits (null where there are none) and the doubts, for machines."""
    matrix = found.matrix
    return {
        "method": found.method,
        "channels": list(matrix.spillover.channels),
        "matrix": matrix.spillover.matrix.tolist(),
        "low": _nullable(matrix.low),
        "high": _nullable(matrix.high),
        "doubts": [{**asdict(doubt), "value": _nullable(np.array([[doubt.value]]))[0][0]} for doubt in found.doubts],
    }


def _nullable(limits: Values) -> list[list[float | None]]:
    return [[None if np.isnan(value) else float(value) for value in row] for row in limits]


def lines(found: Found) -> Iterator[str]:
    """The matrix in percent with its limits, a line a coefficient, for people."""
    names = found.matrix.spillover.channels
    width = max(len(name) for name in names)
    for i, dye in enumerate(names):
        for j, detector in enumerate(names):
            if i != j:
                value, low, high = (
                    100 * m[i, j] for m in (found.matrix.spillover.matrix, found.matrix.low, found.matrix.high)
                )
                limits = "" if np.isnan(low) else f"  ({low:.3g} to {high:.3g})"
                yield f"{dye:{width}} in {detector:{width}} {value:9.4g} %{limits}"


def _rows(folder: Path) -> list[Row]:
    path = find_table(folder, "plate")
    if path is None:
        raise SheetError(f"{folder.name}/", "no plate map", "add plate.csv: file, role (unstained, single-stain), dye")
    rows = read_table(path, HEADINGS, ("file", "role"))
    for row in rows:
        if not row["file"]:
            raise row.error("no file is named", "write the name of the FCS file")
    return rows


def _light(file: FcsFile) -> list[str]:
    """Channels that may hold a dye's light: not scatter, not time."""
    return [c.name for c in file.channels if not c.name.lower().startswith(_NO_LIGHT)]


def _refuse_other_channels(names: Sequence[str], files: dict[str, FcsFile]) -> None:
    for name, file in files.items():
        if _light(file) != list(names):
            other, *_ = set(_light(file)) ^ set(names)
            raise SheetError(name, f"its channels are not those of the other files ({other})", "export them alike")


def _dye(row: Row, file: FcsFile, names: Sequence[str], unstained: Values | None) -> str:
    if row["dye"]:
        if row["dye"] not in names:
            raise row.error(f"dye {row['dye']!r} is no detector of the file", nearest(row["dye"], names))
        return row["dye"]
    if unstained is None:
        raise row.error("no dye is named, and there is no unstained control to tell it by", "fill in the column dye")
    return single_stains.brightest(names, _values(file, names), unstained)


def _values(file: FcsFile, names: Sequence[str]) -> Values:
    return np.column_stack(file.events.columns(names)) if file.n_events else np.empty((0, len(names)))


def _control(row: Row, dye: str, file: FcsFile, detectors: Sequence[str]) -> Control:
    at_top = np.zeros(file.n_events, np.bool_)
    for name in detectors:
        i = file.events.index(name)
        at_top |= file.events.stored(i) >= file.channels[i].range - 1
    return Control(row["file"], dye, _values(file, detectors), at_top)


def _estimated(
    detectors: Sequence[str], controls: Sequence[Control], unstained: Values | None, method: Method
) -> Found:
    """The matrix by the method asked for; the other estimators are asked too, for where they part."""
    estimators: dict[Method, Callable[[], StainMatrix]] = {
        "populations": lambda: single_stains.populations(detectors, controls, unstained, "populations"),
        "regression": lambda: single_stains.regression(detectors, controls, "regression"),
        "median": lambda: single_stains.medians(detectors, controls, _needed(unstained), "median"),
    }
    matrix = estimators[method]()
    doubts: list[Doubt] = []
    found: dict[Method, StainMatrix] = {method: matrix}
    for other in ("populations", "regression"):
        if other != method:
            try:
                found[other] = estimators[other]()
            except AnalysisError as error:
                doubts.append(Doubt("control-estimators", "", float("nan"), f"{other}: {error.what}"))
    doubts += single_stains.doubts(detectors, controls, unstained)
    if "populations" in found and "regression" in found:
        doubts += single_stains.apart(found["populations"], found["regression"])
    worst = condition(matrix.spillover)
    if worst >= _WORST_CONDITION:
        message = f"compensation would multiply noise by up to {worst:.3g}: two dyes look alike"
        doubts.append(Doubt("spillover-condition", "", worst, message))
    return Found(method, matrix, tuple(doubts))


def _needed(unstained: Values | None) -> Values:
    if unstained is None:
        raise SheetError("plate.csv", "no row with the role unstained", "the method median needs one")
    return unstained
