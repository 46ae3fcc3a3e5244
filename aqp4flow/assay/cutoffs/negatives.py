"""The sera that a cut-off is computed from: this plate's own, or those of earlier plates, with what was left out."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Literal

from aqp4flow.assay.platemap import read_role
from aqp4flow.assay.readout import value_of
from aqp4flow.errors import SheetError, listed, raise_all
from aqp4flow.model import NAN, Reactivity, Role
from aqp4flow.sheet import Row, heading_of, plain, read_dilution, read_lines

ABSURD = 1e100  # no read-out reaches it, and its square is still a number
FACTS = ("plate", "serum", "role", "dilution")


@dataclass(frozen=True)
class Past:
    """A serum at a dilution on a plate of the history; `values` by read-out, NaN where the table has none."""

    plate: str
    serum: str
    role: Role
    dilution: float
    values: Mapping[str, float]


@dataclass(frozen=True)
class Labelled:
    """One value that may go into a cut-off; `name` is the serum, with its plate where it is of the history."""

    name: str
    plate: str
    serum: str
    positive: bool
    value: float


@dataclass(frozen=True)
class Refusal:
    """Why there is no cut-off: the code of the check, how many negatives there are, what was wanted, a sentence."""

    code: str
    n: int
    limit: str
    message: str


@dataclass(frozen=True)
class Remark:
    """Something to know of the sera used: the code of the check, its value, a sentence; `doubtful` ones warn."""

    code: str
    value: int
    message: str
    doubtful: bool


@dataclass(frozen=True)
class Sera:
    """Labelled values on the scale of the rule: log10 of the read-outs where `log`.

    `mean` is that of `m` values; `sd` has `df` degrees of freedom. Both are those of `negatives` unless a history
    floats: then the mean is the plate's own, and where it floats by a factor so is the scale of the SD (`scaled`).
    """

    names: tuple[str, ...]
    negatives: tuple[float, ...]
    positives: tuple[float, ...]
    log: bool
    mean: float
    sd: float
    m: int
    df: int
    floating: bool = False
    scaled: bool = False

    @property
    def scatter(self) -> float:
        """SD over mean where the SD was scaled by the plate's mean, whose error is then in both; else 0."""
        return self.sd / self.mean if self.scaled else 0.0

    def shown(self, value: float) -> float:
        """A value of this scale as a read-out."""
        return 10.0**value if self.log else value


# --- the history's table --------------------------------------------------------------------------


def read_history(path: Path, readouts: Sequence[str], key: str) -> tuple[Past, ...]:
    """Rows of an earlier run's reactivity.csv, of several one below the other, or of a table like it.

    `key` is the setting that names the table. Columns other than plate, serum, role, dilution and `readouts` are
    ignored. A serum that stands twice at one dilution of one plate is refused: it would be counted twice. Raises
    SheetError carrying every problem found.
    """
    if not path.is_file():
        raise SheetError(path.name, "no such table of earlier sera", f"{key} is relative to assay.toml")
    problems: list[SheetError] = []
    found: list[Past] = []
    seen: set[tuple[str, str, float]] = set()
    for row in _rows(path, (*FACTS, *readouts)):
        try:
            past = _past(row, readouts)
            place = (past.plate, past.serum, past.dilution)
            if place in seen:
                what = f"serum {past.serum!r} at 1:{past.dilution:g} of plate {past.plate!r} stands twice"
                raise row.error(what, "take one out; plates of two runs need names of their own")
            seen.add(place)
            found.append(past)
        except SheetError as problem:
            problems.append(problem)
    raise_all(problems)
    return tuple(found)


def _rows(path: Path, needed: Sequence[str]) -> Iterator[Row]:
    """Rows under their headings; a heading that stands again within (tables one below the other) counts from there."""
    where = f"{path.parent.name}/{path.name}"
    headings: list[str] = []
    for number, cells in read_lines(path):
        if not any(cells):
            continue
        words = [heading_of(cell) for cell in cells]
        if not headings or {"plate", "serum"} <= set(words):
            headings = words
            for heading in needed:
                if headings.count(heading) != 1:
                    state = "is missing" if heading not in headings else "stands twice"
                    hint = f"columns needed: {', '.join(needed)}; others are ignored"
                    raise SheetError(f"{where}: row {number}", f"the column {heading!r} {state}", hint)
            continue
        yield Row(where, number, dict(zip(headings, cells, strict=False)))
    if not headings:
        raise SheetError(where, "the table is empty", f"first line: {','.join(needed)}")


def _past(row: Row, readouts: Sequence[str]) -> Past:
    for key in ("plate", "serum"):
        if not row[key]:
            raise row.error(f"no {key} is named", "every row needs plate, serum, role and dilution")
    dilution = read_dilution(row)
    if dilution is None:
        raise row.error("the dilution is empty", "write 40, 1:40 or 1/40")
    values = {readout: _number(row, readout) for readout in readouts}
    return Past(row["plate"], row["serum"], read_role(row), dilution, values)


