"""Calibration beads: sums by hand, planted beads, real beads against FlowCal, a plate with beads, the command."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from aqp4flow.cytometry.beadlot import read_lot
from aqp4flow.cytometry.beadpeaks import sample_of
from aqp4flow.cytometry.beads import Assigned, Calibration, Line, Peak, calibrate, fit_line
from aqp4flow.cytometry.gates import Columns
from aqp4flow.errors import AnalysisError, ConfigError, SheetError
from aqp4flow.fcs import fcs_bytes, read_fcs
from aqp4flow.model import Channel, Values
from aqp4flow.simulate.cytometer import CHANNELS

TOP = 262_143.0
VALUES = (0.0, 800.0, 2500.0, 8000.0, 24_000.0, 70_000.0, 200_000.0)


# --- planted beads --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Planted:
    """Events by channel, as a file hands them out."""

    values: dict[str, Values]
    channels: tuple[Channel, ...] = (
        Channel(1, "FSC-A"), Channel(2, "SSC-A"), Channel(3, "APC-A", voltage=560.0), Channel(4, "FITC-A"),
    )  # fmt: skip

    @property
    def count(self) -> int:
        return len(self.values["APC-A"])

    def column(self, name: str) -> Values:
        return self.values[name]


def planted(
    values: Sequence[float], seed: int = 1, *, n: int = 900, own: float = 0.0, gain: float = 1.0, slope: float = 1.0,
    cv: float = 0.04, noise: float = 30.0, debris: float = 0.15, sizes: Sequence[float] | None = None,
) -> Planted:  # fmt: skip
    """Beads of about equal numbers; MFI = gain * (value + own) ** slope, with doublets and two kinds of debris."""
    draw = np.random.default_rng(seed)
    light = [
        gain * (value + own) ** slope * (1 + cv * draw.standard_normal(int(n * size)))
        for value, size in zip(values, sizes or [1.0] * len(values), strict=True)
    ]
    single = np.concatenate(light)
    scatter = 10 ** np.column_stack([draw.normal(4.7, 0.012, len(single)), draw.normal(4.5, 0.025, len(single))])
    pairs = draw.permutation(len(single))[: len(single) // 10 * 2].reshape(2, -1)
    both, doublet = single[pairs].sum(axis=0), scatter[pairs].sum(axis=0)
    lost = int(debris * len(single))
    within = 10 ** np.column_stack([draw.normal(4.7, 0.012, lost), draw.normal(4.5, 0.025, lost)])
    dirt = 10 ** draw.uniform(3.0, 5.0, (3 * lost, 2))
    tall = max(float(np.median(part)) for part in light)
    signal = np.concatenate(
        [single, both, 10 ** draw.uniform(1, math.log10(tall), lost), draw.exponential(90, 3 * lost)]
    )
    order = draw.permutation(len(signal))
    places = np.vstack([scatter, doublet, within, dirt])[order]
    signal = signal[order] + draw.normal(0, noise, len(signal))
    other = draw.normal(0, 40, len(signal))
    columns = {"FSC-A": places[:, 0], "SSC-A": places[:, 1], "APC-A": signal, "FITC-A": other}
    return Planted({name: np.minimum(column, TOP) for name, column in columns.items()})


def found(events: Planted, values: Sequence[float | None], unit: str = "MESF") -> Calibration:
    sample = sample_of("H12", Columns(events, None), ("FSC-A", "SSC-A"), "APC-A", ["FITC-A"])
    return calibrate([sample], events.channels[2], Assigned("APC-A", unit, tuple(values)))


def codes(calibration: Calibration) -> set[str]:
    return {doubt.code for doubt in calibration.doubts}


@pytest.mark.parametrize("seed", range(5))
def test_planted_beads_give_the_planted_line(seed: int) -> None:
    """A gain of 0.5, in debris and doublets: every peak within 2 %, the line within 2 % over its whole range."""
    values = VALUES[1:]
    calibration = found(planted(values, seed, gain=0.5), values)
    for peak, value in zip(calibration.peaks, values, strict=True):
        assert peak.used
        assert peak.mfi == pytest.approx(0.5 * value, rel=0.02)
        assert peak.n == pytest.approx(855, rel=0.12)  # 95 % of 900 are in the ellipse, and some debris
    assert calibration.line.slope == pytest.approx(1.0, abs=0.01)
    assert calibration.line.autofluorescence == 0
    for mfi in (500.0, 5000.0, 90_000.0):
        assert calibration.line.units(mfi) == pytest.approx(2 * mfi, rel=0.02)
    assert codes(calibration) <= {"beads-debris"}


def test_a_blank_tells_what_the_beads_shine_by_themselves() -> None:
    """MFI = (value + 600)^0.95: a plain line would bend; cells are read off without the beads' own 600."""
    events = planted(VALUES, own=600.0, slope=0.95)
    line = found(events, VALUES).line
    assert line.autofluorescence == pytest.approx(600, rel=0.06)
    assert line.slope == pytest.approx(1 / 0.95, rel=0.01)
    for units in (1000.0, 10_000.0, 150_000.0):
        assert line.units(units**0.95) == pytest.approx(units, rel=0.03)
    plain = found(events, (None, *VALUES[1:])).line
    assert plain.autofluorescence == 0
    assert plain.slope > 1.1


