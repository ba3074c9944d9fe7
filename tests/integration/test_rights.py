"""The rights that docs/quickstart.md grants: enough for everything, and not one to spare."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

import psycopg
import pytest
from by_hand import promote_head
from captured_calls import captured_call
from documents import ROOT, blocks
from factories import fill_window
from peer import PeerTrainer
from pydantic import SecretStr

from babylon_tasks.cli import checks
from babylon_tasks.db import calls, clock
from babylon_tasks.db.babylon import TABLES
from babylon_tasks.db.migrate import apply, as_sql
from babylon_tasks.db.session import Connection, connect
from babylon_tasks.errors import DatabaseError, MigrationError
from babylon_tasks.pipeline.data_report import verify_data
from babylon_tasks.pipeline.decide_head import decide_head
from babylon_tasks.pipeline.discover import discover
from babylon_tasks.pipeline.prune_rows import prune_rows
from babylon_tasks.pipeline.reconcile import reconcile
from babylon_tasks.pipeline.score import score_window
from babylon_tasks.pipeline.screen import screen
from babylon_tasks.pipeline.serve import serve
from babylon_tasks.pipeline.train import train_window
from babylon_tasks.registry import serving
from babylon_tasks.sandbox.servers import EmbeddedPostgres
from babylon_tasks.settings import Settings
from babylon_tasks.training.ask_policies import PolicyServer
from babylon_tasks.windows import window_start

ROLE = "babylon_tasks"
WINDOW, OTHER = "2026-01-31T09:00", "2026-01-31T10:00"
_GRANT = re.compile(r"^GRANT (?P<what>.+) ON (?P<where>.+) TO babylon_tasks;$", re.MULTILINE)


def granted() -> list[tuple[str, str]]:
    """(privilege, object), one by one, as the document grants them."""
    (block,) = (b for b in blocks(ROOT / "docs/quickstart.md") if "CREATE ROLE" in b.text)
    return [
        (what.strip(), grant["where"])
        for grant in _GRANT.finditer(block.text)
        for what in re.split(r",(?![^(]*\))", grant["what"])
    ]


@pytest.fixture
def owner(babylon_database_url: str) -> Iterator[Connection]:
    """Whoever owns Babylon's tables, in a database where nobody else has any right."""
    with psycopg.connect(babylon_database_url, autocommit=True) as connection:
        connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
        fill_window(connection, WINDOW)
        fill_window(connection, OTHER)
        connection.execute(f"CREATE ROLE {ROLE} LOGIN PASSWORD 'word'")
        yield connection
        connection.execute(f"DROP OWNED BY {ROLE} CASCADE")
        connection.execute(f"DROP ROLE {ROLE}")


@pytest.fixture
def granting(
    owner: Connection, babylon_database_url: str, make_settings: Callable[..., Settings]
) -> Callable[..., Settings]:
    """``granting(but=("SELECT", "trajectories"))``: settings of the role, with all other rights.

    ``without``: tables that this Babylon has not, so that no right on them can be granted.
    """

    def make(but: tuple[str, str] | None = None, without: Sequence[str] = ()) -> Settings:
        for table in without:
            owner.execute(f"DROP TABLE {table}")  # type: ignore[arg-type]
        for what, where in granted():
            if (what, where) != but and where not in without:
                there = where.replace(':"DBNAME"', owner.info.dbname)
                owner.execute(f"GRANT {what} ON {there} TO {ROLE}")  # type: ignore[arg-type]
        address = babylon_database_url.rpartition("@")[2]
        url = f"postgresql://{ROLE}:word@{address}"
        return make_settings(
            DATABASE_URL=url, promotion_mode="manual", held_out_share=0, grace_seconds=0
        )

    return make


def test_a_role_for_which_another_migrates_can_do_everything(
    owner: Connection, postgres: EmbeddedPostgres, granting: Callable[..., Settings]
) -> None:
    settings = granting(but=("CREATE", 'DATABASE :"DBNAME"'))
    url = (
        f"postgresql://{owner.info.user}:{owner.info.password}@{owner.info.host}:{owner.info.port}"
    )
    for _ in range(2):
        subprocess.run(
            [postgres.program("psql"), "-X", "-q", f"{url}/{owner.info.dbname}"],
            input=as_sql(grant_to=ROLE),
            text=True,
            check=True,
        )
    everything(settings)


