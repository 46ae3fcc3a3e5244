"""Figure 1: annualised relapse rates before and after treatment began.

Rows of statistics with figure `figure1` and outcome `relapses` are looked for by their contrast: `before` and `after`
hold the pooled rates with their exact limits as effect, and the row whose unit is `ratio` the rate ratio with its p.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from aqp4flow.model import NAN, Followed, Statistic, Summary
from aqp4flow.report.labels import Labels
from aqp4flow.report.look import MANY, MOST_NAMED, Made, Point, look, new_figure
from aqp4flow.report.printed import folded, shown_test, summaries_of, summary_words, words_of_test

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from aqp4flow.pipeline import StudyResult

_SIDES = ("before", "after")
_FILLS = ("#C9C9C9", "#FFFFFF")  # the bars tell themselves apart in grey
_POOLED = 2.0  # how far right of the bars the pooled rates stand
_JITTER = 0.5
_LETTERS = 62  # of a line above the narrow figure


def rates(one: Followed) -> tuple[float, float]:
    """A patient's own relapses a year before and after; NaN on a side that was not observed."""
    sides = ((one.relapses_before, one.years_before), (one.relapses_after, one.years_after))
    before, after = (n / years if years > 0 else NAN for n, years in sides)
    return before, after


def draw(result: StudyResult, labels: Labels) -> Made:
    """The figure, the numbers it shows and its caption; at least one side of one patient was observed."""
    rows = [row for row in result.statistics if row.outcome == "relapses"]
    pooled = {row.contrast: row for row in rows if row.contrast in _SIDES and row.effect.known}
    ratio = next((row for row in rows if row.unit == "ratio" and row.effect.known), None)
    means = summaries_of([row for row in result.summaries if row.figure == "figure1"], "relapses")
    figure = new_figure(6.4 if pooled else 4.4, 4.4)
    axes = figure.subplots()
    points = _bars(axes, means) + _own(axes, result.followed) + _pooled(axes, pooled)
    top = max(y for _, _, _, value, _, high, _ in points for y in (value, high) if not math.isnan(y))
    axes.set_ylim(0, max(1.0, top) * 1.2)  # room for what stands above
    places, names = [0.0, 1.0], [_side(result.followed, side, labels) for side in _SIDES]
    if pooled:
        places += [_POOLED + place for place in (0.0, 0.7)]
        names += [labels(side) for side in _SIDES]
        axes.axvline(1.55, color="#CCCCCC", lw=0.8)
        axes.text(_POOLED + 0.35, 0.985, labels("pooled"), transform=axes.get_xaxis_transform(), ha="center", va="top",
                  fontsize=8)  # fmt: skip
    axes.set_xlim(-0.55, _POOLED + 1.15 if pooled else 1.55)
    axes.set_xticks(places, names, fontsize=8)
    axes.set_ylabel(labels("rate"))
    n = max((row.n for row in means.values()), default=len(result.followed))
    axes.text(0.5, 0.985, labels("mean-sem" if means else "own-rates", n=n), ha="center", va="top", fontsize=8,
              transform=axes.get_xaxis_transform())  # fmt: skip
    points += _title(axes, result, ratio, labels)
    return figure, points, _caption(result, means, pooled, ratio)


def _bars(axes: Axes, means: dict[str, Summary]) -> list[Point]:
    points: list[Point] = []
    for place, side in enumerate(_SIDES):
        if side not in means:
            continue
        row = means[side]
        axes.bar([place], [row.mean], 0.72, color=_FILLS[place], edgecolor="black", lw=1.0, zorder=1)
        if not math.isnan(row.sem):
            axes.errorbar([place], [row.mean], yerr=[[0.0], [row.sem]], color="black", capsize=6, lw=1.2, zorder=2)
        points.append(("mean", side, NAN, row.mean, row.mean - row.sem, row.mean + row.sem, "SEM"))
        points.append(("median", side, NAN, row.median, row.q1, row.q3, row.bound.value))
    return points


def _own(axes: Axes, followed: Sequence[Followed]) -> list[Point]:
    """Each patient's two rates joined, moved sideways by the patient's number so that equal ones do not cover."""
    points: list[Point] = []
    few = len(followed) <= MOST_NAMED
    for number, one in enumerate(followed):
        own = rates(one)
        shift = _JITTER * ((number + 0.5) / len(followed) - 0.5)
        colour, marker, _ = look(number) if few else (MANY, "o", "")
        axes.plot([shift, 1 + shift], own, color=colour, marker=marker, ms=4.5 if few else 2.5, mec="black",
                  mew=0.5 if few else 0, lw=0.8 if few else 0.4, alpha=0.9 if few else 0.4, zorder=3,
                  clip_on=False)  # fmt: skip
        for side, value, n, years in zip(
            _SIDES,
            own,
            (one.relapses_before, one.relapses_after),
            (one.years_before, one.years_after),
            strict=True,
        ):
            if not math.isnan(value):
                points.append(("patient", one.patient, years, value, NAN, NAN, f"{side}: {n} in {years:.4g} years"))
    return points