def test_a_blank_without_a_value_is_left_out_by_name() -> None:
    calibration = found(planted(VALUES, own=20.0), (None, *VALUES[1:]))
    assert [peak.used for peak in calibration.peaks] == [False] + [True] * 6
    assert calibration.peaks[0].note == "no value is assigned to it"
    assert "beads-left-out" in codes(calibration)
    assert calibration.line.slope == pytest.approx(1.0, abs=0.03)


def test_a_blank_at_or_below_zero_has_no_logarithm_and_is_left_out() -> None:
    events = planted((-40.0, *VALUES[1:]), cv=0.0, noise=20.0)
    calibration = found(events, VALUES)
    assert calibration.peaks[0].mfi < 0
    assert "no logarithm" in calibration.peaks[0].note
    assert math.isnan(calibration.peaks[0].fitted)
    assert calibration.line.autofluorescence == 0
    assert calibration.line.units(10_000.0) == pytest.approx(10_000, rel=0.02)


def test_a_peak_cut_by_the_range_is_left_out_by_name() -> None:
    """The brightest at 260,000 +- 4 % piles up at the end of the range: with it the line would bend."""
    values = (*VALUES[1:], 520_000.0)
    calibration = found(planted(values, gain=0.5), values)
    assert [peak.used for peak in calibration.peaks] == [True] * 6 + [False]
    assert "saturated" in calibration.peaks[-1].note
    assert "beads-saturated" in codes(calibration)
    assert calibration.line.high == pytest.approx(100_000, rel=0.02)
    assert calibration.line.outside(130_000.0)
    assert calibration.line.units(50_000.0) == pytest.approx(100_000, rel=0.02)


def test_two_peaks_off_scale_become_one_and_the_others_keep_their_values() -> None:
    values = (*VALUES[1:], 600_000.0, 1_500_000.0)
    calibration = found(planted(values, gain=0.5), values)
    used = {peak.number: peak.mfi for peak in calibration.peaks if peak.used}
    assert list(used) == ["1", "2", "3", "4", "5", "6"]
    assert used["6"] == pytest.approx(100_000, rel=0.02)
    assert {"beads-fewer", "beads-saturated"} <= codes(calibration)


def test_peaks_that_touch_at_the_dim_end_are_parted_at_the_valley() -> None:
    """100, 200 and 300 with noise of 30: valleys that do not reach the ground."""
    values = (100.0, 200.0, 300.0, 2000.0, 20_000.0)
    calibration = found(planted(values, n=3000, debris=0.03), values)
    for peak, value in zip(calibration.peaks, values, strict=True):
        assert peak.mfi == pytest.approx(value, rel=0.06)
    assert all(peak.used for peak in calibration.peaks)


def test_peaks_that_merge_at_the_dim_end_are_left_out_by_name() -> None:
    """100 and 130 with noise of 40 have no valley: twice the events tell; the other peaks keep their values."""
    values = (100.0, 130.0, 2500.0, 8000.0, 24_000.0, 70_000.0)
    calibration = found(planted(values, noise=40.0), values)
    numbers = [peak.number for peak in calibration.peaks if peak.n]
    assert numbers == ["1-2", "3", "4", "5", "6"]
    assert "more than one bead" in calibration.peaks[0].note
    assert "beads-fewer" in codes(calibration)
    assert calibration.line.low == pytest.approx(2500, rel=0.02)
    assert calibration.line.units(10_000.0) == pytest.approx(10_000, rel=0.02)


def test_another_colour_parts_what_merges_in_the_signal() -> None:
    """Beads dyed in several colours: 100 and 130 are far apart in FITC-A."""
    values = (100.0, 130.0, 2500.0, 8000.0, 24_000.0, 70_000.0)
    events = planted(values, noise=40.0, debris=0.0)
    clean = events.column("APC-A") < 115
    draw = np.random.default_rng(5)
    other = np.where(clean, draw.normal(400, 40, events.count), draw.normal(4000, 200, events.count))
    calibration = found(replace(events, values={**events.values, "FITC-A": other}), values)
    assert [peak.number for peak in calibration.peaks if peak.n] == ["1", "2", "3", "4", "5", "6"]
    assert all(peak.used for peak in calibration.peaks)


