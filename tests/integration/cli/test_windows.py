"""The hours: listed, opened, scored, retried, sent to a worker."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable

import redis
from command_line import SECRET, Run, finished, one_contract, sealed
from factories import (
    WINDOW,
    fill_window,
    insert_trajectories,
    trajectory,
)
from scored_windows import column, hour, scored_window

from babylon_tasks.db.session import Connection
from babylon_tasks.tasks.app import KEY_PREFIX


def test_windows_are_listed_newest_first_and_filtered(run: Run, connection: Connection) -> None:
    for number, state in ((1, "scored"), (2, "held_out"), (3, "scored")):
        scored_window(connection, hour(number), state=state)
    connection.execute("UPDATE training.windows SET agents = 4 WHERE window_id <> %s", [hour(1)])

    def listed(*options: str) -> list[str]:
        found = run("windows", "list", "--json", *options)
        assert found.code == 0
        return [window["window_id"] for window in found.document["windows"]]

    assert listed() == [hour(3), hour(2), hour(1)]
    assert listed("--state", "scored") == [hour(3), hour(1)]
    assert listed("--min-agents", "2") == [hour(3), hour(2)]
    assert listed("--since", "2h") == []
    assert listed("--since", hour(2), "--until", hour(3)) == [hour(2)]
    assert listed("--limit", "1") == [hour(3)]
    (window,) = run("windows", "list", "--json", "--limit", "1").document["windows"]
    assert {"state", "trajectories", "agents", "scored", "rejected", "reward_mean"} <= set(window)
    table = run("windows", "list").out.splitlines()
    assert [line.split()[0] for line in table[1:]] == [hour(3), hour(2), hour(1)]


def test_a_window_is_scored_here_and_a_second_time_is_harmless(
    run: Run, connection: Connection
) -> None:
    window = sealed(run, connection)
    first = run("score", window, "--json")
    again = run("score", window, "--json")

    assert (first.code, again.code) == (0, 0)
    assert (first.document["state"], first.document["scored"]) == ("scored", 4)
    assert again.document["claimed"] is False
    assert column(connection, "SELECT count(*) FROM training.scores") == [4]
    (actor,) = column(connection, "SELECT actor FROM training.events WHERE kind = 'scored'")
    assert str(actor).startswith("cli:")


def test_what_cannot_be_done_now_is_refused_and_changes_nothing(
    run: Run, connection: Connection
) -> None:
    window = sealed(run, connection)
    early = run("train", window)
    assert early.code == 3
    assert f"window {window} is sealed" in early.out
    connection.execute("UPDATE training.windows SET state = 'open'")
    assert run("score", window).code == 3
    assert run("score", window, "--enqueue").code == 3
    assert run("windows", "retry", window).code == 3
    assert column(connection, "SELECT state FROM training.windows") == ["open"]


def test_training_with_nothing_to_train_is_done_without_a_trainer(
    run: Run, connection: Connection, environment: dict[str, str]
) -> None:
    scored_window(connection, WINDOW, state="held_out")
    assert run("train").code == 0
    found = run("train", WINDOW, "--json")
    assert found.code == 0
    assert found.document["outcome"]["action"] == "skipped"
    assert not os.path.exists(environment["BABYLON_DATA_DIR"])  # noqa: PTH110


def test_backfill_opens_what_discovery_passed_over_once(
    run: Run, connection: Connection, redis_url: str
) -> None:
    old = "2020-05-05T05:00"
    fill_window(connection, old)
    planned = run("windows", "backfill", "--since", "2020-05-05", "--dry-run", "--json")
    assert planned.document["new"] == [old]
    assert column(connection, "SELECT count(*) FROM training.windows") == [0]

    first = run("windows", "backfill", "--since", "2020-05-05", "--json")
    again = run("windows", "backfill", "--since", "2020-05-05", "--json")

    assert (first.document["new"], first.document["sealed"]) == ([old], [old])
    assert len(first.document["sent"]) == 1
    assert [again.document[did] for did in ("new", "sealed", "sent")] == [[], [], []]
    with redis.Redis.from_url(redis_url) as client:
        assert client.llen(KEY_PREFIX + "cpu") == 1


def test_a_backfill_opens_neither_what_is_no_hour_nor_hours_to_come(
    run: Run, connection: Connection
) -> None:
    insert_trajectories(connection, [trajectory("2999-01-01T00:00", "ahead")])
    insert_trajectories(connection, [trajectory("2020-05-05T05:00", "nowhen")])
    connection.execute(
        """UPDATE trajectories SET "windowId" = 'banana' WHERE "windowId" LIKE '2020%'"""
    )
    for options in (["--dry-run"], []):
        found = run("windows", "backfill", "--since", "2020-05-05", "--json", *options).document
        assert (found["new"], found["malformed"]) == ([], ["banana"])
    assert column(connection, "SELECT count(*) FROM training.windows") == [0]


@one_contract
def test_a_failed_window_gets_another_life(run: Run, connection: Connection) -> None:
    window = sealed(run, connection)
    connection.execute("UPDATE training.windows SET state = 'failed', reason = 'x', attempt = 3")
    found = run("windows", "retry", window, "--json")
    assert (found.code, found.document) == (0, {"window": window, "state": "sealed"})
    assert run("score", window).code == 0


@one_contract
def test_enqueued_work_is_a_message_with_the_window_and_nothing_else(
    start: Callable[..., subprocess.Popen[str]], run: Run, connection: Connection, redis_url: str
) -> None:
    window = sealed(run, connection)
    with redis.Redis.from_url(redis_url) as client:
        client.flushall()
        ids = [finished(start("score", window, "--enqueue")) for _ in range(2)]
        assert [found.code for found in ids] == [0, 0]
        messages = [json.loads(raw) for raw in client.lrange(KEY_PREFIX + "cpu", 0, -1)]  # type: ignore[union-attr]
    assert {m["headers"]["task"] for m in messages} == {"babylon.score_window.v1"}
    assert {m["headers"]["argsrepr"] for m in messages} == {f"({window!r},)"}
    assert {m["content-type"] for m in messages} == {"application/json"}
    assert len(messages) == 2


@one_contract
def test_nothing_is_sent_for_a_window_that_is_done_and_json_says_so(
    run: Run, connection: Connection
) -> None:
    window = sealed(run, connection)
    assert run("score", window).code == 0
    found = run("score", window, "--enqueue", "--json")
    assert (found.code, found.document) == (0, {"task_id": None})


@one_contract
def test_work_that_cannot_be_sent_is_an_error_that_says_what_is_lost(
    start: Callable[..., subprocess.Popen[str]], run: Run, connection: Connection
) -> None:
    window = sealed(run, connection)
    found = finished(
        start("score", window, "--enqueue", REDIS_URL=f"redis://:{SECRET}@127.0.0.1:1/0")
    )
    assert found.code == 1
    assert "nothing is lost" in found.err
    assert SECRET not in found.err
    assert "Traceback" not in found.err
