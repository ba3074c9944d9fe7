"""What a dead branch had used of an hour that was scored anew is used again, with its new reward.

A reward version of an earlier release left it out, as used: without another one nothing could take
it.
"""

from __future__ import annotations

import pytest
from betting_windows import anew, bets, ends, row, score, upkeep
from evaluated_checkpoints import LINEAGE
from factories import EVER, WINDOW
from peer import PeerTrainer
from planned_steps import left_over, state, train
from scored_windows import column, hour
from scoring_runs import MakeSettings

from babylon_tasks.db import branches, lineages, step_windows, windows
from babylon_tasks.db.invariants import violations
from babylon_tasks.db.session import Connection, connect
from babylon_tasks.errors import StaleLease
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.reasons import ScoreAnewReason
from babylon_tasks.settings import Settings


@pytest.fixture
def settings(make_settings: MakeSettings) -> Settings:
    """A step takes one group of two."""
    return make_settings(
        lookback_hours=int(EVER),
        max_staleness_hours=int(EVER),
        outcome_wait_hours=0,
        max_group_size=2,
        step_token_budget=1,
        retry_delay_seconds=0,
    )


@pytest.fixture
def trainer(settings: Settings) -> PeerTrainer:
    return PeerTrainer(settings.data_dir)


@pytest.fixture
def used(settings: Settings, connection: Connection, trainer: PeerTrainer) -> list[str]:
    """An hour of four; step 1 used two of them, and then an outcome changed."""
    ids = bets(connection, "m-1")
    ends(connection, "m-1")
    score(settings)
    assert train(settings, trainer).step == 1
    assert left_over(connection) == 2
    ends(connection, "m-1", yes=False, at=hour(21))
    assert upkeep(settings, connection).anew == [WINDOW]
    return ids


def scored_without_it(settings: Settings, connection: Connection) -> None:
    """Scored anew as earlier releases did."""
    assert score(settings) == "scored"
    connection.execute(
        "DELETE FROM training.scores WHERE reward_version = 2 AND trajectory_id IN"
        " (SELECT trajectory_id FROM training.consumption)"
    )


def die(connection: Connection, step: int = 1) -> None:
    with connection.transaction():
        branches.end(connection, LINEAGE, [step], why="refused", actor="test")


def alive(connection: Connection) -> list[object]:
    query = "SELECT trajectory_id FROM training.consumption WHERE dead_at IS NULL ORDER BY 1"
    return column(connection, query)


def learned_from(settings: Settings, connection: Connection, trainer: PeerTrainer) -> list[object]:
    """What living branches have used, once the hour was scored anew and steps have taken it all."""
    if row(connection).state == "scored":
        assert upkeep(settings, connection).anew == [WINDOW]
    assert score(settings) == "scored"
    assert violations(connection, settings) == []
    while train(settings, trainer).step is not None:
        pass
    assert state(connection) == ("trained", None)
    assert violations(connection, settings) == []
    return alive(connection)


def test_it_is_free_at_once_with_the_reward_that_it_has_got_beside_the_rest(
    settings: Settings, connection: Connection, trainer: PeerTrainer, used: list[str]
) -> None:
    score(settings)
    assert train(settings, trainer).step == 2
    assert state(connection)[0] == "trained"

    die(connection)

    assert (row(connection).state, left_over(connection)) == ("scored", 2)
    assert row(connection).score_anew is None
    assert violations(connection, settings) == []
    while train(settings, trainer).step is not None:
        pass
    assert alive(connection) == sorted(used)
    assert row(connection).reward_version == 2
    assert violations(connection, settings) == []


def test_it_is_used_by_living_branches_in_the_end(
    settings: Settings, connection: Connection, trainer: PeerTrainer, used: list[str]
) -> None:
    scored_without_it(settings, connection)

    die(connection)

    assert (row(connection).state, left_over(connection)) == ("scored", 4)
    assert violations(connection, settings) == []
    assert learned_from(settings, connection, trainer) == sorted(used)
    assert anew(connection)[-1]["because"] == ScoreAnewReason.FREED


