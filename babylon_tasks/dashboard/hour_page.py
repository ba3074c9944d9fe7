"""The page of one hour: where it stands and why, who was in it, what was decided."""

from __future__ import annotations

from collections.abc import Sequence

from babylon_tasks.cli.event_lines import event_paragraphs
from babylon_tasks.cli.html_page import table, text
from babylon_tasks.cli.reason_words import why_not_used
from babylon_tasks.cli.report_answers import answers
from babylon_tasks.cli.window_lines import outcome_lines, state_lines
from babylon_tasks.dashboard.site_links import SITE
from babylon_tasks.dashboard.site_page import groups, lines, section, site_page
from babylon_tasks.db.reports import RejectionCount, WindowHistory
from babylon_tasks.run_records import Extremes, RunGroup
from babylon_tasks.states import WindowState

_NO_REWARDS = (
    "There are no rewards of this hour: it is not scored, nothing of it could be rewarded, or its "
    "rows are pruned; what happened to it is below."
)


def hour_page(found: WindowHistory, comparable: Sequence[RunGroup], extremes: Extremes) -> str:
    """Write it; ``comparable``: its trajectories by what they were asked."""
    window = found.window
    idle = window.state is WindowState.SCORED and not window.due  # the first line says why
    why = None if idle else why_not_used(window.state, window.reason)
    body = [
        *lines(state_lines(found)),
        *lines([] if why is None else [why]),
        *lines(outcome_lines(found)),
        *section("The best and the worst answers", answers(extremes, SITE, _NO_REWARDS)),
        *section("Who was compared with whom", groups(comparable)),
        *section("Not used", _rejected(found.rejections)),
        *section("What happened, in order", lines(event_paragraphs(found.events))),
    ]
    return site_page(f"Window {window.window_id}", body)


def _rejected(found: Sequence[RejectionCount]) -> list[str]:
    if not found:
        return []
    rows = (
        (str(one.count), text(one.reason), SITE.trajectory(one.example), text(one.detail or ""))
        for one in found
    )
    return table(("how many", "reason", "for example", "what was found"), rows)
