"""Tests and summaries as they are printed in figures and captions: nothing is computed here."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence

from aqp4flow.model import Statistic, Summary
from aqp4flow.report.labels import Labels

_ENGLISH = Labels("en")


def shown_test(rows: Sequence[Statistic], outcome: str) -> Statistic | None:
    """The test of an outcome to print: the primary contrast, else the last signed-rank test, else the last test.

    None where no row of the outcome has a p.
    """
    tested = [row for row in rows if row.outcome == outcome and not math.isnan(row.p)]
    chosen = [row for row in tested if row.primary] or [row for row in tested if row.test == "signed-rank"] or tested
    return chosen[-1] if chosen else None


def words_of_test(row: Statistic, labels: Labels = _ENGLISH) -> str:
    """A test in one line: its name, how p was computed, contrast, n, p, and the smallest p attainable at this n."""
    name = labels("bootstrap-test" if row.test == "bootstrap" else row.test)
    how = f" ({labels(row.exact)})" if row.exact else ""
    words = f"{name}{how}, {row.contrast}, n = {row.n}: p {p_text(row.p)}"
    if not math.isnan(row.p_adjusted) and not row.primary:
        words += f", {labels('adjusted')} {p_text(row.p_adjusted)}"
    if not math.isnan(row.attainable):
        words += f" ({labels('smallest')} {p_text(row.attainable).removeprefix('= ')})"
    return words


def folded(words: str, width: int) -> str:
    """Words on as many lines as this width in letters asks for; a Japanese letter is as wide as two others."""
    lines = [""]
    for word in re.split("(?<!=) (?!=)", words):  # `p = 0.03` stays together
        longer = f"{lines[-1]} {word}".strip()
        wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in longer)
        if len(longer) + wide <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines).strip("\n")


def p_text(p: float) -> str:
    """`= 0.016`, two significant digits; `< 0.0001` below that."""
    return "< 0.0001" if p < 1e-4 else f"= {float(f'{p:.2g}'):g}"


def summary_words(row: Summary) -> str:
    """Mean with SD and SEM, each named, and the median with its quartiles and bound."""
    sign = "" if row.bound.value == "=" else f"{row.bound.value} "
    middle = f"median {sign}{row.median:.3g} (quartiles {row.q1:.3g} to {row.q3:.3g})"
    if math.isnan(row.mean):
        return f"{row.timepoint}, n = {row.n}: {middle}"
    spread = f"SD {row.sd:.2g}, SEM {row.sem:.2g}" if not math.isnan(row.sd) else "no SD of one value"
    log = " on log2" if row.log2 else ""
    mean = "geometric mean" if row.log2 else "mean"
    return f"{row.timepoint}, n = {row.n}: {mean} {row.mean:.3g} ({spread}{log}), {middle}"


def summaries_of(rows: Sequence[Summary], outcome: str) -> dict[str, Summary]:
    """Summaries of one outcome by time point."""
    return {row.timepoint: row for row in rows if row.outcome == outcome}
