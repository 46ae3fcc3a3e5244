"""A spillover matrix from single-stained controls: sums by hand, planted matrices, doubts."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from aqp4flow.controls import Found
from aqp4flow.cytometry.compensation import read_matrix
from aqp4flow.cytometry.single_stains import (
    Control,
    apart,
    brightest,
    doubts,
    medians,
    populations,
    regression,
)
from aqp4flow.errors import AnalysisError
from aqp4flow.fcs import fcs_bytes, read_fcs
from aqp4flow.model import Channel, Spillover, Values
from aqp4flow.stains import to_csv

DETECTORS = ("FITC-A", "PE-A", "PerCP-A", "APC-A")
PLANTED = np.array(
    [[1.0, 0.183, 0.032, 0.0004], [0.012, 1.0, 0.171, 0.001], [0.0006, 0.007, 1.0, 0.038], [0.0001, 0.0003, 0.014, 1.0]]
)


def control(dye: str, values: object, name: str = "") -> Control:
    events = np.asarray(values, float)
    return Control(name or f"{dye}.fcs", dye, events, np.zeros(len(events), np.bool_))


def light(seed: int, own: int | None, n: int = 10_000, share: float = 0.5, bright: float = 20_000.0) -> Values:
    """Skewed autofluorescence and a dye in part of the cells, spilled, counted as photoelectrons, with noise."""
    draw = np.random.default_rng(seed)
    true = draw.lognormal(np.log(150), 0.4, (n, 4))
    if own is not None:
        stained = draw.random(n) < share
        true[stained, own] += draw.lognormal(np.log(bright), 0.5, np.count_nonzero(stained))
    return draw.poisson(true @ PLANTED * 0.1) / 0.1 + draw.normal(0, 30, (n, 4))


UNSTAINED = light(99, None)
CONTROLS = [control(dye, light(seed, seed)) for seed, dye in enumerate(DETECTORS)]
OFF = ~np.eye(4, dtype=bool)


# --- sums by hand ---------------------------------------------------------------------------------


def test_the_plain_definition_by_hand() -> None:
    """Medians 100, 30 stained and 20, 10 unstained: (30 - 10) / (100 - 20) = 0.25; and (5 - 10) / (90 - 10) below 0."""
    unstained = np.array([[20.0, 10.0], [19.0, 9.0], [21.0, 11.0]])
    one = control("A", [[100.0, 30.0], [90.0, 25.0], [400.0, 300.0]])
    other = control("B", [[15.0, 90.0], [15.0, 90.0], [15.0, 90.0]])
    found = medians(("A", "B"), [other, one], unstained, "by hand")
    assert found.matrix.tolist() == [[1.0, 0.25], [(15 - 20) / 80, 1.0]]
    assert found.channels == ("A", "B")
    assert found.low is None


def test_populations_by_hand() -> None:
    """The worked example of the literature: (1379 - 29.5) / (4179 - 79.8) = 0.329."""
    negative = np.tile([79.8, 29.5], (200, 1))
    positive = np.tile([4179.0, 1379.0], (200, 1))
    first = control("A", np.vstack([negative, positive]))
    second = control("B", np.vstack([negative, negative[:, ::-1] + [0.0, 5000.0]]))
    found = populations(("A", "B"), [first, second], None, "by hand")
    assert found.matrix[0, 1] == pytest.approx(0.329, abs=5e-4)


def test_regression_of_a_line_is_its_slope() -> None:
    x = np.linspace(0, 1000, 500)
    first = control("A", np.column_stack([x, 0.2 * x + 7]))
    second = control("B", np.column_stack([0.1 * x - 3, x]))
    found = regression(("A", "B"), [first, second], "by hand")
    assert np.allclose(found.matrix, [[1.0, 0.2], [0.1, 1.0]], atol=1e-9)


# --- planted --------------------------------------------------------------------------------------


@pytest.mark.parametrize("unstained", [UNSTAINED, None], ids=["unstained", "own negatives"])
def test_populations_find_the_planted_matrix(unstained: Values | None) -> None:
    found = populations(DETECTORS, CONTROLS, unstained, "populations")
    assert np.abs(found.matrix - PLANTED).max() < 0.002


def test_regression_finds_the_planted_matrix_within_its_limits() -> None:
    """Eight sets of tubes; limits are a little too narrow, for errors of the other dyes' rows are not in them."""
    held = []
    for start in range(0, 80, 10):
        controls = [control(dye, light(200 + start + own, own)) for own, dye in enumerate(DETECTORS)]
        found = regression(DETECTORS, controls, "regression")
        assert np.abs(found.matrix - PLANTED).max() < 0.001
        assert found.low is not None
        assert found.high is not None
        held.append(((found.low <= PLANTED) & (found.high >= PLANTED))[OFF].mean())
    assert np.mean(held) > 0.85