def test_parts_of_one_peak_in_another_colour_stay_one_peak() -> None:
    """The third bead has two brightnesses in FITC-A and one in the signal."""
    values = VALUES[1:]
    events = planted(values, debris=0.0)
    third = (events.column("APC-A") > 5000) & (events.column("APC-A") < 12_000)
    half = np.random.default_rng(6).random(events.count) < 0.5
    other = events.column("FITC-A") + np.where(third & half, 5000.0, 0.0)
    calibration = found(replace(events, values={**events.values, "FITC-A": other}), values)
    assert [peak.n > 700 for peak in calibration.peaks] == [True] * 6


def test_a_peak_at_the_bottom_of_the_range_is_left_out_by_name() -> None:
    """A cytometer that stores nothing below 0: half of the blank is cut, and its median is no median."""
    events = planted((5.0, *VALUES[1:]), debris=0.0)
    signal = np.maximum(events.column("APC-A"), 0.0)
    calibration = found(replace(events, values={**events.values, "APC-A": signal}), VALUES)
    assert "bottom of the range" in calibration.peaks[0].note
    assert [peak.used for peak in calibration.peaks] == [False] + [True] * 6
    assert "beads-floor" in codes(calibration)


def test_a_missing_bead_whose_place_is_ambiguous_is_refused() -> None:
    """Values in equal steps: which of them is missing cannot be told, and is not guessed."""
    values = tuple(500.0 * 3.0**step for step in range(6))
    with pytest.raises(AnalysisError, match="ambiguous"):
        found(planted(values[:5]), values)


def test_more_peaks_than_values_are_refused() -> None:
    with pytest.raises(AnalysisError, match=r"7 peaks found .* 6 values assigned"):
        found(planted(VALUES), VALUES[1:])


def test_one_peak_is_no_mixture_of_beads() -> None:
    with pytest.raises(AnalysisError, match="peaks found, 6 values assigned"):
        found(planted((3000.0,), n=4000, debris=0.0), VALUES[1:])


def test_a_small_peak_of_debris_is_not_taken_for_a_bead() -> None:
    calibration = found(planted((*VALUES[1:], 45_000.0), debris=0.02, sizes=[1.0] * 6 + [0.2]), VALUES[1:])
    assert [peak.n > 500 for peak in calibration.peaks] == [True] * 6


def test_a_peak_half_as_large_as_the_others_is_doubted() -> None:
    calibration = found(planted(VALUES[1:], debris=0.02, sizes=[1, 1, 0.42, 1, 1, 1]), VALUES[1:])
    assert "beads-uneven" in codes(calibration)


def test_values_of_another_lot_are_doubted() -> None:
    """A slope of 0.7 and peaks off the line by more than 20 %: said, each by its code."""
    wrong = (3000.0, 4000.0, 20_000.0, 24_000.0, 90_000.0, 95_000.0)
    calibration = found(planted(VALUES[1:]), wrong)
    assert {"beads-slope", "beads-residual", "beads-r2"} <= codes(calibration)


def test_nothing_is_random() -> None:
    events = planted(VALUES)
    assert found(events, VALUES).line == found(events, VALUES).line
    assert found(events, VALUES).peaks == found(events, VALUES).peaks


def test_steps_of_stored_values_are_no_valleys() -> None:
    """Integers of 10 bits over four log decades: a bright peak has a few steps only."""
    values = VALUES[1:]
    events = planted(values, gain=0.04, noise=1.0, debris=0.02)
    channel = Channel(3, "APC-A", bits=10, range=1024.0, amplification=(4.0, 1.0))
    steps = np.floor(np.log10(np.clip(events.column("APC-A"), 1.0, 9999.0)) / 4 * 1024)
    logged = replace(
        events,
        values={**events.values, "APC-A": 10 ** (steps * 4 / 1024)},
        channels=(*events.channels[:2], channel, events.channels[3]),
    )
    calibration = found(logged, values)
    assert [peak.number for peak in calibration.peaks] == ["1", "2", "3", "4", "5", "6"]
    assert calibration.line.units(400.0) == pytest.approx(10_000, rel=0.03)


# --- sums by hand ---------------------------------------------------------------------------------


def peak(mfi: float, assigned: float) -> Peak:
    return Peak("", 100, mfi, 5.0, assigned, used=True)


