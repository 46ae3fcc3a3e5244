"""Dilution curves: planted parameters come back, limits hold, published numbers too, and strays are told."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from aqp4flow.assay.curves.bindingmodel import MODELS, Scale, predict, response, to_natural
from aqp4flow.assay.curves.curve import Series, fit_curve, fit_curves, off_curve_checks, parameter_draws
from aqp4flow.assay.curves.curvefit import fit_all, limits_of
from aqp4flow.assay.cutoffs.cutoff import CutOffs
from aqp4flow.assay.definition import CurveSettings
from aqp4flow.assay.titration import Rules, plate_series, saturated_curve_checks, titrate
from aqp4flow.model import NAN, Curve, Estimate, Reactivity, Reading, Role, Status, Titration, Verdict, Well

LADDER = 10 * 3.0 ** np.arange(10)
ENDED = np.array([*LADDER, math.inf])
ANTIBODIES = [("LY-CoV555", "A2 A3 A4 A5 A6 A7", -9.54), ("S309", "D2 D3 D4 D5 D6 D7", -9.24)]


def series(dilution: Sequence[float] | np.ndarray, reading: Sequence[float] | np.ndarray, noise: float = math.nan):
    return Series(np.asarray(dilution, float), np.asarray(reading, float), noise)


def written_out(model: str, d: np.ndarray, b: float = 50, t: float = 9000, m: float = 400) -> np.ndarray:
    """The three models, written out independently of the product."""
    if model == "one-site":
        return np.where(np.isinf(d), b, b + t / (1 + d / m))
    if model == "4pl":
        return b + t / (1 + (d / m) ** 1.4)
    return b + t / (1 + (d / m) ** 1.2) ** 0.7


def noisy(model: str, count: int, noise: float, seed: int = 20140315) -> tuple[list[Series], list[float]]:
    """Curves with a well without serum, midpoints inside the ladder; and the planted midpoints."""
    rng = np.random.default_rng(seed)
    batch, midpoints = [], []
    for _ in range(count):
        h = rng.uniform(0.7, 1.6) if model != "one-site" else 1.0
        g = rng.uniform(0.5, 2.0) if model == "5pl" else 1.0
        m, b, t = 10 ** rng.uniform(1.5, 4), rng.uniform(50, 200), 10 ** rng.uniform(3, 4.5)
        clean = b + t / (1 + (ENDED / m) ** h) ** g
        batch.append(series(ENDED, clean * np.exp(noise * rng.standard_normal(len(ENDED)))))
        midpoints.append(m * g ** (-1 / h))
    return batch, midpoints


# --- planted curves -------------------------------------------------------------------------------


@pytest.mark.parametrize(("model", "midpoint"), [("one-site", 400.0), ("4pl", 400.0), ("5pl", 400 * 0.7 ** (-1 / 1.2))])
@pytest.mark.parametrize("weights", ["1/y2", "1/y", "none"])
def test_a_clean_curve_gives_its_midpoint(model: str, midpoint: float, weights: str) -> None:
    """Half occupancy for one site, the inflection for 4pl and 5pl (m g^(-1/h)), to a hundred-thousandth."""
    found, flags = fit_curve(series(ENDED, written_out(model, ENDED)), model, weights)
    assert found is not None
    assert flags == []
    assert found.midpoint.value == pytest.approx(midpoint, rel=1e-5)
    assert found.parameters["b"] == pytest.approx(50, rel=1e-4)
    assert found.parameters["t"] == pytest.approx(9000, rel=1e-5)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("noise", [0.05, 0.10])
def test_limits_cover_the_planted_midpoint(model: str, noise: float) -> None:
    """95 % limits hold the truth in 92 to 98 % of 400 curves of each model."""
    batch, midpoints = noisy(model, 400, noise)
    curves = [curve for curve, _ in fit_curves(batch, model)]
    held = [
        curve.midpoint.low <= truth <= curve.midpoint.high
        for curve, truth in zip(curves, midpoints, strict=True)
        if curve is not None and not math.isnan(curve.midpoint.low)
    ]
    assert len(held) > 360
    assert 0.92 <= np.mean(held) <= 0.98


def test_a_background_below_zero_is_found() -> None:
    """Delta of a plate whose wells without serum read -20: b is -20, and readings at or below 0 take part."""
    reading = written_out("4pl", ENDED, b=-20)
    assert (reading <= 0).sum() >= 1
    found, flags = fit_curve(series(ENDED, reading, noise=3.0), "4pl")
    assert found is not None
    assert flags == []
    assert found.parameters["b"] == pytest.approx(-20, abs=1e-3)
    assert found.midpoint.value == pytest.approx(400, rel=1e-4)


def test_noise_far_below_the_readings_weighs_wells_without_serum_little() -> None:
    """Readings of -6 and 5 without serum, noise 5: they take part and move the midpoint by less than a hundredth."""
    reading = written_out("one-site", LADDER, b=0)
    found, flags = fit_curve(series([*LADDER, math.inf, math.inf], [*reading, -6, 5], noise=5.0), "one-site")
    assert found is not None
    assert flags == []
    assert found.midpoint.value == pytest.approx(400, rel=0.01)


def test_the_floor_by_hand() -> None:
    """Noise 5 at a relative error of 10 %: 5 / 0.1 / 2 = 25. Else next to nothing, or 0.005 of the farthest."""
    assert series([1, 2], [400, 100], 5.0).floor == 25
    assert series([1, 2], [400, 100]).floor == pytest.approx(4e-7)
    assert series([1, 2], [400, -100]).floor == 2
    assert series([1, 2, 4], [400, 200, -100]).without(2).floor == 2


def test_the_batch_does_not_matter() -> None:
    """A series has the same curve alone and among others of other lengths."""
    batch, _ = noisy("4pl", 5, 0.1)
    batch[1] = series(batch[1].dilution[2:], batch[1].mfi[2:])
    batch.append(series([20, 80, 320], [900, 300, 90]))
    for one, (curve, flags) in zip(batch, fit_curves(batch, "auto"), strict=True):
        alone, alone_flags = fit_curve(one, "auto")
        assert flags == alone_flags
        if curve is not None and alone is not None:
            assert curve.midpoint.value == pytest.approx(alone.midpoint.value, rel=1e-6)
            assert curve.model == alone.model


# --- which model ----------------------------------------------------------------------------------


def test_aicc_by_hand() -> None:
    """11 points, one-site, k = 3 + 1 for the variance: n ln(rss / n) + 2 * 4 + 2 * 4 * 5 / (11 - 4 - 1)."""
    batch, _ = noisy("one-site", 1, 0.1)
    fit = fit_all(batch, "one-site", "1/y2")[0]
    assert fit.aicc == pytest.approx(11 * math.log(fit.rss / 11) + 8 + 40 / 6)


@pytest.mark.parametrize("planted", ["one-site", "4pl", "5pl"])
def test_auto_takes_the_model_that_was_planted_when_noise_is_small(planted: str) -> None:
    """Half a percent of noise: the smaller models do not explain the larger ones' curves."""
    noise = np.exp(0.005 * np.random.default_rng(3).standard_normal(len(ENDED)))
    found, _ = fit_curve(series(ENDED, written_out(planted, ENDED) * noise), "auto")
    assert found is not None
    assert found.model == planted


