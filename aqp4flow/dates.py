"""Dates as people and spreadsheets write them: taken where they can be read one way only, else refused with a hint.

No date is guessed. A refusal says what the text would be, so that a person can write it down without thinking.
"""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Callable, Iterable

FIRST_YEAR, LAST_YEAR = 1990, 2100
WRITE = "write year-month-day: 2026-04-01"
_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—−", "-"))
_TIME = re.compile(r"(.*\S)(?:\s+|(?<=\d)T)(\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:\s*[ap]m)?)", re.IGNORECASE)
_YEAR_FIRST = re.compile(r"(\d{4})([-/.])(\d{1,2})\2(\d{1,2})")
_JAPANESE = re.compile(r"(\d{4})\s*年\s*(\d{1,2})\s*月\s*(\d{1,2})\s*日")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_FULL_NAMES = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip
_NAMED = rf"({'|'.join(_MONTHS)})[a-z]*\.?"
#: Day 0 of the two ways in which Excel counts days (the first holds its 29 February 1900).
_DAY_ZERO = {1900: datetime.date(1899, 12, 30), 1904: datetime.date(1904, 1, 1)}
#: The year before the first of each era.
_ERAS = {"令和": 2018, "r": 2018, "平成": 1988, "h": 1988, "昭和": 1925, "s": 1925}


class DateRefusedError(ValueError):
    """A text that is no date, or one that could be several: what it is, and what to write."""

    def __init__(self, what: str, hint: str = WRITE) -> None:
        super().__init__(what)
        self.what, self.hint = what, hint


def date_of(text: str) -> datetime.date:
    """The date a cell holds: `2026-04-01`, also with / or . , `20260401`, `2026年4月1日`; full-width digits are digits.

    Raises DateRefusedError for whatever could be read two ways (days and months, two-digit years, Excel's day
    numbers), for Japanese eras, a time of day, and years outside 1990 to 2100.
    """
    plain = unicodedata.normalize("NFKC", text).translate(_DASHES).strip()
    if not plain:
        raise DateRefusedError("is empty")
    plain = _without_time(plain)
    found = _year_first(plain)
    if found is None:
        raise _refusal(plain)
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise DateRefusedError(f"lies in {found.year}, outside {FIRST_YEAR} to {LAST_YEAR}", "correct the year")
    return found


def _without_time(text: str) -> str:
    """The text without midnight, which spreadsheets add to a day; any other time of day is refused."""
    match = _TIME.fullmatch(text)
    if match is None:
        return text
    if re.fullmatch(r"0?0:00(:00(\.0+)?)?", match[2]):
        return match[1]
    day = _year_first(match[1])
    hint = f"write the day alone: {day.isoformat()}" if day else WRITE
    raise DateRefusedError("holds a time of day", hint)


def _year_first(text: str) -> datetime.date | None:
    """The date, where the text has a form with one reading; refused where there is no such day."""
    if match := _YEAR_FIRST.fullmatch(text):
        parts = match[1], match[3], match[4]
    elif match := _JAPANESE.fullmatch(text) or re.fullmatch(r"(\d{4})(\d{2})(\d{2})", text):
        parts = match[1], match[2], match[3]
    else:
        return None
    found = _day(*parts)
    if found is None:
        raise DateRefusedError("is no day of the calendar", "look at month and day, year-month-day: 2026-04-01")
    return found


def _day(year: str | int, month: str | int, day: str | int) -> datetime.date | None:
    try:
        return datetime.date(int(year), int(month), int(day))
    except ValueError:
        return None


# --- why not, and what it would be ---------------------------------------------------------------


def _refusal(text: str) -> DateRefusedError:
    for look in (_day_number, _era, _month_name, _two_ways, _short_year, _incomplete):
        refused = look(text)
        if refused is not None:
            return refused
    if set(text) == {"#"}:
        hint = "widen the column in Excel until it shows the date, and save again"
        return DateRefusedError("is what Excel shows where a column is too narrow", hint)
    return DateRefusedError("is not a date")


