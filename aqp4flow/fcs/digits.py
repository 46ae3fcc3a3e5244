"""DATA of $DATATYPE A: numbers written as digits, at a fixed width or with blanks between (FCS 3.0, 3.2.20)."""

from __future__ import annotations

import numpy as np

from aqp4flow.errors import FcsError, IncompleteError
from aqp4flow.fcs.layout import Layout
from aqp4flow.model import Values

_LONGEST = 20  # digits of the largest 64-bit integer
_SEPARATORS = bytes.maketrans(b",\t\r\n\f", b"     ")
_HINT = "export as FCS 3.1"


def numbers(segment: bytes, layout: Layout, n_events: int, where: str) -> Values:
    """All values, float64, shape (n_events, n_channels); raises FcsError unless there are just that many."""
    if b"\0" in segment:
        raise IncompleteError(where, f"byte {segment.index(0)} of DATA is zero where digits should stand")
    if layout.record:
        return _fixed(segment, [channel.bits for channel in layout.channels], where)
    return _delimited(segment, n_events, len(layout.channels), where)


def _fixed(segment: bytes, widths: list[int], where: str) -> Values:
    rows = np.frombuffer(segment, "u1").reshape(-1, sum(widths))
    matrix = np.empty((len(rows), len(widths)))
    at = 0
    for column, width in enumerate(widths):
        texts = np.char.strip(np.ascontiguousarray(rows[:, at : at + width]).view(f"S{width}")[:, 0])
        wrong = np.flatnonzero(~np.char.isdigit(texts) | (np.char.str_len(texts) > _LONGEST))
        if wrong.size:
            shown = texts[wrong[0]].decode("latin-1")
            raise FcsError(where, f"DATA holds {shown!r} in event {wrong[0] + 1} where digits should stand", _HINT)
        matrix[:, column] = texts.astype(np.float64)
        at += width
    return matrix


def _delimited(segment: bytes, n_events: int, n_channels: int, where: str) -> Values:
    texts = segment.translate(_SEPARATORS).split()
    if len(texts) != n_events * n_channels:
        raise FcsError(
            where,
            f"DATA holds {len(texts)} numbers, $TOT x $PAR is {n_events} x {n_channels} = {n_events * n_channels}",
            "the copy is cut short or damaged; export or copy the file again",
        )
    wrong = next((text for text in texts if not text.isdigit() or len(text) > _LONGEST), None)
    if wrong is not None:
        raise FcsError(where, f"DATA holds {wrong[:40].decode('latin-1')!r} where digits should stand", _HINT)
    return np.array(texts).astype(np.float64).reshape(n_events, n_channels)
