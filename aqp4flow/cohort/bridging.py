"""Plates compared through the control materials that lie on several of them.

On log2 a control reads material + plate + what this serum does on this plate; ordinary least squares over the controls
gives the effects of plates that controls connect. Effects are fitted draw by draw: a control's own error enters, and
what a plate's sera share (the draws of its cut-off) cancels between a control and a patient's serum. What is left
between controls beyond their own error is noise that any serum has between plates. Additive two-way model: Scheffe, The
Analysis of Variance, 1959, chapter 4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from aqp4flow.model import NAN, UNKNOWN, Bound, Check, Estimate, Role, Titer, Values, Verdict, log2_quantile

BRIDGING = (Role.REFERENCE, Role.POSITIVE)
AUTO, NONE = "auto", "none"
_SUBJECT = "trajectories"


@dataclass(frozen=True, eq=False)
class Measurement:
    """One material on one plate: a value with its bound, and draws (n,) of log2 of it; `dilution` NaN of a series."""

    plate: str
    serum: str
    role: Role
    value: Titer
    draws: Values = field(repr=False)
    dilution: float = NAN
    calibrator: str = ""  # of units: what they are relative to

    @property
    def exact(self) -> bool:
        """Whether it is a value and no bound."""
        return self.value.bound is Bound.EXACT

    @property
    def log2(self) -> float:
        """log2 of the value."""
        return math.log2(self.value.value)


@dataclass(frozen=True)
class Noise:
    """Variance on log2 of one serum on one plate beyond its own drawn error; NaN from no degrees of freedom."""

    variance: float = NAN
    df: int = 0


@dataclass(frozen=True)
class BridgeRow:
    """A row of bridging.csv. `residual` and `effect` are factors; `used`: it took part in the fit of plates."""

    plate: str
    serum: str
    role: Role
    quantity: str
    dilution: float
    value: Titer
    used: bool
    residual: float
    effect: Estimate


@dataclass(frozen=True, eq=False)
class Bridge:
    """Effects of plates on one quantity (at one dilution): `effects` (p,) and `draws` (p, n) on log2.

    Effects are relative to the mean of the plates of one `group`, which controls connect; those of different groups
    say nothing of one another. `weights` (p, controls) make effects of the controls' values. `by_one`: groups where
    every link is a single control. `left` is the noise after bridging, `raw` all that plates add.
    """

    quantity: str
    dilution: float
    plates: tuple[str, ...]
    group: tuple[int, ...]
    effects: Values
    draws: Values = field(repr=False)
    weights: Values = field(repr=False)
    by_one: frozenset[int] = frozenset()
    left: Noise = Noise()
    raw: Noise = Noise()
    rows: tuple[BridgeRow, ...] = ()

    def _place(self, plate: str) -> int:
        return self.plates.index(plate)

    def connects(self, plate: str, base: str) -> bool:
        """Whether both plates can be compared."""
        return plate == base or self.group[self._place(plate)] == self.group[self._place(base)]

    def rests_on_one(self, plate: str, base: str) -> bool:
        """Whether the comparison of two plates rests on a single control."""
        return plate != base and self.connects(plate, base) and self.group[self._place(plate)] in self.by_one

    def shift(self, plate: str, base: str) -> tuple[float, Values]:
        """What `plate` reads more than `base`, log2, with draws; exactly 0 on one plate and between plates apart."""
        p, b = self._place(plate), self._place(base)
        if plate == base or self.group[p] != self.group[b]:
            return 0.0, np.zeros(self.draws.shape[1])
        with np.errstate(invalid="ignore"):
            return float(self.effects[p] - self.effects[b]), self.draws[p] - self.draws[b]

    def noises(self, now: Sequence[str], before: Sequence[str]) -> float:
        """How many times the noise's variance is in a quotient of means over the plates `now` and `before`.

        A plate on both sides cancels. Each serum brings its own noise, and so do the controls behind the effects.
        """
        contrast = np.zeros(len(self.plates))
        for plates, sign in ((now, 1.0), (before, -1.0)):
            for plate in plates:
                contrast[self._place(plate)] += sign / len(plates)
        return float(np.sum(contrast**2) + np.sum((contrast @ self.weights) ** 2))


# --- fit --------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Fit:
    """Two-way fit: `weights` (p, n) of effects centred in each group, `left` (n, n) makes residuals, its `df`."""

    group: tuple[int, ...]
    weights: Values
    left: Values
    df: int


def additive_fit(cells: Sequence[tuple[str, str]], plates: Sequence[str]) -> _Fit:
    """Least squares of material + plate over `cells` (material, plate), each once; plates in no cell stand alone."""
    materials = list(dict.fromkeys(material for material, _ in cells))
    design = np.zeros((len(cells), len(materials) + len(plates)))
    for i, (material, plate) in enumerate(cells):
        design[i, materials.index(material)] = 1.0
        design[i, len(materials) + plates.index(plate)] = 1.0
    group = groups(cells, plates)
    if not cells:
        return _Fit(group, np.zeros((len(plates), 0)), np.zeros((0, 0)), 0)
    inverse = np.asarray(np.linalg.pinv(design), np.float64)
    weights = inverse[len(materials) :].copy()  # centring them must not touch what makes residuals
    for one in set(group):
        of_group = [place for place, found in enumerate(group) if found == one]
        weights[of_group] -= weights[of_group].mean(axis=0)
    weights[np.abs(weights) < 1e-12] = 0.0
    rank = len(materials) + sum(any(p == plate for _, p in cells) for plate in plates)
    rank -= len({group[plates.index(plate)] for _, plate in cells})
    return _Fit(group, weights, np.asarray(np.eye(len(cells)) - design @ inverse, np.float64), len(cells) - rank)


def groups(cells: Sequence[tuple[str, str]], plates: Sequence[str]) -> tuple[int, ...]:
    """The number of each plate's group: plates share one where materials connect them, in one step or several."""
    number = {plate: i for i, plate in enumerate(plates)}
    on: dict[str, list[str]] = {}
    for material, plate in cells:
        on.setdefault(material, []).append(plate)
    for together in on.values():
        joined = {number[plate] for plate in together}
        number = {plate: min(joined) if one in joined else one for plate, one in number.items()}
    return tuple(number[plate] for plate in plates)


