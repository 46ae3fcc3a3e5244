"""The reader of FCS files against bytes laid out by hand: numbers, places, names, refusals."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from aqp4flow.errors import FcsError, InputError
from aqp4flow.fcs import read_fcs, rewritten
from aqp4flow.model import Channel
from handmade import (
    BIG,
    DATA,
    EVENTS,
    GOOD,
    LITTLE,
    TWO,
    built,
    codes,
    described,
    floats,
    integers,
    read,
    refusal,
)

# --- numbers as stored ----------------------------------------------------------------------------


@pytest.mark.parametrize("order", [LITTLE, BIG])
@pytest.mark.parametrize("bits", [8, 16, 24, 32, 64])
def test_integers_of_every_width_come_out_exactly(bits: int, order: str, tmp_path: Path) -> None:
    top = 2**bits - 1
    rows = [(0, top), (1, top - 1), (top // 3, top // 2 + 1)]
    keywords = {**described(["A", "B"], bits, "I", 2**bits), "$BYTEORD": order}
    file = read(tmp_path, built(integers(rows, [bits // 8] * 2, order), keywords, "3"))
    assert file.raw.tolist() == [list(row) for row in rows]
    assert file.events.column("B").tolist() == [float(row[1]) for row in rows]
    assert file.repairs == ()


@pytest.mark.parametrize("order", [LITTLE, BIG])
def test_integers_of_mixed_widths_stand_side_by_side(order: str, tmp_path: Path) -> None:
    widths = [1, 3, 2, 8, 4]
    rows = [(200, 2**24 - 2, 513, 2**40 + 1, 2**31), (1, 2, 3, 4, 5)]
    sizes = {key: str(8 * w) for key, w in zip(("P1B", "P2B", "P3B", "P4B", "P5B"), widths, strict=True)}
    tops = {f"P{n}R": str(2 ** (8 * w)) for n, w in enumerate(widths, 1)}
    keywords = {**described(list("ABCDE"), kind="I", **sizes, **tops), "$BYTEORD": order}
    file = read(tmp_path, built(integers(rows, widths, order), keywords, "2"))
    assert file.raw.tolist() == [list(row) for row in rows]


@pytest.mark.parametrize(("order", "sign"), [(LITTLE, "<"), (BIG, ">")])
@pytest.mark.parametrize(("kind", "letter", "bits"), [("F", "f", 32), ("D", "d", 64)])
def test_floats_and_doubles_come_out_exactly(
    kind: str, letter: str, bits: int, order: str, sign: str, tmp_path: Path
) -> None:
    third = struct.unpack(letter, struct.pack(letter, 1 / 3))[0]
    rows = [(third, -1e30), (0.0, 262143.5)]
    keywords = {**described(["A", "B"], bits, kind), "$BYTEORD": order}
    file = read(tmp_path, built(floats(*rows, order=sign, letter=letter), keywords, "2"))
    wanted = np.array(rows, f"f{bits // 8}")
    assert file.raw.dtype == wanted.dtype
    assert np.array_equal(file.raw, wanted)
    assert np.array_equal(file.events.values, wanted.astype(float))


@pytest.mark.parametrize(
    ("top", "stored", "wanted"),
    [
        ("1024", 0xFC00 | 513, 513),  # dirty high bits
        ("1000", 0xFC00 | 1023, 1023),  # mask up to the next power of two
        ("1025", 0xFFFF, 2047),
        ("2", 0xFFFF, 1),
        ("65536", 0xFFFF, 0xFFFF),
        ("4294967296", 0xFFFF, 0xFFFF),  # wider than the word
        ("0", 0xFFFF, 0xFFFF),  # says nothing
    ],
)
def test_bits_above_the_range_are_taken_off(top: str, stored: int, wanted: int, tmp_path: Path) -> None:
    keywords = described(["A"], 16, "I", P1R=top)
    file = read(tmp_path, built(integers([[stored]], [2], LITTLE), keywords, "1"))
    assert file.raw.tolist() == [[wanted]]


def test_floats_are_never_masked(tmp_path: Path) -> None:
    file = read(tmp_path, built(floats((5000.5, -3.0)), described(["A", "B"], top=1024), "1"))
    assert file.raw.tolist() == [[5000.5, -3.0]]


@pytest.mark.parametrize(
    ("byteord", "significance"),
    [("3,4,1,2", (3, 4, 1, 2)), ("2,1,4,3", (2, 1, 4, 3)), ("4,3,2,1", (4, 3, 2, 1)), ("1,3,2,4", (1, 3, 2, 4))],
)
@pytest.mark.parametrize("kind", ["I", "F"])
def test_bytes_in_any_order_are_put_in_order(
    kind: str, byteord: str, significance: tuple[int, ...], tmp_path: Path
) -> None:
    """$BYTEORD counts significance from 1, the least; the first number is that of the first byte in the file."""
    numbers = [1.5, -3000.25, 262143.0] if kind == "F" else [1, 2**31 + 7, 0x01020304]
    plain = [struct.pack("<f" if kind == "F" else "<I", value) for value in numbers]
    data = b"".join(bytes(four[rank - 1] for rank in significance) for four in plain)
    keywords = {**described(["A"], 32, kind, 2**32), "$BYTEORD": byteord}
    file = read(tmp_path, built(data, keywords, "3"))
    assert file.raw[:, 0].tolist() == numbers
    assert codes(file) == ([] if byteord == BIG else ["byte-order-mixed"])


def test_words_of_sixteen_bits_keep_the_order_of_their_half(tmp_path: Path) -> None:
    """3,4,1,2: the low half word of four bytes comes last, and within a half the low byte first."""
    keywords = {**described(["A"], 16, "I", 65536), "$BYTEORD": "3,4,1,2"}
    assert read(tmp_path, built(b"\x01\x02\x03\x04", keywords, "2")).raw[:, 0].tolist() == [0x0201, 0x0403]


def test_words_of_sixteen_bits_have_no_order_where_halves_are_torn(tmp_path: Path) -> None:
    """1,3,2,4: no half of the four bytes holds a word of its own."""
    keywords = {**described(["A"], 16, "I", 65536), "$BYTEORD": "1,3,2,4"}
    said = refusal(tmp_path, built(b"\x01\x02\x03\x04", keywords, "2"))
    assert said.startswith("well.fcs: $BYTEORD is '1,3,2,4' for values of 2 bytes")


@pytest.mark.parametrize("order", [LITTLE, BIG])
def test_a_short_byte_order_gives_its_direction(order: str, tmp_path: Path) -> None:
    """`1,2` beside 32-bit floats: real writers leave it so."""
    sign = "<" if order == LITTLE else ">"
    keywords = {**TWO, "$BYTEORD": order.replace("4,3,", "").replace(",3,4", "")}
    file = read(tmp_path, built(floats(*EVENTS, order=sign), keywords, "5"))
    assert file.raw.tolist() == [list(row) for row in EVENTS]
    assert codes(file) == ["byte-order-short"]


def test_channels_of_different_types_stand_side_by_side(tmp_path: Path) -> None:
    """$PnDATATYPE (FCS 3.2): a double and an integer among floats, $MODE left out."""
    keywords = {
        **described(["A", "Time", "Count"], P2DATATYPE="D", P2B="64", P3DATATYPE="I", P3B="16", P3R="1024"),
        "$MODE": None,
    }
    rows = [(1.5, 1e-9 + 7, 0xFC00 | 5), (2.5, 1 / 3, 1023)]
    file = read(tmp_path, built(b"".join(struct.pack("<fdH", *row) for row in rows), keywords, "2", version="FCS3.2"))
    assert file.raw.tolist() == [[1.5, 1e-9 + 7, 5.0], [2.5, 1 / 3, 1023.0]]
    assert file.events.column("Time").tolist() == [1e-9 + 7, 1 / 3]
    assert codes(file) == ["mixed-data-types"]


@pytest.mark.parametrize(
    ("bits", "data"),
    [("8", b"0000001200000034       5      67"), ("*", b"12 34\n5,  67"), ("*", b"12\t34 5 67  ")],
)
def test_numbers_written_as_digits_are_read(bits: str, data: bytes, tmp_path: Path) -> None:
    file = read(tmp_path, built(data, described(["A", "B"], kind="A", P1B=bits, P2B=bits), "2"))
    assert file.raw.tolist() == [[12.0, 34.0], [5.0, 67.0]]
    assert file.events.column("B").tolist() == [34.0, 67.0]
    assert codes(file) == ["ascii-data"]


def test_ten_bits_stand_in_words_of_sixteen(tmp_path: Path) -> None:
    file = read(tmp_path, built(integers([[1023], [4]], [2], LITTLE), described(["A"], 10, "I", 1024), "2"))
    assert file.raw.tolist() == [[1023], [4]]
    assert codes(file) == ["bits-rounded-up"]


def test_bits_above_those_of_the_value_are_taken_off_where_no_range_is_known(tmp_path: Path) -> None:
    """$PnB of 10 in words of 16 without $PnR."""
    keywords = {**described(["A"], 10, "I"), "$P1R": None}
    file = read(tmp_path, built(integers([[0xFC05], [1023]], [2], LITTLE), keywords, "2"))
    assert file.raw.tolist() == [[5], [1023]]


def test_bits_above_those_of_the_value_are_taken_off_where_the_range_is_wider(tmp_path: Path) -> None:
    """$PnB of 10 in words of 16, with a $PnR of 65536."""
    file = read(tmp_path, built(integers([[0xFC05], [1023]], [2], LITTLE), described(["A"], 10, "I", 65536), "2"))
    assert file.raw.tolist() == [[5], [1023]]


def test_the_layout_that_fits_to_the_byte_comes_before_a_shorter_one(tmp_path: Path) -> None:
    """One event of 20 bits in a word of 32: words of 24 would fit with an end one too high."""
    file = read(tmp_path, built(struct.pack("<I", 0x54321), described(["A"], 20, "I", 2**20), "1"))
    assert file.raw.tolist() == [[0x54321]]
    assert codes(file) == ["bits-rounded-up"]


def test_seven_bits_stand_in_bytes(tmp_path: Path) -> None:
    file = read(tmp_path, built(b"\x7f\x81", described(["A"], 7, "I", 128), "2"))
    assert file.raw.tolist() == [[127], [1]]
    assert codes(file) == ["bits-rounded-up"]


@pytest.mark.parametrize("top", ["1e400", "1,024", "1_024", "nan", "0x400", "x", "\u0661\u0660"])
def test_a_range_that_is_no_plain_number_masks_nothing(top: str, tmp_path: Path) -> None:
    """`1,024` could be 1024 or about 1: the range is unknown, and said to be."""
    file = read(tmp_path, built(b"\xff\xff", described(["A"], 16, "I", P1R=top), "1"))
    assert file.raw.tolist() == [[0xFFFF]]
    assert codes(file) == ["range-missing"]


def test_the_values_cannot_be_written_to(tmp_path: Path) -> None:
    file = read(tmp_path, GOOD)
    assert not file.raw.flags.writeable
    assert not file.events.values.flags.writeable


# --- from stored to linear ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amplification", "stored", "wanted"),
    [
        ("4,1", 512, 100.0),  # 1 * 10 ** (4 * 512 / 1024)
        ("4,0", 512, 100.0),  # an offset of 0 means 1
        ("4,1", 0, 1.0),
        ("4,1", 768, 1000.0),
        ("2,0.5", 512, 5.0),
        (" 4.0, 0.1024", 0, 0.1024),
        ("4,0,0,1", 512, 10.0),  # decimal commas: 4.0 and 0.1
        ("0,0", 512, 512.0),
        ("0", 512, 512.0),
        ("0.0,0.0", 512, 512.0),
    ],
)
def test_log_amplification_is_undone(amplification: str, stored: int, wanted: float, tmp_path: Path) -> None:
    keywords = described(["A"], 16, "I", 1024, P1E=amplification)
    file = read(tmp_path, built(integers([[stored], [1023]], [2], LITTLE), keywords, "2"))
    assert file.events.column("A")[0] == pytest.approx(wanted, rel=1e-12)
    assert file.raw[0, 0] == stored


def test_log_amplification_of_floats_is_ignored_and_said(tmp_path: Path) -> None:
    file = read(tmp_path, built(floats((512.0,)), described(["A"], top=1024, P1E="4,1"), "1"))
    assert file.events.column("A").tolist() == [512.0]
    assert codes(file) == ["log-on-floats"]


@pytest.mark.parametrize(
    ("gain", "wanted", "said"),
    [
        ("2", 3.0, []),
        ("0", 6.0, ["gain-zero"]),
        ("0,5", 12.0, ["gain-decimal-comma"]),
        ("1.0", 6.0, []),
        (" ", 6.0, []),
    ],
)
def test_gain_is_divided_out(gain: str, wanted: float, said: list[str], tmp_path: Path) -> None:
    file = read(tmp_path, built(floats((6.0,)), described(["A"], P1G=gain), "1"))
    assert file.events.column("A").tolist() == [wanted]
    assert file.raw.tolist() == [[6.0]]
    assert codes(file) == said


@pytest.mark.parametrize(
    "odd",
    [
        {"P1G": "-1"},
        {"P1G": "x"},
        {"P1G": "1e-320"},
        {"P1E": "4"},
        {"P1E": "-1,1"},
        {"P1E": "4,1e200"},
        {"P1E": "200,1"},
        {"P1G": "1e7"},
        {"P1E": "4,1", "P1R": "0"},
        {"P1E": "4,1", "P1R": "1"},
        {"P1E": "4,1", "P1R": "1,024"},
        {"P1E": "4,1", "P1R": "x"},
    ],
    ids=str,
)
def test_where_the_scale_is_not_known_no_linear_value_is_made_up(odd: dict[str, str], tmp_path: Path) -> None:
    """The other channels, and what is stored, stay readable."""
    file = read(tmp_path, built(integers([[5, 6], [7, 8]], [2, 2], LITTLE), described(["A", "B"], 16, "I", **odd), "2"))
    assert file.raw.tolist() == [[5, 6], [7, 8]]
    assert np.isnan(file.events.column("A")).all()
    assert file.events.column("B").tolist() == [6.0, 8.0]
    assert "scale-unknown" in codes(file)
    with pytest.raises(InputError, match="A: the scale is not known"):
        rewritten(file)


def test_time_is_never_logarithmic(tmp_path: Path) -> None:
    file = read(tmp_path, built(b"\x10\0", {**described(["Time"], 16, "I", P1E="4,1"), "$TIMESTEP": "0.5"}, "1"))
    assert file.events.column("Time").tolist() == [8.0]
    assert codes(file) == ["log-on-time"]


def test_log_amplification_holds_for_digits_too(tmp_path: Path) -> None:
    file = read(tmp_path, built(b"512 256", described(["A"], kind="A", top=1024, P1B="*", P1E="4,1"), "2"))
    assert file.events.column("A").tolist() == pytest.approx([100.0, 10.0])
    assert file.raw.tolist() == [[512.0], [256.0]]


def test_the_gain_of_a_time_channel_may_be_anything(tmp_path: Path) -> None:
    """It is never used: $TIMESTEP alone says what a tick is."""
    file = read(tmp_path, built(floats((6.0,)), {**described(["Time"], P1G="none"), "$TIMESTEP": "0.5"}, "1"))
    assert file.events.column("Time").tolist() == [3.0]


@pytest.mark.parametrize(
    ("name", "timestep", "wanted", "said"),
    [
        ("Time", "0.01", 2.5, []),
        ("TIME", "0,01", 2.5, ["timestep-decimal-comma"]),
        ("HDR-T", "0.5", 125.0, []),
        ("Time", None, 250.0, []),
        ("Time", "xxxxxxxxx", 250.0, ["timestep-unreadable"]),
        ("Time", "-1", 250.0, ["timestep-unreadable"]),
        ("Time", "1e8", 250.0, ["timestep-unreadable"]),
    ],
)
def test_time_follows_its_step_and_not_its_gain(
    name: str, timestep: str | None, wanted: float, said: list[str], tmp_path: Path
) -> None:
    keywords = {**described([name], P1G="0.01"), "$TIMESTEP": timestep}
    file = read(tmp_path, built(floats((250.0,)), keywords, "1"))
    assert file.events.column(name).tolist() == [wanted]
    assert codes(file) == said


@pytest.mark.parametrize("bits", [16, 32])
def test_a_clock_in_two_halves_is_put_together(bits: int, tmp_path: Path) -> None:
    """`TIME_MSW` counts how often the range of `TIME_LSW` ran over, in words of whatever width."""
    keywords = {**described(["TIME_MSW", "A", "TIME_LSW"], bits, "I", 65536), "$TIMESTEP": "0.1"}
    file = read(tmp_path, built(integers([[0, 1, 65535], [2, 1, 3]], [bits // 8] * 3, LITTLE), keywords, "2"))
    time = file.events.time()
    assert time is not None
    assert time.tolist() == pytest.approx([65535.0, 2 * 65536 + 3])


def test_without_a_time_channel_there_is_no_time(tmp_path: Path) -> None:
    assert read(tmp_path, GOOD).events.time() is None


def test_a_channel_carries_its_names_range_and_voltage(tmp_path: Path) -> None:
    keywords = described(["PE-A"], P1S=" IgG ", P1V="512,5", P1R="1000")
    (channel,) = read(tmp_path, built(floats((1.0,)), keywords, "1")).channels
    assert channel == Channel(1, "PE-A", "IgG", 32, 1000.0, voltage=512.5)


# --- where DATA lies ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "text", "said"),
    [
        ((0, 0), (0, 0), []),
        (None, (0, 0), []),  # HEADER left open, as in files above 100 MB
        ((0, 0), None, []),
        ((0, 1), (0, 1), ["data-end-off-by-one"]),
        ((3, 9), (0, 0), ["data-offsets-differ"]),
        ((0, 0), (-8, -16), ["data-offsets-differ"]),
        ((0, 1 - len(DATA)), (0, 1 - len(DATA)), ["data-end-derived"]),  # the end never filled in
        ((0, 0), (0, 40_000), ["data-offsets-differ"]),
        ((0, 0), (0, 5), ["data-offsets-differ"]),
    ],
)
def test_the_span_that_fits_the_events_is_read(
    header: tuple[int, int] | None, text: tuple[int, int] | None, said: list[str], tmp_path: Path
) -> None:
    file = read(tmp_path, built(DATA, TWO, "5", header=header, text=text))
    assert file.raw.tolist() == [list(row) for row in EVENTS]
    assert codes(file) == said


def test_header_comes_first_where_both_spans_fit(tmp_path: Path) -> None:
    content = built(DATA + floats((11.0, 12.0)), TWO, "5", header=(0, -8), text=(8, 0))
    file = read(tmp_path, content)
    assert file.raw.tolist() == [list(row) for row in EVENTS]
    assert codes(file) == ["data-offsets-differ"]


def test_the_span_whose_values_make_sense_is_read_where_both_fit(tmp_path: Path) -> None:
    """HEADER begins two bytes early, where every float is a patchwork of two: TEXT's values are measurements."""
    rows = [(1000.5 + i, 2000.25 - i) for i in range(50)]
    file = read(tmp_path, built(b"\x7f\x7f" + floats(*rows), TWO, "50", header=(0, -2), text=(2, 0)))
    assert file.raw.tolist() == [list(row) for row in rows]
    assert codes(file) == ["data-offsets-differ"]


