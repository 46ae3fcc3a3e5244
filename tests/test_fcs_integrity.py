"""Damage that the structure does not show, and whether a file has arrived whole."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import numpy as np
import pytest

from aqp4flow.errors import FcsError
from aqp4flow.fcs.completeness import Completeness, State, completeness
from aqp4flow.fcs.text import HEADER_LENGTH
from handmade import BIG, DATA, GOOD, LITTLE, TWO, built, codes, described, floats, integers, read, refusal

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
    assert refusal(tmp_path, hole) == f"well.fcs: 2048 bytes from 8192 are nothing but zero\nhint: {COPYING}"
    shifted = whole[:8700] + bytes(4096) + whole[8700 + 4096 :]  # a page of another file system, or of an archive
    assert COPYING in refusal(tmp_path, shifted)


def test_a_copy_that_has_only_its_length_is_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path, bytes(10_000)).startswith("well.fcs: the file begins with nothing but zero bytes")


def test_an_end_of_less_than_a_page_that_never_arrived_is_refused(tmp_path: Path) -> None:
    """The last page of the file holds a few events only, and none of them came."""
    n = next(n for n in range(1900, 2500) if 24 <= len(lying(drawn(n).tobytes())) % 4096 < 64)
    whole = lying(drawn(n).tobytes())
    edge = len(whole) // 4096 * 4096
    assert COPYING in refusal(tmp_path, whole[:edge] + bytes(len(whole) - edge))


def test_a_first_page_that_never_arrived_is_refused(tmp_path: Path) -> None:
    """DATA begin in the middle of a page, behind a gap."""
    gap = 6000
    content = built(b" " * gap + drawn(2000).tobytes(), TWO, "2000", header=(gap, 0), text=(gap, 0))
    begin = int(content[26:34])
    assert begin % 4096 < 4000
    first, last = begin // 4096 * 4096, (begin // 4096 + 1) * 4096
    assert np.array_equal(read(tmp_path, content).raw, drawn(2000))
    assert COPYING in refusal(tmp_path, content[:first] + bytes(4096) + content[last:])


@pytest.mark.parametrize("where", [0.3, 0.6])
def test_a_stretch_of_text_that_never_arrived_is_refused(where: float, tmp_path: Path) -> None:
    """Keywords would be missing, and a matrix among them."""
    whole = lying(drawn(50).tobytes(), {"$COM": "x" * 5000, "SPILL": "2,A,B,1,0,0,1"})
    at = int(len(whole) * where)
    hole = whole[:at] + bytes(512) + whole[at + 512 :]
    assert "a stretch of TEXT is nothing but zero bytes" in refusal(tmp_path, hole)
    assert state(tmp_path, hole).state is State.INCOMPLETE


@pytest.mark.parametrize("events", [[(0.0, 0.0)], [(1.0, 2.0), (0.0, 0.0)], [(1.0, 2.0), (0.0, 0.0), (0.0, 0.0)]])
def test_a_few_events_of_zeros_are_read(events: list[tuple[float, float]], tmp_path: Path) -> None:
    """So little tells nothing about a copy."""
    assert read(tmp_path, lying(floats(*events))).raw.tolist() == [list(event) for event in events]


def test_events_of_zeros_among_others_are_data(tmp_path: Path) -> None:
    """Ten empty events in a row, and one at the end: a cytometer may write that."""
    values = drawn(5_000)
    values[100:110] = 0
    values[-1] = 0
    assert np.array_equal(read(tmp_path, lying(values.tobytes())).raw, values)


def test_empty_channels_of_wide_events_are_data(tmp_path: Path) -> None:
    """A thousand channels of which most are off: whole stretches of every event are 0."""
    names = [f"R{number}" for number in range(1000)]
    values = np.zeros((20, 1000), dtype="<f4")
    values[:, :10] = drawn(100).reshape(20, 10)
    file = read(tmp_path, built(values.tobytes(), described(names), "20"))
    assert np.array_equal(file.raw, values)


def test_a_file_that_was_replaced_meanwhile_is_not_read_under_the_old_names(tmp_path: Path) -> None:
    path = tmp_path / "well.fcs"
    file = read(tmp_path, lying(drawn(50).tobytes()))
    path.write_bytes(lying(drawn(60)[10:].tobytes()))
    os.utime(path, ns=(1, 1))
    with pytest.raises(FcsError) as refused:
        _ = file.raw
    assert str(refused.value) == (
        "well.fcs: the file changed while it was read\nhint: it may still be copying; start again when it is complete"
    )


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


def test_few_events_with_light_do_not_hide_the_reverse_byte_order(tmp_path: Path) -> None:
    """As counts of ions are: nearly all of them 0."""
    values = np.zeros((500, 20), ">f4")
    values[::10, ::5] = np.arange(1, 201).reshape(50, 4) % 8 + 1
    content = built(values.tobytes(), described([f"C{n}" for n in range(20)]), "500")
    assert "values are absurd in the byte order of $BYTEORD, and sensible in the reverse" in refusal(tmp_path, content)


def test_a_few_odd_values_do_not_hide_the_reverse_byte_order(tmp_path: Path) -> None:
    """Two of a thousand are absurd either way."""
    values = drawn(500).astype(">f4")
    values[7] = 1e30
    assert "sensible in the reverse" in refusal(tmp_path, lying(values.tobytes()))


@pytest.mark.parametrize("share", [0.3, 0.45])
def test_values_that_make_no_sense_either_way_are_refused(share: float, tmp_path: Path) -> None:
    values = drawn(500)
    values[: int(1000 * share), 0] = 1e30
    said = refusal(tmp_path, lying(values.tobytes()))
    assert "values are no measurements (beyond 1e20, or below 1e-20)" in said


def test_some_values_that_make_no_sense_are_told(tmp_path: Path) -> None:
    values = drawn(500)
    values[:100, 0] = 1e30
    file = read(tmp_path, lying(values.tobytes()))
    assert (codes(file), [repair.code for repair in file.value_repairs]) == (["values-absurd"], ["values-huge"])


def test_few_values_in_the_reverse_byte_order_are_refused_too(tmp_path: Path) -> None:
    said = refusal(tmp_path, lying(floats((1234.5, 777.25), (910.75, 333.5), order=">")))
    assert "sensible in the reverse" in said


def test_integers_in_the_reverse_byte_order_are_refused(tmp_path: Path) -> None:
    rows = [[i % 1024, (7 * i) % 1024] for i in range(500)]
    keywords = {**described(["A", "B"], 16, "I", 1024), "$BYTEORD": BIG}
    said = refusal(tmp_path, built(integers(rows, [2, 2], "1,2,3,4"), keywords, "500"))
    assert "sensible in the reverse" in said


def test_bytes_after_the_last_segment_are_told(tmp_path: Path) -> None:
    assert codes(read(tmp_path, GOOD + b"something else")) == ["bytes-after-data"]
    assert codes(read(tmp_path, GOOD + b"123456789")) == ["bytes-after-data"]  # a CRC has eight at most


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


@pytest.mark.parametrize("bits", [24, 32])
def test_bits_that_a_mask_takes_off_are_told_where_none_are_expected(bits: int, tmp_path: Path) -> None:
    """$PnR of 1000 beside 20-bit values: the standard's mask, and very likely a wrong range."""
    rows = [[496_174, 5], [558, 6]]
    width = bits // 8
    file = read(tmp_path, built(integers(rows, [width] * 2, "1,2,3,4"), described(["A", "B"], bits, "I", 1000), "2"))
    assert file.raw.tolist() == [[496_174 % 1024, 5], [558, 6]]
    assert [(repair.code, repair.message) for repair in file.value_repairs] == [
        ("values-masked", "A: 1 events of 2 have bits above $PnR; they were taken off")
    ]


