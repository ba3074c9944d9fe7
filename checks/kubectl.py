"""Find the kubectl that renders k8s/: the PATH's if it is new enough, else .venv-checks's.

Older ones contain a kustomize that reads our kustomizations differently.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from checks.violations import SECONDS

TOOLS = Path(f"{sys.prefix}-checks")  # as in the Makefile
MINIMUM = (1, 37)


def render(folder: Path) -> str:
    """Render all objects of a kustomization; raises ValueError with kustomize's message."""
    command = [str(program(shutil.which("kubectl"))), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    if done.returncode != 0:
        raise ValueError(" ".join(done.stderr.split()).removeprefix("error: "))
    return done.stdout


@cache
def program(on_path: str | None) -> Path:
    """Choose the kubectl to use; raises FileNotFoundError if neither is usable."""
    if on_path is not None and _version(on_path) >= MINIMUM:
        return Path(on_path)
    pinned = TOOLS / "bin" / "kubectl"
    if not pinned.exists():
        wanted = ".".join(map(str, MINIMUM))
        raise FileNotFoundError(
            f"no kubectl of version {wanted} or later: run `make tools`, or install one "
            f"(on the PATH: {on_path or 'none'})"
        )
    return pinned


def _version(kubectl: str) -> tuple[int, int]:
    command = [kubectl, "version", "--client", "--output=json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    output = done.stdout
    try:
        version = json.loads(output)["clientVersion"]
        return int(version["major"]), int(version["minor"].rstrip("+"))
    except (ValueError, KeyError):
        return 0, 0  # not a kubectl, or one that cannot say
