"""Name the cause of an error whose own text does not say it, as OpenAI's "Connection error."."""

from __future__ import annotations


def with_root_cause(error: BaseException) -> str:
    """Describe an error, and the first one of those that led to it. PURE."""
    text, first = f"{type(error).__name__}: {error}", error
    seen = {id(error)}  # a chain of causes may be circular
    while (earlier := first.__cause__ or _context(first)) is not None and id(earlier) not in seen:
        seen.add(id(earlier))
        first = earlier
    if first is error or (str(first) or type(first).__name__) in text:
        return text
    return f"{text} (from {type(first).__name__}: {first})"


def _context(error: BaseException) -> BaseException | None:
    return None if error.__suppress_context__ else error.__context__
