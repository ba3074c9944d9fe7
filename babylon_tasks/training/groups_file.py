"""The file that passes groups to the trainer: messages stay small, trajectories do not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from babylon_tasks.records import Group


class GroupsFile(Struct, frozen=True):
    """The content of the file, as JSON."""

    groups: tuple[Group, ...]


def write_groups(path: Path, groups: Sequence[Group]) -> None:
    """Write a groups file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}")
    with scratch.open("wb") as file:
        file.write(msgspec.json.encode(GroupsFile(groups=tuple(groups))))
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)


def read_groups(path: str | Path) -> tuple[Group, ...]:
    """Read a groups file; raises OSError, msgspec.DecodeError."""
    return msgspec.json.decode(Path(path).read_bytes(), type=GroupsFile).groups
