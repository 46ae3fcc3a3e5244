"""Real files of many cytometers: events and values as an independent reader found them."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from aqp4flow.errors import FcsError
from aqp4flow.fcs import read_fcs

CORPUS = Path(__file__).parents[1].parent / "shared" / "corpus"
NOT_READ = "A"  # $DATATYPE A, numbers as text: obsolete since FCS 3.1, refused in words


def rows() -> dict[str, dict[str, str]]:
    """Files with a consensus, by name; none where the corpus is not at hand."""
    if not (CORPUS / "manifest.csv").is_file():
        return {}
    with (CORPUS / "manifest.csv").open(encoding="utf-8", newline="") as file:
        return {row["file"]: row for row in csv.DictReader(file) if row["consensus_events"]}


ROWS = rows()
READ = [name for name, row in ROWS.items() if row["datatype"] != NOT_READ]
REFUSED = [name for name, row in ROWS.items() if row["datatype"] == NOT_READ]
WITH_MEDIANS = [name for name in READ if ROWS[name]["medians_per_channel"]]
needs_corpus = pytest.mark.skipif(not ROWS, reason="the corpus of real files is not beside the project")


@needs_corpus
@pytest.mark.parametrize("name", READ)
def test_events_and_values_are_those_of_the_independent_reader(name: str) -> None:
    file = read_fcs(CORPUS / name)
    found = (str(file.n_events), file.events.sha256_raw()[:16])
    assert found == (ROWS[name]["consensus_events"], ROWS[name]["consensus_sha16"])


@needs_corpus
@pytest.mark.parametrize("name", WITH_MEDIANS[::8])
def test_medians_by_channel_name_are_those_of_the_independent_reader(name: str) -> None:
    file = read_fcs(CORPUS / name)
    wanted = json.loads(ROWS[name]["medians_per_channel"])
    medians = dict(zip((c.name for c in file.channels), np.median(file.raw.astype(float), axis=0), strict=True))
    assert {channel: medians[channel] for channel in wanted} == pytest.approx(wanted, rel=1e-6)


@needs_corpus
@pytest.mark.parametrize("name", REFUSED)
def test_numbers_as_text_are_refused_in_words(name: str) -> None:
    with pytest.raises(FcsError, match=r"\$DATATYPE is 'A'; I, F and D can be read"):
        read_fcs(CORPUS / name)
