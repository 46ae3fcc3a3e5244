"""Where DATA lies: the span that HEADER or TEXT names and whose length fits the events."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from aqp4flow.errors import FcsError
from aqp4flow.fcs.events import Buffer
from aqp4flow.fcs.layout import Layout
from aqp4flow.fcs.segments import Segments
from aqp4flow.fcs.text import Span, whole_number
from aqp4flow.model import Repair

_AGAIN = "export the file again"


@dataclass(frozen=True)
class DataSpan:
    """First byte of DATA, one past its last, both from the data set's first byte, and the number of events."""

    begin: int
    end: int
    n_events: int


def find_data(
    segments: Segments, layouts: Sequence[Layout], plausible: Callable[[Layout, DataSpan], bool]
) -> tuple[Layout, DataSpan, list[Repair]]:
    """The layout and span that agree with $TOT; HEADER before TEXT where both do and `plausible` cannot tell.

    Raises FcsError when no span holds the events that $TOT promises.
    """
    total = segments.total()
    if total == 0:
        return layouts[0], DataSpan(0, 0, 0), []
    if total is None:
        return _without_total(segments, layouts)
    if layouts[0].record == 0:
        return layouts[0], *_delimited(segments, total)
    for spare in (0, 1):  # an end one too high is common, but what fits to the byte comes first
        for layout in layouts:
            found = _exact(segments, layout, total, spare, plausible)
            if found:
                return layout, *found
    if not all(layout.exact_bits for layout in layouts):
        bits = ", ".join(sorted({str(channel.bits) for channel in layouts[0].channels}))
        raise FcsError(
            segments.where,
            f"values of {bits} bits, and the length of DATA fits neither bytes nor words",
            "bit-packed integers are not read; export as FCS 3.1",
        )
    return layouts[0], *_derived(segments, layouts[0], total)


def refuse_unannounced(segments: Segments, layout: Layout, own: Buffer) -> None:
    """No events promised, and yet a span that holds some: which of the two is true the file does not say.

    A place that was left in and holds padding is none.
    """
    for begin, end in segments.spans().values():
        count = (min(end + 1, segments.size) - begin) // (layout.record or 1)
        if count > 0 and segments.holds(begin, end + 1) and bytes(own[begin : end + 1]).strip(b"\0 "):
            what = f"$TOT is 0, and the place of DATA ({begin}-{end}) holds {count} events"
            raise FcsError(segments.where, what, "the file contradicts itself; export it again")


def expected_data(segments: Segments, layouts: Sequence[Layout]) -> DataSpan | None:
    """Where DATA should lie, whether or not the file is that long; None where the structure does not tell."""
    spans, total = list(segments.spans().values()), segments.total()
    if total == 0 or not spans:
        return None
    begin, last = spans[0]
    if total is None or layouts[0].record == 0:
        return DataSpan(begin, last + 1 if last < segments.size else last, total or 0)
    exact = [
        DataSpan(first, first + total * layout.record, total)
        for layout in layouts
        for first, end in spans
        if end - first + 1 - total * layout.record in (0, 1)
    ]
    arrived = [span for span in exact if segments.holds(span.begin, span.end)]
    needed = total * layouts[0].record
    open_ended = [DataSpan(first, first + needed, total) for first, end in spans if end in (0, first)]
    return next(iter([*arrived, *exact, *open_ended]), DataSpan(begin, last + 1, total))


def _delimited(segments: Segments, total: int) -> tuple[DataSpan, list[Repair]]:
    """Digits of free width: the span cannot be checked against $TOT before they are read."""
    for begin, end in segments.spans().values():
        if end > begin and segments.holds(begin, end + 1):
            return DataSpan(begin, end + 1, total), []
    raise FcsError(segments.where, "neither HEADER nor TEXT says where DATA lies", _AGAIN)


def _exact(
    segments: Segments, layout: Layout, total: int, spare: int, plausible: Callable[[Layout, DataSpan], bool]
) -> tuple[DataSpan, list[Repair]] | None:
    needed = total * layout.record
    spans = segments.spans()
    if not any(_fits(span, needed, segments, (spare,)) for span in spans.values()):
        return None
    fits = {name: span for name, span in spans.items() if _fits(span, needed, segments)}
    name = next(iter(fits))
    if len({span[0] for span in fits.values()}) > 1:
        likely = [n for n, (begin, _) in fits.items() if plausible(layout, DataSpan(begin, begin + needed, total))]
        name = likely[0] if likely else name
    begin, end = fits[name]
    if end - begin == needed:
        _refuse_begin_too_low(segments, layout, DataSpan(begin, begin + needed, total), plausible)
    return DataSpan(begin, begin + needed, total), _remarks(name, (begin, end), spans, needed, segments.where)


def _refuse_begin_too_low(
    segments: Segments, layout: Layout, span: DataSpan, plausible: Callable[[Layout, DataSpan], bool]
) -> None:
    """One byte too many: as a rule behind the last event, but the values may show that it lies before the first."""
    later = replace(span, begin=span.begin + 1, end=span.end + 1)
    if segments.holds(later.begin, later.end) and not plausible(layout, span) and plausible(layout, later):
        what = f"DATA have one byte too many, and make sense only from byte {later.begin}, not from {span.begin}"
        raise FcsError(segments.where, what, "the file contradicts itself; export it again")


