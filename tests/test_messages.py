"""What a person reads when something is wrong: one line `where: what`, a hint, the right exit code, nothing written."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest


def _replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def _empty(plate: Path) -> None:
    for path in plate.iterdir():
        path.unlink()


def _first_file(plate: Path) -> Path:
    return next(plate.glob("*_A01.fcs"))


def _xlsx_that_is_none(plate: Path) -> None:
    (plate / "plate.csv").unlink()
    (plate / "plate.xlsx").write_bytes(b"PK but not a workbook")


def _definition(plate: Path) -> Path:
    return plate.parents[1] / "assay.toml"


CASES: dict[str, tuple[Callable[[Path], object], str, str]] = {
    "missing folder": (shutil.rmtree, "no such folder", "hint: name a study folder, or a folder of FCS files"),
    "empty folder": (
        _empty,
        "neither a study (no plates/ in it) nor a plate",
        "hint: name the folder that holds plates/",
    ),
    "csv renamed": (
        lambda plate: _first_file(plate).write_text("well,value\nA1,3\n"),
        "P001/Specimen_001_A1_A01.fcs: not an FCS file: it begins with 'well,value\\nA', not 'FCS'",
        "hint: export the well from the cytometer as FCS",
    ),
    "empty file": (
        lambda plate: _first_file(plate).write_bytes(b""),
        "P001/Specimen_001_A1_A01.fcs: the file is empty",
        "hint: it may still be copying",
    ),
    "well without a file": (
        lambda plate: _first_file(plate).unlink(),
        "P001/plate.csv: row 2: no file of this plate is well A01",
        "hint: export the well, or take the row out",
    ),
    "well twice": (
        lambda plate: _replace(plate / "plate.csv", "A02,", "A01,"),
        "P001/plate.csv: row 3: well A01 is on the plate map twice",
        "hint: one row a well",
    ),
    "unknown role": (
        lambda plate: _replace(plate / "plate.csv", ",sample,", ",sampel,"),
        "P001/plate.csv: row 2: role 'sampel' is unknown",
        "hint: did you mean 'sample'?",
    ),
    "unknown key": (
        lambda plate: _replace(_definition(plate), "[gating]\nsource", "[gating]\nsorce"),
        "assay.toml: [gating] unknown key 'sorce'",
        "hint: did you mean 'source'?",
    ),
    "channel not in the file": (
        lambda plate: _replace(_definition(plate), 'signal = "APC-A"', 'signal = "APC-H"'),
        "assay.toml: [channels] signal: no channel is called 'APC-H'",
        "hint: the files have FSC-A, FSC-H, SSC-A, FITC-A",
    ),
    "unreadable xlsx": (_xlsx_that_is_none, "P001/plate.xlsx: cannot be read as xlsx", "hint: open it in Excel"),
    "no antigen": (
        lambda plate: _replace(_definition(plate), 'antigen = "AQP4-M23"\n', ""),
        "assay.toml: [assay] antigen is missing",
        "isoforms are never pooled",
    ),
    "no plate map": (
        lambda plate: (plate / "plate.csv").unlink(),
        "P001/: no plate map",
        "hint: add plate.csv",
    ),
    "no definition": (
        lambda plate: _definition(plate).unlink(),
        "assay.toml: not found in P001/",
        "hint: name it with --assay",
    ),
    "gates that are not there": (
        lambda plate: _replace(_definition(plate), '[gating]\nsource = "auto"', '[gating]\nsource = "gates.xml"'),
        "gates.xml: no such gate file",
        "hint: [gating] source is relative to assay.toml",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input_is_one_message_with_a_hint(name: str, plate: Path, tmp_path: Path, call) -> None:
    """Exit 3, at most four lines that begin `where: what`, the hint, no traceback, no results folder."""
    damage, what, hint = CASES[name]
    damage(plate)
    out = tmp_path / "out"
    done = call("run", plate, "-o", out)
    assert done.returncode == 3, done.stderr
    assert what in done.stderr.splitlines()[0]
    assert hint in done.stderr
    assert len(done.stderr.splitlines()) <= 4
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["study"]


def test_check_reports_every_problem_of_a_study_at_once(plate: Path, tmp_path: Path, call) -> None:
    """Three mistakes in three places are all listed, and run names the first and how many more there are."""
    _replace(plate / "plate.csv", ",sample,", ",sampel,")
    _replace(_definition(plate), 'signal = "APC-A"', 'signal = "APC-A"\nsignals = "x"')
    (plate / "overrides.csv").write_text("well,action,reason\nZ9,exclude,gone\n")
    done = call("check", plate)
    assert done.returncode == 3
    for words in ("role 'sampel' is unknown", "unknown key 'signals'", "well 'Z9' is not a well", "3 problems"):
        assert words in done.stderr
    ran = call("run", plate, "-o", tmp_path / "out")
    assert ran.returncode == 3
    assert ran.stderr.splitlines()[-1] == "and 2 more: `aqp4flow check` lists them all"


def test_check_of_a_study_in_order_says_so(study: Path, call) -> None:
    """Exit 0 and one line."""
    done = call("check", study)
    assert (done.returncode, done.stdout) == (0, "in order: 2 plate(s), 176 wells, 10 visits, 55 clinical rows\n")


def test_wrong_usage_exits_2(study: Path, call) -> None:
    """An unknown option, command or stage is usage, not input."""
    assert call("run", study, "--untill", "wells").returncode == 2
    assert call("ran", study).returncode == 2
    assert call("run", study, "--until", "tuesday").returncode == 2


def test_a_fault_of_ours_exits_1_without_a_traceback(call, tmp_path: Path) -> None:
    """An unexpected exception is one line and a hint; --debug shows the traceback."""
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(
        "import aqp4flow.fcs.reader as r\ndef fail(*a): raise ZeroDivisionError('planted')\nr.read_segments = fail\n"
    )
    path = Path(__file__).parents[1]
    some = tmp_path / "x.fcs"
    some.write_bytes(b"FCS3.1")
    done = call("fcs", some, PYTHONPATH=f"{folder}:{path}")
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "aqp4flow: ZeroDivisionError: planted"
    assert "Traceback" not in done.stderr
    assert "Traceback" in call("fcs", some, "--debug", PYTHONPATH=f"{folder}:{path}").stderr


def test_messages_survive_a_cp932_console(plate: Path, call) -> None:
    """A name the console cannot show is escaped, not a crash."""
    _replace(plate / "plate.csv", ",sample,", ",süße,")
    done = call("check", plate, PYTHONUTF8="0", PYTHONIOENCODING="cp932")
    assert done.returncode == 3
    assert "is unknown" in done.stderr


def test_fcs_describes_a_file(study: Path, call) -> None:
    """`fcs --json` prints one object with the contract's keys, several files an array; plain text names the well."""
    import json

    files = sorted((study / "plates" / "P001").glob("*_A0[12].fcs"))
    facts = json.loads(call("fcs", "--json", files[0]).stdout)
    assert list(facts) == [
        "file", "version", "cytometer", "n_events", "n_datasets", "dataset", "channels", "sha256_raw", "spillover",
        "well", "plate", "acquired", "repairs", "wells_said", "acquired_end", "acquired_raw", "timestep",
    ]  # fmt: skip
    assert (facts["version"], facts["well"], facts["plate"], facts["repairs"]) == ("FCS3.1", "A01", "P001", [])
    assert set(facts["channels"][0]) == {
        "index", "name", "stain", "bits", "range", "gain", "amplification", "voltage",
    }  # fmt: skip
    assert len(json.loads(call("fcs", "--json", *files).stdout)) == 2
    assert "channel    1 FSC-A, 32 bits, range 262144" in call("fcs", files[0]).stdout
