"""docs/quickstart.md, typed in from top to bottom by somebody whose database is only Babylon's."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from acceptance.reader import Reader
from documents import executed_by

from babylon_tasks.db.session import Connection
from babylon_tasks.tasks.app import KEY_PREFIX

Contents = dict[str, list[tuple[Any, ...]]]


def contents(connection: Connection) -> Contents:
    """Every row of Babylon's, as it was but for the time of its last change; every right on it."""
    tables = connection.execute(
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    ).fetchall()
    found: Contents = {
        name: connection.execute(
            f"""SELECT to_jsonb(t) - 'updatedAt' FROM "{name}" t ORDER BY id"""  # noqa: S608
        ).fetchall()
        for (name,) in tables
    }
    found["namespaces"] = connection.execute(
        "SELECT nspname FROM pg_namespace ORDER BY 1"
    ).fetchall()
    found["roles"] = connection.execute("SELECT rolname FROM pg_roles ORDER BY 1").fetchall()
    found["rights"] = connection.execute(
        "SELECT relname, coalesce(relacl, acldefault('r', relowner))::text FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace ORDER BY 1"
    ).fetchall()
    return found


@pytest.mark.contract("7a46248b")
@pytest.mark.timeout(600)
def test_the_first_hour_goes_as_it_is_written_and_can_be_undone(
    played_database: Connection, redis_url: str, reader: Reader
) -> None:
    before = contents(played_database)

    for block in executed_by(__file__):
        reader.follow(block)

    assert contents(played_database) == before
    with redis.Redis.from_url(redis_url) as client:
        assert list(client.scan_iter(f"{KEY_PREFIX}*")) == []
    assert not (reader.folder / ".babylon").exists()
