"""The study folder: every file as (path, bytes), the planted truth beside the data."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from aqp4flow.errors import InputError
from aqp4flow.fcs import fcs_bytes
from aqp4flow.model import Visit
from aqp4flow.simulate.binding import Serum, occupancy
from aqp4flow.simulate.clinic import clinical_rows, truth_headings, truth_rows
from aqp4flow.simulate.cohort import PATIENTS, sera_of, visits_of
from aqp4flow.simulate.cytometer import CHANNELS, SPILLOVER
from aqp4flow.simulate.plate import PlatePlan, WellPlan, plan_plate
from aqp4flow.simulate.well import SimulatedWell, simulate_well

LARGEST_SIZE = 100.0
_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")  # no locale

ASSAY = """\
# SIMULATED DATA: this study was made by `aqp4flow demo`. No person, serum or cytometer stands behind it;
# what was planted is in truth/.

[assay]
name = "AQP4-M23 live CBA (simulated)"
version = "1"
antigen = "AQP4-M23"
comparator = "same-well"

[channels]
forward = "FSC-A"
forward_height = "FSC-H"
side = "SSC-A"
viability = "PerCP-Cy5-5-A"
reporter = "FITC-A"
signal = "APC-A"

[compensation]
source = "file"

[gating]
source = "auto"

[readout]
statistic = "median"
decide = "delta"

[cutoff]
rule = "frey"

[curve]
model = "4pl"

[statistics]
primary_outcome = "reactivity"
primary_timepoint = "M12"
# paired-t and rank-sum are not among the defaults: they stand here to be compared with the published p values.
tests = [
  "signed-rank", "friedman", "dunn", "poisson", "mixed-model", "censored-model", "bootstrap",
  "paired-t", "rank-sum",
]

[seed]
value = 20140315
"""

_WELL_HEADINGS = (
    *("plate", "well", "serum", "dilution", "n_events"),
    *("n_live_single_expressing", "n_live_single_nonexpressing", "fraction_expressing"),
    *("true_median_expressing", "true_median_nonexpressing", "true_delta", "true_delta_bright"),
    *("dilution_error", "staining_error", "gain"),
)
_SERUM_HEADINGS = (
    *("plate", "serum", "role", "patient", "visit", "concentration", "nonspecific"),
    *("half_dilution", "occupancy_at_20", "clones"),
)

Row = Sequence[str | float | None]


def simulate_study(size: float = 1.0, seed: int = 20140315) -> Iterator[tuple[str, bytes]]:
    """Every file of the simulated seven-patient study as (path with forward slashes, bytes).

    `size` multiplies the events of a well (1 is about 5,000). The same (size, seed) gives the same bytes. Raises
    InputError at once when size is not in (0, 100] or seed is negative.
    """
    if not 0 < size <= LARGEST_SIZE:
        raise InputError("size", f"{size:g} is not above 0 and at most {LARGEST_SIZE:g}", "1 is 5,000 events a well")
    if seed < 0:
        raise InputError("seed", f"{seed} is negative", "take any whole number from 0 on")
    return _files(size, seed)


def _files(size: float, seed: int) -> Iterator[tuple[str, bytes]]:
    plates = [plan_plate(patient, seed) for patient in PATIENTS]
    yield "assay.toml", ASSAY.encode()
    yield "visits.csv", visits_csv([visit for patient in PATIENTS for visit in visits_of(patient, seed)])
    yield "clinical.csv", _table(("patient", "date", "kind", "value"), clinical_rows(seed))
    truths: list[Row] = []
    for plate in plates:
        yield f"plates/{plate.name}/plate.csv", plate_csv(plate)
        for plan in plate.wells:
            well = simulate_well(plate, plan, size, seed)
            yield f"plates/{plate.name}/{plan.file}", well_fcs(plate, well, size)
            truths.append(_well_truth(plate, well))
    yield "truth/sera.csv", _table(_SERUM_HEADINGS, (_serum_truth(plate, s) for plate in plates for s in plate.sera))
    yield "truth/wells.csv", _table(_WELL_HEADINGS, truths)
    yield "truth/folds.csv", folds_csv(seed)
    yield "truth/clinical.csv", _table(truth_headings(), truth_rows())


# --- one file each ------------------------------------------------------------------------------


def visits_csv(visits: Iterable[Visit]) -> bytes:
    """visits.csv: which serum is which patient's, and when it was drawn."""
    rows = [(v.serum, v.patient, v.collected, v.visit, "yes" if v.baseline else "no") for v in visits]
    return _table(("serum", "patient", "collected", "visit", "baseline"), rows)


