"""Several data sets in one file, and which of them a Beckman Coulter LMD file should be measured from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from aqp4flow.fcs.events import Buffer
from aqp4flow.fcs.layout import Layout
from aqp4flow.fcs.segments import Segments
from aqp4flow.fcs.text import HEADER_LENGTH
from aqp4flow.model import Channel

_LOG_RANGE = 1024  # channels of the first set: 10 bits
MOST = 1000  # data sets of a file that are looked at
_OF_LAYOUT = re.compile(r"[$@]P\d+.*|\$(BEGIN|END)(DATA|STEXT|ANALYSIS)|\$(TOT|PAR|NEXTDATA|COMP|DFC\d+TO\d+)")

_COARSE_NAME = re.compile(r" (LIN|LOG)$", re.IGNORECASE)
_DETECTOR = re.compile(r"(FS|SS|FL\d+)\b[ _-]*(.*)", re.IGNORECASE)
_FEATURES = {"A": "INT", "H": "PEAK", "W": "TOF"}


def following(segments: Segments, begin: int, buffer: Buffer) -> tuple[int | None, str]:
    """Where the next data set begins in the file, and what is wrong with $NEXTDATA if something is.

    `begin` is where this one begins: offsets count from there (FCS 3.1, 3.2.20), though some writers count from
    the file's first byte. Where a data set begins at both places the nearer one is next, so that none is passed over.
    It begins after this one's TEXT, so that no byte is gone through twice.
    """
    size, least = len(buffer), begin + segments.header.text[1] + 1
    text = segments.keywords.get("$NEXTDATA", "").strip()
    if not text or (text.isascii() and text.isdigit() and int(text[:20]) == 0):
        return None, ""
    if not (text.isascii() and text.isdigit()) or len(text) > 20:
        return None, f"$NEXTDATA is {text[:20]!r}, not a number"
    offset = int(text)
    for place in sorted({begin + offset, offset}):
        if least <= place <= size - HEADER_LENGTH and bytes(buffer[place : place + 3]) == b"FCS":
            return place, ""
    if begin + offset >= size:
        return None, f"$NEXTDATA is {offset}, beyond the end of the file"
    return None, f"$NEXTDATA is {offset}, where no data set begins"


def is_linear_form(first: Layout, second: Layout) -> bool:
    """Whether two data sets lie as Beckman Coulter stores one acquisition (FC500, Gallios, Navios).

    The first holds 10-bit, mostly log-amplified values, the second the same events with 20 bits, linear.
    """
    if (first.kind, second.kind) != ("I", "I"):
        return False
    fine = any(channel.range > _LOG_RANGE for channel in second.channels)
    linear = not any(channel.amplification[0] for channel in second.channels)
    return is_coarse(first) and fine and linear


def is_coarse(layout: Layout) -> bool:
    """Whether this is the first set of an LMD file: 10 bits, channels called `FL1 LOG` or `FS LIN`."""
    ten_bits = layout.kind == "I" and all(channel.range == _LOG_RANGE for channel in layout.channels)
    return ten_bits and any(_COARSE_NAME.search(channel.name) for channel in layout.channels)


def describing(keywords: Mapping[str, str]) -> dict[str, str]:
    """The keywords that tell of specimen, time and cytometer rather than of the layout of DATA."""
    return {key: value for key, value in keywords.items() if not _OF_LAYOUT.fullmatch(key)}


def with_stains(linear: Sequence[Channel], named: Sequence[Channel]) -> tuple[Channel, ...]:
    """Channels of the linear set with the stains that the first set gives the same detectors."""
    detectors: dict[str, list[tuple[str, str]]] = {}
    for channel in named:
        if match := _DETECTOR.match(channel.name):
            detectors.setdefault(match[1].upper(), []).append((match[2].upper(), channel.stain))
    return tuple(
        channel if channel.stain else replace(channel, stain=_stain_of(channel.name, detectors)) for channel in linear
    )


def _stain_of(name: str, detectors: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    match = _DETECTOR.fullmatch(name)
    if not match:
        return ""
    feature = _FEATURES.get(match[2].upper(), "")
    stains = [stain for words, stain in detectors.get(match[1].upper(), ()) if _same_feature(feature, words)]
    different = {stain for stain in stains if stain and not _DETECTOR.match(stain)}
    return different.pop() if len(different) == 1 else next(iter(stains), "")


def _same_feature(feature: str, words: str) -> bool:
    """`FL1-A` and `FL1 INT LOG`; a set that names no feature has one for all."""
    given = [word for word in _FEATURES.values() if word in words.split()]
    return not feature or not given or feature in given
