"""Queue ``cpu``: score a window."""

from __future__ import annotations

from typing import Any

from babylon_tasks import task_names
from babylon_tasks.pipeline.score import score_window as score
from babylon_tasks.tasks.app import app
from babylon_tasks.tasks.base import BabylonTask
from babylon_tasks.tasks.flower import summaries


@app.task(base=BabylonTask, bind=True, name=task_names.SCORE_WINDOW)  # type: ignore[untyped-decorator]
def score_window(self: BabylonTask, window: str) -> Any:
    """Score one sealed window; a window already scored, or in other hands, is left alone."""

    def tell(done: int, total: int | None) -> None:
        words = summaries.progress("scoring", done, total, "trajectories")
        self.report(words, stage="score", done=done, total=total)

    return self.told(
        summaries.scoring(score(self.settings, window, actor=self.actor, on_progress=tell))
    )
