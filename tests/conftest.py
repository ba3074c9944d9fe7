"""Real servers for every test that asks for one, and a fresh database for each such test.

Fixtures: ``settings`` (and ``make_settings`` for other values), ``database_url``, ``connection``
on a migrated database; ``moment``, a transaction in which time stands still, on one that a file's
tests share; ``babylon_database_url`` on one that was never migrated;
``empty_database_url`` on one that holds nothing; ``redis_url`` emptied; ``tls_database_url`` and
``tls_redis_url`` on servers that speak TLS alone, with certificates of ``authority``.

Whatever asks for a database of Babylon's is run on both contracts (``contract``), acceptance tests
on today's. ``pytest.mark.contract("7a46248b")`` chooses one; ``pytest.mark.contract(None)`` says
that a test touches no table of Babylon's, and gives it a database that holds only ours.
"""

from __future__ import annotations

import gc
import logging
import os
import secrets
import shutil
import signal
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
import structlog
from attacks import attacks
from babylon import CONTRACTS, make_tables
from databases import cheapen_logins, fresh_database, new_folder, servers_folder
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from psycopg import sql
from tls import Authority, TlsPostgres, TlsRedis

from babylon_tasks.db.babylon import TABLES
from babylon_tasks.db.kept_connections import kept
from babylon_tasks.db.migrate import apply
from babylon_tasks.db.session import Connection, connect
from babylon_tasks.sandbox.servers import EmbeddedPostgres, EmbeddedValkey
from babylon_tasks.settings import Settings

# No test asserts on time: how long an example takes on a busy machine says nothing about it.
hypothesis_settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
hypothesis_settings.load_profile("untimed")

TESTS = Path(__file__).parent

gc.disable()  # until all is imported: none of it is garbage, and looking takes a third of the time


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--pictures DIR``: tests of pages leave them there; see ``make pictures``.

    ``--seed`` and ``--windows`` are for ``make soak``, ``--measured=FILE`` is for ``make faults``:
    with =, since pytest takes a file that exists for a path to tests.
    """
    parser.addoption("--pictures", metavar="DIR", help="where to write pictures of pages")
    parser.addoption("--seed", type=int, default=1, help="of the soak's hours and faults")
    parser.addoption("--windows", type=int, default=200, help="of the soak")
    parser.addoption("--measured", metavar="FILE", help="where to append each fault's recovery")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The tier is the folder: tests are not marked manually."""
    for item in items:
        tier = item.path.relative_to(TESTS).parts[0]
        if tier in ("unit", "integration", "acceptance"):
            item.add_marker(tier)
        # Flipped outcomes: a minute, and what is sampled is drawn by chance.
        if item.path.name in ("test_cells.py", "test_flipped_outcomes.py"):
            item.add_marker("faults")
        if attacks(item.path, getattr(item, "originalname", item.name)):
            item.add_marker("attack")


def pytest_collection_finish() -> None:
    """What was imported is never looked at again."""
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """How ``pytest -n 2`` divides the tests."""
    from parallel import FileByFile

    return FileByFile(config, log)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What asks for a database of Babylon's is run once for each of its contracts."""
    if "contract" in metafunc.fixturenames:
        chosen = _contracts(metafunc.definition)
        if len(chosen) > 1:
            metafunc.parametrize("contract", chosen, indirect=True)


def _contracts(item: pytest.Item) -> tuple[str | None, ...]:
    marker = item.get_closest_marker("contract")
    if marker is not None:
        return marker.args
    acceptance = item.path.relative_to(TESTS).parts[0] == "acceptance"
    return CONTRACTS[-1:] if acceptance else CONTRACTS


@pytest.fixture(scope="session", autouse=True)
def _own_environment() -> Iterator[None]:
    """The developer's own settings and keys must not reach a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("BABYLON_", "WANDB_", "FLOWER_", "PROMETHEUS_")) or name in (
                "DATABASE_URL",
                "REDIS_URL",
            ):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def _signals_are_heard() -> None:
    """What a shell runs in its background is deaf to Ctrl-C, under nohup to a closed terminal too.

    Children would inherit that.
    """
    heard = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}
    for number, handler in heard.items():
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """What a test does to the process's logging ends with it: its stream will be closed."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture(scope="session")
def servers_dir() -> Iterator[Path]:
    """A folder that the servers' unprivileged user can reach, unlike pytest's own."""
    folder = servers_folder()
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[EmbeddedPostgres]:
    """One server for the whole run, with cheap logins."""
    folder = new_folder()
    with EmbeddedPostgres(folder / "postgres", durable=False, max_connections=200) as server:
        cheapen_logins(server)
        yield server
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def valkey(servers_dir: Path) -> Iterator[EmbeddedValkey]:
    """One server for the whole run; a test that stops or restarts one starts its own."""
    with EmbeddedValkey(servers_dir / "valkey") as server:
        yield server


