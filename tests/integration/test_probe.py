"""The container's health check says what the process says, and fails when nobody answers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from babylon_tasks.sandbox.servers import free_port

ANSWERS = {"/livez": 200, "/healthcheck": 200}


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(ANSWERS[self.path])
        self.end_headers()
        self.wfile.write(b"as the process says")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def port() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def probe(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "babylon_tasks.probe", *arguments],
        env={"PYTHONPATH": os.environ.get("PYTHONPATH", ""), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_process_that_lives_is_well(port: int) -> None:
    assert probe(BABYLON_METRICS_PORT=str(port)).returncode == 0
    assert probe("flower", BABYLON_FLOWER_PORT=str(port)).returncode == 0


def test_a_process_that_hangs_is_not_live(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ANSWERS, "/livez", 503)
    done = probe(BABYLON_METRICS_PORT=str(port))
    assert done.returncode == 1
    assert "503 as the process says" in done.stderr


def test_silence_is_not_health() -> None:
    done = probe(BABYLON_METRICS_PORT=str(free_port()))
    assert done.returncode == 1
    assert "Connection refused" in done.stderr
    assert "BABYLON_METRICS_PORT is not set" in probe().stderr


def test_an_empty_port_is_the_usual_one() -> None:
    assert "BABYLON_METRICS_PORT is not set" in probe(BABYLON_METRICS_PORT=" ").stderr
    assert "port 5555/healthcheck" in probe("flower", BABYLON_FLOWER_PORT="").stderr
