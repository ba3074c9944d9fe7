"""``tripwires list|accept``, and what `status`, `why` and `doctor` say of a tripped window."""

from __future__ import annotations

from command_line import Run, one_contract
from factories import WINDOW, exact_call
from planned_steps import train
from scored_windows import scored_window

from babylon_tasks.cli.checks import postgres
from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings

pytestmark = one_contract
LEAK = 'Notes: {"futureOutcomes": {"m-1": "YES"}}. Will ACME close higher? Answer YES or NO.'


def tripped(connection: Connection, settings: Settings) -> None:
    scored_window(connection, calls=[exact_call(userPrompt=LEAK)])
    assert train(settings).action == "skipped"


def test_a_tripped_window_is_listed_with_its_evidence_and_let_through_by_name(
    run: Run, connection: Connection, settings: Settings
) -> None:
    assert run("tripwires", "list", "--json").document == {"tripwires": [], "truncated": False}
    tripped(connection, settings)

    (found,) = run("tripwires", "list", "--open", "--json").document["tripwires"]
    assert (found["window"], found["kind"], found["policy"]) == (WINDOW, "outcome_words", "hold")
    assert (found["open"], found["step"], found["accepted_by"]) == (True, None, None)
    assert found["severity"] == 20
    assert found["evidence"]["words"] == {"futureOutcomes": 4}
    assert "not trained on until it is accepted" in run("tripwires", "list").out
    assert run("tripwires", "list", "--since", WINDOW).out == run("tripwires", "list").out
    later = run("tripwires", "list", "--open", "--since", "2026-12-31", "--json").document
    assert later == {"tripwires": [], "truncated": False}

    accepted = run("tripwires", "accept", WINDOW, "--json")
    assert accepted.document == {"accepted": {WINDOW: ["outcome_words"]}, "not_tripped": []}
    assert run("tripwires", "list", "--open", "--json").document == {
        "tripwires": [],
        "truncated": False,
    }
    assert "accepted by cli:" in run("tripwires", "list").out
    assert train(settings).action == "committed"


def test_what_is_not_tripped_is_not_accepted(run: Run, connection: Connection) -> None:
    scored_window(connection)

    refused = run("tripwires", "accept", WINDOW)
    assert refused.code == 3
    assert f"not tripped for lineage babylon: {WINDOW}" in refused.err
    assert run("tripwires", "accept", "2026-02-31T09:00").code == 2
    assert run("tripwires", "accept", WINDOW, "2026-01-01T00:00").code == 1


def test_status_why_and_doctor_say_what_is_tripped_and_what_to_do(
    run: Run, connection: Connection, settings: Settings
) -> None:
    assert "tripped" not in run("status").out
    tripped(connection, settings)

    status, why = run("status").out, run("why", WINDOW).out
    assert f"tripped: {WINDOW}: outcome_words: the prompts of 4 of 4 trajectories" in status
    assert f"babylon-tasks tripwires accept {WINDOW}" in status
    assert run("status", "--json").document["tripped"][0]["kind"] == "outcome_words"
    assert "is scored and is tripped and not trained on until" in why
    assert "tripwire outcome_words (hold): the prompts of 4 of 4 trajectories" in why
    found = run("why", WINDOW, "--json").document["tripwires"]
    assert [one["measured"] for one in found if one["kind"] == "outcome_words"] == [1.0]
    assert "is tripped" in run("windows", "list").out
    (finding,) = [one for one in postgres(settings) if one.check == "tripwires"]
    assert finding.outcome == "warn"
    assert WINDOW in finding.detail

    run("tripwires", "accept", WINDOW)

    assert "tripped:" not in run("status").out
    assert [one for one in postgres(settings) if one.check == "tripwires"] == []
    assert run("doctor", "--invariants").code == 0
