"""All images, built from the Dockerfile and run as they will be: ``make image-proof``.

Plain ``make test`` does not collect this file: it takes minutes, an engine and a registry, or what
docs/images.md has in their place. The images stay, for stack.py.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from images.engine import VERSION, Image, build_secrets, engine, until

from babylon_tasks.db.migrate import migrations
from babylon_tasks.sandbox.servers import free_port

SECRETS = "/run/secrets/babylon-tasks"
HEAVY = ("torch", "art", "transformers", "peft", "litellm", "wandb")
PROGRAMS = ("gcc", "cc", "pip", "git", "curl")
FOLDERS = ("/", "/opt/venv", "/etc", "/run", "/var/tmp", "/tmp", "/data")  # noqa: S108
LOGIN = "proof:of-the-image"
ASK = "import sys, urllib.request as u; u.urlopen(sys.argv[1], timeout=4)"
LOG_IN = """
import base64, sys, urllib.request as u, urllib.error as e
for login in ("", sys.argv[2]):
    given = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}
    try: print(u.urlopen(u.Request(sys.argv[1], headers=given if login else {}), timeout=9).status)
    except e.HTTPError as error: print(error.code)
"""
ZOMBIES = """
import os, subprocess, time
subprocess.run(["sh", "-c", "sleep 0.2 & exit 0"])
time.sleep(1)
states = [open(f"/proc/{p}/stat").read().rpartition(")")[2].split()[0]
          for p in os.listdir("/proc") if p.isdigit()]
