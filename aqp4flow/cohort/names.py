"""Names that people write in several ways: found alike, never changed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_SEPARATORS = re.compile(r"[\s_\-‐‑‒–—−ー.・/]+")
#: In what names with one key differ, in words.
ALIKE = "in case, width, blanks, hyphens or leading zeros"


def name_key(name: str) -> str:
    """What is left of a name that people write in several ways: no case, width, blanks, hyphens, leading zeros.

    A separator between two digits stays: `1-11` and `11-1` are two names.
    """
    text = unicodedata.normalize("NFKC", name).casefold()
    text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
    text = _SEPARATORS.sub("-", text).strip("-")
    text = re.sub(r"(?<!\d)-|-(?!\d)", "", text)
    return re.sub(r"(?<!\d)0+(?=\d)", "", text)


def alike(names: Iterable[str]) -> list[list[str]]:
    """Groups of different names with one key."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(name_key(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]
