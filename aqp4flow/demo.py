"""Put the simulated study on disk."""

from __future__ import annotations

from pathlib import Path

from aqp4flow.errors import StorageError
from aqp4flow.simulate import simulate_study

DEFINITION = "assay.toml"


def write_demo(folder: Path, size: float) -> None:
    """Write the simulated study into a new or empty folder, or over an earlier demo.

    Raises StorageError when something else is there.
    """
    if folder.is_dir() and any(folder.iterdir()) and not (folder / "truth" / "sera.csv").is_file():
        raise StorageError(str(folder), "the folder is not empty and not an earlier demo", "name a new folder")
    try:
        for name, data in simulate_study(size):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    except OSError as error:
        raise StorageError(str(folder), f"cannot be written: {error.strerror}", "name another folder") from None
