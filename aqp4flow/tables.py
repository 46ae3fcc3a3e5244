"""Results as tables: which columns, in which order, written how. Missing is empty, never 0."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence

from aqp4flow.assay.units.parallelism import Parallelism
from aqp4flow.assay.units.standard import Reference
from aqp4flow.cohort.bridging import BridgeRow
from aqp4flow.cytometry.beads import Calibration
from aqp4flow.model import (
    NAN,
    Calibrated,
    Check,
    Curve,
    CutOff,
    Estimate,
    Imprecision,
    Reactivity,
    Reading,
    Repair,
    Spillover,
    Statistic,
    Summary,
    Titer,
    Titration,
    TrajectoryPoint,
    Values,
)

Cell = str | int | float | None
Table = tuple[tuple[str, ...], list[list[Cell]]]


def number(value: float) -> str:
    """Six significant digits, no exponent below 1e16; empty for NaN and infinity."""
    if not math.isfinite(value):
        return ""
    text = repr(float(f"{value:.6g}"))
    return text.removesuffix(".0") if text != "-0.0" else "0"


def cell_text(cell: Cell) -> str:
    """A cell as it stands in a file."""
    if cell is None:
        return ""
    return number(cell) if isinstance(cell, float) else str(cell)


def to_csv(table: Table) -> str:
    """The table as CSV: UTF-8, LF, heading first."""
    headings, rows = table
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(headings)
    writer.writerows([cell_text(cell) for cell in row] for row in rows)
    return out.getvalue()


def joined(words: Iterable[str]) -> str:
    """Flags in one cell."""
    return ";".join(words)


def _limits(estimate: Estimate) -> list[Cell]:
    return [estimate.value, estimate.low, estimate.high]


def _titer(titer: Titer | None) -> list[Cell]:
    """Value, low, high, bound."""
    return [titer.value, titer.low, titer.high, titer.bound.value] if titer else [None] * 4


WELLS = (
    "plate", "well", "file", "role", "serum", "cells", "dilution", "replicate",
    "n_events", "n_cells", "n_singlets", "n_live", "n_expressing", "n_nonexpressing",
    "mfi_expressing", "mfi_nonexpressing", "delta", "delta_low", "delta_high", "ratio", "ratio_low", "ratio_high",
    "percent_positive", "flags", "notes", "mfi_expressing_low", "mfi_expressing_high",
    "mfi_nonexpressing_low", "mfi_nonexpressing_high", "n_cut_out",
    "mef_expressing", "mef_nonexpressing", "mef_delta", "mef_unit",
    "above_expressing", "above_nonexpressing", "rpc", "slope",
)  # fmt: skip


def wells_table(readings: Sequence[Reading]) -> Table:
    """One row a well."""
    return WELLS, [_well_row(reading) for reading in readings]


def _well_row(reading: Reading) -> list[Cell]:
    well = reading.well
    flags = ("excluded", *reading.flags) if well.excluded else reading.flags
    flags = tuple(dict.fromkeys(flags))
    counts: list[Cell] = [
        reading.counts.get(gate) for gate in ("cells", "singlets", "live", "expressing", "nonexpressing")
    ]
    return [
        well.plate, well.name, well.file, well.role.value, well.serum, well.cells, well.dilution, well.replicate,
        reading.n_events, *counts,
        reading.expressing.value, reading.nonexpressing.value, *_limits(reading.delta), *_limits(reading.ratio),
        reading.percent_positive, joined(flags), joined(reading.notes),
        reading.expressing.low, reading.expressing.high, reading.nonexpressing.low, reading.nonexpressing.high,
        reading.n_cut_out, *_calibrated(reading.calibrated),
        reading.above_expressing, reading.above_nonexpressing, reading.rpc, reading.slope,
    ]  # fmt: skip


def _calibrated(units: Calibrated | None) -> list[Cell]:
    return [units.expressing, units.nonexpressing, units.delta, units.unit] if units else [None] * 4


REACTIVITY = (
    "plate", "serum", "dilution", "n_replicates", "mfi_expressing", "mfi_nonexpressing",
    "delta", "delta_low", "delta_high", "ratio", "ratio_low", "ratio_high", "index", "relative",
    "cutoff_delta", "cutoff_ratio", "status", "flags", "role", "grade",
    "index_low", "index_high", "log2_ratio", "log2_ratio_low", "log2_ratio_high", "relative_low", "relative_high",
    "percent_positive", "rpc", "rpc_low", "rpc_high", "z_negative", "mef_delta", "slope",
    "background_expressing", "background_nonexpressing", "notes",
)  # fmt: skip


def reactivity_table(rows: Sequence[Reactivity]) -> Table:
    """One row a plate, serum and dilution."""
    return REACTIVITY, [
        [
            row.plate, row.serum, row.dilution, row.n_replicates, row.mfi_expressing, row.mfi_nonexpressing,
            *_limits(row.delta), *_limits(row.ratio), row.index, row.relative,
            row.cutoff_delta, row.cutoff_ratio, row.status.value, joined(row.flags), row.role.value, row.grade,
            row.index_low, row.index_high, *_limits(row.log2_ratio), row.relative_low, row.relative_high,
            row.percent_positive, *_limits(row.rpc), row.z_negative, row.mef_delta, row.slope,
            row.background_expressing, row.background_nonexpressing, joined(row.notes),
        ]
        for row in rows
    ]  # fmt: skip


CUTOFFS = (
    "plate", "readout", "cutoff", "rule", "source", "n", "mean", "sd", "factor", "false_positive_rate", "outliers",
    "false_positive_low", "false_positive_high", "log", "median", "mad", "sensitivity", "sensitivity_low",
    "sensitivity_high", "equivocal",
)  # fmt: skip


def cutoffs_table(cutoffs: Sequence[tuple[str, CutOff]]) -> Table:
    """One row a plate and criterion, the deciding one first."""
    return CUTOFFS, [
        [
            plate, c.readout, c.value, c.rule, c.source, c.n or None, c.mean, c.sd, c.factor, c.false_positives.value,
            joined(f"{outlier.serum} {outlier.side}" for outlier in c.outliers),
            c.false_positives.low, c.false_positives.high, "yes" if c.log else "", c.median, c.mad,
            *_limits(c.sensitivity), c.equivocal,
        ]
        for plate, c in cutoffs
    ]  # fmt: skip


TITERS = (
    "plate", "serum", "readout", "cutoff", "endpoint", "endpoint_bound",
    "titer", "titer_low", "titer_high", "titer_bound",
    "units", "units_low", "units_high", "units_bound", "parallel", "flags", "role",
    "midpoint", "midpoint_low", "midpoint_high", "curve_model", "unit", "reference",
)  # fmt: skip


def titers_table(titrations: Sequence[Titration]) -> Table:
    """One row a plate and serum; units only where the plate's reference holds."""
    return TITERS, [_titer_row(titration) for titration in titrations]


