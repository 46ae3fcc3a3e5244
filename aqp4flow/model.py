"""The nouns that the wings share. Values only: frozen, no disk, no clock.

Wings hand these to one another through `pipeline`; none imports another wing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
NAN = math.nan
Z = 1.959963984540054  # two-sided 95 % of the normal law


# --- events -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Channel:
    """One FCS parameter: `name` is $PnN, `stain` is $PnS (empty when absent), `index` counts from 1."""

    index: int
    name: str
    stain: str = ""
    bits: int = 32
    range: float = 262144.0
    gain: float = 1.0
    amplification: tuple[float, float] = (0.0, 0.0)
    voltage: float | None = None

    @property
    def top(self) -> float:
        """Linear value of the last step of $PnR: a signal there is at least that. Infinite where there is no end."""
        decades, offset = self.amplification
        if not math.isfinite(self.range):
            return math.inf
        if decades > 0:
            return float((offset or 1.0) * 10 ** (decades * (self.range - 1) / self.range)) * (1 - 1e-9)
        return (self.range - 1) / self.gain


@dataclass(frozen=True, eq=False)
class Spillover:
    """A spillover matrix: row = dye, column = detector, `observed = true @ matrix`.

    `source` says where it came from in words a report can print; `low` and `high` are the 95 % limits of estimated
    coefficients, NaN where there are none. Compared by `same_as`; known by identity, so that what follows from a
    matrix is computed once for all the wells that share it.
    """

    channels: tuple[str, ...]
    matrix: Values = field(repr=False)
    source: str
    low: Values | None = field(default=None, repr=False)
    high: Values | None = field(default=None, repr=False)

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing: within 1e-5 of the identity (some writers leave a placeholder)."""
        return bool(np.all(np.abs(self.matrix - np.eye(len(self.channels))) < 1e-5))

    def same_as(self, other: Spillover | None) -> bool:
        """Whether both hold the same numbers for the same channels, whatever their source."""
        if other is None or self is other:
            return other is not None
        return self.channels == other.channels and bool(np.array_equal(self.matrix, other.matrix))


class Events(Protocol):
    """Anything that hands out events of one data set by channel, on the linear scale."""

    @property
    def count(self) -> int:
        """Number of events."""
        ...

    @property
    def channels(self) -> tuple[Channel, ...]:
        """All channels, in file order."""
        ...

    def column(self, name: str) -> Values:
        """Linear values of one channel, shape (count,)."""
        ...


@dataclass(frozen=True)
class Repair:
    """Something mended or odd in a file: a stable code and one sentence."""

    file: str
    code: str
    message: str


# --- gates --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dimension:
    """One axis of a gate; `compensated` says on which events it looks."""

    channel: str
    compensated: bool = False


@dataclass(frozen=True)
class Range:
    """low <= x < high on one axis; None leaves a side open (GatingML 2.0, 5.1)."""

    name: str
    parent: str | None
    x: Dimension
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Rectangle:
    """A range on each of two axes."""

    name: str
    parent: str | None
    x: Dimension
    y: Dimension
    low: tuple[float | None, float | None]
    high: tuple[float | None, float | None]


@dataclass(frozen=True)
class Polygon:
    """Inside the polygon by the even-odd rule (GatingML 2.0, 5.2); points on an edge as FlowKit decides them."""

    name: str
    parent: str | None
    x: Dimension
    y: Dimension
    vertices: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Ellipse:
    """Mahalanobis distance squared from `mean` at most `distance_square` (GatingML 2.0, 5.3)."""

    name: str
    parent: str | None
    x: Dimension
    y: Dimension
    mean: tuple[float, float]
    covariance: tuple[tuple[float, float], tuple[float, float]]
    distance_square: float


Gate = Range | Rectangle | Polygon | Ellipse

#: What fluorescence is learned and drawn on.
ScaleName = Literal["asinh", "logicle", "linear"]


# --- wells and readings -------------------------------------------------------------------------


class Role(StrEnum):
    """What a well is for."""

    SAMPLE = "sample"
    NEGATIVE = "negative"
    POSITIVE = "positive"
    REFERENCE = "reference"
    SECONDARY_ONLY = "secondary-only"
    UNSTAINED = "unstained"
    SINGLE_STAIN = "single-stain"
    BLANK = "blank"
    BEADS = "beads"


#: Roles whose wells hold the full stain of cells and reporter, hence show where populations lie.
FULLY_STAINED = (Role.SAMPLE, Role.NEGATIVE, Role.POSITIVE, Role.REFERENCE, Role.SECONDARY_ONLY)
#: Roles whose wells hold a serum at a dilution.
WITH_SERUM = (Role.SAMPLE, Role.NEGATIVE, Role.POSITIVE, Role.REFERENCE)


@dataclass(frozen=True)
class Well:
    """One row of a plate map, joined to its file. `dilution` is the reciprocal: 40 is 1:40."""

    plate: str
    name: str
    file: str
    role: Role
    serum: str = ""
    cells: str = ""
    dilution: float | None = None
    replicate: str = ""
    dye: str = ""
    excluded: str = ""  # the reason, when a person took the well out


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % limits; NaN where a side or the number itself has no meaning."""

    value: float
    low: float = NAN
    high: float = NAN

    @property
    def known(self) -> bool:
        """Whether there is a number."""
        return not math.isnan(self.value)


UNKNOWN = Estimate(NAN)


@dataclass(frozen=True)
class Calibrated:
    """A well's medians in the units of calibration beads, and their difference; NaN where there is none."""

    unit: str
    expressing: float = NAN
    nonexpressing: float = NAN
    delta: float = NAN