def test_the_line_by_hand() -> None:
    """log10 MFI 2, 3, 4 and log10 values 3, 4.1, 4.9: slope (1.9 / 2), intercept 4 - 0.95 * 3, residuals by hand."""
    line = fit_line([peak(100, 1e3), peak(1e3, 10**4.1), peak(1e4, 10**4.9)])
    assert line.slope == pytest.approx(0.95, abs=1e-12)
    assert line.intercept == pytest.approx(4.0 - 2.85, abs=1e-12)
    rest = (3 - 3.05) ** 2 + (4.1 - 4.0) ** 2 + (4.9 - 4.95) ** 2
    assert line.r2 == pytest.approx(1 - rest / (1 + 0.01 + 0.81), abs=1e-12)
    assert line.units(1e3) == pytest.approx(10**4.0)
    assert (line.low, line.high, line.autofluorescence) == (100, 1e4, 0.0)


def test_the_line_with_a_blank_by_hand() -> None:
    """MFI = 2 (value + 500): slope 1, intercept -log10 2, A 500, nothing left over; the blank stands at 1000."""
    line = fit_line([peak(1000, 0), peak(2 * 1500, 1000), peak(2 * 5500, 5000), peak(2 * 40_500, 40_000)])
    assert line.autofluorescence == pytest.approx(500, rel=1e-4)
    assert line.slope == pytest.approx(1.0, abs=1e-5)
    assert line.units(1000.0) == pytest.approx(500, rel=1e-4)
    assert line.low == 1000


def test_an_mfi_at_or_below_zero_has_no_units() -> None:
    line = Line(1.0, 0.0, 0.0, 1.0, 10.0, 100.0)
    assert math.isnan(line.units(0.0))
    assert math.isnan(line.units(-5.0))
    assert line.units(1000.0) == pytest.approx(1000.0)
    assert [line.outside(mfi) for mfi in (9.9, 10.0, 100.0, 100.1)] == [True, False, False, True]


def test_two_peaks_give_no_line() -> None:
    with pytest.raises(AnalysisError, match="2 peaks with a value above 0 can be used, 3 are needed"):
        fit_line([peak(100, 1e3), peak(1e3, 1e4), replace(peak(1e4, 1e5), used=False)])


# --- the table of a lot ---------------------------------------------------------------------------


def lot_file(folder: Path, *rows: str, heading: str = "channel,unit,lot,peak1,peak2,peak3,peak4") -> Path:
    path = folder / "lot.csv"
    path.write_text("\n".join((heading, *rows)) + "\n", encoding="utf-8")
    return path


def test_a_lot_is_read_in_english_and_japanese(tmp_path: Path) -> None:
    (english,) = read_lot(lot_file(tmp_path, 'APC-A,MESF,A1,0,"1,200",3e3,9000'))
    assert english == Assigned("APC-A", "MESF", (0.0, 1200.0, 3000.0, 9000.0), "A1")
    heading = "チャンネル,単位,ロット,ピーク1,ピーク 2,ピーク3,ピーク4,ピーク5"
    (japanese,) = read_lot(lot_file(tmp_path, "APC-A,MESF,,NA,1200,3000,9000,", heading=heading))
    assert japanese == Assigned("APC-A", "MESF", (None, 1200.0, 3000.0, 9000.0))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("APC-A,MESF,,0,3000,1200,9000", "row 2: 1200 follows 3000"),
        ("APC-A,MESF,,NA,0,1200,9000", "row 2: 2 values above 0"),
        ("APC-A,,,0,1200,3000,9000", "row 2: the unit is empty"),
        (",MESF,,0,1200,3000,9000", "row 2: no channel is named"),
        ("APC-A,MESF,,0,dim,3000,9000", "row 2: peak2 'dim' is not a number"),
        ("APC-A,MESF,,-5,1200,3000,9000", "row 2: peak1 '-5' is not a number"),
    ],
)
def test_a_row_that_cannot_be_used_says_which_and_why(row: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SheetError) as refusal:
        read_lot(lot_file(tmp_path, row))
    assert said in str(refusal.value)
    assert refusal.value.hint


def test_every_problem_of_a_lot_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SheetError) as refusal:
        read_lot(lot_file(tmp_path, "A,MESF,,0,1,2,3", "A,MESF,,0,1,2,3", "B,,,0,1,2,3"))
    assert len(refusal.value.others) == 1
    with pytest.raises(SheetError, match="no such table"):
        read_lot(tmp_path / "none.csv")


