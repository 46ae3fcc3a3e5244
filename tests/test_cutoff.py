"""Cut-offs: every rule by hand or against published factors, false positives and limits by simulation, histories."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from scipy import stats

from aqp4flow import tables
from aqp4flow.assay import acceptance, readout
from aqp4flow.assay.cutoffs.cutoff import CutOffs, cut_offs, cutoff_draws
from aqp4flow.assay.cutoffs.cutoffchecks import cutoff_checks, sentence
from aqp4flow.assay.cutoffs.cutoffrules import exceeding, frey_factor, order_rank, robust_rate, tolerance_factor
from aqp4flow.assay.cutoffs.negatives import Past, read_history
from aqp4flow.assay.cutoffs.roc import area, clopper_pearson, wilson, youden
from aqp4flow.assay.definition import Acceptance, Cutoff, read_definition
from aqp4flow.assay.status import decide
from aqp4flow.assay.titer import crossing
from aqp4flow.errors import ConfigError, SheetError
from aqp4flow.model import NAN, UNKNOWN, CutOff, Estimate, Reactivity, Role, Status, Verdict


def row(
    serum: str, delta: float, ratio: float = 5.0, index: float = NAN, role: Role = Role.SAMPLE, dilution: float = 20
) -> Reactivity:
    """Reactivity of one serum on plate P; index equals ratio unless told otherwise."""
    shown = ratio if math.isnan(index) else index
    shifts = Estimate(delta), Estimate(ratio) if not math.isnan(ratio) else UNKNOWN
    return Reactivity(
        "P", serum, role, dilution, 2, delta + 50, 50, *shifts, shown, NAN, NAN, NAN, Status.NOT_INTERPRETABLE
    )


def negatives(*deltas: float, ratio: float = 1.1, dilution: float = 20) -> list[Reactivity]:
    return [row(f"N{i}", delta, ratio, role=Role.NEGATIVE, dilution=dilution) for i, delta in enumerate(deltas, 1)]


def positives(*deltas: float) -> list[Reactivity]:
    return [row(f"P{i}", delta, role=Role.POSITIVE) for i, delta in enumerate(deltas, 1)]


def made(rows: list[Reactivity], decide: str = "delta", past: tuple[Past, ...] = (), **settings: object) -> CutOffs:
    return cut_offs(rows, Cutoff(**settings), decide, 3, past)


def deciding(rows: list[Reactivity], decide: str = "delta", past: tuple[Past, ...] = (), **settings: object) -> CutOff:
    found = made(rows, decide, past, **settings)
    assert found.deciding is not None, found.refusals
    return found.deciding


def codes(found: CutOffs) -> dict[str, str]:
    return {check.check: check.verdict.value for check in cutoff_checks("P", found, 0, 3)}


# --- the rules ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "n", "percent"),
    [
        (2, 10, 4.4),
        (2, 50, 2.7),
        (3, 5, 2.6),
        (3, 10, 0.94),
        (3, 20, 0.43),
        (3, 50, 0.23),
        (4, 10, 0.21),
        (4, 50, 0.012),
    ],
)
def test_false_positives_of_mean_and_k_sd(k: float, n: int, percent: float) -> None:
    """1 - T(k / sqrt(1 + 1/n)) with n - 1 degrees of freedom, to the digits of the table."""
    assert 100 * exceeding(k, n - 1, n) == pytest.approx(percent, rel=0.03)
    rows = negatives(*np.linspace(10, 90, n))
    found = deciding(rows, rule="mean-sd", k=k)
    assert found.false_positives.value == pytest.approx(exceeding(k, n - 1, n))
    assert (found.value, found.factor) == (pytest.approx(found.mean + k * found.sd), k)


@pytest.mark.parametrize(
    ("n", "factors"),
    [(3, (3.37, 8.04, 25.8)), (5, (2.34, 4.11, 7.86)), (8, (2.01, 3.18, 5.08)), (10, (1.92, 2.96, 4.51)),
     (20, (1.77, 2.60, 3.67)), (30, (1.73, 2.50, 3.45))],
)  # fmt: skip
def test_frey_factors_and_what_they_promise(n: int, factors: tuple[float, float, float]) -> None:
    """The factors of Frey's table at 95, 99 and 99.9 %; the share that exceeds is the promised one."""
    for confidence, factor in zip((0.95, 0.99, 0.999), factors, strict=True):
        assert frey_factor(confidence, n - 1, n) == pytest.approx(factor, rel=0.003)
        assert exceeding(frey_factor(confidence, n - 1, n), n - 1, n) == pytest.approx(1 - confidence)


@pytest.mark.parametrize(
    ("n", "lower", "upper"), [(20, 1.27, 2.40), (30, 1.33, 2.22), (50, 1.40, 2.06), (100, 1.46, 1.93)]
)
def test_limits_of_a_percentile_by_the_noncentral_t(n: int, lower: float, upper: float) -> None:
    """Factors of the lower 90 % and upper 95 % limit of the 95th percentile (published tolerance factors)."""
    assert tolerance_factor(0.95, 0.10, n - 1, n) == pytest.approx(lower, abs=0.006)
    assert tolerance_factor(0.95, 0.95, n - 1, n) == pytest.approx(upper, abs=0.006)
    rows = negatives(*np.linspace(10, 90, n))
    assert deciding(rows, rule="percentile", limit="lower").factor == pytest.approx(lower, abs=0.006)
    above = deciding(rows, rule="percentile", limit="upper", limit_confidence=0.95)
    assert above.factor == pytest.approx(upper, abs=0.006)
    assert above.rule == "upper 95 % limit of percentile 95"


def test_the_percentile_itself_is_the_normal_point() -> None:
    """95th: mean + 1.645 SD; on logarithms 0.56 + 1.645 x 0.38 = 1.185, 15.3 back on the scale of the read-out."""
    spread = np.array([-1, 0, 1]) * 0.38
    found = deciding(negatives(*10 ** (0.56 + spread)), rule="percentile", log=True)
    assert (found.mean, found.sd) == (pytest.approx(0.56), pytest.approx(0.38))
    assert found.value == pytest.approx(10 ** (0.56 + 1.644854 * 0.38))
    assert "of log10 0.56, SD 0.38" in sentence(found)


def test_a_percentile_without_a_law_is_one_of_the_values() -> None:
    """Of 19 the largest is exceeded by 1 in 20; the lower 90 % limit of 20 is the 18th (binomial), upper needs 45."""
    found = deciding(negatives(*range(1, 20)), rule="percentile", law="any")
    assert (found.value, found.false_positives.value) == (19, pytest.approx(0.05))
    assert [order_rank(n, 0.95, "estimate", 0.9) for n in (18, 19, 39, 99)] == [None, 19, 38, 95]
    ranks = range(1, 21)
    lower = max(r for r in ranks if stats.binom.sf(r - 1, 20, 0.95) >= 0.9)
    assert order_rank(20, 0.95, "lower", 0.9) == lower == 18
    assert [order_rank(n, 0.95, "upper", 0.9) for n in (44, 45)] == [None, 45]
    refused = made(negatives(*range(1, 19)), rule="percentile", law="any")
    assert refused.deciding is None
    assert codes(refused) == {"cutoff-order": "fail"}
    assert "needs 19 negatives, and there are 18" in cutoff_checks("P", refused, 18, 3)[0].message


