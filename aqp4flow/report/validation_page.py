"""A validation as one page that opens offline and prints: what was shown, with n, and what was not."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from dataclasses import dataclass

from aqp4flow import tables
from aqp4flow.assay.quality.linearity import Linearity
from aqp4flow.assay.quality.validation import control_lines
from aqp4flow.model import POOLED, Estimate, Imprecision, Role
from aqp4flow.report import validation_figures
from aqp4flow.report.grids import Grid
from aqp4flow.report.look import Drawn
from aqp4flow.report.page import Picture
from aqp4flow.report.template import rendered
from aqp4flow.report.validation_goals import Validated, lacks
from aqp4flow.report.validation_tables import (
    CARRYOVER,
    LINEARITY,
    carryover_table,
    limits_table,
    linearity_table,
    precision_table,
    precision_verdict,
)
from aqp4flow.tables import Cell, Table, number


def files_of(whole: Validated) -> dict[str, bytes]:
    """Every file of the validation folder by its name; the same validation gives the same bytes."""
    drawn = validation_figures.draw(whole.precision, whole.rest, whole.settings.lloq_cv)
    made = {
        "validation_precision.csv": precision_table(whole),
        "validation_linearity.csv": linearity_table(whole),
        "validation_limits.csv": limits_table(whole),
        "validation_carryover.csv": carryover_table(whole),
    }
    files = {name: tables.to_csv(table).encode() for name, table in made.items()}
    files |= {f"figures/{name}": data for name, data in drawn.files.items()}
    files["validation.html"] = render(whole, drawn).encode()
    return files


@dataclass(frozen=True)
class Section:
    """A part of the page: heading, sentences, picture, tables by caption (folded: those with many rows)."""

    heading: str
    words: list[str]
    picture: Picture | None
    grids: list[tuple[str, Grid]]
    folded: list[tuple[str, Grid]]


@dataclass(frozen=True)
class Context:
    """Everything the template shows."""

    title: str
    summary: str
    verdict: str
    verdict_class: str
    goals: Grid
    missing: list[str]
    beyond: list[str]
    sections: list[Section]
    sources: Grid
    failed: list[str]
    methods: list[str]


def render(whole: Validated, drawn: Drawn) -> str:
    """The page as HTML."""
    return rendered("validation.html.j2", _context(whole, drawn))


def _context(whole: Validated, drawn: Drawn) -> Context:
    return Context(
        title=f"Validation of {whole.title}",
        summary=f"Antigen {whole.antigen}. {_counted(whole.plates, 'plate')} of "
        f"{_counted(len(whole.sources), 'results folder')}, {sum(source.wells for source in whole.sources)} wells",
        verdict=_verdict_words(whole),
        verdict_class="" if not whole.goals else "fit" if whole.met else "unfit",
        goals=Grid(
            ("goal", "limit", "found", "met", "in words"),
            [
                [goal.name, number(goal.limit), number(goal.value), "yes" if goal.met else "no", goal.message]
                for goal in whole.goals
            ],
        ),
        missing=list(whole.missing),
        beyond=list(_BEYOND),
        sections=[
            _precision_section(whole, drawn),
            _linearity_section(whole, drawn),
            _limits_section(whole, drawn),
            _carryover_section(whole, drawn),
        ],
        sources=Grid(
            ("number", "folder", "plates", "wells", "aqp4flow", "hash"),
            [[str(s.number), s.name, ", ".join(s.plates), str(s.wells), s.version, s.identity] for s in whole.sources],
        ),
        failed=[f"{source.name}: {', '.join(source.failed)}" for source in whole.sources if source.failed],
        methods=list(_METHODS),
    )


_BEYOND = (
    "What days, operators, cytometers, lots of cells and of secondary antibody add: plates are taken as the runs, and "
    "results tables do not hold their dates.",
    "The error of making a dilution series, where replicate wells were filled from one series.",
    "Trueness against another assay or against patients of known status, stability of sera, interference.",
    "Robustness to where gates lie: run the study again with other gates and compare.",
)
_METHODS = (
    "Precision: one-way analysis of variance of natural logs, plates as groups (CLSI EP05-A3); a negative component is "
    "set to 0 and noted (between-set-to-0). Limits are 95 %, by chi-squared within plates and by the modified large "
    "sample method for plates and total. CVs are of one well (a titer: of one series); reference change values are for "
    "reported values, which average as many wells as `replicates` says: exp(1.96 sqrt(2) SD of logs).",
    "Linearity: log delta on log dilution within plates; polynomials of order 2 and 3 count when their highest "
    "coefficient differs from 0 at 5 % (CLSI EP06-A); the deviation is the best polynomial less the line. Recovery is "
    "percent of what dilution alone would leave, 100 at the middle of the linear interval. Parallelism: slope over the "
    "reference's at like shifts, 90 % limits by Fieller.",
    "LOB: mean of blanks + c SD with c = 1.645 / (1 - 1 / (4 df)), or the 95th percentile where they are not normal; "
    "LOD: LOB + c SD of low sera; LLOQ: the lowest level from which on CV and bias stay within the limits that the "
    "definition sets (CLSI EP17-A2, H62).",
    "Carry-over: low wells after a high one less like wells of the same plate after a low one, in percent of the well "
    "before (after CLSI EP10-A3). The order of acquisition is taken to be row by row: A01, A02, ..., B01.",
)


def _counted(n: int, what: str) -> str:
    return f"{n} {what}{'s' if n != 1 else ''}"


def _verdict_words(whole: Validated) -> str:
    if not whole.goals:
        return "No goal was set ([validation] of assay.toml): what follows describes the assay, it passes no judgement."
    missed = [goal.name for goal in whole.goals if not goal.met]
    if missed:
        return f"Not met: {', '.join(missed)}."
    return f"All {len(whole.goals)} goals that were set are met."


def _picture(name: str, drawn: Drawn) -> Picture | None:
    data = drawn.files.get(f"{name}.svg")
    if data is None:
        return None
    source = f"data:image/svg+xml;base64,{base64.b64encode(data).decode()}"
    return Picture(name, source, drawn.captions[name])


def _grid(table: Table, columns: Sequence[str], rows: Sequence[int] | None = None) -> Grid:
    headings, cells = table
    places = [headings.index(column) for column in columns]
    chosen = cells if rows is None else [cells[i] for i in rows]
    return Grid(tuple(columns), [[_short(row[place]) for place in places] for row in chosen])


def _short(cell: Cell) -> str:
    """Four digits are enough to read; the table has six."""
    if isinstance(cell, float):
        return "" if not math.isfinite(cell) else f"{cell:.4g}" if abs(cell) < 1e4 else f"{cell:.0f}"
    return tables.cell_text(cell)


def _with_limits(estimate: Estimate) -> str:
    """`4.96 (3.56 to 8.2)`, to three digits; empty where there is nothing."""
    if not estimate.known:
        return ""
    if math.isnan(estimate.low):
        return f"{estimate.value:.3g}"
    high = "no limit" if math.isinf(estimate.high) else f"{estimate.high:.3g}"
    return f"{estimate.value:.3g} ({estimate.low:.3g} to {high})"


def _pooled_grid(rows: Sequence[Imprecision]) -> Grid:
    """All materials together, a row a quantity; each number with its limits in one cell, so that it prints."""
    headings = (
        "quantity", "n", "plates", "CV within, %", "CV between, %", "CV total, %", "wells averaged", "RCV, one plate",
        "RCV, two plates", "notes",
    )  # fmt: skip
    cells = [
        [
            row.quantity, str(row.n), str(row.plates), _with_limits(row.within), _with_limits(row.between),
            _with_limits(row.total), str(row.replicates), _with_limits(row.rcv_one_plate),
            _with_limits(row.rcv_two_plates), "; ".join(row.notes),
        ]
        for row in rows
    ]  # fmt: skip
    return Grid(headings, cells)


def _level_grid(whole: Validated, rows: Sequence[Imprecision]) -> Grid:
    """A row a quantity and material, likewise."""
    headings = (
        "quantity", "material", "n", "plates", "mean", "CV within, %", "CV between, %", "CV total, %", "goals",
        "lacks", "notes",
    )  # fmt: skip
    cells = [
        [
            row.quantity, row.material + ("" if math.isnan(row.dilution) else f" 1:{row.dilution:g}"), str(row.n),
            str(row.plates), _short(row.mean), _with_limits(row.within),
            f"{row.between.value:.3g}" if row.between.known else "", _with_limits(row.total),
            str(precision_verdict(whole, row)[2] or ""), lacks(row), "; ".join(row.notes),
        ]
        for row in rows
    ]  # fmt: skip
    return Grid(headings, cells)


def _precision_section(whole: Validated, drawn: Drawn) -> Section:
    pooled = [row for row in whole.precision.rows if row.material == POOLED]
    levels = [row for row in whole.precision.rows if row.material != POOLED]
    followed = (whole.decide, "titer")
    shown = [row for row in levels if row.quantity in followed and row.role in (Role.POSITIVE, Role.REFERENCE)]
    words = []
    for row in (row for row in pooled if row.quantity in followed):
        one, two = whole.precision.change(row.quantity, True), whole.precision.change(row.quantity, False)
        words.append(
            f"{row.quantity.capitalize()}: a change on one plate exceeds the assay's own error (95 %) beyond "
            f"{one.fold:.3g}-fold or below {1 / one.fold:.2g}-fold ({one.why}); from plate to plate beyond "
            f"{two.fold:.3g}-fold or below {1 / two.fold:.2g}-fold ({two.why})."
        )
    if not pooled:
        words.append("Nothing was measured twice: these plates show no precision.")
    return Section(
        "Precision",
        words,
        _picture("precision-profile", drawn),
        [("All materials together", _pooled_grid(pooled)), ("Controls", _level_grid(whole, shown))],
        [("Every material and quantity", _level_grid(whole, levels))],
    )


_LINE_COLUMNS = (
    "serum", "dilution", "n", "plates", "geometric_mean", "deviation_percent", "in_interval",
    "interval_deviation_percent", "recovery_percent",
)  # fmt: skip
_LIMIT_COLUMNS = ("limit", "basis", "rule", "value", "chosen", "n", "plates", "mean", "sd", "verdict", "notes")


def _linearity_section(whole: Validated, drawn: Drawn) -> Section:
    lines = [line for line in whole.rest.lines if line.order]
    table = linearity_table(whole)
    controls = {line.serum for line in control_lines(whole.rest.lines)}
    first = [i for i, row in enumerate(table[1]) if row[0] in controls]
    words = [_linear_words(line) for line in control_lines(lines)] if lines else ["No serum has enough dilutions."]
    shown = [line for line in lines if line.parallel]
    if shown:
        counts = {kind: sum(line.parallel == kind for line in shown) for kind in ("yes", "no", "not-shown")}
        words.append(
            f"Parallel to the reference (slope ratio within {whole.settings.slope_ratio_low:g} to "
            f"{whole.settings.slope_ratio_high:g}): shown for {counts['yes']} of {len(shown)} sera, "
            f"against it in {counts['no']}, undecided in {counts['not-shown']}."
        )
    return Section(
        "Linearity, dilution recovery and parallelism",
        words[:12],
        _picture("linearity", drawn),
        [("Controls", _grid(table, _LINE_COLUMNS, first))],
        [("Every serum", _grid(table, LINEARITY))],
    )


def _linear_words(line: Linearity) -> str:
    if line.interval is None:
        return f"{line.serum}: no three neighbouring dilutions lie on one line."
    low, high = line.interval
    worst = max(abs(level.interval_deviation) for level in line.inside())
    n = sum(level.n for level in line.inside())
    return (
        f"{line.serum}: linear from 1:{low:g} to 1:{high:g} (n = {n}, deviation at most {worst:.3g} %), slope "
        f"{line.slope.value:.3g} ({line.slope.low:.3g} to {line.slope.high:.3g}; -1 is proportional to dilution)."
    )


def _limits_section(whole: Validated, drawn: Drawn) -> Section:
    words = []
    for name, meaning in (
        ("LOB", "the highest delta to expect without antibody"),
        ("LOD", "the lowest delta that is told from a blank"),
        ("LLOQ", "the lowest delta that is measured well enough"),
    ):
        limit = whole.rest.limits.of(name)
        if limit is None:
            words.append(f"{name}, {meaning}: these plates do not show it.")
        else:
            words.append(f"{name}, {meaning}: {limit.value:.4g} ({limit.basis}; {limit.rule}; n = {limit.n}).")
    words.append(
        "They are in MFI of this cytometer at these voltages. Low sera are mostly strong ones diluted far, and their "
        "background with them; a weak serum at the screening dilution scatters like a negative one, which is why LOD "
        "and LLOQ take the larger SD of the two."
    )
    return Section("Limits of blank, detection and quantitation", words, _picture("limits", drawn),
                   [("Limits", _grid(limits_table(whole), _LIMIT_COLUMNS))], [])  # fmt: skip


def _carryover_section(whole: Validated, drawn: Drawn) -> Section:
    known = [row for row in whole.rest.carried if row.percent.known]
    words = [
        "Order of acquisition: taken to be row by row (A01, A02, ..., B01); where it was another, this part is void."
    ]
    if not known:
        words.append(
            "These plates do not show carry-over: no like wells lie both after a high well and after a low one."
        )
    for row in known[-1:]:
        limits = f" ({row.percent.low:.2g} to {row.percent.high:.2g})" if not math.isnan(row.percent.low) else ""
        excludes = row.percent.low > 0
        words.append(
            f"{row.percent.value:.2g} %{limits} of the well before appears in the next "
            f"(n = {row.n_after_high} after a high well, {row.n_after_low} after a low one): "
            + ("carry-over." if excludes else "none is shown, and more than the upper limit is unlikely.")
        )
    return Section("Carry-over", words, _picture("carryover", drawn),
                   [("Carry-over", _grid(carryover_table(whole), CARRYOVER))], [])  # fmt: skip
