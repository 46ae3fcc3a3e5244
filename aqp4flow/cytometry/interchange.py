"""Gates of other programs, applied by FlowKit to our events: GatingML 2.0 and FlowJo 10 workspaces.

FlowKit evaluates every gate, so that membership is its own, event for event. It is given the events as FCS 3.1 on the
linear scale: what it would misread in the original file cannot reach it.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqp4flow.errors import InputError
from aqp4flow.model import NAN

Mask = NDArray[np.bool_]
_ROOT = "root"  # FlowKit's name for all events


@dataclass(frozen=True)
class Membership:
    """The events of one gate or quadrant. `path` holds its ancestors and itself; `parent_count` counts the parent's."""

    gate: str
    path: tuple[str, ...]
    mask: Mask = field(repr=False)
    parent_count: int

    @property
    def count(self) -> int:
        """Events inside."""
        return int(np.count_nonzero(self.mask))

    @property
    def percent_of_parent(self) -> float:
        """Percent of the parent's events; NaN where it has none."""
        return 100.0 * self.count / self.parent_count if self.parent_count else NAN


def apply_gates(gates: Path, name: str, events: bytes) -> list[Membership]:
    """Every gate of a GatingML file or FlowJo workspace on the events of the file called `name`.

    `events` is FCS 3.1 with linear values, and $FIL the file's name, by which a workspace knows its samples. Raises
    InputError where the file of gates cannot be read, does not know the sample, or looks at channels that are missing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # samples of a workspace that are not at hand
        if gates.suffix.lower() == ".wsp":
            strategy, sample = _from_workspace(gates, name, events)
        else:
            strategy, sample = _from_gatingml(gates, events)
        try:
            results = strategy.gate_sample(sample)
        except Exception as error:  # FlowKit raises what it trips over: unknown channels, matrices, transformations
            has = ", ".join(sample.pnn_labels)
            raise InputError(
                gates.name, f"cannot be applied to {name}: {_said(error)}", f"the file has {has}"
            ) from None
        return list(_memberships(strategy, results, sample.event_count))


def _from_gatingml(gates: Path, events: bytes) -> tuple[Any, Any]:
    import flowkit

    try:
        strategy = flowkit.parse_gating_xml(str(gates))
    except Exception as error:
        raise InputError(gates.name, f"cannot be read: {_said(error)}", "GatingML 2.0, or a FlowJo 10 .wsp") from None
    return strategy, flowkit.Sample(io.BytesIO(events), preprocess=False)


def _from_workspace(gates: Path, name: str, events: bytes) -> tuple[Any, Any]:
    import flowkit

    sample = flowkit.Sample(io.BytesIO(events), preprocess=False, use_flowjo_labels=True)
    try:
        workspace = flowkit.Workspace(str(gates), fcs_samples=[sample])
        known = workspace.get_sample_ids()
        strategy = workspace.get_gating_strategy(known[0]) if known else None
    except Exception as error:
        raise InputError(gates.name, f"cannot be read: {_said(error)}", "save it with FlowJo 10") from None
    if strategy is None:
        raise InputError(gates.name, f"knows no sample called {name}", "the sample is found by its file's name")
    return strategy, sample


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _memberships(strategy: Any, results: Any, n_events: int) -> Iterator[Membership]:
    """Gates in FlowKit's order, parents first. A quadrant gate has no events of its own: its quadrants have."""
    import flowkit

    counts: dict[tuple[str, ...], int] = {(): n_events}
    for name, ancestors in strategy.get_gate_ids():
        parent = tuple(ancestor for ancestor in ancestors if ancestor != _ROOT)
        path = (*parent, name)
        try:
            divides = isinstance(strategy.get_gate(name, ancestors), flowkit.gates.QuadrantGate)
        except flowkit.exceptions.QuadrantReferenceError:
            mask = results.get_gate_membership(name)
        else:
            counts[path] = counts[parent]
            if divides:
                continue
            mask = results.get_gate_membership(name, ancestors)
        counts[path] = int(np.count_nonzero(mask))
        yield Membership(name, path, np.asarray(mask, np.bool_), counts[parent])
