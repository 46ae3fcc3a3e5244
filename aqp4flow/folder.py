"""A folder of results that appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aqp4flow.errors import StorageError


def may_replace(out: Path, mark: str = "manifest.json", kind: str = "a results folder") -> None:
    """An earlier folder of its kind, known by the file `mark`, may be replaced; anything else that is there may not."""
    if out.is_dir() and any(out.iterdir()) and not (out / mark).is_file():
        raise StorageError(str(out), f"the folder is not empty and not {kind}", "name another with -o")
    if out.exists() and not out.is_dir():
        raise StorageError(str(out), "is a file, not a folder", "name another with -o")


@contextmanager
def fresh_folder(out: Path) -> Iterator[Path]:
    """A temporary folder beside `out` that takes its place at the end, and vanishes if anything goes wrong."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise StorageError(str(out.parent), f"cannot be written: {error.strerror}", "name another with -o") from None
    try:
        yield work
        work.chmod(0o755)
        old = out.with_name(f".{out.name}-old-{os.getpid()}")
        if out.exists():
            out.rename(old)
        work.rename(out)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        raise StorageError(str(out), f"cannot be written: {error.strerror}", "close programs that use it") from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