def test_spare_bits_of_words_are_nothing_odd_but_those_of_a_clock_are(tmp_path: Path) -> None:
    rows = [[0xFC05, 1020], [0xFC06, 1030]]
    file = read(tmp_path, built(integers(rows, [2, 2], LITTLE), described(["A", "Time"], 16, "I", 1024), "2"))
    assert file.raw.tolist() == [[5, 1020], [6, 6]]
    assert [repair.message for repair in file.value_repairs] == [
        "Time: 1 events of 2 have bits above $PnR; they were taken off"
    ]


def test_a_clock_below_zero_is_nothing_odd(tmp_path: Path) -> None:
    values = drawn(500)
    values[:, 0] = -np.arange(500) - 1
    file = read(tmp_path, built(values.tobytes(), described(["Time", "B"]), "500"))
    assert file.value_repairs == ()


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
    for length in (len(first) + 30, len(first) + 100, len(whole) - 1):
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


@pytest.mark.parametrize(
    ("header", "text"),
    [
        (None, (0, 0)),  # made 99999999, as FlowJo leaves it in files above 100 MB
        ((200, 200), (0, 0)),  # of the right length, and beyond the end of the file
        ((0, 1), (0, 1)),
    ],
)
def test_a_whole_file_with_odd_offsets_is_complete(
    header: tuple[int, int] | None, text: tuple[int, int], tmp_path: Path
) -> None:
    content = built(DATA, TWO, "5", header=header, text=text)
    if header is None:
        content = content[:26] + b"99999999" * 2 + content[42:]
    assert read(tmp_path, content).n_events == 5
    assert state(tmp_path, content).state is State.COMPLETE


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
