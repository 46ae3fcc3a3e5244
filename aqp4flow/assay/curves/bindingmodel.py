"""What binds at a dilution: the three models, their derivatives, and the scale on which residuals are taken.

    one-site    y = b + t / (1 + d/m)                 m: dilution at half occupancy
    4pl         y = b + t / (1 + (d/m)^h)             inflection (on log d) at m
    5pl         y = b + t / (1 + (d/m)^h)^g           inflection at m g^(-1/h)

`d` is the reciprocal dilution, `b` the reading at infinite dilution, `t` the span above it. Inside, parameters stand
as (b, ln t, ln m, ln h, ln g): b may be 0 or below, the others may not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Weights = Literal["1/y2", "1/y", "none"]

MODELS = {"one-site": ("b", "t", "m"), "4pl": ("b", "t", "m", "h"), "5pl": ("b", "t", "m", "h", "g")}
_FARTHEST = 600.0  # h ln(d/m) of infinite dilution: what is bound there is 0 to the last digit


def to_natural(inner: Array) -> Array:
    """(..., k) inner parameters as (..., 5) natural b, t, m, h, g; h and g are 1 where the model has none."""
    natural = np.ones((*inner.shape[:-1], 5))
    natural[..., 0] = inner[..., 0]
    natural[..., 1 : inner.shape[-1]] = np.exp(inner[..., 1:])
    return natural


def predict(natural: Array, dilution: Array) -> Array:
    """Reading at `dilution` (...,) of natural parameters (..., 5); the leading axes are broadcast together."""
    b, t, m, h, g = np.moveaxis(np.asarray(natural, np.float64), -1, 0)
    with np.errstate(divide="ignore"):
        u = np.minimum(h * (np.log(dilution) - np.log(m)), _FARTHEST)
    return np.asarray(b + t * np.exp(-g * np.logaddexp(0.0, u)), np.float64)


def response(inner: Array, log_dilution: Array) -> tuple[Array, Array]:
    """Readings (b, n) and their derivatives (b, n, k) by the inner parameters (b, k)."""
    natural = to_natural(inner)
    base, t, _, h, g = (natural[:, j, None] for j in range(5))
    u = np.minimum(h * (log_dilution - inner[:, 2, None]), _FARTHEST)
    log_sum = np.logaddexp(0.0, u)
    bound = t * np.exp(-g * log_sum)
    slope = bound * g * np.exp(u - log_sum)  # minus the derivative by u
    columns = [np.ones_like(bound), bound, slope * h, -slope * u, -g * log_sum * bound]
    return base + bound, np.stack(columns[: inner.shape[1]], axis=-1)


@dataclass(frozen=True)
class Scale:
    """A scale on which all readings err alike, for the law that `weights` names.

    `floor` (a number, or (b, 1)): readings well below it err by an amount, those above as the weights say.
    1/y2: asinh(y / 2 floor), whose differences are relative errors above the floor; 1/y: the square root of both signs,
    2 (sqrt(|y| + floor) - sqrt(floor)); none: the reading itself.
    """

    weights: Weights
    floor: Array

    def of(self, reading: Array) -> Array:
        """Readings on this scale."""
        if self.weights == "1/y2":
            return np.asarray(np.arcsinh(reading / (2 * self.floor)))
        if self.weights == "1/y":
            root = np.sqrt(np.abs(reading) + self.floor) - np.sqrt(self.floor)
            return np.asarray(2 * np.sign(reading) * root)
        return np.asarray(reading, np.float64)

    def slope(self, reading: Array) -> Array:
        """Derivative of the scale at readings: 1 over their error, up to a factor."""
        if self.weights == "1/y2":
            return np.asarray(1 / np.hypot(reading, 2 * self.floor))
        if self.weights == "1/y":
            return np.asarray(1 / np.sqrt(np.abs(reading) + self.floor))
        return np.ones_like(reading)
