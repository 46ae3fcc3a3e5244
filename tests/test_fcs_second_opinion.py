"""FlowIO and fcsparser beside ours: agreement, refusal, and a difference that must not pass."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from aqp4flow.fcs import FcsFile, read_fcs
from aqp4flow.fcs.second_opinion import Opinion, second_opinions
from handmade import BIG, DATA, LITTLE, TWO, built, described, floats, integers, read

VALUES = np.random.default_rng(3).normal(1e4, 3e3, (50, 2)).astype("<f4")
COMPLETE = {**TWO, **dict.fromkeys(("$BEGINANALYSIS", "$ENDANALYSIS", "$BEGINSTEXT", "$ENDSTEXT"), "0")}


def opinions(file: FcsFile) -> dict[str, Opinion]:
    return {opinion.reader: opinion for opinion in second_opinions(file)}


def test_both_agree_on_an_ordinary_file(tmp_path: Path) -> None:
    found = opinions(read(tmp_path, built(VALUES.tobytes(), COMPLETE, "50")))
    for opinion in found.values():
        assert opinion.verdict == "agrees"
        assert opinion.channels == (("A", "agrees"), ("B", "agrees"))
        assert opinion.shape == (50, 2)
        assert dict(opinion.keywords) == {}
        assert opinion.n_keywords == 20


def test_a_value_that_differs_is_found_in_its_channel(tmp_path: Path) -> None:
    """Another byte order in our hands than in the file's: each channel that moves is named."""
    file = read(tmp_path, built(VALUES.tobytes(), COMPLETE, "50"))
    slot = replace(file.layout.slots[1], order=">")
    wrong = replace(file, layout=replace(file.layout, slots=(file.layout.slots[0], slot)))
    for opinion in opinions(wrong).values():
        assert opinion.verdict == "differs"
        assert opinion.differing == ("B",)


def test_another_number_of_events_is_a_difference(tmp_path: Path) -> None:
    """FlowIO reads all that is there, we what $TOT promises."""
    found = opinions(read(tmp_path, built(VALUES.tobytes(), COMPLETE, "49")))
    assert (found["FlowIO"].verdict, found["FlowIO"].shape, found["FlowIO"].channels) == ("differs", (50, 2), ())


def test_keywords_that_differ_are_shown_side_by_side(tmp_path: Path) -> None:
    """An empty value makes both read two keywords as one."""
    file = read(tmp_path, built(VALUES.tobytes(), {**COMPLETE, "$COM": "", "$OP": "x"}, "50"))
    assert opinions(file)["fcsparser"].keywords["com"][0] == ""


def test_a_reader_that_refuses_has_no_opinion(tmp_path: Path) -> None:
    """24 bits: FlowIO gives up on DATA; keywords with blanks: both give up on TEXT."""
    bits = {**COMPLETE, **described(["A", "B"], 24, "I", 2**24)}
    found = opinions(read(tmp_path, built(integers([[1, 2]] * 50, [3, 3], LITTLE), bits, "50")))
    assert (found["FlowIO"].verdict, found["FlowIO"].channels) == ("refuses", ())
    assert found["FlowIO"].data.startswith("ValueError")
    padded = {f"  {key}": value for key, value in COMPLETE.items()}
    found = opinions(read(tmp_path, built(VALUES.tobytes(), padded, "50")))
    assert [opinion.verdict for opinion in found.values()] == ["refuses", "refuses"]
    assert found["FlowIO"].text.startswith("KeyError")


def test_a_known_end_one_too_high_is_no_reason_to_refuse(tmp_path: Path) -> None:
    file = read(tmp_path, built(VALUES.tobytes(), COMPLETE, "50", header=(0, 1), text=(0, 1)))
    assert opinions(file)["FlowIO"].verdict == "agrees"


