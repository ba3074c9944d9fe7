"""The gateway before a real inference endpoint and a real upstream: what clients get and see."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from endpoint import KEY as ENDPOINT_KEY
from endpoint import PATIENCE, Endpoint, until
from openai import OpenAI
from pydantic import SecretStr
from upstream import Upstream

from babylon_tasks.db import lineages
from babylon_tasks.db.session import Connection
from babylon_tasks.gateway.pointer import POLL_SECONDS
from babylon_tasks.gateway.process import Gateway
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract(None)

KEY = "key-of-the-agents-0"
ASKED: dict[str, Any] = {
    "model": "tests",
    "messages": [{"role": "user", "content": "Will ACME close higher?"}],
    "max_tokens": 4,
}
CALL = {"id": "c", "type": "function", "function": {"name": "trade", "arguments": "{}"}}


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    with Upstream() as made:
        yield made


@contextmanager
def opened(settings: Settings) -> Iterator[str]:
    """A gateway's address."""
    made = Gateway(settings)
    made.start()
    try:
        yield f"http://127.0.0.1:{made.port}"
    finally:
        made.stop()


Open = Callable[..., str]


@pytest.fixture
def gateway(make_settings: Callable[..., Settings], connection: Connection) -> Iterator[Open]:
    """``gateway(trainer_url, ...)``: a gateway's address; the lineage serves step 0 there."""
    with ExitStack() as stack:

        def open_one(trainer: str, **values: Any) -> str:
            settings = make_settings(
                lineage="tests",
                gateway_port=0,
                inference_api_key=ENDPOINT_KEY,
                gateway_keys=f"old:{KEY},new:another-key-of-16",
                **values,
            )
            lineages.ensure(connection, settings)
            lineages.announce(connection, "tests", backend="cpu", base_url=trainer)
            return stack.enter_context(opened(settings))

        yield open_one


def client(url: str, key: str = KEY) -> OpenAI:
    return OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=PATIENCE)


def test_the_bare_name_is_what_serves_and_the_answer_names_the_checkpoint(
    serve: Callable[..., Endpoint], gateway: Open
) -> None:
    url = gateway(f"{serve().url}/v1")
    with client(url) as agent:
        # As Babylon's client sends it: the endpoint takes 1024 at most.
        found = agent.chat.completions.create(
            **{**ASKED, "max_tokens": 8192}, stop=list("aeinorst")
        )
        assert found.model == "tests@0"
        assert found.choices[0].logprobs is None
        assert "token_ids" not in found.choices[0].to_dict()
        exact = agent.chat.completions.create(
            **ASKED, logprobs=True, extra_body={"return_token_ids": True}
        )
        ids = exact.choices[0].to_dict()["token_ids"]
        assert len(ids) == len(exact.choices[0].logprobs.content) == exact.usage.completion_tokens
        with agent.chat.completions.create(
            **ASKED, stream=True, stream_options={"include_usage": True}
        ) as stream:
            chunks = list(stream)
    assert {one.model for one in chunks} == {"tests@0"}
    assert chunks[-1].usage is not None
    assert chunks[-2].choices[0].finish_reason is not None


def test_a_promotion_is_obeyed_by_an_open_connection(
    serve: Callable[..., Endpoint], gateway: Open, connection: Connection
) -> None:
    url = gateway(f"{serve().url}/v1")
    with client(url) as agent:
        assert agent.models.list().data[0].to_dict()["serves"] == "tests@0"
        connection.execute(
            "INSERT INTO training.checkpoints (lineage, step, inference_name, uri)"
            " SELECT lineage, 1, 'tests@1', 'x' FROM training.checkpoints WHERE step = 0"
        )
        connection.execute("UPDATE training.lineages SET serving_step = 1, head_step = 1")
        until(lambda: agent.models.list().data[0].to_dict()["serves"] == "tests@1")
        assert agent.chat.completions.create(**{**ASKED, "model": "tests@0"}).model == "tests@0"


