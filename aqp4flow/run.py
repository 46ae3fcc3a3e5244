"""The one door to the disk: a study folder in, a results folder out, whole or not at all."""

from __future__ import annotations

import datetime
import hashlib
import json
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aqp4flow import __version__, pipeline, tables
from aqp4flow.assay.cutoffs.negatives import Past, read_history
from aqp4flow.assay.definition import Assay, FcsSettings, overruled, read_definition
from aqp4flow.assay.platemap import apply_overrides, read_plate_map
from aqp4flow.cohort.clinical import read_clinical
from aqp4flow.cohort.linking import contradictions, link_checks
from aqp4flow.cohort.visits import read_visits
from aqp4flow.cytometry.beadlot import read_lot
from aqp4flow.cytometry.beads import Assigned
from aqp4flow.cytometry.compensation import read_matrix
from aqp4flow.errors import FcsError, InputError, SheetError, raise_all
from aqp4flow.fcs import AUTO, FcsFile, read_fcs, wells_said
from aqp4flow.folder import fresh_folder, may_replace
from aqp4flow.gating import GateDocument, read_gating
from aqp4flow.model import Check, ClinicalEvent, PatientRecords, Spillover, Verdict, Visit
from aqp4flow.pipeline import StudyResult
from aqp4flow.plate import Plate, Setting, first_channels, settle
from aqp4flow.sheet import find_table
from aqp4flow.wells import PlateWells, Progress, measure_plate

FCS_ENDINGS = (".fcs", ".lmd")
_LIBRARIES = (
    "fcsparser",
    "flowio",
    "flowkit",
    "flowutils",
    "matplotlib",
    "numpy",
    "openpyxl",
    "pandas",
    "pydantic",
    "scipy",
    "sklearn",
    "statsmodels",
)


@dataclass(frozen=True)
class Study:
    """A study folder (or one plate folder) read and found free of problems."""

    root: Path
    definition_path: Path
    assay: Assay
    plates: tuple[Plate, ...]
    folders: tuple[Path, ...]
    settings: tuple[Setting, ...]
    records: PatientRecords | None
    tables: tuple[Path, ...]
    told: tuple[Check, ...] = ()  # of the definition itself


# --- in -------------------------------------------------------------------------------------------


def load_study(folder: Path, definition: Path | None = None, preset: str | None = None) -> Study:
    """Read everything but the events. Raises the first InputError, carrying all others found.

    `preset` is laid over the assay definition; what it takes the place of is told.
    """
    problems: list[InputError] = []
    if not folder.is_dir():
        raise InputError(str(folder), "no such folder", "name a study folder, or a folder of FCS files")
    plate_folders = _plate_folders(folder)
    definition_path = definition or _definition_of(folder)
    assay, told = None, []
    with _collected(problems):
        assay = read_definition(definition_path, preset)
        told = overruled(definition_path, preset) if preset else []
    plates, used = [], []
    for plate_folder in plate_folders:
        with _collected(problems):
            plate, sheets = _load_plate(plate_folder, assay, problems)
            plates.append(plate)
            used += sheets
    records, sheets = (None, []) if plate_folders == [folder] else _load_records(folder, problems)
    used += sheets
    settings = _settings(plates, assay, definition_path, problems) if assay else []
    raise_all(problems)
    assert assay is not None  # otherwise a problem was raised
    return Study(
        root=folder,
        definition_path=definition_path,
        assay=assay,
        plates=tuple(plates),
        folders=tuple(plate_folders),
        settings=tuple(settings),
        records=records,
        tables=tuple(used),
        told=tuple(told),
    )


@contextmanager
def _collected(problems: list[InputError]) -> Iterator[None]:
    """Note an input problem and go on to the next part of the study."""
    try:
        yield
    except InputError as problem:
        problems += [problem, *problem.others]


def _plate_folders(folder: Path) -> list[Path]:
    """The plates of a study, or the folder itself when it holds FCS files or a plate map."""
    plates = folder / "plates"
    if plates.is_dir():
        found = sorted(path for path in plates.iterdir() if path.is_dir() and not path.name.startswith("."))
        if not found:
            raise InputError(f"{folder.name}/plates", "no plate folders in it", "one folder a plate: plates/P001")
        return found
    if _fcs_files(folder) or any((folder / f"plate{ending}").is_file() for ending in (".csv", ".xlsx")):
        return [folder]
    raise InputError(
        f"{folder.name}/",
        "neither a study (no plates/ in it) nor a plate (no FCS files in it)",
        "name the folder that holds plates/, or one with FCS files and plate.csv",
    )


