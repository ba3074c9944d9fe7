"""The tree of checkpoints: which one was trained from which. Pure.

``parents`` maps a step to the one whose weights it started from; a step that is not in it started
from the one before. A checkpoint that was held is a branch that ends there: its number stays
used, its weights do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Parents = Mapping[int, int]


def parent(step: int, parents: Parents) -> int:
    """Return the step whose weights a step started from; always an older one, even on a bad row."""
    return min(parents.get(step, step - 1), step - 1)


def path(step: int, parents: Parents) -> list[int]:
    """List a step, its parent, and so on down to the base model, which is step 0."""
    steps = [step]
    while steps[-1] > 0:
        steps.append(parent(steps[-1], parents))
    return steps


def depth(step: int, parents: Parents) -> int:
    """Count the training steps between the base model and a checkpoint."""
    return len(path(step, parents)) - 1


def refused_children(step: int, refused: Iterable[tuple[int, int]], parents: Parents) -> set[int]:
    """List those trained from a step that were refused, or that led to one which was.

    ``refused``: each with what served, or serves again, instead. Where that one is on the way from
    ``step`` to it, the refusal says nothing of what led there: that served.
    """
    found = set()
    for one, instead in refused:
        way = path(one, parents)
        if step in way[1:]:
            since = way[: way.index(step)]
            if instead not in since:
                found.add(since[-1])
    return found


def ages(origin: int, head: int, parents: Parents) -> dict[int, int]:
    """Compute the distance in training steps between ``origin`` and each step up to ``head``.

    Between branches it is measured through their last common ancestor.
    """
    distances = {step: age for age, step in enumerate(path(origin, parents))}
    for step in range(head + 1):
        if step not in distances:
            distances[step] = distances[parent(step, parents)] + 1
    return distances