def test_a_byte_too_many_before_the_first_event_is_refused(tmp_path: Path) -> None:
    """Taken for one behind the last, it would multiply every value by 256."""
    data = b" " + integers([[i % 1000, i % 7] for i in range(50)], [4, 4], LITTLE)
    said = refusal(tmp_path, built(data, described(["A", "B"], 32, "I", 1024), "50"))
    assert "DATA have one byte too many, and make sense only from byte" in said


@pytest.mark.parametrize(("version", "said"), [("FCS2.0", []), ("FCS3.0", ["tot-derived"])])
def test_a_missing_total_follows_from_the_length(version: str, said: list[str], tmp_path: Path) -> None:
    """FCS 2.0 does not ask for it; later versions do, and then it is told."""
    file = read(tmp_path, built(DATA, TWO, None, version=version, text=None))
    assert (file.version, file.n_events, codes(file)) == (version, 5, said)
    assert file.raw.tolist() == [list(row) for row in EVENTS]


def test_more_events_than_promised_are_cut_to_the_promise_and_said(tmp_path: Path) -> None:
    file = read(tmp_path, built(DATA, TWO, "4"))
    assert file.raw.tolist() == [list(row) for row in EVENTS[:4]]
    assert [(repair.code, repair.message) for repair in file.repairs] == [
        ("tot-too-small", "DATA holds 5 events, $TOT says 4; the first 4 are read")
    ]


