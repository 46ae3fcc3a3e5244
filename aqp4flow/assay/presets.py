"""Published ways to read such an assay, by name: settings laid under the lab's own, and what is not known about them.

A preset decides nothing in silence. What it sets can be printed (`aqp4flow presets NAME`), keys of assay.toml win over
it, and each that departs from it is a row of checks.csv; so is each part of it that is not verified in print, and what
a plate lacks of what it asks for. No preset carries an absolute number of MFI: such a number holds for one cytometer.
The same words stand in docs/presets.md, which a test holds to this module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aqp4flow.errors import ConfigError
from aqp4flow.model import WITH_SERUM, Check, Role, Verdict, Well
from aqp4flow.sheet import nearest

Settings = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Demands:
    """What a preset asks of a plate beyond settings.

    `antigen`: words that the antigen's name must hold. `replicates` wells of each serum at the screening dilution.
    `negatives` sera. `positives`: of the role positive. `control_cells`: wells of them. `viability`: a channel that
    tells dead cells. `gates`: from a file, not learned.
    """

    antigen: tuple[str, ...] = ()
    replicates: int = 1
    negatives: int = 0
    positives: int = 0
    control_cells: bool = False
    viability: bool = False
    gates: bool = False


@dataclass(frozen=True)
class Preset:
    """One published read-out. `settings` are tables of assay.toml, `unverified` whole sentences."""

    name: str
    line: str
    source: str
    settings: Settings
    demands: Demands
    unverified: tuple[str, ...] = ()

    @property
    def screening(self) -> float | None:
        """The dilution at which sera are screened, where it is known."""
        dilution: float | None = self.settings.get("cutoff", {}).get("screening_dilution")
        return dilution


_MAYO_AQP4 = Preset(
    name="mayo-aqp4-m1",
    line="index of 2.00 at 1:5, in duplicate, AQP4-M1; titer to the last dilution with an index of 2",
    source="Mayo Clinic Laboratories, test catalogue, NMOFS, performance (method description)",
    settings={
        "assay": {"comparator": "same-well"},
        "readout": {"statistic": "median", "decide": "index"},
        "cutoff": {"rule": "fixed", "index": 2.0, "second": "none", "screening_dilution": 5.0},
        "titer": {"least": 5.0},
    },
    demands=Demands(antigen=("AQP4", "M1"), replicates=2),
    unverified=(
        "Mayo's GFP-negative cells include cells of low expression; here a gap lies between the two populations, so "
        "that the index comes out a little higher.",
    ),
)
_MAYO_MOG = Preset(
    name="mayo-mog",
    line="index of 2.5 at 1:20, MOG; confirmed when the endpoint titer is 20 or more",
    source="Sechi et al., JAMA Neurology 2021;78:741 (Mayo MOG-IgG1: index 2.5 and end titer 1:20)",
    settings={
        "assay": {"comparator": "same-well"},
        "readout": {"statistic": "median", "decide": "index"},
        "cutoff": {"rule": "fixed", "index": 2.5, "second": "none", "screening_dilution": 20.0},
        "titer": {"least": 20.0},
    },
    demands=Demands(antigen=("MOG",)),
    unverified=(
        "The numbers were read in a copy of the paper; that sera are screened at 1:20 follows from the end titer only.",
        "The test is named for IgG1: the secondary antibody must be specific for it, which no setting can see.",
    ),
)
_SYDNEY_MOG = Preset(
    name="sydney-mog",
    line="delta above the mean + 3 SD of 20 or more control sera, MOG",
    source="Ramanathan et al., Neurology Neuroimmunology & Neuroinflammation 2014;1:e40; Tea et al., Frontiers in "
    "Immunology 2020;11:119",
    settings={
        "readout": {"statistic": "median", "decide": "delta"},
        "cutoff": {"rule": "mean-sd", "k": 3.0, "second": "none"},
    },
    demands=Demands(antigen=("MOG",), negatives=20),
    unverified=(
        "The published cut-off numbers are not at hand; Tea et al. compare several multiples of the SD and ROC, and "
        "3 SD stands here.",
        "Dilution and control cells are not set: choose those of the lab.",
    ),
)
_MUNICH_MOG = Preset(
    name="munich-mog",
    line="ratio of MOG-EGFP cells to EGFP-only cells in a well beside them, within a fixed EGFP rectangle",
    source="Spadaro & Meinl, Methods in Molecular Biology 2016;1304:99 (protocol)",
    settings={
        "assay": {"comparator": "paired-well"},
        "readout": {"statistic": "median", "decide": "ratio"},
        "cutoff": {"rule": "frey", "second": "none"},
    },
    demands=Demands(antigen=("MOG",), control_cells=True, viability=True, gates=True),
    unverified=(
        "No cut-off of the ratio is at hand: Frey's rule on the plate's negative sera stands here.",
        "Dilution is not set: choose that of the lab.",
    ),
)
_CHIBA_MOG = Preset(
    name="chiba-mog",
    line="ratio of positive cells of 1.52, MOG",
    source="FACS-CBA of Chiba University, Journal of Neuroimmunology 2019;336:577021 (abstract)",
    settings={
        "readout": {"statistic": "median", "decide": "rpc"},
        "cutoff": {"rule": "fixed", "rpc": 1.52, "second": "none"},
    },
    demands=Demands(antigen=("MOG",)),
    unverified=(
        "Where a positive cell begins is not at hand: here above the 99th percentile of the non-expressing cells beside"
        " it, so that 1.52 need not mean the same.",
        "An MFI of 6.39 is published beside it; whether that is a delta or a ratio is not at hand, and it is not used.",
        "Dilution and control cells are not set: choose those of the lab.",
    ),
)
_SEOUL_AQP4 = Preset(
    name="seoul-aqp4-m23",
    line="index of 3.5 and ratio of 2.0, AQP4-M23; 2 to 3.5 borderline, grades at 10 and 50",
    source="Yang et al., PLoS One 2016;11:e0162900",
    settings={
        "readout": {"decide": "index"},
        "cutoff": {
            "rule": "fixed",
            "index": 3.5,
            "second": "ratio",
            "ratio": 2.0,
            "equivocal": 2.0,
            "grades": [10.0, 50.0],
        },
    },
    demands=Demands(antigen=("AQP4", "M23")),
    unverified=(
        "The formula of MFIi (mean fluorescence intensity index) is not at hand: the index stands in for it. With the "
        "index the ratio adds hardly anything, for both are nearly the same number.",
        "MFI is a mean in the paper, of which kind is not at hand; here it stays the median.",
        "Dilution, replicates and control cells are not set: choose those of the lab.",
    ),
)
_INNSBRUCK = Preset(
    name="innsbruck",
    line="delta against control transfectants at 1:100 in duplicate, dead cells out by 7-AAD, cut-off by ROC",
    source="Ramberger et al., PLoS One 2015;10:e0122037 (NMDAR antibodies)",
    settings={
        "assay": {"comparator": "paired-well"},
        "readout": {"statistic": "median", "decide": "delta"},
        "cutoff": {"rule": "roc", "second": "none", "screening_dilution": 100.0},
    },
    demands=Demands(replicates=2, positives=3, control_cells=True, viability=True),
    unverified=(
        "The method was read in copies of the paper. Its delta of 20700 belongs to an Accuri C6 and to NMDAR, and is "
        "not used; cut-offs moved between its series, so each needs controls of its own.",
    ),
)
_NCNP = Preset(
    name="ncnp-figure4",
    line="ratio and delta against vector cells, each patient followed as percent of baseline",
    source="Araki et al., Neurology 2014;82:1302 (Figure 4)",
    settings={
        "assay": {"comparator": "paired-well"},
        "readout": {"statistic": "median", "decide": "ratio"},
        "cutoff": {"rule": "frey", "second": "delta"},
        "trajectory": {"quantity": "ratio"},
    },
    demands=Demands(antigen=("AQP4",), control_cells=True),
    unverified=(
        "Read-out, dilution, axis and test of the figure are from memory only: the paper's methods are not at hand.",
        "No cut-off is published with the figure: Frey's rule on the plate's negative sera stands here.",
    ),
)

PRESETS: Mapping[str, Preset] = {
    preset.name: preset
    for preset in (
        _MAYO_AQP4,
        _MAYO_MOG,
        _SYDNEY_MOG,
        _MUNICH_MOG,
        _CHIBA_MOG,
        _SEOUL_AQP4,
        _INNSBRUCK,
        _NCNP,
    )
}


def preset_of(name: str, where: str) -> Preset:
    """The preset of that name; raises ConfigError for one there is not."""
    if name not in PRESETS:
        hint = nearest(name, PRESETS) or "`aqp4flow presets` lists them"
        raise ConfigError(where, f"there is no preset {name!r}", hint)
    return PRESETS[name]


def laid_under(raw: Mapping[str, Any], preset: Preset) -> dict[str, Any]:
    """The tables of assay.toml with the preset's keys where the lab's own say nothing.

    Where the lab names another rule of the cut-off, or another read-out that decides, the preset's numbers for the
    cut-off have no meaning any more: of [cutoff] the screening dilution alone is then laid under.
    """

    def under(keys: Mapping[str, Any], own: Mapping[str, Any], apart: bool) -> dict[str, Any]:
        return {**{key: value for key, value in keys.items() if not apart or key == "screening_dilution"}, **own}

    return _laid(raw, preset, under)


def laid_over(raw: Mapping[str, Any], preset: Preset) -> dict[str, Any]:
    """The tables of assay.toml with the preset's keys in place of the lab's own.

    Where the lab has another rule of the cut-off, or another read-out that decides, [cutoff] is the preset's alone: its
    other keys belong to what was replaced.
    """

    def over(keys: Mapping[str, Any], own: Mapping[str, Any], apart: bool) -> dict[str, Any]:
        return {**({} if apart else own), **keys}

    return _laid(raw, preset, over)


#: A preset's keys of one table, the lab's own, and whether their cut-offs are of another kind: the keys to use.
_Join = Callable[[Mapping[str, Any], Mapping[str, Any], bool], dict[str, Any]]


def _laid(raw: Mapping[str, Any], preset: Preset, join: _Join) -> dict[str, Any]:
    own = {table: value for table, value in raw.items() if isinstance(value, Mapping)}
    whole = dict(raw)
    apart = _other_cut_off(own, preset)
    for table, keys in preset.settings.items():
        if table in own or table not in raw:  # what is no table is refused later, by name
            whole[table] = join(keys, own.get(table, {}), apart and table == "cutoff")
    if isinstance(whole.get("assay", {}), Mapping):
        whole["assay"] = {**whole.get("assay", {}), "preset": preset.name}
    return whole


def overruled_checks(raw: Mapping[str, Any], preset: Preset) -> list[Check]:
    """A check for each key of assay.toml that the preset asked for on the command line took the place of."""
    used = laid_over(raw, preset)
    return [
        Check(
            "run", preset.name, "preset-overrules", _said(used[table].get(key)), _said(value), Verdict.WARN,
            f"[{table}] {key} of the assay definition is {_said(value)}; --preset has {_said(used[table].get(key))}.",
        )
        for table in preset.settings
        if isinstance(raw.get(table), Mapping)
        for key, value in raw[table].items()
        if key != "preset" and _plain(used[table].get(key)) != _plain(value)
    ]  # fmt: skip


def _other_cut_off(own: Mapping[str, Mapping[str, Any]], preset: Preset) -> bool:
    pairs = (("cutoff", "rule"), ("readout", "decide"))
    return any(
        key in own.get(table, {}) and own[table][key] != preset.settings.get(table, {}).get(key) for table, key in pairs
    )


# --- what there is to say ---------------------------------------------------------------------------


def preset_checks(resolved: Settings) -> list[Check]:
    """Checks of the whole run: which preset, what departs from it, what of it is not verified in print.

    `resolved` is the assay definition as it is used, a dictionary a table.
    """
    name = resolved["assay"].get("preset")
    if not name:
        return []
    preset = PRESETS[name]
    message = f"Preset {preset.name}: {preset.line}. Source: {preset.source}."
    checks = [Check("run", name, "preset", name, "", Verdict.PASS, message)]
    for table, key, wanted, found in departures(preset, resolved):
        message = f"[{table}] {key} is {_said(found)}; the preset has {_said(wanted)}."
        checks.append(Check("run", name, "preset-changed", _said(found), _said(wanted), Verdict.WARN, message))
    antigen = resolved["assay"]["antigen"]
    if not all(word in antigen.upper() for word in preset.demands.antigen):
        wanted = "-".join(preset.demands.antigen)
        message = f"[assay] antigen is {antigen}; the preset is for {wanted}."
        checks.append(Check("run", name, "preset-changed", antigen, wanted, Verdict.WARN, message))
    checks += [
        Check("run", name, "preset-unverified", "", "", Verdict.WARN, sentence) for sentence in preset.unverified
    ]
    return checks


def departures(preset: Preset, resolved: Settings) -> list[tuple[str, str, Any, Any]]:
    """Table, key, the preset's value and the one in use, where they differ."""
    return [
        (table, key, wanted, resolved[table][key])
        for table, keys in preset.settings.items()
        for key, wanted in keys.items()
        if _plain(resolved[table][key]) != _plain(wanted)
    ]


