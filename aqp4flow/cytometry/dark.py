"""The dark population along one fluorescence: where it lies, how far it reaches, and where to part it from the rest.

Dark cells are the lowest population: live ones beside a viability dye, non-expressing ones beside a reporter. Their
dark side is theirs alone; the bright side is mixed with a shoulder of dim cells. A border is therefore set where as
many dark cells lie above it as others lie below: each median then loses and gains alike.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from aqp4flow.model import Values

LEAST_SHARE = 0.02  # a population holds at least this share of the events
_WRINKLE = 0.005  # share of the events from which a rise of the density is more than chance
_STEP_APART = 3.0  # in natural-log units, from a step to the peak: nearer, it is the peak's own skewness
_LIT = 0.3  # above no light, in natural-log units: what lies lower is noise, not a step of cells
_LEVEL = 0.2  # of the steepest rise before: a step is reached
_MOST_SHIFT = 0.3  # by which the dark cells of other wells may be shifted to fit
_POINTS = 2048
_SMOOTHING = 0.8  # kernel width of a single event; it falls with the fifth root of their number
_ALONE = 0.2  # density beside the floor, per event at the floor, below which those are a population of their own
_STEEP = 0.75  # of the peak's height: nearer the peak its position is vague, farther out others mix in


def mode(values: Values) -> float:
    """Half-sample mode (Robertson & Cryer 1974): the middle of the densest half, again and again."""
    ordered = np.sort(values)
    while len(ordered) > 64:  # below this the halves are mere chance
        half = (len(ordered) + 1) // 2
        widths = ordered[half - 1 :] - ordered[: len(ordered) - half + 1]
        start = int(np.argmin(widths))
        ordered = ordered[start : start + half]
    return float(np.median(ordered))


Border = Literal["wells", "valley", "step", "none"]


@dataclass(frozen=True)
class Dark:
    """The dark population on the scale it was learned on: its peak, its spread below and above it.

    On `grid`, from the peak upwards: `beyond` is the share of all events that are dark and lie above the point, `short`
    the share that are not dark and lie below it, `purity` the part of the density there that is dark. `others` is the
    share of all events that are not dark; `border` says what showed where they part.
    """

    peak: float
    below: float
    above: float
    others: float
    border: Border
    grid: Values = field(repr=False)
    beyond: Values = field(repr=False)
    short: Values = field(repr=False)
    purity: Values = field(repr=False)

    def balance(self) -> float:
        """Where as many dark events lie above as others lie below."""
        return float(self.grid[int(np.argmax(self.short >= self.beyond))])

    def beyond_at(self, point: float) -> float:
        """Share of all events that are dark and lie above `point`."""
        return float(np.interp(point, self.grid, self.beyond))

    def holding(self, share: float) -> float:
        """Up to where `share` of the dark events above the peak lie."""
        return float(self.grid[int(np.argmax(self.beyond <= (1 - share) * self.beyond[0]))])

    def last_above(self, purity: float) -> float:
        """The farthest point up to which the dark population holds at least `purity` of the density."""
        mixed = np.flatnonzero(self.purity < purity)
        return float(self.grid[mixed[0]]) if len(mixed) else float(self.grid[-1])


def dark_population(
    scaled: Values, at_floor: float = 0.0, alone: Values | None = None, zero: float | None = None
) -> Dark:
    """The dark population of events on the arcsinh or logicle scale, shape (n,).

    `at_floor` is the share of all events that piled up at the low end of the range and is not among them. `zero` is the
    place of no light where the lowest population may be no more than a step on the dark side of a far brighter one.

    Its peak is the first true one from the dark side. What is dark above the peak is known from cells that are dark
    `alone`, where there are such; else a shoulder is taken to go on below the valley as high as it is in it, and what
    is left is dark. Beyond the valley, or where there is none, the dark population falls by a normal law of the width
    that the peak's bright side has.
    """
    ordered = np.sort(scaled)
    grid, density = _smoothed(ordered, at_floor > 0)
    step = float(grid[1] - grid[0])
    density *= (1 - at_floor) / (density.sum() * step)
    steps = range(0)
    if zero is not None:
        steps = range(int(np.searchsorted(grid, zero + _LIT)), len(grid))
    lowest = _first_peak(density, at_floor, steps, math.ceil(_STEP_APART / step))
    at = lowest.peak
    peak = float(grid[at])
    below = _dark_side(ordered, peak, step)
    if lowest.bare:
        own, above = np.minimum(_mirrored(density, at), density[at:]), below
        rest = density[at:] - own
    else:
        own, above, rest = _bright_side(grid[at:], density[at:], lowest.valley - at, step)
    if alone is not None:
        theirs = dark_population(alone)
        if theirs.peak < peak - theirs.above:  # the plate's own first peak is of other cells
            at, peak, below, above = int(np.searchsorted(grid, theirs.peak)), theirs.peak, theirs.below, theirs.above
        own, rest = _known(alone, grid, density, at, above)
    beyond = (own.sum() - np.cumsum(own)) * step
    short = np.cumsum(rest) * step
    purity = own / np.maximum(own + rest, np.finfo(float).tiny)
    purity = np.minimum.accumulate(purity)
    border = _bordered(lowest) if alone is None else "wells"
    return Dark(peak, below, above, float(short[-1]), border, grid[at:], beyond, short, purity)


def _smoothed(ordered: Values, at_floor: bool) -> tuple[Values, Values]:
    """Density on a grid, smoothed by a normal kernel whose width suits the dark population's, which is near 1.

    Where events pile up on the lowest value the density is mirrored there, or it would sink towards it.
    """
    width = max(_SMOOTHING * len(ordered) ** -0.2, 1e-3 * float(ordered[-1] - ordered[0]), 1e-9)
    low, high = float(ordered[0]) - (0 if at_floor else 4 * width), float(ordered[-1]) + 4 * width
    counts, edges = np.histogram(ordered, _POINTS, (low, high))
    step = float(edges[1] - edges[0])
    reach = min(max(1, math.ceil(4 * width / step)), _POINTS // 2)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) * step / width) ** 2)
    padded = np.concatenate([counts[:reach][::-1] if at_floor else np.zeros(reach), counts, np.zeros(reach)])
    density = np.convolve(padded.astype(np.float64), kernel / kernel.sum(), mode="valid")
    return (edges[:-1] + edges[1:]) / 2, density


def _mirrored(density: Values, at: int) -> Values:
    """The density below a point as it would lie above it, as far as the grid reaches."""
    mirror = np.zeros(len(density) - at)
    below = density[: at + 1][::-1][: len(mirror)]
    mirror[: len(below)] = below
    return mirror


def _dark_side(ordered: Values, peak: float, step: float) -> float:
    below = peak - ordered[ordered <= peak]
    return max(1.4826 * float(np.median(below)) if len(below) else 0.0, step)


def _bright_side(grid: Values, density: Values, valley: int, step: float) -> tuple[Values, float, Values]:
    """The dark population's own density from its peak upwards, its width, and the density of all others.

    Others only grow from the peak to their own: what the dark law leaves over near its peak is its own shape.
    """
    sinking = 0.5 + 0.5 * np.arange(len(density)) / max(valley, 1)
    shoulder = np.where(np.arange(len(density)) < valley, density[valley] * sinking, 0.0)
    rest = shoulder
    width = step
    for _ in range(4):
        clean = np.maximum(density - rest, 0.0)
        fallen = np.flatnonzero(clean <= _STEEP * clean[0])
        reach = float(grid[fallen[0]] - grid[0]) if len(fallen) else float(grid[-1] - grid[0])
        width = max(reach / math.sqrt(-2 * math.log(_STEEP)), step)
        own = clean[0] * np.exp(-0.5 * ((grid - grid[0]) / width) ** 2)
        left = shoulder if shoulder.any() else _rising(np.maximum(density - own, 0.0), own)
        rest = np.minimum(np.where(np.arange(len(density)) < valley, left, np.maximum(density - own, 0.0)), density)
    # Down to the valley what is not shoulder is dark, however it is shaped; beyond it the law alone is left.
    own = np.where(np.arange(len(density)) < valley, density - rest, np.minimum(own, density - rest))
    return own, width, rest


def _known(alone: Values, grid: Values, density: Values, at: int, above: float) -> tuple[Values, Values]:
    """The dark density from the peak upwards as cells that are dark alone have it, and the rest's.

    Scaled, and shifted a little, to fit the events below the peak and one width above it, where nothing else is told
    from chance: what is left over just above is taken to go on below, sinking to half at the peak.
    """
    shape_grid, shape = _smoothed(np.sort(alone), False)
    shape /= shape.sum() * float(shape_grid[1] - shape_grid[0])
    level = float(grid[at]) + above
    bulk = grid <= level
    fits = []
    for shift in np.linspace(-_MOST_SHIFT, _MOST_SHIFT, 61):
        own = np.interp(grid, shape_grid + shift, shape, left=0.0, right=0.0)
        share = float(own[bulk] @ density[bulk]) / max(float(own[bulk] @ own[bulk]), 1e-12)
        fits.append((float(np.sum((density[bulk] - share * own[bulk]) ** 2)), share * own))
    left = (density - min(fits, key=lambda fit: fit[0])[1])[at:]
    grid, density = grid[at:], density[at:]
    near = (grid >= level) & (grid < level + above)
    shoulder = max(float(left[near].mean()), 0.0) if near.any() else 0.0
    sinking = 0.5 + 0.5 * (grid - grid[0]) / above
    rest = np.clip(np.where(grid < level, shoulder * sinking, left), 0.0, density)
    return density - rest, rest


def _rising(left: Values, own: Values) -> Values:
    """The density left over, held down so that it does not fall again before it meets the dark law's end."""
    far = int(np.argmax(own < 0.01 * own[0])) if (own < 0.01 * own[0]).any() else len(own) - 1
    top = far + int(np.argmax(left[far:]))
    held = left.copy()
    held[: top + 1] = np.minimum.accumulate(left[: top + 1][::-1])[::-1]
    return held


