"""Commands on real servers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from command_line import Result, Run

from babylon_tasks.cli import main
from babylon_tasks.settings import load_settings
from babylon_tasks.tasks import live_workers


@pytest.fixture
def environment(database_url: str, redis_url: str, tmp_path: Any) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "BABYLON_DATA_DIR": str(tmp_path / "data"),
        "BABYLON_GRACE_SECONDS": "0",
        "BABYLON_HELD_OUT_SHARE": "0",
    }


@pytest.fixture
def run(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """``run("score", WINDOW)``; keyword arguments replace environment variables.

    No worker listens that `doctor` could wait for.
    """
    monkeypatch.setattr(live_workers, "ANSWER_SECONDS", 0.05)

    def call(*arguments: str, **variables: str) -> Result:
        for name, value in (environment | variables).items():
            monkeypatch.setenv(name, value)
        load_settings.cache_clear()
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        load_settings.cache_clear()
        output = capsys.readouterr()
        return Result(int(ended.value.code or 0), output.out, output.err)

    return call


@pytest.fixture
def start(environment: dict[str, str]) -> Callable[..., subprocess.Popen[str]]:
    """A command as a process of its own: for Celery's application, which is one a process."""

    def call(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "babylon_tasks", *arguments],
            env={**os.environ, **environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return call
