"""Gates of other programs in a study: the populations are FlowKit's, event for event, or the study is refused."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aqp4flow.cytometry.gates import Columns, populations
from aqp4flow.cytometry.gatingml import write_gatingml
from aqp4flow.cytometry.interchange import apply_gates
from aqp4flow.errors import InputError
from aqp4flow.fcs import fcs_bytes, linear, read_fcs
from aqp4flow.gating import ForeignGates, OwnGates, read_gating
from aqp4flow.model import Channel, Check, Dimension, Ellipse, Gate, Polygon, Range, Reading, Rectangle, Spillover
from aqp4flow.run import load_study, run_study
from aqp4flow.wells import PlateWells, measure_plate
from handmade import SHARED
from workspace import Box, Sample, written

ISAC, FLOWJO = SHARED / "corpus" / "gatingml", SHARED / "corpus" / "flowjo"
needs_isac = pytest.mark.skipif(not ISAC.is_dir(), reason="the compliance set is not beside the project")
needs_flowjo = pytest.mark.skipif(not FLOWJO.is_dir(), reason="the workspaces are not beside the project")
SPACE = "http://www.isac-net.org/std/Gating-ML/v2.0/"
HEAD = (
    f'<gating:Gating-ML xmlns:gating="{SPACE}gating" xmlns:data-type="{SPACE}datatypes"'
    f' xmlns:transforms="{SPACE}transformations">'
)


def as_another_program(gates: Sequence[Gate]) -> str:
    """The document without the line that says a run of ours wrote it."""
    lines = write_gatingml(gates).splitlines()
    return "\n".join(line for line in lines if not line.startswith("<!--")) + "\n"


# --- our own code and FlowKit, event for event ----------------------------------------------------------

NAMES = ("A", "B")
CHANNELS = tuple(Channel(n, name) for n, name in enumerate(NAMES, 1))
steps = st.integers(-4, 12).map(lambda n: n * 0.75)  # few values, so that events meet edges and corners
singles = st.floats(-10, 10, width=32)
odd = st.sampled_from([math.inf, -math.inf, math.nan, 1e30, -1e30, 5e-324, -0.0])
values = steps | singles | odd
ends = st.none() | steps | singles
corners = st.tuples(steps | singles, steps | singles)
A, B = Dimension("A"), Dimension("B")
shapes = st.one_of(
    st.builds(Range, st.just("g"), st.none(), st.sampled_from([A, B]), ends, ends).filter(
        lambda g: (g.low, g.high) != (None, None)
    ),
    st.builds(
        Rectangle, st.just("g"), st.none(), st.just(A), st.just(B), st.tuples(steps, ends), st.tuples(ends, ends)
    ).filter(lambda g: (g.low[1], g.high[1]) != (None, None)),
    st.builds(
        Polygon, st.just("g"), st.none(), st.just(A), st.just(B), st.lists(corners, min_size=3, max_size=7).map(tuple)
    ),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(gate=shapes, below=shapes, events=st.lists(st.tuples(values, values), min_size=1, max_size=40))
def test_simple_gates_hold_the_events_that_flowkit_finds(
    gate: Gate, below: Gate, events: list[tuple[float, float]], tmp_path: Path
) -> None:
    """Random gates, one below the other, and random events, many of them exactly on an edge or a corner."""
    from dataclasses import replace

    gates = (gate, replace(below, name="below", parent="g"))
    if isinstance(gate, Polygon):  # corners, middles of edges
        ring = [*gate.vertices, gate.vertices[0]]
        events = events + ring + [((a + c) / 2, (b + d) / 2) for (a, b), (c, d) in pairwise(ring)]
    events = [*events, *((n + 0.25, -n - 0.5) for n in range(20))]  # zeros alone are a file that was never filled
    (tmp_path / "gates.xml").write_text(as_another_program(gates), encoding="utf-8")
    document = read_gating(tmp_path / "gates.xml", CHANNELS)
    assert isinstance(document.gates, tuple)
    (tmp_path / "a.fcs").write_bytes(fcs_bytes(np.array(events), CHANNELS, {}))
    file = read_fcs(tmp_path / "a.fcs")
    ours = populations(Columns(file.open_events(), None), document.gates)
    for one in apply_gates(tmp_path / "gates.xml", "a.fcs", linear(file)):
        assert ours[one.gate].tolist() == np.flatnonzero(one.mask).tolist(), one.gate


@pytest.mark.parametrize(
    "gate",
    [
        Range("g", None, Dimension("A", compensated=True), 1.0, 2.0),
        Rectangle("g", None, A, Dimension("B", compensated=True), (1.0, 1.0), (2.0, 2.0)),
        Ellipse("g", None, A, B, (1.0, 1.0), ((1.0, 0.0), (0.0, 1.0)), 1.0),
        Range("g", None, Dimension("stain of A"), 1.0, 2.0),
    ],
    ids=["compensated", "one axis compensated", "ellipse", "channel by its stain"],
)
def test_what_is_computed_on_the_way_is_left_to_flowkit(gate: Gate, tmp_path: Path) -> None:
    """The last bit of a compensated value or of a distance may fall otherwise; names by $PnS are FlowKit's affair."""
    (tmp_path / "gates.xml").write_text(as_another_program([gate]), encoding="utf-8")
    assert not isinstance(read_gating(tmp_path / "gates.xml", CHANNELS).gates, tuple)
    (tmp_path / "gates.xml").write_text(write_gatingml([gate]), encoding="utf-8")  # of a run: as the run meant them
    assert isinstance(read_gating(tmp_path / "gates.xml", CHANNELS).gates, tuple)


