"""TLS to Redis: all clients verify the server, and each refusal says what to do.

Celery's producer, its result store, a worker's and Flower's connections and our own clients are
each asked: they are different programs, and read `rediss://` differently when left to themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from celery import Celery
from flower.utils.broker import Broker
from kombu.exceptions import OperationalError
from tls import Authority, TlsRedis, at

from babylon_tasks.errors import SettingsError
from babylon_tasks.settings import Settings
from babylon_tasks.tasks.app import configuration
from babylon_tasks.tasks.redis_connection import open_client
from babylon_tasks.tasks.redis_health import describe, refusal

DATABASE = "postgresql://nowhere/x"


@pytest.fixture(scope="module")
def expired_url(servers_dir: Path, authority: Authority) -> Iterator[str]:
    """A server whose certificate has expired."""
    with TlsRedis(servers_dir / "expired-redis", authority, expired=True) as server:
        yield server.url


@pytest.fixture(scope="module")
def asking_url(servers_dir: Path, authority: Authority) -> Iterator[str]:
    """A server that asks its clients for a certificate."""
    with TlsRedis(servers_dir / "asking-redis", authority, clients=True) as server:
        yield server.url


def settings(url: str) -> Settings:
    return Settings(DATABASE_URL=DATABASE, REDIS_URL=url)


def celery(url: str) -> Celery:
    return Celery("test", set_as_current=False, changes=configuration(settings(url)))


def broker(url: str) -> None:
    with celery(url).connection() as connection:
        connection.ensure_connection(max_retries=1, interval_start=0)
        connection.default_channel.client.ping()


def worker(url: str) -> None:
    """The connection of a worker's event loop, which is not made by the same code."""
    with celery(url).connection() as connection:
        connection.default_channel._create_client(asynchronous=True).ping()


def result_store(url: str) -> None:
    celery(url).backend.client.ping()


def flower(url: str) -> None:
    """As Flower's page of queues asks: `flower.views.BaseHandler.get_broker`."""
    app = celery(url)
    with app.connection() as connection:
        address = connection.as_uri(include_password=True)
    options = SimpleNamespace(**app.conf.broker_transport_options)
    asked = Broker(
        address,
        http_api=None,
        broker_options=vars(options),
        broker_use_ssl=app.conf.broker_use_ssl,
    )
    found = asyncio.run(asked.queues(["cpu"]))
    assert found == [{"name": "cpu", "messages": 0}]


def our_own(url: str) -> None:
    with open_client(settings(url), 5) as client:
        client.ping()


CLIENTS = pytest.mark.parametrize("ask", [broker, worker, result_store, flower, our_own])
Ask = Callable[[str], None]


def refused(ask: Ask, url: str) -> str:
    """What a client was refused for, and the remedy."""
    try:
        ask(url)
    except Exception as error:  # noqa: BLE001  # each client has its own
        return describe(error)
    raise AssertionError(f"{ask.__name__} accepted the server")


@CLIENTS
def test_the_right_authority_is_enough(ask: Ask, tls_redis_url: str, authority: Authority) -> None:
    ask(at(tls_redis_url, ssl_ca_certs=str(authority.file)))


@CLIENTS
def test_the_machine_s_authorities_are_trusted_without_any_parameter(
    ask: Ask,
    tls_redis_url: str,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = at(tls_redis_url)
    assert "certificate verify failed" in refused(ask, url)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    ask(url)


@CLIENTS
def test_another_authority_is_refused(
    ask: Ask, tls_redis_url: str, other_authority: Authority
) -> None:
    why = refused(ask, at(tls_redis_url, ssl_ca_certs=str(other_authority.file)))
    assert why.startswith("tls: ")
    assert "ssl_ca_certs in REDIS_URL must name the file of the authority" in why


@CLIENTS
def test_another_name_is_refused(ask: Ask, tls_redis_url: str, authority: Authority) -> None:
    ca = {"ssl_ca_certs": str(authority.file)}
    url = at(tls_redis_url, host="localhost", **ca)
    assert "the host in REDIS_URL must be a name that the certificate has" in refused(ask, url)
    ask(at(tls_redis_url, host="localhost", ssl_check_hostname="false", **ca))


@CLIENTS
def test_an_expired_certificate_is_refused(
    ask: Ask, expired_url: str, authority: Authority
) -> None:
    url = at(expired_url, ssl_ca_certs=str(authority.file))
    assert "has expired; renew it in the server" in refused(ask, url)


@CLIENTS
def test_only_an_explicit_word_turns_verification_off(ask: Ask, expired_url: str) -> None:
    ask(at(expired_url, host="localhost", ssl_cert_reqs="none"))


@CLIENTS
def test_a_server_may_ask_for_a_certificate_of_the_client(
    ask: Ask, asking_url: str, authority: Authority, tmp_path: Path
) -> None:
    ca = {"ssl_ca_certs": str(authority.file)}
    assert "ssl_certfile and ssl_keyfile" in refused(ask, at(asking_url, **ca))
    own = tmp_path / "client.pem"
    own.write_text(authority.certificate("client"))
    ask(at(asking_url, ssl_certfile=str(own), ssl_keyfile=str(own), **ca))


def test_a_server_without_tls_is_refused(redis_url: str) -> None:
    why = refusal(settings(at(redis_url, scheme="rediss")), 2)
    assert why is not None
    assert "redis:// for a port without TLS" in why


def test_a_server_with_tls_is_refused_without(tls_redis_url: str) -> None:
    why = refusal(settings(at(tls_redis_url, scheme="redis")), 2)
    assert why is not None
    assert "rediss:// for one with it" in why


@pytest.mark.parametrize("name", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
def test_a_file_that_is_not_there_is_named_before_anything_connects(
    name: str, tls_redis_url: str, tmp_path: Path
) -> None:
    nowhere = str(tmp_path / "nowhere.pem")
    found = settings(at(tls_redis_url, **{name: nowhere}))
    with pytest.raises(SettingsError, match=f"{name}, {nowhere}, cannot be read"):
        configuration(found)
    assert f"{name}, {nowhere}, cannot be read" in (refusal(found, 2) or "")


def test_a_message_is_sent(tls_redis_url: str, authority: Authority) -> None:
    app = celery(at(tls_redis_url, ssl_ca_certs=str(authority.file)))
    assert app.send_task("babylon.discover.v1").id


def test_a_message_that_is_not_sent_says_what_to_do(expired_url: str, authority: Authority) -> None:
    app = celery(at(expired_url, ssl_ca_certs=str(authority.file)))
    with pytest.raises(OperationalError) as error:
        app.send_task("babylon.discover.v1", ignore_result=True)
    assert describe(error.value).startswith("tls: ")
