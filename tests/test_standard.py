"""Units of a reference serum: standards read back, the range, units never beyond it, and parallelism."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aqp4flow.assay.definition import ReferenceSettings
from aqp4flow.assay.units.parallelism import parallelism, slope_ratio
from aqp4flow.assay.units.reference import PlateUnits, plate_units
from aqp4flow.assay.units.standard import (
    Chance,
    PlateFacts,
    Reference,
    ReferenceCurve,
    Standard,
    back_calculated,
    before_the_maximum,
    fit_reference,
    holds,
    judged,
    read_back,
    with_range,
)
from aqp4flow.assay.units.units import SerumUnits, units_of
from aqp4flow.cohort.trajectory import by_serum, trajectories
from aqp4flow.model import (
    NAN,
    UNKNOWN,
    Bound,
    Estimate,
    Reactivity,
    Role,
    Status,
    Titer,
    Titration,
    Verdict,
    Visit,
    Z,
)
from aqp4flow.report import standardfigure

RULES = ReferenceSettings()
LAW = Chance(400, 1)
STANDARDS = 20 * 3.0 ** np.arange(8)
LADDER = 20 * 4.0 ** np.arange(6)
CUTOFF = 80.0


def row(dilution: float, delta: float, sd: float = 0.0, *, serum: str = "S", **facts: object) -> Reactivity:
    """One serum at one dilution, with the limits of a standard error."""
    role = Role.REFERENCE if serum.startswith("REF") else Role.SAMPLE
    shift = Estimate(delta, delta - Z * sd, delta + Z * sd)
    base = Reactivity(
        "P", serum, role, dilution, 1, delta + 100, 100, shift, UNKNOWN, NAN, NAN, NAN, NAN, Status.POSITIVE
    )
    return replace(base, **facts)


def one_site(count: int = 400) -> ReferenceCurve:
    """1000 / (1 + d / 100), known without error."""
    natural = np.array([0.0, 1000.0, 100.0, 1.0, 1.0])
    return ReferenceCurve("one-site", natural, np.tile(natural, (count, 1)))


def reference(low: float = 25, high: float = 400, curve: ReferenceCurve | None = None) -> Reference:
    """An accepted reference of 100 AU on that curve; standards at `low`, 100 and `high`, which bound the range."""
    curve = curve or one_site()
    standards = [
        Standard(row(d, float(curve.delta(np.array(d))), serum="REF"), 100 / d, used=True, in_range=True)
        for d in (low, 100.0, high)
    ]
    return Reference("P", "REF", RULES, tuple(standards), curve, accepted=True)


# --- standards read back, by hand -------------------------------------------------------------------


def test_recovery_limits_and_cv_by_hand() -> None:
    """1:240 reads 250 = 1000 / (1 + 300/100): fitted 100/300, held 100/240, recovery 80 %.

    Delta falls by 1000 z / (1 + z)^2 = 187.5 per e-fold at z = 3: an error of 25 is one of 0.13333 in log units, so
    limits are 0.3333 exp(-+ 1.96 x 0.13333) and the CV is sqrt(exp(0.13333^2) - 1) = 13.39 %.
    """
    found = back_calculated(Standard(row(240, 250, 25), 100 / 240, used=True), one_site(), RULES)
    assert found.fitted.value == pytest.approx(1 / 3)
    assert found.recovery == pytest.approx(80)
    assert found.fitted.low == pytest.approx(math.exp(-1.959964 * 25 / 187.5) / 3)
    assert found.fitted.high == pytest.approx(math.exp(1.959964 * 25 / 187.5) / 3)
    assert found.cv == pytest.approx(13.393, abs=1e-3)


def test_the_error_of_the_curve_is_in_the_limits_of_a_standard() -> None:
    """A curve known to 20 % in its midpoint alone: units are known to 20 %, whatever the dilution."""
    curve = one_site(20_000)
    curve.draws[:, 2] *= np.exp(0.2 * np.random.default_rng(3).standard_normal(20_000))
    for dilution in (30.0, 100.0, 900.0):
        delta = float(curve.delta(np.array(dilution)))
        found = back_calculated(Standard(row(dilution, delta), 100 / dilution, used=True), curve, RULES)
        assert math.log(found.fitted.high / found.fitted.value) == pytest.approx(Z * 0.2, rel=0.07)


def test_a_standard_above_the_curves_top_is_not_read() -> None:
    """1001 of at most 1000 stands for no dilution."""
    found = back_calculated(Standard(row(20, 1001, 5), 5, used=True), one_site(), RULES)
    assert not found.fitted.known
    assert found.note == "beyond the ends of the curve"


def read(*recoveries: float, cv: float = 5.0) -> list[Standard]:
    """Standards at 10, 20, 40, ... with these recoveries."""
    made = [Standard(row(10 * 2.0**i, 500), 10 / 2.0**i, used=True, cv=cv) for i in range(len(recoveries))]
    return [replace(s, fitted=Estimate(s.units * r / 100)) for s, r in zip(made, recoveries, strict=True)]


@pytest.mark.parametrize(
    ("recoveries", "within"),
    [
        ((130, 76, 90, 110, 81, 124, 60), [20, 40, 80, 160, 320]),  # the ends may be 25 % off
        ((130, 74, 90, 110, 81, 126, 60), [40, 80, 160]),
        ((100, 100, 100, 79, 100, 100, 100, 100), [80, 160, 320, 640, 1280]),  # the longer side of what fails within
        ((100, 70, 100, 70, 100), []),
        ((100, 100, 100, 60, 100, 100, 100), [10, 20, 40]),  # of equals the one with more units
        ((100, 100, 60, 100), []),  # two make no range
    ],
)
def test_the_range_is_the_longest_run_of_standards_that_pass(recoveries: tuple[float, ...], within: list[int]) -> None:
    """80 to 120 % within, 75 to 125 % at the ends, nothing that fails between."""
    assert [s.dilution for s in with_range(read(*recoveries), RULES) if s.in_range] == within


def test_an_imprecise_standard_bounds_the_range() -> None:
    """A CV above 25 % is no end, one above 20 % nothing but an end."""
    made = read(100, 100, 100, 100, 100, 100)
    cvs = [26, 24, 5, 5, 21, 24]
    found = with_range([replace(s, cv=cv) for s, cv in zip(made, cvs, strict=True)], RULES)
    assert [s.dilution for s in found if s.in_range] == [20, 40, 80, 160]


@pytest.mark.parametrize(
    ("recoveries", "held"),
    [
        ((100, 100, 100, 60, 60, 100, 100, 100), True),  # six of eight: 75 %
        ((100, 100, 100, 60, 60, 60, 100, 100), False),  # five of eight
        ((100, 100, 100, 100, 60), False),  # four of five, of which all must pass
        ((100, 100, 100, 100, 100), True),
        ((100, 100, 60, 100, 100, 60, 100, 100), False),  # six of eight, but no three in a row
    ],
)
def test_three_quarters_of_six_standards_or_all_of_fewer_must_pass(recoveries: tuple[float, ...], held: bool) -> None:
    """And there must be a range."""
    standards = tuple(with_range(read(*recoveries), RULES))
    assert holds(Reference("P", "REF", RULES, standards, one_site())) is held


def planted(b: float = 8, t: float = 10_000, m: float = 110, h: float = 0.97, g: float = 1.0):
    """A curve of the reference, written out independently of the product."""
    return lambda d: b + t / (1 + (np.asarray(d) / m) ** h) ** g


CURVE = planted()


def series(serum: str, dilutions: np.ndarray, deltas: np.ndarray, cv: float = 0.03) -> list[Reactivity]:
    """Rows without noise, errors of 3 % and 3 MFI."""
    return [row(float(d), float(y), math.hypot(cv * y, 3), serum=serum) for d, y in zip(dilutions, deltas, strict=True)]


def test_clean_standards_are_read_back_and_the_range_ends_above_the_cut_off() -> None:
    """Every recovery is 100 %; what is not above the cut-off is an anchor: it holds the curve, and is not judged."""
    found = read_back(series("REF", STANDARDS, CURVE(STANDARDS)), RULES, PlateFacts(CUTOFF, True), LAW)
    assert found.accepted
    assert found.curve.model == "4pl"
    assert [s.recovery for s in found.standards] == [pytest.approx(100, abs=0.2)] * 8
    assert all(s.used for s in found.standards)
    assert found.standards[-1].note == "not above the cut-off"
    assert found.ends == (60, 14580)
    assert (found.lloq, found.uloq) == (pytest.approx(100 / 14580), pytest.approx(100 / 60))
    assert judged(found) == (6, 6)  # 20 lies on the flat part: its CV is beyond 25 %


def test_standards_that_tell_nothing_are_left_out_by_name() -> None:
    """Saturated, not above 0, before the maximum, without a well: each with its reason, the curve from the rest."""
    rows = series("REF", STANDARDS, CURVE(STANDARDS))
    rows[0] = row(20, 3000, 60, serum="REF")
    rows[1] = replace(rows[1], flags=("saturated",))
    rows[4] = replace(rows[4], delta=UNKNOWN)
    rows[7] = row(43740, 5, 4, serum="REF")
    found = read_back(rows, RULES, PlateFacts(NAN, True), LAW)
    notes = {s.dilution: s.note for s in found.standards if not s.used}
    assert notes == {
        20: "before the maximum: hook",
        60: "saturated: a lower bound",
        1620: "no usable well",
        43740: "limits of delta hold 0",
    }
    assert found.curve is None or found.curve.model == "one-site"  # four standards are left


@pytest.mark.parametrize(("n", "model"), [(3, None), (4, "one-site"), (5, "4pl"), (8, "4pl")])
def test_the_model_follows_the_number_of_dilutions(n: int, model: str | None) -> None:
    """One-site where there are too few dilutions for 4pl; with three there is no curve."""
    found, flags = fit_reference(series("REF", STANDARDS[:n], CURVE(STANDARDS[:n])), True, LAW)
    assert (found.model if found else None) == model
    assert flags == ([] if found else ["curve-too-few"])


def test_5pl_is_taken_only_where_it_is_clearly_better() -> None:
    """A curve of marked asymmetry over 16 dilutions is 5pl; a symmetric one with noise stays 4pl."""
    dilutions = 20 * 1.8 ** np.arange(16)
    noise = np.exp(0.02 * np.random.default_rng(8).standard_normal(16))
    for curve, model in ((planted(b=60, h=3, g=0.25), "5pl"), (planted(b=60, h=1.2), "4pl")):
        found, _ = fit_reference(series("REF", dilutions, curve(dilutions) * noise), True, LAW)
        assert found.model == model


def test_standards_that_scatter_beyond_their_errors_widen_the_curve() -> None:
    """Errors of 1 % and 10 % of scatter: the curve is as uncertain as that scatter, not as the errors, makes it."""
    noise = np.exp(0.1 * np.random.default_rng(4).standard_normal(8))
    width = {}
    for cv in (0.01, 0.1):
        found, _ = fit_reference(series("REF", STANDARDS, CURVE(STANDARDS) * noise, cv), True, Chance(4000, 1))
        width[cv] = float(np.std(found.shifts(np.array([540.0]))))
    assert width[0.01] == pytest.approx(width[0.1], rel=0.5)


# --- units by hand -----------------------------------------------------------------------------------


def test_units_of_one_reading_by_hand() -> None:
    """At 1:40 a delta of 250, as the reference at 1:300: 100 x 40 / 300 = 13.33, limits as of the standard above."""
    found = units_of([row(40, 250, 25)], reference(curve=one_site(20_000)), Chance(20_000, 1))
    assert found.units.bound is Bound.EXACT
    assert found.units.value == pytest.approx(40 / 3)
    assert math.log(found.units.high / found.units.value) == pytest.approx(Z * 25 / 187.5, rel=0.03)
    assert math.log(found.units.value / found.units.low) == pytest.approx(Z * 25 / 187.5, rel=0.03)


def test_readings_are_weighed_by_their_errors_through_the_curve() -> None:
    """A parallel serum at d/m of 1 and 3, each with 5 %: log-log slopes 1/2 and 3/4, weights as 4 to 9.

    Readings 2 % too high and exact: log units too high by 0.0198 / (1/2) and 0, on average 4/13 of 0.0396.
    """
    rows = [row(100, 500 * 1.02, 500 * 1.02 * 0.05), row(300, 250, 12.5)]
    found = units_of(rows, reference(), LAW)
    assert found.inside.weights == pytest.approx([4 / 13, 9 / 13], rel=0.02)
    assert math.log(found.units.value / 100) == pytest.approx(4 / 13 * 0.0396, rel=0.03)


def test_readings_that_disagree_widen_the_limits() -> None:
    """Three at the same place of the curve, log units 0 and +-0.2, each 0.02: chi squared / 2 = 2 x 10^2 / 2 = 100.

    Standard error 0.02 / sqrt(3) of the mean where they agree, and 10 times that where they do not.
    """
    apart = [row(100 * math.exp(off), 500, 5) for off in (-0.2, 0.0, 0.2)]
    found = units_of(apart, reference(curve=one_site(20_000)), Chance(20_000, 1)).units
    assert math.log(found.high / found.value) == pytest.approx(Z * 0.2 / math.sqrt(3), rel=0.1)


def test_readings_beyond_the_range_take_no_part() -> None:
    """Only those between the readings at 1:25 (800) and 1:400 (200) count: the wrong ones beside do not."""
    rows = [row(5, 990, 1), row(50, 500, 10), row(400, 150, 1), row(1000, 140, 1)]
    found = units_of(rows, reference(), LAW)
    assert [r.dilution for r in found.inside.rows] == [50]
    assert found.units.value == pytest.approx(50)


def test_below_the_range_is_a_bound_at_the_lowest_dilution() -> None:
    """Below 200 at 1:20: less than the LLOQ, 100/400 a well, x 20 = 5; the open side is empty."""
    found = units_of([row(20, 150, 10), row(80, 40, 5)], reference(), LAW)
    assert (found.units.value, found.units.bound) == (pytest.approx(5), Bound.BELOW)
    assert math.isnan(found.units.low)
    assert found.units.high == pytest.approx(5)
    worth = replace(reference(), settings=ReferenceSettings(units=40))
    assert units_of([row(20, 150, 10)], worth, LAW).units.value == pytest.approx(2)
    near = units_of([row(20, 199, 10)], reference(), LAW)
    assert near.units.high > 5  # so near that its error reaches into the range
    assert found.inside is None


def test_above_the_range_is_a_bound_at_the_highest_dilution() -> None:
    """Above 800 still at 1:320: more than the ULOQ, 100/25 a well, x 320 = 1280."""
    found = units_of([row(80, 950, 10), row(320, 900, 10)], reference(), LAW)
    assert (found.units.value, found.units.bound) == (pytest.approx(1280), Bound.ABOVE)
    assert (found.units.low, math.isnan(found.units.high)) == (pytest.approx(1280), True)


def test_a_saturated_reading_is_a_lower_bound() -> None:
    """Within the range, 500 at 1:80: at least 100 x 80 / 100. With a sound reading beside it, it is not used."""
    saturated = row(80, 500, 10, flags=("saturated",))
    found = units_of([saturated], reference(), LAW)
    assert (found.units.value, found.units.bound, found.flags) == (pytest.approx(80), Bound.ABOVE, ("saturated",))
    beside = units_of([saturated, row(320, 250, 10)], reference(), LAW)
    assert beside.units.bound is Bound.EXACT
    assert beside.units.value == pytest.approx(320 / 3)


def test_units_between_two_dilutions_are_a_bound_and_flagged() -> None:
    """Above the range at 1:20, below it at 1:2000: more than 4 x 20, and that there is more to know is flagged."""
    found = units_of([row(20, 900, 10), row(2000, 100, 10)], reference(), LAW)
    assert (found.units.value, found.units.bound, found.flags) == (pytest.approx(80), Bound.ABOVE, ("units-between",))


def test_readings_before_a_maximum_are_not_read_as_low() -> None:
    """400 at 1:20 would be 13 AU; the serum has 500 at 1:400 and thus 400 AU. Within the limits no hook is seen."""
    rows = [row(20, 400, 10), row(100, 600, 10), row(400, 500, 10)]
    found = units_of(rows, reference(), LAW)
    assert found.flags == ("hook",)
    assert [r.dilution for r in found.inside.rows] == [100, 400]
    assert before_the_maximum([row(20, 790, 10), row(80, 800, 10), row(320, 500, 10)]) == 0


def test_a_serum_without_a_usable_well_has_no_units() -> None:
    """Nothing read, nothing said."""
    found = units_of([replace(row(20, 400), delta=UNKNOWN)], reference(), LAW)
    assert (found.units, found.draws) == (None, None)


# --- parallelism -------------------------------------------------------------------------------------


def measured(rows: list[Reactivity]) -> SerumUnits:
    """Units by the reference with a wide range."""
    return units_of(rows, reference(2, 5000), LAW)


def reads_as(dilution: float) -> float:
    """Delta of the one-site reference."""
    return 1000 / (1 + dilution / 100)


def test_cv_of_corrected_units_by_hand() -> None:
    """10, 12 and 14 AU: mean 12, SD 2, CV 16.67 %."""
    rows = [row(d, reads_as(100 * d / u), 1) for d, u in ((20, 10), (40, 12), (80, 14))]
    found = parallelism("P", measured(rows), RULES)
    assert found.cv == pytest.approx(100 / 6)
    assert found.n_dilutions == 3


@pytest.mark.parametrize(("ratio", "parallel"), [(0.6, "no"), (1.0, "yes"), (1.1, "yes"), (1.6, "no")])
def test_the_slope_ratio_of_clean_readings_is_the_planted_one(ratio: float, parallel: str) -> None:
    """A serum that reads as the reference at a dilution of 100 (d/100)^r."""
    rows = [row(d, reads_as(100 * (d / 100) ** ratio), 5) for d in (20, 80, 320, 1280)]
    found = measured(rows)
    slope = slope_ratio(found.inside)
    assert slope.value == pytest.approx(ratio)
    assert slope.low < ratio < slope.high
    assert parallelism("P", found, RULES).parallel == parallel


def test_a_slope_that_is_off_for_certain_is_not_parallel_though_the_cv_is_low() -> None:
    """Over a factor of four in dilution a ratio of 0.7 makes a CV of 21 % only."""
    rows = [row(d, reads_as(100 * (d / 100) ** 0.7), 2) for d in (50, 100, 200)]
    found = parallelism("P", measured(rows), RULES)
    assert found.cv < 25
    assert found.slope.high < 0.8
    assert (found.parallel, found.note) == ("no", "slope beyond its limits for certain")


def test_readings_that_scatter_beyond_their_errors_widen_the_limits_of_the_slope() -> None:
    """Errors of 1 % about units that go up and down by 10 %."""
    rows = [row(d, reads_as(d * f), 0.01 * reads_as(d)) for d, f in ((20, 1.1), (80, 0.9), (320, 1.1), (1280, 0.9))]
    assert slope_ratio(measured(rows).inside).high - slope_ratio(measured(rows).inside).low > 0.1


def test_wide_limits_of_the_slope_are_told() -> None:
    """The same slope of 1 with large errors: yes by the CV, and not for certain."""
    precise, vague = (
        parallelism("P", measured([row(d, reads_as(d), cv * reads_as(d)) for d in (50, 100, 200)]), RULES)
        for cv in (0.01, 0.15)
    )
    assert (precise.parallel, precise.note) == ("yes", "slope within its limits for certain")
    assert (vague.parallel, vague.note) == ("yes", "limits of the slope reach beyond those allowed")


def test_fewer_than_three_dilutions_say_nothing_of_parallelism() -> None:
    """The verdict is empty and the reason told."""
    found = parallelism("P", measured([row(50, 600, 5), row(100, 500, 5)]), RULES)
    assert (found.parallel, found.note) == ("", "2 dilutions in range: 3 are needed")


# --- a plate and its checks ------------------------------------------------------------------------


def plate(*sera: tuple[str, float], **more: list[Reactivity]) -> list[Reactivity]:
    """A clean reference, and sera of so many AU on the same curve."""
    rows = series("REF", STANDARDS, CURVE(STANDARDS))
    for name, units in sera:
        rows += series(name, LADDER, CURVE(LADDER * 100 / units))
    return rows + [one for extra in more.values() for one in extra]


def units(rows: list[Reactivity], rules: ReferenceSettings = RULES, cutoff: float = CUTOFF) -> PlateUnits:
    return plate_units(rows, rules, PlateFacts(cutoff, True), LAW)


def test_a_plate_gives_the_planted_units_and_passes() -> None:
    """Sera of 12 and 150 AU, and one far too weak; the reference itself has no units of its own making."""
    found = units(plate(("A", 12), ("B", 150), ("C", 0.01)))
    assert [(s.serum, s.units.bound) for s in found.sera] == [
        ("A", Bound.EXACT),
        ("B", Bound.EXACT),
        ("C", Bound.BELOW),
    ]
    assert [s.units.value for s in found.sera[:2]] == [pytest.approx(12, rel=0.01), pytest.approx(150, rel=0.01)]
    assert found.sera[2].units.value == pytest.approx(20 * 100 / 14580)
    assert [(c.check, c.verdict, c.value) for c in found.checks] == [("reference-curve", Verdict.PASS, 100)]
    assert "1:60" in found.checks[0].message


def test_titrations_take_their_units_flags_and_the_name_of_the_reference() -> None:
    """A serum that is not parallel keeps its units and is flagged."""
    skew = series("A", LADDER, CURVE(110 * (LADDER / 110) ** 0.6))
    found = units(plate(skew=skew))
    before = Titration("P", "A", Role.SAMPLE, "delta", 95, None, None, None, ("gap",))
    after = found.titration(before)
    assert after.units.value > 0
    assert (after.parallel, after.flags, after.unit, after.reference) == ("no", ("gap", "not-parallel"), "AU", "REF")
    assert found.titration(replace(before, serum="REF")) == replace(before, serum="REF")


def test_a_plate_without_a_reference_is_in_order() -> None:
    """No units, no flags, and a check that passes and says so; a plate without any serum says nothing."""
    found = units(series("A", LADDER, CURVE(LADDER)))
    assert (found.reference, found.sera) == (None, ())
    assert [(c.check, c.verdict) for c in found.checks] == [("reference-missing", Verdict.PASS)]
    assert units([]).checks == ()


def test_several_references_need_a_name() -> None:
    """Without one there are no units; with one, the other is a serum like any, and reads what it holds."""
    other = series("REF2", STANDARDS, CURVE(STANDARDS * 2))
    ambiguous = units(plate(("A", 12), other=other))
    assert ambiguous.sera == ()
    assert [(c.check, c.verdict) for c in ambiguous.checks] == [("reference-ambiguous", Verdict.WARN)]
    assert "REF, REF2" in ambiguous.checks[0].message
    named = units(plate(("A", 12), other=other), ReferenceSettings(serum="REF", units=40, unit="IU"))
    assert {s.serum: round(s.units.value, 1) for s in named.sera} == {"A": 4.8, "REF2": 20.0}
    missing = units(plate(("A", 12)), ReferenceSettings(serum="WHO-1"))
    assert [(c.check, c.verdict) for c in missing.checks] == [("reference-missing", Verdict.WARN)]
    assert "REF" in missing.checks[0].message


def test_a_reference_that_is_not_read_back_gives_no_units_and_warns() -> None:
    """Two standards swapped: recoveries are off, units empty, the plate itself not failed."""
    rows = plate(("A", 12))
    rows[2], rows[5] = replace(rows[2], delta=rows[5].delta), replace(rows[5], delta=rows[2].delta)
    found = units(rows)
    assert not found.reference.accepted
    assert found.sera == ()
    assert [(c.check, c.verdict) for c in found.checks] == [("reference-curve", Verdict.WARN)]
    assert "Units are empty" in found.checks[0].message


def test_fewer_than_six_standards_warn_and_all_must_pass() -> None:
    """Five clean ones give units; with one of them a third off there are none."""
    kept = [r for r in plate(("A", 12)) if r.serum != "REF" or 60 <= r.dilution <= 4860]
    found = units(kept)
    assert found.reference.accepted
    assert found.sera[0].units.value == pytest.approx(12, rel=0.02)
    assert [(c.check, c.verdict) for c in found.checks] == [("reference-curve", Verdict.WARN)]
    assert "Fewer than 6" in found.checks[0].message


def test_a_flat_reference_has_no_curve() -> None:
    """And the check says why."""
    found = units(series("REF", STANDARDS, np.full(8, 300.0)))
    assert found.reference.curve is None
    assert "curve-flat" in found.checks[0].message


# --- planted truth with noise ------------------------------------------------------------------------


def noisy_plate(number: int, *, replicates: bool = True, slope: float = 1.0) -> tuple[list[Reactivity], list[float]]:
    """A reference in single wells and five sera in duplicate (single without `replicates`) of 3 to 300 AU.

    Wells err by 6.4 % and by 4 MFI and 2 % of counting. Limits hold the 6.4 % as a plate of 28 degrees of freedom
    would know it; without replicates, counting alone.
    """
    rng = np.random.default_rng([5, number])
    known = math.sqrt(rng.chisquare(28) / 28) if replicates else 0.0

    def wells(serum: str, dilutions: np.ndarray, truth: np.ndarray, n: int) -> list[Reactivity]:
        made = []
        for dilution, y in zip(dilutions, truth, strict=True):
            counting = math.hypot(4, 0.02 * y)
            value = float(np.mean(y * np.exp(0.064 * rng.standard_normal(n)) + counting * rng.standard_normal(n)))
            half = math.hypot(Z * math.hypot(4, 0.02 * value), 2.048 * 0.064 * known * value) / math.sqrt(n)
            made.append(row(float(dilution), value, half / Z, serum=serum, plate=f"P{number}"))
        return made

    rows = wells("REF", STANDARDS, CURVE(STANDARDS), 1)
    truth = np.exp(rng.uniform(math.log(3), math.log(300), 5)).tolist()
    for name, held in zip("ABCDE", truth, strict=True):
        rows += wells(name, LADDER, CURVE(110 * (LADDER * 100 / held / 110) ** slope), 2 if replicates else 1)
    return rows, truth


@pytest.mark.parametrize("replicates", [True, False])
def test_limits_of_units_hold_the_planted_ones(replicates: bool) -> None:
    """In 92 to 98 % of sera on 120 plates, whose five sera share a curve; with replicates and without."""
    held, errors = [], []
    for number in range(100, 220):
        rows, truth = noisy_plate(number, replicates=replicates)
        found = plate_units(rows, RULES, PlateFacts(CUTOFF, replicates), LAW)
        for serum, units in zip(found.sera, truth, strict=bool(found.sera)):
            if serum.units.bound is Bound.EXACT:
                held.append(serum.units.low <= units <= serum.units.high)
                errors.append(math.log(serum.units.value / units))
    assert len(held) >= 500
    assert 92 <= 100 * np.mean(held) <= 98
    assert abs(np.mean(errors)) < 0.01


@pytest.mark.parametrize(("slope", "right"), [(1.0, "yes"), (0.6, "no")])
def test_parallel_sera_are_kept_and_others_found(slope: float, right: str) -> None:
    """At least 97 % of parallel sera are called so, and of those with a slope of 0.6 times the reference's none is."""
    verdicts = []
    for number in range(30):
        rows, _ = noisy_plate(number, slope=slope)
        verdicts += [p.parallel for p in units(rows).parallel if p.parallel]
    assert len(verdicts) > 75
    assert verdicts.count(right) >= (0.97 if slope == 1 else 1.0) * len(verdicts)


