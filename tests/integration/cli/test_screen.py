"""``screen``: a checkpoint asked by hand, where agents ask."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from command_line import Run, one_contract
from evaluated_checkpoints import decisions, trained
from peer import PeerTrainer
from screened import HOURS, Policies, constant, knows, questions

from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings

pytestmark = one_contract


@pytest.fixture
def lineage(connection: Connection, make_settings: Callable[..., Settings]) -> None:
    settings = make_settings()
    questions(connection, HOURS[0])
    trained(connection, settings, PeerTrainer(settings.data_dir), 1)


def served(connection: Connection, server: Policies) -> None:
    connection.execute("UPDATE training.lineages SET inference_base_url = %s", (server.url,))


@pytest.mark.usefixtures("lineage")
def test_a_screen_by_hand_decides_nothing(connection: Connection, run: Run) -> None:
    bounds = {"BABYLON_SCREEN_QUESTIONS": "60", "BABYLON_MIN_SCREEN_QUESTIONS": "30"}
    with Policies(at_0=knows, at_1=constant) as server:
        served(connection, server)
        few = run("screen", "1", "--json")
        refused = run("screen", "babylon@1", "--json", **bounds)
        again = run("screen", "1", **bounds)

    assert (few.code, few.document["result"]) == (3, "too_few")
    assert few.document["reason"] == "40 held-out questions of at least 50"
    assert refused.code == 1
    assert refused.document["result"] == "refused"
    assert "screen 2 of babylon@1 refused it: on 30 held-out questions" in again.out
    assert decisions(connection) == []


@pytest.mark.usefixtures("lineage")
def test_without_a_server_or_a_checkpoint_it_says_what_to_do(
    connection: Connection, run: Run
) -> None:
    unknown = run("screen", "9")
    connection.execute("UPDATE training.lineages SET inference_base_url = NULL")
    nowhere = run("screen", "1")

    assert unknown.code == 1
    assert "babylon@9 is not a checkpoint that can be asked" in unknown.err
    assert nowhere.code == 1
    assert "start a worker on queue gpu" in nowhere.err
