"""Which calls join a step: those of one label that the trainer does not refuse."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from factories import WINDOW, exact_call, llm_call
from peer import PeerTrainer
from planned_steps import (
    MANY,
    SOME_TOKENS,
    Make,
    grouped,
    left_over,
    manifest,
    refused,
    state,
    train,
    uses,
)
from scored_windows import column, hour, scored_window

from babylon_tasks.db.session import Connection
from babylon_tasks.errors import TrainerDied
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings
from babylon_tasks.training.protocol import Refusal


@pytest.fixture
def settings(make_settings: Make) -> Settings:
    return make_settings(retry_delay_seconds=0, max_group_size=4, step_token_budget=SOME_TOKENS)


# --- labels


def test_a_step_takes_one_label_and_the_others_wait_for_a_step_of_their_own(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(logprobs="exact,none")
    exact = scored_window(connection, rewards=MANY[:4])
    bare = scored_window(connection, rewards=MANY[:4], calls=[llm_call(model="babylon@0")])

    assert train(settings).action == "committed"
    assert manifest(connection)["logprobs"] == "exact"
    assert uses(connection) == dict.fromkeys(exact, "trained")
    assert left_over(connection) == 4

    assert train(settings).action == "committed"
    assert manifest(connection)["logprobs"] == "none"
    assert uses(connection) == dict.fromkeys([*exact, *bare], "trained")
    assert state(connection) == ("trained", None)


def test_the_only_one_of_its_label_waits_for_a_step_of_another_that_it_bears_too(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(logprobs="exact,none")
    exact = scored_window(connection, rewards=(0.1,))
    bare = scored_window(connection, rewards=MANY[:4], calls=[llm_call(model="babylon@0")])

    assert train(settings).action == "committed"
    assert manifest(connection)["logprobs"] == "none"
    assert uses(connection) == dict.fromkeys([*exact, *bare], "trained")


def test_trajectories_without_others_of_their_label_end_as_too_small(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(logprobs="exact,parent")
    # Of the parent without log-probabilities, and with them of an older one.
    connection.execute(
        "INSERT INTO training.lineages (name, base_model, backend, head_step, serving_step)"
        " VALUES ('babylon', %s, 'cpu', 0, 0)",
        (settings.base_model,),
    )
    call = exact_call(model="babylon@0", temperature=1.0)
    del call["logprobs"]
    one = scored_window(connection, rewards=(0.1,), calls=[call])

    assert train(settings).reason == f"{WINDOW}: too_small"
    assert uses(connection) == dict.fromkeys(one, "too_small")


def test_two_that_can_be_compared_only_with_each_other_but_bear_other_labels_are_too_small(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(logprobs="exact,parent")
    trainer = PeerTrainer(settings.data_dir)
    scored_window(connection, hour(1))
    assert train(settings, trainer).action == "committed"
    serving.promote(connection, "babylon", 1, reason="r", figures={}, actor="operator")
    of_parent = exact_call(model="babylon@1", policy_step=1)
    del of_parent["logprobs"]
    exact = exact_call(model="babylon@0")
    ids = [
        *scored_window(connection, hour(2), rewards=(0.1,), calls=[exact]),
        *scored_window(connection, hour(2), rewards=(0.9,), calls=[of_parent]),
    ]

    assert train(settings, trainer).reason == f"{hour(2)}: too_small"
    assert state(connection, hour(2)) == ("skipped", "too_small")
    assert {one: uses(connection)[one] for one in ids} == dict.fromkeys(ids, "too_small")


@pytest.mark.parametrize(
    ("call", "advised"),
    [(llm_call(model="babylon@0"), True), (exact_call(model="another"), False)],
)
def test_where_log_probabilities_are_missing_the_operator_is_advised_to_record_them(
    connection: Connection, settings: Settings, call: dict[str, Any], advised: bool
) -> None:
    scored_window(connection, calls=[call])

    train(settings)

    advice = column(
        connection, "SELECT detail ->> 'todo' FROM training.events WHERE kind = 'advice'"
    )
    assert [str(one)[:28] for one in advice] == ["record logprobs with each LL"] * advised


# --- what the trainer says of the candidates


def test_what_the_trainer_refuses_is_named_and_its_group_is_filled_by_others(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(max_group_size=4)
    ids = scored_window(connection, rewards=MANY[:12])
    refusals = [Refusal(one, 0, "too_long", "600 tokens") for one in ids[:4]]

    assert train(settings, PeerTrainer(settings.data_dir, refusals=refusals)).action == "committed"
    assert refused(connection) == dict.fromkeys(ids[:4], "too_long")
    assert set(uses(connection)) == set(ids[4:])
    # Two groups, of which one at most may have found nobody more to compare with.
    assert Counter(uses(connection).values())["trained"] >= 7


def test_a_call_that_the_trainer_refuses_leaves_the_others_of_its_trajectory(
    connection: Connection, settings: Settings
) -> None:
    calls = [exact_call(model="gpt-5"), *[exact_call(model="babylon@0")] * 2]
    ids = scored_window(connection, calls=calls)
    trainer = PeerTrainer(settings.data_dir, refusals=[Refusal(ids[0], 0, "too_long", "")])

    train(settings, trainer)

    places = {
        entry["trajectory_id"]: entry["calls"]
        for group in manifest(connection)["groups"]
        for entry in group["members"]
    }
    assert places == {one: [1, 2] for one in ids} | {ids[0]: [2]}
    assert refused(connection) == {}
    assert grouped(connection)["calls_left_out"] == {"other_policy": 4, "too_long": 1}


def test_an_hour_that_the_trainer_refuses_whole_is_skipped_and_no_step_planned(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection)
    refusals = [Refusal(one, 0, "template_changes_answer", "<think>") for one in ids]

    outcome = train(settings, PeerTrainer(settings.data_dir, refusals=refusals))

    assert outcome.reason == f"{WINDOW}: template_changes_answer"
    assert column(connection, "SELECT count(*) FROM training.steps") == [0]
    assert uses(connection) == {}


def test_the_manifest_is_what_runs(connection: Connection, make_settings: Make) -> None:
    settings = make_settings(seed=7, packed_sequence_length=4096)
    call = exact_call(model="babylon@0", userPrompt="What now? " * 280)  # of 700 tokens
    scored_window(connection, calls=[call])
    trainer = PeerTrainer(settings.data_dir)

    train(settings, trainer)

    config = manifest(connection)["config"]
    sent = trainer.requests[0]
    assert (sent.seed, sent.packed_sequence_length) == (7, 1024)
    assert (config["seed"], config["packed_sequence_length"]) == (7, 1024)
    assert trainer.inspected[0].packed_sequence_length == 4096


def test_an_hour_over_which_the_trainer_dies_fails_in_the_end_and_holds_up_no_other(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection, hour(1))
    for _ in range(settings.max_attempts):
        with pytest.raises(TrainerDied):
            train(settings, PeerTrainer(settings.data_dir, falls="inspecting"))
    scored_window(connection, hour(2))

    assert train(settings).windows == [hour(2)]
    assert state(connection, hour(1)) == (
        "failed",
        "training failed 3 times, last: the trainer was ended by signal SIGKILL",
    )
    assert column(connection, "SELECT count(*) FROM training.steps WHERE state = 'failed'") == [0]


def test_what_a_killed_worker_left_for_its_trainer_is_gone_after_the_next_plan(
    connection: Connection, settings: Settings
) -> None:
    folder = settings.data_dir / settings.lineage / "inspections"
    folder.mkdir(parents=True)
    (folder / "lease-0.json").write_text("groups of a worker that was killed")
    scored_window(connection, hour(1))

    assert train(settings).windows == [hour(1)]

    assert list(folder.iterdir()) == []
