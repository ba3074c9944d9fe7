"""The file that passes groups to the trainer: messages stay small, trajectories do not."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec
from msgspec import Struct

from babylon_tasks.dataset.manifest import canonical
from babylon_tasks.errors import TrainingError
from babylon_tasks.faults import fault_of
from babylon_tasks.records import Group


class GroupsFile(Struct, frozen=True):
    """The content of the file, as JSON."""

    groups: tuple[Group, ...]


@runtime_checkable
class EncodedGroups(Protocol):
    """Groups that are at hand as canonical JSON."""

    def encoded(self) -> Iterator[bytes]:
        """Yield the JSON of each."""
        ...


def write_groups(path: Path, groups: Sequence[Group]) -> None:
    """Write a groups file whole or not at all; raises TrainingError where it cannot be written."""
    size = 0
    scratch = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with scratch.open("wb") as file:
            for part in _parts(groups):
                size += file.write(part)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        with suppress(OSError):  # a part of it would fill the disk even more
            scratch.unlink()
        raise TrainingError(
            f"cannot write {len(groups)} groups for the trainer to {path}, {size} bytes so far: "
            f"{error.strerror}; "
            "make room, or let this user write there",
            fault=fault_of(error),
        ) from error


def _parts(groups: Sequence[Group]) -> Iterator[bytes]:
    yield b'{"groups":['
    # One at a time: a step of any size takes little memory.
    encoded = groups.encoded() if isinstance(groups, EncodedGroups) else map(canonical, groups)
    for number, group in enumerate(encoded):
        yield (b"," if number else b"") + group
    yield b"]}"


@contextmanager
def passed_groups(path: Path, groups: Sequence[Group]) -> Iterator[None]:
    """Have a groups file for the length of a block; raises TrainingError as ``write_groups``.

    What a worker that died has left in the folder is removed: nobody else may use it meanwhile.
    """
    with suppress(OSError):  # it is only litter
        for left in path.parent.glob("*"):
            left.unlink()
    write_groups(path, groups)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def read_groups(path: str | Path) -> tuple[Group, ...]:
    """Read a groups file; raises OSError, msgspec.DecodeError."""
    return msgspec.json.decode(Path(path).read_bytes(), type=GroupsFile).groups