# --- a small study -------------------------------------------------------------------------------------

PLATE = tuple(
    Channel(n, name, stain)
    for n, (name, stain) in enumerate(
        [("FSC-A", ""), ("SSC-A", ""), ("GFP/A", "reporter"), ("PE-A", "IgG"), ("Time", "")], 1
    )
)
FILE_MATRIX = Spillover(("GFP/A", "PE-A"), np.array([[1.0, 0.3], [0.02, 1.0]]), "file")
WELLS = ("A01", "A02", "A03")
DEFINITION = """
[assay]
antigen = "AQP4-M23"
[channels]
reporter = "GFP/A"
signal = "PE-A"
[compensation]
source = "{compensation}"
[gating]
source = "{source}"
expressing = "{expressing}"
nonexpressing = "{nonexpressing}"
{more}
[fcs]
second_opinion = "off"
"""


def events_of(seed: int, n: int = 3000) -> np.ndarray:
    """Scatter, a reporter that half of the cells have, a signal that rises with it, spilled; time."""
    rng = np.random.default_rng(seed)
    on = rng.random(n) < 0.5
    true = np.column_stack([rng.normal(np.where(on, 5000, 100), 60, n), rng.normal(np.where(on, 900, 200), 90, n)])
    scatter = rng.uniform(0, 200_000, (n, 2))
    return np.column_stack([scatter, true @ FILE_MATRIX.matrix, np.arange(n) / 100]).astype(np.float32)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A plate of three wells, A01 to A03."""
    folder = tmp_path / "study" / "plates" / "P1"
    folder.mkdir(parents=True)
    lines = ["file,well,role,serum,dilution"]
    for number, (well, role) in enumerate(zip(WELLS, ("sample", "sample", "negative"), strict=True)):
        (folder / f"x_{well}.fcs").write_bytes(fcs_bytes(events_of(number), PLATE, {}, FILE_MATRIX))
        lines.append(f"x_{well}.fcs,{well},{role},{'N1' if role == 'negative' else 'S1'},{40 * 4**number}")
    (folder / "plate.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "study"


def define(study: Path, source: str, expressing: str, nonexpressing: str, more: str = "", how: str = "file") -> Path:
    text = DEFINITION.format(
        source=source, expressing=expressing, nonexpressing=nonexpressing, more=more, compensation=how
    )
    (study / "assay.toml").write_text(text)
    return study


def measured(study: Path) -> PlateWells:
    loaded = load_study(study)
    return measure_plate(loaded.plates[0], loaded.settings[0])


def check(wells: PlateWells, code: str) -> Check:
    return next(one for one in wells.checks if one.check == code)


def refusal(study: Path) -> str:
    """All that a person reads; the gates are refused before any number is made."""
    with pytest.raises(InputError) as refused:
        load_study(study)
    return "\n".join(str(one) for one in (refused.value, *refused.value.others))


def truth(number: int, matrix: np.ndarray, signal: np.ndarray | None = None) -> dict[str, float]:
    """Counts and medians of CELLS below, by hand: the gates through `matrix`, MFI through `signal`."""
    raw = events_of(number).astype(np.float64)
    gfp = np.linalg.solve(matrix.T, raw[:, 2:4].T)[0]
    pe = np.linalg.solve((matrix if signal is None else signal).T, raw[:, 2:4].T)[1]
    cells = (raw[:, 0] >= 20_000) & (raw[:, 0] < 180_000)
    on, off = cells & (gfp >= 2000), cells & (gfp < 2000)
    return {
        "cells": cells.sum(), "on": on.sum(), "off": off.sum(), "mfi": np.median(pe[on]), "dark": np.median(pe[off]),
    }  # fmt: skip


def agrees(reading: Reading, wanted: dict[str, float]) -> None:
    assert reading.counts["expressing"] == wanted["on"]
    assert reading.counts["nonexpressing"] == wanted["off"]
    assert reading.expressing.value == pytest.approx(wanted["mfi"], rel=1e-9)
    assert reading.nonexpressing.value == pytest.approx(wanted["dark"], rel=1e-9)


OWN = [[1.0, 0.25], [0.1, 1.0]]
CELLS = (
    Box(
        "Cells",
        {"FSC-A": (20_000, 180_000)},
        [Box("GFP+", {"Comp-GFP_A": (2000, None)}), Box("GFP-", {"Comp-GFP_A": (None, 2000)})],
    ),
)
SCALED = ("FSC-A", "SSC-A", "GFP_A", "PE-A")


def sample(name: str, gates: Sequence[Box] = CELLS, matrix: Sequence[Sequence[float]] = OWN) -> Sample:
    return Sample(name, gates, matrix, ("GFP_A", "PE-A") if matrix else (), SCALED, ("GFP_A",))


def workspace(study: Path, *samples: Sample, groups: dict[str, Sequence[int]] | None = None) -> None:
    groups = {"All Samples": range(len(samples))} if groups is None else groups
    (study / "w.wsp").write_text(written(samples, groups))


def of_all(study: Path) -> None:
    workspace(study, *(sample(f"x_{well}.fcs") for well in WELLS))


# --- workspaces ----------------------------------------------------------------------------------------


def test_a_workspace_gates_each_file_that_it_knows(small: Path) -> None:
    """`Comp-` and `_` for `/` are FlowJo's; gates look through its matrix, MFI through the file's: a check says so."""
    of_all(small)
    wells = measured(define(small, "w.wsp", "GFP+", "/Cells/GFP-", 'cells = "Cells"'))
    for number, reading in enumerate(wells.readings):
        wanted = truth(number, np.array(OWN), FILE_MATRIX.matrix)
        agrees(reading, wanted)
        assert reading.counts["cells"] == wanted["cells"]
        assert 1000 < wanted["on"] < 1800
    apart = check(wells, "gates-matrix")
    assert (apart.verdict, apart.value) == ("warn", pytest.approx(0.08))
    assert "w.wsp: Acquisition" in apart.message
    assert check(wells, "gates").value == "FlowKit"
    assert not [one for one in wells.checks if one.check == "gates-differ"]


def test_mfi_may_be_compensated_with_the_matrix_of_the_gates(small: Path) -> None:
    of_all(small)
    wells = measured(define(small, "w.wsp", "GFP+", "GFP-", how="gates"))
    for number, reading in enumerate(wells.readings):
        agrees(reading, truth(number, np.array(OWN)))
    assert (check(wells, "gates-matrix").verdict, check(wells, "gates-matrix").value) == ("pass", 0.0)
    assert [(m.source, m.channels) for m in wells.spillovers] == [("w.wsp: Acquisition", ("GFP/A", "PE-A"))]


def test_a_workspace_without_a_matrix_has_none_for_mfi(small: Path) -> None:
    uncompensated = [Box("GFP+", {"GFP_A": (2000, None)}), Box("GFP-", {"GFP_A": (None, 2000)})]
    workspace(small, *(sample(f"x_{well}.fcs", uncompensated, ()) for well in WELLS))
    wells = measured(define(small, "w.wsp", "GFP+", "GFP-", how="gates"))
    assert {repair.message for repair in wells.repairs} == {"w.wsp holds no one matrix for this file"}
    assert {reading.flags for reading in wells.readings} == {("unreadable",)}


def test_a_samples_own_gates_count_for_it_and_the_difference_is_told(small: Path) -> None:
    own = (
        Box(
            "Cells",
            {"FSC-A": (20_000, 180_000)},
            [*CELLS[0].below[:1], Box("GFP-", {"Comp-GFP_A": (None, 90)}, own=True)],
        ),
    )
    workspace(small, sample("x_A01.fcs"), sample("x_A02.fcs", own), sample("x_A03.fcs"))
    wells = measured(define(small, "w.wsp", "GFP+", "GFP-"))
    counts = [reading.counts["nonexpressing"] for reading in wells.readings]
    assert counts[0] == truth(0, np.array(OWN))["off"]
    assert counts[1] < 0.6 * truth(1, np.array(OWN))["off"]
    differ = check(wells, "gates-differ")
    assert (differ.value, differ.verdict) == (2, "warn")
    assert differ.message.endswith("fewest wells with theirs: A02.")


def test_files_that_the_workspace_does_not_know_get_the_gates_of_the_group_that_is_named(small: Path) -> None:
    """Samples with gates of their own are left aside when the group's are looked for."""
    own = (Box("Cells", {"FSC-A": (0, 1)}, [Box("GFP+", {"Comp-GFP_A": (1, 2)}, own=True)]),)
    workspace(small, sample("x_A01.fcs"), sample("other.fcs", own), groups={"All Samples": [0, 1], "Lab": [0, 1]})
    wells = measured(define(small, "w.wsp", "GFP+", "GFP-", 'group = "Lab"'))
    for number, reading in enumerate(wells.readings):
        agrees(reading, truth(number, np.array(OWN), FILE_MATRIX.matrix))
    assert "wells A02, A03" in check(wells, "gates").message


