"""Gates of other programs on our events: ISAC's compliance set, FlowJo's counts, and our own gates by FlowKit."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aqp4flow.errors import InputError
from aqp4flow.exchange import apply_to_file, facts, membership_csv
from aqp4flow.fcs import linear, read_fcs
from handmade import SHARED, built, described, integers

ISAC = SHARED / "corpus" / "gatingml"
FLOWJO = SHARED / "corpus" / "flowjo"
GATE_FILES = sorted((ISAC / "gml").glob("*.xml"))
REFUSED = "gml_range_gate_attr_testing.xml"  # not valid by the schema, as its name says
needs_isac = pytest.mark.skipif(not GATE_FILES, reason="the compliance set is not beside the project")
needs_flowjo = pytest.mark.skipif(not FLOWJO.is_dir(), reason="the workspaces are not beside the project")


@needs_isac
@pytest.mark.parametrize("path", [path for path in GATE_FILES if path.name != REFUSED], ids=lambda path: path.stem)
def test_every_gate_of_the_compliance_set_holds_the_events_of_the_truth(path: Path) -> None:
    """Gating-ML 2.0: rectangles, polygons, ellipsoids, quadrants, booleans, matrices, every transformation."""
    found = apply_to_file(path, ISAC / "data1.fcs")
    with_truth = [one for one in found if (ISAC / "truth" / f"Results_{one.gate}.txt").is_file()]
    assert with_truth
    for one in with_truth:
        truth = np.loadtxt(ISAC / "truth" / f"Results_{one.gate}.txt").astype(bool)
        assert np.array_equal(one.mask, truth), one.gate


@needs_isac
def test_the_whole_truth_is_tried() -> None:
    tried = {one.gate for path in GATE_FILES if path.name != REFUSED for one in apply_to_file(path, ISAC / "data1.fcs")}
    truth = {path.stem.removeprefix("Results_") for path in (ISAC / "truth").glob("*.txt")}
    assert truth - tried == {"ParQuadRect"}  # no file of this set defines it


@needs_flowjo
@pytest.mark.parametrize(
    ("workspace", "file", "counts"),
    [
        ("single_ellipse_51_events.wsp", "data_set_simple_line_100.fcs", {"ellipse1": 51}),
        ("simple_poly_and_rect.wsp", "data_set_simple_line_100.fcs", {"poly1": 0, "rect1": 0}),
        ("simple_poly_and_rect_v2_poly50.wsp", "data_set_simple_line_100.fcs", {"poly1": 50, "rect1": 0}),
        ("test_data_diamond_asinh_rect.wsp", "test_data_diamond_01.fcs", {"upper_right": 50559}),
        ("test_data_diamond_biex_rect.wsp", "test_data_diamond_01.fcs", {"upper_right": 50605}),
        (
            "simple_diamond_example_quad_gate.wsp",
            "test_data_diamond_01.fcs",
            {
                "Q1: channel_A- , channel_B+": 49671,
                "Q2: channel_A+ , channel_B+": 50596,
                "Q3: channel_A+ , channel_B-": 50330,
                "Q4: channel_A- , channel_B-": 49403,
            },
        ),
    ],
)
def test_workspaces_give_the_counts_of_flowjo(workspace: str, file: str, counts: dict[str, int]) -> None:
    found = apply_to_file(FLOWJO / workspace, FLOWJO / file)
    assert {one.gate: one.count for one in found} == counts


@needs_flowjo
def test_a_workspace_that_does_not_know_the_file_says_so() -> None:
    with pytest.raises(InputError) as refused:
        apply_to_file(FLOWJO / "single_ellipse_51_events.wsp", FLOWJO / "test_data_diamond_01.fcs")
    assert str(refused.value) == (
        "single_ellipse_51_events.wsp: knows no sample called test_data_diamond_01.fcs"
        "\nhint: the sample is found by its file's name"
    )


def test_the_gates_of_a_run_mean_the_same_to_flowkit(
    study: Path, results: Path, tmp_path: Path, call: Callable, table: Callable
) -> None:
    """Exported, and applied to the original files by FlowKit: the counts of wells.csv, well by well."""
    out = tmp_path / "gates.xml"
    done = call("gates", "export", results, "--plate", "P001", "-o", out)
    assert done.returncode == 0, done.stderr
    rows = {row["file"]: row for row in table(results / "wells.csv") if row["plate"] == "P001"}
    for name in sorted(rows)[::17]:
        for one in apply_to_file(out, study / "plates" / "P001" / name):
            assert str(one.count) == rows[name][f"n_{one.gate}"], (name, one.gate)


def test_which_plate_is_asked_for_where_there_are_several(results: Path, tmp_path: Path, call: Callable) -> None:
    done = call("gates", "export", results, "-o", tmp_path / "gates.xml")
    assert done.returncode == 3
    assert "no gates of one plate" in done.stderr
    assert "one of its plates with --plate: P001, P004" in done.stderr
    assert not (tmp_path / "gates.xml").exists()


# --- the events that FlowKit is given -----------------------------------------------------------------


def test_flowkit_is_given_linear_values_whatever_the_file(tmp_path: Path) -> None:
    """24 bits, log amplification, gain, a time step: none of it is left to another reader."""
    keywords = {**described(["A", "B", "Time"], 24, "I", 1024, P1E="4,0", P2G="2"), "$TIMESTEP": "0.5"}
    (tmp_path / "a.fcs").write_bytes(built(integers([[512, 6, 4], [1023, 8, 9]], [3] * 3, "1,2,3,4"), keywords, "2"))
    (tmp_path / "linear.fcs").write_bytes(linear(read_fcs(tmp_path / "a.fcs")))
    file = read_fcs(tmp_path / "linear.fcs")
    assert file.raw[:, 0].tolist() == pytest.approx([100.0, 10 ** (4 * 1023 / 1024)])
    assert file.raw[:, 1:].tolist() == [[3.0, 2.0], [4.0, 4.5]]
    assert (file.keywords["$FIL"], file.repairs) == ("a.fcs", ())


RANGE = """<?xml version="1.0"?>
<gating:Gating-ML xmlns:gating="http://www.isac-net.org/std/Gating-ML/v2.0/gating"
    xmlns:data-type="http://www.isac-net.org/std/Gating-ML/v2.0/datatypes">
  <gating:RectangleGate gating:id="high">
    <gating:dimension gating:min="5" gating:compensation-ref="uncompensated">
      <data-type:fcs-dimension data-type:name="CHANNEL"/>
    </gating:dimension>
  </gating:RectangleGate>
  <gating:RectangleGate gating:id="none" gating:parent_id="high">
    <gating:dimension gating:min="1000" gating:compensation-ref="uncompensated">
      <data-type:fcs-dimension data-type:name="CHANNEL"/>
    </gating:dimension>
  </gating:RectangleGate>
  <gating:RectangleGate gating:id="under" gating:parent_id="none">
    <gating:dimension gating:min="0" gating:compensation-ref="uncompensated">
      <data-type:fcs-dimension data-type:name="CHANNEL"/>
    </gating:dimension>
  </gating:RectangleGate>
