"""Settings that contradict each other are refused at once, without repeating a value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from babylon_tasks.errors import SettingsError
from babylon_tasks.settings import Settings, checked, given, load_settings

DATABASE = "postgresql://babylon:planted-secret@127.0.0.1:5432/babylon"


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", DATABASE)
    load_settings.cache_clear()
    yield
    load_settings.cache_clear()


def test_a_database_is_all_that_must_be_set() -> None:
    settings = load_settings()
    assert settings.dsn == DATABASE
    assert settings.backend == "auto"
    assert settings.wandb_api_key is None


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:p%2Fw%40@h/b",
        "postgresql://u@h1:5432,h2:5433/b?target_session_attrs=read-write",
        "postgresql://u@[::1]:5432/b",
        "postgresql:///b?host=/run/postgresql",
        "postgresql://u@h/b?application_name=a@b",
    ],
)
def test_whatever_libpq_can_read_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    assert load_settings().database_url.get_secret_value() == url


def test_no_database_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    with pytest.raises(SettingsError, match="DATABASE_URL: Field required"):
        load_settings()


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"DATABASE_URL": "mysql://root:planted-secret@h/b"}, "must begin with postgresql://"),
        ({"REDIS_URL": "amqp://x:planted-secret@h"}, "must begin with redis://"),
        ({"DATABASE_URL": "postgresql://u:pa/planted-secret@h/b"}, "percent-encoded"),
        ({"DATABASE_URL": "postgresql://u:1/planted-secret@h/b"}, "percent-encoded"),
        ({"DATABASE_URL": "postgresql://u:[planted-secret@h/b"}, "percent-encoded"),
        ({"DATABASE_URL": "postgresql://u:%zplanted-secret@h/b"}, "percent-encoded"),
        ({"REDIS_URL": "redis://:pa/planted-secret@h:6379/0"}, "REDIS_URL cannot be read"),
        ({"REDIS_URL": "redis://:1#planted-secret@h:6379/0"}, "REDIS_URL cannot be read"),
        ({"REDIS_URL": "redis://h:planted-secret/0"}, "the port must be a number"),
        ({"REDIS_URL": "redis://h:6379/planted-secret"}, "the database in REDIS_URL"),
        ({"BABYLON_BACKEND": "serverless"}, "needs WANDB_API_KEY"),
        ({"BABYLON_BACKEND": "planted-secret"}, "backend"),
        ({"BABYLON_LINEAGE": "a@b"}, "BABYLON_LINEAGE must not contain"),
        ({"BABYLON_LINEAGE": "a/b"}, "BABYLON_LINEAGE must not contain"),
        ({"BABYLON_FINAL_LEARNING_RATE": "1"}, "exceeds BABYLON_LEARNING_RATE"),
        ({"BABYLON_MIN_EVAL_GROUPS": "99"}, "exceeds BABYLON_MAX_EVAL_GROUPS"),
        ({"BABYLON_MAX_GROUP_SIZE": "1"}, "max_group_size"),
        ({"BABYLON_HELD_OUT_SHARE": "1"}, "held_out_share"),
        ({"BABYLON_LEASE_SECONDS": "planted-secret"}, "lease_seconds"),
        (
            {"BABYLON_SECRETS_DIR": "/nowhere"},
            "BABYLON_SECRETS_DIR is /nowhere, which is not a folder",
        ),
        ({"BABYLON_INFERENCE_HOST": "0.0.0.0"}, "set BABYLON_INFERENCE_API_KEY"),  # noqa: S104
        (
            {"BABYLON_INFERENCE_HOST": "::", "BABYLON_INFERENCE_API_KEY": "planted-secret"},
            "set BABYLON_INFERENCE_URL",
        ),
        ({"BABYLON_INFERENCE_URL": "http://u:planted-secret@h/v1"}, "must look like"),
        ({"FLOWER_BASIC_AUTH": "planted-secret"}, "FLOWER_BASIC_AUTH must be user:password"),
        ({"FLOWER_BASIC_AUTH": "planted-secret:"}, "FLOWER_BASIC_AUTH must be user:password"),
        ({"FLOWER_BASIC_AUTH": ":planted-secret"}, "FLOWER_BASIC_AUTH must be user:password"),
        ({"FLOWER_BASIC_AUTH": "planted-secret:short"}, "8 characters or more"),
        ({"FLOWER_BASIC_AUTH": "u:planted-secret-ü"}, "in ASCII without spaces"),
    ],
)
def test_a_contradiction_is_named_and_no_value_repeated(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], fault: str
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=fault) as refused:
        load_settings()
    assert "planted-secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_serverless_is_accepted_with_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BABYLON_BACKEND", "serverless")
    monkeypatch.setenv("WANDB_API_KEY", "planted-secret")
    assert load_settings().backend == "serverless"


def test_no_secret_is_printed() -> None:
    assert "planted-secret" not in f"{load_settings()!r} {load_settings()}"


def test_the_environment_wins_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("BABYLON_MIN_AGENTS=5\nBABYLON_LINEAGE=from_file\n")
    monkeypatch.setenv("BABYLON_MIN_AGENTS", "3")
    assert (load_settings().min_agents, load_settings().lineage) == (3, "from_file")


def test_secrets_are_read_from_files_where_the_environment_lacks_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secrets = {
        "REDIS_URL": "redis://:planted-secret@h:6379/0\n",
        "wandb_api_key": "planted-key",
        "babylon_inference_api_key": "planted-inference",
        "FLOWER_BASIC_AUTH": "watch:planted-login\n",
        "DATABASE_URL": "postgresql://elsewhere/b",
    }
    for name, value in secrets.items():
        (tmp_path / name).write_text(value)
    monkeypatch.setenv("BABYLON_SECRETS_DIR", str(tmp_path))

    settings = load_settings()

    assert settings.redis_url.get_secret_value() == "redis://:planted-secret@h:6379/0"
    assert settings.wandb_api_key is not None
    assert settings.wandb_api_key.get_secret_value() == "planted-key"
    assert settings.inference_api_key.get_secret_value() == "planted-inference"
    assert settings.flower_basic_auth is not None
    assert settings.flower_basic_auth.get_secret_value() == "watch:planted-login"
    assert settings.dsn == DATABASE
    assert "planted" not in f"{settings!r}"


def test_what_babylon_writes_for_prisma_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{DATABASE}?schema=game&connection_limit=5&sslmode=prefer")
    settings = load_settings()
    assert settings.dsn == f"{DATABASE}?sslmode=prefer"
    assert settings.database_schema == "game"


def test_a_schema_that_is_no_plain_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{DATABASE}?schema=public%20-c%20role")
    with pytest.raises(SettingsError, match="not a plain name"):
        load_settings()


def test_values_that_cannot_be_used_are_refused_without_being_repeated() -> None:
    with pytest.raises(SettingsError, match="must begin with postgresql://") as refusal:
        checked(DATABASE_URL="mysql://root:planted-secret@h/b", inference_api_key="planted-key")
    assert "planted" not in str(refusal.value)
    assert refusal.value.__cause__ is None
    assert refusal.value.__suppress_context__


def test_not_even_pydantic_repeats_a_value() -> None:
    with pytest.raises(ValidationError) as refusal:
        Settings(DATABASE_URL="mysql://root:planted-secret@h/b", inference_api_key="planted-key")
    assert "planted" not in str(refusal.value)


def test_what_is_set_is_known_by_variable_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "REDIS_URL").write_text("redis://from-a-secret/0\n")
    (secrets / "database_url").write_text("not even readable")
    (tmp_path / ".env").write_text("BABYLON_INFERENCE_PORT=8200\nBABYLON_FLOWER_PORT=\n")
    monkeypatch.setenv("BABYLON_SECRETS_DIR", str(secrets))
    assert given() == {
        "DATABASE_URL": DATABASE,  # the environment's
        "REDIS_URL": "redis://from-a-secret/0",
        "BABYLON_INFERENCE_PORT": "8200",
    }


@pytest.mark.parametrize("where", ["environment", "file", "secret"])
def test_a_name_of_an_earlier_version_is_refused_with_what_says_it_now(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, where: str
) -> None:
    name = "BABYLON_ALLOW_WITHOUT_LOGPROBS"
    if where == "environment":
        monkeypatch.setenv(name.lower(), "true")
    elif where == "file":
        (tmp_path / ".env").write_text(f"{name}=true\n")
    else:
        secrets = tmp_path / "secrets"
        secrets.mkdir()
        (secrets / name).write_text("true")
        monkeypatch.setenv("BABYLON_SECRETS_DIR", str(secrets))

    with pytest.raises(SettingsError, match="set BABYLON_LOGPROBS=exact,none"):
        load_settings()


@pytest.mark.parametrize("labels", ["", "exact,exact", "exact,guessed"])
def test_labels_are_those_there_are_once_each(monkeypatch: pytest.MonkeyPatch, labels: str) -> None:
    monkeypatch.setenv("BABYLON_LOGPROBS", labels)

    with pytest.raises(SettingsError, match="BABYLON_LOGPROBS"):
        load_settings()
