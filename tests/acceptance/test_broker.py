"""Redis is restarted under a running task: Celery 5.7.0 with our settings lives through it.

Without ``worker_disable_prefetch`` both tests fail: the message that the busy worker had reserved
is stranded in ``unacked`` for an hour. ``test_messages.py`` pins early acknowledgement.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import psutil
import pytest
import redis
from acceptance.harness import Babylon, hours, until
from acceptance.outcome import assert_trained_once

from babylon_tasks.sandbox.servers import EmbeddedValkey
from babylon_tasks.tasks.app import KEY_PREFIX

MakeBabylon = Callable[..., Babylon]


@pytest.mark.faults
def test_redis_is_killed_and_back_while_a_training_step_runs(
    make_babylon: MakeBabylon, broker: EmbeddedValkey
) -> None:
    babylon, windows = _two_windows(make_babylon, broker)
    trainer, processes = _trainer(babylon), _main_and_pool(babylon)

    trainer.suspend()  # so that the task is in flight all the time
    broker.kill()
    broker.restart()
    until("the worker is back", lambda: babylon.log("gpu-worker").count("Connected to redis") > 1)
    trainer.resume()
    babylon.await_states(windows, "trained")

    _assert_nothing_happened(babylon, broker, windows, processes)


def test_redis_is_shut_down_under_a_training_step_and_back_after_it(
    make_babylon: MakeBabylon, broker: EmbeddedValkey
) -> None:
    babylon, windows = _two_windows(make_babylon, broker)
    trainer, processes = _trainer(babylon), _main_and_pool(babylon)

    trainer.suspend()  # or the step might be over before Redis is gone
    broker.stop()
    trainer.resume()
    # The step needs nobody's messages: it is committed while there is no Redis at all.
    until("the step is committed", lambda: babylon.steps("committed"))
    broker.restart()
    babylon.await_states(windows, "trained")

    _assert_nothing_happened(babylon, broker, windows, processes)


def _two_windows(make_babylon: MakeBabylon, broker: EmbeddedValkey) -> tuple[Babylon, list[str]]:
    babylon = make_babylon(broker=broker.url)
    windows = hours(2)
    for window in windows:
        babylon.record(window, groups=40)
    babylon.start("gpu-worker", "cpu-worker", "beat")
    babylon.await_running_step()
    return babylon, windows


def _assert_nothing_happened(
    babylon: Babylon, broker: EmbeddedValkey, windows: list[str], processes: list[psutil.Process]
) -> None:
    assert_trained_once(babylon, windows, tries=1)
    assert _main_and_pool(babylon) == processes, "no worker process had to be replaced"
    with redis.Redis.from_url(broker.url) as client:
        # New messages pass through in moments; what is stranded stays for an hour. One of upkeep
        # is let pass: acknowledging it can cross the death of Redis, and the next comes at once.
        until("nothing is stranded", lambda: unacked(client) <= Counter(upkeep=1))


def unacked(client: redis.Redis) -> Counter[str]:
    """How many messages of each queue were taken and not acknowledged."""
    held: Any = client.hvals(KEY_PREFIX + "unacked")
    return Counter(json.loads(message)[2] for message in held)


def _trainer(babylon: Babylon) -> psutil.Process:
    trainer = babylon.trainer()
    assert trainer is not None
    return trainer


def _main_and_pool(babylon: Babylon) -> list[psutil.Process]:
    names = ("gpu-worker", "cpu-worker")
    mains = [psutil.Process(babylon.process(name).child.pid) for name in names]
    return [*mains, *(babylon.pool_child(name) for name in names)]