def plate_csv(plate: PlatePlan) -> bytes:
    """plate.csv: the plate map."""
    rows = [
        (w.name, w.role.value, w.serum.name if w.serum else "", w.dilution, w.replicate, "", w.dye) for w in plate.wells
    ]
    return _table(("well", "role", "serum", "dilution", "replicate", "cells", "dye"), rows)


def folds_csv(seed: int) -> bytes:
    """truth/folds.csv: concentration over the baseline's, of every visit of every patient."""
    rows: list[Row] = []
    for patient in PATIENTS:
        sera = sera_of(patient, seed)
        rows += [(s.patient, s.visit, s.name, s.concentration / sera[0].concentration) for s in sera]
    return _table(("patient", "visit", "serum", "fold"), rows)


def well_fcs(plate: PlatePlan, well: SimulatedWell, size: float) -> bytes:
    """The well's FCS 3.1 file, with the true matrix as $SPILLOVER."""
    keywords = _keywords(plate, well.plan, well.acquisition.seconds, size)
    return fcs_bytes(well.acquisition.values, CHANNELS, keywords, SPILLOVER)


def _keywords(plate: PlatePlan, plan: WellPlan, seconds: float, size: float) -> Mapping[str, str]:
    """Keywords as an HTS export of FACSDiva has them; times follow from the plate, never from a clock."""
    pace = timedelta(seconds=30 + math.ceil(15 * size))
    begin = datetime(plate.date.year, plate.date.month, plate.date.day, 9) + plan.index * pace
    end = begin + timedelta(seconds=math.ceil(seconds))
    tube = f"{plan.name[0]}{int(plan.name[1:])}"
    return {
        "$FIL": plan.file,
        "$CYT": "AQP4FLOW simulated cytometer",
        "$SRC": "Specimen_001",
        "$DATE": f"{plate.date.day:02d}-{_MONTH_NAMES[plate.date.month - 1]}-{plate.date.year}",
        "$BTIM": f"{begin:%H:%M:%S}",
        "$ETIM": f"{end:%H:%M:%S}",
        "$TIMESTEP": "0.01",
        "EXPERIMENT NAME": "AQP4-M23 live CBA tocilizumab (simulated)",
        "PLATE NAME": plate.name,
        "TUBE NAME": tube,
        "WELL ID": plan.name,
        "AQP4FLOW SIMULATED": "yes",
    }


# --- truth --------------------------------------------------------------------------------------


def _well_truth(plate: PlatePlan, well: SimulatedWell) -> Row:
    plan, inside, outside = well.plan, well.expressing, well.nonexpressing
    n_inside, n_outside = int(inside.sum()), int(outside.sum())
    high, low = well.clean_median(inside), well.clean_median(outside)
    return (
        *(plate.name, plan.name, plan.serum.name if plan.serum else "", plan.dilution, len(well.tube)),
        *(n_inside, n_outside, n_inside / (n_inside + n_outside) if n_inside + n_outside else None),
        *(high, low, high - low, well.clean_median(well.bright) - low),
        *(well.errors.dilution, well.errors.staining * plate.day.staining, well.gain),
    )


def _serum_truth(plate: PlatePlan, serum: Serum) -> Row:
    clones = ";".join(f"{clone.share:.6g}@{clone.kd:.6g}" for clone in serum.clones)
    return (
        *(plate.name, serum.name, serum.role.value, serum.patient, serum.visit, serum.concentration),
        *(serum.nonspecific, serum.half_dilution or None, occupancy(serum.clones, serum.concentration / 20.0), clones),
    )


def _table(headings: Sequence[str], rows: Iterable[Row]) -> bytes:
    """CSV as UTF-8 with LF; numbers to 6 significant digits, missing is empty."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(headings)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _cell(value: str | float | None) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
