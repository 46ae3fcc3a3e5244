"""Real files of many cytometers and 120 broken ones: events and values as independent readers found them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aqp4flow.errors import FcsError
from aqp4flow.fcs import FcsFile, read_datasets, read_fcs
from handmade import SHARED

CORPUS = SHARED / "corpus"
#: Files that other readers take events from, though not all their events are there, or what is there are no events.
REFUSED = {
    "invalid-bad_data_set_type.fcs": r"\$MODE is 'U': histograms, not events",
    "AriaFile1.fcs": "DATA holds 6052 whole events of the 10000",
    "cytek_nl2000_header_only.fcs": "DATA holds 0 whole events of the 20000",
}
needs_corpus = pytest.mark.skipif(
    not (CORPUS / "manifest.csv").is_file(), reason="the corpus of real files is not beside the project"
)


def rows() -> dict[Path, dict[str, str]]:
    """Files on which an independent reader has an answer; none where the corpus is not at hand."""
    found = {}
    for manifest in sorted(CORPUS.rglob("manifest.csv")):
        with manifest.open(encoding="utf-8", newline="") as file:
            found |= {manifest.parent / row["file"]: row for row in csv.DictReader(file) if row["consensus_events"]}
    return found


ROWS = rows()
READ = [path for path in ROWS if path.name not in REFUSED]
WITH_MEDIANS = [path for path in READ if ROWS[path]["medians_per_channel"].startswith("{")]


def name_of(path: object) -> str:
    return path.name if isinstance(path, Path) else ""


@needs_corpus
@pytest.mark.parametrize("path", READ, ids=name_of)
def test_events_and_values_are_those_of_the_independent_reader(path: Path) -> None:
    """The first data set of a file, as the independent reader took it."""
    file = read_datasets(path)[0]
    found = (str(file.n_events), file.events.sha256_raw()[:16])
    assert found == (ROWS[path]["consensus_events"], ROWS[path]["consensus_sha16"])


@needs_corpus
@pytest.mark.parametrize("path", WITH_MEDIANS[::8], ids=name_of)
def test_medians_by_channel_name_are_those_of_the_independent_reader(path: Path) -> None:
    file = read_datasets(path)[0]
    wanted = json.loads(ROWS[path]["medians_per_channel"])
    wanted.pop("None", None)  # a channel without a name
    medians = dict(zip((c.name for c in file.channels), np.median(file.raw.astype(float), axis=0), strict=True))
    assert {channel: medians[channel] for channel in wanted} == pytest.approx(wanted, rel=1e-6, abs=6e-5)


@needs_corpus
@pytest.mark.parametrize("name", REFUSED)
def test_files_that_do_not_hold_what_they_promise_are_refused(name: str) -> None:
    with pytest.raises(FcsError, match=REFUSED[name]):
        read_fcs(CORPUS / "malformed" / "real" / name)


@needs_corpus
@pytest.mark.parametrize(
    ("name", "stains"),
    [
        ("whitews+FlowIO/coulter.lmd", ["FS Lin", "SS Lin", "FL1 Log", "FL2 Log", "FL3 Lin", "", "", ""]),
        (
            "cytoflow+cytoflow/Beckman Coulter - Gallios.LMD",
            ["FS INT LIN", "SS INT LIN", "FL1 INT LOG", "FL2 INT LOG", ""],
        ),
        (
            "cytoflow+cytoflow/Beckman Coulter - Cytomics FC500.LMD",
            ["FS Lin", "SS Lin", "CD3-FITC", "CD4-PE", "", "", "", ""],
        ),
    ],
)
def test_lmd_files_are_measured_on_the_linear_set(name: str, stains: list[str]) -> None:
    file = read_fcs(CORPUS / "vendors" / name)
    assert (file.n_datasets, file.dataset) == (2, 2)
    assert "linear-data-set" in [repair.code for repair in file.repairs]
    assert not any(channel.amplification[0] for channel in file.channels)
    assert [channel.stain for channel in file.channels] == stains


# --- broken and awkward files derived from a good one -----------------------------------------------


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The good file without the keywords whose values are empty or hold the delimiter `/` of the variants."""
    (original,) = (CORPUS / "malformed" / "base").glob("*.fcs")
    content = original.read_bytes()
    begin, end = int(content[10:18]), int(content[18:26])
    tokens = content[begin : end + 1].strip(content[begin : begin + 1]).split(content[begin : begin + 1])
    pairs = [pair for pair in zip(tokens[::2], tokens[1::2], strict=False) if pair[1].strip() and b"/" not in pair[1]]
    delimiter = content[begin : begin + 1]
    text = delimiter + b"".join(key + delimiter + value + delimiter for key, value in pairs)
    path = tmp_path_factory.mktemp("good") / original.name
    path.write_bytes(content[:begin] + text.ljust(end + 1 - begin) + content[end + 1 :])
    return path


