"""Draw the next token of each answer of a batch, by its request's temperature, top_p and seed."""

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
    rows: Sequence[int],
    manners: Sequence[Manner],
    generators: Sequence[torch.Generator | None],
) -> torch.Tensor:
    """Draw one token per answer; ``rows`` says which of (rows, vocabulary) each is drawn from.

    The result is on the same device. Generators are the processor's everywhere. With one, an
    answer's tokens follow from its seed and its probabilities; which they are differs between
    processor and card.
    """
    if log_softmax.device.type != "cpu":
        return draw_together(log_softmax, rows, manners, generators)
    drawn = torch.empty(len(rows), dtype=torch.long)
    together = [place for place, generator in enumerate(generators) if generator is None]
    for place, generator in enumerate(generators):
        if generator is not None:  # a seed draws what it has drawn in every release
            drawn[place] = _draw_one(log_softmax[rows[place]], manners[place], generator)
    if together:
        drawn[together] = draw_together(
            log_softmax,
            [rows[place] for place in together],
            [manners[place] for place in together],
            [None] * len(together),
        )
    return drawn


def _draw_one(log_softmax: torch.Tensor, manner: Manner, generator: torch.Generator) -> int:
    if manner.temperature < _MIN_TEMPERATURE:
        return int(log_softmax.argmax())
    probs = torch.softmax(log_softmax / manner.temperature, dim=-1)
    if manner.top_p < 1:
        ordered, places = probs.sort(descending=True)
        beyond = ordered.cumsum(-1) - ordered >= manner.top_p
        beyond[0] = False  # as fp32 the smallest top_p are 0, and nothing would be left
        probs = torch.zeros_like(probs).scatter(0, places, ordered.masked_fill(beyond, 0))
    return int(torch.multinomial(probs, 1, generator=generator))


def draw_together(
    log_softmax: torch.Tensor,
    rows: Sequence[int],
    manners: Sequence[Manner],
    generators: Sequence[torch.Generator | None],
) -> torch.Tensor:
    """Draw all in a few operations, the probabilities once for all that are drawn alike.

    By inversion: one uniform number per answer, and the first token whose cumulated probability
    exceeds it. Over 49,152 words that costs a fifth of ``multinomial``, which draws a number for
    each word; on a card an operation costs the same for all answers as for one.
    """
    device = log_softmax.device
    alike: dict[tuple[int, float, float], list[int]] = {}
    for place, (row, manner) in enumerate(zip(rows, manners, strict=True)):
        alike.setdefault((row, float(manner.temperature), float(manner.top_p)), []).append(place)
    logs = log_softmax[[row for row, _, _ in alike]]
    temperature = torch.tensor([[warmth] for _, warmth, _ in alike], device=device)
    probs = torch.softmax(logs / temperature.clamp(min=_MIN_TEMPERATURE), dim=-1)
    if any(top_p < 1 for _, _, top_p in alike):
        top_p = torch.tensor([[top_p] for _, _, top_p in alike], device=device)
        ordered, places = probs.sort(descending=True)
        beyond = (ordered.cumsum(-1) - ordered >= top_p) & (top_p < 1)
        beyond[:, 0] = False  # as fp32 the smallest top_p are 0, and nothing would be left
        probs = torch.zeros_like(probs).scatter(-1, places, ordered.masked_fill(beyond, 0))
    cumulated = probs.double().cumsum(-1)
    total = cumulated[:, -1:]
    uniform = torch.zeros((len(alike), max(map(len, alike.values()))), dtype=torch.float64)
    for number, answers in enumerate(alike.values()):
        for column, place in enumerate(answers):
            uniform[number, column] = torch.rand(
                (), dtype=torch.float64, generator=generators[place]
            )
    # Strictly below the total, or the token after the last one could be drawn.
    below = torch.nextafter(total, torch.zeros_like(total))
    aim = torch.minimum(uniform.to(device) * total, below)
    drawn = torch.searchsorted(cumulated, aim, right=True)
    drawn = torch.where(temperature < _MIN_TEMPERATURE, logs.argmax(-1, keepdim=True), drawn)
    found = torch.empty(len(rows), dtype=torch.long, device=device)
    for number, answers in enumerate(alike.values()):
        found[answers] = drawn[number, : len(answers)]
    return found
