"""The reading level: plates of medians through everything that comes after wells.csv."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from aqp4flow.accuracy.verdicts import Verdicts, judge
from aqp4flow.assay.definition import Assay
from aqp4flow.assay.readout import with_shift
from aqp4flow.cytometry.gates import GateChannels
from aqp4flow.cytometry.measure import median_ranks
from aqp4flow.gating import OwnGates
from aqp4flow.model import Reading
from aqp4flow.pipeline import titrate_plate
from aqp4flow.plate import Plate, Setting
from aqp4flow.simulate.readings import ReadPlate, read_plates
from aqp4flow.simulate.scenario import Scenario
from aqp4flow.spill import Spill
from aqp4flow.wells import PlateWells

CONFIDENCE = 0.99  # of Frey's limit, unless a scenario says otherwise: the product's default


def definition(scenario: Scenario) -> Assay:
    """The assay of a scenario: defaults, and what the scenario varies."""
    plain: dict[str, dict[str, Any]] = {
        "assay": {"antigen": "simulated"},
        "channels": {"reporter": "FITC-A", "signal": "APC-A"},
    }
    return Assay.model_validate({**plain, **scenario.settings})


def frey_factor(n: int) -> float:
    """What Frey's rule adds to the mean of n negatives, in standard deviations (one-sided 99 %)."""
    from scipy.stats import t

    return float(t.ppf(CONFIDENCE, n - 1)) * math.sqrt(1 + 1 / n)


def reading_verdicts(scenario: Scenario, plates: int, seed: int) -> list[Verdicts]:
    """Make plates of a scenario and judge them."""
    assay = definition(scenario)
    made = read_plates(scenario, plates, seed, median_ranks, frey_factor)
    return [
        judge(scenario.name, plate.planted, titrate_plate(_wells(plate, assay), curves=False), seed) for plate in made
    ]


def _wells(plate: ReadPlate, assay: Assay) -> PlateWells:
    """A plate of a scenario as one that was measured."""
    return measured(plate.planted.name, plate.readings, assay)


def measured(name: str, read: Sequence[Reading], assay: Assay) -> PlateWells:
    """Readings as a plate that was measured."""
    readings = tuple(with_shift(reading) for reading in read)
    setting = Setting(assay, GateChannels("FSC-A", "SSC-A", reporter="FITC-A"), "APC-A", None, None)
    whole = Plate(name, tuple(reading.well for reading in readings), {})
    return PlateWells(whole, setting, OwnGates((), {}), readings, (), (), (), Spill(None))
