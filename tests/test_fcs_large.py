"""Files above 100 MB and above 4 GiB, on a few blocks of disk; and what reading a part of one costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from aqp4flow.fcs import read_fcs
from aqp4flow.fcs.completeness import State, completeness
from handmade import DATA, EVENTS, TWO, built, codes


def sparse(path: Path, begin: int, tail: bytes = b"") -> Path:
    """A file whose DATA begin at `begin`, with a hole before it; HEADER cannot hold the place."""
    places = {"$BEGINDATA": f"{begin:020d}", "$ENDDATA": f"{begin + len(DATA) - 1:020d}"}
    head = built(b"", {**places, **TWO}, "5", header=None)
    with path.open("wb") as file:
        file.write(head)
        file.seek(begin)
        file.write(DATA + tail)
    if path.stat().st_blocks * 512 > 10_000_000:
        pytest.skip("this file system does not leave holes")
    return path


@pytest.mark.parametrize(
    ("begin", "tail", "said"),
    [
        (100_000_001, b"", []),
        (100_000_001, b"\r\n" * 20 + b"x", ["bytes-after-data"]),
        ((1 << 32) + 17, b"", []),
    ],
)
def test_data_beyond_what_a_header_can_say(begin: int, tail: bytes, said: list[str], tmp_path: Path) -> None:
    path = sparse(tmp_path / "large.fcs", begin, tail)
    file = read_fcs(path)
    assert file.raw.tolist() == [list(row) for row in EVENTS]
    assert codes(file) == said
    assert completeness(path).state is State.COMPLETE


def test_the_end_of_a_large_file_may_still_be_missing(tmp_path: Path) -> None:
    path = sparse(tmp_path / "large.fcs", (1 << 32) + 17)
    with path.open("r+b") as file:
        file.truncate((1 << 32) + 17 + 13)
    found = completeness(path)
    assert (found.state, found.missing_bytes, found.missing_events) == (State.INCOMPLETE, 27, 4)


PART = r"""
import json, re, sys
from pathlib import Path
from aqp4flow.fcs import read_fcs
file = read_fcs(sys.argv[1])
columns = file.events.columns(["C2", "C5", "C7", "C11"])
peak = int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])
print(json.dumps([peak, [float(column.sum()) for column in columns]]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux's account of a process")
def test_four_of_twelve_channels_take_less_memory_than_the_file(tmp_path: Path) -> None:
    """The whole process, what it imports included."""
    from aqp4flow.fcs import fcs_bytes
    from aqp4flow.model import Channel

    values = np.random.default_rng(5).uniform(0, 262144, (2_500_000, 12)).astype(np.float32)
    path = tmp_path / "wide.fcs"
    path.write_bytes(fcs_bytes(values, [Channel(i, f"C{i}") for i in range(12)], {"$CYT": "test"}))
    done = subprocess.run([sys.executable, "-c", PART, path], capture_output=True, text=True, check=True)
    peak, sums = json.loads(done.stdout)
    assert sums == pytest.approx(values[:, [2, 5, 7, 11]].sum(axis=0, dtype=float).tolist(), rel=1e-9)
    assert peak * 1024 < path.stat().st_size