def _definition_of(folder: Path) -> Path:
    """assay.toml in the folder itself, or beside the plates/ that a plate folder lies in."""
    places = [folder, folder.resolve().parent, folder.resolve().parent.parent]
    return next((place / "assay.toml" for place in places if (place / "assay.toml").is_file()), folder / "assay.toml")


def _fcs_files(folder: Path) -> list[Path]:
    """Files a cytometer exported: by ending, or a well as ending (CellQuest). Hidden files are not."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.is_file()
        and not path.name.startswith((".", "~$"))
        and (path.suffix.lower() in FCS_ENDINGS or _well_ending(path.suffix))
    )


def _well_ending(suffix: str) -> bool:
    return len(suffix) == 4 and suffix[1].upper() in "ABCDEFGHIJKLMNOP" and suffix[2:].isdigit()


def _load_records(folder: Path, problems: list[InputError]) -> tuple[PatientRecords | None, list[Path]]:
    """Visits and clinical table, each as far as it can be read, and what contradicts between them; None without any."""
    found: dict[str, Path] = {}
    for stem in ("visits", "clinical"):
        with _collected(problems):
            path = find_table(folder, stem)
            if path is not None:
                found[stem] = path
    visits: list[Visit] = []
    events: list[ClinicalEvent] = []
    before = len(problems)
    if "visits" in found:
        with _collected(problems):
            visits, wrong = read_visits(found["visits"])
            problems += wrong
    whole = len(problems) == before
    if "clinical" in found:
        with _collected(problems):
            events, wrong = read_clinical(found["clinical"], visits if whole else None)
            problems += wrong
    records = PatientRecords(tuple(visits), tuple(events))
    problems += contradictions(records, f"{folder.name}/{found['visits'].name}" if "visits" in found else "")
    return (records if found else None), list(found.values())


def _load_plate(folder: Path, assay: Assay | None, problems: list[InputError]) -> tuple[Plate, list[Path]]:
    files = _fcs_files(folder)
    if not files:
        raise InputError(f"{folder.name}/", "no FCS files in it", "copy the cytometer's export here")
    map_path = find_table(folder, "plate")
    if map_path is None:
        raise SheetError(f"{folder.name}/", "no plate map", "add plate.csv: well, role, serum, dilution, replicate")
    opened = _open_all(files, assay.fcs if assay else FcsSettings(), problems)
    says = {name: _wells_said(name, file) for name, file in opened.items()}
    antigen = assay.assay.antigen if assay else None
    wells, sheet_problems = read_plate_map(map_path, folder.name, says, antigen)
    problems += sheet_problems
    used = [map_path]
    overrides = find_table(folder, "overrides")
    if overrides:
        wells, sheet_problems = apply_overrides(overrides, wells)
        problems += sheet_problems
        used.append(overrides)
    named = {well.file for well in wells}
    unlisted = tuple(path.name for path in files if path.name not in named)
    return Plate(folder.name, tuple(wells), opened, unlisted), used


def _wells_said(name: str, file: FcsFile | FcsError) -> list[str]:
    keywords = file.keywords if isinstance(file, FcsFile) else {}
    return list(dict.fromkeys(wells_said(keywords, name).values()))


def _open_all(files: Sequence[Path], how: FcsSettings, problems: list[InputError]) -> dict[str, FcsFile | FcsError]:
    """Every file read as far as its keywords. What is not FCS at all is a problem; damage is the well's."""
    opened: dict[str, FcsFile | FcsError] = {}
    dataset = AUTO if how.dataset == "auto" else how.dataset
    for path in files:
        try:
            opened[path.name] = read_fcs(path, dataset, how.text_encoding)
        except FcsError as error:
            opened[path.name] = error
            with path.open("rb") as file:
                if file.read(3) != b"FCS":
                    problems.append(FcsError(f"{path.parent.name}/{error.where}", error.what, error.hint))
    return opened


