"""What a step takes of its windows, what it leaves over, and what becomes of every trajectory."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from crowd import crowd
from factories import WINDOW, exact_call, fill_window, llm_call, step
from peer import PeerTrainer
from scored_windows import column, hour, scored_window

from babylon_tasks.db import gauges, reports, windows
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import TrainerDied
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.evaluate import held_out_set
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.train import TrainOutcome, train_window
from babylon_tasks.settings import Settings
from babylon_tasks.training.protocol import Refusal

MANY = [number / 40 for number in range(40)]
SOME_TOKENS = 8 * 45  # of about eight of the factories' trajectories
Make = Callable[..., Settings]


@pytest.fixture
def settings(make_settings: Make) -> Settings:
    return make_settings(retry_delay_seconds=0, max_group_size=4, step_token_budget=SOME_TOKENS)


def train(
    settings: Settings, trainer: PeerTrainer | None = None, window: str | None = None
) -> TrainOutcome:
    trainer = trainer or PeerTrainer(settings.data_dir)
    return train_window(settings, trainer, window=window, actor="test")


def manifest(connection: Connection) -> dict[str, Any]:
    """Of the newest step."""
    (found,) = column(connection, "SELECT manifest FROM training.steps ORDER BY id DESC LIMIT 1")
    assert isinstance(found, dict)
    return found


def taken(connection: Connection) -> list[list[str]]:
    """The members of the newest step's groups."""
    groups = manifest(connection)["groups"]
    return [[entry["trajectory_id"] for entry in group["members"]] for group in groups]


def left_over(connection: Connection, window: str = WINDOW) -> object:
    query = "SELECT left_over FROM training.windows WHERE window_id = %s"
    return column(connection, query, window)[0]


def state(connection: Connection, window: str = WINDOW) -> tuple[str, str | None]:
    row = windows.get(connection, window)
    return row.state, row.reason


def uses(connection: Connection) -> dict[str, str]:
    rows = connection.execute("SELECT trajectory_id, use FROM training.consumption").fetchall()
    return dict(rows)


def refused(connection: Connection) -> dict[str, str]:
    rows = connection.execute("SELECT trajectory_id, reason FROM training.rejections").fetchall()
    return dict(rows)


def grouped(connection: Connection) -> dict[str, Any]:
    query = "SELECT detail FROM training.events WHERE kind = 'grouped' ORDER BY id DESC LIMIT 1"
    (found,) = column(connection, query)
    assert isinstance(found, dict)
    return found


# --- many groups


