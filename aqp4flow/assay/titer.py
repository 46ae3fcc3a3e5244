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

    -inf when the first value is not above the cut-off, +inf when none falls to it. Between two dilutions log value
    is the parabola on log dilution through both and the one before (a straight line where there is none before): what
    is bound levels off towards low dilutions, and a straight line would cut that corner. It is held monotone and never
    steeper than dilution itself (halving the serum at most halves what is bound), so that a lone value near 0 cannot
    pull the crossing.
    """
    below = values <= cutoff[:, None]
    first = np.where(below.any(axis=1), below.argmax(axis=1), values.shape[1])
    result = np.where(first == 0, -np.inf, np.inf)
    between = np.flatnonzero((first > 0) & (first < values.shape[1]))
    last = first[between] - 1
    step = log_dilution[last + 1] - log_dilution[last]
    logs = np.log2(np.maximum(values[between], np.finfo(float).tiny))
    level = np.log2(np.maximum(cutoff[between], np.finfo(float).tiny))  # at or below 0: crossed at the next dilution
    rows = np.arange(len(between))
    high, low = logs[rows, last], logs[rows, last + 1]
    fall = np.minimum(high - np.maximum(low, high - step), step)  # at most as steep as dilution
    fall = np.maximum(fall, high - level)  # and where that would not reach the cut-off, the next dilution does
    start = _slope_at_last(log_dilution, logs, last, fall / step)
    result[between] = log_dilution[last] + step * _share(start * step, fall, high - level)
    return result


def _slope_at_last(log_dilution: Draws, logs: Draws, last: NDArray[np.intp], slope: Draws) -> Draws:
    """How steeply the curve falls at `last`, in doublings a doubling, by the parabola through the point before.

    Limited so that the parabola neither turns round nor gets steeper than dilution at its end; `slope` is the fall of
    the straight line.
    """
    before = np.maximum(last - 1, 0)
    width, step = log_dilution[last] - log_dilution[before], log_dilution[last + 1] - log_dilution[last]
    rows = np.arange(len(last))
    earlier = np.divide(logs[rows, before] - logs[rows, last], width, out=slope.copy(), where=last > 0)
    parabola = (earlier * step + slope * width) / (step + width)
    return np.clip(parabola, np.maximum(0.0, 2 * slope - 1), np.maximum(np.minimum(2 * slope, 1.0), slope))


def _share(start: Draws, fall: Draws, wanted: Draws) -> Draws:
    """Where, from 0 to 1, a parabola that begins with slope `start` and falls by `fall` has fallen by `wanted`.

    wanted = start x + (fall - start) x^2, in the form of its root that stays exact where the parabola is a line.
    """
    root = np.sqrt(np.maximum(start**2 + 4 * (fall - start) * wanted, 0.0))
    share = np.divide(2 * wanted, start + root, out=np.ones_like(wanted), where=start + root > 0)
    return np.clip(share, 0.0, 1.0)


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
    zero = NOTHING_BOUND.get(cutoff.readout, 0.0)
    found = [estimate_of(row, cutoff.readout) for row in rows]
    values = np.array([[estimate.value - zero for estimate in found]])
    point = float(crossing(log_dilution, values, np.array([cutoff.value - zero]))[0])
    name = zlib.crc32(f"{rows[0].plate}/{rows[0].serum}".encode())
    noise = np.random.default_rng([seed, name]).standard_normal((len(cutoffs), len(rows)))
    draws = crossing(log_dilution, values + noise * _standard_errors(found, noise), cutoffs - zero)
    return Interpolated(bounded(point, draws, rows[0].dilution, rows[-1].dilution), draws)


#: What a read-out comes to when nothing is bound: a ratio is 1 then, all else 0. Logarithms are of what lies above.
NOTHING_BOUND = {"ratio": 1.0, "index": 1.0, "rpc": 1.0}


def _standard_errors(found: Sequence[Estimate], noise: Draws) -> Draws:
    """Standard error of each read-out on the side to which its `noise` points: limits need not be symmetric.

    A side without a limit has the width of the other; without any there is no error to draw.
    """
    down = np.array([estimate.value - estimate.low for estimate in found])
    up = np.array([estimate.high - estimate.value for estimate in found])
    down, up = np.where(np.isnan(down), up, down), np.where(np.isnan(up), down, up)
    return np.nan_to_num(np.where(noise < 0, down, up)) / Z


def bounded(point: float, draws: Draws, first: float, last: float) -> Titer:
    """A titer with limits from a log2 crossing and its draws; beyond the ladder only the tested extreme is known."""
    low, high = (log2_quantile(draws, q) for q in (0.025, 0.975))
    if point == -np.inf:
        return Titer(first, Bound.BELOW, NAN, max(first, high) if math.isfinite(high) else NAN)
    if point == np.inf:
        return Titer(last, Bound.ABOVE, min(last, low) if math.isfinite(low) and low > 0 else NAN, NAN)
    return Titer(float(2**point), Bound.EXACT, low if low > 0 else NAN, high if math.isfinite(high) else NAN)
