"""`why`, `models`, `status`, `verify-data`: what has happened, and what serves."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest
from captured_calls import captured_call, passed_on_call
from command_line import Run, sealed
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
from psycopg.types.json import Jsonb
from scored_windows import hour

from babylon_tasks.cli import status
from babylon_tasks.db import calls, clock, windows
from babylon_tasks.db.outcomes import follow
from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.registry import serving
from babylon_tasks.settings import Settings
from babylon_tasks.step_metrics import MISMATCH_KL, RATIO_MEAN
from babylon_tasks.windows import window_start


@pytest.fixture
def trained(run: Run, connection: Connection, settings: Settings) -> str:
    """A window with a committed step, and a row that was rejected."""
    window = sealed(run, connection)
    insert_trajectories(connection, [trajectory(window, "broken", steps_json="{")])
    assert run("score", window).code == 0
    outcome = train_window(settings, PeerTrainer(settings.data_dir), window=window, actor="test")
    assert outcome.action == "committed"
    return window


def test_why_lists_every_event_in_order(run: Run, trained: str) -> None:
    assert run("models", "promote", "1", "--reason", "it is better").code == 0
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

    output = run("why", trained).out
    for word in ("is trained", "malformed_json", "step_committed", "it is better", "trained 4"):
        assert word in output


def test_why_of_what_is_not_there_says_what_it_takes(run: Run, trained: str) -> None:
    for unknown in ("9999", "yesterday"):
        refused = run("why", unknown)
        assert refused.code == 2
        assert f"{unknown} is neither an hour, nor a trajectory on record, nor a" in refused.err


def test_why_says_what_the_answers_came_to_that_a_step_took(run: Run, trained: str) -> None:
    assert run("why", trained, "--json").document["answers"] == {
        "": {
            "groups": 1,
            "commonest": "rise",
            "share": 0.5,
            "entropy": pytest.approx(0.693, abs=1e-3),
            "known": 1.0,
        }
    }
    assert "answers in the 1 group of a step: 50% rise, entropy 0.69" in run("why", trained).out


def test_status_says_what_both_would_answer_that_a_decision_was_about(
    run: Run, connection: Connection, trained: str
) -> None:
    given = {"groups": 8, "commonest": "fall", "share": 0.97, "entropy": 0.03}
    answers = {"decision=trade": dict.fromkeys(("candidate", "serving", "sampled", "best"), given)}
    serving.promote(
        connection, "babylon", 1, reason="r", figures={"answers": answers}, actor="test"
    )

    told = (
        "answers (decision=trade) to 8 held-out groups: candidate 97% fall, entropy 0.03; serving"
    )
    assert told in run("status").out.replace("\n", " ")


def test_why_says_how_far_a_step_has_moved_the_policy_where_that_was_measured(
    run: Run, connection: Connection, trained: str
) -> None:
    assert "nats" not in run("why", trained).out
    told = "the policy moved by 2.1e-02 nats, with a noise of 4.0e-04"
    moved = {"policy/moved": 0.0213, "policy/noise": 0.0004}
    for measured, word in (
        ({**moved, "policy/proven": 1.0}, told),
        ({**moved, "policy/proven": 0.0}, f"{told}, which hides it"),
        ({"policy/proven": 0.0}, "whether the policy moved could not be measured in time"),
    ):
        connection.execute("UPDATE training.steps SET metrics = %s", [Jsonb(measured)])

        assert f"; {word}" in run("why", trained).out.replace("\n", " ")


def test_promote_and_rollback_move_what_serves_and_models_shows_it(run: Run, trained: str) -> None:
    def serving() -> list[int]:
        return [
            m["step"] for m in run("models", "list", "--json").document["models"] if m["serving"]
        ]

    assert serving() == [0]
    assert run("models", "promote", "babylon@1", "--json").document == {
        "serving": 1,
        "changed": True,
    }
    assert run("models", "promote", "1", "--json").document == {"serving": 1, "changed": False}
    assert serving() == [1]
    assert run("models", "rollback", "--json", "--reason", "worse").document == {
        "serving": 0,
        "changed": True,
    }
    assert serving() == [0]
    # Nothing served before it; what serves is not refused; neither has changed anything.
    assert run("models", "rollback").code == run("models", "refuse", "0").code == 3
    assert serving() == [0]
    newest = run("models", "list", "--json").document["models"][0]
    assert (newest["step"], newest["head"], newest["decision"]) == (1, True, "rollback")
    assert newest["reason"] == "worse"
    page = run("models", "list", "--limit", "1")
    assert page.out.count("babylon@") == 1
    assert page.err == "1 older one is left out: --limit 2 shows all\n"
    fallen, back = run("models", "list").out.splitlines()[1:]
    assert "babylon@1" in fallen
    assert "rolled back" in fallen
    assert "returned to" in back


def test_status_shows_the_state_of_the_system(
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
    output = run("status").out
    assert f"babylon-tasks windows retry {hour(10)}" in output
    assert "serving step 0 of 1" in output


def test_status_is_shown_again_and_again_until_it_is_interrupted(
    run: Run, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[float] = []

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(status, "time", SimpleNamespace(sleep=sleep))
    found = run("status", "--watch")
    assert found.code == 130
    assert looks == [status.WATCH_SECONDS] * 2
    assert found.out.count("Ctrl-C ends it") == found.out.count("windows: none yet") == 2
    assert run("status", "--watch", "--json").code == 2


def test_status_and_why_show_how_far_a_step_was_from_the_policy_that_answered(
    run: Run, connection: Connection, settings: Settings
) -> None:
    window = sealed(run, connection)
    assert run("score", window).code == 0
    measured = {RATIO_MEAN: 1.02, MISMATCH_KL: 0.0131}
    trainer = PeerTrainer(settings.data_dir, measured=measured)
    assert train_window(settings, trainer, window=window, actor="test").action == "committed"

    shown = "importance ratio 1.02, KL to the policy that answered 0.0131"
    assert shown in run("status").out.replace("\n", " ")
    assert shown in run("why", window).out.replace("\n", " ")
    assert run("status", "--json").document["last_step"]["metrics"] == measured


def test_status_says_what_was_captured_of_the_newest_trained_hour(
    run: Run, trained: str, connection: Connection
) -> None:
    assert run("status", "--json").document["captures"] is None
    at = window_start(trained)
    made = [
        captured_call(asked_at=at),
        captured_call(asked_at=at, sample_state="shaped", arm="control"),
        captured_call(asked_at=at + timedelta(hours=1)),
        passed_on_call(asked_at=at, arm="control"),
    ]
    assert calls.insert(connection, made, float(EVER)).refused == 0
    connection.execute(
        "UPDATE training.calls SET trajectory_id = 't', place = 0 WHERE capture_id = %s",
        [made[0].capture_id],
    )
    counts = {"window": trained, "captured": 2, "exact": 1, "joined": 1}
    counts |= {"tempered": 0, "others": 1, "control": 2, "examinee": 0}
    assert run("status", "--json").document["captures"] == counts
    output = run("status").out
    assert "captured 2 answers, 1 of them exact; 1 were joined" in output
    assert "other servers gave 1 answers in it" in output
    assert "arms: 2 control, 0 examinee" in output
    assert "BABYLON_GATEWAY_TEMPERATURE" not in output


def test_what_is_refused_for_its_temperature_is_named_with_the_remedy(
    run: Run, trained: str, connection: Connection
) -> None:
    made = captured_call(asked_at=window_start(trained), sampling='{"temperature":0.7,"top_p":1}')
    assert calls.insert(connection, [made], float(EVER)).refused == 0
    connection.execute("UPDATE training.calls SET trajectory_id = 't', place = 0")
    connection.execute("UPDATE training.windows SET state = 'skipped'")  # nothing else was there
    line = f"1 of 1 joined calls of {trained} are refused as tempered"
    for said in (run("status").out, run("doctor").out):
        said = " ".join(said.split())
        assert line in said
        assert "set BABYLON_GATEWAY_TEMPERATURE=1" in said
    allowed = run("status", BABYLON_LOGPROBS="exact,none").out
    assert "tempered" not in allowed


def test_answers_of_a_server_that_tells_no_ids_are_named_as_text_only(
    run: Run, trained: str, connection: Connection
) -> None:
    now = clock.now(connection)
    made = [captured_call(asked_at=now, sample_state=state) for state in ("no_ids", "shaped")]
    made.append(passed_on_call(asked_at=now))
    assert calls.insert(connection, made, float(EVER)).refused == 0
    counts = {"captured": 2, "text_only": 1, "lacks": "no_ids"}
    assert run("status", "--json").document["newest_captures"] == counts
    line = "1 of the newest 2 captured answers are text only (no_ids)"
    assert line in run("status").out
    assert line in " ".join(run("doctor").out.split())


def test_what_a_window_waits_for_and_what_made_each_reward_version_is_shown(
    run: Run, settings: Settings, connection: Connection
) -> None:
    waits = {"BABYLON_OUTCOME_WAIT_HOURS": EVER}
    window = sealed(run, connection)  # everybody in it bets on m-1
    assert "outcomes waited for: 1" in run("score", window, **waits).out
    until = f"{windows.get(connection, window).waits_until:%F %H:%M}"
    output = run("status").out
    assert f"windows that wait for outcomes: 1; the next, {window}, until {until} for m-1" in output
    assert "oldest unfinished" not in output
    assert f"waits for outcomes until {until} UTC" in run("windows", "list").out
    output = run("why", window).out
    assert f"{window} is scored and waits for outcomes until {until} UTC" in output
    assert "outcomes not known yet: m-1" in output
    refused = run("train", window)
    assert (refused.code, "waits for outcomes" in refused.out) == (3, True)

    insert_outcomes(connection, [market_outcome("m-1", "NO")])
    connection.execute("UPDATE training.windows SET scored_at = scored_at - interval '1 hour'")
    follow(connection, settings)
    assert "windows to be scored anew: 1" in run("status").out
    assert (
        f"waits for outcomes until {until} UTC, then is scored anew" in run("windows", "list").out
    )
    assert reconcile(settings, actor="test").anew == [window]
    run("score", window, **waits)

    found = run("why", window, "--json").document
    assert (found["waits_for"], found["window"]["reward_version"]) == ([], 2)
    assert [(v["version"], v["came"]) for v in found["reward_versions"]] == [
        (1, None),
        (2, {"m-1": "no"}),
    ]
    output = run("why", window).out
    assert "4 scored; made since outcomes came or changed: m-1 no" in output
    assert "waits" not in output.splitlines()[0]
    pending = run("status", "--json").document["outcomes"]
    assert (pending["windows"], pending["to_score_anew"]) == (0, 0)


def test_verify_data_reports_what_is_trainable(run: Run, connection: Connection) -> None:
    fill_window(connection, WINDOW)
    insert_trajectories(connection, [trajectory(WINDOW, "broken", steps_json="{")])
    found = run("verify-data", "--json").document
    assert (found["trajectories"], found["usable"]) == (5, 4)
    assert found["rejected"] == {"malformed_json": 1}
    assert "malformed_json" in run("verify-data").out
