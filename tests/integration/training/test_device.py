"""The device in a trainer's life, and which numbers are of which precision on a card.

What a card does is computed here on the processor, in the same types: `TESTS_TORCH_DEVICE=cuda`
runs this folder on a real one.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from recorded import TORCH_DEVICE, trainer_settings

from babylon_tasks.errors import BackendUnavailable
from babylon_tasks.faults import Fault
from babylon_tasks.training import policy as policies
from babylon_tasks.training.device import Device, choose_device
from babylon_tasks.training.policy import Policy
from babylon_tasks.training.supervisor import Trainer

TOKENS = [1, 4093, 198, 15469, 355, 1072, 216, 36, 29, 10539, 2]


@pytest.fixture(scope="module")
def like_a_card(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Policy:
    """The tiny model in bf16, with the output layer in fp32."""
    policies.undo_art_mask_patch()
    device: Device = replace(choose_device(TORCH_DEVICE), bf16=True, exact_head=True)
    return Policy(str(tiny_model), tmp_path_factory.mktemp("checkpoints"), device)


def row_logprobs(policy: Policy) -> tuple[torch.Tensor, torch.Tensor]:
    length = len(TOKENS)
    return policy.row_logprobs(
        torch.tensor(TOKENS),
        torch.arange(length),
        torch.zeros(length, dtype=torch.long),
        torch.zeros(length, dtype=torch.long),
        torch.tensor([False] * 9 + [True] * 2),
    )


def test_frozen_products_are_bf16_and_what_is_trained_is_fp32(like_a_card: Policy) -> None:
    network = like_a_card.network
    frozen = {
        parameter.dtype
        for name, parameter in network.named_parameters()
        if "proj" in name and "lora" not in name
    }
    assert frozen == {torch.bfloat16}
    assert {one.dtype for one in like_a_card.trained_parameters()} == {torch.float32}
    assert network.get_output_embeddings().weight.dtype == torch.float32

    optimizer = torch.optim.AdamW(like_a_card.trained_parameters())
    with like_a_card.training():
        logprobs, _ = row_logprobs(like_a_card)
        logprobs.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    kept = [state for one in optimizer.state.values() for state in one.values()]
    assert {one.dtype for one in kept} == {torch.float32}


def test_log_probabilities_are_made_of_products_in_fp32(like_a_card: Policy) -> None:
    policy, place = like_a_card, like_a_card.device.place
    rounded = []

    def keep(_: object, __: object, made: torch.Tensor) -> None:
        rounded.append(torch.equal(made, made.bfloat16().float()))

    hook = policy.network.get_output_embeddings().register_forward_hook(keep)
    try:
        with policy.at_step(0):
            row_logprobs(policy)
            policy.network(input_ids=torch.tensor([TOKENS], device=place), logits_to_keep=1)
    finally:
        hook.remove()
    assert rounded == [False, False]  # neither in training nor in sampling


def test_results_are_on_the_processor_with_their_gradients(policy: Policy) -> None:
    with policy.training():
        logprobs, entropy = row_logprobs(policy)
        logprobs.sum().backward()  # type: ignore[no-untyped-call]

    assert logprobs.device.type == entropy.device.type == "cpu"
    assert all(one.grad is not None for one in policy.trained_parameters())
    for one in policy.trained_parameters():
        one.grad = None


def test_a_seed_draws_the_same_adapter_on_any_device(policy: Policy) -> None:
    before = policy.trained_parameters()
    policy.init_adapter(3)
    first = [one.detach().cpu().clone() for one in policy.trained_parameters()]

    torch.manual_seed(3)
    expected = torch.nn.init.kaiming_uniform_(torch.empty_like(first[0]), a=5**0.5)

    assert torch.equal(first[0], expected)
    # The optimizer holds on to these very parameters.
    assert all(a is b for a, b in zip(before, policy.trained_parameters(), strict=True))
    assert {one.device.type for one in before} == {policy.device.place.type}


def test_a_trainer_says_what_it_computes_on(trainer: Trainer) -> None:
    on = trainer.ready().computes_on

    assert on is not None
    assert on.device == str(choose_device(TORCH_DEVICE).place)
    assert f"torch {torch.__version__}" in on.text


def test_a_card_that_is_not_there_is_refused_at_the_start(tiny_model: Path, tmp_path: Path) -> None:
    settings = trainer_settings(tmp_path, base_model=str(tiny_model), torch_device="cuda:99")

    with Trainer(settings) as trainer, pytest.raises(BackendUnavailable) as refusal:
        trainer.ready()

    assert "BABYLON_TORCH_DEVICE=cuda:99" in str(refusal.value)
    assert "or set BABYLON_TORCH_DEVICE=cpu" in str(refusal.value)
    assert refusal.value.fault is Fault.MISCONFIGURED


def test_a_process_ends_once_its_card_is_lost() -> None:
    ended = subprocess.run(
        [
            sys.executable,
            "-c",
            "import torch; from babylon_tasks.training.lost_device import end_if_lost\n"
            "end_if_lost(torch.OutOfMemoryError('CUDA out of memory'))\n"
            "print('goes on', flush=True)\n"
            "end_if_lost(torch.AcceleratorError('CUDA error: unspecified launch failure'))\n"
            "print('never')",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert (ended.returncode, ended.stdout) == (4, "goes on\n")
    assert "the card is lost to this trainer, which ends: CUDA error" in ended.stderr
