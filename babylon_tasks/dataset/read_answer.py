"""Read which action an answer asks for, as Babylon's agents do. Pure.

Two forms are known: a JSON object that names an action, alone or in other text; and a word at the
beginning, such as Yes, No or WAIT. Of what is not exact the same is made here as Babylon makes.
"""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from string import hexdigits
from typing import Any

import msgspec

from babylon_tasks.decode.action import RecordedAction, figure_in, read_action
from babylon_tasks.records import AgentAction
from babylon_tasks.vocabulary import expects_rise, is_taken, kind, plain_word, unknown_side

_THOUGHT = re.compile(r"\s*<think>.*?</think>", re.DOTALL)
_NAMES = ("action", "actionType", "action_type", "type")
_WORDS = {"yes": "buy_yes", "no": "buy_no"}
_LABELS = re.compile(r"[\n|,;/]+")
# Sides in other words, as Babylon takes them. What gives a position up, whichever it is, is no bet.
_SIDES = {"buy": "yes", "bullish": "yes", "open": "yes", "bearish": "no"} | dict.fromkeys(
    ("sell", "close", "exit", "take_profit", "stop_loss"), "close_position"
)
# Where Babylon says this, it does not take waiting for an answer.
_MUST_ACT = "Do not return FINISH, WAIT, or an empty action on this turn."
_TRIED = 8  # opening braces at which an object may begin
# A text that zlib shortens so much says the same again and again: prose stays above 0.4, JSON
# above 0.25.
_LONG, _SHORTENED = 200, 0.2

_DIGITS = 16  # of a hash of words

_decoder = json.JSONDecoder()


def read_answer(text: str, prompt: str) -> AgentAction | None:
    """Read an answer to a prompt; None where no agent could act upon it.

    A market or ticker that it names must be in the prompt: another one is made up. Babylon's own
    trades need one.
    """
    answer = _THOUGHT.sub("", text, count=1).strip()
    action = _of_object(answer) if "{" in answer else _of_word(answer)
    if action is None or unknown_side(action) is not None:
        return None
    if expects_rise(action) is not None and not is_taken(action):
        return None
    if kind(action.action_type).idle and _MUST_ACT in prompt:
        return None
    if action.ticker is not None:
        ticker = _as_listed(action.ticker, prompt)
        action = msgspec.structs.replace(action, ticker=ticker)
    named = (action.market_id, action.ticker)
    return action if all(name is None or _is_listed(name, prompt) for name in named) else None


def decides(action: AgentAction) -> str:
    """Say what an action comes to: the same for all that bet the same way, or wait."""
    rise = expects_rise(action)
    if rise is not None:
        return "rise" if rise else "fall"
    return action.action_type.strip().lower() if is_taken(action) else "nothing"


def in_words(text: str) -> str:
    """Name an answer by its words: the same for all that differ in spaces and capitals only."""
    words = " ".join(text.split()).casefold()
    return hashlib.sha256(words.encode("utf-8", "replace")).hexdigest()[:_DIGITS] if words else ""


def is_of_words(meaning: str) -> bool:
    """Check whether that is what ``in_words`` makes, and no action's name."""
    return not meaning or (len(meaning) == _DIGITS and set(meaning) <= set(hexdigits))


def repeats(text: str) -> bool:
    """Check whether a text says the same again and again."""
    data = text.encode("utf-8", "replace")
    return len(data) >= _LONG and len(zlib.compress(data)) < _SHORTENED * len(data)


def _of_word(answer: str) -> AgentAction | None:
    words = answer.split(maxsplit=1)
    word = words[0].strip(".,:;!?*'\"()").lower() if words else ""
    name = _WORDS.get(word, word)
    meant = kind(name)
    # Other actions need more than a word: whom to follow, what to post.
    if not name or not (meant.rise is not None or meant.idle):
        return None
    return AgentAction(name, success=True)


def _as_listed(ticker: str, prompt: str) -> str:
    """Find a perpetual as Babylon does: by its line, `TSLAI: TeslAI @ $12.00`, and in any case."""
    words = ticker.split(maxsplit=1)
    first = words[0].rstrip(":") if len(words) > 1 else ticker
    return first if _is_listed(first, prompt) else first.upper()


def _is_listed(name: str, prompt: str) -> bool:
    """Check whether a prompt has a name as a word, not as the number of `Market #1 (id: 24681)`."""
    listed = re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", prompt) if name.strip() else None
    return listed is not None and f"#{name} (id:" not in prompt


def _of_object(answer: str) -> AgentAction | None:
    found = _object(answer)
    if found is None:
        return None
    name = next((found[key] for key in _NAMES if isinstance(found.get(key), str)), "")
    known = _known(name)
    parameters = None if known is None else _parameters(found, known)
    if parameters is None:
        return None
    recorded = {"actionType": known, "success": True, "parameters": parameters}
    try:
        return read_action(msgspec.convert(recorded, RecordedAction))
    except (msgspec.ValidationError, RecursionError):
        return None


def _known(name: str) -> str | None:
    """Find the first known one of some labels: Babylon's prompt has all of them in one place."""
    words = (plain_word(label) for label in _LABELS.split(name))
    return next((word for word in words if word and kind(word).known), None)


def _parameters(found: dict[str, Any], name: str) -> dict[str, Any] | None:
    """Return what an object says of its action: in it, or under a key of its own.

    Babylon asks for both: ``parameters`` beside most actions, ``trade`` where it asks for one. None
    where it trades nothing, without the kind of market or money.
    """
    parameters, trade = found.get("parameters"), found.get("trade")
    if isinstance(parameters, dict):
        side = parameters.get("side")
        if kind(name).needs_market and isinstance(side, str):
            return parameters | {"side": _SIDES.get(plain_word(side), side)}
        return parameters
    if not isinstance(trade, dict) or kind(name).idle:
        return found
    money = trade.get("amount_in_points")
    amount = figure_in(trade.get("amount") if money is None else money)
    if trade.get("type") not in ("prediction", "perp") or amount is None or amount <= 0:
        return None
    return {
        "marketType": trade["type"],
        "marketId": trade.get("market"),
        "side": trade.get("action"),
    }


def _object(answer: str) -> dict[str, Any] | None:
    start = -1
    for _ in range(_TRIED):
        start = answer.find("{", start + 1)
        if start < 0:
            return None
        try:
            found, _end = _decoder.raw_decode(answer, start)
        except (ValueError, RecursionError):
            continue
        return found if isinstance(found, dict) else None
    return None
