"""Precision of a study: components of variance with limits, and the change that exceeds them."""

from __future__ import annotations

import csv
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aqp4flow import tables
from aqp4flow.assay.definition import PrecisionSettings
from aqp4flow.assay.quality.precision import (
    MeanSquare,
    Observation,
    components,
    cv_of_sd,
    limits_of_one,
    limits_of_two,
    observations,
    one_way,
    pooled_components,
    precision,
    precision_check,
    reference_change,
    satterthwaite,
    sd_of_cv,
)
from aqp4flow.model import NAN, POOLED, Bound, Estimate, Imprecision, Precision, Reading, Role, Titer, Titration, Well

SETTINGS = PrecisionSettings()


def seen(
    values: dict[str, list[float]], material: str = "POS", role: Role = Role.POSITIVE, dilution: float = 80.0,
    quantity: str = "delta",
) -> list[Observation]:  # fmt: skip
    """Values of one material by plate."""
    return [
        Observation(quantity, plate, material, role, dilution, value)
        for plate, group in values.items()
        for value in group
    ]


# --- numbers known from elsewhere -------------------------------------------------------------------


@pytest.mark.parametrize(("cv", "fold"), [(10, 1.32), (15, 1.51), (20, 1.73), (25, 1.98), (30, 2.26), (40, 2.91)])
def test_the_published_reference_change_values(cv: float, fold: float) -> None:
    """exp(1.96 sqrt(2) sqrt(ln(1 + CV^2))), to the printed digits: a CV of 25 % asks for a 1.98-fold change."""
    assert round(reference_change(sd_of_cv(cv)), 2) == fold


def test_cv_and_sd_of_logs_are_each_others_inverse() -> None:
    """A CV of 50 %: sd = sqrt(ln 1.25) = 0.472381."""
    assert sd_of_cv(50) == pytest.approx(0.4723807, abs=1e-7)
    assert cv_of_sd(sd_of_cv(50)) == pytest.approx(50)


def test_a_limit_beyond_all_numbers_is_no_number() -> None:
    """One degree of freedom allows an SD of logs of 31 times the one found: the cell is empty, nothing breaks."""
    assert tables.number(cv_of_sd(26.5)) == tables.number(reference_change(26.5)) == ""
    (row, _) = precision(seen({"P": [1.0], "Q": [20.0]}), SETTINGS).rows
    assert row.total.known
    assert math.isinf(row.total.high)


# --- analysis of variance -------------------------------------------------------------------------------


def test_components_by_hand() -> None:
    """Unbalanced: (1, 3), (4, 6, 8), (10).

    Means 2, 6, 10; grand (4 + 18 + 10) / 6 = 16/3. Within: 2 + 8 + 0 = 10 on 3 df: 10/3.
    Between: 2 (10/3)^2 + 3 (2/3)^2 + (14/3)^2 = (200 + 12 + 196) / 9 = 136/3 on 2 df: 68/3.
    n0 = (6 - (4 + 9 + 1) / 6) / 2 = 11/6. Component: (68/3 - 10/3) / (11/6) = 116/11.
    """
    anova = one_way([np.array([1.0, 3.0]), np.array([4.0, 6.0, 8.0]), np.array([10.0])])
    assert (anova.within.value, anova.within.df) == (pytest.approx(10 / 3), 3)
    assert (anova.between.value, anova.between.df) == (pytest.approx(68 / 3), 2)
    assert anova.n0 == pytest.approx(11 / 6)
    assert anova.grand == pytest.approx(16 / 3)
    found = components(anova)
    assert found.between.value == pytest.approx(116 / 11)
    assert found.total().value == pytest.approx(116 / 11 + 10 / 3)
    assert found.total(2).value == pytest.approx(116 / 11 + 5 / 3)


