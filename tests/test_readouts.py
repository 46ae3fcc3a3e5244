"""Read-outs of a serum at a dilution: sums by hand, laws, and limits that hold planted truth."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aqp4flow.assay import readout
from aqp4flow.assay.background import Backgrounds, background_checks, backgrounds, corrected, refusals
from aqp4flow.assay.definition import Readout
from aqp4flow.assay.readout import Frame, combine, estimate_of, quotient, value_of
from aqp4flow.assay.replicates import Law, ReplicateError, delta_terms, fit, ratio_terms, replicate_error
from aqp4flow.assay.replicates import _Set as ReplicateSet
from aqp4flow.assay.titer import interpolated_titer
from aqp4flow.cohort.trajectory import by_serum, trajectories
from aqp4flow.cytometry.gates import Columns
from aqp4flow.cytometry.measure import Against, Populations, measure, median_with_limits, signal_slope, spread_of
from aqp4flow.errors import AnalysisError
from aqp4flow.model import (
    NAN,
    UNKNOWN,
    Calibrated,
    Channel,
    CutOff,
    Dimension,
    Estimate,
    Reactivity,
    Reading,
    Role,
    Values,
    Visit,
    Well,
    Z,
)

NO_ERROR = ReplicateError(0, 0, NAN)
PLAIN = Frame()


def reading(well: str = "A01", bright: float = 1000, dark: float = 100, **facts: object) -> Reading:
    """A well of serum S at 1:20 whose medians are known within one percent, 1,000 events a population."""
    more = {key: facts.pop(key) for key in ("above_expressing", "above_nonexpressing", "slope", "calibrated",
                                            "percent_positive", "width") if key in facts}  # fmt: skip
    width = float(more.pop("width", 0.01))
    of_well: dict = {"role": Role.SAMPLE, "serum": "S", "dilution": 20.0} | facts
    medians = [Estimate(x, x - width * abs(x), x + width * abs(x)) for x in (bright, dark)]
    counts = {"expressing": 1000, "nonexpressing": 1000}
    made = readout.with_shift(Reading(Well("P", well, f"{well}.fcs", **of_well), 5000, counts, *medians))
    return replace(made, **more)


def one(*readings: Reading, error: ReplicateError = NO_ERROR, frame: Frame = PLAIN) -> Reactivity:
    return combine(readings, error, frame)[0]


# --- by hand ----------------------------------------------------------------------------------------


def test_every_read_out_of_one_pair_of_wells() -> None:
    """1000 over 100 and 3000 over 600.

    Delta (900 + 2400)/2; ratio (10 + 5)/2; index 2000/350; log2 ratio (3.3219 + 2.3219)/2; percent positive
    (80 + 60)/2; rpc ((80 + 60)/2) / ((2 + 3)/2); slope (0.5 + 0.7)/2; in beads' units (40 + 100)/2.
    """
    row = one(
        reading("A01", 1000, 100, percent_positive=80.0, above_expressing=80.0, above_nonexpressing=2.0, slope=0.5,
                calibrated=Calibrated("MESF", 50, 10, 40)),
        reading("A02", 3000, 600, percent_positive=60.0, above_expressing=60.0, above_nonexpressing=3.0, slope=0.7,
                calibrated=Calibrated("MESF", 130, 30, 100)),
    )  # fmt: skip
    wanted = {
        "delta": 1650,
        "ratio": 7.5,
        "index": 2000 / 350,
        "log2_ratio": (math.log2(10) + math.log2(5)) / 2,
        "percent_positive": 70,
        "rpc": 28,
        "slope": 0.6,
        "mef_delta": 70,
    }
    assert {name: value_of(row, name) for name in wanted} == pytest.approx(wanted)
    assert (row.mfi_expressing, row.mfi_nonexpressing, row.n_replicates) == (2000, 350, 2)


@pytest.mark.parametrize(("bright", "dark", "delta", "ratio"), [(4000, 2500, 1500, 1.6), (900, 150, 750, 6.0)])
def test_a_large_delta_may_be_a_small_ratio(bright: float, dark: float, delta: float, ratio: float) -> None:
    """Against cut-offs of 1000 and 2.0 the first meets delta alone, the second the ratio alone."""
    row = one(reading("A01", bright, dark))
    assert (row.delta.value, row.ratio.value, row.index) == (delta, pytest.approx(ratio), pytest.approx(ratio))
    assert (row.delta.value > 1000) != (row.ratio.value > 2.0)


def test_limits_of_counting_alone_by_hand() -> None:
    """Two like wells, 1000 (990 to 1010) over 100 (99 to 101).

    Of delta: sqrt(10^2 + 1^2)/sqrt 2 = 7.1063 either way. Of each fold's log: sqrt(ln(1000/990)^2 + ln(101/100)^2)
    down; of the index the same with the means' half-widths, 10/sqrt 2 and 1/sqrt 2.
    """
    row = one(reading("A01"), reading("A02"))
    assert row.delta.low == pytest.approx(900 - math.sqrt(101) / math.sqrt(2))
    down = math.hypot(math.log(1000 / 990), math.log(101 / 100)) / math.sqrt(2)
    assert row.ratio.low == pytest.approx(10 * math.exp(-down))
    assert row.log2_ratio.low == pytest.approx(math.log2(10) - down / math.log(2))
    half = 10 / math.sqrt(2)
    mean = math.hypot(math.log(1000 / (1000 - half)), math.log((100 + half / 10) / 100))
    assert row.index_low == pytest.approx(10 * math.exp(-mean))
    assert row.notes[0] == "counting-error-only"


def test_limits_with_a_known_error_between_wells_by_hand() -> None:
    """Level 3 %, shift 4 % (as if from many wells): the variance of delta is 0.04^2 900^2 + 0.03^2 (1000^2 + 100^2).

    That of the log ratio is 0.04^2 (900/1000)^2 + 2 0.03^2.
    """
    sure = ((1e30, 0.0), (0.0, 1e30))
    law = Law((0.04**2, 0.03**2), sure, 10**9)
    row = one(reading(), error=ReplicateError(0.0, 10**9, NAN, law, law))
    between = 0.04**2 * 900**2 + 0.03**2 * (1000**2 + 100**2)
    assert row.delta.high == pytest.approx(900 + math.sqrt(101 + Z**2 * between), rel=1e-6)
    up = math.hypot(math.log(1.01), math.log(100 / 99), Z * math.sqrt(0.04**2 * 0.81 + 2 * 0.03**2))
    assert row.index_high == pytest.approx(10 * math.exp(up), rel=1e-6)
    assert row.ratio.high == pytest.approx(10 * math.exp(up), rel=1e-6)
    assert "counting-error-only" not in row.notes


def test_few_replicates_widen_by_students_factor() -> None:
    """Four pairs of one error, all counting as one: Satterthwaite gives their 4 degrees of freedom, t 2.776."""
    sets = [ReplicateSet(square=0.01, df=1, counting=0.0, terms=(1.0,)) for _ in range(4)]
    law = fit(sets)
    assert law.coefficients == (pytest.approx(0.01),)
    assert law.multiplier((1.0,), 0.0) == pytest.approx(2.776445, rel=1e-5)
    assert Law().multiplier((1.0,), 5.0) == Z


def test_replicates_fit_what_was_planted() -> None:
    """Mean squares just as the model has them: 0.05^2 delta^2 + 0.02^2 (T^2 + N^2) beyond counting."""
    medians = [(110.0, 100.0), (200.0, 100.0), (1000.0, 100.0), (5000.0, 200.0), (120.0, 115.0), (90.0, 95.0)]
    terms = [((t - n) ** 2, t * t + n * n) for t, n in medians]
    sets = [ReplicateSet(0.0025 * a + 0.0004 * b + 4.0, 20, 4.0, (a, b)) for a, b in terms]
    assert fit(sets).coefficients == (pytest.approx(0.0025, rel=1e-3), pytest.approx(0.0004, rel=1e-3))


def test_what_is_taken_off_leaves_the_errors_of_the_medians_as_they_were() -> None:
    """1000 and 100 less 500 and 50: level errors weigh (1000/500)^2 + (100/50)^2 = 8, shift errors (900/500)^2."""
    assert ratio_terms(1000, 100, (500, 50)) == (pytest.approx(3.24), pytest.approx(8))
    assert ratio_terms(1000, 100) == (pytest.approx(0.81), pytest.approx(2))
    assert delta_terms(1000, 100) == (810_000, 1_010_000)


@pytest.mark.parametrize(("information", "t"), [(1e5, 2.086), (1.0, 2.228), (1e9, 2.021)])
def test_degrees_of_freedom_lie_between_a_quarter_and_all(information: float, t: float) -> None:
    """Variance 0.01 known to 1/information, 40 degrees of freedom in all: 2 x 0.01^2 x information is 20; 10; 40."""
    law = Law((0.01,), ((information,),), 40)
    assert law.multiplier((1.0,), 0.0) == pytest.approx(t, abs=5e-4)


def test_limits_of_a_quotient_take_each_side_by_itself() -> None:
    """40 (30 to 50) over 80 (76 to 96): the lower limit rests on 16 above, the upper one on 4 below."""
    found = quotient(Estimate(40, 30, 50), Estimate(80, 76, 96))
    assert 40 - 80 * found.low == pytest.approx(math.hypot(10, 16 * found.low))
    assert 80 * found.high - 40 == pytest.approx(math.hypot(10, 4 * found.high))
    assert not quotient(Estimate(40, 30, 50), Estimate(80, 0, 96)).known


def test_relative_and_its_limits_are_fiellers() -> None:
    """40 (30 to 50) over 80 (72 to 88): 50 %; limits solve (40 - 80 r)^2 = 10^2 + 64 r^2.

    6336 r^2 - 6400 r + 1500 = 0, r = (6400 -+ sqrt(6400^2 - 4 x 6336 x 1500)) / 12672.
    """
    found = quotient(Estimate(40, 30, 50), Estimate(80, 72, 88))
    root = math.sqrt(6400**2 - 4 * 6336 * 1500)
    assert found.value == 0.5
    assert (found.low, found.high) == (pytest.approx((6400 - root) / 12672), pytest.approx((6400 + root) / 12672))


def test_relative_is_against_the_one_reference_at_the_dilution() -> None:
    """900 over 450 is 200 %; the reference itself is 100 %, without doubt; without one, or with two, it is named."""
    wells = [
        reading(),
        reading("A02", 550, 100, role=Role.REFERENCE, serum="REF"),
        reading("A03", dilution=80.0),
        reading("A04", dilution=320.0),
        reading("A05", dilution=320.0, role=Role.REFERENCE, serum="REF"),
        reading("A06", dilution=320.0, role=Role.REFERENCE, serum="OLD"),
        reading("A07", dilution=640.0),
        reading("A08", 101, 100, dilution=640.0, role=Role.REFERENCE, serum="REF"),
    ]
    rows = {(row.serum, row.dilution): row for row in combine(wells, NO_ERROR)}
    mine, base = rows["S", 20.0], rows["REF", 20.0]
    assert (mine.relative, base.relative, base.relative_low, base.relative_high) == (pytest.approx(200), 100, 100, 100)
    assert mine.relative_low < 200 < mine.relative_high
    for dilution, reason in ((80.0, "no-reference"), (320.0, "ambiguous"), (640.0, "undefined")):
        row = rows["S", dilution]
        assert math.isnan(row.relative)
        assert f"relative-{reason}" in row.notes
        assert f"relative-{reason}" in combine(wells, NO_ERROR, Frame(decide="relative"))[rows_at(rows, row)].flags


def rows_at(rows: dict[tuple[str, float], Reactivity], row: Reactivity) -> int:
    return list(rows).index((row.serum, row.dilution))


def test_delta_in_spreads_of_the_negative_sera_at_the_screening_dilution() -> None:
    """Negatives 10, 20, 30 at 1:20: mean 20, SD 10; a delta of 900 is 88 of them. Those at 1:80 do not count."""
    wells = [reading(f"N{i}", 100 + d, 100, role=Role.NEGATIVE, serum=f"N{i}") for i, d in enumerate((10, 20, 30))]
    wells += [reading("N9", 5000, 100, role=Role.NEGATIVE, serum="N9", dilution=80.0), reading()]
    rows = combine(wells, NO_ERROR)
    assert rows[-1].z_negative == pytest.approx(88)
    assert rows[0].z_negative == pytest.approx(-1)
    few = one(*wells[3:], frame=Frame(screening=80.0))
    assert math.isnan(few.z_negative)
    assert "z-negative-undefined" in few.notes


def test_rpc_limits_by_hand() -> None:
    """80 % and 2 % of 1,000 each, half an event added: 800.5 and 20.5 of 1,001.

    Variance of the log: 200.5/1001/800.5 + 980.5/1001/20.5 ... each (1 - p)/(n p), n = 1000.
    """
    row = one(reading(above_expressing=80.0, above_nonexpressing=2.0))
    p, q = 800.5 / 1001, 20.5 / 1001
    half = Z * math.sqrt((1 - p) / (1000 * p) + (1 - q) / (1000 * q))
    assert row.rpc.value == pytest.approx(40)
    assert (row.rpc.low, row.rpc.high) == (pytest.approx(40 * math.exp(-half)), pytest.approx(40 * math.exp(half)))


# --- no meaning, by name ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "name", "reason"),
    [
        (lambda: reading(dark=0), "index", "index-undefined"),
        (lambda: reading(dark=-5), "ratio", "ratio-undefined"),
        (lambda: reading(bright=-100), "log2_ratio", "log2-ratio-undefined"),
        (reading, "relative", "relative-no-reference"),
        (lambda: reading(above_expressing=80.0, above_nonexpressing=0.0), "rpc", "rpc-undefined"),
        (lambda: reading(above_expressing=100.0, above_nonexpressing=51.0), "rpc", "rpc-undefined"),
        (reading, "rpc", "rpc-undefined"),
        (reading, "z_negative", "z-negative-undefined"),
        (reading, "slope", "slope-undefined"),
        (lambda: reading(calibrated=Calibrated("MESF")), "mef_delta", "mef-delta-undefined"),
    ],
)
def test_what_has_no_meaning_is_empty_and_named(made, name: str, reason: str) -> None:
    """In notes; in flags where it is the ratio or what decides."""
    row = one(made())
    assert math.isnan(value_of(row, name))
    assert row.delta.known
    assert reason in (row.flags if name == "ratio" else row.notes)
    if name in ("index", "rpc", "relative"):
        assert reason in one(made(), frame=Frame(decide=name)).flags


def test_a_mean_of_beads_units_needs_every_well() -> None:
    """One well outside the beads would make the mean one of other wells than delta's."""
    both = [reading("A01", calibrated=Calibrated("MESF", 50, 10, 40)), reading("A02", calibrated=Calibrated("MESF"))]
    row = one(*both)
    assert math.isnan(row.mef_delta)
    assert "mef-delta-undefined" in row.notes
    assert math.isnan(one(both[0], reading("A02")).mef_delta)
    assert "mef-delta-undefined" not in one(reading()).notes


