"""HEADER and TEXT: from bytes to keywords.

Sources: FCS 2.0 (Cytometry 1990;11:323), FCS 3.0 (1997), FCS 3.1 (Cytometry A 2010;77:97), FCS 3.2 (2020).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from aqp4flow.errors import FcsError, IncompleteError, listed
from aqp4flow.fcs.encoding import decode
from aqp4flow.model import Repair

HEADER_LENGTH = 58
VERSIONS = ("FCS2.0", "FCS3.0", "FCS3.1", "FCS3.2")
Span = tuple[int, int]  # first and last byte, both included; (0, 0) when HEADER leaves it open

#: Keywords without which no byte of DATA can be understood.
_INDISPENSABLE = ("$PAR", "$DATATYPE", "$BYTEORD")
#: Keywords that must not be given twice with different values: they decide what the bytes mean, or whose they are.
_DECIDING = re.compile(
    r"\$(P\d+(B|N|E|R|G|DATATYPE)|TOT|MODE|NEXTDATA|TIMESTEP|WELLID|(BEGIN|END)(DATA|STEXT)|SPILLOVER)"
    r"|SPILL(OVER)?|WELL ID"
)
#: What a value never is: a name that decides what DATA mean. One of them shows that names and values changed places.
_NAME_LIKE = re.compile(
    r"\$(P\d+[BNSERGV]|PAR|TOT|DATATYPE|BYTEORD|MODE|NEXTDATA|TIMESTEP|(BEGIN|END)(DATA|STEXT|ANALYSIS)|COMP"
    r"|DFC\d+TO\d+|SPILLOVER)",
    re.IGNORECASE,
)
_MATRIX_NAME = re.compile(r"SPILL(OVER)?", re.IGNORECASE)  # a tube may be called so: what follows tells
_MATRIX = re.compile(r"\d+\s*,")
_CALLED = re.compile(r"\$P(\d{1,4})[NS]", re.ASCII)
_AMONG_CHANNELS = re.compile(r"[$#@&]|GTI\$|(P|LASER)\d+[A-Z]|TIMETICKS", re.ASCII)  # keywords of vendors
PADDING = " \0\r\n\t"  # what writers leave around values


@dataclass(frozen=True)
class Header:
    """The first 58 bytes of a data set: version and where its segments lie, from the set's own first byte."""

    version: str
    text: Span
    data: Span
    analysis: Span
    repairs: tuple[Repair, ...] = ()


def parse_header(head: bytes, where: str) -> Header:
    """Read HEADER; raises FcsError when the bytes are not those of an FCS file."""
    _require_fcs(head, where)
    version = head[:6].decode("latin-1")
    if version not in VERSIONS:
        raise FcsError(where, f"version {version!r} is not one of {', '.join(VERSIONS)}", "export as FCS 3.1")
    if len(head) < HEADER_LENGTH:
        raise FcsError(where, f"HEADER has {len(head)} bytes of {HEADER_LENGTH}", "the copy is cut short")
    fields = [head[start : start + 8] for start in range(10, 58, 8)]
    begin, end, *rest = (_offset(field) for field in fields)
    if begin is None or end is None or not HEADER_LENGTH <= begin < end:
        raise FcsError(where, "HEADER does not say where TEXT lies", "export the file again")
    repairs = []
    if not (fields[2].strip(b" \0") and fields[3].strip(b" \0")):
        repairs.append(Repair(where, "header-offsets-blank", "HEADER leaves the place of DATA blank"))
    elif rest[0] is None or rest[1] is None:
        shown = (fields[2] + fields[3]).decode("latin-1").strip()
        repairs.append(Repair(where, "header-offsets-unreadable", f"HEADER's place of DATA is {shown!r}; not used"))
    data = (rest[0] or 0, rest[1] or 0)
    analysis = (rest[2] or 0, rest[3] if rest[3] is not None else -1)
    return Header(version, (begin, end), data, analysis, tuple(repairs))


