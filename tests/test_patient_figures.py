"""Figures 1 to 4 of synthetic cohorts: what they show, what they say, and what is said where one is not made."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from matplotlib.text import Text

from aqp4flow.cohort.quantiles import bounded_quantile
from aqp4flow.model import NAN, Bound, Change, ClinicalKind, Estimate, Statistic, Titer, Verdict
from aqp4flow.pipeline import StudyResult
from aqp4flow.report import courses, figure1, figure2, figure3, figure4, fonts, page
from aqp4flow.report.figures import draw_all, missing_figures
from aqp4flow.report.labels import _WORDS, Labels
from aqp4flow.report.look import Drawn, bound_arrow, styled
from aqp4flow.report.printed import folded, p_text, shown_test, words_of_test
from cohorts import assay, cohort

EN = Labels("en")


@pytest.fixture(scope="module")
def seven() -> StudyResult:
    return cohort(7)


@pytest.fixture(scope="module")
def drawn(seven: StudyResult) -> Drawn:
    return draw_all(seven)


def table(drawn: Drawn, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(drawn.files[f"{name}.csv"].decode())))


# --- files --------------------------------------------------------------------------------------------


def test_the_same_result_gives_the_same_bytes(seven: StudyResult, drawn: Drawn) -> None:
    """Four figures, each in three formats beside its CSV."""
    again = draw_all(seven)
    assert sorted(drawn.files) == sorted(
        f"figure{n}.{kind}" for n in (1, 2, 3, 4) for kind in ("svg", "pdf", "png", "csv")
    )
    assert [name for name, data in drawn.files.items() if again.files[name] != data] == []
    assert again.captions == drawn.captions


def test_every_number_of_the_study_stands_in_a_csv(seven: StudyResult, drawn: Drawn) -> None:
    """Each visit with its bound, each event, each rate, each score: none twice, none left out."""
    visits = sorted((p.visit.patient, f"{p.visit.month:.4f}", p.value.bound.value) for p in seven.trajectories)
    for name, panel in (("figure4", "patient"), ("figure2", "reactivity")):
        rows = [row for row in table(drawn, name) if row["panel"] == panel]
        found = sorted((r["series"], f"{float(r['x']):.4f}", r["mark"].split(";")[0]) for r in rows)
        assert found == visits
    assert {bound for _, _, bound in visits} == {"<", "=", ">"}
    shown = table(drawn, "figure2")
    for kind in ("relapse", "dose", "edss"):
        events = sorted((e.patient, e.month) for e in seven.clinical if e.kind == kind)
        found = sorted((r["series"], float(r["x"])) for r in shown if r["panel"] == kind)
        assert [patient for patient, _ in found] == [patient for patient, _ in events]
        assert [month for _, month in found] == pytest.approx([month for _, month in events], rel=1e-5)
    for kind in ("pain", "fatigue"):
        events = sorted((e.patient, e.month, e.value) for e in seven.clinical if e.kind == kind)
        rows = [r for r in table(drawn, "figure3") if r["panel"] == kind and r["series"].startswith("PT")]
        assert sorted((r["series"], float(r["x"]), float(r["y"])) for r in rows) == events
    rates = [r for r in table(drawn, "figure1") if r["panel"] == "patient"]
    assert sorted((r["series"], float(r["y"])) for r in rates) == sorted(
        (one.patient, n) for one in seven.followed for n in (one.relapses_before, one.relapses_after)
    )


@pytest.mark.parametrize(("n", "sheets"), [(1, 1), (12, 1), (13, 2), (30, 3), (200, 17)])
def test_courses_fill_as_many_sheets_as_they_need(n: int, sheets: int) -> None:
    """Twelve patients a sheet, every patient on one, on scales that all sheets share."""
    result = cohort(n)
    with styled():
        made = figure2.sheets(result, EN)
    assert len(made) == sheets
    titles = [axes.get_title(loc="left") for figure, _, _ in made for axes in figure.axes if axes.get_visible()]
    assert titles == sorted({event.patient for event in result.clinical})
    assert len({(axes.get_xlim(), axes.get_ylim()) for figure, _, _ in made for axes in figure.axes}) == 1


def test_further_sheets_are_named_by_number() -> None:
    """The first keeps the figure's name."""
    made = draw_all(replace(cohort(13), trajectories=(), statistics=(), summaries=(), followed=()))
    assert [name for name in made.captions if name.startswith("figure2")] == ["figure2", "figure2-2"]
    assert {"figure2-2.svg", "figure2-2.pdf", "figure2-2.png", "figure2-2.csv"} <= set(made.files)


