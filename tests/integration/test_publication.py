"""What Babylon's own code reads of trained_models is what serves, in every state.

Its queries, at 7a46248b and today (28f223d6): the model for agents (WandbModelFetcher,
ModelFetcher), what its automation and its training worker deploy (AutomationPipeline,
run_training_worker.py), the model to train on from (ModelSelectionService), the next version
(AutomationPipeline, rl-training.yml).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from factories import insert
from peer import PeerTrainer
from scored_windows import column, hour, scored_window

from babylon_tasks.db.session import Connection, connect
from babylon_tasks.pipeline.evaluate import evaluate
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.serve import serve
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings

LINEAGE = "babylon"
FOR_AGENTS = """
    SELECT coalesce(nullif("storagePath", ''), "modelId") FROM trained_models
    WHERE status IN ('ready', 'deployed') ORDER BY "createdAt" DESC LIMIT 1"""
NEWEST_READY = """
    SELECT coalesce(nullif("storagePath", ''), "modelId") FROM trained_models
    WHERE status = 'ready' ORDER BY "createdAt" DESC LIMIT 1"""
NEXT_VERSIONS = (
    'SELECT version FROM trained_models ORDER BY "createdAt" DESC LIMIT 1',
    """SELECT version FROM trained_models WHERE status IN ('ready', 'deployed')
       ORDER BY "createdAt" DESC LIMIT 1""",
)
TO_TRAIN_ON_FROM = """
    SELECT coalesce(nullif("storagePath", ''), "modelId") FROM trained_models
    WHERE status IN ('ready', 'deployed') AND "benchmarkScore" IS NOT NULL
    ORDER BY "benchmarkScore" DESC LIMIT 1"""
# The automation takes the newest batch and deploys its model, if that is ready.
DEPLOYED_BY_AUTOMATION = """
    UPDATE trained_models SET status = 'deployed', "deployedAt" = now() AT TIME ZONE 'UTC'
    WHERE status = 'ready' AND "trainingBatch" = (
        SELECT id FROM training_batches
        WHERE status = 'completed'
          AND "completedAt" >= now() AT TIME ZONE 'UTC' - interval '24 hours'
        ORDER BY "completedAt" DESC LIMIT 1)
    RETURNING "storagePath" """
DEPLOYED_BY_THE_WORKER = """
    SELECT m."storagePath" FROM training_batches b JOIN trained_models m ON m."trainingBatch" = b.id
    WHERE b.status = 'completed' AND m.status = 'ready' AND m."deployedAt" IS NULL
    ORDER BY b."completedAt" DESC LIMIT 1"""


@pytest.fixture
def settings(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(min_eval_groups=3, promote_tolerance=0.01)


class Loop:
    """A lineage in its life; ``serves`` asks Babylon's queries after each turn."""

    def __init__(self, connection: Connection, settings: Settings) -> None:
        self.connection = connection
        self.settings = settings
        names = "wandb-artifact:///house/babylon/{lineage}:step{step}"
        self.trainer = PeerTrainer(settings.data_dir, names=names)
        self.hours = iter(range(24))

    def held_out(self) -> None:
        for n in range(3):
            scored_window(
                self.connection, f"2026-01-30T{n:02d}:00", state="held_out", model="anyone"
            )

    def commit(self) -> None:
        window = hour(next(self.hours))
        policy = f"wandb-artifact:///house/babylon/babylon:step{self.serving_step()}"
        scored_window(self.connection, window, model=policy)
        outcome = train_window(self.settings, self.trainer, window=window, actor="test")
        assert outcome.action == "committed"

    def serving_step(self) -> int:
        steps = column(self.connection, "SELECT serving_step FROM training.lineages")
        return int(str(steps[0])) if steps else 0

    def evaluate(self, **values: float) -> str:
        self.trainer.values = {int(step[1:]): value for step, value in values.items()}
        return evaluate(self.settings, self.trainer, actor="test").action

    def decide(self, what: str, step: int | None = None) -> None:
        if what == "promote":
            assert step is not None
            act = {"reason": "r", "figures": {}, "actor": "test"}
            assert serving.promote(self.connection, LINEAGE, step, **act)  # type: ignore[arg-type]
        else:
            serving.rollback(self.connection, LINEAGE, reason="r", actor="test", to=step)

    def serves(self, step: int) -> None:
        """Every query of Babylon's finds this checkpoint, or nothing where it asks for more."""
        now = serving.serving(self.connection, LINEAGE)
        assert now.step == step
        assert now.inference_name == f"wandb-artifact:///house/babylon/babylon:step{step}"
        assert column(self.connection, FOR_AGENTS) == [now.inference_name]
        assert column(self.connection, NEWEST_READY) == [now.inference_name]
        assert column(self.connection, TO_TRAIN_ON_FROM) in ([], [now.inference_name])
        assert column(self.connection, DEPLOYED_BY_THE_WORKER) == []
        for query in NEXT_VERSIONS:
            (version,) = column(self.connection, query)
            assert re.fullmatch(r"v1\.0\.\d+", str(version))
        assert column(self.connection, NEXT_VERSIONS[1]) == [f"v1.0.{step}"]

    def statuses(self) -> dict[str, str]:
        rows = self.connection.execute('SELECT "modelId", status FROM trained_models').fetchall()
        return {row[0].removeprefix(f"{LINEAGE}@"): row[1] for row in rows}


