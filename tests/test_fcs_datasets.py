"""Several data sets in one file, and which of them is measured."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from aqp4flow.errors import FcsError
from aqp4flow.fcs import read_datasets, read_fcs
from aqp4flow.fcs.completeness import State, completeness
from handmade import DATA, EVENTS, GOOD, LITTLE, TWO, built, codes, described, floats, integers


def announced(further: Sequence[bytes], *, absolute: bool = False) -> bytes:
    """A good data set, then further ones, each with its $NEXTDATA filled in at a fixed width."""
    sets = [built(DATA, {**TWO, "$NEXTDATA": "0" * 8}, "5"), *further]
    begin, whole = 0, b""
    for i, content in enumerate(sets):
        last = i == len(sets) - 1
        following = begin + len(content)
        place = 0 if last else following if absolute else len(content)
        whole += content.replace(b"$NEXTDATA/00000000", f"$NEXTDATA/{place:08d}".encode())
        begin = following
    return whole


SECOND = built(floats((11.0, 12.0), (13.0, 14.0)), {**TWO, "$NEXTDATA": "0" * 8, "$CYT": "other"}, "2")
THIRD = built(floats((21.0, 22.0)), {**TWO, "$NEXTDATA": "0" * 8}, "1")


@pytest.mark.parametrize("absolute", [False, True])
def test_every_data_set_is_read(absolute: bool, tmp_path: Path) -> None:
    """$NEXTDATA counts from the set's own first byte, though some writers count from the file's."""
    path = tmp_path / "many.fcs"
    path.write_bytes(announced([SECOND, THIRD], absolute=absolute))
    sets = read_datasets(path)
    assert [file.raw.tolist() for file in sets] == [
        [list(row) for row in EVENTS],
        [[11.0, 12.0], [13.0, 14.0]],
        [[21.0, 22.0]],
    ]
    assert [(file.dataset, file.n_datasets) for file in sets] == [(1, 3), (2, 3), (3, 3)]
    assert [codes(file) for file in sets] == [["more-data-sets"]] * 3


def test_sets_of_one_length_are_not_passed_over(tmp_path: Path) -> None:
    """Counted from the file's first byte, the third set's place is also twice the second's."""
    alike = [built(floats(*rows), {**TWO, "$NEXTDATA": "0" * 8}, "5") for rows in (EVENTS[::-1], EVENTS, EVENTS[::-1])]
    path = tmp_path / "many.fcs"
    path.write_bytes(announced(alike, absolute=True))
    assert [file.raw[0, 0] for file in read_datasets(path)] == [1.0, 9.0, 1.0, 9.0]


def test_one_data_set_can_be_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "many.fcs"
    path.write_bytes(announced([SECOND]))
    assert read_fcs(path).n_events == 5
    assert read_fcs(path, 2).raw.tolist() == [[11.0, 12.0], [13.0, 14.0]]
    assert read_fcs(path, 2).keywords["$CYT"] == "other"
    with pytest.raises(FcsError) as refused:
        read_fcs(path, 3)
    assert str(refused.value) == "many.fcs: no data set 3; the file has 2\nhint: count from 1"


