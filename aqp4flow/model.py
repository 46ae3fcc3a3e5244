"""The nouns that the wings share. Values only: frozen, no disk, no clock.

Wings hand these to one another through `pipeline`; none imports another wing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
    lot: str = ""  # of the reagent that the lab follows by lot: cells, secondary antibody

    @property
    def without_serum(self) -> bool:
        """Whether it shows what the secondary antibody alone binds to cells that may express."""
        return self.role is Role.SECONDARY_ONLY and self.cells != "control"

    @property
    def row_by_row(self) -> tuple[str, int, str]:
        """Sorts the wells of a plate row by row: A01, A02, ... B01."""
        return self.name[:1], len(self.name), self.name


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

    @property
    def standard_error(self) -> float:
        """The standard error that the limits stand for; 0 where there are none."""
        width = self.high - self.low
        return width / (2 * Z) if width > 0 else 0.0


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
class Outlier:
    """A negative serum beyond Tukey's fences, its read-out, on which side ("above" or "below"), and whether far."""

    serum: str
    value: float
    side: str
    far: bool = False


@dataclass(frozen=True)
class Basis:
    """What a computed cut-off was made from, on the scale of its rule: enough to make it anew from other sera.

    `mean` is that of `m` values and `sd` has `df` degrees of freedom; where a history floats, the mean is the plate's
    and the SD the history's, `scaled` by that mean where it floats by a factor. `rank` counts from the smallest value,
    from 1.
    """

    form: Literal["moments", "robust", "order", "youden"]
    negatives: tuple[float, ...]
    positives: tuple[float, ...] = ()
    m: int = 0
    df: int = 0
    rank: int = 0
    floating: bool = False
    scaled: bool = False


@dataclass(frozen=True)
class CutOff:
    """What a read-out must exceed. `n`, `mean` and `sd` describe the negatives it came from (n = 0: fixed).

    A fixed number is reached at equality. `mean`, `sd`, `median` and `mad` stand on the scale of the rule (log10 where
    `log`), `value` and `equivocal` (the foot of the grey zone) on that of the read-out. `false_positives` is a share
    with its limits where it was counted on `counted` sera. `remarks` are whole sentences.
    """

    readout: str
    value: float
    rule: str
    n: int = 0
    mean: float = NAN
    sd: float = NAN
    factor: float = NAN
    median: float = NAN
    mad: float = NAN
    log: bool = False
    source: str = "plate"
    false_positives: Estimate = UNKNOWN
    counted: int = 0
    sensitivity: Estimate = UNKNOWN
    equivocal: float = NAN
    outliers: tuple[Outlier, ...] = ()
    remarks: tuple[str, ...] = ()
    basis: Basis | None = field(default=None, repr=False)

    @property
    def fixed(self) -> bool:
        """Whether it is a number of the lab's own, not computed from sera."""
        return self.n == 0

    def met_by(self, value: float) -> bool:
        """Whether a read-out counts as positive: it exceeds the cut-off, or equals it where that is fixed.

        Within 1e-9 of the cut-off is equal, for 6.6 / 3.3 need not be 2 in binary.
        """
        if math.isclose(value, self.value, rel_tol=1e-9):
            return self.fixed
        return value > self.value


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
    grade: str = ""
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


def mean_titer(parts: Sequence[tuple[Titer, Values]]) -> tuple[Titer, Values] | None:
    """The mean on the log scale of titers of one serum (at least one), each with its log2 draws; and its draws.

    The mean of a value and a `<` is itself a `<`; a `<` and a `>` together say nothing: None.
    """
    if len(parts) == 1:
        return parts[0]
    bound = mean_bound([titer.bound for titer, _ in parts])
    if bound is None:
        return None
    value = 2.0 ** float(np.mean([math.log2(titer.value) for titer, _ in parts]))
    with np.errstate(invalid="ignore"):  # below the range in one part and above it in another: nothing is known
        draws = np.mean([draw for _, draw in parts], axis=0)
    known = draws[~np.isnan(draws)]
    low, high = (log2_quantile(known, q) if len(known) else NAN for q in (0.025, 0.975))
    low, high = low if 0 < low < math.inf else NAN, high if 0 < high < math.inf else NAN
    if bound is Bound.BELOW:
        return Titer(value, bound, NAN, max(high, value)), draws
    if bound is Bound.ABOVE:
        return Titer(value, bound, min(low, value), NAN), draws
    return Titer(value, bound, low, high), draws


