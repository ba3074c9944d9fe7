"""Sampling: grouping, seeds, stops, and log-probabilities that training can rely on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from models import save_tiny_model
from recorded import QUESTION, TORCH_DEVICE, prompt
from transformers import (
    DynamicCache,
    Gemma3TextConfig,
    Lfm2Config,
    LlamaConfig,
    PretrainedConfig,
)

from babylon_tasks.training import sampling
from babylon_tasks.training.device import choose_device
from babylon_tasks.training.policy import Policy
from babylon_tasks.training.sampling import SampledAnswer, SamplingRequest, sample


def tokens(policy: Policy, question: str = QUESTION) -> tuple[int, ...]:
    messages = [{"role": role, "content": text} for role, text in prompt(question)]
    return tuple(
        policy.tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    )


def alone(policy: Policy, ask: SamplingRequest) -> list[SampledAnswer]:
    [answers] = sample(policy, [ask], step=0)
    return answers


def forced(policy: Policy, question: tuple[int, ...], answer: SampledAnswer) -> torch.Tensor:
    """What each token of an answer is worth to the network that is given all of them."""
    with policy.at_step(0):
        row = torch.tensor([[*question, *answer.token_ids]], device=policy.device.place)
        logits = policy.network(input_ids=row).logits[0, len(question) - 1 : -1].float().cpu()
    found = torch.log_softmax(logits, -1).gather(-1, torch.tensor(answer.token_ids)[:, None])
    return found.squeeze(-1)


@pytest.fixture
def asked(policy: Policy) -> tuple[int, ...]:
    return tokens(policy)


def test_what_a_sampled_token_was_worth_is_what_teacher_forcing_says(
    policy: Policy, asked: tuple[int, ...]
) -> None:
    shorter = tokens(policy, "Short?")  # padded on the left beside the longer one

    both = sample(
        policy,
        [SamplingRequest(asked, max_tokens=6), SamplingRequest(shorter, max_tokens=4)],
        step=0,
    )

    for question, [answer] in zip((asked, shorter), both, strict=True):
        expected = forced(policy, question, answer)
        assert torch.allclose(expected, torch.tensor(answer.logprobs), atol=1e-4)


@pytest.mark.usefixtures("policy")  # it has undone ART's patch
def test_columns_that_the_vocabulary_lacks_are_not_drawn_and_count_as_in_training(
    tmp_path: Path,
) -> None:
    """Here they are one column in four."""
    exact = replace(choose_device(TORCH_DEVICE), bf16=False, exact_head=False)
    policy = Policy(str(save_tiny_model(tmp_path, spare=16_384)), tmp_path, exact)
    question = tokens(policy)
    seeded, free = sample(
        policy,
        [
            SamplingRequest(question, n=32, max_tokens=3, seed=1),
            SamplingRequest(question, n=32, max_tokens=3, temperature=1.5, top_p=0.9),
        ],
        step=0,
    )

    assert len(policy.spare) == 16_384
    for answer in (*seeded, *free):
        assert all(map(policy.token_text.contains, answer.token_ids))
        expected = forced(policy, question, answer)
        assert torch.allclose(expected, torch.tensor(answer.logprobs), atol=1e-4)


def test_each_request_gets_its_own_answers_where_prompts_repeat(
    policy: Policy, asked: tuple[int, ...]
) -> None:
    other = tokens(policy, "Is it Tuesday?")
    asks = [
        SamplingRequest(asked, n=2, temperature=0, max_tokens=5),
        SamplingRequest(other, n=1, temperature=0, max_tokens=3),
        SamplingRequest(asked, n=3, temperature=0, max_tokens=2),
    ]

    found = sample(policy, asks, step=0)

    here, there = alone(policy, asks[0])[0].token_ids, alone(policy, asks[1])[0].token_ids
    assert [[a.token_ids for a in answers] for answers in found] == [
        [here, here],
        [there],
        [here[:2]] * 3,
    ]
    assert here[:3] != there


def test_a_prompt_is_kept_once_until_its_answers_have_a_second_token(
    policy: Policy, asked: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    reorder = DynamicCache.reorder_cache

    def counted(self: DynamicCache, index: torch.Tensor) -> None:
        sizes.append(len(index))
        reorder(self, index)

    monkeypatch.setattr(DynamicCache, "reorder_cache", counted)

    short, long = sample(
        policy,
        [SamplingRequest(asked, n=40, max_tokens=1), SamplingRequest(asked, n=3, max_tokens=2)],
        step=0,
    )

    assert len(short) == 40
    assert len(long) == 3
    assert sum(sizes) <= 3


def test_answers_that_have_said_the_same_share_a_row_until_they_differ(
    policy: Policy, asked: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    inner = policy.network.forward

    def counted(**given: Any) -> Any:
        rows.append(len(given["input_ids"]))
        return inner(**given)

    monkeypatch.setattr(policy.network, "forward", counted)
    likeliest = SamplingRequest(asked, n=30, temperature=0, max_tokens=4)
    drawn = SamplingRequest(asked, n=4, temperature=2.0, max_tokens=4, seed=3)

    same, different = sample(policy, [likeliest, drawn], step=0)

    beginnings = [{tuple(one.token_ids[:end]) for one in (*same, *different)} for end in range(4)]
    assert rows == [len(found) for found in beginnings]
    assert len(beginnings[3]) > 1
    monkeypatch.undo()
    for ask, answers in ((likeliest, same), (drawn, different)):
        for answer, expected in zip(answers, alone(policy, ask), strict=True):
            assert answer.token_ids == expected.token_ids
            assert answer.logprobs == pytest.approx(expected.logprobs, abs=1e-3)


def test_prompts_that_begin_alike_are_answered_as_each_alone(
    policy: Policy, asked: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampling, "_SAVED_BY_A_PASS", 1)
    computed: list[tuple[int, ...]] = []
    inner = policy.network.forward

    def counted(**given: Any) -> Any:
        computed.append(tuple(given["input_ids"].shape))
        return inner(**given)

    longer, inside = (*asked, 7, 8, 9), asked[:-2]  # one begins with all of another
    asks = [SamplingRequest(one, temperature=0, max_tokens=3) for one in (asked, longer, inside)]
    monkeypatch.setattr(policy.network, "forward", counted)

    found = sample(policy, asks, step=0)

    assert computed[:2] == [(1, len(inside) - 1), (3, len(longer) - len(inside) + 1)]
    monkeypatch.undo()
    for ask, [answer] in zip(asks, found, strict=True):
        [expected] = alone(policy, ask)
        assert answer.token_ids == expected.token_ids
        assert answer.logprobs == pytest.approx(expected.logprobs, abs=1e-3)


@pytest.mark.parametrize(
    ("config", "forgets_nothing"),
    [
        (LlamaConfig(num_hidden_layers=2), True),
        (Gemma3TextConfig(num_hidden_layers=2, sliding_window=16), False),
        (Lfm2Config(num_hidden_layers=2, layer_types=["conv", "full_attention"]), False),
    ],
)
def test_only_a_cache_of_whole_layers_lets_prompts_begin_in_one_pass(
    config: PretrainedConfig, *, forgets_nothing: bool
) -> None:
    assert sampling._forgets_nothing(DynamicCache(config=config)) is forgets_nothing


def test_a_seed_gives_the_same_answers_again(policy: Policy, asked: tuple[int, ...]) -> None:
    def drawn(seed: int) -> list[list[int]]:
        ask = SamplingRequest(asked, n=3, temperature=1.5, max_tokens=6, seed=seed)
        return [answer.token_ids for answer in alone(policy, ask)]

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)
    first, second, third = drawn(1)
    assert first != second != third


@pytest.mark.parametrize("seed", [-1, 2**63 - 1, 10**30])
def test_any_whole_number_is_a_seed(policy: Policy, asked: tuple[int, ...], seed: int) -> None:
    ask = SamplingRequest(asked, max_tokens=3, seed=seed)

    assert alone(policy, ask)[0].token_ids == alone(policy, ask)[0].token_ids


def test_temperature_zero_takes_the_likeliest_token_each_time(
    policy: Policy, asked: tuple[int, ...]
) -> None:
    [answer] = alone(policy, SamplingRequest(asked, temperature=0, max_tokens=4))

    row = list(asked)
    with policy.at_step(0):
        for _ in range(4):
            so_far = torch.tensor([row], device=policy.device.place)
            row.append(int(policy.network(input_ids=so_far).logits[0, -1].argmax()))
    assert answer.token_ids == row[len(asked) :]


@pytest.mark.parametrize("how", [{"top_p": 1e-6}, {"temperature": 1e-40}, {"temperature": 1e-4}])
def test_the_coldest_draws_are_greedy_too(
    policy: Policy, asked: tuple[int, ...], how: dict[str, float]
) -> None:
    [cold] = alone(policy, SamplingRequest(asked, max_tokens=4, **how))
    [greedy] = alone(policy, SamplingRequest(asked, max_tokens=4, temperature=0))

    assert cold.token_ids == greedy.token_ids
    assert cold.logprobs == pytest.approx(greedy.logprobs, abs=1e-4)  # untempered


def test_an_answer_ends_before_a_stop_string(policy: Policy, asked: tuple[int, ...]) -> None:
    [whole] = alone(policy, SamplingRequest(asked, temperature=0, max_tokens=6))
    stop = whole.text[len(whole.text) // 2 :][:3]

    [cut] = alone(policy, SamplingRequest(asked, temperature=0, max_tokens=6, stop=("never", stop)))

    assert cut.finish_reason == "stop"
    assert cut.text == whole.text[: whole.text.find(stop)]
    assert cut.token_ids == whole.token_ids[: len(cut.token_ids)]
    assert len(cut.logprobs) == len(cut.token_ids) < 6


def test_an_answer_ends_at_its_limit(policy: Policy, asked: tuple[int, ...]) -> None:
    short, long = sample(
        policy, [SamplingRequest(asked, max_tokens=2), SamplingRequest(asked, max_tokens=5)], step=0
    )

    assert [len(a.token_ids) for a in (*short, *long)] == [2, 5]
    assert {a.finish_reason for a in (*short, *long)} == {"length"}


def test_an_answer_ends_with_its_end_token(
    policy: Policy, asked: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    [whole] = alone(policy, SamplingRequest(asked, temperature=0, max_tokens=4))
    third = whole.token_ids[2]
    # A model may have other ends beside its tokenizer's.
    monkeypatch.setattr(policy.network.generation_config, "eos_token_id", [2, third])
    monkeypatch.delitem(policy.__dict__, "token_text", raising=False)
    try:
        [ended] = alone(policy, SamplingRequest(asked, temperature=0, max_tokens=4))
    finally:
        del policy.token_text

    first = whole.token_ids.index(third)
    assert ended.finish_reason == "stop"
    assert ended.token_ids == whole.token_ids[: first + 1]  # trained on, so reported
    assert ended.text == policy.tokenizer.decode(whole.token_ids[:first])


def test_a_checkpoint_that_is_not_there_is_not_found(
    policy: Policy, asked: tuple[int, ...]
) -> None:
    with pytest.raises(FileNotFoundError, match="checkpoint 7"):
        sample(policy, [SamplingRequest(asked)], step=7)
