"""Flower shows what runs to those who may see it, and to nobody else."""

from __future__ import annotations

import base64
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection

import pytest
from acceptance.harness import Babylon, until

BEHIND_THE_LOGIN = ("/", "/tasks", "/api/tasks", "/api/workers", "/metrics")


def status(flower: Babylon, path: str, login: str | None = None, verb: str = "GET") -> int:
    """The HTTP status of a request; 0 while nobody listens."""
    connection = HTTPConnection("127.0.0.1", flower.stack.flower_port, timeout=10)
    headers = {}
    if login is not None:
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    with closing(connection):
        try:
            connection.request(verb, path, headers=headers)
            return connection.getresponse().status
        except ConnectionRefusedError:
            return 0


@pytest.fixture
def flower(babylon: Babylon) -> Babylon:
    babylon.start("cpu-worker", "flower")
    until("flower answers", lambda: status(babylon, "/healthcheck") == 200)
    return babylon


def test_flower_shows_nothing_without_its_login_not_even_metrics(flower: Babylon) -> None:
    login = flower.stack.flower_login
    for path in BEHIND_THE_LOGIN:
        assert status(flower, path) == 401, path
        assert status(flower, path, "babylon:guessed") == 401, path
        assert status(flower, path, login) == 200, path
    for process in flower.family():
        assert login.partition(":")[2] not in " ".join(process.cmdline()), "it shows in `ps`"


def test_flower_logs_in_the_one_form_that_all_processes_have(flower: Babylon) -> None:
    until("it has told of the broker", lambda: "Connected to redis" in flower.log("flower"))
    assert len(flower.lines("flower")) == flower.log("flower").count("\n")


def test_nobody_stops_a_worker_from_the_web(flower: Babylon) -> None:
    login = flower.stack.flower_login
    for path in ("/api/worker/shutdown/cpu@vm", "/api/task/async-apply/babylon.discover.v1"):
        assert status(flower, path, login, "POST") == 403, path


def test_flower_without_a_login_does_not_start(make_babylon: Callable[..., Babylon]) -> None:
    babylon = make_babylon()
    command = babylon.stack.command("flower")

    refused = babylon.stack.start("flower", command)
    babylon.down.append(refused)

    until("flower has ended", lambda: refused.child.poll() is not None)
    assert refused.child.returncode not in (0, None)
    assert "FLOWER_BASIC_AUTH" in babylon.log("flower")
