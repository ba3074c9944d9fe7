"""Migration files: numbered once, in order, the same wherever they are installed."""

from __future__ import annotations

from pathlib import Path

import pytest

from babylon_tasks.db.migrate import Migration, as_sql, migrations, parse
from babylon_tasks.errors import MigrationError

FOLDER = Path(__file__).parents[3] / "migrations"


def test_the_package_holds_exactly_the_repositorys_files() -> None:
    files = sorted(FOLDER.iterdir())
    assert [migration.name for migration in migrations()] == [file.stem for file in files]
    assert [migration.sql for migration in migrations()] == [f.read_text("utf-8") for f in files]


def test_files_come_in_order_of_their_numbers() -> None:
    found = parse({"0010_ten.sql": "10", "0002_two.sql": "2"})
    assert [(migration.name, migration.sql) for migration in found] == [
        ("0002_two", "2"),
        ("0010_ten", "10"),
    ]


@pytest.mark.parametrize("name", ["1_one.sql", "0001-one.sql", "0001_One.sql", "notes.txt"])
def test_a_name_out_of_order_is_refused(name: str) -> None:
    with pytest.raises(MigrationError, match="rename it to NNNN_words"):
        parse({name: ""})


def test_one_number_for_two_files_is_refused() -> None:
    with pytest.raises(MigrationError, match=r"0001_two\.sql and 0001_one\.sql share a number"):
        parse({"0001_one.sql": "", "0001_two.sql": ""})


def test_an_installation_without_files_is_refused() -> None:
    with pytest.raises(MigrationError, match="has no migrations"):
        parse({})


def test_the_checksum_follows_the_text_alone() -> None:
    assert Migration("a", "SELECT 1").checksum == Migration("b", "SELECT 1").checksum
    assert Migration("a", "SELECT 1").checksum != Migration("a", "SELECT 2").checksum


def test_the_script_keeps_braces_and_backslashes_of_the_files() -> None:
    odd = Migration("0001_odd", r"SELECT '{}'::jsonb, E'\\n', '{name}';")
    assert odd.sql in as_sql([odd])
