"""Planted truth: a study as FCS files, made by physics that knows nothing of gates or assays."""

from __future__ import annotations

from aqp4flow.simulate.study import simulate_study

__all__ = ["simulate_study"]
