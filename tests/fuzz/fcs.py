"""Mutated FCS files by the million: only our own errors may escape, nothing is slow, nothing takes much memory.

    python tests/fuzz/fcs.py [--inputs 1000000] [--seed 1] [--corpus FOLDER] [--keep FOLDER]

Seeds are files built by hand in every form the reader knows, and the small files of `--corpus`. Each input is a seed
with a few changes to its header, text, numbers, offsets or data; it is opened, its values are decoded, hashed and
remarked on, its completeness is judged, it is written anew and read back. A line for each finding, a summary at the
end; exit 1 when there is one. An input that fails is kept in `--keep`. On Linux and macOS the process is held to 1 GiB
above what it needs to start.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from aqp4flow.errors import FcsError, IncompleteError, InputError
from aqp4flow.fcs import FcsFile, read_datasets, read_fcs, rewritten
from aqp4flow.fcs.completeness import completeness
from handmade import BIG, DATA, LITTLE, TWO, built, described, floats, integers

SLOW = 1.0  # seconds of processor time for one input
LARGE = 1 << 30  # bytes above the start
LARGEST_SEED = 100_000  # bytes


def seeds(corpus: Path | None = None) -> list[bytes]:
    """Files that are read, in every form: types, widths, orders, encodings, data sets, segments."""
    many = [(float(i), float(i * i % 977)) for i in range(40)]
    stained = described(["FITC-A", "PE-A"], P1S="GFP", P2S="IgG")
    first = built(DATA, {**TWO, "$NEXTDATA": "0" * 8}, "5")
    found = [
        built(floats(*many), {**TWO, "$TIMESTEP": "0.01", "$DATE": "30-JUN-2011", "$BTIM": "10:00:00"}, "40"),
        built(floats(*many, order=">"), {**TWO, "$BYTEORD": BIG}, "40", delimiter="|"),
        built(floats(*many, letter="d"), described(["A", "Time"], 64, "D"), "40", delimiter="\f"),
        built(integers([[i, i] for i in range(40)], [3, 2], LITTLE), described(["A", "B"], 24, "I", P2B="16"), "40"),
        built(
            integers([[i, i] for i in range(40)], [2, 2], BIG),
            {**described(["A", "B"], 10, "I", 1024, P1E="4,0"), "$BYTEORD": BIG},
            "40",
        ),
        built(
            b"".join(bytes((0, 0, i, 1)) for i in range(40)),
            {**described(["A"], kind="I"), "$BYTEORD": "3,4,1,2"},
            "40",
        ),
        built(b"0012 034" * 5, described(["A", "B"], 4, "A"), "5"),
        built(b"1 2,3\n4 5 6", described(["A", "B"], kind="A", P1B="*", P2B="*"), "3"),
        built(DATA, {**stained, "SPILL": "2,FITC-A,PE-A,1,0.1,0.2,1", "$COM": "", "PATH": "C://D"}, "5"),
        built(DATA, {**stained, "$SPILLOVER": "2,1,2,1,000,0,100,0,250,1,000"}, "5", encoding="cp932"),
        built(DATA, {**stained, "$COMP": "2,1,0.1,0.2,1", "$OP": "ポジコン"}, "5", encoding="cp932", delimiter="\\"),
        built(DATA, {**stained, "$DFC1TO2": "10", "$P1N": "FL1", "$P2N": "FL2", "$OP": "Zoë"}, "5", encoding="latin-1"),
        built(DATA, TWO, None, version="FCS2.0", text=None),
        built(b"", TWO, "0"),
        built(
            DATA,
            {**TWO, "$MODE": None, "$P2DATATYPE": "F", "$BEGINDATETIME": "2020-01-02T03:04:05"},
            "5",
            version="FCS3.2",
        ),
        first.replace(b"$NEXTDATA/00000000", f"$NEXTDATA/{len(first):08d}".encode()) + built(DATA, TWO, "5"),
    ]
    if corpus:
        paths = (path for path in sorted(corpus.rglob("*")) if path.suffix.lower() in (".fcs", ".lmd"))
        found += [path.read_bytes() for path in paths if 0 < path.stat().st_size <= LARGEST_SEED]
    return found


# --- mutations ------------------------------------------------------------------------------------

Mutation = Callable[[bytearray, random.Random], None]
NUMBERS = (b"0", b"-1", b"1", b"99999999", b"4294967296", b"1e400", b"nan", b"", b"x", b"9" * 30, b"0,0", b"2147483647")
WORDS = (
    b"//",
    b"/",
    b"|",
    b"\\",
    b"$P1N",
    b"$TOT",
    b"SPILL",
    b"\0",
    b"\xff",
    b"\x83\x7c",
    b"A",
    b"D",
    b"I",
    b",",
    b"FCS3.1",
)


def flip(data: bytearray, draw: random.Random) -> None:
    """Other bytes in a few places."""
    for _ in range(draw.choice((1, 1, 2, 8, 64))):
        data[draw.randrange(len(data))] = draw.randrange(256)


def cut(data: bytearray, draw: random.Random) -> None:
    """The end is missing."""
    del data[draw.randrange(len(data)) :]


def remove(data: bytearray, draw: random.Random) -> None:
    """A piece is missing."""
    at = draw.randrange(len(data))
    del data[at : at + draw.choice((1, 2, 7, 100))]


def insert(data: bytearray, draw: random.Random) -> None:
    """A word or a piece of the file itself too much."""
    at = draw.randrange(len(data))
    piece = draw.choice(WORDS) if draw.random() < 0.7 else bytes(data[at : at + draw.randrange(200)])
    data[at:at] = piece


def blank(data: bytearray, draw: random.Random) -> None:
    """A stretch of zeros, as in a copy that is under way."""
    at = draw.randrange(len(data))
    length = min(draw.choice((1, 16, 512, 4096)), len(data) - at)
    data[at : at + length] = bytes(length)


def offset(data: bytearray, draw: random.Random) -> None:
    """Another number in HEADER."""
    field = draw.randrange(10, 58, 8)
    number = draw.choice(NUMBERS) if draw.random() < 0.5 else str(draw.randrange(2 * len(data) + 1)).encode()
    data[field : field + 8] = number[:8].rjust(8)


def value(data: bytearray, draw: random.Random) -> None:
    """Another value of a keyword, of the same length or another."""
    tokens = bytes(data[58:]).split(bytes(data[58:59]))
    if len(tokens) < 3:
        return
    i = draw.randrange(1, len(tokens))
    old = tokens[i]
    near = str(int(old) + draw.choice((-1, 1, 8, -8))).encode() if old.isdigit() and len(old) < 20 else b""
    tokens[i] = draw.choice(
        (near or draw.choice(NUMBERS), draw.choice(NUMBERS), draw.choice(WORDS), draw.choice(tokens))
    )
    if draw.random() < 0.5:
        tokens[i] = tokens[i].rjust(len(old), b"0" if near else b" ")[: len(old)]
    data[58:] = bytes(data[58:59]).join(tokens)


def exchange(data: bytearray, draw: random.Random) -> None:
    """Two stretches in each other's place."""
    length = draw.randrange(1, 60)
    a, b = (draw.randrange(max(1, len(data) - length)) for _ in range(2))
    data[a : a + length], data[b : b + length] = data[b : b + length], data[a : a + length]


