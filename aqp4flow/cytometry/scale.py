"""Scales on which fluorescence is learned and drawn; their parameters come from the data and $PnR.

Gates are written, and medians taken, on the linear scale whatever the scale is. `forward` of arcsinh and logicle counts
bright decades in natural-log units (2.303 a decade), and the dark population is about one unit wide on either, so that
what can be learned on the one can be learned on the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from flowutils.transforms import logicle, logicle_inverse

from aqp4flow.model import Channel, ScaleName, Values

_DECADES = 4.5  # M of Parks, Roederer & Moore, for ranges of 18 bits
_FEW_NEGATIVES = 0.002  # share of the events up to which negative ones are chance, and lie outside of pictures too
_FEW_ABOVE = 0.005  # share of the events up to which those above the end of the range do not move it
_LN10 = math.log(10)


def rounded(value: float) -> float:
    """Six significant digits, as gates are written."""
    return float(f"{value:.6g}")


@dataclass(frozen=True)
class Linear:
    """Values as they are."""

    name = "linear"
    words = "linear"

    def forward(self, values: Values) -> Values:
        """The same values."""
        return values

    def back(self, values: Values) -> Values:
        """The same values."""
        return values


@dataclass(frozen=True)
class Log:
    """Base 10; for scatter. What is not above 0 lies infinitely far down."""

    name = "log"
    words = "log"

    def forward(self, values: Values) -> Values:
        """Powers of ten."""
        return np.log10(np.maximum(values, np.finfo(float).tiny))

    def back(self, values: Values) -> Values:
        """Linear values."""
        return np.asarray(10.0**values, np.float64)


@dataclass(frozen=True)
class Asinh:
    """arcsinh(x / cofactor): linear up to about the cofactor, logarithmic beyond it."""

    cofactor: float
    name = "asinh"

    def __post_init__(self) -> None:
        if not 0 < self.cofactor < math.inf:
            raise ValueError(f"a cofactor above 0 is wanted, not {self.cofactor}")

    @property
    def words(self) -> str:
        """Name and parameter, for captions."""
        return f"asinh, cofactor {self.cofactor:.6g}"

    def forward(self, values: Values) -> Values:
        """From the linear scale, in natural-log units."""
        return np.arcsinh(values / self.cofactor)

    def back(self, values: Values) -> Values:
        """To the linear scale."""
        return np.asarray(self.cofactor * np.sinh(values), np.float64)


@dataclass(frozen=True)
class Logicle:
    """The logicle scale of GatingML 2.0 (6.2; Moore & Parks, Cytometry A 2012;81:273), times (M + A) ln 10.

    `top` is T, `width` W, `decades` M, `extra` A: T lies at (M + A) ln 10 and 0 at (W + A) ln 10. Raises ValueError
    for parameters that GatingML does not allow.
    """

    top: float
    width: float
    decades: float
    extra: float = 0.0
    name = "logicle"

    def __post_init__(self) -> None:
        top, width, decades, extra = self.top, self.width, self.decades, self.extra
        allowed = 0 < top < math.inf and 0 < decades < math.inf and 0 <= width <= decades / 2
        if not (allowed and -width <= extra <= decades - 2 * width):
            what = "T > 0, M > 0, 0 <= W <= M / 2 and -W <= A <= M - 2 W are wanted"
            raise ValueError(f"{what}, not T {top}, W {width}, M {decades}, A {extra}")

    @property
    def words(self) -> str:
        """Name and parameters as cytometrists call them, for captions."""
        return f"logicle, T {self.top:.8g}, W {self.width:.6g}, M {self.decades:.6g}, A {self.extra:.6g}"

    @property
    def _unit(self) -> float:
        return (self.decades + self.extra) * _LN10

    def forward(self, values: Values) -> Values:
        """From the linear scale, in natural-log units; NaN and infinity stay what they are."""
        found = np.array(values, np.float64)
        finite = np.isfinite(found)
        found[finite] = self._roots(found[finite]) * self._unit
        return found

    def back(self, values: Values) -> Values:
        """To the linear scale."""
        return self._inverse(np.asarray(values, np.float64) / self._unit)

    def _roots(self, values: Values) -> Values:
        """By flowutils; where its search ends at -1 or far off (next to 0 where W is small), by halving."""
        found = np.asarray(logicle(values, None, self.top, self.decades, self.width, self.extra), np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            missed = ~(np.abs(self._inverse(found) - values) <= 1e-6 * (np.abs(values) + self.top / 10**self.decades))
        if missed.any():
            found[missed] = self._halved(values[missed])
        return found

    def _inverse(self, places: Values) -> Values:
        return np.asarray(logicle_inverse(places, None, self.top, self.decades, self.width, self.extra), np.float64)

    def _halved(self, values: Values) -> Values:
        """Roots by bisection: the scale rises everywhere, and the ends are moved out until they hold all values."""
        reach = 1.0
        while self._inverse(np.array([reach]))[0] < values.max() or self._inverse(np.array([-reach]))[0] > values.min():
            reach *= 2
        low, high = np.full(len(values), -reach), np.full(len(values), reach)
        for _ in range(60):
            middle = (low + high) / 2
            above = self._inverse(middle) > values
            low, high = np.where(above, low, middle), np.where(above, middle, high)
        return np.asarray((low + high) / 2, np.float64)


Scale = Linear | Log | Asinh | Logicle


def border_at(scale: Scale, place: float) -> float:
    """The linear value of a place on a scale, with the digits of a gate."""
    return rounded(float(scale.back(np.array([place]))[0]))


@dataclass(frozen=True)
class Span:
    """A channel's range on the linear scale: its end (infinite: none), and the decades from its lowest step to that."""

    top: float = math.inf
    decades: float = math.inf

    def least_unit(self, values: Values) -> float:
        """What a linear part need not be narrower than: the lowest step, or a thousandth of the brightest values."""
        step = self.top / 10**self.decades if math.isfinite(self.top) else math.inf
        return min(step, 1e-3 * float(np.quantile(np.abs(values), 0.998)))


