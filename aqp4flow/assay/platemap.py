"""The plate map: which well holds what, joined to the files of the plate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from aqp4flow.errors import SheetError
from aqp4flow.model import WITH_SERUM, Role, Well
from aqp4flow.sheet import Row, nearest, plain, read_dilution, read_table, read_well

HEADINGS = ("well", "file", "role", "serum", "dilution", "replicate", "cells", "dye", "lot", "antigen")
_ROLES_JAPANESE = {
    "検体": Role.SAMPLE,
    "陰性対照": Role.NEGATIVE,
    "陽性対照": Role.POSITIVE,
    "標準": Role.REFERENCE,
    "二次抗体のみ": Role.SECONDARY_ONLY,
    "無染色": Role.UNSTAINED,
    "単染色": Role.SINGLE_STAIN,
    "ブランク": Role.BLANK,
    "ビーズ": Role.BEADS,
}
_CELLS_JAPANESE = {"抗原": "antigen", "対照": "control"}


def read_plate_map(
    path: Path, plate: str, files: Mapping[str, Collection[str]], antigen: str | None = None
) -> tuple[list[Well], list[SheetError]]:
    """Wells of a plate map, each joined to its file, and every problem met on the way.

    `files` holds the plate's FCS files: name -> the wells its keywords and name say it is, as a rule one.
    `antigen` is the assay's: a row that names another is a problem (None: not known, not looked at).
    """
    problems: list[SheetError] = []
    wells: list[Well] = []
    rows: list[Row] = []
    for row in read_table(path, HEADINGS, ("role",)):
        try:
            _check_antigen(row, antigen)
            wells.append(_well(row, plate, files))
            rows.append(row)
        except SheetError as problem:
            problems.append(problem)
    problems += _twice(wells, rows) + _two_roles(wells, rows)
    return wells, problems


def _well(row: Row, plate: str, files: Mapping[str, Collection[str]]) -> Well:
    role = read_role(row)
    name, file = _identify(row, files)
    dilution = read_dilution(row)
    if role in WITH_SERUM:
        if not row["serum"]:
            raise row.error(f"role {role} needs a serum", "name the serum; controls have names too")
        if dilution is None:
            raise row.error(f"role {role} needs a dilution", "write 40, 1:40 or 1/40")
    cells = _CELLS_JAPANESE.get(row["cells"], plain(row["cells"]).lower())
    if cells not in ("", "antigen", "control"):
        raise row.error(f"cells {row['cells']!r} is unknown", "write antigen or control, or leave it empty")
    if role is Role.SINGLE_STAIN and not row["dye"]:
        raise row.error("role single-stain needs a dye", "write the detector's $PnN, for example FITC-A")
    return Well(
        plate, name, file, role, row["serum"], cells, dilution, plain(row["replicate"]), row["dye"], lot=row["lot"]
    )


def _check_antigen(row: Row, antigen: str | None) -> None:
    """Refuse a row whose cells carry another antigen than the assay's; blanks apart, the text must be the same."""
    there = row["antigen"].split()
    if antigen is not None and there and there != antigen.split():
        what = f"antigen {row['antigen']!r}, but the assay's is {antigen!r}"
        raise row.error(what, "results of two isoforms are never pooled: make a study of each")


def read_role(row: Row) -> Role:
    """The role of a row, in English or Japanese."""
    text = plain(row["role"]).lower()
    if row["role"] in _ROLES_JAPANESE:
        return _ROLES_JAPANESE[row["role"]]
    try:
        return Role(text)
    except ValueError:
        what = f"role {row['role']!r} is unknown" if text else "the role is empty"
        raise row.error(what, nearest(text, [role.value for role in Role])) from None


