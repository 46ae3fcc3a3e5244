"""Sums done by hand: every formula from medians to folds, worked out beside the test."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from aqp4flow import tables
from aqp4flow.assay import acceptance, readout
from aqp4flow.assay.cutoffs.cutoff import CutOffs, cut_offs, cutoff_draws, frey
from aqp4flow.assay.definition import Acceptance, CurveSettings, Cutoff
from aqp4flow.assay.replicates import Law
from aqp4flow.assay.status import decide
from aqp4flow.assay.titer import bounded, crossing, endpoint_titer, interpolated_titer
from aqp4flow.assay.titration import Rules, titrate
from aqp4flow.cohort.trajectory import Quantity, by_serum, fold, trajectories
from aqp4flow.model import (
    NAN,
    UNKNOWN,
    Bound,
    CutOff,
    Estimate,
    Reactivity,
    Reading,
    Role,
    Status,
    Titer,
    Titration,
    Visit,
    Well,
)

LIMITS = Acceptance()


def reading(well: str = "A01", bright: float = 1000, dark: float = 100, **well_facts: object) -> Reading:
    """A well of serum S at 1:20 whose medians are known within one percent."""
    facts: dict = {"role": Role.SAMPLE, "serum": "S", "dilution": 20.0} | well_facts
    medians = [Estimate(value, value * 0.99, value * 1.01) for value in (bright, dark)]
    counts = {"expressing": 1000, "nonexpressing": 1000}
    return readout.with_shift(Reading(Well("P", well, f"{well}.fcs", **facts), 5000, counts, *medians))


def row(delta: float, dilution: float = 20, *, ratio: float = 5, serum: str = "S", **facts: object) -> Reactivity:
    """Reactivity of one serum at one dilution, delta known within ten percent."""
    status = facts.pop("status", Status.POSITIVE if delta > 100 else Status.NEGATIVE)
    half = abs(delta) * 0.1
    shifts = Estimate(delta, delta - half, delta + half), Estimate(ratio, ratio * 0.9, ratio * 1.1)
    role = facts.pop("role", Role.SAMPLE)
    return Reactivity("P", serum, role, dilution, 2, delta + 50, 50, *shifts, ratio, NAN, 100, 1.5, status, **facts)


# --- shifts ---------------------------------------------------------------------------------------


def test_delta_and_its_limits() -> None:
    """100 (90 to 115) less 40 (36 to 43): 60, down sqrt(10^2 + 3^2), up sqrt(15^2 + 4^2)."""
    found = readout.delta(Estimate(100, 90, 115), Estimate(40, 36, 43))
    assert found.value == 60
    assert found.low == pytest.approx(60 - math.sqrt(109))
    assert found.high == pytest.approx(60 + math.sqrt(241))


def test_ratio_and_its_limits() -> None:
    """200 (100 to 400) over 100 (100 to 100): 2, and the numerator's own factor of two either way."""
    found = readout.ratio(Estimate(200, 100, 400), Estimate(100, 100, 100))
    assert (found.value, found.low, found.high) == (2, pytest.approx(1), pytest.approx(4))


@pytest.mark.parametrize("dark", [Estimate(5, -1, 9), Estimate(0, 0, 0), Estimate(-3, -5, -1), Estimate(5, 0, 9)])
def test_a_ratio_over_what_may_be_zero_has_no_meaning(dark: Estimate) -> None:
    """The ratio is unknown and the well says so; delta stays."""
    assert readout.ratio(Estimate(100, 90, 110), dark) == UNKNOWN or not readout.ratio(Estimate(100), dark).known
    found = readout.with_shift(Reading(reading().well, 10, {}, Estimate(100, 90, 110), dark))
    assert found.flags == ("ratio-undefined",)
    assert found.delta.value == 100 - dark.value


# --- replicates -----------------------------------------------------------------------------------


def test_the_index_is_the_ratio_of_means_not_the_mean_of_ratios() -> None:
    """1000/100 and 3000/600: means 2000/350 = 5.714, mean of ratios (10 + 5)/2 = 7.5."""
    no_error = readout.ReplicateError(0, 0, NAN)
    found = readout.combine([reading("A01", 1000, 100), reading("A02", 3000, 600)], no_error)[0]
    assert found.n_replicates == 2
    assert found.index == pytest.approx(2000 / 350)
    assert found.ratio.value == pytest.approx(7.5)
    assert found.delta.value == pytest.approx((900 + 2400) / 2)


