"""What the values themselves show when all of them are looked at."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqp4flow.errors import listed
from aqp4flow.fcs.events import FcsEvents
from aqp4flow.fcs.layout import is_time
from aqp4flow.model import Repair

_LARGE = 1e20  # no detector's value lies beyond
_EXACT = 2.0**53  # integers above are rounded when they become float64
_SIDE_BY_SIDE = 64  # rows
_ENOUGH = 10  # events from which a sign can be judged


@np.errstate(invalid="ignore", over="ignore")
def value_repairs(events: FcsEvents) -> list[Repair]:
    """Remarks on all values of a data set, as stored; one pass over DATA in constant memory."""
    if not events.count:
        return []
    n = len(events.channels)
    low, high = np.full(n, np.inf), np.full(n, -np.inf)
    unusable, large = np.zeros(n, np.int64), np.zeros(n, np.int64)
    for block in events.blocks():
        lowest, highest = _extremes(block)
        if not (np.abs(lowest).max() < _LARGE and np.abs(highest).max() < _LARGE):  # also where one is NaN
            values = block.astype(np.float64)
            finite = np.isfinite(values)
            unusable += (~finite).sum(axis=0)
            large += (np.abs(values, where=finite, out=np.zeros_like(values)) > _LARGE).sum(axis=0)
            lowest = np.where(finite, values, np.inf).min(axis=0)
            highest = np.where(finite, values, -np.inf).max(axis=0)
        low, high = np.minimum(low, lowest), np.maximum(high, highest)
    return _remarks(events, low, high, unusable, large) + _masked(events)


def _extremes(block: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Least and greatest value of each column; many rows are laid side by side, so that one step sees many values."""
    n = block.shape[1]
    whole = len(block) // _SIDE_BY_SIDE * _SIDE_BY_SIDE
    wide = block[:whole].reshape(-1, _SIDE_BY_SIDE * n)
    parts = [block[whole:]] if whole < len(block) else []
    low = [part.min(axis=0) for part in ([wide.min(axis=0).reshape(-1, n)] if whole else []) + parts]
    high = [part.max(axis=0) for part in ([wide.max(axis=0).reshape(-1, n)] if whole else []) + parts]
    return np.min(low, axis=0).astype(np.float64), np.max(high, axis=0).astype(np.float64)


def _masked(events: FcsEvents) -> list[Repair]:
    """Bits above $PnR that were taken off where none are expected.

    Words of 16 bits with 10-bit values carry other things above them (XL, FC500); in wider words bits above may mean
    that $PnR is wrong, and in a clock that runs on with them and jumps back without them they do mean it.
    """
    above = np.zeros(len(events.channels), np.int64)
    for i, slot in enumerate(events.layout.slots):
        if slot.mask is None:
            continue
        stored = events.unmasked(i)
        if slot.width > 2 or (is_time(events.channels[i].name) and _runs(stored) and not _runs(stored & slot.mask)):
            above[i] = np.count_nonzero(stored > slot.mask)
    if not above.any():
        return []
    counted = _counted([channel.name for channel in events.channels], above)
    message = f"{counted} events of {events.count} have bits above $PnR; they were taken off"
    return [Repair(events.where, "values-masked", message)]


def _runs(clock: NDArray[Any]) -> bool:
    return bool(np.all(clock[1:] >= clock[:-1]))


def _remarks(
    events: FcsEvents,
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    unusable: NDArray[np.int64],
    large: NDArray[np.int64],
) -> list[Repair]:
    names = [channel.name for channel in events.channels]
    integers = [slot.kind == "I" for slot in events.layout.slots]
    found = []

    def remark(code: str, message: str) -> None:
        found.append(Repair(events.where, code, message))

    if unusable.any():
        counted = _counted(names, unusable)
        remark("values-not-finite", f"{counted} events of {events.count} are NaN or infinite; they belong to no gate")
    if large.any():
        remark("values-huge", f"{_counted(names, large)} events of {events.count} lie beyond 1e20: no measurement")
    if events.count > 1 and np.all(low == high) and high.max() < _EXACT and not unusable.any():
        remark("values-constant", "every event has the same values")
    elif events.count >= _ENOUGH:
        below = [n for n, top in zip(names, high, strict=True) if -np.inf < top < 0 and not is_time(n)]
        if below:
            remark("values-all-negative", f"{', '.join(below)}: below 0 in every event")
    if integers and any(integers) and np.any(high[integers] >= _EXACT):
        remark("values-rounded", "integers above 2^53 lose their last digits as floating-point numbers")
    return found


def _counted(names: Iterable[str], counts: NDArray[np.int64]) -> str:
    return listed([f"{name}: {n}" for name, n in zip(names, counts, strict=True) if n])
