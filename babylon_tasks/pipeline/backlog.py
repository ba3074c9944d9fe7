"""Whether there is more to train on: what a worker asks when it has finished a step."""

from __future__ import annotations

from babylon_tasks.db import windows
from babylon_tasks.db.session import session
from babylon_tasks.settings import Settings


def more_waits(settings: Settings) -> bool:
    """Whether a scored window waits now for a training step."""
    with session(settings) as connection:
        return bool(windows.scored(connection, 1))
