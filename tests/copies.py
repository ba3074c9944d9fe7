"""Copies of what is deployed, for tests that break them."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
_DEPLOYED = ("k8s", "Dockerfile", ".dockerignore", "pyproject.toml")


@dataclass
class Broken:
    """What is replaced in a file, by what, and what the violation must say."""

    file: str
    old: str
    new: str
    expected: str
    rendering: tuple[str, ...] = ("overlays/production",)


def copy_deployed(target: Path) -> Path:
    """Manifests, Dockerfile, Compose files and the project's own file, in a folder."""
    for path in (*(ROOT / name for name in _DEPLOYED), *ROOT.glob("compose*.yaml")):
        if path.is_dir():
            shutil.copytree(path, target / path.name)
        else:
            shutil.copy(path, target)
    return target


def change(path: Path, old: str, new: str) -> None:
    """Replace the first place that reads so."""
    text = path.read_text("utf-8")
    assert old in text, f"{path.name} no longer has {old!r}: bring the test up to date"
    path.write_text(text.replace(old, new, 1), "utf-8")
