"""Wait for the system of a demo: for a first policy, the gateway, a window; none waits for ever."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from babylon_tasks.db import progress
from babylon_tasks.db.progress import WindowProgress
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import CheckpointNotFound, SandboxError
from babylon_tasks.processes import ProcessName
from babylon_tasks.registry.serving import Serving, serving
from babylon_tasks.sandbox.followed_log import FollowedLog
from babylon_tasks.sandbox.movement import Movement
from babylon_tasks.sandbox.stack import Stack

START_SECONDS = 300.0
# For as long nothing may move: no row, and no work of the gpu-worker's trainer. A process that ends
# and a trainer that does not start are noticed at once.
_STILL_SECONDS = 600.0
_FAILURES = 3  # of a start in a row: the next one would fail, too
_POLL_SECONDS = 0.2
OnMove = Callable[[WindowProgress | None], None]
_FOLLOW_SECONDS = 0.05
_CONNECT_SECONDS = 5.0


async def first_policy(
    stack: Stack, connection: Connection, news: Callable[[str], None]
) -> Serving:
    """Wait for the gpu-worker to serve; what keeps it from that is news at once."""
    lineage = stack.settings.lineage
    movement = Movement(stack.work_seconds)
    failures = 0
    log = FollowedLog(stack.data_dir / f"{ProcessName.GPU_WORKER}.log")
    while movement.still_for(failures) < START_SECONDS:
        stack.check()
        for why in log.failed_starts():
            failures += 1
            if failures == _FAILURES:
                raise SandboxError(
                    f"the trainer does not start: {why}; more is in "
                    f"{stack.data_dir / 'models' / 'trainer.log'}"
                )
            news(f"the trainer did not start, it tries again: {why}")
        try:
            policy = serving(connection, lineage)
        except CheckpointNotFound:
            policy = None  # the gpu-worker has not started yet
        # After a restart the row is there from the last run, and the trainer is not yet.
        if policy is not None and policy.base_url is not None and _listens(policy.base_url):
            return policy
        await asyncio.sleep(_POLL_SECONDS)
    raise SandboxError(
        f"the gpu-worker does not serve, and nothing has moved for {START_SECONDS:.0f} s; "
        f"see gpu-worker.log and models/trainer.log in {stack.data_dir}"
    )


async def followed(stack: Stack, client: Any, policy: Serving) -> None:
    """Wait for the gateway, half a second after a promotion: each window is asked of one policy."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        stack.check()
        models = (await client.models.list()).data if _listens(stack.gateway_url) else []
        if any(one.to_dict().get("serves") == policy.inference_name for one in models):
            return
        await asyncio.sleep(_FOLLOW_SECONDS)
    raise SandboxError(
        f"the gateway does not serve {policy.inference_name}; see gateway.log in {stack.data_dir}"
    )


def _listens(url: str) -> bool:
    """Check whether the server of this address has started."""
    at = urlsplit(url)
    port = at.port or {"http": 80, "https": 443}[at.scheme]
    try:
        socket.create_connection(
            (at.hostname or "localhost", port), timeout=_CONNECT_SECONDS
        ).close()
    except OSError:
        return False
    return True


async def finished(
    stack: Stack,
    connection: Connection,
    window: str,
    seconds: float = _STILL_SECONDS,
    *,
    on_move: OnMove = lambda _: None,
) -> WindowProgress:
    """Wait until a window is trained on or skipped, and its step decided.

    However long that takes on a busy machine; raises SandboxError where nothing moves for so many
    seconds.
    """
    return await _until(
        stack, connection, window, lambda found: found.finished, seconds, on_move=on_move
    )


async def decided(
    stack: Stack, connection: Connection, window: str, step: int | None, seconds: float
) -> WindowProgress:
    """Wait until it is decided whether a step that uses a window serves, as ``finished`` does."""
    return await _until(
        stack,
        connection,
        window,
        lambda found: found.step == step and found.decision is not None,
        seconds,
    )


async def _until(
    stack: Stack,
    connection: Connection,
    window: str,
    done: Callable[[WindowProgress], bool],
    seconds: float,
    *,
    on_move: OnMove = lambda _: None,
) -> WindowProgress:
    movement = Movement(stack.work_seconds)
    window_progress = None
    while movement.still_for(window_progress) < seconds:
        stack.check()
        before = window_progress
        window_progress = progress.of_window(connection, stack.settings.lineage, window)
        if window_progress != before:
            on_move(window_progress)
        if window_progress is not None and done(window_progress):
            return window_progress
        await asyncio.sleep(_POLL_SECONDS)
    state = "not opened" if window_progress is None else str(window_progress.state)
    raise SandboxError(
        f"window {window} is {state}, and nothing has moved for {seconds:.0f} s; see the logs in "
        f"{stack.data_dir}"
    )
