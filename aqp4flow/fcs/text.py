"""HEADER and TEXT: from bytes to keywords.

Sources: FCS 2.0 (Cytometry 1990;11:323), FCS 3.0 (1997), FCS 3.1 (Cytometry A 2010;77:97).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aqp4flow.errors import FcsError
from aqp4flow.model import Repair

HEADER_LENGTH = 58
VERSIONS = ("FCS2.0", "FCS3.0", "FCS3.1", "FCS3.2")
Span = tuple[int, int]  # first and last byte, both included; (0, 0) when HEADER leaves it open

#: Keywords without which no byte of DATA can be understood.
_INDISPENSABLE = ("$PAR", "$DATATYPE", "$BYTEORD")


@dataclass(frozen=True)
class Header:
    """The first 58 bytes: version and where TEXT and DATA lie."""

    version: str
    text: Span
    data: Span


def parse_header(head: bytes, where: str) -> Header:
    """Read HEADER; raises FcsError when the bytes are not those of an FCS file."""
    if not head:
        raise FcsError(where, "the file is empty", "it may still be copying; export or copy it again")
    if head[:3] != b"FCS":
        begins = head[:12].decode("latin-1")
        raise FcsError(
            where,
            f"not an FCS file: it begins with {begins!r}, not 'FCS'",
            "export the well from the cytometer as FCS; a table or workspace does not hold events",
        )
    version = head[:6].decode("latin-1")
    if version not in VERSIONS:
        raise FcsError(where, f"version {version!r} is not one of {', '.join(VERSIONS)}", "export as FCS 3.1")
    if len(head) < HEADER_LENGTH:
        raise FcsError(where, f"HEADER has {len(head)} bytes of {HEADER_LENGTH}", "the copy is cut short")
    numbers = [_offset(head[start : start + 8]) for start in range(10, 42, 8)]
    begin, end = numbers[0], numbers[1]
    if begin is None or end is None or not HEADER_LENGTH <= begin < end:
        raise FcsError(where, "HEADER does not say where TEXT lies", "export the file again")
    return Header(version, (begin, end), (numbers[2] or 0, numbers[3] or 0))


def _offset(field: bytes) -> int | None:
    digits = field.strip(b" \0")
    if not digits:
        return 0
    return int(digits) if digits.isdigit() else None


def parse_text(segment: bytes, where: str) -> tuple[dict[str, str], list[Repair]]:
    """Keywords of a TEXT segment, names in capitals and without padding, values as written.

    A doubled delimiter stands for the delimiter itself, but some writers mean an empty value; the reading
    in which no keyword's name holds the delimiter is taken. Raises FcsError when neither reading gives pairs.
    """
    repairs: list[Repair] = []
    text = _decode(segment, where, repairs)
    delimiter, body = text[0], text[1:].rstrip("\0")
    escaped = _pairs(_split_escaped(body, delimiter))
    if escaped is not None and not any(delimiter in key for key, _ in escaped):
        chosen = escaped
    else:
        chosen = _pairs(_split_plain(body, delimiter)) or []
        if chosen:
            repairs.append(Repair(where, "text-empty-values", "TEXT holds empty values as doubled delimiters"))
    keywords = _collect(chosen, where, repairs)
    missing = [key for key in _INDISPENSABLE if key not in keywords]
    if missing:
        raise FcsError(
            where,
            f"the required keyword {missing[0]} is missing from TEXT",
            "the file is damaged or not list-mode data; export it again",
        )
    return keywords, repairs


def _decode(segment: bytes, where: str, repairs: list[Repair]) -> str:
    if len(segment) < 2:
        raise FcsError(where, "TEXT is empty", "the copy is cut short; export or copy the file again")
    try:
        return segment.decode("utf-8")
    except UnicodeDecodeError:
        repairs.append(Repair(where, "text-latin-1", "TEXT is not UTF-8; read as Latin-1"))
        return segment.decode("latin-1")


def _split_escaped(body: str, delimiter: str) -> list[str]:
    """Tokens between single delimiters; a doubled delimiter becomes one character of the token."""
    hidden = "\x00\x00"
    tokens = body.replace(delimiter * 2, hidden).split(delimiter)
    return [token.replace(hidden, delimiter) for token in tokens]


def _split_plain(body: str, delimiter: str) -> list[str]:
    return body.split(delimiter)


def _pairs(tokens: list[str]) -> list[tuple[str, str]] | None:
    """Tokens two by two; None when one is left over. What follows the last delimiter must be blank or a value."""
    if len(tokens) % 2 and not tokens[-1].strip():
        tokens = tokens[:-1]
    if len(tokens) % 2:
        return None
    return [(key.strip().upper(), value) for key, value in zip(tokens[::2], tokens[1::2], strict=True)]


def _collect(pairs: list[tuple[str, str]], where: str, repairs: list[Repair]) -> dict[str, str]:
    keywords: dict[str, str] = {}
    for key, value in pairs:
        if keywords.setdefault(key, value) != value:
            if key.startswith("$P") or key in ("$TOT", *_INDISPENSABLE):
                raise FcsError(where, f"{key} stands twice in TEXT: {keywords[key]!r} and {value!r}")
            repairs.append(Repair(where, "keyword-twice", f"{key} stands twice; the first value is kept"))
    return keywords


def whole_number(keywords: Mapping[str, str], key: str, where: str) -> int:
    """A keyword's value as a whole number; raises FcsError naming the keyword when it is not one."""
    if key not in keywords:
        raise FcsError(where, f"the required keyword {key} is missing from TEXT", "export the file again")
    value = keywords[key].strip()
    if not value.isdigit():
        raise FcsError(where, f"{key} is {value!r}, not a whole number", "export the file again")
    return int(value)