def bridge(found: Sequence[Measurement], quantity: str, control: str) -> Bridge:
    """Compare the plates of one quantity (at one dilution) by `control`: auto, none or a control's name.

    Units are relative to their plate's reference already: plates with the same one are compared as they are.
    """
    plates = tuple(dict.fromkeys(one.plate for one in found))
    if quantity == "units":
        used: list[Measurement] = []
        fit = additive_fit([], plates)
        of_plate = {one.plate: one.calibrator for one in found}
        calibrators = list(dict.fromkeys(of_plate.values()))
        group = tuple(calibrators.index(of_plate[plate]) for plate in plates)
    else:
        used = _repeated([one for one in found if one.role in BRIDGING and control in (AUTO, one.serum)])
        fit = additive_fit([(one.serum, one.plate) for one in used], plates)
        group = fit.group
    count = max((len(one.draws) for one in found), default=0)
    effects = fit.weights @ np.array([one.log2 for one in used])
    draws = _weighted(fit.weights, used, count)
    rows = _rows(found, used, quantity, (plates, group, effects, draws))
    return Bridge(
        quantity=quantity,
        dilution=found[0].dilution if found else NAN,
        plates=plates,
        group=group,
        effects=effects,
        draws=draws,
        weights=fit.weights,
        by_one=_by_one(used, plates, group),
        left=_left(_repeated(found), plates) if used else Noise(),
        raw=_raw(_repeated(found)),
        rows=rows,
    )


def _repeated(found: Sequence[Measurement]) -> list[Measurement]:
    """Exact values of materials that have one on several plates."""
    exact = [one for one in found if one.exact]
    plates: dict[str, int] = {}
    for one in exact:
        plates[one.serum] = plates.get(one.serum, 0) + 1
    return [one for one in exact if plates[one.serum] > 1]


def _weighted(weights: Values, used: Sequence[Measurement], count: int) -> Values:
    """Draws of effects (p, n). A control's draws may be infinite: what has no weight takes no part."""
    drawn = np.array([one.draws for one in used]).reshape(len(used), count)
    with np.errstate(invalid="ignore"):
        rows = [np.sum(row[row != 0][:, None] * drawn[row != 0], axis=0) for row in weights]
    return np.array(rows).reshape(len(weights), count)


def _by_one(used: Sequence[Measurement], plates: Sequence[str], group: Sequence[int]) -> frozenset[int]:
    """Groups of several plates whose controls leave no degree of freedom: no control is checked by another."""
    alone = set()
    for one in set(group):
        of_group = [plate for plate, number in zip(plates, group, strict=True) if number == one]
        cells = [(m.serum, m.plate) for m in used if m.plate in of_group]
        if len(of_group) > 1 and cells and additive_fit(cells, of_group).df == 0:
            alone.add(one)
    return frozenset(alone)


# --- noise ------------------------------------------------------------------------------------------


def _left(repeated: Sequence[Measurement], plates: Sequence[str]) -> Noise:
    """What is left between plates after their effects, of all materials measured on several, controls and sera."""
    fit = additive_fit([(one.serum, one.plate) for one in repeated], plates)
    return _beyond_own(fit.left, fit.df, repeated, fit.df)


