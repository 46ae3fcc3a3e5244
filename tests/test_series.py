"""Dilution series that do not fall, wells that inherit cells, replicates that part, controls against their past."""

from __future__ import annotations

import csv
import json
import math
import statistics
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aqp4flow.assay import acceptance, readout
from aqp4flow.assay.carryover import carry_over
from aqp4flow.assay.cutoffs.cutoff import CutOffs
from aqp4flow.assay.cutoffs.negatives import Past
from aqp4flow.assay.definition import Acceptance, CurveSettings
from aqp4flow.assay.oddities import rises
from aqp4flow.assay.platemap import unnumbered_pairs
from aqp4flow.assay.quality.controlchart import chart, control_checks, range_rule, westgard
from aqp4flow.assay.replicatetiters import averaged, replicate_series, shared_labels
from aqp4flow.assay.titration import Rules, titrate
from aqp4flow.model import (
    Bound,
    CutOff,
    Estimate,
    Reactivity,
    Reading,
    Role,
    Titer,
    Titration,
    Well,
    mean_titer,
)
from test_by_hand import reading, row

LIMITS = Acceptance()


# --- a series that rises ---------------------------------------------------------------------------


def deltas(*values: float) -> list[Reactivity]:
    """Deltas at 1:20, 1:80, ... each known within ten percent."""
    return [row(value, 20 * 4**place) for place, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "flags"),
    [
        ((900, 300, 90, 20), []),
        ((900, 950, 880, 300), []),  # a plateau: 50 more is within both errors (z = 0.8)
        ((500, 900, 300, 20), ["hook"]),  # error sqrt(45^2 + 25^2)/1 at 95 %: 400 is z = 7.6
        ((900, 90, 300, 20), ["non-monotone"]),
        ((500, 900, 200, 400), ["hook", "non-monotone"]),
        ((500, 900), []),  # two dilutions show no course
    ],
)
def test_a_series_that_rises_is_flagged(values: tuple[float, ...], flags: list[str]) -> None:
    assert rises(deltas(*values)) == flags


def test_a_rise_in_a_well_that_inherited_cells_is_named_so() -> None:
    series = deltas(900, 90, 300, 20)
    series[2] = replace(series[2], flags=("carry-over",))
    assert rises(series) == ["carry-over"]


def test_a_rise_without_limits_is_not_called() -> None:
    """One lone well below six events has no limits: nothing is known of its error."""
    bare = [replace(r, delta=Estimate(r.delta.value)) for r in deltas(500, 900, 300)]
    assert rises(bare) == []


def test_clean_plateaus_are_seldom_called_a_hook() -> None:
    """400 series with five dilutions on the plateau, 10 % error known as such: at most 4 % are flagged."""
    rng = np.random.default_rng(5)
    called = 0
    for _ in range(400):
        values = 1000 * np.array([1, 1, 1, 1, 1, 0.5, 0.2]) * np.exp(0.1 * rng.standard_normal(7))
        rows = [
            replace(r, delta=Estimate(v, v * 0.804, v * 1.196)) for v, r in zip(values, deltas(*values), strict=True)
        ]
        called += bool(rises(rows))
    assert called <= 16


@pytest.mark.parametrize(
    ("table", "mutant", "hook"),
    [("rbd_tite", "2P", True), ("rbd_tite", "2PQ", True), ("hr1_tite", "2P", True), ("hr1_tite", "2PQ", False)],
)
def test_published_antibodies_with_a_hook_are_flagged(corpus: Path, table: str, mutant: str, hook: bool) -> None:
    """Antibodies at 10, 3, 1, 0.3, 0.1 ug/ml in triplicate: three lose 24 to 41 % at the highest dose, one 7 %."""
    path = corpus / "titration" / "tables" / "spike_2p_flow_titration" / f"{table}.csv"
    with path.open(encoding="utf-8-sig") as file:
        doses = [line for line in csv.DictReader(file) if line["Mutant"] == mutant]
    wells = []
    for dose in doses:
        for replicate in ("1", "2", "3"):
            mfi = float(dose[f"MFI_{replicate}"])
            place = {"dilution": 10 / float(dose["Concentration"]), "replicate": replicate}
            well = Well("P", f"{len(wells)}", "", Role.SAMPLE, serum=mutant, **place)
            wells.append(readout.with_shift(Reading(well, 5000, {}, Estimate(mfi, mfi, mfi), Estimate(1, 1, 1))))
    rows = readout.combine(wells, readout.replicate_error(wells))
    assert ("hook" in rises(sorted(rows, key=lambda r: r.dilution))) == hook


