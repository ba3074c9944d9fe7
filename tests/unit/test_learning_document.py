"""docs/learning.md: each pitfall has its rule, and the tests that it names are there."""

from __future__ import annotations

import re

import pytest
from documents import ROOT

TEXT = (ROOT / "docs" / "learning.md").read_text("utf-8")
ROWS = [row for row in re.findall(r"^\| (\d+) \|(.+)\|$", TEXT, re.MULTILINE) if "`test_" in row[1]]


def known_tests() -> set[str]:
    paths = (ROOT / "tests").rglob("test_*.py")
    return {
        name
        for path in paths
        for name in re.findall(r"^def (test_\w+)\(", path.read_text("utf-8"), re.MULTILINE)
    }


def test_all_pitfalls_are_there_and_each_says_whether_it_is_avoided() -> None:
    assert [int(number) for number, _ in ROWS] == list(range(1, 22))
    assert {row.split("|")[1].strip() for _, row in ROWS} == {"yes", "in part", "no"}


def test_the_tests_that_prove_a_rule_are_there() -> None:
    named = {number: set(re.findall(r"`(test_\w+)`", row)) for number, row in ROWS}

    assert all(named.values())
    assert {
        number: lacking for number, names in named.items() if (lacking := names - known_tests())
    } == {}


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(babylon_tasks/[\w/.]+)`", TEXT))))
def test_the_files_that_have_a_formula_are_there(path: str) -> None:
    assert (ROOT / path).exists()