def test_components_agree_with_restricted_likelihood_where_groups_are_alike() -> None:
    """An independent way to the same numbers: maximise the REML likelihood of a balanced table on a grid."""
    from scipy.optimize import minimize

    rng = np.random.default_rng(4)
    table = rng.normal(0, 0.3, (8, 1)) + rng.normal(0, 0.2, (8, 3))
    n, k = table.shape

    def minus_log_likelihood(logs: np.ndarray) -> float:
        within, between = np.exp(logs)
        cov = np.kron(np.eye(n), within * np.eye(k) + between * np.ones((k, k)))
        y, x, inverse = table.ravel(), np.ones((n * k, 1)), np.linalg.inv(cov)
        information = x.T @ inverse @ x
        rest = y - x @ np.linalg.solve(information, x.T @ inverse @ y)
        return float(np.linalg.slogdet(cov)[1] + np.linalg.slogdet(information)[1] + rest @ inverse @ rest)

    best = np.exp(minimize(minus_log_likelihood, [-3.0, -3.0], method="Nelder-Mead", options={"xatol": 1e-8}).x)
    found = components(one_way(list(table)))
    assert [found.within.value, found.between.value] == pytest.approx(list(best), rel=1e-3)


def test_a_negative_component_is_set_to_0_and_said() -> None:
    """Plates that agree better than replicates do: (1, 3), (1, 3) has means alike and a component of -1."""
    e = math.exp
    (row, pooled) = precision(seen({"P": [e(1), e(3)], "Q": [e(1), e(3)]}), SETTINGS).rows
    assert row.between.value == 0
    assert "between-set-to-0" in row.notes
    assert row.total.value == row.within.value == pytest.approx(cv_of_sd(math.sqrt(2)))
    assert row.total.low <= row.total.value <= row.total.high
    assert "between-set-to-0" in pooled.notes
    check = precision_check(Precision((pooled,)), "delta", 2)
    assert "came out negative and was set to 0" in check.message


def test_limits_of_a_mean_square_are_those_of_chi_squared() -> None:
    """10 degrees of freedom: 10 / 20.4832 and 10 / 3.24697 (tables of chi-squared at 97.5 and 2.5 %)."""
    found = limits_of_one(MeanSquare(1.0, 10))
    assert (found.low, found.high) == (pytest.approx(10 / 20.4832, rel=1e-5), pytest.approx(10 / 3.24697, rel=1e-5))


def test_satterthwaite_by_hand() -> None:
    """6 on 3 df plus a half of 4 on 8 df: (6 + 2)^2 / (36 / 3 + 4 / 8) = 64 / 12.5."""
    assert satterthwaite(MeanSquare(6, 3), MeanSquare(4, 8), 0.5) == pytest.approx(5.12)
    assert math.isnan(satterthwaite(MeanSquare(1, 3), MeanSquare(4, 8), -0.5))


def coverage(within: float, between: float, sizes: list[int], draws: int = 1500) -> dict[str, float]:
    """How often the 95 % limits of each component hold the planted one."""
    rng = np.random.default_rng([7, len(sizes), round(1000 * between)])
    planted = {"within": within**2, "between": between**2, "total": within**2 + between**2}
    held = dict.fromkeys(planted, 0)
    for _ in range(draws):
        groups = [rng.normal(rng.normal(0, between), within, n) for n in sizes]
        found = components(one_way(groups))
        estimates = {"within": found.one_plate(), "between": found.between, "total": found.total()}
        for name, truth in planted.items():
            held[name] += estimates[name].low <= truth <= estimates[name].high
    return {name: 100 * n / draws for name, n in held.items()}


@pytest.mark.parametrize(
    ("within", "between", "sizes"),
    [(0.1, 0.2, [2] * 7), (0.1, 0.1, [3] * 5), (0.15, 0.3, [2] * 12), (0.1, 0.15, [1, 2, 2, 3, 3, 2, 1, 4])],
)
def test_limits_hold_the_planted_components(within: float, between: float, sizes: list[int]) -> None:
    """Of 100 studies 92 to 98 hold the planted CV within, between and in all; unbalanced plates too."""
    found = coverage(within, between, sizes)
    assert all(92 <= share <= 98 for share in found.values()), found


