"""The cut-off: what a read-out must exceed to count as positive, and how sure that number is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aqp4flow.assay.cutoffs import negatives as neg
from aqp4flow.assay.cutoffs.cutoffrules import MAD_TO_SD, Made, make, median_and_mad
from aqp4flow.assay.cutoffs.negatives import Labelled, Past, Refusal, Remark, Sera
from aqp4flow.assay.cutoffs.roc import clopper_pearson, youden
from aqp4flow.assay.definition import Cutoff
from aqp4flow.errors import ConfigError
from aqp4flow.model import NAN, Basis, CutOff, Outlier, Reactivity, Role

Draws = NDArray[np.float64]


@dataclass(frozen=True)
class CutOffs:
    """The cut-offs of one plate, None where there is none: of delta, and of a ratio, index or rpc.

    `deciding` is one of the two, or None when the plate has none that can be defended: `refusals` then says why.
    """

    delta: CutOff | None
    ratio: CutOff | None
    deciding: CutOff | None
    screening: float | None
    refusals: tuple[Refusal, ...] = ()
    remarks: tuple[Remark, ...] = ()

    @property
    def second(self) -> CutOff | None:
        """The second criterion; None where the deciding read-out stands alone."""
        deciding = self.deciding
        return next((c for c in (self.delta, self.ratio) if c and deciding and c.readout != deciding.readout), None)

    @property
    def criteria(self) -> tuple[CutOff, ...]:
        """The deciding cut-off, then the second criterion's: empty, one or two."""
        return tuple(cutoff for cutoff in (self.deciding, self.second) if cutoff is not None)


def frey(readout: str, negatives: Sequence[float], confidence: float) -> CutOff:
    """Upper prediction limit for one further negative: mean + SD t(confidence, n-1) sqrt(1 + 1/n). Needs n >= 2."""
    sera = neg.as_they_are([Labelled("", "", "", False, value) for value in negatives], log=False)
    found = _cut_off(readout, sera, make(sera, Cutoff(confidence=confidence)), "plate")
    assert isinstance(found, CutOff)  # this rule refuses nothing
    return found


def cut_offs(
    rows: Sequence[Reactivity], settings: Cutoff, decide: str, min_negatives: int, history: Sequence[Past] = ()
) -> CutOffs:
    """The plate's cut-offs from negative sera at the screening dilution (the lowest they were run at).

    `decide` is the deciding read-out; `history` the sera of earlier plates, where the settings want them.
    """
    screening = settings.screening_dilution or neg.screening_dilution(rows, history)
    scene = _Scene(rows, history, settings, screening, min_negatives)
    corrected = any(not math.isnan(row.background_expressing) for row in rows)
    second = settings.second_to(decide, corrected)
    found = [_criterion(scene, readout, decide) for readout in (decide, second) if readout is not None]
    refusals = tuple(dict.fromkeys(cutoff for cutoff, _ in found if isinstance(cutoff, Refusal)))
    remarks = tuple(dict.fromkeys(remark for _, remarks in found for remark in remarks))
    if refusals:
        return CutOffs(None, None, None, screening, refusals, remarks)
    made = [cutoff for cutoff, _ in found if isinstance(cutoff, CutOff)]
    made[0] = replace(made[0], equivocal=NAN if settings.equivocal is None else settings.equivocal)
    by_delta = next((cutoff for cutoff in made if cutoff.readout == "delta"), None)
    by_ratio = next((cutoff for cutoff in reversed(made) if cutoff.readout != "delta"), None)
    return CutOffs(by_delta, by_ratio, made[0], screening, (), remarks)


@dataclass(frozen=True)
class _Scene:
    """All that cut-offs are made from."""

    rows: Sequence[Reactivity]
    history: Sequence[Past]
    settings: Cutoff
    screening: float | None
    min_negatives: int


