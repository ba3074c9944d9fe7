"""What probes answer: a process that moves, one that hangs, one whose Redis is away."""

from __future__ import annotations

import pytest

from babylon_tasks.tasks.health import liveness
from babylon_tasks.tasks.health.liveness import STALE_SECONDS, Probe, Pulse


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(liveness.time, "monotonic", clock.monotonic)
    return clock


def probe(moving: Pulse, *, away: bool = False, serves: bool = True) -> Probe:
    return Probe(moving, lambda: "no answer" if away else None, lambda: serves)


def connected() -> Pulse:
    moving = Pulse()
    moving.connected = True
    return moving


def test_a_process_that_turns_is_alive_and_ready(clock: Clock) -> None:
    moving = connected()
    clock.now += STALE_SECONDS / 2
    assert probe(moving).alive()[0]
    assert probe(moving).ready() == (True, "ready")


def test_a_process_that_hangs_while_redis_answers_is_dead(clock: Clock) -> None:
    stuck = connected()
    clock.now += STALE_SECONDS + 1
    alive, why = probe(stuck).alive()
    assert not alive
    assert "stopped 61 s ago" in why
    assert not probe(stuck).ready()[0]
    stuck.turn()
    assert probe(stuck).alive()[0]


@pytest.mark.parametrize("away", [True, False])
def test_no_process_is_restarted_because_redis_is_away(clock: Clock, *, away: bool) -> None:
    waiting = Pulse()  # a worker knows that it lost its connection
    waiting.connected = away  # beat does not, and asks
    clock.now += 3600
    alive, why = probe(waiting, away=away).alive()
    assert alive
    assert "waiting for Redis" in why


def test_what_is_not_connected_is_not_ready(clock: Clock) -> None:
    assert probe(Pulse()).ready() == (False, "not connected to Redis")
    assert probe(connected(), away=True).ready() == (
        False,
        "Redis takes no messages: no answer",
    )
    interrupted = connected()
    interrupted.interrupt("it is full")
    assert probe(interrupted).ready() == (False, "not connected to Redis: it is full")


def test_a_gpu_worker_is_ready_when_its_trainer_serves(clock: Clock) -> None:
    assert probe(connected(), serves=False).ready() == (False, "the trainer does not serve yet")