def _settings(
    plates: Sequence[Plate], assay: Assay, definition_path: Path, problems: list[InputError]
) -> list[Setting]:
    settings: list[Setting] = []
    lot = None
    past: tuple[Past, ...] = ()
    controls: tuple[Past, ...] | None = None
    with _collected(problems):
        lot = _bead_lot(assay, definition_path)
    with _collected(problems):
        past = _history(assay, definition_path)
    with _collected(problems):
        controls = _controls(assay, definition_path)
    for plate in plates:
        if not plate.wells:
            continue
        with _collected(problems):
            matrix = _matrix(assay, definition_path)
            gates = _gates(assay, definition_path, plate)
            settings.append(replace(settle(plate, assay, matrix, gates, lot), history=past, controls=controls))
    return settings


def _matrix(assay: Assay, definition_path: Path) -> Spillover | None:
    source = assay.compensation.source
    return read_matrix(definition_path.parent / source) if source.lower().endswith(".csv") else None


def _bead_lot(assay: Assay, definition_path: Path) -> tuple[Assigned, ...] | None:
    return read_lot(definition_path.parent / assay.beads.values) if assay.beads.values else None


def _history(assay: Assay, definition_path: Path) -> tuple[Past, ...]:
    """Sera of earlier plates, with the read-outs that cut-offs are computed of."""
    cutoff, decide = assay.cutoff, assay.readout.decide
    if cutoff.history is None:
        return ()
    second = cutoff.second_to(decide, assay.readout.background != "none")
    computed = [decide] + [name for name in (second,) if name is not None and cutoff.number(name, decide) is None]
    return read_history(definition_path.parent / cutoff.history, computed, "[cutoff] history")


def _controls(assay: Assay, definition_path: Path) -> tuple[Past, ...] | None:
    """Control materials in earlier runs."""
    table = assay.acceptance.control_history
    if table is None:
        return None
    return read_history(definition_path.parent / table, ["delta"], "[acceptance] control_history")


def _gates(assay: Assay, definition_path: Path, plate: Plate) -> GateDocument | None:
    source = assay.gating.source
    if source == "auto":
        return None
    return read_gating(definition_path.parent / source.replace("{plate}", plate.name), first_channels(plate))


def doubts_of(study: Study) -> list[Check]:
    """What can be said before the events are read, and is no problem.

    What departs from a preset and what it lacks, and everything odd between tables and plates.
    """
    about = [*study.told, *pipeline.about_preset(study.assay, study.plates)]
    wells = [well for plate in study.plates for well in plate.wells]
    linked = link_checks(study.records, wells, study.assay.trajectory.months)
    return [check for check in about if check.verdict is not Verdict.PASS] + linked


# --- the whole way ---------------------------------------------------------------------------------


