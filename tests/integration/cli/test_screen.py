"""``screen``: a checkpoint asked by hand, where agents ask."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable

import pytest
from command_line import Run, finished, one_contract
from endpoint import until
from evaluated_checkpoints import decisions, trained
from peer import PeerTrainer
from scored_windows import column
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
    assert "start a gpu-worker" in nowhere.err


@pytest.mark.usefixtures("lineage")
def test_a_killed_screen_has_decided_nothing_and_the_next_one_asks_for_the_rest(
    connection: Connection, start: Callable[..., subprocess.Popen[str]]
) -> None:
    bounds = {"BABYLON_SCREEN_QUESTIONS": "80", "BABYLON_MIN_SCREEN_QUESTIONS": "30"}
    samples = "SELECT count(*) FROM training.screen_samples"
    with Policies(at_0=knows, at_1=knows) as server:
        served(connection, server)
        server.seconds = 0.2
        process = start("screen", "1", BABYLON_SCREEN_CONCURRENCY="2", **bounds)
        until(lambda: column(connection, samples) != [0])
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        (kept,) = column(connection, samples)
        assert column(connection, "SELECT result FROM training.screens") == [None]

    # Another server: the first one may yet read what the killed process had asked.
    with Policies(at_0=knows, at_1=knows) as server:
        served(connection, server)
        ended = finished(start("screen", "1", "--json", **bounds))

    assert isinstance(kept, int)
    assert 0 < kept < 80
    assert len(server.asked) == 80 - kept
    assert (ended.code, ended.document["result"], ended.document["screen"]) == (0, "passed", 1)