def test_what_can_be_compared_and_is_more_than_a_group_holds_becomes_several(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(max_group_size=4)
    ids = scored_window(connection, rewards=[n / 10 for n in range(10)])

    assert train(settings).action == "committed"

    groups = taken(connection)
    assert sorted(map(len, groups)) == [3, 3, 4]
    assert sorted(one for group in groups for one in group) == sorted(ids)
    assert [group["part"] for group in manifest(connection)["groups"]] == [0, 1, 2]
    assert refused(connection) == {}
    assert state(connection) == ("trained", None)


def test_a_step_takes_groups_up_to_its_budget_and_the_rest_waits_for_the_next(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, rewards=MANY)

    assert train(settings).action == "committed"

    first = [one for group in taken(connection) for one in group]
    assert 0 < len(first) <= 8
    assert state(connection) == ("scored", None)
    assert left_over(connection) == len(ids) - len(first) == grouped(connection)["left_over"]
    told = gauges.read(connection, "babylon", settings.lease_seconds)
    assert (told.left_over, told.oldest_waiting) == (len(ids) - len(first), 0.0)
    assert reports.standing(connection, "babylon").oldest_waiting is None
    assert grouped(connection)["tokens"] <= SOME_TOKENS
    assert refused(connection) == {}

    outcomes = [train(settings).action for _ in range(20)]

    assert outcomes.index("idle") == outcomes.count("committed")
    assert uses(connection) == dict.fromkeys(ids, "trained")
    assert state(connection) == ("trained", None)
    assert left_over(connection) == 0
    kinds = Counter(column(connection, "SELECT kind FROM training.events"))
    assert (kinds["trained_in_part"], kinds["trained"]) == (outcomes.count("committed"), 1)


def test_a_group_that_is_larger_than_the_budget_is_a_step_of_its_own(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(max_group_size=4, step_token_budget=1)
    scored_window(connection, rewards=MANY[:8])

    assert [train(settings).action for _ in range(3)] == ["committed", "committed", "idle"]
    assert state(connection) == ("trained", None)


def test_every_key_is_heard_before_any_is_heard_again(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection, rewards=MANY, key="many")
    scored_window(connection, rewards=MANY[:4], key="few")

    train(settings)

    assert sorted(group["key"] for group in manifest(connection)["groups"]) == ["few", "many"]


def test_hours_that_no_step_has_seen_come_before_what_steps_left_over(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(max_group_size=4, step_token_budget=1, max_windows_per_step=1)
    for number in (1, 2):
        scored_window(connection, hour(number), rewards=MANY[:8])
    order = [train(settings).windows for _ in range(2)]
    scored_window(connection, hour(3), rewards=MANY[:4])
    order += [train(settings).windows for _ in range(3)]

    # Of what is left over, the newest first: it is the likeliest to be fresh.
    assert order == [[hour(1)], [hour(2)], [hour(3)], [hour(2)], [hour(1)]]


def test_an_hour_of_which_a_part_would_do_no_more_does_not_join_the_step(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(max_group_size=4, step_token_budget=1)
    for number in (1, 2):
        scored_window(connection, hour(number), rewards=MANY[:4])

    assert train(settings).windows == [hour(1)]
    assert state(connection, hour(2)) == ("scored", None)
    assert left_over(connection, hour(2)) == 0


def test_a_part_of_an_hour_joins_a_step_that_has_room_for_it(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection, hour(1), rewards=MANY[:4])
    scored_window(connection, hour(2), rewards=MANY)

    assert train(settings).windows == [hour(1), hour(2)]
    assert (state(connection, hour(1))[0], state(connection, hour(2))[0]) == ("trained", "scored")


def test_the_same_rows_make_the_same_plan(connection: Connection, settings: Settings) -> None:
    scored_window(connection, rewards=MANY)
    hashes = []
    for _ in range(2):
        train(settings, PeerTrainer(settings.data_dir, falls="refuses"))
        hashes += column(connection, "SELECT manifest_hash FROM training.steps ORDER BY id")[-1:]

    assert hashes[0] == hashes[1]


# --- groups that teach nothing


def test_equal_groups_are_used_up_beside_those_that_teach(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(max_group_size=4)
    flat = scored_window(connection, rewards=[0.5] * 4, key="flat")
    busy = scored_window(connection, rewards=[0.5] * 4, key="busy", activities=[1, 2, 3, 4])
    lone = scored_window(connection, rewards=[0.5], key="lone")
    steep = scored_window(connection, key="steep")

    assert train(settings).action == "committed"
    assert uses(connection) == {
        **dict.fromkeys(flat, "no_spread"),
        **dict.fromkeys(busy, "only_activity"),
        **dict.fromkeys(lone, "too_small"),
        **dict.fromkeys(steep, "trained"),
    }


@pytest.mark.parametrize(("power", "rate"), [(1.0, 1e-4), (0.0, 4e-4)])
def test_a_step_of_which_a_quarter_teaches_moves_the_weights_a_quarter_as_far(
    connection: Connection, make_settings: Make, power: float, rate: float
) -> None:
    settings = make_settings(
        learning_rate=4e-4, learning_rate_warmup_steps=0, learning_rate_spread_power=power
    )
    scored_window(connection, rewards=[0.5] * 8, key="flat")
    scored_window(connection, rewards=[0.5] * 4, key="busy", activities=[1, 2, 3, 4])
    scored_window(connection, rewards=MANY[:4], key="steep")
    trainer = PeerTrainer(settings.data_dir)

    train(settings, trainer)

    assert manifest(connection)["config"]["learning_rate"] == pytest.approx(rate)
    assert trainer.requests[0].learning_rate == pytest.approx(rate)


def test_an_hour_in_which_only_activity_differs_says_so(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection, rewards=[0.5] * 4, activities=[1, 2, 3, 4])

    assert train(settings).reason == f"{WINDOW}: only_activity"


def test_what_is_left_over_and_can_teach_nothing_more_ends_its_hour_with_the_reason(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, rewards=MANY)
    train(settings)
    connection.execute(
        "UPDATE training.scores SET reward = 0.5 WHERE trajectory_id <> ALL (%s)",
        ([*uses(connection)],),
    )

    assert train(settings).reason == f"{WINDOW}: no_spread"
    assert state(connection) == ("trained", "no_spread")
    assert left_over(connection) == 0
    assert set(uses(connection)) == set(ids)


# --- what Babylon has changed since


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ('UPDATE trajectories SET "isEvaluation" = true', "evaluation_row"),
        ('UPDATE trajectories SET "isTrainingData" = false', "not_training_data"),
        (
            """UPDATE trajectories SET "usedInTraining" = true, "trainedInBatch" = 'another'""",
            "already_used",
        ),
        ("""UPDATE trajectories SET "windowId" = '2026-01-31T23:00'""", "moved"),
        ("DELETE FROM trajectories", "deleted"),
    ],
    ids=lambda value: value if " " not in value else "",
)
def test_a_row_that_must_not_be_used_any_more_is_refused_by_name_and_fails_no_other(
    connection: Connection, settings: Settings, change: str, reason: str
) -> None:
    ids = scored_window(connection, rewards=MANY[:4])
    connection.execute(change + ' WHERE "trajectoryId" = %s', [ids[1]])  # type: ignore[arg-type]

    assert train(settings).action == "committed"
    assert refused(connection) == {ids[1]: reason}
    assert uses(connection) == dict.fromkeys({*ids} - {ids[1]}, "trained")
    assert state(connection) == ("trained", None)


def rewrite(connection: Connection, trajectory_id: str, answer: str = "NO") -> None:
    steps = [step(0, [exact_call(answer, model="babylon@0")])]
    connection.execute(
        'UPDATE trajectories SET "stepsJson" = %s WHERE "trajectoryId" = %s',
        (json.dumps(steps), trajectory_id),
    )


def standing(connection: Connection) -> tuple[Any, ...]:
    row = connection.execute(
        "SELECT state, rescore, changes, left_over FROM training.windows"
    ).fetchone()
    assert row is not None
    return row


def test_a_row_that_was_rewritten_is_left_out_and_its_hour_is_to_be_scored_anew(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, rewards=MANY[:4])
    rewrite(connection, ids[1])

    assert train(settings).action == "committed"
    assert uses(connection) == dict.fromkeys({*ids} - {ids[1]}, "trained")
    assert refused(connection) == {}
    assert standing(connection) == ("scored", "rows changed", 1, 1)
    assert "rows_changed" in column(connection, "SELECT kind FROM training.events")
    # Until it has been, no step touches it.
    assert train(settings).action == "idle"
    assert train(settings, window=WINDOW).action == "busy"


def test_an_hour_of_which_every_row_was_rewritten_waits_and_is_not_given_up(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, rewards=MANY[:4])
    for one in ids:
        rewrite(connection, one)

    assert train(settings).reason == f"{WINDOW}: rows_changed"
    assert standing(connection) == ("scored", "rows changed", 1, 0)
    assert uses(connection) == refused(connection) == {}


def test_a_group_that_loses_its_spread_by_a_change_is_handled_as_any_other(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, rewards=(0.5, 0.5, 0.5, 1.0))
    rewrite(connection, ids[3])

    assert train(settings).reason == f"{WINDOW}: rows_changed"
    assert uses(connection) == dict.fromkeys(ids[:3], "no_spread")
    assert standing(connection) == ("scored", "rows changed", 1, 0)


def test_a_row_that_changes_again_and_again_is_refused_by_name(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection, rewards=MANY[:4])
    connection.execute("UPDATE training.windows SET changes = 3")
    rewrite(connection, ids[1])

    assert train(settings).action == "committed"
    assert refused(connection) == {ids[1]: "changed"}
    assert standing(connection) == ("trained", None, 3, 0)


def test_a_score_that_says_not_of_what_it_was_made_is_made_anew(
    connection: Connection, settings: Settings
) -> None:
    scored_window(connection)
    connection.execute("UPDATE training.scores SET content_hash = NULL")

    assert train(settings).reason == f"{WINDOW}: rows_changed"


def test_a_window_that_is_scored_anew_while_it_is_planned_is_planned_from_its_new_rewards(
    connection: Connection, settings: Settings
) -> None:
    ids = scored_window(connection)

    class Slow(PeerTrainer):
        def inspect(self, *arguments: Any) -> Any:
            if not self.inspected:
                connection.execute("UPDATE training.windows SET reward_version = 2")
                connection.execute(
                    "INSERT INTO training.scores SELECT trajectory_id, 2, window_id, agent_id,"
                    " group_key, scorer, scorer_version, 1 - reward, components, scored_at,"
                    " content_hash FROM training.scores"
                )
            return super().inspect(*arguments)

    assert train(settings, Slow(settings.data_dir)).action == "committed"
    rewards = {
        entry["trajectory_id"]: (entry["reward"], entry["reward_version"])
        for group in manifest(connection)["groups"]
        for entry in group["members"]
    }
    assert rewards == dict(zip(ids, [(1.0, 2), (0.75, 2), (0.25, 2), (0.0, 2)], strict=True))
    versions = column(connection, "SELECT DISTINCT reward_version FROM training.consumption")
    assert versions == [2]


# --- age


def test_an_hour_too_far_behind_the_newest_is_ended_and_each_of_it_is_named(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(max_staleness_hours=10)
    old = scored_window(connection, hour(1), rewards=MANY[:4])
    scored_window(connection, hour(12), rewards=MANY[:4])

    assert train(settings).windows == [hour(12)]
    assert refused(connection) == dict.fromkeys(old, "stale")
    assert state(connection, hour(1)) == ("skipped", "stale")


def test_what_is_left_over_of_an_hour_that_grows_too_old_is_named(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(max_staleness_hours=10, max_group_size=4, step_token_budget=1)
    ids = scored_window(connection, hour(1), rewards=MANY[:8])
    train(settings)
    scored_window(connection, hour(12), rewards=MANY[:4])

    train(settings)

    assert state(connection, hour(1)) == ("trained", "stale")
    assert left_over(connection, hour(1)) == 0
    assert set(refused(connection)) | set(uses(connection)) >= set(ids)


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


def test_those_that_can_be_compared_with_nobody_of_their_label_end_as_too_small(
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


# --- evaluation


def test_a_held_out_hour_of_many_agents_gives_several_groups(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(max_group_size=4, max_eval_groups=3, min_eval_groups=3)
    scored_window(connection, rewards=MANY, state="held_out", model="anyone")

    groups = held_out_set(connection, settings, actor="test")

    assert [len(group.members) for group in groups] == [4, 4, 4]
    assert groups == held_out_set(connection, settings, actor="test")
    assert len({one.trajectory_id for group in groups for one in group.members}) == 12


def test_a_rewritten_row_is_not_valued_by_the_reward_of_another_answer(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings()
    ids = scored_window(connection, state="held_out", model="anyone")
    rewrite(connection, ids[0])

    (group,) = held_out_set(connection, settings, actor="test")

    assert ids[0] not in {one.trajectory_id for one in group.members}
    assert len(group.members) == 3
    assert standing(connection) == ("held_out", "rows changed", 1, 0)


def test_held_out_hours_that_were_rewritten_are_valued_again_once_they_are_scored_anew(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(
        lookback_hours=1_000_000, upkeep_interval_seconds=0.001, held_out_share=0.999
    )
    ids = fill_window(connection)
    discover(settings, actor="test")
    score_window(settings, WINDOW, actor="test")
    before = held_out_set(connection, settings, actor="test")
    for one in ids:
        rewrite(connection, one)
    connection.execute('UPDATE trajectories SET "finalPnL" = -"finalPnL"')

    assert held_out_set(connection, settings, actor="test") == ()
    assert reconcile(settings, actor="test").anew == [WINDOW]
    score_window(settings, WINDOW, actor="test")
    after = held_out_set(connection, settings, actor="test")

    assert len(before) == len(after) == 1
    first, last = (
        {one.trajectory_id: one.reward for one in groups[0].members} for groups in (before, after)
    )
    assert first.keys() == last.keys()
    assert sorted(first, key=first.__getitem__) == sorted(last, key=last.__getitem__)[::-1]


# --- thousands of agents


@pytest.mark.contract("today")
def test_of_an_hour_of_four_thousand_agents_every_trajectory_is_accounted_for(
    connection: Connection, make_settings: Make
) -> None:
    settings = make_settings(lookback_hours=1_000_000)
    ids = crowd(connection, 4000, strangers=37)
    discover(settings, actor="test")
    score_window(settings, WINDOW, actor="test")
    connection.execute('DELETE FROM trajectories WHERE "trajectoryId" = ANY (%s)', [ids[:5]])
    connection.execute(
        'UPDATE trajectories SET "isEvaluation" = true WHERE "trajectoryId" = ANY (%s)',
        [ids[5:12]],
    )
    trainer = PeerTrainer(settings.data_dir)

    left: list[Any] = []
    while train(settings, trainer).action == "committed":
        left.append(left_over(connection))
        used, named = uses(connection), refused(connection)
        assert not set(used) & set(named)
        assert len(used) + len(named) + left[-1] == 4000
        assert grouped(connection)["tokens"] <= settings.step_token_budget
        sizes = [len(group) for group in taken(connection)]
        assert 2 <= min(sizes) <= max(sizes) <= settings.max_group_size
        assert sum(sizes) > 200 or left[-1] == 0

    assert left == sorted(left, reverse=True)
    assert len(left) > 5
    assert left[-1] == 0
    assert Counter(refused(connection).values()) == {
        "other_policy": 37,
        "deleted": 5,
        "evaluation_row": 7,
    }
    assert set(uses(connection)) | set(refused(connection)) == set(ids)
    # A third was right and its profits differ: hardly a group teaches nothing.
    assert Counter(uses(connection).values())["trained"] > 3900
    assert state(connection) == ("trained", None)
