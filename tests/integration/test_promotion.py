"""Evaluation and promotion: the better checkpoint serves, and its figures are stored."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from factories import WINDOW, exact_call
from peer import PeerTrainer
from scored_windows import column, hour, scored_window

from babylon_tasks.db import promotions
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import CannotEvaluate, CheckpointNotFound, TrainerDied
from babylon_tasks.pipeline.evaluate import evaluate, held_out_set
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.results import GateResult
from babylon_tasks.pipeline.serve import serve
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings
from babylon_tasks.training.base import OnProgress
from babylon_tasks.training.protocol import Evaluated, EvaluateRequest, RequestProgress

LINEAGE = "babylon"


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(min_eval_groups=3, max_eval_groups=3, promote_tolerance=0.01)


@pytest.fixture
def trainer(settings: Settings) -> PeerTrainer:
    return PeerTrainer(settings.data_dir, values={0: 0.5, 1: 0.7, 2: 0.4})


def held_out_windows(connection: Connection, number: int = 3) -> None:
    for n in range(number):
        scored_window(connection, f"2026-01-30T{n:02d}:00", state="held_out", model="anyone")


def trained(connection: Connection, settings: Settings, trainer: PeerTrainer, n: int) -> None:
    scored_window(connection, hour(n))
    outcome = train_window(settings, trainer, window=hour(n), actor="test")
    assert outcome.action == "committed"


def evaluated(settings: Settings, trainer: PeerTrainer) -> GateResult:
    return evaluate(settings, trainer, actor="test")


def statuses(connection: Connection) -> list[object]:
    return column(connection, 'SELECT status FROM trained_models ORDER BY "modelId"')


def decisions(connection: Connection) -> list[object]:
    return column(connection, "SELECT decision FROM training.promotions ORDER BY id")


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


@pytest.mark.parametrize(("branches", "parents"), [(True, [0, 1, 1]), (False, [0, 1, 2])])
def test_after_a_hold_the_next_step_starts_from_what_serves_where_the_backend_can_branch(
    connection: Connection, settings: Settings, branches: bool, parents: list[int]
) -> None:
    trainer = PeerTrainer(settings.data_dir, values={1: 0.7, 2: 0.4, 3: 0.9}, branches=branches)
    held_out_windows(connection)
    for n in (1, 2, 3):
        trained(connection, settings, trainer, n)
        last = evaluated(settings, trainer)

    assert [request.parent_step for request in trainer.requests] == parents
    assert [request.base_step for request in trainer.requests] == [0, 1, 2]
    assert (last.action, last.serving) == ("promoted", 3)


def test_an_unevaluated_checkpoint_is_found(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    held_out_windows(connection)
    trained(connection, settings, trainer, 1)
    assert not reconcile(settings, actor="test").unevaluated
    connection.execute("UPDATE training.checkpoints SET created_at = now() - interval '1 hour'")

    assert reconcile(settings, actor="test").unevaluated
    evaluated(settings, trainer)
    assert not reconcile(settings, actor="test").unevaluated


def test_a_checkpoint_is_evaluated_once_per_set_and_held_once(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    held_out_windows(connection)
    for n in (1, 2):
        trained(connection, settings, trainer, n)
        evaluated(settings, trainer)

    assert evaluated(settings, trainer).action == "idle"
    assert trainer.evaluated == [(0, 1), (2,)]
    assert len(decisions(connection)) == 2


def test_a_checkpoint_is_evaluated_where_the_one_before_it_was_held_on_the_same_set(
    connection: Connection, settings: Settings
) -> None:
    trainer = PeerTrainer(settings.data_dir, values={0: 0.5, 1: 0.4, 2: 0.7})
    held_out_windows(connection)
    for n, action in ((1, "held"), (2, "promoted")):
        trained(connection, settings, trainer, n)
        assert evaluated(settings, trainer).action == action
    assert serving.serving(connection, LINEAGE).step == 2


def test_a_checkpoint_that_was_held_is_evaluated_again_on_a_new_set(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(min_eval_groups=3, max_eval_groups=9)
    trainer = PeerTrainer(settings.data_dir, values={0: 0.5, 1: 0.4})
    held_out_windows(connection)
    trained(connection, settings, trainer, 1)
    assert evaluated(settings, trainer).action == "held"
    assert evaluated(settings, trainer).action == "idle"

    held_out_windows(connection, 4)
    trainer.values[1] = 0.7

    assert evaluated(settings, trainer).action == "promoted"
    assert trainer.evaluated == [(0, 1), (0, 1)]
    assert serving.serving(connection, LINEAGE).step == 1


def test_a_checkpoint_that_was_held_is_evaluated_again_beside_another_that_serves(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    held_out_windows(connection)
    for n in (1, 2):
        trained(connection, settings, trainer, n)
        last = evaluated(settings, trainer)
    assert last.action == "held"

    serving.rollback(connection, LINEAGE, reason="agents complain", actor="operator")
    again = evaluated(settings, trainer)

    assert (again.action, again.candidate, again.serving) == ("held", 2, 0)
    assert "of the best known checkpoint 1" in again.reason


def test_on_a_new_set_the_former_best_is_evaluated_too(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(min_eval_groups=3, max_eval_groups=9)
    trainer = PeerTrainer(settings.data_dir, values={0: 0.5, 1: 0.7, 2: 0.695, 3: 0.69})
    held_out_windows(connection)
    for n in (1, 2):
        trained(connection, settings, trainer, n)
        assert evaluated(settings, trainer).action == "promoted"
    held_out_windows(connection, 4)
    trained(connection, settings, trainer, 3)

    evaluated(settings, trainer)

    assert trainer.evaluated[-1] == (1, 2, 3)


def test_without_enough_held_out_groups_nothing_is_evaluated_or_promoted(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    held_out_windows(connection, 2)
    trained(connection, settings, trainer, 1)

    found = evaluated(settings, trainer)

    assert (found.action, found.reason) == ("held", "2 held-out groups of at least 3")
    assert trainer.evaluated == []


def test_the_operator_may_promote_without_evaluation(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(promote_without_evaluation=True)
    trainer = PeerTrainer(settings.data_dir)
    trained(connection, settings, trainer, 1)

    assert evaluated(settings, trainer).action == "promoted"
    last = promotions.latest(connection, LINEAGE)
    assert last is not None
    assert "BABYLON_PROMOTE_WITHOUT_EVALUATION" in last.reason


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
    monkeypatch.setattr(trainer, "evaluate", refuse)
    assert evaluated(settings, trainer).reason == (
        "no evaluation: this backend gives no log-probabilities"
    )


def test_held_out_groups_without_spread_are_left_out(
    connection: Connection, settings: Settings
) -> None:
    held_out_windows(connection, 2)
    scored_window(connection, WINDOW, (0.5, 0.5), state="held_out")
    scored_window(connection, WINDOW, (0.0, 1.0), key="m-1", state="held_out")

    groups = held_out_set(connection, settings, actor="test")

    assert len(groups) == 3
    assert (WINDOW, "") not in {(group.window_id, group.key) for group in groups}


def test_calls_whose_prompt_is_not_all_text_are_not_evaluated(
    connection: Connection, settings: Settings
) -> None:
    """The model that is evaluated would be shown another prompt than the one that was answered."""
    read, seen = exact_call("YES"), exact_call("YES", carries="images")
    scored_window(connection, state="held_out", calls=[seen, read])
    scored_window(connection, state="held_out", calls=[seen], key="pictures")

    (group,) = held_out_set(connection, settings, actor="test")

    assert {(len(one.calls), one.places) for one in group.members} == {(1, (1,))}


def test_a_rollback_restores_what_served_before_and_is_not_undone_by_the_gate(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    held_out_windows(connection)
    trained(connection, settings, trainer, 1)
    evaluated(settings, trainer)

    back = serving.rollback(connection, LINEAGE, reason="agents complain", actor="operator")

    assert back == 0
    assert serving.serving(connection, LINEAGE).inference_name == "babylon@0"
    assert statuses(connection) == ["ready", "archived"]
    assert evaluated(settings, trainer).action == "idle"
    assert serving.serving(connection, LINEAGE).step == 0


def test_a_rollback_goes_back_to_what_the_newest_promotion_replaced(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    """Checkpoint 2 came after 1 at first, and after 0 when it was promoted again manually."""
    for n in (1, 2):
        trained(connection, settings, trainer, n)
    for step in (1, 2):
        serving.promote(connection, LINEAGE, step, reason="r", figures={}, actor="operator")
    serving.rollback(connection, LINEAGE, reason="r", actor="operator", to=0)
    serving.promote(connection, LINEAGE, 2, reason="r", figures={}, actor="operator")

    assert serving.rollback(connection, LINEAGE, reason="r", actor="operator") == 0


@pytest.mark.parametrize("clock", ["steady", "set back"])
def test_a_checkpoint_that_was_rolled_back_is_not_sent_to_evaluation(
    connection: Connection, settings: Settings, trainer: PeerTrainer, clock: str
) -> None:
    held_out_windows(connection)
    trained(connection, settings, trainer, 1)
    evaluated(settings, trainer)
    if clock == "set back":  # between the commit and the promotion
        connection.execute(
            "UPDATE training.promotions SET decided_at = decided_at - interval '1 day'"
        )
        connection.execute(
            "UPDATE training.checkpoints SET created_at = created_at - interval '1 hour'"
        )
    else:
        connection.execute(
            "UPDATE training.checkpoints SET created_at = created_at - interval '1 day'"
        )

    serving.rollback(connection, LINEAGE, reason="agents complain", actor="operator")

    assert not reconcile(settings, actor="test").unevaluated


def test_a_rollback_between_two_checkpoints_swaps_their_marks(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    for n in (1, 2):
        trained(connection, settings, trainer, n)
        serving.promote(connection, LINEAGE, n, reason="manual", figures={}, actor="operator")
    assert statuses(connection) == ["archived", "archived", "ready"]

    serving.rollback(connection, LINEAGE, reason="worse", actor="operator")

    assert statuses(connection) == ["archived", "ready", "archived"]
    cleared = column(connection, "SELECT \"archivedAt\" FROM trained_models WHERE status = 'ready'")
    assert cleared == [None]


def test_only_committed_checkpoints_can_serve(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    serve(settings, trainer)

    with pytest.raises(CheckpointNotFound, match="babylon@7 is not a committed checkpoint"):
        serving.promote(connection, LINEAGE, 7, reason="x", figures={}, actor="operator")
    with pytest.raises(CheckpointNotFound, match="nothing to roll back to"):
        serving.rollback(connection, LINEAGE, reason="x", actor="operator")
    assert decisions(connection) == []


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


def test_agents_find_the_base_model_before_anything_was_trained(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    with pytest.raises(CheckpointNotFound, match="does not exist yet"):
        serving.serving(connection, LINEAGE)

    announced = serve(settings, trainer)

    assert announced == serving.serving(connection, LINEAGE)
    assert (announced.step, announced.inference_name) == (0, "babylon@0")
