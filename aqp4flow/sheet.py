"""Tables that people fill in: CSV (UTF-8, with or without BOM, or cp932) and xlsx, headings in English or Japanese.

A table comes out as rows of text with the row number that a spreadsheet shows. Names are never altered beyond
blanks at their ends; full-width digits are normalised only where a number or a well is read.
"""

from __future__ import annotations

import csv
import datetime
import difflib
import io
import math
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aqp4flow.dates import DateRefusedError, date_of
from aqp4flow.errors import SheetError

_JAPANESE = {
    "ウェル": "well",
    "ファイル": "file",
    "役割": "role",
    "血清": "serum",
    "希釈倍率": "dilution",
    "反復": "replicate",
    "細胞": "cells",
    "色素": "dye",
    "患者": "patient",
    "採血日": "collected",
    "来院": "visit",
    "ベースライン": "baseline",
    "処置": "action",
    "理由": "reason",
    "チャンネル": "channel",
    "単位": "unit",
    "ロット": "lot",
    "抗原": "antigen",
    "日付": "date",
    "種類": "kind",
    "値": "value",
}
_YES = {"yes": True, "y": True, "true": True, "1": True, "はい": True, "○": True}
_SEVERAL = 3  # words that a hint names at most of those that begin alike
_NO = {"no": False, "n": False, "false": False, "0": False, "": False, "いいえ": False}


@dataclass(frozen=True)
class Row:
    """One line of a table: its number as a spreadsheet counts, and its cells by heading."""

    where: str
    number: int
    cells: Mapping[str, str]

    def __getitem__(self, heading: str) -> str:
        return self.cells.get(heading, "")

    def error(self, what: str, hint: str = "") -> SheetError:
        """A problem with this row."""
        return SheetError(f"{self.where}: row {self.number}", what, hint)


def by_row(problems: Iterable[SheetError]) -> list[SheetError]:
    """Problems of one table from its top to its bottom, those of the whole table first."""

    def number(problem: SheetError) -> int:
        match = re.search(r": row (\d+)$", problem.where)
        return int(match[1]) if match else 0

    return sorted(problems, key=number)


def find_table(folder: Path, stem: str) -> Path | None:
    """`stem.csv` or `stem.xlsx` in a folder; raises SheetError when both are there."""
    found = [folder / f"{stem}{ending}" for ending in (".csv", ".xlsx") if (folder / f"{stem}{ending}").is_file()]
    if len(found) > 1:
        raise SheetError(f"{folder.name}/", f"both {stem}.csv and {stem}.xlsx are here", "keep one of them")
    return found[0] if found else None


def read_table(path: Path, known: Sequence[str], needed: Sequence[str] = ()) -> list[Row]:
    """Rows of a table; empty lines are passed over.

    Raises SheetError when the file cannot be read, a heading is unknown or a `needed` one is missing.
    """
    where = f"{path.parent.name}/{path.name}"
    filled = [(number, cells) for number, cells in read_lines(path) if any(cells)]
    if not filled:
        raise SheetError(where, "the table is empty", f"first line: {','.join(known)}")
    headings = [heading_of(cell) for cell in filled[0][1]]
    _check_headings(where, headings, known, needed)
    return [Row(where, number, dict(zip(headings, cells, strict=False))) for number, cells in filled[1:]]


def read_lines(path: Path) -> list[tuple[int, list[str]]]:
    """Lines of a CSV or xlsx table as text, with the number that a spreadsheet shows; raises SheetError."""
    return _xlsx_lines(path) if path.suffix.lower() == ".xlsx" else _csv_lines(path)


def heading_of(cell: str) -> str:
    """A heading in lower case and English, full-width forms and blanks at the ends gone."""
    text = unicodedata.normalize("NFKC", cell).strip().lower()
    if peak := re.fullmatch(r"(?:peak|ピーク)\s*(\d{1,2})", text):
        return f"peak{int(peak[1])}"
    return _JAPANESE.get(text, text)