# --- quantiles with bounds ----------------------------------------------------------------------------

_VALUES = some.lists(
    some.tuples(some.sampled_from((10.0, 20.0, 40.0, 80.0, 160.0)), some.sampled_from(list(Bound))),
    min_size=1, max_size=9,
)  # fmt: skip


@given(_VALUES, some.sampled_from((0.25, 0.5, 0.75)), some.randoms(use_true_random=False))
def test_a_quantile_holds_wherever_the_bounded_values_lie(values: list[tuple[float, Bound]], q: float, rng) -> None:
    """Against NumPy's quantile of values drawn anywhere that the bounds allow."""
    found = bounded_quantile([Titer(v, b) for v, b in values], q)
    for _ in range(5):
        moved = [
            math.log2(v) + {Bound.EXACT: 0, Bound.BELOW: -1, Bound.ABOVE: 1}[b] * rng.choice((0.0, 0.5, 30.0))
            for v, b in values
        ]
        true = 2.0 ** float(np.quantile(moved, q))
        if found is None:
            continue
        if found.bound is Bound.EXACT:
            assert true == pytest.approx(found.value)
        elif found.bound is Bound.BELOW:
            assert true <= found.value * (1 + 1e-9)
            assert math.isnan(found.low) or true >= found.low * (1 - 1e-9)
        else:
            assert true >= found.value * (1 - 1e-9)


def test_quartiles_by_hand() -> None:
    """1, 2, 4, 8, 16 with the lowest known only as < 1, then two of them, then all."""
    values = [Titer(2.0**k) for k in range(5)]
    assert [bounded_quantile(values, q).value for q in (0.25, 0.5, 0.75)] == [2, 4, 8]
    low = [replace(values[0], bound=Bound.BELOW), *values[1:]]
    assert bounded_quantile(low, 0.25) == Titer(2.0)
    low = [Titer(2.0, Bound.BELOW), Titer(2.0, Bound.BELOW), *values[2:]]
    assert bounded_quantile(low, 0.25).bound is Bound.BELOW
    assert bounded_quantile(low, 0.5) == Titer(4.0)
    assert bounded_quantile([Titer(2.0, Bound.BELOW), Titer(2.0, Bound.ABOVE)], 0.5) is None
    # a bound inside the others: the median of (< 40, 10, 20) is 10 at least and 20 at most
    mixed = bounded_quantile([Titer(40.0, Bound.BELOW), Titer(10.0), Titer(20.0)], 0.5)
    assert (mixed.value, mixed.bound, mixed.low) == (20.0, Bound.BELOW, 10.0)


# --- Figure 4 -----------------------------------------------------------------------------------------


def arrows_of(figure, bound: Bound) -> int:
    return sum(
        len(line.get_xdata()) for axes in figure.axes for line in axes.lines if line.get_gid() == f"bound {bound.value}"
    )


@pytest.mark.parametrize("n", [1, 7, 30])
def test_bounded_values_are_arrows(n: int) -> None:
    """In Figures 2 and 4, as many as there are, each in its own direction; in Figure 4 the median's besides."""
    result = cohort(n, tested=False)
    with styled():
        four, points, _ = figure4.draw(result, EN)
        two = figure2.sheets(result, EN)
    cohorts = [p for p in points if p[0] == "cohort"]
    for bound in (Bound.BELOW, Bound.ABOVE):
        patients = sum(p.value.bound is bound for p in result.trajectories)
        assert arrows_of(four, bound) == patients + sum(p[6] == bound.value for p in cohorts)
        assert sum(arrows_of(figure, bound) for figure, _, _ in two) == patients
    assert bound_arrow(Bound.BELOW).vertices[:, 1].min() == -1
    assert bound_arrow(Bound.ABOVE).vertices[:, 1].max() == 1


