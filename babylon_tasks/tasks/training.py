"""Queue ``gpu``: one training step, then the judgement of what came of it."""

from __future__ import annotations

import structlog
from msgspec import to_builtins
from structlog.contextvars import get_contextvars

from babylon_tasks import metrics
from babylon_tasks.errors import BrokerUnavailable, TrainingError
from babylon_tasks.pipeline.backlog import more_waits
from babylon_tasks.pipeline.judge import judge
from babylon_tasks.pipeline.train import train_window as train
from babylon_tasks.tasks import wording
from babylon_tasks.tasks.app import app
from babylon_tasks.tasks.base import BabylonTask
from babylon_tasks.tasks.trainer import keeper
from babylon_tasks.training.protocol import Progress

_log = structlog.get_logger(__name__)


@app.task(base=BabylonTask, bind=True, name="babylon.train_window.v1")  # type: ignore[untyped-decorator]
def train_window(self: BabylonTask, window: str | None = None) -> str:
    """Train a window, or the oldest that wait; then promote the newest checkpoint or hold it."""
    lineage = self.settings.lineage

    def tell(progress: Progress) -> None:
        step = get_contextvars().get("step")  # bound by the pipeline, which has just planned it
        self.report(wording.training(window, lineage, step, progress), **to_builtins(progress))

    with keeper.held() as trainer:
        outcome = train(self.settings, trainer, window=window, actor=self.actor, on_progress=tell)
        if outcome.action == "failed":
            raise TrainingError(f"window {', '.join(outcome.windows)}: {outcome.reason}")
        if outcome.action == "busy":
            return wording.trained(lineage, outcome, None)
        judgement = judge(self.settings, trainer, actor=self.actor)
    metrics.JUDGEMENTS.labels(lineage, judgement.action).inc()
    if outcome.action in ("committed", "adopted") and more_waits(self.settings):
        _wake_the_next()
    return wording.trained(lineage, outcome, judgement)


def _wake_the_next() -> None:
    # The messages of a backlog expire while a long step runs; waiting for beat would leave the
    # GPU idle for a minute after each step.
    from babylon_tasks.tasks.send import send_train  # sending knows both tasks, this one too

    try:
        send_train(None)
    except BrokerUnavailable as error:
        _log.warning("train_window.next_not_sent", why=str(error))