def test_sera_of_a_plate_share_the_error_of_its_curve_and_nothing_else() -> None:
    """A curve known to 20 % in its midpoint: units are known to 20 %, their quotient as well as the readings are."""
    curve = one_site()
    curve.draws[:, 2] *= np.exp(0.2 * np.random.default_rng(3).standard_normal(400))
    known = reference(2, 5000, curve)
    one, other = (units_of([row(100, 500, 5, serum=name)], known, LAW) for name in ("A", "B"))
    assert np.std(one.draws) * math.log(2) == pytest.approx(0.2, rel=0.1)
    assert np.std(one.draws - other.draws) * math.log(2) == pytest.approx(math.sqrt(2) * 5 / 250, rel=0.15)


# --- laws ------------------------------------------------------------------------------------------------


@given(st.floats(-20, 50), st.floats(0.4, 3), st.floats(0.3, 4), st.floats(5, 5000))
def test_a_curve_read_backwards_gives_the_dilution_and_its_slope(b: float, h: float, g: float, dilution: float) -> None:
    """Of 5pl too; the slope is that of small steps."""
    natural = np.array([b, 5000.0, 200.0, h, g])
    curve = ReferenceCurve("5pl", natural, natural[None])
    x = np.array([dilution * math.exp(-1e-4), dilution, dilution * math.exp(1e-4)])
    y = curve.delta(x)
    assert curve.slope(x[1:2])[0] == pytest.approx((y[0] - y[2]) / 2e-4, rel=1e-3, abs=1e-4)
    if 1e-6 < (y[1] - b) / 5000 < 1 - 1e-6:
        assert curve.dilution(y[1:2])[0] == pytest.approx(dilution, rel=1e-4)


