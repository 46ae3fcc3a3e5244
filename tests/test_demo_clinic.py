"""The demo's clinical table: its summary figures are those of the press release, its values are ours."""

from __future__ import annotations

import csv
import io
import itertools
import math
import statistics
import tomllib
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import pytest

from aqp4flow.model import ClinicalKind
from aqp4flow.simulate import simulate_study
from aqp4flow.simulate.clinic import COURSES, SCORED, Course, clinical_rows, truth_headings, truth_rows
from aqp4flow.simulate.cohort import PATIENTS

SEED = 20140315
SEEDS = [SEED, 0, 1, 2, 3, 4, 5, 6]
DOCS = Path(__file__).parents[1] / "docs"

Rows = list[dict[str, str]]


def table(seed: int = SEED) -> Rows:
    """clinical.csv as a reader of CSV sees it."""
    return list(csv.DictReader(io.StringIO(files(seed)["clinical.csv"].decode())))


def files(seed: int = SEED) -> dict[str, bytes]:
    """The tables that come before the plates."""
    return dict(itertools.islice(simulate_study(0.004, seed), 3))


def by_patient(rows: Rows) -> dict[str, Rows]:
    return {name: list(own) for name, own in itertools.groupby(rows, key=lambda row: row["patient"])}


def days(rows: Rows, kind: str) -> list[date]:
    return [date.fromisoformat(row["date"]) for row in rows if row["kind"] == kind]


def values(rows: Rows, kind: str) -> list[float]:
    return [float(row["value"]) for row in rows if row["kind"] == kind]


def printed(numbers: list[float]) -> str:
    """Mean and SD (n - 1) with one decimal, as the press release prints them."""
    return f"{statistics.mean(numbers):.1f} ± {statistics.stdev(numbers):.1f}"


def relapses(seed: int = SEED) -> tuple[list[int], list[int]]:
    """Of each patient before and after the first dose."""
    before, after = [], []
    for rows in by_patient(table(seed)).values():
        start = days(rows, "dose")[0]
        before.append(sum(day < start for day in days(rows, "relapse")))
        after.append(sum(day > start for day in days(rows, "relapse")))
    return before, after


# --- the published figures ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_relapses_are_those_published(seed: int) -> None:
    """20 in the year before and 3 in the year after, in two of seven patients, whatever the seed."""
    before, after = relapses(seed)
    assert (sum(before), printed(before)) == (20, "2.9 ± 1.1")
    assert (sum(after), printed(after)) == (3, "0.4 ± 0.8")
    assert sorted(after) == [0, 0, 0, 0, 0, 1, 2]


@pytest.mark.parametrize(
    ("kind", "baseline", "year", "sums"),
    [
        ("edss", "5.1 ± 1.7", "4.1 ± 1.6", (36.0, 29.0)),
        ("pain", "3.0 ± 1.5", "0.9 ± 1.2", (21.0, 6.0)),
        ("fatigue", "6.1 ± 2.0", "3.0 ± 1.4", (43.0, 21.0)),
    ],
)
def test_scores_are_those_published(kind: str, baseline: str, year: str, sums: tuple[float, float]) -> None:
    """Mean and SD at baseline and at one year to the printed digit, and the sums behind them."""
    series = [values(rows, kind) for rows in by_patient(table()).values()]
    assert [len(own) for own in series] == [len(SCORED)] * 7
    first, _, last = ([own[k] for own in series] for k in range(3))
    assert (printed(first), printed(last), (sum(first), sum(last))) == (baseline, year, sums)


def test_rates_keep_their_printed_digits_with_the_days_as_they_are() -> None:
    """Both windows of all patients hold the same 2557 days, 7.00 years of 365.25: rates a year print as the counts."""
    before, after = relapses()
    spans = []
    for rows in by_patient(table()).values():
        start, (begin,), (end,) = days(rows, "dose")[0], days(rows, "observation-start"), days(rows, "observation-end")
        spans.append(((start - begin).days, (end - start).days))
    assert all(early == late in (365, 366) for early, late in spans)
    years = [early / 365.25 for early, _ in spans]
    assert [sum(span[k] for span in spans) for k in (0, 1)] == [2557, 2557]
    assert f"{sum(years):.2f}" == "7.00"
    assert printed([n / y for n, y in zip(before, years, strict=True)]) == "2.9 ± 1.1"
    assert printed([n / y for n, y in zip(after, years, strict=True)]) == "0.4 ± 0.8"
    assert (f"{20 / sum(years):.2f}", f"{3 / sum(years):.2f}") == (f"{20 / 7:.2f}", f"{3 / 7:.2f}")


