"""Queue ``cpu``: score a window."""

from __future__ import annotations

from typing import Any

from babylon_tasks import task_names
from babylon_tasks.pipeline.live_lineages import live_lineages
from babylon_tasks.pipeline.score import score_window as score
from babylon_tasks.states import WindowState
from babylon_tasks.tasks.app import app
from babylon_tasks.tasks.base import BabylonTask
from babylon_tasks.tasks.flower import summaries
from babylon_tasks.tasks.send import send_next, wake_trainer


@app.task(base=BabylonTask, bind=True, name=task_names.SCORE_WINDOW)  # type: ignore[untyped-decorator]
def score_window(self: BabylonTask, window: str) -> Any:
    """Score one sealed window; one scored already, or claimed by another, is left alone."""

    def report(done: int, total: int | None) -> None:
        summary = summaries.progress("scoring", done, total, "trajectories")
        self.report_progress(summary, stage="score", done=done, total=total)

    def report_answers(done: int, total: int | None) -> None:
        summary = summaries.progress("judging", done, total, "answers of the judge")
        self.report_progress(summary, stage="judge", done=done, total=total)

    scoring = score(
        self.settings, window, actor=self.actor, on_progress=report, on_answer=report_answers
    )
    if scoring.claimed and scoring.state is WindowState.SCORED and not scoring.waits_for:
        for lineage in live_lineages(self.settings):
            wake_trainer(window, lineage=lineage)
    if scoring.claimed:  # a repeated message brings no other
        send_next(self.settings)
    return self.task_result(summaries.scoring(scoring))
