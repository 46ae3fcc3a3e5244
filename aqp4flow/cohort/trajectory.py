"""Titers joined to visits: each patient's course on the baseline's plate, the fold against baseline, and its call."""

from __future__ import annotations

import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aqp4flow.cohort.bridging import AUTO, BRIDGING, Bridge, Measurement, Noise, bridge
from aqp4flow.cohort.change import called
from aqp4flow.model import (
    NAN,
    Bound,
    Change,
    Estimate,
    Precision,
    Reactivity,
    Role,
    Status,
    Titer,
    Titration,
    TrajectoryPoint,
    Values,
    Visit,
    Z,
    mean_titer,
)
from aqp4flow.model import log2_quantile as _quantile

ASSUMED = Precision()  # nothing was measured twice
_DRAWS = 2000  # of a shift's error
RISE = 2.0  # since the visit before: information, see docs/checks.md


@dataclass(frozen=True)
class Quantity:
    """What is followed over time: a value with its bound, and log2 draws of its error."""

    value: Titer
    draws: Values


@dataclass(frozen=True)
class Measurements:
    """Everything measured in a study, by serum."""

    titrations: Mapping[str, Sequence[Titration]]
    reactivity: Mapping[str, Sequence[Reactivity]]


@dataclass(frozen=True)
class Following:
    """What is followed and how: the quantity, the control that bridges plates, the change that counts, the seed."""

    quantity: str = "titer"
    bridging: str = AUTO
    precision: Precision = ASSUMED
    seed: int = 0


@dataclass(frozen=True)
class Course:
    """Every visit of every patient, the bridges they stand on, and how visits on other plates were compared."""

    points: tuple[TrajectoryPoint, ...]
    bridges: tuple[Bridge, ...]
    crossed: Mapping[str, int]


def by_serum(titrations: Sequence[Titration], rows: Sequence[Reactivity]) -> Measurements:
    """Group what was measured by serum, in plate order."""
    sera: dict[str, list[Titration]] = {}
    reactivity: dict[str, list[Reactivity]] = {}
    for titration in titrations:
        sera.setdefault(titration.serum, []).append(titration)
    for row in rows:
        reactivity.setdefault(row.serum, []).append(row)
    return Measurements(sera, reactivity)


def trajectories(
    visits: Sequence[Visit],
    measured: Measurements,
    quantity: str,
    seed: int,
    precision: Precision = ASSUMED,
    bridging: str = AUTO,
) -> list[TrajectoryPoint]:
    """The points of `follow`."""
    return list(follow(visits, measured, Following(quantity, bridging, precision, seed)).points)


def follow(visits: Sequence[Visit], measured: Measurements, how: Following) -> Course:
    """One point a visit. The quantity is titer, units, delta, ratio or index (the shifts at the lowest dilution)."""
    lowest = {visit.serum: _lowest(measured.reactivity.get(visit.serum, ())) for visit in visits}
    found = _followed(measured, how, {0.0} if how.quantity in _SERIES else set(lowest.values()))
    bridges = {dilution: bridge(of_it, how.quantity, how.bridging) for dilution, of_it in found.items()}
    parts: dict[str, list[Measurement]] = {}
    for dilution, of_it in found.items():
        for one in of_it:
            if how.quantity in _SERIES or dilution == lowest.get(one.serum):
                parts.setdefault(one.serum, []).append(one)
    courses: dict[str, list[Visit]] = {}
    for visit in visits:
        courses.setdefault(visit.patient, []).append(visit)
    points: dict[str, TrajectoryPoint] = {}
    crossed: Counter[str] = Counter()
    for course in courses.values():
        patient = _Patient(course, parts, bridges, how)
        for visit in sorted(course, key=lambda one: one.month):
            point, crossing = patient.point(_measured_point(visit, measured, how.quantity))
            points[visit.serum] = point
            crossed.update([crossing] if crossing else [])
    return Course(tuple(points[visit.serum] for visit in visits), tuple(bridges.values()), dict(crossed))


# --- what was measured ------------------------------------------------------------------------------

_SERIES = ("titer", "units")
UNKNOWN_NOISE = "plate-noise-unknown"
_COMPARED = (*BRIDGING, Role.SAMPLE)


def _lowest(rows: Sequence[Reactivity]) -> float:
    return min((row.dilution for row in rows), default=NAN)