def test_a_larger_model_must_be_better_by_two() -> None:
    """Of 200 noisy one-site series, each is given a larger model only where that lowers AICc by 2 or more."""
    batch, _ = noisy("one-site", 200, 0.1)
    fits = {model: fit_all(batch, model, "1/y2") for model in MODELS}
    for i, (curve, _) in enumerate(fit_curves(batch, "auto", outliers="keep")):
        assert curve is not None
        aicc = {model: fits[model][i].aicc for model in MODELS}
        expected = "one-site"
        if aicc["4pl"] <= aicc["one-site"] - 2:
            expected = "4pl"
        if aicc["5pl"] <= min(aicc["4pl"], aicc["one-site"]) - 2:
            expected = "5pl"
        assert curve.model == expected
    assert sum(curve.model == "one-site" for curve, _ in fit_curves(batch, "auto") if curve) > 180


# --- what cannot be fitted, or only badly ---------------------------------------------------------


@pytest.mark.parametrize(
    ("dilution", "mfi", "flag"),
    [
        ([20, 80, 320], [900, 300, 90], "curve-too-few"),
        ([20, 80, 320, 1280, 5120], [100, 110, 105, 98, 102], "curve-flat"),
    ],
)
def test_what_cannot_be_fitted_is_said(dilution: list[float], mfi: list[float], flag: str) -> None:
    """No curve, and the reason."""
    assert fit_curve(series(dilution, mfi), "one-site") == (None, [flag])


def test_deltas_within_their_noise_are_flat() -> None:
    """A negative serum: -4 to 6 at a noise of 5 is nothing that changes with dilution."""
    assert fit_curve(series([20, 80, 320, 1280, 5120, math.inf], [6, 2, -4, 1, 3, 0], 5.0), "4pl") == (
        None,
        ["curve-flat"],
    )


