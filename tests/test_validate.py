"""`aqp4flow validate`: linearity, limits and carry-over by hand and planted; the command and what it refuses."""

from __future__ import annotations

import csv
import hashlib
import json
import math
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aqp4flow import tables
from aqp4flow.assay.definition import Assay, ValidationSettings
from aqp4flow.assay.quality.carryoverstudy import carry_over, low_wells
from aqp4flow.assay.quality.detection import detection_limits, limit_of_blank, profile_of, spreads
from aqp4flow.assay.quality.linearity import deviations, linear_interval, linearity, ratio_of_slopes, slope_of
from aqp4flow.assay.quality.precision import Observation, observations
from aqp4flow.model import Bound, Estimate, Reading, Role, Titer, Titration, Well
from aqp4flow.report import validation_tables

SETTINGS = ValidationSettings()
ROOT = Path(__file__).parents[1]


def well(
    name: str, delta: float, role: Role = Role.SAMPLE, serum: str = "S", dilution: float | None = 20, plate: str = "P"
) -> Reading:
    """A well whose delta is known to 5 MFI and 2 %."""
    half = 5 + 0.02 * abs(delta)
    ratio = max(0.05, 1 + delta / 200)
    return Reading(Well(plate, name, f"{name}.fcs", role, serum, "", dilution), 5000, {},
                   delta=Estimate(delta, delta - half, delta + half),
                   ratio=Estimate(ratio, 0.9 * ratio, 1.1 * ratio))  # fmt: skip


def points(
    values: dict[float, list[float]], serum: str = "REF", role: Role = Role.REFERENCE, plates: Sequence[str] = ("P",)
) -> list[Observation]:
    """Deltas by dilution; the values of a dilution go round the plates."""
    return [
        Observation("delta", plates[i % len(plates)], serum, role, dilution, value)
        for dilution, group in values.items()
        for i, value in enumerate(group)
    ]


# --- linearity --------------------------------------------------------------------------------------


def test_what_is_proportional_is_linear() -> None:
    """1000, 500, 250, ... with 1 % up and down: order 1, no deviation, slope -1, recovery 100."""
    found = points({20.0 * 2**i: [1010 / 2**i, 990 / 2**i] for i in range(6)})
    (line,) = linearity(found, SETTINGS)
    assert (line.order, line.interval) == (1, (20, 640))
    assert line.slope.value == pytest.approx(-1)
    assert line.slope.low < -1 < line.slope.high
    assert [level.recovery for level in line.levels] == pytest.approx([100] * 6)
    assert [level.deviation for level in line.levels] == [0] * 6


def test_a_parabola_deviates_by_what_hand_and_numpy_say() -> None:
    """log y = -x - 0.1 x^2 at x = -2 .. 2 (times ln 2): the line through it is flat in x^2 at its mean of 2.

    The parabola less its line is -0.1 (x^2 - 2) = -0.2, 0.1, 0.2, 0.1, -0.2 in these logs.
    """
    x = np.arange(-2, 3)
    logs = -x - 0.1 * x**2
    wiggle = 1 + 1e-6 * np.array([1, -1])
    found = points({float(2.0**a): list(2.0**b * wiggle) for a, b in zip(x, logs, strict=True)})
    order, off = deviations(found)
    assert order == 2
    wanted = [100 * (2.0**d - 1) for d in (-0.2, 0.1, 0.2, 0.1, -0.2)]
    assert list(off.values()) == pytest.approx(wanted, abs=1e-3)
    assert logs - np.polyval(np.polyfit(x, logs, 1), x) == pytest.approx([-0.2, 0.1, 0.2, 0.1, -0.2])


