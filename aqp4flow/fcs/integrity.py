"""Damage that the structure does not show: transfers that changed bytes, copies that never filled them in.

A copy over a network share may have its full length from the start and zeros where bytes have not arrived; a
transfer in text mode turns every LF into CR LF; a wrong byte order leaves the length as it was. In each case
the offsets fit and every value is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from aqp4flow.errors import FcsError, IncompleteError
from aqp4flow.fcs.events import Buffer, FcsEvents, release
from aqp4flow.fcs.layout import Layout
from aqp4flow.fcs.offsets import DataSpan
from aqp4flow.model import Repair

_PAGE = 4096  # file systems reserve, and copies arrive, in multiples of this
_STRETCH = 2048  # bytes: one of them is zero throughout wherever a page's worth is, aligned or not
_STRETCHES = 2048  # looked at in one go
_CRC = 8  # FCS 3.0, 3.5: sixteen bits in up to eight digits after the last segment
_SAMPLE = 512  # events looked at
_CHUNK = 1 << 20  # bytes looked at in one go
_LEAST_TAIL = 512  # bytes: fewer zeros at the end may be events
_LEAST_EVENTS = 2  # in a part of a page
_LEAST_TO_CLAIM = 3  # at the end of a small DATA
_ENOUGH = 1024  # bytes from which chance can be ruled out
_FEW, _LEAST_WRONG = 0.05, 20  # share and number of absurd values that is let pass
_SMALL, _LARGE = 1e-20, 1e20  # no detector's value lies outside, except 0


def refuse_unfilled(buffer: Buffer, begin: int, end: int, record: int, where: str) -> None:
    """Raise IncompleteError where a stretch of DATA, a part of a page, or the end is nothing but zero bytes.

    `begin` and `end` (one past the last) count from the first byte of the file. Of a page that DATA share with
    other bytes the part must hold two events: one alone may be a cytometer's.
    """
    first_edge, last_edge = min(-(-begin // _PAGE) * _PAGE, end), max(end // _PAGE * _PAGE, begin)
    for part in ((begin, first_edge), (last_edge, end)):
        if part[1] - part[0] >= _LEAST_EVENTS * record and part != (begin, end):
            _refuse_zeros(buffer, part, where)
    stretch = _STRETCH * max(1, -(-_LEAST_EVENTS * record // _STRETCH))  # some channels of an event may well be 0
    for first in range(-(-begin // stretch), end // stretch, _STRETCHES):
        last = min(first + _STRETCHES, end // stretch)
        words = np.frombuffer(buffer, "<u8", (last - first) * stretch // 8, first * stretch).reshape(last - first, -1)
        for row in np.flatnonzero(words[:, 0] == 0):
            _refuse_zeros(buffer, ((first + int(row)) * stretch, (first + int(row) + 1) * stretch), where)
        release(buffer, begin, last * stretch)
    half = (end - begin) // record // 2 * record
    tail = min(half, max(16 * record, _LEAST_TAIL))
    if tail >= _LEAST_TO_CLAIM * record:
        _refuse_zeros(buffer, (end - tail, end), where)


def _refuse_zeros(buffer: Buffer, part: tuple[int, int], where: str) -> None:
    begin, end = part
    if not np.frombuffer(buffer, "u1", end - begin, begin).any():
        raise IncompleteError(where, f"{end - begin} bytes from {begin} are nothing but zero")


def trailing_repairs(buffer: Buffer, dataset: tuple[int, int, int], where: str) -> list[Repair]:
    """What follows the last segment up to the end of the data set.

    `dataset` holds where it begins, one past its last segment, and where it ends, in bytes of the file.
    Nothing, a CRC or padding is in order. Raises FcsError where the surplus is that of a transfer in text mode.
    """
    begin, last, end = dataset
    if end - last <= _CRC or not any(chunk.strip(b"\0 \r\n") for chunk in _chunks(buffer, last, end)):
        return []
    pairs = _line_ends(buffer, begin, end)
    if pairs and pairs <= end - last <= pairs + _CRC:
        raise FcsError(
            where,
            f"every one of {pairs} line feeds follows a carriage return: a transfer in text mode changed the bytes",
            "copy the file again, in binary mode",
        )
    message = f"{end - last} bytes follow the last segment; not used"
    return [Repair(where, "bytes-after-data", message)]


def _line_ends(buffer: Buffer, begin: int, end: int) -> int:
    """How many CR LF stand between `begin` and `end`; 0 as soon as an LF stands alone, as in any binary file."""
    pairs, before = 0, b""
    for piece in _chunks(buffer, begin, end):
        chunk = before + piece
        found = chunk.count(b"\r\n")
        if found != chunk.count(b"\n"):
            return 0
        pairs += found
        before = chunk[-1:] if chunk.endswith(b"\r") else b""
    return pairs


def _chunks(buffer: Buffer, begin: int, end: int) -> Iterator[bytes]:
    for start in range(begin, end, _CHUNK):
        yield bytes(buffer[start : min(start + _CHUNK, end)])
        release(buffer, begin, min(start + _CHUNK, end))


def is_plausible(buffer: Buffer, layout: Layout, span: DataSpan) -> bool:
    """Whether the first events, read with this layout from this place, look like measurements."""
    wrong, total = _absurd(buffer, layout, span)
    return wrong <= _FEW * total


def byte_repairs(buffer: Buffer, layout: Layout, span: DataSpan, where: str) -> list[Repair]:
    """Look at the bytes of the first events. Raises FcsError where they make no sense in the byte order given."""
    if layout.kind == "A" or span.n_events == 0:
        return []
    floats = all(slot.kind != "I" for slot in layout.slots)
    head = np.frombuffer(buffer, "u1", min(span.end - span.begin, 1 << 16), span.begin)
    if floats and len(head) >= _ENOUGH and head.max() < 0x80:
        message = "no byte of DATA has its top bit set: a 7-bit transfer changed the values; copy the file again"
        return [Repair(where, "data-seven-bit", message)]
    wrong, total = _absurd(buffer, layout, span)
    if wrong <= _FEW * total or (wrong < _LEAST_WRONG and not floats):
        return []
    turned, _ = _absurd(buffer, layout.reversed(), span)
    if turned == 0 or (floats and turned < wrong / 10):
        raise FcsError(
            where,
            f"{wrong} of {total} values are absurd in the byte order of $BYTEORD, and sensible in the reverse",
            "the file contradicts itself; export it again",
        )
    if not floats:
        return []  # spare bits above $PnR hold other things in some files; they are masked
    what = f"{wrong} of the first {total} values are no measurements (beyond 1e20, or below 1e-20)"
    if wrong > total / 4 and wrong >= _LEAST_WRONG:
        raise FcsError(where, what, "the byte order or the type is not what TEXT says; export the file again")
    return [Repair(where, "values-absurd", what)]


def _absurd(buffer: Buffer, layout: Layout, span: DataSpan) -> tuple[int, int]:
    """How many of the first values no detector gives, and of how many; a float of 0 tells nothing and is not counted.

    Absurd are floats beyond any scale, and integers with bits set above $PnR, before these are masked.
    """
    events = FcsEvents("", layout, buffer, span.begin, span.end, min(span.n_events, _SAMPLE))
    wrong = total = 0
    for i, slot in enumerate(layout.slots):
        values = events.unmasked(i)
        if slot.kind == "I":
            total += len(values)
            wrong += int(np.count_nonzero(values > slot.mask)) if slot.mask is not None else 0
        else:
            with np.errstate(invalid="ignore"):
                size = np.abs(values.astype(np.float64))
            total += int(np.count_nonzero(size))
            outside = (size > _LARGE) | ((size < _SMALL) & (size > 0))
            wrong += int(np.count_nonzero(outside & np.isfinite(size)))
    return wrong, total
