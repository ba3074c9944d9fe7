"""Supervised steps through ART's own code, for the backends ``local`` and ``serverless``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from babylon_tasks.records import Group, LlmCall
from babylon_tasks.step_records import SupervisedConfig
from babylon_tasks.training.art_interface import GRADIENT_STEPS_METRIC, installed
from babylon_tasks.training.protocol import TrainRequest
from babylon_tasks.training.supervised_batches import batches

_POLL_SECONDS = 1.0  # as ART's own


def art_gradient_steps(
    art: Any,
    model: Any,
    request: TrainRequest,
    config: SupervisedConfig,
    groups: Sequence[Group],
) -> AsyncIterator[dict[str, float]]:
    """Let ART make the groups' answers likelier; yields the metrics of each gradient step."""
    from art.types import TrainSFTConfig

    calls = [call for group in groups for member in group.members for call in member.calls]
    planned = batches(calls, config, learning_rate=request.learning_rate, seed=request.seed)
    conversations = [_conversation(call) for batch in planned for call in batch.answers]
    size = config.calls_per_gradient_step
    # ART fills the last batch of an epoch with the next epoch's first answers.
    rates = [batch.learning_rate for batch in planned][: -(-len(conversations) // size)]
    turns: dict[str, Any] = {"assistant_turns": "last"} if installed().trains_last_turn else {}
    found: AsyncIterator[dict[str, float]] = art._train_sft(
        model=model,
        trajectories=conversations,
        config=TrainSFTConfig(learning_rate=rates, batch_size=size, **turns),
        dev_config={},
        verbose=False,
    )
    return found


async def followed_gradient_steps(client: Any, job: str) -> AsyncIterator[dict[str, float]]:
    """Follow a supervised job at W&B that was begun before, which ART cannot."""
    from art.serverless.backend import _canonicalize_upstream_metrics

    after: dict[str, str] = {}
    steps = 0.0
    while True:
        async for event in client.sft_training_jobs.events.list(training_job_id=job, **after):
            after = {"after": event.id}
            if event.type == "training_started":
                steps = float(event.data.get("num_sequences", 0))
            elif event.type == "gradient_step":
                measured = {name: float(value) for name, value in event.data.items()}
                yield {**_canonicalize_upstream_metrics(measured), GRADIENT_STEPS_METRIC: steps}
            elif event.type == "training_ended":  # ART ignores what it does not know; so do we
                return
        await asyncio.sleep(_POLL_SECONDS)


def _conversation(call: LlmCall) -> Any:
    from art import Trajectory

    messages: list[Any] = [{"role": role, "content": text} for role, text in call.messages]
    return Trajectory(
        messages_and_choices=[*messages, {"role": "assistant", "content": call.response}]
    )
