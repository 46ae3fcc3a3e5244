"""Synthetic cohorts as the figures take them: trajectories, clinical rows, schedule, statistics and summaries."""

from __future__ import annotations

import math
import statistics as st
from dataclasses import replace
from typing import Any

import numpy as np

from aqp4flow.assay.definition import Assay
from aqp4flow.model import (
    NAN,
    Bound,
    Change,
    ClinicalEvent,
    ClinicalKind,
    Estimate,
    Followed,
    ReferenceChange,
    Statistic,
    Summary,
    TimePoint,
    Titer,
    TrajectoryPoint,
    Visit,
)
from aqp4flow.pipeline import StudyResult

SCHEDULE = tuple(TimePoint(f"M{month:02d}", float(month)) for month in (0, 1, 3, 6, 12))
_LIMIT = ReferenceChange(2.0, False, "an assumption")
_SCORES = {ClinicalKind.EDSS: (5.0, 0.5), ClinicalKind.PAIN: (3.0, 1.0), ClinicalKind.FATIGUE: (6.0, 1.0)}


def assay(**tables: dict[str, Any]) -> Assay:
    """A definition of a simulated assay."""
    base = {
        "assay": {"name": "AQP4-M23 live CBA (simulated)", "antigen": "AQP4-M23"},
        "channels": {"reporter": "FITC-A", "signal": "APC-A"},
    }
    return Assay.model_validate(base | tables)


def cohort(n: int, clinical: bool = True, visits: bool = True, tested: bool = True, **tables: Any) -> StudyResult:
    """`n` patients whose titers fall over a year; some below the ladder, one above it, some visits missing."""
    rng = np.random.default_rng(n)
    names = [f"PT{number:0{2 if n < 100 else 3}d}" for number in range(1, n + 1)]
    points = tuple(point for i, name in enumerate(names) for point in _course(rng, name, i)) if visits else ()
    events = tuple(event for i, name in enumerate(names) for event in _events(rng, name, i)) if clinical else ()
    followed = tuple(_followed(events, name) for name in names) if clinical else ()
    result = StudyResult(assay(**tables), (), (), points, clinical=events, schedule=SCHEDULE, followed=followed)
    return replace(result, statistics=_statistics(n, followed), summaries=_summaries(result)) if tested else result


def _course(rng: np.random.Generator, patient: str, number: int) -> list[TrajectoryPoint]:
    start = 2.0 ** rng.uniform(math.log2(160), math.log2(9000))
    fall = -0.2 if number % 7 == 3 else rng.uniform(1.5, 4.5)
    if number % 7 == 2:
        start, fall = 150.0, 4.0
    found = []
    for one in SCHEDULE:
        noise = rng.normal(0, 0.15)
        if one.month and rng.random() < 0.12:
            continue
        month = max(0.0, one.month + (rng.normal(0, 0.12) if one.month else 0.0))
        value = start * 2.0 ** (-fall * min(1.0, math.sqrt(one.month / 12)) + noise)
        titer = Titer(value, Bound.EXACT, value / 1.35, value * 1.35)
        if value < 20:
            titer = Titer(20.0, Bound.BELOW, NAN, 26.0)
        if number % 7 == 0 and one.month == 0:
            titer = Titer(20480.0, Bound.ABOVE, 15000.0, NAN)
        change = Change.FELL if value < start / 2 else Change.NONE
        visit = Visit(patient, f"{patient}-{one.name}", "2014-03-03", one.name, one.month == 0, month)
        flags = ("other-plate-than-baseline",) if number % 7 == 4 and one.month == 6 else ()
        fold = Titer(titer.value / start, titer.bound)
        found.append(
            TrajectoryPoint(
                visit, ("P001",), "titer", titer, None, fold, flags, (), None, titer, one.name,
                Change.UNKNOWN if one.month == 0 else change, _LIMIT,
            )
        )  # fmt: skip
    return found


