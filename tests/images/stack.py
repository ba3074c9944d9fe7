"""compose.yaml as it is, brought up on the images of images.py: ``make image-proof``.

``docker compose``, or the command in COMPOSE, which needs at least 2.24.
"""

from __future__ import annotations

import base64
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from images.engine import ROOT, engine, until

COMPOSE = shlex.split(os.environ.get("COMPOSE", "docker compose"))
REACHED = """
import errno, socket, sys
for name in sys.argv[1:]:
    host, port = name.split(":")
    try:
        socket.create_connection((host, int(port)), 3).close(); print("yes")
    except OSError as error:
        print("no-way" if error.errno == errno.ENETUNREACH else "no-answer")
"""
READY = "import urllib.request as u; u.urlopen('http://127.0.0.1:9464/readyz')"
Compose = Callable[..., str]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """compose.yaml with secrets of its own, and what COMPOSE_FILE adds to it."""
    folder = tmp_path_factory.mktemp("project")
    for name in os.environ.get("COMPOSE_FILE", "compose.yaml").split(":"):
        shutil.copy(ROOT / name, folder / Path(name).name)
    credentials = [sys.executable, ROOT / "deploy/credentials.py", folder / "secrets"]
    subprocess.run(credentials, check=True, env={})
    return folder


@pytest.fixture(scope="module")
def compose(project: Path) -> Iterator[Compose]:
    """Everything up and healthy, then down."""
    files = [f"--file={path}" for path in sorted(project.glob("*.yaml"))]

    def run(*arguments: str) -> str:
        command = [*COMPOSE, *files, *arguments]
        done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    try:
        run("up", "--no-build", "--wait", "--wait-timeout=300")
        yield run
    finally:
        run("down", "--volumes", "--timeout=40")


def test_flower_on_this_machine_asks_for_its_login(compose: Compose, project: Path) -> None:
    login = (project / "secrets/flower_basic_auth").read_bytes()
    url = "http://127.0.0.1:5555/workers"
    with pytest.raises(HTTPError, match="401"):
        urlopen(url)
    given = {"Authorization": f"Basic {base64.b64encode(login).decode()}"}
    assert urlopen(Request(url, headers=given)).status == 200


@pytest.mark.parametrize(
    ("service", "postgres", "beyond"),
    [
        ("beat", "yes", "no-way"),
        ("cpu-worker", "yes", "no-way"),
        ("flower", "no-answer", "no-answer"),  # to Flower's networks there is no such name
    ],
)
def test_only_flower_has_a_way_beyond_the_servers(
    compose: Compose, service: str, postgres: str, beyond: str
) -> None:
    asked = ("postgres:5432", "redis:6379", "192.0.2.1:80")  # the last is nobody's, by RFC 5737
    said = compose("exec", "--no-TTY", service, "python", "-c", REACHED, *asked).split()
    assert said == [postgres, "yes", beyond]


def test_the_trainer_serves_and_all_end_with_0(compose: Compose) -> None:
    trainer = compose("ps", "--quiet", "gpu-worker")
    ready = ("exec", trainer, "python", "-c", READY)
    until("the trainer serves", lambda: engine(*ready, check=False).returncode == 0)
    compose("up", "--no-build", "--no-recreate", "--wait", "--scale=cpu-worker=3")
    assert len(compose("ps", "--quiet", "cpu-worker").split()) == 3
    containers = compose("ps", "--quiet", "--all").split()
    compose("stop")
    state = "--format={{.Name}} {{.State.ExitCode}}"
    ended = [engine("inspect", state, container).stdout.split() for container in containers]
    assert [name for name, code in ended if code != "0"] == []
