"""DATA: from mapped bytes to values, a channel or a block of events at a time."""

from __future__ import annotations

import hashlib
import math
import mmap
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqp4flow.errors import FcsError, listed
from aqp4flow.fcs.digits import numbers
from aqp4flow.fcs.layout import TIME_NAMES, Layout, Slot
from aqp4flow.model import Channel, Values

Buffer = Any  # bytes, mmap or memoryview: anything numpy can look at
_BLOCK = 1 << 19  # bytes of DATA worked on at a time: they stay in the processor's cache
_LARGE = 1 << 25  # bytes: a file smaller than this, as a well's is, is read whole
_quiet = np.errstate(invalid="ignore", over="ignore")  # NaN of any kind stays NaN, and is told by `value_repairs`


def release(buffer: Buffer, begin: int, end: int) -> None:
    """Let go of the pages of a mapping that have been looked at; asked for again, they come back.

    `begin` and `end` are bytes of the mapping.
    """
    first = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE
    if end > first and isinstance(buffer, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        buffer.madvise(mmap.MADV_DONTNEED, first, end - first)


@dataclass(frozen=True)
class OpenFile:
    """The bytes of a file, and what tells it from a later one of the same name: its size and time of change."""

    path: Path
    buffer: Buffer = field(repr=False)
    stamp: tuple[int, int]


def open_file(path: Path) -> OpenFile:
    """The bytes of a file; raises FcsError when it cannot be opened.

    A well's file is read whole: a file that is mapped and becomes shorter meanwhile, as on a share where a copy
    starts anew, would end the process. Larger ones are mapped.
    """
    where = path.name or str(path)
    try:
        if path.exists() and not path.is_file():
            what = "a folder" if path.is_dir() else "a device or pipe"
            raise FcsError(where, f"{what}, not a file", "name the FCS files")
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            small = status.st_size < _LARGE
            buffer = file.read() if small else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            return OpenFile(path, buffer, (status.st_size, status.st_mtime_ns))
    except FileNotFoundError:
        raise FcsError(where, f"no such file in {path.parent.name or '.'}/") from None
    except (OSError, ValueError) as error:
        raise FcsError(where, f"cannot be opened: {getattr(error, 'strerror', None) or error}") from None


@dataclass(frozen=True)
class FcsEvents:
    """The events of one data set. Nothing is decoded before it is asked for; columns are copies."""

    where: str
    layout: Layout
    buffer: Buffer
    begin: int
    end: int
    count: int

    @property
    def channels(self) -> tuple[Channel, ...]:
        """All channels, in file order."""
        return self.layout.channels

    def index(self, name: str) -> int:
        """Position of a channel by $PnN; raises FcsError when there is none or more than one."""
        found = [i for i, channel in enumerate(self.channels) if channel.name == name]
        if len(found) != 1:
            names = listed([channel.name for channel in self.channels], 40)
            what = "no channel" if not found else f"{len(found)} channels"
            raise FcsError(self.where, f"{what} called {name!r}", f"the file has {names}")
        return found[0]

    # --- as stored ------------------------------------------------------------------------------

    def stored(self, index: int) -> NDArray[Any]:
        """Channel `index` (from 0) as stored, masked by $PnR when integer, shape (count,), native byte order."""
        return self._gathered([index], [self._stored(index, 0, 0).dtype])[0]

    def _spans(self) -> Iterator[tuple[int, int]]:
        """Events from where up to where, in file order, few enough for the cache; what was looked at is let go of.

        All of it each time: the system may have brought back pages beside those that were asked for.
        """
        step = max(1, _BLOCK // self.layout.record) if self.layout.kind != "A" else max(1, self.count)
        for start in range(0, self.count, step):
            stop = min(start + step, self.count)
            yield start, stop
            release(self.buffer, self.begin, self.begin + stop * self.layout.record)

    def _gathered(self, indices: Sequence[int], types: Sequence[np.dtype[Any]]) -> list[NDArray[Any]]:
        """Several channels as arrays of the types given, each of shape (count,); DATA is gone through once."""
        found = [np.empty(self.count, dtype) for dtype in types]
        for start, stop in self._spans():
            for values, index in zip(found, indices, strict=True):
                values[start:stop] = self._untouched(index, start, stop)
        return found

    def _stored(self, index: int, start: int, stop: int) -> NDArray[Any]:
        if self.layout.kind == "A":
            return self.digits[start:stop, index]
        slot = self.layout.slots[index]
        values = self._unmasked(slot, start, stop)
        if slot.mask is not None:
            values &= values.dtype.type(slot.mask)
        return values

    def unmasked(self, index: int) -> NDArray[Any]:
        """Channel `index` (from 0) with every bit that stands in the file, shape (count,)."""
        return self._unmasked(self.layout.slots[index], 0, self.count)

    def _unmasked(self, slot: Slot, start: int, stop: int) -> NDArray[Any]:
        if slot.plain is None:
            return self._assembled(slot, start, stop)
        dtype = np.dtype(slot.plain)
        return self._view(dtype, slot.offset, start, stop).astype(dtype.newbyteorder("="))

    def _view(self, dtype: np.dtype[Any], offset: int, start: int, stop: int) -> NDArray[Any]:
        if stop == start:
            return np.empty(0, dtype)
        record = self.layout.record
        return np.ndarray((stop - start,), dtype, self.buffer, self.begin + start * record + offset, (record,))

    def _assembled(self, slot: Slot, start: int, stop: int) -> NDArray[Any]:
        """Values of odd width or byte order, put together byte by byte."""
        order = slot.order
        if isinstance(order, str):
            upwards = tuple(range(1, slot.width + 1))
            order = upwards if order == "<" else upwards[::-1]
        whole = np.dtype(np.uint32 if slot.width <= 4 else np.uint64)
        values = np.zeros(stop - start, whole)
        for i, significance in enumerate(order):
            byte = self._view(np.dtype("u1"), slot.offset + i, start, stop).astype(whole)
            values |= byte << whole.type(8 * (significance - 1))
        return values if slot.kind == "I" else values.view(f"f{slot.width}")

    @cached_property
    def digits(self) -> Values:
        """All values of $DATATYPE A, shape (n_events, n_channels); raises FcsError for anything but digits."""
        segment = bytes(self.buffer[self.begin : self.end])
        return numbers(segment, self.layout, self.count, self.where)

    @cached_property
    def _uniform(self) -> np.dtype[Any] | None:
        """The one type of all channels, or None where they differ or bytes have to be put together."""
        types = {slot.plain for slot in self.layout.slots}
        name = next(iter(types)) if len(types) == 1 else None
        return np.dtype(name) if name else None

    def _records(self, start: int, stop: int) -> NDArray[Any]:
        """Events `start` to `stop` as stored, all channels, shape (stop - start, n_channels)."""
        uniform = self._uniform
        if uniform is None:
            columns = [self._stored(i, start, stop) for i in range(len(self.channels))]
            matrix = np.empty((stop - start, len(columns)), np.result_type(*columns))
            for i, column in enumerate(columns):
                matrix[:, i] = column
            return matrix
        shape = (stop - start, len(self.channels))
        at = self.begin + start * self.layout.record
        masks = [slot.mask for slot in self.layout.slots]
        masked = any(mask is not None for mask in masks)
        matrix = np.ndarray(shape, uniform, self.buffer, at).astype(uniform.newbyteorder("="), copy=masked)
        if masked:
            every = (1 << (8 * uniform.itemsize)) - 1
            matrix &= np.array([every if mask is None else mask for mask in masks], matrix.dtype)
        return matrix

    def blocks(self) -> Iterator[NDArray[Any]]:
        """The events as stored, in file order, in blocks of shape (n, n_channels) small enough for the cache."""
        if self.layout.kind == "A":
            yield self.digits
            return
        for start, stop in self._spans():
            yield self._records(start, stop)

    @cached_property
    @_quiet
    def raw(self) -> NDArray[Any]:
        """All channels as stored (integers masked), shape (n_events, n_channels), read-only."""
        first = self._records(0, 0) if self.layout.kind != "A" else self.digits[:0]
        matrix = np.empty((self.count, len(self.channels)), first.dtype)
        at = 0
        for block in self.blocks():
            matrix[at : at + len(block)] = block
            at += len(block)
        matrix.flags.writeable = False
        return matrix

    @_quiet
    def sha256_raw(self) -> str:
        """Hex SHA-256 over the C-ordered little-endian float64 matrix of the values as stored."""
        digest = hashlib.sha256()
        for block in self.blocks():
            digest.update(np.ascontiguousarray(block, dtype="<f8").tobytes())
        return digest.hexdigest()

    # --- on the linear scale --------------------------------------------------------------------

    def column(self, name: str) -> Values:
        """Linear values of the channel called `name`, float64, shape (count,)."""
        return self.columns([name])[0]

    @_quiet
    def columns(self, names: Sequence[str]) -> list[Values]:
        """Linear values of several channels, each float64, shape (count,); DATA is gone through once."""
        wanted = [self.index(name) for name in names]
        found = self._gathered(wanted, [np.dtype(np.float64)] * len(wanted))
        return [self._linear(values, index) for values, index in zip(found, wanted, strict=True)]

    def _untouched(self, index: int, start: int, stop: int) -> NDArray[Any]:
        """As stored, in whatever byte order: the copy that follows sets it right in the same pass."""
        if self.layout.kind != "A":
            slot = self.layout.slots[index]
            if slot.plain is not None and slot.mask is None:
                return self._view(np.dtype(slot.plain), slot.offset, start, stop)
        return self._stored(index, start, stop)

    @_quiet
    def linear(self, index: int) -> Values:
        """Linear values of channel `index` (from 0), whatever it is called, float64, shape (count,)."""
        return self._linear(self._gathered([index], [np.dtype(np.float64)])[0], index)

    def _linear(self, values: Values, index: int) -> Values:
        """As stored -> linear: log amplification undone, gain divided out, time in seconds (FCS 3.1, 3.2.20)."""
        channel = self.channels[index]
        decades, offset = channel.amplification
        if decades:
            return np.asarray(offset * 10 ** (values * (decades / channel.range)), np.float64)
        if channel.name.lower() in TIME_NAMES:
            return values * self.layout.timestep if self.layout.timestep else values
        return values / channel.gain if channel.gain != 1 else values

    @_quiet
    def time(self) -> Values | None:
        """When each event passed, in seconds where $TIMESTEP is known, else in ticks; None without a time channel.

        Two channels that hold the upper and the lower half of one clock (`TIME_MSW`, `TIME_LSW`) are put together.
        """
        names = {channel.name.lower().replace(" ", "_"): i for i, channel in enumerate(self.channels)}
        low = next((names[name] for name in ("time_lsw", *TIME_NAMES) if name in names), None)
        if low is None:
            return None
        ticks = self.stored(low).astype(np.float64)
        if "time_msw" in names:
            clock = self.channels[low]
            turn = 2.0 ** (math.ceil(math.log2(clock.range)) if 1 < clock.range < math.inf else clock.bits)
            ticks += self.stored(names["time_msw"]).astype(np.float64) * turn
        return ticks * self.layout.timestep if self.layout.timestep else ticks

    @cached_property
    def values(self) -> Values:
        """All channels on the linear scale, float64, shape (n_events, n_channels), read-only."""
        matrix = np.empty((self.count, len(self.channels)), order="F")
        for i in range(len(self.channels)):
            matrix[:, i] = self.linear(i)
        matrix.flags.writeable = False
        return matrix
