"""How one event lies in bytes: width, type, byte order, mask and scale of every channel."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import accumulate

from aqp4flow.errors import FcsError, listed
from aqp4flow.fcs.text import PADDING, whole_number
from aqp4flow.model import Channel, Repair

TIME_NAMES = ("time", "hdr-t")
_CLOCKS = re.compile(r"(computed )?time[ _]?(2|msw|lsw)?|hdr-t|event.?(number|#|count)?", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d{1,4})?", re.ASCII)
_LEAST_GAIN, _MOST_GAIN = 1e-6, 1e6
_LONGEST_TICK = 1e6  # seconds
_LINEAR = (0.0, 0.0)  # no decades
_MOST_CHANNELS = 10_000
_EXPORT = "export as FCS 3.1"


def is_time(name: str) -> bool:
    """Whether a channel counts time or events rather than light."""
    return _CLOCKS.fullmatch(name) is not None


@dataclass(frozen=True)
class Slot:
    """Where a channel's value stands in an event's record.

    `offset` and `width` in bytes; `kind` I, F or D; `mask` on integers, None where all bits count. `order` is `<`
    or `>`, or for mixed orders the significance of each byte as $BYTEORD counts it (1 the least).
    """

    offset: int
    width: int
    kind: str
    order: str | tuple[int, ...]
    mask: int | None

    @property
    def plain(self) -> str | None:
        """NumPy's name of the type, or None where bytes have to be put together one by one."""
        if self.width not in (1, 2, 4, 8) or not isinstance(self.order, str):
            return None
        return f"{self.order}{'u' if self.kind == 'I' else 'f'}{self.width}"


@dataclass(frozen=True)
class Layout:
    """The record of one event. `kind` is $DATATYPE (I, F, D or A); A has no slots of bytes but digits.

    `exact_bits` says that $PnB are whole bytes, so that nothing had to be rounded.
    """

    kind: str
    channels: tuple[Channel, ...]
    slots: tuple[Slot, ...]
    timestep: float | None
    exact_bits: bool = True

    @cached_property
    def record(self) -> int:
        """Bytes an event takes; 0 where it varies (delimited ASCII)."""
        if self.kind == "A":
            return sum(channel.bits for channel in self.channels)
        return sum(slot.width for slot in self.slots)

    def reversed(self) -> Layout:
        """The same record with its bytes read in the reverse order."""
        other = {"<": ">", ">": "<"}
        slots = (replace(s, order=other[s.order] if isinstance(s.order, str) else s.order[::-1]) for s in self.slots)
        return replace(self, slots=tuple(slots))


def parse_layouts(keywords: Mapping[str, str], where: str) -> tuple[tuple[Layout, ...], list[Repair]]:
    """The layouts that TEXT allows, likeliest first; raises FcsError for one that this reader does not know.

    There is more than one only where $PnB is not a whole number of bytes: then the length of DATA decides.
    The wells of a plate share their layout: the keywords that decide it are read once for all of them.
    """
    deciding = tuple((key, keywords[key]) for key in keywords if key.startswith("$P") or key in _DECIDING)
    try:
        layouts, repairs = _layouts_of(deciding)
    except FcsError as error:
        raise FcsError(where, error.what, error.hint) from None
    return layouts, [replace(repair, file=where) for repair in repairs]


_DECIDING = ("$DATATYPE", "$BYTEORD", "$MODE", "$TIMESTEP")


@lru_cache(maxsize=16)
def _layouts_of(deciding: tuple[tuple[str, str], ...]) -> tuple[tuple[Layout, ...], tuple[Repair, ...]]:
    keywords = dict(deciding)
    notes = _Notes()
    kind = keywords["$DATATYPE"].strip().upper()
    if kind not in ("I", "F", "D", "A"):
        raise FcsError("", f"$DATATYPE is {kind[:20]!r}; I, F, D and A can be read", f"{_EXPORT}, list mode")
    if keywords.get("$MODE", "").strip().upper() not in ("", "L"):
        raise FcsError("", f"$MODE is {keywords['$MODE'][:20]!r}: histograms, not events", "export in list mode")
    n_channels = whole_number(keywords, "$PAR", "")
    if not 0 < n_channels < _MOST_CHANNELS:
        raise FcsError("", f"$PAR is {n_channels}", "export the file again")
    kinds = _kinds(keywords, n_channels, kind, notes)
    channels = _named([_channel(keywords, n, kinds[n - 1], notes) for n in range(1, n_channels + 1)], notes)
    timestep = _timestep(keywords, channels, notes)
    if kind == "A":
        _require_one_form(channels)
        notes.add("ascii-data", "DATA are digits ($DATATYPE A), not binary values")
        return (Layout(kind, channels, (), timestep),), notes.repairs()
    layouts = _binary_layouts(keywords["$BYTEORD"], kind, kinds, channels, timestep, notes)
    return layouts, notes.repairs()


