"""Which tests run, what is corrected, and what every row says, on a cohort of seven written by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aqp4flow.cohort.analysis import Analysis, analyse
from aqp4flow.cohort.statistics.plan import Plan
from aqp4flow.model import (
    Bound,
    ClinicalEvent,
    ClinicalKind,
    PatientRecords,
    Statistic,
    Titer,
    TrajectoryPoint,
    Verdict,
    Visit,
)

EVERY = (
    *("signed-rank", "paired-t", "rank-sum", "friedman", "dunn"),
    *("poisson", "mixed-model", "censored-model", "bootstrap"),
)
DAYS = {"M00": "2026-04-01", "M06": "2026-10-01", "M12": "2027-04-01"}
MONTHS = {"M00": 0.0, "M06": 6.01, "M12": 11.99}
TITERS = ((640, 160, 80), (320, 160, 40), (80, 90, 70), (160, 40, 10), (1280, 500, 320), (200, 150, 110), (90, 60, 55))


def visits(patients: int) -> tuple[Visit, ...]:
    return tuple(
        Visit(f"PT{number:02d}", f"PT{number:02d}-{name}", DAYS[name], name, name == "M00", MONTHS[name])
        for number in range(1, patients + 1)
        for name in DAYS
    )


def points(titers: Sequence[Sequence[float | None]], below: float = 0.0) -> list[TrajectoryPoint]:
    """Every patient's titers in order of time; those under `below` are known only to lie there."""
    found = []
    for visit, titer in zip(visits(len(titers)), (one for row in titers for one in row), strict=True):
        value = None if titer is None else Titer(titer) if titer >= below else Titer(below, Bound.BELOW)
        found.append(TrajectoryPoint(visit, (f"P{visit.patient}",), "titer", value, None, None, value=value))
    return found


def clinic(patients: int) -> tuple[ClinicalEvent, ...]:
    """A year before treatment and one after; three relapses before, the second patient has one after."""
    events = []
    for number in range(1, patients + 1):
        name = f"PT{number:02d}"
        told: list[tuple[str, ClinicalKind, float, float]] = [
            ("2025-04-01", ClinicalKind.OBSERVATION_START, math.nan, -11.99),
            ("2026-04-01", ClinicalKind.DOSE, 8.0, 0.0),
            ("2027-04-01", ClinicalKind.OBSERVATION_END, math.nan, 11.99),
            ("2026-04-01", ClinicalKind.EDSS, 5.0, 0.0),
            ("2027-04-01", ClinicalKind.EDSS, 5.0 - 0.5 * (number % 3), 11.99),
        ]
        told += [(f"2025-0{month}-10", ClinicalKind.RELAPSE, math.nan, 3.0 - month) for month in (5, 7, 9)]
        if number == 2:
            told.append(("2026-09-01", ClinicalKind.RELAPSE, math.nan, 5.0))
        events += [ClinicalEvent(name, day, kind, value, month) for day, kind, value, month in sorted(told)]
    return tuple(events)


def analysed(
    titers: Sequence[Sequence[float | None]] = TITERS,
    tests: tuple[str, ...] = EVERY,
    primary: tuple[str, str] = ("reactivity", "M12"),
    below: float = 0.0,
) -> Analysis:
    records = PatientRecords(visits(len(titers)), clinic(len(titers)))
    return analyse(points(titers, below), records, (), Plan(tests, *primary, draws=200, seed=1))


def rows(found: Analysis, outcome: str, test: str) -> list[Statistic]:
    return [row for row in found.statistics if (row.outcome, row.test) == (outcome, test)]


def test_all_seven_fell_and_the_primary_contrast_stands_uncorrected() -> None:
    early, late = rows(analysed(), "reactivity", "signed-rank")
    assert (late.contrast, late.primary, late.n, late.exact) == ("M12 - M00", True, 7, "exact")
    assert late.p == late.p_adjusted == late.attainable == pytest.approx(2 / 2**7)
    assert "declared beforehand" in late.note
    assert not early.primary
    assert early.p_adjusted == early.p  # alone in its family once the primary one is taken out


def test_without_a_declared_contrast_all_are_corrected() -> None:
    early, late = rows(analysed(primary=("", "")), "reactivity", "signed-rank")
    assert not any(row.primary for row in analysed(primary=("", "")).statistics)
    assert late.p_adjusted == pytest.approx(2 * late.p)
    assert "Holm over 2 contrasts" in late.note
    assert early.p_adjusted >= early.p


def test_one_contrast_of_one_test_is_primary() -> None:
    assert [row.test for row in analysed().statistics if row.primary] == ["signed-rank"]
    assert [row.test for row in analysed(tests=("bootstrap", "mixed-model")).statistics if row.primary] == [
        "mixed-model"
    ]


