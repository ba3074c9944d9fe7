"""Token ids as a call records them: kept as JSON, since scoring needs no more than their number."""

from __future__ import annotations

import msgspec

from babylon_tasks.records import TokenIds

NONE = msgspec.Raw(b"null")

# Making numbers of ids takes three times as long as counting them. The JSON around them has been
# parsed, so what is left without digits and space says whether they are whole numbers.
_DIGITS_AND_SPACE = b"0123456789 \t\r\n"
_RUN = 2000  # of digits: two of them are fewer than msgspec reads as one number
_ids = msgspec.json.Decoder(list[int] | None)


def read_ids(recorded: msgspec.Raw) -> TokenIds | None:
    """Read a list of ids; None for null. Raises ValueError for anything else."""
    if recorded is NONE:
        return None
    found = _ids.decode(recorded)
    return None if found is None else tuple(found)


def count_ids(recorded: msgspec.Raw) -> int | None:
    """Count what ``read_ids`` would read, and raise where it would."""
    if recorded is NONE:
        return None
    text = bytes(recorded)
    left = text.translate(None, _DIGITS_AND_SPACE)
    commas = len(left) - 2
    if commas > 0 and left == b"[" + b"," * commas + b"]" and _readable(text):
        return commas + 1
    found = read_ids(recorded)
    return None if found is None else len(found)


def _readable(text: bytes) -> bool:
    """Check that no number is too long to be read."""
    if len(text) <= 2 * _RUN:
        return True
    starts = range(0, len(text) - _RUN, _RUN)
    return all(text.find(b",", start, start + _RUN) >= 0 for start in starts)
