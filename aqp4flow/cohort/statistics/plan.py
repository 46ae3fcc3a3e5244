"""Which tests run on which outcomes, and what each row of statistics.csv says.

The contrast that was declared beforehand stands uncorrected. Every other p is corrected by Holm over the contrasts of
the same outcome and test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aqp4flow.cohort.statistics.bootstrap import bootstrap_contrasts
from aqp4flow.cohort.statistics.censored import censored_contrasts
from aqp4flow.cohort.statistics.contrasts import Contrast
from aqp4flow.cohort.statistics.found import Found, impossible, remarked, times
from aqp4flow.cohort.statistics.friedman import dunn, friedman
from aqp4flow.cohort.statistics.longitudinal import Longitudinal
from aqp4flow.cohort.statistics.mixed import mixed_contrasts
from aqp4flow.cohort.statistics.multiplicity import holm
from aqp4flow.cohort.statistics.outcomes import RELAPSES, Outcome, complete, differences
from aqp4flow.cohort.statistics.paired import paired_t
from aqp4flow.cohort.statistics.ranks import rank_sum, signed_rank
from aqp4flow.cohort.statistics.rates import dispersion, garwood, rate_ratio
from aqp4flow.model import Followed, Statistic

_LEVEL = 0.05
_LEAST_BLOCK = 3  # time points from which on they are compared all at once
_LARGEST_DISPERSION = 2.0
_NOBODY_WHOLE = "no patient has every time point"
_NOT_PAIRED = "takes the patients before and after for different people"


@dataclass(frozen=True)
class Plan:
    """What was settled beforehand: the tests by name, the primary contrast, and random draws with their seed."""

    tests: tuple[str, ...]
    primary_outcome: str = ""
    primary_timepoint: str = ""
    draws: int = 2000
    seed: int = 0


def statistics(outcomes: Sequence[Outcome], followed: Sequence[Followed], plan: Plan) -> list[Statistic]:
    """Every test that the plan names, of every outcome, in the plan's order, with primary and corrected p."""
    rows: list[Statistic] = []
    for outcome in outcomes:
        for test in plan.tests:
            if test == "poisson":
                rows += _poisson(followed) if outcome.name == RELAPSES else []
            elif test in _BY_CONTRAST:
                rows += [_contrast(outcome, column, test) for column in range(1, len(outcome.timepoints))]
            elif test in _OF_ALL:
                rows += _OF_ALL[test](outcome, plan)
            else:
                rows += _models(outcome, plan, test)
    return _corrected(rows, plan)


# --- values over time ------------------------------------------------------------------------------


def _contrast(outcome: Outcome, column: int, test: str) -> Statistic:
    return _row(outcome, _against_first(outcome, column), _BY_CONTRAST[test](outcome, column))


def _against_first(outcome: Outcome, column: int) -> str:
    return f"{outcome.timepoints[column]} - {outcome.timepoints[0]}"


def _signed_rank(outcome: Outcome, column: int) -> Found:
    change = differences(outcome, column)
    return _noting_absent(signed_rank(change.values, change.signs), outcome, change.patients)


def _paired_t(outcome: Outcome, column: int) -> Found:
    change = differences(outcome, column)
    if change.signs.any():
        bounded = times(int(np.count_nonzero(change.signs)), "difference")
        return impossible("paired-t", len(change.values), f"{bounded} known only as bounds: no mean")
    return _noting_absent(paired_t(change.values), outcome, change.patients)


def _rank_sum(outcome: Outcome, column: int) -> Found:
    first, later = outcome.values[:, 0], outcome.values[:, column]
    if outcome.signs[:, [0, column]].any():
        return impossible("rank-sum", len(first), "values known only as bounds")
    found = rank_sum(first[~np.isnan(first)], later[~np.isnan(later)])
    return remarked(found, _NOT_PAIRED)


def _noting_absent(found: Found, outcome: Outcome, present: Sequence[str]) -> Found:
    absent = [name for name in outcome.patients if name not in present]
    return remarked(found, f"without {_some(absent)}: not at both") if absent else found


def _some(names: Sequence[str]) -> str:
    """The names, or how many there are where they are many."""
    return ", ".join(names) if len(names) <= 7 else f"{len(names)} patients"


def _friedman(outcome: Outcome, plan: Plan) -> list[Statistic]:
    if len(outcome.timepoints) < _LEAST_BLOCK:
        return []
    contrast = f"{outcome.timepoints[0]} to {outcome.timepoints[-1]}"
    whole, absent = complete(outcome)
    if not whole.patients:
        return [_row(outcome, contrast, impossible("friedman", 0, _NOBODY_WHOLE))]
    found = friedman(whole.values, whole.signs, plan.draws, plan.seed)
    note = f"without {_some(absent)}: not at every time point" if absent else ""
    return [_row(outcome, contrast, remarked(found, note))]


def _dunn(outcome: Outcome, _: Plan) -> list[Statistic]:
    if len(outcome.timepoints) < _LEAST_BLOCK:
        return []
    whole, absent = complete(outcome)
    if not whole.patients:
        nobody = impossible("dunn", 0, _NOBODY_WHOLE)
        return [_row(outcome, _against_first(outcome, column), nobody) for column in range(1, len(outcome.timepoints))]
    note = f"without {_some(absent)}: not at every time point" if absent else ""
    return [
        replace(_row(outcome, _against_first(outcome, column), remarked(found, note)), unit="mean rank")
        for column, found in enumerate(dunn(whole.values, whole.signs), 1)
    ]


