"""Tables against plates: every oddity of a messy study by name and row, every contradiction of a broken one at once."""

from __future__ import annotations

import csv
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest

from aqp4flow.cohort.linking import link_checks
from aqp4flow.cohort.names import name_key
from aqp4flow.model import Check, ClinicalEvent, ClinicalKind, PatientRecords, Role, Verdict, Visit, Well

K = ClinicalKind


def visit(serum: str, day: str, row: int, *, patient: str = "P", label: str = "", baseline: bool = False) -> Visit:
    import datetime

    days = (datetime.date.fromisoformat(day) - datetime.date(2026, 1, 1)).days
    return Visit(patient, serum, day, label, baseline, days / (365.25 / 12), row)


def event(day: str, kind: ClinicalKind, row: int, patient: str = "P", value: float = math.nan) -> ClinicalEvent:
    one = visit("", day, row)
    return ClinicalEvent(patient, day, kind, value, one.month, row)


def well(serum: str, plate: str = "P001", name: str = "A01", role: Role = Role.SAMPLE, lot: str = "") -> Well:
    return Well(plate, name, "", role, serum, dilution=40, lot=lot)


def linked(visits: list[Visit], wells: list[Well], clinical: list[ClinicalEvent] | None = None) -> list[Check]:
    return link_checks(PatientRecords(tuple(visits), tuple(clinical or ())), wells)


def only(checks: list[Check], code: str) -> Check:
    """The one check, which must be of this code."""
    assert [check.check for check in checks] == [code]
    return checks[0]


BASE = visit("S0", "2026-01-01", 2, baseline=True)


def test_tables_in_order_say_nothing() -> None:
    visits = [BASE, visit("S1", "2026-04-02", 3)]
    assert linked(visits, [well("S0"), well("S1"), well("N1", role=Role.NEGATIVE)]) == []
    assert link_checks(None, [well("S0")]) == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("PT01-M00", "pt01_m0"),
        ("PT01-M00", "ＰＴ０１－Ｍ００"),
        ("PT01-M00", "PT01 M00"),
        ("PT01-M00", "PT1–M00"),
        ("A.7", "A7"),
        ("1-11", "1_11"),
        ("太郎 3", "太郎3"),
        ("PT01", "PT\u200b01"),  # a character without width, as copied from a web page
    ],
)
def test_names_that_people_write_in_several_ways_have_one_key(one: str, other: str) -> None:
    assert name_key(one) == name_key(other)


@pytest.mark.parametrize(("one", "other"), [("1-11", "11-1"), ("1-11", "111"), ("M10", "M1"), ("PT01", "PT10")])
def test_names_that_differ_keep_their_keys_apart(one: str, other: str) -> None:
    assert name_key(one) != name_key(other)


def test_a_serum_on_no_plate_and_the_one_that_no_visit_names_find_each_other() -> None:
    checks = linked([BASE, visit("S-1", "2026-04-02", 3)], [well("S0"), well("s01")])
    assert [check.check for check in checks] == ["visit-not-measured", "serum-without-visit"]
    assert "'S-1' of 2026-04-02 (visits row 3) is on no plate. Is it 's01' of P001, which no visit" in checks[0].message
    assert "Did you mean 'S-1' (visits row 3), which differs only in case" in checks[1].message
    assert [check.subject for check in checks] == ["P", "P001/s01"]


def test_a_serum_nearly_named_is_offered_only_if_it_is_missing() -> None:
    """`PT01-M03` is not offered for a stranger `PT01-M06` when it lies on a plate itself."""
    sera = [visit("PT01-M00", "2026-01-01", 2, baseline=True), visit("PT01-M03", "2026-04-02", 3)]
    check = only(linked(sera, [well("PT01-M00"), well("PT01-M03"), well("PT01-M06")]), "serum-without-visit")
    assert "Add it to the visits, or correct its name." in check.message


def test_a_serum_of_which_every_well_is_excluded_was_not_measured() -> None:
    import dataclasses

    check = only(linked([BASE], [dataclasses.replace(well("S0"), excluded="spilt")]), "visit-not-measured")
    assert "all its wells on P001 are excluded" in check.message


def test_a_control_with_a_visit_is_named() -> None:
    check = only(linked([BASE], [well("S0", role=Role.NEGATIVE)]), "visit-is-control")
    assert "'S0' (visits row 2) is role negative on P001" in check.message


