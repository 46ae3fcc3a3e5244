"""Dates as people and spreadsheets write them: one reading, or a refusal that says what it would be."""

from __future__ import annotations

import datetime
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openpyxl.utils.datetime import CALENDAR_MAC_1904

from aqp4flow.dates import FIRST_YEAR, LAST_YEAR, DateRefusedError, date_of
from aqp4flow.errors import SheetError
from aqp4flow.sheet import read_date, read_table

DAYS = st.dates(datetime.date(FIRST_YEAR, 1, 1), datetime.date(LAST_YEAR, 12, 31))


@pytest.mark.parametrize(
    "text",
    [
        "2026-04-01",
        "2026-4-1",
        "2026/04/01",
        "2026.04.01",
        "20260401",
        "2026年4月1日",
        "2026年04月01日",
        "２０２６／０４／０１",
        "２０２６年４月１日",
        "2026–04–01",
        " 2026-04-01 ",
        "2026-04-01 00:00:00",
        "2026-04-01T00:00",
        "2026/4/1 0:00",
    ],
)
def test_a_date_with_one_reading_is_read(text: str) -> None:
    assert date_of(text) == datetime.date(2026, 4, 1)


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        ("45292", "Excel day number", "2024-01-01 counted from 1900, 2028-01-02 counted from 1904"),
        ("45292.5", "Excel day number", "2024-01-01 counted from 1900"),
        ("４５２９２", "Excel day number", "2024-01-01 counted from 1900"),
        ("01/04/2026", "two ways", "write 2026-04-01 or 2026-01-04, whichever is meant"),
        ("25/04/2026", "year first", "write 2026-04-25"),
        ("04/25/2026", "year first", "write 2026-04-25"),
        ("04/04/2026", "year first", "write 2026-04-04"),
        ("26/04/01", "two digits", "write 2026-04-01 or 2001-04-26"),
        ("1.4.26", "two digits", "write 2026-04-01 or 2026-01-04"),
        ("Apr-26", "not whole", "it may be a day of April 2026, or 26 April of a year that is not shown"),
        ("1-Apr-26", "month by name", "write 2026-04-01"),
        ("1 April 2026", "month by name", "write 2026-04-01"),
        ("April 1, 2026", "month by name", "write 2026-04-01"),
        ("R8.4.1", "Japanese era", "write 2026-04-01"),
        ("令和8年4月1日", "Japanese era", "write 2026-04-01"),
        ("令和元年5月1日", "Japanese era", "write 2019-05-01"),
        ("H30/1/2", "Japanese era", "write 2018-01-02"),
        ("昭和64年1月7日", "Japanese era", "write 1989-01-07"),
        ("2026-04-01 13:45", "time of day", "write the day alone: 2026-04-01"),
        ("13:45", "not a date", "year-month-day"),
        ("2026-02-30", "no day of the calendar", "year-month-day"),
        ("20261301", "no day of the calendar", "year-month-day"),
        ("2026-04", "has no day", "year-month-day"),
        ("4月1日", "has no year", "year-month-day"),
        ("2026", "the year 2026 only", "year-month-day"),
        ("1926-04-01", "lies in 1926", "correct the year"),
        ("2206-04-01", "lies in 2206", "correct the year"),
        ("######", "too narrow", "widen the column"),
        ("", "is empty", "year-month-day"),
        ("yesterday", "is not a date", "year-month-day"),
    ],
)
def test_anything_else_is_refused_with_what_it_would_be(text: str, what: str, hint: str) -> None:
    with pytest.raises(DateRefusedError) as refused:
        date_of(text)
    assert what in refused.value.what
    assert hint in refused.value.hint


@given(DAYS, st.sampled_from(["{0:%Y-%m-%d}", "{0:%Y/%m/%d}", "{0:%Y.%m.%d}", "{0:%Y%m%d}"]))
def test_every_day_survives_every_form_with_the_year_first(day: datetime.date, form: str) -> None:
    assert date_of(form.format(day)) == day


@given(DAYS, st.sampled_from(["{0:%d/%m/%Y}", "{0:%m/%d/%Y}", "{0:%d.%m.%y}", "{0:%y/%m/%d}", "{0:%d-%b-%Y}"]))
def test_a_refusal_names_the_day_that_was_meant(day: datetime.date, form: str) -> None:
    """For years of this century also where the year has two digits."""
    if "%y" in form and day.year < 2000:
        day = day.replace(year=2020)
    if day.year == LAST_YEAR:
        day = day.replace(year=LAST_YEAR - 1)
    with pytest.raises(DateRefusedError) as refused:
        date_of(form.format(day))
    assert day.isoformat() in refused.value.hint


@given(st.text(max_size=20))
def test_no_text_is_anything_but_a_date_or_a_refusal(text: str) -> None:
    try:
        found = date_of(text)
    except DateRefusedError:
        return
    assert FIRST_YEAR <= found.year <= LAST_YEAR


# --- xlsx ----------------------------------------------------------------------------------------


def _dates_of(path: Path, cells: list[object], *, from_1904: bool = False) -> list[str]:
    """What is read of a column of an xlsx: dates, or the refusal's text."""
    book = openpyxl.Workbook()
    if from_1904:
        book.epoch = CALENDAR_MAC_1904
    book.active.append(["collected"])
    for cell in cells:
        book.active.append([cell])
    book.save(path)
    found = []
    for row in read_table(path, ("collected",)):
        try:
            found.append(read_date(row, "collected").isoformat())
        except SheetError as refused:
            found.append(str(refused))
    return found


@pytest.mark.parametrize("from_1904", [False, True])
def test_true_dates_of_a_workbook_are_read_whichever_year_it_counts_from(tmp_path: Path, from_1904: bool) -> None:
    cells = [datetime.date(2026, 4, 1), datetime.datetime(2026, 4, 1), "2026-04-01", "2026年4月1日", 20260401]
    assert _dates_of(tmp_path / "visits.xlsx", cells, from_1904=from_1904) == ["2026-04-01"] * 5


def test_a_workbook_with_numbers_or_times_for_dates_is_refused_by_row(tmp_path: Path) -> None:
    found = _dates_of(tmp_path / "visits.xlsx", [45292, datetime.datetime(2026, 4, 1, 9, 30), datetime.time(1, 40)])
    assert found[0].startswith(f"{tmp_path.name}/visits.xlsx: row 2: collected '45292' looks like an Excel day number")
    assert "row 3: collected '2026-04-01 09:30:00' holds a time of day\nhint: write the day alone" in found[1]
    assert "row 4: collected '01:40:00' is not a date" in found[2]


def test_a_dilution_that_excel_took_for_a_time_of_day_is_refused_with_the_reason(tmp_path: Path) -> None:
    from aqp4flow.sheet import read_dilution

    book = openpyxl.Workbook()
    book.active.append(["dilution"])
    book.active.append([datetime.time(1, 40)])
    book.save(tmp_path / "plate.xlsx")
    (row,) = read_table(tmp_path / "plate.xlsx", ("dilution",))
    with pytest.raises(
        SheetError, match="'01:40:00' is not a number\nhint: Excel took 1:40 for a time of day: write 40"
    ):
        read_dilution(row)
