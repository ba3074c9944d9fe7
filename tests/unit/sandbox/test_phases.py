"""The time of a demo's windows is told apart by phase, and all of it counts once."""

from __future__ import annotations

from babylon_tasks.sandbox.phases import Phase, PhaseClock


def test_each_second_between_start_and_stop_is_of_one_phase() -> None:
    times = iter([0.0, 1.0, 4.0, 6.0, 7.0, 20.0, 22.0])
    clock = PhaseClock(lambda: next(times))

    clock.enter(Phase.SAMPLING)  # at 1
    clock.enter(Phase.PENDING)  # at 4
    clock.enter(Phase.PENDING)  # at 6
    clock.stop()  # at 7
    clock.enter(Phase.SAMPLING)  # at 20: nothing ran between
    clock.stop()  # at 22

    assert {phase: seconds for phase, seconds in clock.seconds.items() if seconds} == {
        Phase.SAMPLING: 5.0,
        Phase.PENDING: 3.0,
    }
    assert [*clock.seconds] == [*Phase]
