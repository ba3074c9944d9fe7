"""PgBouncer, in transaction mode before a test's Postgres: ``make servers`` brings it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from debian_programs import find

from babylon_tasks.sandbox.process import HOST, ServerProcess
from babylon_tasks.sandbox.server_user import write_private
from babylon_tasks.sandbox.servers import EmbeddedPostgres


class PgBouncer(ServerProcess):
    """All databases of one Postgres; ``pool_size``: its connections to each of them.

    ``settings`` are further lines of ``pgbouncer.ini``.
    """

    name = "pgbouncer"

    def __init__(
        self, data_dir: Path, postgres: EmbeddedPostgres, *, pool_size: int = 20, **settings: str
    ) -> None:
        super().__init__(data_dir)
        self._postgres = postgres
        self._settings = {"default_pool_size": str(pool_size), **settings}

    @property
    def url(self) -> str:
        """The address of the database ``postgres``, without ``pgbouncer=true``."""
        return self.before(self._postgres.url)

    def before(self, database_url: str) -> str:
        """Rewrite an address of its Postgres to the same database behind the pooler."""
        direct, behind = f"@{HOST}:{self._postgres.port}/", f"@{HOST}:{self.port}/"
        assert direct in database_url
        return database_url.replace(direct, behind)

    def _prepare(self) -> None:
        """It keeps nothing from one start to the next."""

    def _command(self) -> Sequence[str | Path]:
        login = urlsplit(self._postgres.url)
        write_private(self.home / "users.txt", f'"{login.username}" "{login.password}"\n')
        lines = {
            "listen_addr": HOST,
            "listen_port": str(self.port),
            "unix_socket_dir": "",
            "auth_type": "scram-sha-256",
            "auth_file": str(self.home / "users.txt"),
            "pool_mode": "transaction",
            **self._settings,
        }
        config = self.home / "pgbouncer.ini"
        write_private(
            config,
            f"[databases]\n* = host={HOST} port={self._postgres.port}\n[pgbouncer]\n"
            + "".join(f"{name} = {value}\n" for name, value in lines.items()),
        )
        return [find("pgbouncer", self.home), config]

    def _accepts(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True
