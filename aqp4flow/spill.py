"""Whether compensation matters on a plate: what it left of the reporter in the signal, and what it cannot take away."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from aqp4flow import controls
from aqp4flow.assay.definition import Acceptance
from aqp4flow.controls import Found
from aqp4flow.cytometry.acquisition_qc import Acquired, kept_rows
from aqp4flow.cytometry.gates import Columns, Rows
from aqp4flow.cytometry.residual import Pair, Residual, WellSlope, pooled, well_slope
from aqp4flow.errors import AnalysisError, FcsError, listed
from aqp4flow.fcs import FcsFile
from aqp4flow.gating import Gating
from aqp4flow.model import Check, CutOff, Dimension, Role, Values, Verdict
from aqp4flow.plate import Opened, Plate, Setting, files_of

#: Wells in which nothing can bind to the antigen, the best first. Unstained cells lack the secondary antibody's own
#: binding, negative sera may bind expressing cells for reasons of their own.
WITHOUT_BINDING = (Role.SECONDARY_ONLY, Role.UNSTAINED, Role.NEGATIVE)


@dataclass(frozen=True)
class Spill:
    """A plate's residual slope, and what its single stains gave or why nothing; None where there are none."""

    residual: Residual | None
    stains: Found | AnalysisError | None = None

    @property
    def spreading(self) -> tuple[tuple[str, ...], Values] | None:
        """Channels and spreading matrix of the single stains; None where there is none."""
        found = self.stains
        if found is None or isinstance(found, AnalysisError) or found.spreading is None:
            return None
        return found.matrix.channels, found.spreading


# --- single stains ----------------------------------------------------------------------------------


def stains_of(
    plate: Plate, setting: Setting, progress: Callable[[str], None], gating: Gating | None = None
) -> Found | AnalysisError | None:
    """What the plate's single stains give, or why they give nothing; None without single stains.

    With `gating` cells are told by the plate's gates, and need not be looked for in each control.
    """
    stained = files_of(plate, Role.SINGLE_STAIN)
    if not stained:
        return None
    progress(f"{plate.name}: {len(stained)} single stains")
    dark = [file for _, file in files_of(plate, Role.UNSTAINED)]
    limit = setting.assay.acceptance.condition_limit

    def cells(file: FcsFile) -> Rows | None:
        if gating is None or gating.unfit(file):
            return None
        return gating.populations(file, Columns(file.open_events(), None)).get("cells")

    try:
        return controls.of_plate(
            [(well.dye, file) for well, file in stained], dark, setting.channels, limit, cells if gating else None
        )
    except FcsError as error:  # a control with other channels than the rest
        return AnalysisError(error.where, error.what, error.hint)
    except AnalysisError as error:
        return error


# --- what is left -----------------------------------------------------------------------------------


def residual_of(
    opened: Sequence[Opened], acquired: Sequence[Acquired | None], gatings: Sequence[Gating], setting: Setting
) -> Residual | None:
    """The residual slope of a plate in the first kind of WITHOUT_BINDING that has the events for it.

    None where no such well has enough events of both populations, or the assay compares populations of two wells.
    """
    if setting.assay.assay.comparator != "same-well" or not setting.channels.reporter:
        return None
    every = list(zip(opened, acquired, gatings, strict=True))
    for role in WITHOUT_BINDING:
        wells = [each for each in every if each[0].well.role is role and not each[0].well.excluded]
        if role is Role.NEGATIVE:  # the more serum, the more of its own binding
            highest = max((one.well.dilution or 0.0 for one, _, _ in wells), default=0.0)
            wells = [each for each in wells if (each[0].well.dilution or 0.0) == highest]
        slopes = [slope for one, told, gating in wells if (slope := _slope(one, told, gating, setting))]
        if slopes:
            return Residual(pooled(slopes), role.value, tuple(slopes))
    return None


def _slope(one: Opened, acquired: Acquired | None, gating: Gating, setting: Setting) -> WellSlope | None:
    """The slope of one well; None where it has too few events of a population, or one reporter for all."""
    if one.file is None or not one.file.n_events:
        return None
    columns = one.columns()
    found = gating.populations(one.file, columns)
    if acquired and acquired.cut:
        found = {name: kept_rows(rows, acquired.cut) for name, rows in found.items()}
    if not {"expressing", "nonexpressing"} <= set(found):
        return None
    expressing, nonexpressing = (_pair(columns, found[name], setting) for name in ("expressing", "nonexpressing"))
    if min(len(expressing.signal), len(nonexpressing.signal)) < setting.assay.acceptance.events_fail:
        return None
    slope = well_slope(one.well.name, expressing, nonexpressing)
    return slope if slope.reporter > 0 else None


