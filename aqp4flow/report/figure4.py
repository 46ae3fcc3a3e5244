"""Figure 4: the reactivity of every patient over months from baseline, with median, quartiles, doses and relapses."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from aqp4flow.model import NAN, Bound, ClinicalEvent, ClinicalKind, Statistic, Titer
from aqp4flow.report import courses
from aqp4flow.report.courses import Middle, Seen
from aqp4flow.report.labels import Labels
from aqp4flow.report.look import DOSE, MANY, MOST_NAMED, RELAPSE, Made, Point, bound_key, dose_arrow, look, new_figure
from aqp4flow.report.printed import folded, shown_test, summaries_of, summary_words, words_of_test

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from aqp4flow.pipeline import StudyResult

_WIDTH, _HEIGHT, _ROW = 7.0, 4.2, 0.17  # inches; a row of the strip below


def draw(result: StudyResult, labels: Labels) -> Made:
    """The figure, the numbers it shows and its caption; at least one visit has a value."""
    by_patient = courses.courses(result.trajectories)
    everyone = [one for course in by_patient.values() for one in course]
    span = (min(0.0, *(one.month for one in everyone)), max(1.0, *(one.month for one in everyone)))
    events = [e for e in result.clinical if e.kind in courses.EVENTS and span[0] <= e.month <= span[1]]
    figure, axes, strips = _panels(len(by_patient), events)
    axes.set_xlim(span[0] - 0.03 * (span[1] - span[0]), span[1] + 0.03 * (span[1] - span[0]))
    points: list[Point] = []
    for number, course in enumerate(by_patient.values()):
        draw_course(axes, course, number, few=len(by_patient) <= MOST_NAMED)
        points += [courses.shown("patient", one) for one in course]
    middle = courses.middles(result) if len(by_patient) > 1 else []
    draw_median(axes, middle)
    points += [point for one in middle for point in _middle_points(one)]
    dress(axes, result, everyone, labels)
    points += _cut_off(axes, result, labels)
    _names(axes, by_patient, middle, labels)
    points += _counts(axes, middle)
    _strips(strips, events, list(by_patient), labels)
    points += [("event", e.patient, e.month, NAN, NAN, NAN, e.kind.value) for e in events]
    (strips[-1] if strips else axes).set_xlabel(labels("months"))
    for upper in [axes, *strips][:-1]:
        upper.tick_params(labelbottom=False)
    _legend(figure, everyone, middle, {e.kind for e in events}, labels)
    test = shown_test(result.statistics, "reactivity")
    _title(axes, result, test, labels)
    left_out = sum(e.kind in courses.EVENTS for e in result.clinical) - len(events)
    return figure, points, _caption(result, by_patient, middle, test, left_out)


def _panels(n: int, events: Sequence[ClinicalEvent]) -> tuple[Figure, Axes, list[Axes]]:
    """The figure with its main axes, and below them a strip with a row a patient, or two of counts, or none."""
    if not events:
        figure = new_figure(_WIDTH, _HEIGHT)
        return figure, figure.subplots(), []
    heights = [0.3 + _ROW * n] if n <= MOST_NAMED else [0.55] * len({e.kind for e in events})
    figure = new_figure(_WIDTH, _HEIGHT + sum(heights))
    panels = figure.subplots(1 + len(heights), 1, sharex=True, gridspec_kw={"height_ratios": [3.4, *heights]})
    return figure, panels[0], list(panels[1:])


def draw_course(axes: Axes, course: Sequence[Seen], number: int, few: bool) -> None:
    """One patient: a line, an arrow where only a bound is known; where patients are few limits, names and calls too.

    A hollow marker lies within the assay's error of the baseline; a ring is another plate than the baseline's.
    """
    colour, marker, line = look(number) if few else (MANY, "o", "-")
    x, y = [one.month for one in course], [one.value.value for one in course]
    axes.plot(x, y, color=colour, lw=1.0 if few else 0.6, ls=line, alpha=0.85 if few else 0.4, zorder=3)
    courses.arrows(
        axes, [(one.month, one.value.value, one.value.bound) for one in course], colour, 24 if few else 14, 3.5
    )
    if not few:
        axes.plot(x, y, ".", color=colour, ms=2.5, alpha=0.5, zorder=3, mew=0)
        return
    for one in course:
        inside = "white" if courses.within(one) else colour
        axes.plot([one.month], [one.value.value], marker, color=colour, mfc=inside, ms=4.5, mew=1.0, zorder=4)
        if courses.on_other_plate(one):
            axes.plot([one.month], [one.value.value], "o", color=colour, mfc="none", ms=9, mew=0.6, zorder=4)
        ends = [one.value.value if math.isnan(end) else end for end in (one.value.low, one.value.high)]
        axes.plot([one.month] * 2, ends, color=colour, lw=0.8, alpha=0.6, zorder=3)  # an open side has no bar


def draw_median(axes: Axes, middle: Sequence[Middle]) -> None:
    """Median as a thick line and quartiles as a band: open, with an arrow, where they touch bounded values."""
    known = [(one.month, one.median) for one in middle if one.median is not None]
    axes.plot([x for x, _ in known], [t.value for _, t in known], color="black", lw=2.6, zorder=5)
    courses.arrows(axes, [(x, t.value, t.bound) for x, t in known], "black", 30, 6)
    band = [(one.month, one.q1, one.q3) for one in middle if one.q1 is not None and one.q3 is not None]
    if not band:
        return
    x = [month for month, _, _ in band]
    axes.fill_between(x, [q.value for _, q, _ in band], [q.value for _, _, q in band], color="#56B4E9", alpha=0.28,
                      lw=0, zorder=1)  # fmt: skip
    for edge in ([q1 for _, q1, _ in band], [q3 for _, _, q3 in band]):
        closed = [q.value if q.bound is Bound.EXACT else NAN for q in edge]
        axes.plot(x, closed, color="#2A6F97", lw=0.8, zorder=2)
        courses.arrows(axes, [(m, q.value, q.bound) for m, q in zip(x, edge, strict=True)], "#2A6F97", 20, 2)


def dress(axes: Axes, result: StudyResult, everyone: Sequence[Seen], labels: Labels) -> None:
    """A log2 axis that holds every value, limit, arrow and the cut-off."""
    from matplotlib.ticker import FuncFormatter, MultipleLocator, NullLocator

    quantity = result.assay.trajectory.quantity
    few = len({one.patient for one in everyone}) <= MOST_NAMED
    values = [one.value.value for one in everyone]
    values += [v for one in everyone for v in (one.value.low, one.value.high) if few and 0 < v < math.inf]
    limit = courses.cut_off(result)
    values += limit or ()
    bottom, top = min(values) / 2.2, max(values) * 2.0  # room for arrows
    axes.set_yscale("log", base=2)
    axes.set_ylim(bottom, top)
    axes.yaxis.set_minor_locator(NullLocator())
    start = limit[0] if limit else 1.0
    axes.set_yticks(courses.doubling_ticks(bottom, top, start, 9))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: courses.value_text(value, quantity)))
    longest = max(one.month for one in everyone)
    axes.xaxis.set_major_locator(MultipleLocator(next((s for s in (1, 3, 6, 12) if longest <= 8 * s), 24)))
    axes.set_ylabel(courses.quantity_label(result, labels))


def _cut_off(axes: Axes, result: StudyResult, labels: Labels) -> list[Point]:
    limit = courses.cut_off(result)
    if limit is None:
        return []
    low, high = limit
    titers = result.assay.trajectory.quantity == "titer"
    if titers:
        axes.axhspan(axes.get_ylim()[0], low, color="#D9D9D9", alpha=0.6, lw=0, zorder=0)
        words = labels("below", dilution=f"{low:g}")
    else:
        axes.axhspan(low, high, color="#D9D9D9", alpha=0.6, lw=0, zorder=0)
        for edge in sorted({low, high}):
            axes.axhline(edge, color="#444444", lw=0.9, ls="--", zorder=1)
        words = labels("cut-off" if low == high else "cut-offs")
    axes.text(0.01, low * 0.95, words, transform=axes.get_yaxis_transform(), ha="left", va="top", fontsize=7.5,
              color="#444444")  # fmt: skip
    name = "lowest dilution tested" if titers else "plates"
    return [("cut-off", name, NAN, high, low, high, "")]


def _names(axes: Axes, by_patient: dict[str, list[Seen]], middle: Sequence[Middle], labels: Labels) -> None:
    """Patients' names at the right ends, pushed apart so that none covers another."""
    known = [(one.month, one.median.value) for one in middle if one.median is not None]
    ends = [(labels("median"), *known[-1], "black")] if known else []
    if len(by_patient) <= MOST_NAMED:
        for number, (patient, course) in enumerate(by_patient.items()):
            ends.append((patient, course[-1].month, course[-1].value.value, look(number)[0]))
    low, high = (math.log2(end) for end in axes.get_ylim())
    gap = min(0.05, 1 / max(1, len(ends))) * (high - low)
    left, right = axes.get_xlim()
    ends.sort(key=lambda end: end[2])
    places = _apart([math.log2(value) for _, _, value, _ in ends], gap, low + gap / 2, high - gap / 2)
    for (name, month, value, colour), place in zip(ends, places, strict=True):
        axes.annotate(
            name, (month, value), (right + 0.01 * (right - left), 2.0**place), color="#222222", fontsize=8,
            va="center",
            arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.8, "ls": ":", "shrinkA": 0, "shrinkB": 2},
            annotation_clip=False,
        )  # fmt: skip


