"""One well, from the pipette to the numbers, together with what is true about it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from aqp4flow.model import NAN, Role, Values
from aqp4flow.simulate.binding import Brightness, Stain, bound_signal, captured_signal
from aqp4flow.simulate.cells import Expression, Mask, Mix, Particles, Tube, draw_tube
from aqp4flow.simulate.cytometer import REPORTER, SIGNAL, VIABILITY, Acquisition, Cytometer, acquire
from aqp4flow.simulate.plate import Day, PlatePlan, WellPlan
from aqp4flow.simulate.streams import Subject, stream

EVENTS_PER_WELL = 5_000.0
_EVENTS_SPREAD = 0.06  # log standard deviation of the number of events in the volume drawn from a well
_PIPETTING = 0.05  # log standard deviation of a dilution
_STAINING = 0.04  # log standard deviation of the secondary's strength
_TRANSFECTED_SPREAD = 0.012  # standard deviation of the transfected share between wells of a plate

_STAINS = {
    Role.UNSTAINED: Stain(secondary=False, viability=False),
    (Role.SINGLE_STAIN, REPORTER): Stain(secondary=False, viability=False),
    (Role.SINGLE_STAIN, VIABILITY): Stain(secondary=False, viability=True),
    (Role.SINGLE_STAIN, SIGNAL): Stain(secondary=False, viability=False, capture=True),
}


@dataclass(frozen=True)
class Errors:
    """What went wrong by chance: factors on the dilution and on the secondary's strength."""

    dilution: float
    staining: float


@dataclass(frozen=True)
class SimulatedWell:
    """A well's tube (with the true labels), its numbers, and the errors that were made."""

    plan: WellPlan
    tube: Tube
    acquisition: Acquisition
    errors: Errors
    gain: float

    @property
    def expressing(self) -> Mask:
        """Live single transfected events, dim ones among them, shape (n_events,)."""
        return self.tube.live_single & self.tube.expressing

    @property
    def nonexpressing(self) -> Mask:
        """Live single events that are not transfected, shape (n_events,)."""
        return self.tube.live_single & ~self.tube.expressing

    @property
    def bright(self) -> Mask:
        """Live single transfected events without the dim shoulder, shape (n_events,)."""
        return self.expressing & ~self.tube.particles.dim[: len(self.tube)]

    def clean_median(self, events: Mask) -> float:
        """Median signal before spillover, noise and clipping, in detector units; NaN without events."""
        return float(np.median(self.acquisition.clean_signal[events])) if events.any() else NAN


def simulate_well(plate: PlatePlan, plan: WellPlan, size: float, seed: int) -> SimulatedWell:
    """One well; its random numbers depend on (seed, plate, well) alone, not on what was simulated before."""
    rng = stream(seed, Subject.WELL, plate.number, plan.index)
    n_events = int(rng.poisson(EVENTS_PER_WELL * size * np.exp(_EVENTS_SPREAD * rng.standard_normal())))
    errors = Errors(*(float(factor) for factor in np.exp([_PIPETTING, _STAINING] * rng.standard_normal(2))))
    mix, expression = _cells(rng, plan, plate.day)
    tube = draw_tube(rng, n_events, mix, expression)
    stain = _STAINS.get(plan.role) or _STAINS.get((plan.role, plan.dye)) or Stain()
    stain = replace(stain, strength=errors.staining * plate.day.staining)
    dyes = _dyes(rng, tube.particles, plan, stain, errors.dilution)
    acquisition = acquire(rng, tube, dyes, plate.gain(plan), Cytometer())
    return SimulatedWell(plan, tube, acquisition, errors, plate.gain(plan))


def _cells(rng: np.random.Generator, plan: WellPlan, day: Day) -> tuple[Mix, Expression]:
    """The cells pipetted into this well: single stains of the other dyes hold untransfected cells."""
    share = float(np.clip(day.transfected + _TRANSFECTED_SPREAD * rng.standard_normal(), 0.0, 1.0))
    base = Expression()
    expression = replace(base, level=base.level * day.reporter, dim_level=base.dim_level * day.reporter)
    if plan.dye == VIABILITY:
        return Mix(dead=0.45, debris=0.15, doublets=0.04, transfected=0.0), expression
    return Mix(transfected=0.0 if plan.dye == SIGNAL else share), expression


def _dyes(
    rng: np.random.Generator, particles: Particles, plan: WellPlan, stain: Stain, dilution_error: float
) -> Values:
    """Light of GFP, viability dye and secondary on each particle, shape (m, 3)."""
    bright = Brightness()
    light = np.zeros((len(particles), 3))
    light[:, 0] = particles.reporter
    if stain.viability:
        light[:, 1] = particles.viability
    if stain.capture:
        light[:, 2] = captured_signal(rng, particles, bright)
    elif stain.secondary:
        dilution = (plan.dilution or 1.0) * dilution_error
        light[:, 2] = stain.strength * bound_signal(particles, plan.serum, dilution, bright)
    return light
