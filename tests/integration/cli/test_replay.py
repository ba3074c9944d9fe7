"""``replay --no-train``: what a step was trained on, its manifest, and what Babylon has now."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from command_line import Result, Run
from factories import (
    EVER,
    IDS,
    action,
    exact_call,
    insert_outcomes,
    insert_trajectories,
    market_outcome,
    step,
    trajectory,
)
from peer import PeerTrainer
from scored_windows import column, hour, scored_window

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.prune_rows import prune_rows
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings

PROFITS = {"a": -100.0, "b": -50.0, "c": 50.0, "d": 100.0}


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(
        lookback_hours=int(EVER),
        max_staleness_hours=int(EVER),
        outcome_wait_hours=0,
        grace_seconds=0,
        held_out_share=0,
    )


@pytest.fixture
def names(connection: Connection, settings: Settings) -> dict[str, str]:
    """The trajectories of step 1, by agent: bets on a market that ended."""
    rows = [
        trajectory(
            hour(1),
            agent,
            [
                step(
                    0,
                    [exact_call("YES", model="babylon@0")],
                    window=hour(1),
                    action=action(market="m-1", side="YES"),
                )
            ],
            final_pnl=profit,
        )
        for agent, profit in PROFITS.items()
    ]
    ids = insert_trajectories(connection, rows)
    insert_outcomes(connection, [market_outcome("m-1", "YES", hour(1))])
    go_on(connection, settings, hour(1))
    assert column(connection, "SELECT state FROM training.steps") == ["committed"]
    return dict(zip(PROFITS, ids, strict=True))


def go_on(connection: Connection, settings: Settings, window: str) -> None:
    """As beat and the workers do."""
    discover(settings, actor="test")
    reconcile(settings, actor="test")
    for sealed in column(
        connection, "SELECT window_id FROM training.windows WHERE state = 'sealed'"
    ):
        score_window(settings, str(sealed), actor="test")
    train_window(settings, PeerTrainer(settings.data_dir), window=window, actor="test")


def differences(found: Result) -> list[tuple[str, str, str]]:
    return [
        (one["trajectory_id"], one["kind"], one["detail"]) for one in found.document["differences"]
    ]


def replay(run: Run, number: str = "1") -> Result:
    return run("replay", number, "--no-train", "--json")


def test_a_step_whose_rows_are_as_they_were(run: Run, names: dict[str, str]) -> None:
    found = replay(run)

    assert (found.code, differences(found)) == (0, [])
    document = found.document
    assert (document["kept"], document["problems"]) == ("whole", [])
    assert (document["trajectories"], document["compared"]) == (len(names), len(names))
    assert document["kept_bytes"] > 0
    text = run("replay", "babylon@1", "--no-train").out
    assert f"babylon@1 was trained from babylon@0 on {hour(1)}" in text
    assert "is kept and is what its manifest lists: 4 trajectories" in text
    assert "of 4 rows, Babylon has changed or deleted 0 since" in text


def test_later_hours_and_scoring_anew_change_nothing_of_it(
    run: Run, connection: Connection, settings: Settings, names: dict[str, str]
) -> None:
    before = replay(run).document
    scored_window(connection, hour(2))
    go_on(connection, settings, hour(2))
    connection.execute(
        "UPDATE training.windows SET state = 'sealed', reward_version = 2 WHERE window_id = %s",
        (hour(1),),
    )
    score_window(settings, hour(1), actor="test")
    assert column(connection, "SELECT count(*) FROM training.steps") == [2]

    assert replay(run).document == before


def rewrite(connection: Connection, name: str, **fields: object) -> None:
    """What an agent was recorded to have answered."""
    (text,) = column(
        connection, 'SELECT "stepsJson" FROM trajectories WHERE "trajectoryId" = %s', name
    )
    steps = json.loads(str(text))
    steps[0]["llmCalls"][0].update(fields)
    connection.execute(
        'UPDATE trajectories SET "stepsJson" = %s WHERE "trajectoryId" = %s',
        (json.dumps(steps), name),
    )


def test_what_babylon_has_changed_or_deleted_is_named(
    run: Run, connection: Connection, settings: Settings, names: dict[str, str]
) -> None:
    rewrite(connection, names["a"], response="NO", tokenIds=list(IDS["NO"]), logprobs=[-0.7, -0.7])
    connection.execute('DELETE FROM trajectories WHERE "trajectoryId" = %s', (names["b"],))
    connection.execute(
        'UPDATE trajectories SET "windowId" = %s WHERE "trajectoryId" = %s', (hour(5), names["c"])
    )
    rewrite(connection, names["d"], logprobs=[-0.5] * 3)

    found = replay(run)

    assert found.code == 0
    assert sorted(differences(found)) == sorted(
        [
            (names["a"], "text", "call 0: response"),
            (names["a"], "sampling", "call 0: logprobs, token_ids"),
            (names["b"], "deleted", "Babylon has deleted its row"),
            (names["c"], "moved", f"to {hour(5)}"),
            (names["d"], "sampling", "call 0: logprobs"),
        ]
    )
    assert (found.document["kept"], found.document["trajectories"]) == ("whole", 4)
    text = run("replay", "1", "--no-train").out
    assert "of 4 rows, Babylon has changed or deleted 4 since" in text
    assert names["b"] in text


def test_an_outcome_that_babylon_has_changed_is_named_for_each_bet_on_it(
    run: Run, connection: Connection, settings: Settings, names: dict[str, str]
) -> None:
    connection.execute("UPDATE market_outcomes SET outcome = 'NO'")
    go_on(connection, settings, hour(1))  # which learns of it, and may score anew

    found = replay(run)

    assert sorted(differences(found)) == sorted(
        (name, "outcome", "market m-1: NO, was YES") for name in names.values()
    )


def test_a_flag_that_babylon_has_set_is_named(
    run: Run, connection: Connection, names: dict[str, str]
) -> None:
    connection.execute(
        'UPDATE trajectories SET "isEvaluation" = true WHERE "trajectoryId" = %s', (names["a"],)
    )

    assert differences(replay(run)) == [(names["a"], "flagged", "isEvaluation is set")]


def test_a_row_that_can_no_longer_be_read_is_named(
    run: Run, connection: Connection, names: dict[str, str]
) -> None:
    connection.execute(
        """UPDATE trajectories SET "stepsJson" = 'no JSON' WHERE "trajectoryId" = %s""",
        (names["a"],),
    )

    (found,) = differences(replay(run))
    assert found[:2] == (names["a"], "text")
    assert found[2].startswith("malformed_json")


def test_a_byte_that_is_flipped_in_what_was_kept_is_refused_by_name(
    run: Run, connection: Connection, names: dict[str, str]
) -> None:
    connection.execute(
        "UPDATE training.step_members SET member = set_byte(member, length(member) / 2,"
        " get_byte(member, length(member) / 2) # 1)"
        " WHERE content = (SELECT decode(manifest #>> '{groups,0,members,0,content}', 'hex')"
        "                  FROM training.steps)"
    )
    (first,) = column(
        connection, "SELECT manifest #>> '{groups,0,members,0,trajectory_id}' FROM training.steps"
    )

    found = run("replay", "1", "--json")  # it is not trained again either

    assert (found.code, found.document["kept"]) == (1, "damaged")
    (problem,) = found.document["problems"]
    assert problem.startswith(f"what is kept of trajectory {first} is damaged: ")
    assert found.document["not_trained_again"] == "what it was trained on is damaged"
    assert (found.document["trajectories"], found.document["compared"]) == (3, 4)
    assert str(first) in run("replay", "1", "--no-train").out


def test_what_is_missing_and_what_nobody_listed_is_named(
    run: Run, connection: Connection, names: dict[str, str]
) -> None:
    connection.execute("DELETE FROM training.step_members")
    connection.execute(
        "INSERT INTO training.step_members SELECT id, '\\x00'::bytea, '\\x00'::bytea"
        " FROM training.steps"
    )

    found = replay(run)

    assert found.code == 1
    assert sorted(found.document["problems"]) == sorted(
        [
            *(f"of trajectory {name} nothing is kept" for name in names.values()),
            "something is kept that the manifest does not list: 00",
        ]
    )


def test_a_manifest_that_was_changed_is_refused(
    run: Run, connection: Connection, names: dict[str, str]
) -> None:
    connection.execute(
        "UPDATE training.steps SET manifest = jsonb_set(manifest, '{config,seed}', '7')"
    )

    found = replay(run)

    assert (found.code, found.document["kept"]) == (1, "damaged")
    assert "the manifest's SHA-256 is" in found.document["problems"][0]


def test_what_is_pruned_is_said_and_the_rows_are_compared_all_the_same(
    run: Run, connection: Connection, settings: Settings, names: dict[str, str]
) -> None:
    prune_rows(settings.model_copy(update={"keep_replay_days": 0}), actor="test")
    rewrite(connection, names["a"], response="NO")

    found = run("replay", "1", "--json")

    assert (found.code, found.document["kept"]) == (3, "pruned")
    assert differences(found) == [(names["a"], "text", "its hash is not the manifest's")]
    assert found.document["not_trained_again"] == "what it was trained on is pruned"
    assert "is pruned (BABYLON_KEEP_REPLAY_DAYS)" in run("replay", "1", "--no-train").out


def test_once_the_rows_of_its_hour_are_pruned_too_nothing_is_compared(
    run: Run, connection: Connection, settings: Settings, names: dict[str, str]
) -> None:
    connection.execute(
        "UPDATE training.windows SET updated_at = '-infinity', starts_at = '-infinity'"
    )
    prune_rows(settings.model_copy(update={"keep_replay_days": 0}), actor="test")

    found = run("replay", "1", "--no-train")

    assert found.code == 3
    assert "the manifest's list of trajectories is pruned" in found.out


def test_a_step_that_was_planned_before_anything_was_kept(
    run: Run, connection: Connection, settings: Settings
) -> None:
    scored_window(connection, hour(1))
    without = settings.model_copy(update={"keep_replay_days": 0})
    train_window(without, PeerTrainer(settings.data_dir), window=hour(1), actor="test")

    found = replay(run)

    assert (found.code, found.document["kept"]) == (3, "not_kept")
    assert found.document["compared"] == 4


def test_a_step_that_does_not_exist(run: Run, names: dict[str, str]) -> None:
    found = replay(run, "2")

    assert found.code == 1
    assert "babylon@2 is no committed step" in found.err
    assert run("replay", "other@1").code == 2


def test_with_a_backend_that_cannot_it_is_not_trained_again(
    run: Run, connection: Connection, names: dict[str, str]
) -> None:
    connection.execute("UPDATE training.steps SET backend = 'serverless'")

    found = run("replay", "1", "--json")

    assert (found.code, found.document["kept"]) == (3, "whole")
    assert found.document["not_trained_again"] == (
        "backend serverless cannot train a step beside the lineage"
    )


def test_where_the_parents_weights_are_pruned_it_is_said(
    run: Run, connection: Connection, settings: Settings, names: dict[str, str]
) -> None:
    connection.execute("UPDATE training.lineages SET serving_step = 1")
    scored_window(connection, hour(2))
    go_on(connection, settings, hour(2))
    connection.execute("UPDATE training.checkpoints SET pruned_at = now() WHERE step = 1")

    found = run("replay", "2", "--json", "--back", "0")

    assert (found.code, found.document["kept"]) == (3, "whole")
    assert found.document["parent"] == 1
    assert found.document["not_trained_again"] == (
        "the weights that it started from are not here: checkpoint 1 is pruned"
    )
