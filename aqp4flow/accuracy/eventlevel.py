"""The event level: plates as FCS files in a folder, through the whole product."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from aqp4flow import run
from aqp4flow.accuracy.readinglevel import frey_factor
from aqp4flow.accuracy.verdicts import Verdicts, judge
from aqp4flow.pipeline import titrate_plate
from aqp4flow.simulate.panel import Panel, calls_panel, titration_panel
from aqp4flow.simulate.scenario import Scenario
from aqp4flow.wells import measure_plate

_ASSAY = """\
# SIMULATED DATA: this plate was made by `aqp4flow simulate`. No person, serum or cytometer stands behind it.

[assay]
antigen = "simulated"

[channels]
forward_height = "FSC-H"
viability = "PerCP-Cy5-5-A"
reporter = "FITC-A"
signal = "APC-A"

[compensation]
source = "file"
"""


def definition_text(scenario: Scenario) -> str:
    """assay.toml of a scenario."""
    lines = [_ASSAY]
    for table, keys in scenario.settings.items():
        lines.append(f"[{table}]")
        lines += [f'{key} = "{value}"' if isinstance(value, str) else f"{key} = {value}" for key, value in keys.items()]
        lines.append("")
    return "\n".join(lines)


def write_panel(folder: Path, scenario: Scenario, panel: Panel) -> Path:
    """A study folder of one plate: assay.toml, its files, and truth.csv. Returns the plate's folder."""
    plate = folder / "plates" / panel.planted.name
    plate.mkdir(parents=True, exist_ok=True)
    (folder / "assay.toml").write_text(definition_text(scenario), encoding="utf-8", newline="\n")
    for name, data in panel.files():
        (plate / name).write_bytes(data)
    (folder / "truth.csv").write_text(truth_csv(panel), encoding="utf-8", newline="\n")
    return plate


def truth_csv(panel: Panel) -> str:
    """What is planted, a row a serum and dilution; the titer is empty where it lies beyond the ladder."""
    lines = ["plate,serum,patient,concentration,dilution,mfi_expressing,mfi_nonexpressing,delta,titer,cutoff"]
    for serum in panel.planted.sera:
        titer = f"{serum.titer:.6g}" if 0 < serum.titer < float("inf") else ""
        for dilution, bright, dark in zip(serum.dilutions, serum.expressing, serum.nonexpressing, strict=True):
            numbers = f"{dilution:g},{bright:.6g},{dark:.6g},{bright - dark:.6g},{titer},{panel.planted.cutoff:.6g}"
            lines.append(f"{panel.planted.name},{serum.name},{serum.patient},{serum.concentration:.6g},{numbers}")
    return "\n".join(lines) + "\n"


def event_verdicts(scenario: Scenario, number: int, seed: int, calls: bool, keep: Path | None) -> Verdicts:
    """Make one plate, measure it as a study, and judge it. `keep` names a folder in which its files stay."""
    make = calls_panel if calls else titration_panel
    panel = make(scenario, number, seed, frey_factor)
    place = Path(tempfile.mkdtemp(prefix="aqp4flow-")) if keep is None else keep / panel.planted.name
    try:
        write_panel(place, scenario, panel)
        study = run.load_study(place)
        wells = measure_plate(study.plates[0], study.settings[0])
        return judge(scenario.name, panel.planted, titrate_plate(wells, curves=False), seed)
    finally:
        if keep is None:
            shutil.rmtree(place, ignore_errors=True)
