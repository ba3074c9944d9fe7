"""The whole loop where Postgres and Redis are reached by TLS alone, and verified."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from acceptance.harness import Babylon, assert_trained_once, hours, until
from acceptance.test_flower import ask as ask_flower
from acceptance.test_flower import tasks
from acceptance.test_metrics import ask
from tls import Authority, TlsProxy, at

MakeBabylon = Callable[..., Babylon]
WORKERS = ("gpu-worker", "cpu-worker", "beat")


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def redis_proxy(redis_url: str, authority: Authority) -> Iterator[TlsProxy]:
    with TlsProxy(urlsplit(redis_url).port or 0, authority.certificate("127.0.0.1")) as proxy:
        yield proxy


@pytest.fixture
def postgres_proxy(database_url: str, authority: Authority) -> Iterator[TlsProxy]:
    certificate = authority.certificate("127.0.0.1")
    with TlsProxy(urlsplit(database_url).port or 0, certificate, postgres=True) as proxy:
        yield proxy


def test_windows_are_trained_and_shown_over_tls_and_again_after_redis_s_connections_were_reset(
    make_babylon: MakeBabylon,
    database_url: str,
    redis_url: str,
    authority: Authority,
    postgres_proxy: TlsProxy,
    redis_proxy: TlsProxy,
) -> None:
    ca = str(authority.file)
    babylon = make_babylon(
        database=at(database_url, postgres_proxy.port, sslaccept="strict", sslcert=ca),
        broker=at(redis_url, redis_proxy.port, scheme="rediss", ssl_ca_certs=ca),
    )
    assert babylon.connection.pgconn.ssl_in_use
    first, second = hours(2)
    babylon.record(first)
    babylon.start(*WORKERS, "flower")
    babylon.await_states([first], "trained")

    until("all are ready", lambda: all(ask(babylon, name, "/readyz")[0] == 200 for name in WORKERS))
    sources = ask(babylon, "beat", "/metrics")[1]
    for source in ("postgres", "redis"):
        assert f'babylon_source_up{{source="{source}"}} 1.0' in sources
    until(
        "Flower shows what workers report over its own connection",
        lambda: tasks(babylon, "discover"),
    )
    code, queues = ask_flower(babylon, "/api/queues/length", babylon.stack.flower_login)
    assert code == 200
    assert '"cpu"' in queues

    redis_proxy.cut()
    babylon.record(second)
    babylon.await_states([first, second], "trained")
    assert_trained_once(babylon, [first, second], tries=1)
