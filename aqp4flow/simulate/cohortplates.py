"""Cohorts at the level of readings: seven patients, five visits each, on plates of one day or of two.

Sera are those of the demo's cohort; what becomes of their concentrations is an arm. The arms of a layout are further
patients on the same plates. Plates differ by how strongly their secondary stained (a factor on all light of the
secondary) and by which sera are their negatives, so that their cut-offs differ; the reference and the positive control
lie on every plate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from aqp4flow.model import Followed, Reading, Role, TimePoint, Values, Visit
from aqp4flow.simulate.binding import Serum
from aqp4flow.simulate.cohort import MONTHS, PATIENTS, positive_serum, reference_serum, sera_of, visits_of
from aqp4flow.simulate.readings import Ranks, Series, own_shifts, read_series
from aqp4flow.simulate.scenario import SCREENING, Scenario, nonspecific

SCHEDULE = tuple(TimePoint(f"M{month:02d}", float(month)) for month in MONTHS)
LAW_OF_FALLS = (0.0, -0.75, -1.5, -2.25, -3.0)  # log2 over the baseline at each visit, where courses follow a law
_LAW_SD = 1.0  # log2, of one visit of one patient around that
_RELAPSES, _YEARS = 2.9, 1.0  # a patient and year, before and after alike; years on either side
_SECOND_PLATE_FROM = 2  # visits M03, M06 and M12 lie on the second plate


_TITER, _TITER_ERROR, _FOOT = 100.0, 0.15, 20.0  # titer over half dilution; its error, log2 SD; the first dilution


class Course(StrEnum):
    """What becomes of the patients: as planted in the demo, nothing, or a fall by one law for all."""

    PLANTED = "planted"
    NULL = "null"
    LAW = "law"


class Layout(StrEnum):
    """Where a patient's visits lie: on one plate of the patient's own; or the early ones on one plate and the late ones
    on another, the same for all patients (TIME), or the other way about for every second patient (CROSSED). VALUES has
    no plates: titers are drawn around the planted ones, and those below the ladder are known only to be so.
    """

    ONE = "one plate"
    CROSSED = "two plates"
    TIME = "two plates, by time"
    VALUES = "no plates"


@dataclass(frozen=True)
class Arm:
    """Seven patients. `noise` is what concentrations vary by from visit to visit although the patient does not change
    (log2 SD); `strength` a factor on every patient's baseline.
    """

    name: str
    course: Course
    noise: float = 0.0
    strength: float = 1.0


@dataclass(frozen=True)
class Plan:
    """Arms on the plates of one layout; `day` is the log SD of a plate's staining."""

    layout: Layout
    arms: tuple[Arm, ...]
    day: float = 0.20


_DECLINES = Arm("declines", Course.PLANTED)
_NOTHING = Arm("no change", Course.NULL, noise=0.3)
_WEAK = Arm("no change, weak sera", Course.NULL, noise=0.3, strength=0.008)
_LAW = Arm("falls by one law", Course.LAW, strength=0.03)
PLANS = (
    Plan(Layout.ONE, (_DECLINES, _NOTHING)),
    Plan(Layout.CROSSED, (_DECLINES, _NOTHING)),
    Plan(Layout.TIME, (_NOTHING,)),
    Plan(Layout.VALUES, (_WEAK, _LAW)),
)


@dataclass(frozen=True)
class Cohort:
    """One arm as planted: log2 `concentrations` (patients, visits), the visits in that order, and relapses."""

    arm: Arm
    concentrations: Values
    sera: tuple[tuple[Serum, ...], ...]
    visits: tuple[Visit, ...]
    followed: tuple[Followed, ...]

    @property
    def changes(self) -> Values:
        """True log2 of each visit's concentration over the baseline's, shape (patients, visits)."""
        return self.concentrations - self.concentrations[:, :1]

    @property
    def expected(self) -> float:
        """The mean log2 change at the last visit of patients like these: what limits of a mean are to hold."""
        law = {Course.NULL: 0.0, Course.LAW: LAW_OF_FALLS[-1]}
        return law.get(self.arm.course, float(self.changes[:, -1].mean()))

    @property
    def folds(self) -> dict[str, float]:
        """Serum -> true concentration over that of the patient's baseline."""
        return {v.serum: 2.0 ** float(c) for v, c in zip(self.visits, self.changes.ravel(), strict=True)}


@dataclass(frozen=True)
class CohortPlate:
    """One plate: its name and what its wells read."""

    name: str
    readings: tuple[Reading, ...]


def planted_cohort(arm: Arm, number: int, seed: int) -> Cohort:
    """Cohort `number` of an arm: the same patients on whatever plates they come to lie."""
    rng = np.random.default_rng([seed, number, *arm.name.encode()])
    own = int(rng.integers(2**31))
    plain = [sera_of(patient, own) for patient in PATIENTS]
    concentrations = _concentrations(rng, arm, plain)
    sera = tuple(
        tuple(_of_arm(serum, arm, float(c)) for serum, c in zip(course, row, strict=True))
        for course, row in zip(plain, concentrations, strict=True)
    )
    visits = tuple(
        replace(visit, patient=f"{arm.name}-{visit.patient}", serum=f"{arm.name}-{visit.serum}")
        for patient in PATIENTS
        for visit in visits_of(patient, own)
    )
    return Cohort(arm, concentrations, sera, visits, _followed(rng, arm))


