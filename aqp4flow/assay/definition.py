"""The assay definition: assay.toml, checked key by key. Every key has a default or is demanded with a hint."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from aqp4flow.assay.presets import laid_over, laid_under, overruled_checks, preset_of
from aqp4flow.errors import ConfigError
from aqp4flow.model import Channel, Check, ScaleName
from aqp4flow.sheet import as_shown, nearest

Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]
Text = Annotated[str, Field(min_length=1)]


_WANTED = {
    bool: "true or false wanted, without quotes",
    int: "a whole number wanted, without quotes",
    float: "a number wanted, without quotes",
}


class _Table(BaseModel):
    """A table of assay.toml: frozen, no unknown keys, and each value of the kind that its key wants.

    A quoted number, or true for a number, is a slip of the pen that would otherwise be taken for 0.99 or 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="wrap")
    @classmethod
    def _of_its_kind(cls, value: Any, read: ValidatorFunctionWrapHandler) -> Any:
        found = read(value)
        several = isinstance(value, (list, tuple)) and isinstance(found, tuple)
        for given, taken in zip(value, found, strict=True) if several else ((value, found),):
            wanted = next((kind for kind in (bool, str) if isinstance(given, kind) != isinstance(taken, kind)), None)
            if wanted is not None:
                raise ValueError(_WANTED[type(taken)])
        return found


class Identity(_Table):
    """[assay]: what is measured. Isoforms are never pooled, so `antigen` has no default.

    `preset` names published settings that were laid under the lab's own (see assay.presets).
    """

    name: Text = "live cell-based assay"
    version: Text = "1"
    antigen: Text
    comparator: Literal["same-well", "paired-well"] = "same-well"
    preset: Text | None = None


class Channels(_Table):
    """[channels]: $PnN or $PnS, exact, or /regular expression/. What has no default may be absent."""

    forward: Text = "FSC-A"
    forward_height: Text | None = None
    forward_width: Text | None = None
    side: Text = "SSC-A"
    viability: Text | None = None
    reporter: Text | None = None
    signal: Text

    @field_validator("*")
    @classmethod
    def _compiles(cls, value: str | None) -> str | None:
        if value and _is_pattern(value):
            try:
                re.compile(value[1:-1])
            except re.error as error:
                raise ValueError(f"not a regular expression: {error}") from None
        return value


class Compensation(_Table):
    """[compensation]: where the matrix comes from.

    `controls` (single stains on the plate), `file` (each FCS file's own), `gates` (that of another program's gates),
    `none`, a CSV matrix beside assay.toml, or `auto`: controls where nothing speaks against them, else the file's
    where it is not the identity, else none.
    """

    source: Text = "auto"

    @field_validator("source")
    @classmethod
    def _known(cls, value: str) -> str:
        if value in ("auto", "controls", "file", "gates", "none") or value.lower().endswith(".csv"):
            return value
        raise ValueError("'auto', 'controls', 'file', 'gates', 'none' or the name of a CSV matrix wanted")


class Gating(_Table):
    """[gating]: `auto`, or a file of gates (`{plate}` in it stands for the plate's name).

    That is the gates.xml of an earlier run, any GatingML 2.0, or a FlowJo 10 workspace; `group` is the workspace's
    group whose gates are applied to files it does not know. `scale` is what fluorescence is learned and drawn on; it
    moves no gate that comes from a file. `follow` lets the learned gate of cells move with each well's cloud. The
    other keys say which gate is which population.
    """

    source: Text = "auto"
    group: Text | None = None
    scale: ScaleName = "asinh"
    expressing: Text = "expressing"
    nonexpressing: Text = "nonexpressing"
    cells: Text | None = None
    singlets: Text | None = None
    live: Text | None = None
    follow: bool = False

    @field_validator("source")
    @classmethod
    def _known(cls, value: str) -> str:
        if value == "auto" or value.lower().endswith((".xml", ".wsp")):
            return value
        raise ValueError("'auto' or the name of a GatingML file (.xml) or FlowJo workspace (.wsp) wanted")

    @model_validator(mode="after")
    def _group_of_a_workspace(self) -> Gating:
        if self.group is not None and not self.source.lower().endswith(".wsp"):
            raise ValueError("group is one of a FlowJo workspace: source does not name one (.wsp)")
        if self.follow and self.source != "auto":
            raise ValueError("follow moves learned gates only: it needs source 'auto'")
        return self


