"""Docker or podman, as the environment names it: CONTAINER_ENGINE and IMAGE_BUILD_OPTIONS."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
ENGINE = shlex.split(os.environ.get("CONTAINER_ENGINE", "docker"))
BUILD_OPTIONS = shlex.split(os.environ.get("IMAGE_BUILD_OPTIONS", ""))
# As in compose.yaml and k8s/. By default podman makes /run and /var/tmp writable too.
CONTAINED = [
    *("--read-only", "--tmpfs=/tmp:size=1g,mode=1777,nosuid,nodev", "--volume=/data"),
    *("--cap-drop=ALL", "--security-opt=no-new-privileges"),
    *(["--read-only-tmpfs=false"] if "podman" in ENGINE[0] else []),
]
_PATIENCE_SECONDS = 300.0


def engine(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the engine; raises CalledProcessError unless ``check`` is off."""
    done = subprocess.run([*ENGINE, *arguments], capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        print(done.stdout, done.stderr)  # shown by pytest
        done.check_returncode()
    return done


@dataclass(frozen=True)
class Image:
    """One image that was built from the Dockerfile's target."""

    target: str

    @property
    def name(self) -> str:
        """As compose.yaml names it."""
        suffix = {"trainer": "trainer-cpu"}.get(self.target, self.target)
        return f"babylon-tasks-{suffix}:{VERSION}"

    def build(self) -> None:
        """Execute every step of the Dockerfile up to the target."""
        options = ["--target", self.target, "--tag", self.name, *BUILD_OPTIONS]
        subprocess.run([*ENGINE, "build", *options, ROOT], check=True)

    def run(self, *arguments: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
        """Run a container to its end: its exit code and all that it printed."""
        done = engine("run", "--rm", *CONTAINED, *options, self.name, *arguments, check=False)
        return done.returncode, done.stdout + done.stderr

    @contextmanager
    def started(self, *arguments: str, options: tuple[str, ...] = ()) -> Iterator[str]:
        """A container that runs, by its id."""
        name = engine("run", "--detach", *CONTAINED, *options, self.name, *arguments).stdout.strip()
        try:
            yield name
        finally:
            print(engine("logs", name, check=False).stdout[-4000:])
            engine("rm", "--force", "--volumes", name)


def build_secrets() -> set[str]:
    """What the pip.conf that the build was given holds."""
    given = re.search(r"\bid=pip,src=(\S+)", " ".join(BUILD_OPTIONS))
    text = Path(given[1]).read_text("utf-8") if given else ""
    return {word for value in re.findall(r"= *(.+)", text) for word in value.split()}


def until(what: str, holds: Callable[[], bool]) -> None:
    """Wait for something, with patience."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"not after {_PATIENCE_SECONDS:.0f} s: {what}"
        time.sleep(0.5)
