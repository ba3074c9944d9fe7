"""Which tokens an answer was sampled as: known, distinguishable, or not known at all."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded import call

from babylon_tasks.training.rebuild_tokens import difference, miscounted, rebuild
from babylon_tasks.training.token_text import TokenText

# Every byte, some words, two that share a text when shown, and the end of the turn.
WORDS = [b"Yes", b"No", b" No", b"N", b"\n\n", " 😀".encode(), "é".encode(), b"<think>"]
PARTS = [b"\xf0\x9f", b"\x98\x80", b"\x9f\x98", "é ".encode(), "\ufffd".encode()]
BYTES = [bytes([byte]) for byte in range(256) if bytes([byte]) not in WORDS]
PIECES: list[bytes | None] = [*BYTES, *WORDS, *PARTS, b"<|end|>", b"<|tool|>"]
END, TOOL = len(PIECES) - 2, len(PIECES) - 1
NAMES = ["Ġ" + str(number) for number in range(len(PIECES))]
SPELLING = TokenText(PIECES, special=(END, TOOL), ends=(END,), raw=NAMES)
ID = {piece: token for token, piece in enumerate(PIECES)}


def ids_of(*pieces: bytes) -> tuple[int, ...]:
    return tuple(ID[piece] for piece in pieces)


def served(ids: tuple[int, ...]) -> tuple[str, ...]:
    """The text of each token by itself, as servers make it."""
    return tuple(SPELLING.piece(token).decode("utf-8", "replace") for token in ids)


def answered(ids: tuple[int, ...], **parts: Any) -> Any:
    """A call that answered with these tokens, as a server that skips special ones shows it."""
    response = SPELLING.spell(ids, special=False).decode("utf-8", "replace")
    return call(**{"response": response, "token_ids": None, "logprobs": None, **parts})


def test_bytes_tell_every_token_even_a_part_of_an_emoji() -> None:
    ids = (*ids_of(b"\n\n", b"\xf0\x9f", b"\x98\x80", b" No"), END)
    data = tuple(SPELLING.piece(token) for token in ids)

    assert rebuild(answered(ids, token_bytes=data), SPELLING) == ids


def test_texts_tell_tokens_where_no_other_is_shown_so() -> None:
    ids = (*ids_of(b" No", b"\n\n", "é".encode()), END)

    assert rebuild(answered(ids, tokens=served(ids)), SPELLING) == ids


def test_halves_of_an_emoji_follow_from_the_answer_where_it_can_be_split_in_one_way_only() -> None:
    halves = ids_of(b"No", b"\xf0\x9f", b"\x98\x80")
    alone = TokenText([piece for piece in PIECES if piece not in (b"\x9f\x98", *BYTES[128:])])
    by_piece = {piece: token for token, piece in enumerate(alone.pieces)}
    ids = tuple(by_piece[PIECES[token]] for token in halves)
    one = answered(halves, tokens=served(halves))

    assert rebuild(one, alone) == ids
    twice = TokenText([*alone.pieces, b"\xf0\x9f"])
    assert rebuild(one, twice) is None


def test_an_emoji_that_was_cut_off_is_not_identified_by_its_text() -> None:
    ids = ids_of(b"No", b"\xf0\x9f")

    assert rebuild(answered(ids, tokens=served(ids), finish_reason="length"), SPELLING) is None
    data = tuple(SPELLING.piece(token) for token in ids)
    assert rebuild(answered(ids, token_bytes=data, finish_reason="length"), SPELLING) == ids


def test_a_server_that_shows_nothing_for_a_part_of_a_character_is_not_believed() -> None:
    ids = ids_of(b"\xc3", b"\xa9")  # what it shows for the second is a token of its own

    assert rebuild(answered(ids, tokens=("", "é")), SPELLING) is None


def test_an_end_that_is_shown_as_nothing_is_the_end_token_if_the_server_says_so() -> None:
    ids = (*ids_of(b"Yes"), END)

    assert rebuild(answered(ids, tokens=("Yes", ""), finish_reason="stop"), SPELLING) == ids
    assert rebuild(answered(ids, tokens=("Yes", ""), finish_reason="length"), SPELLING) is None
    two_ends = TokenText([*PIECES, b"<|bye|>"], special=(END, TOOL, END + 2), ends=(END, END + 2))
    assert rebuild(answered(ids, tokens=("Yes", ""), finish_reason="stop"), two_ends) is None


def test_the_vocabularys_own_names_are_understood() -> None:
    ids = ids_of(b" No", b"\n\n")

    assert rebuild(answered(ids, tokens=tuple(NAMES[token] for token in ids)), SPELLING) == ids


def test_nothing_is_made_up_where_no_token_was_recorded() -> None:
    assert rebuild(answered(ids_of(b"Yes")), SPELLING) is None
    assert rebuild(answered(ids_of(b"Yes"), tokens=("Maybe",)), SPELLING) is None
    assert rebuild(answered(ids_of(b"Yes"), tokens=("No",)), SPELLING) is None


def test_leading_spaces_that_a_vocabulary_hides_follow_from_the_answer() -> None:
    spaced = TokenText([b"No", b" No", b" way", b"way"], spaced=True)

    assert rebuild(answered((), response="No way", tokens=("No", "way")), spaced) is None or (
        rebuild(answered((), response="No way", tokens=("No", "way")), spaced) == (0, 2)
    )
    assert rebuild(answered((), response="Noway", tokens=("No", "way")), spaced) == (0, 3)


TOKENS = st.lists(st.integers(0, len(PIECES) - 3), max_size=12).map(tuple)


@settings(deadline=None)
@given(ids=TOKENS, ended=st.booleans())
def test_whatever_was_sampled_its_bytes_give_back_exactly_that(
    ids: tuple[int, ...], ended: bool
) -> None:
    ids = (*ids, END) if ended or not ids else ids
    data = tuple(SPELLING.piece(token) for token in ids)
    finish = "stop" if ended else "length"

    found = rebuild(answered(ids, token_bytes=data, finish_reason=finish), SPELLING)

    lossy = any("\ufffd" in piece.decode("utf-8", "replace") and _whole(piece) for piece in data)
    assert found == ids or (found is None and lossy)


@settings(deadline=None)
@given(ids=TOKENS, ended=st.booleans(), with_bytes=st.booleans())
def test_whatever_was_sampled_its_texts_give_that_or_nothing(
    ids: tuple[int, ...], ended: bool, with_bytes: bool
) -> None:
    ids = (*ids, END) if ended or not ids else ids
    texts = served(ids)
    data = tuple(text.encode() for text in texts) if with_bytes else None
    finish = "stop" if ended else "length"

    one = answered(ids, tokens=texts, token_bytes=data, finish_reason=finish)

    assert rebuild(one, SPELLING) in (ids, None)


@settings(deadline=None)
@given(ids=TOKENS, cut=st.integers(0, 30))
def test_what_was_sampled_always_spells_what_was_recorded(ids: tuple[int, ...], cut: int) -> None:
    text = SPELLING.spell(ids).decode("utf-8", "replace")

    assert difference(ids, call(response=text, finish_reason="length"), SPELLING) is None
    assert difference((*ids, END), call(response=text, finish_reason="stop"), SPELLING) is None
    stopped = call(response=text[:cut], finish_reason="stop")  # at a stop string
    assert difference(ids, stopped, SPELLING) is None


@pytest.mark.parametrize(
    ("pieces", "response", "finish"),
    [
        ((b"Yes",), "Yes", "stop"),
        ((b"Yes", b"\n\n"), "Yes", "length"),  # a client that trims
        ((b"\n\n", b"Yes"), "Yes", None),
        ((b"No", b" No", b"\n\n", b"Yes"), "No No", "stop"),  # stopped at the empty line
        ((b"<think>", b"N", b"<", b"/", b"t", b"h", b"i", b"n", b"k", b">", b"Yes"), "Yes", "stop"),
        ((b"Yes", b"<|tool|>", b"No"), "YesNo", "stop"),
        ((b"Yes", b"<|tool|>", b"No"), "Yes<|tool|>No", "stop"),
        ((b"Yes", b"\xf0\x9f"), "Yes\ufffd", "length"),
        ((b"Yes", b"\xf0\x9f"), "Yes", "length"),  # a server that keeps half a character back
        ((), "", "stop"),
    ],
)
def test_servers_and_clients_may_leave_out_what_belongs_to_no_answer(
    pieces: tuple[bytes, ...], response: str, finish: str | None
) -> None:
    recorded = call(response=response, finish_reason=finish)

    assert difference(ids_of(*pieces), recorded, SPELLING) is None


@pytest.mark.parametrize(
    ("pieces", "response", "finish"),
    [
        ((b"Yes",), "No", "stop"),
        ((b"Yes", b" No"), "Yes", "length"),  # cut off, so nothing was kept back
        ((b"Yes",), "Yes No", "stop"),
        ((b"Yes", b" No", b"<|end|>"), "Yes", "stop"),  # it ended by itself, not at a stop string
        ((b" No", b" No"), "NoNo", "stop"),
    ],
)
def test_ids_of_another_answer_are_detected(
    pieces: tuple[bytes, ...], response: str, finish: str | None
) -> None:
    described = difference(ids_of(*pieces), call(response=response, finish_reason=finish), SPELLING)

    assert described is not None
    assert "the ids spell" in described


@pytest.mark.parametrize(
    ("count", "ended", "finish", "sound"),
    [
        (None, False, None, True),
        (2, False, "length", True),
        (3, True, "stop", True),
        (2, True, "stop", True),  # servers that do not count the end
        (3, False, "stop", True),  # servers that count it and do not report it
        (3, False, "length", False),
        (40, True, "stop", False),
        (0, False, None, False),
    ],
)
def test_as_many_tokens_are_recorded_as_the_server_counted(
    count: int | None, ended: bool, finish: str | None, sound: bool
) -> None:
    ids = ids_of(b"Yes", b" No") + ((END,) if ended else ())
    one = call(completion_tokens=count, finish_reason=finish)

    assert (miscounted(ids, one, SPELLING) is None) is sound


def _whole(piece: bytes) -> bool:
    try:
        piece.decode()
    except UnicodeDecodeError:
        return False
    return True