@pytest.mark.parametrize(
    ("place", "problem"),
    [
        ("99999999", "$NEXTDATA is 99999999, beyond the end of the file"),
        ("00000070", "$NEXTDATA is 70, where no data set begins"),
        ("one more", "$NEXTDATA is 'one more', not a number"),
    ],
)
def test_a_data_set_that_is_not_there_is_said(place: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "one.fcs"
    path.write_bytes(built(DATA, {**TWO, "$NEXTDATA": place}, "5"))
    file = read_fcs(path)
    assert (file.n_datasets, codes(file)) == (1, ["next-data-set-missing"])
    assert file.repairs[0].message == f"{problem}; taken as the last data set"


def test_many_headers_of_one_text_are_not_gone_through(tmp_path: Path) -> None:
    """A header every 58 bytes, all naming the same TEXT: each byte is read for one data set only."""
    text = "/" + "".join(f"KEY{i}/{'x' * 90}/" for i in range(9000))
    pairs = {"$PAR": "1", "$DATATYPE": "F", "$BYTEORD": "1,2,3,4", "$P1B": "32", "$TOT": "0", "$NEXTDATA": "58"}
    pairs |= {"$P1N": "A", "$P1R": "1024", "$P1E": "0,0"}
    text += "".join(f"{key}/{value}/" for key, value in pairs.items())
    heads = [
        ("FCS3.0    " + "".join(f"{n:8d}" for n in (begin, begin + len(text) - 1, 0, 0, 0, 0))).encode()
        for begin in (58 * (1000 - i) for i in range(1000))
    ]
    path = tmp_path / "chain.fcs"
    path.write_bytes(b"".join(heads) + text.encode())
    before = time.process_time()
    file = read_fcs(path)
    assert completeness(path).state is State.COMPLETE
    assert time.process_time() - before < 5  # 45 s where each header's TEXT is read
    assert (file.n_datasets, codes(file)) == (1, ["no-events", "next-data-set-missing"])


def test_a_damaged_further_data_set_leaves_the_first_readable(tmp_path: Path) -> None:
    path = tmp_path / "half.fcs"
    path.write_bytes(announced([SECOND])[:-9])
    file = read_fcs(path)
    assert (file.n_events, file.n_datasets, codes(file)) == (5, 1, ["data-set-unreadable"])
    assert "data set 2: DATA holds 0 whole events of the 2" in file.repairs[0].message


def test_a_data_set_that_leads_back_to_itself_ends_the_walk(tmp_path: Path) -> None:
    path = tmp_path / "loop.fcs"
    path.write_bytes(built(DATA, {**TWO, "$NEXTDATA": "00000001", "$COM": "FCS3.0"}, "5"))
    assert read_fcs(path).n_datasets == 1


# --- Beckman Coulter LMD --------------------------------------------------------------------------

STORED = [(513, 512), (700, 1023)]
FINE = [(525_312, 1_000_000), (3, 1_048_575)]


def lmd(fine: bytes, names: Sequence[str] = ("FL1 LOG", "SS LIN"), **more: str) -> bytes:
    """One acquisition as FC500, Gallios and Navios store it: 10 bits and names first, then 20 bits, linear."""
    coarse = {
        **described(names, 16, "I", 1024, P1S="anti-IgG AF647", P1E="4.0,0.1024"),
        "$NEXTDATA": "0" * 8,
        "$CYT": "Navios",
        "$SMNO": "S 17",
        **{f"${key}": value for key, value in more.items()},
    }
    first = built(integers(STORED, [2, 2], LITTLE), coarse, "2", version="FCS2.0")
    return first.replace(b"$NEXTDATA/00000000", f"$NEXTDATA/{len(first):08d}".encode()) + fine


LINEAR = built(integers(FINE, [4, 4], LITTLE), described(["FL1-A", "SS-A"], 32, "I", 1 << 20), "2")


def test_an_lmd_file_is_measured_on_its_linear_set_with_the_names_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "a.LMD"
    path.write_bytes(lmd(LINEAR))
    file = read_fcs(path)
    assert file.raw.tolist() == [list(row) for row in FINE]
    assert [(c.name, c.stain, c.range) for c in file.channels] == [
        ("FL1-A", "anti-IgG AF647", float(1 << 20)),
        ("SS-A", "", float(1 << 20)),
    ]
    assert (file.dataset, file.keywords["$CYT"], file.keywords["$SMNO"]) == (2, "Navios", "S 17")
    assert file.keywords["$TOT"] == "2"
    assert codes(file) == ["more-data-sets", "linear-data-set"]


def test_the_first_set_of_an_lmd_file_can_still_be_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.LMD"
    path.write_bytes(lmd(LINEAR))
    file = read_fcs(path, 1)
    assert file.raw.tolist() == [list(row) for row in STORED]
    assert file.events.column("FL1 LOG")[0] == pytest.approx(0.1024 * 10 ** (4 * 513 / 1024))
    assert file.channels[0].stain == "anti-IgG AF647"


@pytest.mark.parametrize("missing", [5, 80, len(LINEAR)])
def test_an_lmd_file_without_its_linear_set_is_not_measured_on_the_other(missing: int, tmp_path: Path) -> None:
    """Other channels on another scale: that must not happen because a copy broke off."""
    path = tmp_path / "a.LMD"
    path.write_bytes(lmd(LINEAR)[:-missing])
    with pytest.raises(FcsError) as refused:
        read_fcs(path)
    assert str(refused.value).startswith("a.LMD: 10-bit values only; the linear ones were to follow: ")
    assert read_fcs(path, 1).raw.tolist() == [list(row) for row in STORED]


@pytest.mark.parametrize(
    "second",
    [
        pytest.param(built(floats(*FINE), described(["FL1-A", "SS-A"]), "2"), id="floats"),
        pytest.param(
            built(integers(STORED, [2, 2], LITTLE), described(["FL1-A", "SS-A"], 16, "I", 1024), "2"), id="as coarse"
        ),
        pytest.param(GOOD, id="another acquisition"),
    ],
)
def test_two_sets_that_are_not_one_acquisition_are_not_joined(second: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.LMD"
    path.write_bytes(lmd(second))
    file = read_fcs(path)
    assert (file.dataset, file.raw.tolist()) == (1, [list(row) for row in STORED])
    assert "coarse-data-set" in codes(file)
    assert "coarse-data-set" not in codes(read_fcs(path, 1))  # as asked


def test_linear_values_of_other_events_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.LMD"
    path.write_bytes(
        lmd(built(integers(FINE[:1], [4, 4], LITTLE), described(["FL1-A", "SS-A"], 32, "I", 1 << 20), "1"))
    )
    with pytest.raises(FcsError) as refused:
        read_fcs(path)
    assert str(refused.value) == (
        "a.LMD: 10-bit values of 2 events, and linear ones of 1: not one acquisition\n"
        "hint: export the file again, or ask for data set 1 or 2"
    )
    assert read_fcs(path, 1).raw.tolist() == [list(row) for row in STORED]
    assert read_fcs(path, 2).n_events == 1


def test_a_linear_channel_takes_the_stain_of_its_own_feature(tmp_path: Path) -> None:
    """FL1 has an area and a peak in the first set, each with a stain of its own."""
    path = tmp_path / "a.LMD"
    names = ("FL1 INT LOG", "FL1 PEAK LOG")
    linear = built(integers(FINE, [4, 4], LITTLE), described(["FL1-A", "FL1-H"], 32, "I", 1 << 20), "2")
    path.write_bytes(lmd(linear, names, P2S="peak"))
    assert [c.stain for c in read_fcs(path).channels] == ["anti-IgG AF647", "peak"]