def test_replicate_error_is_the_spread_beyond_counting() -> None:
    """Deltas 1000 and 1210: log variance (ln 1.21)^2/2 = 0.018168, counting taken off, one degree of freedom."""
    pair = [reading("A01", 1100, 100), reading("A02", 1310, 100)]
    counting = np.mean([((r.delta.high - r.delta.low) / (2 * 1.959964 * r.delta.value)) ** 2 for r in pair])
    found = readout.replicate_error(pair)
    assert found.df == 1
    assert found.sd == pytest.approx(math.sqrt(math.log(1.21) ** 2 / 2 - counting), rel=1e-6)
    assert found.total_cv == pytest.approx(100 * math.sqrt(math.exp(math.log(1.21) ** 2 / 2) - 1))


def test_a_well_that_contradicts_its_replicate_counts() -> None:
    """Deltas 6883 and 100, or -5: the pair is clear though the weak well is not; its CV is that of the values.

    SD 6783 / sqrt 2 over 3491.5 is 137.4 %; sqrt(2) (6888 / 6878) is 141.6 %. A clear 100 has a clear logarithm:
    ln(68.83)^2 / 2 = 8.952, CV 8790 %.
    """
    strong = reading("A01", 6983, 100)
    weak = replace(reading("A02", 200, 100), expressing=Estimate(200, 100, 300), nonexpressing=Estimate(100, 50, 150))
    found = readout.replicate_error([strong, readout.with_shift(weak)])
    assert found.df == 1
    assert found.total_cv == pytest.approx(100 * 6783 / math.sqrt(2) / 3491.5)
    sure = readout.replicate_error([strong, reading("A02", 200, 100)])
    assert sure.total_cv == pytest.approx(100 * math.sqrt(math.expm1(math.log(68.83) ** 2 / 2)))
    none = readout.with_shift(replace(weak, expressing=Estimate(95, 45, 145)))
    assert readout.replicate_error([strong, none]).total_cv == pytest.approx(100 * math.sqrt(2) * 6888 / 6878)


def test_saturated_wells_are_no_replicates() -> None:
    """Two wells at the top of the range agree perfectly and tell nothing; two others differ by 21 %."""
    top = [replace(reading(f"B0{i}", 262_143, 100, serum="T"), flags=("saturated",)) for i in (1, 2)]
    pair = [reading("A01", 1100, 100), reading("A02", 1310, 100)]
    found = readout.replicate_error([*pair, *top])
    assert (found.df, found.of_delta.df, found.saturated) == (1, 1, 2)
    assert found.total_cv == readout.replicate_error(pair).total_cv
    checks = acceptance.accept(acceptance.PlateResult("P", pair, [], CutOffs(None, None, None, 0), found), Acceptance())
    message = next(check.message for check in checks if check.check == "replicate-cv")
    assert "(1 degree of freedom). 2 saturated wells left out." in message


def test_replicate_error_without_replicates_is_unknown() -> None:
    """One well a serum says nothing of replicates; limits then hold counting error alone."""
    assert readout.replicate_error([reading("A01"), reading("A02", serum="T")]).df == 0


def test_limits_of_replicates_hold_both_errors() -> None:
    """Two wells of delta 900, shift error 5 % known well: counting, and 1.96 x 45, both / sqrt 2, added in squares."""
    pair = [reading("A01"), reading("A02")]
    known = Law((0.05**2, 0.0), ((1e20, 0.0), (0.0, 1e20)), 10_000)
    counting = (pair[0].delta.high - 900) / math.sqrt(2)
    between = 1.959964 * 0.05 * 900 / math.sqrt(2)
    found = readout.combine(pair, readout.ReplicateError(0.05, 10_000, 5.0, known))[0].delta
    assert found.high == pytest.approx(900 + math.hypot(counting, between), rel=1e-5)


def test_excluded_wells_take_no_part() -> None:
    """The serum's row rests on the other replicate; with none left it is empty and says so."""
    out = replace(reading("A02", 5000, 100).well, excluded="bubble")
    pair = [reading("A01"), replace(reading("A02", 5000, 100), well=out)]
    found = readout.combine(pair, readout.replicate_error(pair))[0]
    assert (found.n_replicates, found.delta.value) == (1, 900)
    none = readout.combine(pair[1:], readout.replicate_error(pair))[0]
    assert (none.status, none.flags, none.n_replicates) == (Status.NOT_INTERPRETABLE, ("no-usable-well",), 0)


