"""`doctor`: each thing that can be wrong, found and named with its remedy."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis
from command_line import SECRET, Result, Run, finished, one_contract
from factories import WINDOW
from psycopg.types.json import Jsonb
from scored_windows import scored_window

from babylon_tasks.cli import checks
from babylon_tasks.cli.backend_checks import training
from babylon_tasks.db import trainer_lease
from babylon_tasks.db.invariants import names
from babylon_tasks.db.session import Connection
from babylon_tasks.sandbox.servers import free_port
from babylon_tasks.settings import Settings
from babylon_tasks.training import art_interface
from babylon_tasks.training.art_interface import ART_0_5_18, ART_0_5_23
from babylon_tasks.training.checkpoints import CONFIG, WEIGHTS, hash_file, hash_files
from babylon_tasks.training.data_folder import lock_name


def findings(result: Result) -> dict[str, tuple[str, str | None]]:
    return {f["check"]: (f["outcome"], f["todo"]) for f in result.document["findings"]}


@one_contract
def test_doctor_is_content_with_a_good_installation(run: Run) -> None:
    found = run("doctor", "--json")
    assert found.code == 0
    outcomes = findings(found)
    reached = ("postgres", "clock", "schema", "lineage", "redis", "redis writes", "redis memory")
    for check in ("settings", "scorer", "data folder", *reached):
        assert outcomes[check] == ("ok", None)
    # The tests' own Valkey forgets on purpose, and no worker runs: both said, neither fatal.
    for check in ("redis disk", "beat", "queue cpu", "queue gpu.babylon", "queue upkeep"):
        outcome, todo = outcomes[check]
        assert outcome == "warn"
        assert todo


@one_contract
@pytest.mark.parametrize("scorer", ["foo", "nowhere.at:All"])
def test_doctor_reports_a_scorer_that_does_not_exist(run: Run, scorer: str) -> None:
    found = run("doctor", "--json", BABYLON_SCORER=scorer)
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
def test_doctor_finds_a_redis_that_is_full(run: Run, redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.config_set("maxmemory", "1")
        try:
            found = run("doctor", "--json")
        finally:
            client.config_set("maxmemory", "0")
    assert found.code == 1
    assert findings(found)["redis writes"][0] == "fail"


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
@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("BABYLON_DATA_DIR", "data folder"),
        ("BABYLON_BASE_MODEL", "backend"),
        ("XDG_CACHE_HOME", "backend"),
    ],
)
def test_doctor_looks_on_after_a_path_that_cannot_be_reached(
    run: Run, name: str, check: str
) -> None:
    found = run("doctor", "--json", **{name: f"/{'x' * 300}/there"})
    assert found.code == 1
    assert "beat" in findings(found), "the last check"
    said = [one for one in found.document["findings"] if "File name too long" in one["detail"]]
    assert {one["check"] for one in said} == {check}
    assert "fail" in {one["outcome"] for one in said}


@one_contract
def test_a_file_of_settings_that_cannot_be_reached_is_wrong_settings(run: Run) -> None:
    found = run("status", BABYLON_ENV_FILE=f"/{'x' * 300}/there")
    assert (found.code, "File name too long" in found.err) == (2, True)
    assert "bug" not in found.err


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
def test_missing_rights_are_reported_in_one_line(
    run: Run, connection: Connection, database_url: str
) -> None:
    connection.execute(f"CREATE ROLE outsider LOGIN PASSWORD '{SECRET}'")
    try:
        url = urlsplit(database_url)
        login = f"outsider:{SECRET}@{url.hostname}:{url.port}"
        outsider = urlunsplit(url._replace(netloc=login))
        for command in ("status", "verify-data", "windows list", "migrate", "doctor"):
            found = run(*command.split(), DATABASE_URL=outsider)
            assert found.code == 1
            assert "permission denied" in found.out + found.err
            assert "Traceback" not in found.err
            assert SECRET not in found.out + found.err
    finally:
        connection.execute("DROP ROLE outsider")


@one_contract
def test_doctor_names_a_misspelt_setting_and_the_log_of_a_command_does(run: Run) -> None:
    wrong = {"BABYLON_LEARNING_RAT": "1", "babylon_bakend": "cpu"}
    found = run("doctor", "--json", **wrong)
    assert found.code == 0
    named = [f for f in found.document["findings"] if f["check"] == "settings" and f["todo"]]
    assert [f["outcome"] for f in named] == ["warn", "warn"]
    assert "did you mean BABYLON_LEARNING_RATE?" in named[0]["detail"]
    assert "did you mean BABYLON_BACKEND?" in named[1]["detail"]
    output = run("status", **wrong).err
    assert "did you mean BABYLON_LEARNING_RATE?" in output


@one_contract
def test_a_setting_that_is_missing_under_its_own_name_is_found_under_another(run: Run) -> None:
    found = run("status", DATABASE_URL="", DATABASE_ULR="postgresql://planted@h/b")
    assert found.code == 2
    assert "DATABASE_URL is empty in the environment" in found.err
    assert "there is no setting DATABASE_ULR" in found.err
    assert "planted" not in found.err


@one_contract
@pytest.mark.parametrize("empty", ["", "  "])
def test_an_empty_key_is_no_key_for_doctor(run: Run, empty: str) -> None:
    found = run("doctor", "--json", WANDB_API_KEY=empty)
    details = {f["check"]: f["detail"] for f in found.document["findings"]}
    assert details["backend"].startswith("cpu ")
    assert details["W&B key"].startswith("WANDB_API_KEY is not set")


@one_contract
def test_doctor_checks_what_flower_and_the_endpoints_need_at_their_start(
    run: Run, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        variables = {
            "BABYLON_METRICS_PORT": port,
            "BABYLON_FLOWER_PORT": "0",
            "BABYLON_FLOWER_DB": "/proc/x/db",
        }
        found = run("doctor", "--json", **variables)
    # Another test's processes may have the default port of one that this system does not run.
    ports = [f["detail"] for f in found.document["findings"] if f["check"] == "ports"]
    assert any(f"metrics: port {port} on 127.0.0.1: Address already in use" in one for one in ports)
    flowers = [f for f in found.document["findings"] if f["check"] == "flower"]
    assert "FLOWER_BASIC_AUTH is not set" in flowers[0]["detail"]
    assert flowers[1]["outcome"] == "warn"


@one_contract
@pytest.mark.parametrize("what", ["metrics", "inference", "gateway", "flower", "dashboard"])
def test_doctor_says_which_port_another_process_has(run: Run, what: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        found = run("doctor", "--json", **{f"BABYLON_{what.upper()}_PORT": port}).document
    (busy,) = (f for f in found["findings"] if f["check"] == "ports" and port in f["detail"])
    assert busy["detail"] == f"{what}: port {port} on 127.0.0.1: Address already in use"
    assert f"BABYLON_{what.upper()}_HOST or _PORT" in busy["todo"]


@one_contract
@pytest.mark.parametrize(
    "password",
    ["planted@secret", "pl/anted@sec/ret", "12#planted@sec", "pl?anted@ret", "%plan@ted"],
)
@pytest.mark.parametrize("url", ["DATABASE_URL=postgresql://babylon", "REDIS_URL=redis://"])
@pytest.mark.parametrize("command", ["status", "doctor", "doctor --json"])
def test_no_part_of_a_password_that_splits_its_url_is_shown(
    run: Run, command: str, url: str, password: str
) -> None:
    name, _, begin = url.partition("=")
    found = run(*command.split(), **{name: f"{begin}:{password}@127.0.0.1:1/0"})
    assert found.code in (1, 2)
    assert "percent-encoded" in found.out + found.err
    assert not any(part in found.out + found.err for part in ("plan", "ante", "secr", "12#"))


@one_contract
def test_doctor_compares_the_checkpoint_that_serves_with_what_was_committed(
    run: Run, connection: Connection, tmp_path: Path
) -> None:
    def found() -> tuple[str, str]:
        result = run("doctor", "--json")
        (one,) = [f for f in result.document["findings"] if f["check"] == "checkpoint"]
        assert result.code == (one["outcome"] == "fail")
        return one["outcome"], one["detail"]

    data = tmp_path / "data"
    folder = data / "babylon" / "models" / "babylon" / "checkpoints" / "0001"
    folder.mkdir(parents=True)
    (folder / WEIGHTS).write_bytes(b"weights")
    (folder / CONFIG).write_bytes(b"{}")
    connection.execute(
        "INSERT INTO training.lineages (name, base_model, backend, head_step, data_folder)"
        " VALUES ('babylon', 'SmolLM2-135M-Instruct', 'cpu', 1, 'f1')"
    )
    connection.execute(
        "INSERT INTO training.checkpoints (lineage, step, uri, inference_name, content_hash, files)"
        " VALUES ('babylon', 1, %s, 'babylon@1', %s, %s)",
        [str(folder), hash_file(folder / WEIGHTS), Jsonb(hash_files(folder))],
    )
    connection.execute("UPDATE training.lineages SET serving_step = 1")

    outcome, detail = found()
    assert (outcome, "has no checkpoint of lineage babylon" in detail) == ("warn", True)

    (data / "babylon.trainer.lock").touch()
    (data / "babylon.folder-id").write_text("f1")
    assert found() == ("ok", "babylon@1 is as it was committed")

    (folder / CONFIG).write_bytes(b"[]")
    outcome, detail = found()
    assert (outcome, "is not what was committed" in detail) == ("fail", True)

    (data / "babylon.folder-id").write_text("f2")
    outcome, detail = found()
    assert (outcome, "is not the folder in which lineage" in detail) == ("warn", True)


@one_contract
def test_doctor_sees_whose_data_folder_serves_the_lineage(
    run: Run, connection: Connection, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "babylon.trainer.lock").touch()
    (tmp_path / "data" / "babylon.folder-id").write_text("f1")
    connection.execute(
        "INSERT INTO training.lineages (name, base_model, backend)"
        " VALUES ('babylon', 'SmolLM2-135M-Instruct', 'cpu')"
    )
    lock = lock_name(tmp_path / "data", "babylon")
    for holder, outcome in ((lock, "ok"), ("another:1", "warn")):
        assert holder is not None
        trainer_lease.release(connection, "babylon", lock or "")
        assert trainer_lease.take(connection, "babylon", holder, 60, folder_id="f1")
        assert findings(run("doctor", "--json"))["trainer"][0] == outcome


@one_contract
def test_doctor_names_what_celery_would_take_for_its_own(run: Run) -> None:
    found = run("doctor", "--json", BROKER_URL=f"redis://:{SECRET}@h/0")
    assert findings(found)["celery"][0] == "warn"
    assert SECRET not in found.out + found.err
    found = run("doctor", "--json", CELERY_WORKER_PURGE="1")
    assert (found.code, findings(found)["settings"][0]) == (1, "fail")
    assert "CELERY_WORKER_PURGE is set, and Celery would obey it" in found.out


@one_contract
def test_doctor_looks_where_a_workers_children_count(run: Run, tmp_path: Path) -> None:
    port = str(free_port())
    assert findings(run("doctor", "--json", BABYLON_METRICS_PORT=port))["temporary folder"] == (
        "ok",
        None,
    )
    assert "temporary folder" not in findings(run("doctor", "--json", BABYLON_METRICS_PORT="0"))


@one_contract
def test_doctor_names_the_windows_that_violate_an_invariant(
    run: Run, connection: Connection
) -> None:
    assert run("doctor", "--invariants").code == 0
    scored_window(connection, state="training")

    found = run("doctor", "--invariants", "--json")

    assert found.code == 1
    (violation,) = found.document["violations"]
    assert (violation["invariant"], violation["window"]) == (
        "windows_training_without_step",
        WINDOW,
    )
    assert set(found.document["invariants"]) == set(names())
    assert WINDOW in run("doctor", "--invariants").out


@one_contract
def test_doctor_names_the_device_and_refuses_one_that_is_not_there(run: Run) -> None:
    found = run("doctor", "--json", BABYLON_BACKEND="cpu", BABYLON_TORCH_DEVICE="cpu")
    assert findings(found)["device"] == ("ok", None)

    found = run("doctor", "--json", BABYLON_BACKEND="cpu", BABYLON_TORCH_DEVICE="cuda:99")
    assert found.code == 1
    assert findings(found)["device"][0] == "fail"
    assert "BABYLON_TORCH_DEVICE=cuda:99" in found.out


@one_contract
def test_doctor_shows_what_steps_are_trained_with_and_why(run: Run) -> None:
    found = run("doctor", "--json", BABYLON_BACKEND="cpu", BABYLON_KL_COEFFICIENT="0.1")
    details = {f["check"]: f["detail"] for f in found.document["findings"]}

    assert findings(found)["training"] == ("ok", None)
    told = details["training"]
    assert "BABYLON_LEARNING_RATE 0.0004 (for backend cpu and a model of 135 million" in told
    assert "BABYLON_KL_COEFFICIENT 0.1 (set)" in told


@one_contract
def test_doctor_names_a_setting_that_the_installed_art_does_not_carry(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    old = settings.model_copy(update={"kl_coefficient": 0.1})
    for interface, outcome in ((ART_0_5_18, "warn"), (ART_0_5_23, "ok")):
        monkeypatch.setattr(art_interface, "by_version", lambda one=interface: one)

        found = training(old, "serverless")

        assert (found.outcome, "not sent" in found.detail) == (outcome, outcome == "warn")
        assert ("BABYLON_KL_COEFFICIENT" in (found.todo or "")) == (outcome == "warn")