def test_a_background_is_taken_off_in_beads_units_too() -> None:
    """40 less the 5 of a well without serum; where that has none, nothing is given."""
    serum = reading(calibrated=Calibrated("MESF", 50, 10, 40))
    none = blank("H01", 60, 40)
    known = replace(none, calibrated=Calibrated("MESF", 8, 3, 5))
    assert one(serum, known, frame=Frame(backgrounds("P", [known], "secondary-only"))).mef_delta == 35
    assert math.isnan(one(serum, none, frame=Frame(backgrounds("P", [none], "secondary-only"))).mef_delta)


def test_control_cells_without_serum_are_no_background() -> None:
    """In paired wells their median is in the antigen well's shift already."""
    control = replace(blank("H02", 500, 400), well=replace(blank("H02", 500, 400).well, cells="control"))
    off = backgrounds("P", [blank("H01", 60, 40), control], "secondary-only")
    assert off.everywhere is not None
    assert (off.everywhere.n, off.everywhere.expressing.value) == (1, 60)


def test_titer_and_fold_rest_on_the_limits_of_the_read_out_that_is_asked_for() -> None:
    """An index known within a factor of two beside a ratio known within 2 %: the titer by index is the vaguer one."""
    wide = [
        replace(one(reading(bright=b, dilution=d)), index_low=b / 200, index_high=b / 50)
        for b, d in ((1600, 20.0), (400, 80.0), (120, 320.0))
    ]
    cutoffs = np.full(2000, 2.0)
    spans = []
    for name in ("index", "ratio"):
        found = interpolated_titer(wide, CutOff(name, 2.0, "fixed"), cutoffs, 1)
        assert found is not None
        spans.append(float(np.std(found.draws[np.isfinite(found.draws)])))
    assert spans[0] > 3 * spans[1]
    visit = Visit("PT", "S", "2026-01-01", "M0", True, 0.0)
    later = Visit("PT", "T", "2026-04-01", "M3", False, 3.0)
    measured = by_serum([], [wide[0], replace(wide[0], serum="T")])
    folds = [trajectories([visit, later], measured, name, 1)[1].fold for name in ("index", "ratio")]
    assert folds[0].high / folds[0].low > 2 * folds[1].high / folds[1].low