class Beads(_Table):
    """[beads]: `values` is the table of a lot's assigned values beside assay.toml; without it MFI stays MFI."""

    values: Text | None = None

    @field_validator("values")
    @classmethod
    def _is_table(cls, value: str | None) -> str | None:
        if value is None or value.lower().endswith((".csv", ".xlsx")):
            return value
        raise ValueError("the name of a CSV or xlsx table wanted: channel, unit, peak1, peak2, ...")


class Readout(_Table):
    """[readout]: the statistic called MFI, what is taken off it, and which read-out decides.

    `positive_above` says which limit positive cells of rpc lie above: the 99th percentile of the non-expressing cells
    of the well itself, or that of the plate's wells without serum, one for all.
    """

    statistic: Literal["median", "geometric-mean", "mean"] = "median"
    background: Literal["none", "secondary-only", "negative-pool"] = "none"
    decide: Literal["delta", "ratio", "index", "rpc", "relative"] = "delta"
    positive_above: Literal["own-well", "without-serum"] = "own-well"


#: Read-outs that can meet a cut-off.
ReadoutName = Literal["delta", "ratio", "index", "rpc", "relative"]
#: The second criterion beside delta where the lab names none: a ratio that background alone does not make.
SECOND_RATIO = 1.5
_KEYS_OF_RULES = {
    "confidence": ("frey",),
    "k": ("mean-sd", "robust"),
    "percentile": ("percentile",),
    "limit": ("percentile",),
    "limit_confidence": ("percentile",),
    "law": ("percentile",),
    "roc_point": ("roc",),
}


class Cutoff(_Table):
    """[cutoff]: the rule that makes it, the negatives it is made from, and the second criterion.

    `delta`, `ratio`, `index`, `rpc` and `relative` are the lab's own numbers: of the read-out that decides under rule
    `fixed`, and of the second criterion under any rule. `second` is a read-out, none, or auto: the ratio (1.5) beside
    delta, delta by the same rule beside any other. There is no number for delta that holds on two cytometers, hence no
    default.
    """

    rule: Literal["frey", "mean-sd", "percentile", "robust", "fixed", "roc"] = "frey"
    confidence: Share = 0.99
    k: Positive = 3.0
    percentile: Annotated[float, Field(ge=50, lt=100)] = 95.0
    limit: Literal["estimate", "lower", "upper"] = "estimate"
    limit_confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.90
    law: Literal["normal", "any"] = "normal"
    roc_point: Literal["youden", "specific"] = "youden"
    log: bool = False
    source: Literal["plate", "history"] = "plate"
    history: Text | None = None
    floating: Literal["none", "additive", "multiplicative"] = "none"
    delta: Positive | None = None
    ratio: Positive | None = None
    index: Positive | None = None
    rpc: Positive | None = None
    relative: Positive | None = None
    second: Literal["auto", "none"] | ReadoutName = "auto"
    equivocal: Positive | None = None
    grades: tuple[Positive, ...] = ()
    screening_dilution: Positive | None = None

    @field_validator("screening_dilution")
    @classmethod
    def _as_dilutions_are(cls, value: float | None) -> float | None:
        return None if value is None else as_shown(value)

    @field_validator("history")
    @classmethod
    def _is_table(cls, value: str | None) -> str | None:
        if value is None or value.lower().endswith((".csv", ".xlsx")):
            return value
        raise ValueError("the name of a CSV or xlsx table wanted: plate, serum, role, dilution, delta, ratio, index")

    @field_validator("grades")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("numbers that rise wanted, for example [10, 50]")
        return value

    @model_validator(mode="after")
    def _keys_of_its_rule(self) -> Cutoff:
        for key, rules in _KEYS_OF_RULES.items():
            if self.rule not in rules and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f"{key} belongs to rule {' or '.join(map(repr, rules))}, not {self.rule!r}")
        if self.rule == "fixed" and (self.log or self.source == "history"):
            raise ValueError("rule 'fixed' computes nothing: log and source 'history' belong to the other rules")
        return self

    @model_validator(mode="after")
    def _history_is_whole(self) -> Cutoff:
        if (self.source == "history") != (self.history is not None):
            raise ValueError("source 'history' and history = \"negatives.csv\" need each other")
        if self.floating != "none" and self.source != "history":
            raise ValueError("floating is for source 'history': it moves earlier plates' values to this plate")
        if self.floating == "additive" and self.log:
            raise ValueError("floating 'additive' has no meaning under log: 'multiplicative' is a shift on that scale")
        return self

    def second_to(self, decide: str, corrected: bool = False) -> str | None:
        """The read-out that is the second criterion beside the deciding one; None for one criterion alone.

        `corrected`: a background was taken off, so that a ratio of what is left hardly has a meaning: under `auto`
        delta then decides alone.
        """
        if self.second == "none" or (self.second == "auto" and decide == "delta" and corrected):
            return None
        if self.second == "auto":
            return "ratio" if decide == "delta" else "delta"
        return self.second

    def number(self, readout: str, decide: str) -> float | None:
        """The lab's number for a read-out; the ratio beside delta has 1.5 where none is given and `second` is auto."""
        given: float | None = getattr(self, readout)
        if given is None and self.second == "auto" and (decide, readout) == ("delta", "ratio"):
            return SECOND_RATIO
        return given