@pytest.mark.parametrize(
    ("bits", "stored", "says"),
    [
        (16, "<u4", "8 bytes an event ($TOT is 50), $PnB add up to 4"),
        (32, "<u2", "4 bytes an event ($TOT is 50), $PnB add up to 8"),
        (16, "u1,u1,u1", "6 bytes an event ($TOT is 50), $PnB add up to 4"),
    ],
)
def test_words_of_another_width_than_promised_are_not_read_as_events(
    bits: int, stored: str, says: str, tmp_path: Path
) -> None:
    """$TOT could be wrong, or $PnB: twice as many half events would look like events."""
    data = np.ones(100, stored).tobytes()
    said = refusal(tmp_path, built(data, described(["A", "B"], bits, "I", 65536), "50"))
    assert said == f"well.fcs: DATA has {says}\nhint: the file contradicts itself; export it again"


def test_a_total_too_low_is_not_believed_where_two_spans_are_too_long(tmp_path: Path) -> None:
    content = built(DATA + b"\1" * 8, TWO, "5", header=(0, 0), text=(0, -4))
    assert "DATA has 48 bytes, $TOT x event width is 5 x 8 = 40" in refusal(tmp_path, content)


def test_events_that_were_not_promised_are_not_overlooked(tmp_path: Path) -> None:
    assert "$TOT is 0, and the place of DATA" in refusal(tmp_path, built(DATA, TWO, "0"))