@settings(deadline=None, max_examples=40)
@given(st.floats(0.05, 20), st.floats(3, 250))
def test_a_serum_diluted_beforehand_has_so_much_less(times: float, held: float) -> None:
    """The same readings at labels k times lower: value, limits and draws are k times lower."""
    known = reference(2, 5000)
    rows = [row(d, reads_as(d * 100 / held), 3 + 0.05 * reads_as(d * 100 / held)) for d in (20, 80, 320, 1280)]
    before = units_of(rows, known, LAW).units
    after = units_of([replace(r, dilution=r.dilution / times) for r in rows], known, LAW).units
    for a, b in zip((before.value, before.low, before.high), (after.value, after.low, after.high), strict=True):
        assert b == pytest.approx(a / times, nan_ok=True)
    assert before.bound is after.bound


readings = st.floats(-200, 20_000) | st.just(math.nan) | st.just(0.0)


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(readings, st.floats(0, 500)), min_size=1, max_size=8),
    st.lists(st.tuples(readings, st.floats(0, 500)), min_size=1, max_size=6),
    st.booleans(),
)
def test_whatever_was_measured_units_stay_within_the_range(
    standards: list[tuple[float, float]], serum: list[tuple[float, float]], replicates: bool
) -> None:
    """Nonsense on the plate makes no number beyond what its standards hold times the dilutions that were read."""
    rows = [row(20 * 3.0**i, y, sd, serum="REF") for i, (y, sd) in enumerate(standards)]
    for clean in (rows, series("REF", STANDARDS, CURVE(STANDARDS))):
        more = [row(20 * 4.0**i, y, sd) for i, (y, sd) in enumerate(serum)]
        found = plate_units([*clean, *more], RULES, PlateFacts(NAN, replicates), LAW)
        for one in found.sera:
            if one.units is None:
                assert all(math.isnan(y) for y, _ in serum)
            else:
                at = [r.dilution for r in (one.inside.rows if one.inside else more)]
                slack = 1 + 1e-9
                assert found.reference.lloq * min(at) <= one.units.value * slack
                assert one.units.value <= found.reference.uloq * max(at) * slack


