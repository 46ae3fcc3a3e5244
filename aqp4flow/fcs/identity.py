"""Which well and plate a file says it is, from keywords and file name.

Precedence: WELL ID, $WELLID, BDPM$Well, then $SRC when it looks like a well, then the file's name. Forms seen
in real exports: FACSDiva HTS, MACSQuant, CellQuest, Accuri.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_KEYWORDS = ("WELL ID", "$WELLID", "BDPM$WELL", "$SRC")
_WELL = re.compile(r"^([A-P])0?(\d{1,2})$", re.IGNORECASE)
_FILE_NAMES = (
    re.compile(r"^.+?_[A-P]\d{1,2}_(?P<well>[A-P]\d{2})(?:_.*)?\.(?:fcs|lmd)$", re.IGNORECASE),  # Diva HTS
    re.compile(r"^.+?_Well_(?P<well>[A-P]\d{1,2})(?:\.\d{3,4})?\.(?:fcs|lmd)$", re.IGNORECASE),  # MACSQuant
    re.compile(r"^.+\.(?P<well>[A-P]\d{2})$", re.IGNORECASE),  # CellQuest: the well is the extension
    re.compile(r"^(?P<well>[A-P]\d{1,2})(?:[ _-].*)?\.(?:fcs|lmd)$", re.IGNORECASE),  # Accuri, bare well
    re.compile(r"^.+?[ _-](?P<well>[A-P]\d{2})\.(?:fcs|lmd)$", re.IGNORECASE),
)


def normal_well(text: str) -> str | None:
    """`a1`, `A01`, `A1` -> `A01`; None when the text does not name a well of a 384-well plate."""
    match = _WELL.match(text.strip())
    if not match or not 1 <= int(match[2]) <= 24:
        return None
    return f"{match[1].upper()}{int(match[2]):02d}"


def well_of(keywords: Mapping[str, str], file_name: str) -> str | None:
    """The well a file belongs to, as `B07`, or None when nothing says so."""
    for key in _KEYWORDS:
        well = normal_well(keywords.get(key, ""))
        if well:
            return well
    for pattern in _FILE_NAMES:
        match = pattern.match(file_name)
        if match:
            return normal_well(match["well"])
    return None
