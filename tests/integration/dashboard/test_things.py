"""The dashboard's pages of single things, of a real run: what is on them, and where they lead."""

from __future__ import annotations

from contextlib import suppress
from typing import LiteralString

import httpx
import psycopg
import pytest
from command_line import one_contract
from page_elements import HOSTILE, Elements
from scored_windows import hour

from babylon_tasks.db import run_report
from babylon_tasks.db.session import Connection
from babylon_tasks.plain_text import plain

pytestmark = [one_contract, pytest.mark.usefixtures("learned")]
# Of their texts each may be anybody's.
TEXTS = """
    SELECT table_schema, table_name, column_name FROM information_schema.columns
    WHERE table_schema IN ('training', 'public') AND data_type = 'text'
      AND table_name <> 'migrations' AND column_name NOT IN ('state', 'name')
"""


def seen(site: httpx.Client, path: str) -> Elements:
    found = site.get(path)
    assert found.status_code == 200, found.text
    assert plain(found.text, keep="\n") == found.text
    return Elements(found.text)


def test_each_link_leads_to_a_page(site: httpx.Client) -> None:
    asked, waiting = set[str](), {"/answers", "/checkpoints/2", "/steps/2", f"/windows/{hour(1)}"}
    while waiting:
        path = waiting.pop()
        asked.add(path)
        links = {one for one in seen(site, path).links if one.startswith("/")}
        waiting |= links - asked - {"/"}
    kinds = {path.split("/")[1] for path in asked}
    assert kinds == {"answers", "checkpoints", "steps", "windows", "trajectories"}
    assert {"/checkpoints/0", "/checkpoints/1", "/steps/1"} <= asked


def test_an_hour_says_who_was_in_it_and_what_was_decided(site: httpx.Client) -> None:
    page = seen(site, f"/windows/{hour(1)}")

    for one in (f"{hour(1)} is scored", "Best 1: 1.000", "Who was compared with whom", "promote"):
        assert one in page.words
    assert "/steps/1" in page.links
    assert seen(site, f"/windows/{hour(1)[:13]}:59").words == page.words  # any moment of it


@pytest.mark.parametrize(
    ("waits", "idle"),
    [
        ("UPDATE training.windows SET waits_until = now() + interval '1 hour'", "outcomes"),
        ("UPDATE training.windows SET rescore = 'outcomes have arrived'", "new_rewards"),
        (
            "INSERT INTO training.tripwires (lineage, window_id, reward_version, target_step, kind,"
            " policy, what, measured, bound, source, evidence, actor)"
            " SELECT 'babylon', window_id, 1, 2, 'length', 'hold', 'length pays', 1, 0, 'test',"
            " '{}', 'test' FROM training.windows",
            "tripwire",
        ),
    ],
)
def test_nothing_says_that_a_step_may_take_what_waits(
    site: httpx.Client, connection: Connection, waits: LiteralString, idle: str
) -> None:
    assert "a step may take it" in seen(site, f"/windows/{hour(1)}").words

    connection.execute(waits)

    assert "a step may take it" not in seen(site, f"/windows/{hour(1)}").words
    windows = run_report.read(connection, "babylon", since=None).windows
    assert {one.idle for one in windows} == {idle, None}  # held-out ones are none of a step's
    assert {one.idle for one in windows if one.state == "scored"} == {idle}


def test_an_hour_without_rewards_says_so_of_itself(
    site: httpx.Client, connection: Connection
) -> None:
    connection.execute("DELETE FROM training.scores")

    found = seen(site, f"/windows/{hour(1)}").words

    assert "There are no rewards of this hour" in found
    assert "None of the newest windows" not in found


def test_a_step_says_what_it_took_and_how_it_went(site: httpx.Client) -> None:
    page = seen(site, "/steps/1")

    for one in ("Step 1 from 0: committed", "manifest ", "What it took", "1.000"):
        assert one in page.words
    assert {f"/windows/{hour(1)}", "/checkpoints/1"} <= set(page.links)


def test_a_trajectory_shows_prompt_answer_reward_and_use(
    site: httpx.Client, connection: Connection
) -> None:
    row = connection.execute("SELECT trajectory_id FROM training.consumption LIMIT 1").fetchone()
    assert row is not None

    page = seen(site, f"/trajectories/{row[0]}")

    for one in ("Will ACME close higher?", "comparable ones got", "Scores", "Uses"):
        assert one in page.words


def test_a_checkpoint_says_what_it_came_from_and_when_it_served(site: httpx.Client) -> None:
    page = seen(site, "/checkpoints/1")

    for one in ("babylon@1 was made at", "until test: it looked odd", "from 0; value 0.700"):
        assert one in page.words
    assert "serves now" in seen(site, "/checkpoints/0").words


@pytest.mark.parametrize(
    "path",
    [
        "/steps/3",
        "/steps/x",
        "/checkpoints/3",
        "/trajectories/nobody",
        "/trajectories/nobody%00",  # Postgres takes no NUL
        "/windows/2036-01-01T00:00",
        "/windows/yesterday",
        "/windows/..%2F..",
        "/answers?since=2036-01-01",
    ],
)
def test_what_is_not_there_is_said(site: httpx.Client, path: str) -> None:
    found = site.get(path)
    assert found.status_code == 404
    page = Elements(found.text)
    assert "No page (404)" in page.words
    assert "/" in page.links


def test_what_others_wrote_is_text_on_each_page(site: httpx.Client, connection: Connection) -> None:
    paths = ["/answers", "/checkpoints/1", "/steps/1", f"/windows/{hour(1)}"]
    known = {path: seen(site, path).names for path in paths}
    for schema, table, column in connection.execute(TEXTS).fetchall():
        with suppress(psycopg.Error):  # a constraint keeps it out
            connection.execute(
                f'UPDATE {schema}."{table}" SET "{column}" = "{column}" || %s',  # noqa: S608
                [HOSTILE],
            )

    for path in paths:
        page = seen(site, path)
        assert page.names <= known[path] | {"a"}
    of_the_hour = [one for one in page.links if one.startswith("/trajectories/")]
    named = seen(site, of_the_hour[0])
    assert "alert(1)" in named.words
    assert not {"script", "img"} & named.names
