"""The spillover matrix that a file carries, under the names and forms writers use.

A matrix whose names, numbers or shape leave a doubt is not used: `parse_spillover` then gives None and a repair
that shows what the keyword names and what the file has. The events stay readable.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial

import numpy as np
from numpy.typing import NDArray

from aqp4flow.model import Channel, Repair, Spillover, Values

_KEYWORDS = ("$SPILLOVER", "SPILL", "SPILLOVER")
HARDWARE_SPILLOVER = "$DFCmTOn"  # the source of a matrix that the cytometer has applied
_PERCENTS = re.compile(r"\$DFC(\d{1,4})TO(\d{1,4})", re.ASCII)
_FLUORESCENCE = re.compile(r"FL0*(\d{1,4})(?:\b|(?=[ _-]))", re.IGNORECASE | re.ASCII)
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,4})?|[+-]?(nan|inf)", re.IGNORECASE | re.ASCII)
_MOST_DETECTORS = 500
_LARGEST = 10.0  # times as much light in another detector as in its own: no dye does that
_SAME = 1e-6  # how far two keywords may differ: writers round
_WORST_CONDITION = 1e6
_MOST_TO_JOIN = 16  # channels up to which every way of joining decimal commas is tried
_UNIT = 1e-3  # how far from 1 the diagonal may be: writers round

Named = tuple[tuple[str, str], ...]  # $PnN and $PnS of every channel
Parsed = tuple[Spillover, tuple[tuple[str, str], ...]]  # the matrix, and remarks as code and message


_Reading = tuple["_Reading", float] | None  # numbers read so far, the last one first


class _UnusableError(ValueError):
    """Why a keyword's matrix is not used, and the code that says so."""

    def __init__(self, message: str, code: str = "spillover-unusable") -> None:
        super().__init__(message)
        self.code = code


def parse_spillover(
    keywords: Mapping[str, str], channels: Sequence[Channel], where: str
) -> tuple[Spillover | None, list[Repair]]:
    """The matrix, its names resolved to $PnN; None, with a repair that says why, when it cannot be used.

    Forms: $SPILLOVER, SPILL and SPILLOVER (FCS 3.1, 3.2.20: n, n channel names, n x n numbers row by row, row =
    dye), $COMP (FCS 3.0: n, n x n numbers for all channels in order), $DFCmTOn (FCS 2.0: percent of m in n).
    """
    named: Named = tuple((channel.name, channel.stain) for channel in channels)
    found: list[Spillover] = []
    repairs: list[Repair] = []
    for key in _KEYWORDS:
        if keywords.get(key, "").strip():
            _try(found, repairs, where, key, partial(_parse, key, keywords[key].strip(), named))
    if not found and keywords.get("$COMP", "").strip():
        _try(found, repairs, where, "$COMP", partial(_parse_comp, keywords["$COMP"].strip(), named))
    percents = tuple((key, keywords[key].strip()) for key in keywords if _PERCENTS.fullmatch(key))
    if not found and not repairs and percents:
        _try(found, repairs, where, HARDWARE_SPILLOVER, partial(_parse_percents, percents, named))
    if any(not _agree(found[0], other) for other in found[1:]):
        names = " and ".join(matrix.source for matrix in found)
        return None, [Repair(where, "spillover-unusable", f"{names} hold different matrices; neither is used")]
    return (found[0] if found else None), repairs


def _agree(one: Spillover, other: Spillover) -> bool:
    """Whether two matrices are one, in whatever order their channels stand."""
    if sorted(one.channels) != sorted(other.channels):
        return False
    order = [other.channels.index(name) for name in one.channels]
    return bool(np.allclose(one.matrix, other.matrix[np.ix_(order, order)], rtol=0, atol=_SAME))


def _try(found: list[Spillover], repairs: list[Repair], where: str, key: str, parse: Callable[[], Parsed]) -> None:
    try:
        matrix, remarks = parse()
    except _UnusableError as problem:
        repairs.append(Repair(where, problem.code, f"{key} cannot be used: {problem}"))
        return
    found.append(matrix)
    repairs += [Repair(where, code, f"{key}: {message}") for code, message in remarks]


@lru_cache(maxsize=8)
def _parse(key: str, text: str, named: Named) -> Parsed:
    """The wells of a plate carry one and the same text: it is read, and its condition judged, once."""
    parts = [part.strip() for part in text.rstrip(", ").split(",")]
    if not _is_count(parts[0]):
        raise _UnusableError(f"it begins with {parts[0][:40]!r}, not with a number of channels")
    n = int(parts[0])
    if n == 0:
        raise _UnusableError("it holds no channels", "spillover-empty")
    wanted, numbers = parts[1 : n + 1], parts[n + 1 :]
    if len(wanted) < n or not numbers:
        raise _UnusableError("it names channels and gives no numbers; as if there were none", "spillover-empty")
    resolved, remarks = _resolved(wanted, named)
    matrix = _from_parts(numbers, n)
    if matrix is None:
        matrix = _with_decimal_commas(numbers, n)
        remarks.append(("spillover-decimal-commas", "numbers with decimal commas; put together again"))
    return _checked(resolved, matrix, key), tuple(remarks)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 5