def test_an_unknown_file_and_no_group_is_refused(small: Path) -> None:
    workspace(small, sample("x_A01.fcs"), groups={"All Samples": [0], "Lab": [0]})
    assert refusal(define(small, "w.wsp", "GFP+", "GFP-")) == (
        "assay.toml: [gating] w.wsp: w.wsp knows no sample called x_A02.fcs, x_A03.fcs\n"
        "hint: its samples: x_A01.fcs; or name the group whose gates they get: "
        'group = "..." (All Samples, Lab)'
    )


def test_a_group_that_is_not_there_is_refused(small: Path) -> None:
    workspace(small, sample("x_A01.fcs"))
    said = refusal(define(small, "w.wsp", "GFP+", "GFP-", 'group = "lab"'))
    assert said == "assay.toml: [gating] w.wsp: w.wsp has no group 'lab'\nhint: its groups: All Samples"


def test_a_group_whose_samples_disagree_is_no_template(small: Path) -> None:
    """Of two samples with different matrices neither is taken for a third."""
    workspace(small, sample("x_A01.fcs"), sample("x_A02.fcs", matrix=[[1, 0], [0, 1]]))
    said = refusal(define(small, "w.wsp", "GFP+", "GFP-", 'group = "All Samples"'))
    assert "do not share their gates, scales and matrix: x_A01.fcs and x_A02.fcs differ" in said


