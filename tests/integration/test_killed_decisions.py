"""A process that is killed within a decision leaves none, and the next one takes it, once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from compared_hours import (
    EXTERNAL,
    PARAMETERS,
    RAMP,
    assert_replayed,
    begun,
    branch,
    compared_hour,
    lineage,
    served_from,
)
from endpoint import until
from evaluated_checkpoints import trained
from msgspec.structs import replace
from peer import PeerTrainer
from scored_windows import column, hour, scored_window
from screened import HOURS, Policies, knows, questions

from babylon_tasks.db import comparisons
from babylon_tasks.db.comparisons import Comparison
from babylon_tasks.db.invariants import violations
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.compare import compare
from babylon_tasks.pipeline.decide_head import decide_head
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings
from babylon_tasks.training import checkpoints

pytestmark = pytest.mark.contract("today")
MakeSettings = Callable[..., Settings]
COMPARES = """
from babylon_tasks.db.session import session
from babylon_tasks.pipeline.compare import compare
from babylon_tasks.settings import load_settings
with session(load_settings()) as connection:
    compare(connection, load_settings())
"""
DECIDES = """
import sys
from peer import PeerTrainer
from babylon_tasks.pipeline.decide_head import decide_head
from babylon_tasks.settings import load_settings
trainer = PeerTrainer(load_settings().data_dir)
trainer.url = sys.argv[1]
decide_head(load_settings(), trainer, actor="killed")
"""
TRAINS = """
from peer import PeerTrainer
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import load_settings
trainer = PeerTrainer(load_settings().data_dir, branches=False)
train_window(load_settings(), trainer, window=None, actor="killed")
"""
CONSISTENT = {
    "serving": "SELECT serving_step FROM training.lineages",
    "dead": "SELECT step FROM training.checkpoints WHERE dead_at IS NOT NULL ORDER BY step",
    "decisions": "SELECT (decision, from_step, to_step)::text FROM training.promotions"
    " WHERE actor <> 'operator' ORDER BY id",
    "arms": "SELECT (control_share, control_step, examinee_share, examinee_step)::text"
    " FROM training.arms ORDER BY id",
    "concluded": "SELECT detail ->> 'conclusion' FROM training.events"
    " WHERE kind = 'concluded' AND detail ->> 'conclusion' <> 'keep'",
}


def state(connection: Connection) -> dict[str, list[object]]:
    return {name: column(connection, query) for name, query in CONSISTENT.items()}


@contextmanager
def stopped_at(connection: Connection, table: str, when: str) -> Iterator[None]:
    """Whoever comes to a table in this way waits there for us."""
    connection.execute("SELECT pg_advisory_lock(12)")
    connection.execute(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN PERFORM pg_advisory_xact_lock(12); RETURN NEW; END'"
    )
    trigger = f"CREATE TRIGGER wait BEFORE {when} EXECUTE FUNCTION wait()"
    connection.execute(trigger.format(table=f"ON training.{table} FOR EACH ROW"))  # type: ignore[arg-type]
    try:
        yield
    finally:
        connection.execute("SELECT pg_advisory_unlock(12)")
        connection.execute("DROP FUNCTION wait CASCADE")


def killed(connection: Connection, settings: Settings, code: str, *arguments: str) -> None:
    """Run this in a process of its own, and kill that where it waits."""
    variables = {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "BABYLON_DATA_DIR": str(settings.data_dir),
        "BABYLON_PROMOTION_MODE": settings.promotion_mode,
        "BABYLON_SCREEN_QUESTIONS": str(settings.screen_questions),
        "BABYLON_MIN_SCREEN_QUESTIONS": str(settings.min_screen_questions),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent.parent), *sys.path]),
    }
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], env=os.environ | variables)
    waits = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
    until(lambda: process.poll() is not None or column(connection, waits) != [])
    assert process.poll() is None, "it never came there"
    process.kill()
    process.wait()
    # Postgres would notice once the lock is there, and then roll back.
    for pid in column(connection, waits):
        connection.execute("SELECT pg_terminate_backend(%s)", [pid])
    until(lambda: column(connection, waits) == [])


def assert_taken_once(connection: Connection, settings: Settings, comparison: Comparison) -> None:
    rows = comparisons.windows(connection, comparison.id)
    query = "SELECT window_id FROM training.windows WHERE window_id >= %s ORDER BY 1"
    assert [row.window for row in rows] == column(connection, query, comparison.began_window)
    assert_replayed(connection, comparison)
    assert compare(connection, settings) == []


def harmful(connection: Connection, settings: Settings) -> Comparison:
    """Hours that show harm, none of them compared yet."""
    branch(connection, settings)
    comparison = begun(connection, first=5, anchor=1)
    for number in range(5, 10):
        compared_hour(connection, number, serving=0.1)
    return comparison


ROLLED_BACK = {
    "serving": [1],
    "dead": [2, 3],
    "decisions": ["(rollback,3,1)"],
    # Both of the rows that count in this hour or the next one are without the examinee.
    "arms": ["(0.2,1,0,)", "(0.2,1,0.2,3)", "(0.2,1,0,)", "(0.2,1,0,)"],
    "concluded": ["rollback"],
}


@pytest.mark.parametrize(
    ("table", "when"),
    [
        ("promotions", "INSERT {table}"),  # the pointer has moved
        ("checkpoints", "UPDATE OF dead_at {table}"),  # the branch is not dead yet
        ("events", "INSERT {table} WHEN (NEW.kind = 'concluded' AND NEW.detail ->> 'conclusion'"
                   " = 'rollback')"),  # the last
    ],
)  # fmt: skip
def test_a_rollback_is_whole_or_not_there(
    connection: Connection, settings: Settings, table: str, when: str
) -> None:
    comparison = harmful(connection, settings)
    with stopped_at(connection, table, when):
        killed(connection, settings, COMPARES)
        assert state(connection) == {
            "serving": [3],
            "dead": [],
            "decisions": [],
            "arms": ["(0.2,1,0,)", "(0.2,1,0.2,3)"],
            "concluded": [],
        }

    compare(connection, settings)

    assert state(connection) == ROLLED_BACK
    assert_taken_once(connection, settings, comparison)
    assert violations(connection, settings) == []


@pytest.mark.parametrize(
    ("table", "when"),
    [
        ("checkpoints", "UPDATE OF dead_at {table}"),  # the pointer has moved
        ("arms", "INSERT {table}"),  # all is rolled back, and the share is not the floor's yet
    ],
)
def test_a_fall_to_the_floor_is_whole_or_not_there(
    connection: Connection, settings: Settings, table: str, when: str
) -> None:
    branch(connection, settings)
    comparison = begun(connection, first=5, anchor=EXTERNAL, parameters=RAMP)
    for number in (5, 6):
        compared_hour(connection, number, serving=0.8)
    compare(connection, settings)
    served_from(connection, 2, 5)  # and 3 since the last quiet hour
    compared_hour(connection, 7, serving=0.1)
    before = state(connection)
    assert (before["serving"], before["concluded"]) == ([3], ["rise"])
    with stopped_at(connection, table, when):
        killed(connection, settings, COMPARES)
        assert state(connection) == before

    compare(connection, settings)

    after = state(connection)
    floor = "(0.8,,0,)"
    assert after == {
        "serving": [2],
        "dead": [3],
        "decisions": ["(rollback,3,2)"],
        "arms": [*before["arms"], floor],
        "concluded": ["rise", "to_floor"],
    }
    assert_taken_once(connection, settings, comparison)
    assert violations(connection, settings) == []


@pytest.mark.parametrize(
    ("table", "when"),
    [
        ("set_aside", "INSERT {table}"),  # nothing is discarded yet
        ("checkpoints", "UPDATE OF discarded_at {table}"),  # all of it is, and not on record
    ],
)
def test_what_was_rolled_back_is_discarded_before_anything_is_trained(
    connection: Connection, settings: Settings, table: str, when: str
) -> None:
    harmful(connection, settings)
    compare(connection, settings)
    scored_window(connection, hour(11))
    with stopped_at(connection, table, when):
        killed(connection, settings, TRAINS)
        assert column(connection, "SELECT max(target_step) FROM training.steps") == [3]
    connection.execute("UPDATE training.lineages SET lease_until = now()")
    trainer = PeerTrainer(settings.data_dir, branches=False)

    outcome = train_window(settings, trainer, window=None, actor="next")

    assert (outcome.action, outcome.step) == ("committed", 4)
    assert trainer.discarded == [(1, (3, 2))]
    assert outcome.result is not None
    serves = checkpoints.adapter_hash(trainer.folder / "0001")
    assert outcome.result.base_adapter_hash == serves
    gone = "SELECT step FROM training.checkpoints WHERE discarded_at IS NOT NULL ORDER BY step"
    assert column(connection, gone) == [2, 3]
    discarded = "SELECT count(*) FROM training.events WHERE kind = 'checkpoint_discarded'"
    assert column(connection, discarded) == [2]
    assert violations(connection, settings) == []


def test_an_anchor_that_has_moved_has_its_arms(connection: Connection, settings: Settings) -> None:
    lineage(connection)
    parameters = replace(PARAMETERS, guard=None)
    comparison = begun(connection, examinee=1, parameters=parameters)
    for number in range(8):
        compared_hour(connection, number, serving=0.8, examinee=0.8)
    before = state(connection)
    with stopped_at(connection, "arms", "INSERT {table}"):
        killed(connection, settings, COMPARES)
        assert state(connection) == before

    compare(connection, settings)

    after = state(connection)
    assert after["arms"] == ["(0.2,0,0.2,1)", "(0.2,1,0.2,2)"]
    assert after["concluded"] == ["proven_gain"]
    assert_taken_once(connection, settings, comparison)


def test_what_passed_its_screen_serves_without_another_one(
    connection: Connection, make_settings: MakeSettings
) -> None:
    settings = make_settings(
        promotion_mode="screened", screen_questions=40, min_screen_questions=30
    )
    trainer: Any = PeerTrainer(settings.data_dir)
    questions(connection, *HOURS[:2])
    trained(connection, settings, trainer, 1)
    with Policies(at_0=knows, at_1=knows) as server:
        with stopped_at(connection, "promotions", "INSERT {table}"):
            killed(connection, settings, DECIDES, server.url)
            assert state(connection)["serving"] == [0]
            assert column(connection, "SELECT result FROM training.screens") == ["passed"]
        asked = len(server.asked)
        trainer.url = server.url

        assert decide_head(settings, trainer, actor="next").action == "promoted"

        assert len(server.asked) == asked
    assert state(connection)["decisions"] == ["(promote,0,1)"]


def test_two_at_once_act_once(connection: Connection, settings: Settings) -> None:
    comparison = harmful(connection, settings)
    together = threading.Barrier(2)

    def call() -> None:
        together.wait()
        reconcile(settings, actor="test")

    callers = [threading.Thread(target=call) for _ in range(2)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()

    assert state(connection) == ROLLED_BACK
    assert_taken_once(connection, settings, comparison)
    assert violations(connection, settings) == []


def test_what_cannot_be_done_stops_nothing_else_and_is_tried_again(
    connection: Connection, settings: Settings
) -> None:
    harmful(connection, settings)
    connection.execute("UPDATE training.checkpoints SET pruned_at = now() WHERE step = 1")

    reconcile(settings, actor="test")

    assert state(connection)["decisions"] == []
    connection.execute("UPDATE training.checkpoints SET pruned_at = NULL WHERE step = 1")
    reconciled = reconcile(settings, actor="test")
    assert state(connection) == ROLLED_BACK
    assert any(one.startswith("rollback from") for one in reconciled.concluded)
