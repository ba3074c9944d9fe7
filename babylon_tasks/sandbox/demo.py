"""The whole loop on one machine: real servers, processes and model, and the model improves."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from babylon_tasks.db import babylon, migrate, outcomes
from babylon_tasks.db.progress import WindowProgress
from babylon_tasks.db.session import session
from babylon_tasks.errors import SandboxError
from babylon_tasks.policy_names import policy_name
from babylon_tasks.recorder import Recorder
from babylon_tasks.registry import refusals
from babylon_tasks.registry.serving import Serving, serving
from babylon_tasks.sandbox import markets
from babylon_tasks.sandbox.agents import Account, AnswerCounts, decide, examine, record
from babylon_tasks.sandbox.demo_home import demo_home
from babylon_tasks.sandbox.demo_report import (
    DemoReport,
    Interval,
    ModelComparison,
    Share,
    WindowRow,
    reversal,
)
from babylon_tasks.sandbox.playing import play
from babylon_tasks.sandbox.stack import Stack
from babylon_tasks.sandbox.stack_progress import finished, first_policy, followed
from babylon_tasks.sandbox.stages import doing, stage
from babylon_tasks.sandbox.statistics import difference_interval
from babylon_tasks.sandbox.variation import Variation, stale_step
from babylon_tasks.settings import Settings
from babylon_tasks.states import StepState

MARKETS = 8
AGENTS = 16
HELD_OUT_MARKETS = 100
ANSWERS_PER_MARKET = 4

# Accelerated time: an hour of Babylon is a few seconds, so upkeep and grace shrink with it.
OPTIONS = {
    "BABYLON_BACKEND": "cpu",
    "BABYLON_GRACE_SECONDS": "1",
    "BABYLON_UPKEEP_INTERVAL_SECONDS": "1",
    "BABYLON_LOOKBACK_HOURS": "1000000",  # a century: the demo's hours are in the past
    "BABYLON_HELD_OUT_SHARE": "0.1",
    "BABYLON_PROFIT_SCALE": str(markets.STAKE),
    "BABYLON_MAX_GROUP_SIZE": str(AGENTS),
    "BABYLON_LEARNING_RATE": "1e-3",
    "BABYLON_FINAL_LEARNING_RATE": "1e-4",
    "BABYLON_LEARNING_RATE_WARMUP_STEPS": "6",
    "BABYLON_LEARNING_RATE_DECAY_STEPS": "40",
    "BABYLON_KL_COEFFICIENT": "0.1",
    "BABYLON_PACKED_SEQUENCE_LENGTH": "2048",
}


_THE_DEMO = Variation()


class Watcher(Struct, frozen=True):
    """How the demo reports: a line of news, and each window once it is finished.

    ``settings`` receives those of the run, once, before anything is logged; ``stage`` what is done
    now, in a line that replaces the one before.
    """

    settings: Callable[[Settings], None]
    news: Callable[[str], None]
    window: Callable[[WindowProgress, AnswerCounts], None]
    stage: Callable[[str], None] = lambda _: None


def run(
    watcher: Watcher,
    *,
    windows: int,
    seed: int,
    variation: Variation = _THE_DEMO,
    keep: Path | None = None,
) -> DemoReport:
    """Run the demo from nothing to the final evaluation, and leave no process behind.

    ``variation``: what is otherwise than in the demo.
    ``keep``: a directory for all data and logs. Without it they are removed, unless something
    fails. Raises SandboxError when a process ends or a window does not finish.
    """
    started = time.monotonic()
    options = OPTIONS | {"BABYLON_SEED": str(seed), "BABYLON_LINEAGE": f"demo-{seed}"}
    options |= variation.options
    with (
        demo_home(keep, watcher.news) as home,
        Stack(home, options=options, durable=False) as stack,
    ):
        watcher.settings(stack.settings)
        watcher.news("Postgres and Valkey are running; migrating")
        babylon.create(stack.settings)
        migrate.apply(stack.settings)
        stack.start_processes()
        watcher.news(f"beat, workers, Flower, gateway, dashboard started; logs in {stack.data_dir}")
        watcher.news(f"Flower: {stack.flower_url}  login {stack.flower_login}")
        watcher.news(f"dashboard: {stack.dashboard_url}  login {stack.dashboard_login}")
        for name, port in stack.metrics_ports.items():
            watcher.news(f"metrics of {name}: http://127.0.0.1:{port}/metrics")
        playing = _play(stack, watcher, windows, seed, variation)
        rows, evaluation = play(stack, playing, watcher.news)
    seconds = round(time.monotonic() - started, 1)
    return DemoReport(rows, evaluation, seconds, reversal(rows, variation.reverse_at))


async def _play(
    stack: Stack, watcher: Watcher, windows: int, seed: int, variation: Variation
) -> tuple[list[WindowRow], ModelComparison]:
    settings = stack.settings
    rows: list[WindowRow] = []
    accounts = [Account(f"agent-{number}") for number in range(AGENTS)]
    with session(settings) as connection, Recorder(settings) as recorder:
        policy = await first_policy(stack, connection, watcher.news)
        # As agents do that know one address and nothing else.
        client = replace(policy, base_url=stack.gateway_url).openai_client(settings)
        watcher.news(
            f"{policy.inference_name} is served at {policy.base_url}; agents ask the gateway, "
            f"{stack.gateway_url}"
        )
        hours = markets.hours(settings.lineage, settings.held_out_share, windows)
        began = time.monotonic()
        for number, window in enumerate(hours):

            def now(what: str, number: int = number) -> None:
                watcher.stage(stage(number + 1, windows, what, time.monotonic() - began))

            def moved(found: WindowProgress | None, now: Callable[[str], None] = now) -> None:
                now(doing(found))

            now(f"is played: {AGENTS} agents ask")
            policy = serving(connection, settings.lineage)
            refused = refusals.count(connection, settings.lineage, policy.step)
            opposite = variation.opposite(number)
            drawn = markets.window_markets(seed, number, MARKETS, opposite=opposite)
            asked_about = variation.settled(drawn, seed, number)
            await followed(stack, client, policy)
            served = [*(row.served_step for row in rows), policy.step]
            stale = policy_name(settings.lineage, stale_step(served))
            models = [
                stale if variation.asks_stale(agent, AGENTS) else settings.lineage
                for agent in range(AGENTS)
            ]
            decisions = await decide(client, models, asked_about, accounts)
            for market in asked_about:
                outcomes.settle(
                    connection, window, market.id, question=market.question, yes=market.yes
                )
            tally = record(recorder, window, decisions)
            if not recorder.flush(30) or recorder.dropped or recorder.failed:
                raise SandboxError(f"window {window}: the recorder did not write everything")
            done = await finished(stack, connection, window, on_move=moved)
            rows.append(_row(done, tally, policy, refused.halvings))
            watcher.window(done, tally)
        policy = serving(connection, settings.lineage)
        watcher.news(
            f"asking {policy_name(settings.lineage, 0)} and {policy.inference_name} about "
            f"{HELD_OUT_MARKETS} new markets"
        )
        evaluation = await _evaluate(client, settings.lineage, policy, seed, variation)
    return rows, evaluation


def _row(done: WindowProgress, tally: AnswerCounts, policy: Serving, rate_halved: int) -> WindowRow:
    committed = done.step_state == StepState.COMMITTED
    return WindowRow(
        window=done.window,
        trajectories=done.trajectories,
        valid=tally.valid / tally.n,
        right=tally.right / tally.n,
        scored=done.scored,
        rejected=done.rejected,
        profit_mean=done.profit_mean,
        right_share=done.right_share,
        step=done.step if committed else None,
        gradient_steps=done.gradient_steps,
        trainable_tokens=done.trainable_tokens,
        served_step=policy.step,
        rate_halved=rate_halved,
        decision=done.decision,
        why=done.decision_reason,
    )


async def _evaluate(
    client: Any, lineage: str, policy: Serving, seed: int, variation: Variation
) -> ModelComparison:
    opposite = variation.reverse_at is not None
    asked_about = markets.held_out_markets(seed, HELD_OUT_MARKETS, opposite=opposite)
    base = await examine(client, policy_name(lineage, 0), asked_about, n=ANSWERS_PER_MARKET)
    served = await examine(client, policy.inference_name, asked_about, n=ANSWERS_PER_MARKET)
    low, high = difference_interval(
        [tally.right / tally.n for tally in base], [tally.right / tally.n for tally in served]
    )
    found = ModelComparison(_share(base), _share(served), Interval(low, high))
    if not variation.unseen_phrasings:
        return found
    asked_about = markets.held_out_markets(seed, HELD_OUT_MARKETS, opposite=opposite, unseen=True)
    unseen = await examine(client, policy.inference_name, asked_about, n=ANSWERS_PER_MARKET)
    return replace(found, unseen_phrasings=_share(unseen))


def _share(tallies: list[AnswerCounts]) -> Share:
    n = sum(tally.n for tally in tallies)
    valid = sum(tally.valid for tally in tallies)
    right = sum(tally.right for tally in tallies)
    return Share(n, valid / n, right / valid if valid else 0.0)
