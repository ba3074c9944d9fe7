"""Changes of a window's state: compare-and-set by the table of ``states.py``, with its events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from babylon_tasks.db import events, windows
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import Row, fetch_one
from babylon_tasks.errors import IllegalTransition
from babylon_tasks.states import RETRY, WindowState, WindowTransition, check_window, listed


class _Moved(Struct, frozen=True):
    window: str


def change(
    connection: Connection,
    window: str,
    transition: WindowTransition,
    target: WindowState,
    row: type[Row],
    **parameters: object,
) -> Row | None:
    """Compare and set, without the event; None if the window's state does not allow the change.

    Returns what the transition's statement returns. Raises IllegalTransition if the table has no
    such change.
    """
    check_window(transition, target, window)
    return fetch_one(
        connection,
        transition.statement,
        row,
        window=window,
        sources=[str(state) for state in transition.sources],
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
    **parameters: object,
) -> None:
    """Compare and set, with the event that the table has for it, in the caller's transaction.

    ``delay``: seconds until the next attempt may begin; ``parameters`` are more of the
    transition's statement. Raises IllegalTransition if the table has no such change, or the
    window's state does not allow it: the transaction must then be rolled back.
    """
    parameters |= {"reason": reason, "delay": delay}
    moved = change(connection, window, transition, target, _Moved, **parameters)
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

    Raises WindowNotFound, IllegalTransition.
    """
    with connection.transaction():
        row = windows.get(connection, window)
        # If sealed after its last scoring, it failed while being scored anew.
        scored = row.scored_at is not None and (
            row.sealed_at is None or row.sealed_at <= row.scored_at
        )
        target = WindowState.SCORED if scored else WindowState.SEALED
        move(connection, window, RETRY, target, actor=actor, detail={"was": row.reason})
    return target
