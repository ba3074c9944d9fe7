"""Programs that PyPI lacks: the system's, or Debian's as ``make servers`` unpacks them."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

from documents import ROOT

from babylon_tasks.sandbox.server_user import hand_over

_UNPACKED = ROOT / ".servers"
_PLACES = ("usr/bin", "usr/sbin", "usr/lib/postgresql/*/bin")


def find(name: str, home: Path) -> Path:
    """Find a program that the servers' user can run; what is unpacked is copied into ``home``."""
    installed = shutil.which(name) or next(Path("/").glob(f"{_PLACES[-1]}/{name}"), None)
    if installed:
        return Path(installed)
    if not (_UNPACKED / ".installed").exists():
        raise FileNotFoundError(f"there is no {name}: run `make servers`")
    copy = home / "unpacked"
    if not copy.exists():
        debs = shutil.ignore_patterns("*.deb")
        shutil.copytree(_UNPACKED, copy, symlinks=True, ignore=debs)
        hand_over(copy)
    program = next(found for place in _PLACES for found in copy.glob(f"{place}/{name}"))
    starter = copy / name
    folders = [*copy.glob("usr/lib/*-linux-*"), *copy.glob("lib/*-linux-*")]
    libraries = ":".join(map(str, folders))
    starter.write_text(
        f"#!/bin/sh\nLD_LIBRARY_PATH={shlex.quote(libraries)} exec {shlex.quote(str(program))}"
        ' "$@"\n',
        "utf-8",
    )
    starter.chmod(0o755)
    return starter
