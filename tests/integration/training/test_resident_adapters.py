"""Of many checkpoints a few are in memory; each is answered with its own weights."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from babylon_tasks.training.policy import Policy

PROMPT = [1, 4093, 198, 15469, 355]
SaveStep = Callable[[int], Path]


@pytest.fixture
def save_step(policy: Policy) -> Iterator[SaveStep]:
    """``save_step(3)``: a checkpoint whose weights are like no other's."""
    saved: list[int] = []

    def save(step: int) -> Path:
        draw = torch.Generator().manual_seed(step)
        for parameter in policy.trained_parameters():
            drawn = torch.randn(parameter.shape, generator=draw) / 10
            parameter.data.copy_(drawn.to(policy.device.place))
        policy.save_trained(policy.adapter_dir(step))
        saved.append(step)
        return policy.adapter_dir(step)

    yield save
    for step in saved:
        policy.forget(step)
        shutil.rmtree(policy.adapter_dir(step), ignore_errors=True)


def says(policy: Policy, step: int) -> torch.Tensor:
    with policy.at_step(step):
        row = torch.tensor([PROMPT], device=policy.device.place)
        logits: torch.Tensor = policy.network(input_ids=row).logits[0, -1]
    return logits.float().cpu()


def alone(policy: Policy, step: int) -> torch.Tensor:
    """What a step says where its adapter was made for it."""
    policy.forget(step)
    for other in range(20, 30):
        policy.forget(other)
    return says(policy, step)


def adapters(policy: Policy) -> set[str]:
    return set(policy.network.peft_config)


def test_each_of_many_checkpoints_is_answered_with_its_own_weights(
    policy: Policy, save_step: SaveStep
) -> None:
    steps = range(20, 27)
    for step in steps:
        save_step(step)
    expected = {step: alone(policy, step) for step in steps}
    assert len({float(logits[0]) for logits in expected.values()}) == len(expected)
    held = len(adapters(policy))

    for step in [*steps, *reversed(steps), 22, 25, 22]:
        assert torch.equal(says(policy, step), expected[step]), step
    assert len(adapters(policy)) == held + 3  # four, and no more, however many are asked


def test_a_checkpoint_of_another_scale_is_not_read_into_the_modules_of_one(
    policy: Policy, save_step: SaveStep
) -> None:
    other = save_step(26)
    config = json.loads((other / "adapter_config.json").read_text())
    (other / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": 64}))
    expected = alone(policy, 26)
    for step in range(20, 25):
        save_step(step)
        says(policy, step)

    assert torch.equal(says(policy, 26), expected)


def test_a_file_that_cannot_be_read_costs_no_other_checkpoint_its_place(
    policy: Policy, save_step: SaveStep
) -> None:
    for step in range(20, 24):
        save_step(step)
    before = {step: says(policy, step) for step in range(20, 24)}
    held = adapters(policy)
    (save_step(24) / "adapter_model.safetensors").write_bytes(b"not weights")

    with pytest.raises(Exception, match="header"):
        says(policy, 24)
    assert adapters(policy) == held
    for step in range(20, 24):
        shutil.rmtree(policy.adapter_dir(step))  # from memory, then
        assert torch.equal(says(policy, step), before[step])
