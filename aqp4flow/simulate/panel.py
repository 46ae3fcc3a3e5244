"""Event level: plates of a scenario as FCS files, with what is true of their sera.

True medians are those of a large tube of live single cells of the plate's own day, stained as meant and at the nominal
dilution. The true cut-off follows from the law of the negatives' read-outs: their binding differs between sera, and a
median of n cells errs by 1 / (2 f sqrt n), f the density of the light there.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from aqp4flow.fcs import fcs_bytes
from aqp4flow.model import Role, Values
from aqp4flow.simulate.binding import Brightness, Clone, Serum, bound_signal
from aqp4flow.simulate.cells import Expression, Mix, draw_tube
from aqp4flow.simulate.cytometer import CHANNELS, SPILLOVER, Cytometer, acquire
from aqp4flow.simulate.plate import well_name
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

STRENGTHS = (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)  # half dilutions of weak sera
WEAK_OF_EACH, BLIND = 6, 40
_POOL = 20_000
_MIX = Mix()
_LIVE_SINGLE = 1 - _MIX.debris - _MIX.dead - _MIX.doublets
_COLUMNS = 24


@dataclass(frozen=True)
class PanelWell:
    """What goes into one well of a 384-well plate; `index` counts from 0."""

    index: int
    role: Role
    serum: Serum | None = None
    dilution: float | None = None
    replicate: int = 1

    @property
    def name(self) -> str:
        """The well, as `B07`."""
        return well_name(self.index, _COLUMNS)


@dataclass(frozen=True)
class Panel:
    """One plate: what is planted, and its files as (name, bytes)."""

    planted: PlantedPlate
    files: Callable[[], Iterator[tuple[str, bytes]]]


@dataclass(frozen=True)
class _Day:
    transfected: float
    reporter: float
    staining: float

    @property
    def expression(self) -> Expression:
        base = Expression()
        return replace(base, level=base.level * self.reporter, dim_level=base.dim_level * self.reporter)


def titration_panel(scenario: Scenario, number: int, seed: int, rule: Callable[[int], float]) -> Panel:
    """Plate `number` of a scenario: eight sera titrated, negatives, wells without serum."""
    rng = np.random.default_rng([seed, number, *scenario.name.encode()])
    day = _draw_day(rng, scenario)
    sera = planted_sera(rng, scenario)
    contents = [
        (serum, dilution, replicate)
        for serum in sera
        for replicate in range(1, scenario.replicates + 1)
        for dilution in scenario.ladder
    ]
    return _panel(rng, scenario, f"E{number:03d}", day, (sera, contents), rule)


def calls_panel(scenario: Scenario, number: int, seed: int, rule: Callable[[int], float]) -> Panel:
    """Plate `number` of a screening: forty negatives and 36 weak sera, not told apart, each in one well at 1:20."""
    rng = np.random.default_rng([seed, number, *b"calls", *scenario.name.encode()])
    day = _draw_day(rng, scenario)
    clones = (Clone(1.0, 1.0),)
    planted = [0.0] * BLIND + [strength for strength in STRENGTHS for _ in range(WEAK_OF_EACH)]
    sera = [
        Serum(f"B{i:02d}", Role.SAMPLE, strength, nonspecific(rng, scenario), clones if strength else ())
        for i, strength in enumerate(planted, 1)
    ]
    contents = [(serum, SCREENING, 1) for serum in sera]
    return _panel(rng, replace(scenario, ladder=(SCREENING,)), f"C{number:03d}", day, (sera, contents), rule)


def _panel(
    rng: np.random.Generator,
    scenario: Scenario,
    name: str,
    day: _Day,
    planned: tuple[list[Serum], list[tuple[Serum, float, int]]],
    rule: Callable[[int], float],
) -> Panel:
    sera, contents = planned
    negatives = [
        Serum(f"NEG{i:02d}", Role.NEGATIVE, 0.0, nonspecific(rng, scenario)) for i in range(1, scenario.negatives + 1)
    ]
    wells = [PanelWell(0, serum.role, serum, dilution, replicate) for serum, dilution, replicate in contents]
    wells += [PanelWell(0, Role.NEGATIVE, serum, SCREENING) for serum in negatives]
    wells += [PanelWell(0, Role.SECONDARY_ONLY, replicate=i) for i in (1, 2, 3)]
    wells = [replace(well, index=index) for index, well in enumerate(wells)]
    pool = _Pool(rng, day)
    cutoff = scenario.fixed or _true_cutoff(rng, scenario, pool, rule(scenario.negatives))
    planted = PlantedPlate(name, tuple(_planted(serum, scenario, pool, cutoff) for serum in sera), cutoff)
    start = int(rng.integers(2**63))
    return Panel(planted, partial(_files, scenario, name, day, wells, start))


def _draw_day(rng: np.random.Generator, scenario: Scenario) -> _Day:
    share = scenario.transfected * math.exp(0.06 * rng.standard_normal())
    return _Day(share, math.exp(0.10 * rng.standard_normal()), math.exp(0.08 * rng.standard_normal()))


# --- truth ------------------------------------------------------------------------------------------


class _Pool:
    """Many live single cells of one day, without errors of a well: what medians are true.

    Cells bind what is not specific whether they express or not, so the same cells stand for both populations, with and
    without their antigen: chance in drawing them is then not in a difference.
    """

    def __init__(self, rng: np.random.Generator, day: _Day) -> None:
        tube = draw_tube(rng, _POOL, Mix(0.0, 0.0, 0.0, 1.0), day.expression)
        self.particles, self.day = tube.particles, day
        self.own = self.particles.autofluorescence * Cytometer().autofluorescence[2]

    def light(self, serum: Serum, dilution: float) -> tuple[Values, Values]:
        """Light in the signal channel of expressing and of other cells."""
        both = (serum, replace(serum, concentration=0.0, clones=()))
        bright, dark = (
            self.day.staining * bound_signal(self.particles, one, dilution, Brightness()) + self.own for one in both
        )
        return bright, dark

    def medians(self, serum: Serum, dilution: float) -> tuple[float, float]:
        """True medians of both populations."""
        bright, dark = self.light(serum, dilution)
        return float(np.median(bright)), float(np.median(dark))


def _planted(serum: Serum, scenario: Scenario, pool: _Pool, cutoff: float) -> PlantedSerum:
    def readout(dilution: float) -> float:
        bright, dark = pool.medians(serum, dilution)
        return bright - dark if scenario.decide == "delta" else bright / dark

    medians = [pool.medians(serum, dilution) for dilution in scenario.ladder]
    return PlantedSerum(
        serum.name, serum.role, serum.patient, serum.concentration, scenario.ladder,
        tuple(bright for bright, _ in medians), tuple(dark for _, dark in medians),
        true_titer(readout, scenario.ladder, cutoff) if len(scenario.ladder) > 1 else math.nan,
    )  # fmt: skip


def _true_cutoff(rng: np.random.Generator, scenario: Scenario, pool: _Pool, factor: float) -> float:
    """Mean + factor SD of what one well of a negative serum reads, over sera, counting and errors of the well."""
    n = (scenario.events * pool.day.transfected, scenario.events * (1 - pool.day.transfected))
    reads, variances = [], []
    for factor_of_serum in nonspecific_law(scenario, 20):
        both = pool.light(Serum("", Role.NEGATIVE, 0.0, float(factor_of_serum)), SCREENING)
        bright, dark = (float(np.median(light)) for light in both)
        a, b = (_error_of_median(rng, light, count) for light, count in zip(both, n, strict=True))
        if scenario.decide == "delta":
            reads.append(bright - dark)
            variances.append((a**2 + b**2) * math.exp(2 * scenario.well_error**2))
        else:
            reads.append(bright / dark)
            variances.append((bright / dark) ** 2 * ((a / bright) ** 2 + (b / dark) ** 2))
    return float(np.mean(reads) + factor * math.sqrt(np.var(reads) + np.mean(variances)))


def _error_of_median(rng: np.random.Generator, light: Values, count: float) -> float:
    """1 / (2 f sqrt n), f from the distance of the 45th and 55th percentiles, as the detector sees them."""
    cytometer = Cytometer()
    noise = np.sqrt(light / cytometer.photoelectrons[2] + cytometer.electronic_noise[2] ** 2)
    low, high = np.percentile(light + noise * rng.standard_normal(len(light)), (45, 55))
    return float(high - low) / 0.10 / 2 / math.sqrt(count)


# --- files ------------------------------------------------------------------------------------------


def _files(scenario: Scenario, name: str, day: _Day, wells: list[PanelWell], start: int) -> Iterator[tuple[str, bytes]]:
    table = io.StringIO()
    table.write("well,file,role,serum,dilution,replicate\n")
    carried: dict[tuple[str, int], float] = {}
    for well in wells:
        serum = well.serum.name if well.serum else ""
        dilution = f"{well.dilution:g}" if well.dilution else ""
        table.write(f"{well.name},{well.name}.fcs,{well.role.value},{serum},{dilution},{well.replicate}\n")
        rng = np.random.default_rng([start, well.index])
        off = math.exp(scenario.pipetting * rng.standard_normal())
        if scenario.carried:
            off *= carried.get((serum, well.replicate), 1.0)
            carried[serum, well.replicate] = off
        yield f"{well.name}.fcs", _fcs(rng, scenario, name, day, well, off)
    yield "plate.csv", table.getvalue().encode()


def _fcs(rng: np.random.Generator, scenario: Scenario, plate: str, day: _Day, well: PanelWell, off: float) -> bytes:
    """One well as an FCS 3.1 file with the true matrix."""
    share = min(1.0, max(0.0, day.transfected + 0.01 * rng.standard_normal()))
    strength = day.staining * math.exp(scenario.well_error * rng.standard_normal())
    tube = draw_tube(rng, int(rng.poisson(scenario.events / _LIVE_SINGLE)), replace(_MIX, transfected=share),
                     day.expression)  # fmt: skip
    particles = tube.particles
    signal = strength * bound_signal(particles, well.serum, (well.dilution or 1.0) * off, Brightness())
    acquisition = acquire(rng, tube, np.column_stack([particles.reporter, particles.viability, signal]), 1.0,
                          Cytometer())  # fmt: skip
    keywords = {
        "$FIL": f"{well.name}.fcs",
        "$CYT": "AQP4FLOW simulated cytometer",
        "$TIMESTEP": "0.01",
        "PLATE NAME": plate,
        "WELL ID": well.name,
        "AQP4FLOW SIMULATED": "yes",
    }
    return fcs_bytes(acquisition.values, CHANNELS, keywords, SPILLOVER)
