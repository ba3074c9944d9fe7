"""`make secrets` makes what compose.yaml mounts, once, and overwrites nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psycopg
import pytest
from ruamel.yaml import YAML

from babylon_tasks.sandbox.servers import EmbeddedPostgres
from babylon_tasks.settings import checked

ROOT = Path(__file__).parents[2]


def make(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "deploy" / "credentials.py", folder],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text("utf-8") for path in folder.iterdir()}


def test_every_secret_that_compose_mounts_is_made(tmp_path: Path) -> None:
    done = make(tmp_path / "secrets")
    assert done.returncode == 0, done.stderr
    mounted = YAML(typ="safe").load(ROOT / "compose.yaml")["secrets"].values()
    made = content(tmp_path / "secrets")
    assert {Path(secret["file"]).name for secret in mounted} == set(made)
    values = [text for name, text in made.items() if name != "pip.conf"]
    assert len(set(values)) == len(values)
    assert not any(text in done.stdout + done.stderr for text in values)


def test_the_settings_read_them_as_they_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    make(tmp_path / "secrets")
    monkeypatch.setenv("BABYLON_SECRETS_DIR", str(tmp_path / "secrets"))
    settings = checked()
    made = content(tmp_path / "secrets")
    assert settings.database_url.get_secret_value() == made["database_url"]
    assert made["postgres_password"] in made["database_url"]
    assert settings.redis_url.get_secret_value() == made["redis_url"]
    assert made["redis_password"] in made["redis_url"]
    assert settings.inference_api_key.get_secret_value() == made["babylon_inference_api_key"]
    assert settings.gateway_keys is not None
    assert settings.gateway_keys.get_secret_value() == made["babylon_gateway_keys"]
    assert settings.flower_basic_auth is not None
    assert settings.flower_basic_auth.get_secret_value() == made["flower_basic_auth"]


def test_only_the_owner_enters_the_folder_and_any_container_reads_a_mounted_file(
    tmp_path: Path,
) -> None:
    make(tmp_path / "secrets")
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "secrets").iterdir()} == {0o444}


def test_what_exists_is_never_overwritten(tmp_path: Path) -> None:
    make(tmp_path / "secrets")
    before = content(tmp_path / "secrets")
    done = make(tmp_path / "secrets")
    assert done.returncode == 1
    assert "exists and is left as it is" in done.stderr
    assert content(tmp_path / "secrets") == before
    assert [path.name for path in tmp_path.iterdir()] == ["secrets"]


def test_the_operators_own_servers_are_taken_from_the_environment(tmp_path: Path) -> None:
    own = "postgresql://me:mine@db/babylon"
    done = make(tmp_path / "secrets", DATABASE_URL=own, WANDB_API_KEY="key")
    made = content(tmp_path / "secrets")
    assert (made["database_url"], made["wandb_api_key"]) == (own, "key")
    assert "mine" not in done.stdout


def test_keda_gets_a_role_of_its_own_that_counts_windows_and_no_more(
    tmp_path: Path, database_url: str, postgres: EmbeddedPostgres
) -> None:
    done = make(tmp_path / "secrets", DATABASE_URL=f"{database_url}?schema=game&connection_limit=5")
    assert done.returncode == 0, done.stderr
    made = content(tmp_path / "secrets")
    try:
        assert psql(postgres, database_url, made["keda_role.sql"]) == 0
        counts_windows_and_no_more(made["keda_connection"])
    finally:
        drop(database_url, "babylon_tasks_keda")


def test_the_owner_of_the_schema_grants_what_only_another_can_make(
    tmp_path: Path, database_url: str, schemas_owner: str, postgres: EmbeddedPostgres
) -> None:
    make(tmp_path / "secrets", DATABASE_URL=database_url)
    made = content(tmp_path / "secrets")
    (role,) = (one for one in made["keda_role.sql"].splitlines() if "CREATE ROLE" in one)
    try:
        assert psql(postgres, schemas_owner, made["keda_role.sql"]) != 0
        assert psql(postgres, database_url, role) == 0
        assert psql(postgres, schemas_owner, made["keda_role.sql"].replace(role, "")) == 0
        counts_windows_and_no_more(made["keda_connection"])
    finally:
        drop(database_url, "babylon_tasks_keda")


@pytest.fixture
def schemas_owner(database_url: str) -> Iterator[str]:
    """The address of a role that may make no other one, as docs/quickstart.md makes it."""
    with psycopg.connect(database_url, autocommit=True) as administrator:
        administrator.execute(
            "CREATE ROLE schemas_owner LOGIN PASSWORD 'word';"
            "ALTER SCHEMA training OWNER TO schemas_owner;"
            "DO $$ DECLARE each regclass; BEGIN FOR each IN"
            " SELECT oid FROM pg_class WHERE relkind IN ('r', 'p')"
            " AND relnamespace = 'training'::regnamespace"
            " LOOP EXECUTE format('ALTER TABLE %s OWNER TO schemas_owner', each); END LOOP; END $$"
        )
    yield f"postgresql://schemas_owner:word@{database_url.rpartition('@')[2]}"
    drop(database_url, "schemas_owner")


def psql(postgres: EmbeddedPostgres, url: str, script: str) -> int:
    command = [postgres.program("psql"), "-X", "-q", url]
    return subprocess.run(command, input=script, text=True, check=False).returncode


def drop(database_url: str, role: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as administrator:
        administrator.execute(f"DROP OWNED BY {role} CASCADE")  # type: ignore[arg-type]
        administrator.execute(f"DROP ROLE {role}")  # type: ignore[arg-type]


def counts_windows_and_no_more(keda_connection: str) -> None:
    with psycopg.connect(keda_connection) as keda:
        keda.execute("SELECT count(*) FROM training.windows WHERE state = 'sealed'")
        keda.execute("SELECT windows FROM training.steps WHERE state = 'running'")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            keda.execute("SELECT count(*) FROM training.scores")


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ("sslmode=require", "sslmode=require"),
        ("schema=game&connection_limit=5", ""),
        ("sslaccept=strict", "sslmode=verify-full&sslrootcert=system"),
        ("sslrootcert=system", "sslmode=verify-full&sslrootcert=system"),
        (
            "sslmode=require&sslaccept=strict&sslcert=/etc/babylon-tasks/ca/ca.crt",
            "sslmode=verify-full&sslrootcert=/custom/ca/ca.crt",
        ),
        (
            "sslmode=verify-full&sslrootcert=/etc/babylon-tasks/ca/ca.crt",
            "sslmode=verify-full&sslrootcert=/custom/ca/ca.crt",
        ),
        (
            "sslaccept=strict&sslcert=/me.crt&sslkey=/me.key",
            "sslmode=verify-full&sslrootcert=system",
        ),
    ],
)
def test_keda_verifies_as_the_workers_do_with_a_file_of_its_own(
    tmp_path: Path, given: str, becomes: str
) -> None:
    make(tmp_path / "secrets", DATABASE_URL=f"postgresql://me:mine@db/babylon?{given}")
    query = urlsplit(content(tmp_path / "secrets")["keda_connection"]).query
    assert unquote(query) == becomes


def test_accounts_of_others_are_taken_from_the_environment(tmp_path: Path) -> None:
    given = {"WANDB_API_KEY": "one-key", "BABYLON_RULER_API_KEY": "two-key", "HF_TOKEN": "three"}
    make(tmp_path / "secrets", **given)
    made = content(tmp_path / "secrets")
    assert {name: made[name.lower()] for name in given} == given
