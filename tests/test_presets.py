"""Presets: what they set, what they say, and that the documentation says the same."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from aqp4flow.assay.cutoffs.cutoff import CutOffs
from aqp4flow.assay.definition import Assay, CurveSettings, Readout, overruled, read_definition
from aqp4flow.assay.presets import (
    PRESETS,
    Preset,
    departures,
    laid_under,
    plate_checks,
    preset_checks,
    preset_of,
    toml_of,
)
from aqp4flow.assay.titration import Rules, confirmed, titrate
from aqp4flow.errors import ConfigError
from aqp4flow.model import NAN, CutOff, Estimate, Reactivity, Role, Status, Well

PAGE = (Path(__file__).parents[1] / "docs" / "presets.md").read_text(encoding="utf-8")
CHANNELS = {"reporter": "FITC-A", "signal": "APC-A"}

every = pytest.mark.parametrize("preset", PRESETS.values(), ids=list(PRESETS))


def written(folder: Path, text: str) -> Path:
    path = folder / "assay.toml"
    path.write_text(text, encoding="utf-8")
    return path


def resolved(**tables: dict) -> dict:
    """A definition with all defaults, as a dictionary a table; keys given replace them."""
    whole = Assay.model_validate({"assay": {"antigen": "AQP4-M1"}, "channels": CHANNELS}).model_dump()
    for table, keys in tables.items():
        whole[table] = {**whole[table], **keys}
    return whole


def follow(preset: Preset, **tables: dict) -> dict:
    """The dictionary of a definition that follows a preset to the letter, then with keys changed."""
    own = {"assay": {"antigen": "-".join(preset.demands.antigen) or "NMDAR", "preset": preset.name}}
    laid = resolved(**{table: dict(keys) for table, keys in preset.settings.items()})
    for table, keys in {**own, **tables}.items():
        laid[table] = {**laid[table], **keys}
    return laid


def codes(checks: list) -> list[str]:
    return [check.check for check in checks]


# --- values -------------------------------------------------------------------------------------------


def test_the_published_numbers() -> None:
    """Read off the sources, one by one."""
    numbers = {
        "mayo-aqp4-m1": ("cutoff", {"index": 2.0, "screening_dilution": 5.0}),
        "mayo-mog": ("cutoff", {"index": 2.5, "screening_dilution": 20.0}),
        "sydney-mog": ("cutoff", {"rule": "mean-sd", "k": 3.0}),
        "munich-mog": ("assay", {"comparator": "paired-well"}),
        "chiba-mog": ("cutoff", {"rpc": 1.52}),
        "seoul-aqp4-m23": ("cutoff", {"index": 3.5, "ratio": 2.0, "equivocal": 2.0, "grades": [10.0, 50.0]}),
        "innsbruck": ("cutoff", {"rule": "roc", "screening_dilution": 100.0}),
        "ncnp-figure4": ("trajectory", {"quantity": "ratio"}),
    }
    assert list(numbers) == list(PRESETS)
    for name, (table, keys) in numbers.items():
        assert keys.items() <= PRESETS[name].settings[table].items()
    decides = [preset.settings["readout"]["decide"] for preset in PRESETS.values()]
    assert decides == ["index", "index", "delta", "ratio", "rpc", "index", "delta", "ratio"]
    least = {name: preset.settings["titer"]["least"] for name, preset in PRESETS.items() if "titer" in preset.settings}
    assert least == {"mayo-aqp4-m1": 5.0, "mayo-mog": 20.0}


@every
def test_no_preset_holds_an_absolute_number_of_mfi(preset: Preset) -> None:
    assert "delta" not in preset.settings["cutoff"]
    assert preset.unverified


@every
def test_a_preset_is_known_word_for_word_in_the_documentation(preset: Preset) -> None:
    """Every preset, its source, every key with its value, every warning."""
    part = " ".join(re.split(r"^## ", PAGE, flags=re.MULTILINE)[1 + list(PRESETS).index(preset.name)].split())
    assert part.startswith(preset.name)
    for sentence in (preset.source, *preset.unverified):
        assert sentence in part
    for table, keys in preset.settings.items():
        assert f"`[{table}]`" in part
        for key, value in keys.items():
            assert f"{key} = {json.dumps(value)}".replace(".0", "") in part.replace(".0", "")
    documented = re.findall(r"`(\w+) = ", part)
    assert sorted(documented) == sorted(key for keys in preset.settings.values() for key in keys)


def test_the_documentation_knows_no_other_preset() -> None:
    headings = re.findall(r"^## (.*)$", PAGE, re.MULTILINE)
    assert headings == [*PRESETS, "Left out, and why"]


# --- as an assay definition -----------------------------------------------------------------------------


@every
def test_a_preset_printed_is_an_assay_definition(preset: Preset, tmp_path: Path) -> None:
    """It reads back, departs from itself in nothing, and needs no key that the preset does not lay under."""
    found = read_definition(written(tmp_path, toml_of(preset)))
    assert found.assay.preset == preset.name
    assert departures(preset, found.model_dump()) == []
    assert codes(preset_checks(found.model_dump())) == ["preset"] + ["preset-unverified"] * len(preset.unverified)
    bare = tomllib.loads(toml_of(preset))
    short = {table: bare[table] for table in ("assay", "channels")}
    text = "".join(f"[{t}]\n" + "".join(f'{k} = "{v}"\n' for k, v in keys.items()) for t, keys in short.items())
    assert read_definition(written(tmp_path, text)) == found


@every
def test_what_is_printed_is_toml_with_all_settings(preset: Preset) -> None:
    read = tomllib.loads(toml_of(preset))
    for table, keys in preset.settings.items():
        assert keys.items() <= read[table].items()
    for sentence in preset.unverified:
        assert f"# Not verified: {sentence}" in toml_of(preset)


NAMED = """[assay]
antigen = "AQP4-M1"
preset = "mayo-aqp4-m1"
[channels]
reporter = "F"
signal = "A"
"""


def test_a_key_of_the_lab_wins_and_is_told(tmp_path: Path) -> None:
    """An index of 2.2 instead of 2.0: used, and a warning names both."""
    found = read_definition(written(tmp_path, f"{NAMED}[cutoff]\nindex = 2.2\n"))
    assert found.cutoff.index == 2.2
    (changed,) = [check for check in preset_checks(found.model_dump()) if check.check == "preset-changed"]
    assert (changed.value, changed.limit, changed.verdict.value) == ("2.2", "2", "warn")


def test_grades_that_the_lab_takes_away_are_told_as_none(tmp_path: Path) -> None:
    text = f"{NAMED}[cutoff]\ngrades = []\n".replace("mayo-aqp4-m1", "seoul-aqp4-m23").replace("M1", "M23")
    found = read_definition(written(tmp_path, text))
    told = [check.message for check in preset_checks(found.model_dump()) if check.check == "preset-changed"]
    assert told == ["[cutoff] grades is none; the preset has 10, 50."]


def test_another_rule_takes_the_presets_numbers_away(tmp_path: Path) -> None:
    """Frey's rule has no use for an index of 2; the screening dilution stays. All that went is told."""
    found = read_definition(written(tmp_path, f'{NAMED}[cutoff]\nrule = "frey"\n'))
    assert (found.cutoff.index, found.cutoff.screening_dilution) == (None, 5.0)
    told = [check.message.split(" is ")[0] for check in preset_checks(found.model_dump())
            if check.check == "preset-changed"]  # fmt: skip
    assert told == ["[cutoff] rule", "[cutoff] index", "[cutoff] second"]


