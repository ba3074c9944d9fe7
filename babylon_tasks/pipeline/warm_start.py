"""Plan one supervised step on the better part of what was recorded; the gpu-worker runs it."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct, structs

from babylon_tasks import __version__
from babylon_tasks.dataset import manifest as manifests
from babylon_tasks.dataset.manifest import Manifest, TrainingConfig
from babylon_tasks.dataset.packed_members import pack
from babylon_tasks.dataset.schedule import estimated_tokens
from babylon_tasks.dataset.training_defaults import (
    TrainingValues,
    supervised_rate,
    training_values,
)
from babylon_tasks.db import lineages, steps, windows
from babylon_tasks.db.consumption import Use
from babylon_tasks.db.lease_heartbeat import claim_lineage
from babylon_tasks.db.lineages import Lease
from babylon_tasks.db.session import Connection, session
from babylon_tasks.db.tripwires import FoundTrips
from babylon_tasks.pipeline.dead_branches import end_dead_branches
from babylon_tasks.pipeline.select_answers import SelectedAnswers, select_answers
from babylon_tasks.pipeline.trip import SUPERVISED, kinds_that_refuse, look, refuse, report
from babylon_tasks.policy_names import policy_name
from babylon_tasks.reasons import UsedAs
from babylon_tasks.settings import Settings
from babylon_tasks.states import StepMethod, WindowState
from babylon_tasks.step_records import SupervisedConfig
from babylon_tasks.training.backends import can_branch, named
from babylon_tasks.training.model_size import parameters

_NAMED = 100  # trajectories in an event
_LOOKED_AT = (WindowState.SCORED, WindowState.SKIPPED)


class WarmStart(Struct, frozen=True):
    """What a warm start uses, or in a dry run would use.

    ``step`` is None where none was planned, for the ``refused`` reason, in a dry run, or because
    there is nothing to learn from. ``calls`` by recorded model are ``models``; ``left_out`` as in
    ``SelectedAnswers``, ``too_long`` too; ``tokens`` is an estimate. ``other_windows``, by state,
    are those whose answers were not looked at: held out, not scored yet, or trained already.
    """

    step: int | None
    refused: str | None = None
    windows: list[str] = []
    groups: int = 0
    trajectories: int = 0
    calls: int = 0
    tokens: int = 0
    gradient_steps: int = 0
    learning_rate: float | None = None
    models: dict[str, int] = {}
    left_out: dict[str, int] = {}
    too_long: tuple[str, ...] = ()
    other_windows: dict[str, int] = {}
    more: bool = False


def warm_start(
    settings: Settings, *, since: datetime | None, top_share: float, dry_run: bool, actor: str
) -> WarmStart:
    """Choose the answers and plan the step; a dry run writes nothing.

    Raises SettingsError, DatabaseError.
    """
    with session(settings) as connection:
        if dry_run:
            backend = _backend(connection, settings)
            selected = _selected(connection, settings, backend, since, top_share)
            selected, _, _ = _tripped(connection, settings, selected)
            return _described(connection, settings, selected, backend)
        lineages.ensure(connection, settings)
        refused = _unfinished(connection, settings.lineage)
    if refused is not None:
        return WarmStart(None, refused)
    with (
        claim_lineage(settings, on_lost=lambda: None) as heartbeat,
        session(settings) as connection,
    ):
        if heartbeat is None:
            return WarmStart(
                None,
                f"a worker is training or evaluating lineage {settings.lineage}; nothing was "
                "planned, run the command again when it is done (`babylon-tasks status`)",
            )
        refused = _unfinished(connection, settings.lineage)
        if refused is not None:
            return WarmStart(None, refused)
        backend = _backend(connection, settings)
        lease = heartbeat.lease
        left = end_dead_branches(settings, lease, can_branch=can_branch(backend), actor=actor)
        if left.waits is not None:
            return WarmStart(None, f"{left.waits}; nothing was planned")
        selected = _selected(connection, settings, backend, since, top_share)
        selected, trips, refused_trips = _tripped(connection, settings, selected)
        for one in refused_trips:
            refuse(connection, heartbeat.lease, one, actor=actor)
        found = _described(connection, settings, selected, backend)
        if not selected.groups:
            return found
        heartbeat.check()
        lease = structs.replace(lease, serving_step=left.serving)
        made = _manifest(settings, lease, selected, backend, top_share)
        step = steps.plan(
            connection,
            heartbeat.lease,
            backend=backend,
            windows={window: selected.reward_versions[window] for window in made.windows},
            manifest=manifests.canonical(made),
            manifest_hash=manifests.manifest_hash(made),
            uses=[
                Use(entry.trajectory_id, entry.reward_version, where, UsedAs.TRAINED)
                for where, entry in made.entries
            ],
            actor=actor,
            members=[pack(one) for one in selected.members] if settings.keep_replay_days else None,
            method=StepMethod.SUPERVISED,
            noted={
                "models": selected.models,
                "left_out": selected.left_out,
                "too_long": selected.too_long[:_NAMED],
            },
            found=trips,
        )
        if step is None:
            return WarmStart(
                None,
                "an hour was scored anew, or pruned, while its answers were read; nothing was "
                "planned, run the command again",
            )
        for one in trips:
            report(settings.lineage, one)
        return structs.replace(found, step=step.target_step)


def _tripped(
    connection: Connection, settings: Settings, selected: SelectedAnswers
) -> tuple[SelectedAnswers, list[FoundTrips], list[FoundTrips]]:
    """Look at each window; returns what is left, what tripped in it, and in what is refused."""
    found = [
        structs.replace(
            look(connection, settings, selected.of_window(window), wires=SUPERVISED), figures=None
        )
        for window in selected.reward_versions
    ]
    refused = [one for one in found if kinds_that_refuse(one)]
    left = selected.without({one.window for one in refused})
    return left, [one for one in found if one not in refused], refused


def _unfinished(connection: Connection, lineage: str) -> str | None:
    step = steps.unfinished(connection, lineage)
    if step is None:
        return None
    return (
        f"{policy_name(lineage, step.target_step)} is {step.state}, and a lineage has one step at "
        "a time; nothing was planned, run the command again when that step has ended "
        "(`babylon-tasks status`)"
    )


def _backend(connection: Connection, settings: Settings) -> str:
    lineage = lineages.get(connection, settings.lineage)
    started = lineage is not None and lineage.inference_base_url is not None
    return lineage.backend if lineage is not None and started else named(settings)[0]


def _values(settings: Settings, backend: str) -> TrainingValues:
    return training_values(settings, backend, parameters(settings.base_model))


def _selected(
    connection: Connection,
    settings: Settings,
    backend: str,
    since: datetime | None,
    top_share: float,
) -> SelectedAnswers:
    longest = _values(settings, backend).packed_sequence_length
    return select_answers(connection, settings, since=since, top_share=top_share, longest=longest)


def _manifest(
    settings: Settings, lease: Lease, selected: SelectedAnswers, backend: str, top_share: float
) -> Manifest:
    return Manifest(
        lineage=settings.lineage,
        base_model=settings.base_model,
        base_step=lease.head_step,
        parent_step=lease.serving_step,
        serving_step=lease.serving_step,
        code_version=__version__,
        scorer=", ".join(selected.scorers),
        logprobs="",
        config=TrainingConfig(
            learning_rate=supervised_rate(settings, backend, parameters(settings.base_model)),
            kl_coefficient=0.0,
            seed=settings.seed,
            packed_sequence_length=_values(settings, backend).packed_sequence_length,
            min_reward_spread=settings.min_reward_spread,
            max_group_size=settings.max_group_size,
            max_staleness_steps=settings.max_staleness_steps,
        ),
        groups=manifests.list_groups(
            map(manifests.hashed, selected.groups), selected.reward_versions
        ),
        supervised=SupervisedConfig(
            epochs=settings.supervised_epochs,
            calls_per_gradient_step=settings.supervised_calls_per_gradient_step,
            warmup_gradient_steps=settings.supervised_warmup_gradient_steps,
            top_share=top_share,
            decision_weight=settings.supervised_decision_weight if backend == "cpu" else 1.0,
        ),
    )


def _described(
    connection: Connection, settings: Settings, selected: SelectedAnswers, backend: str
) -> WarmStart:
    calls = selected.models
    count = sum(calls.values())
    batches = -(-count // settings.supervised_calls_per_gradient_step)
    states = windows.counts(connection, lineage=settings.lineage)
    return WarmStart(
        None,
        windows=sorted(selected.reward_versions),
        groups=len(selected.groups),
        trajectories=len(selected.members),
        calls=count,
        tokens=estimated_tokens(selected.members),
        gradient_steps=settings.supervised_epochs * batches,
        learning_rate=supervised_rate(settings, backend, parameters(settings.base_model)),
        models=calls,
        left_out=selected.left_out,
        too_long=selected.too_long,
        other_windows={state: n for state, n in states.items() if n and state not in _LOOKED_AT},
        more=selected.more,
    )
