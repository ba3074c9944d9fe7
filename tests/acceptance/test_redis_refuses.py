"""Redis answers, but refuses: the same processes wait, say so, and go on when it is over.

Each fault is made on the real server while a step is under way, and healed afterwards. All are of
`make faults`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest
import redis
from acceptance.harness import Babylon, hours, until
from acceptance.outcome import assert_trained_once
from acceptance.test_metrics import ask

from babylon_tasks.sandbox.servers import EmbeddedValkey, free_port
from babylon_tasks.tasks.app import KEY_PREFIX

MakeBabylon = Callable[..., Babylon]
NAMES = ("gpu-worker", "cpu-worker", "beat")


def full(client: redis.Redis) -> None:
    client.config_set("maxmemory", "1mb")  # less than it needs without any key


def full_of_our_own(client: redis.Redis) -> None:
    client.lpush(KEY_PREFIX + "gpu", *["x" * 10_000] * 500)
    used: int = client.info("memory")["used_memory"]  # type: ignore[index]
    client.config_set("maxmemory", used - 2_000_000)


def read_only(client: redis.Redis) -> None:
    client.replicaof("127.0.0.1", free_port())


def locked(client: redis.Redis) -> None:
    client.config_set("requirepass", "rotated-and-unknown-to-them")
    _disconnect_the_others(client)


def without_rights(client: redis.Redis) -> None:
    client.execute_command("ACL", "SETUSER", "default", "-brpop", "-lpush", "-set")


def without_disk(client: redis.Redis) -> None:
    client.config_set("min-replicas-to-write", "1")  # refused just as with MISCONF


def healed(client: redis.Redis) -> None:
    client.replicaof("NO", "ONE")
    client.config_set("min-replicas-to-write", "0")
    client.config_set("maxmemory", "0")
    client.execute_command("ACL", "SETUSER", "default", "+@all")
    client.config_set("requirepass", client.connection_pool.connection_kwargs["password"])


def _disconnect_the_others(client: redis.Redis) -> None:
    mine = client.client_id()
    for other in client.client_list():
        if int(other["id"]) != mine:
            with suppress(redis.ResponseError):
                client.client_kill_filter(_id=other["id"])


@pytest.mark.faults
@pytest.mark.parametrize(
    ("fault", "why"),
    [
        pytest.param(full, "full: ", marks=pytest.mark.long),
        (full_of_our_own, None),  # worked off by the worker
        (read_only, "read_only: "),
        pytest.param(locked, "login: ", marks=pytest.mark.long),
        (without_rights, "login: "),
        (without_disk, "refused: "),
    ],
)
def test_the_same_processes_go_on_when_it_is_over(
    make_babylon: MakeBabylon,
    broker: EmbeddedValkey,
    fault: Callable[[redis.Redis], None],
    why: str | None,
) -> None:
    babylon = make_babylon(broker=broker.url)
    first, second = hours(2)
    babylon.record(first, groups=40)
    babylon.start(*NAMES, "flower")
    babylon.await_running_step()
    trainer = babylon.trainer()
    before = [psutil.Process(babylon.process(name).child.pid) for name in (*NAMES, "flower")]

    with redis.Redis.from_url(broker.url, single_connection_client=True) as client:
        client.ping()  # it stays logged in
        fault(client)
        babylon.await_states([first], "trained")
        babylon.record(second)
        if why is not None:
            until(
                "all are unready, and say why",
                lambda: all(_unready(babylon, name, why) for name in NAMES),
            )
            time.sleep(12)  # longer than the longest pause between two tries
            healed(client)

    babylon.await_states([first, second], "trained")
    assert_trained_once(babylon, [first, second], tries=1)
    until("all are ready", lambda: all(ask(babylon, name, "/readyz")[0] == 200 for name in NAMES))
    assert babylon.trainer() == trainer, "the agents had their model all the time"
    assert all(process.is_running() for process in before)
    assert all(ask(babylon, name, "/livez")[0] == 200 for name in NAMES)


def _unready(babylon: Babylon, name: str, why: str) -> bool:
    status, text = ask(babylon, name, "/readyz")
    return status == 503 and why in text


@pytest.mark.faults
@pytest.mark.parametrize("fault", [full, pytest.param(read_only, marks=pytest.mark.long), locked])
def test_processes_that_are_started_meanwhile_wait_for_it_too(
    make_babylon: MakeBabylon, broker: EmbeddedValkey, fault: Callable[[redis.Redis], None]
) -> None:
    babylon = make_babylon(broker=broker.url)
    (window,) = hours(1)
    babylon.record(window)
    with redis.Redis.from_url(broker.url, single_connection_client=True) as client:
        client.ping()
        fault(client)
        babylon.start(*NAMES, "flower")
        trainer = until("the agents have their model", babylon.trainer)
        time.sleep(12)
        healed(client)

    babylon.await_states([window], "trained")
    assert babylon.trainer() == trainer
    assert_trained_once(babylon, [window], tries=1)


def test_a_worker_that_waits_for_redis_can_be_stopped(
    make_babylon: MakeBabylon, broker: EmbeddedValkey
) -> None:
    babylon = make_babylon(broker=broker.url)
    babylon.start("cpu-worker")
    with redis.Redis.from_url(broker.url) as client:
        read_only(client)
        until(
            "it waits for long",
            lambda: any(line.get("next_try_in", 0) > 2 for line in babylon.lines("cpu-worker")),
        )
        assert babylon.terminate("cpu-worker").child.wait(60) == 0
