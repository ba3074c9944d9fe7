"""`babylon-tasks up`: everything with one command, and nothing left of it afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
from acceptance.harness import until


def test_up_runs_what_doctor_looks_for_and_sigterm_ends_all_of_it(
    empty_database_url: str, redis_url: str, tiny_model: Path, tmp_path: Path
) -> None:
    home = tmp_path / "up"
    command = "from babylon_tasks.cli import main; main()"
    environment = {
        **os.environ,
        "DATABASE_URL": empty_database_url,
        "REDIS_URL": redis_url,
        "BABYLON_BASE_MODEL": str(tiny_model),
        "BABYLON_BACKEND": "cpu",
    }
    up = subprocess.Popen(
        [sys.executable, "-c", command, "up", "--data-dir", str(home)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )

    def started() -> list[psutil.Process]:
        return psutil.Process(up.pid).children(recursive=True)

    try:
        assert up.stdout is not None
        said = [next(up.stdout) for _ in range(3)]
        assert "Flower: http://127.0.0.1:" in said[0]
        log = home / "gpu-worker.log"
        until("the policy is served", lambda: "trainer.serving" in log.read_text("utf-8"))
        family = started()

        doctor = subprocess.run(
            [sys.executable, "-c", command, "doctor", "--json"],
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        )
        found = {f["check"]: f["outcome"] for f in json.loads(doctor.stdout)["findings"]}
        parts = ("schema", "lineage", "beat", "queue cpu", "queue gpu", "queue upkeep")
        assert {part: found[part] for part in parts} == dict.fromkeys(parts, "ok")

        up.send_signal(signal.SIGTERM)
        rest, _ = up.communicate(timeout=90)

        assert up.returncode == 0
        assert "stopped" in rest
        until("nobody is left", lambda: not any(process.is_running() for process in family))
    finally:
        for process in started() if up.poll() is None else []:
            process.kill()
        up.kill()


def test_up_refuses_a_database_url_it_cannot_read_in_one_line_without_a_secret(
    redis_url: str, tmp_path: Path
) -> None:
    ended = subprocess.run(
        [
            *(sys.executable, "-c", "from babylon_tasks.cli import main; main()"),
            *("up", "--data-dir", str(tmp_path / "up")),
        ],
        env={
            **os.environ,
            "DATABASE_URL": "mysql://root:planted-secret@h/b",
            "REDIS_URL": redis_url,
            "BABYLON_INFERENCE_API_KEY": "planted-key",
        },
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == 2, said
    assert "DATABASE_URL must begin with postgresql://" in said
    assert "Traceback" not in said
    assert "input_value" not in said
    assert "planted" not in said
