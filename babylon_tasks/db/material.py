"""Scored trajectories as training and evaluation read them: first the list, then the text."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from msgspec import Struct

from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import queries
from babylon_tasks.records import RawTrajectory

# What one fetch may weigh, in bytes of text and in rows.
_FETCH_BYTES = 16_000_000
_FETCH_ROWS = 200


class Listed(Struct, frozen=True):
    """A scored trajectory without its text; ``size`` is None where Babylon has deleted it."""

    trajectory_id: str
    group_key: str
    reward: float
    scorer: str
    size: int | None


class HeldOutGroup(Struct, frozen=True):
    """A group of a held-out window."""

    window: str
    reward_version: int
    key: str
    members: int
    spread: float


def list_unused(
    connection: Connection, window: str, reward_version: int, lineage: str
) -> list[Listed]:
    """What a window still offers to a lineage."""
    parameters = {"window": window, "version": reward_version, "lineage": lineage}
    rows = connection.execute(queries("material")["list_unused"], parameters).fetchall()
    return [Listed(*row) for row in rows]


def list_some(
    connection: Connection, window: str, reward_version: int, ids: Collection[str]
) -> list[Listed]:
    """Named trajectories of a window."""
    parameters = {"window": window, "version": reward_version, "ids": list(ids)}
    rows = connection.execute(queries("material")["list_some"], parameters).fetchall()
    return [Listed(*row) for row in rows]


def list_group(connection: Connection, window: str, reward_version: int, key: str) -> list[Listed]:
    """One group of a window."""
    parameters = {"window": window, "version": reward_version, "group_key": key}
    rows = connection.execute(queries("material")["list_group"], parameters).fetchall()
    return [Listed(*row) for row in rows]


def held_out_groups(connection: Connection, windows: int) -> list[HeldOutGroup]:
    """The groups of the newest held-out windows that have at least two members."""
    rows = connection.execute(queries("material")["held_out_groups"], {"windows": windows})
    return [HeldOutGroup(*row) for row in rows.fetchall()]


def portions(listed: Sequence[Listed]) -> Iterator[list[Listed]]:
    """Cut a list into runs that are safe to fetch at once."""
    portion: list[Listed] = []
    weight = 0
    for one in listed:
        size = one.size or 0
        if portion and (weight + size > _FETCH_BYTES or len(portion) == _FETCH_ROWS):
            yield portion
            portion, weight = [], 0
        portion.append(one)
        weight += size
    if portion:
        yield portion


def texts(connection: Connection, ids: Collection[str]) -> dict[str, RawTrajectory]:
    """The recorded rows by id; what Babylon has deleted is absent.

    They have been scored, so the flags that scoring looks at count as settled.
    """
    rows = connection.execute(queries("material")["text"], {"ids": list(ids)}).fetchall()
    return {
        row[0]: RawTrajectory(
            trajectory_id=row[0],
            agent_id=row[1],
            scenario_id=row[2],
            steps_json=row[3],
            steps_bytes=row[4],
            final_pnl=row[5],
            is_evaluation=False,
            is_training_data=True,
        )
        for row in rows
    }
