"""A run of seeded windows: the policy learns, one checkpoint is worse, and is rolled back."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

from babylon_tasks.decisions import Decision
from babylon_tasks.run_records import (
    CallCloseup,
    Extremes,
    PromptMessage,
    RewardCloseup,
    RunCheckpoint,
    RunCommit,
    RunConclusion,
    RunDecision,
    RunRejections,
    RunRows,
    RunScreen,
    RunStep,
    RunWindow,
    TrajectoryCloseup,
)
from babylon_tasks.states import StepMethod, StepState
from babylon_tasks.windows import window_id

_START = datetime(2026, 1, 1, tzinfo=UTC)
_LATER = datetime(2026, 8, 1, tzinfo=UTC)  # the hours were filled in long after they were
_HELD_OUT_EVERY = 5
STEPS = 60  # that the report reads


def hour(number: int) -> str:
    """The nth hour of a run."""
    return window_id(_START + timedelta(hours=number))


def run_rows(windows: int, *, reason: str = "no_logprobs", why: str = "objective +0.01") -> RunRows:
    """Each window but the held-out ones is a step; the last but two is rolled back."""
    drawn = random.Random(1)
    hours, rejections, commits, decisions, screens = [], [], [], [], []
    steps: list[RunStep] = []
    for number in range(windows):
        right = 0.5 + 0.4 * number / windows + drawn.uniform(-0.05, 0.05)
        hours.append(_window(number, right))
        rejections += [RunRejections(hour(number), reason, 1 + number % 3)]
        rejections += [RunRejections(hour(number), "late", 2)] * (number % 7 == 0)
        if number % _HELD_OUT_EVERY == 0:
            continue
        step, now = len(commits) + 1, _LATER + timedelta(minutes=number)
        commits.append(RunCommit(step, hour(number), now))
        steps.insert(0, run_step(step, hour(number), now, error=why if step == 1 else None))
        falls = number == windows - 3
        kind = Decision.HOLD if number % 7 == 3 else Decision.PROMOTE
        decisions.append(decision(kind, step - 1, step, now, why=why, value=0.4 + right / 2))
        screens.append(screen(step, now, valid=0.9, right=right))
        if falls:
            decisions.append(
                decision(Decision.ROLLBACK, step, step - 1, now + timedelta(seconds=9), why=why)
            )
    concluded = [RunConclusion(1, hour(windows // 2), "proven", why, "promoted")]
    return RunRows(
        hours,
        rejections,
        commits,
        decisions,
        screens,
        concluded,
        steps=steps[:STEPS],
        steps_left_out=max(0, len(steps) - STEPS),
        checkpoints=[checkpoint(step, len(steps)) for step in range(len(steps), -1, -1)][:100],
        checkpoints_left_out=max(0, len(steps) + 1 - 100),
    )


def checkpoint(step: int, head: int) -> RunCheckpoint:
    """The newest but two is a branch of its own; the newest serves."""
    beside = step == head - 2
    return RunCheckpoint(
        step=step,
        parent=None if step == 0 else step - 2 if step == head - 1 and step > 2 else step - 1,
        serves=step == head,
        value=0.5,
        dead_at=_LATER if beside else None,
        pruned_at=None,
    )


def run_step(step: int, window: str, now: datetime, *, error: str | None = None) -> RunStep:
    """A committed step of one window."""
    return RunStep(
        step=step,
        parent=step - 1,
        state=StepState.COMMITTED,
        method=StepMethod.GRPO,
        backend="cpu",
        windows=[window],
        manifest_hash="0123456789abcdef",
        groups=4,
        trajectories=16,
        gradient_steps=4,
        trainable_tokens=900,
        metrics={"loss/importance_ratio_mean": 1.01, "loss/train": 0.02},
        attempts=1,
        planned_at=now,
        seconds=12.5,
        adapter_hash="fedcba9876543210",
        error=error,
    )


def extremes(text: str = "YES") -> Extremes:
    """Two good answers, and a bad one, which a step has used."""
    return Extremes([closeup(1.0, text), closeup(0.75, text)], [closeup(0.0, text)])


def closeup(reward: float, text: str) -> TrajectoryCloseup:
    """One of four that were asked the same."""
    return TrajectoryCloseup(
        trajectory_id=f"t-{reward}-{text}",
        window=hour(1),
        agent_id=text,
        account="used",
        detail=f"trained, by step 1 of lineage {text}",
        reward=RewardCloseup(reward, 1, "default 1", {"profit": text}, text, 1, [1, 0.75, 0.5, 0]),
        calls=[CallCloseup(text, 1, [PromptMessage("user", text)], f"{text}\n{text}", text)] * 3,
        unreadable=text,
    )


def decision(
    kind: Decision,
    from_step: int,
    to_step: int,
    now: datetime,
    *,
    why: str = "",
    value: float | None = None,
) -> RunDecision:
    """A decision; what it compared with was a little worse."""
    return RunDecision(
        decision=kind,
        from_step=from_step,
        to_step=to_step,
        reason=why,
        actor="test",
        decided_at=now,
        refused=kind is Decision.HOLD,
        value=value,
        serving_value=None if value is None else value - 0.01,
        base_value=None if value is None or to_step > 9 else 0.6,
    )


def screen(step: int, now: datetime, *, valid: float, right: float) -> RunScreen:
    """A screen that has passed."""
    return RunScreen(
        step=step,
        serving_step=step - 1,
        against="serving",
        result="passed",
        ended_at=now,
        valid=valid,
        valid_other=valid - 0.02,
        right=right,
        right_other=right - 0.03,
    )


def _window(number: int, right: float) -> RunWindow:
    held_out = number % _HELD_OUT_EVERY == 0
    sealed = _START + timedelta(hours=number + 1)
    return RunWindow(
        window=hour(number),
        state="held_out" if held_out else "trained",
        reason=None,
        agents=8,
        trajectories=20,
        scored=17,
        reward_mean=0.5,
        reward_std=0.2,
        right_share=right,
        sealed_at=sealed,
        done_at=sealed + timedelta(minutes=90 if number % 10 == 3 else 30),
    )
