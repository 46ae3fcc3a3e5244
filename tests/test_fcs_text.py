"""TEXT that survives: encodings, delimiters, empty values, supplemental TEXT, ANALYSIS."""

from __future__ import annotations

from pathlib import Path

import pytest

from aqp4flow.errors import FcsError
from aqp4flow.fcs import FcsFile, read_fcs
from handmade import DATA, EVENTS, HEADER, TWO, built, codes, read, refusal

# --- encodings ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "delimiter"),
    [
        ("ポジコン", "|"),  # the second byte of ポ is 0x7C
        ("表面抗体 ソース", "\\"),  # 表 and ソ end in 0x5C
        ("血清1:40 患者A", "/"),
        ("ネガティブ", "!"),
        ("ｺﾝﾄﾛｰﾙ", "/"),  # half-width: a byte a character
        ("検体", "\f"),
        ("10 μm α β", "/"),
        ("37℃", "/"),
        ("①②③", "|"),
        ("A株", "/"),
        ("ＡＱＰ４", "!"),
        ("患者№3", "/"),
    ],
)
def test_japanese_windows_text_comes_back_whole(words: str, delimiter: str, tmp_path: Path) -> None:
    """cp932, even where the second byte of a character is the delimiter."""
    keywords = {**TWO, "$SRC": words, "EXPORT": "now"}
    file = read(tmp_path, built(DATA, keywords, "5", delimiter=delimiter, encoding="cp932"))
    assert (file.keywords["$SRC"], file.keywords["EXPORT"]) == (words, "now")
    assert file.raw.tolist() == [list(row) for row in EVENTS]
    assert codes(file) == ["text-cp932"]


@pytest.mark.parametrize(
    "words", ["Zoë µ", "Müller", "Größe 5 µm²", "naïve café", "T cells (37 °C)", "±5 %", "Åse Ø", "5 µg mL"]
)
def test_western_text_is_not_taken_for_japanese(words: str, tmp_path: Path) -> None:
    """Many of these bytes are valid cp932 too; what they would say is not Japanese."""
    file = read(tmp_path, built(DATA, {**TWO, "$OP": words}, "5", encoding="latin-1"))
    assert file.keywords["$OP"] == words
    assert codes(file) == ["text-latin-1"]


@pytest.mark.parametrize("words", ["山田 µ", "ポジコン", "Zoë"])
def test_text_in_utf8_keeps_its_letters(words: str, tmp_path: Path) -> None:
    file = read(tmp_path, built(DATA, {**TWO, "$OP": words}, "5"))
    assert file.keywords["$OP"] == words
    assert file.repairs == ()


@pytest.mark.parametrize("words", ["anti\x96human", "\x93quoted\x94", "don\x92t", "100 \x80"])
def test_windows_punctuation_is_not_taken_for_japanese(words: str, tmp_path: Path) -> None:
    """Dashes, quotation marks and the euro of Windows lie where cp932 has the first bytes of kanji."""
    file = read(tmp_path, built(DATA, {**TWO, "$OP": words}, "5", encoding="latin-1"))
    assert file.keywords["$OP"] == words


def test_a_character_cut_by_a_field_of_fixed_length_does_not_change_the_rest(tmp_path: Path) -> None:
    """UTF-8 of which one character lost its last byte: the next delimiter is still one."""
    content = built(DATA, {**TWO, "$OP": "検体と血清", "K": "抗体", "L": "v"}, "5")
    whole = "抗体".encode()
    file = read(tmp_path, content.replace(whole + b"/L/v/", whole[:-1] + b"/L/vw/"))
    assert (file.keywords["$OP"], file.keywords["K"], file.keywords["L"]) == ("検体と血清", "抗\ufffd", "vw")
    assert codes(file) == ["text-utf-8-cut"]


def test_the_encoding_can_be_set(tmp_path: Path) -> None:
    """`µm` in Latin-1 is half-width katakana in cp932: only a person knows."""
    (tmp_path / "a.fcs").write_bytes(built(DATA, {**TWO, "$OP": "µ"}, "5", encoding="latin-1"))
    assert read_fcs(tmp_path / "a.fcs", encoding="cp932").keywords["$OP"] == "ｵ"
    assert read_fcs(tmp_path / "a.fcs", encoding="latin-1").keywords["$OP"] == "µ"
    with pytest.raises(FcsError) as refused:
        read_fcs(tmp_path / "a.fcs", encoding="utf-8")
    assert str(refused.value).startswith("a.fcs: TEXT is not utf-8: byte 0xb5 at ")


# --- delimiters -----------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", ["/", "|", "\\", "\f", "!", "\x1e", "*"])
def test_a_doubled_delimiter_is_one_character_of_a_value(delimiter: str, tmp_path: Path) -> None:
    twice = delimiter * 2
    keywords = {**TWO, "PATH": f"C{twice}D{twice}x", "ENDS": f"x{twice}", "BEGINS": f"{twice}x", "NEXT": "y"}
    file = read(tmp_path, built(DATA, keywords, "5", delimiter=delimiter))
    assert file.keywords["PATH"] == f"C{delimiter}D{delimiter}x"
    assert file.keywords["ENDS"] == f"x{delimiter}"
    assert file.keywords["BEGINS"] == f"{delimiter}x"
    assert file.keywords["NEXT"] == "y"
    assert file.repairs == ()