def test_limits_of_a_difference_and_of_a_sum_hold_their_value() -> None:
    """Signs of the second factor are told apart: the value lies inside, and a factor of 0 is chi-squared alone."""
    one, two = MeanSquare(4.0, 9), MeanSquare(1.0, 12)
    for factor in (-0.5, 0.5):
        found = limits_of_two(one, two, factor)
        assert found.value == pytest.approx(4 + factor)
        assert found.low < found.value < found.high
    alone, chi = limits_of_two(one, two, 0.0), limits_of_one(one)
    assert (alone.low, alone.high) == (pytest.approx(chi.low), pytest.approx(chi.high))


def test_limits_of_a_difference_touch_0_where_the_f_test_does() -> None:
    """Ting's cross terms are made so: 9 and 12 degrees of freedom, F = 3.4358 at 97.5 % and 1 / 3.8682 at 2.5 %."""
    at_the_upper = limits_of_two(MeanSquare(3.4358, 9), MeanSquare(1.0, 12), -1.0)
    at_the_lower = limits_of_two(MeanSquare(1 / 3.8682, 9), MeanSquare(1.0, 12), -1.0)
    assert at_the_upper.low == pytest.approx(0, abs=1e-3)
    assert at_the_lower.high == pytest.approx(0, abs=1e-3)


def test_pooled_over_materials_by_hand() -> None:
    """Two materials on the same two plates: (0, 2 | 4, 6) and (0, 2 | 2, 4), in logs.

    Within: four pairs of squares 2 each on 4 df: 2. Between mean squares: 16 and 4 on 1 df each, over n0 = 2: 8 and 2,
    mean 5; component 5 - 2/2 = 4. The plates are the same two: 1 degree of freedom, not 2.
    """
    sets = [np.array(x, float) for x in ([0, 2], [4, 6], [0, 2], [2, 4])]
    found = pooled_components(sets, [one_way(sets[:2]), one_way(sets[2:])])
    assert (found.within.value, found.within.df) == (2.0, 4)
    assert (found.plates.value, found.plates.df, found.share) == (5.0, 1, 0.5)
    assert found.between.value == pytest.approx(4)
    assert found.total(2).value == pytest.approx(5)


# --- the change that exceeds it -----------------------------------------------------------------------------


@pytest.mark.parametrize("same_plate", [True, False])
def test_stable_patients_exceed_the_reference_change_in_5_of_100(same_plate: bool) -> None:
    """Planted 10 % within and 15 % between plates, duplicates averaged; 60 labs that each know it from 60 plates.

    That the labs' own values scatter makes it 5.5 (Student's t of 59 degrees of freedom beyond 1.96).
    """
    from scipy.special import ndtr

    rng = np.random.default_rng(11)
    within, between, plates = 0.10, 0.15, 60
    planted = math.sqrt((0 if same_plate else between**2) + within**2 / 2)
    shares = []
    for _ in range(60):
        found = []
        for p in range(plates):
            shift = rng.normal(0, between)
            for serum, role in (("POS", Role.POSITIVE), (f"S{p}", Role.SAMPLE)):
                found += seen({f"P{p}": list(1000 * np.exp(shift + rng.normal(0, within, 2)))}, serum, role)
        change = precision(found, SETTINGS).change("delta", same_plate)
        assert change.measured
        shares.append(2 * ndtr(-math.log(change.fold) / math.sqrt(2) / planted))
    assert 0.045 < np.mean(shares) < 0.062


def test_change_says_whether_it_is_measured_or_assumed() -> None:
    """Nothing known: 2, an assumption. Too few degrees of freedom: never below the assumption, and said."""
    assert Precision().change("titer", same_plate=True) == Precision().change("delta", same_plate=False)
    assert not Precision().change("titer", same_plate=True).measured
    row = Imprecision("delta", POOLED, "", NAN, 9, 3, NAN, rcv_one_plate=Estimate(1.3), rcv_two_plates=Estimate(2.9),
                      within_df=6, between_df=2)  # fmt: skip
    known = Precision((row,))
    assert (known.change("delta", True).fold, known.change("delta", True).measured) == (1.3, True)
    assert (known.change("delta", False).fold, known.change("delta", False).measured) == (2.9, False)
    small = Precision((Imprecision("delta", POOLED, "", NAN, 9, 3, NAN, rcv_two_plates=Estimate(1.1), between_df=2),))
    assert small.change("delta", False).fold == 2.0
    assert small.change("delta", False).why == "an assumption: only 2 degrees of freedom of 4 wanted"
    wide = "measured with only 2 degrees of freedom of 4 wanted: more than the 2 assumed"
    assert known.change("delta", False).why == wide
    single = Precision((replace(row, within_df=1),), min_df=1)
    assert single.change("delta", True).why == "measured, 1 degree of freedom"


