"""podman without an engine, a registry or traces: its storage is a folder of ours."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path

BASE = "localhost/debian:bookworm-slim"  # in place of the one that a registry has
# Of what pip may be told, that which says where packages come from.
_PIP_KEYS = {"index-url", "extra-index-url", "find-links", "trusted-host", "cert", "proxy"}
_CERTIFICATES = "/mnt/pip-cert.pem"
# As in compose.yaml and k8s/; the limits are below those of any machine.
CONTAINED = (
    "--read-only",
    "--read-only-tmpfs=false",
    "--tmpfs=/tmp:size=1g,mode=1777,nosuid,nodev",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--ulimit=nofile=4096:4096",
    "--ulimit=nproc=4096:4096",
)


class PodmanError(Exception):
    """podman ended with an error; its last lines are the message."""


class Podman:
    """One store of images and containers in a folder."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._command = [
            "podman",
            "--log-level=fatal",  # else it regrets with each container that there is no systemd
            *("--root", str(folder / "store"), "--runroot", str(folder / "run")),
            *("--runtime", "runc", "--cgroup-manager", "cgroupfs"),
        ]

    def __call__(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run podman; raises PodmanError unless ``check`` is off."""
        done = subprocess.run(
            [*self._command, *arguments], capture_output=True, text=True, check=False
        )
        if check and done.returncode != 0:
            last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise PodmanError(f"podman {arguments[0]} ended with {done.returncode}:\n{last}")
        return done

    def import_root(self, root: Path, name: str) -> None:
        """Make an image of a folder."""
        tar = subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE)
        subprocess.run(
            [*self._command, "import", "--quiet", "-", name],
            stdin=tar.stdout,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        if tar.wait() != 0:
            raise PodmanError(f"tar of {root} ended with {tar.returncode}")

    def build(self, context: Path, target: str, name: str) -> None:
        """Execute the Dockerfile's steps up to a target; the log stays in the folder."""
        secret = self.folder / "pip.conf"
        shared = write_pip_conf(secret)
        log = self.folder / f"{target}.log"
        command = [
            *(*self._command, "build", "--format=docker", "--isolation=chroot", "--network=host"),
            *("--secret", f"id=pip,src={secret}", "--target", target, "--tag", name),
            *("--build-arg", f"BASE_IMAGE={BASE}"),
            *(f"--volume={source}:{target}:ro" for source, target in shared.items()),
            str(context),
        ]
        with log.open("wb") as stream:
            done = subprocess.run(command, stdout=stream, stderr=stream, check=False)
        if done.returncode != 0:
            last = "\n".join(log.read_text("utf-8", "replace").splitlines()[-15:])
            raise PodmanError(f"the build of {target} failed, see {log}:\n{last}")

    def megabytes(self, image: str) -> int:
        """An image's size with all its layers."""
        return round(int(self("inspect", "--format={{.Size}}", image).stdout) / 1e6)

    def run(self, image: str, *arguments: str, options: tuple[str, ...] = ()) -> tuple[int, str]:
        """Run a container to its end: its exit code and all that it printed."""
        done = self("run", "--rm", *CONTAINED, *options, image, *arguments, check=False)
        return done.returncode, done.stdout + done.stderr

    def start(self, image: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
        """Start a container and return its id."""
        return self("run", "--detach", *CONTAINED, *options, image, *arguments).stdout.strip()

    def serve(self, socket: Path) -> subprocess.Popen[bytes]:
        """podman's own engine, for programs that speak to Docker's."""
        address = f"unix://{socket}"
        return subprocess.Popen(
            [*self._command, "system", "service", "--time=0", address], stderr=subprocess.DEVNULL
        )

    def remove_everything(self) -> None:
        """Containers, images and whatever else was made."""
        self("rm", "--all", "--force", "--volumes", "--time=5", check=False)
        self("rmi", "--all", "--force", check=False)
        overlay = self.folder / "store" / "overlay"
        if overlay.is_mount():
            subprocess.run(["umount", overlay], check=True)
        shutil.rmtree(self.folder)


def write_pip_conf(path: Path) -> dict[str, str]:
    """This machine's sources of packages as a pip.conf; returns local files and where they go."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    )
    found: dict[str, str] = {}
    for line in done.stdout.splitlines():
        name, _, value = line.partition("=")
        key = re.sub(r"^(:env:|global|user|site|install)\.", "", name)
        if key in _PIP_KEYS:
            found[key] = value.strip().strip("'\"")
    shared: dict[str, str] = {}
    if "cert" in found:  # elsewhere: the build writes /etc/ssl itself
        shared[found["cert"]] = _CERTIFICATES
        found["cert"] = _CERTIFICATES
    words = {word.removeprefix("file://") for value in found.values() for word in value.split()}
    for word in words:
        if word.startswith("/") and Path(word).exists():
            # A folder beside an index of the local kind holds the files that it points at.
            beside = Path(word).parent
            folder = str(beside if (beside / "files").is_dir() else word)
            shared[folder] = folder
    config = configparser.ConfigParser(interpolation=None)
    config["global"] = found
    with path.open("w", encoding="utf-8") as stream:
        config.write(stream)
    return shared
