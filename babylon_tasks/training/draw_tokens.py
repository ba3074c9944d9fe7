"""Draw the next token of each row of a batch, by its request's temperature, top_p and seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch

_MIN_TEMPERATURE = 1e-5  # below: the likeliest token, as in vLLM; dividing by less overflows


class Manner(Protocol):
    """How a request wants its tokens drawn."""

    @property
    def temperature(self) -> float: ...  # as in OpenAI's protocol
    @property
    def top_p(self) -> float: ...


def draw(
    log_softmax: torch.Tensor,
    manners: Sequence[Manner],
    generators: Sequence[torch.Generator | None],
) -> torch.Tensor:
    """Draw one token per row of (rows, vocabulary); the result is on the same device.

    Generators are the processor's everywhere. With one, a row's tokens follow from its seed and its
    probabilities; which they are differs between processor and card.
    """
    rows = zip(log_softmax, manners, generators, strict=True)
    if log_softmax.device.type == "cpu":
        return torch.tensor([_draw_one(*row) for row in rows])
    return draw_together(log_softmax, manners, generators)


def _draw_one(log_softmax: torch.Tensor, manner: Manner, generator: torch.Generator | None) -> int:
    if manner.temperature < _MIN_TEMPERATURE:
        return int(log_softmax.argmax())
    probs = torch.softmax(log_softmax / manner.temperature, dim=-1)
    if manner.top_p < 1:
        ordered, places = probs.sort(descending=True)
        beyond = ordered.cumsum(-1) - ordered >= manner.top_p
        probs = torch.zeros_like(probs).scatter(0, places, ordered.masked_fill(beyond, 0))
    return int(torch.multinomial(probs, 1, generator=generator))


def draw_together(
    log_softmax: torch.Tensor,
    manners: Sequence[Manner],
    generators: Sequence[torch.Generator | None],
) -> torch.Tensor:
    """Draw all rows in a few operations: on a card each one costs the same as for a single row.

    By inversion: one uniform number per row, and the first token whose cumulated probability
    exceeds it.
    """
    device = log_softmax.device
    temperature = torch.tensor([[float(one.temperature)] for one in manners], device=device)
    probs = torch.softmax(log_softmax / temperature.clamp(min=_MIN_TEMPERATURE), dim=-1)
    if any(one.top_p < 1 for one in manners):
        top_p = torch.tensor([[float(one.top_p)] for one in manners], device=device)
        ordered, places = probs.sort(descending=True)
        beyond = (ordered.cumsum(-1) - ordered >= top_p) & (top_p < 1)
        probs = torch.zeros_like(probs).scatter(-1, places, ordered.masked_fill(beyond, 0))
    cumulated = probs.double().cumsum(-1)
    total = cumulated[:, -1:]
    uniform = torch.cat(
        [torch.rand((1, 1), dtype=torch.float64, generator=one) for one in generators]
    ).to(device)
    # Strictly below the total, or the token after the last one could be drawn.
    aim = torch.minimum(uniform * total, torch.nextafter(total, torch.zeros_like(total)))
    drawn = torch.searchsorted(cumulated, aim, right=True).squeeze(-1)
    likeliest = log_softmax.argmax(-1)
    return torch.where(temperature.squeeze(-1) < _MIN_TEMPERATURE, likeliest, drawn)
