"""Learned gates of cells on two public dose-response sets of whole populations: the published answers stay."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import curve_fit

from aqp4flow.cytometry.autogate import learn_gates
from aqp4flow.cytometry.gates import Columns, GateChannels, populations
from aqp4flow.fcs import read_fcs
from aqp4flow.model import Dimension


def medians(files: list[Path], channels: GateChannels, light: str) -> list[float]:
    """Median of one fluorescence over the cells of each file, gates learned from all of them."""
    wells = [Columns(read_fcs(path).open_events(), None) for path in files]
    gates = learn_gates(wells, channels).gates
    inside = [populations(well, gates)[gates[-1].name] for well in wells]
    return [float(np.median(well.take(Dimension(light), rows))) for well, rows in zip(wells, inside, strict=True)]


def test_the_hill_curve_of_induced_yeast_comes_out(corpus: Path, table: Callable) -> None:
    """EC50 within a tenth of 0.1699 uM and slope within 15 % of 1.483, published for the medians of all events."""
    folder = corpus / "dose_response" / "yeast_ip"
    rows = [row for row in table(folder / "expected_files.csv") if float(row["IP_uM"]) > 0]
    files = [folder / row["file"] for row in rows]
    dose = np.array([float(row["IP_uM"]) for row in rows])
    found = medians(files, GateChannels("FSC-A", "SSC-A", "FSC-H"), "FITC-A")

    def hill(x: np.ndarray, top: float, bottom: float, midpoint: float, slope: float) -> np.ndarray:
        return bottom + (top - bottom) / (1 + (midpoint / x) ** slope)

    (top, _, midpoint, slope), _ = curve_fit(hill, dose, found, (2_700, 0, 0.2, 1.5), maxfev=20_000)
    assert midpoint == pytest.approx(0.1699, rel=0.10)
    assert slope == pytest.approx(1.483, rel=0.15)
    assert top == pytest.approx(2_705, rel=0.10)


def test_medians_of_bacteria_on_log_amplifiers_are_those_of_another_program(corpus: Path, table: Callable) -> None:
    """FlowCal's medians over its own density gate (85 % of the events), 24-bit log amplified: within a tenth."""
    folder = corpus / "dose_response" / "flowcal_dapg"
    rows = table(folder / "expected_flowcal.csv")
    found = medians([folder / row["file"] for row in rows], GateChannels("FSC", "SSC"), "FL1")
    for row, median in zip(rows, found, strict=True):
        assert math.log(median / float(row["median_FL1_rfi"])) == pytest.approx(0, abs=0.10), row["file"]
