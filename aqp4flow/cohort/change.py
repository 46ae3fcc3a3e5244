"""What a fold is called: a change only beyond the reference change value, and only if its own limits agree."""

from __future__ import annotations

import math

from aqp4flow.model import Bound, Change, ReferenceChange, Titer

WITHIN = "change-within-limits"


def called(fold: Titer | None, limit: ReferenceChange) -> tuple[Change, tuple[str, ...]]:
    """The call of a fold, and notes.

    Two values of one serum lie further apart than `limit` in 5 % of pairs (Fraser & Harris, Crit Rev Clin Lab Sci
    1989;27:409), so that a change counts beyond it. Where the fold's own 95 % limits hold 1 all the same, error alone
    may explain it: not known, with a note. A `<` can only have fallen, a `>` only have risen; a bound that does not
    reach beyond the limit settles nothing. A side without a limit is open.
    """
    if fold is None or math.isnan(fold.value):
        return Change.UNKNOWN, ()
    fell = fold.value < 1 / limit.fold and fold.bound is not Bound.ABOVE
    rose = fold.value > limit.fold and fold.bound is not Bound.BELOW
    if fell or rose:
        clear = fold.high < 1 if fell else fold.low > 1  # a limit that is NaN is never clear
        return (Change.FELL if fell else Change.ROSE, ()) if clear else (Change.UNKNOWN, (WITHIN,))
    return (Change.NONE if fold.bound is Bound.EXACT else Change.UNKNOWN), ()
