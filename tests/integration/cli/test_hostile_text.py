"""What others wrote into the database reaches a terminal as text, whichever command shows it."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from command_line import Run, one_contract, sealed
from factories import insert_trajectories, trajectory
from peer import PeerTrainer

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.plain_text import plain
from babylon_tasks.settings import Settings

# Clears the screen, sets the title, turns text round, and ends in a line of its own.
HOSTILE = "\x1b[2J\x1b]0;pwned\x07\u202egnp\x9b31m\r\nFORGED<i>"
_COLUMNS = """
    SELECT table_schema, table_name, column_name, data_type FROM information_schema.columns
    WHERE table_schema IN ('training', 'public') AND data_type IN ('text', 'jsonb')
      AND table_name <> 'migrations'
      AND column_name NOT IN ('window_id', 'windowId', 'state', 'name')
    ORDER BY 1, 2, 3
"""


@pytest.fixture
def hostile(run: Run, connection: Connection, settings: Settings) -> str:
    """A trained window, and in every column that takes it, text that acts on a terminal."""
    window = sealed(run, connection)
    insert_trajectories(connection, [trajectory(window, "broken", steps_json="{")])
    assert run("score", window).code == 0
    assert train_window(settings, PeerTrainer(settings.data_dir), window=window, actor="t").step
    written = 0
    for schema, table, column, kind in connection.execute(_COLUMNS).fetchall():
        value = f"coalesce(\"{column}\", '') || %(text)s"
        if kind == "jsonb":
            value = f"coalesce(\"{column}\", '{{}}') || jsonb_build_object('why', %(text)s::text)"
        try:
            connection.execute(
                f'UPDATE {schema}."{table}" SET "{column}" = {value}',  # noqa: S608
                {"text": HOSTILE},
            )
        except psycopg.Error:  # a constraint keeps it out
            continue
        written += 1
    assert written > 30
    return window


@one_contract
@pytest.mark.parametrize(
    "command",
    [
        "status",
        "report",
        "why WINDOW",
        "show WINDOW",
        "windows list",
        "models list",
        "verify-data",
        "doctor",
        "windows retry WINDOW",
        "score WINDOW",
        "train",
        "models rollback",
    ],
)
def test_no_command_prints_a_character_that_acts(run: Run, hostile: str, command: str) -> None:
    assert_harmless(run, command.replace("WINDOW", hostile))


@one_contract
def test_nor_do_those_that_show_less_of_it(run: Run, hostile: str, tmp_path: Path) -> None:
    for command in (
        "cost",
        "tripwires list",
        f"tripwires accept {hostile}",
        "compare status",
        "compare stop",
        "compare resume",
        "circuit reset",
        "models refuse 1",
        "prune --dry-run",
        "replay 1 --no-train",
        "screen 1",
    ):
        assert_harmless(run, command)

    page = tmp_path / "report.html"
    assert run("report", "--html", str(page)).code == 0
    written = page.read_text("utf-8")
    assert "FORGED" in written
    assert plain(written, keep="\n") == written
    assert "<i>" not in written


def assert_harmless(run: Run, command: str) -> None:
    for options in ([], ["--json"]):
        found = run(*command.split(), *options)
        if found.code == 2:  # this command prints no JSON
            continue
        said = found.out + found.err
        assert plain(said, keep="\n") == said, command
        assert not any(line.startswith("FORGED") for line in found.out.splitlines()), command
        if options and found.out:
            json.loads(found.out)


@one_contract
@pytest.mark.parametrize("command", ["status", "why WINDOW", "windows list", "models list"])
def test_what_was_written_is_shown_escaped(run: Run, hostile: str, command: str) -> None:
    found = run(*command.replace("WINDOW", hostile).split())
    assert "\\u001b[2J" in found.out, found.err


@one_contract
@pytest.mark.parametrize("arguments", [["\x1b[31mnothing"], ["why", "\x1b[31m"], ["--\u202ex"]])
def test_an_argument_with_control_characters_is_refused_and_shown_escaped(
    run: Run, arguments: list[str]
) -> None:
    found = run(*arguments)
    assert found.code == 2
    assert "control characters in an argument: " in found.err
    assert plain(found.err, keep="\n") == found.err
