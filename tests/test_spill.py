"""Whether compensation matters: the residual slope of the signal on the reporter, the spreading matrix."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aqp4flow.assay.definition import Assay
from aqp4flow.controls import estimate, of_plate
from aqp4flow.cytometry.gates import GateChannels
from aqp4flow.cytometry.residual import Pair, Residual, WellSlope, pooled, well_slope
from aqp4flow.cytometry.single_stains import Control
from aqp4flow.cytometry.spreading import spreading
from aqp4flow.fcs import fcs_bytes, read_fcs
from aqp4flow.model import Channel, Check, CutOff, Estimate, Role, Spillover, Values
from aqp4flow.plate import Setting
from aqp4flow.simulate.cytometer import DETECTORS, SPILLOVER
from aqp4flow.simulate.plate import Day, PlatePlan, WellPlan
from aqp4flow.simulate.well import simulate_well
from aqp4flow.spill import Spill, spill_checks

PLANTED = SPILLOVER.matrix
STUDENT_2 = 4.302653  # two-sided 95 %, two degrees of freedom


# --- the slope of a well --------------------------------------------------------------------------


def pair(reporter: object, signal: object) -> Pair:
    return Pair(np.asarray(reporter, float), np.asarray(signal, float))


def test_the_slope_of_a_line_is_its_slope() -> None:
    """signal = 30 + 0.02 (reporter - 100): 2 % however bright; outliers of the dark and the bright do not count."""
    draw = np.random.default_rng(1)
    bright = draw.uniform(5_000, 50_000, 2_000)
    signal = 30 + 0.02 * (bright - 100) + draw.normal(0, 1e-3, 2_000)
    signal[:20] += 4_000
    dark = np.full(1_000, 30.0) + draw.normal(0, 1e-3, 1_000)
    dark[:10] += 9_000
    found = well_slope("A01", pair(bright, signal), pair(np.full(1_000, 100.0), dark))
    assert found.slope == pytest.approx(0.02, abs=1e-5)
    assert (found.n, found.well) == (3_000, "A01")
    assert found.reporter == pytest.approx(np.median(bright) - 100)


def test_large_dark_cells_are_no_spillover() -> None:
    """Autofluorescence of both detectors goes with size: among dark cells the signal follows the reporter."""
    draw = np.random.default_rng(2)
    size = draw.lognormal(0, 0.5, 4_000)
    bright = draw.lognormal(np.log(3_000), 0.3, 500)
    found = well_slope("A01", pair(bright, draw.normal(800, 40, 500)), pair(800 * size, 800 * size))
    assert abs(found.slope) < 3 * found.error
    assert found.error < 0.02


def test_the_limits_hold_where_the_spread_grows_with_the_reporter() -> None:
    """Standard deviation as the root of the reporter, 400 wells of slope 1 %: standard errors are what slopes do."""
    found = []
    for seed in range(400):
        draw = np.random.default_rng(seed)
        bright = draw.lognormal(np.log(10_000), 0.9, 800)
        signal = 50 + 0.01 * bright + draw.standard_normal(800) * np.sqrt(400 + bright)
        found.append(well_slope("", pair(bright, signal), pair(np.zeros(700), draw.normal(50, 20, 700))))
    slopes, errors = np.array([one.slope for one in found]), np.array([one.error for one in found])
    assert np.std(slopes) == pytest.approx(np.sqrt(np.mean(errors**2)), rel=0.1)
    assert 0.92 <= np.mean(np.abs(slopes - 0.01) < 1.96 * errors) <= 0.98


# --- wells together -------------------------------------------------------------------------------


def slopes(*values: float, error: float = 0.001, reporter: float = 10_000) -> list[WellSlope]:
    return [WellSlope(f"G{i:02d}", value, error, 1_000, reporter) for i, value in enumerate(values)]


def test_limits_hold_what_wells_differ_by() -> None:
    """1, 2, 3 %: mean 2, SD 1, half of the limits t(2) x 1 / sqrt(3) = 2.48 %, far beyond counting's 0.11 %."""
    found = pooled(slopes(0.01, 0.02, 0.03))
    half = STUDENT_2 * 0.01 / math.sqrt(3)
    assert (found.value, found.low, found.high) == pytest.approx((0.02, 0.02 - half, 0.02 + half), rel=1e-5)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_wells_that_agree_have_the_limits_of_counting(n: int) -> None:
    """Equal by chance: 1.96 x 0.1 % / sqrt(n), not 0."""
    found = pooled(slopes(*[0.02] * n))
    assert found.high - 0.02 == pytest.approx(1.96 * 0.001 / math.sqrt(n), rel=1e-4)
    assert 0.02 - found.low == pytest.approx(found.high - 0.02)


