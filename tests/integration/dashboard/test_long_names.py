"""Names of others as long as a page and more: no page is wider than a phone for them."""

from __future__ import annotations

from contextlib import suppress

import httpx
import psycopg
import pytest
from browsers import chromium
from command_line import one_contract
from playwright.sync_api import HttpCredentials, ViewportSize
from scored_windows import hour

from babylon_tasks.db.session import Connection

from .conftest import LOGIN
from .test_things import TEXTS

pytestmark = [one_contract, pytest.mark.usefixtures("learned")]
LONG = "<script>\u202e" + "x" * 2_000


def test_no_page_is_wider_than_a_phone(site: httpx.Client, connection: Connection) -> None:
    row = connection.execute("SELECT trajectory_id FROM training.consumption LIMIT 1").fetchone()
    assert row is not None
    for schema, table, column in connection.execute(TEXTS).fetchall():
        if column.endswith(("_id", "Id")) and column not in {"agent_id", "agentId"}:
            continue
        with suppress(psycopg.Error):  # a constraint keeps it out
            connection.execute(
                f'UPDATE {schema}."{table}" SET "{column}" = "{column}" || %s',  # noqa: S608
                [LONG],
            )
    paths = ("/", "/answers", "/checkpoints/1", "/steps/1", f"/windows/{hour(1)}")
    with chromium() as browser:
        context = browser.new_context(
            viewport=ViewportSize(width=390, height=800),
            http_credentials=HttpCredentials(username=LOGIN[0], password=LOGIN[1]),
        )
        tab = context.new_page()
        for path in (*paths, f"/trajectories/{row[0]}"):
            answer = tab.goto(f"{site.base_url}{path}")
            assert answer is not None
            assert answer.status == 200, path
            assert tab.evaluate("document.documentElement.scrollWidth") == 390, path
        context.close()
