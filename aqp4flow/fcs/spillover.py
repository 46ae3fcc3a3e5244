"""The spillover matrix that a file carries, under the names and forms writers use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from aqp4flow.model import Channel, Repair, Spillover

_KEYWORDS = ("$SPILLOVER", "SPILL", "SPILLOVER")
_WORST_CONDITION = 1e6


def parse_spillover(
    keywords: Mapping[str, str], channels: Sequence[Channel], where: str
) -> tuple[Spillover | None, list[Repair]]:
    """The matrix, its names resolved to $PnN; None with a repair that says why when it cannot be used.

    Form (FCS 3.1, 3.2.20): n, n channel names, n x n numbers row by row, row = dye.
    """
    for key in _KEYWORDS:
        text = keywords.get(key, "").strip()
        if text:
            try:
                return _parse(key, text, tuple((channel.name, channel.stain) for channel in channels)), []
            except ValueError as problem:
                message = f"{key} cannot be used: {problem}"
                return None, [Repair(where, "spillover-unusable", message)]
    return None, []


@lru_cache(maxsize=8)
def _parse(key: str, text: str, channels: tuple[tuple[str, str], ...]) -> Spillover:
    """The wells of a plate carry one and the same text: it is read, and its condition judged, once."""
    parts = [part.strip() for part in text.split(",")]
    if not parts[0].isdigit() or int(parts[0]) == 0:
        raise ValueError(f"it begins with {parts[0]!r}, not with a number of channels")
    n = int(parts[0])
    if len(parts) != 1 + n + n * n:
        raise ValueError(f"{n} channels need {n * n} numbers, it has {max(0, len(parts) - 1 - n)}")
    names = tuple(_resolve(name, channels) for name in parts[1 : n + 1])
    if len(set(names)) < n:
        raise ValueError("it names a channel twice")
    try:
        matrix = np.array([float(part) for part in parts[n + 1 :]]).reshape(n, n)
    except ValueError:
        raise ValueError("it holds something that is not a number") from None
    if not np.all(np.isfinite(matrix)) or np.linalg.cond(matrix) > _WORST_CONDITION:
        raise ValueError("the matrix is singular or nearly so")
    matrix.flags.writeable = False
    return Spillover(names, matrix, key)


def _resolve(name: str, channels: Sequence[tuple[str, str]]) -> str:
    """$PnN, then $PnS, then the same without `Comp-`, then the channel's number."""
    for wanted in (name, name.removeprefix("Comp-")):
        for found in ([n for n, _ in channels if n == wanted], [n for n, stain in channels if stain == wanted]):
            if len(found) == 1:
                return found[0]
    if name.isdigit() and 1 <= int(name) <= len(channels):
        return channels[int(name) - 1][0]
    raise ValueError(f"{name!r} is not a channel; the file has {', '.join(n for n, _ in channels)}")