def test_plates_of_other_brightness_bend_nothing() -> None:
    """The second plate is twice as bright throughout, and lacks the highest dilution."""
    found = points({20.0 * 2**i: [1000 / 2**i * (1 + 0.01 * (-1) ** i)] for i in range(6)})
    found += points({20.0 * 2**i: [2000 / 2**i * (1 - 0.01 * (-1) ** i)] for i in range(5)}, plates=("Q",))
    assert deviations(found)[0] == 1
    assert slope_of(found).value == pytest.approx(-1, abs=0.01)


def test_the_linear_interval_leaves_saturation_out() -> None:
    """delta = 8000 / (1 + d / 200) at 10 .. 20480: flat at first, -1 in the end."""
    rng = np.random.default_rng(3)
    dilutions = [10.0 * 2**i for i in range(12)]
    found = points({d: list(8000 / (1 + d / 200) * np.exp(rng.normal(0, 0.01, 2))) for d in dilutions})
    interval = linear_interval(found, 10)
    assert interval is not None
    assert interval[1] == dilutions[-1]
    assert 80 <= interval[0] <= 640
    wide = linear_interval(found, 30)
    assert wide is not None
    assert wide[0] < interval[0]
    assert linear_interval(found[:4], 10) is None  # two dilutions are no line


def test_slope_and_its_limits_are_scipys() -> None:
    """One plate: ordinary regression of logs."""
    from scipy.stats import linregress, t

    rng = np.random.default_rng(5)
    found = points({d: list(900 / d * np.exp(rng.normal(0, 0.1, 3))) for d in (1.0, 3.0, 9.0, 27.0)})
    other = linregress(np.log([one.dilution for one in found]), np.log([one.value for one in found]))
    slope = slope_of(found)
    assert slope.value == pytest.approx(other.slope)
    assert slope.high - slope.value == pytest.approx(t.ppf(0.975, 10) * other.stderr)


def test_the_ratio_of_slopes_by_hand() -> None:
    """Slopes -0.5 and -1 have the ratio 0.5; without scatter the limits are the value."""
    steep = points({d: [1000 / d, 1000 / d] for d in (1.0, 2.0, 4.0, 8.0)})
    flat = points({d: [1000 / d**0.5] * 2 for d in (1.0, 2.0, 4.0, 8.0)})
    ratio = ratio_of_slopes(flat, steep)
    assert [ratio.value, ratio.low, ratio.high] == pytest.approx([0.5] * 3)


def test_limits_of_the_ratio_of_slopes_hold_the_planted_one() -> None:
    """90 of 100 Fieller limits hold a planted ratio of 0.9."""
    rng = np.random.default_rng(8)
    held = 0
    for _ in range(400):
        one, other = (
            points({d: list(1000 * d**slope * np.exp(rng.normal(0, 0.2, 2))) for d in (1.0, 3.0, 9.0, 27.0)})
            for slope in (-0.9, -1.0)
        )
        ratio = ratio_of_slopes(one, other)
        held += ratio.low <= 0.9 <= ratio.high
    assert 0.86 <= held / 400 <= 0.94


def test_sera_are_compared_with_the_reference_at_like_shifts() -> None:
    """A parallel serum, a flat one, one too weak to compare."""
    rng = np.random.default_rng(2)

    def series(height: float, slope: float, serum: str, role: Role) -> list[Observation]:
        return points(
            {10.0 * 2**i: list(height * 2.0 ** (slope * i) * np.exp(rng.normal(0, 0.02, 3))) for i in range(8)},
            serum, role,
        )  # fmt: skip

    found = series(8000, -1, "REF", Role.REFERENCE) + series(4000, -1, "A", Role.SAMPLE)
    found += series(4000, -0.5, "B", Role.SAMPLE) + series(20, -1, "C", Role.SAMPLE)
    rows = {line.serum: line for line in linearity(found, SETTINGS)}
    assert {serum: line.parallel for serum, line in rows.items()} == {"REF": "", "A": "yes", "B": "no", "C": ""}
    assert "no-like-shifts" in rows["C"].notes


# --- limits -------------------------------------------------------------------------------------------


