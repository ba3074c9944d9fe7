"""An attacker's hour against a trainer and a gateway: whatever is sent, agents are answered.

The trainer holds the model, so its memory and its descriptors are at stake too. The gateway is
attacked over IPv6.
"""

from __future__ import annotations

import json
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import httpx
import openai
import psutil
import pytest
from databases import fresh_database
from endpoint import ASKED, answer, head, read_all, request, until
from gateways import KEY as GATEWAY_KEY
from gateways import started
from openai import OpenAI
from recorded import SECRETS
from upstream import Upstream

from babylon_tasks.db import lineages
from babylon_tasks.db.session import Connection, connect
from babylon_tasks.http_server.limits import SPARE_CONNECTIONS
from babylon_tasks.sandbox.servers import EmbeddedPostgres, free_port
from babylon_tasks.settings import Settings
from babylon_tasks.training.inference.limits import Limits
from babylon_tasks.training.supervisor import Trainer

MEGABYTE = 2**20
MOST_CONNECTIONS = Limits().requests + SPARE_CONNECTIONS
ABANDONED = {**ASKED, "n": 60, "max_tokens": 1000}


class Target:
    """A process as an attacker, a probe and an agent see it; ``probe`` is the probe's path."""

    def __init__(self, url: str, pid: int, *, key: str, probe: str) -> None:
        self.url = url
        self.process = psutil.Process(pid)
        self.key = key
        self.probe = probe
        parts = urlsplit(self.url)
        self.address = (parts.hostname, parts.port)

    def connect(self, sent: bytes = b"") -> socket.socket:
        made = socket.create_connection(self.address, timeout=120)  # type: ignore[arg-type]
        made.sendall(sent)
        return made

    def pour(self, sent: bytes, chunk: bytes, total: int) -> tuple[int, bytes]:
        """Send a head and then chunks, until the server hangs up; returns bytes sent, answer."""
        poured = 0
        with self.connect(sent) as connection:
            try:
                while poured < total:
                    connection.sendall(chunk)
                    poured += len(chunk)
            except ConnectionError:
                pass
            return poured, read_all(connection)

    @contextmanager
    def unhurt(self) -> Iterator[None]:
        """Nothing of what happens here costs memory, the probe's answer or an agent's."""
        before = self.process.memory_info().rss
        yield
        assert httpx.get(self.url.replace("/v1", self.probe), timeout=60).json() == {"status": "ok"}
        with OpenAI(base_url=self.url, api_key=self.key) as client:
            assert client.chat.completions.create(**ASKED).choices
        assert self.process.memory_info().rss - before < 100 * MEGABYTE
        port = self.address[1]
        held = [one for one in self.process.net_connections() if one.laddr[1] == port]
        assert len(held) <= MOST_CONNECTIONS + 1


class SlowUpstream(Upstream):
    """A checkpoint's server that does not answer what is abandoned until the tests are over."""

    def __init__(self) -> None:
        super().__init__()
        self.over = threading.Event()
        self.says("buy")

    def answer(self, body: bytes) -> tuple[int, bytes]:
        if json.loads(body).get("n") == ABANDONED["n"]:
            self.over.wait()
        return super().answer(body)

    def __exit__(self, *_: object) -> None:
        self.over.set()
        super().__exit__()


@pytest.fixture(scope="module")
def database(
    administrator: Connection, templates: Callable[..., str], postgres: EmbeddedPostgres
) -> Iterator[str]:
    yield from fresh_database(administrator, postgres, templates(None, migrated=True))


