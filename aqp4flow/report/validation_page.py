"""A validation as tables and one page that opens offline and prints: what was shown, with n, and what was not."""

from __future__ import annotations

import base64
import importlib.resources
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from aqp4flow import tables
from aqp4flow.assay.carryoverstudy import CarryOver
from aqp4flow.assay.definition import ValidationSettings
from aqp4flow.assay.detection import Limit
from aqp4flow.assay.linearity import Linearity
from aqp4flow.assay.validation import WANTED_LEVELS, WANTED_PLATES, WANTED_REPLICATES, Goal, Validation, control_lines
from aqp4flow.model import NAN, POOLED, Estimate, Imprecision, Precision, Role
from aqp4flow.report import validation_figures
from aqp4flow.report.figures import Drawn
from aqp4flow.report.page import Grid, Picture
from aqp4flow.tables import Cell, Table, number


@dataclass(frozen=True)
class Source:
    """One results folder that took part: its number, name, plates, wells, version, failed checks, short hash."""

    number: int
    name: str
    plates: tuple[str, ...]
    wells: int
    version: str
    failed: tuple[str, ...]
    identity: str


@dataclass(frozen=True)
class Validated:
    """A whole validation: what went in, what was found, the goals that were set, what is missing."""

    title: str
    antigen: str
    decide: str
    sources: tuple[Source, ...]
    precision: Precision
    rest: Validation
    settings: ValidationSettings
    goals: tuple[Goal, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def met(self) -> bool:
        """Whether every goal that was set is met."""
        return all(goal.met for goal in self.goals)

    @property
    def plates(self) -> int:
        """How many plates took part."""
        return sum(len(source.plates) for source in self.sources)


# --- goals, and what is missing -----------------------------------------------------------------------


def judged(whole: Validated) -> Validated:
    """The validation with its goals looked at, and the wells named that it lacks."""
    return replace(whole, goals=tuple(_goals(whole)), missing=tuple(_missing(whole)))


def _is_judged(whole: Validated, row: Imprecision) -> bool:
    """Goals for CVs hold for the deciding read-out and the titer, of controls whose shift is clear, and pooled."""
    return row.quantity in (whole.decide, "titer") and "near-blank" not in row.notes and row.role != Role.NEGATIVE


def _goals(whole: Validated) -> list[Goal]:
    goals, found = whole.settings, []
    rows = [row for row in whole.precision.rows if _is_judged(whole, row)]
    for name, limit, values in (
        ("goal_within_cv", goals.goal_within_cv, [(row, row.within.value) for row in rows if row.within.known]),
        ("goal_total_cv", goals.goal_total_cv, [(row, row.total.value) for row in rows if row.total.known]),
    ):
        if limit is not None:
            found.append(_largest(name, limit, values))
    if goals.goal_linear_fold is not None:
        lines = control_lines(whole.rest.lines)
        folds = [line.fold if line.interval else 1.0 for line in lines]
        value = min(folds, default=NAN)
        words = f"The linear interval spans {number(value)}-fold." if folds else "No serum has a linear interval."
        found.append(Goal("goal_linear_fold", value, goals.goal_linear_fold, value >= goals.goal_linear_fold, words))
    if goals.goal_lloq is not None:
        lloq = whole.rest.limits.of("LLOQ")
        value = lloq.value if lloq else NAN
        words = f"The LLOQ is {number(value)}." if lloq else "There is no LLOQ."
        found.append(Goal("goal_lloq", value, goals.goal_lloq, value <= goals.goal_lloq, words))
    if goals.goal_carryover_percent is not None:
        found.append(_carryover_goal(whole.rest.carried, goals.goal_carryover_percent))
    return found


def _largest(name: str, limit: float, values: Sequence[tuple[Imprecision, float]]) -> Goal:
    if not values:
        return Goal(name, NAN, limit, False, "These plates show no such CV.")
    row, value = max(values, key=lambda pair: pair[1])
    return Goal(name, value, limit, value <= limit, f"The largest is {value:.3g} %: {_named(row)}.")


def _carryover_goal(carried: Sequence[CarryOver], limit: float) -> Goal:
    """Met when the upper 95 % limit lies within the goal: that nothing was found does not show that nothing is."""
    known = [row for row in carried if not math.isnan(row.percent.high)]
    if not known:
        return Goal("goal_carryover_percent", NAN, limit, False, "These plates cannot show carry-over.")
    high = known[-1].percent.high  # of all kinds together, where there are several
    message = f"Carry-over is at most {high:.3g} % of the well before (upper 95 % limit)."
    return Goal("goal_carryover_percent", high, limit, high <= limit, message)


def _named(row: Imprecision) -> str:
    where = "" if math.isnan(row.dilution) else f" 1:{row.dilution:g}"
    return f"{row.quantity} of {row.material}{where}"


def lacks(row: Imprecision) -> str:
    """What a level lacks of three replicates on five plates, in words; empty when nothing."""
    words = []
    if row.plates < WANTED_PLATES:
        words.append(f"{WANTED_PLATES - row.plates} more plates")
    wanted = WANTED_REPLICATES * max(row.plates, 1)
    if row.quantity in ("delta", "ratio", "index") and row.n < wanted:
        words.append(f"{WANTED_REPLICATES} wells a plate ({row.n / max(row.plates, 1):.3g} now)")
    return ", ".join(words)


def _missing(whole: Validated) -> list[str]:
    """The wells the lab should add, one sentence each."""
    found = []
    levels = [
        row
        for row in whole.precision.rows
        if row.quantity == "delta" and row.material != POOLED and row.role in (Role.POSITIVE, Role.REFERENCE)
        and "near-blank" not in row.notes
    ]  # fmt: skip
    full = [row for row in levels if not lacks(row)]
    if len(full) < WANTED_LEVELS:
        found.append(
            f"Precision: {len(full)} of the {WANTED_LEVELS} wanted levels have {WANTED_REPLICATES} wells on each of "
            f"{WANTED_PLATES} plates ({len(levels)} control levels are on the plates at all). Put a low, a middle and "
            f"a high control, each in {WANTED_REPLICATES} wells, on at least {WANTED_PLATES} plates."
        )
    found += _missing_series(whole)
    blanks = {name: len(values) for name, values in whole.rest.blanks.items()}
    if blanks["negative sera"] < 60:
        words = f"{blanks['negative sera']} wells of negative sera and {blanks['secondary only']} without serum"
        found.append(f"Limit of blank: {words}; EP17 wants 60 results of at least 4 blank samples.")
    low = [limit for limit in whole.rest.limits.found if limit.name == "LOD" and limit.basis.startswith("low sera")]
    if not low or low[0].plates < 3:
        found.append(
            "Limit of detection: no serum between LOB and four times LOB is on three plates or more. Dilute a control "
            "until it hardly stands out, and put it on every plate."
        )
    if not any(row.percent.known for row in whole.rest.carried):
        found.append(
            "Carry-over: no plate has wells of one kind both after a high well and after a low one. Put two wells "
            "without serum right after the highest well, and two after a negative one."
        )
    return found


def _missing_series(whole: Validated) -> list[str]:
    lines = [line for line in control_lines(whole.rest.lines) if line.order]
    found = []
    if not lines:
        found.append("Linearity: no control has a series of at least 3 dilutions. Titrate one in 5 or more, twice.")
    for line in lines:
        n = sum(level.n for level in line.levels)
        if len(line.levels) < 5 or n < 2 * len(line.levels):
            words = f"Linearity: {line.serum} has {len(line.levels)} dilutions in range, {n} wells in all"
            found.append(f"{words}; EP06 wants 5 or more, each at least twice.")
    if not any(line.slope_ratio.known for line in whole.rest.lines):
        found.append(
            "Parallelism: no serum shares two dilutions' shifts with a reference serum in its linear interval."
        )
    return found


# --- tables ---------------------------------------------------------------------------------------------

PRECISION = (*tables.PRECISION, "goal_within_cv", "goal_total_cv", "verdict", "shown", "missing")
LINEARITY = (
    "serum", "role", "dilution", "n", "plates", "geometric_mean", "best_order", "deviation_percent", "in_interval",
    "interval_deviation_percent", "recovery_percent", "slope", "slope_low", "slope_high", "slope_ratio",
    "slope_ratio_low", "slope_ratio_high", "parallel", "notes",
)  # fmt: skip
LIMITS = (
    "limit", "basis", "rule", "value", "chosen", "n", "materials", "plates", "mean", "sd", "goal", "verdict", "notes",
)  # fmt: skip
CARRYOVER = (
    "kind", "n_after_high", "n_after_low", "mean_after_high", "mean_after_low", "mean_high_well", "percent",
    "percent_low", "percent_high", "goal", "verdict", "notes",
)  # fmt: skip


def precision_table(whole: Validated) -> Table:
    """The rows of precision.csv over all plates, with goals, verdict (by the estimate) and whether limits show it."""
    return PRECISION, [
        [*tables.precision_row(row), *_verdict(whole, row), "" if row.material == POOLED else lacks(row)]
        for row in whole.precision.rows
    ]


def _verdict(whole: Validated, row: Imprecision) -> list[Cell]:
    goals = (whole.settings.goal_within_cv, whole.settings.goal_total_cv)
    pairs = [
        (cv, goal) for cv, goal in zip((row.within, row.total), goals, strict=True) if goal is not None and cv.known
    ]
    if not pairs or not _is_judged(whole, row):
        return [*goals, None, None]
    met = all(cv.value <= goal for cv, goal in pairs)
    return [*goals, "pass" if met else "fail", "yes" if all(cv.high <= goal for cv, goal in pairs) else "no"]


def linearity_table(whole: Validated) -> Table:
    """A row a serum and dilution in range; what concerns the serum stands in each of its rows."""
    rows: list[list[Cell]] = []
    for line in whole.rest.lines:
        inside = line.inside()
        whole_serum: list[Cell] = [
            *_three(line.slope), *_three(line.slope_ratio), line.parallel or None, tables.joined(line.notes),
        ]  # fmt: skip
        rows += [
            [
                line.serum, line.role, level.dilution, level.n, level.plates, level.mean, line.order or None,
                level.deviation, "yes" if level in inside else None, level.interval_deviation, level.recovery,
                *whole_serum,
            ]
            for level in line.levels
        ]  # fmt: skip
        if not line.levels:
            rows.append([line.serum, line.role, *[None] * 9, *whole_serum])
    return LINEARITY, rows


def _three(estimate: Estimate) -> list[Cell]:
    return [estimate.value, estimate.low, estimate.high]


def limits_table(whole: Validated) -> Table:
    """LOB, LOD and LLOQ by every rule that had enough wells; `chosen` marks the one that counts."""
    return LIMITS, [[*_limit(limit), *_limit_goal(whole, limit)] for limit in whole.rest.limits.found]


def _limit(limit: Limit) -> list[Cell]:
    return [
        limit.name, limit.basis, limit.rule, limit.value, "yes" if limit.chosen else None, limit.n, limit.materials,
        limit.plates, limit.mean, limit.sd,
    ]  # fmt: skip


def _limit_goal(whole: Validated, limit: Limit) -> list[Cell]:
    goal = whole.settings.goal_lloq if limit.name == "LLOQ" and limit.chosen else None
    verdict = None if goal is None else "pass" if limit.value <= goal else "fail"
    return [goal, verdict, tables.joined(limit.notes)]


def carryover_table(whole: Validated) -> Table:
    """A row a kind of low well, and one of all together."""
    goal = whole.settings.goal_carryover_percent
    return CARRYOVER, [
        [
            row.kind, row.n_after_high, row.n_after_low, row.mean_after_high, row.mean_after_low, row.mean_high,
            *_three(row.percent), goal,
            None if goal is None or math.isnan(row.percent.high) else "pass" if row.percent.high <= goal else "fail",
            tables.joined(row.notes),
        ]
        for row in whole.rest.carried
    ]  # fmt: skip


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


# --- page ------------------------------------------------------------------------------------------------


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
    import jinja2

    folder = importlib.resources.files("aqp4flow.report")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string((folder / "validation.html.j2").read_text(encoding="utf-8"))
    style = (folder / "page.css").read_text(encoding="utf-8")
    return template.render(page=_context(whole, drawn), style=style) + "\n"


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
            str(_verdict(whole, row)[2] or ""), lacks(row), "; ".join(row.notes),
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
