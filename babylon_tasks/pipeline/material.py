"""From rows to groups: reads only as much of a window as its groups can hold."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from babylon_tasks.dataset.freshness import EXACT, Policies
from babylon_tasks.dataset.groups import STAGE, Grouped, Rules, WindowGroups, rank
from babylon_tasks.dataset.manifest import Manifest, matches
from babylon_tasks.db import material
from babylon_tasks.db.material import Listed
from babylon_tasks.db.session import Connection
from babylon_tasks.decode import decode
from babylon_tasks.records import Group, Rejection, ScoredTrajectory
from babylon_tasks.settings import Settings


class Material(Struct, frozen=True):
    """What a window offers: its groups and leftovers, and who scored it."""

    window: str
    reward_version: int
    grouped: Grouped
    scorers: tuple[str, ...]


def rules(settings: Settings, label: str = EXACT) -> Rules:
    """The settings' part in what becomes a group of calls of one label."""
    return Rules(
        max_group_size=settings.max_group_size,
        min_reward_spread=settings.min_reward_spread,
        max_staleness_steps=settings.max_staleness_steps,
        label=label,
    )


def unused(
    connection: Connection,
    window: str,
    reward_version: int,
    rules: Rules,
    policies: Policies,
) -> Material:
    """What a window has to offer to the lineage's next step."""
    listed = material.list_unused(connection, window, reward_version, policies.lineage)
    grouped = _grouped(connection, window, reward_version, listed, rules, policies)
    scorers = tuple(sorted({one.scorer for one in listed}))
    return Material(window, reward_version, grouped, scorers)


def group(
    connection: Connection, window: str, reward_version: int, key: str, rules: Rules
) -> Group | None:
    """One held-out group, whoever gave its answers; None where fewer than two are readable."""
    listed = material.list_group(connection, window, reward_version, key)
    grouped = _grouped(connection, window, reward_version, listed, rules, None)
    return grouped.groups[0] if grouped.groups else None


def again(
    connection: Connection, manifest: Manifest, policies: Policies
) -> tuple[Group, ...] | None:
    """The groups that a manifest lists, read once more; None where the rows have changed."""
    config = manifest.config
    same_rules = Rules(
        max_group_size=config.max_group_size,
        min_reward_spread=config.min_reward_spread,
        max_staleness_steps=config.max_staleness_steps,
        label=manifest.logprobs,
    )
    groups: list[Group] = []
    for window in dict.fromkeys(group.window for group in manifest.groups):
        entries = [entry for where, entry in manifest.entries if where == window]
        version = entries[0].reward_version
        ids = [entry.trajectory_id for entry in entries]
        listed = material.list_some(connection, window, version, ids)
        groups.extend(_grouped(connection, window, version, listed, same_rules, policies).groups)
    return tuple(groups) if matches(manifest, groups) else None


def _grouped(
    connection: Connection,
    window: str,
    reward_version: int,
    listed: Sequence[Listed],
    rules: Rules,
    policies: Policies | None,
) -> Grouped:
    groups = WindowGroups(window, rules, policies)
    # In order of rank a full group is final, so the text of the rest is never fetched.
    for portion in material.portions(sorted(listed, key=lambda one: rank(one.trajectory_id))):
        wanted = []
        for one in portion:
            if groups.is_closed(one.group_key):
                groups.pass_over(one.group_key, one.trajectory_id)
            else:
                wanted.append(one)
        texts = material.texts(connection, [one.trajectory_id for one in wanted])
        for one in wanted:
            raw = texts.get(one.trajectory_id)
            if raw is None:
                detail = "Babylon has deleted it since it was scored"
                groups.reject(Rejection(one.trajectory_id, STAGE, "deleted", detail))
                continue
            decoded = decode(raw)
            if isinstance(decoded, Rejection):
                groups.reject(decoded)
                continue
            groups.add(ScoredTrajectory(decoded, window, one.group_key, one.reward, reward_version))
    return groups.finish()
