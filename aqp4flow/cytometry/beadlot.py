"""The table of a bead lot: a row a channel, its unit, and the values of the populations from dim to bright."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from aqp4flow.cytometry.beadpeaks import LEAST_PEAKS
from aqp4flow.cytometry.beads import MOST_PEAKS, Assigned
from aqp4flow.errors import ConfigError, SheetError, raise_all
from aqp4flow.model import Channel
from aqp4flow.sheet import Row, nearest, plain, read_table

PEAKS = tuple(f"peak{number}" for number in range(1, MOST_PEAKS + 1))
_NO_VALUE = ("", "na", "n/a", "nan", "-")


def read_lot(path: Path) -> tuple[Assigned, ...]:
    """Assigned values from `channel,unit,lot,peak1,peak2,...` (CSV or xlsx), a row a channel.

    `NA`, or an empty cell before the last value, is a population without a value; 0 is a blank. Raises SheetError
    that carries every problem found.
    """
    if not path.is_file():
        raise SheetError(path.name, "no such table of bead values", "[beads] values is relative to assay.toml")
    rows = read_table(path, ("channel", "unit", "lot", *PEAKS), ("channel", "unit", *PEAKS[:LEAST_PEAKS]))
    problems: list[SheetError] = []
    lot: list[Assigned] = []
    for row in rows:
        try:
            lot.append(_assigned(row, [other.channel for other in lot]))
        except SheetError as problem:
            problems.append(problem)
    raise_all(problems)
    if not lot:
        raise SheetError(path.name, "no values in it", "a row a channel: APC-A,MESF,0,1614,...")
    return tuple(lot)


def _assigned(row: Row, before: Sequence[str]) -> Assigned:
    channel = row["channel"]
    if not channel:
        raise row.error("no channel is named", "write the detector's $PnN, for example APC-A")
    if channel in before:
        raise row.error(f"channel {channel!r} stands twice", "one row a channel; one table a lot")
    if not row["unit"]:
        raise row.error("the unit is empty", "write what the maker calls it: MESF, MEFL, MEAP, ERF ...")
    cells = [row[peak] for peak in PEAKS]
    last = max((i for i, cell in enumerate(cells) if cell), default=-1)
    values = tuple(_value(row, PEAKS[i], cells[i]) for i in range(last + 1))
    known = [value for value in values if value is not None]
    for low, high in pairwise(known):
        if not low < high:
            raise row.error(f"{high:g} follows {low:g}", "peaks are numbered from dim to bright: values must rise")
    usable = sum(value > 0 for value in known)
    if usable < LEAST_PEAKS:
        raise row.error(f"{usable} values above 0", f"a line needs at least {LEAST_PEAKS}")
    return Assigned(channel, row["unit"], values, row["lot"])


def _value(row: Row, peak: str, cell: str) -> float | None:
    text = plain(cell).replace(" ", "")
    if text.lower() in _NO_VALUE:
        return None
    match = re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?(?:e\+?\d+)?", text, re.IGNORECASE)
    if not match or float(text.replace(",", "")) > 1e15:
        raise row.error(f"{peak} {cell!r} is not a number", "write the value of the lot's sheet, or NA for none")
    return float(text.replace(",", ""))


def for_channel(lot: Sequence[Assigned], signal: str, channels: Sequence[Channel], where: str) -> Assigned:
    """The row of the signal's channel, named by $PnN or $PnS; raises ConfigError where there is none, or are two."""
    stain = next((channel.stain for channel in channels if channel.name == signal), "")
    rows = [row for row in lot if row.channel == signal] or [row for row in lot if stain and row.channel == stain]
    if len(rows) == 1:
        return rows[0]
    names = [row.channel for row in lot]
    called = f"{signal} ({stain})" if stain and stain != signal else signal
    raise ConfigError(
        where, f"no row for the signal's channel {called}; rows: {', '.join(names)}", nearest(signal, names)
    )
