"""A step at W&B is screened through W&B's inference: a collapse is held, an equal one serves.

A real trainer process with ART's own client; the peer's checkpoints answer as the test says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from factories import WINDOW, exact_call
from recorded import trainer_settings
from scored_windows import scored_window
from scoring_runs import MakeSettings
from screened import HOURS, Policy, constant, knows, questions, rephrased
from wandb_answers import completion
from wandb_peer import WandbPeer

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.serve import serve
from babylon_tasks.pipeline.train_and_evaluate import train_and_evaluate
from babylon_tasks.training.supervisor import Trainer

pytestmark = pytest.mark.contract("today")
KEY = "word-of-wandb"
OF_WANDB = {"backend": "serverless", "base_model": "OpenPipe/Qwen3-14B-Instruct"}


@dataclass
class AnsweringPeer(WandbPeer):
    """``policies``: what checkpoints answer, by step."""

    policies: dict[int, Policy] = field(default_factory=dict)

    def answer(self, body: dict[str, Any], step: int) -> dict[str, Any]:
        if body.get("top_logprobs"):  # whether the weights have moved
            return super().answer(body, step)
        return completion(body, {self.policies[step](body["messages"][-1]["content"]): -0.1})


@pytest.fixture(scope="module")
def peer() -> Iterator[AnsweringPeer]:
    with AnsweringPeer(KEY) as service:
        yield service


@pytest.fixture(scope="module")
def trainer(peer: AnsweringPeer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    settings = trainer_settings(
        tmp_path_factory.mktemp("serverless"),
        lineage="babylon",
        WANDB_API_KEY=KEY,
        wandb_base_url=peer.url,
        **OF_WANDB,
    )
    with Trainer(settings) as made:
        yield made


@pytest.mark.parametrize(
    ("candidate", "action", "serves"), [(rephrased, "promoted", 1), (constant, "held", 0)]
)
def test_by_default_a_collapse_is_held_and_what_is_equal_serves(
    connection: Connection,
    make_settings: MakeSettings,
    peer: AnsweringPeer,
    trainer: Trainer,
    candidate: Policy,
    action: str,
    serves: int,
) -> None:
    settings = make_settings(
        WANDB_API_KEY=KEY, screen_questions=40, min_screen_questions=30, **OF_WANDB
    )
    peer.steps.clear()
    peer.jobs.clear()
    peer.policies = {0: knows, 1: candidate}
    serve(settings, trainer)
    questions(connection, *HOURS[:2])
    scored_window(
        connection,
        calls=[exact_call(model="babylon@0", policy_step=None, promptTokenIds=[1, 2, 3])],
    )

    outcome, decided = train_and_evaluate(
        settings,
        trainer,
        window=WINDOW,
        actor="test",
        on_training=lambda _: None,
        on_evaluation=lambda _: None,
    )

    assert outcome.step == 1
    assert decided is not None
    assert (decided.action, decided.serving) == (action, serves)
    assert decided.figures["mode"] == "screened"
    assert "on 40 held-out questions" in decided.reason
