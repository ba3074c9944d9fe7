"""``train`` does what a GPU worker's task does: a step, then the decision about the head."""

from __future__ import annotations

import os
from typing import Any

from command_line import Run
from peer import PeerTrainer
from scored_windows import column, hour, scored_window

from babylon_tasks.db import lineages
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings


def left_unevaluated(connection: Connection, settings: Settings) -> None:
    """As by a worker that died after the commit of step 1."""
    scored_window(connection, hour(1))
    trainer = PeerTrainer(settings.data_dir)
    assert train_window(settings, trainer, window=hour(1), actor="test").action == "committed"


def decisions(connection: Connection) -> list[object]:
    return column(connection, "SELECT decision FROM training.promotions ORDER BY id")


def gate_result(document: Any) -> tuple[str, int, int]:
    found = document["gate_result"]
    return found["action"], found["candidate"], found["serving"]


def test_a_head_that_was_left_unevaluated_is_evaluated_though_nothing_is_to_be_trained(
    run: Run, connection: Connection, settings: Settings
) -> None:
    left_unevaluated(connection, settings)

    found = run("train", "--json")

    assert (found.code, found.document["outcome"]["action"]) == (0, "idle")
    assert gate_result(found.document) == ("held", 1, 0)
    assert "0 held-out groups" in found.document["gate_result"]["reason"]
    assert decisions(connection) == ["hold"]


def test_so_it_is_where_a_window_is_named_that_cannot_be_trained(
    run: Run, connection: Connection, settings: Settings
) -> None:
    left_unevaluated(connection, settings)

    found = run("train", hour(1))

    assert found.code == 0
    assert f"skipped: window {hour(1)} is trained" in found.out
    assert "held: step 0 serves" in found.out
    assert decisions(connection) == ["hold"]


def test_where_another_worker_trains_nothing_is_evaluated(
    run: Run, connection: Connection, settings: Settings, environment: dict[str, str]
) -> None:
    left_unevaluated(connection, settings)
    scored_window(connection, hour(2))
    assert lineages.claim(connection, "babylon", "another", 30) is not None

    found = run("train", "--json")

    assert (found.code, found.document["outcome"]["action"]) == (3, "busy")
    assert found.document["gate_result"] is None
    assert decisions(connection) == []
    assert not os.path.exists(f"{environment['BABYLON_DATA_DIR']}/trainer.log")  # noqa: PTH110