def test_limit_of_blank_by_hand() -> None:
    """0, 1, 2, 3, 4 of one material: mean 2, SD sqrt 2.5, c = 1.644854 / (1 - 1/16): 4.774."""
    value, rule, _ = limit_of_blank(np.arange(5.0), 1)
    assert value == pytest.approx(2 + 1.6448536 / (1 - 1 / 16) * math.sqrt(2.5))
    assert rule == "mean + c SD"


def test_limit_of_blank_of_skewed_blanks_is_a_rank() -> None:
    """20 values, one far out: rank 0.5 + 19 = 19.5, between the 19th and the 20th."""
    values = np.array([*range(1, 20), 500.0])
    value, rule, p = limit_of_blank(values, 1)
    assert (value, rule) == (pytest.approx((19 + 500) / 2), "95th percentile")
    assert p < 0.05


def plate_with_limits(rng: np.random.Generator, plate: str, n: int) -> list[Reading]:
    """Blanks N(10, 4); a low serum N(25, 6) at 1:40; a high one that no limit rests on."""
    wells = [well(f"A{i:02d}", rng.normal(10, 4), Role.NEGATIVE, f"N{i}", 20, plate) for i in range(1, n + 1)]
    wells += [well(f"B{i:02d}", rng.normal(25, 6), Role.POSITIVE, "LOW", 40, plate) for i in range(1, n + 1)]
    return wells


def test_planted_limits_are_found() -> None:
    """Blanks of mean 10 and SD 4: LOB 16.6. Low sera of SD 6: LOD 26.4. Mean of 40 labs within 3 %."""
    rng = np.random.default_rng(9)
    lobs, lods = [], []
    for _ in range(40):
        wells = [one for p in range(6) for one in plate_with_limits(rng, f"P{p}", 10)]
        limits = detection_limits(wells, observations(wells, []), [], SETTINGS)
        lob, lod = limits.of("LOB"), limits.of("LOD")
        assert lob is not None
        assert lod is not None
        assert lod.basis == "low sera over plates"
        lobs.append(lob.value)
        lods.append(lod.value)
    assert np.mean(lobs) == pytest.approx(10 + 1.645 * 4, rel=0.03)
    assert np.mean(lods) == pytest.approx(10 + 1.645 * 4 + 1.645 * 6, rel=0.03)


def test_a_weak_serum_scatters_like_a_blank() -> None:
    """Low sera of SD 1 beside blanks of SD 4: the LOD takes the blanks' SD, and lists the other."""
    rng = np.random.default_rng(1)
    wells = [
        replace(one, delta=Estimate(20 + 0.2 * (one.delta.value - 25))) if one.well.serum == "LOW" else one
        for p in range(6)
        for one in plate_with_limits(rng, f"P{p}", 10)
    ]
    limits = detection_limits(wells, observations(wells, []), [], SETTINGS)
    lod = limits.of("LOD")
    assert lod is not None
    assert lod.rule == "LOB + c SD of blanks"
    assert {limit.basis for limit in limits.found if limit.name == "LOD"} >= {"negative sera", "low sera over plates"}


def test_a_profile_gives_back_what_was_planted() -> None:
    """SD^2 = 5^2 + (0.1 m)^2 at six levels, 200 values each."""
    rng = np.random.default_rng(6)
    found = [
        one
        for m in (10.0, 30.0, 100.0, 300.0, 1000.0, 3000.0)
        for one in points({m: list(rng.normal(m, math.hypot(5, 0.1 * m), 200))}, f"S{m:g}", Role.SAMPLE)
    ]
    profile = profile_of(spreads(found)[0])
    assert profile is not None
    assert math.sqrt(profile.floor) == pytest.approx(5, rel=0.1)
    assert math.sqrt(profile.relative) == pytest.approx(0.1, rel=0.1)
    assert profile_of(spreads(found)[0][:2]) is None


