"""Queue ``gpu``: one training step, then the judgement of what came of it."""

from __future__ import annotations

from typing import Any

import structlog
from msgspec import to_builtins

from babylon_tasks import metrics
from babylon_tasks.errors import BrokerUnavailable, TrainingError
from babylon_tasks.pipeline.backlog import more_waits
from babylon_tasks.pipeline.judge import Judgement, judge
from babylon_tasks.pipeline.train import train_window as train
from babylon_tasks.tasks import telling
from babylon_tasks.tasks.app import app
from babylon_tasks.tasks.base import BabylonTask
from babylon_tasks.tasks.trainer import keeper
from babylon_tasks.training.protocol import Progress

_log = structlog.get_logger(__name__)


@app.task(base=BabylonTask, bind=True, name="babylon.train_window.v1")  # type: ignore[untyped-decorator]
def train_window(self: BabylonTask, window: str | None = None) -> Any:
    """Train a window, or the oldest that wait; then promote the newest checkpoint or hold it."""

    def tell(progress: Progress) -> None:
        counted = (progress.done, progress.total, "gradient steps", progress.tokens)
        self.report(telling.progress("training", *counted), stage="train", **to_builtins(progress))

    def tell_judging(progress: Progress) -> None:
        words = telling.progress("judging", progress.done, progress.total, "held-out groups")
        self.report(words, stage="judge", **to_builtins(progress))

    def told(judgement: Judgement | None) -> dict[str, Any]:
        summary = telling.training(outcome, judgement)
        return self.told(summary, window=telling.named(outcome.windows), step=outcome.step)

    with keeper.held() as trainer:
        outcome = train(self.settings, trainer, window=window, actor=self.actor, on_progress=tell)
        if outcome.action == "failed":
            raise TrainingError(f"window {', '.join(outcome.windows)}: {outcome.reason}")
        if outcome.action == "busy":
            return told(None)
        judgement = judge(self.settings, trainer, actor=self.actor, on_progress=tell_judging)
    metrics.JUDGEMENTS.labels(self.settings.lineage, judgement.action).inc()
    if outcome.action in ("committed", "adopted") and more_waits(self.settings):
        _wake_the_next()
    return told(judgement)


def _wake_the_next() -> None:
    # The messages of a backlog expire while a long step runs; waiting for beat would leave the
    # GPU idle for a minute after each step.
    from babylon_tasks.tasks.send import send_train  # sending knows both tasks, this one too

    try:
        send_train(None)
    except BrokerUnavailable as error:
        _log.warning("train_window.next_not_sent", why=str(error))
