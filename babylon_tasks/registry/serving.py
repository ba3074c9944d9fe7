"""The serving pointer: moved only here, in one transaction with its reason and Babylon's rows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from msgspec.structs import astuple

from babylon_tasks.agent_settings import AgentSettings
from babylon_tasks.db import promotions
from babylon_tasks.db.promotions import Decision, ServingRow
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import CheckpointNotFound, NothingServes, SettingsError
from babylon_tasks.read_settings import read
from babylon_tasks.settings import Settings
from babylon_tasks.training import client

if TYPE_CHECKING:
    from babylon_tasks.training.client import AsyncOpenAI


class Serving(ServingRow, frozen=True):
    """What agents use now: ask ``base_url`` (an OpenAI endpoint) for model ``inference_name``.

    ``base_url`` is None until a trainer has served for the first time.
    """

    def openai_client(
        self, settings: AgentSettings | Settings | None = None, **options: Any
    ) -> AsyncOpenAI:
        """OpenAI's own asynchronous client for ``base_url``; ``options`` are its own, as timeout.

        Its key is BABYLON_INFERENCE_API_KEY, with backend ``serverless`` WANDB_API_KEY. Keep it
        from one trajectory to the next, and ask it for the ``inference_name`` that serves by then.
        Raises NothingServes, SettingsError without a key, and NotInstalled without the package
        openai.
        """
        if self.base_url is None:
            raise NothingServes(
                f"nobody answers for {self.inference_name} yet: no trainer has served this "
                "lineage; start a worker on queue gpu, then ask serving() again"
            )
        found = read(AgentSettings) if settings is None else settings
        key = found.wandb_api_key if self.backend == "serverless" else found.inference_api_key
        if key is None:
            raise SettingsError(
                f"{self.inference_name} is served by W&B: set WANDB_API_KEY for the agents too"
            )
        return client.openai_client(
            base_url=self.base_url, api_key=key.get_secret_value(), **options
        )


def serving(connection: Connection, lineage: str) -> Serving:
    """What serves now; raises CheckpointNotFound where the lineage has not begun."""
    return Serving(*astuple(promotions.serving(connection, lineage)))


def promote(
    connection: Connection,
    lineage: str,
    step: int,
    *,
    reason: str,
    evidence: Mapping[str, Any],
    actor: str,
    instead_of: int | None = None,
) -> bool:
    """Let a committed checkpoint serve; raises CheckpointNotFound.

    False, and nothing done, where it serves already, or where ``instead_of`` is given and
    something else has come to serve meanwhile.
    """
    with connection.transaction():
        current = promotions.lock(connection, lineage)
        if step == current or instead_of not in (None, current):
            return False
        _move(connection, lineage, "promote", current, step, reason, evidence, actor)
    return True


def rollback(
    connection: Connection, lineage: str, *, reason: str, actor: str, to: int | None = None
) -> int:
    """Go back to what served before, or to a given checkpoint; returns it.

    The step left behind is not promoted again by the rule. Raises CheckpointNotFound.
    """
    with connection.transaction():
        current = promotions.lock(connection, lineage)
        target = promotions.before(connection, lineage, current) if to is None else to
        if target is None:
            raise CheckpointNotFound(
                f"{lineage}@{current} was never promoted, so there is nothing to roll back to; "
                "name a checkpoint, `babylon-tasks models list` lists them"
            )
        if target != current:
            _move(connection, lineage, "rollback", current, target, reason, {}, actor)
    return target


def hold(
    connection: Connection,
    lineage: str,
    step: int,
    *,
    reason: str,
    evidence: Mapping[str, Any],
    actor: str,
) -> None:
    """Put on record that a checkpoint is not let serve."""
    with connection.transaction():
        current = promotions.lock(connection, lineage)
        promotions.record(
            connection,
            lineage,
            "hold",
            from_step=current,
            to_step=step,
            reason=reason,
            evidence=evidence,
            actor=actor,
        )


def _move(
    connection: Connection,
    lineage: str,
    decision: Decision,
    current: int,
    step: int,
    reason: str,
    evidence: Mapping[str, Any],
    actor: str,
) -> None:
    if not promotions.is_committed(connection, lineage, step):
        raise CheckpointNotFound(
            f"{lineage}@{step} is not a committed checkpoint, {lineage}@{current} goes on serving; "
            "`babylon-tasks models list` lists what there is"
        )
    promotions.move(connection, lineage, step)
    promotions.record(
        connection,
        lineage,
        decision,
        from_step=current,
        to_step=step,
        reason=reason,
        evidence=evidence,
        actor=actor,
    )
