"""Gates of other programs, applied by FlowKit to our events: GatingML 2.0 and FlowJo 10 workspaces.

FlowKit evaluates every gate, so that membership is its own, event for event. It is given the events as FCS 3.1 on the
linear scale: what it would misread in the original file cannot reach it.
"""

from __future__ import annotations

import io
import warnings
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqp4flow.errors import InputError, listed
from aqp4flow.model import NAN, Dimension, Spillover

Mask = NDArray[np.bool_]
GatePath = tuple[str, ...]  # a gate's ancestors and itself
_ROOT = "root"  # FlowKit's name for all events
FROM_FILE = "FCS"  # GatingML's word for the matrix that the FCS file itself carries
_RAW = (None, "uncompensated")
_NO_CONTENT = ("parent", "_lut_func", "_inverse_lut_func")  # what FlowKit derives from the rest
_POPULATIONS = ("Population", "AndNode", "OrNode", "NotNode")  # a workspace's elements that are gates


@dataclass(frozen=True)
class Membership:
    """The events of one gate or quadrant. `path` holds its ancestors and itself; `parent_count` counts the parent's."""

    gate: str
    path: GatePath
    mask: Mask = field(repr=False)
    parent_count: int

    @property
    def count(self) -> int:
        """Events inside."""
        return int(np.count_nonzero(self.mask))

    @property
    def percent_of_parent(self) -> float:
        """Percent of the parent's events; NaN where it has none."""
        return 100.0 * self.count / self.parent_count if self.parent_count else NAN


def shown(path: GatePath) -> str:
    """`/Cells/Singlets/GFP+`."""
    return "/" + "/".join(path)


