"""Gates, compensation and limits of medians by hand; learned gates on mixtures planted here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from flowutils.gating import points_in_polygon
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from aqp4flow.cytometry.autogate import learn_gates
from aqp4flow.cytometry.compensation import condition, read_matrix, unmixing
from aqp4flow.cytometry.gates import Columns, GateChannels, channels_needed, counts, in_order, inside, populations
from aqp4flow.cytometry.measure import (
    Populations,
    centre,
    measure,
    median_ranks,
    median_with_limits,
    percent_above,
    upper_percentile,
)
from aqp4flow.errors import AnalysisError, InputError, SheetError
from aqp4flow.model import Channel, Dimension, Ellipse, Gate, Polygon, Range, Rectangle, Spillover

Floats = NDArray[np.float64]
A, B = Dimension("A"), Dimension("B")


def well(columns: Mapping[str, Sequence[float] | Floats], spillover: Spillover | None = None) -> Columns:
    """A well whose events are these columns; a channel that is not there must not be asked for."""
    arrays = {name: np.asarray(values, np.float64) for name, values in columns.items()}

    def column(name: str) -> Floats:
        assert name in arrays, f"{name} was looked at"
        return arrays[name]

    channels = tuple(Channel(number, name) for number, name in enumerate(arrays, 1))
    events = SimpleNamespace(count=len(next(iter(arrays.values()))), channels=channels, column=column)
    return Columns(events, spillover)


def held(gate: Gate, *points: tuple[float, float]) -> list[bool]:
    x, y = np.array(points, float).T
    return inside(gate, x, None if isinstance(gate, Range) else y).tolist()


# --- one gate -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (1.0, 3.0, [False, True, True, False, False]),  # low included, high not
        (None, 3.0, [True, True, True, False, False]),
        (1.0, None, [False, True, True, True, False]),
    ],
)
def test_a_range_includes_its_low_end_only(low: float | None, high: float | None, wanted: list[bool]) -> None:
    gate = Range("r", None, A, low, high)
    assert held(gate, *((x, 0) for x in (0.999, 1.0, 2.999, 3.0, math.nan))) == wanted


def test_a_rectangle_is_a_range_on_each_axis() -> None:
    gate = Rectangle("r", None, A, B, (0.0, None), (2.0, 5.0))
    points = [(0, -1e9), (0, 4.999), (0, 5), (2, 0), (-0.001, 0), (1, math.nan), (math.nan, 1)]
    assert held(gate, *points) == [True, True, False, False, False, False, False]


TRIANGLE = Polygon("t", None, A, B, ((0.0, 0.0), (4.0, 0.0), (0.0, 4.0)))
#: A five-pointed star drawn in one stroke: its middle is crossed twice, hence outside by the even-odd rule.
STAR = Polygon("s", None, A, B, ((0.0, 10.0), (6.0, -8.0), (-9.0, 3.0), (9.0, 3.0), (-6.0, -8.0)))


@pytest.mark.parametrize(
    ("point", "wanted"),
    [
        ((1, 1), True),
        ((3, 3), False),
        ((0, 2), True),  # on an upright edge
        ((2, 0), True),  # on a level edge
        ((0, 0), True),
        ((2.0001, 2), False),
        ((-0.0001, 2), False),
        ((1e300, 1), False),
        ((math.inf, 1), False),
        ((1, -math.inf), False),
        ((math.nan, 1), False),
        ((1, math.nan), False),
        ((math.nan, math.nan), False),
    ],
)
def test_a_polygon_holds_its_left_and_lower_edge_and_never_nan(point: tuple[float, float], wanted: bool) -> None:
    assert held(TRIANGLE, point) == [wanted]


def test_a_polygon_that_crosses_itself_follows_the_even_odd_rule() -> None:
    assert held(STAR, (0, 0), (0, 8), (5, -6), (-7, 2.8)) == [False, True, True, True]


@pytest.mark.parametrize(
    ("covariance", "point", "wanted"),
    [
        (((4.0, 0.0), (0.0, 1.0)), (7, 5), True),  # mean (5, 5), half-axes 2 and 1
        (((4.0, 0.0), (0.0, 1.0)), (5, 4), True),
        (((4.0, 0.0), (0.0, 1.0)), (7.0001, 5), False),
        (((4.0, 0.0), (0.0, 1.0)), (6.5, 5.8), False),
        (((2.0, 1.0), (1.0, 2.0)), (6.5, 6.5), False),  # along the long axis 2 * 1.5^2 / 3 = 1.5
        (((2.0, 1.0), (1.0, 2.0)), (6, 6), True),  # 2 / 3
        (((2.0, 1.0), (1.0, 2.0)), (6, 4), False),  # across it 2 / 1
        (((4.0, 0.0), (0.0, 1.0)), (math.nan, 5), False),
    ],
)
def test_an_ellipse_holds_what_is_near_its_mean(
    covariance: tuple[tuple[float, float], tuple[float, float]], point: tuple[float, float], wanted: bool
) -> None:
    assert held(Ellipse("e", None, A, B, (5.0, 5.0), covariance, 1.0), point) == [wanted]


def test_a_gate_on_two_axes_needs_two_columns() -> None:
    with pytest.raises(TypeError, match="two axes"):
        inside(TRIANGLE, np.ones(1))


steps = st.integers(-4096, 4096).map(lambda n: n / 1024)
corners = st.tuples(steps, steps)


@settings(max_examples=60, deadline=None)
@given(
    vertices=st.lists(corners, min_size=3, max_size=9),
    extra=st.lists(st.tuples(st.floats(-6, 6), st.floats(-6, 6)), max_size=5),
    scale=st.sampled_from([1.0, 1e-6, 65536.0]),
)
def test_the_raster_settles_events_as_the_plain_polygon_test_does(
    vertices: list[tuple[float, float]], extra: list[tuple[float, float]], scale: float
) -> None:
    drawn = np.array(vertices) * scale
    middles = (drawn + np.roll(drawn, -1, axis=0)) / 2
    points = np.random.default_rng(0).uniform(-5, 5, (800, 2)) * scale
    lattice = np.array([(x, y) for x in np.unique(drawn[:, 0]) for y in np.unique(drawn[:, 1])])
    near = np.concatenate([np.nextafter(drawn, np.inf), np.nextafter(drawn, -np.inf)])
    far = np.array([(1e9, 0.0), (0.0, -1e9), (-1e9, 1e9)])
    every = np.concatenate([points, drawn, middles, lattice, near, far, np.array(extra).reshape(-1, 2) * scale])
    gate = Polygon("p", None, A, B, tuple((float(x), float(y)) for x, y in drawn))
    wanted = points_in_polygon(drawn, np.ascontiguousarray(every))
    assert inside(gate, every[:, 0].copy(), every[:, 1].copy()).tolist() == np.asarray(wanted, bool).tolist()


# --- a tree of gates --------------------------------------------------------------------------------


def test_populations_follow_their_parents() -> None:
    columns = well({"A": [1, 2, 3, 4, 5, 6], "B": [9, 0, 9, 0, 9, 0]})
    gates = (
        Range("upper", None, A, 2.0, None),
        Range("of-upper", "upper", B, 5.0, None),
        Range("of-all", None, B, 5.0, None),
        Rectangle("below", "of-upper", A, B, (4.0, 0.0), (9.0, 10.0)),
    )
    found = populations(columns, gates)
    assert {name: rows.tolist() for name, rows in found.items()} == {
        "upper": [1, 2, 3, 4, 5],
        "of-upper": [2, 4],
        "of-all": [0, 2, 4],
        "below": [4],
    }
    assert counts(found) == {"upper": 5, "of-upper": 2, "of-all": 3, "below": 1}
    assert channels_needed(gates) == ("A", "B")


def test_an_empty_parent_has_empty_children() -> None:
    gates = (Range("none", None, A, 9.0, None), Polygon("in-none", "none", A, B, TRIANGLE.vertices))
    assert counts(populations(well({"A": [1, 2], "B": [1, 1]}), gates)) == {"none": 0, "in-none": 0}


def named(name: str, parent: str | None = None) -> Range:
    return Range(name, parent, A, 0.0, None)


def test_gates_are_put_with_parents_first() -> None:
    gates = [named("c", "b"), named("b", "a"), named("d"), named("a")]
    assert [gate.name for gate in in_order(gates, "x")] == ["d", "a", "b", "c"]


@pytest.mark.parametrize(
    ("gates", "what"),
    [
        ([named("a", "gone")], "gate 'a' stands below 'gone', which is not there or below it"),
        ([named("a", "b"), named("b", "a")], "gate 'a' stands below 'b', which is not there or below it"),
        ([named("a", "a")], "gate 'a' stands below 'a', which is not there or below it"),
        ([named("a"), named("b"), named("a")], "two gates are called 'a'"),
    ],
)
def test_gates_without_order_are_refused(gates: list[Gate], what: str) -> None:
    with pytest.raises(InputError) as refused:
        in_order(gates, "gates.xml")
    assert str(refused.value) == f"gates.xml: {what}"


# --- compensation -----------------------------------------------------------------------------------

#: True (8, 4) is observed as (8 + 0.5 * 4, 0.25 * 8 + 4) = (10, 6).
BY_HAND = Spillover(("A", "B"), np.array([[1.0, 0.25], [0.5, 1.0]]), "by hand")


def test_compensation_of_two_dyes_is_what_the_hand_finds() -> None:
    columns = well({"A": [10.0, 1.0], "B": [6.0, 0.25], "C": [7.0, 7.0]}, BY_HAND)
    assert columns.column(Dimension("A", True)) == pytest.approx([8.0, 1.0])
    assert columns.column(Dimension("B", True)) == pytest.approx([4.0, 0.0], abs=1e-12)
    assert columns.column(A).tolist() == [10.0, 1.0]
    assert columns.column(Dimension("C", True)).tolist() == [7.0, 7.0]  # not of the matrix
    assert columns.take(Dimension("A", True), np.array([1])) == pytest.approx([1.0])


def test_without_a_matrix_compensated_is_raw() -> None:
    assert well({"A": [10.0]}).column(Dimension("A", True)).tolist() == [10.0]


def test_each_channel_equals_the_solution_of_the_whole_system() -> None:
    draw = np.random.default_rng(3)
    names = ("A", "B", "C", "D", "E")
    matrix = np.eye(5) + np.where(np.eye(5) == 1, 0.0, draw.uniform(0, 0.3, (5, 5)))
    observed = draw.normal(1000, 500, (200, 5))
    whole = np.linalg.solve(matrix.T, observed.T).T
    order = ("C", "A", "E", "B", "D")  # channels lie in the file in another order than in the matrix
    columns = well({n: observed[:, names.index(n)] for n in order}, Spillover(names, matrix, "drawn"))
    for i, name in enumerate(names):
        np.testing.assert_allclose(columns.column(Dimension(name, True)), whole[:, i], rtol=1e-9, atol=1e-9)


def test_a_channel_takes_only_what_the_matrix_says() -> None:
    alone = Spillover(("A", "B", "C"), np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), "")
    assert unmixing(alone, "A") == {"A": 1.0}
    assert unmixing(alone, "B") == {"A": -0.5, "B": 1.0}
    assert condition(Spillover(("A", "B"), np.diag([1.0, 4.0]), "")) == pytest.approx(4.0)


@pytest.mark.parametrize(
    "text",
    [
        "channel,A,B\nA,1,0.25\nB,0.5,1\n",
        "\ufeffchannel, A ,B\r\nA,100,25\r\nB,50,100\r\n\r\n",
    ],
)
def test_a_matrix_is_read_from_fractions_or_percent(text: str, tmp_path: Path) -> None:
    (tmp_path / "matrix.csv").write_text(text, encoding="utf-8", newline="")
    matrix = read_matrix(tmp_path / "matrix.csv")
    assert matrix.same_as(BY_HAND)
    assert matrix.source == "matrix.csv"
    assert not matrix.matrix.flags.writeable


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("channel,A\n", "matrix.csv: no matrix in it\nhint: wanted: channel,FITC-A,PE-A,... and a row a channel"),
        ("channel,A,B\nA,1,x\nB,0,1\n", "matrix.csv: row 2: not all numbers: 1, x"),
        ("channel,A,B\nA,1,0\nB,0\n", "matrix.csv: row 3: 1 numbers, 2 wanted"),
        ("channel,A,B\nB,1,0\nA,0,1\n", "matrix.csv: rows are B, A; columns are A, B\nhint: same order"),
        ("channel,A,B\nA,1,0\n", "matrix.csv: rows are A; columns are A, B\nhint: same order"),
        (
            "channel,A,B\nA,1,0\nB,0,2\n",
            "matrix.csv: the diagonal is neither 1 nor 100\nhint: each dye is whole in its own detector",
        ),
        (
            "channel,A,B\nA,1,1\nB,1,1\n",
            "matrix.csv: the matrix is singular or nearly so\nhint: check the rows: two dyes look alike",
        ),
        (
            "channel,A,B\nA,1,nan\nB,0,1\n",
            "matrix.csv: the matrix is singular or nearly so\nhint: check the rows: two dyes look alike",
        ),
    ],
)
def test_a_matrix_that_cannot_be_used_is_refused_with_its_row(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "matrix.csv").write_text(text)
    with pytest.raises(SheetError) as refused:
        read_matrix(tmp_path / "matrix.csv")
    assert str(refused.value) == message


def test_a_missing_matrix_and_one_in_another_encoding_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SheetError, match=r"matrix\.csv: no such matrix file"):
        read_matrix(tmp_path / "matrix.csv")
    (tmp_path / "matrix.csv").write_bytes("channel,µ\nµ,1\n".encode("latin-1"))
    with pytest.raises(SheetError, match=r"matrix\.csv: not a UTF-8 text file"):
        read_matrix(tmp_path / "matrix.csv")


# --- medians and shares -----------------------------------------------------------------------------


def coverage(n: int, low: int) -> Fraction:
    """Chance that the median lies between the order statistics `low` and n - 1 - low (from 0)."""
    return 1 - 2 * Fraction(sum(math.comb(n, k) for k in range(low + 1)), 2**n)


@pytest.mark.parametrize("n", range(6, 201))
def test_ranks_are_the_tightest_with_95_percent(n: int) -> None:
    ranks = median_ranks(n)
    assert ranks is not None
    low, high = ranks
    assert high == n - 1 - low
    assert coverage(n, low) >= Fraction(95, 100) > coverage(n, low + 1)


@pytest.mark.parametrize("n", [201, 202, 333, 500, 1001, 2000])
def test_ranks_of_many_events_hold_95_percent_and_hardly_more(n: int) -> None:
    ranks = median_ranks(n)
    assert ranks is not None
    assert Fraction(95, 100) <= coverage(n, ranks[0]) < Fraction(98, 100)


def test_limits_of_small_samples_are_the_ranks_of_the_tables() -> None:
    assert [median_ranks(n) for n in (0, 5, 6, 10)] == [None, None, (0, 5), (1, 8)]
    six, ten = np.array([5.0, 1, 9, 3, 7, 2]), np.arange(100.0, 0, -10)
    found = median_with_limits(six)
    assert (found.value, found.low, found.high) == (4.0, 1.0, 9.0)
    found = median_with_limits(ten)
    assert (found.value, found.low, found.high) == (55.0, 20.0, 90.0)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 6, 7, 50, 199, 200, 201, 1000])
def test_the_median_is_that_of_numpy(n: int) -> None:
    values = np.random.default_rng(n).lognormal(8, 1, n)
    found = median_with_limits(values)
    assert found.value == np.median(values)
    assert math.isnan(found.low) == math.isnan(found.high) == (n < 6)


def test_no_values_have_no_median() -> None:
    assert not median_with_limits(np.empty(0)).known


@pytest.mark.parametrize("n", [6, 25, 60, 300])
def test_limits_hold_the_true_median_in_95_of_100_samples(n: int) -> None:
    draws = np.random.default_rng(7).exponential(1.0, (2500, n))
    limits = [median_with_limits(row) for row in draws]
    hits = np.mean([found.low <= math.log(2) <= found.high for found in limits])
    assert 0.94 <= hits <= 0.985


def test_shares_and_percentiles_by_hand() -> None:
    values = np.arange(1.0, 201.0)
    assert percent_above(values, 150.0) == 25.0  # 150 itself is not above
    assert math.isnan(percent_above(np.empty(0), 1.0))
    assert math.isnan(percent_above(values, math.nan))
    assert upper_percentile(values, 99) == 198.0
    assert upper_percentile(np.array([3.0, 1.0, 2.0]), 99) == 3.0
    assert math.isnan(upper_percentile(np.empty(0), 99))


def test_means_by_hand() -> None:
    found = centre(np.array([1.0, 2.0, 3.0]), "mean")
    assert (found.value, found.high) == pytest.approx((2.0, 2.0 + 1.959963984540054 / math.sqrt(3)))
    assert centre(np.array([1.0, 10.0, 100.0]), "geometric-mean").value == pytest.approx(10.0)
    assert not centre(np.array([1.0, 0.0, 100.0]), "geometric-mean").known


def test_a_well_is_measured_as_the_hand_would() -> None:
    signal = [10.0, 20, 30, 40, 50, 60, 1, 2, 3, 4, 5, 35]
    reporter = [100.0] * 6 + [0.0] * 6
    gates = (Range("on", None, A, 50.0, None), Range("off", None, A, None, 50.0))
    columns = well({"A": reporter, "PE": signal})
    found = measure(columns, populations(columns, gates), Populations("on", "off"), "PE", "median")
    assert (found.n_events, found.counts) == (12, {"on": 6, "off": 6})
    assert (found.expressing.value, found.expressing.low, found.expressing.high) == (35.0, 10.0, 60.0)
    assert found.nonexpressing.value == 3.5
    assert found.background_top == 35.0
    assert found.percent_positive == 50.0  # 40, 50 and 60 of six
    assert found.at_top == 0.0


# --- learned gates ----------------------------------------------------------------------------------

CHANNELS = GateChannels("FSC-A", "SSC-A", "FSC-H", "Live", "GFP")


def cloud(n: int, seed: int, *, gfp: float = 0.0, dead: bool = False, doublet: bool = False) -> dict[str, Floats]:
    """Cells of one kind, without a signal channel: looking at it would fail."""
    draw = np.random.default_rng(seed)
    size = 60_000 * draw.lognormal(0, 0.12, n) * (2 if doublet else 1)
    return {
        "FSC-A": size,
        "SSC-A": 25_000 * draw.lognormal(0, 0.2, n) * (2 if doublet else 1),
        "FSC-H": 0.8 * size * draw.lognormal(0, 0.03, n) * (0.5 if doublet else 1),
        "Live": draw.lognormal(10, 0.3, n) if dead else draw.normal(150, 120, n),
        "GFP": 150 * draw.lognormal(0, 0.5, n) + draw.normal(0, 40, n) + gfp * draw.lognormal(0, 0.4, n),
    }


def debris(n: int, seed: int) -> dict[str, Floats]:
    draw = np.random.default_rng(seed)
    return {
        "FSC-A": 6_000 * draw.lognormal(0, 0.4, n),
        "SSC-A": 4_000 * draw.lognormal(0, 0.5, n),
        "FSC-H": 5_000 * draw.lognormal(0, 0.4, n),
        "Live": draw.normal(150, 120, n),
        "GFP": draw.normal(50, 50, n),
    }


def mixed(*kinds: dict[str, Floats]) -> tuple[Columns, NDArray[np.int64]]:
    """One well of these kinds in random order, and which kind each event is."""
    kind = np.repeat(np.arange(len(kinds)), [len(part["GFP"]) for part in kinds])
    order = np.random.default_rng(0).permutation(len(kind))
    return well({name: np.concatenate([p[name] for p in kinds])[order] for name in kinds[0]}), kind[order]


def shares(columns: Columns, kind: NDArray[np.int64], gates: Sequence[Gate], gate: str) -> list[float]:
    """Of each kind, the share that lies in `gate`."""
    rows = populations(columns, gates)[gate]
    return [float(np.isin(np.flatnonzero(kind == k), rows).mean()) for k in range(kind.max() + 1)]


@pytest.fixture(scope="module")
def learned() -> tuple[Columns, NDArray[np.int64], tuple[Gate, ...], tuple[tuple[str, str], ...]]:
    """A well of debris 60 %, dark and bright cells, doublets and dead cells, and the gates learned from it."""
    columns, kind = mixed(
        debris(18_000, 1),
        cloud(5_000, 2),
        cloud(5_000, 3, gfp=20_000),
        cloud(1_000, 4, doublet=True),
        cloud(1_000, 5, dead=True),
    )
    found = learn_gates([columns], CHANNELS)
    return columns, kind, found.gates, found.remarks


def test_gates_are_learned_in_their_order(learned) -> None:
    assert [(gate.name, gate.parent) for gate in learned[2]] == [
        ("cells", None),
        ("singlets", "cells"),
        ("live", "singlets"),
        ("expressing", "live"),
        ("nonexpressing", "live"),
    ]
    assert learned[3] == ()


def test_debris_lies_outside_cells_though_it_is_the_most(learned) -> None:
    share = shares(*learned[:3], "cells")
    assert share[0] < 0.01
    assert min(share[1], share[2]) > 0.93


def test_doublets_lie_outside_singlets(learned) -> None:
    share = shares(*learned[:3], "singlets")
    assert share[3] < 0.01
    assert min(share[1], share[2]) > 0.9


def test_dead_cells_lie_outside_live(learned) -> None:
    share = shares(*learned[:3], "live")
    assert share[4] < 0.01
    assert min(share[1], share[2]) > 0.9


def test_the_thresholds_lie_between_dark_and_bright_cells(learned) -> None:
    thresholds = {gate.name: gate for gate in learned[2]}
    upper, lower = thresholds["nonexpressing"].high, thresholds["expressing"].low
    assert 150 * math.exp(2 * 0.5) < upper < lower < 20_000 * math.exp(-2 * 0.4)
    bright = shares(*learned[:3], "expressing")
    dark = shares(*learned[:3], "nonexpressing")
    assert bright[2] > 0.85
    assert bright[1] < 0.005
    assert dark[1] > 0.85
    assert dark[2] < 0.005


def test_the_same_events_give_the_same_gates(learned) -> None:
    assert learn_gates([learned[0]], CHANNELS).gates == learned[2]


def test_numbers_of_gates_have_six_digits(learned) -> None:
    numbers = [x for gate in learned[2][:2] for vertex in gate.vertices for x in vertex]
    numbers += [x for gate in learned[2][2:] for x in (gate.low, gate.high) if x is not None]
    assert all(float(f"{x:.6g}") == x for x in numbers)


def test_without_bright_cells_it_is_said_and_dark_cells_stay_dark() -> None:
    columns, kind = mixed(cloud(8_000, 1))
    found = learn_gates([columns], CHANNELS)
    assert [code for code, _ in found.remarks] == ["no-expressing"]
    assert found.remarks[0][1].startswith("no expressing population: ")
    assert shares(columns, kind, found.gates, "expressing")[0] < 0.01


def test_the_living_stay_where_their_dye_is_noise() -> None:
    """No chance peak on the dark side of the living becomes a population: each of these wells once lost 90 %."""
    for seed in (0, 10):
        parts = (cloud(5_000, seed + 2), cloud(5_000, seed + 3, gfp=20_000), cloud(500, seed + 7, gfp=1_500))
        columns, kind = mixed(*parts, cloud(1_000, seed + 5, dead=True))
        found = learn_gates([columns], CHANNELS)
        assert min(shares(columns, kind, found.gates, "live")[:3]) > 0.9
        assert found.remarks == ()


def test_doublets_do_not_pass_for_the_cells() -> None:
    """Cells of three sizes, and doublets of one: no size of single cells scatters as much light as the doublets."""
    parts = [cloud(2_600, 1), cloud(2_600, 2, gfp=20_000), cloud(2_600, 3), cloud(3_400, 4, doublet=True)]
    for part, size in zip(parts, (0.8, 1.0, 1.25, 1.0), strict=True):
        for channel in ("FSC-A", "SSC-A", "FSC-H"):
            part[channel] *= size
    columns, kind = mixed(*parts)
    gates = learn_gates([columns], CHANNELS).gates
    found = shares(columns, kind, gates, "cells")
    assert min(found[:3]) > 0.9


def test_a_border_does_not_fall_between_two_steps_of_coarse_integers() -> None:
    """Light in steps as wide as the dark cells spread: dark and bright cells keep their sides."""
    draw = np.random.default_rng(3)
    dark, bright = cloud(6_000, 1), cloud(6_000, 2, gfp=20_000)
    for part in (dark, bright):
        part["GFP"] = np.floor(np.maximum(part["GFP"], 0) / 64)
        part["Live"] = np.floor(np.maximum(draw.normal(90, 60, 6_000), 0) / 64)
    columns, kind = mixed(dark, bright)
    gates = learn_gates([columns], CHANNELS).gates
    assert min(shares(columns, kind, gates, "live")) > 0.85
    assert shares(columns, kind, gates, "expressing")[0] < 0.03
    assert shares(columns, kind, gates, "expressing")[1] > 0.8
    assert shares(columns, kind, gates, "nonexpressing")[0] > 0.8


def test_without_dead_cells_the_living_stay() -> None:
    columns, kind = mixed(cloud(4_000, 1), cloud(4_000, 2, gfp=20_000))
    gates = learn_gates([columns], CHANNELS).gates
    assert min(shares(columns, kind, gates, "live")) > 0.9


def test_gates_without_a_channel_are_left_out_and_said() -> None:
    columns, _ = mixed(cloud(3_000, 1), cloud(3_000, 2, gfp=20_000))
    found = learn_gates([columns], GateChannels("FSC-A", "SSC-A", reporter="GFP"))
    assert [(g.name, g.parent) for g in found.gates] == [
        ("cells", None),
        ("expressing", "cells"),
        ("nonexpressing", "cells"),
    ]
    assert [code for code, _ in found.remarks] == ["no-singlets", "no-live"]


def test_every_well_weighs_the_same() -> None:
    """A well of dark cells alone, fifty times as large, does not hide the bright cells of the other."""
    large, _ = mixed(cloud(60_000, 1))
    small, kind = mixed(cloud(1_000, 2), cloud(1_000, 3, gfp=20_000))
    gates = learn_gates([large, *[small] * 19], CHANNELS).gates
    dark, bright = shares(small, kind, gates, "expressing")
    assert dark < 0.01
    assert bright > 0.85


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (
            [mixed(cloud(150, 1))[0]],
            "gates: only 150 events to learn from\nhint: use the gates of another plate: [gating] source",
        ),
        ([], "gates: only 0 events to learn from\nhint: use the gates of another plate: [gating] source"),
        (
            [well({name: -values for name, values in cloud(500, 1).items()})],
            "gates: too few events with scatter above 0\nhint: check [channels] forward and side",
        ),
    ],
)
def test_too_few_events_are_refused(columns: list[Columns], message: str) -> None:
    with pytest.raises(AnalysisError) as refused:
        learn_gates(columns, CHANNELS)
    assert str(refused.value) == message
