"""The commands that a worker obeys: those that ask, and those that drain it.

Anyone who can write to Redis can send Celery's commands, as he can messages: with `time_limit`,
`revoke` or `shutdown` he would end the trainer that agents use. Who may stop a worker decides the
machine or the cluster that runs it.
"""

from __future__ import annotations

import time
from typing import Any

from celery.worker.control import Panel, inspect_command

from babylon_tasks.settings import load_settings
from babylon_tasks.tasks.app import queues

_OBEYED = frozenset(
    {
        *("active", "active_queues", "clock", "conf", "ping", "query_task", "registered"),
        *("report", "reserved", "revoked", "scheduled", "stats", "wall_clock"),
        *("add_consumer", "cancel_consumer", "disable_events", "enable_events", "heartbeat"),
    }
)


@inspect_command()  # type: ignore[untyped-decorator]
def wall_clock(state: Any) -> dict[str, float]:
    """Say what this machine's clock shows, in Unix time, for `doctor`."""
    del state
    return {"now": time.time()}


def _restrict(commands: dict[str, Any]) -> None:
    for name in commands.keys() - _OBEYED:
        del commands[name]
    consume = commands["add_consumer"]

    def add_consumer(state: Any, queue: str, **_: Any) -> Any:
        ours = queues(load_settings())
        if queue not in ours:
            raise ValueError(f"{queue!r} is not one of our queues: {', '.join(ours)}")
        return consume(state, queue)

    commands["add_consumer"] = add_consumer


_restrict(Panel.data)