@dataclass(frozen=True, eq=False)
class Strategy:
    """A tree of gates as FlowKit holds it. `sample` is the sample of a workspace whose gates these are, else empty."""

    source: str
    tree: Any = field(repr=False)
    sample: str = ""

    @cached_property
    def _gates(self) -> Mapping[GatePath, tuple[Any, bool]]:
        """Of every path the gate whose axes count, and whether it has events of its own: a quadrant gate has not."""
        return {
            (*(one for one in ancestors if one != _ROOT), name): self._gate(name, ancestors)
            for name, ancestors in self.tree.get_gate_ids()
        }

    def _gate(self, name: str, ancestors: tuple[str, ...]) -> tuple[Any, bool]:
        import flowkit

        try:
            gate = self.tree.get_gate(name, ancestors)
        except flowkit.exceptions.QuadrantReferenceError:
            return self.tree.get_gate(ancestors[-1], ancestors[:-1]), True
        return gate, not isinstance(gate, flowkit.gates.QuadrantGate)

    @property
    def paths(self) -> tuple[GatePath, ...]:
        """Every gate and quadrant that holds events, parents first."""
        return tuple(path for path, (_, holds) in self._gates.items() if holds)

    @cached_property
    def content(self) -> str:
        """Everything that decides membership, as text: equal for strategies that gate alike.

        Limits on a linear scale stand on the channel's own: FlowJo gives each sample a scale of time as long as it ran.
        """
        return repr([[list(path), self._described(gate)] for path, (gate, _) in self._gates.items()])

    def _described(self, gate: Any) -> Any:
        looked_up, matrices = self.tree.transformations, self.tree.comp_matrices
        dimensions = gate.dimensions or ()
        scales = [looked_up.get(one.transformation_ref) for one in dimensions]
        linear = [scale if type(scale).__name__ == "LinearTransform" else None for scale in scales]
        axes = []
        for one, scale, undone in zip(dimensions, scales, linear, strict=True):
            parts = {key: value for key, value in vars(one).items() if key not in ("min", "max", "transformation_ref")}
            parts["ends"] = [_undone(getattr(one, end, None), undone) for end in ("min", "max")]
            parts["scale"] = "linear" if undone else scale
            parts["matrix"] = matrices.get(one.compensation_ref)
            parts["ratio"] = looked_up.get(getattr(one, "ratio_ref", None))
            axes.append(parts)
        shape = {key: value for key, value in vars(gate).items() if key not in ("parent", "dimensions")}
        if "vertices" in shape:
            shape["vertices"] = [[_undone(x, s) for x, s in zip(v, linear, strict=True)] for v in gate.vertices]
        return [type(gate).__name__, _content(axes), _content(shape)]

    def parent(self, path: GatePath) -> GatePath:
        """The path whose events a gate divides; () for all events. A quadrant's parent is that of its gate."""
        above = path[:-1]
        return above if not above or self._gates[above][1] else above[:-1]

    def axes(self, path: GatePath) -> tuple[Dimension, ...] | None:
        """The channels a gate looks at; None where it looks at other gates or at a ratio of channels."""
        dimensions = self._gates[path][0].dimensions
        found = []
        for one in dimensions or ():
            channel = getattr(one, "dimension_ref", None) or getattr(one, "id", None)
            if channel is None:
                return None
            own = self.tree.comp_matrices.get(one.compensation_ref)
            if own is not None and channel in getattr(own, "fluorochromes", ()):  # named by the dye
                channel = own.detectors[own.fluorochromes.index(channel)]
            found.append(Dimension(str(channel), one.compensation_ref not in _RAW))
        return tuple(found) or None

    def matrices(self, paths: Collection[GatePath]) -> tuple[str, ...]:
        """Names of the matrices that these gates and their ancestors look through, `FCS` for the file's own."""
        queue, met, refs = list(paths), set[GatePath](), dict[str, None]()
        while queue:
            path = queue.pop(0)
            if path in met or path not in self._gates:
                continue
            met.add(path)
            gate = self._gates[path][0]
            refs |= {one.compensation_ref: None for one in gate.dimensions or () if one.compensation_ref not in _RAW}
            queue.append(path[:-1])
            queue += [  # a boolean gate looks at what its gates look at
                (*(name for name in one["path"] if name != _ROOT), one["ref"]) for one in getattr(gate, "gate_refs", ())
            ]
        return tuple(refs)

    def matrix(self, name: str, channels: Sequence[str]) -> Spillover | None:
        """A matrix of the gates' own, with its detectors as the file's `channels` name them; None if not square."""
        found = self.tree.comp_matrices.get(name)
        if found is None or np.shape(found.matrix) != (len(found.detectors),) * 2:
            return None
        real = {channel.replace("/", "_"): channel for channel in channels}
        detectors = tuple(real.get(one, one) for one in found.detectors)
        return Spillover(detectors, np.asarray(found.matrix, np.float64), f"{self.source}: {name}")

    def misread(self, spillover: Spillover | None) -> str:
        """A gate that FlowKit would read other than GatingML 2.0 means it; empty if there is none.

        In a gate that looks at one channel compensated and at another uncompensated FlowKit compensates both.
        """
        for path, (gate, _) in self._gates.items():
            refs = {one.compensation_ref for one in gate.dimensions or ()} - set(_RAW)
            detectors: Collection[str] = ()
            for ref in refs:
                own = self.tree.comp_matrices.get(ref)
                detectors = own.detectors if own is not None else spillover.channels if spillover else ()
            raw = [a.channel for a in self.axes(path) or () if not a.compensated and a.channel in detectors]
            if raw:
                return f"{shown(path)} looks at {raw[0]} uncompensated beside a compensated channel"
        return ""

    def memberships(self, name: str, events: bytes, wanted: Collection[GatePath] | None = None) -> list[Membership]:
        """The gates (those `wanted`, else every one) on the events of the file called `name`: FCS 3.1, linear values.

        Raises InputError where FlowKit cannot apply them.
        """
        import flowkit

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            sample = self._sample(flowkit, events, name)
            try:
                results = self.tree.gate_sample(sample)
            except Exception as error:  # FlowKit raises what it trips over: unknown channels, matrices, transformations
                has = ", ".join(sample.pnn_labels)
                raise InputError(
                    self.source, f"cannot be applied to {name}: {_said(error)}", f"the file has {has}"
                ) from None
            return list(self._found(results, sample.event_count, wanted))

    def _sample(self, flowkit: Any, events: bytes, name: str) -> Any:
        """FlowKit's sample. Channels that the file's matrix leaves out are said to be empty, or it refuses the file."""
        options = {"preprocess": False, "sample_id": self.sample or name, "use_flowjo_labels": bool(self.sample)}
        sample = flowkit.Sample(io.BytesIO(events), **options)
        text = sample.get_metadata()
        spill = text.get("spillover") or text.get("spill")
        fluorescence = [sample.pnn_labels[i] for i in sample.fluoro_indices]
        if spill and FROM_FILE in self.matrices(self.paths):
            n = int(spill.split(",")[0])
            left_out = [one for one in fluorescence if one not in spill.split(",")[1 : n + 1]]
            if left_out and not self.tree.comp_matrices:
                sample = flowkit.Sample(io.BytesIO(events), null_channel_list=left_out, **options)
        return sample

    def _found(self, results: Any, n_events: int, wanted: Collection[GatePath] | None) -> Iterator[Membership]:
        """Gates in FlowKit's order, parents first. A quadrant gate has no events of its own: its quadrants have."""
        counts: dict[GatePath, int] = {(): n_events}
        for path, (gate, holds) in self._gates.items():
            if not holds:
                continue
            if gate.gate_name == path[-1]:
                mask = results.get_gate_membership(path[-1], (_ROOT, *path[:-1]))
            else:
                mask = results.get_gate_membership(path[-1])
            counts[path] = int(np.count_nonzero(mask))
            if wanted is None or path in wanted:
                yield Membership(path[-1], path, np.asarray(mask, np.bool_), counts[self.parent(path)])


