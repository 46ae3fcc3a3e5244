"""Where the populations of a well come from: gates that our own code evaluates, or another program's by FlowKit.

`measure` and the report see a `Gating` and do not care which it is. Our own code evaluates learned gates, those of an
earlier run, and of other programs' only what provably equals FlowKit: ranges, rectangles and polygons on the linear
scale, uncompensated, whose test is a comparison of the same two numbers or FlowKit's own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import numpy as np

from aqp4flow.assay.definition import Assay
from aqp4flow.cytometry.gates import Columns, Mask, Rows, channels_needed, dimensions, moved, populations
from aqp4flow.cytometry.gatingml import NotSimpleError, of_a_run, read_gatingml, write_gatingml
from aqp4flow.cytometry.interchange import FROM_FILE, GateFile, GatePath, Membership, Strategy, read_gates, shown
from aqp4flow.cytometry.pictures import Drawing, GatePicture, picture_gates, picture_members
from aqp4flow.cytometry.scale import Span, spans_of
from aqp4flow.errors import ConfigError, InputError, listed
from aqp4flow.fcs import FcsFile, linear, placeholder
from aqp4flow.fcs.spillover import HARDWARE_SPILLOVER
from aqp4flow.model import Channel, Dimension, Ellipse, Gate, ScaleName, Spillover, Values

#: What a population can be to the assay; each has a column of counts in wells.csv.
ROLES = ("cells", "singlets", "live", "expressing", "nonexpressing")
_PICTURED_EVENTS = 4000  # of a well
_Panel = tuple[GatePath, tuple[Dimension, ...]]  # the events that gates divide, and the axes they look at
_Part = tuple[list[Values], dict[str, Mask]]  # of one well: values on those axes, and who is in which gate


class Gating(Protocol):
    """Gates as a plate uses them."""

    @property
    def names(self) -> tuple[str, ...]:
        """The gates, as the report names them."""
        ...

    @property
    def document(self) -> tuple[str, bytes]:
        """The file that holds the gates: its ending and its bytes."""
        ...

    def populations(self, file: FcsFile, columns: Columns) -> dict[str, Rows]:
        """Row numbers of the events of each of ROLES that the gates have, in file order."""
        ...

    def pictures(self, wells: Iterable[tuple[FcsFile, Columns]]) -> list[GatePicture]:
        """The gates over pooled events, fluorescence on the scale they are `drawn_on`."""
        ...

    def drawn_on(self, scale: ScaleName) -> Gating:
        """The same gates with pictures on that scale."""
        ...

    def unfit(self, file: FcsFile) -> str:
        """Why the gates cannot be applied to a file; empty where they can."""
        ...


# --- our own code ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class OwnGates:
    """Gates that our own code evaluates. `roles` says which gate is what; `original` is another program's document."""

    gates: tuple[Gate, ...]
    roles: Mapping[str, str]
    original: bytes | None = field(default=None, repr=False)
    scale: ScaleName = "asinh"

    @property
    def names(self) -> tuple[str, ...]:
        """The gates, parents first."""
        return tuple(gate.name for gate in self.gates)

    @property
    def document(self) -> tuple[str, bytes]:
        """The original where there is one, else the gates as GatingML 2.0."""
        return ".xml", write_gatingml(self.gates).encode() if self.original is None else self.original

    def populations(self, file: FcsFile, columns: Columns) -> dict[str, Rows]:  # noqa: ARG002  (FlowKit needs it)
        """Row numbers by role."""
        found = populations(columns, self.gates)
        return {role: found[name] for role, name in self.roles.items()}

    def moved(self, factors: Mapping[Dimension, float]) -> OwnGates:
        """The same gates with polygons on the axes named multiplied."""
        return replace(self, gates=tuple(moved(gate, factors) for gate in self.gates))

    def pictures(self, wells: Iterable[tuple[FcsFile, Columns]]) -> list[GatePicture]:
        """One picture for each parent and set of axes."""
        return picture_gates((columns for _, columns in wells), self.gates, self.scale)

    def drawn_on(self, scale: ScaleName) -> OwnGates:
        """The same gates with pictures on that scale."""
        return replace(self, scale=scale)

    def unfit(self, file: FcsFile) -> str:
        """Channels that the file lacks."""
        has = {channel.name for channel in file.channels}
        missing = [name for name in channels_needed(self.gates) if name not in has]
        return f"the file has no channel {', '.join(missing)}, which the gates look at" if missing else ""


