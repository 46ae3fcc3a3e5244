"""Planted truth: what is planted is true, verdicts are just, and on a small grid the limits hold what they should."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aqp4flow.accuracy import tally
from aqp4flow.accuracy.readinglevel import definition, frey_factor, reading_verdicts
from aqp4flow.accuracy.verdicts import Verdicts, bounded_verdict, judge
from aqp4flow.assay.cutoffs.cutoff import CutOffs
from aqp4flow.assay.declared import error_or_declared
from aqp4flow.assay.readout import ReplicateError, combine, with_shift
from aqp4flow.assay.titer import bounded, crossing, interpolated_titer
from aqp4flow.cytometry.measure import median_ranks
from aqp4flow.model import NAN, UNKNOWN, Bound, CutOff, Estimate, Reactivity, Reading, Role, Status, Titer, Well, Z
from aqp4flow.pipeline import titrate_plate
from aqp4flow.simulate.cohortplates import PLANS
from aqp4flow.simulate.readings import read_plates
from aqp4flow.simulate.scenario import GRIDS, PlantedPlate, PlantedSerum, Scenario, true_titer

ROOT = Path(__file__).parents[1]
BASE = GRIDS["standard"].scenarios[0]


# --- reading a titer ----------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [2.0, 4.0])
def test_a_saturating_curve_is_read_within_a_few_percent(step: float) -> None:
    """One site: 12000 / (1 + d/m) falls to c at m (12000/c - 1). A straight line errs by 11 % at steps of four."""
    ladder = 20.0 * step ** np.arange(8)
    for midpoint in np.geomspace(60, 400, 12):
        values = 12_000 / (1 + ladder / midpoint)
        for cutoff in (300.0, 1200.0, 3000.0, 6000.0):
            true = midpoint * (12_000 / cutoff - 1)
            if ladder[1] < true < ladder[-1]:  # before the second dilution there is no point for the parabola
                found = 2 ** crossing(np.log2(ladder), values[None], np.array([cutoff]))[0]
                assert found == pytest.approx(true, rel=0.0025 if step == 2 else 0.022)


def row(value: Estimate, dilution: float, ratio: Estimate = UNKNOWN) -> Reactivity:
    return Reactivity(
        "P", "S", Role.SAMPLE, dilution, 1, NAN, NAN, value, ratio, NAN, NAN, 100, 1.5, Status.POSITIVE
    )  # fmt: skip


def test_a_ratio_is_read_on_what_lies_above_1() -> None:
    """Ratios 3 and 1.5 at 1:20 and 1:80 are 2 and 0.5 above 1, a fourth over fourfold: above 1 by 1 at 1:40."""
    rows = [row(Estimate(500.0), 20, Estimate(3.0)), row(Estimate(100.0), 80, Estimate(1.5))]
    found = interpolated_titer(rows, CutOff("ratio", 2.0, "fixed"), np.full(200, 2.0), 1)
    assert found is not None
    assert found.titer.value == pytest.approx(40)


def test_limits_that_are_not_symmetric_give_limits_of_a_titer_that_are_not() -> None:
    """400 and 100 at 1:20 and 1:80, cut-off 200: 1:40. Upper limits lie 50 % above, lower ones 2 % below."""
    rows = [row(Estimate(400.0, 392.0, 600.0), 20), row(Estimate(100.0, 98.0, 150.0), 80)]
    found = interpolated_titer(rows, CutOff("delta", 200.0, "fixed"), np.full(4000, 200.0), 1)
    assert found is not None
    assert found.titer.high / found.titer.value - 1 > 3 * (1 - found.titer.low / found.titer.value)


def test_below_the_ladder_with_draws_beyond_its_end_the_upper_side_is_open() -> None:
    """More than 2.5 % of the draws never fall to the cut-off: no number bounds the titer from above."""
    draws = np.array([-np.inf] * 90 + [np.inf] * 10)
    assert math.isnan(bounded(-math.inf, draws, 20, 1280).high)


# --- the lab's own error between wells ------------------------------------------------------------------


def reading(name: str, bright: float, dark: float) -> Reading:
    def about(x: float) -> Estimate:
        return Estimate(x, 0.98 * x, 1.02 * x)

    well = Well("P", name, f"{name}.fcs", Role.SAMPLE, "S", "", 20.0)
    return with_shift(Reading(well, 100, {}, about(bright), about(dark)))


def test_a_declared_cv_stands_in_for_replicates() -> None:
    """CV 10 %: the logarithm's SD is sqrt(ln 1.01) = 0.09975; delta 900: 1.96 x 0.09975 x 900, counting in squares."""
    one = [reading("A01", 1000, 100)]
    none = ReplicateError(0.0, 0, NAN)
    known = error_or_declared(none, 10.0)
    found = combine(one, known)[0].delta
    counting = one[0].delta.high - 900
    between = 0.099751 * math.sqrt(900**2 + (1000**2 + 100**2) / 9)  # a third of it of each median, 1000 and 100
    assert found.high - 900 == pytest.approx(math.hypot(Z * between, counting), rel=1e-4)
    assert error_or_declared(none, None) is none
    told = ReplicateError(0.05, 3, 6.0)
    assert error_or_declared(told, 10.0) is told