@pytest.fixture(scope="session")
def administrator(postgres: EmbeddedPostgres) -> Iterator[Connection]:
    """Creates and drops the tests' databases."""
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def templates(administrator: Connection, postgres: EmbeddedPostgres) -> Callable[..., str]:
    """``templates(contract, migrated=True)``: a database to copy from, made when first needed."""

    @cache
    def template(contract: str | None, *, migrated: bool) -> str:
        name = f"template_{contract}_{'migrated' if migrated else 'fresh'}".lower()
        if migrated:
            made_from = template(contract or CONTRACTS[-1], migrated=False)
            administrator.execute(f'CREATE DATABASE "{name}" TEMPLATE "{made_from}"')
            settings = _settings(DATABASE_URL=postgres.database(name))
            apply(settings)
            kept.close()  # a database that is in use cannot be copied
            if contract is None:
                with connect(settings) as connection:
                    connection.execute(f"DROP TABLE {', '.join(TABLES)}")
        else:
            assert contract is not None
            administrator.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
            with psycopg.connect(postgres.database(name), autocommit=True) as connection:
                make_tables(connection, contract)
        return name

    return template


@pytest.fixture
def contract(request: pytest.FixtureRequest) -> str | None:
    """Which of Babylon's contracts the test's database keeps; see ``pytest_generate_tests``."""
    chosen: str | None = request.param if hasattr(request, "param") else _contracts(request.node)[0]
    return chosen


@pytest.fixture
def database_url(
    administrator: Connection,
    templates: Callable[..., str],
    contract: str | None,
    postgres: EmbeddedPostgres,
) -> Iterator[str]:
    """A fresh migrated database."""
    yield from fresh_database(administrator, postgres, templates(contract, migrated=True))


@pytest.fixture(scope="module")
def _ours(
    administrator: Connection, templates: Callable[..., str], postgres: EmbeddedPostgres
) -> Iterator[str]:
    yield from fresh_database(administrator, postgres, templates(None, migrated=True))


@pytest.fixture
def moment(_ours: str) -> Iterator[Connection]:
    """One transaction, rolled back, in which ``now()`` stands still; only our own tables exist."""
    with (
        connect(_settings(DATABASE_URL=_ours)) as opened,
        opened.transaction(force_rollback=True),
    ):
        yield opened


@pytest.fixture
def babylon_database_url(
    administrator: Connection,
    templates: Callable[..., str],
    contract: str,
    postgres: EmbeddedPostgres,
) -> Iterator[str]:
    """A fresh database with Babylon's own tables, which nobody has migrated."""
    yield from fresh_database(administrator, postgres, templates(contract, migrated=False))


@pytest.fixture
def empty_database_url(administrator: Connection, postgres: EmbeddedPostgres) -> Iterator[str]:
    """A fresh database that holds nothing."""
    yield from fresh_database(administrator, postgres, "template0")


@pytest.fixture
def redis_url(valkey: EmbeddedValkey) -> str:
    """A Redis-protocol server that holds nothing."""
    with redis.Redis.from_url(valkey.url) as client:
        client.flushall()
    return valkey.url


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority of the servers' certificates."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def other_authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that signed nothing here."""
    return Authority(tmp_path_factory.mktemp("other"))


@pytest.fixture(scope="session")
def _tls_redis(servers_dir: Path, authority: Authority) -> Iterator[TlsRedis]:
    with TlsRedis(servers_dir / "tls-redis", authority) as server:
        yield server


@pytest.fixture
def tls_redis_url(_tls_redis: TlsRedis) -> str:
    """A Redis that holds nothing, over TLS; the authority is not named."""
    with redis.Redis.from_url(_tls_redis.url, ssl_cert_reqs="none") as client:
        client.flushall()
    return _tls_redis.url


@pytest.fixture(scope="session")
def tls_postgres(servers_dir: Path, authority: Authority) -> Iterator[TlsPostgres]:
    """What is copied for a new database of it is migrated."""
    with TlsPostgres(servers_dir / "tls-postgres", authority) as server:
        copied = server.database("template1")
        with psycopg.connect(copied, autocommit=True) as connection:
            make_tables(connection, CONTRACTS[-1])
        apply(_settings(DATABASE_URL=copied))
        kept.close()
        yield server


@pytest.fixture(scope="module")
def tls_database_url(tls_postgres: TlsPostgres) -> str:
    """A migrated database, over TLS; no word about verification."""
    name = f"test_{secrets.token_hex(4)}"
    with psycopg.connect(tls_postgres.url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    return tls_postgres.database(name)


@pytest.fixture
def make_settings(database_url: str, tmp_path: Path) -> Callable[..., Settings]:
    """``make_settings(min_agents=3)``: settings on the test's database, otherwise the defaults.

    No Redis unless the test passes ``REDIS_URL=redis_url``.
    """

    def make(**overrides: Any) -> Settings:
        folders = {"data_dir": tmp_path / "data", "gateway_spool_dir": tmp_path / "calls"}
        return _settings(**{"DATABASE_URL": database_url, **folders, **overrides})

    return make


@pytest.fixture
def settings(make_settings: Callable[..., Settings], redis_url: str) -> Settings:
    """The defaults, on the test's own database and an empty Redis."""
    return make_settings(REDIS_URL=redis_url)


@pytest.fixture
def connection(make_settings: Callable[..., Settings]) -> Iterator[Connection]:
    """A connection as the code under test opens it: autocommit, UTC."""
    with connect(make_settings()) as opened:
        yield opened


def _settings(**values: Any) -> Settings:
    return Settings(**{"WANDB_API_KEY": None, "learning_rate": 4e-4, **values})
