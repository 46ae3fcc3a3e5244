"""FCS files built byte by byte, and what a test asks of one.

`struct` alone is used, so that a fault shared by our reader and our writer cannot hide.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from aqp4flow.errors import FcsError
from aqp4flow.fcs import FcsFile, read_fcs

SHARED = Path(__file__).parents[1].parent / "shared"  # material beside the project, which may be absent
HEADER = 58
LITTLE, BIG = "1,2,3,4", "4,3,2,1"
Keywords = Mapping[str, str | None]  # None takes a keyword out


def described(names: Sequence[str], bits: int = 32, kind: str = "F", top: int = 262144, **more: str) -> Keywords:
    """Keywords of a layout; `more` as P1G='2' adds $P1G."""
    keywords = {"$PAR": str(len(names)), "$DATATYPE": kind, "$BYTEORD": LITTLE, "$MODE": "L", "$NEXTDATA": "0"}
    for number, name in enumerate(names, 1):
        keywords |= {f"$P{number}N": name, f"$P{number}B": str(bits), f"$P{number}R": str(top), f"$P{number}E": "0,0"}
    return keywords | {f"${key}": value for key, value in more.items()}


def built(
    data: bytes,
    keywords: Keywords,
    total: str | None,
    *,
    delimiter: str = "/",
    encoding: str = "utf-8",
    version: str = "FCS3.0",
    header: tuple[int, int] | None = (0, 0),
    text: tuple[int, int] | None = (0, 0),
) -> bytes:
    """HEADER, TEXT and DATA one after the other; `header` and `text` shift the offsets they name (None: 0)."""

    def segment(begin: int) -> bytes:
        first, last = (begin + text[0], begin + len(data) - 1 + text[1]) if text else (0, 0)
        pairs = {"$BEGINDATA": f"{first:08d}", "$ENDDATA": f"{last:08d}", "$TOT": total, **keywords}
        body = "".join(f"{key}{delimiter}{value}{delimiter}" for key, value in pairs.items() if value is not None)
        return (delimiter + body).encode(encoding)

    begin = HEADER + len(segment(0))
    named = (begin + header[0], begin + len(data) - 1 + header[1]) if header else (0, 0)
    offsets = (HEADER, begin - 1, *named, 0, 0)
    return (version + "    " + "".join(f"{n:8d}" for n in offsets)).encode() + segment(begin) + data


def read(folder: Path, content: bytes, name: str = "well.fcs") -> FcsFile:
    (folder / name).write_bytes(content)
    return read_fcs(folder / name)


def refusal(folder: Path, content: bytes, name: str = "well.fcs") -> str:
    """What a person reads when the file is refused."""
    with pytest.raises(FcsError) as refused:
        read(folder, content, name)
    return str(refused.value)


def codes(file: FcsFile) -> list[str]:
    return [repair.code for repair in file.repairs]


def floats(*rows: Sequence[float], order: str = "<", letter: str = "f") -> bytes:
    return b"".join(struct.pack(f"{order}{len(row)}{letter}", *row) for row in rows)


def integers(rows: Sequence[Sequence[int]], widths: Sequence[int], order: str) -> bytes:
    end = "little" if order == LITTLE else "big"
    return b"".join(value.to_bytes(width, end) for row in rows for value, width in zip(row, widths, strict=True))


TWO = described(["A", "B"])
EVENTS = [(1.0, -2.0), (3.5, 4.25), (5.0, 6.0), (7.0, 8.0), (9.0, 10.0)]
DATA = floats(*EVENTS)
GOOD = built(DATA, TWO, "5")
