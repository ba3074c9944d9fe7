"""A refused checkpoint is a dead branch once the next step starts without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from evaluated_checkpoints import LINEAGE, evaluated, held_out_windows, trained
from factories import rewrite
from peer import PeerTrainer
from scored_windows import column, hour, scored_window

from babylon_tasks.db import lineages, promotions, refusals, windows
from babylon_tasks.db.consumption import Use, consume
from babylon_tasks.db.invariants import violations
from babylon_tasks.db.session import Connection
from babylon_tasks.db.trajectory_history import trajectory_history
from babylon_tasks.decisions import Decision
from babylon_tasks.errors import DatabaseError
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.results import TrainOutcome
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.reasons import UsedAs
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings


@pytest.fixture
def held(connection: Connection, settings: Settings, trainer: PeerTrainer) -> Connection:
    """Step 1 serves, step 2 of the second hour was refused."""
    held_out_windows(connection)
    for n, action in ((1, "promoted"), (2, "held")):
        trained(connection, settings, trainer, n)
        assert evaluated(settings, trainer).action == action
    return connection


def train(settings: Settings, trainer: PeerTrainer, n: int | None = None) -> TrainOutcome:
    window = None if n is None else hour(n)
    return train_window(settings, trainer, window=window, actor="test")


def dead(connection: Connection) -> list[object]:
    return column(
        connection, "SELECT step FROM training.checkpoints WHERE dead_at IS NOT NULL ORDER BY step"
    )


def of_hour(connection: Connection, n: int) -> list[object]:
    query = 'SELECT "trajectoryId" FROM trajectories WHERE "windowId" = %s'
    return column(connection, query, hour(n))


def no_violation(connection: Connection, settings: Settings) -> None:
    assert violations(connection, settings) == []


def test_a_hold_alone_ends_nothing(held: Connection) -> None:
    assert dead(held) == []
    assert windows.get(held, hour(2)).state == "trained"


def test_what_a_dead_branch_has_used_is_used_again_by_its_sibling_and_both_are_on_record(
    held: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    scored_window(held, hour(3))
    closed = "UPDATE training.windows SET reason = 'no_spread' WHERE window_id = %s"
    held.execute(closed, [hour(2)])  # as where the rest of it taught nothing

    outcome = train(settings, trainer)

    assert (outcome.step, outcome.windows) == (3, [hour(2), hour(3)])
    assert dead(held) == [2]
    assert column(held, "SELECT parent_step FROM training.steps ORDER BY id") == [0, 1, 1]
    assert windows.get(held, hour(2)).state == "trained"
    for one in of_hour(held, 2):
        history = trajectory_history(held, str(one), lineage=LINEAGE)
        assert history is not None
        assert history.account == "used"
        assert "by step 3" in history.detail
        assert [(use.step, use.dead_at is None) for use in history.uses] == [(3, True), (2, False)]
    mark = column(held, 'SELECT DISTINCT "trainedInBatch" FROM trajectories ORDER BY 1')
    assert mark == ["babylon@1", "babylon@3", None]
    no_violation(held, settings)


def test_two_living_branches_cannot_use_a_trajectory(
    held: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    lease = lineages.claim(held, LINEAGE, "another", 30)
    assert lease is not None
    again = Use(str(of_hour(held, 2)[0]), 1, hour(2), UsedAs.TRAINED)
    with pytest.raises(DatabaseError, match="already used"), held.transaction():
        consume(held, lease, [again], step_id=None)


def test_a_use_that_outlives_its_branch_and_two_by_one_branch_are_found(
    held: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    scored_window(held, hour(3))
    train(settings, trainer)
    held.execute("UPDATE training.consumption SET dead_at = NULL WHERE window_id = %s", [hour(1)])
    no_violation(held, settings)

    held.execute("UPDATE training.checkpoints SET dead_at = now() WHERE step = 1")
    held.execute(
        "UPDATE training.steps SET manifest = jsonb_set(manifest, '{parent_step}', '2')"
        " WHERE target_step = 3"
    )

    found = {(one.invariant, one.window) for one in violations(held, settings)}
    assert ("uses_of_dead_branches", hour(1)) in found
    assert ("used_twice_by_one_branch", hour(2)) in found


# --- what a refusal changes


def test_each_refusal_for_harm_halves_the_rate_of_the_next_step(
    held: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    for n in (3, 4):
        serving.refuse(held, LINEAGE, n - 1, reason="says one thing only", actor="operator")
        trainer.values |= {n: 0.9 if n == 4 else 0.3}
        scored_window(held, hour(n))
        train(settings, trainer, n)
        last = evaluated(settings, trainer)

    assert last.action == "promoted"
    _, second, third, fourth = [request.learning_rate for request in trainer.requests]
    assert [third / second, fourth / second] == pytest.approx([1 / 2, 1 / 4])
    planned = "SELECT detail -> 'refused_before' FROM training.events WHERE kind = 'step_planned'"
    assert column(held, f"{planned} ORDER BY id") == [None, None, 1, 2]
    trained(held, settings, trainer, 5)
    assert trainer.requests[-1].learning_rate == pytest.approx(second, rel=0.1)


def test_after_five_that_were_no_better_in_a_row_the_next_ones_rate_is_halved(
    held: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    """Nobody stands behind the gate for ever: five refusals are not chance any more."""
    for n in range(3, 8):
        trainer.values |= {n: 0.3}
        scored_window(held, hour(n))
        train(settings, trainer, n)
        assert evaluated(settings, trainer).action == "held"

    rates = [request.learning_rate for request in trainer.requests]
    assert rates[1] == rates[5], "four refusals change nothing"
    assert rates[6] == pytest.approx(rates[5] / 2)
    planned = "SELECT detail -> 'rate_halved' FROM training.events WHERE kind = 'step_planned'"
    assert column(held, f"{planned} ORDER BY id") == [None, None, 0, 0, 0, 0, 1]


def test_a_step_that_was_evaluated_as_no_better_leaves_the_rate_as_it_is(
    held: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    scored_window(held, hour(3))
    train(settings, trainer, 3)

    _, second, third = [request.learning_rate for request in trainer.requests]
    assert third == second
    assert dead(held) == [2]


def test_decisions_that_do_not_say_why_they_refuse_are_read_as_they_were_written(
    held: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    """Once figures said at most that something was refused; an evaluation had its groups' hash."""
    older: list[tuple[Decision, dict[str, Any]]] = [
        (Decision.HOLD, {}),
        (Decision.HOLD, {"refused": False, "screen": 1}),
        (Decision.HOLD, {"refused": True, "set_hash": "x"}),
        (Decision.HOLD, {"refused": True}),
        (Decision.HOLD, {"screen": 1}),
        (Decision.ROLLBACK, {"refused": False}),
        (Decision.ROLLBACK, {}),
    ]
    rewrite(held, "promotions", "DELETE FROM training.promotions")
    for number, (decision, figures) in enumerate(older):
        who = {"from_step": 1, "to_step": 1, "actor": "t", "reason": "r", "figures": figures}
        about = "from_step" if decision is Decision.ROLLBACK else "to_step"
        promotions.record(held, LINEAGE, decision, **who | {about: number})

    assert refusals.refused(held, LINEAGE) == {2, 3, 4, 6}
    for_harm = refusals.in_favour(held, LINEAGE, only_harm=True)
    assert {one.step for one in for_harm} == {3, 4, 6}


