"""What other readers make of a file: FlowIO and fcsparser beside ours, keyword by keyword, channel by channel.

Each of them misreads some real files without a word, and so might we: where they differ a person should look.
A reader that refuses a file has no opinion.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqp4flow.fcs.reader import FcsFile

AGREES, ROUNDED, DIFFERS, REFUSES = "agrees", "agrees as float32", "differs", "refuses"
_OWN_WORDS = ("__header__",)  # fcsparser's own additions to the keywords

Text = Mapping[str, str]
Read = tuple[Text, "Callable[[], NDArray[Any]]"]  # keywords, and how to get at the values


@dataclass(frozen=True)
class Opinion:
    """One reader's view. `text` and `data` are empty, or why the reader refuses the one or the other.

    `keywords` holds those that differ: name -> (ours, theirs), None where one has it not. `shape` is the number of
    events and channels found; where it is ours, `channels` says of each channel in file order whether its values agree.
    """

    reader: str
    text: str = ""
    data: str = ""
    n_keywords: int = 0
    keywords: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)
    shape: tuple[int, ...] = ()
    channels: tuple[tuple[str, str], ...] = ()

    @property
    def verdict(self) -> str:
        """`differs` when a value or the number of events does, `agrees` when all were compared, else `refuses`."""
        if self.differing or (self.shape and not self.channels):
            return DIFFERS
        return AGREES if self.channels else REFUSES

    @property
    def differing(self) -> tuple[str, ...]:
        """Channels whose values differ."""
        return tuple(name for name, verdict in self.channels if verdict == DIFFERS)


def second_opinions(file: FcsFile) -> tuple[Opinion, ...]:
    """FlowIO and fcsparser on the data set that `file` is."""
    return (_opinion(file, "FlowIO", _flowio), _opinion(file, "fcsparser", _fcsparser))


def _opinion(file: FcsFile, reader: str, read: Callable[[FcsFile], Read]) -> Opinion:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            text, values = read(file)
        except Exception as error:  # whatever another reader trips over is its opinion
            return Opinion(reader, text=_said(error))
        matrix, refusal = None, ""
        try:
            matrix = values()
        except Exception as error:
            refusal = _said(error)
    ours = {_bare(key): value.strip() for key, value in file.keywords.items()}
    theirs = {_bare(key): str(value).strip() for key, value in text.items() if key not in _OWN_WORDS}
    unlike = {key: (ours.get(key), theirs.get(key)) for key in sorted(ours.keys() | theirs.keys())}
    unlike = {key: pair for key, pair in unlike.items() if pair[0] != pair[1]}
    shape, channels = ((), ()) if matrix is None else (matrix.shape, _compared(file, matrix))
    return Opinion(reader, "", refusal, len(ours), unlike, shape, channels)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def _bare(key: str) -> str:
    """FlowIO takes every `$` out of the keywords and writes them small."""
    return key.strip().lower().replace("$", "")


def _compared(file: FcsFile, theirs: NDArray[Any]) -> tuple[tuple[str, str], ...]:
    raw = file.open_events().raw
    if theirs.shape != raw.shape:
        return ()
    return tuple((c.name, _verdict(raw[:, i], theirs[:, i])) for i, c in enumerate(file.channels))


def _verdict(ours: NDArray[Any], theirs: NDArray[Any]) -> str:
    ours = ours.astype(np.float64)
    if np.array_equal(ours, theirs.astype(np.float64), equal_nan=True):
        return AGREES
    with np.errstate(over="ignore"):
        rounded = np.array_equal(ours.astype(np.float32), theirs.astype(np.float32), equal_nan=True)
    return ROUNDED if rounded else DIFFERS


def _flowio(file: FcsFile) -> Read:
    """FlowIO, which refuses an end of DATA one byte too high unless told that this is known."""
    import flowio

    known = any(repair.code == "data-end-off-by-one" for repair in file.repairs)
    if file.n_datasets > 1:
        data = flowio.read_multiple_data_sets(str(file.path), ignore_offset_error=known)[file.dataset - 1]
    else:
        data = flowio.FlowData(str(file.path), ignore_offset_error=known)
    return data.text, lambda: data.as_array(preprocess=False)


def _fcsparser(file: FcsFile) -> Read:
    import fcsparser

    logging.getLogger("fcsparser").setLevel(logging.CRITICAL)  # it talks where our own talk goes
    where = {"data_set": file.dataset - 1, "channel_naming": "$PnN"}
    text = fcsparser.parse(str(file.path), meta_data_only=True, **where)

    def values() -> NDArray[Any]:
        _, frame = fcsparser.parse(str(file.path), dtype=None, **where)
        return np.asarray(frame)

    return text, values