def test_a_preset_asked_for_by_hand_wins_and_tells_what_it_replaced(tmp_path: Path) -> None:
    """Of the lab's own [cutoff] nothing is left under another rule; an index of the same rule gives way alone."""
    path = written(tmp_path, f'{NAMED}[cutoff]\nrule = "mean-sd"\nk = 4.0\n[titer]\ndraws = 500\n')
    found = read_definition(path, "mayo-mog")
    assert (found.cutoff.rule, found.cutoff.index, found.cutoff.k, found.titer.draws) == ("fixed", 2.5, 3.0, 500)
    assert [(c.value, c.limit) for c in overruled(path, "mayo-mog")] == [("fixed", "mean-sd"), ("not set", "4")]
    path = written(tmp_path, f"{NAMED}[cutoff]\nindex = 2.2\n")
    assert read_definition(path, "mayo-mog").cutoff.index == 2.5
    assert [(c.value, c.limit) for c in overruled(path, "mayo-mog")] == [("2.5", "2.2")]


def test_settings_are_laid_under_table_by_table() -> None:
    preset = PRESETS["seoul-aqp4-m23"]
    raw = {"assay": {"antigen": "X"}, "cutoff": {"index": 4.0}, "seed": {"value": 1}}
    laid = laid_under(raw, preset)
    assert laid["assay"] == {"antigen": "X", "preset": preset.name}
    assert laid["cutoff"] == {**preset.settings["cutoff"], "index": 4.0}
    assert (laid["readout"], laid["seed"]) == (preset.settings["readout"], {"value": 1})
    assert raw["cutoff"] == {"index": 4.0}
    other = laid_under({**raw, "readout": {"decide": "delta"}}, PRESETS["mayo-aqp4-m1"])
    assert other["cutoff"] == {"screening_dilution": 5.0, "index": 4.0}
    assert laid_under({"assay": "no table"}, preset)["assay"] == "no table"


