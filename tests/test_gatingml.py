"""Gates written as GatingML are read back unchanged, and FlowKit puts the same events into them."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aqp4flow.cytometry.gates import Columns, populations
from aqp4flow.cytometry.gatingml import read_gatingml, write_gatingml
from aqp4flow.errors import InputError
from aqp4flow.fcs import fcs_bytes, read_fcs
from aqp4flow.model import Channel, Dimension, Ellipse, Gate, Polygon, Range, Rectangle, Spillover

# --- there and back ---------------------------------------------------------------------------------

numbers = st.floats(allow_nan=False, allow_infinity=False)
ends = st.none() | numbers
letters = st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Zl", "Zp"))
names = st.text(letters, min_size=1, max_size=12)
axes = st.builds(Dimension, names, st.booleans())
pairs = st.tuples(numbers, numbers)
optional_pairs = st.tuples(ends, ends)
shapes = st.one_of(
    st.builds(Range, st.just(""), st.none(), axes, ends, ends),
    st.builds(Rectangle, st.just(""), st.none(), axes, axes, optional_pairs, optional_pairs),
    st.builds(Polygon, st.just(""), st.none(), axes, axes, st.lists(pairs, min_size=3, max_size=6).map(tuple)),
    st.builds(Ellipse, st.just(""), st.none(), axes, axes, pairs, st.tuples(pairs, pairs), numbers),
)


@st.composite
def trees(draw: st.DrawFn) -> tuple[Gate, ...]:
    """Gates under names of their own, each below none or one before it, in the order that the reader gives."""
    found = draw(st.lists(st.tuples(names, shapes), min_size=1, max_size=5, unique_by=lambda pair: pair[0]))
    ordered: list[Gate] = []
    for i, (name, shape) in enumerate(found):
        parent = found[i - 1][0] if i and draw(st.booleans()) else None
        fields = {key: getattr(shape, key) for key in shape.__dataclass_fields__}
        ordered.append(type(shape)(**{**fields, "name": name, "parent": parent}))
    return tuple(ordered)


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(gates=trees())
def test_gates_are_read_back_as_they_were_written(gates: tuple[Gate, ...], tmp_path: Path) -> None:
    path = tmp_path / "gates.xml"
    path.write_text(write_gatingml(gates), encoding="utf-8")
    assert sorted(read_gatingml(path), key=lambda gate: gate.name) == sorted(gates, key=lambda gate: gate.name)


def test_children_may_stand_before_their_parents_in_the_file(tmp_path: Path) -> None:
    axis = Dimension("A")
    gates = (Range("child", "parent", axis, 1.0, 2.0), Range("parent", None, axis, 0.0, None))
    path = tmp_path / "gates.xml"
    path.write_text(write_gatingml(gates), encoding="utf-8")
    assert [gate.name for gate in read_gatingml(path)] == ["parent", "child"]


# --- the same events as FlowKit ---------------------------------------------------------------------

CHANNELS = tuple(Channel(n, name) for n, name in enumerate(("FSC-A", "SSC-A", "GFP-A", "PE-A"), 1))
SPILLOVER = Spillover(("GFP-A", "PE-A"), np.array([[1.0, 0.2], [0.05, 1.0]]), "planted")
FSC, SSC = Dimension("FSC-A"), Dimension("SSC-A")
GFP, PE = Dimension("GFP-A", compensated=True), Dimension("PE-A", compensated=True)
GATES: tuple[Gate, ...] = (
    Polygon("cells", None, FSC, SSC, ((300.0, 100.0), (900.0, 200.0), (800.0, 900.0), (450.0, 400.0), (250.0, 850.0))),
    Rectangle("box", "cells", FSC, SSC, (300.0, None), (700.0, 600.0)),
    Range("bright", "cells", GFP, 200.0, None),
    Range("raw-bright", "cells", Dimension("GFP-A"), 200.0, 700.0),
    Polygon("corner", "bright", GFP, PE, ((200.0, 0.0), (900.0, 100.0), (600.0, 800.0))),
    Ellipse("spot", "cells", GFP, PE, (500.0, 300.0), ((40_000.0, 9_000.0), (9_000.0, 20_000.0)), 1.5),
    Rectangle("dark", "box", GFP, PE, (None, -50.0), (300.0, None)),
    Ellipse("round", None, FSC, SSC, (600.0, 500.0), ((30_000.0, -5_000.0), (-5_000.0, 30_000.0)), 1.0),
)


@pytest.fixture
def stained(tmp_path: Path) -> Path:
    """A file of 4,000 events spread over all gates, with a matrix of its own."""
    values = np.random.default_rng(11).uniform(0, 1000, (4000, 4)).astype(np.float32)
    path = tmp_path / "stained.fcs"
    path.write_bytes(fcs_bytes(values, CHANNELS, {}, SPILLOVER))
    return path


def test_flowkit_finds_the_same_events_in_every_gate(stained: Path, tmp_path: Path) -> None:
    (tmp_path / "gates.xml").write_text(write_gatingml(GATES), encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import flowkit

        strategy = flowkit.parse_gating_xml(str(tmp_path / "gates.xml"))
        theirs = strategy.gate_sample(flowkit.Sample(stained))
    file = read_fcs(stained)
    ours = populations(Columns(file.events, file.spillover), read_gatingml(tmp_path / "gates.xml"))
    for gate in GATES:
        rows = np.flatnonzero(theirs.get_gate_membership(gate.name))
        assert 50 < len(rows) < 3950, gate.name  # a gate that holds all or nothing proves little
        assert ours[gate.name].tolist() == rows.tolist(), gate.name
    assert ours["bright"].tolist() != ours["raw-bright"].tolist()


# --- what is refused --------------------------------------------------------------------------------

SPACE = "http://www.isac-net.org/std/Gating-ML/v2.0/"
HEAD = f'<gating:Gating-ML xmlns:gating="{SPACE}gating" xmlns:data-type="{SPACE}datatypes">'
EARLIER = "name the gates.xml of an earlier run"


def document(body: str) -> str:
    return f"{HEAD}{body}</gating:Gating-ML>"


def dimension(attributes: str = "", inner: str = '<data-type:fcs-dimension data-type:name="A"/>') -> str:
    return f'<gating:dimension gating:compensation-ref="uncompensated" {attributes}>{inner}</gating:dimension>'


def gate(kind: str, *inner: str) -> str:
    return document(f'<gating:{kind} gating:id="g">{"".join(inner)}</gating:{kind}>')


def vertex(x: str, y: str) -> str:
    ends = "".join(f'<gating:coordinate data-type:value="{value}"/>' for value in (x, y))
    return f"<gating:vertex>{ends}</gating:vertex>"


OWN_MATRIX = dimension().replace("uncompensated", "MySpill")
REFUSED = {
    "not XML": ("well,value\n", "gates.xml: not XML: syntax error: line 1, column 0", EARLIER),
    "cut": (document("")[:-4], f"gates.xml: not XML: unclosed token: line 1, column {len(HEAD)}", EARLIER),
    "another root": ("<Workspace/>", "gates.xml: not a GatingML 2.0 file", EARLIER),
    "no gates": (document(""), "gates.xml: no gates in it", EARLIER),
    "transformed": (
        gate("RectangleGate", dimension('gating:transformation-ref="logicle" gating:min="0.5"')),
        "gates.xml: gate g: stands on a transformed scale",
        "gates on the linear scale can be used",
    ),
    "boolean": (
        gate("BooleanGate", '<gating:and><gating:gateReference gating:ref="a"/></gating:and>'),
        "gates.xml: gate g: a BooleanGate on 0 axes",
        "ranges, rectangles, polygons and ellipses can be used",
    ),
    "quadrant": (
        gate("QuadrantGate", '<gating:divider gating:id="x"/>'),
        "gates.xml: gate g: a QuadrantGate on 0 axes",
        "ranges, rectangles, polygons and ellipses can be used",
    ),
    "box on three axes": (
        gate("RectangleGate", *[dimension('gating:min="1"')] * 3),
        "gates.xml: gate g: a RectangleGate on 3 axes",
        "ranges, rectangles, polygons and ellipses can be used",
    ),
    "own matrix": (
        gate("RectangleGate", OWN_MATRIX),
        "gates.xml: gate g: names a matrix of its own (MySpill)",
        "use 'FCS' or 'uncompensated'",
    ),
    "ratio": (
        gate("RectangleGate", dimension(inner='<data-type:new-dimension data-type:transformation-ref="r"/>')),
        "gates.xml: gate g: looks at a derived dimension, not at a channel",
        "gate on a channel",
    ),
    "two vertices": (
        gate("PolygonGate", dimension(), dimension(), vertex("0", "0"), vertex("1", "1")),
        "gates.xml: gate g: a polygon of 2 vertices",
        "",
    ),
    "not a number": (
        gate("PolygonGate", dimension(), dimension(), vertex("0", "x"), vertex("1", "1"), vertex("2", "2")),
        "gates.xml: gate g: incomplete or not numbers",
        "export the gates again",
    ),
    "ellipse without mean": (
        gate("EllipsoidGate", dimension(), dimension(), '<gating:distanceSquare data-type:value="1"/>'),
        "gates.xml: gate g: incomplete or not numbers",
        "export the gates again",
    ),
    "parent missing": (
        gate("RectangleGate", dimension('gating:min="1"')).replace('"g"', '"g" gating:parent_id="gone"'),
        "gates.xml: gate 'g' stands below 'gone', which is not there or below it",
        "",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_gates_that_cannot_be_applied_exactly_are_refused(case: str, tmp_path: Path) -> None:
    text, what, hint = REFUSED[case]
    (tmp_path / "gates.xml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as refused:
        read_gatingml(tmp_path / "gates.xml")
    assert str(refused.value) == what + (f"\nhint: {hint}" if hint else "")


def test_a_missing_gate_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        read_gatingml(tmp_path / "gates.xml")
    assert str(refused.value) == ("gates.xml: no such gate file\nhint: [gating] source is relative to assay.toml")