def test_without_its_grants_that_role_would_be_locked_out(
    owner: Connection, postgres: EmbeddedPostgres, granting: Callable[..., Settings]
) -> None:
    settings = granting(but=("CREATE", 'DATABASE :"DBNAME"'))
    as_owner = settings.model_copy(
        update={
            "database_url": SecretStr(
                f"postgresql://{owner.info.user}:{owner.info.password}@{owner.info.host}:"
                f"{owner.info.port}/{owner.info.dbname}"
            )
        }
    )
    apply(as_owner)
    with pytest.raises(DatabaseError, match="permission denied"):
        everything(settings)
    assert apply(as_owner, grant_to=ROLE) == []
    everything(settings)
    with pytest.raises(MigrationError, match='role nobody got no rights on it: role "nobody"'):
        apply(as_owner, grant_to="nobody")


def everything(settings: Settings) -> None:
    """All that the processes and an operator do to the database, once."""
    verify_data(settings)
    apply(settings)
    trainer = PeerTrainer(settings.data_dir)
    serve(settings, trainer)
    discover(settings, actor="test", since=window_start(WINDOW))
    for window in (WINDOW, OTHER):
        assert score_window(settings, window, actor="test").state == "scored"
        train_window(settings, trainer, window=window, actor="test")
        assert decide_head(settings, trainer, actor="test").action == "held"
        with connect(settings) as connection:
            step = promote_head(connection)
        nowhere = PolicyServer("http://127.0.0.1:1/v1", "key")
        assert screen(settings, nowhere, step, actor="test").result == "too_few"
    reconcile(settings, actor="test")
    with connect(settings) as connection:
        now = clock.now(connection)
        a_call = captured_call(asked_at=now - timedelta(days=20))
        assert calls.insert(connection, [a_call], 30 * 24).refused == 0
    assert prune_rows(settings, actor="test").call_days >= 1
    with psycopg.connect(settings.dsn, autocommit=True) as connection:
        assert serving.rollback(connection, settings.lineage, reason="r", actor="test") == 1


def test_they_are_enough(granting: Callable[..., Settings], owner: Connection) -> None:
    settings = granting()
    everything(settings)
    used = owner.execute('SELECT count(*) FROM trajectories WHERE "usedInTraining"').fetchone()
    assert used == (8,)

    owner.execute(f"REVOKE CREATE ON DATABASE {owner.info.dbname} FROM {ROLE}")  # type: ignore[arg-type]
    assert apply(settings) == [], "once migrated, the role makes no schema any more"


@pytest.mark.parametrize("missing", [*([name] for name in TABLES[1:]), TABLES[1:]], ids=", ".join)
def test_they_are_enough_where_babylon_lacks_a_table(
    granting: Callable[..., Settings], owner: Connection, missing: Sequence[str]
) -> None:
    settings = granting(without=missing)

    everything(settings)

    used = owner.execute('SELECT count(*) FROM trajectories WHERE "usedInTraining"').fetchone()
    assert used == (8,)
    not_reported = [name for name in ("training_batches", "trained_models") if name in missing]
    for kind, tables in (
        ("step_committed", not_reported),
        ("promote", [name for name in not_reported if name == "trained_models"]),
    ):
        details = owner.execute(
            "SELECT detail -> 'not_reported_to_babylon' FROM training.events WHERE kind = %s",
            [kind],
        ).fetchall()
        assert [row[0] for row in details] == [tables or None] * 2
    findings = [found for found in checks.postgres(settings) if found.check == "babylon"]
    named = {found.detail.split()[2].rstrip(":") for found in findings if found.outcome == "warn"}
    assert named == set(missing) - {"reward_judgments"}, "nobody reads or writes reward_judgments"


@pytest.mark.parametrize("right", granted(), ids=lambda right: " on ".join(right))
def test_none_is_to_spare(granting: Callable[..., Settings], right: tuple[str, str]) -> None:
    settings = granting(but=right)
    # Without USAGE on its schema a table is not even seen.
    with pytest.raises(DatabaseError, match=r"permission denied|no table of Babylon's"):
        everything(settings)
