"""The values of Postgres's settings that every statement of ours relies on, and their check."""

from __future__ import annotations

import re
from typing import Any

import psycopg

from babylon_tasks.agent_settings import DatabaseSettings
from babylon_tasks.db.sql import fetch_pairs

_LOCK_SECONDS = 30
# How often the server looks whether the client of a running statement has gone.
_CLIENT_CHECK_SECONDS = 5
# Nobody else sets it: where it is set, the server's session is ours.
_OWN_SESSION = {"babylon_tasks.session": "own"}


def session_values(settings: DatabaseSettings) -> dict[str, str]:
    """Return them by name; each may be set for a session or for one transaction."""
    milliseconds = int(1000 * settings.database_timeout_seconds)
    schema = settings.database_schema
    return {
        # Babylon's timestamps have no zone and mean UTC.
        "timezone": "UTC",
        # Quoted where Postgres would fold it.
        "search_path": schema if re.fullmatch(r"[a-z_][a-z0-9_]*", schema) else f'"{schema}"',
        "lock_timeout": f"{min(1000 * _LOCK_SECONDS, milliseconds // 2)}ms",
        # Ends the locks of a client that hangs, or that the network has separated.
        "idle_in_transaction_session_timeout": f"{2 * milliseconds}ms",
        "client_connection_check_interval": f"{_CLIENT_CHECK_SECONDS}s",
        **({} if settings.pooled else _OWN_SESSION),
    }


def other_values(connection: psycopg.Connection[Any], settings: DatabaseSettings) -> dict[str, str]:
    """Return those that are not in force, with the values that are instead."""
    wanted = session_values(settings)
    return fetch_pairs(
        connection,
        "session_values.others",
        str,
        str,
        names=list(wanted),
        values=list(wanted.values()),
    )
