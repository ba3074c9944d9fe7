"""Read the groups that checkpoints are compared on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import structlog

from babylon_tasks.dataset import held_out
from babylon_tasks.db import changed_rows, old_rows, promotions, scored_trajectories
from babylon_tasks.db.scored_trajectories import GroupsOfKey
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline import load_groups
from babylon_tasks.records import Group
from babylon_tasks.registry import look_back
from babylon_tasks.settings import Settings

log = structlog.get_logger(__name__)


def held_out_set(
    connection: Connection, settings: Settings, *, actor: str, draw: int = 0
) -> tuple[Group, ...]:
    """Read the groups that checkpoints are evaluated on, whichever policy answered, by hour and
    key. Another ``draw`` takes others of the past, where the budget is too small for all.

    A lineage that learns anew is evaluated on the hours since agents earned less alone, once they
    have twice as many groups as decide: what was right before is not what it is to learn.
    Windows in which Babylon has rewritten rows are marked to be scored anew.
    """
    offered = scored_trajectories.held_out_groups(connection, old_rows.HELD_OUT_WINDOWS)
    since = promotions.learns_anew_since(connection, settings.lineage)
    if since is not None:
        today = [group for group in offered if group.window >= since]
        found = _read(connection, settings, today, draw=draw, used=False, actor=actor)
        if len(found) >= 2 * settings.min_eval_groups:
            return found
    return _read(connection, settings, offered, draw=draw, used=False, actor=actor)


def groups_since(
    connection: Connection, settings: Settings, window: str, *, actor: str
) -> tuple[Group, ...]:
    """Read the groups of a window and of those after it, held out or not, in the same manner.

    Of the newest hours only so many that they stay the same until there are clearly more
    (``look_back.compared_until``).

    They compare what serves with checkpoints that it comes from: it has learned from all of these
    groups that they have, so the comparison can only favour it.
    """
    offered = scored_trajectories.groups_since(connection, window)
    teach = [one.window for one in offered if one.spread > settings.min_reward_spread]
    until = look_back.compared_until(teach, settings.min_eval_groups)
    if until is not None:
        offered = [one for one in offered if one.window <= until]
    return _read(connection, settings, offered, draw=0, used=True, actor=actor)


def _read(
    connection: Connection,
    settings: Settings,
    offered: Sequence[GroupsOfKey],
    *,
    draw: int,
    used: bool,
    actor: str,
) -> tuple[Group, ...]:
    most, least = settings.max_eval_tokens, settings.min_eval_groups
    too_large: list[str] = []

    def fitting() -> Iterator[Group]:
        for group in _load(connection, settings, offered, draw=draw, used=used, actor=actor):
            if held_out.tokens(group) <= most:
                yield group
            else:
                too_large.append(group.key)

    groups = held_out.fill(fitting(), most, least)
    if too_large and len(groups) < least:
        log.warning(
            "held_out_groups.omitted",
            groups=len(groups),
            left_out=len(too_large),
            why=f"each of those that are left out has more than {most} tokens",
            todo="raise BABYLON_MAX_EVAL_TOKENS, or lower BABYLON_MAX_GROUP_SIZE",
        )
    return tuple(sorted(groups, key=lambda group: (group.window_id, group.key)))


def _load(
    connection: Connection,
    settings: Settings,
    offered: Sequence[GroupsOfKey],
    *,
    draw: int,
    used: bool,
    actor: str,
) -> Iterator[Group]:
    versions = {(group.window, group.key): group.reward_version for group in offered}
    ordered = held_out.order(
        ((group.window, group.key, group.members, group.spread) for group in offered),
        settings.max_group_size,
        settings.min_reward_spread,
        draw=draw,
    )
    rewritten: set[str] = set()
    for window, key, part in ordered:
        if window in rewritten:
            continue  # its other groups are likely affected too, and all of them would be read
        held_out_group = load_groups.held_out_group(
            connection, settings, window, versions[window, key], key, part, used=used
        )
        if held_out_group.changed:
            rewritten.add(window)
            with connection.transaction():
                changed_rows.mark_changed(
                    connection,
                    window,
                    held_out_group.changed,
                    lineage=settings.lineage,
                    actor=actor,
                )
        if held_out_group.group is not None:
            yield held_out_group.group