def test_limits_hold_the_planted_coefficient_at_the_promised_rate() -> None:
    """Autofluorescence that is symmetric, so that medians add: 95 % limits over 60 pairs of tubes."""
    held = []
    for seed in range(60):
        draw = np.random.default_rng(1000 + seed)
        stained = draw.random(4000) < 0.5
        true = draw.normal(100, 20, (4000, 2))
        true[stained, 0] += draw.normal(10_000, 100, np.count_nonzero(stained))
        first = control("A", true @ np.array([[1.0, 0.2], [0.0, 1.0]]) + draw.normal(0, 10, (4000, 2)))
        true = draw.normal(100, 20, (4000, 2))
        true[stained, 1] += 10_000
        found = populations(("A", "B"), [first, control("B", true)], None, "populations")
        assert found.low is not None
        assert found.high is not None
        held.append(bool(found.low[0, 1] <= 0.2 <= found.high[0, 1]))
    assert np.mean(held) > 0.85


def test_events_at_the_top_are_left_out() -> None:
    values = light(0, 0)
    clipped = np.minimum(values, [25_000.0, 1e9, 1e9, 1e9])
    at_top = clipped[:, 0] >= 25_000
    assert 0.1 < at_top.mean() < 0.4
    cut = Control("clipped.fcs", "FITC-A", clipped, at_top)
    found = populations(DETECTORS, [cut, *CONTROLS[1:]], UNSTAINED, "populations")
    assert found.matrix[0, 1] == pytest.approx(0.183, abs=0.002)
    said = doubts(DETECTORS, [cut, *CONTROLS[1:]], UNSTAINED)
    assert [(doubt.code, doubt.dye) for doubt in said] == [("control-saturated", "FITC-A")]


def test_a_control_stained_throughout_takes_its_negatives_from_the_unstained() -> None:
    all_stained = [control(dye, light(seed, seed, share=1.0)) for seed, dye in enumerate(DETECTORS)]
    found = populations(DETECTORS, all_stained, UNSTAINED, "populations")
    assert np.abs(found.matrix - PLANTED).max() < 0.002


def test_the_brightest_detector_is_the_dyes_own() -> None:
    for own, dye in enumerate(DETECTORS):
        assert brightest(DETECTORS, light(own, own, share=0.3), UNSTAINED) == dye


# --- what speaks against a control ----------------------------------------------------------------


def found_doubts(controls: list[Control]) -> list[tuple[str, str]]:
    found = populations(DETECTORS, controls, UNSTAINED, "populations")
    said = doubts(DETECTORS, controls, UNSTAINED) + apart(found, regression(DETECTORS, controls, "regression"))
    return [(doubt.code, doubt.dye) for doubt in said]


def test_good_controls_raise_no_doubt() -> None:
    assert found_doubts(CONTROLS) == []


def test_swapped_tubes_are_found() -> None:
    """The tube of PE under the name of APC, and the other way round."""
    swapped = [CONTROLS[0], control("PE-A", CONTROLS[3].values), CONTROLS[2], control("APC-A", CONTROLS[1].values)]
    for unstained in (UNSTAINED, None):
        said = doubts(DETECTORS, swapped, unstained)
        assert [(d.code, d.dye) for d in said] == [("control-swapped", "PE-A"), ("control-swapped", "APC-A")]


