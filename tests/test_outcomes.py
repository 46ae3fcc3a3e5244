"""Outcomes of patients: differences and averages that respect bounds, against sums by hand."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest

from aqp4flow.cohort.statistics.outcomes import (
    Outcome,
    complete,
    differences,
    reactivity,
    scores,
    summaries,
)
from aqp4flow.model import Bound, ClinicalEvent, ClinicalKind, PatientRecords, TimePoint, Titer, TrajectoryPoint, Visit

BELOW, ABOVE = -1, 1


def outcome(values: list[list[float]], signs: list[list[int]] | None = None, log2: bool = True) -> Outcome:
    table = np.array(values, float)
    return Outcome(
        "reactivity",
        "figure4",
        "log2 titer",
        tuple(f"PT{row + 1:02d}" for row in range(len(table))),
        tuple(f"M{column:02d}" for column in range(table.shape[1])),
        table,
        np.array(signs if signs is not None else np.zeros_like(table), np.int64),
        log2=log2,
    )


def point(patient: str, name: str, titer: Titer | None, plate: str = "P001") -> TrajectoryPoint:
    visit = Visit(patient, f"{patient}-{name}", "2026-04-01", name, name == "M00", 0.0)
    return TrajectoryPoint(visit, (plate,), "titer", titer, None, None, value=titer, timepoint=name)


def test_trajectories_become_a_table_on_log2_with_their_bounds() -> None:
    points = [
        point("A", "M00", Titer(80)),
        point("A", "M12", Titer(20, Bound.BELOW)),
        point("B", "M00", Titer(640, Bound.ABOVE), "P002"),
        point("B", "M12", None),
    ]
    table = reactivity(points, (TimePoint("M00", 0), TimePoint("M12", 12)))
    assert table.patients == ("A", "B")
    np.testing.assert_allclose(table.values[0], [math.log2(80), math.log2(20)])
    assert np.isnan(table.values[1, 1])
    assert table.signs.tolist() == [[0, BELOW], [ABOVE, 0]]
    assert table.plates == (("P001", "P001"), ("P002", ""))
    assert (table.unit, table.bounded) == ("log2 titer", 2)


def test_differences_keep_what_is_known_of_their_sign() -> None:
    table = outcome(
        [[6, 4], [6, 4], [4, 6], [4, 4], [6, 4], [6, np.nan]],
        [[0, 0], [0, BELOW], [BELOW, 0], [BELOW, BELOW], [ABOVE, BELOW], [0, 0]],
    )
    change = differences(table, 1)
    assert change.patients == ("PT01", "PT02", "PT03", "PT04", "PT05")
    assert change.signs.tolist() == [0, BELOW, ABOVE, 2, BELOW]
    np.testing.assert_array_equal(change.values, [-2, -2, 2, np.nan, -2])


def test_patients_without_a_time_point_are_named() -> None:
    whole, absent = complete(outcome([[1, 2], [3, np.nan]]))
    assert (whole.patients, absent) == (("PT01",), ("PT02",))


def test_mean_sd_and_sem_stand_beside_each_other() -> None:
    found = summaries(outcome([[3.0], [5.0], [10.0]], log2=False))[0]
    assert (found.mean, found.n, found.bounded) == (6.0, 3, 0)
    assert found.sd == pytest.approx(statistics.stdev([3, 5, 10]))
    assert found.sem == pytest.approx(statistics.stdev([3, 5, 10]) / math.sqrt(3))
    assert (found.median, found.q1, found.q3) == (5.0, 4.0, 7.5)


def test_on_log2_the_mean_is_geometric() -> None:
    found = summaries(outcome([[math.log2(20)], [math.log2(80)]]))[0]
    assert found.mean == pytest.approx(40)
    assert found.sd == pytest.approx(math.sqrt(2))


def test_one_patient_has_no_sd() -> None:
    found = summaries(outcome([[3.0]]))[0]
    assert math.isnan(found.sd)
    assert math.isnan(found.sem)


def test_bounded_values_make_no_mean_but_a_median_that_is_sure() -> None:
    """Of <20, 40, 80 the middle one is 40 whatever the first is: no half of 20 enters anywhere."""
    found = summaries(outcome([[math.log2(20)], [math.log2(40)], [math.log2(80)]], [[BELOW], [0], [0]]))[0]
    assert math.isnan(found.mean)
    assert math.isnan(found.sem)
    assert (found.median, found.bound) == (pytest.approx(40), Bound.EXACT)
    assert math.isnan(found.q1)
    assert found.bounded == 1


def test_scores_stand_at_the_schedule_and_only_where_anybody_was_scored() -> None:
    schedule = (TimePoint("M00", 0), TimePoint("M01", 1), TimePoint("M12", 12))
    visits = (Visit("A", "A0", "2026-04-01", "M00", True, 0.0), Visit("B", "B0", "2026-04-01", "M00", True, 0.0))
    told = [("A", "2026-03-20", 6.0, -0.4), ("A", "2027-04-02", 4.5, 12.0), ("B", "2026-04-01", 3.0, 0.0)]
    clinical = tuple(ClinicalEvent(who, day, ClinicalKind.EDSS, value, month) for who, day, value, month in told)
    found = scores(ClinicalKind.EDSS, PatientRecords(visits, clinical), schedule)
    assert (found.name, found.figure, found.timepoints) == ("edss", "figure2", ("M00", "M12"))
    np.testing.assert_array_equal(found.values, [[6.0, 4.5], [3.0, np.nan]])
