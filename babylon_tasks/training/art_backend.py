"""What all backends share: an ART backend, a model registered with it, progress of each step."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from babylon_tasks.errors import TrainingError
from babylon_tasks.records import Group
from babylon_tasks.training.conversations import art_groups
from babylon_tasks.training.protocol import (
    OnProgress,
    RequestProgress,
    StartTrainer,
    StepValue,
    TrainRequest,
)


class ArtBackend:
    """An ART backend with a model registered with it; its three subclasses make the backend."""

    def __init__(self, start: StartTrainer) -> None:
        from art import TrainableModel

        self.start = start
        self.model: Any = TrainableModel(
            name=start.lineage,
            project=start.project,
            entity=start.entity,
            base_model=start.base_model,
            base_path=start.data_dir,
        )
        self.art: Any = None

    async def open(self) -> None:
        self.art = self._make()
        await self.model.register(
            self.art,
            _openai_client_config={
                "server_args": {
                    "host": self.start.inference_host,
                    "port": self.start.inference_port,
                    "api_key": self.start.inference_api_key,
                }
            },
        )

    def _make(self) -> Any:
        raise NotImplementedError

    async def close(self) -> None:
        if self.art is not None:
            await self.art.close()

    async def values(
        self, steps: Sequence[int], groups: Sequence[Group], on_progress: OnProgress
    ) -> list[StepValue]:
        del steps, groups, on_progress  # the weights are not at hand
        raise TrainingError(
            f"backend {self.start.backend} cannot score recorded answers; held-out evaluation "
            "needs the cpu backend, or set BABYLON_PROMOTE_WITHOUT_EVALUATION"
        )

    async def _run(
        self,
        request: TrainRequest,
        groups: Sequence[Group],
        on_progress: OnProgress,
        options: dict[str, Any],
    ) -> Any:
        """Call ART's train and report each gradient step as its events come in."""
        inner: Callable[..., Any] = self.art._train_model
        done = 0

        async def watched(*args: Any, **kwargs: Any) -> Any:
            nonlocal done
            async for metrics in inner(*args, **kwargs):
                done += 1
                on_progress(
                    RequestProgress(
                        done=done,
                        total=int(metrics.get("data/step_num_gradient_steps", 0)),
                        tokens=int(metrics.get("data/step_trainer_tokens", 0)),
                        loss=metrics.get("loss/train"),
                    )
                )
                yield metrics

        self.art._train_model = watched
        try:
            return await self.art.train(
                self.model,
                art_groups(groups),
                learning_rate=request.learning_rate,
                **options,
            )
        finally:
            self.art._train_model = inner


def finite(metrics: dict[str, float]) -> dict[str, float]:
    """Drop the metrics that JSON cannot carry (NaN, infinities)."""
    return {key: float(value) for key, value in metrics.items() if math.isfinite(value)}
