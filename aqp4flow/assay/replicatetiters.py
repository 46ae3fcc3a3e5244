"""Titers of replicate series, read one by one and averaged on the log scale (geometric mean titer)."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import replace

from aqp4flow.model import WITH_SERUM, Reactivity, Reading, Titer, Titration, mean_bound, mean_titer

_OF_CURVE = ("curve", "midpoint", "off-curve")  # flags that begin so are a curve's


def replicate_series(readings: Sequence[Reading]) -> list[list[Reading]]:
    """Readings parted into series: by the plate map's replicate, or by their order where it names none."""
    series: dict[str, list[Reading]] = {}
    met: dict[tuple[str, float | None], int] = {}
    for reading in readings:
        well = reading.well
        if well.role not in WITH_SERUM or well.cells == "control":
            continue
        place = (well.serum, well.dilution)
        met[place] = met.get(place, 0) + 1
        series.setdefault(well.replicate or str(met[place]), []).append(reading)
    return [series[name] for name in sorted(series)]


def averaged(pooled: Titration, parts: Sequence[Titration], rows: Sequence[Reactivity]) -> Titration:
    """`pooled` with endpoint and titer replaced by the geometric means of those of its replicate series.

    Flags: `replicate-titers-differ` where endpoints part by more than one of the dilutions tested, and
    `replicate-titers-contradict` where one is `<` and another `>`: then there is no mean. The curve stays that of the
    pooled series, and so do the flags that speak of it.
    """
    flags = [*pooled.flags, *(flag for part in parts for flag in part.flags if not flag.startswith(_OF_CURVE))]
    endpoints = [part.endpoint for part in parts if part.endpoint is not None]
    endpoint = _mean_endpoint(endpoints)
    tested = sorted({row.dilution for row in rows})
    if _steps_apart(endpoints, tested) > 1:
        flags.append("replicate-titers-differ")
    titers = [(part.titer, part.draws) for part in parts if part.titer is not None and part.draws is not None]
    titer = mean_titer(titers) if titers else None
    if (endpoints and endpoint is None) or (titers and titer is None):
        flags.append("replicate-titers-contradict")
    value, draws = titer or (None, None)
    return replace(pooled, endpoint=endpoint, titer=value, draws=draws, flags=tuple(dict.fromkeys(flags)))


def _mean_endpoint(endpoints: Sequence[Titer]) -> Titer | None:
    """The geometric mean, which may lie between two dilutions; bounded where any of them is."""
    bound = mean_bound([endpoint.bound for endpoint in endpoints])
    if not endpoints or bound is None:
        return None
    return Titer(math.exp(statistics.fmean(math.log(endpoint.value) for endpoint in endpoints)), bound)


def _steps_apart(endpoints: Sequence[Titer], tested: Sequence[float]) -> int:
    """How many dilutions lie between the lowest and the highest endpoint; `<` stands one below the first tested."""
    places = [tested.index(e.value) - (e.bound.value == "<") for e in endpoints]
    return max(places) - min(places) if places else 0