def test_the_effect_is_after_minus_before_on_log2() -> None:
    """Hodges-Lehmann by hand: the median of all means of two differences."""
    late = rows(analysed(), "reactivity", "signed-rank")[1]
    change = [math.log2(row[2] / row[0]) for row in TITERS]
    means = [(a + b) / 2 for (i, a), (j, b) in product(enumerate(change), enumerate(change)) if i <= j]
    assert late.effect.value == pytest.approx(float(np.median(means)))
    assert (late.unit, late.effect.high < 0) == ("log2 titer", True)


def test_every_row_says_its_test_exactness_n_and_floor() -> None:
    for row in analysed().statistics:
        if not math.isnan(row.p):
            assert row.exact, row
            assert row.n >= 1, row
            assert 0 <= row.attainable <= row.p + 1e-12, row
            assert row.p <= row.p_adjusted <= 1, row
        elif not row.effect.known:
            assert row.note, row


def test_the_settings_choose_the_tests() -> None:
    assert {row.test for row in analysed(tests=("friedman",)).statistics} == {"friedman"}
    assert {row.test for row in analysed(tests=("poisson",)).statistics} == {"poisson", "poisson-rate"}


def test_models_are_for_titers_alone() -> None:
    found = analysed()
    for test in ("mixed-model", "censored-model", "bootstrap"):
        assert {row.outcome for row in found.statistics if row.test == test} == {"reactivity"}, test


def test_a_missing_visit_is_named() -> None:
    titers = [list(row) for row in TITERS]
    titers[2][2] = None  # type: ignore[call-overload]
    found = analysed(titers)
    late = rows(found, "reactivity", "signed-rank")[1]
    assert late.n == 6
    assert "without PT03: not at both" in late.note
    assert "without PT03: not at every time point" in rows(found, "reactivity", "friedman")[0].note


def test_bounded_titers_take_part_by_what_is_known_of_them() -> None:
    """All below 60 at month 12 are `<60`: every sign is still known, so that p is the floor; means are refused."""
    found = analysed(below=60.0)
    late = rows(found, "reactivity", "signed-rank")[1]
    assert late.p == pytest.approx(2 / 2**7)
    assert "known only as bounds" in late.note
    assert math.isnan(rows(found, "reactivity", "paired-t")[1].p)
    assert math.isnan(rows(found, "reactivity", "mixed-model")[1].p)
    assert rows(found, "reactivity", "censored-model")[1].effect.known


def test_relapse_rates_by_hand() -> None:
    """21 relapses in seven years of 365 days before, one after."""
    before, after, ratio = [row for row in analysed().statistics if row.test.startswith("poisson")]
    years = 7 * 365 / 365.25
    assert before.effect.value == pytest.approx(21 / years)
    assert after.effect.value == pytest.approx(1 / years)
    assert (ratio.contrast, ratio.n) == ("after / before", 7)
    assert ratio.effect.value == pytest.approx(1 / 21)
    assert ratio.p == pytest.approx(2 * 23 / 2**22)
    assert "22 relapses" in ratio.note


def test_summaries_hold_sd_and_sem_of_every_outcome() -> None:
    found = {(row.outcome, row.timepoint): row for row in analysed().summaries}
    assert set(found) == {
        *(("reactivity", name) for name in DAYS),
        *(("edss", name) for name in ("M00", "M12")),
        *(("relapses", side) for side in ("before", "after")),
    }
    after = found["relapses", "after"]
    rate = 365.25 / 365
    assert after.mean == pytest.approx(rate / 7)
    assert after.sd == pytest.approx(math.sqrt((rate - rate / 7) ** 2 / 6 + 6 * (rate / 7) ** 2 / 6))
    assert after.sem == pytest.approx(after.sd / math.sqrt(7))


def test_a_declared_contrast_that_cannot_be_tested_is_named() -> None:
    check = analysed(primary=("reactivity", "M24")).checks[0]
    assert (check.check, check.verdict) == ("primary-contrast", Verdict.WARN)
    assert "M00, M06, M12" in check.message
    assert analysed().checks[0].verdict is Verdict.PASS


def test_one_patient_gives_rows_that_say_why_there_is_no_p() -> None:
    found = analysed(TITERS[:1])
    late = rows(found, "reactivity", "signed-rank")[1]
    assert late.n == 1
    assert late.attainable == 1
    assert all(row.note for row in found.statistics if math.isnan(row.p) and not row.effect.known)


@given(
    st.lists(
        st.tuples(*[st.sampled_from([None, 20.0, 40.0, 40.0, 90.0, 300.0, 800.0]) for _ in DAYS]),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from([0.0, 30.0, 100.0]),
)
@settings(max_examples=40, deadline=None)
def test_whatever_is_missing_or_bounded_every_row_has_a_p_or_says_why(
    titers: list[tuple[float | None, ...]], below: float
) -> None:
    for row in analysed(titers, below=below).statistics:
        if math.isnan(row.p):
            assert row.note or row.effect.known, row
        else:
            assert 0 <= row.p <= 1, row


def test_no_patients_no_rows() -> None:
    found = analyse([], PatientRecords(), (), Plan(EVERY))
    assert (found.statistics, found.summaries, found.checks) == ((), (), ())
