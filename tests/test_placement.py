"""Wells whose populations lie elsewhere: planted shifts, and nothing in wells that are in order."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from aqp4flow.assay.definition import Acceptance
from aqp4flow.cytometry.gates import Columns, GateChannels, Rows
from aqp4flow.cytometry.placement import Placement, place, usual_place
from aqp4flow.fcs import fcs_bytes, read_fcs
from aqp4flow.model import Channel, Role, Verdict, Well
from aqp4flow.placementchecks import Placed, placement_checks

CHANNELS = GateChannels("FSC-A", "SSC-A", reporter="GFP")


def columns(seed: int, *, forward: float = 1.0, side: float = 1.0, gain: float = 1.0, debris: float = 0.3) -> Columns:
    """10,000 events: small debris, cells of log-normal scatter, half of them with the reporter."""
    draw = np.random.default_rng(seed)
    n = 10_000
    small = draw.random(n) < debris
    size = np.where(small, 6_000 * draw.lognormal(0, 0.5, n), 80_000 * forward * draw.lognormal(0, 0.15, n))
    bright = ~small & (draw.random(n) < 0.5)
    values = {
        "FSC-A": size,
        "SSC-A": 0.4 * side * size * draw.lognormal(0, 0.2, n),
        "GFP": gain * (200 * draw.lognormal(0, 0.3, n) + np.where(bright, 15_000 * draw.lognormal(0, 0.7, n), 0)),
    }
    channels = tuple(Channel(i, name) for i, name in enumerate(values, 1))
    return Columns(SimpleNamespace(count=n, channels=channels, column=values.__getitem__), None)


def rows(well: Columns) -> dict[str, Rows]:
    """Populations by plain thresholds, as a plate's frozen gates would find them."""
    forward, light = well.raw("FSC-A"), well.raw("GFP")
    cells = forward > 40_000
    found = {"cells": cells, "expressing": cells & (light > 1_500), "nonexpressing": cells & (light < 700)}
    return {name: np.flatnonzero(mask) for name, mask in found.items()}


def placed(name: str, well: Columns, **changed: str) -> Placed:
    of_plate = Well("P", name, f"{name}.fcs", Role.SAMPLE, serum="S", dilution=20.0, **changed)
    return Placed(of_plate, place(well, rows(well), CHANNELS))


def plate(**odd: float) -> list[Placed]:
    """Eight wells alike and one that is not."""
    return [placed(f"A{i:02d}", columns(i)) for i in range(1, 9)] + [placed("B01", columns(99, **odd))]


def codes(wells: list[Placed]) -> dict[str, str]:
    return {f"{c.subject} {c.check}": str(c.verdict) for c in placement_checks(wells, Acceptance())}


def test_the_cloud_is_found_whatever_the_debris() -> None:
    """Its middle lies where it was planted, with 0, 60 and 85 % of debris."""
    for debris in (0.0, 0.6, 0.85):
        found = place(columns(1, debris=debris), {}, CHANNELS)
        assert found.forward == pytest.approx(math.log10(80_000), abs=0.015)
        assert found.side == pytest.approx(math.log10(32_000), abs=0.02)
        assert found.forward_spread == pytest.approx(0.15 / math.log(10), abs=0.015)


def test_wells_alike_are_not_flagged() -> None:
    assert codes(plate()) == {}


@pytest.mark.parametrize(
    ("odd", "code", "verdict"),
    [
        ({"forward": 1.25}, "cells-elsewhere", "warn"),
        ({"side": 0.75}, "cells-elsewhere", "warn"),
        ({"forward": 0.6}, "cells-elsewhere", "fail"),
        ({"gain": 1.6}, "dark-elsewhere", "warn"),
        ({"gain": 3.0}, "expressing-elsewhere", "warn"),
        ({"debris": 0.8}, "few-cells", "warn"),
    ],
)
def test_a_well_that_lies_elsewhere_is_flagged(odd: dict[str, float], code: str, verdict: str) -> None:
    assert codes(plate(**odd))[f"P/B01 {code}"] == verdict
    assert all(key.startswith("P/B01") for key in codes(plate(**odd)))


def test_the_number_says_how_far() -> None:
    """Forward scatter 1.3-fold is log10(1.3) / 0.065 spreads; the factors say it too."""
    wells = plate(forward=1.3)
    usual = usual_place([one.placement for one in wells])
    assert usual is not None
    odd = wells[-1].placement
    assert usual.factors(odd)[0] == pytest.approx(1.3, abs=0.03)
    both = math.log10(1.3) / usual.placement.forward_spread, math.log10(1.3) / usual.placement.side_spread
    assert usual.cloud_shift(odd) == pytest.approx(math.hypot(*both), abs=0.3)


