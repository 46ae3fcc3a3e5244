"""What can go wrong, as the person at the bench meets it.

    Aqp4flowError           where, what, hint
    ├── InputError          something handed to us is not usable     exit 3
    │   ├── FcsError        an FCS file
    │   │   └── IncompleteError   not all of it has arrived
    │   ├── SheetError      a CSV or xlsx table
    │   └── ConfigError     assay.toml
    ├── AnalysisError       the numbers do not allow what was asked  exit 3
    └── StorageError        a disk or folder refuses                 exit 7

A doubt about data is a flag or a check, never an exception.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence


def one_line(text: str, most: int = 600) -> str:
    """Text of a file as it can stand in a message: control characters shown as such, cut after `most` characters."""
    shown = text if len(text) <= most else f"{text[:most]}..."
    if shown.isprintable():
        return shown
    return "".join(c if unicodedata.category(c) not in _UNSEEN else f"\\x{ord(c):02x}" for c in shown)


_UNSEEN = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")


def listed(names: Sequence[str], most: int = 6) -> str:
    """The first of many names, and how many more there are."""
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


class Aqp4flowError(Exception):
    """A message for a person: where it is wrong, what is wrong, what to do next."""

    exit_code = 3

    def __init__(self, where: str, what: str, hint: str = "") -> None:
        super().__init__(where, what, hint)
        self.where, self.what, self.hint = (one_line(text) for text in (where, what, hint))

    def __str__(self) -> str:
        line = f"{self.where}: {self.what}"
        return f"{line}\nhint: {self.hint}" if self.hint else line


class InputError(Aqp4flowError):
    """An input that cannot be used; `others` are further problems found in the same look."""

    others: tuple[InputError, ...] = ()


class FcsError(InputError):
    """An FCS file that cannot be read without guessing."""


class IncompleteError(FcsError):
    """An FCS file of which not all has arrived: a copy under way, or one that was broken off."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(where, what, "the file was still being copied; wait, then copy it again")


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
