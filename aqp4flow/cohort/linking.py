"""Tables against plates: which serum is whose and lies where, and everything odd about it, by name and row.

Nothing here needs an event: `aqp4flow check` says it before a number is made, and a run says it again.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from aqp4flow.cohort.clinical import too_early
from aqp4flow.cohort.coursechecks import course_checks
from aqp4flow.cohort.names import ALIKE, alike, name_key
from aqp4flow.errors import SheetError, listed
from aqp4flow.model import WITH_SERUM, Check, ClinicalKind, PatientRecords, Role, Verdict, Visit, Well

_CLOSE = 0.8  # difflib's ratio from which a name is offered


def link_checks(records: PatientRecords | None, wells: Sequence[Well], months: Sequence[float] = ()) -> list[Check]:
    """Everything odd between the tables and the wells of all plates, in a fixed order.

    `records` None: there is no table, so that only what plates say by themselves is looked at. `months` is
    `[trajectory] months`.
    """
    known = records or PatientRecords()
    checks = _plate_names(wells) + lot_checks(known.visits, wells)
    if records is None:
        return checks
    if known.visits:
        checks = _measured(known.visits, wells) + _on_several_plates(known.visits, wells) + checks
    return checks + _names(known) + _in_one_table(known) + course_checks(known, months, _plates_of(wells))


def contradictions(records: PatientRecords, table: str) -> list[SheetError]:
    """Problems between the two tables: visits before the patient's observation began. `table` names the visits'."""
    starts = {e.patient: e for e in records.clinical if e.kind is ClinicalKind.OBSERVATION_START}
    problems = []
    for visit in records.visits:
        start = starts.get(visit.patient)
        if start is not None and visit.collected < start.date:
            what, hint = too_early(f"visit of patient {visit.patient!r}", visit.collected, start.date, start.row)
            problems.append(SheetError(f"{table}: row {visit.row}", what, hint))
    return problems


# --- names ------------------------------------------------------------------------------------------


def _named(records: PatientRecords) -> dict[str, str]:
    """Every patient and where the name stands first."""
    found: dict[str, str] = {}
    for visit in sorted(records.visits, key=lambda visit: visit.row):
        found.setdefault(visit.patient, f"visits row {visit.row}")
    for event in sorted(records.clinical, key=lambda event: event.row):
        found.setdefault(event.patient, f"clinical row {event.row}")
    return found


def _names(records: PatientRecords) -> list[Check]:
    """Names that differ only as people write them differently."""
    checks = []
    patients = _named(records)
    for group in alike(patients):
        shown = " and ".join(f"{name!r} ({patients[name]})" for name in group)
        message = f"The patients {shown} differ only {ALIKE}. They count as different: if they are one, write one name."
        checks.append(Check("patient", group[0], "patients-alike", group[1], "", Verdict.WARN, message))
    sera = {visit.serum: visit for visit in records.visits}
    for group in alike(sera):
        shown = " and ".join(f"{name!r} (visits row {sera[name].row})" for name in group)
        message = f"The sera {shown} differ only {ALIKE}. They count as different: make sure that they are."
        checks.append(Check("patient", sera[group[0]].patient, "sera-alike", group[1], "", Verdict.WARN, message))
    return checks


def _plate_names(wells: Sequence[Well]) -> list[Check]:
    """Sera of the plates whose names are nearly the same."""
    first: dict[str, Well] = {}
    for well in wells:
        if well.role in WITH_SERUM:
            first.setdefault(well.serum, well)
    checks = []
    for group in alike(first):
        shown = " and ".join(f"{name!r} ({first[name].plate}/{first[name].name})" for name in group)
        message = f"The plate maps' sera {shown} differ only {ALIKE}. They count as different: if not, write one name."
        subject = f"{first[group[0]].plate}/{group[0]}"
        checks.append(Check("serum", subject, "sera-alike", group[1], "", Verdict.WARN, message))
    return checks


# --- sera and plates --------------------------------------------------------------------------------


def _plates_of(wells: Sequence[Well], *, used: bool = True) -> dict[str, list[str]]:
    """Serum -> the plates it lies on as a patient's, in order; with `used` only by wells that were not excluded."""
    found: dict[str, list[str]] = {}
    for well in wells:
        if well.role is Role.SAMPLE and not (used and well.excluded):
            plates = found.setdefault(well.serum, [])
            if well.plate not in plates:
                plates.append(well.plate)
    return found


def _measured(visits: Sequence[Visit], wells: Sequence[Well]) -> list[Check]:
    plates = _plates_of(wells)
    laid = _plates_of(wells, used=False)
    controls = {well.serum: well for well in wells if well.role in WITH_SERUM and well.role is not Role.SAMPLE}
    known = {visit.serum: visit for visit in visits}
    strangers = {serum: where for serum, where in laid.items() if serum not in known}
    checks = []
    for visit in visits:
        if visit.serum in controls:
            checks.append(_is_control(visit, controls[visit.serum]))
        elif visit.serum not in plates:
            checks.append(_not_measured(visit, laid, strangers))
    unmeasured = [serum for serum in known if serum not in laid and serum not in controls]
    for serum, where in strangers.items():
        message = f"Serum {serum!r} of {' and '.join(where)} is in no row of the visits: its results have no patient. "
        message += _offer(serum, known, unmeasured) or "Add it to the visits, or correct its name."
        checks.append(Check("serum", f"{where[0]}/{serum}", "serum-without-visit", "", "", Verdict.WARN, message))
    return checks


