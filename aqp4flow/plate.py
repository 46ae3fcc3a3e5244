"""A plate as handed in, what the definition means on it, and its wells opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aqp4flow.assay.background import refusals
from aqp4flow.assay.cutoffs.negatives import Past
from aqp4flow.assay.definition import Assay, resolve_channel
from aqp4flow.assay.platemap import unnumbered_pairs
from aqp4flow.cytometry.beadlot import for_channel
from aqp4flow.cytometry.beads import Assigned
from aqp4flow.cytometry.gates import Columns, GateChannels
from aqp4flow.errors import ConfigError, FcsError, InputError
from aqp4flow.fcs import FcsFile
from aqp4flow.fcs.spillover import HARDWARE_SPILLOVER
from aqp4flow.gating import ForeignGates, GateDocument, Gating, gating_of
from aqp4flow.model import FULLY_STAINED, Channel, Role, Spillover, Well


@dataclass(frozen=True)
class Plate:
    """A plate as handed in: its wells, its files by name (or why one cannot be read), files no well names."""

    name: str
    wells: tuple[Well, ...]
    files: Mapping[str, FcsFile | FcsError]
    unlisted: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """What the definition means on one plate: channels by $PnN, the matrix and the gates from outside.

    `beads` holds the values that the beads' maker assigned in the signal's channel, `history` the sera of earlier
    plates that cut-offs are made from, `controls` those that control materials are held against (None: not asked for).
    """

    assay: Assay
    channels: GateChannels
    signal: str
    matrix: Spillover | None
    gating: Gating | None
    beads: Assigned | None = None
    history: tuple[Past, ...] = ()
    controls: tuple[Past, ...] | None = None


def settle(
    plate: Plate,
    assay: Assay,
    matrix: Spillover | None,
    gates: GateDocument | None,
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

    height = wanted.forward_height or (None if wanted.forward_width else _beside(wanted.forward, "-H", there))
    channels = GateChannels(
        forward=find("forward", wanted.forward) or "",
        side=find("side", wanted.side) or "",
        forward_height=find("forward_height", height),
        forward_width=find(
            "forward_width", None if height else wanted.forward_width or _beside(wanted.forward, "-W", there)
        ),
        viability=find("viability", wanted.viability),
        reporter=find("reporter", wanted.reporter),
        scale=assay.gating.scale,
    )
    signal = find("signal", wanted.signal) or ""
    gating = None
    if gates is not None:
        cells = [well for well in plate.wells if well.role is not Role.BEADS]
        readable = [file for well in cells if isinstance(file := plate.files[well.file], FcsFile)]
        controls = {well.file for well in plate.wells if well.role not in FULLY_STAINED}
        try:
            gating = gating_of(gates, readable, assay, controls)
        except InputError as problem:
            problems += [problem, *problem.others]
    problems += unnumbered_pairs(plate.name, plate.wells, assay.assay.comparator)
    problems += refusals(plate.name, plate.wells, assay.readout, assay.assay.comparator)
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
    return Setting(assay, channels, signal, matrix, gating, beads)


def first_channels(plate: Plate) -> tuple[Channel, ...]:
    """Channels of the first file that can be read; raises the first refusal when none can."""
    # beads may have been taken with fewer channels than cells
    files = [plate.files[well.file] for well in sorted(plate.wells, key=lambda well: well.role is Role.BEADS)]
    for file in files:
        if isinstance(file, FcsFile):
            return file.channels
    refusals = [file for file in files if isinstance(file, FcsError)]
    raise refusals[0] if refusals else InputError(f"{plate.name}/", "no wells", "fill in the plate map")


def _beside(forward: str, ending: str, there: Sequence[Channel]) -> str | None:
    """`FSC-A` has its height in `FSC-H` and its width in `FSC-W`, when the cytometer stored them."""
    name = forward.removesuffix("-A") + ending
    return name if forward.endswith("-A") and any(channel.name == name for channel in there) else None


def in_order_of_acquisition(plate: Plate) -> tuple[list[Well], bool]:
    """The wells as they were acquired, and whether their files tell: each begins at a time of its own.

    Where they do not, a plate is taken to be read row by row.
    """
    files = [plate.files[well.file] for well in plate.wells]
    begins = [file.acquired.begin if isinstance(file, FcsFile) else None for file in files]
    known = [begin for begin in begins if begin is not None]
    if len(known) == len(begins) and len(set(known)) == len(begins):
        timed = sorted(zip(known, plate.wells, strict=True), key=lambda pair: pair[0])
        return [well for _, well in timed], True
    return sorted(plate.wells, key=lambda well: well.row_by_row), False


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
    unfit = setting.gating.unfit(file) if setting.gating and well.role is not Role.BEADS else ""
    if unfit:
        return Opened(well, None, None, unfit)
    changed = [repair.message for repair in file.repairs if repair.code == "data-seven-bit"]
    if changed:
        return Opened(well, None, None, changed[0])
    if well.role is Role.BEADS:  # a bead carries one dye, or all: the cells' matrix is not for it
        return Opened(well, file, None)
    spillover, refusal = _spillover_for(file, setting)
    return Opened(well, None if refusal else file, spillover, refusal)


def _wanted_channels(setting: Setting) -> list[str]:
    channels = setting.channels
    scatter = [channels.forward, channels.side, channels.forward_height, channels.forward_width]
    return [name for name in (*scatter, channels.viability, channels.reporter, setting.signal) if name]


def _spillover_for(file: FcsFile, setting: Setting) -> tuple[Spillover | None, str]:
    """The matrix this file is compensated with, or why it cannot be."""
    source = setting.assay.compensation.source
    if source in ("none", "gates"):
        return (None, "") if source == "none" else _of_gates(file, setting)
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


def _of_gates(file: FcsFile, setting: Setting) -> tuple[Spillover | None, str]:
    """The one matrix that the gates of another program bring along for this file."""
    if isinstance(setting.gating, ForeignGates) and file.path.name not in setting.gating.files:
        return None, ""  # a control without gates: there is nothing to measure in it
    matrix = setting.gating.own_matrix(file) if isinstance(setting.gating, ForeignGates) else None
    return matrix, "" if matrix else f"{setting.assay.gating.source} holds no one matrix for this file"


def distinct(matrices: Sequence[Spillover]) -> tuple[Spillover, ...]:
    """The matrices that hold different numbers, each once, in order."""
    found: list[Spillover] = []
    for matrix in matrices:
        if not any(matrix.same_as(other) for other in found):
            found.append(matrix)
    return tuple(found)
