"""The whole loop on one machine: real servers, processes and model, and the model improves."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from babylon_tasks.db import babylon, migrate
from babylon_tasks.db.session import session
from babylon_tasks.policy_names import policy_name
from babylon_tasks.recorder import Recorder
from babylon_tasks.registry.serving import Serving, serving
from babylon_tasks.sandbox import markets
from babylon_tasks.sandbox.agents import AnswerCounts, examine
from babylon_tasks.sandbox.demo_home import demo_home
from babylon_tasks.sandbox.demo_report import (
    DemoReport,
    Interval,
    ModelComparison,
    Share,
    WindowRow,
    reversal,
)
from babylon_tasks.sandbox.demo_threads import demo_threads
from babylon_tasks.sandbox.miniature import OPTIONS, THE_DEMO, Miniature, PlayedWindow, Watcher
from babylon_tasks.sandbox.phases import Phase
from babylon_tasks.sandbox.playing import play
from babylon_tasks.sandbox.stack import Stack
from babylon_tasks.sandbox.stages import stage
from babylon_tasks.sandbox.statistics import difference_interval
from babylon_tasks.sandbox.variation import Variation
from babylon_tasks.settings import Settings
from babylon_tasks.states import StepState

HELD_OUT_MARKETS = 100
ANSWERS_PER_MARKET = 4


class DemoWatcher(Watcher, frozen=True, kw_only=True):
    """``settings`` receives those of the run, once, before anything is logged; ``done`` the report,
    while everything still runs.
    """

    settings: Callable[[Settings], None]
    done: Callable[[Stack, DemoReport], None] = lambda _stack, _report: None


def run(
    watcher: DemoWatcher,
    *,
    windows: int,
    seed: int,
    variation: Variation = THE_DEMO,
    keep: Path | None = None,
) -> DemoReport:
    """Run the demo from nothing to the final evaluation, and leave no process behind.

    ``variation``: what is otherwise than in the demo.
    ``keep``: a directory for all data and logs. Without it they are removed, unless something
    fails. Raises SandboxError when a process ends or a window does not finish.
    """
    started = time.monotonic()
    options = OPTIONS | {"BABYLON_SEED": str(seed), "BABYLON_LINEAGE": f"demo-{seed}"}
    options |= variation.options | demo_threads()
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
        watcher.news(f"Flower: {stack.flower_url}  login: {stack.flower_login}")
        watcher.news(f"dashboard: {stack.dashboard_url}  login: {stack.dashboard_login}")
        for name, port in stack.metrics_ports.items():
            watcher.news(f"metrics of {name}: http://127.0.0.1:{port}/metrics")
        playing = _play(stack, watcher, windows, seed, variation)
        rows, phases, evaluation = play(stack, playing, watcher.news)
        seconds = round(time.monotonic() - started, 1)
        turned = reversal(rows, variation.reverse_at)
        report = DemoReport(rows, evaluation, seconds, phases, turned)
        watcher.done(stack, report)
    return report


async def _play(
    stack: Stack, watcher: DemoWatcher, windows: int, seed: int, variation: Variation
) -> tuple[list[WindowRow], dict[Phase, float], ModelComparison]:
    settings = stack.settings
    rows: list[WindowRow] = []
    with session(settings) as connection, Recorder(settings) as recorder:
        game = Miniature(stack, connection, recorder, seed, variation)
        await game.begin(watcher.news)
        async with game.client:
            hours = markets.hours(settings.lineage, settings.held_out_share, windows)
            began = time.monotonic()
            for number, window in enumerate(hours):

                def now(what: str, number: int = number) -> None:
                    watcher.stage(stage(number + 1, windows, what, time.monotonic() - began))

                played = await game.hour(number, window, now)
                rows.append(_row(played))
                watcher.window(played.done, played.tally)
            policy = serving(connection, settings.lineage)
            watcher.news(
                f"asking {policy_name(settings.lineage, 0)} and {policy.inference_name} about "
                f"{HELD_OUT_MARKETS} new markets"
            )
            evaluation = await _evaluate(game.client, settings.lineage, policy, seed, variation)
    phases = {phase: round(seconds, 1) for phase, seconds in game.phases.seconds.items()}
    return rows, phases, evaluation


def _row(played: PlayedWindow) -> WindowRow:
    done, tally = played.done, played.tally
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
        served_step=played.policy.step,
        rate_halved=played.rate_halved,
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
    by_phrasing: dict[str, list[AnswerCounts]] = defaultdict(list)
    for market, tally in zip(asked_about, unseen, strict=True):
        by_phrasing[market.phrasing].append(tally)
    return replace(
        found,
        unseen_phrasings=_share(unseen),
        right_by_unseen_phrasing={
            phrasing: _share(tallies).right_of_valid for phrasing, tallies in by_phrasing.items()
        },
    )


def _share(tallies: list[AnswerCounts]) -> Share:
    n = sum(tally.n for tally in tallies)
    valid = sum(tally.valid for tally in tallies)
    right = sum(tally.right for tally in tallies)
    return Share(n, valid / n, right / valid if valid else 0.0)
