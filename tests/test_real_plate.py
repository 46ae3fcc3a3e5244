"""A real plate with a published answer: antibodies titrated on antigen-displaying yeast, LSR II, FACSDiva."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest

DEFINITION = """
[assay]
name = "yeast display titration"
antigen = "Wuhan-Hu-1 RBD"
[channels]
reporter = "FITC-A"
signal = "PE-A"
[curve]
model = "one-site"
"""


@pytest.fixture(scope="module", params=["left to the curve", "excluded by hand"])
def results(
    corpus: Path, tmp_path_factory: pytest.TempPathFactory, call, table, request: pytest.FixtureRequest
) -> tuple[str, Path]:
    """Results of the plate, doses written as dilutions of 1e-7 M, and what was done about its failed well A2."""
    source = corpus / "titration" / "ly_plate_20220305"
    folder = tmp_path_factory.mktemp("real") / "LY"
    folder.mkdir()
    lines = ["well,file,role,serum,dilution"]
    for row in table(source / "plate_map.csv"):
        shutil.copy(source / row["file"], folder / row["file"])
        dose = float(row["conc_M"])
        role = "sample" if dose else {"B10": "unstained", "C10": "secondary-only"}[row["well"]]
        serum, dilution = (row["antibody"], f"{1e-7 / dose:.0f}") if dose else ("", "")
        lines.append(f"{row['well']},{row['file']},{role},{serum},{dilution}")
    (folder / "plate.csv").write_text("\n".join(lines) + "\n")
    if request.param == "excluded by hand":
        (folder / "overrides.csv").write_text("well,action,reason\nA2,exclude,lost its signal\n")
    (folder / "assay.toml").write_text(DEFINITION)
    done = call("run", folder, "-o", folder.parent / "out")
    assert done.returncode == 0, done.stderr
    return request.param, folder.parent / "out"


@pytest.fixture(scope="module")
def titration(results: tuple[str, Path], table) -> dict[str, dict[str, str]]:
    """titers.csv by serum."""
    return {row["serum"]: row for row in table(results[1] / "titers.csv")}


@pytest.mark.parametrize(("antibody", "published"), [("LY-CoV555", -9.54), ("S309", -9.24)])
def test_the_published_affinity_comes_out(
    titration: dict[str, dict[str, str]], antibody: str, published: float
) -> None:
    """log10 KD = -7 - log10(midpoint) lies within 0.10 of the authors' value, with gates learned from the plate."""
    midpoint = float(titration[antibody]["midpoint"])
    assert titration[antibody]["curve_model"] == "one-site"
    assert -7 - math.log10(midpoint) == pytest.approx(published, abs=0.10)


@pytest.mark.parametrize(("antibody", "published"), [("LY-CoV555", -9.54), ("S309", -9.24)])
def test_the_published_affinity_lies_within_our_limits(
    titration: dict[str, dict[str, str]], antibody: str, published: float
) -> None:
    """The 95 % limits of the midpoint hold the authors' value."""
    row = titration[antibody]
    assert -7 - math.log10(float(row["midpoint_high"])) < published < -7 - math.log10(float(row["midpoint_low"]))


def test_the_failed_well_is_found_without_being_told(
    results: tuple[str, Path], titration: dict[str, dict[str, str]], table
) -> None:
    """A2 lost its signal at the highest dose: flagged, with a check, unless a person had taken it out already."""
    left = results[0] == "left to the curve"
    assert ("off-curve" in titration["LY-CoV555"]["flags"]) == left
    assert "off-curve" not in titration["S309"]["flags"]
    found = [row for row in table(results[1] / "checks.csv") if row["check"] == "off-curve"]
    assert len(found) == left
    if left:
        assert found[0]["subject"] == "LY/LY-CoV555"
        assert found[0]["verdict"] == "warn"
        assert float(found[0]["value"]) > 500
        assert "At 1:1 " in found[0]["message"]