class TiterSettings(_Table):
    """[titer]: how replicates make one titer, what confirms a serum, how many draws describe a titer's error.

    `pooled`: one series of the replicates' means; `separate`: a titer a replicate, averaged on the log scale. A
    serum that is positive, yet with an endpoint below `least`, is not confirmed and flagged. `well_cv`, the lab's own
    CV of delta between wells in percent, stands in where a plate has no replicates.
    """

    replicates: Literal["pooled", "separate"] = "pooled"
    least: Positive | None = None
    draws: Annotated[int, Field(ge=200, le=20_000)] = 2000
    well_cv: Annotated[float, Field(gt=0, le=100)] | None = None


class CurveSettings(_Table):
    """[curve]: the model fitted to each dilution series, to which reading, how weighted, and what of strays.

    `signal`: the expressing MFI, or the delta. `weights`: errors relative to the reading (1/y2), to its root (1/y), or
    alike (none). `outliers`: whether one dilution that lies off the curve of all others is left out of the curve.
    """

    model: Literal["one-site", "4pl", "5pl", "auto"] = "4pl"
    signal: Literal["delta", "expressing"] = "delta"
    weights: Literal["1/y2", "1/y", "none"] = "1/y2"
    outliers: Literal["leave-out", "keep"] = "leave-out"


class ReferenceSettings(_Table):
    """[reference]: the plate's reference serum, in whose units the other sera are read.

    `units` is what it holds undiluted, `unit` their name, `serum` its name where a plate has several. The rest are
    limits: of a standard's recovery and CV (wider at the ends of the range), of how many must pass, of parallelism.
    """

    units: Positive = 100.0
    unit: Text = "AU"
    serum: Text | None = None
    recovery_percent: Positive = 20.0
    recovery_end_percent: Positive = 25.0
    cv_percent: Positive = 20.0
    cv_end_percent: Positive = 25.0
    pass_percent: Annotated[float, Field(gt=0, le=100)] = 75.0
    min_standards: Annotated[int, Field(ge=2)] = 6
    parallel_cv_percent: Positive = 30.0
    slope_factor: Annotated[float, Field(gt=1)] = 1.25