def _require_fcs(head: bytes, where: str) -> None:
    if not head:
        raise FcsError(where, "the file is empty", "it may still be copying; export or copy it again")
    if head[:3] == b"FCS":
        return
    if not any(head):
        raise IncompleteError(where, "the file begins with nothing but zero bytes")
    begins = head[:12].decode("latin-1")
    raise FcsError(
        where,
        f"not an FCS file: it begins with {begins!r}, not 'FCS'",
        "export the well from the cytometer as FCS; a table or workspace does not hold events",
    )


def _offset(field: bytes) -> int | None:
    digits = field.strip(b" \0")
    if not digits:
        return 0
    return int(digits) if digits.isdigit() else None


def parse_text(segment: bytes, where: str, encoding: str = "auto") -> tuple[dict[str, str], list[Repair]]:
    """Keywords of a TEXT segment, names in capitals and without padding, values as written.

    Raises FcsError when keywords and values cannot be told apart, or one that decides what DATA means is missing.
    """
    keywords, repairs = parse_pairs(segment, where, encoding)
    for key in _INDISPENSABLE:
        if key not in keywords:
            raise FcsError(
                where,
                f"the required keyword {key} is missing from TEXT",
                "the file is damaged or not list-mode data; export it again",
            )
    return keywords, repairs + _split_names(list(keywords), where)


def _split_names(keys: Sequence[str], where: str) -> list[Repair]:
    """Keywords among those of the channels that look like the rest of a channel's name or stain.

    Delimiters inside a value that add up to pairs end it early and leave the later keywords in step.
    """
    return [
        Repair(
            where, "text-value-split", f"{odd!r} follows {name}: its value may have held the delimiter and be longer"
        )
        for name, odd, following in zip(keys, keys[1:], keys[2:], strict=False)
        if (called := _CALLED.fullmatch(name))
        and following.startswith((f"$P{called[1]}", f"$P{int(called[1]) + 1}"))
        and not _AMONG_CHANNELS.match(odd)
    ]


def parse_pairs(segment: bytes, where: str, encoding: str = "auto") -> tuple[dict[str, str], list[Repair]]:
    """Keywords of a segment in the form of TEXT, none of them demanded."""
    if len(segment) < 2:
        raise FcsError(where, "TEXT is empty", "the copy is cut short; export or copy the file again")
    if not 0 < segment[0] < 0x7F:
        raise FcsError(
            where,
            f"TEXT begins with byte {segment[0]:#04x}, which cannot be its delimiter",
            "the file is damaged; export or copy it again",
        )
    text, repairs = decode(segment, encoding, where)
    pairs = _pairs(text, where, repairs)
    _refuse_exchanged(pairs, where)
    return _collect(pairs, where, repairs), repairs


def parse_further(segment: bytes, delimiter: int, where: str, encoding: str) -> tuple[dict[str, str], list[Repair]]:
    """Keywords of supplemental TEXT or ANALYSIS; raises FcsError also where the bytes are not those of a text."""
    if segment[:1] != bytes([delimiter]) or b"\0" in segment.rstrip(b"\0"):
        raise FcsError(where, "it is not in the form of keywords and values")
    return parse_pairs(segment, where, encoding)


def _pairs(text: str, where: str, repairs: list[Repair]) -> list[tuple[str, str]]:
    delimiter = text[0]
    padding = PADDING.replace(delimiter, "")
    body = text[1:].rstrip(padding)
    if not body.endswith(delimiter):
        repairs.append(Repair(where, "text-unterminated", "TEXT does not end with its delimiter"))
    if delimiter * 2 in body:
        tokens, empty = _tokens(body, delimiter)
    else:
        tokens, empty = body.removesuffix(delimiter).split(delimiter), []
    if empty:
        message = f"TEXT gives no value for {listed(empty)} (doubled delimiters); taken as empty"
        repairs.append(Repair(where, "text-empty-values", message))
    if len(tokens) % 2:
        leftover = tokens.pop()
        if leftover.strip(padding):
            message = f"TEXT ends with {leftover[:40]!r}, a keyword without a value; not used"
            repairs.append(Repair(where, "text-last-keyword-without-value", message))
    pairs = list(zip(tokens[::2], tokens[1::2], strict=True))
    padded = [key.strip() for key, _ in pairs if key != key.strip()]
    if padded:
        repairs.append(Repair(where, "text-padded-keywords", f"blanks around the names {listed(padded)}; ignored"))
    return [(key.strip().upper(), value) for key, value in pairs]