@dataclass(frozen=True)
class _Lowest:
    """Positions of the lowest population's peak and of the valley behind it (the peak itself when there is none).

    `bare`: no fall of the density behind the peak shows how far it reaches up.
    """

    peak: int
    valley: int
    bare: bool = False


def _bordered(lowest: _Lowest) -> Border:
    if lowest.valley > lowest.peak:
        return "valley"
    return "step" if lowest.bare else "none"


def _first_peak(density: Values, at_floor: float, steps: range, apart: int) -> _Lowest:
    """The first true peak and its valley.

    Where far more events lie below that peak than between it and its valley, the dark cells are the step on its dark
    side, among `steps` and at least `apart` points from it.
    """
    mass = at_floor + (1 - at_floor) * np.cumsum(density) / density.sum()
    peak, valley = _parted(density, mass, at_floor)
    reach = mass[valley] if valley > peak else 1.0
    if 2 * mass[peak] - reach > 2 * LEAST_SHARE:
        step = _step(density, mass, peak)
        if step in steps and step < peak - apart:
            return _Lowest(step, step, bare=True)
    return _Lowest(peak, valley, bare=peak == 0 and _stands_alone(density, at_floor))


def _step(density: Values, mass: Values, peak: int) -> int:
    """Where the density on the dark side of a peak, having risen, is nearly level; the peak where it never is."""
    first, last = int(np.searchsorted(mass, LEAST_SHARE / 2)), int(np.argmax(density > 0.5 * density[peak]))
    if last - first < 3:
        return peak
    rise = np.gradient(np.log(np.maximum(density[first:last], np.finfo(float).tiny)))
    level = rise < _LEVEL * np.maximum.accumulate(rise)
    return first + int(np.argmax(level)) if level.any() else peak


