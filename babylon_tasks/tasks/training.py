"""Queue ``gpu``: one training step, then the gate's decision about the newest checkpoint."""

from __future__ import annotations

from typing import Any

import structlog
from msgspec import to_builtins

from babylon_tasks import metrics, task_names
from babylon_tasks.errors import BrokerUnavailable, TrainingError
from babylon_tasks.pipeline.backlog import more_waits
from babylon_tasks.pipeline.evaluate import GateResult, evaluate
from babylon_tasks.pipeline.train import train_window as train
from babylon_tasks.tasks.app import app
from babylon_tasks.tasks.base import BabylonTask
from babylon_tasks.tasks.flower import summaries
from babylon_tasks.tasks.trainer_manager import trainer_manager
from babylon_tasks.training.protocol import Progress

_log = structlog.get_logger(__name__)


@app.task(base=BabylonTask, bind=True, name=task_names.TRAIN_WINDOW)  # type: ignore[untyped-decorator]
def train_window(self: BabylonTask, window: str | None = None) -> Any:
    """Train a window, or the oldest that wait; then promote the newest checkpoint or hold it."""

    def tell(progress: Progress) -> None:
        counted = (progress.done, progress.total, "gradient steps", progress.tokens)
        self.report(
            summaries.progress("training", *counted), stage="train", **to_builtins(progress)
        )

    def tell_evaluation(progress: Progress) -> None:
        words = summaries.progress("evaluating", progress.done, progress.total, "held-out groups")
        self.report(words, stage="evaluate", **to_builtins(progress))

    def told(gate_result: GateResult | None) -> dict[str, Any]:
        summary = summaries.training(outcome, gate_result)
        return self.told(summary, window=summaries.named(outcome.windows), step=outcome.step)

    with trainer_manager.lock() as trainer:
        outcome = train(self.settings, trainer, window=window, actor=self.actor, on_progress=tell)
        if outcome.action == "failed":
            raise TrainingError(f"window {', '.join(outcome.windows)}: {outcome.reason}")
        if outcome.action == "busy":
            return told(None)
        gate_result = evaluate(
            self.settings, trainer, actor=self.actor, on_progress=tell_evaluation
        )
    metrics.EVALUATIONS.labels(self.settings.lineage, gate_result.action).inc()
    if outcome.action in ("committed", "adopted") and more_waits(self.settings):
        _wake_the_next()
    return told(gate_result)


def _wake_the_next() -> None:
    # The messages of a backlog expire while a long step runs; waiting for beat would leave the
    # GPU idle for a minute after each step.
    from babylon_tasks.tasks.send import send_train  # sending knows both tasks, this one too

    try:
        send_train(None)
    except BrokerUnavailable as error:
        _log.warning("train_window.next_not_sent", why=str(error))
