"""Text of others acts on no terminal, and stays readable."""

from __future__ import annotations

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babylon_tasks.plain_text import plain


@pytest.mark.parametrize(
    "text",
    ["plain", "Größe 5 %", "市場　の結果", "😀 ▂▃▅", "price\u00a0100", "e\u0301"],
)
def test_readable_text_is_left_alone(text: str) -> None:
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred", r"\u001b[31mred"),
        ("\x9b31m", r"\u009b31m"),
        ("over\rwritten\b", r"over\rwritten\b"),
        ("\x7f", r"\u007f"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\u2066a\u2069", "\\u2066a\\u2069"),
        ("a\u200bb\ufeff", "a\\u200bb\\ufeff"),
        ("two\nlines\u2028three", "two\\nlines\\u2028three"),
        ("\U000e0041", "\\udb40\\udc41"),
        ("\ud800", "\\ud800"),
    ],
)
def test_a_character_that_acts_is_shown_as_json_writes_it(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(st.text())
def test_what_is_left_is_visible_and_can_be_encoded(text: str) -> None:
    shown = plain(text)
    shown.encode("utf-8")
    assert not {unicodedata.category(one) for one in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl"}


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_a_json_document_stays_the_same_document(text: str) -> None:
    assert json.loads(plain(json.dumps(text, ensure_ascii=False))) == text
