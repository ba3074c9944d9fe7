"""pytest's part of ``make test-clock``: every test begins at the same moment of a moved clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from checks.clock.moved_clock import MovedClock

# How long before a turn of the clock a test begins, by tier: about the middle of what it does.
_SECONDS_BEFORE = {"unit": 0.005, "integration": 0.3, "acceptance": 5.0}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options that the runner passes."""
    group = parser.getgroup("clock")
    group.addoption("--clock-folder", type=Path, help="where the moved clock was made")
    group.addoption("--clock-at", type=datetime.fromisoformat, help="when each test begins")
    group.addoption("--clock-turns", action="store_true", help="begin a little before that moment")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Move the clock of this process, and of all servers that it has started or will start."""
    begins: datetime = item.config.getoption("--clock-at")
    if item.config.getoption("--clock-turns"):
        (tier,) = _SECONDS_BEFORE.keys() & {mark.name for mark in item.iter_markers()}
        begins -= timedelta(seconds=_SECONDS_BEFORE[tier])
    MovedClock(item.config.getoption("--clock-folder")).stand_at(begins)
