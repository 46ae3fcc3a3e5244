"""Plates of known difficulty, for learned gates to be tried on: every event's label and every well's true shift.

Two kinds of cells. `cells="simulator"` are those of `aqp4flow.simulate` (skewed scatter, a dim shoulder of the
reporter). `cells="other"` share nothing with it: two sizes of cells, debris that runs into them, a reporter whose
shoulder reaches down into the dark cells, autofluorescence with a tail, dying cells of every brightness.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import lru_cache
from types import SimpleNamespace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from aqp4flow.cytometry.gates import Columns, GateChannels
from aqp4flow.model import Channel, Spillover, Values
from aqp4flow.simulate.binding import Brightness, Clone, Serum, bound_signal
from aqp4flow.simulate.cells import Expression, Kind, Mix, draw_tube
from aqp4flow.simulate.cytometer import CHANNELS, Cytometer, acquire

Cytometers = Literal["digital", "width", "no height", "no viability", "analogue", "24-bit"]
NAMES = tuple(channel.name for channel in CHANNELS[:6])
FORWARD, HEIGHT, SIDE, REPORTER, VIABILITY, SIGNAL = NAMES


@dataclass(frozen=True)
class Case:
    """One cell of the grid. `drift`: change of gains from the first to the last well; `spill`: reporter -> signal."""

    name: str
    cells: Literal["simulator", "other"] = "simulator"
    cytometer: Cytometers = "digital"
    debris: float = 0.20
    dead: float = 0.08
    transfected: float = 0.52
    dim_share: float = 0.10
    level: float = 15_000.0
    spill: float = 0.001
    events: int = 5_000
    drift: float = 0.0
    dark_control: bool = False
    wells: int = 24
    seed: int = 0

    @property
    def channels(self) -> GateChannels:
        """The channels this cytometer stores."""
        has = {"digital", "24-bit"}
        return GateChannels(
            FORWARD,
            SIDE,
            forward_height=HEIGHT if self.cytometer in has | {"no viability"} else None,
            forward_width="FSC-W" if self.cytometer == "width" else None,
            viability=VIABILITY if self.cytometer not in ("no viability", "analogue") else None,
            reporter=REPORTER,
        )


@dataclass(frozen=True)
class LabelledWell:
    """A well's columns, the labels of its events, and the shift that endless cells without noise would show."""

    columns: Columns
    expressing: NDArray[np.bool_]
    nonexpressing: NDArray[np.bool_]
    cell: NDArray[np.bool_]
    single: NDArray[np.bool_]
    live: NDArray[np.bool_]
    true_delta: float
    role: str


@dataclass(frozen=True)
class _Drawn:
    values: Values  # (n, 6) in the order of NAMES, as a digital cytometer sees them
    kind: NDArray[np.int8]
    expressing: NDArray[np.bool_]
    clean: Values = field(repr=False)


#: Occupied share of the antigen in the wells of a plate, from a negative serum to a strong one.
OCCUPIED = (0.0, 0.03, 0.12, 0.4, 0.8)


def draw_plate(case: Case) -> list[LabelledWell]:
    """The wells of a plate: sera of each strength in turn, and two wells of untransfected cells where asked for."""
    wells = []
    for number in range(case.wells):
        occupied = OCCUPIED[number % len(OCCUPIED)]
        gain = 1 + case.drift * (number / max(1, case.wells - 1) - 0.5)
        wells.append(_labelled(case, occupied, gain, number, "serum"))
    if case.dark_control:
        dark = replace(case, transfected=0.0)
        wells += [_labelled(dark, 0.0, 1.0, case.wells + number, "dark") for number in range(2)]
    return wells


def _labelled(case: Case, occupied: float, gain: float, number: int, role: str) -> LabelledWell:
    rng = np.random.default_rng((case.seed, number))
    drawn = _draw(case, rng, case.events, occupied, only_cells=False)
    values = drawn.values * gain
    single = np.isin(drawn.kind, (Kind.LIVE, Kind.DEAD))
    live = drawn.kind != Kind.DEAD
    good = drawn.kind == Kind.LIVE
    names, stored, scale = _stored(case.cytometer, values)
    columns = dict(zip(names, stored.T, strict=True))
    channels = tuple(Channel(i, name) for i, name in enumerate(names, 1))
    events = SimpleNamespace(count=len(values), channels=channels, column=columns.__getitem__)
    return LabelledWell(
        Columns(events, _matrix(case)),
        good & drawn.expressing,
        good & ~drawn.expressing,
        drawn.kind != Kind.DEBRIS,
        single,
        live,
        _true_delta(_law(case), occupied) * gain * scale if role == "serum" else math.nan,
        role,
    )


def _law(case: Case) -> Case:
    """The case without what does not change the law of its cells."""
    return replace(case, name="", events=0, wells=0, drift=0.0, seed=0, dark_control=False)


@lru_cache(maxsize=256)
def _true_delta(case: Case, occupied: float) -> float:
    drawn = _draw(case, np.random.default_rng(77), 200_000, occupied, only_cells=True)
    good = drawn.kind == Kind.LIVE
    return float(np.median(drawn.clean[good & drawn.expressing]) - np.median(drawn.clean[good & ~drawn.expressing]))


