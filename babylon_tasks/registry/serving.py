"""The serving pointer: moved only here, in one transaction with its reason and Babylon's rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from typing import TYPE_CHECKING, Any

from msgspec.structs import astuple

from babylon_tasks.agent_settings import AgentSettings
from babylon_tasks.db import arms, old_checkpoints, promotions
from babylon_tasks.db.promotions import ServingRow
from babylon_tasks.db.session import Connection
from babylon_tasks.decisions import Decision, RefusalKind
from babylon_tasks.errors import CheckpointNotFound, CheckpointRefused, NothingServes, SettingsError
from babylon_tasks.policy_names import policy_name
from babylon_tasks.read_settings import read
from babylon_tasks.registry import branches
from babylon_tasks.settings import Settings
from babylon_tasks.training import client

if TYPE_CHECKING:
    from babylon_tasks.training.client import AsyncOpenAI


class Serving(ServingRow, frozen=True):
    """What agents use now: model ``inference_name`` at ``base_url``, an OpenAI endpoint.

    ``base_url`` is None until a trainer has served for the first time.
    """

    def openai_client(
        self, settings: AgentSettings | Settings | None = None, **options: Any
    ) -> AsyncOpenAI:
        """Make OpenAI's own asynchronous client for ``base_url``; ``options`` are passed to it.

        Its key is BABYLON_INFERENCE_API_KEY, with backend ``serverless`` WANDB_API_KEY. Keep it
        across trajectories, and use it with the current ``inference_name`` each time. Raises
        NothingServes, SettingsError without a key, and NotInstalled without the package openai.
        """
        if self.base_url is None:
            raise NothingServes(
                f"{self.inference_name} has no address yet: no trainer has served this "
                "lineage; start a gpu-worker, then call serving() again"
            )
        key = self.api_key(read(AgentSettings) if settings is None else settings)
        return client.openai_client(base_url=self.base_url, api_key=key, **options)

    def api_key(self, settings: AgentSettings | Settings) -> str:
        """Return the key for ``base_url``; raises SettingsError without one."""
        key = settings.wandb_api_key if self.backend == "serverless" else settings.inference_api_key
        if key is None:
            raise SettingsError(
                f"{self.inference_name} is served by W&B: set WANDB_API_KEY for the agents too"
            )
        return key.get_secret_value()


def serving(connection: Connection, lineage: str) -> Serving:
    """Read which checkpoint serves; raises CheckpointNotFound if the lineage does not exist yet."""
    return Serving(*astuple(promotions.serving(connection, lineage)))


def promote(
    connection: Connection,
    lineage: str,
    step: int,
    *,
    reason: str,
    figures: Mapping[str, Any],
    actor: str,
    instead_of: int | None = None,
) -> bool:
    """Make a committed checkpoint serve; raises CheckpointNotFound.

    Returns False, and does nothing, if it serves already, or if ``instead_of`` is given and
    another checkpoint serves by now, or its branch is dead. Without ``instead_of`` a dead branch
    goes on.
    """
    with connection.transaction():
        current = promotions.lock(connection, lineage)
        if step == current or _overtaken(connection, lineage, step, current, instead_of):
            return False
        _move(
            connection,
            lineage,
            Decision.PROMOTE,
            from_step=current,
            to_step=step,
            reason=reason,
            figures=figures,
            actor=actor,
        )
    return True


def rollback(
    connection: Connection,
    lineage: str,
    *,
    reason: str,
    actor: str,
    to: int | None = None,
    instead_of: int | None = None,
    figures: Mapping[str, Any] | None = None,
    keep: Collection[int] = (),
) -> int:
    """Return to the checkpoint that served before, or to a given one; returns it.

    One transaction: pointer, Babylon's rows, the branch that served and all others dead but the one
    that serves now, arms with a checkpoint of these ended. ``figures``: what showed that it is
    needed, with the windows. ``keep``: checkpoints whose branches and arms stay, as of one that is
    on trial. The gate does not promote the later one again. Returns the serving one and does
    nothing if ``instead_of`` is given and another checkpoint serves by now. Raises
    CheckpointNotFound.
    """
    with connection.transaction():
        current = promotions.lock(connection, lineage)
        if instead_of not in (None, current):
            return current
        target = promotions.before(connection, lineage, current) if to is None else to
        if target is None:
            raise CheckpointRefused(
                f"{policy_name(lineage, current)} was never promoted, so there is nothing to roll "
                "back to; name a checkpoint, `babylon-tasks models list` lists them"
            )
        if target != current:
            _move(
                connection,
                lineage,
                Decision.ROLLBACK,
                from_step=current,
                to_step=target,
                reason=reason,
                figures={"refused": RefusalKind.HARM, **(figures or {})},
                actor=actor,
            )
            _end_others(connection, lineage, current, {target, *keep}, target, actor=actor)
    return target


def go_back(
    connection: Connection,
    lineage: str,
    step: int,
    *,
    instead_of: int,
    reason: str,
    figures: Mapping[str, Any],
    actor: str,
) -> bool:
    """Return to a checkpoint that is worth more today; nothing is refused by that.

    Unlike after ``rollback`` the branch that served stays alive: its steps were right when they
    were taken, so the next one neither has a smaller rate nor trains on their hours again.
    Returns False, and does nothing, if another checkpoint serves by now or that one's branch is
    dead.
    """
    with connection.transaction():
        current = promotions.lock(connection, lineage)
        if current != instead_of or branches.is_dead(connection, lineage, step):
            return False
        _move(
            connection,
            lineage,
            Decision.ROLLBACK,
            from_step=current,
            to_step=step,
            reason=reason,
            figures={**figures, "refused": False},
            actor=actor,
        )
    return True


def hold(
    connection: Connection,
    lineage: str,
    step: int,
    *,
    reason: str,
    figures: Mapping[str, Any],
    actor: str,
    instead_of: int | None = None,
) -> bool:
    """Record that a checkpoint is not promoted.

    Returns False, and records nothing, if ``instead_of`` is given and another checkpoint serves by
    now, maybe this one, or its branch is dead.
    """
    with connection.transaction():
        current = promotions.lock(connection, lineage)
        if _overtaken(connection, lineage, step, current, instead_of):
            return False
        promotions.record(
            connection,
            lineage,
            Decision.HOLD,
            from_step=current,
            to_step=step,
            reason=reason,
            figures=figures,
            actor=actor,
        )
    return True


def refuse(connection: Connection, lineage: str, step: int, *, reason: str, actor: str) -> int:
    """Record that a checkpoint was refused by hand; returns what serves.

    Raises CheckpointNotFound where it is none, or serves: that is rolled back.
    """
    with connection.transaction():
        current = promotions.lock(connection, lineage)
        name = policy_name(lineage, step)
        if step == current:
            raise CheckpointRefused(
                f"{name} serves: `babylon-tasks models rollback` takes it out of service"
            )
        if not promotions.is_committed(connection, lineage, step):
            raise CheckpointNotFound(
                f"{name} is not a committed checkpoint; `babylon-tasks models list` lists them"
            )
        hold(
            connection,
            lineage,
            step,
            reason=reason,
            figures={"refused": RefusalKind.HARM},
            actor=actor,
        )
    return current


def _overtaken(
    connection: Connection, lineage: str, step: int, current: int, instead_of: int | None
) -> bool:
    """Check whether a decision about a step against ``instead_of`` comes too late."""
    return instead_of is not None and (
        instead_of != current or branches.is_dead(connection, lineage, step)
    )


def _move(
    connection: Connection,
    lineage: str,
    decision: Decision,
    *,
    from_step: int,
    to_step: int,
    reason: str,
    figures: Mapping[str, Any],
    actor: str,
) -> None:
    if not promotions.is_committed(connection, lineage, to_step):
        raise CheckpointNotFound(
            f"{policy_name(lineage, to_step)} is not a committed checkpoint, "
            f"{policy_name(lineage, from_step)} keeps serving; "
            "`babylon-tasks models list` lists the checkpoints"
        )
    pruned_at = old_checkpoints.pruned_at(connection, lineage, to_step)
    if pruned_at is not None:
        raise CheckpointRefused(
            f"{policy_name(lineage, to_step)} was pruned at {pruned_at:%Y-%m-%d %H:%M} UTC and its "
            f"weights are gone, {policy_name(lineage, from_step)} keeps serving; "
            "`babylon-tasks models list` lists the checkpoints; BABYLON_KEEP_CHECKPOINTS says how "
            "many are kept"
        )
    ended = branches.revive(connection, lineage, to_step, actor=actor)
    arms.end_those_of(connection, lineage, ended)
    promotions.move(connection, lineage, to_step)
    promotions.record(
        connection,
        lineage,
        decision,
        from_step=from_step,
        to_step=to_step,
        reason=reason,
        figures=figures,
        actor=actor,
    )


def _end_others(
    connection: Connection, lineage: str, before: int, leaves: Set[int], now: int, *, actor: str
) -> None:
    why = f"{policy_name(lineage, before)} was rolled back to {policy_name(lineage, now)}"
    ended = branches.end_others(connection, lineage, leaves, why=why, actor=actor)
    arms.end_those_of(connection, lineage, {*ended, before} - leaves)