def test_median_and_mad() -> None:
    """1, 2, 3, 4, 100: median 3, distances 2, 1, 0, 1, 97, MAD 1: 3 + 3 x 1.4826; the outlier moves nothing."""
    found = deciding(negatives(1, 2, 3, 4, 100), rule="robust")
    assert (found.value, found.median, found.mad) == (pytest.approx(3 + 3 * 1.4826, abs=1e-4), 3, 1)
    assert "median 3, MAD 1" in sentence(found)


def test_false_positives_of_the_robust_rule() -> None:
    """An independent simulation of n negatives and one more; large n tends to that of three SD, 0.135 %."""
    rng = np.random.default_rng(5)
    drawn = rng.standard_normal((200_000, 11))
    median = np.median(drawn[:, :10], axis=1)
    mad = np.median(np.abs(drawn[:, :10] - median[:, None]), axis=1)
    share = np.mean(drawn[:, 10] > median + 3 * 1.4826 * mad)
    assert robust_rate(10, 3.0) == pytest.approx(share, rel=0.05)
    assert robust_rate(2000, 3.0) == pytest.approx(stats.norm.sf(3), rel=0.05)


def test_the_youden_cut_and_the_one_without_false_positives() -> None:
    """Negatives 1 2 3 4 9, positives 5 6 7 8 10: at 4.5 all positives and 4 of 5 negatives; above 9 one of 5."""
    low, high = [1, 2, 3, 4, 9], [5, 6, 7, 8, 10]
    assert youden(low, high) == 4.5
    assert area(low, high) == pytest.approx(21 / 25)
    rows = [*negatives(*low), *positives(*high)]
    found = deciding(rows, rule="roc")
    assert (found.value, found.sensitivity.value, found.false_positives.value) == (4.5, 1, 0.2)
    assert (found.false_positives.low, found.false_positives.high) == (
        pytest.approx(0.0362, abs=1e-4),
        pytest.approx(0.6245, abs=1e-4),
    )
    said = sentence(found)
    assert "Youden: 4.5 with sensitivity 100 % (56.6 to 100), specificity 80 % (37.6 to 96.4)" in said
    assert "100 % specificity: 9 with sensitivity 20 %" in said
    clean = deciding(rows, rule="roc", roc_point="specific")
    assert (clean.value, clean.false_positives.value, clean.sensitivity.value) == (9, 0, 0.2)
    assert not clean.met_by(9)
    assert codes(made(rows, rule="roc"))["negatives"] == "warn"


def test_of_equally_good_cuts_the_most_specific_is_taken() -> None:
    """Negatives 1 3, positives 2 4: at 1.5 and at 3.5 sensitivity + specificity are 1.5."""
    assert youden([1, 3], [2, 4]) == 3.5
    assert youden([5, 5], [5]) == 5


@pytest.mark.parametrize("high", [(5.0, 6.0), (0.5, 0.6, 0.7)])
def test_roc_without_positives_or_without_a_difference_is_refused(high: tuple[float, ...]) -> None:
    """Two positives are too few; positives below all negatives cannot be told from them."""
    found = made([*negatives(1, 2, 3, 4), *positives(*high)], rule="roc")
    assert (found.deciding, codes(found)) == (None, {"cutoff-roc": "fail"})


def test_limits_of_shares() -> None:
    """8 of 10: Wilson 0.490 to 0.943, Clopper-Pearson 0.444 to 0.975; none of 10 has an upper limit of 0.308."""
    assert (wilson(8, 10).low, wilson(8, 10).high) == (pytest.approx(0.4902, abs=1e-4), pytest.approx(0.9433, abs=1e-4))
    exact = stats.binomtest(8, 10).proportion_ci(method="exact")
    assert (clopper_pearson(8, 10).low, clopper_pearson(8, 10).high) == pytest.approx((exact.low, exact.high))
    assert (clopper_pearson(0, 10).low, clopper_pearson(0, 10).high) == (0, pytest.approx(0.3085, abs=1e-4))
    assert (clopper_pearson(10, 10).low, clopper_pearson(10, 10).high) == (pytest.approx(0.6915, abs=1e-4), 1)


def test_the_table_of_false_positives_in_the_documentation() -> None:
    """docs/numbers.md holds what the code gives, to the digits printed."""
    page = (Path(__file__).parents[1] / "docs" / "numbers.md").read_text(encoding="utf-8")
    lines = page.split("False positives in percent, of normal negatives:")[1].strip().split("\n\n")[0].splitlines()
    cells = {line.split("|")[1].strip(): [float(c) for c in line.split("|")[2:-1]] for line in [lines[0], *lines[2:]]}
    ns = [int(n) for n in cells.pop("n")]
    wanted: dict[str, Callable[[int], float]] = {
        "Frey 99 %": lambda n: 100 * exceeding(frey_factor(0.99, n - 1, n), n - 1, n),
        "its factor on SD": lambda n: frey_factor(0.99, n - 1, n),
        **{f"mean + {k} SD": lambda n, k=k: 100 * exceeding(k, n - 1, n) for k in (2, 3, 4)},
        "95th percentile": lambda n: 100 * exceeding(float(stats.norm.ppf(0.95)), n - 1, n),
        "its lower 90 % limit": lambda n: 100 * exceeding(tolerance_factor(0.95, 0.1, n - 1, n), n - 1, n),
        "its upper 90 % limit": lambda n: 100 * exceeding(tolerance_factor(0.95, 0.9, n - 1, n), n - 1, n),
        "median + 3 × 1.4826 MAD": lambda n: 100 * robust_rate(n, 3.0),
    }
    assert set(cells) == set(wanted)
    for name, shown in cells.items():
        digits = 3 if name == "its factor on SD" else 2
        assert shown == [float(f"{wanted[name](n):.{digits}g}") for n in ns], name


# --- which numbers decide -------------------------------------------------------------------------


def test_a_fixed_number_is_reached_and_a_computed_one_exceeded() -> None:
    """Index exactly 2.00 is positive at Mayo's cut-off; what equals all the negatives is not."""
    fixed = deciding(negatives(1, 2), "index", rule="fixed", index=2.0, second="none")
    assert fixed.met_by(2.0)
    assert fixed.met_by(6.6 / 3.3)
    assert not fixed.met_by(1.999)
    equal = deciding(negatives(*[0.1] * 10))
    assert (equal.value, equal.sd) == (0.1, 0)
    assert not equal.met_by(0.1)
    assert equal.met_by(0.11)


@pytest.mark.parametrize("rule", ["frey", "mean-sd", "percentile", "robust"])
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("value", [0.1, 7.3, 1234.5])
def test_equal_negatives_are_never_positive(rule: str, log: bool, value: float) -> None:
    """SD 0: the cut-off is their value, none exceeds it, draws stay there, and a check says so."""
    found = made(negatives(*[value] * 12, ratio=9), rule=rule, log=log)
    assert found.deciding is not None
    assert found.deciding.value == pytest.approx(value)
    assert {r.status for r in decide(negatives(*[value] * 12), found.deciding, None)} == {Status.NEGATIVE}
    assert codes(found)["negatives-equal"] == "warn"
    assert cutoff_draws(found.deciding, 50, np.random.default_rng(1)) == pytest.approx(np.full(50, value))