def own_gates(gates: Sequence[Gate], assay: Assay, original: bytes | None = None) -> OwnGates:
    """Gates with their roles; raises ConfigError carrying every population that is demanded and missing."""
    paths: dict[str, GatePath] = {}
    for gate in gates:
        paths[gate.name] = (*(paths[gate.parent] if gate.parent else ()), gate.name)
    demanded = _demanded(assay)
    if not assay.channels.reporter and original is None:
        demanded.discard("expressing")
    roles = {role: path[-1] for role, path in _roles(tuple(paths.values()), assay, demanded).items()}
    return OwnGates(tuple(gates), {"expressing": gates[-1].name, **roles}, original)


def learned_gates(gates: Sequence[Gate]) -> OwnGates:
    """Gates that were learned: their names are the roles. Without a reporter the innermost gate is the one measured."""
    names = [gate.name for gate in gates]
    return OwnGates(tuple(gates), {"expressing": names[-1], **{role: role for role in ROLES if role in names}})


def _demanded(assay: Assay) -> set[str]:
    """Roles that must have a gate: the populations compared, and those that assay.toml names."""
    named = {role for role in ("cells", "singlets", "live") if getattr(assay.gating, role)}
    return named | {"expressing"} | ({"nonexpressing"} if assay.assay.comparator == "same-well" else set())


def _roles(paths: Sequence[GatePath], assay: Assay, demanded: set[str], file: str = "") -> dict[str, GatePath]:
    """The gate of each role, by name where that is unique or by path; what is not there or ambiguous is a problem."""
    where = f"assay.toml: [gating] {assay.gating.source}" + (f" on {file}" if file else "")
    there = f"gates: {listed([shown(path) for path in paths], 40)}"
    found: dict[str, GatePath] = {}
    problems = []
    for role in ROLES:
        wanted = getattr(assay.gating, role) or role
        fitting = [path for path in paths if wanted in (path[-1], shown(path))]
        if len(fitting) == 1:
            found[role] = fitting[0]
        elif fitting:
            which = ", ".join(shown(path) for path in fitting)
            what = f"{len(fitting)} gates are called {wanted!r}: {which}"
            problems.append(ConfigError(where, what, f'name one by its path: {role} = "{shown(fitting[0])}"'))
        elif role in demanded:
            problems.append(ConfigError(where, f"no gate is called {wanted!r} (wanted as {role})", there))
    if found.get("expressing", "") == found.get("nonexpressing"):
        what = f"expressing and nonexpressing are both {shown(found['expressing'])}"
        problems.append(ConfigError(where, what, "name two populations: the one is compared with the other"))
    if problems:
        problems[0].others = tuple(problems[1:])
        raise problems[0]
    return found


# --- FlowKit ---------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Fitted:
    """The gates of one file: which strategy, its populations by role, why it cannot be applied (or empty)."""

    strategy: Strategy
    roles: Mapping[str, GatePath]
    refusal: str = ""


