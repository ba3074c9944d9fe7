"""Prometheus and promtool: the system's, or Debian's as ``make prometheus`` unpacks them."""

from __future__ import annotations

import shutil
from pathlib import Path

from documents import ROOT

_UNPACKED = ROOT / ".prometheus"


def program(name: str) -> Path:
    """Find one of the two."""
    installed = shutil.which(name)
    if installed:
        return Path(installed)
    if not (_UNPACKED / ".installed").exists():
        raise FileNotFoundError(f"there is no {name}: run `make prometheus`")
    return _UNPACKED / name
