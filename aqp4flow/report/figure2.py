"""Figure 2: the course of each patient: relapses, doses, EDSS and reactivity on one time axis, a panel a patient.

A panel is one pair of axes with four bands, from above: relapses, EDSS, reactivity, doses. All panels of all sheets
share their scales.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from aqp4flow.model import NAN, Bound, Change, ClinicalEvent, ClinicalKind
from aqp4flow.report import courses
from aqp4flow.report.courses import Seen
from aqp4flow.report.labels import Labels
from aqp4flow.report.look import DOSE, RELAPSE, Made, Point, bound_key, dose_arrow, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from aqp4flow.pipeline import StudyResult

PANELS = 12  # a sheet
_DOSES, _REACTIVITY, _EDSS, _RELAPSES = (-0.34, -0.06), (0.0, 1.0), (1.1, 1.7), (1.82, 2.08)  # bands, from below
_MOST_EDSS = 10.0
_TINT, _LINE = "#EAF2F8", "#005B3A"
_CALLS = {Change.FELL: "v", Change.ROSE: "^"}


@dataclass(frozen=True)
class _Frame:
    """The scales that all panels share: months, and the reactivity's range (None without any)."""

    left: float
    right: float
    low: float | None
    high: float | None
    quantity: str
    cut_off: tuple[float, float] | None

    def height(self, value: float) -> float:
        """Where a value of the quantity followed lies in its band."""
        if self.low is None or self.high is None:
            raise ValueError("no reactivity is drawn")
        return math.log2(value / self.low) / math.log2(self.high / self.low)


@dataclass(frozen=True)
class _Course:
    patient: str
    visits: Sequence[Seen]
    events: Sequence[ClinicalEvent]

    def of(self, kind: ClinicalKind) -> list[ClinicalEvent]:
        """The rows of one kind, by month."""
        return sorted((event for event in self.events if event.kind is kind), key=lambda event: event.month)


def sheets(result: StudyResult, labels: Labels) -> list[Made]:
    """Sheets of at most 12 patients, each with the numbers it shows and its caption."""
    measured = courses.courses(result.trajectories)
    drawn = (*courses.EVENTS, ClinicalKind.EDSS, ClinicalKind.OBSERVATION_START, ClinicalKind.OBSERVATION_END)
    ordered = sorted((e for e in result.clinical if e.kind in drawn), key=lambda event: event.patient)
    told = {patient: list(rows) for patient, rows in groupby(ordered, key=lambda event: event.patient)}
    everyone = [_Course(p, measured.get(p, ()), told.get(p, ())) for p in sorted({*measured, *told})]
    frame = _frame(everyone, result)
    parts = [everyone[start : start + PANELS] for start in range(0, len(everyone), PANELS)]
    return [_sheet(part, (number, len(parts)), frame, result, labels) for number, part in enumerate(parts, 1)]


def _frame(everyone: Sequence[_Course], result: StudyResult) -> _Frame:
    months = [one.month for course in everyone for one in course.visits]
    months += [one.month for course in everyone for one in course.events if not math.isnan(one.month)]
    values = [one.value.value for course in everyone for one in course.visits]
    room = 0.03 * max(1.0, max(months) - min(months))
    limit = courses.cut_off(result)
    return _Frame(
        min(months) - room,
        max(months) + room,
        min(values) / 1.6 if values else None,  # room for arrows
        max(values) * 1.6 if values else None,
        result.assay.trajectory.quantity,
        limit,
    )


