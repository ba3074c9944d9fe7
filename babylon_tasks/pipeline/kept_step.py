"""A committed step as it was kept: its manifest and its members, each compared with its hash."""

from __future__ import annotations

import hashlib
from enum import StrEnum

from msgspec import Struct

from babylon_tasks.dataset.manifest import Manifest, canonical, from_row, manifest_hash
from babylon_tasks.dataset.packed_members import DamagedMember, unpack
from babylon_tasks.db import kept_members, steps
from babylon_tasks.db.kept_members import CommittedStep
from babylon_tasks.db.session import Connection
from babylon_tasks.db.steps import Step
from babylon_tasks.errors import CheckpointNotFound
from babylon_tasks.policy_names import policy_name
from babylon_tasks.records import Group, Member


class KeptState(StrEnum):
    """What there is of what a step was trained on."""

    WHOLE = "whole"
    DAMAGED = "damaged"  # what is there is not what its manifest lists
    PRUNED = "pruned"  # by its age
    NOT_KEPT = "not_kept"  # by an earlier release, or as the settings said


class KeptStep(Struct, frozen=True):
    """A committed step, and what is kept of it.

    ``members``: by trajectory, those that are as the manifest lists them; ``problems`` say what is
    wrong with others. ``size``: bytes that they take.
    """

    step: Step
    about: CommittedStep
    manifest: Manifest
    state: KeptState
    members: dict[str, Member]
    problems: list[str]
    size: int

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups as the trainer got them; of a whole step only."""
        return tuple(
            Group(
                group.window,
                group.key,
                tuple(self.members[entry.trajectory_id] for entry in group.members),
            )
            for group in self.manifest.groups
        )


def read_step(connection: Connection, lineage: str, number: int) -> KeptStep:
    """Read the step that made a checkpoint; raises CheckpointNotFound where there is none."""
    step = steps.committed(connection, lineage, number)
    about = None if step is None else kept_members.about(connection, step.id)
    if step is None or about is None:
        raise CheckpointNotFound(
            f"{policy_name(lineage, number)} is no committed step; `babylon-tasks models list` "
            "lists them"
        )
    manifest = from_row(step.manifest)
    problems: list[str] = []
    members: dict[str, Member] = {}
    size = 0
    if manifest.groups:
        problems += _of_manifest(step, manifest)
    if about.kept_at is None:
        state = KeptState.NOT_KEPT
    elif about.pruned_at is not None:
        state = KeptState.PRUNED
    else:
        members, size, found = _members(connection, step, manifest)
        problems += found
        state = KeptState.WHOLE
    if problems:
        state = KeptState.DAMAGED
    return KeptStep(step, about, manifest, state, members, problems, size)


def _of_manifest(step: Step, manifest: Manifest) -> list[str]:
    found = manifest_hash(manifest)
    # As it was stored, too: this release may know fields that the one that planned it did not.
    as_stored = hashlib.sha256(canonical(step.manifest)).hexdigest()
    if step.manifest_hash in (found, as_stored):
        return []
    return [f"the manifest's SHA-256 is {found[:12]}, not {step.manifest_hash[:12]}"]


def _members(
    connection: Connection, step: Step, manifest: Manifest
) -> tuple[dict[str, Member], int, list[str]]:
    packed = {one.content.hex(): one for one in kept_members.of_step(connection, step.id)}
    size = sum(len(one.member) for one in packed.values())
    members: dict[str, Member] = {}
    problems: list[str] = []
    for _, entry in manifest.entries:
        name = entry.trajectory_id
        one = packed.pop(entry.content, None)
        if one is None:
            problems.append(f"of trajectory {name} nothing is kept")
            continue
        try:
            members[name] = unpack(one)
        except DamagedMember as damage:
            problems.append(f"what is kept of trajectory {name} is damaged: {damage}")
    problems += [f"something is kept that the manifest does not list: {one[:12]}" for one in packed]
    return members, size, problems
