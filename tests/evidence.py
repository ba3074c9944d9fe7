"""Actions, trajectories and evidence for tests of scoring."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from babylon_tasks.records import AgentAction, Evidence, Trajectory
from babylon_tasks.settings import Settings

POST = AgentAction("POST", True)
WAIT = AgentAction("WAIT", True)
FAILED = AgentAction("TRADE", False, "m-1", None, "buy_yes")


def settings(**values: Any) -> Settings:
    return Settings(
        **{
            "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
            "WANDB_API_KEY": None,
            "data_dir": Path("unused"),
            **values,
        },
    )


def trade(
    side: str = "buy_yes", market: str = "m-1", correct: bool | None = None, **more: Any
) -> AgentAction:
    return AgentAction("TRADE", True, market, None, side, correct, **more)


def trajectory(
    actions: Iterable[AgentAction] = (),
    first: float | None = None,
    last: float | None = None,
    final: float | None = None,
) -> Trajectory:
    return Trajectory("t-1", "agent-1", None, first, last, final, tuple(actions), ())


def shown(**values: Any) -> Evidence:
    """Evidence of nothing, but for the values given."""
    nothing: dict[str, Any] = {
        **dict.fromkeys(("profit", "merit")),
        **dict.fromkeys(("right", "wrong", "unknown", "failed", "waited", "taken"), 0),
        **dict.fromkeys(("earned", "staked"), 0.0),
    }
    return Evidence(**nothing | values)


def bettor(right: int, wrong: int, **values: Any) -> Evidence:
    """Somebody whose bets, without prices, turned out right and wrong so many times."""
    merit = (right - wrong) / (right + wrong)
    return shown(
        **{"right": right, "wrong": wrong, "taken": right + wrong, "merit": merit} | values
    )