def test_the_second_criterion() -> None:
    """Auto: ratio 1.5 beside delta, delta by the same rule beside ratio and index; a name; or none."""
    rows = negatives(10, 20, 30, 40)
    both = made(rows)
    assert both.second == CutOff(
        "ratio", 1.5, "fixed", source="default", false_positives=clopper_pearson(0, 4), counted=4
    )
    assert (made(rows, ratio=2.0).second.value, made(rows, ratio=2.0).second.source) == (2.0, "lab")
    said = cutoff_checks("P", both, 4, 3)[0].message
    assert "Second criterion: fixed cut-off: ratio 1.5 or more, the default; 0 % (0 to 60.2) of the 4" in said
    by_index = made([replace(r, index=i / 10) for i, r in enumerate(rows, 10)], "index")
    assert (by_index.deciding.readout, by_index.second.readout) == ("index", "delta")
    assert by_index.second.value == both.deciding.value
    assert made(rows, "index", second="none").criteria == (made(rows, "index", second="none").deciding,)
    named = made(rows, "index", second="ratio")
    assert (named.second.readout, named.second.rule, named.delta) == ("ratio", "frey 99 %", None)
    assert made(rows, "index", second="delta", delta=250).second.value == 250


def test_a_fixed_cut_off_says_how_many_of_the_plates_negatives_reach_it() -> None:
    """Two of four reach delta 25; a delta holds for one cytometer at one setting."""
    found = deciding(negatives(10, 20, 30, 40), rule="fixed", delta=25)
    assert (found.false_positives.value, found.counted, found.n) == (0.5, 4, 0)
    assert found.false_positives.high == pytest.approx(0.9324, abs=1e-4)
    assert "one cytometer at one setting" in sentence(found)
    assert "one cytometer" not in sentence(deciding([], "index", rule="fixed", index=2, second="none"))


@pytest.mark.parametrize(
    ("wells", "second", "status", "flags"),
    [
        ((4000, 2500), 2.0, "equivocal", ("criteria-disagree",)),  # delta 1500, ratio 1.6
        ((900, 150), 2.0, "equivocal", ("criteria-disagree",)),  # delta 750, ratio 6
        ((4000, 150), 2.0, "positive", ()),
        ((200, 150), 2.0, "negative", ()),
        ((4000, 2500), None, "positive", ()),  # delta alone
        ((900, 150), None, "negative", ()),
    ],
)
def test_two_sera_that_delta_and_ratio_call_differently(
    wells: tuple[float, float], second: float | None, status: str, flags: tuple[str, ...]
) -> None:
    """T 4000, N 2500 against T 900, N 150, at delta 1000 and ratio 2: each meets one criterion."""
    serum = row("S", wells[0] - wells[1], wells[0] / wells[1])
    by_ratio = CutOff("ratio", second, "fixed") if second else None
    found = decide([serum], CutOff("delta", 1000, "fixed"), by_ratio)[0]
    assert (found.status.value, found.flags) == (status, flags)


@pytest.mark.parametrize(
    ("delta", "ratio", "by", "status", "flags"),
    [
        (2000, NAN, "delta", "equivocal", ("criterion-unknown",)),
        (20, NAN, "delta", "negative", ()),
        (2000, NAN, "ratio", "equivocal", ("criterion-unknown",)),
        (20, NAN, "ratio", "equivocal", ("criterion-unknown",)),
    ],
)
def test_a_read_out_without_meaning_leaves_the_question_open(
    delta: float, ratio: float, by: str, status: str, flags: tuple[str, ...]
) -> None:
    """At most equivocal, with a flag; a delta that decides and fails is negative all the same."""
    criteria = [CutOff("delta", 1000, "fixed"), CutOff("ratio", 2.0, "fixed")]
    found = decide([row("S", delta, ratio)], *(criteria if by == "delta" else reversed(criteria)))[0]
    assert (found.status.value, found.flags) == (status, flags)
    assert (found.cutoff_delta, found.cutoff_ratio) == (1000, 2)


def test_the_grey_zone_and_the_grades_of_seoul() -> None:
    """Index 3.5 is positive, 2 to 3.5 borderline, below negative; high from 50, medium from 10, low below."""
    sera = [row("S", 900, 5, index=x) for x in (1.9, 2, 3.4, 3.5, 9.9, 10, 50)]
    cutoffs = cut_offs(sera, Cutoff(rule="fixed", index=3.5, second="ratio", ratio=2, equivocal=2), "index", 3)
    found = decide(sera, cutoffs.deciding, cutoffs.second, (10, 50))
    assert [r.status.value for r in found] == ["equivocal"] * 3 + ["positive"] * 4
    assert [r.flags for r in found[:3]] == [("criteria-disagree",), *[("criteria-disagree", "grey-zone")] * 2]
    assert [r.grade for r in found] == ["", "", "", "low", "low", "medium", "high"]
    alone = decide(sera, cutoffs.deciding, None, (4, 10, 50))
    assert [r.status.value for r in alone[:4]] == ["negative", "equivocal", "equivocal", "positive"]
    assert alone[1].flags == ("grey-zone",)
    assert [r.grade for r in alone[3:]] == ["1", "2", "3", "4"]
    headings, cells = tables.reactivity_table(found)
    assert [c[headings.index("grade")] for c in cells] == [r.grade for r in found]


def test_a_grey_zone_that_a_computed_cut_off_leaves_empty_is_told() -> None:
    """It begins at 500, and the cut-off is below."""
    assert codes(made(negatives(10, 20, 30), equivocal=500))["grey-zone-empty"] == "warn"
    assert "grey-zone-empty" not in codes(made(negatives(10, 20, 30), equivocal=15))


# --- too few, none, odd ---------------------------------------------------------------------------


def test_too_few_negatives_are_refused_and_nine_are_warned_of() -> None:
    """Two: no cut-off, nothing interpretable. Nine: a warning. Secondary-only wells are no sera."""
    two = made(negatives(10, 20))
    assert (two.criteria, codes(two)) == ((), {"negatives": "warn"})
    assert decide([row("S", 900)], two.deciding, two.second)[0].status is Status.NOT_INTERPRETABLE
    assert codes(made(negatives(*range(9))))["negatives"] == "warn"
    assert codes(made(negatives(*range(10))))["negatives"] == "pass"
    wells = [row(f"W{i}", 10 * i, role=Role.SECONDARY_ONLY) for i in range(9)]
    assert made([*negatives(10, 20), *wells]).deciding is None