def test_a_serum_and_a_patient_on_several_plates_are_told() -> None:
    wells = [well("S0"), well("S0", "P002"), well("S1", "P002")]
    several, across = linked([BASE, visit("S1", "2026-04-02", 3)], wells)
    assert (several.check, several.verdict, several.subject) == ("serum-on-several-plates", Verdict.PASS, "P001/S0")
    assert "'S0' (visits row 2) was measured on P001, P002" in several.message
    assert (across.check, across.verdict, across.subject) == ("patient-on-several-plates", Verdict.WARN, "P")
    assert "(P001: S0; P002: S0, S1)" in across.message


def test_names_that_are_nearly_the_same_are_named_with_their_rows() -> None:
    wells = [
        well("S0"),
        well("s0"),
        well("N1", "P001", "B01", Role.NEGATIVE),
        well("N01", "P002", "B01", Role.NEGATIVE),
    ]
    checks = linked([BASE, visit("s0", "2026-01-09", 3, patient="p", baseline=True)], wells)
    assert [c.check for c in checks] == ["sera-alike", "sera-alike", "patients-alike", "sera-alike"]
    assert "'N1' (P001/B01) and 'N01' (P002/B01)" in checks[1].message
    assert "'P' (visits row 2) and 'p' (visits row 3)" in checks[2].message
    assert "'S0' (visits row 2) and 's0' (visits row 3)" in checks[3].message


def test_patients_in_one_table_only_are_named() -> None:
    clinical = [event("2026-01-01", K.DOSE, 2, "p 1"), event("2026-01-01", K.DOSE, 3, "Q")]
    visits = [
        visit("S0", "2026-01-01", 2, patient="P1", baseline=True),
        visit("T0", "2026-01-01", 3, patient="Q", baseline=True),
    ]
    checks = linked(visits, [well("S0"), well("T0")], clinical)
    assert [(c.check, c.subject) for c in checks] == [
        ("patients-alike", "P1"), ("patient-without-visits", "p 1"), ("patient-without-clinical", "P1"),
    ]  # fmt: skip
    assert "Did you mean 'P1' (visits row 2)?" in checks[1].message
    assert "'P1' (visits row 2) has no row in the clinical table" in checks[2].message


def test_a_baseline_that_is_none_is_named() -> None:
    visits = [BASE, visit("S9", "2025-12-01", 3)]
    clinical = [event("2025-12-24", K.DOSE, 5), event("2026-02-01", K.DOSE, 4)]
    dose, early, nowhere = linked(visits, [well("S0"), well("S9")], clinical)
    assert dose.check == "baseline-after-dose"
    assert "2026-01-01 (visits row 2) lies after the first dose of 2025-12-24 (clinical row 5)" in dose.message
    assert early.check == "baseline-not-first"
    assert "visits row 3 lie before it" in early.message
    assert nowhere.check == "visit-without-timepoint"
    assert "31 days" in nowhere.message or "at M00" in nowhere.message


def test_visits_close_together_and_labels_are_named() -> None:
    visits = [visit("S0", "2026-01-01", 2, baseline=True, label="M00"), visit("S1", "2026-04-01", 3, label="M03"),
              visit("S2", "2026-04-02", 4, label="")]  # fmt: skip
    checks = linked(visits, [well("S0"), well("S1"), well("S2")])
    assert [c.check for c in checks] == ["visit-labels", "visits-close", "visit-without-timepoint"]
    assert checks[0].subject == "visits"
    assert "visits row 4 have no label" in checks[0].message
    assert "'S1' (visits row 3) and 'S2' (row 4) were drawn a day apart" in checks[1].message


def test_labels_that_are_nearly_the_same_are_named() -> None:
    visits = [
        visit("A0", "2026-01-01", 2, patient="A", label="M00", baseline=True),
        visit("A6", "2026-07-02", 3, patient="A", label="M06"),
        visit("B0", "2026-01-01", 4, patient="B", label="BL", baseline=True),
        visit("B6", "2026-07-05", 5, patient="B", label="m6"),
    ]
    checks = [c for c in linked(visits, [well(v.serum) for v in visits]) if c.check == "visit-labels"]
    assert [c.subject for c in checks] == ["visits", "A"]
    assert "'M06' (visits row 3) and 'm6' (visits row 5) differ only in case" in checks[0].message
    assert "labelled 'M00', most others 'BL'" in checks[1].message