@dataclass(frozen=True, eq=False)
class ForeignGates:
    """Another program's gates, evaluated by FlowKit on each file's events.

    `by_group` names files that got the gates of a group. Files that are in neither have no gates: controls that the
    workspace does not know, or for which it holds other gates than those of the assay.
    """

    source: GateFile
    files: Mapping[str, _Fitted] = field(repr=False)
    by_group: tuple[str, ...] = ()
    document: tuple[str, bytes] = field(default=("", b""), repr=False)
    scale: ScaleName = "asinh"

    @property
    def names(self) -> tuple[str, ...]:
        """Paths of the gates that lead to a population of the assay, in any file."""
        return tuple(dict.fromkeys(shown(path) for one in self.files.values() for path in _chain(one)))

    def populations(self, file: FcsFile, columns: Columns) -> dict[str, Rows]:  # noqa: ARG002  (FlowKit reads its own)
        """Row numbers by role."""
        one = self.files.get(file.path.name)
        if one is None:
            return {}
        found = _memberships(one.strategy, file, tuple(one.roles.values()))
        return {role: np.flatnonzero(found[path].mask) for role, path in one.roles.items()}

    def unfit(self, file: FcsFile) -> str:
        """What FlowKit said when the gates were tried on the file's channels."""
        one = self.files.get(file.path.name)
        return one.refusal if one else ""

    def pictures(self, wells: Iterable[tuple[FcsFile, Columns]]) -> list[GatePicture]:
        """Members over the events of their parent, for gates on one or two channels, through the gates' own matrix."""
        pooled: dict[_Panel, list[_Part]] = {}
        spans: dict[str, Span] = {}
        for file, columns in wells:
            spans = spans_of(file.channels, spans)
            one = self.files[file.path.name]
            found = _memberships(one.strategy, file, _chain(one))
            seen = Columns(columns.events, self._seen_through(file))
            for (parent, axes), paths in _panels(one, file.channels).items():
                rows = np.flatnonzero(found[parent].mask) if parent else np.arange(columns.events.count)
                rows = rows[:: max(1, len(rows) // _PICTURED_EVENTS)]
                masks = {shown(path): found[path].mask[rows] for path in paths}
                pooled.setdefault((parent, axes), []).append(([seen.take(axis, rows) for axis in axes], masks))
        drawing = Drawing(self.scale, spans)
        drawn = [_pooled(parent, axes, parts, drawing) for (parent, axes), parts in pooled.items()]
        return [picture for picture in drawn if picture]

    def drawn_on(self, scale: ScaleName) -> ForeignGates:
        """The same gates with pictures on that scale."""
        return replace(self, scale=scale)

    def matrices(self, file: FcsFile) -> dict[str, Spillover | None]:
        """By name what the gates of a file look through; None where the file has no matrix, or it is a spectral one."""
        one = self.files.get(file.path.name)
        if one is None:
            return {}
        strategy, names = one.strategy, one.strategy.matrices(tuple(one.roles.values()))
        here = [channel.name for channel in file.channels]
        applied = file.spillover is not None and file.spillover.source == HARDWARE_SPILLOVER
        of_file = None if applied else file.spillover
        return {name: of_file if name == FROM_FILE else strategy.matrix(name, here) for name in names}

    def own_matrix(self, file: FcsFile) -> Spillover | None:
        """The one matrix that the gates of a file bring along or look through; None where there is none, or several."""
        one = self.files.get(file.path.name)
        here = [channel.name for channel in file.channels]
        brought = [one.strategy.matrix(name, here) for name in one.strategy.tree.comp_matrices] if one else []
        brought = brought or list(self.matrices(file).values())
        matrix = brought[0] if len(brought) == 1 else None
        return matrix if matrix and set(matrix.channels) <= set(here) else None

    def _seen_through(self, file: FcsFile) -> Spillover | None:
        return next(iter(self.matrices(file).values()), None)


def _chain(one: _Fitted) -> tuple[GatePath, ...]:
    """The gates that lead to the populations of the assay, each once, parents first."""
    there = set(one.strategy.paths)
    wanted = {path[:n] for path in one.roles.values() for n in range(1, len(path) + 1)}
    return tuple(path for path in one.strategy.paths if path in wanted & there)


def _memberships(strategy: Strategy, file: FcsFile, wanted: Sequence[GatePath]) -> dict[GatePath, Membership]:
    return {one.path: one for one in strategy.memberships(file.path.name, linear(file), wanted)}


def _panels(one: _Fitted, channels: Sequence[Channel]) -> dict[_Panel, list[GatePath]]:
    """Gates that can be drawn, by the events they divide and the channels they look at."""
    real = {name: c.name for c in reversed(channels) for name in (c.stain, c.name.replace("/", "_"), c.name)}
    found: dict[_Panel, list[GatePath]] = {}
    for path in _chain(one):
        axes = tuple(dict.fromkeys(one.strategy.axes(path) or ()))
        if 1 <= len(axes) <= 2 and all(axis.channel in real for axis in axes):
            drawn = tuple(Dimension(real[axis.channel], axis.compensated) for axis in axes)
            found.setdefault((one.strategy.parent(path), drawn), []).append(path)
    return found


def _pooled(
    parent: GatePath, axes: tuple[Dimension, ...], parts: Sequence[_Part], drawing: Drawing
) -> GatePicture | None:
    values = [np.concatenate(columns) for columns in zip(*(part for part, _ in parts), strict=True)]
    names = dict.fromkeys(name for _, masks in parts for name in masks)
    members = {
        name: np.concatenate([masks.get(name, np.zeros(len(part[0]), np.bool_)) for part, masks in parts])
        for name in names
    }
    return picture_members(shown(parent) if parent else "all events", axes, values, members, drawing)


# --- from a file -----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class GateDocument:
    """A file of gates as read: simple gates for our own code, or what FlowKit made of it."""

    name: str
    content: bytes = field(repr=False)
    gates: tuple[Gate, ...] | GateFile


def read_gating(path: Path, channels: Sequence[Channel]) -> GateDocument:
    """Read the file that [gating] names, for files with these channels; raises InputError where it cannot be read."""
    if not path.is_file():
        raise InputError(path.name, "no such gate file", "[gating] source is relative to assay.toml")
    content = path.read_bytes()
    if path.suffix.lower() == ".wsp":
        return GateDocument(path.name, content, read_gates(path))
    try:
        gates = read_gatingml(path)
    except NotSimpleError:
        return GateDocument(path.name, content, read_gates(path))
    if of_a_run(content) or _equal_flowkit(gates, channels):
        return GateDocument(path.name, content, gates)
    return GateDocument(path.name, content, read_gates(path))


def _equal_flowkit(gates: Sequence[Gate], channels: Sequence[Channel]) -> bool:
    """Whether every event provably falls as in FlowKit.

    Not so where a value is computed on the way, for the last bit may fall otherwise: compensation, the distance of an
    ellipse. Nor where FlowKit finds the channel by another name than $PnN.
    """
    names = {channel.name for channel in channels}
    return all(
        not isinstance(gate, Ellipse)
        and all(axis.channel in names and not axis.compensated for axis in dimensions(gate))
        and len(set(dimensions(gate))) == len(dimensions(gate))
        for gate in gates
    )


def gating_of(document: GateDocument, files: Sequence[FcsFile], assay: Assay, controls: Collection[str]) -> Gating:
    """The gates of a document for the readable files of a plate; those named in `controls` may go without.

    Raises ConfigError carrying every population that is missing or ambiguous, and InputError where the gates do not
    fit the files.
    """
    if not isinstance(document.gates, GateFile):
        run = of_a_run(document.content)
        own = own_gates(document.gates, assay, None if run else document.content)
        refusals = [own.unfit(file) for file in files]
        if refusals and all(refusals):
            _refuse(assay, refusals[0], files[0])
        return own
    ending = Path(document.name).suffix.lower()
    foreign = _foreign(document.gates, files, assay, controls)
    return replace(foreign, document=(ending, document.content))


def _refuse(assay: Assay, what: str, file: FcsFile) -> None:
    has = ", ".join(channel.name for channel in file.channels)
    raise ConfigError(f"assay.toml: [gating] {assay.gating.source}", what, f"the files have {has}")


def _foreign(source: GateFile, files: Sequence[FcsFile], assay: Assay, controls: Collection[str]) -> ForeignGates:
    group = assay.gating.group
    where = f"assay.toml: [gating] {assay.gating.source}"
    if group is not None and group not in source.groups:
        what = f"{source.name} has no group {group!r}"
        raise ConfigError(where, what, f"its groups: {listed(list(source.groups)) or 'none'}")
    unknown = [file.path.name for file in files if not source.knows(file.path.name)]
    if group is None:
        files = [file for file in files if file.path.name not in unknown or file.path.name not in controls]
        unknown = [name for name in unknown if name not in controls]
    if unknown and group is None:
        hint = f'its samples: {listed(list(source.samples))}; or name the group whose gates they get: group = "..."'
        hint += f" ({listed(list(source.groups)) or 'it has none'})"
        raise ConfigError(where, f"{source.name} knows no sample called {listed(unknown)}", hint)
    fitted: dict[str, _Fitted] = {}
    tried: dict[tuple[object, ...], _Fitted] = {}
    for file in files:
        strategy = source.strategy(file.path.name, group)
        key = (
            strategy.content,
            tuple((c.name, c.stain, np.isnan(c.gain)) for c in file.channels),
            file.spillover and file.spillover.channels,
        )
        if key not in tried:
            try:
                tried[key] = _fit(strategy, file, assay)
            except ConfigError:
                if file.path.name in controls:
                    continue
                raise
        fitted[file.path.name] = _Fitted(strategy, tried[key].roles, tried[key].refusal)
    if fitted and all(one.refusal for one in fitted.values()):
        first = next(file for file in files if file.path.name in fitted)
        _refuse(assay, fitted[first.path.name].refusal, first)
    return ForeignGates(source, fitted, tuple(unknown))


def _fit(strategy: Strategy, file: FcsFile, assay: Assay) -> _Fitted:
    """The populations of the assay among the gates, and whether FlowKit can apply these to the file's channels."""
    one_sample = file.path.name if strategy.sample else ""
    roles = _roles(strategy.paths, assay, _demanded(assay), one_sample)
    misread = strategy.misread(file.spillover)
    if misread:
        where = f"assay.toml: [gating] {assay.gating.source}"
        raise ConfigError(where, f"{misread}, which FlowKit would compensate too", "compensate both axes, or neither")
    unknown = [channel.name for channel in file.channels if np.isnan(channel.gain)]
    if unknown:
        return _Fitted(strategy, roles, f"{listed(unknown)}: the scale is not known, and FlowKit is given all channels")
    try:
        strategy.memberships(file.path.name, placeholder(file), ())
    except InputError as error:
        return _Fitted(strategy, roles, f"{error.where} {error.what}")
    return _Fitted(strategy, roles)