@pytest.fixture(scope="module")
def gateway(database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    settings = Settings(DATABASE_URL=database, lineage="tests")
    folder, port = tmp_path_factory.mktemp("gateway"), free_port()
    with SlowUpstream() as server:
        with connect(settings) as connection:
            lineages.ensure(connection, settings)
            lineages.announce(connection, "tests", backend="cpu", base_url=server.url)
        with started(folder, database, gateway_host="::1", gateway_port=port) as process:
            made = Target(f"http://[::1]:{port}/v1", process.pid, key=GATEWAY_KEY, probe="/healthz")
            until(lambda: is_ready(made))
            yield made


def is_ready(target: Target) -> bool:
    try:
        return httpx.get(target.url.replace("/v1", "/readyz")).status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module", params=["trainer", "gateway"])
def target(request: pytest.FixtureRequest) -> Target:
    made: Target
    if request.param == "gateway":
        made = request.getfixturevalue("gateway")
    else:
        trainer: Trainer = request.getfixturevalue("trainer")
        key = SECRETS["BABYLON_INFERENCE_API_KEY"]
        made = Target(trainer.ready().base_url, trainer.pid, key=key, probe="/health")
    with made.unhurt():
        pass  # what the first answer loads is not an attacker's doing
    return made


@pytest.mark.parametrize("total", [500 * MEGABYTE, 5000 * MEGABYTE])
@pytest.mark.parametrize("known", [False, True], ids=["without the key", "with the key"])
def test_a_body_of_any_size(target: Target, known: bool, total: int) -> None:
    key = target.key if known else "wrong"
    words = b" " * 65536
    with target.unhurt():
        for sent, chunk in (
            (head(length=total, key=key), words),
            (head(key=key), b"10000\r\n" + words + b"\r\n"),
        ):
            poured, raw = target.pour(sent, chunk, total)
            assert poured < 48 * MEGABYTE  # what is thrown away, and what both kernels hold
            assert raw == b"" or answer(raw)[0] == (413 if known else 401)


@pytest.mark.parametrize("megabytes", [10, 100])
def test_a_prompt_of_any_size(target: Target, megabytes: int) -> None:
    said = [{"role": "user", "content": "x" * megabytes * MEGABYTE}]
    with (
        target.unhurt(),
        OpenAI(base_url=target.url, api_key=target.key, max_retries=0) as client,
        pytest.raises(openai.APIError) as refusal,
    ):
        client.chat.completions.create(**{**ASKED, "messages": said})
    # Beyond what is read of a refused body the client may lose the answer.
    assert megabytes > 10 or isinstance(refusal.value, openai.APIStatusError)
    assert getattr(refusal.value, "status_code", 413) == 413


@contextmanager
def open_files(count: int) -> Iterator[None]:
    """This process may have so many files open, and those that it has already."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 500
    if hard != resource.RLIM_INFINITY and wanted > hard:
        pytest.skip(f"needs {wanted} open files, and this user may have {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("count", [900, 9000])
def test_half_open_connections_at_the_same_time(target: Target, count: int) -> None:
    half = (b"", b"POST /v1/chat", b"POST / HTTP/1.1\r\nHost: x\r\nX: ", head(length=9, key="no"))
    with open_files(count), ExitStack() as held, target.unhurt():
        for number in range(count):
            held.enter_context(target.connect(half[number % len(half)]))


@pytest.mark.parametrize("count", [100, 1000])
def test_requests_that_nobody_waits_for(target: Target, count: int) -> None:
    body = json.dumps(ABANDONED).encode()
    with open_files(2 * count), target.unhurt():  # also of the server behind a gateway, in here
        for _ in range(count):
            target.connect(head(length=len(body), key=target.key) + body).close()


@pytest.mark.parametrize("depth", [10_000, 100_000])
def test_nests_of_garbage(target: Target, depth: int) -> None:
    with target.unhurt():
        for begin in (b"[", b'{"a":', b'{"messages":[', b'{"tools":[[', b'{"stop":[['):
            garbage = (begin * depth)[: MEGABYTE - 1]
            with target.connect(head(length=len(garbage), key=target.key) + garbage) as connection:
                connection.shutdown(socket.SHUT_WR)
                raw = read_all(connection)
                assert raw == b"" or answer(raw)[0] == 400


@pytest.mark.parametrize("size", [MEGABYTE, 10 * MEGABYTE])
def test_heads_without_end(target: Target, size: int) -> None:
    line = b"X-Line: " + b"x" * 1000 + b"\r\n"
    begin = b"GET /health HTTP/1.1\r\nHost: x\r\n"
    with target.unhurt():
        for chunk in (line, b"x" * 1000):
            _, raw = target.pour(begin + b"X: ", chunk, size)
            assert raw == b"" or answer(raw)[0] == 431
        _, raw = target.pour(b"GET /", b"x" * 1000, size)
        assert raw == b"" or answer(raw)[0] == 431


def test_what_is_no_request_at_all(target: Target) -> None:
    with target.unhurt():
        for sent in (
            b"\0" * 1000,
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET /health HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            head(length=5, key=target.key).replace(b"Length: 5", b"Length: -5"),
            head(length=5, key=target.key).replace(b"Length: 5", b"Length: 5\r\nContent-Length: 6"),
            head(key=target.key) + b"FFFFFFFFFFFFFFFFFFFFF\r\n",
            head(key=target.key) + b"not a size\r\n",
            request(b"{}").replace(b"Bearer", b"Bearer " + b"\xff" * 100),
        ):
            with target.connect(sent) as connection:
                connection.shutdown(socket.SHUT_WR)
                read_all(connection)