@pytest.fixture
def loop(connection: Connection, settings: Settings) -> Iterator[Loop]:
    return Loop(connection, settings)


def theirs(number: int, created: datetime, status: str = "ready") -> dict[str, Any]:
    """A model that Babylon's own trainer wrote."""
    return {
        "id": f"model-{number}",
        "modelId": f"babylon-agent-v1.0.{number}",
        "version": f"v1.0.{number}",
        "baseModel": "unsloth/Qwen3-4B-128K",
        "status": status,
        "storagePath": f"theirs/{number}",
        "benchmarkScore": None,
        "createdAt": created,
        "updatedAt": created,
    }


def clock(connection: Connection) -> datetime:
    (now,) = column(connection, "SELECT now() AT TIME ZONE 'UTC'")
    assert isinstance(now, datetime)
    return now


def test_before_the_first_commit_nothing_is_published(loop: Loop) -> None:
    serve(loop.settings, loop.trainer)
    reconcile(loop.settings, actor="test")
    assert loop.statuses() == {}


def test_a_commit_alone_changes_nothing_for_the_agents(loop: Loop) -> None:
    loop.commit()
    loop.serves(0)
    assert loop.statuses() == {"0": "ready", "1": "training"}


def test_what_is_promoted_is_read_and_what_it_replaces_is_archived(loop: Loop) -> None:
    loop.held_out()
    loop.commit()
    assert loop.evaluate(_0=0.5, _1=0.7) == "promoted"
    loop.serves(1)
    assert loop.statuses() == {"0": "archived", "1": "ready"}
    row = loop.connection.execute(
        'SELECT "benchmarkScore", "evalMetrics" ->> \'candidate\', "deployedAt" IS NOT NULL,'
        ' "trainingBatch", "baseModel" FROM trained_models WHERE "modelId" = \'babylon@1\''
    ).fetchone()
    assert row is not None
    assert row[0] == pytest.approx(70), "Babylon's scores go from 0 to 100"
    assert float(row[1]) == pytest.approx(0.7)
    assert row[2:] == (True, "babylon@1", loop.settings.base_model)


def test_what_is_held_is_never_read_however_often(loop: Loop) -> None:
    loop.held_out()
    for n in range(3):
        loop.commit()
        loop.serves(0)
        assert loop.evaluate(_0=0.5, **{f"_{n + 1}": 0.3}) == "held"
        loop.serves(0)
    assert loop.statuses() == {"0": "ready", "1": "archived", "2": "archived", "3": "archived"}
    loop.commit()
    assert loop.evaluate(_0=0.5, _4=0.9) == "promoted"
    loop.serves(4)


def test_of_several_unevaluated_commits_only_the_newest_is_open(loop: Loop) -> None:
    for _ in range(3):
        loop.commit()
        loop.serves(0)
    assert loop.statuses() == {"0": "ready", "1": "archived", "2": "archived", "3": "training"}


def test_a_rollback_is_read_at_once_and_so_is_the_base_model(loop: Loop) -> None:
    for n in (1, 2, 3):
        loop.commit()
        loop.decide("promote", n)
        loop.serves(n)
    loop.decide("rollback")
    loop.serves(2)
    loop.decide("promote", 3)
    loop.serves(3)
    loop.decide("rollback", 0)
    loop.serves(0)
    assert loop.statuses() == {"0": "ready", "1": "archived", "2": "archived", "3": "archived"}
    loop.commit()
    loop.serves(0)
    archived = column(
        loop.connection, "SELECT \"archivedAt\" FROM trained_models WHERE status = 'ready'"
    )
    assert archived == [None]


