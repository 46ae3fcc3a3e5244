"""Gates as GatingML 2.0: written for anyone to check, read back for a frozen run.

Source: ISAC Gating-ML 2.0 (Spidlen et al., 2013). Gates stand on the linear scale, so no transformation is used.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

from aqp4flow.cytometry.gates import in_order
from aqp4flow.errors import InputError
from aqp4flow.model import Dimension, Ellipse, Gate, Polygon, Range, Rectangle

_SPACE = "http://www.isac-net.org/std/Gating-ML/v2.0/"
_GATING, _DATA = f"{{{_SPACE}gating}}", f"{{{_SPACE}datatypes}}"
_FROM_FILE = "FCS"  # GatingML's word for the matrix that the FCS file itself carries
_RAW = "uncompensated"
_OF_A_RUN = "<!-- Gates of an aqp4flow run: 'FCS' is the matrix that the run compensated with. -->"


class NotSimpleError(InputError):
    """A gate that is neither a range, rectangle, polygon nor ellipse on the linear scale: FlowKit can evaluate it."""


def of_a_run(document: bytes) -> bool:
    """Whether a GatingML document was written by a run, or is such a one edited."""
    return _OF_A_RUN.encode() in document


def write_gatingml(gates: Sequence[Gate]) -> str:
    """The gates as one GatingML 2.0 document, parents before children, numbers exact."""
    ET.register_namespace("gating", f"{_SPACE}gating")
    ET.register_namespace("data-type", f"{_SPACE}datatypes")
    root = ET.Element(f"{_GATING}Gating-ML")
    for gate in gates:
        root.append(_element(gate))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{_OF_A_RUN}\n' + ET.tostring(root, encoding="unicode") + "\n"


def _element(gate: Gate) -> ET.Element:
    tag = {
        Range: "RectangleGate",
        Rectangle: "RectangleGate",
        Polygon: "PolygonGate",
        Ellipse: "EllipsoidGate",
    }
    element = ET.Element(f"{_GATING}{tag[type(gate)]}", {f"{_GATING}id": gate.name})
    if gate.parent:
        element.set(f"{_GATING}parent_id", gate.parent)
    match gate:
        case Range():
            _dimension(element, gate.x, gate.low, gate.high)
        case Rectangle():
            _dimension(element, gate.x, gate.low[0], gate.high[0])
            _dimension(element, gate.y, gate.low[1], gate.high[1])
        case Polygon():
            _dimension(element, gate.x)
            _dimension(element, gate.y)
            for vertex in gate.vertices:
                _coordinates(ET.SubElement(element, f"{_GATING}vertex"), "coordinate", vertex)
        case Ellipse():
            _dimension(element, gate.x)
            _dimension(element, gate.y)
            _coordinates(ET.SubElement(element, f"{_GATING}mean"), "coordinate", gate.mean)
            matrix = ET.SubElement(element, f"{_GATING}covarianceMatrix")
            for row in gate.covariance:
                _coordinates(ET.SubElement(matrix, f"{_GATING}row"), "entry", row)
            ET.SubElement(element, f"{_GATING}distanceSquare", {f"{_DATA}value": repr(gate.distance_square)})
    return element


def _dimension(element: ET.Element, axis: Dimension, low: float | None = None, high: float | None = None) -> None:
    reference = _FROM_FILE if axis.compensated else _RAW
    dimension = ET.SubElement(element, f"{_GATING}dimension", {f"{_GATING}compensation-ref": reference})
    for name, value in (("min", low), ("max", high)):
        if value is not None:
            dimension.set(f"{_GATING}{name}", repr(float(value)))
    ET.SubElement(dimension, f"{_DATA}fcs-dimension", {f"{_DATA}name": axis.channel})


def _coordinates(element: ET.Element, tag: str, values: Sequence[float]) -> None:
    for value in values:
        ET.SubElement(element, f"{_GATING}{tag}", {f"{_DATA}value": repr(float(value))})


def read_gatingml(path: Path) -> tuple[Gate, ...]:
    """Gates of a GatingML 2.0 file, parents first.

    Ranges, rectangles, polygons and ellipses on the linear scale can be read; other gates raise NotSimpleError, and
    what is no GatingML raises InputError.
    """
    where = path.name
    try:
        root = ET.fromstring(path.read_bytes())
    except FileNotFoundError:
        raise InputError(where, "no such gate file", "[gating] source is relative to assay.toml") from None
    except ET.ParseError as error:
        raise InputError(where, f"not XML: {error}", "name the gates.xml of an earlier run") from None
    if root.tag != f"{_GATING}Gating-ML":
        raise InputError(where, "not a GatingML 2.0 file", "name the gates.xml of an earlier run")
    gates = [_gate(child, where) for child in root if child.tag.startswith(_GATING)]
    if not gates:
        raise InputError(where, "no gates in it", "name the gates.xml of an earlier run")
    return in_order(gates, where)


def _gate(element: ET.Element, where: str) -> Gate:
    kind = element.tag.removeprefix(_GATING)
    name = element.get(f"{_GATING}id", "")
    parent = element.get(f"{_GATING}parent_id")
    spot = f"{where}: gate {name}"
    try:
        axes = [_axis(child, spot) for child in element.findall(f"{_GATING}dimension")]
        return _shape(element, kind, (name, parent), axes, spot)
    except (AttributeError, TypeError, ValueError):
        raise InputError(spot, "incomplete or not numbers", "export the gates again") from None


def _shape(element: ET.Element, kind: str, identity: tuple[str, str | None], axes: list[Dimension], spot: str) -> Gate:
    name, parent = identity
    if kind == "RectangleGate" and len(axes) == 1:
        low, high = _limits(element)[0]
        return Range(name, parent, axes[0], low, high)
    if kind == "RectangleGate" and len(axes) == 2:
        (low_x, high_x), (low_y, high_y) = _limits(element)
        return Rectangle(name, parent, axes[0], axes[1], (low_x, low_y), (high_x, high_y))
    if kind == "PolygonGate" and len(axes) == 2:
        vertices = tuple(_pair(vertex, "coordinate") for vertex in element.findall(f"{_GATING}vertex"))
        if len(vertices) < 3:
            raise InputError(spot, f"a polygon of {len(vertices)} vertices")
        return Polygon(name, parent, axes[0], axes[1], vertices)
    if kind == "EllipsoidGate" and len(axes) == 2:
        return _ellipse(element, identity, axes)
    raise NotSimpleError(spot, f"a {kind} on {len(axes)} axes", "ranges, rectangles, polygons and ellipses can be used")


def _ellipse(element: ET.Element, identity: tuple[str, str | None], axes: list[Dimension]) -> Ellipse:
    mean = _pair(_only(element, "mean"), "coordinate")
    rows = [_pair(row, "entry") for row in _only(element, "covarianceMatrix").findall(f"{_GATING}row")]
    first, second = rows
    square = float(_only(element, "distanceSquare").get(f"{_DATA}value", ""))
    return Ellipse(*identity, axes[0], axes[1], mean, (first, second), square)


def _only(element: ET.Element, tag: str) -> ET.Element:
    child = element.find(f"{_GATING}{tag}")
    if child is None:
        raise ValueError(tag)
    return child


def _axis(element: ET.Element, spot: str) -> Dimension:
    if element.get(f"{_GATING}transformation-ref"):
        raise NotSimpleError(spot, "stands on a transformed scale", "gates on the linear scale can be used")
    fcs = element.find(f"{_DATA}fcs-dimension")
    if fcs is None:
        raise NotSimpleError(spot, "looks at a derived dimension, not at a channel", "gate on a channel")
    reference = element.get(f"{_GATING}compensation-ref", _RAW)
    if reference not in (_RAW, _FROM_FILE):
        raise NotSimpleError(spot, f"names a matrix of its own ({reference})", "use 'FCS' or 'uncompensated'")
    return Dimension(fcs.get(f"{_DATA}name", ""), reference == _FROM_FILE)


def _limits(element: ET.Element) -> list[tuple[float | None, float | None]]:
    ends = [
        [dimension.get(f"{_GATING}{end}") for end in ("min", "max")]
        for dimension in element.findall(f"{_GATING}dimension")
    ]
    return [(None if low is None else float(low), None if high is None else float(high)) for low, high in ends]


def _pair(element: ET.Element, tag: str) -> tuple[float, float]:
    first, second = (float(child.get(f"{_DATA}value", "")) for child in element.findall(f"{_GATING}{tag}"))
    return first, second