def test_another_model_goes_to_its_server_untouched(gateway: Open, upstream: Upstream) -> None:
    url = gateway(
        "http://127.0.0.1:9/v1",
        gateway_upstreams={"groq": {"base_url": upstream.url, "models": ["qwen/*"]}},
        gateway_upstream_keys="groq:the-key-of-groq",
    )
    sent = b'{ "model":"qwen/q",  "messages":[], "odd":1.50, "tools":[{"type":"function"}]}'
    reply = httpx.post(
        f"{url}/a/agent-7/v1/chat/completions",
        content=sent,
        headers={"Authorization": f"Bearer {KEY}", "Cookie": "c=d"},
    )
    assert (reply.status_code, reply.content) == (200, upstream.content)
    assert upstream.came == [("Bearer the-key-of-groq", sent)]
    assert reply.headers["x-babylon-served-by"] == "groq"
    assert reply.headers["x-ratelimit-remaining"] == "7"
    assert "set-cookie" not in reply.headers


def test_another_server_is_reached_through_the_proxy_of_the_environment(
    gateway: Open, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://user:secret-of-it@127.0.0.1:{upstream.port}")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    url = gateway(
        "http://127.0.0.1:9/v1",
        gateway_upstreams={"one": {"base_url": "http://one.invalid/v1", "models": ["m"]}},
    )
    reply = httpx.post(
        f"{url}/v1/chat/completions",
        json={"model": "m", "messages": []},
        headers={"Authorization": f"Bearer {KEY}"},
    )
    assert (reply.status_code, reply.content) == (200, upstream.content)


def test_a_part_of_an_answer_is_not_taken_for_the_whole(gateway: Open, upstream: Upstream) -> None:
    upstream.lost = 1
    url = gateway(
        "http://127.0.0.1:9/v1",
        gateway_upstreams={"one": {"base_url": upstream.url, "models": ["m"]}},
    )
    address, headers = f"{url}/v1/chat/completions", {"Authorization": f"Bearer {KEY}"}
    asked: dict[str, Any] = {"model": "m", "messages": []}
    reply = httpx.post(address, json=asked, headers=headers)
    assert (reply.status_code, reply.headers["retry-after"]) == (502, "5")
    assert "gave no answer" in reply.json()["error"]["message"]

    upstream.content = b"x" * (5 * 2**20)  # more of it than is held back
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.post(address, json=asked, headers=headers)


def test_a_stream_of_another_server_is_passed_on(gateway: Open, upstream: Upstream) -> None:
    upstream.kind, upstream.content = "text/event-stream", b'data: {"a":1}\n\ndata: [DONE]\n\n'
    url = gateway(
        "http://127.0.0.1:9/v1",
        gateway_upstreams={"one": {"base_url": upstream.url, "models": ["m"]}},
    )
    reply = httpx.post(
        f"{url}/v1/chat/completions",
        json={"model": "m", "messages": [], "stream": True},
        headers={"Authorization": f"Bearer {KEY}"},
    )
    assert reply.content == upstream.content
    assert reply.headers["content-type"] == "text/event-stream"


def test_a_trainer_that_is_away_is_replaced_and_the_answer_says_so(
    gateway: Open, upstream: Upstream
) -> None:
    url = gateway(
        "http://127.0.0.1:9/v1",
        gateway_upstreams={"groq": {"base_url": upstream.url, "models": ["qwen/*"]}},
        gateway_fallback="groq/qwen/q",
    )
    headers = {"Authorization": f"Bearer {KEY}"}
    exact = {**ASKED, "logprobs": True, "top_logprobs": 0, "return_token_ids": True}
    reply = httpx.post(f"{url}/v1/chat/completions", json=exact, headers=headers)
    assert reply.headers["x-babylon-served-by"] == "groq"
    assert reply.headers["x-babylon-fallback"] == "connect"
    assert json.loads(upstream.came[0][1]) == {**ASKED, "model": "qwen/q"}
    # Who names a checkpoint gets that one or an error.
    pinned = {**ASKED, "model": "tests@0"}
    reply = httpx.post(f"{url}/v1/chat/completions", json=pinned, headers=headers)
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "5")
    assert len(upstream.came) == 1