@pytest.mark.parametrize("value", [-3, 0])
def test_a_value_without_a_logarithm_is_refused_not_dropped(value: float) -> None:
    """-3 or 0 among the negatives: no cut-off under log, with its name; without log there is one."""
    rows = negatives(10, 20, 30, value)
    found = made(rows, log=True)
    assert (found.deciding, codes(found)) == (None, {"cutoff-log": "fail"})
    assert f"N4 ({value})" in cutoff_checks("P", found, 4, 3)[0].message
    assert deciding(rows).n == 4


def test_negatives_without_a_ratio_are_named() -> None:
    """Four negatives, one without a ratio: the ratio's cut-off rests on three, and it is said."""
    rows = [*negatives(10, 20, 30), row("N4", 40, NAN, role=Role.NEGATIVE)]
    found = made(rows, "ratio")
    assert (found.deciding.n, found.second.n) == (3, 4)
    (told,) = (check for check in cutoff_checks("P", found, 4, 3) if check.check == "negatives-without-value")
    assert (told.verdict, told.value, told.message) == (Verdict.WARN, 1, "No ratio, hence no part in its cut-off: N4.")


def test_negatives_run_at_other_dilutions_only_are_named() -> None:
    """N4 was run at 1:80 alone: no part in the cut-off, and it is said."""
    late = [row("N4", 900, role=Role.NEGATIVE, dilution=80), *negatives(9, 9, 9, dilution=80)]
    found = made([*negatives(10, 20, 30), *late])
    assert (found.deciding.n, found.screening) == (3, 20)
    (told,) = (check for check in cutoff_checks("P", found, 4, 3) if check.check == "negatives-other-dilution")
    assert (told.value, told.message) == (1, "Not run at 1:20, hence no part in the cut-off: N4.")


def test_a_positive_control_takes_part_only_in_a_roc() -> None:
    """A failed positive control at -5 keeps no logarithm from the negatives."""
    rows = [*negatives(10, 20, 30), *positives(-5)]
    assert deciding(rows, log=True).n == 3
    assert codes(made([*rows, *positives(-5, 100, 200)], rule="roc", log=True)) == {"cutoff-log": "fail"}


def test_outliers_are_named_with_their_side_and_kept() -> None:
    """10 to 80 by tens, quartiles 27.5 and 62.5 of eight; 400 and -300 lie beyond 1.5 ranges and stay in n."""
    found = made(negatives(10, 20, 30, 40, 50, 60, 70, 80, 400, -300))
    assert found.deciding.n == 10
    (told,) = (check for check in cutoff_checks("P", found, 10, 3) if check.check == "negative-outliers")
    assert (told.verdict, told.value) == (Verdict.WARN, 2)
    assert told.message.startswith("delta: N9 (400) lies above; N10 (-300) lies below, by more than 1.5")
    headings, rows = tables.cutoffs_table([("P", c) for c in found.criteria])
    cells = dict(zip(headings, rows[0], strict=True))
    assert cells["outliers"] == "N9 above;N10 below"
    assert "negative-outliers" not in codes(made(negatives(10, 20, 30, 40, 50, 60, 70, 80)))


def test_outliers_are_sought_on_the_scale_of_the_rule() -> None:
    """1, 2, 4, ... 512: 512 and 256 are far on the linear scale, in line on the logarithmic one."""
    rows = negatives(*[2.0**i for i in range(10)])
    assert [outlier.serum for outlier in deciding(rows).outliers] == ["N10"]
    assert deciding(rows, log=True).outliers == ()


def test_a_cut_off_below_zero_is_told() -> None:
    """Negatives near -100: what binds nothing exceeds them."""
    assert codes(made(negatives(-100, -101, -102)))["cutoff-below-zero"] == "warn"


def test_negative_sera_that_the_rule_itself_lets_through_warn_only() -> None:
    """Of 40 negatives the 90th percentile lets 4 through by design; under Frey's rule one positive fails the plate."""

    def verdict(found: CutOffs, n_positive: int) -> str:
        rows = [replace(r, status=Status.POSITIVE) for r in negatives(*range(40))[:n_positive]]
        rows += [replace(r, status=Status.NEGATIVE) for r in negatives(*range(40))[n_positive:]]
        result = acceptance.PlateResult("P", [], rows, found, readout.ReplicateError(0.05, 9, 5))
        return next(c.verdict.value for c in acceptance.accept(result, Acceptance()) if c.check == "negative-control")

    lax, strict = made(negatives(*range(40)), rule="percentile", percentile=90), made(negatives(*range(10)))
    assert [verdict(lax, n) for n in (0, 4, 8, 12)] == ["pass", "warn", "warn", "fail"]
    assert [verdict(strict, n) for n in (0, 1)] == ["pass", "fail"]


# --- histories ------------------------------------------------------------------------------------

TABLE = """plate,serum,dilution,delta,ratio,index,note,role
A,N1,20,100,1.1,1.1,x,negative
A,N2,20,120,,1.2,x,negative
A,N1,80,10,1,1,x,negative
A,S1,20,4000,9,9,x,sample
plate,serum,role,dilution,delta,ratio,index
B,N3,陰性対照,1:20,150,1.3,1.3
B,N4,negative,20,170,1.4,1.4
B,POS,positive,20,5000,30,30
"""


def history(tmp_path: Path, text: str = TABLE, readouts: tuple[str, ...] = ("delta",)) -> tuple[Past, ...]:
    (tmp_path / "negatives.csv").write_text(text, encoding="utf-8")
    return read_history(tmp_path / "negatives.csv", readouts, "[cutoff] history")


FROM_HISTORY: dict[str, object] = {"source": "history", "history": "negatives.csv"}


def test_a_history_is_an_earlier_reactivity_table_or_several(tmp_path: Path) -> None:
    """Two tables one below the other, columns in another order; other roles and dilutions are left out and counted."""
    past = history(tmp_path, readouts=("delta", "ratio"))
    assert [(p.plate, p.serum, p.dilution, p.values["delta"]) for p in past][-2:] == [
        ("B", "N4", 20, 170),
        ("B", "POS", 20, 5000),
    ]
    found = made(negatives(5, 6), past=past, **FROM_HISTORY)
    assert found.deciding is not None
    assert (found.deciding.n, found.deciding.mean, found.deciding.source) == (4, 135, "history")
    (told,) = (check for check in cutoff_checks("P", found, 2, 3) if check.check == "history")
    assert told.message == (
        "Cut-offs rest on negatives.csv: 4 values of 2 plates. "
        "Left out: 2 rows of other roles, 1 of another dilution than 1:20."
    )
    by_ratio = made(negatives(5, 6), "ratio", past, **FROM_HISTORY)
    assert (by_ratio.deciding.n, codes(by_ratio)["negatives-without-value"]) == (3, "warn")


def test_dilutions_shown_alike_are_alike(tmp_path: Path) -> None:
    """A third written with ten digits, with six, or in assay.toml: one dilution, as the tables show it."""
    text = TABLE.replace(",20,", ",33.3333,").replace("1:20", "1:33.333333333")
    assert {p.dilution for p in history(tmp_path, text)} == {33.3333, 80}
    assert Cutoff(screening_dilution=100 / 3).screening_dilution == 33.3333
    with pytest.raises(SheetError, match="stands twice"):
        history(tmp_path, text.replace("A,N2,33.3333", "A,N1,33.33333"))