def test_a_well_that_is_uncertain_counts_less() -> None:
    """Errors 0.1 and 1 %, no more apart than that: weights 100 to 1."""
    found = pooled([*slopes(0.02), *slopes(0.025, error=0.01)])
    assert found.value == pytest.approx((100 * 0.02 + 0.025) / 101)


def test_wells_that_truly_differ_count_alike() -> None:
    """1 % known to 0.001 %, 3 % known to 0.1 %: the better known well is not the truer one."""
    found = pooled([*slopes(0.01, error=1e-5), *slopes(0.03, error=1e-3)])
    assert found.value == pytest.approx(0.02, rel=0.01)


def test_a_slope_makes_a_delta() -> None:
    """2 % of reporters 10,000, 12,000 and 30,000: at the middle one 240."""
    wells = tuple(one for level in (10_000.0, 12_000.0, 30_000.0) for one in slopes(0.02, reporter=level))
    found = Residual(Estimate(0.02, 0.01, 0.03), "secondary-only", wells).shift
    assert (found.value, found.low, found.high) == pytest.approx((240, 120, 360))


# --- what is said ---------------------------------------------------------------------------------


def said(slope: Estimate, cutoff: float | None, comparator: str = "same-well") -> list[Check]:
    """The check of a reporter of 10,000 in one well."""
    channels = {"reporter": "FITC-A", "signal": "APC-A"}
    assay = Assay.model_validate({"assay": {"antigen": "A", "comparator": comparator}, "channels": channels})
    setting = Setting(assay, GateChannels("FSC-A", "SSC-A", reporter="FITC-A"), "APC-A", None, None)
    residual = Residual(slope, "secondary-only", tuple(slopes(slope.value)))
    return spill_checks("P", Spill(residual), setting, None if cutoff is None else CutOff("delta", cutoff, "fixed"))


@pytest.mark.parametrize(
    ("slope", "verdict"),
    [
        (Estimate(0.006, 0.001, 0.011), "warn"),
        (Estimate(0.006, -0.001, 0.013), "pass"),  # chance is not ruled out
        (Estimate(0.004, 0.003, 0.005), "pass"),  # certain, and small
        (Estimate(-0.006, -0.011, -0.001), "warn"),
    ],
)
def test_a_slope_warns_when_it_is_large_and_certain(slope: Estimate, verdict: str) -> None:
    (found,) = said(slope, 200)
    assert (found.check, found.verdict.value, found.value) == ("spill-residual", verdict, 100 * slope.value)


def test_the_sentence_holds_the_delta_and_its_share_of_the_cut_off() -> None:
    """0.6 % of 10,000 is 60 (10 to 110), 30 % of a cut-off of 200; without a cut-off, or below 0, no share."""
    slope = Estimate(0.006, 0.001, 0.011)
    assert "reporter of 1e+04 that alone makes a delta of about 60 (10 to 110), 30 % of the cut-off. Comp" in (
        said(slope, 200)[0].message
    )
    for cutoff in (None, -5.0):
        assert "delta of about 60 (10 to 110). Comp" in said(slope, cutoff)[0].message
    assert "(0.1 to 1.1, by counting alone; secondary-only wells G00)" in said(slope, None)[0].message


def test_paired_wells_have_no_two_populations_to_compare() -> None:
    assert said(Estimate(0.006, 0.001, 0.011), 200, "paired-well") == []


# --- planted: wells of the simulator, compensated with a matrix that is wrong ---------------------


def plate_of(number: int, matrix: Values, n_wells: int) -> Estimate:
    """The pooled slope of secondary-only wells by their true labels; `matrix` takes the place of the planted one."""
    plan = [WellPlan(i, Role.SECONDARY_ONLY, replicate=i + 1) for i in range(n_wells)]
    plate = PlatePlan(number, (*plan, WellPlan(95, Role.BLANK)), Day(0.52, 1.0, 1.0, 0.03))
    found = []
    for one in plan:
        well = simulate_well(plate, one, 0.3, 11)
        true = np.linalg.solve(matrix.T, well.acquisition.values[:, 3:6].astype(float).T).T
        bright, dark = true[well.bright], true[well.nonexpressing]
        found.append(well_slope(one.name, pair(bright[:, 0], bright[:, 2]), pair(dark[:, 0], dark[:, 2])))
    return pooled(found)


