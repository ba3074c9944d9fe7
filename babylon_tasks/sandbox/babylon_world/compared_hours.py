"""Hours of the ramp: they begin by the clock of arms, are captured, and are compared once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from babylon_tasks.arms import in_force
from babylon_tasks.db import arms, comparisons, played_hours
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import SandboxError
from babylon_tasks.sandbox.stack import Stack

_READ_SECONDS = 1.0  # the gateway reads the hour and its arms twice a second
_PATIENCE_SECONDS = 900.0
_POLL_SECONDS = 0.2
_NOT_COMPARED = "not compared"
T = TypeVar("T")


async def begin(connection: Connection, window: str) -> None:
    """Let an hour begin, and wait until the gateway knows it and the arms decided before it."""
    played_hours.begin(connection, window)
    await asyncio.sleep(_READ_SECONDS)


def our_share(connection: Connection, lineage: str, window: str) -> float:
    """Look up which share of the agents was drawn for checkpoints of ours."""
    drawn = in_force(arms.since(connection, lineage, window), window)
    return 1.0 if drawn is None else round(1 - drawn.control_share, 6)


async def captured(stack: Stack, connection: Connection, window: str, answers: int) -> None:
    """Wait until it is written who was answered by what; raises SandboxError."""
    await _until(
        stack,
        lambda: played_hours.captured(connection, window) >= answers or None,
        f"not all {answers} answers of {window} were captured; see gateway.log in {stack.data_dir}",
    )


async def concluded(stack: Stack, connection: Connection, lineage: str, window: str) -> str | None:
    """Wait for what the comparison makes of an hour; None where it compares later ones only.

    Raises SandboxError.
    """

    def found() -> str | None:
        newest = comparisons.newest(connection, lineage)
        if newest is None:
            return None
        if newest.ended_at is not None or newest.began_window > window:
            return _NOT_COMPARED
        rows = comparisons.windows(connection, newest.id)
        return next((row.conclusion for row in rows if row.window == window), None)

    conclusion = await _until(
        stack,
        found,
        f"window {window} was not compared; `babylon-tasks compare status` says what it waits for",
    )
    return None if conclusion == _NOT_COMPARED else conclusion


async def _until(stack: Stack, look: Callable[[], T | None], why: str) -> T:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        stack.check()
        found = look()
        if found is not None:
            return found
        await asyncio.sleep(_POLL_SECONDS)
    raise SandboxError(f"within {_PATIENCE_SECONDS:.0f} s: {why}")
