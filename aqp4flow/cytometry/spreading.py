"""How much the noise of one dye widens every other detector after compensation: the spillover spreading matrix.

Compensation takes away the mean of what spills, not the counting error of its photons. Source: Nguyen, Perfetto,
Mahnke, Chattopadhyay & Roederer, Cytometry A 2013;83:306.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from aqp4flow.cytometry.single_stains import Control, split
from aqp4flow.errors import AnalysisError
from aqp4flow.model import NAN, Spillover, Values


def spreading(controls: Sequence[Control], matrix: Spillover, dark: Values | None) -> Values:
    """Spread of each dye (row) in each detector (column), shape (n, n), in the layout of `matrix`.

    sqrt(max(0, sd_positive^2 - sd_negative^2)) / sqrt(F_positive - F_negative) on events compensated by `matrix`: sd is
    the 84th percentile less the 50th, F the median in the dye's own detector; its square is the variance a unit of the
    dye's light adds. NaN on the diagonal, and for a dye whose control does not show two populations. `dark` are an
    unstained control's events (see `single_stains.dark_of`) of shape (n_events, n).
    """
    n = len(matrix.channels)
    found = np.full((n, n), NAN)
    for control in controls:
        own = matrix.channels.index(control.dye)
        try:
            parts = split(control, own, dark)
        except AnalysisError:
            continue
        positive, negative = (_compensated(part, matrix) for part in parts)
        light = float(np.median(positive[:, own]) - np.median(negative[:, own]))
        for column in range(n):
            if column != own and light > 0:
                added = _spread(positive[:, column]) ** 2 - _spread(negative[:, column]) ** 2
                found[own, column] = math.sqrt(max(0.0, added) / light)
    return found


def _compensated(events: Values, matrix: Spillover) -> Values:
    return np.asarray(np.linalg.solve(matrix.matrix.T, events.T).T, np.float64)


def _spread(values: Values) -> float:
    middle, upper = np.percentile(values, (50, 84))
    return float(upper - middle)
