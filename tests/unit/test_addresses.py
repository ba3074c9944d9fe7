"""Hosts and ports: IPv6 addresses wherever one is set, listened on or shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from recorded import trainer_settings

from babylon_tasks.addresses import bare_host, host_and_port, host_in_url
from babylon_tasks.db.session import address
from babylon_tasks.probe import own


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "127.0.0.1"), ("gpu", "gpu"), ("::1", "[::1]"), ("[::1]", "[::1]")],
)
def test_an_ipv6_address_has_brackets_in_a_url_and_none_in_a_socket(host: str, shown: str) -> None:
    assert host_in_url(host) == shown
    assert host_and_port(host, 8100) == f"{shown}:8100"
    assert bare_host(shown) == bare_host(host)
    assert "[" not in bare_host(host)


@pytest.mark.parametrize("field", ["inference_host", "metrics_host", "flower_host"])
def test_a_host_to_listen_on_may_be_written_with_brackets(field: str, tmp_path: Path) -> None:
    assert getattr(trainer_settings(tmp_path, **{field: "[::1]"}), field) == "::1"


@pytest.mark.parametrize("url", ["http://[fd00::1]:8100/v1", "http://[::1]/v1", "http://gpu:1/v1"])
def test_the_published_address_may_be_ipv6(url: str, tmp_path: Path) -> None:
    assert trainer_settings(tmp_path, inference_url=url).inference_url == url


@pytest.mark.parametrize("url", ["http://::1:8100/v1", "http://[::1:8100/v1", "http://gpu:x/v1"])
def test_an_address_that_nobody_can_read_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="BABYLON_INFERENCE_URL must look like"):
        trainer_settings(tmp_path, inference_url=url)


def test_postgres_is_shown_with_brackets(tmp_path: Path) -> None:
    url: dict[str, Any] = {"DATABASE_URL": "postgresql://b:secretsecret@[::1]:5433/b"}
    assert address(trainer_settings(tmp_path, **url)) == "[::1]:5433/b"


@pytest.mark.parametrize(
    ("host", "reached"),
    [
        ("", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104
        ("::", "::1"),
        ("[::1]", "::1"),
        ("10.0.0.7", "10.0.0.7"),
    ],
)
def test_a_probe_asks_where_its_process_listens(host: str, reached: str) -> None:
    assert own(host) == reached
