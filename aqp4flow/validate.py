"""A door: results folders of one assay become its validation, a folder of tables, pictures and a page.

Only what the runs wrote is read, each table held to the hash in its folder's manifest.json.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from aqp4flow import __version__, tables
from aqp4flow.assay.definition import Assay, PrecisionSettings, ValidationSettings, read_definition
from aqp4flow.assay.quality.precision import observations, precision
from aqp4flow.assay.quality.validation import Validation, validation
from aqp4flow.errors import InputError
from aqp4flow.folder import fresh_folder, may_replace
from aqp4flow.model import (
    NAN,
    UNKNOWN,
    Bound,
    Estimate,
    Precision,
    Reading,
    Role,
    Titer,
    Titration,
    Well,
)
from aqp4flow.report import validation_page
from aqp4flow.report.validation_goals import Source, Validated, judged

MARK = "validation.json"
_READ = ("wells.csv", "reactivity.csv", "titers.csv", "checks.csv")


@dataclass(frozen=True)
class Results:
    """One results folder as it was written."""

    name: str
    manifest: Mapping[str, Any]
    readings: tuple[Reading, ...]
    titrations: tuple[Titration, ...]
    failed: tuple[str, ...]  # plate and check of every failed rule of run and plates

    @property
    def identity(self) -> str:
        """Hash of what went in: names the folder whatever it is called and wherever it lies."""
        text = json.dumps([self.manifest["assay"], self.manifest["inputs"]], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


# --- in -------------------------------------------------------------------------------------------


def read_results(folder: Path) -> Results:
    """A results folder. Raises InputError where it is none, was not finished, or a table is not the one written."""
    path = folder / "manifest.json"
    if not path.is_file():
        raise InputError(str(folder), "not a results folder: no manifest.json in it", "name what `aqp4flow run` wrote")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        outputs, _ = manifest["outputs"], (manifest["assay"]["assay"], manifest["inputs"])
    except (ValueError, KeyError, TypeError):
        raise InputError(str(path), "not the manifest of a run", "run the study again") from None
    texts = {}
    for name in _READ:
        if name not in outputs or not (folder / name).is_file():
            hint = "run the study to the end, without --until"
            raise InputError(str(folder), f"no {name} in it: the run stopped before titers", hint)
        data = (folder / name).read_bytes()
        if hashlib.sha256(data).hexdigest() != outputs[name]:
            what = "not the table that the run wrote: its hash differs from manifest.json"
            raise InputError(str(folder / name), what, "run the study again; work on copies of tables")
        texts[name] = list(csv.DictReader(io.StringIO(data.decode("utf-8"))))
    failed = [
        f"{row['subject']} ({row['check']})"
        for row in texts["checks.csv"]
        if row["verdict"] == "fail" and row["scope"] in ("run", "plate")
    ]
    readings = tuple(_reading(row) for row in texts["wells.csv"])
    titrations = tuple(_titration(row) for row in texts["titers.csv"])
    return Results(folder.name, manifest, readings, titrations, tuple(dict.fromkeys(failed)))


def _number(text: str) -> float:
    return float(text) if text else NAN


def _reading(row: Mapping[str, str]) -> Reading:
    """A well of wells.csv, with its shifts."""
    flags = tuple(row["flags"].split(";")) if row["flags"] else ()
    well = Well(
        row["plate"], row["well"], row["file"], Role(row["role"]), row["serum"], row["cells"],
        float(row["dilution"]) if row["dilution"] else None, row["replicate"],
        excluded="yes" if "excluded" in flags else "",
    )  # fmt: skip
    return Reading(
        well,
        int(row["n_events"]) if row["n_events"] else None,
        {},
        delta=_estimate(row, "delta"),
        ratio=_estimate(row, "ratio"),
        flags=flags,
    )


def _estimate(row: Mapping[str, str], name: str) -> Estimate:
    found = Estimate(_number(row[name]), _number(row[f"{name}_low"]), _number(row[f"{name}_high"]))
    return found if found.known else UNKNOWN


@dataclass(frozen=True)
class _WithUnits(Titration):
    """A titration with the units that titers.csv has for it."""

    units: Titer | None = None


def _titration(row: Mapping[str, str]) -> Titration:
    titer, units = (
        Titer(float(row[name]), Bound(row[f"{name}_bound"])) if row[name] and row[f"{name}_bound"] else None
        for name in ("titer", "units")
    )
    return _WithUnits(
        row["plate"], row["serum"], Role(row["role"]), row["readout"], _number(row["cutoff"]), None, titer, None,
        units=units,
    )  # fmt: skip


_MUST_AGREE = (
    ("assay", "antigen"),
    ("assay", "name"),
    ("assay", "version"),
    ("assay", "comparator"),
    ("readout", None),
    ("cutoff", None),
    ("reference", "serum"),
    ("reference", "units"),
    ("reference", "unit"),
    ("titer", "replicates"),
    ("titer", "least"),
    ("curve", None),
)


def held_together(found: Sequence[Results]) -> None:
    """Refuse results that are not of one assay, and wells that came in twice. Raises InputError naming both."""
    first = found[0]
    for other in found[1:]:
        for table, key in _MUST_AGREE:
            both = [results.manifest["assay"].get(table, {}) for results in (first, other)]
            for name in [key] if key else sorted({name for found in both for name in found}):
                one, two = (_said(found.get(name)) for found in both)
                if one == two:
                    continue
                what = f"[{table}] {name} is {two}, but {one} in {first.name}"
                raise InputError(other.name, what, "validate results of one assay, of one version, read in one way")
    seen: dict[str, str] = {}
    for results in found:
        files = {name: digest for name, digest in results.manifest["inputs"].items() if _is_well(name, results)}
        for name, digest in files.items():
            if digest in seen and not seen[digest].startswith(f"{results.identity} "):
                what = f"{name} is the same file as {seen[digest].split(' ', 1)[1]}"
                raise InputError(results.name, what, "name each plate once: a well counted twice looks precise")
            seen[digest] = f"{results.identity} {name} in {results.name}"
    if len({results.identity for results in found}) < len(found):
        raise InputError(first.name, "the same results were named twice", "name each results folder once")


def _is_well(name: str, results: Results) -> bool:
    plate, _, file = name.partition("/")
    return any((reading.well.plate, reading.well.file) == (plate, file) for reading in results.readings)


def _said(value: object) -> str:
    return "not said" if value is None else repr(value)


def settings_of(found: Sequence[Results], definition: Path | None) -> tuple[ValidationSettings, PrecisionSettings]:
    """[validation] and [precision] of the definition that is named, else of the runs, which must then agree."""
    if definition is not None:
        assay = read_definition(definition)
        one = found[0].manifest["assay"]
        for key, mine in (("antigen", assay.assay.antigen), ("name", assay.assay.name)):
            if mine != one["assay"].get(key):
                what = f"[assay] {key} is {mine!r}, but {one['assay'].get(key)!r} in {found[0].name}"
                raise InputError(definition.name, what, "name the definition of the assay that is validated")
        return assay.validation, assay.precision
    tables_of = [
        (results.manifest["assay"].get("validation", {}), results.manifest["assay"].get("precision", {}))
        for results in found
    ]
    for results, theirs in zip(found, tables_of, strict=True):
        if theirs != tables_of[0]:
            what = f"[validation] or [precision] differs from that in {found[0].name}"
            raise InputError(results.name, what, "name the definition that counts with --assay")
    try:
        return ValidationSettings(**tables_of[0][0]), PrecisionSettings(**tables_of[0][1])
    except (ValidationError, TypeError):
        what = "[validation] of the manifest is not one that this version knows"
        raise InputError(found[0].name, what, "name an assay.toml with --assay") from None


# --- the whole way ---------------------------------------------------------------------------------


def validate(
    folders: Sequence[Path], out: Path, definition: Path | None = None, progress: Callable[[str], None] = lambda _: None
) -> Validated:
    """Read results folders, sum, and write the validation folder, which appears when it is whole.

    Raises InputError when a folder is no results folder or they are not of one assay, StorageError when `out` is
    something else than an earlier validation.
    """
    may_replace(out, MARK, "an earlier validation")
    found = [read_results(folder) for folder in folders]
    held_together(found)
    settings, precise = settings_of(found, definition)
    found.sort(key=lambda results: results.identity)
    found = _with_names(found)
    readings = [reading for results in found for reading in results.readings]
    titrations = [titration for results in found for titration in results.titrations]
    progress(f"{len({reading.well.plate for reading in readings})} plates, {len(readings)} wells")
    seen = observations(readings, titrations)
    whole = _validated(found, precision(seen, precise), validation(readings, seen, settings), settings)
    progress("drawing")
    with fresh_folder(out) as folder:
        for name, data in validation_page.files_of(whole).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        (folder / MARK).write_bytes(_manifest(found, settings, folder).encode())
    return whole


def _with_names(found: Sequence[Results]) -> list[Results]:
    """The same results with plate names that are told apart: `1/P001` where two folders have a plate of one name."""
    names = [{reading.well.plate for reading in results.readings} for results in found]
    alike = any(one & other for i, one in enumerate(names) for other in names[i + 1 :])
    if not alike:
        return list(found)
    return [
        replace(
            results,
            readings=tuple(
                replace(one, well=replace(one.well, plate=f"{number}/{one.well.plate}")) for one in results.readings
            ),
            titrations=tuple(replace(one, plate=f"{number}/{one.plate}") for one in results.titrations),
        )
        for number, results in enumerate(found, 1)
    ]


def _validated(
    found: Sequence[Results], measured: Precision, rest: Validation, settings: ValidationSettings
) -> Validated:
    assay = found[0].manifest["assay"]
    sources = [
        Source(
            number,
            results.name,
            tuple(dict.fromkeys(reading.well.plate for reading in results.readings)),
            len(results.readings),
            str(results.manifest["aqp4flow"]),
            results.failed,
            results.identity[:12],
        )
        for number, results in enumerate(found, 1)
    ]
    title = f"{assay['assay'].get('name')}, version {assay['assay'].get('version')}"
    decide = str(assay.get("readout", {}).get("decide", Assay.model_fields["readout"].default.decide))
    return judged(Validated(title, str(assay["assay"]["antigen"]), decide, tuple(sources), measured, rest, settings))


def _manifest(found: Sequence[Results], settings: ValidationSettings, folder: Path) -> str:
    """What went in and what came out, by hash; nothing that changes from run to run."""
    written = sorted(path for path in folder.rglob("*") if path.is_file())
    facts = {
        "aqp4flow": __version__,
        "validation": settings.model_dump(mode="json"),
        "results": [
            {"folder": one.name, "identity": one.identity, "tables": {k: one.manifest["outputs"][k] for k in _READ}}
            for one in found
        ],
        "outputs": {
            path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in written
        },
    }
    return json.dumps(facts, indent=2, ensure_ascii=False) + "\n"


def facts(whole: Validated, out: Path) -> dict[str, Any]:
    """The validation in short, for machines; null where there is no number."""
    limits = {name.lower(): whole.rest.limits.of(name) for name in ("LOB", "LOD", "LLOQ")}
    return {
        "validation": str(out),
        "page": str(out / "validation.html"),
        "plates": sum(len(source.plates) for source in whole.sources),
        **{name: _nullable(limit.value if limit else NAN) for name, limit in limits.items()},
        "precision": {
            row.quantity: {
                "cv_within": _nullable(row.within.value),
                "cv_total": _nullable(row.total.value),
                "rcv_one_plate": _nullable(row.rcv_one_plate.value),
                "rcv_two_plates": _nullable(row.rcv_two_plates.value),
            }
            for row in whole.precision.rows
            if row.material == "pooled"
        },
        "goals": [
            {"goal": goal.name, "value": _nullable(goal.value), "limit": goal.limit, "met": goal.met}
            for goal in whole.goals
        ],
        "met": whole.met,
        "missing": list(whole.missing),
    }


def _nullable(value: float) -> float | None:
    return float(tables.number(value)) if math.isfinite(value) else None