def test_the_lloq_is_the_lowest_level_with_cv_and_bias_within_the_goal() -> None:
    """Halving from 1600, CV 5 % down to 50, then 40 %; five plates. Without blanks nothing raises it: 50."""
    pattern = np.array([-1.2, -0.6, 0.0, 0.6, 1.2]) / math.sqrt(0.9)  # SD 1
    found = []
    for i in range(7):
        mean = 1600 / 2**i
        cv = 0.05 if mean >= 50 else 0.40
        found += points({20.0 * 2**i: list(mean * (1 + cv * pattern))}, plates=("P", "Q", "R", "S", "T"))
    lines = linearity([one for one in found if one.value > 0], SETTINGS)
    lloq = detection_limits([], found, lines, SETTINGS).of("LLOQ")
    assert lloq is not None
    assert lloq.value == pytest.approx(50)
    strict = replace_settings(lloq_cv=3.0)
    assert detection_limits([], found, lines, strict).of("LLOQ") is None


def replace_settings(**changes: float) -> ValidationSettings:
    return ValidationSettings(**{**SETTINGS.model_dump(), **changes})


# --- carry-over ---------------------------------------------------------------------------------------


def row_of_wells(carried: float, noise: float, seed: int, plates: int = 3) -> list[Reading]:
    """High, low, low, low, ... four times a plate, in rows: each well takes a share of the one before it."""
    rng = np.random.default_rng(seed)
    wells = []
    for p in range(plates):
        before = 0.0
        for letter in "ABCD":
            for column in range(1, 7):
                high = column == 1
                planted = 8000.0 if high else 10.0
                delta = planted + carried * before + rng.normal(0, noise)
                role, serum, dilution = (
                    (Role.POSITIVE, "POS", 20.0) if high else (Role.SECONDARY_ONLY, "", None)
                )  # fmt: skip
                wells.append(well(f"{letter}{column:02d}", delta, role, serum, dilution, f"P{p}"))
                before = delta
    return wells


def test_planted_carry_over_is_found() -> None:
    """1 % of 8000 is 80 MFI beside noise of 10."""
    (row,) = carry_over(low_wells(row_of_wells(0.01, 10, 1)))
    assert (row.kind, row.n_after_high, row.n_after_low) == ("secondary only", 12, 48)
    assert row.percent.value == pytest.approx(1.0, abs=0.1)
    assert row.percent.low < 1.0 < row.percent.high
    assert row.percent.low > 0.8


def test_none_is_found_where_there_is_none() -> None:
    """Limits hold 0 in 93 to 97 of 100 such plates, and are narrow."""
    rows = [carry_over(low_wells(row_of_wells(0.0, 10, seed)))[0] for seed in range(300)]
    held = [row.percent.low <= 0 <= row.percent.high for row in rows]
    assert 0.92 <= np.mean(held) <= 0.98
    assert max(row.percent.high for row in rows) < 0.3


def test_carry_over_by_hand() -> None:
    """One plate: 1000, 30, 10, 20, 1000, 34, 14, 12. After a high well 32, after a low one 14: 18.

    The wells before: 1000 and (30 + 10 + 34 + 14) / 4 = 22: 100 * 18 / 978.
    """
    values = [1000, 30, 10, 20, 1000, 34, 14, 12]
    wells = [
        well(f"A{i:02d}", value, *((Role.POSITIVE, "POS", 20.0) if value == 1000 else (Role.SECONDARY_ONLY, "", None)))
        for i, value in enumerate(values, 1)
    ]
    (row,) = carry_over(low_wells(wells))
    assert (row.mean_after_high, row.mean_after_low, row.mean_high) == (32, 14, 1000)
    assert row.percent.value == pytest.approx(100 * 18 / 978)


