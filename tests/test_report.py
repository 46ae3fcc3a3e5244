"""What stands in the report and its figures, where a slip would mislead who reads them."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
from matplotlib.transforms import Affine2D

from aqp4flow.assay.cutoffs.cutoff import CutOffs
from aqp4flow.assay.definition import Assay
from aqp4flow.model import Bound, Role, Status, Titer, Titration, TrajectoryPoint, Visit
from aqp4flow.pipeline import StudyResult
from aqp4flow.report.courses import Seen
from aqp4flow.report.figure4 import draw_course, dress
from aqp4flow.report.labels import Labels
from aqp4flow.report.look import look, new_figure
from aqp4flow.report.page import _titers, _verdict
from aqp4flow.report.platefigure import _scale_of_delta, _titration_panel
from test_by_hand import reading, row
from test_series import checks, deltas, titration

DEFINITION = {"assay": {"antigen": "AQP4-M23"}, "channels": {"reporter": "FITC-A", "signal": "APC-A"}}


def test_a_serum_that_failed_is_counted_beside_the_verdict() -> None:
    """The run is fit, and says what is not."""
    found = [c for part in checks([reading("A01", 1000), reading("A02", 1450)]).values() for c in part]
    alone = [c for c in found if c.scope == "serum"]
    result = StudyResult(Assay.model_validate(DEFINITION), (), checks=tuple(alone))
    assert (result.fit, result.failed_alone) == (True, "1 check of a serum")
    assert _verdict(result) == (
        "The run passes its acceptance rules, but look at what did not: 1 check of a serum failed."
    )
    assert _verdict(replace(result, checks=())) == "The run passes all of its acceptance rules."


def test_the_report_says_a_serums_status_beside_its_titer() -> None:
    """At its lowest dilution, early in the row; limits in the number's own cell, four digits; flags last."""
    equivocal = [row(90, status=Status.EQUIVOCAL), row(20, 80, status=Status.NEGATIVE)]
    below = Titration(
        "P", "S", Role.SAMPLE, "delta", 100, Titer(20, Bound.BELOW), Titer(20, Bound.BELOW), None, ("gap",)
    )
    exact = replace(below, serum="T", titer=Titer(123.456, Bound.EXACT, 60.0, 250.789), flags=())
    plate = SimpleNamespace(titrations=(below, exact), rows=(*equivocal[::-1], row(900, serum="T")))
    grid = _titers(SimpleNamespace(titers=[plate]), patients=True)
    assert grid.headings[:5] == ("plate", "serum", "status", "endpoint", "titer (95 % limits)")
    assert grid.headings[-1] == "flags"
    assert grid.rows[0][:5] == ["P", "S", "equivocal", "< 20", "< 20"]
    assert grid.rows[0][-1] == "gap"
    assert grid.rows[1][2:5] == ["positive", "< 20", "123.5 (60 to 250.8)"]


def test_no_two_sera_of_a_plate_look_alike() -> None:
    """Colour and marker of 49 sera; those that share a colour have another line too."""
    looks = [look(number) for number in range(49)]
    assert len({(colour, marker) for colour, marker, _ in looks}) == 49
    assert looks[0][0] == looks[7][0]
    assert looks[0][2] != looks[7][2]


@pytest.mark.parametrize(
    ("values", "cutoff", "scale"),
    [
        ((5.0, 900.0), 10.05, "log"),
        ((-3.0, 8.0), 10.05, "linear"),  # nothing beyond 100: a log part would have no decade to tick
        ((-3.0, 9000.0), 10.05, "symlog"),
        ((-3.0, 8.0), math.nan, "linear"),
    ],
)
def test_the_scale_of_delta_has_round_ticks(values: tuple[float, ...], cutoff: float, scale: str) -> None:
    axes = new_figure(4, 3).subplots()
    axes.plot([20, 80], values)
    _scale_of_delta(axes, values, cutoff)
    axes.figure.draw_without_rendering()
    assert axes.get_yscale() == scale
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert not any("times" in label for label in labels)


def test_a_legend_stands_beside_the_curves() -> None:
    """Eight sera that fall from left above to right below: the legend begins where the panel ends."""
    names = [f"S{i}" for i in range(8)]
    rows = tuple(replace(r, serum=name) for name in names for r in deltas(900, 300, 90))
    known = tuple(replace(titration(20), serum=name) for name in names)
    plate = SimpleNamespace(titrations=known, rows=rows, cutoffs=CutOffs(None, None, None, 20))
    axes = new_figure(6, 3).subplots()
    _titration_panel(axes, plate, "sera")
    axes.figure.draw_without_rendering()
    assert axes.get_legend().get_window_extent().x0 >= axes.get_window_extent().x1


def test_figure_4_draws_every_bound_and_every_limit_that_is_known() -> None:
    """A titer above the tested range at the top of the figure: its arrow lies within it. Open sides have no bar."""
    titers = [Titer(80, Bound.EXACT, 40, 160), Titer(20480, Bound.ABOVE, 9000), Titer(18000, Bound.EXACT, 8000)]
    titers.append(Titer(20, Bound.BELOW, math.nan, 30))
    course = []
    for i, titer in enumerate(titers):
        visit = Visit("PT", f"S{i}", "2014-03-03", "", i == 0, float(i))
        point = TrajectoryPoint(visit, ("P",), "titer", titer, None, None, value=titer)
        course.append(Seen(point, titer))
    axes = new_figure(6, 4).subplots()
    draw_course(axes, course, 0, few=True)
    dress(axes, StudyResult(Assay.model_validate(DEFINITION), ()), course, Labels("en"))
    axes.figure.draw_without_rendering()
    places = {}
    for line in axes.lines:
        if str(line.get_gid()).startswith("bound"):
            shape = line.get_marker().transformed(Affine2D().scale(line.get_markersize() / 2 * axes.figure.dpi / 72))
            for month, value in line.get_xydata():
                tips = axes.transData.transform([(month, value)]) + shape.get_extents().get_points()
                places[month] = tips[:, 1]
    frame = axes.get_window_extent()
    assert sorted(places) == [1, 3]
    assert all(frame.y0 < tip < frame.y1 for tips in places.values() for tip in tips)
    bars = {line.get_xdata()[0]: list(line.get_ydata()) for line in axes.lines if len(line.get_xdata()) == 2}
    assert [bars[month] for month in range(4)] == [[40, 160], [9000, 20480], [8000, 18000], [20, 30]]