def test_limits_that_hold_counting_only_are_flagged_and_a_declared_cv_is_told() -> None:
    """Without replicates each titer is flagged; with the lab's CV it is not, and checks.csv has a row."""
    single = replace(BASE, replicates=1)
    assert all("limits-counting-only" in t.flags for t in titrated(single).titrations if t.role is Role.SAMPLE)
    declared = titrated(replace(single, settings={"titer": {"well_cv": 8.0}}))
    assert not any("limits-counting-only" in t.flags for t in declared.titrations)
    assert [check.value for check in declared.checks if check.check == "well-cv-declared"] == [8.0]
    assert not any(check.check == "well-cv-declared" for check in titrated(BASE).checks)
    assert not any("limits-counting-only" in t.flags for t in titrated(BASE).titrations)


def titrated(scenario: Scenario):
    from aqp4flow.accuracy.readinglevel import measured

    plate = read_plates(scenario, 1, 3, median_ranks, frey_factor)[0]
    return titrate_plate(measured("R", plate.readings, definition(scenario)), curves=False)


# --- what is planted --------------------------------------------------------------------------------------


def test_the_true_titer_of_one_site_by_hand() -> None:
    """12000 / (1 + d/100) falls to 1000 at 100 x 11; above 6000 at 1:20 it is 0 for a cut-off of 11000."""
    ladder = (20.0, 80.0, 320.0, 1280.0)

    def readout(dilution: float) -> float:
        return 12_000 / (1 + dilution / 100)

    assert true_titer(readout, ladder, 1000.0) == pytest.approx(1100, rel=1e-6)
    assert true_titer(readout, ladder, 11_000.0) == 0
    assert true_titer(readout, ladder, 100.0) == math.inf


def test_drawn_medians_are_bounded_as_often_as_order_statistics_do() -> None:
    """Ranks of 151 events hold the median in 95.3 % (binomial); 2 x 1,300 drawn wells must agree within chance."""
    from scipy.stats import binom

    scenario = replace(BASE, events=300, well_error=0.0, pipetting=0.0, own_shift=0.0, transfected=0.5)
    plates = read_plates(scenario, 12, 5, median_ranks, frey_factor)
    held, expected = [], []
    for plate in plates:
        truth = {serum.name: serum for serum in plate.planted.sera}
        for one in plate.readings:
            if one.well.serum in truth:
                serum = truth[one.well.serum]
                at = serum.dilutions.index(one.well.dilution)
                for found, true, count in (
                    (one.expressing, serum.expressing[at], one.counts["expressing"]),
                    (one.nonexpressing, serum.nonexpressing[at], one.counts["nonexpressing"]),
                ):
                    held.append(found.low <= true <= found.high)
                    low, high = median_ranks(count)
                    expected.append(binom.cdf(high, count, 0.5) - binom.cdf(low, count, 0.5))
    assert len(held) > 2000
    assert np.mean(held) == pytest.approx(np.mean(expected), abs=4 * math.sqrt(0.05 * 0.95 / len(held)))