# --- a well that inherits cells --------------------------------------------------------------------


def negative(name: str, delta: float) -> Reading:
    return reading(name, 100 + delta, 100, role=Role.NEGATIVE, serum=name)


QUIET = [10.0, 12.0, 8.0, 11.0, 9.0]  # mean 10, SD 1.58; 99.9 % limit for one more: 10 + 1.58 x 7.173 sqrt(1.2)


@pytest.mark.parametrize(("delta", "found"), [(22.3, False), (22.6, True)])
def test_a_negative_after_a_bright_well_is_judged_by_the_others(delta: float, found: bool) -> None:
    calm = [negative(f"A{i:02d}", value) for i, value in enumerate(QUIET, 1)]
    bright = reading("B01", 20_100, 100, serum="S")
    checks = carry_over([*calm, bright, negative("B02", delta)])
    assert [check.subject for check in checks] == (["P/B02"] if found else [])
    if found:
        assert checks[0].limit == "<= 22.42"
        assert "B01 (S 1:20, delta 2e+04)" in checks[0].message
    assert carry_over([bright, *calm, negative("B02", delta)]) == []  # not after the bright one


def test_a_serum_after_a_bright_well_is_judged_by_its_replicates() -> None:
    """Twice its replicates and beyond their limits; without replicates nothing is said."""
    bright = reading("A01", 60_100, 100, serum="S")
    calm, exposed = reading("C01", 1100, 100, serum="T"), reading("A02", 3200, 100, serum="T")
    assert [check.subject for check in carry_over([bright, exposed, calm])] == ["P/A02"]
    assert carry_over([bright, reading("A02", 2000, 100, serum="T"), calm]) == []
    assert carry_over([bright, exposed]) == []


def test_two_other_negatives_are_too_few_to_judge_by() -> None:
    calm = [negative(f"A{i:02d}", value) for i, value in enumerate(QUIET[:2], 1)]
    assert carry_over([*calm, reading("B01", 20_100, 100), negative("B02", 500)]) == []


# --- replicate titers ------------------------------------------------------------------------------


def titration(endpoint: float, bound: str = "=", spread: float = 0.1) -> Titration:
    draws = math.log2(endpoint) + spread * np.random.default_rng(int(endpoint)).standard_normal(2000)
    if bound != "=":
        draws = np.full(2000, -np.inf if bound == "<" else np.inf)
    value = Titer(endpoint, Bound(bound))
    return Titration("P", "S", Role.SAMPLE, "delta", 100, value, value, None, (), draws)


@pytest.mark.parametrize(
    ("parts", "value", "bound", "flags"),
    [
        ([(40, "="), (80, "=")], 40 * math.sqrt(2), "=", ()),  # one step apart: the mid-step
        ([(40960, "="), (81920, "=")], math.sqrt(40960 * 81920), "=", ()),  # 57,926 (their arithmetic mean: 61,440)
        ([(40, "="), (160, "=")], 80, "=", ("replicate-titers-differ",)),
        ([(10, "<"), (10, "=")], 10, "<", ()),
        ([(10, "<"), (20, "=")], 10 * math.sqrt(2), "<", ("replicate-titers-differ",)),  # `<` is below 10
        ([(10, "<"), (327680, ">")], None, None, ("replicate-titers-differ", "replicate-titers-contradict")),
    ],
)
def test_replicate_titers_are_averaged_on_the_log_scale(parts, value, bound, flags) -> None:
    """Geometric means by hand, bounds carried, on a two-fold ladder from 1:10."""
    ladder = [row(1, 10 * 2.0**k) for k in range(16)]
    found = averaged(titration(1), [titration(*part) for part in parts], ladder)
    assert found.flags == flags
    if value is None:
        assert (found.endpoint, found.titer) == (None, None)
    else:
        assert found.endpoint is not None
        assert (found.endpoint.value, found.endpoint.bound.value) == (pytest.approx(value), bound)
        assert found.titer is not None
        assert found.titer.value == pytest.approx(value)


