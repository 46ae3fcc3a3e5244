"""A negative serum that is none: by the cut-off of the others it would be positive, and it has raised its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from aqp4flow.assay.cutoffs.cutoff import CutOffs
from aqp4flow.assay.cutoffs.cutoffrules import prediction_limit
from aqp4flow.assay.readout import value_of
from aqp4flow.model import CutOff, Reactivity, Role

_LEAST_OTHERS = 3
_BY_CHANCE = 0.01  # of a plate, whatever the number of its negatives


@dataclass(frozen=True)
class Apart:
    """A negative serum, its deciding read-out, and the limit that the other negatives set it."""

    serum: str
    value: float
    limit: float


def standing_apart(cutoffs: CutOffs, rows: Sequence[Reactivity]) -> list[Apart]:
    """Negatives of the plate above Frey's limit of all others, at 1 % in all, that the second criterion lets by too.

    Of n values none can lie more than (n - 1) / sqrt(n) standard deviations above their mean: of ten not above Frey's
    own limit at 99 %, however high it is. So each is held against a limit that it has no part in.
    """
    deciding = cutoffs.deciding
    sera = [row for row in rows if row.role is Role.NEGATIVE and row.dilution == cutoffs.screening]
    if deciding is None or deciding.fixed or deciding.source != "plate":
        return []
    limits = _limits(deciding, sera)
    seconds = _second_limits(cutoffs.second, sera)
    return [
        Apart(row.serum, value_of(row, deciding.readout), limit)
        for row, limit, second in zip(sera, limits, seconds, strict=True)
        if value_of(row, deciding.readout) > limit
        and (cutoffs.second is None or value_of(row, cutoffs.second.readout) >= second)
    ]


def _second_limits(second: CutOff | None, sera: Sequence[Reactivity]) -> list[float]:
    if second is None or second.fixed:
        return [second.value if second else -math.inf] * len(sera)
    return _limits(second, sera)


def _limits(cutoff: CutOff, sera: Sequence[Reactivity]) -> list[float]:
    """For each serum the limit of the others; infinite where these are fewer than three or have no meaning."""
    values = [value_of(row, cutoff.readout) for row in sera]
    return [_limit([v for j, v in enumerate(values) if j != i], len(values), cutoff.log) for i in range(len(values))]


def _limit(others: Sequence[float], n: int, log: bool) -> float:
    known = [value for value in others if not math.isnan(value) and (value > 0 or not log)]
    if len(known) < _LEAST_OTHERS:
        return math.inf
    scaled = [math.log10(value) for value in known] if log else known
    limit = prediction_limit(scaled, 1 - _BY_CHANCE / n)
    return 10.0**limit if log else limit
