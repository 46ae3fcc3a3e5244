"""What Figures 2 and 4 share: the quantity followed by patient and time point, and how it is drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aqp4flow.cohort.quantiles import bounded_quantile
from aqp4flow.model import Bound, Change, ClinicalKind, Role, Titer, TrajectoryPoint
from aqp4flow.report.labels import Labels
from aqp4flow.report.look import Point, bound_arrow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from aqp4flow.pipeline import StudyResult

EVENTS = (ClinicalKind.RELAPSE, ClinicalKind.DOSE)


@dataclass(frozen=True)
class Seen:
    """A visit whose value is known, be it as a bound."""

    point: TrajectoryPoint
    value: Titer

    @property
    def month(self) -> float:
        """Months from the patient's baseline."""
        return self.point.visit.month

    @property
    def patient(self) -> str:
        """Whose visit it is."""
        return self.point.visit.patient


def seen(points: Sequence[TrajectoryPoint]) -> list[Seen]:
    """Visits with a value above 0, in the order of the points: only those have a place on a log scale."""
    return [Seen(p, p.value) for p in points if p.value is not None and p.value.value > 0]


def courses(points: Sequence[TrajectoryPoint]) -> dict[str, list[Seen]]:
    """Visits with a value by patient, in order."""
    found: dict[str, list[Seen]] = {}
    for one in seen(points):
        found.setdefault(one.patient, []).append(one)
    return found


@dataclass(frozen=True)
class Middle:
    """The patients at one time point: how many, median and quartiles (None where they may be anything)."""

    name: str
    month: float
    n: int
    median: Titer | None
    q1: Titer | None
    q3: Titer | None


_FEWEST = 4  # patients that quartiles are drawn of


def middles(result: StudyResult) -> list[Middle]:
    """Median and quartiles at each time point of the schedule; without one, at each visit's label or rounded month.

    A patient counts once at a time point, by the first visit there.
    """
    scheduled = {one.name: one.month for one in result.schedule}
    groups: dict[str, dict[str, Seen]] = {}
    for one in seen(result.trajectories):
        visit = one.point.visit
        name = one.point.timepoint or ("" if scheduled else visit.visit or f"{round(visit.month)}")
        if name:
            groups.setdefault(name, {}).setdefault(visit.patient, one)
    found = []
    for name, by_patient in groups.items():
        months = sorted(one.month for one in by_patient.values())
        month = scheduled.get(name, (months[(len(months) - 1) // 2] + months[len(months) // 2]) / 2)
        values = [one.value for one in by_patient.values()]
        q1, q3 = (bounded_quantile(values, q) if len(values) >= _FEWEST else None for q in (0.25, 0.75))
        found.append(Middle(name, month, len(values), bounded_quantile(values, 0.5), q1, q3))
    return sorted(found, key=lambda one: one.month)


def cut_off(result: StudyResult) -> tuple[float, float] | None:
    """Between which values the plates' cut-offs of the quantity followed lie; both the same where they agree.

    Of titers it is the lowest dilution that any patient's serum was tested at. None where there is none (units).
    """
    quantity = result.assay.trajectory.quantity
    if quantity == "titer":
        found = [row.dilution for plate in result.titers for row in plate.rows if row.role is Role.SAMPLE]
        return (min(found), min(found)) if found else None
    found = [c.value for plate in result.titers for c in plate.cutoffs.criteria if c.readout == quantity]
    return (min(found), max(found)) if found and min(found) > 0 else None


def quantity_label(result: StudyResult, labels: Labels) -> str:
    """The axis label of the quantity followed."""
    return labels(result.assay.trajectory.quantity, unit=result.assay.reference.unit)


def value_text(value: float, quantity: str) -> str:
    """A value at an axis: titers as dilutions."""
    text = f"{value:,.0f}" if value >= 1 else f"{value:.3g}"
    return f"1:{text}" if quantity == "titer" else text


def doubling_ticks(low: float, high: float, start: float, most: int) -> list[float]:
    """At most so many values between low and high that are `start` times a power of two, evenly spaced on log2."""
    first, last = math.ceil(math.log2(low / start)), math.floor(math.log2(high / start))
    step = max(1, math.ceil((last - first + 1) / most))
    anchor = -(-first // step) * step  # a multiple of the step, so that `start` itself is among them
    return [start * 2.0**k for k in range(anchor, last + 1, step)]


def shown(panel: str, one: Seen) -> Point:
    """A visit as a row of the CSV."""
    value = one.value
    return (panel, one.patient, one.month, value.value, value.low, value.high, value.bound.value)


def arrows(axes: Axes, places: Sequence[tuple[float, float, Bound]], colour: str, size: float, zorder: float) -> None:
    """Arrows from x, y towards where a bounded value may lie; exact ones get none."""
    for bound in (Bound.BELOW, Bound.ABOVE):
        chosen = [(x, y) for x, y, own in places if own is bound]
        if chosen:
            axes.plot(
                [x for x, _ in chosen], [y for _, y in chosen], ls="", marker=bound_arrow(bound), ms=size,
                color=colour, mew=0, zorder=zorder, gid=f"bound {bound.value}",
            )  # fmt: skip


def within(one: Seen) -> bool:
    """Whether the visit is called no change against its baseline: it is drawn hollow."""
    return one.point.change is Change.NONE and not one.point.visit.baseline


def on_other_plate(one: Seen) -> bool:
    """Whether the visit was measured on another plate than the baseline."""
    return "other-plate-than-baseline" in (*one.point.flags, *one.point.notes)