def _followed(measured: Measurements, how: Following, dilutions: set[float]) -> dict[float, list[Measurement]]:
    """Every value of the quantity, of patients and bridging controls, by dilution (0 for what has none)."""
    if how.quantity in _SERIES:
        series = [one for several in measured.titrations.values() for one in several if one.role in _COMPARED]
        return {0.0: [part for part in (_of_series(one, how.quantity) for one in series) if part is not None]}
    rows = [row for several in measured.reactivity.values() for row in several if row.role in _COMPARED]
    found: dict[float, list[Measurement]] = {dilution: [] for dilution in sorted(dilutions) if dilution > 0}
    for row in rows:
        if row.dilution in found and _estimate(row, how.quantity).value > 0:
            found[row.dilution].append(_shift(row, how.quantity, how.seed))
    return found


def _of_series(titration: Titration, quantity: str) -> Measurement | None:
    units = quantity == "units"
    value, draws = (titration.units, titration.unit_draws) if units else (titration.titer, titration.draws)
    if value is None or draws is None:
        return None
    calibrator = f"{titration.reference} {titration.unit}" if units else ""
    return Measurement(titration.plate, titration.serum, titration.role, value, draws, calibrator=calibrator)


def _shift(row: Reactivity, quantity: str, seed: int) -> Measurement:
    """Delta, ratio or index with log-normal error. Of a saturated well it is `>`; without limits its error is NaN."""
    estimate = _estimate(row, quantity)
    sd = (estimate.high - estimate.low) / (2 * Z * estimate.value) / math.log(2)
    name = zlib.crc32(f"{row.plate}/{row.serum}/{row.dilution:g}/{quantity}".encode())
    noise = np.random.default_rng([seed, name]).standard_normal(_DRAWS)
    draws = math.log2(estimate.value) + sd * noise
    saturated = "saturated" in row.flags
    bound, high = (Bound.ABOVE, NAN) if saturated else (Bound.EXACT, estimate.high)
    value = Titer(estimate.value, bound, estimate.low, high)
    return Measurement(row.plate, row.serum, row.role, value, draws, row.dilution)


def _estimate(row: Reactivity, quantity: str) -> Estimate:
    if quantity == "index":
        return Estimate(row.index, row.index_low, row.index_high)
    return row.delta if quantity == "delta" else row.ratio


def _measured_point(visit: Visit, measured: Measurements, quantity: str) -> TrajectoryPoint:
    """The visit with what its plates measured, as measured: before any comparison."""
    titrations = measured.titrations.get(visit.serum, ())
    rows = measured.reactivity.get(visit.serum, ())
    lowest = [row for row in rows if row.dilution == _lowest(rows)]
    titer, flags = _combined([(t.titer, t.draws) for t in titrations])
    units, contradicting = _combined([(t.units, t.unit_draws) for t in titrations])
    if quantity == "units":
        flags = contradicting
    if not titrations:
        flags = [*flags, "not-measured"]
    flags += [flag for titration in titrations for flag in titration.flags if not flag.startswith(("curve", "midp"))]
    if len({row.status for row in lowest}) > 1:
        flags.append("statuses-differ")
    return TrajectoryPoint(
        visit=visit,
        plates=tuple(titration.plate for titration in titrations),
        quantity=quantity,
        titer=titer,
        reactivity=lowest[0] if lowest else None,
        fold=None,
        flags=tuple(dict.fromkeys(flags)),
        notes=("combined-plates",) if len(titrations) > 1 else (),
        units=units,
    )


def _combined(measured: Sequence[tuple[Titer | None, Values | None]]) -> tuple[Titer | None, list[str]]:
    """Titers (or units) of one serum on several plates, averaged on the log scale."""
    parts = [(titer, draws) for titer, draws in measured if titer is not None and draws is not None]
    if not parts:
        return None, []
    together = mean_titer(parts)
    return (together[0], []) if together else (None, ["plates-contradict"])


# --- one patient --------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Placed:
    """A visit's quantity on the baseline's plate, and the plates and dilution it came from."""

    quantity: Quantity
    plates: tuple[str, ...]
    key: float  # the dilution, 0 for a series: which bridge it stands on
    serum: str


