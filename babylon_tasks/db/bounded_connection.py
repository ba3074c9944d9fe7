"""A connection to Postgres none of whose waits is unbounded, whatever the network does."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import TupleRow


class BoundedConnection(psycopg.Connection[TupleRow]):
    """Raises ``psycopg.errors.ConnectionTimeout`` and closes when the server is silent too long.

    Keepalives alone do not do: a load balancer or pooler between us and a server that has failed
    over acknowledges them for ever. A wait on a lock counts as silence, and so
    does a long computation: ``silence``, in seconds, is to be longer than either.
    """

    silence = 60.0

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait as psycopg does, at most ``silence`` seconds, for the server's next answer."""
        try:
            return super().wait(gen, interval, self.silence if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:
            # Its state is unknown; ending it cleanly would need an answer from the server.
            self.pgconn.finish()
            raise psycopg.errors.ConnectionTimeout(f"no answer within {self.silence:g} s") from None