# --- what rounding allows -----------------------------------------------------------------------


def multisets(steps: list[float], wanted: str) -> list[tuple[float, ...]]:
    """Every seven values of `steps` that print as wanted."""
    return [found for found in itertools.combinations_with_replacement(steps, 7) if printed(list(found)) == wanted]


def test_rounding_allows_one_set_of_relapses_after_and_three_before() -> None:
    """By complete enumeration: five of seven free of relapses follows from 0.4 ± 0.8, and all totals before are 20."""
    whole = [float(k) for k in range(11)]
    assert multisets(whole, "0.4 ± 0.8") == [(0, 0, 0, 0, 0, 1, 2)]
    found = multisets(whole, "2.9 ± 1.1")
    assert found == [(1, 2, 3, 3, 3, 4, 4), (2, 2, 2, 2, 4, 4, 4), (2, 2, 2, 3, 3, 3, 5)]
    assert tuple(sorted(relapses()[0])) in found


def test_the_figures_after_a_year_cannot_be_standard_errors() -> None:
    """No seven whole numbers have mean 0.4 and SEM 0.8, or 0.9 and 1.2: what stands behind the sign is SD."""
    for wanted in ("0.4 ± 0.8", "0.9 ± 1.2"):
        for found in itertools.combinations_with_replacement(range(11), 7):
            if sum(found) <= 7:
                sem = statistics.stdev(found) / math.sqrt(7)
                assert f"{statistics.mean(found):.1f} ± {sem:.1f}" != wanted


def test_rounding_allows_these_sums_of_scores() -> None:
    """Whole numbers of pain and fatigue have one sum each; pain at one year is one set; EDSS has two sums each time."""
    whole = [float(k) for k in range(11)]
    halves = [0.0, *(k / 2 for k in range(2, 21))]
    assert {sum(found) for found in multisets(whole, "3.0 ± 1.5")} == {21}
    assert multisets(whole, "0.9 ± 1.2") == [(0, 0, 0, 0, 1, 2, 3)]
    assert {sum(found) for found in multisets(whole, "6.1 ± 2.0")} == {43}
    assert {sum(found) for found in multisets(whole, "3.0 ± 1.4")} == {21}
    assert {f"{total / 14:.1f}" for total in (71, 72)} == {"5.1"}  # 35.5 and 36.0
    assert {f"{total / 14:.1f}" for total in (57, 58)} == {"4.1"}  # 28.5 and 29.0
    assert {f"{total / 14:.1f}" for total in (70, 73)} == {"5.0", "5.2"}
    assert {f"{total / 14:.1f}" for total in (56, 59)} == {"4.0", "4.2"}
    assert {value for course in COURSES.values() for value in course.edss} <= set(halves)


def signed_rank_p(changes: list[float]) -> float:
    """Two-sided p of the signed-rank test with Pratt's zeros, over all signs."""
    sizes = sorted(abs(change) for change in changes)
    rank = {size: statistics.mean(k + 1 for k, other in enumerate(sizes) if other == size) for size in sizes}
    ranks = [rank[abs(change)] for change in changes if change]
    seen = abs(sum(math.copysign(rank[abs(change)], change) for change in changes if change))
    sums = [abs(sum(s * r for s, r in zip(signs, ranks, strict=True))) for signs in sign_choices(len(ranks))]
    return sum(total >= seen - 1e-9 for total in sums) / len(sums)


def sign_choices(n: int) -> itertools.product[tuple[int, ...]]:
    return itertools.product((-1, 1), repeat=n)


def test_what_the_exact_signed_rank_test_gives_for_the_planted_values() -> None:
    """EDSS 2/64 (one patient does not change), all others 2/128, the least at n = 7: never below 0.005."""
    rows = by_patient(table()).values()
    found = {}
    for kind in ("edss", "pain", "fatigue"):
        found[kind] = signed_rank_p([values(own, kind)[2] - values(own, kind)[0] for own in rows])
    before, after = relapses()
    found["relapse"] = signed_rank_p([float(late - early) for early, late in zip(before, after, strict=True)])
    assert found == {"edss": 0.03125, "pain": 0.015625, "fatigue": 0.015625, "relapse": 0.015625}