class Acceptance(_Table):
    """[acceptance]: limits of the run's own checks (see docs/checks.md)."""

    events_fail: Annotated[int, Field(ge=1)] = 200
    events_warn: Annotated[int, Field(ge=1)] = 500
    expressing_percent: Positive = 20.0
    replicate_cv_warn: Positive = 15.0
    replicate_cv_fail: Positive = 25.0
    secondary_percent_of_cutoff: Positive = 20.0
    negative_percent_of_cutoff: Positive = 50.0
    residual_slope_percent: Positive = 0.5
    saturated_percent_warn: Positive = 1.0
    saturated_percent_fail: Positive = 5.0
    elsewhere_warn: Positive = 1.0
    elsewhere_fail: Positive = 3.0
    reporter_fold: Annotated[float, Field(gt=1)] = 2.0
    expression_odds: Positive = 1.5
    viable_percent: Annotated[float, Field(ge=0, le=100)] = 70.0
    condition_limit: Positive = 20.0
    min_negatives: Annotated[int, Field(ge=3)] = 3
    negative_cv: Positive = 20.0
    control_history: Text | None = None
    failed_wells_percent: Annotated[float, Field(ge=0, le=100)] = 20.0

    @model_validator(mode="after")
    def _warns_before_it_fails(self) -> Acceptance:
        if self.events_fail > self.events_warn:
            raise ValueError(
                f"events_fail ({self.events_fail}) is above events_warn ({self.events_warn}): wells fail unwarned"
            )
        for name in ("replicate_cv", "saturated_percent", "elsewhere"):
            warn, fail = getattr(self, f"{name}_warn"), getattr(self, f"{name}_fail")
            if warn > fail:
                raise ValueError(f"{name}_warn ({warn:g}) is above {name}_fail ({fail:g}): plates fail unwarned")
        return self


Percent = Annotated[float, Field(gt=0, le=100)]


class AcquisitionSettings(_Table):
    """[acquisition]: what is flagged in the course of a well's events, and whether bad stretches are cut out."""

    cut_out: bool = False
    min_events: Annotated[int, Field(ge=0)] = 1000
    stretch_percent: Positive = 15.0
    stretch_errors: Annotated[float, Field(ge=3)] = 5.0
    drift_percent: Positive = 10.0
    flow_factor: Annotated[float, Field(gt=1)] = 2.0
    break_percent: Percent = 2.0
    most_cut_percent: Annotated[float, Field(ge=0, le=50)] = 30.0


class TrajectorySettings(_Table):
    """[trajectory]: the quantity followed over time.

    `bridging` names the control through which plates are compared: auto is every reference and positive control that
    lies on both. `months` is the schedule that visits are allotted to where they carry no labels.
    """

    quantity: Literal["titer", "units", "delta", "ratio", "index"] = "titer"
    bridging: str = "auto"
    months: tuple[Annotated[float, Field(ge=0)], ...] = ()


TestName = Literal[
    "signed-rank",
    "paired-t",
    "rank-sum",
    "friedman",
    "dunn",
    "poisson",
    "mixed-model",
    "censored-model",
    "bootstrap",
]


class StatisticsSettings(_Table):
    """[statistics]: which tests run, and the one contrast that was declared beforehand and is not corrected."""

    tests: tuple[TestName, ...] = (
        "signed-rank",
        "friedman",
        "dunn",
        "poisson",
        "mixed-model",
        "censored-model",
        "bootstrap",
    )
    primary_outcome: Literal["", "reactivity", "relapses", "edss", "pain", "fatigue"] = ""
    primary_timepoint: str = ""
    draws: Annotated[int, Field(ge=200, le=1_000_000)] = 2000

    @model_validator(mode="after")
    def _primary_is_whole(self) -> StatisticsSettings:
        if self.primary_timepoint and not self.primary_outcome:
            raise ValueError(f"primary_timepoint {self.primary_timepoint!r} needs primary_outcome: 'reactivity', ...")
        if self.primary_outcome not in ("", "relapses") and not self.primary_timepoint:
            raise ValueError(
                f"primary_outcome {self.primary_outcome!r} needs primary_timepoint: the visit's label that is compared "
                "with the baseline, as 'M12'"
            )
        return self


class FiguresSettings(_Table):
    """[figures]: the language of labels in Figures 1 to 4."""

    language: Literal["en", "ja"] = "en"


class PrecisionSettings(_Table):
    """[precision]: the change that is taken to exceed the assay's error where too few degrees of freedom measure it."""

    rcv: Annotated[float, Field(gt=1)] = 2.0
    min_df: Annotated[int, Field(ge=1)] = 4


class ValidationSettings(_Table):
    """[validation]: what `aqp4flow validate` holds the assay to.

    `linear_percent`, `lloq_cv`, `lloq_bias` and the two slope ratios define the linear interval, the LLOQ and what is
    called parallel. The `goal_` keys have no default: a goal that is set and not met ends in exit 4.
    """

    linear_percent: Positive = 20.0
    lloq_cv: Positive = 25.0
    lloq_bias: Positive = 25.0
    slope_ratio_low: Share = 0.8
    slope_ratio_high: Annotated[float, Field(gt=1)] = 1.25
    goal_within_cv: Positive | None = None
    goal_total_cv: Positive | None = None
    goal_linear_fold: Annotated[float, Field(gt=1)] | None = None
    goal_lloq: Positive | None = None
    goal_carryover_percent: Positive | None = None


