"""A set of plates held against the goals that were set, and what it lacks to show more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from aqp4flow.assay.definition import ValidationSettings
from aqp4flow.assay.quality.carryoverstudy import CarryOver
from aqp4flow.assay.quality.validation import (
    WANTED_LEVELS,
    WANTED_PLATES,
    WANTED_REPLICATES,
    Goal,
    Validation,
    control_lines,
)
from aqp4flow.model import NAN, POOLED, Imprecision, Precision, Role
from aqp4flow.tables import number


@dataclass(frozen=True)
class Source:
    """One results folder that took part: its number, name, plates, wells, version, failed checks, short hash."""

    number: int
    name: str
    plates: tuple[str, ...]
    wells: int
    version: str
    failed: tuple[str, ...]
    identity: str


@dataclass(frozen=True)
class Validated:
    """A whole validation: what went in, what was found, the goals that were set, what is missing."""

    title: str
    antigen: str
    decide: str
    sources: tuple[Source, ...]
    precision: Precision
    rest: Validation
    settings: ValidationSettings
    goals: tuple[Goal, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def met(self) -> bool:
        """Whether every goal that was set is met."""
        return all(goal.met for goal in self.goals)

    @property
    def plates(self) -> int:
        """How many plates took part."""
        return sum(len(source.plates) for source in self.sources)


def judged(whole: Validated) -> Validated:
    """The validation with its goals looked at, and the wells named that it lacks."""
    return replace(whole, goals=tuple(_goals(whole)), missing=tuple(_missing(whole)))


def is_judged(whole: Validated, row: Imprecision) -> bool:
    """Goals for CVs hold for the deciding read-out and the titer, of controls whose shift is clear, and pooled."""
    return row.quantity in (whole.decide, "titer") and "near-blank" not in row.notes and row.role != Role.NEGATIVE


def _goals(whole: Validated) -> list[Goal]:
    goals, found = whole.settings, []
    rows = [row for row in whole.precision.rows if is_judged(whole, row)]
    for name, limit, values in (
        ("goal_within_cv", goals.goal_within_cv, [(row, row.within.value) for row in rows if row.within.known]),
        ("goal_total_cv", goals.goal_total_cv, [(row, row.total.value) for row in rows if row.total.known]),
    ):
        if limit is not None:
            found.append(_largest(name, limit, values))
    if goals.goal_linear_fold is not None:
        lines = control_lines(whole.rest.lines)
        folds = [line.fold if line.interval else 1.0 for line in lines]
        value = min(folds, default=NAN)
        words = f"The linear interval spans {number(value)}-fold." if folds else "No serum has a linear interval."
        found.append(Goal("goal_linear_fold", value, goals.goal_linear_fold, value >= goals.goal_linear_fold, words))
    if goals.goal_lloq is not None:
        lloq = whole.rest.limits.of("LLOQ")
        value = lloq.value if lloq else NAN
        words = f"The LLOQ is {number(value)}." if lloq else "There is no LLOQ."
        found.append(Goal("goal_lloq", value, goals.goal_lloq, value <= goals.goal_lloq, words))
    if goals.goal_carryover_percent is not None:
        found.append(_carryover_goal(whole.rest.carried, goals.goal_carryover_percent))
    return found


def _largest(name: str, limit: float, values: Sequence[tuple[Imprecision, float]]) -> Goal:
    if not values:
        return Goal(name, NAN, limit, False, "These plates show no such CV.")
    row, value = max(values, key=lambda pair: pair[1])
    return Goal(name, value, limit, value <= limit, f"The largest is {value:.3g} %: {_named(row)}.")


def _carryover_goal(carried: Sequence[CarryOver], limit: float) -> Goal:
    """Met when the upper 95 % limit lies within the goal: that nothing was found does not show that nothing is."""
    known = [row for row in carried if not math.isnan(row.percent.high)]
    if not known:
        return Goal("goal_carryover_percent", NAN, limit, False, "These plates cannot show carry-over.")
    high = known[-1].percent.high  # of all kinds together, where there are several
    message = f"Carry-over is at most {high:.3g} % of the well before (upper 95 % limit)."
    return Goal("goal_carryover_percent", high, limit, high <= limit, message)


def _named(row: Imprecision) -> str:
    where = "" if math.isnan(row.dilution) else f" 1:{row.dilution:g}"
    return f"{row.quantity} of {row.material}{where}"


def lacks(row: Imprecision) -> str:
    """What a level lacks of three replicates on five plates, in words; empty when nothing."""
    words = []
    if row.plates < WANTED_PLATES:
        words.append(f"{WANTED_PLATES - row.plates} more plates")
    wanted = WANTED_REPLICATES * max(row.plates, 1)
    if row.quantity in ("delta", "ratio", "index") and row.n < wanted:
        words.append(f"{WANTED_REPLICATES} wells a plate ({row.n / max(row.plates, 1):.3g} now)")
    return ", ".join(words)


def _missing(whole: Validated) -> list[str]:
    """The wells the lab should add, one sentence each."""
    found = []
    levels = [
        row
        for row in whole.precision.rows
        if row.quantity == "delta" and row.material != POOLED and row.role in (Role.POSITIVE, Role.REFERENCE)
        and "near-blank" not in row.notes
    ]  # fmt: skip
    full = [row for row in levels if not lacks(row)]
    if len(full) < WANTED_LEVELS:
        found.append(
            f"Precision: {len(full)} of the {WANTED_LEVELS} wanted levels have {WANTED_REPLICATES} wells on each of "
            f"{WANTED_PLATES} plates ({len(levels)} control levels are on the plates at all). Put a low, a middle and "
            f"a high control, each in {WANTED_REPLICATES} wells, on at least {WANTED_PLATES} plates."
        )
    found += _missing_series(whole)
    blanks = {name: len(values) for name, values in whole.rest.blanks.items()}
    if blanks["negative sera"] < 60:
        words = f"{blanks['negative sera']} wells of negative sera and {blanks['secondary only']} without serum"
        found.append(f"Limit of blank: {words}; EP17 wants 60 results of at least 4 blank samples.")
    low = [limit for limit in whole.rest.limits.found if limit.name == "LOD" and limit.basis.startswith("low sera")]
    if not low or low[0].plates < 3:
        found.append(
            "Limit of detection: no serum between LOB and four times LOB is on three plates or more. Dilute a control "
            "until it hardly stands out, and put it on every plate."
        )
    if not any(row.percent.known for row in whole.rest.carried):
        found.append(
            "Carry-over: no plate has wells of one kind both after a high well and after a low one. Put two wells "
            "without serum right after the highest well, and two after a negative one."
        )
    return found


def _missing_series(whole: Validated) -> list[str]:
    lines = [line for line in control_lines(whole.rest.lines) if line.order]
    found = []
    if not lines:
        found.append("Linearity: no control has a series of at least 3 dilutions. Titrate one in 5 or more, twice.")
    for line in lines:
        n = sum(level.n for level in line.levels)
        if len(line.levels) < 5 or n < 2 * len(line.levels):
            words = f"Linearity: {line.serum} has {len(line.levels)} dilutions in range, {n} wells in all"
            found.append(f"{words}; EP06 wants 5 or more, each at least twice.")
    if not any(line.slope_ratio.known for line in whole.rest.lines):
        found.append(
            "Parallelism: no serum shares two dilutions' shifts with a reference serum in its linear interval."
        )
    return found
