"""How well gates are learned: plates of graded difficulty, judged by their planted labels, as a Markdown table.

    python tests/benchmarks/gating.py [--plates 3] [--only WORD]

For each case: balanced accuracy of each learned gate against the labels, and the error of delta in positive wells
(root mean square of the difference from the true shift, in percent of it) with labels known, with learned gates, and
with gates that a competent person drew once on the first plate of that cytometer.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from difficult_plates import FORWARD, HEIGHT, REPORTER, SIDE, SIGNAL, VIABILITY, Case, LabelledWell, draw_plate

from aqp4flow.cytometry.autogate import learn_gates
from aqp4flow.cytometry.gates import populations
from aqp4flow.model import Dimension, Gate, Polygon, Range

_BASE = Case("plain")
_FACTORS = (
    ("debris 60 %", {"debris": 0.60}),
    ("dead 30 %", {"dead": 0.30}),
    ("transfected 10 %", {"transfected": 0.10}),
    ("transfected 95 %", {"transfected": 0.95}),
    ("dim shoulder 30 %", {"dim_share": 0.30}),
    ("dim reporter", {"level": 3_000.0}),
    ("spill 5 %", {"spill": 0.05}),
    ("500 events", {"events": 500}),
    ("50,000 events", {"events": 50_000, "wells": 10}),
    ("drift 20 %", {"drift": 0.20}),
    ("untransfected wells", {"dark_control": True}),
    ("dim reporter, untransfected wells", {"dark_control": True, "level": 3_000.0}),
    ("dim shoulder 30 %, untransfected wells", {"dark_control": True, "dim_share": 0.30}),
    (
        "everything at once",
        {"debris": 0.5, "dead": 0.2, "transfected": 0.25, "dim_share": 0.2, "events": 3_000, "drift": 0.1},
    ),
)
_PAIRED = (
    ("plain", {}),
    ("debris 60 %", {"debris": 0.6}),
    ("transfected 10 %", {"transfected": 0.1}),
    ("transfected 95 %", {"transfected": 0.95}),
)
_CYTOMETERS = ("width", "no height", "no viability", "analogue", "24-bit")


def grid() -> list[Case]:
    """Every factor alone, and every cytometer with four of them, for both kinds of cells."""
    cases = []
    for cells in ("simulator", "other"):
        base = replace(_BASE, cells=cells)
        cases.append(replace(base, name=f"{cells}: plain"))
        cases += [replace(base, name=f"{cells}: {word}", **changed) for word, changed in _FACTORS]
        cases += [
            replace(base, name=f"{cells}: {cytometer}, {word}", cytometer=cytometer, **changed)
            for cytometer in _CYTOMETERS
            for word, changed in _PAIRED
        ]
    return cases


def textbook(case: Case) -> tuple[Gate, ...]:
    """Gates a person would draw on a plain plate of this cytometer, and keep."""
    scatter = {"analogue": 1 / 256, "24-bit": 8.0}.get(case.cytometer, 1.0)
    light = {"analogue": 1 / 26, "24-bit": 8.0}.get(case.cytometer, 1.0)
    forward, side = Dimension(FORWARD), Dimension(SIDE)
    if case.cells == "simulator":
        corners = ((50, 18), (60, 15), (130, 40), (145, 80), (110, 90), (60, 60))
        wedge, width = (0.80, 1.00), (65_536 / 1.0, 65_536 / 0.80)
    else:
        corners = ((28, 8), (60, 8), (115, 35), (115, 90), (70, 75), (28, 35))
        wedge, width = (0.54, 0.68), (65_536 / 0.68, 65_536 / 0.54)
    gates: list[Gate] = [
        Polygon("cells", None, forward, side, tuple((1e3 * x * scatter, 1e3 * y * scatter) for x, y in corners))
    ]
    far = 1e6 * scatter
    if case.channels.forward_height:
        edges = ((0.0, 0.0), (far, far * wedge[0]), (far, far * wedge[1]))
        gates.append(Polygon("singlets", "cells", forward, Dimension(HEIGHT), edges))
    elif case.channels.forward_width:
        gates.append(Range("singlets", "cells", Dimension("FSC-W"), *width))
    if case.channels.viability:
        gates.append(Range("live", gates[-1].name, Dimension(VIABILITY, True), None, 1_500 * light))
    last = gates[-1].name
    gates.append(Range("expressing", last, Dimension(REPORTER, True), 1_000 * light, None))
    gates.append(Range("nonexpressing", last, Dimension(REPORTER, True), None, 500 * light))
    return tuple(gates)


@dataclass(frozen=True)
class Score:
    """Balanced accuracy by gate; relative error of delta, root mean square, by whose populations."""

    accuracy: dict[str, float]
    known: float
    learned: float
    textbook: float


def score(case: Case, plates: int) -> Score:
    """The case on several plates."""
    errors: dict[str, list[float]] = {"known": [], "learned": [], "textbook": []}
    accuracy: dict[str, list[float]] = {}
    for plate in range(plates):
        wells = draw_plate(replace(case, seed=plate))
        sera = [well for well in wells if well.role == "serum"]
        dark = [well.columns for well in wells if well.role == "dark"]
        found = learn_gates([well.columns for well in sera], case.channels, dark)
        for well in sera:
            ours = populations(well.columns, found.gates)
            for name, value in balanced(well, ours).items():
                accuracy.setdefault(name, []).append(value)
            if well.true_delta < 250 * {"analogue": 1 / 26, "24-bit": 8.0}.get(case.cytometer, 1.0):
                continue
            theirs = populations(well.columns, textbook(case))
            for who, pair in (
                ("known", (np.flatnonzero(well.expressing), np.flatnonzero(well.nonexpressing))),
                ("learned", (ours["expressing"], ours["nonexpressing"])),
                ("textbook", (theirs["expressing"], theirs["nonexpressing"])),
            ):
                errors[who].append(delta(well, *pair) / well.true_delta - 1)
    rms = {who: math.sqrt(float(np.mean(np.square(values)))) for who, values in errors.items()}
    return Score({name: float(np.mean(values)) for name, values in accuracy.items()}, **rms)


def delta(well: LabelledWell, bright: Sequence[int], dark: Sequence[int]) -> float:
    """Shift in the median of the compensated signal."""
    signal = well.columns.column(Dimension(SIGNAL, True))
    if not len(bright) or not len(dark):
        return math.inf
    return float(np.median(signal[bright]) - np.median(signal[dark]))


def balanced(well: LabelledWell, found: dict[str, Sequence[int]]) -> dict[str, float]:
    """Mean of sensitivity and specificity of each gate among the events of its parent."""
    everyone = np.arange(len(well.cell))
    parents = {"cells": everyone, "singlets": found["cells"]}
    parents["live"] = found.get("singlets", found["cells"])
    last = found.get("live", parents["live"])
    parents["expressing"] = parents["nonexpressing"] = last
    truth = {
        "cells": well.cell,
        "singlets": well.single,
        "live": well.live,
        "expressing": well.expressing,
        "nonexpressing": well.nonexpressing,
    }
    good = well.expressing | well.nonexpressing
    judged = {"cells": good | ~well.cell, "singlets": good | (well.cell & ~well.single), "live": good | ~well.live}
    judged |= {"expressing": good, "nonexpressing": good}
    scores = {}
    for name, rows in found.items():
        inside = np.zeros(len(well.cell), bool)
        inside[rows] = True
        among = parents[name]
        among = among[judged[name][among]]
        wanted, got = truth[name][among], inside[among]
        if wanted.any() and not wanted.all():
            scores[name] = (got[wanted].mean() + (~got[~wanted]).mean()) / 2
    return scores


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plates", type=int, default=3)
    parser.add_argument("--only", default="")
    wanted = parser.parse_args()
    gates = ("cells", "singlets", "live", "expressing", "nonexpressing")
    print(f"| case | {' | '.join(gates)} | labels known | learned | fixed | learned / known |")
    print("|---|" + "---|" * 9)
    for case in grid():
        if wanted.only in case.name:
            found = score(case, wanted.plates)
            accuracy = " | ".join(f"{found.accuracy[g]:.3f}" if g in found.accuracy else "" for g in gates)
            percent = " | ".join(f"{100 * error:.1f} %" for error in (found.known, found.learned, found.textbook))
            print(f"| {case.name} | {accuracy} | {percent} | {found.learned / found.known:.2f} |", flush=True)


if __name__ == "__main__":
    main()
