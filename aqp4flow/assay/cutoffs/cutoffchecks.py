"""What there is to say of a plate's cut-offs: how each was made, how often it errs, and what speaks against it."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aqp4flow.assay.cutoffs.cutoff import CutOffs
from aqp4flow.assay.cutoffs.cutoffrules import percent
from aqp4flow.model import Check, CutOff, Outlier, Verdict

#: Sera from which on a cut-off is no longer warned of.
RECOMMENDED = 10


def cutoff_checks(plate: str, cutoffs: CutOffs, n: int, least: int) -> list[Check]:
    """Checks of a plate's cut-offs. `n`: its negative sera, `least` of which a cut-off needs."""
    limit = f">= {least} ({RECOMMENDED} recommended)"
    checks = _refused(plate, cutoffs, n, limit) if cutoffs.deciding is None else [_made(plate, cutoffs, limit)]
    for remark in cutoffs.remarks:
        verdict = Verdict.WARN if remark.doubtful else Verdict.PASS
        checks.append(Check("plate", plate, remark.code, remark.value, "", verdict, remark.message))
    for cutoff in cutoffs.criteria:
        checks += _outliers(plate, cutoff) + _equal(plate, cutoff) + _low(plate, cutoff)
        checks += _grey_zone(plate, cutoff)
    return checks


def _refused(plate: str, cutoffs: CutOffs, n: int, limit: str) -> list[Check]:
    message = "Too few negative sera for a cut-off: status is not interpretable and endpoint titers are empty."
    if not cutoffs.refusals:
        return [Check("plate", plate, "negatives", n, limit, Verdict.WARN, message)]
    return [
        Check(
            "plate", plate, why.code, why.n, why.limit, Verdict.WARN if why.code == "negatives" else Verdict.FAIL,
            why.message if why.code == "negatives" else f"{why.message} There is no cut-off: no serum has a status.",
        )
        for why in cutoffs.refusals
    ]  # fmt: skip


def _made(plate: str, cutoffs: CutOffs, limit: str) -> Check:
    deciding, second = cutoffs.deciding, cutoffs.second
    assert deciding is not None
    message = sentence(deciding)
    message += f" Second criterion: {_lower(sentence(second))}" if second else " It decides alone."
    if deciding.fixed:
        return Check("plate", plate, "cutoff", deciding.value, "fixed", Verdict.PASS, message)
    positives = len(deciding.basis.positives) if deciding.basis else 0
    few = deciding.n < RECOMMENDED or 0 < positives < RECOMMENDED
    if 0 < positives < RECOMMENDED:
        limit += f", and {RECOMMENDED} positive sera"
        message += f" The cut-off rests on {positives} positive sera only: {RECOMMENDED} are recommended."
    return Check("plate", plate, "negatives", deciding.n, limit, Verdict.WARN if few else Verdict.PASS, message)


def _lower(text: str) -> str:
    return f"{text[:1].lower()}{text[1:]}"


def sentence(cutoff: CutOff) -> str:
    """How a cut-off was made and how often a negative serum exceeds it, in a sentence or two."""
    if cutoff.fixed:
        whose = "the default" if cutoff.source == "default" else "the lab's own number"
        said = f"fixed cut-off: {cutoff.readout} {cutoff.value:g} or more, {whose}; "
        said += _counted(cutoff, "on this plate reach it") if cutoff.counted else "no negative serum to try it on"
        if cutoff.readout == "delta":
            said += (
                ". A delta holds for one cytometer at one setting of its detectors: establish it anew after a change"
            )
        return f"{said[0].upper()}{said[1:]}."
    words = [f"cut-off for {cutoff.readout}: above {cutoff.value:.4g} ({cutoff.rule}", f"n = {cutoff.n}"]
    if cutoff.source == "history":
        words[-1] += " of the history"
    scale = " of log10" if cutoff.log else ""
    words.append(f"mean{scale} {cutoff.mean:.4g}, SD {cutoff.sd:.4g}")
    if cutoff.basis is not None and cutoff.basis.form == "robust":
        words.append(f"median{scale} {cutoff.median:.4g}, MAD {cutoff.mad:.4g}")
    elif not math.isnan(cutoff.factor):
        words.append(f"factor {cutoff.factor:.3g}")
    said = ", ".join(words) + "); "
    if cutoff.counted:
        said += _counted(cutoff, "exceed it")
    elif math.isnan(cutoff.false_positives.value):
        said += "how many further negatives exceed it cannot be said"
    else:
        said += f"{percent(cutoff.false_positives)} of further negatives exceed it by chance"
    return " ".join((f"{said[0].upper()}{said[1:]}.", *cutoff.remarks))


def _counted(cutoff: CutOff, does: str) -> str:
    return f"{percent(cutoff.false_positives)} of the {cutoff.counted} negative sera {does}"


def _outliers(plate: str, cutoff: CutOff) -> list[Check]:
    if not cutoff.outliers:
        return []
    message = (
        f"{cutoff.readout}: {_named(cutoff.outliers)}, by more than 1.5 interquartile ranges"
        f"{' of log10' if cutoff.log else ''} beyond the quartiles of the negative sera. They were kept: those above"
        " raise the cut-off. Exclude a well only with a reason that is not its value."
    )
    verdict = Verdict.WARN if any(one.far for one in cutoff.outliers) else Verdict.PASS
    return [Check("plate", plate, "negative-outliers", len(cutoff.outliers), "none beyond 3", verdict, message)]


def _named(outliers: Sequence[Outlier]) -> str:
    parts = []
    for side in ("above", "below"):
        those = [f"{one.serum} ({one.value:.4g})" for one in outliers if one.side == side]
        if those:
            parts.append(f"{', '.join(those)} {'lies' if len(those) == 1 else 'lie'} {side}")
    return "; ".join(parts)


def _equal(plate: str, cutoff: CutOff) -> list[Check]:
    robust = cutoff.basis is not None and cutoff.basis.form == "robust"
    scatter = cutoff.mad if robust else cutoff.sd
    if cutoff.fixed or scatter > 0:
        return []
    what = "more than half of the negative sera are equal" if robust else "the negative sera are all equal"
    message = f"{cutoff.readout}: {what}, so that the cut-off is their value and knows nothing of scatter."
    return [Check("plate", plate, "negatives-equal", 0, "scatter > 0", Verdict.WARN, message)]


def _low(plate: str, cutoff: CutOff) -> list[Check]:
    if cutoff.value > 0:
        return []
    message = (
        f"The cut-off for {cutoff.readout} is {cutoff.value:.4g}: negative sera lie below 0, and a serum that binds"
        " nothing may exceed it. Look for too much compensation of the signal."
    )
    return [Check("plate", plate, "cutoff-below-zero", cutoff.value, "> 0", Verdict.WARN, message)]


def _grey_zone(plate: str, cutoff: CutOff) -> list[Check]:
    if math.isnan(cutoff.equivocal) or cutoff.equivocal < cutoff.value:
        return []
    message = f"The grey zone from {cutoff.readout} {cutoff.equivocal:g} is empty: the cut-off is {cutoff.value:.4g}."
    return [Check("plate", plate, "grey-zone-empty", cutoff.equivocal, "< cut-off", Verdict.WARN, message)]
