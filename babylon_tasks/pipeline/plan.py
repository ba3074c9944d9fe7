"""Which windows go into the next training step, and with what; the others get their reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from babylon_tasks import __version__, metrics
from babylon_tasks.dataset import manifest as manifests
from babylon_tasks.dataset.ancestry import ages, depth
from babylon_tasks.dataset.freshness import NO_LOGPROBS, Policies
from babylon_tasks.dataset.manifest import Config, Manifest
from babylon_tasks.dataset.schedule import estimated_tokens, learning_rate
from babylon_tasks.db import events, lineages, steps, windows
from babylon_tasks.db.lineages import Lease
from babylon_tasks.db.session import Connection
from babylon_tasks.db.steps import Step, Use
from babylon_tasks.pipeline import material
from babylon_tasks.pipeline.material import Material
from babylon_tasks.records import Group
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState

# How many windows without anything trainable one call settles on its way to one that has.
_WINDOWS_AT_ONCE = 50


class Planned(Struct, frozen=True):
    """``step`` is None where nothing is trainable; ``skipped``: window to reason."""

    step: Step | None
    manifest: Manifest | None
    groups: tuple[Group, ...]
    skipped: dict[str, str]


def policies(
    connection: Connection,
    settings: Settings,
    *,
    head_step: int,
    serving_step: int,
    parent_step: int,
) -> Policies:
    """The lineage as a step that is trained on from ``parent_step`` sees it."""
    parents = lineages.parents(connection, settings.lineage)
    return Policies(
        settings.lineage,
        settings.base_model,
        head_step,
        lineages.inference_names(connection, settings.lineage),
        serving_step,
        ages(parent_step, head_step, parents),
        parent_step,
    )


def plan(
    connection: Connection,
    settings: Settings,
    lease: Lease,
    *,
    backend: str,
    branches: bool,
    head_step: int,
    window: str | None,
    actor: str,
) -> Planned:
    """Plan one step from the given window or the oldest that wait, and claim its data.

    It starts from the weights that serve: a checkpoint that was held back is a dead branch, and
    what the agents did is then exactly on-policy. A backend that cannot branch goes on from its
    newest step.

    Others that wait join up to ``max_windows_per_step`` and ``step_token_budget``; a window
    alone is never cut. One whose training has failed before is tried alone: it may be the cause.
    """
    parent_step = lease.serving_step if branches else head_step
    known = policies(
        connection,
        settings,
        head_step=head_step,
        serving_step=lease.serving_step,
        parent_step=parent_step,
    )
    labels = settings.labels
    chosen: list[Material] = []
    skipped: dict[str, str] = {}
    tokens = 0
    for name, version, tries in _queue(connection, window):
        if chosen and tries:
            continue
        label, found = _as_labelled(connection, settings, name, version, labels, known)
        if not found.grouped.groups:
            if labels != settings.labels:
                continue  # what it has bears another label than this step's
            skipped[name] = _skip(connection, lease, found, actor)
            if name == window:
                break  # the caller asked about this one
            continue
        more = estimated_tokens(found.grouped.groups)
        if chosen and tokens + more > settings.step_token_budget:
            break
        chosen.append(found)
        labels = (label,)
        tokens += more
        if tries or len(chosen) == settings.max_windows_per_step:
            break
    if not chosen:
        return Planned(None, None, (), skipped)
    chosen.sort(key=lambda found: found.window)
    groups = tuple(group for found in chosen for group in found.grouped.groups)
    behind = depth(parent_step, lineages.parents(connection, settings.lineage))
    made = _manifest(
        settings, labels[0], head_step, parent_step, behind, lease.serving_step, chosen, groups
    )
    with connection.transaction():
        for found in chosen:
            _settle(connection, lease, found, actor)
        step = steps.plan(
            connection,
            lease,
            backend=backend,
            windows=[found.window for found in chosen],
            manifest=manifests.canonical(made),
            manifest_hash=manifests.manifest_hash(made),
            uses=[
                Use(entry.trajectory_id, entry.reward_version, where, "trained")
                for where, entry in made.entries
            ],
            actor=actor,
        )
    return Planned(step, made, groups, skipped)


def _queue(connection: Connection, window: str | None) -> list[tuple[str, int, int]]:
    waiting = windows.scored(connection, _WINDOWS_AT_ONCE)
    if window is None:
        return waiting
    asked = windows.get(connection, window)
    if asked.state != WindowState.SCORED or not asked.due:  # taken meanwhile
        return []
    first = (window, asked.reward_version, asked.training_tries)
    return [first, *(row for row in waiting if row[0] != window)]


def _as_labelled(
    connection: Connection,
    settings: Settings,
    window: str,
    version: int,
    labels: Sequence[str],
    known: Policies,
) -> tuple[str, Material]:
    """What a window has of the first label by which it has groups."""
    for label in labels:
        rules = material.rules(settings, label)
        found = material.unused(connection, window, version, rules, known)
        if found.grouped.groups:
            break
    return label, found


def _manifest(
    settings: Settings,
    label: str,
    head_step: int,
    parent_step: int,
    depth_of_parent: int,
    serving_step: int,
    chosen: Sequence[Material],
    groups: tuple[Group, ...],
) -> Manifest:
    return Manifest(
        lineage=settings.lineage,
        base_model=settings.base_model,
        base_step=head_step,
        parent_step=parent_step,
        serving_step=serving_step,
        code_version=__version__,
        scorer=", ".join(sorted({scorer for found in chosen for scorer in found.scorers})),
        logprobs=label,
        config=Config(
            learning_rate=learning_rate(depth_of_parent, _informative(chosen), settings),
            kl_coefficient=settings.kl_coefficient,
            seed=settings.seed,
            packed_sequence_length=settings.packed_sequence_length,
            min_reward_spread=settings.min_reward_spread,
            max_group_size=settings.max_group_size,
            max_staleness_steps=settings.max_staleness_steps,
        ),
        groups=manifests.list_groups(
            groups, {found.window: found.reward_version for found in chosen}
        ),
    )


def _informative(chosen: Sequence[Material]) -> float:
    """The share of the trajectories that could be compared which are in groups with spread."""
    used = sum(len(group.members) for found in chosen for group in found.grouped.groups)
    flat = sum(use == "no_spread" for found in chosen for _, use in found.grouped.used_up)
    return used / (used + flat)


def _settle(connection: Connection, lease: Lease, found: Material, actor: str) -> None:
    """Write down what a window does not contribute, and why."""
    grouped = found.grouped
    steps.reject(connection, found.window, found.reward_version, grouped.rejections)
    steps.consume(
        connection,
        lease,
        [Use(one, found.reward_version, found.window, use) for one, use in grouped.used_up],
        step_id=None,
    )
    for rejection in grouped.rejections:
        metrics.TRAJECTORIES_REJECTED.labels(rejection.reason).inc()
    detail: dict[str, Any] = {
        "groups": len(grouped.groups),
        "trajectories": sum(len(group.members) for group in grouped.groups),
        "rejected": dict(Counter(rejection.reason for rejection in grouped.rejections)),
        "used_up": dict(Counter(use for _, use in grouped.used_up)),
        "calls_left_out": grouped.calls_left_out,
    }
    events.record(
        connection,
        "grouped",
        actor=actor,
        window=found.window,
        lineage=lease.lineage,
        detail=detail,
    )


def _skip(connection: Connection, lease: Lease, found: Material, actor: str) -> str:
    reason = found.grouped.reason
    with connection.transaction():
        lineages.hold(connection, lease)
        _settle(connection, lease, found, actor)
        windows.move(
            connection,
            found.window,
            WindowState.SCORED,
            WindowState.SKIPPED,
            actor=actor,
            reason=reason,
            lineage=lease.lineage,
        )
        if reason == NO_LOGPROBS:
            todo = (
                "record logprobs with each LLM call (ART trains on nothing else), or set "
                "BABYLON_LOGPROBS=exact,none and accept steps that are labelled so"
            )
            detail = {"todo": todo}
            events.record(connection, "advice", actor=actor, window=found.window, detail=detail)
    return reason
