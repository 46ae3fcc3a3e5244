"""Whether the effect of plates can be told from that of patients and time, and how it enters a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from aqp4flow.cohort.statistics.longitudinal import Longitudinal, Whole, one_hot
from aqp4flow.model import Values

#: With fewer degrees of freedom beyond patients and time, a variance between plates is a guess.
LEAST_DF = 3


@dataclass(frozen=True, eq=False)
class Layout:
    """The measured values in a row: `y` (values,), and codes of their time point, patient and plate.

    Time points without a value are left out of `timepoints`, patients without any of `n_patients`.
    """

    y: Values
    time: Whole
    patient: Whole
    plate: Whole
    timepoints: tuple[int, ...]
    n_patients: int
    plates: tuple[str, ...]

    @property
    def times(self) -> Values:
        """A column a time point."""
        return one_hot(self.time, len(self.timepoints))

    @property
    def patients(self) -> Values:
        """A column a patient."""
        return one_hot(self.patient, self.n_patients)

    @property
    def on_plates(self) -> Values:
        """A column a plate."""
        return one_hot(self.plate, len(self.plates))


@dataclass(frozen=True, eq=False)
class PlatePlan:
    """How plates enter: not at all, as fixed effects (`columns`, one a plate but those implied), or as a variance.

    `lost` are the time points (of the layout) whose contrast cannot be told from plates.
    """

    kind: Literal["none", "fixed", "random"]
    note: str = ""
    lost: tuple[int, ...] = ()
    columns: Values = field(default_factory=lambda: np.empty((0, 0)), repr=False)


def layout(data: Longitudinal) -> Layout:
    """The measured values in a row, patient by patient."""
    rows, columns = np.nonzero(data.measured)
    kept, time = np.unique(columns, return_inverse=True)
    present, patient = np.unique(rows, return_inverse=True)
    names = data.plate_names
    plate = np.zeros(len(rows), np.int64)
    if len(data.plates):
        plate = np.array([names.index(data.plates[i][j]) for i, j in zip(rows, columns, strict=True)], np.int64)
    return Layout(
        data.values[rows, columns],
        time.astype(np.int64),
        patient.astype(np.int64),
        plate,
        tuple(int(at) for at in kept),
        len(present),
        names,
    )


def plan_plates(row: Layout) -> PlatePlan:
    """Fixed effects where every contrast stays estimable beside them; else a variance where plates are many.

    Patients count as fixed in this question: what only differences between patients could tell is not asked of them.
    """
    if len(row.plates) < 2:
        return PlatePlan("none")
    if "" in row.plates:
        return PlatePlan("none", "plate effects not modelled: the plate of some values is unknown")
    if _rank(row.patients, row.on_plates) == _rank(row.patients):
        return PlatePlan("none", "each patient lies on one plate: plate effects are part of the patient's")
    lost = _lost(row)
    beyond = _rank(row.times, row.patients, row.on_plates) - _rank(row.times, row.patients)
    if lost and beyond >= LEAST_DF:
        return PlatePlan("random", f"variance between {len(row.plates)} plates modelled")
    note = f"{len(row.plates)} plates as fixed effects"
    return PlatePlan("fixed", note, lost, _independent(row.times, row.on_plates))


def _rank(*parts: Values) -> int:
    return int(np.linalg.matrix_rank(np.hstack(parts)))


def _lost(row: Layout) -> tuple[int, ...]:
    """Time points whose difference from the first is not a combination of values free of patients and plates."""
    design = np.hstack([row.times, row.patients, row.on_plates])
    rank = _rank(design)
    lost = []
    for at in range(1, len(row.timepoints)):
        contrast = np.zeros((1, design.shape[1]))
        contrast[0, [0, at]] = -1.0, 1.0
        if np.linalg.matrix_rank(np.vstack([design, contrast])) > rank:
            lost.append(at)
    return tuple(lost)


def _independent(design: Values, columns: Values) -> Values:
    """Those columns that the design and the columns before do not imply."""
    kept = design
    for column in columns.T[:, :, None]:
        if _rank(kept, column) > kept.shape[1]:
            kept = np.hstack([kept, column])
    return kept[:, design.shape[1] :]
