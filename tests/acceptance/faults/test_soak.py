"""Every fault, one after the other in an order drawn by a seed, under one running system.

``make soak ARGS="--seed 7"`` draws the same hours, faults and pauses again. How far the system has
come when a fault strikes is up to the machine.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

import pytest
from acceptance.faults import points
from acceptance.faults.agents import Agents
from acceptance.faults.cells import ON_OTHER_SYSTEMS, STRUCK
from acceptance.faults.conftest import MakeSystem
from acceptance.faults.ends import assert_ended_well
from acceptance.faults.kinds import ON_SMALL_DISK
from acceptance.faults.strikes.strike import Strike
from acceptance.faults.system import System
from acceptance.harness import hours
from acceptance.outcome import assert_invariants

PAUSE_SECONDS = 4.0  # at most, between two faults; and how long one lasts, where it can last
AT_A_TIME = 4  # hours that become known between two faults, at most
STRIKES: list[Strike] = list({**STRUCK, **dict(ON_OTHER_SYSTEMS[ON_SMALL_DISK])})


@pytest.fixture
def system(make_system: MakeSystem, request: pytest.FixtureRequest) -> Iterator[System]:
    """One whose Postgres may run out of disk too."""
    with make_system(ON_SMALL_DISK) as made:
        request.node.babylon = made
        yield made


def draw(seed: int, windows: list[str]) -> list[tuple[list[str], float, Strike, float]]:
    """Hours, a pause, a fault and how long it lasts, until there are no more hours."""
    rng, left, drawn = random.Random(seed), list(windows), []
    strikes: list[Strike] = []
    while left:
        if not strikes:  # all kinds, before one of them comes again
            strikes = list(STRIKES)
            rng.shuffle(strikes)
        now, left = left[: (taken := rng.randint(1, AT_A_TIME))], left[taken:]
        drawn.append((now, PAUSE_SECONDS * rng.random(), strikes.pop(), rng.random()))
    return drawn


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_no_window_is_lost_or_used_twice(system: System, seed: int, soak_windows: int) -> None:
    windows = system.next_hours(soak_windows)
    points.start(system)
    system.agents = Agents(system)
    with system.agents:
        for number, (now, pause, strike, lasting) in enumerate(draw(seed, windows)):
            print(f"{number}: {len(now)} hours, {pause:.1f} s, {strike.__name__}", flush=True)
            for window in now:
                system.record(window)
            time.sleep(pause)
            with strike(system):
                time.sleep(PAUSE_SECONDS * lasting)
            assert_invariants(system)
        system.await_states(windows, "trained", seconds=1800)

    assert_ended_well(system, windows)


def test_a_seed_draws_the_same_again() -> None:
    assert draw(3, hours(50)) == draw(3, hours(50))
    assert draw(3, hours(50)) != draw(4, hours(50))
    assert {strike for *_, strike, _ in draw(3, hours(200))} == set(STRIKES), "all kinds in one run"
