"""The visits and clinical tables, read and refused; courses around the start of treatment, by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from aqp4flow.cohort.clinical import read_clinical
from aqp4flow.cohort.courses import followed, treatment_starts
from aqp4flow.cohort.visits import read_visits
from aqp4flow.model import ClinicalEvent, ClinicalKind, PatientRecords, Visit

K = ClinicalKind


def clinical(folder: Path, *rows: str, visits: list[Visit] | None = None) -> tuple[list[ClinicalEvent], list[str]]:
    """Events of a table with these rows (the first is row 2), and its problems as a person reads them."""
    path = folder / "clinical.csv"
    path.write_text("\n".join(["patient,date,kind,value", *rows]) + "\n", encoding="utf-8")
    events, problems = read_clinical(path, visits)
    return events, [str(problem).replace(f"{folder.name}/", "") for problem in problems]


def visits_of(folder: Path, *rows: str, heading: str = "serum,patient,collected,visit,baseline") -> tuple[list, list]:
    path = folder / "visits.csv"
    path.write_text("\n".join([heading, *rows]) + "\n", encoding="utf-8")
    visits, problems = read_visits(path)
    return visits, [str(problem).replace(f"{folder.name}/", "") for problem in problems]


# --- visits --------------------------------------------------------------------------------------


def test_visits_know_their_row_and_month(tmp_path: Path) -> None:
    visits, problems = visits_of(tmp_path, "B,P,2026-07-01,M03,", "A,P,2026-04-01,M00,yes")
    assert problems == []
    assert [(v.serum, v.row, v.baseline) for v in visits] == [("A", 3, True), ("B", 2, False)]
    assert visits[1].month == pytest.approx(91 / (365.25 / 12))


def test_every_problem_of_the_visits_comes_out_at_once(tmp_path: Path) -> None:
    _, problems = visits_of(
        tmp_path,
        "A,P,01/04/2026,M00,maybe",  # two problems in a row
        ",,2026-04-01,,",  # two more
        "B,P,2026-05-01,,",
        "B,Q,2026-05-02,,yes",  # another patient's serum
        "C,Q,2026-05-03,,yes",  # a second baseline
        "D,R,2026-05-03,,",  # no baseline
    )
    said = "\n".join(problems)
    assert len(problems) == 7
    assert "visits.csv: row 2: collected '01/04/2026' can be read two ways" in said
    assert "visits.csv: row 2: baseline 'maybe' is neither yes nor no" in said
    assert "visits.csv: row 3: serum is empty" in said
    assert "visits.csv: row 3: patient is empty" in said
    assert "visits.csv: row 5: serum 'B' is patient 'Q' here and 'P' in row 4" in said
    assert "visits.csv: row 6: patient 'Q' has a second baseline: the first is row 5" in said
    assert "visits.csv: row 7: patient 'R' has no baseline" in said
    assert "patient 'P' has no baseline" not in said  # it may be the row that could not be read


def test_a_serum_drawn_twice_for_one_patient_is_refused(tmp_path: Path) -> None:
    _, problems = visits_of(tmp_path, "A,P,2026-04-01,,yes", "A,P,2026-05-01,,")
    assert problems == ["visits.csv: row 3: serum 'A' stands in row 2 too\nhint: one serum is one bleed of one patient: one row"]  # fmt: skip  # noqa: E501


def test_visits_without_a_row_or_a_baseline_column_are_refused(tmp_path: Path) -> None:
    from aqp4flow.errors import SheetError

    assert "no visit in it" in visits_of(tmp_path)[1][0]
    with pytest.raises(SheetError, match="the column 'baseline' is missing"):
        visits_of(tmp_path, "A,P,2026-04-01", heading="serum,patient,collected")


# --- the clinical table ----------------------------------------------------------------------------


def test_a_clinical_table_in_japanese_and_cp932_is_read(tmp_path: Path) -> None:
    path = tmp_path / "clinical.csv"
    rows = [
        "患者,日付,種類,値", "甲,2025年4月1日,観察開始,", "甲,2025/07/01,再発,", "甲,20260401,投与,８ mg/kg",
        "甲,2026-04-01,EDSS,６.５", "甲,2026-04-01,痛み,4", "甲,2026-04-02,疼痛,3", "甲,2026-04-01,倦怠感,7",
        "甲,2026-04-02,疲労,6", "甲,2027-04-01,観察終了,",
    ]  # fmt: skip
    path.write_bytes("\r\n".join(rows).encode("cp932"))
    events, problems = read_clinical(path, [])
    assert problems == []
    found = [(e.date, e.kind, e.value, e.row) for e in events if not math.isnan(e.value)]
    assert found == [
        ("2026-04-01", K.DOSE, 8.0, 4),
        ("2026-04-01", K.EDSS, 6.5, 5),
        ("2026-04-01", K.FATIGUE, 7.0, 8),
        ("2026-04-01", K.PAIN, 4.0, 6),
        ("2026-04-02", K.FATIGUE, 6.0, 9),
        ("2026-04-02", K.PAIN, 3.0, 7),
    ]
    assert [e.kind for e in events if math.isnan(e.value)] == [K.OBSERVATION_START, K.RELAPSE, K.OBSERVATION_END]


@pytest.mark.parametrize("value", ["0", "1", "1.5", "4", "4.0", "9.5", "10"])
def test_scores_that_exist_are_taken(tmp_path: Path, value: str) -> None:
    events, problems = clinical(tmp_path, f"P,2026-04-01,edss,{value}")
    assert (problems, events[0].value) == ([], float(value))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("edss,0.5", "there is no EDSS of 0.5\nhint: write 0, 1, 1.5, 2 ... up to 10"),
        ("edss,4.25", "there is no EDSS of 4.25"),
        ("edss,10.5", "EDSS '10.5' lies outside 0 to 10"),
        ("edss,-1", "EDSS '-1' is not a number"),
        ("edss,", "EDSS has no value"),
        ("edss,nan", "EDSS 'nan' is not a number"),
        ("pain,3.5", "pain '3.5' is not a whole number\nhint: write a whole number from 0 to 10"),
        ("pain,11", "pain '11' lies outside 0 to 10"),
        ("fatigue,much", "fatigue 'much' is not a number"),
        ("dose,eight", "dose 'eight' is not a number with its unit\nhint: write 8 mg/kg or 8"),
        ("dose,8-10 mg", "dose '8-10 mg' is not a number with its unit"),
        ("relapse,2", "value '2', but relapse takes none\nhint: leave the value empty"),
        ("observation-end,1", "value '1', but observation-end takes none"),
        ("relaps,", "kind 'relaps' is unknown\nhint: did you mean 'relapse'?"),
        (",", "kind is empty"),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_row(tmp_path: Path, row: str, said: str) -> None:
    events, problems = clinical(tmp_path, f"P,2026-04-01,{row}")
    assert events == []
    assert len(problems) == 1
    assert problems[0].startswith(f"clinical.csv: row 2: {said}")


@pytest.mark.parametrize(
    ("value", "number"), [("8", 8), ("8 mg/kg", 8), ("8mg/kg", 8), ("480 mg", 480), ("0.5 mL", 0.5)]
)
def test_a_dose_is_its_number(tmp_path: Path, value: str, number: float) -> None:
    events, problems = clinical(tmp_path, f"P,2026-04-01,dose,{value}")
    assert (problems, events[0].value) == ([], number)


def test_rows_that_contradict_each_other_are_refused_with_both_rows(tmp_path: Path) -> None:
    _, problems = clinical(
        tmp_path,
        "P,2026-01-01,observation-start,",
        "P,2026-02-01,observation-start,",
        "P,2025-12-31,observation-end,",
        "P,2025-11-01,relapse,",
        "P,2026-03-01,edss,4",
        "P,2026-03-01,edss,5",
        "P,2026-03-01,dose,8 mg/kg",
        "P,2026-04-01,dose,480 mg",
        "Q,2026-04-01,pain,11",
        ",01/04/2026,pain,12",  # three at once
    )
    said = [problem.splitlines()[0] for problem in problems]
    assert said == (  # from the top to the bottom
        [
            "clinical.csv: row 3: patient 'P' has a second observation-start: the first is row 2",
            "clinical.csv: row 4: the observation of patient 'P' ends on 2025-12-31, not after its start in row 2 (2026-01-01)",  # noqa: E501
            "clinical.csv: row 5: relapse on 2025-11-01, before the patient's observation-start 2026-01-01 (clinical row 2)",  # noqa: E501
            "clinical.csv: row 7: edss of patient 'P' on 2026-03-01 stands in row 6 too",
            "clinical.csv: row 9: the dose is in mg here and in mg/kg in row 8",
            "clinical.csv: row 10: pain '11' lies outside 0 to 10",
            "clinical.csv: row 11: patient is empty",
            "clinical.csv: row 11: date '01/04/2026' can be read two ways, day or month first",
            "clinical.csv: row 11: pain '12' lies outside 0 to 10",
        ]
    )


def test_months_count_from_the_baseline_else_the_first_dose_else_the_observation(tmp_path: Path) -> None:
    base = Visit("A", "A0", "2026-01-01", "", True, 0.0)
    rows = ["A,2026-01-31,relapse,", "A,2026-01-11,dose,", "B,2026-01-31,relapse,", "B,2026-03-01,dose,",
            "B,2026-01-21,dose,", "C,2026-01-31,relapse,", "C,2026-01-01,observation-start,"]  # fmt: skip
    events, problems = clinical(tmp_path, *rows, visits=[base])
    assert problems == []
    days = {e.patient: e.month * 365.25 / 12 for e in events if e.kind is K.RELAPSE}
    assert days == pytest.approx({"A": 30, "B": 10, "C": 30})
    _, problems = clinical(tmp_path, "A,2026-01-31,relapse,", "D,2026-01-31,relapse,", visits=[base])
    assert problems[0].startswith("clinical.csv: row 3: patient 'D' has no day to count months from")
    events, problems = clinical(tmp_path, "D,2026-01-31,relapse,", visits=None)  # the visits could not be read
    assert problems == []
    assert math.isnan(events[0].month)


# --- courses ---------------------------------------------------------------------------------------


def event(day: str, kind: ClinicalKind, patient: str = "P") -> ClinicalEvent:
    return ClinicalEvent(patient, day, kind, math.nan, 0.0)


def course(*events: ClinicalEvent, visits: tuple[Visit, ...] = ()):
    return followed(PatientRecords(visits, events))


def test_relapses_and_years_before_and_after_by_hand() -> None:
    """The relapse on the day of the first dose counts before; years are days over 365.25."""
    (found,) = course(
        event("2024-04-01", K.OBSERVATION_START),
        event("2024-04-01", K.RELAPSE),
        event("2025-01-01", K.RELAPSE),
        event("2026-04-01", K.RELAPSE),
        event("2026-04-01", K.DOSE),
        event("2026-05-01", K.DOSE),
        event("2026-04-02", K.RELAPSE),
        event("2027-04-01", K.RELAPSE),
        event("2027-04-01", K.OBSERVATION_END),
        event("2027-04-02", K.RELAPSE),  # after the observation: not counted
    )
    assert (found.start, found.relapses_before, found.relapses_after) == ("2026-04-01", 3, 2)
    assert (found.years_before, found.years_after) == (730 / 365.25, 365 / 365.25)


def test_a_side_that_was_not_observed_has_no_years() -> None:
    (found,) = course(event("2026-04-01", K.DOSE), event("2026-05-01", K.RELAPSE))
    assert (found.relapses_before, found.relapses_after) == (0, 1)
    assert math.isnan(found.years_before)
    assert math.isnan(found.years_after)
    (found,) = course(event("2026-04-01", K.DOSE), event("2026-04-01", K.OBSERVATION_START))
    assert math.isnan(found.years_before)  # nothing was observed before: not 0 years


def test_treatment_starts_with_the_first_dose_else_the_baseline_visit() -> None:
    visits = (Visit("P", "P0", "2026-03-01", "", True, 0.0), Visit("Q", "Q0", "2026-03-02", "", True, 0.0))
    records = PatientRecords(visits, (event("2026-04-01", K.DOSE), event("2026-04-01", K.RELAPSE, "R")))
    assert treatment_starts(records) == {"P": "2026-04-01", "Q": "2026-03-02"}
    assert [one.patient for one in followed(records)] == ["P"]  # Q has no clinical row, R no start