def _models(outcome: Outcome, plan: Plan, test: str) -> list[Statistic]:
    """A model of all time points at once; on titers and shifts only, whose errors are log-normal."""
    if not outcome.log2:
        return []
    data = Longitudinal(
        outcome.patients, outcome.timepoints, outcome.values, outcome.signs.astype(np.int8), outcome.plates
    )
    if test == "bootstrap":
        found = bootstrap_contrasts(data, plan.seed)
    else:
        found = mixed_contrasts(data) if test == "mixed-model" else censored_contrasts(data)
    return [_of_model(outcome, test, one) for one in found]


def _of_model(outcome: Outcome, test: str, found: Contrast) -> Statistic:
    limits = (found.effect.low, found.effect.high)
    how = "" if np.isnan([found.p, found.effect.value, *limits]).all() else found.way
    return Statistic(
        figure=outcome.figure, outcome=outcome.name, contrast=f"{found.timepoint} - {found.baseline}", test=test,
        exact=how, n=found.n, statistic=found.statistic, p=found.p, attainable=found.attainable, effect=found.effect,
        unit=outcome.unit, note="; ".join(filter(None, (found.test, found.note))),
    )  # fmt: skip


_BY_CONTRAST: dict[str, Callable[[Outcome, int], Found]] = {
    "signed-rank": _signed_rank,
    "paired-t": _paired_t,
    "rank-sum": _rank_sum,
}
_OF_ALL: dict[str, Callable[[Outcome, Plan], list[Statistic]]] = {
    "friedman": _friedman,
    "dunn": _dunn,
}


def _row(outcome: Outcome, contrast: str, found: Found) -> Statistic:
    return _statistic(outcome.figure, outcome.name, contrast, outcome.unit, found)


def _statistic(figure: str, outcome: str, contrast: str, unit: str, found: Found) -> Statistic:
    return Statistic(
        figure=figure, outcome=outcome, contrast=contrast, test=found.test,
        exact="" if np.isnan(found.p) else found.exact, n=found.n,
        statistic=found.statistic, p=found.p, attainable=found.attainable, effect=found.effect, unit=unit,
        note=found.note,
    )  # fmt: skip


# --- relapse rates -----------------------------------------------------------------------------------


def _poisson(followed: Sequence[Followed]) -> list[Statistic]:
    """The rate of all patients on either side with Garwood's limits, and the ratio of the two.

    Of the patients who were observed on both sides.
    """
    both = [one for one in followed if one.years_before > 0 and one.years_after > 0]
    if not both:
        return []
    absent = [one.patient for one in followed if one not in both]
    before = sum(one.relapses_before for one in both), sum(one.years_before for one in both)
    after = sum(one.relapses_after for one in both), sum(one.years_after for one in both)
    rows = [
        Statistic(
            figure="figure1", outcome=RELAPSES, contrast=name, test="poisson-rate", exact="exact", n=len(both),
            statistic=float(events), effect=garwood(events, years), unit="relapses a year",
            note=f"{events} relapses in {years:.4g} person-years",
        )
        for name, (events, years) in (("before", before), ("after", after))
    ]  # fmt: skip
    found = rate_ratio(*before, *after)
    counts = np.array([[one.relapses_before, one.relapses_after] for one in both])
    years = np.array([[one.years_before, one.years_after] for one in both])
    spread = max(dispersion(counts[:, side], years[:, side]) for side in (0, 1))
    ratio = remarked(replace(found, n=len(both)), f"{found.n} relapses", _scattered(spread))
    rows.append(_statistic("figure1", RELAPSES, "after / before", "ratio", ratio))
    return [_with_note(row, f"without {_some(absent)}: not observed on both sides" if absent else "") for row in rows]


def _scattered(spread: float) -> str:
    if not spread > _LARGEST_DISPERSION:
        return ""
    return f"patients scatter {spread:.2g} times as far as one common rate lets them: limits are too narrow"


# --- primary and corrected -----------------------------------------------------------------------------


def _corrected(rows: Sequence[Statistic], plan: Plan) -> list[Statistic]:
    primary = _primary(rows, plan)
    families: dict[tuple[str, str], list[int]] = {}
    for index, row in enumerate(rows):
        if index != primary and not np.isnan(row.p):
            families.setdefault((row.outcome, row.test), []).append(index)
    done = list(rows)
    for members in families.values():
        adjusted = holm(np.array([rows[index].p for index in members]))
        for index, p in zip(members, adjusted, strict=True):
            done[index] = _with_family(rows[index], float(p), len(members))
    if primary is not None:
        row = rows[primary]
        declared = replace(row, primary=True, p_adjusted=row.p)
        done[primary] = _with_note(declared, "the contrast declared beforehand: not corrected")
    return done


def _with_family(row: Statistic, p: float, size: int) -> Statistic:
    if size == 1:
        return replace(row, p_adjusted=p)
    note = f"Holm over {size} contrasts"
    if row.attainable * size > _LEVEL:
        note += f", by which the smallest p attainable is {row.attainable * size:.3g} where all are as small"
    return _with_note(replace(row, p_adjusted=p), note)


def _with_note(row: Statistic, note: str) -> Statistic:
    return replace(row, note="; ".join(filter(None, (row.note, note))))


def _primary(rows: Sequence[Statistic], plan: Plan) -> int | None:
    """The first test with a p of the declared contrast."""
    if not plan.primary_outcome:
        return None
    for index, row in enumerate(rows):
        here = row.outcome == plan.primary_outcome and not np.isnan(row.p)
        if here and (row.outcome == RELAPSES or row.contrast.startswith(f"{plan.primary_timepoint} - ")):
            return index
    return None