@pytest.mark.parametrize("n_wells", [1, 3])
@pytest.mark.parametrize("missing", [0.0, 0.003, 0.01, 0.03, -0.01])
def test_limits_hold_the_planted_residual(missing: float, n_wells: int) -> None:
    """Of 60 plates whose matrix lacks 0.3, 1, 3 % of the reporter in the signal; only those beyond 0.5 % would warn."""
    wrong = PLANTED.copy()
    wrong[0, 2] -= missing
    left = PLANTED @ np.linalg.inv(wrong)
    truth = left[0, 2] / left[0, 0]
    assert truth == pytest.approx(missing, abs=2e-5)
    found = [plate_of(number, wrong, n_wells) for number in range(60)]
    held = sum(one.low <= truth <= one.high for one in found)
    assert held >= 52  # of 60 at 95 %: fewer once in 500
    assert np.median([one.high - one.low for one in found]) < 0.003
    warned = sum(abs(one.value) > 0.005 and not one.low <= 0 <= one.high for one in found)
    assert warned == (60 if abs(missing) > 0.005 else 0)


# --- spreading ------------------------------------------------------------------------------------


def control(dye: str, values: object) -> Control:
    events = np.asarray(values, float)
    return Control(f"{dye}.fcs", dye, events, np.zeros(len(events), np.bool_))


def ladder(middle: float, spread: float, n: int = 1_001) -> Values:
    """Values whose 50th percentile is `middle` and whose 84th lies `spread` above."""
    return middle + spread * (np.arange(n) - (n - 1) / 2) / (0.34 * (n - 1))


def test_a_spread_by_hand() -> None:
    """Light 100 and 2,600, spreads 30 and 50: sqrt(2500 - 900) / sqrt(2500) = 0.8. The other way round: 0."""
    wide = np.column_stack([np.full(1_001, 2_600.0), ladder(7, 50)])
    dark = np.column_stack([np.full(1_001, 100.0), ladder(7, 30)])
    narrow = np.column_stack([ladder(7, 10), np.full(1_001, 2_600.0)])
    matrix = Spillover(("A", "B"), np.eye(2), "none")
    controls = [control("A", np.vstack([dark, wide])), control("B", np.vstack([dark[:, ::-1], narrow]))]
    found = spreading(controls, matrix, None)
    assert found[0, 1] == pytest.approx(0.8, rel=1e-9)
    assert found[1, 0] == 0
    assert np.isnan(np.diag(found)).all()


def test_spreads_are_of_compensated_events() -> None:
    """The same light, with a tenth of A seen in B: what spills widens nothing once it is taken away."""
    draw = np.random.default_rng(3)
    light = np.concatenate([draw.normal(100, 5, 2_000), draw.normal(20_000, 4_000, 2_000)])
    signal = np.concatenate([ladder(7, 30, 2_000), ladder(7, 50, 2_000)])
    spilled = np.column_stack([light, signal]) @ np.array([[1.0, 0.1], [0.0, 1.0]])
    matrix = Spillover(("A", "B"), np.array([[1.0, 0.1], [0.0, 1.0]]), "planted")
    found = spreading([control("A", spilled)], matrix, None)
    assert found[0, 1] == pytest.approx(math.sqrt(1600 / 19_900), rel=0.01)
    assert np.isnan(found[1]).all()  # no control


def test_a_control_without_a_bright_population_has_no_spread() -> None:
    dim = np.random.default_rng(4).normal(100, 10, (500, 2))
    found = spreading([control("A", dim)], Spillover(("A", "B"), np.eye(2), "none"), None)
    assert np.isnan(found).all()


