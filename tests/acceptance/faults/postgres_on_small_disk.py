"""The sandbox's Postgres with its cluster on a small disk, so that a test can fill it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from acceptance.faults.small_disk import SmallDisk

from babylon_tasks.db.session import Connection
from babylon_tasks.sandbox.servers import EmbeddedPostgres

# Who sees the disk is root there, and Postgres refuses to be run by root.
_ORDINARY_USER = ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--")


class PostgresOnSmallDisk(EmbeddedPostgres):
    """As the one with a cluster in ``data_dir``, which is copied onto the disk at first.

    The disk is the servers' user's.
    """

    def __init__(self, data_dir: Path, disk: SmallDisk) -> None:
        super().__init__(data_dir, durable=False)
        self._settings += ["max_wal_size=64MB", "min_wal_size=32MB"]
        self._disk = disk
        disk.run("cp", "-a", self._cluster, disk.folder).check_returncode()
        self._cluster = disk.folder / self._cluster.name

    def _prepare(self) -> None:
        """The cluster is there, and nobody else has ever had it."""

    def _command(self) -> Sequence[str | Path]:
        return [*self._disk.command, *_ORDINARY_USER, *super()._command()]


def write_to_new_pages(connection: Connection) -> None:
    """Let a few rows of what scoring and committing write need a page of their own: the disk."""
    for table in ("scores", "checkpoints", "promotions"):
        connection.execute(f"ALTER TABLE training.{table} SET (fillfactor = 10)")  # type: ignore[arg-type]
