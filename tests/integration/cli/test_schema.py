"""The database's schema: made, read off, and refused where it is behind or not Babylon's."""

from __future__ import annotations

from urllib.parse import urlsplit

import psycopg
import pytest
from command_line import Run, one_contract
from factories import (
    WINDOW,
)

from babylon_tasks.cli import main
from babylon_tasks.db.babylon import TABLES
from babylon_tasks.db.migrate import migrations


def test_migrate_applies_what_is_pending_and_says_so(run: Run, babylon_database_url: str) -> None:
    names = [migration.name for migration in migrations()]
    before = run("migrate", "--status", "--json", DATABASE_URL=babylon_database_url)
    assert before.code == 1
    assert [(m["name"], m["state"]) for m in before.document["migrations"]] == [
        (name, "pending") for name in names
    ]

    first = run("migrate", "--json", DATABASE_URL=babylon_database_url)
    again = run("migrate", "--json", DATABASE_URL=babylon_database_url)

    assert (first.code, first.document) == (0, {"created": [], "applied": names})
    assert (again.code, again.document) == (0, {"created": [], "applied": []})
    assert run("migrate", "--status", DATABASE_URL=babylon_database_url).code == 0


@one_contract
@pytest.mark.parametrize(
    "command",
    [
        ["migrate"],
        ["migrate", "--status"],
        ["doctor"],
        ["verify-data"],
        ["score", WINDOW],
        ["train"],
        ["status"],
    ],
    ids=" ".join,
)
def test_a_database_without_babylons_tables_is_reported_as_the_wrong_one_and_not_changed(
    run: Run, empty_database_url: str, command: list[str]
) -> None:
    found = run(*command, DATABASE_URL=empty_database_url)

    assert found.code == 1
    output = found.out + found.err
    url = urlsplit(empty_database_url)
    wrong = f"DATABASE_URL may be wrong: {url.hostname}:{url.port}{url.path} has no table of"
    assert 0 <= output.find(wrong) < output.find("migrate --create-babylon-tables")
    assert str(url.password) not in output
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT to_regnamespace('training')").fetchone() == (None,)


@one_contract
def test_babylons_tables_are_made_where_that_is_asked_for_and_there_is_none_of_them(
    run: Run, empty_database_url: str
) -> None:
    names = [migration.name for migration in migrations()]
    asked = ("migrate", "--create-babylon-tables", "--json")

    first = run(*asked, DATABASE_URL=empty_database_url)
    again = run(*asked, DATABASE_URL=empty_database_url)

    assert first.document == {"created": list(TABLES), "applied": names}
    assert again.document == {"created": [], "applied": []}
    assert run("verify-data", DATABASE_URL=empty_database_url).code == 0


def test_the_script_for_a_dba_needs_no_database(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(SystemExit) as ended:
        main(["migrate", "--sql"])
    assert ended.value.code == 0
    assert "CREATE TABLE training.windows" in capsys.readouterr().out


@one_contract
@pytest.mark.parametrize("command", ["windows list", "status", "models list", "doctor"])
def test_a_database_that_is_behind_is_named_with_its_remedy(
    run: Run, babylon_database_url: str, command: str
) -> None:
    found = run(*command.split(), DATABASE_URL=babylon_database_url)
    assert found.code == 1
    assert "babylon-tasks migrate" in found.out + found.err
    assert "Traceback" not in found.err
