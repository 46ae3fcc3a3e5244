"""Reading level: medians of wells with their limits, drawn without events.

Well medians are drawn as the order statistics that they are: the gaps between uniform order statistics are shares of
independent gamma variables, and a quantile function turns them into light. Nothing here knows how an analysis makes
limits; the ranks that bound a median are asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from aqp4flow.model import Estimate, Reading, Role, Values, Well
from aqp4flow.simulate.binding import Serum, occupancy
from aqp4flow.simulate.scenario import (
    SCREENING,
    PlantedPlate,
    PlantedSerum,
    Scenario,
    nonspecific,
    nonspecific_law,
    planted_sera,
    true_titer,
)

Ranks = Callable[[int], "tuple[int, int] | None"]
#: What a rule adds to the mean of the negatives, in their standard deviations.
Rule = Callable[[int], float]

SATURATED, EVERYWHERE, EVERYWHERE_HALF, SECONDARY = 12_000.0, 2_000.0, 25.0, 150.0
_SPREAD_DARK, _SPREAD_BRIGHT = 0.45, 0.75  # log standard deviations of the light of cells
_DAY = 0.10  # of the whole plate
_POPULATION = 40_000  # negatives drawn to know the law of their read-outs


@dataclass(frozen=True)
class ReadPlate:
    """One plate at the reading level: what was planted and what its wells read."""

    planted: PlantedPlate
    readings: tuple[Reading, ...]


@dataclass(frozen=True)
class _Binding:
    """A serum with what it alone has: a shift between populations that is not specific, as a share of usual light."""

    serum: Serum
    shift: float

    def medians(self, dilution: float) -> tuple[float, float]:
        """True medians of expressing and non-expressing cells at a dilution, of a day of strength 1."""
        usual = EVERYWHERE / (1 + dilution / EVERYWHERE_HALF)
        dark = SECONDARY + self.serum.nonspecific * usual
        bright = dark + self.shift * usual
        return bright + SATURATED * occupancy(self.serum.clones, self.serum.concentration / dilution), dark


def read_plates(scenario: Scenario, plates: int, seed: int, ranks: Ranks, rule: Rule) -> list[ReadPlate]:
    """Plates of a scenario. `ranks` bound the median of n events; `rule(n)` is the factor of the cut-off."""
    rng = np.random.default_rng([seed, *scenario.name.encode()])
    limit = _true_cutoff(rng, scenario, rule)
    return [_plate(rng, scenario, f"R{number:03d}", limit, ranks) for number in range(1, plates + 1)]


def _true_cutoff(rng: np.random.Generator, scenario: Scenario, rule: Rule) -> float:
    """The rule's cut-off of endlessly many negatives, on a day of strength 1: mean + factor SD of what wells read."""
    if scenario.fixed is not None:
        return scenario.fixed
    factors = nonspecific_law(scenario, _POPULATION)
    usual = EVERYWHERE / (1 + SCREENING / EVERYWHERE_HALF)
    dark = SECONDARY + factors * usual
    bright = dark + usual * own_shifts(rng, scenario, _POPULATION)
    strength = np.exp(scenario.well_error * rng.standard_normal(_POPULATION))
    n_bright = scenario.events * scenario.transfected
    n_dark = scenario.events - n_bright
    # the median of n events is all but normal, on the scale on which the events are
    t = strength * bright * np.exp(math.sqrt(math.pi / 2 / n_bright) * _SPREAD_DARK * rng.standard_normal(_POPULATION))
    n = strength * dark * np.exp(math.sqrt(math.pi / 2 / n_dark) * _SPREAD_DARK * rng.standard_normal(_POPULATION))
    read = t - n if scenario.decide == "delta" else t / n
    return float(np.mean(read) + rule(scenario.negatives) * np.std(read))


def own_shifts(rng: np.random.Generator, scenario: Scenario, count: int) -> Values:
    """What is not specific and yet on expressing cells only, of many sera: half a spread on average."""
    law = rng.standard_exponential(count) - 0.5 if scenario.skewed else rng.standard_normal(count) + 0.5
    return np.asarray(scenario.own_shift * law, np.float64)


def _plate(rng: np.random.Generator, scenario: Scenario, name: str, limit: float, ranks: Ranks) -> ReadPlate:
    day = math.exp(_DAY * rng.standard_normal())
    cutoff = limit * day if scenario.decide == "delta" and scenario.fixed is None else limit
    sera = planted_sera(rng, scenario)
    shifts = {serum.patient: float(own_shifts(rng, scenario, 1)[0]) for serum in sera}
    bindings = [_Binding(serum, shifts[serum.patient]) for serum in sera]
    planted = [_planted(binding, scenario, day, cutoff) for binding in bindings]
    wells = _Wells(rng, scenario, name, day, ranks)
    for binding in bindings:
        wells.series(binding, scenario.ladder, scenario.replicates)
    for number in range(1, scenario.negatives + 1):
        serum = Serum(f"NEG{number:02d}", Role.NEGATIVE, 0.0, nonspecific(rng, scenario))
        wells.series(_Binding(serum, float(own_shifts(rng, scenario, 1)[0])), (SCREENING,), 1)
    blind = Serum("BLIND", Role.SAMPLE, 0.0, nonspecific(rng, scenario))  # one further negative, not told as such
    binding = _Binding(blind, float(own_shifts(rng, scenario, 1)[0]))
    wells.series(binding, (SCREENING,), 1)
    planted.append(replace(_planted(binding, replace(scenario, ladder=(SCREENING,)), day, cutoff), titer=math.nan))
    return ReadPlate(PlantedPlate(name, tuple(planted), cutoff), tuple(wells.made))


