"""What a training step does to a policy, and what it must not do."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from recorded import (
    NO,
    QUESTION,
    YES,
    call,
    group,
    groups_file,
    many,
    train_request,
    without_logprobs,
    yes_pays,
)

from babylon_tasks.errors import TrainingError
from babylon_tasks.pipeline.verify_step import verify
from babylon_tasks.records import Group
from babylon_tasks.step_records import StepResult
from babylon_tasks.training.checkpoints import adapter_hash, read_record
from babylon_tasks.training.protocol import InspectRequest, RequestProgress, Weight
from babylon_tasks.training.supervisor import Trainer

TrainRequest = Callable[..., StepResult]
Value = Callable[..., float]


def chance(value: Value, step: int, answer: str, question: str) -> float:
    """The probability of an answer: its value where it alone pays."""
    return value(step, yes_pays(question, yes=float(answer == YES), no=float(answer == NO)))


def gap(value: Value, step: int, groups: list[Group]) -> float:
    """How many times likelier YES is than NO, as a logarithm, over the groups' questions."""
    questions = [one.key for one in groups]
    ratios = [chance(value, step, YES, q) / chance(value, step, NO, q) for q in questions]
    return sum(map(math.log, ratios)) / len(ratios)


def test_a_step_moves_probability_to_the_better_answers_and_flipped_rewards_move_it_back(
    train: TrainRequest, value: Value
) -> None:
    groups = many(4)
    start = gap(value, 0, groups)

    towards = train(groups)
    away = train(many(4, yes=0.0, no=1.0))

    assert gap(value, towards.step, groups) > start + 0.1
    assert gap(value, away.step, groups) < start - 0.1


def test_a_policy_that_learned_what_pays_is_worth_more(train: TrainRequest, value: Value) -> None:
    groups, yardstick = many(4), many(4)[0]

    trained = train(groups)

    assert 0 <= value(0, yardstick) < value(trained.step, yardstick) <= 1


def test_a_step_reports_what_it_did_and_leaves_a_record(
    trainer: Trainer, train: TrainRequest
) -> None:
    before = trainer.backend_step().step

    trained = train(many(4), manifest_hash="of-this-step")

    assert verify(before, trained, "of-this-step") is None
    assert trained.base_adapter_hash is None  # it came from the base model
    assert trained.trainable_tokens == 4 * 4 * 2  # groups, members, tokens of an answer
    assert trained.inference_name == f"tests@{before + 1}"
    assert all(math.isfinite(value) for value in trained.metrics.values())
    assert {"loss/train", "loss/grad_norm", "loss/entropy"} <= trained.metrics.keys()
    assert trained.metrics["loss/grad_norm"] > 0
    assert trained.metrics["loss/entropy"] == pytest.approx(math.log(49152), rel=0.05)
    assert trainer.backend_step().result == trained


def test_progress_counts_the_gradient_steps(
    trainer: Trainer, train: TrainRequest, tmp_path: Path
) -> None:
    reported: list[RequestProgress] = []
    base = trainer.backend_step().step
    request = train_request(tmp_path, many(6), base_step=base, parent_step=0)

    trained = trainer.train(request, reported.append)

    of = trained.gradient_steps
    assert of > 1
    told = list(dict.fromkeys((one.counted, one.done, one.total) for one in reported if one.total))
    assert told == [
        *(("calls tokenised", done, 24) for done in range(1, 25)),
        *(("gradient steps", done, of) for done in range(1, of + 1)),
    ]


def test_with_a_balance_answers_below_their_groups_mean_are_pushed_away_less(
    train: TrainRequest, value: Value
) -> None:
    groups = many(4)

    even, balanced = train(groups), train(groups, advantage_balance=0.9)

    def of_the_worse(step: int) -> float:
        return sum(math.log(chance(value, step, NO, one.key)) for one in groups)

    assert of_the_worse(even.step) < of_the_worse(balanced.step) - 0.1


def test_the_same_step_again_gives_the_same_weights(trainer: Trainer, train: TrainRequest) -> None:
    first = train(many(4))
    trainer.discard(first.step)
    again = train(many(4))
    other = train(many(5))

    assert again.adapter_hash == first.adapter_hash != other.adapter_hash