@pytest.mark.parametrize(
    ("text", "settings", "said"),
    [
        (TABLE, {"screening_dilution": 40}, "It holds 5 values of the role negative at 1:20, 1:80; wanted: 1:40."),
        (
            TABLE.replace("negative", "blank").replace("陰性対照", "blank"),
            {},
            "None of its 7 rows is of the role negative.",
        ),
        (TABLE.splitlines()[0], {}, "It has no rows."),
    ],
)  # fmt: skip
def test_a_history_of_which_nothing_is_usable_says_what_it_holds(
    tmp_path: Path, text: str, settings: dict[str, object], said: str
) -> None:
    """It warns: a table at other dilutions, of other roles, or of headings alone is hardly what was meant."""
    found = made(negatives(5, 6), past=history(tmp_path, text), **FROM_HISTORY, **settings)
    (told,) = (check for check in cutoff_checks("P", found, 2, 3) if check.check == "history")
    assert (told.verdict, told.value) == (Verdict.WARN, 0)
    assert told.message == f"Nothing in negatives.csv is usable for the cut-off of delta. {said}"


def test_without_a_logarithm_the_way_out_is_named() -> None:
    """Of the criterion that decides: another read-out. Of the second one, which comes by itself: none."""
    rows = negatives(-5, 3, 4, 6)
    decides = made(rows, log=True).refusals[0].message
    assert decides.endswith("Set log = false, or decide by the ratio.")
    beside = made(rows, "ratio", log=True).refusals[0].message
    assert beside.endswith('Set log = false, or decide without delta: second = "none".')


@pytest.mark.parametrize(("confidence", "words"), [(0.99, "frey 99 %"), (0.9999999999, "frey 99.99999999 %")])
def test_a_confidence_is_never_rounded_to_certainty(confidence: float, words: str) -> None:
    assert deciding(negatives(1, 2, 3), confidence=confidence).rule == words


def test_few_positive_sera_are_named_as_the_reason() -> None:
    """Ten negatives are enough, three positives are few: the warning says which."""
    found = made([*negatives(*range(1, 11)), *positives(50, 60, 70)], rule="roc")
    (told,) = (check for check in cutoff_checks("P", found, 10, 3) if check.check == "negatives")
    assert (told.verdict, told.limit) == (Verdict.WARN, ">= 3 (10 recommended), and 10 positive sera")
    assert told.message.endswith("The cut-off rests on 3 positive sera only: 10 are recommended.")


def test_a_history_may_be_xlsx(tmp_path: Path) -> None:
    """The same numbers from a workbook."""
    book = openpyxl.Workbook()
    for line in TABLE.splitlines()[:4]:
        book.active.append([float(cell) if cell.replace(".", "").isdigit() else cell for cell in line.split(",")])
    book.save(tmp_path / "negatives.xlsx")
    assert read_history(tmp_path / "negatives.xlsx", ["delta"], "[cutoff] history") == history(tmp_path)[:3]


@pytest.mark.parametrize(
    ("old", "new", "wanted"),
    [
        ("B,N4,negative,20,170", "B,N3,negative,20,170", "row 8: serum 'N3' at 1:20 of plate 'B' stands twice"),
        (",170,", ",17O,", "row 8: delta '17O' is not a number"),
        (",170,", ",inf,", "row 8: delta 'inf' is not a number"),
        (",170,", ",1e999,", "row 8: delta '1e999' is too large for a number"),
        (",170,", ",-1e200,", "row 8: delta '-1e200' is too large for a number"),
        ("1:20,150", "1e999,150", "row 7: dilution '1e999' is not a finite number"),
        ("B,N4,negative", "B,N4,negativ", "row 8: role 'negativ' is unknown\nhint: did you mean 'negative'?"),
        ("B,N4,", ",N4,", "row 8: no plate is named"),
        ("role,dilution,delta", "role,dilution,Delta2", "row 6: the column 'delta' is missing"),
        (TABLE, "", "the table is empty"),
    ],
)
def test_what_is_wrong_with_a_history_is_said(tmp_path: Path, old: str, new: str, wanted: str) -> None:
    """File, row, what is there and what was wanted."""
    with pytest.raises(SheetError) as refused:
        history(tmp_path, TABLE.replace(old, new, 1))
    assert wanted in str(refused.value)
    with pytest.raises(SheetError, match="no such table"):
        read_history(tmp_path / "other.csv", ["delta"], "[cutoff] history")


def of_plates(**plates: list[float]) -> tuple[Past, ...]:
    return tuple(
        Past(plate, f"{plate}-{i}", Role.NEGATIVE, 20, {"delta": value})
        for plate, values in plates.items()
        for i, value in enumerate(values)
    )


def test_a_history_that_floats_by_addition() -> None:
    """A 90 100 110, B 490 500 510 about their means: SS 400, 4 degrees of freedom, SD 10; here 30 and 50, mean 40.

    Frey's factor then has 4 degrees of freedom, and a mean of two: 40 + 10 t(0.99, 4) sqrt(1 + 1/2).
    """
    past = of_plates(A=[90, 100, 110], B=[490, 500, 510], C=[700])
    found = made(negatives(30, 50), past=past, floating="additive", **FROM_HISTORY)
    cutoff = found.deciding
    assert cutoff is not None
    assert (cutoff.n, cutoff.mean, cutoff.sd) == (6, 40, pytest.approx(10))
    assert cutoff.value == pytest.approx(40 + 10 * stats.t.ppf(0.99, 4) * math.sqrt(1.5))
    assert codes(found)["history-plates"] == "warn"  # C has one negative: it says nothing of scatter
    assert made(negatives(30, 50), past=past, **FROM_HISTORY).deciding.sd > 200


def test_a_history_that_floats_by_multiplication() -> None:
    """A 90 100 110 and B 900 1000 1100 scatter by 10 %: at a mean of 40 the SD is 4; on logarithms a shift."""
    past = of_plates(A=[90, 100, 110], B=[900, 1000, 1100])
    cutoff = deciding(negatives(30, 50), past=past, floating="multiplicative", **FROM_HISTORY)
    assert (cutoff.mean, cutoff.sd) == (40, pytest.approx(4))
    logs = deciding(negatives(30, 50), past=past, floating="multiplicative", log=True, **FROM_HISTORY)
    each = np.log10([90, 100, 110])
    assert logs.mean == pytest.approx(np.log10([30, 50]).mean())
    assert logs.sd == pytest.approx(each.std(ddof=1))


@pytest.mark.parametrize(
    ("rows", "past"),
    [
        ([], {"A": [90.0, 100, 110, 120]}),
        (negatives(30, 50), {"A": [-90.0, 100, -110, 20]}),
        (negatives(-5, 3), {"A": [90.0, 100, 110]}),
    ],
)
def test_floating_without_this_plates_negatives_or_over_zero_is_refused(
    rows: list[Reactivity], past: dict[str, list[float]]
) -> None:
    """Nothing to float on, or a mean that cannot be divided by."""
    found = made(rows, past=of_plates(**past), floating="multiplicative", screening_dilution=20, **FROM_HISTORY)
    assert codes(found)["cutoff-floating"] == "fail"


