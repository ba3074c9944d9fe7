"""The queue of the endpoint: its bound, its time, and requests that nobody waits for any more."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from threading import Event
from typing import Any

import openai
import pytest
from endpoint import ASKED, Endpoint, answer, read_all, until
from prometheus_client import REGISTRY

from babylon_tasks.http_server.refusals import Refused
from babylon_tasks.training.inference import batches as inference_batches
from babylon_tasks.training.inference.batches import Batches, _Queued, fits
from babylon_tasks.training.policy import Policy
from babylon_tasks.training.sampling import SampledAnswer, SamplingRequest

Serve = Callable[..., Endpoint]


def counted(code: str) -> float:
    labels = {"lineage": "tests", "code": code}
    return REGISTRY.get_sample_value("babylon_inference_duration_seconds_count", labels) or 0


def test_beyond_the_bound_the_answer_is_429_and_says_when_to_come_back(
    serve: Serve, policy: Policy
) -> None:
    endpoint = serve(requests=2)
    with policy.lock:  # as while a step is trained
        waiting = [endpoint.ask(n=2), endpoint.ask(n=3)]
        endpoint.in_progress(2)
        with endpoint.client() as client:
            for _ in range(20):
                with pytest.raises(openai.RateLimitError, match="MAX_REQUESTS") as refusal:
                    client.chat.completions.create(**ASKED)
                assert int(refusal.value.response.headers["retry-after"]) > 0
                assert refusal.value.type == "rate_limit_error"
            assert [model.id for model in client.models.list()] == ["tests@0"]
        assert endpoint.is_healthy()

    for connection, count in zip(waiting, (2, 3), strict=True):
        until(lambda: not endpoint.server.in_progress)
        connection.shutdown(1)
        status, given = answer(read_all(connection))
        assert (status, len(given["choices"])) == (200, count)
        connection.close()


def test_openais_client_tries_again_by_itself_until_there_is_room(
    serve: Serve, policy: Policy
) -> None:
    endpoint = serve(requests=1)
    before = counted("429")
    with ThreadPoolExecutor(1) as agents, endpoint.client(max_retries=3) as client:
        with policy.lock, endpoint.ask():
            endpoint.in_progress(1)
            asked = agents.submit(client.chat.completions.create, **ASKED)
            until(lambda: counted("429") > before)
        assert len(asked.result().choices) == 1


def test_what_was_abandoned_in_the_queue_is_not_sampled(serve: Serve, policy: Policy) -> None:
    endpoint = serve()
    gone = counted("499")
    with policy.lock:
        # The first batch waits for the model, the others for the first.
        first = endpoint.ask(n=1)
        endpoint.sampled_together(1)
        for number in range(5):  # of different questions, each a row of its own at the start
            said = [{"role": "user", "content": f"Question {number}?"}]
            endpoint.ask(messages=said).close()
        last = endpoint.ask(n=2)
        until(lambda: counted("499") == gone + 5)
        endpoint.in_progress(2)
    for connection in (first, last):
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.close()

    assert max(endpoint.rows) == 2


def test_questions_to_two_checkpoints_are_not_sampled_together(
    serve: Serve, policy: Policy
) -> None:
    """As the one that is damaged shows: the other's question is answered."""
    endpoint = serve()
    folder = policy.adapter_dir(3)
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(b"cut off")
    try:
        with policy.lock:
            first = endpoint.ask()
            endpoint.sampled_together(1)
            damaged = endpoint.ask(model="tests@3")
            endpoint.in_progress(2)
            whole = endpoint.ask()
            endpoint.in_progress(3)
        expected = {first: b"HTTP/1.1 200", damaged: b"HTTP/1.1 503", whole: b"HTTP/1.1 200"}
        for connection, status in expected.items():
            assert connection.recv(65536).startswith(status)
            connection.close()
    finally:
        shutil.rmtree(folder)


def test_a_batch_that_nobody_waits_for_any_more_is_not_begun(serve: Serve, policy: Policy) -> None:
    endpoint = serve()
    with policy.lock:
        asked = endpoint.ask(n=3)
        endpoint.sampled_together(1)
        asked.close()
        endpoint.in_progress(0)
    endpoint.sampled_together(0)
    assert endpoint.rows == []

    with endpoint.ask(n=2) as other:
        assert other.recv(65536).startswith(b"HTTP/1.1 200")
    assert 3 not in endpoint.rows


def test_what_is_abandoned_while_it_is_sampled_leaves_its_batch(
    serve: Serve, policy: Policy
) -> None:
    endpoint = serve()
    begun, left = Event(), Event()

    def pause(*_: Any) -> None:
        if endpoint.rows.count(7) == 3:
            begun.set()
            left.wait(60)

    hook = policy.network.register_forward_hook(pause)
    try:
        with policy.lock:
            first = endpoint.ask()
            endpoint.sampled_together(1)  # the next two wait for it, and so are a batch
            leaving = endpoint.ask(n=5, max_tokens=30)
            staying = endpoint.ask(n=2, max_tokens=30)
            endpoint.in_progress(3)
        assert begun.wait(60)
        leaving.close()
        endpoint.in_progress(1)
        left.set()
        assert staying.recv(65536).startswith(b"HTTP/1.1 200")
    finally:
        left.set()
        hook.remove()
    first.close()
    staying.close()

    last = len(endpoint.rows) - endpoint.rows[::-1].index(7)
    assert endpoint.rows.count(7) <= 4  # one may have been under way
    assert set(endpoint.rows[last:]) <= {1, 2}