def test_a_quartile_on_bounded_values_is_drawn_open() -> None:
    """Three of seven below the range at a year: the lower quartile is an arrow there, without an edge."""
    result = cohort(7, tested=False)
    below = {"PT01", "PT02", "PT03"}
    points = tuple(
        replace(p, value=Titer(20.0, Bound.BELOW)) if p.timepoint == "M12" and p.visit.patient in below else p
        for p in result.trajectories
    )
    with styled():
        _, shown, caption = figure4.draw(replace(result, trajectories=points), EN)
    lower = {x: (y, mark) for panel, series, x, y, _, _, mark in shown if series == "lower quartile"}
    assert lower[12.0] == (20.0, "<")
    assert lower[0.0][1] == "="
    assert "open with an arrow" in caption


def test_a_missing_visit_counts_in_n_only_where_it_is_known(seven: StudyResult, drawn: Drawn) -> None:
    """The n above each time point is that of the patients with a value there."""
    known = {name: {p.visit.patient for p in seven.trajectories if p.timepoint == name} for name in ("M00", "M03")}
    rows = {r["series"]: float(r["y"]) for r in table(drawn, "figure4") if r["panel"] == "n"}
    assert {name: rows[name] for name in known} == {name: len(who) for name, who in known.items()}
    assert rows["M03"] < 7


def test_few_patients_have_rows_of_doses_and_relapses_and_many_have_counts() -> None:
    """14 patients: 14 rows. 15: two strips of counts, whose bars hold every event of the months shown."""
    with styled():
        figure, _, _ = figure4.draw(cohort(14), EN)
        assert [label.get_text() for label in figure.axes[1].get_yticklabels()] == [f"PT{n:02d}" for n in range(1, 15)]
        figure, points, caption = figure4.draw(cohort(15), EN)
    bars = [sum(bar.get_height() for bar in axes.patches) for axes in figure.axes[1:]]
    events = [point[6] for point in points if point[0] == "event"]
    assert bars == [events.count("relapse"), events.count("dose")]
    assert "counts a month" in caption
    assert "lie outside the months shown; Figure 2 has all" in caption


def test_hollow_is_within_the_assays_error_and_a_ring_another_plate() -> None:
    """Markers of one course: baseline and a change filled, no change hollow, the other plate ringed."""
    course = courses.courses(cohort(7).trajectories)["PT05"]
    point = replace(course[1].point, change=Change.NONE, flags=("other-plate-than-baseline",))
    course = [course[0], courses.Seen(point, course[1].value), course[2]]
    with styled():
        axes = figure4.new_figure(5, 4).subplots()
        figure4.draw_course(axes, course, 0, few=True)
    looks = [(line.get_markerfacecolor(), line.get_markersize()) for line in axes.lines if len(line.get_xdata()) == 1]
    assert looks[0] == ("#0072B2", 4.5)
    assert ("white", 4.5) in looks
    assert ("none", 9) in looks
    unknown = replace(course[1], point=replace(point, change=Change.UNKNOWN, flags=()))
    with styled():
        axes = figure4.new_figure(5, 4).subplots()
        figure4.draw_course(axes, [unknown], 0, few=True)
    assert [line.get_markerfacecolor() for line in axes.lines if line.get_marker() == "o"] == ["#0072B2"]


@pytest.mark.parametrize(
    ("quantity", "label"),
    [("titer", "titer (interpolated at the cut-off)"), ("ratio", "ratio of MFI"), ("delta", "delta (MFI)"),
     ("units", "AU"), ("index", "IgG binding index")],
)  # fmt: skip
def test_the_axis_names_the_quantity_followed(quantity: str, label: str) -> None:
    result = cohort(3, trajectory={"quantity": quantity})
    with styled():
        figure, _, caption = figure4.draw(result, EN)
        figure.draw_without_rendering()
    assert figure.axes[0].get_ylabel() == label
    ticks = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert not any("e" in tick for tick in ticks)
    assert all(tick.startswith("1:") == (quantity == "titer") for tick in ticks)
    assert caption.startswith(quantity.capitalize())


@pytest.mark.parametrize("n", [1, 7, 14, 200])
def test_names_do_not_cover_each_other(n: int) -> None:
    """At the right of Figure 4, however close the courses end."""
    with styled():
        figure, _, _ = figure4.draw(cohort(n), EN)
        figure.draw_without_rendering()
    names = [text for text in figure.axes[0].texts if getattr(text, "arrowprops", None)]
    assert len(names) == (n + (n > 1) if n <= 14 else 1)
    boxes = [Text.get_window_extent(text) for text in names]  # without its line
    assert not any(a.y0 < b.y1 - 1 and b.y0 < a.y1 - 1 for a, b in combinations(boxes, 2))


