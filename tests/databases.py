"""Databases of the tests' own, copied from a template."""

from __future__ import annotations

import os
import shutil
import signal
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from babylon_tasks.db.session import Connection
from babylon_tasks.owned_folder import make_owned_folder
from babylon_tasks.sandbox.servers import EmbeddedPostgres

_PATIENCE = 30.0
_KEPT = 2  # databases of tests that have ended
_numbers = count(1)
_outdated: deque[str] = deque()


def new_folder(memory: Path = Path("/dev/shm"), *, room: int = 2**31) -> Path:  # noqa: S108
    """A folder for a server of many databases, in memory where there is room for it.

    The 340 files of a copy cost 10 ms of CPU there, and 105 ms on ext4.
    """
    there = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > room
    return servers_folder(memory if there else None)


def servers_folder(parent: Path | None = None) -> Path:
    """A folder for servers; those of runs that were killed go, and the servers in them."""
    folder = make_owned_folder("babylon-tasks-run-", parent, before=_end_servers)
    folder.chmod(0o711)  # for the servers' unprivileged user, unlike pytest's own
    return folder


def _end_servers(folder: Path) -> None:
    # In order where they can: a Postgres that is killed leaves its shared memory.
    found = [
        one
        for one in psutil.process_iter(["cwd", "ppid"])
        if one.info["cwd"] and Path(one.info["cwd"]).is_relative_to(folder)
    ]
    servers = {one.pid for one in found}
    for one in found:
        if one.info["ppid"] not in servers:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGINT)
    for one in psutil.wait_procs(found, timeout=_PATIENCE)[1]:
        with suppress(psutil.NoSuchProcess):
            one.kill()


def cheapen_logins(server: EmbeddedPostgres) -> None:
    """Let a connection cost half as much as usual.

    The server's password is random, so that hashing it 4096 times protects nothing.
    """
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("SET scram_iterations = 1")
        change = sql.SQL("ALTER ROLE {} PASSWORD {}")
        user, password = connection.info.user, connection.info.password
        connection.execute(change.format(sql.Identifier(user), sql.Literal(password)))


def fresh_database(
    administrator: Connection, postgres: EmbeddedPostgres, template: str
) -> Iterator[str]:
    """A database of a test's own, made from a template; a later test drops it.

    At once, Postgres would sleep 0.1 s in DROP DATABASE: the session that the test has just
    closed still shows. The last ones end with the server.
    """
    name = f"test_{next(_numbers)}"
    # FILE_COPY: its checkpoints cost nothing where nothing is synced, and it writes no WAL.
    administrator.execute(f'CREATE DATABASE {name} TEMPLATE "{template}" STRATEGY FILE_COPY')
    yield postgres.database(name)
    _outdated.append(name)
    while len(_outdated) > _KEPT:
        administrator.execute(f"DROP DATABASE {_outdated.popleft()} WITH (FORCE)")
