"""Whatever comes in whatever order, every row is accounted for, once, and every window ends.

Sequences are drawn at random by a seed: rows, outcomes and Babylon's changes to both between the
beats, scorers, trainers that die, evaluations and retries.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import pytest
from factories import (
    action,
    exact_call,
    insert_outcomes,
    insert_trajectories,
    llm_call,
    market_outcome,
    step,
    stock_outcome,
    trajectory,
)
from peer import PeerTrainer
from scored_windows import column, hour

from babylon_tasks.db import window_transitions
from babylon_tasks.db.invariants import violations
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import TrainingError
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.evaluate import evaluate
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings

MOVES = 60
ROUNDS = 40  # in which all must have come to its end
HOURS = 4  # as many as one beat looks at for late rows
MARKETS = ("m-1", "m-2", "m-3")
FINAL = {"trained", "held_out", "skipped", "failed"}
FALLS = (None, None, None, None, "before_writing", "after_writing", "idle", "refuses", "inspecting")
# Before a century of look-back, far ahead, and no hour.
UNOPENED = ("1850-01-01T00:00", "2999-01-01T00:00", "2026-01-31T9:00")
MODELS = ("babylon@0", "babylon@0", "babylon@0", "babylon@0", "babylon@1", "another/model")


class World:
    """A Babylon, and all that runs beside it, moved on one thing at a time."""

    def __init__(self, connection: Connection, settings: Settings, seed: int) -> None:
        self.connection = connection
        self.settings = settings
        self.rng = random.Random(seed)
        self.log: list[str] = []
        self.scores: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self.used: dict[str, tuple[Any, ...]] = {}

    # --- Babylon

    def rows_arrive(self) -> None:
        window = hour(self.rng.randrange(HOURS))
        named = window if self.rng.random() < 0.8 else None
        rows = []
        for _ in range(self.rng.randrange(1, 6)):
            made = trajectory(window, f"agent-{self.rng.randrange(8)}", steps_json=self.text())
            made |= {"windowId": named, "finalPnL": self.profit()}
            rows.append(made)
        for made in rows:
            del made["createdAt"]  # Babylon's default: now
        insert_trajectories(self.connection, rows)

    def text(self) -> str:
        if self.rng.random() < 0.08:
            return self.rng.choice(["no JSON", "[]", "[{}]", '[{"llmCalls": [{"response": 3}]}]'])
        steps = []
        for number in range(self.rng.randrange(1, 3)):
            side = self.rng.choice(["YES", "NO"])
            call = exact_call(side, model=self.rng.choice(MODELS))
            if self.rng.random() < 0.1:
                call = llm_call(side)
            market = {"market": self.rng.choice(MARKETS)}
            if self.rng.random() < 0.2:
                market = {"market": None, "ticker": "ACME"}
            done = action(side=side, success=self.rng.random() < 0.9, **market)
            steps.append(step(number, [call], action=done, pnl=self.rng.choice([0.0, 5.0])))
        return json.dumps(steps)

    def profit(self) -> float | None:
        return self.rng.choice([None, None, None, 0.0, -300.0, 250.0, 1e300])

    def outcome_comes(self) -> None:
        at = hour(self.rng.randrange(HOURS + 2))
        if self.rng.random() < 0.2:
            made = stock_outcome("ACME", self.rng.choice([-2.5, 0.0, 2.5]), at)
        else:
            outcome = self.rng.choice(["YES", "NO", "yes", "CANCELLED"])
            made = market_outcome(self.rng.choice(MARKETS), outcome, at)
        insert_outcomes(self.connection, [made])

    def outcome_changes(self) -> None:
        self.connection.execute(
            "UPDATE market_outcomes SET outcome = CASE outcome WHEN 'YES' THEN 'NO' ELSE 'YES' END,"
            ' "changePercent" = -"changePercent" WHERE id = %s',
            (self.an_outcome(),),
        )

    def outcome_is_taken_back(self) -> None:
        self.connection.execute("DELETE FROM market_outcomes WHERE id = %s", (self.an_outcome(),))

    def an_outcome(self) -> object:
        return self.rng.choice(
            [None, *column(self.connection, "SELECT id FROM market_outcomes ORDER BY id")]
        )

    def row_changes(self) -> None:
        ids = column(self.connection, 'SELECT "trajectoryId" FROM trajectories ORDER BY 1')
        if not ids:
            return
        change, value = self.rng.choice(
            [
                ('"stepsJson"', self.text()),
                ('"stepsJson"', self.text()),
                ('"finalPnL"', 77.0),
                ('"isEvaluation"', True),
                ('"isTrainingData"', self.rng.random() < 0.5),
                ('"usedInTraining"', True),
                ('"windowId"', hour(self.rng.randrange(HOURS))),
                ('"windowId"', None),
                ('"windowId"', self.rng.choice(UNOPENED)),
                ('"scenarioId"', "another"),
                ("", None),
            ]
        )
        which = self.rng.choice(ids)
        if change:
            statement = f'UPDATE trajectories SET {change} = %s WHERE "trajectoryId" = %s'  # noqa: S608
            self.connection.execute(statement, (value, which))  # type: ignore[arg-type]
        else:
            self.connection.execute('DELETE FROM trajectories WHERE "trajectoryId" = %s', (which,))

    # --- us

    def beat(self) -> None:
        for moment in ("scored_at", "sealed_at", "enqueued_at", "late_checked_at"):
            statement = f"UPDATE training.windows SET {moment} = {moment} - interval '1 hour'"  # noqa: S608
            self.connection.execute(statement)  # type: ignore[arg-type]
        discover(self.settings, actor="test")
        reconcile(self.settings, actor="test")

    def score(self) -> None:
        for window in column(
            self.connection, "SELECT window_id FROM training.windows WHERE state = 'sealed'"
        ):
            score_window(self.settings, str(window), actor="test")

    def train(self, falls: str | None = None) -> bool:
        trainer = PeerTrainer(self.settings.data_dir, falls=falls)
        try:
            done = train_window(self.settings, trainer, window=None, actor="test")
        except TrainingError:
            return True
        return done.action != "idle"

    def train_somehow(self) -> None:
        self.train(self.rng.choice(FALLS))

    def evaluate(self) -> None:
        values = {n: self.rng.random() for n in range(1, 40)}
        evaluate(self.settings, PeerTrainer(self.settings.data_dir, values=values), actor="test")

    def time_passes(self) -> None:
        self.connection.execute(
            "UPDATE training.windows SET waits_until = now() WHERE waits_until IS NOT NULL"
        )

    def retry(self) -> None:
        for window in column(
            self.connection, "SELECT window_id FROM training.windows WHERE state = 'failed'"
        ):
            window_transitions.retry(self.connection, str(window), actor="test")

    def move(self) -> None:
        made = self.rng.choices(
            [
                self.rows_arrive,
                self.outcome_comes,
                self.outcome_changes,
                self.outcome_is_taken_back,
                self.row_changes,
                self.beat,
                self.score,
                self.train_somehow,
                self.evaluate,
                self.time_passes,
                self.retry,
            ],
            [8, 5, 2, 1, 6, 8, 8, 8, 1, 3, 1],
        )[0]
        self.log.append(made.__name__)
        made()

    def come_to_rest(self) -> None:
        """Nothing more comes from outside: as many beats as it takes, and no more than ROUNDS.

        No hour waits for outcomes any more, also none that is scored now.
        """
        self.settings = self.settings.model_copy(update={"outcome_wait_hours": 0})
        before = None
        for _ in range(ROUNDS):
            self.time_passes()
            self.beat()
            self.score()
            for _ in range(ROUNDS):
                if not self.train():
                    break
            now = column(self.connection, "SELECT max(id) FROM training.events")
            if now == before:
                return
            before = now
        raise AssertionError(f"still at work after {ROUNDS} rounds: {self.log}")

    # --- what always holds

    def check(self) -> None:
        scores = {
            tuple(row[:3]): tuple(row[3:])
            for row in self.connection.execute(
                "SELECT trajectory_id, reward_version, window_id, reward, components, content_hash"
                " FROM training.scores"
            )
        }
        for key, was in self.scores.items():
            assert scores.get(key) == was, f"a score was updated in place: {key}, {self.log}"
        assert all(0 <= made[0] <= 1 for made in scores.values())
        self.scores = scores
        used = {
            row[0]: tuple(row[1:])
            for row in self.connection.execute(
                "SELECT c.trajectory_id, c.reward_version, c.window_id, c.use"
                " FROM training.consumption c LEFT JOIN training.steps s ON s.id = c.step_id"
                " WHERE c.step_id IS NULL OR s.state = 'committed'"
            )
        }
        for key, was in self.used.items():
            assert used.get(key) == was, f"a use was undone: {key}, {self.log}"
        for key, (version, window, _) in used.items():
            assert (key, version, window) in scores, f"used without that reward: {key}, {self.log}"
        self.used = used
        assert violations(self.connection, self.settings) == [], self.log

    def accounts(self) -> None:
        assert violations(self.connection, self.settings, at_rest=True) == [], self.log
        unheard = column(  # of whatever window
            self.connection,
            'SELECT t."trajectoryId" FROM trajectories t WHERE NOT EXISTS'
            ' (SELECT FROM training.scores s WHERE s.trajectory_id = t."trajectoryId")'
            " AND NOT EXISTS"
            ' (SELECT FROM training.rejections r WHERE r.trajectory_id = t."trajectoryId")'
            " AND NOT EXISTS"
            ' (SELECT FROM training.unopened_windows u WHERE u.window_id = t."windowId")',
        )
        assert unheard == [], self.log
        unended = column(
            self.connection,
            "SELECT window_id || ' ' || state || ' ' || coalesce(rescore, '')"
            " FROM training.windows WHERE NOT state = ANY (%s)"
            " OR rescore IS NOT NULL AND state <> 'failed'",
            list(FINAL),
        )
        assert unended == [], self.log


@pytest.mark.parametrize("seed", range(3))
def test_all_is_accounted_for_once_whatever_comes_in_whatever_order(
    seed: int, connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(
        lookback_hours=1_000_000,
        max_staleness_hours=1000,
        outcome_wait_hours=1_000_000,
        grace_seconds=0,
        retry_delay_seconds=0,
        upkeep_interval_seconds=0.001,
        min_agents=2,
        min_group_size=2,
        max_group_size=4,
        step_token_budget=200,
        held_out_share=0.2,
    )
    world = World(connection, settings, seed)
    for _ in range(MOVES):
        world.move()
        world.check()
    world.come_to_rest()
    world.check()
    world.accounts()
