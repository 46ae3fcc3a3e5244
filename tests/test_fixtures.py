"""The small files in fixtures/fcs are what they were, and are read as an independent program reads them."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import numpy as np
import pytest

from aqp4flow.cytometry.compensation import unmixing
from aqp4flow.fcs import read_fcs

FOLDER = Path(__file__).parents[1] / "fixtures" / "fcs"
SUMS = dict(reversed(line.split()) for line in (FOLDER / "SHA256SUMS").read_text().splitlines())


@pytest.mark.parametrize("name", SUMS)
def test_the_fixture_is_unchanged(name: str) -> None:
    """Its hash is the one written down when it was made."""
    assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == SUMS[name]


@pytest.mark.parametrize("name", SUMS)
def test_flowkit_reads_the_same_values_and_compensates_to_the_same(name: str) -> None:
    """Raw values equal FlowKit's exactly; compensated ones to the rounding of a linear solve."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import flowkit

        sample = flowkit.Sample(FOLDER / name)
    file = read_fcs(FOLDER / name)
    assert np.array_equal(sample.get_events("raw"), file.events.values)
    assert file.spillover is not None
    sample.apply_compensation(flowkit.Matrix(file.spillover.matrix, list(file.spillover.channels)))
    theirs = sample.get_events("comp")
    for i, channel in enumerate(c.name for c in file.channels):
        if channel in file.spillover.channels:
            ours = sum(w * file.events.column(detector) for detector, w in unmixing(file.spillover, channel).items())
            np.testing.assert_allclose(ours, theirs[:, i], rtol=1e-10, atol=1e-8)


def test_the_wells_say_which_they_are() -> None:
    """Well and plate come from the keywords, for the file names say nothing."""
    assert {(file.well, file.plate) for file in map(read_fcs, FOLDER.glob("*.fcs"))} == {
        ("F12", "P001"),
        ("F01", "P001"),
        ("G11", "P001"),
    }
