"""Which well and plate a file says it is, and when it was acquired."""

from __future__ import annotations

from datetime import date, datetime, time
from pathlib import Path

import pytest

from aqp4flow.fcs import well_of, wells_said
from aqp4flow.fcs.acquisition import Acquisition, acquired, date_of, time_of
from handmade import DATA, TWO, built, codes, read

# --- wells and plates -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "well"),
    [
        ("Specimen_001_A1_A01.fcs", "A01"),
        ("Specimen_001_B12_B12_012.fcs", "B12"),
        ("Specimen_001_a1_a01_003.FCS", "A01"),
        ("2024-05-01_Well_C3.0001.fcs", "C03"),
        ("serum_Well_H12.fcs", "H12"),
        ("run.D07", "D07"),
        ("E05 patient 3.fcs", "E05"),
        ("a5.fcs", "A05"),
        ("B6_mouse.fcs", None),  # a strain
        ("P1_day2.fcs", None),  # a patient
        ("H9 cells.fcs", None),  # a cell line
        ("P24.fcs", "P24"),
        ("plate-G03.fcs", "G03"),
        ("C10.lmd", "C10"),
        ("01-Well-A1.fcs", "A01"),
        ("0877408774.B08", "B08"),
        ("A02 serum 3.fcs", "A02"),
        ("Specimen_001_D6_D06_001.fcs", "D06"),
        ("2018-11-02_Group_Sample(1).fcs", None),
        ("Specimen_001_Tube_003.fcs", None),
        ("tube_001.fcs", None),
        ("Q01.fcs", None),
        ("A25.fcs", None),
        ("A00.fcs", None),
        ("B7b.fcs", None),
        ("HEK_M23.fcs", None),  # an isoform of AQP4
        ("serum_P01.fcs", None),  # a patient
        ("P01_baseline.fcs", None),
        ("visit-D14.fcs", None),  # a day
        ("M23 cells.fcs", None),
    ],
)
def test_the_well_is_read_from_the_file_name(name: str, well: str | None) -> None:
    assert well_of({}, name) == well


@pytest.mark.parametrize(
    "keywords",
    [
        {"WELL ID": "b7", "$SRC": "Specimen_001", "TUBE NAME": "C3"},  # tubes have names of their own
        {"WELL ID": "B7", "$SRC": "P1"},  # and so have patients
        {"$WELLID": "B07", "BDPM$WELL": "B7"},
        {"BDPM$WELL": "B7"},
        {"$SRC": " B7 "},
        {"TUBE NAME": "B7"},
        {"WELL ID": "A25", "$SRC": "B7"},  # no well of a plate: not a well
    ],
)
def test_keywords_name_the_well(keywords: dict[str, str]) -> None:
    assert well_of(keywords, "tube_001.fcs") == "B07"


@pytest.mark.parametrize(
    ("keywords", "name", "said"),
    [
        ({"$SRC": "B7"}, "A01.fcs", {"$SRC": "B07", "file name": "A01"}),
        ({"WELL ID": "B7"}, "A01.fcs", {"WELL ID": "B07", "file name": "A01"}),
        ({"$WELLID": "C01", "BDPM$WELL": "E1"}, "C01.fcs", {"$WELLID": "C01", "BDPM$WELL": "E01", "file name": "C01"}),
    ],
)
def test_sources_that_disagree_name_no_well(keywords: dict[str, str], name: str, said: dict[str, str]) -> None:
    assert well_of(keywords, name) is None
    assert wells_said(keywords, name) == said


def test_a_file_says_its_well_and_plate(tmp_path: Path) -> None:
    file = read(tmp_path, built(DATA, {**TWO, "WELL ID": "H2", "plate name": " P7 "}, "5"), "H02.fcs")
    assert (file.well, file.plate, codes(file)) == ("H02", "P7", [])


@pytest.mark.parametrize(
    ("keywords", "plate"),
    [
        ({"PLATE NAME": "P1", "PLATE ID": "6b3e1e18"}, "P1"),
        ({"$PLATENAME": "P2"}, "P2"),
        ({"$PLATEID": "P3", "$PLATENAME": " "}, "P3"),
        ({}, None),
    ],
)
def test_the_plates_name_comes_before_its_number(keywords: dict[str, str], plate: str | None, tmp_path: Path) -> None:
    assert read(tmp_path, built(DATA, {**TWO, **keywords}, "5")).plate == plate


