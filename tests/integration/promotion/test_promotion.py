"""Evaluation and promotion: the better checkpoint serves, and its figures are stored."""

from __future__ import annotations

import pytest
from evaluated_checkpoints import LINEAGE, decisions, evaluated, held_out_windows, statuses, trained
from peer import PeerTrainer
from scored_windows import column

from babylon_tasks.db import promotions
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import CannotEvaluate, CheckpointNotFound, TrainerDied
from babylon_tasks.pipeline.evaluate import evaluate
from babylon_tasks.pipeline.serve import serve
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings
from babylon_tasks.training.base import OnProgress
from babylon_tasks.training.protocol import Evaluated, EvaluateRequest, RequestProgress


def test_a_better_checkpoint_is_promoted_with_its_figures(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    held_out_windows(connection)
    trained(connection, settings, trainer, 1)

    found = evaluated(settings, trainer)

    assert (found.action, found.serving) == ("promoted", 1)
    assert found.figures["difference"] == pytest.approx(0.2)
    now = serving.serving(connection, LINEAGE)
    assert (now.step, now.inference_name) == (1, "babylon@1")
    assert now.base_url == "http://127.0.0.1:8100/v1"
    assert decisions(connection) == ["promote"]
    row = promotions.latest(connection, LINEAGE)
    assert row is not None
    assert (row.decision, row.from_step, row.to_step, row.actor) == ("promote", 0, 1, "test")
    model = connection.execute(
        'SELECT status, "deployedAt" IS NOT NULL, "benchmarkScore" FROM trained_models'
        " WHERE \"modelId\" = 'babylon@1'"
    ).fetchone()
    assert model is not None
    assert model[:2] == ("ready", True)
    assert model[2] == pytest.approx(70)


def test_an_answer_that_lacks_a_checkpoint_is_no_evaluation_and_nothing_of_it_is_stored(
    connection: Connection, settings: Settings
) -> None:
    class Forgetful(PeerTrainer):
        def evaluate(self, request: EvaluateRequest, on_progress: OnProgress) -> Evaluated:
            return Evaluated(super().evaluate(request, on_progress).steps[1:])

    trainer = Forgetful(settings.data_dir)
    held_out_windows(connection)
    trained(connection, settings, trainer, 1)

    found = evaluated(settings, trainer)

    assert found.action == "held"
    assert "no evaluation: the trainer was asked to evaluate steps [0, 1]" in str(found.reason)
    assert column(connection, "SELECT step FROM training.evaluations") == []


def test_an_evaluation_reports_its_progress(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    held_out_windows(connection)
    trained(connection, settings, trainer, 1)
    seen: list[RequestProgress] = []

    evaluate(settings, trainer, actor="test", on_progress=seen.append)

    assert seen


def test_a_collapse_is_held_and_does_not_reach_the_agents(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    held_out_windows(connection)
    for n in (1, 2):
        trained(connection, settings, trainer, n)
        last = evaluated(settings, trainer)

    assert (last.action, last.candidate, last.serving) == ("held", 2, 1)
    assert serving.serving(connection, LINEAGE).step == 1
    assert statuses(connection) == ["archived", "ready", "archived"]
    assert decisions(connection) == ["promote", "hold"]


def test_a_checkpoint_of_equal_value_that_has_lost_its_diversity_is_held(
    connection: Connection, settings: Settings
) -> None:
    trainer = PeerTrainer(settings.data_dir, entropy={0: 0.6, 1: 0.0})
    held_out_windows(connection)
    trained(connection, settings, trainer, 1)

    found = evaluated(settings, trainer)

    assert (found.action, found.serving) == ("held", 0)
    assert found.figures["entropy"] == pytest.approx(
        {"candidate": 0.0, "serving": 0.6, "weight": 0.1}
    )
    assert found.figures["coverage"] == pytest.approx({"candidate": 0.9, "serving": 0.9})
    assert found.figures["objective"] == pytest.approx({"candidate": 0.5, "serving": 0.56})


def test_near_constant_answers_are_refused_as_harm_and_are_on_record(
    connection: Connection, settings: Settings
) -> None:
    """However much better a constant is than what served: nothing would be learned after it."""
    says = {0: {"rise": 0.2, "fall": 0.1}, 1: {"rise": 0.02, "fall": 0.97}}
    trainer = PeerTrainer(settings.data_dir, values={0: 0.3, 1: 0.5}, says=says)
    held_out_windows(connection, 8)
    trained(connection, settings, trainer, 1)

    found = evaluated(settings, trainer)

    assert (found.action, found.figures["refused"]) == ("held", "harm")
    assert "97% of what it would say comes to fall, of what serves 20% to rise" in str(found.reason)
    answers = found.figures["answers"][""]
    assert answers["candidate"]["share"] == pytest.approx(0.97)
    assert set(answers) == {"candidate", "serving", "sampled", "best"}


@pytest.mark.parametrize("branches", [True, False])
def test_after_a_refusal_the_next_step_starts_from_what_serves(
    connection: Connection, settings: Settings, branches: bool
) -> None:
    trainer = PeerTrainer(settings.data_dir, values={1: 0.7, 2: 0.4, 3: 0.9}, branches=branches)
    held_out_windows(connection)
    for n in (1, 2, 3):
        trained(connection, settings, trainer, n)
        last = evaluated(settings, trainer)

    assert [request.parent_step for request in trainer.requests] == [0, 1, 1]
    assert [request.base_step for request in trainer.requests] == [0, 1, 2]
    assert (last.action, last.serving) == ("promoted", 3)


def test_without_enough_held_out_groups_nothing_is_evaluated_or_promoted(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    held_out_windows(connection, 2)
    trained(connection, settings, trainer, 1)

    found = evaluated(settings, trainer)

    assert (found.action, found.reason) == ("held", "2 held-out groups of at least 3")
    assert trainer.evaluated == []


def test_a_backend_that_cannot_evaluate_holds_the_checkpoint_but_a_dead_one_is_an_error(
    connection: Connection,
    settings: Settings,
    trainer: PeerTrainer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held_out_windows(connection)
    trained(connection, settings, trainer, 1)

    def refuse(*_: object) -> None:
        raise CannotEvaluate("this backend gives no log-probabilities")

    def die(*_: object) -> None:
        raise TrainerDied("gone")

    monkeypatch.setattr(trainer, "evaluate", die)
    with pytest.raises(TrainerDied):
        evaluated(settings, trainer)
    assert list((settings.data_dir / LINEAGE / "evaluations").iterdir()) == []
    monkeypatch.setattr(trainer, "evaluate", refuse)
    assert evaluated(settings, trainer).reason == (
        "no evaluation: this backend gives no log-probabilities"
    )


def test_a_promotion_that_was_overtaken_does_nothing(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    for n in (1, 2):
        trained(connection, settings, trainer, n)
    serving.promote(connection, LINEAGE, 2, reason="manual", figures={}, actor="operator")

    assert not serving.promote(
        connection, LINEAGE, 1, reason="late", figures={}, actor="gate", instead_of=0
    )
    assert serving.serving(connection, LINEAGE).step == 2


@pytest.mark.parametrize("step", [2, 0])
def test_a_refusal_that_was_overtaken_is_not_recorded(
    connection: Connection, settings: Settings, step: int
) -> None:
    """Step 2 is worse than 1, which served when its evaluation began."""

    class Overtaken(PeerTrainer):
        def evaluate(self, request: EvaluateRequest, on_progress: OnProgress) -> Evaluated:
            serving.promote(connection, LINEAGE, step, reason="r", figures={}, actor="operator")
            return super().evaluate(request, on_progress)

    trainer = Overtaken(settings.data_dir, values={1: 0.7, 2: 0.4})
    held_out_windows(connection)
    for n in (1, 2):
        trained(connection, settings, trainer, n)
        serving.promote(connection, LINEAGE, 1, reason="r", figures={}, actor="operator")

    found = evaluated(settings, trainer)

    assert found.action == "idle"
    assert "another checkpoint than 1 serves by now" in str(found.reason)
    assert decisions(connection) == ["promote", "promote"]
    assert serving.serving(connection, LINEAGE).step == step
    assert len(trainer.evaluated) == 1  # nor is looked back from what served


def test_agents_find_the_base_model_before_anything_was_trained(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    with pytest.raises(CheckpointNotFound, match="does not exist yet"):
        serving.serving(connection, LINEAGE)

    announced = serve(settings, trainer)

    assert announced == serving.serving(connection, LINEAGE)
    assert (announced.step, announced.inference_name) == (0, "babylon@0")