class _Notes:
    """What was found odd, channels of one kind gathered into one sentence."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[str]] = {}

    def add(self, code: str, message: str, subject: str = "") -> None:
        self._found.setdefault((code, message), []).append(subject)

    def repairs(self) -> tuple[Repair, ...]:
        return tuple(
            Repair("", code, f"{listed(subjects)}: {message}" if subjects[0] else message)
            for (code, message), subjects in self._found.items()
        )


def _kinds(keywords: Mapping[str, str], n_channels: int, kind: str, notes: _Notes) -> list[str]:
    """$DATATYPE for every channel, unless $PnDATATYPE says otherwise (FCS 3.2)."""
    kinds = [keywords.get(f"$P{n}DATATYPE", kind).strip().upper() or kind for n in range(1, n_channels + 1)]
    wrong = [n for n, one in enumerate(kinds, 1) if one not in ("I", "F", "D") and one != kind]
    if wrong or ("A" in kinds and set(kinds) != {"A"}):
        n = wrong[0] if wrong else kinds.index("A") + 1
        raise FcsError("", f"$P{n}DATATYPE is {kinds[n - 1][:20]!r}", _EXPORT)
    if len(set(kinds)) > 1:
        notes.add("mixed-data-types", f"channels hold values of types {', '.join(sorted(set(kinds)))} ($PnDATATYPE)")
    return kinds


# --- one channel ----------------------------------------------------------------------------------


def _channel(keywords: Mapping[str, str], number: int, kind: str, notes: _Notes) -> Channel:
    key = f"$P{number}"
    name = keywords.get(f"{key}N", "").strip()
    top = _range(keywords.get(f"{key}R", ""), f"{key}R", notes)
    amplification, gain = _scale(keywords, key, kind, top, notes)
    if "," in name:
        notes.add("name-comma", "a comma in a channel's name, which lists of channels cannot hold", f"{key}N")
    return Channel(
        index=number,
        name=name,
        stain=keywords.get(f"{key}S", "").strip(),
        bits=_bits(keywords, number, kind),
        range=top,
        gain=gain,
        amplification=amplification,
        voltage=_number(keywords.get(f"{key}V", "")),
    )


def _bits(keywords: Mapping[str, str], number: int, kind: str) -> int:
    """$PnB: bits, or for $DATATYPE A the digits of a value, 0 where it is `*` (as many as there are)."""
    key = f"$P{number}B"
    if kind == "A" and keywords.get(key, "").strip() == "*":
        return 0
    bits = whole_number(keywords, key, "")
    if kind in ("F", "D") and bits != (32 if kind == "F" else 64):
        raise FcsError("", f"{key} is {bits}; type {kind} has {32 if kind == 'F' else 64} bits", _EXPORT)
    if not 0 < bits <= 64:
        raise FcsError("", f"{key} is {bits}", _EXPORT)
    return bits


def _number(text: str) -> float | None:
    """A finite number as writers leave it, blanks and a decimal comma allowed; None when it is not one."""
    text = text.strip(PADDING)
    found = float(text.replace(",", ".")) if _NUMBER.fullmatch(text) else math.inf
    return found if math.isfinite(found) else None


def _range(text: str, key: str, notes: _Notes) -> float:
    top = None if "," in text else _number(text)  # 1,024 could be 1024 or about 1
    if top is None:
        notes.add("range-missing", "no number; values are not masked and no upper end is known", key)
        return math.inf
    return top


def _scale(
    keywords: Mapping[str, str], key: str, kind: str, top: float, notes: _Notes
) -> tuple[tuple[float, float], float]:
    """Amplification and gain of a channel. Where they are not known the gain is NaN: no linear value is made up."""
    amplification = _amplification(keywords.get(f"{key}E", ""), f"{key}E", kind, notes)
    gain = _gain(keywords.get(f"{key}G", ""), f"{key}G", notes)
    if is_time(keywords.get(f"{key}N", "").strip()):  # $TIMESTEP alone is its scale (FCS 3.1, 3.2.20)
        if amplification is not None and amplification[0]:
            notes.add("log-on-time", "asks for log amplification of time; ignored", f"{key}E")
        return _LINEAR, 1.0 if gain is None else gain
    if amplification is None or gain is None or (amplification[0] and not 1 < top < math.inf):
        message = "the scale is not known ($PnE, $PnG and $PnR): there are stored values and no linear ones"
        notes.add("scale-unknown", message, key)
        return _LINEAR, math.nan
    return amplification, gain


def _gain(text: str, key: str, notes: _Notes) -> float | None:
    """$PnG, 1 where it is absent, None where it is no gain."""
    if not text.strip(PADDING):
        return 1.0
    gain = _number(text)
    if gain is None or not (gain == 0 or _LEAST_GAIN <= gain <= _MOST_GAIN):
        return None
    if "," in text:
        notes.add("gain-decimal-comma", f"a gain of {text.strip()[:40]!r}; read as {gain:g}", key)
    if gain == 0:
        notes.add("gain-zero", "a gain of 0; taken as 1", key)
        return 1.0
    return gain


def _amplification(text: str, key: str, kind: str, notes: _Notes) -> tuple[float, float] | None:
    """Decades and offset of $PnE; None where it says neither. FCS 3.1, 3.2.20: `4,0` is to be read as `4,1`."""
    if not text.strip(PADDING):
        notes.add("amplification-missing", "missing; taken as linear", key)
        return _LINEAR
    pair = _LINEAR if _number(text) == 0 else _two_numbers(text)
    if kind in ("F", "D"):
        if pair is None or pair[0]:
            notes.add("log-on-floats", "asks for log amplification of values that are not integers; ignored", key)
        return _LINEAR
    if pair is None:
        return None
    decades, offset = pair
    if decades and offset == 0:
        notes.add("log-offset-zero", "an offset of 0 on a log channel; taken as 1, as the standard says", key)
        offset = 1.0
    return (decades, offset) if decades else _LINEAR


def _two_numbers(text: str) -> tuple[float, float] | None:
    parts = text.split(",")
    if len(parts) == 4:  # decimal commas: `4,0,0,1024` is 4.0 and 0.1024
        parts = [",".join(parts[:2]), ",".join(parts[2:])]
    numbers = [_number(part) for part in parts]
    if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
        return None
    if not (0 <= numbers[0] <= 100 and 0 <= numbers[1] <= 1e100):
        return None
    return numbers[0], numbers[1]


def _named(channels: Sequence[Channel], notes: _Notes) -> tuple[Channel, ...]:
    named = []
    seen: set[str] = set()
    for channel in channels:
        name = channel.name
        if not name:
            name = f"P{channel.index}"
            notes.add("name-missing", "absent; the channel is called P and its number", f"$P{channel.index}N")
        if name in seen:
            notes.add("name-twice", "another channel has this name; neither can be asked for by it", name)
        seen.add(name)
        named.append(channel if channel.name == name else replace(channel, name=name))
    return tuple(named)


def _timestep(keywords: Mapping[str, str], channels: tuple[Channel, ...], notes: _Notes) -> float | None:
    """Seconds a tick of the time channel; None when it is not known, and time stays in ticks."""
    text = keywords.get("$TIMESTEP", "").strip()
    if not text or not any(channel.name.lower() in TIME_NAMES for channel in channels):
        return None
    step = _number(text)
    if step is None or not 0 < step <= _LONGEST_TICK:
        notes.add("timestep-unreadable", f"$TIMESTEP is {text[:40]!r}, not a number; time stays in ticks")
        return None
    if "," in text:
        notes.add("timestep-decimal-comma", f"$TIMESTEP is {text[:40]!r}; read as {step:g} seconds")
    return step


# --- the record -----------------------------------------------------------------------------------


def _require_one_form(channels: Sequence[Channel]) -> None:
    if any(channel.bits for channel in channels) and not all(channel.bits for channel in channels):
        raise FcsError("", "digits of fixed and of free width in one event ($PnB)", _EXPORT)


def _binary_layouts(
    byteord: str, kind: str, kinds: Sequence[str], channels: tuple[Channel, ...], timestep: float | None, notes: _Notes
) -> tuple[Layout, ...]:
    """The record with $PnB rounded up to whole bytes, and if that differs, to words of 1, 2, 4 or 8 bytes."""
    in_bytes = tuple(-(-channel.bits // 8) for channel in channels)
    in_words = tuple(1 << (width - 1).bit_length() for width in in_bytes)
    exact = all(channel.bits % 8 == 0 for channel in channels)
    if not exact:
        odd = [f"$P{channel.index}B" for channel in channels if channel.bits % 8]
        notes.add("bits-rounded-up", f"not whole bytes ({listed(odd)}); the length of DATA decides the width")
    options = (in_bytes,) if exact or in_words == in_bytes else (in_bytes, in_words)
    order = _byte_order(byteord, max(in_bytes), notes)
    layouts = []
    for widths in options:
        offsets = (0, *accumulate(widths[:-1]))
        slots = tuple(
            Slot(at, width, one, _order_of(order, width, byteord), _mask(c, width) if one == "I" else None)
            for at, width, one, c in zip(offsets, widths, kinds, channels, strict=True)
        )
        layouts.append(Layout(kind, channels, slots, timestep, exact))
    return tuple(layouts)


def _byte_order(byteord: str, widest: int, notes: _Notes) -> tuple[int, ...]:
    """$BYTEORD: the significance of each byte, the first in the file first; 1 is the least significant."""
    parts = [part.strip() for part in byteord.split(",")]
    numbers = tuple(int(part) for part in parts if part.isascii() and part.isdigit() and len(part) < 3)
    if len(numbers) != len(parts) or sorted(numbers) != list(range(1, len(numbers) + 1)):
        raise FcsError("", f"$BYTEORD is {byteord[:40]!r}", f"{_EXPORT} (byte order 1,2,3,4 or 4,3,2,1)")
    if len(numbers) == 1 and widest > 1:
        raise FcsError("", f"$BYTEORD is {byteord!r} and values have {widest} bytes", _EXPORT)
    if len(numbers) < min(widest, 4) and len(numbers) > 1 and widest != 3:
        notes.add("byte-order-short", f"$BYTEORD {byteord} names fewer bytes than a value has; its direction is used")
    if len(numbers) > 1 and numbers not in (_upwards(len(numbers)), _upwards(len(numbers))[::-1]):
        notes.add("byte-order-mixed", f"$BYTEORD is {byteord}; bytes are put in order one by one")
    return numbers


def _upwards(n: int) -> tuple[int, ...]:
    return tuple(range(1, n + 1))


def _order_of(order: tuple[int, ...], width: int, byteord: str) -> str | tuple[int, ...]:
    """The order that holds for values of `width` bytes: of mixed orders, half a word has that of its own half."""
    upwards = _upwards(len(order))
    if order == upwards or width == 1:
        return "<"
    if order == upwards[::-1]:
        return ">"
    if len(order) == width:
        return order
    if len(order) == 4 and width == 2 and abs(order[0] - order[1]) == 1 and {*order[:2]} in ({1, 2}, {3, 4}):
        return "<" if order[0] < order[1] else ">"
    raise FcsError("", f"$BYTEORD is {byteord[:40]!r} for values of {width} bytes", _EXPORT)


def _mask(channel: Channel, width: int) -> int | None:
    """Bits that hold the value: up to the next power of two of $PnR (FCS 3.1, 3.2.20); None when all do."""
    top = channel.range if channel.range > 1 else math.inf
    if channel.bits < 8 * width:
        top = min(top, 2**channel.bits)
    if top >= 2 ** (8 * width):
        return None
    return (1 << (math.ceil(top) - 1).bit_length()) - 1
