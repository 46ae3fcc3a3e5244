"""Whether the plate's gates fit each well: populations that lie elsewhere, by the number that says so."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from aqp4flow.assay.definition import Acceptance
from aqp4flow.cytometry.placement import LEAST_WELLS, Placement, Usual, place, usual_place
from aqp4flow.gating import OwnGates
from aqp4flow.model import FULLY_STAINED, Check, Dimension, Verdict, Well
from aqp4flow.plate import Opened, Setting


@dataclass(frozen=True)
class Placed:
    """A well that takes part, and where its populations lie."""

    well: Well
    placement: Placement


@dataclass(frozen=True)
class Followed:
    """Gates moved with the clouds of single wells, by the well's name, and the row that records each."""

    gates: Mapping[str, OwnGates]
    checks: tuple[Check, ...]


def follow(opened: Sequence[Opened], gates: OwnGates, setting: Setting) -> Followed:
    """The plate's gate of cells moved to where each well's cloud lies, unless that is too far to be the same cells."""
    channels, limits = setting.channels, setting.assay.acceptance
    wells = [
        Placed(one.well, place(one.columns(), {}, channels))
        for one in opened
        if one.file and one.file.n_events and one.well.role in FULLY_STAINED and not one.well.excluded
    ]
    followed: dict[str, OwnGates] = {}
    checks = []
    for one, usual in _with_usual(wells):
        shift = usual.cloud_shift(one.placement)
        if not shift <= limits.elsewhere_fail:
            continue
        forward, side = usual.factors(one.placement)
        followed[one.well.name] = gates.moved({Dimension(channels.forward): forward, Dimension(channels.side): side})
        factors = f"x{forward:.3g}, x{side:.3g}"
        message = (
            f"The gate of cells follows the well's cloud: forward scatter {factors.replace(',', ', side scatter')}."
        )
        subject, limit = f"{one.well.plate}/{one.well.name}", f"<= {limits.elsewhere_warn:g} spreads"
        verdict = Verdict.WARN if shift > limits.elsewhere_warn else Verdict.PASS
        checks.append(Check("well", subject, "gate-moved", factors, limit, verdict, message))
    if wells and not followed:
        message = f"Fewer than {LEAST_WELLS} wells show where cells usually lie: no gate followed a well."
        checks.append(
            Check("plate", wells[0].well.plate, "follow", 0, f">= {LEAST_WELLS} wells", Verdict.WARN, message)
        )
    return Followed(followed, tuple(checks))


def _with_usual(wells: Sequence[Placed]) -> Iterator[tuple[Placed, Usual]]:
    """Fully stained wells that no one excluded, each with the usual place of the wells with the same cells."""
    stained = [one for one in wells if one.well.role in FULLY_STAINED and not one.well.excluded]
    for cells in dict.fromkeys(one.well.cells for one in stained):
        alike = [one for one in stained if one.well.cells == cells]
        usual = usual_place([one.placement for one in alike])
        if usual is not None:
            yield from ((one, usual) for one in alike)


def placement_checks(
    wells: Sequence[Placed], limits: Acceptance, followed: Collection[str] = frozenset()
) -> list[Check]:
    """A row for each well and population that lies elsewhere than in the other wells of the same cells.

    In the wells `followed` the gate of cells was moved to the cloud.
    """
    checks: list[Check] = []
    for one, usual in _with_usual(wells):
        checks += _elsewhere(one, usual, limits, one.well.name in followed)
    stained = [one for one in wells if one.well.role in FULLY_STAINED and not one.well.excluded]
    return checks + [check for one in stained for check in _viability(one, limits)]


def _elsewhere(one: Placed, usual: Usual, limits: Acceptance, followed: bool) -> list[Check]:
    well, place = one.well, one.placement
    subject = f"{well.plate}/{well.name}"
    checks = []

    def note(code: str, value: float, limit: str, verdict: Verdict, message: str) -> None:
        checks.append(Check("well", subject, code, value, limit, verdict, message))

    shift, warn, fail = usual.cloud_shift(place), limits.elsewhere_warn, limits.elsewhere_fail
    allowed = f"<= {warn:g} spreads, fail > {fail:g}"
    if shift > warn and not followed:
        forward, side = usual.factors(place)
        what = f"forward x{forward:.2g}, side x{side:.2g} of the plate's"
        message = (
            f"The cells lie {shift:.2g} spreads from where they lie in the other wells ({what}): the gate misses some."
        )
        note("cells-elsewhere", shift, allowed, Verdict.FAIL if shift > fail else Verdict.WARN, message)
    if place.cells < 0.5 * usual.placement.cells:
        message = (
            f"{100 * place.cells:.3g} % of the events are cells, {100 * usual.placement.cells:.3g} % in the others: "
            "debris, a clog, or another tube."
        )
        limit = f">= {50 * usual.placement.cells:.3g} %"
        note("few-cells", 100 * place.cells, limit, Verdict.WARN, message)
    dark = usual.dark_shift(place)
    if abs(dark) > warn:
        message = (
            f"The dark cells' reporter lies {dark:+.2g} of their spreads from the other wells': the border is off."
        )
        note("dark-elsewhere", dark, f"+-{warn:g} spreads", Verdict.WARN, message)
    fold = usual.bright_fold(place)
    if math.isfinite(fold) and not 1 / limits.reporter_fold <= fold <= limits.reporter_fold:
        message = f"The expressing cells' reporter is {fold:.2g} times the other wells': another tube or transfection?"
        limit = f"within {limits.reporter_fold:g}-fold"
        note("expressing-elsewhere", fold, limit, Verdict.WARN, message)
    odds = usual.odds_shift(place)
    if abs(odds) > limits.expression_odds:
        message = (
            f"{100 * place.expressing:.3g} % of the gated cells express, "
            f"{100 * usual.placement.expressing:.3g} % in the other wells: another tube or transfection?"
        )
        note("expression-odd", odds, f"+-{limits.expression_odds:g} in log odds", Verdict.WARN, message)
    return checks


def _viability(one: Placed, limits: Acceptance) -> list[Check]:
    percent = 100 * one.placement.live
    if not percent < limits.viable_percent:
        return []
    message = f"{percent:.3g} % of the single cells are alive: dying cells bind antibody whatever they express."
    subject, limit = f"{one.well.plate}/{one.well.name}", f">= {limits.viable_percent:g} %"
    return [Check("well", subject, "low-viability", percent, limit, Verdict.WARN, message)]