def test_relative_is_percent_of_the_reference_at_the_same_dilution() -> None:
    """900 against a reference of 450 at 1:20 is 200 percent; at another dilution nothing is said."""
    wells = [reading(), reading("A02", 550, 100, role=Role.REFERENCE, serum="REF"), reading("A03", dilution=80.0)]
    found = readout.combine(wells, readout.replicate_error(wells))
    assert [r.relative for r in found[:2]] == [pytest.approx(200), pytest.approx(100)]
    assert math.isnan(found[2].relative)


# --- paired wells ---------------------------------------------------------------------------------


def test_the_partner_is_the_control_well_of_the_same_serum_dilution_and_replicate() -> None:
    """Exact replicate first; a single control serves all; two without a matching replicate serve none."""
    one = reading("B01", cells="control", replicate="1")
    two = reading("B02", cells="control", replicate="2")
    other = reading("B03", cells="control", dilution=80.0)
    assert readout.partner_of(reading(cells="antigen", replicate="2"), [one, two, other]) == two
    assert readout.partner_of(reading(cells="antigen", replicate="9"), [one, other]) == one
    assert readout.partner_of(reading(cells="antigen", replicate="9"), [one, two]) is None
    gone = replace(one, well=replace(one.well, excluded="dry"))
    assert readout.partner_of(reading(cells="antigen", replicate="1"), [gone]) is None


# --- cut-off and status ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "confidence", "factor"),
    [(3, 0.95, 3.372), (10, 0.95, 1.923), (5, 0.99, 4.11), (8, 0.99, 3.18), (10, 0.999, 4.51), (20, 0.99, 2.60)],
)
def test_frey_factors(n: int, confidence: float, factor: float) -> None:
    """t(confidence, n-1) sqrt(1 + 1/n), as tabulated."""
    values = np.linspace(-1, 1, n)
    found = frey("delta", values.tolist(), confidence)
    assert (found.value - values.mean()) / values.std(ddof=1) == pytest.approx(factor, abs=0.006)
    assert found.n == n


def negatives(values: list[float], dilution: float = 20) -> list[Reactivity]:
    return [row(v, dilution, ratio=1.1, serum=f"N{i}", role=Role.NEGATIVE) for i, v in enumerate(values)]


def test_the_cut_off_rests_on_the_negatives_at_their_lowest_dilution() -> None:
    """10, 20, 30: mean 20, SD 10, n = 3 at 99 %: 20 + 10 x 6.9646 x sqrt(4/3); what lies at 1:80 is left out."""
    rows = [*negatives([10, 20, 30]), *negatives([500, 600, 700], 80), row(3000)]
    found = cut_offs(rows, Cutoff(), "delta", 3)
    assert found.delta is not None
    assert found.delta.value == pytest.approx(20 + 10 * 6.964557 * math.sqrt(4 / 3), rel=1e-5)
    assert found.deciding == found.delta
    assert (found.screening, found.ratio and found.ratio.value) == (20, 1.5)


def test_fewer_than_three_negatives_give_no_cut_off() -> None:
    """Two negatives: nothing is interpretable."""
    found = cut_offs(negatives([10, 20]), Cutoff(), "delta", 3)
    assert (found.delta, found.ratio, found.deciding) == (None, None, None)
    assert decide([row(500)], None, None)[0].status is Status.NOT_INTERPRETABLE


def test_a_fixed_cut_off_is_taken_as_it_is() -> None:
    """The lab's own numbers, whatever the negatives."""
    found = cut_offs([], Cutoff(rule="fixed", delta=250, ratio=2), "delta", 3)
    assert (found.delta and found.delta.value, found.ratio and found.ratio.value) == (250, 2)


@pytest.mark.parametrize(
    ("bright", "dark", "status"),
    [(4000, 2500, "equivocal"), (900, 150, "equivocal"), (4000, 150, "positive"), (200, 150, "negative")],
)
def test_two_criteria_decide(bright: float, dark: float, status: str) -> None:
    """Delta 1500 at ratio 1.6 and delta 750 at ratio 6: against 1000 and 2.0 each meets one criterion."""
    made = readout.combine([reading("A01", bright, dark)], readout.ReplicateError(0, 0, NAN))
    found = decide(made, CutOff("delta", 1000, "fixed"), CutOff("ratio", 2.0, "fixed"))[0]
    assert found.status.value == status
    assert ("criteria-disagree" in found.flags) == (status == "equivocal")