def spans_of(channels: Iterable[Channel], known: Mapping[str, Span] | None = None) -> dict[str, Span]:
    """The range of each channel by $PnR, $PnE and $PnG; of several files (`known`: those before) the widest."""
    spans = dict(known or {})
    for channel in channels:
        decades = channel.amplification[0] if channel.amplification[0] > 0 else math.log10(max(channel.range, 10.0))
        before = spans.get(channel.name, Span(0.0, 0.0))
        top = channel.top if channel.top > 0 else math.inf  # an unknown gain is NaN
        spans[channel.name] = Span(max(before.top, top), max(before.decades, decades))
    return spans


@dataclass(frozen=True)
class Fitted:
    """A scale with parameters from data, and what had to be assumed for it (empty: nothing)."""

    scale: Scale
    note: str = field(default="")


def fitted(name: ScaleName, values: Values, span: Span, at_floor: float = 0.0) -> Fitted:
    """The scale `name` for finite `values`, shape (n,), of a channel with the range `span`.

    `at_floor` is the share of all events that piled up at the low end of the range and is not among `values`.
    """
    if name == "linear":
        return Fitted(Linear())
    if name == "asinh" or not len(values):
        return Fitted(asinh_of(values, at_floor))
    return _logicle_of(values, span)


def drawn(name: ScaleName, values: Values, span: Span) -> Fitted:
    """Like `fitted`, for pictures: where many dark events share one value there is no spread to draw arcsinh by."""
    found = fitted(name, values, span)
    if isinstance(found.scale, Asinh) and len(values):
        return Fitted(Asinh(max(found.scale.cofactor, span.least_unit(values))))
    return found


def asinh_of(values: Values, at_floor: float = 0.0) -> Asinh:
    """Cofactor = about the spread of the darkest events, of which a population of a twentieth is enough.

    The quantiles lie 0.8 spreads apart where all events are dark, 2.1 where a twentieth are; farther up where the
    darkest are missing, `at_floor` of all.
    """
    if not len(values):
        return Asinh(1.0)
    low, high = np.quantile(values, (0.005, 0.04 + min(at_floor, 0.3)))
    return Asinh(max(float(high - low) / 1.4, 1e-5 * float(np.ptp(values)), 1e-6))


