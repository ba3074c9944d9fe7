"""Rebuild the token ids of an answer, and prove that they spell what was recorded."""

from __future__ import annotations

from collections.abc import Sequence

from babylon_tasks.records import LlmCall
from babylon_tasks.training.token_text import TokenText

_LOST = "\ufffd"  # how servers show an incomplete character


def rebuild(call: LlmCall, token_text: TokenText) -> tuple[int, ...] | None:
    """Rebuild the ids of the recorded token texts or bytes; None unless they are unambiguous.

    Exactly one sequence must be served as these tokens and spell the recorded response.
    """
    count = len(call.tokens or call.token_bytes or ())
    texts = call.tokens or (None,) * count
    data = call.token_bytes or (None,) * count
    identified = [bool(text or raw) for text, raw in zip(texts, data, strict=True)]
    if not identified or not all(identified[:-1]):
        # Some servers send nothing for the first parts of a character and all of it with the last:
        # then no part identifies its token.
        return None
    candidates = [
        token_text.tokens_served_as(text, raw)
        for text, raw in zip(texts, data, strict=True)
        if text or raw
    ]
    if not identified[-1]:
        candidates.append(sorted(token_text.ends) if call.finish_reason == "stop" else [])
    if all(len(found) == 1 for found in candidates):
        ids = tuple(found[0] for found in candidates)
        return ids if difference(ids, call, token_text) is None else None
    return _only_way(candidates, call, token_text)


def _only_way(
    candidates: Sequence[Sequence[int]], call: LlmCall, token_text: TokenText
) -> tuple[int, ...] | None:
    response = call.response.rstrip(_LOST)
    if _LOST in response:
        return None  # the bytes in the middle of the answer are not known
    wanted = response.encode()
    # By the number of bytes spelled: the ids that spell them, None if there is more than one way.
    ways: dict[int, tuple[int, ...] | None] = {0: ()}
    for tokens in candidates:
        longer: dict[int, tuple[int, ...] | None] = {}
        for place, way in ways.items():
            for token in tokens:
                piece = b"" if token in token_text.special else token_text.piece(token)
                rest = wanted[place : place + len(piece)]
                if rest != piece[: len(rest)]:
                    continue
                there = place + len(piece)
                ambiguous = way is None or there in longer
                longer[there] = None if ambiguous else (*way, token)  # type: ignore[misc]
        ways = longer
    whole = [way for place, way in ways.items() if place >= len(wanted)]
    if len(whole) != 1 or whole[0] is None:
        return None
    return whole[0] if difference(whole[0], call, token_text) is None else None


def difference(ids: Sequence[int], call: LlmCall, token_text: TokenText) -> str | None:
    """Describe where ids do not spell the recorded response; None where they do.

    Servers leave out special tokens and the end token, and a stop string with all that follows it;
    some clients trim, or keep the reasoning apart.
    """
    ended = bool(ids) and ids[-1] in token_text.ends
    body = ids[:-1] if ended else ids
    cut = not ended and call.finish_reason in (None, "stop")
    recorded = _bare(call.response)
    for special in (False, True):
        text = token_text.spell(body, special=special).decode("utf-8", "replace")
        for spelled in (text, text.rpartition("</think>")[2]):
            bare = _bare(spelled)
            if bare == recorded or (cut and bare.startswith(recorded)):
                return None
    spelled = token_text.spell(body).decode("utf-8", "replace")
    place = next(
        (n for n, pair in enumerate(zip(spelled, call.response, strict=False)) if len({*pair}) > 1),
        min(len(spelled), len(call.response)),
    )
    start = max(0, place - 20)
    return (
        f"the ids spell {spelled[start : place + 40]!r} where the recorded answer has "
        f"{call.response[start : place + 40]!r} (from character {start})"
    )


def miscounted(ids: Sequence[int], call: LlmCall, token_text: TokenText) -> str | None:
    """Describe a server's token count that does not fit the recorded ids; None where it fits.

    Servers differ in whether they count the end token, and whether they return it.
    """
    counted = call.completion_tokens
    if counted is None or counted == len(ids):
        return None
    ended = bool(ids) and ids[-1] in token_text.ends
    unreturned = 1 if not ended and call.finish_reason in (None, "stop") else 0
    if counted in (len(ids) - ended, len(ids) + unreturned):
        return None
    return f"the server counted {counted} tokens of the answer, {len(ids)} are recorded"


def _bare(text: str) -> str:
    return text.rstrip(_LOST).strip()
