"""What a serum at a dilution is called: positive, equivocal or negative, by one criterion or two."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from aqp4flow.assay.readout import value_of
from aqp4flow.model import CutOff, Reactivity, Status

#: Names of grades where there are two numbers.
_GRADES = ("low", "medium", "high")


def decide(
    rows: Sequence[Reactivity], deciding: CutOff | None, second: CutOff | None, grades: Sequence[float] = ()
) -> list[Reactivity]:
    """Status by two criteria: both met is positive, one or the grey zone is equivocal, none is negative.

    Without a deciding cut-off nothing is interpretable; without a second one the first decides alone. A read-out
    without meaning leaves the question open, at most equivocal, unless the deciding one has a value and fails.
    `grades` are rising numbers of the deciding read-out: positive rows are graded by how many they reach.
    """
    if deciding is None:
        return [replace(row, status=Status.NOT_INTERPRETABLE) for row in rows]
    return [_graded(_decided(row, deciding, second), deciding.readout, grades) for row in rows]


def _decided(row: Reactivity, deciding: CutOff, second: CutOff | None) -> Reactivity:
    criteria = [cutoff for cutoff in (deciding, second) if cutoff is not None]
    for cutoff in criteria:
        by_delta = cutoff.readout == "delta"
        row = replace(row, cutoff_delta=cutoff.value) if by_delta else replace(row, cutoff_ratio=cutoff.value)
    if not row.delta.known:
        return row
    values = [value_of(row, cutoff.readout) for cutoff in criteria]
    met = [cutoff.met_by(value) for cutoff, value in zip(criteria, values, strict=True)]
    if all(met):
        return replace(row, status=Status.POSITIVE)
    unknown = any(math.isnan(value) for value in values)
    flags = ["criteria-disagree"] if any(met) and not unknown else []
    if not met[0] and values[0] >= deciding.equivocal:
        flags.append("grey-zone")
    if unknown and (met[0] or math.isnan(values[0])):
        flags.append("criterion-unknown")
    return replace(row, status=Status.EQUIVOCAL if flags else Status.NEGATIVE, flags=(*row.flags, *flags))


def _graded(row: Reactivity, readout: str, grades: Sequence[float]) -> Reactivity:
    if not grades or row.status is not Status.POSITIVE:
        return row
    value = value_of(row, readout)
    reached = sum(value >= grade or math.isclose(value, grade, rel_tol=1e-9) for grade in grades)
    return replace(row, grade=_GRADES[reached] if len(grades) == 2 else str(reached + 1))
