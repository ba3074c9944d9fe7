"""`make check` refuses a Compose file that breaks a rule, and says where and what to do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from copies import ROOT, change

from checks.compose import check

# What is replaced in compose.yaml, by what, and what the violation must say.
BROKEN = {
    "a default password": (
        "POSTGRES_PASSWORD_FILE: /run/secrets/postgres_password",
        "POSTGRES_PASSWORD: babylon",
        "services.postgres.environment is 'POSTGRES_PASSWORD': a secret; mount it as a file",
    ),
    "a default password in a variable": (
        "POSTGRES_PASSWORD_FILE: /run/secrets/postgres_password",
        "POSTGRES_USER_MAP: ${DB_PASSWORD:-babylon}",
        "{DB_PASSWORD:-babylon}': would make a secret visible",
    ),
    "a password in an address": (
        "BABYLON_BACKEND: local",
        "BABYLON_WANDB_BASE_URL: https://me:hunter2@tracker/v1",
        "gpu-worker-cuda: compose-lint CL-0021: Service has env var 'BABYLON_WANDB_BASE_URL'",
    ),
    "an address with a login for all services": (
        "BABYLON_SECRETS_DIR: /run/secrets",
        "DATABASE_URL: postgresql:///babylon",
        "services.beat.environment is 'DATABASE_URL': a secret",
    ),
    "a secret from the environment": (
        "{file: ./secrets/redis_url}",
        "{environment: REDIS_URL}",
        "secrets.redis_url: must be a file of ./secrets/",
    ),
    "the newest image": (
        "image: valkey/valkey:9.1.2-trixie",
        "image: valkey/valkey:latest",
        "redis: compose-lint CL-0004: Image 'valkey/valkey:latest' uses mutable tag",
    ),
    "an image without a tag": (
        "image: postgres:18.6-trixie",
        "image: postgres",
        "postgres: compose-lint CL-0004: Image 'postgres' has no tag",
    ),
    "no health check": (
        "healthcheck: *alive",
        "init: false",
        "services.beat: what stays needs a healthcheck",
    ),
    "root": (
        '    user: "999:999"\n    # The password',
        "    # The password",
        "services.redis: runs as root",
    ),
    "a writable root": (
        "  read_only: true\n",
        "  read_only: false\n",
        "beat: compose-lint CL-0007",
    ),
    "kept capabilities": (
        "cap_drop: [ALL]",
        "cap_drop: [NET_RAW]",
        "beat: compose-lint CL-0006: Service does not drop all",
    ),
    "new privileges": (
        '"no-new-privileges:true"',
        '"seccomp:unconfined"',
        "beat: compose-lint CL-0003",
    ),
    "the engine's socket": (
        'volumes: ["models:/data"]',
        'volumes: ["/var/run/docker.sock:/run/docker.sock"]',
        "gpu-worker: compose-lint CL-0001",
    ),
    "the host's network": (
        "    command: [run, flower]\n",
        "    command: [run, flower]\n    pid: host\n",
        "flower: compose-lint CL-0010",
    ),
    "Flower for everybody": (
        '"127.0.0.1:${FLOWER_PORT:-5555}:5555"',
        '"${FLOWER_PORT:-5555}:5555"',
        "flower: compose-lint CL-0005: Port '5555:5555' is bound to all interfaces",
    ),
    "a database with a way out": (
        "servers: {internal: true}",
        "servers: {}",
        "networks.servers: needs internal: true",
    ),
    "a Redis with a way out": (
        "messages: {internal: true}",
        "messages: {}",
        "networks.messages: needs internal: true",
    ),
    "Flower beside Postgres": (
        "networks: [messages, flower]",
        "networks: [messages, servers, flower]",
        "services.flower.networks: Flower needs Redis only",
    ),
    "a worker with a name of its own": (
        "    command: [run, cpu-worker]\n",
        "    command: [run, cpu-worker]\n    container_name: worker\n",
        "container_name is 'worker': a name of its own allows only one container",
    ),
    "a Redis that forgets": ("--appendonly yes", "--appendonly no", "redis: needs --appendonly"),
    "a Redis that evicts": ("noeviction", "allkeys-lru", "redis: needs --maxmemory-policy"),
    "a Redis for everybody": ("requirepass", "port 6379 #", "redis: needs requirepass"),
    "no limit of memory": (
        'limits: {cpus: "1", memory: 512m, pids: 64}',
        "limits: {pids: 64}",
        "redis: compose-lint CL-0026",
    ),
    "no limit of processes": (
        "limits: {memory: 64g, pids: 1024}",
        "limits: {memory: 64g}",
        "services.gpu-worker-cuda.deploy.resources.limits: 'pids' is a required property",
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


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_compose_file_is_refused(folder: Path, case: str) -> None:
    old, new, expected = BROKEN[case]
    assert check(folder) == []
    change(folder / "compose.yaml", old, new)
    found = [str(violation) for violation in check(folder)]
    assert any(expected in violation for violation in found), found


def test_a_violation_names_the_line(folder: Path) -> None:
    path = folder / "compose.yaml"
    change(path, "image: postgres:18.6-trixie", "image: postgres:latest")
    lines = path.read_text("utf-8").splitlines()
    [violation] = check(folder)
    number = lines.index("    image: postgres:latest") + 1
    assert violation.where == f"compose.yaml:{number}: postgres"


def test_an_override_is_held_to_the_rules_too(folder: Path) -> None:
    override = folder / "compose.serverless.yaml"
    change(override, "BABYLON_BACKEND: serverless", "WANDB_API_KEY: 0123456789")
    change(override, "  gpu-worker:", "  gpu-wroker:")
    output = "\n".join(map(str, check(folder)))
    assert "services.gpu-wroker.environment is 'WANDB_API_KEY': a secret" in output
    assert "compose.yaml has no service gpu-wroker" in output


def test_no_override_hides_what_babylon_env_sets(folder: Path) -> None:
    override = folder / "compose.judge.yaml"
    model = "BABYLON_RULER_MODEL: ${BABYLON_RULER_MODEL:-openai/o3}"
    change(override, "BABYLON_SCORER: ruler", f"BABYLON_SCORER: ruler\n      {model}")
    [violation] = check(folder)
    assert "cpu-worker.environment.BABYLON_RULER_MODEL" in str(violation)
    assert "hides what babylon.env sets" in str(violation)


def test_the_command_ends_with_the_violations(folder: Path) -> None:
    change(folder / "compose.yaml", "image: postgres:18.6-trixie", "image: postgres:latest")
    done = subprocess.run(
        [sys.executable, "-m", "checks.compose", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Image 'postgres:latest' uses mutable tag" in done.stderr
    assert "Compose: 1 violation(s)" in done.stderr


def test_every_service_of_ours_gets_the_authority_and_no_server_does() -> None:
    main, authority = (
        yaml.safe_load((ROOT / name).read_text("utf-8"))
        for name in ("compose.yaml", "compose.ca.yaml")
    )
    services = main["services"].items()
    ours = {name for name, one in services if one["image"].startswith("babylon-tasks-")}
    assert set(authority["services"]) == ours
    mounted = [one["configs"] for one in authority["services"].values()]
    assert {str(one) for one in mounted} == {
        "[{'source': 'ca', 'target': '/etc/babylon-tasks/ca/ca.crt'}]"
    }


def test_what_holds_data_can_be_kept_from_compose() -> None:
    kept = yaml.safe_load((ROOT / "compose.kept-volumes.yaml").read_text("utf-8"))["volumes"]
    assert set(kept) == {"postgres", "models", "calls"}
    for name, volume in kept.items():
        assert volume == {"external": True, "name": f"babylon-tasks_{name}"}, "its name until now"
