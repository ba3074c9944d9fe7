"""The recorder against a real Postgres, also one that goes away for a while."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from documents import ROOT, blocks
from factories import WINDOW

from babylon_tasks.db.babylon import create
from babylon_tasks.db.session import Connection, connect
from babylon_tasks.db.trajectories import stream_window
from babylon_tasks.decode import decode
from babylon_tasks.errors import BadWindowId
from babylon_tasks.recorder import Recorder, Recording
from babylon_tasks.records import Trajectory
from babylon_tasks.sandbox.servers import EmbeddedPostgres
from babylon_tasks.settings import Settings

MESSAGES = [{"role": "system", "content": "trade"}, {"role": "user", "content": "YES or NO?"}]


@pytest.fixture
def recorder(settings: Settings) -> Iterator[Recorder]:
    with Recorder(settings) as opened:
        yield opened


def play(recorder: Recorder, agent: str = "agent-1", window: str = WINDOW) -> Recording:
    recording = recorder.start(agent, window=window)
    step = recording.step(balance=1000, pnl=1.0)
    step.llm_call(
        messages=MESSAGES,
        response="YES",
        model="babylon@3",
        logprobs=[-0.5],
        token_ids=[7],
        temperature=1,
        max_tokens=16,
    )
    step.action("BUY_SHARES", {"marketId": "m-1", "side": "YES"}, success=True)
    recording.finish(final_balance=1010, final_pnl=11.0)
    return recording


def count(connection: Connection, table: str = "trajectories") -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()  # noqa: S608
    assert row is not None
    return int(row[0])


def test_the_example_of_the_document_records_what_was_sampled(
    recorder: Recorder, settings: Settings, connection: Connection
) -> None:
    (example,) = (b for b in blocks(ROOT / "docs/recording.md") if "agent.py" in b.text)
    names: dict[str, Any] = {}
    exec(example.text, names)  # noqa: S102
    entry = {"token": "token_id:7", "logprob": -0.5, "bytes": None}
    choice = {
        "message": {"content": "YES"},
        "finish_reason": "stop",
        "logprobs": {"content": [entry]},
    }
    names["record"](recorder, "agent-1", MESSAGES, {"model": "babylon@3", "choices": [choice]})
    assert recorder.flush()
    row = connection.execute('SELECT "windowId" FROM trajectories').fetchone()
    assert row is not None
    [[raw]] = stream_window(connection, row[0], settings)
    found = decode(raw)
    assert isinstance(found, Trajectory)
    [call] = found.calls
    assert (call.policy_step, call.logprobs, call.token_ids) == (3, (-0.5,), (7,))
    assert (call.temperature, call.top_p, call.finish_reason) == (1, 1, "stop")
    assert found.actions[0].success


def test_a_recorded_trajectory_is_read_back_from_its_window(
    recorder: Recorder, settings: Settings, connection: Connection
) -> None:
    recording = play(recorder)
    assert recorder.flush()
    [[raw]] = stream_window(connection, WINDOW, settings)
    found = decode(raw)
    assert isinstance(found, Trajectory)
    assert found.trajectory_id == recording.trajectory_id
    assert (found.first_pnl, found.final_pnl) == (1.0, 11.0)
    [call] = found.calls
    assert (call.policy_step, call.logprobs, call.token_ids) == (3, (-0.5,), (7,))
    row = connection.execute(
        'SELECT l.response, l."systemPrompt", t."tradesExecuted", t."finalStatus" '
        'FROM llm_call_logs l JOIN trajectories t USING ("trajectoryId")'
    ).fetchone()
    assert row == ("YES", "trade", 1, "completed")
    assert (recorder.recorded, recorder.dropped, recorder.failed) == (1, 0, 0)


def test_every_column_that_babylon_writes_is_set(
    recorder: Recorder, connection: Connection, contract: str
) -> None:
    play(recorder)
    assert recorder.flush()
    [names] = connection.execute(
        "SELECT array_agg(attname::text) FROM pg_attribute "
        "WHERE attrelid = 'trajectories'::regclass AND attnum > 0 AND NOT attisdropped"
    ).fetchall()
    row = connection.execute("SELECT to_jsonb(t) FROM trajectories t").fetchone()
    assert row is not None
    empty = {name for name in names[0] if row[0][name] is None}
    judged_later = {"aiJudgeReward", "aiJudgeReasoning", "judgedAt", "trainedInBatch"}
    of_today = {"archetype"} if contract == "today" else set()
    assert empty == judged_later | of_today | {"batchId"}


def test_the_window_is_fixed_at_the_start(recorder: Recorder, connection: Connection) -> None:
    recording = recorder.start("agent-1", now=datetime(2026, 1, 31, 9, 59, 59, tzinfo=UTC))
    recording.step(pnl=0)
    recording.finish(now=datetime(2026, 1, 31, 10, 0, 30, tzinfo=UTC))
    assert recorder.flush()
    row = connection.execute(
        'SELECT "windowId", "scenarioId", "durationMs", "endTime" FROM trajectories'
    ).fetchone()
    assert row == (WINDOW, WINDOW, 31_000, datetime(2026, 1, 31, 10, 0, 30))


def test_a_window_that_is_none_is_refused_at_once(recorder: Recorder) -> None:
    with pytest.raises(BadWindowId):
        recorder.start("agent-1", window="yesterday")
    with pytest.raises(BadWindowId, match="no time zone"):
        recorder.start("agent-1", now=datetime(2026, 1, 31, 9))


def test_an_archetype_is_recorded_where_there_is_a_place_for_it(
    recorder: Recorder, settings: Settings, connection: Connection, contract: str
) -> None:
    recording = recorder.start("agent-1", archetype="degen", window=WINDOW)
    recording.step().llm_call(
        messages=MESSAGES, response="YES", model="m", temperature=1, max_tokens=1
    )
    recording.finish()
    assert recorder.flush()
    ((raw,),) = stream_window(connection, WINDOW, settings)
    assert raw.archetype == {"today": "degen", "7a46248b": None}[contract]


def test_an_evaluation_is_no_training_data(recorder: Recorder, connection: Connection) -> None:
    recorder.start("agent-1", window=WINDOW, is_evaluation=True).finish()
    assert recorder.flush()
    row = connection.execute('SELECT "isEvaluation", "isTrainingData" FROM trajectories').fetchone()
    assert row == (True, False)


def test_finishing_twice_records_once(recorder: Recorder, connection: Connection) -> None:
    recording = play(recorder)
    recording.finish()
    assert recorder.flush()
    assert count(connection) == 1


def test_a_write_repeated_after_an_unclear_commit_changes_nothing(
    recorder: Recorder, settings: Settings, connection: Connection
) -> None:
    recording = play(recorder)
    assert recorder.flush()
    recorder._take(recording)
    assert recorder.flush()
    assert count(connection) == 1
    assert count(connection, "llm_call_logs") == 1


def test_a_row_that_the_database_refuses_is_counted_and_the_next_is_written(
    recorder: Recorder, connection: Connection
) -> None:
    play(recorder)
    recorder.start("agent-1", window=WINDOW, scenario_id="s" * 101).finish()
    play(recorder)
    assert recorder.flush()
    assert (recorder.recorded, recorder.failed) == (2, 1)
    assert count(connection) == 2


def test_a_broken_recording_is_counted_and_not_written(
    recorder: Recorder, connection: Connection
) -> None:
    recording = recorder.start("agent-1", window=WINDOW)
    recording.step(pnl=0).reward("high")  # type: ignore[arg-type]
    recording.finish()
    assert recorder.flush()
    assert recorder.failed == 1
    assert count(connection) == 0


def test_many_threads_share_one_recorder(recorder: Recorder, connection: Connection) -> None:
    threads = [
        threading.Thread(target=lambda: [play(recorder) for _ in range(10)]) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorder.flush(60)
    assert recorder.recorded == count(connection) == 80


def test_agents_on_one_event_loop_share_one_recorder(
    recorder: Recorder, connection: Connection
) -> None:
    async def agent(number: int) -> None:
        await asyncio.sleep(0)
        play(recorder, f"agent-{number}")

    async def world() -> None:
        await asyncio.gather(*(agent(number) for number in range(20)))

    asyncio.run(world())
    assert recorder.flush(60)
    assert count(connection) == 20


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_records_by_itself(recorder: Recorder, connection: Connection) -> None:
    play(recorder, "agent-1")
    assert recorder.flush()
    child = os.fork()
    if child == 0:
        play(recorder, "agent-2")
        os._exit(0 if recorder.flush(30) and recorder.recorded == 1 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    play(recorder, "agent-1")
    assert recorder.flush()
    assert recorder.recorded == 2
    assert count(connection) == 3


def test_without_llm_call_logs_a_trajectory_is_written_with_its_calls_in_its_steps(
    recorder: Recorder, connection: Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    connection.execute("DROP TABLE llm_call_logs")
    play(recorder)
    play(recorder)
    assert recorder.flush()
    assert (recorder.recorded, recorder.failed, count(connection)) == (2, 0, 2)
    [(steps,), _] = connection.execute('SELECT "stepsJson" FROM trajectories').fetchall()
    assert [len(step["llmCalls"]) for step in json.loads(steps)] == [1]
    assert capsys.readouterr().out.count("recorder.calls_omitted") == 1


@pytest.fixture
def away(servers_dir: Path) -> Iterator[EmbeddedPostgres]:
    """A server of the test's own, to be stopped and started."""
    with EmbeddedPostgres(servers_dir / "recorder-postgres", durable=False) as server:
        yield server


