"""A window scored again: grades that are kept, and what the judge is asked once more."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from factories import WINDOW, Row, insert, insert_trajectories
from judge_peer import JudgePeer
from judged_windows import ANSWERS, again, row, run, scores, seal

from babylon_tasks.db import scoring
from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings
from babylon_tasks.windows import window_start

# What a judge is shown and says does not depend on how Babylon's tables are made.
pytestmark = pytest.mark.contract("today")


def test_a_window_scored_again_asks_only_about_groups_in_which_somebody_is_new_or_changed(
    judged: Callable[..., Settings], connection: Connection, peer: JudgePeer
) -> None:
    def rows(scenario: str) -> list[Row]:
        return [
            row(f"{answer} in {scenario}", f"{scenario}-{n}", scenario=scenario)
            for n, answer in enumerate(ANSWERS[:2])
        ]

    insert_trajectories(connection, [*rows("calm"), *rows("storm")])
    seal(connection)
    settings = judged()
    run(settings)
    assert len(peer.requests) == 4
    peer.behave()
    again(connection)

    run(settings)

    assert peer.requests == []
    assert scores(connection, 2) == scores(connection, 1)

    again(connection)
    insert_trajectories(connection, [row(f"{ANSWERS[2]} in storm", "late", scenario="storm")])

    run(settings)

    assert [len(asked) for asked in peer.asked] == [3, 3]
    assert all("storm" in transcript for asked in peer.asked for transcript in asked)
    assert scores(connection, 3)["calm-0"] == scores(connection, 1)["calm-0"]

    peer.behave()
    again(connection)

    run(judged(ruler_rubric="Another."))

    assert len(peer.requests) == 4  # another judge has not graded them


@pytest.mark.contract(None)
def test_the_grade_that_is_kept_is_the_last_one(connection: Connection) -> None:
    """Of a row that Babylon rewrote, the first grade was for other words."""
    window = {"window_id": WINDOW, "starts_at": window_start(WINDOW), "held_out": False}
    insert(connection, "training.windows", [window])
    about = {"trajectory_id": "t-1", "window_id": WINDOW, "agent_id": "a", "group_key": ""}
    graded = [
        {"reward_version": 1, "content_hash": "before", "reward": 0.2},
        {"reward_version": 2, "content_hash": "after", "reward": 0.8},
    ]
    made = {"scorer": "ruler", "scorer_version": "1 judge", "components": "{}"}
    insert(connection, "training.scores", [about | made | one for one in graded])

    assert scoring.grades(connection, WINDOW) == {("t-1", "after", "1 judge"): 0.8}


def test_a_grade_that_is_kept_belongs_to_its_group(
    judged: Callable[..., Settings], connection: Connection, peer: JudgePeer
) -> None:
    """The same words may be the best of one group and the worst of another."""
    transcript = {"calm": (ANSWERS[1], ANSWERS[2]), "storm": (ANSWERS[0], ANSWERS[1])}
    rows = [
        row(answer, f"{scenario}-{n}", scenario=scenario)
        for scenario, answers in transcript.items()
        for n, answer in enumerate(answers)
    ]
    insert_trajectories(connection, rows)
    seal(connection)
    settings = judged()
    run(settings)
    connection.execute(
        "UPDATE training.scores SET reward = 0.8 WHERE agent_id = 'calm-0'"  # beside the worse one
    )
    again(connection)

    run(settings)

    assert len(peer.requests) == 4
    assert scores(connection, 2)["calm-0"] == ("ruler", 0.8)
    assert scores(connection, 2)["storm-1"] == ("ruler", pytest.approx(0.6))
