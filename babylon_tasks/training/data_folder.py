"""The data folder of one trainer at a time: its id, and the lock that the trainer keeps on it.

flock guards an inode: a folder that was deleted and made again has another lock of the same name.
So the lock's owner compares the two, and the worker asks Postgres whose lock counts.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import IO

from babylon_tasks.errors import AnotherTrainer, BackendUnavailable
from babylon_tasks.file_lock import FileLocked, lock_file


class FolderLock:
    """The lock on a lineage's files, for this process's lifetime or until ``close``.

    Raises AnotherTrainer where another process has it.
    """

    def __init__(self, data_dir: Path, lineage: str) -> None:
        data_dir.mkdir(parents=True, exist_ok=True)
        self._path = data_dir / f"{lineage}.trainer.lock"
        self._lineage = lineage
        self._file = self._locked()
        self.folder_id = _id_of(data_dir / f"{lineage}.folder-id")

    @property
    def name(self) -> str:
        """The lock's name in Postgres: it survives a restart, but no copy or new folder."""
        return f"{self.folder_id}:{os.fstat(self._file.fileno()).st_ino}"

    def replaced(self) -> bool:
        """Check whether the folder was replaced: then another trainer may have locked it."""
        return self._path.exists() and not self._is_ours()

    def require(self) -> None:
        """Raise BackendUnavailable unless the folder is still the one that was locked."""
        if not self._is_ours():
            raise BackendUnavailable(
                f"the data folder {self._path.parent} was deleted or replaced while the trainer "
                f"of lineage {self._lineage} ran; restore it, then restart the worker"
            )

    def close(self) -> None:
        """Give it up."""
        self._file.close()

    def _locked(self) -> IO[str]:
        while True:
            try:
                self._file = lock_file(self._path)
            except FileLocked as locked:
                raise AnotherTrainer(
                    f"another trainer (process {locked.owner}) is running for lineage "
                    f"{self._lineage} in {self._path.parent}; stop it, or wait until it has ended"
                ) from None
            if self._is_ours():
                return self._file
            self._file.close()  # the file was deleted between the two

    def _is_ours(self) -> bool:
        try:
            return os.path.samestat(self._path.stat(), os.fstat(self._file.fileno()))
        except OSError:
            return False


def folder_id(data_dir: Path, lineage: str) -> str | None:
    """Return the id of a lineage's data folder; None where no trainer has worked in it."""
    try:
        return (data_dir / f"{lineage}.folder-id").read_text(errors="replace").strip()
    except OSError:
        return None


def lock_name(data_dir: Path, lineage: str) -> str | None:
    """Return the ``name`` of the lock that a trainer here would take; None without a folder."""
    try:
        folder_id = (data_dir / f"{lineage}.folder-id").read_text().strip()
        return f"{folder_id}:{(data_dir / f'{lineage}.trainer.lock').stat().st_ino}"
    except OSError:
        return None


def _id_of(path: Path) -> str:
    """Read the folder's id; give it one if it has none."""
    known = path.read_text(errors="replace").strip() if path.exists() else ""
    if len(known) == 32 and known.isalnum():  # uuid4().hex
        return known
    new = uuid.uuid4().hex
    scratch = path.with_suffix(".new")
    scratch.write_text(new)
    scratch.replace(path)
    return new
