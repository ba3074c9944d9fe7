"""Windows whose bets wait for outcomes, and the upkeep that scores them anew."""

from __future__ import annotations

from typing import Any

from factories import WINDOW, action, exact_call, insert, insert_trajectories, step, trajectory
from scored_windows import hour

from babylon_tasks.db import windows
from babylon_tasks.db.outcomes import settle
from babylon_tasks.db.session import Connection
from babylon_tasks.db.windows import Window
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.results import Reconciled
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_start

LATER = hour(20)


def bets(
    connection: Connection,
    *markets: str,
    window: str = WINDOW,
    held_out: bool = False,
    **columns: Any,
) -> list[str]:
    """A sealed window of four agents, two on YES and two on NO, on each of some markets.

    Nothing else distinguishes the agents: without outcomes there is no evidence.
    """
    rows = []
    for number in range(4):
        side = "YES" if number % 2 else "NO"
        traded = [
            step(n, [exact_call(side, model="babylon@0")], action=action(market=market, side=side))
            for n, market in enumerate(markets)
        ]
        rows.append(trajectory(window, f"agent-{number}", traded, final_pnl=None, **columns))
    ids = insert_trajectories(connection, rows)
    seal(connection, window, held_out=held_out)
    return ids


def seal(connection: Connection, window: str, *, held_out: bool = False) -> None:
    row = {"window_id": window, "starts_at": window_start(window), "held_out": held_out}
    insert(connection, "training.windows", [{**row, "state": "sealed"}])
    connection.execute("UPDATE training.windows SET sealed_at = now() - interval '2 hours'")


def score(settings: Settings, window: str = WINDOW) -> str:
    return score_window(settings, window, actor="test").state


def ends(connection: Connection, market: str, *, yes: bool = True, at: str = LATER) -> None:
    settle(connection, at, market, question="q", yes=yes)


def upkeep(settings: Settings, connection: Connection) -> Reconciled:
    """What beat does in an hour of its own."""
    for moment in ("scored_at", "sealed_at", "enqueued_at"):
        statement = f"UPDATE training.windows SET {moment} = {moment} - interval '1 hour'"  # noqa: S608
        connection.execute(statement)  # type: ignore[arg-type]
    discover(settings, actor="test")
    connection.execute("UPDATE training.windows SET enqueued_at = NULL")
    return reconcile(settings, actor="test")


def wait_is_over(connection: Connection) -> None:
    connection.execute(
        "UPDATE training.windows SET waits_until = now() WHERE waits_until IS NOT NULL"
    )


def row(connection: Connection, window: str = WINDOW) -> Window:
    return windows.get(connection, window)


def standing(connection: Connection, window: str = WINDOW) -> tuple[str, int, str | None]:
    found = row(connection, window)
    return found.state, found.reward_version, found.reason


def anew(connection: Connection) -> list[dict[str, Any]]:
    found = connection.execute(
        "SELECT detail FROM training.events WHERE kind = 'score_anew' ORDER BY id"
    )
    return [detail for (detail,) in found.fetchall()]


def rewards(connection: Connection, version: int, window: str = WINDOW) -> dict[str, float]:
    found = connection.execute(
        "SELECT trajectory_id, reward FROM training.scores"
        " WHERE reward_version = %s AND window_id = %s",
        (version, window),
    )
    return dict(found.fetchall())