def test_visits_off_schedule_and_missing_are_named() -> None:
    """M06 of C at month 12; B lacks M03 (a gap), A what comes after its last visit."""
    days = {"M00": "2026-01-01", "M03": "2026-04-02", "M06": "2026-07-02", "M12": "2027-01-01"}
    held = {"A": ["M00", "M03", "M06"], "B": ["M00", "M06", "M12"], "C": ["M00", "M03", "M06", "M12"], "D": list(days)}
    visits = [
        visit(f"{p}{label}", "2026-09-20" if (p, label) == ("C", "M06") else days[label], row, patient=p, label=label,
              baseline=label == "M00")
        for row, (p, label) in enumerate([(p, label) for p, labels in held.items() for label in labels], 2)
    ]  # fmt: skip
    checks = linked(visits, [well(v.serum) for v in visits])
    assert [(c.check, c.subject, c.value) for c in checks] == [
        ("visit-off-schedule", "C", "CM06"), ("visits-missing", "A", "M12"), ("visits-missing", "B", "M03"),
    ]  # fmt: skip
    assert "labelled M06 and was drawn at month 8.6; M06 is at month 6.0" in checks[0].message
    assert "has no visit at M12 (after its last), where" in checks[1].message
    assert "has no visit at M03 (missed), where" in checks[2].message


def test_scores_and_relapses_that_count_nowhere_are_named() -> None:
    clinical = [
        event("2025-01-01", K.RELAPSE, 2), event("2026-01-01", K.DOSE, 3), event("2026-02-01", K.OBSERVATION_END, 4),
        event("2026-03-01", K.RELAPSE, 5), event("2026-01-10", K.PAIN, 6, value=4),
        event("2025-12-20", K.PAIN, 7, value=4),
        event("2026-01-01", K.PAIN, 8, value=4), event("2026-03-01", K.RELAPSE, 9, "Q"),
    ]  # fmt: skip
    other = visit("T0", "2026-03-01", 3, patient="Q", baseline=True)
    pain, late, open_, unobserved = linked([BASE, other], [well("S0"), well("T0")], clinical)
    assert (pain.check, pain.value, pain.verdict) == ("score-without-timepoint", "pain: 2", Verdict.WARN)
    assert "2025-12-20 (clinical row 7): a later score before treatment counts" in pain.message
    assert "2026-01-10 (clinical row 6): nearest to M00, but after treatment began" in pain.message
    assert late.check == "after-observation"
    assert (
        "After observation-end 2026-02-01 (clinical row 4) lie: relapse of 2026-03-01 (clinical row 5)" in late.message
    )
    assert (open_.check, open_.value) == ("observation-open", "observation-start")
    assert (unobserved.subject, unobserved.value) == ("Q", "observation-start;observation-end")
    alone = link_checks(PatientRecords((), (event("2026-01-01", K.OBSERVATION_START, 2),)), [])
    assert only(alone, "no-treatment-start").subject == "P"


def test_several_lots_in_one_patients_wells_are_named() -> None:
    """A control is held against itself on one plate only."""
    lots = [well("S0", lot="L1"), well("S1", "P001", "A02", lot="L2"), well("REF", "P001", "C01", Role.REFERENCE, "L1"),
            well("REF", "P002", "C01", Role.REFERENCE, "L2"), well("X", "P002", "D01", lot="L1"),
            well("X", "P002", "D02", lot="L2"), well("X", "P002", "D03")]  # fmt: skip
    found = [c for c in linked([BASE, visit("S1", "2026-04-02", 3)], lots) if c.check == "lots-differ"]
    assert [(c.scope, c.subject) for c in found] == [("patient", "P"), ("serum", "P002/X")]
    assert "hold 2 lots (L1: P001/A01; L2: P001/A02)" in found[0].message
    assert [c.subject for c in link_checks(None, lots)] == ["P002/X"]


# --- whole studies ---------------------------------------------------------------------------------


