"""Sessions of workers that Postgres hears no more of, whose locks stop everybody else."""

from __future__ import annotations

import structlog

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_values
from babylon_tasks.settings import Settings

log = structlog.get_logger(__name__)


def terminate(connection: Connection, settings: Settings) -> int:
    """End those silent in a transaction for twice BABYLON_DATABASE_TIMEOUT_SECONDS; count them.

    Whoever still waits on the other end has given up long before.
    """
    seconds = 2 * settings.database_timeout_seconds
    ended = fetch_values(connection, "abandoned_sessions.terminate", int, seconds=seconds)
    for pid in ended:
        log.warning("session.terminated", pid=pid, silent_seconds=seconds)
    return len(ended)
