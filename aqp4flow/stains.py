"""A door: a folder of single-stained controls becomes a spillover matrix."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from aqp4flow.assay.platemap import HEADINGS, read_role
from aqp4flow.controls import Found, Method, control_of, estimate, light_channels, light_of
from aqp4flow.cytometry import single_stains
from aqp4flow.errors import SheetError
from aqp4flow.fcs import FcsFile, read_fcs
from aqp4flow.model import Role, Values
from aqp4flow.sheet import Row, find_table, nearest, read_table


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
    names = light_channels(files[stained[0]["file"]].channels)
    _refuse_other_channels(names, files)
    unstained = np.concatenate([light_of(file, names) for file in dark]) if dark else None
    dyes = [_dye(row, files[row["file"]], names, unstained) for row in stained]
    detectors = [name for name in names if name in dyes]
    columns = [names.index(name) for name in detectors]
    controls = [control_of(files[row["file"]], dye, detectors) for row, dye in zip(stained, dyes, strict=True)]
    return estimate(detectors, controls, None if unstained is None else unstained[:, columns], method)


def to_csv(found: Found) -> str:
    """The matrix as `channel,FL1-H,...` and a row a dye: what `[compensation] source` takes."""
    names = found.matrix.channels
    return _square(names, found.matrix.matrix)


def spreading_csv(found: Found) -> str:
    """The spreading matrix in the same layout; empty on the diagonal, and where a control does not show it."""
    spreads = found.spreading
    return _square(found.matrix.channels, np.full_like(found.matrix.matrix, np.nan) if spreads is None else spreads)


def _square(names: Sequence[str], values: Values) -> str:
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["channel", *names])
    for name, row in zip(names, values, strict=True):
        table.writerow([name, *("" if np.isnan(value) else f"{value:.10g}" for value in row)])
    return text.getvalue()


def facts(found: Found) -> dict[str, Any]:
    """The matrix, its limits (null where there are none) and the doubts, for machines."""
    matrix = found.matrix
    return {
        "method": found.method,
        "channels": list(matrix.channels),
        "matrix": matrix.matrix.tolist(),
        "low": _nullable(matrix.low),
        "high": _nullable(matrix.high),
        "spreading": _nullable(found.spreading),
        "doubts": [
            {**asdict(doubt), "value": None if np.isnan(doubt.value) else doubt.value} for doubt in found.doubts
        ],
    }


def _nullable(limits: Values | None) -> list[list[float | None]] | None:
    if limits is None:
        return None
    return [[None if np.isnan(value) else float(value) for value in row] for row in limits]


def lines(found: Found) -> Iterator[str]:
    """The matrix in percent with its limits, a line a coefficient, for people."""
    names = found.matrix.channels
    width = max(len(name) for name in names)
    for i, dye in enumerate(names):
        for j, detector in enumerate(names):
            if i != j:
                limits = ""
                if found.matrix.low is not None and found.matrix.high is not None:
                    limits = f"  ({100 * found.matrix.low[i, j]:.3g} to {100 * found.matrix.high[i, j]:.3g})"
                yield f"{dye:{width}} in {detector:{width}} {100 * found.matrix.matrix[i, j]:9.4g} %{limits}"


def _rows(folder: Path) -> list[Row]:
    path = find_table(folder, "plate")
    if path is None:
        raise SheetError(f"{folder.name}/", "no plate map", "add plate.csv: file, role (unstained, single-stain), dye")
    rows = read_table(path, HEADINGS, ("file", "role"))
    for row in rows:
        if not row["file"]:
            raise row.error("no file is named", "write the name of the FCS file")
    return rows


def _refuse_other_channels(names: Sequence[str], files: dict[str, FcsFile]) -> None:
    for name, file in files.items():
        if light_channels(file.channels) != list(names):
            other, *_ = set(light_channels(file.channels)) ^ set(names)
            raise SheetError(name, f"its channels are not those of the other files ({other})", "export them alike")


def _dye(row: Row, file: FcsFile, names: Sequence[str], unstained: Values | None) -> str:
    if row["dye"]:
        if row["dye"] not in names:
            raise row.error(f"dye {row['dye']!r} is no detector of the file", nearest(row["dye"], names))
        return row["dye"]
    if unstained is None:
        raise row.error("no dye is named, and there is no unstained control to tell it by", "fill in the column dye")
    return single_stains.brightest(names, light_of(file, names), unstained)