def test_babylons_automation_can_only_deploy_what_serves(loop: Loop) -> None:
    loop.commit()
    assert column(loop.connection, DEPLOYED_BY_AUTOMATION) == []
    loop.decide("promote", 1)
    assert len(column(loop.connection, DEPLOYED_BY_AUTOMATION)) == 1
    assert loop.statuses() == {"0": "archived", "1": "deployed"}
    loop.commit()
    loop.serves(1)
    assert column(loop.connection, DEPLOYED_BY_AUTOMATION) == [], "the newest batch is undecided"
    loop.connection.execute("UPDATE trained_models SET status = 'deployed'")  # whatever it does
    loop.decide("promote", 2)
    loop.serves(2)
    assert loop.statuses() == {"0": "archived", "1": "archived", "2": "ready"}
    loop.connection.execute("UPDATE trained_models SET status = 'deployed'")
    reconcile(loop.settings, actor="test")
    loop.serves(2)


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(hours=9)], ids=["now", "another zone"])
@pytest.mark.parametrize("status", ["ready", "deployed"])
def test_a_model_of_babylons_own_trainer_does_not_come_before_ours_for_longer_than_a_minute(
    loop: Loop, status: str, ahead: timedelta
) -> None:
    loop.commit()
    row = theirs(7, clock(loop.connection) + ahead, status)
    insert(loop.connection, "trained_models", [row])
    assert column(loop.connection, FOR_AGENTS) == ["theirs/7"]
    reconcile(loop.settings, actor="test")
    loop.serves(0)
    loop.commit()
    loop.serves(0)
    newer = theirs(8, clock(loop.connection) + 2 * ahead, status)
    insert(loop.connection, "trained_models", [newer])
    loop.decide("promote", 2)
    loop.serves(2)
    kept = loop.connection.execute(
        'SELECT status, "createdAt" FROM trained_models WHERE "modelId" LIKE \'babylon-agent%%\''
        " ORDER BY 1, 2"
    ).fetchall()
    assert [found[0] for found in kept] == [status, status], "Babylon's own rows stay as they are"
    before = column(loop.connection, "SELECT xmin::text FROM trained_models ORDER BY id")
    reconcile(loop.settings, actor="test")
    reconcile(loop.settings, actor="test")
    after = column(loop.connection, "SELECT xmin::text FROM trained_models ORDER BY id")
    assert after == before, "where all is well nothing is written"


def test_the_lineage_that_was_promoted_last_is_the_one_that_is_read(
    loop: Loop, make_settings: Callable[..., Settings], connection: Connection
) -> None:
    loop.commit()
    loop.serves(0)
    other = make_settings(lineage="second")
    scored_window(connection, "2026-01-29T01:00", model="second@0")
    train_window(
        other, PeerTrainer(other.data_dir, "second"), window="2026-01-29T01:00", actor="test"
    )
    assert column(connection, FOR_AGENTS) == column(connection, NEWEST_READY) == ["second@0"]
    for settings in (loop.settings, other):
        reconcile(settings, actor="test")
        assert column(connection, FOR_AGENTS) == column(connection, NEWEST_READY) == ["second@0"]
    loop.commit()
    loop.decide("promote", 2)
    loop.serves(2)


def test_rows_of_0_1_0_are_put_right_without_a_new_decision(loop: Loop) -> None:
    for _ in range(3):
        loop.commit()
    loop.decide("promote", 2)
    loop.connection.execute(
        """
        DELETE FROM trained_models WHERE "modelId" = 'babylon@0';
        UPDATE trained_models SET version = 'v' || split_part("modelId", '@', 2),
            "storagePath" = '/data/babylon/' || "modelId",
            status = CASE "modelId" WHEN 'babylon@2' THEN 'deployed' ELSE 'ready' END,
            "createdAt" = '2026-01-01'::timestamp
                          + split_part("modelId", '@', 2)::int * interval '1 hour'
        """
    )
    reconcile(loop.settings, actor="test")
    loop.serves(2)
    assert loop.statuses() == {"1": "archived", "2": "ready", "3": "training"}


def test_what_was_deleted_comes_back_only_where_it_serves(loop: Loop) -> None:
    for _ in range(2):
        loop.commit()
    loop.decide("promote", 2)
    loop.connection.execute("DELETE FROM trained_models")
    reconcile(loop.settings, actor="test")
    loop.serves(2)
    assert loop.statuses() == {"2": "ready"}


def test_after_concurrent_decisions_babylon_reads_the_last_pointer(loop: Loop) -> None:
    for _ in range(3):
        loop.commit()

    def turn(number: int) -> None:
        if number % 4 == 3:
            reconcile(loop.settings, actor="test")
            return
        with connect(loop.settings) as connection:
            step = number % 4 + (number // 4) % 2
            serving.promote(connection, LINEAGE, step, reason="r", figures={}, actor="test")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(turn, range(40)))
    loop.serves(loop.serving_step())
    assert list(loop.statuses().values()).count("ready") == 1


def test_the_versions_of_batches_are_babylons_kind_too(loop: Loop) -> None:
    loop.commit()
    assert column(loop.connection, 'SELECT "modelVersion" FROM training_batches') == ["v1.0.1"]
