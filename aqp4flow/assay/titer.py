"""Titers: the last positive dilution, and where the read-out crosses the cut-off. Never without a bound."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqp4flow.assay.readout import estimate_of, value_of
from aqp4flow.model import NAN, Bound, CutOff, Estimate, Reactivity, Status, Titer, Z, log2_quantile

Draws = NDArray[np.float64]


def endpoint_titer(series: Sequence[Reactivity]) -> tuple[Titer | None, list[str]]:
    """The highest dilution that is positive with all lower ones positive, and flags.

    `series` is one serum by rising dilution. `<` when the first is not positive, `>` when the last still is.
    """
    read = [row for row in series if row.status is not Status.NOT_INTERPRETABLE]
    if not read:
        return None, ["no-cutoff" if any(row.delta.known for row in series) else "no-usable-well"]
    positive = [row.status is Status.POSITIVE for row in read]
    run = positive.index(False) if False in positive else len(positive)
    flags = ["gap"] if any(positive[run:]) else []
    if run == 0:
        return Titer(read[0].dilution, Bound.BELOW), flags
    if run == len(read):
        return Titer(read[-1].dilution, Bound.ABOVE), flags
    return Titer(read[run - 1].dilution), flags


def crossing(log_dilution: Draws, values: Draws, cutoff: Draws) -> Draws:
    """log2 dilution at which each row of `values` (n_draws, n_dilutions) first falls to its cut-off.

    -inf when the first value is not above the cut-off, +inf when none falls to it. Between two dilutions the
    read-out is a straight line of log value on log dilution, but never steeper than dilution itself (halving the
    serum at most halves what is bound), so that a lone value near 0 cannot pull the crossing.
    """
    below = values <= cutoff[:, None]
    first = np.where(below.any(axis=1), below.argmax(axis=1), values.shape[1])
    result = np.where(first == 0, -np.inf, np.inf)
    between = np.flatnonzero((first > 0) & (first < values.shape[1]))
    last = first[between] - 1
    high, low, level = values[between, last], values[between, last + 1], cutoff[between]
    step = log_dilution[last + 1] - log_dilution[last]
    tiny = np.finfo(float).tiny  # a cut-off at or below 0 is crossed at the next dilution
    high, level = np.maximum(high, tiny), np.maximum(level, tiny)
    reached = np.clip(np.maximum(low, high * 2.0**-step), None, level)
    steep = np.log(high) - np.log(np.maximum(reached, tiny))
    share = np.divide(np.log(high) - np.log(level), steep, out=np.ones_like(steep), where=steep > 0)
    result[between] = log_dilution[last] + step * np.clip(share, 0, 1)
    return result


@dataclass(frozen=True)
class Interpolated:
    """An interpolated titer and the draws (log2) that describe its error."""

    titer: Titer
    draws: Draws


def interpolated_titer(series: Sequence[Reactivity], cutoff: CutOff, cutoffs: Draws, seed: int) -> Interpolated | None:
    """Where the deciding read-out crosses the cut-off, with limits from both errors; None when nothing is read.

    `cutoffs` are draws of the cut-off shared by a plate, so that folds between its sera do not pay for it twice.
    """
    rows = [row for row in series if row.delta.known and not math.isnan(value_of(row, cutoff.readout))]
    if not rows:
        return None
    log_dilution = np.log2([row.dilution for row in rows])
    values = np.array([[value_of(row, cutoff.readout) for row in rows]])
    point = float(crossing(log_dilution, values, np.array([cutoff.value]))[0])
    errors = np.array([_standard_error(estimate_of(row, cutoff.readout)) for row in rows])
    name = zlib.crc32(f"{rows[0].plate}/{rows[0].serum}".encode())
    noise = np.random.default_rng([seed, name]).standard_normal((len(cutoffs), len(rows)))
    draws = crossing(log_dilution, values + errors * noise, cutoffs)
    return Interpolated(bounded(point, draws, rows[0].dilution, rows[-1].dilution), draws)


def _standard_error(estimate: Estimate) -> float:
    width = estimate.high - estimate.low
    return width / (2 * Z) if width > 0 else 0.0


def bounded(point: float, draws: Draws, first: float, last: float) -> Titer:
    """A titer with limits from a log2 crossing and its draws; beyond the ladder only the tested extreme is known."""
    low, high = (log2_quantile(draws, q) for q in (0.025, 0.975))
    if point == -np.inf:
        return Titer(first, Bound.BELOW, NAN, max(first, high) if math.isfinite(high) else first)
    if point == np.inf:
        return Titer(last, Bound.ABOVE, min(last, low) if math.isfinite(low) and low > 0 else NAN, NAN)
    return Titer(float(2**point), Bound.EXACT, low if low > 0 else NAN, high if math.isfinite(high) else NAN)