def _sheet(
    part: Sequence[_Course], number: tuple[int, int], frame: _Frame, result: StudyResult, labels: Labels
) -> Made:
    columns = 1 if len(part) == 1 and number[1] == 1 else 2 if len(part) <= 4 and number[1] == 1 else 3
    rows = math.ceil(len(part) / columns)
    figure = new_figure(7.2 if columns > 1 else 5.2, 1.0 + (2.5 if columns < 3 else 2.05) * rows)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    points: list[Point] = []
    for place, axes in enumerate(panels.flat):
        if place >= len(part):
            axes.set_visible(False)
            continue
        points += _panel(axes, part[place], frame)
        lowest = place + columns >= len(part)
        axes.tick_params(labelbottom=lowest, labelsize=7)
        axes.set_xlabel(labels("months") if lowest else "", fontsize=7.5)
        axes.set_title(part[place].patient, fontsize=8.5, loc="left", pad=3)
    _scales(panels[0][0], frame, labels)
    title = f"{labels('course-title')}, {result.assay.assay.name}"
    if number[1] > 1:
        title += f" ({labels('sheet', number=number[0], count=number[1])})"
    figure.suptitle(title, fontsize=9.5)
    _legend(figure, part, labels)
    return figure, points, _caption(part, number, frame)


def _panel(axes: Axes, course: _Course, frame: _Frame) -> list[Point]:
    points = _window(axes, course, frame)
    axes.axvline(0, color="#999999", lw=0.7, ls=":", zorder=1)
    relapses, doses = ([e.month for e in course.of(kind)] for kind in courses.EVENTS)
    axes.vlines(relapses, *_RELAPSES, color=RELAPSE, lw=3.0, zorder=4)
    axes.vlines(relapses, _REACTIVITY[0], _RELAPSES[0], color=RELAPSE, lw=0.6, ls="--", zorder=2)
    axes.plot(doses, [sum(_DOSES) / 2] * len(doses), ls="", marker=dose_arrow(), color=DOSE, ms=7, mew=0, zorder=4)
    points += [("relapse", course.patient, month, NAN, NAN, NAN, "") for month in relapses]
    points += [("dose", course.patient, month, NAN, NAN, NAN, "") for month in doses]
    return points + _edss(axes, course) + _reactivity(axes, course, frame)


def _window(axes: Axes, course: _Course, frame: _Frame) -> list[Point]:
    """Shade what was observed; a side that the table does not tell stays open to the panel's edge."""
    starts = [e.month for e in course.of(ClinicalKind.OBSERVATION_START)]
    ends = [e.month for e in course.of(ClinicalKind.OBSERVATION_END)]
    if not starts and not ends:
        return []
    begin, end = min(starts, default=NAN), max(ends, default=NAN)
    axes.axvspan(
        frame.left if math.isnan(begin) else begin, frame.right if math.isnan(end) else end, color=_TINT, lw=0, zorder=0
    )
    return [("observed", course.patient, NAN, NAN, begin, end, "")]


def _edss(axes: Axes, course: _Course) -> list[Point]:
    events = [event for event in course.of(ClinicalKind.EDSS) if not math.isnan(event.value)]
    reach = (_EDSS[1] - _EDSS[0]) / _MOST_EDSS
    x, y = [e.month for e in events], [_EDSS[0] + reach * e.value for e in events]
    axes.plot(x, y, color="black", lw=1.1, drawstyle="steps-post", marker="s", ms=2.8, zorder=3)
    return [("edss", course.patient, e.month, e.value, NAN, NAN, "") for e in events]


def _reactivity(axes: Axes, course: _Course, frame: _Frame) -> list[Point]:
    if not course.visits:
        return []
    places = [(one.month, frame.height(one.value.value), one) for one in course.visits]
    axes.plot([x for x, _, _ in places], [y for _, y, _ in places], color=_LINE, lw=1.2, ls="-", zorder=3)
    courses.arrows(axes, [(x, y, one.value.bound) for x, y, one in places], _LINE, 19, 3)
    for x, y, one in places:
        call = _CALLS.get(one.point.change, "o")
        inside = "white" if courses.within(one) else _LINE
        axes.plot([x], [y], call, color=_LINE, mfc=inside, ms=5 if call != "o" else 3.8, mew=0.9, zorder=4)
    rows: list[Point] = []
    for one in course.visits:
        panel, patient, month, value, low, high, mark = courses.shown("reactivity", one)
        call = "baseline" if one.point.visit.baseline else one.point.change.value
        rows.append((panel, patient, month, value, low, high, f"{mark};{call}"))
    return rows