def _apart(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Rising places moved until each is a gap above the last, as little as may be, between the ends if they fit."""

    def upwards(start: float, wanted: Iterable[float]) -> list[float]:
        moved = accumulate(wanted, lambda last, place: max(place, last + gap), initial=start - gap)
        return list(moved)[1:]

    def downwards(start: float, wanted: Sequence[float]) -> list[float]:
        return [-place for place in upwards(-start, [-place for place in reversed(wanted)])][::-1]

    up, down = upwards(-math.inf, places), downwards(math.inf, places)
    return downwards(high, upwards(low, [(a + b) / 2 for a, b in zip(up, down, strict=True)]))


def _counts(axes: Axes, middle: Sequence[Middle]) -> list[Point]:
    """How many patients have a value at each time point, above the axes."""
    last = -math.inf
    across = max((one.month for one in middle), default=0.0)
    for one in middle:
        if one.month - last < 0.03 * across:
            continue  # it would cover its neighbour; the CSV and the caption have it
        last = one.month
        axes.text(one.month, 1.005, f"{one.n}", transform=axes.get_xaxis_transform(), ha="center", va="bottom",
                  fontsize=7.5)  # fmt: skip
    if middle:
        axes.text(-0.012, 1.005, "n", transform=axes.transAxes, ha="right", va="bottom", fontsize=7.5, style="italic")
    return [("n", one.name, one.month, float(one.n), NAN, NAN, "") for one in middle]


def _strips(strips: Sequence[Axes], events: Sequence[ClinicalEvent], patients: Sequence[str], labels: Labels) -> None:
    from matplotlib.ticker import MaxNLocator

    if not strips:
        return
    if len(patients) <= MOST_NAMED:
        known = [*patients, *dict.fromkeys(e.patient for e in events if e.patient not in patients)]
        _rows(strips[0], events, known)
        return
    kinds = [kind for kind in courses.EVENTS if any(e.kind is kind for e in events)]
    for axes, kind in zip(strips, kinds, strict=True):
        counts = Counter(math.floor(e.month) for e in events if e.kind is kind)
        red = kind is ClinicalKind.RELAPSE
        months = sorted(counts)
        axes.bar([m + 0.5 for m in months], [counts[m] for m in months], 0.8 if red else 0.5,
                 color=RELAPSE if red else "white", edgecolor=RELAPSE if red else DOSE, hatch="" if red else "////",
                 lw=0.8)  # fmt: skip
        axes.set_ylabel(labels("relapses-a-month" if red else "doses-a-month"), rotation=0, ha="right", va="center",
                        fontsize=7.5, color=RELAPSE if red else DOSE)  # fmt: skip
        axes.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        axes.tick_params(labelsize=7)


def _rows(axes: Axes, events: Sequence[ClinicalEvent], patients: Sequence[str]) -> None:
    row = {patient: number for number, patient in enumerate(patients)}
    for kind in courses.EVENTS:
        chosen = [(e.month, row[e.patient]) for e in events if e.kind is kind]
        x, y = [month for month, _ in chosen], [place for _, place in chosen]
        if kind is ClinicalKind.RELAPSE:
            axes.vlines(x, [p - 0.44 for p in y], [p + 0.44 for p in y], color=RELAPSE, lw=3.2, zorder=3)
        else:
            axes.plot(x, y, ls="", marker=dose_arrow(), color=DOSE, ms=7, mew=0, zorder=2)
    axes.set_ylim(len(patients) - 0.4, -0.6)
    axes.set_yticks(range(len(patients)), list(patients), fontsize=7.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", lw=0.3, color="#CCCCCC")
    axes.set_axisbelow(True)


def _legend(
    figure: Figure, everyone: Sequence[Seen], middle: Sequence[Middle], kinds: set[ClinicalKind], labels: Labels
) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    keys: list[Line2D | Patch] = []
    few = len({one.patient for one in everyone}) <= MOST_NAMED
    if any(one.q1 for one in middle):
        keys.append(Patch(fc="#56B4E9", alpha=0.35, ec="#2A6F97", label=labels("quartiles")))
    if any(one.value.bound is not Bound.EXACT for one in everyone):
        keys.append(Line2D([], [], ls="", marker=bound_key(), ms=10, color="#444444", mew=0,
                           label=labels("bounded")))  # fmt: skip
    if few:
        keys.append(Line2D([], [], ls="", marker="|", color="#444444", ms=10, mew=0.8, label=labels("limits")))
        if any(courses.within(one) for one in everyone):
            keys.append(Line2D([], [], ls="", marker="o", mfc="white", color="#444444", ms=4.5, label=labels("within")))
        if any(courses.on_other_plate(one) for one in everyone):
            keys.append(Line2D([], [], ls="", marker="o", mfc="none", color="#444444", ms=9, mew=0.6,
                               label=labels("other-plate")))  # fmt: skip
    if ClinicalKind.DOSE in kinds:
        keys.append(Line2D([], [], ls="", marker=dose_arrow(), color=DOSE, ms=8, mew=0, label=labels("dose")))
    if ClinicalKind.RELAPSE in kinds:
        keys.append(Line2D([], [], ls="", marker="|", color=RELAPSE, ms=9, mew=3.2, label=labels("relapse")))
    if keys:
        figure.legend(handles=keys, loc="outside lower center", ncols=4, fontsize=7.5, handletextpad=0.5,
                      columnspacing=1.4)  # fmt: skip


def _title(axes: Axes, result: StudyResult, test: Statistic | None, labels: Labels) -> None:
    title = f"{labels('reactivity-title', antigen=result.assay.assay.antigen)}, {result.assay.assay.name}"
    if test is not None:
        title += f"\n{folded(words_of_test(test, labels), 88)}"
    axes.set_title(title, loc="left", fontsize=9, pad=14)


def _middle_points(one: Middle) -> list[Point]:
    low, high = (quartile.value if quartile else NAN for quartile in (one.q1, one.q3))
    rows: list[Point] = []
    for series, titer in (("median", one.median), ("lower quartile", one.q1), ("upper quartile", one.q3)):
        if titer is not None:
            ends = (low, high) if series == "median" else (NAN, NAN)
            rows.append(("cohort", series, one.month, titer.value, *ends, titer.bound.value))
    return rows


def _caption(
    result: StudyResult, by_patient: dict[str, list[Seen]], middle: Sequence[Middle], test: Statistic | None, left: int
) -> str:
    quantity, n = result.assay.trajectory.quantity, len(by_patient)
    few = n <= MOST_NAMED
    words = [
        f"{quantity.capitalize()} of {n} patient{'' if n == 1 else 's'} by months from baseline, log2 scale, a line a "
        f"patient{' with 95 % limits' if few else ''}."
    ]
    if middle:
        course = "; ".join(
            f"{one.name} (month {one.month:.1f}, n = {one.n}): {_median(one, quantity)}" for one in middle
        )
        words.append(f"Median (thick line): {course}.")
    if any(one.q1 for one in middle):
        words.append("Band: quartiles, open with an arrow where they touch values known only as bounds.")
    limit = courses.cut_off(result)
    if limit and quantity == "titer":
        words.append(f"Grey: below the cut-off at the lowest dilution tested, 1:{limit[0]:g}.")
    elif limit:
        words.append(f"Dashed: the plates' cut-offs, {limit[0]:.4g} to {limit[1]:.4g}.")
    words.append("Arrows at values: known only to lie below or above the range.")
    if few:
        words.append("A bar ends at the value where that side is open. Hollow: within the assay's error of baseline.")
    if any(e.kind in courses.EVENTS for e in result.clinical):
        rows = "a row a patient" if few else "counts a month"
        words.append(f"Below: doses (blue) and relapses (red), {rows}.")
        if left:
            words.append(f"{left} of them lie outside the months shown; Figure 2 has all.")
    if test is not None:
        words.append(f"Test: {words_of_test(test)}.")
    found = summaries_of(result.summaries, "reactivity")
    if found:
        words.append(f"Summaries: {'; '.join(summary_words(row) for row in found.values())}.")
    return " ".join(words)


def _median(one: Middle, quantity: str) -> str:
    if one.median is None:
        return "not known"
    value = float(f"{one.median.value:.3g}")
    return str(Titer(value, one.median.bound)) if quantity == "titer" else f"{one.median.bound.value} {value:g}"
