"""Where an answer says which way it bets: the word that decides whether it earns. PURE."""

from __future__ import annotations

import re

# ``buy_yes`` and its like, anywhere; the side of a trade in JSON; or Yes and No at the beginning.
_WORDS = re.compile(
    r"""\b(?:(?:buy|sell)_(yes|no)|open_(long|short))\b
      | "side"\s*:\s*"(yes|no|long|short)"
      | \A\W{0,8}(yes|no)\b""",
    re.IGNORECASE | re.VERBOSE,
)


def deciding_word(text: str) -> tuple[int, int] | None:
    """Find the first such word: where it begins, and where it ends; None where there is none."""
    found = _WORDS.search(text)
    if found is None:
        return None
    return next(found.span(n) for n in range(1, 5) if found[n] is not None)
