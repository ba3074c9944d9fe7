"""The bytes that each token of a vocabulary spells.

``tokenizer.decode`` of one token cannot show them: each part of an emoji becomes U+FFFD, like the
parts of all other emoji.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import Any

_BYTE_FALLBACK = re.compile(r"<0x([0-9A-F]{2})>\Z")
_WORD_START = "\u2581"  # SentencePiece's sign for a space


class TokenText:
    """A vocabulary as bytes: ``pieces`` by token id, None where the vocabulary has a gap.

    Servers leave ``special`` tokens out of answers; ``ends`` end one. ``spaced``: servers may show
    a token without the space that it begins with (SentencePiece).
    """

    def __init__(
        self,
        pieces: Sequence[bytes | None],
        *,
        special: Collection[int] = (),
        ends: Collection[int] = (),
        raw: Sequence[str | None] = (),
        spaced: bool = False,
    ) -> None:
        self.pieces = pieces
        self.special = frozenset(special)
        self.ends = frozenset(ends)
        self._spaced = spaced
        self._by_bytes: defaultdict[bytes, list[int]] = defaultdict(list)
        self._by_text: defaultdict[str, list[int]] = defaultdict(list)
        self._by_name: defaultdict[str, list[int]] = defaultdict(list)
        for token, piece in enumerate(pieces):
            if piece is not None:
                self._by_bytes[piece].append(token)
                self._by_text[self._as_served(piece.decode("utf-8", "replace"))].append(token)
        for token, name in enumerate(raw):
            if name is not None:
                self._by_name[name].append(token)

    @cached_property
    def longest_piece(self) -> int:
        """The most bytes that one token spells."""
        return max((len(piece) for piece in self.pieces if piece is not None), default=1) or 1

    def contains(self, token: int) -> bool:
        """Check whether an id is one of this vocabulary."""
        return 0 <= token < len(self.pieces) and self.pieces[token] is not None

    def piece(self, token: int) -> bytes:
        """Return the bytes of a token; raises LookupError for an id of another vocabulary."""
        piece = self.pieces[token] if 0 <= token < len(self.pieces) else None
        if piece is None:
            raise LookupError(f"the vocabulary has no token {token}")
        return piece

    def spell(self, tokens: Iterable[int], *, special: bool = True) -> bytes:
        """Concatenate the bytes of tokens, with or without the special tokens' names."""
        return b"".join(
            self.piece(token) for token in tokens if special or token not in self.special
        )

    def text(self, spelled: bytes) -> str:
        """Decode an answer as servers show it, with U+FFFD for incomplete characters."""
        return self._as_served(spelled.decode("utf-8", "replace"))

    def tokens_served_as(self, text: str | None, data: bytes | None) -> list[int]:
        """Find the tokens that a server may show with this text or, where known, these bytes.

        Servers decode each token by itself: an incomplete character becomes U+FFFD, and some then
        report the bytes of that. Some report the vocabulary's own name of a token.
        """
        if data:
            try:
                text = data.decode()
            except UnicodeDecodeError:  # the real bytes of an incomplete character
                return self._by_bytes.get(data, [])
        text = text or ""
        return self._by_text.get(self._as_served(text)) or self._by_name.get(text, [])

    def _as_served(self, text: str) -> str:
        return text.removeprefix(" ") if self._spaced else text


def token_text_of(tokenizer: Any, more_ends: Collection[int] = ()) -> TokenText:
    """Build the TokenText of a transformers tokenizer; ``more_ends`` beside its end token."""
    names: list[str | None] = [None] * (max(tokenizer.get_vocab().values()) + 1)
    for name, token in tokenizer.get_vocab().items():
        names[token] = name
    added = tokenizer.added_tokens_decoder
    ordinary = [name for token, name in enumerate(names) if name is not None and token not in added]
    in_bytes = all(character in _BYTE_OF for name in ordinary for character in name)
    pieces = [
        None if name is None else _piece(name, in_bytes=in_bytes, added=token in added)
        for token, name in enumerate(names)
    ]
    ends = {tokenizer.eos_token_id, *more_ends} - {None}
    special = {token for token, about in added.items() if about.special}
    return TokenText(pieces, special=special | ends, ends=ends, raw=names, spaced=not in_bytes)


def _piece(name: str, *, in_bytes: bool, added: bool) -> bytes:
    if added:  # spells its own name
        return name.encode()
    if in_bytes:
        return bytes(_BYTE_OF[character] for character in name)
    fallback = _BYTE_FALLBACK.match(name)
    if fallback:
        return bytes([int(fallback[1], 16)])
    return name.replace(_WORD_START, " ").encode()


def _byte_letters() -> dict[str, int]:
    """Map the letters that represent bytes in byte-level BPE (GPT-2) to those bytes.

    Printable Latin-1 represents itself, the other bytes in order the characters from 256 on.
    """
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = (byte for byte in range(256) if byte not in printable)
    return {chr(byte): byte for byte in printable} | {
        chr(256 + place): byte for place, byte in enumerate(others)
    }


_BYTE_OF = _byte_letters()
