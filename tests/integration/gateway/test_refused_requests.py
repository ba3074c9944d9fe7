"""What a server says to the gateway's own key, credit or address is not told to its agents."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from gateways import Played
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

pytestmark = pytest.mark.contract(None)

# A wrong key, no credit, no right, a proxy's login, a request that took its server too long, and
# an address that has moved.
OURS = (401, 402, 403, 407, 408, 302)
PLANTED = b'{"error":{"message":"Incorrect API key provided: planted","code":"invalid_api_key"}}'


Play = Callable[..., AbstractContextManager[Played]]


def counted(server: str, status: int) -> float:
    labels = {"server": server, "code": str(status)}
    return REGISTRY.get_sample_value("babylon_gateway_refused_total", labels) or 0.0


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", ["tests", "tests@0"])
def test_without_a_fallback_it_is_an_error_of_the_server_that_may_be_tried_again(
    played: Play, model: str, stream: bool
) -> None:
    with played() as made:
        made.trainer.content = PLANTED
        for status in OURS:
            before = counted("checkpoint", status)
            made.trainer.status = status
            reply = made.ask(model, stream=stream)
            assert (reply.status_code, reply.headers["retry-after"]) == (503, "5"), status
            assert "refused" in reply.json()["error"]["message"]
            assert "planted" not in reply.text
            assert counted("checkpoint", status) == before + 1


def test_with_a_fallback_that_answers_and_says_why(played: Play) -> None:
    with played(gateway_fallback="other/m") as made, capture_logs() as logged:
        for status in (401, 401, 402, 403, 408):  # no more than open the breaker
            made.trainer.status, made.trainer.content = status, PLANTED
            reply = made.ask()
            assert (reply.status_code, reply.content) == (200, made.other.content), status
            assert reply.headers["x-babylon-fallback"] == "refused"
        made.trainer.status = 200
        assert made.ask().headers["x-babylon-fallback"] == "paused"
    lines = [one for one in logged if one["event"] == "server_request.refused"]
    assert [one["status"] for one in lines] == [401, 402, 403, 408], "each once a minute"
    assert {one["address"] for one in lines} == {made.trainer.url}
    assert all("BABYLON_INFERENCE_API_KEY" in one["remedy"] for one in lines)


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_is_wrong_with_the_request_is_told(played: Play, status: int) -> None:
    with played(gateway_fallback="other/m") as made:
        made.trainer.status, made.trainer.content = status, b'{"error":{"message":"too long"}}'
        reply = made.ask()
        assert (reply.status_code, reply.json()["error"]["message"]) == (status, "too long")


def test_nor_is_what_the_fallback_says_of_its_key_and_model(played: Play) -> None:
    with played(gateway_fallback="other/m") as made:
        made.trainer.status, made.other.content = 500, PLANTED
        for status in (401, 402, 403, 404):
            before = counted("other", status)
            made.other.status = status
            reply = made.ask()
            assert (reply.status_code, reply.headers["retry-after"]) == (502, "5"), status
            assert "planted" not in reply.text
            assert counted("other", status) == before + 1
        made.other.status = 429
        assert made.ask().status_code == 429


def test_who_asks_for_another_servers_model_gets_what_it_says(played: Play) -> None:
    with played() as made:
        made.other.status, made.other.content = 401, PLANTED
        before = counted("other", 401)
        reply = made.ask("m")
        assert (reply.status_code, reply.content) == (401, PLANTED)
        assert counted("other", 401) == before + 1