def _logicle_of(values: Values, span: Span) -> Fitted:
    """T is the end of the range, A 0, W = (M - log10(T / |r|)) / 2, r the 5th percentile of the negative events.

    So Parks, Roederer & Moore (Cytometry A 2006;69:541), who hold M at 4.5. Here M is fewer where the range has fewer
    decades (log amplifiers, 10 and 12 bits), and more where the linear part, T / 10^M, would be wider than the dark
    cells (24 bits). Printed parameters are those used.
    """
    top, note = _top(values, span.top)
    dark = max(asinh_of(values).cofactor, span.least_unit(values))
    decades = round(max(min(_DECADES, span.decades), math.log10(2 * top / dark)), 2)
    negative = values[values < 0]
    width = 0.0
    if len(negative) > _FEW_NEGATIVES * len(values):
        reference = -float(np.quantile(negative, 0.05))
        width = min(max((decades - math.log10(top / reference)) / 2, 0.0), decades / 2)
    return Fitted(Logicle(top, math.floor(100 * width) / 100, decades), note)


def _top(values: Values, top: float) -> tuple[float, str]:
    """T, all of whose digits a caption has room for, and why it is not the end of the range where it is not."""
    most = rounded(max(float(values.max()), 1e-6))
    if not math.isfinite(top):
        return most, f"its range has no end: T is the largest value, {most:g}"
    above = float(np.mean(values > top))
    if above > _FEW_ABOVE:
        share = f"{100 * above:.2g} % of its events lie above its range ({top:.6g})"
        return most, f"{share}: T is the largest value, {most:g}"
    return float(f"{top:.8g}"), ""


# --- ticks -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ticks:
    """Linear values at which an axis has ticks: with a number, and without."""

    labelled: tuple[float, ...]
    plain: tuple[float, ...]


_APART = 0.11  # of the axis: nearer labels would touch


def ticks(scale: Scale, low: float, high: float) -> Ticks:
    """Ticks between two places on the drawn scale: 0, powers of ten and their mirror below 0, or even steps.

    0 is labelled first, then powers of ten from the largest down, as far as there is room.
    """
    if isinstance(scale, Linear):
        return Ticks(_even_steps(low, high), ())
    ends = scale.back(np.array([low, high]))
    least, most = -9, math.ceil(math.log10(max(abs(float(ends[0])), abs(float(ends[1])), 1e-8)))
    powers = [10.0**k for k in range(most, least, -1)]
    wanted = powers if isinstance(scale, Log) else [0.0, *(sign * x for x in powers for sign in (1, -1))]
    labelled: list[float] = []
    taken: list[float] = []
    for x, place in zip(wanted, scale.forward(np.array(wanted)), strict=True):
        if low <= place <= high and all(abs(place - other) > _APART * (high - low) for other in taken):
            labelled.append(x)
            taken.append(float(place))
    smallest = min((abs(x) for x in labelled if x), default=math.inf) / 10  # below it ticks would run together
    every = [sign * k * x for x in powers if x >= 0.99 * smallest for k in range(1, 10) for sign in (1, -1)]
    if isinstance(scale, Log):
        every = [x for x in every if x > 0]
    places = scale.forward(np.array(every)) if every else np.empty(0)
    plain = [x for x, place in zip(every, places, strict=True) if low <= place <= high and x not in labelled]
    return Ticks(tuple(sorted(labelled)), tuple(sorted(plain)))


def _even_steps(low: float, high: float) -> tuple[float, ...]:
    step = 10.0 ** math.floor(math.log10(high - low))
    step *= next(s for s in (0.2, 0.5, 1.0, 2.0) if (high - low) / (s * step) <= 6)
    return tuple(step * k for k in range(math.ceil(low / step), math.floor(high / step) + 1))
