"""What the server lets anybody do now."""

from __future__ import annotations

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_value


def is_read_only(connection: Connection) -> bool:
    """Check whether transactions cannot write: a standby, or an administrator's default."""
    return fetch_value(connection, "server_state.is_read_only", bool) is True
