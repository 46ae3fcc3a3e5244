"""A plate as handed in, what the definition means on it, and its wells opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aqp4flow.assay.definition import Assay, resolve_channel
from aqp4flow.cytometry.beadlot import for_channel
from aqp4flow.cytometry.beads import Assigned
from aqp4flow.cytometry.gates import Columns, GateChannels, channels_needed
from aqp4flow.cytometry.measure import Populations
from aqp4flow.errors import ConfigError, FcsError, InputError
from aqp4flow.fcs import FcsFile
from aqp4flow.fcs.spillover import HARDWARE_SPILLOVER
from aqp4flow.model import Channel, Gate, Role, Spillover, Well


@dataclass(frozen=True)
class Plate:
    """A plate as handed in: its wells, its files by name (or why one cannot be read), files no well names."""

    name: str
    wells: tuple[Well, ...]
    files: Mapping[str, FcsFile | FcsError]
    unlisted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """What the definition means on one plate: channels by $PnN, the matrix from outside, frozen gates.

    `beads` holds the values that the beads' maker assigned in the signal's channel.
    """

    assay: Assay
    channels: GateChannels
    signal: str
    matrix: Spillover | None
    gates: tuple[Gate, ...] | None
    beads: Assigned | None = None


def settle(
    plate: Plate,
    assay: Assay,
    matrix: Spillover | None,
    gates: Sequence[Gate] | None,
    lot: Sequence[Assigned] | None = None,
) -> Setting:
    """Find the assay's channels in the plate's first readable file; raises ConfigError carrying every problem."""
    there = first_channels(plate)
    wanted = assay.channels
    problems: list[InputError] = []

    def find(key: str, name: str | None) -> str | None:
        if name is None:
            return None
        try:
            return resolve_channel(name, key, there)
        except ConfigError as problem:
            problems.append(problem)
            return None

    height = wanted.forward_height or _height_of(wanted.forward, there)
    channels = GateChannels(
        forward=find("forward", wanted.forward) or "",
        side=find("side", wanted.side) or "",
        forward_height=find("forward_height", height),
        viability=find("viability", wanted.viability),
        reporter=find("reporter", wanted.reporter),
    )
    signal = find("signal", wanted.signal) or ""
    frozen = tuple(gates) if gates is not None else None
    problems += _gate_problems(frozen, assay, there) if frozen is not None else []
    names = [channel.name for channel in there]
    if matrix is not None and not set(matrix.channels) <= set(names):
        missing = ", ".join(name for name in matrix.channels if name not in names)
        hint = f"the files have {', '.join(names)}"
        problems.append(ConfigError("assay.toml: [compensation] source", f"{matrix.source} names {missing}", hint))
    beads = None
    if lot is not None and signal:
        try:
            beads = for_channel(lot, signal, there, f"assay.toml: [beads] {assay.beads.values}")
        except ConfigError as problem:
            problems.append(problem)
    if problems:
        problems[0].others = tuple(problems[1:])
        raise problems[0]
    return Setting(assay, channels, signal, matrix, frozen, beads)


def first_channels(plate: Plate) -> tuple[Channel, ...]:
    """Channels of the first file that can be read; raises the first refusal when none can."""
    # beads may have been taken with fewer channels than cells
    files = [plate.files[well.file] for well in sorted(plate.wells, key=lambda well: well.role is Role.BEADS)]
    for file in files:
        if isinstance(file, FcsFile):
            return file.channels
    refusals = [file for file in files if isinstance(file, FcsError)]
    raise refusals[0] if refusals else InputError(f"{plate.name}/", "no wells", "fill in the plate map")


def _height_of(forward: str, there: Sequence[Channel]) -> str | None:
    """`FSC-A` has its height in `FSC-H`, when the cytometer stored it."""
    height = forward.removesuffix("-A") + "-H"
    return height if forward.endswith("-A") and any(channel.name == height for channel in there) else None


def _gate_problems(gates: Sequence[Gate], assay: Assay, there: Sequence[Channel]) -> list[InputError]:
    names = {channel.name for channel in there}
    where = f"assay.toml: [gating] {assay.gating.source}"
    problems: list[InputError] = []
    unknown = [channel for channel in channels_needed(gates) if channel not in names]
    if unknown:
        what = f"gates look at {', '.join(unknown)}, which the files do not have"
        problems.append(ConfigError(where, what, f"the files have {', '.join(sorted(names))}"))
    there_are = [gate.name for gate in gates]
    missing = [name for name in _compared_names(assay) if name not in there_are]
    hint = f"gates: {', '.join(there_are)}"
    return problems + [ConfigError(where, f"no gate is called {name!r}", hint) for name in missing]


def _compared_names(assay: Assay) -> list[str]:
    names = [assay.gating.expressing] if assay.channels.reporter else []
    return names + ([assay.gating.nonexpressing] if assay.assay.comparator == "same-well" else [])


@dataclass(frozen=True)
class Opened:
    """A well's file, or why it could not be read."""

    well: Well
    file: FcsFile | None
    spillover: Spillover | None
    refusal: str = ""

    def columns(self) -> Columns:
        """The well's events, in memory for as long as the columns live."""
        if self.file is None:
            raise ValueError("a refused file has no columns")
        return Columns(self.file.open_events(), self.spillover)


