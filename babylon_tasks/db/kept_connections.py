"""Connections kept between sessions: to open one costs more than most of what it is opened for.

Not psycopg_pool: its threads do not survive a worker's fork, and it reports every failure as a
timeout instead of what libpq said (docs/decisions.md).
"""

from __future__ import annotations

import atexit
import os
import threading
import time

import psycopg
from psycopg.pq import TransactionStatus

from babylon_tasks.agent_settings import DatabaseSettings
from babylon_tasks.db.bounded_connection import BoundedConnection

_MOST = 3  # a process rarely has more open at a time
_IDLE_SECONDS = 60.0
_CHECK_SECONDS = 5.0

Key = tuple[str, float]


class KeptConnections:
    """This process's idle connections, newest last, each checked before it is used again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[tuple[Key, BoundedConnection, float]] = []

    def take(self, settings: DatabaseSettings, *, silence: float) -> BoundedConnection | None:
        """Take the most recently used one that still answers; those that do not are closed."""
        key = _key(settings)
        while True:
            with self._lock:
                found = next((kept for kept in reversed(self._idle) if kept[0] == key), None)
                if found is None:
                    return None
                self._idle.remove(found)
            _, connection, since = found
            if time.monotonic() - since < _IDLE_SECONDS and _answers(connection):
                connection.silence = silence
                return connection
            connection.close()

    def keep(self, settings: DatabaseSettings, connection: BoundedConnection) -> None:
        """Keep one for later if it is as it was when it was opened; else close it."""
        if connection.closed or connection.info.transaction_status != TransactionStatus.IDLE:
            connection.close()
            return
        with self._lock:
            self._idle.append((_key(settings), connection, time.monotonic()))
            surplus = self._idle[:-_MOST]
            del self._idle[:-_MOST]
        for _, oldest, _ in surplus:
            oldest.close()

    def close(self) -> None:
        """Close all of them: the next session opens a new one."""
        with self._lock:
            closed, self._idle = self._idle, []
        for _, connection, _ in closed:
            connection.close()

    def forget(self) -> None:
        """Start empty, in a forked child: they are the parent's."""
        self._lock = threading.Lock()  # the old one may be locked by a thread that is not here
        self._idle = []


def _key(settings: DatabaseSettings) -> Key:
    return settings.database_url.get_secret_value(), settings.database_timeout_seconds


def _answers(connection: BoundedConnection) -> bool:
    connection.silence = min(_CHECK_SECONDS, connection.silence)
    try:
        psycopg.Cursor(connection).execute("")  # the pooled one would make four round trips of it
    except psycopg.Error:
        return False
    return True


kept = KeptConnections()
atexit.register(kept.close)
os.register_at_fork(after_in_child=kept.forget)