def test_where_no_low_well_follows_a_high_one_it_says_so() -> None:
    """Only lows."""
    wells = [well(f"A{i:02d}", 10.0 + i, Role.SECONDARY_ONLY, "", None) for i in range(1, 7)]
    (row,) = carry_over(low_wells([*wells, well("A07", 900)]))
    assert row.notes == ("no-low-after-high",)
    assert not row.percent.known


def test_rows_are_read_by_number_not_by_letters() -> None:
    """A10 follows A09, not A01; B01 follows A12."""
    wells = [well(name, 10, Role.SECONDARY_ONLY, "", None) for name in ("A10", "A02", "B01")]
    wells += [well("A09", 900), well("A01", 20, serum="T", dilution=10), well("A12", 900, serum="T")]
    assert [(one.well, one.before) for one in low_wells(wells)] == [("A02", 20), ("A10", 900), ("B01", 900)]


# --- the command ----------------------------------------------------------------------------------------


def write_results(
    folder: Path, readings: Sequence[Reading], titrations: Sequence[Titration] = (), **assay: dict
) -> Path:
    """A results folder as a run would write it, from values."""
    folder.mkdir(parents=True)
    dumped = Assay.model_validate(
        {
            "assay": {"antigen": "AQP4-M23", "name": "planted"} | assay.pop("assay", {}),
            "channels": {"reporter": "FITC-A", "signal": "APC-A"},
            **assay,
        }
    ).model_dump(mode="json")
    texts = {
        "wells.csv": tables.to_csv(tables.wells_table(readings)),
        "reactivity.csv": tables.to_csv(tables.reactivity_table([])),
        "titers.csv": tables.to_csv(tables.titers_table(titrations)),
        "checks.csv": tables.to_csv(tables.checks_table([])),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    inputs = {f"{one.well.plate}/{one.well.file}": digest(f"{folder.name}{one}") for one in readings}
    outputs = {name: digest(text) for name, text in texts.items()}
    manifest = {"aqp4flow": "0", "assay": dumped, "inputs": inputs, "outputs": outputs}
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def planted_plate(plate: str, seed: int) -> list[Reading]:
    """A reference series in triplicate, negatives, secondary-only wells after high and low ones."""
    rng = np.random.default_rng(seed)
    bright = math.exp(rng.normal(0, 0.08))
    wells = []
    for column in range(1, 9):
        dilution = 20.0 * 2 ** (column - 1)
        for letter in "ABC":
            delta = 4000 / 2 ** (column - 1) * bright * math.exp(rng.normal(0, 0.05)) + rng.normal(0, 2)
            wells.append(well(f"{letter}{column:02d}", delta, Role.REFERENCE, "REF", dilution, plate))
    wells += [
        well(f"D{column:02d}", rng.normal(0, 8), Role.NEGATIVE, f"N{column:02d}", 20, plate) for column in range(1, 11)
    ]
    layout = [4000.0, 0, 0, 4000.0, 0, 0]
    for column, planted in enumerate(layout, 1):
        what = (Role.POSITIVE, "POS", 20.0) if planted else (Role.SECONDARY_ONLY, "", None)
        delta = planted * bright * math.exp(rng.normal(0, 0.05)) + rng.normal(0, 3)
        wells.append(well(f"E{column:02d}", delta, *what, plate))
    return wells


@pytest.fixture
def planted(tmp_path: Path) -> list[Path]:
    """Six plates in two results folders, goals set that are met."""
    goals = {
        "goal_within_cv": 15, "goal_total_cv": 30, "goal_linear_fold": 8, "goal_lloq": 100, "goal_carryover_percent": 1,
    }  # fmt: skip
    return [
        write_results(
            tmp_path / name, [one for p in range(3) for one in planted_plate(f"{name}{p}", 10 * seed + p)],
            validation=goals,
        )
        for seed, name in enumerate(("one", "two"))
    ]  # fmt: skip


def test_a_validation_is_a_whole_folder(
    planted: list[Path], tmp_path: Path, call: Callable, table: Callable[[Path], list[dict[str, str]]]
) -> None:
    """Tables, pictures, a page that opens offline; goals met; the same bytes again, whatever the order of folders."""
    done = call("validate", *planted, "-o", tmp_path / "out", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["met"]
    assert answer["plates"] == 6
    assert all(goal["met"] for goal in answer["goals"])
    assert len(answer["goals"]) == 5
    names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    for name in ("precision-profile", "linearity", "limits", "carryover"):
        assert {f"figures/{name}.{kind}" for kind in ("svg", "png", "csv")} <= names
    for name, columns in (
        ("precision", validation_tables.PRECISION), ("linearity", validation_tables.LINEARITY),
        ("limits", validation_tables.LIMITS), ("carryover", validation_tables.CARRYOVER),
    ):  # fmt: skip
        assert tuple(table(tmp_path / "out" / f"validation_{name}.csv")[0]) == columns
    page = (tmp_path / "out" / "validation.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    assert "All 5 goals that were set are met." in page
    again = call("validate", *reversed(planted), "-o", tmp_path / "again")
    assert again.returncode == 0
    for name in names:
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "again" / name).read_bytes(), name
    assert call("validate", planted[0], "-o", tmp_path / "out").returncode == 0  # an earlier validation gives way


def test_its_precision_is_that_of_the_plates(
    planted: list[Path], tmp_path: Path, call: Callable, table: Callable[[Path], list[dict[str, str]]]
) -> None:
    """Reference 1:80 on six plates in triplicate: recomputed by hand; nothing missing, both goals shown or not."""
    assert call("validate", *planted, "-o", tmp_path / "out").returncode == 0
    (row,) = [
        row
        for row in table(tmp_path / "out" / "validation_precision.csv")
        if (row["quantity"], row["material"], row["dilution"]) == ("delta", "REF", "80")
    ]
    logs: dict[str, list[float]] = {}
    for folder in planted:
        for one in table(folder / "wells.csv"):
            if (one["serum"], one["dilution"]) == ("REF", "80"):
                logs.setdefault(one["plate"], []).append(math.log(float(one["delta"])))
    means = [sum(group) / 3 for group in logs.values()]
    within = sum((x - sum(group) / 3) ** 2 for group in logs.values() for x in group) / 12
    between = 3 * sum((m - sum(means) / 6) ** 2 for m in means) / 5
    assert float(row["cv_within"]) == pytest.approx(100 * math.sqrt(math.expm1(within)), rel=1e-4)
    assert float(row["cv_total"]) == pytest.approx(
        100 * math.sqrt(math.expm1(within + (between - within) / 3)), rel=1e-4
    )
    assert (row["n"], row["plates"], row["verdict"], row["missing"]) == ("18", "6", "pass", "")


def test_a_goal_that_is_not_met_ends_in_4_with_everything_written(
    planted: list[Path], tmp_path: Path, call: Callable
) -> None:
    """Goals of an assay.toml that is named count instead of the runs' own."""
    definition = tmp_path / "assay.toml"
    definition.write_text(
        '[assay]\nname = "planted"\nantigen = "AQP4-M23"\n[channels]\nreporter = "FITC-A"\nsignal = "APC-A"\n'
        "[validation]\ngoal_within_cv = 1\ngoal_lloq = 100\n"
    )
    done = call("validate", *planted, "-o", tmp_path / "out", "--assay", definition)
    assert done.returncode == 4
    assert "goal_within_cv 1: not met" in done.stderr
    assert "goal_lloq" not in done.stderr
    assert "Not met: goal_within_cv." in (tmp_path / "out" / "validation.html").read_text(encoding="utf-8")


def test_what_cannot_be_shown_does_not_meet_a_goal(tmp_path: Path, call: Callable) -> None:
    """One plate, no series, no blanks: the page says which wells to add."""
    wells = [well("A01", 900, Role.POSITIVE, "POS", 20), well("A02", 950, Role.POSITIVE, "POS", 20)]
    goals = {"goal_total_cv": 30, "goal_linear_fold": 8, "goal_lloq": 100, "goal_carryover_percent": 1}
    folder = write_results(tmp_path / "r", wells, validation=goals)
    done = call("validate", folder, "-o", tmp_path / "out", "--json")
    assert done.returncode == 4
    answer = json.loads(done.stdout)
    assert [goal["met"] for goal in answer["goals"]] == [False] * 4
    assert {sentence.split(":")[0] for sentence in answer["missing"]} == {
        "Precision", "Linearity", "Parallelism", "Limit of blank", "Limit of detection", "Carry-over",
    }  # fmt: skip
    assert answer["lob"] is None


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"assay": {"antigen": "AQP4-M1"}}, "[assay] antigen is 'AQP4-M1', but 'AQP4-M23' in one"),
        ({"assay": {"name": "another"}}, "[assay] name is 'another', but 'planted' in one"),
        ({"assay": {"version": "2"}}, "[assay] version is '2', but '1' in one"),
        ({"readout": {"statistic": "mean"}}, "[readout] statistic is 'mean', but 'median' in one"),
        ({"cutoff": {"rule": "robust"}}, "[cutoff] rule is 'robust', but 'frey' in one"),
        ({"cutoff": {"confidence": 0.95}}, "[cutoff] confidence is 0.95, but 0.99 in one"),
        ({"reference": {"unit": "IU"}}, "[reference] unit is 'IU', but 'AU' in one"),
        ({"reference": {"units": 250}}, "[reference] units is 250.0, but 100.0 in one"),
        ({"reference": {"serum": "R"}}, "[reference] serum is 'R', but not said in one"),
        ({"titer": {"replicates": "separate"}}, "[titer] replicates is 'separate', but"),
        ({"titer": {"least": 40}}, "[titer] least is 40.0, but not said in one"),
        ({"curve": {"model": "5pl"}}, "[curve] model is '5pl', but"),
        ({"validation": {"goal_lloq": 7}}, "[validation] or [precision] differs from that in one"),
    ],
)
def test_results_of_two_assays_are_refused_naming_both(other: dict, said: str, tmp_path: Path, call: Callable) -> None:
    """And nothing is written."""
    one = write_results(tmp_path / "one", planted_plate("P", 1))
    two = write_results(tmp_path / "two", planted_plate("Q", 2), **other)
    done = call("validate", one, two, "-o", tmp_path / "out")
    assert done.returncode == 3
    assert done.stderr.startswith("two: ")
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_folders_that_are_no_finished_results_are_refused(tmp_path: Path, call: Callable) -> None:
    """No manifest; a table that was changed since; no titers; the same results twice."""
    folder = write_results(tmp_path / "one", planted_plate("P", 1))
    (tmp_path / "empty").mkdir()
    done = call("validate", tmp_path / "empty", "-o", tmp_path / "out")
    assert (done.returncode, "no manifest.json" in done.stderr) == (3, True)
    done = call("validate", folder, folder, "-o", tmp_path / "out")
    assert (done.returncode, "named twice" in done.stderr) == (3, True)
    shutil.copytree(folder, tmp_path / "edited")
    text = (tmp_path / "edited" / "wells.csv").read_text()
    (tmp_path / "edited" / "wells.csv").write_text(text.replace("REF", "REf", 1))
    done = call("validate", tmp_path / "edited", "-o", tmp_path / "out")
    assert (done.returncode, "its hash differs" in done.stderr) == (3, True)
    (folder / "titers.csv").unlink()
    done = call("validate", folder, "-o", tmp_path / "out")
    assert (done.returncode, "no titers.csv" in done.stderr) == (3, True)
    (tmp_path / "edited" / "manifest.json").write_text("[]")
    done = call("validate", tmp_path / "edited", "-o", tmp_path / "out")
    assert (done.returncode, "not the manifest of a run" in done.stderr) == (3, True)


