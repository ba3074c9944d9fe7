"""The log-probabilities that training and evaluation rest on."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import torch

from babylon_tasks.training import model_head
from babylon_tasks.training.policy import Policy
from babylon_tasks.training.sampling import SamplingRequest, sample
from babylon_tasks.training.token_tree import token_tree

PROMPT = [1, 4093, 198, 15469, 355, 1072, 216, 36, 29]
BRANCHES = [[10539, 2], [5230, 198, 2], [10539, 198, 7, 2]]


def plain(policy: Policy, prompt: list[int], answer: list[int]) -> list[float]:
    """What the network says of an answer when it is asked about nothing else."""
    with policy.at_step(0):
        row = torch.tensor([prompt + answer], device=policy.device.place)
        logits = policy.network(input_ids=row).logits[0].float().cpu()
    log_softmax = torch.log_softmax(logits, dim=-1)
    return [float(log_softmax[len(prompt) - 1 + n, token]) for n, token in enumerate(answer)]


def row_of(branches: list[list[int]]) -> tuple[torch.Tensor, ...]:
    """All answers behind one prompt, as ART packs them."""
    length = len(PROMPT)
    return (
        torch.tensor(PROMPT + [token for branch in branches for token in branch]),
        torch.tensor([*range(length), *(length + n for b in branches for n in range(len(b)))]),
        torch.tensor([0] * length + [n for n, b in enumerate(branches, 1) for _ in b]),
        torch.zeros(length + sum(map(len, branches)), dtype=torch.long),
        torch.tensor([False] * length + [True for b in branches for _ in b]),
    )


def packed(policy: Policy, branches: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    """What the network says of all answers at once."""
    with policy.at_step(0):
        return policy.row_logprobs(*row_of(branches))


def test_a_shared_prompt_gives_the_log_probabilities_of_separate_passes(policy: Policy) -> None:
    found, _ = packed(policy, BRANCHES)

    apart = [value for branch in BRANCHES for value in plain(policy, PROMPT, branch)]
    assert torch.allclose(found, torch.tensor(apart), atol=1e-4)
    other = plain(policy, [*PROMPT[:-1], 30], BRANCHES[0])  # the comparison can fail
    assert abs(other[0] - apart[0]) > 0.1


def test_an_answer_does_not_see_its_siblings(policy: Policy) -> None:
    first, _ = packed(policy, [BRANCHES[0], BRANCHES[1]])
    second, _ = packed(policy, [BRANCHES[2], BRANCHES[1]])

    assert torch.allclose(first[2:], second[4:], atol=1e-4)


def test_entropy_is_that_of_the_distribution_the_token_was_drawn_from(policy: Policy) -> None:
    _, entropy = packed(policy, [BRANCHES[0]])

    with policy.at_step(0):
        row = torch.tensor([PROMPT], device=policy.device.place)
        logits = policy.network(input_ids=row).logits[0, -1].float().cpu()
    expected = torch.distributions.Categorical(logits=logits).entropy()
    assert torch.allclose(entropy[0], expected, atol=1e-3)


def test_only_the_adapter_is_trained(policy: Policy) -> None:
    with policy.training():
        trained = [name for name, p in policy.network.named_parameters() if p.requires_grad]

    assert len(trained) == len(policy.trained_parameters()) > 0
    assert all("lora" in name for name in trained)


def test_a_step_from_the_base_model_does_not_repeat_the_luck_of_answers_without_a_seed(
    policy: Policy,
) -> None:
    ask = SamplingRequest(tuple(PROMPT), n=8, max_tokens=2)
    drawn, begun = [], []
    for _ in range(2):
        policy.init_adapter(seed=0)
        begun.append([parameter.detach().clone() for parameter in policy.trained_parameters()])
        [answers] = sample(policy, [ask], step=0)
        drawn.append([answer.token_ids for answer in answers])

    assert drawn[0] != drawn[1]
    assert all(map(torch.equal, *begun))  # its weights do follow from the seed


def test_the_base_model_answers_after_the_checkpoint_that_answered_last_is_forgotten(
    policy: Policy,
) -> None:
    before = plain(policy, [1, 2, 3], [4, 5])
    policy.init_adapter(seed=1)
    policy.save_trained(policy.adapter_dir(1))
    with policy.at_step(1):
        pass

    policy.forget(1)
    shutil.rmtree(policy.adapter_dir(1))  # the policy is shared: others would find a checkpoint

    assert plain(policy, [1, 2, 3], [4, 5]) == before


def gradients(policy: Policy, logprobs: torch.Tensor) -> list[torch.Tensor]:
    """Those of a sum in which each token counts otherwise."""
    weights = torch.linspace(-1, 2, len(logprobs), device=logprobs.device)
    found = torch.autograd.grad((logprobs * weights).sum(), policy.trained_parameters())
    return [one.cpu() for one in found]


@pytest.mark.parametrize("at_once", [1, 2, 64])
def test_a_head_over_few_rows_at_a_time_gives_the_gradients_of_one_over_all(
    policy: Policy, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr(model_head, "SOURCES_AT_ONCE", at_once)
    policy.init_adapter(seed=1)
    row = row_of(BRANCHES)
    tokens, _, _, _, wanted = row
    with policy.training():
        logprobs, _ = policy.row_logprobs(*row)
        found = gradients(policy, logprobs)
        tree = token_tree(zip(*(column.tolist() for column in row[:4]), strict=True))
        nodes = [tree.node_of[place] for place in wanted.nonzero().squeeze(-1).tolist()]
        sources = torch.tensor([tree.follows[node] for node in nodes])
        states = policy.hidden(*row[:2], tree)[sources.to(policy.device.place)]
        logits = policy.network.get_output_embeddings()(states).float()
        picked = torch.log_softmax(logits, -1).cpu()[torch.arange(len(sources)), tokens[wanted]]
        expected = gradients(policy, picked)

    assert torch.allclose(logprobs, picked, atol=1e-4)
    assert any(float(one.abs().max()) > 1e-3 for one in expected)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-4, rtol=1e-3)


def test_the_head_runs_once_for_all_answers_to_a_prompt(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    head = policy.network.get_output_embeddings()
    inner = head.forward

    def counted(states: torch.Tensor) -> Any:
        computed.append(len(states))
        return inner(states)

    monkeypatch.setattr(head, "forward", counted)

    packed(policy, [[100 + number] for number in range(40)])
    assert computed == [1]

    computed.clear()
    packed(policy, [[100 + number for number in range(150)]])
    assert computed == [64, 64, 22]  # so many rows of logits are there at once


def test_answers_that_begin_alike_train_as_each_would_alone(policy: Policy) -> None:
    policy.init_adapter(seed=1)
    with policy.training():
        together, _ = policy.row_logprobs(*row_of(BRANCHES))
        apart = torch.cat([policy.row_logprobs(*row_of([branch]))[0] for branch in BRANCHES])
        found, expected = gradients(policy, together), gradients(policy, apart)

    assert torch.allclose(together, apart, atol=1e-4)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-4, rtol=1e-3)


def test_a_row_of_equal_answers_costs_what_one_does(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    body = policy.network.get_base_model().model
    inner = body.forward

    def counted(**given: Any) -> Any:
        computed.append(given["input_ids"].shape[1])
        return inner(**given)

    monkeypatch.setattr(body, "forward", counted)

    found, _ = packed(policy, [BRANCHES[2]] * 30)

    assert computed == [len(PROMPT) + len(BRANCHES[2]) - 1]  # nothing follows the last one
    assert found.view(30, -1).unique(dim=0).shape[0] == 1


def test_a_wanted_token_without_a_prompt_is_refused(policy: Policy) -> None:
    row = tuple(torch.tensor(one) for one in ([5], [0], [1], [0], [True]))

    with policy.at_step(0), pytest.raises(ValueError, match="follows nothing"):
        policy.row_logprobs(*row)


@pytest.mark.parametrize("states", [1, 3, 64, 65])
def test_the_head_says_the_same_of_few_states_as_of_many(policy: Policy, states: int) -> None:
    head = policy.network.get_output_embeddings()
    hidden = torch.randn(2, states, head.in_features, device=policy.device.place)

    with policy.at_step(0):
        found = head(hidden).float().cpu()

    expected = hidden.double().cpu() @ head.weight.double().cpu().t()
    assert found.shape == expected.shape
    loose = 0.1 if policy.device.bf16 else 1e-4
    assert torch.allclose(found.double(), expected, atol=loose)
