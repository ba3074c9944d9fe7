"""Whatever is killed, emptied or sent twice: each window is trained exactly once.

Those of which the worst cells are the like are of `make faults`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
import redis
from acceptance.harness import Babylon, hours, queued, sender, until
from acceptance.outcome import assert_trained_once

from babylon_tasks.pipeline.discover import discover
from babylon_tasks.processes import APP

MakeBabylon = Callable[..., Babylon]

pytestmark = pytest.mark.contract("7a46248b")
LONG = 40  # groups: as many gradient steps, a few seconds of training


@pytest.mark.faults
def test_gpu_worker_killed_with_its_trainer_in_the_middle_of_a_step(babylon: Babylon) -> None:
    windows = hours(2)
    babylon.record(windows[0], groups=LONG)
    babylon.record(windows[1])
    babylon.start("gpu-worker", "cpu-worker", "beat")
    cut_short = babylon.await_running_step()

    babylon.kill("gpu-worker")
    assert babylon.trainer() is None
    babylon.start("gpu-worker")
    babylon.await_states(windows, "trained")

    assert_trained_once(babylon, windows, tries=2)
    finished = babylon.steps()[0]
    assert (finished["id"], finished["tries"]) == (cut_short["id"], 2)
    assert finished["attempt"] > cut_short["attempt"]
    assert finished["manifest_hash"] == cut_short["manifest_hash"]
    events = [event["kind"] for event in babylon.events_of(windows[0])]
    assert "step_taken_over" in events


@pytest.mark.faults
def test_main_process_of_the_gpu_worker_killed_alone(babylon: Babylon) -> None:
    """Its pool child and the trainer must not live on as orphans with a lease."""
    windows = hours(2)
    babylon.record(windows[0], groups=LONG)
    babylon.record(windows[1])
    babylon.start("gpu-worker", "cpu-worker", "beat")
    babylon.await_running_step()
    child, trainer = babylon.pool_child(), babylon.trainer()
    assert trainer is not None

    babylon.kill("gpu-worker", group=False)
    until("its child is gone", lambda: not child.is_running())
    until("its trainer is gone", lambda: not trainer.is_running())
    babylon.start("gpu-worker")
    babylon.await_states(windows, "trained")

    assert_trained_once(babylon, windows, tries=2)


@pytest.mark.faults
def test_trainer_killed_alone(babylon: Babylon) -> None:
    windows = hours(2)
    babylon.record(windows[0], groups=LONG)
    babylon.record(windows[1])
    babylon.start("gpu-worker", "cpu-worker", "beat")
    babylon.await_running_step()
    trainer = babylon.trainer()
    assert trainer is not None

    trainer.kill()
    babylon.await_states(windows, "trained")

    assert_trained_once(babylon, windows, tries=1)  # the windows have nothing to do with it
    events = [e for e in babylon.events_of(windows[0]) if e["kind"] == "step_interrupted"]
    assert len(events) == 1
    assert "SIGKILL" in events[0]["detail"]["error"]


@pytest.mark.faults
def test_redis_emptied_between_scoring_and_training_and_again_while_a_step_runs(
    babylon: Babylon, redis_url: str
) -> None:
    windows = hours(2)
    for window in windows:
        babylon.record(window, groups=LONG)
    babylon.start("cpu-worker", "beat")
    babylon.await_states(windows, "scored")

    with redis.Redis.from_url(redis_url) as client:
        assert len(queued(client, "gpu.acceptance")) > 0, "the messages that are about to be lost"
        client.flushall()
        babylon.start("gpu-worker")
        babylon.await_running_step()
        client.flushall()
    babylon.await_states(windows, "trained")

    assert_trained_once(babylon, windows, tries=1)


@pytest.mark.faults
def test_the_same_messages_five_times_at_once(babylon: Babylon) -> None:
    """Without beat, so that every message is one of the test's own."""
    (window,) = hours(1)
    babylon.record(window)
    discover(babylon.stack.settings, actor="test")
    assert babylon.states() == {window: "sealed"}
    app = sender(babylon.stack.settings)
    score = app.signature("babylon.score_window.v1", (window,), immutable=True)
    train = app.signature("babylon.train_window.v1", (window,), immutable=True)
    for _ in range(5):
        score.apply_async()
        train.apply_async()

    babylon.start("gpu-worker")
    worker = ["worker", "--pool", "prefork", "-c", "4", "-Q", "cpu", "-n", "cpu@%h"]
    babylon.stack.start("cpu-worker", [sys.executable, "-m", "celery", "-A", APP, *worker])
    for name in (score.task, train.task):  # and those that scoring itself sends
        until(f"five of {name} have ended", lambda name=name: babylon.succeeded(name) >= 5)
    babylon.await_states([window], "trained")

    assert_trained_once(babylon, [window], tries=1)
    events = [event["kind"] for event in babylon.events_of(window)]
    assert events.count("scored") == 1
    assert events.count("step_planned") == 1


@pytest.mark.faults
def test_gpu_worker_is_stopped_while_a_step_runs(make_babylon: MakeBabylon) -> None:
    """The trainer is stopped, so that only the bound can end the worker."""
    babylon = make_babylon(BABYLON_SHUTDOWN_SECONDS="1")
    windows = hours(2)
    babylon.record(windows[0], groups=LONG)
    babylon.record(windows[1])
    babylon.start("gpu-worker", "cpu-worker", "beat")
    babylon.await_running_step()
    trainer = babylon.trainer()
    assert trainer is not None
    trainer.suspend()

    worker = babylon.terminate("gpu-worker")
    until("the worker has ended", lambda: worker.child.poll() is not None)
    until("its trainer has ended too", lambda: not trainer.is_running())
    (lineage,) = babylon.rows("SELECT lease_until FROM training.lineages")
    assert lineage["lease_until"] is None, "the lease was given back, nobody waits for its end"
    babylon.start("gpu-worker")
    babylon.await_states(windows, "trained")

    assert_trained_once(babylon, windows, tries=1)  # an interruption is no failed try
    assert "step_interrupted" in [event["kind"] for event in babylon.events_of(windows[0])]
