"""What is in a tube: particles with physical properties, and which of them pass the laser together.

A particle is one cell or one piece of debris. An event is what the cytometer sees at once: one particle, or two
(a doublet). Sizes, surfaces and antigen densities are relative to the median live cell (1.0); reporter and
viability dye are in detector units of light.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from aqp4flow.model import Values

Mask = NDArray[np.bool_]
Kinds = NDArray[np.int8]
Indices = NDArray[np.intp]


class Kind(IntEnum):
    """What an event really is."""

    LIVE = 0
    DEAD = 1
    DEBRIS = 2
    DOUBLET = 3


@dataclass(frozen=True)
class Mix:
    """Shares of events by kind (the rest is live single cells) and the share of cells that took up the plasmid."""

    debris: float = 0.20
    dead: float = 0.08
    doublets: float = 0.06
    transfected: float = 0.52


@dataclass(frozen=True)
class Expression:
    """Reporter light of transfected cells: a broad log-normal law with a dim shoulder, in detector units.

    Spreads are standard deviations of the natural logarithm. Antigen density is a power of the reporter.
    """

    level: float = 15_000.0
    spread: float = 0.80
    dim_share: float = 0.10
    dim_level: float = 1_500.0
    dim_spread: float = 0.60
    antigen_power: float = 0.85
    antigen_spread: float = 0.30


@dataclass(frozen=True)
class Particles:
    """Properties of m particles, each of shape (m,)."""

    kind: Kinds
    forward: Values
    side: Values
    surface: Values
    autofluorescence: Values
    transfected: Mask
    dim: Mask
    reporter: Values
    antigen: Values
    viability: Values
    stickiness: Values

    def __len__(self) -> int:
        return len(self.kind)


@dataclass(frozen=True)
class Tube:
    """n events in order of arrival: event i holds particle i, and doublets also `particles[partner]`.

    `particles` has n + (number of doublets) members; `doublets` and `partners` have equal lengths.
    """

    kind: Kinds
    particles: Particles
    doublets: Indices
    partners: Indices

    def __len__(self) -> int:
        return len(self.kind)

    def summed(self, light: Values) -> Values:
        """Light of particles, shape (m, ...), as the light of events, shape (n, ...): doublets add up."""
        events = light[: len(self)].copy()
        events[self.doublets] += light[self.partners]
        return events

    @property
    def expressing(self) -> Mask:
        """Whether a transfected cell is in the event, shape (n,)."""
        found = self.particles.transfected[: len(self)].copy()
        found[self.doublets] |= self.particles.transfected[self.partners]
        return found

    @property
    def live_single(self) -> Mask:
        """Events that are one live cell, shape (n,)."""
        return np.equal(self.kind, Kind.LIVE)


def draw_tube(rng: np.random.Generator, n_events: int, mix: Mix, expression: Expression) -> Tube:
    """`n_events` events of a mix, kinds in random order."""
    dice = rng.random(n_events)
    edges = np.cumsum([mix.debris, mix.dead, mix.doublets])
    order = np.array([Kind.DEBRIS, Kind.DEAD, Kind.DOUBLET, Kind.LIVE], dtype=np.int8)
    kind = order[np.searchsorted(edges, dice, side="right")]
    doublets = np.flatnonzero(kind == Kind.DOUBLET)
    partners = n_events + np.arange(len(doublets))
    single = np.where(kind == Kind.DOUBLET, np.int8(Kind.LIVE), kind)
    each = np.concatenate([single, np.full(len(doublets), Kind.LIVE, dtype=np.int8)])
    return Tube(kind, _draw_particles(rng, each, mix.transfected, expression), doublets, partners)


def _draw_particles(rng: np.random.Generator, kind: Kinds, transfected: float, expression: Expression) -> Particles:
    m = len(kind)
    dead, debris = kind == Kind.DEAD, kind == Kind.DEBRIS
    size = _sizes(rng, debris)
    took_up = (rng.random(m) < transfected) & ~debris
    dim = took_up & (rng.random(m) < expression.dim_share)
    reporter = _reporter(rng, took_up, dim, expression)
    density = (reporter / expression.level) ** expression.antigen_power * _spread(rng, m, expression.antigen_spread)
    return Particles(
        kind=kind,
        forward=size * np.where(dead, 0.60, 1.0) * _spread(rng, m, 0.05),
        side=size**0.8 * np.where(dead, 1.9, 1.0) * _spread(rng, m, np.where(debris, 0.50, 0.24)),
        surface=size,
        autofluorescence=size * _spread(rng, m, 0.30),
        transfected=took_up,
        dim=dim,
        # A torn membrane lets the soluble reporter out; the antigen is anchored and stays.
        reporter=reporter * np.where(dead, 0.35, 1.0),
        antigen=density,
        viability=_viability(rng, dead, debris, size),
        stickiness=size * np.where(dead, 5.0, 1.0) * _spread(rng, m, 0.40),
    )


def _sizes(rng: np.random.Generator, debris: Mask) -> Values:
    """Cells are a skewed hump around 1, debris a long tail from the smallest that triggers."""
    m = len(debris)
    cells = rng.gamma(36.0, 1 / 35.67, m) * _spread(rng, m, 0.05)  # 35.67: the median of a gamma law of shape 36
    return np.where(debris, 0.06 + rng.gamma(1.5, 0.09, m), cells)


def _reporter(rng: np.random.Generator, transfected: Mask, dim: Mask, expression: Expression) -> Values:
    level = np.where(dim, expression.dim_level, expression.level)
    spread = np.where(dim, expression.dim_spread, expression.spread)
    return np.where(transfected, level * _spread(rng, len(dim), spread), 0.0)


def _viability(rng: np.random.Generator, dead: Mask, debris: Mask, size: Values) -> Values:
    """Light of the dye bound to DNA: all of it in dead cells (less in dying ones), next to none in live cells."""
    m = len(dead)
    dying = rng.random(m) < 0.12
    bright = np.where(dying, 6_000.0, 30_000.0) * _spread(rng, m, 0.45)
    faint = np.where(debris, 900.0, 110.0) * size * _spread(rng, m, np.where(debris, 0.80, 0.40))
    return np.where(dead, bright, faint)


def _spread(rng: np.random.Generator, m: int, log_sd: float | Values) -> Values:
    """Log-normal factors with median 1, shape (m,)."""
    return np.exp(log_sd * rng.standard_normal(m))
