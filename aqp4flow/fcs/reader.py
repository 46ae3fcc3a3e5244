"""One FCS file, from path to values: data sets, HEADER, TEXT, layout, offsets, events, repairs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from aqp4flow.errors import FcsError
from aqp4flow.fcs import datasets as sets
from aqp4flow.fcs.acquisition import Acquisition, acquired
from aqp4flow.fcs.encoding import ENCODINGS
from aqp4flow.fcs.events import Buffer, FcsEvents, OpenFile, open_file
from aqp4flow.fcs.identity import plate_of, well_of, wells_said
from aqp4flow.fcs.integrity import byte_repairs, is_plausible, refuse_unfilled, trailing_repairs
from aqp4flow.fcs.layout import Layout, parse_layouts
from aqp4flow.fcs.offsets import DataSpan, find_data, refuse_unannounced
from aqp4flow.fcs.segments import read_analysis, read_segments
from aqp4flow.fcs.spillover import parse_spillover
from aqp4flow.fcs.values import value_repairs
from aqp4flow.model import Channel, Repair, Spillover

AUTO = 0  # the data set to measure from: the first, but the linear one of a Beckman Coulter LMD file


@dataclass(frozen=True)
class FcsFile:
    """One data set of an FCS file: what it says of itself. Its values are read when they are asked for.

    `data` counts bytes from the first byte of the file. `repairs` holds what was found without looking at every
    value; `value_repairs` looks.
    """

    path: Path
    version: str
    keywords: Mapping[str, str] = field(repr=False)
    layout: Layout = field(repr=False)
    data: DataSpan
    stamp: tuple[int, int] = field(repr=False)
    spillover: Spillover | None = field(repr=False)
    repairs: tuple[Repair, ...]
    analysis: Mapping[str, str] = field(default_factory=dict, repr=False)
    dataset: int = 1
    n_datasets: int = 1

    @cached_property
    def events(self) -> FcsEvents:
        """The events, opened once and kept."""
        return self.open_events()

    def open_events(self) -> FcsEvents:
        """The events, opened anew: their bytes are let go of with the value returned.

        Raises FcsError when the file is no longer the one whose keywords were read.
        """
        opened = open_file(self.path)
        if opened.stamp != self.stamp:
            what = "the file changed while it was read"
            raise FcsError(self.path.name, what, "it may still be copying; start again when it is complete")
        span = self.data
        return FcsEvents(self.path.name, self.layout, opened.buffer, span.begin, span.end, span.n_events)

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
        """The well the file says it is, as `B07`; None also when its keywords and name disagree."""
        return well_of(self.keywords, self.path.name)

    @property
    def wells_said(self) -> Mapping[str, str]:
        """Each keyword that names a well, and the file's name if it does, with the well named."""
        return wells_said(self.keywords, self.path.name)

    @property
    def plate(self) -> str | None:
        """The plate the file says it is of."""
        return plate_of(self.keywords)

    @property
    def acquired(self) -> Acquisition:
        """Day, begin and end of the acquisition, where the keywords can mean only one thing."""
        return acquired(self.keywords)

    @cached_property
    def value_repairs(self) -> tuple[Repair, ...]:
        """Remarks on the values, all of which are looked at."""
        return tuple(value_repairs(self.open_events()))


def read_fcs(path: str | os.PathLike[str], dataset: int = AUTO, encoding: str = "auto") -> FcsFile:
    """Read a data set of an FCS 2.0 to 3.2 file; its values are decoded when asked for.

    `dataset` counts from 1; AUTO is the first, except in a Beckman Coulter LMD file, whose second holds the same
    events on a linear scale. `encoding` is that of TEXT: auto, utf-8, cp932 or latin-1. What was mended stands in
    `.repairs`. Raises FcsError where a value would have to be guessed.
    """
    path = Path(path)
    found = _walk(path, encoding)
    if not 0 <= dataset <= len(found):
        raise FcsError(path.name, f"no data set {dataset}; the file has {len(found)}", "count from 1")
    if dataset != AUTO:
        return found[dataset - 1]
    return _measured(found)


def read_datasets(path: str | os.PathLike[str], encoding: str = "auto") -> tuple[FcsFile, ...]:
    """Every data set of a file, in file order; raises FcsError as `read_fcs` does."""
    return tuple(_walk(Path(path), encoding))


# --- data sets ------------------------------------------------------------------------------------