def _identify(row: Row, files: Mapping[str, Collection[str]]) -> tuple[str, str]:
    """Well and file of a row: either identifies, both must agree."""
    well, file = read_well(row), row["file"]
    if file and file not in files:
        raise row.error(f"the file {file!r} is not in the plate's folder", nearest(file, files) if files else "")
    if file:
        says = files[file]
        if well and says and well not in says:
            raise row.error(f"well {well}, but the file {file!r} says it is {_any_of(says)}", "correct one of the two")
        if not well and len(says) > 1:
            raise row.error(f"the file {file!r} says it is {_any_of(says)}", "fill in the column well")
        if not (well or says):
            raise row.error(f"the file {file!r} does not tell its well", "fill in the column well")
        return well or next(iter(says)), file
    if not well:
        raise row.error("neither well nor file is given", "fill in one of them")
    candidates = [name for name, says in files.items() if well in says]
    if not candidates:
        raise row.error(f"no file of this plate is well {well}", "export the well, or take the row out")
    if len(candidates) > 1:
        raise row.error(f"well {well} has {len(candidates)} files: {', '.join(candidates)}", "name one under file")
    if len(files[candidates[0]]) > 1:
        what = f"the file {candidates[0]!r} says it is {_any_of(files[candidates[0]])}"
        raise row.error(what, "name the file under file if it is this well's")
    return well, candidates[0]


def _any_of(wells: Collection[str]) -> str:
    return " and ".join(sorted(wells))


def _twice(wells: Sequence[Well], rows: Sequence[Row]) -> list[SheetError]:
    names = Counter(well.name for well in wells)
    files = Counter(well.file for well in wells)
    seen: set[str] = set()
    problems = []
    for well, row in zip(wells, rows, strict=True):
        if names[well.name] > 1 and well.name in seen:
            problems.append(row.error(f"well {well.name} is on the plate map twice", "one row a well"))
        elif files[well.file] > 1 and well.file in seen:
            problems.append(row.error(f"the file {well.file!r} is on the plate map twice", "one row a file"))
        seen |= {well.name, well.file}
    return problems


def _two_roles(wells: Sequence[Well], rows: Sequence[Row]) -> list[SheetError]:
    """A serum is one material: on one plate it has one role."""
    roles: dict[str, Role] = {}
    problems = []
    for well, row in zip(wells, rows, strict=True):
        if well.role in WITH_SERUM and roles.setdefault(well.serum, well.role) is not well.role:
            what = f"serum {well.serum!r} is {well.role} here and {roles[well.serum]} above"
            problems.append(row.error(what, "one serum has one role on a plate"))
    return problems


def unnumbered_pairs(plate: str, wells: Sequence[Well], comparator: str) -> list[SheetError]:
    """Paired wells that cannot be paired: several antigen and several control wells alike, and no replicate named."""
    counts: Counter[tuple[str, float | None, str]] = Counter(
        (well.serum, well.dilution, "control" if well.cells == "control" else "antigen")
        for well in wells
        if comparator == "paired-well" and well.role in WITH_SERUM and not (well.replicate or well.excluded)
    )
    return [
        SheetError(
            f"{plate}: plate map",
            f"serum {serum!r} at 1:{dilution:g} has {n} antigen wells and {counts[serum, dilution, 'control']} control"
            " wells, and no replicate tells which belong together",
            "number the replicates: an antigen well and its control well alike",
        )
        for (serum, dilution, cells), n in counts.items()
        if cells == "antigen" and n > 1 and counts[serum, dilution, "control"] > 1
    ]


def apply_overrides(path: Path, wells: Sequence[Well]) -> tuple[list[Well], list[SheetError]]:
    """Wells with the exclusions of overrides.csv (well, action, reason) marked; problems as a list."""
    problems: list[SheetError] = []
    reasons: dict[str, str] = {}
    known = {well.name for well in wells}
    for row in read_table(path, ("well", "action", "reason"), ("well", "action", "reason")):
        try:
            well = read_well(row)
            if well not in known:
                raise row.error(f"well {well or '(empty)'} is not on the plate map", "name a well of the plate map")
            if plain(row["action"]).lower() not in ("exclude", "除外"):
                raise row.error(f"action {row['action']!r} is unknown", "the action is: exclude")
            if not row["reason"]:
                raise row.error("an exclusion needs a reason", "say why: it is shown in the report")
            reasons[well] = row["reason"]
        except SheetError as problem:
            problems.append(problem)
    return [replace(well, excluded=reasons.get(well.name, "")) for well in wells], problems
