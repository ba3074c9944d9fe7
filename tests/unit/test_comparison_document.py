"""The lines that docs/comparison.md and the README count are those of its listings."""

from __future__ import annotations

import ast
import re
from difflib import SequenceMatcher

import pytest
from documents import ROOT

TEXT = (ROOT / "docs/comparison.md").read_text("utf-8")
README = (ROOT / "README.md").read_text("utf-8")
LISTINGS = dict(
    re.findall(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```python\n(.*?)^```$", TEXT, re.M | re.S)
)
AGENT = LISTINGS.pop("The agent")
COUNTED = re.compile(r"^\| [^|]+ \| (\d+) \| [^|]*\(#([\w-]+)\)", re.M)


def lines(listing: str) -> list[str]:
    """A listing's lines, without blank ones and indentation."""
    return [line.strip() for line in listing.splitlines() if line.strip()]


def changed(listing: str) -> int:
    """How many lines of a listing the agent did not have."""
    matcher = SequenceMatcher(None, lines(AGENT), lines(listing), autojunk=False)
    return sum(
        end - start
        for kind, _, _, start, end in matcher.get_opcodes()
        if kind in ("insert", "replace")
    )


@pytest.mark.parametrize("name", ["The agent", *LISTINGS])
def test_a_listing_is_python(name: str) -> None:
    ast.parse({**LISTINGS, "The agent": AGENT}[name])


def test_the_lines_that_are_named_are_those_that_changed() -> None:
    anchors = {re.sub(r"[^\w-]", "", name.lower().replace(" ", "-")): name for name in LISTINGS}
    named = {anchors[anchor]: int(count) for count, anchor in COUNTED.findall(TEXT)}
    assert named == {name: changed(listing) for name, listing in LISTINGS.items()}


def test_the_readme_names_the_same_numbers() -> None:
    counted = re.compile(r"^\| ([^|]+) \| (\d+) \|", re.M)
    _, _, section = README.partition("### What has to change in an agent")
    named = [counted.findall(text.replace("(docs/", "(")) for text in (section, TEXT)]
    assert len(named[0]) == 6
    assert named[0] == named[1]