def test_a_hold_for_lack_of_evidence_is_no_refusal(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    for n in (1, 2):
        trained(connection, settings, trainer, n)
        assert evaluated(settings, trainer).action == "held"
    first, second = trainer.requests
    assert first.learning_rate == second.learning_rate
    assert dead(connection) == []
    assert windows.get(connection, hour(1)).state == "trained"


@pytest.fixture
def too_few(connection: Connection, settings: Settings, trainer: PeerTrainer) -> Connection:
    """Steps 1 to 3 were held for lack of evidence, each beside the others; then evidence came."""
    trainer.values |= {3: 0.8, 4: 0.9}
    for n in (1, 2, 3):
        trained(connection, settings, trainer, n)
        assert evaluated(settings, trainer).action == "held"
    held_out_windows(connection)
    scored_window(connection, hour(4))
    return connection


def test_once_a_later_one_serves_what_those_held_for_lack_of_evidence_used_is_used_again(
    too_few: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    """They can never serve by themselves: evaluated is the newest. That is no refusal."""
    assert evaluated(settings, trainer).action == "promoted"
    assert dead(too_few) == []

    outcome = train(settings, trainer)

    assert (outcome.step, outcome.windows) == (4, [hour(1), hour(2), hour(4)])
    assert dead(too_few) == [1, 2]
    planned = "SELECT detail -> 'refused_before' FROM training.events WHERE kind = 'step_planned'"
    assert column(too_few, f"{planned} ORDER BY id") == [None] * 4
    no_violation(too_few, settings)
    serving.promote(too_few, LINEAGE, 2, reason="r", figures={}, actor="operator")
    assert dead(too_few) == [1, 3, 4]
    no_violation(too_few, settings)


def test_where_an_operator_decides_none_of_them_is_given_up(
    too_few: Connection, trainer: PeerTrainer, make_settings: Callable[..., Settings]
) -> None:
    serving.promote(too_few, LINEAGE, 3, reason="r", figures={}, actor="operator")

    outcome = train(make_settings(promotion_mode="manual"), trainer)

    assert outcome.windows == [hour(4)]
    assert dead(too_few) == []


def test_what_was_held_beside_what_a_look_back_left_is_given_up_with_the_others(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    """Step 3 came from 2, which served before 1 did again, and never served itself: 4 does."""
    by_hand = {"reason": "r", "figures": {}, "actor": "operator"}
    for n in (1, 2):
        trained(connection, settings, trainer, n)
        serving.promote(connection, LINEAGE, n, **by_hand)
    trained(connection, settings, trainer, 3)
    assert evaluated(settings, trainer).action == "held"
    assert serving.go_back(connection, LINEAGE, 1, instead_of=2, **by_hand)
    trained(connection, settings, trainer, 4)
    assert dead(connection) == [], "nothing has been decided about it"
    serving.promote(connection, LINEAGE, 4, **by_hand)
    scored_window(connection, hour(5))

    outcome = train(settings, trainer)

    assert outcome.windows == [hour(3), hour(5)]
    assert dead(connection) == [3], "what served was right when it was taken"
    assert [request.parent_step for request in trainer.requests] == [0, 1, 2, 1, 4]
    no_violation(connection, settings)


def test_after_a_refusal_the_same_data_are_not_tried_again_until_something_is_new(
    held: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    serving.rollback(held, LINEAGE, reason="worse", actor="operator", to=0)
    assert windows.get(held, hour(2)).state == "scored", "it can be used again"

    waiting = train(settings, trainer)

    assert waiting.action == "idle"
    assert "nothing is new since" in str(waiting.reason)
    assert reconcile(settings, actor="test").to_train == []
    held_out_windows(held, 4)
    assert reconcile(settings, actor="test").to_train == [hour(1), hour(2)]
    assert train(settings, trainer).step == 3


# --- rollback


def test_a_rolled_back_checkpoint_that_is_promoted_by_hand_lives_again(
    held: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    serving.rollback(held, LINEAGE, reason="r", actor="operator")
    scored_window(held, hour(3))
    assert train(settings, trainer).windows == [hour(1), hour(2), hour(3)]
    assert dead(held) == [1, 2]

    serving.promote(held, LINEAGE, 1, reason="r", figures={}, actor="operator")

    assert dead(held) == [2, 3]
    no_violation(held, settings)
    assert windows.get(held, hour(3)).state == "scored"
    assert evaluated(settings, trainer).reason == (
        "the branch of babylon@3 is dead; the next checkpoint is evaluated"
    )


def test_the_gate_does_not_promote_a_dead_checkpoint(
    held: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    serving.rollback(held, LINEAGE, reason="r", actor="operator")

    assert not serving.promote(held, LINEAGE, 2, reason="r", figures={}, actor="t", instead_of=0)
    assert serving.serving(held, LINEAGE).step == 0


def test_a_rollback_while_a_step_starts_from_what_served_is_noticed(
    held: Connection, settings: Settings, make_settings: Callable[..., Settings]
) -> None:
    """The step in work is not run again, and what it has become is a dead branch."""
    retries = make_settings(retry_delay_seconds=0)
    dying = PeerTrainer(settings.data_dir, falls="before_writing")
    scored_window(held, hour(3))
    train(retries, dying)
    serving.rollback(held, LINEAGE, reason="worse", actor="operator")

    failed = train(retries, PeerTrainer(settings.data_dir))

    assert failed.action == "failed"
    assert "babylon@1, from which it starts, was rolled back meanwhile" in str(failed.reason)
    ended = train(retries, PeerTrainer(settings.data_dir))
    assert (ended.step, ended.windows) == (3, [hour(1), hour(2), hour(3)])
    assert column(held, "SELECT parent_step FROM training.steps ORDER BY id DESC LIMIT 1") == [0]
    no_violation(held, settings)
