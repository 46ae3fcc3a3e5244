"""Acceptance of a plate: each rule with its value, its limit, a verdict and a sentence for the bench."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from aqp4flow.assay.cutoffs.apart import standing_apart
from aqp4flow.assay.cutoffs.cutoff import CutOffs
from aqp4flow.assay.cutoffs.cutoffchecks import cutoff_checks
from aqp4flow.assay.definition import Acceptance
from aqp4flow.assay.replicates import ReplicateError, counting_variance, delta_terms
from aqp4flow.errors import listed
from aqp4flow.model import FULLY_STAINED, WITH_SERUM, Check, Estimate, Reactivity, Reading, Role, Status, Verdict, Z


@dataclass(frozen=True)
class PlateResult:
    """What a plate is judged by."""

    plate: str
    readings: Sequence[Reading]
    rows: Sequence[Reactivity]
    cutoffs: CutOffs
    error: ReplicateError
    well_checks: Sequence[Check] = ()


def accept(result: PlateResult, limits: Acceptance) -> list[Check]:
    """All checks of one plate, in reading order."""
    checks = _negatives(result, limits) + _negative_controls(result) + _positive_controls(result)
    checks += _secondary_only(result, limits) + _negative_shift(result, limits) + _replicates(result, limits)
    checks += (
        _below_screening(result)
        + _negative_cv(result, limits)
        + _overview(result, limits)
        + _replicate_sets(result, limits)
    )
    for reading in result.readings:
        checks += _well(reading, limits)
    return checks


def well_flags(reading: Reading, limits: Acceptance) -> tuple[str, ...]:
    """Flags a well earns by its own counts; wells without the full stain earn none."""
    return tuple(check.check for check in _well(reading, limits) if check.verdict is not Verdict.PASS)


def _negatives(result: PlateResult, limits: Acceptance) -> list[Check]:
    sera = {row.serum for row in result.rows if row.role is Role.NEGATIVE and row.delta.known}
    return cutoff_checks(result.plate, result.cutoffs, len(sera), limits.min_negatives)


def _negative_controls(result: PlateResult) -> list[Check]:
    """Negative sera that are positive: none may be, unless the rule itself promises that some will.

    A rule that lets 5 % of negatives through makes one of 20 positive by design. Where it promises half a serum or
    more, as many as chance makes (97.5 % of the binomial) warn only.
    """
    cutoff = result.cutoffs.deciding
    if cutoff is None:
        return []
    sera = {row.serum for row in result.rows if row.role is Role.NEGATIVE}
    positive = [row for row in result.rows if row.role is Role.NEGATIVE and row.status is Status.POSITIVE]
    names = list(dict.fromkeys(row.serum for row in positive))
    message = f"Negative sera above the cut-off: {', '.join(names)}." if positive else "No negative serum is positive."
    verdict = Verdict.FAIL if positive else Verdict.PASS
    apart = [one for one in standing_apart(result.cutoffs, result.rows) if one.serum not in names]
    if apart:
        words = ", ".join(f"{one.serum} ({one.value:.4g}, limit {one.limit:.4g})" for one in apart)
        message = (
            f"By the cut-off of the other negative sera these would be positive: {words}. They raised the cut-off, and"
            " titers are too low by it: exclude their wells with a reason, or repeat the plate."
        )
        found = len(positive) + len(apart)
        return [Check("plate", result.plate, "negative-control", found, "0 positive", Verdict.FAIL, message)]
    expected = len(sera) * cutoff.false_positives.value
    if positive and not cutoff.fixed and expected >= 0.5 and _by_chance(len(names), len(sera), expected / len(sera)):
        verdict = Verdict.WARN
        message += f" The rule lets {100 * expected / len(sera):.2g} % of negatives through: {expected:.2g} expected."
    return [Check("plate", result.plate, "negative-control", len(positive), "0 positive", verdict, message)]


def _by_chance(found: int, n: int, share: float) -> bool:
    """Whether so many of n happen by chance: with at least 2.5 %, where each happens with `share`."""
    from scipy.special import bdtrc

    return float(bdtrc(found - 1, n, share)) >= 0.025


def _positive_controls(result: PlateResult) -> list[Check]:
    """Every positive serum must be positive, but for those that a `roc` cut-off of this very plate lets go."""
    controls = [row for row in result.rows if row.role is Role.POSITIVE]
    cutoff, screening = result.cutoffs.deciding, result.cutoffs.screening
    if cutoff is None or not controls:
        return []
    if cutoff.rule.startswith("roc") and cutoff.source == "plate" and screening is not None:
        judged = [row for row in controls if row.dilution == screening]
        let_go = {row.serum for row in judged if row.status is not Status.POSITIVE}
        rest = [row for row in controls if row.serum not in let_go and row.status is not Status.POSITIVE]
        if let_go and not rest:
            return [_let_go(result.plate, sorted(let_go), len(judged), cutoff.sensitivity)]
    missed = [row for row in controls if row.status is not Status.POSITIVE]
    names = ", ".join(f"{row.serum} 1:{row.dilution:g} {row.status}" for row in missed)
    message = f"Positive control not positive: {names}." if missed else "Every positive control is positive."
    verdict = Verdict.FAIL if missed else Verdict.PASS
    return [Check("plate", result.plate, "positive-control", len(missed), "0 missed", verdict, message)]


def _let_go(plate: str, missed: Sequence[str], n: int, sensitivity: Estimate) -> Check:
    """Labelled sera that the plate's own `roc` cut-off calls not positive: expected, within its sensitivity's limits.

    Never a failure: the rule chose to lose them. More than the limits allow are lost to the second criterion.
    """
    share = Estimate(100 * (1 - sensitivity.value), 100 * (1 - sensitivity.high), 100 * (1 - sensitivity.low))
    enough = 100 * len(missed) <= share.high * n
    message = (
        f"{len(missed)} of {n} positive sera are not positive: {', '.join(missed)}. The rule roc chose this cut-off "
        f"from them: it misses {share.value:.3g} % ({share.low:.3g} to {share.high:.3g}) of such sera"
    )
    message += "." if enough else ", and the second criterion refuses the others."
    verdict = Verdict.PASS if enough else Verdict.WARN
    limit = f"<= {share.high:.3g} % of {n} missed"
    return Check("plate", plate, "positive-control", len(missed), limit, verdict, message)


def _secondary_only(result: PlateResult, limits: Acceptance) -> list[Check]:
    """Shift without any serum: what spillover or the secondary antibody alone would call binding.

    It fails when it is more than its own error explains; else it only warns.
    """
    wells = [r for r in result.readings if r.well.role is Role.SECONDARY_ONLY and r.usable]
    cutoff = result.cutoffs.delta
    if not wells or cutoff is None or not cutoff.value > 0:
        return []
    mean = statistics.fmean(r.delta.value for r in wells)
    half = _half_width(wells, result.error)
    share, allowed = 100 * abs(mean) / cutoff.value, limits.secondary_percent_of_cutoff
    verdict = Verdict.PASS if share <= allowed else Verdict.FAIL if abs(mean) > half else Verdict.WARN
    message = f"Shift in wells without serum is {share:.3g} % of the cut-off (delta {mean:.4g}, ± {half:.3g})."
    if verdict is Verdict.FAIL:
        message += " Look for spillover from the reporter, or a secondary antibody that binds the cells."
    if verdict is Verdict.WARN:
        message += " That is within its own error: run more wells without serum."
    return [Check("plate", result.plate, "secondary-only", share, f"<= {allowed:g} %", verdict, message)]


def _half_width(wells: Sequence[Reading], error: ReplicateError) -> float:
    """Half of the 95 % limits of the mean delta of wells: counting, and the plate's error between wells."""
    variances = [
        counting_variance(r.delta) + error.of_delta.variance(delta_terms(r.expressing.value, r.nonexpressing.value))
        for r in wells
    ]
    return Z * math.sqrt(sum(variances)) / len(wells)


