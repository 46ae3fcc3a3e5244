"""Dilution curves: planted parameters come back, limits hold, and what cannot be fitted is said."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from aqp4flow.assay.curve import fit_curve

LADDER = 10 * 3.0 ** np.arange(10)


def curve(model: str, d: np.ndarray, b: float = 50, t: float = 9000, m: float = 400) -> np.ndarray:
    """The three models, written out independently of the product."""
    if model == "one-site":
        return b + t * m / (m + d)
    if model == "4pl":
        return b + t / (1 + (d / m) ** 1.4)
    return b + t / (1 + (d / m) ** 1.2) ** 0.7


@pytest.mark.parametrize(("model", "midpoint"), [("one-site", 400.0), ("4pl", 400.0), ("5pl", 400 * 0.7 ** (-1 / 1.2))])
def test_a_clean_curve_gives_its_midpoint(model: str, midpoint: float) -> None:
    """Half occupancy for one site, the inflection for 4pl and 5pl (c g^(-1/h)), to a thousandth."""
    found, flags = fit_curve([*LADDER, math.inf], [*curve(model, LADDER), 50], model)
    assert found is not None
    assert found.midpoint.value == pytest.approx(midpoint, rel=1e-3)
    assert flags == []


def test_limits_cover_the_planted_midpoint() -> None:
    """With 8 % noise, 95 % limits hold the truth in 88 to 99 % of 200 curves."""
    rng = np.random.default_rng(20140315)
    covered = 0
    for _ in range(200):
        noisy = curve("one-site", LADDER) * np.exp(rng.normal(0, 0.08, len(LADDER)))
        found, _ = fit_curve(LADDER.tolist(), noisy.tolist(), "one-site")
        assert found is not None
        covered += found.midpoint.low <= 400 <= found.midpoint.high
    assert 176 <= covered <= 198


def test_auto_prefers_the_simpler_model_when_it_fits() -> None:
    """One-site data with a little noise: AICc does not pay for a slope."""
    noisy = curve("one-site", LADDER) * np.exp(np.random.default_rng(3).normal(0, 0.05, len(LADDER)))
    found, _ = fit_curve(LADDER.tolist(), noisy.tolist(), "auto")
    assert found is not None
    assert found.model == "one-site"


@pytest.mark.parametrize(
    ("dilution", "mfi", "flag"),
    [
        ([20, 80, 320], [900, 300, 90], "curve-too-few"),
        ([20, 80, 320, 1280, 5120], [100, 110, 105, 98, 102], "curve-flat"),
    ],
)
def test_what_cannot_be_fitted_is_said(dilution: list[float], mfi: list[float], flag: str) -> None:
    """No curve, and the reason."""
    assert fit_curve(dilution, mfi, "one-site") == (None, [flag])


def test_points_at_or_below_zero_are_left_out_and_flagged() -> None:
    """A logarithm does not exist; the rest still gives the midpoint."""
    mfi = [*curve("one-site", LADDER), -3.0]
    found, flags = fit_curve([*LADDER, 1e6], mfi, "one-site")
    assert flags == ["curve-nonpositive"]
    assert found is not None
    assert found.midpoint.value == pytest.approx(400, rel=1e-3)


def test_a_midpoint_beyond_the_tested_dilutions_is_flagged() -> None:
    """Only the far tail was measured."""
    far = LADDER[5:]
    _, flags = fit_curve(far.tolist(), curve("one-site", far, m=30).tolist(), "one-site")
    assert "midpoint-outside" in flags


@pytest.mark.parametrize(("antibody", "wells"), [("LY-CoV555", "A3 A4 A5 A6 A7"), ("S309", "D2 D3 D4 D5 D6 D7")])
def test_published_medians_give_the_published_affinity(corpus: Path, antibody: str, wells: str) -> None:
    """Independent medians of a public titration; 1e-7 M is dilution 1; no antibody is infinite dilution."""
    folder = corpus / "titration" / "ly_plate_20220305"
    with (folder / "expected_wells.csv").open() as file:
        rows = {row["well"]: row for row in csv.DictReader(file)}
    with (folder / "expected_KD.csv").open() as file:
        published = {row["antibody"]: float(row["authors_log10KD"]) for row in csv.DictReader(file)}
    used = [rows[well] for well in wells.split()]
    dilution = [10 ** (-7 - float(row["log10_conc"])) for row in used] + [math.inf]
    mfi = [float(row["median_PE_gated_comp"]) for row in [*used, rows["C10"]]]
    found, _ = fit_curve(dilution, mfi, "one-site")
    assert found is not None
    assert -7 - math.log10(found.midpoint.value) == pytest.approx(published[antibody], abs=0.15)