def test_a_midpoint_beyond_the_tested_dilutions_is_flagged() -> None:
    """Only the far tail was measured."""
    far = LADDER[5:]
    _, flags = fit_curve(series(far, written_out("one-site", far, m=30)), "one-site")
    assert "midpoint-outside" in flags


def test_readings_that_scatter_far_about_their_curve_are_flagged() -> None:
    """Up by half and down by a third in turn: a residual SD of about 0.41, 0.30 allowed; half of it passes."""
    turn = np.where(np.arange(len(ENDED)) % 2, 1.5, 1 / 1.5)
    assert "curve-misfit" in fit_curve(series(ENDED, written_out("4pl", ENDED) * turn), "4pl")[1]
    assert "curve-misfit" not in fit_curve(series(ENDED, written_out("4pl", ENDED) * turn**0.5), "4pl")[1]


def test_a_shape_at_its_limit_is_flagged() -> None:
    """A fall from plateau to background between two dilutions is steeper than any slope that is allowed."""
    found, flags = fit_curve(series(LADDER, [9000.0] * 5 + [50.0] * 5), "4pl", outliers="keep")
    assert found is not None
    assert found.parameters["h"] == pytest.approx(4.0)
    assert "curve-at-limit" in flags


@pytest.mark.parametrize("name", ["hr1", "rbd"])
@pytest.mark.parametrize("antigen", ["2P", "2PQ"])
def test_hooked_antibodies_are_never_passed_without_a_flag(corpus: Path, name: str, antigen: str) -> None:
    """Public titrations that fall again at the highest dose: the fit does not hide it, and no dilution is left out."""
    path = corpus / "titration" / "tables" / "spike_2p_flow_titration" / f"{name}_tite.csv"
    with path.open(encoding="utf-8-sig") as file:
        rows = [row for row in csv.DictReader(file) if row["Mutant"] == antigen]
    found, flags = fit_curve(
        series([10 / float(row["Concentration"]) for row in rows], [float(row["avg"]) for row in rows]), "4pl"
    )
    assert found is None or found.off is None
    assert {"curve-misfit", "curve-at-limit"} & set(flags)


# --- against scipy --------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", ["1/y2", "1/y", "none"])
@pytest.mark.parametrize("model", MODELS)
def test_derivatives_are_those_of_small_differences(model: str, weights: str) -> None:
    """Of readings on each scale by each parameter."""
    inner = np.array([[-12.0, 8.0, 6.0, 0.3, -0.4]])[:, : len(MODELS[model])]
    log_d = np.log(LADDER)[None]
    scale = Scale(weights, np.array([[15.0]]))
    reading, derivatives = response(inner, log_d)
    ours = derivatives * scale.slope(reading)[..., None]
    for j in range(inner.shape[1]):
        step = np.zeros_like(inner)
        step[0, j] = 1e-6
        up, down = (scale.of(response(inner + sign * step, log_d)[0]) for sign in (1, -1))
        assert ours[..., j] == pytest.approx((up - down) / 2e-6, rel=1e-5, abs=1e-7)


def test_the_model_for_others_is_the_model_that_is_fitted() -> None:
    """`predict` of natural parameters equals the fitted curve, at infinite dilution the background."""
    inner = np.array([[-12.0, 8.0, 6.0, 0.3, -0.4]])
    with np.errstate(divide="ignore"):
        fitted = response(inner, np.minimum(np.log(ENDED), 1e9)[None])[0][0]
    assert predict(to_natural(inner[0]), ENDED) == pytest.approx(fitted, rel=1e-12)
    assert predict(to_natural(inner[0]), np.array(math.inf)) == -12.0