# --- date and time --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "30-JUN-2011",
        "30-Jun-11",
        "30 Jun 2011",
        "30-06-2011",
        "06-30-2011",
        "30-June-2011",
        "2011-Jun-30",
        "2011-06-30",
        "2011/06/30",
        "20110630",
        "30.06.2011",
        "2011年6月30日",
        "30-6月-2011",
        "06/30/2011",
        "30/06/2011",
        " 30-JUN-2011 ",
        "30-Juni-2011",
    ],
)
def test_dates_in_the_forms_of_real_files(text: str) -> None:
    assert date_of(text) == date(2011, 6, 30)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [("01-Okt-2020", date(2020, 10, 1)), ("01-Mär-98", date(1998, 3, 1)), ("1-fév-2020", date(2020, 2, 1))],
)
def test_months_of_other_languages(text: str, wanted: date) -> None:
    assert date_of(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "06/05/2011",
        "06-05-2011",
        "11-06-30",
        "11.06.30",
        "31-FEB-2011",
        "2011-99999999999-01",
        "2011-" + "9" * 5000 + "-01",
        "yesterday",
        "2011",
        "30-ABC-2011",
        "00-JUN-2011",
    ],
)
def test_a_date_that_could_be_two_days_or_none_is_not_guessed(text: str) -> None:
    assert date_of(text) is None


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("13:02:17", time(13, 2, 17)),
        ("13:02:17.25", time(13, 2, 17, 250_000)),
        ("01:02:17 PM", time(13, 2, 17)),
        ("12:02:17 am", time(0, 2, 17)),
        ("10:00:00:25", time(10, 0, 0)),  # sixtieths or hundredths of a second: not said which
        (" 9:05:01", time(9, 5, 1)),
        ("25:00:00", None),
        ("noon", None),
        ("13:00:00 PM", time(13, 0, 0)),
    ],
)
def test_times_in_the_forms_of_real_files(text: str, wanted: time | None) -> None:
    assert time_of(text) == wanted


def test_begin_and_end_of_an_acquisition() -> None:
    keywords = {"$DATE": "30-JUN-2011", "$BTIM": "23:59:30", "$ETIM": "00:01:00"}
    day = date(2011, 6, 30)
    assert acquired(keywords) == Acquisition(
        day, datetime(2011, 6, 30, 23, 59, 30), datetime(2011, 7, 1, 0, 1), keywords
    )
    assert acquired({"$DATE": "30-JUN-2011", "$ETIM": "?"}) == Acquisition(
        day, raw={"$DATE": "30-JUN-2011", "$ETIM": "?"}
    )


def test_dots_put_the_day_first() -> None:
    assert date_of("06.05.2011") == date(2011, 5, 6)


def test_the_last_of_all_nights_has_no_morning() -> None:
    found = acquired({"$DATE": "31-DEC-9999", "$BTIM": "23:00:00", "$ETIM": "01:00:00"})
    assert (found.begin, found.end) == (datetime(9999, 12, 31, 23), None)


def test_a_day_that_could_be_two_is_kept_as_written() -> None:
    keywords = {"$DATE": "06/05/2011", "$BTIM": "10:00:00"}
    assert acquired(keywords) == Acquisition(raw=keywords)


def test_a_day_of_fcs_3_2_without_its_time_gives_no_begin() -> None:
    found = acquired({"$BEGINDATETIME": "2020-01-02"})
    assert (found.day, found.begin) == (date(2020, 1, 2), None)


def test_date_and_time_of_fcs_3_2_come_first() -> None:
    keywords = {"$BEGINDATETIME": "2020-01-02T03:04:05.5+09:00", "$DATE": "30-JUN-2011", "$BTIM": "10:00:00"}
    found = acquired(keywords)
    assert found.begin is not None
    assert found.begin.isoformat() == "2020-01-02T03:04:05.500000+09:00"
    assert (found.day, found.end, found.raw) == (date(2020, 1, 2), None, keywords)