def _day_number(text: str) -> DateRefusedError | None:
    match = re.fullmatch(r"(\d{5})(\.\d+)?", text)
    if match is None:
        return None
    readings = [f"{zero + datetime.timedelta(int(match[1]))} counted from {base}" for base, zero in _DAY_ZERO.items()]
    hint = f"{', '.join(readings)}: write the date that is meant"
    return DateRefusedError("looks like an Excel day number", hint)


def _era(text: str) -> DateRefusedError | None:
    pattern = r"(令和|平成|昭和|[rhs])\.?\s*(\d{1,2}|元)\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*日?"
    match = re.fullmatch(pattern, text, re.IGNORECASE)
    if match is None:
        return None
    year = _ERAS[match[1].lower()] + (1 if match[2] == "元" else int(match[2]))
    return DateRefusedError("is a date of a Japanese era", _write([_day(year, match[3], match[4])]))


def _month_name(text: str) -> DateRefusedError | None:
    def number(name: str) -> int:
        return _MONTHS.index(name.lower()) + 1

    readings: list[datetime.date | None] = []
    if match := re.fullmatch(rf"(\d{{1,2}})[-/ .]*{_NAMED}[-/ ,.]*(\d{{4}}|\d{{2}})", text, re.IGNORECASE):
        readings = [_day(_full(match[3]), number(match[2]), match[1])]
    elif match := re.fullmatch(rf"{_NAMED}[-/ .]*(\d{{1,2}})[-/ ,.]+(\d{{4}}|\d{{2}})", text, re.IGNORECASE):
        readings = [_day(_full(match[3]), number(match[1]), match[2])]
    elif match := re.fullmatch(rf"{_NAMED}[-/ .]*(\d{{1,2}})|(\d{{1,2}})[-/ .]*{_NAMED}", text, re.IGNORECASE):
        month, other = number(match[1] or match[4]), int(match[2] or match[3])
        name = _FULL_NAMES[month - 1]
        hint = f"it may be a day of {name} 20{other:02d}, or {other} {name} of a year that is not shown: {WRITE}"
        return DateRefusedError("has its month by name and is not whole", hint)
    elif not re.search(_NAMED, text, re.IGNORECASE):
        return None
    return DateRefusedError("has its month by name", _write(readings))


def _two_ways(text: str) -> DateRefusedError | None:
    match = re.fullmatch(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})", text)
    if match is None:
        return None
    readings = [_day(match[3], match[2], match[1]), _day(match[3], match[1], match[2])]
    several = len(set(filter(None, readings))) > 1
    what = "can be read two ways, day or month first" if several else "does not have its year first"
    return DateRefusedError(what, _write(readings))


def _short_year(text: str) -> DateRefusedError | None:
    match = re.fullmatch(r"(\d{1,2})[-/.](\d{1,2})[-/.](\d{1,2})", text)
    if match is None:
        return None
    a, b, c = match[1], match[2], match[3]
    orders = ((a, b, c), (c, b, a), (c, a, b))
    readings = [_day(_full(year), month, day) for year, month, day in orders if len(year) == 2]
    return DateRefusedError("has a year of two digits", _write(readings))


def _incomplete(text: str) -> DateRefusedError | None:
    forms: dict[str, Callable[[re.Match[str]], str]] = {
        r"(\d{4})\s*年?": lambda m: f"says the year {m[1]} only",
        r"(\d{4})\s*[-/.年]\s*(\d{1,2})\s*月?": lambda _: "has no day",
        r"(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*日?": lambda _: "has no year",
    }
    for form, what in forms.items():
        if match := re.fullmatch(form, text):
            return DateRefusedError(what(match))
    return None


def _full(year: str) -> str:
    return year if len(year) == 4 else f"20{int(year):02d}"


def _write(readings: Iterable[datetime.date | None]) -> str:
    """A hint with the readings that are days of the calendar."""
    days = list(dict.fromkeys(day.isoformat() for day in readings if day is not None))
    return f"write {' or '.join(days)}, whichever is meant" if len(days) > 1 else f"write {days[0]}" if days else WRITE
