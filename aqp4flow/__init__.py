"""From FCS files of a live cell-based assay to titers with their uncertainty."""

from __future__ import annotations

__version__ = "0.1.0"