def test_a_place_left_in_for_no_events_is_no_contradiction(tmp_path: Path) -> None:
    file = read(tmp_path, built(bytes(32), TWO, "0"))
    assert file.n_events == 0
    assert "no-events" in codes(file)


def test_without_a_total_two_places_are_not_chosen_from(tmp_path: Path) -> None:
    content = built(DATA, TWO, None, header=(0, -16))
    assert "$TOT is absent, and HEADER and TEXT place DATA differently" in refusal(tmp_path, content)


def test_the_end_of_text_may_be_the_first_byte_of_data(tmp_path: Path) -> None:
    """As writers leave it who count one past the last byte."""
    for data in (DATA, b"/" + DATA[1:], b"\x80" + DATA[1:]):
        content = built(data, TWO, "5")
        last = int(content[18:26])
        file = read(tmp_path, content[:18] + f"{last + 1:8d}".encode() + content[26:])
        assert file.events.buffer[file.data.begin : file.data.end] == data
        assert "text-end-off-by-one" in codes(file)


def test_no_events_are_no_failure(tmp_path: Path) -> None:
    file = read(tmp_path, built(b"", TWO, "0"))
    assert file.n_events == 0
    assert file.raw.shape == file.events.values.shape == (0, 2)
    assert file.events.column("A").shape == (0,)
    assert codes(file) == ["no-events"]


