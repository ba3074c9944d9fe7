"""Prune old rows of our own tables, window by window."""

from __future__ import annotations

from collections import Counter

import structlog
from msgspec import structs

from babylon_tasks.db import calls, kept_members, old_rows, screens, unopened_windows
from babylon_tasks.db.session import session
from babylon_tasks.pipeline.results import PrunedRows
from babylon_tasks.settings import Settings

# Windows of one call; the next call finds the rest.
PRUNE_LIMIT = 200

log = structlog.get_logger(__name__)


def prune_rows(
    settings: Settings, *, actor: str, limit: int = PRUNE_LIMIT, dry_run: bool = False
) -> PrunedRows:
    """Delete rows that nothing needs any more; safe at any time and from any number of callers.

    Each window is a transaction of its own. A dry run only lists the windows. Captured calls go by
    whole days, and the partitions of the next days are made.
    """
    kept = settings.rows_kept_hours
    with session(settings) as connection:
        windows = old_rows.ended(connection, kept, limit=limit)
        if dry_run:
            return PrunedRows(windows)
        # Before the rows of its windows, with which its manifest is shortened.
        replays = kept_members.prune(connection, settings.keep_replay_days * 24, limit=limit)
        pruned: list[str] = []
        rows: Counter[str] = Counter()
        for window in windows:
            deleted = old_rows.prune(connection, window, kept, actor=actor)
            if deleted is not None:
                pruned.append(window)
                rows.update(structs.asdict(deleted))
        outcomes = old_rows.prune_outcomes(connection, kept)
        samples = screens.prune(connection, kept)
        unopened_windows.forget(connection)
        calls.make_partitions_ahead(connection)
        call_days = calls.drop_old_partitions(connection, settings.calls_kept_hours)
    other = {"outcomes": outcomes, "call_days": call_days, "replays": replays, "samples": samples}
    if pruned or any(other.values()):
        log.info("rows.pruned", windows=len(pruned), **other, **rows)
    return PrunedRows(pruned, **other, **rows)
