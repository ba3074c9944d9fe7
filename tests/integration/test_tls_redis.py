"""TLS to Redis: all clients verify the server, and each refusal says what to do.

Celery's producer, its result store, a worker's and Flower's connections and our own clients are
each asked: they are different programs, and read `rediss://` differently when left to themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from celery import Celery
from flower.utils.broker import Broker
from kombu.exceptions import OperationalError
from tls import Authority, TlsProxy, at

from babylon_tasks.errors import SettingsError
from babylon_tasks.settings import Settings
from babylon_tasks.tasks.app import configuration
from babylon_tasks.tasks.redis_connection import open_client
from babylon_tasks.tasks.redis_health import describe, refusal

DATABASE = "postgresql://nowhere/x"


@pytest.fixture
def port(redis_url: str) -> int:
    found = urlsplit(redis_url).port
    assert found is not None
    return found


@pytest.fixture
def tls_port(port: int, authority: Authority) -> Iterator[int]:
    with TlsProxy(port, authority.certificate("127.0.0.1")) as proxy:
        yield proxy.port


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
def test_the_right_authority_is_enough(
    ask: Ask, redis_url: str, tls_port: int, authority: Authority
) -> None:
    ask(at(redis_url, tls_port, scheme="rediss", ssl_ca_certs=str(authority.file)))


@CLIENTS
def test_the_machine_s_authorities_are_trusted_without_any_parameter(
    ask: Ask,
    redis_url: str,
    tls_port: int,
    authority: Authority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = at(redis_url, tls_port, scheme="rediss")
    assert "certificate verify failed" in refused(ask, url)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    ask(url)


@CLIENTS
def test_another_authority_is_refused(
    ask: Ask, redis_url: str, tls_port: int, other_authority: Authority
) -> None:
    why = refused(
        ask, at(redis_url, tls_port, scheme="rediss", ssl_ca_certs=str(other_authority.file))
    )
    assert why.startswith("tls: ")
    assert "ssl_ca_certs in REDIS_URL must name the file of the authority" in why


@CLIENTS
def test_another_name_is_refused(
    ask: Ask, redis_url: str, tls_port: int, authority: Authority
) -> None:
    ca = {"ssl_ca_certs": str(authority.file)}
    url = at(redis_url, tls_port, scheme="rediss", host="localhost", **ca)
    assert "the host in REDIS_URL must be a name that the certificate has" in refused(ask, url)
    ask(
        at(redis_url, tls_port, scheme="rediss", host="localhost", ssl_check_hostname="false", **ca)
    )


@CLIENTS
def test_an_expired_certificate_is_refused(
    ask: Ask, redis_url: str, port: int, authority: Authority
) -> None:
    with TlsProxy(port, authority.certificate("127.0.0.1", expired=True)) as proxy:
        url = at(redis_url, proxy.port, scheme="rediss", ssl_ca_certs=str(authority.file))
        assert "has expired; renew it in the server" in refused(ask, url)


@CLIENTS
def test_only_an_explicit_word_turns_verification_off(
    ask: Ask, redis_url: str, port: int, authority: Authority
) -> None:
    with TlsProxy(port, authority.certificate("elsewhere", expired=True)) as proxy:
        ask(at(redis_url, proxy.port, scheme="rediss", ssl_cert_reqs="none"))


def test_a_server_without_tls_is_refused(redis_url: str, port: int) -> None:
    why = refusal(settings(at(redis_url, port, scheme="rediss")), 2)
    assert why is not None
    assert "redis:// for a port without TLS" in why


def test_a_server_with_tls_is_refused_without(redis_url: str, tls_port: int) -> None:
    why = refusal(settings(at(redis_url, tls_port)), 2)
    assert why is not None
    assert "rediss:// for one with it" in why


@pytest.mark.parametrize("name", ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"])
def test_a_file_that_is_not_there_is_named_before_anything_connects(
    name: str, redis_url: str, tls_port: int, tmp_path: Path
) -> None:
    nowhere = str(tmp_path / "nowhere.pem")
    found = settings(at(redis_url, tls_port, scheme="rediss", **{name: nowhere}))
    with pytest.raises(SettingsError, match=f"{name}, {nowhere}, cannot be read"):
        configuration(found)
    assert f"{name}, {nowhere}, cannot be read" in (refusal(found, 2) or "")


def test_a_message_is_sent(redis_url: str, tls_port: int, authority: Authority) -> None:
    app = celery(at(redis_url, tls_port, scheme="rediss", ssl_ca_certs=str(authority.file)))
    assert app.send_task("babylon.discover.v1").id


def test_a_message_that_is_not_sent_says_what_to_do(
    redis_url: str, tls_port: int, other_authority: Authority
) -> None:
    app = celery(at(redis_url, tls_port, scheme="rediss", ssl_ca_certs=str(other_authority.file)))
    with pytest.raises(OperationalError) as error:
        app.send_task("babylon.discover.v1", ignore_result=True)
    assert describe(error.value).startswith("tls: ")
