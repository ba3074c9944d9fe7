"""What a worker does with messages: each at most once, none hoarded, no code inside them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from acceptance.harness import PATIENCE, Babylon, hours, queued, sender, until
from acceptance.outcome import assert_trained_once
from celery import Celery
from kombu import Connection as Broker

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.processes import APP
from babylon_tasks.tasks.app import KEY_PREFIX

SCORE = "babylon.score_window.v1"


@pytest.fixture
def app(babylon: Babylon) -> Celery:
    return sender(babylon.stack.settings)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


def start_cpu_worker(babylon: Babylon, number: int) -> None:
    worker = ["worker", "--pool", "prefork", "-c", "1", "-Q", "cpu", "-n", f"cpu{number}@%h"]
    babylon.stack.start(f"cpu-{number}", [sys.executable, "-m", "celery", "-A", APP, *worker])


def sealed(babylon: Babylon, count: int) -> list[str]:
    """Sealed windows, for which nobody has sent a message."""
    windows = hours(count)
    for window in windows:
        babylon.record(window)
    discover(babylon.stack.settings, actor="test")
    return windows


def test_a_busy_worker_holds_no_second_message_and_has_acknowledged_the_first(
    babylon: Babylon, app: Celery, client: redis.Redis, connection: Connection
) -> None:
    windows = sealed(babylon, 3)
    with connection.transaction():
        # Scoring waits for these rows: a task as long as the test wants it.
        connection.execute("LOCK TABLE trajectories IN ACCESS EXCLUSIVE MODE")
        start_cpu_worker(babylon, 1)
        for window in windows:
            app.send_task(SCORE, (window,))
        until("the first is being scored", lambda: "scoring" in babylon.states().values())
        until("only the others wait", lambda: len(queued(client, "cpu")) == 2)
        assert client.hlen(KEY_PREFIX + "unacked") == 0, (
            "what runs is acknowledged: it is never sent again"
        )

        start_cpu_worker(babylon, 2)
        until(
            "an idle worker takes the second",
            lambda: list(babylon.states().values()).count("scoring") == 2,
        )
        assert len(queued(client, "cpu")) == 1
        assert client.hlen(KEY_PREFIX + "unacked") == 0

    babylon.await_states(windows, "scored")
    for window in windows:
        assert [event["kind"] for event in babylon.events_of(window)].count("scored") == 1
    keys = {key.decode() for key in client.scan_iter()}
    assert keys, "the bindings of the queues at least"
    assert all(key.startswith(KEY_PREFIX) for key in keys), "another application may share Redis"


class Payload:
    """Pickled, it makes a file wherever it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.path),)


def test_poison_is_refused_and_the_worker_goes_on(
    babylon: Babylon, app: Celery, client: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    (window,) = sealed(babylon, 1)
    trace = tmp_path / "trace"
    with (
        Broker(redis_url, transport_options={"global_keyprefix": KEY_PREFIX}) as broker,
        broker.Producer() as producer,
    ):
        for body in (([Payload(trace)], {}, {}), Payload(trace)):
            producer.publish(
                body,
                serializer="pickle",
                routing_key="cpu",
                headers={"task": SCORE, "id": "poison", "lang": "py"},
            )
    app.send_task("babylon.no_such_task.v1", queue="cpu")
    app.send_task(SCORE, ("../../etc/passwd",))
    app.send_task(SCORE, (window,))

    start_cpu_worker(babylon, 1)
    babylon.await_states([window], "scored")

    assert not trace.exists()
    assert queued(client, "cpu") == []


def test_one_message_is_enough_to_score_all_that_waits_each_once(
    babylon: Babylon, app: Celery, client: redis.Redis, connection: Connection
) -> None:
    """Without beat: each scoring brings the next; a repeated message brings nothing."""
    windows = sealed(babylon, 4)
    connection.execute("UPDATE training.windows SET enqueued_at = NULL")
    for _ in range(2):
        app.send_task(SCORE, (windows[0],))

    start_cpu_worker(babylon, 1)
    babylon.await_states(windows, "scored")

    for window in windows:
        assert [event["kind"] for event in babylon.events_of(window)].count("scored") == 1
    until("no message is left", lambda: queued(client, "cpu") == [])


def test_a_worker_paused_or_stopped_in_mid_drain_scores_what_is_in_hand_and_no_other(
    babylon: Babylon, app: Celery, client: redis.Redis, connection: Connection
) -> None:
    """The next window's message stays in Redis, for the same worker or for another."""
    windows = sealed(babylon, 4)
    connection.execute("UPDATE training.windows SET enqueued_at = NULL")

    def ended(count: int) -> bool:
        found = babylon.states()
        return [found[window] for window in windows[: count + 1]] == ["scored"] * count + ["sealed"]

    with connection.transaction():
        connection.execute("LOCK TABLE trajectories IN ACCESS EXCLUSIVE MODE")
        start_cpu_worker(babylon, 1)
        app.send_task(SCORE, (windows[0],))
        until("the first is being scored", lambda: "scoring" in babylon.states().values())
        assert app.control.cancel_consumer("cpu", reply=True, timeout=PATIENCE, limit=1)
    until("the first is scored", lambda: ended(1))
    until("the second has its message", lambda: len(queued(client, "cpu")) == 1)
    assert ended(1)

    with connection.transaction():
        connection.execute("LOCK TABLE trajectories IN ACCESS EXCLUSIVE MODE")
        assert app.control.add_consumer("cpu", reply=True, timeout=PATIENCE, limit=1)
        until("the second is being scored", lambda: "scoring" in babylon.states().values())
        babylon.process("cpu-1").child.send_signal(signal.SIGTERM)
        until("it is stopping", lambda: "Warm shutdown" in babylon.log("cpu-1"))
    assert babylon.process("cpu-1").child.wait(PATIENCE) == 0
    assert ended(2)
    assert len(queued(client, "cpu")) == 1

    start_cpu_worker(babylon, 2)
    until("all are scored", lambda: set(babylon.states().values()) == {"scored"})
    for window in windows:
        assert [event["kind"] for event in babylon.events_of(window)].count("scored") == 1


def test_one_message_is_enough_to_train_all_that_waits(babylon: Babylon, app: Celery) -> None:
    """Without beat: each step wakes the next."""
    windows = sealed(babylon, 3)
    for window in windows:
        score_window(babylon.stack.settings, window, actor="test")

    babylon.start("gpu-worker")
    app.send_task("babylon.train_window.v1")
    babylon.await_states(windows, "trained")

    assert_trained_once(babylon, windows, tries=1)
    assert len(babylon.steps()) == 3
