"""Build a system of a kind: its servers, the ways to them, and the processes' settings."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode, urlsplit, urlunsplit

import psycopg
from acceptance.faults.kinds import Kind
from acceptance.faults.postgres_on_small_disk import PostgresOnSmallDisk, write_to_new_pages
from acceptance.faults.small_disk import SmallDisk
from acceptance.faults.system import HELD_OUT_SHARE, StackOnDisk, System
from acceptance.harness import OPTIONS
from babylon import make_tables
from pgbouncer import PgBouncer
from tcp_proxy import TcpProxy
from tls import Authority, TlsPostgres, TlsRedis

from babylon_tasks.db.migrate import apply
from babylon_tasks.sandbox.server_user import child_options
from babylon_tasks.sandbox.servers import EmbeddedPostgres, EmbeddedValkey
from checks.clock.moved_clock import MovedClock

DISK_MEBIBYTES = 256  # far more than two hundred checkpoints of the tiny model
POSTGRES_MEBIBYTES = 256  # of which a cluster takes 40, and its write-ahead log 64 at most
SERVER_CONNECTIONS = 6  # of the pooler
# Each checkpoint serves once it is evaluated, so that faults befall what agents use.
PROMOTES = {
    "BABYLON_HELD_OUT_SHARE": str(HELD_OUT_SHARE),
    "BABYLON_PROMOTION_MODE": "evaluated",
    "BABYLON_MIN_EVAL_GROUPS": "1",
    "BABYLON_MIN_EVAL_COVERAGE": "0",  # the tiny model says anything
    "BABYLON_PROMOTE_TOLERANCE": "10",  # and does not get better
}
STOPPED_IN_EVALUATION = {"BABYLON_TRAINER_SILENCE_TIMEOUT_SECONDS": "10"}


def build(opened: ExitStack, kind: Kind, *, folder: Path, home: Path, base_model: Path) -> System:
    """Build it in ``folder``; ``home`` is its servers', with a cluster of Postgres's unless TLS is.

    Nothing runs but servers; the hour that checkpoints are evaluated on is held out.
    ``opened`` takes what must be closed.
    """
    enter = opened.enter_context
    pooler, postgres_disk = None, None
    asked: dict[str, dict[str, str]] = {"postgres": {}, "redis": {}}  # what their addresses ask for
    if kind.tls:
        authority = Authority(folder)
        postgres: EmbeddedPostgres = enter(TlsPostgres(home / "postgres", authority))
        make_database(postgres)
        valkey: EmbeddedValkey = enter(TlsRedis(home / "redis", authority))
        ca = str(authority.file)
        asked = {"postgres": {"sslaccept": "strict", "sslcert": ca}, "redis": {"ssl_ca_certs": ca}}
    else:
        if kind.small_postgres:
            options = child_options(home)
            postgres_disk = enter(SmallDisk(home / "disk", POSTGRES_MEBIBYTES, options))
            postgres = enter(PostgresOnSmallDisk(home, postgres_disk))
        else:
            postgres = enter(EmbeddedPostgres(home, durable=False))
        valkey = enter(EmbeddedValkey(home / "valkey"))
    direct = postgres.database("babylon")
    if kind.pooler:
        pooler = enter(PgBouncer(home / "pooler", postgres, pool_size=SERVER_CONNECTIONS))
        asked["postgres"] = {"pgbouncer": "true"}
    to_postgres = enter(TcpProxy(postgres.port if pooler is None else pooler.port))
    to_valkey = enter(TcpProxy(valkey.port))
    database_url = _through(to_postgres, direct, asked["postgres"])
    redis_url = _through(to_valkey, valkey.url, asked["redis"])
    clock = MovedClock.make(folder)

    temporary = folder / "tmp"
    temporary.mkdir()

    def member(name: str, lineage: str) -> System:
        stack = enter(
            StackOnDisk(
                folder / name,
                options={
                    **OPTIONS,
                    "LD_PRELOAD": str(clock.library),
                    "TMPDIR": str(temporary),
                    "BABYLON_BASE_MODEL": str(base_model),
                    "BABYLON_LINEAGE": lineage,
                    "BABYLON_DATABASE_TIMEOUT_SECONDS": "4",
                    "BABYLON_MAX_STALENESS_STEPS": "1000",  # hours pile up under faults
                    **PROMOTES,
                    **(STOPPED_IN_EVALUATION if kind.evaluates else {}),
                },
                database_url=database_url,
                redis_url=redis_url,
            )
        )
        stack.disk = enter(SmallDisk(stack.settings.data_dir, DISK_MEBIBYTES))
        apply(stack.settings)
        made = System(
            stack,
            enter(psycopg.connect(direct, autocommit=True)),
            kind=kind,
            postgres=postgres,
            postgres_proxy=to_postgres,
            valkey=valkey,
            valkey_proxy=to_valkey,
            clock=clock,
            pooler=pooler,
            postgres_disk=postgres_disk,
        )
        opened.callback(made.close)
        return made

    system = member("stack", OPTIONS["BABYLON_LINEAGE"])
    if kind.second is not None:
        system.second = member("second", kind.second)
        system.neighbours, system.second.neighbours = [system.second], [system]
        system.second.bereaved = system.bereaved
    if kind.small_postgres:
        with system.open() as connection:
            write_to_new_pages(connection)
    system.hold_out_an_hour()
    return system


def make_database(server: EmbeddedPostgres) -> None:
    """Make an empty database of Babylon's, as its code makes the tables today."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE babylon")
    with psycopg.connect(server.database("babylon"), autocommit=True) as connection:
        make_tables(connection, "today")


def _through(proxy: TcpProxy, url: str, query: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    address = f"{login}@127.0.0.1:{proxy.port}"
    return urlunsplit((parts.scheme, address, parts.path, urlencode(query), ""))
