"""One FCS file, from path to values: HEADER, TEXT, layout, offsets, events, repairs."""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from aqp4flow.errors import FcsError
from aqp4flow.fcs.events import Buffer, FcsEvents
from aqp4flow.fcs.identity import well_of
from aqp4flow.fcs.layout import Layout, parse_layout
from aqp4flow.fcs.offsets import DataSpan, find_data
from aqp4flow.fcs.spillover import parse_spillover
from aqp4flow.fcs.text import HEADER_LENGTH, Header, parse_header, parse_text
from aqp4flow.model import Channel, Repair, Spillover


@dataclass(frozen=True)
class FcsFile:
    """The first data set of an FCS file: what it says of itself. Its bytes are mapped when events are asked for."""

    path: Path
    version: str
    keywords: Mapping[str, str] = field(repr=False)
    layout: Layout = field(repr=False)
    data: DataSpan
    spillover: Spillover | None = field(repr=False)
    repairs: tuple[Repair, ...]
    n_datasets: int = 1

    @cached_property
    def events(self) -> FcsEvents:
        """The events, mapped once and kept."""
        return self.open_events()

    def open_events(self) -> FcsEvents:
        """The events, mapped anew: the mapping ends with the value returned."""
        return FcsEvents(self.path.name, self.layout, _map(self.path), self.data.begin, self.data.n_events)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """All channels, in file order."""
        return self.layout.channels

    @property
    def n_events(self) -> int:
        """Events in DATA."""
        return self.data.n_events

    @property
    def raw(self) -> NDArray[Any]:
        """Values as stored (integers masked by $PnR, before log or gain), shape (n_events, n_channels)."""
        return self.events.raw

    @property
    def well(self) -> str | None:
        """The well the file says it is, as `B07`."""
        return well_of(self.keywords, self.path.name)

    @property
    def plate(self) -> str | None:
        """The plate the file says it is of."""
        for key in ("PLATE NAME", "$PLATENAME", "$PLATEID", "PLATE ID"):
            if self.keywords.get(key, "").strip():
                return self.keywords[key].strip()
        return None


def read_fcs(path: str | os.PathLike[str]) -> FcsFile:
    """Read an FCS 2.0, 3.0 or 3.1 file; its values are decoded when asked for.

    What was mended stands in `.repairs`. Raises FcsError where a value would have to be guessed.
    """
    path = Path(path)
    where = path.name
    buffer = _map(path)
    header = parse_header(bytes(buffer[:HEADER_LENGTH]), where)
    keywords, repairs = parse_text(_text_segment(buffer, header, where), where)
    layout, layout_repairs = parse_layout(keywords, where)
    span, span_repairs = find_data(header, keywords, layout.record, len(buffer), where)
    spillover, spillover_repairs = parse_spillover(keywords, layout.channels, where)
    n_datasets, set_repairs = _further_sets(keywords, len(buffer), where)
    tail = _tail_repairs(buffer, span, layout.record, where)
    return FcsFile(
        path=path,
        version=header.version,
        keywords=keywords,
        layout=layout,
        data=span,
        spillover=spillover,
        repairs=(*repairs, *layout_repairs, *span_repairs, *tail, *spillover_repairs, *set_repairs),
        n_datasets=n_datasets,
    )


def _map(path: Path) -> Buffer:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size == 0:
                return b""
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise FcsError(path.name, f"no such file in {path.parent.name or '.'}/") from None
    except OSError as error:
        raise FcsError(path.name, f"cannot be opened: {error.strerror}") from None


def _text_segment(buffer: Buffer, header: Header, where: str) -> bytes:
    begin, end = header.text
    if end >= len(buffer):
        raise FcsError(
            where,
            f"TEXT should end at byte {end}, but the file has {len(buffer)}",
            "the copy is cut short; export or copy the file again",
        )
    return bytes(buffer[begin : end + 1])


def _further_sets(keywords: Mapping[str, str], size: int, where: str) -> tuple[int, list[Repair]]:
    following = keywords.get("$NEXTDATA", "0").strip()
    if not following.isdigit() or not 0 < int(following) < size - HEADER_LENGTH:
        return 1, []
    message = "the file holds more than one data set; the first is read"
    return 2, [Repair(where, "more-data-sets", message)]


def _tail_repairs(buffer: Buffer, span: DataSpan, record: int, where: str) -> list[Repair]:
    """A copy that reserved its full length before the bytes arrived ends in zeros: refuse it."""
    if span.n_events == 0:
        return [Repair(where, "no-events", "the file holds no events")]
    end = span.begin + span.n_events * record
    if any(buffer[end - record : end]):
        return []
    half = span.n_events // 2 or 1
    if any(bytes(buffer[end - half * record : end])):
        return []
    raise FcsError(
        where,
        f"the last {half} of {span.n_events} events are nothing but zero bytes",
        "the file was still being copied; wait, then copy it again",
    )