def test_plates_of_two_negatives_do_not_count_as_many() -> None:
    """Two plates of two: two degrees of freedom are those of three negatives; one plate of two is refused."""
    two = of_plates(A=[90, 110], B=[95, 105])
    assert made(negatives(30, 50), past=two, floating="additive", **FROM_HISTORY).deciding is not None
    settings = Cutoff(floating="additive", **FROM_HISTORY)
    assert cut_offs(negatives(30, 50), settings, "delta", 4, two).refusals[0].n == 3
    one = made(negatives(30, 50), past=two[:2], floating="additive", **FROM_HISTORY)
    assert codes(one)["negatives"] == "warn"
    assert one.deciding is None


def test_one_serum_on_many_plates_is_told() -> None:
    """Six values of three sera are not six sera."""
    past = tuple(Past(plate, f"N{i}", Role.NEGATIVE, 20, {"delta": 10.0 * i}) for plate in "AB" for i in range(3))
    found = made([], past=past, **FROM_HISTORY)
    (told,) = (check for check in cutoff_checks("P", found, 0, 3) if check.check == "history-repeats")
    assert (told.value, told.verdict) == (3, Verdict.WARN)


def test_roc_from_a_history() -> None:
    """Positive and negative are the labels; samples are left out."""
    past = (*of_plates(A=[1, 2, 3]), *(Past("B", f"P{i}", Role.POSITIVE, 20, {"delta": 10.0 + i}) for i in range(3)))
    assert deciding([], past=past, rule="roc", **FROM_HISTORY).value == 6.5


def test_a_run_with_a_history(results: Path, plate: Path, tmp_path: Path, call: Callable, table: Callable) -> None:
    """Cut-offs rest on both plates of an earlier run; cutoffs.csv says so, the history's hash is in the manifest."""
    definition = plate.parents[1] / "assay.toml"
    text = definition.read_text().replace('rule = "frey"', 'source = "history"\nhistory = "negatives.csv"')
    definition.write_text(text)
    (definition.parent / "negatives.csv").write_bytes((results / "reactivity.csv").read_bytes())
    done = call("run", plate, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    rows = [r for r in table(results / "reactivity.csv") if r["role"] == "negative"]
    lowest = min(float(r["dilution"]) for r in rows)
    values = [float(r["delta"]) for r in rows if float(r["dilution"]) == lowest]
    first, second = table(tmp_path / "out" / "cutoffs.csv")
    n = len(values)
    wanted = np.mean(values) + np.std(values, ddof=1) * stats.t.ppf(0.99, n - 1) * math.sqrt(1 + 1 / n)
    assert (first["readout"], first["source"], first["n"]) == ("delta", "history", str(n))
    assert float(first["cutoff"]) == pytest.approx(wanted, rel=1e-4)
    assert float(first["false_positive_rate"]) == pytest.approx(0.01)
    assert (second["readout"], second["cutoff"], second["source"], second["n"]) == ("ratio", "1.5", "default", "")
    assert (
        '"negatives.csv"' in (tmp_path / "out" / "manifest.json").read_text().split('"outputs"')[0].split('"inputs"')[1]
    )
    assert "of the history" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")


# --- what assay.toml may say ----------------------------------------------------------------------

BASE = """[assay]
antigen = "A"
[channels]
reporter = "G"
signal = "R"
[readout]
decide = "{decide}"
[cutoff]
{cutoff}
"""


@pytest.mark.parametrize(
    ("decide", "cutoff", "wanted"),
    [
        ("delta", 'rule = "fixed"', "rule 'fixed' needs delta: the lab's own cut-off on this cytometer"),
        ("index", 'rule = "fixed"\nindex = 2', "rule 'fixed' needs delta too, the second criterion; second = 'none'"),
        ("ratio", 'rule = "fixed"\nsecond = "none"', "rule 'fixed' needs ratio"),
        ("delta", "delta = 200", "delta is a number for rule 'fixed'; rule 'frey' computes it"),
        ("delta", "index = 2", "index is no criterion here: delta decides, second is ratio"),
        ("delta", 'second = "delta"', "second 'delta' is the read-out that decides"),
        ("delta", 'rule = "frey"\nk = 4', "k belongs to rule 'mean-sd' or 'robust', not 'frey'"),
        ("delta", 'source = "history"', "need each other"),
        ("delta", 'history = "negatives.csv"', "need each other"),
        ("delta", 'source = "history"\nhistory = "negatives.txt"', "the name of a CSV or xlsx table wanted"),
        ("delta", 'floating = "additive"', "floating is for source 'history'"),
        ("delta", 'source = "history"\nhistory = "n.csv"\nlog = true\nfloating = "additive"', "no meaning under log"),
        ("delta", 'rule = "fixed"\ndelta = 9\nlog = true', "rule 'fixed' computes nothing"),
        ("delta", "grades = [50, 10]", "numbers that rise wanted"),
        ("delta", 'rule = "fixed"\ndelta = 9\nequivocal = 9', "equivocal is where the grey zone"),
        ("delta", "[acceptance]\nevents_fail = 501", "events_fail (501) is above events_warn (500)"),
        ("delta", "[acceptance]\nreplicate_cv_warn = 26", "replicate_cv_warn (26) is above replicate_cv_fail (25)"),
        ("delta", "[acceptance]\nsaturated_percent_fail = 0.5", "saturated_percent_warn (1) is above"),
        ("delta", "[acceptance]\nelsewhere_warn = 4", "elsewhere_warn (4) is above elsewhere_fail (3)"),
    ],
)
def test_settings_that_contradict_one_another_are_refused(
    tmp_path: Path, decide: str, cutoff: str, wanted: str
) -> None:
    """One clear sentence; no delta is ever a silent default."""
    (tmp_path / "assay.toml").write_text(BASE.format(decide=decide, cutoff=cutoff))
    with pytest.raises(ConfigError) as refused:
        read_definition(tmp_path / "assay.toml")
    assert wanted in str(refused.value)


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ('rule = "mean-sd"\nk = true', "k: a number wanted, without quotes (got True)"),
        ('confidence = "0.99"', "confidence: a number wanted, without quotes (got '0.99')"),
        ('log = "yes"', "log: true or false wanted, without quotes (got 'yes')"),
        ("log = 1", "log: true or false wanted, without quotes (got 1)"),
        ('grades = [10, "50"]', "grades: a number wanted, without quotes"),
        ("[seed]\nvalue = true", "value: a whole number wanted, without quotes (got True)"),
        ("[fcs]\ndataset = true", "dataset"),
        ('rule = "mean-sd"\nk = inf', "k: input should be a finite number (got inf)"),
        ("grades = [10, inf]", "grades: input should be a finite number (got inf)"),
        ("[reference]\nunits = nan", "units: input should be"),
    ],
)
def test_a_setting_is_of_the_kind_that_its_key_wants(tmp_path: Path, line: str, wanted: str) -> None:
    """Quoted numbers, true for a number and infinite ones are slips of the pen."""
    (tmp_path / "assay.toml").write_text(BASE.format(decide="delta", cutoff=line))
    with pytest.raises(ConfigError) as refused:
        read_definition(tmp_path / "assay.toml")
    assert wanted in str(refused.value)


