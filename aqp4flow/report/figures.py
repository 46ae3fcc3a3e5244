"""Figures as SVG, PDF and PNG, each with the CSV of what it shows; the same result gives the same bytes."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator

from aqp4flow.cytometry.beads import Calibration
from aqp4flow.model import Check, ClinicalKind, Verdict
from aqp4flow.pipeline import PlateTiters, StudyResult
from aqp4flow.report import beadfigure, figure1, figure2, figure3, figure4, platefigure, standardfigure
from aqp4flow.report.acquisition_figure import acquisition_size, draw_acquisition
from aqp4flow.report.courses import seen
from aqp4flow.report.fonts import labels_for
from aqp4flow.report.labels import Labels
from aqp4flow.report.look import Drawn, Made, new_figure, saved, styled

_BEAD_SIZE = (11.4, 4.6)
_REFERENCE_SIZE = (7.2, 4.6)


def draw_all(result: StudyResult) -> Drawn:
    """Figures 1 to 4 as far as the study's tables allow, and of each plate its gates, titrations and acquisition.

    `missing_figures` says what is not made, and why.
    """
    files: dict[str, bytes] = {}
    captions: dict[str, str] = {}
    labels, font, doubts = labels_for(result.assay.figures.language)
    with styled(font):
        for name, (figure, points, caption) in _patient_figures(result, labels):
            files |= saved(name, figure, points)
            captions[name] = caption
    with styled():
        for plate in result.titers:
            for name, (figure, points, caption) in _of_plate(plate):
                files |= saved(name, figure, points)
                captions[name] = caption
                if name.startswith("acquisition-"):
                    files[f"{name}.png"] = _with_few_colours(files[f"{name}.png"])
        for wells in result.plates:
            if wells.calibration is not None:
                name, figure = f"beads-{wells.plate.name}", new_figure(*_BEAD_SIZE)
                points = beadfigure.draw(figure, wells.calibration, f"Plate {wells.plate.name}: calibration by beads")
                files |= saved(name, figure, points)
                captions[name] = f"Plate {wells.plate.name}. {beadfigure.caption(wells.calibration)}"
    return Drawn(files, captions, tuple(doubts))


def _patient_figures(result: StudyResult, labels: Labels) -> Iterator[tuple[str, Made]]:
    missing = {check.subject for check in missing_figures(result)}
    if "figure1" not in missing:
        yield "figure1", figure1.draw(result, labels)
    if "figure2" not in missing:
        for number, sheet in enumerate(figure2.sheets(result, labels), 1):
            yield "figure2" if number == 1 else f"figure2-{number}", sheet
    if "figure3" not in missing:
        yield "figure3", figure3.draw(result, labels)
    if "figure4" not in missing:
        yield "figure4", figure4.draw(result, labels)


def _of_plate(plate: PlateTiters) -> Iterator[tuple[str, Made]]:
    name, reference = plate.wells.plate.name, plate.units.reference
    yield f"plate-{name}", platefigure.draw(plate)
    if reference is not None and reference.curve is not None:
        figure = new_figure(*_REFERENCE_SIZE)
        points = standardfigure.draw(figure.subplots(), reference, plate.units.sera)
        yield f"reference-{name}", (figure, points, standardfigure.caption(reference, plate.units.sera))
    if any(acquired and acquired.traces for acquired in plate.wells.acquired):
        figure = new_figure(*acquisition_size(plate.wells))
        points, caption = draw_acquisition(figure.subplots(), plate.wells)
        yield f"acquisition-{name}", (figure, points, caption)


def figure_checks(result: StudyResult) -> list[Check]:
    """What is to say of a study's figures before they are drawn: which are not made, and a font that is missing."""
    return [*missing_figures(result), *labels_for(result.assay.figures.language)[2]]


def missing_figures(result: StudyResult) -> list[Check]:
    """For each of Figures 1 to 4 that this study's tables do not allow: what to add."""
    kinds = {event.kind for event in result.clinical}
    found: list[tuple[str, str]] = []
    if not any(not math.isnan(rate) for one in result.followed for rate in figure1.rates(one)):
        needed = (ClinicalKind.RELAPSE, ClinicalKind.DOSE, ClinicalKind.OBSERVATION_START, ClinicalKind.OBSERVATION_END)
        lacking = [kind.value for kind in needed if kind not in kinds]
        rows = f"rows of kind {_listed(lacking)}" if lacking else "observation of the same patients before or after"
        found.append(("figure1", f"relapse rates need years of observation about the first dose: add {rows}"))
    if not kinds & {ClinicalKind.RELAPSE, ClinicalKind.DOSE, ClinicalKind.EDSS}:
        found.append(("figure2", "courses need rows of kind relapse, dose or edss: add those there are"))
    if not any(not math.isnan(event.value) for event in figure3.scored(result)):
        found.append(("figure3", "it needs rows of kind pain or fatigue with a value: add them"))
    table = "the study has no clinical table; add one as clinical.csv: " if not result.clinical else ""
    checks = [
        _not_made(name, f"{table}{words}{' to the clinical table' if not table else ''}") for name, words in found
    ]
    if not seen(result.trajectories):
        why = "no visit has a value of the quantity followed: see checks and flags of the sera"
        if not result.trajectories:
            why = "the study has no visits: add visits.csv with serum, patient, collected and baseline"
        checks.append(_not_made("figure4", why))
    return checks


def _not_made(name: str, why: str) -> Check:
    message = f"Figure {name.removeprefix('figure')} was not made: {why}."
    return Check("run", name, "figure-not-made", "", "", Verdict.PASS, message)


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def bead_png(calibration: Calibration, title: str) -> bytes:
    """The figure of a calibration alone, as PNG."""
    with styled():
        figure = new_figure(*_BEAD_SIZE)
        points = beadfigure.draw(figure, calibration, title)
        return saved("beads", figure, points, ("png",))["beads.png"]


def _with_few_colours(png: bytes) -> bytes:
    """A drawing of thin lines in a palette: a quarter of the bytes, which the report carries once a plate."""
    from PIL import Image  # matplotlib brings it along

    out = io.BytesIO()
    with Image.open(io.BytesIO(png)) as picture:
        palette = picture.convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    palette.save(out, "png", optimize=True)
    return out.getvalue()