def _matrix(case: Case) -> Spillover:
    matrix = np.array([[1.0, 0.032, case.spill], [0.002, 1.0, 0.021], [0.0, 0.011, 1.0]])
    return Spillover((REPORTER, VIABILITY, SIGNAL), matrix, "planted")


def _stored(cytometer: Cytometers, values: Values) -> tuple[tuple[str, ...], Values, float]:
    """What the cytometer writes: names, linear values, and the factor from digital units to its own."""
    if cytometer == "width":
        width = 65_536 * values[:, 0] / np.maximum(values[:, 1], 1.0)
        return (*NAMES, "FSC-W"), np.column_stack([values, width]), 1.0
    if cytometer == "24-bit":
        return NAMES, np.floor(np.minimum(values * 8, 2**24 - 1)), 8.0
    if (
        cytometer == "analogue"
    ):  # 10 bits: scatter linear, fluorescence on four decades, nothing below the first channel
        scatter = np.clip(np.floor(values[:, :3] / 256), 0, 1023)
        light = values[:, 3:] / 26.0
        steps = np.clip(np.floor(256 * np.log10(np.maximum(light, 1.0))), 0, 1023)
        return NAMES, np.column_stack([scatter, 10 ** (steps / 256)]), 1 / 26.0
    return NAMES, values, 1.0


def _draw(case: Case, rng: np.random.Generator, n: int, occupied: float, *, only_cells: bool) -> _Drawn:
    return (_simulated if case.cells == "simulator" else _other)(case, rng, n, occupied, only_cells)


def _simulated(case: Case, rng: np.random.Generator, n: int, occupied: float, only_cells: bool) -> _Drawn:
    mix = Mix(case.debris, case.dead, 0.06, case.transfected)
    if only_cells:
        mix = Mix(0.0, 0.0, 0.0, case.transfected)
    expression = Expression(level=case.level, dim_level=case.level / 10, dim_share=case.dim_share)
    tube = draw_tube(rng, n, mix, expression)
    serum = Serum(
        "s", "sample", 1.0 if occupied else 0.0, 1.0, (Clone(1.0, (1 - occupied) / occupied),) if occupied else ()
    )  # type: ignore[arg-type]
    light = np.zeros((len(tube.particles), 3))
    light[:, 0] = tube.particles.reporter
    light[:, 1] = tube.particles.viability
    light[:, 2] = bound_signal(tube.particles, serum, 1.0, Brightness(nonspecific=1_000.0, nonspecific_half=1.0))
    acquired = acquire(rng, tube, light, 1.0, Cytometer(spillover=_matrix(case)))
    return _Drawn(acquired.values[:, :6].astype(float), tube.kind, tube.expressing, acquired.clean_signal)


def _other(case: Case, rng: np.random.Generator, n: int, occupied: float, only_cells: bool) -> _Drawn:
    shares = [0.0, 0.0, 0.0] if only_cells else [case.debris, case.dead, 0.08]
    kind = rng.choice(4, n, p=[1 - sum(shares), shares[1], shares[0], shares[2]]).astype(np.int8)
    debris, dead, double = kind == Kind.DEBRIS, kind == Kind.DEAD, kind == Kind.DOUBLET
    size = np.where(rng.random(n) < 0.7, rng.weibull(6.0, n), 1.25 + 0.5 * rng.beta(2, 4, n))
    size = np.where(debris, np.minimum(0.07 + rng.exponential(0.16, n), 1.0), size)
    grain = (0.3 + rng.gamma(6.0, 0.12, n)) * np.where(dead, 1.8, 1.0) * np.where(debris, 0.5, 1.0)
    second = np.where(double, rng.weibull(6.0, n), 0.0)
    forward = 60_000 * (size * np.where(dead, 0.62, 1.0) + second)
    height = (
        0.75 * forward**0.98 * np.where(double, rng.uniform(0.52, 0.72, n), 1.0) * (1 + 0.025 * rng.standard_normal(n))
    )
    side = 30_000 * grain * (size + second)
    took = (rng.random(n) < case.transfected) & ~debris
    shoulder = took & (rng.random(n) < case.dim_share)
    bright = case.level * 0.8 * np.exp(0.55 * rng.logistic(0, 1, n))
    dim = np.exp(rng.uniform(np.log(150.0), np.log(case.level / 3), n))
    green = np.where(took, np.where(shoulder, dim, bright), 0.0) * np.where(dead, 0.4, 1.0)
    auto = 55 * size * rng.gamma(4.0, 1.0, n) + np.where(debris, -20.0, 0.0)
    dye = np.where(dead, np.exp(rng.uniform(np.log(2_500), np.log(60_000), n)), 150 * rng.gamma(2.5, 0.5, n))
    sticky = size * rng.gamma(8.0, 1 / 8, n) * np.where(dead, 4.0, 1.0)
    binding = 9_000 * occupied * (green / case.level) ** 0.9 * np.exp(0.35 * rng.standard_normal(n))
    clean = (600 * sticky + binding) * np.where(double, 2.0, 1.0)
    light = np.column_stack([green + auto, dye, clean])
    detected = light @ _matrix(case).matrix
    noise = rng.standard_normal((n, 3)) * np.sqrt(np.abs(detected) * 6 + np.array([40.0, 50.0, 35.0]) ** 2)
    values = np.column_stack([forward, height, side, detected + noise])
    return _Drawn(np.minimum(values, 262_143.0), kind, took, clean)