class _Patient:
    """Visits of one patient by rising date: each placed on the plate of the baseline, then held against it."""

    def __init__(
        self,
        course: Sequence[Visit],
        parts: Mapping[str, Sequence[Measurement]],
        bridges: Mapping[float, Bridge],
        how: Following,
    ) -> None:
        self.how, self.bridges = how, bridges
        self.baseline = next(visit.serum for visit in course if visit.baseline)
        first = [*parts.get(self.baseline, ()), *(one for visit in course for one in parts.get(visit.serum, ()))]
        self.base = first[0].plate if first else ""
        self.placed = {visit.serum: self._place(parts.get(visit.serum, ())) for visit in course}
        self.earlier: set[Status] = set()
        self.last: _Placed | None = None

    def _bridge(self, placed: _Placed) -> Bridge:
        return self.bridges[placed.key]

    def _place(self, parts: Sequence[Measurement]) -> _Placed | None:
        """The repeated measurements of one serum, each moved to the baseline's plate, averaged on the log scale."""
        if not parts:
            return None
        key = 0.0 if math.isnan(parts[0].dilution) else parts[0].dilution
        across = self.bridges[key]
        together = mean_titer([_moved(part, self.base, across) for part in parts])
        if together is None:
            return None
        return _Placed(Quantity(*together), tuple(one.plate for one in parts), key, parts[0].serum)

    def point(self, point: TrajectoryPoint) -> tuple[TrajectoryPoint, str]:
        """The point with value, fold and call, and how its plates were compared (empty where they need not be)."""
        placed, before = self.placed[point.visit.serum], self.placed[self.baseline]
        crossing = ""
        if placed is not None:
            noise, _ = self._noise(placed, (self.base,), "value")
            point = replace(point, value=_with_noise(placed.quantity, noise))
            saturated = placed.key > 0 and placed.quantity.value.bound is Bound.ABOVE
            point = _more(point, ["saturated"] if saturated else [], [])
        if placed is None or before is None:
            point = _more(point, ["fold-unknown"], [])
        elif placed.key != before.key:
            point = _more(point, ["other-dilution-than-baseline", "fold-unknown"], [])
        elif point.visit.baseline:
            exact = placed.quantity.value.bound is Bound.EXACT
            point = replace(point, fold=Titer(1.0, Bound.EXACT, 1.0, 1.0) if exact else None)
            crossing, flags, notes = self._crossing(placed, placed)
            point = _more(point, flags, notes)
        else:
            point, crossing = self._with_fold(point, placed, before)
        return self._with_information(point, placed), crossing

    def _with_fold(self, point: TrajectoryPoint, placed: _Placed, before: _Placed) -> tuple[TrajectoryPoint, str]:
        change = self._quotient(placed, before)
        crossing, flags, notes = self._crossing(placed, before)
        if change is None:
            return _more(point, [*flags, "fold-unknown"], notes), crossing
        same_plate = set(placed.plates) == set(before.plates)
        limit = self.how.precision.change(self.how.quantity, same_plate)
        call, why = called(change, limit)
        if crossing == "not-bridged" and UNKNOWN_NOISE in notes:  # what the plates differ by is in no limit
            change, call, why = Titer(change.value, change.bound), Change.UNKNOWN, ()
        return _more(replace(point, fold=change, change=call, limit=limit), flags, [*notes, *why]), crossing

    def _crossing(self, placed: _Placed, before: _Placed) -> tuple[str, list[str], list[str]]:
        """How the plates of a visit were compared with those of its baseline: one word, flags and notes."""
        plates = set(placed.plates) | set(before.plates)
        if len(plates) == 1:
            return "", [], []
        across = self._bridge(placed)
        other = ["other-plate-than-baseline"] if set(placed.plates) != set(before.plates) else []
        _, noted = self._noise(placed, before.plates, "fold")
        if not all(across.connects(plate, self.base) for plate in plates):
            return "not-bridged", [*other, "not-bridged"], noted
        if any(across.rests_on_one(plate, self.base) for plate in plates):
            return "bridged-by-one", ["bridged-by-one"], [*other, "bridged", *noted]
        return "bridged", [], [*other, "bridged", *noted]

    def _quotient(self, now: _Placed, before: _Placed) -> Titer | None:
        noise, _ = self._noise(now, before.plates, before.serum)
        quantity = now.quantity if noise is None else Quantity(now.quantity.value, now.quantity.draws + noise)
        return fold(quantity, before.quantity)

    def _noise(self, placed: _Placed, before: Sequence[str], name: str) -> tuple[Values | None, list[str]]:
        """Draws of what differs between plates beyond the values' own errors, with the note that says whence."""
        across = self._bridge(placed)
        times = across.noises(placed.plates, before)
        if times < 1e-12:
            return None, []
        noise, note = self._known_noise(across, {*placed.plates, *before})
        if math.isnan(noise.variance) or noise.variance == 0:
            return None, [note]
        seed = zlib.crc32(f"{placed.serum}/{name}".encode())
        rng, count = np.random.default_rng([self.how.seed, seed]), len(placed.quantity.draws)
        enough = noise.df >= self.how.precision.min_df
        drawn = rng.standard_t(noise.df, count) if enough else rng.standard_normal(count)
        return math.sqrt(times * noise.variance) * drawn, [note]

    def _known_noise(self, across: Bridge, plates: set[str]) -> tuple[Noise, str]:
        """The noise between these plates and the note that names its source.

        After a bridge it is what is left between repeated materials. Where nothing is left to see, as with one control,
        all that plates add is its upper bound, taken only from enough degrees of freedom: of few plates it would be the
        very difference that the bridge has just taken out. Without a bridge it is all that plates add.
        """
        least = self.how.precision.min_df
        bridged = all(across.connects(plate, self.base) for plate in plates) and self.how.quantity != "units"
        if bridged and across.left.df > 0:
            return across.left, "plate-noise-measured" if across.left.df >= least else "plate-noise-from-few"
        if bridged and across.raw.df >= least:
            return across.raw, "plate-noise-at-most"
        if bridged or across.raw.df == 0:
            return Noise(), UNKNOWN_NOISE
        return across.raw, "plate-noise-measured" if across.raw.df >= least else "plate-noise-from-few"

    def _with_information(self, point: TrajectoryPoint, placed: _Placed | None) -> TrajectoryPoint:
        """Notes that tell and never predict: status lost or gained, a two-fold rise since the last measured visit."""
        notes = []
        status = None if "statuses-differ" in point.flags or point.reactivity is None else point.reactivity.status
        if status is Status.NEGATIVE and Status.POSITIVE in self.earlier:
            notes.append("seroreverted")
        if status is Status.POSITIVE and Status.NEGATIVE in self.earlier:
            notes.append("seroconverted")
        if status is not None:
            self.earlier.add(status)
        if placed is not None:
            if self.last is not None and self._rose(placed, self.last):
                notes.append("rise-since-last")
            self.last = placed
        return _more(point, [], notes)

    def _rose(self, now: _Placed, before: _Placed) -> bool:
        """Whether it is two-fold or more above the visit before, which error alone does not explain."""
        if now.key != before.key or self._crossing(now, before)[0] == "not-bridged":
            return False
        since = self._quotient(now, before)
        return since is not None and since.bound is not Bound.BELOW and since.value >= RISE and since.low > 1


