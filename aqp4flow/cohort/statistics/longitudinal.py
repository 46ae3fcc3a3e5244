"""One outcome of several patients at the time points of a study."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aqp4flow.errors import AnalysisError
from aqp4flow.model import Values

Mask = NDArray[np.bool_]
Whole = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Longitudinal:
    """Values on log2, shape (patients, time points), NaN where missing; the first time point is the baseline.

    `bounds`, int8 of that shape, says how a value is known: 0 exactly, -1 to lie there or below, +1 there or above.
    `plates` are names of that shape, empty where unknown. `sds` are the assay's own SD of each value on log2.
    Raises AnalysisError where the shapes differ, names repeat, a value is infinite or a bound is none of the three.
    """

    patients: tuple[str, ...]
    timepoints: tuple[str, ...]
    values: Values = field(repr=False)
    bounds: NDArray[np.int8] = field(repr=False)
    plates: tuple[tuple[str, ...], ...] = field(default=(), repr=False)
    sds: Values | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        shape = (len(self.patients), len(self.timepoints))
        arrays = {"values": np.shape(self.values), "bounds": np.shape(self.bounds)}
        if len(self.plates):
            arrays["plates"] = np.shape(self.plates)
        if self.sds is not None:
            arrays["sds"] = np.shape(self.sds)
        for name, found in arrays.items():
            if found != shape:
                raise AnalysisError("patients over time", f"{name} have the shape {found}, not {shape}")
        for names in (self.patients, self.timepoints):
            if len(set(names)) < len(names):
                raise AnalysisError("patients over time", f"a name stands twice in {', '.join(names)}")
        if np.any(np.isinf(self.values)):
            raise AnalysisError("patients over time", "a value is infinite", "a bound is a finite value with its sign")
        if not np.all(np.isin(self.bounds, (-1, 0, 1))):
            raise AnalysisError("patients over time", "a bound is neither -1, 0 nor 1")

    @property
    def measured(self) -> Mask:
        """Where there is a value, exact or bounded."""
        return np.asarray(~np.isnan(self.values))

    @property
    def bounded(self) -> Mask:
        """Where a value is known only as a bound."""
        return np.asarray(self.measured & (self.bounds != 0))

    @property
    def exact(self) -> Mask:
        """Where a value is known as itself."""
        return np.asarray(self.measured & (self.bounds == 0))

    def paired(self, timepoint: int) -> int:
        """How many patients have a value at the baseline and at this time point."""
        return int(np.sum(self.measured[:, 0] & self.measured[:, timepoint]))

    @property
    def plate_names(self) -> tuple[str, ...]:
        """The plates of the measured values, sorted; an empty name stands for values whose plate is unknown."""
        if not len(self.plates):
            return ("",)
        return tuple(sorted({str(name) for name in np.asarray(self.plates, dtype=object)[self.measured]}))


def one_hot(codes: Whole, n: int) -> Values:
    """A column a code, shape (values, n)."""
    return np.asarray(codes[:, None] == np.arange(n)[None, :], np.float64)