def _negative_shift(result: PlateResult, limits: Acceptance) -> list[Check]:
    """Shift that all negative sera share at the screening dilution: beyond chance, and a large part of the cut-off.

    Frey's cut-off holds the mean of the negatives itself, so the share stays below 100 %: at 50 % the shift that all
    have in common is as large as all that their scatter adds. Warns only: such a cut-off is high, not wrong.
    """
    cutoff = result.cutoffs.delta
    rows = [row for row in result.rows if row.role is Role.NEGATIVE and row.delta.known]
    screening = result.cutoffs.screening or min((row.dilution for row in rows), default=math.nan)
    shifts = [row.delta.value for row in rows if row.dilution == screening]
    if not shifts or cutoff is None or not cutoff.value > 0:
        return []
    mean, allowed = statistics.fmean(shifts), limits.negative_percent_of_cutoff
    sd = statistics.stdev(shifts) if len(shifts) > 1 else 0.0
    share = 100 * abs(mean) / cutoff.value
    message = (
        f"Negative sera at 1:{screening:g} shift by {mean:.4g} on average (SD {sd:.3g}, n = {len(shifts)}), "
        f"{share:.3g} % of the cut-off" + (", which holds that mean." if cutoff.n else ".")
    )
    beyond = share > allowed and _beyond_chance(mean, sd, len(shifts))
    if beyond:
        message += (
            " Look at the wells without serum: a like shift there is spill from the reporter or the secondary antibody;"
            " none there is serum that binds expressing cells otherwise than by the antigen."
        )
    verdict = Verdict.WARN if beyond else Verdict.PASS
    return [Check("plate", result.plate, "negative-shift", share, f"<= {allowed:g} %", verdict, message)]


