"""What a checkpoint must show before it serves, and what keeps it from that: for `doctor`."""

from __future__ import annotations

from collections.abc import Iterator

from babylon_tasks.cli.findings import Finding, finding
from babylon_tasks.comparison.conclusion import Conclusion
from babylon_tasks.db import pauses
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.begin_comparison import comparison_outlook
from babylon_tasks.pipeline.comparison_figures import comparison_figures
from babylon_tasks.pipeline.promotion_outlook import promotion_outlook
from babylon_tasks.settings import Settings


def promotion(connection: Connection, settings: Settings) -> Iterator[Finding]:
    """Check that something can be promoted and compared, and that training is not paused."""
    outlook = promotion_outlook(connection, settings)
    yield finding(
        "promotion", outlook.lacks is None, outlook.text, outlook.todo or "", otherwise="warn"
    )
    yield _comparison(connection, settings)
    paused = pauses.in_force(connection, settings.lineage)
    if paused is not None:
        todo = (
            "`babylon-tasks why` and `compare status` show the windows; find the cause, then "
            "`babylon-tasks compare resume --reason TEXT`"
        )
        yield Finding("pause", "fail", paused.text, todo)


def _comparison(connection: Connection, settings: Settings) -> Finding:
    outlook = comparison_outlook(connection, settings)
    if outlook.lacks is not None:
        return Finding("comparison", "warn", outlook.lacks.text, outlook.lacks.todo)
    figures = comparison_figures(connection, settings.lineage)
    if figures is not None and figures.refused is not None:
        todo = "run that version, or begin another comparison: docs/operations.md"
        return Finding("comparison", "warn", figures.refused, todo)
    if figures is not None and figures.conclusion == Conclusion.PAUSE_COMPARISON:
        detail = f"{figures.last_window} is no evidence: {figures.reason}"
        todo = "`babylon-tasks compare status` counts such windows; docs/promotion.md#a-window"
        return Finding("comparison", "warn", detail, todo)
    return Finding("comparison", "ok", outlook.text)