def test_a_group_of_samples_with_gates_of_their_own_is_no_template(small: Path) -> None:
    own = (Box("GFP+", {"Comp-GFP_A": (2000, None)}, own=True), Box("GFP-", {"Comp-GFP_A": (None, 2000)}))
    workspace(small, sample("x_A01.fcs", own))
    said = refusal(define(small, "w.wsp", "GFP+", "GFP-", 'group = "All Samples"'))
    assert "no sample of group 'All Samples' is without gates of its own" in said


def test_a_name_that_two_samples_share_says_nothing(small: Path) -> None:
    """Plates of one workspace often hold files of one name: FlowKit keeps the last."""
    workspace(small, *(sample(f"x_{well}.fcs") for well in WELLS), sample("x_A02.fcs", CELLS[0].below))
    said = refusal(define(small, "w.wsp", "GFP+", "GFP-"))
    assert said.startswith("w.wsp: knows several samples called x_A02.fcs\n")


def test_a_group_needs_a_workspace(small: Path) -> None:
    assert "group is one of a FlowJo workspace" in refusal(define(small, "g.xml", "on", "off", 'group = "All Samples"'))


@pytest.mark.parametrize("gates", [None, (Box("PE+", {"PE-A": (500, None)}),)], ids=["unknown", "other gates"])
@pytest.mark.parametrize("how", ["file", "gates"])
def test_controls_may_go_without_gates(gates: Sequence[Box] | None, how: str, small: Path) -> None:
    """A control that the workspace does not know, or has other gates for: empty, neither 0 nor refused."""
    plate = small / "plates" / "P1" / "plate.csv"
    plate.write_text(plate.read_text().replace("A02,sample,S1,160", "A02,unstained,,"))
    others = [sample("x_A02.fcs", gates)] if gates else []
    workspace(small, sample("x_A01.fcs"), *others, sample("x_A03.fcs"))
    wells = measured(define(small, "w.wsp", "GFP+", "GFP-", how=how))
    control = wells.readings[1]
    assert (control.n_events, dict(control.counts), control.flags) == (3000, {}, ())
    assert not control.expressing.known
    assert wells.readings[2].delta.known
    assert "none of the populations for A02" in check(wells, "gates").message


# --- populations by name -------------------------------------------------------------------------------


def twice(study: Path) -> None:
    """`GFP+` below Cells and below Debris."""
    both = (*CELLS, Box("Debris", {"FSC-A": (0, 20_000)}, [Box("GFP+", {"Comp-GFP_A": (2000, None)})]))
    workspace(study, *(sample(f"x_{well}.fcs", both) for well in WELLS))


