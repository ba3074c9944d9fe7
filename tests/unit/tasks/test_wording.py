"""What tasks say of themselves: window, lineage, step, progress and outcome, in plain words."""

from __future__ import annotations

from babylon_tasks.pipeline.discover import Discovered
from babylon_tasks.pipeline.judge import Judgement
from babylon_tasks.pipeline.reconcile import Reconciled
from babylon_tasks.pipeline.score import Scoring
from babylon_tasks.pipeline.train import TrainOutcome
from babylon_tasks.states import WindowState
from babylon_tasks.tasks import wording
from babylon_tasks.training.protocol import Progress

W = "2026-01-31T09:00"


def test_scoring_tells_its_progress() -> None:
    assert wording.scoring(W, 1500, 20_000) == f"{W} · scoring, 1,500 of 20,000"
    assert wording.scoring(W, 1500, None) == f"{W} · scoring, 1,500"


def test_a_score_tells_how_many_what_reward_and_what_was_refused() -> None:
    found = Scoring(
        W,
        WindowState.SCORED,
        claimed=True,
        trajectories=9,
        agents=5,
        scored=8,
        rejected={"malformed_json": 1},
        reward_mean=0.434,
    )
    assert wording.scored(found) == (
        f"{W} · scored, 8 of 9 trajectories of 5 agents, mean reward 0.43, "
        "rejected 1 malformed_json"
    )


def test_a_window_that_is_not_trained_on_says_why() -> None:
    skipped = Scoring(W, WindowState.SKIPPED, claimed=True, reason="too_few_agents", agents=1)
    assert wording.scored(skipped).startswith(f"{W} · skipped (too_few_agents)")
    left = Scoring(W, WindowState.SCORING, claimed=False, reason="held by another worker")
    assert wording.scored(left) == f"{W} · left alone, it is scoring: held by another worker"


def test_training_tells_its_step_and_how_far_it_is() -> None:
    assert (
        wording.training(W, "babylon", 4, Progress(3, 8, loss=0.25))
        == f"{W} · babylon step 4 · training, 3 of 8, loss 0.250"
    )
    assert "what waits · babylon" in wording.training(None, "babylon", 4, Progress(0, 8))


def test_a_step_tells_what_it_learned_from_and_what_serves_after_it() -> None:
    outcome = TrainOutcome("committed", [W], 4, gradient_steps=3, trainable_tokens=1234)
    held = Judgement("held", 4, 2, "worth 0.1 less than step 2", {})
    assert wording.trained("babylon", outcome, held) == (
        f"{W} · babylon step 4 · committed, 3 gradient steps over 1,234 tokens · "
        "step 4 held: worth 0.1 less than step 2; step 2 serves"
    )


def test_a_call_that_trains_nothing_says_why() -> None:
    idle = Judgement("idle", 4, 4, "the newest checkpoint serves already", {})
    skipped = TrainOutcome("skipped", [W], None, f"{W}: no_spread")
    assert wording.trained("babylon", skipped, idle) == f"{W} · babylon · skipped: {W}: no_spread"
    busy = TrainOutcome("busy", reason="another worker trains lineage babylon")
    assert wording.trained("babylon", busy, None) == (
        "babylon · busy: another worker trains lineage babylon"
    )


def test_upkeep_names_some_windows_and_counts_the_rest() -> None:
    many = [f"2026-01-31T0{hour}:00" for hour in range(5)]
    found = Discovered(many, [W], [W], [], ["bad"])
    assert wording.discovered(found) == (
        f"opened {', '.join(many[:3])} and 2 more, sealed {W}, sent to score {W}, never read bad"
    )
    assert wording.discovered(Discovered([], [], [], [], [])) == "nothing to do"
    mended = Reconciled([W], [], 3, [], [], unjudged=True)
    assert wording.reconciled(mended) == (
        f"released {W}, 3 rows came late, the newest checkpoint is sent to be judged"
    )
    assert wording.reconciled(Reconciled([], [], 0, [], [])) == "nothing to do"
