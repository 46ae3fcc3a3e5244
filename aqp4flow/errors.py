"""What can go wrong, as the person at the bench meets it.

    Aqp4flowError           where, what, hint
    ├── InputError          something handed to us is not usable     exit 3
    │   ├── FcsError        an FCS file
    │   ├── SheetError      a CSV or xlsx table
    │   └── ConfigError     assay.toml
    ├── AnalysisError       the numbers do not allow what was asked  exit 3
    └── StorageError        a disk or folder refuses                 exit 7

A doubt about data is a flag or a check, never an exception.
"""

from __future__ import annotations

from collections.abc import Sequence


class Aqp4flowError(Exception):
    """A message for a person: where it is wrong, what is wrong, what to do next."""

    exit_code = 3

    def __init__(self, where: str, what: str, hint: str = "") -> None:
        super().__init__(where, what, hint)
        self.where = where
        self.what = what
        self.hint = hint

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}"
        return f"{line}\nhint: {self.hint}" if self.hint else line


class InputError(Aqp4flowError):
    """An input that cannot be used; `others` are further problems found in the same look."""

    others: tuple[InputError, ...] = ()


class FcsError(InputError):
    """An FCS file that cannot be read without guessing."""


class SheetError(InputError):
    """A table (plate map, visits, overrides) that cannot be used as it stands."""


class ConfigError(InputError):
    """An assay definition that cannot be used as it stands."""


class AnalysisError(Aqp4flowError):
    """The data are readable but do not allow what was asked of them."""


class StorageError(Aqp4flowError):
    """A folder cannot be written or replaced."""

    exit_code = 7


def raise_all(problems: Sequence[InputError]) -> None:
    """Raise the first of `problems`, carrying the rest; return quietly when there are none."""
    if problems:
        first = problems[0]
        first.others = tuple(problems[1:])
        raise first
