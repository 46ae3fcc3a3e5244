"""HEADER, TEXT, supplemental TEXT and ANALYSIS of one data set: what they say, and where they say that things lie."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from aqp4flow.errors import FcsError, IncompleteError
from aqp4flow.fcs.events import Buffer
from aqp4flow.fcs.text import (
    HEADER_LENGTH,
    Header,
    Span,
    merge_supplement,
    parse_further,
    parse_header,
    parse_text,
    whole_number,
)
from aqp4flow.model import Repair

_UNFILLED = bytes(32)  # so many zero bytes in a row stand in no text
NOWHERE = (0, 0)


@dataclass(frozen=True)
class Segments:
    """What is known of where things lie in a data set of `size` bytes, counted from its own first byte."""

    header: Header
    keywords: Mapping[str, str]
    size: int
    where: str

    def spans(self) -> dict[str, Span]:
        """The places of DATA that are named: HEADER's, then TEXT's."""
        spans = {"HEADER": self.header.data}
        numbers = [_place(self.keywords.get(key, "")) for key in ("$BEGINDATA", "$ENDDATA")]
        if numbers[0] is not None and numbers[1] is not None:
            spans["TEXT"] = (numbers[0], numbers[1])
        return {name: span for name, span in spans.items() if span[0] > 0}

    def holds(self, begin: int, end: int) -> bool:
        """Whether bytes from `begin` up to `end` lie in the data set and outside its HEADER and TEXT."""
        first, last = self.header.text
        return begin >= HEADER_LENGTH and end <= self.size and (begin > last or end <= first)

    def place(self, key: str) -> int:
        """An offset keyword's value, 0 where it gives none."""
        return _place(self.keywords.get(key, "")) or 0

    def supplement(self) -> Span:
        """The place of supplemental TEXT; NOWHERE where there is none, or the primary TEXT is named again (Accuri)."""
        begin, end = self.place("$BEGINSTEXT"), self.place("$ENDSTEXT")
        first, last = self.header.text
        apart = begin > last or end < first
        return (begin, end) if 0 < begin < end and apart else NOWHERE

    def analysis(self) -> Span:
        """The place of ANALYSIS: HEADER's, or TEXT's where HEADER leaves it open."""
        if self.header.analysis != NOWHERE:
            return self.header.analysis
        return self.place("$BEGINANALYSIS"), self.place("$ENDANALYSIS")

    def total(self) -> int | None:
        """$TOT, or None where it is absent."""
        if not self.keywords.get("$TOT", "").strip():
            return None
        return whole_number(self.keywords, "$TOT", self.where)

    def last_byte(self, data_end: int) -> int:
        """One past the last byte that some segment accounts for; `data_end` is one past that of DATA."""
        ends = [HEADER_LENGTH, self.header.text[1] + 1, data_end, self.header.analysis[1] + 1]
        ends += [self.place(key) + 1 for key in ("$ENDDATA", "$ENDSTEXT", "$ENDANALYSIS")]
        return max(end for end in ends if end <= self.size)


def _place(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else None


def read_segments(own: Buffer, where: str, encoding: str = "auto") -> tuple[Segments, list[Repair]]:
    """HEADER and TEXT of the data set whose bytes are `own`, supplemental TEXT merged in.

    Raises FcsError where they cannot be understood, IncompleteError where they have not all arrived.
    """
    header = parse_header(bytes(own[:HEADER_LENGTH]), where)
    begin, end = header.text
    remarks = list(header.repairs)
    if header.data[0] == end:
        header = replace(header, text=(begin, end - 1))
        remarks.append(Repair(where, "text-end-off-by-one", "the end of TEXT is the first byte of DATA"))
    segment = _text(own, header.text, where)
    _refuse_text_that_goes_on(own, segment, header, where)
    keywords, repairs = parse_text(segment, where, encoding)
    segments = Segments(header, keywords, len(own), where)
    merged, more = _with_supplement(own, segments, encoding)
    return replace(segments, keywords=merged), [*remarks, *repairs, *more]


def _text(own: Buffer, span: Span, where: str) -> bytes:
    begin, end = span
    if end >= len(own):
        raise FcsError(
            where,
            f"TEXT should end at byte {end}, but the file has {len(own)}",
            "the copy is cut short; export or copy the file again",
        )
    segment = bytes(own[begin : end + 1])
    text = segment.rstrip(b"\0")
    padded = text.endswith(segment[:1])  # zeros behind the last delimiter are padding
    if _UNFILLED in text or (segment.endswith(_UNFILLED) and not padded):
        raise IncompleteError(where, "a stretch of TEXT is nothing but zero bytes")
    return segment


def _refuse_text_that_goes_on(own: Buffer, segment: bytes, header: Header, where: str) -> None:
    """TEXT without its last delimiter, and letters right behind it: its end is too low, and a value may be cut."""
    behind = header.text[1] + 1
    if segment.rstrip(b" \0\r\n\t").endswith(segment[:1]) or behind in (header.data[0], len(own)):
        return
    following = own[behind]
    if 0x21 <= following < 0x7F and following != segment[0]:
        what = f"HEADER ends TEXT at byte {header.text[1]}, in the middle of a value"
        raise FcsError(where, what, "the file contradicts itself; export it again")


def _with_supplement(own: Buffer, segments: Segments, encoding: str) -> tuple[dict[str, str], list[Repair]]:
    """Keywords of the supplemental TEXT beside the primary ones."""
    keywords, where = dict(segments.keywords), segments.where
    begin, end = segments.supplement()
    if (begin, end) == NOWHERE:
        return keywords, []
    if end > segments.size:
        message = f"supplemental TEXT is said to lie at {begin}-{end} of {segments.size} bytes; not used"
        return keywords, [Repair(where, "stext-unreadable", message)]
    if not any(own[begin : end + 1]):
        raise IncompleteError(where, f"supplemental TEXT at {begin}-{end} is nothing but zero bytes")
    try:
        supplement, repairs = _further(own, (begin, end), segments, encoding)
    except FcsError as error:
        return keywords, [Repair(where, "stext-unreadable", f"supplemental TEXT is not used: {error.what}")]
    merged, more = merge_supplement(keywords, supplement, where)
    return merged, repairs + more


def read_analysis(own: Buffer, segments: Segments, encoding: str) -> tuple[dict[str, str], list[Repair]]:
    """ANALYSIS, in the form of TEXT; where its place makes no sense it is left out, and that is said."""
    where = segments.where
    begin, end = segments.analysis()
    if begin == 0 and end in (0, -1):
        odd = end == -1
        return {}, [Repair(where, "analysis-unreadable", "HEADER's place of ANALYSIS is no place")] if odd else []
    if begin > 0 and end == begin - 1:  # no bytes
        return {}, []
    if not 0 < begin < end <= segments.size:
        message = f"ANALYSIS is said to lie at {begin}-{end} of {segments.size} bytes; not used"
        return {}, [Repair(where, "analysis-unreadable", message)]
    try:
        return _further(own, (begin, end), segments, encoding)
    except FcsError as error:
        return {}, [Repair(where, "analysis-unreadable", f"ANALYSIS is not used: {error.what}")]


def _further(own: Buffer, span: Span, segments: Segments, encoding: str) -> tuple[dict[str, str], list[Repair]]:
    """Keywords of a segment beside TEXT; its end may be one too high."""
    segment = bytes(own[span[0] : span[1] + 1])
    return parse_further(segment, own[segments.header.text[0]], segments.where, encoding)
