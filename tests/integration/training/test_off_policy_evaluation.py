"""The held-out value of a policy, from the probabilities of recorded answers."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
import torch
from recorded import IDS, NO, QUESTION, YES, call, group, without_logprobs, yes_pays

from babylon_tasks.records import Group
from babylon_tasks.registry.promotion_gate import EARLIER
from babylon_tasks.training.off_policy_evaluation import GroupValue, ValuesOfSteps, step_value
from babylon_tasks.training.policy import Policy
from babylon_tasks.training.protocol import StepValue


def chance(policy: Policy, answer: str, question: str = QUESTION) -> float:
    """The probability of an answer, from a plain forward pass."""
    messages = [{"role": r, "content": text} for r, text in call(answer, question).messages]
    asked = policy.tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    ids = IDS[answer]
    with policy.at_step(0):
        row = torch.tensor([[*asked, *ids]], device=policy.device.place)
        logits = policy.network(input_ids=row).logits[0].float().cpu()
    log_softmax = torch.log_softmax(logits, dim=-1)
    places = range(len(asked) - 1, len(asked) - 1 + len(ids))
    return math.exp(sum(float(log_softmax[p, token]) for p, token in zip(places, ids, strict=True)))


class Inclined:
    """A policy of known inclinations: each token has one log-probability, wherever it occurs."""

    def __init__(self, policy: Policy, probabilities: dict[int, float]) -> None:
        self.tokenizer = policy.tokenizer
        self.at_step = policy.at_step
        self.token_text = policy.token_text
        self.longest = policy.longest
        self._probabilities = probabilities
        self.rows = 0

    def row_logprobs(
        self, tokens: torch.Tensor, *rest: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.rows += 1
        wanted = tokens[rest[-1]].tolist()
        return torch.tensor(
            [math.log(self._probabilities.get(t, 1e-9)) for t in wanted]
        ), torch.zeros(1)


def evaluated(policy: object, one: Group) -> tuple[float, float]:
    found: StepValue = step_value(policy, 0, [one])  # type: ignore[arg-type]
    return found.values[0], found.coverage[0]


def test_value_and_coverage_come_from_the_probabilities_of_the_answers(policy: Policy) -> None:
    value, coverage = evaluated(policy, yes_pays(yes=0.9, no=0.2))

    yes, no = chance(policy, YES), chance(policy, NO)
    assert coverage == pytest.approx(yes + no, rel=1e-3)
    assert value - 0.2 == pytest.approx(yes * 0.7, rel=1e-2, abs=1e-7)


def test_recorded_text_counts_as_its_tokens_and_the_end_of_the_turn(policy: Policy) -> None:
    exact = group([(call(YES), 1.0), (call(NO), 0.0)])
    text = group([(without_logprobs(call(YES)), 1.0), (without_logprobs(call(NO)), 0.0)])

    assert evaluated(policy, text) == pytest.approx(evaluated(policy, exact))


def test_rows_whose_tokens_mean_nothing_here_count_as_their_text(policy: Policy) -> None:
    text = group([(without_logprobs(call(YES)), 1.0), (without_logprobs(call(NO)), 0.0)])
    odd = group(
        [
            (call(YES, token_ids=(49152, 2)), 1.0),  # beyond the vocabulary
            (call(NO, token_ids=None), 0.0),  # log-probabilities of nobody knows which tokens
        ]
    )
    foreign = group([(call(YES, token_ids=(7, 9, 2)), 1.0), (call(NO, token_ids=(-1,)), 0.0)])

    assert evaluated(policy, odd) == evaluated(policy, foreign) == evaluated(policy, text)


def test_a_question_that_the_policy_cannot_be_asked_is_worth_the_lowest_reward_and_breaks_nothing(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = "{% for m in messages %}{% if m['role'] == 'bard' %}{{ raise_exception('who?') }}"
    template += "{% endif %}{{ m['content'] }}{% endfor %}"
    monkeypatch.setattr(policy.tokenizer, "chat_template", template)
    strange = call(YES, messages=(("bard", "?"),))
    endless = call(YES, messages=(("user", "? " * 3000),))

    for one in (strange, endless):
        value, coverage = evaluated(policy, group([(one, 1.0), (call(NO), 0.2)]))

        assert value == pytest.approx(0.2)
        assert coverage < 0.01


def test_a_text_that_was_cut_off_does_not_count_as_ended(policy: Policy) -> None:
    def coverage(**parts: Any) -> float:
        one = without_logprobs(call(YES, **parts))
        return evaluated(policy, group([(one, 1.0)]))[1]

    assert coverage(finish_reason="length") > coverage(finish_reason="stop") > 0


def test_several_calls_of_one_member_are_taken_together(policy: Policy) -> None:
    asked = ("First question?", "Second question?")
    one = group([([call(YES, q) for q in asked], 1.0), ([call(NO, q) for q in asked], 0.0)])

    _, coverage = evaluated(policy, one)

    expected = math.prod(chance(policy, YES, q) for q in asked) + math.prod(
        chance(policy, NO, q) for q in asked
    )
    assert coverage == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ({10539: 0.9, 5230: 0.1, 2: 1.0}, 0.9),
        ({10539: 0.1, 5230: 0.9, 2: 1.0}, 0.1),
        ({10539: 0.5, 5230: 0.5, 2: 1.0}, 0.5),
        ({}, 0.0),  # gibberish earns what the worst answer earned
    ],
)
def test_a_policy_is_worth_what_its_answers_earned(
    policy: Policy, probabilities: dict[int, float], expected: float
) -> None:
    value, _ = evaluated(Inclined(policy, probabilities), yes_pays())

    assert value == pytest.approx(expected, abs=1e-6)


def test_it_is_known_what_a_policy_would_say_whatever_its_words(policy: Policy) -> None:
    inclined = Inclined(policy, {10539: 0.7, 5230: 0.2, 2: 1.0})

    (says,) = step_value(inclined, 0, [yes_pays()]).says  # type: ignore[arg-type]

    assert says == pytest.approx({"rise": 0.7, "fall": 0.2}, abs=1e-6)


def test_gibberish_is_worth_the_lowest_reward_on_record(policy: Policy) -> None:
    value, coverage = evaluated(Inclined(policy, {}), yes_pays(yes=0.8, no=0.3))

    assert value == pytest.approx(0.3)
    assert coverage == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("probabilities", "expected"),
    [
        ({10539: 1.0, 2: 1.0}, 0.0),
        ({10539: 0.5, 5230: 0.5, 2: 1.0}, math.log(2)),
        ({10539: 0.25, 5230: 0.25, 2: 1.0}, 1.5 * math.log(2)),  # half of it unseen
    ],
)
def test_entropy_is_that_over_the_answers_and_all_others_as_one(
    policy: Policy, probabilities: dict[int, float], expected: float
) -> None:
    inclined: Any = Inclined(policy, probabilities)

    found = step_value(inclined, 0, [yes_pays()])

    assert found.entropy == pytest.approx((expected,), abs=1e-6)


def test_members_that_were_asked_differently_are_no_alternatives_of_each_other(
    policy: Policy,
) -> None:
    apart = group([(call(YES, "One?"), 1.0), (call(YES, "Two?"), 0.0)])

    value, _ = evaluated(Inclined(policy, {10539: 0.5, 2: 1.0}), apart)

    assert value == pytest.approx(0.5 * 0.5)  # half of them, half the time


def test_an_answer_cut_short_does_not_count_twice(policy: Policy) -> None:
    cut = msgspec.structs.replace(call(YES), token_ids=(10539,), logprobs=(-0.1,))
    one = group([(call(YES), 1.0), (cut, 1.0), (call(NO), 0.0)])

    value, coverage = evaluated(Inclined(policy, {10539: 0.9, 5230: 0.1, 2: 1.0}), one)

    assert value <= 1.0
    assert coverage <= 1.0


def test_entropy_is_that_of_the_shares_that_the_value_has_of_an_answer_cut_short(
    policy: Policy,
) -> None:
    cut = msgspec.structs.replace(call(YES), token_ids=(10539,), logprobs=(-0.1,))
    inclined: Any = Inclined(policy, {10539: 0.9, 2: 8 / 9})

    found = step_value(inclined, 0, [group([(cut, 1.0), (call(YES), 0.0)])])

    shares = (0.9 / 1.7, 0.8 / 1.7)
    assert found.values == pytest.approx(shares[:1], abs=1e-6)
    assert found.entropy == pytest.approx((-sum(p * math.log(p) for p in shares),), abs=1e-6)


def test_answers_that_fill_several_rows_are_all_counted(policy: Policy) -> None:
    long = [
        call(policy.tokenizer.decode(ids), token_ids=ids, logprobs=None)
        for ids in ((10539,) * 300 + (n,) for n in range(35, 41))
    ]
    one = group([(each, 1.0) for each in long])

    _, coverage = evaluated(
        Inclined(policy, {10539: 1.0, **dict.fromkeys(range(35, 41), 0.1)}), one
    )

    assert coverage == pytest.approx(0.6)


def test_a_checkpoint_is_evaluated_once_on_each_group_until_it_is_forgotten(
    policy: Policy,
) -> None:
    counting: Any = Inclined(policy, {})
    first, second, changed = (yes_pays(yes=yes, no=0.2) for yes in (0.9, 0.8, 0.7))
    values = ValuesOfSteps()

    alone = step_value(counting, 0, [first, second], known=values.known(0))
    again = step_value(counting, 0, [second, changed, first], known=values.known(0))

    assert counting.rows == 2  # of the first two together, and of what is new
    assert (again.values[2], again.values[0]) == alone.values
    assert again.values == step_value(counting, 0, [second, changed, first]).values

    values.forget(0)
    assert values.known(0) == {}


def test_what_the_gate_compares_with_is_known_although_steps_since_were_refused() -> None:
    values = ValuesOfSteps()
    values.known(0)["a group"] = found = GroupValue(0.5, 1.0, 0.7, {})
    for refused_or_promoted in range(1, EARLIER + 6):
        values.known(refused_or_promoted)

    assert values.known(0) == {"a group": found}


def test_what_is_known_of_a_checkpoint_does_not_hide_that_its_weights_are_gone(
    policy: Policy,
) -> None:
    values = ValuesOfSteps()
    step_value(policy, 0, [yes_pays(yes=0.9, no=0.2)], known=values.known(99))

    with pytest.raises(FileNotFoundError):
        step_value(policy, 99, [yes_pays(yes=0.9, no=0.2)], known=values.known(99))
