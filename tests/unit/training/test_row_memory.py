"""How long rows may be follows from the model and from the memory that is free."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from babylon_tasks.training import row_memory
from babylon_tasks.training.device import Device
from babylon_tasks.training.row_memory import bytes_per_token, longest_row

GIB = 2**30
SMALL = SimpleNamespace(
    hidden_size=576,
    intermediate_size=1536,
    num_hidden_layers=30,
    vocab_size=49_152,
    max_position_embeddings=8192,
)
PROCESSOR = Device(torch.device("cpu"), bf16=True)


def test_the_small_models_step_takes_what_was_measured() -> None:
    taken = bytes_per_token(SMALL, bf16=True) / 2**20  # MiB
    assert taken == pytest.approx(1.6 + 0.8, rel=0.1)
    assert bytes_per_token(SMALL, bf16=False) > 1.2 * bytes_per_token(SMALL, bf16=True)


@pytest.mark.parametrize(
    ("free", "row"),
    [(None, 2048), (GIB, 2048), (9 * GIB, 2048), (20 * GIB, 4096), (40 * GIB, 8192)],
)
def test_rows_take_at_most_half_of_what_is_free_but_are_never_shorter_than_they_were(
    monkeypatch: pytest.MonkeyPatch, free: int | None, row: int
) -> None:
    monkeypatch.setattr(row_memory, "usable_memory", lambda: free)

    assert longest_row(SMALL, PROCESSOR) == row


@pytest.mark.parametrize(("made_for", "row"), [(1024, 1024), (3000, 2048), (5000, 4096)])
def test_rows_are_never_longer_than_the_model_was_made_for(
    monkeypatch: pytest.MonkeyPatch, made_for: int, row: int
) -> None:
    monkeypatch.setattr(row_memory, "usable_memory", lambda: 1000 * GIB)
    config = SimpleNamespace(**{**vars(SMALL), "max_position_embeddings": made_for})

    assert longest_row(config, PROCESSOR) == row
