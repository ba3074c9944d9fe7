"""Which answers of the checkpoints' server bring agents the fallback, and when it is asked again.

Through sockets; only the pause between two tries is by a clock of the test's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest
from endpoint import until
from gateways import Played

from babylon_tasks.gateway import breaker
from babylon_tasks.gateway.breaker import FAILURES, PAUSE_SECONDS

pytestmark = pytest.mark.contract(None)

Play = Callable[..., AbstractContextManager[Played]]


class Clock:
    """It stands still while nobody moves it."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(breaker, "time", made)
    return made


def why(made: Played) -> str | None:
    """Why the fallback answered; None: a checkpoint did."""
    reply = made.ask()
    assert reply.status_code == 200
    return reply.headers.get("x-babylon-fallback")


def asked(made: Played) -> int:
    """How many questions of agents the checkpoints' server has seen."""
    return sum(b"ACME" in body for _, body in made.trainer.came)


@contextmanager
def failing(made: Played, **how: Any) -> Iterator[None]:
    """The checkpoints' server does this as long as the block lasts."""
    before = {name: getattr(made.trainer, name) for name in how}
    for name, value in how.items():
        setattr(made.trainer, name, value)
    yield
    for name, value in before.items():
        setattr(made.trainer, name, value)


FAILURE: dict[str, dict[str, Any]] = {
    "error": {"status": 500},
    "busy": {"status": 429},
    "no_model": {"status": 404},
    "refused": {"status": 401},
    "broken": {"lost": 1},
}


def test_each_kind_of_failure_opens_it_and_an_answer_closes_it(played: Play, clock: Clock) -> None:
    with played(gateway_fallback="other/m") as made:
        for reason, how in FAILURE.items():
            with failing(made, **how):
                assert [why(made) for _ in range(FAILURES)] == [reason] * FAILURES
                before = asked(made)
                assert [why(made) for _ in range(3)] == ["paused"] * 3
                assert asked(made) == before, "nobody waits for it meanwhile"
            clock.now += PAUSE_SECONDS
            assert [why(made) for _ in range(2)] == [None, None], f"after {reason} it is asked"


def test_a_server_that_is_too_slow_opens_it(played: Play, clock: Clock) -> None:
    with (
        played(gateway_fallback="other/m", gateway_trainer_seconds=2) as made,
        ThreadPoolExecutor(FAILURES) as agents,
    ):
        with failing(made, seconds=2.5):
            assert list(agents.map(why, [made] * FAILURES)) == ["timeout"] * FAILURES
            assert why(made) == "paused"
        clock.now += PAUSE_SECONDS
        assert why(made) is None


@pytest.mark.usefixtures("clock")
def test_a_server_that_is_not_there_opens_it(played: Play) -> None:
    with played(gateway_fallback="other/m") as made:
        made.trainer.server.shutdown()
        made.trainer.server.server_close()
        found = [why(made) for _ in range(FAILURES + 1)]
    assert found == ["connect"] * FAILURES + ["paused"]


def test_what_is_wrong_with_requests_and_slow_answers_do_not_open_it(played: Play) -> None:
    with played(gateway_fallback="other/m") as made:
        with failing(made, status=400):
            assert {made.ask().status_code for _ in range(2 * FAILURES)} == {400}
        with failing(made, seconds=0.3), ThreadPoolExecutor(2 * FAILURES) as agents:
            found = agents.map(why, [made] * 2 * FAILURES)
            assert set(found) == {None}


def test_an_answer_between_failures_is_enough(played: Play) -> None:
    with played(gateway_fallback="other/m") as made:
        for _ in range(2):
            with failing(made, status=500):
                assert [why(made) for _ in range(FAILURES - 1)] == ["error"] * (FAILURES - 1)
            assert why(made) is None


def test_one_request_tries_again_and_the_others_do_not_wait_for_it(
    played: Play, clock: Clock
) -> None:
    with played(gateway_fallback="other/m") as made, ThreadPoolExecutor(1) as agent:
        with failing(made, status=500):
            for _ in range(FAILURES):
                why(made)
            clock.now += PAUSE_SECONDS
            made.trainer.seconds = 1.0
            before = asked(made)
            trying = agent.submit(why, made)
            until(lambda: asked(made) == before + 1)
            assert [why(made) for _ in range(3)] == ["paused"] * 3
            assert trying.result() == "error"
            made.trainer.seconds = 0.0
            assert why(made) == "paused", "it failed, so the pause goes on"
        assert asked(made) == before + 1
        clock.now += PAUSE_SECONDS
        assert [why(made) for _ in range(2)] == [None, None]


@pytest.mark.usefixtures("clock")
def test_who_names_a_checkpoint_is_not_kept_from_it(played: Play) -> None:
    with played(gateway_fallback="other/m") as made:
        with failing(made, status=500):
            for _ in range(FAILURES):
                why(made)
        assert why(made) == "paused"
        assert made.ask("tests@0").json()["model"] == "tests@0"
        assert why(made) is None, "its answer says that the server is back"