def _titer_row(titration: Titration) -> list[Cell]:
    endpoint: list[Cell] = (
        [titration.endpoint.value, titration.endpoint.bound.value] if titration.endpoint else [None, None]
    )
    return [
        titration.plate, titration.serum, titration.readout, titration.cutoff, *endpoint,
        *_titer(titration.titer), *_titer(titration.units), titration.parallel or None,
        joined(titration.flags), titration.role.value,
        *_curve(titration.curve), titration.unit, titration.reference,
    ]  # fmt: skip


def _curve(curve: Curve | None) -> list[Cell]:
    return [*_limits(curve.midpoint), curve.model] if curve else [None] * 4


STANDARDS = (
    "plate", "serum", "dilution", "n_replicates", "units", "delta", "delta_low", "delta_high",
    "fitted", "fitted_low", "fitted_high", "recovery_percent", "cv_percent", "in_range", "used", "note",
)  # fmt: skip


def standards_table(references: Sequence[Reference]) -> Table:
    """One row a standard: a dilution of the reference serum of a plate."""
    return STANDARDS, [
        [
            reference.plate, reference.serum, s.dilution, s.row.n_replicates, s.units, *_limits(s.row.delta),
            *_limits(s.fitted), s.recovery, s.cv, "yes" if s.in_range else "", "yes" if s.used else "", s.note,
        ]
        for reference in references
        for s in reference.standards
    ]  # fmt: skip


