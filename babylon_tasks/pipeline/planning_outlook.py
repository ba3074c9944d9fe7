"""What planning will do with recorded windows, for a report that plans nothing. Read-only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from babylon_tasks.dataset.eligibility import Policies, policies_of
from babylon_tasks.db import clock, data_report, lineages, open_and_seal
from babylon_tasks.db.data_report import RecordedWindow
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import BadWindowId
from babylon_tasks.held_out_hours import NEWEST_HOURS, RefusedRow, may_be_out_of_turn
from babylon_tasks.settings import Settings
from babylon_tasks.states import WindowState
from babylon_tasks.windows import WINDOW, is_held_out, moved, window_start

# None: not opened yet.
_BEFORE_A_STEP = (
    *(None, WindowState.OPEN, WindowState.SEALED, WindowState.SCORING, WindowState.SCORED),
)


class PlanningOutlook(Struct, frozen=True):
    """The policies that the next step may learn from, and which windows it will not take.

    ``oldest``: windows that begin before it are closed as stale (None: there is no window).
    ``refused``: refusals for which hours are held out out of turn.
    """

    settings: Settings
    policies: Policies
    oldest: datetime | None
    refused: RefusedRow | None

    def is_held_out(self, row: RecordedWindow) -> bool:
        """Check whether a window is held out, or is drawn by hash to be when it is opened."""
        if row.held_out is not None:
            return row.held_out
        settings = self.settings
        return is_held_out(row.window, settings.lineage, settings.held_out_share)

    def warn(self, windows: Sequence[RecordedWindow]) -> list[str]:
        """Warn of windows that may be held out though they are not drawn by hash."""
        refused = self.refused
        if refused is None or not self.settings.held_out_share:
            return []
        may_be = [
            row.window
            for row in windows
            if row.held_out is None
            and start_of(row.window) is not None
            and not self.is_held_out(row)
            and may_be_out_of_turn(row.window, refused)
        ]
        if not may_be:
            return []
        return [
            f"of {len(may_be)} hours from {min(may_be)} on, which are counted as trainable, "
            f"{NEWEST_HOURS - len(refused.useful)} may be held out when they are opened: "
            f"{refused.refused} checkpoints in a row were refused"
        ]

    def closes(self, row: RecordedWindow) -> bool:
        """Check whether what is left of a window will be refused as stale: its hour is too old."""
        start = start_of(row.window)
        if self.oldest is None or start is None or row.state not in _BEFORE_A_STEP:
            return False
        return start < self.oldest and not self.is_held_out(row)


def look_ahead(
    connection: Connection,
    settings: Settings,
    windows: Sequence[RecordedWindow],
    *,
    migrated: bool,
) -> PlanningOutlook:
    """Find out what planning will take once those of ``windows`` that are over are scored.

    ``windows`` has the newest. Before the first migration there are only Babylon's rows.
    """
    policies = _policies(connection, settings, migrated=migrated)
    over = clock.now(connection) - WINDOW
    starts = [start for row in windows if (start := start_of(row.window)) and start <= over]
    sealed = data_report.newest_sealed(connection) if migrated else None
    if sealed is not None:
        starts.append(sealed)
    limit = timedelta(hours=settings.max_staleness_hours)
    refused = open_and_seal.refused_row(connection, settings) if migrated else None
    oldest = moved(max(starts), -limit) if starts else None
    return PlanningOutlook(settings, policies, oldest, refused)


def start_of(window: str) -> datetime | None:
    """Return a window's start; None for a malformed id, which discovery ignores as well."""
    try:
        return window_start(window)
    except BadWindowId:
        return None


def _policies(connection: Connection, settings: Settings, *, migrated: bool) -> Policies:
    lineage = lineages.get(connection, settings.lineage) if migrated else None
    if lineage is None:  # the next step is its first
        return policies_of(settings, head_step=0, serving_step=0, inference_names={}, parents={})
    return policies_of(
        settings,
        head_step=lineage.head_step,
        serving_step=lineage.serving_step,
        inference_names=lineages.inference_names(connection, lineage.name),
        parents=lineages.parents(connection, lineage.name),
    )