def test_draws_of_a_cut_off_scatter_around_it_and_a_fixed_one_does_not_move() -> None:
    """SD of the mean part alone is SD/sqrt n = 10/sqrt 10; the whole is wider. Fixed: constant."""
    cutoff = frey("delta", [float(x) for x in np.linspace(-14, 14, 10)], 0.99)
    draws = cutoff_draws(cutoff, 4000, np.random.default_rng(1))
    assert np.median(draws) == pytest.approx(cutoff.value, rel=0.08)
    assert draws.std() > cutoff.sd / math.sqrt(10)
    assert set(cutoff_draws(CutOff("delta", 7, "fixed"), 5, np.random.default_rng(1))) == {7}


# --- titers ---------------------------------------------------------------------------------------


def series(*deltas: float, first: float = 20, step: float = 4) -> list[Reactivity]:
    return [row(delta, first * step**i) for i, delta in enumerate(deltas)]


@pytest.mark.parametrize(
    ("deltas", "value", "bound", "flags"),
    [
        ((900, 300, 90, 20), 80, "=", []),
        ((90, 20, 10, 5), 20, "<", []),
        ((900, 800, 700, 600), 1280, ">", []),
        ((900, 90, 300, 20), 20, "=", ["gap"]),
        ((500, 900, 300, 20), 320, "=", []),
        ((20, 900, 30, 10), 20, "<", ["gap"]),
    ],
)
def test_endpoint_titers(deltas: tuple[float, ...], value: float, bound: str, flags: list[str]) -> None:
    """The last dilution positive with all lower ones positive; what is odd about the series is flagged."""
    titer, found = endpoint_titer(series(*deltas))
    assert titer is not None
    assert (titer.value, titer.bound.value, found) == (value, bound, flags)


def test_endpoint_on_a_ladder_with_mixed_steps() -> None:
    """5, 10, 32, 100, 1000: any ladder will do."""
    rows = [row(d, x) for d, x in zip((900, 800, 700, 200, 10), (5, 10, 32, 100, 1000), strict=True)]
    assert str(endpoint_titer(rows)[0]) == "1:100"


def test_without_status_there_is_no_endpoint() -> None:
    """No cut-off is said when the serum was read, no usable well when it was not."""
    blank = [replace(r, status=Status.NOT_INTERPRETABLE) for r in series(900, 300)]
    assert endpoint_titer(blank) == (None, ["no-cutoff"])
    assert endpoint_titer([replace(r, delta=UNKNOWN) for r in blank]) == (None, ["no-usable-well"])


@pytest.mark.parametrize(
    ("values", "cutoff", "wanted"),
    [
        ((400, 100, 25), 200, math.log2(40)),  # log-log line 400 -> 100 over two doublings: halfway is 1:40
        ((400, 100, 25), 100, math.log2(80)),  # at the cut-off counts as fallen to it
        ((90, 80, 70), 100, -math.inf),
        ((400, 300, 200), 100, math.inf),
        ((400, 1, 1), 200, math.log2(40)),  # never steeper than dilution: 400 -> 100, not 400 -> 1
        ((400, 200, 100), 250, math.log2(20) + 2 * math.log(1.6) / math.log(2)),  # 400 -> 200 over two doublings
        ((400, -50, 0), 300, math.log2(20) + math.log2(400 / 300)),  # below 0: the slope of dilution itself
    ],
)
def test_crossings(values: tuple[float, ...], cutoff: float, wanted: float) -> None:
    """Dilutions 20, 80, 320."""
    found = crossing(np.log2([20.0, 80, 320]), np.array([values], float), np.array([cutoff], float))[0]
    assert found == wanted or found == pytest.approx(wanted)


def test_an_open_side_has_no_limit() -> None:
    """Beyond the ladder the value is the tested extreme; draws beyond it leave that side open."""
    draws = np.array([-np.inf] * 50 + [math.log2(25)] * 50)
    low = bounded(-math.inf, draws, 20, 1280)
    assert (low.value, low.bound, low.high) == (20, Bound.BELOW, pytest.approx(25))
    assert math.isnan(low.low)
    high = bounded(math.inf, np.array([math.log2(1000)] * 50 + [np.inf] * 50), 20, 1280)
    assert (high.value, high.bound, high.low) == (1280, Bound.ABOVE, pytest.approx(1000))
    assert math.isnan(high.high)
    inside = bounded(math.log2(100), np.log2([50.0] * 50 + [200.0] * 50), 20, 1280)
    assert (inside.value, inside.low, inside.high) == (pytest.approx(100), pytest.approx(50), pytest.approx(200))