class FcsSettings(_Table):
    """[fcs]: how files are read, and for which wells of a plate other readers are asked too.

    `dataset` is a data set's number in every file; `auto` is the first, or the linear one of a Beckman LMD file.
    """

    text_encoding: Literal["auto", "utf-8", "cp932", "latin-1"] = "auto"
    dataset: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    second_opinion: Literal["one", "all", "off"] = "one"


class Seed(_Table):
    """[seed]: the number all random draws start from."""

    value: Annotated[int, Field(ge=0, lt=2**32)] = 20140315


class Assay(_Table):
    """The whole of assay.toml."""

    assay: Identity
    channels: Channels
    compensation: Compensation = Compensation()
    gating: Gating = Gating()
    beads: Beads = Beads()
    readout: Readout = Readout()
    cutoff: Cutoff = Cutoff()
    titer: TiterSettings = TiterSettings()
    curve: CurveSettings = CurveSettings()
    reference: ReferenceSettings = ReferenceSettings()
    acceptance: Acceptance = Acceptance()
    acquisition: AcquisitionSettings = AcquisitionSettings()
    trajectory: TrajectorySettings = TrajectorySettings()
    statistics: StatisticsSettings = StatisticsSettings()
    figures: FiguresSettings = FiguresSettings()
    precision: PrecisionSettings = PrecisionSettings()
    validation: ValidationSettings = ValidationSettings()
    fcs: FcsSettings = FcsSettings()
    seed: Seed = Seed()

    @model_validator(mode="after")
    def _same_well_needs_reporter(self) -> Assay:
        if self.assay.comparator == "same-well" and not self.channels.reporter:
            raise ValueError("comparator 'same-well' needs [channels] reporter: it tells the two populations apart")
        return self

    @model_validator(mode="after")
    def _cut_offs_are_whole(self) -> Assay:
        decide, cutoff = self.readout.decide, self.cutoff
        second = cutoff.second_to(decide, self.readout.background != "none")
        own: dict[str, float | None] = {name: getattr(cutoff, name) for name in get_args(ReadoutName)}
        if second == decide:
            raise ValueError(f"[cutoff] second {second!r} is the read-out that decides: another, or 'none'")
        if cutoff.rule != "fixed" and own[decide] is not None:
            raise ValueError(f"[cutoff] {decide} is a number for rule 'fixed'; rule {cutoff.rule!r} computes it")
        for name, number in own.items():
            if number is not None and name not in (decide, second):
                raise ValueError(f"[cutoff] {name} is no criterion here: {decide} decides, second is {second}")
        if cutoff.rule == "fixed" and own[decide] is None:
            raise ValueError(f"[cutoff] rule 'fixed' needs {decide}: the lab's own cut-off on this cytometer")
        if cutoff.rule == "fixed" and second is not None and cutoff.number(second, decide) is None:
            raise ValueError(
                f"[cutoff] rule 'fixed' needs {second} too, the second criterion; second = 'none' does without"
            )
        top = own[decide]
        if cutoff.equivocal is not None and top is not None and not cutoff.equivocal < top:
            raise ValueError("[cutoff] equivocal is where the grey zone below the cut-off begins: a lower number")
        return self

    @model_validator(mode="after")
    def _linear_is_for_pictures(self) -> Assay:
        learned = self.gating.source == "auto" and (self.channels.reporter or self.channels.viability)
        if learned and self.gating.scale == "linear":
            raise ValueError(
                "[gating] scale 'linear' is for pictures only, of gates that source names: gates are learned on "
                "'asinh' or 'logicle'"
            )
        return self

    @model_validator(mode="after")
    def _matrix_of_gates(self) -> Assay:
        if self.compensation.source == "gates" and self.gating.source == "auto":
            raise ValueError("[compensation] source 'gates' needs [gating] source to name another program's gates")
        return self