def test_the_true_cutoff_is_what_many_negatives_give() -> None:
    """400 negatives on a plate: their mean + k SD, over the plate's day, is the planted cut-off within 4 SE (14 %)."""
    plate = read_plates(replace(BASE, negatives=400), 1, 11, median_ranks, lambda _: 3.0)[0]
    deltas = [with_shift(one).delta.value for one in plate.readings if one.well.role is Role.NEGATIVE]
    assert np.mean(deltas) + 3 * np.std(deltas, ddof=1) == pytest.approx(plate.planted.cutoff, rel=0.14)


# --- verdicts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "true", "side"),
    [
        (Titer(100, Bound.EXACT, 80, 130), 80.0, 0),
        (Titer(100, Bound.EXACT, 80, 130), 79.0, -1),
        (Titer(100, Bound.EXACT, 80, 130), 131.0, 1),
        (Titer(100, Bound.EXACT, 80, NAN), math.inf, 0),  # an open side has no end
        (Titer(100, Bound.EXACT, 80, NAN), 0.0, -1),  # the truth lies below the ladder
        (Titer(20, Bound.BELOW, NAN, 25), 0.0, 0),
        (Titer(20, Bound.BELOW, NAN, 25), 24.0, 0),
        (Titer(20, Bound.BELOW, NAN, 25), 26.0, 1),
        (Titer(1280, Bound.ABOVE, 1000, NAN), math.inf, 0),
        (Titer(1280, Bound.ABOVE, 1000, NAN), 900.0, -1),
    ],
)
def test_titers_against_their_truth(found: Titer, true: float, side: int) -> None:
    assert bounded_verdict("c", "titer", found, true).side == side


def test_an_endpoint_is_held_against_the_printed_cutoffs() -> None:
    """True deltas 900, 300, 90, 20 against a printed 100: the truth is 1:80. Found 1:20 is one step below it."""
    planted = PlantedSerum("S", Role.SAMPLE, "", 1.0, (20, 80, 320, 1280), (1000, 400, 190, 120), (100.0,) * 4, 200.0)
    found = titrated(BASE)
    rows = [
        replace(row(Estimate(x), d), status=status)
        for d, x, status in zip((20, 80, 320, 1280), (900, 95, 90, 20), ("positive", *["negative"] * 3), strict=True)
    ]
    first = replace(found.titrations[0], serum="S", endpoint=Titer(20), titer=None)
    plate = replace(found, rows=tuple(rows), titrations=(first,), cutoffs=CutOffs(None, None, None, 20))
    verdicts = judge("c", PlantedPlate("P", (planted,), 100.0), plate, 1)
    assert [one.steps for one in verdicts.endpoints] == [-1]


def test_shares_have_wilson_limits() -> None:
    """1 of 10: 1.8 to 40.4 %, as tabulated (Newcombe 1998)."""
    low, high = tally.share_limits(1, 10)
    assert (low, high) == (pytest.approx(1.79, abs=0.01), pytest.approx(40.42, abs=0.01))


# --- a small grid ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small() -> list[Verdicts]:
    """Sixteen plates of the plain cell: 128 sera."""
    return reading_verdicts(BASE, 16, 2)


def test_limits_hold_the_truth_on_a_small_grid(small: list[Verdicts]) -> None:
    """Seeded, so that chance is the same each time; the bounds are what 16 plates can tell."""
    found = {c.quantity: c for c in tally.coverages("readings", "base", small)}
    assert found["delta"].n == 16 * 49
    assert 91 <= found["delta"].percent <= 99
    assert 88 <= found["titer"].percent <= 100
    assert 88 <= found["fold"].percent <= 100
    assert abs(found["delta"].error) < 3
    assert abs(found["fold"].error) < 8
    ends = tally.endpoints("readings", "base", [end for one in small for end in one.endpoints])
    assert ends.n == 128
    assert ends.further == 0


