"""Text from databases, servers and agents, made safe to show: no character of it acts.

Escape sequences move the cursor, set a terminal's title, or hide what follows; bidirectional
overrides show a text in another order than it has.
"""

from __future__ import annotations

import json
import unicodedata


def plain(text: str, *, keep: str = "") -> str:
    """Write control, format and unassigned characters as JSON does, except those in ``keep``."""
    if text.isprintable():
        return text
    return "".join(one if one in keep or _harmless(one) else _escaped(one) for one in text)


def _harmless(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"  # wide spaces


def _escaped(character: str) -> str:
    escaped = json.dumps(character)[1:-1]
    # JSON leaves DEL as it is.
    return f"\\u{ord(character):04x}" if escaped == character else escaped
