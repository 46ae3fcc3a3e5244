"""How a well was acquired: what was planted in simulated wells is found, and nothing is found in clean ones."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, hypergeom

from aqp4flow.acquisitionchecks import acquisition_checks
from aqp4flow.assay.definition import Assay
from aqp4flow.cytometry import acquisition_qc as qc
from aqp4flow.cytometry.acquisition_qc import AcquisitionLimits, Kept, follow, follow_flow, kept_rows, read_clock
from aqp4flow.cytometry.gates import Columns, GateChannels, populations
from aqp4flow.cytometry.gatingml import read_gatingml
from aqp4flow.cytometry.measure import Populations
from aqp4flow.fcs import fcs_bytes, read_fcs
from aqp4flow.model import Channel, Role, Well
from aqp4flow.simulate.cohort import PATIENTS
from aqp4flow.simulate.cytometer import CHANNELS
from aqp4flow.simulate.plate import plan_plate
from aqp4flow.simulate.well import simulate_well

LIMITS = AcquisitionLimits()
SCATTER = GateChannels("FSC-A", "SSC-A", "FSC-H", "PerCP-Cy5-5-A", "FITC-A")
COLUMN = {channel.name: i for i, channel in enumerate(CHANNELS)}


@dataclass
class Table:
    """Events in memory."""

    values: np.ndarray
    channels: tuple[Channel, ...] = CHANNELS

    @property
    def count(self) -> int:
        return len(self.values)

    def column(self, name: str) -> np.ndarray:
        return self.values[:, [c.name for c in self.channels].index(name)].astype(float)


@dataclass
class Simulated:
    values: np.ndarray
    bright: np.ndarray
    dark: np.ndarray

    def judged(self) -> qc.Acquired:
        columns = Columns(Table(self.values), None)
        clock = read_clock(self.values[:, COLUMN["Time"]] * 0.01, "s")
        found = {"expressing": np.flatnonzero(self.bright), "nonexpressing": np.flatnonzero(self.dark)}
        names = ("FITC-A", "APC-A")
        before = qc.judge_ungated(columns, SCATTER, clock, LIMITS)
        compared = Populations("expressing", "nonexpressing")
        return qc.timed(qc.judge_gated(before, columns, found, compared, names, LIMITS), clock)


def simulated(number: int = 1, size: float = 1.0, seed: int = 5) -> Simulated:
    """A well of patient 1 by its place on the plate; 1 is a positive serum at 1:80."""
    plate = plan_plate(PATIENTS[0], seed)
    well = simulate_well(plate, plate.wells[number], size, seed)
    return Simulated(well.acquisition.values.astype(float), well.bright, well.nonexpressing)


def span(well: Simulated, begin: float, share: float) -> slice:
    n = len(well.values)
    return slice(round(begin * n), round((begin + share) * n))


def overlap(stretch: qc.Stretch, where: slice) -> float:
    """Share of the planted events that the stretch holds."""
    return max(0, min(stretch.last, where.stop) - max(stretch.first - 1, where.start)) / (where.stop - where.start)


# --- clean wells ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0.3, 1.0, 4.0])
def test_clean_wells_have_nothing_to_tell(size: float) -> None:
    """Of 40 simulated wells at sizes from 1,500 to 20,000 events none has a stretch, a drift or a change of flow."""
    for number in range(0, 80, 2 if size <= 1 else 8):
        found = simulated(number, size).judged()
        assert found.stretches == found.flow == found.breaks == ()
        assert not any(trace.drift > LIMITS.drift_percent for trace in found.traces)
        assert {trace.what for trace in found.traces} >= {"forward", "signal", "flow"}


def test_a_thousand_wells_of_random_values_hardly_ever_have_a_stretch() -> None:
    """Two populations far apart, mixed at random: at most one in a hundred such wells, and fewer drifts than that."""
    rng = np.random.default_rng(11)
    stretches = drifts = 0
    for _ in range(1000):
        n = int(rng.integers(500, 8000))
        values = np.where(rng.random(n) < 0.5, rng.lognormal(4, 0.5, n), rng.lognormal(8, 0.8, n))
        trace, found = follow("signal", "PE", qc.relative(values), None, LIMITS)
        stretches += bool(found)
        drifts += not math.isnan(trace.drift)
    assert stretches <= 5
    assert drifts <= 3


# --- planted ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1.0, 10.0])
@pytest.mark.parametrize("begin", [0.0, 0.4137, 0.95])
@pytest.mark.parametrize("factor", [0.7, 1.3])
def test_a_bubble_in_scatter_is_found(size: float, begin: float, factor: float) -> None:
    """5 % of the events, 30 % off, in wells of 5,000 and 50,000, at the beginning, anywhere, and at the end."""
    well = simulated(size=size)
    where = span(well, begin, 0.05)
    well.values[where, COLUMN["FSC-A"]] *= factor
    (found,) = well.judged().stretches
    assert (found.what, found.channel, found.percent > 0) == ("forward", "FSC-A", factor > 1)
    assert overlap(found, where) > 0.6
    assert found.last - found.first + 1 < 2.1 * (where.stop - where.start)
    since = (well.values[:, COLUMN["Time"]] - well.values[0, COLUMN["Time"]]) / 100
    assert found.begin == pytest.approx(since[found.first - 1], abs=0.03)
    assert found.end == pytest.approx(since[found.last - 1], abs=0.03)


@pytest.mark.parametrize(("first", "second"), [(0.4, 1.3), (1.3, 0.4)])
def test_two_stretches_of_a_well_are_both_found(first: float, second: float) -> None:
    """The stronger one before the weaker, and behind it."""
    well = simulated(size=2.0)
    places = span(well, 0.2, 0.06), span(well, 0.7, 0.06)
    for where, factor in zip(places, (first, second), strict=True):
        well.values[where, COLUMN["FSC-A"]] *= factor
    found = well.judged().stretches
    assert [stretch.percent > 0 for stretch in found] == [first > 1, second > 1]
    assert all(overlap(stretch, where) > 0.6 for stretch, where in zip(found, places, strict=True))


def test_a_stretch_of_low_signal_is_found_though_scatter_is_in_order() -> None:
    """5 % of the events with 30 % less signal in a well of 50,000; the channel says where to look."""
    well = simulated(size=10.0)
    where = span(well, 0.6, 0.05)
    well.values[where, COLUMN["APC-A"]] *= 0.7
    (found,) = well.judged().stretches
    assert (found.what, found.channel) == ("signal", "APC-A")
    assert found.percent == pytest.approx(-30, abs=8)
    assert overlap(found, where) > 0.8


def test_more_expressing_cells_for_a_while_are_no_change_of_signal() -> None:
    """Each population is compared with itself: cells that settle change shares, not the signal."""
    rng = np.random.default_rng(2)
    n = 20_000
    bright = rng.random(n) < np.where(np.arange(n) % 20_000 < 2000, 0.9, 0.4)
    values = np.where(bright, rng.lognormal(8, 0.5, n), rng.lognormal(4, 0.5, n))
    parts = (np.flatnonzero(bright), np.flatnonzero(~bright))
    level, rows = qc._together(values, parts)
    assert np.array_equal(rows, np.arange(n))
    assert follow("signal", "PE", level, rows, LIMITS)[1] == ()
    assert follow("signal", "PE", qc.relative(values), None, LIMITS)[1] != ()


def test_errors_are_those_of_the_hypergeometric_law() -> None:
    """The standard errors of a planted run, by an independent program: scipy's hypergeometric mean and spread."""
    rng = np.random.default_rng(3)
    values = rng.lognormal(5, 0.5, 4000)
    values[800:1120] *= 2
    level = qc.relative(values)
    trace, (found,) = follow("signal", "PE", level, None, LIMITS)
    inside = level[found.first - 1 : found.last] > 0
    law = hypergeom(len(level), int((level > 0).sum()), len(inside))
    spread = law.std() * math.sqrt((len(level) - 1) / len(level))  # ours divides by n, not n - 1
    assert found.errors == pytest.approx((inside.sum() - law.mean()) / spread, rel=1e-9)
    bins = [np.median(level[a:b]) for a, b in zip([0, *trace.ends[:-1]], trace.ends, strict=True)]
    own = [100 * m for m, end in zip(bins, trace.ends, strict=True) if found.first <= end <= found.last]
    assert found.percent == pytest.approx(np.mean(own), rel=0.05)


