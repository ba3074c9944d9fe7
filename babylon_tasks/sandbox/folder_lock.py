"""Let only one process at a time own a folder."""

from __future__ import annotations

from pathlib import Path
from typing import IO

from babylon_tasks.errors import FolderInUse
from babylon_tasks.file_lock import FileLocked, lock_file


def own(folder: Path, what: str) -> IO[str]:
    """Own the folder until the returned file is closed; raises FolderInUse naming the owner."""
    try:
        return lock_file(folder / "owner.lock")
    except FileLocked as locked:
        raise FolderInUse(
            f"{what} in {folder} is in use by the running process {locked.owner}; "
            "stop that process or choose another data folder"
        ) from None
