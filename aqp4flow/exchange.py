"""A door: gates go out as GatingML, and gates of other programs are applied to a file."""

from __future__ import annotations

import contextlib
import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from aqp4flow.cytometry.gatingml import NotSimpleError, read_gatingml
from aqp4flow.cytometry.interchange import Membership, apply_gates
from aqp4flow.errors import InputError
from aqp4flow.fcs import linear, read_fcs


def apply_to_file(gates: Path, fcs: Path) -> list[Membership]:
    """Every gate of a GatingML file or FlowJo workspace on one FCS file, as FlowKit evaluates it."""
    if not gates.is_file():
        raise InputError(str(gates), "no such file", "name a GatingML 2.0 file or a FlowJo 10 workspace (.wsp)")
    return apply_gates(gates, fcs.name, linear(read_fcs(fcs)))


def facts(found: Sequence[Membership]) -> dict[str, Any]:
    """Path, count and percent of the parent of every gate, for machines."""
    return {
        "gates": [
            {
                "path": "/" + "/".join(one.path),
                "count": one.count,
                "percent_of_parent": None if np.isnan(one.percent_of_parent) else one.percent_of_parent,
            }
            for one in found
        ]
    }


def membership_csv(found: Sequence[Membership]) -> bytes:
    """A row an event in file order, a 0/1 column a gate; gates that share an id are told apart by their paths."""
    ids = Counter(one.gate for one in found)
    heading = ["/" + "/".join(one.path) if ids[one.gate] > 1 else one.gate for one in found]
    matrix = np.column_stack([one.mask for one in found]) if found else np.empty((0, 0), np.bool_)
    cells = np.full((len(matrix), 2 * len(found)), ord(","), np.uint8)
    cells[:, ::2] = matrix + np.uint8(ord("0"))
    cells[:, -1:] = ord("\n")
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(heading)
    return text.getvalue().encode() + cells.tobytes()


def gates_of_results(results: Path, plate: str | None, ending: str = ".xml") -> bytes:
    """The gates of a results folder, of one plate where it has several: the bytes that are there.

    `ending` is that of the file to be written: a workspace is no GatingML.
    """
    found = {path.parent.name: path for path in sorted((results / "plates").glob("*/gates.*"))}
    alone = [results / f"gates{kind}" for kind in (".xml", ".wsp")]
    if plate is None and any(path.is_file() for path in alone):
        path = next(path for path in alone if path.is_file())
    elif plate in found:
        path = found[str(plate)]
    else:
        known = ", ".join(found) or "none"
        what = "no gates of one plate" if plate is None else f"no gates of a plate {plate!r}"
        raise InputError(str(results), what, f"name a results folder, and one of its plates with --plate: {known}")
    if (path.suffix == ".wsp") != (ending.lower() == ".wsp"):
        kind = "a FlowJo workspace" if path.suffix == ".wsp" else "GatingML 2.0"
        raise InputError(str(path), f"is {kind}", f"name the file to write with the ending {path.suffix}")
    if path.suffix == ".xml":
        with contextlib.suppress(NotSimpleError):  # another program's
            read_gatingml(path)
    return path.read_bytes()
