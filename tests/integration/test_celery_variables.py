"""Celery's own variables do not override our settings unseen (celery#4284): a real worker ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAMS = {
    "run": ["babylon_tasks", "run", "cpu-worker"],
    "celery": ["celery", "-A", "babylon_tasks", "worker", "--queues", "cpu"],
}


@pytest.mark.contract(None)
@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CELERY_BROKER_URL", "redis://:planted-secret@127.0.0.1:1/0"),
        ("CELERY_BROKER_READ_URL", "redis://:planted-secret@127.0.0.1:1/0"),
        ("CELERY_RESULT_BACKEND", "redis://:planted-secret@127.0.0.1:1/0"),
        ("CELERY_CONFIG_MODULE", "elsewhere"),
        ("CELERY_WORKER_MAX_TASKS_PER_CHILD", "1"),
        ("CELERY_WORKER_PURGE", "1"),
    ],
)
def test_a_worker_ends_with_the_name_of_what_would_override_its_settings(
    tmp_path: Path, redis_url: str, program: str, name: str, value: str
) -> None:
    (tmp_path / "elsewhere.py").write_text("broker_url = 'redis://127.0.0.1:1/0'")
    ended = subprocess.run(
        [sys.executable, "-m", *PROGRAMS[program]],
        cwd=tmp_path,
        env={
            **os.environ,
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "REDIS_URL": redis_url,
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), str(tmp_path)]),
            name: value,
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ended.returncode != 0
    assert f"{name} is set, and Celery would obey it" in ended.stderr
    assert "planted" not in ended.stdout + ended.stderr
