"""Damage that the structure does not show, and whether a file has arrived whole."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from aqp4flow.fcs.completeness import Completeness, State, completeness
from aqp4flow.fcs.text import HEADER_LENGTH
from handmade import BIG, DATA, GOOD, TWO, built, codes, described, integers, read, refusal

COPYING = "the file was still being copied; wait, then copy it again"


def drawn(n: int, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(7).normal(1e4, 3e3, (n, channels)).astype("<f4")


def lying(data: bytes, keywords: dict[str, str | None] | None = None, n: int | None = None) -> bytes:
    """A file whose TEXT describes `data` as events of two floats."""
    return built(data, {**TWO, **(keywords or {})}, str(len(data) // 8 if n is None else n))


# --- copies that were never filled in ---------------------------------------------------------------


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_a_copy_whose_end_never_arrived_is_refused(share: float, tmp_path: Path) -> None:
    """The full length is there, and nothing but zeros from some page on."""
    whole = lying(drawn(20_000).tobytes())
    arrived = int(len(whole) * share) // 4096 * 4096
    assert COPYING in refusal(tmp_path, whole[:arrived] + bytes(len(whole) - arrived))


def test_a_copy_with_one_page_missing_in_the_middle_is_refused(tmp_path: Path) -> None:
    whole = lying(drawn(5_000).tobytes())
    hole = whole[:8192] + bytes(4096) + whole[12288:]
    assert refusal(tmp_path, hole) == f"well.fcs: 4096 bytes from 8192 are nothing but zero\nhint: {COPYING}"


def test_a_copy_that_has_only_its_length_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, bytes(10_000)).startswith("well.fcs: the file begins with nothing but zero bytes")


def test_events_of_zeros_among_others_are_data(tmp_path: Path) -> None:
    """Ten empty events in a row, and one at the end: a cytometer may write that."""
    values = drawn(5_000)
    values[100:110] = 0
    values[-1] = 0
    assert np.array_equal(read(tmp_path, lying(values.tobytes())).raw, values)


# --- transfers that changed bytes -----------------------------------------------------------------


def test_a_transfer_in_text_mode_is_refused(tmp_path: Path) -> None:
    """Every LF became CR LF: the file is longer than its offsets say, and values from there on are shifted."""
    values = integers([[i % 256, 3 * i % 65536] for i in range(4000)], [2, 2], "1,2,3,4")
    good = built(values, described(["A", "B"], 16, "I", 65536), "4000")
    said = refusal(tmp_path, good.replace(b"\n", b"\r\n"))
    assert "a transfer in text mode changed the bytes" in said


def test_line_ends_are_counted_across_the_seams_of_a_large_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("aqp4flow.fcs.integrity._CHUNK", 7)
    test_a_transfer_in_text_mode_is_refused(tmp_path)


def test_a_transfer_of_seven_bits_is_told(tmp_path: Path) -> None:
    bare = bytes(byte & 0x7F for byte in drawn(500).tobytes())
    assert codes(read(tmp_path, lying(bare))) == ["data-seven-bit"]


def test_the_reverse_byte_order_is_refused(tmp_path: Path) -> None:
    """$BYTEORD says little, the values are big-endian: absurd one way, measurements the other."""
    said = refusal(tmp_path, lying(drawn(500).astype(">f4").tobytes()))
    assert "are absurd in the byte order of $BYTEORD, and sensible in the reverse" in said


def test_integers_in_the_reverse_byte_order_are_refused(tmp_path: Path) -> None:
    rows = [[i % 1024, (7 * i) % 1024] for i in range(500)]
    keywords = {**described(["A", "B"], 16, "I", 1024), "$BYTEORD": BIG}
    said = refusal(tmp_path, built(integers(rows, [2, 2], "1,2,3,4"), keywords, "500"))
    assert "sensible in the reverse" in said


def test_bytes_after_the_last_segment_are_told(tmp_path: Path) -> None:
    assert codes(read(tmp_path, GOOD + b"something else")) == ["bytes-after-data"]


@pytest.mark.parametrize("tail", [b"00000000", b"    1234", bytes(600), b"\r\n"])
def test_a_checksum_or_padding_after_data_is_nothing_odd(tail: bytes, tmp_path: Path) -> None:
    assert read(tmp_path, GOOD + tail).repairs == ()


# --- what the values show -------------------------------------------------------------------------


def remarks(folder: Path, values: np.ndarray) -> list[tuple[str, str]]:
    return [
        (repair.code, repair.message) for repair in read(folder, lying(values.astype("<f4").tobytes())).value_repairs
    ]


def test_ordinary_values_call_for_no_remark(tmp_path: Path) -> None:
    assert remarks(tmp_path, drawn(500)) == []


def test_values_that_are_no_numbers_are_counted_by_channel(tmp_path: Path) -> None:
    values = drawn(500)
    values[3, 1], values[4, 1], values[7, 0] = np.nan, np.inf, -np.inf
    assert remarks(tmp_path, values) == [
        ("values-not-finite", "A: 1, B: 2 events of 500 are NaN or infinite; they belong to no gate")
    ]


def test_a_signalling_nan_is_as_any_other(tmp_path: Path) -> None:
    """Bits that make a processor complain when they are converted."""
    data = struct.pack("<4I", 0x7FA00001, 0x42280000, 0x42280000, 0x42280000)
    file = read(tmp_path, lying(data))
    assert np.isnan(file.events.columns(["A"])[0]).tolist() == [True, False]
    assert file.events.column("B").tolist() == [42.0, 42.0]
    assert len(file.events.sha256_raw()) == 64
    assert [repair.code for repair in file.value_repairs] == ["values-not-finite"]


def test_values_beyond_any_detector_are_counted(tmp_path: Path) -> None:
    values = drawn(500)
    values[5:9, 0] = -3e38
    assert remarks(tmp_path, values) == [("values-huge", "A: 4 events of 500 lie beyond 1e20: no measurement")]


def test_events_that_are_all_alike_are_told(tmp_path: Path) -> None:
    assert remarks(tmp_path, np.full((200, 2), 5.5)) == [("values-constant", "every event has the same values")]


def test_a_channel_below_zero_throughout_is_told(tmp_path: Path) -> None:
    values = drawn(500)
    values[:, 1] *= -1
    values[:, 1] -= 1e5
    assert remarks(tmp_path, values) == [("values-all-negative", "B: below 0 in every event")]


def test_integers_that_a_float_cannot_hold_are_told(tmp_path: Path) -> None:
    data = struct.pack("<2Q", 2**53 + 1, 5)
    file = read(tmp_path, built(data, described(["A"], 64, "I", 2**64), "2"))
    assert file.raw[0, 0] == 2**53 + 1
    assert [repair.code for repair in file.value_repairs] == ["values-rounded"]


# --- completeness ---------------------------------------------------------------------------------


def state(folder: Path, content: bytes) -> Completeness:
    (folder / "arriving.fcs").write_bytes(content)
    return completeness(folder / "arriving.fcs")


def test_a_whole_file_is_complete(tmp_path: Path) -> None:
    assert state(tmp_path, GOOD) == Completeness(State.COMPLETE, "all bytes are there")


def test_every_cut_is_incomplete_by_the_bytes_that_are_missing(tmp_path: Path) -> None:
    """At whichever byte a growing file is caught, it is not taken for whole."""
    text_end = int(GOOD[18:26]) + 1
    for length in range(len(GOOD)):
        found = state(tmp_path, GOOD[:length])
        assert found.state is State.INCOMPLETE, length
        wanted = len(GOOD) if length >= text_end else text_end if length >= HEADER_LENGTH else HEADER_LENGTH
        assert found.missing_bytes == wanted - length
    assert state(tmp_path, GOOD[:-13]).missing_events == 2


def test_a_copy_never_filled_in_is_incomplete(tmp_path: Path) -> None:
    whole = lying(drawn(20_000).tobytes())
    assert state(tmp_path, whole[:65536] + bytes(len(whole) - 65536)).state is State.INCOMPLETE
    assert state(tmp_path, bytes(len(whole))).state is State.INCOMPLETE
    assert state(tmp_path, GOOD[:80] + bytes(len(GOOD) - 80)).state is State.INCOMPLETE


def test_a_further_data_set_is_waited_for(tmp_path: Path) -> None:
    first = built(DATA, {**TWO, "$NEXTDATA": "0" * 8}, "5")
    whole = first.replace(b"$NEXTDATA/00000000", f"$NEXTDATA/{len(first):08d}".encode()) + GOOD
    assert state(tmp_path, whole) == Completeness(State.COMPLETE, "2 data sets")
    for length in (len(first), len(first) + 30, len(first) + 100, len(whole) - 1):
        assert state(tmp_path, whole[:length]).state is State.INCOMPLETE
    assert state(tmp_path, whole[: len(first)] + bytes(len(GOOD))).state is State.INCOMPLETE


@pytest.mark.parametrize("field", [42, None])
def test_segments_behind_data_are_waited_for(field: int | None, tmp_path: Path) -> None:
    """ANALYSIS (its place in HEADER) and supplemental TEXT (its place in TEXT) may be the last to arrive."""
    behind = b"/GATE1/120 events/"
    places = {"$BEGINSTEXT": "0" * 8, "$ENDSTEXT": "0" * 8}
    first = len(built(DATA, {**TWO, **places}, "5"))
    if field is None:
        places = {"$BEGINSTEXT": f"{first:08d}", "$ENDSTEXT": f"{first + len(behind) - 1:08d}"}
    whole = built(DATA, {**TWO, **places}, "5") + behind
    if field is not None:
        whole = whole[:field] + f"{first:8d}{first + len(behind) - 1:8d}".encode() + whole[field + 16 :]
    assert state(tmp_path, whole).state is State.COMPLETE
    assert state(tmp_path, whole[:-4]).missing_bytes == 4
    assert state(tmp_path, whole[:first]).missing_bytes == len(behind)


@pytest.mark.parametrize("content", [b"well,value\n", b"FC", b"PK\x03\x04", b"F" * 100])
def test_what_is_not_fcs_is_known_as_soon_as_it_can_be(content: bytes, tmp_path: Path) -> None:
    wanted = State.INCOMPLETE if b"FCS".startswith(content[:3]) and len(content) < 3 else State.NOT_FCS
    assert state(tmp_path, content).state is wanted


def test_a_file_that_is_there_and_makes_no_sense_is_complete(tmp_path: Path) -> None:
    """Waiting would not mend it: reading it says what is wrong."""
    assert state(tmp_path, built(DATA, {**TWO, "$PAR": "x"}, "5")).state is State.COMPLETE


def test_real_files_are_complete_and_their_halves_are_not(corpus: Path, tmp_path: Path) -> None:
    files = [path for path in sorted((corpus / "vendors").rglob("*")) if path.suffix.lower() in (".fcs", ".lmd")]
    assert len(files) > 40
    for path in files:
        assert completeness(path).state is State.COMPLETE, path.name
        content = path.read_bytes()
        for share in (0.1, 0.5):
            assert state(tmp_path, content[: int(len(content) * share)]).state is State.INCOMPLETE, path.name


def test_a_file_that_is_truly_short_is_incomplete(corpus: Path) -> None:
    found = completeness(corpus / "malformed" / "real" / "AriaFile1.fcs")
    assert (found.state, found.missing_events) == (State.INCOMPLETE, 3948)
