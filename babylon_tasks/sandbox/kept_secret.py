"""Secrets that are generated once and found again at the next start."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

_LEAST = 16  # characters; less is no secret of ours


def kept_secret(file: Path) -> str:
    """Read a secret from a file of its owner alone; make it where there is none to read."""
    with suppress(OSError, ValueError):
        found = file.read_text("ascii").strip()
        if len(found) >= _LEAST and file.stat().st_mode & 0o077 == 0:
            return found
    made = secrets.token_urlsafe(18)
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(f"{made}\n")
    return made