def test_what_is_finished_while_the_database_is_away_is_written_when_it_returns(
    away: EmbeddedPostgres,
) -> None:
    settings = Settings(WANDB_API_KEY=None, DATABASE_URL=away.url)
    create(settings)
    with Recorder(settings, capacity=3) as recorder:
        play(recorder, "before")
        assert recorder.flush()
        away.stop()
        for number in range(5):
            play(recorder, f"during-{number}")
        assert not recorder.flush(0.5)
        assert recorder.dropped == 2
        away.start()
        assert recorder.flush(60)
        play(recorder, "after")
        assert recorder.flush(60)
        assert recorder.recorded == 5
        with connect(settings) as connection:
            agents = connection.execute(
                'SELECT "agentId" FROM trajectories ORDER BY "createdAt", "agentId"'
            ).fetchall()
    written = [agent for (agent,) in agents]
    assert sorted(written) == ["after", "before", "during-0", "during-1", "during-2"]


def test_closing_while_the_database_is_away_counts_what_is_lost(
    away: EmbeddedPostgres,
) -> None:
    settings = Settings(WANDB_API_KEY=None, DATABASE_URL=away.url)
    away.stop()
    recorder = Recorder(settings)
    for _ in range(3):
        play(recorder)
    recorder.close(timeout=0.5)
    play(recorder)
    assert (recorder.recorded, recorder.dropped) == (0, 4)