@settings(deadline=None, max_examples=40, derandomize=True)
@given(
    st.sampled_from(list(MODELS)),
    st.sampled_from(["1/y2", "1/y", "none"]),
    st.integers(0, 10_000),
    st.floats(0.01, 0.4),
    st.integers(6, 11),
)
def test_scipy_finds_no_better_optimum(model: str, weights: str, seed: int, noise: float, n: int) -> None:
    """Same objective, same limits: from our optimum and from four places around it, scipy ends no lower."""
    (whole,), _ = noisy(model, 1, noise, seed)
    one = series(whole.dilution[-n:], whole.mfi[-n:])
    fit = fit_all([one], model, weights)[0]
    scale = Scale(weights, np.array(one.floor))
    log_d = np.minimum(np.log(one.dilution), 1e9)[None]

    def residuals(inner: np.ndarray) -> np.ndarray:
        return scale.of(response(inner[None], log_d)[0][0]) - scale.of(one.mfi)

    low, high = limits_of(one, model).T
    assert float((residuals(fit.parameters) ** 2).sum()) == pytest.approx(fit.rss, rel=1e-9, abs=1e-12)
    rng = np.random.default_rng(seed)
    margin = 1e-9 * (high - low)
    for spread in (0.0, 0.3, 0.3, 1.0, 1.0):
        steps = spread * rng.standard_normal(len(low)) * np.array([0.02 * np.ptp(one.mfi), 1, 1, 0.5, 0.5])[: len(low)]
        start = np.clip(fit.parameters + steps, low + margin, high - margin)
        theirs = least_squares(residuals, start, bounds=(low, high), x_scale="jac", ftol=1e-12, xtol=1e-12)
        assert fit.rss <= 2 * theirs.cost * (1 + 1e-6) + 1e-12


# --- published values -----------------------------------------------------------------------------


def starr(corpus: Path, table: Callable) -> list[tuple[str, Series, float]]:
    """(titration, points, the authors' Kd) of a public table; 1e-7 M is dilution 1; rows without a dose are left."""
    folder = corpus / "titration" / "tables" / "starr_rbd_ace2"
    published = {row["titration"]: float(row["Kd"]) for row in table(folder / "isogenic_titrations_summary.csv")}
    rows = [row for row in table(folder / "homolog_validations.csv") if "NA" not in (row["conc_M"], row["mean_bin"])]
    rows += [{**row, "titration": "wt_pooled"} for row in rows if row["expt"] == "200501"]
    result = []
    for name, affinity in published.items():
        mine = [row for row in rows if row["titration"] == name]
        dose = np.array([float(row["conc_M"]) for row in mine])
        dilution = np.divide(1e-7, dose, out=np.full(len(dose), math.inf), where=dose > 0)
        result.append((name, series(dilution, [float(row["mean_bin"]) for row in mine]), affinity))
    return result


def test_the_affinities_of_a_public_table_come_out_to_three_digits(corpus: Path, table: Callable) -> None:
    """All eleven of Starr 2020, by their own rule.

    Unweighted, all doses and the zero dose, mean_bin = a L / (L + Kd) + b; a 2 to 3, b 1 to 1.5, Kd 1e-15 to 1e-5 (two
    homologs that do not bind stand at that end).
    """
    named = starr(corpus, table)
    limits = np.array([[1, 1.5], [math.log(2), math.log(3)], [math.log(1e-7 / 1e-5), math.log(1e-7 / 1e-15)]])
    fits = fit_all([one for _, one, _ in named], "one-site", "none", limits)
    assert len(fits) == 11
    for (name, _, affinity), fit in zip(named, fits, strict=True):
        assert 1e-7 / math.exp(fit.parameters[2]) == pytest.approx(affinity, rel=5e-4), name


def test_the_same_table_comes_out_with_our_own_limits(corpus: Path, table: Callable) -> None:
    """Whoever sets weights to none gets the authors' Kd within half a percent; the two that do not bind are flat."""
    for name, one, affinity in starr(corpus, table):
        found, flags = fit_curve(one, "one-site", "none")
        if affinity == 1e-5:
            assert flags == ["curve-flat"]
        else:
            assert found is not None
            assert 1e-7 / found.midpoint.value == pytest.approx(affinity, rel=5e-3), name


def ly_plate(corpus: Path, table: Callable, wells: str) -> Series:
    """Independent medians of a public titration; 1e-7 M is dilution 1; no antibody is infinite dilution."""
    rows = {row["well"]: row for row in table(corpus / "titration" / "ly_plate_20220305" / "expected_wells.csv")}
    used = [rows[well] for well in wells.split()]
    dilution = [10 ** (-7 - float(row["log10_conc"])) for row in used] + [math.inf]
    return series(dilution, [float(row["median_PE_gated_comp"]) for row in [*used, rows["C10"]]])


@pytest.mark.parametrize(("antibody", "wells", "published"), ANTIBODIES)
def test_published_medians_give_the_published_affinity(
    corpus: Path, table: Callable, antibody: str, wells: str, published: float
) -> None:
    """Within 0.10 in log10 KD of the authors, and the well that failed need not be named."""
    found, flags = fit_curve(ly_plate(corpus, table, wells), "one-site")
    assert found is not None
    assert -7 - math.log10(found.midpoint.value) == pytest.approx(published, abs=0.10)
    assert ("off-curve" in flags) == (antibody == "LY-CoV555")