# --- real beads -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rainbow(corpus: Path) -> tuple[Calibration, dict]:
    """FlowCal's example beads, 8 peaks in FL1, of which the three dimmest overlap."""
    expected = json.loads((corpus / "beads" / "expected_sample001.json").read_text())
    events = read_fcs(corpus / "beads" / "sample001.fcs").open_events()
    sample = sample_of("beads", Columns(events, None), ("FSC", "SSC"), "FL1", ["FL2", "FL3"])
    assigned = Assigned("FL1", "MEFL", tuple(map(float, expected["FL1_mef"])), "AJ01")
    return calibrate([sample], events.channels[events.index("FL1")], assigned), expected


def test_peaks_of_real_beads_are_flowcals(rainbow: tuple[Calibration, dict]) -> None:
    """Within one step of the 10-bit log scale (0.9 %); FlowCal clusters two channels and gates by density."""
    calibration, expected = rainbow
    for mine, theirs in zip(calibration.peaks, expected["FL1_peak_medians_rfi"], strict=True):
        assert mine.mfi == pytest.approx(theirs, rel=0.0091)
    assert [peak.used for peak in calibration.peaks] == [True] * 7 + [False]
    assert codes(calibration) == {"beads-saturated"}


def test_units_of_real_beads_are_those_of_flowcals_model(rainbow: tuple[Calibration, dict]) -> None:
    """MEF = exp(b) * MFI^m: within 1 % over the range of the beads used, and the beads' own light within 2 %."""
    calibration, expected = rainbow
    m, b, own = expected["bead_model_params"]
    for mfi in (160.0, 300.0, 1000.0, 3000.0, 7000.0):
        assert calibration.line.units(mfi) == pytest.approx(math.exp(b) * mfi**m, rel=0.01)
    assert calibration.line.slope == pytest.approx(m, rel=0.005)
    assert calibration.line.autofluorescence == pytest.approx(own, rel=0.02)


def test_one_channel_alone_finds_what_it_can_and_says_what_it_cannot(corpus: Path) -> None:
    """Without FL2 and FL3 the three dimmest have no valley in FL1: one peak of three beads, left out."""
    events = read_fcs(corpus / "beads" / "sample001.fcs").open_events()
    sample = sample_of("beads", Columns(events, None), ("FSC", "SSC"), "FL1", [])
    values = (0.0, 792.0, 2079.0, 6588.0, 16_471.0, 47_497.0, 137_049.0, 271_647.0)
    calibration = calibrate([sample], events.channels[events.index("FL1")], Assigned("FL1", "MEFL", values))
    assert [peak.number for peak in calibration.peaks if peak.n] == ["1-3", "4", "5", "6", "7", "8"]
    assert [peak.number for peak in calibration.peaks if peak.used] == ["4", "5", "6", "7"]
    assert {"beads-fewer", "beads-saturated", "beads-left-out", "beads-slope"} == codes(calibration)


@pytest.mark.parametrize(("channel", "column"), [("Alexa-488-A", 0), ("PE-A", 1), ("APC-A", 3)])
def test_dako_beads_lie_on_a_line(channel: str, column: int, corpus: Path) -> None:
    """An LSR II is linear: slope 1 within 5 %, every bead within 10 %, the blank (NA) left out by name."""
    rows = (corpus / "beads" / "dakomef.csv").read_text().split()[1:]
    cells = [row.split(";")[column] for row in rows]
    values = tuple(None if cell == "NA" else float(cell) for cell in cells)
    events = read_fcs(corpus / "beads" / "beads1.fcs").open_events()
    others = [c.name for c in events.channels[2:8] if c.name != channel]
    sample = sample_of("beads", Columns(events, None), ("FSC-A", "SSC-A"), channel, others)
    calibration = calibrate([sample], events.channels[events.index(channel)], Assigned(channel, "MEF", values))
    assert [peak.used for peak in calibration.peaks] == [False] + [True] * 5
    assert calibration.line.slope == pytest.approx(1.0, abs=0.05)
    assert all(abs(peak.residual_percent) < 10 for peak in calibration.peaks if peak.used)
    assert codes(calibration) == {"beads-left-out"}


# --- a plate with beads ---------------------------------------------------------------------------

LOT = (0.0, 300.0, 900.0, 3000.0, 9000.0, 30_000.0, 90_000.0)  # assigned; the detector shows twice as much


def bead_file(path: Path, seed: int = 3, *, voltage: float | None = 560.0, gain: float = 2.0) -> None:
    """Beads as the simulated plate's cytometer stores them, with no cell's dye in the other detectors."""
    events = planted(LOT, seed, own=100.0, gain=gain, noise=15.0, debris=0.05)
    values = np.zeros((events.count, len(CHANNELS)), np.float32)
    for name in ("FSC-A", "SSC-A", "APC-A", "FITC-A"):
        values[:, [c.name for c in CHANNELS].index(name)] = events.column(name)
    values[:, 6] = np.arange(len(values))
    channels = [replace(c, voltage=voltage) if c.name == "APC-A" else c for c in CHANNELS]
    path.write_bytes(fcs_bytes(values, channels, {"$CYT": "Test"}))