@pytest.mark.parametrize(
    ("decide", "cutoff"),
    [
        ("index", 'rule = "fixed"\nindex = 2\nsecond = "none"'),
        ("index", 'rule = "fixed"\nindex = 3.5\nsecond = "ratio"\nratio = 2\nequivocal = 2\ngrades = [10, 50]'),
        ("delta", 'rule = "fixed"\ndelta = 20700'),
        ("delta", "ratio = 2"),
        ("ratio", 'rule = "mean-sd"\nk = 4\nlog = true'),
        (
            "delta",
            'rule = "percentile"\nlimit = "lower"\nsource = "history"\nhistory = "n.xlsx"\nfloating = "multiplicative"',
        ),
    ],
)
def test_settings_of_known_assays(tmp_path: Path, decide: str, cutoff: str) -> None:
    """Mayo, Seoul, Innsbruck, and rules with their own keys; what was resolved can be read again."""
    (tmp_path / "assay.toml").write_text(BASE.format(decide=decide, cutoff=cutoff))
    assay = read_definition(tmp_path / "assay.toml")
    assert type(assay).model_validate(assay.model_dump()) == assay


def test_fixed_without_a_number_never_becomes_another_rule() -> None:
    """Also where settings were not read from assay.toml."""
    with pytest.raises(ConfigError, match="rule 'fixed' needs index"):
        made(negatives(10, 20, 30), "index", rule="fixed", delta=20)


# --- simulation with a planted law ----------------------------------------------------------------


def test_one_percent_of_further_negatives_exceed_freys_limit() -> None:
    """4,000 plates of 10 normal negatives and one more: the count lies within the binomial's 99.9 % limits of 1 %."""
    rng = np.random.default_rng(20140315)
    drawn = 300 + 80 * rng.standard_normal((4000, 11))
    above = sum(deciding(negatives(*plate[:10])).met_by(plate[10]) for plate in drawn)
    low, high = stats.binom.interval(0.999, 4000, 0.01)
    assert low <= above <= high


def covered(
    draw: Callable[[np.random.Generator], list[Reactivity]],
    true: Callable[[CutOff], float],
    repeats: int = 2000,
    **settings: object,
) -> float:
    """Percent of plates whose 95 % limits of the cut-off, from 1,000 draws, hold the true one."""
    rng = np.random.default_rng(7)
    held = 0
    for number in range(repeats):
        cutoff = deciding(draw(rng), **settings)
        low, high = np.quantile(
            cutoff_draws(cutoff, 1000, np.random.default_rng([1, number])), [0.025, 0.975], method="nearest"
        )
        held += low <= true(cutoff) <= high
    return 100 * held / repeats


@pytest.mark.parametrize("n", [3, 10, 40])
def test_limits_of_a_cut_off_hold_the_true_one(n: int) -> None:
    """Negatives N(300, 80): limits of Frey's cut-off hold 300 + factor x 80 in 94 to 96 % of plates, plus chance."""
    found = covered(lambda rng: negatives(*300 + 80 * rng.standard_normal(n)), lambda c: 300 + c.factor * 80)
    assert 93.5 <= found <= 96.5


def test_limits_hold_under_log_and_for_percentiles() -> None:
    """Log-normal negatives, the upper limit of their 95th percentile."""
    found = covered(
        lambda rng: negatives(*10 ** (2 + 0.2 * rng.standard_normal(12))),
        lambda c: 10 ** (2 + c.factor * 0.2),
        rule="percentile",
        limit="upper",
        log=True,
    )
    assert 93.5 <= found <= 96.5


def test_limits_hold_for_a_floating_history() -> None:
    """Six plates of four negatives with levels of their own, this plate of three: SD from all, mean from here."""

    def draw(rng: np.random.Generator) -> tuple[list[Reactivity], tuple[Past, ...]]:
        levels = 1000 * rng.random(6)
        past = of_plates(**{f"H{i}": list(level + 80 * rng.standard_normal(4)) for i, level in enumerate(levels)})
        return negatives(*300 + 80 * rng.standard_normal(3)), past

    rng, held, above = np.random.default_rng(3), 0, 0
    for number in range(2000):
        rows, past = draw(rng)
        cutoff = deciding(rows, past=past, floating="additive", **FROM_HISTORY)
        low, high = np.quantile(cutoff_draws(cutoff, 1000, np.random.default_rng(number)), [0.025, 0.975])
        held += low <= 300 + cutoff.factor * 80 <= high
        above += cutoff.met_by(300 + 80 * rng.standard_normal())
    assert 1870 <= held <= 1930
    assert above <= stats.binom.ppf(0.999, 2000, 0.01)
    assert above >= stats.binom.ppf(0.001, 2000, 0.01)


def test_limits_of_median_and_order_rules() -> None:
    """Bootstrap of median and MAD of 30, draws of a quantile without a law of 100: about 95 %, not below."""
    robust = covered(lambda rng: negatives(*rng.standard_normal(30)), lambda _: 3.0, 600, rule="robust")
    assert 93 <= robust <= 99
    order = covered(
        lambda rng: negatives(*rng.standard_normal(100)),
        lambda c: stats.norm.ppf(c.basis.rank / 101),
        600,
        rule="percentile",
        law="any",
    )
    assert 93 <= order <= 99


def test_too_few_sera_leave_a_quantile_without_an_upper_limit() -> None:
    """The 95th percentile of 20 without a law: in 0.952^20 = 38 % of draws it lies beyond the largest."""
    cutoff = deciding(negatives(*range(20)), rule="percentile", law="any")
    draws = cutoff_draws(cutoff, 4000, np.random.default_rng(1))
    assert np.mean(np.isinf(draws)) == pytest.approx((20 / 21) ** 20, abs=0.03)
    assert draws[np.isfinite(draws)].max() <= 19


def test_titers_bear_cut_offs_that_are_infinite_or_below_zero() -> None:
    """Read-outs 9000, -5, -50 at 1:1, 1:2, 1:4. An infinite cut-off is never exceeded; -1 is crossed at the next
    dilution, 1:2; -20 lies below the second value, which no logarithm has, and is crossed at 1:4."""
    values = np.array([[9000.0, -5, -50]] * 4)
    found = crossing(np.array([0.0, 1, 2]), values, np.array([np.inf, -1, -20, -100]))
    assert found.tolist() == [-np.inf, 1, 2, np.inf]


def test_draws_of_a_youden_cut_scatter_around_it_and_repeat_with_the_seed() -> None:
    """40 negatives about 0 and 40 positives about 2.5: the best cut is 1.25, and its limits hold it."""
    rng = np.random.default_rng(2)
    rows = [*negatives(*rng.standard_normal(40)), *positives(*2.5 + rng.standard_normal(40))]
    cutoff = deciding(rows, rule="roc")
    one, two = (cutoff_draws(cutoff, 400, np.random.default_rng(9)) for _ in range(2))
    assert np.array_equal(one, two)
    assert np.quantile(one, 0.025) < 1.25 < np.quantile(one, 0.975)
    assert one.std() > 0.05