@settings(deadline=None, max_examples=8)
@given(st.floats(0.05, 50), st.integers(0, 1000))
def test_units_do_not_depend_on_the_scale_of_the_signal(scale: float, number: int) -> None:
    """All MFI and the cut-off times the same factor: the same units, limits and verdicts."""
    rows, _ = noisy_plate(number)
    scaled = [
        replace(r, delta=Estimate(r.delta.value * scale, r.delta.low * scale, r.delta.high * scale)) for r in rows
    ]
    before, after = units(rows), units(scaled, cutoff=CUTOFF * scale)
    assert [s.in_range for s in before.reference.standards] == [s.in_range for s in after.reference.standards]
    for a, b in zip(before.sera, after.sera, strict=True):
        assert b.units.value == pytest.approx(a.units.value, rel=2e-3)
        assert b.units.bound is a.units.bound


@settings(deadline=None, max_examples=8)
@given(st.permutations(list("ABCDE")), st.integers(0, 1000))
def test_the_order_of_wells_changes_nothing(order: list[str], number: int) -> None:
    """Bit for bit: draws start from names."""
    rows, _ = noisy_plate(number)
    turned = [r for name in order for r in rows if r.serum == name] + [r for r in rows[::-1] if r.serum == "REF"]
    before = {s.serum: s.units for s in units(rows).sera}
    assert {s.serum: s.units for s in units(turned).sera} == before


