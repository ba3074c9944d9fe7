"""Messages come again and again, or are garbage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from acceptance.faults.system import System
from acceptance.harness import queued, sender, until

from babylon_tasks.tasks.app import KEY_PREFIX


@contextmanager
def messages_repeated(system: System) -> Iterator[None]:
    """Every message three times more."""
    app = sender(system.stack.settings)
    for window in [*system.states(), None]:
        score = app.signature("babylon.score_window.v1", (window,), immutable=True)
        train = app.signature("babylon.train_window.v1", (window,), immutable=True)
        for _ in range(3):
            (train if window is None else score | train).apply_async()
    yield


@contextmanager
def garbage_sent(system: System) -> Iterator[None]:
    """Messages of no shape on every queue."""
    envelope = {"content-type": "application/json", "content-encoding": "utf-8", "properties": {}}
    garbage = [
        b"no json",
        b"[]",
        b"5",
        json.dumps(
            {**envelope, "body": "bnVsbA==", "headers": {"task": ["a"], "id": "1"}}
        ).encode(),
        json.dumps({**envelope, "body": None, "headers": {}}).encode(),
    ]
    with system.redis() as client:
        for queue in ("cpu", "gpu", "gpu.acceptance", "upkeep"):
            client.lpush(KEY_PREFIX + queue, *garbage)
        yield
        for queue in ("cpu", "gpu", "gpu.acceptance", "upkeep"):
            until(
                f"queue {queue} is rid of it",
                lambda name=queue: not set(garbage).intersection(queued(client, name)),
            )