def _pooled(axes: Axes, pooled: dict[str, Statistic]) -> list[Point]:
    points: list[Point] = []
    for place, side in enumerate(_SIDES):
        if side not in pooled:
            continue
        rate = pooled[side].effect
        low, high = (rate.value if math.isnan(end) else end for end in (rate.low, rate.high))
        axes.errorbar([_POOLED + 0.7 * place], [rate.value], yerr=[[rate.value - low], [high - rate.value]],
                      color="black", marker="sD"[place], mfc=("#555555", "white")[place], ms=7, capsize=5,
                      lw=1.4, clip_on=False)  # fmt: skip
        axes.text(_POOLED + 0.7 * place + 0.1, rate.value, f"{rate.value:.2f}", ha="left", va="bottom", fontsize=8)
        points.append(("pooled rate", side, NAN, rate.value, rate.low, rate.high, pooled[side].test))
    return points


def _observed(followed: Sequence[Followed], side: str) -> tuple[int, float, int]:
    """Relapses, years and patients of one side, over the patients observed there."""
    pairs = [(getattr(one, f"relapses_{side}"), getattr(one, f"years_{side}")) for one in followed]
    pairs = [(n, years) for n, years in pairs if years > 0]
    return sum(n for n, _ in pairs), math.fsum(years for _, years in pairs), len(pairs)


def _side(followed: Sequence[Followed], side: str, labels: Labels) -> str:
    relapses, years, _ = _observed(followed, side)
    return f"{labels(side)}\n{labels('person-years', relapses=relapses, years=f'{years:.1f}')}"


def _title(axes: Axes, result: StudyResult, ratio: Statistic | None, labels: Labels) -> list[Point]:
    lines = [f"{labels('rate-title')}, {result.assay.assay.name}"]
    points: list[Point] = []
    if ratio is not None:
        value, low, high = (_short(end) for end in (ratio.effect.value, ratio.effect.low, ratio.effect.high))
        lines.append(labels("ratio-of-rates", ratio=value, low=low, high=high, limits=labels("limits")))
        points.append(("rate ratio", ratio.contrast, NAN, ratio.effect.value, ratio.effect.low, ratio.effect.high, ""))
        if not math.isnan(ratio.p):
            lines.append(folded(words_of_test(ratio, labels), _LETTERS))
    test = shown_test(result.statistics, "relapses")
    if test is not None and test is not ratio:
        lines.append(folded(words_of_test(test, labels), _LETTERS))
    axes.set_title("\n".join(lines), loc="left", fontsize=8.5)
    return points


def _short(value: float) -> str:
    return "…" if math.isnan(value) else "∞" if math.isinf(value) else f"{value:.2g}"


def _caption(
    result: StudyResult, means: dict[str, Summary], pooled: dict[str, Statistic], ratio: Statistic | None
) -> str:
    words = ["Annualised relapse rates before and after treatment began; points joined by a line: a patient."]
    for side in _SIDES:
        n, years, patients = _observed(result.followed, side)
        words.append(f"{side.capitalize()}: {n} relapses in {years:.2f} patient-years of {patients} patients.")
    if means:
        words.append("Bars: mean of the patients' rates with its SEM (standard error of the mean).")
        words += [f"{summary_words(row)}." for row in means.values()]
    for side, row in pooled.items():
        low, high = _short(row.effect.low), _short(row.effect.high)
        words.append(f"Pooled rate {side}: {row.effect.value:.3g} a year, exact 95 % limits {low} to {high} (Garwood).")
    if ratio is not None:
        low, high = _short(ratio.effect.low), _short(ratio.effect.high)
        words.append(f"Rate ratio {ratio.effect.value:.3g}, 95 % limits {low} to {high}.")
    tests = [
        row for row in (ratio, shown_test(result.statistics, "relapses")) if row is not None and not math.isnan(row.p)
    ]
    words += [f"Test: {words_of_test(row)}." for row in dict.fromkeys(tests)]
    words.append(
        "Patients are treated when they relapse often: some of a fall is regression to the mean, which no test of "
        "these numbers takes away."
    )
    return " ".join(words)