def test_a_well_that_came_in_twice_is_refused(results: Path, tmp_path: Path, call: Callable) -> None:
    """The same files run again under other settings are no further plates."""
    shutil.copytree(results, tmp_path / "again")
    path = tmp_path / "again" / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["assay"]["seed"]["value"] = 1
    path.write_text(json.dumps(manifest), encoding="utf-8")
    done = call("validate", results, tmp_path / "again", "-o", tmp_path / "out")
    assert done.returncode == 3
    assert "is the same file as" in done.stderr


def test_a_results_folder_is_never_written_over(planted: list[Path], call: Callable) -> None:
    """-o with the results themselves."""
    done = call("validate", planted[0], "-o", planted[1])
    assert done.returncode == 7
    assert (planted[1] / "wells.csv").is_file()


def test_plates_of_one_name_are_told_apart(
    tmp_path: Path, call: Callable, table: Callable[[Path], list[dict[str, str]]]
) -> None:
    """P001 in both folders: 1/P001 and 2/P001, two plates."""
    folders = [write_results(tmp_path / name, planted_plate("P001", seed)) for seed, name in enumerate("ab", 1)]
    done = call("validate", *folders, "-o", tmp_path / "out", "--json")
    assert json.loads(done.stdout)["plates"] == 2
    wells = {row["series"].split("/A")[0] for row in table(tmp_path / "out" / "figures" / "carryover.csv")}
    assert any(name.startswith("1/P001") for name in wells)
    assert any(name.startswith("2/P001") for name in wells)


