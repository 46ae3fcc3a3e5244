"""Where DATA lies: the span that HEADER or TEXT names and whose length fits the events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aqp4flow.errors import FcsError
from aqp4flow.fcs.text import Header, Span, whole_number
from aqp4flow.model import Repair


@dataclass(frozen=True)
class DataSpan:
    """First byte of DATA and the number of events from there."""

    begin: int
    n_events: int


def find_data(
    header: Header, keywords: Mapping[str, str], record: int, file_size: int, where: str
) -> tuple[DataSpan, list[Repair]]:
    """The span whose length is $TOT times the record; HEADER before TEXT where both fit.

    Raises FcsError when no span holds the events that $TOT promises.
    """
    spans = _candidates(header, keywords)
    total = whole_number(keywords, "$TOT", where) if keywords.get("$TOT", "").strip() else None
    if total is None:
        return _without_total(spans, record, file_size, where)
    if total == 0:
        return DataSpan(0, 0), []
    fits = {name: span for name, span in spans.items() if _fits(span, total * record, file_size)}
    if not fits:
        return _derived(spans, total, record, file_size, where)
    name, (begin, end) = next(iter(fits.items()))
    return DataSpan(begin, total), _remarks(name, (begin, end), spans, total * record, where)


def _candidates(header: Header, keywords: Mapping[str, str]) -> dict[str, Span]:
    spans = {"HEADER": header.data}
    text = tuple(keywords.get(key, "").strip() for key in ("$BEGINDATA", "$ENDDATA"))
    if all(value.isdigit() for value in text):
        spans["TEXT"] = (int(text[0]), int(text[1]))
    return {name: span for name, span in spans.items() if span[0] > 0}


def _fits(span: Span, needed: int, file_size: int) -> bool:
    """Exactly long enough, or with an end one too high, as many writers leave it."""
    begin, end = span
    return end - begin + 1 - needed in (0, 1) and begin + needed <= file_size


def _remarks(name: str, chosen: Span, spans: dict[str, Span], needed: int, where: str) -> list[Repair]:
    remarks = []
    if chosen[1] - chosen[0] + 1 != needed:
        remarks.append(Repair(where, "data-end-off-by-one", "the end of DATA is one byte too high"))
    others = {span for span in spans.values() if span[0] != chosen[0]}
    if others:
        message = f"HEADER and TEXT name different spans for DATA; {name}'s {chosen} fits $TOT"
        remarks.append(Repair(where, "data-offsets-differ", message))
    return remarks


def _derived(
    spans: dict[str, Span], total: int, record: int, file_size: int, where: str
) -> tuple[DataSpan, list[Repair]]:
    """No named span fits. An end that was never filled in is derived from $TOT; anything else is refused."""
    open_ended = {begin for begin, end in spans.values() if end in (0, begin)}
    if len(open_ended) == 1:
        begin = open_ended.pop()
        if begin + total * record <= file_size:
            message = f"the end of DATA is not given; derived from $TOT ({total} events)"
            return DataSpan(begin, total), [Repair(where, "data-end-derived", message)]
    if not spans:
        raise FcsError(where, "neither HEADER nor TEXT says where DATA lies", "export the file again")
    begin, end = next(iter(spans.values()))
    present = max(0, min(end + 1, file_size) - begin) // record
    if present < total:
        raise FcsError(
            where,
            f"DATA holds {present} whole events of the {total} that $TOT promises",
            "the copy is cut short; export or copy the file again",
        )
    raise FcsError(
        where,
        f"DATA has {end - begin + 1} bytes, $TOT x event width is {total} x {record} = {total * record}",
        "the file contradicts itself; export it again",
    )


def _without_total(spans: dict[str, Span], record: int, file_size: int, where: str) -> tuple[DataSpan, list[Repair]]:
    """FCS 2.0 lets $TOT be absent: the length of DATA then says how many events there are."""
    for begin, end in spans.values():
        length = min(end + 1, file_size) - begin
        if end < file_size and length > 0 and length % record in (0, 1):
            message = f"$TOT is absent; {length // record} events from the length of DATA"
            return DataSpan(begin, length // record), [Repair(where, "tot-derived", message)]
    raise FcsError(where, "$TOT is absent and the length of DATA does not tell", "export the file again")
