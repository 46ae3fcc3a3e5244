"""Which well and plate a file says it is, from keywords and file name.

Precedence: WELL ID, $WELLID, BDPM$Well; where none of them is there, $SRC if it looks like a well (it may as well be
a patient called P1); then the file's name; TUBE NAME only where nothing else speaks, for tubes have names of their
own. Forms seen in real exports: FACSDiva HTS, MACSQuant, CytoFLEX, CellQuest, Accuri. Sources that disagree name no
well: that is for the plate map to decide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_KEYWORDS = ("WELL ID", "$WELLID", "BDPM$WELL")
_PLATES = ("PLATE NAME", "$PLATENAME", "$PLATEID", "PLATE ID")
_WELL = re.compile(r"^([A-P])0?(\d{1,2})$", re.IGNORECASE)
_OF_96 = r"[A-H](?:0[1-9]|1[0-2])"  # M23, P01, D14 are isoforms, patients, days
_FILE_NAMES = (
    re.compile(r"^.+?_[A-P]\d{1,2}_(?P<well>[A-P]\d{2})(?:_.*)?\.(?:fcs|lmd)$", re.IGNORECASE),  # Diva HTS
    re.compile(r"^.+?[_-]Well[_-](?P<well>[A-P]\d{1,2})(?:\.\d{3,4})?\.(?:fcs|lmd)$", re.IGNORECASE),  # MACSQuant
    re.compile(r"^.+\.(?P<well>[A-P]\d{2})$", re.IGNORECASE),  # CellQuest: the well is the extension
    re.compile(rf"^(?P<well>{_OF_96}) .*\.(?:fcs|lmd)$", re.IGNORECASE),  # Accuri
    re.compile(r"^(?P<well>[A-P]\d{1,2})\.(?:fcs|lmd)$", re.IGNORECASE),
    re.compile(rf"^.+?(?<![A-P]\d{{2}})[ _-](?P<well>{_OF_96})\.(?:fcs|lmd)$", re.IGNORECASE),
)


def normal_well(text: str) -> str | None:
    """`a1`, `A01`, `A1` -> `A01`; None when the text does not name a well of a 384-well plate."""
    match = _WELL.match(text.strip())
    if not match or not 1 <= int(match[2]) <= 24:
        return None
    return f"{match[1].upper()}{int(match[2]):02d}"


def wells_said(keywords: Mapping[str, str], file_name: str) -> dict[str, str]:
    """Every source that names a well, in order of precedence: keyword (or `file name`) -> well as `B07`."""
    said = {key: normal_well(keywords.get(key, "")) for key in _KEYWORDS}
    if not any(said.values()):
        said["$SRC"] = normal_well(keywords.get("$SRC", ""))
    match = next(filter(None, (pattern.match(file_name) for pattern in _FILE_NAMES)), None)
    said["file name"] = normal_well(match["well"]) if match else None
    if not any(said.values()):
        said["TUBE NAME"] = normal_well(keywords.get("TUBE NAME", ""))
    return {source: well for source, well in said.items() if well}


def well_of(keywords: Mapping[str, str], file_name: str) -> str | None:
    """The well a file belongs to, as `B07`; None when nothing says so, or sources name different wells."""
    wells = set(wells_said(keywords, file_name).values())
    return wells.pop() if len(wells) == 1 else None


def plate_of(keywords: Mapping[str, str]) -> str | None:
    """The plate a file says it is of."""
    return next((keywords[key].strip() for key in _PLATES if keywords.get(key, "").strip()), None)
