"""The house keeps its own rules: imports, types, lint, quick start, documentation that matches."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "tool",
    [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]],
    ids=" ".join,
)
def test_the_code_passes(tool: list[str]) -> None:
    """Linter, formatter and strict type checker have nothing to say."""
    done = subprocess.run([sys.executable, "-m", *tool], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_imports_run_downwards() -> None:
    """Wings do not know each other, and the simulator knows nothing of gates."""
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["run", "--help"], ["runn"]])
def test_help_version_and_usage_errors_import_nothing_heavy(words: list[str]) -> None:
    """They answer at once: numpy and all that stands on it stay unloaded."""
    heavy = {"numpy", "scipy", "pandas", "sklearn", "matplotlib", "flowkit", "openpyxl", "jinja2"}
    code = (
        "import sys\nfrom aqp4flow.cli import main\n"
        f"try:\n    main({words!r})\nexcept SystemExit:\n    pass\n"
        f"print(sorted({heavy!r} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "[]"


def test_measuring_with_frozen_gates_loads_neither_learning_nor_pictures() -> None:
    """The fast path stays fast: scikit-learn, scipy, pandas, matplotlib and FlowKit are for those who need them."""
    heavy = {"scipy", "pandas", "sklearn", "matplotlib", "flowkit", "openpyxl", "jinja2", "aqp4flow.cytometry.autogate"}
    code = f"import sys, aqp4flow.run\nprint(sorted({heavy!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ci_runs_the_readme_test_command() -> None:
    """What a newcomer is told to type is what CI types."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = [line for line in readme.splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    assert "aqp4flow demo" in commands[0]
    assert commands[1] in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()


def test_the_constraints_hold_hashes_and_no_addresses() -> None:
    """Every pinned package has hashes; no index or file address stands in the file."""
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    assert not re.search(r"https?:|file:|--index|--find", text)
    pins = re.findall(r"^[a-z0-9.-]+==.*\\\n +--hash=sha256:", text, re.MULTILINE)
    assert len(pins) == len(re.findall(r"^\S+==", text, re.MULTILINE)) > 30


def _documented(page: str) -> str:
    return (ROOT / "docs" / page).read_text(encoding="utf-8")


def test_every_setting_is_documented() -> None:
    """Each key of assay.toml stands in docs/study.md."""
    from aqp4flow.assay.definition import Assay

    page = _documented("study.md")
    for table, field in Assay.model_fields.items():
        assert f"`[{table}]`" in page
        for key in field.annotation.model_fields:
            assert f"`{key}`" in page, f"[{table}] {key}"


def test_every_column_is_documented() -> None:
    """Each column of each results table stands in docs/study.md."""
    from aqp4flow import tables

    page = _documented("study.md")
    found = [tables.WELLS, tables.REACTIVITY, tables.TITERS, tables.TRAJECTORIES, tables.BRIDGING, tables.CUTOFFS]
    found += [
        tables.checks_table([])[0],
        tables.repairs_table([])[0],
        tables.spillover_table([])[0],
        tables.BEADS,
        tables.SPREADING,
        tables.STANDARDS,
        tables.PARALLELISM,
        tables.PRECISION,
        tables.STATISTICS,
        tables.SUMMARIES,
    ]
    for column in {column for columns in found for column in columns}:
        assert f"`{column}`" in page, column


def test_every_column_and_note_of_validation_and_simulation_is_documented() -> None:
    """Columns of simulate's tables stand in docs/accuracy.md, the validation's notes in docs/validation.md."""
    from aqp4flow.accuracy import cohorttally, tally

    page = _documented("accuracy.md")
    cohorts = {*cohorttally.CHANGES, *cohorttally.TESTS, *cohorttally.BIAS}
    for column in {*tally.COVERAGE, *tally.ENDPOINTS, *tally.CALLS, *cohorts}:
        assert f"`{column}`" in page, column
    words = {
        node.value
        for name in ("linearity", "carryoverstudy", "precision", "detection")
        for node in ast.walk(ast.parse((ROOT / "aqp4flow" / "assay" / "quality" / f"{name}.py").read_text("utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    codes = {word for word in words if re.fullmatch(r"-?[a-z]+(-[a-z0-9]+)+", word)}
    assert len(codes) > 10
    page = _documented("validation.md")
    assert [code for code in sorted(codes) if f"{code}`" not in page] == []


def test_every_check_and_flag_is_documented() -> None:
    """Each code that the source can give stands in docs/checks.md."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "aqp4flow").rglob("*.py"))
    codes = set(re.findall(r'Check\([^"]*"(?:plate|well|run|patient|serum)",[^"]*?"([a-z-]+)"', source))
    codes |= set(re.findall(r'flags(?:\.append\(|, )"([a-z-]+)"', source))
    codes |= set(re.findall(r'_of_patient\([\w.]+, "([a-z-]+)"', source))
    assert len(codes) > 30
    page = _documented("checks.md")
    assert [code for code in sorted(codes) if f"`{code}`" not in page] == []


def test_the_repairs_documented_are_those_of_the_reader() -> None:
    """The table in docs/fcs.md lists each code that the reader can give, and no other."""
    table = _documented("fcs.md").split("## Repairs")[1].split("## Refused")[0]
    documented = {
        code for row in re.findall(r"^\|(.*?)\|", table, re.MULTILINE) for code in re.findall(r"`(\S+)`", row)
    }
    words = {
        node.value
        for path in (ROOT / "aqp4flow" / "fcs").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    codes = {word for word in words if re.fullmatch(r"[a-z]+(-[a-z0-9]+)+", word)}
    assert documented - {"refused"} == codes - {"utf-8", "latin-1", "hdr-t", "not-fcs"}  # words that are no codes


def test_every_command_is_documented() -> None:
    """Each command and option of the command line stands in docs/commands.md."""
    from typer.main import get_command

    from aqp4flow.cli import app

    page = _documented("commands.md")
    top = get_command(app).commands
    nested = {f"{a} {b}": inner for a, group in top.items() for b, inner in getattr(group, "commands", {}).items()}
    for name, command in {**top, **nested}.items():
        assert f"`aqp4flow {name}" in page
        for option in command.params:
            for word in (word for word in option.opts if word.startswith("--")):
                assert f"`{word}" in page, f"{name} {word}"