# --- names ----------------------------------------------------------------------------------------


def _resolved(wanted: Sequence[str], named: Named) -> tuple[tuple[str, ...], list[tuple[str, str]]]:
    """Each name of the matrix as a $PnN, with a remark on those that are not written so."""
    known = _Names(named)
    names = [known.resolve(name) for name in wanted]
    missing = [name for name, found in zip(wanted, names, strict=True) if found is None]
    if missing:
        has = ", ".join(name for name, _ in named)
        raise _UnusableError(f"it names {', '.join(repr(m[:40]) for m in missing[:6])}; the file has {has[:400]}")
    resolved = tuple(name for name in names if name is not None)
    twice = sorted(name for name, count in Counter(resolved).items() if count > 1)
    if twice:
        raise _UnusableError(f"it names {', '.join(twice[:6])} twice")
    changed = [f"{a} is {b}" for a, b in zip(wanted, resolved, strict=True) if a != b]
    return resolved, [("spillover-names-resolved", ", ".join(changed))] if changed else []


class _Names:
    """The channels of a file, to be found by the names that matrices give them."""

    def __init__(self, named: Named) -> None:
        self._names = [name for name, _ in named]
        self._count = Counter(self._names)
        self._by_stain: dict[str, list[str]] = {}
        self._by_plain: dict[str, list[str]] = {}
        for name, stain in named:
            self._by_stain.setdefault(stain, []).append(name)
            self._by_plain.setdefault(_plain(name), []).append(name)

    def resolve(self, name: str) -> str | None:
        """$PnN, then $PnS, the same without `Comp-`, the channel's number, then but for punctuation and case.

        A number that is one channel's stain and another's place is neither.
        """
        bare = name.removeprefix("Comp-")
        if name.isdigit() and self._count[name] == 0 and name in self._by_stain:
            return None
        for wanted in (name, bare):
            if self._count[wanted] == 1:
                return wanted
            if wanted and len(self._by_stain.get(wanted, [])) == 1:
                return self._single(self._by_stain[wanted])
        number = re.fullmatch(r"X?(\d{1,4})", name)  # flowCore writes a number as a name with an X
        if number and 1 <= int(number[1]) <= len(self._names):
            return self._single([self._names[int(number[1]) - 1]])
        return self._single(self._by_plain.get(_plain(bare), [])) if _plain(bare) else None

    def _single(self, found: Sequence[str]) -> str | None:
        return found[0] if len(found) == 1 and self._count[found[0]] == 1 else None


def _plain(name: str) -> str:
    """A name but for case and punctuation; `CD3+` and `CD3-` stay apart."""
    name = name.lower().strip()
    sign = "-" if name.endswith("-") else ""
    return re.sub(r"[^\w+]|_", "", name) + sign


# --- numbers --------------------------------------------------------------------------------------


def _from_parts(parts: Sequence[str], n: int) -> Values | None:
    """n x n numbers; None where there are more parts, as decimal commas make them."""
    if len(parts) < n * n:
        raise _UnusableError(f"{n} channels need {n * n} numbers, it has {len(parts)}")
    if len(parts) > n * n:
        return None
    wrong = next((part for part in parts if not _is_number(part)), None)
    if wrong is not None:
        raise _UnusableError(f"{wrong[:40]!r} is not a number")
    return np.array([float(part) for part in parts]).reshape(n, n)


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None


def _with_decimal_commas(parts: Sequence[str], n: int) -> Values:
    """The one way of joining parts to numbers that gives n x n of them with 1 on the diagonal.

    Refused when there is none, or more than one: then the text does not say which matrix it is.
    """
    total = n * n
    spare = len(parts) - total  # how many numbers have decimals
    if spare > total or not all(re.fullmatch(r"-?\d+(\.\d*)?", part) for part in parts):
        raise _UnusableError(f"{n} channels need {total} numbers, it has {len(parts)}")
    if spare < total and n > _MOST_TO_JOIN:
        raise _UnusableError(f"{len(parts)} parts for {total} numbers: decimal commas in some of too many numbers")
    ways: dict[int, list[_Reading]] = {0: [None]}  # joined so far -> at most two readings that got there
    for number in range(total):
        further: dict[int, list[_Reading]] = {}
        for joined, readings in ways.items():
            for step, value in _choices(parts, number + joined, diagonal=number % (n + 1) == 0):
                if spare - (total - number - 1) <= joined + step <= spare:
                    bucket = further.setdefault(joined + step, [])
                    bucket += [(reading, value) for reading in readings][: 2 - len(bucket)]
        ways = further
    readings = ways.get(spare, [])
    if len(readings) != 1:
        what = "none" if not readings else "more than one"
        raise _UnusableError(f"{len(parts)} parts for {total} numbers: {what} of the ways to join decimal commas fits")
    values: list[float] = []
    reading = readings[0]
    while reading is not None:
        reading, value = reading
        values.append(value)
    return np.array(values[::-1]).reshape(n, n)


