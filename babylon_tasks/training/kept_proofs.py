"""Remember the tokens of calls that were proven, so that a step does not tokenise them again.

A trainer inspects candidates before a step is planned, and the step proves its calls once more. In
one trainer tokenizer, template and ART are the same both times, so what was proven of a call is
true of an equal one.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import OrderedDict

from babylon_tasks.records import LlmCall, TokenIds

_TOKENS = 4_000_000  # 16 MB: as many as a large step has


class KeptProofs:
    """The newest proofs, of at most ``most`` tokens in all."""

    def __init__(self, most: int = _TOKENS) -> None:
        self._most = most
        self._tokens = 0
        self._kept: OrderedDict[bytes, tuple[array[int], int]] = OrderedDict()

    def add(self, call: LlmCall, label: str, prompt: TokenIds, answer: TokenIds) -> None:
        """Remember prompt and answer of a call that is proven under a label."""
        size = len(prompt) + len(answer)
        key = _key(call, label)
        if size > self._most or key in self._kept:
            return
        self._kept[key] = array("i", (*prompt, *answer)), len(prompt)
        self._tokens += size
        while self._tokens > self._most:
            _, (tokens, _) = self._kept.popitem(last=False)
            self._tokens -= len(tokens)

    def find(self, call: LlmCall, label: str) -> tuple[TokenIds, TokenIds] | None:
        """Return prompt and answer of a call; None where it has to be proven."""
        kept = self._kept.get(_key(call, label))
        if kept is None:
            return None
        tokens, start = kept
        return tuple(tokens[:start]), tuple(tokens[start:])


def _key(call: LlmCall, label: str) -> bytes:
    text = repr((label, call))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
