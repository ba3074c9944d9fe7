"""Open the hours that have begun, seal those that are over, and list what is to be done."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from babylon_tasks.db import clock, due_windows, open_and_seal, outcomes
from babylon_tasks.db.session import session
from babylon_tasks.errors import BadWindowId
from babylon_tasks.pipeline.live_lineages import other_lineages
from babylon_tasks.pipeline.results import Discovered
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_id, window_start

# Limits of one call; the next call finds the rest.
SEEN_LIMIT = 10_000
SEAL_LIMIT = 200
ENQUEUE_LIMIT = 100

log = structlog.get_logger(__name__)


def discover(settings: Settings, *, actor: str, since: datetime | None = None) -> Discovered:
    """Process Babylon's new rows; safe at any time and from any number of callers.

    Windows are opened from ``since`` on, by default the last ``lookback_hours``; once opened, a
    window is followed whatever its age. Outcomes are copied after the sealing, so that its scoring
    knows everything that was known when an hour's last trajectory was written. Everything is
    committed when this returns.
    """
    with session(settings) as connection:
        now = clock.now(connection)
        start = since or now - timedelta(hours=settings.lookback_hours)
        opening, malformed = begun(
            open_and_seal.seen(connection, window_id(start), SEEN_LIMIT), now
        )
        if malformed:
            log.warning(
                "rows.ignored",
                why="their windowId is not an hour",
                window_ids=malformed[:5],
                count=len(malformed),
                todo="write windowId as YYYY-MM-DDTHH:00 (UTC)",
            )
        with connection.transaction():
            opened = open_and_seal.open_windows(connection, opening, settings, actor=actor)
        with connection.transaction():
            # What somebody backfills is complete; live hours wait for their last rows as ever.
            complete = now - timedelta(hours=settings.lookback_hours) if since else None
            sealed = open_and_seal.seal_due(
                connection, settings, limit=SEAL_LIMIT, actor=actor, complete_before=complete
            )
        changed = outcomes.follow(connection, settings, since=since)
        with connection.transaction():
            to_score = due_windows.pick_to_score(connection, settings, limit=ENQUEUE_LIMIT)
            to_train = due_windows.pick_to_train(connection, settings, limit=ENQUEUE_LIMIT)
            others = {
                name: due_windows.pick_to_train(connection, theirs, limit=ENQUEUE_LIMIT)
                for name, theirs in other_lineages(connection, settings).items()
            }
    return Discovered(
        opened=opened,
        sealed=sealed,
        to_score=to_score,
        to_train=to_train,
        others={name: [*found] for name, found in others.items() if found},
        malformed=malformed,
        outcomes=changed,
    )


def begun(seen: list[str], now: datetime) -> tuple[list[str], list[str]]:
    """Split the window ids of Babylon's rows into hours that have begun and invalid ids."""
    hours: list[str] = []
    malformed: list[str] = []
    for window in seen:
        try:
            if window_start(window) <= now:  # else the writer's clock is ahead
                hours.append(window)
        except BadWindowId:
            malformed.append(window)
    return hours, malformed