def test_a_drift_is_told_in_percent() -> None:
    """Scatter that rises by 16 % over the well is a drift and no stretch; its value is that of the deciles' medians."""
    well = simulated(size=2.0)
    n = len(well.values)
    well.values[:, COLUMN["FSC-A"]] *= np.linspace(0.92, 1.08, n)
    found = well.judged()
    drift = {trace.what: trace.drift for trace in found.traces}
    forward = well.values[:, COLUMN["FSC-A"]]
    medians = [np.median(part) for part in np.array_split(forward, 10)]
    assert drift["forward"] == pytest.approx(100 * np.ptp(medians) / np.median(forward), rel=0.15)
    assert math.isnan(drift["signal"])
    assert found.stretches == ()


def test_a_stretch_is_not_told_as_a_drift_too() -> None:
    """What differs in one place only is a stretch; what differs in half of the well is told as both."""
    well = simulated(size=2.0)
    well.values[span(well, 0.3, 0.08), COLUMN["FSC-A"]] *= 0.6
    found = well.judged()
    assert len(found.stretches) == 1
    assert all(math.isnan(trace.drift) for trace in found.traces)
    half = simulated(size=2.0)
    half.values[span(half, 0.5, 0.5), COLUMN["FSC-A"]] *= 0.5
    found = half.judged()
    assert found.percent_bad > 30
    assert max(trace.drift for trace in found.traces if trace.what == "forward") > 30


