"""What probes answer: a process that moves, one that hangs, one that lacks what it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from babylon_tasks.tasks.health import bounded_check, liveness
from babylon_tasks.tasks.health.bounded_check import FRESH_SECONDS, BoundedCheck, Run
from babylon_tasks.tasks.health.liveness import STALE_SECONDS, Probe, Pulse


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for module in (liveness, bounded_check):
        monkeypatch.setattr(module, "time", clock)
    return clock


class Redis:
    """What a check of Redis answers."""

    def __init__(self) -> None:
        self.away = False

    def __call__(self, _: Run) -> str | None:
        return "no answer" if self.away else None


@pytest.fixture
def server() -> Redis:
    return Redis()


@pytest.fixture
def probe(clock: Clock, server: Redis) -> Callable[..., Probe]:
    def make(moving: Pulse, *wrong: str, **how: Any) -> Probe:
        others = [BoundedCheck("other", lambda _, why=why: why) for why in wrong]
        return Probe(moving, BoundedCheck("Redis", server), *others, **how)

    return make


def connected() -> Pulse:
    moving = Pulse()
    moving.connected = True
    return moving


MakeProbe = Callable[..., Probe]


def test_a_process_that_turns_is_alive_and_ready(clock: Clock, probe: MakeProbe) -> None:
    moving = connected()
    clock.now += STALE_SECONDS / 2
    assert probe(moving).alive()[0]
    assert probe(moving).ready() == (True, "ready")


def test_a_process_that_hangs_while_redis_answers_is_stuck(clock: Clock, probe: MakeProbe) -> None:
    hanging = connected()
    clock.now += STALE_SECONDS + 1
    alive, why = probe(hanging).alive()
    assert not alive
    assert "stopped 61 s ago" in why
    assert not probe(hanging).ready()[0]
    hanging.turn()
    assert probe(hanging).alive()[0]


def test_no_process_is_restarted_because_redis_is_away(
    clock: Clock, probe: MakeProbe, server: Redis
) -> None:
    waiting = probe(connected())
    server.away = True
    clock.now += 3600
    alive, why = waiting.alive()
    assert alive
    assert "waiting for Redis" in why

    server.away = False
    clock.now += STALE_SECONDS - 1
    assert waiting.alive()[0], "its next try to connect may still be to come"
    clock.now += 2
    assert not waiting.alive()[0]


def test_a_worker_that_tries_to_connect_is_not_stuck_whatever_redis_answers_others(
    clock: Clock, probe: MakeProbe
) -> None:
    trying = Pulse()
    clock.now += 3600
    trying.interrupt("it may not BRPOP")
    assert probe(trying).alive()[0]


def test_a_stuck_child_makes_its_worker_stuck(clock: Clock, probe: MakeProbe) -> None:
    found = probe(connected(), stuck=lambda: "pool child 7 has not run for 61 s")
    assert found.alive() == found.ready() == (False, "pool child 7 has not run for 61 s")


def test_what_is_not_connected_is_not_ready(clock: Clock, probe: MakeProbe, server: Redis) -> None:
    assert probe(Pulse()).ready() == (False, "not connected to Redis")
    interrupted = connected()
    interrupted.interrupt("it is full")
    assert probe(interrupted).ready() == (False, "not connected to Redis: it is full")
    server.away = True
    assert probe(connected()).ready() == (False, "Redis takes no messages: no answer")


def test_all_that_the_work_lacks_is_named(clock: Clock, probe: MakeProbe, server: Redis) -> None:
    server.away = True
    assert probe(connected(), "no schema", "no trainer").ready() == (
        False,
        "Redis takes no messages: no answer; no schema; no trainer",
    )


def test_a_ready_process_says_what_is_to_be_known(clock: Clock, probe: MakeProbe) -> None:
    asked = probe(connected(), remark=lambda: "checkpoint 2 cannot be loaded")
    assert asked.ready() == (True, "ready; checkpoint 2 cannot be loaded")


def test_an_answer_is_fresh_for_a_moment_only(
    clock: Clock, probe: MakeProbe, server: Redis
) -> None:
    asked = probe(connected())
    assert asked.ready()[0]
    server.away = True
    clock.now += FRESH_SECONDS / 2
    assert asked.ready()[0]
    clock.now += FRESH_SECONDS
    assert not asked.ready()[0]
