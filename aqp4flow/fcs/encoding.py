"""Which encoding a TEXT segment is written in: UTF-8, cp932 (Japanese Windows) or Latin-1.

Nearly every segment is plain ASCII or valid UTF-8. Of the rest, cp932 is believed only where its two-byte
characters use bytes that Latin-1 leaves to control codes, and stand as Japanese text does: as kana, Greek or
symbols, in runs, or not glued to the end of a Latin word.
"""

from __future__ import annotations

import re

from aqp4flow.errors import FcsError
from aqp4flow.model import Repair

ENCODINGS = ("utf-8", "cp932", "latin-1")

_RUN = re.compile(r"(?P<before>[A-Za-z]?)(?P<run>[^\x00-\x7f\uff61-\uff9f\ue000-\uf8ff]+)")
_HALF_WIDTH_KANA = re.compile(r"[\uff61-\uff9f]{3,}")
_PRIVATE = re.compile(r"[\ue000-\uf8ff]")
#: Lead bytes of symbols, full-width letters, kana and Greek, circled numbers: in Windows' Latin-1 nobody types them.
_CERTAIN_LEADS = (0x81, 0x82, 0x83, 0x87)
_KANJI_LEADS = range(0x84, 0xA0)
_CUT = "\ufffd"


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
    mostly = _as_cut_utf_8(segment)
    if mostly is not None:
        message = f"{mostly.count(_CUT)} characters of TEXT (UTF-8) were cut in the middle; shown as {_CUT}"
        return mostly, [Repair(where, "text-utf-8-cut", message)]
    japanese = _as_cp932(segment)
    if japanese is not None:
        return japanese, [Repair(where, "text-cp932", "TEXT is not UTF-8; read as cp932 (Japanese Windows)")]
    return segment.decode("latin-1"), [Repair(where, "text-latin-1", "TEXT is not UTF-8; read as Latin-1")]


def _as_cut_utf_8(segment: bytes) -> str | None:
    """The segment read as UTF-8 where most of its characters beyond ASCII are valid: a field cut one of them short."""
    text = segment.decode("utf-8", "replace")
    cut = text.count(_CUT)
    whole = sum(character > "\x7f" for character in text) - cut
    return text if whole >= 2 * cut else None


def _as_cp932(segment: bytes) -> str | None:
    """The segment read as cp932, or None where Latin-1 is the likelier reading."""
    try:
        text = segment.decode("cp932")
    except UnicodeDecodeError:
        return None
    pro = contra = 0
    for match in _RUN.finditer(text):
        run = match["run"]
        if _is_japanese(run, glued=bool(match["before"])):
            pro += len(run)
        else:
            contra += len(run)
    pro += sum(len(match[0]) for match in _HALF_WIDTH_KANA.finditer(text))
    contra += len(_PRIVATE.findall(text))
    return text if pro > contra else None


def _is_japanese(run: str, *, glued: bool) -> bool:
    """Whether a run of two-byte characters is text, and not Latin-1 letters that happen to pair."""
    pairs = [pair for pair in (character.encode("cp932") for character in run) if len(pair) == 2]
    if any(pair[0] in _CERTAIN_LEADS for pair in pairs):
        return True
    if not any(pair[0] in _KANJI_LEADS for pair in pairs):
        return False
    return len(run) > 1 or not glued or any(0x80 <= pair[1] < 0xA0 for pair in pairs)