def _plain(value: object) -> object:
    return list(value) if isinstance(value, (list, tuple)) else value


def _said(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, (list, tuple)):
        return ", ".join(_said(one) for one in value) or "none"
    return f"{value:g}" if isinstance(value, float) else str(value)


def plate_checks(plate: str, wells: Sequence[Well], resolved: Settings) -> list[Check]:
    """What a plate has not, of what the preset asks for; one passing check where it has it all."""
    name = resolved["assay"].get("preset")
    if not name:
        return []
    lacks = _lacks(PRESETS[name], [well for well in wells if not well.excluded], resolved)
    if not lacks:
        return [Check("plate", plate, "preset-plate", 0, "", Verdict.PASS, f"The plate is as preset {name} asks.")]
    return [
        Check("plate", plate, "preset-plate", found, wanted, Verdict.WARN, f"Preset {name} asks for {wanted}: {found}.")
        for wanted, found in lacks
    ]


def _lacks(preset: Preset, wells: Sequence[Well], resolved: Settings) -> list[tuple[str, str]]:
    """What is asked for, and what there is instead."""
    demands, lacks = preset.demands, []
    sera = [well for well in wells if well.role in WITH_SERUM and well.cells != "control"]
    screening = resolved["cutoff"].get("screening_dilution") or preset.screening
    if screening is not None and not any(well.dilution == screening for well in sera):
        there = ", ".join(f"1:{x:g}" for x in sorted({well.dilution for well in sera if well.dilution is not None}))
        lacks.append((f"screening at 1:{screening:g}", f"the plate has {there or 'no serum'}"))
    counts: dict[tuple[str, float | None], int] = {}
    for well in sera:
        if screening is None or well.dilution == screening:
            counts[well.serum, well.dilution] = counts.get((well.serum, well.dilution), 0) + 1
    few = sum(n < demands.replicates for n in counts.values())
    if few:
        wanted = f"{demands.replicates} wells of each serum"
        lacks.append((wanted, f"{few} of {len(counts)} sera at a dilution have fewer"))
    for role, wanted_sera in ((Role.NEGATIVE, demands.negatives), (Role.POSITIVE, demands.positives)):
        found = len({well.serum for well in wells if well.role is role})
        if found < wanted_sera and resolved["cutoff"].get("source") != "history":
            lacks.append((f"{wanted_sera} or more sera of the role {role.value}", f"the plate has {found}"))
    if demands.control_cells and not any(well.cells == "control" for well in wells):
        lacks.append(("control cells in wells beside the antigen's", "the plate map names none"))
    if demands.viability and not resolved["channels"].get("viability"):
        lacks.append(("dead cells left out", "[channels] viability is not set"))
    if demands.gates and resolved["gating"]["source"] == "auto":
        lacks.append(("a fixed gate on the reporter", "[gating] source is auto"))
    return lacks


