"""What serves cannot be read, for whatever reason: its age says so, and the rest goes on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from endpoint import until
from gateways import opened
from prometheus_client import REGISTRY
from psycopg.errors import QueryCanceled
from upstream import Upstream

from babylon_tasks.db import promotions
from babylon_tasks.db.session import Connection
from babylon_tasks.gateway.pointer import POLL_SECONDS
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract(None)


def age() -> float:
    return REGISTRY.get_sample_value("babylon_gateway_pointer_age_seconds") or 0.0


def canceled(*_: Any) -> None:
    raise QueryCanceled("canceling statement due to statement timeout")


def test_an_error_that_nobody_foresaw_hides_neither_the_age_nor_a_change_of_keys(
    make_settings: Callable[..., Settings],
    connection: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BABYLON_SECRETS_DIR", str(tmp_path))
    keys = tmp_path / "babylon_gateway_keys"
    keys.write_text("one:the-first-key-of-all,two:the-second-key-of-all")
    with (
        Upstream() as trainer,
        opened(make_settings, connection, trainer.url, tmp_path / "calls") as url,
    ):

        def status(key: str) -> int:
            headers = {"Authorization": f"Bearer {key}"}
            return httpx.get(f"{url}/models", headers=headers).status_code

        until(lambda: status("the-first-key-of-all") == 200)
        monkeypatch.setattr(promotions, "serving", canceled)
        keys.write_text("two:the-second-key-of-all")
        until(lambda: status("the-first-key-of-all") == 401)
        assert status("the-second-key-of-all") == 200
        until(lambda: age() > 2 * POLL_SECONDS)
        monkeypatch.undo()
        until(lambda: age() < 2 * POLL_SECONDS)


def test_nor_does_it_keep_a_replica_from_starting(
    make_settings: Callable[..., Settings],
    connection: Connection,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(promotions, "serving", canceled)
    with (
        Upstream() as trainer,
        opened(make_settings, connection, trainer.url, tmp_path) as url,
    ):
        ready = url.replace("/v1", "/readyz")
        assert httpx.get(ready).status_code == 503
        monkeypatch.undo()
        until(lambda: httpx.get(ready).status_code == 200)
