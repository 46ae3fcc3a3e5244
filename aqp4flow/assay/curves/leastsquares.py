"""Many small bounded least-squares problems at once: Levenberg-Marquardt on arrays, one row a problem.

Levenberg 1944, Marquardt 1963 (damping scaled by the diagonal); limits are kept by projection, and a parameter that
stands at a limit and wants beyond it is held there for the step (Kanzow, Yamashita & Fukushima 2004 for the idea).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Rows = NDArray[np.intp]
#: Residuals (b, n) and their derivatives (b, n, p) at parameters (b, p) of the problems `rows` (b,).
Evaluate = Callable[[Array, Rows], tuple[Array, Array]]

MOST_STEPS = 300
_DAMPING, _LEAST, _MOST = 1e-2, 1e-12, 1e12
_TINY = 1e-300
_STILL = 1e-10  # a relative gain below this, from a step that was hardly damped, is none


@dataclass(frozen=True)
class Optimum:
    """Where each problem ended: `x` (B, p), sum of squares (B,), residuals (B, n), their derivatives (B, n, p).

    `settled` is False where the search ran out of steps.
    """

    x: Array
    rss: Array
    residuals: Array
    jacobian: Array
    settled: NDArray[np.bool_]


def minimise(evaluate: Evaluate, start: Array, limits: Array) -> Optimum:
    """The nearest minimum of each row's sum of squares within its limits.

    `start` (B, p), `limits` (B, p, 2). Rows that have settled leave the batch, so that few hard ones cost little. A row
    that does not settle in MOST_STEPS steps is told by `settled`.
    """
    low, high = limits[..., 0], limits[..., 1]
    x = np.clip(start, low, high)
    everything = np.arange(len(x))
    residuals, jacobian = evaluate(x, everything)
    rss = _square(residuals)
    damping = np.full(len(x), _DAMPING)
    settled = np.zeros(len(x), bool)
    for _ in range(MOST_STEPS):
        rows = np.flatnonzero(~settled)
        if not len(rows):
            break
        step = _step(residuals[rows], jacobian[rows], x[rows], (low[rows], high[rows]), damping[rows])
        tried = np.clip(x[rows] + step, low[rows], high[rows])
        new_residuals, new_jacobian = evaluate(tried, rows)
        new_rss = _square(new_residuals)
        better = new_rss <= rss[rows]  # never with NaN
        gain = rss[rows] - new_rss
        still = np.abs(tried - x[rows]).max(axis=1) <= 1e-13 * (1 + np.abs(x[rows]).max(axis=1))
        small = better & (gain <= _STILL * rss[rows]) & (damping[rows] <= 1)
        settled[rows] = small | still | (damping[rows] >= _MOST) | (rss[rows] <= _TINY)
        taken = rows[better]
        x[taken], rss[taken] = tried[better], new_rss[better]
        residuals[taken], jacobian[taken] = new_residuals[better], new_jacobian[better]
        damping[rows] = np.clip(damping[rows] * np.where(better, 0.2, 5.0), _LEAST, _MOST)
    return Optimum(x, rss, residuals, jacobian, settled)


def _square(residuals: Array) -> Array:
    return np.asarray(np.einsum("bn,bn->b", residuals, residuals))


def _step(residuals: Array, jacobian: Array, x: Array, limits: tuple[Array, Array], damping: Array) -> Array:
    """Damped Gauss-Newton steps (b, p); 0 for a parameter whose limit stands in the way downhill."""
    transposed = jacobian.transpose(0, 2, 1)
    gradient = (transposed @ residuals[..., None])[..., 0]
    normal = transposed @ jacobian
    diagonal = np.einsum("bpp->bp", normal).copy()
    held = ((x <= limits[0]) & (gradient > 0)) | ((x >= limits[1]) & (gradient < 0)) | (diagonal <= _TINY)
    scale = np.sqrt(np.where(held, 1.0, diagonal))
    free = ~held
    normal = normal / (scale[:, :, None] * scale[:, None, :]) * (free[:, :, None] & free[:, None, :])
    number = np.arange(x.shape[1])
    normal[:, number, number] = np.where(held, 1.0, 1.0 + damping[:, None])
    gradient = np.where(held, 0.0, gradient / scale)
    return np.asarray(-np.linalg.solve(normal, gradient[..., None])[..., 0] / scale)
