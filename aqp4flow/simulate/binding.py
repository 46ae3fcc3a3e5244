"""Antibody on cells: what a serum at a dilution leaves on each particle, seen through the labelled secondary.

Concentrations and affinities share one arbitrary unit (of specific antibody in undiluted serum). All clones of a
serum scale together, so that the fold between two visits is exactly the ratio of their concentrations.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from aqp4flow.model import Role, Values
from aqp4flow.simulate.cells import Particles


@dataclass(frozen=True)
class Clone:
    """One clone of specific antibody: its share of the sites it fills at saturation, its dissociation constant."""

    share: float
    kd: float


@dataclass(frozen=True)
class Serum:
    """One serum: `concentration` of specific antibody when undiluted (0: none), `nonspecific` factor around 1."""

    name: str
    role: Role
    concentration: float
    nonspecific: float
    clones: tuple[Clone, ...] = ()
    patient: str = ""
    visit: str = ""

    @property
    def half_dilution(self) -> float:
        """The dilution (reciprocal) at which half of the antigen is occupied; 0 without specific antibody."""
        return self.concentration / half_concentration(self.clones) if self.clones else 0.0


@dataclass(frozen=True)
class Stain:
    """Which reagents are in the tube, and how strongly the secondary came out there (1 = as meant)."""

    secondary: bool = True
    viability: bool = True
    capture: bool = False
    strength: float = 1.0


@dataclass(frozen=True)
class Brightness:
    """Light per median live cell in detector units of the signal channel.

    `nonspecific` is reached by undiluted serum of factor 1 and is half of that at `nonspecific_half` (dilution).
    """

    saturated: float = 12_000.0
    nonspecific: float = 2_000.0
    nonspecific_half: float = 25.0
    secondary: float = 110.0
    captured: float = 22_000.0
    captured_share: float = 0.60
    captured_spread: float = 0.50


def occupancy(clones: tuple[Clone, ...], concentration: float) -> float:
    """Share of antigen occupied at a concentration (after dilution): the clones' one-site laws, by share."""
    return sum((c.share * concentration / (concentration + c.kd) for c in clones), 0.0)


def half_concentration(clones: tuple[Clone, ...]) -> float:
    """The concentration at which `occupancy` is one half; it lies between the clones' constants."""
    low, high = min(c.kd for c in clones), max(c.kd for c in clones)
    for _ in range(100):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if occupancy(clones, middle) < 0.5 else (low, middle)
    return math.sqrt(low * high)


def bound_signal(particles: Particles, serum: Serum | None, dilution: float, bright: Brightness) -> Values:
    """Light of the secondary on each particle at full strength, without autofluorescence, shape (m,).

    Non-specific binding and the secondary's own follow the surface, whether the cell expresses or not.
    """
    everywhere = bright.secondary
    specific = 0.0
    if serum is not None:
        everywhere += serum.nonspecific * bright.nonspecific / (1 + dilution / bright.nonspecific_half)
        specific = bright.saturated * occupancy(serum.clones, serum.concentration / dilution)
    return everywhere * particles.stickiness + specific * particles.antigen


def captured_signal(rng: np.random.Generator, particles: Particles, bright: Brightness) -> Values:
    """Light of cells coated with human IgG for a single stain, some of them left without, shape (m,)."""
    coated = rng.random(len(particles)) < bright.captured_share
    level = bright.captured * np.exp(bright.captured_spread * rng.standard_normal(len(particles)))
    return (np.where(coated, level, 0.0) + bright.secondary) * particles.surface