def test_the_limit_of_drift_is_one_in_ten_thousand() -> None:
    assert chi2.sf(qc._DRIFT_BY_CHANCE, 9) == pytest.approx(1e-4, rel=1e-3)


# --- the flow ---------------------------------------------------------------------------------------


def passing(n: int = 6000, seed: int = 1) -> np.ndarray:
    """Times of random events, 500 a second, in ticks of 10 ms."""
    return np.floor(np.cumsum(np.random.default_rng(seed).exponential(1 / 500, n)) * 100) / 100


def test_a_break_is_found_with_its_place_and_length() -> None:
    time = passing()
    time[2000:] += 1.5
    found = follow_flow(read_clock(time, "s"), LIMITS)
    (pause,) = found.breaks
    assert pause.after == 2000
    assert pause.length == pytest.approx(1.5, abs=0.03)
    assert pause.percent == pytest.approx(100 * pause.length / (time[-1] - time[0]))
    assert found.changes == ()  # the pause is no slow flow


def test_random_events_have_no_breaks_however_short_a_break_may_be() -> None:
    """The longest of 10,000 random gaps is no break, even where the share of the time would let it be one."""
    limits = replace(LIMITS, break_percent=1e-6)
    for seed in range(20):
        time = np.cumsum(np.random.default_rng(seed).exponential(1 / 500, 10_000))
        assert follow_flow(read_clock(time, "s"), limits).breaks == ()


def test_a_break_in_a_large_well_is_found_where_it_is() -> None:
    time = passing(50_000)
    time[20_000:] += 5
    (pause,) = follow_flow(read_clock(time, "s"), LIMITS).breaks
    assert abs(pause.after - 20_000) < 5
    assert pause.length == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize(("times", "rate"), [(4.0, 25), (0.3, 333)])
def test_clogs_and_surges_are_found(times: float, rate: float) -> None:
    """Every gap four times as long, or three tenths, in a tenth of the events."""
    gaps = np.random.default_rng(2).exponential(1 / 500, 6000)
    gaps[3000:3600] *= times
    found = follow_flow(read_clock(np.floor(np.cumsum(gaps) * 1000) / 1000, "s"), LIMITS)
    (change,) = found.changes
    assert 100 + change.percent == pytest.approx(rate, rel=0.2)
    assert abs(change.first - 3001) <= 120
    assert abs(change.last - 3600) <= 120
    assert found.breaks == ()


def test_a_clock_that_wraps_runs_on() -> None:
    """Time modulo 7 s: the flow is judged as if the clock had run on, to within the step that is not known."""
    time = passing()
    whole = read_clock(time, "s")
    wrapped = read_clock(time % 7, "s")
    assert wrapped.mended
    assert wrapped.doubt == ""
    np.testing.assert_allclose(wrapped.passed, whole.passed, atol=0.05)
    flow = follow_flow(wrapped, LIMITS)
    assert flow.breaks == flow.changes == ()


@pytest.mark.parametrize(
    ("time", "doubt"),
    [
        (None, "no time channel"),
        (np.random.default_rng(1).permutation(passing()), "events not in order of time"),
        (np.where(np.arange(6000) == 70, np.nan, passing()), "times that are no numbers"),
        (np.floor(passing() / 4), "a clock too coarse for the flow rate"),
        (np.zeros(6000), "a clock too coarse for the flow rate"),
    ],
    ids=["absent", "shuffled", "nan", "coarse", "constant"],
)
def test_a_clock_that_tells_no_rate_is_told(time: np.ndarray | None, doubt: str) -> None:
    """The well is judged by the order of events; the flow is not."""
    clock = read_clock(time, "s")
    assert follow_flow(clock, LIMITS).doubt == doubt
    assert follow_flow(clock, LIMITS).trace is None


# --- ends of the range --------------------------------------------------------------------------------


def test_ends_of_the_range_are_counted() -> None:
    """Planted shares of events at the top of scatter and reporter, and at the floor of the signal."""
    well = simulated()
    bright = np.flatnonzero(well.bright)
    well.values[:100, COLUMN["FSC-A"]] = 262_143
    well.values[bright[:50], COLUMN["FITC-A"]] = 262_143
    gated = np.concatenate([bright, np.flatnonzero(well.dark)])
    signal = well.values[:, COLUMN["APC-A"]]
    signal = np.maximum(signal - np.quantile(signal[gated], 0.05), 0)
    well.values[:, COLUMN["APC-A"]] = signal
    found = {(end.channel, end.end): end.share for end in well.judged().at_ends}
    assert found["FSC-A", "top"] == pytest.approx(100 / len(well.values), rel=0.2)
    assert found["FITC-A", "top"] == 50 / len(bright)
    assert found["APC-A", "floor"] == np.count_nonzero(signal[gated] == 0) / len(gated) > 0.04
    assert ("FITC-A", "floor") not in found  # one lowest value among floats is no pile


@pytest.mark.parametrize(
    ("end", "code", "verdict"),
    [
        (qc.AtEnd("signal", "PE", "floor", "gated", 0.009), "", ""),
        (qc.AtEnd("signal", "PE", "floor", "gated", 0.011), "at-floor", "warn"),
        (qc.AtEnd("signal", "PE", "floor", "gated", 0.051), "at-floor", "fail"),
        (qc.AtEnd("reporter", "GFP", "floor", "gated", 0.4), "at-floor", "warn"),
        (qc.AtEnd("reporter", "GFP", "top", "expressing", 0.02), "saturated-reporter", "warn"),
        (qc.AtEnd("reporter", "GFP", "top", "expressing", 0.06), "saturated-reporter", "fail"),
        (qc.AtEnd("side", "SSC", "top", "all", 0.4), "saturated-scatter", "warn"),
    ],
)
def test_ends_of_the_range_are_checked_where_numbers_depend_on_them(end: qc.AtEnd, code: str, verdict: str) -> None:
    assay = Assay.model_validate({"assay": {"antigen": "x"}, "channels": {"signal": "PE", "reporter": "GFP"}})
    well = Well("P", "A01", "a.fcs", Role.SAMPLE)
    found = acquisition_checks(well, qc.Acquired(5000, at_ends=(end,)), assay)
    assert [(check.check, check.verdict.value) for check in found] == ([(code, verdict)] if code else [])


# --- cutting out --------------------------------------------------------------------------------------


spans = st.lists(st.integers(1, 60), min_size=0, max_size=8, unique=True).map(
    lambda ends: list(zip(sorted(ends)[::2], sorted(ends)[1::2], strict=False))
)


@given(st.lists(st.integers(0, 70), unique=True), spans)
def test_kept_rows_are_those_in_no_span(rows: list[int], cut: list[tuple[int, int]]) -> None:
    kept = kept_rows(np.array(sorted(rows), np.intp), cut)
    assert kept.tolist() == [row for row in sorted(rows) if not any(a <= row + 1 <= b for a, b in cut)]


@given(spans)
def test_kept_events_are_as_if_the_others_had_never_been(cut: list[tuple[int, int]]) -> None:
    table = Table(np.arange(70.0)[:, None], (Channel(1, "A"),))
    kept = Kept(table, tuple(cut))
    expected = [x for x in range(70) if not any(a <= x + 1 <= b for a, b in cut)]
    assert kept.column("A").tolist() == expected
    assert kept.count == len(expected)


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(0, 20)), max_size=6))
def test_bad_spans_are_put_together(parts: list[tuple[int, int]]) -> None:
    stretches = tuple(qc.Stretch("signal", "PE", a, a + more, 20.0, 6.0) for a, more in parts)
    acquired = qc.Acquired(100, stretches=stretches)
    events = {k for s in stretches for k in range(s.first, s.last + 1)}
    assert {k for a, b in acquired.bad for k in range(a, b + 1)} == events
    assert qc.number_of(acquired.bad) == len(events)
    assert all(b + 1 < c for (_, b), (c, _) in zip(acquired.bad, acquired.bad[1:], strict=False))


