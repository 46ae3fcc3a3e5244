"""Spillover matrices in every form that writers use: resolved to channels, or refused with both lists shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aqp4flow.fcs import FcsFile
from handmade import DATA, built, described, floats, integers, read

STAINED = described(["FITC-A", "PE-A"], P1S="GFP", P2S="IgG")


def with_matrix(folder: Path, **keywords: str) -> FcsFile:
    return read(folder, built(DATA, {**STAINED, **keywords}, "5"))


def found(file: FcsFile) -> tuple[tuple[str, ...], list[list[float]], str]:
    assert file.spillover is not None
    return file.spillover.channels, file.spillover.matrix.tolist(), file.spillover.source


def said(file: FcsFile) -> list[tuple[str, str]]:
    return [(repair.code, repair.message) for repair in file.repairs]


@pytest.mark.parametrize("keyword", ["$SPILLOVER", "SPILL", "SPILLOVER", "spill"])
def test_a_matrix_is_read_row_by_row_under_every_name(keyword: str, tmp_path: Path) -> None:
    """Row = dye: the second number of the first row is FITC in the PE detector."""
    file = with_matrix(tmp_path, **{keyword: "2,FITC-A,PE-A,1,0.1,0.25,1"})
    assert found(file) == (("FITC-A", "PE-A"), [[1.0, 0.1], [0.25, 1.0]], keyword.upper())
    assert file.repairs == ()


def test_a_number_that_is_a_stain_as_well_names_no_channel(tmp_path: Path) -> None:
    numbered = described(["FITC-A", "PE-A"], P2S="1")
    file = read(tmp_path, built(DATA, {**numbered, "SPILL": "2,1,2,1,0.1,0.25,1"}, "5"))
    assert file.spillover is None
    assert [code for code, _ in said(file)] == ["spillover-unusable"]


def test_a_comma_behind_the_last_coefficient_is_nothing_odd(tmp_path: Path) -> None:
    file = with_matrix(tmp_path, SPILL="2,FITC-A,PE-A,1,0.1,0.25,1,")
    assert found(file) == (("FITC-A", "PE-A"), [[1.0, 0.1], [0.25, 1.0]], "SPILL")


def test_more_detectors_than_any_cytometer_has_are_no_matrix(tmp_path: Path) -> None:
    file = with_matrix(tmp_path, **{f"$DFC{number}TO{number + 1}": "1" for number in range(1, 502)})
    assert file.spillover is None
    assert ("spillover-unusable", "$DFCmTOn cannot be used: it names 502 detectors") in said(file)


@pytest.mark.parametrize(
    ("names", "changed"),
    [
        ("GFP,IgG", "GFP is FITC-A, IgG is PE-A"),
        ("Comp-FITC-A,Comp-PE-A", "Comp-FITC-A is FITC-A, Comp-PE-A is PE-A"),
        ("Comp-GFP, PE-A", "Comp-GFP is FITC-A"),
        ("1,2", "1 is FITC-A, 2 is PE-A"),
        ("X1,X2", "X1 is FITC-A, X2 is PE-A"),
        ("fitc.a,PE A", "fitc.a is FITC-A, PE A is PE-A"),
    ],
)
def test_names_written_otherwise_are_resolved_and_said(names: str, changed: str, tmp_path: Path) -> None:
    file = with_matrix(tmp_path, SPILL=f"2,{names},1,0.1,0.25,1")
    assert found(file) == (("FITC-A", "PE-A"), [[1.0, 0.1], [0.25, 1.0]], "SPILL")
    assert said(file) == [("spillover-names-resolved", f"SPILL: {changed}")]


def test_a_name_comes_before_a_stain_of_the_same_words(tmp_path: Path) -> None:
    """A stain that is called as another detector's name must not take its place."""
    swapped = described(["FITC-A", "PE-A"], P1S="PE-A", P2S="FITC-A")
    file = read(tmp_path, built(DATA, {**swapped, "SPILL": "2,FITC-A,PE-A,1,0.1,0.25,1"}, "5"))
    assert found(file)[0] == ("FITC-A", "PE-A")
    assert file.repairs == ()