PARALLELISM = (
    "plate", "serum", "n_dilutions", "cv_percent", "slope_ratio", "slope_low", "slope_high", "parallel", "note",
)  # fmt: skip


def parallelism_table(found: Sequence[Parallelism]) -> Table:
    """One row a plate and serum beside the plate's reference; limits of the slope ratio are 90 %."""
    return PARALLELISM, [
        [p.plate, p.serum, p.n_dilutions, p.cv, *_limits(p.slope), p.parallel or None, p.note] for p in found
    ]


TRAJECTORIES = (
    "patient", "visit", "serum", "collected", "month", "plates", "baseline",
    "dilution", "delta", "delta_low", "delta_high", "ratio", "ratio_low", "ratio_high", "index",
    "titer", "titer_low", "titer_high", "titer_bound", "status",
    "quantity", "fold_vs_baseline", "fold_low", "fold_high", "fold_bound", "flags", "notes",
    "units", "units_low", "units_high", "units_bound",
    "value", "value_low", "value_high", "value_bound", "log2_fold", "log2_fold_low", "log2_fold_high",
    "change", "change_limit", "change_basis", "timepoint",
)  # fmt: skip


def trajectories_table(points: Sequence[TrajectoryPoint]) -> Table:
    """One row a patient and visit; the shifts are those at the serum's lowest dilution."""
    return TRAJECTORIES, [_trajectory_row(point) for point in points]


def _trajectory_row(point: TrajectoryPoint) -> list[Cell]:
    visit, row = point.visit, point.reactivity
    shifts: list[Cell] = [row.dilution, *_limits(row.delta), *_limits(row.ratio), row.index] if row else [None] * 8
    return [
        visit.patient, visit.visit, visit.serum, visit.collected, visit.month, joined(point.plates),
        "yes" if visit.baseline else "", *shifts, *_titer(point.titer), row.status.value if row else None,
        point.quantity, *_titer(point.fold), joined(point.flags), joined(point.notes), *_titer(point.units),
        *_titer(point.value), *_log2(point.fold),
        "" if visit.baseline else point.change.value,
        point.limit.fold if point.limit else None, point.limit.why if point.limit else None, point.timepoint,
    ]  # fmt: skip


def _log2(fold: Titer | None) -> list[Cell]:
    """log2 of value, low, high."""
    sides = (fold.value, fold.low, fold.high) if fold else (NAN, NAN, NAN)
    return [math.log2(side) if side > 0 else NAN for side in sides]


BRIDGING = (
    "plate", "serum", "role", "quantity", "dilution", "value", "value_low", "value_high", "bound", "used", "residual",
    "plate_effect", "plate_effect_low", "plate_effect_high",
)  # fmt: skip


def bridging_table(rows: Sequence[BridgeRow]) -> Table:
    """One row a plate and control, or serum measured on several plates; residual and effect are factors."""
    return BRIDGING, [
        [
            row.plate, row.serum, row.role.value, row.quantity, row.dilution, *_titer(row.value),
            "yes" if row.used else "", row.residual, *_limits(row.effect),
        ]
        for row in rows
    ]  # fmt: skip


STATISTICS = (
    "figure", "outcome", "contrast", "test", "exact", "n", "statistic", "p", "p_adjusted", "p_attainable",
    "effect", "effect_low", "effect_high", "unit", "primary", "note",
)  # fmt: skip


def statistics_table(rows: Sequence[Statistic]) -> Table:
    """One row a test or estimate of one contrast of one outcome."""
    return STATISTICS, [
        [
            s.figure, s.outcome, s.contrast, s.test, s.exact, s.n, s.statistic, s.p, s.p_adjusted, s.attainable,
            *_limits(s.effect), s.unit, "yes" if s.primary else "", s.note,
        ]
        for s in rows
    ]  # fmt: skip


SUMMARIES = (
    "figure", "outcome", "timepoint", "n", "mean", "sd", "sem", "median", "median_bound", "q1", "q3",
    "bounded", "scale",
)  # fmt: skip


def summaries_table(rows: Sequence[Summary]) -> Table:
    """One row an outcome and time point; on scale log2 the mean is geometric, SD and SEM are of log2 values."""
    return SUMMARIES, [
        [
            s.figure, s.outcome, s.timepoint, s.n, s.mean, s.sd, s.sem, s.median,
            s.bound.value if not math.isnan(s.median) else None, s.q1, s.q3, s.bounded, "log2" if s.log2 else "linear",
        ]
        for s in rows
    ]  # fmt: skip


