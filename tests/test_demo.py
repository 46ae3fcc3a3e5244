"""The demo is what a newcomer runs first."""

from __future__ import annotations

import json
from pathlib import Path

from aqp4flow.simulate import simulate_study


def test_the_demo_runs_and_says_where_things_are(tmp_path: Path, call) -> None:
    """Seven patients, one results folder below DIR, paths on stdout, progress on stderr, every check passed or told."""
    folder = tmp_path / "demo"
    done = call("demo", folder, "--size", "0.3", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert Path(answer["figure4"]) == folder / "results" / "figures" / "figure4.svg"
    assert Path(answer["report"]).is_file()
    assert answer["fit"] is True
    assert [path.parent.name for path in folder.rglob("manifest.json")] == ["results"]
    assert "simulating" in done.stderr
    trajectories = (folder / "results" / "trajectories.csv").read_text().splitlines()
    assert len(trajectories) == 1 + 7 * 5
    assert len({line.split(",")[0] for line in trajectories[1:]}) == 7


def test_the_demo_leaves_other_folders_alone(tmp_path: Path, call) -> None:
    """A folder with something else in it is refused with exit 7, untouched."""
    (tmp_path / "notes.txt").write_text("mine")
    done = call("demo", tmp_path)
    assert done.returncode == 7
    assert "not empty and not an earlier demo" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_the_demo_study_says_that_it_is_simulated() -> None:
    """The definition and the assay's name, which stands on every page and figure, say so."""
    definition = dict(item for item, _ in zip(simulate_study(0.05), range(3), strict=False))["assay.toml"].decode()
    assert "SIMULATED" in definition
    assert 'name = "AQP4-M23 live CBA (simulated)"' in definition
