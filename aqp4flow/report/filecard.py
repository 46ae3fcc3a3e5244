"""What is in an FCS file, as `aqp4flow fcs` tells it: an object for machines, lines for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from aqp4flow.errors import Aqp4flowError, one_line
from aqp4flow.fcs import FcsFile
from aqp4flow.fcs.second_opinion import Opinion
from aqp4flow.model import Channel, Repair, Spillover


def facts(file: FcsFile) -> dict[str, Any]:
    """The facts of one data set; every value is looked at."""
    acquired = file.acquired
    begin = acquired.begin or acquired.day
    said = dict(file.wells_said)
    return {
        "file": file.path.name,
        "version": file.version,
        "cytometer": file.keywords.get("$CYT", "").strip() or None,
        "n_events": file.n_events,
        "n_datasets": file.n_datasets,
        "dataset": file.dataset,
        "channels": [_channel(channel) for channel in file.channels],
        "sha256_raw": file.events.sha256_raw(),
        "spillover": _spillover(file.spillover),
        "well": file.well,
        "plate": file.plate,
        "acquired": begin.isoformat() if begin else None,
        "repairs": _repairs([*file.repairs, *file.value_repairs]),
        "wells_said": said if len(set(said.values())) > 1 else {},
        "acquired_end": acquired.end.isoformat() if acquired.end else None,
        "acquired_raw": dict(acquired.raw),
        "timestep": file.layout.timestep,
    }


def _channel(channel: Channel) -> dict[str, Any]:
    return {
        "index": channel.index,
        "name": channel.name,
        "stain": channel.stain or None,
        "bits": channel.bits,
        "range": channel.range if math.isfinite(channel.range) else None,
        "gain": channel.gain if math.isfinite(channel.gain) else None,
        "amplification": list(channel.amplification),
        "voltage": channel.voltage,
    }


def _spillover(spillover: Spillover | None) -> dict[str, Any] | None:
    if spillover is None:
        return None
    return {
        "source": spillover.source,
        "channels": list(spillover.channels),
        "matrix": spillover.matrix.tolist(),
        "identity": spillover.is_identity,
    }


def _repairs(repairs: Sequence[Repair]) -> list[dict[str, str]]:
    return [{"code": repair.code, "message": repair.message} for repair in repairs]


def opinion(one: Opinion) -> dict[str, Any]:
    """What another reader makes of the file."""
    return {
        "reader": one.reader,
        "verdict": one.verdict,
        "refuses_text": one.text or None,
        "refuses_data": one.data or None,
        "shape": list(one.shape) or None,
        "channels": dict(one.channels),
        "keywords_compared": one.n_keywords,
        "keywords_differing": {key: {"ours": a, "theirs": b} for key, (a, b) in one.keywords.items()},
    }


def refusal(file: str, error: Aqp4flowError) -> dict[str, Any]:
    """A file that was refused, beside others that were not."""
    return {"file": file, "refused": error.what, "hint": error.hint}


def lines(described: dict[str, Any]) -> Iterator[str]:
    """The facts of a file for a person to read; control characters of the file reach no terminal."""
    for line in _lines(described):
        yield one_line(line, most=10_000)


def _lines(described: dict[str, Any]) -> Iterator[str]:
    if "refused" in described:
        return
    sets = f", data set {described['dataset']} of {described['n_datasets']}" if described["n_datasets"] > 1 else ""
    cytometer = described["cytometer"] or "no $CYT"
    yield f"{described['file']}: {described['version']}, {described['n_events']} events, {cytometer}{sets}"
    for label, text in _labelled(described):
        yield f"  {label:9} {text}"
    for key, value in described.get("keywords", {}).items():
        yield f"  {key} = {value}"
    if "measured_dataset" in described:
        yield f"  a run measures data set {described['measured_dataset']}"
    for further in described.get("data_sets", [])[1:]:
        yield from _lines(further)


def _labelled(described: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield from ((label, described[label]) for label in ("well", "plate", "acquired") if described[label])
    yield from (("well?", f"{source} says {well}") for source, well in described["wells_said"].items())
    yield from (("channel", _one_line(channel)) for channel in described["channels"])
    matrix = described["spillover"]
    if matrix:
        note = " (the identity: nothing to compensate)" if matrix["identity"] else ""
        yield "matrix", f"{matrix['source']}: {', '.join(matrix['channels'])}{note}"
    yield from (("repair", f"{repair['code']}: {repair['message']}") for repair in described["repairs"])
    yield from ((one["reader"], _opinion_line(one)) for one in described.get("second_opinions", []))


def _one_line(channel: dict[str, Any]) -> str:
    parts = [f"{channel['index']:>2} {channel['name']}"]
    if channel["stain"]:
        parts.append(channel["stain"])
    parts.append(f"{channel['bits']} bits")
    if channel["range"] is not None:
        parts.append(f"range {channel['range']:.10g}")
    if channel["amplification"][0]:
        parts.append(f"log {channel['amplification'][0]:g} decades")
    if channel["gain"] is None:
        parts.append("scale not known")
    elif channel["gain"] != 1:
        parts.append(f"gain {channel['gain']:g}")
    if channel["voltage"] is not None:
        parts.append(f"{channel['voltage']:g} V")
    return ", ".join(parts)


def _opinion_line(one: dict[str, Any]) -> str:
    if one["refuses_text"]:
        return f"refuses the file: {one['refuses_text']}"
    differing = [name for name, verdict in one["channels"].items() if verdict == "differs"]
    if differing:
        values = f"differs in {', '.join(differing)}"
    elif one["verdict"] == "differs":
        values = f"finds {' x '.join(map(str, one['shape']))} events and channels"
    elif one["refuses_data"]:
        values = f"refuses DATA: {one['refuses_data']}"
    else:
        values = f"agrees in all {len(one['channels'])} channels"
    unlike = list(one["keywords_differing"])
    shown = f" ({', '.join(unlike[:5])}{', ...' if len(unlike) > 5 else ''})" if unlike else ""
    return f"{values}; {len(unlike) or 'no'} keywords differ{shown}"