def test_an_interpolated_titer_does_not_depend_on_its_neighbours() -> None:
    """Draws come from the seed and the serum's name: alone or among others, the same titer and limits."""
    cutoffs = CutOffs(CutOff("delta", 100, "fixed"), CutOff("ratio", 1.5, "fixed"), CutOff("delta", 100, "fixed"), 20)
    rules = Rules("delta", CurveSettings(model="4pl"), 500, 7)
    mine, others = series(900, 300, 60, 10), [replace(r, serum="T") for r in series(700, 200, 30, 5)]
    alone = titrate(mine, cutoffs, [], rules)[0]
    among = titrate([*others, *mine], cutoffs, [], rules)[1]
    assert alone == among
    assert alone.titer is not None
    assert 80 < alone.titer.low < alone.titer.value < alone.titer.high < 320
    assert interpolated_titer(mine, cutoffs.deciding or CutOff("delta", 1, ""), np.full(500, 100.0), 8) is not None


def test_endpoint_and_titer_that_part_are_flagged() -> None:
    """The ratio fails from 1:80 on, and delta crosses beyond: one dilution apart is no matter, two are, or a `<`."""
    no = {"status": Status.EQUIVOCAL}
    series = {
        (80, "1:20", False): [row(900, 20), row(300, 80, **no), row(50, 320)],
        (320, "1:20", True): [row(900, 20), row(700, 80, **no), row(300, 320, **no), row(50, 1280)],
        (20, "<1:20", True): [row(300, 20, **no), row(50, 80), row(10, 320)],
    }
    cutoff = CutOff("delta", 100, "fixed")
    for (beyond, endpoint, flagged), rows in series.items():
        rules = Rules("delta", CurveSettings(model="one-site"), 300, 1)
        found = titrate(rows, CutOffs(cutoff, cutoff, cutoff, 20), [], rules)[0]
        assert found.titer is not None
        assert found.titer.value > beyond
        assert (str(found.endpoint), "criteria-disagree" in found.flags) == (endpoint, flagged)


# --- patients -------------------------------------------------------------------------------------


def quantity(value: float, bound: str = "=", spread: float = 0.1) -> Quantity:
    draws = math.log2(value) + spread * np.random.default_rng(int(value)).standard_normal(2000)
    if bound != "=":
        draws = np.full(2000, -np.inf if bound == "<" else np.inf)
    return Quantity(Titer(value, Bound(bound)), draws)


@pytest.mark.parametrize(
    ("now", "base", "bound"),
    [("=", "=", "="), ("<", "=", "<"), (">", "=", ">"), ("=", "<", ">"), ("=", ">", "<"),
     ("<", "<", None), (">", ">", None), ("<", ">", "<"), (">", "<", ">")],
)  # fmt: skip
def test_folds_carry_bounds(now: str, base: str, bound: str | None) -> None:
    """40 over 160 is 0.25; a bound on either side is carried, two of the same kind say nothing."""
    found = fold(quantity(40, now), quantity(160, base))
    if bound is None:
        assert found is None
    else:
        assert found is not None
        assert (found.value, found.bound.value) == (0.25, bound)
        assert not (bound == "<" and not math.isnan(found.low))
        assert not (bound == ">" and not math.isnan(found.high))


def test_limits_of_a_fold_add_both_errors() -> None:
    """Two titers with SD 0.1 on log2: the fold's 95 % half-width is 1.96 x 0.1 x sqrt 2 = 0.277 on log2."""
    found = fold(quantity(40), quantity(160))
    assert found is not None
    assert math.log2(found.high / found.low) / 2 == pytest.approx(0.277, rel=0.1)


def visit(serum: str, month: float, *, baseline: bool = False) -> Visit:
    return Visit("PT", serum, "2026-01-01", f"M{month:g}", baseline, month)


def titration(serum: str, titer: float, plate: str = "P") -> Titration:
    drawn = quantity(titer)
    return Titration(plate, serum, Role.SAMPLE, "delta", 100, Titer(titer), drawn.value, None, (), drawn.draws)


