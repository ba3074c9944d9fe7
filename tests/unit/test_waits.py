"""The table of waits in docs/reliability.md names each bound that is a setting, and real files."""

from __future__ import annotations

import re

from documents import ROOT
from shell import variables

PACKAGE = ROOT / "babylon_tasks"
TABLE = (ROOT / "docs" / "reliability.md").read_text("utf-8").partition("\n\n| unavailable |")[0]
ROWS = [line.strip("|").split(" | ") for line in TABLE.splitlines() if line.startswith("| ")]


def test_each_setting_that_bounds_a_wait_is_there() -> None:
    bounds = {name for name in variables() if name.endswith("_SECONDS")}
    assert len(bounds) > 10
    assert {name for name in bounds if name not in TABLE} == set()


def test_each_file_that_has_a_bound_is_there() -> None:
    files = {file for row in ROWS for file in re.findall(r"`([^`]+\.(?:py|ts))`", row[-1])}
    assert len(files) > 20
    assert {one for one in files if not any((at / one).exists() for at in (PACKAGE, ROOT))} == set()


def test_no_lock_on_a_file_is_waited_for_in_the_kernel() -> None:
    sources = "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    assert re.findall(r"LOCK_(?:EX|SH)\b(?!.*LOCK_NB)", sources) == []