def test_one_event_of_zeros_at_the_end_is_data(tmp_path: Path) -> None:
    file = read(tmp_path, built(floats(*EVENTS, (0.0, 0.0)), TWO, "6"))
    assert file.raw[-1].tolist() == [0.0, 0.0]


# --- names ----------------------------------------------------------------------------------------


def test_a_name_given_twice_cannot_be_asked_for(tmp_path: Path) -> None:
    file = read(tmp_path, built(DATA, described(["A", "A"]), "5"))
    assert codes(file) == ["name-twice"]
    with pytest.raises(FcsError) as refused:
        file.events.column("A")
    assert str(refused.value) == "well.fcs: 2 channels called 'A'\nhint: the file has A, A"


def test_a_channel_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(FcsError) as refused:
        read(tmp_path, GOOD).events.column("FITC-A")
    assert str(refused.value) == "well.fcs: no channel called 'FITC-A'\nhint: the file has A, B"


def test_a_channel_without_a_name_is_called_by_its_number(tmp_path: Path) -> None:
    file = read(tmp_path, built(DATA, {**TWO, "$P2N": None}, "5"))
    assert file.events.column("P2").tolist() == [row[1] for row in EVENTS]
    assert codes(file) == ["name-missing"]


# --- what is refused, word for word -----------------------------------------------------------------

