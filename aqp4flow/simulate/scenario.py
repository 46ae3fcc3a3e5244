"""Kinds of plates to be tried: what is varied, what is planted, and which kinds make up a grid.

A scenario is one cell of the difficulty grid. At the reading level medians of wells are planted, at the event level
cells and files; both plant the sera of `planted_sera`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from aqp4flow.model import Role, Values
from aqp4flow.simulate.binding import Clone, Serum, half_concentration

SCREENING = 20.0
_FOUR_FOLD = tuple(20.0 * 4**step for step in range(6))


@dataclass(frozen=True)
class Scenario:
    """One cell of the grid. Errors are standard deviations of natural logarithms.

    `events` are live single cells a well, `transfected` the share of them that expresses. `well_error` is a factor on
    all of a well's light of the secondary, `pipetting` one on its dilution; `carried` lets that error go on to all
    further dilutions of a series, as in serial dilution. `own_shift` is the spread between sera of light on expressing
    cells that is not specific, a share of what a usual serum binds non-specifically; its law is normal, or exponential
    where `skewed` (both reading level only). `strength` is the range of half dilutions, `settings` what the assay
    definition says of tables and keys. `events_too`: the cell is tried at the event level as well.
    """

    name: str
    ladder: tuple[float, ...] = _FOUR_FOLD
    replicates: int = 2
    events: int = 3000
    transfected: float = 0.52
    well_error: float = 0.06
    pipetting: float = 0.05
    carried: bool = False
    nonspecific: float = 1.0
    own_shift: float = 0.03
    skewed: bool = False
    negatives: int = 10
    clones: int = 1
    strength: tuple[float, float] = (0.15, 400.0)
    events_too: bool = True
    settings: dict[str, dict[str, str | float]] = field(default_factory=dict)

    @property
    def decide(self) -> str:
        """The read-out that meets the cut-off."""
        return str(self.settings.get("readout", {}).get("decide", "delta"))

    @property
    def fixed(self) -> float | None:
        """The cut-off where it is a number of the lab's own."""
        cutoff = self.settings.get("cutoff", {})
        if cutoff.get("rule") != "fixed":
            return None
        return float(cutoff["delta" if self.decide == "delta" else "ratio"])


@dataclass(frozen=True)
class PlantedSerum:
    """What is true of one serum on one plate, without the errors of its wells.

    `expressing` and `nonexpressing` are the true medians at each dilution of `dilutions`. `titer` is where the deciding
    read-out first falls to the true cut-off: 0 when it is not above it at the first dilution, infinite when it is at
    the last.
    """

    name: str
    role: Role
    patient: str
    concentration: float
    dilutions: tuple[float, ...]
    expressing: tuple[float, ...]
    nonexpressing: tuple[float, ...]
    titer: float = math.nan

    @property
    def deltas(self) -> tuple[float, ...]:
        """True delta at each dilution."""
        return tuple(t - n for t, n in zip(self.expressing, self.nonexpressing, strict=True))

    @property
    def ratios(self) -> tuple[float, ...]:
        """True ratio at each dilution."""
        return tuple(t / n for t, n in zip(self.expressing, self.nonexpressing, strict=True))


@dataclass(frozen=True)
class PlantedPlate:
    """What is true of one plate: its sera, and the cut-off that its rule would give from endlessly many negatives."""

    name: str
    sera: tuple[PlantedSerum, ...]
    cutoff: float


PATIENTS, VISITS = 4, ("M00", "M06")


def planted_sera(rng: np.random.Generator, scenario: Scenario) -> list[Serum]:
    """Four patients before and after treatment; all clones of a patient change together, so the fold is exact."""
    sera = []
    for number in range(1, PATIENTS + 1):
        clones = _clones(rng, scenario.clones)
        half = math.exp(rng.uniform(*np.log(scenario.strength)))
        fold = math.exp(rng.uniform(*np.log((0.05, 1.5))))
        for visit, change in zip(VISITS, (1.0, fold), strict=True):
            concentration = half * change * half_concentration(clones)
            name = f"S{number}-{visit}"
            sera.append(
                Serum(name, Role.SAMPLE, concentration, nonspecific(rng, scenario), clones, f"S{number}", visit)
            )
    return sera


_NONSPECIFIC = (math.log(0.45), math.log(2.25))  # five-fold between sera, whatever their patient


def nonspecific(rng: np.random.Generator, scenario: Scenario) -> float:
    """Non-specific binding of a serum, a factor around the scenario's."""
    return scenario.nonspecific * math.exp(rng.uniform(*_NONSPECIFIC))


