"""The likelihood of values of which some are only bounds, with an effect of each patient.

Value j of patient i has the mean b_j + tau u_i with u_i standard normal, and the residual SD s (Tobin, Econometrica
1958;26:24; with a patient's effect: Thiebaut & Jacqmin-Gadda, Comput Methods Programs Biomed 2004;74:255). A value
known exactly contributes its density, a bound the tail beyond it, and u is integrated out: by the trapezium rule about
the top of each patient's integrand, whose error falls exponentially for such functions (Trefethen & Weideman, SIAM
Review 2014;56:385). It serves a patient all of whose values are bounds, whose integrand is a cliff, as well.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aqp4flow.model import Values

_REACH = 8.5  # standard deviations on each side of the top; what lies beyond is below 1e-16
_FINE, _COARSE = 401, 41  # nodes for patients without and with an exact value
_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
_NEWTON = 60


@dataclass(frozen=True, eq=False)
class Block:
    """Some patients: `y` and `bounds` (patients, time points), NaN where missing."""

    y: Values
    bounds: NDArray[np.int8]

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Where there is a value."""
        return ~np.isnan(self.y)


def blocks(y: Values, bounds: NDArray[np.int8]) -> tuple[Block, ...]:
    """Patients all of whose values are bounds apart from the others; those without a value are left out."""
    measured = ~np.isnan(y)
    some = np.any(measured & (bounds == 0), axis=1)
    none = ~some & np.any(measured, axis=1)
    return tuple(Block(y[rows], bounds[rows]) for rows in (some, none) if rows.any())


def log_likelihood(parts: tuple[Block, ...], theta: Values) -> tuple[float, Values, Values]:
    """log-likelihood, its slope (k + 2,) and curvature (k + 2, k + 2) at `theta` = b (k,), log s, tau.

    tau may be negative: only its square counts. By Fisher's and Louis' identities over the same nodes.
    """
    total, slope, curvature = 0.0, np.zeros(len(theta)), np.zeros((len(theta), len(theta)))
    for block in parts:
        value, first, second = _of_block(block, theta)
        total, slope, curvature = total + value, slope + first, curvature + second
    return total, slope, curvature


def _tails(z: Values, block: Block) -> tuple[Values, Values, Values]:
    """log of each value's part without the density's 1/s, and its two derivatives by z; 0 where missing.

    z (patients, time points, nodes) is the standardised residual of the value.
    """
    from scipy.special import log_ndtr

    exact = (block.measured & (block.bounds == 0))[:, :, None]
    bound = (block.measured & (block.bounds != 0))[:, :, None]
    value = np.where(exact, -0.5 * z * z - _HALF_LOG_TWO_PI, 0.0)
    first, second = np.where(exact, -z, 0.0), np.where(exact, -1.0, 0.0) + np.zeros_like(z)
    if bound.any():
        at = np.broadcast_to(bound, z.shape)
        sign = np.broadcast_to(-block.bounds[:, :, None].astype(np.float64), z.shape)[at]
        w = sign * z[at]
        log_tail = log_ndtr(w)
        mills = np.exp(-0.5 * w * w - _HALF_LOG_TWO_PI - log_tail)
        value[at], first[at], second[at] = log_tail, sign * mills, -mills * (w + mills)
    return value, first, second


def _of_block(block: Block, theta: Values) -> tuple[float, Values, Values]:
    k = block.y.shape[1]
    log_s, tau = float(theta[k]), float(theta[k + 1])
    s = math.exp(log_s)
    n_exact = np.sum(block.measured & (block.bounds == 0), axis=1)
    width = 1 / np.sqrt(1 + n_exact * (tau / s) ** 2)  # no integrand is wider, for each bound's tail is log-concave
    residual = np.where(block.measured, block.y - theta[:k], 0.0) / s
    nodes = np.linspace(-_REACH, _REACH, _COARSE if n_exact.all() else _FINE)
    u = _tops(block, residual, tau / s)[:, None] + width[:, None] * nodes
    z = residual[:, :, None] - tau / s * u[:, None, :]
    value, first, second = _tails(z, block)
    log_part = value.sum(axis=1) - 0.5 * u * u - _HALF_LOG_TWO_PI - n_exact[:, None] * log_s
    top = log_part.max(axis=1, keepdims=True)
    mass = np.exp(log_part - top)
    total = mass.sum(axis=1)
    weights = mass / total[:, None]
    step = width * (nodes[1] - nodes[0])
    logs = top[:, 0] + np.log(total * step)
    return float(logs.sum()), *_slopes(block, (z, first, second), u, (s, weights))


def _slopes(
    block: Block, derivatives: tuple[Values, Values, Values], u: Values, scale: tuple[float, Values]
) -> tuple[Values, Values]:
    """Slope and curvature summed over the patients of a block, from the derivatives by z at every node."""
    (z, first, second), (s, weights) = derivatives, scale
    patients, k, n_nodes = z.shape
    by_s, by_tau = -z, -u[:, None, :] / s + np.zeros_like(z)  # of z; by b it is -1/s, at its own time point
    slope = np.empty((patients, k + 2, n_nodes))
    slope[:, :k] = -first / s
    slope[:, k] = (first * by_s).sum(axis=1) - np.sum(block.measured & (block.bounds == 0), axis=1)[:, None]
    slope[:, k + 1] = (first * by_tau).sum(axis=1)
    mean = np.einsum("ipn,in->ip", slope, weights)
    centred = (slope - mean[:, :, None]) * np.sqrt(weights)[:, None, :]
    curvature = np.einsum("ipn,iqn->pq", centred, centred, optimize=True)
    inner = np.zeros((k + 2, k + 2))

    def averaged(part: Values) -> Values:
        return np.asarray(np.einsum("ijn,in->j", part, weights))

    at = np.arange(k)
    inner[at, at] = averaged(second) / s**2
    inner[at, k] = inner[k, at] = averaged(-second * by_s + first) / s
    inner[at, k + 1] = inner[k + 1, at] = averaged(-second * by_tau) / s
    inner[k, k] = averaged(second * by_s**2 + first * z).sum()
    inner[k, k + 1] = inner[k + 1, k] = averaged(second * by_s * by_tau - first * by_tau).sum()
    inner[k + 1, k + 1] = averaged(second * by_tau**2).sum()
    return mean.sum(axis=0), curvature + inner


def _tops(block: Block, residual: Values, ratio: float) -> Values:
    """Where each patient's integrand is highest, by Newton's steps on a concave function, halved where too long."""

    def at(u: Values) -> tuple[Values, Values, Values]:
        value, first, second = _tails((residual - ratio * u[:, None])[:, :, None], block)
        height = value[:, :, 0].sum(axis=1) - 0.5 * u * u
        return height, -ratio * first[:, :, 0].sum(axis=1) - u, ratio**2 * second[:, :, 0].sum(axis=1) - 1

    u = np.zeros(len(residual))
    height, slope, curvature = at(u)
    for _ in range(_NEWTON):
        step = -slope / curvature
        if np.max(np.abs(step)) < 1e-10:
            break
        tried = u + step
        new = at(tried)
        while np.any(worse := new[0] < height - 1e-9 * (1 + np.abs(height))):
            step = np.where(worse, step / 2, step)
            tried = u + step
            new = at(tried)
        u, (height, slope, curvature) = tried, new
    return u
