"""What the cells look at in the end refuses each outcome that a fault must not have.

No process runs: steps are trained by a peer, and then made to look like a bad end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from acceptance import outcome
from acceptance.conftest import MakeBabylon
from acceptance.faults.ends import assert_newest_serves
from acceptance.harness import Babylon
from acceptance.outcome import (
    assert_agents_are_answered,
    assert_evaluated_once,
    assert_recovered,
    undecided,
)
from factories import insert_trajectories, rewrite, step, trajectory
from peer import PeerTrainer
from scored_windows import hour, scored_window
from upstream import Upstream

from babylon_tasks.pipeline.evaluate import evaluate
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.training.checkpoints import WEIGHTS

HOURS = [hour(1), hour(2)]


@pytest.fixture
def agents_server() -> Iterator[Upstream]:
    """Answers agents in the trainer's place."""
    with Upstream() as server:
        yield server


@pytest.fixture
def ended(make_babylon: MakeBabylon, agents_server: Upstream) -> Babylon:
    """Two hours were trained, and each step's checkpoint was evaluated."""
    babylon = make_babylon(
        BABYLON_INFERENCE_PORT=str(agents_server.port),
        BABYLON_PROMOTION_MODE="evaluated",
        BABYLON_MIN_EVAL_GROUPS="1",
    )
    settings, connection = babylon.stack.settings, babylon.connection
    trainer = PeerTrainer(settings.data_dir, babylon.lineage)
    model = f"{babylon.lineage}@0"
    scored_window(connection, "2026-01-30T00:00", state="held_out", model=model)
    for window in HOURS:
        scored_window(connection, window, model=model)
        train_window(settings, trainer, window=window, actor="test")
        evaluate(settings, trainer, actor="test")
    return babylon


def checkpoint(babylon: Babylon, step: int) -> Path:
    query = "SELECT uri FROM training.checkpoints WHERE step = %s"
    return Path(babylon.rows(query, (step,))[0]["uri"])


def test_a_good_end_is_accepted(ended: Babylon) -> None:
    assert_recovered(ended, HOURS)
    assert_evaluated_once(ended)
    assert undecided(ended) == []


def test_a_worker_that_vanished_has_used_up_one_attempt_of_what_it_had_in_hand(
    ended: Babylon,
) -> None:
    ended.bereaved.update(HOURS[:1])
    of_its = "UPDATE training.steps SET tries = %s WHERE windows @> ARRAY[%s]"
    ended.connection.execute(of_its, (2, HOURS[0]))
    assert_recovered(ended, HOURS)

    ended.connection.execute(of_its, (3, HOURS[0]))
    with pytest.raises(AssertionError, match="that no worker took along"):
        assert_recovered(ended, HOURS)

    ended.bereaved.update(HOURS[:1])  # another one has vanished with it
    assert_recovered(ended, HOURS)


def begun_from_damaged(babylon: Babylon) -> None:
    (first,) = babylon.rows("SELECT committed_at FROM training.steps WHERE target_step = 1")
    babylon.harmed[str(checkpoint(babylon, 1))] = first["committed_at"]


def begun_again_from_damaged(babylon: Babylon) -> None:
    begun_from_damaged(babylon)
    babylon.harmed = dict.fromkeys(babylon.harmed, babylon.rows("SELECT now() AS now")[0]["now"])
    babylon.connection.execute(
        "INSERT INTO training.events (lineage, step_id, kind, actor)"
        " SELECT lineage, id, 'step_running', 'test' FROM training.steps WHERE target_step = 2"
    )


def weights_lost(babylon: Babylon) -> None:
    (checkpoint(babylon, 1) / WEIGHTS).write_bytes(b"other weights")


def garbage(*place: str) -> Callable[[Babylon], None]:
    def leave(babylon: Babylon) -> None:
        left = babylon.stack.settings.data_dir.joinpath(*place)
        left.parent.mkdir(parents=True, exist_ok=True)
        left.write_text("left")

    leave.__name__ = f"{place[-2]}_left"
    return leave


def trash(babylon: Babylon) -> None:
    (checkpoint(babylon, 1).parent / ".discarded-0003").mkdir()


def row_left(what: str, window: str, **columns: object) -> Callable[[Babylon], None]:
    """A row that nobody has looked at: no score, no rejection, and not of an hour on record."""

    def leave(babylon: Babylon) -> None:
        row = trajectory(window, "agent-left", [step(0, window=window)])
        insert_trajectories(babylon.connection, [row | columns])

    leave.__name__ = what
    return leave


def changed(what: str, statement: str) -> Callable[[Babylon], None]:
    def change(babylon: Babylon) -> None:
        babylon.connection.execute(statement)  # type: ignore[arg-type]

    change.__name__ = what
    return change