def test_tool_calls_come_whole_and_as_a_stream(gateway: Open, upstream: Upstream) -> None:
    message = {"role": "assistant", "content": None, "tool_calls": [CALL]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls", "token_ids": [1]}
    upstream.content = json.dumps({"id": "x", "created": 1, "choices": [choice]}).encode()
    url = gateway(upstream.url)
    tools: list[Any] = [{"type": "function", "function": {"name": "trade"}}]
    with client(url) as agent:
        whole = agent.chat.completions.create(**ASKED, tools=tools)
        assert whole.choices[0].message.tool_calls[0].function.name == "trade"
        with agent.chat.completions.create(**ASKED, tools=tools, stream=True) as stream:
            deltas = [one.choices[0].delta.tool_calls for one in stream]
    assert [one[0].id for one in deltas if one] == ["c"]
    bodies = [json.loads(body) for _, body in upstream.came]
    came = [one for one in bodies if one["max_tokens"] == ASKED["max_tokens"]]  # not what probes it
    assert len(came) == 2
    for forwarded in came:
        assert forwarded["tools"] == tools
        assert forwarded["logprobs"] is forwarded["return_token_ids"] is True
        assert "stream" not in forwarded


def test_an_answer_whose_log_probabilities_cannot_be_read_is_an_answer(
    gateway: Open, upstream: Upstream
) -> None:
    message = {"role": "assistant", "content": "buy"}
    odd = {"content": [{"token": "b", "logprob": None}]}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": odd}
    upstream.content = json.dumps({"id": "x", "created": 1, "choices": [choice]}).encode()
    with client(gateway(upstream.url)) as agent:
        assert agent.chat.completions.create(**ASKED).choices[0].message.content == "buy"


def test_an_error_of_the_server_keeps_its_status(gateway: Open, upstream: Upstream) -> None:
    upstream.status, upstream.content = 400, b'{"object":"error","message":"too long"}'
    with (
        client(gateway(upstream.url)) as agent,
        pytest.raises(openai.BadRequestError, match="too long"),
    ):
        agent.chat.completions.create(**ASKED)


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"key": "wrong"}, 401, "invalid_api_key"),
        ({"path": "/v1/responses"}, 404, "unknown_url"),
        ({"path": "/a/b%2Fc/v1/chat/completions", "model": "x"}, 404, "model_not_found"),
        ({"model": "other"}, 404, "model_not_found"),
        ({"model": 3}, 400, "invalid_value"),
        ({"header": "x" * 201}, 400, "invalid_value"),
        ({"content": b"{"}, 400, "invalid_json"),
        ({"content": b" " * (8 * 2**20 + 1)}, 413, "request_too_large"),
    ],
    ids=str,
)
def test_an_error_is_openais(gateway: Open, change: dict[str, Any], status: int, code: str) -> None:
    url = gateway("http://127.0.0.1:9/v1")
    reply = httpx.post(
        f"{url}{change.get('path', '/v1/chat/completions')}",
        content=change.get("content")
        or json.dumps({**ASKED, "model": change.get("model", "tests")}),
        headers={
            "Authorization": f"Bearer {change.get('key', KEY)}",
            "X-Babylon-Agent": change.get("header", "a"),
        },
    )
    assert reply.status_code == status
    assert reply.json()["error"]["code"] == code


