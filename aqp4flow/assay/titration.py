"""One serum on one plate: its series of dilutions becomes endpoint, interpolated titer and curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from aqp4flow.assay.curves.curve import Series, fit_curves
from aqp4flow.assay.cutoffs.cutoff import CutOffs, cutoff_draws
from aqp4flow.assay.definition import CurveSettings
from aqp4flow.assay.oddities import rises
from aqp4flow.assay.titer import Draws, endpoint_titer, interpolated_titer
from aqp4flow.errors import listed
from aqp4flow.model import Bound, Check, Curve, Estimate, Reactivity, Reading, Status, Titer, Titration, Verdict


@dataclass(frozen=True)
class Rules:
    """How titers are read: the deciding read-out, how curves are fitted (None: not), and the law of random draws."""

    readout: str
    curve: CurveSettings | None
    draws: int
    seed: int


def titrate(
    rows: Sequence[Reactivity], cutoffs: CutOffs, background: Sequence[Reading], rules: Rules
) -> list[Titration]:
    """A titration for every serum of a plate. `background`: its wells without serum; they end every curve."""
    shared = _shared_draws(rows, cutoffs, rules)
    by_serum: dict[str, list[Reactivity]] = {}
    for row in rows:
        by_serum.setdefault(row.serum, []).append(row)
    ladders = [sorted(series, key=lambda row: row.dilution) for series in by_serum.values()]
    unfitted: list[tuple[Curve | None, list[str]]] = [(None, []) for _ in ladders]
    curves = unfitted if rules.curve is None else _curves(ladders, background, rules.curve)
    return [_titration(series, cutoffs, shared, curve, rules) for series, curve in zip(ladders, curves, strict=True)]


def _shared_draws(rows: Sequence[Reactivity], cutoffs: CutOffs, rules: Rules) -> Draws | None:
    """Cut-off draws of a plate: every serum of the plate meets the same cut-off."""
    if cutoffs.deciding is None or not rows:
        return None
    plate = [ord(letter) for letter in rows[0].plate]
    return cutoff_draws(cutoffs.deciding, rules.draws, np.random.default_rng([rules.seed, *plate]))


def _titration(
    series: Sequence[Reactivity],
    cutoffs: CutOffs,
    shared: Draws | None,
    fitted: tuple[Curve | None, list[str]],
    rules: Rules,
) -> Titration:
    endpoint, flags = endpoint_titer(series)
    flags += rises(series)
    flags += ["carry-over"] if any("carry-over" in row.flags for row in series) else []
    curve, curve_flags = fitted
    titer, draws = None, None
    if cutoffs.deciding is not None and shared is not None and endpoint is not None:
        found = interpolated_titer(series, cutoffs.deciding, shared, rules.seed)
        if found is not None:
            titer, draws = found.titer, found.draws
            flags += _disagreement(endpoint, titer, [row.dilution for row in series])
    first = series[0]
    return Titration(
        plate=first.plate,
        serum=first.serum,
        role=first.role,
        readout=rules.readout,
        cutoff=cutoffs.deciding.value if cutoffs.deciding else math.nan,
        endpoint=endpoint,
        titer=titer,
        curve=curve,
        flags=tuple(dict.fromkeys((*flags, *curve_flags))),
        draws=draws,
    )


def confirmed(titration: Titration, rows: Sequence[Reactivity], least: float | None) -> Titration:
    """The titration, flagged where the serum is positive and its endpoint not known to be at least `least`."""
    endpoint = titration.endpoint
    positive = any(row.serum == titration.serum and row.status is Status.POSITIVE for row in rows)
    if least is None or endpoint is None or not positive:
        return titration
    if endpoint.bound is not Bound.BELOW and endpoint.value >= least:
        return titration
    return replace(titration, flags=(*titration.flags, "not-confirmed"))


def _disagreement(endpoint: Titer, titer: Titer, tested: Sequence[float]) -> list[str]:
    """The endpoint rests on both criteria, the interpolated titer on the deciding one: say when they part.

    They part when the titer would make an endpoint two dilutions away or more, or only one of the two is `<`.
    """
    ladder = sorted(set(tested))
    places = [-1 if one.bound is Bound.BELOW else sum(d <= one.value for d in ladder) - 1 for one in (endpoint, titer)]
    apart = abs(places[0] - places[1]) > 1 or (places[0] < 0) != (places[1] < 0)
    return ["criteria-disagree"] if apart else []


def _curves(
    ladders: Sequence[Sequence[Reactivity]], background: Sequence[Reading], settings: CurveSettings
) -> list[tuple[Curve | None, list[str]]]:
    """The dilution curve of every serum of a plate, in one batch; no flag where fewer than two dilutions were read.

    A dilution with a saturated well is a lower bound and no point of a curve: left out, and flagged `curve-saturated`.
    """
    zero = [reading.delta if settings.signal == "delta" else reading.expressing for reading in background]
    kept = [[row for row in ladder if not _saturated(row)] for ladder in ladders]
    batch = [plate_series(ladder, zero, settings.signal) for ladder in kept]
    whole = [plate_series(ladder, zero, settings.signal) for ladder in ladders]
    titrated = [i for i, series in enumerate(whole) if len(series.tested) > 1]
    fits = fit_curves([batch[i] for i in titrated], settings.model, settings.weights, settings.outliers)
    found: list[tuple[Curve | None, list[str]]] = [(None, []) for _ in batch]
    for i, fit in zip(titrated, fits, strict=True):
        curve, flags = fit
        found[i] = (curve, ["curve-saturated", *flags] if len(kept[i]) < len(ladders[i]) else flags)
    return found


def _saturated(row: Reactivity) -> bool:
    return "saturated" in row.flags


def saturated_curve_checks(titrations: Sequence[Titration], rows: Sequence[Reactivity]) -> list[Check]:
    """A warning for each serum with dilutions that its curve left out because they are saturated."""
    checks = []
    for titration in titrations:
        if "curve-saturated" in titration.flags:
            left_out = sorted(row.dilution for row in rows if row.serum == titration.serum and _saturated(row))
            names = listed([f"1:{dilution:g}" for dilution in left_out])
            message = (
                f"Saturated, and left out of the curve only: {names}. Such a reading is a lower bound. Lower the "
                "detector's voltage, or begin at a higher dilution."
            )
            where = f"{titration.plate}/{titration.serum}"
            checks.append(Check("serum", where, "curve-saturated", len(left_out), "0", Verdict.WARN, message))
    return checks


def plate_series(ladder: Sequence[Reactivity], zero: Sequence[Estimate], signal: str) -> Series:
    """Points of one serum; wells without serum stand at infinite dilution, each by itself."""
    readings = [(row.dilution, row.delta.value if signal == "delta" else row.mfi_expressing) for row in ladder]
    points = [point for point in readings if not math.isnan(point[1])]
    points += [(math.inf, well.value) for well in zero]
    noise = (
        _noise(zero) if zero else min((row.delta.standard_error for row in ladder if row.delta.known), default=math.nan)
    )
    dilution, reading = np.array(points, float).reshape(-1, 2).T
    return Series(dilution, reading, noise)


def _noise(zero: Sequence[Estimate]) -> float:
    """Standard error of a reading near 0: counting error or scatter of the wells without serum, the larger."""
    values = np.array([well.value for well in zero])
    scatter = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return max(scatter, float(np.sqrt(np.mean([well.standard_error**2 for well in zero]))))
