"""Read groups again from rows: those held out for evaluation, and those of a manifest."""

from __future__ import annotations

from msgspec import Struct, structs

from babylon_tasks.dataset.groups import deal, teaches_nothing
from babylon_tasks.dataset.manifest import GroupEntry, Manifest, content_hash
from babylon_tasks.dataset.row_changes import RowChange, compare_with_score
from babylon_tasks.dataset.select_calls import member
from babylon_tasks.db import scored_trajectories
from babylon_tasks.db.session import Connection
from babylon_tasks.decode import decode
from babylon_tasks.pipeline.join_calls import CallJoin, JoinMode
from babylon_tasks.records import Group, Member, RawTrajectory, Rejection, Trajectory
from babylon_tasks.settings import Settings


class HeldOut(Struct, frozen=True):
    """A group for evaluation; None where its rows make none with a spread of reward.

    ``changed`` counts the rows that Babylon has rewritten since they were scored. They are left
    out: their rewards belong to other answers.
    """

    group: Group | None
    changed: int


def held_out_group(
    connection: Connection,
    settings: Settings,
    window: str,
    reward_version: int,
    key: str,
    part: int,
    *,
    used: bool = False,
) -> HeldOut:
    """Read the ``part``-th group of one key in a held-out window, whichever policy answered.

    ``used``: in any window, with what a step has been trained on.
    """
    listed = scored_trajectories.list_group(connection, window, reward_version, key)
    chosen = deal(listed, settings.max_group_size)[part]
    members: list[Member] = []
    changed = 0
    for portion in scored_trajectories.portions(chosen):
        ids = [one.trajectory_id for one in portion]
        rows = scored_trajectories.rows(connection, ids, settings.max_steps_bytes)
        for one in portion:
            raw = rows.get(one.trajectory_id)
            if raw is not None and used:
                raw = structs.replace(raw, already_used=False)
            current = compare_with_score(one.trajectory_id, window, one.content_hash, raw)
            changed += isinstance(current, RowChange)
            # A prompt that is not all text is not the one that was answered.
            if isinstance(current, Trajectory) and (places := _all_text(current)):
                members.append(member(current, one.reward, places))
    rewards = [one.reward for one in members]
    if teaches_nothing(rewards, (), settings.min_reward_spread) is not None:
        return HeldOut(None, changed)
    return HeldOut(Group(window, key, tuple(members)), changed)


def of_manifest(
    connection: Connection, settings: Settings, manifest: Manifest
) -> tuple[Group, ...] | None:
    """Read the groups that a manifest lists, by id; None where a row has changed or is gone."""
    groups = []
    joined = manifest.supervised is None  # how an answer was sampled does not matter to such a step
    for entry in manifest.groups:
        group = _listed_group(connection, settings, entry, joined=joined)
        if group is None:
            return None
        groups.append(group)
    return tuple(groups)


def _listed_group(
    connection: Connection, settings: Settings, listed: GroupEntry, *, joined: bool
) -> Group | None:
    ids = [entry.trajectory_id for entry in listed.members]
    rows = scored_trajectories.rows(connection, ids, settings.max_steps_bytes)
    decoded = [_decoded(rows.get(one)) for one in ids]
    trajectories = [one for one in decoded if one is not None]
    if len(trajectories) < len(ids):
        return None
    if joined:
        join = CallJoin(connection, listed.window, JoinMode.CLAIMED)
        trajectories = [one.trajectory for one in join.join(trajectories)]
    members = []
    for entry, trajectory in zip(listed.members, trajectories, strict=True):
        places = entry.calls
        if places and max(places) >= len(trajectory.calls):
            return None
        one = member(trajectory, entry.reward, places)
        if content_hash(one) != entry.content:
            return None
        members.append(one)
    return Group(listed.window, listed.key, tuple(members))


def _all_text(trajectory: Trajectory) -> list[int]:
    return [place for place, call in enumerate(trajectory.calls) if call.carries is None]


def _decoded(raw: RawTrajectory | None) -> Trajectory | None:
    decoded = None if raw is None else decode(raw)
    return None if isinstance(decoded, Rejection) else decoded
