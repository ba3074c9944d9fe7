"""In a world that has turned over what served before is worth more, and learning goes on there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from evaluated_checkpoints import (
    LINEAGE,
    decisions,
    evaluated,
    held_out_windows,
    trained,
)
from peer import PeerTrainer
from scored_windows import column, hour, scored_window
from structlog.testing import capture_logs
from training_steps import work

from babylon_tasks.db import evaluations, gauges, reports, run_report, windows
from babylon_tasks.db.invariants import violations
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import TrainingError
from babylon_tasks.pipeline.compared_groups import held_out_set
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.registry import refusals, serving
from babylon_tasks.registry.refusals import RefusalCounts
from babylon_tasks.settings import Settings
from babylon_tasks.training.base import OnProgress
from babylon_tasks.training.protocol import Evaluated, EvaluateRequest


@pytest.fixture
def turned(connection: Connection, settings: Settings) -> PeerTrainer:
    """Step 2 serves and has become worse than step 1, as are the steps that start from it."""
    trainer = PeerTrainer(settings.data_dir, values={0: 0.5, 1: 0.6, 2: 0.7})
    held_out_windows(connection)
    for n in (1, 2):
        trained(connection, settings, trainer, n)
        assert evaluated(settings, trainer).action == "promoted"
    trainer.values = {0: 0.45, 1: 0.5, 2: 0.2, 3: 0.1, 4: 0.1, 5: 0.6}
    scored_window(connection, "2026-01-30T23:00", state="held_out", model="anyone")
    return trainer


def test_after_two_refusals_in_a_row_what_is_worth_more_today_serves_again(
    connection: Connection, settings: Settings, turned: PeerTrainer
) -> None:
    served = []
    for n in (3, 4):
        trained(connection, settings, turned, n)
        served.append(evaluated(settings, turned).serving)

    assert served == [2, 1]
    assert serving.serving(connection, LINEAGE).step == 1
    assert decisions(connection) == ["promote", "promote", "hold", "hold", "rollback"]
    (reason,) = column(
        connection, "SELECT reason FROM training.promotions WHERE decision = 'rollback'"
    )
    assert "2 steps in a row were refused, and checkpoint 1, which served before" in str(reason)


def test_learning_goes_on_from_there_at_the_full_rate_and_without_the_hours_of_the_world_before(
    connection: Connection, settings: Settings, turned: PeerTrainer
) -> None:
    for n in (3, 4):
        trained(connection, settings, turned, n)
        evaluated(settings, turned)
    scored_window(connection, hour(5))
    train_window(settings, turned, window=hour(5), actor="test")

    last = turned.requests[-1]
    assert last.parent_step == 1
    assert last.learning_rate == turned.requests[1].learning_rate, "the step from 1 before"
    used = "SELECT DISTINCT unnest(windows) FROM training.steps WHERE parent_step = 1"
    assert hour(1) not in column(connection, used)
    assert evaluated(settings, turned).action == "promoted"
    assert violations(connection, settings) == []


def test_what_was_refused_in_favour_of_what_served_counts_neither_for_nor_against_what_comes_back(
    connection: Connection, settings: Settings, turned: PeerTrainer
) -> None:
    trained(connection, settings, turned, 3)
    evaluated(settings, turned)
    serving.refuse(connection, LINEAGE, 3, reason="nearly the same to everything", actor="test")
    trained(connection, settings, turned, 4)
    assert evaluated(settings, turned).serving == 1
    turned.values |= {4: 0.9}  # on the hours of the world before, which it is sure of

    assert refusals.count(connection, LINEAGE, 2) == RefusalCounts(2, 1)
    assert refusals.count(connection, LINEAGE, 1) == RefusalCounts(0, 0)
    scored_window(connection, "2026-01-30T22:00", state="held_out", model="anyone")
    again = evaluated(settings, turned)
    assert (again.action, again.serving) == ("idle", 1)
    assert "was rolled back" in again.reason


def test_as_long_as_what_serves_is_worth_most_it_goes_on(
    connection: Connection, settings: Settings, turned: PeerTrainer
) -> None:
    turned.values |= {0: 0.5, 1: 0.6, 2: 0.7}
    for n in (3, 4):
        trained(connection, settings, turned, n)
        assert evaluated(settings, turned).serving == 2


def earn(connection: Connection, first: int, profits: list[int], scored: int = 16) -> None:
    for n, profit in enumerate(profits, first):
        for key in ("one", "another"):
            scored_window(
                connection, hour(n), key=f"{key}{scored}", state="trained", model="anyone"
            )
        connection.execute(
            "UPDATE training.windows SET reward_mean = 0.5, profit_mean = %s, scored = %s"
            " WHERE window_id = %s",
            (profit, scored, hour(n)),
        )
    connection.execute(
        """UPDATE trajectories SET "usedInTraining" = true WHERE "windowId" BETWEEN %s AND %s""",
        (hour(1), hour(7)),
    )


@pytest.fixture
def fallen(connection: Connection, settings: Settings) -> PeerTrainer:
    """Step 2 serves and earns little for two hours; step 3 is no worse."""
    trainer = PeerTrainer(settings.data_dir, values={0: 0.3, 1: 0.6, 2: 0.7})
    held_out_windows(connection)
    for n in (1, 2):
        trained(connection, settings, trainer, n)
        assert evaluated(settings, trainer).action == "promoted"
    trainer.values = {0: 0.2, 1: 0.5, 2: 0.2, 3: 0.2}
    scored_window(connection, "2026-01-30T23:00", state="held_out", model="anyone")
    earn(connection, 1, [700, 690, 710, 700, 720, 200, 210])
    return trainer


def test_where_agents_earn_less_than_they_did_it_is_looked_at_though_no_step_was_refused(
    connection: Connection, settings: Settings, fallen: PeerTrainer
) -> None:
    trained(connection, settings, fallen, 8)

    result = evaluated(settings, fallen)

    assert (result.action, result.serving) == ("promoted", 1)
    assert decisions(connection) == ["promote", "promote", "promote", "rollback"]
    (reason,) = column(
        connection, "SELECT reason FROM training.promotions WHERE decision = 'rollback'"
    )
    assert (
        f"an agent has earned 205.00 an hour since {hour(6)}, 704.00 before, and checkpoint 1"
        in str(reason)
    )


@pytest.mark.usefixtures("fallen")
def test_a_checkpoint_is_reported_with_its_value_on_held_out_hours_alone(
    connection: Connection,
) -> None:
    for step in (1, 2):
        evaluations.store(
            connection,
            LINEAGE,
            step,
            "since",
            groups=[(hour(6), "one16")],
            values=(9.0,),
            coverage=(1.0,),
            entropy=(0.5,),
            says=({},),
            contested=(True,),
        )

    found = [one.value for one in reports.models(connection, LINEAGE)]
    found += [one.value for one in run_report.read(connection, LINEAGE, since=None).checkpoints]
    found += [one.value for one in gauges.read(connection, LINEAGE, 60).evaluations.values()]
    found += [one.value for one in reports.history(connection, hour(1)).evaluations]
    pairs = run_report.paired_values(connection, LINEAGE, now=2, before=1)

    assert {0.6, 0.7} <= {round(value or 0, 9) for value in found}
    assert 9 not in found
    assert pairs is not None
    assert (set(pairs.now), set(pairs.before)) == ({0.7}, {0.6})


def test_what_was_earned_before_it_came_back_counts_no_more(
    connection: Connection, settings: Settings, fallen: PeerTrainer
) -> None:
    trained(connection, settings, fallen, 8)
    evaluated(settings, fallen)
    fallen.values |= {0: 0.9, 4: 0.5}
    trained(connection, settings, fallen, 9)

    assert evaluated(settings, fallen).serving == 4


def test_it_is_compared_on_hours_since_then_once_they_have_enough_groups(
    connection: Connection, settings: Settings, fallen: PeerTrainer
) -> None:
    trained(connection, settings, fallen, 8)
    evaluated(settings, fallen)

    def hours() -> set[str]:
        return {one.window_id for one in held_out_set(connection, settings, actor="test")}

    for n in range(5):
        scored_window(connection, hour(9), key=f"q{n}", state="held_out", model="anyone")
    before = hours()
    scored_window(connection, hour(9), key="q5", state="held_out", model="anyone")

    assert len(before) > 1
    assert hours() == {hour(9)}


@pytest.mark.parametrize("groups", [3, 5], ids=["nothing is better", "of too few groups"])
def test_where_nothing_is_known_to_be_better_the_log_says_so(
    connection: Connection,
    fallen: PeerTrainer,
    make_settings: Callable[..., Settings],
    groups: int,
) -> None:
    fallen.values |= {1: 0.5 if groups == 5 else 0.2}
    made = make_settings(min_eval_groups=groups, promote_tolerance=0.01)
    scored_window(connection, "2026-01-30T22:00", state="held_out", model="anyone")
    trained(connection, made, fallen, 8)

    with capture_logs() as logged:
        result = evaluated(made, fallen)

    assert (result.action, result.serving) == ("promoted", 3)
    (said,) = [one for one in logged if one["event"] == "profits.dropped"]
    assert said["groups"] == 4
    assert f"205.00 an hour since {hour(6)}" in said["why"]


def test_as_long_as_nothing_is_better_it_is_compared_again_only_on_more_groups(
    connection: Connection, fallen: PeerTrainer, make_settings: Callable[..., Settings]
) -> None:
    fallen.values |= {1: 0.2, 4: 0.2, 5: 0.2}
    made = make_settings(min_eval_groups=3, promote_tolerance=0.01)
    compared = []
    for n in (8, 9, 11):
        if n == 11:
            earn(connection, 10, [200])
        trained(connection, made, fallen, n)
        before = len(fallen.evaluated)
        evaluated(made, fallen)
        compared.append(len(fallen.evaluated) - before)

    assert compared == [2, 1, 2], "the gate's own, and where it was compared another one"


@pytest.mark.parametrize("scored", [16, 7], ids=["nothing has fallen", "of too few trajectories"])
def test_otherwise_what_serves_goes_on(
    connection: Connection, settings: Settings, fallen: PeerTrainer, scored: int
) -> None:
    steady = [700, 690, 710, 700, 720, 700, 710]
    fell = [700, 690, 710, 700, 720, 200, 210]
    earn(connection, 1, steady if scored == 16 else fell, scored)
    trained(connection, settings, fallen, 8)

    assert evaluated(settings, fallen).serving == 3


class FailsOnce(PeerTrainer):
    """Fails where only checkpoints are evaluated that served before."""

    failed = False

    def evaluate(self, request: EvaluateRequest, on_progress: OnProgress) -> Evaluated:
        if not self.failed and max(request.steps) < 2:
            self.failed = True
            raise TrainingError("the disk is full")
        return super().evaluate(request, on_progress)


@pytest.mark.parametrize("by", ["another call", "the message of the next hour"])
def test_what_broke_off_is_done_before_the_next_step(
    connection: Connection, settings: Settings, turned: PeerTrainer, by: str
) -> None:
    """After the second refusal it is due, after the third it is not."""
    trainer = FailsOnce(settings.data_dir, values=turned.values)
    for n in (3, 4):
        trained(connection, settings, trainer, n)
        assert evaluated(settings, trainer).serving == 2
    assert trainer.failed

    if by == "another call":
        assert evaluated(settings, trainer).serving == 1
    else:
        scored_window(connection, hour(5))
        work(settings, trainer, hour(5))

    assert decisions(connection)[:5] == ["promote", "promote", "hold", "hold", "rollback"]
    assert [one.parent_step for one in trainer.requests[2:]] == [1] * (by != "another call")


def test_once_all_is_on_record_another_call_asks_the_trainer_nothing(
    connection: Connection, settings: Settings, turned: PeerTrainer
) -> None:
    turned.values |= {0: 0.5, 1: 0.6, 2: 0.7}
    for n in (3, 4):
        trained(connection, settings, turned, n)
        evaluated(settings, turned)
    asked = (len(turned.evaluated), len(turned.checked))

    with capture_logs() as logged:
        again = evaluated(settings, turned)

    assert (again.action, again.serving) == ("idle", 2)
    assert ((len(turned.evaluated), len(turned.checked)), logged) == (asked, [])


@pytest.mark.parametrize("next_value", [0.2, 0.1], ids=["promoted", "refused"])
def test_a_worker_that_is_killed_before_it_goes_back_leaves_that_to_the_next_evaluation(
    connection: Connection,
    settings: Settings,
    fallen: PeerTrainer,
    monkeypatch: pytest.MonkeyPatch,
    next_value: float,
) -> None:
    def die(*_: object, **__: object) -> None:
        raise SystemExit

    trained(connection, settings, fallen, 8)
    with monkeypatch.context() as patched:
        patched.setattr(serving, "go_back", die)
        with pytest.raises(SystemExit):
            evaluated(settings, fallen)
    assert serving.serving(connection, LINEAGE).step == 3
    fallen.values |= {4: next_value}
    trained(connection, settings, fallen, 9)

    assert evaluated(settings, fallen).serving == 1


def test_that_agents_earn_less_is_reported_once_a_decision(
    connection: Connection, settings: Settings, fallen: PeerTrainer
) -> None:
    fallen.values |= {1: 0.2, 3: 0.1}
    trained(connection, settings, fallen, 8)

    with capture_logs() as logged:
        actions = [evaluated(settings, fallen).action for _ in range(3)]

    assert actions == ["held", "idle", "idle"]
    assert [one["event"] for one in logged].count("profits.dropped") == 1


def test_an_hour_scored_anew_counts_only_where_enough_was_not_used_before(
    connection: Connection, settings: Settings, fallen: PeerTrainer
) -> None:
    """Its mean profit is that of the others alone."""
    connection.execute(
        "UPDATE training.windows SET reward_version = 2 WHERE window_id = %s", (hour(7),)
    )
    anew = "UPDATE training.scores SET reward_version = 2 WHERE trajectory_id IN (SELECT"
    some = f"{anew} trajectory_id FROM training.scores WHERE window_id = %s LIMIT %s)"

    connection.execute(some, (hour(7), 7))  # type: ignore[arg-type]
    assert hour(7) not in windows.earned(connection, LINEAGE, newest=32, least=8)
    connection.execute(some, (hour(7), 8))  # type: ignore[arg-type]
    assert windows.earned(connection, LINEAGE, newest=32, least=8)[hour(7)] == 210