def test_spreads_are_those_of_counted_photons() -> None:
    """Photoelectrons alone: light L of a dye gives detector k a Poisson number e_k m_k L (m its row of the matrix, e_k
    photoelectrons a unit), so in units of light the variance m_k L / e_k. Compensation weighs detector k by w_k in the
    channel asked for (w solves `matrix @ w = unit vector`), and counts in different detectors are independent: the
    dye adds the variance L sum_k w_k^2 m_k / e_k. The spread is the root of that without L.
    """
    matrix = np.array([[1.0, 0.2, 0.05], [0.01, 1.0, 0.15], [0.03, 0.02, 1.0]])
    efficiency = np.array([0.05, 0.02, 0.04])
    draw = np.random.default_rng(5)
    controls = []
    for row in range(3):
        true = np.full((40_000, 3), 20.0)
        true[20_000:, row] += 30_000
        noise = draw.normal(0, 15, true.shape)
        controls.append(control(DETECTORS[row], draw.poisson(true @ matrix * efficiency) / efficiency + noise))
    weights = np.linalg.inv(matrix)
    wanted = np.sqrt(np.einsum("kj,ik,k->ij", weights**2, matrix, 1 / efficiency))
    found = estimate(DETECTORS, controls, None, "populations").spreading
    assert found is not None
    off = ~np.eye(3, dtype=bool)
    assert found[off] == pytest.approx(wanted[off], rel=0.05)


def test_two_cells_at_once_are_no_spread(tmp_path: Path) -> None:
    """A tenth of the events are two cells, one of them bright: as light in B as two, lower than their area says.

    B holds their own light of 100, an SD of 15, and no noise of A: the spread is 0, or what chance makes of it.
    """
    draw = np.random.default_rng(6)
    n = 6_000
    double = draw.random(n) < 0.1
    bright = double | (draw.random(n) < 0.3)
    cells = np.where(double, 2.0, 1.0)
    area = 50_000 * cells * draw.lognormal(0, 0.1, n)
    height = area * np.where(double, 0.6, 0.9) * draw.lognormal(0, 0.03, n)
    light = 100 * cells + draw.normal(0, 15, n)
    dye = np.where(bright, draw.normal(4_000, 300, n), 100.0)
    other = np.where(draw.random(n) < 0.5, 9_000.0, 100.0)
    names = ("FSC-A", "FSC-H", "SSC-A", "A", "B")
    channels = [Channel(i, name) for i, name in enumerate(names, 1)]
    files = []
    for name, a, b in (("A", dye, light), ("B", light, other)):
        values = np.column_stack([area, height, draw.lognormal(10, 0.2, n), a, b]).astype(np.float32)
        (tmp_path / f"{name}.fcs").write_bytes(fcs_bytes(values, channels, {"$CYT": "Test"}))
        files.append((name, read_fcs(tmp_path / f"{name}.fcs")))
    for shape in ({"forward_height": "FSC-H"}, {}):
        spreads = of_plate(files, [], GateChannels("FSC-A", "SSC-A", **shape), 20).spreading
        assert spreads is not None
        assert (spreads[0, 1] < 0.1) == bool(shape)


# --- on a plate -----------------------------------------------------------------------------------


def run(plate: Path, out: Path, call: Callable, until: str = "wells") -> dict[str, dict[str, str]]:
    """checks.csv by check, of one plate."""
    words = ("--until", until) if until else ()
    done = call("run", plate, "--assay", plate.parents[1] / "assay.toml", *words, "-o", out)
    assert done.returncode in (0, 4), done.stderr
    with (out / "checks.csv").open(encoding="utf-8") as file:
        return {row["check"]: row for row in csv.DictReader(file)}


def with_matrix(plate: Path, change: float) -> None:
    """The planted matrix with another coefficient of the reporter in the signal, as CSV beside assay.toml."""
    wrong = PLANTED.copy()
    wrong[0, 2] += change
    rows = [",".join([name, *map(str, row)]) for name, row in zip(DETECTORS, wrong.tolist(), strict=True)]
    (plate.parents[1] / "matrix.csv").write_text("\n".join([",".join(["channel", *DETECTORS]), *rows]) + "\n")
    path = plate.parents[1] / "assay.toml"
    path.write_text(path.read_text().replace('source = "file"', 'source = "matrix.csv"'))


def without(plate: Path, *roles: str) -> None:
    rows = (plate / "plate.csv").read_text().splitlines()
    (plate / "plate.csv").write_text("\n".join(row for row in rows if row.split(",")[1] not in roles) + "\n")


