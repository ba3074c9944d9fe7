"""docs/guide.md: its tables have every state, backend and mode that there is."""

from __future__ import annotations

import re
from typing import get_args

import pytest
from documents import ROOT

from babylon_tasks.learning_settings import PromotionModeName
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState

TEXT = (ROOT / "docs" / "guide.md").read_text("utf-8")
BACKENDS = get_args(Settings.model_fields["backend"].annotation)


@pytest.mark.parametrize(
    ("heading", "column", "expected"),
    [
        ("## Backend", 1, {*BACKENDS} - {"auto"}),
        ("## Who decides what serves", 1, {*get_args(PromotionModeName)} - {"auto"}),
        ("### An hour is not done", 0, {*WindowState}),
    ],
)
def test_a_table_names_all_that_can_be_chosen_or_seen(
    heading: str, column: int, expected: set[str]
) -> None:
    section = TEXT.partition(heading + "\n")[2].partition("\n#")[0]
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| ")]
    named = {found[1] for row in rows if (found := re.match(r"\W*`([a-z_]+)`", row[column]))}
    assert named == expected
