"""How fast FCS files are read: our reader beside FlowIO, FlowCal and fcsparser, and beside the bytes alone.

    python tests/benchmarks/read_fcs.py [--events 1000000] [--rounds 7] [--peer FlowCal=/other/venv/bin/python]

Writes one file of 20 integer channels and two of 12 float channels (both byte orders), then reads each in a fresh
process a job, jobs in turn, and prints medians of wall time, processor time and peak memory as a Markdown table. A
peer that is not installed is left out; `--peer` names another interpreter that has it. Every job prints the sum of
what it read; differing sums are an error.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

OURS = """
from aqp4flow.fcs import read_fcs
values = read_fcs({path!r}).raw
"""
FOUR = """
from aqp4flow.fcs import read_fcs
file = read_fcs({path!r})
values = file.events.columns([channel.name for channel in file.channels][2:6])
"""
BYTES = """
with open({path!r}, "rb", buffering=0) as file:
    block = bytearray(1 << 20)
    while file.readinto(block):
        pass
values = None
"""
FLOWIO = """
import flowio
values = flowio.FlowData({path!r}).as_array(preprocess=False)
"""
FLOWCAL = """
import FlowCal
values = FlowCal.io.FCSData({path!r})
"""
FCSPARSER = """
import fcsparser
values = fcsparser.parse({path!r}, dtype=None)[1].to_numpy()
"""
TOTAL = """
import numpy as np
columns = values if isinstance(values, list) else np.asarray(values)[:, 2:6].T if values is not None else []
print([f"{np.asarray(column, np.float64).sum():.6e}" for column in columns])
"""
JOBS = {
    "bytes alone": ("", BYTES),
    "aqp4flow, 4 channels": ("aqp4flow", FOUR),
    "aqp4flow": ("aqp4flow", OURS),
    "FlowIO": ("flowio", FLOWIO),
    "FlowCal": ("FlowCal", FLOWCAL),
    "fcsparser": ("fcsparser", FCSPARSER),
}


@dataclass(frozen=True)
class Taken:
    """What one process took."""

    wall: float
    cpu: float
    peak: float


def main() -> None:
    """Write the files, run the jobs in turn, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    options = parser.parse_args()
    pythons = dict.fromkeys(JOBS, sys.executable) | dict(peer.split("=", 1) for peer in options.peer)
    with tempfile.TemporaryDirectory() as folder:
        for kind, channels, order in (("int32", 20, ">"), ("float32", 12, "<"), ("float32", 12, ">")):
            path = Path(folder) / f"{kind}{'little' if order == '<' else 'big'}.fcs"
            writer = multiprocessing.get_context("spawn").Process(
                target=write, args=(path, kind, channels, order, options.events)
            )
            writer.start()  # apart, for a large parent would count in its children's peak memory
            writer.join()
            report(path, kind, channels, order, options, pythons)


def write(path: Path, kind: str, channels: int, order: str, events: int) -> None:
    """An FCS 3.0 file of random values, written by hand."""
    import numpy as np

    draw = np.random.default_rng(1)
    letter = "I" if kind == "int32" else "F"
    width = 4 * channels * events
    keywords = {
        "$PAR": channels,
        "$TOT": events,
        "$DATATYPE": letter,
        "$MODE": "L",
        "$NEXTDATA": 0,
        "$TIMESTEP": "0.01",
    }
    keywords["$BYTEORD"] = "1,2,3,4" if order == "<" else "4,3,2,1"
    keywords |= dict.fromkeys(("$BEGINSTEXT", "$ENDSTEXT", "$BEGINANALYSIS", "$ENDANALYSIS"), 0)
    for n in range(1, channels + 1):
        keywords |= {f"$P{n}N": f"CH{n}-A", f"$P{n}S": f"CH{n}", f"$P{n}B": 32, f"$P{n}E": "0,0", f"$P{n}R": 262144}
    begin = 8192
    keywords |= {"$BEGINDATA": begin, "$ENDDATA": begin + width - 1}
    text = "/" + "".join(f"{key}/{value}/" for key, value in keywords.items())
    in_header = (begin, begin + width - 1) if begin + width <= 99_999_999 else (0, 0)
    head = "FCS3.0    " + "".join(f"{n:8d}" for n in (58, 57 + len(text), *in_header, 0, 0)) + text
    with path.open("wb") as file:
        file.write(head.encode().ljust(begin))
        for start in range(0, events, 100_000):
            n = min(100_000, events - start)
            values = draw.uniform(0, 262_143, (n, channels))
            file.write(values.astype(f"{order}u4" if letter == "I" else f"{order}f4").tobytes())


def report(
    path: Path, kind: str, channels: int, order: str, options: argparse.Namespace, pythons: dict[str, str]
) -> None:
    """One table: the jobs on one file."""
    present = [name for name in JOBS if installed(pythons[name], JOBS[name][0])]
    taken: dict[str, list[Taken]] = {name: [] for name in present}
    sums: dict[str, str] = {}
    for _ in range(options.rounds):
        for name in list(taken):
            outcome, said = timed(pythons[name], JOBS[name][1].format(path=str(path)) + TOTAL)
            if outcome is None:
                print(f"{name} cannot read {kind} {order}: {said}", file=sys.stderr)
                del taken[name]
                continue
            taken[name].append(outcome)
            sums[name] = said
    if len(set(sums.values()) - {"[]"}) > 1:
        sys.exit(f"the readers disagree: {sums}")
    size, end = path.stat().st_size / 1e6, "little" if order == "<" else "big"
    print(f"\n{options.events:,} events x {channels} {kind}, {end}-endian, {size:.0f} MB\n")
    print("| job | wall s | CPU s | peak MB |\n|---|---|---|---|")
    for name, outcomes in taken.items():
        wall, cpu, peak = (statistics.median(getattr(o, what) for o in outcomes) for what in ("wall", "cpu", "peak"))
        print(f"| {name} | {wall:.3f} | {cpu:.3f} | {peak:.0f} |", flush=True)


def installed(python: str, module: str) -> bool:
    """Whether an interpreter can import a module."""
    return (
        not module
        or subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode == 0
    )


def timed(python: str, code: str) -> tuple[Taken | None, str]:
    """Run code in a fresh interpreter; what it took, and what it printed (or its last words)."""
    with tempfile.TemporaryFile("w+") as said:
        start = time.perf_counter()
        process = subprocess.Popen([python, "-c", code], stdout=said, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        last = (said.read().strip().splitlines() or [""])[-1]
    scale = 1 if sys.platform == "darwin" else 1024
    return (None if status else Taken(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * scale / 1e6)), last


if __name__ == "__main__":
    main()
