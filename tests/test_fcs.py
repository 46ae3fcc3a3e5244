"""The reader of FCS files against bytes laid out by hand; the writer against two other readers.

Files are built here with `struct` alone, so that a fault shared by our reader and our writer cannot hide.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aqp4flow.errors import FcsError, InputError
from aqp4flow.fcs import FcsFile, fcs_bytes, read_fcs, well_of
from aqp4flow.model import Channel, Spillover

HEADER = 58
LITTLE, BIG = "1,2,3,4", "4,3,2,1"
Keywords = Mapping[str, str | None]  # None takes a keyword out


def described(names: Sequence[str], bits: int = 32, kind: str = "F", top: int = 262144, **more: str) -> Keywords:
    """Keywords of a layout; `more` as P1G='2' adds $P1G."""
    keywords = {"$PAR": str(len(names)), "$DATATYPE": kind, "$BYTEORD": LITTLE, "$MODE": "L", "$NEXTDATA": "0"}
    for number, name in enumerate(names, 1):
        keywords |= {f"$P{number}N": name, f"$P{number}B": str(bits), f"$P{number}R": str(top), f"$P{number}E": "0,0"}
    return keywords | {f"${key}": value for key, value in more.items()}


def built(
    data: bytes,
    keywords: Keywords,
    total: str | None,
    *,
    delimiter: str = "/",
    encoding: str = "utf-8",
    version: str = "FCS3.0",
    header: tuple[int, int] | None = (0, 0),
    text: tuple[int, int] | None = (0, 0),
) -> bytes:
    """HEADER, TEXT and DATA one after the other; `header` and `text` shift the offsets they name (None: 0)."""

    def segment(begin: int) -> bytes:
        first, last = (begin + text[0], begin + len(data) - 1 + text[1]) if text else (0, 0)
        pairs = {"$BEGINDATA": f"{first:08d}", "$ENDDATA": f"{last:08d}", "$TOT": total, **keywords}
        body = "".join(f"{key}{delimiter}{value}{delimiter}" for key, value in pairs.items() if value is not None)
        return (delimiter + body).encode(encoding)

    begin = HEADER + len(segment(0))
    named = (begin + header[0], begin + len(data) - 1 + header[1]) if header else (0, 0)
    offsets = (HEADER, begin - 1, *named, 0, 0)
    return (version + "    " + "".join(f"{n:8d}" for n in offsets)).encode() + segment(begin) + data


def read(folder: Path, content: bytes, name: str = "well.fcs") -> FcsFile:
    (folder / name).write_bytes(content)
    return read_fcs(folder / name)


def refusal(folder: Path, content: bytes, name: str = "well.fcs") -> str:
    """What a person reads when the file is refused."""
    with pytest.raises(FcsError) as refused:
        read(folder, content, name)
    return str(refused.value)


def codes(file: FcsFile) -> list[str]:
    return [repair.code for repair in file.repairs]


def floats(*rows: Sequence[float], order: str = "<", letter: str = "f") -> bytes:
    return b"".join(struct.pack(f"{order}{len(row)}{letter}", *row) for row in rows)


def integers(rows: Sequence[Sequence[int]], widths: Sequence[int], order: str) -> bytes:
    end = "little" if order == LITTLE else "big"
    return b"".join(value.to_bytes(width, end) for row in rows for value, width in zip(row, widths, strict=True))


TWO = described(["A", "B"])
EVENTS = [(1.0, -2.0), (3.5, 4.25), (5.0, 6.0), (7.0, 8.0), (9.0, 10.0)]
DATA = floats(*EVENTS)
GOOD = built(DATA, TWO, "5")


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


def test_ten_bits_stand_in_words_of_sixteen(tmp_path: Path) -> None:
    file = read(tmp_path, built(integers([[1023], [4]], [2], LITTLE), described(["A"], 10, "I", 1024), "2"))
    assert file.raw.tolist() == [[1023], [4]]
    assert codes(file) == ["bits-rounded-up"]


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


@pytest.mark.parametrize(("gain", "wanted"), [("2", 3.0), ("0", 6.0), ("0,5", 12.0), ("1.0", 6.0), ("", 6.0)])
def test_gain_is_divided_out(gain: str, wanted: float, tmp_path: Path) -> None:
    file = read(tmp_path, built(floats((6.0,)), described(["A"], P1G=gain or "none"), "1"))
    assert file.events.column("A").tolist() == [wanted]
    assert file.raw.tolist() == [[6.0]]


@pytest.mark.parametrize(
    ("name", "timestep", "wanted", "said"),
    [
        ("Time", "0.01", 2.5, []),
        ("TIME", "0,01", 2.5, []),
        ("HDR-T", "0.5", 125.0, []),
        ("Time", None, 250.0, []),
        ("Time", "xxxxxxxxx", 250.0, ["timestep-unreadable"]),
        ("Time", "-1", 250.0, ["timestep-unreadable"]),
    ],
)
def test_time_follows_its_step_and_not_its_gain(
    name: str, timestep: str | None, wanted: float, said: list[str], tmp_path: Path
) -> None:
    keywords = {**described([name], P1G="0.01"), "$TIMESTEP": timestep}
    file = read(tmp_path, built(floats((250.0,)), keywords, "1"))
    assert file.events.column(name).tolist() == [wanted]
    assert codes(file) == said


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


def test_a_missing_total_follows_from_the_length(tmp_path: Path) -> None:
    file = read(tmp_path, built(DATA, TWO, None, version="FCS2.0", text=None))
    assert (file.version, file.n_events, codes(file)) == ("FCS2.0", 5, ["tot-derived"])
    assert file.raw.tolist() == [list(row) for row in EVENTS]


def test_no_events_are_no_failure(tmp_path: Path) -> None:
    file = read(tmp_path, built(b"", TWO, "0"))
    assert file.n_events == 0
    assert file.raw.shape == file.events.values.shape == (0, 2)
    assert file.events.column("A").shape == (0,)
    assert codes(file) == ["no-events"]


def test_a_second_data_set_is_mentioned_and_left_alone(tmp_path: Path) -> None:
    keywords = {**TWO, "$NEXTDATA": str(len(GOOD))}
    file = read(tmp_path, built(DATA, keywords, "5") + GOOD)
    assert (file.n_events, file.n_datasets, codes(file)) == (5, 2, ["more-data-sets"])


def test_one_event_of_zeros_at_the_end_is_data(tmp_path: Path) -> None:
    file = read(tmp_path, built(floats(*EVENTS, (0.0, 0.0)), TWO, "6"))
    assert file.raw[-1].tolist() == [0.0, 0.0]


# --- TEXT -----------------------------------------------------------------------------------------


def test_keywords_may_be_padded_and_in_small_letters(tmp_path: Path) -> None:
    keywords = {f"   {key.lower()} ": value for key, value in TWO.items()}
    file = read(tmp_path, built(DATA, keywords, "5"))
    assert [channel.name for channel in file.channels] == ["A", "B"]
    assert file.repairs == ()


@pytest.mark.parametrize("delimiter", ["/", "|", "\\", "\f", "!"])
def test_a_doubled_delimiter_is_one_character_of_a_value(delimiter: str, tmp_path: Path) -> None:
    twice = delimiter * 2
    file = read(tmp_path, built(DATA, {**TWO, "PATH": f"C{twice}D{twice}x"}, "5", delimiter=delimiter))
    assert file.keywords["PATH"] == f"C{delimiter}D{delimiter}x"
    assert file.repairs == ()


@pytest.mark.parametrize("last", ["$OP", "CELLS"])
def test_empty_values_written_as_doubled_delimiters_are_read(last: str, tmp_path: Path) -> None:
    keywords = {"$COM": "", **TWO, "EXPORT": "now", last: ""}
    file = read(tmp_path, built(DATA, keywords, "5"))
    assert (file.keywords["$COM"], file.keywords[last], file.keywords["EXPORT"]) == ("", "", "now")
    assert file.raw.tolist() == [list(row) for row in EVENTS]
    assert codes(file) == ["text-empty-values"]


def test_text_that_is_not_utf8_is_latin1_and_said(tmp_path: Path) -> None:
    file = read(tmp_path, built(DATA, {**TWO, "$OP": "Zoë µ"}, "5", encoding="latin-1"))
    assert file.keywords["$OP"] == "Zoë µ"
    assert codes(file) == ["text-latin-1"]


def test_text_in_utf8_keeps_its_letters(tmp_path: Path) -> None:
    file = read(tmp_path, built(DATA, {**TWO, "$OP": "山田 µ"}, "5"))
    assert file.keywords["$OP"] == "山田 µ"
    assert file.repairs == ()


def test_text_may_end_without_a_delimiter(tmp_path: Path) -> None:
    content = built(DATA, {**TWO, "LAST": "x"}, "5")
    at = content.index(b"LAST/x/") + len(b"LAST/x")
    file = read(tmp_path, content[:at] + b" " + content[at + 1 :])
    assert file.keywords["LAST"].strip() == "x"
    assert file.n_events == 5


def test_a_keyword_that_stands_twice_keeps_its_first_value(tmp_path: Path) -> None:
    file = read(tmp_path, built(DATA, {**TWO, "note": "first", "NOTE": "second"}, "5"))
    assert file.keywords["NOTE"] == "first"
    assert codes(file) == ["keyword-twice"]


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


# --- spillover ------------------------------------------------------------------------------------

STAINED = described(["FITC-A", "PE-A"], P1S="GFP", P2S="IgG")


@pytest.mark.parametrize("keyword", ["$SPILLOVER", "SPILL", "SPILLOVER"])
@pytest.mark.parametrize("names", ["FITC-A,PE-A", "GFP,IgG", "Comp-FITC-A,Comp-PE-A", "Comp-GFP, PE-A", "1,2"])
def test_spillover_names_are_resolved_to_channels(names: str, keyword: str, tmp_path: Path) -> None:
    file = read(tmp_path, built(DATA, {**STAINED, keyword: f"2,{names},1,0.1,0.25,1"}, "5"))
    assert file.spillover is not None
    assert file.spillover.channels == ("FITC-A", "PE-A")
    assert file.spillover.matrix.tolist() == [[1.0, 0.1], [0.25, 1.0]]
    assert file.spillover.source == keyword
    assert file.repairs == ()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("2,FITC-A,PE-A,1,0.1,0.25", "2 channels need 4 numbers, it has 3"),
        ("2,FITC-A,PE-A,1,0.1,0.25,1,0", "2 channels need 4 numbers, it has 5"),
        ("3,FITC-A,PE-A,1,0.1,0.25,1", "3 channels need 9 numbers, it has 3"),
        ("2,FITC-A,PE-A,1,1,1,1", "the matrix is singular or nearly so"),
        ("2,FITC-A,PE-A,1,nan,0,1", "the matrix is singular or nearly so"),
        ("2,FITC-A,PE-A,1,x,0,1", "it holds something that is not a number"),
        ("2,FITC-A,APC-A,1,0,0,1", "'APC-A' is not a channel; the file has FITC-A, PE-A"),
        ("2,FITC-A,3,1,0,0,1", "'3' is not a channel; the file has FITC-A, PE-A"),
        ("2,FITC-A,GFP,1,0,0,1", "it names a channel twice"),
        ("0", "it begins with '0', not with a number of channels"),
    ],
)
def test_a_matrix_that_cannot_be_used_is_none_and_says_why(text: str, problem: str, tmp_path: Path) -> None:
    file = read(tmp_path, built(DATA, {**STAINED, "SPILL": text}, "5"))
    assert file.spillover is None
    assert [(repair.code, repair.message) for repair in file.repairs] == [
        ("spillover-unusable", f"SPILL cannot be used: {problem}")
    ]


@pytest.mark.parametrize(("off", "identity"), [("0", True), ("0.000001", True), ("0.001", False)])
def test_a_placeholder_matrix_is_known_as_identity(off: str, identity: bool, tmp_path: Path) -> None:
    file = read(tmp_path, built(DATA, {**STAINED, "SPILL": f"2,FITC-A,PE-A,1,{off},0,1"}, "5"))
    assert file.spillover is not None
    assert file.spillover.is_identity is identity


# --- wells ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "well"),
    [
        ("Specimen_001_A1_A01.fcs", "A01"),
        ("Specimen_001_B12_B12_012.fcs", "B12"),
        ("Specimen_001_a1_a01_003.FCS", "A01"),
        ("2024-05-01_Well_C3.0001.fcs", "C03"),
        ("serum_Well_H12.fcs", "H12"),
        ("run.D07", "D07"),
        ("E5 patient 3.fcs", "E05"),
        ("P24.fcs", "P24"),
        ("plate-G03.fcs", "G03"),
        ("C10.lmd", "C10"),
        ("tube_001.fcs", None),
        ("Q01.fcs", None),
        ("A25.fcs", None),
        ("A00.fcs", None),
        ("B7b.fcs", None),
    ],
)
def test_the_well_is_read_from_the_file_name(name: str, well: str | None) -> None:
    assert well_of({}, name) == well


@pytest.mark.parametrize(
    ("keywords", "well"),
    [
        ({"WELL ID": "b7", "$WELLID": "C1", "$SRC": "D1"}, "B07"),
        ({"$WELLID": "C01", "BDPM$WELL": "E1"}, "C01"),
        ({"BDPM$WELL": "E1", "$SRC": "D1"}, "E01"),
        ({"$SRC": " D1 "}, "D01"),
        ({"$SRC": "patient 3"}, "A01"),  # not a well: the file's name speaks
        ({"WELL ID": "A25"}, "A01"),
    ],
)
def test_keywords_come_before_the_file_name(keywords: dict[str, str], well: str) -> None:
    assert well_of(keywords, "A01.fcs") == well


def test_a_file_says_its_well_and_plate(tmp_path: Path) -> None:
    file = read(tmp_path, built(DATA, {**TWO, "WELL ID": "H2", "plate name": " P7 "}, "5"), "A01.fcs")
    assert (file.well, file.plate) == ("H02", "P7")


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
    "total too low": (
        built(DATA, TWO, "4"),
        "DATA has 40 bytes, $TOT x event width is 4 x 8 = 32",
        "the file contradicts itself; export it again",
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
    "ASCII": (
        built(DATA, {**TWO, "$DATATYPE": "A"}, "5"),
        "$DATATYPE is 'A'; I, F and D can be read",
        "export as FCS 3.1, list mode",
    ),
    "histograms": (
        built(DATA, {**TWO, "$MODE": "U"}, "5"),
        "$MODE is 'U': histograms, not events",
        "export in list mode",
    ),
    "types differ": (
        built(DATA, {**TWO, "$P2DATATYPE": "I"}, "5", version="FCS3.2"),
        "channels of different data types ($PnDATATYPE)",
        "export as FCS 3.1",
    ),
    "byte order": (
        built(DATA, {**TWO, "$BYTEORD": "3,4,1,2"}, "5"),
        "$BYTEORD is '3,4,1,2'",
        "export as FCS 3.1 (byte order 1,2,3,4 or 4,3,2,1)",
    ),
    "floats of 16 bits": (built(DATA, {**TWO, "$P1B": "16"}, "5"), "$P1B is 16; $DATATYPE F has 32 bits", ""),
    "integers of 7 bits": (
        built(b"\1", described(["A"], 7, "I", 128), "1"),
        "$P1B is 7 bits",
        "export as FCS 3.1",
    ),
    "amplification": (
        built(DATA, {**TWO, "$P1E": "4"}, "5"),
        "$P1E is '4', not two numbers",
        AGAIN,
    ),
    "negative gain": (built(DATA, {**TWO, "$P2G": "-1"}, "5"), "$P2G is -1; a gain is above 0", AGAIN),
    "log without range": (
        built(b"\1\0", {**described(["A"], 16, "I", P1E="4,1"), "$P1R": None}, "1"),
        "$P1R is missing and $P1E needs it",
        AGAIN,
    ),
    "still being copied": (
        built(floats(*EVENTS[:4]) + bytes(4 * 8), TWO, "8"),
        "the last 4 of 8 events are nothing but zero bytes",
        "the file was still being copied; wait, then copy it again",
    ),
    "two totals": (
        built(DATA, {**TWO, "$tot": "4"}, "5"),
        "$TOT stands twice in TEXT: '5' and '4'",
        "",
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


# --- the writer -----------------------------------------------------------------------------------

CHANNELS = (
    Channel(1, "FSC-A", range=262144.0),
    Channel(2, "FITC-A", "GFP", voltage=450.0),
    Channel(3, "Time", range=1024.0),
)


def drawn(dtype: type[np.floating], n: int = 50) -> np.ndarray:
    values = np.random.default_rng(1).normal(0, 1e4, (n, 3)).astype(dtype)
    values[0] = [np.finfo(dtype).max, np.finfo(dtype).tiny, -0.0]
    return values


def by_flowio(path: Path) -> np.ndarray:
    import flowio

    return np.asarray(flowio.FlowData(io.BytesIO(path.read_bytes())).as_array(preprocess=False))


def by_fcsparser(path: Path) -> np.ndarray:
    import fcsparser

    return np.asarray(fcsparser.parse(str(path), dtype=None)[1].to_numpy())


def by_us(path: Path) -> np.ndarray:
    return read_fcs(path).raw


@pytest.mark.parametrize("reader", [by_us, by_flowio, by_fcsparser])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_written_is_read_back_to_the_last_digit(
    dtype: type[np.floating], reader: Callable[[Path], np.ndarray], tmp_path: Path
) -> None:
    values = drawn(dtype)
    path = tmp_path / "a.fcs"
    path.write_bytes(fcs_bytes(values, CHANNELS, {"$CYT": "test"}))
    assert np.array_equal(reader(path), values)


def test_names_stains_keywords_and_matrix_are_read_back(tmp_path: Path) -> None:
    channels = (Channel(1, "蛍光-A", "抗体 γ", range=1024.0, voltage=1.5), Channel(2, "PE-A"))
    spillover = Spillover(("蛍光-A", "PE-A"), np.array([[1.0, 1 / 3], [0.1, 1.0]]), "planted")
    keywords = {"PATH": "C|D||E", "ends": "x|", "WELL ID": "B7"}
    file = read(tmp_path, fcs_bytes(np.ones((2, 2)), channels, keywords, spillover))
    assert file.channels == tuple(replace(channel, bits=64) for channel in channels)
    assert {key: file.keywords[key.upper()] for key in ("PATH", "ends", "WELL ID")} == {
        "PATH": "C|D||E",
        "ends": "x|",
        "WELL ID": "B7",
    }
    assert file.well == "B07"
    assert file.spillover is not None
    assert file.spillover.same_as(spillover)


def test_a_well_without_events_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "a.fcs"
    path.write_bytes(fcs_bytes(np.empty((0, 3), np.float32), CHANNELS, {}))
    assert read_fcs(path).n_events == 0


def test_the_same_values_give_the_same_bytes() -> None:
    assert fcs_bytes(drawn(np.float32), CHANNELS, {"A": "b"}) == fcs_bytes(drawn(np.float32), CHANNELS, {"A": "b"})


@pytest.mark.parametrize(
    ("shape", "keywords", "what"),
    [
        ((2, 3), {"$TOT": "5"}, "keyword $TOT describes the layout and is set by the writer"),
        ((2, 3), {"$P1B": "16"}, "keyword $P1B describes the layout and is set by the writer"),
        ((2, 3), {"$OP": ""}, "keyword '$OP' has the value ''; FCS allows neither empty"),
        ((2, 3), {"": "x"}, "keyword '' has the value 'x'; FCS allows neither empty"),
        ((2, 2), {}, "3 channels for values of shape (2, 2)"),
        ((3,), {}, "3 channels for values of shape (3,)"),
    ],
)
def test_the_writer_refuses_what_would_not_be_read_back(
    shape: tuple[int, ...], keywords: dict[str, str], what: str
) -> None:
    with pytest.raises(InputError) as refused:
        fcs_bytes(np.ones(shape), CHANNELS, keywords)
    assert str(refused.value) == f"FCS writer: {what}"
