"""The whole loop on one machine: real servers, processes and model, and the model improves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from babylon_tasks.db import babylon, migrate, outcomes
from babylon_tasks.db.progress import WindowProgress
from babylon_tasks.db.session import session
from babylon_tasks.decisions import Decision
from babylon_tasks.errors import SandboxError
from babylon_tasks.policy_names import policy_name
from babylon_tasks.recorder import Recorder
from babylon_tasks.registry.serving import Serving, serving
from babylon_tasks.sandbox import markets
from babylon_tasks.sandbox.agents import Account, AnswerCounts, decide, examine, record
from babylon_tasks.sandbox.demo_home import demo_home
from babylon_tasks.sandbox.markets import Market
from babylon_tasks.sandbox.stack import Stack
from babylon_tasks.sandbox.stack_progress import finished, first_policy, followed
from babylon_tasks.sandbox.statistics import (
    AVERAGED_WINDOWS,
    difference_interval,
    windows_until,
)
from babylon_tasks.settings import Settings
from babylon_tasks.states import StepState

MARKETS = 8
AGENTS = 16
HELD_OUT_MARKETS = 100
ANSWERS_PER_MARKET = 4
RIGHT_AGAIN = 0.8  # of all decisions

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


class WindowRow(Struct, frozen=True):
    """One window of the report; ``step`` is None where no step came of it.

    ``valid`` and ``right`` are shares of all decisions, ``right_share`` that of the valid ones.
    ``decision`` is the gate's about the step, ``promote`` or ``hold``, and ``why`` its reason.
    """

    window: str
    trajectories: int
    valid: float
    right: float
    scored: int
    rejected: dict[str, int]
    profit_mean: float | None
    right_share: float | None
    step: int | None
    gradient_steps: int
    trainable_tokens: int
    served_step: int
    decision: Decision | None
    why: str | None


class Share(Struct, frozen=True):
    """A checkpoint's results on the held-out markets; shares in [0, 1]."""

    n: int
    valid: float
    right_of_valid: float


class Interval(Struct, frozen=True):
    """A 95 % interval."""

    low: float
    high: float


class ModelComparison(Struct, frozen=True):
    """Base model and serving checkpoint on the same markets, which were never trained on.

    ``difference``: in the share of all answers that are valid and right, served minus base.
    """

    base: Share
    served: Share
    difference: Interval


class Reversal(Struct, frozen=True):
    """What a reversal of the signal did to the share of right decisions.

    ``window`` is the first in which headlines hint at the contrary. ``before`` is the share of the
    last three windows before it, ``after`` of its first three, ``last`` of the last three that were
    played. ``right_again_after`` counts the windows from it until three in a row were right in 80 %
    of all decisions, these included; None: they never were.
    """

    window: str
    before: float
    after: float
    last: float
    right_again_after: int | None


class DemoReport(Struct, frozen=True):
    """The content of the ``--report`` file; ``reversal`` is None where the signal stayed."""

    windows: list[WindowRow]
    evaluation: ModelComparison
    seconds: float
    reversal: Reversal | None = None


class Watcher(Struct, frozen=True):
    """How the demo reports: a line of news, and each window once it is finished.

    ``settings`` receives those of the run, once, before anything is logged.
    """

    settings: Callable[[Settings], None]
    news: Callable[[str], None]
    window: Callable[[WindowProgress, AnswerCounts], None]


def run(
    watcher: Watcher,
    *,
    windows: int,
    seed: int,
    reverse_at: int | None = None,
    keep: Path | None = None,
) -> DemoReport:
    """Run the demo from nothing to the final evaluation, and leave no process behind.

    ``reverse_at``: from this window on, counted from 1, headlines hint at the contrary, those of
    the final evaluation too.
    ``keep``: a directory for all data and logs. Without it they are removed, unless something
    fails. Raises SandboxError when a process ends or a window does not finish.
    """
    started = time.monotonic()
    options = OPTIONS | {"BABYLON_SEED": str(seed), "BABYLON_LINEAGE": f"demo-{seed}"}
    with (
        demo_home(keep, watcher.news) as home,
        Stack(home, options=options, durable=False) as stack,
    ):
        watcher.settings(stack.settings)
        watcher.news("Postgres and Valkey are running; migrating")
        babylon.create(stack.settings)
        migrate.apply(stack.settings)
        stack.start_processes()
        watcher.news(f"beat, workers, Flower and gateway started; logs in {stack.data_dir}")
        watcher.news(f"Flower: {stack.flower_url}  login {stack.flower_login}")
        for name, port in stack.metrics_ports.items():
            watcher.news(f"metrics of {name}: http://127.0.0.1:{port}/metrics")
        rows, evaluation = asyncio.run(_play(stack, watcher, windows, seed, reverse_at))
    seconds = round(time.monotonic() - started, 1)
    return DemoReport(rows, evaluation, seconds, reversal(rows, reverse_at))