def drawn_titers(cohort: Cohort, number: int, seed: int) -> tuple[Values, NDArray[np.int64]]:
    """log2 titers (patients, visits) around the planted ones, and -1 where only the foot of the ladder is known."""
    rng = np.random.default_rng([seed, number, *b"titers", *cohort.arm.name.encode()])
    true = np.log2([[_TITER * serum.half_dilution for serum in course] for course in cohort.sera])
    values = true + _TITER_ERROR * rng.standard_normal(true.shape)
    below = values < math.log2(_FOOT)
    return np.where(below, math.log2(_FOOT), values), np.where(below, -1, 0).astype(np.int64)


def _of_arm(serum: Serum, arm: Arm, log_concentration: float) -> Serum:
    return replace(
        serum,
        name=f"{arm.name}-{serum.name}",
        patient=f"{arm.name}-{serum.patient}",
        concentration=2.0**log_concentration,
    )


def _concentrations(rng: np.random.Generator, arm: Arm, sera: list[tuple[Serum, ...]]) -> Values:
    planted = np.log2([[serum.concentration for serum in course] for course in sera])
    baseline = planted[:, :1] + math.log2(arm.strength)
    own = rng.standard_normal(planted.shape)
    if arm.course is Course.LAW:
        return np.asarray(baseline + LAW_OF_FALLS + _LAW_SD * own)
    change = planted - planted[:, :1] if arm.course is Course.PLANTED else 0.0
    return np.asarray(baseline + change + arm.noise * own)


def _followed(rng: np.random.Generator, arm: Arm) -> tuple[Followed, ...]:
    """Relapses at one rate before and after, where nothing changes: what a test of rates should not find."""
    if arm.course is not Course.NULL:
        return ()
    counts = rng.poisson(_RELAPSES * _YEARS, (len(PATIENTS), 2))
    return tuple(
        Followed(f"{arm.name}-{patient.name}", patient.start.isoformat(), int(before), _YEARS, int(after), _YEARS)
        for patient, (before, after) in zip(PATIENTS, counts, strict=True)
    )


# --- plates -----------------------------------------------------------------------------------------------


def cohort_plates(
    plan: Plan, cohorts: tuple[Cohort, ...], where: tuple[int, int], wells: Scenario, ranks: Ranks
) -> list[CohortPlate]:
    """Plates of a plan with the sera of its arms' cohorts, which `where` numbers: (cohort, seed).

    `wells` says how plates are pipetted and how wells err, `ranks` bound the median of n events.
    """
    number, seed = where
    rng = np.random.default_rng([seed, number, *plan.layout.encode()])
    own = int(rng.integers(2**31))
    bench = _Bench(rng, wells, ranks, (reference_serum(own), positive_serum(own)))
    return [
        bench.plate(name, math.exp(plan.day * rng.standard_normal()), sera)
        for name, sera in _laid(plan.layout, cohorts)
    ]


def _laid(layout: Layout, cohorts: tuple[Cohort, ...]) -> list[tuple[str, list[Serum]]]:
    """Plates by name with the patients' sera that lie on them; the arms' patients of one number share plates."""
    courses = [[serum for cohort in cohorts for serum in cohort.sera[k]] for k in range(len(PATIENTS))]
    if layout is Layout.ONE:
        return [(f"{patient.name}-A", course) for patient, course in zip(PATIENTS, courses, strict=True)]
    early = {point.name for point in SCHEDULE[:_SECOND_PLATE_FROM]}
    plates: tuple[list[Serum], list[Serum]] = ([], [])
    for k, course in enumerate(courses):
        turned = layout is Layout.CROSSED and k % 2 == 1
        for serum in course:
            plates[(serum.visit not in early) != turned].append(serum)
    return [(f"ALL-{letter}", sera) for letter, sera in zip("AB", plates, strict=True)]


class _Bench:
    """Where a study's plates are made: the draws, how wells err, and what each person's sera have of their own."""

    def __init__(self, rng: np.random.Generator, wells: Scenario, ranks: Ranks, controls: tuple[Serum, ...]) -> None:
        self.rng, self.wells, self.ranks, self.controls = rng, wells, ranks, controls
        self.shifts: dict[str, float] = {}

    def plate(self, name: str, day: float, sera: list[Serum]) -> CohortPlate:
        """Sera and controls titrated, negatives of the plate's own at one dilution."""
        wells = self.wells
        negatives = [
            Serum(f"{name}-N{number:02d}", Role.NEGATIVE, 0.0, nonspecific(self.rng, wells))
            for number in range(1, wells.negatives + 1)
        ]
        series = [Series(one, self._shift(one), wells.ladder, wells.replicates) for one in (*sera, *self.controls)]
        series += [Series(serum, self._shift(serum), (SCREENING,)) for serum in negatives]
        return CohortPlate(name, read_series(self.rng, wells, name, day, self.ranks, series))

    def _shift(self, serum: Serum) -> float:
        """The shift of whoever gave the serum, the same on every plate."""
        person = serum.patient or serum.name
        if person not in self.shifts:
            self.shifts[person] = float(own_shifts(self.rng, self.wells, 1)[0])
        return self.shifts[person]