def run_study(study: Study, out: Path, until: str | None = None, progress: Progress = lambda _: None) -> StudyResult:
    """Compute a study and write its results folder; `until="wells"` stops after wells.csv.

    The folder appears when it is whole: everything is written beside it first, then put in its place.
    """
    may_replace(out)
    plates = [
        measure_plate(plate, setting, progress) for plate, setting in zip(study.plates, study.settings, strict=True)
    ]
    titers = [] if until == "wells" else [pipeline.titrate_plate(plate) for plate in plates]
    result = pipeline.finish(study.assay, plates, titers, study.records, study.told)
    if until != "wells":
        result = replace(result, checks=(*result.checks, *_about_figures(study, result)))
    texts = _tables_of(result)
    with fresh_folder(out) as folder:
        for name, text in texts.items():
            _write(folder / name, text.encode())
        for plate in plates:
            _write(folder / gates_file(plate, result), plate.gating.document[1])
        if until != "wells":
            progress("drawing figures and report")
            _write_pictures(folder, result)
        manifest = _manifest(study, result, folder, out)
        _write(folder / "manifest.json", (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode())
    return result


def _about_figures(study: Study, result: StudyResult) -> list[Check]:
    """Which figures a study's tables do not allow, and a missing font. A plate run alone has no patients to draw."""
    from aqp4flow.report import figures

    return figures.figure_checks(result) if study.folders != (study.root,) else []


def _tables_of(result: StudyResult) -> dict[str, str]:
    """Relative path -> text of every table."""
    texts = {
        "wells.csv": tables.to_csv(tables.wells_table([r for p in result.plates for r in p.readings])),
        "checks.csv": tables.to_csv(tables.checks_table(result.checks)),
        "repairs.csv": tables.to_csv(
            tables.repairs_table([(p.plate.name, r) for p in result.plates for r in p.repairs])
        ),
        "spillover.csv": tables.to_csv(
            tables.spillover_table([(p.plate.name, m) for p in result.plates for m in p.spillovers])
        ),
    }
    if result.titers:
        texts["reactivity.csv"] = tables.to_csv(tables.reactivity_table([r for t in result.titers for r in t.rows]))
        texts["cutoffs.csv"] = tables.to_csv(
            tables.cutoffs_table([(t.wells.plate.name, c) for t in result.titers for c in t.cutoffs.criteria])
        )
        texts["titers.csv"] = tables.to_csv(tables.titers_table([x for t in result.titers for x in t.titrations]))
    references = [t.units.reference for t in result.titers if t.units.reference]
    if references:
        texts["standards.csv"] = tables.to_csv(tables.standards_table(references))
        beside = [one for t in result.titers for one in t.units.parallel]
        texts["parallelism.csv"] = tables.to_csv(tables.parallelism_table(beside))
    if result.titers:
        texts["precision.csv"] = tables.to_csv(tables.precision_table(result.precision.rows))
    spreads = [(p.plate.name, *p.spill.spreading) for p in result.plates if p.spill.spreading]
    if spreads:
        texts["spreading.csv"] = tables.to_csv(tables.spreading_table(spreads))
    beads = [(p.plate.name, p.calibration) for p in result.plates if p.calibration]
    if beads:
        texts["beads.csv"] = tables.to_csv(tables.beads_table(beads))
    if result.trajectories:
        texts["trajectories.csv"] = tables.to_csv(tables.trajectories_table(result.trajectories))
    if result.statistics:
        texts["statistics.csv"] = tables.to_csv(tables.statistics_table(result.statistics))
    if result.summaries:
        texts["summaries.csv"] = tables.to_csv(tables.summaries_table(result.summaries))
    if result.bridging:
        texts["bridging.csv"] = tables.to_csv(tables.bridging_table(result.bridging))
    return texts


def gates_file(plate: PlateWells, result: StudyResult) -> str:
    """`gates.xml` (or .wsp) for a plate alone; one file a plate, under plates/, in a study of several."""
    name = f"gates{plate.gating.document[0]}"
    return name if len(result.plates) == 1 else f"plates/{plate.plate.name}/{name}"


def _write_pictures(folder: Path, result: StudyResult) -> None:
    from aqp4flow.report import figures, page

    drawn = figures.draw_all(result)
    for name, data in drawn.files.items():
        _write(folder / "figures" / name, data)
    _write(folder / "report.html", page.render(result, drawn).encode())


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _manifest(study: Study, result: StudyResult, folder: Path, out: Path) -> dict[str, Any]:
    """What went in and what came out, by hash; time, host and paths only under `volatile`."""
    return {
        "aqp4flow": __version__,
        "assay": study.assay.model_dump(mode="json"),
        "seed": study.assay.seed.value,
        "acceptance": {"fit": result.fit, "failed": [f"{c.subject} {c.check}" for c in result.failed]},
        "inputs": _hashes(_inputs(study)),
        "outputs": _hashes(
            {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
        ),
        "versions": {"python": platform.python_version(), **_versions()},
        "volatile": {
            "finished": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "host": platform.node(),
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "study": str(study.root.resolve()),
            "results": str(out.resolve()),
        },
    }


def _versions() -> dict[str, str]:
    """Libraries that took part in this run: those that were loaded for it."""
    return {name: sys.modules[name].__version__ for name in _LIBRARIES if name in sys.modules}


def _inputs(study: Study) -> dict[str, Path]:
    """Name in the study -> path of every file that was read."""
    inputs = {"assay.toml": study.definition_path}
    assay = study.assay
    beside = (assay.beads.values, assay.cutoff.history, assay.acceptance.control_history)
    for source in (assay.compensation.source, assay.gating.source, *filter(None, beside)):
        for plate in study.plates:
            path = study.definition_path.parent / source.replace("{plate}", plate.name)
            if path.is_file():
                inputs[source.replace("{plate}", plate.name)] = path
    for path in study.tables:
        inputs[path.name if path.parent == study.root else f"{path.parent.name}/{path.name}"] = path
    for plate, folder in zip(study.plates, study.folders, strict=True):
        inputs |= {f"{plate.name}/{well.file}": folder / well.file for well in plate.wells}
    return inputs


def _hashes(files: Mapping[str, Path]) -> dict[str, str]:
    hashes = {}
    for name, path in files.items():
        with path.open("rb") as file:
            hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes
