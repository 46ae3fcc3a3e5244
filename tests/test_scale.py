"""Scales: logicle against its definition, its table and ISAC's truth; parameters; ticks; gates on either scale."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import flowkit
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aqp4flow.assay.definition import read_definition
from aqp4flow.cytometry.autogate import learn_gates
from aqp4flow.cytometry.gates import Columns, GateChannels
from aqp4flow.cytometry.gatingml import read_gatingml
from aqp4flow.cytometry.pictures import picture_gates
from aqp4flow.cytometry.scale import (
    Asinh,
    Linear,
    Log,
    Logicle,
    Scale,
    Span,
    asinh_of,
    border_at,
    drawn,
    fitted,
    spans_of,
    ticks,
)
from aqp4flow.errors import AnalysisError, ConfigError
from aqp4flow.fcs import read_fcs
from aqp4flow.model import Channel, Dimension, Range, Spillover, Values
from aqp4flow.run import load_study, run_study
from aqp4flow.wells import gate_pictures
from handmade import SHARED
from test_gates import CHANNELS, cloud, debris, mixed, well
from test_imported_gates import define, gatingml, measured
from test_imported_gates import small as _small

ISAC = SHARED / "corpus" / "gatingml"
small = _small  # a fixture: a plate of three wells
needs_isac = pytest.mark.skipif(not ISAC.is_dir(), reason="the corpus of real files is not beside the project")


def biexponential(y: float, top: float, width: float, decades: float, extra: float) -> float:
    """B(y) of GatingML 2.0, 6.2, from its formulas alone, y in units where T lies at 1.

    Below the place of 0 it is the mirror of what it is above (Parks, Roederer & Moore 2006).
    """
    w, x2 = width / (decades + extra), extra / (decades + extra)
    x1, x0 = x2 + w, x2 + 2 * w
    b = (decades + extra) * math.log(10)
    low, high = 1e-12, b  # d is the root of 2 (ln d - ln b) + w (d + b), which rises with d
    for _ in range(300):
        d = (low + high) / 2
        low, high = (d, high) if 2 * (math.log(d) - math.log(b)) + w * (d + b) < 0 else (low, d)
    c_a = math.exp((b + d) * x0)
    f_a = math.exp(b * x1) - c_a / math.exp(d * x1)
    a = top / (math.exp(b) - f_a - c_a / math.exp(d))
    up = max(y, 2 * x1 - y)
    return math.copysign(1, y - x1) * a * (math.exp(b * up) - c_a * math.exp(-d * up) - f_a)


PARAMETERS = [
    (262_143.0, 0.67, 4.5, 0.0),
    (16_777_215.0, 0.21, 4.9, 0.0),
    (9910.46, 0.0, 4.05, 0.0),
    (1000.0, 1.0, 4.0, 0.0),
    (1000.0, 1.0, 4.0, 1.0),
    (4.2e9, 2.25, 4.5, 0.0),
    (1023.0, 0.3, 3.01, 0.0),
]


@pytest.mark.parametrize(("top", "width", "decades", "extra"), PARAMETERS)
def test_logicle_is_the_inverse_of_the_definition(top: float, width: float, decades: float, extra: float) -> None:
    """Places from half a scale below 0 to a tenth beyond T, by a program that shares nothing with ours but the text."""
    scale = Logicle(top, width, decades, extra)
    places = np.linspace(-0.5, 1.1, 161)
    linear = np.array([biexponential(y, top, width, decades, extra) for y in places])
    unit = (decades + extra) * math.log(10)
    assert scale.forward(linear) / unit == pytest.approx(places, abs=1e-9)
    assert scale.back(places * unit) == pytest.approx(linear, rel=1e-9, abs=1e-9 * top)
    assert scale.forward(linear) == pytest.approx(
        flowkit.transforms.LogicleTransform(top, width, decades, extra).apply(linear) * unit, abs=1e-9
    )


def test_logicle_of_the_table() -> None:
    """Logicle(1000, 1, 4, 0) as GatingML 2.0 prints it."""
    values = np.array([-10.0, -5.0, -1.0, 0.0, 0.3, 1.0, 3.0, 10.0, 100.0, 1000.0])
    wanted = [0.067574, 0.147986, 0.228752, 0.25, 0.256384, 0.271248, 0.312897, 0.432426, 0.739548, 1.0]
    assert Logicle(1000, 1, 4).forward(values) / (4 * math.log(10)) == pytest.approx(wanted, abs=1e-6)


@needs_isac
@pytest.mark.parametrize(
    ("gate", "channel", "limits", "scale", "compensated"),
    [
        ("ScaleRange4", "FL1-H", (0.37, 0.63), Logicle(10_000, 0.5, 4.5), False),
        ("ScaleRange4c", "FL1-H", (0.37, 0.63), Logicle(10_000, 0.5, 4.5), True),
        ("ScaleRange8c", "FL2-H", (0.09, 0.36), Logicle(10_000, 1, 4, 0.5), True),
    ],
)
def test_logicle_ranges_of_the_compliance_set(
    gate: str, channel: str, limits: tuple[float, float], scale: Logicle, compensated: bool
) -> None:
    """Every event of ISAC's truth: a range on a logicle scale, its limits where T lies at 1."""
    events = read_fcs(ISAC / "data1.fcs").open_events()
    spill = Spillover(
        ("FL1-H", "FL2-H", "FL3-H"), np.array([[1, 0.02, 0.06], [0.11, 1, 0.07], [0.09, 0.01, 1.0]]), "ISAC"
    )
    values = Columns(events, spill if compensated else None).column(Dimension(channel, True))
    place = scale.forward(values) / ((scale.decades + scale.extra) * math.log(10))
    inside = (place >= limits[0]) & (place < limits[1])
    truth = np.loadtxt(ISAC / "truth" / f"Results_{gate}.txt", dtype=int)
    assert np.array_equal(inside, truth == 1)


@settings(max_examples=200, deadline=None)
@given(
    top=st.sampled_from([1023.0, 9910.46, 262_143.0, 16_777_215.0]),
    decades=st.floats(3, 7.5),
    part=st.floats(0, 0.5),
    value=st.floats(-1, 1).map(lambda x: x**5),
)
def test_no_value_is_lost_on_a_logicle_scale(top: float, decades: float, part: float, value: float) -> None:
    """Also those near 0 on which flowutils gives up, and answers with a place far below all others."""
    scale = Logicle(top, part * decades, decades)
    values = np.array([value * top, 0.0])
    there = scale.forward(values)
    assert scale.back(there) == pytest.approx(values, rel=1e-6, abs=1e-9 * top)
    assert np.sign(there[0] - there[1]) == np.sign(values[0]) or abs(values[0]) < 1e-9 * top


def test_values_that_the_library_gives_up_on_lie_beside_their_neighbours() -> None:
    """At W = 0 it says -1, where -T lies, for a value next to 0."""
    scale = Logicle(16e6, 0.0, 5.5)
    assert scale.forward(np.array([1e-9, 0.0, 1.0])) == pytest.approx([0.0, 0.0, 10**5.5 / 32e6], abs=1e-6)
    found = scale.forward(np.array([math.nan, math.inf, -math.inf, -16e6]))
    assert np.isnan(found[0])
    assert found[1:].tolist() == [math.inf, -math.inf, pytest.approx(-5.5 * math.log(10))]


@pytest.mark.parametrize(
    "numbers", [(0, 0.5, 4.5), (math.inf, 0.5, 4.5), (1e3, -0.1, 4.5), (1e3, 2.3, 4.5), (1e3, 0, 0), (1e3, 1, 4, 2.1)]
)
def test_parameters_that_gatingml_forbids_are_refused(numbers: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="are wanted"):
        Logicle(*numbers)


def test_a_cofactor_is_above_0() -> None:
    for wrong in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="cofactor above 0"):
            Asinh(wrong)


@pytest.mark.parametrize("scale", [Linear(), Log(), Asinh(150.0), Logicle(262_143, 0.5, 4.5)])
def test_forward_rises_and_back_undoes_it(scale: Scale) -> None:
    values = np.array([0.5, 3.0, 150.0, 2e3, 262_143.0])
    assert np.all(np.diff(scale.forward(values)) > 0)
    assert scale.back(scale.forward(values)) == pytest.approx(values)
    assert border_at(scale, float(scale.forward(np.array([1234.5]))[0])) == 1234.5


def test_bright_decades_are_as_wide_on_logicle_as_on_asinh() -> None:
    bright = np.array([2e4, 2e5])
    for scale in (Asinh(100.0), Logicle(262_143, 0.5, 4.5), Logicle(262_143, 0.5, 4.5, 1.0)):
        assert np.diff(scale.forward(bright))[0] == pytest.approx(math.log(10), rel=0.02)


# --- parameters --------------------------------------------------------------------------------------


def normal(middle: float, spread: float, n: int = 20_000) -> Values:
    return middle + spread * np.random.default_rng(1).standard_normal(n)


DIGITAL = Span(262_143.0, 5.4)


def test_w_is_that_of_parks_and_colleagues() -> None:
    values = normal(100, 100)
    found = fitted("logicle", values, DIGITAL)
    reference = np.percentile(values[values < 0], 5)
    assert found.scale == Logicle(262_143, math.floor(50 * (4.5 - math.log10(262_143 / -reference))) / 100, 4.5)
    assert found.scale.words == "logicle, T 262143, W 0.61, M 4.5, A 0"
    assert found.note == ""


def test_w_is_0_without_negative_events_or_with_a_chance_few() -> None:
    positive = normal(1000, 100)
    few = np.concatenate([positive, np.full(20, -9000.0)])  # 0.1 %
    for values in (positive, few):
        assert fitted("logicle", values, DIGITAL).scale == Logicle(262_143, 0, 4.5)


def test_w_is_at_most_half_of_m() -> None:
    found = fitted("logicle", normal(-500_000, 1000), DIGITAL).scale
    assert (found.width, found.decades) == (2.25, 4.5)


def test_m_follows_the_range_and_the_dark_cells() -> None:
    """Four decades of an amplifier; five and more where 24 bits hold dark cells of a hundred."""
    ten_bits = Channel(1, "FL1-H", range=1024.0, amplification=(4.0, 1.0))
    assert spans_of([ten_bits])["FL1-H"] == Span(ten_bits.top, 4.0)
    scale = fitted("logicle", normal(30, 5), spans_of([ten_bits])["FL1-H"]).scale
    assert (scale.top, scale.decades) == (pytest.approx(9910.4556), 4.0)
    wide = spans_of([Channel(1, "FL1-A", range=2.0**24)])["FL1-A"]
    values = normal(100, 100)
    scale = fitted("logicle", values, wide).scale
    assert scale.top == 16_777_215
    assert scale.decades == round(math.log10(2 * 16_777_215 / asinh_of(values).cofactor), 2)
    near = scale.forward(np.array([0.0, 100.0, 200.0]))  # a spread of the dark cells on either side of them
    assert 0.3 < np.diff(near).min() < np.diff(near).max() < 2


def test_t_is_the_largest_value_where_the_range_has_no_end_or_is_exceeded_and_it_is_said() -> None:
    values = np.append(normal(1000, 100), 54_321.0)
    for top in (Channel(1, "A", range=math.inf), Channel(1, "A", gain=math.nan)):
        found = fitted("logicle", values, spans_of([top])["A"])
        assert found.scale.top == 54_321
        assert found.note == "its range has no end: T is the largest value, 54321"
    found = fitted("logicle", values, Span(999.0, 3.0))
    assert found.scale.top == 54_321
    assert found.note.endswith("% of its events lie above its range (999): T is the largest value, 54321")
    assert fitted("logicle", values, Span(10_000.0, 4.0)).note == ""  # one event of 20,001
    assert fitted("asinh", values, Span()).note == fitted("linear", values, Span()).note == ""


def test_the_widest_range_of_several_files_counts() -> None:
    spans = spans_of([Channel(1, "A", range=1024.0)])
    assert spans_of([Channel(1, "A", range=4096.0), Channel(2, "B")], spans)["A"] == Span(4095.0, math.log10(4096))
    assert spans_of([Channel(1, "A", range=512.0)], spans) == spans


def test_events_on_one_value_are_drawn_with_a_linear_part_that_has_a_width() -> None:
    """The lowest step of an amplifier holds a tenth of the cells: learned as ever, drawn over decades there are."""
    values = np.concatenate([np.ones(2000), 10 ** np.random.default_rng(2).uniform(1, 3, 18_000)])
    span = Span(9910.0, 4.0)
    assert fitted("asinh", values, span).scale.cofactor < 0.02
    assert 0.1 < drawn("asinh", values, span).scale.cofactor <= 1
    assert drawn("logicle", values, span).scale.decades < 5


# --- ticks --------------------------------------------------------------------------------------------


def test_ticks_are_those_a_cytometrist_expects() -> None:
    scale = Logicle(262_143, 0.7, 4.5)
    low, high = scale.forward(np.array([-2000.0, 262_143.0]))
    found = ticks(scale, float(low), float(high))
    assert found.labelled == (-1e3, 0.0, 1e3, 1e4, 1e5)
    assert {-500.0, 200.0, 2e3, 9e4, 2e5} <= set(found.plain)
    assert min(found.plain) == -2000.0
    assert max(found.plain) == 2e5


