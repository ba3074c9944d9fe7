"""Checkpoints that are really trained to be worse are screened out at W&B, and learning goes on.

Agents ask what serves. All markets rise, but in some hours Babylon's outcomes are turned round, so
that the scorer pays for No; the peer, which trains a tiny model, learns that. Another hour is
trained on at a rate that leaves nothing of the policy.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from models import save_tiny_model
from other_art import other_art
from recorded import OF_WANDB, settings_at_wandb
from scored_windows import column, hour
from scoring_runs import MakeSettings, run, seal
from screened import HOURS, questions
from wandb_trainer import TrainingPeer

from babylon_tasks.db import branches, outcomes
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.results import GateResult
from babylon_tasks.pipeline.serve import serve
from babylon_tasks.pipeline.train_and_evaluate import train_and_evaluate
from babylon_tasks.recorder import Recorder
from babylon_tasks.registry.serving import serving
from babylon_tasks.sandbox import agents
from babylon_tasks.sandbox.agents import Account
from babylon_tasks.sandbox.markets import Market
from babylon_tasks.settings import Settings
from babylon_tasks.training.supervisor import Trainer

pytestmark = pytest.mark.contract("today")

KEY = "word-of-wandb"
AGENTS = 8  # too few agents for the tripwire that knows how bets ended
RATE = 5e-2  # the default of 1e-5 would take hundreds of steps of this model
RUINOUS = 4.0


@pytest.fixture
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrainingPeer]:
    folder = tmp_path_factory.mktemp("wandb")
    model = str(save_tiny_model(folder / "model", says="YesNo", torn=("Yes", "No")))
    with TrainingPeer(KEY, model=model, folder=folder) as service:
        yield service


@pytest.fixture
def trainer(peer: TrainingPeer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainer]:
    folder = tmp_path_factory.mktemp("serverless")
    settings = settings_at_wandb(folder, peer.url, KEY, lineage="babylon")
    with Trainer(settings) as made:
        with other_art():
            made.ready()
        yield made


@dataclass
class Learner:
    """The loop, hour by hour."""

    connection: Connection
    make_settings: MakeSettings
    trainer: Trainer

    def settings(self, rate: float = RATE) -> Settings:
        return self.make_settings(
            WANDB_API_KEY=KEY,
            screen_questions=60,
            min_screen_questions=60,
            outcome_wait_hours=0,
            learning_rate=rate,
            final_learning_rate=rate,
            **OF_WANDB,
        )

    def learn(
        self, window: str, markets: int, *, flipped: bool = False, rate: float = RATE
    ) -> GateResult:
        """Let what serves answer an hour's agents, record it, score it, and train on it."""
        settings = self.settings(rate)
        about = [
            Market(
                f"{window}-{n}",
                "ACME",
                f"Market {n} of {window}: will it rise? Answer Yes or No.",
                0.5,
                rises=not flipped,
            )
            for n in range(markets)
        ]
        for one in about:
            outcomes.settle(self.connection, window, one.id, question=one.question, yes=one.rises)
        with Recorder(settings) as recorder:
            answers = asyncio.run(self._answers(settings, about))
            agents.record(recorder, window, answers, keep_prompt_ids=True)
        seal(self.connection, window)
        assert run(settings, window).state == "scored"
        outcome, decided = train_and_evaluate(
            settings,
            self.trainer,
            window=window,
            actor="test",
            on_training=lambda _: None,
            on_evaluation=lambda _: None,
        )
        assert outcome.action == "committed", outcome
        assert decided is not None
        return decided

    async def _answers(self, settings: Settings, markets: list[Market]) -> list[agents.AgentAnswer]:
        asked = serving(self.connection, "babylon")
        async with asked.openai_client(settings) as client:
            accounts = [Account(f"agent-{n}") for n in range(AGENTS)]
            models = [asked.inference_name] * AGENTS
            return await agents.decide(client, models, markets, accounts)


def test_what_was_taught_the_wrong_way_or_to_death_is_screened_out_and_learning_goes_on(
    connection: Connection, make_settings: MakeSettings, peer: TrainingPeer, trainer: Trainer
) -> None:
    learner = Learner(connection, make_settings, trainer)
    serve(learner.settings(), trainer)
    questions(connection, *HOURS[:2], maxTokens=1)
    for window in HOURS[:2]:
        for n in range(40):
            outcomes.settle(connection, window, f"m-{window}-{n}", question="?", yes=True)

    flipped = learner.learn(hour(1), 10, flipped=True)
    ruined = learner.learn(hour(2), 6, rate=RUINOUS)
    good = learner.learn(hour(3), 12)

    assert [(one.action, one.serving) for one in (flipped, ruined, good)] == [
        ("held", 0),
        ("held", 0),
        ("promoted", 3),
    ]
    # Each is worse by its answers, which are on record with their windows and what was taught.
    right = flipped.figures["right"]
    assert right["candidate"] < 0.2 < 0.4 < right["other"]
    assert "right ones of 60" in flipped.reason
    assert ruined.figures["valid"]["candidate"] < 0.1
    assert "valid answers" in ruined.reason
    assert good.figures["right"]["candidate"] > 0.8 > good.figures["right"]["other"]
    shown = "SELECT DISTINCT window_id FROM training.screen_samples WHERE screen_id = %s ORDER BY 1"
    for one in (flipped, ruined):
        assert column(connection, shown, one.figures["screen"]) == list(HOURS[:2])
    taught = column(connection, "SELECT windows FROM training.steps ORDER BY id")
    # What a refused step has used is used again beside what is new.
    assert taught == [[hour(n) for n in range(1, last + 1)] for last in (1, 2, 3)]
    assert column(connection, "SELECT parent_step FROM training.steps ORDER BY id") == [0, 0, 0]
    assert branches.dead(connection, "babylon") == {1, 2}
    asked = [
        one["experimental_config"]["learning_rate"] for call, one in peer.bodies if "jobs" in call
    ]
    # A refusal halves the rate, and it is less where a group's rewards are alike.
    most = [RATE, RUINOUS / 2, RATE / 4]
    assert all(0 < rate <= limit for rate, limit in zip(asked, most, strict=True)), asked
    assert len(peer.jobs) == 3, "each is paid for once"
