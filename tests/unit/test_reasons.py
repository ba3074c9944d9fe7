"""Each reason that `why` may show is explained to operators, and nothing else is."""

from __future__ import annotations

import re

from documents import ROOT

from babylon_tasks.reasons import Reason, UnopenedReason, UsedAs, WindowReason

SECTIONS = ("Why rows are refused", "Why calls are refused")


def explained() -> set[str]:
    """The first column of the tables of these sections."""
    found: set[str] = set()
    for section in (ROOT / "docs" / "recording.md").read_text("utf-8").split("\n## "):
        if section.startswith(SECTIONS):
            for first in re.findall(r"^\|([^|]*`[^|]*)\|", section, re.MULTILINE):
                found.update(re.findall(r"`([a-z_]+)`", first))
    return found


def test_every_reason_is_explained_and_no_other() -> None:
    known = {*Reason, *UsedAs, *WindowReason, *UnopenedReason}
    assert explained() == known - {UsedAs.TRAINED}