def test_a_well_that_differs_in_more_than_a_third_is_not_cut() -> None:
    stretch = qc.Stretch("signal", "PE", 1, 31, 20.0, 6.0)
    acquired = qc.Acquired(100, stretches=(stretch,))
    assert qc.with_cut(acquired, LIMITS).cut == ()
    assert qc.with_cut(replace(acquired, stretches=(replace(stretch, last=30),)), LIMITS).cut == ((1, 30),)


# --- laws -------------------------------------------------------------------------------------------


wells = st.integers(0, 2**32 - 1).map(
    lambda seed: np.random.default_rng(seed).lognormal(5, 0.6, int(np.random.default_rng(seed).integers(500, 1500)))
)


@settings(deadline=None, max_examples=40)
@given(wells, st.integers(-8, 8), st.floats(0.3, 3))
def test_percent_does_not_depend_on_the_unit(values: np.ndarray, doublings: int, shift: float) -> None:
    """Another gain changes neither what is found nor any percentage."""
    values[100:200] *= shift
    one, two = (follow("signal", "PE", qc.relative(values * unit), None, LIMITS) for unit in (1.0, 2.0**doublings))
    np.testing.assert_array_equal(one[0].percent, two[0].percent)
    assert one[1] == two[1]


@settings(deadline=None, max_examples=40)
@given(wells, st.integers(0, 1000), st.floats(0.3, 3))
def test_the_order_of_events_within_a_bin_changes_nothing(values: np.ndarray, seed: int, shift: float) -> None:
    values[100:200] *= shift
    trace, found = follow("signal", "PE", qc.relative(values), None, LIMITS)
    rng = np.random.default_rng(seed)
    mixed = np.concatenate([rng.permutation(part) for part in np.split(values, trace.ends[:-1])])
    again, same = follow("signal", "PE", qc.relative(mixed), None, LIMITS)
    np.testing.assert_array_equal(trace.percent, again.percent)
    assert found == same


