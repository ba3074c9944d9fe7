"""Flower shows what runs to those who may see it, and to nobody else."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import pytest
from acceptance.harness import Babylon, hours, sender, until

from babylon_tasks.sandbox.servers import EmbeddedValkey

BEHIND_THE_LOGIN = ("/", "/tasks", "/api/tasks", "/api/workers", "/metrics")


_LIST = "/tasks/datatable?draw=1&start=0&length=500&order[0][column]=0&columns[0][data]=name"


def status(flower: Babylon, path: str, login: str | None = None, verb: str = "GET") -> int:
    """The HTTP status of a request; 0 while nobody listens."""
    return ask(flower, path, login, verb)[0]


def ask(flower: Babylon, path: str, login: str | None = None, verb: str = "GET") -> tuple[int, str]:
    """Status and text of a request; 0 while nobody listens."""
    connection = HTTPConnection("127.0.0.1", flower.stack.flower_port, timeout=60)
    headers = {}
    if login is not None:
        headers["Authorization"] = f"Basic {base64.b64encode(login.encode()).decode()}"
    with closing(connection):
        try:
            connection.request(verb, path, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except ConnectionRefusedError:
            return 0, ""


def tasks(flower: Babylon, name: str, window: str = "") -> list[dict[str, Any]]:
    """The tasks that Flower's list shows, as it shows them."""
    code, text = ask(flower, _LIST, flower.stack.flower_login)
    if code != 200:
        return []
    return [
        task
        for task in json.loads(text)["data"]
        if task["name"] == name and window in (task["window"] or "")
    ]


def saved(flower: Babylon) -> float:
    """When Flower wrote its file last."""
    files = flower.stack.data_dir.glob("flower-tasks*")  # the suffix is the dbm library's
    return max((path.stat().st_mtime for path in files if "tmp" not in path.name), default=0.0)


def outcome(flower: Babylon, name: str, window: str, begins: str) -> str:
    """What the list says came of a window's task: of two sent for it, one finds nothing to do."""

    def ended() -> str | None:
        done = [task for task in tasks(flower, name, window) if task["state"] == "SUCCESS"]
        summaries = (task["summary"] for task in done)
        return next((text for text in summaries if text.startswith(begins)), None)

    return str(until(f"Flower shows {name} of {window}", ended))


@pytest.fixture
def flower(babylon: Babylon) -> Babylon:
    babylon.start("cpu-worker", "flower")
    until("flower answers", lambda: status(babylon, "/healthcheck") == 200)
    return babylon


def test_flower_shows_nothing_without_its_login_not_even_metrics(flower: Babylon) -> None:
    login = flower.stack.flower_login
    for path in BEHIND_THE_LOGIN:
        assert status(flower, path) == 401, path
        assert status(flower, path, "babylon:guessed") == 401, path
        assert status(flower, path, login) == 200, path
    for process in flower.family():
        assert login.partition(":")[2] not in " ".join(process.cmdline()), "it shows in `ps`"


def test_guesses_at_the_login_are_logged_and_then_answered_unseen(flower: Babylon) -> None:
    guess = "babylon:a-guess-at-the-password"
    assert status(flower, "/", "babylon:not-ascii-é") == 401, "and not a page with a traceback"
    until("guesses are answered unseen", lambda: status(flower, "/tasks", guess) == 429)

    until("the right login, too", lambda: status(flower, "/", flower.stack.flower_login) == 200)

    refused = [line for line in flower.lines("flower") if line["event"] == "login.refused"]
    assert {line["address"] for line in refused} == {"127.0.0.1"}
    assert len(refused) >= 5
    assert guess.partition(":")[2] not in flower.log("flower")


def test_flower_has_no_way_to_postgres(flower: Babylon) -> None:
    (process,) = [one for one in flower.family() if "flower" in one.cmdline()]
    assert flower.stack.settings.database_url.get_secret_value() not in process.environ().values()


def test_flower_logs_in_the_one_form_that_all_processes_have(flower: Babylon) -> None:
    until("it has logged the broker", lambda: "Connected to redis" in flower.log("flower"))
    assert len(flower.lines("flower")) == flower.log("flower").count("\n")


def test_a_worker_cannot_be_stopped_from_the_web(flower: Babylon) -> None:
    login = flower.stack.flower_login
    for path in ("/api/worker/shutdown/cpu@vm", "/api/task/async-apply/babylon.discover.v1"):
        assert status(flower, path, login, "POST") == 403, path


def test_flower_without_a_login_does_not_start(make_babylon: Callable[..., Babylon]) -> None:
    babylon = make_babylon()
    command = babylon.stack.command("flower")

    refused = babylon.stack.start("flower", command)
    babylon.down.append(refused)

    until("flower has ended", lambda: refused.child.poll() is not None)
    assert refused.child.returncode not in (0, None)
    assert "FLOWER_BASIC_AUTH" in babylon.log("flower")


