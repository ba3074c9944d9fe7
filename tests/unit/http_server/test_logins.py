"""A login cannot be guessed at speed, and each guess leaves a line in the log."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from babylon_tasks.http_server.logins import Logins

HOME, AWAY = "192.0.2.7", "198.51.100.9"


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def logins(clock: Clock) -> Logins:
    return Logins(clock)


def fail(logins: Logins, times: int, address: str = HOME) -> list[int]:
    """Fail so often; the pause after each."""
    pauses = []
    for _ in range(times):
        logins.failed(address)
        pauses.append(logins.pause(address))
    return pauses


def test_a_few_mistakes_cost_nothing_and_each_further_one_doubles_the_pause(logins: Logins) -> None:
    assert fail(logins, 14) == [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_an_hour_of_guessing_is_a_few_guesses(logins: Logins, clock: Clock) -> None:
    guesses, end = 0, clock.now + 3600
    while clock.now < end:
        logins.failed(HOME)
        guesses += 1
        clock.now += logins.pause(HOME)
    assert guesses < 80


def test_a_pause_ends_and_the_failures_are_forgotten_by_a_right_login(
    logins: Logins, clock: Clock
) -> None:
    fail(logins, 8)
    clock.now += 8
    assert logins.pause(HOME) == 0
    logins.succeeded(HOME)
    assert fail(logins, 1) == [0]


def test_failures_of_a_quarter_of_an_hour_ago_are_forgotten(logins: Logins, clock: Clock) -> None:
    fail(logins, 10)
    clock.now += 901
    assert fail(logins, 1) == [0]


def test_another_address_is_not_paused_but_another_of_the_same_network_is(logins: Logins) -> None:
    fail(logins, 10)
    assert logins.pause(AWAY) == 0
    fail(logins, 10, "2001:db8:1:2::1")
    assert logins.pause("2001:db8:1:2:ffff::9") == 32
    assert logins.pause("2001:db8:1:3::1") == 0


def test_guesses_from_everywhere_fill_no_memory(logins: Logins) -> None:
    for number in range(10_000):
        logins.failed(f"10.0.{number // 256}.{number % 256}")
    assert len(logins._seen) == 4096


def test_who_goes_on_guessing_is_not_forgotten_for_those_who_fail_later(logins: Logins) -> None:
    fail(logins, 10)
    for number in range(4095):
        logins.failed(f"10.0.{number // 256}.{number % 256}")
    assert fail(logins, 1) == [60]
    logins.failed(AWAY)
    assert fail(logins, 1) == [60]


def test_each_guess_is_logged_with_its_address(logins: Logins) -> None:
    with capture_logs() as lines:
        fail(logins, 6)
    assert [line["event"] for line in lines] == ["login.refused"] * 6
    assert lines[-1] == {
        "event": "login.refused",
        "log_level": "warning",
        "address": HOME,
        "failures": 6,
        "pause_seconds": 2,
    }