def test_what_other_tests_give_for_the_planted_relapses() -> None:
    """Rank-sum (over all 3432 choices) and paired t do give p < 0.005, as published: docs/published.md quotes them."""
    before, after = relapses()
    pooled = sorted(before + after)
    rank = {value: statistics.mean(k + 1 for k, other in enumerate(pooled) if other == value) for value in pooled}
    middle = sum(rank[value] for value in pooled) / 2
    seen = abs(sum(rank[value] for value in after) - middle)
    sums = [abs(sum(chosen) - middle) for chosen in itertools.combinations([rank[value] for value in pooled], 7)]
    rank_sum = sum(total >= seen - 1e-9 for total in sums) / len(sums)
    assert rank_sum == 10 / 3432
    changes = [late - early for early, late in zip(before, after, strict=True)]
    t = statistics.mean(changes) / (statistics.stdev(changes) / math.sqrt(7))
    assert f"{t:.2f}" == "-6.58"
    page = (DOCS / "published.md").read_text(encoding="utf-8")
    for number in (f"{rank_sum:.4f}", "0.00059", "0.015625", "0.03125"):
        assert number in page


def test_the_p_of_the_paired_t_is_scipys() -> None:
    """The number that docs/published.md quotes."""
    from scipy.stats import ttest_rel

    before, after = relapses()
    assert f"{ttest_rel(after, before).pvalue:.5f}" == "0.00059"


# --- the table ----------------------------------------------------------------------------------


def test_every_kind_is_there_as_often_as_it_must() -> None:
    """A window, thirteen doses and three of each score for each of the seven patients of the visits table."""
    visits = list(csv.DictReader(io.StringIO(files()["visits.csv"].decode())))
    patients = by_patient(table())
    assert list(patients) == sorted({visit["patient"] for visit in visits})
    assert {row["kind"] for row in table()} == {kind.value for kind in ClinicalKind}
    for rows in patients.values():
        counts = Counter(row["kind"] for row in rows)
        assert (counts["observation-start"], counts["observation-end"], counts["dose"]) == (1, 1, 13)
        assert (counts["edss"], counts["pain"], counts["fatigue"]) == (3, 3, 3)


@pytest.mark.parametrize("seed", SEEDS)
def test_dates_are_in_order_and_inside_the_window(seed: int) -> None:
    """Whatever the seed: nothing before observation-start or after observation-end, no relapse near the first dose."""
    for rows in by_patient(table(seed)).values():
        when = [date.fromisoformat(row["date"]) for row in rows]
        assert when == sorted(when)
        assert when[0] == days(rows, "observation-start")[0]
        assert when[-1] == days(rows, "observation-end")[0]
        found, start = days(rows, "relapse"), days(rows, "dose")[0]
        assert all(late - early >= timedelta(days=30) for early, late in itertools.pairwise(found))
        assert all(not timedelta(0) <= start - day < timedelta(days=30) for day in found)
        assert all(not timedelta(0) <= s - day < timedelta(days=30) for s in days(rows, "edss") for day in found)


def test_doses_begin_at_the_baseline_visit_and_come_every_four_weeks() -> None:
    """The first on the day of the baseline serum, the thirteenth 48 weeks later, each written with its unit."""
    visits = csv.DictReader(io.StringIO(files()["visits.csv"].decode()))
    baseline = {visit["patient"]: visit["collected"] for visit in visits if visit["baseline"] == "yes"}
    for patient, rows in by_patient(table()).items():
        doses = days(rows, "dose")
        assert doses[0].isoformat() == baseline[patient]
        assert {late - early for early, late in itertools.pairwise(doses)} == {timedelta(days=28)}
        assert {row["value"] for row in rows if row["kind"] == "dose"} == {"8 mg/kg"}


@pytest.mark.parametrize("seed", SEEDS)
def test_scores_are_taken_at_the_visits_of_months_0_6_and_12(seed: int) -> None:
    """On the day a serum is drawn; no serum is drawn after the patient's observation has ended."""
    visits = list(csv.DictReader(io.StringIO(files(seed)["visits.csv"].decode())))
    for patient, rows in by_patient(table(seed)).items():
        own = {v["visit"]: date.fromisoformat(v["collected"]) for v in visits if v["patient"] == patient}
        wanted = [own[label] for label in ("M00", "M06", "M12")]
        assert days(rows, "edss") == days(rows, "pain") == days(rows, "fatigue") == wanted
        (end,) = days(rows, "observation-end")
        assert timedelta(0) <= end - max(own.values()) < timedelta(days=6)


def test_only_relapses_and_the_window_are_without_a_value() -> None:
    for row in table():
        assert (row["value"] == "") is (row["kind"] in ("relapse", "observation-start", "observation-end"))