def test_the_order_of_the_matrix_is_kept(tmp_path: Path) -> None:
    file = with_matrix(tmp_path, SPILL="2,PE-A,FITC-A,1,0.25,0.1,1")
    assert found(file) == (("PE-A", "FITC-A"), [[1.0, 0.25], [0.1, 1.0]], "SPILL")


HAS = "the file has FITC-A, PE-A"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("2,FITC-A,PE-A,1,0.1,0.25", "2 channels need 4 numbers, it has 3"),
        ("2,FITC-A,PE-A,1,0.1,0.25,1,x", "2 channels need 4 numbers, it has 5"),
        ("2,FITC-A,PE-A,1,1,1,1", "the matrix is singular or nearly so"),
        ("2,FITC-A,PE-A,1,0.99999999,0.99999999,1", "the matrix is singular or nearly so"),
        ("2,FITC-A,PE-A,1,nan,0,1", "it holds a number that is not finite"),
        ("2,FITC-A,PE-A,1,inf,0,1", "it holds a number that is not finite"),
        ("2,FITC-A,PE-A,1,x,0,1", "'x' is not a number"),
        ("2,FITC-A,PE-A,1,1_0,0,1", "'1_0' is not a number"),
        ("2,FITC-A,PE-A,1,1e308,1e308,1", "it holds 1e+308: no dye spills that much"),
        ("2,FITC-A,PE-A,0,0,0,0", "FITC-A in its own detector is 0, not 1"),
        ("2,FITC-A,PE-A,1,0,0,0.9", "PE-A in its own detector is 0.9, not 1"),
        ("2,FITC-A,APC-A,1,0,0,1", f"it names 'APC-A'; {HAS}"),
        ("2,FITC-A,3,1,0,0,1", f"it names '3'; {HAS}"),
        ("2,FITC-A,GFP,1,0,0,1", "it names FITC-A twice"),
        ("FITC-A,PE-A", "it begins with 'FITC-A', not with a number of channels"),
        ("-2,FITC-A,PE-A,1,0,0,1", "it begins with '-2', not with a number of channels"),
    ],
)
def test_a_matrix_that_cannot_be_used_is_none_and_says_why(text: str, problem: str, tmp_path: Path) -> None:
    """The events stay readable; compensation with such a matrix is not possible."""
    file = with_matrix(tmp_path, SPILL=text)
    assert file.spillover is None
    assert said(file) == [("spillover-unusable", f"SPILL cannot be used: {problem}")]
    assert file.n_events == 5


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0", "it holds no channels"),
        ("2,FITC-A,PE-A", "it names channels and gives no numbers; as if there were none"),
        ("6,FITC-A", "it names channels and gives no numbers; as if there were none"),
    ],
)
def test_a_matrix_without_numbers_is_as_none_at_all(text: str, problem: str, tmp_path: Path) -> None:
    """MACSQuant writes names only."""
    file = with_matrix(tmp_path, **{"$SPILLOVER": text})
    assert file.spillover is None
    assert said(file) == [("spillover-empty", f"$SPILLOVER cannot be used: {problem}")]


def test_two_names_that_could_each_be_two_channels_are_refused(tmp_path: Path) -> None:
    twins = described(["FL1-A", "FL1.A"])
    file = read(tmp_path, built(DATA, {**twins, "SPILL": "2,FL1 A,FL1.A,1,0,0,1"}, "5"))
    assert said(file) == [("spillover-unusable", "SPILL cannot be used: it names 'FL1 A'; the file has FL1-A, FL1.A")]


def test_a_matrix_for_two_channels_of_one_name_is_refused(tmp_path: Path) -> None:
    twins = described(["FITC-A", "FITC-A"])
    file = read(tmp_path, built(DATA, {**twins, "SPILL": "2,1,2,1,0,0,1"}, "5"))
    assert file.spillover is None
    assert [code for code, _ in said(file)] == ["name-twice", "spillover-unusable"]


