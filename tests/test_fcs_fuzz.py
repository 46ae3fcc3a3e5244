"""Broken files by the thousand: only our own errors escape, and what is read stays what was written."""

from __future__ import annotations

import importlib.util
import struct
import tracemalloc
from collections import Counter
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aqp4flow.errors import FcsError
from aqp4flow.fcs import read_fcs
from aqp4flow.fcs.text import parse_text
from handmade import BIG, LITTLE, built, described, integers, read

INPUTS = 6_000


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    """The command that tries a million, loaded as a module."""
    path = Path(__file__).parent / "fuzz" / "fcs.py"
    spec = importlib.util.spec_from_file_location("fuzz_fcs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_mutated_files_are_read_or_refused_in_words(fuzz: ModuleType, tmp_path: Path) -> None:
    """A budgeted share of the long run; warnings are errors here too."""
    tally: Counter[str] = Counter()
    broken = list(fuzz.findings(fuzz.seeds(), range(INPUTS), tmp_path, tally))
    assert broken == []
    assert min(tally["refused"], tally["mended"], tally["read"]) > INPUTS / 50


def test_the_fuzzer_finds_what_is_planted(fuzz: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the reader to let another error out, the run would show it."""

    def careless(*_: object) -> None:
        raise KeyError("$TOT")

    monkeypatch.setattr("aqp4flow.fcs.reader.find_data", careless)
    tally: Counter[str] = Counter()
    found = list(fuzz.findings(fuzz.seeds(), range(50), tmp_path, tally))
    assert found
    assert all(what == "KeyError: '$TOT'" for _, what in found)


def test_every_seed_is_read(fuzz: ModuleType, tmp_path: Path) -> None:
    """A seed that is refused would make a blunt tool."""
    for content in fuzz.seeds():
        (tmp_path / "seed.fcs").write_bytes(content)
        assert fuzz.use(tmp_path / "seed.fcs") in ("read", "mended")


# --- promises of a header are checked before memory is taken ------------------------------------------


@pytest.mark.parametrize(
    ("events", "bits"),
    [(10**6, 32), (10**12, 32), (2**63, 64), (10**19, 64)],
)
def test_a_promise_larger_than_the_file_takes_no_memory(events: int, bits: int, tmp_path: Path) -> None:
    """What is asked for counts, whether or not it is ever touched."""
    content = built(b"\1" * 64, described(["A"], bits, "I", 1024), str(events))
    tracemalloc.start()
    try:
        with pytest.raises(FcsError, match="whole events"):
            read(tmp_path, content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20  # bytes; the least promise here is of 4 MB


def test_ten_thousand_channels_are_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(FcsError, match=r"\$PAR is 99999999"):
        read(tmp_path, built(b"\1" * 64, {**described(["A"]), "$PAR": "99999999"}, "5"))


# --- laws -----------------------------------------------------------------------------------------

WIDTHS = st.lists(st.integers(1, 8), min_size=1, max_size=5)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(widths=WIDTHS, order=st.sampled_from([LITTLE, BIG]), data=st.data())
def test_integers_of_any_widths_come_back(widths: list[int], order: str, data: st.DataObject, tmp_path: Path) -> None:
    event = st.tuples(*(st.integers(1, 256**width - 1) for width in widths))
    rows = data.draw(st.lists(event, min_size=1, max_size=6))
    names = [f"C{i}" for i in range(len(widths))]
    tops = {f"P{i}R": str(256**width) for i, width in enumerate(widths, 1)}
    bits = {f"P{i}B": str(8 * width) for i, width in enumerate(widths, 1)}
    keywords = {**described(names, kind="I", **tops, **bits), "$BYTEORD": order}
    file = read(tmp_path, built(integers(rows, widths, order), keywords, str(len(rows))))
    for i in range(len(widths)):
        assert file.events.stored(i).tolist() == [row[i] for row in rows]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(significance=st.permutations([1, 2, 3, 4]), value=st.integers(1, 2**32 - 1))
def test_any_order_of_four_bytes_comes_back(significance: list[int], value: int, tmp_path: Path) -> None:
    four = struct.pack("<I", value)
    keywords = {**described(["A"], kind="I", top=2**32), "$BYTEORD": ",".join(map(str, significance))}
    file = read(tmp_path, built(bytes(four[rank - 1] for rank in significance), keywords, "1"))
    assert file.raw.tolist() == [[value]]


WORD = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x3000, exclude_categories=("C", "Z")), min_size=1, max_size=12
)
NEEDED = {"$PAR": "1", "$DATATYPE": "F", "$BYTEORD": "1,2,3,4"}


@settings(max_examples=300, deadline=None)
@given(pairs=st.dictionaries(WORD, WORD, max_size=8), delimiter=st.sampled_from("/|\\!\f*"))
def test_keywords_and_values_come_back_whatever_they_hold(pairs: dict[str, str], delimiter: str) -> None:
    """Delimiters are doubled inside names and values; names are compared in capitals.

    A word that begins or ends with the delimiter beside another one cannot be told apart by the standard's rule;
    neither can names that are one in capitals.
    """
    pairs = {key: value for key, value in pairs.items() if not (key + value).upper().startswith(("$", "SPILL"))}
    pairs = {key: value for key, value in pairs.items() if delimiter not in (key[0], key[-1], value[0])}
    pairs = {key.upper(): value for key, value in pairs.items() if key.upper() == key.upper().strip()}
    pairs = {key: value for key, value in pairs.items() if not value.upper().startswith(("$", "SPILL"))}
    pairs = {key: value for key, value in pairs.items() if delimiter not in key}
    text = delimiter + "".join(
        part.replace(delimiter, delimiter * 2) + delimiter for pair in {**NEEDED, **pairs}.items() for part in pair
    )
    found, repairs = parse_text(text.encode(), "a.fcs")
    assert found == {**NEEDED, **pairs}
    assert repairs == []


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(head=st.binary(min_size=0, max_size=400))
def test_anything_after_the_magic_is_refused_in_words(head: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.fcs"
    path.write_bytes(b"FCS3.1    " + head)
    with pytest.raises(FcsError):
        read_fcs(path)


def test_blocks_of_events_meet_without_a_seam(tmp_path: Path) -> None:
    """More events than one block of DATA holds, and an odd number of them."""
    values = np.arange(3 * 70_001, dtype=">f4").reshape(-1, 3)
    keywords = {**described(["A", "B", "C"]), "$BYTEORD": BIG}
    file = read(tmp_path, built(values.tobytes(), keywords, str(len(values))))
    assert np.array_equal(file.raw, values)
    assert np.array_equal(np.column_stack(file.events.columns(["C", "A"])), values[:, [2, 0]])
    assert np.array_equal(file.events.values, values)
