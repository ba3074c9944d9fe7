"""Windows of which a branch that has died used something: it is free, and rewarded anew if need be.

A reward version of an earlier release left out what steps had used before it. Whatever the window's
state, what is free again must be in its next version.
"""

from __future__ import annotations

from babylon_tasks.db import lineage_windows
from babylon_tasks.db import windows as rows
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute, fetch_value
from babylon_tasks.db.step_windows import left_over
from babylon_tasks.db.window_transitions import move
from babylon_tasks.reasons import ScoreAnewReason
from babylon_tasks.states import EXPIRE, RETURN, WindowState

_BEING_SCORED = {WindowState.SEALED, WindowState.SCORING}


def return_freed(connection: Connection, window: str, *, lineage: str, actor: str) -> None:
    """Return a locked window to the scored ones, if something of it can be used again.

    It is marked to be scored anew if its newest reward version left that out as used.
    """
    about = {"window": window, "lineage": lineage}
    execute(connection, "branches.mark_freed", because=ScoreAnewReason.FREED, **about)
    if rows.get(connection, window).state in _BEING_SCORED:
        _be_scored_with_it(connection, window, lineage=lineage, actor=actor)
        return
    if not fetch_value(connection, "branches.may_return", bool, **about):
        return
    left = left_over(connection, window, lineage)
    if not left:
        return
    state = WindowState.SCORED
    together = lineage_windows.settle(connection, window, lineage, state, left_over=left)
    move(
        connection,
        window,
        RETURN,
        state,
        together=together,
        actor=actor,
        lineage=lineage,
        detail={"left_over": left},
        left_over=left,
    )


def _be_scored_with_it(connection: Connection, window: str, *, lineage: str, actor: str) -> None:
    if rows.get(connection, window).state is WindowState.SCORING:
        # The run has read what is used, and counts this as used: it loses its claim.
        detail = {"because": ScoreAnewReason.FREED}
        move(
            connection,
            window,
            EXPIRE,
            WindowState.SEALED,
            actor=actor,
            lineage=lineage,
            detail=detail,
        )
    left = left_over(connection, window, lineage)
    execute(connection, "branches.note_left_over", window=window, left_over=left)
    mine = rows.get(connection, window, lineage=lineage).state
    if left and mine is WindowState.TRAINED:
        lineage_windows.settle(connection, window, lineage, WindowState.SCORED, left_over=left)
