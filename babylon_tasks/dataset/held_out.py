"""Which held-out groups checkpoints are evaluated on: PURE, and changed by new windows only.

Two checkpoints can only be compared on the same set, so within a window the choice is by rank
and never varies. The set lives in the present: every second group that is read for it is of the
newest hours, whatever the budget, and the rest is spread over age by hash, so that what is not
asked today is not forgotten. A question that many agents were asked makes several groups, but each
question contributes one group before any contributes a second. Of what is read, groups in which
members acted differently come first.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest

from msgspec import Struct

from babylon_tasks.dataset.diversity import is_contested
from babylon_tasks.dataset.groups import rank
from babylon_tasks.dataset.manifest import canonical
from babylon_tasks.dataset.schedule import text_tokens
from babylon_tasks.held_out_hours import NEWEST_HOURS
from babylon_tasks.records import Group

HeldOutPart = tuple[str, str, int]  # window, key, and which of the key's groups


class Place(Struct, frozen=True):
    """Where a group of the set comes from. ``question``: the same for groups of an hour that were
    asked the same; ``newest``: whether that is one of the newest hours."""

    window: str
    question: str
    newest: bool


def order(
    comparable: Iterable[tuple[str, str, int, float]],
    max_group_size: int,
    min_spread: float,
    *,
    draw: int = 0,
) -> list[HeldOutPart]:
    """Order held-out groups: (window, key, members, spread) in, (window, key, part) out.

    Where all answers earned the same, every policy has the same value. Once the policy has settled
    on one answer, its windows have no spread, and the newest hours are the last ones that had.
    Another ``draw`` spreads otherwise over age.
    """
    parts = [
        (window, key, part)
        for window, key, members, spread in comparable
        if spread > min_spread
        for part in range(-(-members // max_group_size))
    ]
    newest = newest_hours(window for window, _, _ in parts)
    drawn = f"{draw}\0" if draw else ""
    by_rank = sorted(parts, key=lambda one: rank(f"{drawn}{one[0]}\0{one[1]}"))
    recent = sorted((one for one in by_rank if one[0] in newest), key=_hour, reverse=True)
    older = [one for one in by_rank if one[0] not in newest]
    turns = zip_longest(sorted(recent, key=_part), sorted(older, key=_part))
    return [one for one in chain.from_iterable(turns) if one is not None]


def fill(offered: Iterable[Group], most_tokens: int, least: int) -> list[Group]:
    """Take groups, in their order, while there are tokens for them, and at least ``least``.

    Those in which members acted differently come first: of the others the rewards say what it costs
    to fail, and nothing of what nobody did. Reads no more than twice the tokens for them.
    """
    taken, spare = _Budget(most_tokens, least), _Budget(most_tokens, least)
    for group in offered:
        if not (taken if is_contested(group) else spare).take(group):
            break
    for group in spare.groups:
        if not taken.take(group):
            break
    return taken.groups


class _Budget:
    def __init__(self, most: int, least: int) -> None:
        self.groups: list[Group] = []
        self._most, self._least, self._tokens = most, least, 0

    def take(self, group: Group) -> bool:
        """Take a group unless it alone is too large; False: there is no room for it."""
        cost = tokens(group)
        if cost > self._most:
            return True
        if len(self.groups) >= self._least and self._tokens + cost > self._most:
            return False
        self.groups.append(group)
        self._tokens += cost
        return True


def newest_hours(windows: Iterable[str]) -> set[str]:
    """Find the newest hours of a set, all of which have spread."""
    return set(sorted(set(windows), reverse=True)[:NEWEST_HOURS])


def places(groups: Sequence[Group]) -> tuple[Place, ...]:
    """Say of each group of a set where it comes from."""
    newest = newest_hours(group.window_id for group in groups)
    return tuple(
        Place(group.window_id, _asked(group), group.window_id in newest) for group in groups
    )


def tokens(group: Group) -> int:
    """Estimate how many tokens an evaluation reads: a prompt once, and each different answer."""
    prompts = {call.messages for member in group.members for call in member.calls}
    answers = {
        (call.messages, call.response): len(call.logprobs or ()) or text_tokens([call.response])
        for member in group.members
        for call in member.calls
    }
    return sum(text_tokens(text for _, text in one) for one in prompts) + sum(answers.values())


def set_hash(groups: Sequence[Group]) -> str:
    """Hash the groups' content (SHA-256): values are comparable exactly where it is equal."""
    return hashlib.sha256(canonical(tuple(groups))).hexdigest()


def _hour(part: HeldOutPart) -> str:
    return part[0]


def _part(part: HeldOutPart) -> int:
    return part[2]


def _asked(group: Group) -> str:
    asked = {call.messages for member in group.members for call in member.calls}
    return hashlib.sha256(canonical(sorted(asked))).hexdigest()