def _is_control(visit: Visit, well: Well) -> Check:
    message = (
        f"Serum {visit.serum!r} (visits row {visit.row}) is role {well.role} on {well.plate}: a control has no course. "
        "Call it sample on the plate map, or take it out of the visits."
    )
    return Check("patient", visit.patient, "visit-is-control", visit.serum, "", Verdict.WARN, message)


def _not_measured(visit: Visit, laid: Mapping[str, list[str]], strangers: Mapping[str, list[str]]) -> Check:
    message = f"Serum {visit.serum!r} of {visit.collected} (visits row {visit.row}) "
    if visit.serum in laid:
        message += f"was not measured: all its wells on {' and '.join(laid[visit.serum])} are excluded."
    else:
        near = _nearest(visit.serum, strangers, list(strangers))
        offer = f" Is it {near!r} of {strangers[near][0]}, which no visit names?" if near else ""
        message += f"is on no plate.{offer}"
    return Check("patient", visit.patient, "visit-not-measured", visit.serum, "", Verdict.WARN, message)


def _offer(serum: str, known: Mapping[str, Visit], unmeasured: Sequence[str]) -> str:
    near = _nearest(serum, known, unmeasured)
    if near is None:
        return ""
    how = f", which differs only {ALIKE}" if name_key(near) == name_key(serum) else ""
    return f"Did you mean {near!r} (visits row {known[near].row}){how}? Write both alike."


def _nearest(name: str, known: Iterable[str], missing: Sequence[str]) -> str | None:
    """The name that differs only as people write it, of all `known`; else the closest of those that are `missing`."""
    same = [one for one in known if name_key(one) == name_key(name)]
    return next(iter(same or difflib.get_close_matches(name, missing, 1, _CLOSE)), None)


def _on_several_plates(visits: Sequence[Visit], wells: Sequence[Well]) -> list[Check]:
    plates = _plates_of(wells)
    checks = []
    sera: dict[str, list[Visit]] = {}
    for visit in visits:
        sera.setdefault(visit.patient, []).append(visit)
        where = plates.get(visit.serum, [])
        if len(where) > 1:
            message = f"Serum {visit.serum!r} (visits row {visit.row}) was measured on {', '.join(where)}: "
            message += "its results are combined, and each plate's stay in titers.csv."
            subject = f"{where[0]}/{visit.serum}"
            checks.append(Check("serum", subject, "serum-on-several-plates", len(where), "", Verdict.PASS, message))
    for patient, own in sera.items():
        lying: dict[str, list[str]] = {}
        for visit in own:
            for plate in plates.get(visit.serum, []):
                lying.setdefault(plate, []).append(visit.serum)
        if len(lying) > 1:
            shown = "; ".join(f"{plate}: {listed(names)}" for plate, names in lying.items())
            message = f"The sera of patient {patient} lie on {len(lying)} plates ({shown}). "
            message += "Folds between them hold what plates differ by: put one patient's sera on one plate, "
            message += "or the same controls on every plate."
            checks.append(
                Check("patient", patient, "patient-on-several-plates", len(lying), "1", Verdict.WARN, message)
            )
    return checks


def lot_checks(visits: Sequence[Visit], wells: Sequence[Well]) -> list[Check]:
    """Wells of one patient (of one serum, where its patient is not known) that hold several lots.

    A control is compared with itself on each plate alone: across plates it is what shows the lots' difference.
    """
    patients = {visit.serum: visit.patient for visit in visits}
    groups: dict[tuple[str, str], dict[str, list[str]]] = {}
    for well in wells:
        if not well.lot or well.excluded or well.role not in WITH_SERUM:
            continue
        if well.role is Role.SAMPLE and well.serum in patients:
            group = "patient", patients[well.serum]
        else:
            group = "serum", well.serum if well.role is Role.SAMPLE else f"{well.plate}/{well.serum}"
        groups.setdefault(group, {}).setdefault(well.lot, []).append(f"{well.plate}/{well.name}")
    checks = []
    for (scope, name), lots in groups.items():
        if len(lots) < 2:
            continue
        shown = "; ".join(f"{lot}: {listed(where, 3)}" for lot, where in lots.items())
        message = f"The wells of {scope} {name.rpartition('/')[2]} hold {len(lots)} lots ({shown}). "
        message += "Differences between them may be the lots': repeat with one lot, or bridge by a control in both."
        subject = name if scope == "patient" or "/" in name else f"{next(iter(lots.values()))[0].split('/')[0]}/{name}"
        checks.append(Check(scope, subject, "lots-differ", len(lots), "1", Verdict.WARN, message))
    return checks


# --- patients and tables ----------------------------------------------------------------------------


def _in_one_table(records: PatientRecords) -> list[Check]:
    """Patients that one table names and the other does not, where there are both."""
    if not (records.visits and records.clinical):
        return []
    bled = {visit.patient: visit.row for visit in reversed(records.visits)}
    told = {event.patient: event.row for event in sorted(records.clinical, key=lambda event: -event.row)}
    checks = []
    for patient, row in told.items():
        if patient not in bled:
            near = _nearest(patient, bled, [one for one in bled if one not in told])
            offer = f" Did you mean {near!r} (visits row {bled[near]})?" if near else ""
            message = f"Patient {patient!r} (clinical row {row}) has no row in the visits: no titers over time.{offer}"
            checks.append(Check("patient", patient, "patient-without-visits", "", "", Verdict.WARN, message))
    for patient, row in bled.items():
        if patient not in told:
            message = f"Patient {patient!r} (visits row {row}) has no row in the clinical table: in no relapse rate."
            checks.append(Check("patient", patient, "patient-without-clinical", "", "", Verdict.WARN, message))
    return checks