def test_names_move_no_further_than_they_must() -> None:
    """By hand: two at one place part half a gap each; one far off stays; at the edge they move inwards."""
    assert figure4._apart([5.0, 5.0, 9.0], 1.0, 0.0, 10.0) == [4.5, 5.5, 9.0]
    assert figure4._apart([0.0, 0.0, 0.0], 1.0, 0.0, 10.0) == [0.0, 1.0, 2.0]
    assert figure4._apart([10.0, 10.0], 1.0, 0.0, 10.0) == [9.0, 10.0]
    assert figure4._apart([3.0], 1.0, 0.0, 10.0) == [3.0]


# --- what is printed ----------------------------------------------------------------------------------


def test_tests_are_printed_with_exactness_n_and_the_smallest_p(seven: StudyResult, drawn: Drawn) -> None:
    """In the figures and in their captions; the primary contrast without correction."""
    primary = "signed-rank test (exact), M12 - M00, n = 7: p = 0.016 (smallest attainable p 0.016)"
    assert primary in drawn.captions["figure4"]
    with styled():
        figure, _, _ = figure4.draw(seven, EN)
    assert primary in figure.axes[0].get_title(loc="left")
    assert "adjusted p = 0.062" in drawn.captions["figure3"]
    assert "Poisson test (exact), after / before, n = 7: p = 0.00049" in drawn.captions["figure1"]


def test_sd_and_sem_are_never_left_unsaid(seven: StudyResult, drawn: Drawn) -> None:
    """Figure 1 draws SEM and says so, the caption has the SD; Figure 3 draws the SD, the caption has the SEM."""
    with styled():
        one, _, _ = figure1.draw(seven, EN)
        three, _, _ = figure3.draw(seven, EN)
    assert any("mean ± SEM" in text.get_text() for text in one.axes[0].texts)
    assert [text.get_text() for text in three.legends[0].get_texts()] == ["mean ± SD", "median"]
    for name in ("figure1", "figure3"):
        assert "SD 1." in drawn.captions[name]
        assert "SEM 0." in drawn.captions[name]
    row = next(r for r in seven.summaries if r.timepoint == "before")
    bar = next(r for r in table(drawn, "figure1") if r["panel"] == "mean" and r["series"] == "before")
    assert float(bar["high"]) - float(bar["y"]) == pytest.approx(row.sem, abs=1e-4)
    assert bar["mark"] == "SEM"


def test_figure_1_prints_person_years_and_the_caveat(drawn: Drawn) -> None:
    assert "23 relapses in 7.00 patient-years of 7 patients" in drawn.captions["figure1"]
    assert "regression to the mean" in drawn.captions["figure1"]
    pooled = [r for r in table(drawn, "figure1") if r["panel"] == "pooled rate"]
    assert [r["series"] for r in pooled] == ["before", "after"]
    assert all(r["low"] and r["high"] for r in pooled)


def test_a_side_that_was_not_observed_has_no_rate() -> None:
    """Neither 0 nor a point; the other side is drawn."""
    result = cohort(3, tested=False)
    lacking = replace(result.followed[0], years_before=NAN, relapses_before=0)
    assert math.isnan(figure1.rates(lacking)[0])
    with styled():
        _, points, caption = figure1.draw(replace(result, followed=(lacking, *result.followed[1:])), EN)
    assert sum(p[0] == "patient" for p in points) == 5
    assert "2.00 patient-years of 2 patients" in caption


def test_a_figure_without_statistics_shows_only_the_data() -> None:
    """No bars, no pooled rates, no test; the patients' own numbers stay."""
    made = draw_all(cohort(7, tested=False))
    assert {r["panel"] for r in table(made, "figure1")} == {"patient"}
    assert not any("test" in made.captions[f"figure{n}"].lower().split("no test")[0] for n in (1, 2, 3, 4))
    assert "mean" not in made.captions["figure3"]


