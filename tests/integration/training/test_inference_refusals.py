"""Whatever is refused is refused in OpenAI's shape, and before it costs anything."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest
from endpoint import ASKED, KEY, Endpoint, answer, head, read_all, request

from babylon_tasks.http_server import body as bodies
from babylon_tasks.http_server.limits import HEAD_BYTES, LINGER_BYTES
from babylon_tasks.training.inference.limits import BODY_BYTES
from babylon_tasks.training.policy import Policy

Serve = Callable[..., Endpoint]
LONG = "word " * 100_000  # fits into a body


def error(status: int, given: dict[str, Any]) -> tuple[int, str, str | None, str | None]:
    """An error's status, type, field and code; its shape is OpenAI's."""
    assert set(given) == {"error"}
    assert set(given["error"]) == {"message", "type", "param", "code"}
    assert given["error"]["message"]
    return status, given["error"]["type"], given["error"]["param"], given["error"]["code"]


@pytest.mark.parametrize(
    ("method", "path", "sent", "expected"),
    [
        ("POST", "chat/completions", {"key": "wrong"}, (401, None, "invalid_api_key")),
        ("GET", "models", {"key": "wrong"}, (401, None, "invalid_api_key")),
        ("GET", "anything", {"key": "none"}, (401, None, "invalid_api_key")),
        ("GET", "anything", {}, (404, None, "unknown_url")),
        ("GET", "../openapi.json", {}, (404, None, "unknown_url")),
        ("GET", "chat/completions", {}, (405, None, "method_not_supported")),
        ("POST", "models", {}, (405, None, "method_not_supported")),
        ("POST", "../health", {"key": "none"}, (405, None, "method_not_supported")),
        ("POST", "chat/completions", {"content": b"{"}, (400, None, "invalid_json")),
        ("POST", "chat/completions", {"model": "tests@7"}, (404, "model", "model_not_found")),
        (
            "POST",
            "chat/completions",
            {"model": "tests@" + "9" * 200},
            (404, "model", "model_not_found"),
        ),
        ("POST", "chat/completions", {"n": 65}, (400, "n", "invalid_value")),
        ("POST", "chat/completions", {"n": 64, "max_tokens": 1024}, (400, "n", "invalid_value")),
        (
            "POST",
            "chat/completions",
            {"response_format": {"type": "json_object"}},
            (400, "response_format", "unsupported_parameter"),
        ),
        (
            "POST",
            "chat/completions",
            {"messages": [{"role": "user", "content": "word " * 3000}]},
            (400, "messages", "context_length_exceeded"),
        ),
        (
            "POST",
            "chat/completions",
            {"messages": [{"role": "user", "content": LONG}]},
            (400, "messages", "context_length_exceeded"),
        ),
        (
            "POST",
            "chat/completions",
            {"messages": [{"role": "user", "content": LONG * 10}]},
            (413, None, "request_too_large"),
        ),
    ],
    ids=lambda case: str(case)[:30],
)
def test_an_error_is_openais(
    serve: Serve, method: str, path: str, sent: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    endpoint = serve()
    key, content = sent.pop("key", KEY), sent.pop("content", None)
    reply = httpx.request(
        method,
        f"{endpoint.url}/v1/{path}",
        headers={"Authorization": f"Bearer {key}"},
        content=content or (json.dumps({**ASKED, **sent}) if method == "POST" else None),
        timeout=60,
    )

    status, param, code = expected
    assert error(reply.status_code, reply.json()) == (status, "invalid_request_error", param, code)
    assert endpoint.rows == []  # nothing was sampled
    assert endpoint.is_healthy()


def test_what_is_not_http_is_refused_in_the_same_shape(serve: Serve) -> None:
    endpoint = serve()

    for sent, expected in (
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),  # TLS
        (b"GET /health HTTP/1.1\r\n\r\n", 400),  # no Host
        (b"GET /health HTTP/1.1\r\nX: " + b"x" * (HEAD_BYTES + 1), 431),
        (b"GET /health HTTP/1.1\r\n" + b"X: x\r\n" * HEAD_BYTES, 431),
    ):
        with endpoint.raw(sent) as connection:
            status, given = answer(read_all(connection))
        assert error(status, given)[:2] == (expected, "invalid_request_error")
    assert endpoint.is_healthy()


def test_a_broken_checkpoint_is_an_error_of_the_server(serve: Serve, policy: Policy) -> None:
    folder = policy.adapter_dir(3)
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_bytes(b"cut off")
    try:
        with serve().client() as client, pytest.raises(openai.InternalServerError) as failure:
            client.chat.completions.create(**{**ASKED, "model": "tests@3"})
    finally:
        shutil.rmtree(folder)

    assert error(500, {"error": failure.value.body}) == (
        500,
        "server_error",
        "model",
        "checkpoint_damaged",
    )


def test_a_checkpoint_in_memory_answers_after_its_files_are_gone(
    serve: Serve, policy: Policy
) -> None:
    """It was compared with what was committed when it was loaded."""
    folder = policy.adapter_dir(3)
    policy.init_adapter(seed=1)
    policy.save_trained(folder)
    with serve().client() as client:
        client.chat.completions.create(**{**ASKED, "model": "tests@3"})
        shutil.rmtree(folder)

        client.chat.completions.create(**{**ASKED, "model": "tests@3"})
        assert client.models.retrieve("tests@3").id == "tests@3"

        with policy.training():  # or it would be forgotten while it is in use
            policy.forget(3)
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(**{**ASKED, "model": "tests@3"})


def test_messages_that_the_template_refuses_are_the_clients_fault(
    serve: Serve, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = "{{ raise_exception('roles must alternate') }}"
    monkeypatch.setattr(policy.tokenizer, "chat_template", template)

    with (
        serve().client() as client,
        pytest.raises(openai.BadRequestError, match="roles must alternate") as refusal,
    ):
        client.chat.completions.create(**ASKED)

    assert refusal.value.param == "messages"


def test_the_key_is_checked_before_a_byte_of_the_body_is_read(serve: Serve) -> None:
    endpoint = serve()

    for sent in (head(length=100, key="wrong"), head(length=10**18, key=""), head(key="wrong")):
        with endpoint.raw(sent) as connection:  # and no body
            assert answer(read_all(connection))[0] == 401


def test_a_refused_client_that_still_writes_is_not_cut_off(serve: Serve) -> None:
    # Where a connection is closed with something unread, the client may lose its answer.
    with serve().raw(head(length=60_000, key="wrong")) as connection:
        raw = b""
        while not raw.endswith(b"}}"):
            raw += connection.recv(65536)
        for _ in range(6):
            connection.sendall(b"x" * 10_000)
        assert connection.recv(1) == b""  # closed in order: a reset would raise

    assert answer(raw)[0] == 401


def test_a_body_is_counted_however_it_comes(serve: Serve) -> None:
    endpoint = serve()

    with endpoint.raw(head(length=BODY_BYTES + 1)) as connection:
        assert answer(read_all(connection))[0] == 413  # before any of it
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with endpoint.raw(head()) as connection:
        for _ in range(BODY_BYTES // 0x10000 + 1):
            connection.sendall(chunk)
        assert answer(read_all(connection))[0] == 413


def test_a_body_that_does_not_come_is_not_waited_for(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.2)
    endpoint = serve(requests=1)

    with endpoint.raw(head(length=100) + b"{") as connection:
        status, given = answer(read_all(connection))

    assert error(status, given) == (408, "invalid_request_error", None, "request_timeout")
    endpoint.in_progress(0)


def test_a_connection_carries_one_request_after_the_other(serve: Serve) -> None:
    endpoint = serve()
    bad, last = request(b"{}"), b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

    with endpoint.raw(bad + bad + last) as connection:
        replies = read_all(connection)

    assert replies.count(b"HTTP/1.1 400") == 2
    assert replies.endswith(b'{"status":"ok"}')


@pytest.mark.parametrize("key", [KEY, "a stranger's"])
def test_after_a_refusal_only_who_has_the_key_may_write_on(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """More than fits into the kernel's buffers: what is not read cannot be sent."""
    monkeypatch.setattr(bodies, "LINGER_SECONDS", 60)
    body = b"x" * (LINGER_BYTES - 2**20)
    with serve().raw(head(length=len(body), key=key)) as connection:
        if key == KEY:
            connection.sendall(body)
            assert answer(read_all(connection))[0] == 413
        else:
            with pytest.raises(ConnectionError):
                connection.sendall(body)
