"""Parts of a message's content: which of them are text, and what others are called.

A part may have a text and be none: the AI SDK's ``reasoning`` is a thought, which a chat template
renders in its own way, or not at all.
"""

from __future__ import annotations

from typing import Any

_OF_TEXT = (None, "text", "input_text", "output_text")
_OF_TOOLS = ("tool", "function")  # the beginning of all names for calls and results of tools


def is_text(kind: Any, text: Any) -> bool:
    """Check whether a part of this ``type`` is nothing but its text."""
    return isinstance(text, str) and kind in _OF_TEXT


def carried_by(kind: Any) -> str:
    """Name what a part carries that is no text: ``tools``, or ``images`` for all else."""
    return "tools" if isinstance(kind, str) and kind.startswith(_OF_TOOLS) else "images"
