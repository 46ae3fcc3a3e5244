"""One page that opens offline: verdict, checks, patients, titers, plates, wells, provenance."""

from __future__ import annotations

import base64
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata

from aqp4flow import __version__, tables
from aqp4flow.assay.cutoffs.cutoffrules import percent
from aqp4flow.calibration import line_words
from aqp4flow.gating import OwnGates
from aqp4flow.model import (
    POOLED,
    Check,
    CutOff,
    Imprecision,
    Reading,
    Role,
    Titration,
    Verdict,
)
from aqp4flow.pipeline import PlateTiters, StudyResult
from aqp4flow.report import patientspage
from aqp4flow.report.grids import Grid, bounded, grid, with_limits
from aqp4flow.report.look import Drawn
from aqp4flow.report.template import rendered

_ROWS, _COLUMNS = "ABCDEFGHIJKLMNOP", 24
_LIBRARIES = ("numpy", "scipy", "scikit-learn", "matplotlib", "flowutils", "flowio", "flowkit", "fcsparser")
_LETTERS = {
    "positive": "+",
    "equivocal": "?",
    "negative": "\N{MINUS SIGN}",
    "not-interpretable": "\N{MIDDLE DOT}",
}


@dataclass(frozen=True)
class Picture:
    """A figure in the page: its name, the image as a data address, and what it says in words."""

    name: str
    source: str
    text: str


@dataclass(frozen=True)
class PatientFigure:
    """One of Figures 1 to 4 in the page: heading, pictures, and which further sheets are files only."""

    title: str
    pictures: list[Picture]
    more: str


@dataclass(frozen=True)
class WellCell:
    """One well of the plate map: what is in it, a letter and class for its status, flags, and all of it in words."""

    name: str
    label: str
    detail: str
    letter: str
    kind: str
    flagged: bool
    title: str


@dataclass(frozen=True)
class PlatePage:
    """A plate in the page."""

    name: str
    verdict: str
    picture: Picture | None
    acquisition: Picture | None
    reference: Picture | None
    standards: Grid
    parallel: Grid
    columns: list[int]
    map: list[tuple[str, list[WellCell | None]]]
    wells: Grid
    beads: Picture | None
    bead_words: str
    bead_peaks: Grid


@dataclass(frozen=True)
class Context:
    """Everything the template shows."""

    title: str
    summary: str
    verdict: str
    fit: bool
    clean: bool
    troubles: list[Check]
    passed: int
    figures: list[PatientFigure]
    titers: Grid
    controls: Grid
    trajectories: Grid
    information: str
    statistics: Grid
    summaries: Grid
    plates: list[PlatePage]
    precision: str
    precision_rows: Grid
    excluded: Grid
    repairs: Grid
    methods: list[str]
    provenance: Grid


def render(result: StudyResult, drawn: Drawn) -> str:
    """The page as HTML; depends on the result alone, so the same result gives the same bytes."""
    return rendered("page.html.j2", _context(result, drawn))


def _context(result: StudyResult, drawn: Drawn) -> Context:
    identity = result.assay.assay
    readings = [reading for plate in result.plates for reading in plate.readings]
    troubles = [check for check in result.checks if check.verdict is not Verdict.PASS]
    rank = {"fail": 0, "warn": 1}
    scope = {"run": 0, "plate": 1, "patient": 2, "serum": 3, "well": 4}
    troubles.sort(key=lambda check: (rank[check.verdict], scope.get(check.scope, 5)))
    return Context(
        title=f"{identity.name}, version {identity.version}",
        verdict=_verdict(result),
        fit=result.fit,
        clean=not result.failed_alone,
        summary=_summary(result, readings),
        troubles=troubles,
        passed=sum(check.verdict is Verdict.PASS for check in result.checks),
        figures=_patient_figures(drawn),
        titers=_titers(result, patients=True),
        controls=_titers(result, patients=False),
        trajectories=patientspage.trajectories(result),
        information=patientspage.information(result),
        statistics=patientspage.statistics(result),
        summaries=patientspage.summaries(result),
        plates=[_plate_page(plate, result, drawn) for plate in result.titers],
        precision=next((check.message for check in result.checks if check.check == "precision"), ""),
        precision_rows=grid(tables.precision_table(_pooled(result)), _PRECISION_COLUMNS),
        excluded=Grid(
            ("plate", "well", "serum", "reason"),
            [[r.well.plate, r.well.name, r.well.serum, r.well.excluded] for r in readings if r.well.excluded],
        ),
        repairs=grid(tables.repairs_table([(p.plate.name, r) for p in result.plates for r in p.repairs])),
        methods=_methods(result),
        provenance=_provenance(result),
    )