def _below_screening(result: PlateResult) -> list[Check]:
    """Sera read at lower dilutions than any negative serum: what binds there without antibody is not known."""
    cutoff, screening = result.cutoffs.deciding, result.cutoffs.screening
    if cutoff is None or cutoff.fixed or screening is None:
        return []
    sera = [row.serum for row in result.rows if row.role is Role.SAMPLE and row.dilution < screening]
    if not sera:
        return []
    message = (
        f"Sera were read below 1:{screening:g}, where the cut-off was made: {listed(list(dict.fromkeys(sera)))}."
        " Negative sera bind more there: run them at the lowest dilution of the sera."
    )
    return [Check("plate", result.plate, "below-screening", len(sera), "0", Verdict.WARN, message)]


def _beyond_chance(mean: float, sd: float, n: int) -> bool:
    """Whether the 95 % limits of a mean exclude 0 (Student's t); a single value has none and is taken as it is."""
    if n < 2:
        return True
    from scipy.special import stdtrit

    return abs(mean) > float(stdtrit(n - 1, 0.975)) * sd / math.sqrt(n)


def _replicates(result: PlateResult, limits: Acceptance) -> list[Check]:
    cv, df, saturated = result.error.total_cv, result.error.df, result.error.saturated
    left_out = f" {saturated} saturated well{'s' if saturated > 1 else ''} left out." if saturated else ""
    if not df:
        message = f"No replicates with a clear shift: the plate does not tell the error between its wells.{left_out}"
        return [Check("plate", result.plate, "replicates", 0, "replicate wells", Verdict.WARN, message)]
    fail, warn = limits.replicate_cv_fail, limits.replicate_cv_warn
    verdict = Verdict.FAIL if cv > fail else Verdict.WARN if cv > warn else Verdict.PASS
    message = f"Replicate wells differ by a CV of {cv:.3g} % in delta ({_degrees(df)}).{left_out}"
    return [Check("plate", result.plate, "replicate-cv", cv, f"<= {warn:g} %, fail > {fail:g} %", verdict, message)]


def _degrees(df: int) -> str:
    return f"{df} degree{'s' if df > 1 else ''} of freedom"


def _negative_cv(result: PlateResult, limits: Acceptance) -> list[Check]:
    """How well the expressing MFI of one negative serum repeats: cells and secondary antibody, without any titer."""
    sets = [group for group in _replicates_of(result.readings) if group[0].well.role is Role.NEGATIVE]
    if not sets:
        return []
    df = sum(len(group) - 1 for group in sets)
    cv = math.sqrt(sum((len(group) - 1) * _cv(group) ** 2 for group in sets) / df)
    allowed = limits.negative_cv
    verdict = Verdict.WARN if cv > allowed else Verdict.PASS
    message = f"MFI of negative sera differs between their wells by a CV of {cv:.3g} % ({_degrees(df)})."
    return [Check("plate", result.plate, "negative-cv", cv, f"<= {allowed:g} %", verdict, message)]


def _replicate_sets(result: PlateResult, limits: Acceptance) -> list[Check]:
    """Sera whose replicates differ in expressing MFI at one dilution; nothing is listed for those that agree."""
    warn, fail = limits.replicate_cv_warn, limits.replicate_cv_fail
    checks = []
    for group in _replicates_of(result.readings):
        cv, well = _cv(group), group[0].well
        if cv > warn:
            verdict = Verdict.FAIL if cv > fail else Verdict.WARN
            names = " and ".join(f"{r.well.name} {r.expressing.value:.4g}" for r in group)
            message = (
                f"Replicates at 1:{well.dilution:g} differ: {names}. Repeat the serum, or know which well is wrong."
            )
            limit = f"<= {warn:g} %, fail > {fail:g} %"
            subject = f"{well.plate}/{well.serum}"
            checks.append(Check("serum", subject, "replicates-differ", cv, limit, verdict, message))
    return checks