def test_a_name_that_several_gates_share_is_ambiguous(small: Path) -> None:
    twice(small)
    assert refusal(define(small, "w.wsp", "GFP+", "GFP-")) == (
        "assay.toml: [gating] w.wsp on x_A01.fcs: 2 gates are called 'GFP+': /Cells/GFP+, /Debris/GFP+\n"
        'hint: name one by its path: expressing = "/Cells/GFP+"'
    )


def test_its_path_tells_which_is_meant(small: Path) -> None:
    twice(small)
    wells = measured(define(small, "w.wsp", "/Cells/GFP+", "GFP-"))
    agrees(wells.readings[0], truth(0, np.array(OWN), FILE_MATRIX.matrix))


def test_missing_names_list_the_gates_that_there_are_and_check_finds_them_all(small: Path, call: Callable) -> None:
    of_all(small)
    define(small, "w.wsp", "AQP4+", "GFP-", 'live = "/Cells/Live"')
    done = call("check", small)
    assert done.returncode == 3
    where = "assay.toml: [gating] w.wsp on x_A01.fcs: no gate is called"
    assert f"{where} 'AQP4+' (wanted as expressing)\nhint: gates: /Cells, /Cells/GFP+, /Cells/GFP-\n" in done.stderr
    assert f"{where} '/Cells/Live' (wanted as live)\n" in done.stderr


def test_one_population_is_not_compared_with_itself(small: Path) -> None:
    of_all(small)
    assert "expressing and nonexpressing are both /Cells/GFP+" in refusal(define(small, "w.wsp", "GFP+", "/Cells/GFP+"))


def test_a_gate_on_a_channel_that_no_file_has_is_refused(small: Path) -> None:
    odd_channel = (Box("GFP+", {"Comp-GFP_A": (2000, None)}), Box("GFP-", {"Comp-BV9": (None, 2000)}))
    workspace(small, *(sample(f"x_{well}.fcs", odd_channel) for well in WELLS))
    said = refusal(define(small, "w.wsp", "GFP+", "GFP-"))
    assert said.startswith("assay.toml: [gating] w.wsp: w.wsp cannot be applied to x_A01.fcs: ")
    assert "BV9" in said
    assert said.endswith("hint: the files have FSC-A, SSC-A, GFP/A, PE-A, Time")


def test_one_file_that_lacks_a_channel_of_the_gates_is_a_flagged_well(small: Path) -> None:
    from dataclasses import replace

    path = small / "plates" / "P1" / "x_A02.fcs"
    file = read_fcs(path)
    renamed = [replace(c, name="FSC-W") if c.name == "Time" else c for c in file.channels]
    path.write_bytes(fcs_bytes(file.events.values, renamed, {}, file.spillover))
    gates = (Box("GFP+", {"Comp-GFP_A": (2000, None), "Time": (0, None)}), Box("GFP-", {"Comp-GFP_A": (None, 2000)}))
    workspace(small, *(sample(f"x_{well}.fcs", gates) for well in WELLS))
    wells = measured(define(small, "w.wsp", "GFP+", "GFP-"))
    assert [reading.flags for reading in wells.readings][1] == ("unreadable",)
    assert wells.readings[0].delta.known
    assert [(r.file, r.code) for r in wells.repairs] == [("x_A02.fcs", "refused")]
    assert "Time" in wells.repairs[0].message


def test_a_well_without_events_has_empty_populations(small: Path) -> None:
    path = small / "plates" / "P1" / "x_A02.fcs"
    path.write_bytes(fcs_bytes(events_of(1)[:0], PLATE, {}, FILE_MATRIX))
    of_all(small)
    reading = measured(define(small, "w.wsp", "GFP+", "GFP-")).readings[1]
    assert (reading.n_events, reading.counts["expressing"]) == (0, 0)
    assert reading.flags == ("empty",)


# --- GatingML ------------------------------------------------------------------------------------------


def gatingml(study: Path, compensation: str, beside: str = "") -> None:
    """`on` and `off` of the reporter on an arcsinh scale, as compensation-ref `compensation`."""
    scale = (
        '<transforms:transformation transforms:id="asinh"><transforms:fasinh transforms:T="262144" transforms:M="4.5"'
        ' transforms:A="0"/></transforms:transformation>'
    )
    edge = np.arcsinh(2000 * np.sinh(4.5 * np.log(10)) / 262144) / (4.5 * np.log(10))
    gates = "".join(
        f'<gating:RectangleGate gating:id="{name}" gating:parent_id="cells">'
        f'<gating:dimension gating:{end}="{float(edge)}" gating:compensation-ref="{compensation}"'
        ' gating:transformation-ref="asinh"><data-type:fcs-dimension data-type:name="GFP/A"/></gating:dimension>'
        f"{beside}</gating:RectangleGate>"
        for name, end in (("on", "min"), ("off", "max"))
    )
    cells = as_another_program([Range("cells", None, Dimension("FSC-A"), 20_000.0, 180_000.0)])
    cells = cells[cells.index("<gating:RectangleGate") : cells.index("</gating:Gating-ML>")]
    (study / "g.xml").write_text(f"{HEAD}{scale}{cells}{gates}</gating:Gating-ML>")


