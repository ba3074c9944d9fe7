"""The same answers again, or prompts that do not say what is asked.

Agents are asked the same, and short answers recur: neither is a fault. What does not happen by
chance is an improbable answer given twice to the same prompt. It was recorded twice, or imported
again. And where one prompt stands for questions of different scenarios or markets, the policy was
not shown what it was asked about (agent-lightning#442).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence

from babylon_tasks.dataset.tripwires.figures import SKETCH, WindowFigures
from babylon_tasks.dataset.tripwires.watched import WatchedGroup
from babylon_tasks.records import Member
from babylon_tasks.tripwires import Trip, Tripwire

IMPROBABLE = -13.8  # nats: once in a million answers
SHARE = 0.05
_FEWEST = 4  # in a handful of trajectories it does little harm
_SHARE_OF_PROMPTS = 0.5
_FEWEST_KEYS = 4
_SHARE_OF_SKETCH = 0.25
_FEWEST_OF_SKETCH = 8
_EXAMPLES = 5
_SOURCE = (
    f"{SHARE:.0%} of the trajectories, and at least {_FEWEST}: answers whose recorded probability "
    "is below 1 in a million hardly ever recur"
)
_SOURCE_PROMPTS = f"{_SHARE_OF_PROMPTS:.0%} of the trajectories, of {_FEWEST_KEYS} group keys"
_SOURCE_BEFORE = f"{_SHARE_OF_SKETCH:.0%} of the answers that do not come twice by chance"


class Duplicates:
    """Hashes of prompts and answers: 8 bytes for each distinct one."""

    def __init__(self) -> None:
        self.answers: set[int] = set()  # improbable ones, with their prompts
        self._count = 0
        self._again = 0
        self._examples: list[str] = []
        self._keys: dict[str, int] = {}
        self._prompts: Counter[int] = Counter()
        self._key_of: dict[int, int] = {}  # of a prompt; -1 where it has more than one

    def add(self, group: WatchedGroup) -> None:
        """Take a group into account."""
        key = self._keys.setdefault(_without_archetype(group.key), len(self._keys))
        for one in group.members:
            member = one.member
            self._count += 1
            prompt = _prompt(member)
            self._prompts[prompt] += 1
            if self._key_of.setdefault(prompt, key) != key:
                self._key_of[prompt] = -1
            if not _is_improbable(member):
                continue
            answer = _answer(prompt, member)
            if answer in self.answers:
                self._again += 1
                if len(self._examples) < _EXAMPLES:
                    self._examples.append(member.trajectory_id)
            self.answers.add(answer)

    def trips(self) -> list[Trip]:
        """Trip for answers of this window that recur, and for prompts of more than one question."""
        found = []
        if self._again >= max(_FEWEST, SHARE * self._count):
            share = self._again / self._count
            found.append(
                Trip(
                    Tripwire.DUPLICATES,
                    f"{self._again} of {self._count} trajectories repeat another one's prompts and "
                    "answers, word for word",
                    share,
                    SHARE,
                    _SOURCE,
                    {"again": self._again, "of": self._count, "examples": self._examples},
                )
            )
        shared = sum(self._prompts[prompt] for prompt, key in self._key_of.items() if key < 0)
        if len(self._keys) >= _FEWEST_KEYS and shared >= _SHARE_OF_PROMPTS * self._count:
            found.append(
                Trip(
                    Tripwire.DUPLICATES,
                    f"{shared} of {self._count} trajectories were asked with the same words about "
                    "something else: their prompts do not say what is asked",
                    shared / self._count,
                    _SHARE_OF_PROMPTS,
                    _SOURCE_PROMPTS,
                    {"shared": shared, "of": self._count, "group_keys": len(self._keys)},
                )
            )
        return found


def trained_before(now: WindowFigures, history: Sequence[WindowFigures]) -> list[Trip]:
    """Trip where a window's answers are those of one before: its rows were imported again."""
    for ago, before in enumerate(history, start=1):
        known = set(before.sketch)
        # A full sketch says nothing of hashes beyond its largest.
        reach = max(known, default=0) if len(known) == SKETCH else None
        seen = [one for one in now.sketch if reach is None or one <= reach]
        common = sum(one in known for one in seen)
        if len(seen) < _FEWEST_OF_SKETCH or common < _SHARE_OF_SKETCH * len(seen):
            continue
        share = common / len(seen)
        return [
            Trip(
                Tripwire.DUPLICATES,
                f"about {share:.0%} of the answers were trained on before, with their prompts, "
                f"in the window {ago} before this one",
                share,
                _SHARE_OF_SKETCH,
                _SOURCE_BEFORE,
                {"share": share, "compared": len(seen), "windows_before": ago},
            )
        ]
    return []


def _is_improbable(member: Member) -> bool:
    logprobs = [call.logprobs for call in member.calls]
    if any(one is None for one in logprobs):
        return False
    return sum(sum(one or ()) for one in logprobs) <= IMPROBABLE


def _prompt(member: Member) -> int:
    return _hash(text for pair in member.calls[0].messages for text in pair)


def _answer(prompt: int, member: Member) -> int:
    calls = member.calls
    later = (text for call in calls[1:] for pair in call.messages for text in pair)
    return _hash((str(prompt), *(call.response for call in calls), *later))


def _hash(texts: Iterable[str]) -> int:
    made = hashlib.blake2b(digest_size=8)
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        made.update(len(encoded).to_bytes(8, "big"))
        made.update(encoded)
    return int.from_bytes(made.digest(), "big") >> 1  # as Postgres's and JSON's integers allow


def _without_archetype(key: str) -> str:
    """Archetypes may be asked the same."""
    return "|".join(part for part in key.split("|") if not part.startswith("archetype="))