def test_sera_that_a_roc_of_the_plate_misses_are_expected() -> None:
    """Five labelled sera, one among the negatives: sensitivity 80 %, Wilson's limits 37.6 to 96.4: 3 of 5 may miss.

    One more that only the second criterion refuses passes; three more warn. At 1:80 a serum that 1:20 found must hold.
    """
    rows = [*negatives(1, 2, 3, 4, 5), *positives(2.5, 100, 200, 300, 400)]
    found = made(rows, rule="roc")

    def judged(rows: list[Reactivity], extra: tuple[str, ...] = ()) -> tuple[str, float, str]:
        rows = decide(rows, found.deciding, None)
        rows = [replace(r, status=Status.NEGATIVE) if r.serum in extra else r for r in rows]
        result = acceptance.PlateResult("P", [], rows, found, readout.ReplicateError(0, 0, NAN))
        (check,) = (c for c in acceptance.accept(result, Acceptance()) if c.check == "positive-control")
        return check.verdict.value, check.value, check.message

    names = [r.serum for r in rows if r.role is Role.POSITIVE]
    verdict, missed, message = judged(rows)
    assert (verdict, missed) == ("pass", 1)
    assert f"1 of 5 positive sera are not positive: {names[0]}." in message
    assert judged(rows, tuple(names[1:2]))[:2] == ("pass", 2)
    assert judged(rows, tuple(names[1:4]))[:2] == ("warn", 4)
    weak = replace(next(r for r in rows if r.serum == names[1]), dilution=80.0, delta=Estimate(1, 0, 2))
    assert judged([*rows, weak])[0] == "fail"


def test_a_mean_of_rounding_errors_is_0() -> None:
    """Negatives less their own mean, as under background `negative-pool`: 0.1 + 0.2 - 0.3 is 5.6e-17 and no number."""
    assert deciding(negatives(0.1, 0.2, -0.3, 5, -5)).mean == 0
    assert deciding(negatives(1e-6, 0.1, 0.2, -0.3, 5, -5)).mean == pytest.approx(1e-6 / 6, rel=1e-6)


# --- a negative that is none ------------------------------------------------------------------------

QUIET = (10.0, 14.0, 6.0, 12.0, 8.0, 11.0, 9.0, 13.0, 7.0)


def control(rows: list[Reactivity], **settings: object) -> tuple[str, float]:
    """Verdict and value of `negative-control`."""
    found = made(rows, **settings)
    rows = decide(rows, found.deciding, found.second)
    result = acceptance.PlateResult("P", [], rows, found, readout.ReplicateError(0, 0, NAN))
    (check,) = (c for c in acceptance.accept(result, Acceptance()) if c.check == "negative-control")
    return check.verdict.value, check.value


@pytest.mark.parametrize("log", [False, True])
def test_a_positive_among_ten_negatives_fails_the_plate(log: bool) -> None:
    """Of ten values none exceeds mean + 2.846 SD, so that Frey's 2.959 never sees it: the others' limit does."""
    rows = [*negatives(*QUIET), *negatives(5000.0, ratio=8)]
    rows[-1] = replace(rows[-1], serum="STRONG")
    cutoff = deciding(rows, log=log)
    assert cutoff.value > 4000
    assert control(rows, log=log) == ("fail", 1)


def test_a_negative_apart_in_delta_alone_is_an_outlier_and_no_more() -> None:
    """Its ratio stays below the second criterion: a sticky serum, not a positive one."""
    assert control([*negatives(*QUIET), *negatives(200.0, ratio=1.2)]) == ("pass", 0)
    assert control([*negatives(*QUIET), *negatives(200.0, ratio=1.2)], second="none") == ("fail", 1)


def test_clean_negatives_seldom_stand_apart() -> None:
    """400 plates of ten normal negatives, delta alone deciding: 1 % by design, at most 2.5 %."""
    rng = np.random.default_rng(8)
    failed = sum(control(negatives(*rng.normal(0, 30, 10)), second="none")[0] != "pass" for _ in range(400))
    assert failed <= 10


def test_under_a_background_delta_decides_alone() -> None:
    """The ratio of what is left is undefined or wild: `auto` does without; a second named by hand stays."""
    rows = [replace(r, background_expressing=90.0) for r in negatives(*QUIET)]
    assert made(rows).second is None
    assert made(rows, second="ratio", ratio=1.5).second is not None
    assert Cutoff().second_to("delta", corrected=True) is None
    assert Cutoff().second_to("index", corrected=True) == "delta"


# --- floating by a factor ---------------------------------------------------------------------------


def test_a_factor_solves_its_own_equation() -> None:
    """k = t sqrt(1 + (1 + k s)^2 / m); without scatter it is Frey's; too few negatives for their scatter have none."""
    t = stats.t.ppf(0.99, 60)
    k = frey_factor(0.99, 60, 8, 0.3)
    assert k == pytest.approx(t * math.sqrt(1 + (1 + k * 0.3) ** 2 / 8))
    assert frey_factor(0.99, 60, 8, 0.0) == pytest.approx(t * math.sqrt(1 + 1 / 8))
    assert math.isnan(frey_factor(0.99, 60, 4, 1.0))
    assert exceeding(k, 60, 8, 0.3) == pytest.approx(0.01)


def test_a_history_that_floats_by_a_factor_keeps_freys_promise() -> None:
    """Plates brighter or darker by half, negatives of mean 100, SD 40, four on this plate: 1 % of 8,000 further ones.

    With the factor sqrt(1 + 1/m) of an addition it would be 4 %.
    """
    rng = np.random.default_rng(12)
    exceeded = 0
    for _ in range(200):
        bright = np.exp(0.5 * rng.standard_normal(21))
        past = tuple(
            Past(f"Q{q}", f"N{q}-{i}", Role.NEGATIVE, 20, {"delta": bright[q] * value})
            for q in range(20)
            for i, value in enumerate(np.maximum(rng.normal(100, 40, 10), 1.0))
        )
        here = negatives(*(bright[20] * np.maximum(rng.normal(100, 40, 4), 1.0)))
        cutoff = deciding(here, past=past, floating="multiplicative", second="none", **FROM_HISTORY)
        exceeded += int(np.sum(bright[20] * rng.normal(100, 40, 40) > cutoff.value))
    assert 0.004 < exceeded / 8000 < 0.018


def test_too_few_negatives_to_scale_a_history_by_are_refused() -> None:
    """Two of them, with an SD of half their mean: an error of the mean is then worth more than any factor."""
    rng = np.random.default_rng(1)
    past = tuple(
        Past(f"Q{q}", f"N{q}-{i}", Role.NEGATIVE, 20, {"delta": float(value)})
        for q in range(4)
        for i, value in enumerate(rng.normal(100, 60, 8))
    )
    found = made(negatives(60, 140), past=past, floating="multiplicative", second="none", **FROM_HISTORY)
    assert found.deciding is None
    assert codes(found)["cutoff-floating"] == "fail"
