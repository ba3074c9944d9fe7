"""The dashboard's pages over a real run: what is on them, and what they can never do."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from threading import Event

import httpx
import psycopg
import pytest
from command_line import one_contract
from endpoint import PATIENCE, until
from page_elements import HOSTILE, Elements
from scored_windows import hour

from babylon_tasks.dashboard import pages
from babylon_tasks.dashboard.app import MOST_REQUESTS
from babylon_tasks.dashboard.process import Dashboard
from babylon_tasks.db.read_only import read_only
from babylon_tasks.db.session import Connection
from babylon_tasks.errors import DatabaseRefuses, DatabaseUnavailable
from babylon_tasks.settings import Settings

from .conftest import LOGIN

pytestmark = one_contract
TEXTS = """
    SELECT table_schema, table_name, column_name FROM information_schema.columns
    WHERE table_schema IN ('training', 'public') AND data_type = 'text'
      AND table_name <> 'migrations'
      AND column_name NOT IN ('window_id', 'windowId', 'state', 'name')
"""


@pytest.mark.usefixtures("learned")
def test_the_run_is_the_page_of_the_report(site: httpx.Client) -> None:
    found = site.get("/")

    assert found.status_code == 200
    page = Elements(found.text)
    for one in ("Is it better than yesterday?", "it looked odd", "Step 2 from 1: committed"):
        assert one in page.words
    assert "Best 1: 1.000" in page.words
    assert "/answers" in page.links
    assert "script" not in page.names


@pytest.mark.usefixtures("learned")
def test_since_is_that_of_the_command_line(site: httpx.Client) -> None:
    later = Elements(site.get("/", params={"since": hour(2)}).text)

    assert f"1 window from {hour(2)}" in later.words
    assert site.get("/", params={"since": "yesterday"}).status_code == 400
    assert site.get("/", params={"since": "2036-01-01"}).status_code == 404


def test_a_page_is_packed_where_the_browser_can_read_it(
    site: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "_find", lambda _: (lambda *_: "a long page " * 100, ""))
    packed = site.get("/")
    assert packed.headers["content-encoding"] == "gzip"

    plain = site.get("/", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    assert int(packed.headers["content-length"]) < len(plain.content) / 2
    assert packed.text == plain.text


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [
        ("gzip;q=0", False),
        ("br, gzip ; q = 0.000, identity", False),
        ("not-gzip", False),
        ("br;q=1.0, GZIP;q=0.001", True),
        ("gzip", True),
    ],
)
def test_who_forbids_gzip_gets_none(
    site: httpx.Client, monkeypatch: pytest.MonkeyPatch, accepted: str, *, packed: bool
) -> None:
    monkeypatch.setattr(pages, "_find", lambda _: (lambda *_: "a page", ""))
    found = site.get("/", headers={"accept-encoding": accepted})

    assert found.text == "a page"
    assert ("content-encoding" in found.headers) is packed


def test_a_browser_may_do_nothing_with_it(site: httpx.Client) -> None:
    for path in ("/", "/nowhere"):
        found = site.get(path).headers
        policy = found["content-security-policy"]
        assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
        assert "unsafe" not in policy
        assert {"form-action 'self'", "base-uri 'none'", "frame-ancestors 'none'"} <= set(
            policy.split("; ")
        )
        assert found["cache-control"] == "no-store"
        assert found["x-content-type-options"] == "nosniff"


@pytest.mark.usefixtures("learned")
def test_what_others_wrote_is_text(site: httpx.Client, connection: Connection) -> None:
    known = Elements(site.get("/").text).names
    for schema, table, column in connection.execute(TEXTS).fetchall():
        with suppress(psycopg.Error):  # a constraint keeps it out
            connection.execute(
                f'UPDATE {schema}."{table}" SET "{column}" = "{column}" || %s',  # noqa: S608
                [HOSTILE],
            )

    found = site.get("/")

    assert found.status_code == 200
    assert "alert(1)" in Elements(found.text).words
    assert Elements(found.text).names <= known
    assert not re.search("[\x00-\x08\x0b-\x1f]", found.text)


@pytest.mark.parametrize("since", ["<script>alert(1)</script>", '"><b>', "a\x1b[2J"])
def test_what_was_asked_for_is_text(site: httpx.Client, since: str) -> None:
    found = site.get("/", params={"since": since})
    assert found.status_code == 400
    assert not {"script", "b"} & Elements(found.text).names


def test_it_only_reads(site: httpx.Client) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        found = site.request(method, "/")
        assert (found.status_code, found.headers["allow"]) == (405, "GET, HEAD")
    assert site.head("/nowhere").status_code == 404
    assert site.get("/", params=[("since", "1d")] * 9).status_code == 400


@pytest.mark.parametrize("path", ["/", "/answers"])
def test_before_the_first_window_it_says_so(site: httpx.Client, path: str) -> None:
    found = site.get(path)
    assert found.status_code == 200
    assert "babylon has no window yet" in found.text


def test_postgres_itself_refuses_a_write(dashboard_settings: Settings) -> None:
    with (
        pytest.raises(DatabaseRefuses, match="DELETE in a read-only transaction"),
        read_only(dashboard_settings) as connection,
    ):
        connection.execute("DELETE FROM training.windows")


def test_a_transaction_cannot_be_made_one_that_writes(dashboard_settings: Settings) -> None:
    with pytest.raises(psycopg.Error), read_only(dashboard_settings) as connection:
        connection.execute("SELECT set_config('transaction_read_only', 'off', true)")


def test_a_question_that_takes_too_long_is_given_up(
    site: httpx.Client, dashboard_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        pytest.raises(DatabaseUnavailable, match="had not answered a question"),
        read_only(dashboard_settings, seconds=0.05) as connection,
    ):
        connection.execute("SELECT pg_sleep(60)")

    def slow(connection: Connection, *_: object) -> str:
        connection.execute("SET LOCAL statement_timeout = 50; SELECT pg_sleep(60)")
        return ""

    monkeypatch.setattr(pages, "_find", lambda _: (slow, ""))
    found = site.get("/")
    assert found.status_code == 503
    assert "ask for fewer windows" in found.text


def test_pages_that_nobody_waits_for_any_more_keep_nobody_out(
    site: httpx.Client, dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page is slow, so it is loaded again and again."""
    go_on = Event()
    made: list[str] = []

    def slow(*_: object) -> str:
        made.append("a page")
        assert go_on.wait(PATIENCE)
        return "a page"

    monkeypatch.setattr(pages, "_find", lambda _: (slow, ""))
    asked = site.build_request("GET", "/")
    [login] = httpx.BasicAuth(*LOGIN).sync_auth_flow(asked)
    sent = f"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: {login.headers['authorization']}\r\n\r\n"
    reloads = [
        socket.create_connection(("127.0.0.1", dashboard.port)) for _ in range(MOST_REQUESTS)
    ]
    for one in reloads:
        one.sendall(sent.encode())
    until(lambda: dashboard._app._in_progress == MOST_REQUESTS)
    assert site.get("/").status_code == 503
    until(lambda: bool(made))
    for one in reloads:
        one.close()
    until(lambda: dashboard._app._in_progress == 0)

    go_on.set()
    assert site.get("/").text == "a page"
    assert len(made) == 2, "the one that had been begun, and the one that is wanted"


def test_a_mistake_of_ours_is_logged_and_shows_nothing(
    site: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> str:
        raise KeyError("of the inside")

    monkeypatch.setattr(pages, "_find", lambda _: (broken, ""))
    found = site.get("/")
    assert found.status_code == 500
    assert "of the inside" not in found.text