def _planted(binding: _Binding, scenario: Scenario, day: float, cutoff: float) -> PlantedSerum:
    medians = [binding.medians(dilution) for dilution in scenario.ladder]

    def readout(dilution: float) -> float:
        bright, dark = binding.medians(dilution)
        return day * (bright - dark) if scenario.decide == "delta" else bright / dark

    serum = binding.serum
    return PlantedSerum(
        serum.name, serum.role, serum.patient, serum.concentration, scenario.ladder,
        tuple(day * bright for bright, _ in medians), tuple(day * dark for _, dark in medians),
        true_titer(readout, scenario.ladder, cutoff) if len(scenario.ladder) > 1 else math.nan,
    )  # fmt: skip


class _Wells:
    """_Wells of one plate, as they are read one after another."""

    def __init__(self, rng: np.random.Generator, scenario: Scenario, plate: str, day: float, ranks: Ranks) -> None:
        self.rng, self.scenario, self.plate, self.day, self.ranks = rng, scenario, plate, day, ranks
        self.made: list[Reading] = []

    def series(self, binding: _Binding, ladder: tuple[float, ...], replicates: int) -> None:
        """A serum at all its dilutions; each replicate is a dilution series of its own."""
        for replicate in range(1, replicates + 1):
            off = 1.0
            for dilution in ladder:
                error = math.exp(self.scenario.pipetting * self.rng.standard_normal())
                off = off * error if self.scenario.carried else error
                self.made.append(self._read(binding, dilution, dilution * off, str(replicate)))

    def _read(self, binding: _Binding, nominal: float, dilution: float, replicate: str) -> Reading:
        number = len(self.made)
        well = Well(self.plate, f"W{number:03d}", f"W{number:03d}.fcs", binding.serum.role, binding.serum.name, "",
                    nominal, replicate)  # fmt: skip
        strength = self.day * math.exp(self.scenario.well_error * self.rng.standard_normal())
        bright, dark = binding.medians(dilution)
        specific = (bright - dark) / bright
        spread = _SPREAD_DARK + (_SPREAD_BRIGHT - _SPREAD_DARK) * max(0.0, specific)
        n_bright = self._count(self.scenario.events * self.scenario.transfected)
        n_dark = self._count(self.scenario.events * (1 - self.scenario.transfected))
        counts = {"expressing": n_bright, "nonexpressing": n_dark}
        return Reading(
            well, n_bright + n_dark, counts,
            self._median(n_bright, strength * bright, spread), self._median(n_dark, strength * dark, _SPREAD_DARK),
        )  # fmt: skip

    def _count(self, expected: float) -> int:
        """An odd number of events, so that the median is one of them."""
        return int(self.rng.poisson(expected)) | 1

    def _median(self, n: int, median: float, spread: float) -> Estimate:
        """The median of n log-normal events with the order statistics that bound it."""
        bounds = self.ranks(n)
        middle = (n - 1) // 2
        if bounds is None:
            return Estimate(median * float(np.exp(spread * _normal_quantile(self.rng.beta(middle + 1, n - middle)))))
        low, high = bounds
        gaps = self.rng.gamma([low + 1, middle - low, high - middle, n - high])
        light = median * np.exp(spread * _normal_quantile(np.cumsum(gaps)[:3] / gaps.sum()))
        return Estimate(float(light[1]), float(light[0]), float(light[2]))


@dataclass(frozen=True)
class Series:
    """A serum as it is put on a plate: its own shift, its dilutions, how often each."""

    serum: Serum
    shift: float
    dilutions: tuple[float, ...]
    replicates: int = 1


def read_series(
    rng: np.random.Generator, scenario: Scenario, plate: str, day: float, ranks: Ranks, series: Iterable[Series]
) -> tuple[Reading, ...]:
    """What the wells of one plate read; `day` is how strongly its secondary stained."""
    wells = _Wells(rng, scenario, plate, day, ranks)
    for one in series:
        wells.series(_Binding(one.serum, one.shift), one.dilutions, one.replicates)
    return tuple(wells.made)


def _normal_quantile(p: Values | float) -> Values:
    from scipy.special import ndtri

    return np.asarray(ndtri(p), np.float64)