def _events(rng: np.random.Generator, patient: str, number: int) -> list[ClinicalEvent]:
    def event(kind: ClinicalKind, month: float, value: float = NAN) -> ClinicalEvent:
        return ClinicalEvent(patient, "2014-03-03", kind, value, float(month))

    found = [event(ClinicalKind.OBSERVATION_START, -12), event(ClinicalKind.OBSERVATION_END, 12)]
    found += [event(ClinicalKind.DOSE, month + 0.1) for month in range(12)]
    found += [event(ClinicalKind.RELAPSE, month) for month in np.sort(rng.uniform(-12, -0.5, 2 + number % 4))]
    found += [event(ClinicalKind.RELAPSE, month) for month in rng.uniform(1, 12, (0, 0, 0, 1, 0, 0, 2)[number % 7])]
    for kind, (mean, step) in _SCORES.items():
        for month, shift in ((0, 0.0), (6, -1.0), (12, -2.0)):
            if not (number == 5 and month == 6):
                value = min(10.0, max(0.0, round((mean + shift + rng.normal(0, 1.3)) / step) * step))
                found.append(event(kind, month, value))
    return found


def _followed(events: tuple[ClinicalEvent, ...], patient: str) -> Followed:
    months = [e.month for e in events if e.patient == patient and e.kind is ClinicalKind.RELAPSE]
    return Followed(patient, "2014-03-03", sum(m < 0 for m in months), 1.0, sum(m >= 0 for m in months), 1.0)


def _statistics(n: int, followed: tuple[Followed, ...]) -> tuple[Statistic, ...]:
    """Numbers that a test could give; what they are is not the figures' business."""
    floor = 2.0 / 2**n
    pair = ("signed-rank", "exact", n, 0.0, max(floor, 1e-9), NAN, floor)
    rows = [
        Statistic("figure4", "reactivity", "M12 - M00", *pair, Estimate(-2.4, -3.4, -1.2), "log2", primary=True),
        Statistic("figure4", "reactivity", "all time points", "friedman", "exact", n, 14.0, 0.0004, NAN, 0.0000214),
        Statistic("figure3", "pain", "M12 - M00", "signed-rank", "exact", n, 0.0, 0.031, 0.062, floor),
        Statistic("figure3", "fatigue", "M12 - M00", "signed-rank", "exact", n, 0.0, 0.016, 0.047, floor),
    ]
    if followed:
        before, after = (sum(getattr(f, f"relapses_{side}") for f in followed) for side in ("before", "after"))
        rows += [
            _rate("before", n, before / n, "relapses a year"),
            _rate("after", n, after / n, "relapses a year"),
            replace(_rate("after / before", n, after / before, "ratio"), exact="exact", p=0.00049),
            Statistic("figure1", "relapses", "after - before", "signed-rank", "exact", n, 0.0, 0.0313, 0.094, floor),
        ]
    return tuple(rows)


def _rate(contrast: str, n: int, value: float, unit: str) -> Statistic:
    return Statistic(
        "figure1", "relapses", contrast, "poisson", "", n, effect=Estimate(value, value / 1.6, value * 1.5), unit=unit
    )


def _summaries(result: StudyResult) -> tuple[Summary, ...]:
    rows = []
    for side in ("before", "after") if result.followed else ():
        values = [getattr(f, f"relapses_{side}") / getattr(f, f"years_{side}") for f in result.followed]
        rows.append(_summary("figure1", "relapses", side, values))
    for kind in (ClinicalKind.PAIN, ClinicalKind.FATIGUE):
        for one in SCHEDULE:
            values = [e.value for e in result.clinical if e.kind is kind and round(e.month) == one.month]
            if values:
                rows.append(_summary("figure3", kind.value, one.name, values))
    return tuple(rows)


def _summary(figure: str, outcome: str, timepoint: str, values: list[float]) -> Summary:
    sd = st.stdev(values) if len(values) > 1 else NAN
    q1, median, q3 = np.quantile(values, (0.25, 0.5, 0.75))
    sem = sd / math.sqrt(len(values))
    return Summary(
        figure, outcome, timepoint, len(values), st.fmean(values), sd, sem, median, Bound.EXACT, q1, q3
    )  # fmt: skip
