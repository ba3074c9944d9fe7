"""`make check` refuses a Compose file that breaks a law, and says where and what to do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from checks.compose import check

ROOT = Path(__file__).parents[2]

# What is replaced in compose.yaml, by what, and what the fault must say.
BROKEN = {
    "a default password": (
        "POSTGRES_PASSWORD_FILE: /run/secrets/postgres_password",
        "POSTGRES_PASSWORD: babylon",
        "postgres: POSTGRES_PASSWORD is a secret",
    ),
    "a default password in a variable": (
        "POSTGRES_PASSWORD_FILE: /run/secrets/postgres_password",
        "POSTGRES_USER_MAP: ${DB_PASSWORD:-babylon}",
        "postgres: $DB_PASSWORD would make a secret visible",
    ),
    "a password in an address": (
        "BABYLON_BACKEND: local",
        "BABYLON_WANDB_BASE_URL: https://me:hunter2@tracker/v1",
        "gpu-worker-cuda: a URL with a password",
    ),
    "an address with a login for all services": (
        "BABYLON_SECRETS_DIR: /run/secrets",
        "DATABASE_URL: postgresql:///babylon",
        "DATABASE_URL is a secret",
    ),
    "a secret from the environment": (
        "{file: ./secrets/redis_url}",
        "{environment: REDIS_URL}",
        "secret redis_url must be a file of ./secrets/",
    ),
    "the newest image": (
        "image: valkey/valkey:9.1.2-trixie",
        "image: valkey/valkey:latest",
        "redis: image valkey/valkey:latest: name a fixed version",
    ),
    "an image without a tag": (
        "image: postgres:18.6-trixie",
        "image: postgres",
        "postgres: image postgres: name a fixed version",
    ),
    "an image of another version": (
        "image: babylon-tasks-trainer-cpu:0.1.0",
        "image: babylon-tasks-trainer-cpu:0.0.9",
        "gpu-worker: image babylon-tasks-trainer-cpu:0.0.9: pyproject.toml says version",
    ),
    "no health check": ("healthcheck: *alive", "init: false", "beat: needs a healthcheck"),
    "root": (
        '    user: "999:999"\n    # The password',
        "    # The password",
        "redis: runs as root",
    ),
    "a writable root": ("  read_only: true\n", "  read_only: false\n", "beat: needs read_only"),
    "kept capabilities": ("cap_drop: [ALL]", "cap_drop: [NET_RAW]", "needs cap_drop: [ALL]"),
    "new privileges": (
        '"no-new-privileges:true"',
        '"seccomp:unconfined"',
        "needs security_opt",
    ),
    "the engine's socket": (
        'volumes: ["models:/data"]',
        'volumes: ["/var/run/docker.sock:/run/docker.sock"]',
        "gpu-worker: mounts the engine's socket",
    ),
    "the host's network": (
        "    command: [run, flower]\n",
        "    command: [run, flower]\n    pid: host\n",
        "flower: shares a namespace",
    ),
    "too little time to stop": (
        "stop_grace_period: 40s",
        "stop_grace_period: 10s",
        "beat: needs stop_grace_period of at least 35s",
    ),
    "Flower for everybody": (
        '"127.0.0.1:${FLOWER_PORT:-5555}:5555"',
        '"${FLOWER_PORT:-5555}:5555"',
        "flower: port ${FLOWER_PORT:-5555}:5555: publish on 127.0.0.1 only",
    ),
    "a database with a way out": (
        "servers: {internal: true}",
        "servers: {}",
        "postgres: network servers needs internal: true",
    ),
    "a worker with a name of its own": (
        "    command: [run, cpu-worker]\n",
        "    command: [run, cpu-worker]\n    container_name: worker\n",
        "cpu-worker: a container name or a host port allows only one",
    ),
    "a Redis that forgets": ("--appendonly yes", "--appendonly no", "redis: needs --appendonly"),
    "a Redis that evicts": ("noeviction", "allkeys-lru", "redis: needs --maxmemory-policy"),
    "a Redis for everybody": ("requirepass", "port 6379 #", "redis: needs requirepass"),
    "no limit": (
        "limits: {memory: 64g, pids: 1024}",
        "limits: {pids: 1024}",
        "gpu-worker-cuda: needs deploy.resources.limits",
    ),
    "no wait for the migration": (
        "condition: service_completed_successfully",
        "condition: service_started",
        "must wait for migrate",
    ),
    "an unknown key": (
        "command: [run, flower]",
        "comand: [run, flower]",
        "'comand' was unexpected",
    ),
    "a key twice": (
        "  read_only: true\n",
        "  read_only: true\n  read_only: false\n",
        'found duplicate key "read_only"',
    ),
    "a secret that is not there": (
        "secrets: [redis_password]",
        "secrets: [redis_passwort]",
        "redis: secret redis_passwort is not declared under secrets",
    ),
    "no YAML": ("services:\n", "services: [\n", "compose.yaml: cannot be read"),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of what the check reads."""
    for path in (*ROOT.glob("compose*.yaml"), ROOT / "pyproject.toml"):
        shutil.copy(path, tmp_path)
    return tmp_path


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text("utf-8")
    assert old in text, f"{path.name} no longer has {old!r}: bring the test up to date"
    path.write_text(text.replace(old, new, 1), "utf-8")


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_compose_file_is_refused(folder: Path, case: str) -> None:
    old, new, said = BROKEN[case]
    assert check(folder) == []
    change(folder / "compose.yaml", old, new)
    faults = [str(fault) for fault in check(folder)]
    assert any(said in fault for fault in faults), faults


def test_a_fault_names_the_line(folder: Path) -> None:
    path = folder / "compose.yaml"
    change(path, "image: postgres:18.6-trixie", "image: postgres:latest")
    lines = path.read_text("utf-8").splitlines()
    [fault] = check(folder)
    number = lines.index("    image: postgres:latest") + 1
    assert fault.where == f"compose.yaml:{number}: postgres"


def test_an_override_is_held_to_the_laws_too(folder: Path) -> None:
    override = folder / "compose.serverless.yaml"
    change(override, "BABYLON_BACKEND: serverless", "WANDB_API_KEY: 0123456789")
    change(override, "  gpu-worker:", "  gpu-wroker:")
    said = "\n".join(map(str, check(folder)))
    assert "gpu-wroker: WANDB_API_KEY is a secret" in said
    assert "compose.yaml has no service gpu-wroker" in said


def test_the_command_ends_with_the_faults(folder: Path) -> None:
    change(folder / "compose.yaml", "image: postgres:18.6-trixie", "image: postgres:latest")
    done = subprocess.run(
        [sys.executable, "-m", "checks.compose", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "image postgres:latest: name a fixed version" in done.stderr
    assert "Compose: 1 fault(s)" in done.stderr