def _pair(columns: Columns, rows: Rows, setting: Setting) -> Pair:
    """Compensated reporter and signal of the events that have true ones: finite, below the end of both ranges."""
    names = (setting.channels.reporter or "", setting.signal)
    good = np.ones(len(rows), np.bool_)
    for name in names:
        top = next(channel.top for channel in columns.events.channels if channel.name == name)
        good &= columns.raw(name)[rows] < top
    values = [columns.take(Dimension(name, compensated=True), rows) for name in names]
    good &= np.isfinite(values[0]) & np.isfinite(values[1])
    return Pair(values[0][good], values[1][good])


# --- checks -----------------------------------------------------------------------------------------


def spill_checks(plate: str, spill: Spill, setting: Setting, cutoff: CutOff | None) -> list[Check]:
    """What is left of the reporter in the signal, and what its noise adds. `cutoff` is that of delta, or None."""
    reporter = setting.channels.reporter
    if setting.assay.assay.comparator != "same-well" or not reporter:
        return []
    checks = [_residual_check(plate, spill.residual, setting, cutoff)]
    if spill.stains is not None:
        checks.append(_spreading_check(plate, spill, setting))
    return checks


def _residual_check(plate: str, residual: Residual | None, setting: Setting, cutoff: CutOff | None) -> Check:
    limits: Acceptance = setting.assay.acceptance
    limit = f"|slope| <= {limits.residual_slope_percent:g} %"
    if residual is None:
        message = (
            f"What compensation left of {setting.channels.reporter} in {setting.signal} cannot be told: no "
            f"secondary-only, unstained or negative well holds {limits.events_fail} events of both populations."
        )
        return Check("plate", plate, "spill-residual", "", limit, Verdict.WARN, message)
    percent, low, high = (100 * x for x in (residual.slope.value, residual.slope.low, residual.slope.high))
    shift = residual.shift
    alone = ", by counting alone" if len(residual.wells) == 1 else ""
    wells = listed([well.well for well in residual.wells])
    message = (
        f"Where nothing can bind, {setting.signal} follows {setting.channels.reporter} by {percent:.3g} % "
        f"({low:.3g} to {high:.3g}{alone}; {residual.kind} wells {wells}). At this "
        f"plate's reporter of {residual.reporter:.4g} that alone makes a delta of about {shift.value:.3g} "
        f"({shift.low:.3g} to {shift.high:.3g})"
    )
    if cutoff is not None and cutoff.value > 0:
        message += f", {100 * shift.value / cutoff.value:.3g} % of the cut-off"
    beyond = abs(percent) > limits.residual_slope_percent and (low > 0 or high < 0)
    if beyond:
        side = "too little" if percent > 0 else "too much"
        message += f". Compensation takes {side} of {setting.channels.reporter} from {setting.signal}: check that"
        message += " coefficient and the single stain behind it"
    verdict = Verdict.WARN if beyond else Verdict.PASS
    return Check("plate", plate, "spill-residual", percent, limit, verdict, f"{message}.")


def _spreading_check(plate: str, spill: Spill, setting: Setting) -> Check:
    """Passes always: no matrix can take this away, it can only be known."""
    spread = _spread_between(spill, setting.channels.reporter or "", setting.signal)
    found, residual = spill.stains, spill.residual
    if spread is None or found is None or isinstance(found, AnalysisError):
        message = f"The single stains do not show how {setting.channels.reporter} spreads into {setting.signal}"
        message += f": {found.what}." if isinstance(found, AnalysisError) else "."
        return Check("plate", plate, "spreading", "", "", Verdict.PASS, message)
    message = f"Each unit of {setting.channels.reporter} adds a variance of {spread**2:.3g} to {setting.signal}"
    if not spread:
        message = f"{setting.channels.reporter} adds no noise to {setting.signal} that the single stains show"
    elif residual is not None:
        message += f": at a reporter of {residual.reporter:.4g} an SD of {spread * residual.reporter**0.5:.3g}"
    if found.doubts:
        message += f". In doubt: {found.doubts[0].message}"
    return Check("plate", plate, "spreading", spread, "", Verdict.PASS, f"{message}.")


def _spread_between(spill: Spill, dye: str, detector: str) -> float | None:
    """The spread of a dye in a detector; None where the single stains do not show it."""
    names, spreads = spill.spreading or ((), None)
    if spreads is None or not {dye, detector} <= set(names):
        return None
    value = float(spreads[names.index(dye), names.index(detector)])
    return None if np.isnan(value) else value