def checks_table(checks: Sequence[Check]) -> Table:
    """One row a check."""
    headings = ("scope", "subject", "check", "value", "limit", "verdict", "message")
    return headings, [[c.scope, c.subject, c.check, c.value, c.limit, c.verdict.value, c.message] for c in checks]


def repairs_table(repairs: Sequence[tuple[str, Repair]]) -> Table:
    """One row a mended, odd or refused file, with its plate."""
    return ("file", "code", "message", "plate"), [[r.file, r.code, r.message, plate] for plate, r in repairs]


def spillover_table(matrices: Sequence[tuple[str, Spillover]]) -> Table:
    """The matrices used, a row a dye and detector, with limits where the coefficients were estimated."""
    heading = ("plate", "source", "dye", "detector", "coefficient", "coefficient_low", "coefficient_high")
    return heading, [
        [plate, m.source, dye, detector, *(NAN if x is None else float(x[i, j]) for x in (m.matrix, m.low, m.high))]
        for plate, m in matrices
        for i, dye in enumerate(m.channels)
        for j, detector in enumerate(m.channels)
    ]


SPREADING = ("plate", "dye", "detector", "spread")


def spreading_table(found: Sequence[tuple[str, Sequence[str], Values]]) -> Table:
    """One row a plate, dye and other detector; each plate with its channels and their matrix of spreads."""
    return SPREADING, [
        [plate, dye, detector, float(spreads[i, j])]
        for plate, channels, spreads in found
        for i, dye in enumerate(channels)
        for j, detector in enumerate(channels)
        if i != j
    ]


BEADS = (
    "plate", "channel", "unit", "lot", "wells", "peak", "n", "mfi", "cv_percent", "assigned", "fitted",
    "residual_percent", "used", "note", "slope", "intercept", "autofluorescence", "r2",
)  # fmt: skip


def beads_table(calibrations: Sequence[tuple[str, Calibration]]) -> Table:
    """One row a plate and bead, dim to bright, with the line all of a plate's share."""
    return BEADS, [
        [
            plate, c.assigned.channel, c.assigned.unit, c.assigned.lot, joined(sample.name for sample in c.samples),
            peak.number, peak.n, peak.mfi, peak.cv, peak.assigned, peak.fitted, peak.residual_percent,
            "yes" if peak.used else "", peak.note, c.line.slope, c.line.intercept, c.line.autofluorescence, c.line.r2,
        ]
        for plate, c in calibrations
        for peak in c.peaks
    ]  # fmt: skip


PRECISION = (
    "quantity", "material", "role", "dilution", "n", "plates", "geometric_mean",
    "cv_within", "cv_within_low", "cv_within_high", "df_within",
    "cv_between", "cv_between_low", "cv_between_high", "df_between",
    "cv_total", "cv_total_low", "cv_total_high", "df_total",
    "replicates", "rcv_one_plate", "rcv_one_plate_low", "rcv_one_plate_high",
    "rcv_two_plates", "rcv_two_plates_low", "rcv_two_plates_high", "notes",
)  # fmt: skip


def precision_table(rows: Sequence[Imprecision]) -> Table:
    """One row a quantity, material and dilution measured more than once, and one pooled over them."""
    return PRECISION, [precision_row(row) for row in rows]


def precision_row(row: Imprecision) -> list[Cell]:
    """The cells of one row of precision.csv."""
    return [
        row.quantity, row.material, row.role, row.dilution, row.n, row.plates, row.mean,
        *_limits(row.within), row.within_df, *_limits(row.between), row.between_df, *_limits(row.total), row.total_df,
        row.replicates, *_limits(row.rcv_one_plate), *_limits(row.rcv_two_plates), joined(row.notes),
    ]  # fmt: skip


def points_table(points: Sequence[tuple[str, str, float, float, float, float, str]]) -> Table:
    """What a figure shows: panel, series, x, y, its limits, and a mark (bound or status)."""
    return ("panel", "series", "x", "y", "low", "high", "mark"), [list(point) for point in points]
