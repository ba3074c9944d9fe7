"""``why STEP``: a checkpoint's life."""

from __future__ import annotations

import pytest
from command_line import Run, one_contract
from compared_hours import begun, compared_hour, lineage
from scored_windows import hour

from babylon_tasks.db import screens
from babylon_tasks.db.screens import ScreenSubject
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings

pytestmark = one_contract


@pytest.fixture
def life(connection: Connection, settings: Settings) -> Connection:
    """Step 1 passes its screen, is tried for two hours, serves, and is rolled back."""
    lineage(connection)
    subject = ScreenSubject(
        lineage="babylon", step=1, serving_step=0, against="serving", set_hash="x"
    )
    screen = screens.begin(connection, subject, questions=200, terms={}, actor="test")
    screens.end(connection, screen.id, result="passed", reason="no collapse", figures={})
    begun(connection, examinee=1)
    for number in range(2):
        compared_hour(connection, number)
    reconcile(settings, actor="test")
    serving.promote(connection, "babylon", 1, reason="it won", figures={}, actor="test")
    serving.rollback(
        connection,
        "babylon",
        to=0,
        reason="it does harm",
        figures={"windows": [hour(0), hour(1)]},
        actor="comparison",
    )
    return connection


@pytest.mark.usefixtures("life")
def test_all_of_it_is_told_in_order(run: Run) -> None:
    text = run("why", "babylon@1").out

    assert "babylon@1 " in text
    assert "; it does not serve" in text
    assert "of babylon@1 passed: no collapse" in text
    assert f"trial of comparison 1: 2 windows, {hour(0)} to {hour(1)}" in text
    assert f"until comparison: it does harm; shown by {hour(0)}, {hour(1)}" in text
    document = run("why", "1", "--json").document
    assert [one["result"] for one in document["screens"]] == ["passed"]
    assert [one["decision"] for one in document["decisions"]] == ["promote", "rollback"]
    assert [one["windows"] for one in document["served"]] == [[hour(0), hour(1)]]
    assert (document["arms"][0]["arm"], document["arms"][0]["share"]) == ("examinee", 0.2)
    assert document["checkpoint"]["serves"] is False


def test_the_base_model_serves_from_the_beginning(run: Run, connection: Connection) -> None:
    lineage(connection, steps=0)
    text = run("why", "babylon@0").out
    assert "is the base model; it serves" in text
    assert "has served since" in text


def test_a_checkpoint_that_is_none_is_refused(run: Run, connection: Connection) -> None:
    lineage(connection)
    found = run("why", "babylon@99")
    assert (found.code, "models list" in found.err) == (1, True)
