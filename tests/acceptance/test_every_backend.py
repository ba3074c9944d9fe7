"""The whole loop, the same on each backend: ask, record, score, train, verify, promote, roll back,
and a supervised step on what another model answered.

Agents ask whatever serves, and the recorder writes what they were answered. With `cpu` a step is
the trainer's own, with `serverless` a job of W&B's peer, which trains, too; in the place of W&B's
library, which uploads the answers of a supervised job, is a folder (tests/without_wandb). `make
art` runs the processes of `serverless` with another release of ART.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

import pytest
from acceptance.harness import Babylon, hours, until
from acceptance.other_models import of_another_model
from by_hand import promote_head
from documents import ROOT
from models import save_tiny_model
from other_art import PYTHON, other_art
from screened import questions
from training_steps import warm
from wandb_trainer import TrainingPeer

from babylon_tasks.db import promotions
from babylon_tasks.db.invariants import violations
from babylon_tasks.errors import CheckpointNotFound
from babylon_tasks.recorder import Recorder
from babylon_tasks.registry.serving import Serving, serving
from babylon_tasks.sandbox import agents
from babylon_tasks.sandbox.agents import Account
from babylon_tasks.sandbox.markets import window_markets

pytestmark = pytest.mark.contract("today")

KEY = "word-of-wandb"
AGENTS, MARKETS = 8, 3
HELD_OUT = ("2025-12-30T08:00", "2025-12-30T09:00")  # before hours()
MakeBabylon = Callable[..., Babylon]


@pytest.fixture(params=[pytest.param("cpu", marks=pytest.mark.long), "serverless"])
def backend(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture
def model(tmp_path: Path) -> str:
    """One that answers mostly Yes or No, by chance."""
    return str(save_tiny_model(tmp_path / "model", says="YesNo"))


@pytest.fixture
def peer(backend: str, model: str, tmp_path: Path) -> Iterator[TrainingPeer | None]:
    """W&B, where it trains."""
    if backend != "serverless":
        yield None
        return
    with TrainingPeer(KEY, model=model, folder=tmp_path / "wandb") as started:
        yield started


@pytest.fixture
def babylon(
    backend: str, model: str, peer: TrainingPeer | None, make_babylon: MakeBabylon
) -> Babylon:
    """Its three processes run."""
    at_wandb = {}
    if peer is not None:
        at_wandb = {
            "WANDB_API_KEY": KEY,
            "BABYLON_WANDB_BASE_URL": peer.url,
            "WANDB_MODE": "disabled",  # no curves at W&B's own address
            "STAND_IN_OF_WANDB": str(peer.uploads),
            "PYTHONPATH": os.pathsep.join(
                filter(None, (str(ROOT / "tests/without_wandb"), os.environ.get("PYTHONPATH")))
            ),
        }
    made = make_babylon(
        BABYLON_BACKEND=backend,
        BABYLON_BASE_MODEL=model,
        BABYLON_GRACE_SECONDS="1",  # the recorder writes while beat looks for hours
        BABYLON_LEARNING_RATE="1e-3",
        BABYLON_FINAL_LEARNING_RATE="1e-3",
        BABYLON_SUPERVISED_LEARNING_RATE="1e-2",
        BABYLON_PROMOTION_MODE="screened",
        BABYLON_SCREEN_QUESTIONS="20",
        BABYLON_MIN_SCREEN_QUESTIONS="20",
        **at_wandb,
    )
    questions(made.connection, *HELD_OUT, agents=10, model=f"{made.lineage}@0", maxTokens=1)
    start(made, "gpu-worker", "cpu-worker", "beat")
    return made


def start(babylon: Babylon, *names: str) -> None:
    """Start processes, of backend ``serverless`` with the ART that is to be tried."""
    with other_art() if babylon.stack.settings.backend == "serverless" else nullcontext():
        babylon.start(*names)


def what_serves(babylon: Babylon) -> Serving | None:
    """None until agents can be answered."""
    with suppress(CheckpointNotFound):
        found = serving(babylon.connection, babylon.lineage)
        return found if found.base_url is not None else None
    return None


def play(babylon: Babylon, window: str, number: int) -> int:
    """Agents ask what serves about the hour's markets and record it; which step answered."""
    settings = babylon.stack.settings
    asked = until("a checkpoint serves", lambda: what_serves(babylon))
    accounts = [Account(f"agent-{n}") for n in range(AGENTS)]

    async def answers() -> list[agents.AgentAnswer]:
        async with asked.openai_client(settings) as client:
            markets = window_markets(1, number, MARKETS)
            models = [asked.inference_name] * AGENTS
            return await agents.decide(client, models, markets, accounts)

    decisions = asyncio.run(answers())
    assert {one.completion.model for one in decisions} == {asked.inference_name}
    with Recorder(settings) as recorder:
        # ART 0.5.23 skips answers without them.
        agents.record(recorder, window, decisions, keep_prompt_ids=True)
    return asked.step


