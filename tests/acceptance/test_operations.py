"""What docs/operations.md says one types when it matters: backup, restore, rotation, drain."""

from __future__ import annotations

from pathlib import Path

import pytest
from acceptance.reader import Reader
from documents import ROOT, Block, blocks, executed_by
from scored_windows import column

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings, checked
from babylon_tasks.training.checkpoints import adapter_hash
from babylon_tasks.training.supervisor import Trainer

FIRST, SECOND, THIRD = (f"2026-01-28T0{hour}:00" for hour in (1, 2, 4))
USED = 'SELECT "trainedInBatch" FROM trajectories WHERE "usedInTraining" ORDER BY 1'


def of_the_first_hour(*words: str) -> list[Block]:
    """The blocks of the quickstart that hold these words, to begin where it has been followed."""
    found = [
        next(block for block in blocks(ROOT / "docs/quickstart.md") if word in block.text)
        for word in words
    ]
    return [Block(b.document, b.line, b.language, b.text, "", None, None) for b in found]


def of_the_operator(database: Connection, reader: Reader) -> Settings:
    """What the reader's shell has in its environment, but for who asks the database."""
    found = database.info
    login = f"{found.user}:{found.password}@{found.host}:{found.port}"
    return checked(
        DATABASE_URL=f"postgresql://{login}/{found.dbname}",
        base_model=reader.given["BABYLON_BASE_MODEL"],
        backend="cpu",
        data_dir=reader.folder / ".babylon",
        inference_port=0,
    )


@pytest.mark.timeout(600)
def test_backup_restore_rotation_and_drain_go_as_they_are_written(
    played_database: Connection, reader: Reader
) -> None:
    for block in of_the_first_hour("CREATE ROLE", "babylon-tasks migrate\n", "export SINCE"):
        reader.follow(block)
    typed = iter(executed_by(__file__))
    settings = of_the_operator(played_database, reader)
    with Trainer(settings) as trainer:  # one for both steps: its start takes seconds
        score_window(settings, FIRST, actor="test")
        train_window(settings, trainer, window=None, actor="test")
        score_window(settings, SECOND, actor="test")
        reader.follow(next(typed))  # the backup, in which the third hour is not scored yet
        score_window(settings, THIRD, actor="test")
        train_window(settings, trainer, window=None, actor="test")
    assert column(played_database, USED) == ["babylon@1"] * 8 + ["babylon@2"] * 16

    reader.follow(next(typed))  # the schema alone is restored: refused
    assert column(played_database, "SELECT step FROM training.checkpoints ORDER BY 1") == [0, 1]

    reader.follow(next(typed))  # both
    reader.follow(next(typed))  # and Babylon's marks; then the second hour is trained on again
    assert column(played_database, USED) == ["babylon@1"] * 8 + ["babylon@2"] * 8
    assert "8 of 8 trajectories scored" in reader.type(f"babylon-tasks score {THIRD}\n")
    for uri, content in played_database.execute(
        "SELECT uri, content_hash FROM training.checkpoints WHERE step > 0"
    ):
        assert adapter_hash(Path(uri)) == content, "what lies there is what was counted"
        checkpoints = reader.folder / ".babylon/babylon/models/babylon/checkpoints"
        assert Path(uri).parent == checkpoints, "PROJECT and LINEAGE have the same default"

    reader.follow(next(typed))  # another password
    reader.type("babylon-tasks run cpu-worker >cpu-worker.log 2>&1 &\n")
    reader.type("until grep -q 'ready' cpu-worker.log; do sleep 0.1; done\n")
    reader.follow(next(typed))  # drained
    reader.type("kill $(jobs -p); wait\n")
    assert next(typed, None) is None