def test_a_negative_median_of_expressing_cells_has_no_logarithm() -> None:
    """-100 over 100 is a ratio of -1 without limits; never a logarithm."""
    row = one(reading(bright=-100))
    assert row.ratio.value == row.index == -1
    assert math.isnan(row.ratio.low)
    assert math.isnan(row.index_low)
    assert not row.log2_ratio.known


def test_read_outs_are_handed_out_by_name() -> None:
    row = one(reading())
    assert estimate_of(row, "index") == Estimate(row.index, row.index_low, row.index_high)
    assert estimate_of(row, "delta") == row.delta
    with pytest.raises(KeyError):
        value_of(row, "deltas")


# --- background ---------------------------------------------------------------------------------------


def blank(well: str, bright: float, dark: float) -> Reading:
    return reading(well, bright, dark, role=Role.SECONDARY_ONLY, serum="", dilution=None)


def test_wells_without_serum_taken_off_by_hand() -> None:
    """Blanks 60/40 and 80/50: 70 and 45 off. 1000 and 100 become 930 and 55: delta 875, ratio 16.909.

    The background's delta is 20 and 30: mean 25, SD 7.0711, limits 12.7062 x 7.0711 / sqrt 2 = 63.531 either way.
    """
    wells = [reading(), blank("H01", 60, 40), blank("H02", 80, 50)]
    off = backgrounds("P", wells, "secondary-only")
    row = one(*wells, frame=Frame(off))
    assert (row.background_expressing, row.background_nonexpressing) == (70, 45)
    assert (row.mfi_expressing, row.mfi_nonexpressing) == (1000, 100)
    assert row.delta.value == 875
    assert row.delta.high == pytest.approx(875 + math.hypot(math.sqrt(101), 12.7062 * 5), rel=1e-4)
    assert not row.ratio.known  # 45 is 12.7 x 5 uncertain: what is left of 100 may be 0
    assert "ratio-undefined" in row.flags
    sure = replace(
        off,
        everywhere=replace(off.everywhere, expressing=Estimate(70, 70, 70), nonexpressing=Estimate(45, 44, 46)),
    )
    row = one(*wells, frame=Frame(sure))
    assert row.ratio.value == row.index == pytest.approx(930 / 55)
    assert row.log2_ratio.value == pytest.approx(math.log2(930 / 55))
    up = math.hypot(math.log(940 / 930), math.log(55 / 54), 1 / 55)
    assert row.index_high == pytest.approx(930 / 55 * math.exp(up))
    down = math.hypot(math.log(930 / 920), math.log(56 / 55), 1 / 55)
    assert row.index_low == pytest.approx(930 / 55 * math.exp(-down))
    assert [r.delta.value for r in corrected(wells, off)] == [900, -5, 5]


