"""Settings that contradict each other are refused at once, without repeating a value."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from babylon_tasks.errors import SettingsError
from babylon_tasks.read_settings import read
from babylon_tasks.settings import Settings, checked, load_settings

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
        "postgresql://u@h/b?application_name=a%40b",
    ],
)
def test_whatever_libpq_can_read_is_taken(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    assert load_settings().database_url.get_secret_value() == url


def test_no_database_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL")
    with pytest.raises(SettingsError, match="DATABASE_URL is not set"):
        load_settings()


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"DATABASE_URL": "mysql://root:planted-secret@h/b"}, "must begin with postgresql://"),
        ({"REDIS_URL": "amqp://x:planted-secret@h"}, "must begin with redis:// or rediss://"),
        ({"DATABASE_URL": "postgresql://u:pa/planted-secret@h/b"}, "percent-encoded"),
        ({"DATABASE_URL": "postgresql://u:1/planted-secret@h/b"}, "percent-encoded"),
        ({"DATABASE_URL": "postgresql://u:[planted-secret@h/b"}, "percent-encoded"),
        ({"DATABASE_URL": "postgresql://u:%zplanted-secret@h/b"}, "percent-encoded"),
        ({"REDIS_URL": "redis://:pa/planted-secret@h:6379/0"}, "REDIS_URL cannot be read"),
        ({"REDIS_URL": "redis://:1#planted-secret@h:6379/0"}, "REDIS_URL cannot be read"),
        ({"REDIS_URL": "redis://h:planted-secret/0"}, "the port must be a number"),
        ({"REDIS_URL": "redis://h:6379/planted-secret"}, "the database in REDIS_URL"),
        ({"BABYLON_BACKEND": "serverless"}, "needs WANDB_API_KEY"),
        ({"BABYLON_BACKEND": "planted-secret"}, "BABYLON_BACKEND"),
        ({"BABYLON_BASE_MODEL_ALIASES": "a, babylon"}, "ALIASES lists BABYLON_LINEAGE or"),
        ({"BABYLON_FINAL_LEARNING_RATE": "1"}, "exceeds BABYLON_LEARNING_RATE"),
        ({"BABYLON_FINAL_LEARNING_RATE": "0"}, "BABYLON_FINAL_LEARNING_RATE"),
        ({"BABYLON_MIN_REWARD_SPREAD": "1"}, "BABYLON_MIN_REWARD_SPREAD"),
        ({"BABYLON_ADVANTAGE_BALANCE": "1"}, "BABYLON_ADVANTAGE_BALANCE"),
        ({"BABYLON_MAX_GROUP_SIZE": "1"}, "BABYLON_MAX_GROUP_SIZE"),
        ({"BABYLON_HELD_OUT_SHARE": "1"}, "BABYLON_HELD_OUT_SHARE"),
        ({"BABYLON_LEASE_SECONDS": "planted-secret"}, "BABYLON_LEASE_SECONDS"),
        (
            {"BABYLON_SECRETS_DIR": "/nowhere"},
            "BABYLON_SECRETS_DIR is /nowhere, which is not a folder",
        ),
        ({"BABYLON_INFERENCE_HOST": "0.0.0.0"}, "set BABYLON_INFERENCE_API_KEY"),  # noqa: S104
        (
            {"BABYLON_INFERENCE_HOST": "::", "BABYLON_INFERENCE_API_KEY": "planted-secret-16"},
            "set BABYLON_INFERENCE_URL",
        ),
        ({"BABYLON_INFERENCE_URL": "http://u:planted-secret@h/v1"}, "must look like"),
        ({"BABYLON_INFERENCE_URL": "http://h?key=planted-secret/v1"}, "must look like"),
        ({"BABYLON_RULER_BASE_URL": "http://planted-secret@h/v1"}, "RULER_BASE_URL must look like"),
        ({"BABYLON_RULER_BASE_URL": "http://h/v1?key=planted-secret"}, "must look like"),
        ({"BABYLON_WANDB_BASE_URL": "http://h/?key=planted-secret"}, "must look like"),
        ({"BABYLON_INFERENCE_API_KEY": "x"}, "must be 16 or more .* `make secrets` makes one"),
        ({"BABYLON_INFERENCE_API_KEY": "planted-secret"}, "BABYLON_INFERENCE_API_KEY must be 16"),
        ({"BABYLON_INFERENCE_API_KEY": "planted-secret of two"}, "without white space"),
        ({"BABYLON_INFERENCE_API_KEY": "planted-secret-ümlaut"}, "ASCII"),
        ({"WANDB_API_KEY": "planted"}, "WANDB_API_KEY must be 8 or more"),
        ({"BABYLON_RULER_API_KEY": "EMPTY"}, "a server without keys needs none"),
        ({"BABYLON_GATEWAY_HOST": "::"}, "set BABYLON_GATEWAY_KEYS"),
        ({"BABYLON_GATEWAY_KEYS": "planted-secret"}, "BABYLON_GATEWAY_KEYS must be NAME:KEY"),
        ({"BABYLON_GATEWAY_KEYS": "a:planted-secret"}, "must be 16 or more"),
        ({"BABYLON_GATEWAY_AGENT_PATTERN": "(planted-secret"}, "is not a regular expression"),
        ({"BABYLON_GATEWAY_AGENT_PATTERN": "(planted-secret)"}, "one named group"),
        ({"BABYLON_GATEWAY_UPSTREAM_KEYS": "a:planted-secret"}, "does not name"),
        ({"BABYLON_GATEWAY_FALLBACK": "planted-secret/m"}, "must be SERVER/MODEL"),
        (
            {"BABYLON_GATEWAY_UPSTREAMS": '{"a": {"base_url": "planted-secret", "models": ["m"]}}'},
            "base_url of a in BABYLON_GATEWAY_UPSTREAMS must look like",
        ),
        ({"FLOWER_BASIC_AUTH": "planted-secret"}, "FLOWER_BASIC_AUTH must be user:password"),
        ({"FLOWER_BASIC_AUTH": "planted-secret:"}, "FLOWER_BASIC_AUTH must be user:password"),
        ({"FLOWER_BASIC_AUTH": ":planted-secret"}, "FLOWER_BASIC_AUTH must be user:password"),
        ({"FLOWER_BASIC_AUTH": "planted-secret:short"}, "8 characters or more"),
        ({"FLOWER_BASIC_AUTH": "u:planted-secret-ü"}, "in ASCII without spaces"),
    ],
)
def test_a_contradiction_is_named_and_no_value_repeated(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, str], problem: str
) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=problem) as refused:
        load_settings()
    assert "planted-secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_serverless_is_accepted_with_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BABYLON_BACKEND", "serverless")
    monkeypatch.setenv("WANDB_API_KEY", "planted-secret")
    assert load_settings().backend == "serverless"


def test_no_secret_is_printed() -> None:
    assert "planted-secret" not in f"{load_settings()!r} {load_settings()}"


def test_what_babylon_writes_for_prisma_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{DATABASE}?schema=game&connection_limit=5&sslmode=prefer")
    settings = load_settings()
    assert settings.dsn == f"{DATABASE}?sslmode=prefer"
    assert settings.database_schema == "game"


@pytest.mark.parametrize(("written", "pooled"), [("true", True), ("false", False)])
def test_prismas_pgbouncer_is_obeyed(
    monkeypatch: pytest.MonkeyPatch, written: str, pooled: bool
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{DATABASE}?pgbouncer={written}&statement_cache_size=7")
    settings = load_settings()
    assert (settings.pooled, settings.prepared_statements) == (pooled, 7)
    assert settings.dsn == DATABASE


@pytest.mark.parametrize("parameter", ["pgbouncer=True", "statement_cache_size=planted"])
def test_what_prisma_itself_would_refuse_is_refused(
    monkeypatch: pytest.MonkeyPatch, parameter: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"{DATABASE}?{parameter}")
    with pytest.raises(SettingsError, match=f"{parameter.partition('=')[0]} in DATABASE_URL"):
        load_settings()


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


@pytest.mark.parametrize("labels", [",", "exact,exact", "exact,guessed"])
def test_labels_are_those_there_are_once_each(monkeypatch: pytest.MonkeyPatch, labels: str) -> None:
    monkeypatch.setenv("BABYLON_LOGPROBS", labels)

    with pytest.raises(SettingsError, match="BABYLON_LOGPROBS"):
        load_settings()


@pytest.mark.parametrize("name", ["BABYLON_LINEAGE", "BABYLON_PROJECT", "BABYLON_ENTITY"])
@pytest.mark.parametrize(
    "value",
    [
        *("a@b", "a/b", "..", ".", ".hidden", "-option", "a b", "a\tb", "a\\b", "a:b", "größe"),
        *("\x1b[31m", "~", "a%2fb", "a" * 101),
    ],
)
def test_a_name_that_becomes_a_path_is_a_plain_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=f"{name} must be a plain name"):
        load_settings()


@pytest.mark.parametrize("value", ["babylon", "smol-135m_v1.5", "2026", "A"])
def test_a_plain_name_is_accepted(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("BABYLON_LINEAGE", value)
    assert load_settings().lineage == value


def test_no_number_is_infinite() -> None:
    """JSON has no such number: a comparison that began with one could not be read again."""
    numbers = [
        name
        for name, about in Settings.model_fields.items()
        if about.annotation in (float, float | None)
    ]
    with pytest.raises(SettingsError) as refused:
        read(Settings, **dict.fromkeys(numbers, "inf"))
    assert [name for name in numbers if f"BABYLON_{name.upper()} " not in str(refused.value)] == []
