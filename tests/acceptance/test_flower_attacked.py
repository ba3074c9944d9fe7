"""An attacker's hour against Flower: without its login, and with a way to Redis."""

from __future__ import annotations

import base64
import json
import re
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import psutil
import pytest
import redis
from acceptance.harness import Babylon, until
from acceptance.test_flower import ask, status, tasks
from endpoint import read_all

from babylon_tasks.tasks.app import KEY_PREFIX
from babylon_tasks.tasks.flower.bounded_server import MOST_CONNECTIONS
from babylon_tasks.tasks.flower.bounded_state import MOST_NAMES

MEGABYTE = 2**20
HEAD = b"POST /api/task/apply/x HTTP/1.1\r\nHost: x\r\n"
EVENTS = KEY_PREFIX + "/0.celeryev/"
SCORE = "babylon.score_window.v1"


class Target:
    """Flower's port and its process."""

    def __init__(self, babylon: Babylon) -> None:
        self.babylon = babylon
        (self.process,) = [one for one in babylon.family() if "flower" in one.cmdline()]

    def connect(self, sent: bytes) -> socket.socket:
        made = socket.create_connection(("127.0.0.1", self.babylon.stack.flower_port), timeout=60)
        made.sendall(sent)
        return made

    def pour(self, sent: bytes, chunk: bytes, total: int) -> tuple[int, bytes]:
        """Send a head and then chunks until the server hangs up; returns bytes sent, answer."""
        poured = 0
        with self.connect(sent) as connection:
            try:
                while poured < total:
                    connection.sendall(chunk)
                    poured += len(chunk)
                return poured, read_all(connection)
            except ConnectionError:
                return poured, b""

    def megabytes(self) -> int:
        return int(self.process.memory_info().rss // MEGABYTE)

    def assert_well(self, before: int) -> None:
        """It is the same process, shows its pages, and has not grown."""
        login = self.babylon.stack.flower_login
        until("its page is shown", lambda: status(self.babylon, "/", login) == 200)
        assert self.process.is_running()
        assert self.process.status() != psutil.STATUS_ZOMBIE
        assert self.megabytes() - before < 100


@pytest.fixture
def target(babylon: Babylon) -> Target:
    babylon.start("flower")
    login = babylon.stack.flower_login
    # Its first page loads the templates; that is not an attacker's doing.
    until("flower answers", lambda: status(babylon, "/", login) == 200)
    return Target(babylon)


def test_bodies_heads_and_connections_of_any_size_without_the_login(target: Target) -> None:
    before = target.megabytes()
    megabyte = b"x" * MEGABYTE
    with ExitStack() as held:
        for head, chunk in (
            (HEAD + b"Content-Length: 99000000\r\n\r\n", megabyte),
            (HEAD + b"Content-Length: 990000000\r\n\r\n", megabyte),
            (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"100000\r\n" + megabyte + b"\r\n"),
            (b"GET / HTTP/1.1\r\nX: ", megabyte),
            (b"GET /", megabyte),
        ):
            poured, raw = target.pour(head, chunk, 900 * MEGABYTE)
            assert poured < 32 * MEGABYTE, head  # what both kernels hold
            assert raw == b"" or raw.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401")), raw[:80]
        login = b"Authorization: Basic " + base64.b64encode(b"u:" + b"x" * 30_000) + b"\r\n\r\n"
        _, raw = target.pour(b"GET / HTTP/1.1\r\nConnection: close\r\nHost: x\r\n" + login, b"", 0)
        assert raw.startswith(b"HTTP/1.1 401")

        for number in range(10 * MOST_CONNECTIONS):
            half = (b"", b"GET", b"GET / HTTP/1.1\r\nX:", HEAD + b"Content-Length: 9\r\n\r\nx")
            held.enter_context(target.connect(half[number % len(half)]))
        target.assert_well(before)
        assert target.process.num_fds() < MOST_CONNECTIONS + 100


def test_guesses_by_the_thousand_are_answered_unseen(target: Target) -> None:
    answers: Counter[int] = Counter()
    with httpx.Client(base_url=f"http://127.0.0.1:{target.babylon.stack.flower_port}") as http:
        for number in range(2500):
            guess = f"guess-{number}-" + "x" * (number % 4 * 5000)
            answers[http.get("/", auth=("babylon", guess)).status_code] += 1

    # Each one that is looked at doubles the pause: how many those are hardly grows with the time.
    assert 5 <= answers[401] < 50
    assert answers[401] + answers[429] == 2500
    refused = [line for line in target.babylon.lines("flower") if line["event"] == "login.refused"]
    assert len(refused) < 50
    assert "guess-" not in target.babylon.log("flower")


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


def event(kind: str, **fields: object) -> bytes:
    """An event as a worker sends it."""
    given = {"type": kind, "hostname": "cpu@x", "timestamp": 1.8e9, "clock": 1, "pid": 1}
    body = json.dumps({**given, "utcoffset": 0, "name": SCORE, "kwargs": "{}", **fields})
    return json.dumps(
        {
            "body": base64.b64encode(body.encode()).decode(),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"hostname": "cpu@x"},
            "properties": {
                "delivery_mode": 1,
                "delivery_info": {"exchange": "celeryev", "routing_key": kind.replace("-", ".")},
                "priority": 0,
                "body_encoding": "base64",
                "delivery_tag": "x",
            },
        }
    ).encode()