def nonspecific_law(scenario: Scenario, count: int) -> Values:
    """Its law as `count` sera that stand for equal shares of all."""
    return np.asarray(scenario.nonspecific * np.exp(np.interp((np.arange(count) + 0.5) / count, (0, 1), _NONSPECIFIC)))


def _clones(rng: np.random.Generator, count: int) -> tuple[Clone, ...]:
    """One clone, or several with constants spread over two decades: a curve that is shallower than one site's."""
    if count == 1:
        return (Clone(1.0, 1.0),)
    shares = rng.dirichlet(np.full(count, 2.0))
    constants = 10.0 ** rng.uniform(-1.0, 1.0, count)
    return tuple(Clone(float(share), float(kd)) for share, kd in zip(shares, constants, strict=True))


def true_titer(readout: Callable[[float], float], ladder: Sequence[float], cutoff: float) -> float:
    """Dilution at which `readout` (of a dilution) first falls to the cut-off within the ladder, by halving.

    0 when it is not above it at the first dilution, infinite when it is above it everywhere.
    """
    fine = np.geomspace(ladder[0], ladder[-1], 8 * len(ladder))
    above = [readout(float(dilution)) > cutoff for dilution in fine]
    if not above[0]:
        return 0.0
    if all(above):
        return math.inf
    first = above.index(False)
    low, high = float(fine[first - 1]), float(fine[first])
    for _ in range(30):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if readout(middle) > cutoff else (low, middle)
    return math.sqrt(low * high)


# --- grids ----------------------------------------------------------------------------------------

PLAIN = Scenario("base")
_VARIED: tuple[Scenario, ...] = (
    PLAIN,
    replace(PLAIN, name="steps of 2", ladder=tuple(10.0 * 2**step for step in range(10))),
    replace(PLAIN, name="steps of 3", events_too=False, ladder=tuple(10.0 * 3**step for step in range(8))),
    replace(PLAIN, name="steps of 10", ladder=tuple(10.0**step for step in range(1, 6))),
    replace(PLAIN, name="mixed steps", ladder=(5.0, 10.0, 32.0, 100.0, 320.0, 1000.0, 10_000.0)),
    replace(PLAIN, name="1 replicate", replicates=1),
    replace(
        PLAIN,
        name="1 replicate, well_cv declared",
        events_too=False,
        replicates=1,
        settings={"titer": {"well_cv": 8.0}},
    ),
    replace(PLAIN, name="3 replicates", replicates=3),
    replace(PLAIN, name="a titer a replicate", events_too=False, settings={"titer": {"replicates": "separate"}}),
    replace(PLAIN, name="300 events", events=300),
    replace(PLAIN, name="12,000 events", events=12_000),
    replace(PLAIN, name="well error 5 %", events_too=False, well_error=0.04, pipetting=0.03),
    replace(PLAIN, name="well error 15 %", events_too=False, well_error=0.10, pipetting=0.11),
    replace(PLAIN, name="well error 25 %", well_error=0.18, pipetting=0.17),
    replace(PLAIN, name="error carried along", events_too=False, carried=True),
    replace(PLAIN, name="3 negatives", negatives=3),
    replace(PLAIN, name="20 negatives", events_too=False, negatives=20),
    replace(PLAIN, name="skewed negatives", events_too=False, skewed=True),
    replace(PLAIN, name="fixed cut-off", settings={"cutoff": {"rule": "fixed", "delta": 400.0, "ratio": 1.5}}),
    replace(PLAIN, name="ratio decides", settings={"readout": {"decide": "ratio"}}),
    replace(PLAIN, name="index decides", events_too=False, settings={"readout": {"decide": "index"}}),
    replace(PLAIN, name="non-specific x 4", nonspecific=4.0),
    replace(PLAIN, name="10 % transfected", transfected=0.10),
    replace(PLAIN, name="5 clones", clones=5),
)


@dataclass(frozen=True)
class Grid:
    """Scenarios, and how many plates of each are made at either level; `calls`: plates for negatives and weak sera;
    `cohorts`: how many studies of seven patients in each layout.
    """

    name: str
    scenarios: tuple[Scenario, ...]
    reading_plates: int
    event_plates: int
    calls: int
    cohorts: int = 0


GRIDS = {
    grid.name: grid
    for grid in (
        Grid("tiny", (PLAIN, replace(_VARIED[3], events=600)), 6, 1, 1, 2),
        Grid("readings", _VARIED, 250, 0, 0),
        Grid("standard", _VARIED, 250, 4, 12),
        Grid("cohort", (), 0, 0, 0, 500),
    )
}
