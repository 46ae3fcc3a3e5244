"""Patients over time: folds, bridges between plates and calls of change, by hand and by law."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aqp4flow.cohort.bridging import bridging_check
from aqp4flow.cohort.change import called
from aqp4flow.cohort.trajectory import Course, Following, Quantity, by_serum, fold, follow
from aqp4flow.model import (
    UNKNOWN,
    Bound,
    Change,
    Reactivity,
    ReferenceChange,
    Role,
    Status,
    Titer,
    Titration,
    TrajectoryPoint,
    Verdict,
    Visit,
)

DRAWS = np.random.default_rng(1).standard_normal((64, 400)) * 0.1
ASSUMED = ReferenceChange(2.0, False, "an assumption")
NAN = math.nan


def titration(
    plate: str, serum: str, titer: float, role: Role = Role.SAMPLE, bound: Bound = Bound.EXACT, noise: int = 0
) -> Titration:
    """A titer with log-normal draws of 7 %; `noise` picks them."""
    draws = math.log2(titer) + DRAWS[noise]
    if bound is not Bound.EXACT:
        draws = np.full(400, -math.inf if bound is Bound.BELOW else math.inf)
    value = Titer(titer, bound)
    return Titration(plate, serum, role, "delta", 100.0, None, value, None, draws=draws)


def row(plate: str, serum: str, status: Status) -> Reactivity:
    return Reactivity(plate, serum, Role.SAMPLE, 20.0, 2, 1.0, 1.0, UNKNOWN, UNKNOWN, NAN, NAN, NAN, NAN, status)


def visits(*sera: str) -> list[Visit]:
    return [Visit("PT01", serum, f"2026-0{i + 1}-01", f"M{i:02d}", i == 0, float(i)) for i, serum in enumerate(sera)]


def controls(factor: float, *, names: tuple[str, ...] = ("REF", "POS")) -> list[Titration]:
    """Controls that read `factor` times as much on the second plate."""
    titers, roles = {"REF": 1000.0, "POS": 300.0}, {"REF": Role.REFERENCE, "POS": Role.POSITIVE}
    return [
        titration(plate, name, titers[name] * times, roles[name], noise=10 + 2 * i + j)
        for i, name in enumerate(names)
        for j, (plate, times) in enumerate((("P001", 1.0), ("P002", factor)))
    ]


def course(measured: list[Titration], *sera: str, bridging: str = "auto") -> Course:
    return follow(visits(*sera), by_serum(measured, []), Following(bridging=bridging))


def later(found: Course) -> TrajectoryPoint:
    return found.points[-1]


@pytest.mark.parametrize("factor", [1.0, 1.5, 0.4])
def test_what_a_plate_reads_too_much_is_taken_off_through_the_controls(factor: float) -> None:
    """640 on the first plate, a quarter of it on a second that reads everything `factor` times as high."""
    measured = [titration("P001", "A", 640), titration("P002", "B", 160 * factor, noise=1), *controls(factor)]
    point = later(course(measured, "A", "B"))
    assert point.fold is not None
    assert point.value is not None
    assert point.fold.value == pytest.approx(0.25)
    assert point.value.value == pytest.approx(160)
    assert point.titer is not None
    assert point.titer.value == pytest.approx(160 * factor)  # as measured, beside it
    assert {"bridged", "other-plate-than-baseline"} <= set(point.notes)
    assert "not-bridged" not in point.flags


def test_the_controls_own_error_widens_the_fold() -> None:
    here = [titration("P001", "A", 640), titration("P001", "B", 160, noise=1)]
    there = [titration("P001", "A", 640), titration("P002", "B", 160, noise=1), *controls(1.0)]
    widths = []
    for measured in (here, there):
        change = later(course(measured, "A", "B")).fold
        assert change is not None
        widths.append(math.log2(change.high / change.low))
    assert widths[1] > 1.1 * widths[0]


def test_without_a_control_on_both_plates_the_fold_is_raw_and_says_so() -> None:
    measured = [titration("P001", "A", 640), titration("P002", "B", 240, noise=1)]
    found = course(measured, "A", "B")
    point = later(found)
    assert point.value is not None
    assert point.value.value == pytest.approx(240)
    assert "not-bridged" in point.flags
    check = bridging_check(found.bridges, "auto", found.crossed)
    assert check is not None
    assert check.verdict is Verdict.WARN


def test_one_control_bridges_and_is_flagged() -> None:
    measured = [titration("P001", "A", 640), titration("P002", "B", 240, noise=1), *controls(1.5, names=("REF",))]
    point = later(course(measured, "A", "B"))
    assert point.fold is not None
    assert point.fold.value == pytest.approx(0.25)
    assert "bridged-by-one" in point.flags


def test_bridging_can_be_turned_off_and_a_control_chosen() -> None:
    measured = [titration("P001", "A", 640), titration("P002", "B", 240, noise=1), *controls(1.5)]
    off = later(course(measured, "A", "B", bridging="none"))
    assert off.fold is not None
    assert off.fold.value == pytest.approx(0.375)
    chosen = later(course(measured, "A", "B", bridging="POS"))
    assert chosen.fold is not None
    assert chosen.fold.value == pytest.approx(0.25)
    found = course(measured, "A", "B", bridging="NOBODY")
    check = bridging_check(found.bridges, "NOBODY", found.crossed)
    assert check is not None
    assert check.verdict is Verdict.FAIL
    assert "POS, REF" in check.message


def test_a_serum_on_two_plates_is_their_mean_on_the_baselines_plate() -> None:
    """160 there and 60 x 1.5 read on the other: bridged to 60, the mean on log2 is sqrt(160 x 60)."""
    measured = [
        titration("P001", "A", 640),
        titration("P001", "B", 160, noise=1),
        titration("P002", "B", 60 * 1.5, noise=2),
        *controls(1.5),
    ]
    point = later(course(measured, "A", "B"))
    assert point.value is not None
    assert point.value.value == pytest.approx(math.sqrt(160 * 60))
    assert "combined-plates" in point.notes
    assert point.plates == ("P001", "P002")


def test_a_titer_below_the_ladder_stays_a_bound_in_value_and_fold() -> None:
    point = later(course([titration("P001", "A", 640), titration("P001", "B", 20, bound=Bound.BELOW)], "A", "B"))
    assert point.value is not None
    assert point.fold is not None
    assert (point.value.value, point.value.bound) == (20, Bound.BELOW)
    assert (point.fold.value, point.fold.bound) == (pytest.approx(20 / 640), Bound.BELOW)
    assert math.isnan(point.fold.low)
    assert point.change is Change.FELL


def test_two_bounds_on_one_side_say_nothing() -> None:
    below = [titration("P001", serum, 20, bound=Bound.BELOW) for serum in "AB"]
    point = later(course(below, "A", "B"))
    assert point.fold is None
    assert point.change is Change.UNKNOWN
    assert "fold-unknown" in point.flags


@pytest.mark.parametrize(
    ("change", "call"),
    [
        (Titer(0.4, Bound.EXACT, 0.3, 0.6), Change.FELL),
        (Titer(0.6, Bound.EXACT, 0.5, 0.7), Change.NONE),  # its limits exclude 1, but any two values differ so much
        (Titer(2.5, Bound.EXACT, 1.9, 3.3), Change.ROSE),
        (Titer(0.4, Bound.EXACT, 0.1, 1.3), Change.UNKNOWN),
        (Titer(0.4, Bound.BELOW, NAN, 0.6), Change.FELL),
        (Titer(0.8, Bound.BELOW, NAN, 0.9), Change.UNKNOWN),
        (Titer(0.4, Bound.ABOVE, 0.3, NAN), Change.UNKNOWN),
        (Titer(3.0, Bound.ABOVE, 2.0, NAN), Change.ROSE),
        (None, Change.UNKNOWN),
    ],
)
def test_a_change_is_called_only_beyond_the_reference_change_value(change: Titer | None, call: Change) -> None:
    assert called(change, ASSUMED)[0] is call


def test_lost_and_regained_status_and_a_rise_are_notes() -> None:
    measured = [titration("P001", serum, titer) for serum, titer in zip("ABCD", (640, 20, 160, 200), strict=True)]
    said = (Status.POSITIVE, Status.NEGATIVE, Status.POSITIVE, Status.POSITIVE)
    rows = [row("P001", serum, status) for serum, status in zip("ABCD", said, strict=True)]
    points = follow(visits(*"ABCD"), by_serum(measured, rows), Following()).points
    assert points[0].notes == ()
    assert "seroreverted" in points[1].notes
    assert {"seroconverted", "rise-since-last"} <= set(points[2].notes)
    assert "rise-since-last" not in points[3].notes  # 1.25-fold
    assert not any("rise" in flag or "sero" in flag for point in points for flag in point.flags)


@given(st.floats(0.2, 5.0), st.floats(10, 5000), st.floats(10, 5000))
def test_a_common_factor_of_a_plate_changes_no_bridged_fold(factor: float, before: float, after: float) -> None:
    measured = [titration("P001", "A", before), titration("P002", "B", after * factor, noise=1), *controls(factor)]
    point = later(course(measured, "A", "B"))
    assert point.fold is not None
    assert point.fold.value == pytest.approx(after / before)


@given(st.floats(1, 5000), st.floats(1, 5000))
def test_a_fold_and_the_way_back_are_one(a: float, b: float) -> None:
    first, second = (Quantity(Titer(value), math.log2(value) + DRAWS[place]) for place, value in enumerate((a, b)))
    there, back = fold(first, second), fold(second, first)
    assert there is not None
    assert back is not None
    assert there.value * back.value == pytest.approx(1)
    assert there.low * back.high == pytest.approx(1, rel=0.02)