def test_presets_that_are_none_or_two_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mayo-mog"):
        preset_of("mayo-mogg", "here")
    with pytest.raises(ConfigError, match=r"did you mean 'mayo-aqp4-m1' or 'mayo-mog'\?"):
        preset_of("mayo", "here")
    text = '[assay]\nantigen = "X"\npreset = "chiba-mog"\n[channels]\nreporter = "F"\nsignal = "A"\n'
    asked = read_definition(written(tmp_path, text), "mayo-mog")
    assert (asked.assay.preset, asked.readout.decide) == ("mayo-mog", "index")
    with pytest.raises(ConfigError, match="no preset"):
        read_definition(written(tmp_path, text.replace("chiba", "kyoto")))


# --- checks ---------------------------------------------------------------------------------------------


def test_without_a_preset_there_is_nothing_to_say() -> None:
    assert preset_checks(resolved()) == []
    assert plate_checks("P", [], resolved()) == []


def test_another_isoform_is_told() -> None:
    """AQP4-M23 under Mayo's M1: the index of one is several times that of the other."""
    there = follow(PRESETS["mayo-aqp4-m1"])
    assert "preset-changed" not in codes(preset_checks(there))
    (changed,) = [
        check
        for check in preset_checks(
            follow(PRESETS["mayo-aqp4-m1"], assay={"antigen": "AQP4-M23", "preset": "mayo-aqp4-m1"})
        )
        if check.check == "preset-changed"
    ]
    assert (changed.value, changed.limit) == ("AQP4-M23", "AQP4-M1")


def test_grades_in_a_tuple_are_no_departure() -> None:
    seoul = PRESETS["seoul-aqp4-m23"]
    assert departures(seoul, follow(seoul, cutoff={"grades": (10.0, 50.0)})) == []
    assert departures(seoul, follow(seoul, cutoff={"grades": (10.0, 40.0)})) == [
        ("cutoff", "grades", [10.0, 50.0], (10.0, 40.0))
    ]


def well(name: str, serum: str, dilution: float = 5.0, role: Role = Role.SAMPLE, **facts: str) -> Well:
    return Well("P", name, f"{name}.fcs", role, serum, dilution=dilution, **facts)


def asked(preset: str, wells: list[Well], **tables: dict) -> list[str]:
    return [
        check.limit for check in plate_checks("P", wells, follow(PRESETS[preset], **tables)) if check.verdict != "pass"
    ]


def test_what_a_plate_lacks_is_named() -> None:
    """Mayo: two wells at 1:5 each; an excluded well does not count, a single well at another dilution is no matter."""
    plate = [well("A01", "S"), well("A02", "S"), well("A03", "S", 10.0)]
    assert asked("mayo-aqp4-m1", plate) == []
    assert codes(plate_checks("P", plate, follow(PRESETS["mayo-aqp4-m1"]))) == ["preset-plate"]
    assert asked("mayo-aqp4-m1", [*plate[:1], well("A02", "S", excluded="dry")]) == ["2 wells of each serum"]
    assert asked("mayo-aqp4-m1", plate[2:]) == ["screening at 1:5"]


