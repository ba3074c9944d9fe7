"""``show``: one trajectory to look at, and the best and the worst of an hour."""

from __future__ import annotations

from datetime import timedelta

import pytest
from captured_calls import captured_call, passed_on_call
from command_line import SECRET, Run, one_contract
from compared_hours import lineage
from factories import EVER, WINDOW, action, exact_call, insert_trajectories, step, trajectory
from scored_windows import scored_window

from babylon_tasks.cli import output
from babylon_tasks.db import calls, closeups
from babylon_tasks.db.session import Connection
from babylon_tasks.db.sql import statement
from babylon_tasks.windows import window_start

pytestmark = one_contract
HOSTILE = "\x1b[2Jtrajectory forged\nreward 1.000"


@pytest.fixture
def answered(connection: Connection) -> list[str]:
    """Four answers to one question, with rewards from 0 to 1; one of them acts on terminals."""
    lineage(connection)
    answers = [HOSTILE, "NO", "YES", f"YES postgresql://me:{SECRET}@db/x"]
    steps = [
        [step(0, [exact_call("YES") | {"response": answer}], action=action(side="YES"))]
        for answer in answers
    ]
    return scored_window(connection, stepped=steps)


def test_a_trajectory_is_shown_with_its_reward_and_its_group(run: Run, answered: list[str]) -> None:
    said = run("show", answered[2])

    assert said.code == 0, said.err
    for part in (
        f"trajectory {answered[2]} of {WINDOW} by agent-2",
        "scored: 0.750, reward version 1",
        "reward 0.750 by default 1, version 1; place 2 of 4 comparable",
        "made of activity 1.000",
        "comparable ones got 1.000, 0.750, 0.250, 0.000",
        "Will ACME close higher?",
        "done: BUY_SHARES YES m-1",
    ):
        assert part in said.out
    document = run("show", answered[2], "--json").document
    assert document["calls"][0]["answer"] == "YES"
    assert document["reward"]["comparable"] == [1.0, 0.75, 0.25, 0.0]


def _used(connection: Connection, trajectory_id: str) -> None:
    """Step 1 was trained on it, with the reward of its first version."""
    connection.execute(
        """
        WITH made AS (INSERT INTO training.steps (lineage, base_step, target_step, state, attempt,
                                                  backend, windows, manifest_hash, manifest)
                      VALUES ('babylon', 0, 1, 'committed', 1, 'cpu', ARRAY[%s], 'h', '{}')
                      RETURNING id)
        INSERT INTO training.consumption (lineage, trajectory_id, reward_version, window_id,
                                          step_id, use)
        SELECT 'babylon', %s, 1, %s, id, 'trained' FROM made
        """,
        [WINDOW, trajectory_id, WINDOW],
    )


def test_which_step_used_it_is_told(run: Run, connection: Connection, answered: list[str]) -> None:
    _used(connection, answered[0])
    assert "used: trained, by step 1 of lineage babylon" in run("show", answered[0]).out


def test_who_answered_is_what_the_gateway_saw(
    run: Run, connection: Connection, answered: list[str]
) -> None:
    asked_at = window_start(WINDOW) + timedelta(minutes=5)
    saw = [captured_call(asked_at=asked_at, step=2), passed_on_call(asked_at=asked_at)]
    for one, trajectory_id in zip(saw, answered, strict=False):
        calls.insert(connection, [one], float(EVER))
        connection.execute(
            "UPDATE training.calls SET trajectory_id = %s, place = 0 WHERE capture_id = %s",
            [trajectory_id, one.capture_id],
        )

    assert "call 1 of 1, by babylon@2\n" in run("show", answered[0]).out
    assert "call 1 of 1, by qwen/q\n" in run("show", answered[1]).out.replace(" \n", "\n")


def test_an_hour_is_shown_by_its_best_and_its_worst(run: Run, answered: list[str]) -> None:
    found = run("show", WINDOW, "--best", "1", "--worst", "2", "--json").document

    assert [one["trajectory_id"] for one in found["best"]] == [answered[3]]
    assert [one["trajectory_id"] for one in found["worst"]] == answered[:2]
    assert run("show", WINDOW, "--worst", "1", "--json").document["best"] == []
    every = run("show", WINDOW, "--best", "3", "--worst", "3", "--json").document
    assert [one["trajectory_id"] for one in every["worst"]] == answered[:1]  # none is shown twice