@pytest.mark.parametrize("last", ["$OP", "CELLS"])
def test_empty_values_written_as_doubled_delimiters_are_read(last: str, tmp_path: Path) -> None:
    keywords = {"$COM": "", **TWO, "EXPORT": "now", last: ""}
    file = read(tmp_path, built(DATA, keywords, "5"))
    assert (file.keywords["$COM"], file.keywords[last], file.keywords["EXPORT"]) == ("", "", "now")
    assert file.raw.tolist() == [list(row) for row in EVENTS]
    assert codes(file) == ["text-empty-values"]


def test_empty_and_escaped_values_side_by_side(tmp_path: Path) -> None:
    keywords = {"$COM": "", "$SRC": "", **TWO, "A": "PE//Cy7", "B": "", "C": "x"}
    file = read(tmp_path, built(DATA, keywords, "5"))
    assert [file.keywords[key] for key in ("$COM", "$SRC", "A", "B", "C")] == ["", "", "PE/Cy7", "", "x"]


def replaced(old: bytes, new: bytes) -> bytes:
    """A good file with some bytes of TEXT exchanged for as many others."""
    content = built(DATA, {**TWO, "LAST": "xy"}, "5")
    assert content.count(old) == 1
    assert len(old) == len(new)
    return content.replace(old, new)


@pytest.mark.parametrize("end", [b"LAST/xy ", b"LAST/x  ", b"LAST/x\0\0", b"LAST/xyz"])
def test_text_may_end_without_a_delimiter(end: bytes, tmp_path: Path) -> None:
    file = read(tmp_path, replaced(b"LAST/xy/", end))
    assert file.keywords["LAST"] == end[5:].decode().rstrip(" \0")
    assert codes(file) == ["text-unterminated"]


def test_a_last_keyword_without_a_value_is_said(tmp_path: Path) -> None:
    file = read(tmp_path, replaced(b"LAST/xy/", b"LAST___/"))
    assert "LAST___" not in file.keywords
    assert codes(file) == ["text-last-keyword-without-value"]


def test_blanks_after_the_last_delimiter_are_nothing_odd(tmp_path: Path) -> None:
    assert read(tmp_path, replaced(b"LAST/xy/", b"LAST/x/ ")).repairs == ()


def test_zeros_after_the_last_delimiter_are_nothing_odd(tmp_path: Path) -> None:
    """Room that a writer kept for more keywords."""
    content = built(DATA, {**TWO, "ROOM": "x" * 1000}, "5")
    kept = content.replace(b"ROOM/" + b"x" * 1000 + b"/", bytes(1006))
    file = read(tmp_path, kept)
    assert file.raw.tolist() == [list(row) for row in EVENTS]
    assert "ROOM" not in file.keywords
    assert file.repairs == ()


def test_a_text_whose_end_cuts_a_value_is_refused(tmp_path: Path) -> None:
    content = built(DATA, {**TWO, "SPILL": "2,A,B,1,0.1,0.25,1"}, "5")
    last = int(content[18:26])
    cut = content[:18] + f"{last - 6:8d}".encode() + content[26:]
    assert f"HEADER ends TEXT at byte {last - 6}, in the middle of a value" in refusal(tmp_path, cut)


@pytest.mark.parametrize("key", ["$P1N", "$P1S"])
def test_the_rest_of_a_name_that_stands_as_a_keyword_is_told(key: str, tmp_path: Path) -> None:
    """As 488/552nm PE (710/40): two delimiters that were not doubled."""
    split = {"$P1N": "A", "$P1S": "B", **TWO, key: "488/552nm PE (710/40)"}
    order = {name: split[name] for name in ("$P1N", "$P1S", "$P1B", *split)}
    file = read(tmp_path, built(DATA, order, "5"))
    assert file.keywords[key] == "488"
    assert codes(file) == ["text-value-split"]
    message = f"'552NM PE (710' follows {key}: its value may have held the delimiter and be longer"
    assert file.repairs[0].message == message


def test_vendors_keywords_among_the_channels_are_nothing_odd(tmp_path: Path) -> None:
    keywords: dict[str, str | None] = {}
    for key, value in {**TWO, "$P1S": "x", "$P2S": "y"}.items():
        keywords |= {key: value} if key not in ("$P1N", "$P1S") else {key: value, f"P1{key[3]}DISPLAY": "LOG"}
    assert read(tmp_path, built(DATA, keywords, "5")).repairs == ()


def test_a_tube_may_be_called_as_a_matrix_is(tmp_path: Path) -> None:
    file = read(tmp_path, built(DATA, {**TWO, "TUBE NAME": "Spill", "NEXT": "2"}, "5"))
    assert file.keywords["TUBE NAME"] == "Spill"
    assert file.repairs == ()


