"""docs/experience.md names tests that there are."""

from __future__ import annotations

import re

from documents import ROOT

TEXT = (ROOT / "docs" / "experience.md").read_text("utf-8")


def test_each_test_that_shows_something_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", TEXT)
    assert len(named) > 40
    for path, name in named:
        text = (ROOT / path).read_text("utf-8")
        assert not name or f"def {name}(" in text, f"{path}::{name}"


def test_each_line_is_shown_by_a_test_or_says_that_it_is_open() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| ") and "---" not in line]
    lone = [
        row
        for row in rows
        if "`tests/" not in row and "**open" not in row.lower() and "shown by" not in row
    ]
    assert [row[2:14] for row in lone] == ["`models` aft"]  # the line above it shows that
