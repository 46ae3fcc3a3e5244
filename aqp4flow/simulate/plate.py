"""One plate a patient: which well holds what, and what the day was like."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from aqp4flow.model import Role
from aqp4flow.simulate.binding import Serum
from aqp4flow.simulate.cohort import Patient, negative_sera, positive_serum, reference_serum, sera_of
from aqp4flow.simulate.cytometer import DETECTORS
from aqp4flow.simulate.streams import Subject, stream

DILUTIONS = (20.0, 80.0, 320.0, 1280.0, 5120.0, 20480.0)
REFERENCE_DILUTIONS = tuple(20.0 * 3**step for step in range(8))
SCREENING_DILUTION = 20.0
POSITIVE_DILUTION = 80.0
_FIRST_DAY = date(2014, 3, 3)
_COLUMNS = 12


def well_name(index: int, columns: int) -> str:
    """The well of an index from 0, row by row on a plate of so many columns, as `B07`."""
    row, column = divmod(index, columns)
    return f"{chr(ord('A') + row)}{column + 1:02d}"


@dataclass(frozen=True)
class WellPlan:
    """What goes into one well; `index` counts wells in the order they are acquired, from 0."""

    index: int
    role: Role
    serum: Serum | None = None
    dilution: float | None = None
    replicate: int | None = None
    dye: str = ""

    @property
    def name(self) -> str:
        """The well, as `B07`."""
        return well_name(self.index, _COLUMNS)

    @property
    def file(self) -> str:
        """The name FACSDiva gives to an HTS export: tube unpadded, well padded."""
        return f"Specimen_001_{self.name[0]}{int(self.name[1:])}_{self.name}.fcs"


@dataclass(frozen=True)
class Day:
    """What all wells of a plate share: transfection, brightness, and a slow drift of the red laser.

    `drift` is the change of gain from the first well to the last; `reporter` and `staining` are factors around 1.
    """

    transfected: float
    reporter: float
    staining: float
    drift: float


@dataclass(frozen=True)
class PlatePlan:
    """One plate: its number from 1, its wells in the order of acquisition, and its day."""

    number: int
    wells: tuple[WellPlan, ...]
    day: Day

    @property
    def name(self) -> str:
        """The plate's folder and name, as `P001`."""
        return f"P{self.number:03d}"

    @property
    def date(self) -> date:
        """One plate a day, weekends off."""
        weeks, weekday = divmod(self.number - 1, 5)
        return _FIRST_DAY + timedelta(weeks=weeks, days=weekday)

    @property
    def sera(self) -> tuple[Serum, ...]:
        """The sera on the plate, each once, in the order of the wells."""
        return tuple({well.serum.name: well.serum for well in self.wells if well.serum}.values())

    def gain(self, well: WellPlan) -> float:
        """Signal gain when this well is acquired; 1 in the middle of the plate."""
        return 1.0 + self.day.drift * (well.index / (len(self.wells) - 1) - 0.5)


def plan_plate(patient: Patient, seed: int) -> PlatePlan:
    """The plate of one patient: all visits side by side, with the controls that every plate has."""
    contents = [*_patient_wells(patient, seed), *_control_wells(seed), *_cytometer_controls()]
    # Where a well lies follows from the order alone.
    wells = tuple(
        WellPlan(index, role, serum, dilution, replicate, dye)
        for index, (role, serum, dilution, replicate, dye) in enumerate(contents)
    )
    return PlatePlan(patient.number, wells, _draw_day(seed, patient.number))


_Content = tuple[Role, Serum | None, float | None, int | None, str]


def _patient_wells(patient: Patient, seed: int) -> list[_Content]:
    """A visit a row: six dilutions, then the same six again."""
    return [
        (Role.SAMPLE, serum, dilution, replicate, "")
        for serum in sera_of(patient, seed)
        for replicate in (1, 2)
        for dilution in DILUTIONS
    ]


def _control_wells(seed: int) -> list[_Content]:
    positive, reference = positive_serum(seed), reference_serum(seed)
    contents: list[_Content] = [(Role.NEGATIVE, serum, SCREENING_DILUTION, 1, "") for serum in negative_sera(seed)]
    contents += [(Role.POSITIVE, positive, POSITIVE_DILUTION, replicate, "") for replicate in (1, 2)]
    contents += [(Role.REFERENCE, reference, dilution, 1, "") for dilution in REFERENCE_DILUTIONS]
    return contents


def _cytometer_controls() -> list[_Content]:
    contents: list[_Content] = [(Role.SECONDARY_ONLY, None, None, replicate, "") for replicate in (1, 2, 3)]
    contents += [(Role.UNSTAINED, None, None, replicate, "") for replicate in (1, 2)]
    contents += [(Role.SINGLE_STAIN, None, None, 1, dye) for dye in DETECTORS]
    return contents


def _draw_day(seed: int, number: int) -> Day:
    rng = stream(seed, Subject.PLATE, number)
    return Day(
        transfected=float(rng.uniform(0.46, 0.59)),
        reporter=float(np.exp(0.10 * rng.standard_normal())),
        staining=float(np.exp(0.08 * rng.standard_normal())),
        drift=float(rng.choice([-1.0, 1.0]) * rng.uniform(0.025, 0.035)),
    )