MUTATIONS: Sequence[Mutation] = (flip, cut, remove, insert, blank, offset, value, value, value, exchange)


def mutated(given: Sequence[bytes], seed: int) -> bytes:
    """The input that belongs to a number: a seed with one to four changes."""
    draw = random.Random(seed)
    data = bytearray(draw.choice(given))
    for _ in range(draw.choice((1, 1, 1, 2, 2, 3, 4))):
        if len(data) > 60:
            draw.choice(MUTATIONS)(data, draw)
    return bytes(data)


# --- one input ------------------------------------------------------------------------------------


def use(path: Path) -> str:
    """Do with a file all that is done with files; the code of what came of it. Anything but FcsError escapes."""
    completeness(path)
    try:
        sets = read_datasets(path)
        measured = read_fcs(path)
    except FcsError as error:
        lines = str(error).splitlines()
        if not error.hint or len(lines) > 4 or any(len(line) > 1000 for line in lines):
            raise AssertionError(f"a refusal that does not help: {error}") from error
        return "refused"
    for file in {id(file): file for file in (*sets, measured)}.values():
        file.events.sha256_raw()
        _ = file.value_repairs, file.acquired, file.well, file.plate, file.events.time()
        write_and_compare(file, path.with_name("anew.fcs"))
    return "mended" if measured.repairs or measured.value_repairs else "read"


def write_and_compare(file: FcsFile, path: Path) -> None:
    """What is written anew must be read with the same values on the linear scale, and with nothing left to mend."""
    try:
        path.write_bytes(rewritten(file))
        again = read_fcs(path)
    except (IncompleteError, InputError):
        return  # a few zeros now begin at the edge of a page; or keywords that no file can hold
    for index in range(min(3, len(file.channels))):
        ours, theirs = file.events.linear(index), again.events.linear(index)
        if not np.array_equal(ours, theirs, equal_nan=True):
            raise AssertionError(f"channel {index + 1} of the file written anew differs")


def findings(given: Sequence[bytes], numbers: range, folder: Path, tally: Counter[str]) -> Iterator[tuple[int, str]]:
    """Numbers of the inputs that broke a promise, each with what happened."""
    path = folder / "input.fcs"
    for number in numbers:
        path.write_bytes(mutated(given, number))
        start = time.process_time()
        try:
            tally[use(path)] += 1
        except Exception as error:
            tally["failed"] += 1
            yield number, f"{type(error).__name__}: {error}"
        taken = time.process_time() - start
        if taken > SLOW:
            yield number, f"took {taken:.2f} s"


def hold_memory() -> None:
    """At most 1 GiB above what is in use now, where the system can say so."""
    try:
        import resource
    except ImportError:
        return
    pages = Path("/proc/self/statm")
    used = int(pages.read_text().split()[0]) * resource.getpagesize() if pages.exists() else LARGE
    resource.setrlimit(resource.RLIMIT_AS, (used + LARGE, resource.RLIM_INFINITY))


def main() -> int:
    """Try many inputs and print what broke."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", maxsplit=1)[0])
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--keep", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("error")
    given = seeds(options.corpus)
    hold_memory()
    tally: Counter[str] = Counter()
    broken = 0
    begin = time.perf_counter()
    first = options.seed * 1_000_000_000
    with tempfile.TemporaryDirectory() as folder:
        for number, what in findings(given, range(first, first + options.inputs), Path(folder), tally):
            broken += 1
            print(f"{number}: {what}", flush=True)
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                (options.keep / f"{number}.fcs").write_bytes(mutated(given, number))
    counts = ", ".join(f"{n:,} {word}" for word, n in tally.most_common())
    print(f"{options.inputs:,} inputs from {len(given)} seeds in {time.perf_counter() - begin:.0f} s: {counts}")
    print(f"{broken} broke a promise")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