</gating:Gating-ML>
"""


@pytest.fixture
def few(tmp_path: Path) -> Path:
    """Four events of one channel: 2, 5, 9, 4."""
    path = tmp_path / "few.fcs"
    path.write_bytes(built(integers([[2], [5], [9], [4]], [2], "1,2,3,4"), described(["A"], 16, "I", 1024), "4"))
    (tmp_path / "gates.xml").write_text(RANGE.replace("CHANNEL", "A"))
    return path


def test_counts_and_percents_by_hand(few: Path) -> None:
    """Two of four; none of those two; of none no percent."""
    assert facts(apply_to_file(few.parent / "gates.xml", few)) == {
        "gates": [
            {"path": "/high", "count": 2, "percent_of_parent": 50.0},
            {"path": "/high/none", "count": 0, "percent_of_parent": 0.0},
            {"path": "/high/none/under", "count": 0, "percent_of_parent": None},
        ]
    }


def test_membership_is_a_row_an_event_and_a_column_a_gate(few: Path, tmp_path: Path, call: Callable) -> None:
    out = tmp_path / "membership.csv"
    done = call("gates", "apply", tmp_path / "gates.xml", few, "-o", out, "--json")
    assert json.loads(done.stdout)["gates"][0]["count"] == 2
    assert out.read_text() == "high,none,under\n0,0,0\n1,0,0\n1,0,0\n0,0,0\n"
    assert call("gates", "apply", tmp_path / "gates.xml", few, "-o", out).returncode == 3  # never overwritten


def test_names_with_commas_stay_one_column(few: Path) -> None:
    from dataclasses import replace

    (first, *_) = apply_to_file(few.parent / "gates.xml", few)
    odd = replace(first, gate='A+, "B"-', path=('A+, "B"-',))
    rows = list(csv.reader(io.StringIO(membership_csv([odd, first]).decode())))
    assert rows[0] == ['A+, "B"-', "high"]
    assert rows[1:] == [["0", "0"], ["1", "1"], ["1", "1"], ["0", "0"]]


def test_gates_of_one_name_are_told_apart_by_their_paths(few: Path) -> None:
    from dataclasses import replace

    (first, *_) = apply_to_file(few.parent / "gates.xml", few)
    other = replace(first, path=("cells", "high"))
    assert membership_csv([first, other]).splitlines()[0] == b"/high,/cells/high"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("not xml", "gates.xml: cannot be read: "),
        (RANGE.replace("CHANNEL", "FL9"), "gates.xml: cannot be applied to few.fcs: "),
    ],
)
def test_gates_that_do_not_fit_are_refused_in_words(content: str, what: str, few: Path, call: Callable) -> None:
    (few.parent / "gates.xml").write_text(content)
    done = call("gates", "apply", few.parent / "gates.xml", few)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(what)
    assert len(done.stderr.splitlines()) <= 4


def test_a_file_of_gates_that_is_not_there_is_named(few: Path, call: Callable) -> None:
    done = call("gates", "apply", few.parent / "nothing.xml", few)
    assert (done.returncode, done.stderr.splitlines()[0]) == (3, f"{few.parent / 'nothing.xml'}: no such file")