def test_a_well_that_lost_its_signal_changes_nothing_else(corpus: Path, table: Callable) -> None:
    """LY-CoV555 with its failed A2 and without: the same midpoint; A2 is named with what was expected there."""
    found, _ = fit_curve(ly_plate(corpus, table, "A2 A3 A4 A5 A6 A7"), "one-site")
    without, flags = fit_curve(ly_plate(corpus, table, "A3 A4 A5 A6 A7"), "one-site")
    assert found is not None
    assert found.off is not None
    assert without is not None
    assert flags == []
    assert found.midpoint.value == pytest.approx(without.midpoint.value, rel=1e-6)
    assert found.off.dilution == pytest.approx(1.0)
    assert found.off.factor > 500


def test_the_failed_well_of_another_plate_is_found(corpus: Path, table: Callable) -> None:
    """ACE2 plate: C5 (1e-7 M, dilution 10 of 1e-6 M) is off; the rest gives -9.21 of the authors within 0.10."""
    rows = table(corpus / "titration" / "ace2_plate_20220210" / "expected_wells.csv")
    dilution = [10 ** (-6 - float(row["log10_conc"])) for row in rows]
    found, flags = fit_curve(series(dilution, [float(row["median_PE_gated_comp"]) for row in rows]), "4pl")
    assert found is not None
    assert found.off is not None
    assert flags == ["off-curve"]
    assert found.off.dilution == pytest.approx(10.0)
    assert -6 - math.log10(found.midpoint.value) == pytest.approx(-9.21, abs=0.10)


def test_medians_of_gated_events_give_nearly_the_published_affinity(corpus: Path) -> None:
    """-9.088 of the authors within 0.05; they share an offset with strains that are not in this folder."""
    folder = corpus / "titration" / "ace2_220314_gated_events_csv"
    medians = []
    for well in range(1, 7):
        (path,) = folder.glob(f"B0{well}_*.csv")
        with path.open() as file:
            medians.append(float(np.median([float(row["PE-A"]) for row in csv.DictReader(file)])))
    found, flags = fit_curve(series(10.0 ** np.arange(6), medians), "one-site")
    assert found is not None
    assert flags == []
    assert -7 - math.log10(found.midpoint.value) == pytest.approx(-9.088, abs=0.05)


def test_a_published_hill_curve_comes_out_on_the_linear_scale(corpus: Path, table: Callable) -> None:
    """Induced yeast, unweighted: top 2705.1, bottom -16.0, EC50 0.1699, slope 1.483, to their last digit."""
    folder = corpus / "dose_response" / "yeast_ip"
    rows = table(folder / "expected_files.csv")
    dilution = [1 / float(row["IP_uM"]) for row in rows]
    found, flags = fit_curve(series(dilution, [float(row["median_FITC_A"]) for row in rows]), "4pl", "none")
    assert found is not None
    assert flags == []
    assert found.parameters["b"] == pytest.approx(-16.0, abs=0.05)
    assert found.parameters["b"] + found.parameters["t"] == pytest.approx(2705.1, abs=0.05)
    assert 1 / found.midpoint.value == pytest.approx(0.1699, abs=5e-5)
    assert found.parameters["h"] == pytest.approx(1.483, abs=5e-4)


# --- the parameters of R's drc --------------------------------------------------------------------


def drc_ll5(x: float, b: float, c: float, d: float, e: float, f: float) -> float:
    """c + (d - c) / (1 + exp(b (ln x - ln e)))^f, as Ritz 2015 gives LL.5; LL.4 has f = 1, LL.3 c = 0 too."""
    return c + (d - c) / (1 + math.exp(b * (math.log(x) - math.log(e)))) ** f


