"""Pick the windows whose training is due; none while the lineage's next step waits for news."""

from __future__ import annotations

from babylon_tasks.db import due_windows
from babylon_tasks.db.session import Connection
from babylon_tasks.registry import refusals
from babylon_tasks.settings import Settings


def pick_to_train(connection: Connection, settings: Settings, *, limit: int) -> list[str]:
    """Pick windows that need a training message, and mark it as sent."""
    waits = refusals.why_waits(connection, settings) is not None
    return due_windows.pick_to_train(connection, settings, limit=limit, only_begun=waits)
