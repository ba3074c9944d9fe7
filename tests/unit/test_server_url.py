"""A server's URL is read as libpq, redis-py and kombu read it, or refused without a part of it."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kombu.utils.url import url_to_parts
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr, TypeAdapter, ValidationError
from redis.connection import parse_url

from babylon_tasks.db.session import address
from babylon_tasks.server_url import PostgresUrl, RedisUrl
from babylon_tasks.settings import Settings

_POSTGRES: TypeAdapter[SecretStr] = TypeAdapter(PostgresUrl)
_REDIS: TypeAdapter[SecretStr] = TypeAdapter(RedisUrl)
CONFUSING = "@:/?#[]%;&=+,'\"\\ \t\n.<>ü℀２\u202e\x1b"
passwords = st.text(
    st.sampled_from(CONFUSING + "abcXYZ019")
    | st.characters(codec="utf-8", exclude_characters="\0"),
    min_size=1,
    max_size=24,
)
# Every message there is: none contains a part of a URL.
_UNREADABLE = (
    " cannot be read: the port must be a number, and in user and password "
    "the characters : / ? # [ ] @ % and white space are written percent-encoded"
)
REFUSALS = {
    f"DATABASE_URL{_UNREADABLE}",
    f"REDIS_URL{_UNREADABLE}",
    "the database in REDIS_URL is not a number, as in redis://host:6379/0",
    "DATABASE_URL has the password as a parameter: write it before the host, as in "
    "postgresql://user:PASSWORD@/database?host=/run/postgresql",
    "REDIS_URL names several servers: name one",
    "REDIS_URL has user, password, host or database as a parameter: write them before the "
    "question mark, as in redis://:PASSWORD@host:6379/0",
    "REDIS_URL has a user without a password; a password alone is written with a colon "
    "before it: redis://:PASSWORD@host",
}


def read(adapter: TypeAdapter[SecretStr], url: str) -> str | None:
    """The URL as all clients get it, or None where it is refused."""
    try:
        return adapter.validate_python(url).get_secret_value()
    except ValidationError as error:
        (refusal,) = error.errors(include_input=False, include_context=False)
        assert refusal["msg"].removeprefix("Value error, ") in REFUSALS
        return None


@given(passwords)
@example("p@ss")
@example("first@second:third")
@example("a/b@c?d=e")
@example("p@ss?x=1")
@example("1#a@b")
def test_libpq_finds_the_password_that_is_in_the_url_or_the_url_is_refused(raw: str) -> None:
    url = read(_POSTGRES, f"postgresql://babylon:{raw}@db.internal:5433/game?sslmode=prefer")
    if url is None:
        return
    found = conninfo_to_dict(url)
    assert found["password"] == unquote(raw)
    assert (found["user"], found["host"], found["port"]) == ("babylon", "db.internal", "5433")
    assert (found["dbname"], found["sslmode"]) == ("game", "prefer")
    settings = Settings(DATABASE_URL=url)
    assert conninfo_to_dict(settings.dsn)["password"] == unquote(raw)
    assert address(settings) == "db.internal:5433/game"


@given(passwords)
@example("p@ss")
@example("one;two")
@example("tab\there")
def test_both_clients_of_redis_find_the_same_password_or_the_url_is_refused(raw: str) -> None:
    url = read(_REDIS, f"redis://:{raw}@redis.internal:6380/2")
    if url is None:
        return
    assert ";" not in url, "kombu would take what follows for another server"
    ours, theirs = parse_url(url), url_to_parts(url)
    assert ours["password"] == theirs.password == unquote(raw)
    assert ours["host"] == theirs.hostname == "redis.internal"
    assert (ours["port"], ours["db"], theirs.path) == (6380, 2, "2")


@given(passwords)
def test_every_password_can_be_written_percent_encoded(raw: str) -> None:
    encoded = quote(raw, safe="")
    postgres = read(_POSTGRES, f"postgresql://babylon:{encoded}@h/b")
    redis = read(_REDIS, f"redis://:{encoded}@h/0")
    assert postgres is not None
    assert redis is not None
    assert conninfo_to_dict(postgres)["password"] == parse_url(redis)["password"] == raw


@pytest.mark.parametrize(
    "url",
    [
        "redis://planted-password@h:6379/0",
        "redis://user:@h:6379/0",
        "redis://h1,h2:6379/0",
        "redis://:a%00b@h/0",
        "redis://:%ff@h/0",
        "redis://h:6379/0#1",
        "redis://h/0?password=planted",
        "redis://h/0?username=a&ssl_cert_reqs=none",
        "redis://h?db=3",
        "redis://h/0?host=elsewhere",
    ],
)
def test_what_clients_of_redis_read_differently_is_refused(url: str) -> None:
    assert read(_REDIS, url) is None


@pytest.mark.parametrize("acts", ["\x1b[2J", "\u202e", "\x00"])
@pytest.mark.parametrize("place", ["{}@h/b", "u:{}@h/b", "u@h{}/b", "u@h/b{}", "u@h/b?schema={}"])
def test_a_character_that_acts_is_refused_wherever_it_is(place: str, acts: str) -> None:
    """Messages name the server and the database."""
    assert read(_POSTGRES, f"postgresql://{place.format('')}") is not None
    assert read(_POSTGRES, f"postgresql://{place.format(acts)}") is None


def test_a_password_among_the_parameters_is_refused() -> None:
    assert read(_POSTGRES, "postgresql:///b?host=/run/postgresql&password=planted") is None
    assert read(_POSTGRES, "postgresql://u:p@/b?host=/run/postgresql") is not None


@pytest.mark.parametrize(
    "url", ["postgresql:///b?host=/run/postgresql", "postgresql://u@h/b", "postgres://h:1,i:2/b"]
)
def test_the_connection_string_is_one_that_libpq_reads(url: str) -> None:
    settings = Settings(DATABASE_URL=f"{url}{'&' if '?' in url else '?'}schema=game")
    assert conninfo_to_dict(settings.dsn) == conninfo_to_dict(url)
