"""What a comparison concludes is done at once: one conclusion, one act, on record."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from compared_hours import EXTERNAL, PARAMETERS, assert_replayed, begun, branch, lineage, taken
from concluded_hours import done, newest, served, until
from msgspec.structs import replace
from peer import PeerTrainer
from scored_windows import column, hour

from babylon_tasks.comparison.parameters import MetricParameters, Proof
from babylon_tasks.db import comparisons, pauses, promotions
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract("today")
UNGUARDED = replace(PARAMETERS, guard=None)


@pytest.fixture(name="branch")
def branch_of_three(connection: Connection, settings: Settings) -> PeerTrainer:
    return branch(connection, settings)


# --- harm


def test_harm_is_rolled_back_to_the_anchor_with_the_windows_that_showed_it_and_learning_goes_on(
    connection: Connection, settings: Settings, branch: PeerTrainer
) -> None:
    comparison = begun(connection, first=5, anchor=1)
    after = until(connection, settings, "rollback", first=5, serving=0.1)

    assert served(connection) == 1
    last = promotions.latest(connection, "babylon")
    assert last is not None
    assert (last.decision, last.from_step, last.to_step, last.actor) == (
        "rollback",
        3,
        1,
        "comparison",
    )
    assert "worse than the anchor" in last.reason
    assert last.figures["comparison"] == comparison.id
    assert last.figures["windows"] == [hour(number) for number in range(5, after)]
    assert last.figures["harm"] >= last.figures["run_length"]
    dead = "SELECT step FROM training.checkpoints WHERE dead_at IS NOT NULL ORDER BY step"
    assert column(connection, dead) == [2, 3]
    assert newest(connection) == (0.2, 1, 0.0, None)
    assert done(connection)[-1] == "babylon@3 was rolled back to babylon@1"
    # Babylon's row of the anchor does not get the figures of what was discarded.
    query = """SELECT "evalMetrics" FROM trained_models WHERE "modelId" = 'babylon@1'"""
    assert "windows" not in str(column(connection, query))
    assert_replayed(connection, comparison)

    outcome = train_window(settings, branch, window=None, actor="test")

    assert outcome.action == "committed"
    parent = "SELECT parent_step FROM training.steps ORDER BY id DESC LIMIT 1"
    assert column(connection, parent) == [1]


def test_an_examinee_that_is_not_worse_stays_on_trial_when_what_serves_is_rolled_back(
    connection: Connection, settings: Settings, branch: PeerTrainer
) -> None:
    begun(connection, first=5, anchor=1, examinee=2)
    until(connection, settings, "rollback", first=5, serving=0.1, examinee=0.6)

    assert served(connection) == 1
    dead = "SELECT step FROM training.checkpoints WHERE dead_at IS NOT NULL ORDER BY step"
    assert column(connection, dead) == [3]
    assert newest(connection) == (0.2, 1, 0.2, 2)


def test_what_was_rolled_back_by_hand_meanwhile_stays_as_it_is(
    connection: Connection, settings: Settings, branch: PeerTrainer
) -> None:
    begun(connection, first=5, anchor=1)
    serving.rollback(connection, "babylon", reason="complaints", actor="cli:mo", to=2)
    until(connection, settings, "rollback", first=5, serving=0.1)

    assert served(connection) == 2
    assert done(connection)[-1] == "it was rolled back by cli:mo meanwhile"


def test_too_many_rollbacks_pause_training_until_somebody_has_looked(
    connection: Connection, settings: Settings, branch: PeerTrainer
) -> None:
    begun(connection, first=5, anchor=1, parameters=replace(PARAMETERS, max_rollbacks=1))
    until(connection, settings, "rollback_and_pause", first=5, serving=0.1)

    assert served(connection) == 1
    assert "paused until `babylon-tasks compare resume" in done(connection)[-1]
    waits = train_window(settings, branch, window=None, actor="test")
    assert waits.action == "idle"
    assert "1 rollbacks in 168 h" in str(waits.reason)

    pauses.lift(connection, "babylon", reason="looked", actor="cli:mo")

    assert train_window(settings, branch, window=None, actor="test").action == "committed"


def test_harm_against_an_external_anchor_leaves_all_agents_to_it(
    connection: Connection, settings: Settings
) -> None:
    lineage(connection)
    comparison = begun(connection, anchor=EXTERNAL)
    until(connection, settings, "rollback", serving=0.1)

    assert newest(connection) == (1.0, EXTERNAL, 0.0, None)
    ended = comparisons.newest(connection, "babylon")
    assert ended is not None
    assert (ended.id, ended.ended_by) == (comparison.id, "comparison")
    assert "all agents get groq/qwen: what serves is worse" in str(ended.ended_why)
    assert served(connection) == 2
    assert taken(connection, settings, 22) is None


def test_a_comparison_whose_anchors_arm_was_ended_by_hand_is_over(
    connection: Connection, settings: Settings, branch: PeerTrainer
) -> None:
    begun(connection, first=5, anchor=3, examinee=2)
    serving.rollback(connection, "babylon", reason="complaints", actor="cli:mo", to=1)

    assert taken(connection, settings, 5) is None

    assert newest(connection) == (0.0, None, 0.0, None)
    ended = comparisons.newest(connection, "babylon")
    assert ended is not None
    assert "nothing can be compared" in str(ended.ended_why)


# --- proof


@pytest.mark.parametrize(("better", "conclusion"), [(0.8, "proven_gain"), (0.515, "proven")])
def test_an_examinee_that_is_proven_is_the_anchor_and_what_serves_goes_on_trial(
    connection: Connection, settings: Settings, better: float, conclusion: str
) -> None:
    lineage(connection)
    comparison = begun(connection, examinee=1, parameters=replace(PARAMETERS, alpha=0.5))

    after = until(connection, settings, conclusion, most=20, serving=better, examinee=better)

    assert newest(connection) == (0.2, 1, 0.2, 2)
    assert done(connection) == [
        f"babylon@1 is the anchor; from {after_hour(connection)} on: 20% with babylon@1,"
        " 20% try babylon@2"
    ]
    assert served(connection) == 2
    assert_replayed(connection, comparison)
    # The next hour is of the new arms.
    assert taken(connection, settings, after) is not None
    row = comparisons.windows(connection, comparison.id)[-1]
    assert msgspec.json.decode(row.observation or "")["examinee"] == "babylon@2"


def after_hour(connection: Connection) -> str:
    """The hour that real time would have begun the newest arms with."""
    (moment,) = column(
        connection,
        "SELECT to_char(happened_at AT TIME ZONE 'UTC' + interval '1 hour',"
        " 'YYYY-MM-DD\"T\"HH24:00') FROM training.events WHERE kind = 'concluded'",
    )
    return str(moment)


def test_in_mode_proven_what_is_proven_serves(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(promotion_mode="proven")
    lineage(connection)
    connection.execute("UPDATE training.lineages SET serving_step = 0")
    begun(connection, examinee=1, parameters=UNGUARDED)
    until(connection, settings, "proven_gain", examinee=0.8)

    assert served(connection) == 1
    last = promotions.latest(connection, "babylon")
    assert last is not None
    assert (last.decision, last.from_step, last.actor) == ("promote", 0, "comparison")
    assert last.figures["reward"]["gain"] >= 20
    assert newest(connection) == (0.2, 1, 0.0, None)  # nothing newer has passed a screen


def test_of_an_average_what_serves_is_proven(connection: Connection, settings: Settings) -> None:
    lineage(connection)
    begun(connection, parameters=replace(UNGUARDED, proof=Proof.AVERAGE))
    until(connection, settings, "proven_gain", most=20, serving=0.8)

    assert newest(connection) == (0.2, 2, 0.0, None)


def test_of_an_average_no_anchor_is_proven_against_itself(
    connection: Connection, settings: Settings
) -> None:
    """Each such proof would be one of the few that follow each other without a gain."""
    lineage(connection)
    wide = MetricParameters(margin=0.2)
    begun(
        connection,
        anchor=2,
        parameters=replace(UNGUARDED, proof=Proof.AVERAGE, alpha=0.5, reward=wide),
    )

    found = [taken(connection, settings, number) for number in range(12)]

    assert {one.conclusion for one in found if one is not None} == {"keep"}


def test_an_examinee_that_is_worse_gives_its_arm_to_what_serves(
    connection: Connection, settings: Settings
) -> None:
    lineage(connection)
    begun(connection, examinee=1)
    until(connection, settings, "next_examinee", examinee=0.1)

    assert newest(connection) == (0.2, 0, 0.2, 2)
    assert promotions.latest(connection, "babylon") is None  # what serves came from it


def test_what_a_screen_refused_is_not_tried(connection: Connection, settings: Settings) -> None:
    lineage(connection)
    screened(connection, 2, "refused")
    begun(connection)

    taken(connection, settings, 0)
    assert newest(connection) == (0.2, 0, 0.0, None)

    screened(connection, 2, "passed")
    taken(connection, settings, 1)
    assert newest(connection) == (0.2, 0, 0.2, 2)


def test_in_mode_proven_a_loser_is_refused_and_the_newest_screened_candidate_is_next(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(promotion_mode="proven")
    lineage(connection, steps=4)
    connection.execute("UPDATE training.lineages SET serving_step = 0")
    for step in (1, 2, 3):
        screened(connection, step, "passed")
    screened(connection, 4, "refused")
    begun(connection, examinee=3)
    until(connection, settings, "next_examinee", examinee=0.1)

    last = promotions.latest(connection, "babylon")
    assert last is not None
    assert (last.decision, last.to_step, last.figures["refused"]) == ("hold", 3, "harm")
    assert newest(connection) == (0.2, 0, 0.2, 2)


def screened(connection: Connection, step: int, result: str) -> None:
    connection.execute(
        "INSERT INTO training.screens (lineage, step, serving_step, against, set_hash, questions,"
        " terms, actor, result, reason, figures, ended_at)"
        " VALUES ('babylon', %s, 0, 'serving', 'x', 200, '{}', 'test', %s, 'r', '{}', now())",
        (step, result),
    )


# --- the record


def test_what_is_not_evidence_is_on_record_and_changes_nothing(
    connection: Connection, settings: Settings
) -> None:
    lineage(connection)
    begun(connection, examinee=2)
    before = newest(connection)

    one = taken(connection, settings, 0, through_gateway=0.5)

    assert one is not None
    assert (one.conclusion, one.done) == ("pause_comparison", "")
    assert newest(connection) == before
    assert done(connection) == ["nothing"]
