"""What docs/figure4.md tells a newcomer to write is what the program reads."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from aqp4flow.assay.definition import read_definition
from aqp4flow.cohort.visits import read_visits
from aqp4flow.model import ClinicalKind, Role

PAGE = (Path(__file__).parents[1] / "docs" / "figure4.md").read_text(encoding="utf-8")


def block(first: str) -> str:
    """The fenced block that begins with these words."""
    (found,) = (text for text in re.findall(r"```\w*\n(.*?)```", PAGE, re.DOTALL) if text.startswith(first))
    return found


def test_the_assay_of_the_page_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "assay.toml").write_text(block("[assay]"), encoding="utf-8")
    assay = read_definition(tmp_path / "assay.toml")
    assert (assay.statistics.primary_outcome, assay.statistics.primary_timepoint) == ("reactivity", "M12")


def test_the_visits_of_the_page_are_accepted_and_hold_the_primary_time_point(tmp_path: Path) -> None:
    (tmp_path / "visits.csv").write_text(block("serum,patient"), encoding="utf-8")
    visits, problems = read_visits(tmp_path / "visits.csv")
    assert problems == []
    assert [visit.visit for visit in visits if visit.patient == "N1"] == ["M0", "M1", "M3", "M6", "M12"]


def test_the_clinical_rows_of_the_page_hold_every_kind_and_each_is_explained() -> None:
    rows = list(csv.DictReader(block("patient,date,kind").splitlines()))
    assert {row["kind"] for row in rows} == {kind.value for kind in ClinicalKind}
    assert [row["date"] for row in rows] == sorted(row["date"] for row in rows)
    explained = set(re.findall(r"`([a-z-]+)`", "\n".join(re.findall(r"^\| (`[^|]+)\|", PAGE, re.MULTILINE))))
    assert explained >= {kind.value for kind in ClinicalKind}


def test_the_plate_map_of_the_page_has_known_roles_and_headings() -> None:
    lines = [line for line in block("well,role").splitlines() if line != "..."]
    roles = [row["role"] for row in csv.DictReader(lines)]
    assert set(roles) <= {role.value for role in Role}
    assert {"sample", "negative", "positive", "reference", "secondary-only"} <= set(roles)


def test_codes_the_page_explains_are_flags_or_checks_of_patients() -> None:
    checks = (Path(__file__).parents[1] / "docs" / "checks.md").read_text(encoding="utf-8")
    section = PAGE.split("## 8.")[1].split("## 9.")[0]
    codes = set(re.findall(r"`([a-z]+(?:-[a-z]+)+)`", section))
    assert len(codes) >= 6
    assert [code for code in sorted(codes) if f"`{code}`" not in checks] == []
