"""The base model's log-probabilities of a step's packed rows, several rows in a pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from babylon_tasks.training import reference_logprobs
from babylon_tasks.training.policy import Policy
from babylon_tasks.training.reference_logprobs import ReferencedRow, referenced_rows

SYSTEM = [1, 4093, 198, 15469]
ROWS = [  # of each row: its prompts, and the answers to each
    [([*SYSTEM, 355, 1072], [[36, 29], [36, 29], [40]]), ([*SYSTEM, 216], [[29], [41]])],
    [([*SYSTEM, 355, 1072], [[41]])],
    [([7, 8, 9], [[36], [29]]), ([*SYSTEM, 10539], [[2]])],
]
PADDED = 24


def packed(prompts: list[tuple[list[int], list[list[int]]]]) -> dict[str, Any]:
    """One row as ART packs it: each answer behind its prompt, then padding.

    Branches have large numbers, which are another row's, too.
    """
    places: list[tuple[int, int, int, int, bool]] = []
    branch = 2**63 - 20
    for prompt, answers in prompts:
        branch += 1
        parent = branch
        places += [(token, n, parent, parent, False) for n, token in enumerate(prompt)]
        for answer in answers:
            branch += 1
            places += [
                (token, len(prompt) + n, branch, parent, True) for n, token in enumerate(answer)
            ]
    places += [(0, 0, -1, -1, False)] * (PADDED - len(places))
    names = ("tokens", "input_pos", "group_ids", "parent_ids", "assistant_mask")
    columns = {
        name: torch.tensor([column])
        for name, column in zip(names, zip(*places, strict=True), strict=True)
    }
    return {**columns, "logprobs": torch.zeros(1, PADDED), "config": "as it was"}


def alone(policy: Policy, row: ReferencedRow) -> torch.Tensor:
    with policy.at_step(0):
        logprobs, _ = policy.row_logprobs(*row.columns)
    return logprobs


@pytest.fixture
def passes(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The lengths of the rows that the policy has read."""
    read: list[int] = []
    inner = policy.row_logprobs

    def counted(*columns: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        read.append(len(columns[0]))
        return inner(*columns)

    monkeypatch.setattr(policy, "row_logprobs", counted)
    return read


@pytest.mark.parametrize(("most", "expected"), [(1024, 1), (20, 2), (1, 3)])
def test_rows_are_read_together_and_each_gets_what_it_gets_alone(
    policy: Policy, passes: list[int], monkeypatch: pytest.MonkeyPatch, most: int, expected: int
) -> None:
    monkeypatch.setattr(reference_logprobs, "ROW_TOKENS", most)

    rows = list(referenced_rows(policy, map(packed, ROWS), base=True))

    assert len(passes) == expected
    for row, prompts in zip(rows, ROWS, strict=True):
        assert row.base_logprobs is not None
        assert len(row.base_logprobs) == sum(len(one) for _, many in prompts for one in many)
        assert torch.allclose(row.base_logprobs, alone(policy, row), atol=1e-4)
    values = torch.cat([row.base_logprobs for row in rows if row.base_logprobs is not None])
    assert len({round(float(value), 3) for value in values}) > len(ROWS)  # the comparison can fail


def test_rows_come_without_their_padding(policy: Policy) -> None:
    row = next(referenced_rows(policy, [packed(ROWS[1])], base=True))

    length = len(SYSTEM) + 3
    assert [len(column) for column in row.columns] == [length] * 5
    assert row.inputs["logprobs"].shape == (1, length)
    assert row.inputs["config"] == "as it was"
    assert row.wanted.tolist() == [False] * (length - 1) + [True]


def test_no_row_is_read_before_it_is_due(
    policy: Policy, passes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference_logprobs, "ROW_TOKENS", 20)  # the first two rows fit

    rows = referenced_rows(policy, map(packed, ROWS), base=True)

    assert passes == []
    next(rows)
    next(rows)
    assert len(passes) == 1
    next(rows)
    assert len(passes) == 2


def test_a_loss_without_a_reference_costs_no_pass(policy: Policy, passes: list[int]) -> None:
    rows = list(referenced_rows(policy, map(packed, ROWS), base=False))

    assert [row.base_logprobs for row in rows] == [None] * len(ROWS)
    assert passes == []
