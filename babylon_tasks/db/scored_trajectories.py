"""Scored trajectories as training and evaluation read them: first the list, then the text."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from msgspec import Struct

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import fetch_all
from babylon_tasks.db.trajectories import used_by_ours
from babylon_tasks.records import RawTrajectory

# The limits of one fetch, in bytes of text and in rows.
_FETCH_BYTES = 16_000_000
_FETCH_ROWS = 200


class ScoredTrajectory(Struct, frozen=True):
    """A scored trajectory without its text.

    ``lost``: its decisions are known to have lost, or failed, more than they won.
    ``content_hash``: of the row that was scored; None for a score of a version that stored none.
    ``size``: bytes of its text now, 0 where Babylon has deleted it.
    """

    trajectory_id: str
    group_key: str
    reward: float
    activity: float
    lost: bool
    scorer: str
    content_hash: str | None
    size: int


class ComparedTrajectory(ScoredTrajectory, frozen=True, kw_only=True):
    """One with which others were compared; ``used``: the lineage has learned from it, or cannot."""

    used: bool


class GroupsOfKey(Struct, frozen=True):
    """The comparable trajectories of one key in a window: one group, or several."""

    window: str
    reward_version: int
    key: str
    members: int
    spread: float


def list_unused(
    connection: Connection, window: str, reward_version: int, lineage: str
) -> list[ScoredTrajectory]:
    """List the trajectories of a window that the lineage has neither used nor refused."""
    return fetch_all(
        connection,
        "scored_trajectories.list_unused",
        ScoredTrajectory,
        window=window,
        version=reward_version,
        lineage=lineage,
    )


def list_all(
    connection: Connection, window: str, reward_version: int, lineage: str
) -> list[ComparedTrajectory]:
    """List all scored trajectories of a window."""
    return fetch_all(
        connection,
        "scored_trajectories.list_all",
        ComparedTrajectory,
        window=window,
        version=reward_version,
        lineage=lineage,
    )


def list_group(
    connection: Connection, window: str, reward_version: int, key: str
) -> list[ScoredTrajectory]:
    """List all comparable trajectories of one key of a window."""
    return fetch_all(
        connection,
        "scored_trajectories.list_group",
        ScoredTrajectory,
        window=window,
        version=reward_version,
        group_key=key,
    )


def held_out_groups(connection: Connection, windows: int) -> list[GroupsOfKey]:
    """List keys with at least two trajectories in the newest held-out windows."""
    return fetch_all(
        connection, "scored_trajectories.held_out_groups", GroupsOfKey, windows=windows
    )


def groups_since(connection: Connection, window: str) -> list[GroupsOfKey]:
    """List keys with at least two trajectories in a window and those after it."""
    return fetch_all(connection, "scored_trajectories.groups_since", GroupsOfKey, window=window)


def portions(listed: Sequence[ScoredTrajectory]) -> Iterator[list[ScoredTrajectory]]:
    """Cut a list into runs that are safe to fetch at once."""
    portion: list[ScoredTrajectory] = []
    weight = 0
    for one in listed:
        size = one.size
        if portion and (weight + size > _FETCH_BYTES or len(portion) == _FETCH_ROWS):
            yield portion
            portion, weight = [], 0
        portion.append(one)
        weight += size
    if portion:
        yield portion


def rows(connection: Connection, ids: Collection[str], largest: int) -> dict[str, RawTrajectory]:
    """Read the current rows, by id; those that Babylon has deleted are absent.

    The window of each is the one that it belongs to by its own columns. Text longer than
    ``largest`` bytes is not sent.
    """
    found = fetch_all(
        connection,
        "scored_trajectories.rows",
        RawTrajectory,
        ids=list(ids),
        largest=largest,
        ours=used_by_ours(connection),
    )
    return {row.trajectory_id: row for row in found}
