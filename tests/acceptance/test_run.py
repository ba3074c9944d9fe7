"""`babylon-tasks run`: the command becomes the process, with its id, its signals and its log."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from acceptance.harness import until

COMMAND = [sys.executable, "-c", "from babylon_tasks.cli import main; main()", "run"]


def test_run_becomes_the_worker_whose_log_is_json_and_which_writes_nowhere_else(
    database_url: str, redis_url: str, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    log = tmp_path / "log"
    temporary = tmp_path_factory.mktemp("temporary")
    with log.open("wb") as stream:
        worker = subprocess.Popen(
            [*COMMAND, "cpu-worker", "--", "-n", "mine@%h"],
            cwd=tmp_path,
            env={
                **os.environ,
                "DATABASE_URL": database_url,
                "REDIS_URL": redis_url,
                "TMPDIR": str(temporary),
            },
            stdout=stream,
            stderr=stream,
        )
    try:
        until("the worker is ready", lambda: "ready." in log.read_text("utf-8"))
        assert "celeryd: mine@" in " ".join(psutil.Process(worker.pid).cmdline()), "no child"
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
    finally:
        worker.kill()
        worker.wait(60)
    assert "Traceback" not in log.read_text("utf-8")
    assert not list(temporary.iterdir()), "it left nothing"
    # What is no JSON Celery says past any logger: its warning to root, and that it shuts down.
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines() if line[:1] == "{"]
    assert any(re.fullmatch(r"mine@.* ready\.", line["event"]) for line in lines), (
        "extra options are passed on"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["log"], "it wrote nowhere"


def test_run_without_usable_settings_ends_in_one_line_before_it_becomes_anything(
    tmp_path: Path,
) -> None:
    ended = subprocess.run(
        [*COMMAND, "beat"],
        cwd=tmp_path,
        env={**os.environ, "DATABASE_URL": "mysql://root:planted-secret@h/b"},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert "DATABASE_URL must begin with postgresql://" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert "planted" not in ended.stderr
