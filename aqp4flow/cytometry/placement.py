"""Where a well's populations lie, so that it can be seen whether a plate's gates fit it.

The cloud of cells is found without any gate: a gate that misses the cloud would show only the part of it that it holds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aqp4flow.cytometry.gates import Columns, GateChannels, Rows
from aqp4flow.model import NAN, Dimension, Values

LEAST_WELLS = 5  # that tell where populations usually lie
_EVENTS = 3_000  # of a well that are looked at
_LEAST_EVENTS = 100
_BINS = 160
_REACH = 0.12  # decades around the cloud's peak that are the cloud's own
_LEAST_SPREAD = 0.02


@dataclass(frozen=True)
class Placement:
    """Where one well's populations lie; NaN where a population does not exist.

    `forward` and `side`: log10 scatter of the cloud of cells, with its spreads; `dark` and `bright`: median reporter of
    non-expressing and expressing cells, `dark_spread` half of the middle 68 % of the former. Shares are of the parent:
    `cells` of all events, `live` of single cells, `expressing` of expressing and non-expressing.
    """

    forward: float = NAN
    side: float = NAN
    forward_spread: float = NAN
    side_spread: float = NAN
    dark: float = NAN
    dark_spread: float = NAN
    bright: float = NAN
    cells: float = NAN
    live: float = NAN
    expressing: float = NAN


def place(columns: Columns, found: Mapping[str, Rows], channels: GateChannels) -> Placement:
    """Where the populations of a well lie, `found` being the rows in each."""
    cloud = _cloud(columns, channels)
    n_dark, n_bright = (len(found[name]) if name in found else 0 for name in ("nonexpressing", "expressing"))
    dark = dark_spread = bright = NAN
    if channels.reporter:
        axis = Dimension(channels.reporter, True)
        if n_dark >= _LEAST_EVENTS:
            dark, dark_spread = _middle(columns.take(axis, _some(found["nonexpressing"])))
        if n_bright >= _LEAST_EVENTS:
            bright = _middle(columns.take(axis, _some(found["expressing"])))[0]
    parent = found.get("singlets", found.get("cells"))
    return Placement(
        *cloud,
        dark,
        dark_spread,
        bright,
        cells=_share(len(found["cells"]), columns.events.count) if "cells" in found else NAN,
        live=_share(len(found["live"]), len(parent)) if "live" in found and parent is not None else NAN,
        expressing=_share(n_bright, n_bright + n_dark) if n_dark or "nonexpressing" in found else NAN,
    )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else NAN


def _some(rows: Rows) -> Rows:
    return rows[:: max(1, len(rows) // _EVENTS)]


def _middle(values: Values) -> tuple[float, float]:
    """Median, and half of what the middle 68 % span."""
    low, middle, high = np.quantile(values[np.isfinite(values)], (0.16, 0.5, 0.84))
    return float(middle), float(high - low) / 2


def _cloud(columns: Columns, channels: GateChannels) -> tuple[float, float, float, float]:
    """Log10 forward and side scatter of what scatters most light, and their spreads.

    Weighted with forward scatter the cells make the highest peak, however much debris there is.
    """
    step = max(1, columns.events.count // _EVENTS)
    forward, side = columns.raw(channels.forward)[::step], columns.raw(channels.side)[::step]
    good = (forward > 0) & (side > 0) & np.isfinite(forward) & np.isfinite(side)
    if np.count_nonzero(good) < _LEAST_EVENTS:
        return NAN, NAN, NAN, NAN
    x, y = np.log10(forward[good]), np.log10(side[good])
    heights, edges = np.histogram(x, _BINS, weights=forward[good])
    smooth = np.convolve(heights, np.hanning(9)[1:-1], mode="same")
    top = int(np.argmax(smooth))
    own = np.abs(x - (edges[top] + edges[top + 1]) / 2) < _REACH
    (at, spread), (high, width) = _middle(x[own]), _middle(y[own])
    return at, high, max(spread, _LEAST_SPREAD), max(width, _LEAST_SPREAD)


@dataclass(frozen=True)
class Usual:
    """Where the populations of a plate's wells usually lie: medians over its wells."""

    placement: Placement

    def cloud_shift(self, well: Placement) -> float:
        """Distance of the well's cloud from the usual one, in spreads of a cloud."""
        usual = self.placement
        forward = (well.forward - usual.forward) / usual.forward_spread
        side = (well.side - usual.side) / usual.side_spread
        return math.hypot(forward, side)

    def factors(self, well: Placement) -> tuple[float, float]:
        """What the usual scatter must be multiplied with to lie where the well's does."""
        return 10 ** (well.forward - self.placement.forward), 10 ** (well.side - self.placement.side)

    def dark_shift(self, well: Placement) -> float:
        """How far the well's dark cells are brighter in the reporter than usual, in their usual spreads."""
        spread = self.placement.dark_spread
        return (well.dark - self.placement.dark) / spread if spread > 0 else NAN

    def bright_fold(self, well: Placement) -> float:
        """Reporter of the expressing cells over the usual one; NaN where one of them is not above 0."""
        usual = self.placement.bright
        return well.bright / usual if usual > 0 and well.bright > 0 else NAN

    def odds_shift(self, well: Placement) -> float:
        """Difference of the log odds of a cell to express from the usual ones."""
        return _log_odds(well.expressing) - _log_odds(self.placement.expressing)


def usual_place(wells: Sequence[Placement]) -> Usual | None:
    """Medians over wells; None where fewer than `LEAST_WELLS` have a cloud of cells."""
    if sum(math.isfinite(well.forward) for well in wells) < LEAST_WELLS:
        return None
    names = Placement.__dataclass_fields__
    return Usual(Placement(**{name: _median([getattr(well, name) for well in wells]) for name in names}))


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return float(np.median(known)) if known else NAN


def _log_odds(share: float) -> float:
    bounded = min(max(share, 1e-4), 1 - 1e-4) if math.isfinite(share) else NAN
    return math.log(bounded / (1 - bounded))
