"""What the images do when they run: each claim of docs/images.md, tried."""

from __future__ import annotations

import json
import re
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from babylon_tasks.db.migrate import migrations
from babylon_tasks.sandbox.servers import EmbeddedPostgres, EmbeddedValkey, free_port
from checks.podman import Podman, PodmanError

SECRETS = "/run/secrets/babylon-tasks"
HEAVY = ("torch", "art", "transformers", "peft", "litellm", "wandb")
TOOLS = ("gcc", "cc", "pip", "git", "curl")
WRITABLE = ["/tmp", "/data"]  # noqa: S108  # paths in a container
PATIENCE_SECONDS = 300.0
_MIGRATE = ("migrate", "--create-babylon-tables")  # as compose.yaml does in a Postgres of its own

# Run inside: what it is, what it may, and what it has.
INSIDE = """
import importlib.util, json, os, pathlib, shutil, sys, time
lines = open("/proc/self/status").read().splitlines()
status = dict(line.split(":\\t", 1) for line in lines if ":\\t" in line)
def writable(path):
    try:
        file = pathlib.Path(path, "probe"); file.write_text("x"); file.unlink(); return True
    except OSError:
        return False
start = time.perf_counter()
import babylon_tasks.tasks.app
seconds = time.perf_counter() - start
from babylon_tasks.db.migrate import migrations
print(json.dumps({
    "uid": os.getuid(), "gid": os.getgid(),
    "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
    "no_new_privileges": status["NoNewPrivs"],
    "writable": [p for p in ("/", "/opt/venv", "/etc", "/run", "/var/tmp", "/tmp", "/data")
                 if writable(p)],
    "modules": [n for n in sys.argv[1].split() if importlib.util.find_spec(n)],
    "loaded": [n for n in sys.argv[1].split() if n in sys.modules],
    "tools": [n for n in sys.argv[2].split() if shutil.which(n)],
    "pip.conf": os.path.exists("/etc/pip.conf"),
    "import": round(seconds, 2),
    "migrations": [m.name + m.checksum for m in migrations()],
}))
"""
ZOMBIES = """
import os, subprocess, time
subprocess.run(["sh", "-c", "sleep 0.2 & exit 0"])
time.sleep(1)
states = [open(f"/proc/{p}/stat").read().rpartition(")")[2].split()[0]
          for p in os.listdir("/proc") if p.isdigit()]
print(open("/proc/1/comm").read().strip(), states.count("Z"))
"""


@dataclass(frozen=True)
class Image:
    """One image that was built."""

    name: str
    megabytes: int


class Proof:
    """What was tried and what was seen, printed as it comes."""

    def __init__(self) -> None:
        self.count = 0
        self.failed = 0

    def note(self, text: str) -> None:
        """Something measured."""
        print(f"- {text}", flush=True)

    def that(self, claim: str, holds: bool, seen: object = "") -> None:
        """Something that must hold."""
        self.count += 1
        self.failed += not holds
        detail = f": {seen}" if seen != "" else ""
        print(f"- {'ok' if holds else 'FAILED'}: {claim}{detail}", flush=True)


def prove_worker(podman: Podman, image: Image, proof: Proof) -> None:
    """beat, cpu-worker and Flower from the image without torch and ART."""
    found = _common(podman, image, proof)
    proof.that("no torch, no ART, nothing of theirs", found["modules"] == [], found["modules"])
    with _servers(podman.folder) as (options, values):
        code, said = podman.run(image.name, *_MIGRATE, options=options)
        proof.that("migrate ends with 0", code == 0, said.strip().splitlines()[-1])
        _process(podman, image, "beat", options, proof)
        _process(podman, image, "cpu-worker", options, proof)
        login = {"FLOWER_BASIC_AUTH": values["FLOWER_BASIC_AUTH"]}
        _flower(podman, image, options, login["FLOWER_BASIC_AUTH"], proof)


def prove_trainer(podman: Podman, image: Image, proof: Proof) -> None:
    """The GPU-queue worker on the backend cpu, until it serves agents."""
    found = _common(podman, image, proof)
    proof.that("what the backend cpu needs is there", {"torch", "art"} <= set(found["modules"]))
    with _servers(podman.folder) as (options, _):
        podman.run(image.name, *_MIGRATE, options=options)
        serving = (
            *options,
            "--env=BABYLON_BACKEND=cpu",
            f"--env=BABYLON_INFERENCE_PORT={free_port()}",
        )
        _process(podman, image, "gpu-worker", serving, proof, path="/readyz")


