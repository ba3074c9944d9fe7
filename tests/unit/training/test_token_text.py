"""What a token of a vocabulary spells, whatever the vocabulary's letters for bytes are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from babylon_tasks.training.token_text import token_text_of


class Vocabulary:
    """As much of a tokenizer of transformers as its vocabulary is."""

    def __init__(self, names: dict[str, int], added: dict[int, bool], end: int | None) -> None:
        self._names = names
        self.added_tokens_decoder: dict[int, Any] = {
            token: SimpleNamespace(special=special) for token, special in added.items()
        }
        self.eos_token_id = end

    def get_vocab(self) -> dict[str, int]:
        return self._names


BYTE_LEVEL = Vocabulary(
    {"ĠYes": 0, "Ċ": 1, "ðŁĺ": 2, "Ģ": 3, "é": 4, "<|end|>": 6, "<think>": 7},
    {6: True, 7: False},
    6,
)
SENTENCE_PIECE = Vocabulary({"▁Yes": 0, "<0x0A>": 1, "é": 2, "</s>": 3, "▁": 4}, {3: True}, 3)


def test_letters_that_stand_for_bytes_are_those_bytes() -> None:
    token_text = token_text_of(BYTE_LEVEL)

    assert token_text.spell((0, 1, 2, 3)) == " Yes\n😀".encode()
    assert token_text.piece(2) == b"\xf0\x9f\x98"
    assert token_text.piece(4) == b"\xe9"  # the letter é is the byte, not the character


def test_sentence_pieces_are_words_with_spaces_and_single_bytes() -> None:
    token_text = token_text_of(SENTENCE_PIECE)

    assert token_text.spell((0, 1, 2, 4)) == " Yes\né ".encode()


def test_added_tokens_stand_for_their_names_and_only_special_ones_are_left_out() -> None:
    token_text = token_text_of(BYTE_LEVEL)

    assert token_text.spell((7, 0, 6)) == b"<think> Yes<|end|>"
    assert token_text.spell((7, 0, 6), special=False) == b"<think> Yes"
    assert token_text.ends == {6}


def test_a_model_may_have_more_ends_than_its_tokenizer() -> None:
    assert token_text_of(BYTE_LEVEL, [7]).ends == {6, 7}


@pytest.mark.parametrize("foreign", [5, 8, -1])  # a gap, and beyond both ends
def test_ids_that_the_vocabulary_lacks_are_none_of_it(foreign: int) -> None:
    token_text = token_text_of(BYTE_LEVEL)

    assert not token_text.contains(foreign)
    with pytest.raises(LookupError, match=f"no token {foreign}"):
        token_text.spell([foreign])


def test_bytes_of_a_whole_character_are_distinguished_from_replacement_characters() -> None:
    token_text = token_text_of(BYTE_LEVEL)

    assert token_text.tokens_served_as(None, b"\xf0\x9f\x98") == [2]
    assert token_text.tokens_served_as("anything", b" Yes") == [0]
    assert token_text.tokens_served_as("\ufffd", "\ufffd".encode()) == [2, 3, 4]  # shown alike
    assert token_text.tokens_served_as("ĠYes", None) == [0]  # the vocabulary's own name
    assert token_text.tokens_served_as("No", None) == []
