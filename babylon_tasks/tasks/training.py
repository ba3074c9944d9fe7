"""Queue ``gpu``: one training step, then the gate's decision about the newest checkpoint."""

from __future__ import annotations

from typing import Any

from msgspec import to_builtins

from babylon_tasks import task_names
from babylon_tasks.actions import GateAction, TrainAction
from babylon_tasks.errors import TrainingError
from babylon_tasks.pipeline.screen import ANSWERS
from babylon_tasks.pipeline.train import more_waits
from babylon_tasks.pipeline.train_and_evaluate import train_and_evaluate
from babylon_tasks.tasks.app import app
from babylon_tasks.tasks.base import BabylonTask
from babylon_tasks.tasks.flower import summaries
from babylon_tasks.tasks.send import wake_trainer
from babylon_tasks.tasks.trainer_manager import trainer_manager
from babylon_tasks.training.protocol import RequestProgress


@app.task(base=BabylonTask, bind=True, name=task_names.TRAIN_WINDOW)  # type: ignore[untyped-decorator]
def train_window(self: BabylonTask, window: str | None = None) -> Any:
    """Train a window, or the oldest that are due; then promote the newest checkpoint or hold it."""

    def report_begin() -> None:
        self.report_progress("training", stage="train")

    def report_training(progress: RequestProgress) -> None:
        count = (progress.done, progress.total, progress.counted, progress.tokens)
        self.report_progress(
            summaries.progress("training", *count), stage="train", **to_builtins(progress)
        )

    def report_evaluation(progress: RequestProgress) -> None:
        stage, counted = "evaluating", "held-out groups"
        if progress.counted == ANSWERS:
            stage, counted = "screening", progress.counted
        summary = summaries.progress(stage, progress.done, progress.total, counted)
        self.report_progress(summary, stage="evaluate", **to_builtins(progress))

    with trainer_manager.lock() as trainer:
        outcome, gate_result = train_and_evaluate(
            self.settings,
            trainer,
            window=window,
            actor=self.actor,
            on_training=report_training,
            on_evaluation=report_evaluation,
            on_begin=report_begin,
        )
    if outcome.action is TrainAction.FAILED:
        raise TrainingError(f"window {', '.join(outcome.windows)}: {outcome.reason}")
    if outcome.result is not None and more_waits(self.settings):
        # Waiting for beat would leave the GPU idle for up to a minute after each step.
        wake_trainer(None)
    summary = summaries.training(outcome, gate_result)
    result = self.task_result(summary, window=summaries.named(outcome.windows), step=outcome.step)
    if outcome.result is None and gate_result is not None and gate_result.action is GateAction.IDLE:
        result["step"] = outcome.step  # nothing was done with the one that was looked at
    return result