def files_of(plate: Plate, role: Role) -> list[tuple[Well, FcsFile]]:
    """Wells of a role whose file could be read and holds events, and that no one excluded."""
    found = [(well, plate.files[well.file]) for well in plate.wells if well.role is role and not well.excluded]
    return [(well, file) for well, file in found if isinstance(file, FcsFile) and file.n_events]


def open_well(plate: Plate, well: Well, setting: Setting) -> Opened:
    """The well with its file and matrix, or why it cannot be measured."""
    file = plate.files[well.file]
    if isinstance(file, FcsError):
        return Opened(well, None, None, file.what)
    wanted = _wanted_channels(setting)
    if well.role is Role.BEADS:
        wanted = [setting.channels.forward, setting.channels.side, setting.signal]
    missing = [name for name in wanted if not any(c.name == name for c in file.channels)]
    if missing:
        return Opened(well, None, None, f"the file has no channel {', '.join(missing)}")
    changed = [repair.message for repair in file.repairs if repair.code == "data-seven-bit"]
    if changed:
        return Opened(well, None, None, changed[0])
    if well.role is Role.BEADS:  # a bead carries one dye, or all: the cells' matrix is not for it
        return Opened(well, file, None)
    spillover, refusal = _spillover_for(file, setting)
    return Opened(well, None if refusal else file, spillover, refusal)


def _wanted_channels(setting: Setting) -> list[str]:
    channels = setting.channels
    names = [channels.forward, channels.side, channels.forward_height, channels.viability, channels.reporter]
    return [name for name in (*names, setting.signal) if name]


def _spillover_for(file: FcsFile, setting: Setting) -> tuple[Spillover | None, str]:
    """The matrix this file is compensated with, or why it cannot be."""
    source = setting.assay.compensation.source
    if source == "none":
        return None, ""
    if setting.matrix is not None:
        return setting.matrix, ""
    if file.spillover is not None and file.spillover.source == HARDWARE_SPILLOVER:
        refusal = f"{HARDWARE_SPILLOVER} was subtracted by the cytometer already; set [compensation] source to none"
        return None, "" if source == "auto" else refusal
    if file.spillover is not None:
        return (None if file.spillover.is_identity and source == "auto" else file.spillover), ""
    unusable = [repair.message for repair in file.repairs if repair.code == "spillover-unusable"]
    if unusable or source == "file":
        return None, unusable[0] if unusable else "the file carries no spillover matrix"
    return None, ""


def distinct(matrices: Sequence[Spillover]) -> tuple[Spillover, ...]:
    """The matrices that hold different numbers, each once, in order."""
    found: list[Spillover] = []
    for matrix in matrices:
        if not any(matrix.same_as(other) for other in found):
            found.append(matrix)
    return tuple(found)


def compared_populations(setting: Setting, gates: Sequence[Gate]) -> Populations:
    """Which populations are compared; without a gate of that name the innermost one stands for expressing."""
    gating = setting.assay.gating
    named = any(gate.name == gating.expressing for gate in gates)
    expressing = gating.expressing if named else gates[-1].name
    same_well = setting.assay.assay.comparator == "same-well"
    return Populations(expressing, gating.nonexpressing if same_well else None)
