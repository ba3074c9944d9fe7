"""`warm-start`: what it would use, what it planned, and when it refuses."""

from __future__ import annotations

from command_line import Run
from factories import WINDOW, llm_call
from scored_windows import column, scored_window
from training_steps import peer, train

from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings


def recorded(connection: Connection) -> list[str]:
    """Four answers of another model, of which the last is best."""
    return scored_window(connection, calls=[llm_call("YES", model="gpt-4.1")])


def test_a_dry_run_counts_by_model_and_reason_and_writes_nothing(
    run: Run, connection: Connection
) -> None:
    recorded(connection)

    found = run("warm-start", "--dry-run")
    document = run("warm-start", "--dry-run", "--json").document

    assert found.code == 0
    assert f"1 call (about 36 tokens) of 1 trajectory in 1 group of 1 window, {WINDOW}" in found.out
    for word in ("1  gpt-4.1", "3  not_better", "nothing was written"):
        assert word in found.out
    assert (document["step"], document["models"]) == (None, {"gpt-4.1": 1})
    assert column(connection, "SELECT count(*) FROM training.steps") == [0]


def test_a_planned_step_is_announced_shown_and_the_next_command_refused(
    run: Run, connection: Connection, settings: Settings
) -> None:
    recorded(connection)

    found = run("warm-start", "--top", "0.5")
    status = run("status")
    refused = run("warm-start")

    assert found.code == 0
    assert "step 1 is planned: 1 gradient step at learning rate 0.002" in found.out
    assert "the gpu-worker runs it soon" in found.err
    assert "running: supervised step 1 from 0 is planned" in status.out
    assert (refused.code, refused.out) == (3, "")
    assert "babylon@1 is planned, and a lineage has one step at a time" in refused.err

    train(settings, peer(settings))
    why = run("why", WINDOW)
    assert "supervised step 1 from 0 is committed" in why.out
    assert "loss 0.50" in why.out
    assert "method supervised" in why.out
    assert run("status", "--json").document["last_step"]["method"] == "supervised"


def test_without_scored_hours_there_is_nothing_to_learn_from_and_why_is_shown(
    run: Run, connection: Connection
) -> None:
    recorded(connection)
    connection.execute("UPDATE training.windows SET state = 'sealed'")

    found = run("warm-start")

    assert found.code == 0
    assert "nothing to learn from" in found.out
    assert "1  sealed" in found.out


def test_a_share_of_nothing_and_an_hour_that_is_none_are_refused(run: Run) -> None:
    assert run("warm-start", "--top", "0").code == 2
    assert run("warm-start", "--since", "yesterday").code == 2