def test_a_dim_control_is_told() -> None:
    dim = control("PE-A", light(1, 1, bright=60.0))
    assert ("control-dim", "PE-A") in found_doubts([CONTROLS[0], dim, *CONTROLS[2:]])


def test_negatives_of_another_kind_are_told() -> None:
    """Cells of twice the autofluorescence beside the unstained ones."""
    other = light(1, 1)
    other[:, 3] += 3000
    assert ("control-negatives", "PE-A") in found_doubts([CONTROLS[0], control("PE-A", other), *CONTROLS[2:]])


def test_estimators_that_part_are_told() -> None:
    """Positives that also carry more autofluorescence: the medians see it, the slope within them less so."""
    other = light(0, 0)
    other[other[:, 0] > 5000, 3] += 1500
    assert ("control-estimators", "FITC-A") in found_doubts([control("FITC-A", other), *CONTROLS[1:]])


@pytest.mark.parametrize(
    ("controls", "what"),
    [
        (CONTROLS[:3], "0 controls for APC-A"),
        ([*CONTROLS, CONTROLS[0]], "2 controls for FITC-A, FITC-A.fcs, FITC-A.fcs"),
        ([control("FITC-A", UNSTAINED[:50]), *CONTROLS[1:]], "FITC-A.fcs has 0 positive events in FITC-A"),
    ],
)
def test_what_cannot_be_estimated_is_refused(controls: list[Control], what: str) -> None:
    with pytest.raises(AnalysisError) as refused:
        populations(DETECTORS, controls, UNSTAINED, "populations")
    assert refused.value.what.startswith(what)


# --- the command ----------------------------------------------------------------------------------

CHANNELS = (
    Channel(1, "FSC-A"),
    *(Channel(i, name, range=1e6) for i, name in enumerate(DETECTORS, 2)),
    Channel(6, "Time"),
)


def written(folder: Path, dyes: Mapping[str, str], unstained: bool = True) -> Path:
    """Controls as files under any name, with a plate map."""
    rows = ["file,role,dye"]
    tubes = {dye: light(seed, seed) for seed, dye in enumerate(DETECTORS)} | ({"": UNSTAINED} if unstained else {})
    for number, (dye, values) in enumerate(tubes.items()):
        name = f"tube.{number:03d}"
        n = len(values)
        columns = np.column_stack([np.full(n, 5e4), values, np.arange(n)]).astype(np.float32)
        (folder / name).write_bytes(fcs_bytes(columns, CHANNELS, {"$CYT": "Test"}))
        rows.append(f"{name},{'single-stain' if dye else 'unstained'},{dyes.get(dye, dye)}")
    (folder / "plate.csv").write_text("\n".join(rows))
    return folder


def test_the_matrix_comes_as_csv(tmp_path: Path, call: Callable) -> None:
    """Heading `channel,...`, a row a dye, to ten digits: the plain definition, computed here again."""
    written(tmp_path, {})
    done = call("spillover", tmp_path, "--method", "median", "--csv")
    assert done.returncode == 0, done.stderr
    rows = list(csv.reader(io.StringIO(done.stdout)))
    assert rows[0] == ["channel", *DETECTORS]
    assert [row[0] for row in rows[1:]] == list(DETECTORS)
    dark = np.median(UNSTAINED.astype(np.float32).astype(float), axis=0)
    for seed, row in enumerate(rows[1:]):
        shift = np.median(light(seed, seed).astype(np.float32).astype(float), axis=0) - dark
        assert [float(cell) for cell in row[1:]] == pytest.approx((shift / shift.max()).tolist(), abs=1e-9)