@pytest.mark.parametrize(("off", "identity"), [("0", True), ("0.000001", True), ("0.001", False)])
def test_a_placeholder_matrix_is_known_as_identity(off: str, identity: bool, tmp_path: Path) -> None:
    """SpectroFlo leaves 1e-6 in an identity matrix."""
    file = with_matrix(tmp_path, SPILL=f"2,FITC-A,PE-A,1,{off},0,1")
    assert file.spillover is not None
    assert file.spillover.is_identity is identity


# --- several keywords -----------------------------------------------------------------------------


def test_two_keywords_with_one_matrix_are_no_contradiction(tmp_path: Path) -> None:
    text = "2,FITC-A,PE-A,1,0.1,0.25,1"
    file = with_matrix(tmp_path, SPILL=text, **{"$SPILLOVER": text})
    assert found(file)[2] == "$SPILLOVER"
    assert file.repairs == ()


def test_the_order_of_channels_and_a_rounding_are_no_contradiction(tmp_path: Path) -> None:
    others = {"$SPILLOVER": "2,PE-A,FITC-A,1,0.25,0.10000001,1"}
    file = with_matrix(tmp_path, SPILL="2,FITC-A,PE-A,1,0.1,0.25,1", **others)
    assert found(file)[2] == "$SPILLOVER"
    assert file.repairs == ()


def test_names_that_part_in_a_sign_or_a_letter_are_not_taken_for_one_another(tmp_path: Path) -> None:
    for name, other in (("CD3-", "CD3+"), ("βGFP", "αGFP")):
        file = read(tmp_path, built(DATA, {**described([name, "PE-A"]), "SPILL": f"2,{other},PE-A,1,0,0,1"}, "5"))
        assert said(file) == [
            ("spillover-unusable", f"SPILL cannot be used: it names '{other}'; the file has {name}, PE-A")
        ]


def test_two_keywords_with_two_matrices_are_refused(tmp_path: Path) -> None:
    file = with_matrix(tmp_path, SPILL="2,FITC-A,PE-A,1,0.2,0,1", **{"$SPILLOVER": "2,FITC-A,PE-A,1,0.1,0,1"})
    assert file.spillover is None
    assert said(file) == [
        ("spillover-unusable", "$SPILLOVER and SPILL hold different matrices; neither is used"),
    ]


def test_an_empty_keyword_leaves_the_other_one_in_force(tmp_path: Path) -> None:
    file = with_matrix(tmp_path, SPILL="2,FITC-A,PE-A,1,0.2,0,1", **{"$SPILLOVER": "2,FITC-A,PE-A"})
    assert found(file) == (("FITC-A", "PE-A"), [[1.0, 0.2], [0.0, 1.0]], "SPILL")
    assert [code for code, _ in said(file)] == ["spillover-empty"]


# --- decimal commas -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "matrix"),
    [
        ("2,1,2,1,000,0,100,0,250,1,000", [[1.0, 0.1], [0.25, 1.0]]),  # all with decimals, as Accuri writes them
        ("2,FITC-A,PE-A,1,0,0,95,0,0,1,0", [[1.0, 0.95], [0.0, 1.0]]),
        ("2,FITC-A,PE-A,1,0,-0,03,0,01,1,0", [[1.0, -0.03], [0.01, 1.0]]),
    ],
)
def test_decimal_commas_are_put_together_where_only_one_way_fits(
    text: str, matrix: list[list[float]], tmp_path: Path
) -> None:
    file = with_matrix(tmp_path, SPILL=text)
    assert file.spillover is not None
    assert np.allclose(file.spillover.matrix, matrix, rtol=0, atol=1e-12)
    assert "spillover-decimal-commas" in [code for code, _ in said(file)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        # 1 0.95 0 1 or 1 0 95.0 1: the text does not say
        ("2,FITC-A,PE-A,1,0,95,0,1", "5 parts for 4 numbers: more than one of the ways to join decimal commas fits"),
        ("2,FITC-A,PE-A,2,5,95,3,1", "5 parts for 4 numbers: none of the ways to join decimal commas fits"),
        ("2,FITC-A,PE-A,1,0,0,0,0,0,0,0,1", "2 channels need 4 numbers, it has 9"),
    ],
)
def test_decimal_commas_that_leave_a_doubt_are_refused(text: str, problem: str, tmp_path: Path) -> None:
    file = with_matrix(tmp_path, SPILL=text)
    assert said(file) == [("spillover-unusable", f"SPILL cannot be used: {problem}")]


