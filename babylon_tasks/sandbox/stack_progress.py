"""Wait for the system of a demo: for a first policy, the gateway, a window; none waits for ever."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from typing import Any

from babylon_tasks.db import progress
from babylon_tasks.db.progress import WindowProgress
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import CheckpointNotFound, SandboxError
from babylon_tasks.registry.serving import Serving, serving
from babylon_tasks.sandbox.stack import Stack

START_SECONDS = 300.0
_WINDOW_SECONDS = 180.0
_POLL_SECONDS = 0.2
_FOLLOW_SECONDS = 0.05


async def first_policy(stack: Stack, connection: Connection) -> Serving:
    """Wait for the GPU worker to serve."""
    lineage = stack.settings.lineage
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        stack.check()
        try:
            policy = serving(connection, lineage)
        except CheckpointNotFound:
            policy = None  # the GPU worker has not started yet
        if policy is not None and policy.base_url is not None:
            return policy
        await asyncio.sleep(_POLL_SECONDS)
    raise SandboxError(
        f"the GPU worker did not serve inference within {START_SECONDS:.0f} s; "
        f"see gpu-worker.log and models/trainer.log in {stack.data_dir}"
    )


async def followed(stack: Stack, client: Any, policy: Serving) -> None:
    """Wait for the gateway, half a second after a promotion: each window is asked of one policy."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        stack.check()
        models = (await client.models.list()).data if _listens(stack) else []
        if any(one.to_dict().get("serves") == policy.inference_name for one in models):
            return
        await asyncio.sleep(_FOLLOW_SECONDS)
    raise SandboxError(
        f"the gateway does not serve {policy.inference_name}; see gateway.log in {stack.data_dir}"
    )


def _listens(stack: Stack) -> bool:
    """Check whether the gateway has started."""
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", stack.settings.gateway_port)) == 0


async def finished(
    stack: Stack, connection: Connection, window: str, seconds: float = _WINDOW_SECONDS
) -> WindowProgress:
    """Wait until a window is trained on or skipped, and its step decided; raises SandboxError."""
    return await _until(stack, connection, window, lambda found: found.finished, seconds)


async def decided(
    stack: Stack, connection: Connection, window: str, step: int | None, seconds: float
) -> WindowProgress:
    """Wait until it is decided whether a step that uses a window serves; raises SandboxError."""
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
) -> WindowProgress:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        stack.check()
        window_progress = progress.of_window(connection, stack.settings.lineage, window)
        if window_progress is not None and done(window_progress):
            return window_progress
        await asyncio.sleep(_POLL_SECONDS)
    raise SandboxError(
        f"window {window} was not finished within {seconds:.0f} s; see the logs in {stack.data_dir}"
    )