def _verdict(result: StudyResult) -> str:
    if not result.fit:
        subjects = ", ".join(dict.fromkeys(f"{check.subject} ({check.check})" for check in result.failed))
        return f"Not fit for use as it stands: {subjects} failed."
    if result.failed_alone:
        return f"The run passes its acceptance rules, but look at what did not: {result.failed_alone} failed."
    return "The run passes all of its acceptance rules."


def _summary(result: StudyResult, readings: Sequence[Reading]) -> str:
    events = sum(reading.n_events or 0 for reading in readings)
    patients = len({point.visit.patient for point in result.trajectories})
    n = len(result.plates)
    parts = [f"{n} plate{'s' if n > 1 else ''}", f"{len(readings)} wells", f"{events:,} events"]
    return ", ".join([*parts, f"{patients} patients"] if patients else parts)


def _pooled(result: StudyResult) -> list[Imprecision]:
    """Precision of all materials together; those of single controls stand in precision.csv."""
    return [row for row in result.precision.rows if row.material == POOLED]


def _titers(result: StudyResult, patients: bool) -> Grid:
    """Titers of patients' sera, or of everything else: status at the lowest dilution, numbers with limits in one cell.

    Rounded to four digits: titers.csv has them all. The flags stand last, where lines may break.
    """
    sera = [(t, _status(t, plate)) for plate in result.titers for t in plate.titrations]
    sera = [(t, status) for t, status in sera if (t.role is Role.SAMPLE) == patients]
    units = ", ".join(dict.fromkeys(t.unit for t, _ in sera if t.unit))
    in_units = any(t.units for t, _ in sera)
    role = () if patients else ("role",)
    own = (f"units ({units}; 95 % limits)", "parallel") if in_units else ()
    headings = (
        "plate", "serum", *role, "status", "endpoint", "titer (95 % limits)", *own, "midpoint (95 % limits)", "flags",
    )  # fmt: skip
    rows = [
        [
            t.plate,
            t.serum,
            *([t.role.value] if role else []),
            status,
            bounded(t.endpoint),
            with_limits(t.titer),
            *([with_limits(t.units), t.parallel] if own else []),
            with_limits(t.curve.midpoint) if t.curve else "",
            "; ".join(t.flags),
        ]
        for t, status in sera
    ]
    return Grid(headings, rows)


def _status(titration: Titration, plate: PlateTiters) -> str:
    """Status of a serum at the lowest dilution that was read."""
    rows = [row for row in plate.rows if row.serum == titration.serum]
    return min(rows, key=lambda row: row.dilution).status.value if rows else ""


_PRECISION_COLUMNS = (
    "quantity", "n", "plates", "cv_within", "df_within", "cv_between", "df_between", "cv_total", "replicates",
    "rcv_one_plate", "rcv_two_plates", "rcv_two_plates_low", "rcv_two_plates_high", "notes",
)  # fmt: skip
_WELL_COLUMNS = (
    "well", "role", "serum", "dilution", "replicate", "n_events", "n_cells", "n_live", "n_expressing",
    "n_nonexpressing", "mfi_expressing", "mfi_nonexpressing", "delta", "delta_low", "delta_high", "ratio",
    "percent_positive", "flags",
)  # fmt: skip

_BEAD_COLUMNS = ("peak", "n", "mfi", "cv_percent", "assigned", "fitted", "residual_percent", "used", "note")


