"""Titers of replicate series, read one by one and averaged on the log scale (geometric mean titer)."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from aqp4flow.errors import listed
from aqp4flow.model import (
    WITH_SERUM,
    Check,
    Reactivity,
    Reading,
    Titer,
    Titration,
    Verdict,
    Well,
    mean_bound,
    mean_titer,
)

_OF_CURVE = ("curve", "midpoint", "off-curve")  # flags that begin so are a curve's


def replicate_series(readings: Sequence[Reading]) -> list[list[Reading]]:
    """Readings parted into series: by the plate map's replicate, or by their order where it names none.

    Wells of one serum and dilution that share a label are parted by their order too: `shared_labels` names them.
    """
    series: dict[tuple[str, int], list[Reading]] = {}
    met: Counter[tuple[str, float | None]] = Counter()
    labels: Counter[tuple[str, float | None, str]] = Counter()
    for reading in readings:
        well = reading.well
        if not _in_a_series(well):
            continue
        met[well.serum, well.dilution] += 1
        label = well.replicate or str(met[well.serum, well.dilution])
        labels[well.serum, well.dilution, label] += 1
        series.setdefault((label, labels[well.serum, well.dilution, label]), []).append(reading)
    return [series[name] for name in sorted(series)]


def _in_a_series(well: Well) -> bool:
    return well.role in WITH_SERUM and well.cells != "control"


def shared_labels(plate: str, wells: Sequence[Well]) -> list[Check]:
    """A check that names the sera of which two wells of one dilution have the same replicate; else nothing."""
    counts = Counter(
        (well.serum, well.dilution, well.replicate) for well in wells if well.replicate and _in_a_series(well)
    )
    sera = list(dict.fromkeys(serum for (serum, _, _), n in counts.items() if n > 1))
    if not sera:
        return []
    message = (
        f"Wells of one serum and dilution have the same replicate: {listed(sera)}. They were taken as series of their"
        " own, in the order of the plate map: number the replicates."
    )
    return [Check("plate", plate, "replicate-labels", len(sera), "0", Verdict.WARN, message)]


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
