"""What a command shows fits a terminal of 80 columns: nothing is cut off, nothing breaks a word."""

from __future__ import annotations

import io

import pytest
from command_line import Run, one_contract, sealed
from factories import insert_trajectories, trajectory
from peer import PeerTrainer
from rich.cells import cell_len

from babylon_tasks.cli import output
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings


@pytest.fixture
def window(run: Run, connection: Connection, settings: Settings) -> str:
    """A trained hour, one of whose rows cannot be read."""
    window = sealed(run, connection)
    insert_trajectories(connection, [trajectory(window, "broken", steps_json="{")])
    assert run("score", window).code == 0
    assert train_window(settings, PeerTrainer(settings.data_dir), window=window, actor="t").step
    return window


@one_contract
@pytest.mark.parametrize(
    "command",
    [
        "status",
        "report",
        "cost",
        "doctor",
        "verify-data",
        "why WINDOW",
        "show WINDOW",
        "show WINDOW --best 2",
        "windows list",
        "models list",
        "tripwires list",
        "compare status",
        "replay 1 --no-train",
        "screen 1",
        "warm-start --dry-run",
        "train",
    ],
)
def test_a_line_is_as_long_as_the_terminal_unless_it_is_one_word(
    run: Run, window: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = io.StringIO()
    # In place: commands have it by its own name, and those imported now would keep another.
    for name, value in {"_file": shown, "_width": 80, "_force_terminal": True}.items():
        monkeypatch.setattr(output.out, name, value)
    monkeypatch.setattr(output.out, "_color_system", None)
    run(*command.replace("WINDOW", window).split())
    lines = shown.getvalue().splitlines()
    assert lines or command in ("screen 1", "tripwires list")  # refused, or nothing tripped
    assert [line for line in lines if cell_len(line) > 80 and " " in line.strip()] == []