def _choices(parts: Sequence[str], at: int, *, diagonal: bool) -> list[tuple[int, float]]:
    """A part as a number of its own (0), or joined with the next one as its decimals (1)."""
    found = []
    if at < len(parts):
        found.append((0, float(parts[at])))
    if at + 1 < len(parts) and parts[at + 1].isdigit() and "." not in parts[at]:
        found.append((1, float(f"{parts[at]}.{parts[at + 1]}")))
    return [(step, value) for step, value in found if not diagonal or abs(value - 1) <= _UNIT]


def _checked(names: tuple[str, ...], matrix: NDArray[np.float64], source: str) -> Spillover:
    if not np.all(np.isfinite(matrix)):
        raise _UnusableError("it holds a number that is not finite")
    diagonal = np.diag(matrix)
    if np.any(np.abs(diagonal - 1) > _UNIT):
        worst = int(np.argmax(np.abs(diagonal - 1)))
        raise _UnusableError(f"{names[worst]} in its own detector is {diagonal[worst]:g}, not 1")
    if np.any(np.abs(matrix) > _LARGEST):
        raise _UnusableError(f"it holds {matrix.flat[np.argmax(np.abs(matrix))]:g}: no dye spills that much")
    if np.linalg.cond(matrix) > _WORST_CONDITION:
        raise _UnusableError("the matrix is singular or nearly so")
    matrix.flags.writeable = False
    return Spillover(names, matrix, source)


# --- older keywords -------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _parse_comp(text: str, named: Named) -> Parsed:
    parts = [part.strip() for part in text.split(",")]
    if not _is_count(parts[0]) or int(parts[0]) != len(named):
        raise _UnusableError(f"it is for {parts[0][:20]!r} channels, the file has {len(named)}")
    names = tuple(name for name, _ in named)
    if len(set(names)) < len(names):
        raise _UnusableError("two channels have one name")
    matrix = _from_parts(parts[1:], len(named))
    if matrix is None:
        raise _UnusableError(f"{len(named)} channels need {len(named) ** 2} numbers, it has {len(parts) - 1}")
    if np.all(np.abs(np.diag(matrix) - 100) <= 100 * _UNIT):
        matrix = matrix / 100
    if np.any(matrix < 0):
        raise _UnusableError("it holds numbers below 0, as the inverse of a spillover matrix does")
    return _checked(names, matrix, "$COMP"), ()


@lru_cache(maxsize=8)
def _parse_percents(percents: tuple[tuple[str, str], ...], named: Named) -> Parsed:
    """$DFCmTOn: percent of fluorescence detector m to be taken from detector n."""
    detectors: dict[int, list[str]] = {}
    for name, _ in named:
        if match := _FLUORESCENCE.match(name):
            detectors.setdefault(int(match[1]), []).append(name)
    values = {}
    for key, text in percents:
        match = _PERCENTS.fullmatch(key)
        if match is None or not _is_number(text) or not 0 <= float(text) < 1000:
            raise _UnusableError(f"{key} is {text[:40]!r}, not a percentage")
        if float(text) and match[1] != match[2]:
            values[int(match[1]), int(match[2])] = float(text) / 100
    used = sorted({number for pair in values for number in pair})
    if len(used) > _MOST_DETECTORS:
        raise _UnusableError(f"it names {len(used)} detectors")
    if not used:
        raise _UnusableError("all its percentages are 0; as if there were none", "spillover-empty")
    several = [number for number in used if len(detectors.get(number, [])) != 1]
    if several:
        has = ", ".join(name for name, _ in named)
        raise _UnusableError(f"detector {several[0]} is not one channel of the file, which has {has[:400]}")
    matrix = np.eye(len(used))
    for (dye, detector), share in values.items():
        matrix[used.index(dye), used.index(detector)] = share
    names = tuple(detectors[number][0] for number in used)
    remark = "percentages set at the cytometer, which subtracted them already where it stored log-amplified values"
    return _checked(names, matrix, HARDWARE_SPILLOVER), (("spillover-from-percent", remark),)
