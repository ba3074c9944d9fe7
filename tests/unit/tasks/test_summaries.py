"""The words of tasks, for each way in which they end."""

from __future__ import annotations

from typing import Any

import pytest

from babylon_tasks.actions import GateAction, TrainAction
from babylon_tasks.pipeline.results import (
    Discovered,
    GateResult,
    Reconciled,
    Scoring,
    TrainOutcome,
)
from babylon_tasks.states import WindowState
from babylon_tasks.step_records import StepResult
from babylon_tasks.tasks.flower import summaries

WINDOW, NEXT, THIRD = "2026-01-31T09:00", "2026-01-31T10:00", "2026-01-31T11:00"


def test_all_of_it_in_a_line() -> None:
    assert (
        summaries.sentence(WINDOW, "babylon", 4, "committed")
        == "window 2026-01-31T09:00 · lineage babylon · step 4 · committed"
    )
    assert summaries.sentence(None, None, None, "nothing to do") == "nothing to do"


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            ("training", 3, 8, "gradient steps", 1234),
            "training: 3 of 8 gradient steps, 1,234 tokens",
        ),
        (("scoring", 1500, None, "trajectories"), "scoring: 1,500 trajectories"),
        (("judging", 0, 16, "held-out groups"), "judging: 0 of 16 held-out groups"),
    ],
)
def test_progress(given: tuple[Any, ...], words: str) -> None:
    assert summaries.progress(*given) == words


def scoring(state: WindowState, *, claimed: bool = True, **found: Any) -> Scoring:
    return Scoring(window=WINDOW, state=state, claimed=claimed, **found)


@pytest.mark.parametrize(
    ("did", "words"),
    [
        (
            scoring(
                WindowState.SCORED,
                trajectories=14,
                agents=7,
                scored=12,
                rejected={"late": 1, "empty": 1},
                profit_mean=3.5,
                right_share=0.615,
            ),
            "scored 12 of 14 trajectories, 62% of known bets right, mean profit 3.50, "
            "rejected: 1 empty, 1 late",
        ),
        (
            scoring(WindowState.SKIPPED, reason="too_few_agents", trajectories=1, agents=1),
            "skipped: too_few_agents · scored 0 of 1 trajectories",
        ),
        (
            scoring(WindowState.HELD_OUT, trajectories=6, agents=3, scored=6),
            "scored 6 of 6 trajectories · held out for evaluation",
        ),
        (
            scoring(WindowState.SCORED, trajectories=6, agents=3, scored=6, waits_for=2),
            "scored 6 of 6 trajectories · waits for 2 outcomes",
        ),
        (
            scoring(WindowState.SCORING, claimed=False, reason="claimed by another worker"),
            "nothing to do: window is scoring, claimed by another worker",
        ),
        (scoring(WindowState.TRAINED, claimed=False), "nothing to do: window is trained"),
    ],
)
def test_scoring(did: Scoring, words: str) -> None:
    assert summaries.scoring(did) == words


def result(gradient_steps: int, tokens: int) -> StepResult:
    return StepResult(4, gradient_steps, tokens, "new", "old", "uri", "babylon@4", "hash", {})


def skipped(windows: dict[str, str]) -> TrainOutcome:
    """Nothing to train on was found in these windows, each for its reason."""
    reason = "; ".join(f"{window}: {why}" for window, why in windows.items())
    return TrainOutcome(TrainAction.SKIPPED, list(windows), reason=reason, skipped=windows)


PROMOTED = GateResult(GateAction.PROMOTED, 4, 4, "objective 0.5 against 0.4", {})
HELD = GateResult(GateAction.HELD, 4, 3, "objective 0.3 against 0.4", {})
IDLE = GateResult(GateAction.IDLE, 4, 4, "the newest checkpoint serves already", {})


@pytest.mark.parametrize(
    ("did", "gate_result", "words"),
    [
        (
            TrainOutcome(TrainAction.COMMITTED, [WINDOW], 4, result=result(3, 1234)),
            PROMOTED,
            "committed, 3 gradient steps, 1,234 tokens · promoted: objective 0.5 against 0.4",
        ),
        (
            TrainOutcome(TrainAction.ADOPTED, [WINDOW], 4, result=result(1, 99)),
            HELD,
            "adopted, 1 gradient step, 99 tokens · held, step 3 keeps serving: "
            "objective 0.3 against 0.4",
        ),
        (
            skipped({WINDOW: "no_spread"}),
            IDLE,
            "skipped: no_spread",
        ),
        (
            skipped({WINDOW: "no_spread", NEXT: "stale"}),
            None,
            f"skipped: {WINDOW}: no_spread; {NEXT}: stale",
        ),
        (
            TrainOutcome(TrainAction.SKIPPED, [WINDOW], 4, f"window {WINDOW} is trained"),
            None,
            f"nothing to do: window {WINDOW} is trained",
        ),
        (
            TrainOutcome(TrainAction.BUSY, reason="another worker trains lineage babylon"),
            None,
            "waits: another worker trains lineage babylon",
        ),
        (
            TrainOutcome(TrainAction.IDLE, reason="no scored window is due"),
            PROMOTED,
            "nothing to do: no scored window is due · promoted: objective 0.5 against 0.4",
        ),
    ],
)
def test_training(did: TrainOutcome, gate_result: GateResult | None, words: str) -> None:
    assert summaries.training(did, gate_result) == words


def test_upkeep_says_what_it_found_in_a_few_words() -> None:
    assert summaries.discovery(Discovered([], [], [], [], [])) == "nothing to do"
    assert (
        summaries.discovery(Discovered([THIRD], [NEXT], [NEXT], [], ["soon"]))
        == f"opened {THIRD} · sealed {NEXT} · sent to score {NEXT} · ignored, not an hour: soon"
    )
    copied = Discovered([], [], [], [], [], outcomes=1)
    assert summaries.discovery(copied) == "1 outcome copied"
    assert (
        summaries.discovery(Discovered([THIRD], [], [], [], [], outcomes=12))
        == f"opened {THIRD} · 12 outcomes copied"
    )
    assert summaries.reconciliation(Reconciled([], [], 0, [], [])) == "nothing to do"
    anew = Reconciled([], [], 0, [NEXT], [], anew=[NEXT])
    assert summaries.reconciliation(anew) == f"to be scored anew {NEXT} · sent to score {NEXT}"
    assert (
        summaries.reconciliation(Reconciled([WINDOW], [], 2, [WINDOW], [], unevaluated=True))
        == f"released from a dead scorer {WINDOW} · sent to score {WINDOW} · 2 late rows rejected"
        " · sent to evaluate the newest checkpoint"
    )
    assert summaries.reconciliation(Reconciled([], [], 1, [], [])) == "1 late row rejected"
    harm = Reconciled([], [], 0, [], [], concluded=[f"rollback from {WINDOW}"])
    assert summaries.reconciliation(harm) == f"concluded rollback from {WINDOW}"


def test_many_windows_are_counted() -> None:
    windows = [f"2026-01-31T{hour:02}:00" for hour in range(24)]
    assert summaries.named([]) is None
    assert summaries.named(windows[:3]) == ", ".join(windows[:3])
    assert summaries.named(windows) == f"{', '.join(windows[:3])} and 21 more"