# --- carried on: folds, tables, report -----------------------------------------------------------------


def test_folds_of_units_by_hand() -> None:
    """From 80 to 20 AU is 0.25; from 80 to below 4 is below 0.05."""
    names = [("S1", "2020-01-01", True, 0.0), ("S2", "2020-02-01", False, 1.0), ("S3", "2020-03-01", False, 2.0)]
    visits = [Visit("PT", serum, day, "", base, month) for serum, day, base, month in names]
    values = [Titer(80, Bound.EXACT, 70, 90), Titer(20, Bound.EXACT, 18, 22), Titer(4, Bound.BELOW, NAN, 4)]
    noise = 0.05 * np.random.default_rng(2).standard_normal(400)
    draws = [math.log2(80) + noise, math.log2(20) + noise[::-1], np.full(400, -np.inf)]
    titrations = [
        Titration("P", v.serum, Role.SAMPLE, "delta", 95, None, None, None, units=value, unit_draws=drawn)
        for v, value, drawn in zip(visits, values, draws, strict=True)
    ]
    points = trajectories(visits, by_serum(titrations, []), "units", 1)
    assert [p.units for p in points] == values
    assert points[1].fold.value == pytest.approx(0.25)
    assert points[1].fold.low < 0.25 < points[1].fold.high
    assert (points[2].fold.value, points[2].fold.bound) == (pytest.approx(0.05), Bound.BELOW)