def test_which_test_is_printed() -> None:
    """The primary contrast, else the last signed-rank test, else the last with a p; rows without a p never."""
    row = Statistic("figure3", "pain", "M06 - M00", "signed-rank", "exact", 7, p=0.03)
    later, other = replace(row, contrast="M12 - M00"), replace(row, test="friedman")
    assert shown_test([row, later, other], "pain") is later
    assert shown_test([replace(row, primary=True), later, other], "pain").contrast == "M06 - M00"
    assert shown_test([other, replace(row, p=NAN)], "pain") is other
    assert shown_test([row], "fatigue") is None
    assert (p_text(0.0156), p_text(0.00002), p_text(1.0)) == ("= 0.016", "< 0.0001", "= 1")
    assert words_of_test(replace(row, p_adjusted=0.06)).endswith("p = 0.03, adjusted p = 0.06")
    assert folded("a bb ccc", 4) == "a bb\nccc"
    assert folded("検定 の 結果", 7) == "検定 の\n結果"


@pytest.mark.parametrize("n", [1, 7, 200])
def test_every_figure_says_that_the_study_is_simulated(n: int) -> None:
    """The assay's name stands above each."""
    result = cohort(n)
    with styled():
        made = [figure1.draw(result, EN), *figure2.sheets(result, EN), figure3.draw(result, EN)]
        made.append(figure4.draw(result, EN))
    for figure, _, _ in made:
        above = figure.get_suptitle() + "".join(axes.get_title(loc="left") for axes in figure.axes)
        assert "AQP4-M23 live CBA (simulated)" in above


@pytest.mark.parametrize("n", [1, 7, 200])
def test_nothing_reaches_beyond_the_figure(n: int) -> None:
    """Titles, labels and legends of every figure lie within its edges."""
    result = cohort(n)
    with styled():
        made = [figure1.draw(result, EN), figure2.sheets(result, EN)[-1], figure3.draw(result, EN)]
        made.append(figure4.draw(result, EN))
        for figure, _, _ in made:
            figure.draw_without_rendering()
            figure.set_layout_engine("none")
            figure.set_dpi(150)  # as PNG is written
            figure.draw_without_rendering()
            box = figure.get_tightbbox()
            width, height = figure.get_size_inches()
            assert box.x0 >= -0.01
            assert box.y0 >= -0.01
            assert box.x1 <= width + 0.01
            assert box.y1 <= height + 0.01


# --- what is missing ----------------------------------------------------------------------------------


def test_a_figure_that_is_not_made_says_what_to_add() -> None:
    whole = cohort(3)
    assert missing_figures(whole) == []
    bare = missing_figures(cohort(3, clinical=False))
    assert [check.subject for check in bare] == ["figure1", "figure2", "figure3"]
    assert {(c.scope, c.check, c.verdict) for c in bare} == {("run", "figure-not-made", Verdict.PASS)}
    assert all("no clinical table; add one as clinical.csv" in c.message for c in bare)
    assert "relapse, dose, observation-start and observation-end" in bare[0].message
    assert "pain or fatigue" in bare[2].message
    kept = tuple(e for e in whole.clinical if e.kind in (ClinicalKind.RELAPSE, ClinicalKind.DOSE))
    found = missing_figures(replace(whole, clinical=kept, followed=()))
    assert [check.subject for check in found] == ["figure1", "figure3"]
    assert "add rows of kind observation-start and observation-end to the clinical table" in found[0].message
    unseen = tuple(replace(one, years_before=NAN, years_after=NAN) for one in whole.followed)
    (check,) = missing_figures(replace(whole, followed=unseen))
    assert check.subject == "figure1"
    (check,) = missing_figures(cohort(3, visits=False))
    assert check.subject == "figure4"
    assert "add visits.csv" in check.message
    unknown = tuple(replace(p, value=None) for p in whole.trajectories)
    (check,) = missing_figures(replace(whole, trajectories=unknown))
    assert "no visit has a value" in check.message


@pytest.mark.parametrize(("clinical", "visits"), [(False, True), (True, False), (False, False)])
def test_what_is_drawn_and_what_is_missing_are_all_four(clinical: bool, visits: bool) -> None:
    """Without a clinical table, with one and no visits, with neither."""
    result = cohort(3, clinical, visits)
    made = draw_all(result)
    assert {*made.captions, *(check.subject for check in missing_figures(result))} == {
        "figure1", "figure2", "figure3", "figure4",
    }  # fmt: skip
    assert not set(made.captions) & {check.subject for check in missing_figures(result)}


# --- language -----------------------------------------------------------------------------------------


def test_every_label_has_both_languages_with_the_same_values() -> None:
    """A label that names a value in one language names it in the other."""
    for key, (english, japanese) in _WORDS.items():
        assert english, key
        assert japanese, key
        assert sorted(w for w in english.split("{")[1:]) or "{" not in japanese, key
        assert {part.split("}")[0] for part in english.split("{")[1:]} == {
            part.split("}")[0] for part in japanese.split("{")[1:]
        }, key