def roll_back(babylon: Babylon) -> None:
    """As an operator does."""
    subprocess.run(
        [sys.executable, "-m", "babylon_tasks", "models", "rollback", "--reason", "it grew worse"],
        env={**os.environ, **babylon.stack.variables},
        check=True,
        timeout=60,
    )


def test_agents_are_answered_taught_and_answered_by_what_they_taught_and_it_is_rolled_back(
    backend: str, babylon: Babylon, peer: TrainingPeer | None
) -> None:
    first, second, third, fourth = hours(4)
    for number, window in enumerate((first, second)):
        assert play(babylon, window, number) == number
        babylon.await_states([window], "trained")
        until("it serves", lambda wanted=number + 1: _served(babylon) == wanted)

    roll_back(babylon)
    # What served before answers, or what the branch's rows have taught its sibling meanwhile.
    assert play(babylon, third, 2) in (1, 3)
    babylon.await_states([third], "trained")
    until("the rows of the dead branch are used again", lambda: len(babylon.steps()) == 4)
    until("it serves", lambda: _served(babylon) == 4)
    of_another_model(babylon, fourth)
    babylon.await_states([fourth], "skipped")  # of no use to GRPO
    until("the worker is done", lambda: warm(babylon.stack.settings).step)
    babylon.await_states([fourth], "trained")
    until("it is decided about", lambda: _decided(babylon) == 5)
    promote_head(babylon.connection, babylon.lineage)  # whatever the screen says of one so taught

    steps = babylon.steps()
    assert [one["method"] for one in steps] == [*["grpo"] * 4, "supervised"]
    assert all((one["state"], one["tries"]) == ("committed", 1) for one in steps)
    assert sorted(one["windows"] for one in steps) == sorted(
        [window] for window in (first, second, second, third, fourth)
    )
    assert [one["parent_step"] for one in steps] == [0, 1, 1, 3, 4]
    assert all(one["gradient_steps"] > 0 and one["trainable_tokens"] > 0 for one in steps)
    weights = [one["adapter_hash"] for one in steps]
    assert len(set(weights)) == (5 if peer is None else 4)  # the id of a discarded one comes again
    assert violations(babylon.connection, babylon.stack.settings, at_rest=True) == []
    if peer is None:
        return
    trainer = babylon.trainer()
    assert trainer is not None
    assert trainer.cmdline()[0] == PYTHON, "it has the ART that is tried"
    assert peer.steps == [1, 2, 3, 4], "a checkpoint for each step but the discarded one"
    assert len(peer.jobs) == 5, "each was paid for once"
    for one in steps:
        assert one["metrics"]["policy/moved"] > 1e-3
        assert one["metrics"]["policy/noise"] == 0.0


@pytest.mark.long
@pytest.mark.parametrize("backend", ["serverless"], indirect=True)
def test_a_job_that_ends_while_its_worker_is_dead_is_taken_over_and_not_paid_for_twice(
    babylon: Babylon, peer: TrainingPeer
) -> None:
    (window,) = hours(1)
    peer.may_train.clear()
    play(babylon, window, 0)
    until("the job's reference is stored", lambda: _jobs(babylon) == ["job-1"])

    babylon.kill("gpu-worker")
    peer.may_train.set()
    until("the job has ended", lambda: peer.steps == [1])
    start(babylon, "gpu-worker")
    babylon.await_states([window], "trained")

    assert [one["state"] for one in babylon.steps()] == ["committed"]
    assert list(peer.jobs) == ["job-1"]
    until("it serves", lambda: _served(babylon) == 1)


def _jobs(babylon: Babylon) -> list[str]:
    return [one["job_reference"] for one in babylon.steps()]


def _decided(babylon: Babylon) -> int | None:
    last = promotions.latest(babylon.connection, babylon.lineage)
    return None if last is None else last.to_step


def _served(babylon: Babylon) -> int | None:
    found = what_serves(babylon)
    return None if found is None else found.step