# --- as text ------------------------------------------------------------------------------------------


def toml_of(preset: Preset) -> str:
    """An assay.toml that spells the preset out; antigen and channels are examples to be replaced."""
    head = [f"# {preset.name}: {preset.line}", f"# Source: {preset.source}"]
    head += [f"# Not verified: {sentence}" for sentence in preset.unverified]
    antigen = "-".join(preset.demands.antigen) or "AQP4-M23"
    tables: dict[str, dict[str, Any]] = {
        "assay": {"preset": preset.name, "antigen": antigen},
        "channels": {"reporter": "FITC-A", "signal": "APC-A"},
    }
    if preset.demands.viability:
        tables["channels"]["viability"] = "PerCP-Cy5-5-A"
    for table, keys in preset.settings.items():
        tables[table] = {**tables.get(table, {}), **keys}
    lines = ["\n".join(head)]
    for table, keys in tables.items():
        note = "  # yours: `aqp4flow fcs FILE` lists them" if table == "channels" else ""
        lines.append("\n".join([f"[{table}]{note}", *(f"{key} = {_toml(value)}" for key, value in keys.items())]))
    return "\n\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml(one) for one in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value).lower()


def facts(preset: Preset) -> dict[str, Any]:
    """A preset as JSON."""
    return {
        "name": preset.name,
        "line": preset.line,
        "source": preset.source,
        "settings": {table: dict(keys) for table, keys in preset.settings.items()},
        "unverified": list(preset.unverified),
    }
