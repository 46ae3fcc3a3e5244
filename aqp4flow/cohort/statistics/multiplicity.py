"""Several tests of one question."""

from __future__ import annotations

import numpy as np

from aqp4flow.model import Values


def holm(ps: Values) -> Values:
    """Adjusted p of a family of tests (Holm S. Scand J Stat 1979;6:65), in their order, at most 1.

    NaN stays NaN and is not counted: a test that could not be made asks nothing.
    """
    given = np.asarray(ps, float)
    adjusted = given.copy()
    order = np.argsort(given, kind="stable")[: np.count_nonzero(~np.isnan(given))]
    steps = given[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