def _more(point: TrajectoryPoint, flags: Sequence[str], notes: Sequence[str]) -> TrajectoryPoint:
    return replace(
        point,
        flags=tuple(dict.fromkeys((*point.flags, *flags))),
        notes=tuple(dict.fromkeys((*point.notes, *notes))),
    )


def _moved(part: Measurement, base: str, across: Bridge) -> tuple[Titer, Values]:
    """A measurement as the plate `base` would have read it; untouched on that plate, and where nothing connects."""
    effect, drawn = across.shift(part.plate, base)
    if part.plate == base or not across.connects(part.plate, base) or not across.weights.size:
        return part.value, part.draws
    with np.errstate(invalid="ignore"):
        draws = part.draws - drawn
    return limited(part.value.value / 2.0**effect, part.value.bound, draws), draws


def _with_noise(quantity: Quantity, noise: Values | None) -> Titer:
    if noise is None:
        return quantity.value
    return limited(quantity.value.value, quantity.value.bound, quantity.draws + noise)


def limited(value: float, bound: Bound, draws: Values) -> Titer:
    """A value with the 95 % limits of its log2 draws; the open side of a bound has none, nor has a draw without end."""
    known = draws[~np.isnan(draws)]
    if not len(known):
        return Titer(value, bound)
    low, high = _quantile(known, 0.025), _quantile(known, 0.975)
    if bound is Bound.BELOW:
        return Titer(value, bound, NAN, max(value, high) if math.isfinite(high) else NAN)
    if bound is Bound.ABOVE:
        return Titer(value, bound, min(value, low) if low > 0 else NAN, NAN)
    return Titer(value, bound, low if low > 0 else NAN, high if math.isfinite(high) else NAN)


def fold(now: Quantity, baseline: Quantity) -> Titer | None:
    """`now` over `baseline`, limits from both errors; None when both are bounded the same way.

    A serum below the ladder against an exact baseline is `<`; the open side has no limit.
    """
    bound = fold_bound(now.value.bound, baseline.value.bound)
    if bound is None:
        return None
    with np.errstate(invalid="ignore"):
        ratios = now.draws - baseline.draws
    return limited(now.value.value / baseline.value.value, bound, ratios)


def fold_bound(now: Bound, baseline: Bound) -> Bound | None:
    """The bound of a quotient: `<` over exact is `<`, exact over `<` is `>`, `<` over `<` is not known."""
    if baseline is Bound.EXACT:
        return now
    turned = Bound.ABOVE if baseline is Bound.BELOW else Bound.BELOW
    return turned if now in (Bound.EXACT, turned) else None