def test_events_of_any_size_and_depth(target: Target, client: redis.Redis) -> None:
    channel = EVENTS + "task.received"
    until("it listens", lambda: client.publish(channel, event("task-received", uuid="first")))
    before = target.megabytes()

    for number in range(60):  # each is kept as a task, if it is taken
        size = 50_000_000 if number % 20 == 0 else 5_000_000
        client.publish(channel, event("task-received", uuid=f"large-{number}", args="x" * size))
    for number, args in enumerate(("-" * 40_000 + "1", "1+" * 20_000 + "1j", "not " * 9000 + "1")):
        client.publish(channel, event("task-received", uuid=f"deep-{number}", args=args))

    def seen() -> set[str]:
        shown = tasks(target.babylon, SCORE) or tasks(target.babylon, "score_window")
        return {task["uuid"] for task in shown}

    def last_is_shown() -> bool:
        # Redis cuts off a listener that is behind by megabytes, and keeps nothing for it.
        client.publish(channel, event("task-received", uuid="last"))
        return "last" in seen()

    until("the last one is shown", last_is_shown)
    assert {name for name in seen() if name.startswith("large")} == set()
    assert "Exception in callback" not in target.babylon.log("flower")
    target.assert_well(before)


def test_workers_of_invented_names(target: Target, client: redis.Redis) -> None:
    channel = EVENTS + "worker.heartbeat"
    until("it listens", lambda: client.publish(channel, event("worker-heartbeat", freq=3600)))
    before = target.megabytes()

    for number in range(10 * MOST_NAMES):
        name, uuid = f"cpu@{number}", f"task-{number}"
        for kind in ("worker-heartbeat", "task-received", "task-started", "task-succeeded"):
            client.publish(channel, event(kind, hostname=name, uuid=uuid, runtime=0.5, freq=2))

    def metrics() -> str:
        return ask(target.babylon, "/metrics", target.babylon.stack.flower_login)[1]

    def last_is_shown() -> bool:
        client.publish(channel, event("task-received", hostname="cpu@y", uuid="last"))
        return 'worker="cpu@y"' in metrics()

    until("the last one is shown", last_is_shown)
    assert len(set(re.findall(r'worker="([^"]*)"', metrics()))) <= 2 * MOST_NAMES
    assert "Exception in callback" not in target.babylon.log("flower")
    target.assert_well(before)
