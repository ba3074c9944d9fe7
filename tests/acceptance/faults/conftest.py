"""``system``: a stack on servers that faults may strike, through proxies; nothing runs yet.

``kept_system``: one that several cells strike in turn, since starting it takes longer than a cell.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from acceptance.faults.small_disk import SmallDisk
from acceptance.faults.system import StackOnDisk, System
from acceptance.harness import OPTIONS
from babylon import make_tables
from tcp_proxy import TcpProxy

from babylon_tasks.db.migrate import apply
from babylon_tasks.sandbox.servers import EmbeddedPostgres, EmbeddedValkey
from checks.clock.moved_clock import MovedClock

CONTRACT = "today"
DISK_MEBIBYTES = 256  # far more than two hundred checkpoints of the tiny model
CELLS_PER_SYSTEM = 8  # strikes repeat the messages of all hours, and logs are read whole


Measured = Callable[[str], AbstractContextManager[None]]


@pytest.fixture
def measured(request: pytest.FixtureRequest) -> Measured:
    """``with measured(name)``: how long the block took becomes a line of ``--measured FILE``."""

    @contextmanager
    def measure(name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        file: str | None = request.config.option.measured
        if file is not None:
            line = json.dumps({"cell": name, "seconds": round(time.monotonic() - began, 1)})
            with Path(file).open("a", encoding="ascii") as lines:
                lines.write(line + "\n")

    return measure


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Of the soak."""
    chosen: int = request.config.option.seed
    return chosen


@pytest.fixture
def soak_windows(request: pytest.FixtureRequest) -> int:
    """How many hours the soak plays."""
    chosen: int = request.config.option.windows
    return chosen


@pytest.fixture(scope="session")
def cluster(servers_dir: Path) -> Path:
    """A folder of Postgres's with an empty cluster, to copy from: initdb takes seconds."""
    with EmbeddedPostgres(servers_dir / "cluster", durable=False) as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE DATABASE babylon")
        with psycopg.connect(server.database("babylon"), autocommit=True) as connection:
            make_tables(connection, CONTRACT)
    return server.home


MakeSystem = Callable[[], AbstractContextManager[System]]


@pytest.fixture(scope="session")
def make_system(
    cluster: Path, servers_dir: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> MakeSystem:
    """Everything is the system's own, and gone after it."""

    @contextmanager
    def make() -> Iterator[System]:
        folder = tmp_path_factory.mktemp("system")
        home = servers_dir / folder.name
        subprocess.run(["cp", "-a", cluster, home], check=True)  # with its owner, unlike copytree
        with ExitStack() as opened:
            opened.callback(shutil.rmtree, home)
            enter = opened.enter_context
            postgres = enter(EmbeddedPostgres(home, durable=False))
            valkey = enter(EmbeddedValkey(home / "valkey"))
            postgres_proxy = enter(TcpProxy(postgres.port))
            valkey_proxy = enter(TcpProxy(valkey.port))
            clock = MovedClock.make(folder)
            stack = enter(
                StackOnDisk(
                    folder / "stack",
                    options={
                        **OPTIONS,
                        "LD_PRELOAD": str(clock.library),
                        "BABYLON_BASE_MODEL": str(tiny_model),
                        "BABYLON_DATABASE_TIMEOUT_SECONDS": "4",
                        "BABYLON_MAX_STALENESS_STEPS": "1000",  # hours pile up under faults
                    },
                    database_url=_through(postgres.database("babylon"), postgres_proxy),
                    redis_url=_through(valkey.url, valkey_proxy),
                )
            )
            stack.disk = enter(SmallDisk(stack.settings.data_dir, DISK_MEBIBYTES))
            apply(stack.settings)
            connection = enter(psycopg.connect(postgres.database("babylon"), autocommit=True))
            system = System(
                stack,
                connection,
                postgres=postgres,
                postgres_proxy=postgres_proxy,
                valkey=valkey,
                valkey_proxy=valkey_proxy,
                clock=clock,
            )
            opened.callback(system.close)
            yield system

    return make


@pytest.fixture
def system(make_system: MakeSystem, request: pytest.FixtureRequest) -> Iterator[System]:
    """A system of the test's own."""
    with make_system() as made:
        request.node.babylon = made
        yield made


class Keeper:
    """Lends the same system again and again, until it failed or ``CELLS_PER_SYSTEM`` had it."""

    def __init__(self, make: MakeSystem) -> None:
        self._make = make
        self._opened = ExitStack()
        self._system: System | None = None

    def lend(self) -> System:
        """The system that is kept, else a new one."""
        if self._system is not None and len(self._system.cells) >= CELLS_PER_SYSTEM:
            self.drop()
        if self._system is None:
            self._system = self._opened.enter_context(self._make())
        return self._system

    def drop(self) -> None:
        """End the system; the next cell gets another."""
        self._system = None
        self._opened.close()


@pytest.fixture(scope="module")  # a system at rest would still take its part of the processor
def keeper(make_system: MakeSystem) -> Iterator[Keeper]:
    """Of this process's cells."""
    kept = Keeper(make_system)
    yield kept
    kept.drop()


@pytest.fixture
def kept_system(keeper: Keeper, request: pytest.FixtureRequest) -> Iterator[System]:
    """A system that other cells may have struck before, and that has recovered."""
    failed = request.session.testsfailed
    system = request.node.babylon = keeper.lend()
    yield system
    if request.session.testsfailed > failed:
        keeper.drop()


def _through(url: str, proxy: TcpProxy) -> str:
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{login}@127.0.0.1:{proxy.port}"))
