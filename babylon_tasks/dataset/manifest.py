"""The ordered, hashed list of all that goes into a training step.

The same input gives the same bytes on every worker. So a step that was interrupted can be
recognised, and run again with the same data or adopted.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from babylon_tasks.errors import AnotherVersion
from babylon_tasks.records import Group, Member
from babylon_tasks.step_records import SupervisedConfig

_encoder = msgspec.json.Encoder(order="sorted")


class TrainingConfig(Struct, frozen=True, omit_defaults=True):
    """The training configuration that the trainer gets beside the data, as the backend obeys it.

    A field with a default came later; the default is what was done before, and is left out.
    """

    learning_rate: float
    kl_coefficient: float
    seed: int
    packed_sequence_length: int
    min_reward_spread: float
    max_group_size: int
    max_staleness_steps: int
    scale_rewards: bool = True
    max_importance_ratio: float | None = None
    advantage_balance: float = 0.0


class TrajectoryEntry(Struct, frozen=True):
    """One trajectory: ``content`` is the SHA-256 of the member as the trainer gets it.

    ``calls``: which of the trajectory's calls it has, by index; None: all.
    """

    trajectory_id: str
    reward: float
    reward_version: int
    content: str
    calls: tuple[int, ...] | None = None


class GroupEntry(Struct, frozen=True):
    """One group, members in the order of the file.

    ``part``: its index among the groups that the step takes of one window and key.
    """

    window: str
    key: str
    members: tuple[TrajectoryEntry, ...]
    part: int = 0


class Manifest(Struct, frozen=True, omit_defaults=True):
    """Everything that determines what a training step does.

    What has its default is left out of the canonical JSON: a step that was planned by an earlier
    version keeps its hash. ``supervised`` is None for a step of GRPO.
    """

    lineage: str
    base_model: str
    base_step: int
    parent_step: int  # whose weights the step starts from; not base_step where that was held
    serving_step: int
    code_version: str
    scorer: str
    logprobs: str  # the label of all calls (dataset/eligibility.py); a supervised step needs none
    config: TrainingConfig
    groups: tuple[GroupEntry, ...]
    supervised: SupervisedConfig | None = None

    @property
    def windows(self) -> tuple[str, ...]:
        """The windows in order of time."""
        return tuple(sorted({group.window for group in self.groups}))

    @property
    def entries(self) -> tuple[tuple[str, TrajectoryEntry], ...]:
        """(window, entry) for each trajectory, in order."""
        return tuple((group.window, entry) for group in self.groups for entry in group.members)


def canonical(value: Any) -> bytes:
    """Encode a value as its one JSON text: keys sorted, no spaces."""
    return _encoder.encode(value)


def content_hash(member: Member) -> str:
    """Hash a member (SHA-256): its id, reward and calls, verbatim."""
    return hashlib.sha256(canonical(member)).hexdigest()


def manifest_hash(manifest: Manifest) -> str:
    """Hash the manifest's canonical JSON (SHA-256)."""
    return hashlib.sha256(canonical(manifest)).hexdigest()


def from_row(value: Any) -> Manifest:
    """Decode a manifest from Postgres's jsonb; raises AnotherVersion."""
    try:
        return msgspec.convert(value, Manifest)
    except msgspec.ValidationError as error:
        raise AnotherVersion(
            f"another version has planned a step of lineage {value.get('lineage')} upon "
            f"{value.get('base_step')} and written its manifest ({error}): run that version until "
            "the step has ended"
        ) from None


class HashedMember(Struct, frozen=True, gc=False):
    """What the manifest says of a member, whatever its window's reward version."""

    trajectory_id: str
    reward: float
    content: str
    calls: tuple[int, ...] | None


class HashedGroup(Struct, frozen=True, gc=False):
    """What the manifest says of a group."""

    window_id: str
    key: str
    members: tuple[HashedMember, ...]


def hashed(group: Group) -> HashedGroup:
    """Hash the members of a group."""
    return HashedGroup(
        group.window_id,
        group.key,
        tuple(
            HashedMember(one.trajectory_id, one.reward, content_hash(one), one.places)
            for one in group.members
        ),
    )


def list_groups(
    groups: Iterable[HashedGroup], reward_versions: Mapping[str, int]
) -> tuple[GroupEntry, ...]:
    """List groups as the manifest does; ``reward_versions`` by window."""
    listed: list[GroupEntry] = []
    parts: Counter[tuple[str, str]] = Counter()
    for group in groups:
        version = reward_versions[group.window_id]
        entries = tuple(
            TrajectoryEntry(one.trajectory_id, one.reward, version, one.content, one.calls)
            for one in group.members
        )
        place = group.window_id, group.key
        listed.append(GroupEntry(group.window_id, group.key, members=entries, part=parts[place]))
        parts[place] += 1
    return tuple(listed)
