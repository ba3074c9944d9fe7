"""Secrets are masked by key, by shape and by value, in time that grows with a text's length."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import SecretStr

from babylon_tasks.mask_secrets import LONGEST, Mask
from babylon_tasks.settings import Settings

DATABASE = "postgresql://babylon:planted%2Fsecret-9@127.0.0.1:5432/babylon"
WORD = 300_000


def settings(**values: Any) -> Settings:
    return Settings(**{"DATABASE_URL": DATABASE, **values})


def test_figures_and_checkpoint_names_are_not_taken_for_secrets() -> None:
    event = {
        "trainable_tokens": 12,
        "token_ids": [1, 2],
        "inference": "http://127.0.0.1:8100/v1/models/babylon@12",
        "key": "scenario-1",
        "serving": "default",
        "token": None,
    }
    assert Mask(settings())(None, "info", dict(event)) == event


def test_a_key_that_names_a_secret_hides_any_value() -> None:
    event = {"password": "a", "api_key": SecretStr("b"), "nested": {"access_token": 1}, "n": 1}
    masked = Mask(settings())(None, "info", event)
    assert masked == {
        "password": "***",
        "api_key": "***",
        "nested": {"access_token": "***"},
        "n": 1,
    }


@pytest.mark.parametrize(
    "text",
    [
        "no route to postgresql://babylon:SECRET@h/b",
        "no route to redis://:SECRET@h:6379/0?x=1",
        "fetching https://SECRET@host/path",
        "fetching https://host/path?api_key=SECRET&page=2",
        "fetching https://host/path?page=2&X-Amz-Signature=SECRET",
        "host=h user=u password=SECRET dbname=b",
        "host=h password='SECRET' dbname=b",
        '{"api_key":"SECRET","n":1}',
        '{"password": "SECRET"}',
        "Authorization: Bearer SECRET",
        "Authorization: Basic SECRET",
        "authorization=SECRET",
        "{'x-api-key': 'SECRET'}",
        "Bearer SECRET was refused",
    ],
)
def test_a_secret_that_nobody_knows_is_masked_by_its_shape(text: str) -> None:
    masked = Mask(None).text(text.replace("SECRET", "s3cretW0rd-of.another"))
    assert "***" in masked
    for part in ("s3cret", "W0rd", "another"):
        assert part not in masked


@pytest.mark.parametrize(
    "text",
    [
        "2 secrets, max_tokens=5, fencing_token=3, key: scenario-1",
        "FLOWER_BASIC_AUTH must be user:password, in ASCII",
        "http://127.0.0.1:8100/v1/models/babylon@12",
        "basic settings are enough; the password is not printed",
        "https://host/path?page=2&tokens=5",
    ],
)
def test_words_and_figures_are_left_alone(text: str) -> None:
    assert Mask(None).text(text) == text


@given(st.text(min_size=8, max_size=40), st.sampled_from(["database", "redis", "key", "login"]))
def test_no_form_of_a_known_secret_is_left(password: str, kind: str) -> None:
    encoded = quote(password, safe="", errors="replace")
    known: dict[str, Any] = {}
    assume("\0" not in password)
    if kind == "database":
        known["DATABASE_URL"] = f"postgresql://u:{encoded}@h/b"
    elif kind == "redis":
        known["REDIS_URL"] = f"redis://:{encoded}@h/0"
    else:
        password = "".join(f"{ord(one):x}" for one in password) + "-_~"
        encoded = password
        known = (
            {"WANDB_API_KEY": password} if kind == "key" else {"FLOWER_BASIC_AUTH": f"u:{password}"}
        )
    mask = Mask(settings(**known)).text
    login = base64.b64encode(f"u:{password}".encode()).decode()
    for written in (
        password,
        encoded,
        json.dumps(password)[1:-1],
        json.dumps(password, ensure_ascii=False)[1:-1],
        repr(password)[1:-1],
        ascii(password)[1:-1],
        *([login.rstrip("=")] if kind in ("database", "login") else []),
    ):
        assert mask(f"<{written}>") == "<***>"


def test_a_secret_that_contains_another_is_masked_as_a_whole() -> None:
    mask = Mask(
        settings(WANDB_API_KEY="a-short-key", REDIS_URL="redis://:a-short-key-extended@h/0")
    )
    assert mask.text("a-short-key-extended and a-short-key") == "*** and ***"


def test_a_known_secret_is_masked_in_the_query_of_its_url() -> None:
    mask = Mask(settings(DATABASE_URL=f"{DATABASE}?sslkey=/key&sslpassword=of-the-client-key"))
    assert mask.text("the file of-the-client-key") == "the file ***"


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "piece",
    [
        "a",
        "A1b2",
        "a.",
        "://",
        "://a",
        "://a:",
        "https://u:p",
        "?a",
        "&token",
        "?token=",
        "password",
        "password ",
        "password=",
        "bearer ",
        "basic ",
        "basic A",
        '{"a":"b"},',
        " ",
        "\\",
        "@",
        "*",
        "planted%2Fsecret-",
    ],
)
@pytest.mark.parametrize("end", ["", " ://u:SECRET@h"])
def test_a_long_word_is_masked_and_cut_and_hangs_nothing(piece: str, end: str) -> None:
    """With a quadratic pattern these take minutes: the timeout is for that alone."""
    text = piece * (WORD // len(piece)) + end
    masked = Mask(settings()).text(text)
    assert len(masked) < LONGEST + 100
    assert "SECRET" not in masked


def test_a_cut_text_says_so_and_never_ends_in_half_a_secret() -> None:
    secret = "word-of-wandb-0123456789"
    text = "x" * (LONGEST - 10) + secret + "y" * 1000
    masked = Mask(settings(WANDB_API_KEY=secret)).text(text)
    assert "word" not in masked
    assert masked.endswith("more characters are left out)")
    text = "x" * (LONGEST - 20) + " http://u:another-secret@h " + "y" * 1000
    assert "anoth" not in Mask(None).text(text)


def test_what_postgres_cannot_store_is_written_as_json_does() -> None:
    assert Mask(None).text("half an emoji \ud83d,\na \0") == "half an emoji \\ud83d,\na \\u0000"


def test_what_is_nested_without_end_is_left_out() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert "nested too deeply" in str(Mask(None)(None, "info", {"deep": deep}))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("piece", "size"),
    [("a", 20_000_000), ("QUJD", 4_000_000), ('{"key":1,"url":"http://h/a?b=c"},', 4_000_000)],
)
def test_what_a_provider_may_answer_with_is_no_load(piece: str, size: int) -> None:
    """0.1.0 hung for ten minutes on a word of 2 MB."""
    masked = Mask(settings()).text(piece * (size // len(piece)))
    assert masked.startswith(piece)
