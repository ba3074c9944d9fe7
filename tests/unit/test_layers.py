"""The picture of layers in docs/architecture.md is import-linter's contract, line by line."""

from __future__ import annotations

import re
import tomllib

import pytest
from documents import ROOT


def drawn(document: str) -> list[str]:
    """The layers of the picture, top first: what begins a line, up to two spaces."""
    _, _, section = document.partition("\n## Layers\n")
    picture = section.split("```")[1]
    return re.findall(r"^(\S+(?: \| \S+)*)(?:  .*)?$", picture, re.MULTILINE)


@pytest.mark.unit
def test_the_picture_of_layers_is_the_contract() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (contract,) = (one for one in contracts if one["type"] == "layers")

    assert drawn((ROOT / "docs" / "architecture.md").read_text("utf-8")) == contract["layers"]


@pytest.mark.unit
def test_layers_are_read_with_and_without_a_text_beside_them() -> None:
    picture = "```\ncli    the command line\n       of all\na | b_c\ndb  x\n```"
    assert drawn(f"x\n## Layers\nText.\n{picture}\n```\nz\n```") == ["cli", "a | b_c", "db"]
