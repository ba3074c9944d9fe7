"""The checks of `doctor` on Babylon itself: its tables, its rows, whether it trains as well."""

from __future__ import annotations

from collections.abc import Iterator

from babylon_tasks.cli.findings import Finding
from babylon_tasks.db import unopened_windows
from babylon_tasks.db.babylon import (
    TABLES,
    WITHOUT_TABLES,
    absence,
    missing,
    trained_by_others,
    unnamed_rows,
)
from babylon_tasks.db.session import Connection
from babylon_tasks.reasons import UnopenedReason

_DAYS = 7
_MANY = 10_000  # rows: some tens of milliseconds for each window
_WITHOUT = {
    "market_outcomes": "no outcome is known, so no bet counts as right or wrong",
    "llm_call_logs": "the recorder writes calls into trajectories only",
    "training_batches": "training steps are not reported to Babylon",
    "trained_models": "Babylon cannot read which checkpoint serves",
}


def babylon(connection: Connection) -> Iterator[Finding]:
    """Check that Babylon's tables exist and that Babylon's own training does not run."""
    wrong = absence(connection)
    if wrong is not None:
        yield Finding("babylon", "fail", wrong, WITHOUT_TABLES)
        return
    lacking = [name for name in missing(connection, *TABLES) if name in _WITHOUT]
    for name in lacking:
        todo = (
            "apply Babylon's own migrations, and grant this user its rights there; or ignore this"
        )
        yield Finding("babylon", "warn", f"no table {name}: {_WITHOUT[name]}", todo)
    others = trained_by_others(connection, days=_DAYS)
    if others:
        seen = ", ".join(
            f"{found.count} {what} (newest {found.newest:%Y-%m-%d %H:%M} UTC)"
            for what, found in others.items()
        )
        yield Finding(
            "babylon",
            "warn",
            f"other training on this database, in the last {_DAYS} days: {seen}",
            "switch Babylon's own training off (docs/quickstart.md): what it has used cannot be "
            "used here, and it deploys its own models",
        )
    elif not lacking:
        yield Finding("babylon", "ok", f"all tables exist, no other training in {_DAYS} days")


def rows(connection: Connection) -> Iterator[Finding]:
    """Report rows of Babylon's without a window, and why; needs our schema."""
    found = unopened_windows.counts(connection)
    for unopened in found:
        yield Finding(
            "rows",
            # Hours before the look-back are left alone as the settings say.
            "ok" if unopened.reason is UnopenedReason.BEFORE_LOOKBACK else "warn",
            f"not opened: {unopened.what}",
            unopened.todo,
        )
    if not found:
        yield Finding("rows", "ok", "every hour of Babylon's rows has a window, or will have")
    unnamed = unnamed_rows(connection, _MANY)
    if unnamed.count >= _MANY and not unnamed.indexed:
        yield Finding(
            "rows",
            "warn",
            f"{_MANY:,} rows or more have no windowId, and scoring any hour reads all of them",
            "let the owner of Babylon's tables run `CREATE INDEX CONCURRENTLY ON trajectories "
            '("startTime") WHERE "windowId" IS NULL` (docs/scale.md)',
        )