def test_a_request_is_answered_in_time_or_dropped(serve: Serve, policy: Policy) -> None:
    endpoint = serve(seconds=0.2)
    with (
        policy.lock,
        endpoint.client() as client,
        pytest.raises(openai.InternalServerError, match="TIMEOUT_SECONDS") as refusal,
    ):
        client.chat.completions.create(**{**ASKED, "n": 9})

    assert refusal.value.status_code == 503
    assert refusal.value.code == "timeout"
    endpoint.in_progress(0)
    assert 9 not in endpoint.rows


def test_a_batch_is_bounded_by_its_longest_prompt_and_answer() -> None:
    short, long = (
        SamplingRequest((1,) * 10, max_tokens=100),
        SamplingRequest((1,) * 2000, max_tokens=1000),
    )

    assert fits([short] * 256)
    assert not fits([short] * 257)
    assert fits([long] * 21)
    assert not fits([long] * 22)
    assert not fits([short] * 40 + [long])  # each row is as long as the longest


@pytest.mark.parametrize(("took", "together"), [(0.0, False), (60.0, True)])
def test_what_keeps_coming_is_waited_for_no_longer_than_the_last_batch_took(
    policy: Policy, took: float, *, together: bool
) -> None:
    async def gathered() -> int:
        batches = Batches(policy, limit=256)
        batches._took = took

        async def come() -> None:
            for _ in range(100):  # half a second at the least
                batches._queue.append(_Queued(0, SamplingRequest((1,), max_tokens=1)))
                await asyncio.sleep(0.005)

        coming = asyncio.create_task(come())
        await asyncio.sleep(0)
        await batches._gather()
        found = len(batches._queue)
        await coming
        return found

    assert (asyncio.run(gathered()) == 100) is together


@pytest.mark.parametrize(("took", "together"), [(0.0, False), (60.0, True)])
def test_a_pause_among_what_comes_may_be_longer_after_a_long_batch(
    policy: Policy, monkeypatch: pytest.MonkeyPatch, took: float, *, together: bool
) -> None:
    async def gathered() -> int:
        batches = Batches(policy, limit=256)
        batches._took = took
        one = _Queued(0, SamplingRequest((1,), max_tokens=1))
        batches._queue.append(one)

        async def slept(seconds: float) -> None:
            if seconds > 0.06 and len(batches._queue) == 1:  # the second one comes after 60 ms
                batches._queue.append(one)

        monkeypatch.setattr(asyncio, "sleep", slept)
        await batches._gather()
        return len(batches._queue)

    assert (asyncio.run(gathered()) == 2) is together


def test_batches_that_fail_the_same_way_in_a_row_have_one_traceback(
    policy: Policy, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Agents can repeat a request for ever; the log has a disk."""
    fails = True

    def sampled(*_: object, **__: object) -> list[list[SampledAnswer]]:
        if fails:
            raise RuntimeError("the network is broken")
        return [[]]

    async def ask(batches: Batches) -> None:
        await batches.sampled(0, SamplingRequest((1,), max_tokens=1))

    async def asked() -> None:
        nonlocal fails
        batches = Batches(policy, limit=8)
        for fails in (True, True, True, False, True):
            with pytest.raises(Refused, match="is broken") if fails else nullcontext():
                await ask(batches)

    monkeypatch.setattr(inference_batches, "sample", sampled)
    asyncio.run(asked())

    assert capsys.readouterr().err.count("Traceback") == 2  # another one after an answer


def test_a_long_prompt_is_tokenised_while_others_are_answered(
    serve: Serve, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = serve()
    begun, answered = Event(), Event()
    tokenise = policy.tokenizer.apply_chat_template

    def slowly(*given: Any, **options: Any) -> Any:
        begun.set()
        assert answered.wait(60)
        return tokenise(*given, **options)

    monkeypatch.setattr(policy.tokenizer, "apply_chat_template", slowly)
    with endpoint.ask() as asked:
        assert begun.wait(60)
        assert endpoint.is_healthy()
        with endpoint.client() as client:
            assert client.models.list().data
        answered.set()
        assert asked.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_prompt_that_cannot_fit_is_refused_before_it_is_tokenised(
    serve: Serve, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy.tokenizer, "apply_chat_template", None)
    said = {"role": "u" * 100_000, "content": "x" * 800_000}
    with (
        serve().client() as client,
        pytest.raises(openai.BadRequestError, match="the prompt has 900000 characters") as refusal,
    ):
        client.chat.completions.create(**{**ASKED, "messages": [said]})

    assert refusal.value.code == "context_length_exceeded"
