"""Whether a file has arrived whole, from its structure alone: what a watched folder asks every few seconds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from aqp4flow.errors import FcsError, IncompleteError
from aqp4flow.fcs import datasets as sets
from aqp4flow.fcs.events import Buffer, open_file
from aqp4flow.fcs.integrity import refuse_unfilled
from aqp4flow.fcs.layout import parse_layouts
from aqp4flow.fcs.offsets import expected_data
from aqp4flow.fcs.segments import Segments, read_segments
from aqp4flow.fcs.text import HEADER_LENGTH, Header, parse_header


class State(StrEnum):
    """How far a file has got. `complete` says that the bytes are there, not that they make sense."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    NOT_FCS = "not-fcs"


@dataclass(frozen=True)
class Completeness:
    """The state of a file, and what is still missing as far as its structure tells (at least so many bytes)."""

    state: State
    message: str
    missing_bytes: int = 0
    missing_events: int = 0


def completeness(path: str | os.PathLike[str]) -> Completeness:
    """Look at HEADER, TEXT and the length of every data set, and for pages that were never filled in.

    Nothing is decoded: it costs little more than reading the file.
    Raises FcsError only when the file cannot be opened, or is none.
    """
    path = Path(path)
    buffer = open_file(path).buffer
    begin: int | None = 0
    number = 0
    try:
        while begin is not None and number < sets.MOST:
            begin = _data_set(buffer, begin, path.name)
            number += 1
    except _NotWholeError as found:
        return found.completeness
    except IncompleteError as error:
        return Completeness(State.INCOMPLETE, error.what)
    many = f"{number} data sets" if number < sets.MOST else f"the first {number} data sets"
    return Completeness(State.COMPLETE, many if number > 1 else "all bytes are there")


class _NotWholeError(Exception):
    """Carries the answer out of the walk through a file."""

    def __init__(self, message: str, n_bytes: int = 0, n_events: int = 0, state: State = State.INCOMPLETE) -> None:
        super().__init__(message)
        self.completeness = Completeness(state, message, n_bytes, n_events)


def _data_set(buffer: Buffer, begin: int, where: str) -> int | None:
    """Where the next data set begins, None for the last and for one that is there but makes no sense."""
    own = buffer if begin == 0 else memoryview(buffer)[begin:]
    segments = _segments(own, where)
    if segments is None:
        return None
    _data(buffer, begin, segments)
    for name, (first, last) in {"supplemental TEXT": segments.supplement(), "ANALYSIS": segments.analysis()}.items():
        if 0 < first < last and last > segments.size:  # an end one too high is nothing that is missing
            raise _NotWholeError(f"{name} is cut short", last + 1 - segments.size)
    return _next(buffer, begin, segments)


def _data(buffer: Buffer, begin: int, segments: Segments) -> None:
    try:
        layouts, _ = parse_layouts(segments.keywords, segments.where)
        span = expected_data(segments, layouts)
    except FcsError:
        return
    if span is None:
        return
    record = layouts[0].record or 1
    if span.end > segments.size:
        missing = span.end - max(segments.size, span.begin)
        raise _NotWholeError("DATA are cut short", span.end - segments.size, -(-missing // record))
    refuse_unfilled(buffer, begin + span.begin, begin + span.end, record, segments.where)


def _header(own: Buffer, where: str) -> Header | None:
    head = bytes(own[:HEADER_LENGTH])
    if not head.strip(b"\0") or (len(head) < 3 and b"FCS".startswith(head)):
        raise _NotWholeError("nothing has arrived yet", HEADER_LENGTH - len(head))
    if head[:3] != b"FCS":
        begins = head[:12].decode("latin-1")
        raise _NotWholeError(f"it begins with {begins!r}, not 'FCS'", state=State.NOT_FCS)
    if len(head) < HEADER_LENGTH:
        raise _NotWholeError("HEADER is cut short", HEADER_LENGTH - len(head))
    try:
        return parse_header(head, where)
    except FcsError as error:
        if head.endswith(b"\0"):
            raise _NotWholeError(f"HEADER is not filled in: {error.what}") from None
        return None


def _segments(own: Buffer, where: str) -> Segments | None:
    header = _header(own, where)
    if header is None:
        return None
    last = header.text[1]
    if last >= len(own):
        raise _NotWholeError("TEXT is cut short", last + 1 - len(own))
    try:
        return read_segments(own, where)[0]
    except IncompleteError:
        raise
    except FcsError:
        return None


def _next(buffer: Buffer, begin: int, segments: Segments) -> int | None:
    after, problem = sets.following(segments, begin, buffer)
    announced = segments.keywords.get("$NEXTDATA", "").strip()
    if after is not None or not problem or not (announced.isascii() and announced.isdigit()):
        return after
    place = begin + int(announced[:20])
    if place == len(buffer):  # as some writers leave it behind the last one
        return None
    if place + HEADER_LENGTH > len(buffer):
        raise _NotWholeError("a further data set is announced", place + HEADER_LENGTH - len(buffer))
    if not any(buffer[place : place + HEADER_LENGTH]):
        raise _NotWholeError("a further data set is not filled in")
    return None