def read_definition(path: Path, preset: str | None = None) -> Assay:
    """Read assay.toml. A preset that the file names is laid under it; `preset`, asked for by hand, is laid over it.

    Raises ConfigError that carries every problem found.
    """
    where = path.name
    raw = _tables_in(path)
    own = _preset_named(raw)
    if preset is not None:
        raw = laid_over(raw, preset_of(preset, "--preset"))
    elif own is not None:
        raw = laid_under(raw, preset_of(own, f"{where}: [assay] preset"))
    try:
        return Assay.model_validate(raw)
    except ValidationError as error:
        problems = [_problem(where, dict(detail)) for detail in error.errors()]
        problems[0].others = tuple(problems[1:])
        raise problems[0] from None


def overruled(path: Path, preset: str) -> list[Check]:
    """What a preset asked for by hand takes the place of in assay.toml; raises ConfigError like `read_definition`."""
    return overruled_checks(_tables_in(path), preset_of(preset, "--preset"))


def _tables_in(path: Path) -> dict[str, Any]:
    where = path.name
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(where, f"not found in {path.parent.name}/", "name it with --assay") from None
    except UnicodeDecodeError:
        raise ConfigError(where, "not UTF-8 text", "save it as UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(where, f"not TOML: {error}", "texts stand in quotes, one key a line") from None


def _preset_named(raw: dict[str, Any]) -> str | None:
    """The preset that the file names."""
    table = raw.get("assay")
    own = table.get("preset") if isinstance(table, dict) else None
    return own if isinstance(own, str) else None


_DEMANDED = {
    ("assay",): 'add [assay] with antigen = "AQP4-M23" (the isoform)',
    ("assay", "antigen"): 'name the antigen and isoform: antigen = "AQP4-M23"; isoforms are never pooled',
    ("channels",): "add [channels] with reporter and signal; `aqp4flow fcs FILE` lists the channels",
    ("channels", "signal"): "name the channel of the anti-human IgG; `aqp4flow fcs FILE` lists the channels",
}


def _problem(where: str, detail: dict[str, Any]) -> ConfigError:
    """One pydantic complaint in this project's words."""
    location = tuple(str(part) for part in detail["loc"])
    table = f"[{location[0]}] " if location else ""
    key = location[1] if len(location) > 1 else ""
    match detail["type"]:
        case "missing":
            return ConfigError(where, f"{table}{key} is missing".replace("  ", " "), _DEMANDED.get(location, ""))
        case "extra_forbidden" if len(location) == 1:
            return ConfigError(where, f"unknown table [{location[0]}]", nearest(location[0], Assay.model_fields))
        case "extra_forbidden":
            known = Assay.model_fields[location[0]].annotation
            fields = known.model_fields if isinstance(known, type) and issubclass(known, BaseModel) else {}
            return ConfigError(where, f"{table}unknown key {key!r}", nearest(key, fields))
        case _:
            message = str(detail["msg"]).removeprefix("Value error, ")
            got = f" (got {detail['input']!r})" if key else ""
            named = f"{f'{table}{key}'.rstrip()}: " if location else ""  # a rule between tables names them itself
            return ConfigError(where, f"{named}{message[:1].lower()}{message[1:]}{got}")


def _is_pattern(text: str) -> bool:
    return len(text) > 2 and text.startswith("/") and text.endswith("/")


def resolve_channel(wanted: str, key: str, channels: Sequence[Channel]) -> str:
    """The $PnN that a setting means: exact $PnN, then exact $PnS, or a /regular expression/ over both.

    Raises ConfigError when none or several fit.
    """
    if _is_pattern(wanted):
        pattern = re.compile(wanted[1:-1])
        found = [c.name for c in channels if pattern.search(c.name) or (c.stain and pattern.search(c.stain))]
    else:
        found = [c.name for c in channels if c.name == wanted] or [c.name for c in channels if c.stain == wanted]
    if len(found) == 1:
        return found[0]
    there = ", ".join(f"{c.name} ({c.stain})" if c.stain and c.stain != c.name else c.name for c in channels)
    what = f"no channel is called {wanted!r}" if not found else f"{wanted!r} fits {', '.join(found)}"
    raise ConfigError(f"assay.toml: [channels] {key}", what, f"the files have {there}")
