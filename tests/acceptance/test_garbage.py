"""Anybody who reaches Redis can put anything into a queue: it is refused once, and gone."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest
import redis
from acceptance.harness import Babylon, hours, queued, sender, until
from garbage import garbage, overloaded

from babylon_tasks.pipeline.discover import discover
from babylon_tasks.tasks.app import KEY_PREFIX

SCORE = "babylon.score_window.v1"


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_url) as opened:
        yield opened


def test_any_garbage_is_refused_once_and_the_worker_goes_on(
    babylon: Babylon, client: redis.Redis
) -> None:
    (window,) = hours(1)
    babylon.record(window)
    discover(babylon.stack.settings, actor="test")
    kinds = garbage()
    client.lpush(KEY_PREFIX + "cpu", *(kind for name, kind in kinds.items() if "60 MB" not in name))
    client.lpush(KEY_PREFIX + "cpu", kinds["argument: 60 MB"])

    babylon.start("cpu-worker")
    sender(babylon.stack.settings).send_task(SCORE, (window,))
    babylon.await_states([window], "scored")

    assert queued(client, "cpu") == []
    assert client.hlen(KEY_PREFIX + "unacked") == 0
    refused = [line for line in babylon.lines("cpu-worker") if line["event"] == "message.refused"]
    assert len(refused) == len(kinds)
    assert all(len(line["excerpt"]) <= 400 for line in refused)
    assert "Traceback" not in babylon.log("cpu-worker")


def test_a_queue_and_a_message_ten_times_larger_fill_no_memory(
    babylon: Babylon, client: redis.Redis, redis_url: str
) -> None:
    (window,) = hours(1)
    babylon.record(window)
    discover(babylon.stack.settings, actor="test")
    babylon.start("cpu-worker")
    worker = psutil.Process(babylon.process("cpu-worker").child.pid)
    until("it listens", lambda: "ready" in babylon.log("cpu-worker"))
    before = worker.memory_info().rss

    # The most that Redis takes in one entry is 512 MB.
    with redis.Redis.from_url(redis_url, socket_timeout=60) as patient:
        patient.lpush(KEY_PREFIX + "cpu", b"x" * 500_000_000)
    small = [kind for kind in garbage().values() if len(kind) < 1_000_000]
    for _ in range(10):
        client.lpush(KEY_PREFIX + "cpu", *small)
    until("all is gone", lambda: not queued(client, "cpu"))
    sender(babylon.stack.settings).send_task(SCORE, (window,))
    babylon.await_states([window], "scored")

    assert worker.memory_info().rss - before < 100 * 2**20
    refused = [line for line in babylon.lines("cpu-worker") if line["event"] == "message.refused"]
    assert {500_000_000} <= {line["bytes"] for line in refused}
    assert len(refused) <= 100, "a flood does not fill the disk with log lines"


def test_orders_in_a_good_message_are_not_followed(babylon: Babylon, client: redis.Redis) -> None:
    kinds = overloaded()
    babylon.start("cpu-worker")
    child = babylon.pool_child("cpu-worker")

    client.lpush(KEY_PREFIX + "cpu", *kinds.values())

    # The window does not exist, so each of them fails as an ordinary message would.
    until(
        "all are run",
        lambda: babylon.log("cpu-worker").count('"event": "task.failed"') == len(kinds),
    )
    assert babylon.pool_child("cpu-worker") == child, "no time limit of theirs ended it"
    keys = {key.decode() for key in client.scan_iter()}
    assert not {key for key in keys if "gpu" in key or "somewhere" in key}


def test_garbage_reaches_neither_the_trainer_nor_the_next_start(
    babylon: Babylon, client: redis.Redis
) -> None:
    babylon.start("gpu-worker")
    trainer = until("the trainer runs", babylon.trainer)
    kinds = {**garbage(), **overloaded()}
    queues = ("gpu", "gpu.acceptance")
    del kinds["argument: 60 MB"]
    for name in kinds:
        kinds[name] = kinds[name].replace(b"score_window", b"train_window")

    for queue in queues:
        client.lpush(KEY_PREFIX + queue, *kinds.values())
    until("nothing is left", lambda: not any(queued(client, queue) for queue in queues))
    good = sender(babylon.stack.settings).send_task("babylon.train_window.v1", (None,))
    run = f"Task babylon.train_window.v1[{good.id}] succeeded"  # some of the others succeed too
    until("the good one is run", lambda: run in babylon.log("gpu-worker"))

    assert babylon.trainer() == trainer
    babylon.terminate("gpu-worker").child.wait(60)
    assert client.hlen(KEY_PREFIX + "unacked") == 0
    for queue in queues:
        assert queued(client, queue) == [], "nothing is put back at the end"


@pytest.mark.parametrize("kind", ["string", "hash", "set", "zset", "stream"])
def test_a_queue_of_another_type_is_removed(
    babylon: Babylon, client: redis.Redis, kind: str
) -> None:
    (window,) = hours(1)
    babylon.record(window)
    discover(babylon.stack.settings, actor="test")
    babylon.start("cpu-worker")
    worker = psutil.Process(babylon.process("cpu-worker").child.pid)
    until("it listens", lambda: "ready" in babylon.log("cpu-worker"))

    for name in ("cpu", "upkeep", "unacked", "unacked_index", "_kombu.binding.cpu"):
        _put(client, KEY_PREFIX + name, kind)
    until("the queue is free again", lambda: client.type(KEY_PREFIX + "cpu") in (b"none", b"list"))
    sender(babylon.stack.settings).send_task(SCORE, (window,))
    babylon.await_states([window], "scored")

    assert worker.is_running()


def _put(client: redis.Redis, key: str, kind: str) -> None:
    client.delete(key)
    match kind:
        case "string":
            client.set(key, "x")
        case "hash":
            client.hset(key, "x", "not JSON")
        case "set":
            client.sadd(key, "x")
        case "zset":
            client.zadd(key, {"x": 1})
        case "stream":
            client.xadd(key, {"x": "y"})


def test_garbage_among_the_commands_ends_nobody_and_no_command_can(
    babylon: Babylon, client: redis.Redis
) -> None:
    babylon.start("cpu-worker", "flower")
    until("it listens", lambda: "ready" in babylon.log("cpu-worker"))
    child = babylon.pool_child("cpu-worker")
    app = sender(babylon.stack.settings)
    until("it answers", lambda: app.control.ping(timeout=1))

    for channel in ("/0.celery.pidbox", "/0.celeryev/task.received"):
        for kind in (*garbage().values(), *overloaded().values()):
            if len(kind) < 1_000_000:
                client.publish(KEY_PREFIX + channel, kind)
    for command, arguments in (
        ("shutdown", {}),
        ("time_limit", {"task_name": SCORE, "hard": 0.001, "soft": 0.001}),
        ("revoke", {"task_id": "x", "terminate": True, "signal": "SIGKILL"}),
        ("pool_shrink", {"n": 1}),
        ("pool_restart", {}),
        ("add_consumer", {"queue": "theirs"}),
        ("no_such_command", {}),
    ):
        app.control.broadcast(command, arguments)

    assert until("it answers", lambda: app.control.ping(timeout=1))
    found = until("it lists its queues", lambda: app.control.inspect(timeout=2).active_queues())
    (queues,) = found.values()
    assert {queue["name"] for queue in queues} == {"cpu", "upkeep"}
    assert babylon.pool_child("cpu-worker") == child
    assert all(process.child.poll() is None for process in babylon.stack.processes)