def mean_bound(bounds: Sequence[Bound]) -> Bound | None:
    """The bound of a mean: that of any bounded part; None when parts are bounded on both sides."""
    if {Bound.BELOW, Bound.ABOVE} <= set(bounds):
        return None
    return next((bound for bound in bounds if bound is not Bound.EXACT), Bound.EXACT)


@dataclass(frozen=True, eq=False)
class CurveLaw:
    """The error of a curve's parameters as the fit sees them: b, ln t, ln m[, ln h[, ln g]].

    `parameters` (k,), their `covariance` (k, k) and `limits` (k, 2); `df` points beyond the parameters.
    """

    parameters: Values
    covariance: Values
    limits: Values
    df: int


@dataclass(frozen=True)
class OffCurve:
    """A dilution that lies off the curve of the others by `factor`: what it reads and what they expect of it."""

    dilution: float
    reading: float
    expected: float
    factor: float
    midpoint_with: Estimate
    midpoint_without: Estimate
    left_out: bool


@dataclass(frozen=True)
class Curve:
    """A fitted dilution curve: `midpoint` in dilutions, its limits, the model's name and natural parameters.

    `residual_sd` is on the scale that `weights` names, `relative_sd` always relative (see assay.bindingmodel.Scale).
    """

    model: str
    midpoint: Estimate
    parameters: Mapping[str, float]
    residual_sd: float
    flags: tuple[str, ...] = ()
    law: CurveLaw | None = field(default=None, repr=False, compare=False)
    relative_sd: float = NAN
    weights: str = "1/y2"
    off: OffCurve | None = None


@dataclass(frozen=True)
class Titration:
    """One serum on one plate. `draws` are log2 titers over the error's law, for folds (see assay.titer).

    `units` are those of the plate's `reference` serum, called `unit`; None without one. `parallel` is yes, no or empty.
    """

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
    units: Titer | None = None
    unit_draws: Values | None = field(default=None, repr=False, compare=False)
    parallel: str = ""
    unit: str = ""
    reference: str = ""


@dataclass(frozen=True)
class Visit:
    """One bleed of one patient. `month` counts from the patient's baseline."""

    patient: str
    serum: str
    collected: str
    visit: str
    baseline: bool
    month: float
    row: int = 0  # of the visits table, as a spreadsheet counts


class ClinicalKind(StrEnum):
    """What a row of the clinical table tells."""

    DOSE = "dose"
    RELAPSE = "relapse"
    EDSS = "edss"
    PAIN = "pain"
    FATIGUE = "fatigue"
    OBSERVATION_START = "observation-start"
    OBSERVATION_END = "observation-end"


@dataclass(frozen=True)
class ClinicalEvent:
    """One row of the clinical table. `value` is NaN where the kind has none; `month` counts from the baseline."""

    patient: str
    date: str
    kind: ClinicalKind
    value: float
    month: float
    row: int = 0


@dataclass(frozen=True)
class PatientRecords:
    """What the study's tables say of its patients: their bleeds, and their clinical course where there is a table."""

    visits: tuple[Visit, ...] = ()
    clinical: tuple[ClinicalEvent, ...] = ()


@dataclass(frozen=True)
class TimePoint:
    """A point of the study's schedule, shared by all patients: `M06`, 6.0 months. The first is the baseline."""

    name: str
    month: float


@dataclass(frozen=True)
class Followed:
    """One patient's relapses and years of observation before and after treatment began (`start`, an ISO date).

    Years are NaN where a side was not observed.
    """

    patient: str
    start: str
    relapses_before: int
    years_before: float
    relapses_after: int
    years_after: float