CUT = "the copy is cut short; export or copy the file again"
AGAIN = "export the file again"
REFUSED: dict[str, tuple[bytes, str, str]] = {
    "empty": (b"", "the file is empty", "it may still be copying; export or copy it again"),
    "a table": (
        b"well,value\nA1,3\n",
        "not an FCS file: it begins with 'well,value\\nA', not 'FCS'",
        "export the well from the cytometer as FCS; a table or workspace does not hold events",
    ),
    "version 1": (
        b"FCS1.0" + GOOD[6:],
        "version 'FCS1.0' is not one of FCS2.0, FCS3.0, FCS3.1, FCS3.2",
        "export as FCS 3.1",
    ),
    "cut in HEADER": (GOOD[:40], "HEADER has 40 bytes of 58", "the copy is cut short"),
    "cut in TEXT": (
        GOOD[:150],
        f"TEXT should end at byte {int(GOOD[18:26])}, but the file has 150",
        CUT,
    ),
    "cut in DATA": (GOOD[:-13], "DATA holds 3 whole events of the 5 that $TOT promises", CUT),
    "total too high": (
        built(DATA, TWO, "50"),
        "DATA holds 5 whole events of the 50 that $TOT promises",
        CUT,
    ),
    "a total too low and bytes left over": (
        built(DATA + b"abc", TWO, "4"),
        "DATA has 43 bytes, $TOT x event width is 4 x 8 = 32",
        "the file contradicts itself; export it again",
    ),
    "more channels than $PAR": (
        built(DATA, {**TWO, "$P3B": "32"}, "4"),
        "DATA has 40 bytes, $TOT x event width is 4 x 8 = 32",
        "the file contradicts itself; export it again",
    ),
    "DATA inside TEXT": (
        built(DATA, TWO, "5", header=(-100, -100), text=(-100, -100)),
        f"DATA is said to lie at {len(GOOD) - 140}-{len(GOOD) - 101}, inside TEXT",
        AGAIN,
    ),
    "DATA backwards": (
        built(DATA, TWO, "5", header=(0, -70), text=(0, -70)),
        f"DATA is said to end at byte {len(GOOD) - 71}, before it begins at {len(GOOD) - 40}",
        AGAIN,
    ),
    "total no number": (built(DATA, TWO, "1x"), "$TOT is '1x', not a whole number", AGAIN),
    "no total, ragged": (
        built(DATA[:-5], TWO, None, text=None),
        "$TOT is absent and the length of DATA does not tell",
        AGAIN,
    ),
    "no spans": (
        built(DATA, TWO, "5", header=None, text=None),
        "neither HEADER nor TEXT says where DATA lies",
        AGAIN,
    ),
    "no $PAR": (
        built(DATA, {**TWO, "$PAR": None}, "5"),
        "the required keyword $PAR is missing from TEXT",
        "the file is damaged or not list-mode data; export it again",
    ),
    "no $P2B": (built(DATA, {**TWO, "$P2B": None}, "5"), "the required keyword $P2B is missing from TEXT", AGAIN),
    "$PAR of 0": (built(DATA, {**TWO, "$PAR": "0"}, "5"), "$PAR is 0", AGAIN),
    "type": (
        built(DATA, {**TWO, "$DATATYPE": "X"}, "5"),
        "$DATATYPE is 'X'; I, F, D and A can be read",
        "export as FCS 3.1, list mode",
    ),
    "letters among digits": (
        built(b"12 x4 5 6", described(["A", "B"], kind="A", P1B="*", P2B="*"), "2"),
        "DATA holds 'x4' where digits should stand",
        "export as FCS 3.1",
    ),
    "a letter in a fixed width": (
        built(b" 1x3345", described(["A", "B"], kind="A", P1B="4", P2B="3"), "1"),
        "DATA holds '1x3' in event 1 where digits should stand",
        "export as FCS 3.1",
    ),
    "too few digits": (
        built(b"1 2 3", described(["A", "B"], kind="A", P1B="*", P2B="*"), "2"),
        "DATA holds 3 numbers, $TOT x $PAR is 2 x 2 = 4",
        "the copy is cut short or damaged; export or copy the file again",
    ),
    "digits of both forms": (
        built(b"1 2 3 4", described(["A", "B"], kind="A", P1B="*", P2B="2"), "2"),
        "digits of fixed and of free width in one event ($PnB)",
        "export as FCS 3.1",
    ),
    "histograms": (
        built(DATA, {**TWO, "$MODE": "U"}, "5"),
        "$MODE is 'U': histograms, not events",
        "export in list mode",
    ),
    "a channel of digits": (
        built(DATA, {**TWO, "$P2DATATYPE": "A"}, "5", version="FCS3.2"),
        "$P2DATATYPE is 'A'",
        "export as FCS 3.1",
    ),
    "byte order": (
        built(DATA, {**TWO, "$BYTEORD": "3,4,1,1"}, "5"),
        "$BYTEORD is '3,4,1,1'",
        "export as FCS 3.1 (byte order 1,2,3,4 or 4,3,2,1)",
    ),
    "byte order of one": (
        built(DATA, {**TWO, "$BYTEORD": "1"}, "5"),
        "$BYTEORD is '1' and values have 4 bytes",
        "export as FCS 3.1",
    ),
    "mixed byte order of other words": (
        built(bytes(range(24)), {**described(["A"], 64, "I", 1024), "$BYTEORD": "3,4,1,2"}, "3"),
        "$BYTEORD is '3,4,1,2' for values of 8 bytes",
        "export as FCS 3.1",
    ),
    "floats of 16 bits": (
        built(DATA, {**TWO, "$P1B": "16"}, "5"),
        "$P1B is 16; type F has 32 bits",
        "export as FCS 3.1",
    ),
    "packed bits": (
        built(bytes(range(1, 16)), described(["A", "B"], 10, "I", 1024), "6"),
        "values of 10 bits, and the length of DATA fits neither bytes nor words",
        "bit-packed integers are not read; export as FCS 3.1",
    ),
    "still being copied": (
        built(floats(*EVENTS[:4]) + bytes(4 * 8), TWO, "8"),
        f"32 bytes from {len(built(DATA, TWO, '8')) - 8} are nothing but zero",
        "the file was still being copied; wait, then copy it again",
    ),
    "two totals": (
        built(DATA, {**TWO, "$tot": "4"}, "5"),
        "$TOT stands twice in TEXT: '5' and '4'",
        "export it again",
    ),
    "a delimiter in a value": (
        built(DATA, {"$COM": "a/b", **TWO}, "5"),
        "TEXT gives $PAR, $DATATYPE and 11 more as a value: names and values have changed places",
        "a value holds the delimiter; take it out of the experiment's texts and export again",
    ),
    "the matrix behind a delimiter": (
        built(DATA, {**TWO, "$COM": "a/b", "SPILL": "2,A,B,1,0,0,1", "X": "a/b"}, "5"),
        "TEXT gives SPILL as a value: names and values have changed places",
        "a value holds the delimiter; take it out of the experiment's texts and export again",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_without_guessing_is_refused(case: str, tmp_path: Path) -> None:
    content, what, hint = REFUSED[case]
    assert refusal(tmp_path, content) == f"well.fcs: {what}" + (f"\nhint: {hint}" if hint else "")


def test_a_missing_file_is_named_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "P001").mkdir()
    with pytest.raises(FcsError) as refused:
        read_fcs(tmp_path / "P001" / "A01.fcs")
    assert str(refused.value) == "A01.fcs: no such file in P001/"


def test_a_copy_cut_anywhere_is_never_read(tmp_path: Path) -> None:
    for length in range(len(GOOD)):
        refusal(tmp_path, GOOD[:length])
