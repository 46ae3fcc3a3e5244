"""Tables in a page, and numbers in their cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aqp4flow import tables
from aqp4flow.model import Bound, Estimate, Titer


@dataclass(frozen=True)
class Grid:
    """A table in the page: headings and cells as text."""

    headings: tuple[str, ...]
    rows: list[list[str]]


def grid(table: tables.Table, columns: Sequence[str] | None = None) -> Grid:
    """A results table, or some of its columns, as the same text that stands in the CSV."""
    headings, rows = table
    chosen = [headings.index(name) for name in columns or headings]
    return Grid(
        tuple(headings[i].replace("_", " ") for i in chosen),
        [[tables.cell_text(row[i]) for i in chosen] for row in rows],
    )


def with_limits(value: Titer | Estimate | None) -> str:
    """A titer with its bound, or another number, and its limits in brackets where there are any."""
    if value is None:
        return ""
    shown = bounded(value) if isinstance(value, Titer) else short(value.value)
    ends = limits(value.low, value.high)
    return f"{shown} ({ends})" if ends else shown


def short(value: float) -> str:
    """Four significant digits."""
    return tables.number(float(f"{value:.4g}"))


def bounded(titer: Titer | None) -> str:
    """A titer with its bound, four digits; empty for none."""
    if titer is None:
        return ""
    sign = "" if titer.bound is Bound.EXACT else f"{titer.bound.value} "
    return f"{sign}{short(titer.value)}"


def limits(low: float, high: float) -> str:
    """`low to high`, an open side as three dots; empty when both are open."""
    ends = [short(end) or "…" for end in (low, high)]
    return "" if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