def test_limits_half_as_wide_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same plates, with every limit of a read-out halved: far fewer truths are held."""
    from aqp4flow.assay import readout

    whole = readout.combine

    def halved(*words: object) -> list[Reactivity]:
        return [
            replace(one, delta=Estimate(*(one.delta.value + (x - one.delta.value) / 2 for x in
                                          (one.delta.value, one.delta.low, one.delta.high))))
            for one in whole(*words)
        ]  # fmt: skip

    monkeypatch.setattr(readout, "combine", halved)
    found = {c.quantity: c for c in tally.coverages("readings", "base", reading_verdicts(BASE, 16, 2))}
    assert found["delta"].percent < 80
    assert found["fold"].percent < 85


def test_a_serum_read_again_in_the_same_order_gives_the_same(small: list[Verdicts]) -> None:
    assert reading_verdicts(BASE, 16, 2)[3] == small[3]


# --- the command -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory, call) -> Path:
    out = tmp_path_factory.mktemp("accuracy") / "out"
    done = call("simulate", "--grid", "tiny", "-o", out, "--processes", 1, "--keep")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(out / "accuracy.md")
    return out


def test_the_tables_are_the_same_with_more_processes(tiny: Path, tmp_path: Path, call) -> None:
    again = call("simulate", "--grid", "tiny", "-o", tmp_path / "out", "--processes", 2)
    assert again.returncode == 0, again.stderr
    cohorts = [f"cohort_{name}.csv" for name in ("folds", "changes", "tests", "bias")]
    for name in ("accuracy.md", "coverage.csv", "endpoints.csv", "calls.csv", *cohorts):
        assert (tmp_path / "out" / name).read_bytes() == (tiny / name).read_bytes()
    assert not (tmp_path / "out" / "plates").exists()


def test_every_cell_has_its_numbers_at_both_levels(tiny: Path, table) -> None:
    rows = table(tiny / "coverage.csv")
    cells = {(row["level"], row["cell"]) for row in rows}
    assert cells == {(a, b) for a in ("readings", "events") for b in ("base", "steps of 10", "all cells")}
    for one in rows:
        assert int(one["n"]) >= int(one["truth_below"]) + int(one["truth_above"])
    events = {one["quantity"]: one for one in rows if (one["level"], one["cell"]) == ("events", "all cells")}
    assert float(events["delta"]["percent"]) > 75
    assert abs(float(events["delta"]["median_error_percent"])) < 12
    ends = table(tiny / "endpoints.csv")
    assert all(one["further"] == "0" for one in ends)
    strengths = [one["strength"] for one in table(tiny / "calls.csv") if one["level"] == "calls"]
    assert strengths == ["0", "0.1", "0.2", "0.4", "0.8", "1.6", "3.2"]


def test_kept_plates_are_studies_with_their_truth(tiny: Path, table, call) -> None:
    folders = sorted(path.parent for path in tiny.rglob("truth.csv"))
    assert len(folders) == 3
    done = call("check", folders[0])
    assert done.returncode == 0, done.stderr
    truth = table(folders[0] / "truth.csv")
    assert len(truth) == 8 * 6
    for one in truth:
        difference = float(one["mfi_expressing"]) - float(one["mfi_nonexpressing"])
        assert difference == pytest.approx(float(one["delta"]), abs=0.1)


def test_another_folder_is_not_written_over(tmp_path: Path, call) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    done = call("simulate", "--grid", "tiny", "-o", tmp_path)
    assert done.returncode == 7
    assert "not empty" in done.stderr
    done = call("simulate", "--grid", "huge", "-o", tmp_path / "new")
    assert done.returncode == 3
    assert "tiny, readings, standard, cohort" in done.stderr


def test_the_page_has_the_tables_of_the_command(tiny: Path) -> None:
    """docs/accuracy.md holds tables of the command's form, with every cell of the standard grid."""
    page = (ROOT / "docs" / "accuracy.md").read_text(encoding="utf-8").splitlines()
    for line in (tiny / "accuracy.md").read_text(encoding="utf-8").splitlines():
        if line.startswith(("| cell |", "| half dilution |", "|---|")):
            assert line in page
    for scenario in GRIDS["standard"].scenarios:
        assert sum(line.startswith(f"| {scenario.name} |") for line in page) >= 1 + scenario.events_too
    for plan in PLANS:
        for arm in plan.arms:
            assert any(line.startswith(f"| {arm.name}, {plan.layout} |") for line in page)
