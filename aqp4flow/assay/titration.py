"""One serum on one plate: its series of dilutions becomes endpoint, interpolated titer and curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from aqp4flow.assay.curve import fit_curve
from aqp4flow.assay.cutoff import CutOffs, cutoff_draws
from aqp4flow.assay.titer import Draws, endpoint_titer, interpolated_titer
from aqp4flow.model import Bound, Curve, Reactivity, Status, Titer, Titration


@dataclass(frozen=True)
class Rules:
    """How titers are read: the deciding read-out, the curve's model, the law of random draws.

    `least` is what the endpoint of a confirmed serum is at least.
    """

    readout: str
    model: str
    draws: int
    seed: int
    least: float | None = None


def titrate(rows: Sequence[Reactivity], cutoffs: CutOffs, background: Sequence[float], rules: Rules) -> list[Titration]:
    """A titration for every serum of a plate. `background`: expressing MFI of its secondary-only wells."""
    shared = _shared_draws(rows, cutoffs, rules)
    by_serum: dict[str, list[Reactivity]] = {}
    for row in rows:
        by_serum.setdefault(row.serum, []).append(row)
    return [
        _titration(sorted(series, key=lambda row: row.dilution), cutoffs, shared, background, rules)
        for series in by_serum.values()
    ]


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
    background: Sequence[float],
    rules: Rules,
) -> Titration:
    endpoint, flags = endpoint_titer(series)
    flags += _unconfirmed(series, endpoint, rules.least)
    curve, curve_flags = _curve(series, background, rules.model)
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
        flags=(*flags, *curve_flags),
        draws=draws,
    )


def _unconfirmed(series: Sequence[Reactivity], endpoint: Titer | None, least: float | None) -> list[str]:
    """A serum with a positive dilution whose endpoint is not known to be at least `least`."""
    if least is None or endpoint is None or not any(row.status is Status.POSITIVE for row in series):
        return []
    return [] if endpoint.bound is not Bound.BELOW and endpoint.value >= least else ["not-confirmed"]


def _disagreement(endpoint: Titer, titer: Titer, tested: Sequence[float]) -> list[str]:
    """The endpoint rests on both criteria, the interpolated titer on the deciding one: say when they part.

    They agree when the titer lies between the endpoint and the next dilution that was tested.
    """
    following = min((dilution for dilution in tested if dilution > endpoint.value), default=math.inf)
    agree = endpoint.bound is titer.bound and endpoint.value <= titer.value <= following
    return [] if agree else ["criteria-disagree"]


def _curve(series: Sequence[Reactivity], background: Sequence[float], model: str) -> tuple[Curve | None, list[str]]:
    """The dilution curve of the expressing cells; wells without serum stand at infinite dilution."""
    measured = [row for row in series if not math.isnan(row.mfi_expressing)]
    if len(measured) < 2:
        return None, []
    dilutions = [row.dilution for row in measured] + [math.inf] * len(background)
    return fit_curve(dilutions, [row.mfi_expressing for row in measured] + list(background), model)
