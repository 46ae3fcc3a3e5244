"""FCS 3.1 out: one data set of little-endian floats, readable by everyone."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqp4flow.errors import InputError, listed
from aqp4flow.fcs.reader import FcsFile
from aqp4flow.fcs.spillover import HARDWARE_SPILLOVER
from aqp4flow.model import Channel, Spillover

_TEXT_START = 256
_DELIMITERS = "|\f\x1e!\\/*~^`\x1f\x1d\x1c#@%&"  # what no keyword of a file holds, the first choice first
_LARGEST_HEADER_OFFSET = 99_999_999
#: Keywords that describe a data set's bytes or its matrix: the writer sets its own.
_WRITTEN = re.compile(
    r"[$@]P\d+([NBERSVG]|DATATYPE|ADDRESS)|\$(BEGIN|END)(DATA|STEXT|ANALYSIS)|\$(TOT|PAR|NEXTDATA|MODE|DATATYPE|BYTEORD)"
    r"|\$(COMP|DFC\d+TO\d+|SPILLOVER|UNICODE|TIMESTEP)|SPILL(OVER)?|AQP4FLOW REPAIRS"
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
        pairs["$SPILLOVER"] = _spillover_text(spillover, channels)
    for key, value in keywords.items():
        if key in pairs:
            raise InputError("FCS writer", f"keyword {key} describes the layout and is set by the writer")
        pairs[key] = str(value)
    return _assemble(pairs, data)


def rewritten(file: FcsFile) -> bytes:
    """A data set written anew: what was mended is mended in it, and any reader reads it alike.

    Values are those stored, with $PnG and $TIMESTEP beside them; log-amplified integers become linear. float32
    is used where it holds every value exactly. The keyword `AQP4FLOW REPAIRS` names what had been mended.

    Raises InputError where the scale of a channel is not known.
    """
    unknown = [channel.name for channel in file.channels if math.isnan(channel.gain)]
    if unknown:
        what = f"{listed(unknown)}: the scale is not known, so the values would be read as what they are not"
        raise InputError(file.path.name, what, "correct $PnE, $PnG and $PnR in the program that wrote the file")
    columns, channels = [], []
    for i, channel in enumerate(file.channels):
        columns.append(file.events.linear(i) if channel.amplification[0] else file.events.stored(i))
        channels.append(_linear(channel))
    keywords = {
        key: value
        for key, value in file.keywords.items()
        if value.strip() and key.strip() and not _WRITTEN.fullmatch(key)
    }
    if file.layout.timestep is not None:
        keywords["$TIMESTEP"] = repr(file.layout.timestep)
    mended = {repair.code for repair in (*file.repairs, *file.value_repairs)}
    if mended:
        keywords["AQP4FLOW REPAIRS"] = "; ".join(sorted(mended))
    return fcs_bytes(_in_one_type(columns), channels, keywords, file.spillover)


def linear(file: FcsFile) -> bytes:
    """A data set as float64 on the linear scale, time in seconds, $FIL the file's name: for programs that only gate.

    A matrix that the cytometer has applied already is left out, or they would apply it again.
    """
    return _for_gating(file, file.open_events().values)


def placeholder(file: FcsFile) -> bytes:
    """One event of ones in the channels of a data set, with its matrix: to try gates before any value is read."""
    return _for_gating(file, np.ones((1, len(file.channels))))


def _for_gating(file: FcsFile, values: NDArray[np.float64]) -> bytes:
    channels = [replace(_linear(channel), gain=1.0) for channel in file.channels]
    applied = file.spillover is not None and file.spillover.source == HARDWARE_SPILLOVER
    return fcs_bytes(values, channels, {"$FIL": file.path.name}, None if applied else file.spillover)


def _linear(channel: Channel) -> Channel:
    """The channel of values whose log amplification has been undone: its range is theirs, and no gain is left."""
    decades, offset = channel.amplification
    if not decades:
        return channel
    return replace(channel, amplification=(0.0, 0.0), gain=1.0, range=float(math.ceil(offset * 10**decades)))


@np.errstate(invalid="ignore", over="ignore")
def _in_one_type(columns: Sequence[NDArray[Any]]) -> NDArray[np.floating[Any]]:
    """All columns as float32 where that holds every value exactly, else as float64."""
    exact = all(np.array_equal(column, column.astype(np.float32), equal_nan=True) for column in columns)
    return np.column_stack([column.astype(np.float32 if exact else np.float64) for column in columns])


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
        pairs[f"$P{number}R"] = _number(tops[number - 1])
        if channel.gain != 1:
            pairs[f"$P{number}G"] = repr(channel.gain)
        if channel.stain:
            pairs[f"$P{number}S"] = channel.stain
        if channel.voltage is not None:
            pairs[f"$P{number}V"] = _number(channel.voltage)
    return pairs


def _tops(matrix: NDArray[np.floating[Any]], channels: Sequence[Channel]) -> list[float]:
    """$PnR: the channel's own, and where it has none the first power of two above its values."""
    finite = np.where(np.isfinite(matrix), matrix, 0)
    highest = finite.max(axis=0, initial=1)
    powers = (2.0 ** math.ceil(math.log2(min(float(top), 1e300) + 1)) for top in highest)
    return [c.range if math.isfinite(c.range) else power for c, power in zip(channels, powers, strict=True)]


def _number(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else repr(float(value))


def _spillover_text(spillover: Spillover, channels: Sequence[Channel]) -> str:
    """Names and numbers; channels are named by their numbers where a name holds the comma that parts them."""
    names = list(spillover.channels)
    if any("," in name for name in names):
        numbers = {channel.name: str(number) for number, channel in enumerate(channels, 1)}
        names = [numbers[name] for name in names]
    coefficients = [repr(float(x)) for x in spillover.matrix.ravel()]
    return ",".join([str(len(names)), *names, *coefficients])


def _assemble(pairs: Mapping[str, str], data: bytes) -> bytes:
    """HEADER, TEXT and DATA; offsets of DATA stand in TEXT at a fixed width so that TEXT keeps its length."""
    places = {"$BEGINDATA": f"{0:020d}", "$ENDDATA": f"{0:020d}"}
    delimiter = _delimiter(pairs)
    begin = _TEXT_START + len(_text({**places, **pairs}, delimiter))
    end = begin + len(data) - 1
    places = {"$BEGINDATA": f"{begin:020d}", "$ENDDATA": f"{end:020d}"}
    text = _text({**places, **pairs}, delimiter)
    in_header = (begin, end) if end <= _LARGEST_HEADER_OFFSET else (0, 0)
    offsets = (_TEXT_START, begin - 1, *in_header, 0, 0)
    header = "FCS3.1    " + "".join(f"{offset:>8d}" for offset in offsets)
    return header.encode().ljust(_TEXT_START) + text + data


def _text(pairs: Mapping[str, str], delimiter: str) -> bytes:
    return (delimiter + "".join(f"{key}{delimiter}{value}{delimiter}" for key, value in pairs.items())).encode()


def _delimiter(pairs: Mapping[str, str]) -> str:
    """A character that no name or value holds: not every reader knows what a doubled delimiter means."""
    empty = next((key for key, value in pairs.items() if not key or not value), None)
    if empty is not None:
        raise InputError(
            "FCS writer", f"keyword {empty!r} has the value {pairs[empty]!r}; FCS allows neither empty (3.1, 3.2.4)"
        )
    used = {character for pair in pairs.items() for text in pair for character in text}
    free = next((character for character in _DELIMITERS if character not in used), None)
    if free is None:
        raise InputError("FCS writer", f"keywords hold every one of {_DELIMITERS!r}; none is left as a delimiter")
    return free
