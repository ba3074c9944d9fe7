"""A window scored by a judge on the loopback: grades, what they cost, what is asked."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from descendants import descendants
from factories import WINDOW, insert_trajectories
from judge_peer import COMPLETION_TOKENS, PROMPT_TOKENS, JudgePeer
from judged_windows import ANSWERS, counted, judge_reports, row, run, scores, seal

from babylon_tasks.db import costs
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import NotInstalled, ScoringFailed
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.settings import Settings
from babylon_tasks.training import judge

# What a judge is shown and says does not depend on how Babylon's tables are made.
pytestmark = pytest.mark.contract("today")


def test_a_judge_s_grades_are_the_rewards_and_their_cost_is_stored_with_the_window(
    judged: Callable[..., Settings], connection: Connection, peer: JudgePeer
) -> None:
    insert_trajectories(connection, [row(answer, f"agent-{n}") for n, answer in enumerate(ANSWERS)])
    seal(connection)
    dollars = counted("babylon_ruler_cost_total", currency="usd")

    done = run(judged())

    assert (done.state, done.scored) == ("scored", 3)
    assert {agent: reward for agent, (_, reward) in scores(connection).items()} == {
        "agent-0": pytest.approx(0.9),
        "agent-1": pytest.approx(0.6),
        "agent-2": pytest.approx(0.3),
    }
    assert {scorer for scorer, _ in scores(connection).values()} == {"ruler"}
    [judge_report] = judge_reports(connection)
    price = 2 * (PROMPT_TOKENS * 0.15e-6 + COMPLETION_TOKENS * 0.60e-6)
    assert judge_report == {
        "model": "openai/gpt-4o-mini",
        "trajectories": 3,
        "questions": 1,
        "answers": 2,
        "prompt_tokens": 2 * PROMPT_TOKENS,
        "completion_tokens": 2 * COMPLETION_TOKENS,
        "uncounted": 0,
        "usd": pytest.approx(price),
        "agreement": 1.0,
        "failures": {},
        "details": {},
    }
    assert counted("babylon_ruler_cost_total", currency="usd") - dollars == pytest.approx(price)
    assert not descendants(os.getpid(), "babylon_tasks.training.judge_process")


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {"prompt_tokens": -1000, "completion_tokens": -100, "total_tokens": -1100},
        {"prompt_tokens": 10**20, "completion_tokens": 10**20, "total_tokens": 2 * 10**20},
    ],
    ids=["none", "negative", "huge"],
)
def test_what_the_judge_says_of_its_tokens_is_not_believed_whatever_it_is(
    judged: Callable[..., Settings],
    connection: Connection,
    peer: JudgePeer,
    usage: dict[str, int] | None,
) -> None:
    insert_trajectories(connection, [row(answer, f"agent-{n}") for n, answer in enumerate(ANSWERS)])
    seal(connection)
    peer.usage = usage

    assert run(judged()).state == "scored"

    assert {scorer for scorer, _ in scores(connection).values()} == {"ruler"}
    [judge_report] = judge_reports(connection)
    assert (judge_report["uncounted"], judge_report["prompt_tokens"]) == (2, 0)
    [graded] = costs.of_learning(
        connection, "babylon", since=datetime(2026, 1, 1, tzinfo=UTC)
    ).gradings
    assert (graded.uncounted, graded.prompt_tokens, graded.usd) == (2, 0, None)


def test_the_judge_sees_each_conversation_once_without_outcome_profit_or_agent(
    judged: Callable[..., Settings], connection: Connection, peer: JudgePeer
) -> None:
    insert_trajectories(
        connection,
        [row(ANSWERS[n % 2], f"agent-Alice-{n}", 12345.0 * (n % 2)) for n in range(10)],
    )
    seal(connection)

    run(judged(ruler_rubric="Whoever is brief is good."))

    assert [len(asked) for asked in peer.asked] == [2, 2]
    for request in peer.requests:
        text = str(request["messages"])
        assert ANSWERS[0] in text
        assert ANSWERS[1] in text
        assert "Whoever is brief is good." in text
        assert not any(word in text for word in ("Alice", "12345", "trajectory-"))
    rows = connection.execute(
        "SELECT scorer_version, reward, components FROM training.scores ORDER BY reward"
    ).fetchall()
    assert [reward for _, reward, _ in rows] == pytest.approx([0.6] * 5 + [0.9] * 5)
    for version, reward, shown in rows:
        assert version.startswith("1 openai/gpt-4o-mini ")
        assert shown["ruler"] == reward
        assert shown["profit"] in (0.0, 12345.0)  # beside the grade, for whoever compares


def test_where_all_conversations_are_equal_the_judge_is_not_asked(
    judged: Callable[..., Settings], connection: Connection, peer: JudgePeer
) -> None:
    insert_trajectories(connection, [row(ANSWERS[0], "a", 5.0), row(ANSWERS[0], "b", -5.0)])
    seal(connection)

    done = run(judged())

    assert peer.requests == []
    assert (done.state, done.reason) == ("skipped", "no_spread")
    assert scores(connection) == {"a": ("ruler", 0.5), "b": ("ruler", 0.5)}


def test_a_large_group_is_asked_about_in_parts_and_every_one_twice_in_another_order(
    judged: Callable[..., Settings], connection: Connection, peer: JudgePeer
) -> None:
    answers = [f"{answer}, {n}" for n in range(7) for answer in ANSWERS]
    insert_trajectories(connection, [row(answer, f"agent-{n}") for n, answer in enumerate(answers)])
    seal(connection)

    run(judged(ruler_call_size=10))

    assert sorted(map(len, peer.asked)) == [2, 2, 9, 9, 10, 10]
    orders = {frozenset(asked): set() for asked in peer.asked}
    for asked in peer.asked:
        orders[frozenset(asked)].add(tuple(asked))
    assert all(len(several) == 2 for several in orders.values())
    assert sum(map(len, orders)) == 21
    assert len(scores(connection)) == 21


def test_one_archetype_is_graded_by_the_judge_and_the_others_are_not(
    judged: Callable[..., Settings], connection: Connection, peer: JudgePeer
) -> None:
    rows = [
        row(answer, f"{archetype}-{n}", 100.0 * n, archetype=archetype)
        for archetype in ("Liar", "trader")
        for n, answer in enumerate(ANSWERS[:2])
    ]
    insert_trajectories(connection, rows)
    seal(connection)

    run(judged(scorer="profit", archetype_scorers={"liar": "ruler"}))

    assert {agent: scorer for agent, (scorer, _) in scores(connection).items()} == {
        "Liar-0": "ruler",
        "Liar-1": "ruler",
        "trader-0": "profit",
        "trader-1": "profit",
    }
    assert len(peer.requests) == 2


def test_a_judge_that_is_not_installed_is_reported_before_the_window_is_claimed(
    judged: Callable[..., Settings], connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert_trajectories(connection, [row(ANSWERS[0], "a"), row(ANSWERS[1], "b")])
    seal(connection)
    monkeypatch.setattr(judge, "find_spec", lambda _: None)

    with pytest.raises(NotInstalled, match=r"babylon-tasks\[train\]"):
        run(judged())

    assert connection.execute("SELECT state, attempt FROM training.windows").fetchone() == (
        "sealed",
        0,
    )


def test_what_the_judge_was_paid_is_on_record_where_scoring_breaks_off_meanwhile(
    judged: Callable[..., Settings], connection: Connection, peer: JudgePeer
) -> None:
    insert_trajectories(connection, [row(answer, f"agent-{n}") for n, answer in enumerate(ANSWERS)])
    seal(connection)

    def broken(done: int, wanted: int) -> None:
        raise RuntimeError(f"lost after {done} of {wanted}")

    with pytest.raises(ScoringFailed, match="lost after 1 of 2"):
        score_window(judged(ruler_timeout_seconds=60), WINDOW, actor="test", on_answer=broken)

    [judge_report] = judge_reports(connection)
    assert (judge_report["questions"], judge_report["answers"]) == (1, 1)
    assert judge_report["prompt_tokens"] == PROMPT_TOKENS
    assert scores(connection) == {}
