"""What each move of a window changes, and which windows it leaves alone."""

from __future__ import annotations

from typing import Any

import pytest
from evidence import settings
from one_moment import EARLIER, LATER, alter, states_but, window
from scored_windows import column, hour

from babylon_tasks.db import scoring
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import execute
from babylon_tasks.errors import StaleLease
from babylon_tasks.states import WINDOW_TRANSITIONS, WindowState, WindowTransition

SETTINGS = settings()

# What a move finds in each column that one of them changes, unless it is of another window.
BEFORE = f"""
    reason = 'before', rescore = 'marked', waits_until = now(), attempt = 2, training_tries = 2,
    next_attempt_at = {EARLIER}, enqueued_at = {EARLIER}, lease_owner = 'worker',
    lease_until = {LATER}, left_over = 7, reward_version = 3, trained_at = {EARLIER},
    sealed_at = {EARLIER}, scored_at = {EARLIER}"""
COUNTED = dict.fromkeys(("trajectories", "agents", "scored", "rejected"), 1)
MEASURED = dict.fromkeys(("reward_mean", "reward_std", "profit_mean", "right_share"), 0.5)
PARAMETERS = (
    {"owner": "worker", "attempts": 2, "lease": 60, "reason": "why", "delay": 60}
    | {"counted": 1}
    | {"left_over": 5, "reward_version": 4, "waits": False, "wait_seconds": 0}
    | COUNTED
    | MEASURED
)
NOW, SOON = "now", "in a minute"
UNLEASED = {"lease_owner": None, "lease_until": None}
AT_ONCE = {"next_attempt_at": None}
UNSENT = AT_ONCE | {"enqueued_at": None}
SCORED = {"reason": "why", "reward_version": 4, "waits_until": None, "scored_at": NOW} | (
    UNLEASED | AT_ONCE | COUNTED | MEASURED
)
STOPPED = {"reason": "why", "next_attempt_at": SOON, **UNLEASED}
# What each leaves, beside the state.
CHANGES: dict[tuple[str, str], dict[str, object]] = {
    ("claim", "scoring"): {"reason": None, "attempt": 3, "lease_until": SOON, **AT_ONCE},
    ("finish", "scored"): SCORED,
    **{("finish", end): SCORED | {"left_over": 0} for end in ("held_out", "trained", "skipped")},
    **{("give back", end): STOPPED for end in ("sealed", "failed")},
    **{("expire", end): STOPPED for end in ("sealed", "failed")},
    **{("free", end): STOPPED for end in ("scored", "failed")},
    ("close", "skipped"): STOPPED,
    ("close", "trained"): STOPPED | {"trained_at": NOW},
    ("give up", "failed"): STOPPED,
    ("reopen", "scored"): STOPPED,
    ("seal again", "sealed"): (
        {"reason": None, "rescore": None, "waits_until": None, "attempt": 0, "sealed_at": NOW}
        | UNSENT
    ),
    ("return", "scored"): {"reason": None, "left_over": 5, "training_tries": 0, **UNSENT},
    ("take", "training"): {"training_tries": 3, **AT_ONCE},
    ("end", "scored"): {"left_over": 5, "training_tries": 0, **UNSENT},
    ("end", "trained"): (
        {"left_over": 5, "training_tries": 0, "trained_at": NOW, "rescore": None} | UNSENT
    ),
    **{
        ("retry", end): {"reason": None, "attempt": 0, "training_tries": 0, **UNSENT}
        for end in ("sealed", "scored")
    },
}
MOVES = [
    (transition, target)
    for transition in WINDOW_TRANSITIONS
    if transition.name != "seal"  # it counts Babylon's rows
    for target in sorted(transition.targets)
]


def as_rows(connection: Connection) -> dict[str, dict[str, Any]]:
    found = column(connection, "SELECT to_jsonb(w) FROM training.windows w")
    return {row["window_id"]: row for row in found if isinstance(row, dict)}


def by_name(case: object) -> str:
    return getattr(case, "name", str(case))


@pytest.mark.parametrize(("transition", "target"), MOVES, ids=by_name)
def test_a_move_changes_one_window_and_of_it_what_the_table_says(
    moment: Connection, transition: WindowTransition, target: WindowState
) -> None:
    for number, state in enumerate(WindowState):
        window(moment, number, state)
        window(moment, number + len(WindowState), state)
    alter(moment, "windows", BEFORE)
    times = "SELECT to_jsonb(now()), to_jsonb(now() + interval '60 s')"
    now, soon = moment.execute(times).fetchone() or ()
    given = {**PARAMETERS, "target": target, "sources": [str(one) for one in transition.sources]}
    expected = as_rows(moment)

    for number, state in enumerate(WindowState):
        moved = execute(moment, transition.statement, **{**given, "window": hour(number)})
        assert moved == (state in transition.sources)
        if moved:
            changes = CHANGES[transition.name, target]
            left = {k: {NOW: now, SOON: soon}.get(str(v), v) for k, v in changes.items()}
            expected[hour(number)] |= left | {"state": target, "updated_at": now}

    assert as_rows(moment) == expected


@pytest.mark.parametrize("name", ["finish", "give back"])
@pytest.mark.parametrize("unlike", [{"owner": "another"}, {"attempts": 3}], ids=by_name)
def test_only_the_claim_that_holds_a_window_ends_it(
    moment: Connection, name: str, unlike: dict[str, object]
) -> None:
    claimed = window(moment, 1, "scoring", but=BEFORE)
    (transition,) = [one for one in WINDOW_TRANSITIONS if one.name == name]
    about = {"window": claimed, "target": "skipped", "sources": ["scoring"]}

    assert not execute(moment, transition.statement, **{**PARAMETERS, **about, **unlike})
    assert execute(moment, transition.statement, **{**PARAMETERS, **about})


@pytest.mark.parametrize("but", [*states_but("scoring"), "attempt = 3", "lease_owner = 'another'"])
def test_only_the_claim_that_holds_a_window_renews_its_lease(moment: Connection, but: str) -> None:
    claimed, other = (window(moment, number, "scoring", but=BEFORE) for number in (1, 2))
    claim = scoring.Claim(claimed, "worker", 2, 1, False, None)

    scoring.renew(moment, claim, SETTINGS)

    until = "SELECT lease_until - now() FROM training.windows ORDER BY window_id"
    first, second = column(moment, until)
    assert (str(first), str(second)) == ("0:01:30", "0:00:00.001000")
    assert other != claimed
    alter(moment, "windows", but)
    with pytest.raises(StaleLease):
        scoring.renew(moment, claim, SETTINGS)