def _stands_alone(density: Values, at_floor: float) -> bool:
    """Whether events at the floor are a population of their own: the density does not go on from them."""
    return bool(density[0] < _ALONE * at_floor)


def _parted(density: Values, mass: Values, at_floor: float) -> tuple[int, int]:
    """First peak and the valley where the density has fallen by a fifth and rises by a quarter again.

    The events before a valley and up to the next are enough for a population. Events at the floor are one, too, unless
    the density goes on from them.
    """
    inner = density[1:-1]
    tops = 1 + np.flatnonzero((inner > density[:-2]) & (inner >= density[2:]))
    if at_floor and (density[0] >= density[1] or _stands_alone(density, at_floor)):
        tops = np.concatenate([[0], tops])
    if not len(tops):
        return int(np.argmax(density)), int(np.argmax(density))
    peak, before = int(tops[0]), 0.0
    height = math.inf if peak == 0 and _stands_alone(density, at_floor) else float(density[peak])
    ends = np.append(tops[2:], len(density))
    for top, following in zip(tops[1:], ends[: len(tops) - 1], strict=True):
        valley = peak + int(np.argmin(density[peak:top]))
        behind = top + int(np.argmin(density[top:following]))
        if mass[behind] - mass[valley] < _WRINKLE:
            continue
        if density[valley] > 0.8 * height or density[top] < 1.25 * density[valley]:
            peak, height = (int(top), float(density[top])) if density[top] > height else (peak, height)
        elif mass[valley] - before < LEAST_SHARE:
            peak, height, before = int(top), float(density[top]), float(mass[valley])
        else:
            return peak, valley
    return peak, peak