def _undone(value: float | None, linear: Any) -> str:
    """A limit on the channel's own scale, where it stands on a linear one, (x + A) / (T + A): nine digits of it."""
    if value is None or linear is None:
        return repr(value)
    return f"{float(value) * (linear.param_t + linear.param_a) - linear.param_a:.9g}"


def _content(value: Any) -> Any:
    """A FlowKit object as lists, texts and numbers."""
    if isinstance(value, Mapping):
        return [[str(key), _content(value[key])] for key in sorted(value, key=str)]
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_content(one) for one in value]
    if hasattr(value, "__dict__"):
        return [type(value).__name__, _content({k: v for k, v in vars(value).items() if k not in _NO_CONTENT})]
    return repr(value)


@dataclass(frozen=True, eq=False)
class GateFile:
    """A file of gates, parsed: one strategy for every file (GatingML), or one a sample (a workspace).

    `samples` are those of the workspace by the names of their files, `groups` the samples of each group, `customised`
    the samples with gates of their own, `repeated` the names that several samples share.
    """

    name: str
    common: Strategy | None = None
    samples: Mapping[str, Strategy] = field(default_factory=dict)
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    customised: frozenset[str] = frozenset()
    repeated: frozenset[str] = frozenset()

    def knows(self, file: str) -> bool:
        """Whether a file has gates of its own here."""
        return self.common is not None or file in self.samples

    def strategy(self, file: str, group: str | None = None) -> Strategy:
        """The gates of a file: its own where the workspace knows it, else those of the group where one is named.

        The group's gates are those that its samples share, leaving aside samples with gates of their own. Raises
        InputError where the file is not known, or the samples of the group do not agree.
        """
        if self.common is not None:
            return self.common
        if file in self.repeated:
            raise InputError(self.name, f"knows several samples called {file}", "one workspace a plate, or other names")
        if file in self.samples:
            return self.samples[file]
        if group is None:
            raise InputError(self.name, f"knows no sample called {file}", "the sample is found by its file's name")
        return self._of_group(group)

    def _of_group(self, group: str) -> Strategy:
        if group not in self.groups:
            raise InputError(self.name, f"has no group {group!r}", f"its groups: {listed(list(self.groups))}")
        shared = [one for one in self.groups[group] if one not in self.customised and one not in self.repeated]
        alike: dict[str, list[str]] = {}
        for one in shared:
            alike.setdefault(self.samples[one].content, []).append(one)
        if len(alike) != 1:
            what = f"no sample of group {group!r} is without gates of its own"
            if alike:
                two = " and ".join(names[0] for names in list(alike.values())[:2])
                what = f"the samples of group {group!r} do not share their gates, scales and matrix: {two} differ"
            raise InputError(self.name, what, "add the file to the workspace in FlowJo, or name a group that agrees")
        return self.samples[shared[0]]


def read_gates(path: Path) -> GateFile:
    """A GatingML 2.0 file or a FlowJo 10 workspace (`.wsp`); raises InputError where FlowKit cannot read it."""
    import flowkit

    workspace = path.suffix.lower() == ".wsp"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if workspace:
                return _of_workspace(path, flowkit.Workspace(str(path), load_missing_file_data=True))
            return GateFile(path.name, Strategy(path.name, flowkit.parse_gating_xml(str(path))))
    except Exception as error:
        hint = "save it with FlowJo 10" if workspace else "GatingML 2.0, or a FlowJo 10 .wsp"
        raise InputError(path.name, f"cannot be read: {_said(error)}", hint) from None


def _of_workspace(path: Path, workspace: Any) -> GateFile:
    """FlowKit's workspace, and from its XML what FlowKit keeps to itself: names given twice, gates a sample owns."""
    nodes = list(ET.parse(path).iter("SampleNode"))
    names = Counter(node.get("name", "") for node in nodes)
    gates = [(node.get("name", ""), gate) for node in nodes for tag in _POPULATIONS for gate in node.iter(tag)]
    own = {name for name, gate in gates if not gate.get("owningGroup")}
    known = workspace.get_sample_ids(loaded_only=False)
    return GateFile(
        path.name,
        samples={one: Strategy(path.name, workspace.get_gating_strategy(one), one) for one in known},
        groups={
            group: tuple(workspace.get_sample_ids(group_name=group, loaded_only=False))
            for group in workspace.get_sample_groups()
        },
        customised=frozenset(own),
        repeated=frozenset(name for name, n in names.items() if n > 1),
    )


def apply_gates(gates: Path, name: str, events: bytes) -> list[Membership]:
    """Every gate of a GatingML file or FlowJo workspace on the events of the file called `name`.

    `events` is FCS 3.1 with linear values; a workspace knows its samples by their files' names. Raises InputError
    where the file of gates cannot be read, does not know the sample, or looks at channels that are missing.
    """
    return read_gates(gates).strategy(name).memberships(name, events)


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