@pytest.fixture(scope="module")
def variants(good: Path) -> dict[Path, dict[str, str]]:
    """The variants with their verdicts, made by the corpus's own script."""
    out = good.parent / "variants"
    script = CORPUS / "malformed" / "make_malformed.py"
    subprocess.run([sys.executable, script, good, out, "--large"], check=True, capture_output=True)
    with (out / "variants.csv").open(encoding="utf-8", newline="") as file:
        return {out / row["file"]: row for row in csv.DictReader(file)}


def verdict(path: Path) -> tuple[str, FcsFile | None]:
    """read, warn (something is said) or error; `nocomp` where there is no matrix to compensate with."""
    try:
        file = read_fcs(path)
    except FcsError:
        return "error", None
    return ("warn" if (*file.repairs, *file.value_repairs) else "read"), file


#: Where our verdict is another one, and why.
ARGUED = {
    "supplemental_text.fcs": "its $OP differs from the primary TEXT's $OP: that is told, as it is for $CYT",
}


@needs_corpus
def test_broken_files_meet_their_verdict(variants: dict[Path, dict[str, str]]) -> None:
    other = []
    for path, row in variants.items():
        found, file = verdict(path)
        met = found == row["verdict"] or (row["verdict"] == "nocomp" and file is not None and file.spillover is None)
        if not met or (file is not None and str(file.n_events) != row["events"]):
            other.append(path.name)
    assert len(variants) == 120
    assert other == list(ARGUED)


CHANGED = ("nan_and_inf", "channel_all_nan", "all_same", "huge_values", "all_negative", "seven_bit", "int_", "ascii_")


@needs_corpus
def test_no_broken_file_gives_a_wrong_value(good: Path, variants: dict[Path, dict[str, str]]) -> None:
    """What is read is what the good file holds, event by event, but where the variant changes values itself."""
    wanted = read_fcs(good).raw
    compared = 0
    for path in variants:
        _, file = verdict(path)
        if file is None or path.name.startswith((*CHANGED, "PnE_4_0")):
            continue
        assert np.array_equal(file.raw, wanted[: file.n_events]), path.name
        compared += 1
    assert compared > 60


@needs_corpus
@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("ascii_fixed_width.fcs", lambda v: v),
        ("ascii_delimited.fcs", lambda v: v),
        ("int_24_bit.fcs", lambda v: v),
        ("int_range_2_to_32.fcs", lambda v: v),
        ("int_16_range_not_power_of_two.fcs", lambda v: v % 65536 % 16384),
        ("int_16_high_bits_set.fcs", lambda v: np.minimum(v, 1023)),
        ("PnE_4_0.fcs", lambda v: np.minimum(v, 1023)),
    ],
)
def test_integers_are_those_that_were_stored(
    name: str, stored: object, good: Path, variants: dict[Path, object]
) -> None:
    (path,) = (path for path in variants if path.name == name)
    whole = np.floor(np.maximum(read_fcs(good).raw, 0)).astype(np.int64)
    assert callable(stored)
    assert np.array_equal(read_fcs(path).raw.astype(np.int64), stored(whole))