def test_a_step_may_start_from_another_checkpoint_than_the_newest(
    trainer: Trainer, train: TrainRequest
) -> None:
    one = train(many(3))
    held = train(many(3, yes=0.0, no=1.0), parent_step=one.step)
    branch = train(many(2), parent_step=one.step)
    trainer.discard(branch.step)
    trainer.discard(held.step)
    straight = train(many(2), parent_step=one.step)

    assert branch.step == held.step + 1
    assert branch.base_adapter_hash == one.adapter_hash
    assert branch.adapter_hash == straight.adapter_hash  # the dead branch left no trace


def test_equal_rewards_teach_nothing_and_are_not_taken_for_a_step(
    trainer: Trainer, train: TrainRequest
) -> None:
    first = train(many(2))

    idle = train(many(2, yes=0.5, no=0.5), parent_step=first.step)

    assert idle.gradient_steps == 0
    assert idle.adapter_hash == idle.base_adapter_hash == first.adapter_hash
    assert verify(first.step, idle, "manifest") == "no gradient step was taken"


def test_answers_without_log_probabilities_are_not_trained_on(
    trainer: Trainer, train: TrainRequest
) -> None:
    before = trainer.backend_step().step
    bare = group([(call(YES, logprobs=None), 1.0), (call(NO, logprobs=None), 0.0)])

    with pytest.raises(TrainingError, match=r"call 0 of trajectory market-0.* no_logprobs"):
        train([bare])

    assert trainer.backend_step().step == before


def test_answers_without_log_probabilities_are_trained_on_where_the_operator_allows_it(
    trainer: Trainer, train: TrainRequest, value: Value
) -> None:
    before = trainer.backend_step().step
    exact = yes_pays()
    bare = group([(without_logprobs(call(YES)), 1.0), (without_logprobs(call(NO)), 0.0)])

    trained = train([bare], logprobs="none")

    assert verify(before, trained, "manifest") is None
    assert value(trained.step, exact) > value(0, exact)


def test_every_call_of_a_trajectory_is_trained_on(train: TrainRequest) -> None:
    asked = ("First?", "Second?", "Third?")
    long = group([([call(YES, q) for q in asked], 1.0), ([call(NO, q) for q in asked], 0.0)])

    assert train([long]).trainable_tokens == 2 * 3 * 2


LITTLE = 1e-3  # so that a step of the penalty alone ends before the base model, not beyond it


def test_the_kl_term_pulls_towards_the_base_model(train: TrainRequest, value: Value) -> None:
    groups = many(4)
    start = gap(value, 0, groups)
    drifted = train(groups)

    onward = {"parent_step": drifted.step, "learning_rate": LITTLE}
    free = train(groups, **onward)
    pulled = train(groups, **onward, kl_coefficient=1000.0)

    assert start < gap(value, pulled.step, groups) < gap(value, drifted.step, groups)
    assert gap(value, drifted.step, groups) < gap(value, free.step, groups)
    assert "loss/kl_policy_ref" not in free.metrics
    assert abs(pulled.metrics["loss/kl_policy_ref"]) > 0
    assert all(math.isfinite(value) for value in pulled.metrics.values())


def test_a_step_that_diverges_fails_and_leaves_the_next_one_unharmed(
    trainer: Trainer, train: TrainRequest
) -> None:
    sound = train(many(2))
    trainer.discard(sound.step)
    before = trainer.backend_step().step

    with pytest.raises(TrainingError, match="not finite"):
        train(many(8), learning_rate=1e30)
    assert trainer.backend_step().step == before

    assert train(many(2)).adapter_hash == sound.adapter_hash


def test_a_discarded_checkpoint_is_gone_and_only_the_newest_can_be(
    trainer: Trainer, train: TrainRequest
) -> None:
    one, two = train(many(2)), train(many(3))

    assert trainer.discard(two.step).result == one
    assert adapter_hash(Path(two.uri)) is None
    assert read_record(Path(one.uri)) == one