def _raw(repeated: Sequence[Measurement]) -> Noise:
    """All that plates add. Materials share it, so that degrees of freedom are those of the one on most plates."""
    if not repeated:
        return Noise()
    sera = list(dict.fromkeys(one.serum for one in repeated))
    on = np.array([[float(one.serum == serum) for serum in sera] for one in repeated])
    left = np.eye(len(repeated)) - on / on.sum(axis=0) @ on.T
    return _beyond_own(left, len(repeated) - len(sera), repeated, int(on.sum(axis=0).max()) - 1)


def _beyond_own(left: Values, df: int, repeated: Sequence[Measurement], known_from: int) -> Noise:
    """Mean square of what `left` makes of the values, less what the drawn errors alone make; not below 0."""
    if df < 1:
        return Noise()
    values = np.array([one.log2 for one in repeated])
    drawn = np.array([one.draws for one in repeated])
    errors = drawn[:, np.isfinite(drawn).all(axis=0)] - values[:, None]
    own = float(np.mean(np.sum((left @ errors) ** 2, axis=0))) if errors.size else 0.0
    return Noise(max(0.0, (float(np.sum((left @ values) ** 2)) - own) / df), known_from)


# --- what is shown ------------------------------------------------------------------------------------

_Effects = tuple[Sequence[str], Sequence[int], Values, Values]


def _rows(
    found: Sequence[Measurement], used: Sequence[Measurement], quantity: str, fitted: _Effects
) -> tuple[BridgeRow, ...]:
    """Every control, and every serum that was measured on several plates; by plate."""
    plates, group, effects, draws = fitted
    fits = zip(group, map(float, effects), draws, strict=True)
    of_plate = dict(zip(plates, fits, strict=True))
    times: dict[str, int] = {}
    bridged: dict[tuple[str, int], list[float]] = {}
    for one in found:
        times[one.serum] = times.get(one.serum, 0) + 1
        if one.exact:
            number, effect, _ = of_plate[one.plate]
            bridged.setdefault((one.serum, number), []).append(one.log2 - effect)
    rows = []
    for one in found:
        number, effect, drawn = of_plate[one.plate]
        if one.role not in BRIDGING and times[one.serum] < 2:
            continue
        alike = bridged.get((one.serum, number), [])
        residual = 2.0 ** (one.log2 - effect - float(np.mean(alike))) if one.exact and len(alike) > 1 else NAN
        shown = UNKNOWN
        if any(m.plate == one.plate for m in used):
            known = drawn[~np.isnan(drawn)]
            low, high = (log2_quantile(known, q) if len(known) else NAN for q in (0.025, 0.975))
            shown = Estimate(2.0**effect, low, high)
        taken = any(m is one for m in used)
        rows.append(
            BridgeRow(one.plate, one.serum, one.role, quantity, one.dilution, one.value, taken, residual, shown)
        )
    return tuple(rows)


def bridging_check(bridges: Sequence[Bridge], control: str, crossed: Mapping[str, int]) -> Check | None:
    """How visits on other plates than their baseline were compared; None where all lie on one plate.

    `crossed` counts visits by how: bridged, bridged-by-one, not-bridged.
    """
    names = {row.serum for one in bridges for row in one.rows if row.role in BRIDGING}
    quantity = bridges[0].quantity if bridges else ""
    if control not in (AUTO, NONE) and control not in names and bridges and quantity != "units":
        message = (
            f"[trajectory] bridging names {control!r}, which is no reference or positive control with a {quantity} on "
            f"any plate: no plates were compared. Controls are: {', '.join(sorted(names)) or 'none'}."
        )
        return Check("run", _SUBJECT, "bridging", control, "a control", Verdict.FAIL, message)
    if not sum(crossed.values()):
        return None
    apart, by_one = crossed.get("not-bridged", 0), crossed.get("bridged-by-one", 0)
    used = sorted({row.serum for one in bridges for row in one.rows if row.used})
    through = f"through {', '.join(used)}" if used else "in units of their plates' reference"
    message = (
        f"{sum(crossed.values())} visits were measured on another plate than their baseline, or on several; "
        f"{sum(crossed.values()) - apart} of them were compared {through}."
    )
    if apart:
        message += f" {apart} could not be: nothing that is on both plates has a value there. Put a control on each."
    if by_one:
        message += f" {by_one} rest on a single control, whose own behaviour nothing checks: run two."
    verdict = Verdict.WARN if apart or by_one else Verdict.PASS
    return Check("run", _SUBJECT, "bridging", apart, "0 not bridged", verdict, message)