def test_each_data_set_is_compared_with_its_own(tmp_path: Path) -> None:
    first = built(DATA, {**COMPLETE, "$NEXTDATA": "0" * 8}, "5")
    second = built(floats((11.0, 12.0), (13.0, 14.0)), COMPLETE, "2")
    path = tmp_path / "two.fcs"
    path.write_bytes(first.replace(b"$NEXTDATA/00000000", f"$NEXTDATA/{len(first):08d}".encode()) + second)
    for number in (1, 2):
        assert opinions(read_fcs(path, number))["FlowIO"].verdict == "agrees"


def test_another_reader_does_not_talk_over_ours(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """fcsparser logs what it cannot decode."""
    second_opinions(read(tmp_path, built(VALUES.tobytes(), {**COMPLETE, "$OP": "Zoë"}, "50", encoding="latin-1")))
    assert capfd.readouterr() == ("", "")


# --- on the command line and in a run -------------------------------------------------------------


def test_the_command_tells_what_the_others_say(tmp_path: Path, call: Callable) -> None:
    keywords = {**COMPLETE, "$BYTEORD": BIG}
    (tmp_path / "a.fcs").write_bytes(built(VALUES.astype(">f4").tobytes(), keywords, "50"))
    said = call("fcs", tmp_path / "a.fcs", "--second-opinion").stdout
    assert "  FlowIO    agrees in all 2 channels; no keywords differ\n" in said
    (card,) = [json.loads(call("fcs", tmp_path / "a.fcs", "--second-opinion", "--json").stdout)]
    assert [(one["reader"], one["keywords_compared"]) for one in card["second_opinions"]] == [
        ("FlowIO", 20),
        ("fcsparser", 20),
    ]
    assert card["second_opinions"][0]["channels"] == {"A": "agrees", "B": "agrees"}


@pytest.mark.parametrize(("setting", "wells"), [("", 1), ('second_opinion = "all"', 3), ('second_opinion = "off"', 0)])
def test_a_run_asks_for_as_many_wells_as_the_definition_says(
    setting: str, wells: int, plate: Path, tmp_path: Path, call: Callable, table: Callable
) -> None:
    """And says for each what came of it; the plate is cut down to three wells."""
    rows = (plate / "plate.csv").read_text().splitlines()
    (plate / "plate.csv").write_text("\n".join(rows[:4]) + "\n")
    definition = plate.parents[1] / "assay.toml"
    definition.write_text(definition.read_text() + f"\n[fcs]\n{setting}\n")
    done = call("run", plate, "--assay", definition, "--until", "wells", "-o", tmp_path / "out")
    assert done.returncode in (0, 4), done.stderr
    checks = [row for row in table(tmp_path / "out" / "checks.csv") if row["check"].startswith("second-opinion-")]
    assert len(checks) == 2 * wells
    assert {(row["verdict"], row["value"]) for row in checks} <= {("pass", "agrees")}


def test_a_difference_in_values_fails_the_run(tmp_path: Path) -> None:
    """Planted: an opinion that differs becomes a failing check on the plate."""
    from aqp4flow.model import Role, Verdict, Well
    from aqp4flow.plate import Opened
    from aqp4flow.platechecks import _opinion_check

    file = read(tmp_path, built(VALUES.tobytes(), COMPLETE, "50"))
    opened = Opened(Well("P001", "A01", "well.fcs", Role.SAMPLE), file, None)
    check = _opinion_check(opened, Opinion("FlowIO", shape=(50, 2), channels=(("A", "agrees"), ("B", "differs"))))
    assert (check.scope, check.check, check.verdict) == ("plate", "second-opinion-flowio", Verdict.FAIL)
    assert check.message == "FlowIO reads other values in B of well.fcs."
    check = _opinion_check(opened, Opinion("FlowIO", shape=(51, 2)))
    assert (check.verdict, check.message) == (Verdict.WARN, "FlowIO finds 51 x 2 events and channels of well.fcs.")
    check = _opinion_check(opened, Opinion("fcsparser", data="AttributeError: newbyteorder"))
    assert (check.verdict, check.value) == (Verdict.PASS, "refuses")