@dataclass(frozen=True)
class Reading:
    """What one well measured. Counts are None where the gate does not exist."""

    well: Well
    n_events: int | None
    counts: Mapping[str, int]
    expressing: Estimate = UNKNOWN
    nonexpressing: Estimate = UNKNOWN
    delta: Estimate = UNKNOWN
    ratio: Estimate = UNKNOWN
    percent_positive: float = NAN
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    calibrated: Calibrated | None = None
    n_cut_out: int | None = None  # events taken out before anything was counted or measured
    above_expressing: float = NAN  # percent of each population above the one limit that rpc counts from
    above_nonexpressing: float = NAN
    slope: float = NAN  # of the signal on the reporter inside the expressing population

    @property
    def usable(self) -> bool:
        """Whether it takes part in what follows: not excluded, and both medians exist."""
        return not self.well.excluded and self.delta.known

    @property
    def rpc(self) -> float:
        """Ratio of positive cells: expressing over non-expressing, above one limit; NaN where none lies above."""
        return self.above_expressing / self.above_nonexpressing if self.above_nonexpressing > 0 else NAN


class Status(StrEnum):
    """What a serum at a dilution is called."""

    POSITIVE = "positive"
    EQUIVOCAL = "equivocal"
    NEGATIVE = "negative"
    NOT_INTERPRETABLE = "not-interpretable"


@dataclass(frozen=True)
class CutOff:
    """What a read-out must exceed; `n`, `mean` and `sd` describe the negatives it came from (n = 0: fixed)."""

    readout: str
    value: float
    rule: str
    n: int = 0
    mean: float = NAN
    sd: float = NAN


@dataclass(frozen=True)
class Reactivity:
    """One serum at one dilution on one plate: the replicates together.

    `mfi_expressing` and `mfi_nonexpressing` are as measured; every read-out that compares them is of what is left
    after the background was taken off, where one is.
    """

    plate: str
    serum: str
    role: Role
    dilution: float
    n_replicates: int
    mfi_expressing: float
    mfi_nonexpressing: float
    delta: Estimate
    ratio: Estimate
    index: float
    relative: float
    cutoff_delta: float
    cutoff_ratio: float
    status: Status
    flags: tuple[str, ...] = ()
    index_low: float = NAN
    index_high: float = NAN
    log2_ratio: Estimate = UNKNOWN
    relative_low: float = NAN
    relative_high: float = NAN
    percent_positive: float = NAN
    rpc: Estimate = UNKNOWN
    z_negative: float = NAN
    mef_delta: float = NAN
    slope: float = NAN
    background_expressing: float = NAN  # taken off both medians before they were compared; NaN: nothing was
    background_nonexpressing: float = NAN
    notes: tuple[str, ...] = ()


class Bound(StrEnum):
    """Whether a value is itself (`=`) or only known to lie below (`<`) or above (`>`) it."""

    EXACT = "="
    BELOW = "<"
    ABOVE = ">"


@dataclass(frozen=True)
class Titer:
    """A titer that cannot lose its bound. With `<` or `>` the value is the tested extreme."""

    value: float
    bound: Bound = Bound.EXACT
    low: float = NAN
    high: float = NAN

    def __str__(self) -> str:
        sign = "" if self.bound is Bound.EXACT else self.bound.value
        return f"{sign}1:{self.value:g}"


def log2_quantile(draws: Values, q: float) -> float:
    """A quantile of log2 draws, on the linear scale; an order statistic, so infinite draws stay infinite."""
    ordered = np.sort(draws)
    return float(2.0 ** ordered[int(np.clip(round(q * (len(ordered) - 1)), 0, len(ordered) - 1))])


@dataclass(frozen=True)
class Curve:
    """A fitted dilution curve: `midpoint` in dilutions, its limits, the model's name and parameters."""

    model: str
    midpoint: Estimate
    parameters: Mapping[str, float]
    residual_sd: float
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Titration:
    """One serum on one plate. `draws` are log2 titers over the error's law, for folds (see assay.titer)."""

    plate: str
    serum: str
    role: Role
    readout: str
    cutoff: float
    endpoint: Titer | None
    titer: Titer | None
    curve: Curve | None
    flags: tuple[str, ...] = ()
    draws: Values | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True)
class Visit:
    """One bleed of one patient. `month` counts from the patient's baseline."""

    patient: str
    serum: str
    collected: str
    visit: str
    baseline: bool
    month: float


@dataclass(frozen=True)
class TrajectoryPoint:
    """One visit of one patient: titer, the reactivity at the lowest dilution, the fold against baseline."""

    visit: Visit
    plates: tuple[str, ...]
    quantity: str
    titer: Titer | None
    reactivity: Reactivity | None
    fold: Titer | None
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


class Verdict(StrEnum):
    """How a check ended."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Check:
    """One rule looked at: where, what was found, what was allowed, and a sentence."""

    scope: str
    subject: str
    check: str
    value: float | str
    limit: str
    verdict: Verdict
    message: str