def _scales(axes: Axes, frame: _Frame, labels: Labels) -> None:
    """Ticks of all bands at one shared axis."""
    from matplotlib.ticker import MaxNLocator

    reach = (_EDSS[1] - _EDSS[0]) / _MOST_EDSS
    ticks = [(_EDSS[0] + reach * value, f"EDSS {value:g}" if value == 10 else f"{value:g}") for value in (0, 5, 10)]
    ticks += [(sum(_RELAPSES) / 2, labels("relapse")), (sum(_DOSES) / 2, labels("dose"))]
    if frame.low is not None and frame.high is not None:
        start = frame.cut_off[0] if frame.cut_off else 1.0
        values = courses.doubling_ticks(frame.low, frame.high, start, 5)
        values = [value for value in values if frame.height(value) < _REACTIVITY[1] - 0.08]  # clear of EDSS 0
        ticks += [(frame.height(value), courses.value_text(value, frame.quantity)) for value in values]
    ticks.sort()
    axes.set_yticks([place for place, _ in ticks], [words for _, words in ticks])
    axes.set_ylim(_DOSES[0] - 0.06, _RELAPSES[1] + 0.06)
    axes.set_xlim(frame.left, frame.right)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 3, 6, 10], integer=True))


def _legend(figure: Figure, part: Sequence[_Course], labels: Labels) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    visits = [one for course in part for one in course.visits]
    calls = {one.point.change for one in visits}
    keys: list[Line2D | Patch] = [
        Line2D([], [], ls="", marker="|", color=RELAPSE, ms=9, mew=3, label=labels("relapse")),
        Line2D([], [], ls="", marker=dose_arrow(), color=DOSE, ms=8, mew=0, label=labels("dose")),
    ]
    if any(course.of(ClinicalKind.EDSS) for course in part):
        keys.append(Line2D([], [], color="black", lw=1.1, marker="s", ms=2.8, label="EDSS"))
    if visits:
        keys.append(Line2D([], [], color=_LINE, lw=1.2, marker="o", ms=3.8, mfc="white", label=labels("reactivity")))
    for change, marker, words in ((Change.FELL, "v", "fell"), (Change.ROSE, "^", "rose")):
        if change in calls:
            keys.append(Line2D([], [], ls="", color=_LINE, ms=5, marker=marker, label=labels(words)))
    if any(one.value.bound is not Bound.EXACT for one in visits):
        keys.append(Line2D([], [], ls="", marker=bound_key(), color=_LINE, ms=10, mew=0,
                           label=labels("bounded")))  # fmt: skip
    if any(event.kind.value.startswith("observation") for course in part for event in course.events):
        keys.append(Patch(fc=_TINT, ec="#C8D8E4", label=labels("observed")))
    figure.legend(handles=keys, loc="outside lower center", ncols=4, fontsize=7.5, columnspacing=1.4)


def _caption(part: Sequence[_Course], number: tuple[int, int], frame: _Frame) -> str:
    events = [event for course in part for event in course.events]
    relapses, doses = (sum(event.kind is kind for event in events) for kind in courses.EVENTS)
    which = f" (sheet {number[0]} of {number[1]})" if number[1] > 1 else ""
    return (
        f"Course of {len(part)} patient{'' if len(part) == 1 else 's'}{which}, a panel each, by months from baseline. "
        f"From above: {relapses} relapses (red columns); EDSS from 0 to 10, held until the next; "
        f"{frame.quantity} on a log2 scale, triangles where it fell or rose beyond the assay's error, arrows where "
        f"only a bound is known; {doses} doses (blue arrows). Shaded: the window of observation. Dotted: baseline."
    )