def test_same_seed_same_bytes_and_another_seed_other_days() -> None:
    """The course is planted, only days are drawn: no seed changes a score or a count."""
    assert files()["clinical.csv"] == files()["clinical.csv"]
    assert files(1)["clinical.csv"] != files()["clinical.csv"]
    assert relapses(1) == relapses()
    assert [values(table(1), kind) for kind in ("edss", "pain")] == [values(table(), kind) for kind in ("edss", "pain")]


# --- what was planted ---------------------------------------------------------------------------


@pytest.mark.parametrize("course", COURSES.values(), ids=[f"PT{k:02d}" for k in COURSES])
def test_scores_fall_and_the_value_at_six_months_lies_between(course: Course) -> None:
    for scores in (course.edss, course.pain, course.fatigue):
        assert list(scores) == sorted(scores, reverse=True)
        assert all(0 <= score <= 10 and score != 0.5 for score in scores)
    assert all(score == int(score) for score in (*course.pain, *course.fatigue))
    assert all(2 * score == int(2 * score) for score in course.edss)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_course_goes_with_the_antibody(seed: int) -> None:
    """Relapses under treatment only where antibody stays or comes back; the most EDSS is gained where it falls most."""
    last = {patient.number: patient.folds[-1] for patient in PATIENTS}
    stays, vanishes = max(last, key=lambda n: last[n]), min(last, key=lambda n: last[n])
    returns = {patient.number for patient in PATIENTS if patient.folds[-1] > 1.5 * patient.folds[-2]}
    assert {n for n, course in COURSES.items() if course.relapses_after} == {stays} | returns
    assert COURSES[stays].edss[0] == COURSES[stays].edss[-1]
    gains = {n: course.edss[0] - course.edss[-1] for n, course in COURSES.items()}
    assert max(gains, key=lambda n: gains[n]) == vanishes
    (relapsing,) = returns
    rows = by_patient(table(seed))[f"PT{relapsing:02d}"]
    assert days(rows, "relapse")[-1] > days(rows, "edss")[1]  # after six months, as the antibody comes back


def test_the_truth_table_is_the_clinical_table_summed_up() -> None:
    """Each column of truth/clinical.csv is recomputed from clinical.csv."""
    headings, truth = truth_headings(), truth_rows()
    before, after = relapses()
    for row, own, early, late in zip(truth, by_patient(table()).items(), before, after, strict=True):
        told = dict(zip(headings, row, strict=True))
        patient, rows = own
        start = days(rows, "dose")[0]
        again: dict[str, object] = {"patient": patient, "relapses_before": early, "relapses_after": late}
        again["days_before"] = (start - days(rows, "observation-start")[0]).days
        again["days_after"] = (days(rows, "observation-end")[0] - start).days
        for kind in ("edss", "pain", "fatigue"):
            again |= {f"{kind}_M{m:02d}": v for m, v in zip(SCORED, values(rows, kind), strict=True)}
        assert told == again


def test_the_page_on_the_published_study_shows_what_is_planted_and_says_simulated() -> None:
    """docs/published.md's table of patients is truth/clinical.csv, under a heading that says that it is simulated."""
    page = (DOCS / "published.md").read_text(encoding="utf-8")
    section = page[page.index("(simulated)") :]
    for name, early, late, _, _, *scores in truth_rows():
        triples = [" → ".join(f"{score:g}" for score in scores[k : k + 3]) for k in (0, 3, 6)]  # type: ignore[str-format]
        assert f"| {name} | {early} | {late} | {triples[0]} | {triples[1]} | {triples[2]} |" in section


def test_the_definition_beside_the_table_says_simulated_and_declares_the_primary_contrast() -> None:
    """A CSV has no room for a remark: the label stands first in assay.toml, as for visits.csv."""
    text = files()["assay.toml"].decode()
    assert text.startswith("# SIMULATED DATA")
    declared = tomllib.loads(text)["statistics"]
    assert (declared["primary_outcome"], declared["primary_timepoint"]) == ("reactivity", "M12")
    visits = csv.DictReader(io.StringIO(files()["visits.csv"].decode()))
    assert declared["primary_timepoint"] in {visit["visit"] for visit in visits}


def test_the_definition_adds_the_tests_of_the_paper_to_the_defaults() -> None:
    from aqp4flow.assay.definition import StatisticsSettings

    declared = tomllib.loads(files()["assay.toml"].decode())["statistics"]["tests"]
    assert declared == [*StatisticsSettings().tests, "paired-t", "rank-sum"]


def test_rows_are_in_the_order_of_patients_whatever_is_asked_first() -> None:
    assert [row[0] for row in clinical_rows(SEED)] == sorted(row[0] for row in clinical_rows(SEED))