def test_a_right_matrix_passes_in_each_kind_of_well(plate: Path, tmp_path: Path, call: Callable) -> None:
    """Secondary-only wells, else unstained ones, else negative sera where there is least of them, else it is said."""
    rows = (plate / "plate.csv").read_text().splitlines()
    far = [row.replace(",20,", ",400,") if row[:3] in ("F07", "F08", "F09") else row for row in rows]
    (plate / "plate.csv").write_text("\n".join(far) + "\n")
    wanted = ("secondary-only wells G09, G10, G11)", "unstained wells G12, H01)", "negative wells F07, F08, F09)")
    for number, words in enumerate(wanted):
        found = run(plate, tmp_path / str(number), call)["spill-residual"]
        assert found["verdict"] == "pass"
        assert abs(float(found["value"])) < 0.1
        assert words in found["message"]
        without(plate, words.split(" ", maxsplit=1)[0])
    found = run(plate, tmp_path / "none", call)["spill-residual"]
    assert (found["verdict"], found["value"]) == ("warn", "")
    assert "cannot be told" in found["message"]


@pytest.mark.parametrize(("change", "words"), [(-0.01, "takes too little"), (0.01, "takes too much")])
def test_a_wrong_coefficient_is_told_with_the_delta_it_makes(
    change: float, words: str, plate: Path, tmp_path: Path, call: Callable, table: Callable
) -> None:
    """1 % of a reporter of some 14,000 is a delta of 140, and the wells without serum show just that."""
    with_matrix(plate, change)
    checks = run(plate, tmp_path / "out", call, until="")
    found = checks["spill-residual"]
    assert found["verdict"] == "warn"
    assert float(found["value"]) == pytest.approx(-100 * change, abs=0.06)
    assert words in found["message"]
    said = float(found["message"].split("makes a delta of about ")[1].split(" ")[0])
    rows = [row for row in table(tmp_path / "out" / "wells.csv") if row["role"] == "secondary-only"]
    assert said == pytest.approx(np.mean([float(row["delta"]) for row in rows]), rel=0.12)
    cutoff = next(float(row["cutoff_delta"]) for row in table(tmp_path / "out" / "reactivity.csv"))
    if change < 0:  # too little taken away: the cut-off rises with all that is negative
        percent = float(found["message"].split("), ")[1].split(" %")[0])
        assert percent == pytest.approx(100 * said / cutoff, rel=0.02)
        assert (checks["secondary-only"]["verdict"], checks["negative-shift"]["verdict"]) == ("fail", "warn")
    else:
        assert cutoff < 0
        assert "of the cut-off" not in found["message"]


def test_a_limit_of_the_labs_own(plate: Path, tmp_path: Path, call: Callable) -> None:
    with_matrix(plate, -0.01)
    with (plate.parents[1] / "assay.toml").open("a") as file:
        file.write("\n[acceptance]\nresidual_slope_percent = 1.5\n")
    found = run(plate, tmp_path / "out", call)["spill-residual"]
    assert (found["verdict"], found["limit"]) == ("pass", "|slope| <= 1.5 %")


def test_events_without_a_true_value_do_not_bend_the_slope(plate: Path, tmp_path: Path, call: Callable) -> None:
    """A reporter cut off at the end of its range gives back too little spillover: those events are left out."""
    for name in ("G09", "G10", "G11"):
        (path,) = plate.glob(f"*_{name}.fcs")
        file = read_fcs(path)
        channels = [replace(c, range=12_000.0) if c.name == "FITC-A" else c for c in file.channels]
        values = np.array(file.raw)
        index = [channel.name for channel in channels].index("FITC-A")
        assert 0.1 < np.mean(values[:, index] >= 11_999) < 0.6
        values[:, [c.name for c in channels].index("APC-A")] += 0.05 * values[:, index]
        values[:, index] = np.minimum(values[:, index], 11_999)
        path.write_bytes(fcs_bytes(values, channels, {"$CYT": "Test"}))
    with_matrix(plate, 0.05)
    found = run(plate, tmp_path / "out", call)["spill-residual"]
    assert abs(float(found["value"])) < 0.1
    assert float(found["message"].split("reporter of ")[1].split(" ")[0]) < 12_000


@pytest.mark.parametrize("cut_out", [False, True])
def test_stretches_that_are_cut_out_are_out_here_too(
    cut_out: bool, plate: Path, tmp_path: Path, call: Callable
) -> None:
    """For the first quarter of each well a twentieth of the reporter is in the signal."""
    for name in ("G09", "G10", "G11"):
        (path,) = plate.glob(f"*_{name}.fcs")
        file = read_fcs(path)
        values, index = np.array(file.raw), [channel.name for channel in file.channels].index
        first = len(values) // 4
        values[:first, index("APC-A")] += 0.05 * values[:first, index("FITC-A")]
        path.write_bytes(fcs_bytes(values, file.channels, {"$CYT": "Test"}))
    with_matrix(plate, 0.0)
    with (plate.parents[1] / "assay.toml").open("a") as text:
        text.write(f"\n[acquisition]\ncut_out = {str(cut_out).lower()}\n")
    found = run(plate, tmp_path / "out", call)["spill-residual"]
    assert (abs(float(found["value"])) < 0.05) == cut_out


