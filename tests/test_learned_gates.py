"""Learned gates on plates of graded difficulty: a few cells of the grid in docs/gating.md, on one plate each."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from aqp4flow.cytometry.autogate import learn_gates
from aqp4flow.cytometry.gates import Columns, GateChannels, populations
from aqp4flow.model import Channel, Dimension

sys.path.insert(0, str(Path(__file__).parent / "benchmarks"))
from gating import grid, score

CASES = {case.name: replace(case, wells=15) for case in grid()}
CHOSEN = [
    "simulator: plain",
    "simulator: everything at once",
    "simulator: transfected 10 %",
    "simulator: dim reporter",
    "simulator: width, debris 60 %",
    "simulator: analogue, transfected 95 %",
    "simulator: untransfected wells",
    "other: plain",
    "other: dead 30 %",
    "other: transfected 10 %",
    "other: no viability, plain",
    "other: 24-bit, plain",
    "other: analogue, transfected 10 %",
]


@pytest.mark.parametrize("name", CHOSEN)
def test_learned_gates_cost_at_most_half_of_the_known_labels_error(name: str) -> None:
    """Error of delta at most 1.5 times that of known labels, with 2 % for so few wells; gates nine in ten right."""
    found = score(CASES[name], 1)
    assert found.learned < math.hypot(1.5 * found.known, 0.02)
    assert min(found.accuracy.values()) > 0.9


def test_a_person_who_keeps_the_gates_of_a_plain_plate_does_worse_where_the_reporter_is_dim() -> None:
    found = score(CASES["simulator: dim reporter"], 1)
    assert found.textbook > 2 * found.learned


def test_the_largest_dark_cells_are_not_missed_from_one_end_only() -> None:
    """No antibody, so delta is 0. Large cells are brighter in both channels, and with a dim reporter (20 times the dark
    cells') the largest dark ones lie above the gate: cut there alone, the dark median is 2 % low. At most 1 % is left.
    """
    rng = np.random.default_rng(4)
    n = 40_000
    size = np.exp(0.35 * rng.standard_normal(n))
    expresses = np.arange(n) % 2 == 0
    own = 200 * size * np.exp(0.25 * rng.standard_normal(n))
    made = np.where(expresses, 4_000 * np.exp(0.8 * rng.standard_normal(n)), 0.0)
    columns = {
        "FSC-A": 80_000 * size**0.5 * np.exp(0.05 * rng.standard_normal(n)),
        "SSC-A": 40_000 * size**0.5 * np.exp(0.2 * rng.standard_normal(n)),
        "GFP": own + made + 30 * rng.standard_normal(n),
        "APC": 1_000 * size * np.exp(0.15 * rng.standard_normal(n)),
    }
    channels = tuple(Channel(i, name) for i, name in enumerate(columns, 1))
    events = Columns(SimpleNamespace(count=n, channels=channels, column=columns.__getitem__), None)
    gates = learn_gates([events], GateChannels("FSC-A", "SSC-A", reporter="GFP")).gates
    found = populations(events, gates)
    dark, bright = (np.median(events.take(Dimension("APC"), found[name])) for name in ("nonexpressing", "expressing"))
    truth = np.median(columns["APC"][~expresses])
    assert abs(dark / truth - 1) < 0.01
    assert abs((bright - dark) / truth) < 0.015
