"""A window scored by a judge on the loopback: grades, fallbacks, what it cost, what is asked."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from descendants import descendants
from factories import WINDOW, Row, exact_call, insert, insert_trajectories, step, trajectory
from judge_peer import COMPLETION_TOKENS, MISBEHAVIOURS, PROMPT_TOKENS, JudgePeer
from prometheus_client import REGISTRY

from babylon_tasks.db import scoring
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import NotInstalled
from babylon_tasks.pipeline.results import Scoring
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.settings import Settings
from babylon_tasks.training import judge
from babylon_tasks.windows import window_start

# What a judge is shown and says does not depend on how Babylon's tables are made.
pytestmark = pytest.mark.contract("today")
KEY = "word-of-the-judge"
MakeSettings = Callable[..., Settings]
ANSWERS = ("I buy YES at once", "I buy NO", "I wait and see")


def grade(transcript: str) -> float:
    """What the peer thinks: the shorter the better."""
    return next(0.9 - 0.3 * n for n, answer in enumerate(ANSWERS) if answer in transcript)


@pytest.fixture(scope="module")
def service() -> Iterator[JudgePeer]:
    with JudgePeer(KEY, grade) as running:
        yield running


@pytest.fixture
def peer(service: JudgePeer) -> JudgePeer:
    service.behave()
    return service


@pytest.fixture
def judged(make_settings: MakeSettings, peer: JudgePeer) -> Callable[..., Settings]:
    def make(**values: Any) -> Settings:
        return make_settings(
            **{
                "scorer": "ruler",
                "ruler_model": "openai/gpt-4o-mini",
                "ruler_base_url": peer.url,
                "ruler_api_key": KEY,
                "ruler_timeout_seconds": 3,
                **values,
            }
        )

    return make


def row(answer: str, agent: str, profit: float = 0.0, **columns: Any) -> Row:
    call = exact_call(answer, logprobs=[-0.1], token_ids=[7])
    steps = [step(0, [call]), step(1, [call], pnl=profit / 2)]
    return trajectory(agent=agent, steps=steps, final_pnl=profit, **columns)


def seal(connection: Connection) -> None:
    sealed = {"starts_at": window_start(WINDOW), "held_out": False, "state": "sealed"}
    insert(connection, "training.windows", [{"window_id": WINDOW, **sealed}])


def again(connection: Connection) -> None:
    """Let the window be scored once more, as when an outcome has come."""
    connection.execute("UPDATE training.windows SET state = 'sealed'")


def run(settings: Settings) -> Scoring:
    return score_window(settings, WINDOW, actor="test")


def scores(connection: Connection, version: int = 1) -> dict[str, tuple[str, float]]:
    """Agent: scorer and reward."""
    return {
        agent: (scorer, reward)
        for agent, scorer, reward in connection.execute(
            "SELECT agent_id, scorer, reward FROM training.scores WHERE reward_version = %s",
            [version],
        )
    }


def judge_reports(connection: Connection) -> list[dict[str, Any]]:
    rows = connection.execute(
        "SELECT detail FROM training.events WHERE kind = 'judged' ORDER BY id"
    ).fetchall()
    return [detail for (detail,) in rows]


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


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
        "usd": pytest.approx(price),
        "agreement": 1.0,
        "failures": {},
        "details": {},
    }
    assert counted("babylon_ruler_cost_total", currency="usd") - dollars == pytest.approx(price)
    assert not descendants(os.getpid(), "babylon_tasks.training.judge_process")


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


def test_grades_that_cannot_be_had_or_believed_leave_their_rewards_to_default(
    judged: Callable[..., Settings], connection: Connection, peer: JudgePeer
) -> None:
    # More that go unanswered in a row, and the rest would not be asked about.
    failures = {how: why for how, why in MISBEHAVIOURS.items() if why != "no_answer"}
    failures["internal error"] = "no_answer"
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