def test_the_results_folder_holds_units_standards_and_parallelism(results: Path, study: Path, table) -> None:
    """Of the simulated study: a reference of half dilution 100 makes AU half dilutions, nearly, as clones differ."""
    titers = {(r["plate"], r["serum"]): r for r in table(results / "titers.csv")}
    truth = {(r["plate"], r["serum"]): r for r in table(study / "truth" / "sera.csv")}
    exact = [key for key, r in titers.items() if r["units_bound"] == "=" and r["role"] == "sample"]
    assert len(exact) >= 6
    strong = [key for key in exact if float(truth[key]["half_dilution"]) >= 5]
    for key in strong:
        assert float(titers[key]["units"]) == pytest.approx(float(truth[key]["half_dilution"]), rel=0.35)
        assert titers[key]["unit"] == "AU"
        assert titers[key]["reference"] == "REF"
    assert titers["P001", "REF"]["units"] == ""
    assert all(r["units_bound"] in ("", "<") for r in titers.values() if r["role"] == "negative")
    standards = table(results / "standards.csv")
    assert len([r for r in standards if r["plate"] == "P001"]) == 8
    assert {r["serum"] for r in standards} == {"REF"}
    beside = {(r["plate"], r["serum"]): r for r in table(results / "parallelism.csv")}
    assert all(beside[key]["parallel"] == titers[key]["parallel"] for key in exact)
    checks = [r for r in table(results / "checks.csv") if r["check"] == "reference-curve"]
    assert [r["subject"] for r in checks] == ["P001", "P004"]


