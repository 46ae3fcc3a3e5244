"""Undo spillover on the linear scale, only where a value is asked for."""

from __future__ import annotations

import csv
from functools import lru_cache
from pathlib import Path

import numpy as np

from aqp4flow.errors import SheetError
from aqp4flow.model import Spillover, Values


@lru_cache(maxsize=64)
def unmixing(spillover: Spillover, channel: str) -> dict[str, float]:
    """How much of each detector makes up one compensated channel.

    With `observed = true @ matrix`, `true[:, c] = observed @ w` where `matrix @ w` is the unit vector of c:
    one linear system is solved, no matrix is inverted.
    """
    unit = np.zeros(len(spillover.channels))
    unit[spillover.channels.index(channel)] = 1.0
    weights = np.linalg.solve(spillover.matrix, unit)
    return {name: float(w) for name, w in zip(spillover.channels, weights, strict=True) if w != 0.0}


def condition(spillover: Spillover) -> float:
    """Condition number of the matrix: how much compensation can amplify noise."""
    return float(np.linalg.cond(spillover.matrix))


SAME = 1e-5  # how far coefficients may differ that mean one matrix: writers round


def difference(one: Spillover | None, other: Spillover | None) -> float:
    """The largest difference between coefficients of two matrices; no matrix, or no channel, is the identity."""
    matrices = [matrix for matrix in (one, other) if matrix is not None]
    names = list(dict.fromkeys(name for matrix in matrices for name in matrix.channels))
    whole = [np.eye(len(names)), np.eye(len(names))]
    for matrix, full in zip((one, other), whole, strict=True):
        if matrix is not None:
            places = [names.index(name) for name in matrix.channels]
            full[np.ix_(places, places)] = matrix.matrix
    return float(np.abs(whole[0] - whole[1]).max(initial=0.0))


def read_matrix(path: Path) -> Spillover:
    """A spillover matrix from CSV: heading `channel,FITC-A,PE-A,...`, then a row a dye in the same order.

    Numbers may be fractions or percent (diagonal 1 or 100). Raises SheetError naming the row at fault.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SheetError(path.name, "no such matrix file", "[compensation] source is relative to assay.toml") from None
    except UnicodeDecodeError:
        raise SheetError(path.name, "not a UTF-8 text file", "save the matrix as CSV (UTF-8)") from None
    rows = [[cell.strip() for cell in row] for row in csv.reader(text.splitlines()) if any(row)]
    if len(rows) < 2:
        raise SheetError(path.name, "no matrix in it", "wanted: channel,FITC-A,PE-A,... and a row a channel")
    names = tuple(rows[0][1:])
    matrix = np.array([_row(path.name, number, row, len(names)) for number, row in enumerate(rows[1:], 2)])
    labels = tuple(row[0] for row in rows[1:])
    if labels != names:
        raise SheetError(path.name, f"rows are {', '.join(labels)}; columns are {', '.join(names)}", "same order")
    return _checked(path.name, names, matrix)


def _row(where: str, number: int, row: list[str], wanted: int) -> list[float]:
    try:
        values = [float(cell) for cell in row[1:]]
    except ValueError:
        raise SheetError(f"{where}: row {number}", f"not all numbers: {', '.join(row[1:])}") from None
    if len(values) != wanted:
        raise SheetError(f"{where}: row {number}", f"{len(values)} numbers, {wanted} wanted")
    return values


def _checked(where: str, names: tuple[str, ...], matrix: Values) -> Spillover:
    diagonal = np.diag(matrix)
    if np.allclose(diagonal, 100.0):
        matrix = matrix / 100.0
    elif not np.allclose(diagonal, 1.0):
        raise SheetError(where, "the diagonal is neither 1 nor 100", "each dye is whole in its own detector")
    if not np.all(np.isfinite(matrix)) or np.linalg.cond(matrix) > 1e6:
        raise SheetError(where, "the matrix is singular or nearly so", "check the rows: two dyes look alike")
    matrix.flags.writeable = False
    return Spillover(names, matrix, where)