def test_the_negative_pool_is_taken_off_at_each_dilution_by_itself() -> None:
    """At 1:20 negatives of 120/100 and 140/120 (a serum's wells first averaged): 130 and 110 off; none at 1:80."""
    wells = [
        reading("N1", 110, 90, role=Role.NEGATIVE, serum="N1"),
        reading("N2", 130, 110, role=Role.NEGATIVE, serum="N1"),
        reading("N3", 140, 120, role=Role.NEGATIVE, serum="N2"),
        reading("N4", 140, 120, role=Role.NEGATIVE, serum="N2", dilution=80.0),
        reading("A01", 1000, 300),
        reading("A02", 1000, 300, dilution=80.0),
    ]
    off = backgrounds("P", wells, "negative-pool")
    rows = {(row.serum, row.dilution): row for row in combine(wells, NO_ERROR, Frame(off))}
    assert rows["S", 20.0].delta.value == 680
    assert rows["S", 20.0].index == pytest.approx(870 / 190)
    at_80 = rows["S", 80.0]
    assert at_80.flags == ("background-missing",)
    assert (at_80.delta, at_80.ratio, at_80.log2_ratio) == (UNKNOWN, UNKNOWN, UNKNOWN)
    assert at_80.mfi_expressing == 1000
    checks = background_checks("P", off, [20.0, 80.0])
    assert [(check.verdict.value, check.value) for check in checks] == [("pass", 20.0), ("warn", 1)]
    assert "1:80" in checks[-1].message


