"""Mixtures of normal populations on two axes, fitted to a histogram: quick, and the same every time.

Expectation and maximisation (Dempster, Laird & Rubin 1977) over the bins that hold events instead of over events: the
cost does not grow with the plate. Starts are fixed, so that there is nothing random.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from aqp4flow.model import Values

_BINS = 64
_ROUNDS = 200
_SETTLED = 1e-5  # mean log likelihood a round gains
_EVENTS_COUNTED = 12_000  # events that the choice among numbers of components counts: more would model every wrinkle
_LEAST_VARIANCE = 1e-5


@dataclass(frozen=True)
class Mixture:
    """k normal components: `weights` (k,), `means` (k, 2), `covariances` (k, 2, 2)."""

    weights: Values
    means: Values
    covariances: Values = field(repr=False)

    def densities(self, points: Values) -> Values:
        """Weighted density of each component at `points` (n, 2), shape (n, k)."""
        return np.exp(_log_densities(points, self))


def fit_mixture(points: Values, most: int) -> Mixture:
    """The mixture of 1 to `most` components with the lowest Bayesian information criterion for `points`, (n, 2)."""
    centres, shares = _binned(points)
    events = min(len(points), _EVENTS_COUNTED)
    best, lowest = None, np.inf
    for k in range(1, most + 1):
        starts = (0, 1) if k > 1 else (0,)
        fits = [_fitted(centres, shares, k, axis) for axis in starts]
        likelihood, mixture = max(fits, key=lambda fit: fit[0])
        criterion = (6 * k - 1) * np.log(events) - 2 * events * likelihood
        if best is None or criterion < lowest:
            best, lowest = mixture, criterion
    assert best is not None  # one component always fits
    return best


def _binned(points: Values) -> tuple[Values, Values]:
    """Middles of the bins that hold events, (m, 2), and the share of events in each, (m,).

    A thousandth of the events at each end of each axis may lie outside: they would stretch the bins for nothing.
    """
    low, high = np.quantile(points, (0.001, 0.999), axis=0)
    room = np.maximum(0.02 * (high - low), 1e-6)
    ranges = list(zip(low - room, high + room, strict=True))
    counts, *edges = np.histogram2d(points[:, 0], points[:, 1], _BINS, ranges)
    filled = np.argwhere(counts > 0)
    middles = [(edge[:-1] + edge[1:]) / 2 for edge in edges]
    centres = np.column_stack([middles[axis][filled[:, axis]] for axis in (0, 1)])
    found = counts[counts > 0]
    return centres, found / found.sum()


def _fitted(centres: Values, shares: Values, k: int, axis: int) -> tuple[float, Mixture]:
    """Mean log likelihood and mixture, from components that part the events along `axis` into equal shares."""
    order = np.argsort(centres[:, axis], kind="stable")
    slot = np.empty(len(order), np.intp)
    slot[order] = np.minimum((np.cumsum(shares[order]) * k).astype(np.intp), k - 1)
    belongs = np.eye(k)[slot]
    mixture = _maximised(centres, shares, belongs)
    last = -np.inf
    for _ in range(_ROUNDS):
        logs = _log_densities(centres, mixture)
        top = logs.max(axis=1, keepdims=True)
        each = np.exp(logs - top)
        total = each.sum(axis=1, keepdims=True)
        likelihood = float(shares @ (top + np.log(total))[:, 0])
        if likelihood - last < _SETTLED:
            break
        last = likelihood
        mixture = _maximised(centres, shares, each / total)
    return likelihood, mixture


def _maximised(centres: Values, shares: Values, belongs: Values) -> Mixture:
    mass = belongs * shares[:, None]
    weights = np.maximum(mass.sum(axis=0), 1e-12)
    means = (mass.T @ centres) / weights[:, None]
    squares = np.column_stack([centres[:, 0] ** 2, centres[:, 0] * centres[:, 1], centres[:, 1] ** 2])
    xx, xy, yy = ((mass.T @ squares) / weights[:, None]).T
    covariances = np.empty((len(weights), 2, 2))
    covariances[:, 0, 0] = xx - means[:, 0] ** 2 + _LEAST_VARIANCE
    covariances[:, 1, 1] = yy - means[:, 1] ** 2 + _LEAST_VARIANCE
    covariances[:, 0, 1] = covariances[:, 1, 0] = xy - means[:, 0] * means[:, 1]
    return Mixture(weights / weights.sum(), means, covariances)


def _log_densities(points: Values, mixture: Mixture) -> Values:
    a, b, d = mixture.covariances[:, 0, 0], mixture.covariances[:, 0, 1], mixture.covariances[:, 1, 1]
    determinant = np.maximum(a * d - b * b, _LEAST_VARIANCE**2)
    x = points[:, :1] - mixture.means[:, 0]
    y = points[:, 1:] - mixture.means[:, 1]
    distance = (d * x * x - 2 * b * x * y + a * y * y) / determinant
    logs: Values = np.log(mixture.weights) - 0.5 * (np.log(determinant) + distance) - np.log(2 * np.pi)
    return logs