def test_flags_of_a_curve_come_from_the_pooled_curve_alone() -> None:
    """The row's midpoint is the pooled curve's: what single replicates' curves lack is not said of it."""
    pooled = replace(titration(1), flags=("curve-misfit",))
    single = replace(titration(40), flags=("curve-flat", "midpoint-outside", "off-curve", "gap"))
    assert averaged(pooled, [single], [row(1, 40)]).flags == ("curve-misfit", "gap")


def test_two_replicates_halve_the_variance_of_a_titer() -> None:
    """Draws of SD 0.1 each: their mean has 0.1 / sqrt 2, so 95 % limits of +- 0.139 on log2."""
    found = averaged(titration(1), [titration(40), titration(160)], [row(1, 40), row(1, 160)])
    assert found.titer is not None
    assert math.log2(found.titer.high / found.titer.low) / 2 == pytest.approx(1.96 * 0.1 / math.sqrt(2), rel=0.08)


def test_replicates_part_by_name_or_by_order() -> None:
    named = [reading("A01", replicate="a"), reading("A02", replicate="b"), reading("A03", replicate="b", dilution=80.0)]
    assert [[r.well.name for r in part] for part in replicate_series(named)] == [["A01"], ["A02", "A03"]]
    bare = [reading("A01"), reading("A02"), reading("A03", dilution=80.0)]
    assert [[r.well.name for r in part] for part in replicate_series(bare)] == [["A01", "A03"], ["A02"]]


def test_wells_that_share_a_label_are_parted_by_order_and_named() -> None:
    """Both duplicates called 1: two series all the same, and a check; half-numbered ones are parted too."""
    alike = [reading("A01", replicate="1"), reading("A02", replicate="1"), reading("A03", replicate="1", dilution=80.0)]
    assert [[r.well.name for r in part] for part in replicate_series(alike)] == [["A01", "A03"], ["A02"]]
    half = [reading("A03"), reading("A01", replicate="1"), reading("A02")]
    assert [[r.well.name for r in part] for part in replicate_series(half)] == [["A03"], ["A01"], ["A02"]]
    (check,) = shared_labels("P", [r.well for r in alike])
    assert (check.check, check.verdict.value, check.value) == ("replicate-labels", "warn", 1)
    assert alike[0].well.serum in check.message
    assert shared_labels("P", [r.well for r in half]) == []


def test_paired_wells_that_nothing_pairs_are_refused() -> None:
    """Two antigen and two control wells alike: only labels tell which belong together; one control serves all."""
    pairs = [reading(f"A0{i}", cells=cells).well for i, cells in enumerate(("antigen", "control") * 2, 1)]
    (problem,) = unnumbered_pairs("P", pairs, "paired-well")
    assert "at 1:20 has 2 antigen wells and 2 control wells" in str(problem)
    assert "number the replicates" in str(problem)
    assert unnumbered_pairs("P", pairs[:3], "paired-well") == []
    assert unnumbered_pairs("P", pairs, "same-well") == []
    assert unnumbered_pairs("P", [replace(well, replicate="1") for well in pairs], "paired-well") == []


def test_draws_of_replicates_are_not_the_same_draws() -> None:
    """Equal rows under two names: titers equal, errors independent."""
    cutoff = CutOff("delta", 100, "fixed")
    cutoffs = CutOffs(cutoff, CutOff("ratio", 1.5, "fixed"), cutoff, 20)
    both = [replace(r, serum=f"S {k}") for k in (1, 2) for r in deltas(900, 300, 60, 10)]
    one, two = titrate(both, cutoffs, [], Rules("delta", CurveSettings(), 1000, 7))
    assert one.titer is not None
    assert two.titer is not None
    assert one.titer.value == two.titer.value
    assert one.draws is not None
    assert two.draws is not None
    assert abs(float(np.corrcoef(one.draws, two.draws)[0, 1])) < 0.15