def test_a_background_that_is_not_there_is_refused() -> None:
    """With the plate map, and again when no such well could be used."""
    wells = [reading(), replace(blank("H01", 60, 40), well=replace(blank("H01", 60, 40).well, excluded="dry"))]
    for kind in ("secondary-only", "negative-pool"):
        with pytest.raises(AnalysisError, match="background"):
            backgrounds("P", wells, kind)
        found = refusals("P", [r.well for r in wells], Readout(background=kind), "same-well")
        assert [kind in problem.what for problem in found] == [True]
    assert refusals("P", [reading().well], Readout(), "same-well") == []
    assert backgrounds("P", wells, "none") == Backgrounds()
    assert background_checks("P", Backgrounds(), [20.0]) == []


def test_other_read_outs_that_a_plate_cannot_give_are_refused() -> None:
    """`relative` without a reference at each dilution; a common limit of positive cells without wells to set it."""
    reference = reading("B01", role=Role.REFERENCE, serum="REF").well
    map_ = [reading().well, reading("A02", dilution=80.0).well, reference]
    (problem,) = refusals("P", map_, Readout(decide="relative"), "same-well")
    assert "1:80" in problem.what
    assert refusals("P", [map_[0], reference], Readout(decide="relative"), "same-well") == []
    no_serum = blank("H01", 60, 40).well
    setting = Readout(positive_above="without-serum")
    assert len(refusals("P", map_, setting, "same-well")) == 1
    assert refusals("P", [no_serum], setting, "same-well") == []
    assert len(refusals("P", [no_serum], setting, "paired-well")) == 1
    assert refusals("P", [replace(no_serum, cells="control")], setting, "paired-well") == []


def test_one_well_without_serum_says_that_its_error_is_of_counting() -> None:
    off = backgrounds("P", [blank("H01", 60, 40)], "secondary-only")
    assert off.everywhere is not None
    assert off.everywhere.delta == blank("H01", 60, 40).delta
    assert [check.verdict.value for check in background_checks("P", off, [20.0])] == ["pass", "warn"]


# --- events -------------------------------------------------------------------------------------------


class Drawn:
    """Events in memory."""

    def __init__(self, columns: dict[str, Values]) -> None:
        self._columns = columns
        self.channels = tuple(Channel(i + 1, name) for i, name in enumerate(columns))
        self.count = len(next(iter(columns.values())))

    def column(self, name: str) -> Values:
        return self._columns[name]


