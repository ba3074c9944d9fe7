"""The groups of a step while it is planned: in a file, so a step of any size takes little memory.

Members are packed as they are kept for a replay. Nothing remains of the file once nobody reads it:
it has no name.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import msgspec
from msgspec import Struct

from babylon_tasks.dataset.manifest import HashedGroup, HashedMember, canonical
from babylon_tasks.dataset.packed_members import pack, plain_json, unpack
from babylon_tasks.errors import TrainingError
from babylon_tasks.faults import fault_of
from babylon_tasks.records import Group, PackedMember


class _Place(Struct, frozen=True, gc=False):
    """Where the bytes of a packed member are, and what the manifest says of it."""

    member: HashedMember
    start: int
    size: int


class _Unnamed:
    """A file without a name, closed with the last group in it that somebody has."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # Without a buffer: on a full disk closing one fails as well.
        self.file: Any = tempfile.TemporaryFile(buffering=0, dir=folder)  # noqa: SIM115
        weakref.finalize(self, self.file.close)


class _Listed(Struct, frozen=True):
    unnamed: _Unnamed
    window: str
    key: str
    members: tuple[_Place, ...]


class GroupsOnDisk(Sequence[Group]):
    """Groups in the order in which they were added; reading yields one at a time.

    ``folder`` must have room for them, compressed; it is made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unnamed: _Unnamed | None = None
        self._end = 0
        self._listed: list[_Listed] = []

    @classmethod
    def joined(cls, parts: Sequence[GroupsOnDisk]) -> GroupsOnDisk:
        """Make one of several, without copying what is in their files."""
        made = cls(parts[0]._folder)
        made._listed = [one for part in parts for one in part._listed]
        return made

    def append(self, group: Group) -> None:
        """Add a group; raises TrainingError where it cannot be written."""
        packed = [pack(member) for member in group.members]
        try:
            if self._unnamed is None:
                self._unnamed = _Unnamed(self._folder)
            for one in packed:
                unwritten = memoryview(one.member)
                while unwritten:
                    unwritten = unwritten[self._unnamed.file.write(unwritten) :]
        except OSError as error:
            raise TrainingError(
                f"cannot write group {group.key} of window {group.window_id} to a file in "
                f"{self._folder}: {error.strerror}; make room, or let this user write there",
                fault=fault_of(error),
            ) from error
        places = []
        for member, one in zip(group.members, packed, strict=True):
            noted = HashedMember(
                member.trajectory_id, member.reward, one.content.hex(), member.places
            )
            places.append(_Place(noted, self._end, len(one.member)))
            self._end += len(one.member)
        self._listed.append(_Listed(self._unnamed, group.window_id, group.key, tuple(places)))

    @property
    def sizes(self) -> list[int]:
        """The number of members of each group."""
        return [len(one.members) for one in self._listed]

    def hashed(self) -> Iterator[HashedGroup]:
        """Yield what the manifest says of each group, which was noted as it was added."""
        for one in self._listed:
            yield HashedGroup(one.window, one.key, tuple(place.member for place in one.members))

    def encoded(self) -> Iterator[bytes]:
        """Yield each group as JSON, its members' as it is in the file: nothing is built of it."""
        for one in self._listed:
            members = [msgspec.Raw(plain_json(packed)) for packed in _read(one)]
            yield canonical({"window_id": one.window, "key": one.key, "members": members})

    def packed(self) -> Iterator[PackedMember]:
        """Yield all members as they are kept."""
        for one in self._listed:
            yield from _read(one)

    def __len__(self) -> int:
        return len(self._listed)

    def __iter__(self) -> Iterator[Group]:
        return map(_group, self._listed)

    @overload
    def __getitem__(self, index: int) -> Group: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Group]: ...
    def __getitem__(self, index: int | slice) -> Group | Sequence[Group]:
        if isinstance(index, slice):
            return [_group(one) for one in self._listed[index]]
        return _group(self._listed[index])


def _group(listed: _Listed) -> Group:
    return Group(listed.window, listed.key, tuple(map(unpack, _read(listed))))


def _read(listed: _Listed) -> Iterator[PackedMember]:
    file = listed.unnamed.file.fileno()
    for place in listed.members:
        content = bytes.fromhex(place.member.content)
        yield PackedMember(content, os.pread(file, place.size, place.start))