def _tokens(body: str, delimiter: str) -> tuple[list[str], list[str]]:
    """Keywords and values in turn, and the keywords whose value is empty.

    A doubled delimiter inside a value stands for one (FCS 3.1, 3.2.4); after a keyword it can only mean an
    empty value, which writers leave although the standard forbids it. So a run of delimiters after a keyword is
    one that separates, then pairs that stand for themselves, then, in an even run, one that ends the value; after
    a value an odd run ends it and an even one belongs to it.
    """
    tokens: list[str] = []
    empty: list[str] = []
    value: str | None = None  # None while a keyword is awaited
    for text, run in _texts_and_runs(body, delimiter):
        if value is None:
            tokens.append(text)
            if run == 0:
                break
            value = delimiter * ((run - 1) // 2)
            if run % 2 == 0:
                tokens.append(value)
                if not value:
                    empty.append(text.strip())
                value = None
        else:
            value += text + delimiter * (run // 2)
            if run % 2 or run == 0:
                tokens.append(value)
                value = None
    if value is not None:
        tokens.append(value.removesuffix(delimiter))
    return tokens, empty


def _texts_and_runs(body: str, delimiter: str) -> Iterator[tuple[str, int]]:
    """Each stretch of text with the number of delimiters that follow it."""
    for match in re.finditer(f"([^{re.escape(delimiter)}]+)({re.escape(delimiter)}*)", body):
        yield match[1], len(match[2])


def _refuse_exchanged(pairs: Sequence[tuple[str, str]], where: str) -> None:
    """An unescaped delimiter inside a value moves every later name into the place of a value: refuse."""
    exchanged = [value.strip() for _, value in pairs if _NAME_LIKE.fullmatch(value.strip())]
    exchanged += [
        value.strip()
        for (_, value), (following, _) in pairwise(pairs)
        if _MATRIX_NAME.fullmatch(value.strip()) and _MATRIX.match(following)
    ]
    if exchanged:
        raise FcsError(
            where,
            f"TEXT gives {listed(exchanged, 2)} as a value: names and values have changed places",
            "a value holds the delimiter; take it out of the experiment's texts and export again",
        )


def _collect(pairs: Sequence[tuple[str, str]], where: str, repairs: list[Repair]) -> dict[str, str]:
    keywords: dict[str, str] = {}
    twice: list[str] = []
    for key, value in pairs:
        if key not in keywords:
            keywords[key] = value
            continue
        if keywords[key].strip() != value.strip() and (_DECIDING.fullmatch(key) or key in _INDISPENSABLE):
            what = f"{key} stands twice in TEXT: {keywords[key][:40]!r} and {value[:40]!r}"
            raise FcsError(where, what, "export it again")
        twice.append(key)
    if twice:
        repairs.append(Repair(where, "keyword-twice", f"{listed(twice)} given twice; the first value is kept"))
    return keywords


def merge_supplement(
    keywords: dict[str, str], supplement: Mapping[str, str], where: str
) -> tuple[dict[str, str], list[Repair]]:
    """Primary and supplemental TEXT as one; where they differ the primary one is kept, and it is said."""
    differing = sorted(key for key in supplement.keys() & keywords.keys() if supplement[key] != keywords[key])
    repairs = []
    if differing:
        message = f"supplemental TEXT gives {listed(differing)} another value; the primary one is kept"
        repairs.append(Repair(where, "stext-differs", message))
    return {**supplement, **keywords}, repairs


def whole_number(keywords: Mapping[str, str], key: str, where: str) -> int:
    """A keyword's value as a whole number; raises FcsError naming the keyword when it is not one."""
    if key not in keywords:
        raise FcsError(where, f"the required keyword {key} is missing from TEXT", "export the file again")
    value = keywords[key].strip(PADDING)
    if not (value.isascii() and value.isdigit()) or len(value) > 20:
        raise FcsError(where, f"{key} is {value[:40]!r}, not a whole number", "export the file again")
    return int(value)