# --- what was measured more than once --------------------------------------------------------------------------


def well(name: str, serum: str, dilution: float, delta: float, replicate: str = "", plate: str = "P") -> Reading:
    """A well with a delta known to 10 %, and a ratio."""
    shift = Estimate(delta, 0.95 * delta, 1.05 * delta)
    return Reading(Well(plate, name, "", Role.SAMPLE, serum, "", dilution, replicate), 5000, {}, delta=shift,
                   ratio=Estimate(delta / 100, delta / 110, delta / 90))  # fmt: skip


def test_each_series_of_wells_gives_a_titer() -> None:
    """Cut-off 100. Series 1: 400, 200, 50 at 20, 40, 80: between 40 and 80, a half of the way: 40 sqrt 2.

    Series 2: 400, 100, 50: falls to the cut-off at 40.
    """
    wells = [
        well(f"A{n:02d}", "S", dilution, value, str(replicate))
        for n, (dilution, value, replicate) in enumerate(
            [(20, 400, 1), (40, 200, 1), (80, 50, 1), (20, 400, 2), (40, 100, 2), (80, 50, 2)], 1
        )
    ]
    titration = Titration("P", "S", Role.SAMPLE, "delta", 100.0, None, Titer(48.0), None)
    titers = [one.value for one in observations(wells, [titration]) if one.quantity == "titer"]
    # never steeper than dilution: from 200 the line falls to 100 a whole step further, clipped at 80
    assert titers == [pytest.approx(80), pytest.approx(40)]
    unlabelled = [well(one.well.name, "S", one.well.dilution or 0, one.delta.value) for one in wells]
    assert [one.value for one in observations(unlabelled, [titration]) if one.quantity == "titer"] == titers


def test_one_series_gives_the_reported_titer_and_a_bound_gives_none() -> None:
    """A `<` has no logarithm to average: it is counted as bounded, not left out in silence."""
    wells = [well("A01", "S", 20, 400)]
    for bound, value in ((Bound.EXACT, 48.0), (Bound.BELOW, NAN)):
        titration = Titration("P", "S", Role.SAMPLE, "delta", 100.0, None, Titer(48.0, bound), None)
        (found,) = [one.value for one in observations(wells, [titration]) if one.quantity == "titer"]
        assert found == pytest.approx(value, nan_ok=True)
    found_twice = seen({"P": [100.0], "Q": [NAN], "R": [120.0]}, quantity="titer", dilution=NAN)
    assert precision(found_twice, SETTINGS).rows[0].notes == ("1-bounded-or-unknown", "no-replicates")


def test_a_value_without_a_logarithm_leaves_the_cv_empty_and_says_so() -> None:
    """Negative sera around 0."""
    (row,) = precision(seen({"P": [-3.0], "Q": [5.0]}, "NEG01", Role.NEGATIVE), SETTINGS).rows
    assert (row.n, row.plates, row.notes) == (2, 2, ("nonpositive",))
    assert not row.total.known


def test_excluded_and_control_cell_wells_take_no_part() -> None:
    """Nor wells without serum, nor saturated ones."""
    one = well("A01", "S", 20, 400)
    out = replace(one, well=replace(one.well, excluded="bubble"))
    control = replace(one, well=replace(one.well, cells="control"))
    empty = replace(one, well=replace(one.well, role=Role.SECONDARY_ONLY, serum="", dilution=None))
    top = replace(one, flags=("saturated",))
    assert observations([out, control, empty, top], []) == []


