"""Record what planning refuses or uses up in a window, and close a window with nothing left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from babylon_tasks import metrics
from babylon_tasks.db import (
    changed_rows,
    consumption,
    events,
    lineages,
    scored_trajectories,
    step_windows,
)
from babylon_tasks.db.consumption import Use
from babylon_tasks.db.lineages import Lease
from babylon_tasks.db.session import Connection
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.pipeline.select_groups import Selection
from babylon_tasks.pipeline.selection_figures import nothing_to_learn
from babylon_tasks.reasons import Reason, Stage, UsedAs, WindowReason
from babylon_tasks.records import Rejection
from babylon_tasks.settings import Settings

# The most outdated windows that one call closes.
_OUTDATED_AT_ONCE = 50


def record_selection(
    connection: Connection, lease: Lease, selection: Selection, *, actor: str
) -> bool:
    """Record refused, used-up and changed rows; False where the window has changed meanwhile.

    These are facts about rows, true whether or not the groups join a step. Raises StaleLease.
    """
    with connection.transaction():
        lineages.lock_lineage(connection, lease)
        if not _is_still_scored(connection, lease, selection.window, selection.reward_version):
            return False
        _refuse(connection, lease, selection.window, selection.reward_version, selection.rejections)
        consumption.consume(connection, lease, _uses(selection, selection.used_up), step_id=None)
        if selection.changed:
            changed_rows.mark_changed(
                connection,
                selection.window,
                len(selection.changed),
                lineage=lease.lineage,
                actor=actor,
            )
        detail = {
            "groups": len(selection.groups),
            "trajectories": sum(selection.groups.sizes),
            "tokens": selection.tokens,
            "left_over": len(selection.left),
            "changed": len(selection.changed),
            "rejected": dict(Counter(rejection.reason for rejection in selection.rejections)),
            "used_up": dict(Counter(use for _, use in selection.used_up)),
            "calls_left_out": selection.calls_left_out,
        }
        events.record(
            connection,
            EventKind.GROUPED,
            actor=actor,
            window=selection.window,
            lineage=lease.lineage,
            detail=detail,
        )
        advice = nothing_to_learn(selection)
        if advice is not None:
            events.record(
                connection,
                EventKind.ADVICE,
                actor=actor,
                window=selection.window,
                lineage=lease.lineage,
                detail=advice,
            )
    return True


def close_window(
    connection: Connection, lease: Lease, selection: Selection, *, actor: str
) -> str | None:
    """Close a window of which no group came, unless rows are to be scored anew.

    ``selection`` has been recorded. Its left-over trajectories have nothing to be compared with.
    Returns the reason; None where another process has moved the window. Raises StaleLease.
    """
    with connection.transaction():
        lineages.lock_lineage(connection, lease)
        if not _is_still_scored(connection, lease, selection.window, selection.reward_version):
            return None
        if selection.changed:
            return WindowReason.ROWS_CHANGED
        alone = [(trajectory_id, UsedAs.TOO_SMALL) for trajectory_id in selection.left]
        consumption.consume(connection, lease, _uses(selection, alone), step_id=None)
        reason = step_windows.close(connection, lease, selection.window, actor=actor)
        if reason == Reason.NO_LOGPROBS:
            todo = (
                "record logprobs with each LLM call (ART trains on nothing else), or set "
                "BABYLON_LOGPROBS=exact,none and accept steps of that label"
            )
            events.record(
                connection,
                EventKind.ADVICE,
                actor=actor,
                window=selection.window,
                detail={"todo": todo},
            )
    return reason


def close_outdated(
    connection: Connection, settings: Settings, lease: Lease, *, actor: str
) -> dict[str, str]:
    """Close the windows that are too old, without reading their text; return their reasons."""
    hours = settings.max_staleness_hours
    detail = (
        f"its hour is more than {hours} hours before the newest sealed one "
        "(BABYLON_MAX_STALENESS_HOURS)"
    )
    closed = {}
    outdated = step_windows.outdated(connection, hours, _OUTDATED_AT_ONCE, lineage=lease.lineage)
    for window, version in outdated.items():
        listed = scored_trajectories.list_unused(connection, window, version, lease.lineage)
        stale = [
            Rejection(one.trajectory_id, Stage.DATASET, Reason.STALE, detail) for one in listed
        ]
        with connection.transaction():
            lineages.lock_lineage(connection, lease)
            if not _is_still_scored(connection, lease, window, version):
                continue
            _refuse(connection, lease, window, version, stale)
            closed[window] = step_windows.close(connection, lease, window, actor=actor)
    return closed


def _is_still_scored(connection: Connection, lease: Lease, window: str, version: int) -> bool:
    return step_windows.lock_scored(connection, {window: version}, lineage=lease.lineage)


def _refuse(
    connection: Connection,
    lease: Lease,
    window: str,
    version: int,
    rejections: Sequence[Rejection],
) -> None:
    consumption.reject(connection, lease, window, version, rejections)
    for rejection in rejections:
        metrics.TRAJECTORIES_REJECTED.labels(rejection.reason).inc()


def _uses(selection: Selection, used_up: Sequence[tuple[str, UsedAs]]) -> list[Use]:
    return [
        Use(
            trajectory_id=trajectory_id,
            reward_version=selection.reward_version,
            window_id=selection.window,
            use=use,
        )
        for trajectory_id, use in used_up
    ]
