"""The figure of a bead calibration: singlets on scatter, peaks along the signal, the log-log line and its residuals."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from aqp4flow.cytometry.beads import MOST_RESIDUAL, Calibration, Peak
from aqp4flow.model import NAN
from aqp4flow.report.look import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_USED, _LEFT_OUT, _LINE = "#0072B2", "#D55E00", "#444444"
_BESIDE = "#56B4E9"  # every other peak used, so that peaks that overlap are told apart
_BINS = 160


def draw(figure: Figure, calibration: Calibration, title: str) -> list[Point]:
    """Draw into an empty figure; the numbers shown come back, for the CSV beside it."""
    grid = figure.add_gridspec(2, 3, width_ratios=(1.0, 1.5, 1.25), height_ratios=(3.2, 1.0))
    shown = _scatter_panel(figure.add_subplot(grid[:, 0]), calibration)
    shown += _peak_panel(figure.add_subplot(grid[:, 1]), calibration)
    line = figure.add_subplot(grid[0, 2])
    shown += _line_panel(line, calibration)
    shown += _residual_panel(figure.add_subplot(grid[1, 2], sharex=line), calibration)
    line.tick_params(labelbottom=False)
    figure.suptitle(title, fontsize=10)
    return shown


def caption(calibration: Calibration) -> str:
    """What the figure says, in words."""
    line, unit = calibration.line, calibration.assigned.unit
    used = sum(peak.used for peak in calibration.peaks)
    out = "; ".join(f"{p.number} ({p.note})" for p in calibration.peaks if not p.used)
    return (
        f"Beads. Left: singlets on scatter. Middle: events of each peak along {calibration.assigned.channel}. Right: "
        f"assigned {unit} against MFI, line through {used} peaks (slope {line.slope:.4g}, R2 {line.r2:.5f}), and what "
        f"the line misses a bead by. Left out: {out or 'none'}."
    )


def _scatter_panel(axes: Axes, calibration: Calibration) -> list[Point]:
    """Density of the first bead well on log scatter, with the ellipse around its singlets."""
    sample = calibration.samples[0]
    x, y = (np.log10(values) for values in sample.scatter)
    (a, b), (_, d) = sample.cloud.covariance
    angles = np.linspace(0, 2 * np.pi, 121)
    circle = np.column_stack([np.cos(angles), np.sin(angles)]) * math.sqrt(sample.cloud.distance)
    edge = np.array(sample.cloud.mean) + circle @ np.linalg.cholesky(np.array([[a, b], [b, d]])).T
    ends = []
    for values, i in ((x, 0), (y, 1)):
        low, high = np.quantile(values, (0.01, 0.99))
        near, far = 0.35 * np.ptp(edge[:, i]), 0.5  # doublets lie 0.3 away, debris anywhere
        ends.append(
            (
                min(max(low, edge[:, i].min() - far), edge[:, i].min() - near),
                max(min(high, edge[:, i].max() + far), edge[:, i].max() + near),
            )
        )
    counts, across, up = np.histogram2d(x, y, 110, ends)
    axes.pcolormesh(
        10**across, 10**up, np.log1p(np.ma.masked_equal(counts.T, 0)), cmap="Blues", vmin=-1.0, rasterized=True
    )
    axes.plot(10 ** edge[:, 0], 10 ** edge[:, 1], color=_LEFT_OUT, lw=1.3)
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        _plain_ticks(axis)
    axes.set_xlabel("forward scatter")
    axes.set_ylabel("side scatter")
    share = 100 * len(sample.signal) / len(x)
    axes.set_title(f"singlets: {len(sample.signal):,} ({share:.3g} %)", fontsize=9, loc="left")
    points = [("scatter", "singlets", float(10**u), float(10**v), NAN, NAN, "") for u, v in edge]
    occupied = np.argwhere(counts > 0)
    return points + [
        (
            "scatter", "events", float(10 ** ((across[i] + across[i + 1]) / 2)),
            float(10 ** ((up[j] + up[j + 1]) / 2)), NAN, NAN, f"{counts[i, j]:.0f}",
        )
        for i, j in occupied
    ]  # fmt: skip


def _plain_ticks(axis: Any) -> None:
    """Few ticks as plain numbers, also where the axis spans less than a decade."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    low, high = axis.get_view_interval()
    parts = (
        (1.0,) if high > 30 * low else (1.0, 2.0, 5.0) if high > 3 * low else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
    )
    axis.set_major_locator(LogLocator(subs=parts, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
    axis.set_minor_locator(NullLocator())
    axis.set_minor_formatter(NullFormatter())


def _short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}"
    return f"{value:g}"


def _peak_panel(axes: Axes, calibration: Calibration) -> list[Point]:
    """Every event grey, the events of each peak in colour, its number above its median."""
    everything = np.concatenate([sample.signal for sample in calibration.samples])
    low, high = (float(q) for q in np.quantile(everything, (0.0005, 0.9995)))
    scale = _scale(axes, calibration, low)
    ends = scale[0](np.array([low, high]))
    room = 0.02 * (ends[1] - ends[0])
    edges = np.linspace(ends[0] - room, ends[1] + room, _BINS + 1)
    bounds = scale[1](edges)
    total = np.histogram(everything, bounds)[0]
    axes.stairs(total, bounds, fill=True, color="#D9D9D9")
    shown: list[Point] = [
        ("peaks", "all singlets", float(at), float(n), NAN, NAN, "")
        for at, n in zip((bounds[:-1] + bounds[1:]) / 2, total, strict=True)
    ]
    top = float(total.max()) * 1.16
    before = -math.inf
    step = 0.035 * (edges[-1] - edges[0])
    found = [pair for pair in zip(calibration.peaks, calibration.events, strict=True) if pair[0].n]
    for number, (peak, events) in enumerate(found):
        colour = (_USED, _BESIDE)[number % 2] if peak.used else _LEFT_OUT
        counts = np.histogram(events, bounds)[0]
        axes.stairs(counts, bounds, fill=True, color=colour, alpha=0.45)
        axes.stairs(counts, bounds, color=colour, lw=0.9)
        at = float(scale[0](np.array([peak.mfi]))[0])
        placed = max(at, before + step)
        before = placed
        mark = _USED if peak.used else _LEFT_OUT
        axes.annotate(
            peak.number, (peak.mfi, float(counts.max())), (float(scale[1](np.array([placed]))[0]), top), color=mark,
            fontsize=8, ha="center", va="bottom", fontweight="bold",
            arrowprops={"arrowstyle": "-", "color": mark, "lw": 0.5, "shrinkA": 0, "shrinkB": 1},
        )  # fmt: skip
        shown.append(("peaks", f"peak {peak.number}", peak.mfi, float(peak.n), NAN, NAN, peak.note))
    axes.set_ylim(0, top * 1.1)
    axes.set_xlim(bounds[0], bounds[-1])
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(f"{calibration.assigned.channel} (MFI)")
    axes.set_title(
        f"peaks: {sum(p.n > 0 for p in calibration.peaks)} of {len(calibration.assigned.values)}",
        fontsize=9,
        loc="left",
    )
    return shown


def _scale(axes: Axes, calibration: Calibration, low: float) -> tuple[Any, Any]:
    """The signal's axis, logarithmic where nearly all events are above 0, else linear around 0; both directions."""
    found = [peak for peak in calibration.peaks if peak.n]
    if low > 0:
        axes.set_xscale("log")
        return np.log10, lambda values: 10.0**values
    spreads = [
        float(np.std(events)) for peak, events in zip(calibration.peaks, calibration.events, strict=True) if peak.n
    ]
    linear = max(2 * spreads[0], 1e-3 * max(peak.mfi for peak in found), 1e-6)
    axes.set_xscale("symlog", linthresh=linear, linscale=0.6)
    transform = axes.xaxis.get_transform()
    back = transform.inverted()
    return transform.transform_non_affine, back.transform_non_affine


def _line_panel(axes: Axes, calibration: Calibration) -> list[Point]:
    """Assigned values against MFI: beads used filled, beads left out open; the line for cells, the curve of beads."""
    line, assigned = calibration.line, calibration.assigned
    shown: list[Point] = []
    valued = [peak for peak in calibration.peaks if peak.assigned > 0 and peak.mfi > 0]
    mfis = [peak.mfi for peak in valued] + [line.low, line.high]
    x = np.geomspace(min(mfis) / 1.4, max(mfis) * 1.4, 200)
    cells = np.array([line.units(float(value)) for value in x])
    inside = (x >= line.low) & (x <= line.high)
    axes.plot(x, cells, color=_LINE, lw=0.8, ls=":")
    axes.plot(x[inside], cells[inside], color=_LINE, lw=1.5, label=f"cells: slope {line.slope:.4g}, R² {line.r2:.4f}")
    if line.autofluorescence:
        own = cells - line.autofluorescence
        least = 0.5 * min(peak.assigned for peak in valued)
        axes.plot(x[own > least], own[own > least], color=_USED, lw=1.0, ls="--",
                  label=f"beads: less their own {line.autofluorescence:,.0f}")  # fmt: skip
    for used, words in ((True, "used"), (False, "left out")):
        chosen = [peak for peak in valued if peak.used is used]
        if chosen:
            face = _USED if used else "none"
            axes.plot([p.mfi for p in chosen], [p.assigned for p in chosen], "o", ms=6, mfc=face,
                      mec=_USED if used else _LEFT_OUT, label=words)  # fmt: skip
    for peak in valued:
        axes.annotate(peak.number, (peak.mfi, peak.assigned), (5, -8), textcoords="offset points", fontsize=7.5)
    if line.autofluorescence:
        axes.plot(
            [line.low], [line.autofluorescence], "s", ms=5, mfc="none", mec=_USED, label="blank, at its own light"
        )
    shown += [("line", _name(p), p.mfi, p.assigned, NAN, NAN, "" if p.used else p.note) for p in calibration.peaks]
    shown += [("line", "cells", float(u), float(v), NAN, NAN, "") for u, v in zip(x[::10], cells[::10], strict=True)]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylabel(assigned.unit)
    axes.legend(fontsize=7, loc="upper left", handlelength=1.6)
    axes.set_title(
        f"assigned {assigned.unit}" + (f", lot {assigned.lot}" if assigned.lot else ""), fontsize=9, loc="left"
    )
    return shown


def _name(peak: Peak) -> str:
    return f"peak {peak.number}"


def _residual_panel(axes: Axes, calibration: Calibration) -> list[Point]:
    """What the line gives for each bead, in percent of its assigned value; beads left out stand open."""
    found = [peak for peak in calibration.peaks if not math.isnan(peak.residual_percent)]
    reach = max([MOST_RESIDUAL] + [abs(peak.residual_percent) for peak in found if peak.used]) * 1.4
    axes.axhspan(-MOST_RESIDUAL, MOST_RESIDUAL, color="#E8F1E8", lw=0)
    axes.axhline(0, color=_LINE, lw=0.8)
    for peak in found:
        beyond = abs(peak.residual_percent) > reach
        y = math.copysign(0.88 * reach, peak.residual_percent) if beyond else peak.residual_percent
        marker = ("^" if y > 0 else "v") if beyond else "o"
        axes.plot(
            [peak.mfi], [y], marker, ms=5, mfc=_USED if peak.used else "none", mec=_USED if peak.used else _LEFT_OUT
        )
        if beyond:
            axes.annotate(f"{peak.residual_percent:+.0f} %", (peak.mfi, y), (-6, 0), textcoords="offset points",
                          ha="right", va="center", fontsize=7, color=_LEFT_OUT)  # fmt: skip
    axes.set_ylim(-reach, reach)
    axes.set_xscale("log")
    axes.set_xlabel(f"{calibration.assigned.channel} (MFI)")
    axes.set_ylabel("off, %")
    return [("residuals", _name(p), p.mfi, p.residual_percent, NAN, NAN, "" if p.used else p.note) for p in found]
