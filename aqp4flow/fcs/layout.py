"""How one event lies in bytes: width, type, mask and scale of every channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from aqp4flow.errors import FcsError
from aqp4flow.fcs.text import whole_number
from aqp4flow.model import Channel, Repair

TIME_NAMES = ("time", "hdr-t")


@dataclass(frozen=True)
class Slot:
    """Where a channel's value stands in an event's record: `offset` and `width` in bytes, `mask` on integers."""

    offset: int
    width: int
    mask: int | None


@dataclass(frozen=True)
class Layout:
    """The record of one event. `kind` is $DATATYPE (I, F or D), `big_endian` its byte order."""

    kind: str
    big_endian: bool
    channels: tuple[Channel, ...]
    slots: tuple[Slot, ...]
    timestep: float | None

    @property
    def record(self) -> int:
        """Bytes an event takes."""
        return sum(slot.width for slot in self.slots)


def parse_layout(keywords: Mapping[str, str], where: str) -> tuple[Layout, list[Repair]]:
    """The layout that TEXT describes; raises FcsError for one that this reader does not know.

    The wells of a plate share their layout: the keywords that decide it are read once for all of them.
    """
    deciding = tuple((key, keywords[key]) for key in keywords if key.startswith("$P") or key in _DECIDING)
    try:
        layout, repairs = _layout_of(deciding)
    except FcsError as error:
        raise FcsError(where, error.what, error.hint) from None
    return layout, [replace(repair, file=where) for repair in repairs]


_DECIDING = ("$DATATYPE", "$BYTEORD", "$MODE", "$TIMESTEP")


@lru_cache(maxsize=16)
def _layout_of(deciding: tuple[tuple[str, str], ...]) -> tuple[Layout, tuple[Repair, ...]]:
    keywords, where = dict(deciding), ""
    repairs: list[Repair] = []
    kind = keywords["$DATATYPE"].strip().upper()
    if kind not in ("I", "F", "D"):
        raise FcsError(where, f"$DATATYPE is {kind!r}; I, F and D can be read", "export as FCS 3.1, list mode")
    if keywords.get("$MODE", "L").strip().upper() != "L":
        raise FcsError(where, f"$MODE is {keywords['$MODE']!r}: histograms, not events", "export in list mode")
    mixed = [key for key in keywords if key.startswith("$P") and key.endswith("DATATYPE")]
    if any(keywords[key].strip().upper() != kind for key in mixed):
        raise FcsError(where, "channels of different data types ($PnDATATYPE)", "export as FCS 3.1")
    n_channels = whole_number(keywords, "$PAR", where)
    if not 0 < n_channels < 10_000:
        raise FcsError(where, f"$PAR is {n_channels}", "export the file again")
    channels = tuple(_channel(keywords, n, kind, where, repairs) for n in range(1, n_channels + 1))
    channels = _unnamed_or_twice(channels, where, repairs)
    slots = _slots(channels, kind, where, repairs)
    timestep = _timestep(keywords, channels, where, repairs)
    return Layout(kind, _is_big_endian(keywords["$BYTEORD"], where), channels, slots, timestep), tuple(repairs)


def _is_big_endian(byteord: str, where: str) -> bool:
    order = byteord.replace(" ", "")
    if order in ("1,2,3,4", "1,2", "1", "1,2,3,4,5,6,7,8"):
        return False
    if order in ("4,3,2,1", "2,1", "8,7,6,5,4,3,2,1"):
        return True
    raise FcsError(where, f"$BYTEORD is {byteord!r}", "export as FCS 3.1 (byte order 1,2,3,4 or 4,3,2,1)")


def _channel(keywords: Mapping[str, str], number: int, kind: str, where: str, repairs: list[Repair]) -> Channel:
    bits = whole_number(keywords, f"$P{number}B", where)
    name = keywords.get(f"$P{number}N", "").strip()
    amplification = _amplification(keywords.get(f"$P{number}E", "0,0"), f"$P{number}E", where)
    if amplification[0] and kind != "I":
        message = f"$P{number}E asks for log amplification of floating-point values; ignored"
        repairs.append(Repair(where, "log-on-floats", message))
        amplification = (0.0, 0.0)
    if amplification[0] and amplification[1] == 0:
        amplification = (amplification[0], 1.0)  # FCS 3.1, 3.2.20: `4,0` is to be read as `4,1`
    gain = _number(keywords.get(f"$P{number}G", "")) or 1.0
    if not gain > 0:
        raise FcsError(where, f"$P{number}G is {gain:g}; a gain is above 0", "export the file again")
    top = _number(keywords.get(f"$P{number}R", ""))
    if top is None and amplification[0]:
        raise FcsError(where, f"$P{number}R is missing and $P{number}E needs it", "export the file again")
    return Channel(
        index=number,
        name=name,
        stain=keywords.get(f"$P{number}S", "").strip(),
        bits=bits,
        range=top if top is not None else float("inf"),
        gain=gain,
        amplification=amplification,
        voltage=_number(keywords.get(f"$P{number}V", "")),
    )


def _number(text: str) -> float | None:
    """A number as writers leave it: blanks and decimal commas allowed; None when it is not one."""
    try:
        return float(text.strip().replace(",", "."))
    except ValueError:
        return None


def _amplification(text: str, key: str, where: str) -> tuple[float, float]:
    parts = [_number(part) for part in text.split(",")]
    if len(parts) == 4:  # decimal commas: `4,0,0,1024` is 4.0 and 0.1024
        parts = [_number(",".join(text.split(",")[:2])), _number(",".join(text.split(",")[2:]))]
    if len(parts) != 2 or parts[0] is None or parts[1] is None or parts[0] < 0 or parts[1] < 0:
        raise FcsError(where, f"{key} is {text!r}, not two numbers", "export the file again")
    return parts[0], parts[1]


def _unnamed_or_twice(channels: tuple[Channel, ...], where: str, repairs: list[Repair]) -> tuple[Channel, ...]:
    named = []
    seen: set[str] = set()
    for channel in channels:
        name = channel.name
        if not name:
            name = f"P{channel.index}"
            repairs.append(Repair(where, "name-missing", f"$P{channel.index}N is absent; called {name}"))
        if name in seen:
            message = f"two channels are called {name!r}; neither can be asked for by that name"
            repairs.append(Repair(where, "name-twice", message))
        seen.add(name)
        named.append(channel if channel.name == name else replace(channel, name=name))
    return tuple(named)


def _slots(channels: tuple[Channel, ...], kind: str, where: str, repairs: list[Repair]) -> tuple[Slot, ...]:
    slots = []
    offset = 0
    for channel in channels:
        width = _width(channel, kind, where, repairs)
        slots.append(Slot(offset, width, _mask(channel.range, width) if kind == "I" else None))
        offset += width
    return tuple(slots)


def _width(channel: Channel, kind: str, where: str, repairs: list[Repair]) -> int:
    """Bytes of one value; odd integer widths are stored in the next wider word (checked against DATA's length)."""
    if kind != "I":
        wanted = 32 if kind == "F" else 64
        if channel.bits != wanted:
            raise FcsError(where, f"$P{channel.index}B is {channel.bits}; $DATATYPE {kind} has {wanted} bits")
        return wanted // 8
    if channel.bits in (8, 16, 24, 32, 64):
        return channel.bits // 8
    if 8 < channel.bits < 16:
        message = f"$P{channel.index}B is {channel.bits}; values stand in words of 16 bits"
        repairs.append(Repair(where, "bits-rounded-up", message))
        return 2
    raise FcsError(where, f"$P{channel.index}B is {channel.bits} bits", "export as FCS 3.1")


def _mask(top: float, width: int) -> int | None:
    """Bits that hold the value: up to the next power of two of $PnR (FCS 3.1, 3.2.20); None when all do."""
    if not 1 < top < 2 ** (8 * width):
        return None
    return (1 << (int(-(-top // 1)) - 1).bit_length()) - 1


def _timestep(
    keywords: Mapping[str, str], channels: tuple[Channel, ...], where: str, repairs: list[Repair]
) -> float | None:
    """Seconds a tick of the time channel; None when it is not known, and time stays in ticks."""
    text = keywords.get("$TIMESTEP", "").strip()
    if not text or not any(channel.name.lower() in TIME_NAMES for channel in channels):
        return None
    step = _number(text)
    if step is None or not 0 < step < float("inf"):
        message = f"$TIMESTEP is {text!r}, not a number; time stays in ticks"
        repairs.append(Repair(where, "timestep-unreadable", message))
        return None
    return step