@pytest.mark.parametrize("names", [("note", "NOTE"), (" NOTE", "NOTE ")])
def test_a_keyword_that_stands_twice_keeps_its_first_value(names: tuple[str, str], tmp_path: Path) -> None:
    file = read(tmp_path, built(DATA, {**TWO, names[0]: "first", names[1]: "second"}, "5"))
    assert file.keywords["NOTE"] == "first"
    assert "keyword-twice" in codes(file)


@pytest.mark.parametrize(
    "key", ["$P1B", "$P2E", "$P1R", "$P1G", "$BYTEORD", "$PAR", "$DATATYPE", "$BEGINDATA", "SPILL", "WELL ID"]
)
def test_a_keyword_that_decides_must_not_stand_twice_with_two_values(key: str, tmp_path: Path) -> None:
    keywords = {**TWO, "$P1G": "1", "SPILL": "0", "WELL ID": "B7", key.lower(): "7"}
    assert f"{key} stands twice in TEXT" in refusal(tmp_path, built(DATA, keywords, "5"))


@pytest.mark.parametrize("first", [b"\0", b"\x7f", b"\xe3"])
def test_a_text_that_begins_with_no_delimiter_is_refused(first: bytes, tmp_path: Path) -> None:
    content = built(DATA, TWO, "5")
    content = content[:HEADER] + first + content[HEADER + 1 :]
    assert refusal(tmp_path, content) == (
        f"well.fcs: TEXT begins with byte {first[0]:#04x}, which cannot be its delimiter"
        "\nhint: the file is damaged; export or copy it again"
    )


# --- names of keywords ---------------------------------------------------------------------------


def test_keywords_may_be_padded_and_in_small_letters(tmp_path: Path) -> None:
    keywords = {f"   {key.lower()} ": value for key, value in TWO.items()}
    file = read(tmp_path, built(DATA, keywords, "5"))
    assert [channel.name for channel in file.channels] == ["A", "B"]
    assert codes(file) == ["text-padded-keywords"]


def test_keywords_in_small_letters_are_nothing_odd(tmp_path: Path) -> None:
    file = read(tmp_path, built(DATA, {key.lower(): value for key, value in TWO.items()}, "5"))
    assert [channel.name for channel in file.channels] == ["A", "B"]
    assert file.repairs == ()


# --- supplemental TEXT and ANALYSIS -----------------------------------------------------------------


def with_supplement(folder: Path, supplement: bytes, **keywords: str) -> FcsFile:
    """The supplement behind DATA, its place in TEXT at a fixed width."""
    places = {"$BEGINSTEXT": "0" * 8, "$ENDSTEXT": "0" * 8}
    plain = built(DATA, {**TWO, **places, **keywords}, "5")
    places = {"$BEGINSTEXT": f"{len(plain):08d}", "$ENDSTEXT": f"{len(plain) + len(supplement) - 1:08d}"}
    return read(folder, built(DATA, {**TWO, **places, **keywords}, "5") + supplement)


def test_supplemental_text_adds_keywords(tmp_path: Path) -> None:
    file = with_supplement(tmp_path, b"/$OP/A. Technician/$P1S/IgG/")
    assert file.keywords["$OP"] == "A. Technician"
    assert file.channels[0].stain == "IgG"
    assert file.repairs == ()


def test_supplemental_text_that_contradicts_is_not_believed(tmp_path: Path) -> None:
    file = with_supplement(tmp_path, b"/$CYT/Other/", **{"$CYT": "LSR"})
    assert file.keywords["$CYT"] == "LSR"
    assert [repair.message for repair in file.repairs] == [
        "supplemental TEXT gives $CYT another value; the primary one is kept"
    ]


@pytest.mark.parametrize("supplement", [b"no delimiter/x/y/z", b"/$OP/\0\0\0\0x/"])
def test_supplemental_text_that_is_none_is_left_out_and_said(supplement: bytes, tmp_path: Path) -> None:
    file = with_supplement(tmp_path, supplement)
    assert "$OP" not in file.keywords
    assert codes(file) == ["stext-unreadable"]


def with_analysis(folder: Path, analysis: bytes, shift: int = 0) -> FcsFile:
    plain = built(DATA, TWO, "5")
    place = f"{len(plain) + shift:8d}{len(plain) + shift + len(analysis) - 1:8d}".encode()
    return read(folder, plain[:42] + place + plain[58:] + analysis)


def test_analysis_is_read_beside_text(tmp_path: Path) -> None:
    file = with_analysis(tmp_path, b"/GATE1/120 events/")
    assert dict(file.analysis) == {"GATE1": "120 events"}
    assert file.repairs == ()


@pytest.mark.parametrize(("analysis", "shift"), [(b"/GATE1/120/", 90_000), (b"GATE1,120", 0)])
def test_an_analysis_that_is_none_is_left_out_and_said(analysis: bytes, shift: int, tmp_path: Path) -> None:
    file = with_analysis(tmp_path, analysis, shift)
    assert dict(file.analysis) == {}
    assert "analysis-unreadable" in codes(file)
    assert file.raw.tolist() == [list(row) for row in EVENTS]