def test_the_plate_has_the_spreads_of_its_single_stains(
    results: Path, plate: Path, tmp_path: Path, call: Callable, table: Callable
) -> None:
    """Those that photoelectrons of the simulated cytometer make, by the formula above; the same by another door."""
    from aqp4flow.simulate.cytometer import Cytometer

    efficiency = np.array(Cytometer().photoelectrons)
    wanted = np.sqrt(np.einsum("kj,ik,k->ij", np.linalg.inv(PLANTED) ** 2, PLANTED, 1 / efficiency))
    rows = [row for row in table(results / "spreading.csv") if row["plate"] == "P001"]
    assert [(row["dye"], row["detector"]) for row in rows] == [(a, b) for a in DETECTORS for b in DETECTORS if a != b]
    found = {(row["dye"], row["detector"]): float(row["spread"]) for row in rows}
    for i, j in ((0, 1), (1, 2), (2, 1)):  # the others are too small for 2,500 events
        assert found[DETECTORS[i], DETECTORS[j]] == pytest.approx(wanted[i, j], rel=0.2)
    said = next(row for row in table(results / "checks.csv") if row["check"] == "spreading")
    assert (said["subject"], said["verdict"]) == ("P001", "pass")
    assert float(said["value"]) == pytest.approx(found[DETECTORS[0], DETECTORS[2]])
    text = (plate.parents[1] / "assay.toml").read_text()
    (plate.parents[1] / "assay.toml").write_text(text.replace('source = "file"', 'source = "controls"'))
    run(plate, tmp_path / "out", call)
    for row in table(tmp_path / "out" / "spreading.csv"):
        assert float(row["spread"]) == pytest.approx(found[row["dye"], row["detector"]], abs=0.15)


def test_controls_that_give_no_matrix_are_said_to_show_no_spread(plate: Path, tmp_path: Path, call: Callable) -> None:
    """With the file's matrix in use nothing is lost: the plate goes on, also where a control has other channels."""
    (path,) = plate.glob("*_H03.fcs")
    file = read_fcs(path)
    kept = [i for i, channel in enumerate(file.channels) if channel.name != "APC-A"]
    path.write_bytes(fcs_bytes(np.array(file.raw)[:, kept], [file.channels[i] for i in kept], {"$CYT": "Test"}))
    found = run(plate, tmp_path / "out", call)["spreading"]
    assert (found["verdict"], found["value"]) == ("pass", "")
    assert "no channel called 'APC-A'" in found["message"]
    assert not (tmp_path / "out" / "spreading.csv").exists()


def test_the_spillover_command_gives_the_spreads(study: Path, tmp_path: Path, call: Callable) -> None:
    """As JSON in the layout of the matrix, null on the diagonal; as CSV in the layout of the matrix."""
    from shutil import copy

    rows = ["file,role,dye"]
    for well, dye in (("G12", ""), ("H02", "FITC-A"), ("H03", "PerCP-Cy5-5-A"), ("H04", "APC-A")):
        (path,) = (study / "plates" / "P001").glob(f"*_{well}.fcs")
        copy(path, tmp_path / path.name)
        rows.append(f"{path.name},{'single-stain' if dye else 'unstained'},{dye}")
    (tmp_path / "plate.csv").write_text("\n".join(rows) + "\n")
    done = call("spillover", tmp_path, "--json", "--spreading", tmp_path / "spreads.csv")
    assert done.returncode == 0, done.stderr
    spreads = json.loads(done.stdout)["spreading"]
    assert [row[i] for i, row in enumerate(spreads)] == [None] * 3
    with (tmp_path / "spreads.csv").open() as file:
        heading, *table = csv.reader(file)
    assert heading == ["channel", *DETECTORS]
    assert [row[0] for row in table] == list(DETECTORS)
    for cells, values in zip((row[1:] for row in table), spreads, strict=True):
        assert cells == ["" if value is None else f"{value:.10g}" for value in values]
    again = call("spillover", tmp_path, "--spreading", tmp_path / "spreads.csv")
    assert again.returncode == 3