# --- older keywords -------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["2,1,0.1,0.25,1", "2,100,10,25,100"])
def test_the_matrix_of_fcs_3_0_stands_for_all_channels_in_order(text: str, tmp_path: Path) -> None:
    file = with_matrix(tmp_path, **{"$COMP": text})
    assert found(file) == (("FITC-A", "PE-A"), [[1.0, 0.1], [0.25, 1.0]], "$COMP")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("3,1,0,0,0,1,0,0,0,1", "it is for '3' channels, the file has 2"),
        ("2,1,-0.1,0,1", "it holds numbers below 0, as the inverse of a spillover matrix does"),
        ("2,1,0.1,0", "2 channels need 4 numbers, it has 3"),
    ],
)
def test_the_matrix_of_fcs_3_0_is_refused_where_it_does_not_fit(text: str, problem: str, tmp_path: Path) -> None:
    file = with_matrix(tmp_path, **{"$COMP": text})
    assert said(file) == [("spillover-unusable", f"$COMP cannot be used: {problem}")]


def test_percentages_set_at_the_cytometer_become_a_matrix_that_says_so(tmp_path: Path) -> None:
    """$DFC1TO2 = 20: a fifth of FL1 was taken from FL2."""
    keywords = described(["FS", "FL1 Log", "FL2 Log"], bits=16, kind="I", top=1024)
    data = integers([[1, 2, 3]], [2, 2, 2], "1,2,3,4")
    file = read(tmp_path, built(data, {**keywords, "$DFC1TO2": "20.0", "$DFC2TO1": "0.5", "$DFC1TO1": "0"}, "1"))
    assert found(file) == (("FL1 Log", "FL2 Log"), [[1.0, 0.2], [0.005, 1.0]], "$DFCmTOn")
    assert [code for code, _ in said(file)] == ["spillover-from-percent"]


@pytest.mark.parametrize(
    ("percents", "problem"),
    [
        ({"$DFC1TO2": "0", "$DFC2TO1": "0"}, "all its percentages are 0; as if there were none"),
        ({"$DFC1TO2": "x"}, "$DFC1TO2 is 'x', not a percentage"),
        ({"$DFC1TO2": "0", "$DFC" + "9" * 5000 + "TO2": "5"}, "all its percentages are 0; as if there were none"),
        ({"$DFC1TO7": "5"}, "detector 7 is not one channel of the file, which has FL1, FL2"),
    ],
)
def test_percentages_that_cannot_be_used_are_refused(percents: dict[str, str], problem: str, tmp_path: Path) -> None:
    file = read(tmp_path, built(floats((1.0, 2.0)), {**described(["FL1", "FL2"]), **percents}, "1"))
    assert file.spillover is None
    assert [message for _, message in said(file)] == [f"$DFCmTOn cannot be used: {problem}"]


def test_a_large_matrix_is_read_at_once(tmp_path: Path) -> None:
    """40 detectors with decimal commas in every number."""
    n = 40
    names = [f"D{i}-A" for i in range(n)]
    numbers = ",".join("1,00" if i == j else f"0,{(i * 7 + j) % 90 + 10}" for i in range(n) for j in range(n))
    row = tuple(float(i) for i in range(n))
    file = read(tmp_path, built(floats(row), {**described(names), "SPILL": f"{n},{','.join(names)},{numbers}"}, "1"))
    assert file.spillover is not None
    assert file.spillover.matrix[3, 5] == (3 * 7 + 5) % 90 / 100 + 0.1
