"""How often a window is tried, how long it waits in between, and where a retry puts it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from evidence import settings
from one_moment import EARLIER, alter, lineage, window
from scored_windows import column

from babylon_tasks.db import expired_claims, lineages, scoring, step_windows, window_transitions
from babylon_tasks.db.scoring import Claim
from babylon_tasks.db.session import Connection
from babylon_tasks.db.step_windows import InTraining

SETTINGS = settings(max_attempts=3, retry_delay_seconds=60)


def standing(connection: Connection) -> tuple[Any, ...]:
    """The window's state, its reason, and how long it waits."""
    query = "SELECT state, reason, next_attempt_at - now() FROM training.windows"
    return connection.execute(query).fetchone() or ()


# --- scoring


@pytest.mark.parametrize(("attempts", "minutes"), [(1, 1), (2, 2), (5, 16), (11, 1024), (40, 1024)])
def test_after_each_failed_scoring_a_window_waits_twice_as_long_up_to_a_limit(
    moment: Connection, attempts: int, minutes: int
) -> None:
    name = window(moment, 1, "scoring", but=f"attempt = {attempts}, lease_owner = 'me'")
    claim = Claim(name, "me", attempts, 1, False, None)
    patient = settings(max_attempts=99, retry_delay_seconds=60)

    assert scoring.release(moment, claim, "no memory", patient, actor="test") == "sealed"

    assert standing(moment) == ("sealed", None, timedelta(minutes=minutes))


@pytest.mark.parametrize(("version", "kept"), [(1, ""), (3, "; its rewards of version 2 are kept")])
def test_the_last_failed_scoring_fails_the_window(
    moment: Connection, version: int, kept: str
) -> None:
    name = window(moment, 1, "scoring", but="attempt = 3, lease_owner = 'me'")
    claim = Claim(name, "me", 3, version, False, None)

    assert scoring.release(moment, claim, "no memory", SETTINGS, actor="test") == "failed"

    reason = f"scoring failed 3 times, last: no memory{kept}"
    assert standing(moment) == ("failed", reason, None)


@pytest.mark.parametrize(("attempts", "failed"), [(2, False), (3, True)])
def test_a_lost_scoring_claim_is_an_attempt(
    moment: Connection, attempts: int, failed: bool
) -> None:
    name = window(moment, 1, "scoring", but=f"attempt = {attempts}, lease_until = {EARLIER}")

    found = expired_claims.release_expired(moment, SETTINGS, limit=10, actor="test")

    assert found == (([], [name]) if failed else ([name], []))
    state, reason, wait = standing(moment)
    assert (state, wait) == ("failed" if failed else "sealed", None)
    assert str(reason).startswith("3 scoring claims were lost") is failed


# --- training


@pytest.mark.parametrize(("attempts", "failed"), [(2, False), (3, True)])
def test_a_window_of_a_failed_step_waits_or_fails_with_its_last_attempt(
    moment: Connection, attempts: int, failed: bool
) -> None:
    row = InTraining(window(moment, 1, "training"), attempts)
    about: dict[str, Any] = {"lineage": "babylon", "step_id": 7, "actor": "test"}

    step_windows.free(moment, row, "no memory", SETTINGS, delay=60, **about)

    assert standing(moment) == (
        ("failed", "training failed 3 times, last: no memory", None)
        if failed
        else ("scored", None, timedelta(minutes=1))
    )


def test_a_window_on_which_the_trainer_fails_waits_and_fails_at_last(moment: Connection) -> None:
    lineage(moment)
    lease = lineages.claim(moment, "babylon", "me", 60)
    assert lease is not None
    name = window(moment, 1)

    for _ in range(2):
        step_windows.count_failure(moment, lease, name, "no memory", SETTINGS, actor="test")
        assert standing(moment) == ("scored", None, timedelta(minutes=1))
    step_windows.count_failure(moment, lease, name, "no memory", SETTINGS, actor="test")
    assert standing(moment)[:2] == ("failed", "training failed 3 times, last: no memory")

    step_windows.count_failure(moment, lease, name, "no memory", SETTINGS, actor="test")
    assert column(moment, "SELECT training_tries FROM training.windows") == [3]
    events = "SELECT detail -> 'attempts' FROM training.events WHERE kind = 'training_failed'"
    assert column(moment, events) == [1, 2]


def test_a_failure_of_one_window_is_not_counted_for_another(moment: Connection) -> None:
    lineage(moment)
    lease = lineages.claim(moment, "babylon", "me", 60)
    assert lease is not None
    name, _ = window(moment, 1), window(moment, 2)

    step_windows.count_failure(moment, lease, name, "no memory", SETTINGS, actor="test")

    waits = "SELECT training_tries, next_attempt_at IS NULL FROM training.windows ORDER BY 1"
    assert moment.execute(waits).fetchall() == [(0, True), (1, False)]


# --- a retry


@pytest.mark.parametrize(
    ("scored", "sealed", "state"),
    [
        ("NULL", "now()", "sealed"),
        ("now()", EARLIER, "scored"),
        ("now()", "now()", "scored"),
        ("now()", "NULL", "scored"),
        (EARLIER, "now()", "sealed"),
    ],
)
def test_a_retry_returns_a_window_to_where_it_failed(
    moment: Connection, scored: str, sealed: str, state: str
) -> None:
    name = window(moment, 1, "failed", but="reason = 'why', attempt = 3, training_tries = 3")
    alter(moment, "windows", f"scored_at = {scored}, sealed_at = {sealed}")

    assert window_transitions.retry(moment, name, actor="test") == state

    assert standing(moment) == (state, None, None)
    assert moment.execute("SELECT attempt, training_tries FROM training.windows").fetchall() == [
        (0, 0)
    ]
    assert column(moment, "SELECT detail ->> 'was' FROM training.events") == ["why"]