def test_trajectories_join_titers_to_visits() -> None:
    """Baseline 160, then 40: fold 1, then 0.25; a visit without a measurement is flagged, not dropped."""
    visits = [visit("A", 0, baseline=True), visit("B", 3), visit("C", 6)]
    points = trajectories(visits, by_serum([titration("A", 160), titration("B", 40)], []), "titer", 1)
    assert [p.fold.value if p.fold else None for p in points] == [1, 0.25, None]
    assert points[2].flags == ("not-measured", "fold-unknown")


def test_a_serum_on_two_plates_is_combined_on_the_log_scale_and_says_so() -> None:
    """40 and 160 give 80, with a note; the fold against another plate's baseline is flagged."""
    visits = [visit("A", 0, baseline=True), visit("B", 3)]
    measured = by_serum([titration("A", 320), titration("B", 40, "P"), titration("B", 160, "Q")], [])
    point = trajectories(visits, measured, "titer", 1)[1]
    assert point.titer is not None
    assert point.titer.value == pytest.approx(80)
    assert point.notes == ("combined-plates", "plate-noise-from-few")
    assert point.flags == ("other-plate-than-baseline", "not-bridged")


def test_other_quantities_can_be_followed() -> None:
    """Delta at the lowest dilution: 300 over 1200."""
    visits = [visit("A", 0, baseline=True), visit("B", 3)]
    rows = [row(1200, serum="A"), row(700, 80, serum="A"), row(300, serum="B")]
    measured = by_serum([titration("A", 160), titration("B", 40)], rows)
    point = trajectories(visits, measured, "delta", 1)[1]
    assert point.fold is not None
    assert point.fold.value == pytest.approx(0.25)


# --- acceptance -----------------------------------------------------------------------------------


def verdicts(readings: list[Reading], rows: list[Reactivity], n: int = 10, cv: float = 5.0) -> dict[str, str]:
    cutoff = CutOff("delta", 100, "frey", n, 20, 20)
    error = readout.ReplicateError(0.05, 0 if math.isnan(cv) else 9, cv)
    cutoffs = CutOffs(cutoff, CutOff("ratio", 1.5, ""), cutoff, 20) if n >= 3 else CutOffs(None, None, None, 20)
    checks = acceptance.accept(acceptance.PlateResult("P", readings, rows, cutoffs, error), LIMITS)
    return {check.check: check.verdict.value for check in checks}


def test_a_plate_in_order_passes() -> None:
    """Ten negatives, a positive control, a shift without serum of 10 % of the cut-off, replicates within 5 %."""
    wells = [reading(), reading("H01", 110, 100, role=Role.SECONDARY_ONLY, serum="", dilution=None)]
    rows = [*negatives([20.0] * 10), row(900, role=Role.POSITIVE, serum="POS")]
    wanted = ("negatives", "negative-control", "positive-control", "secondary-only", "negative-shift", "replicate-cv")
    wanted = (*wanted, "wells", "events")
    assert verdicts(wells, rows) == dict.fromkeys(wanted, "pass")


def unsure(bright: float) -> Reading:
    """A well without serum whose expressing median is known within 30 percent only: a shift of 21 may be none."""
    poor = replace(reading(role=Role.SECONDARY_ONLY), expressing=Estimate(bright, 0.7 * bright, 1.3 * bright))
    return readout.with_shift(poor)


@pytest.mark.parametrize(
    ("check", "verdict", "found"),
    [
        ("negatives", "warn", lambda: verdicts([], negatives([20.0] * 9), n=9)),
        ("negatives", "warn", lambda: verdicts([], [], n=0)),
        ("negative-control", "fail", lambda: verdicts([], [row(900, role=Role.NEGATIVE)])),
        ("positive-control", "fail", lambda: verdicts([], [row(50, role=Role.POSITIVE)])),
        ("secondary-only", "fail", lambda: verdicts([reading(bright=121, role=Role.SECONDARY_ONLY)], [])),
        ("secondary-only", "warn", lambda: verdicts([unsure(121)], [])),
        ("below-screening", "warn", lambda: verdicts([], [*negatives([20.0] * 10), row(900, 10)])),
        ("replicate-cv", "warn", lambda: verdicts([], [], cv=16)),
        ("replicate-cv", "fail", lambda: verdicts([], [], cv=26)),
        ("replicates", "warn", lambda: verdicts([], [], cv=NAN)),
    ],
)
def test_each_plate_check_can_fail(check: str, verdict: str, found) -> None:
    """Just beyond its limit."""
    assert found()[check] == verdict