def test_values_that_are_no_numbers_are_left_out_of_a_control_and_counted(tmp_path: Path, call: Callable) -> None:
    """NaN in thirty events of one tube: the matrix is that of the others, and the tube is named with its count."""
    good = call("spillover", written(tmp_path, {}), "--json")
    path = tmp_path / "tube.001"
    values = np.column_stack([read_fcs(path).events.column(channel.name) for channel in CHANNELS])
    values[:3000:100, 2] = np.nan
    path.write_bytes(fcs_bytes(values.astype(np.float32), CHANNELS, {"$CYT": "Test"}))
    odd = call("spillover", tmp_path, "--json")
    assert odd.returncode == 0, odd.stderr
    before, after = (json.loads(done.stdout) for done in (good, odd))
    assert np.allclose(before["matrix"], after["matrix"], atol=2e-3)
    assert "30 events with values that are NaN or infinite" in str(after)


def test_a_dye_that_is_not_named_is_where_the_control_is_brightest(tmp_path: Path, call: Callable) -> None:
    written(tmp_path, dict.fromkeys(DETECTORS, ""))
    found = json.loads(call("spillover", tmp_path, "--json").stdout)
    assert (found["channels"], found["method"], found["doubts"]) == (list(DETECTORS), "regression", [])
    assert np.abs(np.array(found["matrix"]) - PLANTED).max() < 0.002
    assert found["low"][0][0] is None
    assert found["low"][0][1] < found["matrix"][0][1] < found["high"][0][1]


def test_the_written_matrix_compensates_a_study(tmp_path: Path, call: Callable) -> None:
    """What `--csv` writes is what `[compensation] source` reads."""
    from aqp4flow.cytometry.compensation import read_matrix

    written(tmp_path, {})
    done = call("spillover", tmp_path, "--csv", tmp_path / "matrix.csv")
    assert (done.returncode, done.stdout) == (0, "")
    assert np.abs(read_matrix(tmp_path / "matrix.csv").matrix - PLANTED).max() < 0.002
    assert call("spillover", tmp_path, "--csv", tmp_path / "matrix.csv").returncode == 3


def test_the_matrix_is_shown_in_percent_with_its_limits(tmp_path: Path, call: Callable) -> None:
    written(tmp_path, {})
    first = call("spillover", tmp_path).stdout.splitlines()[0]
    assert first.startswith("FITC-A  in PE-A        18.")
    assert first.endswith(")")
    assert " to " in first


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("file,role,dye\ntube.000,sample,", "no row with the role single-stain"),
        ("file,role,dye\ntube.000,single-stain,XYZ-A", "row 2: dye 'XYZ-A' is no detector of the file"),
        ("file,role,dye\ntube.000,single-stain,", "row 2: no dye is named, and there is no unstained control"),
        ("file,role,dye\n,single-stain,FITC-A", "row 2: no file is named"),
        ("file,role,dye\nnothing.fcs,single-stain,FITC-A", "nothing.fcs: no such file"),
        ("file,dye\ntube.000,FITC-A", "the column 'role' is missing"),
    ],
)
def test_a_plate_map_that_tells_too_little_is_refused(rows: str, message: str, tmp_path: Path, call: Callable) -> None:
    written(tmp_path, {})
    (tmp_path / "plate.csv").write_text(rows)
    done = call("spillover", tmp_path)
    assert done.returncode == 3
    assert message in done.stderr
    assert len(done.stderr.splitlines()) <= 4


def test_the_plain_definition_needs_an_unstained_control(tmp_path: Path, call: Callable) -> None:
    written(tmp_path, {}, unstained=False)
    assert "the method median needs one" in call("spillover", tmp_path, "--method", "median").stderr
    assert call("spillover", tmp_path).returncode == 0


def test_a_matrix_with_commas_in_its_names_comes_back_from_csv(tmp_path: Path) -> None:
    written = Spillover(("FITC, 530/30", "PE-A"), np.array([[1.0, 0.1], [0.25, 1.0]]), "regression")
    (tmp_path / "matrix.csv").write_text(to_csv(Found("regression", written, ())), encoding="utf-8")
    back = read_matrix(tmp_path / "matrix.csv")
    assert back.channels == written.channels
    assert back.matrix.tolist() == written.matrix.tolist()
