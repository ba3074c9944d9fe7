"""What a comparison's hours lead to, and what is then there."""

from __future__ import annotations

from typing import Any

import pytest
from compared_hours import taken
from scored_windows import column, hour

from babylon_tasks.db import arms, promotions
from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings


def until(
    connection: Connection,
    settings: Settings,
    conclusion: str,
    *,
    first: int = 0,
    most: int = 12,
    **means: float,
) -> int:
    """Hours of these rewards until something is concluded; returns the number of the next hour."""
    for number in range(first, first + most):
        one = taken(connection, settings, number, **means)
        assert one is not None
        if one.conclusion == conclusion:
            return number + 1
        assert one.conclusion == "keep", one
    pytest.fail(f"no {conclusion} in {most} hours")


def newest(connection: Connection) -> tuple[Any, ...]:
    """The arms decided last: control's share, its checkpoint or model, the examinee's share, it."""
    one = arms.since(connection, "babylon", hour(0))[-1]
    return (
        round(one.control_share, 2),
        one.control_step if one.control_model is None else one.control_model,
        round(one.examinee_share, 2),
        one.examinee_step,
    )


def done(connection: Connection) -> list[str]:
    return [
        str(one)
        for one in column(
            connection,
            "SELECT detail ->> 'done' FROM training.events WHERE kind = 'concluded' ORDER BY id",
        )
    ]


def served(connection: Connection) -> int:
    return promotions.serving(connection, "babylon").step
