"""Hours that are played in seconds: by Postgres's clock the played one has begun.

The gateway draws arms for the hour that it is by this clock, and a comparison begins with the next
one; leases go by the machine's. Only for a database of the sandbox's own.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from psycopg import sql

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import statement
from babylon_tasks.gateway.pointer import POLL_SECONDS


async def stand_at(connection: Connection, moment: datetime) -> None:
    """Let the clock go on from ``moment``, and wait until the gateway has read it."""
    ahead = (moment - datetime.now(UTC)).total_seconds()
    connection.execute(
        sql.SQL(statement("played_clock.stand_at")).format(ahead=sql.Literal(ahead))
    )
    await asyncio.sleep(2 * POLL_SECONDS)
