"""Time points shared by patients, and who stands where: by hand, and as laws."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aqp4flow.cohort.schedule import allot_scores, allot_visits, nearest_point, reach, schedule
from aqp4flow.cohort.visits import DAYS_A_MONTH
from aqp4flow.model import ClinicalEvent, ClinicalKind, PatientRecords, TimePoint, Visit

EDSS = ClinicalKind.EDSS


def visit(patient: str, month: float, label: str = "", *, baseline: bool = False) -> Visit:
    return Visit(patient, f"{patient}{month:g}{label}", f"day {month:g}", label, baseline, month)


def names(visits: list[Visit], months: tuple[float, ...] = ()) -> list[str]:
    return [f"{point.name} {point.month:g}" for point in schedule(PatientRecords(tuple(visits)), months)]


def test_labels_are_the_time_points_at_their_median_month() -> None:
    visits = [
        visit("A", 0, "pre", baseline=True), visit("A", 3.5, "3M"), visit("A", 13, "1Y"),
        visit("B", 0, "pre", baseline=True), visit("B", 2.5, "3M"), visit("B", 12, "1Y"), visit("C", 2, "3M"),
        visit("C", 0, "BL", baseline=True),
    ]  # fmt: skip
    assert names(visits) == ["pre 0", "3M 2.5", "1Y 12.5"]
    assert names(visits, (6, 12)) == ["pre 0", "3M 2.5", "1Y 12.5"]  # labels go before months


def test_a_baseline_of_another_label_stands_at_the_baseline() -> None:
    visits = [visit(p, 0, "BL" if p == "C" else "pre", baseline=True) for p in "ABC"]
    found = allot_visits(visits, schedule(PatientRecords(tuple(visits))))
    assert {place: v.visit for place, v in found.placed.items()} == {
        ("A", "pre"): "pre", ("B", "pre"): "pre", ("C", "pre"): "BL",
    }  # fmt: skip


def test_without_labels_months_come_from_the_setting_else_from_the_visits() -> None:
    visits = [visit("A", 0, "M00", baseline=True), visit("A", 1.1), visit("A", 2.9), visit("A", 4.4), visit("A", 4.6),
              visit("A", 11.2), visit("A", -1)]  # fmt: skip
    assert names(visits) == ["M00 0", "M01 1", "M03 3", "M06 6", "M12 12"]
    assert names(visits, (6, 1.5)) == ["M00 0", "M1.5 1.5", "M06 6"]
    assert schedule(PatientRecords()) == ()


def test_without_visits_the_scores_make_the_schedule() -> None:
    events = tuple(ClinicalEvent("A", "2026-01-01", EDSS, 4, month) for month in (-0.5, 2.9, 6.3))
    assert [p.name for p in schedule(PatientRecords((), events))] == ["M00", "M03", "M06"]


def test_the_nearest_visit_counts_and_the_other_is_named() -> None:
    visits = [visit("A", 0, baseline=True), visit("A", 0.2), visit("A", 2.8), visit("A", 3.1), visit("A", 7.6)]
    points = (TimePoint("M00", 0), TimePoint("M03", 3), TimePoint("M06", 6))
    found = allot_visits(visits, points)
    assert {place: v.month for place, v in found.placed.items()} == {("A", "M00"): 0, ("A", "M03"): 3.1}
    assert sorted((left.item.month, left.why) for left in found.unplaced) == [
        (0.2, "at M00 that of day 0 counts"),
        (2.8, "at M03 that of day 3.1 counts"),
        (7.6, "49 days from M06, the nearest time point"),
    ]


def test_a_serum_that_was_measured_goes_before_a_nearer_one_that_was_not() -> None:
    visits = [visit("A", 0, baseline=True), visit("A", 2.8), visit("A", 3.1)]
    found = allot_visits(visits, (TimePoint("M00", 0), TimePoint("M03", 3)), {"A2.8"})
    assert {place: v.month for place, v in found.placed.items()} == {("A", "M00"): 0, ("A", "M03"): 2.8}


POINTS = st.lists(st.integers(0, 48), min_size=1, max_size=8, unique=True).map(
    lambda months: tuple(TimePoint(f"M{month}", float(month)) for month in sorted(months))
)


@given(POINTS, st.floats(-10, 60))
def test_nothing_stands_further_than_half_the_gap_or_45_days(points: tuple[TimePoint, ...], month: float) -> None:
    """And what stands at a point has no nearer one."""
    found = nearest_point(month, points)
    distances = [abs(month - point.month) for point in points]
    if found is None:
        assert all(d > reach(p, month, points) for d, p in zip(distances, points, strict=True))
        return
    assert abs(month - found.month) == min(distances)
    assert abs(month - found.month) * DAYS_A_MONTH <= 45 + 1e-9
    gaps = [abs(found.month - other.month) for other in points if other is not found]
    assert all(abs(month - found.month) <= gap / 2 for gap in gaps if len(points) == 2)


@pytest.mark.parametrize(("month", "name"), [(4.2, "M03"), (2.4, "M02"), (2.6, "M03"), (4.45, "M03"), (7.6, None)])
def test_the_gap_is_that_of_the_side(month: float, name: str | None) -> None:
    found = nearest_point(month, (TimePoint("M02", 2), TimePoint("M03", 3), TimePoint("M06", 6)))
    assert (found.name if found else None) == name


def test_the_baseline_takes_the_last_score_before_treatment() -> None:
    dose = ClinicalEvent("A", "2026-04-01", ClinicalKind.DOSE, math.nan, 0)
    days = {"2026-02-01": -2.0, "2026-03-20": -0.4, "2026-04-01": 0.0, "2026-04-11": 0.33, "2026-07-02": 3.02}
    scores = [ClinicalEvent("A", day, EDSS, 4, month) for day, month in days.items()]
    old = ClinicalEvent("B", "2025-12-01", EDSS, 4, -4.0)
    other = ClinicalEvent("B", "2026-04-01", ClinicalKind.DOSE, math.nan, 0)
    records = PatientRecords((), (dose, *scores, old, other))
    found = allot_scores(records, (TimePoint("M00", 0), TimePoint("M03", 3)), EDSS)
    assert {place: e.date for place, e in found.placed.items()} == {
        ("A", "M00"): "2026-04-01", ("A", "M03"): "2026-07-02",
    }  # fmt: skip
    assert {(left.item.date, left.why) for left in found.unplaced} == {
        ("2026-02-01", "a later score before treatment counts"),
        ("2026-03-20", "a later score before treatment counts"),
        ("2026-04-11", "nearest to M00, but after treatment began"),
        ("2025-12-01", "121 days before treatment began, more than 90"),
    }