def test_controls_channels_and_gates_that_presets_ask_for() -> None:
    pair = [well("A01", "S", 100.0, cells="antigen"), well("B01", "S", 100.0, cells="control")]
    assert asked("munich-mog", pair) == ["dead cells left out", "a fixed gate on the reporter"]
    assert asked("munich-mog", pair, channels={"viability": "PI"}, gating={"source": "gates.xml"}) == []
    assert asked("ncnp-figure4", pair[:1]) == ["control cells in wells beside the antigen's"]
    positive = [well(f"C0{i}", f"POS{i // 2}", 100.0, Role.POSITIVE) for i in range(6)]
    doubled = [*pair, well("A02", "S", 100.0, cells="antigen")]
    assert asked("innsbruck", doubled, channels={"viability": "7-AAD"}) == ["3 or more sera of the role positive"]
    assert asked("innsbruck", [*doubled, *positive], channels={"viability": "7-AAD"}) == []
    negatives = [well(f"D{i:02d}", f"N{i}", 50.0, Role.NEGATIVE) for i in range(20)]
    assert asked("sydney-mog", negatives[1:]) == ["20 or more sera of the role negative"]
    assert asked("sydney-mog", negatives) == []
    assert asked("sydney-mog", negatives[1:], cutoff={"source": "history"}) == []


# --- confirmed or not -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("statuses", "least", "flagged"),
    [
        ("++-", 20.0, False),  # endpoint 20
        ("+--", 20.0, True),  # endpoint 10
        ("-+-", 20.0, True),  # below 1:10, and positive once
        ("---", 20.0, False),  # a negative serum has nothing to confirm
        ("+++", 20.0, False),
        ("+--", None, False),
    ],
)
def test_a_positive_serum_below_the_least_endpoint_is_not_confirmed(
    statuses: str, least: float | None, flagged: bool
) -> None:
    """Dilutions 1:10, 1:20, 1:40."""
    rows = [
        Reactivity("P", "S", Role.SAMPLE, 10.0 * 2**i, 1, 500, 100, Estimate(400, 390, 410), Estimate(5, 4, 6), 5, NAN,
                   100, 1.5, Status.POSITIVE if sign == "+" else Status.NEGATIVE)
        for i, sign in enumerate(statuses)
    ]  # fmt: skip
    cutoff = CutOff("delta", 100, "fixed")
    (found,) = titrate(rows, CutOffs(cutoff, None, cutoff, None), [], Rules("delta", CurveSettings(), 200, 1))
    assert ("not-confirmed" in confirmed(found, rows, least).flags) == flagged


# --- the command line -----------------------------------------------------------------------------------


def test_presets_are_listed_and_printed(call) -> None:
    listed = call("presets")
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(PRESETS)
    assert all(preset.line in listed.stdout for preset in PRESETS.values())
    as_json = json.loads(call("presets", "--json").stdout)["presets"]
    assert [one["name"] for one in as_json] == list(PRESETS)
    assert call("presets", "chiba-mog").stdout == toml_of(PRESETS["chiba-mog"])
    assert json.loads(call("presets", "innsbruck", "--json").stdout)["settings"]["cutoff"]["rule"] == "roc"
    wrong = call("presets", "chiba")
    assert (wrong.returncode, wrong.stdout) == (3, "")
    assert "chiba-mog" in wrong.stderr


def test_a_run_by_a_preset_says_so_everywhere(plate: Path, tmp_path: Path, call, table) -> None:
    """Mayo's MOG read-out on a plate that has delta and Frey: index decides at 2.5, and all of it is told."""
    before = call("check", plate, "--preset", "mayo-mog")
    assert before.returncode == 0
    assert "the preset is for MOG" in before.stdout
    done = call("run", plate, "-o", tmp_path / "out", "--preset", "mayo-mog")
    assert done.returncode == 0, done.stderr
    told = table(tmp_path / "out" / "checks.csv")
    checks = [check["check"] for check in told]
    overruled = [(check["value"], check["limit"]) for check in told if check["check"] == "preset-overrules"]
    assert overruled == [("index", "delta"), ("fixed", "frey")]
    assert "[readout] decide of the assay definition is delta" in before.stdout
    assert {"preset", "preset-changed", "preset-unverified", "preset-plate"} <= set(checks)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert (manifest["assay"]["assay"]["preset"], manifest["assay"]["cutoff"]["index"]) == ("mayo-mog", 2.5)
    for row in table(tmp_path / "out" / "reactivity.csv"):
        if row["index"]:
            assert (row["status"] == "positive") == (float(row["index"]) >= 2.5)
    assert "Sechi et al." in (tmp_path / "out" / "report.html").read_text()


def test_every_read_out_that_a_preset_decides_by_can_decide() -> None:
    for preset in PRESETS.values():
        assert Readout(**preset.settings["readout"]).decide == preset.settings["readout"]["decide"]
