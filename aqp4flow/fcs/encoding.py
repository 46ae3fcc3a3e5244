"""Which encoding a TEXT segment is written in: UTF-8, cp932 (Japanese Windows) or Latin-1.

Nearly every segment is plain ASCII or valid UTF-8. Of the rest, cp932 is believed only where its two-byte
characters use bytes that Latin-1 leaves to control codes, and stand as Japanese text does: in runs, or not
glued to the end of a Latin word.
"""

from __future__ import annotations

import re

from aqp4flow.errors import FcsError
from aqp4flow.model import Repair

ENCODINGS = ("utf-8", "cp932", "latin-1")

_JAPANESE = r"\u3000-\u30ff\u3400-\u9fff\uff01-\uff60\uffe0-\uffe6"
_RUN = re.compile(rf"(?P<before>[A-Za-z]?)(?P<run>[{_JAPANESE}]+)")
_HALF_WIDTH_KANA = re.compile(r"[\uff61-\uff9f]{3,}")
_PRIVATE = re.compile(r"[\ue000-\uf8ff]")


def decode(segment: bytes, encoding: str, where: str) -> tuple[str, list[Repair]]:
    """TEXT as characters. `encoding` is one of ENCODINGS, or `auto` to find out.

    Raises FcsError when the bytes are not of the encoding asked for.
    """
    if encoding != "auto":
        try:
            return segment.decode(encoding), []
        except UnicodeDecodeError as error:
            raise FcsError(
                where,
                f"TEXT is not {encoding}: byte {segment[error.start]:#04x} at {error.start} does not fit",
                "set [fcs] text_encoding to auto, or to the encoding of the computer that wrote the file",
            ) from None
    try:
        return segment.decode("utf-8"), []
    except UnicodeDecodeError:
        pass
    japanese = _as_cp932(segment)
    if japanese is not None:
        return japanese, [Repair(where, "text-cp932", "TEXT is not UTF-8; read as cp932 (Japanese Windows)")]
    return segment.decode("latin-1"), [Repair(where, "text-latin-1", "TEXT is not UTF-8; read as Latin-1")]


def _as_cp932(segment: bytes) -> str | None:
    """The segment read as cp932, or None where Latin-1 is the likelier reading."""
    try:
        text = segment.decode("cp932")
    except UnicodeDecodeError:
        return None
    pro = contra = 0
    for match in _RUN.finditer(text):
        run = match["run"]
        certain = any(0x81 <= character.encode("cp932")[0] <= 0x9F for character in run)
        if certain and (len(run) > 1 or not match["before"]):
            pro += len(run)
        else:
            contra += len(run)
    pro += sum(len(match[0]) for match in _HALF_WIDTH_KANA.finditer(text))
    contra += len(_PRIVATE.findall(text))
    return text if pro > contra else None
