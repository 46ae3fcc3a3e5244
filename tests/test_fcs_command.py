"""`aqp4flow fcs` as people and programs call it, and what a run makes of odd files."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aqp4flow.fcs import read_fcs
from handmade import DATA, EVENTS, GOOD, LITTLE, TWO, built, described, integers

STAINED = {
    **described(["FITC-A", "PE-A"], P1S="GFP", P1V="400", P2G="2"),
    "SPILL": "2,FITC-A,PE-A,1,0.1,0,1",
    "$CYT": "Test",
    "$DATE": "30-JUN-2011",
    "$BTIM": "10:00:00",
    "WELL ID": "B7",
    "PLATE NAME": "P9",
}


@pytest.fixture
def stained(tmp_path: Path) -> Path:
    """A file with a stain, a matrix, a well and a date."""
    path = tmp_path / "B07.fcs"
    path.write_bytes(built(DATA, STAINED, "5"))
    return path


def test_the_object_of_a_file_holds_what_the_contract_says(stained: Path, call: Callable) -> None:
    card = json.loads(call("fcs", "--json", stained).stdout)
    digest = hashlib.sha256(np.array(EVENTS, "<f8").tobytes()).hexdigest()
    assert {key: card[key] for key in card if key not in ("channels", "acquired_raw")} == {
        "file": "B07.fcs",
        "version": "FCS3.0",
        "cytometer": "Test",
        "n_events": 5,
        "n_datasets": 1,
        "dataset": 1,
        "sha256_raw": digest,
        "spillover": {
            "source": "SPILL",
            "channels": ["FITC-A", "PE-A"],
            "matrix": [[1.0, 0.1], [0.0, 1.0]],
            "identity": False,
        },
        "well": "B07",
        "plate": "P9",
        "acquired": "2011-06-30T10:00:00",
        "repairs": [],
        "wells_said": {},
        "acquired_end": None,
        "timestep": None,
    }
    assert card["channels"][0] == {
        "index": 1,
        "name": "FITC-A",
        "stain": "GFP",
        "bits": 32,
        "range": 262144.0,
        "gain": 1.0,
        "amplification": [0.0, 0.0],
        "voltage": 400.0,
    }
    assert card["channels"][1]["gain"] == 2.0
    assert card["acquired_raw"] == {"$DATE": "30-JUN-2011", "$BTIM": "10:00:00"}


def test_a_range_that_is_not_known_is_null(tmp_path: Path, call: Callable) -> None:
    """JSON has no infinity."""
    (tmp_path / "a.fcs").write_bytes(built(DATA, {**TWO, "$P1R": None}, "5"))
    card = json.loads(call("fcs", "--json", tmp_path / "a.fcs").stdout, parse_constant=pytest.fail)
    assert card["channels"][0]["range"] is None
    assert [repair["code"] for repair in card["repairs"]] == ["range-missing"]


def test_several_files_are_an_array_and_a_refused_one_does_not_sink_the_others(
    stained: Path, tmp_path: Path, call: Callable
) -> None:
    (tmp_path / "cut.fcs").write_bytes(GOOD[:-3])
    done = call("fcs", "--json", stained, tmp_path / "cut.fcs", stained)
    cards = json.loads(done.stdout)
    assert [card["file"] for card in cards] == ["B07.fcs", "cut.fcs", "B07.fcs"]
    assert cards[1] == {
        "file": "cut.fcs",
        "refused": "DATA holds 4 whole events of the 5 that $TOT promises",
        "hint": "the copy is cut short; export or copy the file again",
    }
    assert done.returncode == 3
    assert done.stderr.splitlines()[0] == "cut.fcs: DATA holds 4 whole events of the 5 that $TOT promises"


def test_a_refused_file_alone_prints_nothing_on_stdout(tmp_path: Path, call: Callable) -> None:
    (tmp_path / "cut.fcs").write_bytes(GOOD[:-3])
    done = call("fcs", "--json", tmp_path / "cut.fcs")
    assert (done.returncode, done.stdout) == (3, "")
    assert len(done.stderr.splitlines()) == 2


def two_sets(path: Path) -> Path:
    first = built(DATA, {**TWO, "$NEXTDATA": "0" * 8}, "5")
    path.write_bytes(first.replace(b"$NEXTDATA/00000000", f"$NEXTDATA/{len(first):08d}".encode()) + GOOD)
    return path


def test_every_data_set_is_shown_with_the_first_in_front(tmp_path: Path, call: Callable) -> None:
    path = two_sets(tmp_path / "two.fcs")
    card = json.loads(call("fcs", "--json", path).stdout)
    assert (card["dataset"], card["n_datasets"], card["measured_dataset"]) == (1, 2, 1)
    assert [one["dataset"] for one in card["data_sets"]] == [1, 2]
    assert card["data_sets"][0]["sha256_raw"] == card["sha256_raw"]
    assert "data set 2 of 2" in call("fcs", path).stdout
    one = json.loads(call("fcs", "--json", "--dataset", "2", path).stdout)
    assert (one["dataset"], "data_sets" in one) == (2, False)


def test_keywords_are_listed_on_request(stained: Path, call: Callable) -> None:
    assert "  $CYT = Test\n" in call("fcs", "--keywords", stained).stdout
    assert json.loads(call("fcs", "--keywords", "--json", stained).stdout)["keywords"]["$P1S"] == "GFP"


def test_the_encoding_can_be_given(tmp_path: Path, call: Callable) -> None:
    (tmp_path / "a.fcs").write_bytes(built(DATA, {**TWO, "$OP": "µ"}, "5", encoding="latin-1"))
    said = call("fcs", "--keywords", "--encoding", "cp932", tmp_path / "a.fcs").stdout
    assert "  $OP = ｵ\n" in said


def test_what_a_file_holds_cannot_take_over_a_terminal(tmp_path: Path, call: Callable) -> None:
    """Line feeds and escape sequences in names are shown as such, in text and in refusals."""
    hostile = "x\n\x1b]0;owned\x07"
    (tmp_path / "a.fcs").write_bytes(built(DATA, {**TWO, "$P1S": hostile, "$CYT": hostile}, "5"))
    (tmp_path / "b.fcs").write_bytes(built(DATA, {**TWO, "$TOT": hostile, "$P1N": hostile}, None))
    done = call("fcs", tmp_path / "a.fcs", tmp_path / "b.fcs")
    assert "\x1b" not in done.stdout + done.stderr
    assert "channel    1 A, x\\x0a\\x1b]0;owned\\x07, 32 bits" in done.stdout
    assert len(done.stderr.splitlines()) == 2


# --- writing --------------------------------------------------------------------------------------


def test_a_file_is_written_anew_and_an_existing_one_is_left_alone(
    stained: Path, tmp_path: Path, call: Callable
) -> None:
    out = tmp_path / "out.fcs"
    done = call("fcs", stained, "--write", out)
    assert done.returncode == 0, done.stderr
    assert read_fcs(out).raw.tolist() == [list(row) for row in EVENTS]
    before = out.read_bytes()
    done = call("fcs", stained, "--write", out)
    assert (done.returncode, done.stderr) == (3, f"{out}: it exists already\nhint: name a file that does not\n")
    assert out.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["B07.fcs", "out.fcs"]


@pytest.mark.parametrize("name", ["nowhere/out.fcs", "x" * 300 + ".fcs"])
def test_a_file_that_cannot_be_written_exits_7(name: str, stained: Path, tmp_path: Path, call: Callable) -> None:
    done = call("fcs", stained, "--write", tmp_path / name)
    assert done.returncode == 7
    assert "cannot be written" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["B07.fcs"]


def test_only_one_file_can_be_written_at_a_time(stained: Path, tmp_path: Path, call: Callable) -> None:
    assert call("fcs", stained, stained, "--write", tmp_path / "out.fcs").returncode == 2


# --- what is no file ------------------------------------------------------------------------------


def test_a_folder_is_named_and_refused(tmp_path: Path, call: Callable) -> None:
    done = call("fcs", tmp_path)
    assert done.stderr == f"{tmp_path.name}: a folder, not a file\nhint: name the FCS files\n"
    assert call("fcs", ".", cwd=tmp_path).stderr.startswith(".: a folder, not a file\n")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path, call: Callable) -> None:
    os.mkfifo(tmp_path / "pipe.fcs")
    assert call("fcs", tmp_path / "pipe.fcs").stderr.startswith("pipe.fcs: a device or pipe, not a file\n")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_an_output_that_cannot_be_written_is_no_fault_of_the_program(stained: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "aqp4flow", "fcs", stained],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 7
    assert done.stderr.startswith("output: No space left on device\n")


# --- odd files in a run ---------------------------------------------------------------------------


def run(
    plate: Path, out: Path, call: Callable, settings: str = "", matrix: str = "auto"
) -> subprocess.CompletedProcess[str]:
    definition = plate.parents[1] / "assay.toml"
    definition.write_text(definition.read_text().replace('"file"', f'"{matrix}"') + f"\n{settings}\n")
    return call("run", plate, "--assay", definition, "-o", out)


def remade(path: Path, values: np.ndarray | None = None, **keywords: str) -> None:
    """A simulated well with other values or keywords."""
    from aqp4flow.fcs import fcs_bytes

    file = read_fcs(path)
    kept = {"$CYT": "Test", "$TIMESTEP": "0.01"}
    values = file.raw.astype(np.float32) if values is None else values
    path.write_bytes(fcs_bytes(values, file.channels, {**kept, **keywords}, file.spillover))


def test_a_repair_stands_in_the_table_and_on_the_page(
    plate: Path, tmp_path: Path, call: Callable, table: Callable
) -> None:
    (well,) = plate.glob("*_A01.fcs")
    content = well.read_bytes()
    well.write_bytes(content + b"something after the data")
    done = run(plate, tmp_path / "out", call)
    assert done.returncode in (0, 4), done.stderr
    (row,) = table(tmp_path / "out" / "repairs.csv")
    assert (row["file"], row["code"], row["plate"]) == (well.name, "bytes-after-data", "P001")
    assert "bytes-after-data" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_values_that_are_no_numbers_are_counted_and_in_no_median(
    plate: Path, tmp_path: Path, call: Callable, table: Callable
) -> None:
    """NaN and infinity in scatter and signal of every well: the run goes on, and says how many there were.

    Uncompensated, for through a matrix NaN would reach the reporter, and such events no gate.
    """
    assert run(plate, tmp_path / "good", call, matrix="none").returncode in (0, 4)
    for well in plate.glob("*.fcs"):
        file = read_fcs(well)
        values = file.raw.astype(np.float32).copy()
        index = {channel.name: i for i, channel in enumerate(file.channels)}
        values[::100, index["APC-A"]] = np.nan
        values[50::100, index["FSC-A"]] = np.inf
        remade(well, values)
    done = run(plate, tmp_path / "out", call)
    assert done.returncode in (0, 4), done.stderr
    assert "Warning" not in done.stderr
    good, odd = ({row["well"]: row for row in table(tmp_path / name / "wells.csv")} for name in ("good", "out"))
    samples = {name: row for name, row in odd.items() if row["role"] == "sample"}
    for name, row in samples.items():
        assert "values-not-finite" in row["flags"]
        assert float(row["mfi_expressing"]) == pytest.approx(float(good[name]["mfi_expressing"]), rel=0.15)
    assert "values-not-finite" in {row["code"] for row in table(tmp_path / "out" / "repairs.csv")}


def test_a_file_that_contradicts_the_plate_map_is_flagged(
    plate: Path, tmp_path: Path, call: Callable, table: Callable
) -> None:
    """The plate map names file and well, so it decides; that the file itself says two wells is seen."""
    (well,) = plate.glob("*_A01.fcs")
    remade(well, **{"WELL ID": "H12"})
    rows = (plate / "plate.csv").read_text().splitlines()
    first = rows[1].split(",")
    headings = rows[0].split(",")
    first[headings.index("well")] = "A01"
    (plate / "plate.csv").write_text(
        "\n".join([rows[0] + ",file", ",".join([*first, well.name])] + [r + "," for r in rows[2:]])
    )
    done = run(plate, tmp_path / "out", call)
    assert done.returncode in (0, 4), done.stderr
    checks = {(row["check"], row["subject"]): row for row in table(tmp_path / "out" / "checks.csv")}
    assert "WELL ID says H12" in checks["well-conflict", "P001/A01"]["message"]


def test_a_file_that_says_two_wells_has_to_be_named_by_the_plate_map(plate: Path, call: Callable) -> None:
    (well,) = plate.glob("*_A01.fcs")
    remade(well, **{"WELL ID": "H12"})
    done = call("check", plate)
    assert done.returncode == 3
    assert f"the file '{well.name}' says it is A01 and H12" in done.stderr
    assert "hint: name the file under file if it is this well's" in done.stderr


def test_matrices_that_the_cytometer_applied_are_not_applied_again(
    plate: Path, tmp_path: Path, call: Callable, table: Callable
) -> None:
    """$DFCmTOn is told, and the events stay as they are."""
    for well in plate.glob("*.fcs"):
        file = read_fcs(well)
        names = [f"FL{number}" if number in (5, 6) else c.name for number, c in enumerate(file.channels, 1)]
        stains = {f"P{number}S": c.name for number, c in enumerate(file.channels, 1)}
        keywords = {**described(names, **stains), "$DFC5TO6": "10"}
        well.write_bytes(built(file.raw.astype("<f4").tobytes(), keywords, str(file.n_events)))
    done = run(plate, tmp_path / "out", call)
    assert done.returncode in (0, 4), done.stderr
    checks = {row["check"]: row for row in table(tmp_path / "out" / "checks.csv")}
    assert checks["hardware-compensation"]["verdict"] == "pass"
    assert checks["compensation"]["value"] == "none"


def test_the_data_set_of_every_file_can_be_set(plate: Path, tmp_path: Path, call: Callable, table: Callable) -> None:
    """A second set with other events: the definition says which is measured."""
    for well in plate.glob("*.fcs"):
        first = built(integers([[1, 2]], [2, 2], LITTLE), {**described(["A", "B"], 16, "I"), "$NEXTDATA": "0" * 8}, "1")
        content = well.read_bytes()
        well.write_bytes(first.replace(b"$NEXTDATA/00000000", f"$NEXTDATA/{len(first):08d}".encode()) + content)
    done = run(plate, tmp_path / "out", call, "[fcs]\ndataset = 2")
    assert done.returncode in (0, 4), done.stderr
    assert {row["flags"] for row in table(tmp_path / "out" / "wells.csv")} != {"unreadable"}
    assert "more-data-sets" in {row["code"] for row in table(tmp_path / "out" / "repairs.csv")}