def test_gates_on_a_scale_look_through_the_files_own_matrix(small: Path) -> None:
    gatingml(small, "FCS")
    wells = measured(define(small, "g.xml", "on", "off"))
    for number, reading in enumerate(wells.readings):
        wanted = truth(number, FILE_MATRIX.matrix)
        agrees(reading, wanted)
        assert reading.counts["cells"] == wanted["cells"]  # called cells, as assay.toml would
    assert (check(wells, "gates-matrix").verdict, check(wells, "gates-matrix").value) == ("pass", 0.0)


def test_gates_through_the_files_matrix_and_mfi_through_none_is_told(small: Path) -> None:
    gatingml(small, "FCS")
    wells = measured(define(small, "g.xml", "on", "off", how="none"))
    agrees(wells.readings[0], truth(0, FILE_MATRIX.matrix, np.eye(2)))
    apart = check(wells, "gates-matrix")
    assert (apart.verdict, apart.value) == ("warn", pytest.approx(0.3))


def test_a_channel_that_the_files_matrix_leaves_out_does_not_matter(small: Path) -> None:
    """FlowKit refuses a file whose matrix does not name every fluorescence channel, unless told."""
    for number, well in enumerate(WELLS):
        more = np.column_stack([events_of(number), np.ones(3000, np.float32)])
        path = small / "plates" / "P1" / f"x_{well}.fcs"
        path.write_bytes(fcs_bytes(more, (*PLATE, Channel(6, "APC-A")), {}, FILE_MATRIX))
    gatingml(small, "FCS")
    agrees(measured(define(small, "g.xml", "on", "off")).readings[0], truth(0, FILE_MATRIX.matrix))


def test_compensated_beside_uncompensated_in_one_gate_is_refused(small: Path) -> None:
    """GatingML means each axis for itself; FlowKit compensates both."""
    beside = (
        '<gating:dimension gating:min="0" gating:compensation-ref="uncompensated">'
        '<data-type:fcs-dimension data-type:name="PE-A"/></gating:dimension>'
    )
    gatingml(small, "FCS", beside)
    said = refusal(define(small, "g.xml", "on", "off"))
    assert "/cells/on looks at PE-A uncompensated beside a compensated channel, which FlowKit would compensate" in said
    gatingml(small, "FCS", beside.replace("PE-A", "SSC-A"))  # no matrix touches it
    measured(define(small, "g.xml", "on", "off"))


def test_spillover_that_the_cytometer_subtracted_is_not_given_to_flowkit(tmp_path: Path) -> None:
    keywords = {"$DFC1TO2": "30", "$DFC2TO1": "0"}
    content = fcs_bytes(np.ones((3, 2), np.float32), (Channel(1, "FL1-H"), Channel(2, "FL2-H")), keywords)
    (tmp_path / "a.fcs").write_bytes(content)
    file = read_fcs(tmp_path / "a.fcs")
    assert file.spillover is not None
    assert file.spillover.source == "$DFCmTOn"
    (tmp_path / "b.fcs").write_bytes(linear(file))
    assert read_fcs(tmp_path / "b.fcs").spillover is None


def test_simple_gates_of_another_program_run_without_flowkit_and_keep_their_bytes(
    small: Path, tmp_path: Path, call: Callable
) -> None:
    gates = [
        Range("cells", None, Dimension("FSC-A"), 20_000.0, 180_000.0),
        Range("on", "cells", Dimension("GFP/A"), 2000.0, None),
        Range("off", "cells", Dimension("GFP/A"), None, 2000.0),
    ]
    text = as_another_program(gates)
    (small / "g.xml").write_text(text)
    loaded = load_study(define(small, "g.xml", "on", "off"))
    assert isinstance(loaded.settings[0].gating, OwnGates)
    done = call("run", small, "-o", tmp_path / "out", "--until", "wells")
    assert done.returncode == 0, done.stderr
    assert "flowkit" not in json.loads((tmp_path / "out" / "manifest.json").read_text())["versions"]
    assert (tmp_path / "out" / "gates.xml").read_text() == text
    assert "plate,P1,gates,aqp4flow,,pass," in (tmp_path / "out" / "checks.csv").read_text()


