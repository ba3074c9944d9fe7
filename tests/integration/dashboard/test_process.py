"""``run dashboard`` as a process: it listens, ends when asked to, and says what it lacks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from babylon_tasks.probe import ask
from babylon_tasks.sandbox.process import free_port

pytestmark = pytest.mark.contract(None)
LOGIN = "someone:a-password-of-a-test"


@contextmanager
def started(database_url: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    child = subprocess.Popen(
        [sys.executable, "-m", "babylon_tasks", "run", "dashboard"],
        env={**os.environ, "DATABASE_URL": database_url, "BABYLON_LOG_FORMAT": "json", **variables},
        stderr=subprocess.PIPE,
        text=True,
    )
    with child:
        yield child
        child.kill()


def test_it_listens_until_it_is_asked_to_end(database_url: str) -> None:
    port = free_port()
    variables = {"BABYLON_DASHBOARD_PORT": str(port), "BABYLON_DASHBOARD_LOGIN": LOGIN}
    with started(database_url, **variables) as child:
        while ask("127.0.0.1", port, "/healthz") is not None:
            assert child.poll() is None
            time.sleep(0.1)
        child.terminate()
        assert child.wait(60) == 0
        assert child.stderr is not None
        said = child.stderr.read()
    assert '"dashboard.opened"' in said
    assert '"dashboard.closed"' in said


def test_without_a_login_it_says_what_to_set(database_url: str) -> None:
    with started(database_url, BABYLON_DASHBOARD_PORT="0") as child:
        assert child.wait(60) == 2
        assert child.stderr is not None
        assert "Set BABYLON_DASHBOARD_LOGIN=user:password" in child.stderr.read()