def _picture(name: str, drawn: Drawn, kind: str) -> Picture | None:
    data = drawn.files.get(f"{name}.{kind}")
    if data is None:
        return None
    address = {"svg": "data:image/svg+xml;base64,", "png": "data:image/png;base64,"}[kind]
    return Picture(name, address + base64.b64encode(data).decode(), drawn.captions[name])


def _patient_figures(drawn: Drawn) -> list[PatientFigure]:
    found = []
    for section in patientspage.sections(drawn.captions):
        pictures = [_picture(name, drawn, "svg") for name in section.names]
        found.append(PatientFigure(section.title, [p for p in pictures if p is not None], section.more))
    return found


def _plate_page(plate: PlateTiters, result: StudyResult, drawn: Drawn) -> PlatePage:
    name = plate.wells.plate.name
    own = [check for check in result.checks if check.scope == "plate" and check.subject == name]
    worst = min((check.verdict for check in own), key=["fail", "warn", "pass"].index, default=Verdict.PASS)
    rows, columns, cells = _map(plate)
    return PlatePage(
        name=name,
        verdict=worst.value,
        picture=_picture(f"plate-{name}", drawn, "png"),
        acquisition=_picture(f"acquisition-{name}", drawn, "png"),
        reference=_picture(f"reference-{name}", drawn, "png"),
        standards=grid(
            tables.standards_table([plate.units.reference] if plate.units.reference else []), tables.STANDARDS[2:]
        ),
        parallel=grid(tables.parallelism_table(plate.units.parallel), tables.PARALLELISM[1:]),
        columns=list(range(1, columns + 1)),
        map=[(letter, [cells.get(f"{letter}{column:02d}") for column in range(1, columns + 1)]) for letter in rows],
        wells=grid(tables.wells_table(plate.wells.readings), _WELL_COLUMNS + _units(plate)),
        beads=_picture(f"beads-{name}", drawn, "png"),
        bead_words=line_words(plate.wells.calibration) if plate.wells.calibration else "",
        bead_peaks=grid(
            tables.beads_table([(name, plate.wells.calibration)] if plate.wells.calibration else []), _BEAD_COLUMNS
        ),
    )


def _units(plate: PlateTiters) -> tuple[str, ...]:
    """Columns in assigned units, where the plate's beads gave them."""
    return ("mef_expressing", "mef_nonexpressing", "mef_delta", "mef_unit") if plate.wells.calibration else ()


def _map(plate: PlateTiters) -> tuple[str, int, dict[str, WellCell]]:
    """Rows, number of columns and cells of the smallest standard plate that holds all wells."""
    status = {(row.serum, row.dilution): row.status.value for row in plate.rows}
    cells = {r.well.name: _well_cell(r, status) for r in plate.wells.readings}
    large = any(name[0] > "H" or int(name[1:]) > 12 for name in cells)
    return (_ROWS if large else _ROWS[:8]), (_COLUMNS if large else 12), cells


def _well_cell(reading: Reading, status: dict[tuple[str, float], str]) -> WellCell:
    well = reading.well
    kind = status.get((well.serum, well.dilution), "") if well.serum and well.dilution else ""
    flags = (*(("excluded",) if well.excluded else ()), *reading.flags)
    label = well.serum or well.role.value
    dilution = f"1:{well.dilution:g}" if well.dilution else ""
    delta = tables.number(reading.delta.value)
    words = [well.name, label, dilution, f"delta {delta}" if delta else "", kind, ", ".join(flags)]
    return WellCell(
        name=well.name,
        label=label,
        detail=dilution,
        letter="x" if well.excluded else _LETTERS.get(kind, ""),
        kind="excluded" if well.excluded else kind or "other",
        flagged=any(not flag.startswith("beads-") for flag in flags),  # those concern the units only
        title=", ".join(word for word in words if word),
    )


