"""Whatever characters a password has, no four of them in a row are shown anywhere."""

from __future__ import annotations

import io
import logging
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import structlog
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from kombu import Connection
from psycopg.conninfo import conninfo_to_dict
from redis import Redis

from babylon_tasks.db.session import address
from babylon_tasks.errors import SettingsError
from babylon_tasks.log import configure
from babylon_tasks.settings import checked

ROW = 4
_NUMBERS = re.compile(r'"timestamp": "[^"]*"|0x[0-9a-f]+')  # differ whatever the password is
PLACES = {
    "the password of Postgres": {"DATABASE_URL": "postgresql://u:{}@db.internal:5432/game"},
    "Postgres, in the query": {"DATABASE_URL": "postgresql://db.internal/game?password={}"},
    "the password of Redis": {"REDIS_URL": "redis://:{}@redis.internal:6379/0"},
    "Redis, as the user": {"REDIS_URL": "redis://{}@redis.internal:6379/0"},
    "Redis, after a user": {"REDIS_URL": "rediss://u:{}@redis.internal"},
    "Redis, in the query": {"REDIS_URL": "redis://redis.internal/0?password={}"},
    "the key of inference": {"BABYLON_INFERENCE_API_KEY": "{}"},
    "the key of the judge": {"BABYLON_RULER_API_KEY": "{}"},
    "the key of W&B": {"WANDB_API_KEY": "{}"},
    "the login of Flower": {"FLOWER_BASIC_AUTH": "u:{}"},
    "the judge's address": {"BABYLON_RULER_BASE_URL": "https://u:{}@judge/v1"},
    "the judge's query": {"BABYLON_RULER_BASE_URL": "https://judge/v1?key={}"},
    "the address of inference": {"BABYLON_INFERENCE_URL": "https://{}@inference/v1"},
    "the address of W&B": {"BABYLON_WANDB_BASE_URL": "https://u:{}@proxy"},
}
passwords = st.text(
    st.sampled_from("@:/?#[]%;&=+,'\"\\ .<>{}ü℀２abcXYZ019") | st.characters(codec="utf-8"),
    min_size=8,
    max_size=32,
).filter(lambda text: "\0" not in text and text.strip() == text)


def shown(patch: pytest.MonkeyPatch, place: str, password: str) -> str:
    """All that is said of settings with this password, usable or not."""
    patch.setenv("DATABASE_URL", "postgresql://u@db.internal/game")
    for name, pattern in PLACES[place].items():
        patch.setenv(name, pattern.replace("{}", password))
    try:
        found = checked()
    except SettingsError as error:
        return str(error)
    stream = io.StringIO()
    configure(found.model_copy(update={"log_format": "json"}), stream)
    log: Any = structlog.get_logger("babylon")
    redis = found.redis_url.get_secret_value()
    log.warning("connection.lost", dsn=found.dsn, broker=redis, settings=found)
    try:
        log.warning("connection.lost", at=address(found), parts=conninfo_to_dict(found.dsn))
    except SettingsError as error:
        return f"{error} {_NUMBERS.sub('', stream.getvalue())}"
    logging.getLogger("kombu").error("no route to %s", Connection(redis).as_uri())
    client = Redis.from_url(redis)
    log.warning("connection.lost", client=client, all=client.connection_pool.connection_kwargs)
    for name, value in found:
        if hasattr(value, "get_secret_value"):
            said = f"{name} {value.get_secret_value()!r}: {value.get_secret_value()} was refused"
            log.warning("request.refused", why=ValueError(said))
    return f"{found!r} {address(found)} {_NUMBERS.sub('', stream.getvalue())}"


def rows(text: str) -> set[str]:
    return {text[start : start + ROW] for start in range(len(text) - ROW + 1)}


@cache
def usual(place: str) -> frozenset[str]:
    """What is said of any password there, refused for whatever character."""
    with pytest.MonkeyPatch.context() as patch:
        said = [shown(patch, place, f"一~一~{one}~一~一") for one in "@:/?#[]%;&= '~"]
        said += [shown(patch, place, usable) for usable in ("一", "~" * 20)]
        return frozenset().union(*map(rows, said))


@pytest.mark.parametrize("place", PLACES)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(password=passwords)
@example(password="first@second@third")
@example(password="be/fore@af/ter")
@example(password="12345#fragment@and/path")
@example(password="50%of-all@it%zz")
@example(password="[brackets]@and:colons")
@example(password="semi;colon;password")
@example(password="000001:0")
@example(password="scheme-of-a://password")
@example(password="pässwörtchen-ünd-mehr")
@example(password="amper&sand=equals?question")
@example(password="double\"quote'single")
def test_no_row_of_a_password_is_shown(tmp_path: Path, place: str, password: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        said = rows(shown(patch, place, password)) - usual(place)
    assert not (rows(password) | rows(unquote(password))) & said