BAD_ENDS: list[tuple[Callable[[Babylon], None], str]] = [
    (begun_from_damaged, r"steps \[2\] were begun from a checkpoint whose files were damaged"),
    (
        begun_again_from_damaged,
        r"steps \[2\] were begun from a checkpoint whose files were damaged",
    ),
    (weights_lost, "the files are what counted"),
    (
        garbage("acceptance", "inspections", "lease-1.json"),
        "nothing needs what is left: .*lease-1.json",
    ),
    (garbage("acceptance", "evaluations", "set.json"), "nothing needs what is left: .*set.json"),
    (
        garbage("acceptance", "steps", "1", "lease-1.json"),
        "nothing needs what is left: .*lease-1.json",
    ),
    (trash, "nothing needs what is left: .*discarded-0003"),
    (
        changed("step_tried_in_vain", "UPDATE training.steps SET tries = 2"),
        "trained, with attempts used up that no worker took along",
    ),
    (
        changed("hour_scored_in_vain", "UPDATE training.windows SET attempt = 2"),
        "scored, with attempts used up that no worker took along",
    ),
    (
        changed(
            "hour_used_twice",
            "UPDATE training.steps SET windows = windows || (SELECT windows FROM training.steps"
            " WHERE target_step = 1) WHERE target_step = 2",
        ),
        "each window in exactly one committed step",
    ),
    (
        changed(
            "trajectory_lost",
            "DELETE FROM training.consumption WHERE trajectory_id ="
            " (SELECT min(trajectory_id) FROM training.consumption)",
        ),
        "each trajectory is used once, and none is lost",
    ),
    (
        changed("marks_lost", 'UPDATE trajectories SET "usedInTraining" = false'),
        "Babylon's own rows say that they were used",
    ),
    (
        changed("invariant", "UPDATE training.windows SET state = 'training'"),
        "windows_training_without_step",
    ),
    (row_left("row_of_a_trained_hour_left", HOURS[0], windowId=None), "unaccounted_rows"),
    (row_left("row_of_no_hour_on_record_left", hour(3)), "rows_without_window"),
]


@pytest.mark.parametrize(("spoil", "why"), BAD_ENDS, ids=[spoil.__name__ for spoil, _ in BAD_ENDS])
def test_a_bad_end_is_refused(
    ended: Babylon,
    spoil: Callable[[Babylon], None],
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outcome, "A_MOMENT", 0.0)  # no worker is there that could delete anything
    spoil(ended)
    with pytest.raises(AssertionError, match=why):
        assert_recovered(ended, HOURS)


def test_a_trainer_that_answers_no_agent_is_refused(
    ended: Babylon, agents_server: Upstream
) -> None:
    assert_agents_are_answered(ended, seconds=10)
    body = agents_server.came[-1][1]
    assert b'"acceptance@2"' in body, "what serves is asked"

    agents_server.status = 503
    with pytest.raises(AssertionError, match="agents are answered by what serves"):
        assert_agents_are_answered(ended, seconds=0.2)

    agents_server.status = 200
    agents_server.server.server_close()  # nobody listens
    with pytest.raises(AssertionError, match="agents are answered by what serves"):
        assert_agents_are_answered(ended, seconds=0.2)


def test_a_newest_checkpoint_that_does_not_serve_is_refused_unless_it_was_damaged(
    ended: Babylon,
) -> None:
    assert_newest_serves(ended)
    ended.connection.execute("UPDATE training.lineages SET serving_step = 1")
    with pytest.raises(AssertionError, match=r"does not serve: .*'head_step': 2"):
        assert_newest_serves(ended, seconds=0.2)
    ended.harmed[str(checkpoint(ended, 2))] = ended.rows("SELECT now() AS now")[0]["now"]
    assert_newest_serves(ended)


@pytest.mark.parametrize(
    "spoil",
    [
        "DELETE FROM training.evaluations WHERE step = 2",
        "DELETE FROM training.promotions WHERE to_step = 2",
        "INSERT INTO training.evaluations (lineage, step, set_hash, windows, groups, value, "
        "coverage, entropy, group_values) SELECT lineage, step, 'another', windows, groups, value, "
        "coverage, entropy, group_values FROM training.evaluations WHERE step = 2",
        "INSERT INTO training.promotions (lineage, decision, from_step, to_step, reason, evidence, "
        "actor) VALUES ('acceptance', 'hold', 1, 2, '', '{}', 'test')",
    ],
    ids=["not evaluated", "not decided", "evaluated twice", "decided twice"],
)
def test_a_step_that_is_not_evaluated_exactly_once_is_refused(ended: Babylon, spoil: str) -> None:
    rewrite(ended.connection, "evaluations" if "evaluations" in spoil else "promotions", spoil)
    with pytest.raises(AssertionError, match=r"not exactly once: .*'step': 2"):
        assert_evaluated_once(ended)
    assert undecided(ended) == ([2] if "promotions WHERE" in spoil else [])