def _fits(span: Span, needed: int, segments: Segments, spare: tuple[int, ...] = (0, 1)) -> bool:
    """Exactly long enough, or with an end one too high, as many writers leave it; and not inside TEXT."""
    begin, end = span
    return end - begin + 1 - needed in spare and segments.holds(begin, begin + needed)


def _remarks(name: str, chosen: Span, spans: Mapping[str, Span], needed: int, where: str) -> list[Repair]:
    remarks = []
    if chosen[1] - chosen[0] + 1 != needed:
        remarks.append(Repair(where, "data-end-off-by-one", "the end of DATA is one byte too high"))
    if any(span[0] != chosen[0] for span in spans.values()):
        message = f"HEADER and TEXT name different spans for DATA; {name}'s, from byte {chosen[0]}, fits $TOT"
        remarks.append(Repair(where, "data-offsets-differ", message))
    elif any(abs(span[1] - chosen[1]) > 1 for span in spans.values()):
        message = f"HEADER and TEXT name different ends for DATA; {name}'s fits $TOT"
        remarks.append(Repair(where, "data-offsets-differ", message))
    return remarks


def _derived(segments: Segments, layout: Layout, total: int) -> tuple[DataSpan, list[Repair]]:
    """No named span fits. An end never filled in is derived from $TOT; too long a DATA is cut to $TOT; else refused."""
    where, record, size = segments.where, layout.record, segments.size
    spans = segments.spans()
    if not spans:
        raise FcsError(where, "neither HEADER nor TEXT says where DATA lies", _AGAIN)
    open_ended = {begin for begin, end in spans.values() if end in (0, begin)}
    if len(open_ended) == 1:
        begin = open_ended.pop()
        span = DataSpan(begin, begin + total * record, total)
        if segments.holds(begin, span.end):
            message = f"the end of DATA is not given; derived from $TOT ({total} events)"
            return span, [Repair(where, "data-end-derived", message)]
    begin, end = next(iter(spans.values()))
    if end < begin:
        raise FcsError(where, f"DATA is said to end at byte {end}, before it begins at {begin}", _AGAIN)
    if begin <= segments.header.text[1] and end >= segments.header.text[0]:
        raise FcsError(where, f"DATA is said to lie at {begin}-{end}, inside TEXT", _AGAIN)
    length = end - begin + 1
    if end < size and length != total * record and _could_be_an_event(length / total, layout):
        raise FcsError(
            where,
            f"DATA has {length // total} bytes an event ($TOT is {total}), $PnB add up to {record}",
            "the file contradicts itself; export it again",
        )
    present = max(0, min(end + 1, size) - begin) // record
    if present < total:
        raise FcsError(
            where,
            f"DATA holds {present} whole events of the {total} that $TOT promises",
            "the copy is cut short; export or copy the file again",
        )
    if end < size and length % record == 0 and len(set(spans.values())) == 1 and not _further_channels(segments):
        message = f"DATA holds {length // record} events, $TOT says {total}; the first {total} are read"
        return DataSpan(begin, begin + total * record, total), [Repair(where, "tot-too-small", message)]
    raise FcsError(
        where,
        f"DATA has {length} bytes, $TOT x event width is {total} x {record} = {total * record}",
        "the file contradicts itself; export it again",
    )


def _could_be_an_event(n_bytes: float, layout: Layout) -> bool:
    """Whether an event could take so many bytes, were $PnB, $PAR or the type other than TEXT says."""
    unit = 1 if any(slot.kind == "I" for slot in layout.slots) else 4
    return n_bytes % unit == 0


def _further_channels(segments: Segments) -> bool:
    """Whether TEXT describes more channels than $PAR: then the width of an event is in doubt."""
    following = whole_number(segments.keywords, "$PAR", segments.where) + 1
    return f"$P{following}B" in segments.keywords


def _without_total(segments: Segments, layouts: Sequence[Layout]) -> tuple[Layout, DataSpan, list[Repair]]:
    """FCS 2.0 lets $TOT be absent: the length of DATA then says how many events there are."""
    spans = segments.spans()
    begins, ends = zip(*spans.values(), strict=True) if spans else ((), ())
    if len(set(begins)) > 1 or (ends and max(ends) - min(ends) > 1):
        raise FcsError(segments.where, "$TOT is absent, and HEADER and TEXT place DATA differently", _AGAIN)
    for begin, end in spans.values():
        length = end + 1 - begin
        fitting = [layout for layout in layouts if layout.record and length % layout.record in (0, 1)]
        count = length // fitting[0].record if len(fitting) == 1 else 0
        if count > 0 and segments.holds(begin, begin + count * fitting[0].record):
            record = fitting[0].record
            message = f"$TOT is absent; {count} events from the length of DATA"
            allowed = segments.header.version == "FCS2.0"
            repairs = [] if allowed else [Repair(segments.where, "tot-derived", message)]
            return fitting[0], DataSpan(begin, begin + count * record, count), repairs
    raise FcsError(segments.where, "$TOT is absent and the length of DATA does not tell", _AGAIN)
