"""Redis is restarted under a running task: Celery 5.7.0 with our settings lives through it.

With late acknowledgement this version's worker dies of it, and without worker_disable_prefetch
the message it had reserved is stranded in ``unacked``: see docs/decisions.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis
from acceptance.harness import Babylon, assert_trained_once, hours, until

from babylon_tasks.sandbox.servers import EmbeddedValkey
from babylon_tasks.tasks.app import KEY_PREFIX

MakeBabylon = Callable[..., Babylon]


@pytest.fixture
def broker(servers_dir: Path) -> Iterator[EmbeddedValkey]:
    """A server of the test's own, which keeps its data over a restart as it should in earnest."""
    with EmbeddedValkey(servers_dir / "broker", persist=True) as server:
        yield server
    server.wipe()


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_redis_goes_away_under_a_training_step_and_comes_back(
    make_babylon: MakeBabylon, broker: EmbeddedValkey, how: str
) -> None:
    babylon = make_babylon(broker=broker.url)
    windows = hours(2)
    for window in windows:
        babylon.record(window, groups=40)
    babylon.start("gpu-worker", "cpu-worker", "beat")
    babylon.await_running_step()
    trainer = babylon.trainer()
    assert trainer is not None
    processes = _main_and_pool(babylon)

    trainer.suspend()  # or the step might be over before Redis is gone
    broker.kill() if how == "kill" else broker.stop()
    trainer.resume()
    # The step needs nobody's messages: it is committed while there is no Redis at all.
    until("the step is committed", lambda: babylon.steps("committed"))
    broker.restart()
    babylon.await_states(windows, "trained")

    assert_trained_once(babylon, windows, tries=1)
    assert _main_and_pool(babylon) == processes, "no worker process had to be replaced"
    with redis.Redis.from_url(broker.url) as client:
        until("nothing is stranded", lambda: client.hlen(KEY_PREFIX + "unacked") == 0)
        assert client.zcard(KEY_PREFIX + "unacked_index") == 0


def _main_and_pool(babylon: Babylon) -> list[psutil.Process]:
    names = ("gpu-worker", "cpu-worker")
    mains = [psutil.Process(babylon.process(name).child.pid) for name in names]
    return [*mains, *(babylon.pool_child(name) for name in names)]
