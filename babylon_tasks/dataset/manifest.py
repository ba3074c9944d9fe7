"""The ordered, hashed list of all that goes into a training step.

The same input gives the same bytes, whoever plans: that is how a step that was cut short is
recognised, run again with the very same data, or adopted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from babylon_tasks.records import Group, Member

_encoder = msgspec.json.Encoder(order="sorted")


class Config(Struct, frozen=True):
    """What the trainer is told beside the data."""

    learning_rate: float
    kl_coefficient: float
    seed: int
    packed_sequence_length: int
    min_reward_spread: float
    max_group_size: int
    max_staleness_steps: int


class Entry(Struct, frozen=True):
    """One trajectory: ``content`` is the SHA-256 of the member as the trainer gets it."""

    trajectory_id: str
    reward: float
    reward_version: int
    content: str


class GroupEntry(Struct, frozen=True):
    """One group, members in the order of the file."""

    window: str
    key: str
    members: tuple[Entry, ...]


class Manifest(Struct, frozen=True):
    """All that decides what a training step does."""

    lineage: str
    base_model: str
    base_step: int
    parent_step: int  # whose weights are trained on from; not base_step where that was held back
    serving_step: int
    code_version: str
    scorer: str
    logprobs: str  # the label of all calls (dataset/freshness.py)
    config: Config
    groups: tuple[GroupEntry, ...]

    @property
    def windows(self) -> tuple[str, ...]:
        """The windows in order of time."""
        return tuple(sorted({group.window for group in self.groups}))

    @property
    def entries(self) -> tuple[tuple[str, Entry], ...]:
        """(window, entry) for each trajectory, in order."""
        return tuple((group.window, entry) for group in self.groups for entry in group.members)


def canonical(value: Any) -> bytes:
    """The one JSON text of a value: keys sorted, no spaces."""
    return _encoder.encode(value)


def content_hash(member: Member) -> str:
    """SHA-256 of a member: its id, reward and calls, verbatim."""
    return hashlib.sha256(canonical(member)).hexdigest()


def manifest_hash(manifest: Manifest) -> str:
    """SHA-256 of the manifest's canonical JSON."""
    return hashlib.sha256(canonical(manifest)).hexdigest()


def from_row(value: Any) -> Manifest:
    """A manifest as Postgres's jsonb gives it back; raises msgspec.ValidationError."""
    return msgspec.convert(value, Manifest)


def list_groups(groups: Sequence[Group], reward_versions: dict[str, int]) -> tuple[GroupEntry, ...]:
    """The manifest's view of groups; ``reward_versions`` by window."""
    return tuple(
        GroupEntry(
            group.window_id,
            group.key,
            tuple(
                Entry(
                    member.trajectory_id,
                    member.reward,
                    reward_versions[group.window_id],
                    content_hash(member),
                )
                for member in group.members
            ),
        )
        for group in groups
    )


def matches(manifest: Manifest, groups: Iterable[Group]) -> bool:
    """Whether groups read again are, byte for byte, those that the manifest lists."""
    versions = {window: entry.reward_version for window, entry in manifest.entries}
    return list_groups(tuple(groups), versions) == manifest.groups
