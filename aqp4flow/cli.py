"""The command line. Data go to stdout, talk to stderr; heavy imports wait until a command needs them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aqp4flow import __version__
from aqp4flow.errors import Aqp4flowError, InputError

if TYPE_CHECKING:
    from aqp4flow.fcs import FcsFile
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
def check(
    study: Annotated[Path, typer.Argument(help="A study folder, or one plate's folder.")],
    assay: Annotated[Path | None, typer.Option(help="The assay definition, when it lies elsewhere.")] = None,
    as_json: Json = False,
) -> None:
    """List everything that is wrong with a study before a number is made, all of it at once."""
    from aqp4flow import run as door

    problems: tuple[InputError, ...] = ()
    loaded = None
    try:
        loaded = door.load_study(study, assay)
    except InputError as first:
        problems = (first, *first.others)
    if as_json:
        listed = [{"where": p.where, "what": p.what, "hint": p.hint} for p in problems]
        typer.echo(json.dumps({"study": str(study), "problems": listed}, ensure_ascii=False, indent=2))
    for problem in problems:
        typer.echo(str(problem), err=True)
    if problems:
        typer.echo(f"{len(problems)} problem{'s' if len(problems) > 1 else ''}", err=True)
        raise typer.Exit(InputError.exit_code)
    if loaded and not as_json:
        wells = sum(len(plate.wells) for plate in loaded.plates)
        visits = "no visits" if loaded.visits is None else f"{len(loaded.visits)} visits"
        typer.echo(f"in order: {len(loaded.plates)} plate(s), {wells} wells, {visits}")
        for plate in loaded.plates:
            if plate.unlisted:
                typer.echo(f"{plate.name}: the plate map does not name {', '.join(plate.unlisted)}")


@app.command()
def run(
    study: Annotated[Path, typer.Argument(help="A study folder, or one plate's folder.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Results folder (STUDY/results).")] = None,
    assay: Annotated[Path | None, typer.Option(help="The assay definition, when it lies elsewhere.")] = None,
    until: Annotated[str | None, typer.Option(metavar="STAGE", help="Stop after a stage: wells.")] = None,
    as_json: Json = False,
) -> None:
    """Make everything: wells, reactivity, titers, trajectories, figures and the report."""
    if until not in (None, "wells"):
        raise typer.BadParameter(f"{until!r} is not a stage to stop after; wells is", param_hint="--until")
    from aqp4flow import run as door

    loaded = door.load_study(study, assay)
    results = out or (study / "results" if (study / "plates").is_dir() else Path(f"results-{study.resolve().name}"))
    result = door.run_study(loaded, results, until, _say)
    _finished(result, results, as_json)


@app.command()
def fcs(
    files: Annotated[list[Path], typer.Argument(help="FCS files.")],
    keywords: Annotated[bool, typer.Option("--keywords", help="List every keyword too.")] = False,
    as_json: Json = False,
) -> None:
    """Say what is in FCS files: channels, events, matrix, well, and what had to be mended."""
    from aqp4flow.fcs import read_fcs

    described = []
    for path in files:
        file = read_fcs(path)
        facts = _describe(file)
        if keywords:
            facts["keywords"] = dict(file.keywords)
        described.append(facts)
        if not as_json:
            _print_file(facts)
    if as_json:
        whole: Any = described if len(described) > 1 else described[0]
        typer.echo(json.dumps(whole, ensure_ascii=False, indent=2))


def _describe(file: FcsFile) -> dict[str, Any]:
    """The facts of one file as `--json` prints them."""
    spillover = file.spillover
    acquired = " ".join(file.keywords.get(key, "").strip() for key in ("$DATE", "$BTIM")).strip()
    return {
        "file": file.path.name,
        "version": file.version,
        "cytometer": file.keywords.get("$CYT", "").strip() or None,
        "n_events": file.n_events,
        "n_datasets": file.n_datasets,
        "dataset": 1,
        "channels": [
            {
                "index": c.index,
                "name": c.name,
                "stain": c.stain or None,
                "bits": c.bits,
                "range": c.range if c.range != float("inf") else None,
                "gain": c.gain,
                "amplification": list(c.amplification),
                "voltage": c.voltage,
            }
            for c in file.channels
        ],
        "sha256_raw": file.events.sha256_raw(),
        "spillover": None
        if spillover is None
        else {
            "source": spillover.source,
            "channels": list(spillover.channels),
            "matrix": spillover.matrix.tolist(),
            "identity": spillover.is_identity,
        },
        "well": file.well,
        "plate": file.plate,
        "acquired": acquired or None,
        "repairs": [{"code": repair.code, "message": repair.message} for repair in file.repairs],
    }


def _print_file(facts: dict[str, Any]) -> None:
    typer.echo(f"{facts['file']}: {facts['version']}, {facts['n_events']} events, {facts['cytometer'] or 'no $CYT'}")
    for label in ("well", "plate", "acquired"):
        if facts[label]:
            typer.echo(f"  {label:9} {facts[label]}")
    for c in facts["channels"]:
        stain = f"  {c['stain']}" if c["stain"] else ""
        typer.echo(f"  channel {c['index']:>2} {c['name']}{stain}  ({c['bits']} bits)")
    matrix = facts["spillover"]
    if matrix:
        note = " (the identity)" if matrix["identity"] else ""
        typer.echo(f"  matrix    {matrix['source']}: {', '.join(matrix['channels'])}{note}")
    for repair in facts["repairs"]:
        typer.echo(f"  {repair['code']}: {repair['message']}")
    for key, value in facts.get("keywords", {}).items():
        typer.echo(f"  {key} = {value}")


def _finished(result: StudyResult, results: Path, as_json: bool) -> None:
    """Say where things are, and how the run stands; exit 4 when a rule of the run failed."""
    failed = [c for c in result.checks if c.verdict == "fail" and c.scope in ("run", "plate")]
    places = {
        name: str(results / relative)
        for name, relative in {
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
    for problem in failed:
        typer.echo(f"{problem.subject}: {problem.message} (limit: {problem.limit})", err=True)
    if not result.fit:
        typer.echo("the run failed its acceptance: the results are written and marked", err=True)
        raise typer.Exit(EXIT_UNFIT)


def _say(text: str) -> None:
    typer.echo(text, err=True)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; every way out has its exit code."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small matrices: threads cost start-up and change last digits
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    for stream in (sys.stdout, sys.stderr):  # a console in cp932 must not turn a message into a crash
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
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
