"""Three time points or more: Friedman's test, and Dunn's contrasts of each time point with the first.

Friedman M. J Am Stat Assoc 1937;32:675. Dunn OJ. Technometrics 1964;6:241, for blocks as in Siegel S, Castellan NJ.
Nonparametric Statistics for the Behavioral Sciences, 2nd ed., 1988, 7.2. Both laws are those of the patients' own
ranks, ties as they are, when the time points of each patient are exchanged at random.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from aqp4flow.cohort.statistics.found import Found, impossible, remarked, times
from aqp4flow.cohort.statistics.midranks import Whole, tolerance
from aqp4flow.errors import AnalysisError
from aqp4flow.model import NAN, UNKNOWN, Estimate, Values

FRIEDMAN, DUNN = "friedman", "dunn"
MOST_STEPS = 3_000_000  # orders tried, over all patients: about a second at most
CHUNK = 200_000  # ranks permuted at a time


def friedman(values: Values, bounds: Whole | None = None, draws: int = 2000, seed: int = 0) -> Found:
    """Friedman's test of patients (rows) at time points (columns), (n, k), nothing missing; tie-corrected chi-square.

    `bounds` (n, k): 0 exact, -1 below the value, 1 above it. p is exact where all orders can be counted, else from
    `draws` seeded permutations, (b + 1) / (draws + 1). A patient whose order the bounds leave open: no p, and a note.
    """
    table = _table(values, FRIEDMAN)
    ranks, unsure = row_ranks(table, bounds)
    if unsure:
        return impossible(FRIEDMAN, len(table), _unsure(unsure))
    n, k = table.shape
    spread = ((ranks - (k + 1)) ** 2).sum() / 4
    columns = ranks.sum(axis=0)
    if spread == 0:
        return Found(FRIEDMAN, "exact", n, NAN, 1.0, 1.0, UNKNOWN, "no patient has two different values")
    statistic = float((k - 1) * ((columns - n * (k + 1)) ** 2).sum() / 4 / spread)
    p, attainable, exact = _friedman_p(ranks, draws, seed)
    found = Found(FRIEDMAN, "exact" if exact else "permutation", n, statistic, p, attainable)
    return remarked(
        found,
        f"chi-square with {k - 1} degrees of freedom: p {_chi_square(statistic, k - 1):.3g}",
        f"Kendall's W {statistic / (n * (k - 1)):.3g}",
        "" if exact else f"{draws} permutations",
        _tied_bounds(bounds),
    )


def dunn(values: Values, bounds: Whole | None = None) -> tuple[Found, ...]:
    """Dunn's contrasts: each later time point against the first, (k - 1,), p not yet corrected for their number.

    `statistic` is z, with the variance of the ranks as they are tied. p is exact: the law of the difference of the two
    rank sums; that of z stands in the note. `effect` is the difference of mean ranks, later minus first.
    """
    table = _table(values, DUNN)
    ranks, unsure = row_ranks(table, bounds)
    n, k = table.shape
    if unsure:
        return tuple(impossible(DUNN, n, _unsure(unsure)) for _ in range(k - 1))
    law = _difference_law(ranks)
    bounded = _tied_bounds(bounds)
    error = math.sqrt(float(((ranks - (k + 1)) ** 2).sum()) / 4 * 2 / (k - 1)) / n
    return tuple(_contrast(ranks, column, law, error, bounded) for column in range(1, k))


def _contrast(ranks: Whole, column: int, law: Values, error: float, bounded: str) -> Found:
    n, middle = len(ranks), len(law) // 2
    difference = int((ranks[:, column] - ranks[:, 0]).sum())
    apart = np.abs(np.arange(len(law)) - middle)
    effect = difference / 2 / n
    if error == 0:
        return Found(DUNN, "exact", n, NAN, 1.0, 1.0, Estimate(effect), "no patient has two different values")
    z = effect / error
    p = min(1.0, float(law[apart >= abs(difference)].sum()))
    attainable = min(1.0, float(law[apart == apart[law > 0].max()].sum()))
    found = Found(DUNN, "exact", n, z, p, attainable, Estimate(effect))
    first, later = float(ranks[:, 0].mean()) / 2, float(ranks[:, column].mean()) / 2
    return remarked(
        found,
        f"mean ranks {first:.3g} and {later:.3g}",
        f"normal law: p {math.erfc(abs(z) / math.sqrt(2)):.3g}",
        bounded,
    )


# --- ranks within a patient ---------------------------------------------------------------------


def row_ranks(table: Values, bounds: Whole | None = None) -> tuple[Whole, list[int]]:
    """Doubled midranks within each row, and the rows (from 0) whose order the bounds leave open (their ranks are 0).

    `<` lies below every value that is not smaller, `>` above every one that is not larger. The same bound twice is a
    tie: it was recorded alike, and that is what is exchanged.
    """
    codes = np.zeros(table.shape, np.int64) if bounds is None else np.asarray(bounds, np.int64)
    within = tolerance(table)
    ranks = np.zeros(table.shape, np.int64)
    unsure = []
    for row, (values, kinds) in enumerate(zip(table, codes, strict=True)):
        below = _surely_below(values, kinds, within)
        same = (kinds[:, None] == kinds[None, :]) & (np.abs(values[:, None] - values[None, :]) <= within)
        if np.all(below | below.T | same):
            ranks[row] = 2 * below.sum(axis=0) + same.sum(axis=0) + 1
        else:
            unsure.append(row)
    return ranks, unsure


def _surely_below(values: Values, kinds: Whole, within: float) -> NDArray[np.bool_]:
    """Which of the row (first axis) surely lie below which (second axis)."""
    top = np.where(kinds == 1, np.inf, values)
    bottom = np.where(kinds == -1, -np.inf, values)
    strict = (kinds[:, None] == -1) | (kinds[None, :] == 1)  # below the value of one, or above that of the other
    gap = bottom[None, :] - top[:, None]
    return np.where(strict, gap >= -within, gap > within)


def _table(values: Values, test: str) -> Values:
    table = np.asarray(values, float)
    if table.ndim != 2 or table.shape[0] < 1 or table.shape[1] < 2:
        raise AnalysisError(test, "no table of patients at two time points or more", "hand on one row a patient")
    if not np.all(np.isfinite(table)):
        raise AnalysisError(test, "a value is missing", "hand on the patients seen at every time point")
    return table


def _unsure(rows: list[int]) -> str:
    return f"bounds leave the order of {times(len(rows), 'patient')} open"


def _tied_bounds(bounds: Whole | None) -> str:
    bounded = 0 if bounds is None else int(np.count_nonzero(bounds))
    return f"{times(bounded, 'value')} known only as bounds, equal ones tied" if bounded else ""


def _chi_square(statistic: float, df: int) -> float:
    from scipy.special import chdtrc

    return float(chdtrc(df, statistic))


# --- laws ---------------------------------------------------------------------------------------


def _friedman_p(ranks: Whole, draws: int, seed: int) -> tuple[float, float, bool]:
    """p, the smallest possible, and whether they are exact. Doubled rank sums are compared as whole numbers."""
    centred = ranks - (ranks.shape[1] + 1)
    observed = int((centred.sum(axis=0) ** 2).sum())
    law = _squares_law(centred)
    if law is None:
        reached = _permuted(centred, draws, seed) >= observed
        return (int(reached.sum()) + 1) / (draws + 1), 1 / (draws + 1), False
    squares, chance = law
    return min(1.0, float(chance[squares >= observed].sum())), float(chance[squares == squares.max()].sum()), True


def _squares_law(centred: Whole) -> tuple[Whole, Values] | None:
    """Sums of squared rank sums and their chances; None where there are too many orders to count.

    A patient is added at a time. The sum does not know which column is which, so that rank sums are kept sorted and
    alike ones are counted together; the first patient's order is then no choice at all.
    """
    k = centred.shape[1]
    base = int(np.abs(centred).max(axis=1).sum()) * 2 + 1
    if k > 7 or base**k >= 2**62:
        return None
    states: Whole = np.sort(centred[:1], axis=1)
    chance: Values = np.ones(1)
    steps = 0
    for row in centred[1:]:
        orders = np.array(sorted(set(itertools.permutations(row.tolist()))))
        steps += len(states) * len(orders)
        if steps > MOST_STEPS:
            return None
        sums = np.sort((states[:, None, :] + orders[None, :, :]).reshape(-1, k), axis=1)
        numbers = (sums + base // 2) @ (base ** np.arange(k))
        _, first, which = np.unique(numbers, return_index=True, return_inverse=True)
        states = sums[first]
        chance = np.bincount(which, np.repeat(chance / len(orders), len(orders))).astype(np.float64)
    return (states**2).sum(axis=1), chance


def _permuted(centred: Whole, draws: int, seed: int) -> Whole:
    """Sums of squared rank sums when each patient's ranks are shuffled, (draws,)."""
    rng = np.random.default_rng([seed, *centred.shape])
    at_once = max(1, CHUNK // centred.size)
    found = []
    for start in range(0, draws, at_once):
        copies = np.broadcast_to(centred, (min(at_once, draws - start), *centred.shape))
        found.append((rng.permuted(copies, axis=2).sum(axis=1) ** 2).sum(axis=1))
    return np.concatenate(found)


def _difference_law(ranks: Whole) -> Values:
    """Chance of each difference of two doubled rank sums, the middle one 0: a patient gives two ranks without order."""
    law = np.ones(1)
    for row in ranks:
        apart = row[:, None] - row[None, :]
        apart = apart[~np.eye(len(row), dtype=bool)]
        reach = int(np.abs(apart).max())
        law = np.convolve(law, np.bincount(apart + reach, minlength=2 * reach + 1) / len(apart))
    return law