def test_our_parameters_are_those_of_drc() -> None:
    """b = h, c = b, d = b + t, e = m, f = g over dilution; over dose 1/d the slope changes its sign and e is 1/m.

    By hand: b 100, t 900, m 200, h 1 at dilution 200 is 100 + 900 / 2 = 550 (LL.4); with g 2 it is 100 + 900 / 4 = 325
    (LL.5), so e is not the ED50: half of the span lies at m (2^(1/g) - 1)^(1/h) = 200 * 0.414214 = 82.8427.
    """
    assert drc_ll5(200, 1, 100, 1000, 200, 1) == pytest.approx(550)
    assert drc_ll5(200, 1, 100, 1000, 200, 2) == pytest.approx(325)
    assert drc_ll5(82.8427, 1, 100, 1000, 200, 2) == pytest.approx(550, rel=1e-6)
    for b, t, m, h, g in [(100, 900, 200, 1, 1), (100, 900, 200, 1, 2), (-16, 2721, 5.9, 1.48, 0.7), (0, 50, 3, 2, 1)]:
        for dilution in (0.5, 20.0, 4000.0):
            ours = float(predict(np.array([b, t, m, h, g], float), np.array(dilution)))
            assert drc_ll5(dilution, h, b, b + t, m, g) == pytest.approx(ours)
            assert drc_ll5(1 / dilution, -h, b, b + t, 1 / m, g) == pytest.approx(ours)


# --- a plate --------------------------------------------------------------------------------------


def plate_row(serum: str, dilution: float, specific: float, everywhere: float) -> Reactivity:
    """One serum at one dilution: `specific` shift over what binds everywhere; delta known within a tenth."""
    delta = Estimate(specific, specific * 0.9, specific * 1.1)
    medians = specific + everywhere, everywhere
    ratio = Estimate(2, 1, 3)
    return Reactivity("P", serum, Role.SAMPLE, dilution, 2, *medians, delta, ratio, 2, NAN, 100, 1.5, Status.POSITIVE)


def unserved(well: str, delta: float) -> Reading:
    """A well without serum: 100 of background and a delta, known within 2."""
    shift = Estimate(delta, delta - 2, delta + 2)
    bright = Estimate(100 + delta, 98 + delta, 102 + delta)
    return Reading(Well("P", well, "", Role.SECONDARY_ONLY), 5000, {}, bright, Estimate(100), shift, Estimate(1))


def test_the_curve_of_delta_does_not_hold_what_binds_everywhere() -> None:
    """Half occupancy at 1:640, non-specific binding of half-dilution 1:25: delta tells them apart, the MFI cannot."""
    ladder = 20 * 4.0 ** np.arange(6)
    rows = [plate_row("S", d, 10_000 / (1 + d / 640), 100 + 60_000 / (1 + d / 25)) for d in ladder]
    wells = [unserved("A1", 2.0), unserved("A2", -2.0)]
    none = CutOffs(None, None, None, 0)

    def midpoint(**settings: str) -> float:
        rules = Rules("delta", CurveSettings(model="one-site", **settings), 200, 1)
        curve = titrate(rows, none, wells, rules)[0].curve
        assert curve is not None
        return curve.midpoint.value

    assert midpoint() == midpoint(signal="delta") == pytest.approx(640, rel=0.01)
    assert midpoint(signal="expressing") < 320


def test_the_noise_of_a_plate_is_that_of_its_wells_without_serum() -> None:
    """Deltas 6 and -6: SD 6 sqrt 2, more than their counting error 4 / 3.92. Without such wells: the smallest error."""
    rows = [plate_row("S", d, 10_000 / (1 + d / 640), 100) for d in (20, 80, 320)]
    signal = CurveSettings().signal
    wells = [unserved("A1", 6.0).delta, unserved("A2", -6.0).delta]
    assert plate_series(rows, wells, signal).noise == pytest.approx(6 * math.sqrt(2))
    assert plate_series(rows, wells[:1], signal).noise == pytest.approx(4 / 3.92, rel=1e-3)
    smallest = 10_000 / (1 + 320 / 640)
    assert plate_series(rows, [], signal).noise == pytest.approx(0.2 * smallest / 3.92, rel=1e-3)


def test_a_saturated_dilution_is_no_point_of_a_curve() -> None:
    """Truth 1:640 from 10,000; 1:20 and 1:80 stand at 4000, the top of a range. Without them the midpoint is exact."""
    ladder = 20 * 4.0 ** np.arange(6)
    rows = [plate_row("S", d, 10_000 / (1 + d / 640), 100) for d in ladder]
    capped = [replace(plate_row("S", d, 4000, 100), flags=("saturated",)) for d in ladder[:2]]
    rules = Rules("delta", CurveSettings(model="one-site"), 200, 1)
    none, wells = CutOffs(None, None, None, 0), [unserved("A1", 2.0), unserved("A2", -2.0)]
    (found,) = titrate([*capped, *rows[2:]], none, wells, rules)
    assert found.curve is not None
    assert found.curve.midpoint.value == pytest.approx(640, rel=0.01)
    assert "curve-saturated" in found.flags
    (check,) = saturated_curve_checks([found], [*capped, *rows[2:]])
    assert (check.scope, check.subject, check.verdict) == ("serum", "P/S", Verdict.WARN)
    assert "1:20 and 1:80" in check.message or "1:20, 1:80" in check.message
    (few,) = titrate([*capped, rows[2]], none, wells, rules)
    assert few.curve is None
    assert {"curve-saturated", "curve-too-few"} <= set(few.flags)
    (clean,) = titrate(rows, none, wells, rules)
    assert "curve-saturated" not in clean.flags
    assert saturated_curve_checks([clean], rows) == []


