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

import pytest
from acceptance.faults.build import build, make_database
from acceptance.faults.cells import Cell
from acceptance.faults.kinds import PLAIN, Kind
from acceptance.faults.system import System
from databases import cheapen_logins

from babylon_tasks.sandbox.servers import EmbeddedPostgres

CELLS_PER_SYSTEM = 9  # strikes repeat the messages of all hours, and logs are read whole


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
        make_database(server)
        cheapen_logins(server)  # probes log in for each answer
    return server.home


MakeSystem = Callable[[Kind], AbstractContextManager[System]]


@pytest.fixture(scope="session")
def make_system(
    cluster: Path, servers_dir: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> MakeSystem:
    """``make_system(PLAIN)``: everything is the system's own, and gone after it."""

    @contextmanager
    def make(kind: Kind) -> Iterator[System]:
        folder = tmp_path_factory.mktemp("system")
        home = servers_dir / folder.name
        if kind.tls:  # its Postgres is of another release, and makes its cluster itself
            home.mkdir()
        else:
            subprocess.run(["cp", "-a", cluster, home], check=True, timeout=60)  # with its owner
        with ExitStack() as opened:
            opened.callback(shutil.rmtree, home)
            yield build(opened, kind, folder=folder, home=home, base_model=tiny_model)

    return make


@pytest.fixture
def system(make_system: MakeSystem, request: pytest.FixtureRequest) -> Iterator[System]:
    """A system of the test's own."""
    with make_system(PLAIN) as made:
        request.node.babylon = made
        yield made


class Keeper:
    """Lends the same system again and again, until it failed or ``CELLS_PER_SYSTEM`` had it."""

    def __init__(self, make: MakeSystem) -> None:
        self._make = make
        self._opened = ExitStack()
        self._system: System | None = None

    def lend(self, kind: Kind) -> System:
        """The system that is kept if it is of this kind, else a new one."""
        kept = self._system
        if kept is not None and (len(kept.cells) >= CELLS_PER_SYSTEM or kept.kind != kind):
            self.drop()
        if self._system is None:
            self._system = self._opened.enter_context(self._make(kind))
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
    """A system that other tests may have struck before, and that has recovered.

    Of the kind of the test's cell; a plain one for a test without.
    """
    failed = request.session.testsfailed
    cell: Cell | None = request.getfixturevalue("cell") if "cell" in request.fixturenames else None
    system = request.node.babylon = keeper.lend(PLAIN if cell is None else cell.kind)
    yield system
    if request.session.testsfailed > failed:
        keeper.drop()
