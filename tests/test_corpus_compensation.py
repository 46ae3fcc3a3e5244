"""Compensation of a real eight-colour file: medians before and after are those of another program."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from aqp4flow.cytometry.gates import Columns
from aqp4flow.fcs import read_fcs
from aqp4flow.model import Dimension, Spillover


def test_medians_before_and_after_compensation_are_those_of_flowkit(corpus: Path) -> None:
    """Every channel of 10,703 events, to the four decimals given."""
    folder = corpus / "compensation"
    wanted = json.loads((folder / "expected_medians.json").read_text())
    names, *rows = csv.reader((folder / "comp_complete_example.csv").read_text().splitlines())
    matrix = Spillover(tuple(names), np.array(rows, float), "corpus")
    columns = Columns(read_fcs(folder / "test_comp_example.fcs").open_events(), matrix)
    assert columns.events.count == wanted["events"]
    for name, raw, compensated in zip(wanted["channels"], wanted["median_raw"], wanted["median_comp"], strict=True):
        if name != "Time":
            assert np.median(columns.raw(name)) == pytest.approx(raw, abs=1e-4), name
            assert np.median(columns.column(Dimension(name, True))) == pytest.approx(compensated, abs=1e-4), name
