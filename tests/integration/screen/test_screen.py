"""A candidate and what serves answer held-out questions through an endpoint; rows show how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from evaluated_checkpoints import decisions, trained
from peer import PeerTrainer
from scored_windows import column
from screened import HOURS, Policies, Policy, constant, gibberish, knows, questions, rephrased

from babylon_tasks.db.screens import Screen
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import CheckpointNotFound, TrainingError
from babylon_tasks.faults import Fault
from babylon_tasks.pipeline.screen import screen
from babylon_tasks.settings import Settings
from babylon_tasks.training.protocol import RequestProgress

pytestmark = pytest.mark.contract("today")


def screened(settings: Settings, candidate: Policy, serves: Policy = knows, **how: Any) -> Screen:
    with Policies(at_0=serves, at_1=candidate) as server:
        return screen(settings, server.at(), 1, actor="test", **how)


@pytest.mark.usefixtures("candidate")
def test_an_equal_candidate_passes_and_each_answer_is_a_row(
    connection: Connection, settings: Settings
) -> None:
    seen: list[RequestProgress] = []

    found = screened(settings, rephrased, on_progress=seen.append)

    assert (found.result, found.against, found.serving_step) == ("passed", "serving", 0)
    assert "on 50 held-out questions (50 with a known outcome)" in (found.reason or "")
    assert found.figures is not None
    assert found.figures["valid"] == {"candidate": 1.0, "other": 1.0}
    assert found.figures["right"]["candidate"] == found.figures["right"]["other"] > 0.6
    rows = connection.execute(
        "SELECT candidate, count(*), count(DISTINCT prompt_hash), min(finish_reason), sum(tokens),"
        " sum(prompt_tokens), min(answer) FROM training.screen_samples WHERE screen_id = %s"
        " GROUP BY 1 ORDER BY 1",
        (found.id,),
    ).fetchall()
    assert rows == [
        (False, 50, 50, "stop", 100, 450, "NO"),
        (True, 50, 50, "stop", 100, 450, "No."),
    ]
    assert (seen[-1].done, seen[-1].total, seen[-1].counted) == (50, 50, "answers")
    assert decisions(connection) == []


@pytest.mark.usefixtures("candidate")
@pytest.mark.parametrize(
    ("collapsed", "why"),
    [
        (constant, "100% of the answers come to the same"),
        (gibberish, "valid answers 100.0% before, 0.0% now"),
        (lambda _: "YES " * 200, "answers that repeat themselves 0.0% before, 100.0% now"),
        (lambda _: "", "a mean length of 0 after"),
    ],
)
def test_a_collapsed_candidate_is_refused(settings: Settings, collapsed: Policy, why: str) -> None:
    found = screened(settings, collapsed)

    assert found.result == "refused"
    assert why in (found.reason or "")


@pytest.mark.usefixtures("candidate")
def test_questions_are_asked_as_agents_asked_them_half_an_hours_at_most(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    questions(connection, HOURS[2], temperature=0.2, maxTokens=40, topP=0.5)
    settings = make_settings(screen_questions=40, min_screen_questions=40)

    with Policies(at_0=knows, at_1=knows) as server:
        screen(settings, server.at(), 1, actor="test")

    sent = [body for name, body in server.asked if name == "babylon@1"]
    assert [message["role"] for message in sent[0]["messages"]] == ["system", "user"]
    how = sorted({(one["temperature"], one["top_p"], one["max_tokens"]) for one in sent})
    assert how == [(0.2, 0.5, 40), (1.0, 1.0, 16)]
    newest = [one for one in sent if HOURS[2] in one["messages"][1]["content"]]
    assert len(newest) == 20


@pytest.mark.usefixtures("candidate")
def test_the_same_questions_are_not_asked_twice_unless_that_is_wanted(settings: Settings) -> None:
    first = screened(settings, knows)

    again = screened(settings, gibberish)
    asked = screened(settings, gibberish, again=True)

    assert again == first
    assert (asked.id > first.id, asked.result) == (True, "refused")


@pytest.mark.usefixtures("candidate")
def test_a_screen_that_broke_off_has_decided_nothing_and_is_gone_on_with(
    connection: Connection, settings: Settings
) -> None:
    with Policies(at_0=knows, at_1=knows) as server:
        server.ends_after = 30
        with pytest.raises(TrainingError, match="could not be asked at") as failed:
            screen(settings, server.at(), 1, actor="one")
        kept = column(connection, "SELECT count(*) FROM training.screen_samples")
        assert column(connection, "SELECT result FROM training.screens") == [None]
        server.ends_after = None
        server.asked.clear()

        found = screen(settings, server.at(), 1, actor="other")

    assert failed.value.fault is Fault.SERVICE_REFUSES
    assert isinstance(kept[0], int)
    assert 0 < kept[0] <= 30
    assert len(server.asked) == 100 - kept[0]
    assert (found.result, found.actor) == ("passed", "one")


@pytest.mark.usefixtures("candidate")
def test_with_too_few_questions_nobody_is_asked_until_there_are_more(
    connection: Connection, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(screen_questions=100, min_screen_questions=90)
    with Policies(at_0=knows, at_1=knows) as server:
        few = screen(settings, server.at(), 1, actor="test")
        assert server.asked == []
        questions(connection, HOURS[2])

        more = screen(settings, server.at(), 1, actor="test")

    assert (few.result, few.reason) == ("too_few", "80 held-out questions of at least 90")
    assert more.result == "passed"


@pytest.mark.usefixtures("candidate")
@pytest.mark.parametrize(("refuses", "least"), [(None, 90), (HOURS[1], 60)])
def test_a_lower_minimum_of_questions_takes_effect_on_the_same_ones(
    make_settings: Callable[..., Settings], refuses: str | None, least: int
) -> None:
    strict, loose = (
        make_settings(screen_questions=100, min_screen_questions=one) for one in (least, 40)
    )
    with Policies(at_0=knows, at_1=knows) as server:
        server.refuses = refuses
        few, still = (screen(strict, server.at(), 1, actor="test") for _ in range(2))
        found, kept = (screen(loose, server.at(), 1, actor="test") for _ in range(2))
        decided = screen(strict, server.at(), 1, actor="test")

    assert (few.result, still.id) == ("too_few", few.id)
    assert (found.result, kept.id) == ("passed", found.id)
    assert decided.id == found.id, "what has decided counts whatever is enough today"


def test_a_lower_share_of_valid_answers_takes_effect_where_it_counts(
    connection: Connection, make_settings: Callable[..., Settings], trainer: PeerTrainer
) -> None:
    questions(connection, *HOURS[:2], model="gpt-4.1")
    bounds = {"screen_questions": 50, "min_screen_questions": 40}
    strict, loose = (make_settings(**bounds, min_screen_valid=share) for share in (0.9, 0.5))
    trained(connection, strict, trainer, 1)

    def begins(prompt: str) -> str:
        return knows(prompt) if sum(map(ord, prompt)) % 3 else "hm"

    results = [screened(one, begins).result for one in (strict, loose)]

    assert results == ["refused", "passed"]


@pytest.mark.usefixtures("candidate")
def test_questions_that_the_server_refuses_are_left_out_and_counted(
    make_settings: Callable[..., Settings],
) -> None:
    settings = make_settings(screen_questions=80, min_screen_questions=40)
    with Policies(at_0=knows, at_1=knows) as server:
        server.refuses = "-7 will"
        found = screen(settings, server.at(), 1, actor="test")

    assert found.result == "passed"
    assert found.figures is not None
    assert (found.figures["questions"], found.figures["left_out"]) == (78, 2)
    assert "the server refused 2 more questions" in (found.reason or "")


@pytest.mark.usefixtures("candidate")
def test_a_checkpoint_that_the_server_does_not_know_is_asked_for_again(settings: Settings) -> None:
    with Policies(at_0=knows) as server, pytest.raises(TrainingError, match="no such model"):
        screen(settings, server.at(), 1, actor="test")


@pytest.mark.usefixtures("candidate")
def test_only_checkpoints_are_screened(settings: Settings) -> None:
    with Policies() as server, pytest.raises(CheckpointNotFound, match="babylon@7"):
        screen(settings, server.at(), 7, actor="test")


def test_where_agents_use_another_model_its_recorded_answers_are_compared_with(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    """It may be better: only absolute bounds count, and nobody else is asked."""
    questions(connection, *HOURS[:2], model="gpt-4.1")
    trained(connection, settings, trainer, 1)

    def begins(prompt: str) -> str:
        return knows(prompt) if len(prompt) % 3 else "hm"

    with Policies(at_1=begins) as server:
        warm = screen(settings, server.at(), 1, actor="test")
    collapsed = screened(settings, gibberish, again=True)

    assert (warm.result, warm.against) == ("passed", "recorded")
    assert {name for name, _ in server.asked} == {"babylon@1"}
    assert collapsed.result == "refused"
    assert "0% valid answers of at least 50%" in (collapsed.reason or "")


def test_the_outcome_of_a_market_that_was_trained_on_does_not_count(
    connection: Connection, settings: Settings, trainer: PeerTrainer
) -> None:
    questions(connection, *HOURS[:2])
    trained(connection, settings, trainer, 1)
    (learned,) = column(connection, "SELECT windows[1] FROM training.steps")
    connection.execute(
        "INSERT INTO training.bets (window_id, kind, name, yes)"
        " SELECT window_id, kind, name, yes FROM training.outcomes"
    )
    connection.execute(
        "INSERT INTO training.bets (window_id, kind, name, yes)"
        " SELECT %s, kind, name, yes FROM training.outcomes WHERE name !~ '-1[0-4]$'",
        (learned,),
    )

    found = screened(settings, knows)

    assert found.figures is not None
    assert 0 < found.figures["known"] < 20
    assert "rightness not compared" in (found.reason or "")
