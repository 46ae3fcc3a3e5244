"""A FlowJo 10 workspace written element by element: samples with gates of a group or of their own, scales, a matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from xml.sax.saxutils import quoteattr

SPACE = "http://www.isac-net.org/std/Gating-ML/v2.0"
HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Workspace version="20.0" flowJoVersion="10.6.1"'
    f' xmlns:gating="{SPACE}/gating" xmlns:transforms="{SPACE}/transformations" xmlns:data-type="{SPACE}/datatypes">'
)


@dataclass(frozen=True)
class Box:
    """A population: limits by channel, its children; `own` when the sample has it for itself."""

    name: str
    limits: Mapping[str, tuple[float | None, float | None]]
    below: Sequence[Box] = ()
    own: bool = False


@dataclass(frozen=True)
class Sample:
    """A sample: its gates, the group's coefficients by detector, the channels on a biexponential scale."""

    name: str
    gates: Sequence[Box]
    matrix: Sequence[Sequence[float]] = ()
    detectors: Sequence[str] = ()
    channels: Sequence[str] = ()
    biex: Sequence[str] = field(default=())


def written(samples: Sequence[Sample], groups: Mapping[str, Sequence[int]]) -> str:
    """The workspace; `groups` names samples by their place."""
    nodes = "".join(
        f"<GroupNode name={quoteattr(group)}><Group><SampleRefs>"
        + "".join(f'<SampleRef sampleID="{place}"/>' for place in places)
        + "</SampleRefs></Group></GroupNode>"
        for group, places in groups.items()
    )
    listed = "".join(_sample(sample, place) for place, sample in enumerate(samples))
    return f"{HEAD}<Groups>{nodes}</Groups><SampleList>{listed}</SampleList></Workspace>"


def _sample(sample: Sample, place: int) -> str:
    scales = "".join(_scale(name, name in sample.biex) for name in sample.channels)
    return (
        f'<Sample><DataSet uri="file:/{sample.name}" sampleID="{place}"/><Transformations>{scales}</Transformations>'
        f"<Keywords/>{_matrix(sample)}<SampleNode name={quoteattr(sample.name)} owningGroup='' sampleID='{place}'>"
        f"{_populations(sample.gates)}</SampleNode></Sample>"
    )


def _scale(name: str, biex: bool) -> str:
    parameter = f"<data-type:parameter data-type:name={quoteattr(name)}/>"
    if biex:
        shape = "length='256' maxRange='262144' neg='0' width='-10' pos='4.41'".replace(" ", " transforms:")
        return f"<transforms:biex transforms:{shape}>{parameter}</transforms:biex>"
    return (
        f"<transforms:linear transforms:minRange='0' transforms:maxRange='262144' gain='1'>{parameter}"
        "</transforms:linear>"
    )


def _matrix(sample: Sample) -> str:
    if not sample.matrix:
        return ""
    names = "".join(f"<data-type:parameter data-type:name={quoteattr(name)}/>" for name in sample.detectors)
    rows = "".join(
        f"<transforms:spillover data-type:parameter={quoteattr(dye)}>"
        + "".join(
            f"<transforms:coefficient data-type:parameter={quoteattr(name)} transforms:value='{value}'/>"
            for name, value in zip(sample.detectors, row, strict=True)
        )
        + "</transforms:spillover>"
        for dye, row in zip(sample.detectors, sample.matrix, strict=True)
    )
    return (
        "<transforms:spilloverMatrix spectral='0' prefix='Comp-' name='Acquisition' suffix=''>"
        f"<data-type:parameters>{names}</data-type:parameters>{rows}</transforms:spilloverMatrix>"
    )


def _populations(boxes: Sequence[Box]) -> str:
    if not boxes:
        return ""
    return "<Subpopulations>" + "".join(_population(box) for box in boxes) + "</Subpopulations>"


def _population(box: Box) -> str:
    axes = ""
    for channel, limits in box.limits.items():
        ends = "".join(f" gating:{end}='{x}'" for end, x in zip(("min", "max"), limits, strict=True) if x is not None)
        axes += f"<gating:dimension{ends}><data-type:fcs-dimension data-type:name={quoteattr(channel)}/>"
        axes += "</gating:dimension>"
    owner = "" if box.own else "All Samples"
    return (
        f'<Population name={quoteattr(box.name)} owningGroup="{owner}"><Gate>'
        f"<gating:RectangleGate eventsInside='1'>{axes}</gating:RectangleGate></Gate>"
        f"{_populations(box.below)}</Population>"
    )
