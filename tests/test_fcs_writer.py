"""The writer against three other readers and our own; a mended file written anew."""

from __future__ import annotations

import io
import struct
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aqp4flow.errors import InputError
from aqp4flow.fcs import fcs_bytes, read_fcs, rewritten
from aqp4flow.model import Channel, Spillover
from handmade import BIG, DATA, EVENTS, LITTLE, TWO, built, codes, described, floats, integers, read

CHANNELS = (
    Channel(1, "FSC-A", range=262144.0),
    Channel(2, "FITC-A", "GFP", voltage=450.0),
    Channel(3, "Time", range=1024.0),
)


def drawn(dtype: type[np.floating], n: int = 50) -> np.ndarray:
    values = np.random.default_rng(1).normal(0, 1e4, (n, 3)).astype(dtype)
    values[0] = [np.finfo(dtype).max, np.finfo(dtype).tiny, -0.0]
    return values


def by_flowio(path: Path) -> np.ndarray:
    import flowio

    return np.asarray(flowio.FlowData(io.BytesIO(path.read_bytes())).as_array(preprocess=False))


def by_fcsparser(path: Path) -> np.ndarray:
    import fcsparser

    return np.asarray(fcsparser.parse(str(path), dtype=None)[1].to_numpy())


def by_flowcal(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its import deprecates a matplotlib call
        import FlowCal

        return np.asarray(FlowCal.io.FCSData(str(path)))


def by_us(path: Path) -> np.ndarray:
    return read_fcs(path).raw


READERS = [by_us, by_flowio, by_fcsparser, by_flowcal]


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_written_is_read_back_to_the_last_digit(
    dtype: type[np.floating], reader: Callable[[Path], np.ndarray], tmp_path: Path
) -> None:
    values = drawn(dtype)
    path = tmp_path / "a.fcs"
    path.write_bytes(fcs_bytes(values, CHANNELS, {"$CYT": "test"}))
    assert np.array_equal(reader(path), values)


def test_names_stains_keywords_and_matrix_are_read_back(tmp_path: Path) -> None:
    channels = (Channel(1, "蛍光-A", "抗体 γ", range=1024.0, voltage=1.5), Channel(2, "PE-A"))
    spillover = Spillover(("蛍光-A", "PE-A"), np.array([[1.0, 1 / 3], [0.1, 1.0]]), "planted")
    keywords = {"PATH": "C|D||E", "ends": "x|", "WELL ID": "B7"}
    file = read(tmp_path, fcs_bytes(np.ones((2, 2)), channels, keywords, spillover))
    assert file.channels == tuple(replace(channel, bits=64) for channel in channels)
    assert {key: file.keywords[key.upper()] for key in ("PATH", "ends", "WELL ID")} == {
        "PATH": "C|D||E",
        "ends": "x|",
        "WELL ID": "B7",
    }
    assert file.well == "B07"
    assert file.spillover is not None
    assert file.spillover.same_as(spillover)


def test_a_well_without_events_is_written_and_read(tmp_path: Path) -> None:
    path = tmp_path / "a.fcs"
    path.write_bytes(fcs_bytes(np.empty((0, 3), np.float32), CHANNELS, {}))
    assert read_fcs(path).n_events == 0


def test_the_same_values_give_the_same_bytes() -> None:
    assert fcs_bytes(drawn(np.float32), CHANNELS, {"A": "b"}) == fcs_bytes(drawn(np.float32), CHANNELS, {"A": "b"})


@pytest.mark.parametrize(
    ("shape", "keywords", "what"),
    [
        ((2, 3), {"$TOT": "5"}, "keyword $TOT describes the layout and is set by the writer"),
        ((2, 3), {"$P1B": "16"}, "keyword $P1B describes the layout and is set by the writer"),
        ((2, 3), {"$OP": ""}, "keyword '$OP' has the value ''; FCS allows neither empty (3.1, 3.2.4)"),
        ((2, 3), {"": "x"}, "keyword '' has the value 'x'; FCS allows neither empty (3.1, 3.2.4)"),
        (
            (2, 3),
            {"ALL": "|\f\x1e!\\/*~^`\x1f\x1d\x1c#@%&"},
            r"keywords hold every one of '|\x0c\x1e!\\/*~^`\x1f\x1d\x1c#@%&'; none is left as a delimiter",
        ),
        ((2, 2), {}, "3 channels for values of shape (2, 2)"),
        ((3,), {}, "3 channels for values of shape (3,)"),
    ],
)
def test_the_writer_refuses_what_would_not_be_read_back(
    shape: tuple[int, ...], keywords: dict[str, str], what: str
) -> None:
    with pytest.raises(InputError) as refused:
        fcs_bytes(np.ones(shape), CHANNELS, keywords)
    assert str(refused.value) == f"FCS writer: {what}"


# --- a file written anew --------------------------------------------------------------------------


def again(folder: Path, content: bytes, name: str = "odd.fcs") -> Path:
    """The file that `--write` makes of an odd one."""
    path = folder / "mended.fcs"
    path.write_bytes(rewritten(read(folder, content, name)))
    return path


ODD = {
    "24 bits": built(integers([[1, 2**24 - 1], [3, 4]], [3, 3], LITTLE), described(["A", "B"], 24, "I", 2**24), "2"),
    "bytes 3,4,1,2": built(
        bytes([3, 4, 1, 2, 0, 1, 9, 0]), {**described(["A", "B"], 32, "I", 2**32), "$BYTEORD": "3,4,1,2"}, "1"
    ),
    "dirty bits": built(integers([[0xFC05, 0xFFFF]], [2, 2], LITTLE), described(["A", "B"], 16, "I", 1024), "1"),
    "digits": built(b"1 2 3 4", described(["A", "B"], kind="A", P1B="*", P2B="*"), "2"),
    "mixed types": built(
        struct.pack("<fd", 1.5, 1 / 3), described(["A", "B"], P2DATATYPE="D", P2B="64"), "1", version="FCS3.2"
    ),
    "big doubles": built(
        floats((1 / 3, 2.5), order=">", letter="d"), {**described(["A", "B"], 64, "D"), "$BYTEORD": BIG}, "1"
    ),
    "offsets": built(DATA, TWO, "5", header=(3, 9)),
    "no total": built(DATA, TWO, None, text=None),
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("case", ODD)
def test_a_mended_file_is_read_alike_by_everyone(
    case: str, reader: Callable[[Path], np.ndarray], tmp_path: Path
) -> None:
    path = again(tmp_path, ODD[case])
    assert np.array_equal(reader(path), read_fcs(tmp_path / "odd.fcs").raw.astype(float))
    assert read_fcs(path).repairs == ()


def test_values_on_the_linear_scale_stay_what_they_were(tmp_path: Path) -> None:
    """Log amplification is undone, gain and time step go with the values."""
    keywords = {**described(["A", "B", "Time"], 16, "I", 1024, P1E="4,0", P2G="2"), "$TIMESTEP": "0.01"}
    path = again(tmp_path, built(integers([[512, 6, 100], [1023, 7, 200]], [2] * 3, LITTLE), keywords, "2"))
    ours, odd = read_fcs(path), read_fcs(tmp_path / "odd.fcs")
    for name in ("A", "B", "Time"):
        assert ours.events.column(name).tolist() == pytest.approx(odd.events.column(name).tolist(), rel=1e-6)
    assert ours.events.column("B").tolist() == [3.0, 3.5]
    assert ours.events.column("Time").tolist() == [1.0, 2.0]


def test_a_log_channel_that_was_made_linear_has_no_gain_left(tmp_path: Path) -> None:
    path = again(tmp_path, built(b"\0\2", described(["A"], 16, "I", 1024, P1E="4,1", P1G="10"), "1"))
    assert read_fcs(path).events.column("A").tolist() == pytest.approx([100.0])


@pytest.mark.parametrize("reader", READERS)
def test_delimiters_in_names_and_values_trouble_no_reader(reader: Callable[[Path], np.ndarray], tmp_path: Path) -> None:
    """The writer takes a delimiter that nothing holds, for not all know what a doubled one means."""
    keywords = {**described(["A|B", "|"], P1S="|", P2S="x|"), "|A": "v1", "B|": "||v2|"}
    path = again(tmp_path, built(DATA, keywords, "5"))
    assert np.array_equal(reader(path), read_fcs(path).raw)
    file = read_fcs(path)
    assert [(c.name, c.stain) for c in file.channels] == [("A|B", "|"), ("|", "x|")]
    assert (file.keywords["|A"], file.keywords["B|"]) == ("v1", "||v2|")


def test_a_matrix_of_names_with_commas_stays_readable(tmp_path: Path) -> None:
    path = again(tmp_path, built(DATA, {**described(["A,B", "C"]), "SPILL": "2,1,2,1,0.1,0,1"}, "5"))
    spillover = read_fcs(path).spillover
    assert spillover is not None
    assert (spillover.channels, spillover.matrix.tolist()) == (("A,B", "C"), [[1.0, 0.1], [0.0, 1.0]])


@pytest.mark.parametrize("reader", [by_us, by_flowio, by_fcsparser])
def test_a_well_without_events_is_read(reader: Callable[[Path], np.ndarray], tmp_path: Path) -> None:
    """FlowCal opens no file without events."""
    assert reader(again(tmp_path, built(b"", TWO, "0"))).shape == (0, 2)


@pytest.mark.parametrize(("step", "wanted"), [("0,01", "0.01"), ("xxxxxxxxx", None), ("0.05", "0.05")])
def test_a_time_step_is_written_as_it_was_understood(step: str, wanted: str | None, tmp_path: Path) -> None:
    path = again(tmp_path, built(DATA, {**described(["Time", "A"]), "$TIMESTEP": step}, "5"))
    assert read_fcs(path).keywords.get("$TIMESTEP") == wanted
    assert codes(read_fcs(path)) == []


def test_ranges_and_voltages_keep_their_digits(tmp_path: Path) -> None:
    path = again(tmp_path, built(DATA, {**TWO, "$P1R": "0.4", "$P1V": "1234567", "$P2V": "512.25"}, "5"))
    assert [(c.range, c.voltage) for c in read_fcs(path).channels] == [(0.4, 1234567.0), (262144.0, 512.25)]


def test_what_was_mended_and_what_was_said_goes_along(tmp_path: Path) -> None:
    keywords = {
        **described(["FITC-A", "PE-A"], P1S="GFP", P1V="400"),
        "SPILL": "2,1,2,1,0.1,0,1",
        "$OP": "検体",
        "EMPTY": "",
        "PATH": "C:||D",
        "WELL ID": "B7",
    }
    path = again(tmp_path, built(DATA, keywords, "5", delimiter="|", encoding="cp932"), "B07.fcs")
    file = read_fcs(path)
    assert file.raw.tolist() == [list(row) for row in EVENTS]
    assert [(c.name, c.stain, c.voltage) for c in file.channels] == [("FITC-A", "GFP", 400.0), ("PE-A", "", None)]
    assert (file.keywords["$OP"], file.keywords["PATH"], file.well) == ("検体", "C:|D", "B07")
    assert file.spillover is not None
    assert (file.spillover.channels, file.spillover.source) == (("FITC-A", "PE-A"), "$SPILLOVER")
    assert file.keywords["AQP4FLOW REPAIRS"] == "spillover-names-resolved; text-cp932; text-empty-values"
    assert codes(file) == []


def test_the_linear_set_of_several_becomes_a_file_of_its_own(corpus: Path, tmp_path: Path) -> None:
    original = read_fcs(corpus / "vendors" / "cytoflow+cytoflow" / "Beckman Coulter - Gallios.LMD")
    path = tmp_path / "linear.fcs"
    path.write_bytes(rewritten(original))
    for reader in READERS:
        assert np.array_equal(reader(path), original.raw.astype(float))


def test_every_real_file_is_written_anew_with_the_same_values(corpus: Path, tmp_path: Path) -> None:
    """And FlowIO reads of each the values that we read of the original."""
    path = tmp_path / "anew.fcs"
    files = [p for p in sorted((corpus / "vendors").rglob("*")) if p.suffix.lower() in (".fcs", ".lmd")]
    for original in files[::3]:
        file = read_fcs(original)
        path.write_bytes(rewritten(file))
        linear = [c.amplification[0] == 0 for c in file.channels]
        wanted = file.raw.astype(float)[:, linear]
        for values in (read_fcs(path).raw, by_flowio(path)):
            assert np.array_equal(values[:, linear], wanted, equal_nan=True), original.name
