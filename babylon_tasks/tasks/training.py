"""Queue ``gpu``: one training step, then the gate's decision about the newest checkpoint."""

from __future__ import annotations

from typing import Any

import structlog
from msgspec import to_builtins

from babylon_tasks import task_names
from babylon_tasks.actions import TrainAction
from babylon_tasks.errors import BrokerUnavailable, TrainingError
from babylon_tasks.pipeline.train import more_waits
from babylon_tasks.pipeline.train_and_evaluate import train_and_evaluate
from babylon_tasks.tasks.app import app
from babylon_tasks.tasks.base import BabylonTask
from babylon_tasks.tasks.flower import summaries
from babylon_tasks.tasks.send import send_train
from babylon_tasks.tasks.trainer_manager import trainer_manager
from babylon_tasks.training.protocol import RequestProgress

log = structlog.get_logger(__name__)


@app.task(base=BabylonTask, bind=True, name=task_names.TRAIN_WINDOW)  # type: ignore[untyped-decorator]
def train_window(self: BabylonTask, window: str | None = None) -> Any:
    """Train a window, or the oldest that wait; then promote the newest checkpoint or hold it."""

    def report_training(progress: RequestProgress) -> None:
        counted = (progress.done, progress.total, "gradient steps", progress.tokens)
        self.report_progress(
            summaries.progress("training", *counted), stage="train", **to_builtins(progress)
        )

    def report_evaluation(progress: RequestProgress) -> None:
        summary = summaries.progress("evaluating", progress.done, progress.total, "held-out groups")
        self.report_progress(summary, stage="evaluate", **to_builtins(progress))

    with trainer_manager.lock() as trainer:
        outcome, gate_result = train_and_evaluate(
            self.settings,
            trainer,
            window=window,
            actor=self.actor,
            on_training=report_training,
            on_evaluation=report_evaluation,
        )
    if outcome.action is TrainAction.FAILED:
        raise TrainingError(f"window {', '.join(outcome.windows)}: {outcome.reason}")
    if outcome.result is not None and more_waits(self.settings):
        _wake_the_next()
    summary = summaries.training(outcome, gate_result)
    return self.task_result(summary, window=summaries.named(outcome.windows), step=outcome.step)


def _wake_the_next() -> None:
    # The messages of a backlog expire while a long step runs; waiting for beat would leave the
    # GPU idle for a minute after each step.
    try:
        send_train(None)
    except BrokerUnavailable as error:
        log.warning("message.not_sent", why=str(error))
