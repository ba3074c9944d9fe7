"""Windows that a judge grades, what it makes of them, and what scoring leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from factories import WINDOW, Row, exact_call, insert, step, trajectory
from prometheus_client import REGISTRY

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.results import Scoring
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_start

KEY = "word-of-the-judge"
MakeSettings = Callable[..., Settings]
ANSWERS = ("I buy YES at once", "I buy NO", "I wait and see")


def grade(transcript: str) -> float:
    """What the peer thinks: the shorter the better."""
    return next(0.9 - 0.3 * n for n, answer in enumerate(ANSWERS) if answer in transcript)


def row(answer: str, agent: str, profit: float = 0.0, **columns: Any) -> Row:
    call = exact_call(answer, logprobs=[-0.1], token_ids=[7])
    steps = [step(0, [call]), step(1, [call], pnl=profit / 2)]
    return trajectory(agent=agent, steps=steps, final_pnl=profit, **columns)


def seal(connection: Connection) -> None:
    sealed = {"starts_at": window_start(WINDOW), "held_out": False, "state": "sealed"}
    insert(connection, "training.windows", [{"window_id": WINDOW, **sealed}])


def again(connection: Connection) -> None:
    """Let the window be scored once more, as when an outcome has come."""
    connection.execute("UPDATE training.windows SET state = 'sealed'")


def run(settings: Settings) -> Scoring:
    return score_window(settings, WINDOW, actor="test")


def scores(connection: Connection, version: int = 1) -> dict[str, tuple[str, float]]:
    """Agent: scorer and reward."""
    return {
        agent: (scorer, reward)
        for agent, scorer, reward in connection.execute(
            "SELECT agent_id, scorer, reward FROM training.scores WHERE reward_version = %s",
            [version],
        )
    }


def judge_reports(connection: Connection) -> list[dict[str, Any]]:
    rows = connection.execute(
        "SELECT detail FROM training.events WHERE kind = 'judged' ORDER BY id"
    ).fetchall()
    return [detail for (detail,) in rows]


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0
