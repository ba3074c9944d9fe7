"""Fixtures of whole processes: ``babylon``, of which nothing runs yet, and ``make_babylon``."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from acceptance.harness import OPTIONS, Babylon
from acceptance.reader import Reader
from babylon import make_tables, played
from databases import cheapen_logins, new_folder
from models import save_tiny_model
from pydantic import SecretStr

from babylon_tasks.db.migrate import apply
from babylon_tasks.db.session import Connection, connect
from babylon_tasks.sandbox.servers import EmbeddedPostgres, EmbeddedValkey, free_port
from babylon_tasks.sandbox.stack import Stack
from babylon_tasks.settings import Settings
from checks.clock.moved_clock import MovedClock

pytest.register_assert_rewrite("acceptance.outcome")

MakeBabylon = Callable[..., Babylon]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that trains in a blink and learns nothing."""
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def make_babylon(
    database_url: str,
    redis_url: str,
    tiny_model: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> Iterator[MakeBabylon]:
    """``make_babylon(BABYLON_LEASE_SECONDS="3")``: a stack over the session's servers.

    ``database`` and ``broker`` are the addresses of others, ``folder`` is where a second one lives.
    """
    with ExitStack() as systems:

        def make(
            *,
            database: str = database_url,
            broker: str = redis_url,
            folder: str = "stack",
            **options: str,
        ) -> Babylon:
            stack = systems.enter_context(
                Stack(
                    tmp_path / folder,
                    options={**OPTIONS, "BABYLON_BASE_MODEL": str(tiny_model), **options},
                    database_url=database,
                    redis_url=broker,
                )
            )
            connection = systems.enter_context(connect(stack.settings))
            babylon = Babylon(stack, connection)
            systems.callback(babylon.close)
            request.node.babylon = babylon
            return babylon

        yield make


@pytest.fixture
def broker(servers_dir: Path) -> Iterator[EmbeddedValkey]:
    """A server of the test's own, which keeps its data over a restart as in production."""
    with EmbeddedValkey(servers_dir / "broker", persist=True) as server:
        yield server
    shutil.rmtree(server.home)


@pytest.fixture
def clock(servers_dir: Path) -> MovedClock:
    """A clock for the processes that the test gives it to."""
    folder = Path(tempfile.mkdtemp(prefix="clock-", dir=servers_dir))
    folder.chmod(0o711)  # servers read it too, as their own user
    try:
        return MovedClock.make(folder)
    except OSError as error:
        pytest.skip(str(error))


@pytest.fixture
def moved_database_url(
    clock: MovedClock, contract: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A fresh migrated database of a server that lives by the clock."""
    folder = new_folder()
    server = EmbeddedPostgres(folder / "postgres", durable=False)
    with monkeypatch.context() as patch:
        patch.setenv("LD_PRELOAD", clock.environment()["LD_PRELOAD"])
        server.start()
    with server:
        cheapen_logins(server)
        with psycopg.connect(server.url, autocommit=True) as connection:
            make_tables(connection, contract)
        apply(Settings(DATABASE_URL=SecretStr(server.url)))
        yield server.url
    shutil.rmtree(folder)


@pytest.fixture
def babylon(make_babylon: MakeBabylon) -> Babylon:
    """A system with the usual options."""
    return make_babylon()


@pytest.fixture
def played_database(
    babylon_database_url: str, administrator: Connection, tiny_model: Path
) -> Iterator[Connection]:
    """Babylon's own tables and hours that agents played, seen by the tables' owner."""
    with psycopg.connect(babylon_database_url, autocommit=True) as connection:
        played(connection, str(tiny_model))
        yield connection
        found = connection.execute("SELECT FROM pg_roles WHERE rolname = 'babylon_tasks'")
        if found.rowcount:  # the role is the server's, not the database's: nobody may inherit it
            connection.execute("DROP OWNED BY babylon_tasks CASCADE")
            connection.execute("DROP ROLE babylon_tasks")


@pytest.fixture
def reader(
    played_database: Connection,
    redis_url: str,
    tiny_model: Path,
    tmp_path: Path,
    postgres: EmbeddedPostgres,
) -> Iterator[Reader]:
    """Somebody with that database, a Redis and the programs of Postgres at hand."""
    found = played_database.info
    given = {
        "PGHOST": found.host,
        "PGPORT": str(found.port),
        "PGDATABASE": found.dbname,
        "PGUSER": found.user,
        "PGPASSWORD": found.password,
        "REDIS_URL": redis_url,
        "BABYLON_BASE_MODEL": str(tiny_model),
        # This machine's part, nothing of which changes what happens.
        "BABYLON_BACKEND": "cpu",
        "BABYLON_UPKEEP_INTERVAL_SECONDS": "1",
        "BABYLON_INFERENCE_PORT": str(free_port()),
        "BABYLON_FLOWER_PORT": str(free_port()),
        "OMP_NUM_THREADS": "1",
    }
    with Reader(tmp_path, given, [postgres.program("psql").parent]) as someone:
        yield someone


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure shows the end of every log."""
    report = yield
    babylon: Babylon | None = getattr(item, "babylon", None)
    if report.failed and babylon is not None:
        report.sections += [(f"end of {name}", text) for name, text in babylon.logs()]
    return report