def _number(row: Row, readout: str) -> float:
    text = plain(row[readout]).replace(" ", "")
    if not text:
        return NAN
    if not re.fullmatch(r"-?(\d+(\.\d*)?|\.\d+)(e[+-]?\d{1,3})?", text, re.IGNORECASE):
        raise row.error(f"{readout} {row[readout]!r} is not a number", "write a number, or nothing where there is none")
    value = float(text)
    if not abs(value) < ABSURD:
        raise row.error(
            f"{readout} {row[readout]!r} is too large for a number", "correct it; empty where there is none"
        )
    return value


# --- which values take part -----------------------------------------------------------------------


def screening_dilution(rows: Sequence[Reactivity], history: Sequence[Past]) -> float | None:
    """The lowest dilution that the plate's negative sera were run at; the history's where the plate has none."""
    own = [row.dilution for row in rows if row.role is Role.NEGATIVE and row.delta.known]
    return min(own or [past.dilution for past in history if past.role is Role.NEGATIVE], default=None)


def of_plate(rows: Sequence[Reactivity], readout: str, screening: float | None) -> list[Labelled]:
    """Negative and positive sera of the plate at the screening dilution; NaN where the read-out has no meaning."""
    return [
        Labelled(row.serum, row.plate, row.serum, row.role is Role.POSITIVE, value_of(row, readout))
        for row in rows
        if row.role in (Role.NEGATIVE, Role.POSITIVE) and row.delta.known and row.dilution == screening
    ]


def at_other_dilutions(rows: Sequence[Reactivity], screening: float | None) -> list[Remark]:
    """A remark that names negative sera of the plate that were not run at the screening dilution."""
    read = [row for row in rows if row.role is Role.NEGATIVE and row.delta.known]
    there = {row.serum for row in read if row.dilution == screening}
    others = list(dict.fromkeys(row.serum for row in read if row.serum not in there))
    if not others:
        return []
    message = f"Not run at 1:{screening:g}, hence no part in the cut-off: {listed(others)}."
    return [Remark("negatives-other-dilution", len(others), message, doubtful=True)]


def of_history(
    history: Sequence[Past], readout: str, screening: float | None, roles: Sequence[Role]
) -> tuple[list[Labelled], str]:
    """The history's sera at the screening dilution, and a sentence of what was left out."""
    labelled = [past for past in history if past.role in roles]
    taken = [past for past in labelled if past.dilution == screening]
    if not taken:
        return [], _nothing_usable(history, labelled, screening, roles)
    left = f"Left out: {len(history) - len(labelled)} rows of other roles, {len(labelled) - len(taken)} of another"
    left += f" dilution than 1:{screening:g}." if screening is not None else " dilution."
    return [
        Labelled(f"{p.plate}/{p.serum}", p.plate, p.serum, p.role is Role.POSITIVE, p.values.get(readout, NAN))
        for p in taken
    ], left


def _nothing_usable(
    history: Sequence[Past], labelled: Sequence[Past], screening: float | None, roles: Sequence[Role]
) -> str:
    """What a history holds instead of what was wanted of it."""
    wanted = " or ".join(role.value for role in roles)
    if not history:
        return "It has no rows."
    if not labelled:
        return f"None of its {len(history)} rows is of the role {wanted}."
    there = listed([f"1:{dilution:g}" for dilution in sorted({past.dilution for past in labelled})])
    screened = "the negatives' dilution, and there are none" if screening is None else f"1:{screening:g}"
    return f"It holds {len(labelled)} values of the role {wanted} at {there}; wanted: {screened}."


def with_a_value(found: Sequence[Labelled], readout: str) -> tuple[list[Labelled], list[Remark]]:
    """Those whose read-out has a meaning, and a remark that names the negatives without one."""
    known = [one for one in found if not math.isnan(one.value)]
    lost = [one.name for one in found if math.isnan(one.value) and not one.positive]
    if not lost:
        return known, []
    message = f"No {readout}, hence no part in its cut-off: {listed(lost)}."
    return known, [Remark("negatives-without-value", len(lost), message, doubtful=True)]


def repeats(found: Sequence[Labelled]) -> list[Remark]:
    """A remark where one serum stands for several values: then there are fewer sera than values."""
    negatives = [one.serum for one in found if not one.positive]
    sera = len(set(negatives))
    if sera == len(negatives):
        return []
    message = (
        f"{len(negatives)} values are of {sera} negative sera: values of one serum are alike, so that the cut-off rests"
        " on fewer sera than its rule counts."
    )
    return [Remark("history-repeats", sera, message, doubtful=True)]