# --- strays ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.03, 0.08, 0.15])
def test_clean_series_have_no_strays(noise: float) -> None:
    """Fewer than 1 % of 1,000."""
    batch, _ = noisy("4pl", 1000, noise)
    assert sum("off-curve" in flags for _, flags in fit_curves(batch, "4pl")) < 10


@pytest.mark.parametrize("position", range(7))
def test_a_planted_failure_is_found_where_it_stands(position: int) -> None:
    """A reading a tenth of what it should be, on the plateau or the slope: found, named, and the midpoint holds."""
    reading = written_out("4pl", ENDED, m=3000) * np.exp(0.05 * np.random.default_rng(1).standard_normal(len(ENDED)))
    clean, _ = fit_curve(series(ENDED, reading), "4pl")
    reading[position] /= 10
    found, flags = fit_curve(series(ENDED, reading), "4pl")
    assert found is not None
    assert found.off is not None
    assert clean is not None
    assert flags == ["off-curve"]
    assert found.off.dilution == ENDED[position]
    assert found.off.factor == pytest.approx(10, rel=0.35)
    assert found.off.reading == pytest.approx(reading[position])
    assert clean.midpoint.low < found.midpoint.value < clean.midpoint.high


@pytest.mark.parametrize(("factor", "off"), [(1.85, False), (2.3, True)])
def test_a_stray_is_off_by_a_factor_of_two_or_more(factor: float, off: bool) -> None:
    """Without any noise: chance explains neither, but less than two-fold is nothing to leave a dilution out for."""
    reading = written_out("4pl", ENDED)
    reading[4] *= factor
    assert ("off-curve" in fit_curve(series(ENDED, reading), "4pl")[1]) == off


@pytest.mark.parametrize(("scatter", "off"), [(0.02, True), (0.35, False)])
def test_a_stray_is_more_than_chance(scatter: float, off: bool) -> None:
    """2.5-fold is far where the others scatter by 2 %, and not where they scatter by 35 % in turn."""
    reading = written_out("4pl", ENDED) * np.exp(scatter * (-1.0) ** np.arange(len(ENDED)))
    reading[4] = written_out("4pl", ENDED)[4] * 2.5
    assert ("off-curve" in fit_curve(series(ENDED, reading), "4pl")[1]) == off


def test_a_stray_may_be_kept() -> None:
    """`outliers = keep`: the same flag and the same two midpoints, and the curve goes through all points."""
    reading = written_out("4pl", ENDED)
    reading[3] /= 10
    left, _ = fit_curve(series(ENDED, reading), "4pl")
    kept, flags = fit_curve(series(ENDED, reading), "4pl", outliers="keep")
    assert left is not None
    assert kept is not None
    assert left.off is not None
    assert kept.off is not None
    assert "off-curve" in flags
    assert kept.midpoint == kept.off.midpoint_with == left.off.midpoint_with
    assert left.midpoint == left.off.midpoint_without == kept.off.midpoint_without
    assert left.midpoint.value == pytest.approx(400, rel=1e-3)
    assert (left.off.left_out, kept.off.left_out) == (True, False)


def test_a_hook_that_two_dilutions_share_is_no_stray() -> None:
    """The first two dilutions at a third and at six tenths of the plateau, ten noisy series: none is left out."""
    rng = np.random.default_rng(5)
    batch = []
    for _ in range(10):
        reading = written_out("4pl", ENDED, m=3000) * np.exp(0.05 * rng.standard_normal(len(ENDED)))
        reading[:2] *= [1 / 3, 0.6]
        batch.append(series(ENDED, reading))
    assert not any("off-curve" in flags for _, flags in fit_curves(batch, "4pl"))


