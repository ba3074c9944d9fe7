"""Changes of a window's state: compare-and-set by the table of ``states.py``, with its events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from babylon_tasks.db import events, lineage_windows, windows
from babylon_tasks.db.lineage_windows import Together
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import Row, fetch_one
from babylon_tasks.errors import IllegalTransition
from babylon_tasks.event_kinds import EventKind
from babylon_tasks.states import RETRY, WindowState, WindowTransition, check_window, listed


class _Moved(Struct, frozen=True):
    window: str


def change(
    connection: Connection,
    window: str,
    transition: WindowTransition,
    target: WindowState,
    row: type[Row],
    *,
    together: Together | None = None,
    **parameters: object,
) -> Row | None:
    """Compare and set, without the event; None if the window's state does not allow the change.

    Returns what the transition's statement returns. ``together``: what the window becomes for all
    lineages, where ``target`` is what it becomes for one of several; another may be training it.
    Raises IllegalTransition if the table has no such change.
    """
    check_window(transition, target, window)
    sources = {*transition.sources}
    if together is not None:
        target = together.state
        parameters |= {"reason": together.reason}
        sources.add(WindowState.TRAINING)
    return fetch_one(
        connection,
        transition.statement,
        row,
        window=window,
        sources=sorted(str(state) for state in sources),
        target=target,
        **parameters,
    )


def move(
    connection: Connection,
    window: str,
    transition: WindowTransition,
    target: WindowState,
    *,
    actor: str,
    reason: str | None = None,
    delay: float | None = None,
    lineage: str | None = None,
    step_id: int | None = None,
    detail: Mapping[str, Any] | None = None,
    together: Together | None = None,
    **parameters: object,
) -> None:
    """Compare and set, with the event that the table has for it, in the caller's transaction.

    ``delay``: seconds until the next attempt may begin; ``parameters`` are more of the
    transition's statement; ``together`` as in ``change``. Raises IllegalTransition if the table
    has no such change, or the window's state does not allow it: the transaction must then be
    rolled back.
    """
    parameters |= {"reason": reason, "delay": delay}
    moved = change(connection, window, transition, target, _Moved, together=together, **parameters)
    if moved is None:
        row = windows.get(connection, window)
        raise IllegalTransition(
            f"window {window} is {row.state}; to {transition.name} it, it must be "
            f"{listed(transition.sources)}; nothing was written, see `babylon-tasks why {window}`"
        )
    kind = transition.targets[target]
    if kind is None:
        return
    events.record(
        connection,
        kind,
        actor=actor,
        window=window,
        lineage=lineage,
        step_id=step_id,
        detail={
            "from": " or ".join(sorted(transition.sources)),
            "to": target,
            **({} if reason is None else {"reason": reason}),
            **(detail or {}),
        },
    )


def retry(connection: Connection, window: str, *, actor: str) -> WindowState:
    """Return a failed window to where it failed, attempts reset; returns its new state.

    One that has failed for some lineages only is returned to these. Raises WindowNotFound,
    IllegalTransition.
    """
    with connection.transaction():
        lineages = lineage_windows.retry(connection, window)
        row = windows.get(connection, window)
        if lineages and row.state != WindowState.FAILED:  # others still have it, or it is trained
            for lineage in lineages:
                detail = {"to": WindowState.SCORED}
                events.record(
                    connection,
                    EventKind.RETRIED,
                    actor=actor,
                    window=window,
                    lineage=lineage,
                    detail=detail,
                )
            return row.state
        # If sealed after its last scoring, it failed while being scored anew.
        scored = row.scored_at is not None and (
            row.sealed_at is None or row.sealed_at <= row.scored_at
        )
        target = WindowState.SCORED if scored else WindowState.SEALED
        move(connection, window, RETRY, target, actor=actor, detail={"was": row.reason})
    return target
