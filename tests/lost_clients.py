"""Clients that Postgres hears no more of, while they have a lock on ``training.windows``."""

from __future__ import annotations

from tcp_proxy import TcpProxy

from babylon_tasks.db.session import session
from babylon_tasks.settings import Settings


def lose_in_a_transaction(proxied: Settings, proxy: TcpProxy) -> None:
    """Raises DatabaseUnavailable."""
    with session(proxied) as lost, lost.transaction():
        lost.execute("LOCK TABLE training.windows")
        proxy.half_open()
        lost.execute("SELECT 1")


def lose_in_a_copy(proxied: Settings, proxy: TcpProxy) -> None:
    """Raises DatabaseUnavailable."""
    with session(proxied) as lost, lost.transaction(), lost.cursor() as cursor:
        lost.execute("CREATE TEMPORARY TABLE spool (line text); LOCK TABLE training.windows")
        with cursor.copy("COPY spool FROM STDIN") as rows:
            rows.write("one\n")
            proxy.half_open()
            rows.write(1_000_000 * "two\n")