# --- controls against their past -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "rules"),
    [
        ([0, 1.9], ()),
        ([0, 2.1], ("1-2s",)),
        ([0, -3.1], ("1-2s", "1-3s")),
        ([2.1, 2.2], ("1-2s", "2-2s")),
        ([2.1, -2.2], ("1-2s",)),
        ([1.1, 1.2, 1.5, 1.3], ("4-1s",)),
        ([1.1, -1.2, 1.5, 1.3], ()),
        ([0.1] * 10, ("10x",)),
        ([0.1] * 9, ()),
        ([-0.1, *[0.1] * 9], ()),
    ],
)
def test_westgards_rules(scores: list[float], rules: tuple[str, ...]) -> None:
    assert westgard(scores) == rules


def test_the_range_rule_wants_opposite_sides_within_a_run() -> None:
    assert range_rule([2.1, -2.1])
    assert not range_rule([2.5, 2.1])
    assert not range_rule([4.5])


def test_a_chart_stands_on_logarithms() -> None:
    """100 and 121 in turn: mean ln 110, SD of +- ln 1.1 over six runs = ln 1.1 sqrt(6/5)."""
    found = chart([100.0, 121.0] * 3)
    assert found is not None
    assert (found.n, found.full) == (6, False)
    assert found.mean == pytest.approx(math.log(110))
    assert found.sd == pytest.approx(math.log(1.1) * math.sqrt(6 / 5))
    assert found.score(110 * 1.1) == pytest.approx(1 / math.sqrt(6 / 5))
    assert found.change_limit == pytest.approx(math.exp(1.959964 * math.sqrt(2) * found.sd))
    assert math.isnan(found.score(-1))
    assert chart([100.0] * 4) is None
    assert chart([100.0, -1.0] * 10) is None