PE = Dimension("PE", compensated=True)


def slope_of(reporter: Values, signal: Values, scale: float) -> float:
    columns = Columns(Drawn({"GFP": reporter, "PE": signal}), None)
    return signal_slope(columns, "GFP", PE, np.arange(len(reporter)), scale)


def test_the_slope_tells_binding_that_follows_the_antigen() -> None:
    """In proportion to the reporter: 1, where it stands far above the dark cells' spread. Beside it: 0."""
    rng = np.random.default_rng(5)
    reporter = np.exp(rng.normal(8, 0.8, 20_000))
    noise = np.exp(rng.normal(0, 0.5, 20_000))
    assert slope_of(reporter, reporter * noise, 20.0) == pytest.approx(1, abs=0.12)
    assert slope_of(reporter, np.sqrt(reporter) * 100 * noise, 20.0) == pytest.approx(0.5, abs=0.12)
    assert slope_of(reporter, 3000 * noise, 20.0) == pytest.approx(0, abs=0.12)


def test_the_slope_by_hand() -> None:
    """Eight bins of 20: medians 2^i of the reporter and sinh(i) of the signal at scale 1: every pair rises 1 / ln 2."""
    reporter = np.repeat(2.0 ** np.arange(8), 20)
    signal = np.repeat(np.sinh(np.arange(8.0)), 20)
    assert slope_of(reporter, signal, 1.0) == pytest.approx(1 / math.log(2))


@pytest.mark.parametrize(
    ("n", "scale", "shift"),
    [(159, 1.0, 1.0), (160, 0.0, 1.0), (160, NAN, 1.0), (160, 1.0, -1e6)],
)
def test_a_slope_without_grounds_is_not_given(n: int, scale: float, shift: float) -> None:
    """Below 20 events a bin, without a scale, and where the reporter lies below 0."""
    reporter = np.arange(1.0, n + 1) + shift
    assert math.isnan(slope_of(reporter, np.ones(n), scale))


