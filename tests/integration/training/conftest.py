"""A tiny model, a policy on it in this process, and one trainer process for the whole run.

Tests that use ``trainer`` leave it as they found it: they discard what they trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from endpoint import KEY, Endpoint
from models import save_tiny_model
from recorded import SECRETS, TORCH_DEVICE, groups_file, train_request, trainer_settings

from babylon_tasks.records import Group
from babylon_tasks.settings import Settings
from babylon_tasks.step_records import StepResult
from babylon_tasks.training import policy as policies
from babylon_tasks.training.device import choose_device
from babylon_tasks.training.inference.limits import Limits
from babylon_tasks.training.policy import Policy
from babylon_tasks.training.protocol import EvaluateRequest
from babylon_tasks.training.supervisor import Trainer


@pytest.fixture(scope="session", autouse=True)
def _no_price_map() -> Iterator[None]:
    """`import art` must not ask the network for the prices of models."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        yield


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two random layers with the real tokenizer; a training step takes a tenth of a second."""
    return save_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def _policy(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Policy:
    import torch

    policies.undo_art_mask_patch()
    exact = replace(choose_device(TORCH_DEVICE), bf16=False, exact_head=False)
    made = Policy(str(tiny_model), tmp_path_factory.mktemp("checkpoints"), exact)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in made.network.named_parameters():
            if "lora" not in name and parameter.dim() == 2:
                parameter.normal_(std=0.3)
    return made


@pytest.fixture
def policy(_policy: Policy) -> Policy:
    """The tiny model in exact fp32, its weights drawn so wide that every word matters."""
    return _policy


@pytest.fixture
def serve(policy: Policy) -> Iterator[Callable[..., Endpoint]]:
    """``serve(requests=2)``: an endpoint in this process, with these limits."""
    with ExitStack() as stack:

        def served(
            host: str = "127.0.0.1", lineage: str = "tests", key: str = KEY, **limits: Any
        ) -> Endpoint:
            made = Endpoint.served(policy, host, Limits(**limits), lineage, key)
            return stack.enter_context(made)

        yield served


@pytest.fixture(scope="session")
def worker_settings(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The settings of the shared trainer; every secret in them is recognisable."""
    return trainer_settings(
        tmp_path_factory.mktemp("trainer"),
        base_model=str(tiny_model),
        DATABASE_URL=SECRETS["DATABASE_URL"],
        REDIS_URL=SECRETS["REDIS_URL"],
        WANDB_API_KEY=SECRETS["WANDB_API_KEY"],
        inference_api_key=SECRETS["BABYLON_INFERENCE_API_KEY"],
    )


@pytest.fixture(scope="session")
def trainer(worker_settings: Settings) -> Iterator[Trainer]:
    """A trainer process, started from an environment that is full of secrets."""
    with Trainer(worker_settings) as started:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in SECRETS.items():
                patch.setenv(name, value)
            started.ready()
        yield started


@pytest.fixture
def train(trainer: Trainer, tmp_path: Path) -> Iterator[Callable[..., StepResult]]:
    """``train(groups, learning_rate=...)``: one step of the shared trainer, from the base model.

    What it leaves is discarded at the end of the test.
    """
    before = trainer.backend_step().step

    def step(groups: Sequence[Group], **fields: Any) -> StepResult:
        base = trainer.backend_step().step
        fields = {"base_step": base, "parent_step": 0, **fields}
        return trainer.train(train_request(tmp_path, groups, **fields))

    yield step
    while (newest := trainer.backend_step().step) > before:
        trainer.discard(newest)


@pytest.fixture
def value(trainer: Trainer, tmp_path: Path) -> Callable[..., float]:
    """``value(step, group)``: the policy's value there; here rewards begin at 0."""

    def ask(step: int, group: Group) -> float:
        request = EvaluateRequest(steps=(step,), groups_path=groups_file(tmp_path, [group]))
        [found] = trainer.evaluate(request).steps
        assert math.isfinite(found.values[0])
        return found.values[0]

    return ask