# --- what is written -----------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ["{plate}.wsp", "{plate}.xml"])
def test_the_gates_written_give_the_same_results_again(
    small: Path, tmp_path: Path, source: str, call: Callable
) -> None:
    """The file that was read stands in the results, comes out by `gates export`, and a run with it is the same."""
    of_all(small)
    gatingml(small, "FCS")
    name = source.format(plate="P1")
    shutil.move(small / "w.wsp", small / "P1.wsp")
    shutil.move(small / "g.xml", small / "P1.xml")
    names = ("GFP+", "GFP-") if name.endswith(".wsp") else ("on", "off")
    study = load_study(define(small, source, *names))
    assert isinstance(study.settings[0].gating, ForeignGates)
    run_study(study, tmp_path / "out")
    ending = Path(name).suffix
    exported = tmp_path / f"exported{ending}"
    assert "flowkit" in json.loads((tmp_path / "out" / "manifest.json").read_text())["versions"]
    done = call("gates", "export", tmp_path / "out", "-o", exported)
    assert done.returncode == 0, done.stderr
    assert exported.read_bytes() == (small / name).read_bytes()
    shutil.copy(exported, small / name)
    run_study(load_study(small), tmp_path / "again")
    for path in sorted((tmp_path / "out").rglob("*.*")):
        if path.name != "manifest.json":
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(tmp_path / "out")).read_bytes(), path
    wrong = call("gates", "export", tmp_path / "out", "-o", tmp_path / ("a.xml" if ending == ".wsp" else "a.wsp"))
    assert wrong.returncode == 3
    assert f"name the file to write with the ending {ending}" in wrong.stderr
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert f"they stand in gates{ending}" in page
    assert f"taken from {source}" in page
    assert "Coloured: the events inside, by FlowKit" in page


def test_the_pictures_show_who_is_inside(small: Path, tmp_path: Path, table: Callable) -> None:
    """Counts of members never exceed those of all events in a bin; on the reporter's axis they part at the edge."""
    gatingml(small, "FCS")
    run_study(load_study(define(small, "g.xml", "on", "off")), tmp_path / "out")
    rows = [row for row in table(tmp_path / "out" / "figures" / "plate-P1.csv") if "/cells/on" in row["panel"]]
    bins: dict[str, dict[str, float]] = {}
    for row in rows:
        bins.setdefault(row["x"], {})[row["series"]] = float(row["y"])
    assert all(one["/cells/on"] + one["/cells/off"] == one["events"] for one in bins.values())
    both = [x for x, one in bins.items() if one["/cells/on"] and one["/cells/off"]]
    assert len(both) <= 1
    assert sum(one["/cells/on"] for one in bins.values()) > 3000


# --- public gates and truths ---------------------------------------------------------------------------

SETS = [
    ("gml_quadrant1_gate.xml", "FL2P-FL4P", "FL2N-FL4N"),
    ("gml_boolean_and1_gate.xml", "And1", "Range2"),
    ("gml_boolean_and3_complement_gate.xml", "And3", "Ellipse1"),
    ("gml_boolean_not1_gate.xml", "Not1", "Ellipse1"),
    ("gml_parent_rect1_rect_par1_gate.xml", "ScalePar1", "ScaleRect1"),
    ("gml_matrix_transform_logicle_range4c_gate.xml", "ScaleRange4c", None),
    ("gml_matrix_transform_logicle_range8c_gate.xml", "ScaleRange8c", None),
    ("gml_matrix_poly4_gate.xml", "Polygon4", None),
    ("gml_ratio_range1_gate.xml", "RatRange1", None),
    ("gml_ellipsoid3d_gate.xml", "Ellipsoid3D", None),
    ("gml_transform_hyperlog_range2_gate.xml", "ScaleRange2", None),
    ("gml_rect1_gate.xml", "Rectangle1", None),
    ("gml_poly3ns_gate.xml", "Polygon3NS", None),
]


@pytest.fixture
def isac(tmp_path: Path) -> Path:
    """The compliance set's events as two wells of a plate: antigen and control cells."""
    folder = tmp_path / "study" / "plates" / "P1"
    folder.mkdir(parents=True)
    for well in ("A01", "A02"):
        shutil.copyfile(ISAC / "data1.fcs", folder / f"x_{well}.fcs")
    rows = (
        "file,well,role,serum,dilution,cells\nx_A01.fcs,A01,sample,S1,40,antigen\nx_A02.fcs,A02,sample,S1,40,control\n"
    )
    (folder / "plate.csv").write_text(rows)
    return tmp_path / "study"