def test_zero_is_labelled_though_powers_of_ten_crowd_around_it() -> None:
    for scale in (Asinh(5000.0), Asinh(1e-4), Logicle(1e7, 2, 4.5)):
        low, high = scale.forward(np.array([-3e4, 1e6]))
        labelled = ticks(scale, float(low), float(high)).labelled
        assert 0 in labelled
        assert 3 <= len(labelled) <= 9


def test_ticks_of_scatter() -> None:
    assert ticks(Linear(), -1000, 262_143).labelled == (0, 50_000, 100_000, 150_000, 200_000, 250_000)
    found = ticks(Log(), 3.5, 5.2)
    assert found.labelled == (1e4, 1e5)
    assert found.plain[0] == 4000.0


# --- learned and drawn --------------------------------------------------------------------------------


def planted() -> list[Columns]:
    """Four wells of debris, dark, bright and dim cells, dead ones and doublets."""
    wells = []
    for seed in range(10, 50, 10):
        cells = [cloud(2_000, seed), cloud(2_000, seed + 1, gfp=20_000), cloud(200, seed + 2, gfp=2_000)]
        others = [cloud(400, seed + 3, dead=True), cloud(400, seed + 4, doublet=True), debris(2_000, seed + 5)]
        wells.append(mixed(*cells, *others)[0])
    return wells


def test_gates_learned_on_either_scale_agree() -> None:
    """Scatter gates are the same; borders on the reporter lie within 5 %, and no event in a hundred falls otherwise."""
    wells = planted()
    one, other = (learn_gates(wells, replace(CHANNELS, scale=scale)).gates for scale in ("asinh", "logicle"))
    assert one[:2] == other[:2]
    assert one[2:] != other[2:]  # the scale took part
    for a, b in zip(one[2:], other[2:], strict=True):
        assert isinstance(a, Range)
        assert isinstance(b, Range)
        ends = [(x, y) for x, y in ((a.low, b.low), (a.high, b.high)) if x is not None and y is not None]
        values = np.concatenate([one.column(a.x) for one in wells])
        between = [(min(pair) <= values) & (values < max(pair)) for pair in ends]
        assert max(float(mask.mean()) for mask in between) < 0.01
        if a.name != "live":  # between live and dead cells there is no cell to settle the border by
            assert all(abs(x / y - 1) < 0.05 for x, y in ends)


def test_an_assumed_top_is_a_remark_of_learning() -> None:
    wells = planted()
    for one in wells:
        one.events.channels = tuple(replace(channel, range=math.inf) for channel in one.events.channels)
    found = learn_gates(wells, replace(CHANNELS, scale="logicle"))
    said = [sentence for code, sentence in found.remarks if code == "scale-top"]
    assert [sentence.split(":")[0] for sentence in said] == ["logicle scale of Live", "logicle scale of GFP"]
    assert "scale-top" not in [code for code, _ in learn_gates(wells, CHANNELS).remarks]


def test_nothing_is_learned_on_a_linear_scale() -> None:
    with pytest.raises(AnalysisError, match="not learned on a linear scale"):
        learn_gates(planted(), replace(CHANNELS, scale="linear"))
    scatter_only = GateChannels("FSC-A", "SSC-A", "FSC-H", scale="linear")
    assert [gate.name for gate in learn_gates(planted(), scatter_only).gates] == ["cells", "singlets"]


DEFINITION = """[assay]
antigen = "AQP4-M23"
[channels]
reporter = "FITC-A"
signal = "APC-A"
[gating]
"""


def test_the_definition_takes_linear_for_gates_from_a_file_only(tmp_path: Path) -> None:
    path = tmp_path / "assay.toml"
    path.write_text(DEFINITION + 'scale = "linear"\n')
    with pytest.raises(ConfigError) as refused:
        read_definition(path)
    assert str(refused.value) == (
        "assay.toml: [gating] scale 'linear' is for pictures only, of gates that source names: gates are learned on "
        "'asinh' or 'logicle'"
    )
    path.write_text(DEFINITION + 'scale = "linear"\nsource = "gates.xml"\n')
    assert read_definition(path).gating.scale == "linear"
    path.write_text(DEFINITION)
    assert read_definition(path).gating.scale == "asinh"
    path.write_text(DEFINITION + 'scale = "biex"\n')
    with pytest.raises(ConfigError, match="scale: input should be 'asinh', 'logicle' or 'linear'"):
        read_definition(path)


