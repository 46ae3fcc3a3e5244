"""A control material against its own past: Levey-Jennings limits and Westgard's rules.

Source: Westgard, Barry, Hunt & Groth, Clin Chem 1981;27:493. Values are judged on the logarithm, on which the
assay's error is alike from weak to strong.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from aqp4flow.assay.cutoffs.negatives import Past
from aqp4flow.assay.quality.precision import reference_change
from aqp4flow.model import Check, Reactivity, Role, Verdict

FULL, LEAST = 20, 5  # runs for limits that reject, and for interim ones that warn


@dataclass(frozen=True)
class Chart:
    """Mean and SD of ln(value) over the past runs of one material at one dilution."""

    n: int
    mean: float
    sd: float

    @property
    def full(self) -> bool:
        """Whether there are runs enough to reject by."""
        return self.n >= FULL

    def score(self, value: float) -> float:
        """How many SD a run lies above the mean; NaN where the value has no logarithm."""
        return (math.log(value) - self.mean) / self.sd if value > 0 else math.nan

    @property
    def change_limit(self) -> float:
        """The fold between two runs that their own error exceeds once in 20."""
        return reference_change(self.sd)


def chart(past: Sequence[float]) -> Chart | None:
    """The chart of past values, all above 0; None below five, and of values that do not differ."""
    if len(past) < LEAST or any(not value > 0 for value in past) or len(set(past)) == 1:
        return None
    logs = [math.log(value) for value in past]
    return Chart(len(logs), statistics.fmean(logs), statistics.stdev(logs))


def westgard(scores: Sequence[float]) -> tuple[str, ...]:
    """The rules that the last of a material's runs breaks, by scores in SD in the order of the runs.

    1-2s warns; 1-3s, 2-2s (twice beyond 2 SD on one side), 4-1s (four times beyond 1 SD on one side) and 10x (ten
    times on one side of the mean) reject.
    """
    last = scores[-1]
    broken = []
    if abs(last) > 2:
        broken.append("1-2s")
    if abs(last) > 3:
        broken.append("1-3s")
    broken += [rule for rule, count, beyond in (("2-2s", 2, 2), ("4-1s", 4, 1), ("10x", 10, 0))
               if _one_side(scores, count, beyond)]  # fmt: skip
    return tuple(broken)


def _one_side(scores: Sequence[float], count: int, beyond: float) -> bool:
    recent = scores[-count:]
    return len(recent) == count and (all(s > beyond for s in recent) or all(s < -beyond for s in recent))


def range_rule(within_run: Sequence[float]) -> bool:
    """R-4s: two materials of one run lie beyond 2 SD on opposite sides."""
    return len(within_run) > 1 and max(within_run) > 2 and min(within_run) < -2


# --- today's controls -------------------------------------------------------------------------------


def control_checks(plate: str, today: Sequence[Reactivity], past: Sequence[Past]) -> list[Check]:
    """Today's positive and reference materials against earlier runs of the same serum and dilution.

    `past` in the order of the runs. A material that meets a rejecting rule fails the plate once 20 runs stand behind
    it; from 5 on it warns beyond 2 SD. Its fold against the past's geometric mean warns beyond the reference change
    value of that past.
    """
    checks: list[Check] = []
    scores: dict[str, float] = {}
    charted = _charted(today, past)
    if not charted:
        message = "A history of controls is given, but no positive or reference serum of the plate has a delta."
        return [Check("plate", plate, "control-chart", 0, ">= 1 control", Verdict.WARN, message)]
    for row in charted:
        earlier = _values(row, past)
        found = chart(earlier)
        if found is None:
            elsewhere = _only_elsewhere(row, today, past)
            checks.append(_no_chart(plate, row, earlier, elsewhere))
            continue
        score = found.score(row.delta.value)
        scores[f"{row.serum} 1:{row.dilution:g}"] = score
        checks.append(_charted_check(plate, row, found, [*map(found.score, earlier), score]))
        checks.append(_bridging(plate, row, found))
    if range_rule([score for score in scores.values() if not math.isnan(score)]):
        words = ", ".join(f"{name} at {score:+.2f} SD" for name, score in scores.items())
        message = f"Control materials of one plate lie beyond 2 SD on opposite sides: {words}. Repeat the plate."
        checks.append(Check("plate", plate, "control-range", words, "R-4s", Verdict.FAIL, message))
    return checks


def _charted(today: Sequence[Reactivity], past: Sequence[Past]) -> list[Reactivity]:
    """Positive controls at every dilution; a reference at the one with the longest past, the lowest of equals."""
    chosen = [row for row in today if row.role is Role.POSITIVE and row.delta.known]
    references: dict[str, list[Reactivity]] = {}
    for row in sorted(today, key=lambda row: row.dilution):
        if row.role is Role.REFERENCE and row.delta.known:
            references.setdefault(row.serum, []).append(row)
    return [*chosen, *(max(rows, key=lambda row: len(_values(row, past))) for rows in references.values())]


def _values(row: Reactivity, past: Sequence[Past]) -> list[float]:
    values = [p.values["delta"] for p in past if (p.serum, p.dilution) == (row.serum, row.dilution)]
    return [value for value in values if not math.isnan(value)]


def _only_elsewhere(row: Reactivity, today: Sequence[Reactivity], past: Sequence[Past]) -> list[float]:
    """The dilutions of a serum's past where none of them is one of today's; else nothing."""
    here = {one.dilution for one in today if one.serum == row.serum}
    before = {one.dilution for one in past if one.serum == row.serum and not math.isnan(one.values["delta"])}
    return [] if here & before else sorted(before)


def _no_chart(plate: str, row: Reactivity, earlier: Sequence[float], elsewhere: Sequence[float]) -> Check:
    """Why a control has no chart: too few earlier runs passes, a past that cannot serve warns."""
    name, n = f"{row.serum} 1:{row.dilution:g}", len(earlier)
    below = sum(not value > 0 for value in earlier)
    wanted, verdict = f">= {LEAST} runs", Verdict.WARN
    if elsewhere:
        there = ", ".join(f"1:{dilution:g}" for dilution in elsewhere)
        message = f"{name} has no earlier runs: those of {row.serum} are at {there}, none of them on this plate."
    elif below:
        wanted = "above 0"
        message = f"{name}: {below} of its {n} earlier runs are not above 0 and have no logarithm: there is no chart."
    elif n >= LEAST:
        wanted = "runs that differ"
        message = f"{name}: its {n} earlier runs are all {earlier[0]:.4g}, so that they tell no scatter."
    else:
        verdict = Verdict.PASS
        message = f"{name} has {n} earlier runs: a chart begins at {LEAST}, all above 0, and rejects from {FULL} on."
    return Check("plate", plate, "control-chart", n, wanted, verdict, message)


def _charted_check(plate: str, row: Reactivity, found: Chart, scores: Sequence[float]) -> Check:
    name, score = f"{row.serum} 1:{row.dilution:g}", scores[-1]
    if math.isnan(score):
        message = f"{name}: delta {row.delta.value:.4g} has no logarithm: it cannot stand on a chart."
        return Check("plate", plate, "control-chart", row.delta.value, "> 0", Verdict.FAIL, message)
    broken = westgard(scores)
    rejected = [rule for rule in broken if rule != "1-2s"]
    verdict = Verdict.FAIL if rejected and found.full else Verdict.WARN if broken else Verdict.PASS
    interim = "" if found.full else f" Interim limits: {found.n} of {FULL} runs."
    rules = f"; it breaks {', '.join(broken)}" if broken else ""
    message = f"{name} lies {score:+.2f} SD from the mean of {found.n} earlier runs{rules}.{interim}"
    if rejected:
        message += " Look for what changed: cells, serum lot, secondary antibody, cytometer."
    return Check("plate", plate, "control-chart", score, "Westgard's rules, within 2 SD", verdict, message)


def _bridging(plate: str, row: Reactivity, found: Chart) -> Check:
    change = row.delta.value / math.exp(found.mean)
    limit = found.change_limit
    beyond = not 1 / limit <= change <= limit
    message = f"{row.serum} 1:{row.dilution:g} stands at {change:.3g} times its earlier runs' geometric mean."
    if beyond:
        message += " That is more than the assay's own error: recalibrate before titers are compared with earlier ones."
    verdict = Verdict.WARN if beyond else Verdict.PASS
    return Check("plate", plate, "bridging", change, f"{1 / limit:.3g} to {limit:.3g}", verdict, message)
