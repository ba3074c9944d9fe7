"""Open the hours that have begun, seal those that are over, and list what is to be done."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial

import structlog

from babylon_tasks import tracing
from babylon_tasks.db import clock, due_windows, open_and_seal, outcomes, unopened_windows
from babylon_tasks.db.open_and_seal import SeenIds
from babylon_tasks.db.session import Connection, session
from babylon_tasks.errors import BadWindowId
from babylon_tasks.pipeline.live_lineages import other_lineages
from babylon_tasks.pipeline.results import Discovered
from babylon_tasks.pipeline.windows_to_train import pick_to_train
from babylon_tasks.reasons import UnopenedReason
from babylon_tasks.settings import Settings
from babylon_tasks.windows import WINDOW, is_window_id, window_id, window_start

# Limits of one call; the next call, which follows at once, finds the rest.
SEEN_LIMIT = 10_000
SEAL_LIMIT = 200
ENQUEUE_LIMIT = 100

log = structlog.get_logger(__name__)


def discover(settings: Settings, *, actor: str, since: datetime | None = None) -> Discovered:
    """Process Babylon's new rows; safe at any time and from any number of callers.

    Windows are opened from ``since`` on, by default the last ``lookback_hours``; once opened, a
    window is followed whatever its age. Why any other id of Babylon's rows has no window is put on
    record, some ids in each call. Outcomes are copied after the sealing, so that its scoring
    knows everything that was known when an hour's last trajectory was written. Everything is
    committed when this returns.
    """
    with session(settings) as connection:
        now = clock.of_hours(connection)
        start = since or now - timedelta(hours=settings.lookback_hours)
        before = unopened_windows.snapshot(connection)
        seen = open_and_seal.seen(connection, window_id(start), window_id(now), SEEN_LIMIT)
        with connection.transaction():
            opened = open_and_seal.open_windows(
                connection, to_open(seen, start, now), settings, actor=actor
            )
        if since is None:
            malformed = _account_for_others(connection, seen, before, start, now)
        else:
            malformed = bad_ids(connection, start)
        with connection.transaction():
            # What somebody backfills is complete; live hours wait for their last rows as ever.
            complete = now - timedelta(hours=settings.lookback_hours) if since else None
            sealed = open_and_seal.seal_due(
                connection, settings, limit=SEAL_LIMIT, actor=actor, complete_before=complete
            )
        more = len(opened) == SEEN_LIMIT or open_and_seal.more_to_seal(connection, settings)
        changed = outcomes.follow(connection, settings, since=since)
        with connection.transaction():
            to_score = due_windows.pick_to_score(connection, settings, limit=ENQUEUE_LIMIT)
            to_train = pick_to_train(connection, settings, limit=ENQUEUE_LIMIT)
            others = {
                name: pick_to_train(connection, theirs, limit=ENQUEUE_LIMIT)
                for name, theirs in other_lineages(connection, settings).items()
            }
    for window in sealed:
        tracing.record_window(window)
    return Discovered(
        opened=opened,
        sealed=sealed,
        to_score=to_score,
        to_train=to_train,
        others={name: [*found] for name, found in others.items() if found},
        malformed=malformed,
        outcomes=changed,
        more=more,
    )


def to_open(seen: SeenIds, start: datetime, now: datetime) -> list[str]:
    """List the hours without a window that discovery opens, oldest first."""
    return sorted(
        {
            window
            for window in (*seen.named, *seen.unnamed)
            if not why_not_opened(window, start, now)
        }
    )


def bad_ids(connection: Connection, start: datetime) -> list[str]:
    """List the first malformed window ids in Babylon's rows from a moment on."""
    ids = unopened_windows.ids_from(connection, window_id(start), SEEN_LIMIT)
    return [window for window in ids if not is_window_id(window)]


def why_not_opened(window: str, start: datetime, now: datetime) -> UnopenedReason | None:
    """Return why discovery from ``start`` on opens no window of this id; None if it does."""
    try:
        begins = window_start(window)
    except BadWindowId:
        return UnopenedReason.BAD_WINDOW_ID
    if begins > now:  # the writer's clock is ahead
        return UnopenedReason.NOT_BEGUN
    return UnopenedReason.BEFORE_LOOKBACK if begins + WINDOW <= start else None


def _account_for_others(
    connection: Connection, seen: SeenIds, before: str, start: datetime, now: datetime
) -> list[str]:
    """Put on record why other ids have no window; returns the malformed ones among the new."""
    with connection.transaction():
        found = unopened_windows.survey(
            connection,
            before,
            seen.unnamed,
            partial(why_not_opened, start=start, now=now),
            all_seen=seen.all_seen,
        )
    for reason in UnopenedReason:
        windows = [window for window, why in found.items() if why is reason]
        if windows:
            log.warning(
                "windows.not_opened",
                reason=reason,
                why=unopened_windows.meaning(reason),
                windows=windows[:5],
                count=len(windows),
                todo=unopened_windows.todo(reason, min(windows)),
            )
    return [window for window, why in found.items() if why is UnopenedReason.BAD_WINDOW_ID]
