"""Bytes <-> events: our own reader and writer of FCS files."""

from __future__ import annotations

from aqp4flow.fcs.identity import well_of, wells_said
from aqp4flow.fcs.reader import AUTO, FcsFile, read_datasets, read_fcs
from aqp4flow.fcs.writer import fcs_bytes, linear, placeholder, rewritten

__all__ = [
    "AUTO",
    "FcsFile",
    "fcs_bytes",
    "linear",
    "placeholder",
    "read_datasets",
    "read_fcs",
    "rewritten",
    "well_of",
    "wells_said",
]