def _replicates_of(readings: Sequence[Reading]) -> list[list[Reading]]:
    """Usable wells of one serum and dilution, where there are two or more with an MFI above 0; none saturated."""
    sets: dict[tuple[str, float | None], list[Reading]] = {}
    for r in readings:
        measured = r.usable and r.expressing.value > 0 and "saturated" not in r.flags
        if r.well.role in WITH_SERUM and r.well.cells != "control" and measured:
            sets.setdefault((r.well.serum, r.well.dilution), []).append(r)
    return [group for group in sets.values() if len(group) > 1]


def _cv(group: Sequence[Reading]) -> float:
    """CV in percent of the expressing MFI of replicates."""
    values = [reading.expressing.value for reading in group]
    return 100 * statistics.stdev(values) / statistics.fmean(values)


def _overview(result: PlateResult, limits: Acceptance) -> list[Check]:
    """The plate's worst well by events and by expression, and the share of wells that failed any rule of a well."""
    wells = [r for r in result.readings if r.well.role in FULLY_STAINED and not r.well.excluded]
    if not wells:
        return []
    failed = {check.subject for check in result.well_checks if check.verdict is Verdict.FAIL}
    failed |= {c.subject for r in wells for c in _well(r, limits) if c.verdict is Verdict.FAIL}
    bad = [r.well.name for r in wells if f"{result.plate}/{r.well.name}" in failed]
    share, allowed = 100 * len(bad) / len(wells), limits.failed_wells_percent
    names = f": {listed(bad, 8)}" if bad else ""
    message = f"{len(bad)} of {len(wells)} wells with the whole stain failed a rule of their own{names}."
    verdict = Verdict.FAIL if share > allowed else Verdict.PASS
    checks = [Check("plate", result.plate, "wells", share, f"<= {allowed:g} %", verdict, message)]
    counts = [(n, name, r.well.name) for r in wells for name, n in r.counts.items() if name.endswith("expressing")]
    if counts:
        n, population, well = min(counts)
        message = f"The smallest population that is measured: {n} {population} events, in {well}."
        verdict = Verdict.WARN if n < limits.events_warn else Verdict.PASS
        limit = f">= {limits.events_warn} in each well"
        checks.append(Check("plate", result.plate, "events", n, limit, verdict, message))
    return checks


def _well(reading: Reading, limits: Acceptance) -> list[Check]:
    """Checks of one well that say something: nothing is listed for a well in order."""
    well = reading.well
    subject = f"{well.plate}/{well.name}"
    if well.excluded:
        return [Check("well", subject, "excluded", "yes", "", Verdict.WARN, f"Excluded: {well.excluded}")]
    if reading.n_events is None or well.role not in FULLY_STAINED:
        return []
    if reading.n_events == 0:
        message = "The file holds no events: nothing was acquired in this well."
        return [Check("well", subject, "empty", 0, "> 0 events", Verdict.FAIL, message)]
    return _events(reading, subject, limits) + _expression(reading, subject, limits)


def _events(reading: Reading, subject: str, limits: Acceptance) -> list[Check]:
    checks = []
    for population in ("expressing", "nonexpressing"):
        n = reading.counts.get(population)
        if n is not None and n < limits.events_warn:
            verdict = Verdict.FAIL if n < limits.events_fail else Verdict.WARN
            limit = f">= {limits.events_warn}, fail < {limits.events_fail}"
            message = f"{n} {population} events: the median is uncertain."
            checks.append(Check("well", subject, f"few-{population}", n, limit, verdict, message))
    return checks


def _expression(reading: Reading, subject: str, limits: Acceptance) -> list[Check]:
    bright, dark = reading.counts.get("expressing"), reading.counts.get("nonexpressing")
    if bright is None or dark is None or bright + dark == 0:
        return []
    share = 100 * bright / (bright + dark)
    if share >= limits.expressing_percent:
        return []
    message = f"{share:.3g} % of the gated cells express the reporter: the transfection or the well failed."
    limit = f">= {limits.expressing_percent:g} %"
    return [Check("well", subject, "low-expression", share, limit, Verdict.WARN, message)]


def saturation(reading: Reading, share: float, limits: Acceptance) -> Check | None:
    """Events whose signal stands at the top of the range: the well's MFI is then a lower bound."""
    percent = 100 * share
    if math.isnan(share) or percent <= limits.saturated_percent_warn:
        return None
    verdict = Verdict.FAIL if percent > limits.saturated_percent_fail else Verdict.WARN
    message = f"{percent:.3g} % of the expressing events stand at the top of the signal's range: a lower bound."
    limit = f"<= {limits.saturated_percent_warn:g} %, fail > {limits.saturated_percent_fail:g} %"
    subject = f"{reading.well.plate}/{reading.well.name}"
    return Check("well", subject, "saturated", percent, limit, verdict, message)
