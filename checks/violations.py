"""What a check reads, what it finds (what is wrong, where, and what to do), and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

SECONDS = 300  # the longest that somebody's program may take


@dataclass(frozen=True)
class Violation:
    """One broken rule: ``where`` is file:line, and the service or stage if there is one."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def folder() -> Path:
    """Return the folder that a check's first argument names; the current one without it."""
    return Path(sys.argv[1] if len(sys.argv) > 1 else ".")


def report(command: Sequence[str | Path], environment: Mapping[str, str] | None = None) -> Any:
    """Run somebody's checker and read the JSON that it prints; raises RuntimeError if it fails."""
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=SECONDS
    )
    if done.returncode not in (0, 1) or not done.stdout:
        name = Path(command[0]).name
        raise RuntimeError(f"{name} failed with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def end(name: str, violations: Sequence[Violation], passed: str) -> NoReturn:
    """Print the violations and exit with 1; without any, print ``passed`` and exit with 0."""
    for violation in violations:
        print(violation, file=sys.stderr)
    if violations:
        sys.exit(f"{name}: {len(violations)} violation(s)")
    print(f"{name}: {passed}")
    sys.exit(0)
