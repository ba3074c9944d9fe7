"""Outcome words in a prompt: what the policy is given before it answers, it lacks when it serves.

There are two kinds. Names that only a record of the simulation has (Babylon's ``gameKnowledge``),
with something behind them. And a sentence, in a trajectory's first prompt, that a market has ended
which the agent then bet on, with the outcome that it has had: it cannot have ended before the bet.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice

from msgspec import Struct

from babylon_tasks.dataset.tripwires.watched import WatchedGroup, WatchedMember
from babylon_tasks.tripwires import Trip, Tripwire

SHARE = 0.05
_FEWEST = 2
_TRUE = 0.9  # of the sentences: what agents make up about a market is as often false
_EXAMPLES = 5
_MOST = 50  # places that one pattern finds in a text; an agent may have written it
_SNIPPET = 80  # characters around
_SOURCE = (
    f"{SHARE:.0%} of the trajectories, and more than one; sentences about outcomes count where "
    f"{_TRUE:.0%} of them are true"
)
# The patterns are for text whose ASCII letters are lower case, and each begins with a word: such
# ones are searched for at the speed of memory.
_BEHIND = r"[\"']?\s*+[:=]\s*+"
_SOMETHING = r"(?!\{\s*+\}|\[\s*+\]|null\b|none\b|undefined\b|[\"']{2})"
_NO_CHOICE = r"(?!\s*+[/|]|\s+or\b)"
_NAMES = tuple(
    re.compile(f"({name}){_BEHIND}{_SOMETHING}")
    for name in (
        "future_?outcomes?",
        "actual_?outcomes?",
        "correct_?outcomes?",
        "true_?probabilit(?:y|ies)",
        "hidden_?variables?",
        "prediction_?correct",
        "ground_?truth",
    )
)
_PROSE = tuple(
    re.compile(rf"{verb}(?:\s++(?:to|as|at|in favou?r of))?[\s:=\"']{{1,4}}(yes|no)\b{_NO_CHOICE}")
    for verb in ("resolved", "settled")
)
_FIELDS = tuple(
    re.compile(rf"{name}{_BEHIND}[\"']?(yes|no|true|false)\b{_NO_CHOICE}")
    for name in ("resolution", "resolved_?outcome", "final_?outcome", "winning_?(?:side|outcome)")
)
_CUT = re.compile(r"[\n{};]|\.\s")  # what ends a sentence, or an object
_ANOTHER = re.compile(r"\b[A-Za-z]{1,20}-\d+\b|\b\d{8,}\b")  # a market's id
_REACH = 200  # characters in which its market is looked for, on either side


class _Sentence(Struct, frozen=True):
    text: str
    yes: bool
    at: int  # where in the text it says so


class _Found(Struct, frozen=True):
    names: tuple[tuple[str, str], ...]  # and what is around them
    sentences: tuple[_Sentence, ...]


_NOTHING = _Found((), ())


class OutcomeWords:
    """Reads each distinct text once."""

    def __init__(self) -> None:
        self.texts_read = 0
        self._read: dict[str, _Found] = {}
        self._count = 0
        self._named = self._true = self._false = 0
        self._words: Counter[str] = Counter()
        self._markets: Counter[str] = Counter()
        self._examples: list[str] = []
        self._snippet = ""

    def add(self, group: WatchedGroup) -> None:
        """Read the prompts of a group."""
        for one in group.members:
            self._count += 1
            self._add(one)

    def trips(self) -> list[Trip]:
        """Trip where enough prompts say how markets end."""
        ended = self._true if self._true >= _TRUE * (self._true + self._false) else 0
        found = max(self._named, ended)
        if found < max(_FEWEST, SHARE * self._count):
            return []
        names = ", ".join(word for word, _ in self._words.most_common(3))
        return [
            Trip(
                Tripwire.OUTCOME_WORDS,
                f"the prompts of {found} of {self._count} trajectories say how markets end "
                f"({names})",
                found / self._count,
                SHARE,
                _SOURCE,
                {
                    "trajectories": found,
                    "of": self._count,
                    "words": dict(self._words.most_common(_EXAMPLES)),
                    "markets": dict(self._markets.most_common(_EXAMPLES)),
                    "true": self._true,
                    "false": self._false,
                    "examples": self._examples,
                    "snippet": self._snippet,
                },
            )
        ]

    def _add(self, one: WatchedMember) -> None:
        found = [
            self._found(text)
            for call in one.member.calls
            for role, text in call.messages
            if role != "assistant"
        ]
        names = [pair for each in found for pair in each.names]
        # Later prompts may well say how a bet of the first step has ended.
        sentences = [
            sentence
            for role, text in (one.member.calls[0].messages if _from_the_first(one) else ())
            if role != "assistant"
            for sentence in self._found(text).sentences
        ]
        ended = {
            (market, sentence.yes == yes)
            for market, yes in one.facts.bets
            for sentence in sentences
            if _is_about(sentence, market)
        }
        is_true = any(right for _, right in ended)
        self._named += bool(names)
        self._true += is_true
        self._false += bool(ended) and not is_true
        self._words.update({word for word, _ in names})
        if is_true:
            self._words["resolved"] += 1
            self._markets.update(market for market, right in ended if right)
        if (names or is_true) and len(self._examples) < _EXAMPLES:
            self._examples.append(one.member.trajectory_id)
        if not self._snippet:
            texts = [snippet for _, snippet in names]
            if is_true:
                texts += [sentence.text for sentence in sentences]
            self._snippet = texts[0][: 2 * _SNIPPET] if texts else ""

    def _found(self, text: str) -> _Found:
        found = self._read.get(text)
        if found is None:
            self.texts_read += 1
            found = self._read[text] = _read(text)
        return found


def _read(text: str) -> _Found:
    lowered = text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")
    names = tuple(
        (text[match.start(1) : match.end(1)], text[max(0, match.start() - 10) :][: 2 * _SNIPPET])
        for match in _matches(_NAMES, lowered)
    )
    # A sentence says YES, and YES alone; "resolved no issue" is none.
    ended = [one for one in _matches(_PROSE, lowered) if text[one.start(1) : one.end(1)].isupper()]
    ended += _matches(_FIELDS, lowered)
    if not names and not ended:
        return _NOTHING
    return _Found(names, tuple(_sentence(text, match) for match in ended))


def _matches(patterns: Iterable[re.Pattern[str]], text: str) -> Iterator[re.Match[str]]:
    for pattern in patterns:
        for match in islice(pattern.finditer(text), _MOST):
            if not text[max(0, match.start() - 1) : match.start()].isalnum():
                yield match


def _sentence(text: str, match: re.Match[str]) -> _Sentence:
    before = text[max(0, match.start() - _REACH) : match.start()]
    after = text[match.end() : match.end() + _REACH]
    cuts = [cut.end() for cut in _CUT.finditer(before)]
    before = before[cuts[-1] :] if cuts else before
    cut = _CUT.search(after)
    after = after[: cut.start()] if cut else after
    yes = match[1] in ("yes", "true")
    return _Sentence(before + text[match.start() : match.end()] + after, yes, len(before))


def _is_about(sentence: _Sentence, market: str) -> bool:
    """Check whether a sentence names a market, and no other between it and its outcome."""
    text, at = sentence.text, sentence.at
    for match in re.finditer(rf"(?<![\w-]){re.escape(market)}(?![\w-])", text):
        before = match.end() <= at
        between = text[match.end() : at] if before else text[at : match.start()]
        # After it only as another field of the same object.
        if (before or '"' in between) and not _ANOTHER.search(between):
            return True
    return False


def _from_the_first(one: WatchedMember) -> bool:
    places = one.member.places
    return places is None or places[0] == 0
