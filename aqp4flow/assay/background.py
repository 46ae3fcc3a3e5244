"""What is taken off both medians before they are compared, where the definition asks for it.

`secondary-only`: the mean medians of the wells without serum, the same for all. `negative-pool`: the mean over negative
sera, at each dilution by itself. The measured medians stay as they are; the error of what is taken off goes into the
limits, and a dilution that has nothing to take off is named and keeps no read-out, never a half of one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from aqp4flow.assay.definition import Readout
from aqp4flow.assay.replicates import replicate_sets
from aqp4flow.errors import AnalysisError, ConfigError
from aqp4flow.model import NAN, UNKNOWN, Check, Estimate, Reading, Role, Verdict, Well


@dataclass(frozen=True)
class Background:
    """Medians to take off, their difference, each with 95 % limits; `mef_delta` in the beads' units or NaN.

    `n` wells without serum or negative sera stand behind it.
    """

    expressing: Estimate
    nonexpressing: Estimate
    delta: Estimate
    mef_delta: float
    n: int


@dataclass(frozen=True)
class Backgrounds:
    """One background for all dilutions, or one for each; `kind` is the setting that asked for it."""

    kind: str = "none"
    everywhere: Background | None = None
    at: Mapping[float, Background] = field(default_factory=dict)

    @property
    def wanted(self) -> bool:
        """Whether anything is to be taken off at all."""
        return self.kind != "none"

    def of(self, dilution: float) -> Background | None:
        """What is taken off at a dilution; None where nothing is, or nothing is known."""
        return self.everywhere or self.at.get(dilution)


NO_BACKGROUND = Backgrounds()


def backgrounds(plate: str, readings: Sequence[Reading], kind: str) -> Backgrounds:
    """What `[readout] background` takes off on one plate.

    Raises AnalysisError when the plate has no usable well of that kind: without one nothing could be corrected.
    """
    if kind == "none":
        return NO_BACKGROUND
    if kind == "secondary-only":
        wells = [r for r in readings if r.well.without_serum and r.usable]
        if not wells:
            raise _nothing(plate, "well without serum", "secondary-only")
        return Backgrounds(kind, everywhere=_mean([[reading] for reading in wells]))
    pools: dict[float, list[list[Reading]]] = {}
    for (_, dilution), group in replicate_sets(readings).items():
        if group and group[0].well.role is Role.NEGATIVE:
            pools.setdefault(dilution, []).append(group)
    known = {dilution: _mean(pool) for dilution, pool in pools.items() if len(pool) > 1}
    if not known:
        raise _nothing(plate, "dilution with two negative sera", "negative-pool")
    return Backgrounds(kind, at=known)


def _nothing(plate: str, what: str, kind: str) -> AnalysisError:
    hint = f"[readout] background {kind!r} needs it: add it to the plate, or set background to 'none'"
    return AnalysisError(f"{plate}: background", f"no usable {what}", hint)


def _mean(groups: Sequence[Sequence[Reading]]) -> Background:
    """Mean over groups (a well each, or a serum each) of their means."""
    bright = [float(np.mean([r.expressing.value for r in group])) for group in groups]
    dark = [float(np.mean([r.nonexpressing.value for r in group])) for group in groups]
    units = [float(np.mean([r.calibrated.delta if r.calibrated else NAN for r in group])) for group in groups]
    first = groups[0][0]
    return Background(
        _limited(bright, first.expressing),
        _limited(dark, first.nonexpressing),
        _limited([b - d for b, d in zip(bright, dark, strict=True)], first.delta),
        float(np.mean(units)),
        len(groups),
    )


def _limited(values: Sequence[float], alone: Estimate) -> Estimate:
    """Their mean with Student's limits; one value by itself has those of its events."""
    n, mean = len(values), float(np.mean(values))
    if n == 1:
        return alone
    from scipy.special import stdtrit

    half = float(stdtrit(n - 1, 0.975)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Estimate(mean, mean - half, mean + half)


def less(median: Estimate, taken_off: Estimate = UNKNOWN) -> Estimate:
    """A median with the background taken off, its error in the limits."""
    if not taken_off.known:
        return median
    down = math.hypot(median.value - median.low, taken_off.high - taken_off.value)
    up = math.hypot(median.high - median.value, taken_off.value - taken_off.low)
    value = median.value - taken_off.value
    return Estimate(value, value - down, value + up)


def corrected(readings: Sequence[Reading], found: Backgrounds) -> list[Reading]:
    """The readings as acceptance judges them: the wells without serum by what is left of their shift.

    Only these, and only where they themselves were taken off; their medians stay as measured.
    """
    off = found.everywhere
    if off is None:
        return list(readings)
    return [
        replace(r, delta=less(r.delta, off.delta)) if r.well.role is Role.SECONDARY_ONLY and r.usable else r
        for r in readings
    ]


def background_checks(plate: str, found: Backgrounds, dilutions: Sequence[float]) -> list[Check]:
    """What was taken off, and at which of the plate's dilutions nothing could be."""
    if not found.wanted:
        return []
    checks = []
    if found.everywhere is not None:
        wells = f"{found.everywhere.n} well{'s' if found.everywhere.n > 1 else ''} without serum"
        checks.append(_told(plate, found.everywhere, wells))
        if found.everywhere.n == 1:
            message = "One well without serum alone was taken off: the error of the background holds counting only."
            checks.append(Check("plate", plate, "background", 1, ">= 2 wells", Verdict.WARN, message))
    for dilution, one in sorted(found.at.items()):
        checks.append(_told(plate, one, f"{one.n} negative sera at 1:{dilution:g}"))
    missing = [f"1:{dilution:g}" for dilution in sorted(set(dilutions)) if found.of(dilution) is None]
    if missing:
        message = f"No two negative sera stand at {', '.join(missing)}: nothing was taken off there, no read-out given."
        checks.append(Check("plate", plate, "background", len(missing), "0 dilutions", Verdict.WARN, message))
    return checks


def _told(plate: str, one: Background, source: str) -> Check:
    message = (
        f"Taken off both medians: {one.expressing.value:.4g} from expressing, {one.nonexpressing.value:.4g} from "
        f"non-expressing cells, a delta of {one.delta.value:.4g} (mean of {source})."
    )
    return Check("plate", plate, "background", one.delta.value, "", Verdict.PASS, message)


def refusals(plate: str, wells: Sequence[Well], settings: Readout, comparator: str) -> list[ConfigError]:
    """What the read-outs that were asked for need, and this plate map does not hold."""
    kept = [well for well in wells if not well.excluded]
    wanted = []
    if settings.background == "secondary-only" and not any(well.without_serum for well in kept):
        wanted.append(("background", "secondary-only", "has no well without serum", "add wells of that role"))
    negatives: dict[float | None, set[str]] = {}
    for well in kept:
        if well.role is Role.NEGATIVE:
            negatives.setdefault(well.dilution, set()).add(well.serum)
    if settings.background == "negative-pool" and max(map(len, negatives.values()), default=0) < 2:
        wanted.append(("background", "negative-pool", "has no dilution with two negative sera", "add negative sera"))
    paired = comparator == "paired-well"
    tops = [well for well in kept if well.role is Role.SECONDARY_ONLY and (well.cells == "control" or not paired)]
    if settings.positive_above == "without-serum" and not tops:
        of_control = " of control cells" if paired else ""
        wanted.append(("positive_above", "without-serum", f"has no well{of_control} without serum", "add one"))
    if settings.decide == "relative":
        there = {well.dilution for well in kept if well.role is Role.REFERENCE}
        tested = {well.dilution for well in kept if well.role in (Role.SAMPLE, Role.NEGATIVE, Role.POSITIVE)}
        missing = ", ".join(f"1:{x:g}" for x in sorted(x for x in tested - there if x is not None))
        if missing:
            hint = "run the reference serum at every dilution"
            wanted.append(("decide", "relative", f"has no reference at {missing}", hint))
    return [
        ConfigError(
            f"assay.toml: [readout] {key}", f"{value!r}, and plate {plate} {lacks}", f"{hint}, or choose another"
        )
        for key, value, lacks, hint in wanted
    ]