class Change(StrEnum):
    """What a fold is called: a change only beyond the reference change value."""

    FELL = "fell"
    ROSE = "rose"
    NONE = "no-change"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Statistic:
    """One row of statistics.csv: a test (or an estimate) of one contrast of one outcome.

    `exact` says how p was computed: exact, permutation, bootstrap, asymptotic or model; empty where there is no p.
    `attainable` is the smallest p that this test can give at this n. `effect` is after minus before (log2 where the
    outcome is a titer or shift, in the unit named by `unit`), NaN sides where open.
    """

    figure: str
    outcome: str
    contrast: str
    test: str
    exact: str
    n: int
    statistic: float = NAN
    p: float = NAN
    p_adjusted: float = NAN
    attainable: float = NAN
    effect: Estimate = UNKNOWN
    unit: str = ""
    note: str = ""
    primary: bool = False


@dataclass(frozen=True)
class Summary:
    """One outcome at one time point over the patients: SD (n - 1) and SEM side by side, so that neither is unsaid.

    Titers are summarised on log2 and given back as geometric mean, SD and SEM in log2 (`log2`). `bounded` counts the
    values known only as `<` or `>`: where there are any, mean, SD and SEM are NaN and the median carries `bound`.
    """

    figure: str
    outcome: str
    timepoint: str
    n: int
    mean: float
    sd: float
    sem: float
    median: float
    bound: Bound
    q1: float
    q3: float
    bounded: int = 0
    log2: bool = False


@dataclass(frozen=True)
class TrajectoryPoint:
    """One visit of one patient: titer, the reactivity at the lowest dilution, the fold against baseline.

    `value` is the quantity followed, bridged to the baseline's plate where that differs; `change` what the fold is
    called against `limit`, the reference change value.
    """

    visit: Visit
    plates: tuple[str, ...]
    quantity: str
    titer: Titer | None
    reactivity: Reactivity | None
    fold: Titer | None
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    units: Titer | None = None
    value: Titer | None = None
    timepoint: str = ""
    change: Change = Change.UNKNOWN
    limit: ReferenceChange | None = None


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


@dataclass(frozen=True)
class Imprecision:
    """How far repeated measurements of one material lie apart; coefficients of variation in percent.

    `within` is that of single wells (for a titer: of single dilution series) on one plate, `between` what plates add,
    `total` both. `dilution` is NaN for a titer and for the row `pooled` over materials. `replicates` is how many wells
    a reported value of a patient's serum averages; the reference change values, factors, are for such values.
    """

    quantity: str
    material: str
    role: str
    dilution: float
    n: int
    plates: int
    mean: float
    within: Estimate = UNKNOWN
    within_df: int = 0
    between: Estimate = UNKNOWN
    between_df: int = 0
    total: Estimate = UNKNOWN
    total_df: float = NAN
    replicates: int = 1
    rcv_one_plate: Estimate = UNKNOWN
    rcv_two_plates: Estimate = UNKNOWN
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReferenceChange:
    """The factor that a change must exceed (up, or its inverse down), and whether it was measured or is assumed."""

    fold: float
    measured: bool
    why: str


#: The material of the rows that hold all materials together.
POOLED = "pooled"


@dataclass(frozen=True)
class Precision:
    """A study's own precision; `assumed` is the change that counts where it is not known.

    Known means: from at least `min_df` degrees of freedom.
    """

    rows: tuple[Imprecision, ...] = ()
    assumed: float = 2.0
    min_df: int = 4

    def change(self, quantity: str, same_plate: bool) -> ReferenceChange:
        """What a change of a quantity must exceed between two visits, on one plate or on two.

        A measured value of too few degrees of freedom may widen the assumed one and never narrows it.
        """
        row = next((row for row in self.rows if row.quantity == quantity and row.material == POOLED), None)
        found, df = UNKNOWN, 0
        if row is not None:
            found = row.rcv_one_plate if same_plate else row.rcv_two_plates
            df = row.within_df if same_plate else row.between_df
        if found.known and df >= self.min_df:
            return ReferenceChange(found.value, True, f"measured, {_degrees(df)}")
        if not found.known:
            return ReferenceChange(self.assumed, False, "an assumption: nothing was measured twice")
        if found.value > self.assumed:
            return ReferenceChange(
                found.value,
                False,
                f"measured with only {_degrees(df)} of {self.min_df} wanted: more than the {self.assumed:g} assumed",
            )
        return ReferenceChange(self.assumed, False, f"an assumption: only {_degrees(df)} of {self.min_df} wanted")


def _degrees(df: int) -> str:
    return f"{df} degree{'' if df == 1 else 's'} of freedom"
