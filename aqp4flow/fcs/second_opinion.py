"""What other readers make of a file: FlowIO and fcsparser beside ours, keyword by keyword, channel by channel.

Each of them misreads some real files without a word, and so might we: where they differ a person should look.
A reader that refuses a file has no opinion.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aqp4flow.fcs.reader import FcsFile

AGREES, ROUNDED, DIFFERS = "agrees", "agrees as float32", "differs"
_OWN_WORDS = ("__header__",)  # fcsparser's own additions to the keywords

Text = Mapping[str, str]
Read = tuple[Text, "Callable[[], NDArray[Any]]"]  # keywords, and how to get at the values


@dataclass(frozen=True)
class Opinion:
    """One reader's view. `text` and `data` are empty, or why the reader refuses the one or the other.

    `keywords` holds those that differ: name -> (ours, theirs), None where one has it not; `channels` says for
    each channel in file order whether its values agree.
    """

    reader: str
    text: str
    data: str
    n_keywords: int
    keywords: Mapping[str, tuple[str | None, str | None]]
    channels: tuple[tuple[str, str], ...]

    @property
    def verdict(self) -> str:
        """`differs` when a value does, `agrees` when all were compared, else `refuses`."""
        if any(verdict == DIFFERS for _, verdict in self.channels):
            return DIFFERS
        return AGREES if self.channels else "refuses"

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
            return Opinion(reader, _said(error), "the text was refused", 0, {}, ())
        try:
            channels, refusal = _compared(file, values()), ""
        except Exception as error:
            channels, refusal = (), _said(error)
    ours = {_bare(key): value.strip() for key, value in file.keywords.items()}
    theirs = {_bare(key): str(value).strip() for key, value in text.items() if key not in _OWN_WORDS}
    unlike = {key: (ours.get(key), theirs.get(key)) for key in sorted(ours.keys() | theirs.keys())}
    unlike = {key: pair for key, pair in unlike.items() if pair[0] != pair[1]}
    return Opinion(reader, "", refusal, len(ours), unlike, channels)


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def _bare(key: str) -> str:
    """FlowIO takes the `$` off the keywords and writes them small."""
    return key.strip().lower().removeprefix("$")


def _compared(file: FcsFile, theirs: NDArray[Any]) -> tuple[tuple[str, str], ...]:
    if theirs.shape != (file.n_events, len(file.channels)):
        raise ValueError(f"{theirs.shape[0]} events of {theirs.shape[1:]} channels, ours {file.raw.shape}")
    raw = file.raw
    return tuple((c.name, _verdict(raw[:, i], theirs[:, i])) for i, c in enumerate(file.channels))


def _verdict(ours: NDArray[Any], theirs: NDArray[Any]) -> str:
    ours = ours.astype(np.float64)
    if np.array_equal(ours, theirs.astype(np.float64), equal_nan=True):
        return AGREES
    with np.errstate(over="ignore"):
        rounded = np.array_equal(ours.astype(np.float32), theirs.astype(np.float32), equal_nan=True)
    return ROUNDED if rounded else DIFFERS


def _flowio(file: FcsFile) -> Read:
    import flowio

    if file.n_datasets > 1:
        data = flowio.read_multiple_data_sets(str(file.path))[file.dataset - 1]
    else:
        data = flowio.FlowData(str(file.path))
    return data.text, lambda: data.as_array(preprocess=False)


def _fcsparser(file: FcsFile) -> Read:
    import fcsparser

    where = {"data_set": file.dataset - 1, "channel_naming": "$PnN"}
    text = fcsparser.parse(str(file.path), meta_data_only=True, **where)

    def values() -> NDArray[Any]:
        _, frame = fcsparser.parse(str(file.path), dtype=None, **where)
        return np.asarray(frame)

    return text, values
