"""PgBouncer, Debian's, in transaction mode before a test's Postgres: ``make pooler`` brings it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from documents import ROOT

from babylon_tasks.sandbox.process import HOST, ServerProcess
from babylon_tasks.sandbox.server_user import hand_over, write_private
from babylon_tasks.sandbox.servers import EmbeddedPostgres

_UNPACKED = ROOT / ".pgbouncer"


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
        if not shutil.which("pgbouncer") and not (self.home / "unpacked").exists():
            if not (_UNPACKED / ".installed").exists():
                raise FileNotFoundError("there is no PgBouncer: run `make pooler`")
            shutil.copytree(_UNPACKED, self.home / "unpacked", symlinks=True)
            hand_over(self.home / "unpacked")

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
        installed = shutil.which("pgbouncer")
        if installed:
            return [installed, config]
        unpacked = self.home / "unpacked/usr"
        libraries = ":".join(str(folder) for folder in (unpacked / "lib").glob("*-linux-*"))
        return ["env", f"LD_LIBRARY_PATH={libraries}", unpacked / "sbin/pgbouncer", config]

    def _accepts(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True
