"""The command line. Data go to stdout, talk to stderr; heavy imports wait until a command needs them."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aqp4flow import __version__
from aqp4flow.errors import Aqp4flowError, InputError, StorageError

if TYPE_CHECKING:
    from aqp4flow.pipeline import StudyResult

EXIT_BUG, EXIT_UNFIT, EXIT_INTERRUPTED = 1, 4, 130

app = typer.Typer(
    name="aqp4flow",
    help="From FCS files of a live cell-based assay to titers with their uncertainty, patient by patient.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Named = Annotated[
    str | None, typer.Option("--preset", metavar="NAME", help="Published settings in place of the definition's own.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"aqp4flow {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")] = False,
) -> None:
    """Options that stand before the command."""


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where to put the simulated study.")] = Path("aqp4flow-demo"),
    size: Annotated[float, typer.Option(min=0.2, max=100, help="Events per well, in multiples of about 5,000.")] = 1.0,
    as_json: Json = False,
) -> None:
    """Simulate the seven-patient study, run it, and say where Figure 4 and the report are."""
    from aqp4flow import run as door
    from aqp4flow.demo import write_demo

    _say(f"simulating the study in {folder}")
    write_demo(folder, size)
    study = door.load_study(folder)
    result = door.run_study(study, folder / "results", progress=_say)
    _finished(result, folder / "results", as_json)


@app.command()
def simulate(
    out: Annotated[Path, typer.Option("-o", "--out", help="Where to put the tables.")],
    grid: Annotated[
        str, typer.Option(metavar="NAME", help="Which grid: standard, readings, cohort or tiny.")
    ] = "standard",
    keep: Annotated[bool, typer.Option("--keep", help="Leave the simulated plates there, as studies.")] = False,
    processes: Annotated[int | None, typer.Option(min=1, help="How many at a time (one a core).")] = None,
) -> None:
    """Plant truth on a grid of plates, measure them, and count how often the limits hold it."""
    from aqp4flow.accuracy import door

    door.simulate(door.grid_called(grid), out, processes, keep, _say)
    typer.echo(str(out / door.PAGE))


@app.command()
def check(
    study: Annotated[Path, typer.Argument(help="A study folder, or one plate's folder.")],
    assay: Annotated[Path | None, typer.Option(help="The assay definition, when it lies elsewhere.")] = None,
    preset: Named = None,
    as_json: Json = False,
) -> None:
    """List everything that is wrong with a study before a number is made, all of it at once."""
    from aqp4flow import run as door

    problems: tuple[InputError, ...] = ()
    loaded = None
    try:
        loaded = door.load_study(study, assay, preset)
    except InputError as first:
        problems = (first, *first.others)
    doubts = door.doubts_of(loaded) if loaded else []
    if as_json:
        listed = [{"where": p.where, "what": p.what, "hint": p.hint} for p in problems]
        doubtful = [
            {"subject": d.subject, "check": d.check, "verdict": d.verdict, "message": d.message} for d in doubts
        ]
        facts = {"study": str(study), "problems": listed, "doubts": doubtful}
        typer.echo(json.dumps(facts, ensure_ascii=False, indent=2))
    for problem in problems:
        typer.echo(str(problem), err=True)
    if problems:
        typer.echo(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}", err=True)
        raise typer.Exit(InputError.exit_code)
    if loaded and not as_json:
        wells = sum(len(plate.wells) for plate in loaded.plates)
        visits = f"{len(loaded.records.visits)} visits" if loaded.records and loaded.records.visits else "no visits"
        clinical = len(loaded.records.clinical) if loaded.records else 0
        events = f", {clinical} clinical rows" if clinical else ""
        typer.echo(f"in order: {len(loaded.plates)} plate(s), {wells} wells, {visits}{events}")
        for plate in loaded.plates:
            if plate.unlisted:
                typer.echo(f"{plate.name}: the plate map does not name {', '.join(plate.unlisted)}")
        for doubt in doubts:
            typer.echo(f"{doubt.subject}: {doubt.message}")


@app.command()
def run(
    study: Annotated[Path, typer.Argument(help="A study folder, or one plate's folder.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Results folder (STUDY/results).")] = None,
    assay: Annotated[Path | None, typer.Option(help="The assay definition, when it lies elsewhere.")] = None,
    preset: Named = None,
    until: Annotated[str | None, typer.Option(metavar="STAGE", help="Stop after a stage: wells.")] = None,
    as_json: Json = False,
) -> None:
    """Make everything: wells, reactivity, titers, trajectories, figures and the report."""
    if until not in (None, "wells"):
        raise typer.BadParameter(f"{until!r} is not a stage to stop after; wells is", param_hint="--until")
    from aqp4flow import run as door

    loaded = door.load_study(study, assay, preset)
    results = out or (study / "results" if (study / "plates").is_dir() else Path(f"results-{study.resolve().name}"))
    result = door.run_study(loaded, results, until, _say)
    _finished(result, results, as_json)


@app.command()
def presets(
    name: Annotated[str | None, typer.Argument(help="Print this one's assay.toml.")] = None,
    as_json: Json = False,
) -> None:
    """List published settings by name, or spell one out as an assay.toml."""
    from aqp4flow.assay.presets import PRESETS, facts, preset_of, toml_of

    if name is not None:
        chosen = preset_of(name, "aqp4flow presets")
        text = json.dumps(facts(chosen), ensure_ascii=False, indent=2) if as_json else toml_of(chosen).rstrip("\n")
        typer.echo(text)
    elif as_json:
        typer.echo(json.dumps({"presets": [facts(one) for one in PRESETS.values()]}, ensure_ascii=False, indent=2))
    else:
        for one in PRESETS.values():
            typer.echo(f"{one.name:15} {one.line}")


class Encoding(StrEnum):
    """The encodings of TEXT that can be asked for."""

    AUTO = "auto"
    UTF_8 = "utf-8"
    CP932 = "cp932"
    LATIN_1 = "latin-1"


@app.command()
def fcs(
    files: Annotated[list[Path], typer.Argument(help="FCS files.")],
    keywords: Annotated[bool, typer.Option("--keywords", help="List every keyword too.")] = False,
    second_opinion: Annotated[
        bool, typer.Option("--second-opinion", help="Read with FlowIO and fcsparser too, and compare.")
    ] = False,
    dataset: Annotated[int | None, typer.Option(min=1, help="Only this data set of each file.")] = None,
    encoding: Annotated[Encoding, typer.Option(help="Encoding of TEXT.")] = Encoding.AUTO,
    write: Annotated[Path | None, typer.Option(metavar="OUT.fcs", help="Write one file's events as FCS 3.1.")] = None,
    as_json: Json = False,
) -> None:
    """Say what is in FCS files: channels, events, matrix, well, and what had to be mended."""
    if write is not None and len(files) > 1:
        raise typer.BadParameter("it takes the events of one file", param_hint="--write")
    from aqp4flow.report import filecard

    cards = []
    refusals: list[Aqp4flowError] = []
    for path in files:
        try:
            cards.append(_card(path, dataset, encoding, keywords, second_opinion))
        except Aqp4flowError as error:
            if len(files) == 1:
                raise
            refusals.append(error)
            cards.append(filecard.refusal(path.name, error))
            _complain(error)
        if not as_json:
            typer.echo("".join(f"{line}\n" for line in filecard.lines(cards[-1])), nl=False)
    if write is not None:
        _export(files[0], dataset, encoding, write)
    if as_json:
        whole: Any = cards if len(cards) > 1 else cards[0]
        typer.echo(json.dumps(whole, ensure_ascii=False, indent=2))
    if refusals:
        raise typer.Exit(refusals[0].exit_code)


class Estimator(StrEnum):
    """How the coefficients of a spillover matrix are estimated."""

    REGRESSION = "regression"
    POPULATIONS = "populations"
    MEDIAN = "median"


@app.command()
def spillover(
    folder: Annotated[Path, typer.Argument(help="Single-stained controls with plate.csv: file, role, dye.")],
    out: Annotated[
        Path | None, typer.Argument(metavar="[OUT.csv]", help="With --csv: a file instead of stdout.")
    ] = None,
    method: Annotated[Estimator, typer.Option(help="Estimator of the coefficients.")] = Estimator.REGRESSION,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the matrix as CSV, or write it to OUT.csv.")] = False,
    spreading: Annotated[
        Path | None, typer.Option(metavar="OUT.csv", help="Write the spillover spreading matrix as CSV.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Estimate a spillover matrix from single-stained controls, and say what speaks against them."""
    if out is not None and not as_csv:
        raise typer.BadParameter("a file to write needs --csv", param_hint="OUT.csv")
    from aqp4flow import stains

    found = stains.matrix_from_folder(folder, method.value)
    for doubt in found.doubts:
        _say(f"{doubt.code}: {doubt.message}")
    if spreading is not None:
        _write_new(spreading, stains.spreading_csv(found).encode())
    if as_json:
        typer.echo(json.dumps(stains.facts(found), ensure_ascii=False, indent=2))
    elif as_csv and out is None:
        typer.echo(stains.to_csv(found), nl=False)
    elif as_csv and out is not None:
        _write_new(out, stains.to_csv(found).encode())
    else:
        for line in stains.lines(found):
            typer.echo(line)


