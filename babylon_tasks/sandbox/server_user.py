"""The user that the embedded servers run as, and the folders that this user owns."""

from __future__ import annotations

import hashlib
import os
import pwd
import stat
import tempfile
from pathlib import Path
from typing import Any

from babylon_tasks.errors import SandboxError

_OPEN = Path("/var/tmp")  # noqa: S108  # what is made there is checked for its owner


def account() -> pwd.struct_passwd | None:
    """Return the user that servers run as: None for our own, or ``nobody`` when we are root."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def child_options(home: Path) -> dict[str, Any]:
    """Build the options of ``subprocess`` for a server: user, folder, a minimal environment."""
    # A preloaded library, such as a moved clock or an allocator, applies to servers too.
    preloaded = {k: v for k, v in os.environ.items() if k == "LD_PRELOAD"}
    environment = {"LC_ALL": "C", "PATH": os.defpath, **preloaded}
    options: dict[str, Any] = {"cwd": home, "env": environment}
    user = account()
    if user is not None:
        options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return options


def temporary_folder() -> Path:
    """Return the temporary folder, or one that the servers' user can reach."""
    found = Path(tempfile.gettempdir()).resolve()
    return found if account() is None or _is_open(found / "any") else _OPEN


def own_folder(data_dir: Path, name: str) -> Path:
    """Create the folder to use, owned by the servers' user, and return it."""
    user = account()
    data_dir = data_dir.resolve()
    if user is None:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        return data_dir
    data_dir.parent.mkdir(parents=True, exist_ok=True)
    if not _is_open(data_dir):
        # A checkout in root's home, closed to other users: we do not change that.
        digest = hashlib.blake2b(os.fsencode(data_dir), digest_size=8).hexdigest()
        data_dir = _OPEN / f"babylon-tasks-{name}-{digest}"
    data_dir.mkdir(exist_ok=True, mode=0o700)
    status = data_dir.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in (0, user.pw_uid):
        raise SandboxError(f"{data_dir} belongs to another user; remove it or choose another one")
    os.chown(data_dir, user.pw_uid, user.pw_gid)
    data_dir.chmod(0o700)
    return data_dir


def _is_open(path: Path) -> bool:
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in path.parents)


def hand_over(tree: Path) -> None:
    """Give a folder and all in it to the servers' user."""
    user = account()
    if user is not None:
        for path in (tree, *tree.rglob("*")):
            os.chown(path, user.pw_uid, user.pw_gid, follow_symlinks=False)


def write_private(path: Path, text: str) -> None:
    """Replace a file by one that only the servers' user (and root) can read."""
    new = path.with_suffix(".new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        user = account()
        if user is not None:
            os.fchown(file.fileno(), user.pw_uid, user.pw_gid)
    new.replace(path)