def _common(podman: Podman, image: Image, proof: Proof) -> dict[str, list[str]]:
    version = tomllib.loads(Path("pyproject.toml").read_text("utf-8"))["project"]["version"]
    code, said = podman.run(image.name, "--version", options=("--network=none",))
    proof.that("--version", (code, said.strip()) == (0, f"babylon-tasks {version}"), said.strip())
    code, said = podman.run(image.name, "run", "beat", options=("--network=none",))
    proof.that(
        "run beat against nothing ends with 2 and says why",
        code == 2 and "DATABASE_URL" in said and "Traceback" not in said,
        said.strip(),
    )
    inside = ("--network=none", "--entrypoint=python", "--volume=/data")
    arguments = ("-c", INSIDE, " ".join(HEAVY), " ".join(TOOLS))
    code, said = podman.run(image.name, *arguments, options=inside)
    if code != 0:
        raise PodmanError(f"the inside of {image.name} could not be looked at:\n{said}")
    found = json.loads(said.splitlines()[-1])
    proof.that("runs as 10001:10001", (found["uid"], found["gid"]) == (10001, 10001))
    proof.that("has no capability, gains none", not found["capabilities"] and
               found["no_new_privileges"] == "1")  # fmt: skip
    proof.that("can write to /tmp and /data only", found["writable"] == WRITABLE,
               " ".join(found["writable"]))  # fmt: skip
    proof.that("has no compiler, no pip, no git, no curl", found["tools"] == [], found["tools"])
    proof.that("has the migrations of this checkout",
               found["migrations"] == [m.name + m.checksum for m in migrations()])  # fmt: skip
    proof.that("imports babylon_tasks.tasks.app without what is heavy", found["loaded"] == [],
               f"{found['import']} s")  # fmt: skip
    history = podman("history", "--no-trunc", "--format={{.CreatedBy}}", image.name).stdout
    told = re.findall(r"= (.+)", (podman.folder / "pip.conf").read_text("utf-8"))
    leaked = [word for value in told for word in value.split() if word in history]
    proof.that("pip's configuration is in no layer", not leaked and not found["pip.conf"])
    return found  # type: ignore[no-any-return]


def _process(
    podman: Podman,
    image: Image,
    name: str,
    options: tuple[str, ...],
    proof: Proof,
    *,
    path: str = "/livez",
) -> None:
    port = free_port()
    start = time.monotonic()
    metrics = (f"--env=BABYLON_METRICS_PORT={port}", "--env=BABYLON_METRICS_HOST=127.0.0.1")
    started = podman.start(image.name, "run", name, options=(*options, "--volume=/data", *metrics))
    ask = f"import urllib.request as u; u.urlopen('http://127.0.0.1:{port}{path}', timeout=4)"
    well = until(lambda: podman("exec", started, "python", "-c", ask, check=False).returncode == 0)
    proof.that(f"{name}: {path} answers 200", well, f"after {time.monotonic() - start:.0f} s")
    healthy = podman("healthcheck", "run", started, check=False)
    proof.that(f"{name}: HEALTHCHECK passes", healthy.returncode == 0, healthy.stdout.strip())
    wrong = podman(
        *("exec", "--env=BABYLON_METRICS_PORT=9", started, "python", "-m", "babylon_tasks.probe"),
        check=False,
    )
    proof.that(f"{name}: and fails when nobody answers", wrong.returncode == 1)
    _ends(podman, started, name, proof)


def _flower(
    podman: Podman, image: Image, options: tuple[str, ...], login: str, proof: Proof
) -> None:
    port = free_port()
    address = (f"--env=BABYLON_FLOWER_PORT={port}", "--env=BABYLON_FLOWER_HOST=127.0.0.1")
    arguments = ("run", "flower")
    started = podman.start(image.name, *arguments, options=(*options, "--volume=/data", *address))
    probe = ("exec", started, "python", "-m", "babylon_tasks.probe", "flower")
    proof.that(
        "flower: its probe passes", until(lambda: not podman(*probe, check=False).returncode)
    )
    ask = (
        "import sys, base64, urllib.request as u, urllib.error as e\n"
        "for login in ('', sys.argv[1]):\n"
        "    h = {'Authorization': 'Basic ' + base64.b64encode(login.encode()).decode()}\n"
        f"    r = u.Request('http://127.0.0.1:{port}/workers', headers=h if login else {{}})\n"
        "    try: print(u.urlopen(r, timeout=9).status)\n"
        "    except e.HTTPError as error: print(error.code)\n"
    )
    said = podman("exec", started, "python", "-c", ask, login).stdout.split()
    proof.that("flower: 401 without the login, 200 with it", said == ["401", "200"], said)
    _ends(podman, started, "flower", proof)


def _ends(podman: Podman, started: str, name: str, proof: Proof) -> None:
    first, zombies = podman("exec", started, "python", "-c", ZOMBIES).stdout.split()
    proof.that(f"{name}: tini is process 1 and leaves no zombie", (first, zombies) == ("tini", "0"))
    start = time.monotonic()
    podman("stop", "--time=35", started)
    seconds = time.monotonic() - start
    code = podman("inspect", "--format={{.State.ExitCode}}", started).stdout.strip()
    proof.that(f"{name}: SIGTERM ends it with 0", code == "0", f"exit {code}, {seconds:.1f} s")
    podman("rm", "--volumes", started)


@contextmanager
def _servers(folder: Path) -> Iterator[tuple[tuple[str, ...], dict[str, str]]]:
    """Postgres and Valkey on this machine, and the options that let a container use them."""
    secrets = folder / "secrets"
    secrets.mkdir(exist_ok=True)
    home = folder / "servers"
    with EmbeddedPostgres(home / "postgres") as postgres, EmbeddedValkey(home / "valkey") as valkey:
        values = {
            "DATABASE_URL": postgres.url,
            "REDIS_URL": valkey.url,
            "FLOWER_BASIC_AUTH": "proof:of-the-image",
            "BABYLON_INFERENCE_API_KEY": "proof-of-the-image",
        }
        for name, value in values.items():
            (secrets / name).write_text(value, "utf-8")
        mount = f"--volume={secrets}:{SECRETS}:ro"
        yield ("--network=host", mount, f"--env=BABYLON_SECRETS_DIR={SECRETS}"), values


def until(holds: Callable[[], bool]) -> bool:
    """Wait for something, with patience; False if it does not come."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True
