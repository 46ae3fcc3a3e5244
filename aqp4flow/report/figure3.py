"""Figure 3: pain and fatigue of every patient over months from baseline, with mean, SD and median."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aqp4flow.model import NAN, ClinicalEvent, ClinicalKind, Summary
from aqp4flow.report.labels import Labels
from aqp4flow.report.look import MANY, MOST_NAMED, Made, Point, look, new_figure
from aqp4flow.report.printed import folded, shown_test, summaries_of, summary_words, words_of_test

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from aqp4flow.pipeline import StudyResult

SCORES = (ClinicalKind.PAIN, ClinicalKind.FATIGUE)
_JITTER = 0.4  # of a point of the scale: all patients of one whole number lie within it


def scored(result: StudyResult) -> list[ClinicalEvent]:
    """Rows of pain and fatigue that have a value."""
    return [event for event in result.clinical if event.kind in SCORES and not math.isnan(event.value)]


def draw(result: StudyResult, labels: Labels) -> Made:
    """The figure, the numbers it shows and its caption; at least one score is known."""
    events = scored(result)
    kinds = [kind for kind in SCORES if any(event.kind is kind for event in events)]
    patients = list(dict.fromkeys(event.patient for event in events))
    figure = new_figure(7.2 if len(kinds) > 1 else 4.4, 4.2)
    panels = figure.subplots(1, len(kinds), squeeze=False, sharey=True)[0]
    points: list[Point] = []
    words = [f"Scores of {len(patients)} patients by months from baseline, a line a patient."]
    for axes, kind in zip(panels, kinds, strict=True):
        own = [event for event in events if event.kind is kind]
        points += _lines(axes, own, patients)
        middle = _placed(result, summaries_of(result.summaries, kind.value))
        points += _summaries(axes, middle, kind)
        points += _counts(axes, middle, own, kind)
        test = shown_test(result.statistics, kind.value)
        _dress(axes, own, labels(kind.value), labels)
        if test is not None:
            axes.set_title(folded(words_of_test(test, labels), 58), fontsize=7, loc="left", pad=14)
            words.append(f"{kind.value.capitalize()}, test: {words_of_test(test)}.")
        if middle:
            words.append(f"{kind.value.capitalize()}: {'; '.join(summary_words(row) for _, row in middle)}.")
    figure.suptitle(f"{labels('symptoms-title')}, {result.assay.assay.name}", fontsize=10)
    if any(row for row in result.summaries if row.outcome in kinds):
        words.append("Diamonds: mean with SD (bars; n - 1); thick dashes: median.")
        _legend(panels[0], labels)
    words.append("Lines are moved up or down by less than half a point, so that equal scores do not cover each other.")
    return figure, points, " ".join(words)


def _lines(axes: Axes, events: Sequence[ClinicalEvent], patients: Sequence[str]) -> list[Point]:
    points: list[Point] = []
    few = len(patients) <= MOST_NAMED
    for number, patient in enumerate(patients):
        course = sorted((e.month, e.value) for e in events if e.patient == patient)
        if not course:
            continue
        shift = _JITTER * ((number + 0.5) / len(patients) - 0.5)
        colour, marker, line = look(number) if few else (MANY, "o", "-")
        axes.plot([month for month, _ in course], [value + shift for _, value in course], color=colour, marker=marker,
                  ms=4 if few else 1.8, mew=0, lw=0.9 if few else 0.5, ls=line, alpha=0.85 if few else 0.35,
                  zorder=3)  # fmt: skip
        points += [(events[0].kind.value, patient, month, value, NAN, NAN, "") for month, value in course]
    return points


def _placed(result: StudyResult, rows: dict[str, Summary]) -> list[tuple[float, Summary]]:
    """Summaries with the months of their time points."""
    months = {one.name: one.month for one in result.schedule}
    return sorted(((months[n], row) for n, row in rows.items() if n in months), key=lambda pair: pair[0])


def _summaries(axes: Axes, middle: Sequence[tuple[float, Summary]], kind: ClinicalKind) -> list[Point]:
    points: list[Point] = []
    across = max((month for month, _ in middle), default=1.0) or 1.0
    for month, row in middle:
        x = month + 0.035 * across  # beside the patients' points
        if not math.isnan(row.mean):
            sd = row.sd if not math.isnan(row.sd) else 0.0
            axes.errorbar([x], [row.mean], yerr=[sd], color="black", marker="D", ms=5, capsize=4, lw=1.3, zorder=6)
        axes.plot([x - 0.03 * across, x + 0.03 * across], [row.median] * 2, color="black", lw=2.6, zorder=5)
        panel = kind.value
        points.append((panel, "mean", month, row.mean, row.mean - row.sd, row.mean + row.sd, "SD"))
        points.append((panel, "mean", month, row.mean, row.mean - row.sem, row.mean + row.sem, "SEM"))
        points.append((panel, "median", month, row.median, row.q1, row.q3, row.bound.value))
    return points


def _counts(
    axes: Axes, middle: Sequence[tuple[float, Summary]], events: Sequence[ClinicalEvent], kind: ClinicalKind
) -> list[Point]:
    for month, row in middle:
        axes.text(month, 1.005, f"{row.n}", transform=axes.get_xaxis_transform(), ha="center", va="bottom",
                  fontsize=7.5)  # fmt: skip
    if middle:
        axes.text(-0.01, 1.005, "n", transform=axes.transAxes, ha="right", va="bottom", fontsize=7.5, style="italic")
        return [(kind.value, "n", month, float(row.n), NAN, NAN, "") for month, row in middle]
    n = len({event.patient for event in events})
    axes.text(1.0, 1.005, f"n = {n}", transform=axes.transAxes, ha="right", va="bottom", fontsize=7.5)
    return [(kind.value, "n", NAN, float(n), NAN, NAN, "")]


def _dress(axes: Axes, events: Sequence[ClinicalEvent], name: str, labels: Labels) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_ylim(-0.6, max(10.0, *(event.value for event in events)) + 0.6)
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 3, 6, 10], integer=True))
    axes.set_xlabel(labels("months"))
    axes.set_ylabel(name)


def _legend(axes: Axes, labels: Labels) -> None:
    from matplotlib.lines import Line2D

    keys = [
        Line2D([], [], color="black", marker="D", ms=5, lw=1.3, label=labels("mean-sd")),
        Line2D([], [], color="black", lw=2.6, label=labels("median")),
    ]
    axes.figure.legend(handles=keys, loc="outside lower center", ncols=2, fontsize=8)
