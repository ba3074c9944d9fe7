"""The miniature Babylon, hour after hour: agents ask and are recorded, a window comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from babylon_tasks.db import outcomes, progress
from babylon_tasks.db.progress import WindowProgress
from babylon_tasks.db.session import Connection, session
from babylon_tasks.errors import SandboxError
from babylon_tasks.policy_names import policy_name
from babylon_tasks.recorder import Recorder
from babylon_tasks.registry import refusals
from babylon_tasks.registry.serving import Serving, serving
from babylon_tasks.sandbox import markets
from babylon_tasks.sandbox.agents import PATIENCE_SECONDS, Account, AnswerCounts, decide, record
from babylon_tasks.sandbox.phases import Phase, PhaseClock, phase_of
from babylon_tasks.sandbox.playing import broken_off, unanswered
from babylon_tasks.sandbox.stack import Stack
from babylon_tasks.sandbox.stack_progress import finished, first_policy, followed
from babylon_tasks.sandbox.stages import doing
from babylon_tasks.sandbox.variation import Variation, stale_step
from babylon_tasks.windows import window_end

_AGAIN_SECONDS = 5.0  # a killed trainer is being restarted
MARKETS = 16  # in groups of 8: twice the questions of 8 markets and 16 agents, for as many answers
AGENTS = 8
WINDOWS = 40

# Accelerated time: an hour of Babylon is a few seconds, so upkeep and grace shrink with it.
OPTIONS = {
    "BABYLON_BACKEND": "cpu",
    "BABYLON_GATEWAY_TIMEOUT_SECONDS": str(PATIENCE_SECONDS),
    "BABYLON_GRACE_SECONDS": "1",
    "BABYLON_UPKEEP_INTERVAL_SECONDS": "0.5",
    "BABYLON_LOOKBACK_HOURS": "1000000",  # a century: the hours are in the past
    "BABYLON_HELD_OUT_SHARE": "0.1",
    "BABYLON_PROFIT_SCALE": str(markets.STAKE),
    "BABYLON_MAX_GROUP_SIZE": str(AGENTS),
    "BABYLON_LEARNING_RATE": "1e-3",
    "BABYLON_FINAL_LEARNING_RATE": "5e-4",
    "BABYLON_LEARNING_RATE_WARMUP_STEPS": "20",
    "BABYLON_LEARNING_RATE_DECAY_STEPS": str(WINDOWS),
    "BABYLON_KL_COEFFICIENT": "0.1",
    # A policy that knows nothing yet drifts to one answer for everything: this draws it back, and
    # the rate rises late (docs/decisions.md).
    "BABYLON_ADVANTAGE_BALANCE": "0.5",
    "BABYLON_PACKED_SEQUENCE_LENGTH": "256",  # two groups: five gradient steps a window
    # 24 groups: more of them took three fifths of the trainer's time.
    "BABYLON_MAX_EVAL_TOKENS": "1200",
}

THE_DEMO = Variation()


class PlayedWindow(Struct, frozen=True):
    """What came of an hour, what its agents answered, and what served them."""

    done: WindowProgress
    tally: AnswerCounts
    policy: Serving
    rate_halved: int


class Miniature:
    """One play of the world: the system, its agents, and what has served so far."""

    client: Any

    def __init__(
        self,
        stack: Stack,
        connection: Connection,
        recorder: Recorder,
        seed: int,
        variation: Variation = THE_DEMO,
    ) -> None:
        self._stack, self._connection, self._recorder = stack, connection, recorder
        self._seed, self._variation = seed, variation
        self._accounts = [Account(f"agent-{number}") for number in range(AGENTS)]
        self._served: list[int] = []
        self.phases = PhaseClock()

    async def begin(self, news: Callable[[str], None]) -> None:
        """Wait for the system."""
        stack = self._stack
        policy = await first_policy(stack, self._connection, news)
        # As agents do that know one address and nothing else.
        self.client = replace(policy, base_url=stack.gateway_url).openai_client(stack.settings)
        news(
            f"{policy.inference_name} is served at {policy.base_url}; agents ask the gateway, "
            f"{stack.gateway_url}"
        )

    async def hour(self, number: int, window: str, now: Callable[[str], None]) -> PlayedWindow:
        """Play the ``number``-th hour and wait until nothing more happens to its window.

        ``now`` receives what is done with it.
        """
        lineage = self._stack.settings.lineage
        self.phases.enter(Phase.PENDING)
        now(f"is played: {AGENTS} agents ask")
        policy = serving(self._connection, lineage)
        refused = refusals.count(self._connection, lineage, policy.step)
        opposite = self._variation.opposite(number)
        drawn = markets.window_markets(self._seed, number, MARKETS, opposite=opposite)
        asked_about = self._variation.settled(drawn, self._seed, number)
        await followed(self._stack, self.client, policy)
        self._served.append(policy.step)
        stale = policy_name(lineage, stale_step(self._served))
        models = [
            stale if self._variation.asks_stale(agent, AGENTS) else lineage
            for agent in range(AGENTS)
        ]
        self.phases.enter(Phase.SAMPLING)
        decisions = await decide(self.client, models, asked_about, self._accounts)
        for one in asked_about:
            outcomes.settle(self._connection, window, one.id, question=one.question, yes=one.yes)
        tally = record(self._recorder, window, decisions)
        recorder = self._recorder
        if not recorder.flush(30) or recorder.dropped or recorder.failed:
            raise SandboxError(f"window {window}: the recorder did not write everything")
        self.phases.enter(Phase.PENDING)

        def moved(found: WindowProgress | None) -> None:
            self.phases.enter(phase_of(found))
            now(doing(found))

        done = await finished(self._stack, self._connection, window, on_move=moved)
        self.phases.stop()
        return PlayedWindow(done, tally, policy, refused.halvings)


class Watcher(Struct, frozen=True):
    """How a play is reported: a line of news, and each window once it is finished.

    ``stage`` receives what is done now, in a line that replaces the one before.
    """

    news: Callable[[str], None]
    window: Callable[[WindowProgress, AnswerCounts], None]
    stage: Callable[[str], None] = lambda _: None


async def play_on(stack: Stack, watcher: Watcher, seed: int = 0) -> None:
    """Play hour after hour for ever: those that are over at once, then each at its end.

    Where hours have been played before, it goes on after them.
    """
    settings = stack.settings
    with session(settings) as connection, Recorder(settings) as recorder:
        game = Miniature(stack, connection, recorder, seed)
        await game.begin(watcher.news)
        async with game.client:
            hours = markets.all_hours(settings.lineage, settings.held_out_share)
            for number, window in enumerate(hours):
                if progress.of_window(connection, settings.lineage, window) is not None:
                    continue
                while (left := window_end(window) - datetime.now(UTC)) > timedelta():
                    watcher.stage(f"window {window} is not over yet")
                    await asyncio.sleep(min(left.total_seconds(), 60))

                def now(what: str, window: str = window) -> None:
                    watcher.stage(f"window {window} {what}")

                while True:
                    try:
                        played = await game.hour(number, window, now)
                        break
                    except Exception as error:
                        if broken_off() or not unanswered(error):
                            raise
                        stack.check()
                        watcher.news(f"window {window}: no answer ({error}); agents ask again")
                        await asyncio.sleep(_AGAIN_SECONDS)
                watcher.window(played.done, played.tally)