@settings(deadline=None, max_examples=40)
@given(wells)
def test_a_mirrored_well_has_the_mirrored_stretch(values: np.ndarray) -> None:
    """Events in reverse order: bins are of equal number but for the last, so a whole number of bins is taken."""
    values = values[: len(values) // 100 * 100]
    values[100:200] *= 4
    (found,) = follow("signal", "PE", qc.relative(values), None, LIMITS)[1]
    (mirrored,) = follow("signal", "PE", qc.relative(values[::-1]), None, LIMITS)[1]
    n = len(values)
    assert (n + 1 - mirrored.last, n + 1 - mirrored.first) == (found.first, found.last)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_relative_values_are_finite_about_the_median(values: list[float]) -> None:
    level = qc.relative(np.array(values))
    assert np.isfinite(level).all()
    assert np.sort(level)[len(level) // 2] == 0


def test_a_median_near_zero_is_measured_by_its_spread() -> None:
    """Background about 0: one spread is 100 %, not some thousand percent of nothing."""
    values = np.random.default_rng(4).normal(0.5, 40, 20_001)
    level = qc.relative(values)
    assert np.std(level) == pytest.approx(1, rel=0.03)


# --- a plate ----------------------------------------------------------------------------------------


def altered(folder: Path, well: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """The file of a well with its values changed, everything else kept that matters here."""
    (path,) = folder.glob(f"*_{well}.fcs")
    file = read_fcs(path)
    keywords = {"$CYT": "Test", "$TIMESTEP": "0.01"}
    path.write_bytes(fcs_bytes(change(np.array(file.raw)), file.channels, keywords))


def bubble(values: np.ndarray) -> np.ndarray:
    n = len(values)
    values[n // 2 : n // 2 + n // 10, [COLUMN["FSC-A"], COLUMN["APC-A"]]] *= (0.75, 0.5)
    return values


def dim(values: np.ndarray) -> np.ndarray:
    n = len(values)
    values[n // 2 : n // 2 + n // 5, COLUMN["APC-A"]] *= 0.4
    return values


def clock_of_two_parts(values: np.ndarray) -> np.ndarray:
    return np.roll(values, len(values) // 2, axis=0)


@pytest.fixture
def troubled(plate: Path) -> Path:
    """The simulated plate without compensation, with trouble in some wells."""
    definition = plate.parents[1] / "assay.toml"
    definition.write_text(definition.read_text().replace('source = "file"', 'source = "none"'))
    altered(plate, "A02", bubble)
    altered(plate, "G12", bubble)  # unstained
    altered(plate, "H01", bubble)  # unstained, excluded
    altered(plate, "H02", bubble)  # becomes a blank
    rows = (plate / "plate.csv").read_text().splitlines()
    at = next(i for i, row in enumerate(rows) if "H02" in row)
    rows[at] = rows[at].replace("single-stain", "blank").replace("FITC-A", "")
    (plate / "plate.csv").write_text("\n".join(rows) + "\n")
    altered(plate, "A03", lambda values: values[:400])
    altered(plate, "A04", clock_of_two_parts)
    (plate / "overrides.csv").write_text("well,action,reason\nH01,exclude,by hand\n")
    return plate


def run(plate: Path, out: Path, call: Callable, settings_text: str = "") -> None:
    definition = plate.parents[1] / "assay.toml"
    text = definition.read_text()
    definition.write_text(f"{text}\n[acquisition]\n{settings_text}\n")
    done = call("run", plate, "--assay", definition, "--until", "wells", "-o", out)
    definition.write_text(text)
    assert done.returncode == 0, done.stderr


def test_trouble_is_flagged_and_stays_in_the_numbers(troubled: Path, tmp_path: Path, call, table) -> None:
    run(troubled, tmp_path / "out", call)
    rows = {row["well"]: row for row in table(tmp_path / "out" / "wells.csv")}
    assert {row["n_cut_out"] for row in rows.values()} == {"0"}
    assert "bad-stretch" in rows["A02"]["flags"].split(";")
    assert "bad-stretch" in rows["G12"]["flags"].split(";")
    assert rows["H01"]["flags"] == "excluded"
    assert "few-events" in rows["A03"]["flags"].split(";")
    assert {well for well, row in rows.items() if "bad-stretch" in row["flags"]} == {"A02", "G12"}
    checks = table(tmp_path / "out" / "checks.csv")
    stretches = [row for row in checks if row["check"] == "bad-stretch"]
    assert {row["subject"] for row in stretches} == {"P001/A02", "P001/G12"}
    assert all("They are in the numbers" in row["message"] and " s)" in row["message"] for row in stretches)
    assert all("forward scatter (FSC-A)" in row["message"] for row in stretches if row["subject"] == "P001/G12")
    (clock,) = [row for row in checks if row["check"] == "clock"]
    assert (clock["scope"], clock["verdict"]) == ("plate", "warn")
    assert "A04" in clock["message"]


def test_cut_out_events_are_in_no_number(troubled: Path, tmp_path: Path, call, table) -> None:
    """The medians are those of the gated events outside the spans that checks.csv names, by hand."""
    run(troubled, tmp_path / "out", call, "cut_out = true")
    (row,) = [row for row in table(tmp_path / "out" / "wells.csv") if row["well"] == "A02"]
    messages = [
        r["message"]
        for r in table(tmp_path / "out" / "checks.csv")
        if r["check"] == "bad-stretch" and r["subject"] == "P001/A02"
    ]
    assert all("They were taken out" in message for message in messages)
    cut = {k for m in messages for a, b in [m.split()[1:4:2]] for k in range(int(a), int(b) + 1)}
    assert int(row["n_cut_out"]) == len(cut) > 0
    (path,) = troubled.glob("*_A02.fcs")
    events = read_fcs(path).open_events()
    gates = read_gatingml(tmp_path / "out" / "gates.xml")
    found = populations(Columns(events, None), gates)
    kept = [i for i in found["expressing"].tolist() if i + 1 not in cut]
    assert int(row["n_expressing"]) == len(kept) < len(found["expressing"])
    assert float(row["mfi_expressing"]) == pytest.approx(np.median(events.column("APC-A")[kept]), rel=1e-5)
    assert int(row["n_events"]) == events.count


def test_cutting_out_brings_the_median_back(troubled: Path, study: Path, tmp_path: Path, call, table) -> None:
    """Less signal in a fifth of the well pulls its median down; cut out, it comes back to the clean well's."""

    def median(folder: Path, name: str, text: str) -> float:
        run(folder, tmp_path / name, call, text)
        return next(float(r["mfi_expressing"]) for r in table(tmp_path / name / "wells.csv") if r["well"] == "A02")

    (source,) = (study / "plates" / "P001").glob("*_A02.fcs")
    (target,) = troubled.glob("*_A02.fcs")
    shutil.copy(source, target)
    clean = median(troubled, "clean", "")
    altered(troubled, "A02", dim)
    with_it, without = median(troubled, "with", ""), median(troubled, "without", "cut_out = true")
    assert abs(without / clean - 1) < 0.06  # 473 of 593 events are left
    assert abs(with_it / clean - 1) > 0.15


def test_nothing_is_found_in_the_clean_study_and_all_of_it_is_shown(results: Path, table) -> None:
    """Two plates of simulated wells: no check of the acquisition, a figure a plate with every judged well."""
    codes = {row["check"] for row in table(results / "checks.csv")}
    assert not codes & {"bad-stretch", "drift", "flow-rate", "flow-break", "few-events", "clock", "at-floor"}
    for plate in ("P001", "P004"):
        for kind in ("svg", "pdf", "png"):
            assert (results / "figures" / f"acquisition-{plate}.{kind}").stat().st_size > 1000
        points = table(results / "figures" / f"acquisition-{plate}.csv")
        judged = {row["well"] for row in table(results / "wells.csv") if row["plate"] == plate}
        assert {row["panel"] for row in points} == judged
        assert {row["mark"] for row in points} == {""}
    page = (results / "report.html").read_text(encoding="utf-8")
    assert "<summary>Acquisition of P001" in page


@pytest.mark.parametrize(
    "text", ["stretch_errors = 1", "flow_factor = 1.0", "most_cut_percent = 80", "break_percent = 0", "cut = true"]
)
def test_limits_that_make_no_sense_are_refused(plate: Path, call, text: str) -> None:
    definition = plate.parents[1] / "assay.toml"
    definition.write_text(f"{definition.read_text()}\n[acquisition]\n{text}\n")
    done = call("check", plate, "--assay", definition)
    assert done.returncode == 3
    assert f"[acquisition] {'unknown key ' if text.startswith('cut') else ''}" in done.stderr


# --- real files ---------------------------------------------------------------------------------------


def followed(path: Path, forward: str = "FSC-A", side: str = "SSC-A") -> qc.Acquired:
    events = read_fcs(path).open_events()
    clock = read_clock(events.time(), "s" if events.layout.timestep else "ticks")
    return qc.timed(qc.judge_ungated(Columns(events, None), GateChannels(forward, side), clock, LIMITS), clock)


def test_of_a_real_plate_the_one_well_that_settles_is_flagged(corpus: Path) -> None:
    """Fourteen wells of 20,000 to 30,000 events by one LSR II: C10 begins with larger scatter, others are steady."""
    found = {
        path.stem.split("_")[-1]: followed(path)
        for path in sorted((corpus / "titration" / "ly_plate_20220305").glob("*.fcs"))
    }
    assert len(found) == 14
    assert [well for well, acquired in found.items() if acquired.stretches] == ["C10"]
    (stretch,) = found["C10"].stretches
    assert stretch.first == 1
    assert stretch.end < 3
    assert all(not acquired.doubt and not acquired.flow and not acquired.breaks for acquired in found.values())


def test_real_clocks_are_read(corpus: Path) -> None:
    """A MoFlo whose clock wraps at 2^32, Accuri events out of order, an Attune that counts whole seconds, no clock."""
    vendors = corpus / "vendors" / "cytoflow+cytoflow"
    astrios = followed(vendors / "Beckman Coulter - MoFlo Astrios - linear settings.fcs", "FSC-Area", "FSC-Height")
    assert (astrios.doubt, bool(astrios.mended)) == ("", True)
    accuri = followed(corpus / "plates" / "flowtime_ss_example" / "A01.fcs", "FSC.A", "SSC.A")
    assert accuri.doubt == "events not in order of time"
    attune = followed(vendors / "Applied Biosystems - Attune.fcs")
    assert attune.doubt == "a clock too coarse for the flow rate"
    assert followed(vendors / "Sample_1.fcs", "FSC", "SSC").doubt == "no time channel"