@pytest.mark.parametrize(
    ("shifts", "share", "verdict"),
    [
        ([40.0, 60.0, 80.0], 60.0, "warn"),  # mean 60, SD 20: t = 5.2, beyond 4.30 of two degrees of freedom
        ([20.0, 60.0, 100.0], 60.0, "pass"),  # the same mean, SD 40: t = 2.6, by chance
        ([-80.0, -60.0, -40.0], 60.0, "warn"),
        ([39.0, 49.0, 59.0], 49.0, "pass"),  # a real shift, and less than half of the cut-off
        ([60.0], 60.0, "warn"),  # one serum has no scatter to excuse it
    ],
)
def test_a_shift_that_negative_sera_share(shifts: list[float], share: float, verdict: str) -> None:
    """In percent of a cut-off of 100; what lies at other dilutions does not count."""
    cutoff = CutOff("delta", 100, "frey", 10, 20, 20)
    rows = [*negatives(shifts), *negatives([900.0], 80), row(900)]
    result = acceptance.PlateResult(
        "P", [], rows, CutOffs(cutoff, None, cutoff, 20), readout.ReplicateError(0.05, 9, 5)
    )
    (found,) = (check for check in acceptance.accept(result, LIMITS) if check.check == "negative-shift")
    assert (found.verdict.value, found.value) == (verdict, pytest.approx(share))
    assert ("wells without serum" in found.message) == (verdict == "warn")


def test_each_well_check_can_fail() -> None:
    """499 events warn, 199 fail; 19 % expressing warns; nothing acquired fails; excluded says why."""
    few = replace(reading(), counts={"expressing": 499, "nonexpressing": 199})
    assert verdicts([few], [])["few-expressing"] == "warn"
    assert verdicts([few], [])["few-nonexpressing"] == "fail"
    dim = replace(reading(), counts={"expressing": 1900, "nonexpressing": 8100})
    assert acceptance.well_flags(dim, LIMITS) == ("low-expression",)
    assert acceptance.well_flags(replace(dim, n_events=0, counts={}), LIMITS) == ("empty",)
    out = replace(reading(), well=replace(reading().well, excluded="bubble"))
    assert verdicts([out], [])["excluded"] == "warn"
    assert acceptance.saturation(reading(), 0.01, LIMITS) is None
    shares = [acceptance.saturation(reading(), share, LIMITS) for share in (0.02, 0.06)]
    assert [check.verdict.value for check in shares if check] == ["warn", "fail"]


# --- tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (-0.0, "0"), (20.0, "20"), (1234567.0, "1234570"), (0.12345678, "0.123457"), (NAN, ""),
     (math.inf, ""), (1e-7, "1e-07"), (-16.5, "-16.5"), (123456.4, "123456")],
)  # fmt: skip
def test_numbers_have_six_digits_and_missing_is_empty(value: float, text: str) -> None:
    """Never an exponent for an ordinary number, never 0 for a missing one."""
    assert tables.number(value) == text


def test_tables_hold_the_promised_columns_in_order() -> None:
    """The contract's columns come first, in its order."""
    wells = (
        "plate well file role serum cells dilution replicate n_events n_cells n_singlets n_live n_expressing "
        "n_nonexpressing mfi_expressing mfi_nonexpressing delta delta_low delta_high ratio ratio_low ratio_high "
        "percent_positive flags"
    )
    assert " ".join(tables.WELLS).startswith(wells)
    assert tables.REACTIVITY[:3] == ("plate", "serum", "dilution")
    titers = (
        "plate serum readout cutoff endpoint endpoint_bound titer titer_low titer_high titer_bound units units_low "
        "units_high units_bound parallel flags"
    )
    assert " ".join(tables.TITERS).startswith(titers)
    assert tables.checks_table([])[0] == ("scope", "subject", "check", "value", "limit", "verdict", "message")


def test_a_well_without_a_gate_or_a_number_has_an_empty_cell() -> None:
    """No live gate: n_live is empty. No delta: empty, not 0."""
    bare = Reading(Well("P", "A01", "a.fcs", Role.UNSTAINED), 10, {"cells": 0})
    headings, rows = tables.wells_table([bare])
    cells = dict(zip(headings, (tables.cell_text(cell) for cell in rows[0]), strict=True))
    assert (cells["n_cells"], cells["n_live"], cells["delta"], cells["dilution"]) == ("0", "", "", "")