def test_a_reported_value_averages_as_many_wells_as_patients_have() -> None:
    """Duplicates of patients halve the variance within plates: CVs of 10 % give 1.32 for one well, 1.21 for two."""
    a, b = math.exp(sd_of_cv(10) * math.sqrt(2)), 1.0  # two values whose SD of logs is that of a CV of 10 %
    one = precision(seen({"P": [a, b]}), SETTINGS).rows[-1]
    two = precision(seen({"P": [a, b]}, "S", Role.SAMPLE), SETTINGS).rows[-1]
    assert (one.replicates, two.replicates) == (1, 2)
    assert one.rcv_one_plate.value == pytest.approx(reference_change(sd_of_cv(10)))
    assert two.rcv_one_plate.value == pytest.approx(reference_change(sd_of_cv(10) / math.sqrt(2)))


def test_checks_say_measured_or_assumed() -> None:
    """No row: warn, and run duplicates. One plate with replicates: pass. Two plates, no control on both: warn."""
    assert "run duplicates" in precision_check(Precision(), "titer", 1).message
    assert precision_check(Precision(), "titer", 1).verdict == "warn"
    pairs = [one for s in "ABCD" for one in seen({"P": [100.0, 110.0]}, s, Role.SAMPLE)]
    measured = precision(pairs, SETTINGS)
    assert precision_check(measured, "delta", 1).verdict == "pass"
    assert precision_check(measured, "delta", 2).verdict == "warn"
    assert precision_check(measured, "delta", 2).value == 2.0


# --- in a run ---------------------------------------------------------------------------------------------------


def test_a_run_has_its_precision(results: Path, table: Callable[[Path], list[dict[str, str]]]) -> None:
    """Two plates in duplicate: rows of controls, pooled rows, the check; recomputed from wells.csv by hand."""
    rows = table(results / "precision.csv")
    assert tuple(rows[0]) == tables.PRECISION
    (pos,) = [row for row in rows if (row["quantity"], row["material"]) == ("delta", "POS")]
    wells = [row for row in table(results / "wells.csv") if row["serum"] == "POS"]
    logs: dict[str, list[float]] = {}
    for row in wells:
        logs.setdefault(row["plate"], []).append(math.log(float(row["delta"])))
    variance = sum((a - b) ** 2 / 2 for a, b in logs.values()) / 2
    assert float(pos["cv_within"]) == pytest.approx(100 * math.sqrt(math.expm1(variance)), rel=1e-3)
    assert int(pos["n"]) == 4
    pooled = {row["quantity"]: row for row in rows if row["material"] == POOLED}
    assert {"delta", "ratio", "index", "titer"} <= set(pooled)
    assert pooled["delta"]["replicates"] == "2"
    (check,) = [row for row in table(results / "checks.csv") if row["check"] == "precision"]
    assert (check["scope"], check["verdict"]) == ("run", "warn")  # two plates have one degree of freedom between them
    assert "one plate (measured" in check["message"]
    assert "Precision" in (results / "report.html").read_text(encoding="utf-8")


def test_one_plate_without_replicates_has_an_empty_table_and_a_reason(
    plate: Path, tmp_path: Path, call: Callable, table: Callable[[Path], list[dict[str, str]]]
) -> None:
    """Second wells become unstained: nothing is measured twice."""
    with (plate / "plate.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    met: set[tuple[str, str]] = set()
    kept = []
    for row in rows:
        key = (row["serum"], row["dilution"])
        if not row["serum"] or key not in met:
            kept.append(row)
        met.add(key)
    with (plate / "plate.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(kept)
    done = call("run", plate, "-o", tmp_path / "out")
    assert done.returncode in (0, 4), done.stderr
    assert table(tmp_path / "out" / "precision.csv") == []
    assert (tmp_path / "out" / "precision.csv").read_text().startswith("quantity,material")
    (check,) = [row for row in table(tmp_path / "out" / "checks.csv") if row["check"] == "precision"]
    assert check["verdict"] == "warn"
    assert "no replicates" in check["message"]
    shutil.rmtree(tmp_path / "out")
