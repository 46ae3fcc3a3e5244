"""Light to numbers: detectors, spillover, photon and electronic noise, the top of the range, time."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aqp4flow.model import Channel, Spillover, Values
from aqp4flow.simulate.cells import Tube

REPORTER, VIABILITY, SIGNAL = "FITC-A", "PerCP-Cy5-5-A", "APC-A"
DETECTORS = (REPORTER, VIABILITY, SIGNAL)
TOP = 262_143.0

CHANNELS = (
    Channel(1, "FSC-A", voltage=310.0),
    Channel(2, "FSC-H", voltage=310.0),
    Channel(3, "SSC-A", voltage=405.0),
    Channel(4, REPORTER, "GFP-AQP4", voltage=420.0),
    Channel(5, VIABILITY, "7AAD", voltage=515.0),
    Channel(6, SIGNAL, "anti-hIgG", voltage=560.0),
    Channel(7, "Time"),
)

#: Row = dye (GFP, 7AAD, anti-hIgG), column = detector: observed = true @ matrix.
SPILLOVER = Spillover(
    DETECTORS,
    np.array([[1.0, 0.032, 0.0010], [0.002, 1.0, 0.021], [0.0, 0.011, 1.0]]),
    "planted by the simulator",
)


@dataclass(frozen=True)
class Cytometer:
    """The instrument. Fluorescence triples follow DETECTORS; light, noise and scatter are in detector units."""

    forward: float = 85_000.0
    side: float = 40_000.0
    scatter_noise: float = 300.0
    height_ratio: float = 0.90
    height_spread: float = 0.030
    autofluorescence: tuple[float, float, float] = (190.0, 60.0, 40.0)
    photoelectrons: tuple[float, float, float] = (0.15, 0.08, 0.12)  # a detector unit
    electronic_noise: tuple[float, float, float] = (25.0, 40.0, 30.0)
    events_per_second: float = 500.0
    ticks_per_second: float = 100.0
    drift_in_well: float = 0.005
    spillover: Spillover = field(default=SPILLOVER)


@dataclass(frozen=True)
class Acquisition:
    """Numbers of one tube: `values` (n_events, 7) in the order of CHANNELS, `clean_signal` (n_events,).

    `clean_signal` is the light of the signal dye and autofluorescence, before spillover, noise and clipping.
    """

    values: NDArray[np.float32]
    clean_signal: Values
    seconds: float


def acquire(rng: np.random.Generator, tube: Tube, dyes: Values, gain: float, cytometer: Cytometer) -> Acquisition:
    """Run a tube: `dyes` is the light of each particle's dyes, shape (m, 3), in the order of DETECTORS.

    `gain` is the red laser's power against nominal; it acts on light before spillover, as a laser does.
    """
    n = len(tube)
    arrival = np.cumsum(rng.exponential(1 / cytometer.events_per_second, n))
    own = tube.particles.autofluorescence[:, None] * np.array(cytometer.autofluorescence)
    light = tube.summed(dyes + own)
    progress = arrival / arrival[-1] - 0.5 if n else arrival
    light[:, 2] *= gain * (1 + cytometer.drift_in_well * progress)
    clean = light[:, 2].copy()
    columns = [*_scatter(rng, tube, cytometer), _detected(rng, light, cytometer)]
    values = np.minimum(np.column_stack(columns), TOP)
    ticks = np.floor(arrival * cytometer.ticks_per_second)
    seconds = float(arrival[-1]) if n else 0.0
    return Acquisition(np.column_stack([values, ticks]).astype(np.float32), clean, seconds)


def _detected(rng: np.random.Generator, light: Values, cytometer: Cytometer) -> Values:
    """Spilled, counted as photoelectrons, amplified with noise: may be negative, shape (n, 3)."""
    efficiency = np.array(cytometer.photoelectrons)
    counted: Values = rng.poisson(light @ cytometer.spillover.matrix * efficiency) / efficiency
    noise: Values = rng.standard_normal(light.shape) * np.array(cytometer.electronic_noise)
    return counted + noise


def _scatter(rng: np.random.Generator, tube: Tube, cytometer: Cytometer) -> list[Values]:
    """FSC-A, FSC-H, SSC-A: areas of a doublet add, its height is little more than the higher cell's alone."""
    particles, n = tube.particles, len(tube)
    heights = particles.forward * np.exp(cytometer.height_spread * rng.standard_normal(len(particles)))
    height = heights[:n].copy()
    first, second = heights[tube.doublets], heights[tube.partners]
    # Cells one behind the other overlap little in the beam, cells side by side a good deal.
    overlap = rng.beta(1.2, 4.0, len(first))
    height[tube.doublets] = np.maximum(first, second) + overlap * np.minimum(first, second)
    area, side = tube.summed(particles.forward), tube.summed(particles.side)
    noise = cytometer.scatter_noise * rng.standard_normal((3, n))
    measured = (
        cytometer.forward * area,
        cytometer.forward * cytometer.height_ratio * height,
        cytometer.side * side,
    )
    return [np.maximum(clean + error, 0.0) for clean, error in zip(measured, noise, strict=True)]