def _criterion(scene: _Scene, readout: str, decide: str) -> tuple[CutOff | Refusal, list[Remark]]:
    """The cut-off of one read-out: the lab's number where there is one, else by the rule."""
    number = scene.settings.number(readout, decide)
    own, lost = neg.with_a_value(neg.of_plate(scene.rows, readout, scene.screening), readout)
    if number is not None and (scene.settings.rule == "fixed" or readout != decide):
        given = getattr(scene.settings, readout) is not None
        return _fixed(CutOff(readout, number, "fixed", source="lab" if given else "default"), own), []
    if scene.settings.rule == "fixed":
        raise ConfigError("assay.toml: [cutoff]", f"rule 'fixed' needs {readout}", "write the lab's own number")
    if scene.settings.source == "history":
        return _from_history(scene, readout, own, _without_log(readout, decide))
    remarks = lost + neg.at_other_dilutions(scene.rows, scene.screening)
    labelled = [one for one in own if scene.settings.rule == "roc" or not one.positive]
    scaled = neg.on_scale(labelled, scene.settings.log, _without_log(readout, decide))
    if isinstance(scaled, Refusal):
        return scaled, remarks
    return _computed(scene, readout, neg.as_they_are(scaled, scene.settings.log)), remarks


def _fixed(cutoff: CutOff, own: Sequence[Labelled]) -> CutOff:
    """A fixed number, with the share of this plate's negatives that reach it."""
    values = [one.value for one in own if not one.positive]
    rate = clopper_pearson(sum(cutoff.met_by(value) for value in values), len(values))
    return replace(cutoff, false_positives=rate, counted=len(values))


def _without_log(readout: str, decide: str) -> str:
    """What to do where the values of a criterion have no logarithm, and log is wanted all the same."""
    return "decide by the ratio" if readout == decide else f'decide without {readout}: second = "none"'


def _from_history(
    scene: _Scene, readout: str, own: Sequence[Labelled], way_out: str
) -> tuple[CutOff | Refusal, list[Remark]]:
    settings = scene.settings
    roles = (Role.NEGATIVE, Role.POSITIVE) if settings.rule == "roc" else (Role.NEGATIVE,)
    taken, left = neg.of_history(scene.history, readout, scene.screening, roles)
    found, remarks = neg.with_a_value(taken, readout)
    remarks += neg.repeats(found)
    plates = len({one.plate for one in found})
    about = f"Cut-offs rest on {settings.history}: {len(found)} values of {plates} plates. {left}"
    if not found:
        about = f"Nothing in {settings.history} is usable for the cut-off of {readout}. {left}"
    remarks.insert(0, Remark("history", len(found), about, doubtful=not found))
    scaled = neg.on_scale(found, settings.log, way_out)
    if isinstance(scaled, Refusal):
        return scaled, remarks
    if settings.floating == "none":
        return _computed(scene, readout, neg.as_they_are(scaled, settings.log)), remarks
    here = neg.on_scale([one for one in own if not one.positive], settings.log, way_out)
    if isinstance(here, Refusal):
        return here, remarks
    moved = neg.floated(scaled, here, settings.floating, settings.log)
    if isinstance(moved, Refusal):
        return moved, remarks
    sera, more = moved
    return _computed(scene, readout, sera), remarks + more


def _computed(scene: _Scene, readout: str, sera: Sera) -> CutOff | Refusal:
    n = min(len(sera.negatives), sera.df + 1)  # a history that floats gives one up for each further plate
    if n < scene.min_negatives:
        message = "Too few negative sera for a cut-off: status is not interpretable and endpoint titers are empty."
        return Refusal("negatives", n, f">= {scene.min_negatives} (10 recommended)", message)
    return _cut_off(readout, sera, make(sera, scene.settings), scene.settings.source)


_ROUNDING = 1e-12


def _cut_off(readout: str, sera: Sera, made: Made | Refusal, source: str) -> CutOff | Refusal:
    if isinstance(made, Refusal):
        return made
    median, mad = median_and_mad(sera)
    return CutOff(
        readout,
        sera.shown(made.value),
        made.rule + (" on log10" if sera.log else ""),
        n=len(sera.negatives),
        mean=0.0 if abs(sera.mean) <= _ROUNDING * sera.sd else sera.mean,  # negatives less their own mean
        sd=sera.sd,
        factor=made.factor,
        median=median,
        mad=mad,
        log=sera.log,
        source=source,
        false_positives=made.false_positives,
        counted=made.counted,
        sensitivity=made.sensitivity,
        outliers=outliers(sera),
        remarks=made.remarks,
        basis=Basis(made.form, sera.negatives, sera.positives, sera.m, sera.df, made.rank, sera.floating, sera.scaled),
    )


