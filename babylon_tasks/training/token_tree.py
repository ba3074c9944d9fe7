"""A packed row as a tree: what its prompts and answers begin with alike is computed once. Pure.

A causal network says the same of equal tokens behind equal tokens. Answers to one question often
begin alike, as JSON does, or are alike, and the questions of an hour share their system prompt; so
a row has far fewer distinct beginnings than tokens. Gradients of the copies add up by themselves.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from msgspec import Struct

_START = -1  # what a conversation's first token follows


class TokenTree(Struct, frozen=True):
    """The distinct beginnings of a row, nodes in the order in which the row has them first.

    ``first`` is each node's first place in the row, ``follows`` the node before it, or -1, and
    ``node_of`` the node of each place of the row.
    """

    first: list[int]
    follows: list[int]
    node_of: list[int]

    def up_to(self, nodes: Iterable[int]) -> tuple[TokenTree, list[int]]:
        """Keep what these nodes say and what stands before them; returns their new numbers, too.

        ``node_of`` is -1 where nothing was kept.
        """
        ends = list(nodes)
        needed = set(ends)
        for node in reversed(range(len(self.first))):
            if node in needed and self.follows[node] != _START:
                needed.add(self.follows[node])
        number = {node: place for place, node in enumerate(sorted(needed))}
        kept = TokenTree(
            [self.first[node] for node in number],
            [number.get(self.follows[node], _START) for node in number],
            [number.get(node, _START) for node in self.node_of],
        )
        return kept, [number[node] for node in ends]

    def visible(self) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
        """Return what each node attends to (nodes, nodes): what came before it, and itself."""
        seen = np.eye(len(self.first), dtype=np.bool_)
        for node, before in enumerate(self.follows):
            if before != _START:
                seen[node] |= seen[before]
        return seen


def token_tree(row: Iterable[tuple[int, int, int, int]]) -> TokenTree:
    """Build the tree of a row of (token, position, branch, parent branch), one for each place.

    A token follows the one a position before it in its own branch, or in its parent: the first of
    an answer follows its prompt. Both stand before it in the row.
    """
    nodes: dict[tuple[int, int], int] = {}  # by the node before, and the token
    ends: dict[tuple[int, int], int] = {}  # the node by branch and position
    first: list[int] = []
    follows: list[int] = []
    node_of: list[int] = []
    for place, (token, position, branch, parent) in enumerate(row):
        before = ends.get((branch, position - 1), ends.get((parent, position - 1), _START))
        node = nodes.setdefault((before, token), len(first))
        if node == len(first):
            first.append(place)
            follows.append(before)
        ends[branch, position] = node
        node_of.append(node)
    return TokenTree(first, follows, node_of)