def reversal(rows: list[WindowRow], reverse_at: int | None) -> Reversal | None:
    """Sum up what a reversal in the ``reverse_at``-th window did; None without one."""
    if reverse_at is None:
        return None
    right = [row.right for row in rows]
    before, after = right[: reverse_at - 1], right[reverse_at - 1 :]
    return Reversal(
        window=rows[reverse_at - 1].window,
        before=fmean(before[-AVERAGED_WINDOWS:]),
        after=fmean(after[:AVERAGED_WINDOWS]),
        last=fmean(after[-AVERAGED_WINDOWS:]),
        right_again_after=windows_until(after, RIGHT_AGAIN),
    )


async def _play(
    stack: Stack, watcher: Watcher, windows: int, seed: int, reverse_at: int | None
) -> tuple[list[WindowRow], ModelComparison]:
    settings = stack.settings
    rows: list[WindowRow] = []
    accounts = [Account(f"agent-{number}") for number in range(AGENTS)]
    with session(settings) as connection, Recorder(settings) as recorder:
        policy = await first_policy(stack, connection)
        # As agents do that know one address and nothing else.
        client = replace(policy, base_url=stack.gateway_url).openai_client(settings)
        watcher.news(
            f"{policy.inference_name} is served at {policy.base_url}; agents ask the gateway, "
            f"{stack.gateway_url}"
        )
        hours = markets.hours(settings.lineage, settings.held_out_share, windows)
        for number, window in enumerate(hours):
            policy = serving(connection, settings.lineage)
            opposite = reverse_at is not None and number + 1 >= reverse_at
            asked_about = markets.window_markets(seed, number, MARKETS, opposite=opposite)
            await followed(stack, client, policy)
            decisions = await decide(client, settings.lineage, asked_about, accounts)
            for market in asked_about:
                outcomes.settle(
                    connection, window, market.id, question=market.question, yes=market.rises
                )
            tally = record(recorder, window, decisions)
            if not recorder.flush(30) or recorder.dropped or recorder.failed:
                raise SandboxError(f"window {window}: the recorder did not write everything")
            done = await finished(stack, connection, window)
            rows.append(_row(done, tally, policy))
            watcher.window(done, tally)
        policy = serving(connection, settings.lineage)
        watcher.news(
            f"asking {policy_name(settings.lineage, 0)} and {policy.inference_name} about "
            f"{HELD_OUT_MARKETS} new markets"
        )
        asked_about = markets.held_out_markets(
            seed, HELD_OUT_MARKETS, opposite=reverse_at is not None
        )
        evaluation = await _evaluate(client, settings.lineage, policy, asked_about)
    return rows, evaluation


def _row(done: WindowProgress, tally: AnswerCounts, policy: Serving) -> WindowRow:
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
        decision=done.decision,
        why=done.decision_reason,
    )


async def _evaluate(
    client: Any, lineage: str, policy: Serving, asked_about: list[Market]
) -> ModelComparison:
    base = await examine(client, policy_name(lineage, 0), asked_about, n=ANSWERS_PER_MARKET)
    served = await examine(client, policy.inference_name, asked_about, n=ANSWERS_PER_MARKET)
    low, high = difference_interval(
        [tally.right / tally.n for tally in base], [tally.right / tally.n for tally in served]
    )
    return ModelComparison(_share(base), _share(served), Interval(low, high))


def _share(tallies: list[AnswerCounts]) -> Share:
    n = sum(tally.n for tally in tallies)
    valid = sum(tally.valid for tally in tallies)
    right = sum(tally.right for tally in tallies)
    return Share(n, valid / n, right / valid if valid else 0.0)


def write(report: Struct, path: Path) -> None:
    """Write the report as JSON."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