def test_keys_in_a_file_change_without_a_restart(
    gateway: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BABYLON_SECRETS_DIR", str(tmp_path))
    (tmp_path / "babylon_gateway_keys").write_text("one:the-newest-key-of-all")
    url = gateway("http://127.0.0.1:9/v1")

    def status(key: str) -> int:
        return httpx.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code

    until(lambda: status("the-newest-key-of-all:agent-7") == 200)
    assert status(KEY) == 401

    (tmp_path / "babylon_gateway_keys").unlink()  # nor does everybody's key count then
    assert status(ENDPOINT_KEY) == 401


def test_keys_of_other_servers_in_a_file_change_without_a_restart(
    gateway: Open, upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = gateway(
        "http://127.0.0.1:9/v1",
        gateway_upstreams={"groq": {"base_url": upstream.url, "models": ["qwen/*"]}},
        gateway_upstream_keys="groq:the-first-key-of-groq",
    )

    def sent() -> str | None:
        httpx.post(
            f"{url}/v1/chat/completions",
            json={"model": "qwen/q", "messages": []},
            headers={"Authorization": f"Bearer {KEY}"},
        )
        return upstream.came[-1][0]

    assert sent() == "Bearer the-first-key-of-groq"
    monkeypatch.setenv("BABYLON_SECRETS_DIR", str(tmp_path))
    keys = tmp_path / "babylon_gateway_upstream_keys"
    keys.write_text("groq:the-second-key-of-groq")
    until(lambda: sent() == "Bearer the-second-key-of-groq")
    keys.unlink()  # as while it is replaced
    time.sleep(2 * POLL_SECONDS)
    assert sent() == "Bearer the-second-key-of-groq"


def test_a_stream_that_began_before_the_fallback_names_it_in_a_comment(
    gateway: Open, upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("babylon_tasks.gateway.chat.QUIET_SECONDS", 0.1)
    upstream.kind, upstream.content = "text/event-stream", b'data: {"a":1}\n\ndata: [DONE]\n\n'
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, answers nothing
        url = gateway(
            f"http://127.0.0.1:{silent.getsockname()[1]}/v1",
            gateway_upstreams={"groq": {"base_url": upstream.url, "models": ["qwen/*"]}},
            gateway_fallback="groq/qwen/q",
            gateway_timeout_seconds=2,
        )
        reply = httpx.post(
            f"{url}/v1/chat/completions",
            json={**ASKED, "stream": True},
            headers={"Authorization": f"Bearer {KEY}"},
        )
    assert reply.content.startswith(b": waiting\n\n")
    named = b": x-babylon-fallback: timeout\n: x-babylon-served-by: groq\n\n"
    assert reply.content.endswith(named + upstream.content)


def test_a_replica_is_ready_once_it_has_read_what_serves(
    make_settings: Callable[..., Settings], connection: Connection
) -> None:
    away = SecretStr("postgresql://u:planted-secret@127.0.0.1:9/none")
    with opened(make_settings(gateway_port=0, DATABASE_URL=away)) as url:
        assert httpx.get(f"{url}/healthz").status_code == 200
        reply = httpx.get(f"{url}/readyz")
        assert (reply.status_code, "Postgres" in reply.json()["error"]["message"]) == (503, True)
        assert "planted" not in reply.text
    # Where nobody serves the lineage, other servers may.
    with opened(make_settings(gateway_port=0, lineage="not-begun")) as url:
        assert httpx.get(f"{url}/readyz").status_code == 200


def test_requests_beyond_the_bound_are_refused_and_may_come_again(gateway: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, answers nothing
        url = gateway(
            f"http://127.0.0.1:{silent.getsockname()[1]}/v1",
            gateway_max_requests=1,
            gateway_timeout_seconds=5,
        )
        headers = {"Authorization": f"Bearer {KEY}"}
        with ThreadPoolExecutor(4) as agents:
            asked = [
                agents.submit(
                    httpx.post,
                    f"{url}/v1/chat/completions",
                    json=ASKED,
                    headers=headers,
                    timeout=PATIENCE,
                )
                for _ in range(4)
            ]
            replies = sorted((one.result() for one in asked), key=lambda one: one.status_code)
    assert [one.status_code for one in replies] == [429, 429, 429, 503]
    assert {one.headers["retry-after"] for one in replies} == {"5"}


def test_without_postgres_what_served_last_still_answers(
    gateway: Open, upstream: Upstream, connection: Connection
) -> None:
    url = gateway(upstream.url)
    choice = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
    upstream.content = json.dumps({"id": "x", "created": 1, "choices": [choice]}).encode()
    connection.execute("ALTER TABLE training.lineages RENAME TO elsewhere")
    with client(url) as agent:
        for _ in range(3):
            time.sleep(POLL_SECONDS)
            assert agent.chat.completions.create(**ASKED).model == "tests@0"
