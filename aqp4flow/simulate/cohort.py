"""Seven patients, their visits and sera, and the control sera that lie on every plate."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from aqp4flow.model import Role, Visit
from aqp4flow.simulate.binding import Clone, Serum, half_concentration
from aqp4flow.simulate.streams import Subject, stream

MONTHS = (0, 1, 3, 6, 12)
NEGATIVES = 10
_DAYS_PER_MONTH = 30.4375
_LARGEST_JITTER = 4  # days a visit may fall beside its appointment
_NONSPECIFIC = (0.45, 2.25)  # five-fold between sera
_KD_SPREAD = 0.8  # log standard deviation of the clones' constants around 1


@dataclass(frozen=True)
class Patient:
    """What is planted: `half_dilution` of the baseline serum, and concentration over baseline at each of MONTHS."""

    number: int
    half_dilution: float
    folds: tuple[float, float, float, float, float]
    start: date

    @property
    def name(self) -> str:
        """As sera and visits call the patient: `PT01`."""
        return f"PT{self.number:02d}"

    @property
    def watched(self) -> int:
        """Days in the year from the baseline visit, by the calendar; the study ends with it."""
        return (self.start.replace(year=self.start.year + 1) - self.start).days


PATIENTS = (
    Patient(1, 100.0, (1, 0.55, 0.25, 0.11, 0.05), date(2012, 1, 16)),  # strong fall
    Patient(2, 50.0, (1, 0.80, 0.55, 0.42, 0.35), date(2012, 2, 6)),  # moderate fall
    Patient(3, 75.0, (1, 1.05, 0.92, 1.08, 0.96), date(2012, 3, 12)),  # does not respond
    Patient(4, 8.0, (1, 0.40, 0.10, 0.025, 0.004), date(2012, 4, 9)),  # falls below detection
    Patient(5, 25.0, (1, 0.75, 0.50, 0.30, 0.22), date(2012, 5, 21)),  # moderate fall from a low start
    Patient(6, 65.0, (1, 0.50, 0.20, 0.15, 0.30), date(2012, 6, 11)),  # falls, then comes back in part
    Patient(7, 40.0, (1, 1.30, 0.70, 0.35, 0.18), date(2012, 8, 27)),  # rises before it falls
)

_POSITIVE, _REFERENCE, _FIRST_NEGATIVE = 101, 102, 201


def visits_of(patient: Patient, seed: int) -> tuple[Visit, ...]:
    """The patient's bleeds in order of time, baseline first."""
    jitter = stream(seed, Subject.VISITS, patient.number).integers(-_LARGEST_JITTER, _LARGEST_JITTER + 1, len(MONTHS))
    visits = []
    for month, late in zip(MONTHS, jitter, strict=True):
        after = min(round(month * _DAYS_PER_MONTH) + int(late), patient.watched) if month else 0
        label = f"M{month:02d}"
        collected = (patient.start + timedelta(days=after)).isoformat()
        visits.append(
            Visit(patient.name, f"{patient.name}-{label}", collected, label, month == 0, after / _DAYS_PER_MONTH)
        )
    return tuple(visits)


def sera_of(patient: Patient, seed: int) -> tuple[Serum, ...]:
    """The patient's sera by visit: the same clones throughout, only their common concentration changes."""
    clones = _clones(seed, patient.number)
    baseline = patient.half_dilution * half_concentration(clones)
    return tuple(
        Serum(
            name=f"{patient.name}-M{month:02d}",
            role=Role.SAMPLE,
            concentration=baseline * fold,
            nonspecific=_nonspecific(seed, patient.number, month),
            clones=clones,
            patient=patient.name,
            visit=f"M{month:02d}",
        )
        for month, fold in zip(MONTHS, patient.folds, strict=True)
    )


def negative_sera(seed: int) -> tuple[Serum, ...]:
    """Sera without specific antibody; their non-specific binding follows the patients' law."""
    return tuple(
        Serum(f"NEG{k + 1:02d}", Role.NEGATIVE, 0.0, _nonspecific(seed, _FIRST_NEGATIVE + k)) for k in range(NEGATIVES)
    )


def positive_serum(seed: int) -> Serum:
    """The positive control."""
    return _control(seed, "POS", Role.POSITIVE, _POSITIVE, 60.0)


def reference_serum(seed: int) -> Serum:
    """The reference: a strong serum that lies on every plate as a dilution series."""
    return _control(seed, "REF", Role.REFERENCE, _REFERENCE, 100.0)


def _control(seed: int, name: str, role: Role, number: int, half_dilution: float) -> Serum:
    clones = _clones(seed, number)
    concentration = half_dilution * half_concentration(clones)
    return Serum(name, role, concentration, _nonspecific(seed, number), clones)


def _clones(seed: int, number: int) -> tuple[Clone, ...]:
    """Three or four clones; shares add up to 1, constants lie around 1 unit."""
    rng = stream(seed, Subject.CLONES, number)
    count = int(rng.integers(3, 5))
    shares = rng.dirichlet(np.full(count, 3.0))
    constants = np.exp(_KD_SPREAD * rng.standard_normal(count))
    return tuple(Clone(float(share), float(kd)) for share, kd in zip(shares, constants, strict=True))


def _nonspecific(seed: int, *number: int) -> float:
    low, high = np.log(_NONSPECIFIC)
    return float(np.exp(stream(seed, Subject.SERUM, *number).uniform(low, high)))