@pytest.fixture
def with_beads(plate: Path) -> Path:
    """The simulated plate with a bead well H12 and the values of its lot."""
    bead_file(plate / "Specimen_001_H12_H12.fcs")
    rows = (plate / "plate.csv").read_text().splitlines()
    assert rows[0].startswith("well,")
    blank = "," * (rows[0].count(",") - rows[0][: rows[0].index("role")].count(","))
    before = "," * rows[0][: rows[0].index("role")].count(",")
    (plate / "plate.csv").write_text("\n".join([*rows, f"H12{before}ビーズ{blank}"]) + "\n", encoding="utf-8")
    definition = plate.parents[1] / "assay.toml"
    definition.write_text(definition.read_text() + '\n[beads]\nvalues = "lot.csv"\n')
    heading = "channel,unit,lot," + ",".join(f"peak{i}" for i in range(1, 8))
    lot_file(plate.parents[1], "APC-A,MESF,A42," + ",".join(f"{v:g}" for v in LOT), heading=heading)
    return plate


def run(plate: Path, out: Path, call: Callable, *more: str) -> dict[str, list[dict[str, str]]]:
    done = call("run", plate, "--assay", plate.parents[1] / "assay.toml", "-o", out, *more)
    assert done.returncode in (0, 4), done.stderr
    assert "Traceback" not in done.stderr
    return {"stderr": done.stderr}