def test_another_share_of_expressing_cells_is_flagged() -> None:
    """Log odds: 10 % against 52 % is ln(0.1 / 0.9) - ln(0.52 / 0.48) = -2.28."""
    usual = Placement(forward=5, side=4.5, forward_spread=0.07, side_spread=0.1, expressing=0.52, cells=0.5)
    odd = Placement(forward=5, side=4.5, forward_spread=0.07, side_spread=0.1, expressing=0.10, cells=0.5)
    wells = [Placed(Well("P", f"A{i}", "f", Role.SAMPLE), usual) for i in range(6)]
    wells.append(Placed(Well("P", "B1", "f", Role.SAMPLE), odd))
    (check,) = placement_checks(wells, Acceptance())
    assert (check.check, check.verdict) == ("expression-odd", Verdict.WARN)
    assert check.value == pytest.approx(math.log(0.1 / 0.9) - math.log(0.52 / 0.48))


def test_wells_of_other_cells_are_compared_among_themselves() -> None:
    """Control cells of a paired plate lie elsewhere as a whole: that is no well's fault."""
    antigen = [placed(f"A{i:02d}", columns(i), cells="antigen") for i in range(1, 8)]
    control = [placed(f"B{i:02d}", columns(50 + i, gain=4.0), cells="control") for i in range(1, 8)]
    assert codes(antigen + control) == {}


def test_too_few_wells_know_no_usual_place() -> None:
    assert codes([placed(f"A{i:02d}", columns(i, forward=1 + i)) for i in range(4)]) == {}


def test_a_dying_well_is_flagged_and_an_excluded_or_unstained_one_is_not() -> None:
    dying = Placement(live=0.55)
    well = Well("P", "A1", "f", Role.SAMPLE)
    assert codes([Placed(well, dying)]) == {"P/A1 low-viability": "warn"}
    assert codes([Placed(Well("P", "A1", "f", Role.SAMPLE, excluded="by hand"), dying)]) == {}
    assert codes([Placed(Well("P", "A1", "f", Role.UNSTAINED), dying)]) == {}
    assert codes([Placed(well, Placement(live=0.71))]) == {}


def dim(path: Path) -> None:
    """Write a well anew with forward scatter at three quarters."""
    file = read_fcs(path)
    values = np.column_stack([file.events.column(channel.name) for channel in file.channels])
    for channel in ("FSC-A", "FSC-H"):
        values[:, [c.name for c in file.channels].index(channel)] *= 0.75
    kept = {key: value for key, value in file.keywords.items() if key.upper().startswith(("SPILL", "$SPILL", "WELL"))}
    path.write_bytes(fcs_bytes(values.astype(np.float32), file.channels, kept))


def test_a_shifted_well_of_a_plate_is_flagged_in_the_results(
    plate: Path, tmp_path: Path, call: Callable, table: Callable
) -> None:
    """Scatter of one well is written anew at three quarters; no other well of the plate is flagged."""
    dim(next(plate.glob("*_B05.fcs")))
    assert call("run", plate, "-o", tmp_path / "out", "--until", "wells").returncode in (0, 4)
    flagged = {row["well"] for row in table(tmp_path / "out" / "wells.csv") if "cells-elsewhere" in row["flags"]}
    assert flagged == {"B05"}


def test_a_gate_may_follow_its_well_and_that_is_recorded(
    plate: Path, tmp_path: Path, call: Callable, table: Callable
) -> None:
    """Where assay.toml lets it, the gate of cells moves by the planted factor, and the well counts its cells again."""

    def cells(out: str) -> dict[str, str]:
        assert call("run", plate, "-o", tmp_path / out, "--until", "wells").returncode in (0, 4)
        return next(row for row in table(tmp_path / out / "wells.csv") if row["well"] == "B05")

    before = int(cells("before")["n_cells"])
    dim(next(plate.glob("*_B05.fcs")))
    fixed = cells("fixed")
    definition = plate.parents[1] / "assay.toml"
    definition.write_text(definition.read_text().replace('[gating]\nsource = "auto"', "[gating]\nfollow = true"))
    moved = cells("moved")
    assert int(fixed["n_cells"]) < 0.96 * before
    assert int(moved["n_cells"]) == pytest.approx(before, rel=0.012)
    assert "cells-elsewhere" in fixed["flags"]
    assert "cells-elsewhere" not in moved["flags"]
    rows = {row["subject"]: row for row in table(tmp_path / "moved" / "checks.csv") if row["check"] == "gate-moved"}
    forward, side = (float(word.strip(" x")) for word in rows["P001/B05"]["value"].split(","))
    assert (forward, side) == (pytest.approx(0.75, abs=0.02), pytest.approx(1.0, abs=0.03))
    assert rows["P001/B05"]["verdict"] == "warn"
    assert "gate-moved" in moved["flags"]
    assert {row["verdict"] for subject, row in rows.items() if subject != "P001/B05"} == {"pass"}


def test_the_demo_has_no_well_elsewhere(results: Path, table: Callable) -> None:
    found = {row["check"] for row in table(results / "checks.csv")}
    assert not {
        code for code in found if "elsewhere" in code or code in ("few-cells", "expression-odd", "low-viability")
    }
