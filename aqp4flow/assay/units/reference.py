"""A plate in the units of its reference serum: which serum that is, whether it holds, and what the others read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from aqp4flow.assay.definition import ReferenceSettings
from aqp4flow.assay.units.parallelism import Parallelism, parallelism
from aqp4flow.assay.units.standard import Chance, PlateFacts, Reference, judgeable, judged, read_back
from aqp4flow.assay.units.units import SerumUnits, units_of
from aqp4flow.model import Check, Reactivity, Role, Titration, Verdict


@dataclass(frozen=True)
class PlateUnits:
    """What a plate's reference gives: None without one; sera with units, and each beside the reference."""

    reference: Reference | None
    sera: tuple[SerumUnits, ...] = ()
    parallel: tuple[Parallelism, ...] = ()
    checks: tuple[Check, ...] = ()

    def titration(self, titration: Titration) -> Titration:
        """The titration of a serum with its units, where there are any."""
        found = next((one for one in self.sera if one.serum == titration.serum), None)
        if found is None or self.reference is None:
            return titration
        beside = next(one for one in self.parallel if one.serum == titration.serum)
        flags = found.flags + (("not-parallel",) if beside.parallel == "no" else ())
        return replace(
            titration,
            units=found.units,
            unit_draws=found.draws,
            parallel=beside.parallel,
            unit=self.reference.settings.unit,
            reference=self.reference.serum,
            flags=tuple(dict.fromkeys((*titration.flags, *flags))),
        )


def plate_units(
    rows: Sequence[Reactivity], settings: ReferenceSettings, facts: PlateFacts, chance: Chance
) -> PlateUnits:
    """Units of every serum of one plate but the reference; none, and a check that says why, where it does not hold."""
    if not rows:
        return PlateUnits(None)
    plate = rows[0].plate
    serum, check = _chosen(plate, rows, settings)
    if serum is None:
        return PlateUnits(None, checks=(check,) if check else ())
    reference = read_back([row for row in rows if row.serum == serum], settings, facts, chance)
    checks = (_curve_check(reference, facts),)
    if not reference.accepted:
        return PlateUnits(reference, checks=checks)
    by_serum: dict[str, list[Reactivity]] = {}
    for row in rows:
        if row.serum != serum:
            by_serum.setdefault(row.serum, []).append(row)
    sera = tuple(units_of(series, reference, chance) for series in by_serum.values())
    beside = tuple(parallelism(plate, found, settings) for found in sera)
    return PlateUnits(reference, sera, beside, checks)


def _chosen(plate: str, rows: Sequence[Reactivity], settings: ReferenceSettings) -> tuple[str | None, Check | None]:
    """The reference serum of a plate, or the check that says why there is none."""
    there = list(dict.fromkeys(row.serum for row in rows if row.role is Role.REFERENCE))
    names = ", ".join(there)
    if settings.serum is not None and settings.serum not in there:
        message = (
            f"[reference] serum {settings.serum} is not a reference serum of this plate ({names or 'it has none'})"
        )
        message += ": units are empty."
        return None, Check("plate", plate, "reference-missing", settings.serum, "", Verdict.WARN, message)
    if settings.serum is not None or len(there) == 1:
        return settings.serum or there[0], None
    if there:
        message = f"Reference sera {names}: name one in [reference] serum. Units are empty."
        return None, Check("plate", plate, "reference-ambiguous", len(there), "1 serum", Verdict.WARN, message)
    message = "No reference serum on the plate: units are empty."
    return None, Check("plate", plate, "reference-missing", 0, "", Verdict.PASS, message)


def _curve_check(reference: Reference, facts: PlateFacts) -> Check:
    """Whether the reference holds. It never fails the plate: titers by the cut-off do not rest on it."""
    plate, settings = reference.plate, reference.settings
    limit = f">= {settings.pass_percent:g} % of >= {settings.min_standards} standards"
    if reference.curve is None:
        message = f"No curve through {reference.serum} ({', '.join(reference.flags)}): units are empty."
        return Check("plate", plate, "reference-curve", 0, limit, Verdict.WARN, message)
    good, asked = judged(reference)
    words = f"{reference.serum} ({reference.curve.model}): {good} of {asked} standards are read back within limits"
    anchors = [f"1:{s.dilution:g}" for s in reference.standards if s.used and not judgeable(s, settings)]
    words += f"; anchors, not judged: {', '.join(anchors)}" if anchors else ""
    if reference.accepted:
        low, high = reference.ends
        words += (
            f". {settings.unit} are read from {reference.lloq:.3g} (1:{high:g}) to {reference.uloq:.3g} (1:{low:g}) "
            "a well."
        )
        if not facts.replicates:
            words += " No replicates: errors of readings are the standards' scatter about the curve."
    else:
        words += ", too few." if good < asked else ", but no three in a row are precise enough for a range."
        words += " Units are empty."
    if asked < settings.min_standards:
        words += f" Fewer than {settings.min_standards} could be judged: all of them must pass."
    enough = reference.accepted and asked >= settings.min_standards
    share = 100 * good / asked if asked else 0.0
    verdict = Verdict.PASS if enough else Verdict.WARN
    return Check("plate", plate, "reference-curve", share, limit, verdict, words)
