"""Run the command line as ``python -m aqp4flow``."""

from __future__ import annotations

from aqp4flow.cli import main

if __name__ == "__main__":
    main()
