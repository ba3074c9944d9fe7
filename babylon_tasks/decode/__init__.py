"""Decode a recorded row to a Trajectory or a Rejection: pure, never raises.

Both recorded shapes are read (Babylon's recorder and its plugin); keys that are not listed here
are skipped without being built.
"""

from babylon_tasks.decode.asked import AskedCall, asked_calls
from babylon_tasks.decode.errors import bounded
from babylon_tasks.decode.facts import decode_facts, facts_of
from babylon_tasks.decode.trajectory import content_hash, decode

__all__ = [
    "AskedCall",
    "asked_calls",
    "bounded",
    "content_hash",
    "decode",
    "decode_facts",
    "facts_of",
]
