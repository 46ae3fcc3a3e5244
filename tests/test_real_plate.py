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


@pytest.fixture(scope="module")
def titration(corpus: Path, tmp_path_factory: pytest.TempPathFactory, call, table) -> dict[str, dict[str, str]]:
    """titers.csv of the plate by serum; doses are written as dilutions of 1e-7 M."""
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
    (folder / "overrides.csv").write_text("well,action,reason\nA2,exclude,lost its signal\n")
    (folder / "assay.toml").write_text(DEFINITION)
    done = call("run", folder, "-o", folder.parent / "out")
    assert done.returncode == 0, done.stderr
    return {row["serum"]: row for row in table(folder.parent / "out" / "titers.csv")}


@pytest.mark.parametrize(("antibody", "published"), [("LY-CoV555", -9.54), ("S309", -9.24)])
def test_the_published_affinity_comes_out(
    titration: dict[str, dict[str, str]], antibody: str, published: float
) -> None:
    """log10 KD = -7 - log10(midpoint) lies within 0.15 of the authors' value, with gates learned from the plate."""
    midpoint = float(titration[antibody]["midpoint"])
    assert titration[antibody]["curve_model"] == "one-site"
    assert -7 - math.log10(midpoint) == pytest.approx(published, abs=0.15)


@pytest.mark.parametrize(("antibody", "published"), [("LY-CoV555", -9.54), ("S309", -9.24)])
def test_the_published_affinity_lies_within_our_limits(
    titration: dict[str, dict[str, str]], antibody: str, published: float
) -> None:
    """The 95 % limits of the midpoint hold the authors' value."""
    row = titration[antibody]
    assert -7 - math.log10(float(row["midpoint_high"])) < published < -7 - math.log10(float(row["midpoint_low"]))
