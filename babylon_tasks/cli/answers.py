"""How different answers are, as ``status`` and ``why`` say it.

They are on record, perhaps by another version: what cannot be read is said so, and hides nothing
else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from babylon_tasks.counted import counted
from babylon_tasks.dataset.diversity import in_short

_Read = TypeVar("_Read")


class _Diversity(Struct):
    groups: int
    commonest: str
    share: float
    entropy: float

    def __str__(self) -> str:
        return f"{self.share:.0%} {in_short(self.commonest)}, entropy {self.entropy:.2f}"


class _Compared(Struct):
    candidate: _Diversity
    serving: _Diversity
    sampled: _Diversity


def compared_answers(recorded: Any) -> Iterator[str]:
    """Say of a decision's figures, by kind of question, what each side's answers come to."""
    answers = _read(recorded, dict[str, _Compared])
    if isinstance(answers, str):
        yield answers
        return
    for kind, given in sorted(answers.items()):
        yield (
            f"answers{_of(kind)} to {given.candidate.groups} held-out groups: candidate "
            f"{given.candidate}; serving {given.serving}; sampled {given.sampled}"
        )


def sampled_answers(recorded: Any) -> Iterator[str]:
    """Say of a window, by kind of question, what the answers that a step took came to."""
    answers = _read(recorded, dict[str, _Diversity])
    if isinstance(answers, str):
        yield answers
        return
    for kind, found in sorted(answers.items()):
        groups = counted(found.groups, "group")
        yield f"answers{_of(kind)} in the {groups} of a step: {found}"


def _read(recorded: Any, kind: type[_Read]) -> _Read | str:
    try:
        return msgspec.convert(recorded, kind)
    except msgspec.ValidationError as error:
        return f"answers: another version has recorded what they come to ({error}): ask that one"


def _of(kind: str) -> str:
    return f" ({kind})" if kind else ""
