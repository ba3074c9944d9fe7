"""A step at W&B is screened through W&B's inference: a collapse is held, an equal one serves.

A real trainer process with ART's own client; the peer's checkpoints answer as the test says.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from compared_hours import begun, compared_hour
from factories import WINDOW, exact_call
from recorded import OF_WANDB, settings_at_wandb
from scored_windows import column, hour, scored_window
from scoring_runs import MakeSettings
from screened import HOURS, Policy, constant, knows, questions, rephrased
from wandb_answers import completion
from wandb_peer import WandbPeer

from babylon_tasks.db import branches, promotions
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.compare import compare
from babylon_tasks.pipeline.results import GateResult
from babylon_tasks.pipeline.serve import serve
from babylon_tasks.pipeline.train_and_evaluate import train_and_evaluate
from babylon_tasks.settings import Settings
from babylon_tasks.training.supervisor import Trainer

pytestmark = pytest.mark.contract("today")
KEY = "word-of-wandb"
CALLS = [exact_call(model="babylon@0", policy_step=None, promptTokenIds=[1, 2, 3])]


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
    folder = tmp_path_factory.mktemp("serverless")
    settings = settings_at_wandb(folder, peer.url, KEY, lineage="babylon")
    with Trainer(settings) as made:
        yield made


def trained_and_decided(settings: Settings, trainer: Trainer, step: int, window: str) -> GateResult:
    outcome, decided = train_and_evaluate(
        settings,
        trainer,
        window=window,
        actor="test",
        on_training=lambda _: None,
        on_evaluation=lambda _: None,
    )
    assert outcome.step == step
    assert decided is not None
    return decided


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
    scored_window(connection, calls=CALLS)

    decided = trained_and_decided(settings, trainer, 1, WINDOW)

    assert (decided.action, decided.serving) == (action, serves)
    assert decided.figures["mode"] == "screened"
    assert "on 40 held-out questions" in decided.reason


def test_harm_is_rolled_back_a_collapse_does_not_serve_and_learning_goes_on(
    connection: Connection, make_settings: MakeSettings, peer: AnsweringPeer, trainer: Trainer
) -> None:
    """Step 1 does harm that no screen sees; the next one has collapsed.

    What was really trained on flipped outcomes is screened out in ``test_flipped_outcomes.py``.
    """
    settings = make_settings(
        WANDB_API_KEY=KEY, screen_questions=40, min_screen_questions=30, **OF_WANDB
    )
    peer.forget()
    peer.steps.clear()
    peer.policies = {0: knows, 1: rephrased}
    serve(settings, trainer)
    questions(connection, *HOURS[:2])
    scored_window(connection, hour(1), calls=CALLS)
    assert trained_and_decided(settings, trainer, 1, hour(1)).serving == 1
    begun(connection, first=5)
    for number in range(5, 9):
        compared_hour(connection, number, serving=0.2, control=0.6, state="trained")

    compare(connection, settings)

    last = promotions.latest(connection, "babylon")
    assert last is not None
    assert (last.decision, last.from_step, last.to_step) == ("rollback", 1, 0)
    assert last.figures["windows"][0] == hour(5)
    peer.calls.clear()
    peer.policies[1] = constant  # W&B's number of the next one: this was deleted
    scored_window(connection, hour(9), calls=CALLS)
    refused = trained_and_decided(settings, trainer, 2, hour(9))
    assert (refused.action, refused.serving) == ("held", 0)
    peer.policies[1] = rephrased
    scored_window(connection, hour(10), calls=CALLS)
    assert trained_and_decided(settings, trainer, 3, hour(10)).serving == 3

    assert branches.dead(connection, "babylon") == {1, 2}
    parents = "SELECT parent_step FROM training.steps ORDER BY id"
    assert column(connection, parents) == [0, 0, 0]
    changes = [one for one in peer.calls if "DELETE" in one or ("POST" in one and "jobs" in one)]
    assert [one.split()[0] for one in changes] == ["DELETE", "POST"] * 2