@needs_isac
@pytest.mark.parametrize(("gates", "expressing", "nonexpressing"), SETS, ids=[one[0].split(".")[0] for one in SETS])
def test_counts_and_medians_of_the_compliance_set(
    gates: str, expressing: str, nonexpressing: str | None, isac: Path
) -> None:
    """Wells measured with ISAC's gates hold the events of ISAC's truth, and their medians are those events'."""
    shutil.copyfile(ISAC / "gml" / gates, isac / "g.xml")
    text = DEFINITION.format(
        source="g.xml", expressing=expressing, nonexpressing=nonexpressing or "none", more="", compensation="none"
    )
    text = text.replace("GFP/A", "FL2-H").replace("PE-A", "FL1-H")
    text = text.replace("[channels]", '[channels]\nforward = "FSC-H"\nside = "SSC-H"')
    if nonexpressing is None:
        text = text.replace('antigen = "AQP4-M23"', 'antigen = "AQP4-M23"\ncomparator = "paired-well"')
    (isac / "assay.toml").write_text(text)
    wells = measured(isac)
    signal = read_fcs(ISAC / "data1.fcs").events.column("FL1-H")
    for reading in wells.readings:
        pairs = [(expressing, reading.counts["expressing"], reading.expressing)]
        if nonexpressing:
            pairs.append((nonexpressing, reading.counts["nonexpressing"], reading.nonexpressing))
        for gate, count, estimate in pairs:
            inside = np.loadtxt(ISAC / "truth" / f"Results_{gate}.txt").astype(bool)
            assert count == inside.sum(), gate
            assert estimate.value == np.median(signal[inside])


@needs_flowjo
@pytest.mark.parametrize(
    ("workspace", "file", "expressing", "nonexpressing", "counts"),
    [
        (
            "simple_diamond_example_quad_gate.wsp",
            "test_data_diamond_01.fcs",
            "Q2: channel_A+ , channel_B+",
            "Q4: channel_A- , channel_B-",
            (50596, 49403),
        ),
        ("single_ellipse_51_events.wsp", "data_set_simple_line_100.fcs", "/ellipse1", None, (51,)),
        ("test_data_diamond_asinh_rect.wsp", "test_data_diamond_01.fcs", "upper_right", None, (50559,)),
        ("test_data_diamond_biex_rect.wsp", "test_data_diamond_01.fcs", "upper_right", None, (50605,)),
        ("simple_poly_and_rect_v2_poly50.wsp", "data_set_simple_line_100.fcs", "poly1", "rect1", (50, 0)),
    ],
)
def test_counts_of_flowjo(
    workspace: str, file: str, expressing: str, nonexpressing: str | None, counts: tuple[int, ...], tmp_path: Path
) -> None:
    """A workspace's sample as a well: FlowJo's own counts."""
    folder = tmp_path / "study" / "plates" / "P1"
    folder.mkdir(parents=True)
    shutil.copyfile(FLOWJO / file, folder / file)
    shutil.copyfile(FLOWJO / workspace, tmp_path / "study" / "w.wsp")
    rows = f"file,well,role,serum,dilution,cells\n{file},A01,sample,S1,40,antigen\n"
    (folder / "plate.csv").write_text(rows)
    text = DEFINITION.format(
        source="w.wsp", expressing=expressing, nonexpressing=nonexpressing or "none", more="", compensation="none"
    )
    text = text.replace("GFP/A", "channel_A").replace("PE-A", "channel_B")
    text = text.replace("[channels]", '[channels]\nforward = "channel_A"\nside = "channel_B"')
    if nonexpressing is None:
        text = text.replace('antigen = "AQP4-M23"', 'antigen = "AQP4-M23"\ncomparator = "paired-well"')
    (tmp_path / "study" / "assay.toml").write_text(text)
    for reading in measured(tmp_path / "study").readings:
        assert tuple(reading.counts[role] for role in ("expressing", "nonexpressing")[: len(counts)]) == counts


@needs_flowjo
def test_gates_of_a_group_of_a_real_workspace() -> None:
    """Gates drawn on a sample are that sample's own, and no template; those of a group are shared by its samples."""
    from aqp4flow.cytometry.interchange import read_gates

    single = read_gates(FLOWJO / "single_ellipse_51_events.wsp")
    with pytest.raises(InputError, match="no sample of group 'All Samples' is without gates of its own"):
        single.strategy("another.fcs", "All Samples")
    panel = read_gates(FLOWJO / "8_color_ICS_simple.wsp")
    assert panel.strategy("another.fcs", "DEN").content == panel.samples["101_DEN084Y5_15_E01_008_clean.fcs"].content
    assert ("Time", "Singlets", "aAmine-", "CD3+") in panel.strategy("another.fcs", "DEN").paths
