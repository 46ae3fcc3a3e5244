"""One least-squares objective and one table of limits for all models, fitted for many series at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqp4flow.assay.curves.bindingmodel import MODELS, Array, Scale, Weights, response
from aqp4flow.assay.curves.leastsquares import minimise

RELATIVE_ERROR = 0.10  # of a reading far above the noise: declared, see docs/numbers.md
_SHAPE_LIMITS = {"h": (0.3, 4.0), "g": (0.2, 5.0)}
_BEGIN = {"h": (0.6, 1.0, 1.6, 2.8), "g": (0.4, 1.0, 2.5)}  # shapes that are tried before the best are fitted
_MIDPOINTS = 14
_STARTS = 3
_INFINITE = 1e9  # stands for ln of infinite dilution


@dataclass(frozen=True)
class Series:
    """Points of one curve: reciprocal dilutions (inf: no serum) and readings, both (n,), any unit, any sign.

    `noise` is the standard error of a reading near 0, in the readings' unit; NaN where nobody knows it.
    """

    dilution: Array
    mfi: Array
    noise: float = math.nan

    @property
    def tested(self) -> Array:
        """The dilutions that were tested, each once, rising."""
        return np.unique(self.dilution[np.isfinite(self.dilution)])

    @property
    def floor(self) -> float:
        """Half of the reading whose relative error is as large as the noise (`Scale.floor`), in the readings' unit.

        Without a known noise: next to nothing where all readings are above 0, so that their logarithms are compared;
        else half a hundredth of the farthest reading from 0.
        """
        farthest = float(np.abs(self.mfi).max()) or 1.0
        if self.noise > 0:
            return max(self.noise / RELATIVE_ERROR / 2, 1e-9 * farthest)
        return farthest * (1e-9 if self.mfi.min() > 0 else 0.005)

    def without(self, dilution: float) -> Series:
        """The series without one dilution, on the same scale."""
        kept = self.dilution != dilution
        return Series(self.dilution[kept], self.mfi[kept], 2 * RELATIVE_ERROR * self.floor)


@dataclass(frozen=True)
class Fit:
    """One series at its optimum: inner `parameters` (k,) and their `limits` (k, 2).

    `residuals` (n,), curve minus reading on the scale, in the order of the points, with derivatives `jacobian` (n, k).
    `settled` is False where the search ran out of steps.
    """

    model: str
    parameters: Array
    limits: Array
    residuals: Array
    jacobian: Array
    settled: bool

    @property
    def rss(self) -> float:
        """Sum of the squared residuals."""
        return float(self.residuals @ self.residuals)

    @property
    def n(self) -> int:
        """Number of points."""
        return len(self.jacobian)

    @property
    def df(self) -> int:
        """Points beyond the parameters; may be 0 or below."""
        return self.n - len(self.parameters)

    @property
    def unscaled(self) -> Array:
        """(J'J)^-1 (k, k): the parameters' covariance for residuals of variance 1.

        All parameters count as free, also those at a limit: that errs on the wide side. What the points do not settle
        gets a very large variance, not none.
        """
        size = np.sqrt((self.jacobian**2).sum(axis=0))
        size[size == 0] = 1e-12
        scaled = self.jacobian / size
        k = len(size)
        inverse = np.linalg.inv(scaled.T @ scaled + 1e-12 * np.eye(k))
        return np.asarray(inverse / np.outer(size, size))

    @property
    def at_limit(self) -> NDArray[np.bool_]:
        """Which parameters stand within a thousandth of the allowed range from a limit, (k,)."""
        margin = 1e-3 * (self.limits[:, 1] - self.limits[:, 0])
        low = self.parameters <= self.limits[:, 0] + margin
        return np.asarray(low | (self.parameters >= self.limits[:, 1] - margin))

    @property
    def aicc(self) -> float:
        """Akaike's criterion corrected for few points, least-squares form (the variance counts as a parameter)."""
        k = len(self.parameters) + 1
        penalty = 2 * k * (k + 1) / (self.n - k - 1) if self.n > k + 1 else math.inf
        return self.n * math.log(max(self.rss, 1e-300) / self.n) + 2 * k + penalty


def limits_of(series: Series, model: str) -> Array:
    """The one table of limits: lowest and highest inner value of each parameter, (k, 2).

    With range = highest - lowest reading: b from lowest - range/10 to lowest + range/2; t from range/20 to 100 range;
    m from a thousandth of the lowest to a thousand times the highest tested dilution; h 0.3 to 4; g 0.2 to 5.
    """
    lowest, highest = float(series.mfi.min()), float(series.mfi.max())
    span = highest - lowest or 1.0
    tested = series.tested
    table = {
        "b": (lowest - 0.1 * span, lowest + 0.5 * span),
        "t": (math.log(0.05 * span), math.log(100 * span)),
        "m": (math.log(1e-3 * tested[0]), math.log(1e3 * tested[-1])),
        **{name: (math.log(low), math.log(high)) for name, (low, high) in _SHAPE_LIMITS.items()},
    }
    return np.array([table[name] for name in MODELS[model]])


def fit_all(batch: Sequence[Series], model: str, weights: Weights, limits: Array | None = None) -> list[Fit]:
    """Fit one model to each series: sum of squares on `Scale`, best of several starts. At least 2 points a series.

    `limits` (k, 2) of the inner parameters: the caller's own, shared by all series, in place of the table.
    """
    if not batch:
        return []
    points = _Points.of(batch, weights)
    each_limits = np.stack([limits_of(series, model) if limits is None else limits for series in batch])
    starts = _starts(points, each_limits, batch)
    each, count = starts.shape[:2]
    owner = np.repeat(np.arange(each), count)
    found = minimise(points.take(owner).evaluate, starts.reshape(each * count, -1), each_limits[owner])
    best = found.rss.reshape(each, count).argmin(axis=1) + count * np.arange(each)
    return [
        Fit(
            model,
            found.x[row],
            each_limits[i],
            found.residuals[row, : len(batch[i].mfi)],
            found.jacobian[row, : len(batch[i].mfi)],
            bool(found.settled[row]),
        )
        for i, row in enumerate(best)
    ]


@dataclass(frozen=True)
class _Points:
    """Series side by side, (B, n), the shorter ones filled up with points that do not count."""

    log_dilution: Array
    mfi: Array
    counts: Array
    scale: Scale
    target: Array

    @classmethod
    def of(cls, batch: Sequence[Series], weights: Weights) -> _Points:
        width = max(len(series.mfi) for series in batch)
        log_dilution, mfi, counts = (np.zeros((len(batch), width)) for _ in range(3))
        for row, series in enumerate(batch):
            n = len(series.mfi)
            finite = np.isfinite(series.dilution)
            log_dilution[row, :n] = np.where(finite, np.log(np.where(finite, series.dilution, 1.0)), _INFINITE)
            mfi[row, :n] = series.mfi
            counts[row, :n] = 1.0
        scale = Scale(weights, np.array([[series.floor] for series in batch]))
        return cls(log_dilution, mfi, counts, scale, scale.of(mfi))

    def take(self, rows: NDArray[np.intp]) -> _Points:
        scale = Scale(self.scale.weights, self.scale.floor[rows])
        return _Points(self.log_dilution[rows], self.mfi[rows], self.counts[rows], scale, self.target[rows])

    def evaluate(self, inner: Array, rows: NDArray[np.intp]) -> tuple[Array, Array]:
        """Residuals on the scale and their derivatives; points that do not count have 0 in both."""
        here = self.take(rows)
        reading, derivatives = response(inner, here.log_dilution)
        residuals = (here.scale.of(reading) - here.target) * here.counts
        return residuals, derivatives * (here.scale.slope(reading) * here.counts)[..., None]


def _starts(points: _Points, limits: Array, batch: Sequence[Series]) -> Array:
    """The best few starts of a grid of midpoints and shapes, (B, starts, k).

    For a midpoint and a shape, the model is a straight line in b and t: both follow from weighted sums. Of each shape
    the best midpoint is kept, of the shapes the best few.
    """
    k = limits.shape[1]
    edges = np.array([[math.log(series.tested[0] / 2), math.log(series.tested[-1] * 2)] for series in batch])
    shares = np.linspace(0, 1, _MIDPOINTS)
    middles = edges[:, :1] + (edges[:, 1:] - edges[:, :1]) * shares
    shapes = [(h, g) for h in (_BEGIN["h"] if k > 3 else (1.0,)) for g in (_BEGIN["g"] if k > 4 else (1.0,))]
    found = [_line_starts(points, limits, middles, np.log(shape)) for shape in shapes]
    losses, starts = np.stack([loss for loss, _ in found], axis=1), np.stack([start for _, start in found], axis=1)
    order = np.argsort(losses, axis=1, kind="stable")[:, :_STARTS]
    return np.asarray(np.take_along_axis(starts, order[..., None], axis=1))


def _line_starts(points: _Points, limits: Array, middles: Array, shape: Array) -> tuple[Array, Array]:
    """Of one shape (ln h, ln g): the loss of the best midpoint (B,) and the start there (B, k)."""
    many, count = middles.shape
    k = limits.shape[1]
    inner = np.zeros((many * count, 5))
    inner[:, 2] = middles.ravel()
    inner[:, 3:] = shape
    rows = np.repeat(np.arange(many), count)
    here = points.take(rows)
    share = response(inner, here.log_dilution)[0]  # of a curve from 0 to 1
    weight = here.counts * here.scale.slope(here.mfi) ** 2
    total = weight.sum(axis=1)
    mean_x, mean_y = (weight * share).sum(axis=1) / total, (weight * here.mfi).sum(axis=1) / total
    off = share - mean_x[:, None]
    square = (weight * off**2).sum(axis=1)
    span = np.divide((weight * off * here.mfi).sum(axis=1), square, out=np.zeros_like(square), where=square > 0)
    bounds = limits[rows]
    inner[:, 1] = np.clip(np.log(np.maximum(span, 1e-300)), bounds[:, 1, 0], bounds[:, 1, 1])
    inner[:, 0] = np.clip(mean_y - np.exp(inner[:, 1]) * mean_x, bounds[:, 0, 0], bounds[:, 0, 1])
    reading = response(inner, here.log_dilution)[0]
    loss = ((here.scale.of(reading) - here.target) ** 2 * here.counts).sum(axis=1).reshape(many, count)
    best = loss.argmin(axis=1)
    return loss.min(axis=1), inner.reshape(many, count, 5)[np.arange(many), best, :k]