def past(n: int, serum: str = "POS", dilution: float = 80) -> list[Past]:
    """Earlier runs whose mean is 1000 and whose SD of ln(delta) is 0.1, as near as n runs allow."""
    steps = np.tile([-1.0, 1.0], n // 2) * 0.1 * math.sqrt((n - 1) / n)
    return [
        Past(f"Q{k}", serum, Role.POSITIVE, dilution, {"delta": 1000 * math.exp(step)}) for k, step in enumerate(steps)
    ]


def control(delta: float, serum: str = "POS", role: Role = Role.POSITIVE, dilution: float = 80) -> Reactivity:
    return row(delta, dilution, serum=serum, role=role)


def found_by(today: list[Reactivity], before: list[Past]) -> dict[str, str]:
    return {check.check: check.verdict.value for check in control_checks("P", today, before)}


@pytest.mark.parametrize(
    ("sd", "n", "chart_says", "bridging"),
    [
        (0.5, 20, "pass", "pass"),
        (2.2, 20, "warn", "pass"),  # bridging: 1.96 sqrt 2 = 2.77 SD
        (3.2, 20, "fail", "warn"),
        (3.2, 6, "warn", "warn"),  # interim limits do not reject
        (0.0, 4, "pass", None),  # no chart yet
    ],
)
def test_a_control_is_held_against_its_past(sd: float, n: int, chart_says: str, bridging: str | None) -> None:
    wanted = {"control-chart": chart_says} | ({"bridging": bridging} if bridging else {})
    assert found_by([control(1000 * math.exp(0.1 * sd))], past(n)) == wanted


def test_controls_of_one_plate_on_opposite_sides_fail_it() -> None:
    today = [control(1000 * math.exp(0.21)), control(1000 * math.exp(-0.21), "LOW")]
    assert found_by(today, [*past(20), *past(20, "LOW")])["control-range"] == "fail"
    assert "control-range" not in found_by(today[:1], past(20))


def test_a_control_without_a_logarithm_fails() -> None:
    assert found_by([control(-5)], past(20))["control-chart"] == "fail"


@pytest.mark.parametrize(
    ("today", "before", "said"),
    [
        ([], past(20), "A history of controls is given, but no positive or reference serum of the plate has a delta."),
        ([control(1000)], past(20, dilution=40), "those of POS are at 1:40, none of them on this plate."),
        ([control(1000)], [Past(f"Q{k}", "POS", Role.POSITIVE, 80, {"delta": 444.0}) for k in range(25)],
         "POS 1:80: its 25 earlier runs are all 444, so that they tell no scatter."),
        ([control(1000)], [*past(20), Past("Z", "POS", Role.POSITIVE, 80, {"delta": -3.0})],
         "1 of its 21 earlier runs are not above 0"),
    ],
)  # fmt: skip
def test_a_past_that_cannot_serve_warns(today: list[Reactivity], before: list[Past], said: str) -> None:
    (check,) = control_checks("P", [*today, row(5, 80, serum="N", role=Role.NEGATIVE)], before)
    assert (check.check, check.verdict.value) == ("control-chart", "warn")
    assert said in check.message


def test_further_dilutions_of_a_charted_control_do_not_warn() -> None:
    found = control_checks("P", [control(1000), control(300, dilution=320)], past(20))
    assert [check.verdict.value for check in found if check.check == "control-chart"] == ["pass", "pass"]


def test_a_reference_is_charted_at_the_dilution_with_the_longest_past() -> None:
    today = [control(1000, "REF", Role.REFERENCE, dilution) for dilution in (20, 60)]
    (check, _) = control_checks("P", today, [*past(6, "REF", 20), *past(8, "REF", 60)])
    assert "REF 1:60" in check.message


# --- acceptance ------------------------------------------------------------------------------------


def checks(readings: list[Reading], well_checks: tuple = ()) -> dict[str, list]:
    result = acceptance.PlateResult(
        "P", readings, [], CutOffs(None, None, None, 20), readout.ReplicateError(0, 0, math.nan), well_checks
    )
    found: dict[str, list] = {}
    for check in acceptance.accept(result, LIMITS):
        found.setdefault(check.check, []).append(check)
    return found


@pytest.mark.parametrize(("mfi", "verdict"), [((1000, 1100), None), ((1000, 1240), "warn"), ((1000, 1450), "fail")])
def test_replicates_of_one_serum_that_differ_are_named(mfi: tuple[float, float], verdict: str | None) -> None:
    """CV of a pair: |a - b| / sqrt 2 / mean: 6.7 %, 15.2 %, 26 %."""
    found = checks([reading("A01", mfi[0]), reading("A02", mfi[1])]).get("replicates-differ", [])
    assert [check.verdict.value for check in found] == ([verdict] if verdict else [])
    if found:
        assert found[0].value == pytest.approx(100 * statistics.stdev(mfi) / statistics.fmean(mfi))
        assert found[0].subject == "P/S"


def test_a_negative_serum_that_does_not_repeat_warns() -> None:
    pair = [reading("A01", 100, 50, role=Role.NEGATIVE), reading("A02", 140, 50, role=Role.NEGATIVE)]
    assert checks(pair)["negative-cv"][0].verdict.value == "warn"
    assert checks(pair)["negative-cv"][0].value == pytest.approx(100 * statistics.stdev([100, 140]) / 120)


def test_a_plate_with_too_many_failed_wells_is_unfit() -> None:
    """One well of four is 25 %, beyond 20; of five it is 20, within."""
    poor = replace(reading("H01"), counts={"expressing": 150, "nonexpressing": 900})
    good = [reading(f"A{i:02d}", serum=f"S{i}") for i in range(1, 5)]
    found = checks([poor, *good[:3]])
    assert (found["wells"][0].value, found["wells"][0].verdict.value) == (25, "fail")
    assert "H01" in found["wells"][0].message
    assert (found["events"][0].value, found["events"][0].verdict.value) == (150, "warn")
    assert checks([poor, *good])["wells"][0].verdict.value == "pass"


def overwrite(target: Path, source: Path, share: float) -> None:
    """The first events of one simulated file (seven float32 a row) become those of another, in place."""

    def data(content: bytes) -> tuple[int, int]:
        begin, end = (int(content[place : place + 8]) for place in (26, 34))
        return begin, end + 1

    there, given = bytearray(target.read_bytes()), source.read_bytes()
    (begin, end), (first, last) = data(bytes(there)), data(given)
    length = 28 * int(min(share * (end - begin), last - first) / 28)
    there[begin : begin + length] = given[first : first + length]
    target.write_bytes(bytes(there))


@pytest.mark.parametrize(("share", "flagged"), [(0.35, True), (0.0, False)])
def test_cells_carried_into_a_negative_well_are_found_in_the_files(
    plate: Path, tmp_path: Path, call, table, share: float, flagged: bool
) -> None:
    """E12 is made as bright as A01, and a third of its cells come along into F01, the first negative serum."""
    files = {name: next(plate.glob(f"*_{name}.fcs")) for name in ("A01", "E12", "F01")}
    overwrite(files["E12"], files["A01"], 1.0)
    overwrite(files["F01"], files["A01"], share)
    done = call("run", plate, "-o", tmp_path / "out", "--until", "wells")
    assert done.returncode in (0, 4), done.stderr
    checks = [row for row in table(tmp_path / "out" / "checks.csv") if row["check"] == "carry-over"]
    assert [row["subject"] for row in checks] == (["P001/F01"] if flagged else [])
    flags = {row["well"]: row["flags"].split(";") for row in table(tmp_path / "out" / "wells.csv")}
    assert [well for well, found in flags.items() if "carry-over" in found] == (["F01"] if flagged else [])
    if flagged:
        assert "right after E12 (PT01-M12 1:20480" in checks[0]["message"]


def test_a_run_holds_its_controls_against_earlier_runs(study: Path, results: Path, tmp_path: Path, call, table) -> None:
    """Six earlier runs around this one's own numbers: in order; half as high: each plate's control is told."""
    earlier = [r for r in table(results / "reactivity.csv") if r["plate"] == "P001" and r["role"] == "positive"]
    definition = (study / "assay.toml").read_text()
    found = {}
    for name, level in (("level", 1.0), ("shifted", 0.5)):
        lines = ["plate,serum,role,dilution,delta"]
        for k, factor in enumerate((0.95, 1.05, 0.9, 1.1, 1.0, 1.02)):
            lines += [
                f"Q{k},{r['serum']},{r['role']},{r['dilution']},{level * factor * float(r['delta'])}" for r in earlier
            ]
        (tmp_path / "controls.csv").write_text("\n".join(lines) + "\n")
        text = f'{definition}\n[acceptance]\ncontrol_history = "controls.csv"\n'
        (tmp_path / "assay.toml").write_text(text)
        done = call("run", study, "--assay", tmp_path / "assay.toml", "-o", tmp_path / name)
        assert done.returncode == 0, done.stderr
        checks = [r for r in table(tmp_path / name / "checks.csv") if r["check"] in ("control-chart", "bridging")]
        found[name] = {r["check"]: r["verdict"] for r in checks if r["subject"] == "P001" and "POS" in r["message"]}
        second = [r["message"] for r in checks if r["subject"] == "P004" and "POS" in r["message"]]
        assert any("of 7 earlier runs" in message for message in second)  # P001 of this study among them
    assert found == {
        "level": {"control-chart": "pass", "bridging": "pass"},
        "shifted": {"control-chart": "warn", "bridging": "warn"},
    }
    manifest = json.loads((tmp_path / "level" / "manifest.json").read_text(encoding="utf-8"))
    assert "controls.csv" in manifest["inputs"]


@pytest.mark.parametrize(
    ("draws", "bounds", "low", "high"),
    [
        ([[np.inf] * 99, [np.inf] * 99], ">>", math.nan, math.nan),  # all beyond the range: nothing is known below
        ([[7.0] * 99, [np.inf] * 50 + [9.0] * 49], ">>", 64, math.nan),  # at least 2^8, but never above the value
        ([[-np.inf] * 99, [3.0] * 99], "<=", math.nan, math.nan),
        ([[-np.inf] * 50 + [5.0] * 49, [np.inf] * 50 + [7.0] * 49], "==", 64, 64),  # below and above: no draw
    ],
)
def test_a_mean_of_titers_has_no_infinite_limits(draws: list, bounds: str, low: float, high: float) -> None:
    parts = [(Titer(64, Bound(b)), np.array(d)) for b, d in zip(bounds, draws, strict=True)]
    found = mean_titer(parts)
    assert found is not None
    assert (found[0].low, found[0].high) == pytest.approx((low, high), nan_ok=True)


def test_precision_is_written_without_a_reference_serum(plate: Path, tmp_path: Path, call, table) -> None:
    lines = (plate / "plate.csv").read_text().splitlines()
    (plate / "plate.csv").write_text("\n".join(line for line in lines if ",reference," not in line) + "\n")
    done = call("run", plate, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert any(row["material"] == "pooled" for row in table(tmp_path / "out" / "precision.csv"))
    assert not (tmp_path / "out" / "standards.csv").exists()
