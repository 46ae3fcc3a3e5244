"""Pictures of a validation: precision profile, linearity, limits on blanks and lows, carry-over. SVG, PNG and CSV."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from aqp4flow.assay.quality.carryoverstudy import LowWell
from aqp4flow.assay.quality.detection import Limits, Profile, Spread
from aqp4flow.assay.quality.linearity import Linearity
from aqp4flow.assay.quality.precision import CONTROLS
from aqp4flow.assay.quality.validation import Validation
from aqp4flow.model import NAN, Imprecision, Precision, Role
from aqp4flow.report.look import Drawn, Point, new_figure, saved, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Made = tuple["Figure", list[Point], str]

_BLUE, _RED, _GREEN, _PINK, _GREY = "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#8A8A8A"
_MOST_PANELS = 9


def draw(measured: Precision, rest: Validation, lloq_cv: float) -> Drawn:
    """All pictures that these data allow, each with a sentence for those who do not see it."""
    files: dict[str, bytes] = {}
    captions: dict[str, str] = {}
    with styled():
        for name, made in (
            ("precision-profile", _profile(measured, rest, lloq_cv)),
            ("linearity", _linearity(rest.lines)),
            ("limits", _limits(rest)),
            ("carryover", _carryover(rest.lows)),
        ):
            if made is not None:
                figure, points, captions[name] = made
                files |= saved(name, figure, points, ("svg", "png"))
    return Drawn(files, captions)


# --- precision profile ------------------------------------------------------------------------------


def _profile(measured: Precision, rest: Validation, lloq_cv: float) -> Made | None:
    rows = [row for row in measured.rows if row.quantity == "delta" and not math.isnan(row.dilution)]
    rows = [row for row in rows if row.total.known and row.plates > 1 and row.role != Role.NEGATIVE]
    lob = rest.limits.of("LOB")
    lowest = max(lob.value, 0.0) if lob else 0.0
    sets = [one for one in rest.within if one.mean > lowest and one.role is not Role.NEGATIVE]
    if not rows and not sets:
        return None
    figure = new_figure(7.2, 4.4)
    axes = figure.subplots()
    points = _bins(axes, sets) + _rows(axes, rows)
    levels = [row.mean for row in rows] + [one.mean for one in sets]
    if rest.limits.profile is not None:
        points += _curve(axes, rest.limits.profile, min(levels), max(levels))
    axes.axhline(lloq_cv, color="black", ls="--", lw=0.8)
    axes.text(0.995, lloq_cv, f"{lloq_cv:g} % ", transform=axes.get_yaxis_transform(), ha="right", va="bottom")
    lloq = rest.limits.of("LLOQ")
    if lloq is not None:
        axes.axvline(lloq.value, color="black", ls=":", lw=0.8)
        axes.text(lloq.value, 0.99, " LLOQ", transform=axes.get_xaxis_transform(), va="top")
        points.append(("precision", "LLOQ", lloq.value, NAN, NAN, NAN, ""))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_yticks([tick for tick in (1, 2, 5, 10, 20, 50, 100) if _within(axes, tick)])
    axes.minorticks_off()
    axes.get_yaxis().set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("delta (MFI)")
    axes.set_ylabel("CV (%)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)  # above the points, not over them
    caption = (
        "CV of delta against its level: in all (materials over plates, bars are 95 % limits) and of replicate wells on "
        "one plate (all sera, levels within a factor of two together). Dashed: the CV that defines the LLOQ."
    )
    return figure, points, caption


def _within(axes: Axes, tick: float) -> bool:
    low, high = axes.get_ylim()
    return low <= tick <= high


def _rows(axes: Axes, rows: Sequence[Imprecision]) -> list[Point]:
    if not rows:
        return []
    shown: list[Point] = [
        ("precision", f"total: {row.material} 1:{row.dilution:g}", row.mean, row.total.value, row.total.low,
         row.total.high, f"{row.plates} plates")
        for row in rows
    ]  # fmt: skip
    x, y, low, high = (np.array([point[i] for point in shown], float) for i in (2, 3, 4, 5))
    axes.errorbar(x, y, yerr=(y - low, high - y), color=_BLUE, ls="", marker="o", ms=4, elinewidth=0.8,
                  label="total, of one well")  # fmt: skip
    return shown


def _bins(axes: Axes, sets: Sequence[Spread]) -> list[Point]:
    """Replicate sets pooled over levels within a factor of two: a lone pair of wells says next to nothing."""
    bins: dict[int, list[Spread]] = {}
    for one in sets:
        bins.setdefault(math.floor(math.log2(one.mean)), []).append(one)
    shown: list[Point] = []
    for number in sorted(bins):
        group = bins[number]
        df = sum(one.df for one in group)
        relative = math.sqrt(sum(one.df * one.variance / one.mean**2 for one in group) / df)
        middle = math.exp(float(np.mean([math.log(one.mean) for one in group])))
        shown.append(("precision", "within plates", middle, 100 * relative, NAN, NAN, f"{df:g} degrees of freedom"))
    if shown:
        sizes = [10 + 6 * math.sqrt(sum(one.df for one in bins[number])) for number in sorted(bins)]
        axes.scatter([p[2] for p in shown], [p[3] for p in shown], s=sizes, facecolors="none", edgecolors=_RED,
                     marker="s", label="replicate wells on one plate")  # fmt: skip
    return shown


def _curve(axes: Axes, profile: Profile, low: float, high: float) -> list[Point]:
    x = np.geomspace(low, high, 60)
    y = [profile.cv(float(level)) for level in x]
    axes.plot(x, y, color=_GREY, lw=1, label="profile: SD² = floor + (CV × level)²")
    return [("precision", "profile", float(a), b, NAN, NAN, "") for a, b in zip(x, y, strict=True)]


# --- linearity ----------------------------------------------------------------------------------------


def _linearity(lines: Sequence[Linearity]) -> Made | None:
    chosen = panels_of(lines)
    if not chosen:
        return None
    columns = min(3, len(chosen))
    height = math.ceil(len(chosen) / columns)
    figure = new_figure(3.2 * columns + 0.4, 2.6 * height + 0.4)
    grid = figure.subplots(height, columns, squeeze=False)
    points: list[Point] = []
    for axes, line in zip(grid.flat, chosen, strict=False):
        points += _line_panel(axes, line)
    for axes in grid.flat[len(chosen) :]:
        axes.set_visible(False)
    caption = (
        "Delta against dilution, geometric means over plates and replicates, for controls and then for the sera that "
        "deviate most. Filled: the linear interval, with its line; numbers are slope and largest deviation there. "
        "Grey: a slope of -1."
    )
    return figure, points, caption


def panels_of(lines: Sequence[Linearity]) -> list[Linearity]:
    """Controls first, then the sera whose dilutions deviate most from a line: trouble is what must be seen."""
    known = [line for line in lines if line.order]
    controls = [line for line in known if line.role in CONTROLS]
    others = [line for line in known if line.role not in CONTROLS]
    others.sort(key=lambda line: -max(abs(level.deviation) for level in line.levels))
    return [*controls, *others][:_MOST_PANELS]


def _line_panel(axes: Axes, line: Linearity) -> list[Point]:
    inside = line.inside()
    outside = [level for level in line.levels if level not in inside]
    axes.plot([v.dilution for v in outside], [v.mean for v in outside], "o", mfc="none", color=_BLUE, ms=5)
    axes.plot([v.dilution for v in inside], [v.mean for v in inside], "o", color=_BLUE, ms=5)
    points: list[Point] = [
        (line.serum, "geometric mean", v.dilution, v.mean, NAN, NAN, "linear" if v in inside else "outside")
        for v in line.levels
    ]
    title = line.serum
    if inside and line.slope.known:
        x = np.array([level.dilution for level in inside])
        middle = math.exp(float(np.mean(np.log(x))))
        height = math.exp(float(np.mean([math.log(level.mean) for level in inside])))
        axes.plot(x, height * (x / middle) ** -1, color=_GREY, lw=0.8)
        axes.plot(x, height * (x / middle) ** line.slope.value, color=_RED, lw=1)
        worst = max(abs(level.interval_deviation) for level in inside)
        title += f": slope {line.slope.value:.2f}, {worst:.1f} %"
        points += [(line.serum, "line", a, height * (a / middle) ** line.slope.value, NAN, NAN, "") for a in x.tolist()]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(title, fontsize=8, loc="left")
    axes.set_xlabel("dilution (1:x)")
    axes.set_ylabel("delta (MFI)")
    return points


# --- blanks and lows ----------------------------------------------------------------------------------


def _limits(rest: Validation) -> Made | None:
    lob = rest.limits.of("LOB")
    if lob is None:
        return None
    both = [*rest.total, *(one for one in rest.within if one.plates == 1)]
    lows = [one for one in both if lob.value < one.mean <= 4 * lob.value and one.role is not Role.NEGATIVE]
    series = {name: values for name, values in rest.blanks.items() if values}
    figure = new_figure(7.2, 3.8)
    axes = figure.subplots()
    points: list[Point] = []
    for row, (name, values) in enumerate(series.items()):
        axes.plot(sorted(values), _spread_out(row, len(values)), "o", ms=3, color=_BLUE, alpha=0.6)
        points += [("limits", name, value, NAN, NAN, NAN, "blank") for value in sorted(values)]
    row = len(series)
    for one in lows:
        sd = math.sqrt(one.variance)
        points.append(("limits", f"{one.material} 1:{one.dilution:g}", one.mean, sd, NAN, NAN, f"{one.plates} plates"))
    lows.sort(key=lambda one: one.mean)
    heights = _spread_out(row, len(lows))
    axes.errorbar([one.mean for one in lows], heights, xerr=[math.sqrt(one.variance) for one in lows],
                  ls="", marker="s", ms=3, color=_RED, elinewidth=0.6)  # fmt: skip
    axes.set_yticks(range(row + 1), [*series, "low sera: mean and SD"])
    _marks(axes, rest.limits, points)
    axes.set_xlabel("delta (MFI)")
    axes.set_ylim(-0.6, row + 0.9)
    caption = (
        "Delta of every blank well; mean and SD of the sera between LOB and four times LOB. Lines: limit of "
        "blank, of detection, of quantitation."
    )
    return figure, points, caption


def _spread_out(row: int, count: int) -> list[float]:
    """Heights around a row that keep points apart, always the same."""
    return [row + 0.3 * (((7 * i + 5) % 11) / 5 - 1) for i in range(count)]


def _marks(axes: Axes, limits: Limits, points: list[Point]) -> None:
    looks = {"LOB": (_GREEN, 0.99), "LOD": (_PINK, 0.93), "LLOQ": ("black", 0.87)}
    for name, (colour, height) in looks.items():
        limit = limits.of(name)
        if limit is not None:
            axes.axvline(limit.value, color=colour, lw=1)
            text = f" {name} {limit.value:.3g}"
            axes.text(limit.value, height, text, transform=axes.get_xaxis_transform(), va="top", color=colour)
            points.append(("limits", name, limit.value, NAN, NAN, NAN, limit.rule))


# --- carry-over -----------------------------------------------------------------------------------------


def _carryover(lows: Sequence[LowWell]) -> Made | None:
    if not lows:
        return None
    figure = new_figure(7.2, 3.8)
    axes = figure.subplots()
    points: list[Point] = []
    looks = {
        "negative sera": (_BLUE, "o"),
        "secondary only": (_GREEN, "s"),
        "highest dilution": (_RED, "^"),
    }
    means: dict[tuple[str, str], list[float]] = {}
    for well in lows:
        if not well.after_high:
            means.setdefault(well.stratum, []).append(well.value)
    for kind, (colour, marker) in looks.items():
        group = [well for well in lows if well.kind == kind and well.stratum in means]
        excess = [well.value - float(np.mean(means[well.stratum])) for well in group]
        if group:
            axes.plot([well.before for well in group], excess, marker, ls="", color=colour, ms=4, mfc="none",
                      label=kind)  # fmt: skip
        points += [
            (kind, f"{well.plate}/{well.well}", well.before, value, NAN, NAN, "high" if well.after_high else "low")
            for well, value in zip(group, excess, strict=True)
        ]
    axes.axhline(0, color=_GREY, lw=0.8)
    axes.set_xscale("symlog", linthresh=100)
    axes.set_xlabel("delta of the well before (MFI)")
    axes.set_ylabel("delta less that of like wells\nafter a low one (MFI)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)
    caption = (
        "Wells in which little is expected, against the well acquired before: what rises to the right is carried over. "
        "Each is shown less the mean of like wells of its plate that came after a low one."
    )
    return figure, points, caption