def test_without_a_font_labels_are_english_and_a_doubt_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "japanese_font", lambda: None)
    result = replace(cohort(1), assay=assay(figures={"language": "ja"}))
    made = draw_all(replace(result, clinical=()))
    (doubt,) = made.doubts
    assert (doubt.check, doubt.verdict) == ("font-missing", Verdict.WARN)
    assert "Noto Sans CJK JP" in doubt.message
    assert made.files["figure4.svg"] == draw_all(replace(cohort(1), clinical=())).files["figure4.svg"]
    assert draw_all(replace(cohort(1), clinical=())).doubts == ()


def test_japanese_labels() -> None:
    """Every letter of every label has a glyph in the font that was found."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    font = fonts.japanese_font()
    if font is None:
        pytest.skip("no font with Japanese letters is installed on this machine")
    made = draw_all(cohort(3, figures={"language": "ja"}))
    assert made.doubts == ()
    assert made.files["figure4.svg"] != draw_all(cohort(3)).files["figure4.svg"]
    known = get_font(findfont(FontProperties(family=font))).get_charmap()
    latin = get_font(findfont(FontProperties(family="DejaVu Sans"))).get_charmap()
    letters = {letter for _, japanese in _WORDS.values() for letter in japanese if letter != "\n"}
    assert sorted(letter for letter in letters if ord(letter) not in known and ord(letter) not in latin) == []
    with styled(font):
        figure, _, _ = figure4.draw(cohort(3), Labels("ja"))
    assert figure.axes[-1].get_xlabel() == "ベースラインからの月数"


def test_the_first_usual_family_that_is_installed_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from matplotlib import font_manager

    for installed, found in (
        (("DejaVu Sans", "Meiryo", "IPAexGothic"), "IPAexGothic"),
        (("DejaVu Sans", "MS Gothic"), "MS Gothic"),
        (("DejaVu Sans",), None),
    ):
        manager = SimpleNamespace(ttflist=[SimpleNamespace(name=name) for name in installed])
        monkeypatch.setattr(font_manager, "fontManager", manager)
        assert fonts.japanese_font() == found


# --- the report ---------------------------------------------------------------------------------------


def test_the_report_shows_figures_trajectories_and_statistics(seven: StudyResult, drawn: Drawn) -> None:
    """Four figures with captions; the primary contrast first; folds with their bound, limit and call."""
    html = page.render(seven, drawn)
    for words in ("Figure 1: annualised", "Figure 2: course", "Figure 3: pain", "Figure 4: patients over time"):
        assert words in html
    assert html.index("M12 - M00 (primary)") < html.index("all time points") < html.index("SD (n - 1)")
    assert "not corrected" in html
    assert "2-fold (an assumption)" in html
    assert html.count("data:image/svg+xml") == 4
    assert "not a prediction" not in html


def test_rises_and_losses_are_information_not_prediction(seven: StudyResult, drawn: Drawn) -> None:
    first = replace(seven.trajectories[0], notes=("two-fold-rise",))
    html = page.render(replace(seven, trajectories=(first, *seven.trajectories[1:])), drawn)
    assert "two-fold-rise are information about the serum, not a prediction" in html


def test_the_report_names_the_sheets_that_it_does_not_hold() -> None:
    """Three sheets stand in the page."""
    captions = {f"figure2{end}": "words" for end in ("", "-2", "-3", "-4", "-5")}
    files = {f"{name}.svg": b"<svg/>" for name in captions}
    html = page.render(cohort(1), Drawn(files, captions))
    assert html.count("data:image/svg+xml") == 3
    assert "figures/ as figure2-4 to figure2-5" in html


def test_a_rate_whose_upper_limit_is_open_is_drawn() -> None:
    """No relapse after and a ratio of 0 with limits from 0: nothing is divided by it."""
    result = cohort(1)
    rows = tuple(
        replace(row, effect=Estimate(0.0, 0.0, NAN)) if row.contrast == "after" else row for row in result.statistics
    )
    with styled():
        _, points, caption = figure1.draw(replace(result, statistics=rows), EN)
    assert ("pooled rate", "after") in {(p[0], p[1]) for p in points}
    assert "limits 0 to …" in caption
