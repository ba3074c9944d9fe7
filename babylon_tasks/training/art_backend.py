"""What all backends share: an ART backend, a model registered with it, progress of each step."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import cached_property
from statistics import fmean
from typing import Any

from babylon_tasks import step_metrics
from babylon_tasks.dataset.answer_lengths import answer_figures, supervised_figures
from babylon_tasks.dataset.training_defaults import CARRIED_BY_SOME
from babylon_tasks.errors import CannotEvaluate, TrainingError
from babylon_tasks.records import Group
from babylon_tasks.step_records import StepResult
from babylon_tasks.training.art_interface import GRADIENT_STEPS_METRIC, TOKENS_METRICS, make_model
from babylon_tasks.training.conversations import art_groups
from babylon_tasks.training.curves import Curves
from babylon_tasks.training.curves_process import StartCurves
from babylon_tasks.training.import_art import collector_at_rest
from babylon_tasks.training.protocol import (
    BackendStep,
    Checked,
    CheckRequest,
    LoggedStep,
    OnProgress,
    RequestProgress,
    StepValue,
    TrainRequest,
)
from babylon_tasks.training.step_figures import under_one_name
from babylon_tasks.training.step_history import StepHistory
from babylon_tasks.training.trainer_start import ComputesOn, StartTrainer


class ArtBackend:
    """An ART backend with a model registered with it; its three subclasses make the backend."""

    def __init__(self, start: StartTrainer) -> None:
        self.start = start
        self.computes_on: ComputesOn | None = None
        self.longest_row: int | None = None
        self.carries: tuple[str, ...] = CARRIED_BY_SOME
        self.model: Any = make_model(
            start.lineage,
            project=start.project,
            entity=start.entity,
            base_model=start.base_model,
            base_path=start.data_dir,
        )
        self.art: Any = None

    async def open(self) -> None:
        with collector_at_rest():  # it imports
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

    @property
    def base_url(self) -> str:
        """Where agents ask."""
        return str(self.model.inference_base_url)

    async def close(self) -> None:
        if self.art is not None:
            await self.art.close()

    async def step(self) -> BackendStep:
        raise NotImplementedError

    async def discard(self, step: int) -> BackendStep:
        newest = (await self.step()).step
        if step != newest or step == 0:
            raise TrainingError(f"asked to discard step {step}, but the newest step is {newest}")
        await self._remove(step)
        return await self.step()

    async def _remove(self, step: int) -> None:
        raise NotImplementedError

    async def set_aside(self, step: int, folder: str) -> BackendStep:
        """Move the newest checkpoint aside, where it is a folder; elsewhere it stays the newest."""
        del step, folder
        return await self.step()

    async def discard_branch(self, parent: int, steps: Sequence[int], folder: str) -> BackendStep:
        """Discard dead checkpoints; a backend that can branch needs none of it."""
        del folder
        raise TrainingError(
            f"backend {self.start.backend} starts from checkpoint {parent} whatever became of "
            f"{', '.join(map(str, steps))}; nothing was discarded"
        )

    async def delete(self, steps: Sequence[int]) -> None:
        # Without the trainer, which a command cannot start beside the worker's: old_files.py.
        raise TrainingError(
            f"checkpoints {', '.join(map(str, steps))} of backend {self.start.backend} are files "
            "on this machine; they are deleted without the trainer"
        )

    @cached_property
    def _history(self) -> StepHistory:
        return StepHistory(self.model)

    @cached_property
    def _curves(self) -> Curves | None:
        start = self.start
        if start.wandb_api_key is None or os.environ.get("WANDB_MODE") == "disabled":
            return None  # ART's model.log does not know the run that a disabled client makes
        folder = f"{self.model._get_output_dir()}/wandb"
        return Curves(
            StartCurves(
                lineage=start.lineage,
                project=start.project,
                entity=start.entity,
                base_model=start.base_model,
                folder=folder,
                api_key=start.wandb_api_key,
            ),
            sys.stderr.buffer,
        )

    async def log_steps(self, steps: Sequence[LoggedStep]) -> int:
        for one in await self._history.add(steps):
            if self._curves is not None:
                self._curves.draw(one)
        return self._history.newest()

    async def _start_from(self, request: TrainRequest, newest: int) -> int:
        """Check that the backend is at the step's base and can start from its parent; return it."""
        if newest != request.base_step:
            raise TrainingError(
                f"the step starts from {request.base_step} but the backend is at {newest}; "
                "nothing was trained"
            )
        parent = newest if request.parent_step is None else request.parent_step
        await self._branch(newest, parent)
        return parent

    async def _branch(self, newest: int, parent: int) -> None:
        """Let the next step start from the parent's weights; raises TrainingError if it cannot."""
        if parent != newest:
            raise TrainingError(
                f"backend {self.start.backend} trains on from its newest step {newest} only, "
                f"not from {parent}"
            )

    def _result(
        self,
        request: TrainRequest,
        metrics: Mapping[str, float],
        step: int,
        *,
        adapter: str | None,
        base_adapter: str | None,
        uri: str,
        files: dict[str, str] | None = None,
    ) -> StepResult:
        """Build the result of a step from ART's metrics and the adapters' hashes."""
        measured = under_one_name(metrics)
        steps = _count(measured, GRADIENT_STEPS_METRIC)
        tokens = _count(measured, *TOKENS_METRICS)
        counts = {"gradient steps": steps, "trained tokens": tokens}
        return StepResult(
            step=step,
            gradient_steps=steps or 0,
            trainable_tokens=tokens or 0,
            adapter_hash=adapter,
            base_adapter_hash=base_adapter,
            uri=uri,
            inference_name=self.model.get_inference_name(step),
            manifest_hash=request.manifest_hash,
            metrics={k: v for k, v in measured.items() if math.isfinite(v)},
            files=files or {},
            not_finite={k: str(v) for k, v in measured.items() if not math.isfinite(v)},
            not_reported=tuple(name for name, count in counts.items() if count is None),
        )

    async def check(self, request: CheckRequest) -> Checked:
        del request  # the files are not at hand
        return Checked({})

    async def values(
        self, steps: Sequence[int], groups: Sequence[Group], on_progress: OnProgress
    ) -> list[StepValue]:
        del steps, groups, on_progress  # the weights are not at hand
        raise CannotEvaluate(
            f"backend {self.start.backend} cannot evaluate checkpoints, only cpu can; set "
            "BABYLON_PROMOTION_MODE=screened, or manual"
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
        self.art._train_model = lambda *args, **kwargs: _watched(
            inner(*args, **kwargs), on_progress
        )
        try:
            result = await self.art.train(
                self.model,
                art_groups(groups),
                learning_rate=request.learning_rate,
                scale_rewards=request.scale_rewards,
                advantage_balance=request.advantage_balance,
                max_negative_advantage_importance_sampling_weight=request.max_importance_ratio,
                **options,
            )
        finally:
            self.art._train_model = inner
        ours = {**figures(request, groups), **await self._ratios()}
        result.metrics = {**ours, **under_one_name(result.metrics)}
        return result

    async def _ratios(self) -> dict[str, float]:
        """Return the importance ratios of the step that was trained last, where they are ours."""
        return {}

    async def _supervise(
        self,
        request: TrainRequest,
        groups: Sequence[Group],
        gradient_steps: AsyncIterator[dict[str, float]],
        on_progress: OnProgress,
    ) -> dict[str, float]:
        """Take the gradient steps of a supervised step and report each; returns mean metrics."""
        measured: dict[str, list[float]] = {}
        async for metrics in _watched(gradient_steps, on_progress):
            for name, value in metrics.items():
                measured.setdefault(name, []).append(value)
        means = {name: fmean(values) for name, values in measured.items()}
        return {**figures(request, groups), **under_one_name(means)}


def figures(request: TrainRequest, groups: Sequence[Group]) -> dict[str, float]:
    """Describe a step by what it was asked for: the figures that need no backend."""
    if request.supervised is not None:
        return supervised_figures(groups, request.learning_rate)
    return {step_metrics.LEARNING_RATE: request.learning_rate, **answer_figures(groups)}


async def _watched(
    gradient_steps: AsyncIterator[dict[str, float]], on_progress: OnProgress
) -> AsyncIterator[dict[str, float]]:
    done = 0
    async for metrics in gradient_steps:
        done += 1
        on_progress(
            RequestProgress(
                done=done,
                total=_count(metrics, GRADIENT_STEPS_METRIC) or 0,
                tokens=_count(metrics, *TOKENS_METRICS) or 0,
                loss=metrics.get("loss/train"),
            )
        )
        yield metrics


def _count(metrics: Mapping[str, float], *names: str) -> int | None:
    """Read the first of these metrics that there is; None where there is none of them."""
    found = (metrics[name] for name in names if name in metrics)
    return next((int(count) for count in found if math.isfinite(count)), None)
