"""The endpoint on IPv6 addresses, and the address that is published for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from endpoint import ASKED, Endpoint
from openai import OpenAI
from recorded import trainer_settings

from babylon_tasks.errors import BackendUnavailable
from babylon_tasks.training.supervisor import Trainer


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "::"])
def test_an_agent_reaches_each_kind_of_address(serve: Callable[..., Endpoint], host: str) -> None:
    with serve(host).client() as client:
        assert client.chat.completions.create(**ASKED).choices


def test_all_addresses_are_ipv4_and_ipv6(serve: Callable[..., Endpoint]) -> None:
    _, port = serve("::").address

    for host in ("127.0.0.1", "[::1]"):
        assert httpx.get(f"http://{host}:{port}/health").status_code == 200


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.9"])
def test_an_address_that_is_not_of_this_machine_is_named(
    serve: Callable[..., Endpoint], host: str
) -> None:
    with pytest.raises(BackendUnavailable, match=f"cannot listen on {host} port 0"):
        serve(host)


def test_a_trainer_publishes_its_ipv6_address_as_a_url(tiny_model: Path, tmp_path: Path) -> None:
    settings = trainer_settings(tmp_path, base_model=str(tiny_model), inference_host="::1")
    with Trainer(settings) as trainer:
        url = trainer.ready().base_url
        assert url.startswith("http://[::1]:")
        key = settings.inference_api_key.get_secret_value()
        with OpenAI(base_url=url, api_key=key) as client:
            assert client.chat.completions.create(**ASKED).choices
