"""From an existing database to a policy that improves, in the likeness of Babylon.

Another model serves at first; supervised steps on its better answers go on until an evaluation
says that they suffice. Then all agents ask the gateway for the lineage, and a comparison with the
other model decides how many of them it answers, while it learns from its own answers. The end is an
evaluation on markets that nobody has seen.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from babylon_tasks.db import babylon, migrate, outcomes, played_hours
from babylon_tasks.db.session import Connection, session
from babylon_tasks.errors import SandboxError
from babylon_tasks.pipeline.warm_start import WarmStart, warm_start
from babylon_tasks.policy_names import policy_name
from babylon_tasks.recorder import Recorder
from babylon_tasks.registry.serving import serving
from babylon_tasks.sandbox.agents import PATIENCE_SECONDS
from babylon_tasks.sandbox.babylon_world import compared_hours, markets, play
from babylon_tasks.sandbox.babylon_world.external_model import NAME
from babylon_tasks.sandbox.babylon_world.external_server import ExternalServer
from babylon_tasks.sandbox.babylon_world.markets import BabylonMarket
from babylon_tasks.sandbox.babylon_world.results import (
    ENOUGH_RIGHT,
    ENOUGH_VALID,
    BabylonReport,
    ModelShares,
    PlayedHour,
    described,
    is_at_the_top,
    is_enough,
    shares,
)
from babylon_tasks.sandbox.demo_home import demo_home
from babylon_tasks.sandbox.markets import hours
from babylon_tasks.sandbox.playing import play as play_game
from babylon_tasks.sandbox.stack import Stack
from babylon_tasks.sandbox.stack_progress import (
    decided,
    finished,
    first_policy,
    followed,
)
from babylon_tasks.settings import Settings
from babylon_tasks.windows import WINDOW, window_id, window_start

MARKETS = 8
# Agents of each archetype, and about how many of its markets each decides: while the other model
# serves, and in the comparison, where a twentieth of fewer would often be too few for an arm.
AGENTS_BEFORE, AGENTS = (8, MARKETS // 2), (100, 1)
HOURS = 40  # of the comparison, at most
HOURS_AT_THE_TOP = 4
_OUTCOME_HOURS = 3
# The warm start: the best two of eight answers, batches of hours until an evaluation says enough.
_TOP_SHARE = 0.25
BATCH_HOURS, BATCHES = 10, 6
_CHECK_MARKETS, _HELD_OUT_MARKETS, _ANSWERS = 80, 80, 2
_PATIENCE_SECONDS = 900.0

OPTIONS = {
    "BABYLON_BACKEND": "cpu",
    "BABYLON_GATEWAY_TIMEOUT_SECONDS": str(PATIENCE_SECONDS),
    "BABYLON_GRACE_SECONDS": "1",
    "BABYLON_UPKEEP_INTERVAL_SECONDS": "0.5",
    "BABYLON_LOOKBACK_HOURS": "1000000",  # a century: the demo's hours are in the past
    "BABYLON_HELD_OUT_SHARE": "0.1",
    # Recorded answers cover 4 % of what a policy says in 36 tokens: too little for `evaluated`.
    "BABYLON_PROMOTION_MODE": "screened",
    "BABYLON_SCREEN_QUESTIONS": "40",
    "BABYLON_MIN_SCREEN_QUESTIONS": "20",
    "BABYLON_ANCHOR_MODEL": NAME,
    "BABYLON_COMPARISON_GUARD": "false",  # with it a rise takes half as long again
    "BABYLON_SCORER": "outcome",  # prices and stakes are recorded
    "BABYLON_MAX_GROUP_SIZE": "25",
    "BABYLON_SUPERVISED_CALLS": str(2 * MARKETS * BATCH_HOURS),
    "BABYLON_LEARNING_RATE": "3e-4",
    "BABYLON_FINAL_LEARNING_RATE": "1e-4",
    # Towards the base model, none of whose answers is valid here.
    "BABYLON_KL_COEFFICIENT": "0",
    "BABYLON_PACKED_SEQUENCE_LENGTH": "2048",
}


class BabylonWatcher(Struct, frozen=True):
    """How the demo reports: its settings, lines of news, and each hour once it is finished.

    ``done`` receives the report, while everything still runs.
    """

    settings: Callable[[Settings], None]
    news: Callable[[str], None]
    window: Callable[[PlayedHour], None]
    done: Callable[[Stack, BabylonReport], None] = lambda _stack, _report: None


def run(
    watcher: BabylonWatcher, *, windows: int | None, seed: int, keep: Path | None
) -> BabylonReport:
    """Run the demo from nothing to the final evaluation, and leave no process behind.

    ``windows``: the hours of the comparison; without it they end once nine in ten agents were the
    lineage's for four of them. Raises SandboxError when a process ends, a window does not finish,
    or the warm start teaches nothing.
    """
    started = time.monotonic()
    with demo_home(keep, watcher.news) as home, ExternalServer(seed) as external:
        options = OPTIONS | {
            "BABYLON_SEED": str(seed),
            "BABYLON_LINEAGE": f"babylon-{seed}",
            "BABYLON_GATEWAY_UPSTREAMS": external.upstreams,
        }
        with Stack(home, options=options, durable=False) as stack:
            watcher.settings(stack.settings)
            watcher.news("Postgres and Valkey are running; migrating")
            babylon.create(stack.settings)
            migrate.apply(stack.settings)
            with session(stack.settings) as connection:
                played_hours.begin(connection, _hours(stack.settings, 1)[0])
            stack.start_processes()
            watcher.news(
                f"beat, workers, Flower, gateway, dashboard started; logs in {stack.data_dir}"
            )
            with session(stack.settings) as connection, Recorder(stack.settings) as recorder:
                game = _Game(stack, watcher, connection, recorder, seed)
                checks, played, evaluation = play_game(stack, _played(game, windows), watcher.news)
            seconds = round(time.monotonic() - started, 1)
            report = BabylonReport(checks, played, evaluation, seconds)
            watcher.done(stack, report)
    return report


def _hours(settings: Settings, compared: int) -> list[str]:
    return hours(settings.lineage, settings.held_out_share, BATCH_HOURS * BATCHES + compared)


async def _played(
    game: _Game, windows: int | None
) -> tuple[list[ModelShares], list[PlayedHour], list[ModelShares]]:
    await game.begin(windows or HOURS)
    async with game.client:
        checks = await game.warm_start()
        first = game.serving_step
        played: list[PlayedHour] = []
        while len(played) < (windows or HOURS):
            played.append(await game.hour())
            if windows is None and is_at_the_top(played, HOURS_AT_THE_TOP):
                break
        asked = markets.kept_markets(game.seed, _HELD_OUT_MARKETS, purpose="held-out")
        names = [NAME, policy_name(game.lineage, first)]
        if game.serving_step != first:
            names.append(policy_name(game.lineage, game.serving_step))
        return checks, played, [await game.examined(name, asked, _ANSWERS) for name in names]


class _Game:
    """One play of the world: the system, its agents, and the hours still to come."""

    client: Any  # OpenAI's, asking the gateway

    def __init__(
        self,
        stack: Stack,
        watcher: BabylonWatcher,
        connection: Connection,
        recorder: Recorder,
        seed: int,
    ) -> None:
        self.seed = seed
        self.lineage = stack.settings.lineage
        self._stack, self._watcher = stack, watcher
        self._connection, self._recorder = connection, recorder
        self._number = 0
        self._hours: list[str] = []

    @property
    def serving_step(self) -> int:
        """The checkpoint that serves now."""
        return serving(self._connection, self.lineage).step

    async def begin(self, windows: int) -> None:
        """Wait for the system."""
        settings = self._stack.settings
        policy = await first_policy(self._stack, self._connection, self._watcher.news)
        self.client = replace(policy, base_url=self._stack.gateway_url).openai_client(settings)
        await followed(self._stack, self.client, policy)
        self._hours = _hours(settings, windows)
        self._watcher.news(f"{NAME} serves all agents, behind {self._stack.gateway_url}")

    async def warm_start(self) -> list[ModelShares]:
        """Learn from the other model's hours until an evaluation says enough.

        Raises SandboxError if it never does.
        """
        checks: list[ModelShares] = []
        asked = markets.kept_markets(self.seed, _CHECK_MARKETS, purpose="check")
        for _ in range(BATCHES):
            windows = [(await self._play(NAME, *AGENTS_BEFORE))[0] for _ in range(BATCH_HOURS)]
            for window in windows:
                await finished(self._stack, self._connection, window, _PATIENCE_SECONDS)
            planned = await self._planned()
            self._watcher.news(
                f"supervised step {planned.step} on {planned.calls} answers of "
                f"{', '.join(planned.models)} in {len(planned.windows)} hours"
            )
            done = await decided(
                self._stack, self._connection, planned.windows[-1], planned.step, _PATIENCE_SECONDS
            )
            found = await self.examined(policy_name(self.lineage, planned.step or 0), asked, 1)
            checks.append(found)
            self._watcher.news(f"{described(found)}; {done.decision}: {done.decision_reason}")
            if is_enough(found) and self.serving_step == planned.step:
                return checks
        raise SandboxError(
            f"after {len(checks)} supervised steps none serves that is right in {ENOUGH_RIGHT:.0%} "
            f"of its trades, with {ENOUGH_VALID:.0%} valid answers: learning from its own would "
            "follow the luck of a window. The lines above have each evaluation; try another --seed"
        )

    async def hour(self) -> PlayedHour:
        """Play an hour of all agents, and wait until its step is decided and its arms compared."""
        policy = serving(self._connection, self.lineage)
        await followed(self._stack, self.client, policy)
        window, turns = await self._play(self.lineage, *AGENTS)
        done = await finished(self._stack, self._connection, window, _PATIENCE_SECONDS)
        concluded = await compared_hours.concluded(
            self._stack, self._connection, self.lineage, window
        )
        by = {
            external: [(one.market, one.last) for one in turns if one.external is external]
            for external in (True, False)
        }
        hour = PlayedHour(
            window=window,
            share=compared_hours.our_share(self._connection, self.lineage, window),
            step=done.step,
            served_step=policy.step,
            decision=done.decision,
            concluded=concluded,
            ours=shares(policy.inference_name, by[False]),
            external=shares(NAME, by[True]),
        )
        self._watcher.window(hour)
        return hour

    async def examined(self, model: str, asked: Sequence[BabylonMarket], n: int) -> ModelShares:
        """Ask a model about markets that no hour has, ``n`` times about each."""
        return shares(model, await play.examine(self.client, model, asked, n=n))

    async def _play(self, model: str, agents: int, each: int) -> tuple[str, list[play.Turn]]:
        """Play the next hour and record it; its markets end hours later.

        So many ``agents`` of each archetype ask for a model, about so many markets ``each``.
        """
        window = self._hours[self._number]
        asked = markets.hour_markets(self.seed, self._number, MARKETS)
        self._number += 1
        await compared_hours.begin(self._connection, window)
        wanted = play.turns(asked, play.agents(agents), each)
        turns = await play.play(self.client, wanted, model)
        if model == self.lineage:
            answers = sum(len(one.decisions) for one in turns)
            await compared_hours.captured(self._stack, self._connection, window, answers)
        ended = window_id(window_start(window) + _OUTCOME_HOURS * WINDOW)
        for one in asked:
            outcomes.settle(self._connection, ended, one.id, question=one.question, yes=one.yes)
        play.record(self._recorder, window, turns)
        recorder = self._recorder
        if not recorder.flush(30) or recorder.dropped or recorder.failed:
            raise SandboxError(f"window {window}: the recorder did not write everything")
        return window, turns

    async def _planned(self) -> WarmStart:
        """Plan a supervised step as soon as no worker has the lineage."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        refused: str | None = None
        while time.monotonic() < deadline:
            self._stack.check()
            found = await asyncio.to_thread(
                warm_start,
                self._stack.settings,
                since=None,
                top_share=_TOP_SHARE,
                dry_run=False,
                actor="demo",
            )
            if found.step is not None:
                return found
            refused = found.refused or f"nothing to learn from: {json.dumps(found.left_out)}"
            await asyncio.sleep(0.5)
        raise SandboxError(f"no supervised step could be planned: {refused}")
