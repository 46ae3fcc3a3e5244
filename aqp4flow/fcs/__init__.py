"""Bytes <-> events: our own reader and writer of FCS files."""

from __future__ import annotations

from aqp4flow.fcs.identity import well_of
from aqp4flow.fcs.reader import FcsFile, read_fcs
from aqp4flow.fcs.writer import fcs_bytes

__all__ = ["FcsFile", "fcs_bytes", "read_fcs", "well_of"]
