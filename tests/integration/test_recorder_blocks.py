"""A block that records: what it leaves behind however it ends, and what is never finished."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
from collections.abc import Iterator

import pytest
from factories import WINDOW

from babylon_tasks.agent_settings import DatabaseSettings
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import SettingsError
from babylon_tasks.recorder import Recorder, Recording
from babylon_tasks.settings import Settings


@pytest.fixture
def recorder(settings: Settings) -> Iterator[Recorder]:
    with Recorder(settings) as opened:
        yield opened


def one_step(trajectory: Recording) -> None:
    trajectory.step(pnl=0).action("BUY_SHARES", {"marketId": "m-1", "side": "YES"}, success=True)


def counts(recorder: Recorder) -> dict[str, int]:
    names = ("recorded", "dropped", "failed", "raised", "unfinished")
    return {name: n for name in names if (n := getattr(recorder, name))}


def written(connection: Connection) -> list[tuple[str, int]]:
    """How each trajectory ended, and after how many steps."""
    return connection.execute(
        'SELECT "finalStatus", "episodeLength" FROM trajectories ORDER BY "agentId"'
    ).fetchall()


def test_the_end_of_a_block_finishes_the_trajectory(
    recorder: Recorder, connection: Connection
) -> None:
    with recorder.record("agent-1", window=WINDOW) as trajectory:
        one_step(trajectory)
    assert recorder.flush()
    assert written(connection) == [("completed", 1)]
    assert counts(recorder) == {"recorded": 1}


def test_a_block_may_finish_by_itself_with_what_it_knows(
    recorder: Recorder, connection: Connection
) -> None:
    with recorder.record("agent-1", window=WINDOW) as trajectory:
        one_step(trajectory)
        trajectory.finish(final_pnl=12.5, status="terminated")
    assert recorder.flush()
    row = connection.execute('SELECT "finalStatus", "finalPnL" FROM trajectories').fetchone()
    assert row == ("terminated", 12.5)
    assert counts(recorder) == {"recorded": 1}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("no such market"), "error"),
        (TimeoutError(), "timeout"),
        (asyncio.CancelledError(), "terminated"),
        (KeyboardInterrupt(), "terminated"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value,
)
def test_a_block_that_raises_is_written_up_to_there_and_counted(
    recorder: Recorder,
    connection: Connection,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: str,
) -> None:
    def agent() -> None:
        with recorder.record("agent-1", window=WINDOW) as trajectory:
            one_step(trajectory)
            trajectory.step(pnl=0)
            raise error

    with pytest.raises(type(error)) as raised:
        agent()
    assert raised.value is error
    assert recorder.flush()
    assert written(connection) == [(status, 2)]
    row = connection.execute('SELECT "metricsJson", "stepsJson" FROM trajectories').fetchone()
    assert row is not None
    assert json.loads(row[0])["finalStatus"] == status
    assert [step["action"]["success"] for step in json.loads(row[1])] == [True, False]
    assert counts(recorder) == {"recorded": 1, "raised": 1}
    [line] = [
        line for line in capsys.readouterr().out.splitlines() if "recorder.block_failed" in line
    ]
    assert type(error).__name__ in line
    assert "no such market" not in line


def test_what_raises_after_the_end_changes_nothing_of_the_record(
    recorder: Recorder, connection: Connection
) -> None:
    def agent() -> None:
        with recorder.record("agent-1", window=WINDOW) as trajectory:
            trajectory.finish()
            raise ValueError("later")

    with pytest.raises(ValueError, match="later"):
        agent()
    assert recorder.flush()
    assert written(connection) == [("completed", 0)]
    assert counts(recorder) == {"recorded": 1}


def test_a_trajectory_that_is_thrown_away_is_counted_and_logged(
    recorder: Recorder, connection: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    one_step(recorder.start("agent-1", window=WINDOW))
    lost = recorder.start("agent-2", window=WINDOW)
    name = lost.trajectory_id
    in_a_circle = [lost]
    in_a_circle.append(in_a_circle)  # type: ignore[arg-type]
    del lost, in_a_circle
    gc.collect()
    assert counts(recorder) == {"unfinished": 2}
    output = capsys.readouterr().out
    assert output.count("recorder.trajectory_abandoned") == 2
    assert name in output
    assert written(connection) == []


def test_what_is_open_when_the_recorder_closes_is_counted_once(
    settings: Settings, connection: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    with Recorder(settings) as recorder:
        forgotten = recorder.start("agent-1", window=WINDOW)
        with recorder.record("agent-2", window=WINDOW):
            pass
    assert counts(recorder) == {"recorded": 1, "unfinished": 1}
    forgotten.finish()
    del forgotten
    gc.collect()
    assert counts(recorder) == {"recorded": 1, "unfinished": 1}
    output = capsys.readouterr().out
    assert "recorder.closed" in output
    assert "the recorder is closed" in output


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_does_not_count_what_its_parent_has_open(recorder: Recorder) -> None:
    opened = [recorder.start("agent-1", window=WINDOW)]
    child = os.fork()
    if child == 0:
        opened.clear()
        gc.collect()
        os._exit(recorder.unfinished)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    opened.pop().finish()
    assert recorder.flush()
    assert counts(recorder) == {"recorded": 1}


def test_the_database_is_that_of_the_environment_where_none_is_given(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
    with Recorder() as recorder, recorder.record("agent-1", window=WINDOW):
        pass
    assert written(connection) == [("completed", 0)]


def test_no_setting_of_the_server_breaks_an_agent(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BABYLON_FLOWER_PORT", "abc")
    monkeypatch.setenv("REDIS_URL", "none")
    monkeypatch.setenv("BABYLON_ALLOW_WITHOUT_LOGPROBS", "true")  # refused by the server
    with Recorder(settings.database_url.get_secret_value()) as recorder:
        with recorder.record("agent-1", window=WINDOW):
            pass
        assert recorder.flush()
        assert counts(recorder) == {"recorded": 1}


@pytest.mark.contract(None)
def test_what_a_silent_database_has_not_taken_at_the_end_is_counted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, answers nothing
        recorder = Recorder(f"postgresql://u:x@127.0.0.1:{silent.getsockname()[1]}/none")
        with recorder.record("agent-1", window=WINDOW):
            pass
        recorder.close(timeout=0.2)
        assert counts(recorder) == {"dropped": 1}


@pytest.mark.contract(None)
def test_an_agents_own_env_file_is_not_read(
    monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with open(".env", "w") as file:  # noqa: PTH123
        file.write("DATABASE_URL=postgresql://the-agents-own@h/b\n")
    with pytest.raises(SettingsError, match="DATABASE_URL is not set"):
        Recorder()


def test_a_given_database_wins_over_the_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://other@h/b")
    recorder = Recorder("postgresql://given@h/b")
    assert isinstance(recorder._settings, DatabaseSettings)
    assert recorder._settings.dsn == "postgresql://given@h/b"
    recorder.close()
