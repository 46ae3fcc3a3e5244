"""The dark population and the mixture by themselves: on laws whose true shares are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture

from aqp4flow.cytometry.dark import dark_population, mode
from aqp4flow.cytometry.mixture import fit_mixture
from aqp4flow.cytometry.scale import asinh_of, rounded

Floats = NDArray[np.float64]


def cells(
    n: int, transfected: float, level: float = 8_000.0, seed: int = 0, tail: float = 0.30
) -> tuple[Floats, Floats]:
    """Light of a reporter and whether each cell has it: autofluorescence with a tail, a broad bright law, noise."""
    draw = np.random.default_rng(seed)
    has = draw.random(n) < transfected
    light = 200 * draw.lognormal(0, tail, n) + 25 * draw.standard_normal(n)
    return light + np.where(has, level * draw.lognormal(0, 0.8, n), 0.0), has


@pytest.mark.parametrize("transfected", [0.05, 0.10, 0.30, 0.52, 0.80, 0.95])
@pytest.mark.parametrize("level", [3_000.0, 15_000.0])
def test_the_border_loses_as_many_as_it_gains(transfected: float, level: float) -> None:
    """Too many or too few above the border are at most 5 % of the bright cells and 12 % of the dark ones.

    A law without a shoulder is the harder one here: the border expects one. A median moves by half of such a share.
    """
    light, has = cells(40_000, transfected, level)
    scale = asinh_of(light)
    found = dark_population(scale.forward(light))
    border = rounded(scale.back(found.balance()))
    gained, lost = np.sum(~has & (light > border)), np.sum(has & (light <= border))
    assert abs(gained - lost) < 0.05 * has.sum()
    assert abs(gained - lost) < 0.12 * np.sum(~has)
    assert found.others == pytest.approx(transfected, abs=0.02)


def test_a_shoulder_goes_on_below_the_valley() -> None:
    """Dim cells as dense from the dark ones to the bright ones: few are lost but those that hide among dark ones."""
    draw = np.random.default_rng(9)
    dark, bright = draw.normal(1.5, 0.35, 10_000), draw.normal(6.5, 0.7, 9_000)
    dim = draw.uniform(0.8, 6.0, 2_500)
    border = dark_population(np.concatenate([dark, bright, dim])).balance()
    gained, lost = np.sum(dark > border), np.sum(dim <= border) + np.sum(bright <= border)
    assert abs(gained - lost) < 0.075 * 11_500


def test_cells_that_are_dark_alone_show_the_tail() -> None:
    """A heavy tail of autofluorescence counts as dark once it was seen alone; without that it passes for dim cells."""
    light, has = cells(60_000, 0.10, tail=0.8, seed=1)
    alone, _ = cells(20_000, 0.0, tail=0.8, seed=2)
    scale = asinh_of(light)

    def wrong(border: float) -> float:
        return float(np.sum(~has & (scale.forward(light) > border)) / has.sum())

    knowing = dark_population(scale.forward(light), alone=scale.forward(alone))
    assert knowing.others == pytest.approx(0.10, abs=0.01)
    assert knowing.border == "wells"
    assert wrong(knowing.balance()) < 0.05
    without = dark_population(scale.forward(light))
    assert abs(without.others - 0.10) > abs(knowing.others - 0.10)


def test_dark_cells_alone_have_no_others() -> None:
    light, _ = cells(20_000, 0.0)
    found = dark_population(asinh_of(light).forward(light))
    assert found.others < 0.01


def test_events_at_the_floor_are_dark_cells_when_nothing_leads_away_from_them() -> None:
    """An analogue cytometer puts all dark cells on its first channel: the bright ones are the only peak left."""
    draw = np.random.default_rng(3)
    bright = np.log(1_000 * draw.lognormal(0, 0.6, 6_000))
    found = dark_population(bright, at_floor=0.4)
    assert found.balance() + 1.5 * found.above < np.quantile(bright, 0.01)


def test_events_at_the_floor_are_the_tail_of_a_population_that_goes_on_from_them() -> None:
    draw = np.random.default_rng(4)
    dark, bright = draw.normal(0.4, 0.4, 10_000), draw.normal(5, 0.7, 5_000)
    shown = dark[dark > 0]
    every = np.concatenate([shown, bright])
    found = dark_population(every, at_floor=1 - len(every) / 15_000)
    assert found.peak == pytest.approx(0.4, abs=0.1)
    assert 1.5 < found.balance() < 3.5


def test_dark_cells_that_no_valley_parts_are_found_as_a_step() -> None:
    """A twentieth of dark cells runs into a shoulder as dense as themselves."""
    draw = np.random.default_rng(5)
    dark, shoulder, bright = draw.normal(1, 0.5, 1_000), draw.triangular(0, 6, 6, 9_000), draw.normal(6, 0.8, 17_000)
    found = dark_population(np.concatenate([dark, shoulder, bright]), zero=0.0)
    assert 0.3 < found.balance() < 2.5
    assert found.border == "step"


def test_noise_around_no_light_is_no_step_of_cells() -> None:
    """Live cells whose dye is all noise have a long dark side on the arcsinh scale; they are one population."""
    for seed in range(8):
        light = np.random.default_rng(seed).normal(150, 120, 4_000)
        scale = asinh_of(light)
        found = dark_population(scale.forward(light), zero=0.0)
        assert scale.back(found.peak) > 0
        assert found.others < 0.02


@pytest.mark.parametrize("factor", [1e-3, 1.0, 64.0, 1e4])
def test_the_border_moves_with_the_gain(factor: float) -> None:
    light, _ = cells(20_000, 0.4)
    scale, scaled = asinh_of(light), asinh_of(light * factor)
    border = dark_population(scale.forward(light)).balance()
    assert scaled.cofactor == pytest.approx(scale.cofactor * factor)
    assert dark_population(scaled.forward(light * factor)).balance() == pytest.approx(border, abs=1e-6)


def test_the_mode_is_where_most_lie() -> None:
    draw = np.random.default_rng(6)
    assert mode(np.concatenate([draw.normal(3, 0.1, 5_000), draw.uniform(-10, 10, 5_000)])) == pytest.approx(3, abs=0.1)


def planted_mixture(n: int) -> Floats:
    draw = np.random.default_rng(7)
    first = draw.multivariate_normal([4.2, 4.0], [[0.04, 0.01], [0.01, 0.06]], int(0.5 * n))
    second = draw.multivariate_normal([4.9, 4.6], [[0.004, 0.001], [0.001, 0.006]], int(0.4 * n))
    third = draw.multivariate_normal([4.7, 4.9], [[0.003, 0.0], [0.0, 0.006]], int(0.1 * n))
    return np.concatenate([first, second, third])


def test_a_mixture_comes_out_as_it_was_planted_and_as_another_program_finds_it() -> None:
    """Weights and means against the planted ones, and against scikit-learn's mixture of as many components."""
    points = planted_mixture(30_000)
    found = fit_mixture(points, 6)
    order = np.argsort(found.weights)[::-1]
    assert found.weights[order] == pytest.approx([0.5, 0.4, 0.1], abs=0.015)
    assert found.means[order] == pytest.approx(np.array([[4.2, 4.0], [4.9, 4.6], [4.7, 4.9]]), abs=0.015)
    theirs = GaussianMixture(3, random_state=0, n_init=3).fit(points)
    ranks = np.argsort(theirs.weights_)[::-1]
    assert found.weights[order] == pytest.approx(theirs.weights_[ranks], abs=0.01)
    assert found.covariances[order] == pytest.approx(theirs.covariances_[ranks], abs=0.002)


def test_a_mixture_is_the_same_every_time_and_however_the_events_are_ordered() -> None:
    points = planted_mixture(5_000)
    first, second = fit_mixture(points, 4), fit_mixture(points[::-1].copy(), 4)
    assert np.array_equal(first.means, second.means)
    assert np.array_equal(first.weights, second.weights)


def test_densities_are_those_of_the_normal_law() -> None:
    """At its mean a component of weight 1 has density 1 / (2 pi sqrt(det))."""
    draw = np.random.default_rng(8)
    found = fit_mixture(draw.multivariate_normal([0, 0], [[1, 0.3], [0.3, 0.5]], 20_000), 1)
    (covariance,) = found.covariances
    at_mean = found.densities(found.means)[0, 0]
    assert at_mean == pytest.approx(1 / (2 * math.pi * math.sqrt(np.linalg.det(covariance))))