def test_after_an_hour_is_scored_anew_a_row_that_it_left_out_is_no_extreme(
    run: Run, connection: Connection, answered: list[str]
) -> None:
    connection.execute(
        """
        WITH anew AS (UPDATE training.windows SET reward_version = 2 RETURNING window_id)
        INSERT INTO training.scores (trajectory_id, reward_version, window_id, agent_id, group_key,
                                     scorer, scorer_version, reward, components)
        SELECT trajectory_id, 2, window_id, agent_id, group_key, scorer, scorer_version,
               1 - reward, components
        FROM training.scores JOIN anew USING (window_id) WHERE trajectory_id = ANY (%s)
        """,
        [answered[1:3]],
    )

    found = run("show", WINDOW, "--best", "2", "--worst", "2", "--json").document
    assert [one["trajectory_id"] for one in found["best"]] == [answered[1], answered[2]]
    assert found["worst"] == []
    (group,) = closeups.comparable(connection, WINDOW, limit=9)
    assert group.members == [answered[1], answered[2]]

    _used(connection, answered[0])
    found = run("show", WINDOW, "--best", "1", "--worst", "1", "--json").document
    assert [one["trajectory_id"] for one in found["worst"]] == [answered[0]]
    (group,) = closeups.comparable(connection, WINDOW, limit=9)
    assert group.members == [answered[1], answered[2], answered[0]]


def test_what_others_wrote_neither_acts_nor_tells_secrets_nor_forges_a_line(
    run: Run, answered: list[str]
) -> None:
    said = run("show", WINDOW, "--best", "2", "--worst", "2").out

    assert SECRET not in said + run("show", WINDOW, "--json").out
    assert "\\u001b[2J" in said
    lines = [line.rstrip() for line in said.splitlines()]
    assert "    reward 1.000" in lines
    assert "reward 1.000" not in lines


@pytest.mark.parametrize(("columns", "beside"), [(60, False), (120, True)])
def test_nothing_is_cut_on_a_narrow_terminal(
    run: Run,
    answered: list[str],
    monkeypatch: pytest.MonkeyPatch,
    columns: int,
    beside: bool,
) -> None:
    # In place: a command that is imported now would keep another for good.
    for name, value in {"_width": columns, "_force_terminal": True}.items():
        monkeypatch.setattr(output.out, name, value)
    monkeypatch.setattr(output.out, "_color_system", None)
    lines = run("show", WINDOW).out.splitlines()

    assert max(map(len, lines[1:])) <= columns
    assert beside == any("best" in line and "worst" in line for line in lines)
    assert all(one in "".join(lines) for one in (answered[0], answered[3]))


def test_what_cannot_be_read_is_said(run: Run, connection: Connection, answered: list[str]) -> None:
    broken = insert_trajectories(connection, [trajectory(WINDOW, "a", steps_json="{")])[0]
    assert "no prompt and no answer: stepsJson cannot be read" in run("show", broken).out

    connection.execute('DELETE FROM trajectories WHERE "trajectoryId" = %s', [answered[1]])
    gone = run("show", answered[1]).out
    assert "deleted: Babylon has deleted its row" in gone
    assert "reward 0.250" in gone


@pytest.mark.usefixtures("answered")
def test_what_does_not_exist_is_refused_with_what_to_write(run: Run) -> None:
    for arguments, words in (
        (["nothing"], "neither a trajectory on record nor an hour"),
        (["2026-01-31T10:00"], "windows list"),
        (["x", "--best", "1"], "--best and --worst are of a window"),
    ):
        found = run("show", *arguments)
        assert (found.code != 0, words in found.err) == (True, True), found.err


def test_an_hour_without_rewards_says_where_its_reasons_are(
    run: Run, connection: Connection
) -> None:
    scored_window(connection, rewards=())
    assert f"babylon-tasks why {WINDOW}" in run("show", WINDOW).out


@pytest.mark.parametrize("name", ["score", "comparable_rewards", "extremes"])
def test_among_a_hundred_thousand_scores_an_index_finds_those(
    connection: Connection, name: str
) -> None:
    connection.execute(
        """
        INSERT INTO training.scores (trajectory_id, reward_version, window_id, agent_id, group_key,
                                     scorer, scorer_version, reward, components)
        SELECT 't-' || n, 1, 'w-' || n / 100, 'a', '', 's', '1', 0.5, '{}'
        FROM generate_series(1, 100000) AS n
        """
    )
    connection.execute("ANALYZE training.scores")
    asked = {
        "trajectory": "t-7",
        "window": "w-7",
        "group_key": "",
        "version": 1,
        "windows": ["w-7"],
    }
    plan = connection.execute(
        "EXPLAIN (COSTS off) " + statement(f"closeups.{name}"),
        asked | {"best": 3, "worst": 3},
    ).fetchall()

    text = "\n".join(row[0] for row in plan)
    assert "Seq Scan" not in text, text
    assert "scores_window" in text or "scores_pkey" in text, text
