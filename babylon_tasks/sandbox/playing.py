"""Let agents play until they are done or Ctrl-C comes: what that breaks off is no bug."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from babylon_tasks.errors import BabylonTasksError, SandboxError
from babylon_tasks.faults import Fault, fault_of
from babylon_tasks.sandbox.stack import Stack

T = TypeVar("T")
# What an agent's client says of a gateway or trainer that is not there.
_UNANSWERED = (Fault.CONNECTION_LOST, Fault.SERVICE_REFUSES)


def play(stack: Stack, playing: Coroutine[Any, Any, T], news: Callable[[str], None]) -> T:
    """Run it to its end; Ctrl-C says what is waited for.

    Raises SandboxError where an agent is not answered, naming the process that has ended if one
    has.
    """
    try:
        return asyncio.run(_broken_off_or_failed(stack, playing))
    except KeyboardInterrupt:
        seconds = stack.settings.shutdown_seconds
        news(f"stopping; a running task has {seconds:.0f} s to finish")
        raise


def unanswered(error: Exception) -> bool:
    """Check whether an agent's client said that the gateway or the trainer did not answer."""
    return not isinstance(error, BabylonTasksError) and fault_of(error) in _UNANSWERED


def broken_off() -> bool:
    """Check whether Ctrl-C has come to what is played."""
    this = asyncio.current_task()
    return this is not None and this.cancelling() > 0


async def _broken_off_or_failed(stack: Stack, playing: Coroutine[Any, Any, T]) -> T:
    try:
        return await playing
    except Exception as error:
        if broken_off():
            # An agent's client makes an error of its own of the end of its request.
            raise asyncio.CancelledError from error
        if unanswered(error):
            stack.check()
            raise SandboxError(
                f"an agent got no answer ({error}); see gateway.log and gpu-worker.log in "
                f"{stack.data_dir}"
            ) from error
        raise
