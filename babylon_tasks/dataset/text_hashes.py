"""The hashes by which a recorded call is matched with the gateway's capture of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from babylon_tasks.records import TextHashes


def text_hashes(messages: Sequence[tuple[str, str]], answer: str) -> TextHashes:
    """Hash a conversation's (role, text) pairs and its answer.

    A missing system prompt counts as an empty one: Babylon stores it so. More than one message
    after it counts as their JSON, so a conversation is never taken for its last question.
    """
    pairs = list(messages)
    system = pairs.pop(0)[1] if pairs and pairs[0][0] == "system" else ""
    if len(pairs) == 1 and pairs[0][0] == "user":
        user = _sha256(pairs[0][1])
    else:
        user = hashlib.sha256(msgspec.json.encode(pairs)).digest()
    return TextHashes(_sha256(system), user, _sha256(answer))


def _sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
