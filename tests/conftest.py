"""Shared by all tests: the small simulated study, its results, and a way to call the command line."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from handmade import SHARED


@pytest.fixture(scope="session")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two plates of the simulated study, small, with the visits and clinical course of their two patients."""
    from aqp4flow.simulate import simulate_study

    folder = tmp_path_factory.mktemp("study")
    for name, data in simulate_study(size=0.5):
        plate = name.split("/")[1] if name.startswith("plates/") else ""
        if plate in ("", "P001", "P004"):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    for table in (folder / "visits.csv", folder / "clinical.csv"):
        headings, *lines = table.read_text().splitlines()
        kept = [headings, *(line for line in lines if line.startswith(("PT01", "PT04")))]
        table.write_text("\n".join(kept) + "\n")
    return folder


@pytest.fixture(scope="session")
def results(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder of that study."""
    out = tmp_path_factory.mktemp("results") / "out"
    done = call("run", study, "-o", out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture
def plate(study: Path, tmp_path: Path) -> Path:
    """A copy of one plate that a test may damage, with its assay.toml two folders up."""
    folder = tmp_path / "study" / "plates" / "P001"
    shutil.copytree(study / "plates" / "P001", folder)
    shutil.copy(study / "assay.toml", tmp_path / "study" / "assay.toml")
    return folder


def call(*words: object, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "aqp4flow", *map(str, words)],
        capture_output=True,
        text=True,
        encoding="utf-8",
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONUTF8": "1", **environment},
        check=False,
    )


@pytest.fixture(name="call", scope="session")
def call_fixture() -> Callable[..., subprocess.CompletedProcess[str]]:
    """The command line, for tests."""
    return call


@pytest.fixture(scope="session")
def table() -> Callable[[Path], list[dict[str, str]]]:
    """Rows of a CSV file."""

    def read(path: Path) -> list[dict[str, str]]:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    return read


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Real files, where they are at hand."""
    if not (SHARED / "corpus").is_dir():
        pytest.skip("the corpus of real files is not beside the project")
    return SHARED / "corpus"