def test_flower_behind_oauth_sends_everybody_to_the_provider(
    make_babylon: Callable[..., Babylon],
) -> None:
    babylon = make_babylon()
    variables = {
        "FLOWER_AUTH_PROVIDER": "flower.views.auth.GithubLoginHandler",
        "FLOWER_AUTH": r".*@example\.com",
        "FLOWER_OAUTH2_KEY": "an-id",
        "FLOWER_OAUTH2_SECRET": "a-secret",
        "FLOWER_OAUTH2_REDIRECT_URI": "https://flower.example.com/login",
    }
    flower = babylon.stack.start("flower", babylon.stack.command("flower"), variables)
    babylon.down.append(flower)
    until("flower answers", lambda: status(babylon, "/healthcheck") == 200)

    assert status(babylon, "/api/workers") in (302, 401, 403)
    assert status(babylon, "/tasks") == 302
    assert status(babylon, "/login") == 302, "to the provider"
    assert "a-secret" not in babylon.log("flower")


def test_a_secret_that_an_error_repeats_is_in_nothing_that_flower_says(
    make_babylon: Callable[..., Babylon],
) -> None:
    planted = "training.scores"  # Postgres will say this very word
    babylon = make_babylon(BABYLON_RULER_API_KEY=planted, BABYLON_MAX_ATTEMPTS="1")
    babylon.start("flower", "cpu-worker", "beat")
    until("Flower listens", lambda: "Connected to redis" in babylon.log("flower"))
    babylon.connection.execute(f"ALTER TABLE {planted} RENAME TO elsewhere")
    (window,) = hours(1)
    babylon.record(window)
    (failed,) = until(
        "the failure is shown",
        lambda: [t for t in tasks(babylon, "score_window", window) if t["state"] == "FAILURE"],
    )

    assert 'relation "***" does not exist' in failed["summary"]
    login = babylon.stack.flower_login
    for path in ("/api/tasks", f"/api/task/info/{failed['uuid']}", f"/task/{failed['uuid']}"):
        code, text = ask(babylon, path, login)
        assert (code, "MigrationError" in text) == (200, True), path
        assert planted not in text, path


def test_a_queue_is_shown_with_what_waits_in_it_though_no_worker_listens(flower: Babylon) -> None:
    app = sender(flower.stack.settings)
    for _ in range(3):
        app.send_task("babylon.train_window.v1", (None,))
    login = flower.stack.flower_login
    until(
        "Flower knows the one worker's queues",
        lambda: "active_queues" in ask(flower, "/api/workers?refresh=1", login)[1],
    )

    shown = json.loads(ask(flower, "/api/queues/length", login)[1])["active_queues"]

    assert {queue["name"]: queue["messages"] for queue in shown} == {
        "cpu": 0,
        "gpu": 0,
        "gpu.acceptance": 3,
        "upkeep": 0,
    }


def test_tasks_are_shown_in_words_and_are_there_again_after_flower_was_killed(
    make_babylon: Callable[..., Babylon],
) -> None:
    babylon = make_babylon()
    (window,) = hours(1)
    babylon.start("flower", "gpu-worker", "cpu-worker", "beat")
    until("flower answers", lambda: status(babylon, "/healthcheck") == 200)
    babylon.record(window)
    babylon.await_states([window], "trained")

    begins = "scored 6 of 6 trajectories, mean profit "
    scored = outcome(babylon, "score_window", window, begins)
    (step,) = babylon.steps("committed")
    assert step["gradient_steps"] == 1
    outcome(
        babylon,
        "train_window",
        window,
        f"committed, 1 gradient step, {step['trainable_tokens']} tokens",
    )
    known = len(tasks(babylon, "train_window", window))
    for name in ("beat", "gpu-worker", "cpu-worker"):
        babylon.kill(name)
    before = saved(babylon)
    until("Flower has written down what it knows", lambda: saved(babylon) > before)
    babylon.kill("flower")

    babylon.start("flower")

    until("flower answers", lambda: status(babylon, "/healthcheck") == 200)
    assert outcome(babylon, "score_window", window, begins) == scored
    assert len(tasks(babylon, "train_window", window)) >= known


def test_after_a_restart_of_redis_new_tasks_and_workers_are_shown_again(
    make_babylon: Callable[..., Babylon], broker: EmbeddedValkey
) -> None:
    babylon = make_babylon(broker=broker.url)
    babylon.start("flower", "cpu-worker", "beat")
    login = babylon.stack.flower_login
    until("tasks are shown", lambda: tasks(babylon, "discover"))

    broker.kill()
    until("Flower notices", lambda: "Failed to capture events" in babylon.log("flower"))
    broker.restart()
    before = {task["uuid"] for task in tasks(babylon, "discover")}

    until(
        "new tasks are shown",
        lambda: {task["uuid"] for task in tasks(babylon, "discover")} - before,
    )
    workers = until(
        "the worker is shown", lambda: json.loads(ask(babylon, "/workers?json=1", login)[1])["data"]
    )
    assert [(w["hostname"].partition("@")[0], w["status"]) for w in workers] == [("cpu", True)]
