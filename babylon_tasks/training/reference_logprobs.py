"""A step's packed rows, each with what the base model says of it, for the loss's KL penalty.

That is the same before each gradient step, so rows are read together: a pass over few tokens costs
nearly as much as one over twice as many, and what rows begin with alike is computed once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch

from babylon_tasks.training.policy import Policy
from babylon_tasks.training.rescoring import ROW_TOKENS
from babylon_tasks.training.token_tree import token_tree

# What ``Policy.row_logprobs`` takes: tokens, positions, branches, parent branches, what is wanted.
_COLUMNS = ("tokens", "input_pos", "group_ids", "parent_ids", "assistant_mask")


class ReferencedRow(NamedTuple):
    """A packed row without its padding, ``inputs`` for ART's loss and ``columns`` for the policy.

    ``base_logprobs`` has one value per wanted token, or is None where the loss needs none.
    """

    inputs: Mapping[str, Any]
    columns: tuple[torch.Tensor, ...]
    base_logprobs: torch.Tensor | None

    @property
    def wanted(self) -> torch.Tensor:
        """A mask of the trained tokens."""
        return self.columns[-1]


def referenced_rows(
    policy: Policy, rows: Iterable[Mapping[str, Any]], *, base: bool
) -> Iterator[ReferencedRow]:
    """Yield ART's inputs of each row; with ``base`` reads a pass of rows when its first is due."""
    cut = map(_without_padding, rows)
    if not base:
        yield from cut
        return
    for some in _together(cut):
        with policy.at_step(0):
            logprobs, _ = policy.row_logprobs(*_joined([row.columns for row in some]))
        start = 0
        for row in some:
            count = int(row.wanted.sum())
            yield row._replace(base_logprobs=logprobs[start : start + count])
            start += count


def _without_padding(inputs: Mapping[str, Any]) -> ReferencedRow:
    length = int((inputs["group_ids"][0] != -1).sum())
    short = {
        key: value[:, :length] if isinstance(value, torch.Tensor) and value.dim() == 2 else value
        for key, value in inputs.items()
    }
    return ReferencedRow(short, tuple(short[key][0].clone() for key in _COLUMNS), None)


def _together(rows: Iterable[ReferencedRow]) -> Iterator[list[ReferencedRow]]:
    """Yield rows that fit a pass, by what is distinct of them: most answers are alike."""
    some: list[ReferencedRow] = []
    size = 0
    for row in rows:
        columns = zip(*(column.tolist() for column in row.columns[:-1]), strict=True)
        nodes = len(token_tree(columns).first)
        if some and size + nodes > ROW_TOKENS:
            yield some
            some, size = [], 0
        some.append(row)
        size += nodes
    if some:
        yield some


def _joined(rows: Sequence[tuple[torch.Tensor, ...]]) -> tuple[torch.Tensor, ...]:
    """Make one row of several, whose branches get numbers of their own.

    ART numbers them by 64 random bits.
    """
    moved: list[tuple[torch.Tensor, ...]] = []
    first = 0
    for tokens, positions, branches, parents, wanted in rows:
        known, numbers = torch.unique(torch.stack([branches, parents]), return_inverse=True)
        moved.append((tokens, positions, *(numbers + first), wanted))
        first += len(known)
    return tuple(map(torch.cat, zip(*moved, strict=True)))
