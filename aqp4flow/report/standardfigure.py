"""The figure of a plate's reference serum: its curve and standards, the range, and every serum moved onto it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from aqp4flow.assay.units.standard import Reference, ReferenceCurve
from aqp4flow.assay.units.units import SerumUnits
from aqp4flow.model import NAN
from aqp4flow.report.look import Point

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7F6000")
_MARKERS = "sD^vP*"
_REFERENCE = "#0072B2"
_MOST_NAMED = 12
_STEPS = 121


def draw(axes: Axes, reference: Reference, sera: Sequence[SerumUnits]) -> list[Point]:
    """Draw into empty axes; the numbers shown come back, for the CSV beside the figure.

    A serum's points within the range stand at the dilution of the reference that would hold as many units by the
    serum's own value: where a serum is parallel, they lie on the curve. Needs a reference with a curve.
    """
    curve = reference.curve
    if curve is None:
        raise ValueError("a reference without a curve is not drawn")
    shown = _curve(axes, reference, curve)
    shown += _standards(axes, reference)
    shown += _range(axes, reference, curve)
    for number, serum in enumerate(serum for serum in sera if serum.inside is not None):
        shown += _serum(axes, reference, serum, number)
    levels = [y for _, series, _, y, *_ in shown if series != "curve" and y > 0]
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_ylim(min(levels) / 2, max(levels) * 2)  # limits of a poor curve may span any number of decades
    axes.set_xlabel(f"dilution of {reference.serum} (1:x), sera moved by their {reference.settings.unit}")
    axes.set_ylabel("delta (MFI)")
    axes.set_title(f"Plate {reference.plate}: reference {reference.serum}, {curve.model}", fontsize=10, loc="left")
    if 0 < len(axes.get_legend_handles_labels()[0]) <= _MOST_NAMED:
        axes.legend(fontsize=6.5, loc="upper left", bbox_to_anchor=(1.0, 1.0))  # beside the curves, not over them
    return shown


def caption(reference: Reference, sera: Sequence[SerumUnits]) -> str:
    """What the figure says, in words."""
    drawn = sum(serum.inside is not None for serum in sera)
    words = (
        f"Plate {reference.plate}. Delta of the reference {reference.serum} over dilution with its curve (95 % band)"
    )
    if not reference.accepted:
        return f"{words}; it was not accepted, and no units are read."
    low, high = reference.ends
    uloq, lloq, unit = f"{reference.uloq:.3g}", f"{reference.lloq:.3g}", reference.settings.unit
    return (
        f"{words}; filled standards are in range, from 1:{low:g} (ULOQ, {uloq} {unit}) to 1:{high:g} (LLOQ, {lloq}). "
        f"Readings of {drawn} sera in range, each serum moved by its units: parallel sera lie on the curve."
    )


def _curve(axes: Axes, reference: Reference, curve: ReferenceCurve) -> list[Point]:
    tested = [standard.dilution for standard in reference.standards]
    x = np.geomspace(min(tested) / 1.5, max(tested) * 1.5, _STEPS)
    y = curve.delta(x)
    low, high = y + np.quantile(curve.shifts(x), (0.025, 0.975), axis=0)
    floor = np.where(low > 0, low, y / 1e3)  # a log axis has no 0; the CSV holds the limit itself
    axes.fill_between(x, floor, high, color=_REFERENCE, alpha=0.18, lw=0)
    axes.plot(x, y, color=_REFERENCE, lw=1.3)
    return [
        ("reference", "curve", float(a), float(b), float(c), float(d), "")
        for a, b, c, d in zip(x, y, low, high, strict=True)
    ]


def _standards(axes: Axes, reference: Reference) -> list[Point]:
    shown: list[Point] = []
    for standard in reference.standards:
        delta = standard.row.delta
        if not delta.known:
            continue
        mark = "in range" if standard.in_range else standard.note or "out of range"
        shown.append(("reference", "standard", standard.dilution, delta.value, delta.low, delta.high, mark))
        if delta.value > 0:
            down, up = (max(0.0, float(np.nan_to_num(w))) for w in (delta.value - delta.low, delta.high - delta.value))
            axes.errorbar(
                standard.dilution, delta.value, yerr=[[min(down, 0.999 * delta.value)], [up]], color=_REFERENCE,
                marker="o" if standard.used else "x", ms=6, elinewidth=0.8, zorder=4,
                markerfacecolor=_REFERENCE if standard.in_range else "white",
            )  # fmt: skip
    return shown


def _range(axes: Axes, reference: Reference, curve: ReferenceCurve) -> list[Point]:
    """LLOQ and ULOQ as lines across at the readings that bound the range."""
    if not reference.accepted:
        return []
    shown: list[Point] = []
    for name, dilution, units in zip(("ULOQ", "LLOQ"), reference.ends, (reference.uloq, reference.lloq), strict=True):
        y = float(curve.delta(np.array([dilution]))[0])
        axes.axhline(y, color="black", ls="--", lw=0.8)
        axes.text(
            0.995, y, f"{name} {units:.3g} {reference.settings.unit}", transform=axes.get_yaxis_transform(),
            ha="right", va="bottom", fontsize=7,
        )  # fmt: skip
        shown.append(("reference", name, dilution, y, NAN, NAN, f"{units:.6g}"))
    return shown


def _serum(axes: Axes, reference: Reference, serum: SerumUnits, number: int) -> list[Point]:
    if serum.inside is None or serum.units is None:
        return []
    moved = reference.settings.units / serum.units.value
    x = [row.dilution * moved for row in serum.inside.rows]
    y = [row.delta.value for row in serum.inside.rows]
    turn = number // len(_COLOURS)  # no two sera share both colour and marker
    colour, marker = _COLOURS[number % len(_COLOURS)], _MARKERS[(number + turn) % len(_MARKERS)]
    axes.plot(x, y, color=colour, marker=marker, ms=4, lw=0.7, alpha=0.85, label=serum.serum, zorder=3)
    return [
        ("sera", serum.serum, a, b, row.delta.low, row.delta.high, f"1:{row.dilution:g}")
        for a, b, row in zip(x, y, serum.inside.rows, strict=True)
    ]