def _methods(result: StudyResult) -> list[str]:
    """Paragraphs that say how the numbers were made, ready to be checked."""
    assay = result.assay
    gating = result.plates[0].gating if result.plates else None
    gates = (" > " if isinstance(gating, OwnGates) else ", ").join(gating.names) if gating else ""
    file = f"gates{gating.document[0]}" if gating else "gates.xml"
    source = f"learned once a plate from pooled wells (fluorescence on the {assay.gating.scale} scale), never from the "
    source += "signal channel, and frozen"
    if assay.gating.source != "auto":
        source = f"taken from {assay.gating.source}"
    channels = result.plates[0].setting.channels if result.plates else None
    cutoffs = "; ".join(
        f"{plate.wells.plate.name}: {', '.join(_cutoff_words(cutoff) for cutoff in plate.cutoffs.criteria)}"
        for plate in result.titers
        if plate.cutoffs.criteria
    )
    return [
        f"Antigen {assay.assay.antigen}; comparator {assay.assay.comparator}. MFI is the {assay.readout.statistic} of "
        f"{result.plates[0].setting.signal if result.plates else ''} on the compensated linear scale"
        + (f"; the reporter is {channels.reporter}." if channels and channels.reporter else "."),
        f"Gates ({gates}) were {source}; they stand in {file}{' as GatingML 2.0' if file == 'gates.xml' else ''}.",
        "Delta is the MFI of expressing less that of non-expressing cells"
        + _BACKGROUND[assay.readout.background]
        + "; limits are 95 % and hold counting error (order statistics) and the replicate error of the plate.",
        *_preset_methods(result),
        *_bead_methods(result),
        *_unit_methods(result),
        f"Cut-offs by rule: {cutoffs}." if cutoffs else "No cut-off: the checks say why.",
        "The endpoint titer is the highest dilution that is positive with all lower ones positive; the titer is where "
        "the deciding read-out crosses the cut-off, with limits that hold the cut-off's own error.",
    ]


def _cutoff_words(cutoff: CutOff) -> str:
    """A cut-off as the report's methods say it: number, rule, and the share of negatives that exceed it."""
    words = [cutoff.rule]
    if not cutoff.fixed:
        words.append(f"n = {cutoff.n}{' of the history' if cutoff.source == 'history' else ''}")
    if cutoff.false_positives.known:
        words.append(f"false positives {percent(cutoff.false_positives)}")
    return f"{cutoff.readout} {'≥' if cutoff.fixed else '>'} {cutoff.value:.4g} ({', '.join(words)})"


_BACKGROUND = {
    "none": "",
    "secondary-only": ", both less what they are in wells without serum",
    "negative-pool": ", both less their mean over the negative sera at the same dilution",
}


def _preset_methods(result: StudyResult) -> list[str]:
    about = [check for check in result.checks if check.check == "preset"]
    changed = sum(check.check == "preset-changed" for check in result.checks)
    return [f"{check.message} {changed} of its settings were changed (see the checks)." for check in about]


def _bead_methods(result: StudyResult) -> list[str]:
    found = [plate.calibration for plate in result.plates if plate.calibration]
    if not found:
        return []
    unit = found[0].assigned.unit
    return [
        f"{unit} of a well (columns mef_ of wells.csv) are read off the log-log line of the plate's beads; they count "
        "fluorophores of the secondary antibody, not molecules of IgG. No status and no titer rests on them.",
    ]


def _unit_methods(result: StudyResult) -> list[str]:
    held = [
        plate.units.reference for plate in result.titers if plate.units.reference and plate.units.reference.accepted
    ]
    if not held:
        return []
    settings = held[0].settings
    words = "; ".join(
        f"{r.plate}: {r.curve.model if r.curve else ''}, {r.lloq:.3g} to {r.uloq:.3g} a well" for r in held
    )
    return [
        f"{settings.unit} are read off the curve of the plate's reference serum ({held[0].serum}, "
        f"{settings.units:g} {settings.unit} undiluted), fitted to delta, within the range in which standards are read "
        f"back ({words}), and never beyond it. They compare binding, which holds affinity as well as amount.",
    ]


def _provenance(result: StudyResult) -> Grid:
    rows = [["aqp4flow", __version__], ["python", platform.python_version()]]
    rows += [[name, metadata.version(name)] for name in _LIBRARIES]
    rows += [
        ["seed", str(result.assay.seed.value)],
        ["assay definition", f"{result.assay.assay.name}, version {result.assay.assay.version}"],
    ]
    return Grid(("what", "version"), rows)