def test_a_reference_that_does_not_hold_is_drawn_too() -> None:
    """With its standards, one of them below 0, and neither range nor sera; the caption says that no units are read."""
    from matplotlib.figure import Figure

    rows = plate(("A", 12))
    rows[2], rows[5] = replace(rows[2], delta=rows[5].delta), replace(rows[5], delta=rows[2].delta)
    rows[7] = row(43740, -3, 4, serum="REF")
    found = units(rows)
    shown = standardfigure.draw(Figure().subplots(), found.reference, found.sera)
    assert {series for _, series, *_ in shown} == {"curve", "standard"}
    assert len([1 for _, series, *_ in shown if series == "standard"]) == 8
    assert "not accepted" in standardfigure.caption(found.reference, found.sera)


def test_the_figure_shows_what_its_table_holds(results: Path, table) -> None:
    """Curve, standards, both ends of the range; points of sera lie near the curve when moved by their units."""
    points = table(results / "figures" / "reference-P001.csv")
    assert {(p["panel"], p["series"]) for p in points} >= {
        ("reference", name) for name in ("curve", "standard", "LLOQ", "ULOQ")
    }
    curve = [(float(p["x"]), float(p["y"])) for p in points if p["series"] == "curve"]
    x, y = np.log(np.array(curve)).T
    for point in points:
        if point["panel"] == "sera":
            expected = np.interp(math.log(float(point["x"])), x, y)
            assert math.log(float(point["y"])) == pytest.approx(expected, abs=0.35)
    for kind in ("svg", "pdf", "png"):
        assert (results / "figures" / f"reference-P001.{kind}").stat().st_size > 1000
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "Reference serum" in page
    assert "Parallelism of P001" in page
