"""Held-out questions of a screen: a prompt, how it was asked, and what its answers are compared by.

PURE. Agents' recorded calls in, questions out; and what is known of an answer to one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence

import msgspec
from msgspec import Struct

from babylon_tasks.dataset.manifest import canonical
from babylon_tasks.dataset.read_answer import decides, in_words, read_answer, repeats
from babylon_tasks.decode import AskedCall
from babylon_tasks.records import AgentAction, LlmCall, Outcome, Outcomes
from babylon_tasks.scoring.evidence import is_right
from babylon_tasks.vocabulary import expects_rise, kind

_NO_BET = 0.5  # between a right bet and a wrong one
_PROMPT_BYTES = 400_000  # a longer prompt is not asked


class HeldOutQuestion(Struct, frozen=True, kw_only=True):
    """One recorded call as a question.

    ``place`` is its index among the trajectory's calls. ``kind`` is the same for those that are
    asked for the same sort of answer. ``answered``: the call with the answer that was acted upon.
    ``action``: what it became; None where nothing is recorded. ``outcomes``: how the markets that
    may be bet on ended, as far as they count.
    """

    window: str
    trajectory_id: str
    place: int
    answered: LlmCall
    max_tokens: int | None
    kind: str
    action: AgentAction | None
    outcomes: Outcomes

    @property
    def prompt_hash(self) -> bytes:
        """The SHA-256 of the messages."""
        return hashlib.sha256(msgspec.json.encode(self.answered.messages)).digest()


class ScreenedAnswer(Struct, frozen=True, gc=False):
    """What is known of one answer.

    ``decides``: what it comes to, the same text for answers that come to the same. ``valid``: an
    agent can act upon it. ``rightness``: 1 for a bet that was right, 0 for a wrong one and for an
    answer that nobody can act upon, 0.5 for none; None where no outcome is known. ``length`` in
    characters.
    """

    decides: str
    valid: bool
    rightness: float | None
    length: int
    repeats: bool = False


def question_of(
    window: str, trajectory_id: str, asked: AskedCall, outcomes: Outcomes, trained: Collection[str]
) -> HeldOutQuestion | None:
    """Make a question of a recorded call; None where its prompt is not all text, or too long.

    ``trained``: names of markets that the lineage has learned from elsewhere. Their outcomes may be
    remembered, so they count for nothing here.
    """
    call = asked.call
    if call.carries is not None or sum(len(text) for _, text in call.messages) > _PROMPT_BYTES:
        return None
    known, action = outcomes, asked.action
    if action is not None:
        known = _with_recorded(outcomes, action)
    known = Outcomes(
        {name: one for name, one in known.markets.items() if name not in trained},
        {name: one for name, one in known.tickers.items() if name not in trained},
    )
    system = call.messages[0][1] if call.messages and call.messages[0][0] == "system" else ""
    return HeldOutQuestion(
        window=window,
        trajectory_id=trajectory_id,
        place=asked.place,
        answered=call,
        max_tokens=asked.max_tokens,
        kind=f"{call.purpose}\0{system}",
        action=action,
        outcomes=known,
    )


def choose(questions: Iterable[HeldOutQuestion], count: int) -> tuple[HeldOutQuestion, ...]:
    """Take the first ``count``, each prompt once before any a second time."""
    taken: dict[bytes, list[HeldOutQuestion]] = {}
    for one in questions:
        taken.setdefault(one.prompt_hash, []).append(one)
    turns = max(map(len, taken.values()), default=0)
    ordered = [of_one[turn] for turn in range(turns) for of_one in taken.values()
               if turn < len(of_one)]  # fmt: skip
    return tuple(ordered[:count])


def set_hash(questions: Sequence[HeldOutQuestion]) -> str:
    """Hash which questions are asked (SHA-256)."""
    names = [
        (one.trajectory_id, one.place, one.prompt_hash.hex(), one.max_tokens) for one in questions
    ]
    return hashlib.sha256(canonical(names)).hexdigest()


def kinds_with_actions(questions: Iterable[HeldOutQuestion]) -> frozenset[str]:
    """Find the kinds of questions whose recorded answers can be read: such an answer is wanted."""
    return frozenset(one.kind for one in questions if _became_what_is_read(one))


def _became_what_is_read(question: HeldOutQuestion) -> bool:
    """Check whether the recorded answer can be read, and is no bet or wait that became a post or a
    message: a reply to somebody may begin with Yes."""
    action, became = read_answer(question.answered.response, _prompt(question)), question.action
    if action is None or became is None:
        return action is not None
    wanted, done = kind(action.action_type), kind(became.action_type)
    return done.trade or done.idle or not (wanted.trade or wanted.idle)


def read(question: HeldOutQuestion, text: str, readable: Collection[str]) -> ScreenedAnswer:
    """Find what is known of an answer; ``readable``: of ``kinds_with_actions``.

    Where no recorded answer can be read, any answer that is not empty is valid.
    """
    again = repeats(text)
    if question.kind not in readable:
        words = in_words(text)
        return ScreenedAnswer(words, bool(words), None, len(text), again)
    action = read_answer(text, _prompt(question))
    if action is None:
        known = _rightness(question, None) is not None
        return ScreenedAnswer("unreadable", False, 0.0 if known else None, len(text), again)
    return ScreenedAnswer(decides(action), True, _rightness(question, action), len(text), again)


def _rightness(question: HeldOutQuestion, action: AgentAction | None) -> float | None:
    """Compute how right an action is; that of no bet where the question's own market has ended."""
    asked = question.action
    if asked is None or is_right(_betting(asked), question.outcomes) is None:
        return None
    if action is None or expects_rise(action) is None:
        return _NO_BET
    if action.market_id is None and action.ticker is None:
        action = msgspec.structs.replace(action, market_id=asked.market_id, ticker=asked.ticker)
    right = is_right(action, question.outcomes)
    return None if right is None else float(right)


def _betting(asked: AgentAction) -> AgentAction:
    """Bet on the recorded market, whatever was done there: only its outcome is looked for."""
    return AgentAction("buy_yes", True, market_id=asked.market_id, ticker=asked.ticker)


def _with_recorded(outcomes: Outcomes, action: AgentAction) -> Outcomes:
    """Add the outcome that a bet's recorded correctness gives away."""
    rise = expects_rise(action)
    if action.correct is None or rise is None:
        return outcomes
    ended = rise if action.correct else not rise
    markets, tickers = dict(outcomes.markets), dict(outcomes.tickers)
    if action.market_id is not None:
        markets.setdefault(action.market_id, Outcome(yes=ended))
    elif action.ticker is not None:
        tickers.setdefault(action.ticker, Outcome(change=1.0 if ended else -1.0))
    return Outcomes(markets, tickers)


def _prompt(question: HeldOutQuestion) -> str:
    return "\n".join(text for _, text in question.answered.messages)