print(open("/proc/1/comm").read().strip(), states.count("Z"))
"""


@pytest.fixture(scope="module", params=["worker", "gateway", "trainer"])
def image(request: pytest.FixtureRequest) -> Image:
    built = Image(request.param)
    built.build()
    return built


@pytest.fixture(scope="module")
def inside(image: Image) -> dict[str, Any]:
    """What a process finds in a container."""
    script = Path(__file__).with_name("inside.py").read_text("utf-8")
    options = ("--network=none", "--entrypoint=python")
    lists = map(" ".join, (HEAVY, PROGRAMS, FOLDERS))
    code, output = image.run("-c", script, *lists, options=options)
    assert code == 0, output
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


@pytest.fixture
def servers(
    empty_database_url: str, redis_url: str, image: Image, tmp_path: Path
) -> tuple[str, ...]:
    """Options with which a container uses Postgres, migrated by the image, and Valkey."""
    values = {
        "DATABASE_URL": empty_database_url,
        "REDIS_URL": redis_url,
        "FLOWER_BASIC_AUTH": LOGIN,
        "BABYLON_INFERENCE_API_KEY": "proof-of-the-image",
    }
    tmp_path.chmod(0o755)
    for name, value in values.items():
        (tmp_path / name).write_text(value, "utf-8")
    mount = f"--volume={tmp_path}:{SECRETS}:ro"
    options = ("--network=host", mount, f"--env=BABYLON_SECRETS_DIR={SECRETS}")
    # As compose.yaml does in a Postgres of its own.
    code, output = image.run("migrate", "--create-babylon-tables", options=options)
    assert code == 0, output
    return options


def test_it_says_its_version(image: Image) -> None:
    code, output = image.run("--version", options=("--network=none",))
    assert (code, output.strip()) == (0, f"babylon-tasks {VERSION}")


def test_without_settings_it_ends_with_2_and_says_why(image: Image) -> None:
    code, output = image.run("run", "beat", options=("--network=none",))
    assert code == 2, output
    assert "DATABASE_URL" in output
    assert "Traceback" not in output


def test_it_runs_without_rights_and_writes_to_tmp_and_data_only(inside: dict[str, Any]) -> None:
    assert inside["user"] == [10001, 10001]
    assert (inside["capabilities"], inside["no_new_privileges"]) == (0, "1")
    assert inside["writable"] == ["/tmp", "/data"]  # noqa: S108  # paths in a container


def test_it_has_what_it_needs_and_no_more(image: Image, inside: dict[str, Any]) -> None:
    assert inside["programs"] == []
    assert inside["migrations"] == [one.name + one.checksum for one in migrations()]
    assert inside["loaded"] == [], "what is heavy is imported when it is needed"
    if image.target != "trainer":
        assert inside["modules"] == []
    else:
        assert {"torch", "art"} <= set(inside["modules"])


def test_pips_configuration_is_in_no_layer(image: Image, inside: dict[str, Any]) -> None:
    assert not inside["pip.conf"]
    history = engine("history", "--no-trunc", "--format={{.CreatedBy}}", image.name).stdout
    assert [word for word in build_secrets() if word in history] == []


@pytest.mark.parametrize(
    ("image", "process", "ready"),
    [
        ("worker", "beat", "livez"),
        ("worker", "cpu-worker", "livez"),
        ("trainer", "gpu-worker", "readyz"),
    ],
    indirect=["image"],
)
def test_a_process_is_well_and_ends_in_order(
    image: Image, servers: tuple[str, ...], process: str, ready: str
) -> None:
    port = free_port()
    metrics = (f"--env=BABYLON_METRICS_PORT={port}", "--env=BABYLON_METRICS_HOST=127.0.0.1")
    inference = ("--env=BABYLON_BACKEND=cpu", f"--env=BABYLON_INFERENCE_PORT={free_port()}")
    with image.started("run", process, options=(*servers, *metrics, *inference)) as name:
        until(f"/{ready} answers", lambda: _runs(name, ASK, f"http://127.0.0.1:{port}/{ready}"))
        # The Dockerfile's HEALTHCHECK, whoever asks it in which intervals.
        probe = ("python", "-m", "babylon_tasks.probe")
        assert engine("exec", name, *probe, check=False).returncode == 0
        unheard = ("exec", "--env=BABYLON_METRICS_PORT=9", name, *probe)
        assert engine(*unheard, check=False).returncode == 1
        _ends_in_order(name)


@pytest.mark.parametrize("image", ["worker"], indirect=True)
def test_flower_asks_for_its_login(image: Image, servers: tuple[str, ...]) -> None:
    port = free_port()
    address = (f"--env=BABYLON_FLOWER_PORT={port}", "--env=BABYLON_FLOWER_HOST=127.0.0.1")
    with image.started("run", "flower", options=(*servers, *address)) as name:
        probe = ("exec", name, "python", "-m", "babylon_tasks.probe", "flower")
        until("its probe passes", lambda: engine(*probe, check=False).returncode == 0)
        pages = ("exec", name, "python", "-c", LOG_IN, f"http://127.0.0.1:{port}/workers", LOGIN)
        assert engine(*pages).stdout.split() == ["401", "200"]
        _ends_in_order(name)


@pytest.mark.parametrize("image", ["gateway"], indirect=True)
def test_the_gateway_is_well_and_ends_in_order(image: Image, servers: tuple[str, ...]) -> None:
    port = free_port()
    metrics = f"--env=BABYLON_METRICS_PORT={free_port()}"
    address = (f"--env=BABYLON_GATEWAY_PORT={port}", "--env=BABYLON_GATEWAY_HOST=127.0.0.1")
    with image.started("run", "gateway", options=(*servers, *address, metrics)) as name:
        probe = ("exec", name, "python", "-m", "babylon_tasks.probe", "gateway")
        until("its probe passes", lambda: engine(*probe, check=False).returncode == 0)
        assert _runs(name, ASK, f"http://127.0.0.1:{port}/readyz")
        _ends_in_order(name)


def _runs(name: str, script: str, *arguments: str) -> bool:
    command = ("exec", name, "python", "-c", script, *arguments)
    return engine(*command, check=False).returncode == 0


def _ends_in_order(name: str) -> None:
    """tini is process 1 and leaves no zombie; SIGTERM ends the process with 0."""
    assert engine("exec", name, "python", "-c", ZOMBIES).stdout.split() == ["tini", "0"]
    engine("stop", "--time=35", name)
    assert engine("inspect", "--format={{.State.ExitCode}}", name).stdout.strip() == "0"
