"""What a set of plates shows of the assay itself: linearity, parallelism, limits of blank, detection and quantitation,
carry-over. Pure sums over what results folders hold.

In the manner of CLSI EP06-A (linearity by polynomials), EP17-A2 (LOB, LOD, LLOQ), EP10-A3 (carry-over) and H62 (flow
cytometry); from plates as they were run, so that each part says what it rests on and what it lacks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from aqp4flow.assay.definition import ValidationSettings
from aqp4flow.assay.quality.carryoverstudy import CarryOver, LowWell, carry_over, low_wells
from aqp4flow.assay.quality.detection import Limits, Spread, blanks, detection_limits, spreads
from aqp4flow.assay.quality.linearity import Linearity, linearity
from aqp4flow.assay.quality.precision import CONTROLS, Observation
from aqp4flow.model import Reading

#: What EP05-A3 and H62 would have, as far as plates allow: levels, replicates a plate, plates.
WANTED_LEVELS, WANTED_REPLICATES, WANTED_PLATES = 3, 3, 5


@dataclass(frozen=True)
class Goal:
    """A goal that was set: what was found, whether it is met. A value that is not known does not meet it."""

    name: str
    value: float
    limit: float
    met: bool
    message: str


@dataclass(frozen=True)
class Validation:
    """Everything a set of plates shows of the assay beside its precision."""

    lines: tuple[Linearity, ...]
    limits: Limits
    lows: tuple[LowWell, ...]
    carried: tuple[CarryOver, ...]
    within: tuple[Spread, ...]
    total: tuple[Spread, ...]
    blanks: Mapping[str, tuple[float, ...]]


def validation(readings: Sequence[Reading], found: Sequence[Observation], settings: ValidationSettings) -> Validation:
    """Linearity, limits and carry-over from all wells of all plates."""
    lines = linearity(found, settings)
    lows = low_wells(readings)
    within, total = spreads(found)
    limits = detection_limits(readings, found, lines, settings)
    empty = {name: tuple(well.delta.value for well in wells) for name, wells in blanks(readings).items()}
    return Validation(tuple(lines), limits, tuple(lows), tuple(carry_over(lows)), tuple(within), tuple(total), empty)


def control_lines(lines: Sequence[Linearity]) -> list[Linearity]:
    """The sera whose linearity a goal is held to: controls with a series, else all."""
    controls = [line for line in lines if line.role in CONTROLS]
    return controls or list(lines)
