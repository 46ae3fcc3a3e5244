"""A validation as tables."""

from __future__ import annotations

import math

from aqp4flow import tables
from aqp4flow.assay.quality.detection import Limit
from aqp4flow.model import POOLED, Estimate, Imprecision
from aqp4flow.report.validation_goals import Validated, is_judged, lacks
from aqp4flow.tables import Cell, Table

PRECISION = (*tables.PRECISION, "goal_within_cv", "goal_total_cv", "verdict", "shown", "missing")
LINEARITY = (
    "serum", "role", "dilution", "n", "plates", "geometric_mean", "best_order", "deviation_percent", "in_interval",
    "interval_deviation_percent", "recovery_percent", "slope", "slope_low", "slope_high", "slope_ratio",
    "slope_ratio_low", "slope_ratio_high", "parallel", "notes",
)  # fmt: skip
LIMITS = (
    "limit", "basis", "rule", "value", "chosen", "n", "materials", "plates", "mean", "sd", "goal", "verdict", "notes",
)  # fmt: skip
CARRYOVER = (
    "kind", "n_after_high", "n_after_low", "mean_after_high", "mean_after_low", "mean_high_well", "percent",
    "percent_low", "percent_high", "goal", "verdict", "notes",
)  # fmt: skip


def precision_table(whole: Validated) -> Table:
    """The rows of precision.csv over all plates, with goals, verdict (by the estimate) and whether limits show it."""
    return PRECISION, [
        [*tables.precision_row(row), *precision_verdict(whole, row), "" if row.material == POOLED else lacks(row)]
        for row in whole.precision.rows
    ]


def precision_verdict(whole: Validated, row: Imprecision) -> list[Cell]:
    """Both goals for CVs, whether the row meets them, and whether its upper limits do; empty where none is set."""
    goals = (whole.settings.goal_within_cv, whole.settings.goal_total_cv)
    pairs = [
        (cv, goal) for cv, goal in zip((row.within, row.total), goals, strict=True) if goal is not None and cv.known
    ]
    if not pairs or not is_judged(whole, row):
        return [*goals, None, None]
    met = all(cv.value <= goal for cv, goal in pairs)
    return [*goals, "pass" if met else "fail", "yes" if all(cv.high <= goal for cv, goal in pairs) else "no"]


def linearity_table(whole: Validated) -> Table:
    """A row a serum and dilution in range; what concerns the serum stands in each of its rows."""
    rows: list[list[Cell]] = []
    for line in whole.rest.lines:
        inside = line.inside()
        whole_serum: list[Cell] = [
            *_three(line.slope), *_three(line.slope_ratio), line.parallel or None, tables.joined(line.notes),
        ]  # fmt: skip
        rows += [
            [
                line.serum, line.role, level.dilution, level.n, level.plates, level.mean, line.order or None,
                level.deviation, "yes" if level in inside else None, level.interval_deviation, level.recovery,
                *whole_serum,
            ]
            for level in line.levels
        ]  # fmt: skip
        if not line.levels:
            rows.append([line.serum, line.role, *[None] * 9, *whole_serum])
    return LINEARITY, rows


def _three(estimate: Estimate) -> list[Cell]:
    return [estimate.value, estimate.low, estimate.high]


def limits_table(whole: Validated) -> Table:
    """LOB, LOD and LLOQ by every rule that had enough wells; `chosen` marks the one that counts."""
    return LIMITS, [[*_limit(limit), *_limit_goal(whole, limit)] for limit in whole.rest.limits.found]


def _limit(limit: Limit) -> list[Cell]:
    return [
        limit.name, limit.basis, limit.rule, limit.value, "yes" if limit.chosen else None, limit.n, limit.materials,
        limit.plates, limit.mean, limit.sd,
    ]  # fmt: skip


def _limit_goal(whole: Validated, limit: Limit) -> list[Cell]:
    goal = whole.settings.goal_lloq if limit.name == "LLOQ" and limit.chosen else None
    verdict = None if goal is None else "pass" if limit.value <= goal else "fail"
    return [goal, verdict, tables.joined(limit.notes)]


def carryover_table(whole: Validated) -> Table:
    """A row a kind of low well, and one of all together."""
    goal = whole.settings.goal_carryover_percent
    return CARRYOVER, [
        [
            row.kind, row.n_after_high, row.n_after_low, row.mean_after_high, row.mean_after_low, row.mean_high,
            *_three(row.percent), goal,
            None if goal is None or math.isnan(row.percent.high) else "pass" if row.percent.high <= goal else "fail",
            tables.joined(row.notes),
        ]
        for row in whole.rest.carried
    ]  # fmt: skip