def by_check(rows: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    return {row["check"]: row for row in rows}


def without_units(rows: list[dict[str, str]], *others: str) -> list[dict[str, str]]:
    """Rows but for what is said in the beads' unit, and for some other columns."""
    kept = [{k: v for k, v in row.items() if not k.startswith("mef_") and k not in others} for row in rows]
    for row in kept:
        row["notes"] = ";".join(note for note in row["notes"].split(";") if not note.startswith("mef-"))
    return kept


def test_a_plate_with_beads_is_calibrated_and_nothing_else_changes(
    with_beads: Path, tmp_path: Path, call: Callable, table: Callable
) -> None:
    """mef_ columns are half the MFI; every other number is that of the plate without beads."""
    bare = tmp_path / "bare"
    shutil.copytree(with_beads.parents[1], bare)
    (bare / "plates" / "P001" / "Specimen_001_H12_H12.fcs").unlink()
    rows = (bare / "plates" / "P001" / "plate.csv").read_text(encoding="utf-8").splitlines()
    (bare / "plates" / "P001" / "plate.csv").write_text("\n".join(rows[:-1]) + "\n")
    text = (bare / "assay.toml").read_text()
    (bare / "assay.toml").write_text(text[: text.index("[beads]")])
    run(bare / "plates" / "P001", tmp_path / "without", call)
    run(with_beads, tmp_path / "out", call)

    wells = {row["well"]: row for row in table(tmp_path / "out" / "wells.csv")}
    beads = wells.pop("H12")
    assert (beads["role"], beads["mfi_expressing"], beads["flags"], beads["mef_unit"]) == ("beads", "", "", "")
    assert int(beads["n_events"]) > 5000
    assert (beads["n_cells"], beads["n_singlets"], beads["n_live"]) == ("", "", "")  # no gate of cells is for beads
    theirs = table(tmp_path / "without" / "wells.csv")
    assert without_units(list(wells.values()), "flags") == without_units(theirs, "flags")
    assert without_units(table(tmp_path / "out/reactivity.csv")) == without_units(
        table(tmp_path / "without/reactivity.csv")
    )
    for name in ("titers.csv", "gates.xml", "spillover.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "without" / name).read_bytes(), name
    assert not (tmp_path / "without" / "beads.csv").exists()

    peaks = table(tmp_path / "out" / "beads.csv")
    line = {key: float(peaks[0][key]) for key in ("slope", "intercept", "autofluorescence", "r2")}
    assert [row["used"] for row in peaks] == ["yes"] * 7
    assert line["slope"] == pytest.approx(1.0, abs=0.01)
    assert line["autofluorescence"] == pytest.approx(100, rel=0.1)
    counted = 0
    for row in wells.values():
        if row["role"] == "sample":
            counted += 1
            mfi = float(row["mfi_expressing"])
            assert float(row["mef_expressing"]) == pytest.approx(mfi / 2, rel=0.05)
            assert float(row["mef_expressing"]) == pytest.approx(
                10 ** line["intercept"] * mfi ** line["slope"], rel=1e-4
            )
            difference = float(row["mef_expressing"]) - float(row["mef_nonexpressing"])
            assert float(row["mef_delta"]) == pytest.approx(difference, abs=0.02)
            assert row["mef_unit"] == "MESF"
            outside = float(row["mfi_nonexpressing"]) < float(peaks[0]["mfi"])
            assert ("beads-outside-nonexpressing" in row["flags"]) == outside
    assert counted > 40
    assert wells["H02"]["mef_unit"] == ""  # a single stain has no shift

    checks = by_check(table(tmp_path / "out" / "checks.csv"))
    assert checks["beads"]["verdict"] == "pass"
    assert "lot A42" in checks["beads"]["message"]
    assert "voltages" not in checks
    figures = {path.name for path in (tmp_path / "out" / "figures").iterdir()}
    assert {f"beads-P001.{kind}" for kind in ("svg", "pdf", "png", "csv")} <= figures
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Calibration beads" in page
    assert "not molecules of IgG" in page
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert "lot.csv" in manifest["inputs"]
    assert "P001/Specimen_001_H12_H12.fcs" in manifest["inputs"]


def test_other_voltages_of_beads_are_refused_with_both_named(
    with_beads: Path, tmp_path: Path, call: Callable, table: Callable
) -> None:
    """The bead well fails and nothing is calibrated; the plate goes on, for no titer rests on beads."""
    bead_file(with_beads / "Specimen_001_H12_H12.fcs", voltage=500.0)
    run(with_beads, tmp_path / "out", call, "--until", "wells")
    checks = by_check(table(tmp_path / "out" / "checks.csv"))
    assert (checks["beads-voltage"]["verdict"], checks["beads-voltage"]["scope"]) == ("fail", "well")
    assert "500 V for the beads in H12" in checks["beads-voltage"]["message"]
    assert "560 V for the samples" in checks["beads-voltage"]["message"]
    assert "beads" not in checks
    assert "voltages" not in checks
    assert {row["mef_unit"] for row in table(tmp_path / "out" / "wells.csv")} == {""}
    assert not (tmp_path / "out" / "beads.csv").exists()


def test_voltages_that_files_do_not_say_are_told_and_the_plate_is_calibrated(
    with_beads: Path, tmp_path: Path, call: Callable, table: Callable
) -> None:
    bead_file(with_beads / "Specimen_001_H12_H12.fcs", voltage=None)
    run(with_beads, tmp_path / "out", call, "--until", "wells")
    checks = by_check(table(tmp_path / "out" / "checks.csv"))
    assert checks["beads-voltage-unknown"]["verdict"] == "warn"
    assert checks["beads"]["verdict"] == "pass"


def test_excluded_beads_are_not_used(with_beads: Path, tmp_path: Path, call: Callable, table: Callable) -> None:
    (with_beads / "overrides.csv").write_text("well,action,reason\nH12,exclude,beads not vortexed\n")
    run(with_beads, tmp_path / "out", call, "--until", "wells")
    checks = by_check(table(tmp_path / "out" / "checks.csv"))
    assert "every bead well is excluded" in checks["beads-not-used"]["message"]
    assert not (tmp_path / "out" / "beads.csv").exists()


def test_beads_that_are_none_fail_by_name_and_the_run_goes_on(
    with_beads: Path, tmp_path: Path, call: Callable, table: Callable
) -> None:
    (cells,) = with_beads.glob("*_A01.fcs")
    shutil.copy(cells, with_beads / "Specimen_001_H12_H12.fcs")
    file = read_fcs(cells)
    (with_beads / "Specimen_001_H12_H12.fcs").write_bytes(fcs_bytes(file.raw, file.channels, {"$CYT": "Test"}))
    run(with_beads, tmp_path / "out", call, "--until", "wells")
    checks = by_check(table(tmp_path / "out" / "checks.csv"))
    assert checks["beads-no-line"]["verdict"] == "fail"
    assert "MFI was not calibrated" in checks["beads-no-line"]["message"]


@pytest.mark.parametrize(("gain", "said"), [(2.02, ""), (2.2, "beads-wells-differ"), (2.8, "beads-no-line")])
def test_two_bead_wells_are_pooled_and_one_that_differs_is_told(
    gain: float, said: str, with_beads: Path, tmp_path: Path, call: Callable, table: Callable
) -> None:
    bead_file(with_beads / "Specimen_001_H11_H11.fcs", seed=4, gain=gain)
    path = with_beads / "plate.csv"
    rows = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*rows, rows[-1].replace("H12", "H11")]) + "\n", encoding="utf-8")
    run(with_beads, tmp_path / "out", call, "--until", "wells")
    checks = by_check(table(tmp_path / "out" / "checks.csv"))
    assert {"beads-wells-differ", "beads-no-line"} & set(checks) == ({said} if said else set())
    if said == "beads-no-line":
        assert "Several bead wells" in checks[said]["message"]
    else:
        assert {row["wells"] for row in table(tmp_path / "out" / "beads.csv")} == {"H12;H11"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("APC-A", "APC-H"), "no row for the signal's channel APC-A (anti-hIgG); rows: APC-H"),
        (lambda text: text.replace("9000", "100"), "row 2: 100 follows 3000"),
        (lambda text: text.replace("peak3", "pik3"), "unknown heading 'pik3'"),
    ],
)
def test_a_wrong_table_is_a_problem_of_the_study(change: Callable, said: str, with_beads: Path, call: Callable) -> None:
    path = with_beads.parents[1] / "lot.csv"
    path.write_text(change(path.read_text()))
    done = call("check", with_beads, "--assay", with_beads.parents[1] / "assay.toml")
    assert done.returncode == 3
    assert said in done.stderr


