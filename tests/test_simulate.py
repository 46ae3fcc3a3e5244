"""The simulator: what is planted must be what the files hold."""

from __future__ import annotations

import ast
import csv
import io
import itertools
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import aqp4flow.simulate
from aqp4flow.errors import InputError
from aqp4flow.model import Role, Values
from aqp4flow.simulate import simulate_study
from aqp4flow.simulate.binding import Brightness, bound_signal, occupancy
from aqp4flow.simulate.cells import Expression, Kind, Mix, draw_tube
from aqp4flow.simulate.cohort import PATIENTS, negative_sera, sera_of
from aqp4flow.simulate.cytometer import CHANNELS, DETECTORS, SPILLOVER, TOP
from aqp4flow.simulate.plate import PlatePlan, WellPlan, plan_plate
from aqp4flow.simulate.study import well_fcs
from aqp4flow.simulate.well import SimulatedWell, simulate_well

SEED = 20140315
SMALL = 0.004  # about 20 events a well
NAMES = [channel.name for channel in CHANNELS]


@pytest.fixture(scope="module")
def plate() -> PlatePlan:
    return plan_plate(PATIENTS[0], SEED)


@pytest.fixture(scope="module")
def study() -> dict[str, bytes]:
    return dict(simulate_study(SMALL, SEED))


def well_called(plate: PlatePlan, name: str) -> WellPlan:
    return next(well for well in plate.wells if well.name == name)


def rows(data: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(data.decode())))


def fluorescence(well: SimulatedWell) -> Values:
    """Values of the three detectors, shape (n, 3)."""
    return well.acquisition.values[:, [NAMES.index(name) for name in DETECTORS]].astype(float)


# --- the folder ---------------------------------------------------------------------------------


def test_same_size_and_seed_give_the_same_bytes(study: dict[str, bytes]) -> None:
    assert dict(simulate_study(SMALL, SEED)) == study


def test_another_seed_gives_other_events_and_other_sera(study: dict[str, bytes]) -> None:
    other = dict(itertools.islice(simulate_study(SMALL, SEED + 1), 5))
    name = "plates/P001/Specimen_001_A1_A01.fcs"
    assert other[name] != study[name]
    assert (
        plan_plate(PATIENTS[0], SEED + 1).sera[0].concentration != plan_plate(PATIENTS[0], SEED).sera[0].concentration
    )


def test_the_folder_holds_seven_plates_of_88_wells_and_the_truth(study: dict[str, bytes]) -> None:
    folders = Counter(name.rsplit("/", 1)[0] for name in study if name.endswith(".fcs"))
    assert folders == {f"plates/P{k:03d}": 88 for k in range(1, 8)}
    rest = {name for name in study if not name.endswith(".fcs")}
    maps = {f"plates/P{k:03d}/plate.csv" for k in range(1, 8)}
    truth = {f"truth/{name}.csv" for name in ("sera", "wells", "folds", "clinical")}
    assert rest == maps | truth | {"assay.toml", "visits.csv", "clinical.csv"}


def test_the_plate_map_names_every_file_once(study: dict[str, bytes]) -> None:
    table = rows(study["plates/P003/plate.csv"])
    assert list(table[0]) == ["well", "role", "serum", "dilution", "replicate", "cells", "dye"]
    files = {name for name in study if name.startswith("plates/P003/") and name.endswith(".fcs")}
    assert files == {f"plates/P003/Specimen_001_{r['well'][0]}{int(r['well'][1:])}_{r['well']}.fcs" for r in table}
    assert Counter(row["role"] for row in table) == {
        "sample": 60,
        "negative": 10,
        "positive": 2,
        "reference": 8,
        "secondary-only": 3,
        "unstained": 2,
        "single-stain": 3,
    }
    assert {row["dye"] for row in table if row["role"] == "single-stain"} == set(DETECTORS)


def test_every_serum_of_a_patient_has_a_visit_and_one_baseline(study: dict[str, bytes]) -> None:
    visits = rows(study["visits.csv"])
    assert Counter(v["patient"] for v in visits) == {f"PT{k:02d}": 5 for k in range(1, 8)}
    assert [v["serum"] for v in visits if v["baseline"] == "yes"] == [f"PT{k:02d}-M00" for k in range(1, 8)]
    for _, own in itertools.groupby(visits, key=lambda v: v["patient"]):
        dates = [v["collected"] for v in own]
        assert dates == sorted(set(dates))
    on_plates = {r["serum"] for k in range(1, 8) for r in rows(study[f"plates/P{k:03d}/plate.csv"])}
    assert {v["serum"] for v in visits} <= on_plates


def test_the_definition_names_channels_of_the_files_and_says_simulated(study: dict[str, bytes]) -> None:
    text = study["assay.toml"].decode()
    assert set(tomllib.loads(text)["channels"].values()) <= set(NAMES)
    assert "SIMULATED" in text.splitlines()[0]


