"""The whole loop where Postgres and Redis are reached by TLS alone, and verified."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from urllib.error import URLError
from urllib.request import urlopen

import redis
from acceptance.harness import Babylon, hours, until
from acceptance.outcome import assert_trained_once
from acceptance.test_flower import ask as ask_flower
from acceptance.test_flower import tasks
from acceptance.test_metrics import ask
from tls import Authority, at

MakeBabylon = Callable[..., Babylon]
WORKERS = ("gpu-worker", "cpu-worker", "beat")


def gateway_is_ready(babylon: Babylon) -> bool:
    url = f"http://127.0.0.1:{babylon.stack.settings.gateway_port}/readyz"
    with suppress(URLError), urlopen(url, timeout=60) as answer:
        return bool(answer.status == 200)
    return False


def test_windows_are_trained_and_shown_over_tls_and_again_after_redis_s_connections_were_reset(
    make_babylon: MakeBabylon,
    tls_database_url: str,
    tls_redis_url: str,
    authority: Authority,
) -> None:
    ca = str(authority.file)
    babylon = make_babylon(
        database=at(tls_database_url, sslaccept="strict", sslcert=ca),
        broker=at(tls_redis_url, ssl_ca_certs=ca),
    )
    assert babylon.connection.pgconn.ssl_in_use
    first, second = hours(2)
    babylon.record(first)
    babylon.start(*WORKERS, "flower", "gateway")
    babylon.await_states([first], "trained")

    until("all are ready", lambda: all(ask(babylon, name, "/readyz")[0] == 200 for name in WORKERS))
    sources = ask(babylon, "beat", "/metrics")[1]
    for source in ("postgres", "redis"):
        assert f'babylon_source_up{{source="{source}"}} 1.0' in sources
    until(
        "Flower shows what workers report over its own connection",
        lambda: tasks(babylon, "discover"),
    )
    until("the gateway has read what serves", lambda: gateway_is_ready(babylon))
    code, queues = ask_flower(babylon, "/api/queues/length", babylon.stack.flower_login)
    assert code == 200
    assert '"cpu"' in queues

    with redis.Redis.from_url(tls_redis_url, ssl_ca_certs=ca) as administrator:
        for kind in ("normal", "pubsub"):
            administrator.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    babylon.record(second)
    babylon.await_states([first, second], "trained")
    assert_trained_once(babylon, [first, second], tries=1)
