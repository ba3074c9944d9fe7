"""Temporary folders that a process owns: when it has ended, the next one removes what it left.

The owner locks the folder itself, for itself and for what it becomes or forks; the kernel releases
that lock at their end, SIGKILL included. Process ids would not do: containers share folders, not
ids.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path


def make_owned_folder(
    prefix: str, parent: Path | None = None, *, before: Callable[[Path], None] = lambda _: None
) -> Path:
    """Make a folder of this process's own, and remove those of the prefix whose owner has ended.

    The lock survives ``exec`` and ``fork``. Links, and folders of other users, are left alone.
    ``before`` is called with each that is about to be removed.
    """
    where = Path(tempfile.gettempdir()) if parent is None else parent
    remove_abandoned(prefix, where, before=before)
    while True:
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=where))
        lock = _locked(path)
        if lock is not None:
            os.set_inheritable(lock, True)
            return path


def remove_abandoned(
    prefix: str, parent: Path, *, before: Callable[[Path], None] = lambda _: None
) -> None:
    """Remove the folders of the prefix whose owner has ended, each after ``before`` has seen it."""
    for path in sorted(parent.glob(f"{prefix}*")):
        _remove_if_abandoned(path, before)


def _remove_if_abandoned(path: Path, before: Callable[[Path], None]) -> None:
    try:
        found = path.lstat()
    except OSError:  # another process was faster
        return
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        return
    lock = _locked(path)
    if lock is not None:
        before(path)
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def _locked(path: Path) -> int | None:
    """Lock a folder until the descriptor is closed; None where it has an owner, or is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(descriptor), path.lstat()):
            return descriptor
    except OSError:  # it is locked, or was removed before it could be
        pass
    os.close(descriptor)
    return None