def outliers(sera: Sera) -> tuple[Outlier, ...]:
    """Negatives more than 1.5 interquartile ranges outside the quartiles, and far ones, more than 3.

    Source: Tukey, Exploratory Data Analysis, 1977. A third of clean plates has one beyond 1.5. Quartiles are linear
    between order statistics. They are named and kept: leaving them out lowers the cut-off.
    """
    low, high = np.quantile(sera.negatives, [0.25, 0.75])
    beyond = [max(low - value, value - high) / (high - low) if high > low else 0.0 for value in sera.negatives]
    return tuple(
        Outlier(name, sera.shown(value), "above" if value > high else "below", far=ranges > 3)
        for name, value, ranges in zip(sera.names, sera.negatives, beyond, strict=True)
        if ranges > 1.5
    )


# --- how sure a cut-off is ------------------------------------------------------------------------


def cutoff_draws(cutoff: CutOff, count: int, rng: np.random.Generator) -> Draws:
    """`count` cut-offs whose 2.5 and 97.5 % points are 95 % limits of the true one; constant when fixed.

    The true one is what the rule gives with the law itself in place of sera: its mean and SD, median and MAD, quantile.
    Draws may be infinite where too few sera leave a quantile without a limit.
    """
    if cutoff.fixed:
        return np.full(count, cutoff.value)
    basis = cutoff.basis
    if basis is None or basis.form == "moments":
        drawn = _fiducial(cutoff, count, rng)
    elif basis.form == "order":
        drawn = _quantile_draws(basis, count, rng)
    else:
        drawn = _bootstrap(basis, cutoff.factor, count, rng)
    if basis is not None and basis.form != "moments" and basis.floating:  # the mean they float on errs too
        drawn = drawn + cutoff.sd / math.sqrt(basis.m) * rng.standard_normal(count)
    with np.errstate(over="ignore"):  # three sera under log: an SD of hundreds of decades is among the draws
        return np.asarray(10.0**drawn if cutoff.log else drawn, np.float64)


def _fiducial(cutoff: CutOff, count: int, rng: np.random.Generator) -> Draws:
    """Draws for mean + factor SD: sigma* = SD sqrt(df / chi-squared), mu* = mean + sigma* z / sqrt(m).

    Their limits are exact for a normal law (of the logarithms under log). Source: Krishnamoorthy & Mathew, Statistical
    Tolerance Regions, 2009, section 1.4.
    """
    m, df = (cutoff.basis.m, cutoff.basis.df) if cutoff.basis else (cutoff.n, cutoff.n - 1)
    level = math.log10(cutoff.value) if cutoff.log else cutoff.value
    factor = cutoff.factor
    if math.isnan(factor):
        factor = (level - cutoff.mean) / cutoff.sd if cutoff.sd > 0 else 0.0
    sigma = cutoff.sd * np.sqrt(df / rng.chisquare(df, count))
    if cutoff.basis is not None and cutoff.basis.scaled:  # the SD is a share of the mean, and errs with it
        mean = cutoff.mean + sigma * rng.standard_normal(count) / math.sqrt(m)
        return np.asarray(mean + factor * sigma * np.maximum(mean, 0.0) / cutoff.mean, np.float64)
    return np.asarray(cutoff.mean + sigma * (rng.standard_normal(count) / math.sqrt(m) + factor), np.float64)


def _quantile_draws(basis: Basis, count: int, rng: np.random.Generator) -> Draws:
    """Draws of the quantile that the order statistic stands for, rank / (n + 1), without a law.

    So many of n values lie below it as a binomial says; it is then between the last of these and the next, and beyond
    the largest nothing is known: infinite. Source: David & Nagaraja, Order Statistics, 2003, section 7.1.
    """
    n = len(basis.negatives)
    values = np.sort(basis.negatives)
    below = rng.binomial(n, basis.rank / (n + 1), count)
    low, high = values[np.maximum(below - 1, 0)], values[np.minimum(below, n - 1)]
    between = low + rng.random(count) * (high - low)
    between[below == 0], between[below == n] = -np.inf, np.inf
    return np.asarray(between)


def _bootstrap(basis: Basis, factor: float, count: int, rng: np.random.Generator) -> Draws:
    """The rule on sera drawn anew from those there are: limits hold 95 % of medians from 10 sera up, of ROC from 40."""
    n = len(basis.negatives)
    sera = rng.choice(basis.negatives, (count, n))
    if basis.form == "youden":
        positives = rng.choice(basis.positives, (count, len(basis.positives)))
        return np.array([youden(*pair) for pair in zip(sera, positives, strict=True)])
    median = np.median(sera, axis=1)
    return np.asarray(median + factor * MAD_TO_SD * np.median(np.abs(sera - median[:, None]), axis=1))
