"""RULER in a process of its own, over litellm, against a judge on the loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from judge_peer import COMPLETION_TOKENS, MISBEHAVIOURS, PROMPT_TOKENS, JudgePeer
from recorded import trainer_settings

from babylon_tasks.errors import NotInstalled
from babylon_tasks.settings import Settings
from babylon_tasks.training import judge as judging
from babylon_tasks.training.judge import Judge
from babylon_tasks.training.judge_process import GradeRequest

KEY = "word-of-the-judge"
TIMEOUT = 3.0


def grade(transcript: str) -> float:
    """What the peer thinks of a conversation."""
    return 0.9 if '"YES"' in transcript else 0.1


def ask(number: int, *answers: str) -> GradeRequest:
    return GradeRequest(
        number,
        tuple(
            (("system", "You trade."), ("user", "ACME?"), ("assistant", answer))
            for answer in answers
        ),
    )


@pytest.fixture(scope="module")
def service() -> Iterator[JudgePeer]:
    with JudgePeer(KEY, grade) as peer:
        yield peer


def settings(peer: JudgePeer, folder: Path, **values: object) -> Settings:
    return trainer_settings(
        folder,
        scorer="ruler",
        **{
            "ruler_model": "openai/gpt-4o-mini",
            "ruler_base_url": peer.url,
            "ruler_api_key": KEY,
            "ruler_timeout_seconds": TIMEOUT,
            "ruler_concurrency": 2,
            **values,
        },
    )


@pytest.fixture(scope="module")
def judge(service: JudgePeer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Judge]:
    with Judge(settings(service, tmp_path_factory.mktemp("judge")), tick=lambda: None) as started:
        yield started


@pytest.fixture
def peer(service: JudgePeer) -> JudgePeer:
    service.behave()
    return service


def test_every_question_is_answered_with_a_grade_for_each_conversation(
    judge: Judge, peer: JudgePeer
) -> None:
    asks = [ask(number, "YES", "NO", "YES") for number in range(7)]

    answers = sorted(judge.answers(asks), key=lambda answer: answer.number)

    assert [answer.number for answer in answers] == list(range(7))
    for answer in answers:
        assert [(one.name, one.score) for one in answer.grades] == [
            ("1", 0.9),
            ("2", 0.1),
            ("3", 0.9),
        ]
        assert answer.failure is None


def test_no_model_library_is_loaded_to_ask_a_remote_model(judge: Judge, peer: JudgePeer) -> None:
    [_] = judge.answers([ask(1, "YES", "NO")])

    loaded = {Path(found.path).name for found in psutil.Process(judge.pid).memory_maps()}
    assert not {name for name in loaded if name.startswith("libtorch")}
    assert any(name.startswith("libc") for name in loaded)


def test_the_judge_reads_the_conversations_and_grades_by_the_rubric(
    judge: Judge, peer: JudgePeer
) -> None:
    [_] = judge.answers([ask(1, "YES", "NO")])

    [request] = peer.requests
    system, user = request["messages"]
    assert "give them a score between 0 and 1" in system["content"]
    assert "A trajectory that achieves its goal should always get" in system["content"]
    assert "You trade." in user["content"]
    assert request["model"] == "gpt-4o-mini"
    assert request["temperature"] == 0


def test_tokens_are_counted_and_priced_where_the_price_is_known(
    judge: Judge, peer: JudgePeer
) -> None:
    [answer] = judge.answers([ask(1, "YES", "NO")])

    assert answer.prompt_tokens == PROMPT_TOKENS
    assert answer.completion_tokens == COMPLETION_TOKENS
    # $0.15 and $0.60 a million tokens, litellm's price list says
    assert answer.usd == pytest.approx(PROMPT_TOKENS * 0.15e-6 + COMPLETION_TOKENS * 0.60e-6)


@pytest.mark.parametrize(
    ("misbehaviour", "failure"),
    [(m, f) for m, f in MISBEHAVIOURS.items() if f in ("malformed", "no_answer", "timeout")],
)
def test_an_answer_that_cannot_be_had_or_read_fails_and_the_next_is_fine(
    judge: Judge, peer: JudgePeer, misbehaviour: str, failure: str
) -> None:
    peer.misbehaves = misbehaviour

    [answer] = judge.answers([ask(1, "YES", "NO")])

    assert (answer.number, answer.grades, answer.failure) == (1, (), failure)
    assert answer.detail
    assert KEY not in answer.detail
    read = misbehaviour in ("broken off", "prose", "one short")
    assert answer.prompt_tokens == (PROMPT_TOKENS if read else 0)  # paid for all the same
    peer.misbehaves = None
    [answer] = judge.answers([ask(2, "YES", "NO")])
    assert answer.failure is None


def test_a_grade_that_is_not_a_number_is_passed_on_as_none(judge: Judge, peer: JudgePeer) -> None:
    peer.misbehaves = "no number"

    [answer] = judge.answers([ask(1, "YES", "NO")])

    assert [one.score for one in answer.grades] == [None, None]


def test_the_setting_limits_how_many_questions_are_open(judge: Judge, peer: JudgePeer) -> None:
    peer.pairs = threading.Barrier(2, timeout=TIMEOUT)

    answers = list(judge.answers(ask(number, "YES", "NO") for number in range(8)))

    assert [answer.failure for answer in answers] == [None] * 8
    assert peer.most_at_once == 2


def test_a_model_without_a_price_has_tokens_only(peer: JudgePeer, tmp_path: Path) -> None:
    with Judge(settings(peer, tmp_path, ruler_model="openai/own"), tick=lambda: None) as own:
        [answer] = own.answers([ask(1, "YES", "NO")])

    assert (answer.prompt_tokens, answer.usd) == (PROMPT_TOKENS, None)


def test_the_key_is_in_no_argument_and_no_environment(judge: Judge, peer: JudgePeer) -> None:
    [_] = judge.answers([ask(1, "YES", "NO")])

    [request] = peer.requests
    assert request.pop("authorization") == f"Bearer {KEY}"
    assert KEY not in json.dumps(request)
    child = psutil.Process(judge.pid)
    assert KEY not in "\n".join([*child.environ().values(), *child.cmdline()])


def test_a_provider_s_key_of_the_environment_is_not_sent_elsewhere(
    peer: JudgePeer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-provider")
    with Judge(settings(peer, tmp_path, ruler_api_key=None), tick=lambda: None) as keyless:
        [answer] = keyless.answers([ask(1, "YES", "NO")])

    assert answer.failure == "no_answer"  # the peer wants its own
    assert {request["authorization"] for request in peer.requests} == {"Bearer none"}


def test_open_questions_of_a_dead_judge_are_answered_with_its_death(
    peer: JudgePeer, tmp_path: Path
) -> None:
    peer.misbehaves = "silence"

    def kill() -> None:
        if peer.requests:
            psutil.Process(mortal.pid).kill()

    with Judge(settings(peer, tmp_path, ruler_timeout_seconds=60), tick=kill) as mortal:
        answers = list(mortal.answers([ask(number, "YES", "NO") for number in range(9)]))

    assert sorted(answer.number for answer in answers) == list(range(9))
    assert {answer.failure for answer in answers} == {"died"}
    assert all("ended by signal SIGKILL" in answer.detail for answer in answers)


def test_the_judge_s_process_ends_with_its_context(peer: JudgePeer, tmp_path: Path) -> None:
    with Judge(settings(peer, tmp_path), tick=lambda: None) as left:
        process = psutil.Process(left.pid)
    assert not process.is_running()


def test_where_art_is_not_installed_the_extra_is_named(
    peer: JudgePeer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judging, "find_spec", lambda _: None)
    with pytest.raises(NotInstalled, match=r"art and litellm .* babylon-tasks\[train\]"):
        Judge(settings(peer, tmp_path), tick=lambda: None)