def test_a_file_says_its_well_plate_matrix_and_that_it_is_simulated(study: dict[str, bytes]) -> None:
    parts = study["plates/P002/Specimen_001_B7_B07.fcs"][256:4000].split(b"|")
    keywords = dict(zip(parts[1::2], parts[2::2], strict=False))
    assert keywords[b"WELL ID"] == b"B07"
    assert keywords[b"PLATE NAME"] == b"P002"
    assert keywords[b"AQP4FLOW SIMULATED"] == b"yes"
    assert keywords[b"$DATE"] == b"04-MAR-2014"
    assert keywords[b"$TIMESTEP"] == b"0.01"
    count, *rest = keywords[b"$SPILLOVER"].decode().split(",")
    assert (count, rest[:3]) == ("3", list(DETECTORS))
    assert [float(x) for x in rest[3:]] == SPILLOVER.matrix.ravel().tolist()


def test_a_study_of_size_1_stays_under_120_megabytes(plate: PlatePlan) -> None:
    picked = plate.wells[::8]
    total = sum(len(well_fcs(plate, simulate_well(plate, plan, 1.0, SEED), 1.0)) for plan in picked)
    assert 0 < total / len(picked) * len(plate.wells) * 7 < 115e6  # five million left for tables and chance


@pytest.mark.parametrize("size", [0.0, -1.0, float("nan"), 1000.0])
def test_a_senseless_size_is_refused_at_once(size: float) -> None:
    with pytest.raises(InputError, match="size"):
        simulate_study(size)


def test_wells_without_events_still_make_a_study() -> None:
    files = dict(simulate_study(1e-5, SEED))
    assert any(row["n_events"] == "0" and row["true_delta"] == "" for row in rows(files["truth/wells.csv"]))


# --- planted truth ------------------------------------------------------------------------------


def test_a_well_does_not_depend_on_what_was_simulated_before(plate: PlatePlan, study: dict[str, bytes]) -> None:
    for name in ("H04", "C05", "A01"):  # backwards
        plan = well_called(plate, name)
        well = simulate_well(plate, plan, SMALL, SEED)
        assert well_fcs(plate, well, SMALL) == study[f"plates/P001/{plan.file}"]


def test_folds_are_ratios_of_concentrations_in_the_sera_table(study: dict[str, bytes]) -> None:
    concentration = {(r["patient"], r["visit"]): float(r["concentration"]) for r in rows(study["truth/sera.csv"])}
    folds = rows(study["truth/folds.csv"])
    assert len(folds) == 35
    for row in folds:
        ratio = concentration[row["patient"], row["visit"]] / concentration[row["patient"], "M00"]
        assert float(row["fold"]) == pytest.approx(ratio, rel=2e-5)  # both tables round to six digits


def test_a_fold_is_the_shift_of_the_whole_binding_curve() -> None:
    before, *_, after = sera_of(PATIENTS[0], SEED)
    fold = after.concentration / before.concentration
    for dilution in (20.0, 640.0, 20480.0):
        assert occupancy(after.clones, after.concentration / dilution) == pytest.approx(
            occupancy(before.clones, before.concentration / (dilution / fold))
        )
    assert after.half_dilution / before.half_dilution == pytest.approx(fold)


def test_negative_sera_bind_expressing_and_other_cells_alike() -> None:
    tube = draw_tube(np.random.default_rng(1), 60_000, Mix(), Expression())
    own = tube.particles.transfected[: len(tube)]
    for serum in negative_sera(SEED):
        signal = bound_signal(tube.particles, serum, 20.0, Brightness())[: len(tube)]
        inside, outside = signal[own & tube.live_single], signal[~own & tube.live_single]
        assert np.median(inside) == pytest.approx(np.median(outside), rel=0.02)


def test_nonspecific_binding_differs_five_fold_at_most_between_sera() -> None:
    factors = [serum.nonspecific for seed in range(20) for serum in negative_sera(seed)]
    assert 4 < max(factors) / min(factors) <= 5


def test_compensated_medians_of_true_populations_are_the_planted_ones(plate: PlatePlan) -> None:
    for name in ("A01", "A04", "F03"):  # strong, weak, none
        well = simulate_well(plate, well_called(plate, name), 20.0, SEED)
        signal = np.linalg.solve(SPILLOVER.matrix.T, fluorescence(well).T)[2]
        for events in (well.expressing, well.nonexpressing):
            clean = well.clean_median(events)
            assert np.median(signal[events]) == pytest.approx(clean, rel=0.01, abs=3)


def test_the_truth_table_holds_what_the_well_was_made_of(plate: PlatePlan, study: dict[str, bytes]) -> None:
    row = next(r for r in rows(study["truth/wells.csv"]) if (r["plate"], r["well"]) == ("P001", "B02"))
    well = simulate_well(plate, well_called(plate, "B02"), SMALL, SEED)
    assert int(row["n_events"]) == len(well.acquisition.values)
    assert int(row["n_live_single_expressing"]) == well.expressing.sum()
    delta = well.clean_median(well.expressing) - well.clean_median(well.nonexpressing)
    assert float(row["true_delta"]) == pytest.approx(delta, rel=1e-5)


