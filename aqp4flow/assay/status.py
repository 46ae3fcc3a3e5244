"""What a serum at a dilution is called: positive, equivocal or negative, by two criteria."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from aqp4flow.model import CutOff, Reactivity, Status


def decide(rows: Sequence[Reactivity], by_delta: CutOff | None, by_ratio: CutOff | None) -> list[Reactivity]:
    """Status by two criteria: both met is positive, one is equivocal, none is negative.

    Without cut-offs (no negatives on the plate) nothing is interpretable. A ratio without meaning leaves the
    question open: at most equivocal.
    """
    if by_delta is None or by_ratio is None:
        return [replace(row, status=Status.NOT_INTERPRETABLE) for row in rows]
    return [_decided(row, by_delta, by_ratio) for row in rows]


def _decided(row: Reactivity, by_delta: CutOff, by_ratio: CutOff) -> Reactivity:
    row = replace(row, cutoff_delta=by_delta.value, cutoff_ratio=by_ratio.value)
    if not row.delta.known:
        return row
    ratio_value = row.index if by_ratio.readout == "index" else row.ratio.value
    met = (row.delta.value > by_delta.value, ratio_value > by_ratio.value)
    status = {2: Status.POSITIVE, 1: Status.EQUIVOCAL, 0: Status.NEGATIVE}[sum(met)]
    flags = (*row.flags, "criteria-disagree") if status is Status.EQUIVOCAL else row.flags
    return replace(row, status=status, flags=flags)
