"""What the acquisition of wells calls for being said: one check a finding, with what to do at the bench."""

from __future__ import annotations

import math
from collections.abc import Sequence

from aqp4flow.assay.definition import Assay
from aqp4flow.cytometry.acquisition_qc import Acquired, AtEnd, Break, Stretch
from aqp4flow.errors import listed
from aqp4flow.model import FULLY_STAINED, Check, Verdict, Well

_WORDS = {"forward": "forward scatter", "side": "side scatter", "reporter": "the reporter", "signal": "the signal"}


def acquisition_checks(well: Well, acquired: Acquired, assay: Assay) -> list[Check]:
    """Checks of one well that say something: nothing is listed for a well in order."""
    subject = f"{well.plate}/{well.name}"
    checks = _few(well, acquired, assay, subject)
    checks += [_stretch(stretch, acquired, assay, subject) for stretch in acquired.stretches]
    checks += _drift(acquired, assay, subject) + _flow(acquired, assay, subject) + _breaks(acquired, assay, subject)
    return checks + _at_ends(acquired, assay, subject)


def _few(well: Well, acquired: Acquired, assay: Assay, subject: str) -> list[Check]:
    wanted = assay.acquisition.min_events
    if acquired.n_events >= wanted or well.role not in FULLY_STAINED:
        return []
    message = f"{acquired.n_events} events in all: the well ran dry, or was stopped early. Acquire it again."
    return [Check("well", subject, "few-events", acquired.n_events, f">= {wanted}", Verdict.WARN, message)]


def _stretch(stretch: Stretch, acquired: Acquired, assay: Assay, subject: str) -> Check:
    limits = assay.acquisition
    share = 100 * (stretch.last - stretch.first + 1) / acquired.n_events
    moved = "above" if stretch.percent > 0 else "below"
    message = (
        f"Events {stretch.first} to {stretch.last}{_when(stretch, acquired.unit)}, {share:.3g} % of the well: "
        f"{_WORDS[stretch.what]} ({stretch.channel}) lies {abs(stretch.percent):.3g} % {moved} that of the well. "
    )
    verdict = Verdict.WARN
    if acquired.percent_bad > limits.most_cut_percent:
        verdict = Verdict.FAIL
        message += f"{acquired.percent_bad:.3g} % of the well differ: none were taken out. Acquire it again."
    elif acquired.cut:
        message += "They were taken out."
    else:
        message += "They are in the numbers: look for a bubble or a clog, and acquire the well again or cut them out."
    limit = f"<= {limits.stretch_percent:g} %, or what chance explains"
    return Check("well", subject, "bad-stretch", stretch.percent, limit, verdict, message)


def _when(stretch: Stretch, unit: str) -> str:
    return "" if math.isnan(stretch.begin) else f" ({stretch.begin:.4g} to {stretch.end:.4g} {unit})"


def _drift(acquired: Acquired, assay: Assay, subject: str) -> list[Check]:
    allowed = assay.acquisition.drift_percent
    found = [trace for trace in acquired.traces if trace.drift > allowed]
    if not found:
        return []
    words = ", ".join(f"{_WORDS[trace.what]} ({trace.channel}) by {trace.drift:.3g} %" for trace in found)
    message = f"Medians differ between tenths of the acquisition: {words}. Mix the well, let the laser warm up."
    limit = f"<= {allowed:g} %, or what chance explains"
    worst = max(trace.drift for trace in found)
    return [Check("well", subject, "drift", worst, limit, Verdict.WARN, message)]


def _flow(acquired: Acquired, assay: Assay, subject: str) -> list[Check]:
    if not acquired.flow:
        return []
    worst = max(acquired.flow, key=lambda stretch: abs(math.log(max(1 + stretch.percent / 100, 1e-9))))
    more = f" ({len(acquired.flow)} such stretches, this one is the worst)" if len(acquired.flow) > 1 else ""
    what = "fell: a clog, or air" if worst.percent < 0 else "rose: a surge, as after a clog; look for doublets"
    message = (
        f"Events {worst.first} to {worst.last}{_when(worst, acquired.unit)} passed at "
        f"{100 + worst.percent:.3g} % of the well's usual rate{more}. The flow {what}."
    )
    factor = assay.acquisition.flow_factor
    limit = f"a factor of {factor:g} either way"
    return [Check("well", subject, "flow-rate", 100 + worst.percent, limit, Verdict.WARN, message)]


def _breaks(acquired: Acquired, assay: Assay, subject: str) -> list[Check]:
    if not acquired.breaks:
        return []
    longest: Break = max(acquired.breaks, key=lambda pause: pause.length)
    more = f", and {len(acquired.breaks) - 1} more pauses" if len(acquired.breaks) > 1 else ""
    message = (
        f"No event for {longest.length:.3g} {acquired.unit} after event {longest.after}{more}: "
        "air, a clog, or a paused acquisition. Compare what comes before and after."
    )
    limit = f"<= {assay.acquisition.break_percent:g} % of the time"
    return [Check("well", subject, "flow-break", longest.percent, limit, Verdict.WARN, message)]


def _at_ends(acquired: Acquired, assay: Assay, subject: str) -> list[Check]:
    """Events at the ends of the range. Of scatter and of the reporter's floor no number depends: they only warn."""
    warn, fail = assay.acceptance.saturated_percent_warn, assay.acceptance.saturated_percent_fail
    checks = []
    for end in acquired.at_ends:
        percent = 100 * end.share
        if percent <= warn:
            continue
        code, message, severe = _at_end(end, percent)
        limit = f"<= {warn:g} %, fail > {fail:g} %" if severe else f"<= {warn:g} %"
        verdict = Verdict.FAIL if severe and percent > fail else Verdict.WARN
        checks.append(Check("well", subject, code, percent, limit, verdict, message))
    return checks


def _at_end(end: AtEnd, percent: float) -> tuple[str, str, bool]:
    """Code, sentence, and whether numbers depend on it."""
    where = f"{_WORDS[end.what]} ({end.channel})"
    if end.end == "floor":
        message = f"{percent:.3g} % of the gated events stand at the lowest value of {where}: it is cut off there."
        if end.what == "signal":
            return "at-floor", f"{message} A low MFI is an upper bound; export without clipping at 0.", True
        return "at-floor", f"{message} What it spills into the signal is told wrong there.", False
    if end.what == "reporter":
        message = f"{percent:.3g} % of the expressing events stand at the top of {where}'s range"
        return "saturated-reporter", f"{message}: too little of it is taken from the signal. Lower its voltage.", True
    message = f"{percent:.3g} % of all events stand at the top of {where}'s range: lower its voltage if they are cells."
    return "saturated-scatter", message, False


def clock_checks(plate: str, wells: Sequence[tuple[Well, Acquired | None]]) -> list[Check]:
    """Wells whose flow rate cannot be judged, or whose clock had to be mended: a row a plate and reason."""
    reasons: dict[str, list[str]] = {}
    for well, acquired in wells:
        for reason in (acquired.doubt, acquired.mended) if acquired else ():
            if reason:
                reasons.setdefault(reason, []).append(well.name)
    checks = []
    for reason, names in reasons.items():
        message = f"{reason[:1].upper()}{reason[1:]} in {len(names)} wells ({listed(names, 8)})"
        if any(acquired and acquired.mended == reason for _, acquired in wells):
            message += ": counted on from where it had come to."
        else:
            message += ": they were judged by the order of events, and their flow rate was not."
        checks.append(Check("plate", plate, "clock", len(names), "0", Verdict.WARN, message))
    return checks
