"""When a data set was acquired, from the forms of date and time that cytometers write."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

_KEYWORDS = ("$BEGINDATETIME", "$ENDDATETIME", "$DATE", "$BTIM", "$ETIM")
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan",
            "feb fev fév",
            "mar mär mrz",
            "apr avr",
            "may mai",
            "jun",
            "jul",
            "aug",
            "sep",
            "oct okt",
            "nov",
            "dec dez déc",
        ),
        1,
    )
    for name in names.split()
}
_YEAR_FIRST = re.compile(r"(\d{4})[-/. 年]\s*(\w{1,9}?)[-/. 月]\s*(\d{1,2})日?", re.ASCII)
_NAMED = re.compile(r"(\d{1,2})[-. ]\s*([^\W\d]{3,9}|\d{1,2}月)[-. ]\s*([0-9]{4}|[0-9]{2})")
_COMPACT = re.compile(r"(\d{4})(\d{2})(\d{2})", re.ASCII)
_NUMBERS = re.compile(r"(\d{1,2})([-/. ])(\d{1,2})\2(\d{4})", re.ASCII)
_CLOCK = re.compile(r"(\d{1,2}):(\d{2}):(\d{2})(?:([:.,])(\d{1,6}))?\s*([AaPp][Mm])?", re.ASCII)


@dataclass(frozen=True)
class Acquisition:
    """When a data set was acquired; None where the file does not say, or not so that it can mean one thing only.

    `raw` holds what the keywords say, as written.
    """

    day: datetime.date | None = None
    begin: datetime.datetime | None = None
    end: datetime.datetime | None = None
    raw: Mapping[str, str] = field(default_factory=dict)


def acquired(keywords: Mapping[str, str]) -> Acquisition:
    """Day, begin and end of the acquisition.

    $BEGINDATETIME and $ENDDATETIME (FCS 3.2) come before $DATE with $BTIM and $ETIM. An end before the begin is
    past midnight.
    """
    raw = {key: keywords[key] for key in _KEYWORDS if keywords.get(key, "").strip()}
    begin, end = (_iso(raw.get(key, "")) for key in ("$BEGINDATETIME", "$ENDDATETIME"))
    if begin:
        return Acquisition(begin.date(), begin, end, raw)
    day = date_of(raw.get("$DATE", "") or raw.get("$BEGINDATETIME", ""))
    if day is None:
        return Acquisition(raw=raw)
    started, stopped = (time_of(raw.get(key, "")) for key in ("$BTIM", "$ETIM"))
    first = datetime.datetime.combine(day, started) if started else None
    last = datetime.datetime.combine(day, stopped) if stopped else None
    if first and last and last < first:
        last = last + datetime.timedelta(days=1) if day < datetime.date.max else None
    return Acquisition(day, first, last, raw)


def date_of(text: str) -> datetime.date | None:
    """`30-JUN-2011`, `30-06-2011`, `30 Jun 2011`, `2011-Jun-30`, `2011年6月30日` and their like; None if in doubt.

    Two-digit years are of 1970 to 2069, beside a month's name only. Of two numbers before the year one must be too
    large for a month, or both the same; with dots the day comes first.
    """
    text = text.strip()
    if match := _YEAR_FIRST.fullmatch(text):
        return _day(match[1], match[2], match[3])
    if match := _COMPACT.fullmatch(text):
        return _day(match[1], match[2], match[3])
    if match := _NAMED.fullmatch(text):
        return _day(match[3], match[2].removesuffix("月"), match[1])
    if match := _NUMBERS.fullmatch(text):
        first, second = int(match[1]), int(match[3])
        if match[2] == "." or first > 12 or first == second:
            return _day(match[4], match[3], match[1])
        if second > 12:
            return _day(match[4], match[1], match[3])
    return None


def _day(year: str, month: str, day: str) -> datetime.date | None:
    full = int(year) if len(year) == 4 else int(year) + (1900 if int(year) >= 70 else 2000)
    number = int(month) if month.isascii() and month.isdigit() else _MONTHS.get(month.lower()[:3], 0)
    try:
        return datetime.date(full, number, int(day))
    except ValueError:
        return None


def time_of(text: str) -> datetime.time | None:
    """`13:02:17`, `13:02:17.25`, `01:02:17 PM`, or `13:02:17:25`, whose last field is left out.

    The standard counts it in sixtieths of a second, writers also in hundredths: below a second it tells nothing.
    """
    match = _CLOCK.fullmatch(text.strip())
    if not match:
        return None
    hour = int(match[1])
    if match[6]:
        hour = hour % 12 + (12 if match[6].lower() == "pm" else 0)
    fraction = (match[5] or "").ljust(6, "0") if match[4] in (".", ",") else "0"
    try:
        return datetime.time(hour, int(match[2]), int(match[3]), int(fraction))
    except ValueError:
        return None


def _iso(text: str) -> datetime.datetime | None:
    """A day with its time; a day alone is no begin."""
    try:
        return datetime.datetime.fromisoformat(text.strip()) if ":" in text else None
    except ValueError:
        return None
