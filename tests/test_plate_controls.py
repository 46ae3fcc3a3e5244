"""Single stains on a plate: the matrix they give, when it is used, and what is said when it is not."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aqp4flow.fcs import fcs_bytes, read_fcs
from aqp4flow.simulate.cytometer import DETECTORS, SPILLOVER

WELLS = dict(zip(DETECTORS, ("H02", "H03", "H04"), strict=True))  # where the simulated plate has its single stains


@pytest.fixture
def bare(plate: Path) -> Path:
    """The simulated plate with no matrix in its files: only its single stains can tell one."""
    for path in plate.glob("*.fcs"):
        file = read_fcs(path)
        path.write_bytes(fcs_bytes(file.raw, file.channels, {"$CYT": "Test"}))
    return plate


def file_of(plate: Path, dye: str) -> Path:
    (path,) = plate.glob(f"*_{WELLS[dye]}.fcs")
    return path


def changed(path: Path, change: Callable[[np.ndarray, dict[str, int]], None]) -> None:
    """The file with its values changed in place, by channel."""
    file = read_fcs(path)
    values = np.array(file.raw)
    change(values, {channel.name: i for i, channel in enumerate(file.channels)})
    path.write_bytes(fcs_bytes(values, file.channels, {"$CYT": "Test"}))


def without(plate: Path, *dyes: str) -> None:
    """The plate map without some of its single stains."""
    rows = (plate / "plate.csv").read_text().splitlines()
    (plate / "plate.csv").write_text("\n".join(row for row in rows if not row.endswith(dyes)) + "\n")


def run(plate: Path, out: Path, call: Callable, source: str) -> subprocess.CompletedProcess[str]:
    definition = plate.parents[1] / "assay.toml"
    text = definition.read_text()
    definition.write_text(text.replace('source = "file"', f'source = "{source}"'))
    done = call("run", plate, "--assay", definition, "--until", "wells", "-o", out)
    definition.write_text(text)
    return done


def checks(out: Path, table: Callable) -> dict[str, dict[str, str]]:
    return {row["check"]: row for row in table(out / "checks.csv")}


@pytest.mark.parametrize("source", ["auto", "controls"])
def test_the_plates_own_controls_give_the_planted_matrix(
    source: str, bare: Path, tmp_path: Path, call: Callable, table: Callable
) -> None:
    """Although unstained wells carry the reporter, and the viability dye stains dead cells only."""
    done = run(bare, tmp_path / "out", call, source)
    assert done.returncode in (0, 4), done.stderr
    rows = table(tmp_path / "out" / "spillover.csv")
    found = {(row["dye"], row["detector"]): row for row in rows}
    for i, dye in enumerate(DETECTORS):
        for j, detector in enumerate(DETECTORS):
            row = found[dye, detector]
            assert float(row["coefficient"]) == pytest.approx(SPILLOVER.matrix[i, j], abs=0.0025)
            if i != j:
                assert float(row["coefficient_low"]) <= float(row["coefficient"]) <= float(row["coefficient_high"])
    assert {row["source"] for row in rows} == {"the plate's single stains"}
    said = checks(tmp_path / "out", table)
    assert said["compensation"]["value"] == "the plate's single stains"
    assert not {code for code in said if code.startswith(("control-", "single-stains"))}


def test_deltas_are_those_of_the_true_matrix(
    study: Path, bare: Path, tmp_path: Path, call: Callable, table: Callable
) -> None:
    """The same wells with the planted matrix in their files; 0.1 % more or less of a reporter of 40,000 is 40."""
    assert run(bare, tmp_path / "controls", call, "auto").returncode in (0, 4)
    original = tmp_path / "original"
    done = call("run", study / "plates" / "P001", "--assay", study / "assay.toml", "--until", "wells", "-o", original)
    assert done.returncode in (0, 4)
    wanted = {row["well"]: row["delta"] for row in table(original / "wells.csv") if row["role"] == "sample"}
    found = {row["well"]: row["delta"] for row in table(tmp_path / "controls" / "wells.csv")}
    for well, delta in wanted.items():
        assert float(found[well]) == pytest.approx(float(delta), rel=0.03, abs=80), well


def test_a_doubtful_control_keeps_auto_from_using_them(
    bare: Path, tmp_path: Path, call: Callable, table: Callable
) -> None:
    """Nearly all light at the top: `auto` falls back and says why, `controls` uses it and says so."""

    def saturate(values: np.ndarray, index: dict[str, int]) -> None:
        bright = values[:, index["APC-A"]] > 20_000
        assert 0.05 < bright.mean() < 0.6
        values[bright, index["APC-A"]] = 262_143

    changed(file_of(bare, "APC-A"), saturate)
    assert run(bare, tmp_path / "auto", call, "auto").returncode in (0, 4)
    said = checks(tmp_path / "auto", table)
    assert (said["single-stains"]["verdict"], said["compensation"]["value"]) == ("warn", "none")
    assert "at the top of the range" in said["single-stains"]["message"]
    assert run(bare, tmp_path / "controls", call, "controls").returncode in (0, 4)
    said = checks(tmp_path / "controls", table)
    assert (said["control-saturated"]["verdict"], said["compensation"]["value"]) == (
        "warn",
        "the plate's single stains",
    )


def test_swapped_tubes_are_named(bare: Path, tmp_path: Path, call: Callable, table: Callable) -> None:
    one, other = file_of(bare, "FITC-A"), file_of(bare, "APC-A")
    contents = one.read_bytes(), other.read_bytes()
    one.write_bytes(contents[1])
    other.write_bytes(contents[0])
    assert run(bare, tmp_path / "out", call, "auto").returncode in (0, 4)
    said = checks(tmp_path / "out", table)
    assert "swapped tubes?" in said["control-swapped"]["message"]
    assert said["compensation"]["value"] == "none"


@pytest.mark.parametrize(
    ("gone", "message"),
    [(DETECTORS, "there are none on the plate"), (("APC-A",), "there is none for APC-A")],
)
def test_controls_that_are_asked_for_and_missing_are_named(
    gone: tuple[str, ...], message: str, bare: Path, tmp_path: Path, call: Callable
) -> None:
    without(bare, *gone)
    done = run(bare, tmp_path / "out", call, "controls")
    assert done.returncode == 3
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_controls_for_some_dyes_only_are_not_used_by_auto(
    bare: Path, tmp_path: Path, call: Callable, table: Callable
) -> None:
    without(bare, "APC-A")
    assert run(bare, tmp_path / "out", call, "auto").returncode in (0, 4)
    assert "there is none for APC-A" in checks(tmp_path / "out", table)["single-stains"]["message"]


def test_a_dye_that_is_no_channel_is_named(bare: Path, tmp_path: Path, call: Callable) -> None:
    text = (bare / "plate.csv").read_text()
    (bare / "plate.csv").write_text(text.replace(",FITC-A", ",FITC"))
    done = run(bare, tmp_path / "out", call, "controls")
    assert done.returncode == 3
    assert "the dye 'FITC' is no channel of " in done.stderr


def test_without_single_stains_auto_takes_the_files_matrix(
    plate: Path, tmp_path: Path, call: Callable, table: Callable
) -> None:
    without(plate, *DETECTORS)
    assert run(plate, tmp_path / "out", call, "auto").returncode in (0, 4)
    said = checks(tmp_path / "out", table)
    assert said["compensation"]["value"] == "$SPILLOVER"
    assert "single-stains" not in said
