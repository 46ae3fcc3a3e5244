"""From files to titers: what a study becomes, compared with what was planted."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TABLES = ("wells.csv", "reactivity.csv", "titers.csv", "trajectories.csv", "checks.csv", "repairs.csv", "spillover.csv")


def test_a_study_gives_every_promised_file(results: Path) -> None:
    """Tables, gates, figures in three formats beside their CSV, report and manifest are there."""
    there = {path.relative_to(results).as_posix() for path in results.rglob("*") if path.is_file()}
    figures = {f"figures/{name}.{kind}" for name in ("figure4", "plate-P001") for kind in ("svg", "pdf", "png", "csv")}
    gates = {"plates/P001/gates.xml", "plates/P004/gates.xml"}
    assert {*TABLES, *figures, *gates, "report.html", "manifest.json"} <= there


def test_planted_folds_lie_within_their_limits(study: Path, results: Path, table) -> None:
    """Of eight planted folds at least seven lie within 95 % limits, and all within a factor of two."""
    planted = {row["serum"]: float(row["fold"]) for row in table(study / "truth" / "folds.csv")}
    inside = 0
    rows = [r for r in table(results / "trajectories.csv") if r["fold_vs_baseline"] and not r["baseline"]]
    assert len(rows) == 8
    for row in rows:
        true, found = planted[row["serum"]], float(row["fold_vs_baseline"])
        low, high = float(row["fold_low"] or 0), float(row["fold_high"] or "inf")
        inside += low <= true <= high
        if row["fold_bound"] == "=":
            assert abs(math.log2(found / true)) < 1, row
        else:
            assert row["fold_bound"] == "<"
            assert true < found * 2
    assert inside >= 7


def test_the_serum_planted_below_detection_is_bounded(results: Path, table) -> None:
    """The patient who falls below 1:20 ends with `<20`, neither 0 nor half."""
    row = next(r for r in table(results / "trajectories.csv") if r["serum"] == "PT04-M12")
    assert (row["titer"], row["titer_bound"], row["titer_low"]) == ("20", "<", "")


def test_no_planted_negative_serum_is_positive(results: Path, table) -> None:
    """Every negative serum is negative or equivocal."""
    rows = [row for row in table(results / "reactivity.csv") if row["role"] == "negative"]
    assert len(rows) == 20
    assert {row["status"] for row in rows} <= {"negative", "equivocal"}


def test_delta_is_close_to_the_planted_shift(study: Path, results: Path, table) -> None:
    """Strong wells come within 15 % of the planted difference of medians, and 5 % in the middle."""
    truth = {(r["plate"], r["well"]): float(r["true_delta"] or "nan") for r in table(study / "truth" / "wells.csv")}
    errors = []
    for row in table(results / "wells.csv"):
        true = truth[row["plate"], row["well"]]
        if row["role"] == "sample" and true > 500:
            errors.append(abs(float(row["delta"]) / true - 1))
    assert len(errors) > 20
    assert max(errors) < 0.15
    assert sorted(errors)[len(errors) // 2] < 0.05


def test_numbers_agree_across_tables(results: Path, table) -> None:
    """Delta is expressing less non-expressing, and reactivity the mean of its wells."""
    wells = table(results / "wells.csv")
    for row in wells:
        if row["delta"]:
            difference = float(row["mfi_expressing"]) - float(row["mfi_nonexpressing"])
            assert float(row["delta"]) == pytest.approx(difference, abs=1e-5 * abs(float(row["mfi_expressing"])) + 1e-3)
            if row["delta_low"]:  # fewer than six events have no limits
                assert float(row["delta_low"]) <= float(row["delta"]) <= float(row["delta_high"])
    for row in table(results / "reactivity.csv"):
        key = (row["plate"], row["serum"], row["dilution"])
        mine = [float(w["delta"]) for w in wells if (w["plate"], w["serum"], w["dilution"]) == key]
        assert float(row["delta"]) == pytest.approx(sum(mine) / len(mine), rel=1e-4, abs=1e-2)


def test_endpoint_follows_from_status(results: Path, table) -> None:
    """The endpoint is the last dilution positive with all lower ones positive."""
    rows = table(results / "reactivity.csv")
    for titer in table(results / "titers.csv"):
        mine = [r for r in rows if (r["plate"], r["serum"]) == (titer["plate"], titer["serum"])]
        mine.sort(key=lambda r: float(r["dilution"]))
        run = 0
        while run < len(mine) and mine[run]["status"] == "positive":
            run += 1
        wanted = ("<", mine[0]) if run == 0 else (">" if run == len(mine) else "=", mine[run - 1])
        assert (titer["endpoint_bound"], titer["endpoint"]) == (wanted[0], wanted[1]["dilution"])


def test_same_bytes_in_another_folder_locale_time_zone_and_thread_count(
    study: Path, results: Path, tmp_path: Path, call
) -> None:
    """Every table, gate file, figure and the report come out identical; so does the manifest but for `volatile`."""
    elsewhere = tmp_path / "Ünïted folder" / "study"
    shutil.copytree(study, elsewhere)
    out = tmp_path / "out"
    environment = {
        "LC_ALL": "C",
        "LANG": "ja_JP.UTF-8",
        "TZ": "Asia/Tokyo",
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "7",
    }
    done = call("run", elsewhere, "-o", out, cwd=tmp_path, OPENBLAS_NUM_THREADS="2", **environment)
    assert done.returncode == 0, done.stderr
    first, second = (_digests(folder) for folder in (results, out))
    assert first == second
    manifests = [json.loads((folder / "manifest.json").read_text()) for folder in (results, out)]
    for manifest in manifests:
        del manifest["volatile"]
    assert manifests[0] == manifests[1]


def _digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_frozen_gates_give_the_same_wells(study: Path, results: Path, tmp_path: Path, call) -> None:
    """Gates of an earlier run, named in assay.toml, give the same wells.csv; `--until wells` stops there."""
    again = tmp_path / "study"
    shutil.copytree(study, again)
    shutil.copytree(results / "plates", again / "frozen")
    definition = again / "assay.toml"
    text = definition.read_text().replace('[gating]\nsource = "auto"', '[gating]\nsource = "frozen/{plate}/gates.xml"')
    assert "frozen" in text
    definition.write_text(text)
    done = call("run", again, "-o", tmp_path / "out", "--until", "wells")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "wells.csv").read_bytes() == (results / "wells.csv").read_bytes()
    assert not (tmp_path / "out" / "titers.csv").exists()


def test_the_manifest_names_inputs_and_outputs_by_hash(study: Path, results: Path) -> None:
    """Hashes in the manifest are those of the files, and nothing volatile stands outside `volatile`."""
    manifest = json.loads((results / "manifest.json").read_text())
    assert manifest["outputs"]["titers.csv"] == hashlib.sha256((results / "titers.csv").read_bytes()).hexdigest()
    assert manifest["inputs"]["visits.csv"] == hashlib.sha256((study / "visits.csv").read_bytes()).hexdigest()
    assert sum(name.endswith(".fcs") for name in manifest["inputs"]) == 176
    volatile = manifest.pop("volatile")
    assert set(volatile) == {"finished", "host", "system", "study", "results"}
    assert str(study) not in json.dumps(manifest)


def test_the_report_stands_alone(results: Path) -> None:
    """No script, no address to fetch, no absolute path; verdict, Figure 4 and every titer are in it."""
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert not re.search(r"(?:src|href)=\"(?!data:)", page)
    assert str(results) not in page
    for words in ("acceptance rules", "Figure 4", "PT04-M12", "Provenance"):
        assert words in page


# --- one bad well is a flag ------------------------------------------------------------------------


def test_an_excluded_well_keeps_its_row_and_takes_no_part(plate: Path, tmp_path: Path, call, table) -> None:
    """overrides.csv takes a replicate out: its row stays with the flag, the serum's row has one replicate less."""
    (plate / "overrides.csv").write_text("well,action,reason\nA1,exclude,bubble in the tip\n")
    done = call("run", plate, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    row = next(r for r in table(tmp_path / "out" / "wells.csv") if r["well"] == "A01")
    assert "excluded" in row["flags"].split(";")
    assert float(row["delta"]) > 0
    reactivity = table(tmp_path / "out" / "reactivity.csv")
    assert next(r for r in reactivity if r["serum"] == row["serum"] and r["dilution"] == "20")["n_replicates"] == "1"
    assert "bubble in the tip" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


def test_damaged_and_empty_wells_are_flags_not_crashes(plate: Path, tmp_path: Path, call, table) -> None:
    """A cut file and a file without events keep flagged rows without numbers; the plate goes on."""
    first, second = sorted(plate.glob("*.fcs"))[:2]
    data = first.read_bytes()
    first.write_bytes(data[: len(data) // 2])
    from aqp4flow.fcs import fcs_bytes, read_fcs

    file = read_fcs(second)
    second.write_bytes(fcs_bytes(file.events.values[:0], file.channels, {"WELL ID": file.well or ""}, file.spillover))
    done = call("run", plate, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    rows = {r["file"]: r for r in table(tmp_path / "out" / "wells.csv")}
    assert (rows[first.name]["flags"], rows[first.name]["n_events"], rows[first.name]["delta"]) == (
        "unreadable",
        "",
        "",
    )
    assert (rows[second.name]["flags"], rows[second.name]["n_events"], rows[second.name]["delta"]) == ("empty", "0", "")
    repairs = table(tmp_path / "out" / "repairs.csv")
    assert {(r["file"], r["code"]) for r in repairs} >= {(first.name, "refused"), (second.name, "no-events")}


def test_a_plate_without_negatives_runs_without_status(plate: Path, tmp_path: Path, call, table) -> None:
    """Status is not interpretable, endpoints are empty with a flag, midpoints are still given, a check says so."""
    rows = (plate / "plate.csv").read_text().splitlines()
    (plate / "plate.csv").write_text("\n".join(r for r in rows if ",negative," not in r) + "\n")
    done = call("run", plate, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert {r["status"] for r in table(tmp_path / "out" / "reactivity.csv")} == {"not-interpretable"}
    titers = table(tmp_path / "out" / "titers.csv")
    assert all(r["endpoint"] == "" and "no-cutoff" in r["flags"] for r in titers)
    assert any(r["midpoint"] for r in titers)
    checks = table(tmp_path / "out" / "checks.csv")
    assert any(r["check"] == "negatives" and r["verdict"] == "warn" for r in checks)
    assert any(r["check"] == "unlisted-files" and r["value"] == "10" for r in checks)


def test_a_positive_negative_control_makes_the_run_unfit(plate: Path, tmp_path: Path, call) -> None:
    """A patient's strong serum on a negative's row: results are written and marked, exit 4."""
    negative = next(line for line in (plate / "plate.csv").read_text().splitlines() if ",NEG01," in line)
    files = {path.name.split("_")[-1].removesuffix(".fcs"): path for path in plate.glob("*.fcs")}
    strong, target = files["A01"], files[negative.split(",")[0]]
    from aqp4flow.fcs import fcs_bytes, read_fcs

    source = read_fcs(strong)
    own = {"WELL ID": read_fcs(target).well or ""}
    target.write_bytes(fcs_bytes(source.events.values, source.channels, own, source.spillover))
    definition = plate.parents[1] / "assay.toml"
    fixed = '[cutoff]\nrule = "fixed"\ndelta = 200\nratio = 1.2'
    definition.write_text(definition.read_text().replace('[cutoff]\nrule = "frey"', fixed))
    done = call("run", plate, "-o", tmp_path / "out")
    assert done.returncode == 4
    assert "NEG01" in done.stderr
    assert (tmp_path / "out" / "titers.csv").is_file()
    assert "Not fit for use" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    acceptance = json.loads((tmp_path / "out" / "manifest.json").read_text(encoding="utf-8"))["acceptance"]
    assert acceptance["fit"] is False
    assert "P001 negative-control" in acceptance["failed"]


def test_paired_wells_take_their_background_from_the_partner(plate: Path, tmp_path: Path, call, table) -> None:
    """With control cells beside antigen cells, delta stands on the antigen row and uses the mate's median."""
    rows = [r for r in table(plate / "plate.csv") if r["role"] == "sample"]
    mates = {}
    for row in rows:
        mates.setdefault((row["serum"], row["dilution"]), []).append(row["well"])
    lines = ["well,role,serum,dilution,cells"]
    for (serum, dilution), (antigen, control) in mates.items():
        lines += [f"{antigen},sample,{serum},{dilution},antigen", f"{control},sample,{serum},{dilution},control"]
    (plate / "plate.csv").write_text("\n".join(lines) + "\n")
    definition = plate.parents[1] / "assay.toml"
    definition.write_text(definition.read_text().replace("same-well", "paired-well"))
    done = call("run", plate, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    wells = {r["well"]: r for r in table(tmp_path / "out" / "wells.csv")}
    for antigen, control in mates.values():
        assert wells[control]["delta"] == ""
        assert wells[antigen]["mfi_nonexpressing"] == wells[control]["mfi_expressing"]
        shift = float(wells[antigen]["mfi_expressing"]) - float(wells[control]["mfi_expressing"])
        assert float(wells[antigen]["delta"]) == pytest.approx(shift, abs=0.2)
        assert wells[antigen]["percent_positive"] != ""


def test_without_a_geometric_mean_and_with_labels_that_repeat_it_is_said(
    plate: Path, tmp_path: Path, call, table
) -> None:
    """Dark cells lie around 0 after compensation: no logarithm, no shift, a flag and a check for each such well."""
    lines = (plate / "plate.csv").read_text().splitlines()
    place = lines[0].split(",").index("replicate")
    cells = [line.split(",") for line in lines[1:]]
    rows = [",".join([*one[:place], "1", *one[place + 1 :]]) for one in cells]
    (plate / "plate.csv").write_text("\n".join([lines[0], *rows]) + "\n")
    definition = plate.parents[1] / "assay.toml"
    more = '\n[readout]\nstatistic = "geometric-mean"\n[titer]\nreplicates = "separate"\n'
    kept = definition.read_text().split("[readout]")[0].split("[titer]")[0]
    definition.write_text(kept + more)
    assert call("run", plate, "-o", tmp_path / "out").returncode in (0, 4)
    wells = {f"P001/{r['well']}": r for r in table(tmp_path / "out" / "wells.csv")}
    checks = table(tmp_path / "out" / "checks.csv")
    said = {r["subject"] for r in checks if r["check"] == "statistic-undefined"}
    empty = {name for name, r in wells.items() if r["delta"] == "" and r["role"] in ("sample", "negative", "positive")}
    assert empty
    assert empty <= said
    assert all("statistic-undefined" in wells[name]["flags"] for name in said)
    assert [r["verdict"] for r in checks if r["check"] == "replicate-labels"] == ["warn"]


def test_a_csv_matrix_replaces_the_files_own(plate: Path, tmp_path: Path, call, table) -> None:
    """The same numbers as a CSV matrix give the same wells; another matrix gives others, and its name is shown."""
    from aqp4flow.fcs import read_fcs

    matrix = read_fcs(next(plate.glob("*.fcs"))).spillover
    assert matrix is not None
    definition = plate.parents[1] / "assay.toml"
    text = definition.read_text()
    runs = {}
    for name, numbers in {
        "file": None,
        "same": matrix.matrix,
        "other": matrix.matrix * 0 + [[1, 0.2, 0.1]] * 3,
    }.items():
        if numbers is not None:
            lines = ["channel," + ",".join(matrix.channels)]
            values = numbers.copy()
            for i in range(3):
                values[i, i] = 1.0
            lines += [f"{c}," + ",".join(map(str, row)) for c, row in zip(matrix.channels, values, strict=True)]
            (definition.parent / "matrix.csv").write_text("\n".join(lines) + "\n")
            definition.write_text(text.replace('source = "file"', 'source = "matrix.csv"'))
        done = call("run", plate, "-o", tmp_path / name, "--until", "wells")
        assert done.returncode == 0, done.stderr
        runs[name] = [row["mfi_expressing"] for row in table(tmp_path / name / "wells.csv")]
    assert runs["same"] == runs["file"]
    assert runs["other"] != runs["file"]
    assert "matrix.csv" in (tmp_path / "other" / "checks.csv").read_text()


def test_an_earlier_results_folder_is_replaced_and_another_folder_is_not(
    study: Path, results: Path, tmp_path: Path, call
) -> None:
    """A results folder gives way whole; a folder of something else is refused with exit 7 and left alone."""
    out = tmp_path / "out"
    shutil.copytree(results, out)
    (out / "stale.txt").write_text("from the last run")
    plate = study / "plates" / "P001"
    assert call("run", plate, "-o", out, "--until", "wells").returncode == 0
    assert not (out / "stale.txt").exists()
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter1.txt").write_text("years of work")
    done = call("run", plate, "-o", other)
    assert done.returncode == 7
    assert "not a results folder" in done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert (other / "chapter1.txt").read_text() == "years of work"


@pytest.mark.skipif(os.name == "nt", reason="a process is not told to stop there, it is ended")
def test_a_run_that_is_stopped_leaves_nothing_behind(study: Path, tmp_path: Path) -> None:
    """Told to end while it draws, when results lie half-written beside their place: they go, exit 130."""
    words = [sys.executable, "-m", "aqp4flow", "run", str(study), "-o", str(tmp_path / "out")]
    where = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "PYTHONUTF8": "1"}
    with subprocess.Popen(words, env=where, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any("drawing" in line for line in iter(process.stderr.readline, ""))
        assert len(list(tmp_path.iterdir())) == 1
        process.terminate()
        assert process.wait(60) == 130
    assert list(tmp_path.iterdir()) == []
