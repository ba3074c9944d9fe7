"""How different answers are, as ``status`` and ``why`` say it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def compared_answers(answers: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Say of a decision's figures, by kind of question, what each side's answers come to."""
    for kind, given in sorted(answers.items()):
        sides = "; ".join(
            f"{who} {_share(given[who])}" for who in ("candidate", "serving", "sampled")
        )
        yield f"answers{_of(kind)} to {given['candidate']['groups']} held-out groups: {sides}"


def sampled_answers(answers: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Say of a window, by kind of question, what the answers that a step took came to."""
    for kind, found in sorted(answers.items()):
        yield f"answers{_of(kind)} in the {found['groups']} groups of a step: {_share(found)}"


def _of(kind: str) -> str:
    return f" ({kind})" if kind else ""


def _share(found: Mapping[str, Any]) -> str:
    return f"{found['share']:.0%} {found['commonest']}, entropy {found['entropy']:.2f}"