def _walk(path: Path, encoding: str) -> list[FcsFile]:
    """The data sets in file order. A damaged one after the first is left out, and the first says so."""
    if encoding not in ("auto", *ENCODINGS):
        raise ValueError(f"encoding {encoding!r} is not one of auto, {', '.join(ENCODINGS)}")
    opened = open_file(path)
    found: list[FcsFile] = []
    begin: int | None = 0
    remarks: list[Repair] = []
    while begin is not None and len(found) < sets.MOST:
        try:
            one, begin, problem = _read(opened, begin, len(found) + 1, encoding)
        except FcsError as error:
            if not found:
                raise
            remarks.append(Repair(path.name, "data-set-unreadable", f"data set {len(found) + 1}: {error.what}"))
            break
        found.append(one)
        if problem:
            remarks.append(Repair(path.name, "next-data-set-missing", f"{problem}; taken as the last data set"))
    if begin is not None and len(found) == sets.MOST:
        remarks.append(Repair(path.name, "data-set-unreadable", f"those after the first {sets.MOST} are not looked at"))
    n = len(found)
    several = [Repair(path.name, "more-data-sets", f"data set {one.dataset} of {n}") for one in found] if n > 1 else []
    return [
        replace(one, n_datasets=n, repairs=(*one.repairs, *remarks, *several[i : i + 1])) for i, one in enumerate(found)
    ]


def _measured(found: list[FcsFile]) -> FcsFile:
    first = found[0]
    lost = [repair for repair in first.repairs if repair.code in ("next-data-set-missing", "data-set-unreadable")]
    if len(found) == 1 and lost and sets.is_coarse(first.layout):
        raise FcsError(
            first.path.name,
            f"10-bit values only; the linear ones were to follow: {lost[0].message}",
            "copy the file again, or ask for data set 1",
        )
    if len(found) < 2:
        return first
    linear = found[1]
    if not sets.is_linear_form(first.layout, linear.layout):
        message = "10-bit values are measured: the second data set is not their linear form"
        odd = [Repair(first.path.name, "coarse-data-set", message)] if sets.is_coarse(first.layout) else []
        return replace(first, repairs=(*first.repairs, *odd))
    if first.n_events != linear.n_events:
        raise FcsError(
            first.path.name,
            f"10-bit values of {first.n_events} events, and linear ones of {linear.n_events}: not one acquisition",
            "export the file again, or ask for data set 1 or 2",
        )
    channels = sets.with_stains(linear.channels, first.channels)
    keywords = {**sets.describing(first.keywords), **linear.keywords}
    message = "two data sets of one acquisition: values from the second (linear, 20 bits), names from the first"
    return replace(
        linear,
        keywords=keywords,
        layout=replace(linear.layout, channels=channels),
        repairs=(*linear.repairs, Repair(first.path.name, "linear-data-set", message)),
    )


# --- one data set ---------------------------------------------------------------------------------


def _read(opened: OpenFile, begin: int, number: int, encoding: str) -> tuple[FcsFile, int | None, str]:
    """A data set, where the next one begins, and what is wrong with the place of the next one."""
    where, buffer = opened.path.name, opened.buffer
    own = buffer if begin == 0 else memoryview(buffer)[begin:]
    segments, repairs = read_segments(own, where, encoding)
    after, problem = sets.following(segments, begin, buffer)
    end = after if after is not None else len(buffer)
    segments = replace(segments, size=end - begin)
    layouts, layout_repairs = parse_layouts(segments.keywords, where)
    layout, span, span_repairs = find_data(segments, layouts, lambda one, place: is_plausible(own, one, place))
    if span.n_events == 0:
        refuse_unannounced(segments, layout, own)
    analysis, analysis_repairs = read_analysis(own, segments, encoding)
    whole = DataSpan(begin + span.begin, begin + span.end, span.n_events) if span.n_events else span
    _refuse_damage(buffer, layout, whole, where)
    last = begin + segments.last_byte(span.end)
    spillover, spillover_repairs = parse_spillover(segments.keywords, layout.channels, where)
    found = FcsFile(
        path=opened.path,
        version=segments.header.version,
        keywords=segments.keywords,
        layout=layout,
        data=whole,
        stamp=opened.stamp,
        spillover=spillover,
        repairs=(
            *repairs,
            *layout_repairs,
            *span_repairs,
            *byte_repairs(buffer, layout, whole, where),
            *trailing_repairs(buffer, (begin, last, end), where),
            *analysis_repairs,
            *spillover_repairs,
            *([] if span.n_events else [Repair(where, "no-events", "the data set holds no events")]),
        ),
        analysis=analysis,
        dataset=number,
    )
    return found, after, problem


def _refuse_damage(buffer: Buffer, layout: Layout, whole: DataSpan, where: str) -> None:
    if whole.n_events == 0:
        return
    refuse_unfilled(buffer, whole.begin, whole.end, layout.record or 1, where)
    if layout.kind == "A":  # only reading them all tells whether the digits are there
        _ = FcsEvents(where, layout, buffer, whole.begin, whole.end, whole.n_events).digits
