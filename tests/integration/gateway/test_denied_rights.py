"""A gateway whose role may not read what serves: its probe names the right, and who grants it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from gateways import opened

from babylon_tasks.db.session import Connection
from babylon_tasks.settings import Settings

pytestmark = pytest.mark.contract(None)
ROLE = "narrow_gateway"


def test_the_probe_says_what_is_denied_and_who_grants_it(
    make_settings: Callable[..., Settings],
    connection: Connection,
    database_url: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    address = database_url.rpartition("@")[2]
    connection.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'planted-word'")
    try:
        with opened(
            make_settings,
            connection,
            "http://127.0.0.1:1/v1",
            tmp_path,
            DATABASE_URL=f"postgresql://{ROLE}:planted-word@{address}",
        ) as url:
            reply = httpx.get(f"{url.removesuffix('/v1')}/readyz")
        assert reply.status_code == 503
        assert "permission denied for schema training" in reply.text
        assert "its owner has to grant that to the user of DATABASE_URL" in reply.text
        assert "babylon-tasks migrate --grant-to USER" in reply.text
        for secret in (ROLE, "planted-word", address.partition("/")[0]):
            assert secret not in reply.text, "whoever asks this has shown no key"
        logged = capfd.readouterr()
        assert f"babylon-tasks migrate --grant-to {ROLE}" in logged.out + logged.err
    finally:
        connection.execute(f"DROP OWNED BY {ROLE} CASCADE")
        connection.execute(f"DROP ROLE {ROLE}")