def _check_headings(where: str, headings: Sequence[str], known: Sequence[str], needed: Sequence[str]) -> None:
    for heading in headings:
        if heading and heading not in known:
            raise SheetError(where, f"unknown heading {heading!r}", nearest(heading, known))
        if heading and headings.count(heading) > 1:
            raise SheetError(where, f"the heading {heading!r} stands twice", "keep one column")
    for heading in needed:
        if heading not in headings:
            raise SheetError(where, f"the column {heading!r} is missing", f"columns known: {', '.join(known)}")


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint that names the known words that begin so, else the closest one, or all of them."""
    words = list(known)
    begun = [one for one in words if len(word) > 1 and one.startswith(word)]
    close = begun[:_SEVERAL] or difflib.get_close_matches(word, words, 1, 0.6)
    return f"did you mean {' or '.join(map(repr, close))}?" if close else f"known: {', '.join(words)}"


def _csv_lines(path: Path) -> list[tuple[int, list[str]]]:
    data = path.read_bytes()
    for encoding in ("utf-8-sig", "cp932"):
        try:
            text = data.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        raise SheetError(f"{path.parent.name}/{path.name}", "neither UTF-8 nor cp932 text", "save as CSV (UTF-8)")
    first = text.splitlines()[0] if text.strip() else ""
    delimiter = max(",;\t", key=first.count)
    reader = csv.reader(io.StringIO(text), delimiter=delimiter)
    return [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]


def _xlsx_lines(path: Path) -> list[tuple[int, list[str]]]:
    import warnings

    import openpyxl

    where = f"{path.parent.name}/{path.name}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # styles and print areas that openpyxl does not know
            book = openpyxl.load_workbook(path, read_only=True, data_only=True)
            sheets = [[list(cells) for cells in sheet.iter_rows(values_only=True)] for sheet in book.worksheets[:1]]
            book.close()
    except Exception as error:  # openpyxl lets zip, XML and key errors of a damaged file through as they come
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:80]
        raise SheetError(where, f"cannot be read as xlsx ({reason})", "open it in Excel and save it again") from None
    return [(number, [_cell_text(cell) for cell in cells]) for number, cells in enumerate(sheets[0], 1)]


def _cell_text(cell: object) -> str:
    if cell is None:
        return ""
    if isinstance(cell, datetime.datetime):  # a day is midnight of it; a time of day must not be lost silently
        return cell.date().isoformat() if cell.time() == datetime.time() else cell.isoformat(" ")
    if isinstance(cell, datetime.date):
        return cell.isoformat()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    return str(cell).strip()


# --- cells with a meaning -------------------------------------------------------------------------


def plain(text: str) -> str:
    """Full-width forms to ASCII, blanks off: for wells, numbers, roles. Never for names."""
    return unicodedata.normalize("NFKC", text).strip()


def read_dilution(row: Row) -> float | None:
    """`40`, `1:40`, `1/40` or `1:1,000` -> the reciprocal dilution, `as_shown`; None when the cell is empty."""
    text = plain(row["dilution"]).replace(" ", "")
    if not text:
        return None
    match = re.fullmatch(r"(?:1[:/])?(\d{1,3}(?:,\d{3})+|\d+(?:\.\d+)?(?:e\+?\d+)?)", text, re.IGNORECASE)
    if not match:
        hint = "write 40, 1:40 or 1/40"
        if re.fullmatch(r"(\d+days?,)?\d{1,2}:\d{2}:\d{2}", text):
            hint = "Excel took 1:40 for a time of day: write 40"
        raise row.error(f"dilution {row['dilution']!r} is not a number", hint)
    value = as_shown(float(match[1].replace(",", "")))
    if not math.isfinite(value):
        raise row.error(f"dilution {row['dilution']!r} is not a finite number", "write 40, 1:40 or 1/40")
    if value < 1:
        raise row.error(f"dilution {row['dilution']!r} is below 1", "write the reciprocal: 40, not 0.025")
    return value


def as_shown(dilution: float) -> float:
    """A dilution with the six significant digits that tables show, so that those shown alike are alike.

    Two spreadsheets write the third step of a ladder of thirds as 33.3333 and as 33.333333333.
    """
    return float(f"{dilution:.6g}")


def read_date(row: Row, heading: str) -> datetime.date:
    """The date of a cell (see `dates.date_of`); raises SheetError for anything that could be read two ways."""
    try:
        return date_of(row[heading])
    except DateRefusedError as refused:
        shown = f" {row[heading]!r}" if row[heading] else ""
        raise row.error(f"{heading}{shown} {refused.what}", refused.hint) from None


def read_yes(row: Row, heading: str) -> bool:
    """`yes` or `no`; empty is no."""
    text = plain(row[heading]).lower()
    if text in _YES:
        return True
    if text in _NO:
        return False
    raise row.error(f"{heading} {row[heading]!r} is neither yes nor no", "write yes, or leave it empty")


def read_well(row: Row) -> str:
    """A well as `B07`; empty when the cell is empty."""
    text = plain(row["well"]).upper()
    if not text:
        return ""
    match = re.fullmatch(r"([A-P])0?(\d{1,2})", text)
    if not match or not 1 <= int(match[2]) <= 24:
        raise row.error(f"well {row['well']!r} is not a well", "write A1 to P24")
    return f"{match[1]}{int(match[2]):02d}"