def test_a_stain_names_the_row_too(with_beads: Path, call: Callable) -> None:
    path = with_beads.parents[1] / "lot.csv"
    path.write_text(path.read_text().replace("APC-A", "anti-hIgG"))
    done = call("check", with_beads, "--assay", with_beads.parents[1] / "assay.toml")
    assert done.returncode == 0, done.stderr


def test_values_without_beads_on_the_plate_are_told(
    with_beads: Path, tmp_path: Path, call: Callable, table: Callable
) -> None:
    path = with_beads / "plate.csv"
    path.write_text("\n".join(path.read_text(encoding="utf-8").splitlines()[:-1]) + "\n")
    run(with_beads, tmp_path / "out", call, "--until", "wells")
    assert (
        "no well with the role beads" in by_check(table(tmp_path / "out" / "checks.csv"))["beads-not-used"]["message"]
    )


# --- the command ----------------------------------------------------------------------------------


def test_the_command_prints_peaks_and_draws(tmp_path: Path, call: Callable) -> None:
    bead_file(tmp_path / "beads.fcs")
    heading = "channel,unit," + ",".join(f"peak{i}" for i in range(1, 8))
    lot = lot_file(tmp_path, "APC-A,MESF," + ",".join(f"{v:g}" for v in LOT), "FITC-A,MEFL,1,2,3", heading=heading)
    done = call("beads", tmp_path / "beads.fcs", "--values", lot)
    assert done.returncode == 3
    assert "--channel" in done.stderr
    picture = tmp_path / "beads.png"
    done = call("beads", tmp_path / "beads.fcs", "--values", lot, "--channel", "anti-hIgG", "--figure", picture)
    assert done.returncode == 0, done.stderr
    assert "detector at 560 V" in done.stdout
    assert picture.read_bytes().startswith(b"\x89PNG")
    done = call("beads", tmp_path / "beads.fcs", "--values", lot, "--channel", "APC-A", "--json")
    facts = json.loads(done.stdout)
    assert facts["slope"] == pytest.approx(1.0, abs=0.01)
    assert [peak["assigned"] for peak in facts["peaks"]] == list(LOT)
    assert facts["peaks"][0]["residual_percent"] is None
    again = call("beads", tmp_path / "beads.fcs", "--values", lot, "--channel", "APC-A", "--figure", picture)
    assert again.returncode == 3
    assert "exists already" in again.stderr


@pytest.mark.parametrize("channel", ["none", "PerCP-Cy5-5-A"])
def test_a_channel_without_values_is_refused(channel: str, tmp_path: Path, call: Callable) -> None:
    bead_file(tmp_path / "beads.fcs")
    lot = lot_file(tmp_path, "APC-A,MESF,,0,1,2,3")
    done = call("beads", tmp_path / "beads.fcs", "--values", lot, "--channel", channel)
    assert done.returncode == 3
    assert channel in done.stderr
    assert "hint:" in done.stderr


def test_the_row_of_the_signal_is_found_by_name_then_by_stain() -> None:
    from aqp4flow.cytometry.beadlot import for_channel

    lot = (Assigned("APC-A", "MESF", (1.0, 2.0, 3.0)), Assigned("igg", "MEFL", (4.0, 5.0, 6.0)))
    channels = (Channel(1, "APC-A", "igg"), Channel(2, "PE-A", "igg-pe"))
    assert for_channel(lot, "APC-A", channels, "here").unit == "MESF"
    assert for_channel(lot[1:], "APC-A", channels, "here").unit == "MEFL"
    with pytest.raises(ConfigError, match="PE-A"):
        for_channel(lot, "PE-A", channels, "here")