def test_a_checkpoint_that_is_set_aside_is_kept_and_the_next_step_starts_without_it(
    trainer: Trainer, train: TrainRequest
) -> None:
    one, two = train(many(2)), train(many(3))
    folder = f"{two.step:04d}-of-the-test"

    assert trainer.set_aside(two.step, folder).result == one

    kept = Path(one.uri).parent.with_name("set-aside") / folder
    assert adapter_hash(kept) == two.adapter_hash
    assert not Path(two.uri).exists()
    again = train(many(3), parent_step=one.step)
    assert (again.step, again.base_adapter_hash) == (two.step, one.adapter_hash)
    with pytest.raises(TrainingError, match=f"asked to set aside step {one.step}, but the newest"):
        trainer.set_aside(one.step, "older")


def test_a_call_that_was_not_sampled_so_fails_the_request_by_name_and_harms_nothing(
    trainer: Trainer, train: TrainRequest, tmp_path: Path
) -> None:
    before = trainer.backend_step().step
    pid = trainer.pid
    foreign = group([(call(YES), 1.0), (call(NO, token_ids=(49152, 2)), 0.0)])
    without_tokens = group([(call(YES), 1.0), (call(NO, token_ids=None), 0.0)])

    with pytest.raises(TrainingError, match=r"trajectory market-1 .* foreign_token: token 49152"):
        train([*many(2), foreign])
    with pytest.raises(TrainingError, match=r"trajectory market-1 .* no_token_ids"):
        train([*many(2), without_tokens])

    assert trainer.backend_step().step == before
    assert trainer.pid == pid


def test_an_inspection_names_what_would_not_be_trained_as_sampled_and_weighs_the_rest(
    trainer: Trainer, tmp_path: Path
) -> None:
    sound = yes_pays()
    odd = group(
        [
            (call(YES), 1.0),
            ([call(YES, "First?"), call(NO, token_ids=(49152, 2))], 0.5),
            (call(NO, token_ids=(10539, 2)), 0.0),
        ],
        "odd",
    )
    reported: list[RequestProgress] = []
    request = InspectRequest(groups_file(tmp_path, [sound, odd]), 128)

    found = trainer.inspect(request, reported.append)
    assert [(one.trajectory_id, one.call, one.reason) for one in found.refusals] == [
        ("odd-1", 1, "foreign_token"),
        ("odd-2", 0, "answer_differs"),
    ]
    alone = found.weights[0].longest
    assert found.weights[0].tokens == 4 * alone
    assert alone < found.weights[1].tokens < 2 * alone  # one whole, one with a short question
    assert (reported[-1].done, reported[-1].total) == (2, 2)


def test_what_is_longer_than_a_row_is_counted_before_the_step_and_not_lost_in_it(
    trainer: Trainer, train: TrainRequest, tmp_path: Path
) -> None:
    short, long = yes_pays("Short?"), yes_pays(f"Long? {QUESTION * 4}")
    path = groups_file(tmp_path, [short, long])
    alone = trainer.inspect(InspectRequest(path, 512)).weights[1].longest

    fitting = trainer.inspect(InspectRequest(path, alone))
    narrow = trainer.inspect(InspectRequest(path, alone - 1))

    assert fitting.refusals == ()
    members = [one.trajectory_id for one in long.members]
    assert [(one.trajectory_id, one.reason) for one in narrow.refusals] == [
        (member, "too_long") for member in members
    ]
    assert narrow.weights[1] == Weight(0, 0)
    with pytest.raises(TrainingError, match=r"would not be trained .* too_long"):
        train([short, long], packed_sequence_length=alone - 1)


def test_the_seed_and_the_row_length_are_those_of_the_request(
    trainer: Trainer, train: TrainRequest
) -> None:
    def step(**fields: object) -> StepResult:
        trained = train(many(4), **fields)
        trainer.discard(trained.step)
        return trained

    first, again = step(seed=1), step(seed=1)
    other, short = step(seed=2), step(seed=1, packed_sequence_length=64)

    assert first.adapter_hash == again.adapter_hash
    assert other.adapter_hash != first.adapter_hash
    assert short.gradient_steps > first.gradient_steps