@app.command()
def beads(
    file: Annotated[Path, typer.Argument(help="The FCS file of the calibration beads.")],
    values: Annotated[Path, typer.Option(metavar="CSV", help="Assigned values: channel, unit, lot, peak1, peak2, ...")],
    channel: Annotated[
        str | None, typer.Option(help="Which channel, where the table has rows for several of the file's.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(metavar="OUT.png", help="Draw peaks and line.")] = None,
    as_json: Json = False,
) -> None:
    """Find the peaks of calibration beads, and the line from MFI to assigned units."""
    if figure is not None and figure.suffix.lower() != ".png":
        raise typer.BadParameter("the figure is a PNG: name it OUT.png", param_hint="--figure")
    from aqp4flow import beadfile

    found, setting = beadfile.calibrate_file(file, values, channel)
    for doubt in found.doubts:
        _say(f"{doubt.code}: {doubt.message}")
    if figure is not None:
        _write_new(figure, beadfile.png(found, file.name))
    if as_json:
        typer.echo(json.dumps(beadfile.facts(found, setting), ensure_ascii=False, indent=2))
    else:
        typer.echo(f"detector at {setting}")
        for line in beadfile.lines(found):
            typer.echo(line)


@app.command()
def validate(
    results: Annotated[list[Path], typer.Argument(help="Results folders of one assay.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="The validation folder to write.")],
    assay: Annotated[Path | None, typer.Option(help="An assay definition whose goals count, not the runs'.")] = None,
    as_json: Json = False,
) -> None:
    """Show from results folders how precise and linear the assay is, what it detects, what it carries over."""
    from aqp4flow import validate as door

    whole = door.validate(results, out, assay, _say)
    if as_json:
        typer.echo(json.dumps(door.facts(whole, out), ensure_ascii=False, indent=2))
    else:
        typer.echo(f"page     {out / 'validation.html'}")
    for sentence in whole.missing:
        _say(sentence)
    for goal in whole.goals:
        if not goal.met:
            typer.echo(f"{goal.name} {goal.limit:g}: not met. {goal.message}", err=True)
    if not whole.met:
        typer.echo("a goal that was set is not met: the validation is written and says so", err=True)
        raise typer.Exit(EXIT_UNFIT)


gates = typer.Typer(help="Gates out to other programs, and in from them.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(gates, name="gates")


@gates.command("apply")
def apply_gates(
    gating: Annotated[Path, typer.Argument(metavar="GATES.xml|WORKSPACE.wsp", help="GatingML 2.0 or FlowJo 10.")],
    file: Annotated[Path, typer.Argument(help="An FCS file.")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Membership as CSV: a 0/1 column a gate.")] = None,
    as_json: Json = False,
) -> None:
    """Apply another program's gates to a file, as FlowKit evaluates them."""
    from aqp4flow import exchange

    found = exchange.apply_to_file(gating, file)
    if out is not None:
        _write_new(out, exchange.membership_csv(found))
    if as_json:
        typer.echo(json.dumps(exchange.facts(found), ensure_ascii=False, indent=2))
    else:
        for gate in exchange.facts(found)["gates"]:
            share = "" if gate["percent_of_parent"] is None else f"  {gate['percent_of_parent']:.3g} % of its parent"
            typer.echo(f"{gate['path']}  {gate['count']}{share}")


@gates.command("export")
def export_gates(
    results: Annotated[Path, typer.Argument(help="A results folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write: GatingML 2.0, or .wsp.")],
    plate: Annotated[str | None, typer.Option(help="Which plate, where there are several.")] = None,
) -> None:
    """Write the gates that a run used: GatingML 2.0, or the workspace they came from."""
    from aqp4flow import exchange

    _write_new(out, exchange.gates_of_results(results, plate, out.suffix))


def _card(path: Path, dataset: int | None, encoding: str, keywords: bool, opinions: bool) -> dict[str, Any]:
    """The card of a file: its first data set (or the one asked for), with all of them where there are several."""
    from aqp4flow.fcs import AUTO, read_datasets, read_fcs
    from aqp4flow.fcs.second_opinion import second_opinions
    from aqp4flow.report import filecard

    sets = read_datasets(path, encoding) if dataset is None else (read_fcs(path, dataset, encoding),)
    cards = []
    for file in sets:
        card = filecard.facts(file)
        if keywords:
            card["keywords"] = dict(file.keywords)
        if opinions:
            card["second_opinions"] = [filecard.opinion(one) for one in second_opinions(file)]
        cards.append(card)
    if len(cards) == 1:
        return cards[0]
    return {**cards[0], "measured_dataset": read_fcs(path, AUTO, encoding).dataset, "data_sets": cards}


def _export(path: Path, dataset: int | None, encoding: str, out: Path) -> None:
    """Write a data set anew; an existing file is never replaced, for it may be the cytometer's own."""
    from aqp4flow.fcs import AUTO, read_fcs, rewritten

    _write_new(out, rewritten(read_fcs(path, dataset or AUTO, encoding)))


def _write_new(out: Path, content: bytes) -> None:
    """Write a file that was not there before, whole or not at all."""
    try:
        if out.exists():
            raise InputError(str(out), "it exists already", "name a file that does not")
        partial = out.with_name(f".{out.name}.part")
        partial.write_bytes(content)
        partial.replace(out)
    except OSError as error:
        raise StorageError(str(out), f"cannot be written: {error.strerror}", "choose another folder") from None


def _finished(result: StudyResult, results: Path, as_json: bool) -> None:
    """Say where things are, and how the run stands; exit 4 when a rule of the run failed."""
    places = {
        name: str(results / relative)
        for name, relative in {
            "figure1": "figures/figure1.svg",
            "figure2": "figures/figure2.svg",
            "figure3": "figures/figure3.svg",
            "figure4": "figures/figure4.svg",
            "report": "report.html",
            "titers": "titers.csv",
            "wells": "wells.csv",
        }.items()
        if (results / relative).is_file()
    }
    if as_json:
        verdicts = {v: sum(c.verdict == v for c in result.checks) for v in ("pass", "warn", "fail")}
        answer = {"results": str(results), **places, "fit": result.fit, "checks": verdicts}
        typer.echo(json.dumps(answer, ensure_ascii=False, indent=2))
    else:
        for name, place in places.items():
            typer.echo(f"{name:8} {place}")
        for check in result.checks:
            if check.check == "figure-not-made":
                typer.echo(check.message, err=True)
    for problem in result.failed:
        limit = f" (limit: {problem.limit})" if problem.limit else ""
        typer.echo(f"{problem.subject}: {problem.message}{limit}", err=True)
    if result.failed_alone:
        typer.echo(f"{result.failed_alone} failed: see checks.csv", err=True)
    if not result.fit:
        typer.echo("the run failed its acceptance: the results are written and marked", err=True)
        raise typer.Exit(EXIT_UNFIT)


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _prepare() -> None:
    """Output that no console breaks, and an end that leaves nothing half-written."""
    for stream in (sys.stdout, sys.stderr):  # a console in cp932 must not turn a message into a crash
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # being stopped cleans up like an interrupt


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; every way out has its exit code."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small matrices: threads cost start-up and change last digits
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    _prepare()
    try:
        app(words)
    except Aqp4flowError as error:
        if debug:
            raise
        _complain(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        typer.echo("interrupted: nothing was written", err=True)
        sys.exit(EXIT_INTERRUPTED)
    except OSError as error:
        if debug:
            raise
        where = error.filename if isinstance(error.filename, str) else "output"
        _complain(StorageError(where, error.strerror or type(error).__name__, "look at the disk, then run it again"))
        sys.exit(StorageError.exit_code)
    except Exception as error:
        if debug:
            raise
        typer.echo(f"aqp4flow: {type(error).__name__}: {error}", err=True)
        typer.echo(
            "hint: this is a fault of the program; run it again with --debug and report what it prints",
            err=True,
        )
        sys.exit(EXIT_BUG)


def _complain(error: Aqp4flowError) -> None:
    typer.echo(str(error), err=True)
    others = getattr(error, "others", ())
    if others:
        typer.echo(f"and {len(others)} more: `aqp4flow check` lists them all", err=True)
