"""FCS 3.1 out: one data set of little-endian floats, readable by everyone."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqp4flow.errors import InputError
from aqp4flow.fcs.reader import FcsFile
from aqp4flow.model import Channel, Spillover

_TEXT_START = 256
_DELIMITER = "|"
_LARGEST_HEADER_OFFSET = 99_999_999
#: Keywords that describe a data set's bytes or its matrix: the writer sets its own.
_WRITTEN = re.compile(
    r"[$@]P\d+([NBERSVG]|DATATYPE|ADDRESS)|\$(BEGIN|END)(DATA|STEXT|ANALYSIS)|\$(TOT|PAR|NEXTDATA|MODE|DATATYPE|BYTEORD)"
    r"|\$(COMP|DFC\d+TO\d+|SPILLOVER|UNICODE)|SPILL(OVER)?"
)


def fcs_bytes(
    values: NDArray[np.floating[Any]],
    channels: Sequence[Channel],
    keywords: Mapping[str, str],
    spillover: Spillover | None = None,
) -> bytes:
    """One FCS 3.1 data set as bytes.

    `values` has shape (n_events, n_channels) on the linear scale; float32 is written as $DATATYPE F,
    anything else as D, so that no digit is lost. `keywords` may add any keyword that does not describe
    the data's layout. Source: ISAC FCS 3.1 (Spidlen et al., Cytometry A 2010;77:97).

    Raises InputError when shapes disagree or a keyword is empty.
    """
    matrix = np.asarray(values)
    if matrix.ndim != 2 or matrix.shape[1] != len(channels):
        raise InputError("FCS writer", f"{len(channels)} channels for values of shape {matrix.shape}")
    kind, dtype, bits = ("F", "<f4", 32) if matrix.dtype == np.float32 else ("D", "<f8", 64)
    data = np.ascontiguousarray(matrix, dtype=dtype).tobytes()
    pairs = _required(len(matrix), channels, kind, bits, _tops(matrix, channels))
    if spillover is not None:
        pairs["$SPILLOVER"] = _spillover_text(spillover)
    for key, value in keywords.items():
        if key in pairs:
            raise InputError("FCS writer", f"keyword {key} describes the layout and is set by the writer")
        pairs[key] = str(value)
    return _assemble(pairs, data)


def rewritten(file: FcsFile) -> bytes:
    """A data set written anew: what was mended is mended in it, and any reader reads it alike.

    Values are those stored, with $PnG and $TIMESTEP beside them; log-amplified integers become linear. float32
    is used where it holds every value exactly. The keyword `AQP4FLOW REPAIRS` names what had been mended.
    """
    events = file.events
    columns, channels = [], []
    for i, channel in enumerate(file.channels):
        decades, offset = channel.amplification
        top = math.ceil(offset * 10**decades) if decades else channel.range
        columns.append(events.linear(i) if decades else events.stored(i))
        channels.append(replace(channel, amplification=(0.0, 0.0), range=top))
    exact = all(np.array_equal(column, column.astype(np.float32), equal_nan=True) for column in columns)
    values = np.column_stack([column.astype(np.float32 if exact else np.float64) for column in columns])
    keywords = {
        key: value
        for key, value in file.keywords.items()
        if value.strip() and key.strip() and not _WRITTEN.fullmatch(key)
    }
    if file.repairs:
        keywords["AQP4FLOW REPAIRS"] = "; ".join(sorted({repair.code for repair in file.repairs}))
    return fcs_bytes(values, channels, keywords, file.spillover)


def _required(
    n_events: int, channels: Sequence[Channel], kind: str, bits: int, tops: Sequence[float]
) -> dict[str, str]:
    pairs = {
        "$BEGINANALYSIS": "0",
        "$ENDANALYSIS": "0",
        "$BEGINSTEXT": "0",
        "$ENDSTEXT": "0",
        "$BYTEORD": "1,2,3,4",
        "$DATATYPE": kind,
        "$MODE": "L",
        "$NEXTDATA": "0",
        "$PAR": str(len(channels)),
        "$TOT": str(n_events),
    }
    for number, channel in enumerate(channels, 1):
        pairs[f"$P{number}N"] = channel.name
        pairs[f"$P{number}B"] = str(bits)
        pairs[f"$P{number}E"] = "0,0"
        pairs[f"$P{number}R"] = f"{tops[number - 1]:.0f}"
        if channel.gain != 1:
            pairs[f"$P{number}G"] = repr(channel.gain)
        if channel.stain:
            pairs[f"$P{number}S"] = channel.stain
        if channel.voltage is not None:
            pairs[f"$P{number}V"] = f"{channel.voltage:g}"
    return pairs


def _tops(matrix: NDArray[np.floating[Any]], channels: Sequence[Channel]) -> list[float]:
    """$PnR: the channel's own, and where it has none the first power of two above its values."""
    finite = np.where(np.isfinite(matrix), matrix, 0)
    highest = finite.max(axis=0, initial=1)
    powers = (2.0 ** math.ceil(math.log2(min(float(top), 1e300) + 1)) for top in highest)
    return [c.range if math.isfinite(c.range) else power for c, power in zip(channels, powers, strict=True)]


def _spillover_text(spillover: Spillover) -> str:
    numbers = [repr(float(x)) for x in spillover.matrix.ravel()]
    return ",".join([str(len(spillover.channels)), *spillover.channels, *numbers])


def _assemble(pairs: Mapping[str, str], data: bytes) -> bytes:
    """HEADER, TEXT and DATA; offsets of DATA stand in TEXT at a fixed width so that TEXT keeps its length."""
    fixed = "".join(_pair(key, value) for key, value in pairs.items())
    layout = _DELIMITER + "$BEGINDATA|{:020d}|$ENDDATA|{:020d}|"
    text_length = len((layout.format(0, 0) + fixed).encode())
    begin = _TEXT_START + text_length
    end = begin + len(data) - 1 if data else begin
    text = (layout.format(begin, end) + fixed).encode()
    in_header = (begin, end) if end <= _LARGEST_HEADER_OFFSET else (0, 0)
    offsets = (_TEXT_START, _TEXT_START + text_length - 1, *in_header, 0, 0)
    header = "FCS3.1    " + "".join(f"{offset:>8d}" for offset in offsets)
    return header.encode().ljust(_TEXT_START) + text + data


def _pair(key: str, value: str) -> str:
    """Key and value, each delimiter inside doubled; FCS has no empty values (FCS 3.1, 3.2.4)."""
    if not key or not value:
        raise InputError("FCS writer", f"keyword {key!r} has the value {value!r}; FCS allows neither empty")
    return "".join(part.replace(_DELIMITER, _DELIMITER * 2) + _DELIMITER for part in (key, value))