def test_real_results_are_read_as_they_were_written(results: Path, tmp_path: Path, call: Callable) -> None:
    """Two simulated plates: the validation's precision is the run's own, row for row."""
    done = call("validate", results, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    with (results / "precision.csv").open(encoding="utf-8") as file:
        own = list(csv.DictReader(file))
    with (tmp_path / "out" / "validation_precision.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(own) == len(rows)
    for mine, theirs in zip(own, rows, strict=True):
        for column in tables.PRECISION:
            if mine[column] and column not in ("quantity", "material", "role", "notes"):
                assert float(theirs[column]) == pytest.approx(float(mine[column]), rel=2e-3, abs=1e-3), column
            else:
                assert theirs[column] == mine[column]


def test_every_column_of_the_validation_is_documented() -> None:
    """Each stands in docs/validation.md."""
    page = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8")
    found = [
        validation_tables.PRECISION,
        validation_tables.LINEARITY,
        validation_tables.LIMITS,
        validation_tables.CARRYOVER,
    ]
    for column in {column for columns in found for column in columns}:
        assert f"`{column}`" in page, column


def test_titers_of_two_folders_take_part(tmp_path: Path, call: Callable) -> None:
    """100 and 121 on two plates: geometric mean 110; the third is `>` and counted as bounded."""
    titers = [Titer(100.0), Titer(121.0), Titer(640.0, Bound.ABOVE)]
    folders = [
        write_results(
            tmp_path / f"r{i}",
            [well("A01", 900.0 + i, Role.REFERENCE, "REF", 20, f"P{i}")],
            [Titration(f"P{i}", "REF", Role.REFERENCE, "delta", 50.0, None, titer, None)],
        )
        for i, titer in enumerate(titers)
    ]
    assert call("validate", *folders, "-o", tmp_path / "out").returncode == 0
    with (tmp_path / "out" / "validation_precision.csv").open(encoding="utf-8") as file:
        (row,) = [row for row in csv.DictReader(file) if (row["quantity"], row["material"]) == ("titer", "REF")]
    assert (row["n"], row["plates"]) == ("2", "2")
    assert float(row["geometric_mean"]) == pytest.approx(110)
    assert "1-bounded-or-unknown" in row["notes"]
