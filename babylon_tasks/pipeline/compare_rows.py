"""Compare what a step was trained on with what the database contains now, row by row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from msgspec import structs

from babylon_tasks.dataset.manifest import GroupEntry, Manifest, TrajectoryEntry, content_hash
from babylon_tasks.dataset.row_differences import (
    DifferenceKind,
    RowDifference,
    flags,
    member_differences,
)
from babylon_tasks.dataset.select_calls import member
from babylon_tasks.db import scored_trajectories
from babylon_tasks.db.kept_members import OutcomeChange
from babylon_tasks.db.session import Connection
from babylon_tasks.decode import decode
from babylon_tasks.pipeline.join_calls import CallJoin, JoinMode
from babylon_tasks.records import Member, RawTrajectory, Rejection, Trajectory
from babylon_tasks.settings import Settings


def compare_rows(
    connection: Connection,
    settings: Settings,
    manifest: Manifest,
    kept: Mapping[str, Member],
    outcomes: Sequence[OutcomeChange],
) -> list[RowDifference]:
    """List what Babylon has changed or deleted of a step's rows, in the manifest's order.

    ``kept``: members by trajectory; of one that is not there only the manifest's hash is compared.
    Nothing is written.
    """
    changed: dict[str, list[OutcomeChange]] = defaultdict(list)
    for outcome in outcomes:
        changed[outcome.window].append(outcome)
    return [
        difference
        for group in manifest.groups
        for difference in _of_group(
            connection,
            settings,
            group,
            kept,
            changed[group.window],
            joined=manifest.supervised is None,  # such a step has the rows as they are
        )
    ]


def _of_group(
    connection: Connection,
    settings: Settings,
    group: GroupEntry,
    kept: Mapping[str, Member],
    outcomes: Sequence[OutcomeChange],
    *,
    joined: bool,
) -> Iterator[RowDifference]:
    ids = [entry.trajectory_id for entry in group.members]
    rows = scored_trajectories.rows(connection, ids, settings.max_steps_bytes)
    decoded = {one: _decoded(raw) for one, raw in rows.items()}
    whole = [one for one in decoded.values() if isinstance(one, Trajectory)]
    if joined:
        join = CallJoin(connection, group.window, JoinMode.CLAIMED)
        whole = [one.trajectory for one in join.join(whole)]
    now = {one.trajectory_id: one for one in whole}
    for entry in group.members:
        one = entry.trajectory_id
        found: list[tuple[DifferenceKind, str]] = []
        if one not in rows:
            found.append((DifferenceKind.DELETED, "Babylon has deleted its row"))
        else:
            found += _of_columns(rows[one], group.window)
            current = decoded[one]
            if isinstance(current, Rejection):
                found.append((DifferenceKind.TEXT, f"{current.reason}: {current.detail}"))
            else:
                found += _of_calls(entry, kept.get(one), now[one])
                found += _of_outcomes(current, outcomes)
        for kind, detail in found:
            yield RowDifference(one, group.window, kind, detail)


def _decoded(raw: RawTrajectory) -> Trajectory | Rejection:
    """Decode a row whatever its flags are: they are differences of their own."""
    return decode(
        structs.replace(raw, is_evaluation=False, is_training_data=True, already_used=False)
    )


def _of_columns(raw: RawTrajectory, window: str) -> Iterator[tuple[DifferenceKind, str]]:
    if raw.window_id != window:
        yield DifferenceKind.MOVED, f"to {raw.window_id}"
    for flag in flags(raw):
        yield DifferenceKind.FLAGGED, flag


def _of_calls(
    entry: TrajectoryEntry, kept: Member | None, now: Trajectory
) -> list[tuple[DifferenceKind, str]]:
    places = entry.calls
    if places and max(places) >= len(now.calls):
        return [
            (
                DifferenceKind.TEXT,
                f"it has {len(now.calls)} calls, and call {max(places)} was trained on",
            )
        ]
    current = member(now, entry.reward, places)
    if content_hash(current) == entry.content:
        return []
    if kept is None:
        return [(DifferenceKind.TEXT, "its hash is not the manifest's")]
    return list(member_differences(kept, current)) or [
        (DifferenceKind.TEXT, f"it has {len(now.calls)} calls, and had another number")
    ]


def _of_outcomes(
    trajectory: Trajectory, outcomes: Sequence[OutcomeChange]
) -> Iterator[tuple[DifferenceKind, str]]:
    bets = set()
    for action in trajectory.actions:
        if action.correct is None:  # else Babylon's own word counted
            bets |= {("market", action.market_id), ("stock", action.market_id)}
            bets.add(("stock", action.ticker))
    for one in outcomes:
        if (one.kind, one.name) in bets:
            before, after = _ended(one.yes, one.change), _ended(one.yes_now, one.change_now)
            yield DifferenceKind.OUTCOME, f"{one.kind} {one.name}: {after}, was {before}"


def _ended(yes: bool | None, change: float | None) -> str:
    if yes is not None:
        return "YES" if yes else "NO"
    return "not known" if change is None else f"{change:+g}%"
