"""DATA: from mapped bytes to values, a channel at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqp4flow.errors import FcsError
from aqp4flow.fcs.layout import TIME_NAMES, Layout
from aqp4flow.model import Channel, Values

Buffer = Any  # bytes or mmap: anything numpy can look at


@dataclass(frozen=True)
class FcsEvents:
    """The events of one data set. Nothing is decoded before it is asked for; columns are copies."""

    where: str
    layout: Layout
    buffer: Buffer
    begin: int
    count: int

    @property
    def channels(self) -> tuple[Channel, ...]:
        """All channels, in file order."""
        return self.layout.channels

    def index(self, name: str) -> int:
        """Position of a channel by $PnN; raises FcsError when there is none or more than one."""
        found = [i for i, channel in enumerate(self.channels) if channel.name == name]
        if len(found) != 1:
            names = ", ".join(channel.name for channel in self.channels)
            what = "no channel" if not found else f"{len(found)} channels"
            raise FcsError(self.where, f"{what} called {name!r}", f"the file has {names}")
        return found[0]

    def stored(self, index: int) -> NDArray[Any]:
        """Channel `index` (from 0) as stored, masked by $PnR when integer, shape (count,), native byte order."""
        slot = self.layout.slots[index]
        if self.count == 0:
            return np.empty(0, _dtype(self.layout, slot.width).newbyteorder("="))
        if slot.width == 3:
            values: NDArray[Any] = self._three_bytes(slot.offset)
        else:
            dtype = _dtype(self.layout, slot.width)
            values = self._view(dtype, slot.offset).astype(dtype.newbyteorder("="))
        if slot.mask is not None:
            values &= values.dtype.type(slot.mask)
        return values

    def _view(self, dtype: np.dtype[Any], offset: int) -> NDArray[Any]:
        start = self.begin + offset
        return np.ndarray((self.count,), dtype, self.buffer, start, (self.layout.record,))

    def _three_bytes(self, offset: int) -> NDArray[np.uint32]:
        byte = [self._view(np.dtype("u1"), offset + i).astype(np.uint32) for i in range(3)]
        low, middle, high = byte[::-1] if self.layout.big_endian else byte
        return np.asarray(low | middle << np.uint32(8) | high << np.uint32(16), np.uint32)

    def column(self, name: str) -> Values:
        """Linear values of the channel called `name`, float64, shape (count,)."""
        return self._linear(self.index(name))

    def _linear(self, index: int) -> Values:
        """As stored -> linear: log amplification undone, gain divided out, time in seconds (FCS 3.1, 3.2.20)."""
        channel, slot = self.channels[index], self.layout.slots[index]
        if slot.mask is None and slot.width != 3 and self.count:
            values: Values = self._view(_dtype(self.layout, slot.width), slot.offset).astype(np.float64)
        else:
            values = self.stored(index).astype(np.float64)
        decades, offset = channel.amplification
        if decades:
            return np.asarray(offset * 10 ** (values * (decades / channel.range)), np.float64)
        if channel.name.lower() in TIME_NAMES:
            return values * self.layout.timestep if self.layout.timestep else values
        return values / channel.gain if channel.gain != 1 else values

    @cached_property
    def values(self) -> Values:
        """All channels on the linear scale, float64, shape (n_events, n_channels), read-only."""
        return _columns([self._linear(i) for i in range(len(self.channels))], self.count, np.float64)

    @cached_property
    def raw(self) -> NDArray[Any]:
        """All channels as stored (integers masked), shape (n_events, n_channels), read-only."""
        stored = [self.stored(i) for i in range(len(self.channels))]
        return _columns(stored, self.count, np.result_type(*stored))

    def sha256_raw(self) -> str:
        """Hex SHA-256 over the C-ordered little-endian float64 matrix of the values as stored."""
        return hashlib.sha256(np.ascontiguousarray(self.raw, dtype="<f8").tobytes()).hexdigest()


def _dtype(layout: Layout, width: int) -> np.dtype[Any]:
    order = ">" if layout.big_endian else "<"
    letter = "u" if layout.kind == "I" else "f"
    return np.dtype("u4") if width == 3 else np.dtype(f"{order}{letter}{width}")


def _columns(columns: Sequence[NDArray[Any]], count: int, dtype: Any) -> NDArray[Any]:
    matrix = np.empty((count, len(columns)), dtype, order="F")
    for i, column in enumerate(columns):
        matrix[:, i] = column
    matrix.flags.writeable = False
    return matrix