@settings(deadline=None, max_examples=40)
@given(st.integers(-8, 8), st.integers(-8, 8), st.integers(0, 5))
def test_the_slope_has_no_units(x: int, y: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    reporter, signal = np.exp(rng.normal(5, 1, 400)), rng.normal(50, 80, 400)
    there = slope_of(reporter, signal, spread_of(signal))
    back = slope_of(reporter * 2.0**x, signal * 2.0**y, spread_of(signal * 2.0**y))
    assert back == pytest.approx(there, rel=1e-9)


def test_positive_cells_are_counted_above_one_limit() -> None:
    """Dark cells 1 to 100: 99 is their 99th percentile, 1 % lie above it, and half of the bright ones (98 to 101).

    Above the plate's 50 lie 50 % and 100 %; where another well holds the dark cells, its limit serves.
    """
    bright, dark = np.array([98.0, 99, 100, 101] * 10), np.arange(1.0, 101)
    columns = Columns(Drawn({"GFP": np.ones(140), "PE": np.concatenate([bright, dark])}), None)
    rows = {"on": np.arange(40), "off": np.arange(40, 140)}
    own = measure(columns, rows, Populations("on", "off"), "PE", "median")
    assert (own.above_expressing, own.above_nonexpressing, own.percent_positive) == (50, 1, 50)
    one_for_all = measure(columns, rows, Populations("on", "off"), "PE", "median", Against(plate_top=50.0))
    assert (one_for_all.above_expressing, one_for_all.above_nonexpressing) == (100, 50)
    assert one_for_all.percent_positive == 50
    paired = measure(columns, rows, Populations("on", None), "PE", "median", Against(background_top=100.0))
    assert paired.above_expressing == 25
    assert math.isnan(paired.above_nonexpressing)


def test_measuring_the_slope_leaves_the_medians_as_they_are() -> None:
    rng = np.random.default_rng(1)
    reporter, signal = np.exp(rng.normal(8, 0.8, 5000)), rng.normal(300, 200, 5000)
    columns = Columns(Drawn({"GFP": reporter, "PE": signal}), None)
    rows = {"on": np.flatnonzero(reporter > 3000), "off": np.flatnonzero(reporter < 2000)}
    plain = measure(columns, rows, Populations("on", "off"), "PE", "median")
    more = measure(columns, rows, Populations("on", "off", "GFP"), "PE", "median")
    assert math.isnan(plain.slope)
    assert not math.isnan(more.slope)
    assert replace(more, slope=NAN).expressing == plain.expressing == median_with_limits(signal[rows["on"]])
    assert more.nonexpressing == plain.nonexpressing


# --- laws -----------------------------------------------------------------------------------------------

medians = st.floats(1.0, 1e5)


@settings(deadline=None)
@given(st.lists(st.tuples(medians, medians), min_size=1, max_size=4), st.integers(-10, 10))
def test_units_move_delta_and_nothing_that_is_a_ratio(pairs: list[tuple[float, float]], doublings: int) -> None:
    unit = 2.0**doublings
    here = [
        reading(f"A{i:02d}", t, n, above_expressing=50.0, above_nonexpressing=2.0) for i, (t, n) in enumerate(pairs)
    ]
    there = [
        reading(f"A{i:02d}", t * unit, n * unit, above_expressing=50.0, above_nonexpressing=2.0)
        for i, (t, n) in enumerate(pairs)
    ]
    a, b = (one(*wells, error=replicate_error(wells)) for wells in (here, there))
    for name in ("ratio", "index", "log2_ratio", "rpc"):
        for x, y in zip(limits(a, name), limits(b, name), strict=True):
            assert y == pytest.approx(x, rel=1e-5, abs=1e-7)
    for x, y in zip(limits(a, "delta"), limits(b, "delta"), strict=True):
        assert y == pytest.approx(x * unit, rel=1e-5, abs=1e-4 * unit)


def limits(row: Reactivity, name: str) -> tuple[float, float, float]:
    found = estimate_of(row, name)
    return found.low, found.value, found.high


@given(st.floats(-1e4, 1e4), st.floats(0.1, 1e3), st.floats(1.0, 1e4), st.floats(0.01, 0.9))
def test_limits_of_a_quotient_hold_it(top: float, half: float, bottom: float, share: float) -> None:
    found = quotient(
        Estimate(top, top - half, top + half), Estimate(bottom, bottom * (1 - share), bottom * (1 + share))
    )
    assert found.low <= found.value <= found.high
    assert (found.low > 0) == (top - half > 0)
    assert (found.high < 0) == (top + half < 0)


@given(st.lists(st.tuples(medians, medians), min_size=2, max_size=4))
def test_the_index_lies_between_the_ratios(pairs: list[tuple[float, float]]) -> None:
    """A ratio of means is a mean of ratios weighted by the denominators."""
    row = one(*(reading(f"A{i:02d}", t, n) for i, (t, n) in enumerate(pairs)))
    ratios = [t / n for t, n in pairs]
    assert min(ratios) * (1 - 1e-9) <= row.index <= max(ratios) * (1 + 1e-9)


# --- limits hold the truth ------------------------------------------------------------------------------

RATIOS = (1.02, 1.1, 1.3, 2.0, 5.0, 20.0)


def simulated(
    rng: np.random.Generator, errors: tuple[float, float, float], sets: int, replicates: int
) -> list[Reading]:
    """A plate of sera from hardly to strongly positive. Errors: of each median, of both alike, of the shift."""
    level, common, shift = errors
    wells = []
    for i in range(sets):
        dark = 100.0
        delta = dark * (RATIOS[i % 6] - 1)
        for j in range(replicates):
            alike = math.exp(common * rng.standard_normal())
            bright = (dark + delta * math.exp(shift * rng.standard_normal())) * alike
            both = [x * math.exp(level * rng.standard_normal()) for x in (bright, dark * alike)]
            seen = [x * math.exp(0.04 * rng.standard_normal()) for x in both]
            counted = [Estimate(x, x * math.exp(-Z * 0.04), x * math.exp(Z * 0.04)) for x in seen]
            well = Well("P", f"{i}-{j}", "f", Role.SAMPLE, f"S{i}", "", 20.0, str(j))
            made = Reading(well, 5000, {"expressing": 1000, "nonexpressing": 1000}, *counted)
            wells.append(readout.with_shift(made))
    return wells


@pytest.mark.parametrize("replicates", [2, 3])
@pytest.mark.parametrize("errors", [(0.08, 0.0, 0.0), (0.0, 0.1, 0.0), (0.0, 0.0, 0.1), (0.03, 0.07, 0.07)], ids=str)
def test_limits_hold_planted_shifts_from_hardly_any_to_strong(
    errors: tuple[float, float, float], replicates: int
) -> None:
    """Whatever the wells' error is made of: in about 95 % of the sera, and at no level of the shift in far fewer."""
    rng = np.random.default_rng([7, replicates])
    hits: dict[tuple[str, int], list[bool]] = {}
    for _ in range(30):
        wells = simulated(rng, errors, 36, replicates)
        for row in combine(wells, replicate_error(wells)):
            kind = int(row.serum[1:]) % 6
            true = {"delta": 100 * (RATIOS[kind] - 1), "ratio": RATIOS[kind], "index": RATIOS[kind]}
            for name, value in true.items():
                low, _, high = limits(row, name)
                hits.setdefault((name, kind), []).append(low <= value <= high)
    for name in ("delta", "ratio", "index"):
        shares = [float(np.mean(hits[name, kind])) for kind in range(6)]
        assert 0.92 <= np.mean(shares) <= 0.985, (name, shares)
        assert min(shares) >= 0.86, (name, shares)


def test_wells_without_replicates_are_as_wide_as_those_beside_them_allow() -> None:
    """Single wells take the error that the plate's pairs show: about 95 %, where counting alone holds two in three."""
    rng = np.random.default_rng(11)
    held: dict[str, list[bool]] = {"pairs": [], "none": []}
    for _ in range(40):
        pairs = simulated(rng, (0.08, 0.0, 0.0), 24, 2)
        singles = [r for r in pairs if not (int(r.well.serum[1:]) < 12 and r.well.replicate == "1")]
        for key, wells in (("pairs", singles), ("none", [r for r in singles if r.well.replicate == "0"])):
            for row in combine(wells, replicate_error(wells)):
                if int(row.serum[1:]) < 12:
                    held[key].append(row.index_low <= RATIOS[int(row.serum[1:]) % 6] <= row.index_high)
                    assert ("counting-error-only" in row.notes) == (key == "none")
    assert 0.92 <= np.mean(held["pairs"]) <= 0.985
    assert np.mean(held["none"]) < 0.75


def test_relative_limits_hold_planted_truth() -> None:
    """Delta over the reference's, both with normal error: 95 % within three standard errors of the share."""
    rng = np.random.default_rng(3)
    hit = []
    for top, bottom in ((5.0, 100.0), (60.0, 100.0), (300.0, 60.0)) * 700:
        a, b = top + 8 * rng.standard_normal(), bottom + 12 * rng.standard_normal()
        found = quotient(Estimate(a, a - Z * 8, a + Z * 8), Estimate(b, b - Z * 12, b + Z * 12))
        if found.known:
            hit.append(found.low <= top / bottom <= found.high)
    assert np.mean(hit) == pytest.approx(0.95, abs=3 * math.sqrt(0.05 * 0.95 / len(hit)))


# --- on a plate -----------------------------------------------------------------------------------------


def test_a_run_takes_the_background_off_and_says_so(plate: Path, tmp_path: Path, call, table) -> None:
    """What is in the tables can be summed again; the wells' own table stays as measured."""
    definition = plate.parents[1] / "assay.toml"
    text = definition.read_text().replace("[readout]\n", '[readout]\nbackground = "secondary-only"\n')
    definition.write_text(text)
    done = call("run", plate, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    rows = table(tmp_path / "out" / "reactivity.csv")
    assert {row["background_expressing"] for row in rows} == {rows[0]["background_expressing"]} != {""}
    for row in rows:
        left = [float(row[f"mfi_{x}"]) - float(row[f"background_{x}"]) for x in ("expressing", "nonexpressing")]
        assert float(row["delta"]) == pytest.approx(left[0] - left[1], rel=1e-3, abs=0.1)
        if row["index"]:
            assert float(row["index"]) == pytest.approx(left[0] / left[1], rel=1e-3)
    checks = {check["check"]: check for check in table(tmp_path / "out" / "checks.csv")}
    assert checks["background"]["verdict"] == "pass"
    assert float(checks["secondary-only"]["value"]) == pytest.approx(0, abs=1e-3)
    for well in table(tmp_path / "out" / "wells.csv"):
        if well["delta"]:
            own = float(well["mfi_expressing"]) - float(well["mfi_nonexpressing"])
            assert float(well["delta"]) == pytest.approx(own, rel=1e-3, abs=0.01)


def test_a_run_with_one_limit_for_positive_cells(plate: Path, tmp_path: Path, call, table) -> None:
    """The limit is a check; strong background has most of the dark cells above it, and rpc is then not given."""
    definition = plate.parents[1] / "assay.toml"
    definition.write_text(
        definition.read_text().replace("[readout]\n", '[readout]\npositive_above = "without-serum"\n')
    )
    done = call("run", plate, "-o", tmp_path / "out", "--until", "wells")
    assert done.returncode == 0, done.stderr
    wells = table(tmp_path / "out" / "wells.csv")
    checks = {check["check"]: check for check in table(tmp_path / "out" / "checks.csv")}
    assert float(checks["rpc-limit"]["value"]) > 0
    sera = [well for well in wells if well["role"] in ("sample", "negative")]
    assert max(float(well["above_nonexpressing"]) for well in sera) > 90
    assert {well["above_expressing"] for well in wells if well["role"] == "secondary-only"} == {""}
    slopes = {role: [float(w["slope"]) for w in sera if w["role"] == role and w["dilution"] == "20"]
              for role in ("sample", "negative")}  # fmt: skip
    assert min(slopes["sample"]) > 0.2
    assert max(map(abs, slopes["negative"])) < 0.1


def test_unknown_stays_unknown_when_nothing_is_taken_off() -> None:
    from aqp4flow.assay.background import less

    assert less(Estimate(5, 4, 6), UNKNOWN) == Estimate(5, 4, 6)
    assert less(Estimate(5, 4, 6), Estimate(1, 1, 1)) == Estimate(4, 3, 5)
