"""Random numbers: every thing in the study has its own stream, so that the order of making does not matter."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Subject(IntEnum):
    """What a stream of random numbers belongs to."""

    WELL = 1
    PLATE = 2
    SERUM = 3
    CLONES = 4
    VISITS = 5
    RELAPSES = 6


def stream(seed: int, subject: Subject, *number: int) -> np.random.Generator:
    """The generator of one numbered subject: the same numbers whoever else was drawn before."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(subject), *number)))