def on_scale(found: Sequence[Labelled], log: bool, way_out: str) -> list[Labelled] | Refusal:
    """The values on the scale of the rule; refused, with a way out, where one has no logarithm."""
    if not log:
        return list(found)
    without = [f"{one.name} ({one.value:.4g})" for one in found if not one.value > 0]
    if without:
        message = (
            f"No logarithm of {listed(without)}: with log = true there is no cut-off, and leaving low negatives out"
            f" would raise it. Set log = false, or {way_out}."
        )
        return Refusal("cutoff-log", sum(not one.positive for one in found), "values above 0", message)
    return [Labelled(one.name, one.plate, one.serum, one.positive, math.log10(one.value)) for one in found]


# --- values to sera -------------------------------------------------------------------------------


def as_they_are(found: Sequence[Labelled], log: bool) -> Sera:
    """Sera whose values are taken as they are, from one plate or all plates of a history together."""
    negatives = [one for one in found if not one.positive]
    values = tuple(one.value for one in negatives)
    mean, sd = _moments(values)
    positives = tuple(one.value for one in found if one.positive)
    return Sera(tuple(one.name for one in negatives), values, positives, log, mean, sd, len(values), len(values) - 1)


def _moments(values: Sequence[float]) -> tuple[float, float]:
    """Mean and SD (n - 1); of equal values exactly their value and 0."""
    if not values:
        return NAN, NAN
    low, high = min(values), max(values)
    mean = min(max(fmean(values), low), high)
    squares = math.fsum((value - mean) ** 2 for value in values)
    return mean, math.sqrt(squares / (len(values) - 1)) if len(values) > 1 and high > low else 0.0


def floated(
    found: Sequence[Labelled], own: Sequence[Labelled], how: Literal["additive", "multiplicative"], log: bool
) -> tuple[Sera, list[Remark]] | Refusal:
    """The history's values relative to their own plate's negative mean, moved to this plate's.

    Multiplicative: value / mean x this plate's mean (on logarithms a shift). A value lies nearer to a mean that holds
    it than to the truth, by sqrt((p - 1) / p) of p negatives on its plate: deviations of negatives are widened by the
    inverse, and plates with one negative say nothing of scatter and are left out. The SD is pooled within plates (its
    degrees of freedom are values less plates); the mean is of this plate's m negatives alone.
    """
    here = [one.value for one in own if not one.positive]
    by_plate: dict[str, list[Labelled]] = {}
    for one in found:
        by_plate.setdefault(one.plate, []).append(one)
    means = {
        plate: fmean(one.value for one in sera if not one.positive)
        for plate, sera in by_plate.items()
        if sum(not one.positive for one in sera) > 1
    }
    if not here:
        message = "floating needs this plate's own negative sera at the screening dilution: there are none."
        return Refusal("cutoff-floating", 0, ">= 1 negative serum on the plate", message)
    mean, _ = _moments(here)
    times = how == "multiplicative" and not log
    bad = [plate for plate, base in (*means.items(), ("this plate", mean)) if times and not base > 0]
    if bad:
        message = (
            f"floating 'multiplicative' divides by the mean of a plate's negatives, which is not above 0: {bad[0]}."
        )
        return Refusal("cutoff-floating", len(here), "means above 0", message)
    sera = _moved([one for one in found if one.plate in means], means, mean, times)
    negatives = [(one, value) for one, value in sera if not one.positive]
    df = len(negatives) - len(means)
    squares = math.fsum((value - mean) ** 2 * (1 - 1 / _count(by_plate[one.plate])) for one, value in negatives)
    sd = math.sqrt(squares / df) if df > 0 else 0.0
    remarks = []
    alone = [plate for plate in by_plate if plate not in means]
    if alone:
        message = (
            f"Plates with fewer than two negatives say nothing of their scatter and were left out: {listed(alone)}."
        )
        remarks.append(Remark("history-plates", len(alone), message, doubtful=True))
    names = tuple(one.name for one, _ in negatives)
    values = tuple(value for _, value in negatives)
    positives = tuple(value for one, value in sera if one.positive)
    return Sera(names, values, positives, log, mean, sd, len(here), df, True, times), remarks


def _count(sera: Sequence[Labelled]) -> int:
    return sum(not one.positive for one in sera)


def _moved(
    found: Sequence[Labelled], means: Mapping[str, float], mean: float, times: bool
) -> list[tuple[Labelled, float]]:
    counts = {plate: sum(one.plate == plate and not one.positive for one in found) for plate in means}
    moved = []
    for one in found:
        base = means[one.plate]
        off = (one.value / base - 1) * mean if times else one.value - base
        widened = 1.0 if one.positive else math.sqrt(counts[one.plate] / (counts[one.plate] - 1))
        moved.append((one, mean + off * widened))
    return moved
