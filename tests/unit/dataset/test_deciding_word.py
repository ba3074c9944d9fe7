"""The word of an answer that says which way it bets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from babylon_tasks.dataset.deciding_word import deciding_word


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ('{"action":"TRADE","parameters":{"marketId":"m-1","side":"buy_yes"}}', "yes"),
        ('{"action":"TRADE","parameters":{"side":"open_short","marketId":"ACME"}}', "short"),
        ('{"action": "buy_shares", "side": "NO", "note": "yes, sell_yes"}', "NO"),
        ("Yes", "Yes"),
        (" **No**, it will not.", "No"),
        ("SELL_NO now", "NO"),
        ('{"action":"WAIT"}', None),
        ("Nobody knows; yes or no.", None),
        ("I buy yesterday's buy_yesx", None),
        ("", None),
    ],
)
def test_it_is_found_where_there_is_one(text: str, word: str | None) -> None:
    found = deciding_word(text)
    assert (None if found is None else text[slice(*found)]) == word


@given(st.text())
def test_it_lies_in_the_text(text: str) -> None:
    found = deciding_word(text)
    assert found is None or 0 <= found[0] < found[1] <= len(text)