def test_secondary_only_wells_have_no_delta(plate: PlatePlan) -> None:
    for name in ("G09", "G10", "G11"):
        well = simulate_well(plate, well_called(plate, name), 4.0, SEED)
        low = well.clean_median(well.nonexpressing)
        assert low > 50
        assert abs(well.clean_median(well.expressing) - low) < 0.04 * low


def test_strong_baseline_serum_nearly_saturates_at_the_first_dilution() -> None:
    baseline = sera_of(PATIENTS[0], SEED)[0]
    assert occupancy(baseline.clones, baseline.concentration / 20) > 0.75


def test_one_patient_falls_far_below_detection() -> None:
    last = sera_of(PATIENTS[3], SEED)[-1]
    assert occupancy(last.clones, last.concentration / 20) < 0.004  # a delta of 50 at most, like a negative serum's


# --- cells and cytometer ------------------------------------------------------------------------


@pytest.mark.parametrize(("dye", "row"), [(dye, row) for row, dye in enumerate(DETECTORS)])
def test_single_stains_spill_as_planted(plate: PlatePlan, dye: str, row: int) -> None:
    plan = next(well for well in plate.wells if well.dye == dye)
    assert plan.role is Role.SINGLE_STAIN
    well = simulate_well(plate, plan, 4.0, SEED)
    # Single cells only: in debris and doublets autofluorescence rises with every dye, for their size.
    values = fluorescence(well)[(well.tube.kind == Kind.LIVE) | (well.tube.kind == Kind.DEAD)]
    slopes = np.polyfit(values[:, row], values, 1)[0]  # of every detector on the dye's own
    assert slopes == pytest.approx(SPILLOVER.matrix[row], abs=1.5e-3)


def test_kinds_of_events_are_planted_in_their_shares_and_in_random_order(plate: PlatePlan) -> None:
    kind = simulate_well(plate, plate.wells[0], 10.0, SEED).tube.kind
    for part in (kind, kind[: len(kind) // 5]):
        assert np.mean(part == Kind.DEBRIS) == pytest.approx(0.20, abs=0.02)
        assert np.mean(part == Kind.DEAD) == pytest.approx(0.08, abs=0.02)
        assert np.mean(part == Kind.DOUBLET) == pytest.approx(0.06, abs=0.02)


def test_doublets_are_two_cells_in_area_but_not_in_height(plate: PlatePlan) -> None:
    well = simulate_well(plate, plate.wells[0], 4.0, SEED)
    area, height = well.acquisition.values[:, 0], well.acquisition.values[:, 1]
    doublets, singles = well.tube.kind == Kind.DOUBLET, well.tube.live_single
    assert np.median(area[doublets]) == pytest.approx(2 * np.median(area[singles]), rel=0.05)
    assert np.percentile((height / area)[doublets], 95) < np.percentile((height / area)[singles], 1)


def test_dead_cells_are_small_granular_and_bright_in_the_viability_dye(plate: PlatePlan) -> None:
    well = simulate_well(plate, plate.wells[0], 4.0, SEED)
    dead = np.median(well.acquisition.values[well.tube.kind == Kind.DEAD], axis=0)
    live = np.median(well.acquisition.values[well.tube.live_single], axis=0)
    assert dead[0] < 0.8 * live[0]
    assert dead[2] > 1.5 * live[2]
    assert dead[4] > 20 * live[4]


def test_numbers_end_at_the_top_of_the_range_and_may_be_negative(plate: PlatePlan) -> None:
    well = simulate_well(plate, plate.wells[0], 20.0, SEED)
    values = well.acquisition.values[:, :6]
    assert values.max() == TOP
    assert fluorescence(well).min() < 0
    assert values[:, :3].min() >= 0


def test_time_never_runs_backwards(plate: PlatePlan) -> None:
    time = simulate_well(plate, plate.wells[0], 1.0, SEED).acquisition.values[:, -1]
    assert (np.diff(time) >= 0).all()
    assert time[-1] > 500  # ticks of 10 ms


# --- the house ----------------------------------------------------------------------------------


def test_the_simulator_imports_nothing_that_analyses() -> None:
    code = (
        "import sys, aqp4flow.simulate as s; next(s.simulate_study(0.001));"
        "print([m for m in sys.modules if m.startswith(('aqp4flow.cytometry', 'aqp4flow.assay', 'aqp4flow.cohort'))])"
    )
    root = Path(aqp4flow.simulate.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_simulator_touches_neither_disk_nor_clock() -> None:
    forbidden = {"os", "pathlib", "time", "tempfile", "shutil", "random"}
    for path in Path(aqp4flow.simulate.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        called = {
            node.func.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        }
        called |= {
            node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        }
        assert not {name.split(".")[0] for name in names} & forbidden
        assert not called & {"open", "now", "today", "utcnow", "write_bytes", "write_text"}