def test_weak_sera_have_no_strays() -> None:
    """1,000 midpoints from a thirtieth of the first dilution to the last, 10 % error: at most 2."""
    rng = np.random.default_rng(7)
    ended = np.array([*LADDER, math.inf, math.inf, math.inf])
    batch = []
    for _ in range(1000):
        m, t, h = LADDER[0] * 30 ** rng.uniform(-1, 2), 10 ** rng.uniform(3, 4.5), rng.uniform(0.7, 1.6)
        clean = rng.uniform(50, 200) + t / (1 + (ended / m) ** h)
        batch.append(series(ended, clean * np.exp(0.1 * rng.standard_normal(len(ended)))))
    assert sum("off-curve" in flags for _, flags in fit_curves(batch, "4pl")) <= 2


def test_too_few_dilutions_leave_nothing_to_compare_with() -> None:
    """Four dilutions and one-site: three would be left for three parameters."""
    _, flags = fit_curve(series([1, 10, 100, 1000], [50, 9000, 5000, 900]), "one-site")
    assert "off-curve" not in flags


def test_a_stray_is_a_check_that_says_all_of_it() -> None:
    """Which serum, which dilution, how far, what was done, and both midpoints."""
    reading = written_out("4pl", ENDED)
    reading[3] /= 10
    curve, flags = fit_curve(series(ENDED, reading), "4pl")
    row = Titration("P1", "S1", Role.SAMPLE, "delta", 1.0, None, None, curve, tuple(flags))
    silent = Titration("P1", "S2", Role.SAMPLE, "delta", 1.0, None, None, None)
    (check,) = off_curve_checks([row, silent])
    assert (check.scope, check.subject, check.check, check.verdict) == ("serum", "P1/S1", "off-curve", Verdict.WARN)
    assert check.value == pytest.approx(10, rel=0.01)
    for words in ("1:270", "10-fold below", "left out of the curve only", "without it 400"):
        assert words in check.message


# --- draws ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", MODELS)
def test_draws_of_parameters_span_the_limits_of_the_midpoint(model: str) -> None:
    """2.5 and 97.5 % of 20,000 drawn midpoints are the midpoint's limits; the same seed gives the same draws.

    Less noise for 5pl, whose midpoint bends over wider errors of g and h.
    """
    batch, _ = noisy(model, 1, 0.01 if model == "5pl" else 0.05, seed=4)
    curve, _ = fit_curve(batch[0], model)
    assert curve is not None
    drawn = parameter_draws(curve, 20_000, np.random.default_rng(1))
    assert drawn.shape == (20_000, 5)
    assert np.array_equal(drawn, parameter_draws(curve, 20_000, np.random.default_rng(1)))
    midpoints = drawn[:, 2] * drawn[:, 4] ** (-1 / drawn[:, 3])
    low, high = np.quantile(midpoints, [0.025, 0.975])
    assert low == pytest.approx(curve.midpoint.low, rel=0.05)
    assert high == pytest.approx(curve.midpoint.high, rel=0.05)
    names = ["b", "t", "m", "h", "g"]
    for j, name in enumerate(names):
        assert np.median(drawn[:, j]) == pytest.approx(curve.parameters.get(name, 1.0), rel=0.05)
    assert (drawn[:, len(MODELS[model]) :] == 1).all()


def test_draws_have_the_tails_of_few_points() -> None:
    """Six points and three parameters: t(0.975, 3) = 3.18246 standard errors, where a normal law has 1.96."""
    curve, _ = fit_curve(
        series(LADDER[2:8], written_out("one-site", LADDER[2:8]) * np.tile([1.01, 0.99], 3)), "one-site"
    )
    assert curve is not None
    drawn = np.log(parameter_draws(curve, 20_000, np.random.default_rng(1))[:, 2])
    error = math.log(curve.midpoint.high / curve.midpoint.value) / 3.18246
    assert np.quantile(drawn, 0.975) - math.log(curve.midpoint.value) == pytest.approx(3.18 * error, rel=0.06)


def test_draws_stay_within_the_limits_of_the_parameters() -> None:
    """Three points beyond nothing: no error to draw from. And h never leaves 0.3 to 4."""
    curve, _ = fit_curve(series(LADDER[:6], [9000, 8000, 9500, 6000, 900, 300]), "4pl")
    assert curve is not None
    drawn = parameter_draws(curve, 2000, np.random.default_rng(1))
    assert drawn[:, 3].min() >= 0.3 - 1e-12
    assert drawn[:, 3].max() <= 4 + 1e-12
    bare = Curve("one-site", curve.midpoint, {}, 0.1)
    assert np.isnan(parameter_draws(bare, 10, np.random.default_rng(1))).all()
