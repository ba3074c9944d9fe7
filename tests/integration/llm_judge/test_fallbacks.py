"""Grades that the judge does not give, or that cannot be believed, are left to default."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from factories import WINDOW, insert_trajectories
from judge_peer import MISBEHAVIOURS, JudgePeer
from judged_windows import (
    ANSWERS,
    KEY,
    again,
    counted,
    grade,
    judge_reports,
    row,
    run,
    scores,
    seal,
)

from babylon_tasks.db.session import Connection
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.settings import Settings

# What a judge is shown and says does not depend on how Babylon's tables are made.
pytestmark = pytest.mark.contract("today")


def test_grades_that_cannot_be_had_or_believed_leave_their_rewards_to_default(
    judged: Callable[..., Settings], connection: Connection, peer: JudgePeer
) -> None:
    # More that go unanswered in a row, and the rest would not be asked about.
    failures = {how: why for how, why in MISBEHAVIOURS.items() if why != "no_answer"}
    failures["internal error"] = failures["strange words"] = "no_answer"
    rows = [
        row(f"{answer}, {how}", f"{how}-{n}", 100.0 * n, scenario=how)
        for how in (*failures, "nothing amiss")
        for n, answer in enumerate(ANSWERS)
    ]
    insert_trajectories(connection, rows)
    seal(connection)
    peer.as_asked = True
    before = counted("babylon_ruler_fallbacks_total", reason="bounds")

    done = run(judged())

    assert (done.state, done.scored) == ("scored", len(rows))
    found = scores(connection)
    assert {found[f"nothing amiss-{n}"][0] for n in range(3)} == {"ruler"}
    for how, why in failures.items():
        members = [found[f"{how}-{n}"] for n in range(3)]
        assert {scorer for scorer, _ in members} == {f"default (ruler failed: {why})"}
        rewards = [reward for _, reward in members]
        assert rewards == sorted(set(rewards))  # by their profit, which the grades run against
    [judge_report] = judge_reports(connection)
    assert judge_report["failures"] == {why: 3 * n for why, n in Counter(failures.values()).items()}
    assert all(judge_report["details"][why] for why in failures.values())
    assert judge_report["trajectories"] == len(rows)
    assert KEY not in str(judge_report)
    assert counted("babylon_ruler_fallbacks_total", reason="bounds") == before + 6


def test_no_question_exceeds_its_tokens_and_what_is_too_long_is_left_to_default(
    judged: Callable[..., Settings], connection: Connection, peer: JudgePeer
) -> None:
    words = {"short": 100, "long": 450, "endless": 600}  # twice each, about a token
    rows = [
        row(f"{ANSWERS[n]}. {'and ' * words[size]}", f"{size}-{n}", 10.0 * n)
        for size in words
        for n in range(3)
    ]
    insert_trajectories(connection, rows)
    seal(connection)
    reported: list[tuple[int, int | None]] = []
    settings = judged(ruler_call_tokens=2200)

    score_window(settings, WINDOW, actor="test", on_answer=lambda *done: reported.append(done))

    assert len(peer.asked) == 2 * len({frozenset(asked) for asked in peer.asked}) > 2
    assert 900 <= max(said.count("and ") for asked in peer.asked for said in asked) < 1200
    assert reported[-1] == (len(peer.asked), len(peer.asked))
    found = scores(connection)
    assert {found[f"{size}-{n}"][0] for size in ("short", "long") for n in range(3)} == {"ruler"}
    assert {found[f"endless-{n}"][0] for n in range(3)} == {"default (ruler failed: too_long)"}
    [judge_report] = judge_reports(connection)
    assert "BABYLON_RULER_CALL_TOKENS" in judge_report["details"]["too_long"]


def test_members_of_a_failed_question_are_not_compared_with_graded_ones(
    judged: Callable[..., Settings], connection: Connection, peer: JudgePeer
) -> None:
    """A noisy judge that contradicts itself now and then costs those answers, not the window."""
    answers = [f"{ANSWERS[n % 2]}, {n}." for n in range(12)]
    rows = [row(answer, f"agent-{n}", 10.0 * n) for n, answer in enumerate(answers)]
    insert_trajectories(connection, rows)
    seal(connection)
    peer.grade = lambda transcript: 7.0 if f"{ANSWERS[0]}, 0." in transcript else grade(transcript)
    settings = judged(ruler_call_size=4)
    try:
        run(settings)
    finally:
        peer.grade = grade

    found = connection.execute(
        "SELECT group_key, scorer, count(*) FROM training.scores GROUP BY 1, 2 ORDER BY 1"
    ).fetchall()
    assert found == [("", "ruler", 8), ("judged=no", "default (ruler failed: bounds)", 4)]
    assert scores(connection)["agent-0"][0] == "default (ruler failed: bounds)"
    [judge_report] = judge_reports(connection)
    assert (judge_report["questions"], judge_report["failures"]) == (3, {"bounds": 4})

    peer.behave()
    again(connection)

    run(settings)

    assert [len(asked) for asked in peer.asked] == [4, 4]  # once more about those alone
    assert {scorer for scorer, _ in scores(connection, 2).values()} == {"ruler"}


def test_a_judge_that_never_answers_is_not_asked_about_every_group(
    judged: Callable[..., Settings], connection: Connection, peer: JudgePeer
) -> None:
    rows = [
        row(f"{answer} in {scenario}", f"{scenario}-{n}", scenario=f"scenario-{scenario}")
        for scenario in range(40)
        for n, answer in enumerate(ANSWERS[:2])
    ]
    insert_trajectories(connection, rows)
    seal(connection)
    peer.misbehaves = "wrong key"

    run(judged(ruler_concurrency=2))

    [judge_report] = judge_reports(connection)
    assert len(peer.requests) < 20
    assert sum(judge_report["failures"].values()) == 80
    assert judge_report["failures"]["given_up"] > 60
    assert len(scores(connection)) == 80