def _rewrite(path: Path, change: Callable[[list[dict[str, str]]], None], encoding: str = "utf-8") -> None:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    change(rows)
    headings = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.DictWriter(file, headings, restval="")
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture(scope="module")
def messy(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients' plates as a lab leaves them: P001 twice, one of PT04's sera on it, cp932, dates as text in xlsx."""
    folder = tmp_path_factory.mktemp("messy") / "study"
    shutil.copytree(study, folder, ignore=shutil.ignore_patterns("truth"))
    shutil.copytree(folder / "plates" / "P001", folder / "plates" / "P001-again")

    def map_one(rows: list[dict[str, str]]) -> None:
        for row in rows:
            row["lot"] = "L1" if row["serum"] != "PT01-M12" else "L2"
            row["antigen"] = "AQP4-M23"
            row["serum"] = {"PT01-M06": "PT04-M06", "PT01-M01": "pt01_M1"}.get(row["serum"], row["serum"])

    _rewrite(folder / "plates" / "P001" / "plate.csv", map_one)

    def map_again(rows: list[dict[str, str]]) -> None:
        for row in rows:
            row["serum"] = {"PT01-M01": "pt01_M1", "PT01-M06": "PT99-M00"}.get(row["serum"], row["serum"])
        rows[:] = [row for row in rows if row["serum"] not in ("PT01-M03", "PT01-M12")]

    _rewrite(folder / "plates" / "P001-again" / "plate.csv", map_again)
    lines = (folder / "visits.csv").read_text(encoding="utf-8").splitlines()
    days = {line.split(",")[0]: line.split(",")[2] for line in lines[1:]}
    japanese = ["血清,患者,採血日,来院,ベースライン"]
    for serum, patient, day, label, baseline in (line.split(",") for line in lines[1:]):
        year, month, date = day.split("-")
        if serum != "PT04-M12":  # a visit that was missed
            japanese.append(
                f"{serum},{patient},{year}年{int(month)}月{date}日,{label},{'はい' if baseline == 'yes' else ''}"
            )
    japanese.append("PT04-X,PT04,2012/10/10,M06,")
    (folder / "visits.csv").write_bytes(("\r\n".join(japanese) + "\r\n").encode("cp932"))
    book = openpyxl.Workbook()
    for row in (
        ["患者", "日付", "種類", "値"],
        ["PT01", "2011-01-16", "観察開始", None], ["PT01", "2011/06/01", "再発", None],
        ["PT01", days["PT01-M00"], "投与", "8 mg/kg"], ["PT01", "２０１２年１月１０日", "EDSS", 6.5],
        ["PT01", "2012-01-15", "EDSS", "6"], ["PT01", "2012-02-03", "痛み", 3],
        ["PT01", "2012-12-01", "観察終了", None], ["PT01", "2013-02-01", "再発", None],
        ["pt04", "2012-04-01", "投与", 8], ["PT04", "2012-04-01", "投与", "8"], ["PT04", "2012-05-01", "再発", None],
    ):  # fmt: skip
        book.active.append(row)
    book.save(folder / "clinical.xlsx")
    return folder


FOUND = {
    ("PT01", "visit-not-measured"): "'PT01-M01' of 2012-02-",
    ("P001/pt01_M1", "serum-without-visit"): "Did you mean 'PT01-M01' (visits row 3), which differs only in case",
    ("P001-again/PT99-M00", "serum-without-visit"): "'PT99-M00' of P001-again is in no row of the visits",
    ("P001/PT01-M00", "serum-on-several-plates"): "was measured on P001, P001-again",
    ("P001/PT04-M06", "serum-on-several-plates"): "was measured on P001, P004",
    ("PT01", "patient-on-several-plates"): "lie on 2 plates",
    ("PT04", "patient-on-several-plates"): "P001: PT04-M06",
    ("PT01", "lots-differ"): "hold 2 lots (L1: ",
    ("PT04", "patients-alike"): "'PT04' (visits row 7) and 'pt04' (clinical row 10)",
    ("pt04", "patient-without-visits"): "Did you mean 'PT04'",
    ("PT04", "baseline-after-dose"): "lies after the first dose of 2012-04-01 (clinical row 11)",
    (
        "PT04",
        "visit-without-timepoint",
    ): "'PT04-X' of 2012-10-10 (visits row 11) stands at no time point: at M06 that",
    ("PT04", "visits-missing"): "has no visit at M12 (after its last)",
    ("PT01", "score-without-timepoint"): "2012-01-10 (clinical row 5): a later score before treatment counts",
    ("PT01", "after-observation"): "relapse of 2013-02-01 (clinical row 9)",
    ("PT04", "observation-open"): "has relapses and no observation-start or observation-end: ",
}


def test_a_messy_study_goes_through_with_every_oddity_named(messy: Path, tmp_path: Path, call, table) -> None:
    """By check before a number is made, and in checks.csv after."""
    said = json.loads(call("check", messy, "--json").stdout)
    assert said["problems"] == []
    doubts = {(d["subject"], d["check"], d["message"]) for d in said["doubts"]}
    for (subject, code), words in FOUND.items():
        assert any((s, c) == (subject, code) and words in m for s, c, m in doubts), (subject, code, sorted(doubts))
    plain = call("check", messy)
    assert plain.returncode == 0
    assert plain.stdout.splitlines()[0] == "in order: 3 plate(s), 240 wells, 10 visits, 11 clinical rows"
    assert all(message in plain.stdout for _, _, message in doubts)
    done = call("run", messy, "-o", tmp_path / "out")
    assert done.returncode in (0, 4), done.stderr
    checks = {(c["subject"], c["check"], c["message"]) for c in table(tmp_path / "out" / "checks.csv")}
    assert doubts <= checks
    points = table(tmp_path / "out" / "trajectories.csv")
    assert len(points) == 10
    assert "clinical.xlsx" in json.loads((tmp_path / "out" / "manifest.json").read_text())["inputs"]


def test_a_broken_study_says_everything_at_once_with_rows(plate: Path, call) -> None:
    """Problems of the plate map, the visits, the clinical table and between them; exit 3."""
    study = plate.parents[1]
    _rewrite(plate / "plate.csv", lambda rows: rows[0].update(antigen="AQP4-M1"))
    visits = [
        "serum,patient,collected,visit,baseline",
        "PT01-M00,PT01,45292,M00,yes",
        "PT01-M01,PT01,01/04/2026,M01,",
        "PT01-M03,PT01,Apr-26,M03,",
        "PT01-M06,PT01,令和8年4月1日,M06,",
        "PT01-M12,PT02,2026-04-01,M00,yes",
        "PT01-M12,PT03,2026-05-01,M00,perhaps",
        "PT09-M00,PT04,2025-05-01,M00,yes",
    ]
    (study / "visits.csv").write_bytes("\n".join(visits).encode("cp932"))
    clinical = [
        "patient,date,kind,value",
        "PT04,2025-06-01,observation-start,",
        "PT04,2025-06-02,edss,0.5",
        "PT04,2025-06-03,pain,7.5",
        "PT04,2025-05-03,relapse,",
        "PT04,26/4/1,relaps,",
        "PT04,2025-01-01,observation-end,",
        "PT01,2026-04-01,edss,4",  # whose baseline may be in a row that cannot be read: nothing is wrong here
    ]
    (study / "clinical.csv").write_text("\n".join(clinical))
    done = call("check", study)
    assert done.returncode == 3
    for words in (
        "P001/plate.csv: row 2: antigen 'AQP4-M1', but the assay's is 'AQP4-M23'\n"
        "hint: results of two isoforms are never pooled: make a study of each",
        "study/visits.csv: row 2: collected '45292' looks like an Excel day number\nhint: 2024-01-01 counted from 1900",
        "study/visits.csv: row 3: collected '01/04/2026' can be read two ways",
        "study/visits.csv: row 4: collected 'Apr-26' has its month by name",
        "study/visits.csv: row 5: collected '令和8年4月1日' is a date of a Japanese era\nhint: write 2026-04-01",
        "study/visits.csv: row 7: baseline 'perhaps' is neither yes nor no",
        "study/clinical.csv: row 3: there is no EDSS of 0.5",
        "study/clinical.csv: row 4: pain '7.5' is not a whole number",
        "study/clinical.csv: row 5: relapse on 2025-05-03, before the patient's observation-start 2025-06-01",
        "study/clinical.csv: row 6: date '26/4/1' has a year of two digits\nhint: write 2026-04-01",
        "study/clinical.csv: row 6: kind 'relaps' is unknown\nhint: did you mean 'relapse'?",
        "study/clinical.csv: row 7: the observation of patient 'PT04' ends on 2025-01-01, not after its start in row 2",
        "study/visits.csv: row 8: visit of patient 'PT04' on 2025-05-01, before the patient's observation-start",
        "13 problems",
    ):
        assert words in done.stderr
    assert call("run", study).returncode == 3


def test_a_broken_visits_table_does_not_hide_the_clinical_one(plate: Path, call) -> None:
    study = plate.parents[1]
    (study / "visits.csv").write_text("serum,patient,drawn\nA,P,2026-04-01\n")
    (study / "clinical.csv").write_text("patient,date,kind,value\nP,2026-04-01,edss,11\n")
    done = call("check", study)
    assert done.returncode == 3
    assert "study/visits.csv: unknown heading 'drawn'" in done.stderr
    assert "study/clinical.csv: row 2: EDSS '11' lies outside 0 to 10" in done.stderr
    assert "2 problems" in done.stderr


def test_an_antigen_that_differs_by_blanks_only_is_the_same(plate: Path, call) -> None:
    toml = plate.parents[1] / "assay.toml"
    toml.write_text(toml.read_text().replace('"AQP4-M23"', '"AQP4 M23"'))
    _rewrite(plate / "plate.csv", lambda rows: [row.update(抗原=" AQP4　M23 ") for row in rows] and None)
    assert call("check", plate).returncode == 0
