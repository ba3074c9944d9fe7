"""Migrations from 0018 on take the strongest lock of a table first.

A foreign key to it takes SHARE ROW EXCLUSIVE. Where ALTER TABLE asks for ACCESS EXCLUSIVE after
that, a transaction that has read the table and is about to write it waits for the migration, and
the migration for it (https://www.postgresql.org/docs/current/explicit-locking.html).
"""

from __future__ import annotations

import re

import pytest

from babylon_tasks.db.migrate import Migration, migrations

_FIRST = "0018"
_LOCKS = re.compile(r"(REFERENCES|ALTER TABLE) +(training\.\w+)")


@pytest.mark.parametrize(
    "migration", [one for one in migrations() if one.name >= _FIRST], ids=lambda one: one.name
)
def test_no_table_is_altered_after_another_refers_to_it(migration: Migration) -> None:
    code = re.sub(r"--.*", "", migration.sql)
    referred: set[str] = set()
    for what, table in _LOCKS.findall(code):
        if what == "REFERENCES":
            referred.add(table)
        else:
            assert table not in referred