def test_an_hour_that_steps_had_used_up_comes_back(
    settings: Settings, connection: Connection, trainer: PeerTrainer, used: list[str]
) -> None:
    scored_without_it(settings, connection)
    assert train(settings, trainer).step == 2
    assert state(connection)[0] == "trained"

    die(connection)

    assert (row(connection).state, left_over(connection)) == ("scored", 2)
    assert learned_from(settings, connection, trainer) == sorted(used)


def test_until_then_no_step_is_planned_from_the_rest(
    settings: Settings, connection: Connection, trainer: PeerTrainer, used: list[str]
) -> None:
    """Not even one whose planning had begun: the hour would end with it."""
    scored_without_it(settings, connection)
    die(connection)

    assert train(settings, trainer).action == "idle"
    with connection.transaction():
        assert not step_windows.lock_scored(connection, {WINDOW: 2}, lineage=LINEAGE)


def test_a_scoring_that_counted_it_as_used_loses_its_claim(
    settings: Settings, connection: Connection, trainer: PeerTrainer, used: list[str]
) -> None:
    def dies(*_: object) -> None:
        with connect(settings) as other:
            die(other)

    with pytest.raises(StaleLease):
        score_window(settings, WINDOW, actor="test", on_progress=dies)

    assert row(connection).state == "sealed"
    assert learned_from(settings, connection, trainer) == sorted(used)


def test_a_scoring_that_begins_later_counts_it_as_free(
    settings: Settings, connection: Connection, trainer: PeerTrainer, used: list[str]
) -> None:
    die(connection)

    assert learned_from(settings, connection, trainer) == sorted(used)
    assert row(connection).reward_version == 2


def test_the_hour_of_a_step_in_work_comes_back_from_it(
    settings: Settings, connection: Connection, trainer: PeerTrainer, used: list[str]
) -> None:
    scored_without_it(settings, connection)
    trainer.during = lambda: die(connection)

    assert train(settings, trainer).step == 2

    trainer.during = None
    assert (row(connection).state, left_over(connection)) == ("scored", 2)
    assert row(connection).score_anew == ScoreAnewReason.FREED
    assert learned_from(settings, connection, trainer) == sorted(used)


def test_what_nothing_would_score_anew_is_found(
    settings: Settings, connection: Connection, trainer: PeerTrainer, used: list[str]
) -> None:
    scored_without_it(settings, connection)
    die(connection)

    connection.execute("UPDATE training.windows SET rescore = NULL")

    (found,) = violations(connection, settings)
    assert (found.invariant, found.window) == ("freed_without_reward", WINDOW)
    assert found.what.startswith("2 trajectories of dead branches")


@pytest.mark.parametrize("scored", [True, False], ids=["once it was scored anew", "before"])
def test_of_two_lineages_the_one_whose_branch_died_gets_it_back(
    settings: Settings, connection: Connection, make_settings: MakeSettings, scored: bool
) -> None:
    """It had used the hour up; the other has not begun with it."""
    whole = settings.model_copy(update={"step_token_budget": 10_000})
    second = make_settings(lineage="other", data_dir=settings.data_dir / "other")
    lineages.ensure(connection, second)
    ids = bets(connection, "m-1")
    ends(connection, "m-1")
    score(settings)
    mine = PeerTrainer(settings.data_dir)
    assert train(whole, mine).step == 1
    assert windows.get(connection, WINDOW, lineage=LINEAGE).state == "trained"
    ends(connection, "m-1", yes=False, at=hour(21))
    assert upkeep(settings, connection).anew == [WINDOW]
    if scored:
        score(settings)

    die(connection)

    if not scored:
        score(settings)
    assert windows.get(connection, WINDOW, lineage=LINEAGE).state == "scored"
    assert windows.get(connection, WINDOW, lineage=LINEAGE).left_over == len(ids)
    assert train(whole, mine).step == 2
    assert alive(connection) == sorted(ids)
    assert violations(connection, settings) == []