@pytest.mark.parametrize("name", ["asinh", "logicle", "linear"])
def test_fluorescence_is_drawn_on_the_scale_and_scatter_never(name: str) -> None:
    wells = planted()
    gates = learn_gates(wells, CHANNELS).gates
    pictures = picture_gates(wells, gates, name)  # type: ignore[arg-type]
    assert [(p.x.channel, p.x.scale.name) for p in pictures] == [
        ("FSC-A", "log"),
        ("FSC-A", "linear"),
        ("Live", name),
        ("GFP", name),
    ]
    reporter = pictures[-1]
    assert reporter.counts.sum() > 14_000
    borders = [x for gate in reporter.gates if isinstance(gate, Range) for x in (gate.low, gate.high) if x]
    places = reporter.x.scale.forward(np.array(borders))
    assert np.all((places > reporter.x.edges[0]) & (places < reporter.x.edges[-1]))


def test_a_border_among_the_events_is_always_in_the_picture() -> None:
    values = np.append(normal(100, 30), 90_000.0)
    gate = Range("high", None, Dimension("A", True), 50_000.0, None)
    axis = picture_gates([well({"A": values})], [gate])[0].x
    assert axis.scale.forward(np.array([50_000.0]))[0] < axis.edges[-1]
    beyond = picture_gates([well({"A": values})], [replace(gate, low=1e9)])[0].x
    assert axis.scale.back(beyond.edges[-1:])[0] < 1000


# --- a study --------------------------------------------------------------------------------------------


def set_scale(plate: Path, scale: str) -> Path:
    path = plate.parents[1] / "assay.toml"
    path.write_text(path.read_text().replace("[gating]\n", f'[gating]\nscale = "{scale}"\n'))
    return plate


def test_a_study_on_the_logicle_scale(
    plate: Path, tmp_path: Path, results: Path, table: Callable[[Path], list[dict[str, str]]]
) -> None:
    """Borders move a little against the default; figure and methods name the scale; its CSV is linear all the same."""
    run_study(load_study(set_scale(plate, "logicle")), tmp_path / "out")
    usual = {gate.name: gate for gate in read_gatingml(results / "plates" / "P001" / "gates.xml")}
    found = {gate.name: gate for gate in read_gatingml(tmp_path / "out" / "gates.xml")}
    assert found["cells"] == usual["cells"]
    assert found["expressing"] != usual["expressing"]
    assert found["expressing"].low == pytest.approx(usual["expressing"].low, rel=0.03)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "fluorescence on the logicle scale" in page
    assert "FITC-A logicle, T 262143, W " in page
    rows = table(tmp_path / "out" / "figures" / "plate-P001.csv")
    bins = [float(row["x"]) for row in rows if row["panel"].startswith("gate expressing")]
    assert bins == sorted(bins)
    assert bins[0] < 100
    assert bins[-1] > 50_000


def test_frozen_gates_give_the_same_numbers_on_any_scale(plate: Path, tmp_path: Path, results: Path) -> None:
    shutil.copy(results / "plates" / "P001" / "gates.xml", plate.parents[1] / "gates.xml")
    path = plate.parents[1] / "assay.toml"
    path.write_text(path.read_text().replace('[gating]\nsource = "auto"', '[gating]\nsource = "gates.xml"'))
    run_study(load_study(plate), tmp_path / "asinh")
    run_study(load_study(set_scale(plate, "linear")), tmp_path / "linear")
    for name in ("wells.csv", "titers.csv", "gates.xml"):
        assert (tmp_path / "asinh" / name).read_bytes() == (tmp_path / "linear" / name).read_bytes()
    figure = "figures/plate-P001.csv"
    assert (tmp_path / "asinh" / figure).read_bytes() != (tmp_path / "linear" / figure).read_bytes()
    assert "Fluorescence is drawn on" not in (tmp_path / "linear" / "report.html").read_text(encoding="utf-8")


def test_gates_of_another_program_are_drawn_on_the_scale(small: Path) -> None:
    gatingml(small, "FCS")
    wells = measured(define(small, "g.xml", "on", "off"))
    for name in ("asinh", "logicle", "linear"):
        pictures = gate_pictures(replace(wells, gating=wells.gating.drawn_on(name)))
        reporter = next(one for one in pictures if one.x.channel == "GFP/A")
        assert reporter.x.scale.name == name
        assert reporter.members
